/* test_identity.c - finding the leaf, ordering the chain, and what is refused and how; files of every odd kind. */
#include <sys/stat.h>
#include <sys/wait.h>

#include "load_identity.h"
#include "make_certificates.h"
#include "random.h"

/* One family of certificates: root -> one -> two -> leaf; `cross` is one's key certified by another root. */
static struct {
  struct mk_ca root, one, two, other_root;
  X509 *cross, *leaf;
  EVP_PKEY *key, *stranger;
  char *root_pem, *one_pem, *two_pem, *other_root_pem, *cross_pem, *leaf_pem, *key_pem, *stranger_pem;
  char *folder;
} all;

static X509 *certify(const char *cn, EVP_PKEY *key, const struct mk_ca *by, int ca, int64_t not_before,
                     int64_t not_after)
{
  struct mk_options options;
  memset(&options, 0, sizeof options);
  options.cn = cn;
  options.key = key;
  options.issuer = by->x509;
  options.issuer_key = by->key;
  options.ca = ca;
  options.not_before = not_before;
  options.not_after = not_after;
  return mk_certificate(&options);
}

static void make_all(void)
{
  all.root = mk_ca("Root", NULL);
  all.one = mk_ca("One", &all.root);
  all.two = mk_ca("Two", &all.one);
  all.other_root = mk_ca("Other Root", NULL);
  all.cross = certify("One", all.one.key, &all.other_root, 1, 0, time(NULL) + 1500 * (int64_t)MK_DAY);
  all.key = mk_key("RSA:2048");
  all.stranger = mk_key("RSA:2048");
  all.leaf = mk_leaf("www.example.test", "DNS:www.example.test,DNS:*.cdn.example.test", all.key, &all.two);
  all.root_pem = mk_pem(all.root.x509);
  all.one_pem = mk_pem(all.one.x509);
  all.two_pem = mk_pem(all.two.x509);
  all.other_root_pem = mk_pem(all.other_root.x509);
  all.cross_pem = mk_pem(all.cross);
  all.leaf_pem = mk_pem(all.leaf);
  all.key_pem = mk_key_pem(all.key, NULL);
  all.stranger_pem = mk_key_pem(all.stranger, NULL);
  all.folder = mk_folder();
}

static void free_all(void)
{
  char *texts[] = { all.root_pem, all.one_pem, all.two_pem, all.other_root_pem, all.cross_pem, all.leaf_pem,
                    all.key_pem, all.stranger_pem };
  for(size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    free(texts[i]);
  }
  mk_ca_free(&all.root);
  mk_ca_free(&all.one);
  mk_ca_free(&all.two);
  mk_ca_free(&all.other_root);
  X509_free(all.cross);
  X509_free(all.leaf);
  EVP_PKEY_free(all.key);
  EVP_PKEY_free(all.stranger);
  CHECK(rmdir(all.folder) == 0);
  free(all.folder);
}

/* "One/Two": the chain's common names from the leaf upwards. */
static const char *chain_of(const struct cr_identity *identity)
{
  static char text[512];
  text[0] = '\0';
  for(size_t i = 0; i < cr_identity_chain_count(identity); i++) {
    const char *subject = cr_identity_chain_at(identity, i)->subject;
    snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? "/" : "",
             strncmp(subject, "CN=", 3) == 0 ? subject + 3 : subject);
  }
  return text;
}

static void expect_chain(const char *text, const char *key, const char *chain, const char *wanted)
{
  struct cr_error err;
  struct cr_identity *identity = load_texts(text, key, chain, NULL, &err);
  if(!identity) {
    CHECK_STR(err.message, "");
    return;
  }
  CHECK_STR(chain_of(identity), wanted);
  cr_identity_unref(identity);
}

static char *join(const char *a, const char *b, const char *c, const char *d)
{
  return mk_join((const char *const[]){ a, b ? b : "", c ? c : "", d ? d : "", NULL });
}

