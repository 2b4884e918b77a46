/* test_xml.c - the tree that XML becomes: what it holds, where its parts lie, and everything that is refused.
 *
 * malloc, calloc and free are wrapped (spec/CMakeLists.txt), so that each allocation of the core, expat's included,
 * can be made to fail. */
#include "xml.h"

#include <stdlib.h>

#include "check.h"
#include "random.h"

#define TREE_MAX ((size_t)64 << 20)

/* --- allocations */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void __real_free(void *data);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void __wrap_free(void *data);

static long fail_after = -1; /* allocations that still succeed; -1: all */
static long outstanding;

static bool refuse(void)
{
  if(fail_after < 0) {
    return false;
  }
  if(fail_after == 0) {
    return true;
  }
  fail_after--;
  return false;
}

void *__wrap_malloc(size_t size)
{
  void *data = refuse() ? NULL : __real_malloc(size);
  outstanding += data ? 1 : 0;
  return data;
}

void *__wrap_calloc(size_t count, size_t size)
{
  void *data = refuse() ? NULL : __real_calloc(count, size);
  outstanding += data ? 1 : 0;
  return data;
}

void __wrap_free(void *data)
{
  outstanding -= data ? 1 : 0;
  __real_free(data);
}

/* --- a tree as text: type, name, value and where it lies, one node a line */

static void dump(struct cr_buf *out, const struct cr_node *node, int depth)
{
  cr_buf_addf(out, "%*s%s", depth, "", node->name);
  if(node->type == CR_NODE_TEXT) {
    cr_buf_adds(out, "='");
    cr_buf_add(out, node->text, node->len);
    cr_buf_adds(out, "'");
  } else {
    cr_buf_addf(out, " type %d with %zu", (int)node->type, node->count);
  }
  cr_buf_addf(out, " %zu-%zu(%zu-%zu)\n", node->outer.begin, node->outer.end, node->inner.begin, node->inner.end);
  for(const struct cr_node *child = node->first; child; child = child->next) {
    CHECK(child->parent == node);
    dump(out, child, depth + 1);
  }
}

/* Parses in pieces of at most `piece` bytes (0: random ones) and dumps the tree, or the error. */
static void parse_dump(struct cr_buf *out, const struct cr_xml_view *view, const char *text, size_t len, size_t piece)
{
  struct cr_tree tree;
  struct cr_error err;
  struct cr_xml *xml;
  int rc = 0;

  cr_error_clear(&err);
  cr_tree_init(&tree, TREE_MAX);
  xml = cr_xml_new(&tree, view);
  CHECK(xml);
  for(size_t at = 0; xml && rc == 0 && at < len;) {
    size_t take = piece ? piece : random_below(40);
    take = take < len - at ? take : len - at;
    rc = cr_xml_feed(xml, text + at, take, &err);
    at += take;
  }
  if(xml && rc == 0) {
    rc = cr_xml_finish(xml, &err);
  }
  cr_xml_free(xml);
  cr_buf_reset(out);
  if(rc == 0) {
    dump(out, tree.root, 0);
  } else {
    cr_buf_addf(out, "%s %s: %s", cr_kind_name(err.kind), err.code, err.message);
  }
  cr_tree_free(&tree);
}

