/* test_identity_keys.c - private keys in every form that people have them, with and without a passphrase.
 *
 * The judge is OpenSSL: whatever form a key came in, what the identity writes is OpenSSL's own unencrypted PKCS#8. */
#include "load_identity.h"
#include "make_certificates.h"

#define PASS "correct horse \xC3\xA4 battery"

struct pair {
  EVP_PKEY *key;
  X509 *x509;
  char *certificate, *pem; /* pem: PKCS#8, unencrypted */
};

static struct pair make_pair(const char *kind)
{
  struct pair made;
  static struct mk_ca ca; /* keys made in haste cannot sign for themselves */
  bool large = strcmp(kind, "RSA:4096") == 0;
  if(!ca.key) {
    ca = mk_ca("CA", NULL);
  }
  made.key = large ? mk_unprime_rsa(4096) : mk_key(kind);
  made.x509 = mk_leaf("www", "DNS:www.test", made.key, &ca);
  made.certificate = mk_pem(made.x509);
  made.pem = mk_key_pem(made.key, NULL);
  return made;
}

static void free_pair(struct pair *pair)
{
  EVP_PKEY_free(pair->key);
  X509_free(pair->x509);
  free(pair->certificate);
  free(pair->pem);
}

static struct cr_identity *load_bytes(const char *certificate, const void *key, size_t len, const char *passphrase,
                                      struct cr_error *err)
{
  struct cr_identity_source source;
  memset(&source, 0, sizeof source);
  source.certificate_pem = certificate;
  source.certificate_pem_len = strlen(certificate);
  source.private_key_pem = key;
  source.private_key_pem_len = len;
  source.passphrase = passphrase;
  return load(&source, err);
}

/* Loads and compares; `what` is printed when it fails. */
static void expect(const struct pair *pair, const char *what, const void *key, size_t len, const char *passphrase)
{
  struct cr_error err;
  struct cr_identity *identity = load_bytes(pair->certificate, key, len, passphrase, &err);
  if(!identity) {
    printf("%s: %s\n", what, err.message);
  }
  CHECK(identity != NULL);
  CHECK(identity && has_key(identity, pair->pem));
  cr_identity_unref(identity);
}

static void test_forms(void)
{
  static const char *const kinds[] = { "RSA:1024", "RSA:2048", "RSA:4096", "P-256", "P-384", "P-521", "secp256k1" };

  for(size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    struct pair pair = make_pair(kinds[i]);
    char *old = mk_old_key_pem(pair.key, NULL, NULL), *locked = mk_key_pem(pair.key, PASS);
    char *old_locked = mk_old_key_pem(pair.key, EVP_aes_128_cbc(), PASS);
    char *old_3des = mk_old_key_pem(pair.key, EVP_des_ede3_cbc(), PASS);
    size_t len, old_len;
    char *der = mk_key_der(pair.key, 1, &len), *old_der = mk_key_der(pair.key, 0, &old_len);
    struct cr_error err;

    expect(&pair, "PKCS#8", pair.pem, strlen(pair.pem), NULL);
    expect(&pair, "PKCS#8, needless passphrase", pair.pem, strlen(pair.pem), PASS);
    expect(&pair, "old", old, strlen(old), NULL);
    expect(&pair, "PKCS#8 DER", der, len, NULL);
    expect(&pair, "old DER", old_der, old_len, NULL);
    expect(&pair, "encrypted PKCS#8", locked, strlen(locked), PASS);
    expect(&pair, "encrypted, old, AES", old_locked, strlen(old_locked), PASS);
    expect(&pair, "encrypted, old, 3DES", old_3des, strlen(old_3des), PASS);
    REFUSED(load_bytes(pair.certificate, locked, strlen(locked), NULL, &err), err, "PassphraseNeeded", "passphrase");
    REFUSED(load_bytes(pair.certificate, locked, strlen(locked), "wrong", &err), err, "WrongPassphrase", NULL);
    REFUSED(load_bytes(pair.certificate, locked, strlen(locked), "", &err), err, "WrongPassphrase", NULL);
    REFUSED(load_bytes(pair.certificate, old_locked, strlen(old_locked), NULL, &err), err, "PassphraseNeeded", NULL);
    for(int wrong = 0; wrong < 300; wrong++) { /* padding looks right once in 256 times */
      char passphrase[32];
      snprintf(passphrase, sizeof passphrase, "wrong%d", wrong);
      REFUSED(load_bytes(pair.certificate, old_locked, strlen(old_locked), passphrase, &err), err, "WrongPassphrase",
              NULL);
    }
    free(old);
    free(locked);
    free(old_locked);
    free(old_3des);
    free(der);
    free(old_der);
    free_pair(&pair);
  }
}

