/* schedule.c - a binary heap whose members know their place, so that one can be taken out of the middle. */
#include "schedule.h"

#include <stdlib.h>

int cr_schedule_reserve(struct cr_schedule *schedule, size_t count)
{
  size_t cap = schedule->cap ? schedule->cap : 16;
  struct cr_due **heap;

  if(count <= schedule->cap) {
    return 0;
  }
  while(cap < count) {
    if(cap > SIZE_MAX / 2 / sizeof *heap) {
      return -1;
    }
    cap *= 2;
  }
  heap = realloc(schedule->heap, cap * sizeof *heap);
  if(!heap) {
    return -1;
  }
  schedule->heap = heap;
  schedule->cap = cap;
  return 0;
}

void cr_schedule_free(struct cr_schedule *schedule)
{
  free(schedule->heap);
  schedule->heap = NULL;
  schedule->count = schedule->cap = 0;
}

static void put(struct cr_schedule *schedule, size_t at, struct cr_due *due)
{
  schedule->heap[at] = due;
  due->place = at + 1;
}

/* Moves `due`, which belongs at or around `at`, to where the order holds. */
static void settle(struct cr_schedule *schedule, size_t at, struct cr_due *due)
{
  while(at > 0 && schedule->heap[(at - 1) / 2]->at_ms > due->at_ms) {
    put(schedule, at, schedule->heap[(at - 1) / 2]);
    at = (at - 1) / 2;
  }
  for(;;) {
    size_t child = 2 * at + 1;
    if(child + 1 < schedule->count && schedule->heap[child + 1]->at_ms < schedule->heap[child]->at_ms) {
      child++;
    }
    if(child >= schedule->count || schedule->heap[child]->at_ms >= due->at_ms) {
      break;
    }
    put(schedule, at, schedule->heap[child]);
    at = child;
  }
  put(schedule, at, due);
}

void cr_schedule_add(struct cr_schedule *schedule, struct cr_due *due, int64_t at_ms)
{
  due->at_ms = at_ms;
  schedule->count++;
  settle(schedule, schedule->count - 1, due);
}

void cr_schedule_remove(struct cr_schedule *schedule, struct cr_due *due)
{
  size_t at;

  if(!due->place) {
    return;
  }
  at = due->place - 1;
  due->place = 0;
  schedule->count--;
  if(at < schedule->count) {
    settle(schedule, at, schedule->heap[schedule->count]);
  }
}

struct cr_due *cr_schedule_first(const struct cr_schedule *schedule)
{
  return schedule->count ? schedule->heap[0] : NULL;
}
