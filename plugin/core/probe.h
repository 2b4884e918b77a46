/* probe.h - does a certificate chain that a server showed verify, for a name and at a time?
 *
 * What libcurl would have enforced, as a result instead of a refusal. Leaves OpenSSL's error queue empty. */
#ifndef CR_PROBE_H
#define CR_PROBE_H

#include "roots.h"

/* pem: the chain as served, leaf first. host: server name or address. *result: X509_V_OK (0) or OpenSSL's X509_V_ERR
 * number, with its text in message. 0, or -1 with *err when the chain cannot be read. */
int cr_probe_verify(const struct cr_roots *roots, const char *pem, size_t len, const char *host, int64_t now_unix,
                    long *result, char *message, size_t size, struct cr_error *err);

/* The major version of the OpenSSL this runs with. */
int cr_probe_openssl_major(void);

/* libcurl leaves what OpenSSL complained about in the thread's error queue, where nginx would take it for its own. */
void cr_probe_forget_errors(void);

#endif
