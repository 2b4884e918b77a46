/* test_step_settle.c - waiting for Deployed against a fake AWS: holder by holder, by listing, and what is not ours. */
#include "fake_aws.h"
#include "make_certificates.h"

#define HOLDERS 8

static char *pem;
static char old_arn[128], new_arn[128];

static void set_up(struct fake *fake)
{
  fake_init(fake);
  snprintf(old_arn, sizeof old_arn, "%s", fake_acm_add(fake, pem, NULL)->arn);
  snprintf(new_arn, sizeof new_arn, "%s", fake_acm_add(fake, pem, NULL)->arn);
  for(int i = 0; i < HOLDERS; i++) {
    char id[16];
    snprintf(id, sizeof id, "E%d", i);
    fake_cf_add(fake, id, old_arn);
  }
}

/* All holders changed to the new one just now, deployed after 60, 70, 80 .. seconds. */
static void change_all(struct fake *fake)
{
  for(int i = 0; i < HOLDERS; i++) {
    fake_cf_change(fake, &fake->cf[i], fake_config(fake->cf[i].id, new_arn));
    fake->cf[i].deployed_at += i * 10000;
  }
}

static struct cr_machine *settled(struct fake *fake, const char *format, ...) CR_PRINTF(2, 3);
static struct cr_machine *settled(struct fake *fake, const char *format, ...)
{
  char json[1024];
  va_list args;
  struct cr_error err;
  va_start(args, format);
  vsnprintf(json, sizeof json, format, args);
  va_end(args);
  struct cr_account *account = fake_account();
  struct cr_machine *m = fake_step("settle", account, json, NULL, &err);
  CHECK(m != NULL);
  if(!m) {
    printf("# %s\n", err.message);
    exit(1);
  }
  cr_account_unref(account);
  fake_run(fake, m, 1000000);
  return m;
}

static const struct cr_node *holder(const struct cr_machine *m, const char *id)
{
  const struct cr_node *list = cr_get(m->result.root, "holders");
  for(const struct cr_node *item = list ? list->first : NULL; item; item = item->next) {
    if(cr_streq(cr_get_text(item, "Id"), id)) {
      return item;
    }
  }
  return NULL;
}

static size_t foreign_count(const struct cr_machine *m)
{
  const struct cr_node *list = cr_get(m->result.root, "foreign");
  CHECK(list && list->type == CR_NODE_LIST);
  return list ? list->count : 99;
}

#define ALL "\"Ids\":[\"E0\",\"E1\",\"E2\",\"E3\",\"E4\",\"E5\",\"E6\",\"E7\"]"

static void test_by_holder(void)
{
  struct fake fake;
  set_up(&fake);
  change_all(&fake);
  struct cr_machine *m = settled(&fake, "{" ALL ",\"to\":\"%s\"}", new_arn);
  CHECK(fake_done(m, &fake));
  CHECK(cr_get_bool(m->result.root, "settled", false));
  CHECK(cr_get(m->result.root, "holders")->count == HOLDERS && foreign_count(m) == 0);
  CHECK_STR(cr_get_text(holder(m, "E7"), "Status"), "Deployed");
  CHECK_STR(cr_get_text(holder(m, "E7"), "reference"), new_arn);
  CHECK(fake.mono_ms >= 131000 && fake.mono_ms < 160000);
  /* looked at once, then every 20 s, and no holder again once it was Deployed */
  CHECK(fake_count(&fake, "GetDistribution") >= 4 * HOLDERS && fake_count(&fake, "GetDistribution") <= 6 * HOLDERS);
  CHECK(fake_count(&fake, "ListDistributions") == 0);
  cr_machine_free(m);

  /* Again: one look each. */
  int before = fake.requests;
  m = settled(&fake, "{" ALL ",\"to\":\"%s\"}", new_arn);
  CHECK(fake_done(m, &fake) && fake.requests == before + HOLDERS);
  cr_machine_free(m);
  fake_free(&fake);
}

