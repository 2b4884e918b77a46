/* test_step_import.c - the new certificate into ACM or IAM against a fake AWS: found again, never imported twice. */
#include "step_material.h"

static struct material material;
static struct cr_identity *identity;
static char *leaf_pem, *chain_pem, *other_pem, *twin_pem;

static struct cr_machine *run_import(struct fake *fake, const char *json)
{
  struct cr_account *account = fake_account();
  struct cr_machine *m = material_step(&material, "import", account, json);
  cr_account_unref(account);
  fake_run(fake, m, 1000000);
  return m;
}

static void check_result(struct cr_machine *m, const struct fake *fake, const char *reference, bool adopted)
{
  CHECK(fake_done(m, fake));
  const struct cr_node *root = m->result.root;
  CHECK_STR(cr_get_text(root, "reference"), reference);
  CHECK(cr_get_bool(root, "adopted", !adopted) == adopted);
  CHECK_STR(cr_get_text(root, "fingerprint"), cr_identity_leaf(identity)->fingerprint);
}

/* Others in the account: of another time, of another kind, and one that differs in nothing a summary shows. */
static void crowd(struct fake *fake)
{
  for(int i = 0; i < 5; i++) {
    fake_acm_add(fake, other_pem, NULL)->not_after += (i + 1) * 86400;
  }
  struct fake_certificate *issued = fake_acm_add(fake, twin_pem, chain_pem);
  snprintf(issued->type, sizeof issued->type, "AMAZON_ISSUED");
  fake_acm_add(fake, twin_pem, chain_pem);
}

static void test_acm_new(void)
{
  struct fake fake;
  fake_init(&fake);
  crowd(&fake);
  struct cr_machine *m = run_import(&fake, "{\"store\":\"acm\",\"tags\":{\"team\":\"web\"}}");
  check_result(m, &fake, fake.acm[7].arn, false);
  CHECK_STR(cr_get_text(m->result.root, "arn"), fake.acm[7].arn);
  CHECK_STR(cr_get_text(m->result.root, "store"), "acm");
  CHECK(fake.imports == 1 && fake.acm_count == 8);
  CHECK(fake_count(&fake, "GetCertificate") == 1);   /* only what can be ours is fetched */
  CHECK(fake_count(&fake, "ListCertificates") == 3);
  const struct fake_certificate *made = &fake.acm[7];
  CHECK(made->tags == 3);
  CHECK_STR(made->tag_key[0], "certrotate:fingerprint");
  CHECK_STR(made->tag_value[0], cr_identity_leaf(identity)->fingerprint);
  CHECK_STR(made->tag_key[1], "certrotate:name");
  CHECK_STR(made->tag_value[1], cr_get_text(m->result.root, "name"));
  CHECK(strncmp(made->tag_value[1], "wildcard.example.com-20260115-", 30) == 0 && strlen(made->tag_value[1]) == 42);
  CHECK_STR(made->tag_key[2], "team");
  CHECK(strcmp(made->pem, leaf_pem) == 0 && strcmp(made->chain, chain_pem) == 0);
  cr_machine_free(m);

  /* Again: adopted, nothing written. */
  m = run_import(&fake, "{\"store\":\"acm\"}");
  check_result(m, &fake, fake.acm[7].arn, true);
  CHECK(fake.imports == 1);
  cr_machine_free(m);
  fake_free(&fake);
}

