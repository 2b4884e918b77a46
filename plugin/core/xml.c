/* xml.c - a push parser that turns what AWS answers into a bounded tree, and passes over what nobody asked for.
 *
 * Includes expat, nothing of curl, OpenSSL or Lua. The parser owns expat's state and one text buffer; the nodes
 * belong to the caller's tree. expat's frames are never jumped over: a handler that cannot go on notes why and
 * stops the parser. Answers carry session credentials at times, so expat's own memory is wiped as well. */
#include "xml.h"
#include "xml_plain.h"

#include <expat.h>
#include <stdlib.h>
#include <string.h>

/* expat takes lengths as int, and copies what it is given before it looks at it: where little of an answer is wanted,
 * little is given. */
#define SLICE ((size_t)1 << 30)
#define FIRST_SLICE ((size_t)512)

/* ENOUGH is none: the view has all it wants. */
enum trouble { TROUBLE_NONE, TROUBLE_ENOUGH, TROUBLE_DOCTYPE, TROUBLE_DEPTH, TROUBLE_FULL, TROUBLE_MEMORY };

struct cr_xml {
  XML_Parser parser;
  struct cr_tree *tree;        /* the caller's */
  struct cr_xml_view view;     /* names NULL: everything is kept */
  struct cr_node *open;        /* innermost kept element that is open */
  struct cr_buf text;          /* its character data so far; `len` is set back by hand, freeing wipes all of it */
  unsigned depth;              /* open elements that are kept */
  unsigned under;              /* depth of the open `view.under`, 0 outside */
  unsigned skipped;            /* open elements inside a child passed over, itself included */
  size_t left_out;             /* bytes of the document so far that expat was not given */
  enum trouble trouble;
  bool fed, finished, failed;
  struct cr_error error;       /* once failed */
};

/* --- expat's memory: as malloc, but wiped when given back. The size stands in front. */

#define HEADER 16

static void *memory_get(size_t size)
{
  char *block = size <= SIZE_MAX - HEADER ? malloc(HEADER + size) : NULL;
  if(!block) {
    return NULL;
  }
  memcpy(block, &size, sizeof size);
  return block + HEADER;
}

static void memory_free(void *data)
{
  char *block = data;
  size_t size;
  if(block) {
    block -= HEADER;
    memcpy(&size, block, sizeof size);
    cr_wipe(block, HEADER + size);
    free(block);
  }
}

static void *memory_resize(void *data, size_t size)
{
  void *fresh = memory_get(size);
  size_t old;
  if(!data || !fresh) {
    return fresh;
  }
  memcpy(&old, (char *)data - HEADER, sizeof old);
  memcpy(fresh, data, old < size ? old : size);
  memory_free(data);
  return fresh;
}

static const XML_Memory_Handling_Suite memory = {memory_get, memory_resize, memory_free};

/* --- handlers. After XML_StopParser expat may still call one or two of them: `trouble` makes those do nothing. */

static void on_start(void *data, const XML_Char *name, const XML_Char **attributes);
static void on_end(void *data, const XML_Char *name);
static void on_text(void *data, const XML_Char *text, int len);

static void stop(struct cr_xml *xml, enum trouble trouble)
{
  xml->trouble = trouble;
  XML_StopParser(xml->parser, XML_FALSE);
}

/* Why the tree gave nothing: its limit, of which `left` bytes remained before `need` were asked for, or malloc. */
static enum trouble shortage(size_t left, size_t need)
{
  return need > left ? TROUBLE_FULL : TROUBLE_MEMORY;
}

static const char *local_name(const char *name)
{
  const char *colon = strchr(name, ':');
  return colon && colon[1] ? colon + 1 : name;
}

static bool wanted(const struct cr_xml *xml, const char *name)
{
  for(const char *const *want = xml->view.names; *want; want++) {
    if((*want)[0] == name[0] && strcmp(*want, name) == 0) {
      return true;
    }
  }
  return false;
}

