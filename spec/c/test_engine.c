/* test_engine.c - the engine against a real server on loopback: what arrives, what fails and how it is told, limits,
 * many at once, cancelling, waiting, and going away in the middle. */
#include "check.h"
#include "loopback.h"

#include "call.h"
#include "engine.h"
#include "poller.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/wait.h>

/* A label longer than DNS has: the lookup fails at once, with or without a network. */
#define NO_HOST "no-such-host-and-much-too-long-a-label-for-any-name-server-on-this-earth.invalid"

static struct loopback server;

static struct cr_engine *new_engine(struct cr_engine_options *options)
{
  struct cr_engine_options own = { .allow_http = true };
  struct cr_error err;
  struct cr_engine *engine = cr_engine_new(options ? options : &own, &err);
  if(!engine) {
    printf("no engine: %s\n", err.message);
    exit(1);
  }
  return engine;
}

struct http_options {
  const char *method, *body, *header;
  int64_t timeout_ms, max_body;
};

static struct cr_machine *new_http(const char *url, const struct http_options *options)
{
  struct cr_tree tree;
  struct cr_error err;
  struct cr_machine *m;
  char seconds[32];

  cr_tree_init(&tree, 1 << 20);
  struct cr_node *root = cr_node_add(&tree, NULL, NULL, CR_NODE_MAP);
  cr_add_text(&tree, root, "url", url);
  if(options && options->method) {
    cr_add_text(&tree, root, "method", options->method);
  }
  if(options && options->body) {
    cr_add_text(&tree, root, "body", options->body);
  }
  if(options && options->header) {
    cr_add_text(&tree, cr_node_add(&tree, root, "headers", CR_NODE_MAP), "X-Test", options->header);
  }
  if(options && options->timeout_ms) {
    snprintf(seconds, sizeof seconds, "%d.%03d", (int)(options->timeout_ms / 1000), (int)(options->timeout_ms % 1000));
    cr_add_text(&tree, root, "timeout", seconds)->type = CR_NODE_NUMBER;
  }
  if(options && options->max_body) {
    cr_add_int(&tree, root, "max_body", options->max_body);
  }
  m = cr_http_new(root, &err);
  if(!m) {
    printf("no machine: %s\n", err.message);
    exit(1);
  }
  cr_tree_free(&tree);
  return m;
}

static int64_t submit(struct cr_engine *engine, struct cr_machine *m)
{
  struct cr_error err;
  int64_t id = 0;
  CHECK(cr_engine_submit(engine, m, &id, &err) == 0);
  return id;
}

/* Waits for one to finish, 10 s at most. */
static struct cr_machine *finish_one(struct cr_engine *engine, int64_t *id)
{
  int64_t until = cr_monotonic_ms() + 10000;
  struct cr_machine *m;
  while(!(m = cr_engine_take(engine, id)) && cr_monotonic_ms() < until) {
    cr_engine_wait(engine, 1, -1);
  }
  return m;
}

static struct cr_machine *fetch(struct cr_engine *engine, const char *path, const struct http_options *options)
{
  char url[256];
  int64_t id, got = 0;
  snprintf(url, sizeof url, "http://127.0.0.1:%d%s", server.port, path);
  id = submit(engine, new_http(url, options));
  struct cr_machine *m = finish_one(engine, &got);
  CHECK(m && got == id);
  if(!m) {
    printf("nothing came back from %s\n", url);
    exit(1);
  }
  return m;
}

static const char *body_of(const struct cr_machine *m)
{
  const char *body = cr_get_text(m->result.root, "body");
  return body ? body : "";
}

static void test_requests(void)
{
  struct cr_engine *engine = new_engine(NULL);
  struct http_options post = { .method = "POST", .body = "some body", .header = "a  value" };
  struct http_options put = { .method = "PUT" }, delete = { .method = "DELETE" }, head = { .method = "HEAD" };
  struct cr_machine *m = fetch(engine, "/echo/../x?q=%41", NULL);
  CHECK(m->error.kind == CR_KIND_NONE);
  CHECK(cr_get_int(m->result.root, "status", 0) == 200);
  CHECK(strncmp(body_of(m), "GET /echo/../x?q=%41 HTTP/1.1\r\n", 31) == 0); /* not tidied up: it may be signed */
  CHECK(strstr(body_of(m), "User-Agent: certrotate/") != NULL);
  CHECK(strstr(body_of(m), "Content-Type:") == NULL);
  CHECK_STR(cr_get_text(cr_get(m->result.root, "headers"), "x-multi"), "a, b");
  cr_machine_free(m);
  m = fetch(engine, "/echo", &post);
  CHECK(strncmp(body_of(m), "POST /echo HTTP/1.1\r\n", 21) == 0);
  CHECK(strstr(body_of(m), "X-Test: a  value\r\n") && strstr(body_of(m), "\r\nContent-Length: 9\r\n"));
  CHECK(strstr(body_of(m), "Content-Type:") == NULL && strstr(body_of(m), "Expect:") == NULL);
  CHECK(strstr(body_of(m), "\r\n\r\nsome body") != NULL);
  cr_machine_free(m);
  static char large[700001]; /* beyond what libcurl would ask about first */
  memset(large, 'b', sizeof large - 1);
  post.body = large;
  m = fetch(engine, "/echo", &post);
  CHECK(strstr(body_of(m), "Expect:") == NULL && strlen(strstr(body_of(m), "\r\n\r\n") + 4) == 700000);
  cr_machine_free(m);
  m = fetch(engine, "/echo", &put);
  CHECK(strncmp(body_of(m), "PUT /echo HTTP/1.1\r\n", 20) == 0 && strstr(body_of(m), "Content-Length: 0\r\n"));
  cr_machine_free(m);
  m = fetch(engine, "/echo", &delete); /* the handle was a PUT before: nothing of it is left */
  CHECK(strncmp(body_of(m), "DELETE /echo HTTP/1.1\r\n", 23) == 0 && !strstr(body_of(m), "Content-Length"));
  cr_machine_free(m);
  m = fetch(engine, "/status/200", &head);
  CHECK(cr_get_int(m->result.root, "status", 0) == 200 && !*body_of(m));
  cr_machine_free(m);
  m = fetch(engine, "/echo", NULL);
  CHECK(strncmp(body_of(m), "GET /echo HTTP/1.1\r\n", 20) == 0 && !strstr(body_of(m), "X-Test"));
  cr_machine_free(m);
  m = fetch(engine, "/status/500", NULL);
  CHECK(cr_get_int(m->result.root, "status", 0) == 500 && strcmp(body_of(m), "status") == 0);
  cr_machine_free(m);
  m = fetch(engine, "/status/302", NULL); /* never followed */
  CHECK(cr_get_int(m->result.root, "status", 0) == 302);
  CHECK_STR(cr_get_text(cr_get(m->result.root, "headers"), "location"), "http://127.0.0.1:1/elsewhere");
  cr_machine_free(m);
  m = fetch(engine, "/continue", NULL);
  CHECK(strcmp(body_of(m), "late") == 0 && !cr_get(cr_get(m->result.root, "headers"), "x-early"));
  cr_machine_free(m);
  m = fetch(engine, "/chunked/300000", NULL);
  CHECK(strlen(body_of(m)) == 300000 && !cr_get(cr_get(m->result.root, "headers"), "x-trailer"));
  cr_machine_free(m);
  cr_engine_free(engine);
}

