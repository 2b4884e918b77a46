/* bench_xml.c - what listing a fleet costs in XML: expat with empty handlers beside cr_xml with the inventory's view.
 *
 * 20 pages of 100 distributions, about 9 MB, made here in the shape CloudFront answers in (one line, no white space
 * between elements, schema order) and fed in pieces as a transfer delivers them. Both passes run in turns over the
 * same bytes; medians are compared. Prints one line and ends with 1 when the ratio exceeds the limit given as the
 * first argument. */
#include "xml.h"

#include <expat.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define PAGES 20
#define PER_PAGE 100
#define ROUNDS 31
#define PIECE 16384 /* what libcurl hands over at most at a time */
#define TREE_MAX ((size_t)64 << 20)

/* At least what the inventory keeps (cr_holders_view), and what it may come to keep. */
static const char *const holder_names[] = {
  "Id", "ARN", "Status", "LastModifiedTime", "DomainName", "Aliases", "Comment", "Enabled", "ViewerCertificate",
  "HttpVersion", "Staging", "ContinuousDeploymentPolicyId", "ConnectionMode", "ETag", NULL,
};
static const struct cr_xml_view holders = {.under = "DistributionSummary", .names = holder_names};

/* --- the pages */

static void add_identity(struct cr_buf *out, int n)
{
  cr_buf_addf(out,
              "<DistributionSummary><Id>E%013dXAMPLE</Id><ARN>"
              "arn:aws:cloudfront::111122223333:distribution/E%013dXAMPLE</ARN><ETag>E2QWR%08dLQ</ETag><Status>"
              "Deployed</Status><LastModifiedTime>2026-01-13T00:32:05.367Z</LastModifiedTime><DomainName>"
              "d%013d.cloudfront.net</DomainName><Aliases><Quantity>2</Quantity><Items><CNAME>www%d.example.com"
              "</CNAME><CNAME>static%d.example.com</CNAME></Items></Aliases>",
              n, n, n, n, n, n);
}

static void add_origins(struct cr_buf *out, int n)
{
  cr_buf_addf(out,
              "<Origins><Quantity>2</Quantity><Items><Origin><Id>app-%d</Id><DomainName>app%d.origin.example.com"
              "</DomainName><OriginPath></OriginPath><CustomHeaders><Quantity>1</Quantity><Items>"
              "<OriginCustomHeader><HeaderName>X-Origin-Verify</HeaderName><HeaderValue>3c6f1a0e-%08d</HeaderValue>"
              "</OriginCustomHeader></Items></CustomHeaders><CustomOriginConfig><HTTPPort>80</HTTPPort><HTTPSPort>"
              "443</HTTPSPort><OriginProtocolPolicy>https-only</OriginProtocolPolicy><OriginSslProtocols><Quantity>1"
              "</Quantity><Items><SslProtocol>TLSv1.2</SslProtocol></Items></OriginSslProtocols><OriginReadTimeout>"
              "30</OriginReadTimeout><OriginKeepaliveTimeout>5</OriginKeepaliveTimeout></CustomOriginConfig>"
              "<ConnectionAttempts>3</ConnectionAttempts><ConnectionTimeout>10</ConnectionTimeout><OriginShield>"
              "<Enabled>false</Enabled></OriginShield><OriginAccessControlId></OriginAccessControlId></Origin>"
              "<Origin><Id>s3-%d</Id><DomainName>assets-%d.s3.us-east-1.amazonaws.com</DomainName><OriginPath>"
              "/public</OriginPath><CustomHeaders><Quantity>0</Quantity></CustomHeaders><S3OriginConfig>"
              "<OriginAccessIdentity></OriginAccessIdentity></S3OriginConfig><ConnectionAttempts>3"
              "</ConnectionAttempts><ConnectionTimeout>10</ConnectionTimeout><OriginShield><Enabled>false</Enabled>"
              "</OriginShield><OriginAccessControlId>E%09dOAC</OriginAccessControlId></Origin></Items></Origins>"
              "<OriginGroups><Quantity>0</Quantity></OriginGroups>",
              n, n, n, n, n, n);
}

