/* sigv4.c - AWS Signature Version 4: what may be signed, and the stages in the order in which AWS describes them.
 *
 * Nothing here does I/O or reads a clock. Everything returned belongs to the caller's struct cr_signature. */
#include "sigv4_private.h"

#include <string.h>

#define LAST_SECOND INT64_C(253402300799)  /* 9999-12-31T23:59:59Z: the date has four digits of year */

/* ---- what may be signed ---- */

static int refuse(struct cr_error *err, const char *code, const char *what)
{
  return cr_fail(err, CR_KIND_INPUT, code, "cannot sign the request: %s", what);
}

/* Parts of the credential scope: the slashes between them and the commas behind it have to stay theirs. */
static bool is_scope_part(const char *text)
{
  if(!text || !*text) {
    return false;
  }
  for(; *text; text++) {
    if((unsigned char)*text <= ' ' || (unsigned char)*text >= 0x7F || *text == '/' || *text == ',') {
      return false;
    }
  }
  return true;
}

/* RFC 9110 token: methods and header names. */
static bool is_token(const char *text)
{
  const char *at = text;
  if(!text) {
    return false;
  }
  while((*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9') ||
        (*at && strchr("!#$%&'*+-.^_`|~", *at))) {
    at++;
  }
  return at > text && *at == '\0';
}

/* Line ends only where the next line is folded into this one: any other would be a header of its own on the wire. */
static bool is_value(const char *value, size_t len)
{
  for(size_t i = 0; i < len; i++) {
    unsigned char c = (unsigned char)value[i];
    if(c >= ' ' && c != 0x7F) {
      continue;
    }
    if(c == '\r' && !(i + 1 < len && value[i + 1] == '\n')) {
      return false;
    }
    if(c == '\n' && !(i + 1 < len && (value[i + 1] == ' ' || value[i + 1] == '\t'))) {
      return false;
    }
    if(!cr_is_blank((char)c)) {
      return false;
    }
  }
  return true;
}

static int check_header(const struct cr_header *header, struct cr_error *err)
{
  static const char *const ours[] = { "authorization", "x-amz-date", "x-amz-security-token" };

  if(!is_token(header->name)) {
    return refuse(err, "InvalidHeader", "a header's name is empty or contains a character no header name has");
  }
  if((header->value_len && !header->value) || !is_value(header->value, header->value_len)) {
    return cr_fail(err, CR_KIND_INPUT, "InvalidHeader",
                   "cannot sign the request: the header \"%.64s\" has a line end or a control character in its value",
                   header->name);
  }
  for(size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
    if(cr_is_named(header->name, ours[i])) {
      return cr_fail(err, CR_KIND_INPUT, "ReservedHeader",
                     "cannot sign the request: signing itself adds the header \"%s\", leave it out", ours[i]);
    }
  }
  return 0;
}

static int check_request(const struct cr_sign_request *request, struct cr_error *err)
{
  if(!is_token(request->method)) {
    return refuse(err, "InvalidMethod", "the method is missing or not a word");
  }
  if(!request->url || !*request->url) {
    return refuse(err, "InvalidUrl", "the URL is missing");
  }
  if(!is_scope_part(request->service)) {
    return refuse(err, "InvalidService", "the service is missing or not a service's name");
  }
  if(!is_scope_part(request->region)) {
    return refuse(err, "InvalidRegion", "the region is missing or not a region's name");
  }
  if(!is_scope_part(request->access_key_id)) {
    return cr_fail(err, CR_KIND_CREDENTIALS, "InvalidCredentials", "the access key id is missing or malformed");
  }
  if(!request->secret_access_key || !*request->secret_access_key) {
    return cr_fail(err, CR_KIND_CREDENTIALS, "InvalidCredentials", "the secret access key is missing");
  }
  if(request->session_token && !is_value(request->session_token, strlen(request->session_token))) {
    return cr_fail(err, CR_KIND_CREDENTIALS, "InvalidCredentials",
                   "the session token contains a line end or a control character");
  }
  if(request->time < 0 || request->time > LAST_SECOND) {
    return refuse(err, "InvalidTime", "the time is not between the years 1970 and 9999");
  }
  if(request->body_len && !request->body) {
    return refuse(err, "InvalidBody", "the body is missing though its length is not 0");
  }
  for(size_t i = 0; i < request->header_count; i++) {
    if(check_header(&request->headers[i], err) < 0) {
      return -1;
    }
  }
  return 0;
}

/* ---- time and payload ---- */

static void put_digits(char *out, int count, int value)
{
  while(count--) {
    out[count] = (char)('0' + value % 10);
    value /= 10;
  }
}

/* Days to a date by the 400-year cycle, counted from 0000-03-01 so that the leap day comes last. */
static void format_time(int64_t time, char out[17])
{
  int seconds = (int)(time % 86400);
  int days = (int)(time / 86400) + 719468;
  int era = days / 146097, day = days % 146097;
  int year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
  int of_year = day - (365 * year + year / 4 - year / 100);
  int shifted = (5 * of_year + 2) / 153; /* 0 is March */
  int month = shifted < 10 ? shifted + 3 : shifted - 9;

  put_digits(out, 4, era * 400 + year + (month <= 2));
  put_digits(out + 4, 2, month);
  put_digits(out + 6, 2, of_year - (153 * shifted + 2) / 5 + 1);
  out[8] = 'T';
  put_digits(out + 9, 2, seconds / 3600);
  put_digits(out + 11, 2, seconds / 60 % 60);
  put_digits(out + 13, 2, seconds % 60);
  out[15] = 'Z';
  out[16] = '\0';
}

static bool is_hex_hash(const char *text, size_t len)
{
  for(size_t i = 0; i < len; i++) {
    if(!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f'))) {
      return false;
    }
  }
  return len == CR_SHA256_HEX;
}

/* A hash given by the caller: hex, or a word like UNSIGNED-PAYLOAD. */
static int take_hash(const char *text, size_t len, char out[CR_SHA256_HEX + 1], struct cr_error *err)
{
  bool good = len > 0 && len <= CR_SHA256_HEX;
  for(size_t i = 0; good && i < len; i++) {
    good = text[i] == '-' || (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'A' && text[i] <= 'Z') ||
           (text[i] >= 'a' && text[i] <= 'f');
  }
  if(!good) {
    return refuse(err, "InvalidPayloadHash", "the payload hash is neither 64 hexadecimal digits nor UNSIGNED-PAYLOAD");
  }
  memcpy(out, text, len);
  out[len] = '\0';
  return 0;
}

static int hash_payload(const struct cr_sign_request *request, struct cr_signing_keys *keys, struct cr_signature *out,
                        struct cr_error *err)
{
  const struct cr_header *given = NULL;
  const char *value = NULL;
  size_t len = 0;

  for(size_t i = 0; i < request->header_count; i++) {
    if(cr_is_named(request->headers[i].name, "x-amz-content-sha256")) {
      if(given) {
        return refuse(err, "InvalidHeader", "the header \"x-amz-content-sha256\" occurs twice");
      }
      given = &request->headers[i];
      value = given->value;
      len = given->value_len;
      while(len && cr_is_blank(value[len - 1])) {
        len--;
      }
      while(len && cr_is_blank(*value)) {
        value++;
        len--;
      }
    }
  }
  out->add_content_sha256 = request->sign_body && !given;
  if(request->payload_hash) {
    if(take_hash(request->payload_hash, strlen(request->payload_hash), out->payload_hash, err) < 0) {
      return -1;
    }
  } else if(given && (!request->body_len || !is_hex_hash(value, len))) {
    return take_hash(value, len, out->payload_hash, err); /* the literal value is what AWS uses */
  } else {
    unsigned char digest[CR_SHA256_LEN];
    if(cr_signing_hash(keys, request->body, request->body_len, digest, err) < 0) {
      return -1;
    }
    cr_signing_hex(digest, out->payload_hash);
  }
  if(given && (len != strlen(out->payload_hash) || memcmp(value, out->payload_hash, len) != 0)) {
    return refuse(err, "ReservedHeader", "the header \"x-amz-content-sha256\" is not the payload's hash");
  }
  return 0;
}

/* ---- stages ---- */

static int build_string_to_sign(const struct cr_sign_request *request, struct cr_signing_keys *keys,
                                struct cr_signature *out, size_t *scope_begin, size_t *scope_end, struct cr_error *err)
{
  struct cr_buf *text = &out->string_to_sign;
  unsigned char digest[CR_SHA256_LEN];
  char hex[CR_SHA256_HEX + 1];

  if(cr_signing_hash(keys, out->canonical_request.data, out->canonical_request.len, digest, err) < 0) {
    return -1;
  }
  cr_signing_hex(digest, hex);
  cr_buf_reserve(text, 180);
  cr_buf_adds(text, "AWS4-HMAC-SHA256\n");
  cr_buf_adds(text, out->amz_date);
  cr_buf_addc(text, '\n');
  *scope_begin = text->len;
  cr_buf_add(text, out->amz_date, 8);
  cr_buf_addc(text, '/');
  cr_buf_adds(text, request->region);
  cr_buf_addc(text, '/');
  cr_buf_adds(text, request->service);
  cr_buf_adds(text, "/aws4_request");
  *scope_end = text->len;
  cr_buf_addc(text, '\n');
  cr_buf_add(text, hex, CR_SHA256_HEX);
  return cr_buf_check(text, "string to sign", err);
}

static int build_authorization(const struct cr_sign_request *request, struct cr_signature *out, const char *scope,
                               size_t scope_len, const struct cr_signed_list *list, struct cr_error *err)
{
  struct cr_buf *text = &out->authorization;
  cr_buf_reserve(text, 320);
  cr_buf_adds(text, "AWS4-HMAC-SHA256 Credential=");
  cr_buf_adds(text, request->access_key_id);
  cr_buf_addc(text, '/');
  cr_buf_add(text, scope, scope_len);
  cr_buf_adds(text, ", SignedHeaders=");
  cr_buf_add(text, out->canonical_request.data + list->begin, list->end - list->begin);
  cr_buf_adds(text, ", Signature=");
  cr_buf_add(text, out->signature, CR_SHA256_HEX);
  return cr_buf_check(text, "Authorization header", err);
}

static int sign(const struct cr_sign_request *request, struct cr_signing_keys *keys, struct cr_signature *out,
                struct cr_error *err)
{
  struct cr_signed_list list = { 0, 0 };
  unsigned char digest[CR_SHA256_LEN];
  const char *scope;
  size_t scope_begin = 0, scope_end = 0;

  if(check_request(request, err) < 0) {
    return -1;
  }
  format_time(request->time, out->amz_date);
  out->add_security_token = request->session_token && *request->session_token;
  if(hash_payload(request, keys, out, err) < 0 ||
     cr_sigv4_canonical_request(request, cr_signing_scratch(keys), out, &list, err) < 0 ||
     build_string_to_sign(request, keys, out, &scope_begin, &scope_end, err) < 0) {
    return -1;
  }
  scope = out->string_to_sign.data + scope_begin;
  if(cr_signing_mac(keys, request->secret_access_key, scope, scope_end - scope_begin, &out->string_to_sign, digest,
                    err) < 0) {
    return -1;
  }
  cr_signing_hex(digest, out->signature);
  return build_authorization(request, out, scope, scope_end - scope_begin, &list, err);
}

/* ---- the face ---- */

void cr_signature_init(struct cr_signature *out)
{
  memset(out, 0, sizeof *out);
  cr_buf_init(&out->authorization, CR_CANONICAL_MAX);
  cr_buf_init(&out->canonical_request, CR_CANONICAL_MAX);
  cr_buf_init(&out->string_to_sign, CR_CANONICAL_MAX);
}

void cr_signature_free(struct cr_signature *out)
{
  cr_buf_free(&out->authorization);
  cr_buf_free(&out->canonical_request);
  cr_buf_free(&out->string_to_sign);
}

/* Empty, but with its memory: one cr_signature can be used for request after request. */
static void reset(struct cr_signature *out)
{
  cr_buf_reset(&out->authorization);
  cr_buf_reset(&out->canonical_request);
  cr_buf_reset(&out->string_to_sign);
  out->amz_date[0] = out->payload_hash[0] = out->signature[0] = '\0';
  out->add_content_sha256 = out->add_security_token = false;
}

int cr_sigv4_sign(const struct cr_sign_request *request, struct cr_signature *out, struct cr_error *err)
{
  struct cr_signing_keys *keys = request->keys ? request->keys : cr_signing_keys_new();
  int rc;

  if(!keys) {
    return cr_fail_memory(err);
  }
  reset(out);
  rc = sign(request, keys, out, err);
  if(rc < 0) {
    reset(out);
  }
  if(keys != request->keys) {
    cr_signing_keys_free(keys);
  }
  return rc;
}
