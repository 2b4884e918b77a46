/* test_tenant.c - a distribution tenant as answered, made into the request that changes its certificate.
 *
 * Tables say exactly what is expected, byte for byte; then every place at which a document can be cut short is tried. */
#include "tenant.h"

#include <stdlib.h>

#include "check.h"

#define NS "http://cloudfront.amazonaws.com/doc/2020-05-31/"
#define A "arn:aws:acm:us-east-1:111122223333:certificate/11111111-2222-3333-4444-555555555555"
#define B "arn:aws:acm:us-east-1:111122223333:certificate/66666666-7777-8888-9999-000000000000"
#define C "arn:aws:acm:us-east-1:111122223333:certificate/99999999-7777-8888-9999-000000000000"
#define IAM_ID "ASCAEXAMPLE1234567890"
#define OUT_MAX ((size_t)1 << 20)

#define G(children) "<DistributionTenant xmlns=\"" NS "\">" children "</DistributionTenant>"
#define U(children) "<UpdateDistributionTenantRequest xmlns=\"" NS "\">" children "</UpdateDistributionTenantRequest>"
#define CERTIFICATE(arn) "<Certificate><Arn>" arn "</Arn></Certificate>"
#define CUSTOM(arn) "<Customizations>" CERTIFICATE(arn) "</Customizations>"
#define REST "<Parameters><member><Name>Status</Name><Value>a &amp; b</Value></member></Parameters>"

static const struct {
  const char *tenant, *from, *to;
  enum cr_names names;
  const char *want; /* NULL: no document */
} changes[] = {
  /* as the reference shows an answer, all of it */
  {"<?xml version=\"1.0\"?>\n"
   G("<Id>dt_1</Id><DistributionId>E1</DistributionId><Name>shop</Name><Arn>arn:aws:cloudfront::1:distribution-tenant/dt_1"
     "</Arn><Domains><member><Domain>a.example.com</Domain><Status>active</Status></member><member><Domain>b.example.com"
     "</Domain><Status>inactive</Status></member></Domains><Tags><Items><Tag><Key>k</Key><Value>v</Value></Tag></Items>"
     "</Tags><Customizations><WebAcl><Action>override</Action><Arn>" A "</Arn></WebAcl>" CERTIFICATE(A)
     "<GeoRestrictions><RestrictionType>whitelist</RestrictionType><Locations><Location>DE</Location></Locations>"
     "</GeoRestrictions></Customizations>" REST "<ConnectionGroupId>cg_1</ConnectionGroupId>"
     "<CreatedTime>2026-01-01T00:00:00Z</CreatedTime><LastModifiedTime>2026-01-01T00:00:00Z</LastModifiedTime>"
     "<Enabled>true</Enabled><Status>Deployed</Status>"), A, B, CR_NAMES_OLD,
   "<?xml version=\"1.0\"?>\n"
   U("<DistributionId>E1</DistributionId><Domains><member><Domain>a.example.com</Domain></member><member><Domain>"
     "b.example.com</Domain></member></Domains><Customizations><WebAcl><Action>override</Action><Arn>" A
     "</Arn></WebAcl>" CERTIFICATE(B)
     "<GeoRestrictions><RestrictionType>whitelist</RestrictionType><Locations><Location>DE</Location></Locations>"
     "</GeoRestrictions></Customizations>" REST "<ConnectionGroupId>cg_1</ConnectionGroupId><Enabled>true</Enabled>")},
  /* elements not invented yet, wherever they stand, comments, CDATA and white space stay */
  {G("<New a='1'><Id>kept</Id><Status>kept</Status></New>\n <Id>x</Id><Customizations>\n <New/><Certificate><!-- c --><Arn> "
     "<![CDATA[" A "]]>\n</Arn><Status>kept</Status></Certificate></Customizations><Domains><member><Status/><New/></member>"
     "<New><Sub><Status>kept</Status></Sub></New></Domains>"), A, B, CR_NAMES_OLD,
   U("<New a='1'><Id>kept</Id><Status>kept</Status></New>\n <Customizations>\n <New/><Certificate><!-- c --><Arn> "
     B "\n</Arn><Status>kept</Status></Certificate></Customizations><Domains><member><New/></member>"
     "<New><Sub><Status>kept</Status></Sub></New></Domains>")},
  /* a prefix, and look-alikes of another namespace */
  {"<cf:DistributionTenant xmlns:cf='" NS "' xmlns='other'><Id>kept</Id><cf:Id>x</cf:Id><Customizations>" CERTIFICATE(C)
   "</Customizations><cf:Customizations><Certificate/><cf:Certificate><Arn>" C "</Arn><cf:Arn z='1' >" A
   "</cf:Arn></cf:Certificate></cf:Customizations></cf:DistributionTenant >", A, B, CR_NAMES_OLD,
   "<cf:UpdateDistributionTenantRequest xmlns:cf='" NS "' xmlns='other'><Id>kept</Id><Customizations>" CERTIFICATE(C)
   "</Customizations><cf:Customizations><Certificate/><cf:Certificate><Arn>" C "</Arn><cf:Arn z='1' >" B
   "</cf:Arn></cf:Certificate></cf:Customizations></cf:UpdateDistributionTenantRequest >"},
  /* the order is nobody's promise */
  {G(CUSTOM(A) "<Status>InProgress</Status>" REST "<Id>x</Id>"), A, B, CR_NAMES_OLD, U(CUSTOM(B) REST)},
  /* done already; somebody else's; its distribution's; cannot be told */
  {G(CUSTOM(B)), A, B, CR_NAMES_NEW, NULL},
  {G(CUSTOM(C)), A, B, CR_NAMES_OTHER, NULL},
  {G("<Id>x</Id>"), A, B, CR_NAMES_OTHER, NULL},
  {G("<Customizations><WebAcl><Arn>" A "</Arn></WebAcl></Customizations>"), A, B, CR_NAMES_OTHER, NULL},
  {G("<Customizations><Certificate/></Customizations>"), A, B, CR_NAMES_OTHER, NULL},
  {G(CUSTOM(A) CUSTOM(A)), A, B, CR_NAMES_OTHER, NULL},
  {G("<Customizations>" CERTIFICATE(A) CERTIFICATE(B) "</Customizations>"), A, B, CR_NAMES_OTHER, NULL},
  {G("<Customizations><Certificate><Arn>" A "</Arn><Arn>" A "</Arn></Certificate></Customizations>"), A, B,
   CR_NAMES_OTHER, NULL},
  {G(CUSTOM("<Sub>" A "</Sub>")), A, B, CR_NAMES_OTHER, NULL},
  {G("<!-- " CUSTOM(A) " -->" CUSTOM(C)), A, B, CR_NAMES_OTHER, NULL},
};

