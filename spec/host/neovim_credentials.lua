-- Run inside Neovim by credentials_spec.lua: credentials are fetched and renewed, the editor's ticker running.
local uv = vim.loop
local json = require("certrotate.json")
local file = assert(io.open(os.getenv("CERTROTATE_CONFIG"), "rb"))
local config = assert(json.decode(file:read("*a")))
file:close()

local gaps, last = {}, uv.hrtime()
local timer = uv.new_timer()
timer:start(5, 5, function()
  local now = uv.hrtime()
  gaps[#gaps + 1], last = (now - last) / 1e6, now
end)
local ok, out = xpcall(function()
  local credentials = require("spec.host.credentials")
  local aws = credentials.connect(config)
  local result = credentials.calls(aws, 20)
  vim.wait(config.pause)
  local again = credentials.calls(aws, 20)
  result.again, result.error = again.good, result.error or again.error
  aws:close()
  return result
end, debug.traceback)
timer:stop()
timer:close()
if not ok then out = { error = out } end
table.sort(gaps)
out.ticks, out.gap = #gaps, gaps[math.ceil(#gaps * 0.95)]
file = assert(io.open(config.result, "wb"))
file:write(json.encode(out))
file:close()
vim.cmd("qall!")
