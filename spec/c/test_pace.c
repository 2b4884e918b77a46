/* test_pace.c - the pace against a model of what it has to find: a service with a token bucket, over virtual time.
 *
 * The claim: of a service that lets R calls a second through at least 85 % is used, and at most 5 % of the calls (or
 * three) are refused, for R of 0.1, 1, 5 and 50, the first call included. `test_pace 200` makes two hundred runs for
 * each of many rates, depths and lengths, and prints the worst of each. */
#include "check.h"
#include "random.h"

#include "pace.h"

#include <math.h>
#include <stdlib.h>

struct service {
  double rate, depth, tokens, at;
  double stray;    /* the share it refuses for no reason */
};

static double fraction(void)
{
  return (double)random_below(1000000) / 1000000;
}

static bool lets_through(struct service *service, double now)
{
  service->tokens = fmin(service->depth, service->tokens + (now - service->at) * service->rate / 1000);
  service->at = now;
  if((service->stray > 0 && fraction() < service->stray) || service->tokens < 1) {
    return false;
  }
  service->tokens -= 1;
  return true;
}

enum where { IDLE, WAITING, GOING, COMING };

struct caller {
  struct cr_pace_place place;
  enum where where;
  double at, latency;
  bool again, good;
};

/* So many callers; answers take `latency` ms, more or less by a share of `jitter`; who waits wakes late by up to
 * `late` ms. */
struct way { int callers; double latency, jitter, late; };

struct outcome { long accepted, refused, wakes; double seconds; };

/* Each calls again at once, until `count` calls were let through, or so much time is over. */
static struct outcome run(struct cr_pace *pace, struct service *service, struct way way, long count, double seconds)
{
  struct caller *all = calloc((size_t)way.callers, sizeof *all);
  struct outcome outcome = { 0, 0, 0, 0 };
  double begin = service->at, now = begin;
  if(!all) {
    exit(1);
  }
  for(int i = 0; i < way.callers; i++) {
    all[i].at = begin;
  }
  while(outcome.accepted < count) {
    struct caller *one = &all[0];
    for(int i = 1; i < way.callers; i++) {
      if(all[i].at < one->at) {
        one = &all[i];
      }
    }
    if(one->at > begin + seconds * 1000) {
      now = begin + seconds * 1000;
      break;
    }
    now = fmax(now, one->at);
    if(one->where <= WAITING) {
      int64_t until;
      one->where = WAITING;
      outcome.wakes++;
      if(cr_pace_take(pace, &one->place, (int64_t)now, one->again, &until)) {
        one->where = GOING;
        one->latency = way.latency * (1 - way.jitter + 2 * way.jitter * fraction());
        one->at = now + one->latency / 2;
      } else {
        CHECK(until > (int64_t)now);
        one->at = (double)until + way.late * fraction();
      }
    } else if(one->where == GOING) {
      one->good = lets_through(service, now);
      one->where = COMING;
      one->at = now + one->latency / 2;
    } else {
      cr_pace_tell(&one->place, (int64_t)now, one->good ? CR_PACE_ACCEPTED : CR_PACE_REFUSED, 0, (int64_t)one->latency);
      *(one->good ? &outcome.accepted : &outcome.refused) += 1;
      one->again = !one->good;
      one->where = IDLE;
    }
  }
  for(int i = 0; i < way.callers; i++) {
    cr_pace_leave(&all[i].place);
  }
  free(all);
  CHECK(pace->on_way == 0 && pace->waiting == 0 && !pace->first && !pace->last);
  outcome.seconds = (now - begin) / 1000;
  service->at = now;
  return outcome;
}

static struct service bucket(double rate, double depth)
{
  return (struct service){ rate, depth, depth, 0, 0 };
}

static struct service usual(double rate)
{
  return bucket(rate, fmax(1, rate));
}

/* --- what is used and what is refused */

struct tally {
  int runs, poor, many;            /* of them less than 85 % used; more refused than may be */
  double used, worst_used, refused, most_refused, calls;
};

static void add(struct tally *tally, double possible, struct outcome outcome)
{
  double calls = (double)(outcome.accepted + outcome.refused), refused = (double)outcome.refused;
  double used = (double)outcome.accepted / (possible * outcome.seconds);
  tally->worst_used = tally->runs ? fmin(tally->worst_used, used) : used;
  tally->most_refused = fmax(tally->most_refused, refused);
  tally->runs++;
  tally->poor += used < 0.85;
  tally->many += refused > fmax(3, 0.05 * calls);
  tally->used += used;
  tally->refused += refused;
  tally->calls += calls;
}

