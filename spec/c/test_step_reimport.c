/* test_step_reimport.c - the new certificate under the old one's ARN against a fake AWS: only what was to be replaced
 * is replaced, and a lost answer ends in the same state. */
#include "step_material.h"

static struct material material;
static struct cr_identity *identity;
static char *leaf_pem, *chain_pem, *old_pem, *third_pem;
static char from[CR_FINGERPRINT_HEX + 1];

static struct cr_machine *run(struct fake *fake, const char *arn, const char *more, int requests)
{
  struct cr_account *account = fake_account();
  char *json = fake_print("{\"reference\":\"%s\",\"from\":\"%s\"%s}", arn, from, more);
  struct cr_machine *m = material_step(&material, "reimport", account, json);
  free(json);
  cr_account_unref(account);
  fake_run(fake, m, requests);
  return m;
}

static bool holds_new(const struct fake *fake)
{
  return strcmp(fake->acm[0].pem, leaf_pem) == 0 && strcmp(fake->acm[0].chain, chain_pem) == 0;
}

static void check_result(struct cr_machine *m, const struct fake *fake, bool changed)
{
  CHECK(fake_done(m, fake));
  CHECK_STR(cr_get_text(m->result.root, "reference"), fake->acm[0].arn);
  CHECK_STR(cr_get_text(m->result.root, "fingerprint"), cr_identity_leaf(identity)->fingerprint);
  CHECK(cr_get_bool(m->result.root, "changed", !changed) == changed);
  CHECK(holds_new(fake));
}

static void test_new(void)
{
  struct fake fake;
  fake_init(&fake);
  struct fake_certificate *c = fake_acm_add(&fake, old_pem, chain_pem);
  c->tags = 1;
  struct cr_machine *m = run(&fake, c->arn, "", 1000);
  check_result(m, &fake, true);
  CHECK(fake.reimports == 1 && fake.imports == 0 && fake.acm_count == 1 && c->tags == 1);
  cr_machine_free(m);

  /* Again: found done, nothing written. */
  m = run(&fake, c->arn, "", 1000);
  check_result(m, &fake, false);
  CHECK(fake.reimports == 1 && cr_get_int(m->result.root, "writes", 9) == 0);
  cr_machine_free(m);

  /* Begun by an earlier run, it is that one's doing. */
  m = run(&fake, c->arn, ",\"attempted\":true", 1000);
  check_result(m, &fake, true);
  CHECK(fake.reimports == 1);
  cr_machine_free(m);
  fake_free(&fake);

  /* The leaf with another chain is not what was asked for. */
  fake_init(&fake);
  c = fake_acm_add(&fake, leaf_pem, third_pem);
  m = run(&fake, c->arn, "", 1000);
  check_result(m, &fake, true);
  CHECK(fake.reimports == 1);
  cr_machine_free(m);
  fake_free(&fake);
}

static void test_foreign(void)
{
  struct fake fake;
  fake_init(&fake);
  struct fake_certificate *c = fake_acm_add(&fake, third_pem, chain_pem);
  struct cr_machine *m = run(&fake, c->arn, ",\"attempted\":true", 1000);
  fake_check_failed(m, &fake, "step:reimport", CR_KIND_CONFLICT, "ForeignCertificate");
  CHECK(fake.reimports == 0 && strcmp(c->pem, third_pem) == 0);
  cr_machine_free(m);
  c->gone = true;
  m = run(&fake, c->arn, "", 1000);
  fake_check_failed(m, &fake, "step:reimport", CR_KIND_SERVICE, "ResourceNotFoundException");
  CHECK(fake.reimports == 0 && fake.imports == 0);
  cr_machine_free(m);
  fake_free(&fake);
}

