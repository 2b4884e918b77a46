-- The simulator's two clocks. `now` is the account's: deployments, charges and validity follow it. `wall` is what
-- signatures are checked against and the Date header says. Both are the real time plus what a test moved them by.
local M = {}
M.__index = M

---@param real fun():number
function M.new(real)
  return setmetatable({ real = real, passed = 0, skew = 0 }, M)
end

function M:now()
  return self.real() + self.passed
end

function M:wall()
  return self.real() + self.skew
end

local function check(change, name, least)
  local value = change[name]
  if value ~= nil and (type(value) ~= "number" or value < least) then
    return nil, name .. ": a number of seconds" .. (least == 0 and ", not negative" or "")
  end
  return true
end

--- `advance`: all of AWS's time moves on, so that a client's clock is late afterwards. `pass`: only the account's
--- moves on. `skew`: how far the wall clock is from the real time, from now on.
---@param change {advance?:number, pass?:number, skew?:number}
---@return boolean? ok
---@return string? err
function M:change(change)
  for name, least in pairs { advance = 0, pass = 0, skew = -math.huge } do
    local ok, err = check(change, name, least)
    if not ok then
      return nil, err
    end
  end
  self.skew = (change.skew or self.skew) + (change.advance or 0)
  self.passed = self.passed + (change.advance or 0) + (change.pass or 0)
  return true
end

return M
