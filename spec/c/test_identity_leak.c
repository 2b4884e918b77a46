/* test_identity_leak.c - no copy of a private key survives in this process's memory.
 *
 * A child makes the keys and the files, so that this process never had them but through cr_identity_load. What is
 * looked for is kept XORed, lest the test finds itself: every 16 bytes of the secret numbers, in the order of the
 * file and reversed (as BIGNUM keeps them), and every 16 characters of the base64 of what the identity writes and
 * of what it read. All writable memory is searched: heap, freed or not, anonymous mappings, data segments, and the
 * stack, frames no longer in use included.
 *
 * Not covered: registers, kernel buffers, and a key that a PKCS#12 carries unencrypted (openssl pkcs12 -keypbe NONE):
 * OpenSSL's ASN.1 reader copies the whole file then and frees it unwiped, out of reach. Under sanitizers the heap is
 * not the real one: the search is then left out. CERTROTATE_LEAK_VERBOSE=1 says where each slice was seen. */
#include <sys/wait.h>

#include "load_identity.h"
#include "make_certificates.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

#define SLICE 16
#define SLICES_MAX 2000
#define MASK 0x5A
#define PASS "open sesame"

/* What is searched for, masked; grouped by the slice's first byte so that a search costs one look per byte. */
struct slices {
  unsigned char bytes[SLICES_MAX][SLICE];
  unsigned char text[SLICES_MAX];   /* 1: base64 */
  short next[SLICES_MAX], first[256];
  int count;
};

static struct slices slices;

/* --- the child: everything that knows the key in the clear --- */

static void put_slice(FILE *out, const unsigned char *data, int reversed, int text)
{
  unsigned char masked[SLICE + 1];
  for(int i = 0; i < SLICE; i++) {
    masked[i] = data[reversed ? SLICE - 1 - i : i] ^ MASK;
  }
  masked[SLICE] = (unsigned char)text;
  mk_need(fwrite(masked, 1, sizeof masked, out) == sizeof masked, "slices");
}

static void put_number(FILE *out, EVP_PKEY *key, const char *name)
{
  BIGNUM *number = NULL;
  unsigned char bytes[1024];
  int len;
  mk_need(EVP_PKEY_get_bn_param(key, name, &number), name);
  len = BN_bn2bin(number, bytes);
  for(int i = 0; i + SLICE <= len; i += SLICE) {
    put_slice(out, bytes + i, 0, 0);
    put_slice(out, bytes + len - SLICE - i, 1, 0);
  }
  BN_clear_free(number);
}

/* Every line of base64 but the first and the last ones, which hold the algorithm and, for EC, the public point. */
static void put_text(FILE *out, const char *pem, int rsa)
{
  const char *line = strchr(pem, '\n') + 1, *end = strstr(pem, "-----END");
  int number = 0;
  for(; line < end; line = strchr(line, '\n') + 1, number++) {
    size_t len = strcspn(line, "\n");
    for(size_t i = rsa ? 0 : 48; len == 64 && i + SLICE <= len && (rsa ? number > 7 : number == 0); i += SLICE) {
      put_slice(out, (const unsigned char *)line + i, 0, 1);
    }
  }
}

static void put_files(const char *folder, EVP_PKEY *key, X509 *leaf, STACK_OF(X509) *others, FILE *out, int rsa)
{
  char *texts[4] = { mk_key_pem(key, NULL), mk_old_key_pem(key, NULL, NULL), mk_key_pem(key, PASS),
                     mk_old_key_pem(key, EVP_aes_256_cbc(), PASS) };
  const char *names[4] = { "pkcs8", "old", "locked", "old-locked" };
  char *certificate = mk_pem(leaf), *bundle, *data;
  size_t len;

  for(int i = 0; i < 4; i++) {
    mk_file(folder, names[i], texts[i], strlen(texts[i]));
  }
  put_text(out, texts[0], rsa);
  put_text(out, texts[1], rsa);
  mk_file(folder, "certificate", certificate, strlen(certificate));
  bundle = mk_join((const char *const[]){ certificate, texts[0], NULL });
  mk_file(folder, "bundle", bundle, strlen(bundle));
  data = mk_key_der(key, 1, &len);
  mk_file(folder, "der", data, len);
  free(data);
  data = mk_pkcs12(key, leaf, others, PASS, 0, 0, NULL, &len);
  mk_file(folder, "p12", data, len);
  free(data);
}

