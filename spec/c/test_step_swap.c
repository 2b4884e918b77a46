/* test_step_swap.c - one holder from one certificate to another against a fake AWS: every branch of the swap. */
#include "fake_aws.h"
#include "make_certificates.h"

static char *old_pem, *new_pem, *third_pem;
static char old_arn[128], new_arn[128], third_arn[128];

/* An AWS with three certificates and E1 naming the old one. */
static void set_up(struct fake *fake)
{
  fake_init(fake);
  snprintf(old_arn, sizeof old_arn, "%s", fake_acm_add(fake, old_pem, NULL)->arn);
  snprintf(new_arn, sizeof new_arn, "%s", fake_acm_add(fake, new_pem, NULL)->arn);
  snprintf(third_arn, sizeof third_arn, "%s", fake_acm_add(fake, third_pem, NULL)->arn);
  fake_cf_add(fake, "E1", old_arn);
}

static struct cr_machine *swap_step(struct cr_account *account, const char *from, const char *to, const char *more)
{
  struct cr_error err;
  char *json = fake_print("{\"Id\":\"E1\",\"from\":\"%s\",\"to\":\"%s\"%s}", from, to, more);
  struct cr_machine *m = fake_step("swap", account, json, NULL, &err);
  CHECK(m != NULL);
  if(!m) {
    printf("# %s\n", err.message);
    exit(1);
  }
  free(json);
  return m;
}

/* Runs a whole swap; the caller frees the machine. */
static struct cr_machine *swapped(struct fake *fake, const char *more)
{
  struct cr_account *account = fake_account();
  struct cr_machine *m = swap_step(account, old_arn, new_arn, more);
  cr_account_unref(account);
  fake_run(fake, m, 1000000);
  return m;
}

static bool is_new(struct fake *fake)
{
  const char *config = fake_cf_find(fake, "E1")->config;
  return fake_names(config, new_arn) && !fake_names(config, old_arn);
}

static void check_result(struct cr_machine *m, const struct fake *fake, bool changed, int reads, int writes)
{
  CHECK(fake_done(m, fake));
  const struct cr_node *root = m->result.root;
  CHECK_STR(cr_get_text(root, "Id"), "E1");
  CHECK(cr_get_bool(root, "changed", !changed) == changed);
  CHECK(cr_get_int(root, "reads", -1) == reads);
  CHECK(cr_get_int(root, "writes", -1) == writes);
}

static void test_plain(void)
{
  struct fake fake;
  set_up(&fake);
  struct cr_machine *m = swapped(&fake, "");
  check_result(m, &fake, true, 1, 1);
  CHECK(is_new(&fake));
  CHECK_STR(cr_get_text(m->result.root, "ETag"), "EE12");
  CHECK_STR(cr_get_text(m->result.root, "Status"), "InProgress");
  CHECK(fake.requests == 2);
  /* Both calls are told, in order, once. */
  struct cr_attempt attempt;
  CHECK(cr_machine_attempt(m, &attempt));
  CHECK_STR(attempt.operation, "cloudfront:GetDistributionConfig");
  CHECK(cr_machine_attempt(m, &attempt));
  CHECK_STR(attempt.operation, "cloudfront:UpdateDistribution");
  CHECK(attempt.status == 200);
  CHECK(!cr_machine_attempt(m, &attempt));
  cr_machine_free(m);

  /* Run again: nothing is sent. */
  m = swapped(&fake, "");
  check_result(m, &fake, false, 1, 0);
  CHECK_STR(cr_get_text(m->result.root, "Status"), "");
  CHECK(fake.puts == 1);
  cr_machine_free(m);
  fake_free(&fake);
}

static void test_foreign(void)
{
  struct fake fake;
  set_up(&fake);
  fake_cf_change(&fake, &fake.cf[0], fake_config("E1", third_arn));
  struct cr_machine *m = swapped(&fake, "");
  fake_check_failed(m, &fake, "step:swap", CR_KIND_CONFLICT, "ForeignCertificate");
  CHECK(strstr(m->error.message, third_arn) && strstr(m->error.message, "E1"));
  CHECK(fake.puts == 0);
  cr_machine_free(m);

  fake_cf_change(&fake, &fake.cf[0], fake_config("E1", ""));
  m = swapped(&fake, "");
  fake_check_failed(m, &fake, "step:swap", CR_KIND_CONFLICT, "ForeignCertificate");
  CHECK(strstr(m->error.message, "default certificate") != NULL);
  cr_machine_free(m);
  fake_free(&fake);
}