static void check_failure(struct cr_machine *m, enum cr_kind kind, const char *code, const char *says, bool retryable)
{
  CHECK(m->error.kind == kind);
  CHECK_STR(m->error.code, code);
  CHECK(m->error.retryable == retryable);
  CHECK(strstr(m->error.message, says) != NULL);
  if(!strstr(m->error.message, says)) {
    printf("  the message was: %s\n", m->error.message);
  }
  CHECK_STR(m->error.operation, "http:GET");
  CHECK(m->result.root == NULL);
  cr_machine_free(m);
}

static void test_failures(void)
{
  struct cr_engine *engine = new_engine(NULL);
  struct http_options little = { .max_body = 1000 }, quick = { .timeout_ms = 200 };
  char url[64], says[128];
  int64_t id, began;

  check_failure(fetch(engine, "/truncated", NULL), CR_KIND_TRANSPORT, "CURLE_PARTIAL_FILE", "in the middle", true);
  check_failure(fetch(engine, "/reset", NULL), CR_KIND_TRANSPORT, "CURLE_RECV_ERROR", "before an answer came", true);
  check_failure(fetch(engine, "/endless", &little), CR_KIND_PARSE, "AnswerTooLarge", "limit of 1000 bytes", false);
  check_failure(fetch(engine, "/size/1001", &little), CR_KIND_PARSE, "AnswerTooLarge", "limit of 1000 bytes", false);
  check_failure(fetch(engine, "/headers", NULL), CR_KIND_PARSE, "AnswerTooLarge", "headers of the answer", false);
  check_failure(fetch(engine, "/garbage", NULL), CR_KIND_TRANSPORT, "CURLE_UNSUPPORTED_PROTOCOL", "HTTP/0.9", false);
  began = cr_monotonic_ms();
  check_failure(fetch(engine, "/slow/5000", &quick), CR_KIND_TIMEOUT, "CURLE_OPERATION_TIMEDOUT",
                "no answer from 127.0.0.1", true);
  check_failure(fetch(engine, "/drip", &quick), CR_KIND_TIMEOUT, "CURLE_OPERATION_TIMEDOUT", "stopped after", true);
  CHECK(cr_monotonic_ms() - began < 2000);
  struct cr_machine *m = fetch(engine, "/size/1000", &little);
  CHECK(m->error.kind == CR_KIND_NONE && strlen(body_of(m)) == 1000);
  cr_machine_free(m);

  int port = loopback_refused_port();
  snprintf(url, sizeof url, "http://127.0.0.1:%d/", port);
  snprintf(says, sizeof says, "cannot connect to 127.0.0.1:%d: Connection refused; check --endpoint-url", port);
  submit(engine, new_http(url, NULL));
  check_failure(finish_one(engine, &id), CR_KIND_TRANSPORT, "CURLE_COULDNT_CONNECT", says, true);
  submit(engine, new_http("http://" NO_HOST "/", NULL));
  check_failure(finish_one(engine, &id), CR_KIND_TRANSPORT, "CURLE_COULDNT_RESOLVE_HOST", "no address is known for",
                true);
  cr_engine_free(engine);

  struct cr_engine_options strict = { .max_body = 10 };
  engine = new_engine(&strict);
  check_failure(fetch(engine, "/echo", NULL), CR_KIND_INPUT, "PlainHttp", "is not encrypted", false);
  cr_engine_free(engine);
}

static void test_bad_options(void)
{
  struct cr_engine_options options = { .ca_file = "/nonexistent/ca.pem" };
  struct cr_error err;
  CHECK(cr_engine_new(&options, &err) == NULL && err.kind == CR_KIND_INPUT &&
        strcmp(err.code, "CaFileUnreadable") == 0);
  options = (struct cr_engine_options){ .user_agent = "x\r\nEvil: yes" };
  CHECK(cr_engine_new(&options, &err) == NULL && strcmp(err.code, "InvalidUserAgent") == 0);
}

