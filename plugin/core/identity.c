/* identity.c - which of the certificates found is the leaf, and in which order the others certify it.
 *
 * An identity owns its certificates, their texts and the key; it is shared by counting references and does not
 * change after loading, so any thread may read it. */
#include "identity_private.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pem.h"

#define NO_ONE CR_IDENTITY_CERTIFICATES_MAX
#define URL_MAX 120
#define DEAD_STACK 32768

struct cr_identity {
  int references;
  X509 **x509;                           /* the leaf, then the chain upwards; both arrays are `count` long */
  struct cr_certificate *certificates;
  size_t count;
  struct cr_buf certificate_pem, chain_pem;
  struct cr_private_key key;
};

/* Everything of one loading. */
struct loading {
  struct cr_material material;
  struct cr_input certificate, private_key, chain;
  const struct cr_private_key *key;      /* the one that fits the leaf; lies in `material` */
  size_t leaf;
  size_t path[CR_IDENTITY_CERTIFICATES_MAX], path_len;   /* above the leaf, without a root */
  bool complete;                         /* the path ends below a root that was given */
  signed char issued[CR_IDENTITY_CERTIFICATES_MAX][CR_IDENTITY_CERTIFICATES_MAX]; /* 0 not looked at, 1 yes, -1 no */
};

bool cr_x509_issued(X509 *issuer, X509 *subject)
{
  EVP_PKEY *key;
  bool yes = false;

  if(X509_NAME_cmp(X509_get_subject_name(issuer), X509_get_issuer_name(subject)) != 0) {
    return false;
  }
  ERR_set_mark();
  key = X509_get0_pubkey(issuer);
  yes = key && X509_verify(subject, key) == 1;
  ERR_pop_to_mark();
  return yes;
}

/* cr_x509_issued by position, each pair worked out once. */
static bool issued(struct loading *loading, size_t issuer, size_t subject)
{
  signed char *known = &loading->issued[issuer][subject];
  if(*known == 0) {
    *known = cr_x509_issued(loading->material.certificates[issuer], loading->material.certificates[subject]) ? 1 : -1;
  }
  return *known > 0;
}

static X509 *at(const struct loading *loading, size_t which)
{
  return loading->material.certificates[which];
}

static const char *subject_of(struct cr_shown *shown, X509 *x509)
{
  return cr_show_name(shown, X509_get_subject_name(x509));
}

/* The file in which the chain was to be found. */
static const char *chain_file(struct cr_shown *shown, const struct loading *loading)
{
  return cr_input_name(shown, cr_input_given(&loading->chain) ? &loading->chain : &loading->certificate);
}

static const char *key_file(struct cr_shown *shown, const struct loading *loading)
{
  return cr_input_name(shown, cr_input_given(&loading->private_key) ? &loading->private_key : &loading->certificate);
}

static void prepare(struct loading *loading, const struct cr_identity_source *source)
{
  loading->certificate.path = source->certificate;
  loading->certificate.text = source->certificate_pem;
  loading->certificate.len = source->certificate_pem_len;
  loading->certificate.what = "the certificate text";
  loading->private_key.path = source->private_key;
  loading->private_key.text = source->private_key_pem;
  loading->private_key.len = source->private_key_pem_len;
  loading->private_key.what = "the private key text";
  loading->private_key.key = true;
  loading->chain.path = source->chain;
  loading->chain.text = source->chain_pem;
  loading->chain.len = source->chain_pem_len;
  loading->chain.what = "the chain text";
  loading->certificate.passphrase = loading->private_key.passphrase = loading->chain.passphrase = source->passphrase;
}

static int no_certificate(const struct loading *loading, struct cr_error *err)
{
  const struct cr_material *found = &loading->material;
  struct cr_shown shown;
  const char *from = cr_input_name(&shown, &loading->certificate);

  if(found->saw_request) {
    return cr_fail(err, CR_KIND_INPUT, "NoCertificate",
                   "%s holds a signing request: name the certificate that the CA made from it", from);
  }
  if(found->saw_pkcs7) {
    return cr_fail(err, CR_KIND_INPUT, "NoCertificate",
                   "%s is a PKCS#7 bundle: convert it with openssl pkcs7 -print_certs -in OLD -out NEW.pem", from);
  }
  if(found->saw_private_key || found->saw_public_key) {
    return cr_fail(err, CR_KIND_INPUT, "NoCertificate",
                   "%s holds a key and no certificate: name the certificate's file (are the two swapped?)", from);
  }
  return cr_fail(err, CR_KIND_INPUT, "NoCertificate",
                 "%s holds no certificate (PEM, DER or PKCS#12): name the right file", from);
}

