/* step.c - the frame around every step: parameters checked, one child driven at a time, ends recorded.
 *
 * Includes the contracts of calls and steps. A step machine owns its child, its trees and a reference to account
 * and identity; step_destroy releases them all. */
#include "step_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARAMS_MAX ((size_t)8 << 20)       /* ids of a large fleet; one distribution's configuration */
#define RESULT_MAX ((size_t)64 << 20)
#define SECONDS_MAX (366.0 * 24 * 3600)

static const struct cr_step_kind *const kinds[] = {
  &cr_step_import, &cr_step_reimport, &cr_step_swap,   &cr_step_policy,
  &cr_step_settle, &cr_step_verify,   &cr_step_retire,
};

/* --- attempts ------------------------------------------------------------------------------------------- */

static void keep_attempts(struct cr_step *step)
{
  struct cr_attempt attempt;
  while(step->child && cr_machine_attempt(step->child, &attempt)) {
    if(step->attempt_count == CR_STEP_ATTEMPTS) {
      step->attempt_first = (step->attempt_first + 1) % CR_STEP_ATTEMPTS;
      step->attempt_count--;
    }
    step->attempts[(step->attempt_first + step->attempt_count) % CR_STEP_ATTEMPTS] = attempt;
    step->attempt_count++;
  }
}

static bool step_attempt(struct cr_machine *m, struct cr_attempt *out)
{
  struct cr_step *step = (struct cr_step *)m;
  if(step->attempt_count > 0) {
    *out = step->attempts[step->attempt_first];
    step->attempt_first = (step->attempt_first + 1) % CR_STEP_ATTEMPTS;
    step->attempt_count--;
    return true;
  }
  return step->child && cr_machine_attempt(step->child, out);
}

/* --- what a step's functions call ----------------------------------------------------------------------- */

struct cr_node *cr_step_params(struct cr_step *step)
{
  cr_tree_free(&step->call_params);
  return cr_node_add(&step->call_params, NULL, NULL, CR_NODE_MAP);
}

void cr_step_run(struct cr_step *step, CR_STEP_THEN(then), struct cr_machine *child, const struct cr_error *err)
{
  if(!child) {
    cr_step_fail(step, err);
    return;
  }
  step->child = child;
  step->then = then;
  step->state = CR_STEP_CALLING;
}

void cr_step_send(struct cr_step *step, CR_STEP_THEN(then), const char *service, const char *operation,
                  const struct cr_xml_view *view, bool with_identity)
{
  struct cr_error err;
  struct cr_machine *child = NULL;
  const struct cr_operation *row = cr_operation_find(service, operation);
  cr_error_clear(&err);
  if(!row) {
    cr_fail(&err, CR_KIND_INPUT, "UnknownOperation", "%s:%s is not in the tables", service, operation);
  } else {
    child = cr_call_take(step->account, row, &step->call_params, with_identity ? step->identity : NULL, view, 0, &err);
  }
  cr_tree_free(&step->call_params);   /* what no call took over */
  cr_step_run(step, then, child, &err);
}

void cr_step_call(struct cr_step *step, CR_STEP_THEN(then), const char *service, const char *operation, ...)
{
  struct cr_node *params = cr_step_params(step);
  bool complete = params != NULL;
  const char *name;
  va_list args;
  va_start(args, operation);
  for(name = va_arg(args, const char *); complete && name; name = va_arg(args, const char *)) {
    const char *value = va_arg(args, const char *);
    complete = cr_add_text(&step->call_params, params, name, value) != NULL;
  }
  va_end(args);
  if(!complete) {
    cr_step_fail_memory(step);
    return;
  }
  cr_step_send(step, then, service, operation, NULL, false);
}

void cr_step_wait(struct cr_step *step, const struct cr_moment *now, int64_t ms, CR_STEP_THEN(then))
{
  step->until_mono_ms = now->mono_ms + (ms > 0 ? ms : 0);
  step->then = then;
  step->state = CR_STEP_WAITING;
}

struct cr_node *cr_step_result(struct cr_step *step)
{
  cr_tree_free(&step->machine.result);
  struct cr_node *root = cr_node_add(&step->machine.result, NULL, NULL, CR_NODE_MAP);
  if(!root) {
    cr_step_fail_memory(step);
  }
  return root;
}

void cr_step_done(struct cr_step *step, bool complete)
{
  if(!complete) {
    cr_step_fail_memory(step);
    return;
  }
  step->state = CR_STEP_DONE;
}

void cr_step_fail(struct cr_step *step, const struct cr_error *err)
{
  step->machine.error = *err;
  step->machine.error.ambiguous = err->ambiguous || step->machine.unsure;
  snprintf(step->machine.error.operation, sizeof step->machine.error.operation, "%s", step->machine.operation);
  step->state = CR_STEP_FAILED;
}

void cr_step_fail_memory(struct cr_step *step)
{
  struct cr_error err;
  cr_fail_memory(&err);
  cr_step_fail(step, &err);
}

