/* test_http.c - the plain request as a machine: what it takes, what it refuses, what comes out. No network. */
#include "check.h"

#include "call.h"

static struct cr_machine *make(const char *const *pairs, const char *header, const char *value, struct cr_error *err)
{
  struct cr_tree tree;
  cr_tree_init(&tree, 1 << 16);
  struct cr_node *root = cr_node_add(&tree, NULL, NULL, CR_NODE_MAP);
  for(; *pairs; pairs += 2) {
    struct cr_node *node = cr_add_text(&tree, root, pairs[0], pairs[1]);
    if(pairs[1][0] == '#') {
      node->type = CR_NODE_NUMBER;
      node->text++;
      node->len--;
    }
  }
  if(header) {
    struct cr_node *list = cr_node_add(&tree, root, "headers", CR_NODE_LIST);
    struct cr_node *pair = cr_node_add(&tree, list, NULL, CR_NODE_LIST);
    cr_add_text(&tree, pair, NULL, header);
    if(value) {
      cr_add_text(&tree, pair, NULL, value);
    }
  }
  struct cr_machine *m = cr_http_new(root, err);
  cr_tree_free(&tree);
  return m;
}

#define PAIRS(...) (const char *const[]){ __VA_ARGS__, NULL }

static void refused(const char *const *pairs, const char *header, const char *value, const char *says)
{
  struct cr_error err;
  CHECK(make(pairs, header, value, &err) == NULL && err.kind == CR_KIND_INPUT);
  CHECK(strstr(err.message, says) != NULL);
  if(!strstr(err.message, says)) {
    printf("  the message was: %s\n", err.message);
  }
}

static void test_misuse(void)
{
  refused(PAIRS("method", "GET"), NULL, NULL, "url is missing");
  refused(PAIRS("url", "file:///etc/passwd"), NULL, NULL, "must begin with https:// or http://");
  refused(PAIRS("url", "http://user:word@h/"), NULL, NULL, "user name or password");
  refused(PAIRS("url", "http://h/", "method", "GET / HTTP/1.1\r\nX: y"), NULL, NULL, "method");
  refused(PAIRS("url", "http://h/", "method", ""), NULL, NULL, "method");
  refused(PAIRS("url", "http://h/", "timeout", "#0"), NULL, NULL, "timeout");
  refused(PAIRS("url", "http://h/", "timeout", "soon"), NULL, NULL, "timeout");
  refused(PAIRS("url", "http://h/", "connect_timeout", "#-1"), NULL, NULL, "connect_timeout");
  refused(PAIRS("url", "http://h/", "max_body", "#-1"), NULL, NULL, "max_body");
  refused(PAIRS("url", "http://h/", "body", "#1"), NULL, NULL, "body must be a string");
  refused(PAIRS("url", "http://h/"), "X", "a\r\nEvil: yes", "line end");
  refused(PAIRS("url", "http://h/"), "X: y\r\nZ", "a", "line end");
  refused(PAIRS("url", "http://h/"), "", "a", "no name and value");
  refused(PAIRS("url", "http://h/"), "X", NULL, "no name and value");
  struct cr_error err;
  CHECK(cr_http_new(NULL, &err) == NULL && err.kind == CR_KIND_INPUT);
}

static void test_request(void)
{
  struct cr_moment now = { 0, 0, 0.5 };
  struct cr_want want;
  struct cr_error err;
  struct cr_attempt attempt;
  struct cr_answer answer;
  struct cr_machine *m = make(PAIRS("url", "http://169.254.169.254/latest/api/token", "method", "PUT", "timeout",
                                    "#1.5", "connect_timeout", "#0.25", "max_body", "#100"),
                              "X-Ttl", "21600", &err);
  CHECK(m && m->class->next(m, &now, &want) == CR_NEED_SEND && m->class->next(m, &now, &want) == CR_NEED_SEND);
  CHECK_STR(want.request->method, "PUT");
  CHECK_STR(want.request->url, "http://169.254.169.254/latest/api/token");
  CHECK(want.request->total_timeout_ms == 1500 && want.request->connect_timeout_ms == 250 &&
        want.request->max_body == 100);
  CHECK(want.request->header_count == 1 && want.request->headers[0].value_len == 5 && !want.request->no_proxy);
  CHECK(!cr_machine_attempt(m, &attempt));
  cr_answer_init(&answer);
  answer.sent = CR_SENT_ANSWERED;
  answer.status = 503; /* any status is a result */
  cr_buf_adds(&answer.header_text, "a: 1\nb:2\na:  3\n: none\nnothing\nempty:\n");
  cr_buf_add(&answer.body, "x\0y", 3);
  m->class->answered(m, &now, &answer);
  cr_answer_free(&answer);
  CHECK(m->class->next(m, &now, &want) == CR_NEED_DONE);
  CHECK(cr_get_int(m->result.root, "status", 0) == 503);
  const struct cr_node *headers = cr_get(m->result.root, "headers"), *body = cr_get(m->result.root, "body");
  CHECK(headers->count == 3 && body->len == 3 && memcmp(body->text, "x\0y", 3) == 0);
  CHECK_STR(cr_get_text(headers, "a"), "1, 3");
  CHECK_STR(cr_get_text(headers, "b"), "2");
  CHECK_STR(cr_get_text(headers, "empty"), "");
  CHECK(cr_machine_attempt(m, &attempt) && attempt.status == 503 && !cr_machine_attempt(m, &attempt));
  CHECK_STR(attempt.operation, "http:PUT");
  cr_machine_free(m);
  cr_machine_free(NULL);
}

static void test_lost(void)
{
  static const struct { const char *method; enum cr_sent sent; bool ambiguous; } table[] = {
    { "GET", CR_SENT_UNKNOWN, false }, { "PUT", CR_SENT_UNKNOWN, true }, { "PUT", CR_SENT_NOTHING, false },
  };
  for(size_t i = 0; i < 3; i++) {
    struct cr_moment now = { 0, 0, 0.5 };
    struct cr_want want;
    struct cr_error err;
    struct cr_answer answer;
    struct cr_machine *m = make(PAIRS("url", "http://h/", "method", table[i].method), NULL, NULL, &err);
    CHECK(m && m->class->next(m, &now, &want) == CR_NEED_SEND);
    cr_answer_init(&answer);
    answer.sent = table[i].sent;
    cr_fail(&answer.error, CR_KIND_TRANSPORT, "CURLE_RECV_ERROR", "lost");
    m->class->answered(m, &now, &answer);
    cr_answer_free(&answer);
    CHECK(m->class->next(m, &now, &want) == CR_NEED_FAILED && m->error.ambiguous == table[i].ambiguous);
    CHECK_STR(m->error.message, "lost");
    cr_machine_free(m);
  }
}

/* Sent once, as promised: libcurl repeats what a reused connection loses, so writes get one of their own. */
static void test_once(void)
{
  static const struct { const char *method; bool once; } table[] = {
    { "GET", false }, { "HEAD", false }, { "POST", true }, { "PUT", true }, { "PATCH", true }, { "DELETE", true },
  };
  for(size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
    struct cr_moment now = { 0, 0, 0.5 };
    struct cr_want want;
    struct cr_error err;
    struct cr_machine *m = make(PAIRS("url", "http://h/", "method", table[i].method), NULL, NULL, &err);
    CHECK(m && m->class->next(m, &now, &want) == CR_NEED_SEND && want.request->once == table[i].once);
    cr_machine_free(m);
  }
}

int main(void)
{
  test_misuse();
  test_request();
  test_lost();
  test_once();
  return check_end();
}