/* As far as `far` ms away; more callers than it takes. */
static struct way some_way(double rate, double near, double far)
{
  struct way way = { 1 + (int)random_below(12), near + (far - near) * fraction() * fraction(), 0.3 * fraction(),
                     random_below(2) ? 5 : 50 * fraction() };
  while(way.callers * 1000 / way.latency < 1.3 * rate) {
    way.callers *= 2;
  }
  return way;
}

static struct tally tally_of(double rate, double depth, long count, double near, double far, int runs)
{
  struct tally tally = { 0 };
  for(int i = 0; i < runs; i++) {
    struct cr_pace pace;
    struct service service = bucket(rate, depth);
    cr_pace_init(&pace);
    service.at = 1000 * fraction();
    struct outcome outcome = run(&pace, &service, some_way(rate, near, far), count, 100 * (double)count / rate);
    add(&tally, rate, outcome);
    CHECK(outcome.accepted == count);
    /* Nobody looks at the clock in a circle. */
    CHECK(outcome.wakes < 100 * (outcome.accepted + outcome.refused) + 1000);
  }
  return tally;
}

static void print(double rate, double depth, long count, struct tally tally)
{
  printf("%6.2f a second, depth %3.0f, %4ld calls: used %.3f, at worst %.3f; refused %.1f, at most %.0f; "
         "of %d runs %d used less than 85 %%, in %d too many were refused\n", rate, depth, count,
         tally.used / tally.runs, tally.worst_used, tally.refused / tally.runs, tally.most_refused, tally.runs,
         tally.poor, tally.many);
}

/* All together keep the claim; a single run may be less lucky, but not less than this. */
static void test_rates(void)
{
  static const struct { double rate; long count; double together, used, refused; } claims[] = {
    { 0.1, 40, 0.85, 0.80, 3 },
    { 0.1, 300, 0.85, 0.85, 15 },
    { 1, 40, 0.83, 0.75, 3 },
    { 1, 300, 0.85, 0.85, 15 },
    { 5, 40, 0.85, 0.75, 9 },
    { 5, 300, 0.85, 0.85, 20 },
    { 50, 300, 0.95, 0.85, 25 },
  };
  for(size_t i = 0; i < sizeof claims / sizeof *claims; i++) {
    double rate = claims[i].rate, depth = fmax(1, rate);
    struct tally tally = tally_of(rate, depth, claims[i].count, 3, 63, 12);
    bool used = tally.used / tally.runs >= claims[i].together && tally.worst_used >= claims[i].used;
    bool refused = tally.refused <= fmax(3 * tally.runs, 0.05 * tally.calls) && tally.most_refused <= claims[i].refused;
    CHECK(used);
    CHECK(refused);
    if(!used || !refused) {
      print(rate, depth, claims[i].count, tally);
    }
  }
}

/* Answers that take long and differ come in unevenly: what a bucket of one token cannot hold meanwhile is lost. */
static void test_slow_answers(void)
{
  static const double rates[] = { 0.1, 1, 5 };
  for(int i = 0; i < 3; i++) {
    struct tally tally = tally_of(rates[i], fmax(1, rates[i]), 200, 250, 300, 5);
    CHECK(tally.used / tally.runs >= 0.80);
    CHECK(tally.refused <= (rates[i] < 5 ? fmax(15, 0.05 * tally.calls) : 0.15 * tally.calls));
  }
  for(int i = 0; i < 5; i++) { /* eight callers cannot make fifty calls a second of this kind: nothing is in their way */
    struct cr_pace pace;
    struct service service = usual(50);
    cr_pace_init(&pace);
    struct outcome outcome = run(&pace, &service, (struct way){ 8, 300, 0.3, 0 }, 1000000, 60);
    CHECK(outcome.refused == 0 && (double)outcome.accepted >= 0.85 * 8 / 0.3 * 60);
  }
}

/* Answers come within the millisecond: what was sent before the first refusal was known is no news, though the clock says
 * the same. (Taken for news, three more refusals of the same burst put fifty calls a second at eleven.) */
static void test_same_millisecond(void)
{
  struct cr_pace pace;
  struct cr_pace_place places[4];
  int64_t until, now = 0;
  double first = 0;

  cr_pace_init(&pace);
  memset(places, 0, sizeof places);
  for(int i = 0; i < 50; i++, now++) {
    CHECK(cr_pace_take(&pace, &places[0], now, false, &until));
    cr_pace_tell(&places[0], now, CR_PACE_ACCEPTED, 0, 1);
  }
  for(int i = 0; i < 4; i++) {
    CHECK(cr_pace_take(&pace, &places[i], now, false, &until));
  }
  for(int i = 0; i < 4; i++) {
    cr_pace_tell(&places[i], now, CR_PACE_REFUSED, 0, 1);
    first = i ? first : pace.rate;
  }
  CHECK(first > 40 && pace.rate > 0.8 * first);
}