void cr_step_fail_cause(struct cr_step *step, const struct cr_error *failure, const char *about)
{
  struct cr_error err;
  cr_fail(&err, failure->kind, failure->code, "%s%s%s%s%s", about ? about : "", about ? ": " : "",
          failure->operation, failure->operation[0] ? ": " : "", failure->message);
  err.retryable = failure->retryable;
  err.ambiguous = failure->ambiguous;
  err.status = failure->status;
  memcpy(err.request_id, failure->request_id, sizeof err.request_id);
  cr_step_fail(step, &err);
}

int64_t cr_step_ms(const struct cr_node *params, const char *name, double fallback_seconds)
{
  double seconds = cr_get_number(params, name, fallback_seconds);
  if(!(seconds > 0)) {
    return 0;
  }
  return (int64_t)((seconds < SECONDS_MAX ? seconds : SECONDS_MAX) * 1000);
}

int64_t cr_step_backoff(int round, int64_t first_ms, int64_t most_ms)
{
  int64_t ms = first_ms;
  while(round-- > 0 && ms < most_ms) {
    ms *= 2;
  }
  return ms < most_ms ? ms : most_ms;
}

bool cr_step_code(const struct cr_error *failure, const char *code)
{
  size_t len = strlen(code);
  return strncmp(failure->code, code, len) == 0 &&
         (failure->code[len] == '\0' || strcmp(failure->code + len, "Exception") == 0);
}

const char *cr_step_reference(const struct cr_node *viewer_certificate)
{
  static const char *const fields[] = { "ACMCertificateArn", "IAMCertificateId", "Certificate" };
  for(size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
    const char *text = cr_get_text(viewer_certificate, fields[i]);
    if(text && *text && cr_store_of(text) != CR_STORE_NONE) {
      return text;
    }
  }
  return "";
}

bool cr_step_mentions(const struct cr_node *viewer_certificate, const char *reference)
{
  static const char *const fields[] = { "ACMCertificateArn", "IAMCertificateId", "Certificate" };
  for(size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
    if(cr_streq(cr_get_text(viewer_certificate, fields[i]), reference)) {
      return true;
    }
  }
  return false;
}

/* --- the machine ---------------------------------------------------------------------------------------- */

/* The child has ended, or the wait is over: let the step's function decide. */
static void go_on(struct cr_step *step, const struct cr_moment *now, enum cr_need need)
{
  struct cr_machine *finished = step->child;
  CR_STEP_THEN(then) = step->then;
  keep_attempts(step);
  step->child = NULL;
  step->then = NULL;
  step->state = CR_STEP_THINKING;
  then(step, now, finished && need == CR_NEED_DONE ? finished->result.root : NULL,
       finished && need == CR_NEED_FAILED ? &finished->error : NULL);
  cr_machine_free(finished);
}

static enum cr_need step_next(struct cr_machine *m, const struct cr_moment *now, struct cr_want *want)
{
  struct cr_step *step = (struct cr_step *)m;
  for(;;) {
    switch(step->state) {
    case CR_STEP_NEW:
      step->state = CR_STEP_THINKING;
      step->kind->begin(step, now);
      break;
    case CR_STEP_THINKING: {
      struct cr_error err;
      cr_fail(&err, CR_KIND_INPUT, "StepStalled", "the step does not know how to go on; this is a bug in certrotate");
      cr_step_fail(step, &err);
      break;
    }
    case CR_STEP_CALLING: {
      enum cr_need need = step->child->class->next(step->child, now, want);
      if(need != CR_NEED_DONE && need != CR_NEED_FAILED) {
        return need;
      }
      go_on(step, now, need);
      break;
    }
    case CR_STEP_WAITING:
      if(now->mono_ms < step->until_mono_ms) {
        want->until_mono_ms = step->until_mono_ms;
        return CR_NEED_WAIT;
      }
      go_on(step, now, CR_NEED_WAIT);
      break;
    case CR_STEP_DONE:
      return CR_NEED_DONE;
    case CR_STEP_FAILED:
      return CR_NEED_FAILED;
    }
  }
}

static void step_answered(struct cr_machine *m, const struct cr_moment *now, struct cr_answer *answer)
{
  struct cr_step *step = (struct cr_step *)m;
  if(step->child) {
    step->child->class->answered(step->child, now, answer);
  }
}

static void step_decoded(struct cr_machine *m, const struct cr_error *failure)
{
  struct cr_step *step = (struct cr_step *)m;
  if(step->child) {
    step->child->class->decoded(step->child, failure);
  }
}

static void step_destroy(struct cr_machine *m)
{
  struct cr_step *step = (struct cr_step *)m;
  cr_machine_free(step->child);
  if(step->kind->release) {
    step->kind->release(step);
  }
  cr_tree_free(&step->params);
  cr_tree_free(&step->call_params);
  cr_tree_free(&step->machine.result);
  if(step->account) {
    cr_account_unref(step->account);
  }
  if(step->identity) {
    cr_identity_unref(step->identity);
  }
  free(step);
}

