/* test_json.c - writing JSON: escapes, UTF-8, numbers, nesting, base64. */
#include "check.h"
#include "json.h"

#include <stdlib.h>

static void test_string(void)
{
  struct cr_buf out;
  static const char *const bad[] = {
    "\x80", "a\xC3", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80",
    "\xF5\x80\x80\x80", "\xFF", "\xE1\x88", "\xE1\x88z", "ok\n\xFE"
  };
  static const char *const good[] = {
    "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80", "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"
  };
  cr_buf_init(&out, 1000);
  CHECK(cr_json_string(&out, "", 0) == 0);
  CHECK_STR(cr_buf_str(&out), "\"\"");
  cr_buf_reset(&out);
  CHECK(cr_json_string(&out, "a\"b\\c/\b\f\n\r\t\x01\x1f\x7f\0z", 16) == 0);
  CHECK_STR(cr_buf_str(&out), "\"a\\\"b\\\\c/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\\u0000z\"");
  for(size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    cr_buf_reset(&out);
    CHECK(cr_json_string(&out, good[i], strlen(good[i])) == 0 && out.len == strlen(good[i]) + 2);
  }
  for(size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    cr_buf_reset(&out);
    cr_buf_adds(&out, "kept");
    CHECK(cr_json_string(&out, bad[i], strlen(bad[i])) == -1);
    CHECK_STR(cr_buf_str(&out), "kept");
  }
  cr_buf_free(&out);
  cr_buf_init(&out, 4);
  CHECK(cr_json_string(&out, "abc", 3) == -1 && out.state == CR_BUF_TOO_LARGE);
  cr_buf_free(&out);
}

static void test_base64(void)
{
  static const struct { const char *text, *want; } pairs[] = {
    { "", "\"\"" }, { "f", "\"Zg==\"" }, { "fo", "\"Zm8=\"" }, { "foo", "\"Zm9v\"" }, { "foob", "\"Zm9vYg==\"" },
    { "-----BEGIN CERTIFICATE-----\nTUlJQg==\n-----END CERTIFICATE-----\n",
      "\"LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tClRVbEpRZz09Ci0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K\"" }
  };
  struct cr_buf out;
  char *large = calloc(1, 100001);
  cr_buf_init(&out, 1 << 20);
  for(size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
    cr_buf_reset(&out);
    CHECK(cr_json_base64(&out, pairs[i].text, strlen(pairs[i].text)) == 0);
    CHECK_STR(cr_buf_str(&out), pairs[i].want);
  }
  cr_buf_reset(&out);
  CHECK(large && cr_json_base64(&out, large, 100001) == 0 && out.len == 133336 + 2);
  CHECK(strspn(out.data + 1, "A") == 133336 - 1 && strcmp(out.data + 133336, "=\"") == 0);
  cr_buf_free(&out);
  cr_buf_init(&out, 100);
  cr_buf_adds(&out, "x");
  CHECK(cr_json_base64(&out, large, 100001) == -1 && out.state == CR_BUF_TOO_LARGE && out.len == 1);
  cr_buf_free(&out);
  free(large);
}

static void test_write(void)
{
  struct cr_tree tree;
  struct cr_buf out;
  struct cr_error err;
  struct cr_node *root, *list, *node;
  cr_tree_init(&tree, 10000);
  cr_buf_init(&out, 1000);
  CHECK(cr_json_write(&out, NULL, &err) == 0);
  root = cr_node_add(&tree, NULL, NULL, CR_NODE_MAP);
  CHECK(cr_json_write(&out, root, &err) == 0);
  CHECK_STR(cr_buf_str(&out), "null{}");
  cr_add_text(&tree, root, "Certificate\"Arn", "arn:x");
  list = cr_node_add(&tree, root, "Tags", CR_NODE_LIST);
  node = cr_node_add(&tree, list, NULL, CR_NODE_MAP);
  cr_add_int(&tree, node, "n", -3);
  cr_add_bool(&tree, node, "t", true);
  cr_node_add(&tree, node, "z", CR_NODE_NULL);
  cr_node_add(&tree, list, "named", CR_NODE_LIST); /* XML lists keep names: not written */
  cr_add_bool(&tree, list, NULL, false);
  cr_node_add(&tree, root, "e", CR_NODE_LIST);
  cr_buf_reset(&out);
  CHECK(cr_json_write(&out, root, &err) == 0);
  CHECK_STR(cr_buf_str(&out), "{\"Certificate\\\"Arn\":\"arn:x\",\"Tags\":[{\"n\":-3,\"t\":true,\"z\":null},[],false],\"e\":[]}");
  cr_buf_reset(&out);
  CHECK(cr_json_write(&out, list->first, &err) == 0); /* a part: neither its name nor what follows it */
  CHECK_STR(cr_buf_str(&out), "{\"n\":-3,\"t\":true,\"z\":null}");
  cr_buf_reset(&out);
  CHECK(cr_json_write(&out, list, &err) == 0);
  CHECK_STR(cr_buf_str(&out), "[{\"n\":-3,\"t\":true,\"z\":null},[],false]");
  cr_buf_reset(&out);
  cr_add_text(&tree, node, "bad", "\xFF");
  cr_buf_adds(&out, "kept");
  CHECK(cr_json_write(&out, root, &err) == -1 && err.kind == CR_KIND_INPUT);
  CHECK_STR(err.message, "the parameter \"bad\" is not valid UTF-8");
  CHECK_STR(cr_buf_str(&out), "kept");
  cr_buf_free(&out);
  cr_buf_init(&out, 10);
  CHECK(cr_json_write(&out, root, &err) == -1 && err.kind == CR_KIND_MEMORY);
  CHECK_STR(err.code, "TooLarge");
  cr_buf_free(&out);
  cr_tree_free(&tree);
}

static void test_numbers(void)
{
  static const char *const good[] = { "0", "-0", "12", "0.5", "-1.25e+10", "1E5", "1e-7" };
  static const char *const bad[] = { "", "-", "01", "+1", "1.", ".5", "1e", "nan", "inf", "0x1", "1 ", "1,5", "--1" };
  struct cr_buf out;
  struct cr_error err;
  cr_buf_init(&out, 100);
  for(size_t i = 0; i < sizeof good / sizeof good[0] + sizeof bad / sizeof bad[0]; i++) {
    bool fine = i < sizeof good / sizeof good[0];
    struct cr_tree tree;
    cr_tree_init(&tree, 1000);
    cr_add_text(&tree, NULL, NULL, fine ? good[i] : bad[i - sizeof good / sizeof good[0]]);
    tree.root->type = CR_NODE_NUMBER;
    cr_buf_reset(&out);
    CHECK((cr_json_write(&out, tree.root, &err) == 0) == fine);
    CHECK_STR(cr_buf_str(&out), fine ? good[i] : "");
    cr_tree_free(&tree);
  }
  cr_buf_free(&out);
}

static void test_depth(void)
{
  struct cr_tree tree;
  struct cr_buf out;
  struct cr_error err;
  struct cr_node *at;
  cr_tree_init(&tree, 1 << 26);
  cr_buf_init(&out, 1 << 22);
  at = cr_node_add(&tree, NULL, NULL, CR_NODE_LIST);
  for(int i = 0; i < 200000 && at; i++) {
    at = cr_node_add(&tree, at, NULL, CR_NODE_LIST);
  }
  CHECK(at && cr_json_write(&out, tree.root, &err) == 0 && out.len == 400002);
  cr_buf_free(&out);
  cr_tree_free(&tree);
}

int main(void)
{
  test_string();
  test_base64();
  test_write();
  test_numbers();
  test_depth();
  return check_end();
}
