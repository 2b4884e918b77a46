/* test_classify.c - error bodies, dates, Retry-After and retry decisions, as the pure functions they are. */
#include "check.h"

#include "random.h"

#include "classify.h"

#include <locale.h>

static void make(struct cr_answer *answer, int status, const char *headers, const char *body)
{
  cr_answer_init(answer);
  answer->sent = CR_SENT_ANSWERED;
  answer->status = status;
  cr_buf_adds(&answer->header_text, headers);
  cr_buf_adds(&answer->body, body);
}

static void test_dates(void)
{
  static const struct { const char *text; int64_t seconds; } table[] = {
    { "Thu, 15 Jan 2026 12:00:00 GMT", 1768478400 },
    { "Thu, 01 Jan 1970 00:00:00 GMT", 0 },
    { "Thu, 29 Feb 2024 23:59:59 GMT", 1709251199 },
    { "Tue, 31 Dec 2999 23:59:60 GMT", 32503680000 },
    { "Sunday, 06-Nov-94 08:49:37 GMT", 784111777 },
    { "Sun Nov  6 08:49:37 1994", 784111777 },
    { "Sun Nov 16 08:49:37 1994", 784975777 },
    { "2026-01-15T12:00:00Z", 1768478400 },
    { "2026-01-15T12:00:00.123Z", 1768478400 },
    { "2000-02-29T00:00:00Z", 951782400 },
    { "", -1 }, { "x", -1 }, { "Thu, 15 Jan 2026 12:00:00", -1 }, { "Thu, 15 Jan 2026 25:00:00 GMT", -1 },
    { "Thu, 15 Foo 2026 12:00:00 GMT", -1 }, { "Thu,15 Jan 2026 12:00:00 GMT", -1 }, { "2026-01-15", -1 },
    { "2026-13-15T12:00:00Z", -1 }, { "Thu, 00 Jan 2026 12:00:00 GMT", -1 }, { "Sun", -1 }, { "Sun ", -1 },
    { "Thu, 15 Jan 1969 12:00:00 GMT", -1 }, { "20260115T120000Z", -1 }, { "Thu, ", -1 }, { "Sun Nov", -1 },
  };
  setlocale(LC_ALL, ""); /* whatever it is */
  for(size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
    int64_t got = cr_parse_date(table[i].text);
    CHECK(got == table[i].seconds);
    if(got != table[i].seconds) {
      printf("  \"%s\" gave %lld\n", table[i].text, (long long)got);
    }
  }
}

static void test_retry_after(void)
{
  static const struct { const char *headers; int64_t ms;
  } table[] = {
      {"", 0},
      {"retry-after: 7\n", 7000},
      {"retry-after: 0\n", 0},
      {"retry-after: 100000000000000000000\n", 300000},
      {"retry-after: -5\n", 0},
      {"retry-after: soon\n", 0},
      {"retry-after: \n", 0},
      {"retry-after: Thu, 15 Jan 2026 12:00:30 GMT\n", 30000},
      {"retry-after: Thu, 15 Jan 2026 11:00:00 GMT\n", 0},
      {"retry-after: Thu, 15 Jan 2026 18:00:00 GMT\n", 300000},
      {"x-retry-after: 9\n", 0},
  };
  for(size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
    struct cr_answer answer;
    make(&answer, 503, table[i].headers, "");
    CHECK(cr_retry_after_ms(&answer, INT64_C(1768478400000)) == table[i].ms);
    cr_answer_free(&answer);
  }
  CHECK(cr_retry_delay_ms(0, 0.5) == 500 && cr_retry_delay_ms(1, 0.5) == 1000 && cr_retry_delay_ms(3, 0.25) == 2000);
  CHECK(cr_retry_delay_ms(4, 0.5) == 8000 && cr_retry_delay_ms(-1, 0.5) == 500);
  CHECK(cr_retry_delay_ms(5, 0.5) == 10000 && cr_retry_delay_ms(1000000, 0.999) == 19980 &&
        cr_retry_delay_ms(7, 0) == 0);
}

