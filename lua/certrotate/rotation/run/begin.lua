--- Before a wave begins: its maintenance window is open, and its overlap lies well in the hours that are charged.
--
-- Time has passed since the plan was made, so both are reckoned anew from the clock of now. Waiting changes nothing:
-- an interruption leaves it, a resume reckons again.
local fmt = require("certrotate.fmt")
local prediction = require("certrotate.rotation.prediction")
local stopped = require("certrotate.rotation.run.base").stopped
local window = require("certrotate.rotation.window")

local M = {}

local function sleep_until(run, index, when, why)
  if when <= run:now() then return true end
  local patience = run.options.patience
  if patience and when - run:now() > patience then
    return nil, stopped("NotYet", ("wave %d waits for %s until %s; a resume goes on then"):format(index,
      why == "hour" and "the hour" or "its maintenance window", fmt.timestamp(when)), "cancelled")
  end
  run:emit("waiting", { wave = index, seconds = when - run:now(), deadline = when, why = why })
  while run:now() < when do
    local ok, err = run.aws.loop:sleep(math.min(when - run:now(), 5))
    if not ok then return nil, err end
  end
  return true
end

-- Whether holders of the wave are still to be changed, and whether some have been.
local function progress(state, wave)
  local left, begun = false, false
  for _, holder in ipairs(wave.holders) do
    left = left or not state.swapped[holder.Id]
    begun = begun or state.begun[holder.Id] ~= nil
  end
  return left, begun
end

--- When the wave may begin, or go on. One that was begun goes on as soon as a window is open: what is charged
--- meanwhile weighs more than a change of two windows. Pure.
---@param state certrotate.JournalState
---@param wave certrotate.PlanWave
---@param now number
---@return number when   `now`, where nothing holds it
---@return "window"|"hour" why
function M.due(state, wave, now)
  local left, begun = progress(state, wave)
  if not left or not (wave.windows or wave.align) then return now, "window" end
  local asked = { windows = wave.windows, align = wave.align and not begun }
  local seconds = not begun and wave.seconds or 0
  local opened = wave.windows and window.opening(wave.windows, now, seconds) or now
  local when = prediction.begins(asked, now, seconds)
  return when, when > opened and "hour" or "window"
end

--- Waits until the wave may begin.
---@param run certrotate.Run
---@param index integer
---@param wave certrotate.PlanWave
---@return boolean? ok
---@return certrotate.Error?
function M.wait(run, index, wave)
  local when, why = M.due(run.state, wave, run:now())
  return sleep_until(run, index, when, why)
end

--- Waits, within a wave, for the window to be open: no change begins outside.
---@param run certrotate.Run
---@param index integer
---@param wave certrotate.PlanWave
---@return boolean? ok
---@return certrotate.Error?
function M.within(run, index, wave)
  if not wave.windows then return true end
  while not window.left(wave.windows, run:now()) do
    local ok, err = sleep_until(run, index, window.opening(wave.windows, run:now(), 0), "window")
    if not ok then return nil, err end
  end
  return true
end

return M