static void test_shapes(void)
{
  static const struct {
    const char *text, *want;
  } cases[] = {
    {"<A/>", "A='' 0-4(4-4)\n"},
    {"<A></A>", "A='' 0-7(3-3)\n"},
    {"<A  b='1' />", "A='' 0-12(12-12)\n"},
    {"<A>x</A>", "A='x' 0-8(3-4)\n"},
    {"<A> x\n</A\n>", "A=' x\n' 0-11(3-6)\n"},
    {"<A> </A>", "A=' ' 0-8(3-4)\n"},
    {"<A>\r\n</A>", "A='\n' 0-9(3-5)\n"},
    {"<A>a&amp;b&lt;&gt;&quot;&apos;&#65;&#x42;&#xe9;</A>", "A='a&b<>\"'AB\xC3\xA9' 0-51(3-47)\n"},
    {"<A>a<![CDATA[<b>&amp;]]]>c</A>", "A='a<b>&amp;]c' 0-30(3-26)\n"},
    {"<A>a<!-- <B/> -->b<?p <C/> ?>c</A>", "A='abc' 0-34(3-30)\n"},
    {"<A><B/></A>", "A type 5 with 1 0-11(3-7)\n B='' 3-7(7-7)\n"},
    {"<A> <B>1</B> <B>2</B> </A>",
     "A type 5 with 2 0-26(3-22)\n B='1' 4-12(7-8)\n B='2' 13-21(16-17)\n"},
    {"<A>lost<B>1</B>lost</A>", "A type 5 with 1 0-23(3-19)\n B='1' 7-15(10-11)\n"},
    {"<p:A xmlns:p='u'><q:B>1</q:B><C:/></p:A>",
     "A type 5 with 2 0-40(17-34)\n B='1' 17-29(22-23)\n C:='' 29-34(34-34)\n"},
    {"\xEF\xBB\xBF<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- c --><A>x</A><!-- d -->\n",
     "A='x' 52-60(55-56)\n"},
    {"<?xml version='1.0' encoding='ISO-8859-1'?><A>\xE9</A>", "A='\xC3\xA9' 43-51(46-47)\n"},
    {"<A a='&lt;/A>' b=\"/>\">x</A>", "A='x' 0-27(22-23)\n"},
  };
  struct cr_buf got;
  cr_buf_init(&got, TREE_MAX);
  for(size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    parse_dump(&got, NULL, cases[i].text, strlen(cases[i].text), 1 << 20);
    CHECK_STR(cr_buf_str(&got), cases[i].want);
    parse_dump(&got, NULL, cases[i].text, strlen(cases[i].text), 1);
    CHECK_STR(cr_buf_str(&got), cases[i].want);
  }
  cr_buf_free(&got);
}

static void test_refusals(void)
{
  static const struct {
    const char *text, *begins, *contains;
  } cases[] = {
    {"", "parse XmlTruncated: the answer is empty", ""},
    {"  \n", "parse XmlTruncated: the answer ends too early", "line 2"},
    {"<A>\n<B>", "parse XmlTruncated: the answer ends too early", "line 2"},
    {"<A>\n<B", "parse XmlTruncated: ", "line 2"},
    {"<A", "parse XmlTruncated: ", "line 1"},
    {"<A><![CDATA[x", "parse XmlTruncated: ", "line 1"},
    {"<A>\xC3", "parse XmlTruncated: ", "line 1"},
    {"<A>\n\n</B>", "parse XmlMalformed: the answer is not well-formed XML (line 3: mismatched tag)", ""},
    {"<A/><B/>", "parse XmlMalformed: the answer is not well-formed XML (line 1: ", ""},
    {"<A/>x", "parse XmlMalformed: ", ""},
    {"<A>&nbsp;</A>", "parse XmlMalformed: ", "undefined entity"},
    {"<A>\x01</A>", "parse XmlMalformed: ", "invalid token"},
    {"<A>&#0;</A>", "parse XmlMalformed: ", ""},
    {"<A b='1' b='2'/>", "parse XmlMalformed: ", "duplicate attribute"},
    {"<A>\xC3(</A>", "parse XmlMalformed: ", "invalid token"},
    {"{\"message\":\"Forbidden\"}", "parse XmlMalformed: ", "something else may have answered"},
    {"502 Bad Gateway", "parse XmlMalformed: ", "line 1"},
    {"<html><body><br></body></html>", "parse XmlMalformed: ", "mismatched tag"},
    {"<?xml version='1.0' encoding='windows-1252'?><A/>", "parse XmlMalformed: ", "unknown encoding"},
    {"<!DOCTYPE A><A/>", "parse XmlDoctype: ", "line 1"},
    {"<?xml version='1.0'?>\n<!DOCTYPE A [<!ENTITY x 'y'>]><A>&x;</A>", "parse XmlDoctype: ", "line 2"},
    {"<!DOCTYPE html PUBLIC '-//W3C//DTD XHTML 1.0 Strict//EN' 'http://127.0.0.1:1/x.dtd'><html/>",
     "parse XmlDoctype: ", ""},
    {"<!DOCTYPE lolz [<!ENTITY a 'lol'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;'><!ENTITY c '&b;&b;&b;&b;&b;&b;"
     "&b;&b;&b;&b;'><!ENTITY d '&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;'>]><lolz>&d;&d;&d;</lolz>", "parse XmlDoctype: ", ""},
  };
  struct cr_buf got;
  cr_buf_init(&got, TREE_MAX);
  for(size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    for(size_t piece = 1; piece <= 1 << 20; piece += (1 << 20) - 1) {
      bool begins;
      parse_dump(&got, NULL, cases[i].text, strlen(cases[i].text), piece);
      begins = strncmp(cr_buf_str(&got), cases[i].begins, strlen(cases[i].begins)) == 0;
      CHECK(begins);
      CHECK(strstr(cr_buf_str(&got), cases[i].contains));
      if(!begins) {
        printf("  case %zu: %s\n", i, cr_buf_str(&got));
      }
    }
  }
  cr_buf_free(&got);
}

