/* signing_keys.c - the signing keys of the last few days, and the digests everything of the signer is made with.
 *
 * Includes OpenSSL's digests. A key's memory belongs to its slot in struct cr_signing_keys and is wiped with it. */
#include "sigv4_private.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define SHA256_BLOCK 64
#define CACHED_KEYS 16

/* One derived key, as the two SHA-256 states HMAC begins with: the key itself is not kept. */
struct signing_key {
  char *secret, *scope;
  size_t secret_len, scope_len;
  EVP_MD_CTX *inner, *outer;
  uint64_t used;
};

struct cr_signing_keys {
  EVP_MD *sha256;
  EVP_MD_CTX *work;
  struct cr_buf scratch;
  uint64_t uses;
  struct signing_key slots[CACHED_KEYS];
};

struct cr_signing_keys *cr_signing_keys_new(void)
{
  struct cr_signing_keys *keys = calloc(1, sizeof *keys);
  if(!keys) {
    return NULL;
  }
  cr_buf_init(&keys->scratch, CR_CANONICAL_MAX);
  keys->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
  keys->work = EVP_MD_CTX_new();
  if(!keys->sha256 || !keys->work) {
    cr_signing_keys_free(keys);
    return NULL;
  }
  return keys;
}

static void clear_slot(struct signing_key *slot)
{
  EVP_MD_CTX_free(slot->inner); /* OpenSSL cleanses the state */
  EVP_MD_CTX_free(slot->outer);
  cr_wipe(slot->secret, slot->secret_len);
  free(slot->secret);
  free(slot->scope);
  memset(slot, 0, sizeof *slot);
}

void cr_signing_keys_forget(struct cr_signing_keys *keys)
{
  for(int i = 0; keys && i < CACHED_KEYS; i++) {
    clear_slot(&keys->slots[i]);
  }
}

void cr_signing_keys_free(struct cr_signing_keys *keys)
{
  if(!keys) {
    return;
  }
  cr_signing_keys_forget(keys);
  cr_buf_free(&keys->scratch);
  EVP_MD_CTX_free(keys->work);
  EVP_MD_free(keys->sha256);
  free(keys);
}

static int fail_digest(struct cr_error *err)
{
  return cr_fail(err, CR_KIND_MEMORY, "DigestFailed",
                 "OpenSSL cannot compute a SHA-256: out of memory, or no provider has it");
}

/* Every digest here starts from `keys->work`; the pieces are hashed one behind the other. */
static bool hash_begin(struct cr_signing_keys *keys)
{
  return EVP_DigestInit_ex2(keys->work, keys->sha256, NULL) == 1;
}

static bool hash_end(struct cr_signing_keys *keys, unsigned char out[CR_SHA256_LEN])
{
  return EVP_DigestFinal_ex(keys->work, out, NULL) == 1;
}

int cr_signing_hash(struct cr_signing_keys *keys, const void *data, size_t len, unsigned char out[CR_SHA256_LEN],
                    struct cr_error *err)
{
  bool good = hash_begin(keys) && EVP_DigestUpdate(keys->work, data, len) == 1 && hash_end(keys, out);
  return good ? 0 : fail_digest(err);
}

struct cr_buf *cr_signing_scratch(struct cr_signing_keys *keys)
{
  return &keys->scratch;
}

/* "00" to "ff": a byte at a time is what hex costs three times in every signature. */
#define ROW(high) \
  high "0" high "1" high "2" high "3" high "4" high "5" high "6" high "7" \
  high "8" high "9" high "a" high "b" high "c" high "d" high "e" high "f"
static const char hex_pairs[] =
  ROW("0") ROW("1") ROW("2") ROW("3") ROW("4") ROW("5") ROW("6") ROW("7")
  ROW("8") ROW("9") ROW("a") ROW("b") ROW("c") ROW("d") ROW("e") ROW("f");
#undef ROW

void cr_signing_hex(const unsigned char digest[CR_SHA256_LEN], char out[CR_SHA256_HEX + 1])
{
  for(size_t i = 0; i < CR_SHA256_LEN; i++) {
    memcpy(out + 2 * i, hex_pairs + 2 * digest[i], 2);
  }
  out[CR_SHA256_HEX] = '\0';
}

int cr_sha256_hex(const void *data, size_t len, char out[CR_SHA256_HEX + 1])
{
  unsigned char digest[CR_SHA256_LEN];
  if(EVP_Digest(len ? data : "", len, digest, NULL, EVP_sha256(), NULL) != 1) {
    out[0] = '\0';
    return -1;
  }
  cr_signing_hex(digest, out);
  return 0;
}

