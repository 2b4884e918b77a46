/* test_operations.c - the rows of the operation tables: what each sends, and how its answers are shaped.
 *
 * Signatures and bodies marked golden were made by another signer and another serializer. */
#include "call.h"
#include "check.h"
#include "json_reader.h"

#define NOW 1768478400LL   /* 2026-01-15T12:00:00Z */
#define ARN "arn:aws:acm:us-east-1:111122223333:certificate/11111111-2222-3333-4444-555555555555"
#define NS "http://cloudfront.amazonaws.com/doc/2020-05-31/"

static struct cr_account *account;

static struct cr_machine *call_of(const char *service, const char *name, const char *json,
                                  const struct cr_xml_view *view, struct cr_error *err)
{
  const struct cr_operation *operation = cr_operation_find(service, name);
  struct cr_tree tree;
  cr_error_clear(err);
  CHECK(operation != NULL);
  if(!operation) {
    exit(1);
  }
  cr_tree_init(&tree, 1 << 20);
  CHECK(json_read(&tree, json, strlen(json)) == 0);
  struct cr_machine *m = cr_call_new(account, operation, tree.root, NULL, view, 0, err);
  cr_tree_free(&tree);
  return m;
}

static const char *header(const struct cr_request *request, const char *name)
{
  for(size_t i = 0; i < request->header_count; i++) {
    if(cr_strcasecmp(request->headers[i].name, name) == 0) {
      return request->headers[i].value;
    }
  }
  return NULL;
}

/* The request a call wants first. */
static const struct cr_request *request_of(struct cr_machine *m)
{
  struct cr_moment now = { NOW * 1000, 1, 0.5 };
  static struct cr_want want;
  memset(&want, 0, sizeof want);
  CHECK(m && m->class->next(m, &now, &want) == CR_NEED_SEND);
  return want.request;
}

static void check_request(const char *service, const char *name, const char *json, const char *method,
                          const char *url, const char *body, const char *golden)
{
  struct cr_error err;
  struct cr_machine *m = call_of(service, name, json, NULL, &err);
  CHECK(m != NULL);
  if(!m) {
    printf("# %s: %s\n", name, err.message);
    return;
  }
  const struct cr_request *request = request_of(m);
  CHECK_STR(request->method, method);
  CHECK_STR(request->url, url);
  CHECK(request->body_len == strlen(body));
  CHECK_STR(request->body_len ? request->body : "", body);
  if(golden) {
    const char *authorization = header(request, "Authorization");
    const char *signature = authorization ? strstr(authorization, "Signature=") : NULL;
    CHECK_STR(signature ? signature + strlen("Signature=") : "", golden);
  }
  cr_machine_free(m);
}

static void test_cloudfront_requests(void)
{
  const char *base = "https://cloudfront.amazonaws.com/2020-05-31/distribution";
  char url[256];
  snprintf(url, sizeof url, "%s?MaxItems=100", base);
  check_request("cloudfront", "ListDistributions", "{}", "GET", url, "",
                "9de915197643ad0e18fe7e0990c8c41554d985367dbd33605d688b19010f440e");
  snprintf(url, sizeof url, "%s?Marker=E1ABC&MaxItems=100", base);
  check_request("cloudfront", "ListDistributions", "{\"Marker\":\"E1ABC\"}", "GET", url, "",
                "09770960bfa026b1a7bfead52100b9e29fc56bcaf5f49d687e79d2d1832f87b2");
  snprintf(url, sizeof url, "%s?MaxItems=7", base);
  check_request("cloudfront", "ListDistributions", "{\"MaxItems\":7}", "GET", url, "", NULL);
  snprintf(url, sizeof url, "%s/EDFDVBD6EXAMPLE/config", base);
  check_request("cloudfront", "GetDistributionConfig", "{\"Id\":\"EDFDVBD6EXAMPLE\"}", "GET", url, "",
                "2aa82458555d81f98c11771abcaa65fa2af176ac293160d0a9cdf702f3032a46");
  snprintf(url, sizeof url, "%s/EDFDVBD6EXAMPLE", base);
  check_request("cloudfront", "GetDistribution", "{\"Id\":\"EDFDVBD6EXAMPLE\"}", "GET", url, "",
                "cddd8a0c1864544b30092a99837597661ef4dfa928d808c411bd23fb45b787a6");
  snprintf(url, sizeof url, "%s/a%%2Fb/config", base);
  check_request("cloudfront", "UpdateDistribution",
                "{\"Id\":\"a/b\",\"IfMatch\":\"E2QWRUHAPOMQZL\",\"DistributionConfig\":\"<x>\\u00fc &amp;\\n</x>\"}",
                "PUT", url, "<x>\xc3\xbc &amp;\n</x>", NULL);
  check_request("cloudfront", "GetContinuousDeploymentPolicy", "{\"Id\":\"4d2b-1\"}", "GET",
                "https://cloudfront.amazonaws.com/2020-05-31/continuous-deployment-policy/4d2b-1", "", NULL);
  check_request("cloudfront", "ListContinuousDeploymentPolicies", "{}", "GET",
                "https://cloudfront.amazonaws.com/2020-05-31/continuous-deployment-policy?MaxItems=100", "", NULL);
  check_request("cloudfront", "ListDistributionTenantsByCustomization", "{\"CertificateArn\":\"" ARN "\"}", "POST",
                "https://cloudfront.amazonaws.com/2020-05-31/distribution-tenants-by-customization",
                "<ListDistributionTenantsByCustomizationRequest xmlns=\"" NS "\"><CertificateArn>" ARN
                "</CertificateArn><MaxItems>100</MaxItems></ListDistributionTenantsByCustomizationRequest>", NULL);
  check_request("cloudfront", "ListDistributionTenantsByCustomization",
                "{\"Marker\":\"a<&b\",\"WebACLArn\":\"arn:x\",\"MaxItems\":5}", "POST",
                "https://cloudfront.amazonaws.com/2020-05-31/distribution-tenants-by-customization",
                "<ListDistributionTenantsByCustomizationRequest xmlns=\"" NS "\"><WebACLArn>arn:x</WebACLArn>"
                "<Marker>a&lt;&amp;b</Marker><MaxItems>5</MaxItems></ListDistributionTenantsByCustomizationRequest>",
                NULL);
  check_request("cloudfront", "ListDistributionTenants", "{\"Marker\":\"m\"}", "POST",
                "https://cloudfront.amazonaws.com/2020-05-31/distribution-tenants",
                "<ListDistributionTenantsRequest xmlns=\"" NS "\"><Marker>m</Marker><MaxItems>100</MaxItems>"
                "</ListDistributionTenantsRequest>", NULL);
  check_request("cloudfront", "GetDistributionTenant",
                "{\"Identifier\":\"arn:aws:cloudfront::111122223333:distribution-tenant/dt_abc\"}", "GET",
                "https://cloudfront.amazonaws.com/2020-05-31/distribution-tenant/"
                "arn%3Aaws%3Acloudfront%3A%3A111122223333%3Adistribution-tenant%2Fdt_abc", "", NULL);
  check_request("cloudfront", "UpdateDistributionTenant",
                "{\"Id\":\"dt_1\",\"IfMatch\":\"E1\",\"UpdateDistributionTenantRequest\":\"<x/>\"}", "PUT",
                "https://cloudfront.amazonaws.com/2020-05-31/distribution-tenant/dt_1", "<x/>", NULL);
}