static void test_failed_stays_failed(void)
{
  struct cr_tree tree;
  struct cr_error first, again;
  struct cr_xml *xml;

  cr_tree_init(&tree, TREE_MAX);
  xml = cr_xml_new(&tree, NULL);
  CHECK(cr_xml_feed(xml, "<A></B>", 7, &first) == -1);
  CHECK(cr_xml_feed(xml, "<A/>", 4, &again) == -1);
  CHECK_STR(again.message, first.message);
  CHECK(cr_xml_finish(xml, &again) == -1);
  CHECK_STR(again.message, first.message);
  CHECK(cr_xml_finish(xml, NULL) == -1);
  CHECK(!first.retryable);
  cr_xml_free(xml);
  cr_tree_free(&tree);

  cr_tree_init(&tree, TREE_MAX);
  xml = cr_xml_new(&tree, NULL);
  CHECK(cr_xml_feed(xml, NULL, 0, NULL) == 0);
  CHECK(cr_xml_feed(xml, "<A>1", 4, NULL) == 0);
  CHECK(cr_xml_finish(xml, &first) == -1);
  CHECK(first.retryable);
  CHECK_STR(first.code, "XmlTruncated");
  cr_xml_free(xml);
  cr_tree_free(&tree);

  cr_tree_init(&tree, TREE_MAX);
  xml = cr_xml_new(&tree, NULL);
  CHECK(cr_xml_feed(xml, "<A/>", 4, NULL) == 0);
  CHECK(cr_xml_finish(xml, NULL) == 0);
  CHECK(cr_xml_finish(xml, NULL) == 0);
  CHECK(cr_xml_feed(xml, "", 0, NULL) == 0);
  CHECK(cr_xml_feed(xml, " ", 1, &first) == -1);
  CHECK(first.kind == CR_KIND_INPUT);
  cr_xml_free(xml);
  cr_tree_free(&tree);
  cr_xml_free(NULL);
}

static const char *const two_names[] = {"Id", "Deep", NULL};
static const struct cr_xml_view under_item = {.under = "Item", .names = two_names};
static const struct cr_xml_view under_root = {.names = two_names};

