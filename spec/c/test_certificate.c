/* test_certificate.c - reading one certificate, and which names cover which alias. */
#include "check.h"
#include "identity.h"
#include "make_certificates.h"

static int parse(const char *text, size_t len, struct cr_certificate *out, struct cr_error *err)
{
  int rc;
  cr_error_clear(err);
  rc = cr_certificate_parse(text, len, out, err);
  CHECK(ERR_peek_error() == 0);
  CHECK((rc == 0) == (err->code[0] == '\0'));
  return rc;
}

static void test_fields(void)
{
  struct mk_ca ca = mk_ca("An Authority, Ltd \"x\"", NULL);
  EVP_PKEY *key = mk_key("RSA:2048");
  struct mk_options options;
  struct cr_certificate got;
  struct cr_error err;
  X509 *x509;
  char *pem, *der;
  size_t len;
  unsigned char digest[32];
  char hex[65];

  memset(&options, 0, sizeof options);
  options.cn = "www.Ex\xC3\xA4mple.test";
  options.key = key;
  options.issuer = ca.x509;
  options.issuer_key = ca.key;
  options.names = "DNS:WWW.Example.Test,DNS:*.example.test,IP:127.0.0.1,email:a@b.test,DNS:xn--bcher-kva.test";
  options.access = "caIssuers;URI:http://ca.test/ca.crt,OCSP;URI:http://ocsp.test/x,OCSP;URI:http://second.test";
  options.not_before = 1700000000;
  options.not_after = 4102444799; /* 2099-12-31 23:59:59: beyond UTCTime */
  options.serial = "077171F46BE7BF6387E6AD3CB20FD05B";
  x509 = mk_certificate(&options);
  pem = mk_pem(x509);
  der = mk_der(x509, &len);
  X509_digest(x509, EVP_sha256(), digest, NULL);
  for(int i = 0; i < 32; i++) {
    snprintf(hex + 2 * i, 3, "%02x", digest[i]);
  }
  for(int form = 0; form < 2; form++) {
    CHECK(parse(form ? der : pem, form ? len : strlen(pem), &got, &err) == 0);
    CHECK_STR(got.fingerprint, hex);
    CHECK_STR(got.subject, "CN=www.Ex\xC3\xA4mple.test");
    CHECK_STR(got.issuer, "CN=An Authority\\, Ltd \\\"x\\\"");
    CHECK_STR(got.serial, "07:71:71:f4:6b:e7:bf:63:87:e6:ad:3c:b2:0f:d0:5b");
    CHECK(got.not_before == 1700000000 && got.not_after == 4102444799);
    CHECK_STR(got.key_type, "RSA_2048");
    CHECK_STR(got.signature_algorithm, "SHA256WITHECDSA");
    CHECK(!got.self_signed);
    CHECK(got.name_count == 3);
    if(got.name_count == 3) {
      CHECK_STR(got.names[0], "www.example.test");
      CHECK_STR(got.names[1], "*.example.test");
      CHECK_STR(got.names[2], "xn--bcher-kva.test");
    }
    CHECK_STR(got.ocsp, "http://ocsp.test/x");
    CHECK(cr_certificate_covers(&got, "A.example.test") && !cr_certificate_covers(&got, "example.test"));
    cr_certificate_free(&got);
    CHECK(got.subject == NULL && got.names == NULL && got.name_count == 0);
  }
  free(pem);
  free(der);
  X509_free(x509);
  EVP_PKEY_free(key);
  mk_ca_free(&ca);
}

static void test_usages(void)
{
  static const char *const cases[][2] = {
    { NULL, NULL },
    { "serverAuth", "TLS_WEB_SERVER_AUTHENTICATION" },
    { "clientAuth,serverAuth,1.2.3.4", "TLS_WEB_CLIENT_AUTHENTICATION TLS_WEB_SERVER_AUTHENTICATION 1.2.3.4" },
    { "codeSigning,emailProtection,timeStamping,OCSPSigning,anyExtendedKeyUsage",
      "CODE_SIGNING EMAIL_PROTECTION TIME_STAMPING OCSP_SIGNING ANY" },
  };
  EVP_PKEY *key = mk_key("P-256");
  for(size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct mk_options options;
    struct cr_certificate got;
    struct cr_error err;
    memset(&options, 0, sizeof options);
    options.cn = "x";
    options.key = key;
    options.usage = cases[i][0];
    X509 *x509 = mk_certificate(&options);
    char *pem = mk_pem(x509);
    CHECK(parse(pem, strlen(pem), &got, &err) == 0);
    CHECK_STR(got.key_usages, "DIGITAL_SIGNATURE KEY_ENCIPHERMENT");
    CHECK(cases[i][1] || got.extended_key_usages == NULL);
    if(cases[i][1]) {
      CHECK_STR(got.extended_key_usages, cases[i][1]);
    }
    cr_certificate_free(&got);
    CHECK(got.key_usages == NULL && got.extended_key_usages == NULL);
    free(pem);
    X509_free(x509);
  }
  EVP_PKEY_free(key);
}

