/* test_engine_parts.c - the engine's pieces alone: the schedule and the slots against plain models on random input, the
 * attempt log at its limit, seats at hosts, and the poller's promises. */
#include "check.h"
#include "random.h"

#include "attempt_log.h"
#include "hosts.h"
#include "poller.h"
#include "sigpipe.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#define DUES 200

static void test_schedule(void)
{
  static struct cr_due dues[DUES];
  struct cr_schedule schedule = { 0 };
  int wrong = 0;

  CHECK(cr_schedule_first(&schedule) == NULL);
  CHECK(cr_schedule_reserve(&schedule, DUES) == 0);
  for(int turn = 0; turn < 20000; turn++) {
    struct cr_due *due = &dues[random_below(DUES)], *first;
    int64_t least = INT64_MAX;
    if(due->place) {
      cr_schedule_remove(&schedule, due);
      cr_schedule_remove(&schedule, due); /* twice is fine */
    } else {
      cr_schedule_add(&schedule, due, (int64_t)random_below(50) - 10);
    }
    for(int i = 0; i < DUES; i++) {
      least = dues[i].place && dues[i].at_ms < least ? dues[i].at_ms : least;
      wrong += dues[i].place && schedule.heap[dues[i].place - 1] != &dues[i];
    }
    first = cr_schedule_first(&schedule);
    wrong += first ? first->at_ms != least : least != INT64_MAX;
  }
  CHECK(wrong == 0);
  cr_schedule_free(&schedule);
}

static void test_slots(void)
{
  struct cr_slots slots = { 0 };
  static struct cr_slot_list lists[3];
  static struct cr_slot *model[5001];
  int alive = 0, wrong = 0;

  CHECK(cr_slots_find(&slots, 1) == NULL && cr_slots_any(&slots) == NULL);
  for(int turn = 0; turn < 30000; turn++) {
    size_t at = 1 + random_below(5000);
    if((int64_t)at > slots.last_id) {
      struct cr_slot *slot = cr_slots_add(&slots, NULL);
      if(slot && slot->id <= 5000) {
        model[slot->id] = slot;
        cr_slot_join(slot, &lists[random_below(3)]);
        alive++;
      }
    } else if(random_once_in(2) && model[at]) {
      cr_slot_leave(model[at]);
      cr_slot_leave(model[at]);
      cr_slots_drop(&slots, model[at]);
      model[at] = NULL;
      alive--;
    } else if(model[at]) {
      cr_slot_leave(model[at]);
      cr_slot_join(model[at], &lists[random_below(3)]);
    }
    wrong += cr_slots_find(&slots, (int64_t)at) != model[at];
    wrong += lists[0].count + lists[1].count + lists[2].count != (size_t)alive || slots.count != (size_t)alive;
  }
  for(int i = 0; i < 3; i++) {
    size_t count = 0;
    while(lists[i].first) {
      cr_slot_leave(lists[i].first);
      count++;
    }
    alive -= (int)count;
    CHECK(lists[i].count == 0 && lists[i].last == NULL);
  }
  CHECK(wrong == 0 && alive == 0);
  while(cr_slots_any(&slots)) {
    cr_slots_drop(&slots, cr_slots_any(&slots));
  }
  cr_slots_free(&slots);
}

static void test_log(void)
{
  struct cr_attempt_log log = { 0 };
  struct cr_attempt attempt = { .operation = "x" }, got;
  int64_t id, expected = 0;
  CHECK(!cr_attempt_log_take(&log, &id, &got));
  for(int i = 0; i < 3000; i++) {
    attempt.attempt = i;
    cr_attempt_log_add(&log, i, &attempt);
    if(i == 20) { /* taken in between */
      CHECK(cr_attempt_log_take(&log, &id, &got) && id == 0 && cr_attempt_log_take(&log, &id, &got) && id == 1);
    }
  }
  expected = 3000 - CR_ATTEMPT_LOG_MAX; /* the oldest were forgotten */
  while(cr_attempt_log_take(&log, &id, &got)) {
    CHECK(id == expected && got.attempt == expected);
    expected++;
  }
  CHECK(expected == 3000);
  cr_attempt_log_free(&log);
}