static void test_lost(void)
{
  static const struct {
    enum fake_fault_kind kind;
    int status;
    const char *code;
    int most;              /* writes that were carried out */
  } cases[] = {
    { FAKE_LOSE_BEFORE, 0, NULL, 1 },
    { FAKE_LOSE_AFTER, 0, NULL, 1 },
    { FAKE_ERROR, 500, "InternalFailure", 1 },
    { FAKE_ERROR_AFTER, 500, "InternalFailure", 1 },
    { FAKE_ERROR_AFTER, 504, NULL, 1 },
    { FAKE_ERROR, 400, "ThrottlingException", 1 },
  };
  for(size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct fake fake;
    fake_init(&fake);
    struct fake_certificate *c = fake_acm_add(&fake, old_pem, chain_pem);
    fake_fault(&fake, "ImportCertificate", 1, cases[i].kind, cases[i].status, cases[i].code, NULL);
    struct cr_machine *m = run(&fake, c->arn, "", 1000);
    check_result(m, &fake, true);
    CHECK(fake.reimports == cases[i].most);
    /* One that was lost is looked for before it is sent again. */
    CHECK(cases[i].kind != FAKE_LOSE_BEFORE || fake.mono_ms >= 10000);
    cr_machine_free(m);
    fake_free(&fake);
  }
  struct fake fake;
  fake_init(&fake);
  struct fake_certificate *c = fake_acm_add(&fake, old_pem, chain_pem);
  fake_fault(&fake, "ImportCertificate", 0, FAKE_LOSE_BEFORE, 0, NULL, NULL);
  struct cr_machine *m = run(&fake, c->arn, ",\"patience\":5", 1000);
  fake_check_failed(m, &fake, "step:reimport", CR_KIND_TRANSPORT, "CURLE_RECV_ERROR");
  CHECK(m->error.ambiguous && fake_count(&fake, "ImportCertificate") == 3 && fake.reimports == 0);
  cr_machine_free(m);
  fake_free(&fake);
}

static void test_failures(void)
{
  static const char *const operations[] = { "GetCertificate", "ImportCertificate" };
  for(size_t i = 0; i < 2; i++) {
    struct fake fake;
    fake_init(&fake);
    struct fake_certificate *c = fake_acm_add(&fake, old_pem, chain_pem);
    fake_fault(&fake, operations[i], 0, FAKE_ERROR, 400, "ValidationException", NULL);
    struct cr_machine *m = run(&fake, c->arn, "", 1000);
    fake_check_failed(m, &fake, "step:reimport", CR_KIND_SERVICE, "ValidationException");
    CHECK(fake.reimports == 0 && fake_count(&fake, "ImportCertificate") == (int)i);
    cr_machine_free(m);
    fake_free(&fake);
  }
  struct fake fake;
  fake_init(&fake);
  struct fake_certificate *c = fake_acm_add(&fake, old_pem, chain_pem);
  fake_fault(&fake, "GetCertificate", 0, FAKE_BODY, 200, NULL, "{}");
  struct cr_machine *m = run(&fake, c->arn, "", 1000);
  fake_check_failed(m, &fake, "step:reimport", CR_KIND_PARSE, "NoCertificate");
  CHECK(fake.reimports == 0);
  cr_machine_free(m);
  fake_free(&fake);
}

/* Killed after any number of requests, then run again as the journal would: the same end. */
static void test_crash(void)
{
  for(int most = 0; most < 4; most++) {
    struct fake fake;
    fake_init(&fake);
    struct fake_certificate *c = fake_acm_add(&fake, old_pem, chain_pem);
    cr_machine_free(run(&fake, c->arn, "", most));
    struct cr_machine *m = run(&fake, c->arn, ",\"attempted\":true", 1000);
    check_result(m, &fake, true);
    CHECK(fake.reimports == 1 && fake.imports == 0);
    cr_machine_free(m);
    fake_free(&fake);
  }
}

static void test_parameters(void)
{
  static const struct {
    const char *json, *says;
  } cases[] = {
    { "{}", "'reference'" },
    { "{\"reference\":\"arn\"}", "'from'" },
    { "{\"reference\":\"arn\",\"from\":\"ab\"}", "'from'" },
    { "{\"reference\":\"arn\",\"from\":\"ab\",\"tags\":{}}", "'tags'" },
  };
  struct cr_account *account = fake_account();
  struct cr_error err;
  for(size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    CHECK(fake_step("reimport", account, cases[i].json, identity, &err) == NULL);
    CHECK(err.kind == CR_KIND_INPUT && strstr(err.message, cases[i].says) != NULL);
  }
  cr_account_unref(account);
}

int main(void)
{
  static const char *const names = "DNS:example.com";
  material_init(&material, names);
  identity = material.identity;
  leaf_pem = material.leaf_pem;
  chain_pem = material.chain_pem;
  old_pem = material_pem(&material, material.other_key, names, 100);
  third_pem = material_pem(&material, material.other_key, names, 200);
  material_fingerprint(old_pem, from);
  test_new();
  test_foreign();
  test_lost();
  test_failures();
  test_crash();
  test_parameters();
  free(old_pem);
  free(third_pem);
  material_free(&material);
  return check_end();
}
