/* pkcs12.c - the certificates and keys in a PKCS#12 (.p12, .pfx).
 *
 * The bags are walked here instead of calling PKCS12_parse: that makes EVP_PKEYs (identity_private.h), and cannot
 * say whether the passphrase or the encryption was the trouble. */
#include "identity_private.h"

#include <openssl/err.h>
#include <openssl/pkcs12.h>
#include <string.h>

#define NESTING_MAX 4
#define BAGS_MAX 1000

struct walk {
  struct cr_material *material;
  const char *passphrase;      /* as the MAC accepted it: NULL and "" are two passphrases */
  const char *from;
  bool given;
  int bags;
  struct cr_error *err;
};

static int malformed(const char *from, struct cr_error *err)
{
  return cr_fail(err, CR_KIND_INPUT, "MalformedCertificate",
                 "%s is a damaged PKCS#12: export it again, or convert it with "
                 "openssl pkcs12 -in OLD -nodes -out NEW.pem", from);
}

static int take_shrouded_key(struct walk *walk, const X509_SIG *sealed_key)
{
  const X509_ALGOR *algorithm;
  const ASN1_OCTET_STRING *sealed;
  struct cr_buf plain;
  enum cr_decrypted opened;
  int rc;

  if(!sealed_key) {
    return malformed(walk->from, walk->err);
  }
  X509_SIG_get0(sealed_key, &algorithm, &sealed);
  cr_buf_init(&plain, CR_IDENTITY_FILE_MAX);
  opened = cr_decrypt(algorithm, walk->passphrase, sealed, &plain);
  rc = opened == CR_DECRYPTED
         ? cr_material_add_key(walk->material, cr_buf_str(&plain), plain.len, walk->from, walk->err)
         : cr_decrypt_fail(opened, walk->from, walk->given, walk->err);
  cr_buf_free(&plain);
  return rc;
}

static int take_plain_key(struct walk *walk, const PKCS8_PRIV_KEY_INFO *key)
{
  struct cr_buf der;
  unsigned char *at;
  int len = i2d_PKCS8_PRIV_KEY_INFO(key, NULL), rc;

  if(len <= 0) {
    return malformed(walk->from, walk->err);
  }
  cr_buf_init(&der, CR_IDENTITY_FILE_MAX);
  if(cr_buf_reserve(&der, (size_t)len) < 0) {
    return cr_fail_memory(walk->err);
  }
  at = (unsigned char *)der.data;
  len = i2d_PKCS8_PRIV_KEY_INFO(key, &at);
  der.len = len > 0 ? (size_t)len : 0;
  rc = cr_material_add_key(walk->material, der.data, der.len, walk->from, walk->err);
  cr_buf_free(&der);
  return rc;
}

static int take_bags(struct walk *walk, const STACK_OF(PKCS12_SAFEBAG) *bags, int depth)
{
  int rc = 0;

  for(int i = 0; rc == 0 && i < sk_PKCS12_SAFEBAG_num(bags); i++) {
    PKCS12_SAFEBAG *bag = sk_PKCS12_SAFEBAG_value(bags, i);
    const PKCS8_PRIV_KEY_INFO *key;
    X509 *x509;
    if(++walk->bags > BAGS_MAX) {
      return malformed(walk->from, walk->err);
    }
    switch(PKCS12_SAFEBAG_get_nid(bag)) {
    case NID_certBag:
      x509 = PKCS12_SAFEBAG_get_bag_nid(bag) == NID_x509Certificate ? PKCS12_SAFEBAG_get1_cert(bag) : NULL;
      rc = x509 ? cr_material_add_certificate(walk->material, x509, walk->from, walk->err)
                : malformed(walk->from, walk->err);
      break;
    case NID_keyBag:
      key = PKCS12_SAFEBAG_get0_p8inf(bag);
      walk->material->saw_private_key = true;
      rc = walk->material->want_keys && key ? take_plain_key(walk, key) : 0;
      break;
    case NID_pkcs8ShroudedKeyBag:
      walk->material->saw_private_key = true;
      rc = walk->material->want_keys ? take_shrouded_key(walk, PKCS12_SAFEBAG_get0_pkcs8(bag)) : 0;
      break;
    case NID_safeContentsBag:
      rc = depth < NESTING_MAX && PKCS12_SAFEBAG_get0_safes(bag)
             ? take_bags(walk, PKCS12_SAFEBAG_get0_safes(bag), depth + 1) : malformed(walk->from, walk->err);
      break;
    default: /* revocation lists, secrets: not ours */
      break;
    }
  }
  return rc;
}

