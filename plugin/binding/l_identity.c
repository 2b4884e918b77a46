/* l_identity.c - certrotate.Identity: a certificate, its chain and its private key, of which Lua sees all but the key.
 *
 * The userdata holds one reference; requests in flight hold their own, so closing it takes the key from nobody. */
#include "box.h"
#include "error.h"
#include "fields.h"
#include "module.h"
#include "values.h"

#include <string.h>

struct l_identity {
  struct cr_identity *identity;  /* NULL: closed */
};

static struct cr_identity *open_identity(lua_State *L, const struct l_identity *self)
{
  if(!self->identity) {
    luaL_error(L, "identity is closed");
  }
  return self->identity;
}

static struct cr_identity *check_identity(lua_State *L)
{
  return open_identity(L, luaL_checkudata(L, 1, L_IDENTITY_TYPE));
}

static void free_hold(void *payload)
{
  struct l_identity *hold = payload;
  cr_identity_unref(hold->identity);
}

/* A reference of the method's own, in a box on the stack: what it pushes may collect, and a finalizer may close the
 * very identity that is being read. */
static struct l_identity *hold_identity(lua_State *L)
{
  struct l_identity *hold;

  check_identity(L);
  hold = l_box_new(L, sizeof *hold, free_hold);
  hold->identity = cr_identity_ref(check_identity(L));
  return hold;
}

struct cr_identity *l_identity_test(lua_State *L, int index)
{
  struct l_identity *self = l_object_test(L, index, L_IDENTITY_TYPE);
  return self ? open_identity(L, self) : NULL;
}

/* core.identity(options) -> identity | nil, err */
static int l_identity(lua_State *L)
{
  static const char *const names[] = {"certificate", "private_key", "chain", "passphrase", NULL};
  struct cr_identity_source source;
  struct l_identity *self;
  struct cr_error err;

  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  l_check_names(L, 1, "options", names);
  self = l_object_new(L, sizeof *self, L_IDENTITY_TYPE);
  memset(&source, 0, sizeof source);
  source.certificate = l_need_text(L, 1, "options", "certificate", NULL);
  source.private_key = l_field_text(L, 1, "options", "private_key", NULL);
  source.chain = l_field_text(L, 1, "options", "chain", NULL);
  source.passphrase = l_field_text(L, 1, "options", "passphrase", NULL);
  self->identity = cr_identity_load(&source, &err);
  return self->identity ? 1 : l_fail(L, &err);
}

static int l_identity_leaf(lua_State *L)
{
  struct l_identity *hold = hold_identity(L);

  l_push_certificate(L, cr_identity_leaf(hold->identity));
  l_box_release(hold);
  return 1;
}

static int l_identity_chain(lua_State *L)
{
  struct l_identity *hold = hold_identity(L);
  const struct cr_identity *identity = hold->identity;
  size_t count = cr_identity_chain_count(identity);

  lua_createtable(L, (int)count, 0);
  for(size_t i = 0; i < count; i++) {
    l_push_certificate(L, cr_identity_chain_at(identity, i));
    lua_rawseti(L, -2, (int)i + 1);
  }
  l_box_release(hold);
  return 1;
}

static int l_identity_fingerprint(lua_State *L)
{
  struct l_identity *hold = hold_identity(L);

  lua_pushstring(L, cr_identity_leaf(hold->identity)->fingerprint);
  l_box_release(hold);
  return 1;
}

static int l_identity_certificate_pem(lua_State *L)
{
  struct l_identity *hold = hold_identity(L);

  lua_pushstring(L, cr_identity_certificate_pem(hold->identity));
  l_box_release(hold);
  return 1;
}

static int l_identity_chain_pem(lua_State *L)
{
  struct l_identity *hold = hold_identity(L);

  lua_pushstring(L, cr_identity_chain_pem(hold->identity));
  l_box_release(hold);
  return 1;
}

