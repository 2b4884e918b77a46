--- Brings declared certificates to where they are declared to be: what an earlier round left unfinished is finished,
-- what is new is rotated, what was replaced is retired once it was kept long enough. Safe to run every hour: a second one at
-- the same time is refused, and where nothing is to be done it only lists.
--
-- One certificate's trouble leaves the others going. What a person rolled back is not rotated again by itself.
local config_module = require("certrotate.rotation.reconcile.config")
local core = require("certrotate.core")
local errors = require("certrotate.errors")
local find = require("certrotate.rotation.reconcile.find")
local fmt = require("certrotate.fmt")
local hook = require("certrotate.rotation.reconcile.hook")
local inventory_module = require("certrotate.rotation.inventory")
local journal_module = require("certrotate.rotation.journal")
local ledger_module = require("certrotate.rotation.reconcile.ledger")
local lock_module = require("certrotate.rotation.lock")
local policy_module = require("certrotate.rotation.reconcile.policy")
local retire = require("certrotate.rotation.retire")
local status_module = require("certrotate.rotation.status")

local M = {}

---@class certrotate.ReconcileOptions
---@field config? string|table               of aws:reconcile: a file's path, or the table such a file returns
---@field dry_run? boolean                   only tell what would be done
---@field only? string                       name of one declared certificate
---@field approve? string                    name of one whose rotation waits for a person, who agrees
---@field patience? number                   seconds a closed window is waited for (default 3600); the round that finds
---                                          it open goes on
---@field on_event? fun(event: table)        of every run
---@field on_inventory? fun(inventory: certrotate.Inventory)
---@field poll? number
---@field trust? string                      before the configuration's

---@class certrotate.ReconcileResult
---@field ok boolean                         no failures
---@field changed integer                    holders that were changed
---@field actions { name: string, action: "resume"|"rotate"|"retire", text: string, done: boolean,
---                 report?: certrotate.Report }[]
---@field failures { name: string, error: certrotate.Error }[]
---@field waiting { name: string, why: "pause"|"window"|"hour", text: string, journal: string }[]   begun, and not to
---                                          go on now: a person must agree, or a window open
---@field notes string[]

-- Of 47 days of life an ACME client renews at the latest with a third left.
local WARN = 10 * 24 * 3600
-- Rounds come every hour, and other certificates wait while this one does.
local PATIENCE = 3600

local Round = {}
Round.__index = Round

function Round:now() return self.aws.loop:now() + self.aws:clock_offset() end

