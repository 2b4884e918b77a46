/* test_renewal.c - credentials that must be renewed: asked for once, waited for or not, refused and replaced. A clock
 * that the test moves, no network. */
#include "call_script.h"
#include "check.h"

#define NOW (SCRIPT_TIME / 1000)
#define EXPIRED "<ErrorResponse><Error><Type>Sender</Type><Code>ExpiredToken</Code><Message>The security token " \
  "included in the request is expired</Message></Error><RequestId>r</RequestId></ErrorResponse>"
#define GOOD "<Distribution><Id>E1</Id></Distribution>"

static void give(struct cr_account *account, const char *id, int64_t advised_at, int64_t needed_at)
{
  struct cr_error err;
  CHECK(cr_account_set_credentials(account, id, SCRIPT_SECRET, "token", needed_at, &err) == 0);
  cr_renewal_done(&account->renewal, advised_at, needed_at);
}

static void fail_renewal(struct cr_account *account, int64_t retry_at)
{
  struct cr_error err;
  cr_fail(&err, CR_KIND_CREDENTIALS, "ProcessFailed", "the program is gone");
  cr_renewal_failed(&account->renewal, &err, retry_at);
}

static struct cr_account *renewable(void)
{
  struct cr_account *account = script_account(NULL);
  account->renewal.possible = true;
  return account;
}

static bool begin(struct script *s, struct cr_account *account)
{
  return script_begin(s, account, "cloudfront", "GetDistribution", PAIRS("Id=E1"));
}

static bool signed_by(const struct script *s, const char *id)
{
  const char *header = script_header(s, "Authorization");
  return header && strstr(header, id) != NULL;
}

/* Nothing is there: every call waits, one renewal is begun, all go on. */
static void test_missing(void)
{
  struct cr_account *account = renewable();
  struct cr_error err;
  struct script calls[50];

  CHECK(cr_account_set_credentials(account, NULL, NULL, NULL, 0, &err) == 0);
  for(size_t i = 0; i < 50; i++) {
    CHECK(begin(&calls[i], account));
    CHECK(script_need(&calls[i]) == CR_NEED_WAIT && calls[i].want.until_mono_ms > calls[i].now.mono_ms + 1000);
    CHECK(cr_renewal_begin(&account->renewal) == (i == 0));
  }
  give(account, "AKIDNEW", 0, 0);
  for(size_t i = 0; i < 50; i++) {
    CHECK(script_need(&calls[i]) == CR_NEED_SEND && signed_by(&calls[i], "AKIDNEW"));
    script_end(&calls[i]);
  }
  CHECK(!cr_renewal_begin(&account->renewal));
  cr_account_unref(account);
}

/* What was refused is told by its own name: not the call that was never sent. */
static void test_failure_elsewhere(void)
{
  struct cr_account *account = renewable();
  struct cr_error err;
  struct script s;

  give(account, "AKIDOLD", 0, NOW);
  CHECK(begin(&s, account) && script_need(&s) == CR_NEED_WAIT && cr_renewal_begin(&account->renewal));
  cr_fail(&err, CR_KIND_CREDENTIALS, "AccessDenied", "cannot assume the role");
  snprintf(err.operation, sizeof err.operation, "sts:AssumeRole");
  snprintf(err.request_id, sizeof err.request_id, "r-1");
  cr_renewal_failed(&account->renewal, &err, 0);
  CHECK(script_need(&s) == CR_NEED_FAILED);
  CHECK_STR(s.m->error.operation, "sts:AssumeRole");
  CHECK_STR(s.m->error.request_id, "r-1");
  script_end(&s);
  cr_account_unref(account);
}

