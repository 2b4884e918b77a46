--- Between two waves: the user's own gate must agree, and a person, where the plan asks for one.
--
-- What was agreed to is in the journal and is not asked again. A gate's functions are not: they are given by the
-- caller, or read again from the policy file the plan names (policy_file.lua).
local stopped = require("certrotate.rotation.run.base").stopped

local M = {}

local function passed(run, index, what)
  local gates = run.state.gates[index]
  return gates and gates[what] == "passed"
end

local function note(run, index, what, verdict)
  local ok, err = run:record({ event = "gate", wave = index, gate = what, verdict = verdict })
  if not ok then return nil, err end
  run.state.gates[index] = run.state.gates[index] or {}
  run.state.gates[index][what] = verdict
  run:emit("gate", { wave = index, gate = what, verdict = verdict, text = run.plan.waves[index].pause })
  return true
end

local function context_of(run, index, wave, attempt)
  local ids = {}
  for i, holder in ipairs(wave.holders) do ids[i] = holder.Id end
  return { aws = run.aws, wave = index, name = wave.name, ids = ids, reference = run.state.to,
           fingerprint = run.plan.identity.fingerprint, settled = run.state.settled[index], now = run:now(),
           attempt = attempt }
end

-- What it said is in the journal for whoever looks; the next run asks anew.
local function refused(run, index, wave, why)
  local ok, err = run:record({ event = "gate", wave = index, gate = "function", verdict = "refused", why = why })
  if not ok then return nil, err end
  return nil, stopped("GateRefused", ("the gate '%s' after wave %d does not agree: %s; resume asks it again"):format(
    wave.gate, index, why))
end

-- Asks the user's function until it decides. It runs as a task: it may wait, and one that raises ends nothing but itself.
local function ask(run, index, wave)
  local loop, attempt = run.aws.loop, 0
  while true do
    attempt = attempt + 1
    local verdict, why = loop:await(loop:spawn(run.gates[wave.gate], context_of(run, index, wave, attempt)))
    if verdict == true then return note(run, index, "function", "passed") end
    if type(why) == "table" and why.kind == "cancelled" then return nil, why end
    local seconds = type(verdict) == "number" and verdict == verdict and verdict >= 0 and verdict < math.huge
    if not seconds then
      return refused(run, index, wave, tostring(type(why) == "table" and why.message or why
        or verdict and "it returned " .. tostring(verdict) or "it gave no reason"))
    end
    run:emit("waiting", { wave = index, seconds = verdict, deadline = run:now() + verdict, why = "gate" })
    local ok, err = loop:sleep(math.max(verdict, 1))
    if not ok then return nil, err end
  end
end

-- A person agrees by `approve`: a function, or true when resuming what stopped at this very question.
local function person(run, index, wave)
  local approve, asked = run.options.approve, (run.state.gates[index] or {}).pause == "asked"
  if approve == true and asked then return note(run, index, "pause", "passed") end
  if not asked then
    local ok, err = note(run, index, "pause", "asked")
    if not ok then return nil, err end
  end
  local verdict, why
  if type(approve) == "function" then
    local loop = run.aws.loop
    verdict, why = loop:await(loop:spawn(approve, { wave = index, name = wave.name, text = wave.pause }))
    if verdict == true then return note(run, index, "pause", "passed") end
    if type(why) == "table" and why.kind == "cancelled" then return nil, why end
  end
  return nil, stopped("Paused", ("wave %d is done; a person must agree before the next (%s): `certrotate resume %s --approve`"
    .. " goes on"):format(index, wave.pause, run.journal.path), "cancelled")
end

--- Lets the run pass behind a wave, or says why not.
---@param run certrotate.Run
---@param index integer
---@param wave certrotate.PlanWave
---@return boolean? ok
---@return certrotate.Error?
function M.pass(run, index, wave)
  local ok, err = true, nil
  if wave.gate and not passed(run, index, "function") then ok, err = ask(run, index, wave) end
  if ok and wave.pause and index < #run.plan.waves and not passed(run, index, "pause") then
    ok, err = person(run, index, wave)
  end
  return ok, err
end

return M