static void test_headers(void)
{
  struct cr_error err;
  struct cr_machine *m = call_of("cloudfront", "UpdateDistribution",
                                 "{\"Id\":\"E1\",\"IfMatch\":\"E2QWRUHAPOMQZL\",\"DistributionConfig\":\"<x/>\"}", NULL,
                                 &err);
  const struct cr_request *request = request_of(m);
  CHECK_STR(header(request, "If-Match"), "E2QWRUHAPOMQZL");
  CHECK(strstr(header(request, "Authorization"), "if-match;") != NULL);
  CHECK(strstr(header(request, "Authorization"), "/us-east-1/cloudfront/aws4_request") != NULL);
  cr_machine_free(m);
  m = call_of("acm", "DescribeCertificate", "{\"CertificateArn\":\"" ARN "\"}", NULL, &err);
  request = request_of(m);
  CHECK_STR(header(request, "X-Amz-Target"), "CertificateManager.DescribeCertificate");
  CHECK_STR(header(request, "Content-Type"), "application/x-amz-json-1.1");
  cr_machine_free(m);
}

static void test_query_requests(void)
{
  check_request("sts", "GetCallerIdentity", "{}", "POST", "https://sts.us-east-1.amazonaws.com/",
                "Action=GetCallerIdentity&Version=2011-06-15",
                "7f2d536d7155649ac13e0d3d0ca3f176a9866596337bcccbe6661bff6d48f92d");
  check_request("iam", "ListServerCertificates", "{\"PathPrefix\":\"/cloudfront/\",\"MaxItems\":100}", "POST",
                "https://iam.amazonaws.com/",
                "Action=ListServerCertificates&Version=2010-05-08&PathPrefix=%2Fcloudfront%2F&MaxItems=100",
                "a372d93377016e45c0a00a62ca3d6c053885063894e651a3b9a0a2ab32731e5c");
  check_request("iam", "ListServerCertificates", "{}", "POST", "https://iam.amazonaws.com/",
                "Action=ListServerCertificates&Version=2010-05-08&MaxItems=1000", NULL);
  check_request("iam", "GetServerCertificate", "{\"ServerCertificateName\":\"www\"}", "POST",
                "https://iam.amazonaws.com/",
                "Action=GetServerCertificate&Version=2010-05-08&ServerCertificateName=www", NULL);
  check_request("iam", "UpdateServerCertificate",
                "{\"ServerCertificateName\":\"a\",\"NewServerCertificateName\":\"b\"}", "POST",
                "https://iam.amazonaws.com/",
                "Action=UpdateServerCertificate&Version=2010-05-08&ServerCertificateName=a&NewServerCertificateName=b",
                NULL);
  check_request("iam", "DeleteServerCertificate", "{\"ServerCertificateName\":\"a b\"}", "POST",
                "https://iam.amazonaws.com/",
                "Action=DeleteServerCertificate&Version=2010-05-08&ServerCertificateName=a%20b", NULL);
  check_request("iam", "TagServerCertificate",
                "{\"ServerCertificateName\":\"a\",\"Tags\":[{\"Key\":\"k\",\"Value\":\"v\"},"
                "{\"Key\":\"l\",\"Value\":\"\"}]}",
                "POST", "https://iam.amazonaws.com/",
                "Action=TagServerCertificate&Version=2010-05-08&ServerCertificateName=a&Tags.member.1.Key=k"
                "&Tags.member.1.Value=v&Tags.member.2.Key=l&Tags.member.2.Value=", NULL);
  check_request("iam", "GetAccountSummary", "{}", "POST", "https://iam.amazonaws.com/",
                "Action=GetAccountSummary&Version=2010-05-08", NULL);
}

/* The body is JSON; which spelling of it does not matter. */
static void check_json(const char *name, const char *params, const char *expected)
{
  struct cr_error err;
  struct cr_machine *m = call_of("acm", name, params, NULL, &err);
  CHECK(m != NULL);
  if(!m) {
    printf("# %s\n", err.message);
    return;
  }
  const struct cr_request *request = request_of(m);
  CHECK_STR(request->method, "POST");
  CHECK_STR(request->url, "https://acm.us-east-1.amazonaws.com/");
  CHECK_STR(request->body, expected);
  cr_machine_free(m);
}