/* 200 at once over at most 8 connections, all with the right answer, on connections that are used again. */
static void test_many(void)
{
  struct cr_engine_options options = { .allow_http = true, .max_host_connections = 8 };
  struct cr_engine *engine = new_engine(&options);
  struct cr_engine_stats stats;
  struct cr_attempt attempt;
  bool seen[201] = { false };
  int64_t id, last = 0;
  int before = atomic_load(&server.connections), wrong = 0, attempts = 0;

  for(int i = 1; i <= 200; i++) {
    char url[96];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/size/%d", server.port, i);
    CHECK(submit(engine, new_http(url, NULL)) == i);
  }
  for(int i = 0; i < 200; i++) {
    struct cr_machine *m = finish_one(engine, &id);
    if(!m) {
      break;
    }
    wrong += id < 1 || id > 200 || seen[id] || strlen(body_of(m)) != (size_t)id;
    seen[id] = true;
    cr_machine_free(m);
  }
  CHECK(wrong == 0);
  cr_engine_stats(engine, &stats);
  CHECK(stats.submitted == 200 && stats.finished == 200 && stats.failed == 0 && stats.attempts == 200);
  CHECK(stats.running == 0 && stats.in_transfer == 0 && stats.finished_untaken == 0);
  CHECK(stats.connections <= 8 && stats.connections >= 1);
  CHECK(atomic_load(&server.connections) - before == (int)stats.connections);
  CHECK(stats.bytes_received > 200 * 100 + 200 * 60 && stats.bytes_sent > 200 * 50);
  while(cr_engine_attempt(engine, &id, &attempt)) {
    attempts++;
    CHECK(attempt.status == 200 && attempt.attempt == 1);
    last = id;
  }
  CHECK(attempts == 200 && last != 0);
  CHECK(cr_engine_timeout(engine) < 0);
  CHECK(cr_engine_take(engine, &id) == NULL);
  cr_engine_free(engine);
}

static void test_cancel(void)
{
  struct cr_engine_options options = { .allow_http = true, .max_host_connections = 1 };
  struct cr_engine *engine = new_engine(&options);
  struct http_options post = { .method = "POST", .body = "x" };
  struct cr_engine_stats stats;
  char url[96];
  int64_t ids[4], id;

  snprintf(url, sizeof url, "http://127.0.0.1:%d/slow/3000", server.port);
  ids[0] = submit(engine, new_http(url, &post));
  ids[1] = submit(engine, new_http(url, NULL));   /* waits for the seat */
  snprintf(url, sizeof url, "http://127.0.0.1:%d/size/5", server.port);
  ids[2] = submit(engine, new_http(url, NULL));
  int64_t began = cr_monotonic_ms();
  int served = atomic_load(&server.requests);
  while(atomic_load(&server.requests) == served && cr_monotonic_ms() - began < 5000) {
    cr_engine_wait(engine, 0.05, -1);
  }
  ids[3] = submit(engine, new_http(url, NULL));
  CHECK(cr_engine_cancel(engine, ids[0]) && !cr_engine_cancel(engine, ids[0]));
  CHECK(cr_engine_cancel(engine, ids[1]));
  CHECK(cr_engine_cancel(engine, ids[3])); /* never asked */
  CHECK(!cr_engine_cancel(engine, 99) && !cr_engine_cancel(engine, 0) && !cr_engine_cancel(engine, -1));
  for(int i = 0; i < 4; i++) {
    struct cr_machine *m = finish_one(engine, &id);
    if(id == ids[2]) {
      CHECK(m->error.kind == CR_KIND_NONE && strlen(body_of(m)) == 5);
    } else {
      CHECK(m->error.kind == CR_KIND_CANCELLED && m->error.ambiguous == (id == ids[0]));
    }
    cr_machine_free(m);
  }
  CHECK(cr_monotonic_ms() - began < 2500);
  cr_engine_stats(engine, &stats);
  CHECK(stats.cancelled == 3 && stats.finished == 4 && stats.running == 0 && stats.failed == 0);
  cr_engine_free(engine);
}

/* A step that pauses after a write whose answer was lost: stopped there, nobody knows what the write came to. */
static void test_cancel_unsure(void)
{
  struct cr_engine *engine = new_engine(NULL);
  struct cr_machine *m = new_http("http://127.0.0.1:9/", NULL);
  int64_t id, got;

  m->unsure = true;
  id = submit(engine, m);
  CHECK(cr_engine_cancel(engine, id));
  m = cr_engine_take(engine, &got);
  CHECK(m && got == id && m->error.kind == CR_KIND_CANCELLED && m->error.ambiguous);
  cr_machine_free(m);
  cr_engine_free(engine);
}

/* Everything in flight, waiting or finished goes with the engine; ASan and valgrind say whether all of it. */
static void test_free_in_flight(void)
{
  struct cr_engine *engine = new_engine(NULL);
  char url[96];
  int64_t began = cr_monotonic_ms();
  for(int i = 0; i < 40; i++) {
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", server.port, i % 2 ? "/slow/5000" : "/size/9");
    submit(engine, new_http(url, NULL));
  }
  submit(engine, new_http("http://" NO_HOST "/", NULL));
  cr_engine_step(engine);
  cr_engine_wait(engine, 0.05, -1);
  cr_engine_free(engine);
  CHECK(cr_monotonic_ms() - began < 1500);
  engine = new_engine(NULL);
  submit(engine, new_http(url, NULL));
  cr_engine_free(engine); /* never stepped */
  cr_engine_free(NULL);
}

static bool readable(int fd, int ms)
{
  struct pollfd wait = { fd, POLLIN, 0 };
  return poll(&wait, 1, ms) > 0;
}

static void test_waiting(void)
{
  struct cr_engine *engine = new_engine(NULL);
  int fd = cr_engine_pollfd(engine), pipes[2];
  char url[96];
  int64_t began = cr_monotonic_ms(), id, ours;
  struct cr_machine *m = NULL;

  CHECK(fd >= 0 && !readable(fd, 0) && cr_engine_timeout(engine) < 0);
  CHECK(cr_engine_wait(engine, -1, -1) == 0);          /* nothing can come: returns */
  CHECK(cr_engine_wait(engine, 0.05, -1) == 0);        /* a pause */
  CHECK(cr_monotonic_ms() - began >= 50);
  CHECK(pipe(pipes) == 0);
  CHECK(write(pipes[1], "x", 1) == 1);
  began = cr_monotonic_ms();
  cr_engine_wait(engine, 5, pipes[0]);                 /* the extra descriptor ends it */
  CHECK(cr_monotonic_ms() - began < 1000);

  snprintf(url, sizeof url, "http://127.0.0.1:%d/slow/150", server.port);
  ours = submit(engine, new_http(url, NULL));
  CHECK(readable(fd, 0) && cr_engine_timeout(engine) == 0); /* a host that only watches hears of it */
  CHECK(cr_engine_step(engine) == 1);
  began = cr_monotonic_ms();
  int wakes = 0;
  while(!(m = cr_engine_take(engine, &id)) && cr_monotonic_ms() - began < 5000) {
    double timeout = cr_engine_timeout(engine);
    CHECK(readable(fd, timeout < 0 ? 5000 : (int)(timeout * 1000) + 1));
    cr_engine_step(engine);
    wakes++;
  }
  CHECK(m && id == ours && strcmp(body_of(m), "slow") == 0);
  CHECK(wakes < 12);                                   /* no spinning meanwhile */
  CHECK(fd == cr_engine_pollfd(engine));
  cr_machine_free(m);
  CHECK(cr_engine_wait(engine, 0, -1) == 0);
  close(pipes[0]);
  close(pipes[1]);
  cr_engine_free(engine);
}

