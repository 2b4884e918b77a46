/* pace.c - the estimate and the queue (see pace.h). Owns no memory: the queue is made of its callers' places.
 *
 * The estimate is Bayes' rule over candidates. Each candidate says: the service's bucket fills at this rate and holds a
 * second's worth, at least one call; or twice that; or it was found all but empty, since others call too. So each can
 * tell what a call sent now has to expect, and an answer moves weight to those that expected it. What a refusal or the
 * lack of one is worth needs no further rules: a call let through late after the last one refutes the slower rates only,
 * a refusal the faster ones, and a refusal that no likely rate explains is taken for one that has nothing to do with the
 * rate. */
#include "pace.h"

#include <string.h>

#define RATES CR_PACE_RATES
#define DEPTHS CR_PACE_DEPTHS
#define SLOWEST 0.02 /* a call in 50 s; each rate is faster than the one before by ... */
#define STEP 1.025   /* ... this, so the last one lets some 390 calls a second through */
#define LIKELY 0.1   /* a few calls a minute are the slowest that were seen of AWS: less is less likely beforehand */

#define OTHER_DEPTH 0.1 /* a second's worth, and full, is the usual */
#define DOUBT 0.05       /* so much of it stands against what was let through before the first refusal */
#define NOTHING 0.0001 /* a candidate so unlikely is not waited for */

/* Before the first refusal: calls at a time. */
#define WINDOW 1
#define GROW_EVERY 4 /* calls let through for one more */
#define WINDOW_MAX 256

/* How far off a candidate's count of tokens may be. */
#define OFF 0.014    /* always: milliseconds, and rates that lie between two candidates */
#define OFF_DEEP 0.045 /* a token of a deep bucket: nothing sets the count right until it is empty or full */
#define OFF_SPREAD 0.5 /* of the calls that fit in by how much the answers' times differ */
#define OFF_ON_WAY 0.2 /* of the calls on their way at a time, whose order is not known */
#define SURE 2.2     /* so many times that far off is as good as certain */

/* What happens although it should not. */
#define STRAY_ACCEPTED 0.03
#define STRAY_REFUSED 0.01 /* at least; what was seen of it counts when it is more, */
#define STRAY_REFUSED_MOST 0.1
#define STRAY_IN_ROW 0.3 /* and once a service is known a second refusal in a row says less than the first */
#define KNOWN_AFTER 8    /* calls let through */
/* Refused although it was sent before the latest refusal was known: the same news again, less so once a service is
 * known; and much of it was not to be avoided. */
#define STALE_FIRST 0.9
#define STALE 0.5
#define STALE_BLAME 0.3

/* Rates change: weight that wanders to any candidate with each answer, and to the next faster one with each call that
 * had to wait and was let through, as long as few were refused. */
#define WANDER 0.0002
#define RISE 0.05
#define RISE_SHARE 0.03

/* What may be refused: three calls or this share, and the chance of it that is taken while two, one, none are left. */
#define REFUSED_FREE 3.0
#define REFUSED_SHARE 0.04
#define RISK_TWO 0.5
#define RISK_ONE 0.25
#define RISK_NONE 0.15
#define RISK_STRAY 6.0 /* times the share refused anyhow: then a risk of that size is nothing */
#define CAREFUL 2.0 /* but no slower than the median by more than this */
#define RISK_ON_WAY 4.0 /* a rate that is too fast costs all calls that are on their way by the time it is known */

/* After a rest a bucket may be less full than a second's worth: calls go no closer together than this. */
#define CLOSER 0.85
#define CREDIT_MS 300.0 /* late wakers catch up as much */

#define LOOK_AHEAD 64 /* of the queue: further back nobody's turn is computed */
#define LOOK_MS 1000  /* while an answer is awaited, which may change what is known */

static double least(double a, double b)
{
  return a < b ? a : b;
}

static double most(double a, double b)
{
  return a > b ? a : b;
}

enum { USUAL, TWICE, EMPTY }; /* depths: what comes in in a second, twice that, and the first again, but empty at first */

/* What a bucket holds; never less than one. */
static double depth_of(int depth, double rate)
{
  return (depth == TWICE ? 2 : 1) * most(1, rate);
}

