/* test_viewer_certificate.c - what a configuration names, and the edit that changes that and nothing else.
 *
 * Tables say exactly what is expected; then made-up configurations are swapped there and back, with a second,
 * namespace-aware reader (expat alone) as the judge. */
#include "viewer_certificate.h"

#include <expat.h>
#include <stdlib.h>

#include "check.h"
#include "random.h"

#define OLD "arn:aws:acm:us-east-1:111122223333:certificate/11111111-2222-3333-4444-555555555555"
#define NEW "arn:aws:acm:us-east-1:111122223333:certificate/99999999-8888-7777-6666-555555555555"
#define IAM_OLD "ASCAIOLDOLDOLDOLDOLDO"
#define IAM_NEW "ASCAINEWNEWNEWNEWNEWN"
#define THIRD "arn:aws:acm:us-east-1:111122223333:certificate/other"
#define OUT_MAX ((size_t)8 << 20)

#define NS "http://cloudfront.amazonaws.com/doc/2020-05-31/"

/* --- which store */

static void test_store_of(void)
{
  static const struct {
    const char *reference;
    enum cr_store store;
  } cases[] = {
    {OLD, CR_STORE_ACM},
    {"arn:aws-cn:acm:us-east-1:1:certificate/x", CR_STORE_ACM},
    {"arn:aws-us-gov:acm:us-gov-west-1:1:certificate/x", CR_STORE_ACM},
    {IAM_OLD, CR_STORE_IAM},
    {"ASCA567890123456", CR_STORE_IAM},
    {"ASCA5678901234567890123456789012", CR_STORE_IAM},
    {"", CR_STORE_NONE},
    {"ASCA56789012345", CR_STORE_NONE},
    {"ASCA56789012345678901234567890123", CR_STORE_NONE},
    {"ASCA5678-0123456789", CR_STORE_NONE},
    {" " OLD, CR_STORE_NONE},
    {OLD "\n", CR_STORE_NONE},
    {"arn:aws:iam::111122223333:server-certificate/www", CR_STORE_NONE},
    {"arn::acm:us-east-1:1:certificate/x", CR_STORE_NONE},
    {"arn:aws:acm", CR_STORE_NONE},
    {"arn:aws:acm-pca:us-east-1:1:certificate-authority/x", CR_STORE_NONE},
    {"ARN:AWS:ACM:us-east-1:1:certificate/x", CR_STORE_NONE},
    {"arn:aws:acm:us-east-1:1:certificate/\xC3\xA9", CR_STORE_NONE},
    {"www.example.com", CR_STORE_NONE},
  };
  char longest[3000];
  for(size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    CHECK(cr_store_of(cases[i].reference) == cases[i].store);
  }
  memset(longest, 'x', sizeof longest);
  memcpy(longest, "arn:aws:acm:", 12);
  longest[2048] = '\0';
  CHECK(cr_store_of(longest) == CR_STORE_ACM);
  longest[2048] = 'x';
  longest[2049] = '\0';
  CHECK(cr_store_of(longest) == CR_STORE_NONE);
}

/* --- what a region says */

#define D(region) \
  "<DistributionConfig xmlns=\"" NS "\"><Comment/>" region "<Staging>false</Staging></DistributionConfig>"
#define V(children) D("<ViewerCertificate>" children "</ViewerCertificate>")
#define ACM(value) "<ACMCertificateArn>" value "</ACMCertificateArn>"
#define IAM(value) "<IAMCertificateId>" value "</IAMCertificateId>"
#define TWIN(value) "<Certificate>" value "</Certificate>"
#define SOURCE(value) "<CertificateSource>" value "</CertificateSource>"
#define DEFAULT(value) "<CloudFrontDefaultCertificate>" value "</CloudFrontDefaultCertificate>"
#define SNI "<SSLSupportMethod>sni-only</SSLSupportMethod>"
#define TLS12 "<MinimumProtocolVersion>TLSv1.2_2021</MinimumProtocolVersion>"

static void test_read(void)
{
  static const struct {
    const char *config, *reference;
    enum cr_store store;
    bool by_default, disagree;
  } cases[] = {
    {V(ACM(OLD) SNI TLS12), OLD, CR_STORE_ACM, false, false},
    {V(DEFAULT("false") ACM(OLD) SNI TLS12 TWIN(OLD) SOURCE("acm")), OLD, CR_STORE_ACM, false, false},
    {V(IAM(IAM_OLD) SNI TWIN(IAM_OLD) SOURCE("iam")), IAM_OLD, CR_STORE_IAM, false, false},
    {V(SOURCE("acm") TWIN(OLD) SNI), OLD, CR_STORE_ACM, false, false},
    {V(TWIN(IAM_OLD) SOURCE("iam")), IAM_OLD, CR_STORE_IAM, false, false},
    {V(TWIN(IAM_OLD)), IAM_OLD, CR_STORE_IAM, false, false},
    {V(TWIN("short") SOURCE("iam")), "short", CR_STORE_IAM, false, false},
    {V(IAM("short") SOURCE("iam")), "short", CR_STORE_IAM, false, false},
    {V("<IAMCertificateId/>" ACM(OLD) "<Certificate> </Certificate><CertificateSource/>"), OLD, CR_STORE_ACM, false,
     false},
    {V(DEFAULT("true")), "", CR_STORE_NONE, true, false},
    {V(DEFAULT(" true\n") "<SSLSupportMethod>vip</SSLSupportMethod>" SOURCE("cloudfront")), "", CR_STORE_NONE, true,
     false},
    {V(SOURCE("cloudfront")), "", CR_STORE_NONE, true, false},
    {V(DEFAULT("<!-- x --><![CDATA[tr]]>&#117;e")), "", CR_STORE_NONE, true, false},
    {D("<ViewerCertificate/>"), "", CR_STORE_NONE, false, false},
    {V(""), "", CR_STORE_NONE, false, false},
    {V(DEFAULT("false")), "", CR_STORE_NONE, false, false},
    /* white space, references, CDATA, comments and processing instructions around and in the value */
    {V(ACM("\r\n\t " OLD " \n")), OLD, CR_STORE_ACM, false, false},
    {V(ACM("&#97;rn&#x3A;<![CDATA[aws:acm:us-east-1]]>:111122223333:cert<!-- no -->ificate/<?no no?>other")), THIRD,
     CR_STORE_ACM, false, false},
    {V(ACM("<!-- " NEW " -->" OLD)), OLD, CR_STORE_ACM, false, false},
    {V(ACM("arn:aws:acm:x:1:certificate/a&amp;b&lt;c")), "arn:aws:acm:x:1:certificate/a&b<c", CR_STORE_ACM, false,
     false},
    /* fields that disagree */
    {V(ACM(OLD) IAM(IAM_OLD)), OLD, CR_STORE_ACM, false, true},
    {V(ACM(OLD) TWIN(NEW) SOURCE("acm")), OLD, CR_STORE_ACM, false, true},
    {V(ACM(OLD) TWIN(OLD) SOURCE("iam")), OLD, CR_STORE_ACM, false, true},
    {V(ACM(OLD) SOURCE("cloudfront")), OLD, CR_STORE_ACM, true, true},
    {V(ACM(OLD) SOURCE("ACM")), OLD, CR_STORE_ACM, false, true},
    {V(ACM(OLD) DEFAULT("true")), OLD, CR_STORE_ACM, true, true},
    {V(TWIN(OLD) DEFAULT("true")), OLD, CR_STORE_ACM, true, true},
    {V(TWIN(OLD) SOURCE("iam")), OLD, CR_STORE_ACM, false, true},
    {V(SOURCE("iam")), "", CR_STORE_NONE, false, true},
    {V(DEFAULT("true") SOURCE("acm")), "", CR_STORE_NONE, true, true},
    {V(ACM(OLD) ACM(OLD)), OLD, CR_STORE_ACM, false, true},
    {V(ACM(OLD) TWIN(OLD) TWIN(OLD)), OLD, CR_STORE_ACM, false, true},
    {V(ACM(IAM_OLD)), IAM_OLD, CR_STORE_ACM, false, true},
    {V(IAM(OLD)), OLD, CR_STORE_IAM, false, true},
    {V(ACM(OLD "<x/>")), "", CR_STORE_NONE, false, true},
    {V(ACM("arn:aws:acm: with blanks")), "arn:aws:acm: with blanks", CR_STORE_ACM, false, false},
  };
  for(size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct cr_viewer_certificate got;
    struct cr_error err;
    int rc = cr_viewer_certificate_read(cases[i].config, strlen(cases[i].config), &got, &err);
    CHECK(rc == 0);
    CHECK_STR(got.reference, cases[i].reference);
    CHECK(got.store == cases[i].store);
    CHECK(got.default_certificate == cases[i].by_default);
    CHECK(got.disagree == cases[i].disagree);
    CHECK(strncmp(cases[i].config + got.begin, "<ViewerCertificate", 18) == 0 && cases[i].config[got.end - 1] == '>');
    if(rc < 0 || got.store != cases[i].store || got.default_certificate != cases[i].by_default ||
       got.disagree != cases[i].disagree) {
      printf("  case %zu: %s\n", i, cases[i].config);
    }
  }
}