/* A reused connection that dies is repeated by libcurl without asking. What must not happen twice gets its own. */
struct raw {
  struct cr_machine machine;
  struct cr_request request;
  struct cr_answer answer;     /* kept for the test to look at */
  int state;                   /* 0 wait, 1 send, 2 done */
  int64_t wait_ms, until;
};

static enum cr_need raw_next(struct cr_machine *m, const struct cr_moment *now, struct cr_want *want)
{
  struct raw *raw = (struct raw *)m;
  if(raw->state == 0) {
    raw->until = raw->until ? raw->until : now->mono_ms + raw->wait_ms;
    if(now->mono_ms < raw->until) {
      want->until_mono_ms = raw->until;
      return CR_NEED_WAIT;
    }
    raw->state = 1;
  }
  want->request = &raw->request;
  return raw->state == 1 ? CR_NEED_SEND : CR_NEED_DONE;
}

static void raw_answered(struct cr_machine *m, const struct cr_moment *now, struct cr_answer *answer)
{
  struct raw *raw = (struct raw *)m;
  (void)now;
  cr_buf_move(&raw->answer.body, &answer->body);
  cr_buf_move(&raw->answer.certificates, &answer->certificates);
  raw->answer.sent = answer->sent;
  raw->answer.status = answer->status;
  raw->answer.error = answer->error;
  raw->answer.verify_result = answer->verify_result;
  memcpy(raw->answer.verify_message, answer->verify_message, sizeof answer->verify_message);
  memcpy(raw->answer.peer, answer->peer, sizeof answer->peer);
  raw->state = 2;
}

static void raw_decoded(struct cr_machine *m, const struct cr_error *failure)
{
  (void)m;
  (void)failure;
}

static void raw_destroy(struct cr_machine *m)
{
  struct raw *raw = (struct raw *)m;
  cr_answer_free(&raw->answer);
  free(raw);
}

static const struct cr_machine_class raw_class = {
  .name = "raw", .next = raw_next, .answered = raw_answered, .decoded = raw_decoded, .destroy = raw_destroy
};

static struct raw *new_raw(const char *url)
{
  struct raw *raw = calloc(1, sizeof *raw);
  raw->machine.class = &raw_class;
  raw->request.method = "GET";
  raw->request.url = url;
  raw->state = 1;
  cr_answer_init(&raw->answer);
  return raw;
}

static struct raw *run_raw(struct cr_engine *engine, struct raw *raw)
{
  int64_t id;
  submit(engine, &raw->machine);
  return (struct raw *)finish_one(engine, &id);
}

static void test_once(void)
{
  struct cr_engine *engine = new_engine(NULL);
  char url[96];
  snprintf(url, sizeof url, "http://127.0.0.1:%d/die-when-reused", server.port);
  int before = atomic_load(&server.requests);
  for(int i = 0; i < 2; i++) {
    struct raw *raw = new_raw(url);
    raw->request.method = "POST";
    raw->request.body = "effect";
    raw->request.body_len = 6;
    raw = run_raw(engine, raw);
    CHECK(raw->answer.sent == CR_SENT_ANSWERED && raw->answer.status == 200);
    cr_machine_free(&raw->machine);
  }
  CHECK(atomic_load(&server.requests) - before == 3); /* the second was carried out twice */
  before = atomic_load(&server.requests);
  for(int i = 0; i < 2; i++) {
    struct raw *raw = new_raw(url);
    raw->request.method = "POST";
    raw->request.body = "effect";
    raw->request.body_len = 6;
    raw->request.once = true;
    raw = run_raw(engine, raw);
    CHECK(raw->answer.sent == CR_SENT_ANSWERED);
    cr_machine_free(&raw->machine);
  }
  CHECK(atomic_load(&server.requests) - before == 2);
  cr_engine_free(engine);
}

static void test_sent(void)
{
  struct cr_engine *engine = new_engine(NULL);
  struct raw *raw;
  char url[96];
  snprintf(url, sizeof url, "http://127.0.0.1:%d/reset", server.port);
  raw = run_raw(engine, new_raw(url));
  CHECK(raw->answer.sent == CR_SENT_UNKNOWN);
  cr_machine_free(&raw->machine);
  snprintf(url, sizeof url, "http://127.0.0.1:%d/", loopback_refused_port());
  raw = run_raw(engine, new_raw(url));
  CHECK(raw->answer.sent == CR_SENT_NOTHING);
  cr_machine_free(&raw->machine);
  raw = run_raw(engine, new_raw("ftp://127.0.0.1/"));
  CHECK(raw->answer.sent == CR_SENT_NOTHING && raw->answer.error.kind == CR_KIND_INPUT);
  cr_machine_free(&raw->machine);
  cr_engine_free(engine);
}

static int sink_write(void *user, const char *data, size_t len)
{
  size_t *left = user;
  (void)data;
  if(len > *left) {
    return -1;
  }
  *left -= len;
  return 0;
}

