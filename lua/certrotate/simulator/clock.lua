-- The simulator's two clocks. `now` is the account's: deployments, charges and validity follow it, and a test may
-- advance it. `wall` is what signatures are checked against and the Date header says: real time plus a skew.
local M = {}
M.__index = M

---@param real fun():number
function M.new(real)
  return setmetatable({ real = real, advanced = 0, skew = 0 }, M)
end

function M:now()
  return self.real() + self.advanced
end

function M:wall()
  return self.real() + self.skew
end

---@param change {advance?:number, skew?:number}
---@return boolean? ok
---@return string? err
function M:change(change)
  if change.advance then
    if type(change.advance) ~= "number" or change.advance < 0 then
      return nil, "advance: a number of seconds, not negative"
    end
    self.advanced = self.advanced + change.advance
  end
  if change.skew then
    if type(change.skew) ~= "number" then
      return nil, "skew: a number of seconds"
    end
    self.skew = change.skew
  end
  return true
end

return M
