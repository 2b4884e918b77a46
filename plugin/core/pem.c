/* pem.c - reading and writing PEM blocks (RFC 7468, and the headers of RFC 1421 for old encrypted keys).
 *
 * Every byte lives in the caller's text and in buffers that wipe themselves; the few bytes on the stack are
 * wiped before returning. */
#include "pem.h"

#include <openssl/evp.h>
#include <string.h>

static const char begin_mark[] = "-----BEGIN ", end_mark[] = "-----END ", dashes[] = "-----";

struct line {
  const char *text;
  size_t len;
};

static bool is_blank(char c)
{
  return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

/* The next line without its end and without blanks around it. */
static bool next_line(const char **at, const char *end, struct line *line)
{
  const char *stop;

  if(*at >= end) {
    return false;
  }
  line->text = *at;
  stop = memchr(*at, '\n', (size_t)(end - *at));
  *at = stop ? stop + 1 : end;
  if(!stop) {
    stop = end;
  }
  while(line->text < stop && is_blank(*line->text)) {
    line->text++;
  }
  while(stop > line->text && is_blank(stop[-1])) {
    stop--;
  }
  line->len = (size_t)(stop - line->text);
  return true;
}

static bool is_at(const struct line *line, const char *mark)
{
  size_t len = strlen(mark);
  return line->len >= len && memcmp(line->text, mark, len) == 0;
}

/* What stands between `mark` and the closing dashes. */
static bool label_of(const struct line *line, const char *mark, const char **label, size_t *len)
{
  size_t before = strlen(mark), after = sizeof dashes - 1;

  if(!is_at(line, mark) || line->len <= before + after ||
     memcmp(line->text + line->len - after, dashes, after) != 0) {
    return false;
  }
  *label = line->text + before;
  *len = line->len - before - after;
  return true;
}

void cr_pem_start(struct cr_pem_reader *reader, const char *text, size_t len)
{
  static const char bom[] = "\xEF\xBB\xBF";

  if(len >= 3 && memcmp(text, bom, 3) == 0) {
    text += 3;
    len -= 3;
  }
  reader->at = text;
  reader->end = text + len;
  reader->number = 0;
}

/* Old encrypted keys carry "Name: value" lines, closed by an empty one. */
static void split_headers(struct cr_pem_block *block)
{
  const char *at = block->body, *end = block->body + block->body_len;
  struct line line;

  block->headers = block->body;
  block->headers_len = 0;
  if(!next_line(&at, end, &line) || !memchr(line.text, ':', line.len)) {
    return;
  }
  while(next_line(&at, end, &line)) {
    if(line.len == 0) {
      block->headers_len = (size_t)(at - block->headers);
      block->body = at;
      block->body_len = (size_t)(end - at);
      return;
    }
  }
}

int cr_pem_next(struct cr_pem_reader *reader, struct cr_pem_block *block)
{
  struct line line;
  const char *label, *before;
  size_t len;

  memset(block, 0, sizeof *block);
  do {
    if(!next_line(&reader->at, reader->end, &line)) {
      return 0;
    }
  } while(!label_of(&line, begin_mark, &block->label, &block->label_len));
  block->number = ++reader->number;
  block->body = reader->at;
  for(;;) {
    before = reader->at;
    if(!next_line(&reader->at, reader->end, &line) || is_at(&line, begin_mark)) {
      return -1;
    }
    if(is_at(&line, end_mark)) {
      break;
    }
  }
  if(!label_of(&line, end_mark, &label, &len) || len != block->label_len || memcmp(label, block->label, len) != 0) {
    return -1;
  }
  block->body_len = (size_t)(before - block->body);
  split_headers(block);
  return 1;
}

bool cr_pem_is(const struct cr_pem_block *block, const char *label)
{
  return block->label_len == strlen(label) && memcmp(block->label, label, block->label_len) == 0;
}

/* The value of a base64 digit, -1 for anything else. Without a table indexed by secret bytes. */
static int digit(unsigned char c)
{
  if(c >= 'A' && c <= 'Z') {
    return c - 'A';
  }
  if(c >= 'a' && c <= 'z') {
    return c - 'a' + 26;
  }
  if(c >= '0' && c <= '9') {
    return c - '0' + 52;
  }
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int cr_pem_decode(const struct cr_pem_block *block, struct cr_buf *der)
{
  uint32_t bits = 0;
  unsigned digits = 0, padding = 0;
  int rc = -1;

  if(cr_buf_reserve(der, block->body_len / 4 * 3 + 3) < 0) {
    return -1;
  }
  for(size_t i = 0; i < block->body_len; i++) {
    unsigned char c = (unsigned char)block->body[i];
    int value = digit(c);
    if(c == '\n' || is_blank((char)c)) {
      continue;
    }
    if(c == '=' && digits >= 2) {
      padding++;
      value = 0;
    } else if(value < 0 || padding) {
      goto done;
    }
    bits = bits << 6 | (uint32_t)value;
    if(++digits == 4) {
      for(unsigned k = 0; k < 3 - padding; k++) {
        cr_buf_addc(der, (char)(bits >> (16 - 8 * k) & 0xFF));
      }
      digits = 0;
      bits = 0;
      if(padding) {
        digits = 8; /* nothing may follow the padding */
      }
    }
  }
  rc = (digits == 0 || digits == 8) && der->state == CR_BUF_FINE ? 0 : -1;
done:
  cr_wipe(&bits, sizeof bits);
  return rc;
}

int cr_pem_encode(const char *label, const void *der, size_t len, struct cr_buf *out)
{
  enum { BYTES = 48 };
  unsigned char line[BYTES / 3 * 4 + 2];
  const unsigned char *bytes = der;

  if(len <= SIZE_MAX / 4) {
    cr_buf_reserve(out, len / BYTES * 65 + 65 + 2 * (strlen(label) + 20));
  }
  cr_buf_addf(out, "%s%s%s\n", begin_mark, label, dashes);
  while(len > 0) {
    size_t take = len < BYTES ? len : BYTES;
    int made = EVP_EncodeBlock(line, bytes, (int)take);
    line[made] = '\n';
    cr_buf_add(out, line, (size_t)made + 1);
    bytes += take;
    len -= take;
  }
  cr_buf_addf(out, "%s%s%s\n", end_mark, label, dashes);
  cr_wipe(line, sizeof line);
  return out->state == CR_BUF_FINE ? 0 : -1;
}