static void add_behavior(struct cr_buf *out, const char *element, const char *pattern, const char *origin, int n)
{
  cr_buf_addf(out,
              "<%s>%s<TargetOriginId>%s-%d</TargetOriginId><TrustedSigners><Enabled>false</Enabled><Quantity>0"
              "</Quantity></TrustedSigners><TrustedKeyGroups><Enabled>false</Enabled><Quantity>0</Quantity>"
              "</TrustedKeyGroups><ViewerProtocolPolicy>redirect-to-https</ViewerProtocolPolicy><AllowedMethods>"
              "<Quantity>3</Quantity><Items><Method>HEAD</Method><Method>GET</Method><Method>OPTIONS</Method>"
              "</Items><CachedMethods><Quantity>2</Quantity><Items><Method>HEAD</Method><Method>GET</Method></Items>"
              "</CachedMethods></AllowedMethods><SmoothStreaming>false</SmoothStreaming><Compress>true</Compress>"
              "<LambdaFunctionAssociations><Quantity>0</Quantity></LambdaFunctionAssociations><FunctionAssociations>"
              "<Quantity>0</Quantity></FunctionAssociations><CachePolicyId>658327ea-f89d-4fab-a63d-7e88639e58f6"
              "</CachePolicyId><OriginRequestPolicyId>88a5eaf4-2fd4-4709-b370-b4c650ea3fcf</OriginRequestPolicyId>"
              "</%s>",
              element, pattern, origin, n, element);
}

static void add_rest(struct cr_buf *out, int n)
{
  cr_buf_addf(out,
              "<CustomErrorResponses><Quantity>0</Quantity></CustomErrorResponses><Comment>shop %d &amp; assets"
              "</Comment><PriceClass>PriceClass_All</PriceClass><Enabled>true</Enabled><ViewerCertificate>"
              "<CloudFrontDefaultCertificate>false</CloudFrontDefaultCertificate><ACMCertificateArn>"
              "arn:aws:acm:us-east-1:111122223333:certificate/11111111-2222-3333-4444-%012d</ACMCertificateArn>"
              "<SSLSupportMethod>sni-only</SSLSupportMethod><MinimumProtocolVersion>TLSv1.2_2021"
              "</MinimumProtocolVersion><Certificate>"
              "arn:aws:acm:us-east-1:111122223333:certificate/11111111-2222-3333-4444-%012d</Certificate>"
              "<CertificateSource>acm</CertificateSource></ViewerCertificate><Restrictions><GeoRestriction>"
              "<RestrictionType>none</RestrictionType><Quantity>0</Quantity></GeoRestriction></Restrictions>"
              "<WebACLId></WebACLId><HttpVersion>http2and3</HttpVersion><IsIPV6Enabled>true</IsIPV6Enabled>"
              "<AliasICPRecordals><AliasICPRecordal><CNAME>www%d.example.com</CNAME><ICPRecordalStatus>APPROVED"
              "</ICPRecordalStatus></AliasICPRecordal></AliasICPRecordals><Staging>false</Staging><ConnectionMode>"
              "direct</ConnectionMode></DistributionSummary>",
              n, n % 7, n % 7, n);
}

static int make_page(struct cr_buf *out, int page)
{
  cr_buf_addf(out,
              "<?xml version=\"1.0\"?>\n<DistributionList xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\">"
              "<Marker></Marker><NextMarker>E%013dXAMPLE</NextMarker><MaxItems>100</MaxItems><IsTruncated>%s"
              "</IsTruncated><Quantity>%d</Quantity><Items>",
              page * PER_PAGE, page + 1 < PAGES ? "true" : "false", PER_PAGE);
  for(int i = 0; i < PER_PAGE; i++) {
    int n = page * PER_PAGE + i;
    add_identity(out, n);
    add_origins(out, n);
    add_behavior(out, "DefaultCacheBehavior", "", "app", n);
    cr_buf_adds(out, "<CacheBehaviors><Quantity>1</Quantity><Items>");
    add_behavior(out, "CacheBehavior", "<PathPattern>/assets/*</PathPattern>", "s3", n);
    cr_buf_adds(out, "</Items></CacheBehaviors>");
    add_rest(out, n);
  }
  cr_buf_adds(out, "</Items></DistributionList>");
  return out->state == CR_BUF_FINE ? 0 : -1;
}

