--- Exactly one nginx worker leads: a lease in a shared dictionary that expires by itself, so that what a killed
-- worker held passes on. Losing it is noticed at the next renewal; the lock files of a rotation (rotation/lock.lua)
-- exclude two runs even in the moment in between.
--
-- A shared dictionary's single operations are atomic, a check followed by a write is not: a lease is renewed long
-- before it ends (three times within its life), so a foreign token is only ever seen by who stood still for longer.
local M = {}

local KEY = "leader"

---@class certrotate.nginx.Lease
---@field dict table       ngx.shared.X
---@field token string
---@field ttl number       seconds
local Lease = {}
Lease.__index = Lease

--- Takes the lead, or nil when another worker has it.
---@param dict table
---@param ttl number   seconds the lease lives without being renewed
---@return certrotate.nginx.Lease?
---@return string? holder   who leads: "worker PID"
function M.take(dict, ttl)
  -- A worker's pid is its own for as long as it lives; the serial tells two leases of one worker apart.
  local serial = dict:incr("leases", 1, 0) or 0
  local token = ("worker %d, lease %d"):format(ngx.worker.pid(), serial)
  local ok, why = dict:add(KEY, token, ttl)
  if ok then return setmetatable({ dict = dict, token = token, ttl = ttl }, Lease) end
  if why ~= "exists" then return nil, why end
  return nil, dict:get(KEY)
end

--- Lives on for another `ttl`. False when the lead was lost.
---@return boolean held
function Lease:renew()
  local seen = self.dict:get(KEY)
  if seen == self.token then return self.dict:set(KEY, self.token, self.ttl) == true end
  -- It ended and nobody took it: take it again.
  return seen == nil and self.dict:add(KEY, self.token, self.ttl) == true
end

--- Gives the lead up.
function Lease:release()
  if self.dict:get(KEY) == self.token then self.dict:delete(KEY) end
end

return M