/* Others have used some of the bucket: its rate looks lower than it is. */
static void test_begun_by_others(void)
{
  static const struct { double rate, filled; long count; double used; } claims[] = {
    { 5, 0.4, 200, 0.85 }, { 50, 0.4, 600, 0.80 }, { 50, 0.8, 600, 0.85 },
  };
  for(size_t i = 0; i < sizeof claims / sizeof *claims; i++) {
    double used = 0;
    for(int turn = 0; turn < 10; turn++) {
      struct cr_pace pace;
      struct service service = usual(claims[i].rate);
      cr_pace_init(&pace);
      service.tokens *= claims[i].filled;
      struct outcome outcome = run(&pace, &service, (struct way){ 8, 20, 0.3, 5 }, claims[i].count, 1e9);
      used += (double)outcome.accepted / (claims[i].rate * outcome.seconds) / 10;
      CHECK((double)outcome.refused <= fmax(4, 0.06 * (double)(outcome.accepted + outcome.refused)));
    }
    CHECK(used >= claims[i].used);
  }
}

/* Buckets that hold twice what they usually do. */
static void test_deeper(void)
{
  static const double rates[] = { 0.1, 1, 5 };
  for(int i = 0; i < 3; i++) {
    struct tally tally = tally_of(rates[i], 2 * fmax(1, rates[i]), 300, 3, 63, 5);
    CHECK(tally.used / tally.runs >= 0.75);
    CHECK(tally.refused <= 0.10 * tally.calls);
  }
}

static const struct way near_way = { 8, 40, 0.3, 5 };

/* The service's rate doubles or halves: found again within so many calls. */
static void test_changes(void)
{
  static const struct { double rate, by; int twenties; } changes[] = {
    { 0.1, 2, 10 }, { 1, 2, 12 }, { 5, 2, 20 }, { 0.1, 0.5, 4 }, { 1, 0.5, 4 }, { 5, 0.5, 4 }, { 50, 0.5, 8 },
  };
  for(size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
    struct cr_pace pace;
    struct service service = usual(changes[i].rate);
    struct outcome outcome;
    int twenties = 0;
    cr_pace_init(&pace);
    run(&pace, &service, near_way, 300, 1e9);
    service.rate *= changes[i].by;
    service.depth = fmax(1, service.rate);
    service.tokens = fmin(service.tokens, service.depth);
    do {
      outcome = run(&pace, &service, near_way, 20, 1e9);
      CHECK(outcome.refused <= 15);
    } while((double)outcome.accepted < 0.8 * service.rate * outcome.seconds && ++twenties < 100);
    CHECK(twenties <= changes[i].twenties);
  }
}

/* One call in ten is refused for no reason: what is let through does not break down. */
static void test_stray(void)
{
  double used = 0, free = 0;
  for(int turn = 0; turn < 10; turn++) {
    struct cr_pace pace;
    struct service service = usual(1), unlimited = bucket(1e9, 1e9);
    service.stray = unlimited.stray = 0.1;
    cr_pace_init(&pace);
    struct outcome outcome = run(&pace, &service, near_way, 200, 1e9);
    used += (double)outcome.accepted / outcome.seconds / 10;
    cr_pace_init(&pace);
    outcome = run(&pace, &unlimited, near_way, 300, 1e9);
    free += (double)outcome.accepted / outcome.seconds / 10;
  }
  printf("one in ten refused for no reason: used %.2f of one a second; %.1f a second of an unlimited service\n", used,
         free);
  CHECK(used >= 0.3);
  CHECK(free >= 1.5);
}

/* Three refusals in a row, of a service that is known: the pace is back soon. */
static void test_three_in_a_row(void)
{
  for(int turn = 0; turn < 10; turn++) {
    struct cr_pace pace;
    struct service service = usual(1);
    cr_pace_init(&pace);
    run(&pace, &service, near_way, 100, 1e9);
    service.stray = 1;
    for(int i = 0; i < 3; i++) {
      struct cr_pace_place place = { 0 };
      int64_t until = (int64_t)service.at;
      while(!cr_pace_take(&pace, &place, (int64_t)service.at, i > 0, &until)) {
        service.at = (double)until;
      }
      service.at += 40;
      cr_pace_tell(&place, (int64_t)service.at, CR_PACE_REFUSED, 0, 40);
    }
    service.stray = 0;
    struct outcome outcome = run(&pace, &service, near_way, 30, 1e9);
    CHECK(outcome.seconds < 30 / 0.5);
    if(outcome.seconds >= 30 / 0.5) {
      printf("  after three refusals in a row: 30 calls in %.1f s\n", outcome.seconds);
    }
  }
}

