/* test_call.c - requests as they go out (golden signatures from botocore) and answers as they come in, one call at a
 * time, without a network. Retries are test_retry.c's. */
#include "call_script.h"
#include "check.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#define ARN "arn:aws:acm:us-east-1:111122223333:certificate/11111111-2222-3333-4444-555555555555"

struct golden {
  const char *service, *operation, *token;
  const char *const *params;
  const char *url, *method, *body, *signature;
};

static void check_golden(const struct golden *golden)
{
  struct cr_account *account = script_account(golden->token);
  struct script s;
  bool good = script_begin(&s, account, golden->service, golden->operation, golden->params);
  CHECK(good);
  if(good) {
    CHECK(script_need(&s) == CR_NEED_SEND);
    CHECK_STR(s.want.request->url, golden->url);
    CHECK_STR(s.want.request->method, golden->method);
    CHECK_STR(script_body(&s), golden->body);
    CHECK_STR(script_signature(&s), golden->signature);
    CHECK_STR(script_header(&s, "X-Amz-Date"), "20260115T120000Z");
    CHECK(golden->token ? cr_streq(script_header(&s, "X-Amz-Security-Token"), golden->token)
                        : !script_header(&s, "X-Amz-Security-Token"));
  } else {
    printf("  %s: %s\n", golden->operation, s.error.message);
  }
  script_end(&s);
  cr_account_unref(account);
}

