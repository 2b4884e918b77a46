/* engine.c - runs machines over one curl multi handle (see engine.h).
 *
 * Every machine sits in a slot from submit to take; a slot is in exactly one place: a list, the schedule, or a
 * transfer. A machine is asked what it needs only when there is a seat for a request, overall and at its host, so
 * that nothing waits inside libcurl, where the time limits of a request already run and its signature grows old.
 * libcurl's callbacks note sockets and the next timeout; everything else happens in step, outside of them. */
#include "engine.h"
#include "attempt_log.h"
#include "call.h"
#include "children.h"
#include "hosts.h"
#include "poller.h"
#include "sigpipe.h"
#include "transfer.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define GATHER_FROM 4          /* transfers under way */
#define GATHER_NS 1000000L     /* one millisecond */
#define ROUNDS 16          /* of one step: a machine that never rests does not hold the host up */
#define EVENTS 64
#define STEP_MS 1              /* of CA certificates and sockets in one step of a host that has other things to do */

struct cr_engine {
  pid_t process;
  CURLM *multi;
  struct cr_transport transport;
  struct cr_poller poller;
  struct cr_moment now;
  uint64_t random;
  int64_t curl_due_ms;                /* real monotonic; -1: libcurl waits for nothing */
  bool guard_sigpipe;
  bool wake;                          /* something changed between two steps */

  struct cr_slots slots;              /* those not taken */
  struct cr_slot_list returning, ready, undecoded, finished;   /* returning: had to wait for a seat, go before ready */
  struct cr_slot_list rootless;       /* wait until the CA certificates are read */
  struct cr_schedule schedule;
  struct cr_hosts hosts;
  struct cr_children children;

  struct cr_attempt_log log;
  struct cr_engine_stats stats;
};

/* ---- clocks ---- */

static void read_clock(struct cr_engine *engine)
{
  struct cr_moment *now = &engine->now;

  if(engine->transport.options.clock) {
    engine->transport.options.clock(engine->transport.options.clock_user, now);
    return;
  }
  struct timespec real;
  clock_gettime(CLOCK_REALTIME, &real);
  now->unix_ms = (int64_t)real.tv_sec * 1000 + real.tv_nsec / 1000000;
  now->mono_ms = cr_monotonic_ms();
  /* xorshift64*: jitter, not secrets. */
  engine->random ^= engine->random >> 12;
  engine->random ^= engine->random << 25;
  engine->random ^= engine->random >> 27;
  now->random = (double)((engine->random * UINT64_C(0x2545F4914F6CDD1D)) >> 11) / 9007199254740992.0;
}

/* The machines' clock now; engine->now is that of the latest step. */
static int64_t mono_ms(const struct cr_engine *engine)
{
  struct cr_moment now;
  if(!engine->transport.options.clock) {
    return cr_monotonic_ms();
  }
  engine->transport.options.clock(engine->transport.options.clock_user, &now);
  return now.mono_ms;
}

/* Milliseconds until step has something to do; -1: nothing is scheduled. */
static int64_t due_in(const struct cr_engine *engine)
{
  const struct cr_due *first = cr_schedule_first(&engine->schedule);
  int64_t in = -1;

  if(engine->wake || engine->rootless.count) {
    return 0;
  }
  if(engine->curl_due_ms >= 0) {
    in = engine->curl_due_ms - cr_monotonic_ms();
    in = in < 0 ? 0 : in;
  }
  if(first) {
    int64_t wait = first->at_ms - mono_ms(engine);
    wait = wait < 0 ? 0 : wait;
    in = in < 0 || wait < in ? wait : in;
  }
  if(engine->children.first) {
    int64_t wait = cr_children_due_in(&engine->children, mono_ms(engine));
    in = in < 0 || wait < in ? wait : in;
  }
  return in;
}

