/* step_retire.c - deletes the old certificate when, and only when, every fact of rule 2 holds.
 *
 * Finds it, gathers the facts afresh, decides, deletes. A store that still says "in use", or a listing that lags
 * behind our own changes, is asked again from the top within a patience; anything else ends the step at once, with
 * the facts in the result beside the error. Owns the listing. */
#include "step_retire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOST_MAX 3            /* deletes whose answers got lost */
#define PAUSE_FIRST_MS 5000
#define PAUSE_MOST_MS 60000

static void from_the_top(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                         const struct cr_error *failure);

static const struct {
  const char *name;
  const char *code;           /* of the failure when it does not hold */
} fact_names[CR_FACT_COUNT] = {
  [CR_FACT_NO_DISTRIBUTION] = { "NoDistribution", "StillInUse" },
  [CR_FACT_NO_TENANT] = { "NoTenant", "StillInUse" },
  [CR_FACT_NOT_IN_USE] = { "NotInUse", "StillInUse" },
  [CR_FACT_DEPLOYED] = { "Deployed", "NotDeployed" },
  [CR_FACT_IMPORTED] = { "Imported", "AwsIssued" },
  [CR_FACT_KEEP_TIME] = { "KeepTimeOver", "KeepTime" },
};

struct cr_retire *cr_retire_of(struct cr_step *step)
{
  return (struct cr_retire *)step;
}

/* --- facts ---------------------------------------------------------------------------------------------- */

void cr_retire_fact(struct cr_retire *retire, enum cr_fact_id id, bool holds, const char *format, ...)
{
  struct cr_fact *fact = &retire->facts[id];
  va_list args;
  fact->state = holds ? CR_FACT_HOLDS : CR_FACT_FAILS;
  fact->may_pass = false;
  va_start(args, format);
  vsnprintf(fact->evidence, sizeof fact->evidence, format, args);
  va_end(args);
}

void cr_retire_unclear(struct cr_retire *retire, enum cr_fact_id id, const char *why)
{
  struct cr_fact *fact = &retire->facts[id];
  fact->state = CR_FACT_UNKNOWN;
  fact->retryable = true;
  snprintf(fact->evidence, sizeof fact->evidence, "unknown: %s", why);
}

void cr_retire_unknown(struct cr_retire *retire, enum cr_fact_id id, const struct cr_error *failure)
{
  struct cr_fact *fact = &retire->facts[id];
  fact->state = CR_FACT_UNKNOWN;
  fact->retryable = failure->retryable;
  snprintf(fact->evidence, sizeof fact->evidence, "unknown: %s failed: %s: %.250s", failure->operation, failure->code,
           failure->message);
}

/* --- ends ----------------------------------------------------------------------------------------------- */

static bool fill_result(struct cr_retire *retire, bool deleted, bool already_gone)
{
  struct cr_tree *tree = &retire->step.machine.result;
  struct cr_node *root = cr_step_result(&retire->step), *facts;
  bool fine = root && cr_add_bool(tree, root, "deleted", deleted) &&
              cr_add_bool(tree, root, "already_gone", already_gone);
  facts = fine ? cr_node_add(tree, root, "facts", CR_NODE_LIST) : NULL;
  fine = facts != NULL;
  for(int i = 0; fine && i < CR_FACT_COUNT; i++) {
    const struct cr_fact *fact = &retire->facts[i];
    if(fact->evidence[0] == '\0') {
      continue;   /* not asked: there was nothing left to ask about */
    }
    struct cr_node *item = cr_node_add(tree, facts, NULL, CR_NODE_MAP);
    fine = item && cr_add_text(tree, item, "fact", fact_names[i].name) &&
           cr_add_bool(tree, item, "holds", fact->state == CR_FACT_HOLDS) &&
           cr_add_text(tree, item, "evidence", fact->evidence);
  }
  return fine;
}

static void finish(struct cr_retire *retire, bool deleted, bool already_gone)
{
  bool fine = fill_result(retire, deleted, already_gone);
  cr_step_done(&retire->step, fine);
}

/* It is not there. After a delete whose answer was lost, that was us. */
static void gone(struct cr_retire *retire)
{
  finish(retire, retire->unsure, !retire->unsure);
}