static void test_read_details(void)
{
  static const char config[] = V(ACM(OLD) "<SSLSupportMethod> vip</SSLSupportMethod>" TLS12);
  static const char strange[] =
    V("<SSLSupportMethod>a-method-with-a-name-longer-than-32-bytes</SSLSupportMethod>" ACM(OLD));
  struct cr_viewer_certificate got;
  char *text, *at;
  size_t len = 5000;

  CHECK(cr_viewer_certificate_read(config, sizeof config - 1, &got, NULL) == 0);
  CHECK_STR(got.ssl_support_method, "vip");
  CHECK_STR(got.minimum_protocol_version, "TLSv1.2_2021");
  CHECK(got.begin == (size_t)(strstr(config, "<Viewer") - config));
  CHECK(got.end == (size_t)(strstr(config, "<Staging") - config));
  CHECK(cr_viewer_certificate_read(strange, sizeof strange - 1, &got, NULL) == 0);
  CHECK_STR(got.ssl_support_method, "");
  CHECK_STR(got.reference, OLD);

  /* A value longer than any reference names nothing. */
  text = malloc(len);
  if(text) {
    memset(text, 'x', len);
    at = text + sprintf(text, "<D><ViewerCertificate><ACMCertificateArn>arn:aws:acm:");
    *at = 'x';
    strcpy(text + len - 48, "</ACMCertificateArn></ViewerCertificate></D>");
    CHECK(cr_viewer_certificate_read(text, strlen(text), &got, NULL) == 0);
    CHECK(got.disagree && !got.reference[0]);
  }
  free(text);
}

/* --- swaps, to the byte */

