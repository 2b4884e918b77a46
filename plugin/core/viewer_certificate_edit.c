/* viewer_certificate_edit.c - cuts a configuration out of its own bytes, with another certificate named in it.
 *
 * Includes xml.h for escaping. Nothing is written that was not received but the new values, the names of elements that
 * change store, and one element where only the deprecated pair was there. Owns nothing; a failed append shows in the
 * state of `out`, once, at the end. */
#include "viewer_certificate_private.h"

#include <string.h>

#include "xml.h"

#define EDIT_ROOM 512    /* an edit seldom makes a document longer by more */

static void put(struct cr_buf *out, const struct cr_region *region, size_t begin, size_t end)
{
  cr_buf_add(out, region->config + begin, end - begin);
}

/* How far a comment or processing instruction at `at` reaches; `at` itself where there is none. */
static size_t past_aside(const char *text, size_t at, size_t end)
{
  bool comment = end - at >= 4 && memcmp(text + at, "<!--", 4) == 0;
  if(!comment && !(end - at >= 2 && memcmp(text + at, "<?", 2) == 0)) {
    return at;
  }
  for(size_t i = at + (comment ? 4 : 2); i < end; i++) {
    if(comment ? end - i >= 3 && memcmp(text + i, "-->", 3) == 0 : end - i >= 2 && memcmp(text + i, "?>", 2) == 0) {
      return i + (comment ? 3 : 2);
    }
  }
  return end;
}

/* How far character data from `at` reaches: to the next comment or processing instruction, CDATA sections included. */
static size_t past_text(const char *text, size_t at, size_t end)
{
  while(at < end) {
    if(text[at] != '<') {
      at++;
    } else if(end - at >= 9 && memcmp(text + at, "<![CDATA[", 9) == 0) {
      at += 9;
      while(at < end && !(end - at >= 3 && memcmp(text + at, "]]>", 3) == 0)) {
        at++;
      }
      at = end - at >= 3 ? at + 3 : end;
    } else {
      return at;
    }
  }
  return end;
}

/* The content of a field with `value` in place of its character data: the white space around it, comments and
 * processing instructions stay. */
static void put_content(struct cr_buf *out, const struct cr_region *region, const struct cr_node *node,
                        const char *value)
{
  size_t at = node->inner.begin, end = node->inner.end;
  bool written = false;

  while(at < end) {
    size_t stop = past_aside(region->config, at, end);
    if(stop > at) {
      put(out, region, at, stop);
    } else {
      struct cr_piece run, core;
      stop = past_text(region->config, at, end);
      if(stop == at) {
        break; /* an element: fields with elements are never written */
      }
      run.at = region->config + at;
      run.len = stop - at;
      core = cr_piece_trim(run);
      cr_buf_add(out, run.at, (size_t)(core.at - run.at));
      if(core.len && !written) {
        cr_xml_escape(out, value, strlen(value));
        written = true;
      }
      cr_buf_add(out, core.at + core.len, run.len - (size_t)(core.at - run.at) - core.len);
    }
    at = stop;
  }
  if(!written) {
    cr_xml_escape(out, value, strlen(value));
  }
}

void cr_region_put_field(struct cr_buf *out, const struct cr_region *region, const struct cr_node *node,
                         const char *name, const char *value)
{
  struct cr_piece tag = cr_region_start_tag(region, node), lead = cr_region_lead(region, node);
  size_t named = 1 + cr_tag_name_length(tag.at + 1, tag.len - 1);
  bool closed = node->inner.begin == node->outer.end; /* "<A/>" */

  cr_buf_add(out, tag.at, 1 + lead.len);
  cr_buf_adds(out, name);
  cr_buf_add(out, tag.at + named, tag.len - named - (closed ? 2 : 1));
  cr_buf_addc(out, '>');
  put_content(out, region, node, value);
  cr_buf_adds(out, "</");
  cr_buf_add(out, lead.at, lead.len);
  cr_buf_adds(out, name);
  if(closed) {
    cr_buf_addc(out, '>');
  } else {
    size_t at = node->inner.end + 2;
    put(out, region, at + cr_tag_name_length(region->config + at, node->outer.end - at), node->outer.end);
  }
}

/* A new modern field at `at`, set off from what precedes it by the white space found from `space` on. Its prefix is
 * that of ViewerCertificate, which is in scope here whatever its children declare. */
static void put_new_field(struct cr_buf *out, const struct cr_region *region, size_t space, enum cr_field field,
                          const char *value)
{
  struct cr_piece lead = cr_region_lead(region, region->element);
  size_t end = space;

  while(cr_is_space(region->config[end])) { /* ends at a tag: a well-formed document does not end in here */
    end++;
  }
  put(out, region, space, end);
  cr_buf_addc(out, '<');
  cr_buf_add(out, lead.at, lead.len);
  cr_buf_adds(out, cr_field_names[field]);
  cr_buf_addc(out, '>');
  cr_xml_escape(out, value, strlen(value));
  cr_buf_adds(out, "</");
  cr_buf_add(out, lead.at, lead.len);
  cr_buf_adds(out, cr_field_names[field]);
  cr_buf_addc(out, '>');
}