static void test_trouble(void)
{
  static const struct { enum cr_service service; int status; const char *code; enum cr_trouble trouble; } table[] = {
    { CR_CLOUDFRONT, 400, "Throttling", CR_TROUBLE_THROTTLED },
    { CR_ACM, 400, "ThrottlingException", CR_TROUBLE_THROTTLED },
    { CR_S3, 409, "ConditionalRequestConflict", CR_TROUBLE_REFUSED },
    { CR_S3, 409, "OperationAborted", CR_TROUBLE_REFUSED },
    { CR_S3, 412, "PreconditionFailed", CR_TROUBLE_PERMANENT },
    { CR_S3, 503, "SlowDown", CR_TROUBLE_THROTTLED },
    { CR_QUOTAS, 400, "TooManyRequestsException", CR_TROUBLE_THROTTLED },
    { CR_S3, 503, "SlowDown", CR_TROUBLE_THROTTLED },
    { CR_ACM, 429, "HTTP429", CR_TROUBLE_THROTTLED },
    { CR_ACM, 400, "PriorRequestNotComplete", CR_TROUBLE_THROTTLED },
    { CR_ACM, 400, "LimitExceededException", CR_TROUBLE_PERMANENT },
    { CR_IAM, 409, "LimitExceeded", CR_TROUBLE_PERMANENT },
    { CR_IAM, 409, "ConcurrentModification", CR_TROUBLE_REFUSED },
    { CR_CLOUDFRONT, 409, "ConcurrentModification", CR_TROUBLE_PERMANENT },
    { CR_STS, 400, "IDPCommunicationError", CR_TROUBLE_REFUSED },
    { CR_CLOUDFRONT, 500, "InternalError", CR_TROUBLE_TRANSIENT },
    { CR_CLOUDFRONT, 503, "ServiceUnavailable", CR_TROUBLE_TRANSIENT },
    { CR_CLOUDFRONT, 502, "HTTP502", CR_TROUBLE_TRANSIENT },
    { CR_CLOUDFRONT, 504, "HTTP504", CR_TROUBLE_TRANSIENT },
    { CR_ACM, 400, "RequestTimeoutException", CR_TROUBLE_TRANSIENT },
    { CR_CLOUDFRONT, 501, "NotImplemented", CR_TROUBLE_PERMANENT },
    { CR_CLOUDFRONT, 412, "PreconditionFailed", CR_TROUBLE_PERMANENT },
    { CR_CLOUDFRONT, 403, "SignatureDoesNotMatch", CR_TROUBLE_SKEW },
    { CR_ACM, 400, "InvalidSignatureException", CR_TROUBLE_SKEW },
    { CR_S3, 403, "RequestTimeTooSkewed", CR_TROUBLE_SKEW },
    { CR_CLOUDFRONT, 403, "AccessDenied", CR_TROUBLE_PERMANENT },
    { CR_CLOUDFRONT, 301, "HTTP301", CR_TROUBLE_PERMANENT },
  };
  for(size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
    CHECK(cr_classify(table[i].service, table[i].status, table[i].code) == table[i].trouble);
  }
}

static void check_xml(int status, const char *headers, const char *body, enum cr_kind kind, const char *code,
                      const char *message, const char *id)
{
  struct cr_answer answer;
  struct cr_error err;
  int64_t server_ms;
  make(&answer, status, headers, body);
  cr_read_xml_error(&answer, &err, &server_ms);
  CHECK(err.kind == kind && err.status == status && !err.retryable && !err.ambiguous);
  CHECK_STR(err.code, code);
  CHECK_STR(err.message, message);
  CHECK_STR(err.request_id, id);
  cr_answer_free(&answer);
}