/* The bags of one safe; NULL with *walk->err. */
static STACK_OF(PKCS12_SAFEBAG) *open_safe(struct walk *walk, PKCS7 *safe)
{
  STACK_OF(PKCS12_SAFEBAG) *bags = NULL;
  const PKCS7_ENC_CONTENT *content;
  const unsigned char *at;
  enum cr_decrypted opened;
  struct cr_buf plain;

  if(PKCS7_type_is_data(safe)) {
    bags = PKCS12_unpack_p7data(safe);
    if(!bags) {
      malformed(walk->from, walk->err);
    }
    return bags;
  }
  content = safe->d.encrypted ? safe->d.encrypted->enc_data : NULL;
  if(!content || !content->algorithm || !content->enc_data) {
    malformed(walk->from, walk->err);
    return NULL;
  }
  cr_buf_init(&plain, CR_IDENTITY_FILE_MAX);
  opened = cr_decrypt(content->algorithm, walk->passphrase, content->enc_data, &plain);
  if(opened != CR_DECRYPTED) {
    cr_decrypt_fail(opened, walk->from, walk->given, walk->err);
  } else {
    at = (const unsigned char *)cr_buf_str(&plain);
    bags = (STACK_OF(PKCS12_SAFEBAG) *)ASN1_item_d2i(NULL, &at, (long)plain.len, ASN1_ITEM_rptr(PKCS12_SAFEBAGS));
    if(!bags) {
      cr_decrypt_fail(CR_DECRYPT_WRONG, walk->from, walk->given, walk->err);
    }
  }
  cr_buf_free(&plain);
  return bags;
}

/* Whether the file's checksum accepts this form of the passphrase. */
static enum cr_decrypted verify(PKCS12 *p12, const char *passphrase, int len)
{
  unsigned long why;

  if(PKCS12_verify_mac(p12, passphrase, len) == 1) {
    return CR_DECRYPTED;
  }
  why = ERR_peek_last_error();
  return ERR_GET_LIB(why) == ERR_LIB_PKCS12 && ERR_GET_REASON(why) == PKCS12_R_MAC_GENERATION_ERROR
           ? CR_DECRYPT_UNSUPPORTED : CR_DECRYPT_WRONG;
}

/* Finds out in which form the passphrase fits: programs that mean "none" write either of two. */
static enum cr_decrypted passphrase_fits(PKCS12 *p12, struct walk *walk)
{
  enum cr_decrypted result;

  if(!PKCS12_mac_present(p12)) {
    return CR_DECRYPTED;
  }
  if(walk->passphrase && *walk->passphrase) {
    return verify(p12, walk->passphrase, -1);
  }
  walk->passphrase = NULL;
  result = verify(p12, NULL, 0);
  if(result == CR_DECRYPT_WRONG) {
    walk->passphrase = "";
    result = verify(p12, "", 0);
  }
  return result;
}

static int read_safes(PKCS12 *p12, struct walk *walk)
{
  STACK_OF(PKCS7) *safes;
  const ASN1_INTEGER *rounds = NULL;
  enum cr_decrypted fits;
  int rc = 0;

  PKCS12_get0_mac(NULL, NULL, NULL, &rounds, p12);
  fits = cr_rounds_fine(rounds) ? passphrase_fits(p12, walk) : CR_DECRYPT_TOO_SLOW;
  if(fits != CR_DECRYPTED) {
    return cr_decrypt_fail(fits, walk->from, walk->given, walk->err);
  }
  safes = PKCS12_unpack_authsafes(p12);
  if(!safes) {
    return malformed(walk->from, walk->err);
  }
  for(int i = 0; rc == 0 && i < sk_PKCS7_num(safes); i++) {
    PKCS7 *safe = sk_PKCS7_value(safes, i);
    STACK_OF(PKCS12_SAFEBAG) *bags;
    if(!PKCS7_type_is_data(safe) && !PKCS7_type_is_encrypted(safe)) {
      continue; /* sealed for somebody's public key: not ours */
    }
    bags = open_safe(walk, safe);
    rc = bags ? take_bags(walk, bags, 0) : -1;
    sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
  }
  sk_PKCS7_pop_free(safes, PKCS7_free);
  return rc;
}

int cr_pkcs12_read(struct cr_material *material, const void *der, size_t len, const char *passphrase,
                   const char *from, struct cr_error *err)
{
  struct walk walk = { material, passphrase, from, passphrase != NULL, 0, err };
  const unsigned char *at = der;
  PKCS12 *p12;
  int rc;

  ERR_set_mark();
  p12 = d2i_PKCS12(NULL, &at, (long)len);
  rc = p12 ? read_safes(p12, &walk) : malformed(from, err);
  PKCS12_free(p12);
  ERR_pop_to_mark();
  return rc;
}
