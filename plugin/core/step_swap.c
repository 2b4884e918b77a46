/* step_swap.c - one holder from the old certificate to the new one, exactly as design.md section 3 says.
 *
 * Reads the configuration as bytes, lets viewer_certificate.c change one region (of a distribution tenant: tenant.c),
 * writes it back under the ETag it was read with. After anything but a clear yes it starts again from reading. Owns the
 * edited document. */
#include "step_private.h"
#include "tenant.h"

#include <stdio.h>
#include <string.h>

#define ROUNDS 8                      /* reads followed by a refused or unsure write */
#define CONFIG_MAX ((size_t)4 << 20)
#define DEPLOYED_REFUSALS 3           /* "in progress" although Deployed: the control plane may lag a little */

/* What differs between the kinds of holders. */
struct holder_kind {
  const char *read, *read_id;          /* operation whose answer is edited, and its parameter for the id */
  const char *write, *document;        /* operation that takes the edited document, and its parameter for it */
  const char *answer;                  /* under this the answer to the write says the Status */
  int (*edit)(const char *config, size_t len, const char *from, const char *to, struct cr_buf *out,
              enum cr_names *names, struct cr_error *err);
};

static const struct holder_kind distribution_kind = {
  .read = "GetDistributionConfig", .read_id = "Id", .write = "UpdateDistribution", .document = "DistributionConfig",
  .answer = "Distribution", .edit = cr_viewer_certificate_swap,
};
static const struct holder_kind tenant_kind = {
  .read = "GetDistributionTenant", .read_id = "Identifier", .write = "UpdateDistributionTenant",
  .document = "UpdateDistributionTenantRequest", .answer = "DistributionTenant", .edit = cr_tenant_swap,
};

struct swap {
  struct cr_step step;
  const struct holder_kind *kind;
  const char *id, *from, *to;         /* in step.params */
  const char *method, *protocol;      /* NULL but for a holder on the default certificate, which is attached to */
  int64_t settle_patience_ms, visible_patience_ms;
  int64_t settle_until, visible_until;   /* monotonic; 0: not begun */
  int rounds, settle_looks, visible_tries, deployed_refusals;
  int reads, writes;
  bool unsure;                        /* a write whose answer was lost: may have been carried out */
  struct cr_buf edited;
  struct cr_error last;               /* why it starts again */
};

static void read_config(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                        const struct cr_error *failure);

static struct swap *swap_of(struct cr_step *step)
{
  return (struct swap *)step;
}

/* --- ends ----------------------------------------------------------------------------------------------- */

static void finish(struct swap *swap, bool changed, const char *etag, const char *status)
{
  struct cr_tree *tree = &swap->step.machine.result;
  struct cr_node *root = cr_step_result(&swap->step);
  if(root) {
    cr_step_done(&swap->step, cr_add_text(tree, root, "Id", swap->id) && cr_add_bool(tree, root, "changed", changed) &&
                                cr_add_text(tree, root, "ETag", etag) && cr_add_text(tree, root, "Status", status) &&
                                cr_add_int(tree, root, "reads", swap->reads) &&
                                cr_add_int(tree, root, "writes", swap->writes));
  }
}

/* Somebody else decided: rule 5. */
static void foreign(struct swap *swap, const char *config, size_t len)
{
  struct cr_viewer_certificate found = { .disagree = false };
  struct cr_error err;
  int rc = swap->kind == &tenant_kind
             ? cr_tenant_read(config, len, found.reference, sizeof found.reference, &err)
             : cr_viewer_certificate_read(config, len, &found, &err);
  if(rc) {
    cr_step_fail(&swap->step, &err);
    return;
  }
  const char *names = found.disagree ? "two certificates that disagree"
                      : found.reference[0] ? found.reference
                      : swap->kind == &tenant_kind ? "no certificate of its own"
                                                   : "the default certificate";
  if(swap->method) {
    cr_fail(&err, CR_KIND_CONFLICT, "ForeignCertificate",
            "%s names %s and is not on the default certificate any more: somebody else changed it; look at it, then plan "
            "again", swap->id, names);
    cr_step_fail(&swap->step, &err);
    return;
  }
  cr_fail(&err, CR_KIND_CONFLICT, "ForeignCertificate",
          "%s names %s, neither the old nor the new certificate: somebody else changed it; look at it, then plan again",
          swap->id, names);
  cr_step_fail(&swap->step, &err);
}

