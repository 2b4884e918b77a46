/* test_retry.c - when a call is made again, after how long, and when it is not: throttling, transient failures, lost
 * answers of writes, wrong clocks, deadlines, and the account's bucket. A clock that the test moves, random = 0.5. */
#include "call_script.h"
#include "check.h"

#define ARN "arn:aws:acm:us-east-1:111122223333:certificate/11111111-2222-3333-4444-555555555555"
#define XML_ERROR(code) "<ErrorResponse><Error><Code>" code "</Code><Message>m</Message></Error></ErrorResponse>"
#define FINE "<Distribution><Status>Deployed</Status></Distribution>"

static void begin_read(struct script *s, struct cr_account *account, int64_t deadline_ms)
{
  struct cr_tree tree;
  cr_tree_init(&tree, 1 << 16);
  script_params(&tree, PAIRS("Id=E1"));
  if(!script_new(s, account, "cloudfront", "GetDistribution", tree.root, NULL, NULL, deadline_ms)) {
    printf("no call: %s\n", s->error.message);
    exit(1);
  }
  cr_tree_free(&tree);
}

static void begin_write(struct script *s)
{
  if(!script_begin(s, NULL, "cloudfront", "UpdateDistribution",
                   PAIRS("Id=E1", "IfMatch=E", "DistributionConfig=<DistributionConfig/>"))) {
    exit(1);
  }
}

/* Sends and has it answered; what the machine wants then. */
static enum cr_need step(struct script *s, int status, const char *headers, const char *body)
{
  CHECK(script_need(s) == CR_NEED_SEND);
  if(!s->want.request) {
    return CR_NEED_FAILED;
  }
  script_answer(s, status, headers, body);
  return script_need(s);
}

static void test_transient(void)
{
  static const int statuses[] = { 500, 502, 503, 504 };
  for(size_t i = 0; i < 4; i++) {
    struct script s;
    struct cr_attempt attempt;
    begin_read(&s, NULL, 0);
    CHECK(step(&s, statuses[i], "x-amzn-requestid: r1\n", "") == CR_NEED_WAIT);
    CHECK(cr_machine_attempt(s.m, &attempt) && attempt.attempt == 1 && attempt.status == statuses[i] &&
          !attempt.throttled);
    CHECK(s.account->retry_tokens == 495);
    CHECK(script_wait(&s) == 500);
    CHECK(step(&s, statuses[i], NULL, XML_ERROR("InternalError")) == CR_NEED_WAIT && script_wait(&s) == 1000);
    CHECK(s.account->retry_tokens == 490);
    CHECK(step(&s, statuses[i], "x-amzn-requestid: r3\n", XML_ERROR("InternalError")) == CR_NEED_FAILED);
    CHECK(script_need(&s) == CR_NEED_FAILED);
    CHECK(s.account->retry_tokens == 490 && s.m->error.retryable && !s.m->error.ambiguous);
    CHECK_STR(s.m->error.message, "m (after 3 attempts)");
    CHECK_STR(s.m->error.request_id, "r3");
    CHECK(cr_machine_attempt(s.m, &attempt) && attempt.attempt == 3 && strcmp(attempt.code, "InternalError") == 0);
    script_end(&s);
  }
}

static void test_recovery(void)
{
  struct script s;
  begin_read(&s, NULL, 0);
  CHECK(step(&s, 500, NULL, "") == CR_NEED_WAIT);
  CHECK(script_need(&s) == CR_NEED_WAIT); /* asking early is harmless */
  s.now.mono_ms += 499;
  CHECK(script_need(&s) == CR_NEED_WAIT);
  s.now.mono_ms += 1;
  CHECK(step(&s, 200, NULL, FINE) == CR_NEED_DONE);
  CHECK(s.account->retry_tokens == 500 && s.m->error.kind == CR_KIND_NONE && s.m->error.code[0] == '\0');
  script_end(&s);
  /* A success without retries gives back one. */
  begin_read(&s, NULL, 0);
  s.account->retry_tokens = 100;
  CHECK(step(&s, 200, NULL, FINE) == CR_NEED_DONE && s.account->retry_tokens == 101);
  script_end(&s);
}

