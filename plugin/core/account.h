/* account.h - who signs, and where the services are: shared by every call of one account.
 *
 * Reference-counted within one engine (not atomic: an engine lives on one thread).
 * Signed at the moment of sending, with the credentials held then. */
#ifndef CR_ACCOUNT_H
#define CR_ACCOUNT_H

#include "base.h"
#include "pace.h"
#include "renewal.h"
#include "sigv4.h"

enum cr_service { CR_ACM, CR_IAM, CR_CLOUDFRONT, CR_STS, CR_SUPPORT, CR_QUOTAS, CR_S3, CR_SERVICE_COUNT };
/* "acm", "iam", "cloudfront", "sts", "support", "servicequotas", "s3": also the signing names. -1 when unknown. */
int cr_service_by_name(const char *name);
const char *cr_service_name(enum cr_service service);

struct cr_endpoint {
  char *url;             /* "https://acm.us-east-1.amazonaws.com", maybe with a path prefix, no trailing slash */
  char *region;          /* signing region */
};

struct cr_account {
  int references;
  char *access_key_id, *secret_access_key, *session_token;   /* token may be NULL */
  int64_t expires_at;                  /* Unix seconds; 0: never */
  struct cr_endpoint endpoints[CR_SERVICE_COUNT];
  int64_t clock_offset_ms;             /* server minus local, learned from answers */
  double retry_tokens;                 /* standard mode's bucket, 500 at first */
  int max_attempts;                    /* 3 unless told otherwise */
  struct cr_pace paces[CR_SERVICE_COUNT][2];   /* of what only reads, and of what writes */
  struct cr_signing_keys *keys;
  struct cr_renewal renewal;
};

struct cr_account *cr_account_new(struct cr_error *err);
struct cr_account *cr_account_ref(struct cr_account *account);
void cr_account_unref(struct cr_account *account);    /* wipes */
/* Copies; the old ones are wiped. access_key_id NULL: anonymous. */
int cr_account_set_credentials(struct cr_account *account, const char *access_key_id, const char *secret_access_key,
                               const char *session_token, int64_t expires_at, struct cr_error *err);
/* Whether a request may be signed now; asks for new credentials where it is time (renewal.h). */
bool cr_account_ready(struct cr_account *account, const struct cr_moment *now);
bool cr_account_usable(const struct cr_account *account, const struct cr_moment *now);   /* the same, asks for nothing */
int cr_account_set_endpoint(struct cr_account *account, enum cr_service service, const char *url, const char *region,
                            struct cr_error *err);

#endif