static void test_view(void)
{
  static const struct {
    const struct cr_xml_view *view;
    const char *text, *want;
  } cases[] = {
    {&under_item, "<L><Max>1</Max><Items><Item><Id>7</Id><X>a<Id>9</Id><Y/>b</X><Deep>t</Deep></Item></Items></L>",
     "L type 5 with 2 0-94(3-90)\n Max='1' 3-15(8-9)\n Items type 5 with 1 15-90(22-82)\n"
     "  Item type 5 with 2 22-82(28-75)\n   Id='7' 28-38(32-33)\n   Deep='t' 61-75(67-68)\n"},
    /* nothing wanted: an empty map, not a text */
    {&under_item, "<Item> <X/> </Item>", "Item type 5 with 0 0-19(6-12)\n"},
    {&under_item, "<Item>text</Item>", "Item='text' 0-17(6-10)\n"},
    /* a kept child is kept with all that is in it, even elements called as the view's */
    {&under_item, "<Item><Deep><Item><X/></Item><X/></Deep><X/></Item>",
     "Item type 5 with 1 0-51(6-44)\n Deep type 5 with 2 6-40(12-33)\n  Item type 5 with 1 12-29(18-22)\n"
     "   X='' 18-22(22-22)\n  X='' 29-33(33-33)\n"},
    {&under_item, "<L><p:Item><X/><q:Id>1</q:Id></p:Item><X/><Item><X/><Deep/></Item></L>",
     "L type 5 with 3 0-70(3-66)\n Item type 5 with 1 3-38(11-29)\n  Id='1' 15-29(21-22)\n X='' 38-42(42-42)\n"
     " Item type 5 with 1 42-66(48-59)\n  Deep='' 52-59(59-59)\n"},
    /* and what comes after is not under it any more */
    {&under_item, "<L><Item><X/></Item><O><X>1</X></O></L>",
     "L type 5 with 2 0-39(3-35)\n Item type 5 with 0 3-20(9-13)\n O type 5 with 1 20-35(23-31)\n"
     "  X='1' 23-31(26-27)\n"},
    {&under_root, "<R><X><Id/></X><Id>1</Id><Ids/><I/></R>", "R type 5 with 1 0-39(3-35)\n Id='1' 15-25(19-20)\n"},
    {&under_root, "<R><X>&amp;<![CDATA[<Id>]]><!--<Id>--></X></R>", "R type 5 with 0 0-46(3-42)\n"},
    {&under_root, "<R/>", "R='' 0-4(4-4)\n"},
  };
  struct cr_buf got;
  cr_buf_init(&got, TREE_MAX);
  for(size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    parse_dump(&got, cases[i].view, cases[i].text, strlen(cases[i].text), 1 << 20);
    CHECK_STR(cr_buf_str(&got), cases[i].want);
    parse_dump(&got, cases[i].view, cases[i].text, strlen(cases[i].text), 1);
    CHECK_STR(cr_buf_str(&got), cases[i].want);
  }
  /* What is passed over still has to be well-formed. */
  parse_dump(&got, &under_root, "<R><X><Y></X></R>", 17, 3);
  CHECK(strstr(cr_buf_str(&got), "mismatched tag"));
  parse_dump(&got, &under_root, "<R><X><Y/>", 10, 3);
  CHECK(strstr(cr_buf_str(&got), "XmlTruncated"));
  parse_dump(&got, &under_root, "<R><X>&what;</X></R>", 20, 3);
  CHECK(strstr(cr_buf_str(&got), "undefined entity"));
  cr_buf_free(&got);
}

static void nest(struct cr_buf *out, const char *name, int depth)
{
  for(int i = 0; i < depth; i++) {
    cr_buf_addf(out, "<%s>", name);
  }
  cr_buf_adds(out, "x");
  for(int i = 0; i < depth; i++) {
    cr_buf_addf(out, "</%s>", name);
  }
}

static void test_depth(void)
{
  struct cr_buf text, got;
  cr_buf_init(&text, TREE_MAX);
  cr_buf_init(&got, TREE_MAX);
  for(int inside = 0; inside < 2; inside++) {
    const struct cr_xml_view *view = inside ? &under_root : NULL;
    for(int extra = 0; extra < 2; extra++) {
      cr_buf_reset(&text);
      cr_buf_adds(&text, "<R>");
      nest(&text, "D", CR_XML_DEPTH_MAX - 1 + extra);
      cr_buf_adds(&text, "</R>");
      parse_dump(&got, view, text.data, text.len, 0);
      if(extra) {
        CHECK(strncmp(cr_buf_str(&got), "parse XmlTooDeep: ", 18) == 0);
        CHECK(strstr(cr_buf_str(&got), "64 deep"));
      } else {
        CHECK(strncmp(cr_buf_str(&got), "R type 5", 8) == 0);
      }
    }
  }
  /* A million levels cost nothing: refused at the 65th. */
  cr_buf_reset(&text);
  nest(&text, "D", 1000000);
  parse_dump(&got, NULL, text.data, text.len, 1 << 20);
  CHECK(strncmp(cr_buf_str(&got), "parse XmlTooDeep: ", 18) == 0);
  cr_buf_free(&text);
  cr_buf_free(&got);
}

