/* test_step_tenant.c - distribution tenants as holders: swap, settle and retire against a fake AWS. */
#include "fake_aws.h"
#include "make_certificates.h"

static char *old_pem, *new_pem;
static char old_arn[128], new_arn[128], third_arn[128];

/* An AWS with three certificates, dt_a naming the old one, and a distribution beside it. */
static struct fake_distribution *set_up(struct fake *fake)
{
  fake_init(fake);
  snprintf(old_arn, sizeof old_arn, "%s", fake_acm_add(fake, old_pem, NULL)->arn);
  snprintf(new_arn, sizeof new_arn, "%s", fake_acm_add(fake, new_pem, NULL)->arn);
  snprintf(third_arn, sizeof third_arn, "%s", fake_acm_add(fake, old_pem, NULL)->arn);
  fake_cf_add(fake, "E1", new_arn);
  return fake_tenant_add(fake, "dt_a", old_arn);
}

static struct cr_machine *run(struct fake *fake, const char *name, char *json)
{
  struct cr_account *account = fake_account();
  struct cr_error err;
  struct cr_machine *m = fake_step(name, account, json, NULL, &err);
  CHECK(m != NULL);
  if(!m) {
    printf("# %s\n", err.message);
    exit(1);
  }
  cr_account_unref(account);
  free(json);
  fake_run(fake, m, 1000000);
  return m;
}

static struct cr_machine *swapped(struct fake *fake)
{
  return run(fake, "swap", fake_print("{\"Id\":\"dt_a\",\"from\":\"%s\",\"to\":\"%s\"}", old_arn, new_arn));
}

static void check_swap(struct cr_machine *m, const struct fake *fake, bool changed, int reads, int writes)
{
  CHECK(fake_done(m, fake));
  CHECK_STR(cr_get_text(m->result.root, "Id"), "dt_a");
  CHECK(cr_get_bool(m->result.root, "changed", !changed) == changed);
  CHECK(cr_get_int(m->result.root, "reads", -1) == reads);
  CHECK(cr_get_int(m->result.root, "writes", -1) == writes);
  cr_machine_free(m);
}

static void change(struct fake *fake, const char *arn)
{
  struct fake_distribution *d = fake_cf_find(fake, "dt_a");
  fake_cf_change(fake, d, fake_print("<Customizations><Certificate><Arn>%s</Arn></Certificate></Customizations>"
                                     FAKE_TENANT_REST, arn));
}

static void test_swap(void)
{
  struct fake fake;
  struct fake_distribution *tenant = set_up(&fake);
  check_swap(swapped(&fake), &fake, true, 1, 1);
  CHECK(fake_names(tenant->config, new_arn) && !fake_names(tenant->config, old_arn));
  CHECK(fake_count(&fake, "GetDistributionTenant") == 1 && fake_count(&fake, "UpdateDistributionTenant") == 1);
  check_swap(swapped(&fake), &fake, false, 1, 0);
  CHECK(fake.puts == 1);
  fake_free(&fake);
}

static void before_update(struct fake *fake, const char *operation, int nth)
{
  if(strcmp(operation, "UpdateDistributionTenant") == 0 && nth == 1) {
    fake_cf_find(fake, "dt_a")->version++;
  }
}

static void taken_before_update(struct fake *fake, const char *operation, int nth)
{
  if(strcmp(operation, "UpdateDistributionTenant") == 0 && nth == 1) {
    change(fake, third_arn);
  }
}

static void test_others_at_work(void)
{
  struct fake fake;
  set_up(&fake);
  fake.before = before_update;
  check_swap(swapped(&fake), &fake, true, 2, 1);
  fake_free(&fake);

  /* Changed to a third one between our read and our write: left alone. */
  set_up(&fake);
  fake.before = taken_before_update;
  struct cr_machine *m = swapped(&fake);
  fake_check_failed(m, &fake, "step:swap", CR_KIND_CONFLICT, "ForeignCertificate");
  CHECK(strstr(m->error.message, third_arn) && strstr(m->error.message, "dt_a") && fake.puts == 0);
  cr_machine_free(m);
  fake_free(&fake);

  set_up(&fake);
  change(&fake, "");
  m = swapped(&fake);
  fake_check_failed(m, &fake, "step:swap", CR_KIND_CONFLICT, "ForeignCertificate");
  CHECK(strstr(m->error.message, "no certificate of its own") != NULL);
  cr_machine_free(m);

  fake_cf_find(&fake, "dt_a")->gone = true;
  m = swapped(&fake);
  CHECK(m->error.kind == CR_KIND_SERVICE);
  CHECK_STR(m->error.code, "EntityNotFound");
  cr_machine_free(m);
  fake_free(&fake);
}

