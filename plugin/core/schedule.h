/* schedule.h - things that are due at a time, earliest first. Pure; owns only its array of pointers. */
#ifndef CR_SCHEDULE_H
#define CR_SCHEDULE_H

#include "base.h"

/* Embedded in whatever waits. */
struct cr_due {
  int64_t at_ms;
  size_t place;              /* 0: not scheduled; else 1 + its place in the heap */
};

struct cr_schedule {
  struct cr_due **heap;
  size_t count, cap;
};

/* Room for `count` things in all, so that cr_schedule_add cannot fail. 0 or -1 (memory). */
int cr_schedule_reserve(struct cr_schedule *schedule, size_t count);
void cr_schedule_free(struct cr_schedule *schedule);
void cr_schedule_add(struct cr_schedule *schedule, struct cr_due *due, int64_t at_ms);
void cr_schedule_remove(struct cr_schedule *schedule, struct cr_due *due);   /* fine when it is not scheduled */
struct cr_due *cr_schedule_first(const struct cr_schedule *schedule);        /* NULL when empty */

#endif
