/* make_certificates.h - keys, certificates and their texts, made while a test runs; through OpenSSL, in memory.
 *
 * For C tests only. Every function ends the program when it cannot do its job, so tests need not check. What is
 * returned belongs to the caller: EVP_PKEY_free, X509_free, free. */
#ifndef CR_SPEC_MAKE_CERTIFICATES_H
#define CR_SPEC_MAKE_CERTIFICATES_H

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MK_DAY (24 * 60 * 60)

static inline void mk_need(int fine, const char *what)
{
  if(!fine) {
    fprintf(stderr, "cannot make a test certificate: %s\n", what);
    ERR_print_errors_fp(stderr);
    exit(2);
  }
}

/* "RSA:2048", or a curve or algorithm: "P-256", "ED25519". */
static inline EVP_PKEY *mk_key(const char *kind)
{
  EVP_PKEY *key;
  if(strncmp(kind, "RSA:", 4) == 0) {
    key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)atoi(kind + 4));
  } else if(strncmp(kind, "ED", 2) == 0) {
    key = EVP_PKEY_Q_keygen(NULL, NULL, kind);
  } else {
    key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", kind);
  }
  mk_need(key != NULL, kind);
  return key;
}

/* A large RSA key at once: its numbers fit together, but the factors are no primes. It cannot sign; it can be
 * certified, matched, encrypted and written. */
static inline EVP_PKEY *mk_unprime_rsa(int bits)
{
  static const char *const names[] = { "n", "e", "d", "rsa-factor1", "rsa-factor2", "rsa-exponent1", "rsa-exponent2",
                                       "rsa-coefficient1" };
  enum { N, E, D, P, Q, DP, DQ, QI };
  BIGNUM *number[8], *less_p = BN_new(), *less_q = BN_new(), *product = BN_new();
  BN_CTX *ctx = BN_CTX_new();
  OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
  OSSL_PARAM *params;
  EVP_PKEY_CTX *key_ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
  EVP_PKEY *key = NULL;

  for(int i = 0; i < 8; i++) {
    number[i] = BN_new();
  }
  BN_set_word(number[E], 65537);
  do { /* until there are inverses */
    BN_rand(number[P], bits / 2, BN_RAND_TOP_TWO, BN_RAND_BOTTOM_ODD);
    BN_rand(number[Q], bits - bits / 2, BN_RAND_TOP_TWO, BN_RAND_BOTTOM_ODD);
    BN_sub(less_p, number[P], BN_value_one());
    BN_sub(less_q, number[Q], BN_value_one());
    BN_mul(product, less_p, less_q, ctx);
  } while(!BN_mod_inverse(number[D], number[E], product, ctx) ||
          !BN_mod_inverse(number[QI], number[Q], number[P], ctx));
  ERR_clear_error();
  BN_mul(number[N], number[P], number[Q], ctx);
  BN_mod(number[DP], number[D], less_p, ctx);
  BN_mod(number[DQ], number[D], less_q, ctx);
  for(int i = 0; i < 8; i++) {
    mk_need(OSSL_PARAM_BLD_push_BN(builder, names[i], number[i]), names[i]);
  }
  params = OSSL_PARAM_BLD_to_param(builder);
  mk_need(params && EVP_PKEY_fromdata_init(key_ctx) > 0 &&
          EVP_PKEY_fromdata(key_ctx, &key, EVP_PKEY_KEYPAIR, params) > 0, "RSA from numbers");
  for(int i = 0; i < 8; i++) {
    BN_clear_free(number[i]);
  }
  BN_free(less_p);
  BN_free(less_q);
  BN_free(product);
  BN_CTX_free(ctx);
  OSSL_PARAM_free(params);
  OSSL_PARAM_BLD_free(builder);
  EVP_PKEY_CTX_free(key_ctx);
  return key;
}

struct mk_options {
  const char *cn;              /* NULL: an empty subject */
  EVP_PKEY *key;               /* of the certificate; only its public half goes in */
  X509 *issuer;                /* NULL: self-signed */
  EVP_PKEY *issuer_key;        /* signs; NULL: key */
  const char *issuer_cn;       /* instead of the issuer's name */
  const char *names;           /* subjectAltName as OpenSSL writes it, "DNS:a.test,DNS:*.b.test"; NULL: none */
  int ca;                      /* basicConstraints CA:TRUE */
  const char *usage;           /* extendedKeyUsage; NULL: none */
  const char *access;          /* authorityInfoAccess, "OCSP;URI:http://..." */
  int64_t not_before, not_after;  /* Unix seconds; 0: yesterday and in 90 days */
  const char *serial;          /* hexadecimal; NULL: random */
};