/* The answer to the write is lost, after it was carried out or before. */
static void test_lost(void)
{
  for(int after = 0; after < 2; after++) {
    struct fake fake;
    set_up(&fake);
    fake_fault(&fake, "UpdateDistributionTenant", 1, after ? FAKE_LOSE_AFTER : FAKE_LOSE_BEFORE, 0, NULL, NULL);
    check_swap(swapped(&fake), &fake, true, 2, 1);
    CHECK(fake.puts == 1);
    fake_free(&fake);
  }
}

/* A certificate CloudFront has not heard of yet is waited for, one it never takes is not waited for forever. */
static void test_not_visible(void)
{
  struct fake fake;
  set_up(&fake);
  fake.acm[1].usable_at = fake.mono_ms + 20000;
  check_swap(swapped(&fake), &fake, true, 5, 1);
  fake_free(&fake);

  set_up(&fake);
  fake.acm[1].usable_at = INT64_MAX;
  struct cr_machine *m = swapped(&fake);
  CHECK(m->error.kind == CR_KIND_SERVICE && fake.puts == 0);
  CHECK_STR(m->error.code, "InvalidArgument");
  CHECK(fake.mono_ms < 200000);
  cr_machine_free(m);
  fake_free(&fake);
}

static void test_settle(void)
{
  for(int listing = 0; listing < 2; listing++) {
    for(int statusless = 0; statusless < 2; statusless++) {
      struct fake fake;
      struct fake_distribution *tenant = set_up(&fake);
      tenant->statusless = statusless;
      fake_tenant_add(&fake, "dt_gone", new_arn)->gone = true;
      change(&fake, new_arn);
      struct cr_machine *m = run(&fake, "settle", fake_print("{\"Ids\":[\"E1\",\"dt_a\",\"dt_gone\"],\"to\":\"%s\","
                                                              "\"listing\":%s}", new_arn, listing ? "true" : "false"));
      CHECK(fake_done(m, &fake));
      CHECK(cr_get_bool(m->result.root, "settled", false));
      const struct cr_node *list = cr_get(m->result.root, "holders"), *item = list->first->next;
      CHECK(list->count == 3);
      CHECK_STR(cr_get_text(item, "Status"), "Deployed");
      CHECK_STR(cr_get_text(item, "reference"), new_arn);
      CHECK_STR(cr_get_text(item->next, "Status"), "EntityNotFound");
      CHECK_STR(cr_get(m->result.root, "foreign")->first->text, "dt_gone");
      CHECK(statusless ? fake.mono_ms < 60000 : fake.mono_ms >= 60000); /* its propagation was waited for */
      cr_machine_free(m);
      fake_free(&fake);
    }
  }
}

static struct cr_machine *retired(struct fake *fake, bool dry)
{
  return run(fake, "retire", fake_print("{\"reference\":\"%s\",\"changed\":[\"E1\",\"dt_a\"],\"keep_until\":0,"
                                        "\"dry_run\":%s,\"patience\":5}", old_arn, dry ? "true" : "false"));
}

static void test_retire(void)
{
  struct fake fake;
  struct fake_distribution *tenant = set_up(&fake);
  change(&fake, new_arn);
  struct cr_machine *m = retired(&fake, false);
  CHECK(m->error.kind == CR_KIND_POLICY);   /* not Deployed yet */
  CHECK_STR(m->error.code, "NotDeployed");
  cr_machine_free(m);

  fake.mono_ms = tenant->deployed_at;
  change(&fake, old_arn);
  fake.mono_ms = tenant->deployed_at;
  m = retired(&fake, false);                /* its own word outranks the listings, which do not show it */
  CHECK(m->error.kind == CR_KIND_POLICY);
  CHECK_STR(m->error.code, "StillInUse");
  CHECK(strstr(m->error.message, "dt_a") != NULL);
  CHECK(fake.deletes == 0);
  cr_machine_free(m);

  change(&fake, new_arn);
  fake.mono_ms = tenant->deployed_at;
  m = retired(&fake, false);
  CHECK(fake_done(m, &fake));
  CHECK(cr_get_bool(m->result.root, "deleted", false) && fake.deletes == 1);
  cr_machine_free(m);
  fake_free(&fake);
}

int main(void)
{
  struct mk_ca ca = mk_ca("Test CA", NULL);
  EVP_PKEY *key = mk_key("P-256");
  X509 *leaf[2];
  char **pem[2] = { &old_pem, &new_pem };
  for(int i = 0; i < 2; i++) {
    leaf[i] = mk_leaf("www.example.com", "DNS:www.example.com", key, &ca);
    *pem[i] = mk_pem(leaf[i]);
  }
  test_swap();
  test_others_at_work();
  test_lost();
  test_not_visible();
  test_settle();
  test_retire();
  for(int i = 0; i < 2; i++) {
    X509_free(leaf[i]);
    free(*pem[i]);
  }
  EVP_PKEY_free(key);
  mk_ca_free(&ca);
  return check_end();
}
