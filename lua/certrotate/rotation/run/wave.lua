--- One wave of a run: its holders are changed, seen Deployed, looked at as viewers do, and watched for a while.
local inventory_module = require("certrotate.rotation.inventory")
local journal_module = require("certrotate.rotation.journal")
local json = require("certrotate.json")
local begin = require("certrotate.rotation.run.begin")
local budget = require("certrotate.rotation.run.budget")
local gate = require("certrotate.rotation.run.gate")
local probes_module = require("certrotate.rotation.run.probes")
local stopped = require("certrotate.rotation.run.base").stopped

local M = {}

M.POLL = 20            -- seconds between looks at a deployment; the AWS waiter takes 60
M.LISTING_POLL = 10    -- where one call tells of a hundred holders
M.SETTLE_TIMEOUT = 3600
M.VERIFY_WITHIN = 120  -- an edge that was Deployed a moment ago may still need a little

-- What became of one swap, for the rest of this run. Returns true, or nil and the error that must stop the rotation.
local function swapped(run, holder, changed, failure)
  local state, id = run.state, holder.Id
  if not failure then
    state.swapped[id] = { changed = changed, at = run:now() }
    state.failed[id], state.conflicts[id] = nil, nil
    run:emit("swap", { id = id, changed = changed })
    return true
  end
  if journal_module.is_conflict(failure) then
    state.conflicts[id] = failure.message
    run:emit("conflict", { id = id, message = failure.message })
    return true
  end
  run.failed[id], state.failed[id] = failure, failure
  run:emit("failure", { id = id, error = failure })
  return nil, failure
end

--- Changes one holder. One that somebody else changed or deleted is left alone, and that is no failure.
---@return boolean? ok
---@return certrotate.Error?
function M.swap(run, index, holder)
  local state, id = run.state, holder.Id
  local begun_before = state.begun[id] ~= nil
  local intent = { event = "intent", step = "swap", id = id }
  local ok, err = run:record(intent)
  if not ok then return nil, err end
  state.begun[id] = state.begun[id] or intent.at
  local asked = run.aws.loop:monotonic()
  local attach = holder.attach or {}
  local result, failure = run:await("swap", {
    Id = id, from = not holder.attach and run.plan.from or nil, to = state.to,
    ssl_support_method = attach.SSLSupportMethod, minimum_protocol_version = attach.MinimumProtocolVersion,
  })
  run:tell_pace()
  -- Begun by an earlier run whose answer got lost, and found done: that run's change, not nobody's.
  local changed = result and (result.changed or begun_before)
  local seconds = math.floor((run.aws.loop:monotonic() - asked) * 1000 + 0.5) / 1000
  ok, err = run:outcome({ step = "swap", id = id },
    result and { changed = changed, ETag = result.ETag, seconds = result.changed and seconds or nil }, failure)
  if not ok then return nil, err end
  if result then
    -- What was settled before is not settled any more.
    state.settled[index], state.verified[index] = nil, nil
    if result.changed then
      state.gates[index] = nil
      run.timed[index], run.changed_at[id], state.ended = true, run:now(), nil
    end
  end
  return swapped(run, holder, changed, failure)
end

