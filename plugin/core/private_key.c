/* private_key.c - a private key as bytes: read from PKCS#8, PKCS#1 or SEC1, checked, written as PKCS#8.
 *
 * OpenSSL's key objects are not used (identity_private.h says why); its BIGNUMs and curves are. Whatever holds
 * secret bytes is a struct cr_buf, a BIGNUM that BN_clear_free releases, or wiped by hand. */
#include "identity_private.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

#define RSA_BITS_MAX 16384
#define KEY_DER_MAX 65536
#define POINT_MAX 160

enum { INTEGER = 0x02, BIT_STRING = 0x03, OCTET_STRING = 0x04, NULL_VALUE = 0x05, OBJECT = 0x06, SEQUENCE = 0x30,
       CONTEXT_0 = 0xA0, CONTEXT_1 = 0xA1 };

static const unsigned char rsa_oid[] = { 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01 };
static const unsigned char ec_oid[] = { 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01 };

/* What is left to read. */
struct der {
  const unsigned char *at;
  size_t left;
};

/* Takes one element with this tag off the front; *inside is its content. Definite, minimal lengths only. */
static bool take(struct der *in, unsigned tag, struct der *inside)
{
  size_t used = 2, len, bytes;

  if(in->left < 2 || in->at[0] != tag) {
    return false;
  }
  len = in->at[1];
  if(len & 0x80) {
    bytes = len & 0x7F;
    if(bytes < 1 || bytes > 3 || in->left < 2 + bytes) {
      return false;
    }
    len = 0;
    while(bytes-- > 0) {
      len = len << 8 | in->at[used++];
    }
    if(len < 0x80) {
      return false;
    }
  }
  if(len > in->left - used) {
    return false;
  }
  inside->at = in->at + used;
  inside->left = len;
  in->at += used + len;
  in->left -= used + len;
  return true;
}

static bool is(const struct der *content, const void *bytes, size_t len)
{
  return content->left == len && memcmp(content->at, bytes, len) == 0;
}

/* A small non-negative INTEGER, -1 when there is none. */
static int take_small(struct der *in)
{
  struct der value;
  return take(in, INTEGER, &value) && value.left == 1 && value.at[0] < 0x80 ? value.at[0] : -1;
}

/* A positive INTEGER of at most `bits` bits. NULL when there is none (or no memory). */
static BIGNUM *take_number(struct der *in, int bits)
{
  struct der value;
  BIGNUM *number;

  if(!take(in, INTEGER, &value) || value.left == 0 || (value.at[0] & 0x80) || value.left > RSA_BITS_MAX / 8 + 1) {
    return NULL;
  }
  number = BN_bin2bn(value.at, (int)value.left, NULL);
  if(number && (BN_is_zero(number) || BN_num_bits(number) > bits)) {
    BN_clear_free(number);
    return NULL;
  }
  return number;
}

static void put(struct cr_buf *out, unsigned tag, const void *content, size_t len)
{
  unsigned char head[5];
  size_t used = 0;

  head[used++] = (unsigned char)tag;
  if(len < 0x80) {
    head[used++] = (unsigned char)len;
  } else if(len < 0x100) {
    head[used++] = 0x81;
    head[used++] = (unsigned char)len;
  } else if(len < 0x10000) {
    head[used++] = 0x82;
    head[used++] = (unsigned char)(len >> 8);
    head[used++] = (unsigned char)(len & 0xFF);
  } else {
    out->state = CR_BUF_TOO_LARGE; /* KEY_DER_MAX keeps it from happening */
    return;
  }
  cr_buf_add(out, head, used);
  cr_buf_add(out, content, len);
}

/* PrivateKeyInfo around an algorithm's parameters (one whole element) and the key's own bytes. */
static void put_pkcs8(struct cr_buf *out, const unsigned char *oid, size_t oid_len, const struct cr_buf *parameters,
                      const void *key, size_t key_len)
{
  static const unsigned char version[] = { INTEGER, 1, 0 };
  struct cr_buf algorithm, body;

  cr_buf_init(&algorithm, KEY_DER_MAX);
  cr_buf_init(&body, KEY_DER_MAX);
  put(&algorithm, OBJECT, oid, oid_len);
  cr_buf_add(&algorithm, parameters->data, parameters->len);
  cr_buf_add(&body, version, sizeof version);
  put(&body, SEQUENCE, algorithm.data, algorithm.len);
  put(&body, OCTET_STRING, key, key_len);
  if(algorithm.state != CR_BUF_FINE || body.state != CR_BUF_FINE) {
    out->state = CR_BUF_NO_MEMORY;
  } else {
    put(out, SEQUENCE, body.data, body.len);
  }
  cr_buf_free(&algorithm);
  cr_buf_free(&body);
}