static const struct swap_case {
  const char *config, *from, *to;
  enum cr_names names;
  const char *want; /* NULL: no document */
} swaps[] = {
  /* one store */
  {V(ACM(OLD) SNI TLS12), OLD, NEW, CR_NAMES_OLD, V(ACM(NEW) SNI TLS12)},
  {V(IAM(IAM_OLD) SNI), IAM_OLD, IAM_NEW, CR_NAMES_OLD, V(IAM(IAM_NEW) SNI)},
  {V(DEFAULT("false") ACM(OLD) SNI TLS12 TWIN(OLD) SOURCE("acm")), OLD, NEW, CR_NAMES_OLD,
   V(DEFAULT("false") ACM(NEW) SNI TLS12 TWIN(NEW) SOURCE("acm"))},
  {V("\n <!--a-->" SOURCE(" acm ") "<x:New xmlns:x='u'>" OLD "</x:New>" ACM("\n  " OLD "\n ") "t" TWIN(OLD) "<?p?>"),
   OLD, NEW,
   CR_NAMES_OLD,
   V("\n <!--a-->" SOURCE(" acm ") "<x:New xmlns:x='u'>" OLD "</x:New>" ACM("\n  " NEW "\n ") "t" TWIN(NEW) "<?p?>")},
  {V("<IAMCertificateId/>" ACM(OLD) "<Certificate/><CertificateSource></CertificateSource>"), OLD, NEW, CR_NAMES_OLD,
   V("<IAMCertificateId/>" ACM(NEW) "<Certificate/><CertificateSource></CertificateSource>")},
  {V("<ACMCertificateArn\n a='>' >" OLD "</ACMCertificateArn \n>"), OLD, NEW, CR_NAMES_OLD,
   V("<ACMCertificateArn\n a='>' >" NEW "</ACMCertificateArn \n>")},
  /* comments and processing instructions inside a value stay, CDATA and references are replaced */
  {V(ACM("<!-- a -->\n" OLD " <?b c?>")), OLD, NEW, CR_NAMES_OLD, V(ACM("<!-- a -->\n" NEW " <?b c?>"))},
  {V(ACM(" <![CDATA[" OLD "]]> ")), OLD, NEW, CR_NAMES_OLD, V(ACM(" " NEW " "))},
  {V(ACM("arn:aws:acm:us-east-1:111122223333:certificate<!-- ]]> -->&#47;ot<?x ?>h<![CDATA[er]]>")), THIRD, NEW,
   CR_NAMES_OLD, V(ACM(NEW "<!-- ]]> --><?x ?>"))},
  {V(TWIN("&#x20;" OLD) ACM(OLD)), OLD, NEW, CR_NAMES_OLD, V(TWIN(NEW) ACM(NEW))},
  /* the other store: renamed in place */
  {V(ACM(OLD) SNI TLS12), OLD, IAM_NEW, CR_NAMES_OLD, V(IAM(IAM_NEW) SNI TLS12)},
  {V(DEFAULT("false") IAM(IAM_OLD) SNI TWIN(IAM_OLD) SOURCE("iam")), IAM_OLD, NEW, CR_NAMES_OLD,
   V(DEFAULT("false") ACM(NEW) SNI TWIN(NEW) SOURCE("acm"))},
  {V("<ACMCertificateArn\n a='1'\t>" OLD "</ACMCertificateArn >"), OLD, IAM_NEW, CR_NAMES_OLD,
   V("<IAMCertificateId\n a='1'\t>" IAM_NEW "</IAMCertificateId >")},
  /* the other store: an empty element is there already */
  {V(DEFAULT("false") "\n  <IAMCertificateId/>\n  " ACM(OLD) "\n  " SNI), OLD, IAM_NEW, CR_NAMES_OLD,
   V(DEFAULT("false") "\n  " IAM(IAM_NEW) "\n  " SNI)},
  {V("<IAMCertificateId a='1' />" ACM(OLD)), OLD, IAM_NEW, CR_NAMES_OLD,
   V("<IAMCertificateId a='1' >" IAM_NEW "</IAMCertificateId>")},
  {V(ACM(OLD) IAM(" <!--x--> ")), OLD, IAM_NEW, CR_NAMES_OLD, V(IAM(" <!--x--> " IAM_NEW))},
  /* only the deprecated pair */
  {V(TWIN(OLD) SOURCE("acm") SNI), OLD, NEW, CR_NAMES_OLD, V(ACM(NEW) TWIN(NEW) SOURCE("acm") SNI)},
  {V("\n  " SNI "\n  " TWIN(IAM_OLD) "\n  " SOURCE("iam") "\n"), IAM_OLD, NEW, CR_NAMES_OLD,
   V("\n  " ACM(NEW) "\n  " SNI "\n  " TWIN(NEW) "\n  " SOURCE("acm") "\n")},
  {V("\n  " DEFAULT("false") "\n " SOURCE("acm") "\n " TWIN(OLD)), OLD, IAM_NEW, CR_NAMES_OLD,
   V("\n  " DEFAULT("false") "\n  " IAM(IAM_NEW) "\n " SOURCE("iam") "\n " TWIN(IAM_NEW))},
  {V(TWIN(OLD) SOURCE("acm") DEFAULT("false")), OLD, NEW, CR_NAMES_OLD,
   V(TWIN(NEW) SOURCE("acm") DEFAULT("false") ACM(NEW))},
  {V(TWIN(OLD) "<ACMCertificateArn/>"), OLD, NEW, CR_NAMES_OLD, V(TWIN(NEW) ACM(NEW))},
  {V(TWIN(OLD) "<ACMCertificateArn/>"), OLD, IAM_NEW, CR_NAMES_OLD, V(IAM(IAM_NEW) TWIN(IAM_NEW)
   "<ACMCertificateArn/>")},
  /* prefixes */
  {"<c:D xmlns:c='u'><c:ViewerCertificate><c:ACMCertificateArn>" OLD
   "</c:ACMCertificateArn></c:ViewerCertificate></c:D>",
   OLD, IAM_NEW, CR_NAMES_OLD,
   "<c:D xmlns:c='u'><c:ViewerCertificate><c:IAMCertificateId>" IAM_NEW
   "</c:IAMCertificateId></c:ViewerCertificate></c:D>"},
  {"<c:D xmlns:c='u'><c:ViewerCertificate> <c:Certificate>" OLD "</c:Certificate></c:ViewerCertificate></c:D>", OLD,
   NEW,
   CR_NAMES_OLD,
   "<c:D xmlns:c='u'><c:ViewerCertificate> <c:ACMCertificateArn>" NEW "</c:ACMCertificateArn> <c:Certificate>" NEW
   "</c:Certificate></c:ViewerCertificate></c:D>"},
  {"<c:D xmlns:c='u'><ViewerCertificate xmlns='u'><d:Certificate xmlns:d='u'>" OLD
   "</d:Certificate></ViewerCertificate></c:D>", OLD, NEW, CR_NAMES_OLD,
   "<c:D xmlns:c='u'><ViewerCertificate xmlns='u'><ACMCertificateArn>" NEW
   "</ACMCertificateArn><d:Certificate xmlns:d='u'>"
   NEW "</d:Certificate></ViewerCertificate></c:D>"},
  {"<c:D xmlns:c='u' xmlns='v'><c:ViewerCertificate><c:ACMCertificateArn>" OLD
   "</c:ACMCertificateArn><ACMCertificateArn>"
   THIRD "</ACMCertificateArn></c:ViewerCertificate></c:D>", OLD, NEW, CR_NAMES_OLD,
   "<c:D xmlns:c='u' xmlns='v'><c:ViewerCertificate><c:ACMCertificateArn>" NEW
   "</c:ACMCertificateArn><ACMCertificateArn>"
   THIRD "</ACMCertificateArn></c:ViewerCertificate></c:D>"},
  /* an undeclared prefix is not our business elsewhere, and a namespace of its own here */
  {D("<z:Later/><ViewerCertificate>" ACM(OLD) "<z:Certificate>" THIRD "</z:Certificate></ViewerCertificate>"), OLD, NEW,
   CR_NAMES_OLD,
   D("<z:Later/><ViewerCertificate>" ACM(NEW) "<z:Certificate>" THIRD "</z:Certificate></ViewerCertificate>")},
  {"<z:D><z:ViewerCertificate><z:ACMCertificateArn>" OLD "</z:ACMCertificateArn></z:ViewerCertificate></z:D>", OLD, NEW,
   CR_NAMES_OLD, "<z:D><z:ViewerCertificate><z:ACMCertificateArn>" NEW
   "</z:ACMCertificateArn></z:ViewerCertificate></z:D>"},
  {"<p:D xmlns:p='u'><p:ViewerCertificate xmlns:q='v'><p:ACMCertificateArn xmlns:r='w'>" OLD
   "</p:ACMCertificateArn></p:ViewerCertificate></p:D>", OLD, NEW, CR_NAMES_OLD,
   "<p:D xmlns:p='u'><p:ViewerCertificate xmlns:q='v'><p:ACMCertificateArn xmlns:r='w'>" NEW
   "</p:ACMCertificateArn></p:ViewerCertificate></p:D>"},
  /* decoys: deeper, in comments, CDATA, attributes, processing instructions, another namespace */
  {"\xEF\xBB\xBF<?xml version='1.0' encoding=\"utf-8\" standalone='no' ?>\r\n<?p <ViewerCertificate> ?>\r\n"
   "<D a='&lt;ViewerCertificate>'><!-- <ViewerCertificate>" ACM(OLD) "</ViewerCertificate> -->"
   "<![CDATA[<ViewerCertificate>" ACM(OLD) "</ViewerCertificate>]]>"
   "<Deep><ViewerCertificate>" ACM(OLD) "</ViewerCertificate></Deep>"
   "<o:ViewerCertificate xmlns:o='o'>" ACM(OLD) "</o:ViewerCertificate>"
   "<ViewerCertificate xmlns='o'>" ACM(OLD) "</ViewerCertificate>"
   "<ViewerCertificate b='c'>" ACM(OLD) "<More><ACMCertificateArn>" OLD
   "</ACMCertificateArn></More></ViewerCertificate>"
   "&#x41;\r\n</D>\r\n<!-- end -->\r\n", OLD, NEW, CR_NAMES_OLD,
   "\xEF\xBB\xBF<?xml version='1.0' encoding=\"utf-8\" standalone='no' ?>\r\n<?p <ViewerCertificate> ?>\r\n"
   "<D a='&lt;ViewerCertificate>'><!-- <ViewerCertificate>" ACM(OLD) "</ViewerCertificate> -->"
   "<![CDATA[<ViewerCertificate>" ACM(OLD) "</ViewerCertificate>]]>"
   "<Deep><ViewerCertificate>" ACM(OLD) "</ViewerCertificate></Deep>"
   "<o:ViewerCertificate xmlns:o='o'>" ACM(OLD) "</o:ViewerCertificate>"
   "<ViewerCertificate xmlns='o'>" ACM(OLD) "</ViewerCertificate>"
   "<ViewerCertificate b='c'>" ACM(NEW) "<More><ACMCertificateArn>" OLD
   "</ACMCertificateArn></More></ViewerCertificate>"
   "&#x41;\r\n</D>\r\n<!-- end -->\r\n"},
  /* bytes that are not UTF-8 stay as they are */
  {"<?xml version=\"1.0\" encoding=\"iso-8859-1\"?><D><Comment>caf\xE9</Comment><ViewerCertificate><Note>\xFC</Note>"
   ACM(OLD)
   "</ViewerCertificate></D>", OLD, NEW, CR_NAMES_OLD,
   "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?><D><Comment>caf\xE9</Comment><ViewerCertificate><Note>\xFC</Note>"
   ACM(NEW)
   "</ViewerCertificate></D>"},
  {"<?xml version='1.0' encoding='US-ASCII'?><D><ViewerCertificate>" ACM(OLD) "</ViewerCertificate></D>", OLD, NEW,
   CR_NAMES_OLD, "<?xml version='1.0' encoding='US-ASCII'?><D><ViewerCertificate>" ACM(NEW) "</ViewerCertificate></D>"},
  /* the new value is escaped */
  {V(ACM(OLD)), OLD, "arn:aws:acm:us-east-1:1:certificate/a&b<c>'\"", CR_NAMES_OLD,
   V(ACM("arn:aws:acm:us-east-1:1:certificate/a&amp;b&lt;c&gt;&apos;&quot;"))},
  /* nothing to do */
  {V(ACM(NEW) SNI), OLD, NEW, CR_NAMES_NEW, NULL},
  {V(ACM("\n&#97;<![CDATA[rn:aws:acm:us-east-1:111122223333:certificate/other]]>")), OLD, THIRD, CR_NAMES_NEW, NULL},
  {V(IAM(IAM_NEW) TWIN(IAM_NEW) SOURCE("iam")), OLD, IAM_NEW, CR_NAMES_NEW, NULL},
  {V(TWIN(NEW) SOURCE("acm")), OLD, NEW, CR_NAMES_NEW, NULL},
  {V(ACM(OLD)), OLD, OLD, CR_NAMES_NEW, NULL},
  /* somebody else decided */
  {V(ACM(THIRD)), OLD, NEW, CR_NAMES_OTHER, NULL},
  {V(DEFAULT("true")), OLD, NEW, CR_NAMES_OTHER, NULL},
  {V(DEFAULT("true") ACM(OLD)), OLD, NEW, CR_NAMES_OTHER, NULL},
  {V(SOURCE("cloudfront")), OLD, NEW, CR_NAMES_OTHER, NULL},
  {V(SNI), OLD, NEW, CR_NAMES_OTHER, NULL},
  {V(ACM(OLD) TWIN(NEW)), OLD, NEW, CR_NAMES_OTHER, NULL},
  {V(ACM(NEW) TWIN(OLD)), OLD, NEW, CR_NAMES_OTHER, NULL},
  {V(ACM(NEW) IAM(IAM_OLD)), IAM_OLD, NEW, CR_NAMES_OTHER, NULL},
  {V(ACM(OLD) SOURCE("iam")), OLD, NEW, CR_NAMES_OTHER, NULL},
  {V(ACM(OLD "x")), OLD, NEW, CR_NAMES_OTHER, NULL},
  {V(ACM("ARN" ":aws:acm:us-east-1:111122223333:certificate/other")), THIRD, NEW, CR_NAMES_OTHER, NULL},
  {V(ACM("arn:aws:acm:us-east-1: 111122223333:certificate/other")), THIRD, NEW, CR_NAMES_OTHER, NULL},
  {V(ACM(OLD) ACM(OLD)), OLD, NEW, CR_NAMES_OTHER, NULL},
  {V(ACM("<x>" OLD "</x>")), OLD, NEW, CR_NAMES_OTHER, NULL},
  {D("<ViewerCertificate><!--" ACM(OLD) "--></ViewerCertificate>"), OLD, NEW, CR_NAMES_OTHER, NULL},
  {D("<ViewerCertificate><x:ACMCertificateArn xmlns:x='x'>" OLD "</x:ACMCertificateArn></ViewerCertificate>"), OLD, NEW,
   CR_NAMES_OTHER, NULL},
};