static int change(const char *tenant, size_t len, const char *from, const char *to, struct cr_buf *out,
                  enum cr_names *names, struct cr_error *err)
{
  cr_error_clear(err);
  cr_buf_init(out, OUT_MAX);
  *names = CR_NAMES_OTHER;
  return cr_tenant_swap(tenant, len, from, to, out, names, err);
}

static void test_changes(void)
{
  for(size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
    struct cr_buf out;
    struct cr_error err;
    enum cr_names names;
    CHECK(change(changes[i].tenant, strlen(changes[i].tenant), changes[i].from, changes[i].to, &out, &names, &err) == 0);
    CHECK(names == changes[i].names);
    if(names != changes[i].names) {
      printf("  case %zu (%d, %s): %s\n", i, (int)names, err.message, changes[i].tenant);
    }
    if(changes[i].want) {
      CHECK_STR(cr_buf_str(&out), changes[i].want);
    } else {
      CHECK(out.len == 0);
    }
    cr_buf_free(&out);
  }
}

static void test_refusals(void)
{
  static const struct {
    const char *tenant, *from, *to, *code;
  } cases[] = {
    {"<Distribution>" CUSTOM(A) "</Distribution>", A, B, "NoTenant"},
    {"<DistributionTenant/>", A, B, "NoTenant"},
    {"<!DOCTYPE x []>" G(CUSTOM(A)), A, B, "XmlDoctype"},
    {"<?xml version='1.0' encoding='UTF-16'?>" G(CUSTOM(A)), A, B, "UnsupportedEncoding"},
    {"", A, B, "XmlTruncated"},
    {G(CUSTOM(A)), A, IAM_ID, "IamOnMultiTenant"},
    {G(CUSTOM(A)), IAM_ID, B, "IamOnMultiTenant"},
    {G(CUSTOM(A)), A, "nonsense", "IamOnMultiTenant"},
  };
  for(size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct cr_buf out;
    struct cr_error err;
    enum cr_names names;
    CHECK(change(cases[i].tenant, strlen(cases[i].tenant), cases[i].from, cases[i].to, &out, &names, &err) < 0);
    CHECK_STR(err.code, cases[i].code);
    CHECK(out.len == 0);
    cr_buf_free(&out);
  }
}

/* Cut short anywhere, a document is an error that says "try again", and nothing is written. */
static void test_truncated(void)
{
  const char *tenant = changes[0].tenant;
  for(size_t len = 0; len < strlen(tenant); len++) {
    struct cr_buf out;
    struct cr_error err;
    enum cr_names names;
    char *copy = malloc(len + 1); /* of its very size: ASan sees a byte read beyond it */
    memcpy(copy, tenant, len);
    copy = realloc(copy, len ? len : 1);
    CHECK(change(copy, len, A, B, &out, &names, &err) < 0);
    CHECK(err.kind == CR_KIND_PARSE && out.len == 0);
    cr_buf_free(&out);
    free(copy);
  }
}

/* A request that would not fit is refused, and nothing is left in `out`. */
static void test_too_large(void)
{
  struct cr_buf out;
  struct cr_error err;
  enum cr_names names;
  cr_error_clear(&err);
  cr_buf_init(&out, 64);
  CHECK(cr_tenant_swap(changes[0].tenant, strlen(changes[0].tenant), A, B, &out, &names, &err) < 0);
  CHECK(err.kind == CR_KIND_MEMORY && out.len == 0);
  cr_buf_free(&out);
}

static void test_read(void)
{
  char reference[128];
  struct cr_error err;
  CHECK(cr_tenant_read(changes[0].tenant, strlen(changes[0].tenant), reference, sizeof reference, &err) == 0);
  CHECK_STR(reference, A);
  CHECK(cr_tenant_read(G("<Id>x</Id>"), strlen(G("<Id>x</Id>")), reference, sizeof reference, &err) == 0);
  CHECK_STR(reference, "");
  CHECK(cr_tenant_read("<Other></Other>", 15, reference, sizeof reference, &err) < 0);
  CHECK_STR(reference, "");
  CHECK(cr_is_tenant("dt_1") && !cr_is_tenant("dt_") && !cr_is_tenant("E1") && !cr_is_tenant(""));
}

int main(void)
{
  test_changes();
  test_refusals();
  test_truncated();
  test_too_large();
  test_read();
  return check_end();
}
