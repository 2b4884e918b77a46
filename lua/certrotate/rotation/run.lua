--- Carries a plan out, or goes on with one: import, then wave by wave swap, settle, verify, soak.
--
-- Rule 4: an intent is on the disk before every write, an outcome after it. Every step may be run again at any
-- point; so resuming is the same walk with what the journal already knows left out.
local core = require("certrotate.core")
local errors = require("certrotate.errors")
local cost = require("certrotate.rotation.cost")
local inventory_module = require("certrotate.rotation.inventory")
local journal_module = require("certrotate.rotation.journal")
local lock_module = require("certrotate.rotation.lock")

local M = {}

M.POLL = 20            -- seconds between looks at a deployment; the AWS waiter takes 60
M.SETTLE_TIMEOUT = 3600
M.VERIFY_WITHIN = 120  -- an edge that was Deployed a moment ago may still need a little

---@class certrotate.RunOptions
---@field journal string                    path; must not hold another rotation
---@field on_event? fun(event: table)       told of everything that happens; must not raise
---@field poll? number                      seconds between looks at a deployment (default 20)
---@field settle_timeout? number            seconds a wave may take to be Deployed (default 3600)
---@field verify? boolean                   look at the certificate really served (default: the plan's setting)
---@field verify_within? number             seconds in which a holder must show the new one (default 120)
---@field cost? certrotate.CostOptions
---@field state_directory? string           of the locks
---@field identity? certrotate.Identity     resume: instead of loading the plan's files
---@field passphrase? string                resume: to load them
---@field tags? table<string,string>

---@class certrotate.Report
---@field ok boolean                complete, without conflicts and without anything left behind
---@field reference string          of the new certificate
---@field adopted boolean           it was there already
---@field holders integer           in the plan
---@field changed integer
---@field conflicts { Id: string, message: string }[]   somebody else changed them: left alone
---@field left_behind string[]      ids that name the old certificate although the plan does not know them
---@field started number
---@field ended number
---@field seconds number
---@field overlap_seconds number    first announced change of a charged holder until the last was Deployed
---@field charge number             USD
---@field one_at_a_time { overlap_seconds: number, charge: number }  with the deployment times seen here
---@field journal string

local function stopped(code, message, cause)
  local err = errors.new({ kind = code == "Interrupted" and "cancelled" or "policy", code = code, message = message })
  err.cause = cause
  return err
end

-- One run of one plan.
---@class certrotate.Run
local Run = {}
Run.__index = Run

function Run:emit(kind, event)
  event = event or {}
  event.type, event.at = kind, self:now()
  if self.options.on_event then self.options.on_event(event) end
end

-- AWS's time as far as its answers told it.
function Run:now()
  return self.aws.loop:now() + self.aws:clock_offset()
end

function Run:record(entry)
  entry.at = self:now()
  local ok, err = self.journal:append(entry)
  -- A change that cannot be recorded must not be made.
  if not ok then return nil, err end
  return true
end

function Run:outcome(entry, result, err)
  entry.event = "outcome"
  if result then
    entry.result = result
  else
    entry.error = { kind = err.kind, code = err.code, message = err.message, request_id = err.request_id }
  end
  return self:record(entry)
end

function Run:await(step, params, identity)
  return self.aws.loop:await({ account = self.aws.account, step = step, params = params, identity = identity })
end

function Run:interrupted()
  return self.aws.loop.interrupted and true or false
end

-- The identity, when the import is still to be done: given, or loaded again from the files the plan names.
function Run:identity()
  local plan = self.plan
  local identity = self.given_identity
  if not identity then
    local files = plan.files
    if not files.certificate then
      return nil, errors.new({ kind = "input", code = "NoIdentity",
        message = "the certificate is not imported yet and the plan names no files; resume from a script with `identity`" })
    end
    local err
    identity, err = core.identity({ certificate = files.certificate, private_key = files.private_key,
                                    chain = files.chain, passphrase = self.options.passphrase })
    if not identity then return nil, err end
  end
  if identity:fingerprint() ~= plan.identity.fingerprint then
    return nil, errors.new({ kind = "policy", code = "OtherIdentity",
      message = ("%s is not the certificate of this plan any more; make a new plan"):format(
        plan.files.certificate or "the identity given") })
  end
  return identity
end

-- Whether the certificate an earlier run imported is still there.
function Run:still_stored(reference)
  local plan, aws = self.plan, self.aws
  if plan.store == "acm" then
    local got, err = aws.acm:describe_certificate({ CertificateArn = reference })
    if got then return true end
    if err.code == "ResourceNotFoundException" then return false end
    return nil, err
  end
  local list, err = inventory_module.list_iam(aws)
  if not list then return nil, err end
  for _, certificate in ipairs(list) do
    if certificate.reference == reference then return true end
  end
  return false
end

function Run:import()
  local state, plan = self.state, self.plan
  if state.to then
    local there, err = self:still_stored(state.to)
    if there == nil then return nil, err end
    if there then return state.to end
  end
  local identity, err = self:identity()
  if not identity then return nil, err end
  local attempted = state.import_begun
  local ok
  ok, err = self:record({ event = "intent", step = "import" })
  if not ok then return nil, err end
  local settings = plan.settings
  local result
  result, err = self:await("import", {
    store = plan.store, name = settings.name, path = settings.path, attempted = attempted, tags = self.options.tags,
  }, identity)
  local kept = result and { reference = result.reference, adopted = result.adopted, name = result.name }
  local recorded, why = self:outcome({ step = "import" }, kept, err)
  if not result then return nil, err end
  if not recorded then return nil, why end
  state.to, state.adopted = result.reference, result.adopted
  self:emit("import", { reference = result.reference, adopted = result.adopted, store = plan.store })
  return state.to
end

-- One holder. Returns true, or nil and the error that must stop the rotation.
function Run:swap(holder)
  local state = self.state
  local ok, err = self:record({ event = "intent", step = "swap", id = holder.Id })
  if not ok then return nil, err end
  if holder.charged then state.first_charged = state.first_charged or self:now() end
  local result, failure = self:await("swap", { Id = holder.Id, from = self.plan.from, to = state.to })
  -- Begun by an earlier run whose answer got lost, and found done: that run's change, not nobody's.
  local changed = result and (result.changed or state.begun[holder.Id] ~= nil)
  ok, err = self:outcome({ step = "swap", id = holder.Id },
    result and { changed = changed, ETag = result.ETag }, failure)
  if not ok then return nil, err end
  if result then
    state.swapped[holder.Id] = { changed = changed, at = self:now() }
    state.failed[holder.Id] = nil
    self:emit("swap", { id = holder.Id, changed = changed })
    return true
  end
  if failure.kind == "conflict" then
    self.conflicts[#self.conflicts + 1] = { Id = holder.Id, message = failure.message }
    self:emit("conflict", { id = holder.Id, error = failure })
    return true
  end
  self:emit("failure", { id = holder.Id, error = failure })
  return nil, failure
end

function Run:swap_wave(wave)
  local state, pending, failure = self.state, {}, nil
  for _, holder in ipairs(wave.holders) do
    if not state.swapped[holder.Id] then pending[#pending + 1] = holder end
  end
  self.aws.loop:each(pending, wave.parallel, function(holder)
    if failure or self:interrupted() then return true end
    local ok, err = self:swap(holder)
    if not ok and not failure then failure = err end
    return true
  end)
  if failure then return nil, failure end
  if self:interrupted() then return nil, stopped("Interrupted", "interrupted") end
  return true
end

-- Until every holder of the wave is Deployed. One look is one step; the pause between looks is ours, so that
-- progress can be shown and an interrupt is heard.
function Run:settle_wave(index, wave)
  local waiting, foreign = {}, {}
  for _, holder in ipairs(wave.holders) do
    if self.state.swapped[holder.Id] then waiting[#waiting + 1] = holder.Id end
  end
  local total, began = #waiting, self.aws.loop:monotonic()
  local poll = self.options.poll or self.plan.settings.poll or self.aws.poll or M.POLL
  local deadline = began + (self.options.settle_timeout or M.SETTLE_TIMEOUT)
  while #waiting > 0 do
    local result, err = self:await("settle", {
      Ids = waiting, to = self.state.to, timeout = 0, poll = poll, listing = wave.settle == "listing" and #waiting > 1,
    })
    if not result then return nil, err end
    for _, id in ipairs(result.foreign or {}) do
      foreign[id] = true
      self.conflicts[#self.conflicts + 1] = { Id = id, message = "its certificate was changed by somebody else meanwhile" }
      self:emit("conflict", { id = id })
    end
    local still = {}
    for _, holder in ipairs(result.holders or {}) do
      if holder.Status ~= "Deployed" and not foreign[holder.Id] then still[#still + 1] = holder.Id end
    end
    waiting = still
    self:emit("settling", { wave = index, deployed = total - #waiting, total = total })
    if #waiting > 0 then
      if self:interrupted() then return nil, stopped("Interrupted", "interrupted") end
      if self.aws.loop:monotonic() >= deadline then
        return nil, stopped("NotDeployed", ("%d of the wave's holders (%s%s) are not Deployed yet; resume later"):format(
          #waiting, waiting[1], #waiting > 1 and ", …" or ""))
      end
      self.aws.loop:sleep(poll)
    end
  end
  local seconds = self.aws.loop:monotonic() - began
  local ok, err = self:outcome({ step = "settle", wave = index }, { holders = total })
  if not ok then return nil, err end
  self.state.settled[index] = self:now()
  for _, holder in ipairs(wave.holders) do
    if holder.charged and self.state.swapped[holder.Id] then
      self.state.last_charged = self:now()
      self.deploy_seconds = math.max(self.deploy_seconds or 0, seconds)
    end
  end
  self:emit("settled", { wave = index, seconds = seconds, total = total })
  return true
end

-- A name to ask for: an alias viewers use. A wildcard stands for any name below it.
local function server_name(holder)
  local alias = holder.Aliases[1]
  return alias and (alias:gsub("^%*", "certrotate"))
end

function Run:verify_wave(index, wave)
  local probes, failure, seen = {}, nil, 0
  local conflicted = {}
  for _, conflict in ipairs(self.conflicts) do conflicted[conflict.Id] = true end
  for _, holder in ipairs(wave.holders) do
    if holder.Enabled and not holder.Staging and server_name(holder) and self.state.swapped[holder.Id]
      and not conflicted[holder.Id] then
      probes[#probes + 1] = holder
    end
  end
  local edge = self.aws.edge or {}
  self.aws.loop:each(probes, 8, function(holder)
    if failure or self:interrupted() then return true end
    local result, err = self:await("verify", {
      server_name = server_name(holder), host = edge.host or holder.DomainName, port = edge.port or 443,
      fingerprint = self.plan.identity.fingerprint, timeout = 10,
      within = self.options.verify_within or M.VERIFY_WITHIN, every = 2,
    })
    if result and result.matches then
      seen = seen + 1
    elseif not failure then
      failure = stopped("NotServed", result
        and ("%s still serves %s (expires %s) for %s, not the new certificate"):format(holder.Id,
          result.fingerprint:sub(1, 16), require("certrotate.fmt").date(result.not_after), server_name(holder))
        or ("%s could not be looked at: %s"):format(holder.Id, err.message), err)
    end
    return true
  end)
  if failure then return nil, failure end
  if self:interrupted() then return nil, stopped("Interrupted", "interrupted") end
  local ok, err = self:outcome({ step = "verify", wave = index }, { seen = seen })
  if not ok then return nil, err end
  self:emit("verified", { wave = index, seen = seen })
  return true
end

function Run:wave(index, wave)
  local state = self.state
  local last = index == #self.plan.waves
  if state.soaked[index] then return true end
  self:emit("wave", { wave = index, name = wave.name, holders = #wave.holders, waves = #self.plan.waves,
                      parallel = wave.parallel })
  local ok, err = self:swap_wave(wave)
  if not ok then return nil, err end
  if not state.settled[index] then
    ok, err = self:settle_wave(index, wave)
    if not ok then return nil, err end
  end
  local verify = self.options.verify
  if verify == nil then verify = self.plan.settings.verify end
  if verify and not state.verified[index] then
    ok, err = self:verify_wave(index, wave)
    if not ok then return nil, err end
  end
  if wave.soak > 0 and not last then
    local until_ = (state.settled[index] or self:now()) + wave.soak
    self:emit("soak", { wave = index, seconds = math.max(0, until_ - self:now()) })
    while self:now() < until_ do
      if self:interrupted() then return nil, stopped("Interrupted", "interrupted") end
      self.aws.loop:sleep(math.min(until_ - self:now(), 5))
    end
  end
  ok, err = self:record({ event = "wave", wave = index })
  if not ok then return nil, err end
  state.soaked[index] = self:now()
  return true
end

function Run:report()
  local state, plan = self.state, self.plan
  local changed, charged = 0, 0
  for _, wave in ipairs(plan.waves) do
    for _, holder in ipairs(wave.holders) do
      local done = state.swapped[holder.Id]
      if done and done.changed then changed = changed + 1 end
      if holder.charged then charged = charged + 1 end
    end
  end
  local ended = self:now()
  local overlap = state.first_charged and (state.last_charged or ended) - state.first_charged or 0
  local function charge(seconds)
    return seconds > 0 and cost.charge(state.first_charged, state.first_charged + seconds, self.options.cost) or 0
  end
  local deploy = self.deploy_seconds or plan.prediction.deploy_seconds
  local single = charged > 0 and charged * deploy or 0
  return {
    reference = state.to, adopted = state.adopted or false, holders = #plan:holders(), changed = changed,
    conflicts = self.conflicts, left_behind = {}, started = state.started, ended = ended,
    seconds = ended - state.started, overlap_seconds = overlap, charge = charge(overlap),
    one_at_a_time = { overlap_seconds = math.max(single, overlap), charge = charge(math.max(single, overlap)) },
    journal = self.journal.path,
  }
end

function Run:walk()
  local to, err = self:import()
  if not to then return nil, err end
  for index, wave in ipairs(self.plan.waves) do
    if self:interrupted() then return nil, stopped("Interrupted", "interrupted") end
    local ok
    ok, err = self:wave(index, wave)
    if not ok then return nil, err end
  end
  -- What appeared meanwhile: a new distribution, a promoted staging copy that brought the old one back.
  local holders
  holders, err = inventory_module.list_holders(self.aws)
  if not holders then return nil, err end
  local report = self:report()
  local left_out = {}
  for _, left in ipairs(self.plan.left_out) do left_out[left.Id] = true end
  for _, holder in ipairs(holders) do
    if holder.reference == self.plan.from and not left_out[holder.Id] then
      report.left_behind[#report.left_behind + 1] = holder.Id
    end
  end
  report.ok = #report.left_behind == 0 and #report.conflicts == 0
  local ok
  ok, err = self:record({ event = "end", result = { changed = report.changed, conflicts = #report.conflicts,
                                                    left_behind = #report.left_behind } })
  if not ok then return nil, err end
  self.state.ended = report.ended
  self:emit("done", { report = report })
  return report
end

local function start(aws, journal, identity, options)
  local run = setmetatable({
    aws = aws, plan = journal.plan, journal = journal, state = journal:state(), options = options,
    given_identity = identity or options.identity, conflicts = {},
  }, Run)
  local report, err
  local ok, why = true, nil
  if not run.state.started then ok, why = run:record({ event = "begin" }) end
  if ok then
    run.state.started = run.state.started or run:now()
    report, err = run:walk()
  else
    err = why
  end
  if not report then
    err.journal = journal.path
    run:emit(err.code == "Interrupted" and "interrupted" or "stopped", { error = err })
  end
  return report, err
end

local function with_lock(aws, plan, options, fn)
  local directory, err = options.state_directory
  if not directory then
    directory, err = lock_module.directory()
    if not directory then return nil, err end
  end
  local lock
  lock, err = lock_module.acquire(aws:endpoint("cloudfront"), plan.from, directory)
  if not lock then return nil, err end
  local result
  result, err = fn()
  lock:close()
  return result, err
end

local function need_journal(options)
  if type(options) ~= "table" or type(options.journal) ~= "string" or options.journal == "" then
    error("run: `journal` must name a file: without it an interrupted rotation could not be resumed", 3)
  end
end

--- Carries out a plan that has not been begun. Refuses when reality no longer matches it (rule 9).
---@param aws certrotate.Session
---@param plan certrotate.Plan
---@param identity? certrotate.Identity
---@param options certrotate.RunOptions
---@return certrotate.Report?
---@return certrotate.Error?  `journal` names the file to resume from, when anything was begun
function M.apply(aws, plan, identity, options)
  need_journal(options)
  return with_lock(aws, plan, options, function()
    local holders, err = inventory_module.build(aws, { certificates = false })
    if not holders then return nil, err end
    local changes = plan:differences(holders)
    if #changes > 0 then
      err = stopped("PlanOutdated", ("the plan does not match reality any more: %s%s; make a new one with `certrotate plan`")
        :format(changes[1], #changes > 1 and (" (and %d more)"):format(#changes - 1) or ""))
      err.changes = changes
      return nil, err
    end
    local journal
    journal, err = journal_module.create(options.journal, plan, aws.loop:now())
    if not journal then return nil, err end
    local report
    report, err = start(aws, journal, identity, options)
    journal:close()
    return report, err
  end)
end

--- Goes on with an interrupted rotation, at whatever point it stopped.
---@param aws certrotate.Session
---@param options certrotate.RunOptions
---@return certrotate.Report?
---@return certrotate.Error?
function M.resume(aws, options)
  need_journal(options)
  local journal, err = journal_module.open(options.journal)
  if not journal then return nil, err end
  local report
  report, err = with_lock(aws, journal.plan, options, function()
    return start(aws, journal, nil, options)
  end)
  journal:close()
  return report, err
end

return M
