/* fields.h - reading the fields of option tables: raw, typed, and refused by name.
 *
 * `what` is the argument's name in what is raised: "options.ca_file: string expected, got table". Texts stay
 * anchored by the table they were read from: copy them before anything of Lua runs again. */
#ifndef CR_BINDING_FIELDS_H
#define CR_BINDING_FIELDS_H

#include "compat.h"

#include <stdint.h>

/* Raises unless the value at `index` is a table. */
void l_need_table(lua_State *L, int index, const char *what);
/* Raises when the table has a field that is not in `names` (NULL-terminated): a misspelt option is not ignored. */
void l_check_names(lua_State *L, int index, const char *what, const char *const *names);

/* NULL when absent. A text with a NUL byte inside is refused. `len` may be NULL. */
const char *l_field_text(lua_State *L, int index, const char *what, const char *name, size_t *len);
const char *l_need_text(lua_State *L, int index, const char *what, const char *name, size_t *len);
bool l_field_bool(lua_State *L, int index, const char *what, const char *name, bool fallback);
/* Finite numbers from `least` up. */
double l_field_number(lua_State *L, int index, const char *what, const char *name, double fallback, double least);
/* Whole numbers from `least` to 2^53. */
int64_t l_field_whole(lua_State *L, int index, const char *what, const char *name, int64_t fallback, int64_t least);
/* Seconds as milliseconds, rounded up: a positive time never becomes 0. */
int64_t l_field_seconds(lua_State *L, int index, const char *what, const char *name);
/* Pushes the table and returns true, or pushes nothing and returns false when absent. */
bool l_field_table(lua_State *L, int index, const char *what, const char *name);

/* The same for a positional argument: text without NUL bytes. */
const char *l_arg_text(lua_State *L, int arg, size_t *len);
/* Raises unless the number is whole and at least `least`; Lua's own luaL_checkinteger cuts fractions off on 5.1. */
int64_t l_arg_whole(lua_State *L, int arg, int64_t least);

#endif
