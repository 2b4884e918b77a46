/* sigv4.c - AWS Signature Version 4: the stages in the order in which AWS describes them.
 *
 * Includes OpenSSL's digests and nothing that does I/O. Digest objects, signing keys and scratch memory belong to
 * struct cr_signing_keys, everything that is returned to the caller's struct cr_signature. */
#include "sigv4.h"
#include "uri.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define SHA256_LEN 32
#define SHA256_BLOCK 64
#define CACHED_KEYS 16
#define ON_STACK 24                        /* headers or query pairs sorted without an allocation */
#define MAX_CANONICAL ((size_t)1 << 20)    /* no service takes that much of URL and headers */
#define LAST_SECOND INT64_C(253402300799)  /* 9999-12-31T23:59:59Z: the date has four digits of year */

/* One derived key, as the two SHA-256 states HMAC begins with: the key itself is not kept. */
struct signing_key {
  char *secret, *scope;
  size_t secret_len, scope_len;
  EVP_MD_CTX *inner, *outer;
  uint64_t used;
};

struct cr_signing_keys {
  EVP_MD *sha256;
  EVP_MD_CTX *work;
  struct cr_buf scratch;
  uint64_t uses;
  struct signing_key slots[CACHED_KEYS];
};

/* ---- keys ---- */

struct cr_signing_keys *cr_signing_keys_new(void)
{
  struct cr_signing_keys *keys = calloc(1, sizeof *keys);
  if(!keys) {
    return NULL;
  }
  cr_buf_init(&keys->scratch, MAX_CANONICAL);
  keys->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
  keys->work = EVP_MD_CTX_new();
  if(!keys->sha256 || !keys->work) {
    cr_signing_keys_free(keys);
    return NULL;
  }
  return keys;
}

static void clear_slot(struct signing_key *slot)
{
  EVP_MD_CTX_free(slot->inner); /* OpenSSL cleanses the state */
  EVP_MD_CTX_free(slot->outer);
  cr_wipe(slot->secret, slot->secret_len);
  free(slot->secret);
  free(slot->scope);
  memset(slot, 0, sizeof *slot);
}

void cr_signing_keys_forget(struct cr_signing_keys *keys)
{
  for(int i = 0; keys && i < CACHED_KEYS; i++) {
    clear_slot(&keys->slots[i]);
  }
}

void cr_signing_keys_free(struct cr_signing_keys *keys)
{
  if(!keys) {
    return;
  }
  cr_signing_keys_forget(keys);
  cr_buf_free(&keys->scratch);
  EVP_MD_CTX_free(keys->work);
  EVP_MD_free(keys->sha256);
  free(keys);
}

static int fail_digest(struct cr_error *err)
{
  return cr_fail(err, CR_KIND_MEMORY, "DigestFailed", "OpenSSL cannot compute a SHA-256: out of memory, or no provider has it");
}

/* Every digest here starts from `keys->work`; the pieces are hashed one behind the other. */
static bool hash_begin(struct cr_signing_keys *keys)
{
  return EVP_DigestInit_ex2(keys->work, keys->sha256, NULL) == 1;
}

static bool hash_end(struct cr_signing_keys *keys, unsigned char out[SHA256_LEN])
{
  return EVP_DigestFinal_ex(keys->work, out, NULL) == 1;
}

static bool hash(struct cr_signing_keys *keys, const void *data, size_t len, unsigned char out[SHA256_LEN])
{
  return hash_begin(keys) && EVP_DigestUpdate(keys->work, data, len) == 1 && hash_end(keys, out);
}

static void to_hex(const unsigned char *bytes, size_t len, char *out)
{
  static const char digits[] = "0123456789abcdef";
  for(size_t i = 0; i < len; i++) {
    *out++ = digits[bytes[i] >> 4];
    *out++ = digits[bytes[i] & 15];
  }
  *out = '\0';
}

