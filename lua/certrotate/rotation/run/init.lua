--- Carries a plan out, or goes on with one: import, then wave by wave swap, settle, verify, soak. A continuous
-- deployment is a wave with a policy detached before and attached again after; that is made whatever stops the run.
--
-- Rule 4: an intent is on the disk before every write, an outcome after it. Every step may be run again at any
-- point; so resuming is the same walk with what the journal already knows left out.
local arguments = require("certrotate.arguments")
local closing = require("certrotate.rotation.closing")
local continuous_deployment = require("certrotate.rotation.continuous_deployment")
local inventory_module = require("certrotate.rotation.inventory")
local journal_module = require("certrotate.rotation.journal")
local lock_module = require("certrotate.rotation.lock")
local mirror = require("certrotate.rotation.mirror")
local policy_file = require("certrotate.rotation.policy_file")
local preflight = require("certrotate.rotation.preflight")
local rollback = require("certrotate.rotation.rollback")
local Run = require("certrotate.rotation.run.base")
local import = require("certrotate.rotation.run.import")
local reimport = require("certrotate.rotation.run.reimport")
local quota = require("certrotate.rotation.run.quota")
local store = require("certrotate.rotation.store")
local unit_module = require("certrotate.rotation.run.unit")
local wave_module = require("certrotate.rotation.run.wave")

local M = {}

-- certrotate.RunOptions, for certrotate.arguments.
local OPTIONS = {
  journal = "string", on_event = "function", poll = "number", settle_timeout = "number", verify = "boolean",
  verify_within = "number", policy_patience = "number", dedicated_ip_quota = "number", cost = "table", gates = "table",
  policy_file = "string", approve = "boolean|function", patience = "number", wait_for_quota = "number",
  quota_poll = "number", state_directory = "string", identity = "userdata", passphrase = "string", tags = "table",
}
M.OPTIONS = OPTIONS

--- What the public functions that carry out, go on or take back are given. Raises; to be called from them.
---@param method string
---@param options any
function M.accept(method, options)
  arguments.options(method, options, OPTIONS, false, 4)
  if options.journal == nil or options.journal == "" then
    error(method .. ": `journal` must name a file: without it an interrupted rotation could not be resumed", 3)
  end
end