static void test_golden(void)
{
  static const char token[] = "AQoDYXdzEXAMPLETOKEN//+==";
  const struct golden table[] = {
      {"cloudfront", "ListDistributions", NULL, PAIRS("MaxItems=#100"),
       "https://cloudfront.amazonaws.com/2020-05-31/distribution?MaxItems=100", "GET", "",
       "9de915197643ad0e18fe7e0990c8c41554d985367dbd33605d688b19010f440e"},
      {"cloudfront", "ListDistributions", NULL, PAIRS("MaxItems=100", "Marker=E1ABC"),
       "https://cloudfront.amazonaws.com/2020-05-31/distribution?Marker=E1ABC&MaxItems=100", "GET", "",
       "09770960bfa026b1a7bfead52100b9e29fc56bcaf5f49d687e79d2d1832f87b2"},
      {"cloudfront", "GetDistributionConfig", NULL, PAIRS("Id=EDFDVBD6EXAMPLE"),
       "https://cloudfront.amazonaws.com/2020-05-31/distribution/EDFDVBD6EXAMPLE/config", "GET", "",
       "2aa82458555d81f98c11771abcaa65fa2af176ac293160d0a9cdf702f3032a46"},
      {"cloudfront", "GetDistributionConfig", token, PAIRS("Id=EDFDVBD6EXAMPLE"),
       "https://cloudfront.amazonaws.com/2020-05-31/distribution/EDFDVBD6EXAMPLE/config", "GET", "",
       "152dcf17f9025ddd69cd2cfdb9ab147fd5d033f20f11c809af1f630c73c93160"},
      {"cloudfront", "GetDistribution", NULL, PAIRS("Id=EDFDVBD6EXAMPLE"),
       "https://cloudfront.amazonaws.com/2020-05-31/distribution/EDFDVBD6EXAMPLE", "GET", "",
       "cddd8a0c1864544b30092a99837597661ef4dfa928d808c411bd23fb45b787a6"},
      {"cloudfront", "ListTagsForResource", NULL,
       PAIRS("Resource=arn:aws:cloudfront::111122223333:distribution/EDFDVBD6EXAMPLE"),
       "https://cloudfront.amazonaws.com/2020-05-31/tagging"
       "?Resource=arn%3Aaws%3Acloudfront%3A%3A111122223333%3Adistribution%2FEDFDVBD6EXAMPLE",
       "GET", "", "4f482399a72ecbad8afc75eca526dcd705ddb9e66511de6106886eead977de1d"},
      {"cloudfront", "UpdateDistribution", NULL,
       PAIRS("Id=EDFDVBD6EXAMPLE", "IfMatch=E2QWRUHAPOMQZL",
             "DistributionConfig=<DistributionConfig "
             "xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><Comment/></DistributionConfig>"),
       "https://cloudfront.amazonaws.com/2020-05-31/distribution/EDFDVBD6EXAMPLE/config", "PUT",
       "<DistributionConfig xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><Comment/></DistributionConfig>",
       "2eddec6b6842f7de920a225e1f38b8fcdc2585ca65d28fbf413157e57c7c6a3b"},
      {"cloudfront", "ListDistributionTenantsByCustomization", NULL, PAIRS("CertificateArn=" ARN),
       "https://cloudfront.amazonaws.com/2020-05-31/distribution-tenants-by-customization", "POST",
       "<ListDistributionTenantsByCustomizationRequest "
       "xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><CertificateArn>" ARN
       "</CertificateArn><MaxItems>100</MaxItems></ListDistributionTenantsByCustomizationRequest>",
       NULL},
      {"iam", "ListServerCertificates", NULL, PAIRS("PathPrefix=/cloudfront/", "MaxItems=#100"),
       "https://iam.amazonaws.com/", "POST",
       "Action=ListServerCertificates&Version=2010-05-08&PathPrefix=%2Fcloudfront%2F&MaxItems=100",
       "a372d93377016e45c0a00a62ca3d6c053885063894e651a3b9a0a2ab32731e5c"},
      {"iam", "DeleteServerCertificate", token, PAIRS("ServerCertificateName=www-example-com-20250115"),
       "https://iam.amazonaws.com/", "POST",
       "Action=DeleteServerCertificate&Version=2010-05-08&ServerCertificateName=www-example-com-20250115",
       "e5c3eecd5f3c3a1de21d9747e1c677e9aaee884b3d8071caa2b02bd9cfc9419f"},
      {"sts", "GetCallerIdentity", NULL, NULL, "https://sts.us-east-1.amazonaws.com/", "POST",
       "Action=GetCallerIdentity&Version=2011-06-15",
       "7f2d536d7155649ac13e0d3d0ca3f176a9866596337bcccbe6661bff6d48f92d"},
      {"acm", "DescribeCertificate", NULL, PAIRS("CertificateArn=" ARN), "https://acm.us-east-1.amazonaws.com/", "POST",
       "{\"CertificateArn\":\"" ARN "\"}", "e308431f18c801dcd9b2bfa3af2227db4b76b58eb9c8ec7954a97a6e1b1d50f2"},
      {"acm", "ListCertificates", NULL, NULL, "https://acm.us-east-1.amazonaws.com/", "POST",
       "{\"MaxItems\":1000,\"Includes\":{\"keyTypes\":[\"RSA_1024\",\"RSA_2048\",\"RSA_3072\",\"RSA_4096\","
       "\"EC_prime256v1\",\"EC_secp384r1\",\"EC_secp521r1\"]}}",
       "d2a6b775008f6e0e5c2ad8077a953808e29249c33c138c2b7732ef00db3ffddf"},
  };
  for(size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
    if(!table[i].signature) {
      struct script s; /* Content-Type is signed here and not in the reference: only what it says is compared */
      CHECK(script_begin(&s, NULL, table[i].service, table[i].operation, table[i].params) &&
            script_need(&s) == CR_NEED_SEND);
      CHECK_STR(script_body(&s), table[i].body);
      CHECK_STR(script_header(&s, "Content-Type"), "application/xml");
      script_end(&s);
      continue;
    }
    check_golden(&table[i]);
  }
}