static void test_plain(void)
{
  char *full = join(all.leaf_pem, all.two_pem, all.one_pem, NULL), *bundle = join(all.key_pem, full, NULL, NULL);
  char *chain = join(all.two_pem, all.one_pem, NULL, NULL);
  struct cr_error err;
  struct cr_identity *identity = load_texts(full, all.key_pem, NULL, NULL, &err);

  CHECK(identity != NULL);
  if(identity) {
    CHECK_STR(cr_identity_leaf(identity)->subject, "CN=www.example.test");
    CHECK_STR(cr_identity_certificate_pem(identity), all.leaf_pem);
    CHECK_STR(cr_identity_chain_pem(identity), chain);
    CHECK(cr_identity_chain_count(identity) == 2 && cr_identity_chain_at(identity, 2) == NULL);
    CHECK(has_key(identity, all.key_pem));
    CHECK(cr_certificate_covers(cr_identity_leaf(identity), "a.cdn.example.test"));
    CHECK(cr_identity_key_matches(identity, all.leaf_pem, strlen(all.leaf_pem)));
    CHECK(!cr_identity_key_matches(identity, all.two_pem, strlen(all.two_pem)));
    CHECK(!cr_identity_key_matches(identity, "rubbish", 7) && !cr_identity_key_matches(identity, NULL, 0));
    CHECK(ERR_peek_error() == 0);
    CHECK(cr_identity_ref(identity) == identity);
    cr_identity_unref(identity);
    CHECK_STR(cr_identity_leaf(identity)->subject, "CN=www.example.test");
    cr_identity_unref(identity);
  }
  cr_identity_unref(NULL);
  expect_chain(bundle, NULL, NULL, "Two/One");
  expect_chain(all.leaf_pem, all.key_pem, chain, "Two/One");
  expect_chain(full, all.key_pem, full, "Two/One");         /* a full chain given as the chain too */
  expect_chain(chain, all.key_pem, all.leaf_pem, "Two/One"); /* the two swapped */
  expect_chain(all.leaf_pem, all.key_pem, NULL, "");
  expect_chain(all.leaf_pem, bundle, chain, "Two/One");     /* the key's file is a bundle */
  free(full);
  free(bundle);
  free(chain);
}

static void expect_chain_pem(const char *text, const char *wanted)
{
  struct cr_error err;
  struct cr_identity *identity = load_texts(text, all.key_pem, NULL, NULL, &err);
  CHECK_STR(identity ? cr_identity_chain_pem(identity) : err.message, wanted);
  CHECK_STR(identity ? cr_identity_certificate_pem(identity) : err.message, all.leaf_pem);
  cr_identity_unref(identity);
}

/* Every order of leaf, two, one, root (and with the cross-signed one) gives the same chain. */
static void test_permutations(void)
{
  const char *parts[5] = { all.leaf_pem, all.two_pem, all.one_pem, all.root_pem, all.cross_pem };
  const char *ordered[6];
  char *plain = join(all.two_pem, all.one_pem, NULL, NULL), *crossed = join(all.two_pem, all.cross_pem, NULL, NULL);
  int order[5] = { 0, 1, 2, 3, 4 };

  for(int with = 4; with <= 5; with++) {
    int count = 0, more = 1;
    for(int i = 0; i < 5; i++) {
      order[i] = i;
    }
    while(more) {
      char *text;
      for(int i = 0; i < with; i++) {
        ordered[i] = parts[order[i]];
      }
      ordered[with] = NULL;
      text = mk_join(ordered);
      expect_chain_pem(text, with == 4 ? plain : crossed); /* the cross-signed One lasts longer */
      free(text);
      count++;
      /* the next permutation in lexical order */
      more = 0;
      for(int i = with - 2; i >= 0; i--) {
        if(order[i] < order[i + 1]) {
          int k = with - 1, swap;
          while(order[k] < order[i]) {
            k--;
          }
          swap = order[i];
          order[i] = order[k];
          order[k] = swap;
          for(int a = i + 1, b = with - 1; a < b; a++, b--) {
            swap = order[a];
            order[a] = order[b];
            order[b] = swap;
          }
          more = 1;
          break;
        }
      }
    }
    CHECK(count == (with == 4 ? 24 : 120));
  }
  free(plain);
  free(crossed);
}

