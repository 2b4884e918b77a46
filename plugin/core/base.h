/* base.h - errors, and the few words every file of the core uses.
 *
 * Plain C99: nothing here or below includes lua.h. */
#ifndef CR_BASE_H
#define CR_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CR_VERSION "0.1.0"

#if defined(__GNUC__)
#define CR_PRINTF(at, from) __attribute__((format(printf, at, from)))
#else
#define CR_PRINTF(at, from)
#endif

/* What a caller can do about a failure; `cr_kind_name` gives the word Lua sees. */
enum cr_kind {
  CR_KIND_NONE,
  CR_KIND_INPUT,        /* what the user gave: files, parameters, passphrase */
  CR_KIND_CREDENTIALS,  /* none, expired, refused */
  CR_KIND_TRANSPORT,    /* connect, TLS, reset */
  CR_KIND_TIMEOUT,
  CR_KIND_SERVICE,      /* AWS answered with an error */
  CR_KIND_PARSE,        /* an answer that is not what AWS sends */
  CR_KIND_CONFLICT,     /* somebody else decided: rule 5 */
  CR_KIND_POLICY,       /* refused by a safety rule */
  CR_KIND_CANCELLED,
  CR_KIND_MEMORY        /* an allocation or a hard limit */
};

/* An error is a value of fixed size: making one never allocates, so running out
 * of memory can be reported too. Never put key material or tokens in it. */
struct cr_error {
  enum cr_kind kind;
  bool retryable;       /* decided where the error is made */
  bool ambiguous;       /* a write may have taken effect: read back before repeating it */
  int status;           /* HTTP status, 0 where there was none */
  char code[64];        /* AWS's own code, or ours: stable, for programs */
  char message[512];    /* one line for people, says what to do */
  char operation[64];   /* "cloudfront:UpdateDistribution", "step:swap" */
  char request_id[128];
};

/* Fills *err and returns -1, so that `return cr_fail(err, ...)` reads well.
 * Line ends and control bytes in the text become blanks. err may be NULL. */
int cr_fail(struct cr_error *err, enum cr_kind kind, const char *code, const char *format, ...)
  CR_PRINTF(4, 5);
int cr_fail_memory(struct cr_error *err);
void cr_error_clear(struct cr_error *err);
const char *cr_kind_name(enum cr_kind kind);

/* Both clocks and one random number in [0, 1), handed to whatever needs them:
 * the core below the engine never reads a clock (tests inject it). */
struct cr_moment {
  int64_t unix_ms;
  int64_t mono_ms;
  double random;
};

/* Wipes memory in a way the compiler may not drop. */
void cr_wipe(void *data, size_t len);
/* strdup/memdup with NULL on failure; memdup adds a NUL behind. */
char *cr_strdup(const char *text);
char *cr_memdup(const void *data, size_t len);
/* ASCII only, whatever the locale. */
int cr_strcasecmp(const char *a, const char *b);
bool cr_streq(const char *a, const char *b); /* false when either is NULL */

#endif
