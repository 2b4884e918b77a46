/* attempt_log.h - the latest attempts, oldest first, a bounded number of them. Pure; owns its ring. */
#ifndef CR_ATTEMPT_LOG_H
#define CR_ATTEMPT_LOG_H

#include "machine.h"

#define CR_ATTEMPT_LOG_MAX 1024

struct cr_logged {
  int64_t id;
  struct cr_attempt attempt;
};

struct cr_attempt_log {
  struct cr_logged *ring;
  size_t cap, first, count;
};

/* The oldest makes room when the log is full, or when there is no memory for a longer one. */
void cr_attempt_log_add(struct cr_attempt_log *log, int64_t id, const struct cr_attempt *attempt);
/* Takes the oldest; false when there is none. */
bool cr_attempt_log_take(struct cr_attempt_log *log, int64_t *id, struct cr_attempt *out);
void cr_attempt_log_free(struct cr_attempt_log *log);

#endif
