--- Which driver fits the host we are in. A driver turns a loop's waiting into the host's own kind of waiting;
-- the interface is certrotate.Driver in task.lua.
local M = {}

--- "nginx" where nginx's Lua module is, "uv" in Neovim, "block" everywhere else (scripts, the REPL, nginx's
--- worker threads, which may block).
---@return "nginx"|"uv"|"block"
function M.host()
  local ngx, vim = _G.ngx, _G.vim
  if type(ngx) == "table" and ngx.sleep and ngx.get_phase then return "nginx" end
  if type(vim) == "table" and (vim.uv or vim.loop) and vim.schedule then return "uv" end
  return "block"
end

--- A driver for one loop.
---@param name? "block"|"nginx"|"uv"|"auto"
---@param options? table    block: { signals = certrotate.Signals }; nginx: { thread_pool = string }; uv: { uv = module }
---@return certrotate.Driver
function M.choose(name, options)
  if name == nil or name == "auto" then name = M.host() end
  if name ~= "block" and name ~= "nginx" and name ~= "uv" then
    error(("driver: 'block', 'nginx', 'uv' or 'auto' expected, got '%s'"):format(tostring(name)), 2)
  end
  return require("certrotate.driver." .. name).new(options)
end

return M
