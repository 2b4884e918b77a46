/* box.c - memory that Lua owns before it is filled, and the userdata types. */
#include "box.h"
#include "base.h"

#include <string.h>

#define BOX_TYPE "certrotate.box"

struct box {
  void (*release)(void *payload);
  size_t size;
  /* Payload follows, aligned for anything the core keeps in one. */
};

#define PAYLOAD ((sizeof(struct box) + 15) / 16 * 16)

void *l_box_new(lua_State *L, size_t size, void (*release)(void *payload))
{
  struct box *box = l_newuserdata(L, PAYLOAD + size);
  void *payload = (char *)box + PAYLOAD;

  memset(box, 0, PAYLOAD + size);
  box->size = size;
  luaL_getmetatable(L, BOX_TYPE);
  lua_setmetatable(L, -2);
  box->release = release;
  return payload;
}

void *l_box_at(lua_State *L, int index)
{
  return (char *)lua_touserdata(L, index) + PAYLOAD;
}

void l_box_release(void *payload)
{
  struct box *box = (struct box *)(void *)((char *)payload - PAYLOAD);
  void (*release)(void *) = box->release;

  if(release) {
    box->release = NULL;
    release(payload);
    cr_wipe(payload, box->size);
  }
}

static int l_box_gc(lua_State *L)
{
  struct box *box = luaL_checkudata(L, 1, BOX_TYPE);
  l_box_release((char *)box + PAYLOAD);
  return 0;
}

void l_type_new(lua_State *L, const char *name, const struct luaL_Reg *methods, const struct luaL_Reg *metamethods,
                int upvalues)
{
  int first = lua_gettop(L) - upvalues + 1;

  luaL_getmetatable(L, name);
  if(!lua_isnil(L, -1)) {
    const char *version;
    lua_getfield(L, -1, "__version");
    version = lua_tostring(L, -1);
    if(!version || strcmp(version, CR_VERSION) != 0) {
      luaL_error(L, "another certrotate.core (%s) is loaded in this Lua state: use one version, this is %s",
                 version ? version : "version unknown", CR_VERSION);
    }
    lua_settop(L, first - 1);
    return;
  }
  lua_newtable(L);
  for(int i = 0; i < upvalues; i++) {
    lua_pushvalue(L, first + i);
  }
  l_setfuncs(L, metamethods, upvalues);
  lua_newtable(L);
  for(int i = 0; i < upvalues; i++) {
    lua_pushvalue(L, first + i);
  }
  l_setfuncs(L, methods, upvalues);
  lua_setfield(L, -2, "__index");
  lua_pushstring(L, name);
  lua_setfield(L, -2, "__name");
  lua_pushliteral(L, CR_VERSION);
  lua_setfield(L, -2, "__version");
  lua_setfield(L, LUA_REGISTRYINDEX, name); /* last: nobody ever sees half a metatable */
  lua_settop(L, first - 1);
}

void *l_object_new(lua_State *L, size_t size, const char *type)
{
  void *object = l_newuserdata(L, size);

  memset(object, 0, size);
  luaL_getmetatable(L, type);
  lua_setmetatable(L, -2);
  return object;
}

void *l_object_test(lua_State *L, int index, const char *type)
{
  void *object = lua_touserdata(L, index);
  bool same;

  if(!object || !lua_getmetatable(L, index)) {
    return NULL;
  }
  luaL_getmetatable(L, type);
  same = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return same ? object : NULL;
}

void l_open_box(lua_State *L)
{
  static const struct luaL_Reg methods[] = {{NULL, NULL}};
  static const struct luaL_Reg metamethods[] = {{"__gc", l_box_gc}, {NULL, NULL}};
  l_type_new(L, BOX_TYPE, methods, metamethods, 0);
}