static void test_hosts(void)
{
  struct cr_hosts hosts = { .most = 3, .most_each = 2 };
  static struct cr_slot slots[4];
  static struct cr_slot_list called;
  struct cr_request a = {.url = "https://a:1/x?y"}, same = {.url = "https://a:1"}, other = {.url = "http://a:1/x"};
  struct cr_request probe = { .url = "https://a:1/", .handshake_only = true, .connect_to = "b:2" };
  struct cr_host *host = cr_hosts_find(&hosts, &a);

  CHECK(host && cr_hosts_find(&hosts, &same) == host);
  CHECK(cr_hosts_find(&hosts, &other) != host && cr_hosts_find(&hosts, &probe) != host);
  cr_hosts_sit(&hosts, host, &slots[0]);
  CHECK(!cr_host_full(&hosts, host));
  cr_hosts_sit(&hosts, host, &slots[1]);
  CHECK(cr_host_full(&hosts, host) && !cr_hosts_full(&hosts));
  cr_hosts_park(host, &slots[2]);
  cr_hosts_park(host, &slots[3]);
  cr_hosts_call(&hosts, &called);
  CHECK(called.count == 0);
  cr_hosts_stand(&hosts, &slots[0]);
  cr_hosts_call(&hosts, &called);
  CHECK(called.count == 1 && called.first == &slots[2] && slots[2].host == NULL);
  cr_slot_leave(&slots[2]); /* cancelled: the next one has its turn */
  cr_hosts_call(&hosts, &called);
  CHECK(called.count == 1 && called.first == &slots[3]);
  cr_hosts_park(cr_hosts_find(&hosts, &a), &slots[2]);
  cr_hosts_unpark(&hosts, &slots[2]);
  CHECK(slots[2].list == NULL && slots[2].host == NULL);
  cr_hosts_stand(&hosts, &slots[1]);
  CHECK(hosts.taken == 0);
  cr_hosts_call(&hosts, &called);
  CHECK(hosts.first == NULL); /* nobody is remembered for nothing */
  cr_slot_leave(&slots[3]);
  cr_hosts_find(&hosts, &a);
  cr_hosts_free(&hosts);
  CHECK(hosts.first == NULL);
}

static bool readable(int fd, int ms)
{
  struct pollfd wait = { fd, POLLIN, 0 };
  return poll(&wait, 1, ms) > 0;
}

static void test_poller(void)
{
  struct cr_poller poller = CR_POLLER_CLOSED;
  struct cr_ready ready[4];
  struct cr_error err;
  int pipes[2], moved;

  cr_poller_close(&poller); /* never opened */
  CHECK(cr_poller_open(&poller, &err) == 0 && pipe(pipes) == 0);
  CHECK(!readable(poller.epoll, 0) && cr_poller_ready(&poller, ready, 4) == 0);
  cr_poller_watch(&poller, pipes[0], true, false);
  cr_poller_watch(&poller, pipes[0], true, false);
  CHECK(!readable(poller.epoll, 0));
  CHECK(write(pipes[1], "x", 1) == 1);
  CHECK(readable(poller.epoll, 1000) && cr_poller_ready(&poller, ready, 4) == 1);
  CHECK(ready[0].fd == pipes[0] && ready[0].readable && !ready[0].writable);
  cr_poller_watch(&poller, pipes[0], false, false);
  CHECK(!readable(poller.epoll, 0));

  /* Closed and its number given to another, as libcurl's sockets are. */
  cr_poller_watch(&poller, pipes[0], true, false);
  moved = dup(pipes[0]);
  close(pipes[0]);
  CHECK(dup2(pipes[1], pipes[0]) == pipes[0]);
  cr_poller_watch(&poller, pipes[0], false, true);
  CHECK(cr_poller_ready(&poller, ready, 4) >= 1);
  close(pipes[0]);
  cr_poller_watch(&poller, pipes[0], false, false); /* no such descriptor: no harm */
  close(moved);
  close(pipes[1]);

  cr_poller_arm(&poller, -1);
  CHECK(!readable(poller.epoll, 0));
  cr_poller_arm(&poller, 30);
  cr_poller_arm(&poller, 5000); /* the earlier one stays */
  int64_t began = cr_monotonic_ms();
  CHECK(readable(poller.epoll, 3000) && cr_monotonic_ms() - began >= 25);
  CHECK(cr_poller_ready(&poller, ready, 4) == 0 && !readable(poller.epoll, 0)); /* noted, and quiet again */
  /* Now, twice: once noted it is quiet, and the alarm set before it is still set. */
  cr_poller_arm(&poller, 40);
  began = cr_monotonic_ms();
  cr_poller_arm(&poller, 0);
  cr_poller_arm(&poller, 0);
  CHECK(readable(poller.epoll, 0));
  CHECK(cr_poller_ready(&poller, ready, 4) == 0 && poller.armed_ms >= 0);
  CHECK(!readable(poller.epoll, 0) || cr_monotonic_ms() - began >= 35);
  CHECK(readable(poller.epoll, 3000) && cr_monotonic_ms() - began >= 35);
  CHECK(cr_poller_ready(&poller, ready, 4) == 0 && poller.armed_ms == -1);
  cr_poller_arm(&poller, 0);
  CHECK(readable(poller.epoll, 0));
  cr_poller_close(&poller);
  cr_poller_close(&poller);
}

static void test_sigpipe(void)
{
  struct cr_sigpipe guard;
  sigset_t mask;
  int pipes[2];
  CHECK(pipe(pipes) == 0);
  close(pipes[0]);
  cr_sigpipe_block(&guard);
  CHECK(write(pipes[1], "x", 1) < 0);
  cr_sigpipe_restore(&guard);
  CHECK(pthread_sigmask(SIG_BLOCK, NULL, &mask) == 0 && !sigismember(&mask, SIGPIPE)); /* and we are still here */
  close(pipes[1]);
}

int main(void)
{
  random_seed();
  test_schedule();
  test_slots();
  test_log();
  test_hosts();
  test_poller();
  test_sigpipe();
  return check_end();
}