static void test_sink(void)
{
  struct cr_engine *engine = new_engine(NULL);
  size_t left = 100000;
  struct cr_sink sink = { sink_write, &left };
  struct raw *raw;
  char url[96];
  snprintf(url, sizeof url, "http://127.0.0.1:%d/size/90000", server.port);
  for(int i = 0; i < 2; i++) {
    raw = new_raw(url);
    raw->request.sink = &sink;
    raw = run_raw(engine, raw);
    CHECK(raw->answer.body.len == 0);
    CHECK(raw->answer.sent == (i ? CR_SENT_UNKNOWN : CR_SENT_ANSWERED) && (i || left == 10000));
    cr_machine_free(&raw->machine);
  }
  snprintf(url, sizeof url, "http://127.0.0.1:%d/status/403", server.port);
  raw = new_raw(url); /* an error body does not go to the sink */
  raw->request.sink = &sink;
  raw = run_raw(engine, raw);
  CHECK(raw->answer.status == 403 && strcmp(cr_buf_str(&raw->answer.body), "status") == 0);
  cr_machine_free(&raw->machine);
  cr_engine_free(engine);
}

struct fake {
  int64_t mono_ms;
};

static void fake_clock(void *user, struct cr_moment *now)
{
  struct fake *fake = user;
  now->mono_ms = fake->mono_ms;
  now->unix_ms = 1768478400000 + fake->mono_ms;
  now->random = 0.5;
}

/* 300 machines that wait for different times, in a clock that we move: none early, all in order. */
static void test_schedule(void)
{
  struct fake fake = { 1000 };
  struct cr_engine_options options = { .allow_http = true, .clock = fake_clock, .clock_user = &fake };
  struct cr_engine *engine = new_engine(&options);
  struct cr_engine_stats stats;
  int64_t id;
  int early = 0, done = 0, cancelled = 0;

  for(int i = 0; i < 300; i++) {
    struct raw *raw = new_raw("http://127.0.0.1/");
    raw->wait_ms = (i * 7919) % 300 * 10 + 10; /* each of 10 .. 3000 once */
    raw->state = 0;
    raw->until = fake.mono_ms + raw->wait_ms;
    raw->request.url = "gopher://refused-at-once/";
    submit(engine, &raw->machine);
  }
  cr_engine_step(engine);
  cr_engine_stats(engine, &stats);
  CHECK(stats.waiting_time == 300 && stats.running == 300);
  CHECK(cr_engine_timeout(engine) > 0.009 && cr_engine_timeout(engine) < 0.011);
  CHECK(readable(cr_engine_pollfd(engine), 1000)); /* the timerfd */
  CHECK(cr_engine_cancel(engine, 300));
  for(int step = 0; step < 301; step++) {
    struct cr_machine *m;
    cr_engine_step(engine);
    while((m = cr_engine_take(engine, &id))) {
      cancelled += m->error.kind == CR_KIND_CANCELLED;
      early += m->error.kind != CR_KIND_CANCELLED && ((struct raw *)m)->until > fake.mono_ms;
      done++;
      cr_machine_free(m);
    }
    CHECK(done >= step);
    fake.mono_ms += 10;
  }
  CHECK(done == 300 && early == 0 && cancelled == 1);
  cr_engine_free(engine);
}

static void test_fork(void)
{
  struct cr_engine *engine = new_engine(NULL);
  struct cr_error err;
  struct cr_machine *m = fetch(engine, "/size/3", NULL);
  int status = 0;
  cr_machine_free(m);
  fflush(stdout);
  pid_t child = fork();
  if(child == 0) {
    int64_t id;
    int bad = cr_engine_submit(engine, new_http("http://127.0.0.1/", NULL), &id, &err) == 0 ||
              strcmp(err.code, "OtherProcess") != 0 || cr_engine_step(engine) != 0 ||
              cr_engine_wait(engine, 1, -1) != 0;
    cr_engine_free(engine);
    _exit(bad);
  }
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  m = fetch(engine, "/size/4", NULL); /* the parent's connection is as it was */
  CHECK(strlen(body_of(m)) == 4);
  CHECK_STR(cr_get_text(cr_get(m->result.root, "headers"), "x-served"), "2");
  cr_machine_free(m);
  cr_engine_free(engine);
}

/* ---- calls ---- */

/* The plain server as AWS: JSON and XML by target and path, in trouble the first time. */
static atomic_int troubles;

