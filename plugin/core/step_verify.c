/* step_verify.c - which certificate a holder really serves: a TLS handshake, repeated while it is the old one.
 *
 * Two machines: the probe asks for one handshake, the step reads what came back. Trust is reported, not enforced:
 * what counts is the fingerprint. Each owns its texts. */
#include "step_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESULT_MAX ((size_t)1 << 20)
#define PAUSE_LEAST_MS 50

/* --- the probe ------------------------------------------------------------------------------------------ */

struct probe {
  struct cr_machine machine;
  struct cr_request request;
  struct cr_buf url, connect_to;
  enum cr_need state;             /* SEND until answered, then DONE or FAILED */
};

static enum cr_need probe_next(struct cr_machine *m, const struct cr_moment *now, struct cr_want *want)
{
  struct probe *probe = (struct probe *)m;
  (void)now;
  if(probe->state == CR_NEED_SEND) {
    want->request = &probe->request;
  }
  return probe->state;
}

static bool add_seconds(struct cr_tree *tree, struct cr_node *map, const char *name, int64_t ms)
{
  char text[32];
  snprintf(text, sizeof text, "%lld.%03d", (long long)(ms / 1000), (int)(ms % 1000));
  struct cr_node *node = cr_add_text(tree, map, name, text);
  if(node) {
    node->type = CR_NODE_NUMBER;
  }
  return node != NULL;
}

/* The leaf as it was served and what the transfer said about it. */
static int probe_read(struct probe *probe, const struct cr_answer *answer, struct cr_error *err)
{
  struct cr_tree *tree = &probe->machine.result;
  struct cr_certificate leaf;
  if(answer->certificates.len == 0) {
    return cr_fail(err, CR_KIND_TRANSPORT, "NoCertificate", "the server showed no certificate");
  }
  if(cr_certificate_parse(answer->certificates.data, answer->certificates.len, &leaf, err)) {
    return -1;
  }
  struct cr_node *root = cr_node_add(tree, NULL, NULL, CR_NODE_MAP), *names = NULL;
  bool fine = root && cr_add_text(tree, root, "fingerprint", leaf.fingerprint) &&
              cr_add_text(tree, root, "subject", leaf.subject) && cr_add_text(tree, root, "issuer", leaf.issuer) &&
              cr_add_int(tree, root, "not_before", leaf.not_before) &&
              cr_add_int(tree, root, "not_after", leaf.not_after) &&
              cr_add_bool(tree, root, "trusted", answer->verify_result == 0) &&
              cr_add_text(tree, root, "trust_message", answer->verify_result == 0 ? "" : answer->verify_message) &&
              cr_add_text(tree, root, "peer", answer->peer) &&
              add_seconds(tree, root, "elapsed", answer->elapsed_ms > 0 ? answer->elapsed_ms : 0);
  names = fine ? cr_node_add(tree, root, "names", CR_NODE_LIST) : NULL;
  fine = names != NULL;
  for(size_t i = 0; fine && i < leaf.name_count; i++) {
    fine = cr_add_text(tree, names, NULL, leaf.names[i]) != NULL;
  }
  cr_certificate_free(&leaf);
  return fine ? 0 : cr_fail_memory(err);
}

static void probe_answered(struct cr_machine *m, const struct cr_moment *now, struct cr_answer *answer)
{
  struct probe *probe = (struct probe *)m;
  (void)now;
  if(answer->sent != CR_SENT_ANSWERED) {
    m->error = answer->error;
    m->error.ambiguous = false;   /* a handshake changes nothing */
    m->error.retryable = m->error.kind == CR_KIND_TRANSPORT || m->error.kind == CR_KIND_TIMEOUT;
    probe->state = CR_NEED_FAILED;
  } else {
    probe->state = probe_read(probe, answer, &m->error) ? CR_NEED_FAILED : CR_NEED_DONE;
  }
  snprintf(m->error.operation, sizeof m->error.operation, "%s", m->operation);
}

static void probe_decoded(struct cr_machine *m, const struct cr_error *failure)
{
  (void)m, (void)failure;
}

static void probe_destroy(struct cr_machine *m)
{
  struct probe *probe = (struct probe *)m;
  cr_buf_free(&probe->url);
  cr_buf_free(&probe->connect_to);
  cr_tree_free(&m->result);
  free(probe);
}

static const struct cr_machine_class probe_class = {
  .name = "probe",
  .next = probe_next,
  .answered = probe_answered,
  .decoded = probe_decoded,
  .destroy = probe_destroy,
};

/* --- the step ------------------------------------------------------------------------------------------- */

struct verify {
  struct cr_step step;
  const char *server_name, *host, *fingerprint;   /* in step.params; fingerprint NULL: anything matches */
  int port;
  int64_t timeout_ms, every_ms, within_ms;
  int64_t deadline;                               /* monotonic */
};

static struct verify *verify_of(struct cr_step *step)
{
  return (struct verify *)step;
}

