/* test_process.c - programs run by the engine: what they print, how they end, and what they cannot do to us. Real
 * programs of every POSIX system; each case with pidfds and as on a kernel that has none. */
#include "check.h"

#include "call.h"
#include "engine.h"
#include "poller.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static struct cr_engine *engine;
static bool without_pidfd;

static int64_t start(const char *const *arguments, const char *timeout, int64_t most)
{
  struct cr_tree tree;
  struct cr_error err;
  int64_t id = 0;

  cr_tree_init(&tree, 1 << 20);
  struct cr_node *root = cr_node_add(&tree, NULL, NULL, CR_NODE_MAP);
  struct cr_node *list = cr_node_add(&tree, root, "arguments", CR_NODE_LIST);
  for(; *arguments; arguments++) {
    cr_add_text(&tree, list, NULL, *arguments);
  }
  if(timeout) {
    cr_add_text(&tree, root, "timeout", timeout)->type = CR_NODE_NUMBER;
  }
  if(most) {
    cr_add_int(&tree, root, "max_output", most);
  }
  cr_add_bool(&tree, root, "without_pidfd", without_pidfd);
  struct cr_machine *m = cr_program_new(root, &err);
  CHECK(m != NULL && cr_engine_submit(engine, m, &id, &err) == 0);
  cr_tree_free(&tree);
  return id;
}

static struct cr_machine *finish(void)
{
  int64_t until = cr_monotonic_ms() + 10000, id;
  struct cr_machine *m;
  while(!(m = cr_engine_take(engine, &id)) && cr_monotonic_ms() < until) {
    cr_engine_wait(engine, 1, -1);
  }
  if(!m) {
    printf("a program did not end\n");
    exit(1);
  }
  return m;
}

static struct cr_machine *run(const char *const *arguments, const char *timeout, int64_t most)
{
  start(arguments, timeout, most);
  return finish();
}

#define RUN(...) run((const char *const[]){ __VA_ARGS__, NULL }, "8", 0)
#define SH(script) RUN("/bin/sh", "-c", script)

static void test_output(void)
{
  struct cr_machine *m = SH("echo out; echo err >&2; exit 3");
  CHECK_STR(cr_get_text(m->result.root, "output"), "out\n");
  CHECK_STR(cr_get_text(m->result.root, "errors"), "err\n");
  CHECK(cr_get_int(m->result.root, "status", -1) == 3);
  cr_machine_free(m);
  m = RUN("printf", "%s|", "a b", "$HOME;`id`", ""); /* found in PATH; no shell looks at the arguments */
  CHECK_STR(cr_get_text(m->result.root, "output"), "a b|$HOME;`id`||");
  cr_machine_free(m);
  m = SH("cat; kill -TERM $$");
  CHECK_STR(cr_get_text(m->result.root, "output"), ""); /* its input is at its end */
  CHECK(cr_get_int(m->result.root, "signal", 0) == SIGTERM && !cr_get(m->result.root, "status"));
  cr_machine_free(m);
  m = SH("head -c 60000 /dev/zero | tr '\\0' x; head -c 9000 /dev/zero >&2");
  CHECK(strlen(cr_get_text(m->result.root, "output")) == 60000 && cr_get(m->result.root, "errors")->len == 4096);
  cr_machine_free(m);
}

static void test_refusals(void)
{
  struct cr_machine *m = RUN("/nonexistent/program");
  CHECK_STR(m->error.code, "NotStarted");
  CHECK(strstr(m->error.message, "/nonexistent/program") != NULL);
  cr_machine_free(m);
  m = RUN("/etc/passwd");
  CHECK_STR(m->error.code, "NotStarted");
  cr_machine_free(m);
  m = run((const char *const[]){ "/bin/sh", "-c", "yes secret", NULL }, "8", 1000);
  CHECK_STR(m->error.code, "TooMuchOutput");
  CHECK(!strstr(m->error.message, "secret") && !m->result.root);
  cr_machine_free(m);
}

/* It is killed with what it started, and its end is not waited for. */
static void test_timeout(void)
{
  int64_t began = cr_monotonic_ms();
  int ends[2];
  char byte;
  struct cr_machine *m;

  CHECK(pipe(ends) == 0); /* no close-on-exec: a child that inherited it would keep it open */
  m = run((const char *const[]){ "/bin/sh", "-c", "trap '' TERM INT HUP; sleep 30 & sleep 30", NULL }, "0.2", 0);
  CHECK_STR(m->error.code, "ProcessTimeout");
  CHECK(m->error.kind == CR_KIND_TIMEOUT && cr_monotonic_ms() - began < 3000);
  cr_machine_free(m);
  close(ends[1]);
  CHECK(read(ends[0], &byte, 1) == 0);
  close(ends[0]);
  CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD); /* no zombie is left */
}