/* Those that wait are told why there are none; whoever comes later asks anew. */
static void test_failure(void)
{
  struct cr_account *account = renewable();
  struct script first, second;

  give(account, "AKIDOLD", 0, NOW);
  CHECK(begin(&first, account) && script_need(&first) == CR_NEED_WAIT && cr_renewal_begin(&account->renewal));
  fail_renewal(account, NOW + 60);
  CHECK(script_need(&first) == CR_NEED_FAILED && first.m->error.kind == CR_KIND_CREDENTIALS);
  CHECK_STR(first.m->error.code, "ProcessFailed");
  CHECK_STR(first.m->error.operation, "cloudfront:GetDistribution");
  CHECK(!cr_renewal_begin(&account->renewal));
  CHECK(begin(&second, account) && script_need(&second) == CR_NEED_WAIT && cr_renewal_begin(&account->renewal));
  give(account, "AKIDNEW", 0, NOW + 900);
  CHECK(script_need(&second) == CR_NEED_SEND && signed_by(&second, "AKIDNEW"));
  script_end(&first);
  script_end(&second);
  cr_account_unref(account);
}

/* Advised: calls go on while new ones are brought, and go on where that fails, until they are needed. */
static void test_advised(void)
{
  struct cr_account *account = renewable();
  struct script s, later;

  give(account, "AKIDOLD", NOW, NOW + 300);
  CHECK(begin(&s, account) && script_need(&s) == CR_NEED_SEND && signed_by(&s, "AKIDOLD"));
  CHECK(cr_renewal_begin(&account->renewal) && !cr_renewal_begin(&account->renewal));
  fail_renewal(account, NOW + 60);
  CHECK(script_need(&s) == CR_NEED_SEND && !cr_renewal_begin(&account->renewal)); /* not again at once */
  s.now.unix_ms += 60000;
  CHECK(script_need(&s) == CR_NEED_SEND && cr_renewal_begin(&account->renewal));
  fail_renewal(account, NOW + 120);
  s.now.unix_ms += 240000;
  CHECK(script_need(&s) == CR_NEED_WAIT && cr_renewal_begin(&account->renewal)); /* drawn anew: too old to be sent */
  give(account, "AKIDNEW", NOW + 4000, NOW + 5000);
  CHECK(script_need(&s) == CR_NEED_SEND && signed_by(&s, "AKIDNEW"));
  script_end(&s);
  /* The time that counts is AWS's: this machine's clock is an hour behind. */
  account->clock_offset_ms = 3600000;
  CHECK(begin(&later, account) && script_need(&later) == CR_NEED_SEND && !cr_renewal_begin(&account->renewal));
  later.now.unix_ms += 1400000;
  CHECK(script_need(&later) == CR_NEED_WAIT);
  script_end(&later);
  cr_account_unref(account);
}

/* AWS says they are over: replaced once, and the call repeated, a write too; a second refusal is told. */
static void test_refused(void)
{
  struct cr_account *account = renewable();
  struct script s, other, third;

  give(account, "AKIDOLD", 0, 0);
  CHECK(begin(&s, account) && begin(&other, account));
  CHECK(script_need(&s) == CR_NEED_SEND && script_need(&other) == CR_NEED_SEND);
  script_answer(&s, 403, NULL, EXPIRED);
  CHECK(script_need(&s) == CR_NEED_WAIT && cr_renewal_begin(&account->renewal));
  give(account, "AKIDNEW", 0, 0);
  CHECK(script_need(&s) == CR_NEED_SEND && signed_by(&s, "AKIDNEW"));
  /* Signed with the old ones, refused after the new ones came: no reason for another renewal. */
  script_answer(&other, 403, NULL, EXPIRED);
  CHECK(script_need(&other) == CR_NEED_SEND && signed_by(&other, "AKIDNEW") && !cr_renewal_begin(&account->renewal));
  script_answer(&other, 200, NULL, GOOD);
  CHECK(script_need(&other) == CR_NEED_DONE);
  script_answer(&s, 403, NULL, EXPIRED);
  CHECK(script_need(&s) == CR_NEED_FAILED && s.m->error.kind == CR_KIND_CREDENTIALS);
  CHECK_STR(s.m->error.code, "ExpiredToken");
  script_end(&s);
  script_end(&other);

  CHECK(script_begin(&third, account, "iam", "DeleteServerCertificate", PAIRS("ServerCertificateName=x")));
  CHECK(script_need(&third) == CR_NEED_SEND);
  script_answer(&third, 403, NULL, EXPIRED);
  CHECK(script_need(&third) == CR_NEED_WAIT && cr_renewal_begin(&account->renewal));
  fail_renewal(account, 0);
  CHECK(script_need(&third) == CR_NEED_FAILED && !third.m->error.ambiguous);
  CHECK_STR(third.m->error.code, "ProcessFailed");
  script_end(&third);
  cr_account_unref(account);
}