static void test_swaps(void)
{
  for(size_t i = 0; i < sizeof swaps / sizeof swaps[0]; i++) {
    const struct swap_case *c = &swaps[i];
    struct cr_buf out;
    struct cr_error err;
    enum cr_names names = CR_NAMES_OTHER;
    int rc;

    cr_error_clear(&err);
    cr_buf_init(&out, OUT_MAX);
    rc = cr_viewer_certificate_swap(c->config, strlen(c->config), c->from, c->to, &out, &names, &err);
    CHECK(rc == 0);
    CHECK(names == c->names);
    if(rc < 0 || names != c->names) {
      printf("  case %zu (%d, %s): %s\n", i, (int)names, err.message, c->config);
    }
    if(c->want) {
      CHECK_STR(cr_buf_str(&out), c->want);
    } else {
      CHECK(out.len == 0);
    }
    cr_buf_free(&out);
  }
}

/* --- refusals */

static void test_refusals(void)
{
  static const struct {
    const char *config;
    size_t len; /* 0: strlen */
    const char *code, *contains;
  } cases[] = {
    {"", 0, "XmlTruncated", "empty"},
    {"<D><ViewerCertificate>", 0, "XmlTruncated", "line 1"},
    {"<D><ViewerCertificate></D>", 0, "XmlMalformed", "mismatched tag"},
    {"<!DOCTYPE D><D><ViewerCertificate/></D>", 0, "XmlDoctype", ""},
    {"<D/>", 0, "NoViewerCertificate", "but D"},
    {"<Distribution><DistributionConfig><ViewerCertificate/></DistributionConfig></Distribution>", 0,
     "NoViewerCertificate", "but Distribution"},
    {"<ViewerCertificate><ACMCertificateArn/></ViewerCertificate>", 0, "NoViewerCertificate", ""},
    {"<D xmlns='u'><ViewerCertificate xmlns='v'/></D>", 0, "NoViewerCertificate", ""},
    {"<D xmlns='u'><v:ViewerCertificate xmlns:v='v'/></D>", 0, "NoViewerCertificate", ""},
    {"<p:D xmlns:p='u'><ViewerCertificate/></p:D>", 0, "NoViewerCertificate", ""},
    {"<D><z:ViewerCertificate/></D>", 0, "NoViewerCertificate", ""},
    {"<z:D><ViewerCertificate/></z:D>", 0, "NoViewerCertificate", ""},
    {"<z:D a='z'><ViewerCertificate xmlns='z'/></z:D>", 0, "NoViewerCertificate", ""},
    {"<z:D><ViewerCertificate xmlns=''/></z:D>", 0, "NoViewerCertificate", ""},
    {"<D><!-- <ViewerCertificate/> --><![CDATA[<ViewerCertificate/>]]></D>", 0, "NoViewerCertificate", ""},
    {"<D><ViewerCertificate/><ViewerCertificate/></D>", 0, "ManyViewerCertificates", "2"},
    {"<D xmlns='u' xmlns:p='u'><ViewerCertificate/><p:ViewerCertificate/></D>", 0, "ManyViewerCertificates", "2"},
    {"<?xml version='1.0' encoding='UTF-16'?><D><ViewerCertificate/></D>", 0, "UnsupportedEncoding", "\"UTF-16\""},
    {"<?xml version='1.0' encoding = \"EBCDIC-CP-US\" ?><D><ViewerCertificate/></D>", 0, "UnsupportedEncoding",
     "EBCDIC"},
    {"\xEF\xBB\xBF<?xml version='1.0' encoding='UTF-7'?><D><ViewerCertificate/></D>", 0, "UnsupportedEncoding",
     "UTF-7"},
    {"<?xml version='1.0' encoding='UTF-8-but-with-a-name-longer-than-any'?><D/>", 0, "UnsupportedEncoding",
     "UTF-8-but"},
    {"\xFF\xFE<\0D\0/\0>\0", 10, "UnsupportedEncoding", "UTF-16"},
    {"\xFE\xFF\0<\0D\0/\0>", 10, "UnsupportedEncoding", "UTF-16"},
    {"<\0D\0/\0>\0", 8, "UnsupportedEncoding", "UTF-16"},
    {"<D><ViewerCertificate/></D>\0", 28, "UnsupportedEncoding", "zero"},
    {"<D><ViewerCertificate/>\xE9</D>", 0, "XmlMalformed", "invalid token"},
    {"<?xml version='1.0' encoding='US-ASCII'?><D><ViewerCertificate/>\xC3\xA9</D>", 0, "XmlMalformed", ""},
  };
  for(size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    size_t len = cases[i].len ? cases[i].len : strlen(cases[i].config);
    struct cr_viewer_certificate got;
    struct cr_buf out;
    struct cr_error err;
    enum cr_names names = CR_NAMES_NEW;

    cr_error_clear(&err);
    cr_buf_init(&out, OUT_MAX);
    CHECK(cr_viewer_certificate_read(cases[i].config, len, &got, &err) == -1);
    CHECK(err.kind == CR_KIND_PARSE && got.end == 0);
    CHECK_STR(err.code, cases[i].code);
    CHECK(strstr(err.message, cases[i].contains));
    cr_error_clear(&err);
    CHECK(cr_viewer_certificate_swap(cases[i].config, len, OLD, NEW, &out, &names, &err) == -1);
    CHECK_STR(err.code, cases[i].code);
    CHECK(names == CR_NAMES_OTHER && out.len == 0);
    cr_buf_free(&out);
  }
}

