/* identity.h - a leaf certificate, its chain and its private key, held in C.
 *
 * The private key never leaves this file but into a request body (cr_identity_private_key_pem) that the
 * caller wipes. Shared by reference: cr_identity_ref/unref. Immutable after loading, so threads may share it.
 * Leaves OpenSSL's error queue empty on every path. */
#ifndef CR_IDENTITY_H
#define CR_IDENTITY_H

#include "buffer.h"
#include "node.h"

#define CR_FINGERPRINT_HEX 64

struct cr_identity;

struct cr_identity_source {
  const char *certificate;   /* path: leaf, perhaps with its chain in any order; PEM, DER, PKCS#12 with everything */
  const char *private_key;   /* path; NULL when the certificate file (PEM bundle, PKCS#12) holds it */
  const char *chain;         /* path or NULL */
  const char *passphrase;    /* NULL: none; used for encrypted PEM and PKCS#12 */
  /* The same three as text already in memory, instead of paths (private keys: only from C callers and tests). */
  const char *certificate_pem; size_t certificate_pem_len;
  const char *private_key_pem; size_t private_key_pem_len;
  const char *chain_pem; size_t chain_pem_len;
};

/* Reads, matches the key to the leaf, orders the chain (each certifies the one before), drops a self-signed root
 * and repeated certificates. Every refusal is one line that names the file and says what to do. Codes:
 * FileUnreadable, FileTooLarge, NoCertificate, MalformedCertificate, NoPrivateKey, MalformedPrivateKey,
 * UnsupportedKey, PassphraseNeeded, WrongPassphrase, UnsupportedEncryption, KeyPairMismatch, BrokenChain;
 * OutOfMemory. NULL on failure. Never prompts. */
struct cr_identity *cr_identity_load(const struct cr_identity_source *source, struct cr_error *err);
struct cr_identity *cr_identity_ref(struct cr_identity *identity);
void cr_identity_unref(struct cr_identity *identity);

/* What is known of one certificate; texts live as long as the identity (or until cr_certificate_free). */
struct cr_certificate {
  char fingerprint[CR_FINGERPRINT_HEX + 1];   /* SHA-256 of the DER, lower-case hex */
  char *subject, *issuer;                     /* RFC 2253 */
  char *serial;                               /* "07:71:..", as ACM prints it */
  int64_t not_before, not_after;              /* Unix seconds */
  char key_type[24];                          /* ACM's enum: RSA_2048, EC_prime256v1, ... or OpenSSL's name */
  char signature_algorithm[32];               /* "SHA256WITHRSA" */
  bool self_signed;
  char **names; size_t name_count;            /* DNS subject alternative names, lower case, in order */
  char *ocsp;                                 /* responder URL or NULL */
  /* Values of the extension in ACM's spelling ("DIGITAL_SIGNATURE", "TLS_WEB_SERVER_AUTHENTICATION", else the OID), a
   * blank between them; NULL when there is no such extension. */
  char *key_usages, *extended_key_usages;
};

/* First certificate of a PEM (or a DER) text. */
int cr_certificate_parse(const char *text, size_t len, struct cr_certificate *out, struct cr_error *err);
void cr_certificate_free(struct cr_certificate *certificate);

const struct cr_certificate *cr_identity_leaf(const struct cr_identity *identity);
size_t cr_identity_chain_count(const struct cr_identity *identity);   /* without the leaf, without a root */
const struct cr_certificate *cr_identity_chain_at(const struct cr_identity *identity, size_t at);
const char *cr_identity_certificate_pem(const struct cr_identity *identity);
const char *cr_identity_chain_pem(const struct cr_identity *identity);  /* "" when there is none */
/* Unencrypted PKCS#8 PEM appended to `out`; the caller's buffer wipes it. */
int cr_identity_private_key_pem(const struct cr_identity *identity, struct cr_buf *out, struct cr_error *err);
bool cr_identity_key_matches(const struct cr_identity *identity, const char *certificate_pem, size_t len);

/* Exact, or one wildcard label on the same level; upper and lower case are the same. "*.a.b" covers "x.a.b" and the
 * alias "*.a.b". */
bool cr_name_covers(const char *name, const char *alias);
bool cr_certificate_covers(const struct cr_certificate *certificate, const char *alias);

/* What CloudFront (aws-reference 5.1) would refuse or a person should know, added to the LIST `parent` as
 * { level = "refuse"|"warn", code =, message = }.
 * store: "acm" or "iam". now: Unix seconds. trust: PEM file with more roots, or NULL; an unknown root only warns, and without
 * `roots` nothing is said of it.
 * Codes: Expired, NotYetValid, ExpiresSoon, UnsupportedKey, NoNames, NoIssuer, KeyTooLarge (5120 bytes in ACM),
 * CertificateTooLarge, ChainTooLong, ChainExpired, NoChain, BrokenChain, SelfSigned, UnknownRoot, WrongPurpose,
 * OcspTooLong. -1 when `trust` cannot be read or memory is short. */
int cr_identity_check(const struct cr_identity *identity, const char *store, int64_t now, const char *trust, bool roots,
                      struct cr_tree *tree, struct cr_node *parent, struct cr_error *err);

#endif
