/* test_step_retire.c - deleting the old certificate against a fake AWS: only when every fact holds, never early. */
#include "fake_aws.h"
#include "make_certificates.h"

#define HOLDERS 7
#define ALL "\"changed\":[\"E0\",\"E1\",\"E2\",\"E3\",\"E4\",\"E5\",\"E6\"]"

static char *pem;
static char old_ref[128], new_ref[128];

/* A rotation that is over: every holder names the new certificate and is Deployed. */
static void set_up(struct fake *fake, bool iam)
{
  fake_init(fake);
  fake_acm_add(fake, pem, NULL);
  for(int i = 0; i < 4; i++) {
    fake_iam_add(fake, i ? "x" : "other", "/", pem, NULL)->name[1] = (char)('a' + i);
  }
  if(iam) {
    snprintf(old_ref, sizeof old_ref, "%s", fake_iam_add(fake, "old", "/cloudfront/x/", pem, NULL)->id);
    snprintf(new_ref, sizeof new_ref, "%s", fake_iam_add(fake, "new", "/cloudfront/x/", pem, NULL)->id);
  } else {
    snprintf(old_ref, sizeof old_ref, "%s", fake_acm_add(fake, pem, NULL)->arn);
    snprintf(new_ref, sizeof new_ref, "%s", fake_acm_add(fake, pem, NULL)->arn);
  }
  for(int i = 0; i < HOLDERS; i++) {
    char id[16];
    snprintf(id, sizeof id, "E%d", i);
    fake_cf_add(fake, id, old_ref);
    fake_cf_change(fake, &fake->cf[i], fake_config(id, new_ref));
    fake->cf[i].deployed_at = 0;
  }
}

static struct cr_machine *retire_step(struct cr_account *account, const char *more)
{
  struct cr_error err;
  char *json = fake_print("{\"reference\":\"%s\"," ALL "%s}", old_ref, more);
  struct cr_machine *m = fake_step("retire", account, json, NULL, &err);
  CHECK(m != NULL);
  if(!m) {
    printf("# %s\n", err.message);
    exit(1);
  }
  free(json);
  return m;
}

static struct cr_machine *retired(struct fake *fake, const char *more)
{
  struct cr_account *account = fake_account();
  struct cr_machine *m = retire_step(account, more);
  cr_account_unref(account);
  fake_run(fake, m, 1000000);
  return m;
}

static bool exists(struct fake *fake, const char *reference)
{
  for(int i = 0; i < fake->iam_count; i++) {
    if(strcmp(fake->iam[i].id, reference) == 0) {
      return !fake->iam[i].gone;
    }
  }
  return fake_acm_find(fake, reference) != NULL;
}

static const struct cr_node *fact(const struct cr_machine *m, const char *name)
{
  const struct cr_node *list = cr_get(m->result.root, "facts");
  for(const struct cr_node *item = list ? list->first : NULL; item; item = item->next) {
    if(cr_streq(cr_get_text(item, "fact"), name)) {
      return item;
    }
  }
  return NULL;
}

/* Refused: the code, the fact that did not hold with its evidence, and the certificate still there. */
static void check_refused(struct cr_machine *m, struct fake *fake, const char *code, const char *name,
                          const char *evidence)
{
  fake_check_failed(m, fake, "step:retire", CR_KIND_POLICY, code);
  CHECK(strstr(m->error.message, "not deleted: ") == m->error.message);
  CHECK(fact(m, name) && !cr_get_bool(fact(m, name), "holds", true));
  if(fact(m, name)) {
    const char *said = cr_get_text(fact(m, name), "evidence");
    CHECK(said && strstr(said, evidence) != NULL);
    if(!said || !strstr(said, evidence)) {
      printf("# evidence: %s\n", said ? said : "none");
    }
  }
  CHECK(!cr_get_bool(m->result.root, "deleted", true));
  CHECK(exists(fake, old_ref) && fake->deletes == 0);
}

static void check_deleted(struct cr_machine *m, struct fake *fake, bool deleted)
{
  CHECK(fake_done(m, fake));
  CHECK(cr_get_bool(m->result.root, "deleted", !deleted) == deleted);
  CHECK(cr_get_bool(m->result.root, "already_gone", deleted) == !deleted);
  CHECK(!exists(fake, old_ref) && exists(fake, new_ref));
}

