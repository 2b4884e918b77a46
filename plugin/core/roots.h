/* roots.h - the CA certificates an engine trusts: read once, a few at a time, shared by all its connections and probes.
 *
 * A system's bundle takes 20 ms to parse, which an event loop would notice. */
#ifndef CR_ROOTS_H
#define CR_ROOTS_H

#include "base.h"

#include <openssl/types.h>

struct cr_roots;

/* Reads nothing yet. ca_file: a PEM file; NULL: OpenSSL's own places. NULL: no memory. */
struct cr_roots *cr_roots_new(const char *ca_file);
void cr_roots_free(struct cr_roots *roots);

/* Reads on, until all is read or the monotonic clock has come to until_ms. 0: see cr_roots_read_all. -1 with *err: the file
 * cannot be used; reading begins anew with the next call. */
int cr_roots_read(struct cr_roots *roots, int64_t until_ms, struct cr_error *err);
bool cr_roots_read_all(const struct cr_roots *roots);

/* Those of one more PEM file, at once: a person's, which is short. */
int cr_roots_add(struct cr_roots *roots, const char *path, struct cr_error *err);

X509_STORE *cr_roots_store(const struct cr_roots *roots);   /* stays the roots' own */
/* Makes an SSL_CTX verify by them; it holds on to them as long as it needs them. */
void cr_roots_apply(const struct cr_roots *roots, SSL_CTX *context);

#endif