static void test_bad_references(void)
{
  static const char config[] = V(ACM(OLD));
  static const char *const bad[] = {"", "www.example.com", "arn:aws:iam::1:server-certificate/x", OLD " ", NULL};
  for(size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    struct cr_buf out;
    struct cr_error err;
    enum cr_names names = CR_NAMES_NEW;
    cr_buf_init(&out, OUT_MAX);
    CHECK(cr_viewer_certificate_swap(config, sizeof config - 1, OLD, bad[i], &out, &names, &err) == -1);
    CHECK(err.kind == CR_KIND_INPUT && strstr(err.message, "the new certificate") && names == CR_NAMES_OTHER);
    CHECK(cr_viewer_certificate_swap(config, sizeof config - 1, bad[i], NEW, &out, &names, &err) == -1);
    CHECK(err.kind == CR_KIND_INPUT && strstr(err.message, "the old certificate") && out.len == 0);
    cr_buf_free(&out);
  }
}

/* The edited document does not fit: an error, and no half of it. */
static void test_small_buffer(void)
{
  static const char config[] = V(TWIN(OLD) SOURCE("acm"));
  size_t need = sizeof config - 1 + strlen(ACM(NEW));
  for(size_t max = 0; max <= need; max++) {
    struct cr_buf out;
    struct cr_error err;
    enum cr_names names;
    int rc;
    cr_error_clear(&err);
    cr_buf_init(&out, max);
    rc = cr_viewer_certificate_swap(config, sizeof config - 1, OLD, NEW, &out, &names, &err);
    CHECK(rc == (max < need ? -1 : 0));
    CHECK(out.len == (max < need ? 0 : need));
    CHECK(rc == 0 || (err.kind == CR_KIND_MEMORY && strcmp(err.code, "TooLarge") == 0));
    cr_buf_free(&out);
  }
}

/* --- a second reader: expat with namespaces, and nothing of ours */

enum { F_DEFAULT, F_IAM, F_ACM, F_METHOD, F_PROTOCOL, F_TWIN, F_SOURCE, F_COUNT };
static const char *const f_names[F_COUNT] = {
  "CloudFrontDefaultCertificate", "IAMCertificateId", "ACMCertificateArn", "SSLSupportMethod", "MinimumProtocolVersion",
  "Certificate", "CertificateSource",
};

struct facts {
  char root[256];              /* the root's namespace with its separator */
  char value[F_COUNT][1024];   /* trimmed */
  int present[F_COUNT];
  int depth, current, regions;
  bool inside;
};

static const char *ours(const struct facts *facts, const char *name)
{
  size_t len = strlen(facts->root);
  if(strncmp(name, facts->root, len) != 0 || strchr(name + len, '|')) {
    return "";
  }
  return name + len;
}

static void judge_start(void *data, const XML_Char *name, const XML_Char **attributes)
{
  struct facts *facts = data;
  (void)attributes;
  if(facts->depth == 0) {
    const char *bar = strrchr(name, '|');
    snprintf(facts->root, sizeof facts->root, "%.*s", bar ? (int)(bar + 1 - name) : 0, name);
  } else if(facts->depth == 1 && strcmp(ours(facts, name), "ViewerCertificate") == 0) {
    facts->inside = true;
    facts->regions++;
  } else if(facts->depth == 2 && facts->inside) {
    for(int i = 0; i < F_COUNT; i++) {
      if(strcmp(ours(facts, name), f_names[i]) == 0) {
        facts->current = i;
        facts->present[i]++;
      }
    }
  }
  facts->depth++;
}

static void judge_end(void *data, const XML_Char *name)
{
  struct facts *facts = data;
  (void)name;
  facts->depth--;
  if(facts->depth == 1) {
    facts->inside = false;
  } else if(facts->depth == 2 && facts->current < F_COUNT) {
    char *value = facts->value[facts->current];
    size_t lead = strspn(value, " \t\r\n"), len;
    memmove(value, value + lead, strlen(value) - lead + 1);
    len = strlen(value);
    while(len && strchr(" \t\r\n", value[len - 1])) {
      value[--len] = '\0';
    }
    facts->current = F_COUNT;
  }
}

static void judge_text(void *data, const XML_Char *text, int len)
{
  struct facts *facts = data;
  if(facts->depth == 3 && facts->current < F_COUNT) {
    char *value = facts->value[facts->current];
    size_t have = strlen(value);
    snprintf(value + have, sizeof facts->value[0] - have, "%.*s", len, text);
  }
}

