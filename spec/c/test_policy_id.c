/* test_policy_id.c - which continuous-deployment policy a configuration names, and the edit of that one element.
 *
 * Tables say exactly what is expected; then made-up configurations are detached and attached, with a second,
 * namespace-aware reader (expat alone) as the judge. */
#include "policy_id.h"

#include <expat.h>
#include <stdlib.h>

#include "check.h"
#include "random.h"

#define P "2c7f1d34-1111-4222-8333-444455556666"
#define Q "99999999-1111-4222-8333-444455556666"
#define OUT_MAX ((size_t)8 << 20)
#define NS "http://cloudfront.amazonaws.com/doc/2020-05-31/"

#define E(value) "<ContinuousDeploymentPolicyId>" value "</ContinuousDeploymentPolicyId>"
#define D(children) "<DistributionConfig xmlns=\"" NS "\"><Comment/>" children "</DistributionConfig>"
#define STAGING "<Staging>false</Staging>"

static const struct {
  const char *config, *from, *to;
  enum cr_names names;
  const char *want; /* NULL: no document */
} changes[] = {
  /* detach */
  {D(E(P) STAGING), P, "", CR_NAMES_OLD, D(E("") STAGING)},
  {D(STAGING E("\n " P " <!-- kept -->") "<A/>"), P, "", CR_NAMES_OLD, D(STAGING E("\n  <!-- kept -->") "<A/>")},
  {D(E("<![CDATA[" P "]]>")), P, "", CR_NAMES_OLD, D(E(""))},
  {D(E("2c7f1d34-1111-4222-8333-44445555666&#54;")), P, "", CR_NAMES_OLD, D(E(""))},
  {"<c:DistributionConfig xmlns:c='u'><c:ContinuousDeploymentPolicyId a='>'>" P
   "</c:ContinuousDeploymentPolicyId ></c:DistributionConfig>", P, "", CR_NAMES_OLD,
   "<c:DistributionConfig xmlns:c='u'><c:ContinuousDeploymentPolicyId a='>'>"
   "</c:ContinuousDeploymentPolicyId ></c:DistributionConfig>"},
  /* attach */
  {D(E("") STAGING), "", P, CR_NAMES_OLD, D(E(P) STAGING)},
  {D("<ContinuousDeploymentPolicyId/>" STAGING), "", P, CR_NAMES_OLD, D(E(P) STAGING)},
  {D("<ContinuousDeploymentPolicyId a='1' />" STAGING), "", P, CR_NAMES_OLD,
   D("<ContinuousDeploymentPolicyId a='1' >" P "</ContinuousDeploymentPolicyId>" STAGING)},
  {D("<A/>" STAGING "<B/>"), "", P, CR_NAMES_OLD, D("<A/>" E(P) STAGING "<B/>")},
  {D("<A/>"), "", P, CR_NAMES_OLD, D("<A/>" E(P))},
  {"<c:DistributionConfig xmlns:c='u' xmlns='v'><Staging/><c:Staging/></c:DistributionConfig>", "", P, CR_NAMES_OLD,
   "<c:DistributionConfig xmlns:c='u' xmlns='v'><Staging/><c:ContinuousDeploymentPolicyId>" P
   "</c:ContinuousDeploymentPolicyId><c:Staging/></c:DistributionConfig>"},
  /* done already */
  {D(E("") STAGING), P, "", CR_NAMES_NEW, NULL},
  {D(STAGING), P, "", CR_NAMES_NEW, NULL},
  {D(E(" ") STAGING), P, "", CR_NAMES_NEW, NULL},
  {D(E(P) STAGING), "", P, CR_NAMES_NEW, NULL},
  /* somebody else decided */
  {D(E(Q) STAGING), P, "", CR_NAMES_OTHER, NULL},
  {D(E(Q) STAGING), "", P, CR_NAMES_OTHER, NULL},
  {D(E(P "x")), P, "", CR_NAMES_OTHER, NULL},
  {D(E("two words")), "", P, CR_NAMES_OTHER, NULL},
  {D(E("<x>" P "</x>")), P, "", CR_NAMES_OTHER, NULL},
  {D(E("<x/>")), "", P, CR_NAMES_OTHER, NULL},
  /* decoys: deeper, in comments, CDATA, another namespace */
  {D("<!--" E(P) "--><Deep>" E(P) "</Deep><o:ContinuousDeploymentPolicyId xmlns:o='o'>" P
     "</o:ContinuousDeploymentPolicyId><![CDATA[" E(P) "]]>" E(P) STAGING), P, "", CR_NAMES_OLD,
   D("<!--" E(P) "--><Deep>" E(P) "</Deep><o:ContinuousDeploymentPolicyId xmlns:o='o'>" P
     "</o:ContinuousDeploymentPolicyId><![CDATA[" E(P) "]]>" E("") STAGING)},
  {D("<Deep>" E(P) "</Deep>" STAGING), P, "", CR_NAMES_NEW, NULL},
};