static void refuse(struct cr_retire *retire, const char *code, const char *evidence, bool retryable,
                   const struct cr_error *cause)
{
  struct cr_error err;
  if(!fill_result(retire, false, false)) {
    cr_step_fail_memory(&retire->step);
    return;
  }
  cr_fail(&err, CR_KIND_POLICY, code, "not deleted: %s", evidence);
  err.retryable = retryable;
  if(cause) {
    err.status = cause->status;
    memcpy(err.request_id, cause->request_id, sizeof err.request_id);
  }
  cr_step_fail(&retire->step, &err);
}

/* Waits and looks at everything again; false when the patience is used up. */
static bool later(struct cr_retire *retire, const struct cr_moment *now)
{
  if(retire->patience_until == 0) {
    retire->patience_until = now->mono_ms + retire->patience_ms;
  }
  int64_t left = retire->patience_until - now->mono_ms;
  if(left <= 0) {
    return false;
  }
  int64_t pause = cr_step_backoff(retire->waits++, PAUSE_FIRST_MS, PAUSE_MOST_MS);
  cr_step_wait(&retire->step, now, pause < left ? pause : left, from_the_top);
  return true;
}

/* --- deleting ------------------------------------------------------------------------------------------- */

/* Listed by id a moment ago, and now nobody has that name: deleted, renamed, or IAM's listing lags. Listing again
 * tells which. */
static void name_lost(struct cr_retire *retire, const struct cr_moment *now)
{
  if(!later(retire, now)) {
    refuse(retire, "Unknown", "IAM lists the certificate under a name that it says does not exist", true, NULL);
  }
}

static void deleted(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                    const struct cr_error *failure)
{
  struct cr_retire *retire = cr_retire_of(step);
  (void)answer;
  if(!failure) {
    finish(retire, true, false);
  } else if(cr_step_code(failure, "ResourceNotFound")) {
    gone(retire);
  } else if(cr_step_code(failure, "NoSuchEntity")) {
    name_lost(retire, now);
  } else if(failure->ambiguous && ++retire->lost < LOST_MAX) {
    retire->unsure = step->machine.unsure = true;
    cr_step_wait(step, now, cr_step_backoff(retire->lost - 1, 1000, 10000), from_the_top);
  } else if(cr_step_code(failure, "ResourceInUse") || cr_step_code(failure, "DeleteConflict") ||
            cr_step_code(failure, "Conflict")) {
    /* Associations take their time to be forgotten; if they stay, somebody else uses it. */
    if(!later(retire, now)) {
      char evidence[400];
      snprintf(evidence, sizeof evidence, "%s refused: %s: %.250s", failure->operation, failure->code,
               failure->message);
      cr_retire_fact(retire, CR_FACT_NOT_IN_USE, false, "%s", evidence);
      refuse(retire, "StillInUse", evidence, true, failure);
    }
  } else {
    cr_step_fail_cause(step, failure, retire->reference);
  }
}

/* IAM deletes by name, and a name can change hands: the id behind it is looked at right before. */
static void named(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                  const struct cr_error *failure)
{
  struct cr_retire *retire = cr_retire_of(step);
  const struct cr_node *metadata = cr_get_path(answer, "ServerCertificate/ServerCertificateMetadata");
  if(failure && cr_step_code(failure, "NoSuchEntity")) {
    name_lost(retire, now);
  } else if(failure) {
    cr_step_fail_cause(step, failure, retire->reference);
  } else if(!cr_streq(cr_get_text(metadata, "ServerCertificateId"), retire->reference)) {
    struct cr_error err;
    cr_fail(&err, CR_KIND_CONFLICT, "ForeignCertificate",
            "the IAM name '%s' belongs to another certificate than %s now: somebody changed it; nothing was deleted",
            retire->name, retire->reference);
    cr_step_fail(step, &err);
  } else {
    cr_step_call(step, deleted, "iam", "DeleteServerCertificate", "ServerCertificateName", retire->name, (char *)NULL);
  }
}

static void send_delete(struct cr_retire *retire)
{
  if(retire->store == CR_STORE_ACM) {
    cr_step_call(&retire->step, deleted, "acm", "DeleteCertificate", "CertificateArn", retire->reference,
                 (char *)NULL);
  } else {
    cr_step_call(&retire->step, named, "iam", "GetServerCertificate", "ServerCertificateName", retire->name,
                 (char *)NULL);
  }
}

/* --- deciding ------------------------------------------------------------------------------------------- */

