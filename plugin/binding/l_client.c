/* l_client.c - certrotate.Client: one engine, its accounts, and the operations submitted to it.
 *
 * The userdata owns the engine and a reference to each account; operations are integers in Lua. No Lua runs while the
 * engine does; answers in JSON are decoded between its steps. A finalizer may run whenever Lua allocates, and may
 * close the very client that is being used: so the engine is fetched anew after every such place, and while
 * an answer is being decoded closing waits and everything else is refused. */
#include "box.h"
#include "call.h"
#include "engine.h"
#include "error.h"
#include "fields.h"
#include "module.h"
#include "step.h"
#include "values.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ACCOUNTS_MAX 4096
#define ATTEMPTS_MAX 1000

struct l_client {
  struct cr_engine *engine;       /* NULL: closed */
  pid_t pid;                      /* descriptors and connections are shared with a forked child: it must not use them */
  struct cr_account **accounts;
  size_t account_count;
  bool decoding, close_asked;
  /* What the protected decoder works on; valid while `decoding`. */
  const char *json;
  size_t json_len;
  struct cr_tree *into;
  struct cr_error failure;
};

static void client_free(struct l_client *self)
{
  struct cr_engine *engine = self->engine;

  if(self->decoding) {
    self->close_asked = true;
    return;
  }
  self->engine = NULL;
  /* In a forked child the engine is left alone: taking its sockets out of the shared epoll instance, or saying
   * goodbye on its TLS connections, would happen to the parent. */
  if(engine && self->pid == getpid()) {
    cr_engine_free(engine);
  }
  for(size_t i = 0; i < self->account_count; i++) {
    cr_account_unref(self->accounts[i]);
  }
  self->account_count = 0;
  free(self->accounts);
  self->accounts = NULL;
}

static struct cr_engine *open_engine(lua_State *L, const struct l_client *self)
{
  if(!self->engine || self->close_asked) {
    luaL_error(L, "client is closed");
  }
  if(self->decoding) {
    luaL_error(L, "client is decoding an answer"); /* a finalizer, in the middle of the decoder */
  }
  if(self->pid != getpid()) {
    luaL_error(L, "client belongs to another process: make one after fork");
  }
  return self->engine;
}

static struct l_client *check_client(lua_State *L)
{
  struct l_client *self = luaL_checkudata(L, 1, L_CLIENT_TYPE);
  open_engine(L, self);
  return self;
}

/* core.client(options) -> client | nil, err */
static int l_client(lua_State *L)
{
  static const char *const names[] = {
    "ca_file", "proxy", "no_proxy", "user_agent", "max_connections", "max_host_connections", "connect_timeout",
    "total_timeout", "max_body", "allow_http", "trust", NULL
  };
  struct cr_engine_options options;
  struct l_client *self;
  struct cr_error err;

  memset(&options, 0, sizeof options);
  lua_settop(L, 1);
  self = l_object_new(L, sizeof *self, L_CLIENT_TYPE);
  if(!lua_isnil(L, 1)) {
    l_need_table(L, 1, "options");
    l_check_names(L, 1, "options", names);
    options.ca_file = l_field_text(L, 1, "options", "ca_file", NULL);
    options.trust = l_field_text(L, 1, "options", "trust", NULL);
    options.proxy = l_field_text(L, 1, "options", "proxy", NULL);
    options.no_proxy = l_field_text(L, 1, "options", "no_proxy", NULL);
    options.user_agent = l_field_text(L, 1, "options", "user_agent", NULL);
    options.max_connections = (long)l_field_whole(L, 1, "options", "max_connections", 0, 0);
    options.max_host_connections = (long)l_field_whole(L, 1, "options", "max_host_connections", 0, 0);
    options.connect_timeout_ms = l_field_seconds(L, 1, "options", "connect_timeout");
    options.total_timeout_ms = l_field_seconds(L, 1, "options", "total_timeout");
    options.max_body = (size_t)l_field_whole(L, 1, "options", "max_body", 0, 0);
    options.allow_http = l_field_bool(L, 1, "options", "allow_http", false);
  }
  self->pid = getpid();
  self->engine = cr_engine_new(&options, &err);
  return self->engine ? 1 : l_fail(L, &err);
}

/* The account of a handle, or NULL. */
static struct cr_account *find_account(const struct l_client *self, int64_t handle)
{
  return handle >= 1 && (uint64_t)handle <= self->account_count ? self->accounts[handle - 1] : NULL;
}

