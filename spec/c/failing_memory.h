/* failing_memory.h - every allocation of a scenario made to fail, one after the other: a clean error or none, and
 * nothing lost.
 *
 * malloc, calloc, realloc and free are wrapped by the linker for the programs that include this
 * (spec/CMakeLists.txt). What belongs to the test itself is done between memory_pause and memory_resume: it does not
 * fail and is not counted. */
#ifndef CR_SPEC_FAILING_MEMORY_H
#define CR_SPEC_FAILING_MEMORY_H

#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "base.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *data, size_t size);
void __real_free(void *data);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *data, size_t size);
void __wrap_free(void *data);

static long memory_fail_at = -1;      /* the allocation that fails, counted from 0; -1: none */
static long memory_made;              /* asked for since the scenario began */
static long memory_outstanding;       /* not freed yet */
static bool memory_paused;

static inline void memory_pause(void)
{
  memory_paused = true;
}

static inline void memory_resume(void)
{
  memory_paused = false;
}

static inline bool memory_refused(void)
{
  return !memory_paused && memory_made++ == memory_fail_at;
}

void *__wrap_malloc(size_t size)
{
  void *data = memory_refused() ? NULL : __real_malloc(size);
  memory_outstanding += data != NULL;
  return data;
}

void *__wrap_calloc(size_t count, size_t size)
{
  void *data = memory_refused() ? NULL : __real_calloc(count, size);
  memory_outstanding += data != NULL;
  return data;
}

void *__wrap_realloc(void *data, size_t size)
{
  void *moved = memory_refused() ? NULL : __real_realloc(data, size);
  memory_outstanding += moved && !data;
  return moved;
}

void __wrap_free(void *data)
{
  memory_outstanding -= data != NULL;
  __real_free(data);
}

/* A scenario gives -1 and *err when it failed; an attempt that had no memory is one a machine may make again. */
static inline void memory_fail_each(const char *name, int (*scenario)(struct cr_error *err))
{
  struct cr_error err;
  long failed = 0, count;

  memory_fail_at = -1;
  CHECK(scenario(&err) == 0); /* warm: OpenSSL's and the account's caches are filled */
  memory_made = 0;
  CHECK(scenario(&err) == 0);
  count = memory_made;
  CHECK(count > 10);
  for(long at = 0; at < count; at++) {
    long before = memory_outstanding;
    cr_error_clear(&err);
    memory_made = 0;
    memory_fail_at = at;
    int rc = scenario(&err);
    memory_fail_at = -1;
    if(rc < 0) {
      failed++;
      if(err.kind != CR_KIND_MEMORY || !err.message[0]) {
        printf("%s: allocation %ld: %s %s\n", name, at, err.code, err.message);
      }
      CHECK(err.kind == CR_KIND_MEMORY && err.message[0]);
    }
    CHECK(memory_outstanding == before);
    if(memory_outstanding != before) {
      printf("%s: allocation %ld of %ld: %ld blocks lost\n", name, at, count, memory_outstanding - before);
    }
  }
  CHECK(failed > count / 3);
  printf("%s: %ld allocations, %ld reported\n", name, count, failed);
}

#endif