/* The HMAC key "AWS4" + secret, or a digest: filled up to a block. */
static bool make_block(struct cr_signing_keys *keys, const char *prefix, const void *key, size_t len,
                       unsigned char block[SHA256_BLOCK])
{
  size_t prefix_len = strlen(prefix);
  memset(block, 0, SHA256_BLOCK);
  if(prefix_len + len <= SHA256_BLOCK) {
    memcpy(block, prefix, prefix_len);
    memcpy(block + prefix_len, key, len);
    return true;
  }
  return hash_begin(keys) && EVP_DigestUpdate(keys->work, prefix, prefix_len) == 1 &&
         EVP_DigestUpdate(keys->work, key, len) == 1 && hash_end(keys, block);
}

/* HMAC's two beginnings for a key: `inner` and `outer` are set to the states after the padded key. */
static bool hmac_begin(struct cr_signing_keys *keys, unsigned char block[SHA256_BLOCK], EVP_MD_CTX *inner,
                       EVP_MD_CTX *outer)
{
  bool good;
  for(int i = 0; i < SHA256_BLOCK; i++) {
    block[i] ^= 0x36;
  }
  good = EVP_DigestInit_ex2(inner, keys->sha256, NULL) == 1 && EVP_DigestUpdate(inner, block, SHA256_BLOCK) == 1;
  for(int i = 0; i < SHA256_BLOCK; i++) {
    block[i] ^= 0x36 ^ 0x5C;
  }
  return good && EVP_DigestInit_ex2(outer, keys->sha256, NULL) == 1 &&
         EVP_DigestUpdate(outer, block, SHA256_BLOCK) == 1;
}

static bool hmac_end(struct cr_signing_keys *keys, const EVP_MD_CTX *inner, const EVP_MD_CTX *outer, const void *data,
                     size_t len, unsigned char out[SHA256_LEN])
{
  return EVP_MD_CTX_copy_ex(keys->work, inner) == 1 && EVP_DigestUpdate(keys->work, data, len) == 1 &&
         hash_end(keys, out) && EVP_MD_CTX_copy_ex(keys->work, outer) == 1 &&
         EVP_DigestUpdate(keys->work, out, SHA256_LEN) == 1 && hash_end(keys, out);
}

/* Each part of the scope is HMACed with the digest before it as the key; the last digest is the signing key. */
static bool derive(struct cr_signing_keys *keys, struct signing_key *slot)
{
  unsigned char block[SHA256_BLOCK], digest[SHA256_LEN];
  const char *part = slot->scope;
  bool good = make_block(keys, "AWS4", slot->secret, slot->secret_len, block);

  while(good) {
    size_t len = strcspn(part, "/");
    good = hmac_begin(keys, block, slot->inner, slot->outer) &&
           hmac_end(keys, slot->inner, slot->outer, part, len, digest) &&
           make_block(keys, "", digest, sizeof digest, block);
    if(part[len] == '\0') {
      break;
    }
    part += len + 1;
  }
  good = good && hmac_begin(keys, block, slot->inner, slot->outer);
  cr_wipe(block, sizeof block);
  cr_wipe(digest, sizeof digest);
  return good;
}

/* The key for "day/region/service/aws4_request", derived when it is not at hand. */
static struct signing_key *find_key(struct cr_signing_keys *keys, const char *secret, const char *scope, size_t scope_len,
                                    struct cr_error *err)
{
  size_t secret_len = strlen(secret);
  struct signing_key *slot = &keys->slots[0];

  for(int i = 0; i < CACHED_KEYS; i++) {
    struct signing_key *each = &keys->slots[i];
    if(each->scope_len == scope_len && each->secret_len == secret_len && memcmp(each->scope, scope, scope_len) == 0 &&
       CRYPTO_memcmp(each->secret, secret, secret_len) == 0) {
      each->used = ++keys->uses;
      return each;
    }
    if(each->used < slot->used) {
      slot = each;
    }
  }
  clear_slot(slot);
  slot->secret = cr_memdup(secret, secret_len);
  slot->secret_len = slot->secret ? secret_len : 0;
  slot->scope = cr_memdup(scope, scope_len);
  slot->inner = EVP_MD_CTX_new();
  slot->outer = EVP_MD_CTX_new();
  if(!slot->secret || !slot->scope || !slot->inner || !slot->outer) {
    clear_slot(slot);
    cr_fail_memory(err);
    return NULL;
  }
  if(!derive(keys, slot)) {
    clear_slot(slot);
    fail_digest(err);
    return NULL;
  }
  slot->scope_len = scope_len; /* from here on it can be found */
  slot->used = ++keys->uses;
  return slot;
}

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

