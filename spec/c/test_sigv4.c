/* test_sigv4.c - the signer by stages, what it refuses, and its cache. The whole of AWS's suite and the golden
 * requests are run by spec/core/sign_spec.lua, botocore's answers by spec/core/botocore_spec.lua. */
#include "check.h"
#include "sigv4.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <time.h>

#define SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static struct cr_sign_request suite_request(void)
{
  struct cr_sign_request request;
  memset(&request, 0, sizeof request);
  request.method = "GET";
  request.url = "https://example.amazonaws.com/";
  request.service = "service";
  request.region = "us-east-1";
  request.access_key_id = "AKIDEXAMPLE";
  request.secret_access_key = SECRET;
  request.time = 1440938160; /* 2015-08-30T12:36:00Z */
  request.normalize_path = request.double_encode = true;
  return request;
}

static void test_stages(void)
{
  struct cr_sign_request request = suite_request();
  struct cr_signature out;
  struct cr_error err;
  char hash[CR_SHA256_HEX + 1];

  cr_signature_init(&out);
  CHECK(cr_sigv4_sign(&request, &out, &err) == 0);
  CHECK_STR(out.amz_date, "20150830T123600Z");
  CHECK_STR(out.payload_hash, EMPTY);
  CHECK_STR(cr_buf_str(&out.canonical_request),
            "GET\n/\n\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\n\nhost;x-amz-date\n" EMPTY);
  CHECK(cr_sha256_hex(out.canonical_request.data, out.canonical_request.len, hash) == 0);
  CHECK_STR(hash, "bb579772317eb040ac9ed261061d46c1f17a8133879d6129b6e1c25292927e63");
  CHECK_STR(cr_buf_str(&out.string_to_sign),
            "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/service/aws4_request\n"
            "bb579772317eb040ac9ed261061d46c1f17a8133879d6129b6e1c25292927e63");
  CHECK_STR(out.signature, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
  CHECK_STR(cr_buf_str(&out.authorization),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, "
            "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
  CHECK(!out.add_content_sha256 && !out.add_security_token);
  cr_signature_free(&out);
}

/* The lines of the canonical request between "path" and the signed headers are what the cases are about. */
struct stage_case {
  const char *url;
  bool s3;
  const char *path, *query;
};

static void test_url(void)
{
  static const struct stage_case cases[] = {
    { "https://h", false, "/", "" },
    { "https://h", true, "/", "" },
    { "https://h/?", false, "/", "" },
    { "https://h/a/../..", false, "/", "" },
    { "https://h/a/b/..", false, "/a", "" },
    { "https://h/a/b/../", false, "/a/", "" },
    { "https://h//a//./b/.", false, "/a/b", "" },
    { "https://h/..//", false, "/", "" },
    { "https://h/.../..a/a..", false, "/.../..a/a..", "" },
    { "https://h/%2E%2E/a", false, "/%252E%252E/a", "" },
    { "https://h/a b/\xE1\x88\xB4", false, "/a%20b/%E1%88%B4", "" },
    { "https://h/arn%3Aaws/x:y", false, "/arn%253Aaws/x%3Ay", "" },
    { "https://h//a/../%20b/./", true, "//a/../%20b/./", "" },
    { "https://h/?b=2&a=1&b=1&a", false, "/", "a=&a=1&b=1&b=2" },
    { "https://h/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1", false, "/", "%E1%88%B4=Value1&Param=Value2&Param-3=Value3" },
    { "https://h/?=x&&b=", false, "/", "=&=x&b=" },
    { "https://h/?\xE1\x88\xB4=b a+r", false, "/", "%E1%88%B4=b%20a%2Br" },
    { "https://h/?a=%7e%2f%zz%4&b=c=d", false, "/", "a=~%2F%25zz%254&b=c%3Dd" },
    { "https://h/?a=%", false, "/", "a=%25" },
    { "https://h/?a=%4&b", false, "/", "a=%254&b=" },
    { "https://h?a#b=c", false, "/", "a=" },
    { "https://h/?z=1&Z=1&_=1&-=1&~=1&0=1", false, "/", "-=1&0=1&Z=1&_=1&z=1&~=1" }
  };
  struct cr_signature out;
  struct cr_error err;
  cr_signature_init(&out);
  for(size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct cr_sign_request request = suite_request();
    char want[512];
    request.url = cases[i].url;
    request.normalize_path = request.double_encode = !cases[i].s3;
    snprintf(want, sizeof want, "GET\n%s\n%s\nhost:h\nx-amz-date:20150830T123600Z\n\nhost;x-amz-date\n" EMPTY,
             cases[i].path, cases[i].query);
    CHECK(cr_sigv4_sign(&request, &out, &err) == 0);
    CHECK_STR(cr_buf_str(&out.canonical_request), want);
  }
  cr_signature_free(&out);
}

static struct cr_header header(const char *name, const char *value)
{
  struct cr_header made;
  made.name = name;
  made.value = value;
  made.value_len = strlen(value);
  return made;
}

static void test_headers(void)
{
  struct cr_sign_request request = suite_request();
  struct cr_header headers[40];
  struct cr_signature out;
  struct cr_error err;
  size_t n = 0;

  headers[n++] = header("My-Header1", "  value4 ");
  headers[n++] = header("CONTENT-type", "a \t b\r\n  c\n\td");
  headers[n++] = header("my-header1", "\"a   b\"");
  headers[n++] = header("My-Header", "");
  headers[n++] = header("MY-HEADER1", " \t ");
  headers[n++] = header("User-Agent", "x");
  headers[n++] = header("connection", "close");
  headers[n++] = header("TE", "trailers");
  headers[n++] = header("X-Amzn-Trace-Id", "Root=1");
  headers[n++] = header("X-Utf8", "\xE1\x88\xB4");
  headers[n++] = header("X-Amz-Target", "A.B");
  request.headers = headers;
  request.header_count = n;
  request.url = "http://EXAMPLE.com:8080/";
  cr_signature_init(&out);
  CHECK(cr_sigv4_sign(&request, &out, &err) == 0);
  CHECK_STR(cr_buf_str(&out.canonical_request),
            "GET\n/\n\ncontent-type:a b c d\nhost:example.com:8080\nmy-header:\nmy-header1:value4,\"a b\",\n"
            "x-amz-date:20150830T123600Z\nx-amz-target:A.B\nx-utf8:\xE1\x88\xB4\n\n"
            "content-type;host;my-header;my-header1;x-amz-date;x-amz-target;x-utf8\n" EMPTY);

  headers[0] = header("HOST", "other.example.com");
  request.header_count = 1;
  CHECK(cr_sigv4_sign(&request, &out, &err) == 0);
  CHECK(strstr(cr_buf_str(&out.canonical_request), "\nhost:other.example.com\nx-amz-date") != NULL);

  /* More headers and query pairs than fit on the stack; equal names stay in the order they came in. */
  for(n = 0; n < 40; n++) {
    headers[n] = header(n % 2 ? "B" : "a", n % 3 ? "1" : "2");
  }
  request.header_count = n;
  request.url = "http://h/?9&8&7&6&5&4&3&2&1&0&9&8&7&6&5&4&3&2&1&0&9&8&7&6&5&4&3&2&1&0";
  CHECK(cr_sigv4_sign(&request, &out, &err) == 0);
  CHECK_STR(cr_buf_str(&out.canonical_request),
            "GET\n/\n0=&0=&0=&1=&1=&1=&2=&2=&2=&3=&3=&3=&4=&4=&4=&5=&5=&5=&6=&6=&6=&7=&7=&7=&8=&8=&8=&9=&9=&9=\n"
            "a:2,1,1,2,1,1,2,1,1,2,1,1,2,1,1,2,1,1,2,1\nb:1,2,1,1,2,1,1,2,1,1,2,1,1,2,1,1,2,1,1,2\n"
            "host:h\nx-amz-date:20150830T123600Z\n\na;b;host;x-amz-date\n" EMPTY);
  cr_signature_free(&out);
}

static void test_payload(void)
{
  static const char body_hash[] = "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e"; /* of "Param1=value1" */
  struct cr_sign_request request = suite_request();
  struct cr_header given;
  struct cr_signature out;
  struct cr_error err;
  cr_signature_init(&out);

  request.body = "Param1=value1";
  request.body_len = 13;
  CHECK(cr_sigv4_sign(&request, &out, &err) == 0 && !out.add_content_sha256);
  CHECK_STR(out.payload_hash, body_hash);
  request.sign_body = true;
  CHECK(cr_sigv4_sign(&request, &out, &err) == 0 && out.add_content_sha256);
  CHECK(strstr(cr_buf_str(&out.authorization), "SignedHeaders=host;x-amz-content-sha256;x-amz-date,") != NULL);
  given = header("X-Amz-Content-SHA256", body_hash);
  request.headers = &given;
  request.header_count = 1;
  CHECK(cr_sigv4_sign(&request, &out, &err) == 0 && !out.add_content_sha256);
  CHECK(strstr(cr_buf_str(&out.authorization), "SignedHeaders=host;x-amz-content-sha256;x-amz-date,") != NULL);
  given = header("X-Amz-Content-SHA256", EMPTY);
  CHECK(cr_sigv4_sign(&request, &out, &err) == -1);
  CHECK_STR(err.code, "ReservedHeader");
  given = header("X-Amz-Content-SHA256", " UNSIGNED-PAYLOAD ");
  CHECK(cr_sigv4_sign(&request, &out, &err) == 0);
  CHECK_STR(out.payload_hash, "UNSIGNED-PAYLOAD");
  request.payload_hash = "UNSIGNED-PAYLOAD";
  CHECK(cr_sigv4_sign(&request, &out, &err) == 0);
  request.payload_hash = body_hash;
  CHECK(cr_sigv4_sign(&request, &out, &err) == -1);
  request.header_count = 0;
  CHECK(cr_sigv4_sign(&request, &out, &err) == 0 && out.add_content_sha256);
  request.payload_hash = "not a hash";
  CHECK(cr_sigv4_sign(&request, &out, &err) == -1);
  request.payload_hash = "";
  CHECK(cr_sigv4_sign(&request, &out, &err) == -1);
  request.payload_hash = EMPTY "0";
  CHECK(cr_sigv4_sign(&request, &out, &err) == -1);
  CHECK_STR(err.code, "InvalidPayloadHash");
  cr_signature_free(&out);
}

static void test_token(void)
{
  struct cr_sign_request request = suite_request();
  struct cr_signature out;
  struct cr_error err;
  cr_signature_init(&out);
  request.session_token = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";
  CHECK(cr_sigv4_sign(&request, &out, &err) == 0 && out.add_security_token);
  CHECK_STR(out.signature, "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8");
  request.omit_session_token = true;
  CHECK(cr_sigv4_sign(&request, &out, &err) == 0 && out.add_security_token);
  CHECK_STR(out.signature, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
  request.session_token = "";
  CHECK(cr_sigv4_sign(&request, &out, &err) == 0 && !out.add_security_token);
  cr_signature_free(&out);
}

static void refused(const struct cr_sign_request *request, const char *code)
{
  struct cr_signature out;
  struct cr_error err;
  cr_signature_init(&out);
  cr_error_clear(&err);
  CHECK(cr_sigv4_sign(request, &out, &err) == -1);
  CHECK_STR(err.code, code);
  CHECK(out.authorization.len == 0 && out.canonical_request.len == 0 && out.signature[0] == '\0');
  CHECK(!request->secret_access_key || !*request->secret_access_key || !strstr(err.message, request->secret_access_key));
  cr_signature_free(&out);
}

static void test_refusals(void)
{
  static const struct { const char *name, *value, *code; } headers[] = {
    { "Authorization", "x", "ReservedHeader" }, { "x-amz-DATE", "x", "ReservedHeader" },
    { "X-Amz-Security-Token", "x", "ReservedHeader" }, { "", "x", "InvalidHeader" }, { "a b", "x", "InvalidHeader" },
    { "a:", "x", "InvalidHeader" }, { "a\n", "x", "InvalidHeader" }, { "\xC3\xA4", "x", "InvalidHeader" },
    { "a", "x\n", "InvalidHeader" }, { "a", "x\r\nb: c", "InvalidHeader" }, { "a", "x\ry", "InvalidHeader" },
    { "a", "x\r", "InvalidHeader" }, { "a", "\x01", "InvalidHeader" }, { "a", "\x7f", "InvalidHeader" }
  };
  static const char *const parts[] = { NULL, "", "a/b", "a b", "a\n", "a,b", "\xC3\xA4" };
  struct cr_sign_request request;
  struct cr_header twice[2];

  for(size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
    struct cr_header given = header(headers[i].name, headers[i].value);
    request = suite_request();
    request.headers = &given;
    request.header_count = 1;
    refused(&request, headers[i].code);
  }
  for(size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
    request = suite_request();
    request.region = parts[i];
    refused(&request, "InvalidRegion");
    request = suite_request();
    request.service = parts[i];
    refused(&request, "InvalidService");
    request = suite_request();
    request.access_key_id = parts[i];
    refused(&request, "InvalidCredentials");
  }
  request = suite_request();
  request.secret_access_key = "";
  refused(&request, "InvalidCredentials");
  request = suite_request();
  request.session_token = "a\nb";
  refused(&request, "InvalidCredentials");
  request = suite_request();
  request.method = "GE T";
  refused(&request, "InvalidMethod");
  request = suite_request();
  request.url = "ftp://h/";
  refused(&request, "InvalidUrl");
  request.url = NULL;
  refused(&request, "InvalidUrl");
  request = suite_request();
  request.time = -1;
  refused(&request, "InvalidTime");
  request.time = INT64_C(253402300800);
  refused(&request, "InvalidTime");
  request = suite_request();
  request.body_len = 1;
  refused(&request, "InvalidBody");
  request = suite_request();
  twice[0] = twice[1] = header("x-amz-content-sha256", EMPTY);
  request.headers = twice;
  request.header_count = 2;
  refused(&request, "InvalidHeader");
  twice[0] = header("a", "b\0c");
  twice[0].value_len = 3;
  request.header_count = 1;
  refused(&request, "InvalidHeader");
}

/* A URL too long is an error wherever it is noticed: never a signature over a part of it. */
static void test_limits(void)
{
  size_t size = (size_t)3 << 20;
  char *url = malloc(size + 1);
  static const char *const starts[] = { "https://h/", "https://h/?", "https://h" };
  for(size_t i = 0; url && i < 3; i++) {
    struct cr_sign_request request = suite_request();
    memset(url, 'a', size);
    url[size] = '\0';
    memcpy(url, starts[i], strlen(starts[i]));
    request.url = url;
    refused(&request, "TooLarge");
    memset(url + 12, '&', size - 12);
    if(i == 1) {
      refused(&request, "TooLarge");
    }
  }
  free(url);
}

static void hmac(const void *key, size_t key_len, const char *text, unsigned char out[32])
{
  unsigned len = 32;
  CHECK(HMAC(EVP_sha256(), key, (int)key_len, (const unsigned char *)text, strlen(text), out, &len) != NULL);
}

/* The signature again, by OpenSSL's own HMAC from the secret on. */
static void check_signature(const struct cr_sign_request *request, const struct cr_signature *out)
{
  char first[300], hex[65];
  unsigned char key[32];
  char day[9];
  memcpy(day, out->amz_date, 8);
  day[8] = '\0';
  snprintf(first, sizeof first, "AWS4%s", request->secret_access_key);
  hmac(first, strlen(first), day, key);
  hmac(key, 32, request->region, key);
  hmac(key, 32, request->service, key);
  hmac(key, 32, "aws4_request", key);
  hmac(key, 32, cr_buf_str(&out->string_to_sign), key);
  for(int i = 0; i < 32; i++) {
    snprintf(hex + 2 * i, 3, "%02x", key[i]);
  }
  CHECK_STR(out->signature, hex);
}

/* Secrets that are each other's beginning, scopes of equal and of different length: `which` of `count` combinations. */
static void check_cached(struct cr_signing_keys *keys, struct cr_signature *out, int which)
{
  static const int lengths[] = { 1, 40, 60, 61, 200 };
  static const char *const services[] = { "acm", "iam", "servicequotas" };
  struct cr_sign_request request = suite_request();
  struct cr_error err;
  char secret[256];
  int length = lengths[which % 5];

  memset(secret, 'a' + which / 5 % 2, (size_t)length);
  secret[length] = '\0';
  request.secret_access_key = secret;
  request.service = services[which / 10 % 3];
  request.region = which / 30 % 2 ? "us-east-1" : "eu-west-1";
  request.time += which / 60 * 86400;
  request.keys = keys;
  CHECK(cr_sigv4_sign(&request, out, &err) == 0);
  check_signature(&request, out);
}

static void test_cache(void)
{
  struct cr_signing_keys *keys = cr_signing_keys_new();
  struct cr_signature out;
  cr_signature_init(&out);
  CHECK(keys != NULL);
  /* First as many as fit, so that all are found again; then more, in a stride, so that some are. */
  for(int round = 0; round < 3; round++) {
    for(int i = 0; i < 15; i++) {
      check_cached(keys, &out, i);
    }
  }
  for(int i = 0; i < 600; i++) {
    check_cached(keys, &out, (i * 7 + i / 4) % 180);
    check_cached(keys, &out, i % 10);
  }
  cr_signing_keys_forget(keys);
  for(int i = 0; i < 180; i++) {
    check_cached(i % 2 ? keys : NULL, &out, i);
  }
  cr_signing_keys_forget(NULL);
  cr_signing_keys_free(NULL);
  cr_signing_keys_free(keys);
  cr_signature_free(&out);
}

static void test_time(void)
{
  struct cr_sign_request request = suite_request();
  struct cr_signing_keys *keys = cr_signing_keys_new();
  struct cr_signature out;
  struct cr_error err;
  cr_signature_init(&out);
  request.keys = keys;
  for(int64_t at = 0; at <= INT64_C(253402300799); at += 86399 * INT64_C(331)) {
    time_t seconds = (time_t)at;
    struct tm parts;
    char want[20];
    gmtime_r(&seconds, &parts);
    strftime(want, sizeof want, "%Y%m%dT%H%M%SZ", &parts);
    request.time = at;
    CHECK(cr_sigv4_sign(&request, &out, &err) == 0);
    CHECK_STR(out.amz_date, want);
  }
  request.time = INT64_C(253402300799);
  CHECK(cr_sigv4_sign(&request, &out, &err) == 0);
  CHECK_STR(out.amz_date, "99991231T235959Z");
  request.time = 951782400;
  CHECK(cr_sigv4_sign(&request, &out, &err) == 0);
  CHECK_STR(out.amz_date, "20000229T000000Z");
  cr_signing_keys_free(keys);
  cr_signature_free(&out);
}

int main(void)
{
  char hash[CR_SHA256_HEX + 1];
  test_stages();
  test_url();
  test_headers();
  test_payload();
  test_token();
  test_refusals();
  test_limits();
  test_cache();
  test_time();
  CHECK(cr_sha256_hex(NULL, 0, hash) == 0);
  CHECK_STR(hash, EMPTY);
  return check_end();
}