static void test_bucket(void)
{
  struct script s;
  begin_read(&s, NULL, 0);
  s.account->retry_tokens = 9;
  CHECK(script_need(&s) == CR_NEED_SEND);
  script_lost(&s, CR_SENT_UNKNOWN, CR_KIND_TIMEOUT); /* costs 10 */
  CHECK(script_need(&s) == CR_NEED_FAILED && s.account->retry_tokens == 9 && s.m->error.kind == CR_KIND_TIMEOUT);
  script_end(&s);
  begin_read(&s, NULL, 0);
  s.account->retry_tokens = 9;
  CHECK(step(&s, 500, NULL, "") == CR_NEED_WAIT && s.account->retry_tokens == 4);
  script_wait(&s);
  CHECK(step(&s, 500, NULL, "") == CR_NEED_FAILED && s.account->retry_tokens == 4);
  script_end(&s);
  begin_read(&s, NULL, 0);
  s.account->retry_tokens = 0; /* being throttled is not paid for */
  CHECK(step(&s, 400, NULL, XML_ERROR("Throttling")) == CR_NEED_WAIT && s.account->retry_tokens == 0);
  script_end(&s);
}

/* Waits until it may be sent; how long that took. */
static int64_t wait_for_turn(struct script *s)
{
  int64_t waited = 0;
  while(script_need(s) == CR_NEED_WAIT) {
    waited += script_wait(s);
  }
  return waited;
}

/* Attempts beyond the usual three go on for two minutes, at the distances the pace finds (test_pace.c). */
static void test_throttled(void)
{
  struct script s;
  struct cr_attempt attempt;
  static const int64_t expected[] = { 124, 2209, 11770, 10403, 8127 }; /* and so on */
  int64_t waited = 0;
  int count = 0;
  char attempts[32];
  begin_read(&s, NULL, 0);
  while(step(&s, 400, NULL, XML_ERROR("Throttling")) == CR_NEED_WAIT && count < 100) {
    int64_t wait = wait_for_turn(&s);
    CHECK(llabs(wait - expected[count < 5 ? count : 4]) <= 1 + wait / 100); /* one per cent: floating point */
    CHECK(cr_machine_attempt(s.m, &attempt) && attempt.throttled && attempt.attempt == count + 1);
    waited += wait;
    count++;
  }
  CHECK(waited > 120000 && waited < 180000 && count == 16);
  CHECK(s.m->error.kind == CR_KIND_SERVICE && s.m->error.retryable && !s.m->error.ambiguous);
  CHECK_STR(s.m->error.code, "Throttling");
  snprintf(attempts, sizeof attempts, "after %d attempts", count + 1);
  CHECK(strstr(s.m->error.message, attempts) != NULL);
  script_end(&s);

  begin_read(&s, NULL, 0); /* throttled, then fine; then the usual three are still there for other trouble */
  for(int i = 0; i < 5; i++) {
    CHECK(step(&s, 429, NULL, "") == CR_NEED_WAIT);
    wait_for_turn(&s);
  }
  for(int i = 0; i < 2; i++) {
    CHECK(step(&s, 500, NULL, "") == CR_NEED_WAIT);
    wait_for_turn(&s);
  }
  CHECK(step(&s, 200, NULL, FINE) == CR_NEED_DONE);
  script_end(&s);
}

static void test_retry_after(void)
{
  struct script s;
  begin_read(&s, NULL, 0);
  CHECK(step(&s, 503, "retry-after: 7\n", "") == CR_NEED_WAIT && script_wait(&s) == 7000);
  CHECK(step(&s, 400, "retry-after: Thu, 15 Jan 2026 12:01:07 GMT\n", XML_ERROR("Throttling")) == CR_NEED_WAIT);
  CHECK(script_wait(&s) == 60000);
  CHECK(step(&s, 400, "retry-after: 86400\n", XML_ERROR("Throttling")) == CR_NEED_WAIT && script_wait(&s) == 300000);
  CHECK(step(&s, 200, NULL, FINE) == CR_NEED_DONE);
  script_end(&s);
  begin_read(&s, NULL, 30000); /* longer than there is time: told at once */
  CHECK(step(&s, 503, "retry-after: 31\n", "") == CR_NEED_FAILED && s.m->error.retryable);
  CHECK(strstr(s.m->error.message, "gave up after 1 attempt: the time limit of 30 s is reached") != NULL);
  script_end(&s);
}