/* --- random documents */

static const char *const some_names[] = {"A", "Id", "Deep", "Item", "p:Item", "p:Id", "Quantity", "ViewerCertificate"};
static const char *const some_text[] = {
  " ", "\n", "\r\n", "x", "arn:aws", "&amp;", "&#10;", "&lt;", "\xC3\xA9", "<![CDATA[ <Id> ]]>", "<!-- <Id> -->",
  "<?pi <Id> ?>", "]]", "\xF0\x9F\x98\x80",
};

static void random_element(struct cr_buf *out, int depth)
{
  const char *name = some_names[random_below(sizeof some_names / sizeof some_names[0])];
  cr_buf_addf(out, "<%s", name);
  if(random_once_in(4)) {
    cr_buf_addf(out, " a%s=%s'>%zu'", random_once_in(2) ? "\n" : "", random_once_in(2) ? "\t" : "", random_below(9));
  }
  if(random_once_in(5)) {
    cr_buf_adds(out, random_once_in(2) ? " />" : "/>");
    return;
  }
  cr_buf_adds(out, ">");
  for(size_t i = random_below(6); i > 0; i--) {
    if(depth < 6 && random_once_in(2)) {
      random_element(out, depth + 1);
    } else {
      cr_buf_adds(out, some_text[random_below(sizeof some_text / sizeof some_text[0])]);
    }
  }
  cr_buf_addf(out, "</%s%s>", name, random_once_in(6) ? "\n " : "");
}

static void test_pieces(void)
{
  struct cr_buf text, whole, pieces;
  size_t parsed = 0;
  cr_buf_init(&text, TREE_MAX);
  cr_buf_init(&whole, TREE_MAX);
  cr_buf_init(&pieces, TREE_MAX);
  for(int round = 0; round < 1500; round++) {
    const struct cr_xml_view *views[] = {NULL, &under_item, &under_root};
    const struct cr_xml_view *view = views[random_below(3)];
    cr_buf_reset(&text);
    if(random_once_in(3)) {
      cr_buf_adds(&text, "<?xml version='1.0'?>\n");
    }
    random_element(&text, 0);
    if(random_once_in(6)) {
      cr_buf_cut(&text, random_below(text.len)); /* then all three have to fail alike */
    }
    parse_dump(&whole, view, text.data, text.len, 1 << 20);
    parse_dump(&pieces, view, text.data, text.len, 0);
    CHECK_STR(cr_buf_str(&pieces), cr_buf_str(&whole));
    parse_dump(&pieces, view, text.data, text.len, 1);
    CHECK_STR(cr_buf_str(&pieces), cr_buf_str(&whole));
    parsed += strncmp(cr_buf_str(&whole), "parse ", 6) != 0;
  }
  CHECK(parsed > 1000);
  cr_buf_free(&text);
  cr_buf_free(&whole);
  cr_buf_free(&pieces);
}