static struct cr_account *check_account(lua_State *L, const struct l_client *self, int arg)
{
  struct cr_account *account = find_account(self, l_arg_whole(L, arg, 0));
  luaL_argcheck(L, account, arg, "no such account of this client");
  return account;
}

/* Credentials as Lua gives them. Texts are anchored by the table they were read from. */
struct given {
  const char *id, *secret, *token;
  int64_t expires_at, advised_at, needed_at;
  double clock_offset;               /* AWS's clock as far as whoever had them from AWS knows it; 0: unknown */
};

static void read_given(lua_State *L, int index, const char *what, struct given *given)
{
  given->id = l_field_text(L, index, what, "access_key_id", NULL);
  given->secret = l_field_text(L, index, what, "secret_access_key", NULL);
  given->token = l_field_text(L, index, what, "session_token", NULL);
  given->expires_at = (int64_t)l_field_number(L, index, what, "expires_at", 0, 0);
  given->advised_at = (int64_t)l_field_number(L, index, what, "renew_at", 0, 0);
  given->needed_at = (int64_t)l_field_number(L, index, what, "needed_at", 0, 0);
  given->clock_offset = l_field_number(L, index, what, "clock_offset", 0, -1e10);
}

/* Copies them into the account. */
static int set_credentials(struct cr_account *account, const struct given *given, struct cr_error *err)
{
  if(cr_account_set_credentials(account, given->id, given->secret, given->token, given->expires_at, err) != 0) {
    return -1;
  }
  cr_renewal_done(&account->renewal, given->advised_at, given->needed_at);
  if(given->clock_offset != 0) {
    account->clock_offset_ms = (int64_t)(given->clock_offset * 1000);
  }
  return 0;
}

/* Raises for a service nobody knows, listing those there are. */
static enum cr_service need_service(lua_State *L, const char *what, const char *name)
{
  int service = cr_service_by_name(name);

  if(service < 0) {
    int before = lua_gettop(L);
    luaL_checkstack(L, CR_SERVICE_COUNT + 2, "too many services");
    lua_pushfstring(L, "%s: unknown service \"%s\"; one of: ", what, name);
    for(int i = 0; i < CR_SERVICE_COUNT; i++) {
      lua_pushfstring(L, i ? ", %s" : "%s", cr_service_name((enum cr_service)i));
    }
    lua_concat(L, lua_gettop(L) - before);
    luaL_error(L, "%s", lua_tostring(L, -1));
  }
  return (enum cr_service)service;
}