static void test_acm_lost(void)
{
  static const struct {
    enum fake_fault_kind kind;
    int status;
    const char *code;
    bool adopted;
  } cases[] = {
    { FAKE_LOSE_BEFORE, 0, NULL, false },
    { FAKE_LOSE_AFTER, 0, NULL, true },
    { FAKE_ERROR, 500, "InternalFailure", false },
    { FAKE_ERROR_AFTER, 500, "InternalFailure", true },
    { FAKE_ERROR_AFTER, 504, NULL, true },
    { FAKE_ERROR, 400, "ThrottlingException", false },
  };
  for(size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    for(int lag = 0; lag < 25000; lag += 6000) {
      struct fake fake;
      fake_init(&fake);
      crowd(&fake);
      fake.visible_lag_ms = lag;
      fake_fault(&fake, "ImportCertificate", 1, cases[i].kind, cases[i].status, cases[i].code, NULL);
      struct cr_machine *m = run_import(&fake, "{\"store\":\"acm\",\"patience\":30}");
      check_result(m, &fake, fake.acm[7].arn, cases[i].adopted);
      CHECK(fake.imports == 1);
      /* A lost one is looked for until it would have shown up. */
      CHECK(cases[i].adopted ? fake.mono_ms >= lag : true);
      CHECK(cases[i].kind != FAKE_LOSE_BEFORE || fake.mono_ms >= 30000);
      cr_machine_free(m);
      fake_free(&fake);
    }
  }
  /* Lost every time: three, then an end that says that it is not known. */
  struct fake fake;
  fake_init(&fake);
  fake_fault(&fake, "ImportCertificate", 0, FAKE_LOSE_BEFORE, 0, NULL, NULL);
  struct cr_machine *m = run_import(&fake, "{\"store\":\"acm\",\"patience\":5}");
  fake_check_failed(m, &fake, "step:import", CR_KIND_TRANSPORT, "CURLE_RECV_ERROR");
  CHECK(m->error.ambiguous);
  CHECK(fake_count(&fake, "ImportCertificate") == 3);
  cr_machine_free(m);
  fake_free(&fake);
}

static void test_acm_attempted(void)
{
  /* An earlier run imported, and the listing does not show it yet. */
  struct fake fake;
  fake_init(&fake);
  crowd(&fake);
  fake.visible_lag_ms = 20000;
  fake_acm_add(&fake, leaf_pem, chain_pem);
  struct cr_machine *m = run_import(&fake, "{\"store\":\"acm\",\"attempted\":true,\"patience\":30}");
  check_result(m, &fake, fake.acm[7].arn, true);
  CHECK(fake.imports == 0 && fake.mono_ms >= 20000);
  cr_machine_free(m);
  fake_free(&fake);

  /* It did not, after all. */
  fake_init(&fake);
  m = run_import(&fake, "{\"store\":\"acm\",\"attempted\":true,\"patience\":30}");
  check_result(m, &fake, fake.acm[0].arn, false);
  CHECK(fake.imports == 1 && fake.mono_ms >= 30000 && fake.mono_ms < 40000);
  cr_machine_free(m);
  fake_free(&fake);

  /* Without an earlier attempt nobody waits. */
  fake_init(&fake);
  m = run_import(&fake, "{\"store\":\"acm\"}");
  CHECK(fake_done(m, &fake) && fake.mono_ms < 3000);
  cr_machine_free(m);
  fake_free(&fake);
}

static void test_acm_twins(void)
{
  /* The same certificate twice: the oldest, unless one carries our tag. */
  struct fake fake;
  fake_init(&fake);
  fake_acm_add(&fake, leaf_pem, chain_pem)->created = 3000;
  fake_acm_add(&fake, leaf_pem, chain_pem)->created = 1000;
  fake_acm_add(&fake, leaf_pem, chain_pem)->created = 2000;
  struct cr_machine *m = run_import(&fake, "{\"store\":\"acm\"}");
  check_result(m, &fake, fake.acm[1].arn, true);
  cr_machine_free(m);
  struct fake_certificate *ours = &fake.acm[2];
  ours->tags = 1;
  snprintf(ours->tag_key[0], sizeof ours->tag_key[0], "certrotate:fingerprint");
  snprintf(ours->tag_value[0], sizeof ours->tag_value[0], "%s", cr_identity_leaf(identity)->fingerprint);
  m = run_import(&fake, "{\"store\":\"acm\"}");
  check_result(m, &fake, ours->arn, true);
  cr_machine_free(m);
  /* Tags that may not be read: age decides. */
  fake_fault(&fake, "ListTagsForCertificate", 0, FAKE_ERROR, 400, "AccessDeniedException", NULL);
  m = run_import(&fake, "{\"store\":\"acm\"}");
  check_result(m, &fake, fake.acm[1].arn, true);
  CHECK(fake.imports == 0);
  cr_machine_free(m);
  fake_free(&fake);

  /* The same leaf with another chain, or none, is not the same. */
  fake_init(&fake);
  fake_acm_add(&fake, leaf_pem, NULL);
  fake_acm_add(&fake, leaf_pem, other_pem);
  char *longer = fake_print("%s%s", chain_pem, other_pem);
  fake_acm_add(&fake, leaf_pem, longer);
  free(longer);
  m = run_import(&fake, "{\"store\":\"acm\"}");
  check_result(m, &fake, fake.acm[3].arn, false);
  CHECK(fake.imports == 1);
  cr_machine_free(m);
  fake_free(&fake);
}

