/* test_memory.c - every allocation of the pure pieces made to fail, one after the other: a clean error, nothing lost.
 *
 * malloc, calloc and free of the core are wrapped by the linker (spec/CMakeLists.txt), OpenSSL's are replaced. */
#include "account.h"
#include "check.h"
#include "json.h"
#include "node.h"
#include "uri.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void __real_free(void *data);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void __wrap_free(void *data);

static long fail_at = -1;   /* the allocation that fails, counted from 0; -1: none */
static long made;           /* allocations asked for since the scenario began */
static long outstanding, ours; /* of the core: not yet freed, ever made */
static bool openssl_failed; /* it may do without: caches of its own */

static bool refuse(void)
{
  return made++ == fail_at;
}

static bool refuse_openssl(void)
{
  bool refused = refuse();
  openssl_failed = openssl_failed || refused;
  return refused;
}

void *__wrap_malloc(size_t size)
{
  void *data = refuse() ? NULL : __real_malloc(size);
  outstanding += data != NULL;
  ours++;
  return data;
}

void *__wrap_calloc(size_t count, size_t size)
{
  void *data = refuse() ? NULL : __real_calloc(count, size);
  outstanding += data != NULL;
  ours++;
  return data;
}

void __wrap_free(void *data)
{
  outstanding -= data != NULL;
  __real_free(data);
}

static void *openssl_malloc(size_t size, const char *file, int line)
{
  (void)file;
  (void)line;
  return refuse_openssl() ? NULL : __real_malloc(size);
}

static void *openssl_realloc(void *data, size_t size, const char *file, int line)
{
  (void)file;
  (void)line;
  return refuse_openssl() ? NULL : realloc(data, size);
}

static void openssl_free(void *data, const char *file, int line)
{
  (void)file;
  (void)line;
  __real_free(data);
}

/* More headers and query pairs than fit on the stack; with a cache and without. */
static int scenario_sign(struct cr_error *err)
{
  struct cr_header headers[30];
  struct cr_sign_request request;
  struct cr_signature out;
  int rc = -1;

  memset(&request, 0, sizeof request);
  for(size_t i = 0; i < 30; i++) {
    headers[i].name = i % 2 ? "b" : "a";
    headers[i].value = "value";
    headers[i].value_len = 5;
  }
  request.method = "PUT";
  request.url = "https://example.com/a/../b?1&2&3&4&5&6&7&8&9&0&1&2&3&4&5&6&7&8&9&0&1&2&3&4&5&6&7&8&9&0";
  request.headers = headers;
  request.header_count = 30;
  request.service = "acm";
  request.region = "us-east-1";
  request.access_key_id = "AKIDEXAMPLE";
  request.secret_access_key = "secret";
  request.session_token = "token";
  request.normalize_path = request.double_encode = request.sign_body = true;
  cr_signature_init(&out);
  if(cr_sigv4_sign(&request, &out, err) < 0) {
    CHECK(out.authorization.len == 0 && out.canonical_request.len == 0 && out.string_to_sign.len == 0);
    goto done;
  }
  request.keys = cr_signing_keys_new();
  if(!request.keys) {
    cr_fail_memory(err);
    goto done;
  }
  for(int i = 0; i < 2; i++) {
    char first[CR_SHA256_HEX + 1];
    memcpy(first, out.signature, sizeof first);
    if(cr_sigv4_sign(&request, &out, err) < 0) {
      /* A failure must not leave a half-made key behind that is found later. */
      fail_at = -1;
      CHECK(cr_sigv4_sign(&request, &out, NULL) == 0);
      CHECK_STR(out.signature, first);
      goto done;
    }
    CHECK_STR(out.signature, first);
  }
  rc = 0;
done:
  cr_signing_keys_free(request.keys);
  cr_signature_free(&out);
  return rc;
}

static struct cr_node *fill(struct cr_tree *tree)
{
  struct cr_node *root = cr_node_add(tree, NULL, NULL, CR_NODE_MAP), *list;
  list = root ? cr_node_add(tree, root, "List", CR_NODE_LIST) : NULL;
  for(int i = 0; list && i < 200; i++) {
    if(!cr_add_int(tree, list, NULL, i)) {
      return NULL;
    }
  }
  return list && cr_add_bool(tree, root, "Truth", true) && cr_add_text(tree, root, "Text", "text") ? root : NULL;
}

