/* fuzz_identity.c - libFuzzer over certificate texts, private keys, bundles and PKCS#12.
 *
 * First byte: what the rest is. Whatever it is, OpenSSL's error queue has to be empty afterwards and a refusal has to
 * say something; what does load has to load again from its own texts, as the same.
 *
 * A start: fuzz_identity -max_len=8192 FOLDER, with in FOLDER files made by openssl (certificate, key, PKCS#12 with
 * the passphrase "x"), each with one byte '0' to '4' put before it. */
#include <openssl/err.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "identity.h"
#include "make_certificates.h"

#define REQUIRE(condition) \
  do { \
    if(!(condition)) { \
      abort(); \
    } \
  } while(0)

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *leaf_pem, *key_pem;

/* A fixed pair would be a key in the sources; a fresh one serves as well, since no finding depends on its value. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
  EVP_PKEY *key = mk_key("P-256");
  X509 *leaf = mk_leaf("www", "DNS:www.test", key, NULL);
  (void)argc;
  (void)argv;
  leaf_pem = mk_pem(leaf);
  key_pem = mk_key_pem(key, NULL);
  X509_free(leaf);
  EVP_PKEY_free(key);
  return 0;
}

static void check_again(const struct cr_identity *identity)
{
  struct cr_identity_source source;
  struct cr_identity *again;
  struct cr_error err;
  struct cr_buf key, other;
  struct cr_tree tree;

  cr_buf_init(&key, 1 << 20);
  cr_buf_init(&other, 1 << 20);
  REQUIRE(cr_identity_private_key_pem(identity, &key, &err) == 0);
  memset(&source, 0, sizeof source);
  source.certificate_pem = cr_identity_certificate_pem(identity);
  source.certificate_pem_len = strlen(source.certificate_pem);
  source.private_key_pem = cr_buf_str(&key);
  source.private_key_pem_len = key.len;
  if(cr_identity_chain_count(identity) > 0) {
    source.chain_pem = cr_identity_chain_pem(identity);
    source.chain_pem_len = strlen(source.chain_pem);
  }
  again = cr_identity_load(&source, &err);
  REQUIRE(again != NULL);
  REQUIRE(strcmp(cr_identity_leaf(again)->fingerprint, cr_identity_leaf(identity)->fingerprint) == 0);
  REQUIRE(strcmp(cr_identity_chain_pem(again), cr_identity_chain_pem(identity)) == 0);
  REQUIRE(cr_identity_private_key_pem(again, &other, &err) == 0 && strcmp(cr_buf_str(&other), cr_buf_str(&key)) == 0);
  REQUIRE(cr_identity_key_matches(identity, source.certificate_pem, source.certificate_pem_len));
  cr_tree_init(&tree, 1 << 20);
  REQUIRE(cr_node_add(&tree, NULL, NULL, CR_NODE_LIST) != NULL);
  REQUIRE(cr_identity_check(identity, "acm", 1800000000, NULL, true, &tree, tree.root, &err) == 0);
  cr_tree_free(&tree);
  cr_identity_unref(again);
  cr_buf_free(&key);
  cr_buf_free(&other);
}

static void try_certificate(const char *text, size_t len)
{
  struct cr_certificate got;
  struct cr_error err;

  if(cr_certificate_parse(text, len, &got, &err) == 0) {
    REQUIRE(strlen(got.fingerprint) == CR_FINGERPRINT_HEX && got.subject && got.issuer && got.serial);
    for(size_t i = 0; i < got.name_count; i++) {
      REQUIRE(got.names[i][0] && cr_certificate_covers(&got, got.names[i]));
    }
    cr_certificate_free(&got);
  } else {
    REQUIRE(err.code[0] && err.message[0]);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct cr_identity_source source;
  struct cr_identity *identity = NULL;
  struct cr_error err;
  const char *text = (const char *)data + 1;

  if(size < 1) {
    return 0;
  }
  size--;
  memset(&source, 0, sizeof source);
  source.passphrase = data[0] & 1 ? "x" : NULL;
  source.certificate_pem = leaf_pem;
  source.certificate_pem_len = strlen(leaf_pem);
  source.private_key_pem = key_pem;
  source.private_key_pem_len = strlen(key_pem);
  switch(data[0] % 5) {
  case 3: /* '0', '5' */
    try_certificate(text, size);
    break;
  case 4: /* '1', '6': a bundle or PKCS#12 */
    source.private_key_pem = NULL;
    source.certificate_pem = text;
    source.certificate_pem_len = size;
    identity = cr_identity_load(&source, &err);
    break;
  case 0: /* '2', '7': a private key */
    source.private_key_pem = text;
    source.private_key_pem_len = size;
    identity = cr_identity_load(&source, &err);
    break;
  case 1: /* '3', '8': a chain */
    source.chain_pem = text;
    source.chain_pem_len = size;
    identity = cr_identity_load(&source, &err);
    break;
  default: /* '4', '9': certificates beside a good key */
    source.certificate_pem = text;
    source.certificate_pem_len = size;
    identity = cr_identity_load(&source, &err);
    break;
  }
  if(identity) {
    check_again(identity);
    cr_identity_unref(identity);
  } else if(data[0] % 5 != 3) {
    REQUIRE(err.code[0] && err.message[0]);
  }
  REQUIRE(ERR_peek_error() == 0);
  return 0;
}
