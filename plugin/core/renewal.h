/* renewal.h - when the credentials of an account must be replaced, and what became of it. Pure.
 *
 * It is the core's business because steps compose calls for many minutes: a call about to be signed asks here. Whoever
 * owns the account brings new credentials (cr_account_renewed) or says why there are none (cr_account_not_renewed);
 * from the first asking until then it is not asked again, however many calls wait. */
#ifndef CR_RENEWAL_H
#define CR_RENEWAL_H

#include "base.h"

struct cr_renewal {
  bool possible;                 /* false: the credentials are what they are, nobody is asked for others */
  enum { CR_RENEWAL_IDLE, CR_RENEWAL_WANTED, CR_RENEWAL_RUNNING } state;
  /* Unix seconds by AWS's clock, 0: never. From `advised_at` new ones are asked for while calls go on; from
   * `needed_at` calls wait for them. */
  int64_t advised_at, needed_at;
  bool rejected;                 /* AWS refused the present ones as expired or unknown */
  uint64_t given, failed;        /* how many times; a call remembers what it was signed with and what it waited for */
  struct cr_error failure;       /* the latest */
};

/* Whether requests may be signed at that time. `missing`: there are no credentials at all. */
bool cr_renewal_usable(const struct cr_renewal *renewal, bool missing, int64_t now);
/* The same, and asks for new ones where it is time. */
bool cr_renewal_check(struct cr_renewal *renewal, bool missing, int64_t now);
/* Asks for them now, whatever the time; nothing happens while they are being brought. */
void cr_renewal_ask(struct cr_renewal *renewal);
/* A request that was signed with the `given`-th ones was refused for them. */
void cr_renewal_reject(struct cr_renewal *renewal, uint64_t given);
/* True once for each asking: the owner begins to bring new ones. */
bool cr_renewal_begin(struct cr_renewal *renewal);
void cr_renewal_done(struct cr_renewal *renewal, int64_t advised_at, int64_t needed_at);
/* retry_at: when to try again where the present ones still serve. */
void cr_renewal_failed(struct cr_renewal *renewal, const struct cr_error *failure, int64_t retry_at);

#endif