/* EC keys in the less usual shapes of SEC1: without the public point, with the curve's parameters block before it. */
static void test_ec_shapes(void)
{
  static const char parameters[] = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
  struct pair pair = make_pair("P-256");
  char *old = mk_old_key_pem(pair.key, NULL, NULL), *both = mk_join((const char *const[]){ parameters, old, NULL });
  BIGNUM *scalar = NULL;
  unsigned char bare[] = { 0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                           0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                           0xA0, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07 };
  struct cr_error err;

  expect(&pair, "EC PARAMETERS first", both, strlen(both), NULL);
  mk_need(EVP_PKEY_get_bn_param(pair.key, "priv", &scalar) && BN_bn2binpad(scalar, bare + 7, 32) == 32, "scalar");
  expect(&pair, "no public point", bare, sizeof bare, NULL);
  memset(bare + 7, 0, 32);
  REFUSED(load_bytes(pair.certificate, bare, sizeof bare, NULL, &err), err, "MalformedPrivateKey", NULL);
  memset(bare + 7, 0xFF, 32); /* beyond the order */
  REFUSED(load_bytes(pair.certificate, bare, sizeof bare, NULL, &err), err, "MalformedPrivateKey", NULL);
  {
    /* Somebody else's public point beside the scalar. */
    struct pair other = make_pair("P-256");
    size_t len, other_len;
    char *der = mk_key_der(pair.key, 1, &len), *other_der = mk_key_der(other.key, 1, &other_len);
    CHECK(len == other_len);
    memcpy(der + len - 65, other_der + len - 65, 65);
    REFUSED(load_bytes(pair.certificate, der, len, NULL, &err), err, "MalformedPrivateKey", NULL);
    REFUSED(load_bytes(other.certificate, der, len, NULL, &err), err, "MalformedPrivateKey", NULL);
    free(der);
    free(other_der);
    free_pair(&other);
  }
  bare[50] = 0x7F; /* a curve nobody knows */
  REFUSED(load_bytes(pair.certificate, bare, sizeof bare, NULL, &err), err, "UnsupportedKey", "names no curve");
  BN_clear_free(scalar);
  free(old);
  free(both);
  free_pair(&pair);
}

static void test_unsupported(void)
{
  static const char ssh[] = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
  struct pair ed = make_pair("ED25519"), rsa = make_pair("RSA:2048");
  EVP_PKEY *explicit_key = mk_key("P-256");
  char *locked = mk_key_pem(ed.key, PASS), *text;
  struct cr_error err;

  REFUSED(load_texts(ed.certificate, ed.pem, NULL, NULL, &err), err, "UnsupportedKey", "ED25519");
  REFUSED(load_texts(ed.certificate, locked, NULL, PASS, &err), err, "UnsupportedKey", "ED25519");
  REFUSED(load_texts(rsa.certificate, ssh, NULL, NULL, &err), err, "UnsupportedKey", "OPENSSH");
  mk_need(EVP_PKEY_set_utf8_string_param(explicit_key, "encoding", "explicit") == 1, "explicit parameters");
  text = mk_key_pem(explicit_key, NULL);
  REFUSED(load_texts(rsa.certificate, text, NULL, NULL, &err), err, "UnsupportedKey", "names no curve");
  free(text);
  text = mk_old_key_pem(explicit_key, NULL, NULL);
  REFUSED(load_texts(rsa.certificate, text, NULL, NULL, &err), err, "UnsupportedKey", "names no curve");
  free(text);
  free(locked);
  EVP_PKEY_free(explicit_key);
  free_pair(&ed);
  free_pair(&rsa);
}

