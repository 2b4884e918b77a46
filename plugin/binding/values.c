/* values.c - Lua values to trees of the core and back.
 *
 * The tree belongs to the caller, who has it in a box. */
#include "values.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PUSH_DEPTH_MAX 190 /* C Lua functions may nest about 200 deep; parsers stop far earlier */

/* Where the reader is: a chain through the C stack, turned into text only when something is refused. */
struct path {
  const struct path *up;
  const char *name;  /* NULL in a list */
  size_t at;         /* position in a list, from 1 */
  int depth;
};

struct reader {
  lua_State *L;
  struct cr_tree *tree;
  struct cr_error *err;
  const char *const *lists;
  bool decoded;            /* from a JSON decoder, not from a caller */
};

static void write_path(const struct path *path, char *out, size_t size)
{
  size_t len;

  if(path->up) {
    write_path(path->up, out, size);
  }
  len = strlen(out);
  if(path->name) {
    snprintf(out + len, size - len, "%s%s", path->up ? "." : "", path->name);
  } else {
    snprintf(out + len, size - len, "[%lu]", (unsigned long)path->at);
  }
}

static int refuse(const struct reader *r, const struct path *path, const char *text, const char *type)
{
  char where[256] = "";

  write_path(path, where, sizeof where);
  return cr_fail(r->err, r->decoded ? CR_KIND_PARSE : CR_KIND_INPUT, r->decoded ? "InvalidAnswer" : "InvalidParameter",
                 "%s: %s%s", where, text, type ? type : "");
}

/* What could not be added had `size` bytes beside its node: the tree's limit, or malloc? */
static int no_room(const struct reader *r, const struct path *path, size_t size)
{
  if(size + 1024 > r->tree->max_bytes - r->tree->bytes) {
    return refuse(r, path, "too large", NULL);
  }
  return cr_fail_memory(r->err);
}

/* Digits that read back as the same number, '.' whatever the locale; whole numbers without exponent or fraction. */
static void write_number(lua_State *L, int index, char *out, size_t size)
{
  double number = lua_tonumber(L, index);
  char *comma;

#if LUA_VERSION_NUM >= 503
  if(lua_isinteger(L, index)) {
    snprintf(out, size, "%lld", (long long)lua_tointeger(L, index));
    return;
  }
#endif
  if(number == floor(number) && fabs(number) < 9223372036854775808.0) {
    snprintf(out, size, "%lld", (long long)number);
    return;
  }
  for(int digits = 15; digits <= 17; digits++) {
    snprintf(out, size, "%.*g", digits, number);
    if(strtod(out, NULL) == number) {
      break;
    }
  }
  comma = strchr(out, ',');
  if(comma) {
    *comma = '.';
  }
}

static int read_number(const struct reader *r, struct cr_node *parent, const struct path *path, int index)
{
  double number = lua_tonumber(r->L, index);
  struct cr_node *node;
  char digits[32];
  char *text;

  if(!isfinite(number)) {
    return refuse(r, path, "not a finite number", NULL);
  }
  write_number(r->L, index, digits, sizeof digits);
  text = cr_tree_text(r->tree, digits, strlen(digits));
  node = text ? cr_node_add(r->tree, parent, parent ? path->name : NULL, CR_NODE_NUMBER) : NULL;
  if(!node) {
    return no_room(r, path, 0);
  }
  node->text = text;
  node->len = strlen(digits);
  return 0;
}

static int read_text(const struct reader *r, struct cr_node *parent, const struct path *path, int index)
{
  size_t len;
  const char *text = lua_tolstring(r->L, index, &len); /* a string already: converts nothing */

  if(!r->decoded && memchr(text, '\0', len)) {
    return refuse(r, path, "contains a NUL byte", NULL);
  }
  return cr_add_textn(r->tree, parent, parent ? path->name : NULL, text, len) ? 0 : no_room(r, path, len);
}

static int read_value(const struct reader *r, struct cr_node *parent, const struct path *path, int index);

static int read_list(const struct reader *r, struct cr_node *list, const struct path *path, int table, size_t count)
{
  struct path here = {path, NULL, 0, path->depth + 1};

  for(size_t i = 1; i <= count; i++) {
    int result;
    here.at = i;
    lua_rawgeti(r->L, table, (int)i);
    if(lua_isnil(r->L, -1)) {
      lua_pop(r->L, 1);
      return refuse(r, &here, "a list may have no holes", NULL);
    }
    result = read_value(r, list, &here, lua_gettop(r->L));
    lua_pop(r->L, 1);
    if(result) {
      return result;
    }
  }
  return 0;
}