/* Somebody edits the configuration between our read and our write. */
static void edit_comment(struct fake *fake, const char *operation, int nth)
{
  if(strcmp(operation, "UpdateDistribution") == 0 && nth == 1) {
    struct fake_distribution *d = fake_cf_find(fake, "E1");
    char *at = strstr(d->config, "a &amp; b"), *edited;
    edited = fake_print("%.*sedited%s", (int)(at - d->config), d->config, at + strlen("a &amp; b"));
    fake_cf_change(fake, d, edited);
    d->deployed_at = 0;
  }
}

static void change_certificate(struct fake *fake, const char *operation, int nth)
{
  if(strcmp(operation, "UpdateDistribution") == 0 && nth == 1) {
    struct fake_distribution *d = fake_cf_find(fake, "E1");
    fake_cf_change(fake, d, fake_config("E1", third_arn));
    d->deployed_at = 0;
  }
}

static void test_etag(void)
{
  struct fake fake;
  set_up(&fake);
  fake.before = edit_comment;
  struct cr_machine *m = swapped(&fake, "");
  check_result(m, &fake, true, 2, 1);
  CHECK(is_new(&fake));
  CHECK(strstr(fake.cf[0].config, "<Comment>edited") != NULL);   /* their change survives ours */
  CHECK(fake.puts == 1);
  cr_machine_free(m);
  fake_free(&fake);

  set_up(&fake);
  fake.before = change_certificate;
  m = swapped(&fake, "");
  fake_check_failed(m, &fake, "step:swap", CR_KIND_CONFLICT, "ForeignCertificate");
  CHECK(fake_names(fake.cf[0].config, third_arn));
  cr_machine_free(m);
  fake_free(&fake);

  /* Refused again and again: an end after eight rounds. */
  set_up(&fake);
  fake_fault(&fake, "UpdateDistribution", 0, FAKE_ERROR, 412, "PreconditionFailed", NULL);
  m = swapped(&fake, "");
  fake_check_failed(m, &fake, "step:swap", CR_KIND_SERVICE, "PreconditionFailed");
  CHECK(m->error.status == 412 && m->error.retryable);
  CHECK_STR(m->error.request_id, "11112222-req");
  CHECK(fake_count(&fake, "UpdateDistribution") == 8);
  cr_machine_free(m);
  fake_free(&fake);

  set_up(&fake);
  fake_fault(&fake, "UpdateDistribution", 1, FAKE_ERROR, 400, "InvalidIfMatchVersion", NULL);
  m = swapped(&fake, "");
  check_result(m, &fake, true, 2, 1);
  cr_machine_free(m);
  fake_free(&fake);
}

static void test_lost(void)
{
  static const struct {
    enum fake_fault_kind kind;
    int status, puts, reads;
    const char *code;
  } cases[] = {
    { FAKE_LOSE_BEFORE, 0, 1, 2, NULL },        /* read back: still old, written again */
    { FAKE_LOSE_AFTER, 0, 1, 2, NULL },         /* read back: new, not written again */
    { FAKE_ERROR, 500, 1, 2, "InternalError" },
    { FAKE_ERROR_AFTER, 503, 1, 2, "ServiceUnavailable" },
    { FAKE_ERROR_AFTER, 502, 1, 2, NULL },      /* a proxy's page */
    { FAKE_ERROR_AFTER, 412, 1, 2, "PreconditionFailed" },   /* sent twice by a transport */
  };
  for(size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct fake fake;
    set_up(&fake);
    fake_fault(&fake, "UpdateDistribution", 1, cases[i].kind, cases[i].status, cases[i].code, NULL);
    struct cr_machine *m = swapped(&fake, "");
    check_result(m, &fake, true, cases[i].reads, 1);
    CHECK(is_new(&fake));
    CHECK(fake.puts == cases[i].puts);
    cr_machine_free(m);
    fake_free(&fake);
  }
}