/* --- from the top --------------------------------------------------------------------------------------- */

/* AWS answered that it has no time: throttled, or 5xx, and the call's own attempts are used up. */
static bool busy(const struct cr_error *failure)
{
  return failure->retryable && failure->kind == CR_KIND_SERVICE;
}

/* Reads again at once the first time, later after a pause. */
static void again(struct swap *swap, const struct cr_moment *now, const struct cr_error *why)
{
  swap->last = *why;
  if(++swap->rounds >= ROUNDS) {
    swap->last.retryable = true;
    cr_step_fail_cause(&swap->step, &swap->last, swap->id);
    return;
  }
  cr_step_wait(&swap->step, now, swap->rounds == 1 ? 0 : cr_step_backoff(swap->rounds - 2, 1000, 20000), read_config);
}

/* --- one certificate change at a time --------------------------------------------------------------------- */

static void look_whether_deployed(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                                  const struct cr_error *failure);

static void seen_status(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                        const struct cr_error *failure)
{
  struct swap *swap = swap_of(step);
  const char *status = cr_get_text(cr_get(answer, "Distribution"), "Status");
  swap->reads++;
  if(failure && !failure->retryable) {
    cr_step_fail_cause(step, failure, swap->id);
    return;
  }
  if(!failure && cr_streq(status, "Deployed")) {
    /* Deployed on the first look: it may just have got there, or the refusal means something else. */
    if(swap->settle_looks == 0 && ++swap->deployed_refusals >= DEPLOYED_REFUSALS) {
      cr_step_fail_cause(step, &swap->last, swap->id);
      return;
    }
    cr_step_wait(step, now, swap->settle_looks == 0 ? 2000 : 0, read_config);
    return;
  }
  if(now->mono_ms >= swap->settle_until) {
    struct cr_error err = swap->last;
    cr_fail(&err, CR_KIND_TIMEOUT, swap->last.code, "%s is not Deployed after %lld s of waiting: %s", swap->id,
            (long long)(swap->settle_patience_ms / 1000), swap->last.message);
    err.retryable = true;
    err.status = swap->last.status;
    memcpy(err.request_id, swap->last.request_id, sizeof err.request_id);
    cr_step_fail(step, &err);
    return;
  }
  int64_t pause = cr_step_backoff(swap->settle_looks++, 2000, 20000);
  if(pause > swap->settle_until - now->mono_ms) {
    pause = swap->settle_until - now->mono_ms;
  }
  cr_step_wait(step, now, pause, look_whether_deployed);
}

static void look_whether_deployed(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                                  const struct cr_error *failure)
{
  (void)now, (void)answer, (void)failure;
  cr_step_call(step, seen_status, "cloudfront", "GetDistribution", "Id", swap_of(step)->id, (char *)NULL);
}

/* Decided by state, not by text: whether a change is in progress says the distribution's Status. The text is only
 * used to refuse at once what waiting cannot help. */
static void illegal_update(struct swap *swap, const struct cr_moment *now, const struct cr_error *failure)
{
  swap->last = *failure;
  if(strstr(failure->message, "continuous deployment")) {
    struct cr_error err = *failure;
    cr_fail(&err, failure->kind, failure->code,
            "%s takes part in a continuous deployment and CloudFront refuses certificate changes under one: "
            "detach the policy first (%s)", swap->id, failure->message);
    err.status = failure->status;
    memcpy(err.request_id, failure->request_id, sizeof err.request_id);
    cr_step_fail(&swap->step, &err);
    return;
  }
  if(swap->settle_until == 0) {
    swap->settle_until = now->mono_ms + swap->settle_patience_ms;
    if(swap->settle_until == 0) {
      swap->settle_until = 1;   /* a clock that stands at 0 is no reason to begin anew */
    }
  }
  swap->settle_looks = 0;
  look_whether_deployed(&swap->step, now, NULL, NULL);
}

/* Whether the refusal may mean that CloudFront does not know the certificate yet. Of tenants no code of its own is
 * documented for that: the two that an unusable certificate can have. */
