/* step_reimport.c - the new certificate under the old one's ACM ARN: ImportCertificate with CertificateArn.
 *
 * ACM keeps no earlier content and takes no client token, so what lies there is read first and only the one that was
 * to be replaced is replaced. A repeated reimport of the same content does no harm, but counts in a yearly quota:
 * after a lost answer it is looked whether the new content has come before it is sent again. The private key stays in
 * the identity. Owns nothing: texts point into step.params. */
#include "step_import.h"

#include <string.h>

#define TRIES 3
#define BUSY_MAX 6                       /* 1, 2, 4, 8, 16, 16 seconds: ACM takes one import a second */

struct reimport {
  struct cr_step step;
  const char *reference, *from;
  int64_t patience_ms, look_until;       /* monotonic; 0: one look */
  int tries, look_round, busy_round;
  bool attempted;                        /* by an earlier run, or by us and the answer got lost */
  struct cr_error lost;
};

static void look(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                 const struct cr_error *failure);

static struct reimport *reimport_of(struct cr_step *step)
{
  return (struct reimport *)step;
}

static void finish(struct reimport *reimport, bool changed)
{
  struct cr_tree *tree = &reimport->step.machine.result;
  struct cr_node *root = cr_step_result(&reimport->step);
  if(root) {
    cr_step_done(&reimport->step, cr_add_text(tree, root, "reference", reimport->reference) &&
                                    cr_add_bool(tree, root, "changed", changed) &&
                                    cr_add_int(tree, root, "writes", reimport->tries) &&
                                    cr_add_text(tree, root, "fingerprint",
                                                cr_identity_leaf(reimport->step.identity)->fingerprint));
  }
}

/* --- writing -------------------------------------------------------------------------------------------- */

static void sent(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                 const struct cr_error *failure)
{
  struct reimport *reimport = reimport_of(step);
  (void)answer;
  if(!failure) {
    finish(reimport, true);
    return;
  }
  if(failure->ambiguous) {
    reimport->lost = *failure;
    reimport->attempted = true;
    step->machine.unsure = true;
    reimport->look_round = 0;
    reimport->look_until = now->mono_ms + reimport->patience_ms;
    look(step, now, NULL, NULL);
    return;
  }
  if(failure->retryable && failure->kind == CR_KIND_SERVICE && reimport->busy_round < BUSY_MAX) {
    reimport->tries--;   /* refused, so not one that may have been carried out */
    cr_step_wait(step, now, cr_step_backoff(reimport->busy_round++, 1000, 16000), look);
    return;
  }
  cr_step_fail_cause(step, failure, NULL);
}

static void write_content(struct reimport *reimport)
{
  struct cr_step *step = &reimport->step;
  struct cr_node *params = cr_step_params(step);
  if(!params || !cr_add_text(&step->call_params, params, "CertificateArn", reimport->reference)) {
    cr_step_fail_memory(step);
    return;
  }
  reimport->tries++;
  cr_step_send(step, sent, "acm", "ImportCertificate", NULL, true);   /* tags are refused here; those there stay */
}

/* --- reading -------------------------------------------------------------------------------------------- */

/* Somebody else decided: rule 5. */
static void foreign(struct reimport *reimport, const char *fingerprint)
{
  struct cr_error err;
  cr_fail(&err, CR_KIND_CONFLICT, "ForeignCertificate",
          "%s holds the certificate %.16s..., neither the old nor the new one: somebody else reimported it; look at it, "
          "then plan again", reimport->reference, fingerprint);
  cr_step_fail(&reimport->step, &err);
}

static void have_certificate(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                             const struct cr_error *failure)
{
  struct reimport *reimport = reimport_of(step);
  const char *pem = cr_get_text(answer, "Certificate");
  struct cr_certificate there;
  struct cr_error err;
  if(failure) {
    cr_step_fail_cause(step, failure, NULL);
    return;
  }
  if(cr_certificate_parse(pem, pem ? strlen(pem) : 0, &there, &err)) {
    if(err.kind != CR_KIND_MEMORY) {
      err.kind = CR_KIND_PARSE;
    }
    cr_step_fail(step, &err);
    return;
  }
  bool ours = strcmp(there.fingerprint, cr_identity_leaf(step->identity)->fingerprint) == 0;
  bool old = cr_strcasecmp(there.fingerprint, reimport->from) == 0;
  if(!ours && !old) {
    foreign(reimport, there.fingerprint);
    cr_certificate_free(&there);
    return;
  }
  cr_certificate_free(&there);
  if(cr_import_compare(step->identity, pem, cr_get_text(answer, "CertificateChain")) == CR_COMPARED_SAME) {
    finish(reimport, reimport->attempted);
    return;
  }
  int64_t left = reimport->look_until - now->mono_ms;
  if(reimport->attempted && left > 0) {
    int64_t pause = cr_step_backoff(reimport->look_round++, 1000, 8000);
    cr_step_wait(step, now, pause < left ? pause : left, look);
  } else if(reimport->tries >= TRIES) {
    cr_step_fail_cause(step, &reimport->lost, NULL);
  } else {
    write_content(reimport);
  }
}

static void look(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                 const struct cr_error *failure)
{
  (void)now, (void)answer, (void)failure;
  cr_step_call(step, have_certificate, "acm", "GetCertificate", "CertificateArn", reimport_of(step)->reference,
               (char *)NULL);
}

/* --- the step ------------------------------------------------------------------------------------------- */

static int init(struct cr_step *step, const struct cr_node *params, struct cr_error *err)
{
  struct reimport *reimport = reimport_of(step);
  reimport->reference = cr_get_text(params, "reference");
  reimport->from = cr_get_text(params, "from");
  reimport->attempted = cr_get_bool(params, "attempted", false);
  reimport->patience_ms = cr_step_ms(params, "patience", 10);
  if(strlen(reimport->from) != CR_FINGERPRINT_HEX) {
    return cr_fail(err, CR_KIND_INPUT, "InvalidParameter",
                   "reimport: 'from' must be the SHA-256 of the certificate to be replaced, in hexadecimal digits");
  }
  return 0;
}

static void begin(struct cr_step *step, const struct cr_moment *now)
{
  struct reimport *reimport = reimport_of(step);
  if(reimport->attempted) {
    reimport->look_until = now->mono_ms + reimport->patience_ms;
  }
  look(step, now, NULL, NULL);
}

static const struct cr_step_param params[] = {
  { "reference", CR_STEP_TEXT, true },
  { "from", CR_STEP_TEXT, true },
  { "attempted", CR_STEP_BOOL, false },
  { "patience", CR_STEP_NUMBER, false },
  { NULL, CR_STEP_TEXT, false },
};

const struct cr_step_kind cr_step_reimport = {
  .name = "reimport",
  .size = sizeof(struct reimport),
  .account = true,
  .identity = true,
  .params = params,
  .init = init,
  .begin = begin,
};
