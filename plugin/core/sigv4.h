/* sigv4.h - AWS Signature Version 4 as a pure staged function.
 *
 * Nothing is read from the environment, no clock, nothing sent: a request and a time in, headers to add out.
 * Source of every rule: aws-reference section 1; AWS "Create a signed AWS API request". */
#ifndef CR_SIGV4_H
#define CR_SIGV4_H

#include "buffer.h"

#define CR_SHA256_HEX 64

struct cr_header {
  const char *name;
  const char *value;
  size_t value_len;
};

/* The signing keys of the last few (secret, day, region, service); one per client, never shared between threads.
 * A key is as good as the secret for its day, and comparing must not cost a hash: a copy of the secret is kept
 * beside it, in C memory only, and wiped when it is pushed out, by _forget and by _free.
 * Also keeps the digest objects and scratch memory that make signing cheap: pass one wherever more than one
 * request is signed. */
struct cr_signing_keys;
struct cr_signing_keys *cr_signing_keys_new(void);
void cr_signing_keys_forget(struct cr_signing_keys *keys);  /* NULL allowed */
void cr_signing_keys_free(struct cr_signing_keys *keys);    /* NULL allowed */

struct cr_sign_request {
  const char *method;
  const char *url;
  const struct cr_header *headers;  /* order kept; repeated names joined by ',' */
  size_t header_count;
  const char *body; size_t body_len;
  const char *payload_hash;         /* instead of body: hex, or "UNSIGNED-PAYLOAD"; NULL: hash the body */
  const char *service;
  const char *region;
  const char *access_key_id;
  const char *secret_access_key;
  const char *session_token;        /* NULL or "": none */
  bool omit_session_token;          /* the token is sent but not signed */
  int64_t time;                     /* Unix seconds, UTC */
  bool normalize_path;              /* "." ".." "//" resolved: every service but S3 */
  bool double_encode;               /* the wire path is encoded once more: every service but S3 */
  bool sign_body;                   /* adds x-amz-content-sha256 */
  struct cr_signing_keys *keys;     /* cache; may be NULL */
};

/* What the caller has to add, ready to send, and every stage for tests. */
struct cr_signature {
  char amz_date[17];                /* "20260115T120000Z" */
  char payload_hash[CR_SHA256_HEX + 1];
  bool add_content_sha256;
  bool add_security_token;
  struct cr_buf authorization;
  struct cr_buf canonical_request;
  struct cr_buf string_to_sign;
  char signature[CR_SHA256_HEX + 1];
};

void cr_signature_init(struct cr_signature *out);
void cr_signature_free(struct cr_signature *out);
/* Refuses headers the caller must not set itself (authorization, x-amz-date, x-amz-content-sha256 with another
 * value than payload_hash, x-amz-security-token), missing fields, and names or values with control bytes
 * (a folded value's line ends are blanks). 0 or -1. */
int cr_sigv4_sign(const struct cr_sign_request *request, struct cr_signature *out, struct cr_error *err);

int cr_sha256_hex(const void *data, size_t len, char out[CR_SHA256_HEX + 1]);

#endif