static void test_acm_failures(void)
{
  static const struct {
    const char *operation;
    int status;
    const char *code;
  } cases[] = {
    { "ListCertificates", 400, "AccessDeniedException" },
    { "GetCertificate", 400, "AccessDeniedException" },     /* it might be ours: never import on a guess */
    { "ImportCertificate", 400, "LimitExceededException" },
    { "ImportCertificate", 400, "ValidationException" },
  };
  for(size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct fake fake;
    fake_init(&fake);
    crowd(&fake);
    fake_fault(&fake, cases[i].operation, 0, FAKE_ERROR, cases[i].status, cases[i].code, NULL);
    struct cr_machine *m = run_import(&fake, "{\"store\":\"acm\"}");
    fake_check_failed(m, &fake, "step:import", CR_KIND_SERVICE, cases[i].code);
    CHECK(fake.imports == 0 && fake_count(&fake, "ImportCertificate") <= 1);
    cr_machine_free(m);
    fake_free(&fake);
  }
  struct fake fake;
  fake_init(&fake);
  fake_fault(&fake, "ListCertificates", 0, FAKE_BODY, 200, NULL,
             "{\"CertificateSummaryList\":[],\"NextToken\":\"again\"}");
  struct cr_machine *m = run_import(&fake, "{\"store\":\"acm\"}");
  fake_check_failed(m, &fake, "step:import", CR_KIND_PARSE, "EndlessListing");
  CHECK(fake.imports == 0 && fake.requests < 5);
  cr_machine_free(m);
  fake_free(&fake);
}

static void test_iam(void)
{
  struct fake fake;
  fake_init(&fake);
  struct cr_machine *m = run_import(&fake, "{\"store\":\"iam\"}");
  check_result(m, &fake, "ASCAEXAMPLEEXAMPLE001", false);
  CHECK(strncmp(fake.iam[0].name, "wildcard.example.com-20260115-", 30) == 0);
  CHECK_STR(cr_get_text(m->result.root, "name"), fake.iam[0].name);
  CHECK_STR(fake.iam[0].path, "/cloudfront/certrotate/");
  CHECK(strncmp(cr_get_text(m->result.root, "arn"), "arn:aws:iam::111122223333:server-certificate/cloudfront/",
                56) == 0);
  CHECK(strcmp(fake.iam[0].pem, leaf_pem) == 0 && strcmp(fake.iam[0].chain, chain_pem) == 0);
  cr_machine_free(m);
  m = run_import(&fake, "{\"store\":\"iam\"}");
  check_result(m, &fake, "ASCAEXAMPLEEXAMPLE001", true);
  CHECK(fake.uploads == 1);
  cr_machine_free(m);
  m = run_import(&fake, "{\"store\":\"iam\",\"name\":\"Other_name\",\"path\":\"/cloudfront/a/\"}");
  check_result(m, &fake, "ASCAEXAMPLEEXAMPLE002", false);
  CHECK_STR(fake.iam[1].name, "Other_name");
  CHECK_STR(fake.iam[1].path, "/cloudfront/a/");
  cr_machine_free(m);
  fake_free(&fake);
}