/* A service that never refuses: the first calls go a few at a time, then nothing is held back. */
static void test_unlimited(void)
{
  struct cr_pace pace;
  struct service service = bucket(1e9, 1e9);
  cr_pace_init(&pace);
  struct outcome outcome = run(&pace, &service, (struct way){ 8, 20, 0.3, 0 }, 1000000, 10);
  CHECK(outcome.refused == 0 && pace.rate <= 0);
  CHECK((double)outcome.accepted > 0.97 * 8 * 1000 / 20 * 10);
}

/* After a rest nobody may make up for the time. */
static void test_rest(void)
{
  struct cr_pace pace;
  struct service service = usual(5);
  int gone = 0;
  int64_t until;
  cr_pace_init(&pace);
  run(&pace, &service, near_way, 300, 1e9);
  for(int i = 0; i < 8; i++) {
    struct cr_pace_place place = { 0 };
    if(cr_pace_take(&pace, &place, 500000, false, &until)) {
      gone++;
      cr_pace_tell(&place, 500010, CR_PACE_ACCEPTED, 0, 10);
    } else {
      cr_pace_leave(&place);
    }
  }
  CHECK(gone >= 1 && gone <= 3);
}

/* First come, first served; one that was refused before all others; who leaves makes room. */
static void test_order(void)
{
  struct cr_pace pace;
  struct cr_pace_place a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };
  int64_t until;
  cr_pace_init(&pace);
  CHECK(cr_pace_take(&pace, &a, 0, false, &until));
  CHECK(cr_pace_take(&pace, &a, 1, false, &until)); /* asked again before it was answered */
  CHECK(pace.on_way == 1);
  cr_pace_tell(&a, 10, CR_PACE_REFUSED, 0, 10);
  CHECK(pace.rate > 0 && pace.on_way == 0);
  CHECK(!cr_pace_take(&pace, &b, 11, false, &until));
  CHECK(!cr_pace_take(&pace, &c, 11, false, &until));
  CHECK(!cr_pace_take(&pace, &a, 11, true, &until) && until > 100);
  CHECK(!cr_pace_take(&pace, &d, 11, true, &until));
  CHECK(pace.first == &a && a.next == &d && d.next == &b && pace.last == &c && pace.waiting == 4);
  CHECK(!cr_pace_take(&pace, &b, 5000, false, &until)); /* its turn comes after a's */
  CHECK(cr_pace_take(&pace, &a, 5000, true, &until));
  cr_pace_leave(&d);
  cr_pace_leave(&d);
  CHECK(pace.first == &b && pace.waiting == 2);
  CHECK(!cr_pace_take(&pace, &b, 5001, false, &until)); /* at a distance */
  cr_pace_leave(&a);                                    /* cancelled on its way */
  CHECK(!cr_pace_take(&pace, &c, 20000, false, &until));
  CHECK(cr_pace_take(&pace, &b, 20000, false, &until));
  cr_pace_leave(&c);
  cr_pace_tell(&b, 20010, CR_PACE_UNKNOWN, 0, 10);
  CHECK(pace.on_way == 0 && !pace.first && !pace.last && pace.waiting == 0);
}

static void test_retry_after(void)
{
  struct cr_pace pace;
  struct cr_pace_place a = { 0 };
  int64_t until;
  cr_pace_init(&pace);
  CHECK(cr_pace_take(&pace, &a, 0, false, &until));
  cr_pace_tell(&a, 10, CR_PACE_REFUSED, 30000, 10);
  CHECK(!cr_pace_take(&pace, &a, 20000, true, &until) && until >= 30010);
  CHECK(cr_pace_take(&pace, &a, 30010, true, &until));
  cr_pace_leave(&a);
}

/* Every rate, depth and length; printed, not checked. */
static void sweep(int runs)
{
  static const double rates[] = { 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 20, 50, 100 };
  for(size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
    double rate = rates[i], depth = fmax(1, rate), depths[] = { depth, 2 * depth, 1, 2 };
    for(int j = 0; j < (rate > 2 ? 4 : 2); j++) {
      for(long count = rate < 10 ? 40 : 300; count <= (rate < 5 ? 300 : 1000); count += count == 40 ? 260 : 700) {
        print(rate, depths[j], count, tally_of(rate, depths[j], count, 3, 63, runs));
        print(rate, depths[j], count, tally_of(rate, depths[j], count, 20, 300, runs));
      }
    }
  }
}

int main(int count, char **arguments)
{
  random_seed();
  if(count > 1) {
    sweep(atoi(arguments[1]));
    return 0;
  }
  test_rates();
  test_slow_answers();
  test_same_millisecond();
  test_begun_by_others();
  test_deeper();
  test_changes();
  test_stray();
  test_three_in_a_row();
  test_unlimited();
  test_rest();
  test_order();
  test_retry_after();
  return check_end();
}