static int aws_pages(struct loopback_peer *peer, const char *path, const char *request, size_t len)
{
  static const char throttled[] = "{\"__type\":\"ThrottlingException\",\"message\":\"Rate exceeded\"}";
  static const char config[] = "<DistributionConfig><Comment>c</Comment></DistributionConfig>";
  (void)len;
  if(strstr(request, "CertificateManager.DescribeCertificate")) {
    if(atomic_fetch_add(&troubles, 1) == 0) {
      return loopback_answer(peer, 400, "x-amzn-RequestId: t1\r\n", throttled, strlen(throttled)) ? 1 : -1;
    }
    return loopback_answer(peer, 200, "", "{\"Certificate\":{}}", 18) ? 1 : -1;
  }
  if(strstr(path, "/config")) {
    if(atomic_fetch_add(&troubles, 1) == 0) {
      return -1; /* lost before an answer */
    }
    return loopback_answer(peer, 200, "ETag: E1\r\n", config, strlen(config)) ? 1 : -1;
  }
  if(strstr(path, "/2020-05-31/distribution?")) {
    loopback_text(peer, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n<DistributionList><Items>");
    return -1; /* always torn */
  }
  return 0;
}

/* Real time without jitter: no retry waits. */
static void hasty_clock(void *user, struct cr_moment *now)
{
  (void)user;
  now->mono_ms = cr_monotonic_ms();
  now->unix_ms = 1768478400000;
  now->random = 0;
}

static struct cr_machine *new_call(struct cr_account *account, const char *service, const char *operation,
                                   const char *name, const char *value)
{
  struct cr_error err;
  struct cr_tree tree;
  cr_tree_init(&tree, 1 << 16);
  struct cr_node *root = cr_node_add(&tree, NULL, NULL, CR_NODE_MAP);
  if(name) {
    cr_add_text(&tree, root, name, value);
  }
  struct cr_machine *m = cr_call_new(account, cr_operation_find(service, operation), root, NULL, NULL, 0, &err);
  cr_tree_free(&tree);
  if(!m) {
    printf("no call: %s\n", err.message);
    exit(1);
  }
  return m;
}

/* Plays the binding: decodes what waits for it, in a way that shows what was seen. */
static int decode_all(struct cr_engine *engine)
{
  const char *json;
  size_t len;
  struct cr_tree *into;
  int64_t id;
  int count = 0;
  while(cr_engine_undecoded(engine, &id, &json, &len, &into)) {
    struct cr_node *root = cr_node_add(into, NULL, NULL, CR_NODE_MAP);
    const char *type = strstr(json, "ThrottlingException");
    cr_add_text(into, root, type ? "__type" : "Certificate", type ? "ThrottlingException" : "seen");
    cr_engine_decoded(engine, id, NULL);
    count++;
  }
  return count;
}

static void test_calls(void)
{
  struct cr_engine_options options = { .allow_http = true, .clock = hasty_clock };
  struct cr_engine *engine = new_engine(&options);
  struct cr_engine_stats stats;
  struct cr_error err;
  struct cr_account *account = cr_account_new(&err);
  struct cr_machine *m = NULL;
  struct cr_attempt attempt;
  char url[64];
  int64_t id, ours, until = cr_monotonic_ms() + 10000;
  int decoded = 0;

  snprintf(url, sizeof url, "http://127.0.0.1:%d", server.port);
  CHECK(cr_account_set_credentials(account, "AKID", "secret", NULL, 0, &err) == 0);
  CHECK(cr_account_set_endpoint(account, CR_ACM, url, "us-east-1", &err) == 0);
  CHECK(cr_account_set_endpoint(account, CR_CLOUDFRONT, url, "us-east-1", &err) == 0);
  server.pages = aws_pages;
  atomic_store(&troubles, 0);
  ours = submit(engine, new_call(account, "acm", "DescribeCertificate", "CertificateArn", "arn"));
  while(!(m = cr_engine_take(engine, &id)) && cr_monotonic_ms() < until) {
    cr_engine_wait(engine, 1, -1);
    decoded += decode_all(engine);
  }
  CHECK(m && id == ours && decoded == 2 && m->error.kind == CR_KIND_NONE);
  CHECK_STR(cr_get_text(m->result.root, "Certificate"), "seen");
  cr_machine_free(m);
  CHECK(cr_engine_attempt(engine, &id, &attempt) && id == ours && attempt.throttled && attempt.attempt == 1);
  CHECK_STR(attempt.code, "ThrottlingException");
  CHECK_STR(attempt.request_id, "t1");
  CHECK(cr_engine_attempt(engine, &id, &attempt) && attempt.attempt == 2 && attempt.status == 200);
  CHECK(!cr_engine_attempt(engine, &id, &attempt));
  cr_engine_stats(engine, &stats);
  CHECK(stats.throttled == 1 && stats.retried == 1 && stats.attempts == 2);

  atomic_store(&troubles, 0);
  submit(engine, new_call(account, "cloudfront", "GetDistributionConfig", "Id", "E1"));
  m = finish_one(engine, &id);
  CHECK(m->error.kind == CR_KIND_NONE);
  CHECK_STR(cr_get_text(m->result.root, "ETag"), "E1");
  cr_machine_free(m);
  submit(engine, new_call(account, "cloudfront", "ListDistributions", NULL, NULL));
  m = finish_one(engine, &id);
  CHECK(m->error.kind == CR_KIND_TRANSPORT && m->result.root == NULL && strstr(m->error.message, "after 3 attempts"));
  CHECK_STR(m->error.code, "CURLE_PARTIAL_FILE");
  cr_machine_free(m);

  /* Cancelled and freed while something waits to be decoded. */
  for(int i = 0; i < 2; i++) {
    submit(engine, new_call(account, "acm", "DescribeCertificate", "CertificateArn", "arn"));
  }
  do {
    cr_engine_wait(engine, 1, -1);
    cr_engine_stats(engine, &stats);
  } while(stats.waiting_decode < 2 && cr_monotonic_ms() < until);
  const char *json;
  size_t len;
  struct cr_tree *into;
  CHECK(cr_engine_undecoded(engine, &id, &json, &len, &into) && cr_engine_cancel(engine, id));
  cr_engine_decoded(engine, id, NULL); /* too late, and harmless */
  m = finish_one(engine, &id);
  CHECK(m->error.kind == CR_KIND_CANCELLED && cr_engine_undecoded(engine, &id, &json, &len, &into));
  cr_machine_free(m);
  cr_engine_free(engine);
  cr_account_unref(account);
  server.pages = NULL;
}

/* A proxy is used for what goes out, and never for what must not. */
static void test_proxy(void)
{
  char proxy[64];
  snprintf(proxy, sizeof proxy, "http://127.0.0.1:%d", server.port);
  struct cr_engine_options options = { .allow_http = true, .proxy = proxy, .no_proxy = "direct." NO_HOST };
  struct cr_engine *engine = new_engine(&options);
  struct raw *raw = run_raw(engine, new_raw("http://" NO_HOST "/echo"));
  CHECK(raw->answer.status == 404); /* asked for the whole URL */
  cr_machine_free(&raw->machine);
  raw = run_raw(engine, new_raw("http://direct." NO_HOST "/echo"));
  CHECK(raw->answer.sent == CR_SENT_NOTHING);
  cr_machine_free(&raw->machine);
  raw = new_raw("http://" NO_HOST "/echo");
  raw->request.no_proxy = true;
  raw = run_raw(engine, raw);
  CHECK(raw->answer.sent == CR_SENT_NOTHING);
  cr_machine_free(&raw->machine);
  raw = run_raw(engine, new_raw("http://" NO_HOST "/echo")); /* the handle is as it was */
  CHECK(raw->answer.status == 404);
  cr_machine_free(&raw->machine);
  cr_engine_free(engine);
  /* The environment is the session's to read. */
  setenv("http_proxy", proxy, 1);
  engine = new_engine(NULL);
  raw = run_raw(engine, new_raw("http://" NO_HOST "/echo"));
  CHECK(raw->answer.sent == CR_SENT_NOTHING);
  cr_machine_free(&raw->machine);
  cr_engine_free(engine);
  unsetenv("http_proxy");
}

/* ---- TLS ---- */

static void add_extension(X509 *certificate, int nid, const char *value)
{
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
  X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

/* A self-signed certificate for localhost and 127.0.0.1, which may serve as its own CA file. */
static SSL_CTX *new_tls(char *ca_path)
{
  SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
  EVP_PKEY *key = EVP_EC_gen("P-256");
  X509 *certificate = X509_new();
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 7);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 86400);
  X509_set_pubkey(certificate, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC, (const unsigned char *)"localhost",
                             -1, -1, 0);
  X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
  add_extension(certificate, NID_basic_constraints, "critical,CA:TRUE");
  add_extension(certificate, NID_subject_alt_name, "DNS:localhost,DNS:*.example.test,IP:127.0.0.1");
  X509_sign(certificate, key, EVP_sha256());
  SSL_CTX_use_certificate(tls, certificate);
  SSL_CTX_use_PrivateKey(tls, key);
  int fd = mkstemp(ca_path);
  FILE *file = fdopen(fd, "w");
  PEM_write_X509(file, certificate);
  fclose(file);
  X509_free(certificate);
  EVP_PKEY_free(key);
  return tls;
}

