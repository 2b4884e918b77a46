/* test_identity_check.c - each finding of cr_identity_check, and that nothing is found where nothing is wrong.
 *
 * The system's own roots are kept out (SSL_CERT_FILE, SSL_CERT_DIR), so that the answers are the same everywhere. */
#include "load_identity.h"
#include "make_certificates.h"

static struct {
  struct mk_ca root, ca;
  EVP_PKEY *rsa, *ec;
  char *ca_pem, *root_pem, *folder, *trust;
  int64_t now;
} all;

static void make_all(void)
{
  all.root = mk_ca("Root", NULL);
  all.ca = mk_ca("CA", &all.root);
  all.rsa = mk_key("RSA:2048");
  all.ec = mk_key("P-256");
  all.ca_pem = mk_pem(all.ca.x509);
  all.root_pem = mk_pem(all.root.x509);
  all.folder = mk_folder();
  all.trust = strdup(mk_file(all.folder, "root.pem", all.root_pem, strlen(all.root_pem)));
  all.now = (int64_t)time(NULL);
}

static void free_all(void)
{
  mk_ca_free(&all.root);
  mk_ca_free(&all.ca);
  EVP_PKEY_free(all.rsa);
  EVP_PKEY_free(all.ec);
  free(all.ca_pem);
  free(all.root_pem);
  CHECK(unlink(all.trust) == 0 && rmdir(all.folder) == 0);
  free(all.trust);
  free(all.folder);
}

/* "refuse:Expired warn:UnknownRoot", in the order found. */
static bool roots = true;   /* whether they are looked for */

static const char *findings(const struct cr_identity *identity, const char *store, int64_t now, const char *trust)
{
  static char text[1024];
  struct cr_tree tree;
  struct cr_error err;

  cr_tree_init(&tree, 65536);
  cr_node_add(&tree, NULL, NULL, CR_NODE_LIST);
  text[0] = '\0';
  cr_error_clear(&err);
  if(cr_identity_check(identity, store, now, trust, roots, &tree, tree.root, &err) < 0) {
    snprintf(text, sizeof text, "error %s", err.code);
  }
  CHECK(ERR_peek_error() == 0);
  for(const struct cr_node *one = tree.root->first; one; one = one->next) {
    const char *message = cr_get_text(one, "message");
    snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s:%s", *text ? " " : "", cr_get_text(one, "level"),
             cr_get_text(one, "code"));
    CHECK(message && strlen(message) > 20 && strlen(message) < 500 && !strchr(message, '\n'));
  }
  cr_tree_free(&tree);
  return text;
}

static struct cr_identity *identity_of(X509 *leaf, EVP_PKEY *key, const char *chain)
{
  struct cr_error err;
  char *pem = mk_pem(leaf), *key_pem = mk_key_pem(key, NULL);
  struct cr_identity *identity = load_texts(pem, key_pem, chain, NULL, &err);
  mk_need(identity != NULL, err.message);
  free(pem);
  free(key_pem);
  return identity;
}

/* Takes the leaf over. */
static void expect(X509 *leaf, EVP_PKEY *key, const char *chain, const char *store, const char *trust,
                   const char *wanted)
{
  struct cr_identity *identity = identity_of(leaf, key, chain);
  CHECK_STR(findings(identity, store, all.now, trust), wanted);
  cr_identity_unref(identity);
  X509_free(leaf);
}

static struct mk_options usual(void)
{
  struct mk_options options;
  memset(&options, 0, sizeof options);
  options.cn = "www.example.test";
  options.names = "DNS:www.example.test";
  options.key = all.rsa;
  options.issuer = all.ca.x509;
  options.issuer_key = all.ca.key;
  options.usage = "serverAuth";
  return options;
}

