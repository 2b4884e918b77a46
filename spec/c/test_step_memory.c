/* test_step_memory.c - every allocation of an import and of a reimport made to fail, one after the other: a clean error
 * and nothing lost. Run again as the journal would, it ends as if nothing had been: written once. */
#include "failing_memory.h"
#include "step_material.h"

static struct material material;
static struct cr_account *account;
static char *old_pem;
static char old_fingerprint[CR_FINGERPRINT_HEX + 1];

static int run(struct fake *fake, const char *name, const char *json, struct cr_error *err)
{
  int rc = -1;
  struct cr_tree tree;
  memory_pause();
  cr_tree_init(&tree, 1 << 20);
  CHECK(json_read(&tree, json, strlen(json)) == 0);
  memory_resume();
  struct cr_machine *m = cr_step_new(name, account, tree.root, material.identity, err);
  cr_tree_free(&tree);
  if(m) {
    fake_run(fake, m, 1000);
    struct cr_moment now = fake_now(fake);
    struct cr_want want;
    if(m->class->next(m, &now, &want) == CR_NEED_DONE) {
      rc = 0;
    } else {
      *err = m->error;
    }
    cr_machine_free(m);
  }
  return rc;
}

/* What the scenario says, with memory that runs out; then the same again, which must come to its end. */
static int twice(struct fake *fake, const char *name, const char *first, const char *again, struct cr_error *err)
{
  struct cr_error second;
  fake->pause = memory_pause;
  fake->resume = memory_resume;
  int rc = run(fake, name, first, err);
  memory_pause();
  if(rc < 0) {
    CHECK(run(fake, name, again, &second) == 0);
    memory_pause();
  }
  CHECK(fake->imports + fake->uploads + fake->reimports == 1);
  return rc;
}

static int import_into(const char *store, struct cr_error *err)
{
  struct fake fake;
  memory_pause();
  fake_init(&fake);
  fake_acm_add(&fake, old_pem, material.chain_pem);
  char *first = fake_print("{\"store\":\"%s\",\"tags\":{\"team\":\"web\"}}", store);
  char *again = fake_print("{\"store\":\"%s\",\"attempted\":true,\"patience\":5}", store);
  int rc = twice(&fake, "import", first, again, err);
  CHECK(fake.acm_count + fake.iam_count == 2);
  free(first);
  free(again);
  fake_free(&fake);
  memory_resume();
  return rc;
}

static int import_acm(struct cr_error *err)
{
  return import_into("acm", err);
}

static int import_iam(struct cr_error *err)
{
  return import_into("iam", err);
}

static int reimport(enum fake_fault_kind kind, struct cr_error *err)
{
  struct fake fake;
  memory_pause();
  fake_init(&fake);
  struct fake_certificate *c = fake_acm_add(&fake, old_pem, material.chain_pem);
  if(kind != FAKE_ERROR) {
    fake_fault(&fake, "ImportCertificate", 1, kind, 0, NULL, NULL);
  }
  char *first = fake_print("{\"reference\":\"%s\",\"from\":\"%s\"}", c->arn, old_fingerprint);
  char *again = fake_print("{\"reference\":\"%s\",\"from\":\"%s\",\"attempted\":true}", c->arn, old_fingerprint);
  int rc = twice(&fake, "reimport", first, again, err);
  CHECK(strcmp(fake.acm[0].pem, material.leaf_pem) == 0 && strcmp(fake.acm[0].chain, material.chain_pem) == 0);
  CHECK(fake.acm_count == 1);
  free(first);
  free(again);
  fake_free(&fake);
  memory_resume();
  return rc;
}

static int reimport_plain(struct cr_error *err)
{
  return reimport(FAKE_ERROR, err);
}

/* The answer is lost: what was written is looked for, with memory that runs out meanwhile. */
static int reimport_lost(struct cr_error *err)
{
  return reimport(FAKE_LOSE_AFTER, err);
}

int main(void)
{
  static const char *const names = "DNS:example.com";
  material_init(&material, names);
  account = fake_account();
  old_pem = material_pem(&material, material.other_key, names, 100);
  material_fingerprint(old_pem, old_fingerprint);
  memory_fail_each("import into ACM", import_acm);
  memory_fail_each("import into IAM", import_iam);
  memory_fail_each("reimport", reimport_plain);
  memory_fail_each("reimport, its answer lost", reimport_lost);
  free(old_pem);
  cr_account_unref(account);
  material_free(&material);
  return check_end();
}
