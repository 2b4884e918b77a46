--- What will be done, why, in which order, and what it will cost: pure data, computed from an inventory, an
-- identity, a policy and a clock, saved as JSON with a hash so that what was reviewed is what is carried out.
local arguments = require("certrotate.arguments")
local core = require("certrotate.core")
local errors = require("certrotate.errors")
local json = require("certrotate.json")
local continuous_deployment = require("certrotate.rotation.continuous_deployment")
local cost = require("certrotate.rotation.cost")
local method_module = require("certrotate.rotation.method")
local prediction = require("certrotate.rotation.prediction")
local wave_options = require("certrotate.rotation.wave_options")
local policy_module = require("certrotate.rotation.policy")
local check = require("certrotate.rotation.check")

local M = {}

-- certrotate.PlanOptions, for certrotate.arguments.
M.OPTIONS = {
  policy = "string|function|table", policy_options = "table", files = "table", expected = "table|function",
  windows = "table", probes = "number", failures = "number", cost = "table", name = "string", path = "string",
  poll = "number",
}
for name, kind in pairs(check.OPTIONS) do M.OPTIONS[name] = kind end

-- What an older certrotate would not heed makes a plan of a version it refuses.
-- 2: with units, which it would change without detaching, and never attach again.
-- 3: a reimport, which it would take for a swap; holders that are attached to; gates, pauses, windows, a failure budget.
-- 4: nothing is replaced, holders are only attached to.
M.VERSION = 4
M.DEPLOY_SECONDS, M.CALL_SECONDS = check.DEPLOY_SECONDS, check.CALL_SECONDS

---@class certrotate.PlanHolder
---@field Id string
---@field DomainName string
---@field Aliases string[]
---@field SSLSupportMethod string
---@field Enabled boolean
---@field Staging boolean
---@field charged boolean
---@field DistributionId? string   of a distribution tenant
---@field attach? { SSLSupportMethod: string, MinimumProtocolVersion: string }  it is on the default certificate so far
---@field reason string               why it comes where it does
---@field deployed number             predicted seconds after the beginning

---@class certrotate.PlanWave: certrotate.WaveOptions
---@field name string
---@field starts number               predicted seconds after the beginning
---@field seconds number              predicted until its last holder is Deployed
---@field parallel integer
---@field soak number
---@field settle "holder"|"listing"
---@field reason string
---@field holders certrotate.PlanHolder[]
---@field unit? { primary: string, policy: string, traffic: string, staging: string[], names: string[] }
---            a continuous deployment: its policy is detached, its holders are changed, it is attached again

---@class certrotate.PlanSettings
---@field name? string
---@field path? string
---@field verify boolean
---@field poll? number
---@field keep? number
---@field to? string                    where the new certificate was stored already when the plan was made
---@field dedicated_ip_quota? integer   as the caller gave it
---@field wait_for_quota? number        seconds
---@field failures? integer             holders that may fail before no other is begun (default 0)
---@field cost? certrotate.CostOptions  what the charge is reckoned with

---@class certrotate.Plan
---@field version integer
---@field created number
---@field endpoint string             where CloudFront was talked to
---@field account? string            12 digits
---@field from? string               nil: nothing is replaced, holders are only attached to
---@field store "acm"|"iam"
---@field method certrotate.Method
---@field method_reason? string       why, when `auto` chose it
---@field replaced? { fingerprint: string, not_after: number }   reimport: what lies under `from` until then
---@field identity { fingerprint: string, names: string[], not_before: number, not_after: number, key_type: string }
---@field files { certificate?: string, private_key?: string, chain?: string }   absolute paths, to load the identity again
---@field policy { name: string, options: table, file?: string, sha256?: string }
---@field waves certrotate.PlanWave[]
---@field left_out { Id: string, reason: string }[]
---@field findings certrotate.Finding[]   warnings a reviewer should see
---@field settings certrotate.PlanSettings
---@field prediction certrotate.Prediction
---@field hash string                 SHA-256 of everything above
local Plan = {}
Plan.__index = Plan
Plan.__name = "certrotate.Plan"

-- Session and identity of plans made in this process, kept beside them: a plan itself is pure data.
local attached = setmetatable({}, { __mode = "k" })

function Plan:__tostring()
  return require("certrotate.report.plan").text(self)
