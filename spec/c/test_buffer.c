/* test_buffer.c - buffers: growth, the hard maximum, wiping; and errors, which share no file of their own. */
#include "buffer.h"
#include "check.h"

#include <limits.h>
#include <stdlib.h>

static void test_growth(void)
{
  struct cr_buf buf;
  cr_buf_init(&buf, 100000);
  CHECK_STR(cr_buf_str(&buf), "");
  CHECK(buf.data == NULL);
  for(int i = 0; i < 100000; i++) {
    cr_buf_addc(&buf, (char)('a' + i % 26));
  }
  CHECK(buf.state == CR_BUF_FINE && buf.len == 100000);
  CHECK(buf.data[99999] == 'a' + 99999 % 26 && buf.data[100000] == '\0');
  CHECK(cr_buf_addc(&buf, 'x') == -1 && buf.state == CR_BUF_TOO_LARGE);
  CHECK(buf.len == 100000);
  cr_buf_free(&buf);
  cr_buf_free(&buf);
  CHECK(buf.data == NULL && buf.len == 0 && buf.max == 100000);
}

static void test_maximum(void)
{
  struct cr_buf buf;
  struct cr_error err;
  cr_buf_init(&buf, 5);
  CHECK(cr_buf_adds(&buf, "12345") == 0);
  CHECK(cr_buf_add(&buf, "", 0) == 0);
  CHECK(cr_buf_check(&buf, "answer", &err) == 0);
  CHECK(cr_buf_adds(&buf, "6") == -1);
  CHECK(cr_buf_addf(&buf, "%s", "") == -1); /* failed stays failed */
  CHECK_STR(cr_buf_str(&buf), "12345");
  CHECK(cr_buf_check(&buf, "answer", &err) == -1 && err.kind == CR_KIND_MEMORY);
  CHECK_STR(err.code, "TooLarge");
  CHECK_STR(err.message, "the answer is larger than the limit of 5 bytes");
  cr_buf_reset(&buf);
  CHECK(buf.state == CR_BUF_FINE && buf.len == 0);
  CHECK_STR(cr_buf_str(&buf), "");
  CHECK(cr_buf_addf(&buf, "%d", 12345) == 0);
  CHECK(cr_buf_addf(&buf, "%d", 6) == -1);
  CHECK_STR(cr_buf_str(&buf), "12345");
  cr_buf_free(&buf);
  cr_buf_init(&buf, 0);
  CHECK(cr_buf_addc(&buf, 'x') == -1);
  CHECK(cr_buf_add(&buf, "x", SIZE_MAX) == -1);
  cr_buf_free(&buf);
  cr_buf_init(&buf, SIZE_MAX);
  CHECK(cr_buf_adds(&buf, "x") == 0 && cr_buf_add(&buf, "x", SIZE_MAX) == -1);
  cr_buf_free(&buf);
}

static void test_append(void)
{
  struct cr_buf buf, other;
  cr_buf_init(&buf, 4096);
  cr_buf_init(&other, 10);
  cr_buf_adds(&buf, "0123456789");
  for(int i = 0; i < 5; i++) {
    cr_buf_add(&buf, buf.data, buf.len); /* its own content, while it grows */
  }
  CHECK(buf.len == 320 && memcmp(buf.data + 310, "0123456789", 11) == 0);
  cr_buf_cut(&buf, 400);
  CHECK(buf.len == 320);
  cr_buf_cut(&buf, 3);
  CHECK_STR(cr_buf_str(&buf), "012");
  CHECK(buf.data[10] == '\0'); /* what was cut off is wiped */
  cr_buf_addf(&buf, "%s-%*d", "abc", 200, 7);
  CHECK(buf.len == 207 && buf.data[206] == '7' && strncmp(buf.data, "012abc-  ", 9) == 0);
  CHECK(cr_buf_reserve(&buf, 1000) == 0 && buf.cap > 1207 && buf.len == 207);
  CHECK(cr_buf_adds(&buf, NULL) == 0 && buf.len == 207);
  cr_buf_adds(&other, "gone");
  cr_buf_move(&other, &buf);
  CHECK(other.len == 207 && other.max == 4096 && buf.data == NULL && buf.len == 0);
  cr_buf_move(&other, &other);
  CHECK(other.len == 207);
  cr_buf_reset(&other);
  CHECK(other.data[0] == '\0' && other.data[100] == '\0' && other.cap > 0);
  cr_buf_free(&buf);
  cr_buf_free(&other);
}