static int no_private_key(const struct loading *loading, bool saw_certificate, struct cr_error *err)
{
  struct cr_shown shown;
  const char *from = key_file(&shown, loading);

  if(!cr_input_given(&loading->private_key)) {
    return cr_fail(err, CR_KIND_INPUT, "NoPrivateKey",
                   "%s holds no private key: name the private key's file as well", from);
  }
  return cr_fail(err, CR_KIND_INPUT, "NoPrivateKey", "%s holds no private key%s: name the right file", from,
                 saw_certificate ? " but a certificate (are the two files swapped?)"
                 : loading->material.saw_public_key ? " but a public one" : " (PEM, DER or PKCS#12)");
}

/* Reads every file given. The private key's file may be a bundle: its certificates are not taken. */
static int read_sources(struct loading *loading, struct cr_error *err)
{
  struct cr_material *found = &loading->material;
  bool own_key = cr_input_given(&loading->private_key);
  size_t before;

  if(!cr_input_given(&loading->certificate)) {
    return cr_fail(err, CR_KIND_INPUT, "NoCertificate", "no certificate was given: name its file");
  }
  found->want_keys = !own_key;
  if(cr_material_read(found, &loading->certificate, err) < 0) {
    return -1;
  }
  if(found->count == 0) {
    return no_certificate(loading, err);
  }
  found->want_keys = false;
  if(cr_input_given(&loading->chain)) {
    if(cr_material_read(found, &loading->chain, err) < 0) {
      return -1;
    }
  }
  if(own_key) {
    struct cr_material aside;
    memset(&aside, 0, sizeof aside);
    aside.want_keys = true;
    if(cr_material_read(&aside, &loading->private_key, err) < 0) {
      cr_material_free(&aside);
      return -1;
    }
    before = aside.count;
    memcpy(found->keys, aside.keys, sizeof found->keys);
    found->key_count = aside.key_count;
    found->saw_public_key = aside.saw_public_key;
    memset(aside.keys, 0, sizeof aside.keys);
    aside.key_count = 0;
    cr_material_free(&aside);
    return found->key_count ? 0 : no_private_key(loading, before > 0, err);
  }
  return found->key_count ? 0 : no_private_key(loading, true, err);
}

/* Of two certificates for one key the better leaf: issued by a CA, then the one that lasts longer. */
static bool better_leaf(X509 *a, X509 *b)
{
  bool self_a = X509_self_signed(a, 0) == 1, self_b = X509_self_signed(b, 0) == 1;

  if(self_a != self_b) {
    return self_b;
  }
  return ASN1_TIME_compare(X509_get0_notAfter(a), X509_get0_notAfter(b)) > 0;
}

static int find_leaf(struct loading *loading, struct cr_error *err)
{
  const struct cr_material *found = &loading->material;
  struct cr_shown files[2], who;

  loading->leaf = NO_ONE;
  for(size_t i = 0; i < found->count; i++) {
    for(size_t k = 0; k < found->key_count; k++) {
      if(cr_private_key_matches(&found->keys[k], at(loading, i)) &&
         (loading->leaf == NO_ONE || better_leaf(at(loading, i), at(loading, loading->leaf)))) {
        loading->leaf = i;
        loading->key = &found->keys[k];
      }
    }
  }
  if(loading->leaf != NO_ONE) {
    return 0;
  }
  return cr_fail(err, CR_KIND_INPUT, "KeyPairMismatch",
                 "the private key in %s does not belong to %s in %s (\"%s\"): give the key and the certificate that "
                 "were made for each other", key_file(&files[0], loading),
                 found->count > 1 ? "any certificate" : "the certificate",
                 cr_input_name(&files[1], &loading->certificate), subject_of(&who, at(loading, 0)));
}