static void test_trust(void)
{
  struct mk_options options = usual();
  char *both = mk_join((const char *const[]){ all.ca_pem, all.root_pem, NULL });
  struct mk_ca stranger = mk_ca("Root", NULL);
  char *stranger_pem = mk_pem(stranger.x509);
  const char *path = mk_file(all.folder, "stranger.pem", stranger_pem, strlen(stranger_pem));
  struct cr_identity *identity;

  expect(mk_certificate(&options), all.rsa, all.ca_pem, "acm", all.trust, "");
  expect(mk_certificate(&options), all.rsa, all.ca_pem, "iam", all.trust, "");
  expect(mk_certificate(&options), all.rsa, both, "acm", all.trust, "");
  expect(mk_certificate(&options), all.rsa, all.ca_pem, "acm", NULL, "warn:UnknownRoot");
  expect(mk_certificate(&options), all.rsa, NULL, "acm", all.trust, "refuse:NoChain");
  expect(mk_certificate(&options), all.rsa, NULL, "iam", NULL, "refuse:NoChain");
  roots = false;
  expect(mk_certificate(&options), all.rsa, all.ca_pem, "acm", NULL, "");
  expect(mk_certificate(&options), all.rsa, NULL, "acm", NULL, "");
  roots = true;
  /* A root of the same name with another key. OpenSSL finds it by name and rejects the signature. */
  expect(mk_certificate(&options), all.rsa, all.ca_pem, "acm", path, "warn:UnknownRoot");
  CHECK(unlink(path) == 0);
  options.usage = "clientAuth";
  expect(mk_certificate(&options), all.rsa, all.ca_pem, "acm", all.trust, "refuse:WrongPurpose");
  options.usage = NULL; /* no restriction */
  expect(mk_certificate(&options), all.rsa, all.ca_pem, "acm", all.trust, "");
  options = usual();
  options.issuer = all.root.x509;
  options.issuer_key = all.root.key;
  expect(mk_certificate(&options), all.rsa, NULL, "acm", all.trust, ""); /* straight below a known root */
  options.issuer = NULL;
  options.issuer_key = NULL;
  expect(mk_certificate(&options), all.rsa, NULL, "acm", all.trust, "warn:SelfSigned");

  identity = identity_of(all.ca.x509, all.ca.key, NULL);
  CHECK_STR(findings(identity, "s3", all.now, NULL), "error InvalidParameter");
  CHECK_STR(findings(identity, NULL, all.now, NULL), "error InvalidParameter");
  CHECK_STR(findings(identity, "acm", all.now, "/nonexistent/roots.pem"), "error FileUnreadable");
  path = mk_file(all.folder, "nothing.pem", "nothing", 7);
  CHECK_STR(findings(identity, "acm", all.now, path), "error NoCertificate");
  CHECK(unlink(path) == 0);
  cr_identity_unref(identity);
  free(both);
  free(stranger_pem);
  mk_ca_free(&stranger);
}

static void test_dates(void)
{
  struct mk_options options = usual();
  struct mk_ca brief;
  X509 *leaf = mk_certificate(&options);
  struct cr_identity *identity = identity_of(leaf, all.rsa, all.ca_pem);
  const struct cr_certificate *got = cr_identity_leaf(identity);
  char *pem;

  CHECK_STR(findings(identity, "acm", got->not_after - 86401, all.trust), "");
  CHECK_STR(findings(identity, "acm", got->not_after - 86400, all.trust), "");
  CHECK_STR(findings(identity, "acm", got->not_after - 86399, all.trust), "warn:ExpiresSoon");
  CHECK_STR(findings(identity, "acm", got->not_after, all.trust), "warn:ExpiresSoon");
  CHECK_STR(findings(identity, "acm", got->not_after + 1, all.trust), "refuse:Expired");
  CHECK_STR(findings(identity, "acm", got->not_before, all.trust), "");
  CHECK_STR(findings(identity, "acm", cr_identity_chain_at(identity, 0)->not_after + 1, all.trust),
            "refuse:Expired refuse:ChainExpired warn:UnknownRoot"); /* the root ends at the same moment */
  CHECK_STR(findings(identity, "acm", 1000, all.trust), "refuse:NotYetValid refuse:ChainExpired warn:UnknownRoot");
  CHECK_STR(findings(identity, "acm", INT64_C(99999999999), NULL),
            "refuse:Expired refuse:ChainExpired warn:UnknownRoot");
  cr_identity_unref(identity);
  X509_free(leaf);
  options.not_before = all.now + 3600;
  expect(mk_certificate(&options), all.rsa, all.ca_pem, "acm", all.trust, "refuse:NotYetValid");

  /* An intermediate that ended before the leaf does. */
  options = usual();
  options.cn = "Brief";
  options.names = NULL;
  options.key = brief.key = mk_key("P-256");
  options.ca = 1;
  options.usage = NULL;
  options.issuer = all.root.x509;
  options.issuer_key = all.root.key;
  options.not_after = all.now - 10;
  options.not_before = all.now - 86400;
  brief.x509 = mk_certificate(&options);
  pem = mk_pem(brief.x509);
  expect(mk_leaf("www", "DNS:www.test", all.rsa, &brief), all.rsa, pem, "acm", all.trust, "refuse:ChainExpired");
  free(pem);
  mk_ca_free(&brief);
}

