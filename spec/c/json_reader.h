/* json_reader.h - a minimal JSON reader for C tests: in the plugin lua-cjson does this, above the core.
 *
 * Objects become MAPs, arrays LISTs. 0, or -1 for anything that is not JSON. */
#ifndef CR_SPEC_JSON_READER_H
#define CR_SPEC_JSON_READER_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node.h"

struct json_reader {
  const char *at, *end;
  struct cr_tree *tree;
  int depth;
};

static inline void json_blank(struct json_reader *r)
{
  while(r->at < r->end && strchr(" \t\r\n", *r->at)) {
    r->at++;
  }
}

static inline int json_utf8(unsigned code, char *out)
{
  if(code < 0x80) {
    out[0] = (char)code;
    return 1;
  }
  if(code < 0x800) {
    out[0] = (char)(0xC0 | (code >> 6));
    out[1] = (char)(0x80 | (code & 0x3F));
    return 2;
  }
  out[0] = (char)(0xE0 | (code >> 12));
  out[1] = (char)(0x80 | ((code >> 6) & 0x3F));
  out[2] = (char)(0x80 | (code & 0x3F));
  return 3;
}

/* A string without its quotes, allocated; NULL when it is none. */
static inline char *json_text(struct json_reader *r)
{
  if(r->at >= r->end || *r->at != '"') {
    return NULL;
  }
  char *out = malloc((size_t)(r->end - r->at) + 4);
  size_t len = 0;
  for(r->at++; out && r->at < r->end && *r->at != '"'; r->at++) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if(*r->at != '\\') {
      out[len++] = *r->at;
      continue;
    }
    r->at++;
    const char *known = r->at < r->end && *r->at ? strchr(from, *r->at) : NULL;
    unsigned code;
    if(known) {
      out[len++] = to[known - from];
    } else if(r->end - r->at > 4 && *r->at == 'u' && sscanf(r->at + 1, "%4x", &code) == 1) {
      len += (size_t)json_utf8(code, out + len);
      r->at += 4;
    } else {
      break;
    }
  }
  if(!out || r->at >= r->end || *r->at != '"') {
    free(out);
    return NULL;
  }
  r->at++;
  out[len] = '\0';
  return out;
}

static inline int json_value(struct json_reader *r, struct cr_node *parent, const char *name);

static inline int json_members(struct json_reader *r, struct cr_node *node, char close)
{
  json_blank(r);
  if(r->at < r->end && *r->at == close) {
    r->at++;
    return 0;
  }
  for(;;) {
    char *name = NULL;
    json_blank(r);
    if(close == '}') {
      name = json_text(r);
      json_blank(r);
      if(!name || r->at >= r->end || *r->at++ != ':') {
        free(name);
        return -1;
      }
    }
    int failed = json_value(r, node, name);
    free(name);
    json_blank(r);
    if(failed || r->at >= r->end) {
      return -1;
    }
    char c = *r->at++;
    if(c == close) {
      return 0;
    }
    if(c != ',') {
      return -1;
    }
  }
}

static inline int json_literal(struct json_reader *r, struct cr_node *parent, const char *name)
{
  static const char *const words[] = { "true", "false", "null" };
  for(int i = 0; i < 3; i++) {
    size_t len = strlen(words[i]);
    if((size_t)(r->end - r->at) >= len && memcmp(r->at, words[i], len) == 0) {
      r->at += len;
      return i == 2 ? (cr_node_add(r->tree, parent, name, CR_NODE_NULL) ? 0 : -1)
                    : (cr_add_bool(r->tree, parent, name, i == 0) ? 0 : -1);
    }
  }
  size_t len = strspn(r->at, "+-0123456789.eE");
  struct cr_node *node = len ? cr_add_textn(r->tree, parent, name, r->at, len) : NULL;
  if(!node) {
    return -1;
  }
  node->type = CR_NODE_NUMBER;
  r->at += len;
  return 0;
}

static inline int json_value(struct json_reader *r, struct cr_node *parent, const char *name)
{
  int failed = -1;
  json_blank(r);
  if(r->at >= r->end || ++r->depth > 100) {
    return -1;
  }
  if(*r->at == '{' || *r->at == '[') {
    bool map = *r->at++ == '{';
    struct cr_node *node = cr_node_add(r->tree, parent, name, map ? CR_NODE_MAP : CR_NODE_LIST);
    failed = node ? json_members(r, node, map ? '}' : ']') : -1;
  } else if(*r->at == '"') {
    char *text = json_text(r);
    failed = text && cr_add_text(r->tree, parent, name, text) ? 0 : -1;
    free(text);
  } else {
    failed = json_literal(r, parent, name);
  }
  r->depth--;
  return failed;
}

/* `text` must be NUL-terminated. */
static inline int json_read(struct cr_tree *tree, const char *text, size_t len)
{
  struct json_reader r = { text, text + len, tree, 0 };
  if(json_value(&r, NULL, NULL)) {
    return -1;
  }
  json_blank(&r);
  return r.at == r.end ? 0 : -1;
}

#endif