/* Every span of every node holds the element it says. */
static void check_spans(const char *text, const struct cr_node *node)
{
  size_t len = strlen(node->name);
  const char *open = text + node->outer.begin + 1, *close = text + node->inner.end + 2;
  CHECK(text[node->outer.begin] == '<' && text[node->outer.end - 1] == '>');
  CHECK(strncmp(open, node->name, len) == 0 || (open[0] == 'p' && strncmp(open + 2, node->name, len) == 0));
  if(node->inner.begin == node->outer.end) {
    CHECK(text[node->outer.end - 2] == '/' && node->inner.end == node->outer.end);
  } else {
    CHECK(text[node->inner.begin - 1] == '>' && close[-2] == '<' && close[-1] == '/');
    CHECK(strncmp(close, node->name, len) == 0 || (close[0] == 'p' && strncmp(close + 2, node->name, len) == 0));
  }
  for(const struct cr_node *child = node->first; child; child = child->next) {
    CHECK(child->outer.begin >= node->inner.begin && child->outer.end <= node->inner.end);
    CHECK(!child->next || child->outer.end <= child->next->outer.begin);
    check_spans(text, child);
  }
}

static void test_spans(void)
{
  struct cr_buf text;
  cr_buf_init(&text, TREE_MAX);
  for(int round = 0; round < 500; round++) {
    struct cr_tree tree;
    cr_tree_init(&tree, TREE_MAX);
    cr_buf_reset(&text);
    random_element(&text, 0);
    CHECK(cr_xml_parse(&tree, NULL, text.data, text.len, NULL) == 0);
    check_spans(text.data, tree.root);
    cr_tree_free(&tree);
  }
  cr_buf_free(&text);
}

/* --- limits */

static const char sample[] =
  "<L a='b'><Marker>m &amp; n</Marker><Items><Item><Id>E1</Id><X>skipped<Y/></X><Deep><Q>1</Q><T>arn:aws</T></Deep>"
  "</Item><Item><Id>E2</Id></Item></Items></L>";

static void test_tree_limit(void)
{
  struct cr_tree tree;
  struct cr_error err;
  size_t need, max;

  cr_tree_init(&tree, TREE_MAX);
  CHECK(cr_xml_parse(&tree, &under_item, sample, sizeof sample - 1, &err) == 0);
  need = tree.bytes;
  cr_tree_free(&tree);
  for(max = 0; max <= need; max++) {
    int rc;
    cr_error_clear(&err);
    cr_tree_init(&tree, max);
    rc = cr_xml_parse(&tree, &under_item, sample, sizeof sample - 1, &err);
    CHECK(rc == (max < need ? -1 : 0));
    if(rc < 0) {
      CHECK(err.kind == CR_KIND_MEMORY);
      CHECK_STR(err.code, "TooLarge");
    }
    cr_tree_free(&tree);
  }
  /* What is passed over does not count, however long it is. */
  cr_tree_init(&tree, need);
  CHECK(cr_xml_parse(&tree, &under_root, sample, sizeof sample - 1, &err) == 0);
  cr_tree_free(&tree);
}

static void test_endless_text(void)
{
  struct cr_tree tree;
  struct cr_error err;
  struct cr_xml *xml;
  char block[4096];
  int rc, blocks = 0;

  memset(block, 'x', sizeof block);
  cr_tree_init(&tree, 1 << 20);
  xml = cr_xml_new(&tree, NULL);
  rc = cr_xml_feed(xml, "<A><B>", 6, &err);
  while(rc == 0 && blocks++ < 100000) {
    rc = cr_xml_feed(xml, block, sizeof block, &err);
  }
  CHECK(rc == -1 && blocks < 300);
  CHECK_STR(err.code, "TooLarge");
  cr_xml_free(xml);
  cr_tree_free(&tree);

  /* What is dropped anyway, here beside an element, is not collected first. */
  cr_tree_init(&tree, 1 << 20);
  xml = cr_xml_new(&tree, NULL);
  rc = cr_xml_feed(xml, "<A><B/>", 7, &err);
  for(blocks = 0; rc == 0 && blocks < 1000; blocks++) {
    rc = cr_xml_feed(xml, block, sizeof block, &err);
  }
  CHECK(rc == 0 && cr_xml_feed(xml, "</A>", 4, &err) == 0 && cr_xml_finish(xml, &err) == 0);
  cr_xml_free(xml);
  cr_tree_free(&tree);
}