static void test_timeout(void)
{
  for(int listing = 0; listing < 2; listing++) {
    struct fake fake;
    set_up(&fake);
    change_all(&fake);
    struct cr_machine *m = settled(&fake, "{" ALL ",\"to\":\"%s\",\"timeout\":80,\"poll\":7,\"listing\":%s}", new_arn,
                                   listing ? "true" : "false");
    CHECK(fake_done(m, &fake));
    CHECK(!cr_get_bool(m->result.root, "settled", true));
    CHECK_STR(cr_get_text(holder(m, "E1"), "Status"), "Deployed");
    CHECK_STR(cr_get_text(holder(m, "E7"), "Status"), "InProgress");
    CHECK(fake.mono_ms >= 81000 && fake.mono_ms < 84000);
    CHECK(foreign_count(m) == 0);
    cr_machine_free(m);

    /* One look, whatever it shows. */
    int64_t before = fake.mono_ms;
    m = settled(&fake, "{" ALL ",\"timeout\":0,\"listing\":%s}", listing ? "true" : "false");
    CHECK(fake_done(m, &fake));
    CHECK(!cr_get_bool(m->result.root, "settled", true) && fake.mono_ms - before < 1000);
    cr_machine_free(m);
    fake_free(&fake);
  }
}

static void test_listing(void)
{
  struct fake fake;
  set_up(&fake);
  change_all(&fake);
  fake.listing_lag_ms = 30000;
  struct cr_machine *m = settled(&fake, "{" ALL ",\"to\":\"%s\",\"listing\":true}", new_arn);
  CHECK(fake_done(m, &fake));
  CHECK(cr_get_bool(m->result.root, "settled", false) && foreign_count(m) == 0);
  CHECK(fake.mono_ms >= 131000 && fake.mono_ms < 160000);
  /* Three pages a round; holders themselves are asked only while the listing lags. */
  CHECK(fake_count(&fake, "ListDistributions") % 3 == 0);
  CHECK(fake_count(&fake, "GetDistribution") <= 2 * HOLDERS);
  cr_machine_free(m);
  fake_free(&fake);

  /* A listing older than our write says Deployed: without `to` only the holder can tell. */
  set_up(&fake);
  change_all(&fake);
  fake.listing_lag_ms = 1000000;
  m = settled(&fake, "{" ALL ",\"listing\":true}");
  CHECK(fake_done(m, &fake));
  CHECK(cr_get_bool(m->result.root, "settled", false) && fake.mono_ms >= 131000);
  cr_machine_free(m);
  fake_free(&fake);

  /* One that the listing does not show at all is asked itself. */
  set_up(&fake);
  change_all(&fake);
  fake_fault(&fake, "ListDistributions", 0, FAKE_BODY, 200, NULL,
             "<DistributionList><IsTruncated>false</IsTruncated><Quantity>0</Quantity></DistributionList>");
  m = settled(&fake, "{\"Ids\":[\"E3\"],\"to\":\"%s\",\"listing\":true}", new_arn);
  CHECK(fake_done(m, &fake) && cr_get_bool(m->result.root, "settled", false));
  CHECK_STR(cr_get_text(holder(m, "E3"), "Status"), "Deployed");
  cr_machine_free(m);
  fake_free(&fake);
}

static void test_foreign(void)
{
  for(int listing = 0; listing < 2; listing++) {
    struct fake fake;
    set_up(&fake);
    change_all(&fake);
    fake_cf_change(&fake, &fake.cf[2], fake_config("E2", old_arn));
    fake_cf_change(&fake, &fake.cf[4], fake_config("E4", ""));
    fake.cf[2].deployed_at = fake.cf[4].deployed_at = INT64_MAX;
    fake.cf[5].gone = true;
    struct cr_machine *m = settled(&fake, "{" ALL ",\"to\":\"%s\",\"listing\":%s}", new_arn,
                                   listing ? "true" : "false");
    CHECK(fake_done(m, &fake));
    CHECK(cr_get_bool(m->result.root, "settled", false));
    CHECK(foreign_count(m) == 3);
    CHECK_STR(cr_get(m->result.root, "foreign")->first->text, "E2");
    CHECK_STR(cr_get_text(holder(m, "E2"), "reference"), old_arn);
    CHECK_STR(cr_get_text(holder(m, "E4"), "reference"), "");
    CHECK_STR(cr_get_text(holder(m, "E5"), "Status"), "NoSuchDistribution");
    cr_machine_free(m);
    fake_free(&fake);
  }
}

