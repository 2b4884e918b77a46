/* torture_lua.c - the binding in a Lua whose memory runs out, in a process that forks, and under a search for the key.
 *
 * Links Lua 5.4 and the binding itself. Three things are shown:
 *   - Each scenario is run again and again, failing the 1st, 2nd, 3rd .. allocation: once those of Lua, once those of
 *     the core and the binding (the linker's --wrap). A clean failure or success every time; ASan reports leaks.
 *   - A client or file used in a forked child raises, and the parent's goes on working.
 *   - No block of Lua's memory, live or freed, ever holds a line of the private key. */
#include "check.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

int luaopen_certrotate_core(lua_State *L);

/* ---- allocation that fails on order ---- */

struct plan {
  long count;        /* allocations since the plan began */
  long fail_from;    /* the first that fails; 0: none */
  long fail_number;  /* how many fail from there */
};

static struct plan core_plan, lua_plan;

static int fails(struct plan *plan)
{
  plan->count++;
  return plan->fail_from && plan->count >= plan->fail_from && plan->count < plan->fail_from + plan->fail_number;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_malloc(size_t size)
{
  return fails(&core_plan) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
  return fails(&core_plan) ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
  return fails(&core_plan) ? NULL : __real_realloc(old, size);
}

/* ---- memory of Lua, each block searched before it goes ---- */

struct block {
  struct block *previous, *next;
  size_t size;
  size_t padding;    /* keeps the payload aligned */
};

struct memory {
  struct block head;
  const char *needles[8];
  size_t needle_sizes[8];
  int needle_count;
  int found;
};

static void search(struct memory *memory, const void *data, size_t size)
{
  for(int i = 0; i < memory->needle_count; i++) {
    if(memmem(data, size, memory->needles[i], memory->needle_sizes[i])) {
      memory->found++;
    }
  }
}

static void *lua_allocate(void *user, void *old, size_t old_size, size_t size)
{
  struct memory *memory = user;
  struct block *from = old ? (struct block *)old - 1 : NULL, *to = NULL;

  (void)old_size; /* of a new block it is the kind of object */
  if(size && (!from || size > from->size) && fails(&lua_plan)) {
    return NULL; /* Lua counts on shrinking to work */
  }
  if(size) {
    to = __real_malloc(sizeof *to + size);
    if(!to) {
      return NULL;
    }
    to->size = size;
    to->next = &memory->head;
    to->previous = memory->head.previous;
    to->previous->next = to;
    memory->head.previous = to;
    if(from) {
      memcpy(to + 1, from + 1, from->size < size ? from->size : size);
    }
  }
  if(from) {
    search(memory, from + 1, from->size);
    from->previous->next = from->next;
    from->next->previous = from->previous;
    free(from);
  }
  return to ? to + 1 : NULL;
}

static void memory_init(struct memory *memory)
{
  memset(memory, 0, sizeof *memory);
  memory->head.next = memory->head.previous = &memory->head;
}

static void search_live(struct memory *memory)
{
  for(struct block *b = memory->head.next; b != &memory->head; b = b->next) {
    search(memory, b + 1, b->size);
  }
}

/* ---- what the scenarios work on ---- */

static char folder[] = "/tmp/certrotate-torture-XXXXXX";
static char url[64];          /* nobody listens */
static char server_url[64];   /* the thread below */
static char key_pem[4096];

static const char *path_of(const char *name)
{
  static char path[256];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

static void write_text(const char *name, const char *text)
{
  FILE *file = fopen(path_of(name), "w");
  if(!file || fputs(text, file) < 0 || fclose(file) != 0) {
    perror(name);
    exit(2);
  }
}

static void add_extension(X509 *x, int nid, const char *value)
{
  X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
  X509_add_ext(x, extension, -1);
  X509_EXTENSION_free(extension);
}

/* A self-signed certificate and its key, as files and, the key, as text to search for. */
static void make_certificate(void)
{
  EVP_PKEY *key = EVP_EC_gen("P-256");
  X509 *x = X509_new();
  BIO *bio = BIO_new(BIO_s_mem());
  char text[4096];
  int n;

  X509_set_version(x, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x), 4711);
  X509_gmtime_adj(X509_getm_notBefore(x), -3600);
  X509_gmtime_adj(X509_getm_notAfter(x), 86400);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)"torture", -1, -1, 0);
  X509_set_issuer_name(x, X509_get_subject_name(x));
  add_extension(x, NID_subject_alt_name, "DNS:www.example.com,DNS:*.example.org");
  X509_set_pubkey(x, key);
  X509_sign(x, key, EVP_sha256());
  PEM_write_bio_X509(bio, x);
  n = BIO_read(bio, text, sizeof text - 1);
  text[n] = '\0';
  write_text("certificate.pem", text);
  PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
  n = BIO_read(bio, key_pem, sizeof key_pem - 1);
  key_pem[n] = '\0';
  write_text("key.pem", key_pem);
  BIO_free(bio);
  X509_free(x);
  EVP_PKEY_free(key);
}