static void test_iam_conflicts(void)
{
  static const struct {
    const char *path;
    char **pem, **chain;
    const char *says;
  } cases[] = {
    { "/cloudfront/x/", &other_pem, &chain_pem, "another certificate" },
    { "/cloudfront/x/", &leaf_pem, &other_pem, "another chain" },
    { "/", &leaf_pem, &chain_pem, "path" },
  };
  for(size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct fake fake;
    fake_init(&fake);
    fake_iam_add(&fake, "taken", cases[i].path, *cases[i].pem, *cases[i].chain);
    struct cr_machine *m = run_import(&fake, "{\"store\":\"iam\",\"name\":\"taken\"}");
    fake_check_failed(m, &fake, "step:import", CR_KIND_CONFLICT, "EntityAlreadyExists");
    CHECK(strstr(m->error.message, cases[i].says) && strstr(m->error.message, "'taken'"));
    CHECK(fake.uploads == 0 && fake.iam_count == 1);
    cr_machine_free(m);
    fake_free(&fake);
  }
}

static void test_iam_lost(void)
{
  static const struct {
    enum fake_fault_kind kind;
    int status;
    const char *code;
    bool adopted;
  } cases[] = {
    { FAKE_LOSE_BEFORE, 0, NULL, false },
    { FAKE_LOSE_AFTER, 0, NULL, true },
    { FAKE_ERROR, 500, "ServiceFailure", false },
    { FAKE_ERROR_AFTER, 500, "ServiceFailure", true },
    { FAKE_ERROR, 409, "ConcurrentModification", false },
    { FAKE_ERROR, 400, "Throttling", false },
  };
  for(size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    for(int lag = 0; lag < 25000; lag += 12000) {
      struct fake fake;
      fake_init(&fake);
      fake.visible_lag_ms = lag;
      fake_fault(&fake, "UploadServerCertificate", 1, cases[i].kind, cases[i].status, cases[i].code, NULL);
      struct cr_machine *m = run_import(&fake, "{\"store\":\"iam\"}");
      check_result(m, &fake, "ASCAEXAMPLEEXAMPLE001", cases[i].adopted);
      CHECK(fake.uploads == 1 && fake.iam_count == 1);
      cr_machine_free(m);
      fake_free(&fake);
    }
  }
  /* There already, though not shown: another run was faster. */
  struct fake fake;
  fake_init(&fake);
  fake.visible_lag_ms = 10000;
  fake_iam_add(&fake, "here", "/cloudfront/certrotate/", leaf_pem, chain_pem);
  struct cr_machine *m = run_import(&fake, "{\"store\":\"iam\",\"name\":\"here\"}");
  check_result(m, &fake, "ASCAEXAMPLEEXAMPLE001", true);
  CHECK(fake.uploads == 0 && fake_count(&fake, "UploadServerCertificate") == 1);
  cr_machine_free(m);
  fake_free(&fake);

  fake_init(&fake);
  fake_fault(&fake, "UploadServerCertificate", 0, FAKE_ERROR, 409, "LimitExceeded", "Cannot exceed quota");
  m = run_import(&fake, "{\"store\":\"iam\"}");
  fake_check_failed(m, &fake, "step:import", CR_KIND_SERVICE, "LimitExceeded");
  CHECK(fake_count(&fake, "UploadServerCertificate") == 1);
  cr_machine_free(m);
  fake_free(&fake);
}

/* Killed after any number of requests, then run again as the journal would: one import, the same end. */
static void test_crash(const char *first, const char *second)
{
  for(int most = 0; most < 9; most++) {
    struct fake fake;
    fake_init(&fake);
    crowd(&fake);
    fake.visible_lag_ms = 7000;
    struct cr_account *account = fake_account();
    struct cr_machine *m = material_step(&material, "import", account, first);
    fake_run(&fake, m, most);
    cr_machine_free(m);
    m = material_step(&material, "import", account, second);
    fake_run(&fake, m, 1000000);
    CHECK(fake_done(m, &fake));
    CHECK(fake.imports + fake.uploads == 1);
    CHECK(fake.acm_count + fake.iam_count == 8);
    CHECK_STR(cr_get_text(m->result.root, "reference"), fake.imports ? fake.acm[7].arn : fake.iam[0].id);
    cr_machine_free(m);
    cr_account_unref(account);
    fake_free(&fake);
  }
}