static struct cr_machine *probe_new(const struct verify *verify, struct cr_error *err)
{
  struct probe *probe = calloc(1, sizeof *probe);
  if(!probe) {
    cr_fail_memory(err);
    return NULL;
  }
  probe->machine.class = &probe_class;
  snprintf(probe->machine.operation, sizeof probe->machine.operation, "tls:handshake");
  cr_tree_init(&probe->machine.result, RESULT_MAX);
  cr_buf_init(&probe->url, 1024);
  cr_buf_init(&probe->connect_to, 1024);
  probe->state = CR_NEED_SEND;
  bool bare_ipv6 = strchr(verify->host, ':') && verify->host[0] != '[';
  cr_buf_addf(&probe->url, "https://%s:%d/", verify->server_name, verify->port);
  cr_buf_addf(&probe->connect_to, "%s%s%s:%d", bare_ipv6 ? "[" : "", verify->host, bare_ipv6 ? "]" : "",
              verify->port);
  if(cr_buf_check(&probe->url, "server name", err) || cr_buf_check(&probe->connect_to, "host", err)) {
    probe_destroy(&probe->machine);
    return NULL;
  }
  probe->request.method = "GET";
  probe->request.url = probe->url.data;
  probe->request.connect_to = probe->connect_to.data;
  probe->request.handshake_only = true;
  probe->request.total_timeout_ms = verify->timeout_ms;
  probe->request.connect_timeout_ms = verify->timeout_ms;
  return &probe->machine;
}

static void look(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                 const struct cr_error *failure);

/* true when it shall look again. */
static bool once_more(struct verify *verify, const struct cr_moment *now)
{
  int64_t left = verify->deadline - now->mono_ms;
  if(left <= 0) {
    return false;
  }
  cr_step_wait(&verify->step, now, verify->every_ms < left ? verify->every_ms : left, look);
  return true;
}

static void looked(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                   const struct cr_error *failure)
{
  struct verify *verify = verify_of(step);
  struct cr_tree *tree = &step->machine.result;
  if(failure) {
    if(!failure->retryable || !once_more(verify, now)) {
      struct cr_error why = *failure;
      why.operation[0] = '\0'; /* one handshake is all a look is */
      cr_step_fail_cause(step, &why, verify->server_name);
    }
    return;
  }
  bool matches = !verify->fingerprint || cr_streq(cr_get_text(answer, "fingerprint"), verify->fingerprint);
  if(!matches && once_more(verify, now)) {
    return;
  }
  cr_tree_free(tree);
  struct cr_node *root = cr_node_copy(tree, NULL, NULL, answer);
  cr_step_done(step, root && cr_add_bool(tree, root, "matches", matches));
}

static void look(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                 const struct cr_error *failure)
{
  struct cr_error err;
  (void)now, (void)answer, (void)failure;
  cr_error_clear(&err);
  struct cr_machine *probe = probe_new(verify_of(step), &err);
  cr_step_run(step, looked, probe, &err);
}

static void begin(struct cr_step *step, const struct cr_moment *now)
{
  struct verify *verify = verify_of(step);
  verify->deadline = now->mono_ms + verify->within_ms;
  look(step, now, NULL, NULL);
}

#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"
#define IPV6_CHARACTERS "0123456789abcdefABCDEF:.[]"

static bool made_of(const char *text, const char *characters)
{
  size_t len = strlen(text);
  return len > 0 && len <= 255 && strspn(text, characters) == len;
}

static int init(struct cr_step *step, const struct cr_node *params, struct cr_error *err)
{
  struct verify *verify = verify_of(step);
  int64_t port = cr_get_int(params, "port", 443);
  verify->server_name = cr_get_text(params, "server_name");
  verify->host = cr_get_text(params, "host");
  verify->fingerprint = cr_get_text(params, "fingerprint");
  if(!verify->host || !*verify->host) {
    verify->host = verify->server_name;
  }
  if(verify->fingerprint && !*verify->fingerprint) {
    verify->fingerprint = NULL;
  }
  /* A wildcard is a pattern, not a name to ask for. */
  if(!made_of(verify->server_name, NAME_CHARACTERS)) {
    return cr_fail(err, CR_KIND_INPUT, "InvalidParameter",
                   "verify: '%s' is not a name to ask a server for%s", verify->server_name,
                   strchr(verify->server_name, '*') ? "; put a real name in place of the wildcard" : "");
  }
  if(!made_of(verify->host, NAME_CHARACTERS) && !made_of(verify->host, IPV6_CHARACTERS)) {
    return cr_fail(err, CR_KIND_INPUT, "InvalidParameter", "verify: '%s' is not a host to connect to", verify->host);
  }
  if(port < 1 || port > 65535) {
    return cr_fail(err, CR_KIND_INPUT, "InvalidParameter", "verify: 'port' must be from 1 to 65535");
  }
  if(verify->fingerprint && (strlen(verify->fingerprint) != CR_FINGERPRINT_HEX ||
                             strspn(verify->fingerprint, "0123456789abcdef") != CR_FINGERPRINT_HEX)) {
    return cr_fail(err, CR_KIND_INPUT, "InvalidParameter",
                   "verify: 'fingerprint' must be a SHA-256 in 64 lower-case hex digits");
  }
  verify->port = (int)port;
  verify->timeout_ms = cr_step_ms(params, "timeout", 10);
  verify->within_ms = cr_step_ms(params, "within", 0);
  verify->every_ms = cr_step_ms(params, "every", 2);
  if(verify->every_ms < PAUSE_LEAST_MS) {
    verify->every_ms = PAUSE_LEAST_MS;
  }
  return 0;
}

static const struct cr_step_param params[] = {
  { "server_name", CR_STEP_TEXT, true },
  { "host", CR_STEP_TEXT, false },
  { "port", CR_STEP_NUMBER, false },
  { "fingerprint", CR_STEP_TEXT, false },
  { "timeout", CR_STEP_NUMBER, false },
  { "within", CR_STEP_NUMBER, false },
  { "every", CR_STEP_NUMBER, false },
  { NULL, CR_STEP_TEXT, false },
};

const struct cr_step_kind cr_step_verify = {
  .name = "verify",
  .size = sizeof(struct verify),
  .params = params,
  .init = init,
  .begin = begin,
};