static bool may_be_unknown_yet(const struct swap *swap, const struct cr_error *failure)
{
  return swap->kind == &tenant_kind
           ? cr_step_code(failure, "InvalidArgument") || cr_step_code(failure, "InvalidAssociation")
           : cr_step_code(failure, "InvalidViewerCertificate");
}

/* A certificate imported a moment ago may be unknown to CloudFront for a while. */
static void not_visible(struct swap *swap, const struct cr_moment *now, const struct cr_error *failure)
{
  if(swap->visible_until == 0) {
    swap->visible_until = now->mono_ms + swap->visible_patience_ms;
  }
  if(now->mono_ms >= swap->visible_until) {
    cr_step_fail_cause(&swap->step, failure, swap->id);
    return;
  }
  int64_t pause = cr_step_backoff(swap->visible_tries++, 2000, 15000);
  if(pause > swap->visible_until - now->mono_ms) {
    pause = swap->visible_until - now->mono_ms;
  }
  cr_step_wait(&swap->step, now, pause, read_config);
}

/* --- the swap ------------------------------------------------------------------------------------------- */

/* Of the answer to a write only this is looked at; its ETag is a header. */
static const char *const status_only[] = { "Status", NULL };
static const struct cr_xml_view status_view = { .names = status_only, .first = true };

static void written(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                    const struct cr_error *failure)
{
  struct swap *swap = swap_of(step);
  if(!failure) {
    const char *etag = cr_get_text(answer, "ETag"), *status = cr_get_text(cr_get(answer, swap->kind->answer), "Status");
    swap->writes++;
    finish(swap, true, etag, status);
    return;
  }
  /* A refused ETag may be our own doing too: a transport that sent the request twice. */
  if(failure->ambiguous || failure->status == 412 || cr_step_code(failure, "PreconditionFailed")) {
    swap->unsure = step->machine.unsure = true;
    again(swap, now, failure);
  } else if(cr_step_code(failure, "InvalidIfMatchVersion") || busy(failure)) {
    again(swap, now, failure);
  } else if(swap->kind == &distribution_kind && cr_step_code(failure, "IllegalUpdate")) {
    illegal_update(swap, now, failure);
  } else if(may_be_unknown_yet(swap, failure)) {
    not_visible(swap, now, failure);
  } else {
    cr_step_fail_cause(step, failure, swap->id);
  }
}

static void write_config(struct swap *swap, const char *etag)
{
  struct cr_step *step = &swap->step;
  struct cr_tree *tree = &step->call_params;
  struct cr_node *params = cr_step_params(step);
  if(!params || !cr_add_text(tree, params, "Id", swap->id) || !cr_add_text(tree, params, "IfMatch", etag) ||
     !cr_add_buf(tree, params, swap->kind->document, &swap->edited)) {
    cr_step_fail_memory(step);
    return;
  }
  cr_step_send(step, written, "cloudfront", swap->kind->write, &status_view, false);
}

static void have_config(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                        const struct cr_error *failure)
{
  struct swap *swap = swap_of(step);
  const struct cr_node *body = cr_get(answer, "Body");
  const char *etag = cr_get_text(answer, "ETag");
  enum cr_names names = CR_NAMES_OTHER;
  struct cr_error err;
  swap->reads++;
  if(failure && busy(failure)) {
    again(swap, now, failure);
    return;
  }
  if(failure) {
    cr_step_fail_cause(step, failure, swap->id);
    return;
  }
  if(!body || body->len == 0 || !etag || !*etag) {
    cr_fail(&err, CR_KIND_PARSE, "NoETag", "%s: CloudFront sent a configuration without %s; nothing was changed",
            swap->id, body && body->len ? "an ETag" : "content");
    cr_step_fail(step, &err);
    return;
  }
  cr_error_clear(&err);
  cr_buf_reset(&swap->edited);
  int rc = swap->method
             ? cr_viewer_certificate_attach(body->text, body->len, swap->to, swap->method, swap->protocol,
                                            &swap->edited, &names, &err)
             : swap->kind->edit(body->text, body->len, swap->from, swap->to, &swap->edited, &names, &err);
  if(rc) {
    if(err.kind == CR_KIND_PARSE && err.retryable) {
      again(swap, now, &err); /* cut short on the way */
      return;
    }
    cr_step_fail_cause(step, &err, swap->id);
    return;
  }
  step->machine.unsure = false; /* seen: the write was carried out or not */
  switch(names) {
  case CR_NAMES_NEW:
    /* After a lost answer this is the answer: the write was carried out, once. */
    swap->writes += swap->unsure;
    finish(swap, swap->unsure, etag, "");
    break;
  case CR_NAMES_OTHER:
    foreign(swap, body->text, body->len);
    break;
  case CR_NAMES_OLD:
    write_config(swap, etag);
    break;
  }
}