static void test_parameters(void)
{
  static const struct {
    const char *json, *says;
  } cases[] = {
    { "{}", "'store'" },
    { "{\"store\":\"s3\"}", "'store'" },
    { "{\"store\":\"acm\",\"name\":\"a*b\"}", "'name'" },
    { "{\"store\":\"acm\",\"name\":\"a,b\"}", "'name'" },
    { "{\"store\":\"iam\",\"path\":\"/\"}", "'path'" },
    { "{\"store\":\"iam\",\"path\":\"/cloudfront/x\"}", "'path'" },
    { "{\"store\":\"acm\",\"tags\":{\"aws:x\":\"y\"}}", "aws:x" },
    { "{\"store\":\"acm\",\"tags\":{\"certrotate:fingerprint\":\"y\"}}", "certrotate:fingerprint" },
    { "{\"store\":\"acm\",\"tags\":{\"a\":[]}}", "'tags'" },
    { "{\"store\":\"acm\",\"attempted\":\"yes\"}", "'attempted'" },
  };
  struct cr_account *account = fake_account();
  struct cr_error err;
  for(size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    CHECK(fake_step("import", account, cases[i].json, identity, &err) == NULL);
    CHECK(err.kind == CR_KIND_INPUT);
    CHECK(strstr(err.message, cases[i].says) != NULL);
  }
  CHECK(fake_step("import", account, "{\"store\":\"acm\"}", NULL, &err) == NULL);
  CHECK(strstr(err.message, "identity") != NULL);
  CHECK(fake_step("retire", account, "{\"reference\":\"ASCAEXAMPLEEXAMPLE001\"}", identity, &err) == NULL);
  CHECK_STR(err.code, "UnexpectedIdentity");
  cr_account_unref(account);
}

/* The import's answer is lost and then nobody can look: the end says that there may be a new certificate. */
static void test_acm_lost_and_blind(void)
{
  struct fake fake;
  fake_init(&fake);
  fake_fault(&fake, "ImportCertificate", 1, FAKE_LOSE_AFTER, 0, NULL, NULL);
  fake_fault(&fake, "ListCertificates", 2, FAKE_ERROR, 400, "AccessDeniedException", "no");
  struct cr_machine *m = run_import(&fake, "{\"store\":\"acm\"}");
  fake_check_failed(m, &fake, "step:import", CR_KIND_SERVICE, "AccessDeniedException");
  CHECK(m->error.ambiguous && m->unsure && fake.imports == 1);
  cr_machine_free(m);
  fake_free(&fake);
}

/* An answer without a listing is no empty listing: importing on it could be the second time. */
static void test_acm_no_listing(void)
{
  static const char *const bodies[] = { "{}", "{\"CertificateSummaryList\":null}", "{\"CertificateSummaryList\":\"\"}",
                                        "{\"CertificateSummaryList\":{\"a\":1}}" };
  for(size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
    struct fake fake;
    fake_init(&fake);
    fake_fault(&fake, "ListCertificates", 0, FAKE_BODY, 200, NULL, bodies[i]);
    struct cr_machine *m = run_import(&fake, "{\"store\":\"acm\"}");
    fake_check_failed(m, &fake, "step:import", CR_KIND_PARSE, "NoListing");
    CHECK(fake.imports == 0);
    cr_machine_free(m);
    fake_free(&fake);
  }
}

int main(void)
{
  static const char *const names = "DNS:*.Example.com,DNS:example.com";
  material_init(&material, names);
  identity = material.identity;
  leaf_pem = material.leaf_pem;
  chain_pem = material.chain_pem;
  other_pem = material_pem(&material, material.other_key, names, 100);
  twin_pem = material_pem(&material, material.other_key, names, 365);
  test_acm_new();
  test_acm_lost();
  test_acm_attempted();
  test_acm_twins();
  test_acm_failures();
  test_acm_lost_and_blind();
  test_acm_no_listing();
  test_iam();
  test_iam_conflicts();
  test_iam_lost();
  test_crash("{\"store\":\"acm\"}", "{\"store\":\"acm\",\"attempted\":true}");
  test_crash("{\"store\":\"iam\"}", "{\"store\":\"iam\",\"attempted\":true}");
  test_parameters();
  free(other_pem);
  free(twin_pem);
  material_free(&material);
  return check_end();
}