static void test_plain(void)
{
  for(int iam = 0; iam < 2; iam++) {
    struct fake fake;
    set_up(&fake, iam);
    fake.overlap = 1;
    struct cr_machine *m = retired(&fake, ",\"dry_run\":true");
    CHECK(fake_done(m, &fake));
    CHECK(!cr_get_bool(m->result.root, "deleted", true) && !cr_get_bool(m->result.root, "already_gone", true));
    CHECK(cr_get(m->result.root, "facts")->count == 6);
    for(const struct cr_node *item = cr_get(m->result.root, "facts")->first; item; item = item->next) {
      CHECK(cr_get_bool(item, "holds", false) && cr_get_text(item, "evidence")[0]);
    }
    CHECK(fact(m, "NoDistribution") && strstr(cr_get_text(fact(m, "NoDistribution"), "evidence"), "none of 7 "));
    CHECK(fake.deletes == 0 && exists(&fake, old_ref));
    cr_machine_free(m);

    m = retired(&fake, "");
    check_deleted(m, &fake, true);
    CHECK(fake.deletes == 1);
    CHECK(fake_count(&fake, "ListDistributionTenantsByCustomization") == (iam ? 0 : 2));
    cr_machine_free(m);

    /* Again: gone already, nothing deleted. */
    m = retired(&fake, "");
    check_deleted(m, &fake, false);
    CHECK(fake.deletes == 1);
    cr_machine_free(m);
    fake_free(&fake);
  }
}

static void test_still_in_use(void)
{
  for(int iam = 0; iam < 2; iam++) {
    struct fake fake;
    set_up(&fake, iam);
    fake_cf_add(&fake, "E7", old_ref);   /* on the last page, not one of ours */
    struct cr_machine *m = retired(&fake, "");
    check_refused(m, &fake, "StillInUse", "NoDistribution", "E7");
    CHECK(fake.mono_ms < 10000);   /* nothing to wait for */
    cr_machine_free(m);

    /* Only the deprecated twin names it. */
    free(fake.cf[7].config);
    char *config = fake_config("E7", new_ref), *twin = strstr(config, "<Certificate>");
    fake.cf[7].config = fake_print("%.*s<Certificate>%s</Certificate>%s", (int)(twin - config), config, old_ref,
                                   strstr(config, "</Certificate>") + strlen("</Certificate>"));
    free(config);
    m = retired(&fake, "");
    check_refused(m, &fake, "StillInUse", "NoDistribution", "E7");
    cr_machine_free(m);
    fake_free(&fake);

    /* One of ours went back. */
    set_up(&fake, iam);
    fake_cf_change(&fake, &fake.cf[3], fake_config("E3", old_ref));
    m = retired(&fake, "");
    check_refused(m, &fake, "StillInUse", "NoDistribution", "E3");
    CHECK(fake.mono_ms < 10000);
    cr_machine_free(m);
    fake_free(&fake);

    /* The same, Deployed, and the listing does not show it yet: the holder itself outranks the listing. */
    set_up(&fake, iam);
    fake_cf_change(&fake, &fake.cf[3], fake_config("E3", old_ref));
    fake.cf[3].deployed_at = 0;
    fake.listing_lag_ms = 1000000;
    for(int i = 0; i < HOLDERS; i++) {
      fake.cf[i].changed_at = i == 3 ? fake.mono_ms : -2000000;
    }
    m = retired(&fake, "");
    check_refused(m, &fake, "StillInUse", "NoDistribution", "changed holders: E3");
    CHECK(fake.mono_ms < 10000);
    cr_machine_free(m);
    fake_free(&fake);
  }
}

static void test_not_deployed(void)
{
  struct fake fake;
  set_up(&fake, false);
  fake.cf[5].deployed_at = INT64_MAX;
  struct cr_machine *m = retired(&fake, "");
  check_refused(m, &fake, "NotDeployed", "Deployed", "E5");
  CHECK(m->error.retryable);
  cr_machine_free(m);
  /* Told is what is sure, not what ACM may only remember. */
  fake_acm_find(&fake, old_ref)->memory_until = fake.mono_ms + 1000000;
  m = retired(&fake, "");
  check_refused(m, &fake, "NotDeployed", "Deployed", "E5");
  CHECK(!cr_get_bool(fact(m, "NotInUse"), "holds", true));
  cr_machine_free(m);
  fake_acm_find(&fake, old_ref)->memory_until = 0;
  fake.cf[5].gone = true;   /* deleted meanwhile: uses nothing */
  m = retired(&fake, "");
  check_deleted(m, &fake, true);
  cr_machine_free(m);
  fake_free(&fake);
}