/* ---- libcurl's callbacks: notes only ---- */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *unused)
{
  struct cr_engine *engine = user;
  (void)easy;
  (void)unused;
  cr_poller_watch(&engine->poller, fd, what == CURL_POLL_IN || what == CURL_POLL_INOUT,
                  what == CURL_POLL_OUT || what == CURL_POLL_INOUT);
  return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *user)
{
  struct cr_engine *engine = user;
  (void)multi;
  engine->curl_due_ms = timeout_ms < 0 ? -1 : cr_monotonic_ms() + timeout_ms;
  return 0;
}

/* ---- attempts ---- */

static void collect_attempts(struct cr_engine *engine, struct cr_slot *slot)
{
  struct cr_attempt attempt;

  while(cr_machine_attempt(slot->machine, &attempt)) {
    engine->stats.throttled += attempt.throttled;
    engine->stats.retried += attempt.attempt > 1;
    cr_attempt_log_add(&engine->log, slot->id, &attempt);
  }
}

/* ---- machines ---- */

static void finish(struct cr_engine *engine, struct cr_slot *slot, bool failed)
{
  slot->json = NULL;
  cr_slot_join(slot, &engine->finished);
  engine->stats.finished++;
  if(failed && slot->machine->error.kind == CR_KIND_CANCELLED) {
    engine->stats.cancelled++;
  } else if(failed) {
    engine->stats.failed++;
  }
}

/* Tells the machine that its request could not even be begun. */
static void refuse(struct cr_engine *engine, struct cr_slot *slot, const struct cr_error *err)
{
  struct cr_answer answer;
  cr_answer_init(&answer);
  answer.sent = CR_SENT_NOTHING;
  answer.error = *err;
  slot->machine->class->answered(slot->machine, &engine->now, &answer);
  cr_answer_free(&answer);
}

/* False: the machine has been told why not and wants to be asked again. */
static bool send_request(struct cr_engine *engine, struct cr_slot *slot, const struct cr_request *request)
{
  struct cr_host *host;
  struct cr_error err;

  if(cr_transport_lacks_roots(&engine->transport, request)) {
    cr_slot_join(slot, &engine->rootless);
    return true;
  }
  cr_error_clear(&err);
  host = cr_hosts_find(&engine->hosts, request);
  if(!host) {
    cr_fail_memory(&err);
    refuse(engine, slot, &err);
    return false;
  }
  if(cr_host_full(&engine->hosts, host)) {
    cr_hosts_park(host, slot);
    return true;
  }
  slot->transfer = cr_transfer_new(&engine->transport, request, &err);
  if(slot->transfer && curl_multi_add_handle(engine->multi, slot->transfer->easy) != CURLM_OK) {
    cr_transfer_free(slot->transfer);
    slot->transfer = NULL;
    cr_fail_memory(&err);
  }
  if(!slot->transfer) {
    cr_hosts_drop_idle(&engine->hosts, host);
    refuse(engine, slot, &err);
    return false;
  }
  slot->transfer->owner = slot;
  cr_hosts_sit(&engine->hosts, host, slot);
  engine->stats.attempts++;
  return true;
}

/* False: as above. A program takes no seat. */
static bool run_program(struct cr_engine *engine, struct cr_slot *slot, const struct cr_program *program)
{
  struct cr_outcome outcome;

  cr_outcome_init(&outcome, 0, 0);
  slot->process = cr_children_start(&engine->children, &engine->poller, program, slot, engine->now.mono_ms,
                                    &outcome.error);
  if(!slot->process) {
    slot->machine->class->ran(slot->machine, &engine->now, &outcome);
  }
  cr_outcome_free(&outcome);
  return slot->process != NULL;
}