---@class certrotate.RunOptions
---@field journal string                    path, or s3://BUCKET/NAME; must not hold another rotation
---@field on_event? fun(event: table)       told of everything that happens; one that raises is told nothing more
---@field poll? number                      seconds between looks at a deployment (default 20)
---@field settle_timeout? number            seconds a wave may take to be Deployed (default 3600)
---@field verify? boolean                   look at the certificate really served (default: the plan's setting)
---@field verify_within? number             seconds in which a holder must show the new one (default 120)
---@field policy_patience? number           seconds for which CloudFront may refuse to detach or attach a
---                                         continuous-deployment policy before that counts as a failure (default 60)
---@field dedicated_ip_quota? integer       rollback: default: the plan's setting, else what Service Quotas says
---@field cost? certrotate.CostOptions      default: the plan's
---@field gates? table<string, certrotate.Gate>   functions the plan's waves name (default: of its policy file)
---@field policy_file? string               read the gates from here, whatever the plan says of it
---@field approve? boolean|fun(pause: { wave: integer, name: string, text: string }): boolean   a person agrees; true:
---                                         to what a resumed rotation waits for
---@field patience? number                  seconds a closed window is waited for; where it opens later, the run stops and
---                                         a resume goes on (default: as long as it takes)
---@field wait_for_quota? number            seconds to wait for a higher dedicated-IP quota (default: the plan's setting)
---@field quota_poll? number                seconds between looks at it (default 300)
---@field state_directory? string           of the locks (default: where the rotation began, else lock.directory()); with a
---                                         journal in S3 they are beside it
---@field identity? certrotate.Identity     resume: instead of loading the plan's files; to roll a reimport back: the old one
---@field passphrase? string                resume: to load them
---@field tags? table<string,string>

---@class certrotate.Report
---@field method certrotate.Method
---@field ok boolean                complete, without conflicts and without anything left behind
---@field reference string          of the new certificate
---@field adopted boolean           it was there already
---@field holders integer           in the plan
---@field changed integer
---@field conflicts { Id: string, message: string }[]   somebody else changed or deleted them: left alone
---@field units { Id: string, policy: string, attached: boolean }[]  continuous deployments of the plan, and whether the
---                                 policy is attached to the primary (Id) in the end
---@field left_behind string[]      ids that name the old certificate and are not left out by the plan
---@field started number
---@field ended number
---@field seconds number
---@field overlap_seconds number    first announced change of a charged holder until the last was Deployed
---@field charge number             USD
---@field predicted { seconds: number, overlap_seconds: number, charge: number, minimum_overlap_seconds: number }
---@field one_at_a_time { overlap_seconds: number, charge: number }  with the deployment times seen here
---@field journal string
---@field attached_only? boolean    nothing was replaced
---@field rolled_back? boolean      of a rollback: `reference` is the old certificate, `left_behind` names the new one
---@field event_problem? string     what `on_event` raised

local function close(run)
  local found, err = closing.look(run.aws, run.plan, run.state)
  if not found then return nil, err end
  local _, deploy_seconds = run.journal:deploy_times()
  local report = closing.report(run.plan, run.state, found, {
    now = run:now(), deploy_seconds = deploy_seconds, call_seconds = run.journal:call_seconds(),
    cost = run.options.cost or run.plan.settings.cost, journal = run.journal.path,
  })
  local ok
  ok, err = run:record({ event = "end", result = { changed = report.changed, conflicts = #report.conflicts,
                                                    left_behind = #report.left_behind } })
  if not ok then return nil, err end
  run.state.ended = run.state.ended or report.ended
  run.journal:compact()
  run:emit("done", { report = report })
  report.event_problem = run.event_problem
  return report
end

-- The waves as planned, or backwards; but first those whose policy is detached since an earlier run.
local function order(run)
  local planned = {}
  for index in ipairs(run.plan.waves) do planned[index] = index end
  if run.state.forward then planned = mirror.order(run.plan, run.state) end
  local first, rest = {}, {}
  for _, index in ipairs(planned) do
    local list = unit_module.open(run, index) and first or rest
    list[#list + 1] = index
  end
  for _, index in ipairs(rest) do first[#first + 1] = index end
  return first
end

-- What comes before the first wave of a rotation; a way back needs none of it.
local function begin(run)
  local ok, err = true, nil
  local in_place = run.plan.method == "reimport"
  if not run.state.started then
    if not in_place and not run.fits then ok, err = quota.wait(run) end
    if not ok then return nil, err end
    local entry = { event = "begin", locks = run.locks.directory }
    ok, err = run:record(entry)
    run.state.started = entry.at
  end
  if not ok then return nil, err end
  return (in_place and reimport.walk or import)(run)
end

local function walk(run)
  local ok, err = true, nil
  local in_place = run.plan.method == "reimport"
  if not run.state.forward then ok, err = begin(run) end
  if ok and run.state.forward and in_place then ok, err = reimport.walk_back(run) end
  if not ok then return nil, err end
  if in_place then return close(run) end
  for _, index in ipairs(order(run)) do
    err = run:interruption()
    if err then return nil, err end
    local wave = run.plan.waves[index]
    ok, err = (wave.unit and unit_module or wave_module).walk(run, index, wave)
    if not ok then return nil, err end
  end
  return close(run)
end

-- fits: whether the dedicated-IP quota was seen to be enough a moment ago; nil where nobody looked.
local function start(aws, journal, locks, identity, options, fits, gates)
  local state = journal:state()
  local run = Run.new({
    aws = aws, plan = state.plan or journal.plan, journal = journal, state = state, options = options, locks = locks,
    identity = identity, on_event = options.on_event, fits = fits, gates = gates,
  })
  run:emit("start", { plan = run.plan, state = run.state, journal = journal.path })
  local report, err = walk(run)
  if not report then
    unit_module.restore(run, err)
    err.journal, err.rollback = journal.path, state.forward ~= nil or nil
    run:emit(err.code == "Interrupted" and "interrupted" or "stopped", { error = err })
    err.event_problem = run.event_problem
  end
  return report, err
end

local function with_locks(aws, plan, directory, fn)
  local locks, err = lock_module.open(aws:endpoint("cloudfront"),
    plan.from and { plan.from, lock_module.of_identity(plan) } or { lock_module.of_identity(plan) }, directory, aws)
  if not locks then return nil, err end
  local result
  result, err = fn(locks)
  locks:close()
  return result, err
end

-- Whether the plan may be begun: it fits what is there, AWS would take the certificate today, and the overlap fits the
-- dedicated-IP quota; false when that is still to be waited for.
local function may_begin(aws, plan, identity, options)
  local inventory, err = inventory_module.build(aws, { certificates = false })
  if not inventory then return nil, err end
  local ok
  ok, err = inventory_module.add_tenants_of(aws, plan.from, inventory.holders)
  if not ok then return nil, err end
  ok, err = preflight.valid(aws, plan, identity)
  if not ok then return nil, err end
  local changes = plan:differences(inventory)
  local more
  more, err = continuous_deployment.differences(aws, plan)
  if not more then return nil, err end
  for _, text in ipairs(more) do changes[#changes + 1] = text end
  if #changes > 0 then return nil, quota.outdated(changes) end
  if plan.method == "reimport" then return reimport.allowed(aws, plan, identity) end
  return quota.fits(aws, plan, inventory, options.wait_for_quota)
end

--- Carries out a plan that has not been begun. Refuses when reality no longer matches it (rule 9).
---@param aws certrotate.Session
---@param plan certrotate.Plan
---@param identity? certrotate.Identity
---@param options certrotate.RunOptions
---@return certrotate.Report?
---@return certrotate.Error?  `journal` names the file to resume from, when anything was begun
function M.apply(aws, plan, identity, options)
  local ok, err = preflight.endpoint(aws, plan)
  if not ok then return nil, err end
  identity, err = preflight.identity(plan, identity or options.identity, options.passphrase)
  if not identity then return nil, err end
  local gates
  gates, err = policy_file.gates(plan, options.gates, options.policy_file)
  if not gates then return nil, err end
  local beside
  beside, err = store.locks(options.journal)
  if err then return nil, err end
  return with_locks(aws, plan, beside or options.state_directory, function(locks)
    local fits, why = may_begin(aws, plan, identity, options)
    if fits == nil then return nil, why end
    local journal
    journal, why = journal_module.create(options.journal, plan, aws.loop:now() + aws:clock_offset(), aws)
    if not journal then return nil, why end
    local report
    report, why = start(aws, journal, locks, identity, options, fits, gates)
    journal:close()
    return report, why
  end)
end

-- Beside a journal in S3; else where somebody says, else where the rotation began.
local function where_locks(journal, options)
  return store.locks(journal.path) or options.state_directory or journal:state().locks
end

-- Goes on with an open journal.
local function go_on(aws, journal, options)
  local ok, err = preflight.endpoint(aws, journal.plan)
  if not ok then return nil, err end
  local turned = journal:state()
  if turned.forward then
    return nil, Run.stopped("RolledBack", turned.ended
      and "this rotation was rolled back; make a new plan to rotate again"
      or ("this rotation is being rolled back; `certrotate rollback %s` goes on with that"):format(journal.path))
  end
  local gates
  gates, err = policy_file.gates(journal.plan, options.gates, options.policy_file)
  if not gates then return nil, err end
  return with_locks(aws, journal.plan, where_locks(journal, options), function(locks)
    local holders, why = inventory_module.list_holders(aws)
    if not holders then return nil, why end
    local fits
    fits, why = preflight.account(journal.plan, holders)
    if not fits then return nil, why end
    return start(aws, journal, locks, nil, options, nil, gates)
  end)
end

--- Goes on with an interrupted rotation, at whatever point it stopped.
---@param aws certrotate.Session
---@param options certrotate.RunOptions
---@return certrotate.Report?
---@return certrotate.Error?
function M.resume(aws, options)
  local journal, err = journal_module.open(options.journal, aws)
  if not journal then return nil, err end
  local report
  report, err = go_on(aws, journal, options)
  journal:close()
  return report, err
end

-- Goes back with an open journal.
local function go_back(aws, journal, options)
  return with_locks(aws, journal.plan, where_locks(journal, options), function(locks)
    local found, err = rollback.look(aws, journal, options)
    if not found then return nil, err end
    local ok
    ok, err = rollback.ready(found, options.identity)
    if not ok then return nil, err end
    if found.from then ok, err = locks:take(found.from) end
    if not ok then return nil, err end
    if not journal:state().forward then
      ok, err = journal:append({ event = "rollback", at = aws.loop:now() + aws:clock_offset(),
                                 fingerprint = found.fingerprint })
      if not ok then return nil, err end
    end
    return start(aws, journal, locks, options.identity, options)
  end)
end

--- Gives every holder that was changed its old certificate again, the newest first: the way back of an interrupted, a
--- failed or a finished rotation. Refused, before anything is changed, where the old certificate is gone or expired.
--- Interrupted, the same call goes on.
---@param aws certrotate.Session
---@param options certrotate.RunOptions
---@return certrotate.Report?
---@return certrotate.Error?
function M.rollback(aws, options)
  local journal, err = journal_module.open(options.journal, aws)
  if not journal then return nil, err end
  local report
  report, err = go_back(aws, journal, options)
  journal:close()
  return report, err
end

return M