static bool self_signed(const struct loading *loading, size_t which)
{
  return X509_self_signed(at(loading, which), 1) == 1;
}

/* Of two certificates that both signed the one below, the better next step: one that lasts at least as long as the
 * leaf; then a cross-signed one rather than a root, since it is the root that gets dropped; then the longer lasting. */
static bool better_issuer(const struct loading *loading, size_t a, size_t b)
{
  const ASN1_TIME *end = X509_get0_notAfter(at(loading, loading->leaf));
  bool lasts_a = ASN1_TIME_compare(X509_get0_notAfter(at(loading, a)), end) >= 0;
  bool lasts_b = ASN1_TIME_compare(X509_get0_notAfter(at(loading, b)), end) >= 0;
  bool root_a = self_signed(loading, a), root_b = self_signed(loading, b);

  if(lasts_a != lasts_b) {
    return lasts_a;
  }
  if(root_a != root_b) {
    return root_b;
  }
  return ASN1_TIME_compare(X509_get0_notAfter(at(loading, a)), X509_get0_notAfter(at(loading, b))) > 0;
}

/* Climbs from the leaf to a root, or as far as the certificates reach. */
static void climb(struct loading *loading)
{
  bool used[CR_IDENTITY_CERTIFICATES_MAX] = { false };
  size_t now = loading->leaf, next;

  loading->complete = self_signed(loading, now);
  used[now] = true;
  while(!loading->complete) {
    next = NO_ONE;
    for(size_t i = 0; i < loading->material.count; i++) {
      if(!used[i] && issued(loading, i, now) && (next == NO_ONE || better_issuer(loading, i, next))) {
        next = i;
      }
    }
    if(next == NO_ONE) {
      return;
    }
    used[next] = true;
    loading->complete = self_signed(loading, next);
    if(!loading->complete) {
      loading->path[loading->path_len++] = next;
      now = next;
    }
  }
}

/* Marks every certificate from which the leaf can be reached, over whatever cross-signed detours. */
static void mark_ancestors(struct loading *loading, bool *ancestor)
{
  size_t queue[CR_IDENTITY_CERTIFICATES_MAX], head = 0, tail = 0;

  memset(ancestor, 0, CR_IDENTITY_CERTIFICATES_MAX * sizeof *ancestor);
  ancestor[loading->leaf] = true;
  queue[tail++] = loading->leaf;
  while(head < tail) {
    size_t now = queue[head++];
    for(size_t i = 0; i < loading->material.count; i++) {
      if(!ancestor[i] && issued(loading, i, now)) {
        ancestor[i] = true;
        queue[tail++] = i;
      }
    }
  }
}

/* " (http://...)" where the certificate itself says its issuer can be fetched, else "". */
static const char *issuer_url(char *out, size_t size, X509 *x509)
{
  AUTHORITY_INFO_ACCESS *access;

  out[0] = '\0';
  ERR_set_mark();
  access = X509_get_ext_d2i(x509, NID_info_access, NULL, NULL);
  for(int i = 0; !out[0] && i < sk_ACCESS_DESCRIPTION_num(access); i++) {
    const ACCESS_DESCRIPTION *one = sk_ACCESS_DESCRIPTION_value(access, i);
    if(OBJ_obj2nid(one->method) == NID_ad_ca_issuers && one->location->type == GEN_URI) {
      const ASN1_STRING *url = one->location->d.uniformResourceIdentifier;
      const unsigned char *data = ASN1_STRING_get0_data(url);
      int len = ASN1_STRING_length(url), plain = 0;
      while(plain < len && data[plain] > ' ' && data[plain] < 0x7F) {
        plain++;
      }
      if(plain == len && (size_t)len + 8 < size) {
        snprintf(out, size, ": %.*s", len, (const char *)data);
      }
    }
  }
  AUTHORITY_INFO_ACCESS_free(access);
  ERR_pop_to_mark();
  return out;
}