static void test_permanent(void)
{
  static const struct { int status; const char *body, *code; enum cr_kind kind; } table[] = {
    { 404, XML_ERROR("NoSuchDistribution"), "NoSuchDistribution", CR_KIND_SERVICE },
    { 412, XML_ERROR("PreconditionFailed"), "PreconditionFailed", CR_KIND_SERVICE },
    { 400, XML_ERROR("IllegalUpdate"), "IllegalUpdate", CR_KIND_SERVICE },
    { 400, XML_ERROR("LimitExceededException"), "LimitExceededException", CR_KIND_SERVICE },
    { 403, XML_ERROR("ExpiredToken"), "ExpiredToken", CR_KIND_CREDENTIALS },
    { 403, XML_ERROR("InvalidClientTokenId"), "InvalidClientTokenId", CR_KIND_CREDENTIALS },
    { 403, XML_ERROR("AccessDenied"), "AccessDenied", CR_KIND_SERVICE },
    { 307, "", "HTTP307", CR_KIND_SERVICE },
    { 304, "", "HTTP304", CR_KIND_SERVICE },
  };
  for(size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
    struct script s;
    begin_write(&s);
    CHECK(step(&s, table[i].status, NULL, table[i].body) == CR_NEED_FAILED);
    CHECK(s.m->error.kind == table[i].kind && !s.m->error.retryable && !s.m->error.ambiguous);
    CHECK(s.m->error.status == table[i].status);
    CHECK_STR(s.m->error.code, table[i].code);
    CHECK_STR(s.m->error.operation, "cloudfront:UpdateDistribution");
    script_end(&s);
  }
}

/* A write goes again only where it cannot have been carried out. */
static void test_writes(void)
{
  struct script s;
  begin_write(&s);
  CHECK(script_need(&s) == CR_NEED_SEND && !s.want.request->once); /* If-Match protects it */
  script_lost(&s, CR_SENT_NOTHING, CR_KIND_TRANSPORT);
  CHECK(script_need(&s) == CR_NEED_WAIT);
  script_wait(&s);
  CHECK(step(&s, 400, NULL, XML_ERROR("Throttling")) == CR_NEED_WAIT);
  script_wait(&s);
  CHECK(step(&s, 200, "etag: E2\n", FINE) == CR_NEED_DONE);
  CHECK_STR(cr_get_text(s.m->result.root, "ETag"), "E2");
  script_end(&s);

  begin_write(&s);
  CHECK(script_need(&s) == CR_NEED_SEND);
  script_lost(&s, CR_SENT_UNKNOWN, CR_KIND_TRANSPORT);
  CHECK(script_need(&s) == CR_NEED_FAILED && s.m->error.ambiguous && s.m->error.kind == CR_KIND_TRANSPORT);
  CHECK(strstr(s.m->error.message, "may have taken effect") != NULL);
  CHECK(s.account->retry_tokens == 500);
  script_end(&s);

  begin_write(&s);
  CHECK(step(&s, 503, NULL, XML_ERROR("ServiceUnavailable")) == CR_NEED_FAILED && s.m->error.ambiguous);
  script_end(&s);
  begin_write(&s);
  CHECK(step(&s, 501, NULL, "") == CR_NEED_FAILED && s.m->error.ambiguous);
  script_end(&s);
  begin_write(&s);
  CHECK(step(&s, 200, NULL, "<Distribution><Status>InPro") == CR_NEED_FAILED && s.m->error.ambiguous);
  CHECK(s.m->error.kind == CR_KIND_PARSE);
  script_end(&s);

  /* IAM's own "not now": refused, so it may go again. */
  CHECK(script_begin(&s, NULL, "iam", "DeleteServerCertificate", PAIRS("ServerCertificateName=n")));
  CHECK(step(&s, 409, NULL, XML_ERROR("ConcurrentModification")) == CR_NEED_WAIT);
  script_end(&s);
  /* JSON, undecodable or empty where a result belongs. */
  CHECK(script_begin(&s, NULL, "acm", "DeleteCertificate", PAIRS("CertificateArn=" ARN)));
  CHECK(step(&s, 200, NULL, "not json") == CR_NEED_DECODE);
  script_decode(&s, NULL);
  CHECK(script_need(&s) == CR_NEED_FAILED && s.m->error.ambiguous && s.m->error.kind == CR_KIND_PARSE);
  script_end(&s);
  CHECK(script_begin(&s, NULL, "acm", "DescribeCertificate", PAIRS("CertificateArn=" ARN)));
  CHECK(step(&s, 200, NULL, "") == CR_NEED_WAIT);
  script_wait(&s);
  CHECK(step(&s, 500, NULL, "{}") == CR_NEED_DECODE);
  script_decode(&s, PAIRS("__type=InternalFailure", "message=m"));
  CHECK(script_need(&s) == CR_NEED_WAIT && script_wait(&s) == 1000);
  CHECK(step(&s, 200, NULL, "{..}") == CR_NEED_DECODE);
  script_decode(&s, PAIRS("Certificate=c"));
  CHECK(script_need(&s) == CR_NEED_DONE);
  script_end(&s);
}