/* True when the document is well-formed, namespaces included. */
static bool judge(const char *text, size_t len, struct facts *facts)
{
  XML_Parser parser = XML_ParserCreateNS(NULL, '|');
  bool fine;
  memset(facts, 0, sizeof *facts);
  facts->current = F_COUNT;
  XML_SetUserData(parser, facts);
  XML_SetElementHandler(parser, judge_start, judge_end);
  XML_SetCharacterDataHandler(parser, judge_text);
  fine = XML_Parse(parser, text, (int)len, 1) == XML_STATUS_OK;
  XML_ParserFree(parser);
  return fine;
}

/* --- made-up configurations */

#define PICK(list) list[random_below(sizeof list / sizeof list[0])]

static const char *const spaces[] = {"", "", "", " ", "\n    ", "\r\n\t", "\n\n"};
static const char *const asides[] = {"", "", "", "", "<!-- ViewerCertificate -->", "<!--<ACMCertificateArn>" OLD "-->",
                                     "<?pi ?>", "<?x <ViewerCertificate> ?>"};

/* A text in one of the many ways XML can write it. */
static void random_value(struct cr_buf *out, const char *text)
{
  int style = (int)random_below(4);
  cr_buf_adds(out, PICK(spaces));
  cr_buf_adds(out, PICK(asides));
  cr_buf_adds(out, PICK(spaces));
  for(; style == 0 && *text; text++) {
    switch(random_below(12)) {
    case 0: cr_buf_addf(out, "&#%d;", *text); break;
    case 1: cr_buf_addf(out, "&#x%X;", (unsigned)*text); break;
    case 2: cr_buf_addf(out, "<![CDATA[%c]]>", *text); break;
    case 3: cr_buf_addf(out, "%c<!-- & -->", *text); break;
    case 4: cr_buf_addf(out, "<?p > ?>%c", *text); break;
    default: cr_buf_addc(out, *text); break;
    }
  }
  if(style == 1) {
    cr_buf_addf(out, "<![CDATA[%s]]>", text);
  } else {
    cr_buf_adds(out, text);
  }
  cr_buf_adds(out, PICK(spaces));
  cr_buf_adds(out, PICK(asides));
  cr_buf_adds(out, PICK(spaces));
}

/* A prefix with its colon that stands for the root's namespace. */
struct names {
  const char *lead[3];
  size_t count;
};

static const char *lead(const struct names *names)
{
  return names->lead[random_below(names->count)];
}

static void random_field(struct cr_buf *out, const struct names *names, const char *name, const char *value)
{
  const char *prefix = lead(names);
  const char *attribute = random_once_in(6) ? " note='a>b'" : random_once_in(6) ? "\n\tnote=\"/\" " : "";
  cr_buf_adds(out, PICK(spaces));
  cr_buf_adds(out, PICK(asides));
  if(!value) {
    cr_buf_addf(out, random_once_in(2) ? "<%s%s%s/>" : "<%s%s%s></%s%s>", prefix, name, attribute, prefix, name);
    return;
  }
  cr_buf_addf(out, "<%s%s%s>", prefix, name, attribute);
  random_value(out, value);
  cr_buf_addf(out, "</%s%s%s>", prefix, name, random_once_in(5) ? " " : "");
}

static const char *const unknown[] = {
  "<Future/>", "<z:Future xmlns:z='z' a='1'><ACMCertificateArn>" OLD "</ACMCertificateArn></z:Future>",
  "<z:ACMCertificateArn xmlns:z='z'>" NEW "</z:ACMCertificateArn>", "<z:Certificate xmlns:z='z'/>",
  "<Deep><ViewerCertificate><ACMCertificateArn>" OLD "</ACMCertificateArn></ViewerCertificate></Deep>",
  "text &amp; more", "<![CDATA[<ACMCertificateArn>" OLD "</ACMCertificateArn>]]>", "<!-- - -->", "<?target data?>",
  "\r\n",
  "<Comment>caf\xC3\xA9 &#x1F600; &lt;ViewerCertificate&gt;</Comment>", "<Empty></Empty>",
};
static const char *const outside[] = {
  "<z:ViewerCertificate xmlns:z='z'><ACMCertificateArn>" OLD "</ACMCertificateArn></z:ViewerCertificate>",
  "<Aliases><Quantity>0</Quantity></Aliases>", "<Logging a=\"&lt;ViewerCertificate>\"/>", "<WebACLId></WebACLId>",
};

static void random_unknown(struct cr_buf *out, bool inside)
{
  for(size_t i = random_below(4); i > 0; i--) {
    cr_buf_adds(out, inside || random_once_in(2) ? PICK(unknown) : PICK(outside));
  }
}

/* What a made-up configuration names, and how. */
struct made {
  struct cr_buf text;
  const char *reference;  /* NULL when it names nothing that could be swapped */
  bool modern, twin;
};

static void random_region(struct made *made, const struct names *names, const char *open)
{
  const char *values[F_COUNT] = {NULL};
  bool present[F_COUNT] = {false};
  int order[F_COUNT];
  bool acm = random_once_in(2);
  const char *close = lead(names);

  made->reference = acm ? (random_once_in(2) ? OLD : NEW) : (random_once_in(2) ? IAM_OLD : IAM_NEW);
  made->modern = !random_once_in(4);
  made->twin = !made->modern || random_once_in(2);
  present[F_DEFAULT] = random_once_in(2);
  values[F_DEFAULT] = "false";
  if(made->modern) {
    present[acm ? F_ACM : F_IAM] = true;
    values[acm ? F_ACM : F_IAM] = made->reference;
  } else {
    present[acm ? F_ACM : F_IAM] = random_once_in(5);
  }
  present[acm ? F_IAM : F_ACM] = random_once_in(4);
  present[F_TWIN] = made->twin || random_once_in(6);
  values[F_TWIN] = made->twin ? made->reference : NULL;
  present[F_SOURCE] = made->twin ? !random_once_in(4) : random_once_in(4);
  values[F_SOURCE] = made->twin || random_once_in(2) ? (acm ? "acm" : "iam") : NULL;
  present[F_METHOD] = present[F_PROTOCOL] = !random_once_in(5);
  values[F_METHOD] = random_once_in(2) ? "vip" : "sni-only";
  values[F_PROTOCOL] = "TLSv1.2_2021";
  for(int i = 0; i < F_COUNT; i++) {
    order[i] = i;
  }
  for(int i = F_COUNT - 1; random_once_in(2) && i > 0; i--) {
    int other = (int)random_below((size_t)i + 1), kept = order[i];
    order[i] = order[other];
    order[other] = kept;
  }
  cr_buf_addf(&made->text, "<%sViewerCertificate%s>", close, open);
  for(int i = 0; i < F_COUNT; i++) {
    random_unknown(&made->text, true);
    if(present[order[i]]) {
      random_field(&made->text, names, f_names[order[i]], values[order[i]]);
    }
  }
  random_unknown(&made->text, true);
  cr_buf_addf(&made->text, "%s</%sViewerCertificate%s>", PICK(spaces), close, random_once_in(6) ? "\n" : "");
}