/* A socket of a port that was free, and its URL: to be listened on, or closed so that nobody does. */
static int bind_somewhere(char *where, size_t room)
{
  struct sockaddr_in address = {.sin_family = AF_INET};
  socklen_t size = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if(bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
     getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
    perror("bind");
    exit(2);
  }
  snprintf(where, room, "http://127.0.0.1:%d", ntohs(address.sin_port));
  return fd;
}

/* lua-cjson loses the buffer it decodes into when Lua has no memory for a value. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
  return "leak:cjson.so\n";
}

/* ---- a server that allocates nothing ---- */

static const char json_answer[] =
  "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nConnection: close\r\nContent-Length: 110\r\n\r\n"
  "{\"CertificateSummaryList\":[{\"CertificateArn\":\"arn:a\",\"InUse\":true,\"NotAfter\":1.7e9,"
  "\"Names\":[\"a\",null,[]]}]}   ";
static const char xml_answer[] =
  "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 110\r\n\r\n"
  "<ErrorResponse><Error><Type>Sender</Type><Code>NoSuchEntity</Code><Message>m</Message></Error></ErrorResponse>";

/* Whether the request is all there: headers and as many bytes as they say. */
static int is_whole(const char *text, size_t len)
{
  const char *end = strstr(text, "\r\n\r\n"), *length = strcasestr(text, "\ncontent-length:");
  return end && len >= (size_t)(end + 4 - text) + (length ? strtoul(length + 16, NULL, 10) : 0);
}

/* Answers JSON where a target is named, XML elsewhere, until the listener is shut down. */
static void *serve(void *user)
{
  int listener = *(int *)user, peer;
  static char text[65536];

  while((peer = accept(listener, NULL, NULL)) >= 0) {
    size_t len = 0;
    const char *answer;
    ssize_t n = 1;
    text[0] = '\0';
    while(n > 0 && len < sizeof text - 1 && !is_whole(text, len)) {
      n = read(peer, text + len, sizeof text - 1 - len);
      len += n > 0 ? (size_t)n : 0;
      text[len] = '\0';
    }
    answer = strcasestr(text, "\nx-amz-target:") ? json_answer : xml_answer;
    n = send(peer, answer, strlen(answer), MSG_NOSIGNAL);
    shutdown(peer, SHUT_WR);
    while(n > 0 && read(peer, text, sizeof text) > 0) {
      continue;
    }
    close(peer);
  }
  return NULL;
}

/* Files of spec/host/torture; each returns true, or nil and an error. */
static const char *const scenarios[] = {
  "load", "sign", "sign_in_finalizer", "identity", "viewer_certificate", "client_refused", "client_collected",
  "client_answered", "files"
};
#define SCENARIO_COUNT (sizeof scenarios / sizeof *scenarios)

static lua_State *new_state(struct memory *memory)
{
  lua_State *L = lua_newstate(lua_allocate, memory);

  if(!L) {
    fprintf(stderr, "no memory for a Lua state\n");
    exit(2);
  }
  luaL_openlibs(L);
  lua_newtable(L);
  lua_setfield(L, LUA_REGISTRYINDEX, "shared"); /* between the files of one state */
  return L;
}

static void push_file(lua_State *L, const char *name)
{
  char path[128];

  snprintf(path, sizeof path, "spec/host/torture/%s.lua", name);
  if(luaL_loadfile(L, path) != LUA_OK) {
    printf("%s\n", lua_tostring(L, -1));
    exit(2);
  }
}

/* The chunk is the argument: loads the module, then calls it with what it works on. */
static int run_chunk(lua_State *L)
{
  luaL_requiref(L, "certrotate.core", luaopen_certrotate_core, 0);
  lua_pushstring(L, folder);
  lua_pushstring(L, url);
  lua_pushstring(L, server_url);
  lua_getfield(L, LUA_REGISTRYINDEX, "shared");
  lua_call(L, 5, 2);
  return 2;
}

enum outcome { PASSED, FAILED_CLEANLY, WRONG };

static enum outcome judge(lua_State *L, int status, const char *name)
{
  const char *text;

  if(status == LUA_OK && lua_toboolean(L, -2)) {
    return PASSED;
  }
  if(status == LUA_OK && lua_isnil(L, -2) && lua_istable(L, -1)) {
    lua_getfield(L, -1, "message");
    text = lua_tostring(L, -1);
    if(text && text[0]) {
      return FAILED_CLEANLY;
    }
  }
  text = lua_tostring(L, -1);
  /* A Lua stack that cannot grow says so in its own words. */
  if(status == LUA_ERRMEM || (status != LUA_OK && text && (strstr(text, "memory") || strstr(text, "stack overflow")))) {
    return FAILED_CLEANLY;
  }
  printf("%s: status %d, %s\n", name, status, text ? text : luaL_typename(L, -1));
  return WRONG;
}