/* Which of two certificates for the same CA is taken, shown by who issued it. */
static void expect_top(const char *text, const char *issuer)
{
  struct cr_error err;
  struct cr_identity *identity = load_texts(text, all.key_pem, NULL, NULL, &err);
  CHECK(identity != NULL);
  if(identity) {
    size_t count = cr_identity_chain_count(identity);
    CHECK_STR(count ? cr_identity_chain_at(identity, count - 1)->issuer : "", issuer);
  } else {
    printf("%s\n", err.message);
  }
  cr_identity_unref(identity);
}

static void test_cross_signed(void)
{
  /* Root's own key, certified by Other Root: once for long, once for shorter than the leaf. */
  X509 *lasting = certify("Root", all.root.key, &all.other_root, 1, 0, time(NULL) + 500 * (int64_t)MK_DAY);
  X509 *brief = certify("Root", all.root.key, &all.other_root, 1, 0, time(NULL) + 5 * (int64_t)MK_DAY);
  char *lasting_pem = mk_pem(lasting), *brief_pem = mk_pem(brief);
  char *path = join(all.leaf_pem, all.two_pem, all.one_pem, all.root_pem), *text;

  for(int turn = 0; turn < 2; turn++) {
    text = turn ? join(path, lasting_pem, NULL, NULL) : join(lasting_pem, path, NULL, NULL);
    expect_chain(text, all.key_pem, NULL, "Two/One/Root"); /* the cross-signed form is worth sending */
    free(text);
    text = turn ? join(path, brief_pem, NULL, NULL) : join(brief_pem, path, NULL, NULL);
    expect_chain(text, all.key_pem, NULL, "Two/One");      /* not one that ends before the leaf does */
    free(text);
    text = turn ? join(path, brief_pem, lasting_pem, all.other_root_pem)
                : join(all.other_root_pem, lasting_pem, brief_pem, path);
    expect_chain(text, all.key_pem, NULL, "Two/One/Root");
    free(text);
    /* Two forms of One: the one that lasts longer, whatever the order. */
    text = turn ? join(all.leaf_pem, all.one_pem, all.two_pem, all.cross_pem)
                : join(all.cross_pem, all.two_pem, all.one_pem, all.leaf_pem);
    expect_top(text, "CN=Other Root");
    free(text);
  }
  free(path);
  free(lasting_pem);
  free(brief_pem);
  X509_free(lasting);
  X509_free(brief);
}

/* A signs B and B signs A: climbing ends. */
static void test_circle(void)
{
  struct mk_ca a = mk_ca("A", NULL), b = mk_ca("B", NULL);
  X509 *a_by_b = certify("A", a.key, &b, 1, 0, 0), *b_by_a = certify("B", b.key, &a, 1, 0, 0);
  X509 *leaf = mk_leaf("leaf", "DNS:leaf.test", all.key, &a);
  char *leaf_pem = mk_pem(leaf), *a_pem = mk_pem(a_by_b), *b_pem = mk_pem(b_by_a);
  char *text = join(leaf_pem, a_pem, b_pem, NULL);

  expect_chain(text, all.key_pem, NULL, "A/B");
  free(text);
  free(leaf_pem);
  free(a_pem);
  free(b_pem);
  X509_free(leaf);
  X509_free(a_by_b);
  X509_free(b_by_a);
  mk_ca_free(&a);
  mk_ca_free(&b);
}

static void refused_chain(const char *text, const char *chain, const char *said)
{
  struct cr_error err;
  REFUSED(load_texts(text, all.key_pem, chain, NULL, &err), err, "BrokenChain", said);
}

