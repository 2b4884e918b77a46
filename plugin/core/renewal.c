/* renewal.c - the states of replacing credentials (see renewal.h). Owns no memory. */
#include "renewal.h"

static bool past(int64_t at, int64_t now)
{
  return at > 0 && now >= at;
}

void cr_renewal_ask(struct cr_renewal *renewal)
{
  if(renewal->possible && renewal->state == CR_RENEWAL_IDLE) {
    renewal->state = CR_RENEWAL_WANTED;
  }
}

bool cr_renewal_usable(const struct cr_renewal *renewal, bool missing, int64_t now)
{
  return !renewal->possible || !(missing || renewal->rejected || past(renewal->needed_at, now));
}

bool cr_renewal_check(struct cr_renewal *renewal, bool missing, int64_t now)
{
  bool usable = cr_renewal_usable(renewal, missing, now);

  if(!usable || past(renewal->advised_at, now)) {
    cr_renewal_ask(renewal);
  }
  return usable;
}

void cr_renewal_reject(struct cr_renewal *renewal, uint64_t given)
{
  if(renewal->possible && renewal->given == given) {
    renewal->rejected = true;
  }
}

bool cr_renewal_begin(struct cr_renewal *renewal)
{
  if(renewal->state != CR_RENEWAL_WANTED) {
    return false;
  }
  renewal->state = CR_RENEWAL_RUNNING;
  return true;
}

void cr_renewal_done(struct cr_renewal *renewal, int64_t advised_at, int64_t needed_at)
{
  renewal->state = CR_RENEWAL_IDLE;
  renewal->advised_at = advised_at;
  renewal->needed_at = needed_at;
  renewal->rejected = false;
  renewal->given++;
}

void cr_renewal_failed(struct cr_renewal *renewal, const struct cr_error *failure, int64_t retry_at)
{
  renewal->state = CR_RENEWAL_IDLE;
  renewal->failure = *failure;
  renewal->failed++;
  if(renewal->advised_at > 0 && retry_at > renewal->advised_at) {
    renewal->advised_at = retry_at;
  }
}
