/* json.c - writing JSON. The buffer is the caller's; what fails leaves it as long as it was. */
#include "json.h"

#include <openssl/evp.h>
#include <string.h>

/* The length of the valid UTF-8 sequence at `text`, 0 when there is none: no overlong forms, no surrogates. */
static size_t utf8_sequence(const unsigned char *text, size_t len)
{
  unsigned char c = text[0];
  size_t want = c < 0x80 ? 1 : c >= 0xC2 && c <= 0xDF ? 2 : (c & 0xF0) == 0xE0 ? 3 : c >= 0xF0 && c <= 0xF4 ? 4 : 0;

  if(want == 0 || want > len) {
    return 0;
  }
  for(size_t i = 1; i < want; i++) {
    if((text[i] & 0xC0) != 0x80) {
      return 0;
    }
  }
  if((c == 0xE0 && text[1] < 0xA0) || (c == 0xED && text[1] > 0x9F) ||
     (c == 0xF0 && text[1] < 0x90) || (c == 0xF4 && text[1] > 0x8F)) {
    return 0;
  }
  return want;
}

static void add_escape(struct cr_buf *out, unsigned char c)
{
  static const char hex[] = "0123456789abcdef";
  static const char plain[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
  const char *found = c ? strchr(plain, c) : NULL;
  char escape[6] = { '\\', 'u', '0', '0', '0', '0' };

  if(found) {
    escape[1] = letters[found - plain];
    cr_buf_add(out, escape, 2);
  } else {
    escape[4] = hex[c >> 4];
    escape[5] = hex[c & 15];
    cr_buf_add(out, escape, sizeof escape);
  }
}

int cr_json_string(struct cr_buf *out, const char *text, size_t len)
{
  const unsigned char *bytes = (const unsigned char *)text;
  size_t start = out->len, i = 0;

  cr_buf_addc(out, '"');
  while(i < len) {
    size_t run = i, step = 1;
    while(run < len && bytes[run] >= 0x20 && bytes[run] != '"' && bytes[run] != '\\') {
      step = utf8_sequence(bytes + run, len - run);
      if(!step) {
        cr_buf_cut(out, start);
        return -1;
      }
      run += step;
    }
    cr_buf_add(out, text + i, run - i);
    for(i = run; i < len && (bytes[i] < 0x20 || bytes[i] == '"' || bytes[i] == '\\'); i++) {
      add_escape(out, bytes[i]);
    }
  }
  cr_buf_addc(out, '"');
  if(out->state != CR_BUF_FINE) {
    cr_buf_cut(out, start);
    return -1;
  }
  return 0;
}

int cr_json_base64(struct cr_buf *out, const void *data, size_t len)
{
  const unsigned char *from = data;
  size_t start = out->len;

  if(len > SIZE_MAX / 2 || cr_buf_reserve(out, (len + 2) / 3 * 4 + 2) < 0) {
    if(out->state == CR_BUF_FINE) {
      out->state = CR_BUF_TOO_LARGE;
    }
    cr_buf_cut(out, start);
    return -1;
  }
  cr_buf_addc(out, '"');
  while(len) {
    size_t piece = len < 0xC000 ? len : 0xC000; /* a multiple of 3: only the last piece is padded */
    int written = EVP_EncodeBlock((unsigned char *)out->data + out->len, from, (int)piece);
    out->len += (size_t)written;
    from += piece;
    len -= piece;
  }
  return cr_buf_addc(out, '"');
}

static const char *digits(const char *at)
{
  while(*at >= '0' && *at <= '9') {
    at++;
  }
  return at;
}

/* JSON's own grammar: no leading zero or plus, no "nan", no "1." */
static bool is_number(const char *text)
{
  const char *at = text + (*text == '-'), *end;

  end = digits(at);
  if(end == at || (*at == '0' && end > at + 1)) {
    return false;
  }
  if(*end == '.') {
    at = end + 1;
    end = digits(at);
    if(end == at) {
      return false;
    }
  }
  if(*end == 'e' || *end == 'E') {
    at = end + 1;
    if(*at == '+' || *at == '-') {
      at++;
    }
    end = digits(at);
    if(end == at) {
      return false;
    }
  }
  return *end == '\0';
}

static int bad_text(const struct cr_buf *out, const char *name, struct cr_error *err)
{
  if(cr_buf_check(out, "JSON text", err) < 0) {
    return -1;
  }
  return cr_fail(err, CR_KIND_INPUT, "InvalidText", "the parameter \"%.100s\" is not valid UTF-8", name ? name : "");
}

/* What stands before the children, or the whole of a scalar. */
static int open_node(struct cr_buf *out, const struct cr_node *node, bool named, struct cr_error *err)
{
  if(named) {
    if(!node->name) {
      return cr_fail(err, CR_KIND_INPUT, "InvalidNode", "a value in a map has no name");
    }
    if(cr_json_string(out, node->name, strlen(node->name)) < 0) {
      return bad_text(out, node->name, err);
    }
    cr_buf_addc(out, ':');
  }
  switch(node->type) {
  case CR_NODE_NULL:
    return cr_buf_adds(out, "null");
  case CR_NODE_BOOL:
    return cr_buf_adds(out, node->truth ? "true" : "false");
  case CR_NODE_NUMBER:
    if(!is_number(node->text)) {
      return cr_fail(err, CR_KIND_INPUT, "InvalidNumber", "the parameter \"%.100s\" is not a number JSON can carry",
                     node->name ? node->name : "");
    }
    return cr_buf_add(out, node->text, strlen(node->text));
  case CR_NODE_TEXT:
    return cr_json_string(out, node->text, node->len) < 0 ? bad_text(out, node->name, err) : 0;
  case CR_NODE_LIST:
    return cr_buf_addc(out, '[');
  case CR_NODE_MAP:
    return cr_buf_addc(out, '{');
  }
  return cr_fail(err, CR_KIND_INPUT, "InvalidNode", "a value of no known type cannot be written as JSON");
}

static bool is_container(const struct cr_node *node)
{
  return node->type == CR_NODE_LIST || node->type == CR_NODE_MAP;
}

static void close_node(struct cr_buf *out, const struct cr_node *node)
{
  if(is_container(node)) {
    cr_buf_addc(out, node->type == CR_NODE_LIST ? ']' : '}');
  }
}

int cr_json_write(struct cr_buf *out, const struct cr_node *node, struct cr_error *err)
{
  size_t start = out->len;
  const struct cr_node *at = node;

  if(!node) {
    cr_buf_adds(out, "null");
    return cr_buf_check(out, "JSON text", err);
  }
  /* Follows the parent pointers: a deep tree costs no stack. */
  for(;;) {
    if(open_node(out, at, at != node && at->parent->type == CR_NODE_MAP, err) < 0) {
      goto fail;
    }
    if(is_container(at) && at->first) {
      at = at->first;
      continue;
    }
    close_node(out, at);
    while(at != node && !at->next) {
      at = at->parent;
      close_node(out, at);
    }
    if(at == node) {
      break;
    }
    cr_buf_addc(out, ',');
    at = at->next;
  }
  if(out->state == CR_BUF_FINE) {
    return 0;
  }
fail:
  cr_buf_check(out, "JSON text", err);
  cr_buf_cut(out, start);
  return -1;
}
