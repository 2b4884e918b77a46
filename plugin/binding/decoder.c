/* decoder.c - who reads JSON: lua-cjson where it is installed, else Neovim's own. */
#include "module.h"

#include <string.h>

#define JSON_DEPTH 100 /* AWS's answers are about ten deep */

static void push_global(lua_State *L, const char *name)
{
  l_pushglobals(L);
  lua_pushstring(L, name);
  lua_rawget(L, -2);
  lua_remove(L, -2);
}

/* Whether the call went well. Lack of memory is no sign that something is not installed: raised again. */
static bool call(lua_State *L, int arguments, int results)
{
  int status = lua_pcall(L, arguments, results, 0);

  if(status == LUA_ERRMEM) {
    lua_error(L);
  }
  return status == 0;
}

/* An instance of our own: its settings are nobody else's. Leaves the decoder on the stack, or nothing. */
static bool push_cjson(lua_State *L)
{
  int top = lua_gettop(L);

  push_global(L, "require");
  lua_pushliteral(L, "cjson.safe");
  if(!lua_isfunction(L, -2) || !call(L, 1, 1) || !lua_istable(L, -1)) {
    goto none;
  }
  lua_getfield(L, -1, "new");
  if(!lua_isfunction(L, -1) || !call(L, 0, 1) || !lua_istable(L, -1)) {
    goto none;
  }
  lua_getfield(L, -1, "decode_max_depth");
  lua_pushinteger(L, JSON_DEPTH);
  if(!lua_isfunction(L, -2) || !call(L, 1, 0)) {
    goto none;
  }
  lua_getfield(L, top + 2, "decode");
  if(!lua_isfunction(L, -1)) {
    goto none;
  }
  lua_replace(L, top + 1);
  lua_settop(L, top + 1);
  return true;
none:
  lua_settop(L, top);
  return false;
}

static bool push_neovim(lua_State *L)
{
  int top = lua_gettop(L);
  static const char *const names[] = {"json", "decode"};

  push_global(L, "vim");
  for(int i = 0; i < 2; i++) {
    if(!lua_istable(L, -1)) {
      lua_settop(L, top);
      return false;
    }
    lua_pushstring(L, names[i]);
    lua_rawget(L, -2);
    lua_remove(L, -2);
  }
  return lua_isfunction(L, -1) ? true : (lua_settop(L, top), false);
}

void l_push_decoder(lua_State *L)
{
  luaL_checkstack(L, 8, "no room to load a JSON decoder");
  if(!push_cjson(L) && !push_neovim(L)) {
    lua_pushboolean(L, 0);
  }
}
