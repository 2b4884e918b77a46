/* pace.c - the estimate and the queue (see pace.h). Owns no memory: the queue is made of its callers' places.
 *
 * The estimate: at a refusal the service's bucket holds less than one token. If A calls were let through between two
 * refusals that are T seconds apart, its rate is A / T, give or take one call. */
#include "pace.h"

#include <string.h>

#define WINDOW 1     /* calls at a time before anything is known: what a first refusal can cost */
#define GROW_EVERY 4 /* calls let through for one more at a time */
#define WINDOW_MAX 256
#define RATE_MIN 0.02 /* a call in 50 s */
#define RATE_MAX 10000.0
#define BURST_MS 1000   /* a bucket holds about what comes in in a second, as AWS's do */
#define CREDIT_MS 500.0 /* late wakers catch up within what a bucket holds, which is little at slow rates */
#define FIRST_GUESS 0.90
#define BELOW 0.95     /* an estimate that rests on many calls; */
#define BELOW_FEW 0.92 /* on few: one call more or less is a large part of it */
#define FEW 10
#define FEW_AT_FIRST 4
#define BARREN_FIRST 0.10 /* the guess was refused at its first call: far too fast */
#define BARREN_MORE 0.25
#define LOWER_MOST 0.70 /* whatever an estimate says */
#define LOWER_BARREN 0.50
#define GROW_SEARCHING 0.25
#define GROW_GUESSED 0.02
#define GROW 0.004
#define REFUSED_SHARE 0.035 /* of all calls: only below it a rate known to be too much is tried again */
#define LOOK_AHEAD 64       /* of the queue: further back nobody's turn is computed */
#define LOOK_AHEAD_SEARCHING 3

void cr_pace_init(struct cr_pace *pace)
{
  memset(pace, 0, sizeof *pace);
  pace->window = WINDOW;
  pace->begun_ms = -1;
}

/* --- the queue */

static void unlink_place(struct cr_pace_place *place)
{
  struct cr_pace *pace = place->pace;
  *(place->previous ? &place->previous->next : &pace->first) = place->next;
  *(place->next ? &place->next->previous : &pace->last) = place->previous;
  place->next = place->previous = NULL;
  pace->waiting--;
}

/* Behind everybody, or behind the others that go again. */
static void link_place(struct cr_pace *pace, struct cr_pace_place *place)
{
  struct cr_pace_place *before = pace->last;
  if(place->again) {
    for(before = NULL; (before ? before->next : pace->first) && (before ? before->next : pace->first)->again;) {
      before = before ? before->next : pace->first;
    }
  }
  pace->waiting++;
  place->pace = pace;
  place->held = true;
  place->previous = before;
  place->next = before ? before->next : pace->first;
  *(before ? &before->next : &pace->first) = place;
  *(place->next ? &place->next->previous : &pace->last) = place;
}

/* How many wait before it. */
static int turn_of(const struct cr_pace *pace, const struct cr_pace_place *place)
{
  int turn = 0;
  for(const struct cr_pace_place *at = pace->first; at && at != place && turn < LOOK_AHEAD; at = at->next) {
    turn++;
  }
  return turn;
}

static double spacing_ms(const struct cr_pace *pace)
{
  return pace->rate > 0 ? 1000.0 / pace->rate : 0;
}

static int64_t clamp_ms(int64_t value, int64_t least, int64_t most)
{
  return value < least ? least : value > most ? most : value;
}

/* The head wakes when it may go; those behind it ask once more before their turn, since the rate may have changed. */
static int64_t wake_at(const struct cr_pace *pace, const struct cr_pace_place *place, int64_t now_ms)
{
  int turn = turn_of(pace, place);
  double due = pace->next_ms > (double)now_ms ? pace->next_ms : (double)now_ms, ahead;

  if(pace->on_way >= pace->window) {
    /* Somebody's answer is awaited, and answers wake nobody. */
    int64_t look = now_ms + clamp_ms(pace->latency_ms / 4, 5, 100);
    return due > (double)look ? (int64_t)due + 1 : look;
  }
  if(pace->searching && turn > LOOK_AHEAD_SEARCHING) {
    turn = LOOK_AHEAD_SEARCHING; /* the rate may be a multiple by then */
  }
  ahead = due + turn * spacing_ms(pace) - (double)now_ms;
  if(turn > 0) {
    ahead *= 0.75;
  }
  return now_ms + clamp_ms((int64_t)ahead + 1, 1, 60000);
}

static void go(struct cr_pace *pace, struct cr_pace_place *place, int64_t now_ms)
{
  if(pace->begun_ms < 0) {
    pace->begun_ms = now_ms;
  }
  if(pace->rate > 0) {
    double step = spacing_ms(pace), credit = step < CREDIT_MS ? CREDIT_MS - step : 0,
           late = (double)now_ms - pace->next_ms;
    place->held = place->held && late <= 2 * step;
    pace->next_ms = (late > credit ? (double)now_ms - credit : pace->next_ms) + step;
  }
  place->pace = pace;
  place->sent = true;
  place->sent_ms = now_ms;
  place->epoch = pace->epoch;
  pace->on_way++;
}

bool cr_pace_take(struct cr_pace *pace, struct cr_pace_place *place, int64_t now_ms, bool again, int64_t *until_ms)
{
  bool waits = place->pace != NULL;

  if(place->sent) {
    return true;
  }
  if((waits ? pace->first == place : !pace->first) && pace->on_way < pace->window && pace->next_ms <= (double)now_ms) {
    if(waits) {
      unlink_place(place);
    }
    go(pace, place, now_ms);
    return true;
  }
  if(!waits) {
    place->again = again;
    link_place(pace, place);
  }
  *until_ms = wake_at(pace, place, now_ms);
  return false;
}