static void test_tls(int port, const char *ca_path)
{
  struct cr_engine_options options = { .ca_file = ca_path };
  struct cr_engine_options untrusting = { .ca_file = NULL };
  struct cr_engine *engine = new_engine(&options);
  struct raw *raw;
  char url[96];

  snprintf(url, sizeof url, "https://127.0.0.1:%d/size/10", port);
  for(int i = 0; i < 3; i++) {
    raw = run_raw(engine, new_raw(url));
    CHECK(raw->answer.sent == CR_SENT_ANSWERED && raw->answer.body.len == 10);
    cr_machine_free(&raw->machine);
  }
  struct cr_engine_stats stats;
  cr_engine_stats(engine, &stats);
  CHECK(stats.connections == 1);
  cr_engine_free(engine);

  engine = new_engine(&untrusting);
  raw = run_raw(engine, new_raw(url));
  CHECK(raw->answer.sent == CR_SENT_NOTHING && raw->answer.error.kind == CR_KIND_TRANSPORT &&
        !raw->answer.error.retryable);
  CHECK_STR(raw->answer.error.code, "CURLE_PEER_FAILED_VERIFICATION");
  CHECK(strstr(raw->answer.error.message, "self-signed") && strstr(raw->answer.error.message, "AWS_CA_BUNDLE"));
  cr_machine_free(&raw->machine);
  snprintf(url, sizeof url, "https://127.0.0.1:%d/size/10", server.port); /* plain text where TLS is expected */
  raw = run_raw(engine, new_raw(url));
  CHECK(raw->answer.sent == CR_SENT_NOTHING && strstr(raw->answer.error.message, "no TLS connection with"));
  cr_machine_free(&raw->machine);
  cr_engine_free(engine);
  CHECK(ERR_peek_error() == 0);
}

/* A copy of a file's text in another, `times` over. */
static void copy_text(const char *from, const char *to, int times)
{
  char text[8192];
  FILE *file = fopen(from, "r");
  size_t len = fread(text, 1, sizeof text, file);
  fclose(file);
  file = fopen(to, "w");
  for(int i = 0; i < times; i++) {
    fwrite(text, 1, len, file);
  }
  fclose(file);
}

static struct raw *probe(struct cr_engine *engine, const char *url, const char *connect_to);

/* The CA file is read when it is needed first and never again: neither for another connection nor for a probe. */
static void test_roots_once(int port, const char *ca_path)
{
  char path[] = "/tmp/certrotate-test-XXXXXX", url[96], at[32];
  struct cr_engine_options options = { .ca_file = path };
  struct cr_engine_stats stats;
  struct cr_engine *engine;
  struct raw *raw;

  close(mkstemp(path));
  snprintf(url, sizeof url, "https://127.0.0.1:%d/size/10", port);
  snprintf(at, sizeof at, "127.0.0.1:%d", port);
  engine = new_engine(&options);
  raw = run_raw(engine, new_raw(url)); /* it is empty: said, and looked at again when it is needed again */
  CHECK(raw->answer.sent == CR_SENT_NOTHING && raw->answer.error.kind == CR_KIND_TRANSPORT &&
        !raw->answer.error.retryable);
  CHECK_STR(raw->answer.error.code, "CaFileUnusable");
  CHECK(strstr(raw->answer.error.message, path) && strstr(raw->answer.error.message, "holds no certificate"));
  cr_machine_free(&raw->machine);
  copy_text(ca_path, path, 1);
  FILE *file = fopen(path, "a");
  fputs("-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n", file);
  fclose(file);
  raw = run_raw(engine, new_raw(url));
  CHECK(raw->answer.sent == CR_SENT_NOTHING && strstr(raw->answer.error.message, "a certificate in it cannot be read"));
  cr_machine_free(&raw->machine);

  copy_text(ca_path, path, 1);
  for(int i = 0; i < 4; i++) {
    raw = new_raw(url);
    raw->request.once = true;
    raw = run_raw(engine, raw);
    CHECK(raw->answer.sent == CR_SENT_ANSWERED && raw->answer.body.len == 10);
    cr_machine_free(&raw->machine);
    unlink(path);
  }
  raw = probe(engine, "https://www.example.test/", at);
  CHECK(raw->answer.sent == CR_SENT_ANSWERED && raw->answer.verify_result == 0);
  cr_machine_free(&raw->machine);
  cr_engine_stats(engine, &stats);
  CHECK(stats.connections == 5);
  cr_engine_free(engine);
  CHECK(ERR_peek_error() == 0);
}

