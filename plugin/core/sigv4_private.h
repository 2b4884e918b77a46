/* sigv4_private.h - between the files of the signer: sigv4.c, sigv4_canonical.c and signing_keys.c.
 *
 * May include nothing beyond sigv4.h. */
#ifndef CR_SIGV4_PRIVATE_H
#define CR_SIGV4_PRIVATE_H

#include "sigv4.h"

#define CR_SHA256_LEN 32
#define CR_CANONICAL_MAX ((size_t)1 << 20) /* no service takes that much of URL and headers */

/* signing_keys.c: digests with objects fetched once. Each is 0, or -1 with *err. */
int cr_signing_hash(struct cr_signing_keys *keys, const void *data, size_t len, unsigned char out[CR_SHA256_LEN],
                    struct cr_error *err);
/* HMAC of `text` by the key of "day/region/service/aws4_request", derived when it is not at hand. */
int cr_signing_mac(struct cr_signing_keys *keys, const char *secret, const char *scope, size_t scope_len,
                   const struct cr_buf *text, unsigned char out[CR_SHA256_LEN], struct cr_error *err);
/* Memory to work in, kept from one request to the next. Whoever uses it resets it first. */
struct cr_buf *cr_signing_scratch(struct cr_signing_keys *keys);
void cr_signing_hex(const unsigned char digest[CR_SHA256_LEN], char out[CR_SHA256_HEX + 1]);

/* Where the list of signed headers stands in the canonical request: Authorization repeats it. */
struct cr_signed_list {
  size_t begin, end;
};

/* sigv4_canonical.c: fills out->canonical_request; date, payload hash and what is added must be in *out. */
int cr_sigv4_canonical_request(const struct cr_sign_request *request, struct cr_buf *scratch, struct cr_signature *out,
                               struct cr_signed_list *list, struct cr_error *err);

static inline bool cr_is_blank(char c)
{
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* `lower` is in lower case. Most names differ in their first letter: decided without a call. */
static inline bool cr_is_named(const char *name, const char *lower)
{
  return (name[0] | 0x20) == lower[0] && cr_strcasecmp(name, lower) == 0;
}

#endif
