-- What was asked, what came of it, and what changed in the account by whom: never bodies, never headers.
local json = require "certrotate.simulator.json"

local M = {}
M.__index = M

local KEPT = 20000

function M.new()
  return setmetatable({ entries = {}, count = 0, operations = {}, effects = {}, changes = {} }, M)
end

---@class certrotate.simulator.RecordEntry
---@field time number
---@field service string
---@field operation string
---@field resource? string
---@field status integer
---@field code? string
---@field request_id string
---@field account? string   whose credentials signed it

---@param entry certrotate.simulator.RecordEntry
function M:add(entry)
  self.count = self.count + 1
  entry.n = self.count
  self.entries[self.count] = entry
  self.entries[self.count - KEPT] = nil
  local name = entry.service .. ":" .. entry.operation
  local tally = self.operations[name] or { calls = 0, errors = 0 }
  self.operations[name] = tally
  tally.calls = tally.calls + 1
  if entry.status >= 400 or entry.status == 0 then
    tally.errors = tally.errors + 1
  end
end

--- Counts something that changed the account: "acm_imports", "iam_imports", "acm_reimports", "acm_deletes",
--- "iam_deletes", "updates", "creates", "deletes", "quota_requests", "cases".
---@param name string
function M:effect(name)
  self.effects[name] = (self.effects[name] or 0) + 1
end

---@class certrotate.simulator.Change
---@field time number
---@field what "update"|"import"|"reimport"|"delete"|"remove"|"create"
---@field by "client"|"other"   through the API, or behind the client's back (control, interference.lua)
---@field id? string            update, remove, create: the distribution; update: or the tenant
---@field from? string          update: the certificate before and after
---@field to? string
---@field outside? boolean      update: something outside ViewerCertificate changed, other than the policy's attachment
---@field policy? boolean       update: a continuous-deployment policy was attached or detached
---@field reference? string     import, reimport, delete: the certificate
---@field fingerprint? string
---@field held? integer         delete: by how many, those left out whom only AWS's own books still have (in_use_lag)
---@field refused? boolean      delete: it was asked for, and not done because it is held

--- Notes a change of the account, for whoever checks afterwards that nothing was done that may not be done.
---@param change certrotate.simulator.Change
function M:change(change)
  self.changes[#self.changes + 1] = change
end

--- The last `limit` entries after number `after`.
function M:report(after, limit)
  local list = json.list()
  local first = math.max((after or 0) + 1, self.count - KEPT + 1, 1)
  for n = first, math.min(self.count, first + (limit or KEPT) - 1) do
    list[#list + 1] = self.entries[n]
  end
  return { count = self.count, operations = self.operations, effects = self.effects, entries = list }
end

return M