/* --- the two passes over all pages, in seconds of CPU; negative on failure */

static double now(void)
{
  struct timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void empty_start(void *data, const XML_Char *name, const XML_Char **attributes)
{
  (void)data;
  (void)name;
  (void)attributes;
}

static void empty_end(void *data, const XML_Char *name)
{
  (void)data;
  (void)name;
}

static void empty_text(void *data, const XML_Char *text, int len)
{
  (void)data;
  (void)text;
  (void)len;
}

static double pass_expat(const struct cr_buf *pages)
{
  double begin = now();
  for(int i = 0; i < PAGES; i++) {
    XML_Parser parser = XML_ParserCreate(NULL);
    bool fine = parser != NULL;
    if(parser) {
      XML_SetElementHandler(parser, empty_start, empty_end);
      XML_SetCharacterDataHandler(parser, empty_text);
    }
    for(size_t at = 0; fine && at < pages[i].len; at += PIECE) {
      size_t len = pages[i].len - at < PIECE ? pages[i].len - at : PIECE;
      fine = XML_Parse(parser, pages[i].data + at, (int)len, at + len == pages[i].len) == XML_STATUS_OK;
    }
    XML_ParserFree(parser);
    if(!fine) {
      return -1;
    }
  }
  return now() - begin;
}

static double pass_ours(const struct cr_buf *pages, size_t *records, size_t *bytes)
{
  double begin = now();
  *records = *bytes = 0;
  for(int i = 0; i < PAGES; i++) {
    struct cr_tree tree;
    struct cr_xml *xml;
    int rc = 0;
    cr_tree_init(&tree, TREE_MAX);
    xml = cr_xml_new(&tree, &holders);
    for(size_t at = 0; xml && rc == 0 && at < pages[i].len; at += PIECE) {
      size_t len = pages[i].len - at < PIECE ? pages[i].len - at : PIECE;
      rc = cr_xml_feed(xml, pages[i].data + at, len, NULL);
    }
    rc = xml && rc == 0 ? cr_xml_finish(xml, NULL) : -1;
    if(rc == 0) {
      const struct cr_node *items = cr_get(tree.root, "Items");
      *records += items ? items->count : 0;
      *bytes += tree.bytes;
    }
    cr_xml_free(xml);
    cr_tree_free(&tree);
    if(rc < 0) {
      return -1;
    }
  }
  return now() - begin;
}

static int ascending(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
  static struct cr_buf pages[PAGES];
  double expat[ROUNDS], ours[ROUNDS], ratio, limit = argc > 1 ? strtod(argv[1], NULL) : 0;
  size_t total = 0, records = 0, bytes = 0;
  int rc = 1;

  for(int i = 0; i < PAGES; i++) {
    cr_buf_init(&pages[i], (size_t)8 << 20);
    if(make_page(&pages[i], i) < 0) {
      fprintf(stderr, "bench_xml: out of memory\n");
      goto done;
    }
    total += pages[i].len;
  }
  for(int i = 0; i < ROUNDS; i++) {
    expat[i] = pass_expat(pages);
    ours[i] = pass_ours(pages, &records, &bytes);
    if(expat[i] < 0 || ours[i] < 0 || records != PAGES * PER_PAGE) {
      fprintf(stderr, "bench_xml: a pass failed or lost records\n");
      goto done;
    }
  }
  qsort(expat, ROUNDS, sizeof expat[0], ascending);
  qsort(ours, ROUNDS, sizeof ours[0], ascending);
  ratio = ours[ROUNDS / 2] / expat[ROUNDS / 2];
  printf("xml: %.1f MB, %zu distributions, %zu bytes each, %zu kept as nodes: expat alone %.1f ms, cr_xml %.1f ms, "
         "ratio %.2f\n",
         (double)total / 1e6, records, total / records, bytes / records, expat[ROUNDS / 2] * 1e3,
         ours[ROUNDS / 2] * 1e3, ratio);
  rc = limit > 0 && ratio > limit ? 1 : 0;
done:
  for(int i = 0; i < PAGES; i++) {
    cr_buf_free(&pages[i]);
  }
  return rc;
}