static int broken(const struct loading *loading, size_t stray, struct cr_error *err)
{
  X509 *end = at(loading, loading->path_len ? loading->path[loading->path_len - 1] : loading->leaf);
  X509 *other = at(loading, stray);
  struct cr_shown file, below, missing, who;
  char url[URL_MAX];
  const char *from = chain_file(&file, loading);

  subject_of(&below, end);
  cr_show_name(&missing, X509_get_issuer_name(end));
  if(X509_NAME_cmp(X509_get_subject_name(other), X509_get_issuer_name(end)) == 0) {
    return cr_fail(err, CR_KIND_INPUT, "BrokenChain",
                   "broken chain in %s: its certificate \"%s\" has the name of the issuer of \"%s\" but did not sign "
                   "it: get the right one from the CA%s", from, missing.text, below.text,
                   issuer_url(url, sizeof url, end));
  }
  return cr_fail(err, CR_KIND_INPUT, "BrokenChain",
                 "broken chain in %s: \"%s\", issuer of \"%s\", is missing; add its certificate, or remove the "
                 "unrelated \"%s\"%s", from, missing.text, below.text, subject_of(&who, other),
                 issuer_url(url, sizeof url, end));
}

/* A chain that stops below a CA that was not given is as it should be: that one is the root. Unless CAs were given
 * that lead nowhere: then one between them is missing. */
static int check_gaps(struct loading *loading, struct cr_error *err)
{
  bool ancestor[CR_IDENTITY_CERTIFICATES_MAX];
  size_t stray = NO_ONE;
  X509 *end = at(loading, loading->path_len ? loading->path[loading->path_len - 1] : loading->leaf);

  if(loading->complete) {
    return 0;
  }
  mark_ancestors(loading, ancestor);
  for(size_t i = 0; i < loading->material.count; i++) {
    X509 *other = at(loading, i);
    if(ancestor[i] || X509_check_ca(other) == 0) {
      continue;
    }
    if(loading->path_len > 0 && !self_signed(loading, i) &&
       X509_NAME_cmp(X509_get_issuer_name(other), X509_get_issuer_name(end)) == 0) {
      continue; /* a sister of the topmost: bundles carry the CA's intermediates for other kinds of keys */
    }
    if(stray == NO_ONE || X509_NAME_cmp(X509_get_subject_name(other), X509_get_issuer_name(end)) == 0) {
      stray = i;
    }
  }
  return stray == NO_ONE ? 0 : broken(loading, stray, err);
}

static int add_pem(struct cr_buf *out, X509 *x509, struct cr_error *err)
{
  unsigned char *der = NULL;
  int len = i2d_X509(x509, &der), rc = -1;

  if(len > 0) {
    rc = cr_pem_encode("CERTIFICATE", der, (size_t)len, out);
  }
  OPENSSL_free(der);
  return rc < 0 ? cr_fail_memory(err) : 0;
}

static int add_certificate(struct cr_identity *identity, X509 *x509, struct cr_error *err)
{
  struct cr_buf *pem = identity->count == 0 ? &identity->certificate_pem : &identity->chain_pem;

  if(cr_certificate_from_x509(x509, &identity->certificates[identity->count], err) < 0) {
    return -1;
  }
  X509_up_ref(x509);
  identity->x509[identity->count++] = x509;
  return add_pem(pem, x509, err);
}

static struct cr_identity *build(struct loading *loading, struct cr_error *err)
{
  struct cr_identity *identity = calloc(1, sizeof *identity);
  size_t count = loading->path_len + 1;

  if(!identity) {
    cr_fail_memory(err);
    return NULL;
  }
  identity->references = 1;
  cr_buf_init(&identity->certificate_pem, 2 * CR_IDENTITY_FILE_MAX);
  cr_buf_init(&identity->chain_pem, 8 * CR_IDENTITY_FILE_MAX);
  cr_buf_init(&identity->key.pkcs8, CR_IDENTITY_FILE_MAX);
  identity->x509 = calloc(count, sizeof *identity->x509);
  identity->certificates = calloc(count, sizeof *identity->certificates);
  if(!identity->x509 || !identity->certificates) {
    cr_fail_memory(err);
    goto fail;
  }
  if(add_certificate(identity, at(loading, loading->leaf), err) < 0) {
    goto fail;
  }
  for(size_t i = 0; i < loading->path_len; i++) {
    if(add_certificate(identity, at(loading, loading->path[i]), err) < 0) {
      goto fail;
    }
  }
  for(size_t k = 0; k < loading->material.key_count; k++) {
    if(&loading->material.keys[k] == loading->key) {
      identity->key = loading->material.keys[k];
      memset(&loading->material.keys[k], 0, sizeof loading->material.keys[k]);
    }
  }
  return identity;
fail:
  cr_identity_unref(identity);
  return NULL;
}

