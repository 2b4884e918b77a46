/* step_retire.h - what the retire step gathers before anything is deleted; private to step_retire*.c.
 *
 * step_retire.c        finding the certificate, deciding, deleting
 * step_retire_facts.c  who still uses it: distributions, the changed ones, tenants */
#ifndef CR_STEP_RETIRE_H
#define CR_STEP_RETIRE_H

#include "step_private.h"

enum cr_fact_id {
  CR_FACT_NO_DISTRIBUTION,   /* complete fresh listing: none names it */
  CR_FACT_NO_TENANT,
  CR_FACT_NOT_IN_USE,        /* what the store itself says */
  CR_FACT_DEPLOYED,          /* every changed holder */
  CR_FACT_IMPORTED,          /* AWS renews its own */
  CR_FACT_KEEP_TIME,
  CR_FACT_COUNT
};

struct cr_fact {
  enum { CR_FACT_UNKNOWN, CR_FACT_HOLDS, CR_FACT_FAILS } state;
  bool may_pass;             /* fails, but perhaps only because a listing lags behind our own changes */
  bool retryable;            /* unknown, but asking again later may help */
  char evidence[400];
};

/* One distribution of the listing. */
struct cr_listed {
  char *id;                  /* owned */
  bool names;                /* the certificate */
};

struct cr_retire {
  struct cr_step step;
  const char *reference;     /* in step.params */
  enum cr_store store;
  const struct cr_node *changed;   /* LIST of ids, or NULL */
  double keep_until;
  bool dry_run;
  int64_t patience_ms, patience_until;   /* monotonic; 0: not begun */
  int waits, lost;
  bool unsure;               /* a delete whose answer was lost */
  struct cr_fact facts[CR_FACT_COUNT];
  char *marker;              /* of the page asked for */
  size_t pages;
  /* IAM */
  char name[129];
  /* the listing */
  struct cr_listed *listed;
  size_t listed_count, listed_capacity;
  /* the changed ones */
  const struct cr_node *next_changed;
  size_t changed_count, pending, naming;
  char first_pending[64], first_naming[64];
};

struct cr_retire *cr_retire_of(struct cr_step *step);

/* Gathers everything but the store's own facts, then goes on with cr_retire_decide. */
void cr_retire_gather(struct cr_retire *retire, const struct cr_moment *now);
void cr_retire_decide(struct cr_retire *retire, const struct cr_moment *now);

void cr_retire_fact(struct cr_retire *retire, enum cr_fact_id id, bool holds, const char *format, ...) CR_PRINTF(4, 5);
/* What cannot be found out does not hold. */
void cr_retire_unknown(struct cr_retire *retire, enum cr_fact_id id, const struct cr_error *failure);
void cr_retire_unclear(struct cr_retire *retire, enum cr_fact_id id, const char *why);

/* Keeps the marker of the next page. 1: there is one; 0: this was the last; -1: the listing does not end as a
 * listing should; -2: out of memory. */
int cr_retire_next_page(struct cr_retire *retire, bool truncated, const char *marker);
void cr_retire_forget_listing(struct cr_retire *retire);

#endif
