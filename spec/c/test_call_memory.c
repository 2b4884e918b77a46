/* test_call_memory.c - every allocation of a call and of an engine made to fail, one after the other: a clean error or
 * none, nothing lost, and the machine always comes to an end.
 */
#include "call_script.h"
#include "check.h"
#include "failing_memory.h"
#include "loopback.h"

#include "engine.h"
#include "poller.h"

#include <signal.h>
#include <sys/wait.h>

/* Answers whatever the machine sends with `body`, the first time with trouble. -1: it failed, with *err. */
static int run_script(struct script *s, const char *body, struct cr_error *err)
{
  for(int turn = 0; turn < 20; turn++) {
    switch(script_need(s)) {
    case CR_NEED_SEND:
      script_answer(s, turn ? 200 : 503, "etag: E1\nx-amzn-requestid: r\n",
                    turn ? body : "<Error><Code>X</Code></Error>");
      break;
    case CR_NEED_DECODE:
      /* The decoder is the binding's; when it has no memory, it says so. */
      if(!cr_node_add(s->want.into, NULL, NULL, CR_NODE_MAP)) {
        cr_fail_memory(err);
        s->m->class->decoded(s->m, err);
      } else {
        s->m->class->decoded(s->m, NULL);
      }
      break;
    case CR_NEED_RUN:
    case CR_NEED_WAIT:
      script_wait(s);
      break;
    case CR_NEED_DONE:
      return 0;
    case CR_NEED_FAILED:
      *err = s->m->error;
      return -1;
    }
  }
  cr_fail(err, CR_KIND_INPUT, "NoEnd", "it does not come to an end");
  return -1;
}

static struct cr_account *account;

static int scenario_call(const char *service, const char *operation, const char *const *params, const char *body,
                         const struct cr_xml_view *view, struct cr_error *err)
{
  struct cr_tree tree;
  struct script s;
  int rc = -1;

  memory_pause();
  cr_tree_init(&tree, 1 << 20);
  script_params(&tree, params);
  memory_resume();
  if(!script_new(&s, account, service, operation, tree.root, NULL, view, 0)) {
    *err = s.error;
  } else {
    rc = run_script(&s, body, err);
    cr_machine_free(s.m);
  }
  cr_account_unref(account);
  cr_tree_free(&tree);
  return rc;
}

static int scenario_config(struct cr_error *err)
{
  return scenario_call("cloudfront", "GetDistributionConfig", PAIRS("Id=E1"),
                       "<DistributionConfig><Aliases><Items><CNAME>a</CNAME></Items></Aliases></DistributionConfig>",
                       NULL, err);
}

static int scenario_listing(struct cr_error *err)
{
  return scenario_call(
      "cloudfront", "ListDistributions", PAIRS("Marker=x"),
      "<DistributionList><Items><DistributionSummary><Id>1</Id></DistributionSummary></Items></DistributionList>",
      &cr_holders_view, err);
}

static int scenario_query(struct cr_error *err)
{
  return scenario_call("iam", "ListServerCertificates", NULL,
                       "<ListServerCertificatesResponse><ListServerCertificatesResult><IsTruncated>false</IsTruncated>"
                       "</ListServerCertificatesResult></ListServerCertificatesResponse>", NULL, err);
}

static int scenario_json(struct cr_error *err)
{
  return scenario_call("acm", "ListCertificates", PAIRS("MaxItems=#3"), "{}", NULL, err);
}

/* ---- the engine, against a server in a process of its own ---- */

static int server_port;

static int scenario_engine(struct cr_error *err)
{
  struct cr_engine_options options = { .allow_http = true, .max_host_connections = 2, .user_agent = "test" };
  struct cr_engine *engine = cr_engine_new(&options, err);
  int64_t id, until = cr_monotonic_ms() + 5000;
  struct cr_machine *m;
  char url[64];
  int submitted = 0, taken = 0, rc = 0;

  if(!engine) {
    return -1;
  }
  for(int i = 0; i < 5; i++) {
    struct cr_tree tree;
    cr_tree_init(&tree, 1 << 16);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/size/%d", server_port, i * 1000);
    struct cr_node *root = cr_node_add(&tree, NULL, NULL, CR_NODE_MAP);
    m = root && cr_add_text(&tree, root, "url", url) ? cr_http_new(root, err) : NULL;
    cr_tree_free(&tree);
    if(!m) {
      rc = -1;
      cr_fail_memory(err);
    } else if(cr_engine_submit(engine, m, &id, err) < 0) {
      rc = -1;
    } else {
      submitted++;
    }
  }
  while(taken < submitted && cr_monotonic_ms() < until) {
    cr_engine_wait(engine, 1, -1);
    while((m = cr_engine_take(engine, &id))) {
      taken++;
      if(m->error.kind != CR_KIND_NONE) {
        *err = m->error;
        rc = -1;
      }
      cr_machine_free(m);
    }
  }
  CHECK(taken == submitted);
  cr_engine_free(engine);
  return rc;
}

static pid_t start_server(void)
{
  int pipes[2];
  pid_t child;
  if(pipe(pipes) < 0) {
    return -1;
  }
  fflush(stdout);
  child = fork();
  if(child == 0) {
    struct loopback server;
    bool good = loopback_start(&server, NULL) && write(pipes[1], &server.port, sizeof server.port) > 0;
    close(pipes[0]);
    alarm(110); /* whatever becomes of the parent */
    while(good) {
      pause();
    }
    _exit(1);
  }
  close(pipes[1]);
  if(child > 0 && read(pipes[0], &server_port, sizeof server_port) != sizeof server_port) {
    kill(child, SIGKILL);
    child = -1;
  }
  close(pipes[0]);
  return child;
}

int main(void)
{
  pid_t server = start_server();
  if(server < 0) {
    printf("no server on 127.0.0.1\n");
    return 1;
  }
  account = script_account("token");
  memory_fail_each("GetDistributionConfig", scenario_config);
  memory_fail_each("ListDistributions", scenario_listing);
  memory_fail_each("ListServerCertificates", scenario_query);
  memory_fail_each("ListCertificates", scenario_json);
  memory_fail_each("engine", scenario_engine);
  cr_account_unref(account);
  kill(server, SIGKILL);
  waitpid(server, NULL, 0);
  return check_end();
}
