/* viewer_certificate.c - reads and changes the one region of a distribution's configuration that names a certificate.
 *
 * Includes xml.h only. The document is parsed for where its parts lie; what is written is cut from the bytes that
 * were received, so that nothing but the changed values can differ. The tree of one call is owned and freed by that
 * call; `out` belongs to the caller.
 *
 * Namespaces: names are compared by local name, and an element counts when it is in the namespace of the root,
 * whichever that is. Prefixes are resolved here, over the three levels that matter, instead of by expat, which
 * would refuse a document with an undeclared prefix somewhere that is none of our business. */
#include "viewer_certificate.h"

#include <string.h>

#include "xml.h"

/* Only the root and ViewerCertificate become nodes: enough for several hundred thousand of its children's bytes. */
#define TREE_MAX ((size_t)4 << 20)

enum field { FIELD_DEFAULT, FIELD_IAM, FIELD_ACM, FIELD_METHOD, FIELD_PROTOCOL, FIELD_TWIN, FIELD_SOURCE, FIELD_COUNT };

static const char *const field_names[FIELD_COUNT] = {
  "CloudFrontDefaultCertificate", "IAMCertificateId",       "ACMCertificateArn", "SSLSupportMethod",
  "MinimumProtocolVersion",       "Certificate",            "CertificateSource",
};

/* Some bytes of the configuration, or of a text in the tree. */
struct piece {
  const char *at;
  size_t len;
};

struct region {
  const char *config;
  size_t len;
  struct cr_tree tree;
  const struct cr_node *element;             /* ViewerCertificate */
  const struct cr_node *field[FIELD_COUNT];  /* the first of each, or NULL */
  struct piece value[FIELD_COUNT];           /* decoded, without the white space around it */
  bool odd;                                  /* a naming field is repeated or holds elements */
};