static void test_key_types(void)
{
  static const char *const kinds[][2] = { { "RSA:1024", "RSA_1024" }, { "RSA:3072", "RSA_3072" },
                                          { "P-256", "EC_prime256v1" }, { "P-384", "EC_secp384r1" },
                                          { "P-521", "EC_secp521r1" }, { "secp256k1", "EC_secp256k1" },
                                          { "ED25519", "ED25519" } };
  for(size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    EVP_PKEY *key = mk_key(kinds[i][0]);
    X509 *x509 = mk_leaf("x", NULL, key, NULL);
    char *pem = mk_pem(x509);
    struct cr_certificate got;
    struct cr_error err;
    CHECK(parse(pem, strlen(pem), &got, &err) == 0);
    CHECK_STR(got.key_type, kinds[i][1]);
    CHECK(got.self_signed && got.name_count == 0 && got.ocsp == NULL);
    CHECK_STR(got.signature_algorithm, i < 2 ? "SHA256WITHRSA" : i < 6 ? "SHA256WITHECDSA" : "ED25519");
    cr_certificate_free(&got);
    free(pem);
    X509_free(x509);
    EVP_PKEY_free(key);
  }
}

static void add_dns(GENERAL_NAMES *names, const char *data, int len)
{
  GENERAL_NAME *name = GENERAL_NAME_new();
  ASN1_IA5STRING *text = ASN1_IA5STRING_new();
  mk_need(name && text && ASN1_STRING_set(text, data, len), "odd name");
  GENERAL_NAME_set0_value(name, GEN_DNS, text);
  sk_GENERAL_NAME_push(names, name);
}

/* Names that nobody can have, and those meant to be taken for another, are left out. */
static void test_odd_names(void)
{
  EVP_PKEY *key = mk_key("P-256");
  struct mk_options options;
  struct cr_certificate got;
  struct cr_error err;
  GENERAL_NAMES *names = GENERAL_NAMES_new();
  char longest[300], *pem;
  X509 *x509;

  memset(&options, 0, sizeof options);
  memset(longest, 'a', sizeof longest);
  options.cn = "odd";
  options.key = key;
  x509 = mk_unsigned(&options);
  add_dns(names, "bank.test\0.evil.test", 20);
  add_dns(names, "\0", 1);
  add_dns(names, "", 0);
  add_dns(names, "two words.test", 14);
  add_dns(names, "line\nend.test", 13);
  add_dns(names, "b\xC3\xBC" "cher.test", 12);
  add_dns(names, longest, 256);
  add_dns(names, "Good.Test", 9);
  mk_need(X509_add1_ext_i2d(x509, NID_subject_alt_name, names, 0, 0) == 1, "names");
  mk_sign(x509, key);
  pem = mk_pem(x509);
  CHECK(parse(pem, strlen(pem), &got, &err) == 0);
  CHECK(got.name_count == 1);
  CHECK_STR(got.name_count ? got.names[0] : "", "good.test");
  CHECK(!cr_certificate_covers(&got, "bank.test"));
  cr_certificate_free(&got);
  free(pem);

  /* The extension twice: which one counts would be anybody's guess. */
  mk_need(X509_add1_ext_i2d(x509, NID_subject_alt_name, names, 0, X509V3_ADD_APPEND) == 1, "names");
  pem = mk_pem(mk_sign(x509, key));
  CHECK(parse(pem, strlen(pem), &got, &err) == -1);
  CHECK_STR(err.code, "MalformedCertificate");
  free(pem);
  GENERAL_NAMES_free(names);
  X509_free(x509);
  EVP_PKEY_free(key);
}