#define ALL_TYPES \
  "[\"RSA_1024\",\"RSA_2048\",\"RSA_3072\",\"RSA_4096\",\"EC_prime256v1\",\"EC_secp384r1\",\"EC_secp521r1\"]"

static void test_acm_requests(void)
{
  check_json("ListCertificates", "{}", "{\"MaxItems\":1000,\"Includes\":{\"keyTypes\":" ALL_TYPES "}}");
  check_json("ListCertificates", "{\"MaxItems\":5,\"NextToken\":\"t\"}",
             "{\"MaxItems\":5,\"NextToken\":\"t\",\"Includes\":{\"keyTypes\":" ALL_TYPES "}}");
  check_json("ListCertificates", "{\"MaxItems\":5,\"Includes\":[]}",
             "{\"MaxItems\":5,\"Includes\":{\"keyTypes\":" ALL_TYPES "}}");
  check_json("ListCertificates", "{\"MaxItems\":5,\"Includes\":{\"keyTypes\":[],\"keyUsage\":[\"ANY\"]}}",
             "{\"MaxItems\":5,\"Includes\":{\"keyTypes\":" ALL_TYPES ",\"keyUsage\":[\"ANY\"]}}");
  check_json("ListCertificates", "{\"MaxItems\":5,\"Includes\":{\"keyTypes\":[\"RSA_2048\"]}}",
             "{\"MaxItems\":5,\"Includes\":{\"keyTypes\":[\"RSA_2048\"]}}");
  check_json("DescribeCertificate", "{\"CertificateArn\":\"" ARN "\"}", "{\"CertificateArn\":\"" ARN "\"}");
  check_json("AddTagsToCertificate", "{\"CertificateArn\":\"" ARN "\",\"Tags\":[{\"Key\":\"k\",\"Value\":\"v\"}]}",
             "{\"CertificateArn\":\"" ARN "\",\"Tags\":[{\"Key\":\"k\",\"Value\":\"v\"}]}");
}

static void test_refusals(void)
{
  static const struct {
    const char *service, *name, *json, *says;
  } cases[] = {
    { "cloudfront", "GetDistribution", "{}", "Id" },
    { "cloudfront", "UpdateDistribution", "{\"Id\":\"E1\",\"DistributionConfig\":\"<x/>\"}", "IfMatch" },
    { "cloudfront", "UpdateDistribution", "{\"Id\":\"E1\",\"IfMatch\":\"E\"}", "DistributionConfig" },
    { "cloudfront", "ListDistributions", "{\"Mark\":\"E1\"}", "Mark" },
    { "cloudfront", "ListDistributionTenantsByCustomization", "{}", "CertificateArn" },
    { "cloudfront", "ListDistributionTenantsByCustomization", "{\"CertificateArn\":\"a\",\"WebACLArn\":\"b\"}",
      "either" },
    { "cloudfront", "ListDistributionTenantsByCustomization", "{\"CertificateArn\":\"a\",\"Body\":\"b\"}", "Body" },
    { "cloudfront", "ListDistributionTenants", "{\"CertificateArn\":\"a\"}", "CertificateArn" },
    { "cloudfront", "GetDistributionTenant", "{\"Id\":\"dt_1\"}", "Id" },
    { "cloudfront", "UpdateDistributionTenant", "{\"Id\":\"dt_1\",\"IfMatch\":\"E\"}",
      "UpdateDistributionTenantRequest" },
    { "acm", "DeleteCertificate", "{}", "CertificateArn" },
    { "acm", "AddTagsToCertificate", "{\"CertificateArn\":\"" ARN "\"}", "Tags" },
    { "acm", "ListCertificates", "{\"Includes\":[\"x\"]}", "Includes" },
    { "acm", "ImportCertificate", "{}", "identity" },
    { "iam", "UploadServerCertificate", "{\"ServerCertificateName\":\"a\"}", "identity" },
    { "iam", "GetServerCertificate", "{}", "ServerCertificateName" },
    { "servicequotas", "GetServiceQuota", "{\"ServiceCode\":\"cloudfront\"}", "QuotaCode" },
    { "servicequotas", "ListServiceQuotas", "{}", "ServiceCode" },
    { "servicequotas", "RequestServiceQuotaIncrease",
      "{\"ServiceCode\":\"cloudfront\",\"QuotaCode\":\"L-DA9DCC93\"}", "DesiredValue" },
    { "servicequotas", "GetRequestedServiceQuotaChange", "{}", "RequestId" },
    { "support", "CreateCase", "{\"subject\":\"s\"}", "communicationBody" },
    { "support", "CreateCase", "{\"subject\":\"\",\"communicationBody\":\"b\"}", "subject" },
    { "support", "AddCommunicationToCase", "{\"communicationBody\":\"b\"}", "caseId" },
    { "support", "DescribeCommunications", "{}", "caseId" },
  };
  for(size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct cr_error err;
    struct cr_machine *m = call_of(cases[i].service, cases[i].name, cases[i].json, NULL, &err);
    CHECK(m == NULL);
    CHECK(err.kind == CR_KIND_INPUT && strstr(err.message, cases[i].says) != NULL);
    if(m || !strstr(err.message, cases[i].says)) {
      printf("# %s: %s\n", cases[i].name, err.message);
    }
    cr_machine_free(m);
  }
}