static void test_broken(void)
{
  struct mk_options options;
  struct mk_ca false_two, unrelated = mk_ca("Unrelated", &all.other_root), sister = mk_ca("Sister", &all.root);
  char *false_pem, *unrelated_pem = mk_pem(unrelated.x509), *sister_pem = mk_pem(sister.x509), *text, *url_pem;
  X509 *leaf;
  EVP_PKEY *second = mk_key("P-256");

  text = join(all.leaf_pem, all.one_pem, NULL, NULL); /* Two is missing */
  refused_chain(text, NULL, "\"CN=Two\", issuer of \"CN=www.example.test\", is missing");
  free(text);
  refused_chain(all.leaf_pem, all.one_pem, "broken chain in the chain text: \"CN=Two\"");
  refused_chain(all.leaf_pem, all.root_pem, "\"CN=Two\"");
  text = join(all.root_pem, all.two_pem, all.leaf_pem, NULL); /* One is missing below its root */
  refused_chain(text, NULL, "\"CN=One\", issuer of \"CN=Two\", is missing");
  free(text);
  text = join(all.leaf_pem, all.two_pem, unrelated_pem, NULL);
  refused_chain(text, NULL, "remove the unrelated \"CN=Unrelated\"");
  free(text);

  /* The right name, another key. */
  false_two = mk_ca("Two", &all.one);
  false_pem = mk_pem(false_two.x509);
  text = join(all.leaf_pem, false_pem, all.one_pem, NULL);
  refused_chain(text, NULL, "\"CN=Two\" has the name of the issuer of \"CN=www.example.test\" but did not sign");
  free(text);
  /* With both the right one counts and the false one is dropped, having nothing to do with the path to the root. */
  text = join(all.leaf_pem, false_pem, all.two_pem, all.one_pem);
  expect_chain(text, all.key_pem, all.root_pem, "Two/One");
  free(text);

  /* What does not matter: another leaf, an intermediate of the same root, anything once the root is reached. */
  leaf = mk_leaf("old", "DNS:old.test", second, &all.two);
  url_pem = mk_pem(leaf);
  text = join(url_pem, all.leaf_pem, all.two_pem, all.one_pem);
  expect_chain(text, all.key_pem, NULL, "Two/One");
  expect_chain(text, all.key_pem, sister_pem, "Two/One");
  free(text);
  free(url_pem);
  X509_free(leaf);
  text = join(all.leaf_pem, all.two_pem, all.one_pem, all.root_pem);
  expect_chain(text, all.key_pem, unrelated_pem, "Two/One");
  free(text);

  /* An intermediate of the right root, but the leaf is not below it and nothing else is given: hardly meant so. */
  leaf = mk_leaf("direct", "DNS:direct.test", all.key, &all.root);
  url_pem = mk_pem(leaf);
  refused_chain(url_pem, sister_pem, "remove the unrelated \"CN=Sister\"");
  free(url_pem);
  X509_free(leaf);

  /* Where the missing one can be had. */
  memset(&options, 0, sizeof options);
  options.cn = "www.example.test";
  options.key = all.key;
  options.issuer = all.two.x509;
  options.issuer_key = all.two.key;
  options.access = "caIssuers;URI:http://ca.test/two.crt";
  leaf = mk_certificate(&options);
  url_pem = mk_pem(leaf);
  refused_chain(url_pem, all.one_pem, "http://ca.test/two.crt");
  free(url_pem);
  X509_free(leaf);
  EVP_PKEY_free(second);
  free(false_pem);
  free(unrelated_pem);
  free(sister_pem);
  mk_ca_free(&false_two);
  mk_ca_free(&unrelated);
  mk_ca_free(&sister);
}