/* While a child is passed over, expat has nothing else to call than these two, and they only count. */
static void on_skipped_start(void *data, const XML_Char *name, const XML_Char **attributes)
{
  struct cr_xml *xml = data;
  (void)name;
  (void)attributes;
  if(++xml->skipped > CR_XML_DEPTH_MAX - xml->depth) {
    stop(xml, TROUBLE_DEPTH);
  }
}

static void on_skipped_end(void *data, const XML_Char *name)
{
  struct cr_xml *xml = data;
  (void)name;
  if(--xml->skipped == 0) {
    XML_SetElementHandler(xml->parser, on_start, on_end);
    XML_SetCharacterDataHandler(xml->parser, on_text);
  }
}

static void on_start(void *data, const XML_Char *name, const XML_Char **attributes)
{
  struct cr_xml *xml = data;
  struct cr_node *node;
  size_t left = xml->tree->max_bytes - xml->tree->bytes;
  size_t begin;

  (void)attributes;
  if(xml->trouble) {
    return;
  }
  if(xml->depth >= CR_XML_DEPTH_MAX) {
    stop(xml, TROUBLE_DEPTH);
    return;
  }
  name = local_name(name);
  if(xml->open) {
    xml->open->type = CR_NODE_MAP; /* also when this child is passed over */
  }
  if(xml->under && xml->depth == xml->under && !wanted(xml, name)) {
    xml->skipped = 1;
    XML_SetElementHandler(xml->parser, on_skipped_start, on_skipped_end);
    XML_SetCharacterDataHandler(xml->parser, NULL);
    return;
  }
  node = cr_node_add(xml->tree, xml->open, name, CR_NODE_NULL);
  if(!node) {
    stop(xml, shortage(left, strlen(name) + 1 + sizeof *node));
    return;
  }
  begin = xml->left_out + (size_t)XML_GetCurrentByteIndex(xml->parser);
  node->outer.begin = begin;
  node->inner.begin = begin + (size_t)XML_GetCurrentByteCount(xml->parser);
  xml->open = node;
  xml->depth++;
  xml->text.len = 0;
  if(xml->view.names && !xml->under && (!xml->view.under || strcmp(name, xml->view.under) == 0)) {
    xml->under = xml->depth;
  }
}

static void on_end(void *data, const XML_Char *name)
{
  struct cr_xml *xml = data;
  struct cr_node *node = xml->open;
  size_t end;

  (void)name;
  if(xml->trouble) {
    return;
  }
  /* For "<A/>" expat places this event behind the tag, with no bytes of its own. */
  end = xml->left_out + (size_t)XML_GetCurrentByteIndex(xml->parser);
  node->inner.end = end;
  node->outer.end = end + (size_t)XML_GetCurrentByteCount(xml->parser);
  if(node->type == CR_NODE_NULL) {
    node->type = CR_NODE_TEXT;
    if(xml->text.len) {
      const char *copy = cr_tree_text(xml->tree, xml->text.data, xml->text.len);
      if(!copy) {
        stop(xml, shortage(xml->tree->max_bytes - xml->tree->bytes, xml->text.len + 1));
        return;
      }
      node->text = copy;
      node->len = xml->text.len;
    }
  }
  if(xml->depth == xml->under) {
    xml->under = 0;
  }
  xml->depth--;
  xml->open = node->parent;
  if(xml->view.first && xml->under && xml->depth == xml->under) {
    stop(xml, TROUBLE_ENOUGH);
  }
}

static void on_text(void *data, const XML_Char *text, int len)
{
  struct cr_xml *xml = data;
  if(xml->trouble || xml->open->type == CR_NODE_MAP) {
    return;
  }
  if(cr_buf_add(&xml->text, text, (size_t)len) < 0) {
    stop(xml, xml->text.state == CR_BUF_TOO_LARGE ? TROUBLE_FULL : TROUBLE_MEMORY);
  }
}

