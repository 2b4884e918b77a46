/* certificate.c - one X.509 certificate, read into plain texts and numbers; which names cover an alias.
 *
 * OpenSSL and libc only. A struct cr_certificate owns its texts: cr_certificate_free. */
#include "identity_private.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pem.h"

#define NAME_TEXT_MAX 4096
#define DNS_NAME_MAX 255
#define USAGES_MAX 4096

const char *cr_show_path(struct cr_shown *shown, const char *path)
{
  size_t len = strlen(path);

  if(len < sizeof shown->text) {
    memcpy(shown->text, path, len + 1);
  } else {
    const char *tail = path + len - (sizeof shown->text - 4);
    while((*tail & 0xC0) == 0x80) {
      tail++; /* not into the middle of a UTF-8 sequence */
    }
    snprintf(shown->text, sizeof shown->text, "...%s", tail);
  }
  return shown->text;
}

/* A distinguished name as RFC 2253 has it, in UTF-8, or with escapes where its strings are not what they claim
 * to be. NULL only for lack of memory. */
static char *name_text(const X509_NAME *name)
{
  const unsigned long plain = XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB;
  const unsigned long escaped = XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_UTF8_CONVERT;
  char *data = NULL, *text = NULL;
  long len;
  BIO *bio = BIO_new(BIO_s_mem());

  ERR_set_mark();
  if(bio && X509_NAME_print_ex(bio, name, 0, plain) < 0) {
    (void)BIO_reset(bio);
    if(X509_NAME_print_ex(bio, name, 0, escaped) < 0) {
      (void)BIO_reset(bio);
      BIO_puts(bio, "(unreadable name)");
    }
  }
  if(bio) {
    len = BIO_get_mem_data(bio, &data);
    if(len > NAME_TEXT_MAX) {
      len = NAME_TEXT_MAX;
      while(len > 0 && (data[len] & 0xC0) == 0x80) {
        len--;
      }
    }
    text = cr_memdup(data ? data : "", len > 0 ? (size_t)len : 0);
    BIO_free(bio);
  }
  ERR_pop_to_mark();
  return text;
}

const char *cr_show_name(struct cr_shown *shown, const X509_NAME *name)
{
  char *text = name_text(name);
  size_t len = text ? strlen(text) : 0, keep = sizeof shown->text - 4;

  if(len < sizeof shown->text) {
    snprintf(shown->text, sizeof shown->text, "%s", text ? text : "(out of memory)");
  } else {
    while(keep > 0 && (text[keep] & 0xC0) == 0x80) {
      keep--;
    }
    memcpy(shown->text, text, keep);
    memcpy(shown->text + keep, "...", 4);
  }
  free(text);
  return shown->text;
}