end

-- schedule: of a swap; a reimport changes no holder.
local function plan_holder(holder, schedule)
  return {
    Id = holder.Id, DomainName = holder.DomainName, Aliases = json.array(holder.Aliases),
    SSLSupportMethod = holder.SSLSupportMethod, Enabled = holder.Enabled, Staging = holder.Staging,
    charged = policy_module.charged(holder), DistributionId = holder.DistributionId, attach = holder.attach,
    reason = schedule and policy_module.why(holder) or "keeps its reference: nothing about it is changed",
    deployed = schedule and schedule.deployed[holder.Id] or nil,
  }
end

--- What waves predict; see certrotate.rotation.prediction.
M.predict = prediction.predict

local function hash_of(plan)
  local bare = {}
  for key, value in pairs(plan) do
    if key ~= "hash" then bare[key] = value end
  end
  -- A list without entries reads back as a table that could be either: both count as the same.
  return core.sha256((json.encode(bare):gsub("{}", "[]")))
end

-- Adds a wave for each continuous deployment. They come last: by then the certificate has proved itself on everybody
-- else, and no policy is detached for nothing.
local function add_units(waves, units, by_id, soak)
  if #units > 0 and #waves > 0 then waves[#waves].soak = math.max(waves[#waves].soak, soak) end
  for index, unit in ipairs(units) do
    local holders = {}
    for i, id in ipairs(unit.holders) do holders[i] = by_id[id] end
    waves[#waves + 1] = {
      name = "unit " .. unit.primary, holders = holders, parallel = 1, soak = index < #units and soak or 0,
      settle = "holder", unit = continuous_deployment.planned(unit),
      reason = ("continuous deployment: policy %s is detached from %s, %s, it is attached again"):format(unit.policy,
        unit.primary, #holders > 1 and "all of them are changed" or unit.holders[1] .. " is changed"),
    }
  end
end

-- The waves of the policy, and then the units it is not asked about.
local function waves_of(facts, context)
  local by_id, bound, free = {}, {}, {}
  for _, unit in ipairs(facts.units or {}) do
    for _, id in ipairs(unit.holders) do bound[id] = true end
  end
  for _, holder in ipairs(facts.holders) do
    by_id[holder.Id] = holder
    if not bound[holder.Id] then free[#free + 1] = holder end
  end
  -- A policy of the user's own need not cope with an empty list.
  local waves, gates = {}, {}
  if #free > 0 or not next(bound) then
    local problem
    waves, problem, gates = policy_module.waves(facts.policy, free, context)
    if not waves then return nil, problem end
  end
  local options = facts.policy.options or {}
  add_units(waves, facts.units or {}, by_id, facts.policy.name == "careful" and options.soak or 0)
  -- A wave's own come before those of the whole rotation.
  for _, wave in ipairs(waves) do
    wave.windows = wave.windows or facts.windows
    wave.verify = wave.verify or facts.probes and { probes = facts.probes, need = facts.probes } or nil
  end
  return waves, nil, gates
end

-- A wave as it stands in the plan.
local function plan_wave(wave, found, reimport)
  local holders = {}
  for i, holder in ipairs(wave.holders) do holders[i] = plan_holder(holder, not reimport and found or nil) end
  return { name = wave.name, parallel = wave.parallel, soak = wave.soak, settle = wave.settle, reason = wave.reason,
           holders = json.array(holders), unit = wave.unit, starts = found.starts, seconds = found.seconds,
           verify = wave.verify, gate = wave.gate, pause = wave.pause, align = wave.align,
           windows = wave.windows and json.array(wave.windows) }
end

-- Of a policy's options what is data.
local function plain_options(options)
  local plain = {}
  for key, value in pairs(options or {}) do
    if type(value) ~= "function" then plain[key] = type(value) == "table" and json.array(value) or value end
  end
  return plain
end

local function version_of(waves, facts)
  local version = #(facts.units or {}) > 0 and 2 or 1
  for _, wave in ipairs(waves) do
    if wave.gate or wave.pause or wave.windows or wave.verify or wave.align then version = 3 end
  end
  return ((facts.settings or {}).failures or 0) > 0 and 3 or version
end

-- A reimport asks no policy: it reaches everybody at once.
local function reimport_wave(facts)
  if facts.windows then
    return nil, "a reimport reaches viewers when it does, within 24 hours: no window holds it; leave the windows out, or swap"
  end
  return { {
    name = "reimport", holders = facts.holders, parallel = math.max(1, #facts.holders), soak = 0, settle = "holder",
    reason = "reimport: ACM puts the new certificate under the same ARN; it reaches viewers within 24 hours",
  } }
end

-- No second certificate, so no overlap; `one_at_a_time` still says what a swap could cost.
local function predict_reimport(predicted)
  predicted.seconds, predicted.overlap_seconds, predicted.charge, predicted.minimum_charge = method_module.LEAD, 0, 0, 0
  predicted.minimum_overlap_seconds = 0
  return predicted
end

local function attaches(holders)
  for _, holder in ipairs(holders) do
    if holder.attach then return true end
  end
  return false
end

--- A plan from facts; no I/O, no clock.
---@param facts table  from?, store, holders, units?, left_out, findings, identity (CertificateInfo), files, policy,
---                    now, endpoint, deploy_seconds?, call_seconds?, call_interval?, expected?, windows?, probes?,
---                    cost?, settings?, method?, method_reason?, stored? (reimport: CertificateInfo of what is replaced)
---@return certrotate.Plan?
---@return certrotate.Error?
---@return table<string, certrotate.Gate>? gates   functions its waves name
function M.compute(facts)
  local context = {
    from = facts.from, now = facts.now, deploy_seconds = facts.deploy_seconds or M.DEPLOY_SECONDS,
    call_seconds = facts.call_seconds or M.CALL_SECONDS, expected = facts.expected, cost = facts.cost,
    call_interval = facts.call_interval,
  }
  local reimport = facts.method == "reimport"
  local waves, problem, gates = (reimport and reimport_wave or waves_of)(facts, context)
  if not waves then
    return nil, errors.new({ kind = "input", code = "BadPolicy", message = problem })
  end
  local predicted, schedule = M.predict(waves, context)
  local plain = {}
  for i, wave in ipairs(waves) do plain[i] = plan_wave(wave, schedule[i], reimport) end
  local warnings = {}
  for _, one in ipairs(facts.findings or {}) do
    if one.level ~= "refuse" then warnings[#warnings + 1] = one end
  end
  local leaf = facts.identity
  local plan = {
    version = not facts.from and 4 or (reimport or attaches(facts.holders)) and 3 or version_of(waves, facts),
    created = math.floor(facts.now), endpoint = facts.endpoint or "", account = facts.account, from = facts.from,
    store = facts.store, method = facts.method or "swap", method_reason = facts.method_reason,
    identity = { fingerprint = leaf.fingerprint, names = json.array(leaf.names), not_before = leaf.not_before,
                 not_after = leaf.not_after, key_type = leaf.key_type, subject = leaf.subject },
    files = facts.files or {}, waves = json.array(plain),
    policy = reimport and { name = "all at once", options = {} }
      or { name = facts.policy.name, options = plain_options(facts.policy.options), file = facts.policy.file,
           sha256 = facts.policy.sha256 },
    left_out = json.array(facts.left_out or {}), findings = json.array(warnings), settings = facts.settings or {},
    prediction = predicted,
  }
  if reimport then
    plan.replaced = { fingerprint = facts.stored.fingerprint, not_after = facts.stored.not_after }
    predict_reimport(plan.prediction)
  end
  plan.hash = hash_of(plan)
  return setmetatable(plan, Plan), nil, gates
end

---@class certrotate.PlanOptions: certrotate.CheckOptions
---@field policy? string|function|certrotate.Policy
---@field policy_options? table
---@field files? { certificate?: string, private_key?: string, chain?: string }  to load the identity again on resume
---@field deploy_seconds? number      what a deployment takes, where no holder's own time is known
---@field expected? table<string, number>|fun(holder: certrotate.Holder): number?   the same by holder: the longest go first
---@field windows? string[]           maintenance windows, like "Mon-Fri 22:00-04:00 UTC", of waves without their own
---@field probes? integer             TLS connections to each holder that must all be served the new one (default 1)
---@field failures? integer           holders that may fail before no other is begun (default 0: the first stops it)
---@field cost? certrotate.CostOptions
---@field name? string             of the new certificate (IAM name, tag)
---@field path? string             IAM path, default /cloudfront/certrotate/
---@field verify? boolean          look at the served certificate after each wave (default true)
---@field poll? number             seconds between looks at a deployment

-- Resuming may happen in another folder.
local function absolute(files)
  local found = {}
  for name, path in pairs(files or {}) do
    local full, err = core.realpath(path)
    if not full then return nil, err end
    found[name] = full
  end
  return found
end

-- Whose distributions these are: without it, two accounts that get the same identity would exclude each other.
local function account_of(inventory)
  local first = inventory.holders[1]
  return first and first.ARN:match("^arn:[%w-]+:cloudfront::(%d+):")
end

-- What the options of a plan must be, before anything is asked of AWS. Raises: misuse.
local function check_options(options)
  local attaches_only = options.replace == nil and type(options.attach) == "table" and #options.attach > 0
  if not attaches_only and (type(options.replace) ~= "string" or options.replace == "") then
    error("plan: `replace` must be the reference of the certificate to replace (it may be left out with `attach`)", 3)
  end
  local failures, problem = options.failures, cost.problem(options.cost)
  if problem then error("plan: `cost`: " .. problem, 3) end
  if failures ~= nil and (type(failures) ~= "number" or failures < 0 or failures % 1 ~= 0) then
    error("plan: `failures` must be a whole number of at least 0", 3)
  end
  local _, asked = wave_options.read({ windows = options.windows, verify = options.probes })
  if asked then error("plan: " .. asked:gsub("verify%.", ""), 3) end
end

-- The expected times as a table, whoever gave them how.
local function expected_times(expected, holders)
  if type(expected) ~= "function" then return expected end
  local times = {}
  for _, holder in ipairs(holders) do times[holder.Id] = expected(holder) end
  return times
end

-- Reads the tags of the holders, for a policy that looks at them.
local function read_tags(aws, holders)
  return aws.loop:each(holders, 4, function(holder)
    local got, err = aws.cloudfront:list_tags_for_resource({ Resource = holder.ARN })
    if not got then return nil, err end
    local tags = {}
    for _, tag in ipairs((got.Tags or {}).Items or {}) do tags[tag.Key] = tag.Value or "" end
    rawset(holder, "Tags", tags)
    return true
  end)
end

-- Seconds between two changes, where CloudFront was found to limit their rate.
local function call_interval(aws)
  for _, pace in ipairs(aws:paces()) do
    if pace.service == "cloudfront" and pace.writes and pace.rate > 0 then return 1 / pace.rate end
  end
  return nil
end

--- Checks, then plans. Changes nothing.
---@param aws certrotate.Session
---@param options certrotate.PlanOptions
---@return certrotate.Plan?
---@return certrotate.Error?  kind "policy" with `findings` when a rule refuses; code "NothingToDo" when nothing is left to do
function M.make(aws, options)
  check_options(options)
  local policy = policy_module.resolve(options.policy, options.policy_options)
  local result, err = check.run(aws, options)
  if not result then return nil, err end
  if result.refused then return nil, check.refusal(result.findings) end
  if result.nothing_to_do then
    return nil, errors.new({ kind = "policy", code = "NothingToDo", message = result.nothing_to_do })
  end
  local files, why = absolute(options.files)
  if not files then return nil, why end
  if policy.tags then
    local read, problem = read_tags(aws, result.holders)
    if not read then return nil, problem end
  end
  local plan, problem, gates = M.compute({
    from = result.replace, store = result.store, holders = result.holders, units = result.units,
    left_out = result.left_out, method = result.method, method_reason = result.method_reason, stored = result.stored,
    findings = result.findings, identity = result.identity, files = files, policy = policy,
    now = aws.loop:now() + aws:clock_offset(), endpoint = aws:endpoint("cloudfront"),
    account = account_of(result.inventory),
    deploy_seconds = options.deploy_seconds, expected = expected_times(options.expected, result.holders),
    call_interval = call_interval(aws), windows = options.windows, probes = options.probes, cost = options.cost,
    settings = { name = options.name, path = options.path, verify = options.verify ~= false, poll = options.poll,
                 dedicated_ip_quota = options.dedicated_ip_quota, wait_for_quota = options.wait_for_quota,
                 to = result.to, failures = options.failures, cost = options.cost },
  })
  if not plan then return nil, problem end
  return M.attach(plan, aws, options.with, gates)
end

--- Tells a plan which session and identity to use; for plans read from a file.
---@param plan certrotate.Plan
---@param aws certrotate.Session
---@param identity? certrotate.Identity
---@param gates? table<string, certrotate.Gate>   functions its waves name; default: of the plan's policy file
---@return certrotate.Plan
function M.attach(plan, aws, identity, gates)
  attached[plan] = { aws = aws, identity = identity, gates = gates }
  return plan
end

--- The plan as text for a file, and back.
---@return string
function Plan:encode()
  return json.encode_pretty(self) .. "\n"
end

---@param path string
---@return boolean? ok
---@return certrotate.Error?
function Plan:save(path)
  arguments.one("save", "path", path, "string")
  return core.write_file(path, self:encode())
end

--- Every holder of the plan, in order.
---@return certrotate.PlanHolder[]
function Plan:holders()
  local list = {}
  for _, wave in ipairs(self.waves) do
    for _, holder in ipairs(wave.holders) do list[#list + 1] = holder end
  end
  return list
end

---@param problem string
local function malformed(where, problem)
  return nil, errors.new({ kind = "input", code = "MalformedPlan",
    message = ("%s: %s; make a new plan with `certrotate plan`"):format(where, problem) })
end

-- What the runner reads without looking twice.
local function check_shape(data)
  local kinds = { version = "number", store = "string", method = "string", identity = "table", waves = "table",
                  hash = "string", policy = "table", prediction = "table", settings = "table",
                  files = "table", left_out = "table", findings = "table", endpoint = "string" }
  for key, kind in pairs(kinds) do
    if type(data[key]) ~= kind then return ("field '%s' is missing or no %s"):format(key, kind) end
  end
  if type(data.identity.fingerprint) ~= "string" then return "field 'identity.fingerprint' is missing" end
  if data.method ~= "swap" and data.method ~= "reimport" then return "its method is neither swap nor reimport" end
  if data.method == "reimport" and (type(data.replaced) ~= "table" or type(data.replaced.fingerprint) ~= "string"
    or #data.waves ~= 1) then
    return "its reimport is not complete"
  end
  if type(data.prediction.deploy_seconds) ~= "number" or type(data.prediction.call_seconds) ~= "number" then
    return "the prediction is not complete"
  end
  if type(data.from) ~= "string" and (data.from ~= nil or data.version < 4) then
    return "field 'from' is missing or no string"
  end
  for i, wave in ipairs(data.waves) do
    if type(wave) ~= "table" or type(wave.holders) ~= "table" or type(wave.parallel) ~= "number"
      or type(wave.soak) ~= "number" then
      return ("wave %d is not complete"):format(i)
    end
    local problem = wave_options.problem(wave)
    if problem then return ("wave %d: %s"):format(i, problem) end
    problem = wave.unit ~= nil and continuous_deployment.problem(wave.unit)
    if problem then return ("wave %d, its continuous deployment: %s"):format(i, problem) end
    for _, holder in ipairs(wave.holders) do
      if type(holder) ~= "table" or type(holder.Id) ~= "string" then return ("wave %d has no list of holders"):format(i) end
      local attach = holder.attach
      if data.from == nil and attach == nil then
        return ("wave %d does not say what %s has so far"):format(i, holder.Id)
      end
      if attach ~= nil and (type(attach) ~= "table" or type(attach.SSLSupportMethod) ~= "string"
        or type(attach.MinimumProtocolVersion) ~= "string") then
        return ("wave %d does not say how %s is attached to"):format(i, holder.Id)
      end
    end
  end
  return nil
end

-- Read from JSON, a list without entries could be either; written again it stays a list.
local function mark_lists(data)
  for _, list in ipairs({ data.waves, data.left_out, data.findings, data.identity.names }) do json.array(list) end
  for _, wave in ipairs(data.waves) do
    json.array(wave.holders)
    for _, holder in ipairs(wave.holders) do json.array(holder.Aliases) end
    if wave.unit then
      json.array(wave.unit.staging)
      json.array(wave.unit.names)
    end
  end
end

--- A plan from decoded data (a file, a journal's first line); refuses data changed after it was made.
---@param data table
---@param where string   for messages
---@return certrotate.Plan?
---@return certrotate.Error?
function M.restore(data, where)
  if type(data) ~= "table" then return malformed(where, "not a plan") end
  if type(data.version) ~= "number" or data.version < 1 or data.version > M.VERSION or data.version % 1 ~= 0 then
    return malformed(where, ("made by another version of certrotate (plan version %s)"):format(tostring(data.version)))
  end
  local problem = check_shape(data)
  if problem then return malformed(where, problem) end
  if hash_of(data) ~= data.hash then return malformed(where, "it was changed after it was made (its hash does not fit)") end
  mark_lists(data)
  return setmetatable(data, Plan)
end

---@param path string
---@return certrotate.Plan?
---@return certrotate.Error?
function M.load(path)
  local file, why = io.open(path, "rb")
  if not file then
    return nil, errors.new({ kind = "input", code = "FileUnreadable", message = ("cannot read the plan: %s"):format(why) })
  end
  local text = file:read("*a")
  file:close()
  local data = text and json.decode(text)
  if data == nil then return malformed(path, "not JSON") end
  return M.restore(data, path)
end

-- Aliases as one text; their order says nothing.
local function alias_text(aliases)
  local list = {}
  for i, alias in ipairs(aliases) do list[i] = alias end
  table.sort(list)
  return #list > 0 and table.concat(list, ", ") or "(none)"
end

-- What differs in one holder that is still there, as texts behind its id.
local function holder_differences(planned, now)
  local list = {}
  -- What the default certificate is served by says nothing.
  if now.SSLSupportMethod ~= planned.SSLSupportMethod and not now.default_certificate then
    list[#list + 1] = ("changed from %s to %s"):format(planned.SSLSupportMethod, now.SSLSupportMethod)
  end
  if now.Enabled ~= planned.Enabled then list[#list + 1] = now.Enabled and "is now enabled" or "is now disabled" end
  if now.Staging ~= planned.Staging then
    list[#list + 1] = now.Staging and "is a staging distribution now" or "is no staging distribution any more"
  end
  if alias_text(now.Aliases) ~= alias_text(planned.Aliases) then
    list[#list + 1] = "now has the aliases " .. alias_text(now.Aliases)
  end
  return list
end

--- What differs between the plan and what is there now: rule 9. Empty: the plan still fits.
---@param inventory certrotate.Inventory
---@param to? string    reference of the new certificate, when it is already there
---@return string[] changes
function Plan:differences(inventory, to)
  local changes, planned, there = {}, {}, {}
  for _, holder in ipairs(inventory.holders) do there[holder.Id] = holder end
  for _, left in ipairs(self.left_out) do planned[left.Id] = true end
  for _, holder in ipairs(self:holders()) do
    planned[holder.Id] = true
    local now = there[holder.Id]
    if not now then
      changes[#changes + 1] = ("%s does not exist any more"):format(holder.Id)
    elseif now.reference ~= to and (holder.attach and not now.default_certificate
      or not holder.attach and now.reference ~= self.from) then
      changes[#changes + 1] = ("%s now uses %s"):format(holder.Id,
        now.reference == "" and "the default certificate" or now.reference)
    else
      for _, text in ipairs(holder_differences(holder, now)) do changes[#changes + 1] = holder.Id .. " " .. text end
    end
  end
  for _, holder in ipairs(self.from and inventory:holders_of(self.from) or {}) do
    if not planned[holder.Id] then
      changes[#changes + 1] = ("%s uses the old certificate and is not in the plan"):format(holder.Id)
    end
  end
  return changes
end

--- Carries the plan out; see certrotate.rotation.run for the options.
---@param options certrotate.RunOptions
---@return certrotate.Report?
---@return certrotate.Error?
function Plan:run(options)
  arguments.of("run", self, Plan)
  require("certrotate.rotation.run").accept("run", options)
  local with = attached[self] or {}
  local aws = with.aws
  if not aws then error("plan:run: this plan belongs to no session; use plan.attach(plan, aws, identity)", 2) end
  if with.gates and type(options) == "table" and options.gates == nil and next(with.gates) then
    local own = { gates = with.gates }
    for key, value in pairs(options) do own[key] = value end
    options = own
  end
  return require("certrotate.rotation.run").apply(aws, self, with.identity, options)
end

return M