static void child(const char *folder, const char *kind)
{
  int rsa = strncmp(kind, "RSA", 3) == 0;
  EVP_PKEY *key = mk_key(kind);
  struct mk_ca ca = mk_ca("CA", NULL);
  X509 *leaf = mk_leaf("www", "DNS:www.test", key, &ca);
  STACK_OF(X509) *others = sk_X509_new_null();
  char path[4200];
  FILE *out;

  sk_X509_push(others, ca.x509);
  snprintf(path, sizeof path, "%s/slices", folder);
  out = fopen(path, "wb");
  mk_need(out != NULL, path);
  if(rsa) {
    const char *numbers[] = { "d", "rsa-factor1", "rsa-factor2", "rsa-exponent1", "rsa-exponent2", "rsa-coefficient1" };
    for(int i = 0; i < 6; i++) {
      put_number(out, key, numbers[i]);
    }
  } else {
    put_number(out, key, "priv");
  }
  put_files(folder, key, leaf, others, out, rsa);
  fclose(out);
  _exit(0);
}

/* --- the parent --- */

static void read_slices(const char *folder)
{
  char path[4200];
  unsigned char one[SLICE + 1];
  FILE *in;

  memset(&slices, 0, sizeof slices);
  memset(slices.first, 0xFF, sizeof slices.first);
  snprintf(path, sizeof path, "%s/slices", folder);
  in = fopen(path, "rb");
  mk_need(in != NULL, path);
  while(slices.count < SLICES_MAX && fread(one, 1, sizeof one, in) == sizeof one) {
    int n = slices.count++;
    memcpy(slices.bytes[n], one, SLICE);
    slices.text[n] = one[SLICE];
    slices.next[n] = slices.first[one[0]];
    slices.first[one[0]] = (short)n;
  }
  fclose(in);
}

struct hits {
  int bytes, texts;
};

static void search(const unsigned char *from, const unsigned char *to, struct hits *hits)
{
  for(; from + SLICE <= to; from++) {
    for(int n = slices.first[*from ^ MASK]; n >= 0; n = slices.next[n]) {
      int i = 1;
      while(i < SLICE && (from[i] ^ MASK) == slices.bytes[n][i]) {
        i++;
      }
      if(i == SLICE) {
        *(slices.text[n] ? &hits->texts : &hits->bytes) += 1;
        if(getenv("CERTROTATE_LEAK_VERBOSE")) {
          printf("  %s slice %d at %p\n", slices.text[n] ? "text" : "byte", n, (const void *)from);
        }
      }
    }
  }
}

/* Through every writable mapping. Nothing is allocated meanwhile: the maps are read with read() into a static place. */
static struct hits look(void)
{
  static char maps[256 * 1024];
  struct hits hits = { 0, 0 };
  FILE *file = fopen("/proc/self/maps", "r");
  size_t len;
  char *line, *end;

  mk_need(file != NULL, "/proc/self/maps");
  setvbuf(file, NULL, _IONBF, 0);
  len = fread(maps, 1, sizeof maps - 1, file);
  maps[len] = '\0';
  fclose(file);
  for(line = maps; (end = strchr(line, '\n')) != NULL; line = end + 1) {
    unsigned long from, to;
    char mode[5];
    *end = '\0';
    if(sscanf(line, "%lx-%lx %4s", &from, &to, mode) == 3 && mode[0] == 'r' && mode[1] == 'w' &&
       !strstr(line, "[vvar]")) {
      search((const unsigned char *)from, (const unsigned char *)to, &hits);
    }
  }
  return hits;
}

static bool clean(struct hits hits)
{
  return hits.bytes == 0 && hits.texts == 0;
}

static char *path_in(const char *folder, const char *name)
{
  static char path[2][4200];
  static int turn;
  turn = !turn;
  snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
  return path[turn];
}