static int scenario_trees(struct cr_error *err)
{
  struct cr_tree one, two;
  struct cr_buf out, again;
  struct cr_node *root;
  int rc = -1;

  cr_tree_init(&one, 1 << 20);
  cr_tree_init(&two, 1 << 20);
  cr_buf_init(&out, 1 << 20);
  cr_buf_init(&again, 1 << 20);
  root = fill(&one);
  if(!root || !cr_node_copy(&two, NULL, NULL, root)) {
    cr_fail_memory(err);
    goto done;
  }
  if(cr_json_write(&out, root, err) < 0 || cr_json_write(&again, two.root, err) < 0) {
    goto done;
  }
  CHECK_STR(cr_buf_str(&out), cr_buf_str(&again));
  if(cr_json_base64(&out, "abcdefghijklmnopqrstuvwxyz", 26) < 0 || cr_buf_addf(&again, "%4000d", 1) < 0 ||
     cr_uri_encode(&again, "a b", 3, false) < 0) {
    if(cr_buf_check(&out, "JSON", err) == 0) {
      CHECK(cr_buf_check(&again, "text", err) == -1);
    }
    goto done;
  }
  if(!cr_add_buf(&one, root, "Adopted", &again)) {
    CHECK(again.len > 4000 && !cr_get(root, "Adopted"));
    cr_fail_memory(err);
    goto done;
  }
  CHECK(again.len == 0 && cr_get(root, "Adopted")->len > 4000);
  rc = 0;
done:
  cr_tree_free(&one);
  cr_tree_free(&two);
  cr_buf_free(&out);
  cr_buf_free(&again);
  return rc;
}

static int scenario_account(struct cr_error *err)
{
  struct cr_account *account = cr_account_new(err);
  int rc;

  if(!account) {
    return -1;
  }
  rc = cr_account_set_credentials(account, "AKID", "secret", "token", 0, err) < 0 ||
       cr_account_set_credentials(account, "AKID2", "secret2", NULL, 0, err) < 0 ||
       cr_account_set_endpoint(account, CR_ACM, "https://acm.example.com/", "us-east-1", err) < 0 ||
       cr_account_set_endpoint(account, CR_ACM, "https://acm2.example.com/", "us-east-1", err) < 0 ? -1 : 0;
  cr_account_unref(account);
  return rc;
}

static void fail_each(const char *name, int (*scenario)(struct cr_error *err))
{
  struct cr_error err;
  long total;

  fail_at = -1;
  made = 0;
  CHECK(scenario(&err) == 0);
  total = made;
  for(long i = 0; i < total; i++) {
    long before = outstanding;
    int rc;
    cr_error_clear(&err);
    made = 0;
    fail_at = i;
    openssl_failed = false;
    rc = scenario(&err);
    fail_at = -1;
    if(outstanding != before || (rc < 0) != (err.kind == CR_KIND_MEMORY)) {
      printf("%s: allocation %ld of %ld\n", name, i, total);
    }
    CHECK(rc == -1 || openssl_failed);
    CHECK((rc < 0) == (err.kind == CR_KIND_MEMORY));
    CHECK(outstanding == before);
  }
  printf("%s: %ld allocations\n", name, total);
}

/* A signer that is warm allocates nothing, whichever of its keys is asked for; and it forgets when it is told to. */
static void test_warm(void)
{
  static const char *const regions[16] = {
    "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"
  };
  struct cr_error err;
  struct cr_account *account;
  struct cr_sign_request request;
  struct cr_signature out;
  long warm = 0, cold = outstanding;

  account = cr_account_new(&err);
  CHECK(account && cr_account_set_credentials(account, "AKID", "secret", NULL, 0, &err) == 0);
  memset(&request, 0, sizeof request);
  request.method = "GET";
  request.url = "https://example.com/a/b?c=d&e=f";
  request.service = "acm";
  request.access_key_id = account->access_key_id;
  request.secret_access_key = account->secret_access_key;
  request.normalize_path = request.double_encode = true;
  request.keys = account->keys;
  cr_signature_init(&out);
  for(int round = 0; round < 4; round++) {
    for(int i = 0; i < 16; i++) {
      request.region = regions[i];
      CHECK(cr_sigv4_sign(&request, &out, &err) == 0);
    }
    warm = round == 0 ? ours : warm;
  }
  CHECK(ours == warm);
  cr_signature_free(&out);
  CHECK(cr_account_set_credentials(account, NULL, NULL, NULL, 0, &err) == 0);
  CHECK(outstanding <= cold + 3); /* the account, its key cache and the cache's scratch memory: no key, no secret */
  cr_account_unref(account);
  CHECK(outstanding == cold);
}

int main(void)
{
  struct cr_error err;
  CHECK(CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free) == 1);
  CHECK(scenario_sign(&err) == 0); /* OpenSSL's own beginnings, which it keeps */
  fail_each("sign", scenario_sign);
  fail_each("trees", scenario_trees);
  fail_each("account", scenario_account);
  test_warm();
  return check_end();
}