/* Nobody renews these: AWS's word is the end. A call's own deadline ends its waiting. */
static void test_limits(void)
{
  struct cr_account *fixed = script_account("token"), *account = renewable();
  struct script s;
  struct cr_tree tree;

  CHECK(begin(&s, fixed) && script_need(&s) == CR_NEED_SEND);
  script_answer(&s, 403, NULL, EXPIRED);
  CHECK(script_need(&s) == CR_NEED_FAILED);
  script_end(&s);

  give(account, "AKIDOLD", 0, NOW);
  cr_tree_init(&tree, 1 << 20);
  script_params(&tree, PAIRS("Id=E1"));
  CHECK(script_new(&s, account, "cloudfront", "GetDistribution", tree.root, NULL, NULL, 5000));
  CHECK(script_need(&s) == CR_NEED_WAIT && script_wait(&s) == 5000);
  CHECK(script_need(&s) == CR_NEED_FAILED && s.m->error.kind == CR_KIND_TIMEOUT);
  script_end(&s);
  cr_tree_free(&tree);
  cr_account_unref(account);
  cr_account_unref(fixed);
}

/* The token is the proof: unsigned, whatever the account has; and no answer makes a message of it. */
static void test_web_identity(void)
{
  static const char token[] = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJl";
  struct cr_account *account = renewable();
  struct cr_error err;
  struct script s;
  char pair[128], answer[512];

  CHECK(cr_account_set_credentials(account, NULL, NULL, NULL, 0, &err) == 0);
  snprintf(pair, sizeof pair, "WebIdentityToken=%s", token);
  CHECK(script_begin(&s, account, "sts", "AssumeRoleWithWebIdentity",
                     PAIRS("RoleArn=arn:aws:iam::111122223333:role/r", "RoleSessionName=n", pair)));
  CHECK(script_need(&s) == CR_NEED_SEND && !script_header(&s, "Authorization") && !script_header(&s, "X-Amz-Date"));
  CHECK(strstr(script_body(&s), "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam") != NULL);
  script_answer(&s, 400, NULL, "<ErrorResponse><Error><Code>IDPCommunicationError</Code><Message>m</Message></Error>"
                "</ErrorResponse>");
  CHECK(script_need(&s) == CR_NEED_WAIT);
  script_wait(&s);
  CHECK(script_need(&s) == CR_NEED_SEND);
  snprintf(answer, sizeof answer, "<ErrorResponse><Error><Code>ExpiredTokenException</Code><Message>Token %s is over"
           "</Message></Error></ErrorResponse>", token);
  script_answer(&s, 400, NULL, answer);
  CHECK(script_need(&s) == CR_NEED_FAILED && s.m->error.kind == CR_KIND_CREDENTIALS);
  CHECK(!strstr(s.m->error.message, "eyJ") && !cr_renewal_begin(&account->renewal));
  script_end(&s);
  cr_account_unref(account);
}

int main(void)
{
  test_missing();
  test_failure();
  test_failure_elsewhere();
  test_advised();
  test_refused();
  test_limits();
  test_web_identity();
  return check_end();
}
