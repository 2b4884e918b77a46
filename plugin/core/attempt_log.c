/* attempt_log.c - a ring that grows up to its limit and then forgets the oldest. */
#include "attempt_log.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_CAP 32

static void grow(struct cr_attempt_log *log)
{
  size_t cap = log->cap ? log->cap * 2 : FIRST_CAP;
  struct cr_logged *ring = malloc(cap * sizeof *ring);

  if(!ring) {
    return;
  }
  for(size_t i = 0; i < log->count; i++) {
    ring[i] = log->ring[(log->first + i) % log->cap];
  }
  free(log->ring);
  log->ring = ring;
  log->cap = cap;
  log->first = 0;
}

void cr_attempt_log_add(struct cr_attempt_log *log, int64_t id, const struct cr_attempt *attempt)
{
  struct cr_logged *entry;

  if(log->count == log->cap && log->cap < CR_ATTEMPT_LOG_MAX) {
    grow(log);
  }
  if(!log->cap) {
    return;
  }
  if(log->count == log->cap) {
    log->first = (log->first + 1) % log->cap;
    log->count--;
  }
  entry = &log->ring[(log->first + log->count++) % log->cap];
  entry->id = id;
  entry->attempt = *attempt;
}

bool cr_attempt_log_take(struct cr_attempt_log *log, int64_t *id, struct cr_attempt *out)
{
  if(!log->count) {
    return false;
  }
  *id = log->ring[log->first].id;
  *out = log->ring[log->first].attempt;
  log->first = (log->first + 1) % log->cap;
  log->count--;
  return true;
}

void cr_attempt_log_free(struct cr_attempt_log *log)
{
  free(log->ring);
  memset(log, 0, sizeof *log);
}