static void test_tables(void)
{
  size_t count = 0;
  const struct cr_operation *row;
  CHECK(cr_operation_find("acm", "Nothing") == NULL);
  CHECK(cr_operation_find("iam", "ImportCertificate") == NULL);
  CHECK(cr_operation_find(NULL, NULL) == NULL);
  for(; (row = cr_operation_at(count)) != NULL; count++) {
    CHECK(cr_operation_find(cr_service_name(row->service), row->name) == row);
    CHECK((row->protocol == CR_REST_XML) == (row->path != NULL) && (row->path != NULL) == (row->method != NULL));
    CHECK(row->params != NULL);
    CHECK((row->protocol == CR_JSON11) ==
          (row->service == CR_ACM || row->service == CR_QUOTAS || row->service == CR_SUPPORT));
    CHECK(!row->shape || row->protocol != CR_JSON11);
  }
  CHECK(count == 48);
  CHECK(cr_operation_at(count + 100) == NULL);
  /* What is not repeated blindly. */
  static const char *const once[] = { "ImportCertificate", "DeleteCertificate", "UploadServerCertificate",
                                      "UpdateServerCertificate", "DeleteServerCertificate", "UpdateDistribution",
                                      "UpdateDistributionTenant",
                                      "RequestServiceQuotaIncrease", "CreateCase", "AddCommunicationToCase",
                                      "ResolveCase" };
  size_t found = 0;
  for(size_t i = 0; i < count; i++) {
    bool listed = false;
    for(size_t j = 0; j < sizeof once / sizeof once[0]; j++) {
      listed = listed || strcmp(once[j], cr_operation_at(i)->name) == 0;
    }
    found += listed;
    CHECK(cr_operation_at(i)->idempotent == !listed);
  }
  CHECK(found == sizeof once / sizeof once[0]);
}

/* Runs a call on one answer; ends the program when it does not become a result. */
static struct cr_machine *answered(const char *service, const char *name, const char *json,
                                   const struct cr_xml_view *view, const char *body, const char *headers)
{
  struct cr_error err;
  struct cr_machine *m = call_of(service, name, json, view, &err);
  const struct cr_request *request = request_of(m);
  struct cr_moment now = { NOW * 1000, 2, 0.5 };
  struct cr_answer answer;
  struct cr_want want;
  cr_answer_init(&answer);
  answer.status = 200;
  cr_buf_adds(&answer.header_text, headers);
  if(request->sink) {
    CHECK(request->sink->write(request->sink->user, body, strlen(body)) == 0);
  } else {
    cr_buf_adds(&answer.body, body);
  }
  m->class->answered(m, &now, &answer);
  cr_answer_free(&answer);
  enum cr_need need = m->class->next(m, &now, &want);
  if(need == CR_NEED_DECODE) {
    CHECK(json_read(want.into, want.json, want.json_len) == 0);
    m->class->decoded(m, NULL);
    need = m->class->next(m, &now, &want);
  }
  CHECK(need == CR_NEED_DONE);
  if(need != CR_NEED_DONE) {
    printf("# %s: %s %s\n", name, m->error.code, m->error.message);
    exit(1);
  }
  return m;
}

#define SUMMARY \
  "<DistributionSummary><Id>EDFDVBD6EXAMPLE</Id><ARN>arn:x</ARN><Status>Deployed</Status>" \
  "<LastModifiedTime>2026-01-13T00:32:05.367Z</LastModifiedTime><DomainName>d1.cloudfront.net</DomainName>" \
  "<Aliases><Quantity>2</Quantity><Items><CNAME>true</CNAME><CNAME>7</CNAME></Items></Aliases>" \
  "<Origins><Quantity>1</Quantity><Items><Origin><Id>o1</Id><ConnectionAttempts>3</ConnectionAttempts></Origin>" \
  "</Items></Origins><Comment>12</Comment><Enabled>true</Enabled><ViewerCertificate>" \
  "<CloudFrontDefaultCertificate>false</CloudFrontDefaultCertificate><ACMCertificateArn>" ARN "</ACMCertificateArn>" \
  "<MinimumProtocolVersion>TLSv1</MinimumProtocolVersion></ViewerCertificate><HttpVersion>http2</HttpVersion>" \
  "<AliasICPRecordals><AliasICPRecordal><CNAME>x</CNAME></AliasICPRecordal></AliasICPRecordals>" \
  "<Staging>false</Staging><WebACLId/></DistributionSummary>"
#define LISTING \
  "<DistributionList xmlns=\"" NS "\"><Marker>E1ABC</Marker><NextMarker>E9XYZ</NextMarker><MaxItems>100</MaxItems>" \
  "<IsTruncated>true</IsTruncated><Quantity>1</Quantity>\n  <Items>\n" SUMMARY "</Items></DistributionList>"

