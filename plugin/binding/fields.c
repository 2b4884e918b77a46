/* fields.c - reading the fields of option tables: raw, typed, and refused by name. */
#include "fields.h"

#include <math.h>
#include <string.h>

#define NUMBER_MAX 9223372036854774784.0 /* the largest double that an int64_t holds */
#define WHOLE_MAX 9007199254740992.0 /* 2^53: every whole number below is exact as a double */

/* Leaves the value on the stack. Raw: no metamethod runs halfway through a C function. */
static int push_raw(lua_State *L, int index, const char *name)
{
  index = l_absindex(L, index);
  lua_pushstring(L, name);
  lua_rawget(L, index);
  return lua_type(L, -1);
}

static void expected(lua_State *L, const char *what, const char *name, const char *type)
{
  luaL_error(L, "%s.%s: %s expected, got %s", what, name, type, luaL_typename(L, -1));
}

void l_need_table(lua_State *L, int index, const char *what)
{
  if(lua_type(L, index) != LUA_TTABLE) {
    luaL_error(L, "%s: table expected, got %s", what, luaL_typename(L, index));
  }
}

static bool is_listed(const char *name, const char *const *names)
{
  for(; *names; names++) {
    if(strcmp(name, *names) == 0) {
      return true;
    }
  }
  return false;
}

static void unknown_field(lua_State *L, const char *what, const char *name, const char *const *names)
{
  int before = lua_gettop(L);

  lua_pushfstring(L, "%s.%s: unknown field; one of: ", what, name);
  for(int i = 0; names[i]; i++) {
    luaL_checkstack(L, 4, "too many names");
    lua_pushfstring(L, i ? ", %s" : "%s", names[i]);
  }
  lua_concat(L, lua_gettop(L) - before);
  luaL_error(L, "%s", lua_tostring(L, -1));
}

void l_check_names(lua_State *L, int index, const char *what, const char *const *names)
{
  index = l_absindex(L, index);
  lua_pushnil(L);
  while(lua_next(L, index)) {
    if(lua_type(L, -2) != LUA_TSTRING) {
      luaL_error(L, "%s: has a %s as a field's name", what, luaL_typename(L, -2));
    }
    if(!is_listed(lua_tostring(L, -2), names)) {
      unknown_field(L, what, lua_tostring(L, -2), names);
    }
    lua_pop(L, 1);
  }
}

const char *l_field_text(lua_State *L, int index, const char *what, const char *name, size_t *len)
{
  const char *text = NULL;
  size_t size = 0;

  switch(push_raw(L, index, name)) {
  case LUA_TNIL:
    break;
  case LUA_TSTRING:
    text = lua_tolstring(L, -1, &size);
    if(memchr(text, '\0', size)) {
      luaL_error(L, "%s.%s: contains a NUL byte", what, name);
    }
    break;
  default:
    expected(L, what, name, "string");
  }
  lua_pop(L, 1);
  if(len) {
    *len = size;
  }
  return text;
}

const char *l_need_text(lua_State *L, int index, const char *what, const char *name, size_t *len)
{
  const char *text = l_field_text(L, index, what, name, len);

  if(!text) {
    luaL_error(L, "%s.%s: string expected, got nil", what, name);
  }
  return text;
}

bool l_field_bool(lua_State *L, int index, const char *what, const char *name, bool fallback)
{
  switch(push_raw(L, index, name)) {
  case LUA_TNIL:
    break;
  case LUA_TBOOLEAN:
    fallback = lua_toboolean(L, -1);
    break;
  default:
    expected(L, what, name, "boolean");
  }
  lua_pop(L, 1);
  return fallback;
}

double l_field_number(lua_State *L, int index, const char *what, const char *name, double fallback, double least)
{
  switch(push_raw(L, index, name)) {
  case LUA_TNIL:
    break;
  case LUA_TNUMBER:
    fallback = lua_tonumber(L, -1);
    if(!isfinite(fallback) || fallback < least || fallback > NUMBER_MAX) {
      luaL_error(L, "%s.%s: a number of %f or more expected", what, name, (lua_Number)least);
    }
    break;
  default:
    expected(L, what, name, "number");
  }
  lua_pop(L, 1);
  return fallback;
}

int64_t l_field_whole(lua_State *L, int index, const char *what, const char *name, int64_t fallback, int64_t least)
{
  double number = l_field_number(L, index, what, name, (double)fallback, -WHOLE_MAX);

  if(number != floor(number) || number < (double)least || number > WHOLE_MAX) {
    luaL_error(L, "%s.%s: a whole number of %d or more expected", what, name, (int)least);
  }
  return (int64_t)number;
}

int64_t l_field_seconds(lua_State *L, int index, const char *what, const char *name)
{
  double seconds = l_field_number(L, index, what, name, 0, 0);

  if(seconds > WHOLE_MAX / 1000) {
    luaL_error(L, "%s.%s: too many seconds", what, name);
  }
  return (int64_t)ceil(seconds * 1000);
}

bool l_field_table(lua_State *L, int index, const char *what, const char *name)
{
  switch(push_raw(L, index, name)) {
  case LUA_TNIL:
    lua_pop(L, 1);
    return false;
  case LUA_TTABLE:
    return true;
  default:
    expected(L, what, name, "table");
    return false;
  }
}

const char *l_arg_text(lua_State *L, int arg, size_t *len)
{
  const char *text;
  size_t size;

  luaL_checktype(L, arg, LUA_TSTRING);
  text = lua_tolstring(L, arg, &size);
  luaL_argcheck(L, !memchr(text, '\0', size), arg, "contains a NUL byte");
  if(len) {
    *len = size;
  }
  return text;
}

int64_t l_arg_whole(lua_State *L, int arg, int64_t least)
{
  double number = luaL_checknumber(L, arg);

  luaL_argcheck(L, number == floor(number) && number >= (double)least && number <= WHOLE_MAX, arg,
                "whole number expected");
  return (int64_t)number;
}
