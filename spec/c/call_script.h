/* call_script.h - drives one call machine by hand: no network, a clock that the test moves.
 *
 * struct script s; script_begin(&s, "cloudfront", "GetDistribution", "Id=E1", NULL);
 * script_need(&s) == CR_NEED_SEND; script_answer(&s, 200, headers, body); ... script_end(&s); */
#ifndef CR_SPEC_CALL_SCRIPT_H
#define CR_SPEC_CALL_SCRIPT_H

#include "call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCRIPT_TIME INT64_C(1768478400000)   /* 2026-01-15T12:00:00Z */
#define SCRIPT_SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

struct script {
  struct cr_account *account;
  struct cr_machine *m;
  struct cr_moment now;
  struct cr_want want;
  struct cr_error error;      /* of cr_call_new */
};

static struct cr_account *script_account(const char *token)
{
  struct cr_error err;
  struct cr_account *account = cr_account_new(&err);
  if(!account || cr_account_set_credentials(account, "AKIDEXAMPLE", SCRIPT_SECRET, token, 0, &err) < 0 ||
     cr_account_set_endpoint(account, CR_CLOUDFRONT, "https://cloudfront.amazonaws.com", "us-east-1", &err) < 0 ||
     cr_account_set_endpoint(account, CR_IAM, "https://iam.amazonaws.com", "us-east-1", &err) < 0 ||
     cr_account_set_endpoint(account, CR_STS, "https://sts.us-east-1.amazonaws.com", "us-east-1", &err) < 0 ||
     cr_account_set_endpoint(account, CR_ACM, "https://acm.us-east-1.amazonaws.com", "us-east-1", &err) < 0) {
    printf("no account: %s\n", err.message);
    exit(1);
  }
  /* Scripts drive calls of one account side by side; who may go when is test_pace.c's. */
  for(int service = 0; account && service < CR_SERVICE_COUNT; service++) {
    account->paces[service][0].window = account->paces[service][1].window = 64;
  }
  return account;
}

/* "Name=value" texts below root; a number when the value begins with '#'. */
static void script_params(struct cr_tree *tree, const char *const *pairs)
{
  struct cr_node *root = cr_node_add(tree, NULL, NULL, CR_NODE_MAP);
  for(; pairs && *pairs; pairs++) {
    const char *equals = strchr(*pairs, '=');
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)(equals - *pairs), *pairs);
    if(equals[1] == '#') {
      cr_add_text(tree, root, name, equals + 2)->type = CR_NODE_NUMBER;
    } else {
      cr_add_text(tree, root, name, equals + 1);
    }
  }
}

/* account NULL: a new one. The script owns a reference either way. */
static bool script_new(struct script *s, struct cr_account *account, const char *service, const char *operation,
                       const struct cr_node *params, struct cr_identity *identity, const struct cr_xml_view *view,
                       int64_t deadline_ms)
{
  const struct cr_operation *row = cr_operation_find(service, operation);
  memset(s, 0, sizeof *s);
  s->account = account ? cr_account_ref(account) : script_account(NULL);
  s->now.unix_ms = SCRIPT_TIME;
  s->now.mono_ms = 5000;
  s->now.random = 0.5;
  if(!row) {
    printf("no operation %s:%s\n", service, operation);
    exit(1);
  }
  s->m = cr_call_new(s->account, row, params, identity, view, deadline_ms, &s->error);
  return s->m != NULL;
}

static inline bool script_begin(struct script *s, struct cr_account *account, const char *service,
                                const char *operation, const char *const *pairs)
{
  struct cr_tree tree;
  cr_tree_init(&tree, 1 << 20);
  script_params(&tree, pairs);
  bool good = script_new(s, account, service, operation, tree.root, NULL, NULL, 0);
  cr_tree_free(&tree);
  return good;
}

static enum cr_need script_need(struct script *s)
{
  memset(&s->want, 0, sizeof s->want);
  return s->m->class->next(s->m, &s->now, &s->want);
}

/* Moves the clock to the end of the wait that was asked for; how long it was. */
static int64_t script_wait(struct script *s)
{
  int64_t wait = s->want.until_mono_ms - s->now.mono_ms;
  s->now.mono_ms += wait;
  s->now.unix_ms += wait;
  return wait;
}

static void script_answered(struct script *s, struct cr_answer *answer)
{
  s->m->class->answered(s->m, &s->now, answer);
  cr_answer_free(answer);
}

/* headers: "name: value\n" lines in lower case, or NULL. The body comes in pieces of 7 bytes where there is a sink. */
static void script_answer(struct script *s, int status, const char *headers, const char *body)
{
  struct cr_answer answer;
  const struct cr_sink *sink = s->want.request->sink;
  size_t len = body ? strlen(body) : 0;

  cr_answer_init(&answer);
  answer.sent = CR_SENT_ANSWERED;
  answer.status = status;
  cr_buf_adds(&answer.header_text, headers);
  if(sink && status >= 200 && status < 300) {
    for(size_t at = 0; at < len; at += 7) {
      if(sink->write(sink->user, body + at, len - at < 7 ? len - at : 7) < 0) {
        /* What the engine tells when a sink gives up. */
        answer.sent = CR_SENT_UNKNOWN;
        cr_fail(&answer.error, CR_KIND_PARSE, "CURLE_WRITE_ERROR", "the answer cannot be used");
        answer.error.retryable = true;
        break;
      }
    }
  } else if(body) {
    cr_buf_add(&answer.body, body, len);
  }
  script_answered(s, &answer);
}

static inline void script_lost(struct script *s, enum cr_sent sent, enum cr_kind kind)
{
  struct cr_answer answer;
  cr_answer_init(&answer);
  answer.sent = sent;
  cr_fail(&answer.error, kind, kind == CR_KIND_TIMEOUT ? "CURLE_OPERATION_TIMEDOUT" : "CURLE_RECV_ERROR",
          "the connection ended");
  answer.error.retryable = true;
  script_answered(s, &answer);
}

/* What a JSON decoder would have made of it: "Name=value" pairs, or NULL for text that is no JSON. */
static inline void script_decode(struct script *s, const char *const *pairs)
{
  if(pairs) {
    script_params(s->want.into, pairs);
    s->m->class->decoded(s->m, NULL);
  } else {
    struct cr_error err;
    cr_fail(&err, CR_KIND_PARSE, "BadJson", "it is not JSON");
    s->m->class->decoded(s->m, &err);
  }
}

static inline void script_end(struct script *s)
{
  cr_machine_free(s->m);
  cr_account_unref(s->account);
  s->m = NULL;
}

static const char *script_header(const struct script *s, const char *name)
{
  for(size_t i = 0; s->want.request && i < s->want.request->header_count; i++) {
    if(cr_strcasecmp(s->want.request->headers[i].name, name) == 0) {
      return s->want.request->headers[i].value;
    }
  }
  return NULL;
}

/* The last 64 digits of Authorization. */
static inline const char *script_signature(const struct script *s)
{
  const char *header = script_header(s, "Authorization"), *found = header ? strstr(header, "Signature=") : NULL;
  return found ? found + 10 : NULL;
}

static inline const char *script_body(const struct script *s)
{
  return s->want.request && s->want.request->body ? s->want.request->body : "";
}

#define PAIRS(...) (const char *const[]){ __VA_ARGS__, NULL }

#endif