/* Lists of the query protocol, with everything in them that has to be escaped. */
static void test_form_lists(void)
{
  struct cr_account *account = script_account("AQoDYXdzEXAMPLETOKEN//+==");
  struct cr_tree tree;
  struct script s;
  cr_tree_init(&tree, 1 << 16);
  struct cr_node *root = cr_node_add(&tree, NULL, NULL, CR_NODE_MAP);
  cr_add_text(&tree, root, "ServerCertificateName", "a b");
  struct cr_node *tags = cr_node_add(&tree, root, "Tags", CR_NODE_LIST);
  struct cr_node *tag = cr_node_add(&tree, tags, NULL, CR_NODE_MAP);
  cr_add_text(&tree, tag, "Key", "k=1");
  cr_add_text(&tree, tag, "Value", "v/1");
  tag = cr_node_add(&tree, tags, NULL, CR_NODE_MAP);
  cr_add_text(&tree, tag, "Key", "k2");
  cr_add_text(&tree, tag, "Value", "");
  CHECK(script_new(&s, account, "iam", "TagServerCertificate", root, NULL, NULL, 0) && script_need(&s) == CR_NEED_SEND);
  CHECK_STR(script_body(&s),
            "Action=TagServerCertificate&Version=2010-05-08&ServerCertificateName=a%20b&Tags.member.1.Key=k%3D1"
            "&Tags.member.1.Value=v%2F1&Tags.member.2.Key=k2&Tags.member.2.Value=");
  CHECK_STR(script_signature(&s), "a51c9cf1b3a730cdf1b34199896986abe570186aaa579476b248254247b9c2d1");
  CHECK_STR(script_header(&s, "Content-Type"), "application/x-www-form-urlencoded; charset=utf-8");
  script_end(&s);
  cr_tree_free(&tree);
  cr_account_unref(account);
}

/* An empty Lua table may come as a map or a list; what the row calls a list goes out as one. */
static void test_json_lists(void)
{
  struct cr_tree tree;
  struct script s;
  cr_tree_init(&tree, 1 << 16);
  struct cr_node *root = cr_node_add(&tree, NULL, NULL, CR_NODE_MAP);
  cr_add_text(&tree, root, "CertificateArn", ARN);
  cr_node_add(&tree, root, "Tags", CR_NODE_MAP);
  CHECK(script_new(&s, NULL, "acm", "AddTagsToCertificate", root, NULL, NULL, 0) && script_need(&s) == CR_NEED_SEND);
  CHECK_STR(script_body(&s), "{\"CertificateArn\":\"" ARN "\",\"Tags\":[]}");
  CHECK_STR(script_header(&s, "X-Amz-Target"), "CertificateManager.AddTagsToCertificate");
  CHECK_STR(script_header(&s, "Content-Type"), "application/x-amz-json-1.1");
  script_end(&s);
  cr_tree_free(&tree);
}

static void refused(const char *service, const char *operation, const char *const *params, const char *code,
                    const char *says)
{
  struct script s;
  CHECK(!script_begin(&s, NULL, service, operation, params));
  CHECK(s.error.kind == CR_KIND_INPUT);
  CHECK_STR(s.error.code, code);
  CHECK(strstr(s.error.message, says) && strstr(s.error.operation, operation));
  if(!strstr(s.error.message, says)) {
    printf("  the message was: %s\n", s.error.message);
  }
  cr_account_unref(s.account);
}

static void test_misuse(void)
{
  refused("cloudfront", "GetDistribution", NULL, "MissingParameter", "GetDistribution needs the parameter Id");
  refused("cloudfront", "GetDistribution", PAIRS("Id="), "MissingParameter", "Id");
  refused("cloudfront", "GetDistribution", PAIRS("Id=.."), "InvalidParameter", "Id must not be \"..\"");
  refused("cloudfront", "GetDistribution", PAIRS("Id=E1", "id=E1"), "UnknownParameter", "has no parameter \"id\"");
  refused("cloudfront", "UpdateDistribution", PAIRS("Id=E1", "DistributionConfig=<a/>"), "MissingParameter", "IfMatch");
  refused("cloudfront", "UpdateDistribution", PAIRS("Id=E1", "DistributionConfig=<a/>", "IfMatch=E\r\nX: y"),
          "InvalidParameter", "IfMatch contains a line end");
  refused("acm", "DescribeCertificate", NULL, "MissingParameter", "CertificateArn");
  refused("acm", "DescribeCertificate", PAIRS("CertificateArn=\xff"), "InvalidText", "UTF-8");
  refused("acm", "ImportCertificate", NULL, "MissingIdentity", "needs an identity");
  struct script s;
  CHECK(script_begin(&s, NULL, "cloudfront", "GetDistribution", PAIRS("Id=a/b c%?#..\xc3\xa9")) &&
        script_need(&s) == CR_NEED_SEND);
  CHECK_STR(s.want.request->url, "https://cloudfront.amazonaws.com/2020-05-31/distribution/a%2Fb%20c%25%3F%23..%C3%A9");
  script_end(&s);
  struct cr_error err;
  struct cr_account *bare = cr_account_new(&err);
  CHECK(!script_begin(&s, bare, "cloudfront", "ListDistributions", NULL));
  CHECK_STR(s.error.code, "NoEndpoint");
  cr_account_unref(s.account);
  cr_account_unref(bare);
}