/* --- the estimate */

static double between(double value, double least, double most)
{
  return value < least ? least : value > most ? most : value;
}

/* The first refusal: of the calls so far most came out of a full bucket. */
static double first_guess(const struct cr_pace *pace, int64_t now_ms)
{
  double seconds = (double)clamp_ms(now_ms - pace->begun_ms, BURST_MS, INT64_MAX) / 1000.0;
  return FIRST_GUESS * (double)(pace->accepted ? pace->accepted : 1) / seconds;
}

/* Not even one went through since the latest refusal: in all this time no token came. */
static double barren_rate(struct cr_pace *pace, double seconds)
{
  double rate = pace->rate, part = LOWER_BARREN;

  if(pace->searching) {
    part = pace->barren ? BARREN_MORE : BARREN_FIRST;
  } else if(pace->barren) {
    pace->searching = true;
    part = BARREN_MORE;
  }
  pace->barren++;
  return pace->searching ? rate * part : between(BELOW_FEW / seconds, rate * part, rate * BELOW);
}

static double lowered_rate(struct cr_pace *pace, int64_t sent_ms, int64_t now_ms)
{
  double rate = pace->rate, estimate;

  if(rate <= 0) {
    /* A single call says nothing of a bucket's depth; several were one. */
    pace->searching = pace->accepted < FEW_AT_FIRST;
    return first_guess(pace, now_ms);
  }
  if(pace->fresh == 0) {
    return barren_rate(pace, (double)clamp_ms(sent_ms - pace->empty_ms, 1, INT64_MAX) / 1000.0);
  }
  if(pace->searching) {
    pace->searching = false;
    pace->since = 0;
    pace->base_ms = sent_ms; /* it was growing: the time before is no measure of what it had come to */
    return rate / (1 + GROW_SEARCHING);
  }
  estimate = ((double)pace->since + 1) * 1000.0 / (double)clamp_ms(sent_ms - pace->base_ms, 1, INT64_MAX);
  return between(estimate * (pace->since < FEW ? BELOW_FEW : BELOW), rate * LOWER_MOST, rate * BELOW);
}

static void lower(struct cr_pace *pace, int64_t sent_ms, int64_t now_ms)
{
  pace->rate = between(lowered_rate(pace, sent_ms, now_ms), RATE_MIN, RATE_MAX);
  pace->epoch++;
  pace->next_ms = (double)now_ms + spacing_ms(pace);
}

/* So slowly that a whole round of calls on their way does not overshoot; and a rate that was estimated is held until
 * one more refusal is a small share of all calls. */
static void raise_rate(struct cr_pace *pace)
{
  double part = GROW / (1 + pace->on_way / 8.0);
  if(pace->searching) {
    part = GROW_SEARCHING / (1 + pace->on_way / 4.0);
  } else if(pace->epoch == 1) {
    part = GROW_GUESSED / (1 + pace->on_way / 8.0);
  } else if((double)pace->refused + 1 > REFUSED_SHARE * (double)(pace->accepted + pace->refused)) {
    return;
  }
  pace->rate = between(pace->rate * (1 + part), 0, RATE_MAX);
}

static void accepted(struct cr_pace *pace, const struct cr_pace_place *place)
{
  pace->accepted++;
  if(pace->window < WINDOW_MAX && pace->accepted % GROW_EVERY == 0) {
    pace->window++;
  }
  if(pace->rate <= 0) {
    return;
  }
  if(place->sent_ms > pace->base_ms) {
    pace->since++;
  }
  if(place->sent_ms > pace->empty_ms) {
    pace->fresh++;
    pace->barren = 0;
  }
  /* A rate that was not used up is no proof that more would do. */
  if(place->held && place->epoch == pace->epoch) {
    raise_rate(pace);
  }
}

static void refused(struct cr_pace *pace, const struct cr_pace_place *place, int64_t now_ms)
{
  pace->refused++;
  /* Those that were on their way already when the rate was lowered say only that the bucket was still empty. */
  if(place->epoch == pace->epoch) {
    lower(pace, place->sent_ms, now_ms);
  }
  if(place->sent_ms < pace->empty_ms) {
    return;
  }
  pace->empty_ms = place->sent_ms;
  pace->fresh = 0;
  if(pace->since >= FEW || pace->refused == 1) {
    pace->base_ms = place->sent_ms;
    pace->since = 0;
  }
}

void cr_pace_tell(struct cr_pace_place *place, int64_t now_ms, enum cr_pace_word word, int64_t retry_after_ms,
                  int64_t latency_ms)
{
  struct cr_pace *pace = place->pace;

  if(!pace || !place->sent) {
    return;
  }
  pace->latency_ms = latency_ms;
  if(word == CR_PACE_ACCEPTED) {
    accepted(pace, place);
  } else if(word == CR_PACE_REFUSED) {
    refused(pace, place, now_ms);
  }
  if(retry_after_ms > 0 && pace->next_ms < (double)(now_ms + retry_after_ms)) {
    pace->next_ms = (double)(now_ms + retry_after_ms);
  }
  cr_pace_leave(place);
}

void cr_pace_leave(struct cr_pace_place *place)
{
  struct cr_pace *pace = place->pace;

  if(pace && place->sent) {
    pace->on_way--;
  } else if(pace) {
    unlink_place(place);
  }
  memset(place, 0, sizeof *place);
}
