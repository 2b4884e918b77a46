/* load_identity.h - shorthands of the identity tests: load from texts or files, and always look at OpenSSL's queue. */
#ifndef CR_SPEC_LOAD_IDENTITY_H
#define CR_SPEC_LOAD_IDENTITY_H

#include <openssl/err.h>
#include <string.h>

#include "check.h"
#include "identity.h"

static inline struct cr_identity *load(const struct cr_identity_source *source, struct cr_error *err)
{
  struct cr_identity *identity;
  cr_error_clear(err);
  identity = cr_identity_load(source, err);
  CHECK(ERR_peek_error() == 0);
  CHECK((identity != NULL) == (err->code[0] == '\0'));
  if(!identity) {
    CHECK(err->message[0] != '\0' && strlen(err->message) < sizeof err->message - 1 && !strchr(err->message, '\n'));
  }
  return identity;
}

/* Texts; any but the first may be NULL. */
static inline struct cr_identity *load_texts(const char *certificate, const char *key, const char *chain,
                                             const char *passphrase, struct cr_error *err)
{
  struct cr_identity_source source;
  memset(&source, 0, sizeof source);
  source.certificate_pem = certificate;
  source.certificate_pem_len = strlen(certificate);
  source.private_key_pem = key;
  source.private_key_pem_len = key ? strlen(key) : 0;
  source.chain_pem = chain;
  source.chain_pem_len = chain ? strlen(chain) : 0;
  source.passphrase = passphrase;
  return load(&source, err);
}

static inline struct cr_identity *load_files(const char *certificate, const char *key, const char *chain,
                                             const char *passphrase, struct cr_error *err)
{
  struct cr_identity_source source;
  memset(&source, 0, sizeof source);
  source.certificate = certificate;
  source.private_key = key;
  source.chain = chain;
  source.passphrase = passphrase;
  return load(&source, err);
}

/* Expects a refusal with this code whose message has `said` in it (NULL: anything). */
#define REFUSED(identity, error, wanted, said) \
  do { \
    struct cr_identity *refused_ = (identity); \
    CHECK(refused_ == NULL); \
    cr_identity_unref(refused_); \
    CHECK_STR((error).code, wanted); \
    if((said) && !strstr((error).message, (said) ? (said) : "")) { \
      CHECK_STR((error).message, (said) ? (said) : ""); \
    } \
    CHECK((error).kind == CR_KIND_INPUT); \
  } while(0)

/* The private key as the identity writes it equals `pem`. */
static inline bool has_key(const struct cr_identity *identity, const char *pem)
{
  struct cr_buf out;
  struct cr_error err;
  bool same;
  cr_buf_init(&out, 65536);
  same = cr_identity_private_key_pem(identity, &out, &err) == 0 && strcmp(cr_buf_str(&out), pem) == 0;
  cr_buf_free(&out);
  return same;
}

#endif