/* Several certificates for one key: the one from the CA, and of those the one that lasts. */
static void test_same_key(void)
{
  X509 *self = mk_leaf("self", "DNS:self.test", all.key, NULL);
  X509 *newer = certify("newer", all.key, &all.two, 0, 0, time(NULL) + 200 * (int64_t)MK_DAY);
  char *self_pem = mk_pem(self), *newer_pem = mk_pem(newer), *text;
  struct cr_error err;
  struct cr_identity *identity;

  for(int turn = 0; turn < 2; turn++) {
    text = turn ? join(self_pem, all.leaf_pem, NULL, NULL) : join(all.leaf_pem, self_pem, NULL, NULL);
    identity = load_texts(text, all.key_pem, NULL, NULL, &err);
    CHECK_STR(identity ? cr_identity_leaf(identity)->subject : err.message, "CN=www.example.test");
    cr_identity_unref(identity);
    free(text);
    text = turn ? join(newer_pem, all.leaf_pem, self_pem, NULL) : join(self_pem, all.leaf_pem, newer_pem, NULL);
    identity = load_texts(text, all.key_pem, NULL, NULL, &err);
    CHECK_STR(identity ? cr_identity_leaf(identity)->subject : err.message, "CN=newer");
    cr_identity_unref(identity);
    free(text);
  }
  identity = load_texts(self_pem, all.key_pem, NULL, NULL, &err);
  CHECK(identity && cr_identity_leaf(identity)->self_signed && cr_identity_chain_count(identity) == 0);
  cr_identity_unref(identity);
  free(self_pem);
  free(newer_pem);
  X509_free(self);
  X509_free(newer);
}

static void test_mismatch(void)
{
  struct cr_error err;
  char *keys = join(all.stranger_pem, all.key_pem, NULL, NULL), *many, *certificate, *key;
  const char *nine[11] = { NULL };

  REFUSED(load_texts(all.leaf_pem, all.stranger_pem, all.two_pem, NULL, &err), err, "KeyPairMismatch",
          "the private key text does not belong to any certificate in the certificate text");
  certificate = strdup(mk_file(all.folder, "other.crt", all.leaf_pem, strlen(all.leaf_pem)));
  key = strdup(mk_file(all.folder, "stranger.key", all.stranger_pem, strlen(all.stranger_pem)));
  REFUSED(load_files(certificate, key, NULL, NULL, &err), err, "KeyPairMismatch", certificate);
  CHECK(strstr(err.message, key) != NULL);
  CHECK(unlink(certificate) == 0 && unlink(key) == 0);
  free(certificate);
  free(key);
  /* Of several keys the one that fits. */
  {
    struct cr_identity *identity = load_texts(all.leaf_pem, keys, NULL, NULL, &err);
    CHECK(identity && has_key(identity, all.key_pem));
    cr_identity_unref(identity);
  }
  for(int i = 0; i < 9; i++) {
    nine[i] = all.stranger_pem;
  }
  many = mk_join(nine);
  REFUSED(load_texts(all.leaf_pem, many, NULL, NULL, &err), err, "KeyPairMismatch", "more than 8");
  free(many);
  free(keys);
}