static void test_listing_shape(void)
{
  struct cr_machine *m = answered("cloudfront", "ListDistributions", "{}", NULL, LISTING, "");
  const struct cr_node *list = cr_get(m->result.root, "DistributionList"), *items = cr_get(list, "Items");
  CHECK(cr_get(list, "IsTruncated")->type == CR_NODE_BOOL && cr_get_bool(list, "IsTruncated", false));
  CHECK(cr_get(list, "Quantity")->type == CR_NODE_NUMBER && cr_get(list, "MaxItems")->type == CR_NODE_NUMBER);
  CHECK(items && items->type == CR_NODE_LIST && items->count == 1);
  const struct cr_node *summary = items->first, *aliases = cr_get_path(summary, "Aliases/Items");
  CHECK(summary->type == CR_NODE_MAP);
  /* by name, never by how a text looks */
  CHECK(aliases && aliases->type == CR_NODE_LIST && aliases->count == 2);
  CHECK(aliases->first->type == CR_NODE_TEXT && aliases->last->type == CR_NODE_TEXT);
  CHECK_STR(aliases->first->text, "true");
  CHECK(cr_get(summary, "Comment")->type == CR_NODE_TEXT);
  CHECK(cr_get(summary, "Enabled")->type == CR_NODE_BOOL && cr_get(summary, "Staging")->type == CR_NODE_BOOL);
  CHECK(cr_get(summary, "AliasICPRecordals")->type == CR_NODE_LIST);
  CHECK(cr_get_path(summary, "Origins/Items")->first->type == CR_NODE_MAP);
  CHECK(cr_get(cr_get_path(summary, "Origins/Items")->first, "ConnectionAttempts")->type == CR_NODE_NUMBER);
  CHECK(cr_get_path(summary, "ViewerCertificate/CloudFrontDefaultCertificate")->type == CR_NODE_BOOL);
  CHECK(cr_get_path(summary, "ViewerCertificate/MinimumProtocolVersion")->type == CR_NODE_TEXT);
  CHECK_STR(cr_get_text(summary, "WebACLId"), "");
  cr_machine_free(m);

  m = answered("cloudfront", "ListDistributions", "{}", &cr_holders_view, LISTING, "");
  summary = cr_get_path(m->result.root, "DistributionList/Items")->first;
  CHECK(cr_get(summary, "Origins") == NULL && cr_get(summary, "WebACLId") == NULL);
  CHECK_STR(cr_get_text(cr_get(summary, "ViewerCertificate"), "ACMCertificateArn"), ARN);
  static const char *const kept[] = { "Id", "ARN", "Status", "LastModifiedTime", "DomainName", "Aliases", "Comment",
                                      "Enabled", "HttpVersion", "Staging" };
  for(size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
    CHECK(cr_get(summary, kept[i]) != NULL);
  }
  cr_machine_free(m);

  m = answered("cloudfront", "ListDistributions", "{}", NULL,
               "<DistributionList><IsTruncated>maybe</IsTruncated><Quantity>many</Quantity><Items/></DistributionList>",
               "");
  list = cr_get(m->result.root, "DistributionList");
  CHECK(cr_get(list, "Items")->type == CR_NODE_LIST && cr_get(list, "Items")->count == 0);
  CHECK(cr_get(list, "IsTruncated")->type == CR_NODE_TEXT && cr_get(list, "Quantity")->type == CR_NODE_TEXT);
  cr_machine_free(m);
}

static void test_cloudfront_shapes(void)
{
  const char *config = "<?xml version=\"1.0\"?>\n<cf:DistributionConfig xmlns:cf=\"" NS "\">"
                       "<cf:Enabled>true</cf:Enabled>"
                       "<!-- x --></cf:DistributionConfig>\n";
  struct cr_machine *m = answered("cloudfront", "GetDistributionConfig", "{\"Id\":\"E1\"}", NULL, config,
                                  "etag: E2QWRUHAPOMQZL\n");
  CHECK_STR(cr_get_text(m->result.root, "ETag"), "E2QWRUHAPOMQZL");
  CHECK_STR(cr_get_text(m->result.root, "Body"), config);
  CHECK(cr_get_path(m->result.root, "DistributionConfig/Enabled")->type == CR_NODE_BOOL);
  cr_machine_free(m);

  static const char *const operations[] = { "GetDistribution", "UpdateDistribution" };
  for(int i = 0; i < 2; i++) {
    m = answered("cloudfront", operations[i],
                 i ? "{\"Id\":\"E1\",\"IfMatch\":\"E\",\"DistributionConfig\":\"<x/>\"}" : "{\"Id\":\"E1\"}", NULL,
                 "<Distribution xmlns=\"" NS "\"><Id>E1</Id><Status>InProgress</Status><DistributionConfig>"
                 "<CustomErrorResponses><Quantity>1</Quantity><Items><CustomErrorResponse><ErrorCode>404</ErrorCode>"
                 "<ResponseCode>200</ResponseCode></CustomErrorResponse></Items></CustomErrorResponses>"
                 "</DistributionConfig></Distribution>", "etag: E3\n");
    const struct cr_node *distribution = cr_get(m->result.root, "Distribution");
    CHECK_STR(cr_get_text(distribution, "Status"), "InProgress");
    CHECK_STR(cr_get_text(m->result.root, "ETag"), "E3");
    CHECK(cr_get(m->result.root, "Body") == NULL);
    const struct cr_node *errors = cr_get_path(distribution, "DistributionConfig/CustomErrorResponses/Items");
    CHECK(errors->type == CR_NODE_LIST && cr_get(errors->first, "ErrorCode")->type == CR_NODE_NUMBER);
    CHECK(cr_get(errors->first, "ResponseCode")->type == CR_NODE_TEXT);
    cr_machine_free(m);
  }

  m = answered("cloudfront", "ListDistributionTenantsByCustomization", "{\"CertificateArn\":\"" ARN "\"}", NULL,
               "<ListDistributionTenantsByCustomizationResult><NextMarker>m</NextMarker><DistributionTenantList>"
               "<DistributionTenantSummary><Id>dt_1</Id><Domains><member><Domain>a.b</Domain></member></Domains>"
               "<Enabled>false</Enabled><Customizations><GeoRestrictions><Locations><Location>DE</Location></Locations>"
               "</GeoRestrictions></Customizations></DistributionTenantSummary></DistributionTenantList>"
               "</ListDistributionTenantsByCustomizationResult>", "");
  const struct cr_node *tenants = cr_get(m->result.root, "DistributionTenantList");
  CHECK_STR(cr_get_text(m->result.root, "NextMarker"), "m");
  CHECK(tenants && tenants->type == CR_NODE_LIST && tenants->count == 1);
  CHECK(cr_get(tenants->first, "Domains")->type == CR_NODE_LIST);
  CHECK(cr_get(tenants->first, "Enabled")->type == CR_NODE_BOOL);
  CHECK(cr_get_path(tenants->first, "Customizations/GeoRestrictions/Locations")->type == CR_NODE_LIST);
  cr_machine_free(m);
}

