/* machine.h - the one idea that holds the upper floors of the core together.
 *
 * A machine says what it needs next and is told what came of it. It does no I/O,
 * reads no clock, knows no Lua: scripts can drive it in a test. A call (call.h) and a
 * step (step.h) are machines; a step drives calls as its children. The engine runs
 * machines: it sends what they need, waits as long as they ask, feeds them the answer.
 *
 * Protocol, from whoever drives (engine, parent machine, test):
 *   need = m->class->next(m, now, &want)
 *     CR_NEED_SEND    do want.request, then m->class->answered(m, now, &answer), then next. Asking again before
 *                     `answered` is harmless and makes the request anew: a request that had to queue is signed late
 *     CR_NEED_RUN     run want.program, then m->class->ran(m, now, &outcome), then next
 *     CR_NEED_DECODE  parse want.json into want.into, then m->class->decoded(m, &err or NULL), then next
 *     CR_NEED_WAIT    not before want.until_mono_ms (or earlier: asking again is harmless), then next
 *     CR_NEED_DONE    m->result is filled
 *     CR_NEED_FAILED  m->error is filled
 * DONE and FAILED are final; `next` then answers the same again. */
#ifndef CR_MACHINE_H
#define CR_MACHINE_H

#include "buffer.h"
#include "node.h"
#include "sigv4.h"

enum cr_need { CR_NEED_SEND, CR_NEED_RUN, CR_NEED_DECODE, CR_NEED_WAIT, CR_NEED_DONE, CR_NEED_FAILED };

/* Bytes of a 2xx body can be taken as they arrive (called inside libcurl: own memory only, no machine calls). */
struct cr_sink {
  int (*write)(void *user, const char *data, size_t len);  /* -1 aborts the transfer */
  void *user;
};

/* One HTTP request, owned by the machine that wants it and valid until `answered` or destruction. */
struct cr_request {
  const char *method;
  const char *url;
  const struct cr_header *headers;
  size_t header_count;
  const char *body; size_t body_len;
  const struct cr_sink *sink;       /* NULL: collect the body */
  size_t max_body;                  /* of the answer; 0: the engine's own limit */
  int64_t total_timeout_ms;         /* 0: the engine's own */
  int64_t connect_timeout_ms;       /* 0: the engine's own */
  int64_t within_ms;                /* what is left of a deadline: caps both timeouts; 0: no deadline */
  bool once;                        /* on a connection of its own: libcurl silently repeats a request whose reused
                                     * connection dies, and this one must not be carried out twice */
  bool no_proxy;                    /* link-local metadata addresses */
  /* A probe: TLS handshake only. connect_to is "host:port" actually dialled; server name and
   * verification come from url. The chain served is returned, whether or not it verifies. */
  bool handshake_only;
  const char *connect_to;
};

/* What a transfer came to. */
enum cr_sent {
  CR_SENT_ANSWERED,    /* a whole answer is here */
  CR_SENT_NOTHING,     /* failed before any byte of the request could have reached the service */
  CR_SENT_UNKNOWN      /* failed afterwards: the service may have carried it out */
};

#define CR_ANSWER_MAX_HEADERS 64

struct cr_answer {
  enum cr_sent sent;
  struct cr_error error;             /* when not ANSWERED: kind TRANSPORT or TIMEOUT, code CURLE_... */
  int status;
  struct cr_buf body;                /* machine may cr_buf_move it away; empty when a sink took it */
  struct cr_buf header_text;         /* "name: value\n" lines of the final answer, names lower-case */
  struct cr_buf certificates;        /* handshake_only: PEM, leaf first */
  long verify_result;                /* handshake_only: X509_V_OK (0) when chain and name verify */
  char verify_message[128];
  char peer[64];                     /* address connected to */
  int64_t elapsed_ms;
};

void cr_answer_init(struct cr_answer *answer);
void cr_answer_free(struct cr_answer *answer);
/* Value of a header (first of its name) copied to out; false when absent. Name in lower case. */
bool cr_answer_header(const struct cr_answer *answer, const char *name, char *out, size_t size);

/* A program to run (process.h), owned by the machine that wants it until `ran` or destruction. */
struct cr_program {
  char *const *arguments;            /* the program first; ends with NULL */
  int64_t timeout_ms;                /* 0: a minute; it is killed then */
  size_t max_output;                 /* 0: 64 KiB; it is killed beyond */
  bool without_pidfd;                /* test seam: a kernel before 5.3 */
};

struct cr_outcome {
  struct cr_error error;             /* not started, killed by us, no memory; else kind NONE */
  struct cr_buf output, errors;      /* of errors the beginning */
  int status;                        /* exit code; -1: ended by a signal, or nobody knows */
  int signal;                        /* 0: none */
};

void cr_outcome_init(struct cr_outcome *outcome, size_t max_output, size_t max_errors);
void cr_outcome_free(struct cr_outcome *outcome);   /* wipes */

struct cr_want {
  const struct cr_request *request;      /* SEND */
  const struct cr_program *program;      /* RUN */
  const char *json; size_t json_len;     /* DECODE */
  struct cr_tree *into;                  /* DECODE */
  int64_t until_mono_ms;                 /* WAIT */
};

struct cr_machine;
struct cr_attempt;

struct cr_machine_class {
  const char *name;
  enum cr_need (*next)(struct cr_machine *m, const struct cr_moment *now, struct cr_want *want);
  void (*answered)(struct cr_machine *m, const struct cr_moment *now, struct cr_answer *answer);
  void (*decoded)(struct cr_machine *m, const struct cr_error *failure);
  void (*destroy)(struct cr_machine *m);   /* wipes and frees m itself */
  /* What cr_machine_attempt asks (call.h): the next attempt not yet told. NULL: the machine makes none. */
  bool (*attempt)(struct cr_machine *m, struct cr_attempt *out);
  /* NULL: never needs RUN. */
  void (*ran)(struct cr_machine *m, const struct cr_moment *now, struct cr_outcome *outcome);
};

/* Every machine begins with this. */
struct cr_machine {
  const struct cr_machine_class *class;
  struct cr_tree result;                 /* root may be NULL: no result beyond success */
  struct cr_error error;
  char operation[64];                    /* for errors and traces: "acm:ImportCertificate", "step:swap" */
  bool unsure;                           /* a write of it may have been carried out, and it has not found out yet:
                                          * whoever ends it now says so (error.ambiguous) */
};

void cr_machine_free(struct cr_machine *m);   /* NULL is fine */

/* One attempt of a call, for traces and counters; never carries headers or bodies. */
struct cr_attempt {
  char operation[64];
  int attempt;
  int status;
  char code[64];
  char request_id[128];
  int64_t elapsed_ms;
  bool throttled;
};

#endif