static int by_text(const void *a, const void *b)
{
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The key at `index`, which must be text; NULL: err is filled. */
static const char *key_text(const struct reader *r, const struct path *path, int index, size_t *len)
{
  const char *name;

  if(lua_type(r->L, index) != LUA_TSTRING) {
    refuse(r, path, "string keys expected, got one that is a ", luaL_typename(r->L, index));
    return NULL;
  }
  name = lua_tolstring(r->L, index, len);
  if(memchr(name, '\0', *len)) {
    refuse(r, path, "a key contains a NUL byte", NULL);
    return NULL;
  }
  return name;
}

/* The names of a map, sorted. Copies in memory of the tree: looking them up again may collect, and a finalizer
 * could change the table. NULL: err is filled. */
static const char **sorted_names(const struct reader *r, const struct path *path, int table, size_t count)
{
  const char **names = cr_tree_alloc(r->tree, count * sizeof *names);

  if(!names) {
    no_room(r, path, count * sizeof *names);
    return NULL;
  }
  lua_pushnil(r->L);
  for(size_t at = 0; at < count && lua_next(r->L, table); at++) {
    size_t len;
    const char *name;
    lua_pop(r->L, 1);
    name = key_text(r, path, lua_gettop(r->L), &len);
    if(!name) {
      return NULL;
    }
    names[at] = cr_tree_text(r->tree, name, len);
    if(!names[at]) {
      no_room(r, path, len);
      return NULL;
    }
  }
  qsort(names, count, sizeof *names, by_text);
  return names;
}

static int read_map(const struct reader *r, struct cr_node *map, const struct path *path, int table, size_t count)
{
  const char **names;
  int top = lua_gettop(r->L);

  if(count == 0) {
    return 0;
  }
  names = sorted_names(r, path, table, count);
  lua_settop(r->L, top);
  if(!names) {
    return -1;
  }
  for(size_t i = 0; i < count; i++) {
    struct path here = {path, names[i], 0, path->depth + 1};
    int result;
    lua_pushstring(r->L, names[i]);
    lua_rawget(r->L, table);
    result = read_value(r, map, &here, lua_gettop(r->L));
    lua_pop(r->L, 1);
    if(result) {
      return result;
    }
  }
  return 0;
}

/* An answer's map needs no order: one pass. */
static int read_object(const struct reader *r, struct cr_node *map, const struct path *path, int table)
{
  lua_pushnil(r->L);
  while(lua_next(r->L, table)) {
    struct path here = {path, NULL, 0, path->depth + 1};
    size_t len;
    int result = -1;
    here.name = key_text(r, path, lua_gettop(r->L) - 1, &len);
    if(here.name) {
      result = read_value(r, map, &here, lua_gettop(r->L));
    }
    if(result) {
      lua_pop(r->L, 2);
      return result;
    }
    lua_pop(r->L, 1);
  }
  return 0;
}

static bool is_list_name(const struct reader *r, const char *name)
{
  for(const char *const *list = r->lists; list && name && *list; list++) {
    if(strcmp(*list, name) == 0) {
      return true;
    }
  }
  return false;
}

/* A list has a first element, or is empty and known to be one; everything else is a map. */
static int read_table(const struct reader *r, struct cr_node *parent, const struct path *path, int table)
{
  size_t count = 0, length = l_rawlen(r->L, table);
  struct cr_node *node;
  bool list;

  if(path->depth >= L_DEPTH_MAX || !lua_checkstack(r->L, 8)) {
    return refuse(r, path, "nested too deep", NULL);
  }
  lua_pushnil(r->L);
  while(lua_next(r->L, table)) {
    lua_pop(r->L, 1);
    count++;
  }
  lua_rawgeti(r->L, table, 1);
  list = !lua_isnil(r->L, -1) || (count == 0 && is_list_name(r, path->name));
  lua_pop(r->L, 1);
  if(list && length != count) {
    return refuse(r, path, "a list may have no holes and no named fields", NULL);
  }
  node = cr_node_add(r->tree, parent, parent ? path->name : NULL, list ? CR_NODE_LIST : CR_NODE_MAP);
  if(!node) {
    return no_room(r, path, 0);
  }
  if(list) {
    return read_list(r, node, path, table, count);
  }
  return r->decoded ? read_object(r, node, path, table) : read_map(r, node, path, table, count);
}

static int read_value(const struct reader *r, struct cr_node *parent, const struct path *path, int index)
{
  const char *name = parent ? path->name : NULL;

  switch(lua_type(r->L, index)) {
  case LUA_TSTRING:
    return read_text(r, parent, path, index);
  case LUA_TNUMBER:
    return read_number(r, parent, path, index);
  case LUA_TBOOLEAN:
    return cr_add_bool(r->tree, parent, name, lua_toboolean(r->L, index)) ? 0 : no_room(r, path, 0);
  case LUA_TTABLE:
    return read_table(r, parent, path, index);
  case LUA_TLIGHTUSERDATA:
  case LUA_TUSERDATA:
    if(r->decoded) {
      return cr_node_add(r->tree, parent, name, CR_NODE_NULL) ? 0 : no_room(r, path, 0);
    }
    break;
  default:
    break;
  }
  return refuse(r, path, "string expected, got ", luaL_typename(r->L, index));
}

int l_read_params(lua_State *L, int index, const char *what, const char *const *lists, struct cr_tree *tree,
                  struct cr_error *err)
{
  struct reader r = {L, tree, err, lists, false};
  struct path top = {NULL, what, 0, 0};

  return read_table(&r, NULL, &top, l_absindex(L, index));
}

int l_read_decoded(lua_State *L, int index, struct cr_tree *tree, struct cr_error *err)
{
  struct reader r = {L, tree, err, NULL, true};
  struct path top = {NULL, "answer", 0, 0};

  return read_value(&r, NULL, &top, l_absindex(L, index));
}

static void push_number(lua_State *L, const struct cr_node *node)
{
  const char *c = node->text;
  double whole = 0;
  struct cr_node alone = *node, map = {.type = CR_NODE_MAP};

  /* Almost every number is a short row of digits. */
  if(node->len && node->len <= 15) {
    for(; *c >= '0' && *c <= '9'; c++) {
      whole = whole * 10 + (*c - '0');
    }
    if(*c == '\0') {
      l_pushwhole(L, whole);
      return;
    }
  }
  alone.name = "";
  alone.next = NULL;
  map.first = &alone;
  whole = cr_get_number(&map, "", 0);
  if(whole == floor(whole)) {
    l_pushwhole(L, whole);
  } else {
    lua_pushnumber(L, whole);
  }
}

/* Whether an earlier child has the same name. Maps of answers are small: comparing beats looking up in Lua. */
static bool is_repeated(const struct cr_node *first, const struct cr_node *child)
{
  for(; first != child; first = first->next) {
    if(first->name && first->name[0] == child->name[0] && strcmp(first->name, child->name) == 0) {
      return true;
    }
  }
  return false;
}

static void push_node(lua_State *L, const struct cr_node *node, int depth);

static void push_map(lua_State *L, const struct cr_node *map, int depth)
{
  lua_createtable(L, 0, map->count < 65536 ? (int)map->count : 65536);
  for(const struct cr_node *child = map->first; child; child = child->next) {
    if(!child->name || child->type == CR_NODE_NULL) {
      continue;
    }
    if(map->count <= 32) {
      if(is_repeated(map->first, child)) {
        continue;
      }
      lua_pushstring(L, child->name);
    } else {
      bool known;
      lua_pushstring(L, child->name);
      lua_pushvalue(L, -1);
      lua_rawget(L, -3);
      known = !lua_isnil(L, -1);
      lua_pop(L, 1);
      if(known) {
        lua_pop(L, 1);
        continue;
      }
    }
    push_node(L, child, depth + 1);
    lua_rawset(L, -3);
  }
}

static void push_list(lua_State *L, const struct cr_node *list, int depth)
{
  int at = 0;

  lua_createtable(L, list->count < 65536 ? (int)list->count : 65536, 0);
  for(const struct cr_node *child = list->first; child; child = child->next) {
    if(child->type != CR_NODE_NULL) {
      push_node(L, child, depth + 1);
      lua_rawseti(L, -2, ++at);
    }
  }
}

static void push_node(lua_State *L, const struct cr_node *node, int depth)
{
  if(depth > PUSH_DEPTH_MAX) {
    luaL_error(L, "the answer is nested too deep");
  }
  luaL_checkstack(L, 8, "the answer is nested too deep");
  switch(node->type) {
  case CR_NODE_NULL:
    lua_pushnil(L);
    break;
  case CR_NODE_BOOL:
    lua_pushboolean(L, node->truth);
    break;
  case CR_NODE_NUMBER:
    push_number(L, node);
    break;
  case CR_NODE_TEXT:
    lua_pushlstring(L, node->text, node->len);
    break;
  case CR_NODE_LIST:
    push_list(L, node, depth);
    break;
  case CR_NODE_MAP:
    push_map(L, node, depth);
    break;
  }
}

void l_push_node(lua_State *L, const struct cr_node *node)
{
  if(node) {
    push_node(L, node, 0);
  } else {
    lua_pushnil(L);
  }
}