static void test_changes(void)
{
  for(size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
    struct cr_buf out;
    struct cr_error err;
    enum cr_names names = CR_NAMES_OTHER;
    cr_error_clear(&err);
    cr_buf_init(&out, OUT_MAX);
    CHECK(cr_policy_id_change(changes[i].config, strlen(changes[i].config), changes[i].from, changes[i].to, &out,
                              &names, &err) == 0);
    CHECK(names == changes[i].names);
    if(names != changes[i].names) {
      printf("  case %zu (%d, %s): %s\n", i, (int)names, err.message, changes[i].config);
    }
    if(changes[i].want) {
      CHECK_STR(cr_buf_str(&out), changes[i].want);
    } else {
      CHECK(out.len == 0);
    }
    cr_buf_free(&out);
  }
}

static void test_read(void)
{
  static const char config[] = D("<A/>" E(" " P "\n") STAGING), none[] = D(STAGING);
  struct cr_policy_id got;
  CHECK(cr_policy_id_read(config, sizeof config - 1, &got, NULL) == 0);
  CHECK_STR(got.id, P);
  CHECK(!got.odd && got.begin == (size_t)(strstr(config, "<Cont") - config));
  CHECK(got.end == (size_t)(strstr(config, "<Staging") - config));
  CHECK(cr_policy_id_read(none, sizeof none - 1, &got, NULL) == 0);
  CHECK_STR(got.id, "");
  CHECK(!got.odd && got.begin == got.end && got.end == (size_t)(strstr(none, "<Staging") - none));
}

static void test_refusals(void)
{
  static const struct {
    const char *config, *from, *to, *code;
  } cases[] = {
    {D(E(P) E("")), P, "", "ManyPolicyIds"},
    {"<Distribution>" E(P) "</Distribution>", P, "", "NoConfiguration"},
    {"<DistributionConfig/>", "", P, "NoConfiguration"},
    {"<!DOCTYPE x []>" D(E(P)), P, "", "XmlDoctype"},
    {"<DistributionConfig>" E(P), P, "", "XmlTruncated"},
    {"<?xml version='1.0' encoding='UTF-16'?>" D(E(P)), P, "", "UnsupportedEncoding"},
    {"", P, "", "XmlTruncated"},
    {D(E(P)), "a b", "", "InvalidPolicyId"},
    {D(E("")), "", "a<b", "InvalidPolicyId"},
  };
  char longest[CR_POLICY_ID_MAX + 2];
  for(size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct cr_buf out;
    struct cr_error err;
    enum cr_names names;
    cr_error_clear(&err);
    cr_buf_init(&out, OUT_MAX);
    CHECK(cr_policy_id_change(cases[i].config, strlen(cases[i].config), cases[i].from, cases[i].to, &out, &names,
                              &err) < 0);
    CHECK_STR(err.code, cases[i].code);
    CHECK(out.len == 0);
    cr_buf_free(&out);
  }
  memset(longest, 'x', sizeof longest);
  longest[CR_POLICY_ID_MAX] = '\0';
  CHECK(cr_policy_id_valid(longest) && cr_policy_id_valid("_A-z0") && !cr_policy_id_valid(""));
  longest[CR_POLICY_ID_MAX] = 'x';
  longest[CR_POLICY_ID_MAX + 1] = '\0';
  CHECK(!cr_policy_id_valid(longest) && !cr_policy_id_valid("a/b") && !cr_policy_id_valid("\xC3\xA9"));
}

