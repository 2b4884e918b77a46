--- Carries a plan out, or goes on with one: import, then wave by wave swap, settle, verify, soak.
--
-- Rule 4: an intent is on the disk before every write, an outcome after it. Every step may be run again at any
-- point; so resuming is the same walk with what the journal already knows left out.
local errors = require("certrotate.errors")
local closing = require("certrotate.rotation.closing")
local inventory_module = require("certrotate.rotation.inventory")
local journal_module = require("certrotate.rotation.journal")
local json = require("certrotate.json")
local lock_module = require("certrotate.rotation.lock")
local preflight = require("certrotate.rotation.preflight")

local M = {}

M.POLL = 20            -- seconds between looks at a deployment; the AWS waiter takes 60
M.SETTLE_TIMEOUT = 3600
M.VERIFY_WITHIN = 120  -- an edge that was Deployed a moment ago may still need a little

---@class certrotate.RunOptions
---@field journal string                    path; must not hold another rotation
---@field on_event? fun(event: table)       told of everything that happens; one that raises is told nothing more
---@field poll? number                      seconds between looks at a deployment (default 20)
---@field settle_timeout? number            seconds a wave may take to be Deployed (default 3600)
---@field verify? boolean                   look at the certificate really served (default: the plan's setting)
---@field verify_within? number             seconds in which a holder must show the new one (default 120)
---@field cost? certrotate.CostOptions
---@field state_directory? string           of the locks (default: where the rotation began, else lock.directory())
---@field identity? certrotate.Identity     resume: instead of loading the plan's files
---@field passphrase? string                resume: to load them
---@field tags? table<string,string>

---@class certrotate.Report
---@field ok boolean                complete, without conflicts and without anything left behind
---@field reference string          of the new certificate
---@field adopted boolean           it was there already
---@field holders integer           in the plan
---@field changed integer
---@field conflicts { Id: string, message: string }[]   somebody else changed or deleted them: left alone
---@field left_behind string[]      ids that name the old certificate and are not left out by the plan
---@field started number
---@field ended number
---@field seconds number
---@field overlap_seconds number    first announced change of a charged holder until the last was Deployed
---@field charge number             USD
---@field one_at_a_time { overlap_seconds: number, charge: number }  with the deployment times seen here
---@field journal string
---@field event_problem? string     what `on_event` raised

local function stopped(code, message, kind, cause)
  local err = errors.new({ kind = kind or "policy", code = code, message = message })
  err.cause = cause
  return err
end

-- One run of one plan.
---@class certrotate.Run
local Run = {}
Run.__index = Run

-- A handler that raises must neither end the rotation half-way nor go unnoticed.
function Run:emit(kind, event)
  event = event or {}
  event.type, event.at = kind, self:now()
  if not self.on_event then return end
  local ok, problem = pcall(self.on_event, event)
  if not ok then self.on_event, self.event_problem = nil, tostring(problem) end
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

-- Why nothing new may begin, or nil.
function Run:interruption()
  local why = self.aws.loop.interrupted
  return why and stopped("Interrupted", ("interrupted (%s)"):format(tostring(why)), "cancelled") or nil
end

-- Does `fn` for each of the list, so many at a time. What it returns as an error, an interrupt, a cancellation and a
-- function that raised all end it, and are told: a holder that was not reached must never count as done.
function Run:each(list, parallel, fn)
  local failure
  local done, err = self.aws.loop:each(list, parallel, function(item)
    if failure then return true end
    local ok, why = fn(item)
    if not ok then failure = failure or why end
    return true
  end)
  if failure and failure.kind ~= "cancelled" then return nil, failure end
  failure = failure or not done and err or self:interruption()
  if failure then return nil, failure end
  return true
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

-- What an earlier run imported: true when it is there, false when importing is still to be done.
function Run:imported()
  local state = self.state
  if not state.to then return false end
  local there, err = self:still_stored(state.to)
  if there == nil then return nil, err end
  if not there and next(state.swapped) then
    return nil, stopped("NewCertificateGone", ("%s was deleted although holders had been given it: somebody undid this "
      .. "rotation; make a new plan"):format(state.to))
  end
  return there
end

-- Nobody else may replace or retire the new certificate while holders are moved to it.
function Run:use(reference)
  if reference == self.plan.from then
    return nil, stopped("SameCertificate", reference .. " already is this certificate; there is nothing to replace")
  end
  local ok, err = self.locks:take(reference)
  if not ok then return nil, err end
  self.state.to = reference
  return true
end

function Run:import()
  local state, plan = self.state, self.plan
  local there, err = self:imported()
  if there == nil then return nil, err end
  if there then return self:use(state.to) end
  local identity = self.identity
  if not identity then
    identity, err = preflight.identity(plan, self.options.identity, self.options.passphrase)
    if not identity then return nil, err end
  end
  local ok
  ok, err = preflight.valid(self.aws, plan, identity)
  if not ok then return nil, err end
  local attempted = state.import_open
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
  state.adopted = result.adopted
  ok, err = self:use(result.reference)
  if not ok then return nil, err end
  self:emit("import", { reference = result.reference, adopted = result.adopted, store = plan.store })
  return true
end

-- What became of one swap, for the rest of this run. Returns true, or nil and the error that must stop the rotation.
function Run:swapped(holder, changed, failure)
  local state, id = self.state, holder.Id
  if not failure then
    state.swapped[id] = { changed = changed, at = self:now() }
    state.failed[id], state.conflicts[id] = nil, nil
    self:emit("swap", { id = id, changed = changed })
    return true
  end
  if journal_module.is_conflict(failure) then
    state.conflicts[id] = failure.message
    self:emit("conflict", { id = id, message = failure.message })
    return true
  end
  self:emit("failure", { id = id, error = failure })
  return nil, failure
end

function Run:swap(index, holder)
  local state, id = self.state, holder.Id
  local begun_before = state.begun[id] ~= nil
  local intent = { event = "intent", step = "swap", id = id }
  local ok, err = self:record(intent)
  if not ok then return nil, err end
  state.begun[id] = state.begun[id] or intent.at
  local asked = self.aws.loop:monotonic()
  local result, failure = self:await("swap", { Id = id, from = self.plan.from, to = state.to })
  -- Begun by an earlier run whose answer got lost, and found done: that run's change, not nobody's.
  local changed = result and (result.changed or begun_before)
  ok, err = self:outcome({ step = "swap", id = id }, result and { changed = changed, ETag = result.ETag }, failure)
  if not ok then return nil, err end
  if result then
    -- What was settled before is not settled any more.
    state.settled[index], state.verified[index] = nil, nil
    if result.changed then
      self.timed[index], state.ended = true, nil
      self.calls.count, self.calls.seconds = self.calls.count + 1, self.calls.seconds + self.aws.loop:monotonic() - asked
    end
  end
  return self:swapped(holder, changed, failure)
end

function Run:swap_wave(index, wave)
  local pending = {}
  for _, holder in ipairs(wave.holders) do
    if not self.state.swapped[holder.Id] then pending[#pending + 1] = holder end
  end
  return self:each(pending, wave.parallel, function(holder)
    local why = self:interruption()
    if why then return nil, why end
    return self:swap(index, holder)
  end)
end

-- One look at those of the wave that are not Deployed yet. Returns who is left, and adds to `foreign`.
function Run:look(wave, waiting, foreign)
  local result, err = self:await("settle", {
    Ids = waiting, to = self.state.to, timeout = 0, listing = wave.settle == "listing" and #waiting > 1,
  })
  if not result then return nil, err end
  local left_alone = {}
  for _, id in ipairs(result.foreign or {}) do
    left_alone[id] = true
    foreign[#foreign + 1] = id
    self:emit("conflict", { id = id, message = journal_module.FOREIGN })
  end
  local still = {}
  for _, holder in ipairs(result.holders or {}) do
    if holder.Status ~= "Deployed" and not left_alone[holder.Id] then still[#still + 1] = holder.Id end
  end
  return still
end

-- Looks until every one is Deployed. One look is one step; the pause between looks is ours, so that progress can be
-- shown and an interrupt is heard.
function Run:await_deployed(index, wave, waiting, foreign)
  local loop, total = self.aws.loop, #waiting
  local poll = self.options.poll or self.plan.settings.poll or self.aws.poll or M.POLL
  local deadline = loop:monotonic() + (self.options.settle_timeout or M.SETTLE_TIMEOUT)
  while #waiting > 0 do
    local err
    waiting, err = self:look(wave, waiting, foreign)
    if not waiting then return nil, err end
    self:emit("settling", { wave = index, deployed = total - #waiting, total = total })
    if #waiting > 0 then
      if loop:monotonic() >= deadline then
        return nil, stopped("NotDeployed", ("%d of the wave's holders (%s%s) are not Deployed yet; resume later"):format(
          #waiting, waiting[1], #waiting > 1 and ", ..." or ""), "timeout")
      end
      local ok
      ok, err = loop:sleep(poll)
      if not ok then return nil, err end
    end
  end
  return true
end

-- Until every holder of the wave is Deployed.
function Run:settle_wave(index, wave)
  local state, changed, foreign = self.state, {}, {}
  for _, holder in ipairs(wave.holders) do
    if state.swapped[holder.Id] then changed[#changed + 1] = holder.Id end
  end
  local began = self.aws.loop:monotonic()
  local ok, err = self:await_deployed(index, wave, changed, foreign)
  if not ok then return nil, err end
  local seconds = self.aws.loop:monotonic() - began
  local entry = { step = "settle", wave = index }
  ok, err = self:outcome(entry, { holders = #changed, foreign = json.array(foreign) })
  if not ok then return nil, err end
  state.settled[index] = entry.at
  journal_module.note_foreign(state, changed, foreign)
  for _, holder in ipairs(wave.holders) do
    if holder.charged and state.swapped[holder.Id] then
      state.last_charged = entry.at
      -- How long a deployment takes is known only from one that was begun just before.
      if self.timed[index] then self.deploy_seconds = math.max(self.deploy_seconds or 0, seconds) end
    end
  end
  self:emit("settled", { wave = index, seconds = self.timed[index] and seconds or nil, total = #changed - #foreign })
  return true
end

-- A name to ask for: an alias viewers use. A wildcard stands for any name below it.
local function server_name(holder)
  local alias = holder.Aliases[1]
  return alias and (alias:gsub("^%*", "certrotate"))
end

function Run:verify_holder(holder)
  local edge = self.aws.edge or {}
  local result, err = self:await("verify", {
    server_name = server_name(holder), host = edge.host or holder.DomainName, port = edge.port or 443,
    fingerprint = self.plan.identity.fingerprint, timeout = 10,
    within = self.options.verify_within or M.VERIFY_WITHIN, every = 2,
  })
  if result and result.matches then return true end
  if not result and err.kind == "cancelled" then return nil, err end
  if not result then
    return nil, stopped("NotServed", ("%s could not be looked at: %s; resume, with --no-verify to go on without looking")
      :format(holder.Id, err.message), nil, err)
  end
  return nil, stopped("NotServed", ("%s still serves %s (expires %s) for %s, not the new certificate; find out why, then resume")
    :format(holder.Id, tostring(result.fingerprint):sub(1, 16),
      result.not_after and require("certrotate.fmt").date(result.not_after) or "unknown", server_name(holder)))
end

function Run:verify_wave(index, wave)
  local probes, state = {}, self.state
  for _, holder in ipairs(wave.holders) do
    if holder.Enabled and not holder.Staging and server_name(holder) and state.swapped[holder.Id]
      and not state.conflicts[holder.Id] then
      probes[#probes + 1] = holder
    end
  end
  local ok, err = self:each(probes, 8, function(holder) return self:verify_holder(holder) end)
  if not ok then return nil, err end
  local entry = { step = "verify", wave = index }
  ok, err = self:outcome(entry, { seen = #probes })
  if not ok then return nil, err end
  state.verified[index] = entry.at
  self:emit("verified", { wave = index, seen = #probes })
  return true
end

-- The time to watch a wave, counted from when it had settled: an interruption does not begin it again.
function Run:soak_wave(index, wave)
  if wave.soak <= 0 or index == #self.plan.waves then return true end
  local until_ = (self.state.settled[index] or self:now()) + wave.soak
  self:emit("soak", { wave = index, seconds = math.max(0, until_ - self:now()) })
  while self:now() < until_ do
    local ok, err = self.aws.loop:sleep(math.min(until_ - self:now(), 5))
    if not ok then return nil, err end
  end
  return true
end

function Run:wave(index, wave)
  local state, done = self.state, 0
  if state.soaked[index] then return true end
  for _, holder in ipairs(wave.holders) do
    if state.swapped[holder.Id] then done = done + 1 end
  end
  self:emit("wave", { wave = index, name = wave.name, holders = #wave.holders, done = done, waves = #self.plan.waves,
                      parallel = wave.parallel })
  local ok, err = self:swap_wave(index, wave)
  if ok and not state.settled[index] then ok, err = self:settle_wave(index, wave) end
  local verify = self.options.verify
  if verify == nil then verify = self.plan.settings.verify end
  if ok and verify and not state.verified[index] then ok, err = self:verify_wave(index, wave) end
  if ok then ok, err = self:soak_wave(index, wave) end
  if not ok then return nil, err end
  local entry = { event = "wave", wave = index }
  ok, err = self:record(entry)
  if not ok then return nil, err end
  state.soaked[index] = entry.at
  return true
end

function Run:close()
  local found, err = closing.look(self.aws, self.plan, self.state)
  if not found then return nil, err end
  local report = closing.report(self.plan, self.state, found, {
    now = self:now(), deploy_seconds = self.deploy_seconds, cost = self.options.cost, journal = self.journal.path,
    call_seconds = self.calls.count > 0 and self.calls.seconds / self.calls.count or nil,
  })
  local ok
  ok, err = self:record({ event = "end", result = { changed = report.changed, conflicts = #report.conflicts,
                                                    left_behind = #report.left_behind } })
  if not ok then return nil, err end
  self.state.ended = self.state.ended or report.ended
  self:emit("done", { report = report })
  report.event_problem = self.event_problem
  return report
end

function Run:walk()
  local ok, err = true, nil
  if not self.state.started then
    local entry = { event = "begin", locks = self.locks.directory }
    ok, err = self:record(entry)
    self.state.started = entry.at
  end
  if ok then ok, err = self:import() end
  if not ok then return nil, err end
  for index, wave in ipairs(self.plan.waves) do
    err = self:interruption()
    if err then return nil, err end
    ok, err = self:wave(index, wave)
    if not ok then return nil, err end
  end
  return self:close()
end

local function start(aws, journal, locks, identity, options)
  local run = setmetatable({
    aws = aws, plan = journal.plan, journal = journal, state = journal:state(), options = options, locks = locks,
    identity = identity, on_event = options.on_event,
    timed = {},   -- waves in which this very run changed a holder
    calls = { count = 0, seconds = 0 },   -- what changing one took
  }, Run)
  local report, err = run:walk()
  if not report then
    err.journal = journal.path
    run:emit(err.code == "Interrupted" and "interrupted" or "stopped", { error = err })
    err.event_problem = run.event_problem
  end
  return report, err
end

local function with_locks(aws, plan, directory, fn)
  local locks, err = lock_module.open(aws:endpoint("cloudfront"),
    { plan.from, "identity " .. plan.identity.fingerprint }, directory)
  if not locks then return nil, err end
  local result
  result, err = fn(locks)
  locks:close()
  return result, err
end

local function need_journal(options)
  if type(options) ~= "table" or type(options.journal) ~= "string" or options.journal == "" then
    error("run: `journal` must name a file: without it an interrupted rotation could not be resumed", 3)
  end
end

-- Whether the plan may be begun: it fits what is there, and AWS would take the certificate today.
local function may_begin(aws, plan, identity)
  local inventory, err = inventory_module.build(aws, { certificates = false })
  if not inventory then return nil, err end
  local ok
  ok, err = preflight.valid(aws, plan, identity)
  if not ok then return nil, err end
  local changes = plan:differences(inventory)
  if #changes == 0 then return true end
  err = stopped("PlanOutdated", ("the plan does not match reality any more: %s%s; make a new one with `certrotate plan`")
    :format(changes[1], #changes > 1 and (" (and %d more)"):format(#changes - 1) or ""))
  err.changes = changes
  return nil, err
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
  local ok, err = preflight.endpoint(aws, plan)
  if not ok then return nil, err end
  identity, err = preflight.identity(plan, identity or options.identity, options.passphrase)
  if not identity then return nil, err end
  return with_locks(aws, plan, options.state_directory, function(locks)
    local fits, why = may_begin(aws, plan, identity)
    if not fits then return nil, why end
    local journal
    journal, why = journal_module.create(options.journal, plan, aws.loop:now() + aws:clock_offset())
    if not journal then return nil, why end
    local report
    report, why = start(aws, journal, locks, identity, options)
    journal:close()
    return report, why
  end)
end

-- Goes on with an open journal.
local function go_on(aws, journal, options)
  local ok, err = preflight.endpoint(aws, journal.plan)
  if not ok then return nil, err end
  return with_locks(aws, journal.plan, options.state_directory or journal:state().locks, function(locks)
    local holders, why = inventory_module.list_holders(aws)
    if not holders then return nil, why end
    local fits
    fits, why = preflight.account(journal.plan, holders)
    if not fits then return nil, why end
    return start(aws, journal, locks, nil, options)
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
  report, err = go_on(aws, journal, options)
  journal:close()
  return report, err
end

return M