/* Any damage to the numbers themselves is noticed here and not by AWS. */
static void test_damaged(void)
{
  static const char *const kinds[] = { "RSA:2048", "P-256" };

  for(int k = 0; k < 2; k++) {
    struct pair pair = make_pair(kinds[k]);
    size_t len, step = k ? 1 : 7;
    char *der = mk_key_der(pair.key, 1, &len);
    size_t end = k ? len : len - 3 * 131; /* dP, dQ and qInv follow from the others: not looked at */
    struct cr_error err;
    struct cr_identity *identity;

    for(size_t i = 0; i < end; i += step) {
      der[i] = (char)(der[i] ^ 0x04);
      identity = load_bytes(pair.certificate, der, len, NULL, &err);
      if(identity) {
        printf("%s: a flipped bit in byte %zu went unnoticed\n", kinds[k], i);
      }
      CHECK(identity == NULL);
      cr_identity_unref(identity);
      der[i] = (char)(der[i] ^ 0x04);
    }
    for(size_t cut = 0; cut < len; cut += step) {
      identity = load_bytes(pair.certificate, der, cut, NULL, &err);
      CHECK(identity == NULL);
      cr_identity_unref(identity);
    }
    free(der);
    free_pair(&pair);
  }
}

static struct cr_identity *load_p12(const char *data, size_t len, const char *passphrase, struct cr_error *err)
{
  struct cr_identity_source source;
  memset(&source, 0, sizeof source);
  source.certificate_pem = data;
  source.certificate_pem_len = len;
  source.passphrase = passphrase;
  return load(&source, err);
}

static void expect_p12(const struct pair *pair, const char *what, const char *data, size_t len, const char *passphrase)
{
  struct cr_error err;
  struct cr_identity *identity = load_p12(data, len, passphrase, &err);
  if(!identity) {
    printf("%s: %s\n", what, err.message);
  }
  CHECK(identity && has_key(identity, pair->pem));
  CHECK(identity && strcmp(cr_identity_certificate_pem(identity), pair->certificate) == 0);
  CHECK(identity && cr_identity_chain_count(identity) == 1);
  cr_identity_unref(identity);
}