static void test_keys(void)
{
  static const struct {
    const char *kind, *acm, *iam;
  } cases[] = {
    { "RSA:1024", "", "" }, { "RSA:2048", "", "" }, { "RSA:3072", "", "warn:UnsupportedKey" },
    { "RSA:4096", "", "warn:UnsupportedKey" }, { "RSA:2056", "refuse:UnsupportedKey", "refuse:UnsupportedKey" },
    { "RSA:512", "refuse:UnsupportedKey", "refuse:UnsupportedKey" }, { "P-256", "", "" },
    { "P-384", "refuse:UnsupportedKey", "refuse:UnsupportedKey" },
    { "P-521", "refuse:UnsupportedKey", "refuse:UnsupportedKey" },
    { "secp256k1", "refuse:UnsupportedKey", "refuse:UnsupportedKey" },
  };
  for(size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    bool large = strcmp(cases[i].kind, "RSA:3072") == 0 || strcmp(cases[i].kind, "RSA:4096") == 0;
    EVP_PKEY *key = large ? mk_unprime_rsa(atoi(cases[i].kind + 4)) : mk_key(cases[i].kind);
    struct mk_options options = usual();
    options.key = key;
    expect(mk_certificate(&options), key, all.ca_pem, "acm", all.trust, cases[i].acm);
    expect(mk_certificate(&options), key, all.ca_pem, "iam", all.trust, cases[i].iam);
    EVP_PKEY_free(key);
  }
}

static void test_sizes(void)
{
  struct mk_options options = usual();
  char *names = calloc(1, 64 * 1200), url[1100], *at = names;
  EVP_PKEY *key = mk_unprime_rsa(7168);

  mk_need(names != NULL, "memory");
  options.key = key;
  expect(mk_certificate(&options), key, all.ca_pem, "acm", all.trust, "refuse:UnsupportedKey refuse:KeyTooLarge");
  expect(mk_certificate(&options), key, all.ca_pem, "iam", all.trust, "refuse:UnsupportedKey");
  EVP_PKEY_free(key);

  options = usual();
  for(int i = 0; i < 1000; i++) {
    at += sprintf(at, "%sDNS:name-number-%06d.example.test", i ? "," : "", i);
  }
  options.names = names;
  expect(mk_certificate(&options), all.rsa, all.ca_pem, "acm", all.trust, "refuse:CertificateTooLarge");
  expect(mk_certificate(&options), all.rsa, all.ca_pem, "iam", all.trust, "refuse:CertificateTooLarge");
  at = strstr(names, ",DNS:name-number-000450");
  *at = '\0';
  expect(mk_certificate(&options), all.rsa, all.ca_pem, "acm", all.trust, "");
  expect(mk_certificate(&options), all.rsa, all.ca_pem, "iam", all.trust, "refuse:CertificateTooLarge");
  free(names);

  options = usual();
  memset(url, 'x', sizeof url);
  memcpy(url, "OCSP;URI:http://o/", 18);
  options.access = url;
  url[9 + 1000] = '\0';
  expect(mk_certificate(&options), all.rsa, all.ca_pem, "acm", all.trust, "");
  url[9 + 1000] = 'x';
  url[9 + 1001] = '\0';
  expect(mk_certificate(&options), all.rsa, all.ca_pem, "acm", all.trust, "refuse:OcspTooLong");
  expect(mk_certificate(&options), all.rsa, all.ca_pem, "iam", all.trust, "");
}

