--- Runs in an nginx worker thread (its own Lua state): blocks there until another client's descriptor is
-- readable, so that the worker need not. Only the descriptor's number crosses.
local core = require("certrotate.core")

local M = {}

local idle   -- this thread's own client: it has nothing to do but to wait

---@param fd integer
---@param seconds number
---@return boolean
function M.wait(fd, seconds)
  if not idle then
    local err
    idle, err = core.client({})
    if not idle then error(tostring(err), 0) end
  end
  idle:wait(seconds, fd)
  return true
end

return M