static int damaged(const char *from, struct cr_error *err)
{
  return cr_fail(err, CR_KIND_INPUT, "MalformedPrivateKey",
                 "the private key in %s is damaged: copy the file again from where it was made", from);
}

/* d is the inverse of e: d*e = 1 modulo prime - 1. */
static bool inverse(const BIGNUM *d, const BIGNUM *e, const BIGNUM *prime, BN_CTX *ctx)
{
  BIGNUM *less, *product;
  bool fine;

  BN_CTX_start(ctx);
  less = BN_CTX_get(ctx);
  product = BN_CTX_get(ctx);
  fine = product && BN_sub(less, prime, BN_value_one()) && !BN_is_zero(less) &&
         BN_mod_mul(product, d, e, less, ctx) && BN_is_one(product);
  BN_CTX_end(ctx);
  return fine;
}

/* n, e, d, p, q: do they belong together? A flipped bit must not travel to AWS and come back as its error. */
static bool rsa_fits(BIGNUM *const number[5], BN_CTX *ctx)
{
  BIGNUM *product;
  bool fine;

  BN_CTX_start(ctx);
  product = BN_CTX_get(ctx);
  fine = product && BN_mul(product, number[3], number[4], ctx) && BN_cmp(product, number[0]) == 0 &&
         inverse(number[2], number[1], number[3], ctx) && inverse(number[2], number[1], number[4], ctx);
  BN_CTX_end(ctx);
  return fine;
}

static int parse_rsa(struct cr_private_key *key, struct der whole, const char *from, struct cr_error *err)
{
  struct cr_buf null;
  struct der in, copy = whole, rest;
  BIGNUM *number[5] = { NULL, NULL, NULL, NULL, NULL };
  BN_CTX *ctx = BN_CTX_new();
  int version, rc = -1;

  cr_buf_init(&null, 16);
  if(!ctx) {
    return cr_fail_memory(err);
  }
  if(!take(&copy, SEQUENCE, &in) || copy.left) {
    damaged(from, err);
    goto done;
  }
  version = take_small(&in);
  if(version == 1) {
    cr_fail(err, CR_KIND_INPUT, "UnsupportedKey",
            "%s holds an RSA key of more than two primes; AWS takes none: make a new key and certificate", from);
    goto done;
  }
  for(int i = 0; i < 5; i++) {
    number[i] = version == 0 ? take_number(&in, RSA_BITS_MAX) : NULL;
    if(!number[i]) {
      damaged(from, err);
      goto done;
    }
  }
  for(int i = 0; i < 3; i++) { /* dP, dQ, qInv: only that they are there */
    if(!take(&in, INTEGER, &rest)) {
      damaged(from, err);
      goto done;
    }
  }
  if(in.left || !rsa_fits(number, ctx)) {
    damaged(from, err);
    goto done;
  }
  put(&null, NULL_VALUE, "", 0);
  put_pkcs8(&key->pkcs8, rsa_oid, sizeof rsa_oid, &null, whole.at, whole.left);
  key->n = number[0];
  key->e = number[1];
  number[0] = number[1] = NULL;
  rc = key->pkcs8.state == CR_BUF_FINE ? 0 : cr_fail_memory(err);
done:
  for(int i = 0; i < 5; i++) {
    BN_clear_free(number[i]);
  }
  BN_CTX_free(ctx);
  cr_buf_free(&null);
  return rc;
}

/* What an OBJECT element's content names; NID_undef for something OpenSSL has never heard of. */
static int nid_of(const struct der *oid)
{
  unsigned char whole[2 + 0x7F];
  const unsigned char *at = whole;
  ASN1_OBJECT *object;
  int nid = NID_undef;

  if(oid->left < sizeof whole - 2) {
    whole[0] = OBJECT;
    whole[1] = (unsigned char)oid->left;
    memcpy(whole + 2, oid->at, oid->left);
    object = d2i_ASN1_OBJECT(NULL, &at, (long)oid->left + 2);
    if(object) {
      nid = OBJ_obj2nid(object);
    }
    ASN1_OBJECT_free(object);
  }
  return nid;
}