function Round:note(format, ...) self.result.notes[#self.result.notes + 1] = format:format(...) end

function Round:fail(declared, err)
  self.result.failures[#self.result.failures + 1] = { name = declared.name, error = err }
end

function Round:act(declared, action, text)
  local entry = { name = declared.name, action = action, text = text, done = false }
  self.result.actions[#self.result.actions + 1] = entry
  return entry
end

-- The account's state, listed once and again after something was changed.
function Round:inventory()
  if not self.listed then
    local err
    self.listed, err = inventory_module.build(self.aws)
    if not self.listed then return nil, err end
    if self.options.on_inventory then self.options.on_inventory(self.listed) end
  end
  return self.listed
end

function Round:run_options(declared, journal)
  local policy = declared.plan_policy
  return { journal = journal, on_event = self.options.on_event, poll = self.options.poll,
           state_directory = self.locks, patience = self.options.patience or PATIENCE,
           -- Those of a file are read, and compared with what the plan was made with, by the run.
           gates = not policy.file and policy.gates or nil }
end

-- Tells of a rotation that is begun and must not go on now, and what it takes.
function Round:wait(declared, path, held)
  local text
  if held.why == "pause" then
    local config = self.config.path
    text = ("wave %d is done; a person must agree before the next (%s): %s goes on"):format(held.wave, held.text,
      config:sub(1, 1) == "/" and ("`certrotate reconcile %s --yes --approve %s`"):format(config, declared.name)
        or ("reconcile with approve = \"%s\""):format(declared.name))
  else
    text = ("wave %d waits for %s until %s"):format(held.wave, held.why == "hour" and "the hour"
      or "its maintenance window", fmt.timestamp(held["until"]))
  end
  self.stopped[path] = true
  self.result.waiting[#self.result.waiting + 1] = { name = declared.name, why = held.why, text = text, journal = path }
end

-- What an unfinished rotation is to be left alone for, or nil; and whether a person agrees to go on with it now.
function Round:held(declared, journal)
  local held = status_module.of(journal, self:now()).held
  if not held then return nil end
  if held.why == "pause" then
    if self.options.approve ~= declared.name then return held end
    self.approved = true
    return nil, true
  end
  local closed = held.why == "window" or held.why == "hour"
  return closed and held["until"] - self:now() > (self.options.patience or PATIENCE) and held or nil
end

-- A run that stopped itself by what it was told to is no failure.
function Round:stopped_itself(declared, err)
  if err.code ~= "Paused" and err.code ~= "NotYet" then return false end
  local journal = journal_module.load(err.journal, self.aws)
  local held = journal and status_module.of(journal, self:now()).held
  if held then self:wait(declared, err.journal, held) end
  return held ~= nil
end

-- A rotation came to its end, or did not. True unless the whole round must stop.
function Round:ended(declared, action, report, err)
  self.listed = nil
  if report then
    action.done, action.report = true, report
    self.result.changed = self.result.changed + report.changed
    if not report.ok then
      self:note("%s: %s", declared.name, ("not every holder is on %s: %s"):format(report.reference,
        report.conflicts[1] and report.conflicts[1].message or fmt.list(report.left_behind, 4)))
    end
    return true
  end
  if err.code == "Interrupted" then return nil, err end
  if not self:stopped_itself(declared, err) then self:fail(declared, err) end
  return true
end

-- A journal is entered into the ledger before its first line is written.
local function never_began(err)
  return err.code == "FileUnreadable" or err.code == "MalformedJournal" and err.message:find("empty", 1, true) ~= nil
end

-- Journals of a declared certificate, as the ledger knows them, each with its state; those that never began left out.
function Round:journals(declared)
  local list = {}
  for _, entry in ipairs(self.ledger.entries) do
    if entry.event == "begun" and entry.name == declared.name then
      local journal, err = journal_module.load(entry.journal, self.aws)
      if journal then
        list[#list + 1] = { path = entry.journal, journal = journal, plan = journal.plan, state = journal:state() }
      elseif not never_began(err) and not self.told[entry.journal] then
        self.told[entry.journal] = true
        self:fail(declared, err)
      end
    end
  end
  return list
end

-- ── what an earlier round began ─────────────────────────────────────────────────────────────────────────────

function Round:go_on(declared, one, approved)
  local action = self:act(declared, "resume", ("finish %s"):format(one.path))
  if self.options.dry_run then return true end
  local options = self:run_options(declared, one.path)
  options.approve = approved
  local ok, err = self:ended(declared, action, self.aws:resume(options))
  if not ok then return nil, err end
  local journal = journal_module.load(one.path, self.aws)
  if journal then one.journal, one.state = journal, journal:state() end
  return true
end

function Round:finish(declared, journals)
  for _, one in ipairs(journals) do
    local state = one.state
    if state.forward and not state.ended then
      self:note("%s: %s is being rolled back; `certrotate rollback %s` goes on", declared.name, one.plan.from, one.path)
    elseif not state.ended then
      local held, approved = self:held(declared, one.journal)
      local ok, err = true, nil
      if held then self:wait(declared, one.path, held) else ok, err = self:go_on(declared, one, approved) end
      if not ok then return nil, err end
    end
  end
  return true
end

-- ── what is not needed any more ─────────────────────────────────────────────────────────────────────────────

function Round:retire(declared, journals)
  if declared.keep == false then return true end
  local keep = declared.keep or retire.KEEP
  for _, one in ipairs(journals) do
    local state = one.state
    -- What was reimported is in use; of what it replaced AWS kept nothing.
    local replaced = state.ended and not state.retired and not state.forward and one.plan.method ~= "reimport"
    if replaced and self:now() >= state.ended + keep then
      local action = self:act(declared, "retire", ("retire %s"):format(one.plan.from))
      if not self.options.dry_run then
        local result, err = self.aws:retire({ journal = one.path, keep = keep, state_directory = self.locks })
        if result then
          action.done, self.listed = true, nil
          action.text = result.already_gone and ("%s is gone already"):format(one.plan.from) or action.text
        elseif err.code == "Interrupted" then
          return nil, err
        elseif err.kind == "policy" then
          self:note("%s: %s is kept: %s", declared.name, one.plan.from, err.message)
        else
          self:fail(declared, err)
        end
      end
    end
  end
  return true
end

-- ── what is new ─────────────────────────────────────────────────────────────────────────────────────────────

local function passphrase_of(declared)
  if not declared.passphrase_file then return nil end
  local file, why = io.open(declared.passphrase_file, "rb")
  if not file then
    return nil, errors.new({ kind = "input", code = "FileUnreadable", message = "cannot read the passphrase: " .. why })
  end
  local line = file:read("*l")
  file:close()
  return line or ""
end

local function load_identity(declared)
  local passphrase, err = passphrase_of(declared)
  if err then return nil, err end
  return core.identity({ certificate = declared.certificate, private_key = declared.private_key,
                         chain = declared.chain, passphrase = passphrase })
end

-- A name nobody has yet for the journal of one rotation.
function Round:journal_path(declared, fingerprint, from)
  local stem = ("%s/%s-%s-%s"):format(declared.journal or self.directory, declared.name, fingerprint:sub(1, 12),
    core.sha256(from):sub(1, 8))
  local taken = {}
  for _, entry in ipairs(self.ledger.entries) do
    if entry.event == "begun" then taken[entry.journal] = true end
  end
  local path, number = stem .. ".journal", 1
  -- One that was entered but never begun is free.
  while taken[path] and journal_module.load(path, self.aws) do
    number = number + 1
    path = ("%s-%d.journal"):format(stem, number)
  end
  return path
end

-- Expected deployment times by holder, and the mean, as the declaration wants them.
function Round:deploy_times(declared, journals)
  local asked = declared.deploy_time
  if asked == nil then return nil end
  if type(asked) == "number" then return nil, asked end
  if asked == "last" then
    for at = #journals, 1, -1 do
      local one = journals[at]
      if one.state.ended and one.plan.method ~= "reimport" then return one.journal:deploy_times() end
    end
    return nil
  end
  local journal, err = journal_module.load(asked, self.aws)
  if journal then return journal:deploy_times() end
  self:note("%s: deploy_time: %s; the usual time is reckoned with", declared.name, err.message)
end

function Round:rotate_one(declared, identity, from, journals)
  local files = { certificate = declared.certificate, private_key = declared.private_key, chain = declared.chain }
  local expected, deploy_seconds = self:deploy_times(declared, journals)
  local plan, err = self.aws:plan({
    replace = from, with = identity, files = files,
    only = declared.holders and self:those_on(declared.holders, from),
    store = declared.store, method = declared.method, policy = declared.plan_policy, windows = declared.windows,
    probes = declared.probes, failures = declared.failures,
    cost = (declared.price or declared.rounding) and { price = declared.price, rounding = declared.rounding } or nil,
    expected = expected, deploy_seconds = deploy_seconds,
    name = declared.name, verify = declared.verify, trust = self.options.trust or declared.trust,
    poll = self.options.poll,
    continuous_deployment = declared.continuous_deployment, dedicated_ip_quota = declared.dedicated_ip_quota,
    wait_for_quota = declared.wait_for_quota, inventory = self.listed,
  })
  if not plan then
    if err.code == "Interrupted" then return nil, err end
    if err.code ~= "NothingToDo" then self:fail(declared, err) end
    return true
  end
  local nameless = not plan.policy.file and policy_module.nameless(plan, declared.plan_policy)
  if nameless then
    self:fail(declared, errors.new({ kind = "input", code = "BadPolicy", message = nameless }))
    return true
  end
  local action = self:act(declared, "rotate", ("replace %s on %s"):format(from, fmt.plural(#plan:holders(), "holder")))
  if self.options.dry_run then return true end
  local path = self:journal_path(declared, plan.identity.fingerprint, plan.from)
  local ok
  ok, err = self.ledger:append({ event = "begun", at = self:now(), name = declared.name, journal = path,
                                 from = plan.from, fingerprint = plan.identity.fingerprint })
  if not ok then return nil, err end
  return self:ended(declared, action, plan:run(self:run_options(declared, path)))
end

-- Of the ids those that name the reference now.
function Round:those_on(ids, reference)
  local list = {}
  for _, id in ipairs(ids) do
    local holder = self.listed:holder(id)
    if holder and holder.reference == reference then list[#list + 1] = id end
  end
  return list
end

-- Each certificate the declared one takes the place of, but those that a person went back to.
function Round:rotate_all(declared, identity, inventory, journals, known)
  local earlier, held, waiting = known.earlier, known.held, known.waiting
  local references, err = find.replaced(self.aws, inventory, declared, identity:leaf(), earlier,
    function(text) self:note("%s: %s", declared.name, text) end)
  if not references then
    if err.code == "Interrupted" then return nil, err end
    self:fail(declared, err)
    return true
  end
  for _, reference in ipairs(references) do
    if held[reference] then
      self:note("%s: %s was rolled back to on purpose; it stays until there is another new certificate (or %s is "
        .. "removed)", declared.name, reference, held[reference])
    elseif not waiting[reference] then
      local ok
      ok, err = self:inventory()
      if ok then ok, err = self:rotate_one(declared, identity, reference, journals) end
      if not ok then return nil, err end
    end
  end
  return true
end

function Round:rotate(declared, journals)
  if declared.hooked and not core.realpath(declared.certificate) then
    self:note("%s: %s, which a deploy hook brought once, is not there any more; it is left as it is", declared.name,
      declared.certificate)
    return true
  end
  local identity, err = load_identity(declared)
  if not identity then
    self:fail(declared, err)
    return true
  end
  local leaf = identity:leaf()
  local warn = declared.warn
  if warn == nil then warn = WARN end
  if warn and leaf.not_after - self:now() < warn then
    self:note("%s: %s ends on %s and was not renewed", declared.name, declared.certificate, fmt.date(leaf.not_after))
  end
  local inventory
  inventory, err = self:inventory()
  if not inventory then
    identity:close()
    return nil, err
  end
  local earlier, held, waiting = {}, {}, {}
  for _, one in ipairs(journals) do
    -- While one waits, what it changes is not changed by another.
    if self.stopped[one.path] then
      waiting[one.plan.from] = true
      if one.state.to then waiting[one.state.to] = true end
    end
    if one.state.forward then
      if one.plan.identity.fingerprint == leaf.fingerprint then held[one.plan.from] = one.path end
    elseif one.state.to then
      earlier[#earlier + 1] = one.state.to
    end
  end
  local ok
  ok, err = self:rotate_all(declared, identity, inventory, journals,
    { earlier = earlier, held = held, waiting = waiting })
  identity:close()
  return ok, err
end

function Round:certificate(declared)
  local journals = self:journals(declared)
  local ok, err = self:finish(declared, journals)
  if ok then ok, err = self:rotate(declared, journals) end
  if ok then ok, err = self:retire(declared, self:journals(declared)) end
  return ok, err
end

-- ── a round ─────────────────────────────────────────────────────────────────────────────────────────────────

--- Where a configuration keeps its journals; where it would by default when it says nothing.
---@param config { state?: string }
---@return string? directory
---@return certrotate.Error?
function M.directory(config)
  local directory = config.state
  if not directory then
    local base, why = lock_module.directory()
    if not base then return nil, why end
    directory = base .. "/reconcile"
  end
  local ok, err = core.make_directory(directory)
  if not ok then return nil, err end
  return core.realpath(directory)
end

local function open_ledger(directory)
  local ledger, err = ledger_module.open(directory .. "/ledger.jsonl")
  if not ledger and err.code == "Locked" then
    local held = errors.new({ kind = "policy", code = "Locked",
      message = ("another reconcile is at work here: %s"):format(err.message) })
    held.cause = err
    return nil, held
  end
  return ledger, err
end

local function walk(round, declared_list)
  for _, declared in ipairs(declared_list) do
    if not round.options.only or round.options.only == declared.name then
      local ok, err = round:certificate(declared)
      if not ok then return nil, err end
    end
  end
  local approve = round.options.approve
  if approve and not round.approved then
    round:note("nothing of '%s' waits for a person; names are those of the configuration", approve)
  end
  round.result.ok = #round.result.failures == 0
  return round.result
end

--- One round over everything that is declared.
---@param aws certrotate.Session
---@param config certrotate.ReconcileConfig
---@param options? certrotate.ReconcileOptions
---@return certrotate.ReconcileResult?
---@return certrotate.Error?   what stopped the whole round; `Interrupted` leaves it to the next one
function M.run(aws, config, options)
  local directory, err = M.directory(config)
  if not directory then return nil, err end
  local ledger
  ledger, err = open_ledger(directory)
  if not ledger then return nil, err end
  local round = setmetatable({
    aws = aws, config = config, options = options or {}, stopped = {}, ledger = ledger, directory = directory,
    -- The locks are those of every other run of this user; where there is no home (nginx), beside the journals.
    locks = lock_module.directory() or directory,
    told = {}, result = { ok = false, changed = 0, actions = {}, failures = {}, waiting = {}, notes = {} },
  }, Round)
  local result
  local declared = hook.declared(config, directory, (M.directory({})))
  result, err = walk(round, declared)
  ledger:close()
  return result, err
end

--- The same for `aws:reconcile`: the configuration is a file's path, or the table such a file returns.
---@param aws certrotate.Session
---@param options certrotate.ReconcileOptions
---@return certrotate.ReconcileResult?
---@return certrotate.Error?
function M.call(aws, options)
  local given = type(options) == "table" and options.config
  local config, err
  if type(given) == "string" then
    config, err = config_module.load(given)
  elseif type(given) == "table" then
    config, err = config_module.check(given, "config")
  else
    error("reconcile: config: a file's path or a table expected", 3)
  end
  if not config then return nil, err end
  return M.run(aws, config, options)
end

return M