static void test_pkcs12(void)
{
  struct mk_ca root = mk_ca("Root", NULL), ca = mk_ca("CA", &root);
  STACK_OF(X509) *others = sk_X509_new_null();
  struct pair pair;
  struct cr_error err;
  struct cr_identity *identity;
  char *data;
  size_t len;

  pair.key = mk_key("RSA:2048");
  pair.x509 = mk_leaf("www", "DNS:www.test", pair.key, &ca);
  pair.certificate = mk_pem(pair.x509);
  pair.pem = mk_key_pem(pair.key, NULL);
  sk_X509_push(others, root.x509);
  sk_X509_push(others, ca.x509);

  data = mk_pkcs12(pair.key, pair.x509, others, PASS, 0, 0, NULL, &len);
  expect_p12(&pair, "usual", data, len, PASS);
  REFUSED(load_p12(data, len, "wrong", &err), err, "WrongPassphrase", "the certificate text");
  REFUSED(load_p12(data, len, NULL, &err), err, "PassphraseNeeded", NULL);
  for(size_t cut = 1; cut < len; cut += 29) {
    identity = load_p12(data, cut, PASS, &err);
    CHECK(identity == NULL);
    cr_identity_unref(identity);
  }
  for(size_t i = 0; i < len; i += 11) { /* no crash, and never another key */
    data[i] = (char)(data[i] ^ 0x10);
    identity = load_p12(data, len, PASS, &err);
    CHECK(!identity || has_key(identity, pair.pem));
    cr_identity_unref(identity);
    data[i] = (char)(data[i] ^ 0x10);
  }
  /* The key out of a PKCS#12, the certificate beside it; and a PKCS#12 as certificate with a key beside it. */
  identity = load_bytes(pair.certificate, data, len, PASS, &err);
  CHECK(identity && has_key(identity, pair.pem));
  cr_identity_unref(identity);
  free(data);

  data = mk_pkcs12(pair.key, pair.x509, others, "", 0, 0, NULL, &len);
  expect_p12(&pair, "empty passphrase, none given", data, len, NULL);
  expect_p12(&pair, "empty passphrase", data, len, "");
  free(data);
  data = mk_pkcs12(pair.key, pair.x509, others, NULL, 0, 0, NULL, &len);
  expect_p12(&pair, "no passphrase", data, len, NULL);
  expect_p12(&pair, "no passphrase, empty given", data, len, "");
  free(data);
  for(int i = 0; i < 3; i++) { /* here the empty passphrase and none derive different keys */
    const char *passphrase = i == 0 ? PASS : i == 1 ? "" : NULL;
    data = mk_pkcs12(pair.key, pair.x509, others, passphrase, NID_pbe_WithSHA1And3_Key_TripleDES_CBC,
                     NID_pbe_WithSHA1And3_Key_TripleDES_CBC, NULL, &len);
    expect_p12(&pair, "3DES", data, len, i == 0 ? PASS : NULL);
    expect_p12(&pair, "3DES", data, len, i == 0 ? PASS : "");
    free(data);
  }
  data = mk_pkcs12(pair.key, pair.x509, others, PASS, -1, -1, NULL, &len);
  expect_p12(&pair, "bags not encrypted", data, len, PASS);
  free(data);
  data = mk_pkcs12(NULL, NULL, others, PASS, 0, 0, NULL, &len);
  REFUSED(load_p12(data, len, PASS, &err), err, "NoPrivateKey", NULL);
  free(data);
  sk_X509_free(others);
  free_pair(&pair);
  mk_ca_free(&ca);
  mk_ca_free(&root);
}

/* What Windows and OpenSSL 1.x wrote: RC2, which OpenSSL 3 keeps in a provider of its own. */
static void test_legacy(void)
{
  OSSL_LIB_CTX *context = OSSL_LIB_CTX_new();
  OSSL_PROVIDER *legacy = OSSL_PROVIDER_load(context, "legacy"), *usual = OSSL_PROVIDER_load(context, "default");
  struct mk_ca ca = mk_ca("CA", NULL);
  struct pair pair = make_pair("RSA:2048");
  STACK_OF(X509) *others = sk_X509_new_null();
  char *data;
  size_t len;

  if(!legacy) {
    printf("no legacy provider on this system: RC2 is not tested\n");
  } else {
    struct cr_error err;
    struct mk_ca below = mk_ca("Below", &ca);
    X509 *leaf = mk_leaf("www", "DNS:www.test", pair.key, &below);
    free(pair.certificate);
    pair.certificate = mk_pem(leaf);
    sk_X509_push(others, below.x509);
    data = mk_pkcs12(pair.key, leaf, others, PASS, NID_pbe_WithSHA1And3_Key_TripleDES_CBC,
                     NID_pbe_WithSHA1And40BitRC2_CBC, context, &len);
    expect_p12(&pair, "RC2", data, len, PASS);
    REFUSED(load_p12(data, len, "wrong", &err), err, "WrongPassphrase", NULL);
    free(data);
    X509_free(leaf);
    mk_ca_free(&below);
  }
  ERR_clear_error();
  /* This process cannot do RC2 afterwards either: nobody else's settings were touched. */
  CHECK(EVP_CIPHER_fetch(NULL, "RC2-40-CBC", NULL) == NULL);
  ERR_clear_error();
  sk_X509_free(others);
  free_pair(&pair);
  mk_ca_free(&ca);
  OSSL_PROVIDER_unload(legacy);
  OSSL_PROVIDER_unload(usual);
  OSSL_LIB_CTX_free(context);
}