static void test_names(void)
{
  struct mk_options options = usual();
  options.names = NULL;
  expect(mk_certificate(&options), all.rsa, all.ca_pem, "acm", all.trust, "refuse:NoNames");
  options.names = "email:a@b.test,IP:127.0.0.1,DNS:two words.test";
  expect(mk_certificate(&options), all.rsa, all.ca_pem, "acm", all.trust, "refuse:NoNames");
}

static void test_no_issuer(void)
{
  struct mk_options options = usual();
  struct mk_ca nameless;
  char *pem;

  options.cn = NULL;
  options.key = nameless.key = mk_key("P-256");
  options.ca = 1;
  options.names = NULL;
  options.usage = NULL;
  options.issuer = all.root.x509;
  options.issuer_key = all.root.key;
  nameless.x509 = mk_certificate(&options);
  pem = mk_pem(nameless.x509);
  expect(mk_leaf("www", "DNS:www.test", all.rsa, &nameless), all.rsa, pem, "acm", all.trust, "refuse:NoIssuer");
  free(pem);
  mk_ca_free(&nameless);
}

/* Five intermediates are fine, six are not; and an intermediate that is no CA does not pass. */
static void test_chain(void)
{
  struct mk_ca chain[6];
  char *texts[7] = { NULL }, *joined;
  struct mk_options options = usual();
  struct mk_ca no_ca;

  for(int i = 0; i < 6; i++) {
    char cn[16];
    snprintf(cn, sizeof cn, "CA %d", i);
    chain[i] = mk_ca(cn, i ? &chain[i - 1] : &all.root);
    texts[i] = mk_pem(chain[i].x509);
    joined = mk_join((const char *const *)texts);
    expect(mk_leaf("www", "DNS:www.test", all.rsa, &chain[i]), all.rsa, joined, "acm", all.trust,
           i < 5 ? "" : "refuse:ChainTooLong");
    free(joined);
  }
  for(int i = 0; i < 6; i++) {
    free(texts[i]);
    mk_ca_free(&chain[i]);
  }
  no_ca.key = options.key = all.ec;
  options.cn = "No CA";
  no_ca.x509 = mk_certificate(&options);
  joined = mk_pem(no_ca.x509);
  texts[0] = mk_join((const char *const[]){ joined, all.ca_pem, NULL });
  expect(mk_leaf("www", "DNS:www.test", all.rsa, &no_ca), all.rsa, texts[0], "acm", all.trust, "refuse:BrokenChain");
  free(texts[0]);
  free(joined);
  X509_free(no_ca.x509);
}

/* A tree without room: an error, no crash. */
static void test_no_room(void)
{
  struct mk_options options = usual();
  X509 *leaf = mk_certificate(&options);
  struct cr_identity *identity = identity_of(leaf, all.rsa, NULL);
  struct cr_error err;
  struct cr_tree tree;

  for(size_t room = 200; room < 600; room += 25) {
    cr_tree_init(&tree, room);
    if(cr_node_add(&tree, NULL, NULL, CR_NODE_LIST) &&
       cr_identity_check(identity, "acm", all.now, NULL, true, &tree, tree.root, &err) < 0) {
      CHECK(err.kind == CR_KIND_MEMORY);
    }
    cr_tree_free(&tree);
  }
  cr_identity_unref(identity);
  X509_free(leaf);
}

int main(void)
{
  setenv("SSL_CERT_FILE", "/nonexistent", 1);
  setenv("SSL_CERT_DIR", "/nonexistent", 1);
  make_all();
  test_trust();
  test_dates();
  test_keys();
  test_sizes();
  test_names();
  test_no_issuer();
  test_chain();
  test_no_room();
  free_all();
  return check_end();
}
