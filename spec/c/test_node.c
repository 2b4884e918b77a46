/* test_node.c - trees: building, bounds, copying, and reading numbers whatever the locale. */
#include "check.h"
#include "node.h"

#include <limits.h>
#include <locale.h>

static void test_building(void)
{
  struct cr_tree tree;
  struct cr_node *root, *list, *node;
  cr_tree_init(&tree, 100000);
  CHECK(tree.root == NULL);
  root = cr_node_add(&tree, NULL, NULL, CR_NODE_MAP);
  CHECK(root && tree.root == root && root->count == 0);
  CHECK(cr_node_add(&tree, NULL, NULL, CR_NODE_MAP) == NULL);
  node = cr_add_text(&tree, root, "Id", "E1");
  CHECK(node && node->parent == root && node->len == 2);
  cr_add_text(&tree, root, "Id", "E2");
  cr_add_bool(&tree, root, "Enabled", true);
  cr_add_int(&tree, root, "Least", INT64_MIN);
  cr_add_text(&tree, root, "Empty", NULL);
  node = cr_add_textn(&tree, root, "Bytes", "a\0b", 3);
  CHECK(node && node->len == 3 && memcmp(node->text, "a\0b", 4) == 0);
  list = cr_node_add(&tree, root, "Items", CR_NODE_LIST);
  for(int i = 0; i < 3; i++) {
    struct cr_node *item = cr_node_add(&tree, list, NULL, CR_NODE_MAP);
    cr_add_int(&tree, item, "N", i);
  }
  CHECK(list->count == 3 && list->first->next->next == list->last && root->count == 7);
  CHECK_STR(cr_get_text(root, "Id"), "E1");
  CHECK_STR(cr_get_text(root, "Empty"), "");
  CHECK_STR(cr_get_text(root, "Least"), "-9223372036854775808");
  CHECK(cr_get_text(root, "Items") == NULL && cr_get_text(root, "id") == NULL && cr_get_text(NULL, "Id") == NULL);
  CHECK(cr_get_int(list->last, "N", -1) == 2);
  CHECK(cr_get_path(root, "Items/x") == NULL && cr_get_path(root, "Items") == list && cr_get_path(NULL, "a/b") == NULL);
  node = cr_node_add(&tree, root, "Distribution", CR_NODE_MAP);
  cr_add_text(&tree, node, "Status", "Deployed");
  CHECK_STR(cr_get_path(root, "Distribution/Status")->text, "Deployed");
  CHECK(cr_get(root, "Distributio") == NULL && cr_get_path(root, "Distributio/Status") == NULL);
  CHECK(cr_get_bool(root, "Enabled", false) && cr_get_bool(root, "None", true) && !cr_get_bool(root, "Id", false));
  cr_tree_free(&tree);
  CHECK(tree.root == NULL && tree.bytes == 0 && tree.max_bytes == 100000);
}

static void test_bounds(void)
{
  struct cr_tree tree;
  struct cr_node *root;
  char big[3000];
  int nodes = 0;
  memset(big, 'x', sizeof big);
  cr_tree_init(&tree, 20000);
  root = cr_node_add(&tree, NULL, NULL, CR_NODE_LIST);
  while(cr_add_text(&tree, root, NULL, "0123456789")) {
    nodes++;
    CHECK(tree.bytes <= 20000);
  }
  CHECK(nodes > 50 && nodes == (int)root->count);
  CHECK(cr_add_textn(&tree, root, NULL, big, sizeof big) == NULL);
  CHECK(nodes == (int)root->count);
  CHECK(cr_tree_alloc(&tree, SIZE_MAX) == NULL && cr_tree_text(&tree, big, SIZE_MAX) == NULL);
  cr_tree_free(&tree);
  cr_tree_init(&tree, SIZE_MAX);
  CHECK(cr_tree_alloc(&tree, SIZE_MAX - 8) == NULL);
  for(size_t size = 1; size < 200000; size = size * 3 + 1) {
    unsigned char *memory = cr_tree_alloc(&tree, size);
    CHECK(memory && (uintptr_t)memory % 16 == 0 && memory[0] == 0 && memory[size - 1] == 0);
    if(memory) {
      memset(memory, 0xFF, size); /* so that an overlap shows as a byte that is not 0 */
    }
    CHECK(cr_tree_text(&tree, "ab", 2) != NULL);
  }
  cr_tree_free(&tree);
  cr_tree_init(&tree, 0);
  CHECK(cr_node_add(&tree, NULL, NULL, CR_NODE_MAP) == NULL);
  cr_tree_free(&tree);
}