static void test_final_transport(void)
{
  struct script s;
  struct cr_answer answer;
  begin_write(&s);
  CHECK(script_need(&s) == CR_NEED_SEND);
  cr_answer_init(&answer);
  answer.sent = CR_SENT_UNKNOWN;
  cr_fail(&answer.error, CR_KIND_PARSE, "AnswerTooLarge", "too large");
  script_answered(&s, &answer);
  CHECK(script_need(&s) == CR_NEED_FAILED && s.m->error.ambiguous && !s.m->error.retryable);
  CHECK_STR(s.m->error.code, "AnswerTooLarge");
  script_end(&s);
  begin_read(&s, NULL, 0);
  CHECK(script_need(&s) == CR_NEED_SEND);
  cr_answer_init(&answer);
  answer.sent = CR_SENT_NOTHING;
  cr_fail(&answer.error, CR_KIND_TRANSPORT, "CURLE_PEER_FAILED_VERIFICATION", "not accepted");
  script_answered(&s, &answer);
  CHECK(script_need(&s) == CR_NEED_FAILED && !s.m->error.ambiguous && s.m->error.kind == CR_KIND_TRANSPORT);
  script_end(&s);
}

#define SKEWED XML_ERROR("SignatureDoesNotMatch")

static void test_clock(void)
{
  struct script s;
  begin_read(&s, NULL, 0); /* the local clock is 20 minutes behind */
  CHECK(script_need(&s) == CR_NEED_SEND);
  CHECK_STR(script_header(&s, "X-Amz-Date"), "20260115T120000Z");
  script_answer(&s, 403, "date: Thu, 15 Jan 2026 12:20:00 GMT\n", SKEWED);
  CHECK(script_need(&s) == CR_NEED_SEND); /* at once */
  CHECK_STR(script_header(&s, "X-Amz-Date"), "20260115T122000Z");
  CHECK(s.account->clock_offset_ms == 1200000 && s.account->retry_tokens == 500);
  script_answer(&s, 200, "date: Thu, 15 Jan 2026 12:20:01 GMT\n", FINE);
  CHECK(script_need(&s) == CR_NEED_DONE && s.account->clock_offset_ms == 1200000);
  script_end(&s);

  begin_read(&s, NULL, 0); /* the clock is right: the secret is wrong */
  CHECK(step(&s, 403, "date: Thu, 15 Jan 2026 12:04:59 GMT\n", SKEWED) == CR_NEED_FAILED);
  CHECK(s.account->clock_offset_ms == 0 && s.m->error.kind == CR_KIND_CREDENTIALS);
  CHECK_STR(s.m->error.message, "m; check the secret access key and the signing region");
  script_end(&s);

  begin_read(&s, NULL, 0); /* corrected once, never in a circle */
  CHECK(script_need(&s) == CR_NEED_SEND);
  script_answer(&s, 403, "date: Thu, 15 Jan 2026 12:20:00 GMT\n", SKEWED);
  CHECK(script_need(&s) == CR_NEED_SEND);
  script_answer(&s, 403, "date: Thu, 15 Jan 2026 12:40:00 GMT\n", SKEWED);
  CHECK(script_need(&s) == CR_NEED_FAILED && s.m->error.kind == CR_KIND_CREDENTIALS);
  script_end(&s);

  begin_read(&s, NULL, 0); /* no Date: nothing to correct by */
  CHECK(step(&s, 403, NULL, SKEWED) == CR_NEED_FAILED && s.account->clock_offset_ms == 0);
  script_end(&s);

  begin_read(&s, NULL, 0); /* a success tells the time, too */
  CHECK(step(&s, 200, "date: Thu, 15 Jan 2026 11:50:00 GMT\n", FINE) == CR_NEED_DONE);
  CHECK(s.account->clock_offset_ms == -600000);
  script_end(&s);

  begin_write(&s); /* a refused signature is not carried out: writes go again as well */
  CHECK(script_need(&s) == CR_NEED_SEND);
  script_answer(&s, 403, "date: Thu, 15 Jan 2026 12:20:00 GMT\n", SKEWED);
  CHECK(script_need(&s) == CR_NEED_SEND);
  script_end(&s);
}

