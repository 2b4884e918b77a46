/* l_certificate.c - what a certificate says, and the certificate a distribution's configuration names. */
#include "box.h"
#include "error.h"
#include "fields.h"
#include "module.h"
#include "viewer_certificate.h"

#include <string.h>

/* A configuration is about 1 MB at most; what an edit may grow to. */
#define CONFIG_MAX ((size_t)64 << 20)
#define NAME_MAX_LEN 253

static void set_text(lua_State *L, const char *name, const char *text)
{
  lua_pushstring(L, text ? text : "");
  lua_setfield(L, -2, name);
}

/* The words of a text as a list; nothing where there is no text. */
static void set_words(lua_State *L, const char *name, const char *text)
{
  if(!text) {
    return;
  }
  lua_newtable(L);
  for(int i = 1; *text; i++) {
    size_t len = strcspn(text, " ");
    lua_pushlstring(L, text, len);
    lua_rawseti(L, -2, i);
    text += len + (text[len] == ' ');
  }
  lua_setfield(L, -2, name);
}

void l_push_certificate(lua_State *L, const struct cr_certificate *certificate)
{
  lua_createtable(L, 0, 12);
  set_text(L, "fingerprint", certificate->fingerprint);
  set_text(L, "subject", certificate->subject);
  set_text(L, "issuer", certificate->issuer);
  set_text(L, "serial", certificate->serial);
  l_pushwhole(L, (double)certificate->not_before);
  lua_setfield(L, -2, "not_before");
  l_pushwhole(L, (double)certificate->not_after);
  lua_setfield(L, -2, "not_after");
  set_text(L, "key_type", certificate->key_type);
  set_text(L, "signature_algorithm", certificate->signature_algorithm);
  lua_pushboolean(L, certificate->self_signed);
  lua_setfield(L, -2, "self_signed");
  lua_createtable(L, (int)certificate->name_count, 0);
  for(size_t i = 0; i < certificate->name_count; i++) {
    lua_pushstring(L, certificate->names[i]);
    lua_rawseti(L, -2, (int)i + 1);
  }
  lua_setfield(L, -2, "names");
  set_words(L, "key_usages", certificate->key_usages);
  set_words(L, "extended_key_usages", certificate->extended_key_usages);
}

static void free_certificate(void *payload)
{
  cr_certificate_free(payload);
}

/* core.certificate(pem) -> info | nil, err */
static int l_certificate(lua_State *L)
{
  struct cr_certificate *certificate;
  struct cr_error err;
  const char *text;
  size_t len;

  luaL_checktype(L, 1, LUA_TSTRING);
  text = lua_tolstring(L, 1, &len); /* DER may hold NUL bytes */
  certificate = l_box_new(L, sizeof *certificate, free_certificate);
  if(cr_certificate_parse(text, len, certificate, &err) != 0) {
    return l_fail(L, &err);
  }
  l_push_certificate(L, certificate);
  l_box_release(certificate);
  return 1;
}

/* Lower case, ASCII; false for what is no DNS name by its length or a NUL byte. */
static bool lower_name(lua_State *L, int index, char out[NAME_MAX_LEN + 1])
{
  size_t len;
  const char *text = lua_tolstring(L, index, &len);

  if(len > NAME_MAX_LEN || memchr(text, '\0', len)) {
    return false;
  }
  for(size_t i = 0; i <= len; i++) {
    out[i] = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] + ('a' - 'A')) : text[i];
  }
  return true;
}

/* core.covers(name or names, alias) -> boolean */
static int l_covers(lua_State *L)
{
  char name[NAME_MAX_LEN + 1], alias[NAME_MAX_LEN + 1];
  bool covered = false, fits;

  luaL_checktype(L, 2, LUA_TSTRING);
  lua_settop(L, 2);
  fits = lower_name(L, 2, alias);
  if(lua_type(L, 1) == LUA_TSTRING) {
    covered = fits && lower_name(L, 1, name) && cr_name_covers(name, alias);
  } else {
    size_t count;
    luaL_checktype(L, 1, LUA_TTABLE);
    count = l_rawlen(L, 1);
    for(size_t i = 1; i <= count; i++) {
      lua_rawgeti(L, 1, (int)i);
      if(lua_type(L, -1) != LUA_TSTRING) {
        return luaL_error(L, "names[%d]: string expected, got %s", (int)i, luaL_typename(L, -1));
      }
      covered = covered || (fits && lower_name(L, -1, name) && cr_name_covers(name, alias));
      lua_pop(L, 1);
    }
  }
  lua_pushboolean(L, covered);
  return 1;
}

/* core.viewer_certificate(config) -> what it names | nil, err */
static int l_viewer_certificate(lua_State *L)
{
  struct cr_viewer_certificate found;
  struct cr_error err;
  const char *config;
  size_t len;

  luaL_checktype(L, 1, LUA_TSTRING);
  config = lua_tolstring(L, 1, &len);
  if(cr_viewer_certificate_read(config, len, &found, &err) != 0) {
    return l_fail(L, &err);
  }
  lua_createtable(L, 0, 8);
  set_text(L, "reference", found.reference);
  if(found.store != CR_STORE_NONE) {
    set_text(L, "store", found.store == CR_STORE_ACM ? "acm" : "iam");
  }
  lua_pushboolean(L, found.default_certificate);
  lua_setfield(L, -2, "default_certificate");
  lua_pushboolean(L, found.disagree);
  lua_setfield(L, -2, "disagree");
  set_text(L, "SSLSupportMethod", found.ssl_support_method);
  set_text(L, "MinimumProtocolVersion", found.minimum_protocol_version);
  l_pushwhole(L, (double)found.begin + 1);
  lua_setfield(L, -2, "first");
  l_pushwhole(L, (double)found.end);
  lua_setfield(L, -2, "last");
  return 1;
}

static void free_buf(void *payload)
{
  cr_buf_free(payload);
}

/* core.swap_viewer_certificate(config, from, to) -> config | nil (nothing to do) | nil, err */
static int l_swap_viewer_certificate(lua_State *L)
{
  const char *config, *from, *to;
  enum cr_names names = CR_NAMES_OTHER;
  struct cr_error err;
  struct cr_buf *out;
  size_t len;

  luaL_checktype(L, 1, LUA_TSTRING);
  config = lua_tolstring(L, 1, &len);
  from = l_arg_text(L, 2, NULL);
  to = l_arg_text(L, 3, NULL);
  lua_settop(L, 3);
  out = l_box_new(L, sizeof *out, free_buf);
  cr_buf_init(out, CONFIG_MAX);
  if(cr_viewer_certificate_swap(config, len, from, to, out, &names, &err) != 0) {
    return l_fail(L, &err);
  }
  if(names == CR_NAMES_OTHER) {
    cr_fail(&err, CR_KIND_CONFLICT, "ForeignCertificate",
            "the configuration names neither the old nor the new certificate: somebody else decided; look at it "
            "by hand");
    return l_fail(L, &err);
  }
  if(names == CR_NAMES_NEW) {
    lua_pushnil(L);
    return 1;
  }
  lua_pushlstring(L, cr_buf_str(out), out->len);
  l_box_release(out);
  return 1;
}

static const struct luaL_Reg core_functions[] = {
  {"certificate", l_certificate},
  {"covers", l_covers},
  {"viewer_certificate", l_viewer_certificate},
  {"swap_viewer_certificate", l_swap_viewer_certificate},
  {NULL, NULL}
};

void l_open_certificate(lua_State *L)
{
  l_setfuncs(L, core_functions, 0);
}
