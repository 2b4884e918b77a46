/* identity_check.c - what CloudFront would refuse, and what a person should know, before anything is uploaded.
 *
 * Pure but for reading the roots (the system's, and the `trust` file); the clock is an input. Findings are added to
 * the caller's tree; nothing is kept. */
#include "identity_private.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY (24 * 60 * 60)
#define CHAIN_MAX 5
#define ACM_KEY_MAX 5120
#define ACM_CERTIFICATE_MAX 32768
#define IAM_TEXT_MAX 16384
#define OCSP_URL_MAX 1000
#define MESSAGE_MAX 512

struct check {
  const struct cr_identity *identity;
  const struct cr_certificate *leaf;
  bool acm;
  int64_t now;
  struct cr_tree *tree;
  struct cr_node *list;
  bool failed;                  /* out of memory */
};

static void add(struct check *check, const char *level, const char *code, const char *format, ...) CR_PRINTF(4, 5);

static void add(struct check *check, const char *level, const char *code, const char *format, ...)
{
  char message[MESSAGE_MAX];
  struct cr_node *finding = cr_node_add(check->tree, check->list, NULL, CR_NODE_MAP);
  va_list args;

  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  if(!finding || !cr_add_text(check->tree, finding, "level", level) ||
     !cr_add_text(check->tree, finding, "code", code) || !cr_add_text(check->tree, finding, "message", message)) {
    check->failed = true;
  }
}

static void check_dates(struct check *check)
{
  struct cr_shown when, who;
  const struct cr_certificate *leaf = check->leaf;

  if(leaf->not_after < check->now) {
    add(check, "refuse", "Expired", "the certificate expired at %s: renew it first",
        cr_show_time(&when, leaf->not_after));
  } else if(leaf->not_before > check->now) {
    add(check, "refuse", "NotYetValid", "the certificate is valid from %s only: wait, or check this computer's clock",
        cr_show_time(&when, leaf->not_before));
  } else if(leaf->not_after - check->now < DAY) {
    add(check, "warn", "ExpiresSoon", "the certificate expires within a day, at %s: renew it and use the new one",
        cr_show_time(&when, leaf->not_after));
  }
  for(size_t i = 0; i < cr_identity_chain_count(check->identity); i++) {
    const struct cr_certificate *above = cr_identity_chain_at(check->identity, i);
    if(above->not_after < check->now || above->not_before > check->now) {
      cr_show_name(&who, X509_get_subject_name(cr_identity_x509(check->identity, i + 1)));
      add(check, "refuse", "ChainExpired",
          "the intermediate certificate \"%s\" %s %s: get the present chain from the CA", who.text,
          above->not_after < check->now ? "expired at" : "is valid from",
          cr_show_time(&when, above->not_after < check->now ? above->not_after : above->not_before));
    }
  }
}

static void check_key(struct check *check)
{
  const char *type = check->leaf->key_type;
  int bits = strncmp(type, "RSA_", 4) == 0 ? atoi(type + 4) : 0;

  if(bits == 1024 || bits == 2048 || bits == 3072 || bits == 4096) {
    if(!check->acm && bits > 2048) {
      add(check, "warn", "UnsupportedKey",
          "RSA with %d bits in the IAM store: CloudFront documents such keys for ACM only and may refuse the "
          "certificate (not verified with AWS): import it into ACM instead", bits);
    }
    return;
  }
  if(strcmp(type, "EC_prime256v1") == 0) {
    return;
  }
  add(check, "refuse", "UnsupportedKey",
      "CloudFront does not take a key of the type %s: use RSA with 2048, 3072 or 4096 bits or EC P-256", type);
}

static void check_names(struct check *check)
{
  if(check->leaf->name_count == 0) {
    add(check, "refuse", "NoNames",
        "the certificate has no DNS name among its subject alternative names (CloudFront does not look at the CN), so "
        "it covers no alias: have it issued with the names");
  }
  if(X509_NAME_entry_count(X509_get_issuer_name(cr_identity_x509(check->identity, 0))) == 0) {
    add(check, "refuse", "NoIssuer",
        "the certificate's issuer is empty, which ACM and IAM refuse: have it issued again");
  }
}