/* Single DES in an old PEM, made by hand since OpenSSL 3 will not. */
static void test_single_des(void)
{
  static const unsigned char iv[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
  OSSL_LIB_CTX *context = OSSL_LIB_CTX_new();
  OSSL_PROVIDER *legacy = OSSL_PROVIDER_load(context, "legacy"), *usual = OSSL_PROVIDER_load(context, "default");
  EVP_CIPHER *cipher = legacy ? EVP_CIPHER_fetch(context, "DES-CBC", NULL) : NULL;
  struct pair pair = make_pair("P-256");
  char *text = calloc(1, 4096);
  struct cr_error err;

  mk_need(text != NULL, "memory");
  if(cipher) {
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    unsigned char key[EVP_MAX_KEY_LENGTH], sealed[512], base64[1024];
    size_t len;
    char *der = mk_key_der(pair.key, 0, &len);
    int made = 0, more = 0;
    mk_need(EVP_BytesToKey(cipher, EVP_md5(), iv, (const unsigned char *)"des", 3, 1, key, NULL) > 0 &&
            EVP_EncryptInit_ex(ctx, cipher, NULL, key, iv) &&
            EVP_EncryptUpdate(ctx, sealed, &made, (const unsigned char *)der, (int)len) &&
            EVP_EncryptFinal_ex(ctx, sealed + made, &more), "DES");
    EVP_EncodeBlock(base64, sealed, made + more);
    snprintf(text, 4096, "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: DES-CBC,0102030405060708\n"
             "\n%s\n-----END EC PRIVATE KEY-----\n", (const char *)base64);
    expect(&pair, "single DES", text, strlen(text), "des");
    REFUSED(load_texts(pair.certificate, text, NULL, "wrong", &err), err, "WrongPassphrase", NULL);
    free(der);
    EVP_CIPHER_CTX_free(ctx);
  }
  snprintf(text, 4096, "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: ROT13-CBC,0102030405060708\n"
           "\nAAAA\n-----END EC PRIVATE KEY-----\n");
  REFUSED(load_texts(pair.certificate, text, NULL, "x", &err), err, "UnsupportedEncryption", "openssl pkey");
  free(text);
  free_pair(&pair);
  ERR_clear_error();
  EVP_CIPHER_free(cipher);
  OSSL_PROVIDER_unload(legacy);
  OSSL_PROVIDER_unload(usual);
  OSSL_LIB_CTX_free(context);
}

/* A file that would keep the processor busy for an hour is refused at once. */
static void test_rounds(void)
{
  struct pair pair = make_pair("P-256");
  PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(pair.key);
  X509_SIG *sealed = PKCS8_encrypt(-1, EVP_aes_256_cbc(), "x", 1, NULL, 0, 1000, info);
  X509_ALGOR *many = PKCS5_pbe2_set(EVP_aes_256_cbc(), 2000000000, NULL, 0), *algorithm;
  unsigned char *der = NULL;
  int len = i2d_X509_SIG(sealed, &der);
  struct cr_error err;

  expect(&pair, "a thousand rounds", der, (size_t)len, "x");
  OPENSSL_free(der);
  der = NULL;
  X509_SIG_getm(sealed, &algorithm, NULL);
  mk_need(many && X509_ALGOR_copy(algorithm, many), "rounds");
  len = i2d_X509_SIG(sealed, &der);
  REFUSED(load_bytes(pair.certificate, der, (size_t)len, "x", &err), err, "UnsupportedEncryption", "rounds");
  OPENSSL_free(der);
  X509_ALGOR_free(many);
  X509_SIG_free(sealed);
  PKCS8_PRIV_KEY_INFO_free(info);
  free_pair(&pair);
}

int main(void)
{
  test_forms();
  test_ec_shapes();
  test_unsupported();
  test_damaged();
  test_pkcs12();
  test_legacy();
  test_single_des();
  test_rounds();
  return check_end();
}
