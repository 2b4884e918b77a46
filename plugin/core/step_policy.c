/* step_policy.c - detaches a continuous-deployment policy from its primary distribution, or attaches it again.
 *
 * The manner of step_swap.c: reads the configuration as bytes, lets policy_id.c change one element, writes it back
 * under the ETag it was read with. After anything but a clear yes it starts again from reading. The policy itself is
 * not touched. Owns the edited document. */
#include "step_private.h"

#include <string.h>

#include "policy_id.h"

#define ROUNDS 8                      /* reads followed by a refused or unsure write */
#define CONFIG_MAX ((size_t)4 << 20)

struct policy {
  struct cr_step step;
  const char *id, *from, *to;         /* in step.params, or "" */
  int64_t patience_ms, until;         /* monotonic; 0: not begun */
  int rounds, refusals, reads, writes;
  bool unsure;                        /* a write whose answer was lost: may have been carried out */
  struct cr_buf edited;
};

static void read_config(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                        const struct cr_error *failure);

static struct policy *policy_of(struct cr_step *step)
{
  return (struct policy *)step;
}

static void finish(struct policy *policy, bool changed, const char *etag, const char *status)
{
  struct cr_tree *tree = &policy->step.machine.result;
  struct cr_node *root = cr_step_result(&policy->step);
  if(root) {
    cr_step_done(&policy->step,
                 cr_add_text(tree, root, "Id", policy->id) && cr_add_bool(tree, root, "changed", changed) &&
                   cr_add_text(tree, root, "ETag", etag) && cr_add_text(tree, root, "Status", status) &&
                   cr_add_int(tree, root, "reads", policy->reads) && cr_add_int(tree, root, "writes", policy->writes));
  }
}

/* Somebody else decided: rule 5. */
static void foreign(struct policy *policy, const char *config, size_t len)
{
  struct cr_policy_id found;
  struct cr_error err;
  if(cr_policy_id_read(config, len, &found, &err)) {
    cr_step_fail(&policy->step, &err);
    return;
  }
  cr_fail(&err, CR_KIND_CONFLICT, "ForeignPolicy", "%s has %s%s attached, not %s%s: somebody else changed it",
          policy->id, found.odd || !found.id[0] ? "" : "continuous-deployment policy ",
          found.odd ? "something that is no policy" : found.id[0] ? found.id : "no continuous-deployment policy",
          policy->from[0] ? "" : "no policy", policy->from);
  cr_step_fail(&policy->step, &err);
}

/* Reads again at once the first time, later after a pause. */
static void again(struct policy *policy, const struct cr_moment *now, const struct cr_error *why)
{
  if(++policy->rounds >= ROUNDS) {
    struct cr_error last = *why;
    last.retryable = true;
    cr_step_fail_cause(&policy->step, &last, policy->id);
    return;
  }
  cr_step_wait(&policy->step, now, policy->rounds == 1 ? 0 : cr_step_backoff(policy->rounds - 2, 1000, 20000),
               read_config);
}

/* Refused for the state the distribution is in: another change may still be on its way. Tried again while there is
 * patience; the text is not looked at. */
static void refused(struct policy *policy, const struct cr_moment *now, const struct cr_error *failure)
{
  if(policy->until == 0) {
    policy->until = now->mono_ms + policy->patience_ms;
  }
  int64_t pause = cr_step_backoff(policy->refusals++, 2000, 20000);
  if(pause > policy->until - now->mono_ms) {
    pause = policy->until - now->mono_ms;
  }
  if(pause <= 0) {
    cr_step_fail_cause(&policy->step, failure, policy->id);
    return;
  }
  cr_step_wait(&policy->step, now, pause, read_config);
}

/* The policy was deleted, or bound to others meanwhile: not ours to mend. */
static bool taken(const struct cr_error *failure)
{
  return cr_step_code(failure, "NoSuchContinuousDeploymentPolicy") ||
         cr_step_code(failure, "ContinuousDeploymentPolicyInUse") || cr_step_code(failure, "StagingDistributionInUse");
}

/* Of the answer to a write only this is looked at; its ETag is a header. */
static const char *const status_only[] = { "Status", NULL };
static const struct cr_xml_view status_view = { .names = status_only, .first = true };

static void written(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                    const struct cr_error *failure)
{
  struct policy *policy = policy_of(step);
  if(!failure) {
    const char *etag = cr_get_text(answer, "ETag"), *status = cr_get_text(cr_get(answer, "Distribution"), "Status");
    policy->writes++;
    finish(policy, true, etag, status);
    return;
  }
  /* A refused ETag may be our own doing too: a transport that sent the request twice. */
  if(failure->ambiguous || failure->status == 412 || cr_step_code(failure, "PreconditionFailed")) {
    policy->unsure = step->machine.unsure = true;
    again(policy, now, failure);
  } else if(cr_step_code(failure, "InvalidIfMatchVersion") ||
            (failure->retryable && failure->kind == CR_KIND_SERVICE)) {
    again(policy, now, failure);
  } else if(cr_step_code(failure, "IllegalUpdate")) {
    refused(policy, now, failure);
  } else if(taken(failure)) {
    struct cr_error err = *failure;
    err.kind = CR_KIND_CONFLICT;
    err.retryable = false;
    cr_step_fail_cause(step, &err, policy->id);
  } else {
    cr_step_fail_cause(step, failure, policy->id);
  }
}

