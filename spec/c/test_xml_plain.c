/* test_xml_plain.c - a document is taken for plain only when the parser would have said the same of all of it.
 *
 * Tables say what is plain and what is not; then made-up documents, damaged and whole, are read both ways. */
#include "xml_plain.h"
#include "xml.h"

#include "check.h"
#include "random.h"

#define TREE_MAX ((size_t)1 << 20)

static const char *const wanted[] = {"Id", "Deep", NULL};
static const struct cr_xml_view view = {.names = wanted};

/* --- what is plain */

static void test_plain(void)
{
  static const struct {
    const char *text, *parts;
  } cases[] = {
    {"<R><Id/></R>", "0-3 3-8 8-12 "},
    {"<R><X><Id/></X><Id>1</Id><X/></R>", "0-3 15-25 29-33 "},
    {"<?xml version=\"1.0\"?>\n<R a='>' b=\"'>\" ><Y/>\n<p:Deep><Id>1</Id></p:Deep>\n</R>\n\n", "0-39 44-71 72-78 "},
    {"<R>a&amp;&lt;&gt;&quot;&apos;]] ]>b<X>t>u</X><Id/><Id>&amp;</Id></R>", "0-3 45-50 50-64 64-68 "},
    {"<a.b-c_1:d><Id/></a.b-c_1:d>", "0-11 11-16 16-28 "},
    /* simple enough, and not well-formed where the parser will see it */
    {"<R a='1' a='2'><Id/></R>", "0-15 15-20 20-24 "},
    {"<?xml?><R><Id/></R>", "0-10 10-15 15-19 "},
    /* nothing to keep, or too much */
    {"<R/>", ""},
    {"<R></R>", ""},
    {"<R><X/></R>", ""},
    {"<Id><X><Id/></X></Id>", ""},
    {"<R><Id/><Id/><Id/><Id/><Id/><Id/></R>", "0-3 3-8 8-13 13-18 18-23 23-28 28-33 33-37 "},
    {"<R><Id/><Id/><Id/><Id/><Id/><Id/><Id/></R>", ""},
    /* not so simple */
    {"<R><Id/><!-- --></R>", ""},
    {"<R><Id/><![CDATA[]]></R>", ""},
    {"<R><Id/><?x?></R>", ""},
    {"<R><Id/><X a='1'/></R>", ""},
    {"<R><Id/><X /></R>", ""},
    {"<R><Id/><X></X ></R>", ""},
    {"<R><Id/>&#65;</R>", ""},
    {"<R><Id/>\xC3\xA9</R>", ""},
    {"<R><Id/>\x7F</R>", ""},
    {"\xEF\xBB\xBF<R><Id/></R>", ""},
    {"<!DOCTYPE R><R><Id/></R>", ""},
    {"<?xml version='1.0'?><?x?><R><Id/></R>", ""},
    {"<R><Id/></R><!-- -->", ""},
    /* not well-formed */
    {"", ""},
    {" ", ""},
    {"<", ""},
    {"<R", ""},
    {"<R><Id/>", ""},
    {"<R><Id/><", ""},
    {"<R><Id/></", ""},
    {"<R><Id/></R", ""},
    {"<R><Id/></Q>", ""},
    {"<R><Id/></Rx>", ""},
    {"<R><Id/></R>x", ""},
    {"<R><Id/></R><R/>", ""},
    {"x<R><Id/></R>", ""},
    {"<R><Id/><X></R>", ""},
    {"<R><Id/></X></R>", ""},
    {"<R><Id/><1/></R>", ""},
    {"<R><Id/><></></R>", ""},
    {"<R><Id/><X/ ></R>", ""},
    {"<R><Id/><X/", ""},
    {"<R><Id/>&</R>", ""},
    {"<R><Id/>&amp</R>", ""},
    {"<R><Id/>&what;</R>", ""},
    {"<R><Id/>]]></R>", ""},
    {"<R><Id/>\x01</R>", ""},
    {"<R a='><Id/></R>", ""},
  };
  struct cr_buf got;
  cr_buf_init(&got, TREE_MAX);
  for(size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct cr_xml_parts parts;
    cr_buf_reset(&got);
    if(cr_xml_plain(cases[i].text, strlen(cases[i].text), wanted, &parts)) {
      for(size_t k = 0; k < parts.count; k++) {
        cr_buf_addf(&got, "%zu-%zu ", parts.part[k].begin, parts.part[k].end);
      }
    }
    if(strcmp(cr_buf_str(&got), cases[i].parts) != 0) {
      printf("of \"%s\":\n", cases[i].text);
    }
    CHECK_STR(cr_buf_str(&got), cases[i].parts);
  }
  cr_buf_free(&got);
}

static void test_depth(void)
{
  struct cr_xml_parts parts;
  struct cr_buf text;
  cr_buf_init(&text, TREE_MAX);
  for(int depth = CR_XML_DEPTH_MAX - 1; depth <= CR_XML_DEPTH_MAX; depth++) {
    for(int empty = 0; empty < 2; empty++) {
      cr_buf_reset(&text);
      cr_buf_adds(&text, "<R><Id/>");
      for(int i = 1; i < depth; i++) {
        cr_buf_adds(&text, "<X>");
      }
      cr_buf_adds(&text, empty ? "<X/>" : "<X></X>");
      for(int i = 1; i < depth; i++) {
        cr_buf_adds(&text, "</X>");
      }
      cr_buf_adds(&text, "</R>");
      CHECK(cr_xml_plain(text.data, text.len, wanted, &parts) == (depth < CR_XML_DEPTH_MAX));
    }
  }
  cr_buf_free(&text);
}