static void test_xml_errors(void)
{
  check_xml(
      404, "",
      "<?xml version=\"1.0\"?>\n<ErrorResponse xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><Error>"
      "<Type>Sender</Type><Code>NoSuchDistribution</Code><Message>The specified distribution does not exist.</Message>"
      "</Error><RequestId>cfa99dee</RequestId></ErrorResponse>",
      CR_KIND_SERVICE, "NoSuchDistribution", "The specified distribution does not exist.", "cfa99dee");
  check_xml(412, "x-amzn-requestid: from-header\n",
            "<Error><Code>PreconditionFailed</Code><Message>At least one &lt;of&gt;"
            "</Message><RequestId>S3-1</RequestId></Error>",
            CR_KIND_SERVICE, "PreconditionFailed", "At least one <of>", "S3-1");
  check_xml(500, "x-amzn-requestid: from-header\n",
            "<ErrorResponse><Error><Type>Receiver</Type><Code>InternalError</Code></Error>"
            "</ErrorResponse>",
            CR_KIND_SERVICE, "InternalError", "the service answered InternalError (HTTP 500) without a message",
            "from-header");
  check_xml(503, "", "<html><body>Service Unavailable", CR_KIND_SERVICE, "HTTP503",
            "HTTP 503 without AWS's error body: a proxy, a load balancer or another server may have answered", "");
  check_xml(502, "x-amz-request-id: r\n", "", CR_KIND_SERVICE, "HTTP502",
            "HTTP 502 without AWS's error body: a proxy, a load balancer or another server may have answered", "r");
  check_xml(
      301, "location: https://elsewhere.example/\n", "", CR_KIND_SERVICE, "HTTP301",
      "HTTP 301: the endpoint redirects to https://elsewhere.example/, which is never followed: check --endpoint-url "
      "and the region",
      "");
  check_xml(
      403, "",
      "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>\n The request signature we calculated does "
      "not match. Check your key.\n\nThe Canonical String for this request should have been\n'GET\n/\n\nhost:x\n"
      "x-amz-security-token:SECRETTOKEN'</Message></Error></ErrorResponse>",
      CR_KIND_CREDENTIALS, "SignatureDoesNotMatch",
      "The request signature we calculated does not match. Check your key.", "");
  check_xml(403, "", "<ErrorResponse><Error><Code>ExpiredToken</Code><Message>over</Message></Error></ErrorResponse>",
            CR_KIND_CREDENTIALS, "ExpiredToken", "over", "");
  check_xml(403, "", "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>",
            CR_KIND_SERVICE, "AccessDenied", "no", "");
  check_xml(400, "", "<!DOCTYPE a [<!ENTITY b 'c'>]><Error><Code>&b;</Code></Error>", CR_KIND_SERVICE, "HTTP400",
            "HTTP 400 without AWS's error body: a proxy, a load balancer or another server may have answered", "");
}

/* Which region a bucket is in stands beside S3's message; what is no region's name is not repeated. */
static void test_bucket_region(void)
{
  check_xml(301, "x-amz-bucket-region: eu-west-1\nx-amz-request-id: R\n",
            "<Error><Code>PermanentRedirect</Code><Message>elsewhere</Message></Error>", CR_KIND_SERVICE,
            "PermanentRedirect", "elsewhere (the bucket is in the region eu-west-1)", "R");
  check_xml(400, "x-amz-request-id: R\n",
            "<Error><Code>AuthorizationHeaderMalformed</Code><Message>wrong</Message><Region>eu-west-1</Region></Error>",
            CR_KIND_SERVICE, "AuthorizationHeaderMalformed", "wrong (the bucket is in the region eu-west-1)", "R");
  check_xml(301, "x-amz-bucket-region: <b>\nx-amz-request-id: R\n",
            "<Error><Code>PermanentRedirect</Code><Message>elsewhere</Message></Error>", CR_KIND_SERVICE,
            "PermanentRedirect", "elsewhere", "R");
}