/* Another change is on its way: settle first, then change. */
static void test_in_progress(void)
{
  struct fake fake;
  set_up(&fake);
  fake.cf[0].deployed_at = fake.mono_ms + 200000;
  struct cr_machine *m = swapped(&fake, "");
  CHECK(fake_done(m, &fake));
  CHECK(cr_get_bool(m->result.root, "changed", false));
  CHECK(is_new(&fake));
  CHECK(fake_count(&fake, "UpdateDistribution") == 2);
  CHECK(fake_count(&fake, "GetDistribution") >= 5 && fake_count(&fake, "GetDistribution") <= 30);
  CHECK(fake.mono_ms >= 200000);
  cr_machine_free(m);
  fake_free(&fake);

  /* not for ever */
  set_up(&fake);
  fake.cf[0].deployed_at = fake.mono_ms + 2000000;
  m = swapped(&fake, ",\"settle_patience\":600");
  fake_check_failed(m, &fake, "step:swap", CR_KIND_TIMEOUT, "IllegalUpdate");
  CHECK(strstr(m->error.message, "600 s") != NULL && m->error.retryable);
  CHECK(fake.mono_ms >= 600000 && fake.mono_ms < 620000);
  CHECK(fake.puts == 0);
  cr_machine_free(m);
  fake_free(&fake);

  /* and not at all when told so */
  set_up(&fake);
  fake.cf[0].deployed_at = fake.mono_ms + 2000000;
  m = swapped(&fake, ",\"settle_patience\":0");
  fake_check_failed(m, &fake, "step:swap", CR_KIND_TIMEOUT, "IllegalUpdate");
  CHECK(fake.mono_ms < 5000);
  cr_machine_free(m);
  fake_free(&fake);

  /* Throttled looks do not end it. */
  set_up(&fake);
  fake.cf[0].deployed_at = fake.mono_ms + 60000;
  fake_fault(&fake, "GetDistribution", 1, FAKE_ERROR, 400, "Throttling", "Rate exceeded");
  fake_fault(&fake, "GetDistribution", 3, FAKE_ERROR, 500, "InternalError", NULL);
  m = swapped(&fake, "");
  CHECK(fake_done(m, &fake));
  CHECK(is_new(&fake));
  cr_machine_free(m);
  fake_free(&fake);
}

static void test_illegal_otherwise(void)
{
  struct fake fake;
  set_up(&fake);
  fake.cf[0].continuous = true;
  struct cr_machine *m = swapped(&fake, "");
  fake_check_failed(m, &fake, "step:swap", CR_KIND_SERVICE, "IllegalUpdate");
  CHECK(strstr(m->error.message, "detach the policy") != NULL);
  CHECK(fake.requests == 2);
  cr_machine_free(m);
  fake_free(&fake);

  /* Deployed, and refused all the same: a reason nobody told us. A few tries, no endless loop. */
  set_up(&fake);
  fake_fault(&fake, "UpdateDistribution", 0, FAKE_ERROR, 400, "IllegalUpdate", "You cannot update that.");
  m = swapped(&fake, "");
  fake_check_failed(m, &fake, "step:swap", CR_KIND_SERVICE, "IllegalUpdate");
  CHECK(strstr(m->error.message, "You cannot update that.") != NULL);
  CHECK(fake_count(&fake, "UpdateDistribution") == 3);
  CHECK(fake.puts == 0);
  cr_machine_free(m);
  fake_free(&fake);
}

static void test_not_visible(void)
{
  struct fake fake;
  set_up(&fake);
  fake.acm[1].usable_at = fake.mono_ms + 40000;
  struct cr_machine *m = swapped(&fake, "");
  CHECK(fake_done(m, &fake));
  CHECK(is_new(&fake));
  CHECK(fake.mono_ms >= 40000 && fake.mono_ms < 70000);
  cr_machine_free(m);
  fake_free(&fake);

  set_up(&fake);
  fake.acm[1].usable_at = fake.mono_ms + 400000;
  m = swapped(&fake, "");
  fake_check_failed(m, &fake, "step:swap", CR_KIND_SERVICE, "InvalidViewerCertificate");
  CHECK(m->error.status == 400);
  CHECK(fake.mono_ms >= 90000 && fake.mono_ms < 110000);
  CHECK(fake.puts == 0);
  cr_machine_free(m);
  fake_free(&fake);

  set_up(&fake);
  fake.acm[1].usable_at = fake.mono_ms + 400000;
  m = swapped(&fake, ",\"visible_patience\":0");
  fake_check_failed(m, &fake, "step:swap", CR_KIND_SERVICE, "InvalidViewerCertificate");
  CHECK(fake.requests == 2);
  cr_machine_free(m);
  fake_free(&fake);
}