/* Asks the machine what it needs and does it, until it has to wait for something. */
static void drive(struct cr_engine *engine, struct cr_slot *slot)
{
  for(int round = 0; round < ROUNDS; round++) {
    struct cr_want want;
    enum cr_need need;

    if(cr_hosts_full(&engine->hosts)) {
      break;
    }
    memset(&want, 0, sizeof want);
    need = slot->machine->class->next(slot->machine, &engine->now, &want);
    collect_attempts(engine, slot);
    switch(need) {
    case CR_NEED_SEND:
      if(send_request(engine, slot, want.request)) {
        return;
      }
      break;
    case CR_NEED_RUN:
      if(run_program(engine, slot, want.program)) {
        return;
      }
      break;
    case CR_NEED_DECODE:
      slot->json = want.json;
      slot->json_len = want.json_len;
      slot->into = want.into;
      cr_slot_join(slot, &engine->undecoded);
      return;
    case CR_NEED_WAIT:
      cr_schedule_add(&engine->schedule, &slot->due, want.until_mono_ms);
      return;
    case CR_NEED_DONE:
    case CR_NEED_FAILED:
      finish(engine, slot, need == CR_NEED_FAILED);
      return;
    }
  }
  cr_slot_join(slot, &engine->ready);
}

/* Those that are ready now; what becomes ready meanwhile is for the next round. */
static bool drive_ready(struct cr_engine *engine)
{
  size_t count = engine->returning.count + engine->ready.count;
  bool any = false;

  while(count-- && !cr_hosts_full(&engine->hosts)) {
    struct cr_slot *slot = engine->returning.first ? engine->returning.first : engine->ready.first;
    if(!slot) {
      break;
    }
    cr_slot_leave(slot);
    drive(engine, slot);
    any = true;
  }
  return any;
}

static void wake_due(struct cr_engine *engine)
{
  struct cr_due *first;
  while((first = cr_schedule_first(&engine->schedule)) && first->at_ms <= engine->now.mono_ms) {
    cr_schedule_remove(&engine->schedule, first);
    cr_slot_join((struct cr_slot *)first, &engine->ready);
  }
}

static bool end_programs(struct cr_engine *engine)
{
  struct cr_process *process;
  bool any = false;

  while(engine->children.first &&
        (process = cr_children_ended(&engine->children, &engine->poller, engine->now.mono_ms))) {
    struct cr_slot *slot = process->owner;
    slot->process = NULL;
    slot->machine->class->ran(slot->machine, &engine->now, &process->outcome);
    cr_process_free(process);
    drive(engine, slot);
    any = true;
  }
  return any;
}

/* Reads on while requests wait for it. False: nobody does. */
static bool read_roots(struct cr_engine *engine, int64_t until_ms)
{
  struct cr_error err;
  int rc;

  if(!engine->rootless.count) {
    return false;
  }
  cr_error_clear(&err);
  rc = cr_roots_read(engine->transport.roots, until_ms, &err);
  if(rc == 0 && !cr_roots_read_all(engine->transport.roots)) {
    return true;
  }
  while(engine->rootless.first) {
    struct cr_slot *slot = engine->rootless.first;
    cr_slot_leave(slot);
    cr_slot_join(slot, rc < 0 ? &engine->ready : &engine->returning);
    if(rc < 0) {
      refuse(engine, slot, &err);
    }
  }
  return true;
}

/* ---- transfers ---- */

/* The handle leaves the multi handle before anybody hears of its end. */
static struct cr_transfer *take_transfer(struct cr_engine *engine, struct cr_slot *slot)
{
  struct cr_transfer *transfer = slot->transfer;
  curl_multi_remove_handle(engine->multi, transfer->easy);
  slot->transfer = NULL;
  return transfer;
}

static void account_for(struct cr_engine *engine, const struct cr_transfer *transfer)
{
  engine->stats.connections += transfer->connections > 0 ? (uint64_t)transfer->connections : 0;
  engine->stats.bytes_received += transfer->bytes_received;
  engine->stats.bytes_sent += transfer->bytes_sent;
}