/* The machine slept between signing and sending: its clock is right again when the refusal comes. */
static void test_clock_suspended(void)
{
  struct script s;
  begin_write(&s);
  CHECK(script_need(&s) == CR_NEED_SEND);
  s.now.unix_ms += 3600000;
  s.now.mono_ms += 100;
  script_answer(&s, 403, "date: Thu, 15 Jan 2026 13:00:00 GMT\n", SKEWED);
  CHECK(script_need(&s) == CR_NEED_SEND && s.account->clock_offset_ms == 0);
  CHECK_STR(script_header(&s, "X-Amz-Date"), "20260115T130000Z");
  script_answer(&s, 403, "date: Thu, 15 Jan 2026 13:00:00 GMT\n", SKEWED);
  CHECK(script_need(&s) == CR_NEED_FAILED && s.m->error.kind == CR_KIND_CREDENTIALS);
  script_end(&s);
}

/* Two calls on their way with the wrong clock: the second one's failure comes when the first has already learned. */
static void test_clock_shared(void)
{
  struct cr_account *account = script_account(NULL);
  struct script a, b;
  begin_read(&a, account, 0);
  begin_read(&b, account, 0);
  CHECK(script_need(&a) == CR_NEED_SEND && script_need(&b) == CR_NEED_SEND);
  script_answer(&a, 403, "date: Thu, 15 Jan 2026 13:00:00 GMT\n", SKEWED);
  script_answer(&b, 403, "date: Thu, 15 Jan 2026 13:00:00 GMT\n", SKEWED);
  CHECK(script_need(&a) == CR_NEED_SEND && script_need(&b) == CR_NEED_SEND);
  CHECK_STR(script_header(&b, "X-Amz-Date"), "20260115T130000Z");
  script_end(&a);
  script_end(&b);
  cr_account_unref(account);
}