static void test_anonymous(void)
{
  struct cr_account *account = script_account(NULL);
  struct cr_error err;
  struct script s;
  CHECK(cr_account_set_credentials(account, NULL, NULL, NULL, 0, &err) == 0);
  CHECK(script_begin(&s, account, "sts", "GetCallerIdentity", NULL) && script_need(&s) == CR_NEED_SEND);
  CHECK(!script_header(&s, "Authorization") && !script_header(&s, "X-Amz-Date"));
  script_end(&s);
  cr_account_unref(account);
}

/* Asked again before an answer, the request is signed for that moment with the credentials of that moment. */
static void test_signed_late(void)
{
  struct script s;
  struct cr_error err;
  char first[80];
  CHECK(script_begin(&s, NULL, "cloudfront", "GetDistribution", PAIRS("Id=E1")) && script_need(&s) == CR_NEED_SEND);
  snprintf(first, sizeof first, "%s", script_signature(&s));
  CHECK(script_need(&s) == CR_NEED_SEND);
  CHECK_STR(script_signature(&s), first);
  s.now.unix_ms += 61000;
  CHECK(script_need(&s) == CR_NEED_SEND);
  CHECK(strcmp(script_signature(&s), first) != 0);
  CHECK_STR(script_header(&s, "X-Amz-Date"), "20260115T120101Z");
  CHECK(cr_account_set_credentials(s.account, "AKIDOTHER", "other", "token", 0, &err) == 0);
  CHECK(script_need(&s) == CR_NEED_SEND);
  CHECK(strstr(script_header(&s, "Authorization"), "Credential=AKIDOTHER/20260115/us-east-1/cloudfront/aws4_request"));
  CHECK_STR(script_header(&s, "X-Amz-Security-Token"), "token");
  script_end(&s);
}

/* ---- answers ---- */

#define CONFIG "<?xml version=\"1.0\"?>\n<DistributionConfig xmlns=\"http://x/\"><!-- c --><Enabled>true</Enabled>" \
  "<Aliases><Quantity>1</Quantity><Items><CNAME>a.example</CNAME></Items></Aliases></DistributionConfig>\n"

static void test_rest_answers(void)
{
  struct script s;
  CHECK(script_begin(&s, NULL, "cloudfront", "GetDistributionConfig", PAIRS("Id=E1")) &&
        script_need(&s) == CR_NEED_SEND);
  CHECK(s.want.request->sink == NULL && !s.want.request->once);
  script_answer(&s, 200, "etag: E2QWRUHAPOMQZL\nx-amzn-requestid: r-1\n", CONFIG);
  CHECK(script_need(&s) == CR_NEED_DONE && script_need(&s) == CR_NEED_DONE);
  CHECK_STR(cr_get_text(s.m->result.root, "ETag"), "E2QWRUHAPOMQZL");
  CHECK_STR(cr_get_text(s.m->result.root, "Body"), CONFIG);
  const struct cr_node *config = cr_get(s.m->result.root, "DistributionConfig");
  CHECK(cr_get_bool(config, "Enabled", false) && cr_get(config, "Enabled")->type == CR_NODE_BOOL);
  CHECK(cr_get_path(config, "Aliases/Items")->type == CR_NODE_LIST);
  CHECK_STR(cr_get_path(config, "Aliases/Items")->first->text, "a.example");
  struct cr_attempt attempt;
  CHECK(cr_machine_attempt(s.m, &attempt) && !cr_machine_attempt(s.m, &attempt));
  CHECK(attempt.attempt == 1 && attempt.status == 200 && !attempt.throttled && !attempt.code[0]);
  CHECK_STR(attempt.request_id, "r-1");
  CHECK_STR(attempt.operation, "cloudfront:GetDistributionConfig");
  CHECK(s.account->retry_tokens == 500); /* never above its capacity */
  script_end(&s);

  CHECK(script_begin(&s, NULL, "cloudfront", "ListDistributions", NULL) && script_need(&s) == CR_NEED_SEND);
  CHECK(s.want.request->sink != NULL);
  script_answer(&s, 200, "",
                "<DistributionList><IsTruncated>false</IsTruncated><Quantity>0</Quantity></DistributionList>");
  CHECK(script_need(&s) == CR_NEED_DONE);
  CHECK(cr_get_path(s.m->result.root, "DistributionList/IsTruncated")->type == CR_NODE_BOOL);
  CHECK(cr_get(s.m->result.root, "ETag") == NULL && cr_get(s.m->result.root, "Body") == NULL);
  script_end(&s);
}

