/* compat.h - what the binding needs and Lua 5.1 or LuaJIT lack.
 *
 * The 5.1 build keeps to what PUC 5.1 exports, so that one file loads into lua5.1, LuaJIT, nginx and
 * Neovim. Shims have names of our own: LuaJIT's headers declare some of the originals. */
#ifndef CR_BINDING_COMPAT_H
#define CR_BINDING_COMPAT_H

#include <lauxlib.h>
#include <lua.h>

#include <stdbool.h>
#include <stddef.h>

#if LUA_VERSION_NUM == 501
#define l_rawlen(L, index) lua_objlen(L, index)
#else
#define l_rawlen(L, index) lua_rawlen(L, index)
#endif

#if LUA_VERSION_NUM >= 504
#define l_newuserdata(L, size) lua_newuserdatauv(L, size, 0)
#else
#define l_newuserdata(L, size) lua_newuserdata(L, size)
#endif

/* The table of globals, to be read raw: a strict mode may raise for names that are not there. */
#if LUA_VERSION_NUM == 501
#define l_pushglobals(L) lua_pushvalue(L, LUA_GLOBALSINDEX)
#else
#define l_pushglobals(L) lua_pushglobaltable(L)
#endif

/* A whole number as Lua has it: an integer on 5.3 and later while a double could hold it too. */
static inline void l_pushwhole(lua_State *L, double number)
{
#if LUA_VERSION_NUM >= 503
  if(number >= -9007199254740992.0 && number <= 9007199254740992.0) {
    lua_pushinteger(L, (lua_Integer)number);
    return;
  }
#endif
  lua_pushnumber(L, number);
}

static inline int l_absindex(lua_State *L, int index)
{
  return index > 0 || index <= LUA_REGISTRYINDEX ? index : lua_gettop(L) + index + 1;
}

/* Registers into the table below the top `upvalues` values, which every function shares and which are popped. */
static inline void l_setfuncs(lua_State *L, const struct luaL_Reg *functions, int upvalues)
{
  luaL_checkstack(L, upvalues + 1, "too many upvalues");
  for(; functions->name; functions++) {
    for(int i = 0; i < upvalues; i++) {
      lua_pushvalue(L, -upvalues);
    }
    lua_pushcclosure(L, functions->func, upvalues);
    lua_setfield(L, -(upvalues + 2), functions->name);
  }
  lua_pop(L, upvalues);
}

#endif
