/* private_key_decrypt.c - taking the passphrase off a private key or off the bags of a PKCS#12.
 *
 * Nothing here can prompt: no OpenSSL function that knows a passphrase callback is called. What OpenSSL 3 moved to
 * its legacy provider (RC2, single DES) is tried there, in a library context of this call's own, so that the
 * process's own settings stay as they are. Plain bytes end in the caller's struct cr_buf. */
#include "identity_private.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/provider.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS_MAX 10000000 /* some seconds; files made by people have two thousand to two million */
#define HEADERS_MAX 1024

/* Default and legacy algorithms beside the process's own context. */
struct legacy {
  OSSL_LIB_CTX *context;
  OSSL_PROVIDER *old, *usual;
};

static void legacy_close(struct legacy *legacy)
{
  if(legacy->old) {
    OSSL_PROVIDER_unload(legacy->old);
  }
  if(legacy->usual) {
    OSSL_PROVIDER_unload(legacy->usual);
  }
  OSSL_LIB_CTX_free(legacy->context);
}

/* False where this OpenSSL comes without the legacy provider. */
static bool legacy_open(struct legacy *legacy)
{
  memset(legacy, 0, sizeof *legacy);
  legacy->context = OSSL_LIB_CTX_new();
  if(legacy->context) {
    legacy->old = OSSL_PROVIDER_load(legacy->context, "legacy");
    legacy->usual = OSSL_PROVIDER_load(legacy->context, "default");
  }
  if(!legacy->old || !legacy->usual) {
    legacy_close(legacy);
    return false;
  }
  return true;
}

bool cr_rounds_fine(const ASN1_INTEGER *rounds)
{
  int64_t number;
  return !rounds || (ASN1_INTEGER_get_int64(&number, rounds) == 1 && number <= ROUNDS_MAX);
}

/* Refuses what would keep the processor busy for hours; anything unreadable is left for OpenSSL to refuse. */
static bool rounds_of_algorithm_fine(const X509_ALGOR *algorithm)
{
  const ASN1_OBJECT *object;
  const void *value;
  int type;
  bool fine = true;
  PBE2PARAM *pbes2;
  PBKDF2PARAM *pbkdf2;
  PBEPARAM *pbe;

  X509_ALGOR_get0(&object, &type, &value, algorithm);
  if(type != V_ASN1_SEQUENCE) {
    return true;
  }
  if(OBJ_obj2nid(object) == NID_pbes2) {
    pbes2 = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBE2PARAM), algorithm->parameter);
    if(pbes2 && OBJ_obj2nid(pbes2->keyfunc->algorithm) == NID_id_pbkdf2) {
      pbkdf2 = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBKDF2PARAM), pbes2->keyfunc->parameter);
      fine = !pbkdf2 || cr_rounds_fine(pbkdf2->iter);
      PBKDF2PARAM_free(pbkdf2);
    }
    PBE2PARAM_free(pbes2);
  } else {
    pbe = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBEPARAM), algorithm->parameter);
    fine = !pbe || cr_rounds_fine(pbe->iter);
    PBEPARAM_free(pbe);
  }
  return fine;
}

static enum cr_decrypted decrypt_in(OSSL_LIB_CTX *context, const X509_ALGOR *algorithm, const char *passphrase,
                                    const ASN1_OCTET_STRING *sealed, struct cr_buf *plain)
{
  unsigned char *data = NULL;
  int len = 0;
  enum cr_decrypted result = CR_DECRYPTED;

  if(PKCS12_pbe_crypt_ex(algorithm, passphrase, passphrase ? (int)strlen(passphrase) : 0,
                         ASN1_STRING_get0_data(sealed), ASN1_STRING_length(sealed), &data, &len, 0, context, NULL)) {
    if(cr_buf_add(plain, data, (size_t)len) < 0) {
      result = CR_DECRYPT_MEMORY;
    }
    OPENSSL_clear_free(data, (size_t)len);
    return result;
  }
  /* The newest error tells at which of the two stages it stopped. */
  return ERR_GET_LIB(ERR_peek_last_error()) == ERR_LIB_PKCS12 &&
         ERR_GET_REASON(ERR_peek_last_error()) == PKCS12_R_PKCS12_CIPHERFINAL_ERROR
           ? CR_DECRYPT_WRONG : CR_DECRYPT_UNSUPPORTED;
}

enum cr_decrypted cr_decrypt(const X509_ALGOR *algorithm, const char *passphrase, const ASN1_OCTET_STRING *sealed,
                             struct cr_buf *plain)
{
  enum cr_decrypted result = CR_DECRYPT_TOO_SLOW;
  struct legacy legacy;

  ERR_set_mark();
  if(rounds_of_algorithm_fine(algorithm)) {
    result = decrypt_in(NULL, algorithm, passphrase, sealed, plain);
    if(result == CR_DECRYPT_UNSUPPORTED && legacy_open(&legacy)) {
      result = decrypt_in(legacy.context, algorithm, passphrase, sealed, plain);
      legacy_close(&legacy);
    }
  }
  ERR_pop_to_mark();
  return result;
}