/* Names longer than expat's first buffers, torn apart by the pieces they arrive in. */
static void test_long_names(void)
{
  static char name[5001];
  struct cr_buf text, got;
  struct cr_tree tree;

  for(size_t i = 0; i < sizeof name - 1; i++) {
    name[i] = (char)('a' + i % 26);
  }
  cr_buf_init(&text, TREE_MAX);
  cr_buf_init(&got, TREE_MAX);
  cr_buf_addf(&text, "<A><%s><B attribute='%s'/></%s></A>", name, name, name);
  cr_tree_init(&tree, TREE_MAX);
  CHECK(cr_xml_parse(&tree, NULL, text.data, text.len, NULL) == 0);
  CHECK(tree.root && tree.root->first && cr_get(tree.root->first, "B"));
  CHECK_STR(tree.root && tree.root->first ? tree.root->first->name : NULL, name);
  for(size_t piece = 1; piece < 4000; piece += 700) {
    parse_dump(&got, NULL, text.data, text.len, piece);
    CHECK(strncmp(cr_buf_str(&got), "A type 5 with 1", 15) == 0 && strstr(cr_buf_str(&got), name));
  }
  cr_tree_free(&tree);
  cr_buf_free(&text);
  cr_buf_free(&got);
}

static void test_long_text(void)
{
  struct cr_tree tree;
  struct cr_buf text;
  const struct cr_node *node;
  size_t len = 3000000;

  cr_buf_init(&text, TREE_MAX);
  cr_buf_adds(&text, "<A><B>");
  for(size_t i = 0; i < len; i++) {
    cr_buf_addc(&text, (char)('a' + i % 26));
  }
  cr_buf_adds(&text, "</B></A>");
  cr_tree_init(&tree, TREE_MAX);
  CHECK(cr_xml_parse(&tree, NULL, text.data, text.len, NULL) == 0);
  node = cr_get(tree.root, "B");
  CHECK(node && node->len == len && memcmp(node->text, text.data + 6, len) == 0 && node->text[len] == '\0');
  cr_tree_free(&tree);
  cr_buf_free(&text);
}

/* Fails the first allocation, then the second, and so on until none is left to fail. */
static void test_allocations(void)
{
  struct cr_buf text;
  bool passed = false;
  int n;

  cr_buf_init(&text, TREE_MAX);
  cr_buf_adds(&text, "<L>");
  for(int i = 0; i < 40; i++) {
    cr_buf_adds(&text, sample);
  }
  for(int i = 0; i < 3000; i++) { /* a text that makes the text buffer and expat's buffers grow */
    cr_buf_adds(&text, "long &amp; ");
  }
  cr_buf_adds(&text, "</L>");
  for(n = 0; !passed && n < 5000; n++) {
    struct cr_error err;
    struct cr_tree tree;
    struct cr_xml *xml;
    long before = outstanding;
    int rc = 0;

    cr_error_clear(&err);
    cr_tree_init(&tree, TREE_MAX);
    fail_after = n;
    xml = cr_xml_new(&tree, NULL);
    for(size_t at = 0; xml && rc == 0 && at < text.len; at += 1000) {
      rc = cr_xml_feed(xml, text.data + at, text.len - at < 1000 ? text.len - at : 1000, &err);
    }
    if(xml && rc == 0) {
      rc = cr_xml_finish(xml, &err);
    }
    fail_after = -1;
    passed = xml && rc == 0;
    if(xml && rc < 0) {
      CHECK(err.kind == CR_KIND_MEMORY);
      CHECK_STR(err.code, "OutOfMemory");
    }
    cr_xml_free(xml);
    cr_tree_free(&tree);
    CHECK(outstanding == before);
  }
  CHECK(passed && n > 20);
  cr_buf_free(&text);
}

/* --- writing */