/* What goes on in the background holds neither the answer nor our descriptors back. */
static void test_background(void)
{
  int64_t began = cr_monotonic_ms();
  struct cr_machine *m = SH("sleep 3 & echo here");
  CHECK_STR(cr_get_text(m->result.root, "output"), "here\n");
  CHECK(cr_monotonic_ms() - began < 2000);
  cr_machine_free(m);
}

/* The host reaps its children by itself: nobody knows how it ended, what it said counts. */
static void test_reaped_elsewhere(void)
{
  struct sigaction ignore = { .sa_handler = SIG_IGN }, before;
  struct cr_machine *m;

  sigaction(SIGCHLD, &ignore, &before);
  m = SH("echo said; exit 7");
  sigaction(SIGCHLD, &before, NULL);
  CHECK_STR(cr_get_text(m->result.root, "output"), "said\n");
  CHECK(!cr_get(m->result.root, "status") && !cr_get(m->result.root, "signal"));
  cr_machine_free(m);
}

/* Signals blocked or ignored here are not so there, and there is no terminal to ask on. */
static void test_surroundings(void)
{
  sigset_t all, before;
  struct cr_machine *m;

  signal(SIGPIPE, SIG_IGN);
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, &before);
  m = SH("grep -E '^Sig(Blk|Ign)' /proc/self/status | tr -d '\\n\\t ' | sed 's|Ign:............|Ign:|'; (: </dev/tty) 2>/dev/null || echo none; ls /proc/self/fd | wc -l");
  sigprocmask(SIG_SETMASK, &before, NULL);
  signal(SIGPIPE, SIG_DFL);
  CHECK_STR(cr_get_text(m->result.root, "output"), "SigBlk:0000000000000000SigIgn:0000none\n4\n");
  cr_machine_free(m);
}

/* One descriptor tells when, and the time limit wakes too; cancelling kills at once. */
static void test_waiting(void)
{
  int64_t id = start((const char *const[]){ "/bin/sh", "-c", "sleep 0.1; echo x", NULL }, "8", 0), got;
  struct pollfd fd = { .fd = cr_engine_pollfd(engine), .events = POLLIN };
  struct cr_machine *m = NULL;
  int wakeups = 0;

  cr_engine_step(engine);
  while(!(m = cr_engine_take(engine, &got)) && wakeups < 500) {
    CHECK(poll(&fd, 1, 5000) == 1);
    cr_engine_step(engine);
    wakeups++;
  }
  CHECK(m && got == id && (without_pidfd || wakeups < 10));
  cr_machine_free(m);

  int64_t began = cr_monotonic_ms();
  id = start((const char *const[]){ "/bin/sleep", "30", NULL }, NULL, 0);
  cr_engine_step(engine);
  CHECK(cr_engine_cancel(engine, id));
  m = finish();
  CHECK(m->error.kind == CR_KIND_CANCELLED && cr_monotonic_ms() - began < 1000);
  cr_machine_free(m);
  CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
}

static void test_parameters(void)
{
  struct cr_tree tree;
  struct cr_error err;

  cr_tree_init(&tree, 1 << 20);
  struct cr_node *root = cr_node_add(&tree, NULL, NULL, CR_NODE_MAP);
  CHECK(!cr_program_new(root, &err) && err.kind == CR_KIND_INPUT && !cr_program_new(NULL, &err));
  struct cr_node *list = cr_node_add(&tree, root, "arguments", CR_NODE_LIST);
  CHECK(!cr_program_new(root, &err));
  cr_add_textn(&tree, list, NULL, "a\0b", 3);
  CHECK(!cr_program_new(root, &err) && strstr(err.message, "NUL"));
  cr_tree_free(&tree);
}

int main(void)
{
  struct cr_engine_options options = { .allow_http = true };
  struct cr_error err;

  engine = cr_engine_new(&options, &err);
  if(!engine) {
    printf("no engine: %s\n", err.message);
    return 1;
  }
  test_parameters();
  for(int round = 0; round < 2; round++) {
    without_pidfd = round == 1;
    test_output();
    test_refusals();
    test_timeout();
    test_background();
    test_reaped_elsewhere();
    test_surroundings();
    test_waiting();
  }
  start((const char *const[]){ "/bin/sleep", "30", NULL }, NULL, 0);
  cr_engine_step(engine);
  cr_engine_free(engine); /* ends what runs */
  CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
  return check_end();
}
