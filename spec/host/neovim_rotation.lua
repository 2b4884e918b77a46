-- Run inside Neovim by rotation_spec.lua: a whole rotation, the editor's ticker running.
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
local ok, out = xpcall(require("spec.host.rotate"), debug.traceback, config)
timer:stop()
timer:close()
if not ok then out = { error = out } end
table.sort(gaps)
out.ticks, out.gap = #gaps, gaps[math.ceil(#gaps * 0.95)]
file = assert(io.open(config.result, "wb"))
file:write(json.encode(out))
file:close()
vim.cmd("qall!")