/* How far off, in tokens, this candidate's count may be. */
static double off_by(const struct cr_pace *pace, int depth, double rate)
{
  double on_way = rate * pace->latency_ms / 1000;
  return OFF + OFF_DEEP * (depth_of(depth, rate) - 1) + OFF_SPREAD * rate * (pace->spread_ms + 2) / 1000 +
         OFF_ON_WAY * on_way * on_way / (1 + on_way);
}

static void scale(struct cr_pace *pace, double by)
{
  for(int i = 0; i < RATES; i++) {
    for(int depth = 0; depth < DEPTHS; depth++) {
      pace->weight[i][depth] *= (float)by;
    }
  }
}

static double weight_of(const struct cr_pace *pace, int i)
{
  double sum = 0;
  for(int depth = 0; depth < DEPTHS; depth++) {
    sum += pace->weight[i][depth];
  }
  return sum;
}

void cr_pace_init(struct cr_pace *pace)
{
  double rate = SLOWEST, sum = 0;

  memset(pace, 0, sizeof *pace);
  pace->window = WINDOW;
  pace->at_ms = -1;
  for(int i = 0; i < RATES; i++, rate *= STEP) {
    for(int depth = 0; depth < DEPTHS; depth++) {
      double likely = least(1, rate / LIKELY);
      pace->weight[i][depth] = (float)(likely * likely * (depth ? OTHER_DEPTH : 1));
      pace->tokens[i][depth] = (float)(depth == EMPTY ? 1 : 2 * depth_of(depth, rate)); /* full, and surely */
      sum += pace->weight[i][depth];
    }
  }
  scale(pace, 1 / sum);
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

static int64_t clamp_ms(int64_t value, int64_t low, int64_t high)
{
  return value < low ? low : value > high ? high : value;
}

/* --- when the next may go */

/* Refusals that had nothing to do with the rate, for all that is known. */
static double stray(const struct cr_pace *pace)
{
  return most(0, (double)pace->refused - pace->blamed);
}

/* How likely a refusal may be. */
static double risk(const struct cr_pace *pace)
{
  double calls = (double)(pace->accepted + pace->refused);
  double left = most(REFUSED_FREE, REFUSED_SHARE * calls) - pace->blamed;
  double part = left >= 1.8 ? RISK_TWO : left >= 0.8 ? RISK_ONE : RISK_NONE;
  return least(RISK_TWO, most(part, RISK_NONE + RISK_STRAY * most(0, stray(pace) - 0.5) / (calls + 20)));
}

/* When the weight of the candidates that would refuse it has become small enough; and the rate of the slowest of the
 * others, at which calls go on from there. */
static void aim(struct cr_pace *pace)
{
  double rate = SLOWEST, refuse = 0, wait = 0, part = risk(pace), slowest = 0;

  for(int i = 0; i < RATES; i++, rate *= STEP) {
    refuse += weight_of(pace, i);
    if(slowest <= 0 && i < RATES - 1 && (rate * CAREFUL < pace->rate ||
       refuse <= part / (1 + RISK_ON_WAY * rate * pace->latency_ms / 1000))) {
      continue;
    }
    slowest = slowest > 0 ? slowest : rate;
    for(int depth = 0; depth < DEPTHS; depth++) {
      if(pace->weight[i][depth] > NOTHING) {
        wait = most(wait, (1 + SURE * off_by(pace, depth, rate) - pace->tokens[i][depth]) * 1000 / rate);
      }
    }
  }
  pace->due_ms = pace->at_ms + wait;
  pace->step_ms = 1000 / slowest;
}

/* The head wakes when it may go; those behind it ask once more before their turn, since the rate may have changed. */
static int64_t wake_at(const struct cr_pace *pace, const struct cr_pace_place *place, int64_t now_ms)
{
  int turn = turn_of(pace, place);
  double wait;

  if(pace->rate <= 0) {
    /* Somebody's answer is awaited, and answers wake nobody. */
    wait = most(pace->next_ms - (double)now_ms, pace->on_way < pace->window ? 0 :
                (double)clamp_ms((int64_t)pace->latency_ms / 4, 5, 100));
  } else {
    wait = most(most(pace->due_ms, pace->next_ms) - (double)now_ms, 0) + turn * pace->step_ms;
    wait = turn > 0 ? wait / 2 : wait;
    wait = pace->on_way > 0 ? least(wait, LOOK_MS) : wait;
  }
  return now_ms + clamp_ms((int64_t)least(wait, 60000) + 1, 1, 60000);
}

static bool may_go(const struct cr_pace *pace, int64_t now_ms)
{
  return pace->next_ms <= (double)now_ms &&
         (pace->rate > 0 ? pace->due_ms <= (double)now_ms : pace->on_way < pace->window);
}

/* --- the candidates */

/* The chance that a bucket with so many tokens, give or take, lets a call through. */
static double chance(double tokens, double off)
{
  double x = (tokens - 1 + 2 * off) / (4 * off);
  return x <= 0 ? 0 : x >= 1 ? 1 : x * x * (3 - 2 * x);
}

/* A call is sent: what does each expect? Until the answer it has taken as much of a token as that is likely. A full
 * bucket may count a little more, so that it is in no doubt. */
static void expect(struct cr_pace *pace, struct cr_pace_place *place, int64_t now_ms)
{
  double rate = SLOWEST, passed = pace->at_ms < 0 ? 0 : most(0, (double)now_ms - pace->at_ms) / 1000;

  for(int i = 0; i < RATES; i++, rate *= STEP) {
    for(int depth = 0; depth < DEPTHS; depth++) {
      double off = off_by(pace, depth, rate), tokens = pace->tokens[i][depth] + rate * passed;
      double full = depth_of(depth, rate);
      place->chance[i][depth] = (unsigned char)(255 * chance(least(tokens, full + 5 * off), off) + 0.5);
      pace->tokens[i][depth] = (float)(least(tokens, full) - place->chance[i][depth] / 255.0);
    }
  }
  pace->at_ms = most(pace->at_ms, (double)now_ms);
}

/* Sent when the latest refusal was known. By number: many calls are sent and answered within a millisecond. */
static bool fresh(const struct cr_pace *pace, const struct cr_pace_place *place)
{
  return place->number > pace->news;
}

/* An answer: Bayes' rule. Returns how likely a refusal was one for the rate. */
static double weigh(struct cr_pace *pace, const struct cr_pace_place *place, bool good)
{
  double calls = (double)(pace->accepted + pace->refused), sum = 0, blamed = 0;
  double refused = least(STRAY_REFUSED_MOST, most(STRAY_REFUSED, (stray(pace) + 0.1) / (calls + 50)));
  bool stale = !good && !fresh(pace, place);
  double same = pace->let_through < KNOWN_AFTER ? STALE_FIRST : STALE;

  if(pace->in_row > 0 && pace->let_through >= KNOWN_AFTER) {
    refused = STRAY_IN_ROW;
  }
  for(int i = 0; i < RATES; i++) {
    for(int depth = 0; depth < DEPTHS; depth++) {
      float *weight = &pace->weight[i][depth];
      double expected = place->chance[i][depth] / 255.0, before = (1 - WANDER) * *weight + WANDER / (RATES * DEPTHS);
      double likely = STRAY_ACCEPTED + (1 - STRAY_ACCEPTED - refused) * expected;
      likely = good ? likely : 1 - likely;
      likely = stale ? same + (1 - same) * likely : likely;
      blamed += before * (1 - expected);
      *weight = (float)(before * likely);
      sum += *weight;
    }
  }
  scale(pace, 1 / sum);
  return least(1, blamed / sum);
}

/* An answer: the counts of tokens. A call let through unexpectedly shows that there was more than counted; a refused
 * one has taken nothing, and when it was sent there was less than a token; those sent since had what came in since. */
static void recount(struct cr_pace *pace, const struct cr_pace_place *place, bool good)
{
  double rate = SLOWEST, since = (pace->at_ms - (double)place->sent_ms) / 1000;

  for(int i = 0; i < RATES; i++, rate *= STEP) {
    for(int depth = 0; depth < DEPTHS; depth++) {
      double expected = place->chance[i][depth] / 255.0, off = off_by(pace, depth, rate);
      double tokens = pace->tokens[i][depth];
      if(good) {
        tokens = most(0, tokens - (1 - expected) * (1 - 1.6 * off));
      } else {
        tokens = least(tokens + expected, 1 - off / 2 + most(0, rate * since - (double)(pace->sent - place->number)));
        tokens = most(-2, tokens);
      }
      pace->tokens[i][depth] = (float)tokens;
    }
  }
}

/* A call that waited went through: the rate may have grown. */
static void rise(struct cr_pace *pace)
{
  if((double)pace->refused + 1 <= RISE_SHARE * (double)(pace->accepted + pace->refused)) {
    for(int i = RATES - 1; i > 0; i--) {
      for(int depth = 0; depth < DEPTHS; depth++) {
        float part = (float)RISE * pace->weight[i - 1][depth];
        pace->weight[i][depth] += part;
        pace->weight[i - 1][depth] -= part;
      }
    }
  }
}

/* The rate that is as likely too slow as too fast. */
static double median(const struct cr_pace *pace)
{
  double rate = SLOWEST, sum = weight_of(pace, 0);
  for(int i = 1; i < RATES && sum < 0.5; i++) {
    rate *= STEP;
    sum += weight_of(pace, i);
  }
  return rate;
}

/* The first refusal. What went through before may have come out of a bucket of any depth, or before there was a limit,
 * so the rate may be lower than it looks: the less likely the more. */
static void doubt(struct cr_pace *pace)
{
  double rate = SLOWEST, looks = median(pace);

  for(int i = 0; i < RATES && rate < looks; i++, rate *= STEP) {
    for(int depth = 0; depth < DEPTHS; depth++) {
      pace->weight[i][depth] += (float)(DOUBT * (STEP - 1) * rate / looks * (depth ? OTHER_DEPTH : 1));
    }
  }
}

static void learn(struct cr_pace *pace, const struct cr_pace_place *place, bool good)
{
  bool news = fresh(pace, place);
  double blamed;

  if(!good && pace->rate <= 0) {
    doubt(pace);
  }
  blamed = weigh(pace, place, good);

  recount(pace, place, good);
  *(good ? &pace->accepted : &pace->refused) += 1;
  if(!good) {
    pace->blamed += news ? blamed : blamed * STALE_BLAME;
    pace->in_row += news;
    pace->news = news ? pace->sent : pace->news;
  } else if(pace->rate > 0) {
    pace->let_through++;
    pace->in_row = news ? 0 : pace->in_row;
    if(place->held) {
      rise(pace);
    }
  } else if(pace->window < WINDOW_MAX && pace->accepted % GROW_EVERY == 0) {
    pace->window++;
  }
  if(!good || pace->rate > 0) {
    pace->rate = median(pace);
    aim(pace);
  }
}

/* --- what callers do */

static void go(struct cr_pace *pace, struct cr_pace_place *place, int64_t now_ms)
{
  expect(pace, place, now_ms);
  if(pace->rate > 0) {
    double credit = most(0, CREDIT_MS - pace->step_ms);
    pace->next_ms = most(pace->next_ms, (double)now_ms - credit) + CLOSER * pace->step_ms;
    aim(pace);
  }
  place->pace = pace;
  place->sent = true;
  place->sent_ms = now_ms;
  place->number = ++pace->sent;
  pace->on_way++;
}

bool cr_pace_take(struct cr_pace *pace, struct cr_pace_place *place, int64_t now_ms, bool again, int64_t *until_ms)
{
  bool waits = place->pace != NULL;

  if(place->sent) {
    return true;
  }
  if((waits ? pace->first == place : !pace->first) && may_go(pace, now_ms)) {
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

void cr_pace_tell(struct cr_pace_place *place, int64_t now_ms, enum cr_pace_word word, int64_t retry_after_ms,
                  int64_t latency_ms)
{
  struct cr_pace *pace = place->pace;
  double differs;

  if(!pace || !place->sent) {
    return;
  }
  differs = pace->latency_ms > 0 ? (double)latency_ms - pace->latency_ms : 0;
  pace->spread_ms += (most(differs, -differs) - pace->spread_ms) / 8;
  pace->latency_ms += pace->latency_ms > 0 ? differs / 4 : (double)latency_ms;
  if(word != CR_PACE_UNKNOWN) {
    learn(pace, place, word == CR_PACE_ACCEPTED);
  }
  if(retry_after_ms > 0) {
    pace->next_ms = most(pace->next_ms, (double)(now_ms + retry_after_ms));
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