static void write_config(struct policy *policy, const char *etag)
{
  struct cr_step *step = &policy->step;
  struct cr_tree *tree = &step->call_params;
  struct cr_node *params = cr_step_params(step);
  if(!params || !cr_add_text(tree, params, "Id", policy->id) || !cr_add_text(tree, params, "IfMatch", etag) ||
     !cr_add_textn(tree, params, "DistributionConfig", policy->edited.data, policy->edited.len)) {
    cr_step_fail_memory(step);
    return;
  }
  cr_buf_reset(&policy->edited);
  cr_step_send(step, written, "cloudfront", "UpdateDistribution", &status_view, false);
}

static void have_config(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                        const struct cr_error *failure)
{
  struct policy *policy = policy_of(step);
  const struct cr_node *body = cr_get(answer, "Body");
  const char *etag = cr_get_text(answer, "ETag");
  enum cr_names names = CR_NAMES_OTHER;
  struct cr_error err;
  policy->reads++;
  if(failure && failure->retryable && failure->kind == CR_KIND_SERVICE) {
    again(policy, now, failure);
    return;
  }
  if(failure) {
    cr_step_fail_cause(step, failure, policy->id);
    return;
  }
  if(!body || body->len == 0 || !etag || !*etag) {
    cr_fail(&err, CR_KIND_PARSE, "NoETag", "%s: CloudFront sent a configuration without %s; nothing was changed",
            policy->id, body && body->len ? "an ETag" : "content");
    cr_step_fail(step, &err);
    return;
  }
  cr_error_clear(&err);
  cr_buf_reset(&policy->edited);
  if(cr_policy_id_change(body->text, body->len, policy->from, policy->to, &policy->edited, &names, &err)) {
    if(err.kind == CR_KIND_PARSE && err.retryable) {
      again(policy, now, &err); /* cut short on the way */
      return;
    }
    cr_step_fail_cause(step, &err, policy->id);
    return;
  }
  step->machine.unsure = false; /* seen: the write was carried out or not */
  switch(names) {
  case CR_NAMES_NEW:
    /* After a lost answer this is the answer: the write was carried out, once. */
    policy->writes += policy->unsure;
    finish(policy, policy->unsure, etag, "");
    break;
  case CR_NAMES_OTHER:
    foreign(policy, body->text, body->len);
    break;
  case CR_NAMES_OLD:
    write_config(policy, etag);
    break;
  }
}

static void read_config(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                        const struct cr_error *failure)
{
  (void)now, (void)answer, (void)failure;
  struct cr_node *params = cr_step_params(step);
  if(!params || !cr_add_text(&step->call_params, params, "Id", policy_of(step)->id)) {
    cr_step_fail_memory(step);
    return;
  }
  cr_step_send(step, have_config, "cloudfront", "GetDistributionConfig", &cr_bytes_view, false);
}

static void begin(struct cr_step *step, const struct cr_moment *now)
{
  read_config(step, now, NULL, NULL);
}

static int init(struct cr_step *step, const struct cr_node *params, struct cr_error *err)
{
  struct policy *policy = policy_of(step);
  cr_buf_init(&policy->edited, CONFIG_MAX);
  policy->id = cr_get_text(params, "Id");
  policy->from = cr_get_text(params, "from") ? cr_get_text(params, "from") : "";
  policy->to = cr_get_text(params, "to") ? cr_get_text(params, "to") : "";
  policy->patience_ms = cr_step_ms(params, "settle_patience", 1800);
  if((policy->from[0] && !cr_policy_id_valid(policy->from)) || (policy->to[0] && !cr_policy_id_valid(policy->to))) {
    return cr_fail(err, CR_KIND_INPUT, "InvalidParameter",
                   "policy: '%s' must be a continuous-deployment policy's id, or \"\"",
                   policy->from[0] && !cr_policy_id_valid(policy->from) ? "from" : "to");
  }
  if(!policy->from[0] == !policy->to[0]) {
    return cr_fail(err, CR_KIND_INPUT, "InvalidParameter",
                   "policy: either 'from' or 'to' must name a policy: one is detached, or attached, never replaced");
  }
  return 0;
}

static void release(struct cr_step *step)
{
  cr_buf_free(&policy_of(step)->edited);
}

static const struct cr_step_param params[] = {
  { "Id", CR_STEP_TEXT, true },
  { "from", CR_STEP_TEXT, false },
  { "to", CR_STEP_TEXT, false },
  { "settle_patience", CR_STEP_NUMBER, false },
  { NULL, CR_STEP_TEXT, false },
};

const struct cr_step_kind cr_step_policy = {
  .name = "policy",
  .size = sizeof(struct policy),
  .account = true,
  .params = params,
  .init = init,
  .begin = begin,
  .release = release,
};
