/* check.h - the whole of the C test harness: one line per failed check, a count at the end. */
#ifndef CR_SPEC_CHECK_H
#define CR_SPEC_CHECK_H

#include <stdio.h>
#include <string.h>

static int check_passed, check_failed;

#define CHECK(condition) \
  do { \
    if(condition) { \
      check_passed++; \
    } else { \
      check_failed++; \
      printf("%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
    } \
  } while(0)

#define CHECK_STR(got, expected) \
  do { \
    const char *check_got_ = (got), *check_want_ = (expected); \
    if(check_got_ && strcmp(check_got_, check_want_) == 0) { \
      check_passed++; \
    } else { \
      check_failed++; \
      printf("%s:%d: %s is\n  %s\nexpected\n  %s\n", __FILE__, __LINE__, #got, \
             check_got_ ? check_got_ : "(null)", check_want_); \
    } \
  } while(0)

/* The last line of every main: `return check_end();` */
static int check_end(void)
{
  printf("%d checks passed, %d failed\n", check_passed, check_failed);
  return check_failed ? 1 : 0;
}

#endif