static void random_config(struct made *made)
{
  static const struct {
    const char *attributes, *root;
    struct names names;
    const char *region;   /* declared on ViewerCertificate */
  } styles[] = {
    {"", "", {{""}, 1}, ""},
    {" xmlns=\"" NS "\"", "", {{""}, 1}, ""},
    {" xmlns:cf='" NS "'", "cf:", {{"cf:"}, 1}, " xmlns:other='other'"},
    {" xmlns:cf='" NS "' xmlns='" NS "' xmlns:c=\"" NS "\"", "cf:", {{"cf:", "", "c:"}, 3}, ""},
    {" a='1'\n xmlns = \"" NS "\" xmlns:cf = 'x'", "", {{""}, 1}, " xmlns:z='" NS "'"},
    {" xmlns='x' xmlns:_-.9='" NS "'", "_-.9:", {{"_-.9:"}, 1}, " b='2'"},
  };
  size_t style = random_below(sizeof styles / sizeof styles[0]);

  cr_buf_reset(&made->text);
  if(random_once_in(4)) {
    cr_buf_adds(&made->text, "\xEF\xBB\xBF");
  }
  if(random_once_in(2)) {
    cr_buf_adds(&made->text, random_once_in(2) ? "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n" :
                "<?xml version='1.0'?>");
  }
  cr_buf_adds(&made->text, PICK(asides));
  cr_buf_addf(&made->text, "<%sDistributionConfig%s>", styles[style].root, styles[style].attributes);
  random_unknown(&made->text, false);
  random_region(made, &styles[style].names, styles[style].region);
  random_unknown(&made->text, false);
  cr_buf_addf(&made->text, "</%sDistributionConfig>", styles[style].root);
  cr_buf_adds(&made->text, PICK(asides));
  cr_buf_adds(&made->text, PICK(spaces));
}

/* Where two texts first and last differ lies within the region of the first. */
static void check_outside(const struct cr_buf *before, const struct cr_buf *after, size_t begin, size_t end)
{
  size_t tail = before->len - end;
  CHECK(after->len >= begin + tail);
  CHECK(memcmp(before->data, after->data, begin) == 0);
  CHECK(memcmp(before->data + end, after->data + after->len - tail, tail) == 0);
}

/* The judge's word on a document after a swap to `to` of one that was `was`. */
static void check_facts(const struct facts *was, const struct facts *is, const char *to)
{
  int modern = cr_store_of(to) == CR_STORE_ACM ? F_ACM : F_IAM, other = modern == F_ACM ? F_IAM : F_ACM;
  CHECK(is->regions == 1);
  CHECK(is->present[modern] == 1 && is->present[other] <= 1);
  CHECK_STR(is->value[modern], to);
  CHECK_STR(is->value[other], "");
  CHECK(is->present[F_TWIN] == was->present[F_TWIN] && is->present[F_SOURCE] == was->present[F_SOURCE]);
  CHECK_STR(is->value[F_TWIN], was->value[F_TWIN][0] ? to : "");
  CHECK_STR(is->value[F_SOURCE], !was->value[F_SOURCE][0] ? "" : modern == F_ACM ? "acm" : "iam");
  CHECK(is->present[F_DEFAULT] == was->present[F_DEFAULT]);
  CHECK_STR(is->value[F_DEFAULT], was->value[F_DEFAULT]);
  CHECK_STR(is->value[F_METHOD], was->value[F_METHOD]);
  CHECK_STR(is->value[F_PROTOCOL], was->value[F_PROTOCOL]);
}

/* Everything in the region but tags and values of naming fields: what a swap has to leave as it is. Taken from the raw
 * bytes: the asides and unknown things put in above are found again, in number. */
static size_t count_of(const struct cr_buf *text, const char *what)
{
  size_t count = 0;
  for(const char *at = text->data; (at = strstr(at, what)); at += strlen(what)) {
    count++;
  }
  return count;
}

static void check_unknown(const struct cr_buf *before, const struct cr_buf *after)
{
  static const char *const kept[] = {
    "<Future/>", "<z:Future xmlns:z='z' a='1'>", "<z:ACMCertificateArn xmlns:z='z'>" NEW, "<Deep><ViewerCertificate>",
    "text &amp; more", "<![CDATA[<ACMCertificateArn>" OLD, "caf\xC3\xA9 &#x1F600;", "<?target data?>",
    "<Empty></Empty>",
    "xmlns:z='z'/>", " xmlns:other='other'>",
  };
  for(size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
    CHECK(count_of(before, kept[i]) == count_of(after, kept[i]));
  }
}

static void one_random_swap(struct made *made, size_t *crossings)
{
  static const char *const targets[] = {"arn:aws:acm:us-east-1:1:certificate/t&<>'\"", "ASCAITARGETTARGETTARG"};
  const char *to = PICK(targets);
  struct cr_viewer_certificate region, again;
  struct facts was, is;
  struct cr_buf out, back;
  struct cr_error err;
  enum cr_names names;
  bool fine;

  cr_error_clear(&err);
  cr_buf_init(&out, OUT_MAX);
  cr_buf_init(&back, OUT_MAX);
  random_config(made);
  fine = judge(made->text.data, made->text.len, &was);
  CHECK(fine); /* the test's own making */
  CHECK(cr_viewer_certificate_read(made->text.data, made->text.len, &region, &err) == 0);
  CHECK_STR(region.reference, made->reference);
  CHECK(!region.disagree && !region.default_certificate && region.store == cr_store_of(made->reference));
  CHECK_STR(region.ssl_support_method, was.value[F_METHOD]);
  *crossings += region.store != cr_store_of(to);

  CHECK(cr_viewer_certificate_swap(made->text.data, made->text.len, THIRD, to, &out, &names, &err) == 0);
  CHECK(names == CR_NAMES_OTHER && out.len == 0);
  CHECK(cr_viewer_certificate_swap(made->text.data, made->text.len, made->reference, to, &out, &names, &err) == 0);
  CHECK(names == CR_NAMES_OLD);
  fine = names == CR_NAMES_OLD && judge(out.data, out.len, &is);
  CHECK(fine);
  if(fine) {
    check_outside(&made->text, &out, region.begin, region.end);
    check_facts(&was, &is, to);
    check_unknown(&made->text, &out);
    CHECK(cr_viewer_certificate_swap(out.data, out.len, made->reference, to, &back, &names, &err) == 0);
    CHECK(names == CR_NAMES_NEW && back.len == 0);
    CHECK(cr_viewer_certificate_swap(out.data, out.len, to, made->reference, &back, &names, &err) == 0);
    CHECK(names == CR_NAMES_OLD);
    fine = judge(back.data, back.len, &is);
    CHECK(fine);
    check_outside(&made->text, &back, region.begin, region.end);
    check_facts(&was, &is, made->reference);
    check_unknown(&made->text, &back);
    CHECK(cr_viewer_certificate_read(back.data, back.len, &again, &err) == 0);
    CHECK(again.begin == region.begin && !again.disagree && again.store == region.store);
    CHECK_STR(again.reference, made->reference);
  }
  cr_buf_free(&out);
  cr_buf_free(&back);
}

