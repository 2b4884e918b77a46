/* l_sign.c - core.sign: one request signed with Signature Version 4.
 *
 * The hot path of whoever signs requests of his own, so it avoids what costs: names are interned once as upvalues,
 * texts are borrowed from Lua's strings (they stay on the stack), and the workspace is kept from call to call. */
#include "box.h"
#include "error.h"
#include "module.h"
#include "sigv4.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HEADERS_MAX 1024

/* Fields read, then fields written; the order of the upvalues behind the workspace. */
enum field {
  METHOD, URL, HEADERS, BODY, PAYLOAD_HASH, SERVICE, REGION, ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN,
  OMIT_SESSION_TOKEN, TIME, NORMALIZE_PATH, DOUBLE_ENCODE, SIGN_BODY,
  READ_COUNT,
  AUTHORIZATION = READ_COUNT, AMZ_DATE, AMZ_CONTENT_SHA256, AMZ_SECURITY_TOKEN, CANONICAL_REQUEST, STRING_TO_SIGN,
  SIGNATURE,
  FIELD_COUNT
};

static const char *const field_names[FIELD_COUNT] = {
  "method", "url", "headers", "body", "payload_hash", "service", "region", "access_key_id", "secret_access_key",
  "session_token", "omit_session_token", "time", "normalize_path", "double_encode", "sign_body",
  "Authorization", "X-Amz-Date", "X-Amz-Content-Sha256", "X-Amz-Security-Token", "canonical_request",
  "string_to_sign", "signature"
};

/* Owned by an upvalue (or, for a call inside a call, by a box). The texts of a request are not in it. */
struct workspace {
  struct cr_signing_keys *keys;
  struct cr_signature out;
  bool out_ready;
  struct cr_header *headers;
  size_t header_room;
  bool busy;             /* results are being pushed: a finalizer that signs meanwhile takes another workspace */
};

static void workspace_free(void *payload)
{
  struct workspace *space = payload;

  cr_signing_keys_free(space->keys);
  space->keys = NULL;
  if(space->out_ready) {
    cr_signature_free(&space->out);
    space->out_ready = false;
  }
  free(space->headers);
  space->headers = NULL;
}

static void push_name(lua_State *L, enum field field)
{
  lua_pushvalue(L, lua_upvalueindex(2 + (int)field));
}

/* Fields stay at fixed places of the stack: this anchors their texts. */
static int place(enum field field)
{
  return 2 + (int)field;
}

static void push_fields(lua_State *L)
{
  luaL_checkstack(L, READ_COUNT + 16, "too many fields");
  lua_settop(L, 1);
  for(int field = 0; field < READ_COUNT; field++) {
    push_name(L, (enum field)field);
    lua_rawget(L, 1);
  }
}

static void expected(lua_State *L, enum field field, const char *type)
{
  luaL_error(L, "request.%s: %s expected, got %s", field_names[field], type, luaL_typename(L, place(field)));
}

static const char *need_text(lua_State *L, enum field field)
{
  const char *text;
  size_t len;

  if(lua_type(L, place(field)) != LUA_TSTRING) {
    expected(L, field, "string");
  }
  text = lua_tolstring(L, place(field), &len);
  if(strlen(text) != len) {
    luaL_error(L, "request.%s: contains a NUL byte", field_names[field]);
  }
  return text;
}

static const char *take_text(lua_State *L, enum field field)
{
  return lua_isnil(L, place(field)) ? NULL : need_text(L, field);
}

static bool take_bool(lua_State *L, enum field field, bool fallback)
{
  if(lua_isnil(L, place(field))) {
    return fallback;
  }
  if(!lua_isboolean(L, place(field))) {
    expected(L, field, "boolean");
  }
  return lua_toboolean(L, place(field));
}

static int64_t need_time(lua_State *L)
{
  double seconds;

  if(lua_type(L, place(TIME)) != LUA_TNUMBER) {
    expected(L, TIME, "number");
  }
  seconds = lua_tonumber(L, place(TIME));
  if(!(fabs(seconds) < 9007199254740992.0)) {
    luaL_error(L, "request.time: not a time");
  }
  return (int64_t)floor(seconds);
}

static struct cr_header *header_at(lua_State *L, struct workspace *space, size_t at)
{
  if(at >= space->header_room) {
    size_t room = space->header_room ? space->header_room * 2 : 16;
    struct cr_header *headers = at < HEADERS_MAX ? realloc(space->headers, room * sizeof *headers) : NULL;
    if(!headers) {
      luaL_error(L, at < HEADERS_MAX ? "out of memory" : "request.headers: at most %d expected", HEADERS_MAX);
      return NULL;
    }
    space->headers = headers;
    space->header_room = room;
  }
  return &space->headers[at];
}

/* Name at -2 and value at -1, both borrowed from the request's tables. */
static void take_header(lua_State *L, struct workspace *space, size_t at)
{
  struct cr_header *header = header_at(L, space, at);
  size_t len;

  if(lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING) {
    luaL_error(L, "request.headers[%d]: name and value must be strings, got %s and %s", (int)at + 1,
               luaL_typename(L, -2), luaL_typename(L, -1));
  }
  header->name = lua_tolstring(L, -2, &len);
  if(strlen(header->name) != len) {
    luaL_error(L, "request.headers[%d]: a name contains a NUL byte", (int)at + 1);
  }
  header->value = lua_tolstring(L, -1, &header->value_len);
}

/* A map has no order of its own: names that differ in case only would be joined by chance. */
static void sort_headers(struct cr_header *headers, size_t count)
{
  for(size_t i = 1; i < count; i++) {
    struct cr_header moving = headers[i];
    size_t at = i;
    for(; at > 0 && strcmp(headers[at - 1].name, moving.name) > 0; at--) {
      headers[at] = headers[at - 1];
    }
    headers[at] = moving;
  }
}

