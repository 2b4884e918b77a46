/* step_private.h - what every step machine shares: driving one child at a time, waiting, ending.
 *
 * Private to step.c and the step_*.c files. A step is written as small functions: each looks at one answer and
 * either starts the next call, waits, or ends the step, naming the function that goes on from there.
 * Exactly one of cr_step_call/cr_step_send/cr_step_run, cr_step_wait, cr_step_done and cr_step_fail* is called on
 * the way out of such a function. The step owns its child, its parameters and everything in them. */
#ifndef CR_STEP_PRIVATE_H
#define CR_STEP_PRIVATE_H

#include "step.h"
#include "viewer_certificate.h"

struct cr_step;

/* Goes on after a child or a wait. answer: the child's result, NULL after a wait or a failure; failure: NULL unless
 * the child failed. Both are gone when the function returns. */
#define CR_STEP_THEN(name) \
  void (*name)(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer, \
               const struct cr_error *failure)

enum cr_step_type { CR_STEP_TEXT, CR_STEP_NUMBER, CR_STEP_BOOL, CR_STEP_TEXTS, CR_STEP_MAP };

struct cr_step_param {
  const char *name;
  enum cr_step_type type;
  bool required;           /* and not empty */
};

struct cr_step_kind {
  const char *name;
  size_t size;                            /* of the whole machine, which begins with struct cr_step */
  bool account;                           /* needs one */
  bool identity;
  const struct cr_step_param *params;     /* ends with name NULL */
  /* Reads the (checked) parameters; 0, or -1 with *err. */
  int (*init)(struct cr_step *step, const struct cr_node *params, struct cr_error *err);
  void (*begin)(struct cr_step *step, const struct cr_moment *now);
  void (*release)(struct cr_step *step);  /* frees what the step added to struct cr_step; NULL: nothing */
};

extern const struct cr_step_kind cr_step_import;
extern const struct cr_step_kind cr_step_reimport;
extern const struct cr_step_kind cr_step_swap;
extern const struct cr_step_kind cr_step_policy;
extern const struct cr_step_kind cr_step_settle;
extern const struct cr_step_kind cr_step_verify;
extern const struct cr_step_kind cr_step_retire;

enum cr_step_state { CR_STEP_NEW, CR_STEP_THINKING, CR_STEP_CALLING, CR_STEP_WAITING, CR_STEP_DONE, CR_STEP_FAILED };

#define CR_STEP_ATTEMPTS 16

struct cr_step {
  struct cr_machine machine;
  const struct cr_step_kind *kind;
  struct cr_account *account;
  struct cr_identity *identity;
  struct cr_tree params;                   /* of the step */
  struct cr_tree call_params;              /* of the next call */
  enum cr_step_state state;
  struct cr_machine *child;
  int64_t until_mono_ms;
  CR_STEP_THEN(then);
  struct cr_attempt attempts[CR_STEP_ATTEMPTS];   /* of finished children, not yet told; the oldest are dropped */
  size_t attempt_first, attempt_count;
};

/* Starts an operation with parameters given as name, value pairs of text, ending with (char *)NULL. */
void cr_step_call(struct cr_step *step, CR_STEP_THEN(then), const char *service, const char *operation, ...);
/* The same with parameters put into cr_step_params first, and a view of the answer. */
struct cr_node *cr_step_params(struct cr_step *step);   /* an empty MAP in step->call_params; NULL: out of memory */
void cr_step_send(struct cr_step *step, CR_STEP_THEN(then), const char *service, const char *operation,
                  const struct cr_xml_view *view, bool with_identity);
/* Any machine as the child; ownership passes. NULL fails the step with *err. */
void cr_step_run(struct cr_step *step, CR_STEP_THEN(then), struct cr_machine *child, const struct cr_error *err);
/* Goes on after `ms` milliseconds. */
void cr_step_wait(struct cr_step *step, const struct cr_moment *now, int64_t ms, CR_STEP_THEN(then));

/* The root of the result: an empty MAP. NULL when out of memory, and then the step has failed. */
struct cr_node *cr_step_result(struct cr_step *step);
/* `complete` false: an addition to the result failed, and so does the step. */
void cr_step_done(struct cr_step *step, bool complete);
/* Takes *err as it is, but names the step as the operation. */
void cr_step_fail(struct cr_step *step, const struct cr_error *err);
void cr_step_fail_memory(struct cr_step *step);
/* The failure of a call becomes the step's: its kind, code, status and request id stay, the message says about what
 * (a holder's id; NULL: nothing to add) and in which operation. */
void cr_step_fail_cause(struct cr_step *step, const struct cr_error *failure, const char *about);

/* Seconds of a parameter in milliseconds, within sane bounds. */
int64_t cr_step_ms(const struct cr_node *params, const char *name, double fallback_seconds);
/* first, 2 first, 4 first, ... most. round counts from 0. */
int64_t cr_step_backoff(int round, int64_t first_ms, int64_t most_ms);
/* Compares codes with or without the "Exception" that IAM leaves away and ACM does not. */
bool cr_step_code(const struct cr_error *failure, const char *code);

/* What a ViewerCertificate node names: the ARN, the IAM id, or "" for the default certificate. */
const char *cr_step_reference(const struct cr_node *viewer_certificate);
/* Whether any of its fields, deprecated twins included, names it. */
bool cr_step_mentions(const struct cr_node *viewer_certificate, const char *reference);

#endif