static void test_view(void)
{
  struct script s;
  CHECK(script_new(&s, NULL, "cloudfront", "ListDistributions", NULL, NULL, &cr_holders_view, 0) &&
        script_need(&s) == CR_NEED_SEND);
  script_answer(
      &s, 200, "",
      "<DistributionList><Quantity>1</Quantity><Items><DistributionSummary><Id>E1</Id><Origins><A>no</A>"
      "</Origins><ViewerCertificate><Certificate>c</Certificate></ViewerCertificate></DistributionSummary></Items>"
      "</DistributionList>");
  CHECK(script_need(&s) == CR_NEED_DONE);
  const struct cr_node *items = cr_get_path(s.m->result.root, "DistributionList/Items");
  CHECK(items && items->count == 1 && !cr_get(items->first, "Origins"));
  CHECK_STR(cr_get_text(items->first, "Id"), "E1");
  CHECK_STR(cr_get_text(cr_get(items->first, "ViewerCertificate"), "Certificate"), "c");
  script_end(&s);
}

static void test_query_answers(void)
{
  struct script s;
  CHECK(script_begin(&s, NULL, "iam", "ListServerCertificates", NULL) && script_need(&s) == CR_NEED_SEND);
  script_answer(&s, 200, "", "<ListServerCertificatesResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\">"
                "<ListServerCertificatesResult><IsTruncated>false</IsTruncated><ServerCertificateMetadataList><member>"
                "<ServerCertificateId>ASCA1</ServerCertificateId></member></ServerCertificateMetadataList>"
                "</ListServerCertificatesResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>"
                "</ListServerCertificatesResponse>");
  CHECK(script_need(&s) == CR_NEED_DONE);
  const struct cr_node *list = cr_get(s.m->result.root, "ServerCertificateMetadataList");
  CHECK(list && list->type == CR_NODE_LIST && list->count == 1 && !cr_get(s.m->result.root, "ResponseMetadata"));
  CHECK_STR(cr_get_text(list->first, "ServerCertificateId"), "ASCA1");
  script_end(&s);

  CHECK(script_begin(&s, NULL, "iam", "DeleteServerCertificate", PAIRS("ServerCertificateName=n")) &&
        script_need(&s) == CR_NEED_SEND);
  CHECK(s.want.request->once); /* must not be repeated by libcurl either */
  script_answer(&s, 200, "",
                "<DeleteServerCertificateResponse><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>"
                "</DeleteServerCertificateResponse>");
  CHECK(script_need(&s) == CR_NEED_DONE && s.m->error.kind == CR_KIND_NONE);
  script_end(&s);
}

