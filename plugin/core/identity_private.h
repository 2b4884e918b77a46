/* identity_private.h - what the files behind identity.h share; nobody else includes it.
 *
 * certificate.c          one X.509 -> struct cr_certificate
 * private_key.c          one private key -> PKCS#8 bytes of ours and its public half
 * private_key_decrypt.c  passphrases: PBES1/PBES2, old encrypted PEM, algorithms only the legacy provider has
 * pkcs12.c               the bags of a PKCS#12
 * identity_files.c       a file or a text -> certificates and keys
 * identity.c             which is the leaf, in which order the chain
 * identity_check.c       findings
 *
 * No private key ever becomes an EVP_PKEY: OpenSSL's decoders free copies of it unwiped. It is read, checked and
 * written here, in struct cr_buf, which wipes itself. OpenSSL only sees its numbers as BIGNUMs, which it clears. */
#ifndef CR_IDENTITY_PRIVATE_H
#define CR_IDENTITY_PRIVATE_H

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/x509.h>

#include "identity.h"

#define CR_IDENTITY_FILE_MAX (1024 * 1024)
#define CR_IDENTITY_CERTIFICATES_MAX 100
#define CR_IDENTITY_ROOTS_MAX 2000      /* in a trust file: whole bundles of roots are usual there */
#define CR_IDENTITY_KEYS_MAX 8
#define CR_SHOWN_MAX 130

/* A path or a name made fit for a message; each cr_show_ function fills it and returns its text. */
struct cr_shown {
  char text[CR_SHOWN_MAX];
};

/* certificate.c */
int cr_certificate_from_x509(X509 *x509, struct cr_certificate *out, struct cr_error *err);
const char *cr_show_path(struct cr_shown *shown, const char *path);           /* a long one keeps its end */
const char *cr_show_name(struct cr_shown *shown, const X509_NAME *name);      /* a long one keeps its front */
const char *cr_show_time(struct cr_shown *shown, int64_t unix_seconds);       /* "2026-01-15 12:00:00 UTC" */

/* private_key.c */
struct cr_private_key {
  struct cr_buf pkcs8;          /* DER, as OpenSSL would write it; wiped by cr_private_key_free */
  BIGNUM *n, *e;                /* RSA: the public half; NULL for EC */
  EC_GROUP *group;              /* EC; NULL for RSA */
  EC_POINT *point;
};

/* PKCS#8, PKCS#1 or SEC1, told apart by their structure. `from` names the file in messages. The key need not be
 * initialised before; after a failure it holds nothing. */
int cr_private_key_parse(struct cr_private_key *key, const void *der, size_t len, const char *from,
                         struct cr_error *err);
void cr_private_key_free(struct cr_private_key *key);
bool cr_private_key_matches(const struct cr_private_key *key, X509 *x509);

/* private_key_decrypt.c */
enum cr_decrypted {
  CR_DECRYPTED,
  CR_DECRYPT_WRONG,        /* passphrase, or damaged data: cannot be told apart */
  CR_DECRYPT_UNSUPPORTED,  /* an algorithm this OpenSSL does not have, not even in its legacy provider */
  CR_DECRYPT_TOO_SLOW,     /* asks for more rounds of key derivation than anybody means */
  CR_DECRYPT_MEMORY
};

bool cr_rounds_fine(const ASN1_INTEGER *rounds);
/* Password-based decryption as in PKCS#5 and PKCS#12, appended to `plain`. passphrase may be NULL (PKCS#12 only). */
enum cr_decrypted cr_decrypt(const X509_ALGOR *algorithm, const char *passphrase, const ASN1_OCTET_STRING *sealed,
                             struct cr_buf *plain);
/* An EncryptedPrivateKeyInfo. */
enum cr_decrypted cr_decrypt_pkcs8(const void *der, size_t len, const char *passphrase, struct cr_buf *plain);
/* The body of a PEM block with Proc-Type and DEK-Info headers. */
enum cr_decrypted cr_decrypt_pem(const char *headers, size_t headers_len, const struct cr_buf *sealed,
                                 const char *passphrase, struct cr_buf *plain);
int cr_decrypt_fail(enum cr_decrypted why, const char *from, bool given, struct cr_error *err);

/* identity_files.c: what was found in one or more files. */
struct cr_material {
  X509 **certificates;                               /* without repetitions, in the order found; owned */
  size_t count, room;
  size_t max;                                        /* 0: CR_IDENTITY_CERTIFICATES_MAX */
  struct cr_private_key keys[CR_IDENTITY_KEYS_MAX];
  size_t key_count;
  bool first_only;                                   /* one certificate, nothing else; no PKCS#12 */
  bool want_keys;                                    /* else private keys are skipped, encrypted ones too */
  bool saw_request, saw_public_key, saw_private_key, saw_pkcs7;   /* for messages that say what was given instead */
};

struct cr_input {
  const char *path;               /* or NULL and a text */
  const char *text; size_t len;
  const char *what;               /* "the certificate", for texts */
  const char *passphrase;
  bool key;                       /* the file of the private key, for messages */
};

bool cr_input_given(const struct cr_input *input);
/* What to call it in a message. */
const char *cr_input_name(struct cr_shown *shown, const struct cr_input *input);
int cr_material_read(struct cr_material *material, const struct cr_input *input, struct cr_error *err);
void cr_material_free(struct cr_material *material);
/* Takes over `x509` in every case; one that is there already is dropped. */
int cr_material_add_certificate(struct cr_material *material, X509 *x509, const char *from, struct cr_error *err);
int cr_material_add_key(struct cr_material *material, const void *der, size_t len, const char *from,
                        struct cr_error *err);

/* pkcs12.c */
int cr_pkcs12_read(struct cr_material *material, const void *der, size_t len, const char *passphrase,
                   const char *from, struct cr_error *err);

/* identity.c: for identity_check.c. */
X509 *cr_identity_x509(const struct cr_identity *identity, size_t at);  /* 0 the leaf, then the chain; borrowed */
/* Whether `issuer` signed `subject`: name and signature. */
bool cr_x509_issued(X509 *issuer, X509 *subject);

#endif