static void test_deadline(void)
{
  struct script s;
  begin_read(&s, NULL, 10000);
  CHECK(script_need(&s) == CR_NEED_SEND && s.want.request->within_ms == 10000);
  s.now.mono_ms += 4000;
  script_answer(&s, 500, NULL, "");
  CHECK(script_need(&s) == CR_NEED_WAIT);
  script_wait(&s);
  CHECK(script_need(&s) == CR_NEED_SEND && s.want.request->within_ms == 5500);
  s.now.mono_ms += 5400;
  script_lost(&s, CR_SENT_UNKNOWN, CR_KIND_TIMEOUT);
  CHECK(script_need(&s) == CR_NEED_FAILED && s.m->error.kind == CR_KIND_TIMEOUT);
  CHECK(strstr(s.m->error.message, "the time limit of 10 s") != NULL);
  script_end(&s);

  begin_read(&s, NULL, 200000); /* throttled for as long as the deadline says, not two minutes */
  int64_t began = s.now.mono_ms;
  while(step(&s, 400, NULL, XML_ERROR("Throttling")) == CR_NEED_WAIT) {
    wait_for_turn(&s);
    if(s.m->error.kind == CR_KIND_SERVICE && script_need(&s) == CR_NEED_FAILED) {
      break;
    }
  }
  CHECK(s.now.mono_ms - began > 180000 && s.now.mono_ms - began <= 200000);
  CHECK_STR(s.m->error.code, "Throttling");
  script_end(&s);

  begin_read(&s, NULL, 5000); /* the driver came late */
  CHECK(step(&s, 500, NULL, XML_ERROR("InternalError")) == CR_NEED_WAIT);
  s.now.mono_ms += 60000;
  CHECK(script_need(&s) == CR_NEED_FAILED);
  CHECK_STR(s.m->error.code, "InternalError");
  script_end(&s);

  begin_read(&s, NULL, 5000); /* it had to queue longer than it may take */
  CHECK(script_need(&s) == CR_NEED_SEND);
  s.now.mono_ms += 5000;
  CHECK(script_need(&s) == CR_NEED_FAILED && s.m->error.kind == CR_KIND_TIMEOUT);
  CHECK_STR(s.m->error.code, "DeadlineExceeded");
  script_end(&s);
}

/* Whatever a server writes into an error, the credentials are not repeated. */
static void test_redaction(void)
{
  struct cr_account *account = script_account("TOKENTOKENTOKEN");
  struct script s;
  begin_read(&s, account, 0);
  CHECK(step(&s, 400, NULL,
             "<ErrorResponse><Error><Code>Odd</Code><Message>you sent TOKENTOKENTOKEN and more</Message></Error>"
             "</ErrorResponse>") == CR_NEED_FAILED);
  CHECK_STR(s.m->error.message, "you sent [...]");
  script_end(&s);
  cr_account_unref(account);
}

/* A server that echoes what it was sent: a long token does not fit the message, and no part of it is repeated. */
static void test_echoed_token(void)
{
  static const char head[] = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>you sent ";
  char token[1201], body[2048];
  for(size_t pad = 0; pad < 520; pad += 13) {
    struct script s;
    struct cr_account *account;
    for(size_t i = 0; i < 1200; i++) {
      token[i] = (char)('a' + (i * 7 + i / 26) % 26);
    }
    token[1200] = '\0';
    account = script_account(token);
    snprintf(body, sizeof body, "%s%*s%s</Message></Error></ErrorResponse>", head, (int)pad, "", token);
    CHECK(script_begin(&s, account, "cloudfront", "GetDistribution", PAIRS("Id=E1")));
    cr_account_unref(account);
    CHECK(step(&s, 403, NULL, body) == CR_NEED_FAILED);
    CHECK_STR(s.m->error.code, "AccessDenied");
    char part[5];
    for(size_t at = 0; at + 4 <= 600; at++) {
      memcpy(part, token + at, 4);
      part[4] = '\0';
      if(strstr(s.m->error.message, part)) {
        CHECK(!"four characters of the token in the message");
        printf("# pad %zu: %s\n", pad, s.m->error.message);
        break;
      }
    }
    CHECK(strstr(s.m->error.message, "you sent ") != NULL);
    script_end(&s);
  }
}

/* 204 is no answer of these operations: a gateway's, perhaps, that never asked AWS. */
static void test_no_content(void)
{
  struct script s;
  begin_write(&s);
  CHECK(step(&s, 204, NULL, "") == CR_NEED_FAILED && s.m->error.ambiguous && s.m->error.kind == CR_KIND_PARSE);
  script_end(&s);
}

int main(void)
{
  test_transient();
  test_recovery();
  test_bucket();
  test_throttled();
  test_retry_after();
  test_permanent();
  test_writes();
  test_final_transport();
  test_clock();
  test_clock_suspended();
  test_echoed_token();
  test_no_content();
  test_clock_shared();
  test_deadline();
  test_redaction();
  return check_end();
}