static void judge_keep_time(struct cr_retire *retire, const struct cr_moment *now)
{
  /* The server's time: a wrong local clock must not shorten the keep time. */
  double server = (double)(now->unix_ms + retire->step.account->clock_offset_ms) / 1000;
  if(server >= retire->keep_until) {
    cr_retire_fact(retire, CR_FACT_KEEP_TIME, true, "the time it was kept for a rollback is over");
  } else {
    cr_retire_fact(retire, CR_FACT_KEEP_TIME, false, "kept for a rollback for another %.0f s",
                   retire->keep_until - server);
  }
}

void cr_retire_decide(struct cr_retire *retire, const struct cr_moment *now)
{
  const struct cr_fact *facts = retire->facts;
  int failed = -1, unknown = -1;
  bool all_may_pass = true;
  judge_keep_time(retire, now);
  if(retire->dry_run) {
    finish(retire, false, false);
    return;
  }
  for(int i = CR_FACT_COUNT - 1; i >= 0; i--) {
    if(facts[i].state == CR_FACT_FAILS) {
      /* Told is the first that is sure, before one that a lag may explain. */
      failed = failed < 0 || facts[failed].may_pass || !facts[i].may_pass ? i : failed;
      all_may_pass = all_may_pass && facts[i].may_pass;
    } else if(facts[i].state == CR_FACT_UNKNOWN) {
      unknown = i;
      all_may_pass = false;
    }
  }
  if(failed < 0 && unknown < 0) {
    send_delete(retire);
  } else if(all_may_pass && later(retire, now)) {
    return;
  } else if(failed >= 0) {
    refuse(retire, fact_names[failed].code, facts[failed].evidence,
           facts[failed].may_pass || failed == CR_FACT_DEPLOYED, NULL);
  } else {
    refuse(retire, "Unknown", facts[unknown].evidence, facts[unknown].retryable, NULL);
  }
}

/* --- finding it ----------------------------------------------------------------------------------------- */

/* Where ACM says it is used. A distribution's entry may be a memory of one we changed; anything else stays. */
static void judge_in_use(struct cr_retire *retire, const struct cr_node *in_use)
{
  const struct cr_node *other = NULL;
  size_t count = 0;
  for(const struct cr_node *arn = in_use->first; arn; arn = arn->next, count++) {
    if(!other && !(arn->type == CR_NODE_TEXT && strstr(arn->text, ":cloudfront:"))) {
      other = arn;
    }
  }
  if(count == 0) {
    cr_retire_fact(retire, CR_FACT_NOT_IN_USE, true, "ACM says that nothing uses it");
    return;
  }
  cr_retire_fact(retire, CR_FACT_NOT_IN_USE, false, "ACM says that it is used by %.200s%s",
                 other ? other->text : in_use->first->text, count > 1 ? " and others" : "");
  retire->facts[CR_FACT_NOT_IN_USE].may_pass = !other;
}

static void described(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                      const struct cr_error *failure)
{
  struct cr_retire *retire = cr_retire_of(step);
  const struct cr_node *certificate = cr_get(answer, "Certificate"), *in_use = cr_get(certificate, "InUseBy");
  const char *type = cr_get_text(certificate, "Type");
  if(failure && cr_step_code(failure, "ResourceNotFound")) {
    gone(retire);
    return;
  }
  if(failure) {
    cr_retire_unknown(retire, CR_FACT_NOT_IN_USE, failure);
    cr_retire_unknown(retire, CR_FACT_IMPORTED, failure);
  } else if(!type || !in_use || in_use->type != CR_NODE_LIST) {
    cr_retire_unclear(retire, CR_FACT_NOT_IN_USE, "ACM's description is not one");
    cr_retire_unclear(retire, CR_FACT_IMPORTED, "ACM's description is not one");
  } else {
    step->machine.unsure = false; /* it is still there: no deletion took effect */
    judge_in_use(retire, in_use);
    if(strcmp(type, "IMPORTED") == 0) {
      cr_retire_fact(retire, CR_FACT_IMPORTED, true, "it was imported");
    } else {
      cr_retire_fact(retire, CR_FACT_IMPORTED, false, "its type is %.40s, not IMPORTED: AWS made it and renews it",
                     type);
    }
  }
  cr_retire_gather(retire, now);
}

static void name_page(struct cr_retire *retire);