static void test_refused(void)
{
  static const struct {
    const char *operation;
    int status;
    const char *code;
    enum cr_kind kind;
  } cases[] = {
    { "UpdateDistribution", 400, "TooManyCertificates", CR_KIND_SERVICE },
    { "UpdateDistribution", 403, "AccessDenied", CR_KIND_SERVICE },
    { "UpdateDistribution", 409, "CNAMEAlreadyExists", CR_KIND_SERVICE },
    { "GetDistributionConfig", 404, "NoSuchDistribution", CR_KIND_SERVICE },
    { "GetDistributionConfig", 403, "ExpiredToken", CR_KIND_CREDENTIALS },
  };
  for(size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct fake fake;
    set_up(&fake);
    fake_fault(&fake, cases[i].operation, 0, FAKE_ERROR, cases[i].status, cases[i].code, NULL);
    struct cr_machine *m = swapped(&fake, "");
    fake_check_failed(m, &fake, "step:swap", cases[i].kind, cases[i].code);
    CHECK(m->error.status == cases[i].status);
    CHECK(strstr(m->error.message, "E1: cloudfront:") == m->error.message);
    CHECK(fake.puts == 0 && fake.requests <= 2);
    cr_machine_free(m);
    fake_free(&fake);
  }
}

static void test_odd_configurations(void)
{
  static const char *const bodies[] = {
    "<DistributionConfig><Enabled>true</Enabled></DistributionConfig>",
    "<!DOCTYPE x []><DistributionConfig><ViewerCertificate/></DistributionConfig>",
    "<DistributionConfig><ViewerCertificate>",
  };
  for(size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
    struct fake fake;
    set_up(&fake);
    fake_fault(&fake, "GetDistributionConfig", 0, FAKE_BODY, 200, NULL, bodies[i]);
    struct cr_machine *m = swapped(&fake, "");
    struct cr_moment now = fake_now(&fake);
    struct cr_want want;
    CHECK(m->class->next(m, &now, &want) == CR_NEED_FAILED);
    CHECK(fake.puts == 0 && fake_count(&fake, "UpdateDistribution") == 0);
    cr_machine_free(m);
    fake_free(&fake);
  }
  /* without an ETag nothing can be written safely */
  struct fake fake;
  set_up(&fake);
  fake_fault(&fake, "GetDistributionConfig", 0, FAKE_BODY, 200, NULL, fake.cf[0].config);
  struct cr_machine *m = swapped(&fake, "");
  fake_check_failed(m, &fake, "step:swap", CR_KIND_PARSE, "NoETag");
  CHECK(fake_count(&fake, "UpdateDistribution") == 0);
  cr_machine_free(m);
  fake_free(&fake);
}

/* From one store to the other, and back. */
static void test_stores(void)
{
  struct fake fake;
  set_up(&fake);
  const char *id = fake_iam_add(&fake, "www", "/cloudfront/x/", third_pem, NULL)->id;
  struct cr_account *account = fake_account();
  struct cr_machine *m = swap_step(account, old_arn, id, "");
  fake_run(&fake, m, 1000000);
  check_result(m, &fake, true, 1, 1);
  CHECK(fake_names(fake.cf[0].config, id) && !fake_names(fake.cf[0].config, old_arn));
  cr_machine_free(m);
  m = swap_step(account, id, new_arn, "");
  fake_run(&fake, m, 1000000);
  CHECK(fake_done(m, &fake));
  CHECK(fake_names(fake.cf[0].config, new_arn) && !fake_names(fake.cf[0].config, id));
  cr_machine_free(m);
  cr_account_unref(account);
  fake_free(&fake);
}