/* A buffer becomes a text of the tree, memory and all, or stays what it was. */
static void test_buf(void)
{
  struct cr_tree tree;
  struct cr_node *root, *node;
  struct cr_buf buf;
  const char *data;

  cr_tree_init(&tree, 4000);
  cr_buf_init(&buf, 10000);
  root = cr_node_add(&tree, NULL, NULL, CR_NODE_MAP);
  node = cr_add_buf(&tree, root, "Empty", &buf);
  CHECK(node && node->type == CR_NODE_TEXT && node->len == 0);
  CHECK_STR(cr_get_text(root, "Empty"), "");
  for(int i = 0; i < 1000; i++) {
    cr_buf_addc(&buf, (char)('a' + i % 26));
  }
  data = buf.data;
  node = cr_add_buf(&tree, root, "Body", &buf);
  CHECK(node && node->text == data && node->len == 1000 && node->text[1000] == '\0' && node->parent == root);
  CHECK(buf.data == NULL && buf.len == 0 && buf.cap == 0 && buf.max == 10000);
  CHECK(tree.bytes > 1000 && tree.bytes <= 4000);
  CHECK_STR(cr_add_text(&tree, root, "After", "x")->text, "x");
  /* as the first of a tree, moved with it */
  struct cr_tree other;
  cr_tree_init(&other, 4000);
  cr_buf_adds(&buf, "alone");
  CHECK(cr_add_buf(&other, NULL, "Root", &buf) == other.root);
  cr_tree_move(&tree, &other);
  CHECK_STR(tree.root->text, "alone");
  CHECK(cr_add_buf(&tree, NULL, "Root", &buf) == NULL);
  /* past the limit */
  cr_buf_reserve(&buf, 5000);
  cr_buf_adds(&buf, "kept");
  node = cr_node_add(&other, NULL, NULL, CR_NODE_MAP);
  size_t before = other.bytes;
  CHECK(cr_add_buf(&other, node, "Body", &buf) == NULL && other.bytes == before && node->count == 0);
  CHECK_STR(cr_buf_str(&buf), "kept");
  cr_buf_free(&buf);
  cr_tree_free(&tree);
  cr_tree_free(&other);
}

static void test_copy(void)
{
  struct cr_tree from, to;
  struct cr_node *root, *at, *target, *copy;
  int depth = 0;
  cr_tree_init(&from, 1 << 24);
  cr_tree_init(&to, 1 << 24);
  root = at = cr_node_add(&from, NULL, "Root", CR_NODE_MAP);
  for(int i = 0; i < 20000; i++) { /* deep: copying must not use the stack */
    cr_add_int(&from, at, "Number", i);
    at = cr_node_add(&from, at, "Deeper", CR_NODE_MAP);
  }
  cr_add_bool(&from, at, "Truth", true);
  cr_add_text(&from, root, "Last", "one");
  target = cr_node_add(&to, NULL, NULL, CR_NODE_LIST);
  copy = cr_node_copy(&to, target, NULL, root);
  CHECK(copy && copy->parent == target && target->count == 1);
  CHECK_STR(copy->name, "Root");
  CHECK_STR(cr_get_text(copy, "Last"), "one");
  CHECK(copy->count == 3);
  for(at = copy; cr_get(at, "Deeper"); at = at->first->next) {
    CHECK(cr_get_int(at, "Number", -1) == depth);
    depth++;
  }
  CHECK(depth == 20000 && cr_get_bool(at, "Truth", false));
  copy = cr_node_copy(&to, target, "Renamed", root->last);
  CHECK_STR(copy->name, "Renamed");
  CHECK_STR(copy->text, "one");
  CHECK(cr_node_copy(&to, target, NULL, NULL) == NULL);
  cr_tree_free(&from);
  CHECK_STR(cr_get_text(target->first, "Last"), "one");
  cr_tree_move(&from, &to);
  CHECK(from.root == target && to.root == NULL && to.chunks == NULL);
  cr_tree_free(&to);
  cr_tree_init(&to, 2000);
  target = cr_node_add(&to, NULL, NULL, CR_NODE_LIST);
  CHECK(cr_node_copy(&to, target, NULL, from.root) == NULL); /* does not fit */
  cr_tree_free(&from);
  cr_tree_free(&to);
}

