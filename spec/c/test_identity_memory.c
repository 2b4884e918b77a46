/* test_identity_memory.c - every allocation fails once: a clean error or a whole identity, nothing lost, no crash.
 *
 * malloc, calloc, realloc and free of the core are wrapped (spec/CMakeLists.txt); OpenSSL is handed the same through
 * CRYPTO_set_mem_functions. Either is made to fail apart, the first allocation, then the second, and so on. */
#include <stdio.h>
#include <stdlib.h>

#include "load_identity.h"
#include "make_certificates.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *data, size_t size);
void __real_free(void *data);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *data, size_t size);
void __wrap_free(void *data);

static long ours_left = -1, theirs_left = -1; /* allocations that still succeed; -1: all */
static long ours_live;                        /* what the core holds */

static bool refuse(long *left)
{
  if(*left < 0) {
    return false;
  }
  if(*left == 0) {
    return true; /* and every later one too: memory does not come back */
  }
  --*left;
  return false;
}

void *__wrap_malloc(size_t size)
{
  void *data = refuse(&ours_left) ? NULL : __real_malloc(size);
  ours_live += data != NULL;
  return data;
}

void *__wrap_calloc(size_t count, size_t size)
{
  void *data = refuse(&ours_left) ? NULL : __real_calloc(count, size);
  ours_live += data != NULL;
  return data;
}

void *__wrap_realloc(void *data, size_t size)
{
  void *more = refuse(&ours_left) ? NULL : __real_realloc(data, size);
  ours_live += !data && more;
  return more;
}

void __wrap_free(void *data)
{
  ours_live -= data != NULL;
  __real_free(data);
}

static void *their_malloc(size_t size, const char *file, int line)
{
  (void)file;
  (void)line;
  return refuse(&theirs_left) ? NULL : __real_malloc(size);
}

static void *their_realloc(void *data, size_t size, const char *file, int line)
{
  (void)file;
  (void)line;
  return refuse(&theirs_left) ? NULL : __real_realloc(data, size);
}

static void their_free(void *data, const char *file, int line)
{
  (void)file;
  (void)line;
  __real_free(data);
}

static char *certificates, *key, *p12;
static size_t p12_len;

/* One round of key derivation each: thousands of them would be thousands of allocations to fail. */
static char *sealed_key(EVP_PKEY *pkey)
{
  PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(pkey);
  X509_SIG *sealed = PKCS8_encrypt(-1, EVP_aes_256_cbc(), "x", 1, NULL, 0, 1, info);
  BIO *bio = BIO_new(BIO_s_mem());
  mk_need(sealed && PEM_write_bio_PKCS8(bio, sealed), "PKCS#8");
  PKCS8_PRIV_KEY_INFO_free(info);
  X509_SIG_free(sealed);
  return mk_take(bio, NULL);
}

static char *sealed_pkcs12(EVP_PKEY *pkey, X509 *leaf, STACK_OF(X509) *others)
{
  PKCS12 *made = PKCS12_create("x", "test", pkey, leaf, others, 0, 0, 1, 1, 0);
  BIO *bio = BIO_new(BIO_s_mem());
  mk_need(made && i2d_PKCS12_bio(bio, made), "PKCS#12");
  PKCS12_free(made);
  return mk_take(bio, &p12_len);
}

static void make(void)
{
  struct mk_ca root = mk_ca("Root", NULL), ca = mk_ca("CA", &root);
  EVP_PKEY *pkey = mk_key("P-256");
  X509 *leaf = mk_leaf("www", "DNS:www.test,DNS:*.www.test", pkey, &ca);
  char *texts[4] = { mk_pem(ca.x509), mk_pem(leaf), mk_pem(root.x509), NULL };
  STACK_OF(X509) *others = sk_X509_new_null();

  sk_X509_push(others, ca.x509);
  certificates = mk_join((const char *const *)texts);
  key = sealed_key(pkey);
  p12 = sealed_pkcs12(pkey, leaf, others);
  for(int i = 0; i < 3; i++) {
    free(texts[i]);
  }
  sk_X509_free(others);
  X509_free(leaf);
  EVP_PKEY_free(pkey);
  mk_ca_free(&ca);
  mk_ca_free(&root);
}

/* Everything an identity does. True when all of it went well; else *err says why. */
static bool use(bool pkcs12, struct cr_error *err)
{
  struct cr_identity_source source;
  struct cr_identity *identity;
  struct cr_buf out;
  struct cr_tree tree;
  bool fine;

  memset(&source, 0, sizeof source);
  source.certificate_pem = pkcs12 ? p12 : certificates;
  source.certificate_pem_len = pkcs12 ? p12_len : strlen(certificates);
  source.private_key_pem = pkcs12 ? NULL : key;
  source.private_key_pem_len = pkcs12 ? 0 : strlen(key);
  source.passphrase = "x";
  cr_error_clear(err);
  identity = cr_identity_load(&source, err);
  CHECK((identity != NULL) == (err->code[0] == '\0'));
  if(!identity) {
    return false;
  }
  cr_buf_init(&out, 65536);
  cr_tree_init(&tree, 65536);
  if(!cr_node_add(&tree, NULL, NULL, CR_NODE_LIST)) {
    cr_fail_memory(err);
  }
  fine = tree.root && cr_identity_private_key_pem(identity, &out, err) == 0 &&
         cr_identity_check(identity, "acm", 1800000000, NULL, true, &tree, tree.root, err) == 0;
  cr_tree_free(&tree);
  cr_buf_free(&out);
  cr_identity_unref(identity);
  return fine;
}

static void test(bool pkcs12, long *left, const char *whose)
{
  struct cr_error err;
  long live, n;
  bool fine = false;

  CHECK(use(pkcs12, &err)); /* whatever is set up once is set up now */
  live = ours_live;
  for(n = 0; !fine && n < 20000; n++) {
    *left = n;
    fine = use(pkcs12, &err);
    *left = -1;
    CHECK(fine || err.code[0]);
    CHECK(fine || left != &ours_left || err.kind == CR_KIND_MEMORY); /* OpenSSL's often look like damage */
    if(!fine && left == &ours_left && err.kind != CR_KIND_MEMORY) {
      printf("allocation %ld: %s\n", n, err.message);
    }
    CHECK(ours_live == live);
    CHECK(ERR_peek_error() == 0);
    ERR_clear_error();
  }
  CHECK(fine && n > 20);
  printf("%s, %s: %ld allocations\n", pkcs12 ? "PKCS#12" : "PEM", whose, n - 1);
}

int main(void)
{
  mk_need(CRYPTO_set_mem_functions(their_malloc, their_realloc, their_free), "CRYPTO_set_mem_functions");
  setenv("SSL_CERT_FILE", "/nonexistent", 1);
  setenv("SSL_CERT_DIR", "/nonexistent", 1);
  make();
  test(false, &ours_left, "ours");
  test(true, &ours_left, "ours");
  test(false, &theirs_left, "OpenSSL's");
  test(true, &theirs_left, "OpenSSL's");
  free(certificates);
  free(key);
  free(p12);
  return check_end();
}
