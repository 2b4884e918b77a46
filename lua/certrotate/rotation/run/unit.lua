--- One continuous deployment of a run: its policy is detached, its distributions are changed, it is attached again.
--
-- The one change outside ViewerCertificate there is (rule 1). What is owed from the first announcement of a detach on
-- is the attach: the run makes it before it stops, whatever stops it, and a resume makes it before anything else.
local continuous_deployment = require("certrotate.rotation.continuous_deployment")
local inventory_module = require("certrotate.rotation.inventory")
local journal_module = require("certrotate.rotation.journal")
local begin = require("certrotate.rotation.run.begin")
local wave_module = require("certrotate.rotation.run.wave")

local M = {}

-- Seconds for which CloudFront may refuse a policy although everything is Deployed: it may lag a little.
M.PATIENCE = 60

-- Records one entry of the policy's own, and lets the state follow it.
local function note(run, index, wave, event, step, result, failure)
  local entry = { event = event, step = step, wave = index, id = wave.unit.primary, policy = wave.unit.policy }
  local ok, err
  if event == "outcome" then ok, err = run:outcome(entry, result, failure) else ok, err = run:record(entry) end
  if ok then journal_module.note(run.state, entry) end
  return ok, err
end

local function pending(run, wave)
  local list = {}
  for _, holder in ipairs(wave.holders) do
    if not run.state.swapped[holder.Id] then list[#list + 1] = holder end
  end
  return list
end

-- Nobody of the unit is changed: told, and recorded for each that would have been.
local function leave_alone(run, list, message_of)
  for _, holder in ipairs(list) do
    local failure = continuous_deployment.conflict(message_of(holder))
    local ok, err = run:outcome({ step = "swap", id = holder.Id }, nil, failure)
    if not ok then return nil, err end
    run.state.conflicts[holder.Id] = failure.message
    run:emit("conflict", { id = holder.Id, message = failure.message })
  end
  return true
end

-- ── detaching ───────────────────────────────────────────────────────────────────────────────────────────────

-- What the unit's distributions name before anything is detached for them: "old" when some name the old certificate and
-- none a third one, "new" when there is nothing to detach for, "foreign" when they have been left alone and told.
local function worth_detaching(run, wave, list)
  local foreign, named = nil, "new"
  for _, holder in ipairs(wave.holders) do
    local reference, err = inventory_module.reference(run.aws, holder.Id)
    if not reference and err.code ~= "NoSuchDistribution" then return nil, err end
    if reference == run.plan.from then
      named = "old"
    elseif reference ~= run.state.to then
      foreign = foreign or holder.Id
    end
  end
  if not foreign then return named end
  local ok, err = leave_alone(run, list, function(holder)
    if holder.Id == foreign then return journal_module.FOREIGN end
    return ("%s was changed or deleted by somebody else meanwhile, and they are changed together or not at all"):format(
      foreign)
  end)
  if not ok then return nil, err end
  return "foreign"
end

-- Whether the policy is what was reviewed; a conflict when not.
local function as_planned(run, wave)
  local policy, err = continuous_deployment.policy(run.aws, wave.unit.policy)
  if not policy and err.code ~= "NoSuchContinuousDeploymentPolicy" then return nil, err end
  local changed = not policy and ("continuous-deployment policy %s was deleted"):format(wave.unit.policy)
    or policy and continuous_deployment.changed(wave.unit, policy)
  if changed then return nil, continuous_deployment.conflict(changed .. " by somebody else meanwhile") end
  return true
end

-- True when it is detached by us; false when it is not ours and the unit is left alone.
local function detach(run, index, wave)
  local unit, state = wave.unit, run.state.units[index]
  local begun_before = state.begun
  local ok, failure
  if not begun_before then
    ok, failure = as_planned(run, wave)
    if not ok and failure.kind ~= "conflict" then return nil, failure end
  end
  local result, err
  if not failure then
    ok, err = note(run, index, wave, "intent", "detach")
    if not ok then return nil, err end
    result, failure = run:await("policy", { Id = unit.primary, from = unit.policy, to = "",
                                            settle_patience = run.options.policy_patience or M.PATIENCE })
    -- Begun by an earlier run whose answer got lost, and found done: that run's doing, not somebody else's.
    local ours = result and (result.changed or begun_before)
    ok, err = note(run, index, wave, "outcome", "detach", result and { changed = ours, ETag = result.ETag }, failure)
    if not ok then return nil, err end
    if ours then
      run:emit("detach", { wave = index, id = unit.primary, policy = unit.policy, traffic = unit.traffic })
      return true
    end
  end
  if failure and not journal_module.is_conflict(failure) then return nil, failure end
  ok, err = leave_alone(run, pending(run, wave), function()
    return failure and failure.message
      or ("continuous-deployment policy %s was detached from %s by somebody else meanwhile; make a new plan"):format(
        unit.policy, unit.primary)
  end)
  if not ok then return nil, err end
  return false
end

-- ── attaching ───────────────────────────────────────────────────────────────────────────────────────────────

-- Attaches what was detached, when that is still what was reviewed and nobody attached another one. A conflict is told
-- and left alone.
local function attach(run, index, wave)
  local unit, state = wave.unit, run.state.units[index]
  if not state.owed then return true end
  local now, failure = continuous_deployment.attached(run.aws, unit.primary)
  if not now and failure.code ~= "NoSuchDistribution" then return nil, failure end
  if now == "" then
    local _
    _, failure = as_planned(run, wave)
    if failure and failure.kind ~= "conflict" then return nil, failure end
  end
  local result, ok, err
  if run.aws.loop:leaving() then return nil, run:interruption() end
  if not failure then
    ok, err = note(run, index, wave, "intent", "attach")
    if not ok then return nil, err end
    result, failure = run:await("policy", { Id = unit.primary, from = "", to = unit.policy,
                                            settle_patience = run.options.policy_patience or M.PATIENCE })
  end
  if failure and journal_module.is_conflict(failure) then
    failure = continuous_deployment.conflict(
      ("continuous-deployment policy %s was not attached to %s again: %s; look at it, it is left as it is"):format(
        unit.policy, unit.primary, failure.message))
  end
  ok, err = note(run, index, wave, "outcome", "attach",
    result and { changed = result.changed, ETag = result.ETag }, failure)
  if result then
    run:emit("attach", { wave = index, id = unit.primary, policy = unit.policy })
    if not ok then return nil, err end
    return wave_module.await_deployed(run, index, wave, { unit.primary })
  end
  if failure.kind ~= "conflict" then return nil, failure end
  if not ok then return nil, err end
  run:emit("conflict", { id = unit.primary, message = failure.message })
  return true
end

-- ── changing ────────────────────────────────────────────────────────────────────────────────────────────────

-- One after the other, staging first. Once one is changed the others follow, interrupted or not: the deployments that
-- are waited for before the policy is attached again take longer than that, and a primary and its staging copy with
-- different certificates may be refused a policy.
local function swap_all(run, index, wave)
  for _, holder in ipairs(pending(run, wave)) do
    local untouched = #pending(run, wave) == #wave.holders
    local err = (untouched or run.aws.loop:leaving()) and run:interruption()
    if err then return nil, err end
    local ok
    ok, err = run.aws.loop:shielded(wave_module.swap, run, index, holder)
    if not ok then return nil, err end
  end
  return true
end

-- Detached by an earlier run: whether it still is. Attached by somebody since, it is to be detached anew; where another
-- one is attached the unit is left alone, and false is returned.
local function still_detached(run, index, wave, list)
  local now, err = continuous_deployment.attached(run.aws, wave.unit.primary)
  if not now and err.code ~= "NoSuchDistribution" then return nil, err end
  if now == "" then return true end
  local ok
  ok, err = attach(run, index, wave)
  if not ok then return nil, err end
  local conflict = run.state.units[index].conflict
  if not conflict then return true end
  ok, err = leave_alone(run, list, function() return conflict end)
  if not ok then return nil, err end
  return false
end

-- Makes sure that the holders still to be changed can be: true, or false when they have been left alone.
local function prepare(run, index, wave, list)
  local state = run.state.units[index]
  if state.owed and not state.begun then
    local go_on, err = still_detached(run, index, wave, list)
    if not go_on then return go_on, err end
  end
  if not state.owed or state.begun then
    local named, err = "old", nil
    if not state.begun then named, err = worth_detaching(run, wave, list) end
    if not named then return nil, err end
    -- Where nobody names the old certificate any more, the swaps find that out and write nothing.
    if named ~= "old" then return named == "new" end
    local ours
    ours, err = detach(run, index, wave)
    if not ours then return ours, err end
  end
  return wave_module.await_deployed(run, index, wave, { wave.unit.primary })
end

local function change(run, index, wave)
  local list = pending(run, wave)
  local ok, err = true, nil
  if #list > 0 then
    local ready
    ready, err = prepare(run, index, wave, list)
    if ready == nil then return nil, err end
    if ready then ok, err = swap_all(run, index, wave) end
  end
  if ok and not run.state.settled[index] then ok, err = wave_module.settle(run, index, wave) end
  if ok then ok, err = wave_module.verify(run, index, wave) end
  return ok, err
end

--- Walks one unit, or what is left of it.
---@param run certrotate.Run
---@param index integer   number of its wave in the plan
---@param wave certrotate.PlanWave
---@return boolean? ok
---@return certrotate.Error?
function M.walk(run, index, wave)
  if run.state.soaked[index] then return true end
  local ok, err = begin.wait(run, index, wave)
  if not ok then return nil, err end
  wave_module.announce(run, index, wave)
  ok, err = change(run, index, wave)
  if ok then ok, err = attach(run, index, wave) end
  if not ok then return nil, err end
  return wave_module.close(run, index, wave)
end

--- Whether something is still to be attached again in this unit.
---@param run certrotate.Run
---@param index integer
---@return boolean
function M.open(run, index)
  local state = run.state.units[index]
  return state ~= nil and state.owed and state.conflict == nil
end

-- Settles what was begun and attaches, as far as that is possible. What cannot be settled is no reason not to try.
local function restore_one(run, index, wave)
  local waiting = { wave.unit.primary }
  for _, holder in ipairs(wave.holders) do
    if holder.Id ~= wave.unit.primary then waiting[#waiting + 1] = holder.Id end
  end
  local ok, err = wave_module.await_deployed(run, index, wave, waiting)
  if not ok and err.kind == "cancelled" then return nil, err end
  return attach(run, index, wave)
end

--- On the way out: every policy that is still detached is attached again, interrupted or not. A second interrupt ends
--- that. What stays detached is told in `err`: `err.detached`, and in its message.
---@param run certrotate.Run
---@param err certrotate.Error   why the run stops
function M.restore(run, err)
  local left, before = {}, err.message
  for index, wave in ipairs(run.plan.waves) do
    if M.open(run, index) then
      local unit, ok, why = wave.unit, nil, err
      if not run.aws.loop:leaving() then
        run:emit("restoring", { wave = index, id = unit.primary, policy = unit.policy,
                                interrupted = run.aws.loop.interrupted ~= nil })
      end
      -- Once more: while it was told there was time for a second one.
      if not run.aws.loop:leaving() then
        ok, why = run.aws.loop:shielded(restore_one, run, index, wave)
      end
      local state = run.state.units[index]
      if state.owed and (not ok or state.conflict) then
        left[#left + 1] = { Id = unit.primary, policy = unit.policy, message = state.conflict or tostring(why.message) }
      end
    end
  end
  if #left == 0 then return end
  local texts = {}
  for i, one in ipairs(left) do
    texts[i] = ("continuous-deployment policy %s is still detached from %s%s"):format(one.policy, one.Id,
      one.message ~= before and (" (%s)"):format(one.message) or "")
  end
  err.detached = left
  err.message = ("%s; %s: `certrotate %s %s` attaches it again"):format(err.message, table.concat(texts, "; "),
    run.state.forward and "rollback" or "resume", run.journal.path)
end

return M
