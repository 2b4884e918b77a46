/* test_step_verify.c - looking at the certificate a server shows, with answers as the engine gives them. */
#include "check.h"
#include "json_reader.h"
#include "make_certificates.h"
#include "step.h"

/* What each handshake comes to, in turn; the last one repeats. */
struct show {
  const char *pem;          /* NULL: the connection fails */
  long verify_result;
};

struct edge {
  const struct show *shows;
  int count, handshakes;
  int64_t mono_ms;
  char url[256], connect_to[256];
  int64_t timeout_ms;
};

static char *old_pem, *new_pem;
static struct cr_certificate old_leaf, new_leaf;

static void handshake(struct edge *edge, const struct cr_request *request, struct cr_answer *answer)
{
  int at = edge->handshakes < edge->count ? edge->handshakes : edge->count - 1;
  const struct show *show = &edge->shows[at];
  edge->handshakes++;
  edge->mono_ms += 25;
  CHECK(request->handshake_only && request->body_len == 0);
  snprintf(edge->url, sizeof edge->url, "%s", request->url);
  snprintf(edge->connect_to, sizeof edge->connect_to, "%s", request->connect_to);
  edge->timeout_ms = request->total_timeout_ms;
  if(!show->pem) {
    answer->sent = CR_SENT_UNKNOWN;
    cr_fail(&answer->error, CR_KIND_TRANSPORT, "CURLE_COULDNT_CONNECT", "Connection refused");
    return;
  }
  answer->sent = CR_SENT_ANSWERED;
  cr_buf_adds(&answer->certificates, show->pem);
  answer->verify_result = show->verify_result;
  snprintf(answer->verify_message, sizeof answer->verify_message, "unable to get local issuer certificate");
  snprintf(answer->peer, sizeof answer->peer, "127.0.0.1");
  answer->elapsed_ms = 1025;
}

static struct cr_machine *step_of(const char *json, struct cr_error *err)
{
  struct cr_tree tree;
  cr_error_clear(err);
  cr_tree_init(&tree, 65536);
  CHECK(json_read(&tree, json, strlen(json)) == 0);
  struct cr_machine *m = cr_step_new("verify", NULL, tree.root, NULL, err);
  cr_tree_free(&tree);
  return m;
}

/* Runs to the end; NEED_DONE or NEED_FAILED in *need. */
static struct cr_machine *verified(struct edge *edge, const char *json, enum cr_need *need)
{
  struct cr_error err;
  struct cr_machine *m = step_of(json, &err);
  CHECK(m != NULL);
  for(int turn = 0; m && turn < 1000; turn++) {
    struct cr_moment now = { 0, edge->mono_ms, 0 };
    struct cr_want want;
    memset(&want, 0, sizeof want);
    *need = m->class->next(m, &now, &want);
    if(*need == CR_NEED_SEND) {
      struct cr_answer answer;
      cr_answer_init(&answer);
      handshake(edge, want.request, &answer);
      m->class->answered(m, &now, &answer);
      cr_answer_free(&answer);
    } else if(*need == CR_NEED_WAIT) {
      CHECK(want.until_mono_ms > edge->mono_ms);
      edge->mono_ms = want.until_mono_ms;
    } else {
      return m;
    }
  }
  CHECK(!"an end");
  exit(1);
}

static void test_matches(void)
{
  const struct show shows[] = { { new_pem, 0 } };
  struct edge edge = { .shows = shows, .count = 1 };
  enum cr_need need;
  char json[512];
  snprintf(json, sizeof json, "{\"server_name\":\"www.example.com\",\"host\":\"d1.cloudfront.net\",\"port\":8443,"
           "\"fingerprint\":\"%s\",\"timeout\":3}", new_leaf.fingerprint);
  struct cr_machine *m = verified(&edge, json, &need);
  const struct cr_node *root = m->result.root;
  CHECK(need == CR_NEED_DONE);
  CHECK_STR(edge.url, "https://www.example.com:8443/");
  CHECK_STR(edge.connect_to, "d1.cloudfront.net:8443");
  CHECK(edge.timeout_ms == 3000);
  CHECK(cr_get_bool(root, "matches", false) && cr_get_bool(root, "trusted", false));
  CHECK_STR(cr_get_text(root, "trust_message"), "");
  CHECK_STR(cr_get_text(root, "fingerprint"), new_leaf.fingerprint);
  CHECK_STR(cr_get_text(root, "subject"), new_leaf.subject);
  CHECK_STR(cr_get_text(root, "issuer"), new_leaf.issuer);
  CHECK(cr_get_int(root, "not_after", 0) == new_leaf.not_after);
  CHECK(cr_get_int(root, "not_before", 0) == new_leaf.not_before);
  CHECK(cr_get(root, "names")->count == 2);
  CHECK_STR(cr_get(root, "names")->first->text, "www.example.com");
  CHECK_STR(cr_get_text(root, "peer"), "127.0.0.1");
  CHECK(cr_get_number(root, "elapsed", 0) > 1.02 && cr_get_number(root, "elapsed", 0) < 1.03);
  CHECK(cr_get(root, "elapsed")->type == CR_NODE_NUMBER);
  CHECK(edge.handshakes == 1);
  cr_machine_free(m);
}

