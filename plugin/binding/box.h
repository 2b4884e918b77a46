/* box.h - memory that Lua owns before it is filled, and the userdata types.
 *
 * Any push may raise on lack of memory and jump over the C function. So whatever a binding function
 * allocates goes into a box on the stack first; the collector releases what a raised error left. */
#ifndef CR_BINDING_BOX_H
#define CR_BINDING_BOX_H

#include "compat.h"

/* Pushes a userdata and returns its payload of `size` zeroed bytes. `release` is called once, with the payload:
 * by l_box_release, or by the collector. It must accept a payload that is still all zero. */
void *l_box_new(lua_State *L, size_t size, void (*release)(void *payload));
/* The payload of the box at `index`, which must be one. */
void *l_box_at(lua_State *L, int index);
/* Releases now what the collector would release later. The payload is zero afterwards and not released again. */
void l_box_release(void *payload);

/* Makes the metatable `name` ("certrotate.Client"): methods in an __index table of their own, metamethods beside it.
 * The top `upvalues` values are shared by all of them and popped. Raises when another version of the module
 * has registered the name in this Lua state. Leaves nothing on the stack. */
void l_type_new(lua_State *L, const char *name, const struct luaL_Reg *methods, const struct luaL_Reg *metamethods,
                int upvalues);
/* Pushes a zeroed userdata of the type, its metatable attached: __gc must accept zeroes. */
void *l_object_new(lua_State *L, size_t size, const char *type);
/* The userdata at `index` when it is of the type, else NULL. Raises nothing. */
void *l_object_test(lua_State *L, int index, const char *type);

void l_open_box(lua_State *L);

#endif