/* Killed after any number of requests, with and without faults, then run again: the same end, one write each. */
static void test_crash(void)
{
  for(int fault = 0; fault < 3; fault++) {
    for(int most = 0; most < 12; most++) {
      struct fake fake;
      set_up(&fake);
      if(fault == 1) {
        fake_fault(&fake, "UpdateDistribution", 1, FAKE_LOSE_AFTER, 0, NULL, NULL);
      } else if(fault == 2) {
        fake.cf[0].deployed_at = fake.mono_ms + 20000;
      }
      struct cr_account *account = fake_account();
      struct cr_machine *m = swap_step(account, old_arn, new_arn, "");
      fake_run(&fake, m, most);
      cr_machine_free(m);
      m = swap_step(account, old_arn, new_arn, "");
      fake_run(&fake, m, 1000000);
      CHECK(fake_done(m, &fake));
      CHECK(is_new(&fake));
      CHECK(fake.puts == 1);
      cr_machine_free(m);
      cr_account_unref(account);
      fake_free(&fake);
    }
  }
}

/* A holder on the default certificate: attached to, once, and only from there. */
static void test_attach(void)
{
  struct fake fake;
  set_up(&fake);
  fake_cf_change(&fake, &fake.cf[0], fake_config("E1", ""));
  fake.cf[0].deployed_at = 0;
  for(int i = 0; i < 3; i++) {
    struct cr_account *account = fake_account();
    struct cr_error err;
    char *json = fake_print("{\"Id\":\"E1\",\"to\":\"%s\",\"ssl_support_method\":\"sni-only\","
                            "\"minimum_protocol_version\":\"TLSv1.2_2021\"}", new_arn);
    struct cr_machine *m = fake_step("swap", account, json, NULL, &err);
    CHECK(m != NULL);
    cr_account_unref(account);
    free(json);
    if(i == 2) {
      fake_cf_change(&fake, &fake.cf[0], fake_config("E1", third_arn));
    }
    fake_run(&fake, m, 1000000);
    if(i < 2) {
      check_result(m, &fake, i == 0, 1, i == 0);
      CHECK(is_new(&fake) && strstr(fake.cf[0].config, "sni-only"));
    } else {
      fake_check_failed(m, &fake, "step:swap", CR_KIND_CONFLICT, "ForeignCertificate");
      CHECK(strstr(m->error.message, "not on the default certificate any more") != NULL);
    }
    cr_machine_free(m);
  }
  CHECK(fake.puts == 1);
  fake_free(&fake);
}