static void test_errors(void)
{
  struct cr_error err;
  char large[2000];

  CHECK(cr_fail(NULL, CR_KIND_INPUT, "X", "no one listens") == -1);
  memset(&err, 0x55, sizeof err);
  CHECK(cr_fail(&err, CR_KIND_INPUT, "Bad", "line\nend\ttab\x7f%d", 3) == -1);
  CHECK(err.kind == CR_KIND_INPUT && !err.retryable && !err.ambiguous && err.status == 0);
  CHECK_STR(err.message, "line end tab 3");
  CHECK_STR(err.operation, "");
  cr_fail(&err, CR_KIND_PARSE, err.code, "because %s", err.message);
  CHECK_STR(err.message, "because line end tab 3");
  CHECK_STR(err.code, "Bad");
  memset(large, 'a', sizeof large);
  large[sizeof large - 1] = '\0';
  memcpy(large + 509, "\xE1\x88\xB4", 3); /* cut in the middle */
  cr_fail(&err, CR_KIND_INPUT, large, "%s", large);
  CHECK(strlen(err.message) == 509 && strlen(err.code) == sizeof err.code - 1);
  memcpy(large + 508, "\xE1\x88\xB4", 3); /* fits exactly */
  cr_fail(&err, CR_KIND_INPUT, "C", "%s", large);
  CHECK(strlen(err.message) == 511 && memcmp(err.message + 508, "\xE1\x88\xB4", 3) == 0);
  CHECK(cr_fail_memory(&err) == -1 && err.kind == CR_KIND_MEMORY);
  cr_error_clear(&err);
  CHECK(err.kind == CR_KIND_NONE && err.message[0] == '\0');
  for(int kind = CR_KIND_NONE; kind <= CR_KIND_MEMORY; kind++) {
    CHECK(strcmp(cr_kind_name((enum cr_kind)kind), "unknown") != 0);
  }
  CHECK_STR(cr_kind_name(CR_KIND_SERVICE), "service");
}

static void test_text(void)
{
  char bytes[4] = { 'a', '\0', 'b', 'c' };
  char *copy = cr_memdup(bytes, 4);
  CHECK(copy && memcmp(copy, "a\0bc", 5) == 0);
  free(copy);
  copy = cr_memdup(NULL, 0);
  CHECK_STR(copy, "");
  free(copy);
  CHECK(cr_memdup(bytes, SIZE_MAX) == NULL);
  CHECK(cr_strdup(NULL) == NULL);
  copy = cr_strdup("text");
  CHECK_STR(copy, "text");
  cr_wipe(copy, 4);
  CHECK(memcmp(copy, "\0\0\0\0", 4) == 0);
  free(copy);
  CHECK(cr_strcasecmp("Content-TYPE", "content-type") == 0);
  CHECK(cr_strcasecmp("a", "B") < 0 && cr_strcasecmp("b", "A") > 0 && cr_strcasecmp("a", "ab") < 0);
  CHECK(cr_strcasecmp("\xC4", "\xE4") != 0 && cr_strcasecmp("@", "`") != 0);
  CHECK(cr_streq("a", "a") && !cr_streq("a", "b") && !cr_streq(NULL, NULL) && !cr_streq("a", NULL));
}

int main(void)
{
  test_growth();
  test_maximum();
  test_append();
  test_errors();
  test_text();
  return check_end();
}
