-- "min" is the intersection of every Lua from 5.1 to 5.4 and LuaJIT. Host globals are allowed only
-- where a host is met.
std = "min"
max_line_length = 130
cache = false
exclude_files = { "build*", "lua_modules", "lua/certrotate/core.meta.lua" }
files["lua/certrotate/driver/nginx.lua"] = { std = "min+ngx_lua" }
files["lua/certrotate/nginx"] = { std = "min+ngx_lua" }
files["lua/certrotate/simulator"] = { std = "luajit+ngx_lua" }
files["lua/certrotate/driver/uv.lua"] = { read_globals = { "vim" } }
files["lua/certrotate/neovim.lua"] = { read_globals = { "vim" } }
files["lua/certrotate/neovim"] = { globals = { "vim" } }   -- options are fields that are set: vim.bo
files["lua/certrotate/health.lua"] = { read_globals = { "vim" } }
files["plugin/certrotate.lua"] = { globals = { "vim" } }
files["spec"] = { std = "min+busted", read_globals = { "jit", "ngx", "vim" } }
files["spec/host/nginx"] = { std = "luajit+ngx_lua+busted" }