static void end_transfer(struct cr_engine *engine, struct cr_slot *slot, CURLcode code)
{
  struct cr_transfer *transfer;

  read_clock(engine);
  cr_transfer_finish(&engine->transport, slot->transfer, code, engine->now.unix_ms / 1000);
  transfer = take_transfer(engine, slot);
  account_for(engine, transfer);
  slot->machine->class->answered(slot->machine, &engine->now, &transfer->answer);
  cr_transfer_release(&engine->transport, transfer);
  collect_attempts(engine, slot);
  /* The seat is free before the machine is asked again: what it began goes on before others begin. */
  cr_hosts_stand(&engine->hosts, slot);
  drive(engine, slot);
}

static bool end_transfers(struct cr_engine *engine)
{
  CURLMsg *message;
  int left;
  bool any = false;

  while((message = curl_multi_info_read(engine->multi, &left))) {
    char *transfer = NULL;
    if(message->msg == CURLMSG_DONE &&
       curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer) == CURLE_OK && transfer) {
      CURLcode code = message->data.result; /* the message dies with the removal */
      CURL *easy = message->easy_handle;
      if(cr_transfer_again((struct cr_transfer *)(void *)transfer, code)) {
        curl_multi_remove_handle(engine->multi, easy);
        any = true;
        if(curl_multi_add_handle(engine->multi, easy) == CURLM_OK) {
          continue;
        }
      }
      end_transfer(engine, ((struct cr_transfer *)(void *)transfer)->owner, code);
      any = true;
    }
  }
  return any;
}

/* Until `until_ms` is over: the sockets left stay ready, and the descriptor says so. */
static void serve_sockets(struct cr_engine *engine, int64_t until_ms)
{
  struct cr_ready events[EVENTS];
  int running, count = cr_poller_ready(&engine->poller, events, EVENTS);

  for(int i = 0; i < count && (i == 0 || cr_monotonic_ms() < until_ms); i++) {
    if(engine->children.first && cr_children_own(&engine->children, events[i].fd)) {
      continue; /* end_programs looks after them */
    }
    int what = (events[i].readable ? CURL_CSELECT_IN : 0) | (events[i].writable ? CURL_CSELECT_OUT : 0) |
               (events[i].failed ? CURL_CSELECT_ERR : 0);
    curl_multi_socket_action(engine->multi, events[i].fd, what, &running);
  }
}

static bool serve_timer(struct cr_engine *engine)
{
  int running;

  if(engine->curl_due_ms < 0 || engine->curl_due_ms > cr_monotonic_ms()) {
    return false;
  }
  engine->curl_due_ms = -1;
  curl_multi_socket_action(engine->multi, CURL_SOCKET_TIMEOUT, 0, &running);
  return true;
}

/* ---- the public face ---- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode global_code;

static void init_curl(void)
{
  global_code = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static int check_curl(struct cr_error *err)
{
  const curl_version_info_data *info;

  pthread_once(&once, init_curl); /* never undone: others in the process use libcurl too */
  if(global_code != CURLE_OK) {
    return cr_fail(err, CR_KIND_TRANSPORT, "CurlInit", "libcurl cannot be initialised: %s",
                   curl_easy_strerror(global_code));
  }
  info = curl_version_info(CURLVERSION_NOW);
  if(info->version_num < 0x075400 || !(info->features & CURL_VERSION_SSL)) {
    return cr_fail(err, CR_KIND_TRANSPORT, "CurlTooOld", "libcurl %s is too old or has no TLS: 7.84 or newer is needed",
                   info->version);
  }
  /* Two of them in one process share names and crash. */
  if(info->ssl_version && strncmp(info->ssl_version, "OpenSSL/", 8) == 0 &&
     atoi(info->ssl_version + 8) != cr_probe_openssl_major()) {
    return cr_fail(err, CR_KIND_TRANSPORT, "OpenSslMismatch",
                   "libcurl uses %s, certrotate OpenSSL %d: build both with one", info->ssl_version,
                   cr_probe_openssl_major());
  }
#ifdef CURL_VERSION_THREADSAFE
  if(!(info->features & CURL_VERSION_THREADSAFE)) {
    return cr_fail(err, CR_KIND_TRANSPORT, "CurlNotThreadSafe",
                   "libcurl %s was built without thread-safe initialisation", info->version);
  }