static void test_keep_time(void)
{
  struct fake fake;
  set_up(&fake, false);
  char more[64];
  snprintf(more, sizeof more, ",\"keep_until\":%d", FAKE_START + 3600);
  struct cr_machine *m = retired(&fake, more);
  check_refused(m, &fake, "KeepTime", "KeepTimeOver", "another 359");
  cr_machine_free(m);
  fake.mono_ms = 3601000;
  /* The local clock is an hour ahead of the server's: not over yet. */
  struct cr_account *account = fake_account();
  account->clock_offset_ms = -3600000;
  m = retire_step(account, more);
  fake_run(&fake, m, 1000000);
  check_refused(m, &fake, "KeepTime", "KeepTimeOver", "kept for a rollback");
  cr_machine_free(m);
  cr_account_unref(account);
  m = retired(&fake, more);
  check_deleted(m, &fake, true);
  cr_machine_free(m);
  fake_free(&fake);
}

static void test_tenants(void)
{
  struct fake fake;
  set_up(&fake, false);
  fake.tenant = old_ref;
  fake.tenant_pages = 2;
  struct cr_machine *m = retired(&fake, "");
  check_refused(m, &fake, "StillInUse", "NoTenant", "dt_1");
  CHECK(fake_count(&fake, "ListDistributionTenantsByCustomization") == 3);
  cr_machine_free(m);
  fake.tenant = NULL;
  m = retired(&fake, "");
  check_deleted(m, &fake, true);
  cr_machine_free(m);
  fake_free(&fake);

  static const struct {
    int status;
    const char *code;
    bool known;   /* says that there is no such thing as a tenant */
  } cases[] = {
    { 403, "AccessDenied", false },    { 404, "EntityNotFound", false },  { 400, "InvalidArgument", false },
    { 400, "UnsupportedOperation", false }, { 503, "ServiceUnavailable", false },
    { 400, "InvalidAction", true },    { 404, "UnknownOperationException", true },
    { 404, NULL, false },   /* not AWS's answer: a gateway's, which knows nothing */
  };
  for(size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    set_up(&fake, false);
    fake_fault(&fake, "ListDistributionTenantsByCustomization", 0, FAKE_ERROR, cases[i].status, cases[i].code, NULL);
    m = retired(&fake, "");
    if(cases[i].known) {
      check_deleted(m, &fake, true);
      CHECK(strstr(cr_get_text(fact(m, "NoTenant"), "evidence"), "no distribution tenants") != NULL);
    } else {
      check_refused(m, &fake, "Unknown", "NoTenant", cases[i].code ? cases[i].code : "HTTP404");
    }
    cr_machine_free(m);
    fake_free(&fake);
  }
}

/* The deletion's answer is lost and then nobody can look: the end says that it may be gone. */
static void test_lost_and_blind(void)
{
  struct fake fake;
  set_up(&fake, false);
  fake_fault(&fake, "DeleteCertificate", 1, FAKE_LOSE_AFTER, 0, NULL, NULL);
  fake_fault(&fake, "DescribeCertificate", 2, FAKE_ERROR, 400, "AccessDeniedException", "no");
  struct cr_machine *m = retired(&fake, "");
  fake_check_failed(m, &fake, "step:retire", CR_KIND_POLICY, "Unknown");
  CHECK(m->error.ambiguous && fake.deletes == 1 && !exists(&fake, old_ref));
  cr_machine_free(m);
  fake_free(&fake);
}