/* endpoints = { acm = { url=, region= } .. }, the table on the top. */
static int set_endpoints(lua_State *L, struct cr_account *account, struct cr_error *err)
{
  int endpoints = lua_gettop(L);

  lua_pushnil(L);
  while(lua_next(L, endpoints)) {
    const char *url, *region;
    enum cr_service service;
    if(lua_type(L, -2) != LUA_TSTRING) {
      return luaL_error(L, "options.endpoints: has a %s as a field's name", luaL_typename(L, -2));
    }
    service = need_service(L, "options.endpoints", lua_tostring(L, -2));
    l_need_table(L, -1, "options.endpoints' entry");
    url = l_need_text(L, -1, "options.endpoints' entry", "url", NULL);
    region = l_need_text(L, -1, "options.endpoints' entry", "region", NULL);
    if(cr_account_set_endpoint(account, service, url, region, err) != 0) {
      return -1;
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return 0;
}

struct account_box {
  struct cr_account *account;
};

static void free_account(void *payload)
{
  struct account_box *box = payload;
  cr_account_unref(box->account);
}

/* Moves the account into the client. */
static int keep_account(struct l_client *self, struct account_box *box, struct cr_error *err)
{
  struct cr_account **accounts;

  if(self->account_count >= ACCOUNTS_MAX) {
    return cr_fail(err, CR_KIND_MEMORY, "TooManyAccounts", "a client has %d accounts at most", ACCOUNTS_MAX);
  }
  accounts = realloc(self->accounts, (self->account_count + 1) * sizeof *accounts);
  if(!accounts) {
    return cr_fail_memory(err);
  }
  self->accounts = accounts;
  accounts[self->account_count++] = box->account;
  box->account = NULL;
  return 0;
}

/* client:account(options) -> handle | nil, err */
static int l_client_account(lua_State *L)
{
  struct l_client *self = check_client(L);
  struct account_box *box;
  struct cr_error err;
  struct given given;
  double most;

  lua_settop(L, 2);
  l_need_table(L, 2, "options");
  box = l_box_new(L, sizeof *box, free_account);
  read_given(L, 2, "options", &given);
  box->account = cr_account_new(&err);
  if(!box->account || set_credentials(box->account, &given, &err) != 0) {
    return l_fail(L, &err);
  }
  if(!l_field_table(L, 2, "options", "endpoints")) {
    return luaL_error(L, "options.endpoints: table expected, got nil");
  }
  if(set_endpoints(L, box->account, &err) != 0) {
    return l_fail(L, &err);
  }
  most = l_field_number(L, 2, "options", "max_attempts", box->account->max_attempts, 1);
  box->account->renewal.possible = l_field_bool(L, 2, "options", "renewable", false);
  box->account->max_attempts = most < ATTEMPTS_MAX ? (int)most : ATTEMPTS_MAX;
  open_engine(L, self);
  if(keep_account(self, box, &err) != 0) {
    return l_fail(L, &err);
  }
  l_box_release(box);
  lua_pushinteger(L, (lua_Integer)self->account_count);
  return 1;
}

/* client:credentials(account, credentials) -> true | nil, err
 * What waited for them goes on at the next step. */
static int l_client_credentials(lua_State *L)
{
  const struct l_client *self = check_client(L);
  struct cr_error err;
  struct given given;

  check_account(L, self, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  read_given(L, 3, "credentials", &given);
  open_engine(L, self); /* reading allocates, and a finalizer may have closed it */
  if(set_credentials(check_account(L, self, 2), &given, &err) != 0) {
    return l_fail(L, &err);
  }
  cr_engine_recheck(self->engine);
  lua_pushboolean(L, 1);
  return 1;
}

/* The error at `index` as every waiting call will tell it: whatever went wrong, credentials are what is missing. */
static void read_failure(lua_State *L, int index, struct cr_error *err)
{
  const char *kind = l_field_text(L, index, "err", "kind", NULL);
  const char *operation = l_field_text(L, index, "err", "operation", NULL);
  const char *request_id = l_field_text(L, index, "err", "request_id", NULL);

  cr_fail(err, cr_streq(kind, "cancelled") ? CR_KIND_CANCELLED : CR_KIND_CREDENTIALS,
          l_need_text(L, index, "err", "code", NULL), "%s", l_need_text(L, index, "err", "message", NULL));
  err->retryable = l_field_bool(L, index, "err", "retryable", false);
  err->status = (int)l_field_whole(L, index, "err", "status", 0, 0);
  snprintf(err->operation, sizeof err->operation, "%s", operation ? operation : "");
  snprintf(err->request_id, sizeof err->request_id, "%s", request_id ? request_id : "");
}

/* client:credentials_failed(account, err [, retry_at]): calls that wait for them fail with the error */
static int l_client_credentials_failed(lua_State *L)
{
  const struct l_client *self = check_client(L);
  double retry_at = luaL_optnumber(L, 4, 0);
  struct cr_error err;

  check_account(L, self, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  read_failure(L, 3, &err);
  open_engine(L, self); /* as above */
  cr_renewal_failed(&check_account(L, self, 2)->renewal, &err, retry_at > 0 && retry_at < 1e15 ? (int64_t)retry_at : 0);
  cr_engine_recheck(self->engine);
  return 0;
}

/* client:want(account): asks for new ones as a call that needs them does */
static int l_client_want(lua_State *L)
{
  const struct l_client *self = check_client(L);

  cr_renewal_ask(&check_account(L, self, 2)->renewal);
  return 0;
}

/* client:wanted() -> the next account whose credentials are to be renewed | nil; told once until they are, or fail */
static int l_client_wanted(lua_State *L)
{
  const struct l_client *self = check_client(L);

  for(size_t i = 0; i < self->account_count; i++) {
    if(cr_renewal_begin(&self->accounts[i]->renewal)) {
      lua_pushinteger(L, (lua_Integer)i + 1);
      return 1;
    }
  }
  lua_pushnil(L);
  return 1;
}

struct text_box {
  char *text;
};

static void free_text(void *payload)
{
  struct text_box *box = payload;
  free(box->text);
}

/* client:paces(account) -> { { service=, writes=bool, rate= (calls a second), accepted=, refused=, waiting= }, .. }
 * Only of the services that refused calls for their rate. */
static int l_client_paces(lua_State *L)
{
  const struct l_client *self = check_client(L);
  const struct cr_account *account;
  struct { double rate, accepted, refused, waiting; } paces[CR_SERVICE_COUNT * 2];
  int count = 0;

  open_engine(L, self);
  account = check_account(L, self, 2);
  /* All of them first: pushing may collect, and a finalizer may close the client. */
  for(int i = 0; i < CR_SERVICE_COUNT * 2; i++) {
    const struct cr_pace *pace = &account->paces[i / 2][i % 2];
    paces[i].rate = pace->rate;
    paces[i].accepted = (double)pace->accepted;
    paces[i].refused = (double)pace->refused;
    paces[i].waiting = pace->waiting;
  }
  lua_newtable(L);
  for(int i = 0; i < CR_SERVICE_COUNT * 2; i++) {
    if(paces[i].rate > 0) {
      lua_createtable(L, 0, 6);
      lua_pushstring(L, cr_service_name((enum cr_service)(i / 2)));
      lua_setfield(L, -2, "service");
      lua_pushboolean(L, i % 2);
      lua_setfield(L, -2, "writes");
      lua_pushnumber(L, paces[i].rate);
      lua_setfield(L, -2, "rate");
      l_pushwhole(L, paces[i].accepted);
      lua_setfield(L, -2, "accepted");
      l_pushwhole(L, paces[i].refused);
      lua_setfield(L, -2, "refused");
      l_pushwhole(L, paces[i].waiting);
      lua_setfield(L, -2, "waiting");
      lua_rawseti(L, -2, ++count);
    }
  }
  return 1;
}

/* client:account_info(account) -> { clock_offset=, expires_at=, needed_at=, access_key_id= } */
static int l_client_account_info(lua_State *L)
{
  const struct l_client *self = check_client(L);
  struct text_box *id = l_box_new(L, sizeof *id, free_text);
  const struct cr_account *account;
  double offset, expires_at, needed_at;
  struct cr_error err;

  /* All of the account first: pushing may collect, and a finalizer may close the client or change the credentials. */
  open_engine(L, self);
  account = check_account(L, self, 2);
  offset = (double)account->clock_offset_ms / 1000;
  expires_at = (double)account->expires_at;
  needed_at = (double)account->renewal.needed_at;
  id->text = cr_strdup(account->access_key_id);
  if(account->access_key_id && !id->text) {
    cr_fail_memory(&err);
    return l_raise(L, &err);
  }
  lua_createtable(L, 0, 4);
  if(id->text) {
    lua_pushstring(L, id->text);
    lua_setfield(L, -2, "access_key_id");
  }
  lua_pushnumber(L, offset);
  lua_setfield(L, -2, "clock_offset");
  if(expires_at > 0) {
    l_pushwhole(L, expires_at);
    lua_setfield(L, -2, "expires_at");
  }
  if(needed_at > 0) {
    l_pushwhole(L, needed_at);
    lua_setfield(L, -2, "needed_at");
  }
  l_box_release(id);
  return 1;
}

/* What a submission says, read before anything of the core is made. Texts are anchored by the submission. */
struct submission {
  struct cr_tree *params;              /* in a box */
  const struct cr_operation *operation;
  const char *step;                    /* static text */
  bool http, program;
  int64_t account;
  struct cr_identity *identity;        /* borrowed */
  const struct cr_xml_view *view;
  int64_t deadline_ms;
};

static void free_tree(void *payload)
{
  cr_tree_free(payload);
}

static const char *const step_names[] = {"import", "reimport", "swap", "policy", "settle", "verify", "retire", NULL};

/* The steps that bring an identity to ACM or IAM. */
static bool imports(const char *step)
{
  return strcmp(step, "import") == 0 || strcmp(step, "reimport") == 0;
}

static const char *need_step(lua_State *L, const char *name)
{
  int before = lua_gettop(L);

  for(int i = 0; step_names[i]; i++) {
    if(strcmp(step_names[i], name) == 0) {
      return step_names[i];
    }
  }
  lua_pushfstring(L, "submission.step: unknown step \"%s\"; one of: ", name);
  for(int i = 0; step_names[i]; i++) {
    lua_pushfstring(L, i ? ", %s" : "%s", step_names[i]);
  }
  lua_concat(L, lua_gettop(L) - before);
  luaL_error(L, "%s", lua_tostring(L, -1));
  return NULL;
}

static const struct cr_operation *need_operation(lua_State *L, const char *service, const char *name)
{
  enum cr_service wanted = need_service(L, "submission.service", service);
  const struct cr_operation *operation = cr_operation_find(service, name);
  int before = lua_gettop(L);
  bool any = false;

  if(operation) {
    return operation;
  }
  lua_pushfstring(L, "submission.operation: %s has no operation \"%s\"; one of: ", service, name);
  for(size_t i = 0; (operation = cr_operation_at(i)) != NULL; i++) {
    if(operation->service == wanted) {
      luaL_checkstack(L, 4, "too many operations");
      lua_pushfstring(L, any ? ", %s" : "%s", operation->name);
      any = true;
    }
  }
  if(!any) {
    lua_pushliteral(L, "(none)");
  }
  lua_concat(L, lua_gettop(L) - before);
  luaL_error(L, "%s", lua_tostring(L, -1));
  return NULL;
}

/* Exactly one of service with operation, step, http, program. */
static void read_kind(lua_State *L, struct submission *in)
{
  const char *service = l_field_text(L, 2, "submission", "service", NULL);
  const char *operation = l_field_text(L, 2, "submission", "operation", NULL);
  const char *step = l_field_text(L, 2, "submission", "step", NULL);

  in->http = l_field_table(L, 2, "submission", "http");
  if(in->http) {
    lua_pop(L, 1);
  }
  in->program = l_field_table(L, 2, "submission", "program");
  if(in->program) {
    lua_pop(L, 1);
  }
  if((service || operation) + (step != NULL) + in->http + in->program != 1) {
    luaL_error(L, "submission: one of `service` with `operation`, `step`, `http`, or `program` expected");
  }
  if(step) {
    in->step = need_step(L, step);
  }
  if(service || operation) {
    if(!service || !operation) {
      luaL_error(L, "submission: `service` and `operation` go together");
    }
    in->operation = need_operation(L, service, operation);
  }
}

static void read_identity(lua_State *L, struct submission *in)
{
  bool wanted = in->operation ? in->operation->identity : in->step && imports(in->step);
  const char *what = in->operation ? in->operation->name : in->step ? in->step : in->http ? "http" : "program";

  lua_pushliteral(L, "identity");
  lua_rawget(L, 2);
  if(!lua_isnil(L, -1)) {
    in->identity = l_identity_test(L, -1);
    if(!in->identity) {
      luaL_error(L, "submission.identity: %s expected, got %s", L_IDENTITY_TYPE, luaL_typename(L, -1));
    }
    if(!wanted) {
      luaL_error(L, "submission.identity: %s takes none", what);
    }
  } else if(wanted) {
    luaL_error(L, "submission.identity: %s needs one", what);
  }
  lua_pop(L, 1);
}

static void read_view(lua_State *L, struct submission *in)
{
  const char *view = l_field_text(L, 2, "submission", "view", NULL);

  if(!view) {
    return;
  }
  if(strcmp(view, "holders") != 0) {
    luaL_error(L, "submission.view: unknown view \"%s\"; one of: holders", view);
  }
  if(!in->operation || strcmp(in->operation->name, "ListDistributions") != 0) {
    luaL_error(L, "submission.view: \"holders\" is for ListDistributions only");
  }
  in->view = &cr_inventory_view;
}

/* Parameters as a tree in the box. 0, or -1 with *err (lack of memory). */
static int read_tree(lua_State *L, struct submission *in, struct cr_error *err)
{
  static const char *const step_lists[] = {"Ids", "changed", NULL};
  static const char *const http_lists[] = {"headers", NULL};
  static const char *const program_lists[] = {"arguments", NULL};
  const char *field = in->http ? "http" : in->program ? "program" : "params";
  const char *const *lists = in->http ? http_lists : in->program ? program_lists :
                             in->step ? step_lists : in->operation->lists;
  int result = 0;

  if(!l_field_table(L, 2, "submission", field)) {
    return cr_node_add(in->params, NULL, NULL, CR_NODE_MAP) ? 0 : cr_fail_memory(err);
  }
  if(l_rawlen(L, -1) > 0) {
    luaL_error(L, "%s: fields with names expected, got a list", field);
  }
  result = l_read_params(L, -1, field, lists, in->params, err);
  if(result != 0 && err->kind == CR_KIND_INPUT) {
    l_raise(L, err);
  }
  lua_pop(L, 1);
  return result;
}

/* What can only end with an answer in JSON is not started without somebody to read it: an import whose reference
 * nobody learns would be repeated. */
static bool needs_json(const struct submission *in)
{
  if(in->step) {
    return imports(in->step) || strcmp(in->step, "retire") == 0;
  }
  return in->operation && in->operation->protocol == CR_JSON11;
}

static int fail_no_json(struct cr_error *err)
{
  return cr_fail(err, CR_KIND_INPUT, "NoJson",
                 "answers are JSON and there is nothing to read them with: install lua-cjson "
                 "(its name in Debian and in luarocks)");
}

static struct cr_machine *make_machine(lua_State *L, const struct l_client *self, const struct submission *in,
                                       struct cr_error *err)
{
  struct cr_account *account;

  if(in->http) {
    return cr_http_new(in->params->root, err);
  }
  if(in->program) {
    return cr_program_new(in->params->root, err);
  }
  account = find_account(self, in->account);
  /* Looking at what a host serves needs nobody's credentials. */
  if(!account && !(in->step && cr_streq(in->step, "verify") && !self->account_count)) {
    luaL_error(L, self->account_count ? "submission.account: no such account of this client"
                                      : "client has no account: add one with client:account first");
  }
  if(in->step) {
    return cr_step_new(in->step, account, in->params->root, in->identity, err);
  }
  return cr_call_new(account, in->operation, in->params->root, in->identity, in->view, in->deadline_ms, err);
}

/* client:submit(submission) -> id | nil, err */
static int l_client_submit(lua_State *L)
{
  static const char *const names[] = {
    "account", "service", "operation", "step", "http", "program", "params", "identity", "view", "timeout", NULL
  };
  const struct l_client *self = check_client(L);
  struct submission in;
  struct cr_machine *m;
  struct cr_error err;
  int64_t id = 0;

  memset(&in, 0, sizeof in);
  lua_settop(L, 2);
  l_need_table(L, 2, "submission");
  l_check_names(L, 2, "submission", names);
  in.params = l_box_new(L, sizeof *in.params, free_tree);
  cr_tree_init(in.params, L_PARAMS_MAX);
  read_kind(L, &in);
  read_view(L, &in);
  in.account = l_field_whole(L, 2, "submission", "account", 1, 1);
  in.deadline_ms = l_field_seconds(L, 2, "submission", "timeout");
  if(in.deadline_ms && !in.operation) {
    return luaL_error(L, "submission.timeout: is for operations; %s", in.step ? "a step takes its times as params" :
               in.http ? "http has a field of its own" : "program has a field of its own");
  }
  if(read_tree(L, &in, &err) != 0) {
    return l_fail(L, &err);
  }
  if(needs_json(&in) && !lua_isfunction(L, lua_upvalueindex(1))) {
    fail_no_json(&err);
    return l_fail(L, &err);
  }
  read_identity(L, &in); /* last: nothing of Lua's runs between here and the machine's own reference */
  open_engine(L, self);
  m = make_machine(L, self, &in, &err);
  l_box_release(in.params);
  if(!m || cr_engine_submit(self->engine, m, &id, &err) != 0) {
    return l_fail(L, &err);
  }
  l_pushwhole(L, (double)id);
  return 1;
}

/* Runs protected, with the client and the decoder: what it raises becomes the operation's failure. */
static int decode_protected(lua_State *L)
{
  struct l_client *self = lua_touserdata(L, 1);

  lua_pushlstring(L, self->json, self->json_len);
  lua_call(L, 1, 2); /* cjson.safe: value, or nil and a message; Neovim's raises */
  if(lua_isnil(L, -2) && lua_type(L, -1) == LUA_TSTRING) {
    cr_fail(&self->failure, CR_KIND_PARSE, "InvalidAnswer", "the answer is not JSON: %s", lua_tostring(L, -1));
    return 0;
  }
  l_read_decoded(L, -2, self->into, &self->failure);
  return 0;
}

/* The decoder is the upvalue of every method. */
static void decode_one(lua_State *L, struct l_client *self)
{
  int status;

  cr_error_clear(&self->failure);
  lua_pushcfunction(L, decode_protected);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, lua_upvalueindex(1));
  if(!lua_isfunction(L, -1)) {
    lua_pop(L, 3);
    fail_no_json(&self->failure);
    return;
  }
  self->decoding = true;
  status = lua_pcall(L, 2, 0, 0);
  self->decoding = false;
  if(status != 0) {
    if(status == LUA_ERRMEM) {
      cr_fail_memory(&self->failure);
    } else {
      const char *text = lua_tostring(L, -1);
      cr_fail(&self->failure, CR_KIND_PARSE, "InvalidAnswer", "the answer is not JSON: %s",
              text ? text : "no reason given");
    }
    lua_pop(L, 1);
  }
}

/* Decodes what waits for it and steps again, until nothing waits. Returns what is still running. */
static size_t settle(lua_State *L, struct l_client *self, size_t running)
{
  int64_t id;
  bool any;

  luaL_checkstack(L, 8, "no room to decode answers");
  do {
    any = false;
    while(cr_engine_undecoded(self->engine, &id, &self->json, &self->json_len, &self->into)) {
      any = true;
      decode_one(L, self);
      if(self->close_asked) {
        self->close_asked = false;
        client_free(self);
        luaL_error(L, "client is closed");
      }
      cr_engine_decoded(self->engine, id, self->failure.kind == CR_KIND_NONE ? NULL : &self->failure);
    }
    if(any) {
      running = cr_engine_step(self->engine);
    }
  } while(any);
  return running;
}

static int l_client_step(lua_State *L)
{
  struct l_client *self = check_client(L);

  lua_pushinteger(L, (lua_Integer)settle(L, self, cr_engine_step(self->engine)));
  return 1;
}

/* client:wait([seconds [, fd]]) */
static int l_client_wait(lua_State *L)
{
  struct l_client *self = check_client(L);
  double seconds = luaL_optnumber(L, 2, -1);
  int fd = -1;

  luaL_argcheck(L, !isnan(seconds), 2, "a number of seconds expected");
  if(!lua_isnoneornil(L, 2) && seconds < 0) {
    seconds = 0;
  }
  if(seconds > 1e9) {
    seconds = -1;
  }
  if(!lua_isnoneornil(L, 3)) {
    int64_t number = l_arg_whole(L, 3, 0);
    luaL_argcheck(L, number <= INT_MAX, 3, "a descriptor expected");
    fd = (int)number;
  }
  lua_pushinteger(L, (lua_Integer)settle(L, self, cr_engine_wait(self->engine, seconds, fd)));
  return 1;
}

struct machine_box {
  struct cr_machine *m;
};

static void free_machine(void *payload)
{
  struct machine_box *box = payload;
  cr_machine_free(box->m);
}

/* client:take() -> id, result | id, nil, err | nothing */
static int l_client_take(lua_State *L)
{
  const struct l_client *self = check_client(L);
  struct machine_box *box = l_box_new(L, sizeof *box, free_machine);
  const struct cr_node *facts;
  int64_t id = 0;

  box->m = cr_engine_take(open_engine(L, self), &id);
  if(!box->m) {
    lua_pushnil(L);
    return 1;
  }
  l_pushwhole(L, (double)id);
  if(box->m->error.kind == CR_KIND_NONE) {
    if(box->m->result.root) {
      l_push_node(L, box->m->result.root);
    } else {
      lua_pushboolean(L, 1);
    }
    l_box_release(box);
    return 2;
  }
  lua_pushnil(L);
  l_push_error(L, &box->m->error);
  facts = cr_get(box->m->result.root, "facts"); /* why a retirement was refused */
  if(facts) {
    l_push_node(L, facts);
    lua_setfield(L, -2, "facts");
  }
  l_box_release(box);
  return 3;
}

static int l_client_cancel(lua_State *L)
{
  const struct l_client *self = check_client(L);

  lua_pushboolean(L, cr_engine_cancel(self->engine, l_arg_whole(L, 2, 0)));
  return 1;
}

static int l_client_pollfd(lua_State *L)
{
  lua_pushinteger(L, cr_engine_pollfd(check_client(L)->engine));
  return 1;
}

static int l_client_events(lua_State *L)
{
  check_client(L);
  lua_pushliteral(L, "r");
  return 1;
}

static int l_client_timeout(lua_State *L)
{
  double seconds = cr_engine_timeout(check_client(L)->engine);

  if(seconds < 0) {
    lua_pushnil(L);
  } else {
    lua_pushnumber(L, seconds);
  }
  return 1;
}

static void set_count(lua_State *L, const char *name, uint64_t count)
{
  l_pushwhole(L, (double)count);
  lua_setfield(L, -2, name);
}

static int l_client_stats(lua_State *L)
{
  struct cr_engine_stats stats;

  cr_engine_stats(check_client(L)->engine, &stats);
  lua_createtable(L, 0, 15);
  set_count(L, "submitted", stats.submitted);
  set_count(L, "finished", stats.finished);
  set_count(L, "failed", stats.failed);
  set_count(L, "cancelled", stats.cancelled);
  set_count(L, "attempts", stats.attempts);
  set_count(L, "throttled", stats.throttled);
  set_count(L, "retried", stats.retried);
  set_count(L, "connections", stats.connections);
  set_count(L, "bytes_received", stats.bytes_received);
  set_count(L, "bytes_sent", stats.bytes_sent);
  set_count(L, "running", stats.running);
  set_count(L, "waiting_decode", stats.waiting_decode);
  set_count(L, "waiting_time", stats.waiting_time);
  set_count(L, "in_transfer", stats.in_transfer);
  set_count(L, "finished_untaken", stats.finished_untaken);
  return 1;
}

/* client:attempt() -> the next attempt not asked for yet | nil */
static int l_client_attempt(lua_State *L)
{
  const struct l_client *self = check_client(L);
  struct cr_attempt attempt;
  int64_t id = 0;

  if(!cr_engine_attempt(self->engine, &id, &attempt)) {
    lua_pushnil(L);
    return 1;
  }
  lua_createtable(L, 0, 8);
  set_count(L, "id", (uint64_t)id);
  lua_pushstring(L, attempt.operation);
  lua_setfield(L, -2, "operation");
  lua_pushinteger(L, attempt.attempt);
  lua_setfield(L, -2, "attempt");
  lua_pushinteger(L, attempt.status);
  lua_setfield(L, -2, "status");
  lua_pushstring(L, attempt.code);
  lua_setfield(L, -2, "code");
  lua_pushstring(L, attempt.request_id);
  lua_setfield(L, -2, "request_id");
  lua_pushnumber(L, (lua_Number)attempt.elapsed_ms / 1000);
  lua_setfield(L, -2, "elapsed");
  lua_pushboolean(L, attempt.throttled);
  lua_setfield(L, -2, "throttled");
  return 1;
}

static int l_client_close(lua_State *L)
{
  client_free(luaL_checkudata(L, 1, L_CLIENT_TYPE));
  return 0;
}

static int l_client_tostring(lua_State *L)
{
  const struct l_client *self = luaL_checkudata(L, 1, L_CLIENT_TYPE);
  struct cr_engine_stats stats;

  if(!self->engine || self->close_asked) {
    lua_pushliteral(L, L_CLIENT_TYPE " (closed)");
  } else if(self->pid != getpid()) {
    lua_pushliteral(L, L_CLIENT_TYPE " (of another process)");
  } else {
    cr_engine_stats(self->engine, &stats);
    lua_pushfstring(L, L_CLIENT_TYPE " (%d running)", (int)stats.running);
  }
  return 1;
}

static const struct luaL_Reg core_functions[] = {
  {"client", l_client},
  {NULL, NULL}
};

static const struct luaL_Reg client_methods[] = {
  {"account", l_client_account},
  {"credentials", l_client_credentials},
  {"credentials_failed", l_client_credentials_failed},
  {"want", l_client_want},
  {"wanted", l_client_wanted},
  {"account_info", l_client_account_info},
  {"paces", l_client_paces},
  {"submit", l_client_submit},
  {"step", l_client_step},
  {"wait", l_client_wait},
  {"take", l_client_take},
  {"cancel", l_client_cancel},
  {"pollfd", l_client_pollfd},
  {"events", l_client_events},
  {"timeout", l_client_timeout},
  {"stats", l_client_stats},
  {"attempt", l_client_attempt},
  {"close", l_client_close},
  {NULL, NULL}
};

static const struct luaL_Reg client_metamethods[] = {
  {"__gc", l_client_close},
  {"__close", l_client_close},
  {"__tostring", l_client_tostring},
  {NULL, NULL}
};

/* The decoder is captured now: a program that changes `require` later does not change who reads answers. */
void l_open_client(lua_State *L)
{
  l_push_decoder(L);
  l_type_new(L, L_CLIENT_TYPE, client_methods, client_metamethods, 1);
  l_setfuncs(L, core_functions, 0);
}
