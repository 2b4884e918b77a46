/* test_uri.c - percent-encoding and taking URLs apart. */
#include "check.h"
#include "uri.h"

static const char *encode(struct cr_buf *buf, const char *text, bool keep_slash)
{
  cr_buf_reset(buf);
  cr_uri_encode(buf, text, strlen(text), keep_slash);
  return cr_buf_str(buf);
}

static void test_encode(void)
{
  struct cr_buf buf;
  static const char unreserved[] = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  cr_buf_init(&buf, 1000);
  CHECK_STR(encode(&buf, "", false), "");
  CHECK_STR(encode(&buf, unreserved, false), unreserved);
  CHECK_STR(encode(&buf, "a b+c/d:e%2f", false), "a%20b%2Bc%2Fd%3Ae%252f");
  CHECK_STR(encode(&buf, "/a b//c:", true), "/a%20b//c%3A");
  CHECK_STR(encode(&buf, "\xE1\x88\xB4", true), "%E1%88%B4");
  CHECK_STR(encode(&buf, "//", false), "%2F%2F");
  cr_buf_reset(&buf);
  CHECK(cr_uri_encode(&buf, "\0\xFF", 2, false) == 0);
  CHECK_STR(cr_buf_str(&buf), "%00%FF");
  cr_buf_reset(&buf);
  CHECK(cr_uri_encode_form(&buf, "-----BEGIN X-----\na+/=\n", 23) == 0);
  CHECK_STR(cr_buf_str(&buf), "-----BEGIN%20X-----%0Aa%2B%2F%3D%0A");
  for(int c = 1; c < 256; c++) {
    char text[2] = { (char)c, '\0' };
    bool plain = c < 128 && strchr(unreserved, c);
    char want[4];
    snprintf(want, sizeof want, plain ? "%c" : "%%%02X", (unsigned)c);
    CHECK_STR(encode(&buf, text, false), want);
  }
  cr_buf_free(&buf);
  cr_buf_init(&buf, 4);
  CHECK(cr_uri_encode(&buf, "  ", 2, false) == -1 && buf.len <= 4);
  cr_buf_free(&buf);
}

static bool is(const char *part, size_t len, const char *want)
{
  return len == strlen(want) && memcmp(part, want, len) == 0;
}

static const char *host_of(struct cr_buf *buf, const char *text)
{
  struct cr_url url;
  cr_buf_reset(buf);
  return cr_url_parse(text, &url, NULL) == 0 && cr_url_host(&url, buf) == 0 ? cr_buf_str(buf) : NULL;
}

static void test_parse(void)
{
  struct cr_url url;
  struct cr_error err;
  struct cr_buf buf;
  cr_buf_init(&buf, 1000);

  CHECK(cr_url_parse("https://Example.com:8443/a/b?c=d&e#f?g", &url, &err) == 0);
  CHECK(url.https && url.port == 8443 && is(url.scheme, url.scheme_len, "https"));
  CHECK(is(url.host, url.host_len, "Example.com") && is(url.path, url.path_len, "/a/b"));
  CHECK(is(url.query, url.query_len, "c=d&e"));
  CHECK(cr_url_parse("HTTP://h", &url, &err) == 0);
  CHECK(!url.https && url.port == 0 && url.path_len == 0 && url.query_len == 0 && is(url.host, url.host_len, "h"));
  CHECK(cr_url_parse("http://h?q", &url, &err) == 0 && url.path_len == 0 && is(url.query, url.query_len, "q"));
  CHECK(cr_url_parse("http://h/?", &url, &err) == 0 && is(url.path, url.path_len, "/") && url.query_len == 0);
  CHECK(cr_url_parse("http://h/#/x?y", &url, &err) == 0 && is(url.path, url.path_len, "/") && url.query_len == 0);
  CHECK(cr_url_parse("http://h/a@b?c@d", &url, &err) == 0 && is(url.path, url.path_len, "/a@b"));
  CHECK(cr_url_parse("http://[2001:db8::1]:81/", &url, &err) == 0 && is(url.host, url.host_len, "[2001:db8::1]"));
  CHECK(url.port == 81);
  CHECK(cr_url_parse("http://h/a b/\xE1\x88\xB4", &url, &err) == 0);

  CHECK_STR(host_of(&buf, "https://EXAMPLE.com/"), "example.com");
  CHECK_STR(host_of(&buf, "https://h:443/"), "h");
  CHECK_STR(host_of(&buf, "http://h:443/"), "h:443");
  CHECK_STR(host_of(&buf, "http://h:80"), "h");
  CHECK_STR(host_of(&buf, "http://h:00080"), "h");
  CHECK_STR(host_of(&buf, "https://h:80"), "h:80");
  CHECK_STR(host_of(&buf, "https://h:"), "h");
  CHECK_STR(host_of(&buf, "https://[::1]:9000/x"), "[::1]:9000");
  cr_buf_free(&buf);
}

static void test_refuse(void)
{
  static const char *const bad[] = {
    "", "h", "//h", "ftp://h/", "https:/h", "https://", "https:///path", "https://?q", "https://user@h/",
    "https://user:secret@h/", "https://h:0/", "https://h:65536/", "https://h:99999999999999999999/", "https://h:8a/",
    "https://h:-1/", "https://h h/", "https://h\\x/", "https://h/\x01", "https://h/a\nb", "https://h/\x7f", "https://[::1/",
    "https://[]/", "https://[::1]x/", "https://[g::1]/", "https://h\t/", "https://\xC3\xA4.example/", "https://h%41/",
    "https://a:b:1/", " https://h/"
  };
  struct cr_url url;
  struct cr_error err;
  for(size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    cr_error_clear(&err);
    if(cr_url_parse(bad[i], &url, &err) == 0) {
      printf("taken: %s\n", bad[i]);
    }
    CHECK(err.kind == CR_KIND_INPUT && strcmp(err.code, "InvalidUrl") == 0);
    CHECK(strstr(err.message, "secret") == NULL && strchr(err.message, '\n') == NULL);
  }
  CHECK(cr_url_parse("https://h:65535/", &url, &err) == 0 && url.port == 65535);
}

int main(void)
{
  test_encode();
  test_parse();
  test_refuse();
  return check_end();
}
