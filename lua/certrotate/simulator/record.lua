-- What was asked and what came of it: never bodies, never headers.
local json = require "certrotate.simulator.json"

local M = {}
M.__index = M

local KEPT = 20000

function M.new()
  return setmetatable({ entries = {}, count = 0, operations = {}, effects = {} }, M)
end

---@param entry {time:number, service:string, operation:string, resource?:string, status:integer, code?:string, request_id:string}
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