/* Works out the public point of `scalar`, compares it with the one the file gives (when it does), writes PKCS#8. */
static int finish_ec(struct cr_private_key *key, const struct der *oid, const BIGNUM *scalar, const struct der *given,
                     const char *from, struct cr_error *err)
{
  static const unsigned char version[] = { INTEGER, 1, 1 };
  unsigned char point[POINT_MAX + 1], secret[POINT_MAX];
  struct cr_buf parameters, bits, body, inner;
  const BIGNUM *order = EC_GROUP_get0_order(key->group);
  int size = (BN_num_bits(order) + 7) / 8, rc = -1;
  BN_CTX *ctx = BN_CTX_new();
  EC_POINT *other = EC_POINT_new(key->group);
  size_t len = 0;

  cr_buf_init(&parameters, 256);
  cr_buf_init(&bits, KEY_DER_MAX);
  cr_buf_init(&body, KEY_DER_MAX);
  cr_buf_init(&inner, KEY_DER_MAX);
  key->point = EC_POINT_new(key->group);
  if(!ctx || !other || !key->point) {
    cr_fail_memory(err);
    goto done;
  }
  if(size > POINT_MAX || BN_cmp(scalar, order) >= 0 ||
     EC_POINT_mul(key->group, key->point, scalar, NULL, NULL, ctx) != 1 ||
     (given->at && (EC_POINT_oct2point(key->group, other, given->at, given->left, ctx) != 1 ||
                    EC_POINT_cmp(key->group, key->point, other, ctx) != 0))) {
    damaged(from, err);
    goto done;
  }
  point[0] = 0; /* unused bits of the BIT STRING */
  len = EC_POINT_point2oct(key->group, key->point, POINT_CONVERSION_UNCOMPRESSED, point + 1, POINT_MAX, ctx);
  if(len == 0 || BN_bn2binpad(scalar, secret, size) != size) {
    damaged(from, err);
    goto done;
  }
  put(&parameters, OBJECT, oid->at, oid->left);
  cr_buf_add(&body, version, sizeof version);
  put(&body, OCTET_STRING, secret, (size_t)size);
  put(&bits, BIT_STRING, point, len + 1);
  put(&body, CONTEXT_1, bits.data, bits.len);
  put(&inner, SEQUENCE, body.data, body.len);
  put_pkcs8(&key->pkcs8, ec_oid, sizeof ec_oid, &parameters, inner.data, inner.len);
  if(parameters.state || bits.state || body.state || inner.state || key->pkcs8.state) {
    cr_fail_memory(err);
    goto done;
  }
  rc = 0;
done:
  cr_wipe(secret, sizeof secret);
  cr_buf_free(&parameters);
  cr_buf_free(&bits);
  cr_buf_free(&body);
  cr_buf_free(&inner);
  EC_POINT_free(other);
  BN_CTX_free(ctx);
  return rc;
}

static int unknown_curve(const char *from, struct cr_error *err)
{
  return cr_fail(err, CR_KIND_INPUT, "UnsupportedKey",
                 "the EC key in %s names no curve that OpenSSL knows (perhaps it spells its parameters out); "
                 "CloudFront takes only P-256: make a key with openssl ecparam -name prime256v1 -genkey", from);
}

/* ECPrivateKey; `curve` comes from PKCS#8 around it, or is empty. */
static int parse_ec(struct cr_private_key *key, struct der whole, struct der curve, const char *from,
                    struct cr_error *err)
{
  struct der in, secret, part, given = { NULL, 0 };
  BIGNUM *scalar;
  int nid, rc;

  if(!take(&whole, SEQUENCE, &in) || whole.left || take_small(&in) != 1 || !take(&in, OCTET_STRING, &secret) ||
     secret.left == 0 || secret.left > POINT_MAX) {
    return damaged(from, err);
  }
  if(take(&in, CONTEXT_0, &part) && !curve.at && !take(&part, OBJECT, &curve)) {
    return unknown_curve(from, err);
  }
  if(take(&in, CONTEXT_1, &part)) {
    if(!take(&part, BIT_STRING, &given) || given.left < 2 || given.at[0] != 0) {
      return damaged(from, err);
    }
    given.at++;
    given.left--;
  }
  if(in.left) {
    return damaged(from, err);
  }
  nid = curve.at ? nid_of(&curve) : NID_undef;
  key->group = nid == NID_undef ? NULL : EC_GROUP_new_by_curve_name(nid);
  if(!key->group) {
    return unknown_curve(from, err);
  }
  scalar = BN_bin2bn(secret.at, (int)secret.left, NULL);
  if(!scalar) {
    return cr_fail_memory(err);
  }
  rc = BN_is_zero(scalar) ? damaged(from, err) : finish_ec(key, &curve, scalar, &given, from, err);
  BN_clear_free(scalar);
  return rc;
}

static int unsupported(const struct der *oid, const char *from, struct cr_error *err)
{
  int nid = nid_of(oid);
  return cr_fail(err, CR_KIND_INPUT, "UnsupportedKey",
                 "%s holds a private key of the kind \"%s\", which CloudFront does not take: "
                 "use RSA (2048 bits) or EC P-256", from, nid == NID_undef ? "unknown" : OBJ_nid2ln(nid));
}

