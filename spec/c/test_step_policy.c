/* test_step_policy.c - a continuous-deployment policy detached and attached against a fake AWS: every branch. */
#include "fake_aws.h"

#define P "2c7f1d34-1111-4222-8333-444455556666"
#define Q "99999999-1111-4222-8333-444455556666"
#define ARN "arn:aws:acm:us-east-1:111122223333:certificate/00000001-2222-3333-4444-555555555555"

static char *config_with(const char *element)
{
  char *plain = fake_config("E1", ARN), *made;
  const char *at = strstr(plain, "<Staging>");
  made = fake_print("%.*s%s%s", (int)(at - plain), plain, element, at);
  free(plain);
  return made;
}

#define ELEMENT(id) "<ContinuousDeploymentPolicyId>" id "</ContinuousDeploymentPolicyId>"

/* An AWS whose E1 has this element. */
static void set_up(struct fake *fake, const char *element)
{
  fake_init(fake);
  fake->policy_only = true;
  fake->acm_count = 1;   /* the certificate the configuration names is not looked at */
  snprintf(fake->acm[0].arn, sizeof fake->acm[0].arn, "%s", ARN);
  fake_cf_add(fake, "E1", ARN);
  free(fake->cf[0].config);
  fake->cf[0].config = config_with(element);
}

static struct cr_machine *policy_step(struct cr_account *account, const char *from, const char *to, const char *more)
{
  struct cr_error err;
  char *json = fake_print("{\"Id\":\"E1\",\"from\":\"%s\",\"to\":\"%s\"%s}", from, to, more);
  struct cr_machine *m = fake_step("policy", account, json, NULL, &err);
  CHECK(m != NULL);
  if(!m) {
    printf("# %s\n", err.message);
    exit(1);
  }
  free(json);
  return m;
}

static struct cr_machine *changed(struct fake *fake, const char *from, const char *to, const char *more)
{
  struct cr_account *account = fake_account();
  struct cr_machine *m = policy_step(account, from, to, more);
  cr_account_unref(account);
  fake_run(fake, m, 1000000);
  return m;
}

static bool attached(const struct fake *fake, const char *id)
{
  char *element = fake_print(ELEMENT("%s"), id);
  bool found = strstr(fake->cf[0].config, element) != NULL;
  free(element);
  return found;
}

static void check_result(struct cr_machine *m, const struct fake *fake, bool did, int reads, int writes)
{
  CHECK(fake_done(m, fake));
  const struct cr_node *root = m->result.root;
  CHECK_STR(cr_get_text(root, "Id"), "E1");
  CHECK(cr_get_bool(root, "changed", !did) == did);
  CHECK(cr_get_int(root, "reads", -1) == reads);
  CHECK(cr_get_int(root, "writes", -1) == writes);
}

static void test_there_and_back(void)
{
  struct fake fake;
  set_up(&fake, ELEMENT(P));
  char *before = fake_print("%s", fake.cf[0].config);
  struct cr_machine *m = changed(&fake, P, "", "");
  check_result(m, &fake, true, 1, 1);
  CHECK_STR(cr_get_text(m->result.root, "Status"), "InProgress");
  CHECK_STR(cr_get_text(m->result.root, "ETag"), "EE12");
  CHECK(attached(&fake, "") && fake.requests == 2);
  cr_machine_free(m);
  /* run again: nothing is sent */
  m = changed(&fake, P, "", "");
  check_result(m, &fake, false, 1, 0);
  cr_machine_free(m);
  fake.mono_ms += 100000;
  m = changed(&fake, "", P, "");
  check_result(m, &fake, true, 1, 1);
  CHECK_STR(fake.cf[0].config, before);
  cr_machine_free(m);
  free(before);
  fake_free(&fake);

  /* AWS may leave the empty element out */
  set_up(&fake, "");
  m = changed(&fake, "", P, "");
  check_result(m, &fake, true, 1, 1);
  CHECK(attached(&fake, P));
  cr_machine_free(m);
  fake_free(&fake);
}

