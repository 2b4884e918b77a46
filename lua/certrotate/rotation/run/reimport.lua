--- A reimport carried out: the new certificate under the old one's ARN, then looked at until viewers are served it.
--
-- Nothing in a distribution changes, so no Status tells how far it has come: only TLS does. Every look may end at
-- another edge, so a holder counts as done when several looks in a row have seen the new certificate.
local errors = require("certrotate.errors")
local journal_module = require("certrotate.rotation.journal")
local method = require("certrotate.rotation.method")
local preflight = require("certrotate.rotation.preflight")
local wave_module = require("certrotate.rotation.run.wave")
local stopped = require("certrotate.rotation.run.base").stopped

local M = {}

-- Looks in a row, each a connection of its own, that must see it.
M.SIGHTINGS = 3
-- Seconds after the import in which every holder must serve it, unless `verify_within` says otherwise.
M.WITHIN = method.LEAD

--- Whether a plan's reimport may be made now: what is to be replaced is still there, and ACM would take the new one in
--- its place in time.
---@param aws certrotate.Session
---@param plan certrotate.Plan
---@param identity certrotate.Identity
---@return boolean? ok
---@return certrotate.Error?
function M.allowed(aws, plan, identity)
  local stored, err = method.stored(aws, plan.from)
  if not stored then return nil, err end
  local leaf = identity:leaf()
  if stored.fingerprint == leaf.fingerprint then return true end
  if stored.fingerprint ~= plan.replaced.fingerprint then
    return nil, stopped("PlanOutdated", ("%s holds another certificate now (SHA-256 %s...): somebody reimported it; "
      .. "make a new plan"):format(plan.from, stored.fingerprint:sub(1, 16)))
  end
  local findings = method.findings({
    replace = plan.from, old = { store = "acm" }, stored = stored, leaf = leaf, known = {},
    now = aws.loop:now() + aws:clock_offset(),
  })
  for _, one in ipairs(findings) do
    if one.level == "refuse" then
      return nil, errors.new({ kind = "policy", code = one.code, message = one.message })
    end
  end
  return true
end

-- Records an entry, and lets the state follow it as reading the journal would.
local function note(run, entry, result, failure)
  local ok, err
  if entry.event == "intent" then ok, err = run:record(entry) else ok, err = run:outcome(entry, result, failure) end
  if ok then journal_module.note_reimport(run.plan, run.state, entry) end
  return ok, err
end

-- On the way back, and found there already: nothing is sent, and nobody's key is needed.
local function back_already(run)
  local stored, err = method.stored(run.aws, run.plan.from)
  if not stored then return nil, err end
  if stored.fingerprint ~= run.plan.identity.fingerprint then return false end
  local changed = run.state.reimport_open or false
  return note(run, { event = "outcome", step = "reimport" }, { reference = run.plan.from, changed = changed })
end

-- The one write there is. What ACM compares with is the first import, so the way back needs no rules.
local function write(run)
  local plan, state = run.plan, run.state
  if state.forward then
    local done, why = back_already(run)
    if done == nil or done then return done, why end
  end
  local identity, err = run.identity
  if not identity then
    identity, err = preflight.identity(plan, run.options.identity, run.options.passphrase)
    if not identity then return nil, err end
  end
  local ok
  ok, err = preflight.valid(run.aws, plan, identity)
  if ok and not state.forward then ok, err = M.allowed(run.aws, plan, identity) end
  if not ok then return nil, err end
  local attempted = state.reimport_open or false
  ok, err = note(run, { event = "intent", step = "reimport" })
  if not ok then return nil, err end
  local result, failure = run:await("reimport", {
    reference = plan.from, from = plan.replaced.fingerprint, attempted = attempted,
  }, identity)
  ok, err = note(run, { event = "outcome", step = "reimport" },
    result and { reference = result.reference, changed = result.changed }, failure)
  if not result then return nil, failure end
  if not ok then return nil, err end
  run:emit("reimport", { reference = result.reference, changed = result.changed })
  return true
end

-- One look at each: who has now been seen often enough is left out. Returns the rest and what the last bad look saw.
local function look(run, waiting, sightings)
  local problem
  local ok, err = run:each(waiting, 8, function(holder)
    local result, failure = wave_module.probe(run, holder, 0)
    if failure and failure.kind == "cancelled" then return nil, failure end
    sightings[holder.Id] = result and result.matches and (sightings[holder.Id] or 0) + 1 or 0
    if not result then
      problem = ("%s could not be looked at: %s"):format(holder.Id, failure.message)
    elseif not result.matches then
      problem = ("%s still serves %s"):format(holder.Id, tostring(result.fingerprint):sub(1, 16))
    end
    return true
  end)
  if not ok then return nil, err end
  local still = {}
  for _, holder in ipairs(waiting) do
    if sightings[holder.Id] < M.SIGHTINGS then still[#still + 1] = holder end
  end
  return still, problem
end

-- Until every holder that can be looked at serves it. The time counts from the reimport, interruptions included.
local function watch(run, index, wave)
  local waiting, loop = wave_module.probes(run, wave), run.aws.loop
  local total, sightings = #waiting, {}
  local deadline = run.state.reimported + (run.options.verify_within or M.WITHIN)
  local poll = run.options.poll or run.plan.settings.poll or run.aws.poll or wave_module.POLL
  while #waiting > 0 do
    local problem
    waiting, problem = look(run, waiting, sightings)
    if not waiting then return nil, problem end
    run:emit("serving", { wave = index, seen = total - #waiting, total = total })
    if #waiting > 0 then
      if problem and run:now() >= deadline then
        return nil, stopped("NotServed", ("%s, although the new certificate was imported long ago; find out why, then "
          .. "resume (--no-verify ends it without looking)"):format(problem))
      end
      local ok, err = loop:sleep(poll)
      if not ok then return nil, err end
    end
  end
  local entry = { step = "verify", wave = index }
  local ok, err = run:outcome(entry, { seen = total })
  if not ok then return nil, err end
  run.state.verified[index] = entry.at
  run:emit("verified", { wave = index, seen = total })
  return true
end

-- Somebody who reimported meanwhile has had the last word, and it must not be called ours.
local function still_ours(run)
  local stored, err = method.stored(run.aws, run.plan.from)
  if not stored then return nil, err end
  if stored.fingerprint == run.plan.identity.fingerprint then return true end
  return nil, stopped("ForeignCertificate", ("%s holds another certificate now (SHA-256 %s...): somebody reimported it "
    .. "meanwhile; look at it, it is left as it is"):format(run.plan.from, stored.fingerprint:sub(1, 16)), "conflict")
end

--- Carries a reimport out, or what is left of it; on the way back, the old certificate.
---@param run certrotate.Run
---@return boolean? ok
---@return certrotate.Error?
function M.walk(run)
  local index, state, ok, err = 1, run.state, true, nil
  local wave = run.plan.waves[index]
  if not state.reimported then ok, err = write(run) end
  if not ok then return nil, err end
  if state.soaked[index] then return still_ours(run) end
  wave_module.announce(run, index, wave)
  local wanted = run.options.verify
  if wanted == nil then wanted = run.plan.settings.verify end
  if wanted and not state.verified[index] then ok, err = watch(run, index, wave) end
  if ok then ok, err = still_ours(run) end
  if not ok then return nil, err end
  return wave_module.close(run, index, wave)
end

--- The way back from a reimport that was begun.
---@param run certrotate.Run
---@return boolean? ok
---@return certrotate.Error?
function M.walk_back(run)
  local forward = run.state.forward
  if not forward.reimported and not forward.reimport_open then return true end
  return M.walk(run)
end

return M