static void test_json_answers(void)
{
  struct script s;
  CHECK(script_begin(&s, NULL, "acm", "DescribeCertificate", PAIRS("CertificateArn=" ARN)) &&
        script_need(&s) == CR_NEED_SEND);
  script_answer(&s, 200, "x-amzn-requestid: r\n", "{\"Certificate\":\"x\"}");
  CHECK(script_need(&s) == CR_NEED_DECODE && script_need(&s) == CR_NEED_DECODE);
  CHECK(s.want.json_len == 19 && memcmp(s.want.json, "{\"Certificate\":\"x\"}", 19) == 0);
  script_decode(&s, PAIRS("Certificate=x"));
  CHECK(script_need(&s) == CR_NEED_DONE);
  CHECK_STR(cr_get_text(s.m->result.root, "Certificate"), "x");
  script_end(&s);

  CHECK(script_begin(&s, NULL, "acm", "DeleteCertificate", PAIRS("CertificateArn=" ARN)) &&
        script_need(&s) == CR_NEED_SEND);
  script_answer(&s, 200, "", "");
  CHECK(script_need(&s) == CR_NEED_DONE);
  script_end(&s);

  CHECK(script_begin(&s, NULL, "acm", "DescribeCertificate", PAIRS("CertificateArn=" ARN)) &&
        script_need(&s) == CR_NEED_SEND);
  script_answer(&s, 400, "", "{\"__type\":...}");
  CHECK(script_need(&s) == CR_NEED_DECODE);
  script_decode(&s, PAIRS("__type=com.amazonaws.acm#ResourceNotFoundException", "message=gone"));
  CHECK(script_need(&s) == CR_NEED_FAILED && s.m->error.kind == CR_KIND_SERVICE && s.m->error.status == 400);
  CHECK_STR(s.m->error.code, "ResourceNotFoundException");
  CHECK_STR(s.m->error.message, "gone");
  CHECK_STR(s.m->error.operation, "acm:DescribeCertificate");
  CHECK(s.m->result.root == NULL && !s.m->error.retryable && !s.m->error.ambiguous);
  script_end(&s);

  CHECK(script_begin(&s, NULL, "acm", "DescribeCertificate", PAIRS("CertificateArn=" ARN)) &&
        script_need(&s) == CR_NEED_SEND);
  script_answer(&s, 403, "", "<html>");
  CHECK(script_need(&s) == CR_NEED_DECODE);
  script_decode(&s, NULL);
  CHECK(script_need(&s) == CR_NEED_FAILED);
  CHECK_STR(s.m->error.code, "HTTP403");
  script_end(&s);
}

/* A 2xx that cannot be right is tried again, then told; it never counts as an empty listing. */
static void test_garbage(void)
{
  static const struct { const char *operation, *body, *code; } table[] = {
    { "ListDistributions", "", "EmptyAnswer" },
    { "ListDistributions", "<DistributionList><Items><DistributionSum", "XmlTruncated" },
    { "ListDistributions", "<html><body>captive portal", "XmlTruncated" },
    { "ListDistributions", "<html><body>captive portal</body></html>", "UnexpectedAnswer" },
    { "ListDistributions", "<DistributionList>some text</DistributionList>", "UnexpectedAnswer" },
    { "ListDistributions", "{}", "XmlMalformed" },
    { "ListDistributions", "<!DOCTYPE x><DistributionList/>", "XmlDoctype" },
    { "ListDistributions", "<DistributionList></DistributionLis>", "XmlMalformed" },
  };
  for(size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
    struct script s;
    CHECK(script_begin(&s, NULL, "cloudfront", table[i].operation, NULL));
    for(int attempt = 0; attempt < 3; attempt++) {
      CHECK(script_need(&s) == CR_NEED_SEND);
      script_answer(&s, 200, "", table[i].body);
      if(attempt < 2) {
        CHECK(script_need(&s) == CR_NEED_WAIT);
        script_wait(&s);
      }
    }
    CHECK(script_need(&s) == CR_NEED_FAILED && s.m->error.kind == CR_KIND_PARSE && s.m->result.root == NULL);
    CHECK_STR(s.m->error.code, table[i].code);
    CHECK(strstr(s.m->error.message, "the answer cannot be used") && strstr(s.m->error.message, "after 3 attempts"));
    script_end(&s);
  }
  struct script s;
  CHECK(script_begin(&s, NULL, "cloudfront", "ListDistributions", NULL) && script_need(&s) == CR_NEED_SEND);
  script_answer(&s, 200, "", "<DistributionList><Items>");
  CHECK(script_need(&s) == CR_NEED_WAIT);
  script_wait(&s);
  CHECK(script_need(&s) == CR_NEED_SEND);
  script_answer(&s, 200, "", "<DistributionList/>"); /* nothing of the torn one is left */
  CHECK(script_need(&s) == CR_NEED_DONE && cr_get(s.m->result.root, "DistributionList")->count == 0);
  script_end(&s);
}

/* ---- identities ---- */