static int l_identity_covers(lua_State *L)
{
  const struct cr_certificate *leaf = cr_identity_leaf(check_identity(L));
  char alias[256];
  size_t len;
  const char *text = l_arg_text(L, 2, &len);

  /* No DNS name is longer than 253 bytes. */
  if(len >= sizeof alias) {
    lua_pushboolean(L, 0);
    return 1;
  }
  for(size_t i = 0; i <= len; i++) {
    alias[i] = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] + ('a' - 'A')) : text[i];
  }
  lua_pushboolean(L, cr_certificate_covers(leaf, alias));
  return 1;
}

static void free_tree(void *payload)
{
  cr_tree_free(payload);
}

/* identity:check(options) -> findings | nil, err */
static int l_identity_check(lua_State *L)
{
  static const char *const names[] = {"store", "now", "trust", "roots", NULL};
  const char *store, *trust;
  struct l_identity *hold;
  struct cr_tree *tree;
  struct cr_error err;
  int64_t now;
  bool roots;

  check_identity(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  hold = hold_identity(L);
  l_check_names(L, 2, "options", names);
  tree = l_box_new(L, sizeof *tree, free_tree);
  cr_tree_init(tree, L_PARAMS_MAX);
  store = l_need_text(L, 2, "options", "store", NULL);
  if(strcmp(store, "acm") != 0 && strcmp(store, "iam") != 0) {
    return luaL_error(L, "options.store: \"acm\" or \"iam\" expected, got \"%s\"", store);
  }
  now = (int64_t)l_field_number(L, 2, "options", "now", -1, 0);
  if(now < 0) {
    return luaL_error(L, "options.now: number expected, got nil");
  }
  trust = l_field_text(L, 2, "options", "trust", NULL);
  roots = l_field_bool(L, 2, "options", "roots", true);
  if(!cr_node_add(tree, NULL, NULL, CR_NODE_LIST)) {
    cr_fail_memory(&err);
    return l_fail(L, &err);
  }
  if(cr_identity_check(hold->identity, store, now, trust, roots, tree, tree->root, &err) != 0) {
    return l_fail(L, &err);
  }
  l_box_release(hold);
  l_push_node(L, tree->root);
  l_box_release(tree);
  return 1;
}

static int l_identity_close(lua_State *L)
{
  struct l_identity *self = luaL_checkudata(L, 1, L_IDENTITY_TYPE);
  struct cr_identity *identity = self->identity;

  self->identity = NULL;
  if(identity) {
    cr_identity_unref(identity);
  }
  return 0;
}

static int l_identity_tostring(lua_State *L)
{
  const struct l_identity *self = luaL_checkudata(L, 1, L_IDENTITY_TYPE);

  if(self->identity) {
    struct l_identity *hold = hold_identity(L);
    const struct cr_certificate *leaf = cr_identity_leaf(hold->identity);
    lua_pushfstring(L, L_IDENTITY_TYPE " (%s, sha256 %s)", leaf->subject, leaf->fingerprint);
    l_box_release(hold);
  } else {
    lua_pushliteral(L, L_IDENTITY_TYPE " (closed)");
  }
  return 1;
}

static const struct luaL_Reg core_functions[] = {
  {"identity", l_identity},
  {NULL, NULL}
};

static const struct luaL_Reg identity_methods[] = {
  {"leaf", l_identity_leaf},
  {"chain", l_identity_chain},
  {"fingerprint", l_identity_fingerprint},
  {"certificate_pem", l_identity_certificate_pem},
  {"chain_pem", l_identity_chain_pem},
  {"covers", l_identity_covers},
  {"check", l_identity_check},
  {"close", l_identity_close},
  {NULL, NULL}
};

static const struct luaL_Reg identity_metamethods[] = {
  {"__gc", l_identity_close},
  {"__close", l_identity_close},
  {"__tostring", l_identity_tostring},
  {NULL, NULL}
};

void l_open_identity(lua_State *L)
{
  l_type_new(L, L_IDENTITY_TYPE, identity_methods, identity_metamethods, 0);
  l_setfuncs(L, core_functions, 0);
}
