/* error.c - struct cr_error as the value Lua sees, certrotate.Error.
 *
 * Lua code makes errors of the same kind with core.error_metatable, so __tostring trusts no field. */
#include "error.h"
#include "box.h"

#include <string.h>

static void set_text(lua_State *L, const char *name, const char *text)
{
  if(text[0]) {
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
  }
}

void l_push_error(lua_State *L, const struct cr_error *err)
{
  lua_createtable(L, 0, 8);
  lua_pushstring(L, cr_kind_name(err->kind));
  lua_setfield(L, -2, "kind");
  lua_pushstring(L, err->code);
  lua_setfield(L, -2, "code");
  lua_pushstring(L, err->message);
  lua_setfield(L, -2, "message");
  lua_pushboolean(L, err->retryable);
  lua_setfield(L, -2, "retryable");
  lua_pushboolean(L, err->ambiguous);
  lua_setfield(L, -2, "ambiguous");
  set_text(L, "operation", err->operation);
  set_text(L, "request_id", err->request_id);
  if(err->status) {
    lua_pushinteger(L, err->status);
    lua_setfield(L, -2, "status");
  }
  luaL_getmetatable(L, L_ERROR_TYPE);
  lua_setmetatable(L, -2);
}

int l_fail(lua_State *L, const struct cr_error *err)
{
  lua_pushnil(L);
  l_push_error(L, err);
  return 2;
}

int l_raise(lua_State *L, const struct cr_error *err)
{
  return luaL_error(L, "%s", err->message);
}

/* Pushes the field when it is text or a number, converted on a copy; "" else. Tells whether there is any. */
static bool push_field(lua_State *L, const char *name)
{
  lua_pushstring(L, name);
  lua_rawget(L, 1);
  if((lua_type(L, -1) == LUA_TSTRING || lua_type(L, -1) == LUA_TNUMBER) && lua_tostring(L, -1)[0]) {
    return true;
  }
  lua_pop(L, 1);
  lua_pushliteral(L, "");
  return false;
}

/* Two spaces and a parenthesis before the first detail, a comma before the others. */
static void add_detail(lua_State *L, const char *name, const char *label, bool *any)
{
  if(push_field(L, name)) {
    lua_pushfstring(L, "%s%s%s", *any ? ", " : "  (", label, lua_tostring(L, -1));
    lua_remove(L, -2);
    *any = true;
  }
}

/* "<message>  (<code>[, <operation>][, HTTP <status>][, request <id>])", one line. */
static int l_error_tostring(lua_State *L)
{
  bool any = false;

  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  if(!push_field(L, "message")) {
    lua_pop(L, 1);
    lua_pushliteral(L, "unknown error");
  }
  add_detail(L, "code", "", &any);
  add_detail(L, "operation", "", &any);
  add_detail(L, "status", "HTTP ", &any);
  add_detail(L, "request_id", "request ", &any);
  if(any) {
    lua_pushliteral(L, ")");
  }
  lua_concat(L, lua_gettop(L) - 1);
  if(strpbrk(lua_tostring(L, -1), "\r\n")) {
    luaL_gsub(L, lua_tostring(L, -1), "\r", " ");
    luaL_gsub(L, lua_tostring(L, -1), "\n", " ");
  }
  return 1;
}

void l_open_error(lua_State *L)
{
  luaL_getmetatable(L, L_ERROR_TYPE);
  if(lua_isnil(L, -1)) {
    lua_pop(L, 1);
    /* No __index: a field that is not there is nil, whoever made the error. */
    lua_newtable(L);
    lua_pushcfunction(L, l_error_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushliteral(L, L_ERROR_TYPE);
    lua_setfield(L, -2, "__name");
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, L_ERROR_TYPE);
  }
  lua_setfield(L, -2, "error_metatable");
}
