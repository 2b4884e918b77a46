/* xml_plain.c - tells a plain document well-formed by its tags alone, and where its parts lie (see xml_plain.h).
 *
 * Accepts less than XML, never more: each rule here is one of XML's or stricter. Reads the caller's bytes, owns
 * nothing, allocates nothing. */
#include "xml_plain.h"
#include "xml.h"

#include <string.h>

/* A walk over the tags from the root's on. */
struct walk {
  const char *data;
  size_t len, at;                        /* `at`: behind the latest tag */
  struct cr_span open[CR_XML_DEPTH_MAX]; /* names of the open elements, the root's first */
  size_t depth;
};

/* --- the whole document, whatever its structure */

/* Written without branches, so that compilers look at many bytes at once. */
static bool is_printable(const char *data, size_t len)
{
  unsigned char odd = 0;
  for(size_t i = 0; i < len; i++) {
    unsigned char c = (unsigned char)data[i];
    odd |= (unsigned char)(((c < 0x20) & (c != '\t') & (c != '\n') & (c != '\r')) | (c > 0x7E));
  }
  return !odd;
}

static bool is_reference(const char *at, size_t len)
{
  static const char *const known[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&apos;"};
  for(size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    size_t size = strlen(known[i]);
    if(len >= size && memcmp(at, known[i], size) == 0) {
      return true;
    }
  }
  return false;
}

/* No "&" but in a reference, no "]]>", which text must not hold. */
static bool is_simple_text(const char *data, size_t len)
{
  const char *end = data + len, *at = data;
  while((at = memchr(at, '&', (size_t)(end - at)))) {
    if(!is_reference(at, (size_t)(end - at))) {
      return false;
    }
    at++;
  }
  at = data;
  while((at = memchr(at, ']', (size_t)(end - at)))) {
    if(end - at >= 3 && at[1] == ']' && at[2] == '>') {
      return false;
    }
    at++;
  }
  return true;
}

static size_t past_space(const char *data, size_t at, size_t len)
{
  while(at < len && (data[at] == ' ' || data[at] == '\t' || data[at] == '\n' || data[at] == '\r')) {
    at++;
  }
  return at;
}

/* --- tags */

static size_t name_length(const char *at, const char *end)
{
  const char *begin = at;
  for(; at < end; at++) {
    char lower = (char)(*at | 0x20);
    if((lower >= 'a' && lower <= 'z') || *at == '_') {
      continue;
    }
    if(at == begin || !((*at >= '0' && *at <= '9') || *at == ':' || *at == '.' || *at == '-')) {
      break;
    }
  }
  return (size_t)(at - begin);
}

static bool is_wanted(const char *const *names, const char *name, size_t len)
{
  const char *colon = memchr(name, ':', len);
  if(colon && colon + 1 < name + len) {
    len -= (size_t)(colon + 1 - name);
    name = colon + 1;
  }
  for(; *names; names++) {
    if(strncmp(*names, name, len) == 0 && (*names)[len] == '\0') {
      return true;
    }
  }
  return false;
}

static bool push(struct walk *walk, size_t name, size_t len)
{
  if(walk->depth == CR_XML_DEPTH_MAX) {
    return false;
  }
  walk->open[walk->depth].begin = name;
  walk->open[walk->depth++].end = name + len;
  return true;
}

/* The root's start tag, the only one that may have attributes; a declaration may stand before it. What is in either
 * the parser judges: here only where they end. */
static bool open_root(struct walk *walk)
{
  const char *data = walk->data, *end = data + walk->len;
  size_t name;
  char quote = '\0';

  if(walk->len > 5 && memcmp(data, "<?xml", 5) == 0) {
    const char *close = memchr(data, '>', walk->len);
    if(!close || close[-1] != '?') {
      return false;
    }
    walk->at = (size_t)(close + 1 - data);
  }
  walk->at = past_space(data, walk->at, walk->len);
  if(walk->at == walk->len || data[walk->at] != '<') {
    return false;
  }
  name = walk->at + 1;
  if(!push(walk, name, name_length(data + name, end)) || walk->open[0].end == name) {
    return false;
  }
  for(walk->at = walk->open[0].end; walk->at < walk->len; walk->at++) {
    char c = data[walk->at];
    if(quote) {
      quote = c == quote ? '\0' : quote;
    } else if(c == '"' || c == '\'') {
      quote = c;
    } else if(c == '>') {
      walk->at++;
      return data[walk->at - 2] != '/';
    }
  }
  return false;
}

/* "</Name>" of the innermost open element. */
static bool close_element(struct walk *walk)
{
  const struct cr_span *name = &walk->open[walk->depth - 1];
  size_t len = name->end - name->begin, begin = walk->at + 2;

  if(walk->len - begin <= len || walk->data[begin + len] != '>' ||
     memcmp(walk->data + begin, walk->data + name->begin, len) != 0) {
    return false;
  }
  walk->depth--;
  walk->at = begin + len + 1;
  return true;
}

/* "<Name>" or "<Name/>". */
static bool open_element(struct walk *walk)
{
  size_t begin = walk->at + 1, len = name_length(walk->data + begin, walk->data + walk->len), end = begin + len;

  if(!len || walk->len - end < 2) {
    return false;
  }
  if(walk->data[end] == '>') {
    walk->at = end + 1;
    return push(walk, begin, len);
  }
  walk->at = end + 2;
  return walk->data[end] == '/' && walk->data[end + 1] == '>' && walk->depth < CR_XML_DEPTH_MAX;
}

static bool add_part(struct cr_xml_parts *out, size_t begin, size_t end)
{
  if(out->count == CR_XML_PARTS_MAX) {
    return false;
  }
  out->part[out->count].begin = begin;
  out->part[out->count++].end = end;
  return true;
}

bool cr_xml_plain(const char *data, size_t len, const char *const *names, struct cr_xml_parts *out)
{
  struct walk walk = {.data = data, .len = len};
  size_t child = 0;                      /* where the latest tag between the root's begins */

  out->count = 0;
  if(!len || !is_printable(data, len) || !is_simple_text(data, len) || !open_root(&walk) ||
     !add_part(out, 0, walk.at)) {
    return false;
  }
  for(;;) {
    const char *tag = memchr(data + walk.at, '<', len - walk.at);
    if(!tag || tag + 1 == data + len) {
      return false;
    }
    walk.at = (size_t)(tag - data);
    if(walk.depth == 1) {
      child = walk.at;
    }
    if(tag[1] == '/' ? !close_element(&walk) : !open_element(&walk)) {
      return false;
    }
    if(walk.depth == 0) {
      break;
    }
    if(walk.depth == 1 && is_wanted(names, data + child + 1, name_length(data + child + 1, data + len)) &&
       !add_part(out, child, walk.at)) {
      return false;
    }
  }
  /* A root nothing of which is kept would look like one without children. */
  return out->count > 1 && past_space(data, walk.at, len) == len && add_part(out, child, len);
}