const char *cr_show_time(struct cr_shown *shown, int64_t unix_seconds)
{
  struct tm tm;
  time_t t = (time_t)unix_seconds;

  if(gmtime_r(&t, &tm)) {
    snprintf(shown->text, sizeof shown->text, "%04d-%02d-%02d %02d:%02d:%02d UTC", tm.tm_year + 1900,
             tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
  } else {
    snprintf(shown->text, sizeof shown->text, "%lld seconds after 1970", (long long)unix_seconds);
  }
  return shown->text;
}

/* "07:71:71:f4": lower case, colons between bytes. */
static char *serial_text(const ASN1_INTEGER *serial)
{
  static const char hex[] = "0123456789abcdef";
  int len = ASN1_STRING_length(serial);
  const unsigned char *data = ASN1_STRING_get0_data(serial);
  bool negative = (ASN1_STRING_type(serial) & V_ASN1_NEG) != 0;
  char *text, *at;

  if(len <= 0) {
    return cr_strdup("00");
  }
  text = at = malloc((size_t)len * 3 + 1);
  if(!text) {
    return NULL;
  }
  if(negative) {
    *at++ = '-'; /* instead of the last byte's colon */
  }
  for(int i = 0; i < len; i++) {
    *at++ = hex[data[i] >> 4];
    *at++ = hex[data[i] & 15];
    if(i + 1 < len) {
      *at++ = ':';
    }
  }
  *at = '\0';
  return text;
}

static bool unix_time(const ASN1_TIME *time, int64_t *out)
{
  struct tm tm;

  if(!time || ASN1_TIME_to_tm(time, &tm) != 1) {
    return false;
  }
  *out = (int64_t)timegm(&tm);
  return true;
}

/* ACM's spelling where it has one, else "EC_<curve>" or the algorithm's name. */
static void key_type(X509 *x509, char *out, size_t size)
{
  EVP_PKEY *key = X509_get0_pubkey(x509);
  char group[64];
  size_t len;

  if(key && EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA) {
    snprintf(out, size, "RSA_%d", EVP_PKEY_get_bits(key));
  } else if(key && EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
            EVP_PKEY_get_group_name(key, group, sizeof group, &len) == 1) {
    snprintf(out, size, "EC_%.*s", (int)size - 4, group);
  } else {
    ASN1_OBJECT *algorithm = NULL;
    X509_PUBKEY_get0_param(&algorithm, NULL, NULL, NULL, X509_get_X509_PUBKEY(x509));
    if(!algorithm || OBJ_obj2txt(out, (int)size, algorithm, 0) <= 0) {
      snprintf(out, size, "unknown");
    }
  }
}

/* "SHA256WITHRSA", as ACM says it; other algorithms by OpenSSL's name. */
static void signature_algorithm(const X509 *x509, char *out, size_t size)
{
  int signature = X509_get_signature_nid(x509), digest = NID_undef, key = NID_undef;
  const char *with = NULL;

  if(OBJ_find_sigid_algs(signature, &digest, &key) == 1 && digest != NID_undef) {
    with = key == NID_rsaEncryption ? "RSA" : key == NID_X9_62_id_ecPublicKey ? "ECDSA" : NULL;
  }
  if(with) {
    snprintf(out, size, "%sWITH%s", OBJ_nid2sn(digest), with);
  } else {
    snprintf(out, size, "%s", signature == NID_undef ? "unknown" : OBJ_nid2ln(signature));
  }
}

/* Only what can be a host name gets through: no NUL hidden in the middle, no blanks, nothing beyond ASCII. */
static char *dns_name(const ASN1_STRING *value)
{
  int len = ASN1_STRING_length(value);
  const unsigned char *data = ASN1_STRING_get0_data(value);
  char *name;

  name = cr_memdup(data, (size_t)len);
  for(int i = 0; name && i < len; i++) {
    if(name[i] >= 'A' && name[i] <= 'Z') {
      name[i] = (char)(name[i] + ('a' - 'A'));
    }
  }
  return name;
}

static bool is_dns_name(const ASN1_STRING *value)
{
  int len = ASN1_STRING_length(value);
  const unsigned char *data = ASN1_STRING_get0_data(value);

  if(len < 1 || len > DNS_NAME_MAX) {
    return false;
  }
  for(int i = 0; i < len; i++) {
    if(data[i] <= ' ' || data[i] > '~') {
      return false;
    }
  }
  return true;
}

/* 0; -1 lack of memory; 1 when the extension cannot be read. */
static int read_names(const X509 *x509, struct cr_certificate *out)
{
  int critical, count, rc = -1;
  GENERAL_NAMES *names = X509_get_ext_d2i(x509, NID_subject_alt_name, &critical, NULL);

  if(!names) {
    return critical == -1 ? 0 : 1; /* -1: there is none. Otherwise twice, or malformed */
  }
  count = sk_GENERAL_NAME_num(names);
  out->names = calloc(count > 0 ? (size_t)count : 1, sizeof *out->names);
  if(!out->names) {
    goto done;
  }
  for(int i = 0; i < count; i++) {
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
    if(name->type == GEN_DNS && is_dns_name(name->d.dNSName)) {
      out->names[out->name_count] = dns_name(name->d.dNSName);
      if(!out->names[out->name_count]) {
        goto done;
      }
      out->name_count++;
    }
  }
  rc = 0;
done:
  GENERAL_NAMES_free(names);
  return rc;
}

static int read_ocsp(X509 *x509, struct cr_certificate *out)
{
  STACK_OF(OPENSSL_STRING) *urls = X509_get1_ocsp(x509);
  int rc = 0;

  if(urls && sk_OPENSSL_STRING_num(urls) > 0) {
    out->ocsp = cr_strdup(sk_OPENSSL_STRING_value(urls, 0));
    rc = out->ocsp ? 0 : -1;
  }
  X509_email_free(urls);
  return rc;
}

/* Appends a word to a text; -1 without memory. */
static int add_word(struct cr_buf *out, const char *word)
{
  return (out->len > 0 && cr_buf_adds(out, " ") < 0) || cr_buf_adds(out, word) < 0 ? -1 : 0;
}

static int keep_words(struct cr_buf *words, char **out)
{
  *out = cr_memdup(words->data ? words->data : "", words->len);
  cr_buf_free(words);
  return *out ? 0 : -1;
}

/* What the key may be used for. 0, or -1 without memory; an extension that cannot be read counts as empty. */
static int read_key_usages(X509 *x509, struct cr_certificate *out)
{
  static const struct {
    uint32_t bit;
    const char *name;
  } known[] = {
    { KU_DIGITAL_SIGNATURE, "DIGITAL_SIGNATURE" }, { KU_NON_REPUDIATION, "NON_REPUDIATION" },
    { KU_KEY_ENCIPHERMENT, "KEY_ENCIPHERMENT" },   { KU_DATA_ENCIPHERMENT, "DATA_ENCIPHERMENT" },
    { KU_KEY_AGREEMENT, "KEY_AGREEMENT" },         { KU_KEY_CERT_SIGN, "CERTIFICATE_SIGNING" },
    { KU_CRL_SIGN, "CRL_SIGNING" },                { KU_ENCIPHER_ONLY, "ENCIPHER_ONLY" },
    { KU_DECIPHER_ONLY, "DECIPHER_ONLY" },
  };
  uint32_t bits = X509_get_key_usage(x509);
  struct cr_buf words;
  if(bits == UINT32_MAX) {
    return 0;
  }
  cr_buf_init(&words, USAGES_MAX);
  for(size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    if((bits & known[i].bit) && add_word(&words, known[i].name) < 0) {
      cr_buf_free(&words);
      return -1;
    }
  }
  return keep_words(&words, &out->key_usages);
}

static const char *extended_name(int nid)
{
  switch(nid) {
  case NID_server_auth: return "TLS_WEB_SERVER_AUTHENTICATION";
  case NID_client_auth: return "TLS_WEB_CLIENT_AUTHENTICATION";
  case NID_code_sign: return "CODE_SIGNING";
  case NID_email_protect: return "EMAIL_PROTECTION";
  case NID_time_stamp: return "TIME_STAMPING";
  case NID_OCSP_sign: return "OCSP_SIGNING";
  case NID_anyExtendedKeyUsage: return "ANY";
  default: return NULL;
  }
}

static int read_extended_key_usages(const X509 *x509, struct cr_certificate *out)
{
  int critical, rc = 0;
  EXTENDED_KEY_USAGE *usages = X509_get_ext_d2i(x509, NID_ext_key_usage, &critical, NULL);
  struct cr_buf words;
  if(!usages && critical == -1) {
    return 0; /* there is none. Otherwise twice, or malformed */
  }
  cr_buf_init(&words, USAGES_MAX);
  for(int i = 0; rc == 0 && i < sk_ASN1_OBJECT_num(usages); i++) {
    const ASN1_OBJECT *usage = sk_ASN1_OBJECT_value(usages, i);
    const char *name = extended_name(OBJ_obj2nid(usage));
    char oid[128];
    if(!name) {
      name = OBJ_obj2txt(oid, sizeof oid, usage, 1) > 0 ? oid : "unknown";
    }
    if(words.len + sizeof oid < USAGES_MAX) {
      rc = add_word(&words, name);
    }
  }
  EXTENDED_KEY_USAGE_free(usages);
  if(rc < 0) {
    cr_buf_free(&words);
    return -1;
  }
  return keep_words(&words, &out->extended_key_usages);
}

static void fingerprint(const X509 *x509, char *out)
{
  static const char hex[] = "0123456789abcdef";
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned len = 0;

  if(X509_digest(x509, EVP_sha256(), digest, &len) != 1) {
    len = 0;
  }
  for(unsigned i = 0; i < len && i < CR_FINGERPRINT_HEX / 2; i++) {
    *out++ = hex[digest[i] >> 4];
    *out++ = hex[digest[i] & 15];
  }
  *out = '\0';
}

static int fill(X509 *x509, struct cr_certificate *out, struct cr_error *err)
{
  struct cr_shown who;
  int names;

  fingerprint(x509, out->fingerprint);
  out->subject = name_text(X509_get_subject_name(x509));
  out->issuer = name_text(X509_get_issuer_name(x509));
  out->serial = serial_text(X509_get0_serialNumber(x509));
  if(!out->fingerprint[0] || !out->subject || !out->issuer || !out->serial || read_ocsp(x509, out) < 0 ||
     read_key_usages(x509, out) < 0 || read_extended_key_usages(x509, out) < 0) {
    return cr_fail_memory(err);
  }
  if(!unix_time(X509_get0_notBefore(x509), &out->not_before) || !unix_time(X509_get0_notAfter(x509), &out->not_after)) {
    return cr_fail(err, CR_KIND_INPUT, "MalformedCertificate",
                   "the certificate \"%s\" has a validity period that is no time; have it issued again",
                   cr_show_name(&who, X509_get_subject_name(x509)));
  }
  key_type(x509, out->key_type, sizeof out->key_type);
  signature_algorithm(x509, out->signature_algorithm, sizeof out->signature_algorithm);
  out->self_signed = X509_self_signed(x509, 1) == 1;
  names = read_names(x509, out);
  if(names > 0) {
    return cr_fail(err, CR_KIND_INPUT, "MalformedCertificate",
                   "the subject alternative names of the certificate \"%s\" are malformed; have it issued again",
                   cr_show_name(&who, X509_get_subject_name(x509)));
  }
  return names < 0 ? cr_fail_memory(err) : 0;
}

int cr_certificate_from_x509(X509 *x509, struct cr_certificate *out, struct cr_error *err)
{
  int rc;

  memset(out, 0, sizeof *out);
  ERR_set_mark();
  rc = fill(x509, out, err);
  ERR_pop_to_mark();
  if(rc < 0) {
    cr_certificate_free(out);
  }
  return rc;
}

int cr_certificate_parse(const char *text, size_t len, struct cr_certificate *out, struct cr_error *err)
{
  struct cr_input input = { NULL, NULL, 0, "the certificate", NULL, false };
  struct cr_material *material;
  int rc = -1;

  memset(out, 0, sizeof *out);
  input.text = text ? text : "";
  input.len = text ? len : 0;
  material = calloc(1, sizeof *material);
  if(!material) {
    return cr_fail_memory(err);
  }
  material->first_only = true;
  if(cr_material_read(material, &input, err) == 0) {
    rc = material->count > 0 ? cr_certificate_from_x509(material->certificates[0], out, err)
                             : cr_fail(err, CR_KIND_INPUT, "NoCertificate", "the text holds no certificate");
  }
  cr_material_free(material);
  free(material);
  return rc;
}

void cr_certificate_free(struct cr_certificate *certificate)
{
  free(certificate->subject);
  free(certificate->issuer);
  free(certificate->serial);
  free(certificate->ocsp);
  free(certificate->key_usages);
  free(certificate->extended_key_usages);
  for(size_t i = 0; i < certificate->name_count; i++) {
    free(certificate->names[i]);
  }
  free(certificate->names);
  memset(certificate, 0, sizeof *certificate);
}

bool cr_name_covers(const char *name, const char *alias)
{
  const char *rest;

  if(!name || !alias || !*name || !*alias) {
    return false;
  }
  if(cr_strcasecmp(name, alias) == 0) {
    return true;
  }
  if(name[0] != '*' || name[1] != '.' || name[2] == '\0' || alias[0] == '*') {
    return false; /* "*.b" must not vouch for the alias "*.b" of another level, which the line above decides */
  }
  rest = strchr(alias, '.');
  return rest && rest != alias && cr_strcasecmp(name + 1, rest) == 0;
}

bool cr_certificate_covers(const struct cr_certificate *certificate, const char *alias)
{
  for(size_t i = 0; i < certificate->name_count; i++) {
    if(cr_name_covers(certificate->names[i], alias)) {
      return true;
    }
  }
  return false;
}