static void test_unknown(void)
{
  static const struct {
    const char *operation;
    int nth;
    const char *code, *fact;
    bool iam;
  } cases[] = {
    { "ListDistributions", 1, "AccessDenied", "NoDistribution", false },
    { "ListDistributions", 3, "AccessDenied", "NoDistribution", true },    /* a page in the middle of it */
    { "GetDistribution", 4, "AccessDenied", "Deployed", false },
    { "DescribeCertificate", 1, "AccessDeniedException", "NotInUse", false },
    { "ListServerCertificates", 1, "AccessDenied", "NotInUse", true },
    { "ListServerCertificates", 2, "AccessDenied", "NotInUse", true },
  };
  for(size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    for(int dry = 0; dry < 2; dry++) {
      struct fake fake;
      set_up(&fake, cases[i].iam);
      fake_fault(&fake, cases[i].operation, cases[i].nth, FAKE_ERROR, 403, cases[i].code, NULL);
      struct cr_machine *m = retired(&fake, dry ? ",\"dry_run\":true" : "");
      if(dry) {
        CHECK(fake_done(m, &fake));
        CHECK(fact(m, cases[i].fact) && !cr_get_bool(fact(m, cases[i].fact), "holds", true));
        CHECK(exists(&fake, old_ref));
      } else {
        check_refused(m, &fake, "Unknown", cases[i].fact, cases[i].code);
      }
      cr_machine_free(m);
      fake_free(&fake);
    }
  }
}

/* Answers that prove nothing. */
static void test_unfit_listings(void)
{
  static const char *const bodies[] = {
    "<DistributionList/>",
    "<DistributionList><Quantity>0</Quantity></DistributionList>",
    "<DistributionList><IsTruncated>false</IsTruncated><Quantity>2</Quantity></DistributionList>",
    "<DistributionList><IsTruncated>true</IsTruncated><Quantity>0</Quantity></DistributionList>",
    "<DistributionList><IsTruncated>true</IsTruncated><Quantity>0</Quantity><NextMarker>E1</NextMarker>"
    "</DistributionList>",
    "<DistributionList><IsTruncated>false</IsTruncated><Quantity>1</Quantity><Items><DistributionSummary><Id>E1</Id>"
    "</DistributionSummary></Items></DistributionList>",
    "<DistributionList><IsTruncated>false</IsTruncated><Quantity>1</Quantity><Items><DistributionSummary>"
    "<ViewerCertificate><Certificate>x</Certificate></ViewerCertificate></DistributionSummary></Items>"
    "</DistributionList>",
  };
  for(size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
    struct fake fake;
    set_up(&fake, false);
    fake_fault(&fake, "ListDistributions", 0, FAKE_BODY, 200, NULL, bodies[i]);
    struct cr_machine *m = retired(&fake, "");
    check_refused(m, &fake, "Unknown", "NoDistribution", "unknown");
    cr_machine_free(m);
    fake_free(&fake);
  }
  static const char *const descriptions[] = {
    "{}", "{\"Certificate\":{}}", "{\"Certificate\":{\"InUseBy\":[]}}", "{\"Certificate\":[]}",
    "{\"Certificate\":{\"Type\":\"IMPORTED\"}}", "{\"Certificate\":{\"Type\":\"IMPORTED\",\"InUseBy\":null}}",
    "{\"Certificate\":{\"Type\":\"IMPORTED\",\"InUseBy\":{\"a\":\"b\"}}}",
  };
  for(size_t i = 0; i < sizeof descriptions / sizeof descriptions[0]; i++) {
    struct fake fake;
    set_up(&fake, false);
    fake_fault(&fake, "DescribeCertificate", 0, FAKE_BODY, 200, NULL, descriptions[i]);
    struct cr_machine *m = retired(&fake, "");
    check_refused(m, &fake, "Unknown", "NotInUse", "unknown");
    cr_machine_free(m);
    fake_free(&fake);
  }
  struct fake fake;
  set_up(&fake, true);
  fake_fault(&fake, "ListServerCertificates", 0, FAKE_BODY, 200, NULL,
             "<ListServerCertificatesResponse><ListServerCertificatesResult><ServerCertificateMetadataList/>"
             "</ListServerCertificatesResult></ListServerCertificatesResponse>");
  struct cr_machine *m = retired(&fake, "");
  check_refused(m, &fake, "Unknown", "NotInUse", "unknown");
  cr_machine_free(m);
  fake_free(&fake);
}

static void test_not_ours_to_delete(void)
{
  struct fake fake;
  set_up(&fake, false);
  snprintf(fake_acm_find(&fake, old_ref)->type, 20, "AMAZON_ISSUED");
  struct cr_machine *m = retired(&fake, "");
  check_refused(m, &fake, "AwsIssued", "Imported", "AMAZON_ISSUED");
  cr_machine_free(m);
  fake_free(&fake);

  set_up(&fake, false);
  fake_acm_find(&fake, old_ref)->used_by = "arn:aws:elasticloadbalancing:us-east-1:1:loadbalancer/app/x";
  m = retired(&fake, "");
  check_refused(m, &fake, "StillInUse", "NotInUse", "loadbalancer");
  CHECK(fake.mono_ms < 10000);
  cr_machine_free(m);
  fake_free(&fake);
}