/* OpenSSL's ciphers leave decrypted blocks in stack frames they are done with. Called from where those frames
 * began, this lays a clean one over them. */
static __attribute__((noinline)) void wipe_dead_stack(void)
{
  char dead[DEAD_STACK];
  cr_wipe(dead, sizeof dead);
}

static __attribute__((noinline)) struct cr_identity *load(const struct cr_identity_source *source,
                                                          struct cr_error *err)
{
  struct loading *loading = calloc(1, sizeof *loading);
  struct cr_identity *identity = NULL;

  if(!loading) {
    cr_fail_memory(err);
    return NULL;
  }
  prepare(loading, source);
  ERR_set_mark();
  if(read_sources(loading, err) == 0 && find_leaf(loading, err) == 0) {
    climb(loading);
    if(check_gaps(loading, err) == 0) {
      identity = build(loading, err);
    }
  }
  ERR_pop_to_mark();
  cr_material_free(&loading->material);
  free(loading);
  return identity;
}

struct cr_identity *cr_identity_load(const struct cr_identity_source *source, struct cr_error *err)
{
  struct cr_identity *identity = load(source, err);
  wipe_dead_stack();
  return identity;
}

struct cr_identity *cr_identity_ref(struct cr_identity *identity)
{
  if(!identity) {
    return NULL;
  }
  __atomic_add_fetch(&identity->references, 1, __ATOMIC_RELAXED);
  return identity;
}

void cr_identity_unref(struct cr_identity *identity)
{
  if(!identity || __atomic_sub_fetch(&identity->references, 1, __ATOMIC_ACQ_REL) > 0) {
    return;
  }
  for(size_t i = 0; i < identity->count; i++) {
    cr_certificate_free(&identity->certificates[i]);
    X509_free(identity->x509[i]);
  }
  free(identity->certificates);
  free(identity->x509);
  cr_buf_free(&identity->certificate_pem);
  cr_buf_free(&identity->chain_pem);
  cr_private_key_free(&identity->key);
  free(identity);
}

const struct cr_certificate *cr_identity_leaf(const struct cr_identity *identity)
{
  return &identity->certificates[0];
}

size_t cr_identity_chain_count(const struct cr_identity *identity)
{
  return identity->count - 1;
}

const struct cr_certificate *cr_identity_chain_at(const struct cr_identity *identity, size_t which)
{
  return which + 1 < identity->count ? &identity->certificates[which + 1] : NULL;
}

X509 *cr_identity_x509(const struct cr_identity *identity, size_t which)
{
  return which < identity->count ? identity->x509[which] : NULL;
}

const char *cr_identity_certificate_pem(const struct cr_identity *identity)
{
  return cr_buf_str(&identity->certificate_pem);
}

const char *cr_identity_chain_pem(const struct cr_identity *identity)
{
  return cr_buf_str(&identity->chain_pem);
}

int cr_identity_private_key_pem(const struct cr_identity *identity, struct cr_buf *out, struct cr_error *err)
{
  if(cr_pem_encode("PRIVATE KEY", identity->key.pkcs8.data, identity->key.pkcs8.len, out) < 0) {
    return cr_buf_check(out, "private key", err);
  }
  return 0;
}

bool cr_identity_key_matches(const struct cr_identity *identity, const char *certificate_pem, size_t len)
{
  struct cr_input input = { NULL, NULL, 0, "the certificate", NULL, false };
  struct cr_material *material = calloc(1, sizeof *material);
  bool matches = false;

  if(!material) {
    return false;
  }
  input.text = certificate_pem ? certificate_pem : "";
  input.len = certificate_pem ? len : 0;
  material->first_only = true;
  if(cr_material_read(material, &input, NULL) == 0 && material->count > 0) {
    matches = cr_private_key_matches(&identity->key, material->certificates[0]);
  }
  cr_material_free(material);
  free(material);
  return matches;
}