static void test_parameters(void)
{
  static const struct {
    const char *json, *code, *names;
  } cases[] = {
    { "{\"from\":\"ASCAEXAMPLEEXAMPLE001\",\"to\":\"ASCAEXAMPLEEXAMPLE002\"}", "MissingParameter", "'Id'" },
    { "{\"Id\":\"\",\"from\":\"ASCAEXAMPLEEXAMPLE001\",\"to\":\"ASCAEXAMPLEEXAMPLE002\"}", "MissingParameter", "'Id'" },
    { "{\"Id\":7,\"from\":\"ASCAEXAMPLEEXAMPLE001\",\"to\":\"ASCAEXAMPLEEXAMPLE002\"}", "InvalidParameter", "'Id'" },
    { "{\"Id\":\"E1\",\"from\":\"www\",\"to\":\"ASCAEXAMPLEEXAMPLE002\"}", "InvalidParameter", "'from'" },
    { "{\"Id\":\"E1\",\"from\":\"ASCAEXAMPLEEXAMPLE001\",\"to\":\"www\"}", "InvalidParameter", "'to'" },
    { "{\"Id\":\"E1\",\"from\":\"ASCAEXAMPLEEXAMPLE001\",\"to\":\"ASCAEXAMPLEEXAMPLE001\"}", "InvalidParameter",
      "same" },
    { "{\"Id\":\"E1\",\"to\":\"ASCAEXAMPLEEXAMPLE002\"}", "InvalidParameter", "'from'" },
    { "{\"Id\":\"E1\",\"to\":\"ASCAEXAMPLEEXAMPLE002\",\"ssl_support_method\":\"vip\"}", "InvalidParameter",
      "'minimum_protocol_version'" },
    { "{\"Id\":\"E1\",\"from\":\"ASCAEXAMPLEEXAMPLE001\",\"to\":\"ASCAEXAMPLEEXAMPLE002\","
      "\"ssl_support_method\":\"vip\",\"minimum_protocol_version\":\"TLSv1\"}", "InvalidParameter", "'from'" },
    { "{\"Id\":\"dt_1\",\"to\":\"ASCAEXAMPLEEXAMPLE002\",\"ssl_support_method\":\"vip\","
      "\"minimum_protocol_version\":\"TLSv1\"}", "InvalidParameter", "tenant" },
    { "{\"Id\":\"E1\",\"from\":\"ASCAEXAMPLEEXAMPLE001\",\"to\":\"ASCAEXAMPLEEXAMPLE002\",\"form\":1}",
      "UnknownParameter", "'form'" },
    { "{\"Id\":\"E1\",\"from\":\"ASCAEXAMPLEEXAMPLE001\",\"to\":\"ASCAEXAMPLEEXAMPLE002\",\"settle_patience\":-1}",
      "InvalidParameter", "'settle_patience'" },
  };
  struct cr_account *account = fake_account();
  struct cr_error err;
  for(size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    CHECK(fake_step("swap", account, cases[i].json, NULL, &err) == NULL);
    CHECK(err.kind == CR_KIND_INPUT);
    CHECK_STR(err.code, cases[i].code);
    CHECK(strstr(err.message, cases[i].names) != NULL);
  }
  CHECK(fake_step("dance", account, "{}", NULL, &err) == NULL);
  CHECK_STR(err.code, "UnknownStep");
  CHECK(fake_step("swap", NULL, "{}", NULL, &err) == NULL);
  CHECK(strstr(err.message, "account") != NULL);
  cr_account_unref(account);
}

/* The write's answer is lost and then nobody can look: the end says that the holder may have been changed. */
static void test_lost_and_blind(void)
{
  struct fake fake;
  set_up(&fake);
  fake_fault(&fake, "UpdateDistribution", 1, FAKE_LOSE_AFTER, 0, NULL, NULL);
  fake_fault(&fake, "GetDistributionConfig", 2, FAKE_ERROR, 403, "AccessDenied", "no");
  struct cr_machine *m = swapped(&fake, "");
  fake_check_failed(m, &fake, "step:swap", CR_KIND_SERVICE, "AccessDenied");
  CHECK(m->error.ambiguous && fake.puts == 1);
  cr_machine_free(m);
  fake_free(&fake);

  set_up(&fake);   /* read back: somebody else's, and that is sure */
  fake.before = change_certificate;
  fake_fault(&fake, "UpdateDistribution", 1, FAKE_LOSE_BEFORE, 0, NULL, NULL);
  m = swapped(&fake, "");
  fake_check_failed(m, &fake, "step:swap", CR_KIND_CONFLICT, "ForeignCertificate");
  CHECK(!m->error.ambiguous && fake.puts == 0);
  cr_machine_free(m);
  fake_free(&fake);
}

int main(void)
{
  struct mk_ca ca = mk_ca("Test CA", NULL);
  EVP_PKEY *key = mk_key("P-256");
  X509 *leaf[3];
  char **pem[3] = { &old_pem, &new_pem, &third_pem };
  for(int i = 0; i < 3; i++) {
    leaf[i] = mk_leaf("www.example.com", "DNS:www.example.com", key, &ca);
    *pem[i] = mk_pem(leaf[i]);
  }
  test_plain();
  test_foreign();
  test_etag();
  test_lost();
  test_lost_and_blind();
  test_in_progress();
  test_illegal_otherwise();
  test_not_visible();
  test_refused();
  test_odd_configurations();
  test_stores();
  test_crash();
  test_attach();
  test_parameters();
  for(int i = 0; i < 3; i++) {
    X509_free(leaf[i]);
    free(*pem[i]);
  }
  EVP_PKEY_free(key);
  mk_ca_free(&ca);
  return check_end();
}