/* Everything is true, but a store or a listing remembers the time before. */
static void test_patience(void)
{
  for(int iam = 0; iam < 2; iam++) {
    struct fake fake;
    set_up(&fake, iam);
    if(iam) {
      fake.iam[4].memory_until = 100000;
    } else {
      fake_acm_find(&fake, old_ref)->memory_until = 100000;
    }
    struct cr_machine *m = retired(&fake, "");
    check_deleted(m, &fake, true);
    CHECK(fake.mono_ms >= 100000 && fake.mono_ms < 170000);
    CHECK(fake_count(&fake, "ListDistributions") >= 9);   /* from the top each time */
    cr_machine_free(m);
    fake_free(&fake);

    set_up(&fake, iam);
    if(iam) {
      fake.iam[4].memory_until = 10000000;
    } else {
      fake_acm_find(&fake, old_ref)->memory_until = 10000000;
    }
    m = retired(&fake, ",\"patience\":300");
    check_refused(m, &fake, "StillInUse", "NotInUse", "");
    CHECK(fake.mono_ms >= 300000 && fake.mono_ms < 330000);
    cr_machine_free(m);
    fake_free(&fake);
  }
  /* The listing lags behind our own change. */
  struct fake fake;
  set_up(&fake, false);
  fake.cf[2].changed_at = fake.mono_ms;
  fake.listing_lag_ms = 20000;
  struct cr_machine *m = retired(&fake, "");
  check_deleted(m, &fake, true);
  CHECK(fake.mono_ms >= 20000 && fake.mono_ms < 60000);
  cr_machine_free(m);
  fake_free(&fake);

  /* The store refuses although its own description said unused. */
  set_up(&fake, false);
  fake_fault(&fake, "DeleteCertificate", 1, FAKE_ERROR, 400, "ResourceInUseException", "in use");
  fake_fault(&fake, "DeleteCertificate", 2, FAKE_ERROR, 400, "ConflictException", "busy");
  m = retired(&fake, "");
  check_deleted(m, &fake, true);
  CHECK(fake_count(&fake, "DeleteCertificate") == 3 && fake_count(&fake, "DescribeCertificate") == 3);
  cr_machine_free(m);
  fake_free(&fake);
  set_up(&fake, false);
  fake_fault(&fake, "DeleteCertificate", 0, FAKE_ERROR, 400, "ResourceInUseException", "somebody has it");
  m = retired(&fake, ",\"patience\":0");
  check_refused(m, &fake, "StillInUse", "NotInUse", "somebody has it");
  CHECK(m->error.status == 400);
  CHECK_STR(m->error.request_id, "11112222-req");
  cr_machine_free(m);
  fake_free(&fake);
}

static void test_lost_delete(void)
{
  static const enum fake_fault_kind kinds[] = { FAKE_LOSE_BEFORE, FAKE_LOSE_AFTER, FAKE_ERROR, FAKE_ERROR_AFTER };
  for(int iam = 0; iam < 2; iam++) {
    for(size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
      struct fake fake;
      set_up(&fake, iam);
      fake_fault(&fake, iam ? "DeleteServerCertificate" : "DeleteCertificate", 1, kinds[i], 500, "InternalFailure",
                 NULL);
      struct cr_machine *m = retired(&fake, "");
      check_deleted(m, &fake, true);
      CHECK(fake.deletes == 1);
      cr_machine_free(m);
      fake_free(&fake);
    }
  }
  struct fake fake;
  set_up(&fake, false);
  fake_fault(&fake, "DeleteCertificate", 0, FAKE_LOSE_BEFORE, 0, NULL, NULL);
  struct cr_machine *m = retired(&fake, "");
  fake_check_failed(m, &fake, "step:retire", CR_KIND_TRANSPORT, "CURLE_RECV_ERROR");
  CHECK(m->error.ambiguous && fake_count(&fake, "DeleteCertificate") == 3);
  cr_machine_free(m);
  fake_free(&fake);

  set_up(&fake, false);
  fake_fault(&fake, "DeleteCertificate", 0, FAKE_ERROR, 400, "AccessDeniedException", NULL);
  m = retired(&fake, "");
  fake_check_failed(m, &fake, "step:retire", CR_KIND_SERVICE, "AccessDeniedException");
  CHECK(fake_count(&fake, "DeleteCertificate") == 1);
  cr_machine_free(m);
  fake_free(&fake);
}

