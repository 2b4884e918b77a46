/* test_holder_records.c - summaries become flat records: what is kept, renamed, decided. */
#include "call.h"
#include "check.h"

#define PAGE(summary) "<DistributionList xmlns=\"x\"><IsTruncated>false</IsTruncated><Quantity>1</Quantity><Items>" \
  "<DistributionSummary>" summary "</DistributionSummary></Items></DistributionList>"

struct page {
  struct cr_tree tree;
  const struct cr_node *record;
};

/* As the call machine does it: parsed under the view, wrapped, items a list, then shaped. */
static void read_page(struct page *page, const char *text)
{
  struct cr_error err;
  struct cr_node *root, *items = NULL;

  cr_tree_init(&page->tree, 1 << 20);
  CHECK(cr_xml_parse(&page->tree, &cr_inventory_view, text, strlen(text), &err) == 0);
  root = page->tree.root;
  page->tree.root = NULL;
  struct cr_node *wrapped = cr_node_add(&page->tree, NULL, NULL, CR_NODE_MAP);
  wrapped->first = wrapped->last = root;
  wrapped->count = 1;
  for(struct cr_node *node = root->first; node; node = node->next) {
    if(cr_streq(node->name, "Items")) {
      items = node;
    }
  }
  items->type = CR_NODE_LIST;
  CHECK(cr_inventory_view.shape(&page->tree) == 0);
  page->record = items->first;
}

static void test_acm(void)
{
  struct page page;
  const struct cr_node *aliases;

  read_page(&page, PAGE(
    "<Id>E1</Id><ARN>arn</ARN><Status>Deployed</Status><LastModifiedTime>x</LastModifiedTime>"
    "<Aliases><Quantity>2</Quantity><Items><CNAME>a</CNAME><CNAME>b</CNAME></Items></Aliases>"
    "<Origins><Quantity>1</Quantity><Items><Origin><Id>not this</Id></Origin></Items></Origins>"
    "<ViewerCertificate><IAMCertificateId></IAMCertificateId><ACMCertificateArn>arn:acm</ACMCertificateArn>"
    "<SSLSupportMethod>vip</SSLSupportMethod><MinimumProtocolVersion>TLSv1</MinimumProtocolVersion>"
    "<Certificate>arn:acm</Certificate><CertificateSource>acm</CertificateSource></ViewerCertificate>"
    "<Enabled>true</Enabled>"));
  CHECK_STR(cr_get_text(page.record, "Id"), "E1");
  CHECK_STR(cr_get_text(page.record, "reference"), "arn:acm");
  CHECK_STR(cr_get_text(page.record, "store"), "acm");
  CHECK_STR(cr_get_text(page.record, "SSLSupportMethod"), "vip");
  CHECK_STR(cr_get_text(page.record, "MinimumProtocolVersion"), "TLSv1");
  CHECK(!cr_get(page.record, "ViewerCertificate") && !cr_get(page.record, "Certificate"));
  CHECK(!cr_get(page.record, "LastModifiedTime") && !cr_get(page.record, "default_certificate"));
  aliases = cr_get(page.record, "Aliases");
  CHECK(aliases && aliases->type == CR_NODE_LIST && aliases->count == 2);
  CHECK_STR(aliases->last->text, "b");
  CHECK(page.record->count == 9);
  cr_tree_free(&page.tree);
}

static void test_others(void)
{
  static const struct {
    const char *viewer, *reference, *store;
  } cases[] = {
    {PAGE("<Id>E</Id><ViewerCertificate><IAMCertificateId>ASCA1</IAMCertificateId></ViewerCertificate>"), "ASCA1", "iam"},
    {PAGE("<Id>E</Id><ViewerCertificate><Certificate>ASCA2</Certificate><CertificateSource>iam</CertificateSource>"
          "</ViewerCertificate>"), "ASCA2", "iam"},
    {PAGE("<Id>E</Id><ViewerCertificate><CertificateSource>acm</CertificateSource><Certificate>arn:x</Certificate>"
          "</ViewerCertificate>"), "arn:x", "acm"},
    {PAGE("<Id>E</Id><ViewerCertificate><CloudFrontDefaultCertificate>true</CloudFrontDefaultCertificate>"
          "<SSLSupportMethod>vip</SSLSupportMethod><CertificateSource>cloudfront</CertificateSource></ViewerCertificate>"),
     NULL, NULL},
    {PAGE("<Id>E</Id><ViewerCertificate/>"), NULL, NULL},
    {PAGE("<Id>E</Id>"), NULL, NULL},
  };

  for(size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct page page;
    read_page(&page, cases[i].viewer);
    if(cases[i].reference) {
      CHECK_STR(cr_get_text(page.record, "reference"), cases[i].reference);
      CHECK_STR(cr_get_text(page.record, "store"), cases[i].store);
      CHECK(!cr_get(page.record, "default_certificate"));
    } else {
      CHECK(!cr_get(page.record, "reference") && !cr_get(page.record, "store"));
      CHECK(cr_get_bool(page.record, "default_certificate", false));
    }
    cr_tree_free(&page.tree);
  }
}

static void test_no_aliases(void)
{
  struct page page;
  const struct cr_node *aliases;

  read_page(&page, PAGE("<Id>E</Id><Aliases><Quantity>0</Quantity></Aliases><Status>InProgress</Status>"));
  aliases = cr_get(page.record, "Aliases");
  CHECK(aliases && aliases->type == CR_NODE_LIST && aliases->count == 0 && !aliases->first);
  CHECK_STR(cr_get_text(page.record, "Status"), "InProgress");
  cr_tree_free(&page.tree);
}

int main(void)
{
  test_acm();
  test_others();
  test_no_aliases();
  return check_end();
}