static bool is_blank(char c)
{
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Line ends only where the next line is folded into this one: any other would be a header of its own on the wire. */
static bool is_value(const char *value, size_t len)
{
  for(size_t i = 0; i < len; i++) {
    unsigned char c = (unsigned char)value[i];
    if(c == '\r' && !(i + 1 < len && value[i + 1] == '\n')) {
      return false;
    }
    if(c == '\n' && !(i + 1 < len && (value[i + 1] == ' ' || value[i + 1] == '\t'))) {
      return false;
    }
    if((c < ' ' && !is_blank((char)c)) || c == 0x7F) {
      return false;
    }
  }
  return true;
}

/* Headers that proxies and transports change on the way. */
static bool is_never_signed(const char *name)
{
  static const char *const list[] = {
    "connection", "expect", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
    "transfer-encoding", "upgrade", "user-agent", "x-amzn-trace-id"
  };
  for(size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
    if(cr_strcasecmp(name, list[i]) == 0) {
      return true;
    }
  }
  return false;
}

static int check_header(const struct cr_header *header, struct cr_error *err)
{
  static const char *const ours[] = { "authorization", "x-amz-date", "x-amz-security-token" };

  if(!is_token(header->name)) {
    return refuse(err, "InvalidHeader", "a header's name is empty or contains a character no header name has");
  }
  if((header->value_len && !header->value) || !is_value(header->value, header->value_len)) {
    return cr_fail(err, CR_KIND_INPUT, "InvalidHeader",
                   "cannot sign the request: the value of the header \"%.64s\" contains a line end or a control character",
                   header->name);
  }
  for(size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
    if(cr_strcasecmp(header->name, ours[i]) == 0) {
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
    if(cr_strcasecmp(request->headers[i].name, "x-amz-content-sha256") == 0) {
      if(given) {
        return refuse(err, "InvalidHeader", "the header \"x-amz-content-sha256\" occurs twice");
      }
      given = &request->headers[i];
      value = given->value;
      len = given->value_len;
      while(len && is_blank(value[len - 1])) {
        len--;
      }
      while(len && is_blank(*value)) {
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
    unsigned char digest[SHA256_LEN];
    if(!hash(keys, request->body, request->body_len, digest)) {
      return fail_digest(err);
    }
    to_hex(digest, sizeof digest, out->payload_hash);
  }
  if(given && (len != strlen(out->payload_hash) || memcmp(value, out->payload_hash, len) != 0)) {
    return refuse(err, "ReservedHeader", "the header \"x-amz-content-sha256\" is not the payload's hash");
  }
  return 0;
}

/* ---- path and query ---- */

/* Resolves "." and "..", drops empty segments, keeps a trailing slash. */
static void normalize_path(struct cr_buf *out, const char *path, size_t len)
{
  const char *at = path, *end = path + len;

  cr_buf_addc(out, '/');
  while(at < end && out->state == CR_BUF_FINE) {
    const char *slash = memchr(at, '/', (size_t)(end - at));
    size_t segment = (size_t)((slash ? slash : end) - at);
    if(segment == 2 && at[0] == '.' && at[1] == '.') {
      size_t back = out->len;
      while(back > 1 && out->data[back - 1] != '/') {
        back--;
      }
      cr_buf_cut(out, back > 1 ? back - 1 : 1);
    } else if(segment && !(segment == 1 && *at == '.')) {
      if(out->len > 1) {
        cr_buf_addc(out, '/');
      }
      cr_buf_add(out, at, segment);
    }
    at += segment + 1;
  }
  if(len && path[len - 1] == '/' && out->len > 1) {
    cr_buf_addc(out, '/');
  }
}

static int add_path(const struct cr_sign_request *request, const struct cr_url *url, struct cr_buf *scratch,
                    struct cr_buf *out, struct cr_error *err)
{
  const char *path = url->path_len ? url->path : "/";
  size_t len = url->path_len ? url->path_len : 1;

  if(request->normalize_path) {
    cr_buf_reset(scratch);
    normalize_path(scratch, path, len);
    if(cr_buf_check(scratch, "URL", err) < 0) {
      return -1;
    }
    path = cr_buf_str(scratch);
    len = scratch->len;
  }
  if(request->double_encode) {
    cr_uri_encode(out, path, len, true);
  } else {
    cr_buf_add(out, path, len);
  }
  return 0;
}

static int hex_value(char c)
{
  return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A name or value as AWS encodes it, however the URL spelled it: "%7e" and "~" are one thing. */
static void add_query_part(struct cr_buf *out, const char *text, size_t len)
{
  size_t i = 0;
  while(i < len) {
    const char *percent = memchr(text + i, '%', len - i);
    size_t run = percent ? (size_t)(percent - text) : len;
    cr_uri_encode(out, text + i, run - i, false);
    i = run;
    if(i < len) {
      int high = i + 2 < len ? hex_value(text[i + 1]) : -1, low = i + 2 < len ? hex_value(text[i + 2]) : -1;
      char c = high >= 0 && low >= 0 ? (char)(high * 16 + low) : '%';
      cr_uri_encode(out, &c, 1, false);
      i += high >= 0 && low >= 0 ? 3 : 1;
    }
  }
}

/* A pair of the query as encoded in the scratch buffer; `text` is filled once that has stopped growing. */
struct pair {
  const char *text;
  size_t begin, name_len, value_len; /* name and value stand side by side */
};

static int compare_bytes(const char *a, size_t a_len, const char *b, size_t b_len)
{
  int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
  return order ? order : (a_len > b_len) - (a_len < b_len);
}

/* By name, then by value: not by the joined text, in which '=' would come between. */
static int compare_pairs(const void *left, const void *right)
{
  const struct pair *a = left, *b = right;
  int order = compare_bytes(a->text, a->name_len, b->text, b->name_len);
  return order ? order : compare_bytes(a->text + a->name_len, a->value_len, b->text + b->name_len, b->value_len);
}

/* Every piece between two '&' is a pair, an empty one too: it is signed as "=", as botocore signs it. */
static int add_query(const struct cr_url *url, struct cr_buf *scratch, struct cr_buf *out, struct cr_error *err)
{
  struct pair stack[ON_STACK], *pairs = stack;
  const char *at = url->query, *end = url->query + url->query_len;
  size_t count = 1;
  int rc;

  if(url->query_len == 0) {
    return 0;
  }
  for(size_t i = 0; i < url->query_len; i++) {
    count += url->query[i] == '&';
  }
  if(count > ON_STACK) {
    pairs = calloc(count, sizeof *pairs);
    if(!pairs) {
      return cr_fail_memory(err);
    }
  }
  cr_buf_reset(scratch);
  for(size_t i = 0; i < count; i++) {
    const char *amp = memchr(at, '&', (size_t)(end - at)), *stop = amp ? amp : end;
    const char *equals = memchr(at, '=', (size_t)(stop - at)), *name_end = equals ? equals : stop;
    pairs[i].begin = scratch->len;
    add_query_part(scratch, at, (size_t)(name_end - at));
    pairs[i].name_len = scratch->len - pairs[i].begin;
    if(equals) {
      add_query_part(scratch, equals + 1, (size_t)(stop - equals - 1));
    }
    pairs[i].value_len = scratch->len - pairs[i].begin - pairs[i].name_len;
    at = amp ? amp + 1 : end;
  }
  for(size_t i = 0; i < count; i++) {
    pairs[i].text = cr_buf_str(scratch) + pairs[i].begin;
  }
  rc = cr_buf_check(scratch, "URL", err);
  if(rc == 0) {
    qsort(pairs, count, sizeof *pairs, compare_pairs);
  }
  for(size_t i = 0; rc == 0 && i < count; i++) {
    if(i) {
      cr_buf_addc(out, '&');
    }
    cr_buf_add(out, pairs[i].text, pairs[i].name_len);
    cr_buf_addc(out, '=');
    cr_buf_add(out, pairs[i].text + pairs[i].name_len, pairs[i].value_len);
  }
  if(pairs != stack) {
    free(pairs);
  }
  return rc;
}

/* ---- headers ---- */

struct item {
  const char *name, *value;
  size_t value_len, order;
};

static int compare_items(const void *left, const void *right)
{
  const struct item *a = left, *b = right;
  int order = cr_strcasecmp(a->name, b->name);
  return order ? order : (a->order > b->order) - (a->order < b->order);
}

static void add_item(struct item *items, size_t *count, const char *name, const char *value, size_t len)
{
  items[*count].name = name;
  items[*count].value = value;
  items[*count].value_len = len;
  items[*count].order = *count;
  (*count)++;
}

/* The given headers that are signed, and ours; sorted, repeated names in order of appearance.
 * `host` receives the URL's host and must live as long as the items. */
static size_t collect(const struct cr_sign_request *request, const struct cr_url *url, const struct cr_signature *out,
                      struct cr_buf *host, struct item *items)
{
  size_t count = 0;
  bool has_host = false;

  for(size_t i = 0; i < request->header_count; i++) {
    const struct cr_header *header = &request->headers[i];
    if(!is_never_signed(header->name)) {
      has_host = has_host || cr_strcasecmp(header->name, "host") == 0;
      add_item(items, &count, header->name, header->value, header->value_len);
    }
  }
  if(!has_host) {
    cr_buf_reset(host);
    cr_url_host(url, host);
    add_item(items, &count, "host", cr_buf_str(host), host->len);
  }
  if(out->add_content_sha256) {
    add_item(items, &count, "x-amz-content-sha256", out->payload_hash, strlen(out->payload_hash));
  }
  add_item(items, &count, "x-amz-date", out->amz_date, strlen(out->amz_date));
  if(out->add_security_token && !request->omit_session_token) {
    add_item(items, &count, "x-amz-security-token", request->session_token, strlen(request->session_token));
  }
  if(count > ON_STACK) {
    qsort(items, count, sizeof *items, compare_items);
  } else {
    /* Few and mostly in order: cheaper than qsort. */
    for(size_t i = 1; i < count; i++) {
      struct item item = items[i];
      size_t at = i;
      for(; at > 0 && compare_items(&items[at - 1], &item) > 0; at--) {
        items[at] = items[at - 1];
      }
      items[at] = item;
    }
  }
  return count;
}

static void add_lower(struct cr_buf *out, const char *text)
{
  size_t begin = out->len;
  if(cr_buf_adds(out, text) == 0) {
    for(char *c = out->data + begin; *c; c++) {
      if(*c >= 'A' && *c <= 'Z') {
        *c = (char)(*c + ('a' - 'A'));
      }
    }
  }
}

/* Trimmed, runs of blanks squeezed to one space, inside quotes too. */
static void add_value(struct cr_buf *out, const char *value, size_t len)
{
  size_t i = 0;
  bool first = true;
  while(i < len) {
    size_t run;
    while(i < len && is_blank(value[i])) {
      i++;
    }
    run = i;
    while(i < len && !is_blank(value[i])) {
      i++;
    }
    if(i > run) {
      if(!first) {
        cr_buf_addc(out, ' ');
      }
      first = false;
      cr_buf_add(out, value + run, i - run);
    }
  }
}

/* "name:value\n" for every name, an empty line, "name;name". */
static void add_headers(struct cr_buf *out, const struct item *items, size_t count, size_t *signed_begin)
{
  for(size_t i = 0; i < count; i++) {
    if(i && cr_strcasecmp(items[i].name, items[i - 1].name) == 0) {
      cr_buf_addc(out, ',');
    } else {
      if(i) {
        cr_buf_addc(out, '\n');
      }
      add_lower(out, items[i].name);
      cr_buf_addc(out, ':');
    }
    add_value(out, items[i].value, items[i].value_len);
  }
  cr_buf_add(out, "\n\n", 2);
  *signed_begin = out->len;
  for(size_t i = 0; i < count; i++) {
    if(i && cr_strcasecmp(items[i].name, items[i - 1].name) == 0) {
      continue;
    }
    if(i) {
      cr_buf_addc(out, ';');
    }
    add_lower(out, items[i].name);
  }
}

/* ---- stages ---- */

/* Where the list of signed headers stands in the canonical request: Authorization repeats it. */
struct signed_list {
  size_t begin, end;
};

static int build_canonical_request(const struct cr_sign_request *request, struct cr_signing_keys *keys,
                                   struct cr_signature *out, struct signed_list *list, struct cr_error *err)
{
  struct cr_buf *text = &out->canonical_request;
  struct item stack[ON_STACK + 4], *items = stack;
  struct cr_url url;
  size_t count;
  int rc = -1;

  if(cr_url_parse(request->url, &url, err) < 0) {
    return -1;
  }
  if(request->header_count > ON_STACK) {
    items = calloc(request->header_count + 4, sizeof *items);
    if(!items) {
      return cr_fail_memory(err);
    }
  }
  cr_buf_reserve(text, 768);
  cr_buf_adds(text, request->method);
  cr_buf_addc(text, '\n');
  if(add_path(request, &url, &keys->scratch, text, err) < 0) {
    goto done;
  }
  cr_buf_addc(text, '\n');
  if(add_query(&url, &keys->scratch, text, err) < 0) {
    goto done;
  }
  cr_buf_addc(text, '\n');
  count = collect(request, &url, out, &keys->scratch, items);
  add_headers(text, items, count, &list->begin);
  list->end = text->len;
  cr_buf_addc(text, '\n');
  cr_buf_adds(text, out->payload_hash);
  rc = cr_buf_check(&keys->scratch, "host name", err) < 0 ? -1 : cr_buf_check(text, "canonical request", err);
done:
  if(items != stack) {
    free(items);
  }
  return rc;
}

static int build_string_to_sign(const struct cr_sign_request *request, struct cr_signing_keys *keys,
                                struct cr_signature *out, size_t *scope_begin, size_t *scope_end, struct cr_error *err)
{
  struct cr_buf *text = &out->string_to_sign;
  unsigned char digest[SHA256_LEN];
  char hex[CR_SHA256_HEX + 1];

  if(!hash(keys, out->canonical_request.data, out->canonical_request.len, digest)) {
    return fail_digest(err);
  }
  to_hex(digest, sizeof digest, hex);
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
                               size_t scope_len, const struct signed_list *list, struct cr_error *err)
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
  struct signed_list list = { 0, 0 };
  unsigned char digest[SHA256_LEN];
  const struct signing_key *key;
  const char *scope;
  size_t scope_begin = 0, scope_end = 0;

  if(check_request(request, err) < 0) {
    return -1;
  }
  format_time(request->time, out->amz_date);
  out->add_security_token = request->session_token && *request->session_token;
  if(hash_payload(request, keys, out, err) < 0 ||
     build_canonical_request(request, keys, out, &list, err) < 0 ||
     build_string_to_sign(request, keys, out, &scope_begin, &scope_end, err) < 0) {
    return -1;
  }
  scope = out->string_to_sign.data + scope_begin;
  key = find_key(keys, request->secret_access_key, scope, scope_end - scope_begin, err);
  if(!key) {
    return -1;
  }
  if(!hmac_end(keys, key->inner, key->outer, out->string_to_sign.data, out->string_to_sign.len, digest)) {
    return fail_digest(err);
  }
  to_hex(digest, sizeof digest, out->signature);
  return build_authorization(request, out, scope, scope_end - scope_begin, &list, err);
}

/* ---- the face ---- */

void cr_signature_init(struct cr_signature *out)
{
  memset(out, 0, sizeof *out);
  cr_buf_init(&out->authorization, MAX_CANONICAL);
  cr_buf_init(&out->canonical_request, MAX_CANONICAL);
  cr_buf_init(&out->string_to_sign, MAX_CANONICAL);
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

int cr_sha256_hex(const void *data, size_t len, char out[CR_SHA256_HEX + 1])
{
  unsigned char digest[SHA256_LEN];
  if(EVP_Digest(len ? data : "", len, digest, NULL, EVP_sha256(), NULL) != 1) {
    out[0] = '\0';
    return -1;
  }
  to_hex(digest, sizeof digest, out);
  return 0;
}