static void test_foreign(void)
{
  static const struct {
    const char *element, *from, *to, *says;
  } cases[] = {
    { ELEMENT(Q), P, "", Q }, { ELEMENT(Q), "", P, Q }, { ELEMENT("<x/>"), "", P, "something that is no policy" },
  };
  for(size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct fake fake;
    set_up(&fake, cases[i].element);
    struct cr_machine *m = changed(&fake, cases[i].from, cases[i].to, "");
    fake_check_failed(m, &fake, "step:policy", CR_KIND_CONFLICT, "ForeignPolicy");
    CHECK(strstr(m->error.message, cases[i].says) && strstr(m->error.message, "E1"));
    CHECK(fake.puts == 0 && fake.requests == 1);
    cr_machine_free(m);
    fake_free(&fake);
  }
  /* deleted, or bound elsewhere */
  static const struct {
    int status;
    const char *code;
  } taken[] = {
    { 404, "NoSuchContinuousDeploymentPolicy" }, { 409, "ContinuousDeploymentPolicyInUse" },
    { 409, "StagingDistributionInUse" },
  };
  for(size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
    struct fake fake;
    set_up(&fake, ELEMENT(""));
    fake_fault(&fake, "UpdateDistribution", 0, FAKE_ERROR, taken[i].status, taken[i].code, NULL);
    struct cr_machine *m = changed(&fake, "", P, "");
    fake_check_failed(m, &fake, "step:policy", CR_KIND_CONFLICT, taken[i].code);
    CHECK(m->error.status == taken[i].status && !m->error.retryable && fake.requests == 2);
    cr_machine_free(m);
    fake_free(&fake);
  }
}

/* Somebody edits the configuration, or attaches another policy, between our read and our write. */
static void edit_comment(struct fake *fake, const char *operation, int nth)
{
  if(strcmp(operation, "UpdateDistribution") == 0 && nth == 1) {
    char *at = strstr(fake->cf[0].config, "a &amp; b"), *edited;
    edited = fake_print("%.*sedited%s", (int)(at - fake->cf[0].config), fake->cf[0].config, at + strlen("a &amp; b"));
    fake_cf_change(fake, &fake->cf[0], edited);
    fake->cf[0].deployed_at = 0;
  }
}

static void attach_another(struct fake *fake, const char *operation, int nth)
{
  if(strcmp(operation, "UpdateDistribution") == 0 && nth == 1) {
    fake_cf_change(fake, &fake->cf[0], config_with(ELEMENT(Q)));
    fake->cf[0].deployed_at = 0;
  }
}

static void test_etag(void)
{
  struct fake fake;
  set_up(&fake, ELEMENT(P));
  fake.before = edit_comment;
  struct cr_machine *m = changed(&fake, P, "", "");
  check_result(m, &fake, true, 2, 1);
  CHECK(attached(&fake, "") && strstr(fake.cf[0].config, "<Comment>edited") && fake.puts == 1);
  cr_machine_free(m);
  fake_free(&fake);

  set_up(&fake, ELEMENT(""));
  fake.before = attach_another;
  m = changed(&fake, "", P, "");
  fake_check_failed(m, &fake, "step:policy", CR_KIND_CONFLICT, "ForeignPolicy");
  CHECK(attached(&fake, Q) && fake.puts == 0);
  cr_machine_free(m);
  fake_free(&fake);

  set_up(&fake, ELEMENT(P));
  fake_fault(&fake, "UpdateDistribution", 0, FAKE_ERROR, 412, "PreconditionFailed", NULL);
  m = changed(&fake, P, "", "");
  fake_check_failed(m, &fake, "step:policy", CR_KIND_SERVICE, "PreconditionFailed");
  CHECK(m->error.retryable && fake_count(&fake, "UpdateDistribution") == 8 && attached(&fake, P));
  cr_machine_free(m);
  fake_free(&fake);
}

static void test_lost(void)
{
  static const struct {
    enum fake_fault_kind kind;
    int status;
    const char *code;
  } cases[] = {
    { FAKE_LOSE_BEFORE, 0, NULL },        { FAKE_LOSE_AFTER, 0, NULL },
    { FAKE_ERROR, 500, "InternalError" }, { FAKE_ERROR_AFTER, 503, "ServiceUnavailable" },
    { FAKE_ERROR_AFTER, 502, NULL },      { FAKE_ERROR_AFTER, 412, "PreconditionFailed" },
    { FAKE_ERROR, 400, "InvalidIfMatchVersion" },
  };
  for(size_t i = 0; i < 2 * (sizeof cases / sizeof cases[0]); i++) {
    struct fake fake;
    bool detach = i % 2 == 0;
    set_up(&fake, detach ? ELEMENT(P) : ELEMENT(""));
    fake_fault(&fake, "UpdateDistribution", 1, cases[i / 2].kind, cases[i / 2].status, cases[i / 2].code, NULL);
    struct cr_machine *m = changed(&fake, detach ? P : "", detach ? "" : P, "");
    check_result(m, &fake, true, 2, 1);
    CHECK(attached(&fake, detach ? "" : P) && fake.puts == 1);
    cr_machine_free(m);
    fake_free(&fake);
  }
}