/* A subject with a line end, one that is cut since it is far too long. */
static void test_odd_subjects(void)
{
  EVP_PKEY *key = mk_key("P-256");
  struct mk_options options;
  struct cr_certificate got;
  struct cr_error err;
  char *pem;
  X509 *x509;
  X509_NAME *name = X509_NAME_new();

  memset(&options, 0, sizeof options);
  options.key = key;
  x509 = mk_unsigned(&options);
  mk_need(X509_NAME_add_entry_by_NID(name, NID_commonName, V_ASN1_UTF8STRING,
                                     (const unsigned char *)"a\n\x7F" "b", 4, -1, 0) &&
          X509_set_subject_name(x509, name), "name");
  pem = mk_pem(mk_sign(x509, key));
  CHECK(parse(pem, strlen(pem), &got, &err) == 0);
  CHECK_STR(got.subject, "CN=a\\0A\\7Fb");
  CHECK_STR(got.issuer, "");
  cr_certificate_free(&got);
  free(pem);
  for(int i = 0; i < 200; i++) {
    mk_need(X509_NAME_add_entry_by_txt(name, "OU", MBSTRING_UTF8, (const unsigned char *)
              "\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC", -1, -1, 0), "name");
  }
  mk_need(X509_set_subject_name(x509, name), "name");
  pem = mk_pem(mk_sign(x509, key));
  CHECK(parse(pem, strlen(pem), &got, &err) == 0);
  CHECK(strlen(got.subject) > 4000 && strlen(got.subject) <= 4096);
  cr_certificate_free(&got);
  free(pem);
  X509_NAME_free(name);
  X509_free(x509);
  EVP_PKEY_free(key);
}

static void test_refusals(void)
{
  EVP_PKEY *key = mk_key("P-256");
  X509 *x509 = mk_leaf("x", "DNS:x.test", key, NULL);
  char *pem = mk_pem(x509), *key_pem = mk_key_pem(key, NULL), *der, *both;
  struct cr_certificate got;
  struct cr_error err;
  size_t len;

  der = mk_der(x509, &len);
  CHECK(parse("", 0, &got, &err) == -1);
  CHECK_STR(err.code, "NoCertificate");
  CHECK(parse(NULL, 0, &got, &err) == -1);
  CHECK(parse("hello", 5, &got, &err) == -1);
  CHECK_STR(err.code, "NoCertificate");
  CHECK(parse(key_pem, strlen(key_pem), &got, &err) == -1);
  CHECK_STR(err.code, "NoCertificate");
  for(size_t cut = 1; cut < strlen(pem) - 2; cut += 7) {
    CHECK(parse(pem, cut, &got, &err) == -1);
  }
  for(size_t cut = 1; cut < len; cut++) {
    CHECK(parse(der, cut, &got, &err) == -1);
  }
  /* Only the first certificate counts, whatever follows it or stands before it. */
  both = mk_join((const char *const[]){ "text before\n", key_pem, "\xEF\xBB\xBFmore\r\n", pem,
                                        "-----BEGIN CERTIFICATE-----\n", NULL });
  CHECK(parse(both, strlen(both), &got, &err) == 0);
  cr_certificate_free(&got);
  free(both);
  free(pem);
  free(key_pem);
  free(der);
  X509_free(x509);
  EVP_PKEY_free(key);
}

static void test_covers(void)
{
  static const struct {
    const char *name, *alias;
    bool covers;
  } cases[] = {
    { "a.b", "a.b", true }, { "a.b", "A.B", true }, { "A.b", "a.B", true }, { "a.b", "x.a.b", false },
    { "*.a.b", "x.a.b", true }, { "*.a.b", "X.A.B", true }, { "*.a.b", "*.a.b", true }, { "*.a.b", "a.b", false },
    { "*.a.b", "x.y.a.b", false }, { "*.a.b", ".a.b", false }, { "*.a.b", "*.x.a.b", false },
    { "*.a.b", "*x.a.b", false }, { "x.a.b", "*.a.b", false }, { "*.b", "*.a.b", false }, { "*.b", "*.b", true },
    { "x*.a.b", "xy.a.b", false }, { "x*.a.b", "x*.a.b", true }, { "*", "a", false }, { "*.", "a.", false },
    { "*.*.b", "x.y.b", false }, { "*a.b", "xa.b", false }, { "", "", false }, { "a.b", "", false },
    { "", "a.b", false }, { "a.b", "a.b.", false }, { "a.bc", "a.b", false }, { "*.a.b", "xa.b", false },
    { "*.xn--bcher-kva.test", "www.XN--bcher-kva.test", true },
  };
  for(size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    bool covers = cr_name_covers(cases[i].name, cases[i].alias);
    if(covers != cases[i].covers) {
      printf("\"%s\" and \"%s\":\n", cases[i].name, cases[i].alias);
    }
    CHECK(covers == cases[i].covers);
  }
  CHECK(!cr_name_covers(NULL, "a") && !cr_name_covers("a", NULL));
}

int main(void)
{
  test_fields();
  test_key_types();
  test_usages();
  test_odd_names();
  test_odd_subjects();
  test_refusals();
  test_covers();
  return check_end();
}
