/* viewer_certificate_region.c - finds ViewerCertificate and its fields in a configuration, in bytes.
 *
 * Includes xml.h, nothing of expat. The document is parsed for where its parts lie; the tags themselves are read from
 * the bytes as received, which the edit will cut from. cr_region_locate fills a tree that its caller frees.
 *
 * Namespaces: names are compared by local name, and an element counts when it is in the namespace of the root,
 * whichever that is. Prefixes are resolved here, over the three levels that matter, instead of by expat, which
 * would refuse a document with an undeclared prefix somewhere that is none of our business. */
#include "viewer_certificate_private.h"

#include <string.h>

#include "xml.h"

/* Only the root and ViewerCertificate become nodes: enough for several hundred thousand of its children's bytes. */
#define TREE_MAX ((size_t)4 << 20)

const char *const cr_field_names[CR_FIELD_COUNT] = {
  "CloudFrontDefaultCertificate", "IAMCertificateId",       "ACMCertificateArn", "SSLSupportMethod",
  "MinimumProtocolVersion",       "Certificate",            "CertificateSource",
};

bool cr_is_space(char c)
{
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

struct cr_piece cr_piece_trim(struct cr_piece piece)
{
  while(piece.len && cr_is_space(piece.at[0])) {
    piece.at++;
    piece.len--;
  }
  while(piece.len && cr_is_space(piece.at[piece.len - 1])) {
    piece.len--;
  }
  return piece;
}

bool cr_piece_is(struct cr_piece piece, const char *text)
{
  return piece.len == strlen(text) && memcmp(piece.at, text, piece.len) == 0;
}

static bool same_pieces(struct cr_piece a, struct cr_piece b)
{
  return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

/* --- raw tags: expat has found them well-formed, but nothing here reads past their end if they were not */

struct cr_piece cr_region_start_tag(const struct cr_region *region, const struct cr_node *node)
{
  struct cr_piece tag = {region->config + node->outer.begin, node->inner.begin - node->outer.begin};
  return tag;
}

/* Length of the name that follows "<" or "</". */
size_t cr_tag_name_length(const char *at, size_t len)
{
  size_t i = 0;
  while(i < len && !cr_is_space(at[i]) && at[i] != '/' && at[i] != '>' && at[i] != '=') {
    i++;
  }
  return i;
}

/* The name's prefix with its colon: "cf:" of "cf:Id", empty of "Id". */
struct cr_piece cr_region_lead(const struct cr_region *region, const struct cr_node *node)
{
  struct cr_piece tag = cr_region_start_tag(region, node), lead = {tag.at + 1, 0};
  size_t len = cr_tag_name_length(tag.at + 1, tag.len - 1);
  const char *colon = memchr(lead.at, ':', len);
  if(colon) {
    lead.len = (size_t)(colon - lead.at) + 1;
  }
  return lead;
}

/* Takes the next name="value" off the front of *rest; false when there is none. */
static bool next_attribute(struct cr_piece *rest, struct cr_piece *name, struct cr_piece *value)
{
  const char *at = rest->at, *end = rest->at + rest->len, *close;

  while(at < end && cr_is_space(*at)) {
    at++;
  }
  name->at = at;
  name->len = cr_tag_name_length(at, (size_t)(end - at));
  at += name->len;
  while(at < end && cr_is_space(*at)) {
    at++;
  }
  if(!name->len || at == end || *at != '=') {
    return false;
  }
  at++;
  while(at < end && cr_is_space(*at)) {
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
static bool declares(struct cr_piece tag, struct cr_piece prefix, struct cr_piece *uri)
{
  size_t skip = 1 + cr_tag_name_length(tag.at + 1, tag.len - 1);
  struct cr_piece rest = {tag.at + skip, tag.len - skip}, name;

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

/* A prefix means the same on `node` as on its ancestor `top` when no tag from the one up to the other has attributes. */
static bool declares_nothing(const struct cr_region *region, const struct cr_node *node, const struct cr_node *top)
{
  for(; node != top; node = node->parent) {
    struct cr_piece tag = cr_region_start_tag(region, node);
    if(memchr(tag.at, '=', tag.len)) {
      return false;
    }
  }
  return true;
}

/* True when an element and its ancestor are in one namespace. An undeclared prefix is a namespace of its own. */
bool cr_region_same_namespace(const struct cr_region *region, const struct cr_node *a, const struct cr_node *b)
{
  const struct cr_node *nodes[2];
  struct cr_piece prefix[2], uri[2];
  bool known[2] = {false, false};

  nodes[0] = a;
  nodes[1] = b;
  for(int i = 0; i < 2; i++) {
    prefix[i] = cr_region_lead(region, nodes[i]);
    prefix[i].len -= prefix[i].len ? 1 : 0;
  }
  if(same_pieces(prefix[0], prefix[1]) && declares_nothing(region, a, b)) {
    return true;
  }
  for(int i = 0; i < 2; i++) {
    for(const struct cr_node *node = nodes[i]; node && !known[i]; node = node->parent) {
      known[i] = declares(cr_region_start_tag(region, node), prefix[i], &uri[i]);
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
  struct cr_piece rest = {config, len}, name, value;
  char encoding[32];

  if(len && memchr(config, 0, len)) {
    return cr_fail(err, CR_KIND_PARSE, "UnsupportedEncoding",
                   "the configuration holds zero bytes (UTF-16?); only UTF-8, US-ASCII and ISO-8859-1 are edited");
  }
  if(len >= 3 && memcmp(config, "\xEF\xBB\xBF", 3) == 0) {
    rest.at += 3;
    rest.len -= 3;
  }
  if(rest.len < 6 || memcmp(rest.at, "<?xml", 5) != 0 || !cr_is_space(rest.at[5])) {
    return 0; /* UTF-8, says XML */
  }
  rest.at += 5;
  rest.len -= 5;
  while(next_attribute(&rest, &name, &value)) {
    if(!cr_piece_is(name, "encoding")) {
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

static bool names_certificate(enum cr_field field)
{
  return field != CR_FIELD_METHOD && field != CR_FIELD_PROTOCOL;
}

/* The field that a child of ViewerCertificate is, or CR_FIELD_COUNT. */
static enum cr_field field_of(const struct cr_region *region, const struct cr_node *child)
{
  for(int i = 0; i < CR_FIELD_COUNT; i++) {
    if(cr_streq(child->name, cr_field_names[i])) {
      return cr_region_same_namespace(region, child, region->element->parent) ? (enum cr_field)i : CR_FIELD_COUNT;
    }
  }
  return CR_FIELD_COUNT;
}

const struct cr_node *cr_region_child_of(const struct cr_region *region, const struct cr_node *parent, const char *name,
                                         size_t *count)
{
  const struct cr_node *first = NULL;

  *count = 0;
  for(const struct cr_node *node = parent->first; node; node = node->next) {
    if(cr_streq(node->name, name) && cr_region_same_namespace(region, node, region->tree.root)) {
      first = first ? first : node;
      (*count)++;
    }
  }
  return first;
}

const struct cr_node *cr_region_child(const struct cr_region *region, const char *name, size_t *count)
{
  return cr_region_child_of(region, region->tree.root, name, count);
}

int cr_region_parse(struct cr_region *region, const struct cr_xml_view *view, const char *config, size_t len,
                    struct cr_error *err)
{
  memset(region, 0, sizeof *region);
  region->config = config;
  region->len = len;
  cr_tree_init(&region->tree, TREE_MAX);
  if(check_encoding(config, len, err) < 0) {
    return -1;
  }
  return cr_xml_parse(&region->tree, view, config, len, err);
}

/* Finds ViewerCertificate and its known children. region->tree is to be freed whatever the result. */
int cr_region_locate(struct cr_region *region, const char *config, size_t len, struct cr_error *err)
{
  static const char *const only[] = {"ViewerCertificate", NULL};
  static const struct cr_xml_view view = {.names = only};
  size_t found = 0;

  if(cr_region_parse(region, &view, config, len, err) < 0) {
    return -1;
  }
  region->element = cr_region_child(region, only[0], &found);
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
    enum cr_field field = field_of(region, child);
    if(field == CR_FIELD_COUNT) {
      continue;
    }
    if(names_certificate(field) && (region->field[field] || child->type != CR_NODE_TEXT)) {
      region->odd = true;
    }
    if(!region->field[field]) {
      struct cr_piece text = {child->text, child->len};
      region->field[field] = child;
      region->value[field] = cr_piece_trim(text);
    }
  }
  return 0;
}