static void test_iam_shapes(void)
{
  struct cr_machine *m = answered("iam", "ListServerCertificates", "{}", NULL,
      "<ListServerCertificatesResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\">"
      "<ListServerCertificatesResult>"
      "<IsTruncated>false</IsTruncated><ServerCertificateMetadataList><member><ServerCertificateName>123"
      "</ServerCertificateName><ServerCertificateId>ASCAEXAMPLEEXAMPLEID1</ServerCertificateId></member>"
      "</ServerCertificateMetadataList></ListServerCertificatesResult><ResponseMetadata><RequestId>r</RequestId>"
      "</ResponseMetadata></ListServerCertificatesResponse>", "");
  const struct cr_node *list = cr_get(m->result.root, "ServerCertificateMetadataList");
  CHECK(list && list->type == CR_NODE_LIST && list->count == 1);
  CHECK(cr_get(list->first, "ServerCertificateName")->type == CR_NODE_TEXT);
  CHECK(cr_get(m->result.root, "IsTruncated")->type == CR_NODE_BOOL);
  cr_machine_free(m);

  m = answered("iam", "ListServerCertificates", "{}", NULL,
               "<ListServerCertificatesResponse><ListServerCertificatesResult><IsTruncated>false</IsTruncated>"
               "<ServerCertificateMetadataList/></ListServerCertificatesResult></ListServerCertificatesResponse>", "");
  CHECK(cr_get(m->result.root, "ServerCertificateMetadataList")->type == CR_NODE_LIST);
  cr_machine_free(m);

  m = answered("iam", "GetServerCertificate", "{\"ServerCertificateName\":\"w\"}", NULL,
               "<GetServerCertificateResponse><GetServerCertificateResult><ServerCertificate>"
               "<ServerCertificateMetadata><Path>/cloudfront/</Path></ServerCertificateMetadata>"
               "<CertificateBody>PEM</CertificateBody><Tags><member>"
               "<Key>Tags</Key><Value>true</Value></member></Tags></ServerCertificate></GetServerCertificateResult>"
               "</GetServerCertificateResponse>", "");
  const struct cr_node *tags = cr_get_path(m->result.root, "ServerCertificate/Tags");
  CHECK(tags && tags->type == CR_NODE_LIST && cr_get(tags->first, "Value")->type == CR_NODE_TEXT);
  cr_machine_free(m);

  m = answered("iam", "GetAccountSummary", "{}", NULL,
               "<GetAccountSummaryResponse><GetAccountSummaryResult><SummaryMap><entry><key>ServerCertificates</key>"
               "<value>3</value></entry><entry><key>ServerCertificatesQuota</key><value>20</value></entry></SummaryMap>"
               "</GetAccountSummaryResult></GetAccountSummaryResponse>", "");
  const struct cr_node *map = cr_get(m->result.root, "SummaryMap");
  CHECK(map && map->type == CR_NODE_MAP && map->count == 2);
  CHECK(cr_get_int(map, "ServerCertificates", -1) == 3 && cr_get_int(map, "ServerCertificatesQuota", -1) == 20);
  CHECK(cr_get(map, "ServerCertificates")->type == CR_NODE_NUMBER && cr_get(map, "ServerCertificates")->first == NULL);
  cr_machine_free(m);

  m = answered("iam", "DeleteServerCertificate", "{\"ServerCertificateName\":\"w\"}", NULL,
               "<DeleteServerCertificateResponse><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>"
               "</DeleteServerCertificateResponse>", "");
  CHECK(m->result.root == NULL || m->result.root->count == 0);
  cr_machine_free(m);

  m = answered("sts", "GetCallerIdentity", "{}", NULL,
               "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::111122223333:user/x</Arn>"
               "<UserId>AIDA</UserId><Account>111122223333</Account></GetCallerIdentityResult>"
               "</GetCallerIdentityResponse>", "");
  CHECK_STR(cr_get_text(m->result.root, "Account"), "111122223333");
  CHECK(cr_get(m->result.root, "Account")->type == CR_NODE_TEXT);
  cr_machine_free(m);
}

static void test_acm_shapes(void)
{
  /* As cjson leaves an empty array: a map without members. */
  struct cr_machine *m = answered("acm", "DescribeCertificate", "{\"CertificateArn\":\"" ARN "\"}", NULL,
                                  "{\"Certificate\":{\"InUseBy\":{},\"Type\":\"IMPORTED\","
                                  "\"NotAfter\":1799971199.0}}", "");
  CHECK(cr_get_path(m->result.root, "Certificate/InUseBy")->type == CR_NODE_LIST);
  CHECK(cr_get_int(cr_get(m->result.root, "Certificate"), "NotAfter", 0) == 1799971199);
  cr_machine_free(m);
  m = answered("acm", "ListCertificates", "{}", NULL, "{\"CertificateSummaryList\":{}}", "");
  CHECK(cr_get(m->result.root, "CertificateSummaryList")->type == CR_NODE_LIST);
  cr_machine_free(m);
  m = answered("acm", "ListTagsForCertificate", "{\"CertificateArn\":\"" ARN "\"}", NULL, "{\"Tags\":{}}", "");
  CHECK(cr_get(m->result.root, "Tags")->type == CR_NODE_LIST);
  cr_machine_free(m);
  m = answered("acm", "DeleteCertificate", "{\"CertificateArn\":\"" ARN "\"}", NULL, "", "");
  cr_machine_free(m);
}

