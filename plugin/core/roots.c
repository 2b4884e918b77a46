/* roots.c - CA certificates, read in slices (see roots.h). Owns its store and, while it reads, the open file. */
#include "roots.h"
#include "poller.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>

struct cr_roots {
  X509_STORE *store;
  char *ca_file;
  BIO *file;           /* NULL: not begun, or read to its end */
  size_t count;
  bool done;
};

struct cr_roots *cr_roots_new(const char *ca_file)
{
  struct cr_roots *roots = calloc(1, sizeof *roots);

  if(!roots) {
    return NULL;
  }
  roots->store = X509_STORE_new();
  roots->ca_file = ca_file ? cr_strdup(ca_file) : NULL;
  /* As libcurl has it: an intermediate in the file is enough. */
  if(!roots->store || (ca_file && !roots->ca_file) ||
     !X509_STORE_set_flags(roots->store, X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST)) {
    cr_roots_free(roots);
    return NULL;
  }
  return roots;
}

void cr_roots_free(struct cr_roots *roots)
{
  if(roots) {
    BIO_free(roots->file);
    X509_STORE_free(roots->store);
    free(roots->ca_file);
    free(roots);
  }
}

static int fail_file(const struct cr_roots *roots, const char *why, struct cr_error *err)
{
  return cr_fail(err, CR_KIND_TRANSPORT, "CaFileUnusable", "the CA file %s cannot be used: %s (ca_file, AWS_CA_BUNDLE)",
                 roots->ca_file, why);
}

/* One certificate more. 1: there may be others; 0: the file is at its end. */
static int read_one(struct cr_roots *roots, struct cr_error *err)
{
  X509 *certificate;
  unsigned long error;
  int added;

  ERR_clear_error();
  certificate = PEM_read_bio_X509_AUX(roots->file, NULL, NULL, NULL);
  error = certificate ? 0 : ERR_peek_last_error();

  if(!certificate) {
    if(ERR_GET_LIB(error) != ERR_LIB_PEM || ERR_GET_REASON(error) != PEM_R_NO_START_LINE) {
      return fail_file(roots, "a certificate in it cannot be read", err);
    }
    return roots->count ? 0 : fail_file(roots, "it holds no certificate", err);
  }
  added = X509_STORE_add_cert(roots->store, certificate); /* one that is there already is fine */
  X509_free(certificate);
  roots->count++;
  return added ? 1 : cr_fail_memory(err);
}

static int read_slice(struct cr_roots *roots, int64_t until_ms, struct cr_error *err)
{
  int rc = 1;

  if(!roots->ca_file) {
    roots->done = true;
    return X509_STORE_set_default_paths(roots->store) ? 0 : cr_fail_memory(err);
  }
  if(!roots->file) {
    roots->file = BIO_new_file(roots->ca_file, "re");
    if(!roots->file) {
      return fail_file(roots, "it cannot be opened", err);
    }
    roots->count = 0;
  }
  do {
    rc = read_one(roots, err);
  } while(rc > 0 && cr_monotonic_ms() < until_ms);
  if(rc > 0) {
    return 0;
  }
  BIO_free(roots->file);
  roots->file = NULL;
  roots->done = rc == 0;
  return rc;
}

int cr_roots_read(struct cr_roots *roots, int64_t until_ms, struct cr_error *err)
{
  int rc = roots->done ? 0 : read_slice(roots, until_ms, err);

  ERR_clear_error();
  return rc;
}

int cr_roots_add(struct cr_roots *roots, const char *path, struct cr_error *err)
{
  struct cr_roots more = { .store = roots->store, .ca_file = cr_strdup(path) };
  struct cr_error why;
  int rc;

  if(!more.ca_file) {
    return cr_fail_memory(err);
  }
  cr_error_clear(&why);
  more.file = BIO_new_file(path, "re");
  rc = more.file ? 1 : fail_file(&more, "it cannot be opened", &why);
  while(rc > 0) {
    rc = read_one(&more, &why);
  }
  BIO_free(more.file);
  free(more.ca_file);
  ERR_clear_error();
  if(rc < 0 && why.kind != CR_KIND_MEMORY) {
    return cr_fail(err, CR_KIND_INPUT, "TrustFileUnusable",
                   "the file of more roots \"%s\" cannot be used: a PEM file with at least one certificate is needed "
                   "(trust)", path);
  }
  return rc < 0 ? cr_fail_memory(err) : 0;
}

bool cr_roots_read_all(const struct cr_roots *roots)
{
  return roots->done;
}

X509_STORE *cr_roots_store(const struct cr_roots *roots)
{
  return roots->store;
}

void cr_roots_apply(const struct cr_roots *roots, SSL_CTX *context)
{
  SSL_CTX_set1_cert_store(context, roots->store);
}
