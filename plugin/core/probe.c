/* probe.c - verification of a chain that was served (see probe.h). OpenSSL only; owns what it parses. */
#include "probe.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#define CHAIN_MAX 32

static STACK_OF(X509) *read_chain(const char *pem, size_t len)
{
  STACK_OF(X509) *chain = sk_X509_new_null();
  BIO *bio = len <= INT_MAX ? BIO_new_mem_buf(pem, (int)len) : NULL;
  X509 *certificate;

  while(chain && bio && sk_X509_num(chain) < CHAIN_MAX && (certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
    if(!sk_X509_push(chain, certificate)) {
      X509_free(certificate);
      break;
    }
  }
  BIO_free(bio);
  if(chain && sk_X509_num(chain) == 0) {
    sk_X509_free(chain);
    chain = NULL;
  }
  return chain;
}

/* The same rules libcurl sets: server purpose, the name or the address, an intermediate in the CA file is enough. */
static bool set_rules(X509_STORE_CTX *context, const char *host, int64_t now_unix)
{
  X509_VERIFY_PARAM *rules;

  if(!X509_STORE_CTX_set_default(context, "ssl_server")) {
    return false;
  }
  rules = X509_STORE_CTX_get0_param(context);
  X509_VERIFY_PARAM_set_time(rules, (time_t)now_unix);
  X509_VERIFY_PARAM_set_flags(rules, X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST);
  X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return X509_VERIFY_PARAM_set1_ip_asc(rules, host) || X509_VERIFY_PARAM_set1_host(rules, host, 0);
}

int cr_probe_verify(const struct cr_roots *roots, const char *pem, size_t len, const char *host, int64_t now_unix,
                    long *result, char *message, size_t size, struct cr_error *err)
{
  STACK_OF(X509) *chain = read_chain(pem, len);
  X509_STORE_CTX *context = X509_STORE_CTX_new();
  int rc = -1;

  if(!chain) {
    cr_fail(err, CR_KIND_PARSE, "BadCertificate", "the server showed no certificate that can be read");
    goto done;
  }
  if(!context || !X509_STORE_CTX_init(context, cr_roots_store(roots), sk_X509_value(chain, 0), chain) ||
     !set_rules(context, host, now_unix)) {
    cr_fail_memory(err);
    goto done;
  }
  X509_verify_cert(context);
  *result = X509_STORE_CTX_get_error(context);
  snprintf(message, size, "%s", *result == X509_V_OK ? "" : X509_verify_cert_error_string(*result));
  rc = 0;

done:
  X509_STORE_CTX_free(context);
  sk_X509_pop_free(chain, X509_free);
  ERR_clear_error();
  return rc;
}

void cr_probe_forget_errors(void)
{
  ERR_clear_error();
}

int cr_probe_openssl_major(void)
{
  return (int)OPENSSL_version_major();
}