static void read_config(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                        const struct cr_error *failure)
{
  (void)now, (void)answer, (void)failure;
  const struct swap *swap = swap_of(step);
  struct cr_node *params = cr_step_params(step);
  if(!params || !cr_add_text(&step->call_params, params, swap->kind->read_id, swap->id)) {
    cr_step_fail_memory(step);
    return;
  }
  /* As bytes: they are read where they are edited, once. */
  cr_step_send(step, have_config, "cloudfront", swap->kind->read, &cr_bytes_view, false);
}

static void begin(struct cr_step *step, const struct cr_moment *now)
{
  read_config(step, now, NULL, NULL);
}

static int init(struct cr_step *step, const struct cr_node *params, struct cr_error *err)
{
  struct swap *swap = swap_of(step);
  cr_buf_init(&swap->edited, CONFIG_MAX);
  swap->id = cr_get_text(params, "Id");
  swap->kind = cr_is_tenant(swap->id) ? &tenant_kind : &distribution_kind;
  swap->from = cr_get_text(params, "from");
  swap->to = cr_get_text(params, "to");
  swap->settle_patience_ms = cr_step_ms(params, "settle_patience", 1800);
  swap->visible_patience_ms = cr_step_ms(params, "visible_patience", 90);
  swap->method = cr_get_text(params, "ssl_support_method");
  swap->protocol = cr_get_text(params, "minimum_protocol_version");
  if(!swap->method != !swap->protocol || !swap->method != (swap->from && *swap->from)) {
    return cr_fail(err, CR_KIND_INPUT, "InvalidParameter",
                   "swap: give 'from', or, for a holder on the default certificate, 'ssl_support_method' and "
                   "'minimum_protocol_version'");
  }
  if(swap->method && swap->kind == &tenant_kind) {
    return cr_fail(err, CR_KIND_INPUT, "InvalidParameter", "swap: a distribution tenant is not attached to");
  }
  if(!swap->method && cr_store_of(swap->from) == CR_STORE_NONE) {
    return cr_fail(err, CR_KIND_INPUT, "InvalidParameter",
                   "swap: 'from' must be an ACM certificate ARN or an IAM server certificate id");
  }
  if(cr_store_of(swap->to) == CR_STORE_NONE) {
    return cr_fail(err, CR_KIND_INPUT, "InvalidParameter",
                   "swap: 'to' must be an ACM certificate ARN or an IAM server certificate id");
  }
  if(!swap->method && strcmp(swap->from, swap->to) == 0) {
    return cr_fail(err, CR_KIND_INPUT, "InvalidParameter", "swap: 'from' and 'to' are the same certificate");
  }
  return 0;
}

static void release(struct cr_step *step)
{
  cr_buf_free(&swap_of(step)->edited);
}

static const struct cr_step_param params[] = {
  { "Id", CR_STEP_TEXT, true },
  { "from", CR_STEP_TEXT, false },
  { "to", CR_STEP_TEXT, true },
  { "ssl_support_method", CR_STEP_TEXT, false },
  { "minimum_protocol_version", CR_STEP_TEXT, false },
  { "settle_patience", CR_STEP_NUMBER, false },
  { "visible_patience", CR_STEP_NUMBER, false },
  { NULL, CR_STEP_TEXT, false },
};

const struct cr_step_kind cr_step_swap = {
  .name = "swap",
  .size = sizeof(struct swap),
  .account = true,
  .params = params,
  .init = init,
  .begin = begin,
  .release = release,
};
