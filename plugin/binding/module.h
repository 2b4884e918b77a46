/* module.h - the parts of certrotate.core: each adds its functions to the module table on the top of the stack
 * and registers its types. Calling one again in the same Lua state is harmless. */
#ifndef CR_BINDING_MODULE_H
#define CR_BINDING_MODULE_H

#include "compat.h"
#include "identity.h"

#define L_IDENTITY_TYPE "certrotate.Identity"
#define L_CLIENT_TYPE "certrotate.Client"
#define L_FILE_TYPE "certrotate.File"
#define L_SIGNALS_TYPE "certrotate.Signals"

void l_open_sign(lua_State *L);
void l_open_identity(lua_State *L);
void l_open_certificate(lua_State *L);
void l_open_client(lua_State *L);
void l_open_file(lua_State *L);
void l_open_signals(lua_State *L);
void l_open_system(lua_State *L);

/* Pushes the JSON decoder there is, or false. Loads lua-cjson. */
void l_push_decoder(lua_State *L);

/* The core's identity behind the userdata at `index`; NULL when it is something else. Raises when it was closed.
 * Borrowed: whoever keeps it takes a reference. */
struct cr_identity *l_identity_test(lua_State *L, int index);
/* Pushes certrotate.CertificateInfo. */
void l_push_certificate(lua_State *L, const struct cr_certificate *certificate);

#endif