/* The HMAC key "AWS4" + secret, or a digest: filled up to a block. */
static bool make_block(struct cr_signing_keys *keys, const char *prefix, const void *key, size_t len,
                       unsigned char block[SHA256_BLOCK])
{
  size_t prefix_len = strlen(prefix);
  memset(block, 0, SHA256_BLOCK);
  if(prefix_len + len <= SHA256_BLOCK) {
    memcpy(block, prefix, prefix_len);
    memcpy(block + prefix_len, key, len);
    return true;
  }
  return hash_begin(keys) && EVP_DigestUpdate(keys->work, prefix, prefix_len) == 1 &&
         EVP_DigestUpdate(keys->work, key, len) == 1 && hash_end(keys, block);
}

/* HMAC's two beginnings for a key: `inner` and `outer` are set to the states after the padded key. */
static bool hmac_begin(struct cr_signing_keys *keys, unsigned char block[SHA256_BLOCK], EVP_MD_CTX *inner,
                       EVP_MD_CTX *outer)
{
  bool good;
  for(int i = 0; i < SHA256_BLOCK; i++) {
    block[i] ^= 0x36;
  }
  good = EVP_DigestInit_ex2(inner, keys->sha256, NULL) == 1 && EVP_DigestUpdate(inner, block, SHA256_BLOCK) == 1;
  for(int i = 0; i < SHA256_BLOCK; i++) {
    block[i] ^= 0x36 ^ 0x5C;
  }
  return good && EVP_DigestInit_ex2(outer, keys->sha256, NULL) == 1 &&
         EVP_DigestUpdate(outer, block, SHA256_BLOCK) == 1;
}

static bool hmac_end(struct cr_signing_keys *keys, const EVP_MD_CTX *inner, const EVP_MD_CTX *outer, const void *data,
                     size_t len, unsigned char out[CR_SHA256_LEN])
{
  return EVP_MD_CTX_copy_ex(keys->work, inner) == 1 && EVP_DigestUpdate(keys->work, data, len) == 1 &&
         hash_end(keys, out) && EVP_MD_CTX_copy_ex(keys->work, outer) == 1 &&
         EVP_DigestUpdate(keys->work, out, CR_SHA256_LEN) == 1 && hash_end(keys, out);
}

/* Each part of the scope is HMACed with the digest before it as the key; the last digest is the signing key. */
static bool derive(struct cr_signing_keys *keys, struct signing_key *slot)
{
  unsigned char block[SHA256_BLOCK], digest[CR_SHA256_LEN];
  const char *part = slot->scope;
  bool good = make_block(keys, "AWS4", slot->secret, slot->secret_len, block);

  while(good) {
    size_t len = strcspn(part, "/");
    good = hmac_begin(keys, block, slot->inner, slot->outer) &&
           hmac_end(keys, slot->inner, slot->outer, part, len, digest) &&
           make_block(keys, "", digest, sizeof digest, block);
    if(part[len] == '\0') {
      break;
    }
    part += len + 1;
  }
  good = good && hmac_begin(keys, block, slot->inner, slot->outer);
  cr_wipe(block, sizeof block);
  cr_wipe(digest, sizeof digest);
  return good;
}

/* The key for "day/region/service/aws4_request", derived when it is not at hand. */
static struct signing_key *find_key(struct cr_signing_keys *keys, const char *secret, const char *scope,
                                    size_t scope_len, struct cr_error *err)
{
  size_t secret_len = strlen(secret);
  struct signing_key *slot = &keys->slots[0];

  for(int i = 0; i < CACHED_KEYS; i++) {
    struct signing_key *each = &keys->slots[i];
    if(each->scope_len == scope_len && each->secret_len == secret_len && memcmp(each->scope, scope, scope_len) == 0 &&
       CRYPTO_memcmp(each->secret, secret, secret_len) == 0) {
      each->used = ++keys->uses;
      return each;
    }
    if(each->used < slot->used) {
      slot = each;
    }
  }
  clear_slot(slot);
  slot->secret = cr_memdup(secret, secret_len);
  slot->secret_len = slot->secret ? secret_len : 0;
  slot->scope = cr_memdup(scope, scope_len);
  slot->inner = EVP_MD_CTX_new();
  slot->outer = EVP_MD_CTX_new();
  if(!slot->secret || !slot->scope || !slot->inner || !slot->outer) {
    clear_slot(slot);
    cr_fail_memory(err);
    return NULL;
  }
  if(!derive(keys, slot)) {
    clear_slot(slot);
    fail_digest(err);
    return NULL;
  }
  slot->scope_len = scope_len; /* from here on it can be found */
  slot->used = ++keys->uses;
  return slot;
}

int cr_signing_mac(struct cr_signing_keys *keys, const char *secret, const char *scope, size_t scope_len,
                   const struct cr_buf *text, unsigned char out[CR_SHA256_LEN], struct cr_error *err)
{
  const struct signing_key *key = find_key(keys, secret, scope, scope_len, err);
  if(!key) {
    return -1;
  }
  return hmac_end(keys, key->inner, key->outer, text->data, text->len, out) ? 0 : fail_digest(err);
}
