/* l_signals.c - certrotate.Signals: SIGINT and SIGTERM as something to read. */
#include "box.h"
#include "error.h"
#include "module.h"
#include "signals.h"

struct l_signals {
  struct cr_signals *signals;  /* NULL: closed */
};

static struct cr_signals *check_signals(lua_State *L)
{
  const struct l_signals *self = luaL_checkudata(L, 1, L_SIGNALS_TYPE);

  if(!self->signals) {
    luaL_error(L, "signals are closed");
  }
  return self->signals;
}

/* core.signals() -> signals | nil, err */
static int l_signals(lua_State *L)
{
  struct l_signals *self = l_object_new(L, sizeof *self, L_SIGNALS_TYPE);
  struct cr_error err;

  self->signals = cr_signals_open(&err);
  return self->signals ? 1 : l_fail(L, &err);
}

static int l_signals_fd(lua_State *L)
{
  lua_pushinteger(L, cr_signals_fd(check_signals(L)));
  return 1;
}

static int l_signals_take(lua_State *L)
{
  const char *name = cr_signals_take(check_signals(L));

  if(name) {
    lua_pushstring(L, name);
  } else {
    lua_pushnil(L);
  }
  return 1;
}

static int l_signals_close(lua_State *L)
{
  struct l_signals *self = luaL_checkudata(L, 1, L_SIGNALS_TYPE);
  struct cr_signals *signals = self->signals;

  self->signals = NULL;
  cr_signals_close(signals);
  return 0;
}

static const struct luaL_Reg core_functions[] = {
  {"signals", l_signals},
  {NULL, NULL}
};

static const struct luaL_Reg signals_methods[] = {
  {"fd", l_signals_fd},
  {"take", l_signals_take},
  {"close", l_signals_close},
  {NULL, NULL}
};

static const struct luaL_Reg signals_metamethods[] = {
  {"__gc", l_signals_close},
  {"__close", l_signals_close},
  {NULL, NULL}
};

void l_open_signals(lua_State *L)
{
  l_type_new(L, L_SIGNALS_TYPE, signals_methods, signals_metamethods, 0);
  l_setfuncs(L, core_functions, 0);
}