/* --- both ways */

static void dump(struct cr_buf *out, const struct cr_node *node)
{
  cr_buf_addf(out, "(%s %d %zu-%zu %zu-%zu ", node->name, (int)node->type, node->outer.begin, node->outer.end,
              node->inner.begin, node->inner.end);
  cr_buf_add(out, node->text, node->len);
  for(const struct cr_node *child = node->first; child; child = child->next) {
    dump(out, child);
  }
  cr_buf_addc(out, ')');
}

static void dump_result(struct cr_buf *out, int rc, struct cr_tree *tree, const struct cr_error *err)
{
  cr_buf_reset(out);
  if(rc == 0) {
    dump(out, tree->root);
  } else {
    cr_buf_addf(out, "%s: %s", err->code, err->message);
  }
  cr_tree_free(tree);
}

/* As the parser reads it from the first byte to the last. */
static void parse_all(struct cr_buf *out, const char *text, size_t len)
{
  struct cr_error err;
  struct cr_tree tree;
  struct cr_xml *xml;
  int rc;

  cr_error_clear(&err);
  cr_tree_init(&tree, TREE_MAX);
  xml = cr_xml_new(&tree, &view);
  CHECK(xml);
  rc = cr_xml_feed(xml, text, len, &err);
  rc = rc == 0 ? cr_xml_finish(xml, &err) : rc;
  cr_xml_free(xml);
  dump_result(out, rc, &tree, &err);
}

static void parse_parts(struct cr_buf *out, const char *text, size_t len)
{
  struct cr_error err;
  struct cr_tree tree;
  int rc;

  cr_error_clear(&err);
  cr_tree_init(&tree, TREE_MAX);
  rc = cr_xml_parse(&tree, &view, text, len, &err);
  dump_result(out, rc, &tree, &err);
}

static void random_element(struct cr_buf *out, int depth)
{
  static const char *const names[] = {"A", "Id", "Deep", "p:Id", "Quantity"};
  static const char *const texts[] = {" ", "\n", "arn:aws", "&amp;", "&lt;x", "a>b", "]", "<A/>", "<Id/>"};
  const char *name = names[random_below(sizeof names / sizeof names[0])];

  cr_buf_addf(out, "<%s>", name);
  for(size_t i = random_below(5); i > 0; i--) {
    if(depth < 4 && random_once_in(2)) {
      random_element(out, depth + 1);
    } else {
      cr_buf_adds(out, texts[random_below(sizeof texts / sizeof texts[0])]);
    }
  }
  cr_buf_addf(out, "</%s>", name);
}

/* One byte changed, lost or put in: mostly one that means something. */
static void damage(struct cr_buf *text)
{
  static const char bytes[] = "<>/&;]'\"= :-!?xA1\x01\x80";
  char byte = bytes[random_below(sizeof bytes - 1)];
  size_t at = random_below(text->len);
  struct cr_buf copy;

  cr_buf_init(&copy, TREE_MAX);
  cr_buf_add(&copy, text->data, at);
  if(!random_once_in(3)) {
    cr_buf_addc(&copy, byte);
  }
  at += random_once_in(3) ? 0 : 1;
  cr_buf_add(&copy, text->data + at, text->len - at);
  cr_buf_move(text, &copy);
}

static void test_both_ways(void)
{
  struct cr_buf text, all, parts;
  int plain = 0, damaged_plain = 0;

  cr_buf_init(&text, TREE_MAX);
  cr_buf_init(&all, TREE_MAX);
  cr_buf_init(&parts, TREE_MAX);
  for(int round = 0; round < 20000; round++) {
    struct cr_xml_parts found;
    bool damaged = random_once_in(2);
    cr_buf_reset(&text);
    cr_buf_adds(&text, random_once_in(2) ? "<?xml version='1.0' encoding='UTF-8'?>\n<R xmlns='urn:x'>" : "<R>");
    for(size_t i = random_below(5); i > 0; i--) {
      random_element(&text, 0);
    }
    cr_buf_adds(&text, "</R>");
    if(damaged) {
      damage(&text);
    }
    parse_all(&all, text.data, text.len);
    parse_parts(&parts, text.data, text.len);
    CHECK_STR(cr_buf_str(&parts), cr_buf_str(&all));
    if(cr_xml_plain(text.data, text.len, wanted, &found)) {
      plain += !damaged;
      damaged_plain += damaged;
    }
  }
  CHECK(plain > 2000);
  CHECK(damaged_plain > 200); /* a letter in a text, say */
  cr_buf_free(&text);
  cr_buf_free(&all);
  cr_buf_free(&parts);
}

int main(void)
{
  random_seed();
  test_plain();
  test_depth();
  test_both_ways();
  return check_end();
}