static void test_missing_parts(void)
{
  static const char request[] = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n";
  static const char pkcs7[] = "-----BEGIN PKCS7-----\nAAAA\n-----END PKCS7-----\n";
  static const char public_key[] = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
  static const char unfinished[] = "-----BEGIN CERTIFICATE-----\nAAAA\n";
  static const char odd_end[] = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END PRIVATE KEY-----\n";
  static const char utf16[] = "\xFF\xFE-\0-\0";
  struct cr_identity_source source;
  struct cr_error err;
  char *text;

  memset(&source, 0, sizeof source);
  REFUSED(load(&source, &err), err, "NoCertificate", "no certificate was given");
  REFUSED(load_texts("", all.key_pem, NULL, NULL, &err), err, "NoCertificate", "empty");
  REFUSED(load_texts("hello world, this is no certificate", all.key_pem, NULL, NULL, &err), err, "NoCertificate", NULL);
  REFUSED(load_texts(request, all.key_pem, NULL, NULL, &err), err, "NoCertificate", "signing request");
  REFUSED(load_texts(pkcs7, all.key_pem, NULL, NULL, &err), err, "NoCertificate", "openssl pkcs7");
  REFUSED(load_texts(all.key_pem, all.leaf_pem, NULL, NULL, &err), err, "NoCertificate", "swapped");
  REFUSED(load_texts(all.leaf_pem, NULL, NULL, NULL, &err), err, "NoPrivateKey", "name the private key's file");
  REFUSED(load_texts(all.leaf_pem, all.leaf_pem, NULL, NULL, &err), err, "NoPrivateKey", "swapped");
  REFUSED(load_texts(all.leaf_pem, "", NULL, NULL, &err), err, "NoPrivateKey", "empty");
  REFUSED(load_texts(all.leaf_pem, public_key, NULL, NULL, &err), err, "NoPrivateKey", "a public one");
  REFUSED(load_texts(all.leaf_pem, "rubbish that is no key at all", NULL, NULL, &err), err, "NoPrivateKey", NULL);
  REFUSED(load_texts(unfinished, all.key_pem, NULL, NULL, &err), err, "MalformedCertificate", "block 1 (CERTIFICATE)");
  REFUSED(load_texts(odd_end, all.key_pem, NULL, NULL, &err), err, "MalformedCertificate", NULL);
  memset(&source, 0, sizeof source);
  source.certificate_pem = utf16;
  source.certificate_pem_len = sizeof utf16 - 1;
  REFUSED(load(&source, &err), err, "NoCertificate", "UTF-16");
  /* The leaf whole, the chain cut off: never a chain that is silently shorter. */
  text = join(all.leaf_pem, all.two_pem, all.one_pem, NULL);
  for(size_t cut = strlen(text) - 2; cut > strlen(all.leaf_pem) + 30; cut -= 97) {
    char kept = text[cut];
    text[cut] = '\0';
    if(cut < strlen(all.leaf_pem) + strlen(all.two_pem) || cut > strlen(all.leaf_pem) + strlen(all.two_pem) + 27) {
      REFUSED(load_texts(text, all.key_pem, NULL, NULL, &err), err, "MalformedCertificate", "cut off");
    }
    text[cut] = kept;
  }
  free(text);
}

/* PEM as people have it: Windows line ends, a byte order mark, comments, indentation, no last line end. */
static void test_text_forms(void)
{
  size_t len = strlen(all.leaf_pem), at = 0;
  char *crlf = malloc(2 * len + 100), *indented = malloc(20 * len + 100), *text;

  mk_need(crlf && indented, "memory");
  strcpy(crlf, "\xEF\xBB\xBF");
  at = 3;
  for(size_t i = 0; i < len; i++) {
    if(all.leaf_pem[i] == '\n') {
      crlf[at++] = '\r';
    }
    crlf[at++] = all.leaf_pem[i];
  }
  crlf[at] = '\0';
  expect_chain(crlf, all.key_pem, NULL, "");
  at = 0;
  for(size_t i = 0; i < len; i++) {
    if(i == 0 || all.leaf_pem[i - 1] == '\n') {
      memcpy(indented + at, "    ", 4);
      at += 4;
    }
    indented[at++] = all.leaf_pem[i];
  }
  indented[at] = '\0';
  expect_chain(indented, all.key_pem, NULL, "");
  text = join("subject: CN = www\nissuer: -----\n", all.leaf_pem, " 1 s:/CN=Two\n-----\n", all.two_pem);
  text[strlen(text) - 1] = '\0';
  expect_chain(text, all.key_pem, NULL, "Two");
  free(text);
  free(crlf);
  free(indented);
}

