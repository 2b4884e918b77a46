-- An account in virtual time: what a run sees of CloudFront when only its timing matters, without a process or a socket.
--
-- Plans and runs are the real ones (rotation/plan.lua, rotation/run/); answered here are the calls and steps they make.
-- An update waits for its turn (a bucket of so many at once, then one each `interval`: the client's own search for that
-- rate is measured elsewhere, pace_spec), takes `latency`, and is Deployed after the holder's own time.
local command = require("spec.support.command")
local made = require("spec.rotation.support")
local script_driver = require("spec.support.script_driver")

local M = {}

local Account = {}
Account.__index = Account

--- A generator of repeatable numbers that every Lua computes alike (Park and Miller's).
---@param seed integer
function M.random(seed)
  local state = seed % 2147483646 + 1
  local function uniform()
    state = state * 16807 % 2147483647
    return state / 2147483647
  end
  for _ = 1, 10 do uniform() end
  return {
    uniform = uniform,
    between = function(low, high) return low + (high - low) * uniform() end,
    integer = function(low, high) return low + math.floor((high - low + 1) * uniform()) end,
  }
end

--- A folder for journals and locks; in memory where there is some, for a few thousand journals are written.
function M.directory()
  return (command.shell("mktemp -d -p /dev/shm 2>/dev/null || mktemp -d"):gsub("%s+$", ""))
end

---@param options table  holders (of spec.rotation.support), deploy (seconds by id), latency, interval, burst, start,
---                       directory and name of the journal
function M.new(options)
  local self = setmetatable({ holders = {}, list = {}, turn = -math.huge, updates = 0, calls = 0 }, Account)
  for key, value in pairs(options) do self[key] = self[key] == nil and value or self[key] end
  for i, holder in ipairs(options.holders) do
    local one = { record = holder, deploy = options.deploy[holder.Id] }
    self.list[i], self.holders[holder.Id] = one, one
  end
  self.script = script_driver.new(options.start)
  self.script:serve(function(submission, now) return self:answer(submission, now) end)
  self:restart()
  self.identity = {
    fingerprint = function() return made.identity.fingerprint end, check = function() return {} end,
  }
  return self
end

--- Another process goes on: a loop of its own, on the same account and clock.
function Account:restart()
  local loop = self.script:loop()
  local function call(service, operation)
    return function(_, params)
      return loop:await({ account = 1, service = service, operation = operation, params = params })
    end
  end
  self.aws = {
    loop = loop, account = 1,
    endpoint = function() return "https://cloudfront.amazonaws.com" end,
    clock_offset = function() return 0 end, paces = function() return {} end,
    acm = { describe_certificate = call("acm", "DescribeCertificate") },
    cloudfront = { get_distribution_config = call("cloudfront", "GetDistributionConfig") },
  }
end

-- When an update asked for now is let through.
function Account:admit(now)
  local at = math.max(now, self.turn - (self.burst - 1) * self.interval)
  self.turn = math.max(at, self.turn) + self.interval
  return at
end

-- What a holder looks like at a time.
local function seen(holder, now)
  local changed = holder.changed and now >= holder.changed
  return changed and made.NEW or made.OLD, (not changed or now >= holder.deployed) and "Deployed" or "InProgress"
end

local steps = {}

function steps:import() return { after = self.latency, result = { reference = made.NEW, adopted = false } } end

function steps:swap(params, now)
  local holder = self.holders[params.Id]
  if holder.changed then return { after = self.latency, result = { changed = false, ETag = "E" } } end
  local fails = self.fail and self.fail(params.Id, now)
  local at = self:admit(now + self.latency)   -- the configuration is read first
  if fails then return { after = at - now + self.latency, err = fails } end
  holder.changed, holder.deployed = at, at + holder.deploy
  self.updates = self.updates + 1
  return { after = at - now + self.latency, result = { changed = true, ETag = "E" .. self.updates } }
end

function steps:settle(params, now)
  assert(params.timeout == 0, "one look at a time")
  local result = { settled = true, holders = {}, foreign = {} }
  for i, id in ipairs(params.Ids) do
    local reference, status = seen(self.holders[id], now)
    result.holders[i] = { Id = id, Status = status, reference = reference }
    result.settled = result.settled and status == "Deployed"
  end
  local calls = params.listing and math.ceil(#self.list / 100) or #params.Ids
  self.calls = self.calls + calls
  return { after = calls * self.latency, result = result }
end

function steps:verify(params, now)
  self.probes = (self.probes or 0) + 1
  local result = self.serve and self.serve(params, now, self.probes) or { matches = true, fingerprint = params.fingerprint }
  return { after = self.latency, result = result }
end

function Account:answer(submission, now)
  if submission.step then return steps[submission.step](self, submission.params, now) end
  if submission.operation == "DescribeCertificate" then return { after = self.latency, result = { Certificate = {} } } end
  if submission.operation == "GetDistributionConfig" then
    local viewer = { ACMCertificateArn = (seen(self.holders[submission.params.Id], now)) }
    return { after = self.latency, result = { DistributionConfig = { ViewerCertificate = viewer } } }
  end
  if submission.operation == "ListDistributionTenantsByCustomization" then
    self.calls = self.calls + 1
    return { after = self.latency, result = { DistributionTenantList = {} } }
  end
  assert(submission.operation == "ListDistributions", "not expected: " .. tostring(submission.operation))
  local first = tonumber(submission.params.Marker or 1)
  local items = {}
  for i = first, math.min(first + 99, #self.list) do
    local record = {}
    for key, value in pairs(self.list[i].record) do record[key] = value end
    record.reference, record.Status = seen(self.list[i], now)
    items[#items + 1] = record
  end
  local more = first + 100 <= #self.list
  self.calls = self.calls + 1
  return { after = self.latency, result = { DistributionList = { Quantity = #items, Items = items, IsTruncated = more,
                                                                 NextMarker = more and tostring(first + 100) or nil } } }
end

--- Virtual Unix time.
function Account:now() return self.script.clock.now() end

--- A plan for all holders, as `certrotate plan` makes it of the same facts; `more` are facts.
function Account:plan(policy, more)
  local facts = {
    from = made.OLD, store = "acm", identity = made.identity, now = self:now(),
    endpoint = "https://cloudfront.amazonaws.com", policy = policy, files = {}, left_out = {}, findings = {},
    holders = {},
    settings = { verify = false, dedicated_ip_quota = 100 },
  }
  for i, one in ipairs(self.list) do facts.holders[i] = one.record end
  for key, value in pairs(more or {}) do facts[key] = value end
  local plan, err, gates = require("certrotate.rotation.plan").compute(facts)
  assert(plan, tostring(err))
  return plan, gates
end

--- Carries a plan out by the real run.
function Account:run(plan, options)
  local all = { journal = self.directory .. "/" .. self.name, state_directory = self.directory }
  for key, value in pairs(options or {}) do all[key] = value end
  return require("certrotate.rotation.run").apply(self.aws, plan, self.identity, all)
end

--- The same, resumed.
function Account:resume(options)
  local all = { journal = self.directory .. "/" .. self.name, state_directory = self.directory, identity = self.identity }
  for key, value in pairs(options or {}) do all[key] = value end
  return require("certrotate.rotation.run").resume(self.aws, all)
end

--- What the overlap on charged holders really was: Unix times of the first change and of the last Deployed, and the
--- seconds between.
function Account:overlap()
  local first, last
  for _, one in ipairs(self.list) do
    if one.record.SSLSupportMethod == "vip" and one.record.Enabled and one.changed then
      first, last = math.min(first or one.changed, one.changed), math.max(last or 0, one.deployed)
    end
  end
  local start = self.script.start
  -- Seconds apart: a difference of Unix times has only some of a double's digits left.
  return first and start + first, last and start + last, first and last - first
end

return M