#endif
  return 0;
}

/* Around whatever may write to a socket or fail in TLS. */
static void enter_curl(const struct cr_engine *engine, struct cr_sigpipe *guard)
{
  guard->active = false;
  if(engine->guard_sigpipe) {
    cr_sigpipe_block(guard);
  }
}

static void leave_curl(struct cr_sigpipe *guard)
{
  cr_sigpipe_restore(guard);
  cr_probe_forget_errors();
}

static bool is_ours(const struct cr_engine *engine)
{
  return engine->process == getpid();
}

static int set_multi(struct cr_engine *engine)
{
  CURLM *multi = engine->multi = curl_multi_init();
  return multi && curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket) == CURLM_OK &&
         curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, engine) == CURLM_OK &&
         curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer) == CURLM_OK &&
         curl_multi_setopt(multi, CURLMOPT_TIMERDATA, engine) == CURLM_OK &&
         curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, engine->transport.options.max_connections) == CURLM_OK &&
         curl_multi_setopt(multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING) == CURLM_OK ? 0 : -1;
}

struct cr_engine *cr_engine_new(const struct cr_engine_options *options, struct cr_error *err)
{
  struct cr_engine *engine;

  if(check_curl(err) < 0) {
    return NULL;
  }
  engine = calloc(1, sizeof *engine);
  if(!engine) {
    cr_fail_memory(err);
    return NULL;
  }
  engine->process = getpid();
  engine->poller = (struct cr_poller)CR_POLLER_CLOSED;
  engine->curl_due_ms = -1;
  if(cr_transport_open(&engine->transport, options, err) < 0 || cr_poller_open(&engine->poller, err) < 0) {
    goto fail;
  }
  engine->hosts.most = engine->transport.options.max_connections;
  engine->hosts.most_each = engine->transport.options.max_host_connections;
  if(set_multi(engine) < 0) {
    cr_fail_memory(err);
    goto fail;
  }
  if(getrandom(&engine->random, sizeof engine->random, GRND_NONBLOCK) != (ssize_t)sizeof engine->random ||
     !engine->random) {
    engine->random = ((uint64_t)cr_monotonic_ms() * UINT64_C(0x9E3779B97F4A7C15) ^ (uint64_t)engine->process) | 1;
  }
  engine->guard_sigpipe = curl_version_info(CURLVERSION_NOW)->version_num < 0x075700;
  read_clock(engine);
  return engine;

fail:
  cr_engine_free(engine);
  return NULL;
}

void cr_engine_free(struct cr_engine *engine)
{
  struct cr_sigpipe guard;
  struct cr_slot *slot;

  if(!engine) {
    return;
  }
  if(!is_ours(engine)) {
    /* A fork's copy: its connections belong to the parent, and closing them would end the parent's TLS sessions. */
    cr_poller_close(&engine->poller);
    return;
  }
  enter_curl(engine, &guard);
  while((slot = cr_slots_any(&engine->slots))) {
    if(slot->transfer) {
      cr_transfer_free(take_transfer(engine, slot));
    }
    cr_process_free(slot->process);
    cr_machine_free(slot->machine);
    cr_slots_drop(&engine->slots, slot);
  }
  cr_slots_free(&engine->slots);
  cr_hosts_free(&engine->hosts);
  curl_multi_cleanup(engine->multi);
  cr_transport_close(&engine->transport);
  leave_curl(&guard);
  cr_poller_close(&engine->poller);
  cr_schedule_free(&engine->schedule);
  cr_attempt_log_free(&engine->log);
  free(engine);
}