static void check_sizes(struct check *check, struct cr_error *err)
{
  size_t key_max = check->acm ? ACM_KEY_MAX : IAM_TEXT_MAX;
  size_t certificate_max = check->acm ? ACM_CERTIFICATE_MAX : IAM_TEXT_MAX;
  size_t certificate = strlen(cr_identity_certificate_pem(check->identity));
  struct cr_buf pem;

  cr_buf_init(&pem, CR_IDENTITY_FILE_MAX);
  if(cr_identity_private_key_pem(check->identity, &pem, err) < 0) {
    check->failed = true;
  } else if(pem.len > key_max) {
    add(check, "refuse", "KeyTooLarge", "the private key is %zu bytes long, %s takes %zu: use a smaller key", pem.len,
        check->acm ? "ACM" : "IAM", key_max);
  }
  cr_buf_free(&pem);
  if(certificate > certificate_max) {
    add(check, "refuse", "CertificateTooLarge",
        "the certificate is %zu bytes long, %s takes %zu: have it issued with fewer names", certificate,
        check->acm ? "ACM" : "IAM", certificate_max);
  }
  if(cr_identity_chain_count(check->identity) > CHAIN_MAX) {
    add(check, "refuse", "ChainTooLong",
        "the chain has %zu intermediate certificates, CloudFront takes %d: leave out the cross-signed ones at its top",
        cr_identity_chain_count(check->identity), CHAIN_MAX);
  }
}

static void check_ocsp(struct check *check)
{
  STACK_OF(OPENSSL_STRING) *urls = X509_get1_ocsp(cr_identity_x509(check->identity, 0));

  for(int i = 0; check->acm && i < sk_OPENSSL_STRING_num(urls); i++) {
    size_t len = strlen(sk_OPENSSL_STRING_value(urls, i));
    if(len > OCSP_URL_MAX) {
      add(check, "refuse", "OcspTooLong", "the certificate's OCSP address is %zu characters long, ACM takes %d: "
          "have it issued again", len, OCSP_URL_MAX);
      break;
    }
  }
  X509_email_free(urls);
}

/* Those of the trust file, and the system's as far as they lie in its folder under hashed names, where only the one
 * that is needed is read: the file that holds them all takes 20 ms, which an event loop notices. NULL with *err. */
static X509_STORE *open_roots(const char *trust, struct cr_error *err)
{
  struct cr_input input = { NULL, NULL, 0, "the trust file", NULL, false };
  struct cr_material *material = calloc(1, sizeof *material);
  X509_STORE *store = X509_STORE_new();
  struct cr_shown shown;
  X509_LOOKUP *folder;
  int rc = -1;

  input.path = trust;
  if(!material || !store) {
    cr_fail_memory(err);
    goto done;
  }
  folder = X509_STORE_add_lookup(store, X509_LOOKUP_hash_dir());
  if(folder) {
    X509_LOOKUP_add_dir(folder, NULL, X509_FILETYPE_DEFAULT);
  }
  if(trust) {
    material->max = CR_IDENTITY_ROOTS_MAX;
    if(cr_material_read(material, &input, err) < 0) {
      goto done;
    }
    if(material->count == 0) {
      cr_fail(err, CR_KIND_INPUT, "NoCertificate", "the trust file %s holds no certificate: name a PEM file with roots",
              cr_input_name(&shown, &input));
      goto done;
    }
    for(size_t i = 0; i < material->count; i++) {
      if(X509_STORE_add_cert(store, material->certificates[i]) != 1) {
        cr_fail_memory(err);
        goto done;
      }
    }
  }
  rc = 0;
done:
  if(material) {
    cr_material_free(material);
  }
  free(material);
  if(rc < 0) {
    X509_STORE_free(store);
    return NULL;
  }
  return store;
}

/* What the verification ran into: it goes on after each, so that one does not hide the other. */
struct trouble {
  int given;       /* how many certificates come from the identity */
  int unknown;     /* an X509_V_ERR about the root */
  int chain;       /* ... about how the certificates fit together */
  int purpose;     /* ... about what the leaf is for */
};

static int on_verify(int fine, X509_STORE_CTX *ctx)
{
  struct trouble *trouble = X509_STORE_CTX_get_app_data(ctx);
  int error = X509_STORE_CTX_get_error(ctx), *slot;

  if(fine) {
    return 1;
  }
  switch(error) {
  case X509_V_ERR_CERT_HAS_EXPIRED:
  case X509_V_ERR_CERT_NOT_YET_VALID:
    if(X509_STORE_CTX_get_error_depth(ctx) < trouble->given) {
      return 1; /* check_dates has said so */
    }
    slot = &trouble->unknown;
    break;
  case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
  case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
  case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
  case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
  case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
  case X509_V_ERR_CERT_UNTRUSTED:
  case X509_V_ERR_CERT_REJECTED:
  case X509_V_ERR_CERT_SIGNATURE_FAILURE:      /* our own signatures were verified in loading: a root of the same */
  case X509_V_ERR_SUBJECT_ISSUER_MISMATCH:     /* name with another key */
  case X509_V_ERR_AKID_SKID_MISMATCH:
  case X509_V_ERR_AKID_ISSUER_SERIAL_MISMATCH:
    slot = &trouble->unknown;
    break;
  case X509_V_ERR_INVALID_PURPOSE:
    slot = X509_STORE_CTX_get_error_depth(ctx) == 0 ? &trouble->purpose : &trouble->chain;
    break;
  default:
    slot = &trouble->chain;
    break;
  }
  if(*slot == X509_V_OK) {
    *slot = error;
  }
  return 1;
}