static void test_form(const char *folder, const char *name, bool alone, bool locked)
{
  struct cr_error err;
  struct cr_identity *identity;
  struct cr_buf out;
  struct hits before = look(), loaded, written, after;

  CHECK(clean(before));
  identity = load_files(path_in(folder, alone ? name : "certificate"), alone ? NULL : path_in(folder, name), NULL,
                        locked ? PASS : NULL, &err);
  CHECK(identity != NULL);
  if(!identity) {
    printf("%s: %s\n", name, err.message);
    return;
  }
  loaded = look();
  CHECK(loaded.bytes > 0); /* the identity holds it once: the search finds what there is */
  CHECK(loaded.texts == 0);
  cr_buf_init(&out, 65536);
  CHECK(cr_identity_private_key_pem(identity, &out, &err) == 0);
  written = look();
  CHECK(written.bytes == loaded.bytes && written.texts > 0);
  cr_buf_free(&out);
  after = look();
  CHECK(after.bytes == loaded.bytes && after.texts == 0);
  cr_identity_unref(identity);
  after = look();
  if(!clean(after)) {
    printf("%s: %d slices of the key and %d of its text are left in memory\n", name, after.bytes, after.texts);
  }
  CHECK(clean(after));
  /* A refusal wipes too: the key of another certificate, and a wrong passphrase. */
  if(!alone) {
    identity = load_files(path_in(folder, "stranger"), path_in(folder, name), NULL, locked ? PASS : NULL, &err);
    CHECK(identity == NULL && strcmp(err.code, "KeyPairMismatch") == 0);
    cr_identity_unref(identity);
    CHECK(clean(look()));
  }
  if(locked) {
    identity = load_files(path_in(folder, alone ? name : "certificate"), alone ? NULL : path_in(folder, name), NULL,
                          "wrong", &err);
    CHECK(identity == NULL && strcmp(err.code, "WrongPassphrase") == 0);
    cr_identity_unref(identity);
    CHECK(clean(look()));
  }
}

/* The search is no decoration: a copy that somebody frees unwiped is seen. In a child, which takes it along. */
static void test_search(const char *folder)
{
  pid_t pid = fork();
  int status;

  mk_need(pid >= 0, "fork");
  if(pid == 0) {
    char *copy = malloc(8192);
    FILE *file = fopen(path_in(folder, "pkcs8"), "r");
    bool seen;
    mk_need(copy && file, "control");
    setvbuf(file, NULL, _IONBF, 0);
    mk_need(fread(copy, 1, 8191, file) > 0, "control");
    fclose(file);
    seen = look().texts > 0;
    free(copy);
    _exit(seen && look().texts > 0 ? 0 : 1);
  }
  CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void test_kind(const char *kind)
{
  static const char *const files[] = { "pkcs8", "old", "locked", "old-locked", "certificate", "bundle", "der", "p12",
                                       "slices", "stranger" };
  char *folder = mk_folder();
  pid_t pid = fork();
  int status;

  mk_need(pid >= 0, "fork");
  if(pid == 0) {
    child(folder, kind);
  }
  mk_need(waitpid(pid, &status, 0) == pid && status == 0, "child");
  {
    EVP_PKEY *other = mk_key("P-256");
    X509 *x509 = mk_leaf("other", "DNS:other.test", other, NULL);
    char *pem = mk_pem(x509);
    mk_file(folder, "stranger", pem, strlen(pem));
    free(pem);
    X509_free(x509);
    EVP_PKEY_free(other);
  }
  read_slices(folder);
  CHECK(slices.count > 3 && slices.count < SLICES_MAX);
  test_form(folder, "pkcs8", false, false);
  test_form(folder, "old", false, false);
  test_form(folder, "der", false, false);
  test_form(folder, "bundle", true, false);
  test_form(folder, "locked", false, true);
  test_form(folder, "old-locked", false, true);
  test_form(folder, "p12", true, true);
  test_search(folder);
  for(size_t i = 0; i < sizeof files / sizeof *files; i++) {
    unlink(path_in(folder, files[i]));
  }
  CHECK(rmdir(folder) == 0);
  free(folder);
}

int main(void)
{
  if(SANITIZED) {
    printf("sanitizers keep freed memory away: nothing to search\n");
    return 0;
  }
  test_kind("RSA:2048");
  test_kind("P-256");
  test_kind("P-384");
  return check_end();
}
