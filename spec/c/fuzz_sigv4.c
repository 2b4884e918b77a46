/* fuzz_sigv4.c - libFuzzer over the signer.
 *
 * First byte: the switches. The rest, cut at NUL bytes: URL, method, region, service, token, payload hash, body, then
 * names and values of headers. What is signed has to have the form of a canonical request, to come out the same with
 * the cache and without it, and must not depend on the order of headers with different names. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sigv4.h"

#define REQUIRE(condition) \
  do { \
    if(!(condition)) { \
      abort(); \
    } \
  } while(0)

#define HEADERS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The next piece of the text, "" behind its end. */
static const char *next(const char **at, const char *end)
{
  const char *piece = *at < end ? *at : "";
  *at += *at < end ? strlen(*at) + 1 : 0;
  return piece;
}

/* METHOD, path, query, header lines, an empty line, their names, the hash: no more and no fewer lines. */
static void check_form(const struct cr_signature *out)
{
  const char *text = cr_buf_str(&out->canonical_request);
  size_t headers = 0, names = 1, lines = 0;
  const char *list;

  REQUIRE(strlen(text) == out->canonical_request.len);
  for(const char *at = text; *at; at++) {
    lines += *at == '\n';
  }
  list = strstr(text + 1, "\n\n");
  while(list && strstr(list + 1, "\n\n")) {
    list = strstr(list + 1, "\n\n"); /* an empty query makes an earlier one */
  }
  REQUIRE(list);
  for(const char *at = list + 2; *at != '\n'; at++) {
    names += *at == ';';
    REQUIRE(!(*at >= 'A' && *at <= 'Z'));
  }
  headers = lines - 5;
  REQUIRE(headers == names);
  REQUIRE(strstr(text, "\nhost:") && strstr(text, "\nx-amz-date:"));
  REQUIRE(strstr(cr_buf_str(&out->authorization), out->signature));
}

static void compare(const struct cr_signature *a, const struct cr_signature *b)
{
  REQUIRE(strcmp(cr_buf_str(&a->canonical_request), cr_buf_str(&b->canonical_request)) == 0);
  REQUIRE(strcmp(a->signature, b->signature) == 0);
}

static bool names_differ(const struct cr_header *headers, size_t count)
{
  for(size_t i = 0; i < count; i++) {
    for(size_t k = i + 1; k < count; k++) {
      if(cr_strcasecmp(headers[i].name, headers[k].name) == 0) {
        return false;
      }
    }
  }
  return true;
}

static void check_request(struct cr_sign_request *request, struct cr_header *headers)
{
  struct cr_signature out, other;
  struct cr_error err;
  struct cr_signing_keys *keys = cr_signing_keys_new();

  REQUIRE(keys);
  cr_signature_init(&out);
  cr_signature_init(&other);
  if(cr_sigv4_sign(request, &out, &err) < 0) {
    REQUIRE(err.kind != CR_KIND_NONE && err.message[0] && out.authorization.len == 0 && out.signature[0] == '\0');
  } else {
    check_form(&out);
    request->keys = keys;
    for(int i = 0; i < 2; i++) {
      REQUIRE(cr_sigv4_sign(request, &other, &err) == 0);
      compare(&out, &other);
    }
    if(names_differ(headers, request->header_count)) {
      for(size_t i = 0, k = request->header_count; i + 1 < k; i++) {
        struct cr_header swapped = headers[i];
        headers[i] = headers[--k];
        headers[k] = swapped;
      }
      REQUIRE(cr_sigv4_sign(request, &other, &err) == 0);
      compare(&out, &other);
    }
  }
  cr_signature_free(&out);
  cr_signature_free(&other);
  cr_signing_keys_free(keys);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct cr_header headers[HEADERS_MAX];
  struct cr_sign_request request;
  const char *at, *end;
  char *text;

  if(size < 1) {
    return 0;
  }
  text = cr_memdup(data + 1, size - 1);
  REQUIRE(text);
  at = text;
  end = text + size - 1;
  memset(&request, 0, sizeof request);
  request.url = next(&at, end);
  request.method = next(&at, end);
  request.region = next(&at, end);
  request.service = next(&at, end);
  request.session_token = next(&at, end);
  request.payload_hash = next(&at, end);
  request.body = next(&at, end);
  request.body_len = strlen(request.body);
  request.access_key_id = "AKIDEXAMPLE";
  request.secret_access_key = "secret";
  request.time = 1768478400;
  request.normalize_path = data[0] & 1;
  request.double_encode = data[0] & 2;
  request.sign_body = data[0] & 4;
  request.omit_session_token = data[0] & 8;
  if(!(data[0] & 16)) {
    request.payload_hash = NULL;
  }
  request.headers = headers;
  while(at < end && request.header_count < HEADERS_MAX) {
    struct cr_header *header = &headers[request.header_count++];
    header->name = next(&at, end);
    header->value = next(&at, end);
    header->value_len = strlen(header->value);
  }
  check_request(&request, headers);
  free(text);
  return 0;
}