static bool is_space(char c)
{
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static struct piece trim(struct piece piece)
{
  while(piece.len && is_space(piece.at[0])) {
    piece.at++;
    piece.len--;
  }
  while(piece.len && is_space(piece.at[piece.len - 1])) {
    piece.len--;
  }
  return piece;
}

static bool same(struct piece piece, const char *text)
{
  return piece.len == strlen(text) && memcmp(piece.at, text, piece.len) == 0;
}

static bool same_pieces(struct piece a, struct piece b)
{
  return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

/* --- raw tags: expat has found them well-formed, but nothing here reads past their end if they were not */

static struct piece start_tag(const struct region *region, const struct cr_node *node)
{
  struct piece tag = {region->config + node->outer.begin, node->inner.begin - node->outer.begin};
  return tag;
}

/* Length of the name that follows "<" or "</". */
static size_t name_length(const char *at, size_t len)
{
  size_t i = 0;
  while(i < len && !is_space(at[i]) && at[i] != '/' && at[i] != '>' && at[i] != '=') {
    i++;
  }
  return i;
}

/* The name's prefix with its colon: "cf:" of "cf:Id", empty of "Id". */
static struct piece lead_of(const struct region *region, const struct cr_node *node)
{
  struct piece tag = start_tag(region, node), lead = {tag.at + 1, 0};
  size_t len = name_length(tag.at + 1, tag.len - 1);
  const char *colon = memchr(lead.at, ':', len);
  if(colon) {
    lead.len = (size_t)(colon - lead.at) + 1;
  }
  return lead;
}

/* Takes the next name="value" off the front of *rest; false when there is none. */
static bool next_attribute(struct piece *rest, struct piece *name, struct piece *value)
{
  const char *at = rest->at, *end = rest->at + rest->len, *close;

  while(at < end && is_space(*at)) {
    at++;
  }
  name->at = at;
  name->len = name_length(at, (size_t)(end - at));
  at += name->len;
  while(at < end && is_space(*at)) {
    at++;
  }
  if(!name->len || at == end || *at != '=') {
    return false;
  }
  at++;
  while(at < end && is_space(*at)) {
    at++;
  }
  if(at == end || (*at != '"' && *at != '\'')) {
    return false;
  }
  close = memchr(at + 1, *at, (size_t)(end - at - 1));
  if(!close) {
    return false;
  }
  value->at = at + 1;
  value->len = (size_t)(close - at - 1);
  rest->len -= (size_t)(close + 1 - rest->at);
  rest->at = close + 1;
  return true;
}

/* --- namespaces */

/* What a start tag declares for a prefix ("" or "cf", without colon). The URI is taken as it is spelled: one written
 * with character references counts as another namespace, which refuses the document rather than touching it. */
static bool declares(struct piece tag, struct piece prefix, struct piece *uri)
{
  size_t skip = 1 + name_length(tag.at + 1, tag.len - 1);
  struct piece rest = {tag.at + skip, tag.len - skip}, name;

  while(next_attribute(&rest, &name, uri)) {
    if(name.len < 5 || memcmp(name.at, "xmlns", 5) != 0) {
      continue;
    }
    name.at += 5;
    name.len -= 5;
    if(prefix.len == 0 ? name.len == 0
                       : name.len == 1 + prefix.len && *name.at == ':' && !memcmp(name.at + 1, prefix.at, prefix.len)) {
      return true;
    }
  }
  return false;
}

/* True when both elements are in one namespace. An undeclared prefix is a namespace of its own. */
static bool same_namespace(const struct region *region, const struct cr_node *a, const struct cr_node *b)
{
  const struct cr_node *nodes[2];
  struct piece prefix[2], uri[2];
  bool known[2] = {false, false};

  nodes[0] = a;
  nodes[1] = b;
  for(int i = 0; i < 2; i++) {
    prefix[i] = lead_of(region, nodes[i]);
    prefix[i].len -= prefix[i].len ? 1 : 0;
    for(const struct cr_node *node = nodes[i]; node && !known[i]; node = node->parent) {
      known[i] = declares(start_tag(region, node), prefix[i], &uri[i]);
    }
    if(!known[i] && prefix[i].len == 0) { /* no default namespace: the same as an empty one */
      uri[i] = prefix[i];
      known[i] = true;
    }
  }
  if(known[0] != known[1]) {
    return false;
  }
  return known[0] ? same_pieces(uri[0], uri[1]) : same_pieces(prefix[0], prefix[1]);
}

/* --- reading */

/* The edit works on bytes: markup and reference have to be ASCII in them. */
static int check_encoding(const char *config, size_t len, struct cr_error *err)
{
  static const char *const accepted[] = {"UTF-8", "US-ASCII", "ISO-8859-1"};
  struct piece rest = {config, len}, name, value;
  char encoding[32];

  if(len && memchr(config, 0, len)) {
    return cr_fail(err, CR_KIND_PARSE, "UnsupportedEncoding",
                   "the configuration holds zero bytes (UTF-16?); only UTF-8, US-ASCII and ISO-8859-1 are edited");
  }
  if(len >= 3 && memcmp(config, "\xEF\xBB\xBF", 3) == 0) {
    rest.at += 3;
    rest.len -= 3;
  }
  if(rest.len < 6 || memcmp(rest.at, "<?xml", 5) != 0 || !is_space(rest.at[5])) {
    return 0; /* UTF-8, says XML */
  }
  rest.at += 5;
  rest.len -= 5;
  while(next_attribute(&rest, &name, &value)) {
    if(!same(name, "encoding")) {
      continue;
    }
    value.len = value.len < sizeof encoding ? value.len : sizeof encoding - 1;
    for(size_t i = 0; i < value.len; i++) {
      encoding[i] = value.at[i] > 0x20 && value.at[i] < 0x7F ? value.at[i] : '?';
    }
    encoding[value.len] = '\0';
    for(size_t i = 0; i < sizeof accepted / sizeof accepted[0]; i++) {
      if(cr_strcasecmp(encoding, accepted[i]) == 0) {
        return 0;
      }
    }
    return cr_fail(err, CR_KIND_PARSE, "UnsupportedEncoding",
                   "the configuration declares the encoding \"%s\"; only UTF-8, US-ASCII and ISO-8859-1 are edited",
                   encoding);
  }
  return 0;
}

static bool names_certificate(enum field field)
{
  return field != FIELD_METHOD && field != FIELD_PROTOCOL;
}

/* The field that a child of ViewerCertificate is, or FIELD_COUNT. */
static enum field field_of(const struct region *region, const struct cr_node *child)
{
  for(int i = 0; i < FIELD_COUNT; i++) {
    if(cr_streq(child->name, field_names[i])) {
      return same_namespace(region, child, region->element->parent) ? (enum field)i : FIELD_COUNT;
    }
  }
  return FIELD_COUNT;
}

/* Finds ViewerCertificate and its known children. region->tree is to be freed whatever the result. */
static int locate(struct region *region, const char *config, size_t len, struct cr_error *err)
{
  static const char *const only[] = {"ViewerCertificate", NULL};
  static const struct cr_xml_view view = {NULL, only};
  size_t found = 0;

  memset(region, 0, sizeof *region);
  region->config = config;
  region->len = len;
  cr_tree_init(&region->tree, TREE_MAX);
  if(check_encoding(config, len, err) < 0 || cr_xml_parse(&region->tree, &view, config, len, err) < 0) {
    return -1;
  }
  for(const struct cr_node *node = region->tree.root->first; node; node = node->next) {
    if(same_namespace(region, node, region->tree.root)) {
      region->element = node;
      found++;
    }
  }
  if(found == 0) {
    return cr_fail(err, CR_KIND_PARSE, "NoViewerCertificate",
                   "no ViewerCertificate directly below the root: this is not a distribution's configuration but %s",
                   region->tree.root->name);
  }
  if(found > 1) {
    return cr_fail(err, CR_KIND_PARSE, "ManyViewerCertificates",
                   "the configuration holds %zu ViewerCertificate elements; which one counts cannot be told", found);
  }
  for(const struct cr_node *child = region->element->first; child; child = child->next) {
    enum field field = field_of(region, child);
    if(field == FIELD_COUNT) {
      continue;
    }
    if(names_certificate(field) && (region->field[field] || child->type != CR_NODE_TEXT)) {
      region->odd = true;
    }
    if(!region->field[field]) {
      struct piece text = {child->text, child->len};
      region->field[field] = child;
      region->value[field] = trim(text);
    }
  }
  return 0;
}

/* Copies a value where it fits, else leaves "". */
static bool copy_value(char *to, size_t size, struct piece value)
{
  if(value.len >= size) {
    to[0] = '\0';
    return false;
  }
  if(value.len) {
    memcpy(to, value.at, value.len);
  }
  to[value.len] = '\0';
  return true;
}

static const char *source_word(enum cr_store store)
{
  return store == CR_STORE_ACM ? "acm" : "iam";
}

/* What the deprecated pair says alone, or beside the modern field that filled *out. */
static void weigh_pair(const struct region *region, struct cr_viewer_certificate *out)
{
  struct piece twin = region->value[FIELD_TWIN], source = region->value[FIELD_SOURCE];

  if(!out->reference[0] && twin.len) {
    out->disagree = out->disagree || !copy_value(out->reference, sizeof out->reference, twin);
    out->store = cr_store_of(out->reference);
  } else if(twin.len && !same(twin, out->reference)) {
    out->disagree = true;
  }
  if(!source.len) {
    return;
  }
  if(same(source, "cloudfront")) {
    out->default_certificate = true;
    return;
  }
  if(out->reference[0] && out->store == CR_STORE_NONE) { /* a shape not known to us: the source decides */
    out->store = same(source, "acm") ? CR_STORE_ACM : CR_STORE_IAM;
  }
  if(out->store == CR_STORE_NONE || !same(source, source_word(out->store))) {
    out->disagree = true; /* another store, an unknown word, or a source of nothing */
  }
}

static void weigh(const struct region *region, struct cr_viewer_certificate *out)
{
  struct piece iam = region->value[FIELD_IAM], acm = region->value[FIELD_ACM];
  struct piece by_default = region->value[FIELD_DEFAULT];
  enum cr_store shape;

  memset(out, 0, sizeof *out);
  out->begin = region->element->outer.begin;
  out->end = region->element->outer.end;
  out->disagree = region->odd || (iam.len && acm.len);
  out->default_certificate = same(by_default, "true") || same(by_default, "1");
  copy_value(out->ssl_support_method, sizeof out->ssl_support_method, region->value[FIELD_METHOD]);
  copy_value(out->minimum_protocol_version, sizeof out->minimum_protocol_version, region->value[FIELD_PROTOCOL]);
  if(acm.len || iam.len) {
    out->store = acm.len ? CR_STORE_ACM : CR_STORE_IAM;
    if(!copy_value(out->reference, sizeof out->reference, acm.len ? acm : iam)) {
      out->disagree = true; /* longer than any reference: names nothing we know */
    }
    shape = cr_store_of(out->reference);
    if(shape != CR_STORE_NONE && shape != out->store) {
      out->disagree = true; /* an ARN where an id belongs, or the reverse */
    }
  }
  weigh_pair(region, out);
  if(out->default_certificate && out->reference[0]) {
    out->disagree = true;
  }
}

enum cr_store cr_store_of(const char *reference)
{
  size_t len = strlen(reference), partition;
  bool word = true;

  for(size_t i = 0; i < len; i++) {
    char c = reference[i];
    if(c <= 0x20 || c >= 0x7F) {
      return CR_STORE_NONE;
    }
    word = word && ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_');
  }
  if(word) {
    return len >= 16 && len <= 32 ? CR_STORE_IAM : CR_STORE_NONE;
  }
  if(len > 2048 || strncmp(reference, "arn:", 4) != 0) {
    return CR_STORE_NONE;
  }
  partition = strcspn(reference + 4, ":");
  return partition && strncmp(reference + 4 + partition, ":acm:", 5) == 0 ? CR_STORE_ACM : CR_STORE_NONE;
}

int cr_viewer_certificate_read(const char *config, size_t len, struct cr_viewer_certificate *out, struct cr_error *err)
{
  struct region region;
  int rc = locate(&region, config, len, err);
  if(rc == 0) {
    weigh(&region, out);
  } else {
    memset(out, 0, sizeof *out);
  }
  cr_tree_free(&region.tree);
  return rc;
}

/* --- writing: failed appends are found once, at the end */

static void put(struct cr_buf *out, const struct region *region, size_t begin, size_t end)
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
static void put_content(struct cr_buf *out, const struct region *region, const struct cr_node *node, const char *value)
{
  size_t at = node->inner.begin, end = node->inner.end;
  bool written = false;

  while(at < end) {
    size_t stop = past_aside(region->config, at, end);
    if(stop > at) {
      put(out, region, at, stop);
    } else {
      struct piece run, core;
      stop = past_text(region->config, at, end);
      if(stop == at) {
        break; /* an element: fields with elements are never written */
      }
      run.at = region->config + at;
      run.len = stop - at;
      core = trim(run);
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

/* A field as it stands but for its local name and its value; "<A/>" is opened. */
static void put_field(struct cr_buf *out, const struct region *region, const struct cr_node *node, const char *name,
                      const char *value)
{
  struct piece tag = start_tag(region, node), lead = lead_of(region, node);
  size_t named = 1 + name_length(tag.at + 1, tag.len - 1);
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
    size_t end_name = node->inner.end + 2;
    put(out, region, end_name + name_length(region->config + end_name, node->outer.end - end_name), node->outer.end);
  }
}

/* A new modern field at `at`, set off from what precedes it by the white space found from `space` on. Its prefix is
 * that of ViewerCertificate, which is in scope here whatever its children declare. */
static void put_new_field(struct cr_buf *out, const struct region *region, size_t space, enum field field,
                          const char *value)
{
  struct piece lead = lead_of(region, region->element);
  size_t end = space;

  while(is_space(region->config[end])) { /* ends at a tag: a well-formed document does not end in here */
    end++;
  }
  put(out, region, space, end);
  cr_buf_addc(out, '<');
  cr_buf_add(out, lead.at, lead.len);
  cr_buf_adds(out, field_names[field]);
  cr_buf_addc(out, '>');
  cr_xml_escape(out, value, strlen(value));
  cr_buf_adds(out, "</");
  cr_buf_add(out, lead.at, lead.len);
  cr_buf_adds(out, field_names[field]);
  cr_buf_addc(out, '>');
}

/* What becomes of each field; fields not mentioned stay. */
struct edit {
  const char *name[FIELD_COUNT];   /* local name afterwards; NULL: the field is not touched */
  const char *value[FIELD_COUNT];
  bool drop[FIELD_COUNT];
  enum field insert;               /* to be added with insert_value; FIELD_COUNT: nothing is missing */
  const char *insert_value;
};

static void decide(const struct region *region, enum cr_store store, const char *to, struct edit *edit)
{
  enum field target = store == CR_STORE_ACM ? FIELD_ACM : FIELD_IAM;
  enum field other = store == CR_STORE_ACM ? FIELD_IAM : FIELD_ACM;

  memset(edit, 0, sizeof *edit);
  edit->insert = FIELD_COUNT;
  if(region->field[target]) {
    edit->name[target] = field_names[target];
    edit->value[target] = to;
    edit->drop[other] = region->value[other].len > 0;
  } else if(region->value[other].len) {
    edit->name[other] = field_names[target];
    edit->value[other] = to;
  } else {
    edit->insert = target; /* only the deprecated pair names the certificate so far */
    edit->insert_value = to;
  }
  if(region->value[FIELD_TWIN].len) {
    edit->name[FIELD_TWIN] = field_names[FIELD_TWIN];
    edit->value[FIELD_TWIN] = to;
  }
  if(region->value[FIELD_SOURCE].len && !same(region->value[FIELD_SOURCE], source_word(store))) {
    edit->name[FIELD_SOURCE] = field_names[FIELD_SOURCE];
    edit->value[FIELD_SOURCE] = source_word(store);
  }
}

/* Where the white space in front of `at` begins, not before `floor`. */
static size_t space_before(const struct region *region, size_t at, size_t floor)
{
  while(at > floor && is_space(region->config[at - 1])) {
    at--;
  }
  return at;
}

static void put_document(struct cr_buf *out, const struct region *region, const struct edit *edit)
{
  const struct cr_node *by_default = region->field[FIELD_DEFAULT];
  size_t done = 0, inner = region->element->inner.begin;

  if(edit->insert != FIELD_COUNT && !by_default) {
    put(out, region, 0, inner);
    put_new_field(out, region, inner, edit->insert, edit->insert_value);
    done = inner;
  }
  for(const struct cr_node *child = region->element->first; child; child = child->next) {
    enum field field = FIELD_COUNT;
    for(int i = 0; i < FIELD_COUNT; i++) {
      field = region->field[i] == child ? (enum field)i : field;
    }
    if(field == FIELD_COUNT) {
      continue;
    }
    if(edit->drop[field]) {
      put(out, region, done, space_before(region, child->outer.begin, done));
      done = child->outer.end;
    } else if(edit->name[field]) {
      put(out, region, done, child->outer.begin);
      put_field(out, region, child, edit->name[field], edit->value[field]);
      done = child->outer.end;
    } else if(edit->insert != FIELD_COUNT && child == by_default) {
      put(out, region, done, child->outer.end);
      put_new_field(out, region, space_before(region, child->outer.begin, inner), edit->insert,
                    edit->insert_value);
      done = child->outer.end;
    }
  }
  put(out, region, done, region->len);
}

static int check_reference(const char *reference, const char *which, struct cr_error *err)
{
  if(reference && cr_store_of(reference) != CR_STORE_NONE) {
    return 0;
  }
  return cr_fail(err, CR_KIND_INPUT, "InvalidReference",
                 "%s certificate is neither an ACM ARN (arn:aws:acm:...) nor an IAM server-certificate id: %s", which,
                 reference ? reference : "");
}

int cr_viewer_certificate_swap(const char *config, size_t len, const char *from, const char *to, struct cr_buf *out,
                               enum cr_names *names, struct cr_error *err)
{
  struct region region;
  struct cr_viewer_certificate now;
  struct edit edit;
  int rc;

  *names = CR_NAMES_OTHER;
  if(check_reference(from, "the old", err) < 0 || check_reference(to, "the new", err) < 0) {
    return -1;
  }
  rc = locate(&region, config, len, err);
  if(rc == 0) {
    weigh(&region, &now);
    if(now.disagree || now.default_certificate) {
      *names = CR_NAMES_OTHER;
    } else if(cr_streq(now.reference, to)) {
      *names = CR_NAMES_NEW;
    } else if(cr_streq(now.reference, from)) {
      *names = CR_NAMES_OLD;
      decide(&region, cr_store_of(to), to, &edit);
      put_document(out, &region, &edit);
      rc = cr_buf_check(out, "edited configuration", err);
      if(rc < 0) {
        cr_buf_reset(out);
      }
    }
  }
  cr_tree_free(&region.tree);
  return rc;
}