static void test_failures(void)
{
  /* Trouble of the moment is waited out. */
  struct fake fake;
  set_up(&fake);
  change_all(&fake);
  fake_fault(&fake, "GetDistribution", 2, FAKE_ERROR, 500, "InternalError", NULL);
  fake_fault(&fake, "GetDistribution", 3, FAKE_ERROR, 500, "InternalError", NULL);
  fake_fault(&fake, "GetDistribution", 4, FAKE_LOSE_BEFORE, 0, NULL, NULL);
  struct cr_machine *m = settled(&fake, "{" ALL ",\"to\":\"%s\"}", new_arn);
  CHECK(fake_done(m, &fake) && cr_get_bool(m->result.root, "settled", false));
  cr_machine_free(m);
  fake_free(&fake);

  set_up(&fake);
  change_all(&fake);
  for(int i = 1; i <= 3; i++) {
    fake_fault(&fake, "ListDistributions", i, FAKE_ERROR, 503, "ServiceUnavailable", NULL);
  }
  m = settled(&fake, "{" ALL ",\"to\":\"%s\",\"listing\":true}", new_arn);
  CHECK(fake_done(m, &fake) && cr_get_bool(m->result.root, "settled", false));
  cr_machine_free(m);
  fake_free(&fake);

  /* What will not change is told at once. */
  static const char *const operations[] = { "GetDistribution", "ListDistributions" };
  for(int i = 0; i < 2; i++) {
    set_up(&fake);
    fake_fault(&fake, operations[i], 0, FAKE_ERROR, 403, "AccessDenied", NULL);
    m = settled(&fake, "{" ALL ",\"listing\":%s}", i ? "true" : "false");
    fake_check_failed(m, &fake, "step:settle", CR_KIND_SERVICE, "AccessDenied");
    CHECK(fake.requests == 1);
    cr_machine_free(m);
    fake_free(&fake);
  }
}

static void test_parameters(void)
{
  struct fake fake;
  struct cr_error err;
  set_up(&fake);
  struct cr_account *account = fake_account();
  struct cr_machine *m = settled(&fake, "{\"Ids\":[]}");
  CHECK(fake_done(m, &fake) && cr_get_bool(m->result.root, "settled", false) && fake.requests == 0);
  cr_machine_free(m);
  m = settled(&fake, "{\"Ids\":{}}");   /* Lua's empty table */
  CHECK(fake_done(m, &fake) && fake.requests == 0);
  cr_machine_free(m);
  CHECK(fake_step("settle", account, "{}", NULL, &err) == NULL && err.kind == CR_KIND_INPUT);
  CHECK(fake_step("settle", account, "{\"Ids\":[\"E1\",\"E1\"]}", NULL, &err) == NULL);
  CHECK(strstr(err.message, "E1 twice") != NULL);
  CHECK(fake_step("settle", account, "{\"Ids\":[\"\"]}", NULL, &err) == NULL);
  CHECK(fake_step("settle", account, "{\"Ids\":[1]}", NULL, &err) == NULL);
  CHECK(fake_step("settle", account, "{\"Ids\":[\"E1\"],\"to\":\"www\"}", NULL, &err) == NULL);
  CHECK(strstr(err.message, "'to'") != NULL);
  cr_account_unref(account);
  fake_free(&fake);
}

int main(void)
{
  struct mk_ca ca = mk_ca("Test CA", NULL);
  pem = mk_pem(ca.x509);
  test_by_holder();
  test_timeout();
  test_listing();
  test_foreign();
  test_failures();
  test_parameters();
  free(pem);
  mk_ca_free(&ca);
  return check_end();
}