local function swap_wave(run, index, wave)
  local pending = {}
  for _, holder in ipairs(wave.holders) do
    if not run.state.swapped[holder.Id] then pending[#pending + 1] = holder end
  end
  return budget.each(run, pending, wave.parallel, function(holder)
    local why = run:interruption()
    if why then return nil, why end
    local ok, err = begin.within(run, index, wave)
    if not ok then return nil, err end
    return M.swap(run, index, holder)
  end)
end

-- One look at those of the wave that are not Deployed yet. Returns who is left, and adds to `foreign` who does not name
-- `to` (nil: whatever they name).
local function look(run, wave, waiting, foreign, to)
  local result, err = run:await("settle", {
    Ids = waiting, to = to, timeout = 0, listing = wave.settle == "listing" and #waiting > 1,
  })
  if not result then return nil, err end
  local left_alone = {}
  for _, id in ipairs(result.foreign or {}) do
    left_alone[id] = true
    foreign[#foreign + 1] = id
    run:emit("conflict", { id = id, message = journal_module.FOREIGN })
  end
  local still = {}
  for _, holder in ipairs(result.holders or {}) do
    if holder.Status ~= "Deployed" and not left_alone[holder.Id] then still[#still + 1] = holder.Id end
  end
  return still
end

-- How long the deployments took of which this run saw both ends: what the next rotation may expect.
local function note_deployed(run, index, before, after)
  local waits = {}
  for _, id in ipairs(after) do waits[id] = true end
  for _, id in ipairs(before) do
    local at = run.changed_at[id]
    if at and not waits[id] then
      run.deployed[index] = run.deployed[index] or {}
      run.deployed[index][id] = math.floor(run:now() - at + 0.5)
      run.changed_at[id] = nil
    end
  end
end

-- Looks until every one is Deployed. One look is one step; the pause between looks is ours, so that progress can be
-- shown and an interrupt is heard.
---@param waiting string[]    ids
---@param foreign? string[]   gets who names another certificate; nil: what they name is not looked at
---@return boolean? ok
---@return certrotate.Error?
function M.await_deployed(run, index, wave, waiting, foreign)
  local loop, total = run.aws.loop, #waiting
  local poll = run.options.poll or run.plan.settings.poll or run.aws.poll
    or wave.settle == "listing" and M.LISTING_POLL or M.POLL
  local deadline = loop:monotonic() + (run.options.settle_timeout or M.SETTLE_TIMEOUT)
  while #waiting > 0 do
    local err
    local before = waiting
    waiting, err = look(run, wave, waiting, foreign or {}, foreign and run.state.to)
    if not waiting then return nil, err end
    note_deployed(run, index, before, waiting)
    run:emit("settling", { wave = index, deployed = total - #waiting, total = total })
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
function M.settle(run, index, wave)
  local state, changed, foreign = run.state, {}, {}
  for _, holder in ipairs(wave.holders) do
    if state.swapped[holder.Id] then changed[#changed + 1] = holder.Id end
  end
  local began = run.aws.loop:monotonic()
  local ok, err = M.await_deployed(run, index, wave, changed, foreign)
  if not ok then return nil, err end
  local seconds = run.aws.loop:monotonic() - began
  local entry = { step = "settle", wave = index }
  ok, err = run:outcome(entry, { holders = #changed, foreign = json.array(foreign), deployed = run.deployed[index] })
  if not ok then return nil, err end
  state.settled[index] = entry.at
  journal_module.note_foreign(state, changed, foreign)
  for _, holder in ipairs(wave.holders) do
    if holder.charged and state.swapped[holder.Id] then state.last_charged = entry.at end
  end
  run:emit("settled", { wave = index, seconds = run.timed[index] and seconds or nil, total = #changed - #foreign })
  return true
end

-- A name to ask for: an alias viewers use. A wildcard stands for any name below it.
local function server_name(holder)
  local alias = holder.Aliases[1]
  return alias and (alias:gsub("^%*", "certrotate"))
end

--- Looks at what one holder serves, for so many seconds until it is what was wanted.
---@param wanted? { probes: integer, need: integer }   default: one connection
---@return table? result   of the step `verify`
---@return certrotate.Error?
function M.probe(run, holder, within, wanted)
  local edge = run.aws.edge or {}
  -- A tenant's viewers arrive at its own domain, not at its distribution's.
  local own = inventory_module.is_tenant(holder.Id) and server_name(holder) or holder.DomainName
  local params = {
    server_name = server_name(holder), host = edge.host or own, port = edge.port or 443,
    fingerprint = run.plan.identity.fingerprint, timeout = 10, within = within, every = 2,
  }
  if wanted and wanted.probes > 1 then return probes_module.look(run, params, wanted, within) end
  return run:await("verify", params)
end

--- Who of the changed holders of a wave can be looked at: viewers come to those that are enabled, by an alias.
---@return certrotate.PlanHolder[]
function M.probes(run, wave)
  local list, state = {}, run.state
  for _, holder in ipairs(wave.holders) do
    if holder.Enabled and not holder.Staging and server_name(holder) and state.swapped[holder.Id]
      and not state.conflicts[holder.Id] then
      list[#list + 1] = holder
    end
  end
  return list
end

-- A holder that is not seen to serve what it was given: deleted, or given another certificate, by somebody else since it
-- was Deployed, it is left alone like any other; otherwise no resume would ever come past it. True when that is so.
local function left_alone(run, holder)
  local id = holder.Id
  local reference, why = inventory_module.reference(run.aws, id)
  if reference == run.state.to or not reference and not inventory_module.is_gone(why) then return false end
  local failure = stopped("ForeignCertificate", reference and journal_module.FOREIGN or journal_module.GONE, "conflict")
  local ok, err = run:outcome({ step = "swap", id = id }, nil, failure)
  if not ok then return nil, err end
  run.state.conflicts[id] = failure.message
  run:emit("conflict", { id = id, message = failure.message })
  return true
end

local function verify_holder(run, holder, wanted)
  local result, err = M.probe(run, holder, run.options.verify_within or M.VERIFY_WITHIN, wanted)
  if result and result.matches then return true end
  if not result and err.kind == "cancelled" then return nil, err end
  local alone, why = left_alone(run, holder)
  if alone then return true end
  if why then return nil, why end
  local again = run.state.forward and "rollback" or "resume"
  if not result then
    return nil, stopped("NotServed", ("%s could not be looked at: %s; %s, with --no-verify to go on without looking")
      :format(holder.Id, err.message, again), nil, err)
  end
  if not result.fingerprint then
    return nil, stopped("NotServed", ("%s was served the new certificate on %d of %d connections, and %d are needed; the "
      .. "others failed: %s; %s, with --no-verify to go on without looking"):format(holder.Id, result.seen,
      wanted.probes, wanted.need, tostring(result.failure and result.failure.message), again))
  end
  return nil, stopped("NotServed", ("%s still serves %s (expires %s) for %s, not what it was given; find out why, then %s")
    :format(holder.Id, tostring(result.fingerprint):sub(1, 16),
      result.not_after and require("certrotate.fmt").date(result.not_after) or "unknown", server_name(holder), again))
end

--- Looks at what viewers are served, unless that was done or is not wanted.
---@return boolean? ok
---@return certrotate.Error?
function M.verify(run, index, wave)
  local wanted = run.options.verify
  if wanted == nil then wanted = run.plan.settings.verify end
  -- Of a certificate that AWS does not show nobody knows what viewers must see.
  if not wanted or run.state.verified[index] or not run.plan.identity.fingerprint then return true end
  local probes, state = M.probes(run, wave), run.state
  local ok, err = run:each(probes, 8, function(holder) return verify_holder(run, holder, wave.verify) end)
  if not ok then return nil, err end
  local entry = { step = "verify", wave = index }
  ok, err = run:outcome(entry, { seen = #probes })
  if not ok then return nil, err end
  state.verified[index] = entry.at
  run:emit("verified", { wave = index, seen = #probes })
  return true
end

-- The time to watch a wave, counted from when it had settled: an interruption does not begin it again.
local function soak_wave(run, index, wave)
  if wave.soak <= 0 or index == #run.plan.waves then return true end
  local until_ = (run.state.settled[index] or run:now()) + wave.soak
  run:emit("soak", { wave = index, seconds = math.max(0, until_ - run:now()) })
  while run:now() < until_ do
    local ok, err = run.aws.loop:sleep(math.min(until_ - run:now(), 5))
    if not ok then return nil, err end
  end
  return true
end

--- Says that a wave begins, or goes on.
function M.announce(run, index, wave)
  local state, done = run.state, 0
  for _, holder in ipairs(wave.holders) do
    if state.swapped[holder.Id] then done = done + 1 end
  end
  run:emit("wave", { wave = index, name = wave.name, holders = #wave.holders, done = done, waves = #run.plan.waves,
                     parallel = wave.parallel })
end

--- Watches a wave that is done, and records that it needs no second walk.
---@return boolean? ok
---@return certrotate.Error?
function M.close(run, index, wave)
  local ok, err = soak_wave(run, index, wave)
  if ok then ok, err = gate.pass(run, index, wave) end
  if not ok then return nil, err end
  local entry = { event = "wave", wave = index }
  ok, err = run:record(entry)
  if not ok then return nil, err end
  run.state.soaked[index] = entry.at
  return true
end

--- Walks one wave, or what is left of it.
---@param run certrotate.Run
---@param index integer   its number in the plan
---@param wave certrotate.PlanWave
---@return boolean? ok
---@return certrotate.Error?
function M.walk(run, index, wave)
  if run.state.soaked[index] then return true end
  local ok, err = begin.wait(run, index, wave)
  if not ok then return nil, err end
  M.announce(run, index, wave)
  ok, err = swap_wave(run, index, wave)
  if ok and not run.state.settled[index] then ok, err = M.settle(run, index, wave) end
  if ok then ok, err = M.verify(run, index, wave) end
  if not ok then return nil, err end
  return M.close(run, index, wave)
end

return M
