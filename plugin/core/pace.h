/* pace.h - how fast one kind of call may be made, found from what the service lets through.
 *
 * AWS publishes no rate for most of its control planes (aws-reference 2.11, 4.5). A pace begins with few calls at a
 * time and lets their number grow while they succeed. Nothing else is limited until the service refuses a call for
 * its rate; from then on calls go one by one at a rate that is estimated between two refusals, when the service's
 * bucket is known to be empty, kept just below it, and raised slowly: a refusal in some thirty calls tells when it is
 * right.
 *
 * Pure: time is an argument, nothing is allocated. Owned by an account, one for the reads and one for the writes of
 * each service, so that updates, which are throttled first, do not slow what only looks. */
#ifndef CR_PACE_H
#define CR_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct cr_pace;

/* A call's place in the queue, or on its way. Embedded in the call; zeroed at first. */
struct cr_pace_place {
  struct cr_pace *pace;                /* NULL: neither waiting nor on its way */
  struct cr_pace_place *next, *previous;
  bool sent, held, again;
  int64_t sent_ms;
  unsigned epoch;                      /* the pace's when it was sent */
};

struct cr_pace {
  double rate;                         /* calls a second; 0: none was found to be too many */
  double next_ms;                      /* monotonic: when the next may go */
  int64_t latency_ms;                  /* of the latest answer */
  int on_way, window;                  /* calls without an answer: now, and at the most */
  int waiting;                         /* calls in the queue */
  struct cr_pace_place *first, *last;  /* who waits; those that go again come first */
  unsigned epoch;                      /* how often the rate was lowered */
  int64_t base_ms;                     /* a time when the bucket was empty, far enough back to be measured from */
  uint64_t since;                      /* calls sent later and let through */
  int64_t empty_ms;                    /* when the latest refused call was sent: it was empty again */
  uint64_t fresh;                      /* calls sent after that and let through */
  int barren;                          /* refusals in a row without such a call */
  bool searching;                      /* the rate is a guess yet */
  int64_t begun_ms;                    /* the first call; -1: none yet */
  uint64_t accepted, refused;          /* in all */
};

enum cr_pace_word { CR_PACE_ACCEPTED, CR_PACE_REFUSED, CR_PACE_UNKNOWN };

void cr_pace_init(struct cr_pace *pace);

/* Whether a call may be sent now. If not, it stands in the queue (asking again keeps its place) and *until_ms says
 * when to ask again: waking early is harmless, late is not. `again`: it was refused before, so it goes before others. */
bool cr_pace_take(struct cr_pace *pace, struct cr_pace_place *place, int64_t now_ms, bool again, int64_t *until_ms);

/* What became of a call that was let go. retry_after_ms: how long the service asked everybody to wait, or 0. */
void cr_pace_tell(struct cr_pace_place *place, int64_t now_ms, enum cr_pace_word word, int64_t retry_after_ms,
                  int64_t latency_ms);

/* The call waits or is on its way no longer: cancelled, too late, gone. Fine at any time. */
void cr_pace_leave(struct cr_pace_place *place);

#endif