/* A document that does not fit is refused whole. */
static void test_small_buffer(void)
{
  static const char config[] = D(E("") STAGING);
  for(size_t max = 1; max < sizeof config + 30; max++) {
    struct cr_buf out;
    struct cr_error err;
    enum cr_names names;
    cr_buf_init(&out, max);
    CHECK(cr_policy_id_change(config, sizeof config - 1, "", P, &out, &names, &err) < 0 ? out.len == 0
                                                                                      : out.len > sizeof config);
    cr_buf_free(&out);
  }
}

/* --- the judge */

struct facts {
  char root[256], value[1024];
  int depth, found, children, others;
  bool inside;
};

static void judge_start(void *data, const XML_Char *name, const XML_Char **attributes)
{
  struct facts *facts = data;
  (void)attributes;
  if(facts->depth == 0) {
    const char *bar = strrchr(name, '|');
    snprintf(facts->root, sizeof facts->root, "%.*s", bar ? (int)(bar + 1 - name) : 0, name);
  } else if(facts->depth == 1) {
    size_t len = strlen(facts->root);
    facts->inside = strncmp(name, facts->root, len) == 0 && strcmp(name + len, "ContinuousDeploymentPolicyId") == 0;
    facts->found += facts->inside;
    facts->children++;
  }
  facts->others += facts->depth > 1;
  facts->depth++;
}

static void judge_end(void *data, const XML_Char *name)
{
  struct facts *facts = data;
  (void)name;
  facts->depth--;
  facts->inside = facts->inside && facts->depth > 1;
}

static void judge_text(void *data, const XML_Char *text, int len)
{
  struct facts *facts = data;
  for(int i = 0; i < len && facts->inside && facts->depth == 2; i++) {
    size_t have = strlen(facts->value);
    if(!strchr(" \t\r\n", text[i]) && have + 1 < sizeof facts->value) {
      facts->value[have] = text[i];
    }
  }
}

static bool judge(const struct cr_buf *text, struct facts *facts)
{
  XML_Parser parser = XML_ParserCreateNS(NULL, '|');
  memset(facts, 0, sizeof *facts);
  XML_SetUserData(parser, facts);
  XML_SetElementHandler(parser, judge_start, judge_end);
  XML_SetCharacterDataHandler(parser, judge_text);
  bool fine = XML_Parse(parser, text->data, (int)text->len, 1) == XML_STATUS_OK;
  XML_ParserFree(parser);
  return fine;
}

/* --- made-up configurations */

#define PICK(list) list[random_below(sizeof list / sizeof list[0])]

static const char *const asides[] = {"", "", "", "", "<!-- " E(Q) " -->", "<?pi <Staging> ?>", "\r\n\t", " "};
static const char *const others[] = {
  "<Deep>" E(Q) "</Deep>", "<z:ContinuousDeploymentPolicyId xmlns:z='z'>" Q "</z:ContinuousDeploymentPolicyId>",
  "text &amp;", "<![CDATA[" E(Q) "]]>", "<Comment>caf\xC3\xA9 &#x1F600; &lt;Staging&gt;</Comment>",
  "<Future a=\"&lt;/>\"/>", "<Empty></Empty>",
  "<ViewerCertificate><ACMCertificateArn>arn:aws:acm:us-east-1:1:certificate/x</ACMCertificateArn></ViewerCertificate>",
};

static void random_others(struct cr_buf *out)
{
  for(size_t i = random_below(4); i > 0; i--) {
    cr_buf_adds(out, PICK(asides));
    cr_buf_adds(out, PICK(others));
  }
}

static void random_config(struct cr_buf *out, const char *id)
{
  static const struct {
    const char *root, *attributes, *lead;
  } styles[] = {
    {"", "", ""},
    {"", " xmlns=\"" NS "\"", ""},
    {"cf:", " xmlns:cf='" NS "'", "cf:"},
    {"cf:", " xmlns:cf='" NS "' xmlns='" NS "'", ""},
    {"cf:", " xmlns='x' xmlns:c='" NS "' xmlns:cf='" NS "'", "c:"},
  };
  size_t style = random_below(sizeof styles / sizeof styles[0]);
  const char *lead = styles[style].lead;
  cr_buf_reset(out);
  cr_buf_adds(out, random_once_in(2) ? "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n" : "");
  cr_buf_addf(out, "<%sDistributionConfig%s>", styles[style].root, styles[style].attributes);
  random_others(out);
  if(*id) {
    cr_buf_addf(out, "<%sContinuousDeploymentPolicyId%s>", lead, random_once_in(3) ? " a='>'" : "");
    cr_buf_adds(out, PICK(asides));
    cr_buf_addf(out, random_once_in(3) ? "<![CDATA[%s]]>" : "%s", id);
    cr_buf_adds(out, PICK(asides));
    cr_buf_addf(out, "</%sContinuousDeploymentPolicyId>", lead);
  } else if(random_once_in(2)) {
    cr_buf_addf(out, random_once_in(2) ? "<%sContinuousDeploymentPolicyId/>"
                                       : "<%sContinuousDeploymentPolicyId></%sContinuousDeploymentPolicyId>", lead, lead);
  }
  random_others(out);
  if(!random_once_in(3)) {
    cr_buf_addf(out, "<%sStaging>false</%sStaging>", lead, lead);
  }
  random_others(out);
  cr_buf_addf(out, "</%sDistributionConfig>%s", styles[style].root, random_once_in(2) ? "\n" : "");
}