/* Between listing and deleting the IAM name changes hands, or the certificate its name. */
static void rename_it(struct fake *fake, const char *operation, int nth)
{
  if(strcmp(operation, "GetServerCertificate") == 0 && nth == 1) {
    snprintf(fake->iam[4].name, sizeof fake->iam[4].name, "renamed");
  }
}

static void steal_name(struct fake *fake, const char *operation, int nth)
{
  if(strcmp(operation, "GetServerCertificate") == 0 && nth == 1) {
    snprintf(fake->iam[4].name, sizeof fake->iam[4].name, "renamed");
    fake_iam_add(fake, "old", "/cloudfront/x/", pem, NULL);
  }
}

static void test_iam_names(void)
{
  struct fake fake;
  set_up(&fake, true);
  fake.before = rename_it;
  struct cr_machine *m = retired(&fake, "");
  check_deleted(m, &fake, true);
  CHECK(fake.deletes == 1);
  cr_machine_free(m);
  fake_free(&fake);

  set_up(&fake, true);
  fake.before = steal_name;
  m = retired(&fake, "");
  fake_check_failed(m, &fake, "step:retire", CR_KIND_CONFLICT, "ForeignCertificate");
  CHECK(fake.deletes == 0 && exists(&fake, old_ref));
  cr_machine_free(m);
  fake_free(&fake);
}

/* Killed after any number of requests, then run again; and never a delete before its time. */
static void test_crash(void)
{
  for(int iam = 0; iam < 2; iam++) {
    for(int most = 0; most < 40; most++) {
      struct fake fake;
      set_up(&fake, iam);
      if(iam) {
        fake.iam[4].memory_until = 20000;
      } else {
        fake_acm_find(&fake, old_ref)->memory_until = 20000;
      }
      struct cr_account *account = fake_account();
      struct cr_machine *m = retire_step(account, "");
      bool ended = fake_run(&fake, m, most);
      CHECK(fake.deletes == 0 || fake.mono_ms >= 20000);
      cr_machine_free(m);
      m = retire_step(account, "");
      fake_run(&fake, m, 1000000);
      CHECK(fake_done(m, &fake));
      CHECK(!exists(&fake, old_ref) && exists(&fake, new_ref) && fake.deletes == 1);
      CHECK(cr_get_bool(m->result.root, "deleted", false) != cr_get_bool(m->result.root, "already_gone", false));
      CHECK(!ended || cr_get_bool(m->result.root, "already_gone", false));
      cr_machine_free(m);
      cr_account_unref(account);
      fake_free(&fake);
    }
  }
}

static void test_parameters(void)
{
  struct cr_account *account = fake_account();
  struct cr_error err;
  CHECK(fake_step("retire", account, "{}", NULL, &err) == NULL && strstr(err.message, "'reference'"));
  CHECK(fake_step("retire", account, "{\"reference\":\"www\"}", NULL, &err) == NULL && err.kind == CR_KIND_INPUT);
  CHECK(fake_step("retire", account, "{\"reference\":\"ASCAEXAMPLEEXAMPLE001\",\"changed\":[\"\"]}", NULL, &err) ==
        NULL);
  CHECK(fake_step("retire", account, "{\"reference\":\"ASCAEXAMPLEEXAMPLE001\",\"keep_until\":\"soon\"}", NULL, &err) ==
        NULL);
  cr_account_unref(account);
}

int main(void)
{
  struct mk_ca ca = mk_ca("Test CA", NULL);
  pem = mk_pem(ca.x509);
  test_plain();
  test_still_in_use();
  test_not_deployed();
  test_keep_time();
  test_tenants();
  test_unknown();
  test_lost_and_blind();
  test_unfit_listings();
  test_not_ours_to_delete();
  test_patience();
  test_lost_delete();
  test_iam_names();
  test_crash();
  test_parameters();
  free(pem);
  mk_ca_free(&ca);
  return check_end();
}