int cr_engine_submit(struct cr_engine *engine, struct cr_machine *m, int64_t *id, struct cr_error *err)
{
  struct cr_slot *slot;

  if(!is_ours(engine)) {
    cr_fail(err, CR_KIND_INPUT, "OtherProcess", "this client was made before the process forked: make a new one here");
    goto fail;
  }
  slot = cr_schedule_reserve(&engine->schedule, engine->slots.count + 1) < 0 ? NULL : cr_slots_add(&engine->slots, m);
  if(!slot) {
    cr_fail_memory(err);
    goto fail;
  }
  engine->stats.submitted++;
  cr_slot_join(slot, &engine->ready);
  engine->wake = true;
  cr_poller_arm(&engine->poller, 0);
  *id = slot->id;
  return 0;

fail:
  cr_machine_free(m);
  return -1;
}

/* Takes a slot from wherever it is. */
static void uproot(struct cr_engine *engine, struct cr_slot *slot)
{
  cr_schedule_remove(&engine->schedule, &slot->due);
  if(slot->transfer) {
    cr_transfer_free(take_transfer(engine, slot));
    cr_hosts_stand(&engine->hosts, slot);
  } else if(slot->process) {
    cr_children_drop(&engine->children, &engine->poller, slot->process);
    cr_process_free(slot->process);
    slot->process = NULL;
  } else if(slot->host) {
    cr_hosts_unpark(&engine->hosts, slot);
  } else {
    cr_slot_leave(slot);
  }
}

bool cr_engine_cancel(struct cr_engine *engine, int64_t id)
{
  struct cr_slot *slot = cr_slots_find(&engine->slots, id);
  struct cr_sigpipe guard;
  struct cr_machine *m;
  bool ambiguous;

  if(!slot || slot->list == &engine->finished || !is_ours(engine)) {
    return false;
  }
  m = slot->machine;
  /* A request on its way may have arrived; reading ones that use POST are suspected in vain. */
  ambiguous = m->unsure || (slot->transfer && !slot->transfer->request->handshake_only &&
                            strcmp(slot->transfer->request->method, "GET") != 0);
  enter_curl(engine, &guard);
  uproot(engine, slot);
  leave_curl(&guard);
  cr_tree_free(&m->result);
  cr_fail(&m->error, CR_KIND_CANCELLED, "Cancelled", "cancelled");
  m->error.ambiguous = ambiguous;
  memcpy(m->error.operation, m->operation, sizeof m->error.operation);
  finish(engine, slot, true);
  engine->wake = true;
  cr_poller_arm(&engine->poller, 0);
  return true;
}

static size_t running(const struct cr_engine *engine)
{
  return engine->slots.count - engine->finished.count;
}

static void run(struct cr_engine *engine, int64_t until_ms)
{
  serve_sockets(engine, until_ms);
  for(int round = 0; round < ROUNDS; round++) {
    bool progress = serve_timer(engine);
    progress = end_transfers(engine) || progress;
    progress = end_programs(engine) || progress;
    wake_due(engine);
    if(!cr_hosts_full(&engine->hosts)) {
      cr_hosts_call(&engine->hosts, &engine->returning);
    }
    progress = drive_ready(engine) || progress;
    if(!progress) {
      break;
    }
  }
}

static size_t step(struct cr_engine *engine, int64_t until_ms)
{
  struct cr_sigpipe guard;

  if(!is_ours(engine)) {
    return 0;
  }
  engine->wake = false;
  read_clock(engine);
  enter_curl(engine, &guard);
  if(!read_roots(engine, until_ms) || cr_monotonic_ms() < until_ms) {
    run(engine, until_ms);
  }
  leave_curl(&guard);
  /* Machines that were cut off by the number of rounds, not by the lack of a seat. */
  if(engine->ready.count + engine->returning.count && !cr_hosts_full(&engine->hosts)) {
    engine->wake = true;
  }
  cr_poller_arm(&engine->poller, due_in(engine));
  return running(engine);
}

/* A handshake takes a millisecond of CPU, and many may be due at the same time. */
size_t cr_engine_step(struct cr_engine *engine)
{
  return step(engine, cr_monotonic_ms() + STEP_MS);
}