/* As cjson leaves an empty array: a map without members; and one without an answer's other fields. */
static void test_quotas_and_support(void)
{
  const char *quotas = "https://servicequotas.us-east-1.amazonaws.com/", *support =
    "https://support.us-east-1.amazonaws.com/";
  check_request("servicequotas", "GetServiceQuota",
                "{\"ServiceCode\":\"cloudfront\",\"QuotaCode\":\"L-DA9DCC93\"}", "POST", quotas,
                "{\"ServiceCode\":\"cloudfront\",\"QuotaCode\":\"L-DA9DCC93\"}", NULL);
  check_request("servicequotas", "ListServiceQuotas", "{\"ServiceCode\":\"cloudfront\"}", "POST", quotas,
                "{\"ServiceCode\":\"cloudfront\",\"MaxResults\":100}", NULL);
  check_request("servicequotas", "ListRequestedServiceQuotaChangeHistory", "{\"MaxResults\":1}", "POST", quotas,
                "{\"MaxResults\":1}", NULL);
  check_request("servicequotas", "RequestServiceQuotaIncrease",
                "{\"ServiceCode\":\"cloudfront\",\"QuotaCode\":\"L-DA9DCC93\",\"DesiredValue\":3}", "POST", quotas,
                "{\"ServiceCode\":\"cloudfront\",\"QuotaCode\":\"L-DA9DCC93\",\"DesiredValue\":3}", NULL);
  check_request("support", "DescribeSeverityLevels", "{\"language\":\"en\"}", "POST", support, "{\"language\":\"en\"}",
                NULL);
  check_request("support", "DescribeCases", "{\"caseIdList\":\"case-1\",\"includeResolvedCases\":true}", "POST", support,
                "{\"caseIdList\":[\"case-1\"],\"includeResolvedCases\":true,\"maxResults\":100}", NULL);

  struct cr_error err;
  struct cr_machine *m = call_of("support", "DescribeServices", "{}", NULL, &err);
  const struct cr_request *request = request_of(m);
  CHECK_STR(header(request, "X-Amz-Target"), "AWSSupport_20130415.DescribeServices");
  CHECK(strstr(header(request, "Authorization"), "/us-east-1/support/aws4_request") != NULL);
  cr_machine_free(m);
  m = call_of("servicequotas", "ListServiceQuotas", "{\"ServiceCode\":\"cloudfront\"}", NULL, &err);
  request = request_of(m);
  CHECK_STR(header(request, "X-Amz-Target"), "ServiceQuotasV20190624.ListServiceQuotas");
  CHECK(strstr(header(request, "Authorization"), "/us-east-1/servicequotas/aws4_request") != NULL);
  cr_machine_free(m);

  m = answered("servicequotas", "ListServiceQuotas", "{\"ServiceCode\":\"cloudfront\"}", NULL, "{\"Quotas\":{}}", "");
  CHECK(cr_get(m->result.root, "Quotas")->type == CR_NODE_LIST);
  cr_machine_free(m);
  m = answered("servicequotas", "RequestServiceQuotaIncrease",
               "{\"ServiceCode\":\"c\",\"QuotaCode\":\"L\",\"DesiredValue\":3}", NULL,
               "{\"RequestedQuota\":{\"Id\":\"r\",\"DesiredValue\":3.0,\"Created\":1.768478401E9}}", "");
  CHECK(cr_get_int(cr_get(m->result.root, "RequestedQuota"), "DesiredValue", 0) == 3);
  CHECK(cr_get_int(cr_get(m->result.root, "RequestedQuota"), "Created", 0) == 1768478401);
  cr_machine_free(m);
  m = answered("support", "DescribeCases", "{}", NULL,
               "{\"cases\":[{\"caseId\":\"c\",\"ccEmailAddresses\":{},\"recentCommunications\":"
               "{\"communications\":{}}}]}", "");
  const struct cr_node *cases = cr_get(m->result.root, "cases");
  CHECK(cases && cases->type == CR_NODE_LIST && cases->count == 1);
  CHECK(cr_get(cases->first, "ccEmailAddresses")->type == CR_NODE_LIST);
  CHECK(cr_get_path(cases->first, "recentCommunications/communications")->type == CR_NODE_LIST);
  cr_machine_free(m);
  m = answered("support", "DescribeServices", "{}", NULL,
               "{\"services\":[{\"code\":\"amazon-cloudfront\",\"categories\":{}}]}", "");
  CHECK(cr_get(cr_get(m->result.root, "services")->first, "categories")->type == CR_NODE_LIST);
  cr_machine_free(m);
}

/* Where a bucket is decides the URL, and with it the signature. */
static void s3_at(const char *endpoint, const char *region)
{
  struct cr_error err;
  CHECK(cr_account_set_endpoint(account, CR_S3, endpoint, region, &err) == 0);
}

#define RECORD "{\"owner\":\"a\"}"
#define PUT(condition) \
  "{\"Bucket\":\"rot-journal\",\"Key\":\"locks/acct 1.json\",\"ContentType\":\"application/json\"," condition \
  ",\"Body\":\"{\\\"owner\\\":\\\"a\\\"}\"}"

static void test_s3_requests(void)
{
  s3_at("https://s3.amazonaws.com", "us-east-1");
  check_request("s3", "PutObject", PUT("\"IfNoneMatch\":\"*\""), "PUT",
                "https://rot-journal.s3.amazonaws.com/locks/acct%201.json", RECORD,
                "08c1545c4c3aab07fa51bb34d8f0adfda4d8b840261b662284b6f9235ecabe6c");
  check_request("s3", "PutObject", PUT("\"IfMatch\":\"\\\"6805f2cfc46c0f04559748bb039d69ae\\\"\""), "PUT",
                "https://rot-journal.s3.amazonaws.com/locks/acct%201.json", RECORD,
                "36eb916a48808466af7032e7639c3063cc4dfc6bf610c9f533a1600a56c37fbb");
  s3_at("https://s3.eu-west-1.amazonaws.com", "eu-west-1");
  check_request("s3", "GetObject", "{\"Bucket\":\"b-1\",\"Key\":\"a//b/../c+d\"}", "GET",
                "https://b-1.s3.eu-west-1.amazonaws.com/a//b/../c%2Bd", "", NULL);
  check_request("s3", "DeleteObject", "{\"Bucket\":\"b.1\",\"Key\":\"k\"}", "DELETE",
                "https://s3.eu-west-1.amazonaws.com/b.1/k", "", NULL);
  check_request("s3", "ListObjectsV2", "{\"Bucket\":\"b-1\",\"Prefix\":\"a/b\",\"ContinuationToken\":\"x=\"}", "GET",
                "https://b-1.s3.eu-west-1.amazonaws.com/?list-type=2&prefix=a%2Fb&continuation-token=x%3D", "", NULL);
  s3_at("http://127.0.0.1:8080", "us-east-1");
  check_request("s3", "ListObjectsV2", "{\"Bucket\":\"b-1\"}", "GET", "http://127.0.0.1:8080/b-1/?list-type=2", "", NULL);
  check_request("s3", "PutObject", "{\"Bucket\":\"b-1\",\"Key\":\"empty\"}", "PUT", "http://127.0.0.1:8080/b-1/empty", "",
                NULL);
  s3_at("https://s3.us-east-1.amazonaws.com.example", "us-east-1");
  check_request("s3", "GetObject", "{\"Bucket\":\"b-1\",\"Key\":\"k\"}", "GET",
                "https://s3.us-east-1.amazonaws.com.example/b-1/k", "", NULL);
  static const char *const names[] = { "ab", "A-b", "-ab", "ab-", "a..b", "a/b", "a?b", "" };
  for(size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    char params[80];
    struct cr_error err;
    snprintf(params, sizeof params, "{\"Bucket\":\"%s\",\"Key\":\"k\"}", names[i]);
    struct cr_machine *m = call_of("s3", "GetObject", params, NULL, &err);
    CHECK(m == NULL && err.kind == CR_KIND_INPUT && strstr(err.message, "Bucket") != NULL);
    cr_machine_free(m);
  }
}