/* A large CA file is read in slices, one a step; who waits for it can be cancelled, and what needs no TLS goes on. */
static void test_roots_in_slices(int port, const char *ca_path)
{
  char path[] = "/tmp/certrotate-test-XXXXXX", url[96], plain[96];
  struct cr_engine_options options = { .ca_file = path, .allow_http = true };
  struct cr_engine *engine;
  struct cr_machine *m;
  struct raw *raw;
  int steps = 0;
  int64_t id, first, second, beside;

  close(mkstemp(path));
  copy_text(ca_path, path, 4000);
  snprintf(url, sizeof url, "https://127.0.0.1:%d/size/10", port);
  snprintf(plain, sizeof plain, "http://127.0.0.1:%d/size/10", server.port);
  engine = new_engine(&options);
  first = submit(engine, &new_raw(url)->machine);
  second = submit(engine, &new_raw(url)->machine);
  cr_engine_step(engine);
  beside = submit(engine, &new_raw(plain)->machine);
  CHECK(cr_engine_timeout(engine) == 0);
  CHECK(cr_engine_cancel(engine, first));
  m = cr_engine_take(engine, &id);
  CHECK(m && id == first && m->error.kind == CR_KIND_CANCELLED && !m->error.ambiguous);
  cr_machine_free(m);
  for(int got = 0; got < 2; steps++) {
    cr_engine_step(engine);
    while((m = cr_engine_take(engine, &id))) {
      raw = (struct raw *)m;
      CHECK(raw->answer.sent == CR_SENT_ANSWERED && raw->answer.body.len == 10 && (id == second || id == beside));
      cr_machine_free(m);
      got++;
    }
    if(cr_engine_timeout(engine) != 0) {
      usleep(500);
    }
  }
  CHECK(steps > 10);
  cr_engine_free(engine);
  unlink(path);
}

static struct raw *probe(struct cr_engine *engine, const char *url, const char *connect_to)
{
  struct raw *raw = new_raw(url);
  raw->request.handshake_only = true;
  raw->request.connect_to = connect_to;
  return run_raw(engine, raw);
}

static void test_probe(int port, const char *ca_path)
{
  struct cr_engine_options options = { .ca_file = ca_path };
  struct cr_engine *engine = new_engine(&options), *untrusting = new_engine(NULL);
  char at[32], refused[32];
  struct raw *raw;

  snprintf(at, sizeof at, "127.0.0.1:%d", port);
  snprintf(refused, sizeof refused, "127.0.0.1:%d", loopback_refused_port());
  for(int i = 0; i < 2; i++) {
    raw = probe(engine, "https://www.example.test/", at);
    CHECK(raw->answer.sent == CR_SENT_ANSWERED && raw->answer.verify_result == 0 && !raw->answer.verify_message[0]);
    CHECK(strncmp(cr_buf_str(&raw->answer.certificates), "-----BEGIN CERTIFICATE-----\n", 28) == 0);
    CHECK_STR(raw->answer.peer, at);
    cr_machine_free(&raw->machine);
  }
  struct cr_engine_stats stats;
  cr_engine_stats(engine, &stats);
  CHECK(stats.connections == 2); /* each its own */
  raw = probe(engine, "https://other.example.org/", at);
  CHECK(raw->answer.sent == CR_SENT_ANSWERED && raw->answer.verify_result == X509_V_ERR_HOSTNAME_MISMATCH);
  CHECK(strstr(raw->answer.verify_message, "ostname mismatch") && raw->answer.certificates.len > 0);
  cr_machine_free(&raw->machine);
  /* Beside the system's roots, and for connections too; what holds none is refused. */
  struct cr_engine_options more = { .trust = ca_path }, empty = { .trust = "/dev/null" };
  struct cr_engine *trusting = new_engine(&more);
  struct cr_error err;
  raw = probe(trusting, "https://www.example.test/", at);
  CHECK(raw->answer.sent == CR_SENT_ANSWERED && raw->answer.verify_result == 0);
  cr_machine_free(&raw->machine);
  cr_engine_free(trusting);
  CHECK(!cr_engine_new(&empty, &err) && err.kind == CR_KIND_INPUT && strstr(err.message, "/dev/null"));
  CHECK_STR(err.code, "TrustFileUnusable");
  raw = probe(untrusting, "https://www.example.test/", at);
  CHECK(raw->answer.sent == CR_SENT_ANSWERED && raw->answer.verify_result == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT);
  cr_machine_free(&raw->machine);
  raw = probe(engine, "https://www.example.test/", refused);
  CHECK(raw->answer.sent == CR_SENT_NOTHING && strstr(raw->answer.error.message, refused));
  cr_machine_free(&raw->machine);
  raw = probe(engine, "http://www.example.test/", at);
  CHECK(raw->answer.sent == CR_SENT_NOTHING && raw->answer.error.kind == CR_KIND_INPUT);
  cr_machine_free(&raw->machine);
  cr_engine_free(engine);
  cr_engine_free(untrusting);
  CHECK(ERR_peek_error() == 0);
}

int main(void)
{
  struct loopback secure;
  char ca_path[] = "/tmp/certrotate-test-XXXXXX";
  SSL_CTX *tls = new_tls(ca_path);

  if(!loopback_start(&server, NULL) || !loopback_start(&secure, tls)) {
    printf("cannot listen on 127.0.0.1: %s\n", strerror(errno));
    return 1;
  }
  test_requests();
  test_failures();
  test_bad_options();
  test_many();
  test_cancel();
  test_cancel_unsure();
  test_free_in_flight();
  test_waiting();
  test_once();
  test_sent();
  test_sink();
  test_schedule();
  test_fork();
  test_calls();
  test_proxy();
  test_tls(secure.port, ca_path);
  test_roots_once(secure.port, ca_path);
  test_roots_in_slices(secure.port, ca_path);
  test_probe(secure.port, ca_path);
  loopback_stop(&server);
  loopback_stop(&secure);
  SSL_CTX_free(tls);
  unlink(ca_path);
  return check_end();
}