static struct cr_identity *make_identity(char *key_line, size_t size)
{
  struct cr_identity_source source = { 0 };
  struct cr_error err;
  EVP_PKEY *key = EVP_EC_gen("P-256");
  X509 *certificate = X509_new();
  BIO *key_bio = BIO_new(BIO_s_mem()), *bio = BIO_new(BIO_s_mem());
  char *text;

  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 7);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 86400);
  X509_set_pubkey(certificate, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC, (const unsigned char *)"a+b", -1,
                             -1, 0);
  X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
  X509_sign(certificate, key, EVP_sha256());
  PEM_write_bio_X509(bio, certificate);
  PEM_write_bio_PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL);
  source.certificate_pem_len = (size_t)BIO_get_mem_data(bio, &text);
  source.certificate_pem = text;
  source.private_key_pem_len = (size_t)BIO_get_mem_data(key_bio, &text);
  source.private_key_pem = text;
  snprintf(key_line, size, "%.64s", strchr(text, '\n') + 1);
  struct cr_identity *identity = cr_identity_load(&source, &err);
  if(!identity) {
    printf("no identity: %s\n", err.message);
    exit(1);
  }
  BIO_free(bio);
  OPENSSL_cleanse(text, source.private_key_pem_len);
  BIO_free(key_bio);
  X509_free(certificate);
  EVP_PKEY_free(key);
  return identity;
}

/* The value of a JSON member or a form field, decoded into out. */
static size_t json_member(const char *body, const char *name, char *out)
{
  char key[64];
  snprintf(key, sizeof key, "\"%s\":\"", name);
  const char *at = strstr(body, key);
  if(!at) {
    return 0;
  }
  at += strlen(key);
  size_t len = strcspn(at, "\"");
  int bytes = EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)at, (int)len);
  while(len && at[len - 1] == '=') {
    bytes--;
    len--;
  }
  out[bytes > 0 ? bytes : 0] = '\0';
  return bytes > 0 ? (size_t)bytes : 0;
}

static size_t form_field(const char *body, const char *name, char *out)
{
  char key[64];
  size_t len = 0;
  snprintf(key, sizeof key, "&%s=", name);
  const char *at = strstr(body, key);
  for(at = at ? at + strlen(key) : ""; *at && *at != '&'; at++) {
    unsigned byte = (unsigned char)*at;
    if(*at == '%') {
      sscanf(at + 1, "%2x", &byte);
      at += 2;
    }
    out[len++] = (char)byte;
  }
  out[len] = '\0';
  return len;
}

static bool is_in_heap(const void *pointer)
{
  FILE *maps = fopen("/proc/self/maps", "r");
  char line[512];
  bool found = false;
  while(fgets(line, sizeof line, maps)) {
    unsigned long begin, end, at = (unsigned long)pointer;
    found = found || (strstr(line, "[heap]") && sscanf(line, "%lx-%lx", &begin, &end) == 2 && at >= begin && at < end);
  }
  fclose(maps);
  return found;
}

/* Looks for a text in this process's heap without holding it there itself. */
static int count_in_heap(const char *masked, size_t len)
{
  static char window[1 << 16];
  FILE *maps = fopen("/proc/self/maps", "r"), *memory = fopen("/proc/self/mem", "r");
  char line[512];
  int found = 0;
  setvbuf(memory, NULL, _IONBF, 0);
  while(fgets(line, sizeof line, maps)) {
    unsigned long begin, end;
    if(sscanf(line, "%lx-%lx rw-p", &begin, &end) != 2 || !strstr(line, "[heap]")) {
      continue;
    }
    for(unsigned long at = begin; at < end; at += sizeof window / 2) {
      fseek(memory, (long)at, SEEK_SET);
      size_t got = fread(window, 1, end - at < sizeof window ? end - at : sizeof window, memory);
      for(size_t i = 0; i + len <= got && i < sizeof window / 2; i++) {
        size_t same = 0;
        while(same < len && (window[i + same] ^ 0x55) == masked[same]) {
          same++;
        }
        found += same == len;
      }
    }
  }
  fclose(maps);
  fclose(memory);
  return found;
}