/* What becomes of each field; fields not mentioned stay. */
struct edit {
  const char *name[CR_FIELD_COUNT];   /* local name afterwards; NULL: the field is not touched */
  const char *value[CR_FIELD_COUNT];
  bool drop[CR_FIELD_COUNT];
  const char *insert[CR_FIELD_COUNT]; /* values of fields to be added */
};

static void decide(const struct cr_region *region, enum cr_store store, const char *to, struct edit *edit)
{
  enum cr_field target = store == CR_STORE_ACM ? CR_FIELD_ACM : CR_FIELD_IAM;
  enum cr_field other = store == CR_STORE_ACM ? CR_FIELD_IAM : CR_FIELD_ACM;

  memset(edit, 0, sizeof *edit);
  if(region->field[target]) {
    edit->name[target] = cr_field_names[target];
    edit->value[target] = to;
    edit->drop[other] = region->value[other].len > 0;
  } else if(region->value[other].len) {
    edit->name[other] = cr_field_names[target];
    edit->value[other] = to;
  } else {
    edit->insert[target] = to; /* only the deprecated pair names the certificate so far */
  }
  if(region->value[CR_FIELD_TWIN].len) {
    edit->name[CR_FIELD_TWIN] = cr_field_names[CR_FIELD_TWIN];
    edit->value[CR_FIELD_TWIN] = to;
  }
  if(region->value[CR_FIELD_SOURCE].len && !cr_piece_is(region->value[CR_FIELD_SOURCE], cr_store_word(store))) {
    edit->name[CR_FIELD_SOURCE] = cr_field_names[CR_FIELD_SOURCE];
    edit->value[CR_FIELD_SOURCE] = cr_store_word(store);
  }
}

/* Where the white space in front of `at` begins, not before `floor`. */
static size_t space_before(const struct cr_region *region, size_t at, size_t floor)
{
  while(at > floor && cr_is_space(region->config[at - 1])) {
    at--;
  }
  return at;
}

static void put_new_fields(struct cr_buf *out, const struct cr_region *region, size_t space, const struct edit *edit)
{
  for(int i = 0; i < CR_FIELD_COUNT; i++) {
    if(edit->insert[i]) {
      put_new_field(out, region, space, (enum cr_field)i, edit->insert[i]);
    }
  }
}

/* New fields stand behind CloudFrontDefaultCertificate, or first where there is none. */
static void put_document(struct cr_buf *out, const struct cr_region *region, const struct edit *edit)
{
  const struct cr_node *by_default = region->field[CR_FIELD_DEFAULT];
  size_t done = 0, inner = region->element->inner.begin, room = out->max - out->len;

  cr_buf_reserve(out, region->len + EDIT_ROOM < room ? region->len + EDIT_ROOM : room);
  if(!by_default) {
    put(out, region, 0, inner);
    put_new_fields(out, region, inner, edit);
    done = inner;
  }
  for(const struct cr_node *child = region->element->first; child; child = child->next) {
    enum cr_field field = CR_FIELD_COUNT;
    for(int i = 0; i < CR_FIELD_COUNT; i++) {
      field = region->field[i] == child ? (enum cr_field)i : field;
    }
    if(field == CR_FIELD_COUNT) {
      continue;
    }
    if(edit->drop[field]) {
      put(out, region, done, space_before(region, child->outer.begin, done));
      done = child->outer.end;
    } else if(edit->name[field]) {
      put(out, region, done, child->outer.begin);
      cr_region_put_field(out, region, child, edit->name[field], edit->value[field]);
      done = child->outer.end;
    }
    if(child == by_default) {
      put(out, region, done, child->outer.end);
      put_new_fields(out, region, space_before(region, child->outer.begin, inner), edit);
      done = child->outer.end;
    }
  }
  put(out, region, done, region->len);
}

void cr_region_edit(const struct cr_region *region, enum cr_store store, const char *to, struct cr_buf *out)
{
  struct edit edit;
  decide(region, store, to, &edit);
  put_document(out, region, &edit);
}

/* A field gets its value where it stands, or is added. */
static void set(const struct cr_region *region, struct edit *edit, enum cr_field field, const char *value)
{
  if(region->field[field]) {
    edit->name[field] = cr_field_names[field];
    edit->value[field] = value;
  } else {
    edit->insert[field] = value;
  }
}

void cr_region_attach(const struct cr_region *region, const char *to, const char *method, const char *protocol,
                      struct cr_buf *out)
{
  enum cr_store store = cr_store_of(to);
  enum cr_field other = store == CR_STORE_ACM ? CR_FIELD_IAM : CR_FIELD_ACM;
  struct edit edit;

  memset(&edit, 0, sizeof edit);
  set(region, &edit, CR_FIELD_DEFAULT, "false");
  set(region, &edit, store == CR_STORE_ACM ? CR_FIELD_ACM : CR_FIELD_IAM, to);
  set(region, &edit, CR_FIELD_METHOD, method);
  set(region, &edit, CR_FIELD_PROTOCOL, protocol);
  edit.drop[other] = region->field[other] != NULL;
  if(region->field[CR_FIELD_TWIN]) {
    set(region, &edit, CR_FIELD_TWIN, to);
  }
  if(region->field[CR_FIELD_SOURCE]) {
    set(region, &edit, CR_FIELD_SOURCE, cr_store_word(store));
  }
  put_document(out, region, &edit);
}
