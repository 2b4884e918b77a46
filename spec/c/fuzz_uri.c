/* fuzz_uri.c - libFuzzer over URLs and percent-encoding.
 *
 * Whatever is taken has to lie inside the text, must not hold what would end a header or a request line, and its host
 * has to lead back to itself; what is encoded has to decode to what it was. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "uri.h"

#define REQUIRE(condition) \
  do { \
    if(!(condition)) { \
      abort(); \
    } \
  } while(0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_url(const char *text, size_t len)
{
  struct cr_url url, again;
  struct cr_error err;
  struct cr_buf host, other, third;

  if(cr_url_parse(text, &url, &err) < 0) {
    REQUIRE(err.kind == CR_KIND_INPUT && err.message[0]);
    return;
  }
  REQUIRE(url.host >= text && url.host + url.host_len <= text + len && url.host_len > 0);
  REQUIRE(url.path >= url.host + url.host_len && url.path + url.path_len <= text + len);
  REQUIRE(url.query >= url.path + url.path_len && url.query + url.query_len <= text + len);
  REQUIRE(url.path_len == 0 || *url.path == '/');
  REQUIRE(!memchr(url.path, '?', url.path_len) && !memchr(url.query, '#', url.query_len));
  REQUIRE(url.port >= 0 && url.port <= 65535);

  cr_buf_init(&host, 1 << 20);
  cr_buf_init(&other, 1 << 20);
  cr_buf_init(&third, 1 << 20);
  REQUIRE(cr_url_host(&url, &host) == 0);
  for(size_t i = 0; i < host.len; i++) {
    REQUIRE(host.data[i] > ' ' && host.data[i] < 0x7F && !strchr("/?#@\\,;", host.data[i]));
  }
  cr_buf_addf(&other, "%s://%s/", url.https ? "https" : "http", cr_buf_str(&host));
  REQUIRE(cr_url_parse(other.data, &again, &err) == 0);
  REQUIRE(cr_url_host(&again, &third) == 0 && strcmp(cr_buf_str(&host), cr_buf_str(&third)) == 0);
  cr_buf_free(&host);
  cr_buf_free(&other);
  cr_buf_free(&third);
}

static void check_encoding(const char *text, size_t len, bool keep_slash)
{
  struct cr_buf out;
  size_t at = 0;

  cr_buf_init(&out, len * 3 + 1);
  REQUIRE(cr_uri_encode(&out, text, len, keep_slash) == 0);
  for(size_t i = 0; i < len; i++) {
    unsigned value = (unsigned char)out.data[at];
    if(value == '%') {
      REQUIRE(at + 3 <= out.len && sscanf(out.data + at, "%%%2X", &value) == 1);
      at += 3;
    } else {
      at++;
    }
    REQUIRE(value == (unsigned char)text[i]);
  }
  REQUIRE(at == out.len);
  cr_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  char *text = cr_memdup(data, size);

  REQUIRE(text);
  check_url(text, strlen(text));
  check_encoding(text, size, false);
  check_encoding(text, size, true);
  free(text);
  return 0;
}