enum cr_decrypted cr_decrypt_pkcs8(const void *der, size_t len, const char *passphrase, struct cr_buf *plain)
{
  const unsigned char *at = der;
  const X509_ALGOR *algorithm;
  const ASN1_OCTET_STRING *sealed;
  X509_SIG *whole;
  enum cr_decrypted result = CR_DECRYPT_WRONG;

  ERR_set_mark();
  whole = d2i_X509_SIG(NULL, &at, (long)len);
  if(whole) {
    X509_SIG_get0(whole, &algorithm, &sealed);
    result = cr_decrypt(algorithm, passphrase, sealed, plain);
    X509_SIG_free(whole);
  }
  ERR_pop_to_mark();
  return result;
}

/* CBC and the like with the key derivation of old: one round of MD5, the first bytes of the IV as salt. */
static enum cr_decrypted decrypt_old(const EVP_CIPHER *cipher, const unsigned char *iv, const struct cr_buf *sealed,
                                     const char *passphrase, struct cr_buf *plain)
{
  unsigned char key[EVP_MAX_KEY_LENGTH];
  EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
  unsigned char *out = NULL;
  int len = 0, more = 0;
  enum cr_decrypted result = CR_DECRYPT_WRONG;
  size_t room = sealed->len + EVP_MAX_BLOCK_LENGTH;

  if(!ctx || cr_buf_reserve(plain, room) < 0) {
    EVP_CIPHER_CTX_free(ctx);
    return CR_DECRYPT_MEMORY;
  }
  out = (unsigned char *)plain->data + plain->len;
  if(EVP_BytesToKey(cipher, EVP_md5(), iv, (const unsigned char *)passphrase, (int)strlen(passphrase), 1, key,
                    NULL) == 0 ||
     EVP_DecryptInit_ex(ctx, cipher, NULL, key, iv) != 1) {
    result = CR_DECRYPT_UNSUPPORTED;
  } else if(EVP_DecryptUpdate(ctx, out, &len, (const unsigned char *)sealed->data, (int)sealed->len) == 1 &&
            EVP_DecryptFinal_ex(ctx, out + len, &more) == 1) {
    plain->len += (size_t)(len + more);
    result = CR_DECRYPTED;
  }
  cr_wipe(out + (result == CR_DECRYPTED ? len + more : 0), room - (size_t)(result == CR_DECRYPTED ? len + more : 0));
  cr_wipe(key, sizeof key);
  EVP_CIPHER_CTX_free(ctx);
  return result;
}

enum cr_decrypted cr_decrypt_pem(const char *headers, size_t headers_len, const struct cr_buf *sealed,
                                 const char *passphrase, struct cr_buf *plain)
{
  char copy[HEADERS_MAX];
  EVP_CIPHER_INFO info;
  EVP_CIPHER *cipher = NULL;
  struct legacy legacy;
  enum cr_decrypted result = CR_DECRYPT_UNSUPPORTED;

  if(headers_len >= sizeof copy) {
    return result;
  }
  memcpy(copy, headers, headers_len);
  copy[headers_len] = '\0';
  ERR_set_mark();
  if(PEM_get_EVP_CIPHER_INFO(copy, &info) == 1 && info.cipher) {
    const char *name = EVP_CIPHER_get0_name(info.cipher);
    cipher = EVP_CIPHER_fetch(NULL, name, NULL);
    if(cipher) {
      result = decrypt_old(cipher, info.iv, sealed, passphrase, plain);
    } else if(legacy_open(&legacy)) {
      cipher = EVP_CIPHER_fetch(legacy.context, name, NULL);
      if(cipher) {
        result = decrypt_old(cipher, info.iv, sealed, passphrase, plain);
      }
      EVP_CIPHER_free(cipher);
      cipher = NULL;
      legacy_close(&legacy);
    }
  }
  EVP_CIPHER_free(cipher);
  ERR_pop_to_mark();
  return result;
}

int cr_decrypt_fail(enum cr_decrypted why, const char *from, bool given, struct cr_error *err)
{
  switch(why) {
  case CR_DECRYPTED:
    return 0;
  case CR_DECRYPT_WRONG:
    return given ? cr_fail(err, CR_KIND_INPUT, "WrongPassphrase", "the passphrase does not open %s: give the right one",
                           from)
                 : cr_fail(err, CR_KIND_INPUT, "PassphraseNeeded", "%s is encrypted: give its passphrase", from);
  case CR_DECRYPT_UNSUPPORTED:
    return cr_fail(err, CR_KIND_INPUT, "UnsupportedEncryption",
                   "%s is encrypted in a way that this OpenSSL cannot read: convert it where it can be read, "
                   "for a PKCS#12 with openssl pkcs12 -legacy -in OLD -nodes -out NEW.pem, "
                   "for a key with openssl pkey -provider legacy -provider default -in OLD -out NEW.pem", from);
  case CR_DECRYPT_TOO_SLOW:
    return cr_fail(err, CR_KIND_INPUT, "UnsupportedEncryption",
                   "%s asks for more than %d rounds of key derivation: encrypt it again with fewer", from, ROUNDS_MAX);
  case CR_DECRYPT_MEMORY:
    break;
  }
  return cr_fail_memory(err);
}