/* Refused for a change that is still on its way, and for ever. */
static void test_refused(void)
{
  struct fake fake;
  set_up(&fake, ELEMENT(""));
  fake.cf[0].deployed_at = fake.mono_ms + 200000;
  struct cr_machine *m = changed(&fake, "", P, "");
  CHECK(fake_done(m, &fake) && attached(&fake, P) && fake.mono_ms >= 200000 && fake.mono_ms < 230000);
  cr_machine_free(m);
  fake_free(&fake);

  set_up(&fake, ELEMENT(""));
  fake_fault(&fake, "UpdateDistribution", 0, FAKE_ERROR, 400, "IllegalUpdate", "You cannot update that.");
  m = changed(&fake, "", P, ",\"settle_patience\":600");
  fake_check_failed(m, &fake, "step:policy", CR_KIND_SERVICE, "IllegalUpdate");
  CHECK(strstr(m->error.message, "You cannot update that.") && fake.mono_ms >= 600000 && fake.mono_ms < 620000);
  cr_machine_free(m);
  fake_free(&fake);

  set_up(&fake, ELEMENT(P));
  fake_fault(&fake, "UpdateDistribution", 0, FAKE_ERROR, 403, "AccessDenied", NULL);
  m = changed(&fake, P, "", "");
  fake_check_failed(m, &fake, "step:policy", CR_KIND_SERVICE, "AccessDenied");
  CHECK(fake.requests == 2 && !m->error.ambiguous);
  cr_machine_free(m);
  fake_free(&fake);

  set_up(&fake, ELEMENT(P));
  fake_fault(&fake, "GetDistributionConfig", 0, FAKE_BODY, 200, NULL,
             "<DistributionConfig>" ELEMENT(P) "<Staging/></DistributionConfig>");
  m = changed(&fake, P, "", "");
  fake_check_failed(m, &fake, "step:policy", CR_KIND_PARSE, "NoETag");
  CHECK(fake_count(&fake, "UpdateDistribution") == 0);
  cr_machine_free(m);
  fake_free(&fake);
}

/* Killed after any number of requests, with and without faults, then run again: the same end, one write. */
static void test_crash(void)
{
  for(int fault = 0; fault < 2; fault++) {
    for(int most = 0; most < 6; most++) {
      struct fake fake;
      set_up(&fake, ELEMENT(P));
      if(fault == 1) {
        fake_fault(&fake, "UpdateDistribution", 1, FAKE_LOSE_AFTER, 0, NULL, NULL);
      }
      struct cr_account *account = fake_account();
      struct cr_machine *m = policy_step(account, P, "", "");
      fake_run(&fake, m, most);
      cr_machine_free(m);
      m = policy_step(account, P, "", "");
      fake_run(&fake, m, 1000000);
      CHECK(fake_done(m, &fake) && attached(&fake, "") && fake.puts == 1);
      cr_machine_free(m);
      cr_account_unref(account);
      fake_free(&fake);
    }
  }
}

static void test_parameters(void)
{
  static const struct {
    const char *json, *code, *names;
  } cases[] = {
    { "{\"from\":\"" P "\"}", "MissingParameter", "'Id'" },
    { "{\"Id\":\"E1\"}", "InvalidParameter", "'from' or 'to'" },
    { "{\"Id\":\"E1\",\"from\":\"" P "\",\"to\":\"" Q "\"}", "InvalidParameter", "'from' or 'to'" },
    { "{\"Id\":\"E1\",\"from\":\"a b\"}", "InvalidParameter", "'from'" },
    { "{\"Id\":\"E1\",\"to\":\"<\"}", "InvalidParameter", "'to'" },
  };
  struct cr_account *account = fake_account();
  for(size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct cr_error err;
    struct cr_machine *m = fake_step("policy", account, cases[i].json, NULL, &err);
    CHECK(m == NULL);
    CHECK_STR(err.code, cases[i].code);
    CHECK(strstr(err.message, cases[i].names) != NULL);
    cr_machine_free(m);
  }
  cr_account_unref(account);
}

int main(void)
{
  test_there_and_back();
  test_foreign();
  test_etag();
  test_lost();
  test_refused();
  test_crash();
  test_parameters();
  return check_end();
}