/* Answers of a bulk job come one by one, microseconds apart, and each waking costs more than what it is for. So with
 * several transfers under way the ones that follow within a moment are taken along: a third less CPU
 * for a swap, and a delay nobody notices behind a network. */
static void gather(const struct cr_engine *engine, int64_t timeout_ms)
{
  struct timespec moment = { 0, GATHER_NS };

  if(engine->hosts.taken >= GATHER_FROM && (timeout_ms < 0 || timeout_ms > 1)) {
    nanosleep(&moment, NULL);
  }
}

size_t cr_engine_wait(struct cr_engine *engine, double seconds, int extra_fd)
{
  bool nothing_comes;

  if(!is_ours(engine)) {
    return 0;
  }
  read_clock(engine);
  nothing_comes = !running(engine) && seconds < 0 && extra_fd < 0;
  if(!engine->finished.count && !engine->undecoded.count && !nothing_comes) {
    int64_t timeout = seconds < 0 ? -1 : seconds > 86400 ? 86400000 : (int64_t)(seconds * 1000 + 0.999);
    int64_t due = due_in(engine);
    if(due >= 0 && (timeout < 0 || due < timeout)) {
      timeout = due;
    }
    if(timeout != 0) {
      cr_poller_wait(&engine->poller, timeout, extra_fd);
      gather(engine, timeout);
    }
  }
  return step(engine, INT64_MAX);
}

void cr_engine_recheck(struct cr_engine *engine)
{
  struct cr_due *first;

  if(!is_ours(engine)) {
    return;
  }
  while((first = cr_schedule_first(&engine->schedule))) {
    cr_schedule_remove(&engine->schedule, first);
    cr_slot_join((struct cr_slot *)first, &engine->ready);
  }
  engine->wake = true;
  cr_poller_arm(&engine->poller, 0);
}

bool cr_engine_undecoded(struct cr_engine *engine, int64_t *id, const char **json, size_t *len, struct cr_tree **into)
{
  struct cr_slot *slot = engine->undecoded.first;
  if(!slot) {
    return false;
  }
  *id = slot->id;
  *json = slot->json;
  *len = slot->json_len;
  *into = slot->into;
  return true;
}

void cr_engine_decoded(struct cr_engine *engine, int64_t id, const struct cr_error *failure)
{
  struct cr_slot *slot = cr_slots_find(&engine->slots, id);
  if(!slot || slot->list != &engine->undecoded || !is_ours(engine)) {
    return;
  }
  cr_slot_leave(slot);
  slot->json = NULL;
  read_clock(engine);
  slot->machine->class->decoded(slot->machine, failure);
  drive(engine, slot);
  engine->wake = true;
  cr_poller_arm(&engine->poller, 0);
}

struct cr_machine *cr_engine_take(struct cr_engine *engine, int64_t *id)
{
  struct cr_slot *slot = engine->finished.first;
  struct cr_machine *m;
  if(!slot) {
    return NULL;
  }
  m = slot->machine;
  *id = slot->id;
  cr_slot_leave(slot);
  cr_slots_drop(&engine->slots, slot);
  return m;
}

bool cr_engine_attempt(struct cr_engine *engine, int64_t *id, struct cr_attempt *out)
{
  return cr_attempt_log_take(&engine->log, id, out);
}

int cr_engine_pollfd(const struct cr_engine *engine)
{
  return engine->poller.epoll;
}

double cr_engine_timeout(const struct cr_engine *engine)
{
  int64_t in = due_in(engine);
  return in < 0 ? -1 : (double)in / 1000;
}

void cr_engine_stats(const struct cr_engine *engine, struct cr_engine_stats *out)
{
  *out = engine->stats;
  out->running = running(engine);
  out->waiting_decode = engine->undecoded.count;
  out->waiting_time = engine->schedule.count;
  out->in_transfer = (size_t)engine->hosts.taken;
  out->finished_untaken = engine->finished.count;
}