static void on_doctype(void *data, const XML_Char *name, const XML_Char *system_id, const XML_Char *public_id,
                       int has_internal_subset)
{
  (void)name;
  (void)system_id;
  (void)public_id;
  (void)has_internal_subset;
  stop(data, TROUBLE_DOCTYPE);
}

/* --- the parser */

struct cr_xml *cr_xml_new(struct cr_tree *tree, const struct cr_xml_view *view)
{
  struct cr_xml *xml = calloc(1, sizeof *xml);
  if(!xml) {
    return NULL;
  }
  xml->tree = tree;
  if(view) {
    xml->view = *view;
  }
  cr_buf_init(&xml->text, tree->max_bytes);
  xml->parser = XML_ParserCreate_MM(NULL, &memory, NULL);
  if(!xml->parser) {
    cr_xml_free(xml);
    return NULL;
  }
  XML_SetUserData(xml->parser, xml);
  XML_SetElementHandler(xml->parser, on_start, on_end);
  XML_SetCharacterDataHandler(xml->parser, on_text);
  XML_SetStartDoctypeDeclHandler(xml->parser, on_doctype);
  return xml;
}

void cr_xml_free(struct cr_xml *xml)
{
  if(!xml) {
    return;
  }
  if(xml->parser) {
    XML_ParserFree(xml->parser);
  }
  cr_buf_free(&xml->text);
  free(xml);
}

/* What stopped a handler. */
static void explain_trouble(struct cr_xml *xml, unsigned long line)
{
  switch(xml->trouble) {
  case TROUBLE_DOCTYPE:
    cr_fail(&xml->error, CR_KIND_PARSE, "XmlDoctype",
            "the answer declares a document type (line %lu), which AWS never does and which is refused; "
            "something else may have answered in its place", line);
    return;
  case TROUBLE_DEPTH:
    cr_fail(&xml->error, CR_KIND_PARSE, "XmlTooDeep",
            "the answer nests elements more than %d deep (line %lu), which AWS never does; "
            "something else may have answered in its place", CR_XML_DEPTH_MAX, line);
    return;
  case TROUBLE_FULL:
    cr_fail(&xml->error, CR_KIND_MEMORY, "TooLarge",
            "the answer is larger than the limit: what is kept of it exceeds %zu bytes in line %lu",
            xml->tree->max_bytes, line);
    return;
  case TROUBLE_NONE:
  case TROUBLE_ENOUGH:
  case TROUBLE_MEMORY:
    break;
  }
  cr_fail_memory(&xml->error);
}

/* Says what went wrong, once; returns -1. */
static int fail(struct cr_xml *xml)
{
  enum XML_Error code = XML_GetErrorCode(xml->parser);
  unsigned long line = (unsigned long)XML_GetCurrentLineNumber(xml->parser);

  xml->failed = true;
  if(xml->trouble) {
    explain_trouble(xml, line);
    return -1;
  }
  switch(code) {
  case XML_ERROR_NO_MEMORY:
    cr_fail_memory(&xml->error);
    break;
  case XML_ERROR_NO_ELEMENTS:
  case XML_ERROR_UNCLOSED_TOKEN:
  case XML_ERROR_PARTIAL_CHAR:
  case XML_ERROR_UNCLOSED_CDATA_SECTION:
    if(xml->fed) {
      cr_fail(&xml->error, CR_KIND_PARSE, "XmlTruncated",
              "the answer ends too early, in line %lu: the rest of its XML is missing, the transfer was cut off", line);
    } else {
      cr_fail(&xml->error, CR_KIND_PARSE, "XmlTruncated", "the answer is empty where XML was expected");
    }
    xml->error.retryable = true;
    break;
  default:
    cr_fail(&xml->error, CR_KIND_PARSE, "XmlMalformed",
            "the answer is not well-formed XML (line %lu: %s); something else may have answered in place of AWS", line,
            XML_ErrorString(code));
    break;
  }
  return -1;
}