static void test_files(void)
{
  static char big[1024 * 1024 + 1];
  struct cr_error err;
  struct cr_identity *identity;
  char *full = join(all.leaf_pem, all.two_pem, all.one_pem, NULL), *der, longer[600];
  char *certificate = strdup(mk_file(all.folder, "full.pem", full, strlen(full)));
  char *key = strdup(mk_file(all.folder, "key.pem", all.key_pem, strlen(all.key_pem)));
  const char *path;
  size_t len;

  identity = load_files(certificate, key, NULL, NULL, &err);
  CHECK(identity && strcmp(chain_of(identity), "Two/One") == 0);
  cr_identity_unref(identity);
  REFUSED(load_files("/nonexistent/file.pem", key, NULL, NULL, &err), err, "FileUnreadable", "/nonexistent/file.pem");
  REFUSED(load_files(certificate, "/nonexistent/key.pem", NULL, NULL, &err), err, "FileUnreadable", "key.pem");
  REFUSED(load_files(certificate, key, "/nonexistent/chain.pem", NULL, &err), err, "FileUnreadable", "chain.pem");
  REFUSED(load_files(all.folder, key, NULL, NULL, &err), err, "FileUnreadable", "is a folder");
  REFUSED(load_files(certificate, "/dev/zero", NULL, NULL, &err), err, "FileUnreadable", "neither a file nor a pipe");
  if(geteuid() != 0) { /* root may read everything */
    CHECK(chmod(key, 0) == 0);
    REFUSED(load_files(certificate, key, NULL, NULL, &err), err, "FileUnreadable", "user that may read it");
    CHECK(chmod(key, 0600) == 0);
  }
  path = mk_file(all.folder, "empty", "", 0);
  REFUSED(load_files(path, key, NULL, NULL, &err), err, "NoCertificate", "empty");
  REFUSED(load_files(certificate, path, NULL, NULL, &err), err, "NoPrivateKey", "empty");
  REFUSED(load_files(certificate, key, path, NULL, &err), err, "NoCertificate", "empty");
  CHECK(unlink(path) == 0);

  memset(big, '\n', sizeof big);
  memcpy(big, full, strlen(full));
  path = mk_file(all.folder, "big", big, sizeof big);
  REFUSED(load_files(path, key, NULL, NULL, &err), err, "FileTooLarge", "big");
  path = mk_file(all.folder, "big", big, sizeof big - 1);
  identity = load_files(path, key, NULL, NULL, &err);
  CHECK(identity != NULL);
  cr_identity_unref(identity);
  CHECK(unlink(path) == 0);

  der = mk_der(all.leaf, &len);
  path = mk_file(all.folder, "leaf.der", der, len);
  identity = load_files(path, key, certificate, NULL, &err);
  CHECK(identity && strcmp(chain_of(identity), "Two/One") == 0);
  cr_identity_unref(identity);
  path = mk_file(all.folder, "leaf.der", der, len - 1);
  REFUSED(load_files(path, key, NULL, NULL, &err), err, "MalformedCertificate", "DER");
  CHECK(unlink(path) == 0);
  free(der);

  /* The end of a long path is what tells files apart. */
  memset(longer, 'x', sizeof longer);
  memcpy(longer, "/x/", 3);
  strcpy(longer + 500, "/the-file.pem");
  REFUSED(load_files(longer, key, NULL, NULL, &err), err, "FileUnreadable", "/the-file.pem");
  CHECK(strstr(err.message, ": check") != NULL);
  CHECK(unlink(certificate) == 0 && unlink(key) == 0);
  free(certificate);
  free(key);
  free(full);
}

/* What a shell's <(command) gives: a pipe that delivers in pieces. */
static void test_pipe(void)
{
  struct cr_error err;
  struct cr_identity *identity;
  char path[64];
  int ends[2], status;
  pid_t child;

  mk_need(pipe(ends) == 0, "pipe");
  child = fork();
  mk_need(child >= 0, "fork");
  if(child == 0) {
    size_t len = strlen(all.key_pem), half = len / 2;
    close(ends[0]);
    status = write(ends[1], all.key_pem, half) == (ssize_t)half &&
             write(ends[1], all.key_pem + half, len - half) == (ssize_t)(len - half);
    _exit(status ? 0 : 1);
  }
  close(ends[1]);
  snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
  {
    const char *certificate = mk_file(all.folder, "leaf.pem", all.leaf_pem, strlen(all.leaf_pem));
    identity = load_files(certificate, path, NULL, NULL, &err);
    CHECK(identity != NULL);
    CHECK(unlink(certificate) == 0);
  }
  cr_identity_unref(identity);
  close(ends[0]);
  CHECK(waitpid(child, &status, 0) == child && status == 0);
}

