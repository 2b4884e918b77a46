/* step_material.h - what the tests of imports import: an identity below a private root, and other certificates beside
 * it. All of it is owned by the struct; material_free ends it. */
#ifndef CR_SPEC_STEP_MATERIAL_H
#define CR_SPEC_STEP_MATERIAL_H

#include "fake_aws.h"
#include "make_certificates.h"

struct material {
  struct mk_ca root, ca;
  EVP_PKEY *key, *other_key;
  struct cr_identity *identity;
  char *leaf_pem, *chain_pem;   /* of the identity */
};

/* A certificate of the same issuer, valid from now on. The caller frees the text. */
static inline char *material_pem(const struct material *material, EVP_PKEY *key, const char *names, int days)
{
  struct mk_options options;
  memset(&options, 0, sizeof options);
  options.cn = "x";
  options.names = names;
  options.key = key;
  options.issuer = material->ca.x509;
  options.issuer_key = material->ca.key;
  options.not_before = FAKE_START;
  options.not_after = FAKE_START + days * (int64_t)MK_DAY;
  X509 *x509 = mk_certificate(&options);
  char *pem = mk_pem(x509);
  X509_free(x509);
  return pem;
}

/* Without an identity the test cannot go on. */
static inline void material_init(struct material *material, const char *names)
{
  struct cr_identity_source source;
  struct cr_error err;
  memset(material, 0, sizeof *material);
  material->root = mk_ca("Root", NULL);
  material->ca = mk_ca("Intermediate", &material->root);
  material->key = mk_key("P-256");
  material->other_key = mk_key("P-256");
  material->leaf_pem = material_pem(material, material->key, names, 365);
  material->chain_pem = mk_pem(material->ca.x509);
  char *key_pem = mk_key_pem(material->key, NULL);
  memset(&source, 0, sizeof source);
  source.certificate_pem = material->leaf_pem;
  source.certificate_pem_len = strlen(material->leaf_pem);
  source.private_key_pem = key_pem;
  source.private_key_pem_len = strlen(key_pem);
  source.chain_pem = material->chain_pem;
  source.chain_pem_len = strlen(material->chain_pem);
  material->identity = cr_identity_load(&source, &err);
  free(key_pem);
  CHECK(material->identity != NULL);
  if(!material->identity) {
    printf("# %s\n", err.message);
    exit(1);
  }
}

static inline void material_free(struct material *material)
{
  cr_identity_unref(material->identity);
  free(material->leaf_pem);
  free(material->chain_pem);
  EVP_PKEY_free(material->key);
  EVP_PKEY_free(material->other_key);
  mk_ca_free(&material->ca);
  mk_ca_free(&material->root);
}

/* A step that must be taken: parameters the core refuses end the test. */
static inline struct cr_machine *material_step(const struct material *material, const char *name,
                                               struct cr_account *account, const char *json)
{
  struct cr_error err;
  struct cr_machine *m = fake_step(name, account, json, material->identity, &err);
  CHECK(m != NULL);
  if(!m) {
    printf("# %s\n", err.message);
    exit(1);
  }
  return m;
}

/* The fingerprint of a certificate, in hexadecimal digits. */
static inline void material_fingerprint(const char *pem, char out[CR_FINGERPRINT_HEX + 1])
{
  struct cr_certificate parsed;
  struct cr_error err;
  out[0] = '\0';
  CHECK(cr_certificate_parse(pem, strlen(pem), &parsed, &err) == 0);
  memcpy(out, parsed.fingerprint, CR_FINGERPRINT_HEX + 1);
  cr_certificate_free(&parsed);
}

#endif
