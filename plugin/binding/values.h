/* values.h - Lua values to trees of the core and back.
 *
 * Reading uses raw access and allocates nothing of Lua's, so no Lua code runs in between. Writing may raise
 * on lack of memory: whatever owns the tree must be in a box. */
#ifndef CR_BINDING_VALUES_H
#define CR_BINDING_VALUES_H

#include "compat.h"
#include "node.h"

#define L_PARAMS_MAX ((size_t)32 << 20)  /* bytes of a tree made from parameters */
#define L_DEPTH_MAX 64                   /* tables inside tables, in what is read */

/* Makes the table at `index` the tree's root. `what` begins the path in refusals ("params.Tags[1].Key: string
 * expected, got function"); `lists` (NULL-terminated, may be NULL) names fields whose empty table is a list.
 * Keys are sorted: equal tables make equal trees. 0; -1 with kind INPUT for what Lua gave and must be raised, or
 * MEMORY. */
int l_read_params(lua_State *L, int index, const char *what, const char *const *lists, struct cr_tree *tree,
                  struct cr_error *err);
/* The same for what a JSON decoder returned, which may be any value: null is any light userdata (lua-cjson)
 * or userdata (vim.NIL), texts may contain anything, order does not matter. Kind PARSE instead of INPUT. */
int l_read_decoded(lua_State *L, int index, struct cr_tree *tree, struct cr_error *err);

/* Pushes one node: maps and lists as tables (the first of a repeated name counts), numbers as integers where Lua has
 * them, nothing for null nodes inside. NULL or a null node pushes nil. */
void l_push_node(lua_State *L, const struct cr_node *node);

#endif
