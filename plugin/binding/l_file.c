/* l_file.c - certrotate.File: a locked file for durable appending; and whole files written atomically. */
#include "box.h"
#include "durable.h"
#include "error.h"
#include "fields.h"
#include "module.h"

#include <stdlib.h>
#include <unistd.h>

struct l_file {
  struct cr_append *file;  /* NULL: closed */
  pid_t pid;               /* lock and offset are shared with a forked child: only one of the two may write */
};

static struct cr_append *check_file(lua_State *L)
{
  const struct l_file *self = luaL_checkudata(L, 1, L_FILE_TYPE);

  if(!self->file) {
    luaL_error(L, "file is closed");
  }
  if(self->pid != getpid()) {
    luaL_error(L, "file belongs to another process: open it after fork");
  }
  return self->file;
}

/* core.append(path) -> file | nil, err */
static int l_append(lua_State *L)
{
  const char *path = l_arg_text(L, 1, NULL);
  struct l_file *self = l_object_new(L, sizeof *self, L_FILE_TYPE);
  struct cr_error err;

  self->pid = getpid();
  self->file = cr_append_open(path, &err);
  return self->file ? 1 : l_fail(L, &err);
}

static int l_file_append(lua_State *L)
{
  struct cr_append *file = check_file(L);
  struct cr_error err;
  const char *text;
  size_t len;

  luaL_checktype(L, 2, LUA_TSTRING);
  text = lua_tolstring(L, 2, &len);
  if(cr_append_write(file, text, len, &err) != 0) {
    return l_fail(L, &err);
  }
  lua_pushboolean(L, 1);
  return 1;
}

static void free_buf(void *payload)
{
  cr_buf_free(payload);
}

static int l_file_read(lua_State *L)
{
  struct cr_append *file = check_file(L);
  struct cr_buf *content = l_box_new(L, sizeof *content, free_buf);
  struct cr_error err;

  cr_buf_init(content, CR_FILE_MAX);
  if(cr_append_read(file, content, &err) != 0) {
    return l_fail(L, &err);
  }
  lua_pushlstring(L, cr_buf_str(content), content->len);
  l_box_release(content);
  return 1;
}

static int l_file_truncate(lua_State *L)
{
  struct cr_append *file = check_file(L);
  int64_t size = l_arg_whole(L, 2, 0);
  struct cr_error err;

  if(cr_append_truncate(file, (uint64_t)size, &err) != 0) {
    return l_fail(L, &err);
  }
  lua_pushboolean(L, 1);
  return 1;
}

static int l_file_close(lua_State *L)
{
  struct l_file *self = luaL_checkudata(L, 1, L_FILE_TYPE);
  struct cr_append *file = self->file;

  self->file = NULL;
  cr_append_close(file);
  return 0;
}

/* core.write_file(path, text) -> true | nil, err */
static int l_write_file(lua_State *L)
{
  const char *path = l_arg_text(L, 1, NULL), *text;
  struct cr_error err;
  size_t len;

  luaL_checktype(L, 2, LUA_TSTRING);
  text = lua_tolstring(L, 2, &len);
  if(cr_write_file(path, text, len, &err) != 0) {
    return l_fail(L, &err);
  }
  lua_pushboolean(L, 1);
  return 1;
}

struct path_box {
  char *path;
};

static void free_path(void *payload)
{
  struct path_box *box = payload;
  free(box->path);
}

/* core.make_directory(path) -> true | nil, err */
static int l_make_directory(lua_State *L)
{
  const char *path = l_arg_text(L, 1, NULL);
  struct cr_error err;

  if(cr_make_directory(path, &err) != 0) {
    return l_fail(L, &err);
  }
  lua_pushboolean(L, 1);
  return 1;
}

/* core.realpath(path) -> path | nil, err */
static int l_realpath(lua_State *L)
{
  const char *path = l_arg_text(L, 1, NULL);
  struct path_box *box = l_box_new(L, sizeof *box, free_path);
  struct cr_error err;

  box->path = cr_realpath(path, &err);
  if(!box->path) {
    return l_fail(L, &err);
  }
  lua_pushstring(L, box->path);
  l_box_release(box);
  return 1;
}

static const struct luaL_Reg core_functions[] = {
  {"append", l_append},
  {"write_file", l_write_file},
  {"realpath", l_realpath},
  {"make_directory", l_make_directory},
  {NULL, NULL}
};

static const struct luaL_Reg file_methods[] = {
  {"append", l_file_append},
  {"read", l_file_read},
  {"truncate", l_file_truncate},
  {"close", l_file_close},
  {NULL, NULL}
};

static const struct luaL_Reg file_metamethods[] = {
  {"__gc", l_file_close},
  {"__close", l_file_close},
  {NULL, NULL}
};

void l_open_file(lua_State *L)
{
  l_type_new(L, L_FILE_TYPE, file_methods, file_metamethods, 0);
  l_setfuncs(L, core_functions, 0);
}
