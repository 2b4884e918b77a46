/* random.h - numbers for tests that make up their own input: seeded, printed, repeatable.
 *
 * CERTROTATE_SEED=N repeats a run. */
#ifndef CR_SPEC_RANDOM_H
#define CR_SPEC_RANDOM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t random_state;

/* Starts and says with which seed. */
static inline void random_seed(void)
{
  const char *given = getenv("CERTROTATE_SEED");
  random_state = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
  printf("CERTROTATE_SEED=%llu\n", (unsigned long long)random_state);
}

/* SplitMix64: any seed does, zero included. */
static inline uint64_t random_bits(void)
{
  uint64_t z = (random_state += 0x9E3779B97F4A7C15u);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

/* 0 .. below-1 */
static inline size_t random_below(size_t below)
{
  return below ? (size_t)(random_bits() % below) : 0;
}

/* True once in `times`. */
static inline int random_once_in(size_t times)
{
  return random_below(times) == 0;
}

#endif