static inline void mk_extension(X509 *x509, X509V3_CTX *ctx, int nid, const char *value)
{
  X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, ctx, nid, value);
  mk_need(extension && X509_add_ext(x509, extension, -1), value);
  X509_EXTENSION_free(extension);
}

static inline void mk_serial(X509 *x509, const char *hex)
{
  BIGNUM *number = NULL;
  if(hex) {
    mk_need(BN_hex2bn(&number, hex) > 0, "serial");
  } else {
    number = BN_new();
    mk_need(number && BN_rand(number, 120, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY), "serial");
  }
  mk_need(BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x509)) != NULL, "serial");
  BN_free(number);
}

static inline X509_NAME *mk_name(const char *cn)
{
  X509_NAME *name = X509_NAME_new();
  mk_need(name && (!cn || X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0)),
          "name");
  return name;
}

/* Everything but the signature, so that a test can add something odd before mk_sign. */
static inline X509 *mk_unsigned(const struct mk_options *options)
{
  X509 *x509 = X509_new(), *issuer = options->issuer ? options->issuer : x509;
  X509_NAME *subject = mk_name(options->cn), *other = options->issuer_cn ? mk_name(options->issuer_cn) : NULL;
  time_t now = time(NULL);
  X509V3_CTX ctx;

  mk_need(x509 && X509_set_version(x509, X509_VERSION_3), "certificate");
  mk_serial(x509, options->serial);
  mk_need(ASN1_TIME_set(X509_getm_notBefore(x509), options->not_before ? (time_t)options->not_before : now - MK_DAY) &&
          ASN1_TIME_set(X509_getm_notAfter(x509), options->not_after ? (time_t)options->not_after : now + 90 * MK_DAY),
          "validity");
  mk_need(X509_set_subject_name(x509, subject) &&
          X509_set_issuer_name(x509, other ? other : X509_get_subject_name(issuer)) &&
          X509_set_pubkey(x509, options->key), "fields");
  X509V3_set_ctx(&ctx, issuer, x509, NULL, NULL, 0);
  mk_extension(x509, &ctx, NID_basic_constraints, options->ca ? "critical,CA:TRUE" : "CA:FALSE");
  mk_extension(x509, &ctx, NID_key_usage, options->ca ? "critical,keyCertSign,cRLSign"
                                                      : "critical,digitalSignature,keyEncipherment");
  if(options->usage) {
    mk_extension(x509, &ctx, NID_ext_key_usage, options->usage);
  }
  if(options->access) {
    mk_extension(x509, &ctx, NID_info_access, options->access);
  }
  if(options->names) {
    mk_extension(x509, &ctx, NID_subject_alt_name, options->names);
  }
  X509_NAME_free(subject);
  X509_NAME_free(other);
  return x509;
}

static inline X509 *mk_sign(X509 *x509, EVP_PKEY *key)
{
  int own = EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519;
  mk_need(X509_sign(x509, key, own ? NULL : EVP_sha256()) > 0, "signature");
  return x509;
}

static inline X509 *mk_certificate(const struct mk_options *options)
{
  return mk_sign(mk_unsigned(options), options->issuer_key ? options->issuer_key : options->key);
}

/* An authority: certificate and key that sign others. */
struct mk_ca {
  X509 *x509;
  EVP_PKEY *key;
};

static inline struct mk_ca mk_ca(const char *cn, const struct mk_ca *above)
{
  struct mk_ca made;
  struct mk_options options;
  memset(&options, 0, sizeof options);
  options.cn = cn;
  options.key = made.key = mk_key("P-256");
  options.issuer = above ? above->x509 : NULL;
  options.issuer_key = above ? above->key : NULL;
  options.ca = 1;
  options.not_after = time(NULL) + 1000 * (int64_t)MK_DAY;
  made.x509 = mk_certificate(&options);
  return made;
}

static inline void mk_ca_free(struct mk_ca *ca)
{
  X509_free(ca->x509);
  EVP_PKEY_free(ca->key);
}

/* A server's certificate, valid for ninety days. */
static inline X509 *mk_leaf(const char *cn, const char *names, EVP_PKEY *key, const struct mk_ca *above)
{
  struct mk_options options;
  memset(&options, 0, sizeof options);
  options.cn = cn;
  options.names = names;
  options.key = key;
  options.issuer = above ? above->x509 : NULL;
  options.issuer_key = above ? above->key : NULL;
  options.usage = "serverAuth";
  return mk_certificate(&options);
}

