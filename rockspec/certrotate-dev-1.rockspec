rockspec_format = "3.0"
package = "certrotate"
version = "dev-1"
-- Built from its own tree: `luarocks make`. libcurl, OpenSSL and expat are found, and missed by name, by CMake.
source = {
  url = "git+file://.",
}
description = {
  summary = "Replaces TLS certificates on Amazon CloudFront distributions in a safe order",
  detailed = [[
certrotate replaces a third-party certificate on every CloudFront distribution that uses it, in a safe order, with
viewers never interrupted, at the lowest pro-rated charge, and removes the old one only when that is safe. A C module
signs, transfers and edits; Lua decides. It runs in plain Lua, LuaJIT, nginx with its Lua module, and Neovim.]],
  license = "MIT",
  labels = { "aws", "cloudfront", "tls", "commandline" },
}
supported_platforms = { "linux" }
dependencies = {
  "lua >= 5.1, < 5.5",
  "lua-cjson >= 2.1.0",
  "argparse >= 0.6.0",
}
build = {
  type = "cmake",
  variables = {
    CMAKE_BUILD_TYPE = "Release",
    LUA_INCDIR = "$(LUA_INCDIR)",
    INSTALL_LIBDIR = "$(LIBDIR)",
    INSTALL_LUADIR = "$(LUADIR)",
    INSTALL_BINDIR = "$(BINDIR)",
    CERTROTATE_INTERPRETER = "$(LUA)",
  },
}
