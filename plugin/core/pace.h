/* pace.h - how fast one kind of call may be made, found from what the service lets through.
 *
 * AWS publishes no rate for most of its control planes (aws-reference 2.11, 4.5). A pace begins with few calls at a
 * time and lets their number grow while they succeed. Nothing else is limited until the service refuses a call for
 * its rate. From then on a call goes as soon as the chance that it is refused is small enough. For that chance some
 * rates that the service may have are followed as candidates, each with a bucket of its own and a weight, which is how
 * likely it is after all answers so far. How much is small enough depends on how many were refused already: at first
 * it is risked to find the rate with few calls, later to be refused is rare, and one in some thirty tells whether the
 * rate has grown. Refusals that have nothing to do with the rate fit no candidate, so they slow down little.
 *
 * Pure: time is an argument, nothing is allocated. Owned by an account, one for the reads and one for the writes of
 * each service, so that updates, which are throttled first, do not slow what only looks. */
#ifndef CR_PACE_H
#define CR_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct cr_pace;

#define CR_PACE_RATES 400
#define CR_PACE_DEPTHS 3

/* A call's place in the queue, or on its way. Embedded in the call; zeroed at first. */
struct cr_pace_place {
  struct cr_pace *pace;                /* NULL: neither waiting nor on its way */
  struct cr_pace_place *next, *previous;
  bool sent, held, again;
  int64_t sent_ms;
  uint64_t number;                     /* of the call among those sent */
  unsigned char chance[CR_PACE_RATES][CR_PACE_DEPTHS]; /* what each candidate expected; 255: a yes */
};

struct cr_pace {
  double rate;                         /* calls a second, as likely less as more; 0: none was refused */
  double next_ms;                      /* monotonic: no other goes before, to keep a distance, */
  double due_ms, step_ms;              /* nor before this, so that it is let through; and how much later the next one */
  double latency_ms;                   /* of the answers, smoothed, */
  double spread_ms;                    /* and how much they differ */
  int on_way, window;                  /* calls without an answer: now, and at the most until one is refused */
  int waiting;                         /* calls in the queue */
  struct cr_pace_place *first, *last;  /* who waits; those that go again come first */
  double at_ms;                        /* when the latest call was sent: the time of `tokens`; -1: none yet */
  uint64_t news;                       /* how many were sent when the latest refusal of a call sent after the one
                                          before was known */
  float weight[CR_PACE_RATES][CR_PACE_DEPTHS];         /* of each candidate, the slowest first; together 1 */
  float tokens[CR_PACE_RATES][CR_PACE_DEPTHS];         /* in its bucket */
  double blamed;                       /* refusals that were for the rate, as far as can be told */
  int in_row;                          /* refusals with no call let through in between */
  uint64_t let_through;                /* since the first refusal */
  uint64_t sent, accepted, refused;    /* in all */
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