/* -1 when the verification could not be done. */
static int verify(struct check *check, X509_STORE *store, struct trouble *trouble)
{
  X509_STORE_CTX *ctx = X509_STORE_CTX_new();
  STACK_OF(X509) *others = sk_X509_new_null();
  X509_VERIFY_PARAM *param;
  int rc = -1;

  if(!ctx || !others) {
    goto done;
  }
  for(size_t i = 1; i <= cr_identity_chain_count(check->identity); i++) {
    if(!sk_X509_push(others, cr_identity_x509(check->identity, i))) {
      goto done;
    }
  }
  if(X509_STORE_CTX_init(ctx, store, cr_identity_x509(check->identity, 0), others) != 1) {
    goto done;
  }
  param = X509_STORE_CTX_get0_param(ctx);
  X509_VERIFY_PARAM_set_time(param, (time_t)check->now);
  X509_VERIFY_PARAM_set_depth(param, CR_IDENTITY_CERTIFICATES_MAX);
  X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER);
  X509_STORE_CTX_set_app_data(ctx, trouble);
  X509_STORE_CTX_set_verify_cb(ctx, on_verify);
  trouble->given = sk_X509_num(others) + 1;
  rc = X509_verify_cert(ctx) < 0 && X509_STORE_CTX_get_error(ctx) == X509_V_ERR_OUT_OF_MEM ? -1 : 0;
done:
  sk_X509_free(others);
  X509_STORE_CTX_free(ctx);
  return rc;
}

static void check_trust(struct check *check, X509_STORE *store, bool roots)
{
  static const struct trouble none = { 0, X509_V_OK, X509_V_OK, X509_V_OK };
  struct trouble trouble = none;
  size_t count = cr_identity_chain_count(check->identity);
  struct cr_shown who;
  int rc = verify(check, store, &trouble);

  if(rc == 0 && trouble.unknown != X509_V_OK && roots) {
    X509_STORE_set_default_paths(store); /* a system without roots is one where every root is unknown */
    trouble = none;
    rc = verify(check, store, &trouble);
  }
  if(rc < 0) {
    check->failed = true;
    return;
  }
  if(!roots) {
    trouble.unknown = X509_V_OK;
  }
  cr_show_name(&who, X509_get_issuer_name(cr_identity_x509(check->identity, count)));
  if(check->leaf->self_signed) {
    add(check, "warn", "SelfSigned",
        "the certificate is self-signed: CloudFront may go on serving aliases that a distribution has, but will not "
        "accept new ones, and viewers do not trust it: use one from a public CA");
  } else if(trouble.unknown != X509_V_OK && count == 0) {
    add(check, "refuse", "NoChain",
        "the certificate comes without its chain, and its issuer \"%s\" is no known root: give the chain too "
        "(certbot's fullchain.pem), or name the root as trusted if it is one", who.text);
  } else if(trouble.unknown != X509_V_OK) {
    add(check, "warn", "UnknownRoot",
        "the chain ends at \"%s\", which is not among the known roots (%s): CloudFront has the last word", who.text,
        X509_verify_cert_error_string(trouble.unknown));
  }
  if(trouble.chain != X509_V_OK) {
    add(check, "refuse", "BrokenChain", "the chain does not hold (%s): have the certificate issued again",
        X509_verify_cert_error_string(trouble.chain));
  }
  if(trouble.purpose != X509_V_OK) {
    add(check, "refuse", "WrongPurpose",
        "the certificate is not meant for servers (extended key usage): have it issued for TLS web servers");
  }
}

int cr_identity_check(const struct cr_identity *identity, const char *store, int64_t now, const char *trust, bool roots,
                      struct cr_tree *tree, struct cr_node *parent, struct cr_error *err)
{
  struct check check;
  X509_STORE *known;

  memset(&check, 0, sizeof check);
  check.acm = cr_streq(store, "acm");
  if(!check.acm && !cr_streq(store, "iam")) {
    return cr_fail(err, CR_KIND_INPUT, "InvalidParameter", "store is \"%s\": give \"acm\" or \"iam\"",
                   store ? store : "");
  }
  check.identity = identity;
  check.leaf = cr_identity_leaf(identity);
  check.now = now;
  check.tree = tree;
  check.list = parent;
  ERR_set_mark();
  known = open_roots(trust, err);
  if(known) {
    check_dates(&check);
    check_key(&check);
    check_names(&check);
    check_sizes(&check, err);
    check_ocsp(&check);
    check_trust(&check, known, roots);
    X509_STORE_free(known);
  }
  ERR_pop_to_mark();
  if(!known) {
    return -1;
  }
  return check.failed ? cr_fail_memory(err) : 0;
}
