/* error.h - struct cr_error as the value Lua sees, certrotate.Error. */
#ifndef CR_BINDING_ERROR_H
#define CR_BINDING_ERROR_H

#include "base.h"
#include "compat.h"

#define L_ERROR_TYPE "certrotate.Error"

/* Pushes the error as a table. May raise on lack of memory. */
void l_push_error(lua_State *L, const struct cr_error *err);
/* `return l_fail(L, &err);` pushes nil and the error. Free or box what C owns before. */
int l_fail(lua_State *L, const struct cr_error *err);
/* Misuse: raises the message of `err` as a string, with the caller's position. Does not return. */
int l_raise(lua_State *L, const struct cr_error *err);

/* Adds error_metatable to the module table on the top. */
void l_open_error(lua_State *L);

#endif