/* The name behind the id. Every page, before "not there" may be said. */
static void have_names(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                       const struct cr_error *failure)
{
  struct cr_retire *retire = cr_retire_of(step);
  const struct cr_node *list = cr_get(answer, "ServerCertificateMetadataList"), *item = NULL;
  if(failure) {
    cr_retire_unknown(retire, CR_FACT_NOT_IN_USE, failure);
    cr_retire_gather(retire, now);
    return;
  }
  for(item = list ? list->first : NULL; item; item = item->next) {
    const char *name = cr_get_text(item, "ServerCertificateName");
    if(name && cr_streq(cr_get_text(item, "ServerCertificateId"), retire->reference)) {
      step->machine.unsure = false; /* it is still there: no deletion took effect */
      snprintf(retire->name, sizeof retire->name, "%s", name);
      cr_retire_fact(retire, CR_FACT_NOT_IN_USE, true, "IAM keeps no list of uses; it refuses to delete one in use");
      cr_retire_gather(retire, now);
      return;
    }
  }
  if(!list || !cr_get(answer, "IsTruncated")) {
    cr_retire_unclear(retire, CR_FACT_NOT_IN_USE, "IAM's listing does not say whether it is complete");
    cr_retire_gather(retire, now);
    return;
  }
  switch(cr_retire_next_page(retire, cr_get_bool(answer, "IsTruncated", true), cr_get_text(answer, "Marker"))) {
  case 1:
    name_page(retire);
    break;
  case 0:
    gone(retire);
    break;
  case -1:
    cr_retire_unclear(retire, CR_FACT_NOT_IN_USE, "IAM's listing says that there is more, but not where");
    cr_retire_gather(retire, now);
    break;
  default:
    cr_step_fail_memory(step);
    break;
  }
}

static void name_page(struct cr_retire *retire)
{
  if(retire->marker) {
    cr_step_call(&retire->step, have_names, "iam", "ListServerCertificates", "PathPrefix", "/", "Marker",
                 retire->marker, (char *)NULL);
  } else {
    cr_step_call(&retire->step, have_names, "iam", "ListServerCertificates", "PathPrefix", "/", (char *)NULL);
  }
}

static void from_the_top(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                         const struct cr_error *failure)
{
  struct cr_retire *retire = cr_retire_of(step);
  (void)now, (void)answer, (void)failure;
  memset(retire->facts, 0, sizeof retire->facts);
  cr_retire_forget_listing(retire);
  if(retire->store == CR_STORE_ACM) {
    cr_step_call(step, described, "acm", "DescribeCertificate", "CertificateArn", retire->reference, (char *)NULL);
  } else {
    cr_retire_fact(retire, CR_FACT_IMPORTED, true, "IAM holds uploaded certificates only");
    name_page(retire);
  }
}

static void begin(struct cr_step *step, const struct cr_moment *now)
{
  from_the_top(step, now, NULL, NULL);
}

/* --- parameters ----------------------------------------------------------------------------------------- */

static int init(struct cr_step *step, const struct cr_node *params, struct cr_error *err)
{
  struct cr_retire *retire = cr_retire_of(step);
  retire->reference = cr_get_text(params, "reference");
  retire->store = cr_store_of(retire->reference);
  retire->changed = cr_get(params, "changed");
  retire->keep_until = cr_get_number(params, "keep_until", 0);
  retire->dry_run = cr_get_bool(params, "dry_run", false);
  retire->patience_ms = cr_step_ms(params, "patience", 1200);
  if(retire->store == CR_STORE_NONE) {
    return cr_fail(err, CR_KIND_INPUT, "InvalidParameter",
                   "retire: 'reference' must be an ACM certificate ARN or an IAM server certificate id");
  }
  for(const struct cr_node *id = retire->changed ? retire->changed->first : NULL; id; id = id->next) {
    if(id->len == 0) {
      return cr_fail(err, CR_KIND_INPUT, "InvalidParameter", "retire: 'changed' holds an empty id");
    }
  }
  return 0;
}

static void release(struct cr_step *step)
{
  struct cr_retire *retire = cr_retire_of(step);
  cr_retire_forget_listing(retire);
  free(retire->listed);
}

static const struct cr_step_param params[] = {
  { "reference", CR_STEP_TEXT, true },
  { "changed", CR_STEP_TEXTS, false },
  { "keep_until", CR_STEP_NUMBER, false },
  { "dry_run", CR_STEP_BOOL, false },
  { "patience", CR_STEP_NUMBER, false },
  { NULL, CR_STEP_TEXT, false },
};

const struct cr_step_kind cr_step_retire = {
  .name = "retire",
  .size = sizeof(struct cr_retire),
  .account = true,
  .params = params,
  .init = init,
  .begin = begin,
  .release = release,
};
