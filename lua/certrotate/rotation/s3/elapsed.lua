--- How long ago something was, by whichever of this machine's clocks has come further: one does not count while the
-- machine sleeps, and the other may be set.
local core = require("certrotate.core")

local M = {}

--- This moment.
---@return number[]
function M.now() return { core.monotonic(), core.now() } end

---@param before number[]   of `now`
---@return number seconds
function M.since(before)
  local now = M.now()
  return math.max(now[1] - before[1], now[2] - before[2])
end

return M