static void test_server_time(void)
{
  struct cr_answer answer;
  struct cr_error err;
  int64_t server_ms;
  make(&answer, 403, "date: Thu, 15 Jan 2026 12:00:00 GMT\n", "<Error><Code>RequestTimeTooSkewed</Code>"
       "<ServerTime>2026-01-15T13:00:00Z</ServerTime></Error>");
  cr_read_xml_error(&answer, &err, &server_ms);
  CHECK(server_ms == INT64_C(1768482000000));
  CHECK(cr_server_time_ms(&answer) == INT64_C(1768478400000));
  cr_answer_free(&answer);
  make(&answer, 403, "", "");
  cr_read_xml_error(&answer, &err, &server_ms);
  CHECK(server_ms == -1 && cr_server_time_ms(&answer) == -1);
  cr_answer_free(&answer);
}

static void check_json(const char *headers, const char *names[4], const char *code, const char *message)
{
  struct cr_answer answer;
  struct cr_error err;
  struct cr_tree tree;
  int64_t server_ms;
  cr_tree_init(&tree, 1 << 16);
  struct cr_node *root = names ? cr_node_add(&tree, NULL, NULL, CR_NODE_MAP) : NULL;
  for(int i = 0; names && i < 4 && names[i]; i += 2) {
    cr_add_text(&tree, root, names[i], names[i + 1]);
  }
  make(&answer, 400, headers, "{}");
  cr_read_json_error(&answer, root, &err, &server_ms);
  CHECK_STR(err.code, code);
  CHECK_STR(err.message, message);
  cr_answer_free(&answer);
  cr_tree_free(&tree);
}

static void test_json_errors(void)
{
  check_json("", (const char *[4]){ "__type", "com.amazonaws.acm#ResourceInUseException", "message", "in use" },
             "ResourceInUseException", "in use");
  check_json("", (const char *[4]){"__type", "ThrottlingException", "Message", "Rate exceeded"}, "ThrottlingException",
             "Rate exceeded");
  check_json("", (const char *[4]){"code", "ValidationException:http://internal/", "message", "bad"},
             "ValidationException", "bad");
  check_json("x-amzn-errortype: AccessDeniedException:http://internal.amazon.com/\n",
             (const char *[4]){"Message", "no"}, "AccessDeniedException", "no");
  check_json("x-amzn-errortype: InternalFailure\n", NULL, "InternalFailure",
             "the service answered InternalFailure (HTTP 400) without a message");
  check_json("", NULL, "HTTP400",
             "HTTP 400 without AWS's error body: a proxy, a load balancer or another server may have answered");
}

/* Damaged dates and bodies: any answer but a crash, and always a code and a message. */
static void test_damage(void)
{
  static const char date[] = "Thu, 15 Jan 2026 12:00:00 GMT";
  static const char body[] =
      "<ErrorResponse><Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>";
  int wrong = 0;
  for(int i = 0; i < 20000; i++) {
    char text[sizeof body];
    struct cr_answer answer;
    struct cr_error err;
    int64_t server_ms;
    memcpy(text, date, sizeof date);
    text[random_below(sizeof date - 1)] = (char)random_below(256);
    text[random_below(sizeof date)] = '\0';
    wrong += cr_parse_date(text) < -1;
    memcpy(text, body, sizeof body);
    for(size_t damages = 1 + random_below(4); damages--;) {
      text[random_below(sizeof body - 1)] = (char)random_below(256);
    }
    make(&answer, 400, "", text);
    cr_read_xml_error(&answer, &err, &server_ms);
    wrong += !err.code[0] || !err.message[0] || err.status != 400 || server_ms != -1;
    cr_answer_free(&answer);
  }
  CHECK(wrong == 0);
}

int main(void)
{
  random_seed();
  test_damage();
  test_dates();
  test_retry_after();
  test_trouble();
  test_xml_errors();
  test_bucket_region();
  test_server_time();
  test_json_errors();
  return check_end();
}