/* One run. `reached` tells whether the allocation that was to fail came at all. */
static enum outcome torture_once(const char *scenario, struct plan *plan, long from, long number,
                                 int *reached)
{
  struct memory memory;
  enum outcome outcome;
  lua_State *L;
  int status;

  memory_init(&memory);
  memset(&lua_plan, 0, sizeof lua_plan);
  memset(&core_plan, 0, sizeof core_plan);
  L = new_state(&memory);
  lua_pushcfunction(L, run_chunk);
  push_file(L, scenario);
  plan->count = 0;
  plan->fail_from = from;
  plan->fail_number = number;
  status = lua_pcall(L, 1, 2, 0);
  *reached = from == 0 || plan->count >= from;
  plan->fail_from = 0;
  outcome = judge(L, status, scenario);
  lua_close(L);
  CHECK(memory.head.next == &memory.head);
  return outcome;
}

static void torture(const char *scenario, struct plan *plan, const char *whose, long number)
{
  long at = 0, cleanly = 0;
  int reached = 1;
  enum outcome outcome = torture_once(scenario, plan, 0, 0, &reached);

  CHECK(outcome == PASSED);
  for(at = 1; reached && at < 100000; at++) {
    outcome = torture_once(scenario, plan, at, number, &reached);
    if(outcome == WRONG || (!reached && outcome != PASSED)) {
      printf("%s, allocation %ld of %s, %ld in a row\n", scenario, at, whose, number);
    }
    CHECK(outcome != WRONG && (reached || outcome == PASSED));
    cleanly += outcome == FAILED_CLEANLY;
  }
  printf("%-20s %-5s %6ld allocations failed, %ld in a row: %ld clean failures\n", scenario, whose, at - 2,
         number > 1000 ? -1 : number, cleanly);
}

/* ---- fork ---- */

/* Whether the file returns true. */
static int run_file(lua_State *L, const char *name)
{
  int ok;

  lua_pushcfunction(L, run_chunk);
  push_file(L, name);
  ok = lua_pcall(L, 1, 2, 0) == LUA_OK && lua_toboolean(L, -2);
  if(!ok) {
    printf("%s: %s\n", name, luaL_tolstring(L, -1, NULL));
  }
  lua_settop(L, 0);
  return ok;
}

static void test_fork(void)
{
  struct memory memory;
  lua_State *L;
  pid_t pid;
  int status = 0;

  memory_init(&memory);
  L = new_state(&memory);
  CHECK(run_file(L, "fork_prepare"));
  fflush(stdout);
  pid = fork();
  if(pid == 0) {
    int ok = run_file(L, "fork_child");
    lua_close(L);
    fflush(stdout);
    _exit(ok ? 0 : 1); /* the parent's engine is left alone on purpose: no leak check here */
  }
  CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  CHECK(run_file(L, "fork_parent"));
  lua_close(L);
}

/* ---- the key ---- */

/* Lines of the key's PEM, without the first and last characters of the whole, so that any line break is enough. */
static void add_needles(struct memory *memory)
{
  static char copy[sizeof key_pem];
  char *line, *rest = copy;

  memcpy(copy, key_pem, sizeof copy);
  while((line = strsep(&rest, "\n")) != NULL && memory->needle_count < 8) {
    if(line[0] && line[0] != '-') {
      size_t len = strlen(line);
      memory->needles[memory->needle_count] = line;
      memory->needle_sizes[memory->needle_count++] = len < 32 ? len : 32;
    }
  }
}

static void test_key(void)
{
  struct memory memory;
  lua_State *L;

  memory_init(&memory);
  L = new_state(&memory);
  add_needles(&memory);
  CHECK(memory.needle_count >= 2);
  for(size_t i = 0; i < SCENARIO_COUNT; i++) {
    CHECK(run_file(L, scenarios[i]));
    search_live(&memory);
  }
  CHECK(run_file(L, "identity_refused"));
  lua_gc(L, LUA_GCCOLLECT, 0);
  search_live(&memory);
  CHECK(memory.found == 0);
  /* The search itself: a script that reads the file is seen. */
  CHECK(run_file(L, "read_key"));
  search_live(&memory);
  CHECK(memory.found > 0);
  lua_close(L);
}

int main(void)
{
  char command[128];
  pthread_t server;
  int listener;

  setvbuf(stdout, NULL, _IOLBF, 0);
  if(!mkdtemp(folder)) {
    perror(folder);
    return 2;
  }
  make_certificate();
  close(bind_somewhere(url, sizeof url));
  listener = bind_somewhere(server_url, sizeof server_url);
  if(listen(listener, 64) != 0 || pthread_create(&server, NULL, serve, &listener) != 0) {
    perror("server");
    return 2;
  }
  test_key();
  test_fork();
  for(size_t i = 0; i < SCENARIO_COUNT; i++) {
    torture(scenarios[i], &lua_plan, "Lua", 2);         /* Lua tries again after a collection: two in a row */
    torture(scenarios[i], &lua_plan, "Lua", 1L << 40);
    torture(scenarios[i], &core_plan, "core", 1);
    torture(scenarios[i], &core_plan, "core", 1L << 40);
  }
  shutdown(listener, SHUT_RDWR);
  pthread_join(server, NULL);
  close(listener);
  snprintf(command, sizeof command, "rm -rf %s", folder);
  if(system(command) != 0) {
    perror(command);
  }
  return check_end();
}
