/* l_system.c - clocks, digests, the terminal, permissions, and the list of operations. */
#include "call.h"
#include "digest.h"
#include "error.h"
#include "fields.h"
#include "module.h"
#include "sigv4.h"
#include "system.h"

#include <curl/curl.h>
#include <expat.h>
#include <openssl/crypto.h>

static int l_now(lua_State *L)
{
  lua_pushnumber(L, cr_system_now());
  return 1;
}

static int l_monotonic(lua_State *L)
{
  lua_pushnumber(L, cr_system_monotonic());
  return 1;
}

/* core.sha256(text) -> hex */
static int l_sha256(lua_State *L)
{
  char hex[CR_SHA256_HEX + 1];
  const char *text;
  size_t len;

  luaL_checktype(L, 1, LUA_TSTRING);
  text = lua_tolstring(L, 1, &len);
  if(cr_sha256_hex(text, len, hex) != 0) {
    return luaL_error(L, "SHA-256 is not available: OpenSSL refuses it");
  }
  lua_pushlstring(L, hex, CR_SHA256_HEX);
  return 1;
}

/* core.sha1(text) -> hex */
static int l_sha1(lua_State *L)
{
  char hex[CR_SHA1_HEX + 1];
  const char *text;
  size_t len;

  luaL_checktype(L, 1, LUA_TSTRING);
  text = lua_tolstring(L, 1, &len);
  if(cr_sha1_hex(text, len, hex) != 0) {
    return luaL_error(L, "SHA-1 is not available: OpenSSL refuses it");
  }
  lua_pushlstring(L, hex, CR_SHA1_HEX);
  return 1;
}

/* core.file_mode(path) -> permission bits | nil */
static int l_file_mode(lua_State *L)
{
  int mode = cr_system_mode(l_arg_text(L, 1, NULL));

  if(mode < 0) {
    lua_pushnil(L);
  } else {
    lua_pushinteger(L, mode);
  }
  return 1;
}

/* core.terminal(fd) -> columns | nil */
static int l_terminal(lua_State *L)
{
  lua_Number fd = luaL_checknumber(L, 1);
  int columns;

  luaL_argcheck(L, fd == 0 || fd == 1 || fd == 2, 1, "0, 1 or 2 expected");
  columns = cr_system_columns((int)fd);
  if(columns) {
    lua_pushinteger(L, columns);
  } else {
    lua_pushnil(L);
  }
  return 1;
}

static void push_required(lua_State *L, const struct cr_operation *operation)
{
  int at = 0;

  lua_newtable(L);
  for(const struct cr_param *param = operation->params; param && param->name; param++) {
    if(param->required) {
      lua_pushstring(L, param->name);
      lua_rawseti(L, -2, ++at);
    }
  }
}

/* core.operations() -> { {service=, name=, identity=, required={..}} .. } */
static int l_operations(lua_State *L)
{
  const struct cr_operation *operation;

  lua_newtable(L);
  for(size_t i = 0; (operation = cr_operation_at(i)) != NULL; i++) {
    lua_createtable(L, 0, 4);
    lua_pushstring(L, cr_service_name(operation->service));
    lua_setfield(L, -2, "service");
    lua_pushstring(L, operation->name);
    lua_setfield(L, -2, "name");
    lua_pushboolean(L, operation->identity);
    lua_setfield(L, -2, "identity");
    push_required(L, operation);
    lua_setfield(L, -2, "required");
    lua_rawseti(L, -2, (int)i + 1);
  }
  return 1;
}

/* core.versions() -> { curl=, openssl=, expat= }: of the libraries in this process, not of those it was built with */
static int l_versions(lua_State *L)
{
  XML_Expat_Version expat = XML_ExpatVersionInfo();

  lua_createtable(L, 0, 3);
  lua_pushstring(L, curl_version_info(CURLVERSION_NOW)->version);
  lua_setfield(L, -2, "curl");
  lua_pushstring(L, OpenSSL_version(OPENSSL_VERSION_STRING));
  lua_setfield(L, -2, "openssl");
  lua_pushfstring(L, "%d.%d.%d", expat.major, expat.minor, expat.micro);
  lua_setfield(L, -2, "expat");
  return 1;
}

static const struct luaL_Reg core_functions[] = {
  {"now", l_now},
  {"monotonic", l_monotonic},
  {"sha256", l_sha256},
  {"sha1", l_sha1},
  {"file_mode", l_file_mode},
  {"terminal", l_terminal},
  {"operations", l_operations},
  {"versions", l_versions},
  {NULL, NULL}
};

void l_open_system(lua_State *L)
{
  l_setfuncs(L, core_functions, 0);
}