static const struct cr_machine_class step_class = {
  .name = "step",
  .next = step_next,
  .answered = step_answered,
  .decoded = step_decoded,
  .destroy = step_destroy,
  .attempt = step_attempt,
};

/* --- parameters ----------------------------------------------------------------------------------------- */

static bool fits(const struct cr_node *node, enum cr_step_type type)
{
  switch(type) {
  case CR_STEP_TEXT:
    return node->type == CR_NODE_TEXT;
  case CR_STEP_NUMBER: {
    double number = cr_get_number(node->parent, node->name, -1);
    return node->type == CR_NODE_NUMBER && isfinite(number) && number >= 0;
  }
  case CR_STEP_BOOL:
    return node->type == CR_NODE_BOOL;
  case CR_STEP_MAP:
    if(node->type != CR_NODE_MAP && !(node->type == CR_NODE_LIST && node->count == 0)) {
      return false;
    }
    break;
  case CR_STEP_TEXTS:
    if(node->type != CR_NODE_LIST && !(node->type == CR_NODE_MAP && node->count == 0)) {
      return false;
    }
    break;
  }
  for(const struct cr_node *child = node->first; child; child = child->next) {
    if(child->type != CR_NODE_TEXT) {
      return false;
    }
  }
  return true;
}

static const char *type_name(enum cr_step_type type)
{
  switch(type) {
  case CR_STEP_TEXT: return "a string";
  case CR_STEP_NUMBER: return "a number of at least 0";
  case CR_STEP_BOOL: return "true or false";
  case CR_STEP_TEXTS: return "a list of strings";
  case CR_STEP_MAP: return "a map of strings";
  }
  return "something else";
}

static int check_params(const struct cr_step_kind *kind, const struct cr_node *params, struct cr_error *err)
{
  for(const struct cr_node *node = params ? params->first : NULL; node; node = node->next) {
    const struct cr_step_param *param = kind->params;
    while(param->name && !cr_streq(param->name, node->name)) {
      param++;
    }
    if(!param->name) {
      return cr_fail(err, CR_KIND_INPUT, "UnknownParameter", "%s has no parameter '%s'", kind->name,
                     node->name ? node->name : "?");
    }
    if(!fits(node, param->type)) {
      return cr_fail(err, CR_KIND_INPUT, "InvalidParameter", "%s: '%s' must be %s", kind->name, param->name,
                     type_name(param->type));
    }
  }
  for(const struct cr_step_param *param = kind->params; param->name; param++) {
    const struct cr_node *node = cr_get(params, param->name);
    if(param->required && (!node || (param->type == CR_STEP_TEXT && node->len == 0))) {
      return cr_fail(err, CR_KIND_INPUT, "MissingParameter", "%s needs '%s'", kind->name, param->name);
    }
  }
  return 0;
}

static int fill(struct cr_step *step, struct cr_account *account, const struct cr_node *params,
                struct cr_identity *identity, struct cr_error *err)
{
  step->machine.class = &step_class;
  cr_tree_init(&step->machine.result, RESULT_MAX);
  cr_tree_init(&step->params, PARAMS_MAX);
  cr_tree_init(&step->call_params, PARAMS_MAX);
  snprintf(step->machine.operation, sizeof step->machine.operation, "step:%s", step->kind->name);
  step->account = account ? cr_account_ref(account) : NULL;
  step->identity = step->kind->identity ? cr_identity_ref(identity) : NULL;
  const struct cr_node *copy = params ? cr_node_copy(&step->params, NULL, NULL, params)
                                      : cr_node_add(&step->params, NULL, NULL, CR_NODE_MAP);
  if(!copy) {
    return cr_fail_memory(err);
  }
  return step->kind->init(step, copy, err);
}

struct cr_machine *cr_step_new(const char *name, struct cr_account *account, const struct cr_node *params,
                               struct cr_identity *identity, struct cr_error *err)
{
  const struct cr_step_kind *kind = NULL;
  for(size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    if(cr_streq(kinds[i]->name, name)) {
      kind = kinds[i];
    }
  }
  if(!kind) {
    cr_fail(err, CR_KIND_INPUT, "UnknownStep", "there is no step '%s'", name ? name : "");
    return NULL;
  }
  if(kind->account && !account) {
    cr_fail(err, CR_KIND_INPUT, "MissingParameter", "%s needs an account", kind->name);
    return NULL;
  }
  if(kind->identity && !identity) {
    cr_fail(err, CR_KIND_INPUT, "MissingParameter", "%s needs an identity", kind->name);
    return NULL;
  }
  if(!kind->identity && identity) {
    cr_fail(err, CR_KIND_INPUT, "UnexpectedIdentity", "%s takes no identity", kind->name);
    return NULL;
  }
  if(check_params(kind, params, err)) {
    return NULL;
  }
  struct cr_step *step = calloc(1, kind->size);
  if(!step) {
    cr_fail_memory(err);
    return NULL;
  }
  step->kind = kind;
  if(fill(step, account, params, identity, err)) {
    step_destroy(&step->machine);
    return NULL;
  }
  return &step->machine;
}