static int parse_pkcs8(struct cr_private_key *key, struct der in, const char *from, struct cr_error *err)
{
  struct der algorithm, oid, curve = { NULL, 0 }, body;
  int version = take_small(&in);

  if((version != 0 && version != 1) || !take(&in, SEQUENCE, &algorithm) || !take(&algorithm, OBJECT, &oid) ||
     !take(&in, OCTET_STRING, &body)) {
    return damaged(from, err);
  }
  if(is(&oid, rsa_oid, sizeof rsa_oid)) {
    take(&algorithm, NULL_VALUE, &curve);
    return algorithm.left ? damaged(from, err) : parse_rsa(key, body, from, err);
  }
  if(!is(&oid, ec_oid, sizeof ec_oid)) {
    return unsupported(&oid, from, err);
  }
  if(!take(&algorithm, OBJECT, &curve)) {
    return unknown_curve(from, err);
  }
  if(algorithm.left) {
    return damaged(from, err);
  }
  return parse_ec(key, body, curve, from, err);
}

int cr_private_key_parse(struct cr_private_key *key, const void *der, size_t len, const char *from,
                         struct cr_error *err)
{
  const struct der none = { NULL, 0 };
  struct der whole, copy, in, peek, value;
  int rc;

  memset(key, 0, sizeof *key);
  cr_buf_init(&key->pkcs8, KEY_DER_MAX);
  whole.at = der;
  whole.left = len;
  copy = whole;
  if(len > KEY_DER_MAX / 2 || !take(&copy, SEQUENCE, &in) || copy.left) {
    return damaged(from, err);
  }
  ERR_set_mark();
  peek = in;
  if(!take(&peek, INTEGER, &value)) {
    rc = damaged(from, err);
  } else if(peek.left && peek.at[0] == SEQUENCE) {
    rc = parse_pkcs8(key, in, from, err);
  } else if(peek.left && peek.at[0] == OCTET_STRING) {
    rc = parse_ec(key, whole, none, from, err);
  } else {
    rc = parse_rsa(key, whole, from, err);
  }
  ERR_pop_to_mark();
  if(rc < 0) {
    cr_private_key_free(key);
  }
  return rc;
}

void cr_private_key_free(struct cr_private_key *key)
{
  cr_buf_free(&key->pkcs8);
  BN_free(key->n);
  BN_free(key->e);
  EC_POINT_free(key->point);
  EC_GROUP_free(key->group);
  key->n = key->e = NULL;
  key->point = NULL;
  key->group = NULL;
}

static bool rsa_matches(const struct cr_private_key *key, EVP_PKEY *public_key)
{
  BIGNUM *n = NULL, *e = NULL;
  bool same = EVP_PKEY_get_bn_param(public_key, OSSL_PKEY_PARAM_RSA_N, &n) == 1 &&
              EVP_PKEY_get_bn_param(public_key, OSSL_PKEY_PARAM_RSA_E, &e) == 1 &&
              BN_cmp(n, key->n) == 0 && BN_cmp(e, key->e) == 0;
  BN_free(n);
  BN_free(e);
  return same;
}

static bool ec_matches(const struct cr_private_key *key, EVP_PKEY *public_key)
{
  unsigned char bytes[POINT_MAX];
  char curve[64];
  size_t len = 0;
  EC_POINT *point;
  bool same;

  if(EVP_PKEY_get_group_name(public_key, curve, sizeof curve, &len) != 1 ||
     OBJ_txt2nid(curve) != EC_GROUP_get_curve_name(key->group) ||
     EVP_PKEY_get_octet_string_param(public_key, OSSL_PKEY_PARAM_PUB_KEY, bytes, sizeof bytes, &len) != 1) {
    return false;
  }
  point = EC_POINT_new(key->group);
  same = point && EC_POINT_oct2point(key->group, point, bytes, len, NULL) == 1 &&
         EC_POINT_cmp(key->group, point, key->point, NULL) == 0;
  EC_POINT_free(point);
  return same;
}

bool cr_private_key_matches(const struct cr_private_key *key, X509 *x509)
{
  EVP_PKEY *public_key;
  bool same = false;

  ERR_set_mark();
  public_key = X509_get0_pubkey(x509);
  if(public_key && key->n && EVP_PKEY_get_base_id(public_key) == EVP_PKEY_RSA) {
    same = rsa_matches(key, public_key);
  } else if(public_key && key->group && EVP_PKEY_get_base_id(public_key) == EVP_PKEY_EC) {
    same = ec_matches(key, public_key);
  }
  ERR_pop_to_mark();
  return same;
}