#define S3_NS "http://s3.amazonaws.com/doc/2006-03-01/"
#define OBJECT(key) \
  "<Contents><Key>" key "</Key><LastModified>2026-01-15T12:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag>" \
  "<Size>7</Size></Contents>"

static void test_s3_shapes(void)
{
  static const char dates[] = "date: Thu, 15 Jan 2026 12:00:09 GMT\nlast-modified: Thu, 15 Jan 2026 12:00:00 GMT\n"
                              "etag: \"e1\"\n";
  s3_at("https://s3.us-east-1.amazonaws.com", "us-east-1");
  struct cr_machine *m = answered("s3", "GetObject", "{\"Bucket\":\"b-1\",\"Key\":\"k\"}", NULL, "<not XML & no document",
                                  dates);
  CHECK_STR(cr_get_text(m->result.root, "Body"), "<not XML & no document");
  CHECK_STR(cr_get_text(m->result.root, "ETag"), "\"e1\"");
  CHECK(cr_get_int(m->result.root, "Date", 0) == NOW + 9 && cr_get_int(m->result.root, "LastModified", 0) == NOW);
  cr_machine_free(m);
  m = answered("s3", "GetObject", "{\"Bucket\":\"b-1\",\"Key\":\"k\"}", NULL, "", "");
  CHECK_STR(cr_get_text(m->result.root, "Body"), "");
  CHECK(!cr_get(m->result.root, "Date"));
  cr_machine_free(m);
  m = answered("s3", "ListObjectsV2", "{\"Bucket\":\"b-1\"}", NULL,
               "<ListBucketResult xmlns=\"" S3_NS "\"><Name>b-1</Name>" OBJECT("k1") "<KeyCount>2</KeyCount>" OBJECT("k2")
               "<IsTruncated>true</IsTruncated></ListBucketResult>", dates);
  const struct cr_node *list = cr_get(m->result.root, "Contents");
  CHECK(list && list->type == CR_NODE_LIST && list->count == 2);
  CHECK_STR(cr_get_text(list->first, "Key"), "k1");
  CHECK_STR(cr_get_text(list->last, "Key"), "k2");
  CHECK(cr_get(list->first, "Size")->type == CR_NODE_NUMBER && !list->last->next);
  CHECK_STR(cr_get_text(m->result.root, "Name"), "b-1");
  CHECK(cr_get_int(m->result.root, "KeyCount", 0) == 2 && cr_get_bool(m->result.root, "IsTruncated", false));
  cr_machine_free(m);
  m = answered("s3", "ListObjectsV2", "{\"Bucket\":\"b-1\"}", NULL,
               "<ListBucketResult xmlns=\"" S3_NS "\"><Name>b-1</Name><IsTruncated>false</IsTruncated></ListBucketResult>", "");
  list = cr_get(m->result.root, "Contents");
  CHECK(list && list->type == CR_NODE_LIST && list->count == 0);
  cr_machine_free(m);
}

int main(void)
{
  struct cr_error err;
  account = cr_account_new(&err);
  CHECK(account != NULL);
  CHECK(cr_account_set_credentials(account, "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", NULL, 0, &err) ==
        0);
  CHECK(cr_account_set_endpoint(account, CR_CLOUDFRONT, "https://cloudfront.amazonaws.com", "us-east-1", &err) == 0);
  CHECK(cr_account_set_endpoint(account, CR_IAM, "https://iam.amazonaws.com", "us-east-1", &err) == 0);
  CHECK(cr_account_set_endpoint(account, CR_ACM, "https://acm.us-east-1.amazonaws.com", "us-east-1", &err) == 0);
  CHECK(cr_account_set_endpoint(account, CR_STS, "https://sts.us-east-1.amazonaws.com", "us-east-1", &err) == 0);
  CHECK(cr_account_set_endpoint(account, CR_QUOTAS, "https://servicequotas.us-east-1.amazonaws.com", "us-east-1", &err) ==
        0);
  CHECK(cr_account_set_endpoint(account, CR_SUPPORT, "https://support.us-east-1.amazonaws.com", "us-east-1", &err) == 0);
  test_cloudfront_requests();
  test_headers();
  test_query_requests();
  test_acm_requests();
  test_refusals();
  test_tables();
  test_listing_shape();
  test_cloudfront_shapes();
  test_iam_shapes();
  test_acm_shapes();
  test_quotas_and_support();
  test_s3_requests();
  test_s3_shapes();
  cr_account_unref(account);
  return check_end();
}