static void test_identity_bodies(void)
{
  static char decoded[8192], masked[64], key_line[80];
  struct cr_identity *identity = make_identity(key_line, sizeof key_line);
  struct cr_buf key;
  struct script s;
  char *copy;

  cr_buf_init(&key, 8192);
  CHECK(cr_identity_private_key_pem(identity, &key, NULL) == 0);
  struct cr_tree tree;
  cr_tree_init(&tree, 1 << 16);
  script_params(&tree, PAIRS("CertificateArn=" ARN));
  CHECK(script_new(&s, NULL, "acm", "ImportCertificate", tree.root, identity, NULL, 0));
  for(int round = 0; round < 2; round++) { /* a throttled import is made anew */
    CHECK(script_need(&s) == CR_NEED_SEND && s.want.request->once);
    CHECK(strstr(script_body(&s), "{\"CertificateArn\":\"" ARN "\",\"Certificate\":\"LS0t") == script_body(&s));
    CHECK(json_member(script_body(&s), "PrivateKey", decoded) == key.len && strcmp(decoded, key.data) == 0);
    CHECK(json_member(script_body(&s), "Certificate", decoded) &&
          strcmp(decoded, cr_identity_certificate_pem(identity)) == 0);
    CHECK(!strstr(script_body(&s), "CertificateChain")); /* it has none */
    CHECK(script_body(&s)[s.want.request->body_len - 1] == '}');
    script_answer(&s, 400, "x-amzn-errortype: ThrottlingException\n", "");
    CHECK(script_need(&s) == CR_NEED_WAIT);
    script_wait(&s);
  }
  script_end(&s);
  cr_tree_free(&tree);

  cr_tree_init(&tree, 1 << 16);
  script_params(&tree, PAIRS("ServerCertificateName=n", "Path=/cloudfront/x/"));
  CHECK(script_new(&s, NULL, "iam", "UploadServerCertificate", tree.root, identity, NULL, 0));
  CHECK(script_need(&s) == CR_NEED_SEND);
  CHECK(strncmp(script_body(&s),
                "Action=UploadServerCertificate&Version=2010-05-08&ServerCertificateName=n&Path=%2Fcloudfront%2Fx%2F"
                "&CertificateBody=-----BEGIN%20CERTIFICATE-----%0A",
                140) == 0);
  CHECK(form_field(script_body(&s), "PrivateKey", decoded) == key.len && strcmp(decoded, key.data) == 0);
  CHECK(form_field(script_body(&s), "CertificateBody", decoded) &&
        strcmp(decoded, cr_identity_certificate_pem(identity)) == 0);
  script_lost(&s, CR_SENT_UNKNOWN, CR_KIND_TRANSPORT);
  CHECK(script_need(&s) == CR_NEED_FAILED && s.m->error.ambiguous);
  script_end(&s);
  cr_tree_free(&tree);

  CHECK(!script_new(&s, NULL, "cloudfront", "ListDistributions", NULL, identity, NULL, 0));
  CHECK_STR(s.error.code, "UnexpectedIdentity");
  cr_account_unref(s.account);
  cr_tree_init(&tree, 1 << 16);
  script_params(&tree, PAIRS("PrivateKey=x"));
  CHECK(!script_new(&s, NULL, "acm", "ImportCertificate", tree.root, identity, NULL, 0));
  CHECK(strstr(s.error.message, "PrivateKey comes from the identity") != NULL);
  cr_account_unref(s.account);
  cr_tree_free(&tree);

  /* While it is held it can be found; when everything is gone, not a copy of it is left. */
  copy = cr_strdup(key_line);
  for(size_t i = 0; i < sizeof masked; i++) {
    masked[i] = (char)(key_line[i] ^ 0x55);
    key_line[i] = '\0';
  }
  if(is_in_heap(copy)) { /* and not a sanitizer's or valgrind's */
    CHECK(count_in_heap(masked, sizeof masked) >= 1);
  }
  cr_wipe(copy, strlen(copy));
  free(copy);
  cr_wipe(decoded, sizeof decoded);
  cr_buf_free(&key);
  cr_identity_unref(identity);
  CHECK(count_in_heap(masked, sizeof masked) == 0);
}

int main(void)
{
  test_golden();
  test_form_lists();
  test_json_lists();
  test_misuse();
  test_anonymous();
  test_signed_late();
  test_rest_answers();
  test_view();
  test_query_answers();
  test_json_answers();
  test_garbage();
  test_identity_bodies();
  return check_end();
}