static size_t take_headers(lua_State *L, struct workspace *space)
{
  int table = place(HEADERS);
  size_t count = l_rawlen(L, table), at = 0;

  if(count == 0) {
    lua_pushnil(L);
    while(lua_next(L, table)) {
      take_header(L, space, at++);
      lua_pop(L, 1);
    }
    sort_headers(space->headers, at);
    return at;
  }
  for(; at < count; at++) {
    lua_rawgeti(L, table, (int)at + 1);
    if(!lua_istable(L, -1)) {
      luaL_error(L, "request.headers[%d]: table expected, got %s", (int)at + 1, luaL_typename(L, -1));
    }
    lua_rawgeti(L, -1, 1);
    lua_rawgeti(L, -2, 2);
    take_header(L, space, at);
    lua_pop(L, 3);
  }
  return count;
}

/* Reads everything; may raise for misuse, allocates nothing that a raise would lose. */
static void read_request(lua_State *L, struct workspace *space, struct cr_sign_request *in)
{
  bool s3;

  memset(in, 0, sizeof *in);
  in->method = need_text(L, METHOD);
  in->url = need_text(L, URL);
  if(!lua_isnil(L, place(HEADERS))) {
    if(!lua_istable(L, place(HEADERS))) {
      expected(L, HEADERS, "table");
    }
    in->header_count = take_headers(L, space);
    in->headers = space->headers;
  }
  if(!lua_isnil(L, place(BODY))) {
    if(lua_type(L, place(BODY)) != LUA_TSTRING) {
      expected(L, BODY, "string");
    }
    in->body = lua_tolstring(L, place(BODY), &in->body_len);
  }
  in->payload_hash = take_text(L, PAYLOAD_HASH);
  in->service = need_text(L, SERVICE);
  in->region = need_text(L, REGION);
  in->access_key_id = need_text(L, ACCESS_KEY_ID);
  in->secret_access_key = need_text(L, SECRET_ACCESS_KEY);
  in->session_token = take_text(L, SESSION_TOKEN);
  in->omit_session_token = take_bool(L, OMIT_SESSION_TOKEN, false);
  in->time = need_time(L);
  s3 = strcmp(in->service, "s3") == 0;
  in->normalize_path = take_bool(L, NORMALIZE_PATH, !s3);
  in->double_encode = take_bool(L, DOUBLE_ENCODE, !s3);
  in->sign_body = take_bool(L, SIGN_BODY, false);
}

static void set_buf(lua_State *L, enum field field, const struct cr_buf *buf)
{
  push_name(L, field);
  lua_pushlstring(L, cr_buf_str(buf), buf->len);
  lua_rawset(L, -3);
}

static void push_signature(lua_State *L, const struct cr_signature *out)
{
  lua_createtable(L, 0, 2 + out->add_content_sha256 + out->add_security_token);
  set_buf(L, AUTHORIZATION, &out->authorization);
  push_name(L, AMZ_DATE);
  lua_pushlstring(L, out->amz_date, sizeof out->amz_date - 1);
  lua_rawset(L, -3);
  if(out->add_content_sha256) {
    push_name(L, AMZ_CONTENT_SHA256);
    lua_pushstring(L, out->payload_hash);
    lua_rawset(L, -3);
  }
  if(out->add_security_token) {
    push_name(L, AMZ_SECURITY_TOKEN);
    lua_pushvalue(L, place(SESSION_TOKEN));
    lua_rawset(L, -3);
  }
  lua_createtable(L, 0, 3);
  set_buf(L, CANONICAL_REQUEST, &out->canonical_request);
  set_buf(L, STRING_TO_SIGN, &out->string_to_sign);
  push_name(L, SIGNATURE);
  lua_pushlstring(L, out->signature, sizeof out->signature - 1);
  lua_rawset(L, -3);
}

/* core.sign(request) -> headers, stages | nil, err */
static int l_sign(lua_State *L)
{
  struct workspace *home = l_box_at(L, lua_upvalueindex(1)), *space = home;
  struct cr_sign_request in;
  struct cr_error err;

  luaL_checktype(L, 1, LUA_TTABLE);
  push_fields(L);
  if(home->busy) {
    space = l_box_new(L, sizeof *space, workspace_free);
    cr_signature_init(&space->out);
    space->out_ready = true;
  }
  read_request(L, space, &in);
  if(!home->keys) {
    home->keys = cr_signing_keys_new(); /* not earlier: it wakes OpenSSL up, which loading must not pay for */
    if(!home->keys) {
      cr_fail_memory(&err);
      return l_fail(L, &err);
    }
  }
  in.keys = home->keys;
  /* No Lua from here to the pushes, so the workspace cannot be asked for twice. */
  if(cr_sigv4_sign(&in, &space->out, &err) != 0) {
    return l_fail(L, &err);
  }
  space->busy = true;
  push_signature(L, &space->out);
  space->busy = false;
  if(in.session_token) {
    cr_buf_reset(&space->out.canonical_request); /* carries the token */
  }
  if(space != home) {
    l_box_release(space);
  }
  return 2;
}

void l_open_sign(lua_State *L)
{
  struct workspace *space = l_box_new(L, sizeof *space, workspace_free);

  cr_signature_init(&space->out);
  space->out_ready = true;
  luaL_checkstack(L, FIELD_COUNT + 4, "too many fields");
  for(int field = 0; field < FIELD_COUNT; field++) {
    lua_pushstring(L, field_names[field]);
  }
  lua_pushcclosure(L, l_sign, 1 + FIELD_COUNT);
  lua_setfield(L, -2, "sign");
}