static int64_t as_int(const char *text)
{
  struct cr_tree tree;
  int64_t number;
  cr_tree_init(&tree, 1000);
  cr_add_text(&tree, cr_node_add(&tree, NULL, NULL, CR_NODE_MAP), "n", text);
  number = cr_get_int(tree.root, "n", -77);
  cr_tree_free(&tree);
  return number;
}

static double as_number(const char *text)
{
  struct cr_tree tree;
  double number;
  cr_tree_init(&tree, 1000);
  cr_add_text(&tree, cr_node_add(&tree, NULL, NULL, CR_NODE_MAP), "n", text);
  number = cr_get_number(tree.root, "n", -77.0);
  cr_tree_free(&tree);
  return number;
}

static void test_numbers(void)
{
  CHECK(as_int("3") == 3 && as_int("3.0") == 3 && as_int("1.7e9") == 1700000000 && as_int(" 12\n") == 12);
  CHECK(as_int("1.768478400123E9") == 1768478400 && as_int("-5.9") == -5 && as_int("+7") == 7 && as_int("1e-3") == 0);
  CHECK(as_int("9223372036854775807") == INT64_MAX && as_int("-9223372036854775807") == -INT64_MAX);
  CHECK(as_int("9223372036854775808") == -77 && as_int("99999999999999999999999") == -77 && as_int("1e19") == -77);
  CHECK(as_int("1e999999999999") == -77 && as_int("0e999999999999") == 0 && as_int("1e-999999999999") == 0);
  CHECK(as_int("1.00000000000000000000000001") == 1 && as_int("12345678901234567890123e-10") == 1234567890123);
  CHECK(as_int("9223372036854775808") == -77 && as_int("92233720368547758070") == -77);
  CHECK(as_int("") == -77 && as_int("-") == -77 && as_int(".") == -77 && as_int("1 2") == -77 && as_int("0x10") == -77);
  CHECK(as_int("nan") == -77 && as_int("1e") == -77 && as_int("1.2.3") == -77 && as_int("12a") == -77);
  CHECK(as_int(".5") == 0 && as_int("5.") == 5 && as_int("000012") == 12);
  CHECK(as_number("0.1") == 0.1 && as_number("600.25") == 600.25 && as_number("-1e-7") == -1e-7);
  CHECK(as_number("1.7976931348623157e308") > 1.797e308 && as_number("1e309") == -77.0 && as_number("1e-400") == 0.0);
  CHECK(as_number("1e99999") == -77.0 && as_number("x") == -77.0 && as_number("3") == 3.0);
  CHECK(as_number("123456789012345678901234567890") > 1.2345e29 && as_number("123456789012345678901234567890") < 1.2346e29);
}

int main(void)
{
  test_building();
  test_bounds();
  test_buf();
  test_copy();
  test_numbers();
  if(setlocale(LC_ALL, "de_DE.UTF-8")) { /* a decimal comma changes nothing, where that locale exists */
    test_numbers();
  }
  return check_end();
}
