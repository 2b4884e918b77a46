/* engine.h - runs machines over one curl multi handle.
 *
 * One engine per client, one owner, one thread. It owns the multi handle, every transfer and every machine from
 * cr_engine_submit until cr_engine_take. Callbacks run inside libcurl and touch only C memory.
 * One stable descriptor (epoll with curl's sockets, a timerfd and an eventfd) tells a host when cr_engine_step is due. */
#ifndef CR_ENGINE_H
#define CR_ENGINE_H

#include "machine.h"

struct cr_engine_options {
  const char *ca_file;           /* NULL: the system's bundle; read once per engine (roots.h) */
  const char *trust;             /* file of more roots; NULL: none. Read when the engine is made */
  const char *proxy;             /* NULL: none ("" too); the session resolves the environment */
  const char *no_proxy;          /* comma-separated hosts */
  const char *user_agent;        /* NULL: "certrotate/<version>" */
  long max_connections;          /* in all; 0: 64 */
  long max_host_connections;     /* 0: 16 */
  int64_t connect_timeout_ms;    /* 0: 10 000 */
  int64_t total_timeout_ms;      /* of one attempt; 0: 60 000 */
  size_t max_body;               /* of an answer; 0: 32 MiB */
  bool allow_http;               /* plain http endpoints (asked for explicitly by an http:// endpoint) */
  /* Test seam: NULL reads the system's clocks and its random source. */
  void (*clock)(void *user, struct cr_moment *now);
  void *clock_user;
};

struct cr_engine_stats {
  uint64_t submitted, finished, failed, cancelled;
  uint64_t attempts, throttled, retried;
  uint64_t connections;          /* opened */
  uint64_t bytes_received, bytes_sent;
  size_t running;                /* machines not finished */
  size_t waiting_decode, waiting_time, in_transfer, finished_untaken;
};

struct cr_engine;

struct cr_engine *cr_engine_new(const struct cr_engine_options *options, struct cr_error *err);
void cr_engine_free(struct cr_engine *engine);   /* cancels everything; quick, does not wait for a resolver */

/* Takes ownership of m, also on failure. The id (> 0) is unique within the engine. Nothing is sent before the next
 * step. */
int cr_engine_submit(struct cr_engine *engine, struct cr_machine *m, int64_t *id, struct cr_error *err);
/* The machine ends with CANCELLED and is then taken like any other. false: unknown id or finished. */
bool cr_engine_cancel(struct cr_engine *engine, int64_t id);

/* Never blocks, and serves sockets for a few milliseconds at most: what is left keeps the descriptor readable.
 * Returns how many machines are still running (finished ones not counted). */
size_t cr_engine_step(struct cr_engine *engine);
/* Waits up to seconds (< 0: as long as it takes) for something to do or for extra_fd (-1: none) to be readable, then
 * steps. */
size_t cr_engine_wait(struct cr_engine *engine, double seconds, int extra_fd);

/* Asks every machine that waits for a time again: what it waits for may have come otherwise (an account was given
 * credentials). */
void cr_engine_recheck(struct cr_engine *engine);

/* A machine that needs JSON decoded: valid until cr_engine_decoded with the same id. false: none. */
bool cr_engine_undecoded(struct cr_engine *engine, int64_t *id, const char **json, size_t *len, struct cr_tree **into);
void cr_engine_decoded(struct cr_engine *engine, int64_t id, const struct cr_error *failure);

/* A finished machine (its result or error inside); the caller frees it. NULL: none. */
struct cr_machine *cr_engine_take(struct cr_engine *engine, int64_t *id);
/* The attempts made since the last asking, oldest first, at most 1024 kept. false: none. */
bool cr_engine_attempt(struct cr_engine *engine, int64_t *id, struct cr_attempt *out);

int cr_engine_pollfd(const struct cr_engine *engine);
double cr_engine_timeout(const struct cr_engine *engine);   /* seconds until step is due; < 0: nothing scheduled */
void cr_engine_stats(const struct cr_engine *engine, struct cr_engine_stats *out);

#endif