static int repeat_error(const struct cr_xml *xml, struct cr_error *err)
{
  if(err) {
    *err = xml->error;
  }
  return -1;
}

int cr_xml_feed(struct cr_xml *xml, const char *data, size_t len, struct cr_error *err)
{
  if(!xml->failed && xml->finished && len) {
    return cr_fail(err, CR_KIND_INPUT, "XmlFinished", "cr_xml_feed: the document was already finished");
  }
  while(!xml->failed && len && xml->trouble != TROUBLE_ENOUGH) {
    size_t most = xml->view.first ? FIRST_SLICE : SLICE, slice = len < most ? len : most;
    xml->fed = true;
    if(XML_Parse(xml->parser, data, (int)slice, 0) != XML_STATUS_OK && xml->trouble != TROUBLE_ENOUGH) {
      fail(xml);
    }
    data += slice;
    len -= slice;
  }
  return xml->failed ? repeat_error(xml, err) : 0;
}

int cr_xml_finish(struct cr_xml *xml, struct cr_error *err)
{
  if(!xml->failed && !xml->finished) {
    xml->finished = true;
    if(xml->trouble != TROUBLE_ENOUGH && XML_Parse(xml->parser, "", 0, 1) != XML_STATUS_OK) {
      fail(xml);
    }
  }
  return xml->failed ? repeat_error(xml, err) : 0;
}

/* The document without what lies between its parts. */
static int parse_parts(struct cr_tree *tree, const struct cr_xml_view *view, const char *data,
                       const struct cr_xml_parts *parts, struct cr_error *err)
{
  struct cr_xml *xml = cr_xml_new(tree, view);
  size_t done = 0;
  int rc = 0;

  if(!xml) {
    return cr_fail_memory(err);
  }
  for(size_t i = 0; i < parts->count && rc == 0; i++) {
    const struct cr_span *part = &parts->part[i];
    xml->left_out += part->begin - done; /* expat has told all of the part before: each ends with a tag */
    rc = cr_xml_feed(xml, data + part->begin, part->end - part->begin, err);
    done = part->end;
  }
  if(rc == 0) {
    rc = cr_xml_finish(xml, err);
  }
  cr_xml_free(xml);
  return rc;
}

int cr_xml_parse(struct cr_tree *tree, const struct cr_xml_view *view, const char *data, size_t len,
                 struct cr_error *err)
{
  struct cr_xml_parts parts;

  if(view && view->names && !view->under && !view->first && cr_xml_plain(data, len, view->names, &parts)) {
    if(parse_parts(tree, view, data, &parts, NULL) == 0) {
      return 0;
    }
    cr_tree_free(tree); /* once more, for the line the error is in */
  }
  parts.count = 1;
  parts.part[0] = (struct cr_span){0, len};
  return parse_parts(tree, view, data, &parts, err);
}

/* --- writing */

/* Line ends and tabs are written as references: parsers turn them into something else otherwise, a carriage
 * return everywhere and all three in attribute values. */
static const char *reference_for(char c)
{
  switch(c) {
  case '&': return "&amp;";
  case '<': return "&lt;";
  case '>': return "&gt;";
  case '"': return "&quot;";
  case '\'': return "&apos;";
  case '\t': return "&#9;";
  case '\n': return "&#10;";
  case '\r': return "&#13;";
  }
  return NULL;
}

int cr_xml_escape(struct cr_buf *out, const char *text, size_t len)
{
  size_t done = 0;

  for(size_t i = 0; i < len; i++) {
    if((unsigned char)text[i] < 0x20 && !reference_for(text[i])) {
      return -1;
    }
  }
  for(size_t i = 0; i < len; i++) {
    const char *reference = reference_for(text[i]);
    if(reference) {
      cr_buf_add(out, text + done, i - done);
      cr_buf_adds(out, reference);
      done = i + 1;
    }
  }
  if(done < len) {
    cr_buf_add(out, text + done, len - done);
  }
  return out->state == CR_BUF_FINE ? 0 : -1;
}
