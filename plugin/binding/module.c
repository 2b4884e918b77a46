/* module.c - luaopen_certrotate_core: checks the libraries it meets, then puts the parts together.
 *
 * May include lua.h. No I/O beyond loading a JSON decoder; no state but what the module table's functions hold. */
#include "module.h"
#include "base.h"
#include "box.h"
#include "error.h"

#include <curl/curl.h>
#include <openssl/crypto.h>
#include <openssl/opensslv.h>

#include <stdio.h>
#include <string.h>

/* Threads of several hosts may load the module at once, and libcurl's global initialisation is safe for that
 * only from here on. */
#define CURL_LEAST 0x075400

/* Two OpenSSLs in one process crash it later, in places that explain nothing: refused here, with the cause. */
static void check_openssl(lua_State *L)
{
  unsigned built = (unsigned)(OPENSSL_VERSION_NUMBER >> 28), found = (unsigned)(OpenSSL_version_num() >> 28);

  if(built != found) {
    luaL_error(L, "certrotate.core was built for OpenSSL %d and this process has %s: build it with the OpenSSL that "
                  "the host program uses", (int)built, OpenSSL_version(OPENSSL_VERSION));
  }
}

static void check_curl(lua_State *L)
{
  const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);
  const char *tls = info->ssl_version ? info->ssl_version : "no TLS";
  char wanted[32];

  if(info->version_num < CURL_LEAST) {
    luaL_error(L, "certrotate.core needs libcurl 7.84 or later and this process has %s", info->version);
  }
  if(!(info->features & CURL_VERSION_THREADSAFE)) {
    luaL_error(L, "certrotate.core needs a libcurl whose initialisation is thread-safe; %s was built without",
               info->version);
  }
  /* With several backends the active one has no parentheses around it. */
  snprintf(wanted, sizeof wanted, "OpenSSL/%u.", (unsigned)(OPENSSL_VERSION_NUMBER >> 28));
  for(const char *at = strstr(tls, wanted); at; at = strstr(at + 1, wanted)) {
    if(at == tls || at[-1] == ' ') {
      return;
    }
  }
  luaL_error(L, "certrotate.core needs libcurl with OpenSSL %d and this process has libcurl %s with %s: install the "
                "OpenSSL flavour of libcurl", (int)(OPENSSL_VERSION_NUMBER >> 28), info->version, tls);
}

__attribute__((visibility("default"))) int luaopen_certrotate_core(lua_State *L);

int luaopen_certrotate_core(lua_State *L)
{
  check_openssl(L);
  check_curl(L);
  l_open_box(L);
  lua_createtable(L, 0, 24);
  lua_pushliteral(L, CR_VERSION);
  lua_setfield(L, -2, "VERSION");
  l_open_error(L);
  l_open_sign(L);
  l_open_identity(L);
  l_open_certificate(L);
  l_open_client(L);
  l_open_file(L);
  l_open_signals(L);
  l_open_system(L);
  return 1;
}
