-- Faults on demand. A rule says which calls it meets, how often, and what happens to them; rules are tried in order
-- and the first that meets a call is used up by one. Repeatable: chances come from the seed, the rule, and which call of
-- this operation on this resource it is, so that calls which run side by side do not change each other's luck.
local interference = require "certrotate.simulator.interference"
local random = require "certrotate.simulator.random"

local M = {}
M.__index = M

---@class certrotate.simulator.Fault
---@field kind "error"|"throttle"|"reset"|"hang"|"delay"|"truncate"|"html"|"empty"|"endless"|"duplicate"|"clock"|"interfere"
---  duplicate: the answer is sent twice; clock: AWS's wall clock is so many `seconds` off from then on; interfere: another
---  client does something first (interference.lua)
---@field operation? string   AWS's name; default every operation
---@field service? string
---@field account? string     whose calls; default every account's
---@field resource? string    a distribution id, an ARN, a server certificate's name
---@field when? "before"|"after"  before or after the effect; default before (truncate and duplicate: always after)
---@field count? integer      how many calls; default all
---@field skip? integer       how many matching calls pass first
---@field chance? number      share of the matching calls, default 1
---@field status? integer     error: default 500
---@field code? string        error: default "InternalError"
---@field message? string
---@field seconds? number     delay and hang: default 1 and 3600
---@field bytes? integer      truncate: how many bytes arrive (default half); endless: at most (default 1 GiB)
---@field headers? table      error and html: further headers, such as Retry-After
---@field action? "edit"|"disable"|"certificate"|"delete"|"create"|"promote"|"tenant"   interfere
---@field target? string      interfere: a distribution's id, or "other" than the one the call is about
---@field reference? string   interfere: the certificate it is given

local kinds = { error = true, throttle = true, reset = true, hang = true, delay = true, truncate = true, html = true,
  empty = true, endless = true, duplicate = true, clock = true, interfere = true }
local names = {}
for kind in pairs(kinds) do
  names[#names + 1] = kind
end
table.sort(names)
local fields = { kind = "string", operation = "string", service = "string", resource = "string", account = "string",
  when = "string",
  count = "number", skip = "number", chance = "number", status = "number", code = "string", message = "string",
  seconds = "number", bytes = "number", headers = "table", name = "string",
  action = "string", target = "string", reference = "string" }
local late = { truncate = true, duplicate = true }

function M.new(seed)
  return setmetatable({ seed = seed, rules = {}, met = {}, calls = 0, buckets = {} }, M)
end

---@param rule certrotate.simulator.Fault
---@return boolean? ok
---@return string? err
function M:add(rule)
  if type(rule) ~= "table" or not kinds[rule.kind] then
    return nil, "kind: one of " .. table.concat(names, ", ")
  end
  local copy = { met = 0, fired = 0 }
  for key, value in pairs(rule) do
    if not fields[key] then
      return nil, "unknown field " .. tostring(key)
    elseif type(value) ~= fields[key] then
      return nil, ("%s: %s expected"):format(key, fields[key])
    end
    copy[key] = value
  end
  if copy.kind == "interfere" and not interference.actions[copy.action or ""] then
    return nil, "action: one of certificate, create, delete, disable, edit, promote, tenant"
  end
  copy.when = late[copy.kind] and "after" or copy.when or "before"
  if copy.when ~= "before" and copy.when ~= "after" then
    return nil, "when: before or after"
  end
  self.rules[#self.rules + 1] = copy
  self.met[#self.rules] = {}
  return true
end

function M:clear()
  self.rules, self.met = {}, {}
end

local function meets(rule, request)
  return (not rule.operation or rule.operation == request.operation)
    and (not rule.service or rule.service == request.service)
    and (not rule.resource or rule.resource == request.resource)
    and (not rule.account or rule.account == request.account)
end

--- The rule that befalls this request, if any.
---@return certrotate.simulator.Fault?
function M:take(request)
  self.calls = self.calls + 1
  local what = table.concat({ request.service or "", request.operation or "", request.resource or "" }, " ")
  for index, rule in ipairs(self.rules) do
    if meets(rule, request) and not (rule.count and rule.fired >= rule.count) then
      rule.met = rule.met + 1
      local nth = (self.met[index][what] or 0) + 1
      self.met[index][what] = nth
      if rule.met > (rule.skip or 0)
        and (not rule.chance or random.hash(self.seed, "fault", index, what, nth) < rule.chance) then
        rule.fired = rule.fired + 1
        return rule
      end
    end
  end
end

--- A token bucket of one second's worth. Whether this call is too many.
---@param name string
---@param rate number   calls a second; 0: no limit
---@param now number
---@return boolean
function M:limited(name, rate, now)
  if rate <= 0 then
    return false
  end
  local bucket = self.buckets[name]
  local burst = math.max(1, rate)
  if not bucket then
    bucket = { tokens = burst, at = now }
    self.buckets[name] = bucket
  end
  bucket.tokens = math.min(burst, bucket.tokens + math.max(0, now - bucket.at) * rate)
  bucket.at = now
  if bucket.tokens < 1 then
    return true
  end
  bucket.tokens = bucket.tokens - 1
  return false
end

return M