/* Errors that were in OpenSSL's queue before are still there afterwards. */
static void test_queue(void)
{
  struct cr_identity_source source;
  struct cr_identity *identity;
  struct cr_error err;
  unsigned long before;

  ERR_clear_error();
  ERR_raise(ERR_LIB_USER, 42);
  before = ERR_peek_last_error();
  memset(&source, 0, sizeof source);
  source.certificate_pem = all.leaf_pem;
  source.certificate_pem_len = strlen(all.leaf_pem);
  source.private_key_pem = all.key_pem;
  source.private_key_pem_len = strlen(all.key_pem);
  identity = cr_identity_load(&source, &err);
  CHECK(identity != NULL && ERR_peek_last_error() == before);
  cr_identity_unref(identity);
  source.certificate_pem_len = 300;
  CHECK(cr_identity_load(&source, &err) == NULL && ERR_peek_last_error() == before);
  CHECK(cr_identity_load(&source, NULL) == NULL);
  CHECK(ERR_get_error() == before && ERR_peek_error() == 0);
}

static void test_too_many(void)
{
  struct cr_error err;
  char *text = calloc(1, 200 * 1024), *at = text;
  EVP_PKEY *key = mk_key("P-256");

  mk_need(text != NULL, "memory");
  at = stpcpy(at, all.leaf_pem);
  for(int i = 0; i < 100; i++) {
    X509 *x509 = mk_leaf("same", NULL, key, &all.one);
    char *pem = mk_pem(x509);
    at = stpcpy(at, pem);
    free(pem);
    X509_free(x509);
  }
  REFUSED(load_texts(text, all.key_pem, NULL, NULL, &err), err, "BrokenChain", "more than 100 certificates");
  free(text);
  EVP_PKEY_free(key);
}

/* Bits flipped, bytes cut out and put in: never a crash, always an answer, and a good one is the family's own. */
static void test_mutations(void)
{
  char *full = join(all.leaf_pem, all.two_pem, all.one_pem, all.key_pem);
  size_t len = strlen(full), der_len;
  char *der = mk_key_der(all.key, 1, &der_len), *copy = malloc(len + 64);
  struct cr_error err;
  int loaded = 0;

  mk_need(copy != NULL, "memory");
  for(int round = 0; round < 3000; round++) {
    struct cr_identity_source source;
    struct cr_identity *identity;
    bool keys = round % 3 == 0;
    size_t size = keys ? der_len : len;
    memcpy(copy, keys ? der : full, size);
    for(uint64_t n = 1 + random_bits() % 3; n > 0; n--) {
      size_t at = random_bits() % size;
      switch(random_bits() % 4) {
      case 0:
        copy[at] = (char)(copy[at] ^ (1 << (random_bits() % 8)));
        break;
      case 1:
        copy[at] = (char)random_bits();
        break;
      case 2:
        memmove(copy + at, copy + at + 1, size - at - 1);
        size--;
        break;
      default:
        if(size < len + 60) {
          memmove(copy + at + 1, copy + at, size - at);
          copy[at] = (char)random_bits();
          size++;
        }
        break;
      }
    }
    memset(&source, 0, sizeof source);
    source.certificate_pem = keys ? all.leaf_pem : copy;
    source.certificate_pem_len = keys ? strlen(all.leaf_pem) : size;
    source.private_key_pem = keys ? copy : NULL;
    source.private_key_pem_len = keys ? size : 0;
    identity = load(&source, &err);
    if(identity) {
      loaded++;
      CHECK_STR(cr_identity_leaf(identity)->key_type, "RSA_2048");
    }
    cr_identity_unref(identity);
  }
  CHECK(loaded < 3000);
  free(full);
  free(der);
  free(copy);
}

int main(void)
{
  random_seed();
  make_all();
  test_plain();
  test_permutations();
  test_cross_signed();
  test_circle();
  test_broken();
  test_same_key();
  test_mismatch();
  test_missing_parts();
  test_text_forms();
  test_files();
  test_pipe();
  test_queue();
  test_too_many();
  test_mutations();
  free_all();
  return check_end();
}