/* Takes the bytes out of a memory BIO and frees it; NUL-terminated, *len may be NULL. */
static inline char *mk_take(BIO *bio, size_t *len)
{
  char *data, *text;
  long size = BIO_get_mem_data(bio, &data);
  text = malloc((size_t)size + 1);
  mk_need(text != NULL, "memory");
  memcpy(text, data, (size_t)size);
  text[size] = '\0';
  if(len) {
    *len = (size_t)size;
  }
  BIO_free(bio);
  return text;
}

static inline char *mk_pem(X509 *x509)
{
  BIO *bio = BIO_new(BIO_s_mem());
  mk_need(PEM_write_bio_X509(bio, x509), "PEM");
  return mk_take(bio, NULL);
}

static inline char *mk_der(X509 *x509, size_t *len)
{
  BIO *bio = BIO_new(BIO_s_mem());
  mk_need(i2d_X509_bio(bio, x509), "DER");
  return mk_take(bio, len);
}

/* PKCS#8, encrypted when a passphrase is given. */
static inline char *mk_key_pem(EVP_PKEY *key, const char *passphrase)
{
  BIO *bio = BIO_new(BIO_s_mem());
  mk_need(PEM_write_bio_PKCS8PrivateKey(bio, key, passphrase ? EVP_aes_256_cbc() : NULL, passphrase,
                                        passphrase ? (int)strlen(passphrase) : 0, NULL, NULL), "PKCS#8");
  return mk_take(bio, NULL);
}

/* "BEGIN RSA PRIVATE KEY" or "BEGIN EC PRIVATE KEY"; with a cipher: the old encryption. */
static inline char *mk_old_key_pem(EVP_PKEY *key, const EVP_CIPHER *cipher, const char *passphrase)
{
  BIO *bio = BIO_new(BIO_s_mem());
  mk_need(PEM_write_bio_PrivateKey_traditional(bio, key, cipher, (const unsigned char *)passphrase,
                                               passphrase ? (int)strlen(passphrase) : 0, NULL, NULL), "old PEM");
  return mk_take(bio, NULL);
}

static inline char *mk_key_der(EVP_PKEY *key, int pkcs8, size_t *len)
{
  BIO *bio = BIO_new(BIO_s_mem());
  mk_need(pkcs8 ? i2d_PKCS8PrivateKey_bio(bio, key, NULL, NULL, 0, NULL, NULL) : i2d_PrivateKey_bio(bio, key), "DER");
  return mk_take(bio, len);
}

/* others: NULL, or what goes in besides the leaf. nid_key, nid_certificate: 0 for OpenSSL's usual, -1 for none.
 * context: NULL, or one that has the legacy provider. */
static inline char *mk_pkcs12(EVP_PKEY *key, X509 *leaf, STACK_OF(X509) *others, const char *passphrase, int nid_key,
                              int nid_certificate, OSSL_LIB_CTX *context, size_t *len)
{
  PKCS12 *p12 = PKCS12_create_ex(passphrase, "test", key, leaf, others, nid_key, nid_certificate, 0, 0, 0, context,
                                 NULL);
  BIO *bio = BIO_new(BIO_s_mem());
  mk_need(p12 && i2d_PKCS12_bio(bio, p12), "PKCS#12");
  PKCS12_free(p12);
  return mk_take(bio, len);
}

/* The texts one after the other; the list ends with NULL. */
static inline char *mk_join(const char *const *texts)
{
  size_t len = 0;
  char *all;
  for(size_t i = 0; texts[i]; i++) {
    len += strlen(texts[i]);
  }
  all = calloc(1, len + 1);
  mk_need(all != NULL, "memory");
  for(size_t i = 0; texts[i]; i++) {
    strcat(all, texts[i]);
  }
  return all;
}

/* A folder of this run's own, and files in it; mk_folder_remove takes both away. */
static inline char *mk_folder(void)
{
  const char *parent = getenv("TMPDIR");
  char *path = malloc(4096);
  mk_need(path != NULL, "memory");
  snprintf(path, 4096, "%s/certrotate-test-XXXXXX", parent && *parent ? parent : "/tmp");
  mk_need(mkdtemp(path) != NULL, path);
  return path;
}

/* The path of `name` in the folder, written when there is data; in one of a few static places, used in turn. */
static inline const char *mk_file(const char *folder, const char *name, const void *data, size_t len)
{
  static char paths[8][4200];
  static unsigned turn;
  char *path = paths[turn++ % 8];
  snprintf(path, 4200, "%s/%s", folder, name);
  if(data) {
    FILE *file = fopen(path, "wb");
    mk_need(file && fwrite(data, 1, len, file) == len && fclose(file) == 0, path);
  }
  return path;
}

#endif