static void test_escape(void)
{
  static const struct {
    const char *text, *want;
  } cases[] = {
    {"", ""},
    {"plain", "plain"},
    {"a<b>&c\"d'e", "a&lt;b&gt;&amp;c&quot;d&apos;e"},
    {"&amp;", "&amp;amp;"},
    {"]]>", "]]&gt;"},
    {"\r\n\t", "&#13;&#10;&#9;"},
    {"\xC3\xA9<", "\xC3\xA9&lt;"},
  };
  struct cr_buf out;

  cr_buf_init(&out, 1000);
  for(size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    cr_buf_reset(&out);
    CHECK(cr_xml_escape(&out, cases[i].text, strlen(cases[i].text)) == 0);
    CHECK_STR(cr_buf_str(&out), cases[i].want);
  }
  cr_buf_reset(&out);
  CHECK(cr_xml_escape(&out, "good\x01", 5) == -1 && out.len == 0);
  CHECK(cr_xml_escape(&out, "a\0b", 3) == -1 && out.len == 0);
  cr_buf_free(&out);
  cr_buf_init(&out, 8);
  CHECK(cr_xml_escape(&out, "<<<", 3) == -1 && out.state == CR_BUF_TOO_LARGE);
  cr_buf_free(&out);
}

static void test_escape_back(void)
{
  for(int round = 0; round < 300; round++) {
    char text[64];
    size_t len = random_below(sizeof text);
    struct cr_buf out;
    struct cr_tree tree;

    for(size_t i = 0; i < len; i++) {
      text[i] = (char)(0x20 + random_below(0x5F));
      if(random_once_in(3)) {
        text[i] = "<>&\"'\r\n\t]-"[random_below(10)];
      }
    }
    cr_buf_init(&out, 10000);
    cr_tree_init(&tree, TREE_MAX);
    cr_buf_adds(&out, "<A>");
    CHECK(cr_xml_escape(&out, text, len) == 0);
    cr_buf_adds(&out, "</A>");
    CHECK(cr_xml_parse(&tree, NULL, out.data, out.len, NULL) == 0);
    CHECK(tree.root && tree.root->len == len && memcmp(tree.root->text, text, len) == 0);
    cr_tree_free(&tree);
    cr_buf_free(&out);
  }
}

/* A view that wants the first child only: what follows is not looked at, whatever it is and however it arrives. */
static void test_first(void)
{
  static const char *const status[] = {"Status", NULL};
  static const struct cr_xml_view view = {.names = status, .first = true};
  const char *text = "<D><Id>E1</Id><Status>InProgress</Status><Status>2</Status><broken";
  struct cr_error err;

  for(size_t piece = 1; piece <= strlen(text); piece++) {
    struct cr_tree tree;
    struct cr_xml *xml;
    int rc = 0;
    cr_tree_init(&tree, 4096);
    xml = cr_xml_new(&tree, &view);
    for(size_t at = 0; at < strlen(text) && rc == 0; at += piece) {
      size_t len = strlen(text) - at < piece ? strlen(text) - at : piece;
      rc = cr_xml_feed(xml, text + at, len, &err);
    }
    CHECK(rc == 0);
    CHECK(cr_xml_finish(xml, &err) == 0);
    CHECK(tree.root && tree.root->count == 1);
    CHECK_STR(cr_get_text(tree.root, "Status"), "InProgress");
    cr_xml_free(xml);
    cr_tree_free(&tree);
  }
  struct cr_tree tree;
  cr_tree_init(&tree, 4096);
  CHECK(cr_xml_parse(&tree, &view, "<D><Id>E1</Id><Status>In", 24, &err) == -1);
  cr_tree_free(&tree);
  cr_tree_init(&tree, 4096);
  CHECK(cr_xml_parse(&tree, &view, "<D><Id>E1</Id></D>", 18, &err) == 0);
  CHECK(cr_get_text(tree.root, "Status") == NULL);
  cr_tree_free(&tree);
}

int main(void)
{
  random_seed();
  test_first();
  test_shapes();
  test_refusals();
  test_failed_stays_failed();
  test_view();
  test_depth();
  test_pieces();
  test_spans();
  test_tree_limit();
  test_endless_text();
  test_long_names();
  test_long_text();
  test_allocations();
  test_escape();
  test_escape_back();
  CHECK(outstanding == 0);
  return check_end();
}