static void test_plain_look(void)
{
  /* Nothing expected: what is there, trusted or not, over an IPv6 address. */
  const struct show shows[] = { { old_pem, 20 } };
  struct edge edge = { .shows = shows, .count = 1 };
  enum cr_need need;
  struct cr_machine *m = verified(&edge, "{\"server_name\":\"www.example.com\",\"host\":\"::1\"}", &need);
  CHECK(need == CR_NEED_DONE);
  CHECK_STR(edge.connect_to, "[::1]:443");
  CHECK(cr_get_bool(m->result.root, "matches", false));
  CHECK(!cr_get_bool(m->result.root, "trusted", true));
  CHECK_STR(cr_get_text(m->result.root, "trust_message"), "unable to get local issuer certificate");
  cr_machine_free(m);
  edge.handshakes = 0;
  m = verified(&edge, "{\"server_name\":\"www.example.com\"}", &need);
  CHECK_STR(edge.connect_to, "www.example.com:443");
  CHECK(edge.timeout_ms == 10000);
  cr_machine_free(m);
}

static void test_repeats(void)
{
  const struct show shows[] = { { old_pem, 0 }, { NULL, 0 }, { old_pem, 0 }, { new_pem, 0 } };
  struct edge edge = { .shows = shows, .count = 4 };
  enum cr_need need;
  char json[512];
  snprintf(json, sizeof json, "{\"server_name\":\"www.example.com\",\"fingerprint\":\"%s\",\"within\":60,\"every\":5}",
           new_leaf.fingerprint);
  struct cr_machine *m = verified(&edge, json, &need);
  CHECK(need == CR_NEED_DONE && cr_get_bool(m->result.root, "matches", false));
  CHECK(edge.handshakes == 4 && edge.mono_ms >= 15000 && edge.mono_ms < 16000);
  cr_machine_free(m);

  /* Still the old one when the time is over: a result, not an error. */
  struct edge stale = { .shows = shows, .count = 1 };
  m = verified(&stale, json, &need);
  CHECK(need == CR_NEED_DONE && !cr_get_bool(m->result.root, "matches", true));
  CHECK_STR(cr_get_text(m->result.root, "fingerprint"), old_leaf.fingerprint);
  CHECK(stale.mono_ms >= 60000 && stale.mono_ms < 61000);
  CHECK(stale.handshakes >= 12 && stale.handshakes <= 14);
  cr_machine_free(m);
}

static void test_failures(void)
{
  const struct show shows[] = { { NULL, 0 }, { "not a certificate", 0 }, { "", 0 } };
  enum cr_need need;
  struct edge dead = { .shows = shows, .count = 1 };
  struct cr_machine *m = verified(&dead, "{\"server_name\":\"www.example.com\",\"within\":10}", &need);
  CHECK(need == CR_NEED_FAILED && m->error.kind == CR_KIND_TRANSPORT);
  CHECK_STR(m->error.code, "CURLE_COULDNT_CONNECT");
  CHECK_STR(m->error.operation, "step:verify");
  CHECK(strstr(m->error.message, "www.example.com") != NULL && m->error.retryable && !m->error.ambiguous);
  CHECK(dead.mono_ms >= 10000 && dead.handshakes >= 5);
  cr_machine_free(m);
  for(int i = 1; i < 3; i++) {
    struct edge odd = { .shows = shows + i, .count = 1 };
    m = verified(&odd, "{\"server_name\":\"www.example.com\"}", &need);
    CHECK(need == CR_NEED_FAILED && m->error.code[0] && odd.handshakes == 1);
    cr_machine_free(m);
  }
}

static void test_parameters(void)
{
  static const struct {
    const char *json, *says;
  } cases[] = {
    { "{}", "'server_name'" },
    { "{\"server_name\":\"*.example.com\"}", "wildcard" },
    { "{\"server_name\":\"a/b\"}", "a/b" },
    { "{\"server_name\":\"a@b\"}", "a@b" },
    { "{\"server_name\":\"a\",\"host\":\"b:c/d\"}", "b:c/d" },
    { "{\"server_name\":\"a\",\"port\":0}", "'port'" },
    { "{\"server_name\":\"a\",\"port\":65536}", "'port'" },
    { "{\"server_name\":\"a\",\"fingerprint\":\"abc\"}", "'fingerprint'" },
  };
  struct cr_error err;
  for(size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    CHECK(step_of(cases[i].json, &err) == NULL);
    CHECK(err.kind == CR_KIND_INPUT && strstr(err.message, cases[i].says) != NULL);
  }
}

int main(void)
{
  struct mk_ca ca = mk_ca("Test CA", NULL);
  EVP_PKEY *key = mk_key("P-256");
  X509 *old = mk_leaf("old", "DNS:www.example.com", key, &ca);
  X509 *new = mk_leaf("new", "DNS:www.example.com,DNS:example.com", key, &ca);
  struct cr_error err;
  old_pem = mk_pem(old);
  new_pem = mk_pem(new);
  CHECK(cr_certificate_parse(old_pem, strlen(old_pem), &old_leaf, &err) == 0);
  CHECK(cr_certificate_parse(new_pem, strlen(new_pem), &new_leaf, &err) == 0);
  test_matches();
  test_plain_look();
  test_repeats();
  test_failures();
  test_parameters();
  cr_certificate_free(&old_leaf);
  cr_certificate_free(&new_leaf);
  free(old_pem);
  free(new_pem);
  X509_free(old);
  X509_free(new);
  EVP_PKEY_free(key);
  mk_ca_free(&ca);
  return check_end();
}
