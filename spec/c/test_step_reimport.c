/* test_step_reimport.c - the new certificate under the old one's ARN against a fake AWS: only what was to be replaced is
 * replaced, and a lost answer ends in the same state. */
#include "fake_aws.h"
#include "make_certificates.h"

static struct cr_identity *identity;
static char *leaf_pem, *chain_pem, *old_pem, *third_pem;
static char from[CR_FINGERPRINT_HEX + 1];

static struct cr_machine *run(struct fake *fake, const char *arn, const char *more, int requests)
{
  struct cr_account *account = fake_account();
  struct cr_error err;
  char *json = fake_print("{\"reference\":\"%s\",\"from\":\"%s\"%s}", arn, from, more);
  struct cr_machine *m = fake_step("reimport", account, json, identity, &err);
  free(json);
  cr_account_unref(account);
  CHECK(m != NULL);
  if(!m) {
    printf("# %s\n", err.message);
    exit(1);
  }
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

static X509 *leaf_of(EVP_PKEY *key, const struct mk_ca *ca, int days)
{
  struct mk_options options;
  memset(&options, 0, sizeof options);
  options.cn = "x";
  options.names = "DNS:example.com";
  options.key = key;
  options.issuer = ca->x509;
  options.issuer_key = ca->key;
  options.not_before = FAKE_START;
  options.not_after = FAKE_START + days * (int64_t)MK_DAY;
  return mk_certificate(&options);
}

int main(void)
{
  struct mk_ca root = mk_ca("Root", NULL), ca = mk_ca("Intermediate", &root);
  EVP_PKEY *key = mk_key("P-256"), *old_key = mk_key("P-256");
  X509 *leaf = leaf_of(key, &ca, 365), *old = leaf_of(old_key, &ca, 100), *third = leaf_of(old_key, &ca, 200);
  struct cr_identity_source source;
  struct cr_certificate parsed;
  struct cr_error err;
  leaf_pem = mk_pem(leaf);
  chain_pem = mk_pem(ca.x509);
  old_pem = mk_pem(old);
  third_pem = mk_pem(third);
  CHECK(cr_certificate_parse(old_pem, strlen(old_pem), &parsed, &err) == 0);
  memcpy(from, parsed.fingerprint, sizeof from);
  cr_certificate_free(&parsed);
  char *key_pem = mk_key_pem(key, NULL);
  memset(&source, 0, sizeof source);
  source.certificate_pem = leaf_pem;
  source.certificate_pem_len = strlen(leaf_pem);
  source.private_key_pem = key_pem;
  source.private_key_pem_len = strlen(key_pem);
  source.chain_pem = chain_pem;
  source.chain_pem_len = strlen(chain_pem);
  identity = cr_identity_load(&source, &err);
  CHECK(identity != NULL);
  if(identity) {
    test_new();
    test_foreign();
    test_lost();
    test_failures();
    test_crash();
    test_parameters();
  }
  cr_identity_unref(identity);
  free(leaf_pem);
  free(chain_pem);
  free(old_pem);
  free(third_pem);
  free(key_pem);
  X509_free(leaf);
  X509_free(old);
  X509_free(third);
  EVP_PKEY_free(key);
  EVP_PKEY_free(old_key);
  mk_ca_free(&ca);
  mk_ca_free(&root);
  return check_end();
}