static void check_outside(const struct cr_buf *before, const struct cr_buf *after, size_t begin, size_t end)
{
  size_t tail = before->len - end;
  CHECK(after->len >= begin + tail);
  CHECK(memcmp(before->data, after->data, begin) == 0);
  CHECK(memcmp(before->data + end, after->data + after->len - tail, tail) == 0);
}

static void one_change(const struct cr_buf *text, const char *from, const char *to, struct cr_buf *out)
{
  struct cr_policy_id element;
  struct facts was, is;
  enum cr_names names;
  struct cr_error err;
  cr_error_clear(&err);
  CHECK(cr_policy_id_read(text->data, text->len, &element, &err) == 0);
  CHECK_STR(element.id, from);
  CHECK(cr_policy_id_change(text->data, text->len, Q, *from ? "" : Q "x", out, &names, &err) == 0);
  CHECK(names == CR_NAMES_OTHER && out->len == 0);
  CHECK(cr_policy_id_change(text->data, text->len, from, to, out, &names, &err) == 0);
  CHECK(names == CR_NAMES_OLD);
  check_outside(text, out, element.begin, element.end);
  CHECK(judge(text, &was) && judge(out, &is));
  CHECK_STR(was.value, from);
  CHECK_STR(is.value, to);
  CHECK(is.found == 1 && is.children == was.children + (was.found == 0) && is.others == was.others);
}

static void test_random(void)
{
  struct cr_buf text, out, back;
  cr_buf_init(&text, OUT_MAX);
  cr_buf_init(&out, OUT_MAX);
  cr_buf_init(&back, OUT_MAX);
  for(int round = 0; round < 3000 && !check_failed; round++) {
    const char *id = random_once_in(2) ? P : "";
    random_config(&text, id);
    cr_buf_reset(&out);
    cr_buf_reset(&back);
    one_change(&text, id, *id ? "" : P, &out);
    one_change(&out, *id ? "" : P, id, &back);
    if(check_failed) {
      printf("  round %d: %s\n", round, cr_buf_str(&text));
    }
  }
  cr_buf_free(&text);
  cr_buf_free(&out);
  cr_buf_free(&back);
}

/* Cut anywhere, or with one byte changed, a configuration is refused or read, and never edited outside its element. */
static void test_damage(void)
{
  struct cr_buf text;
  size_t edited = 0;
  cr_buf_init(&text, OUT_MAX);
  for(int round = 0; round < 3000; round++) {
    struct cr_policy_id element;
    struct cr_buf out;
    enum cr_names names;
    cr_buf_init(&out, OUT_MAX);
    random_config(&text, P);
    if(random_once_in(2)) {
      cr_buf_cut(&text, random_below(text.len));
    } else {
      text.data[random_below(text.len)] = (char)random_below(256);
    }
    if(cr_policy_id_change(text.data, text.len, P, "", &out, &names, NULL) == 0 && names == CR_NAMES_OLD) {
      edited++;
      CHECK(cr_policy_id_read(text.data, text.len, &element, NULL) == 0);
      check_outside(&text, &out, element.begin, element.end);
    } else {
      CHECK(out.len == 0);
    }
    cr_buf_free(&out);
  }
  CHECK(edited > 50);
  cr_buf_free(&text);
}

int main(void)
{
  random_seed();
  test_changes();
  test_read();
  test_refusals();
  test_small_buffer();
  test_random();
  test_damage();
  return check_end();
}
