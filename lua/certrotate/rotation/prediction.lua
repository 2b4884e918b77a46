--- How long waves take and what they cost, under stated assumptions. Pure.
--
-- Assumed are the time of one change, of each deployment, and that nobody is waited for: a pause for a person, a gate
-- and what AWS's rate limits add are not known beforehand. Windows, soaks and the alignment with the hour are counted.
local cost = require("certrotate.rotation.cost")
local policy_module = require("certrotate.rotation.policy")
local window = require("certrotate.rotation.window")

local M = {}

---@class certrotate.WavePrediction
---@field starts number                     seconds after the beginning
---@field seconds number                    until its last holder is Deployed
---@field changed table<string, number>     by holder: seconds after the beginning
---@field deployed table<string, number>    the same, until it is Deployed

---@class certrotate.Prediction
---@field seconds number              from the first change to the last Deployed
---@field overlap_seconds number      both certificates on charged dedicated-IP holders
---@field charge number               USD
---@field minimum_overlap_seconds number   whatever the policy: no order of changes is shorter
---@field minimum_charge number       USD, for that
---@field one_at_a_time { seconds: number, overlap_seconds: number, charge: number }
---@field deploy_seconds number       assumed, where no holder's own is known
---@field call_seconds number         assumed

---@class certrotate.PredictionContext
---@field now number
---@field deploy_seconds number
---@field call_seconds number
---@field call_interval? number             seconds between two changes, where AWS's limit is known
---@field expected? table<string, number>   seconds a holder's deployment takes, by id
---@field cost? certrotate.CostOptions

local function expected_of(context, holder)
  return (context.expected or {})[holder.Id] or context.deploy_seconds
end

-- One wave as if it began at 0. A unit's policy is detached before and attached after, and both are deployed.
local function alone(wave, context)
  local around = wave.unit and context.call_seconds + context.deploy_seconds or 0
  local found, last = { changed = {}, deployed = {} }, 0
  for position, holder in ipairs(wave.holders) do
    local changed = around + math.ceil(position / wave.parallel) * context.call_seconds
    found.changed[holder.Id] = changed
    found.deployed[holder.Id] = changed + expected_of(context, holder)
    last = math.max(last, found.deployed[holder.Id])
  end
  found.seconds = last + around
  return found
end

--- When a wave may begin: in a window with enough left of it, and where the hours of the clock are used best.
---@param wave { windows?: string[], align?: boolean }
---@param now number       Unix seconds
---@param seconds number   what it is expected to take
---@return number time
function M.begins(wave, now, seconds)
  local when = wave.windows and window.opening(wave.windows, now, seconds) or now
  if not wave.align then return when end
  local aligned = cost.aligned(when, seconds)
  -- A window goes before the price: aligned out of it, the wave begins with the window.
  if wave.windows and window.opening(wave.windows, aligned, seconds) ~= aligned then return when end
  return aligned
end

--- When each wave begins and each holder is Deployed.
---@param waves certrotate.Wave[]
---@param context certrotate.PredictionContext
---@return certrotate.WavePrediction[] schedule
---@return number seconds   of all
function M.schedule(waves, context)
  local at, list = 0, {}
  for index, wave in ipairs(waves) do
    local found = alone(wave, context)
    at = M.begins(wave, context.now + at, found.seconds) - context.now
    found.starts = at
    for _, holder in ipairs(wave.holders) do
      found.changed[holder.Id] = found.changed[holder.Id] + at
      found.deployed[holder.Id] = found.deployed[holder.Id] + at
    end
    list[index] = found
    at = at + found.seconds + (index < #waves and wave.soak or 0)
  end
  return list, at
end

local function one_at_a_time(waves, times, context)
  local seconds, all = 0, 0
  for _, wave in ipairs(waves) do
    if wave.unit then seconds = seconds + 2 * (context.call_seconds + context.deploy_seconds) end
    for _, holder in ipairs(wave.holders) do
      seconds = seconds + context.call_seconds + expected_of(context, holder)
    end
  end
  for _, time in ipairs(times) do all = all + time end
  return seconds, cost.one_at_a_time(#times, context.call_seconds, #times > 0 and all / #times or 0)
end

---@param waves certrotate.Wave[]
---@param context certrotate.PredictionContext
---@return certrotate.Prediction
---@return certrotate.WavePrediction[] schedule
function M.predict(waves, context)
  local schedule, seconds = M.schedule(waves, context)
  local times, first, last = {}, nil, nil
  for index, wave in ipairs(waves) do
    for _, holder in ipairs(wave.holders) do
      if policy_module.charged(holder) then
        local found = schedule[index]
        times[#times + 1] = expected_of(context, holder)
        first = math.min(first or math.huge, found.changed[holder.Id])
        last = math.max(last or 0, found.deployed[holder.Id])
      end
    end
  end
  local from = context.now + (first or 0)
  local function charge(time) return time > 0 and cost.charge(from, from + time, context.cost) or 0 end
  local overlap = first and last - first or 0
  local least = cost.least_overlap(times, context.call_interval)
  local single_seconds, single = one_at_a_time(waves, times, context)
  return {
    seconds = seconds, overlap_seconds = overlap, charge = charge(overlap), minimum_overlap_seconds = least,
    minimum_charge = charge(least),
    one_at_a_time = { seconds = single_seconds, overlap_seconds = single, charge = charge(single) },
    deploy_seconds = context.deploy_seconds, call_seconds = context.call_seconds,
  }, schedule
end

return M