static void test_random(void)
{
  struct made made;
  size_t crossings = 0;
  cr_buf_init(&made.text, OUT_MAX);
  for(int round = 0; round < 3000; round++) {
    int failed = check_failed;
    one_random_swap(&made, &crossings);
    if(check_failed != failed) {
      printf("  round %d: %s\n", round, cr_buf_str(&made.text));
      break;
    }
  }
  CHECK(crossings > 1000);
  cr_buf_free(&made.text);
}

/* Cut anywhere, or with one byte changed, a configuration is refused or read, and never edited outside its region. */
static void test_damage(void)
{
  struct made made;
  size_t edited = 0;
  cr_buf_init(&made.text, OUT_MAX);
  for(int round = 0; round < 6000; round++) { /* a damaged one is edited in one of 43: some 140 */
    struct cr_viewer_certificate region;
    struct cr_buf out;
    enum cr_names names;
    cr_buf_init(&out, OUT_MAX);
    random_config(&made);
    if(random_once_in(2)) {
      cr_buf_cut(&made.text, random_below(made.text.len));
    } else {
      made.text.data[random_below(made.text.len)] = (char)random_below(256);
    }
    if(cr_viewer_certificate_swap(made.text.data, made.text.len, OLD, NEW, &out, &names, NULL) == 0 &&
       names == CR_NAMES_OLD) {
      edited++;
      CHECK(cr_viewer_certificate_read(made.text.data, made.text.len, &region, NULL) == 0);
      check_outside(&made.text, &out, region.begin, region.end);
    } else {
      CHECK(out.len == 0);
    }
    cr_buf_free(&out);
  }
  CHECK(edited > 50);
  cr_buf_free(&made.text);
}

/* --- attaching, to the byte */

#define VIP "<SSLSupportMethod>vip</SSLSupportMethod>"
#define TLS1 "<MinimumProtocolVersion>TLSv1</MinimumProtocolVersion>"

static const struct swap_case attaches[] = {
  /* as CloudFront answers */
  {V(DEFAULT("true") VIP TLS1 SOURCE("cloudfront")), NULL, NEW, CR_NAMES_OLD,
   V(DEFAULT("false") ACM(NEW) SNI TLS12 SOURCE("acm"))},
  {V(DEFAULT("true") VIP TLS1 SOURCE("cloudfront")), NULL, IAM_NEW, CR_NAMES_OLD,
   V(DEFAULT("false") IAM(IAM_NEW) SNI TLS12 SOURCE("iam"))},
  /* the least there is; unknown elements, comments, white space stay */
  {V(DEFAULT("true")), NULL, NEW, CR_NAMES_OLD, V(DEFAULT("false") ACM(NEW) SNI TLS12)},
  {V("\n <!--a-->\n " DEFAULT(" true ") "\n <New/>\n"), NULL, NEW, CR_NAMES_OLD,
   V("\n <!--a-->\n " DEFAULT(" false ") "\n " ACM(NEW) "\n " SNI "\n " TLS12 "\n <New/>\n")},
  /* only the deprecated pair, empty elements, another order, a prefix */
  {V(SOURCE("cloudfront") "<Certificate/>"), NULL, NEW, CR_NAMES_OLD,
   V(DEFAULT("false") ACM(NEW) SNI TLS12 SOURCE("acm") TWIN(NEW))},
  {V(TLS1 "<IAMCertificateId/><ACMCertificateArn/>" DEFAULT("true")), NULL, NEW, CR_NAMES_OLD,
   V(TLS12 ACM(NEW) DEFAULT("false") SNI)},
  {"<c:D xmlns:c='u'><c:ViewerCertificate><c:CloudFrontDefaultCertificate>true</c:CloudFrontDefaultCertificate>"
   "</c:ViewerCertificate></c:D>", NULL, NEW, CR_NAMES_OLD,
   "<c:D xmlns:c='u'><c:ViewerCertificate><c:CloudFrontDefaultCertificate>false</c:CloudFrontDefaultCertificate>"
   "<c:ACMCertificateArn>" NEW "</c:ACMCertificateArn><c:SSLSupportMethod>sni-only</c:SSLSupportMethod>"
   "<c:MinimumProtocolVersion>TLSv1.2_2021</c:MinimumProtocolVersion></c:ViewerCertificate></c:D>"},
  /* done; somebody's; cannot be told */
  {V(DEFAULT("false") ACM(NEW) SNI TLS12 SOURCE("acm")), NULL, NEW, CR_NAMES_NEW, NULL},
  {V(DEFAULT("false") ACM(OLD) SNI TLS12 SOURCE("acm")), NULL, NEW, CR_NAMES_OTHER, NULL},
  {V(DEFAULT("true") ACM(OLD)), NULL, NEW, CR_NAMES_OTHER, NULL},
  {V(DEFAULT("true") DEFAULT("true")), NULL, NEW, CR_NAMES_OTHER, NULL},
  {V(SNI), NULL, NEW, CR_NAMES_OTHER, NULL},
};

static void test_attach(void)
{
  for(size_t i = 0; i < sizeof attaches / sizeof attaches[0]; i++) {
    const struct swap_case *one = &attaches[i];
    struct cr_buf out;
    struct cr_error err;
    enum cr_names names;
    struct cr_viewer_certificate got;
    cr_error_clear(&err);
    cr_buf_init(&out, (size_t)1 << 20);
    CHECK(cr_viewer_certificate_attach(one->config, strlen(one->config), one->to, "sni-only", "TLSv1.2_2021", &out,
                                       &names, &err) == 0);
    CHECK(names == one->names);
    if(names != one->names) {
      printf("  case %zu (%d, %s): %s\n", i, (int)names, err.message, one->config);
    }
    if(one->want) {
      CHECK_STR(cr_buf_str(&out), one->want);
      CHECK(cr_viewer_certificate_read(out.data, out.len, &got, NULL) == 0 && !got.disagree && !got.default_certificate);
      CHECK_STR(got.reference, one->to);
      CHECK_STR(got.ssl_support_method, "sni-only");
    } else {
      CHECK(out.len == 0);
    }
    cr_buf_free(&out);
  }
  static const char *const bad[][3] = {
    { "www", "sni-only", "TLSv1" }, { NEW, "", "TLSv1" }, { NEW, "sni-only", "" }, { NEW, "a<b", "TLSv1" },
    { NEW, "sni-only", "TLSv1 " }, { NEW, "sni-onlysni-onlysni-onlysni-only", "TLSv1" },
  };
  for(size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    struct cr_buf out;
    struct cr_error err;
    enum cr_names names;
    cr_error_clear(&err);
    cr_buf_init(&out, (size_t)1 << 20);
    CHECK(cr_viewer_certificate_attach(attaches[0].config, strlen(attaches[0].config), bad[i][0], bad[i][1], bad[i][2],
                                       &out, &names, &err) < 0);
    CHECK(err.kind == CR_KIND_INPUT && out.len == 0);
    cr_buf_free(&out);
  }
}

int main(void)
{
  random_seed();
  test_store_of();
  test_read();
  test_read_details();
  test_swaps();
  test_refusals();
  test_bad_references();
  test_small_buffer();
  test_random();
  test_damage();
  test_attach();
  return check_end();
}
