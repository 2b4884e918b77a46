--- A rotation backwards: the same plan with both certificates changed over, and only the holders whose change was
-- announced, the newest first. Pure. The run that walks a plan walks this one too, so going back takes the same care.
--
-- The waves keep their numbers; one from which nobody was changed is empty. Whatever lies in the old certificate's
-- hands still is none of its business.
local M = {}

-- The wave's holders that may name the new certificate, the last announced first. A unit keeps its order: staging
-- first. Those that were on the default certificate never had the old one: they stay where they are.
local function begun(wave, state)
  local list, place = {}, {}
  for index, holder in ipairs(wave.holders) do
    if state.begun[holder.Id] and not holder.attach then
      list[#list + 1] = holder
      place[holder.Id] = index
    end
  end
  if wave.unit then return list end
  table.sort(list, function(a, b)
    local begun_a, begun_b = state.begun[a.Id], state.begun[b.Id]
    if begun_a ~= begun_b then return begun_a > begun_b end
    return place[a.Id] > place[b.Id]
  end)
  return list
end

--- The plan that leads back.
---@param plan certrotate.Plan
---@param state certrotate.JournalState   of the rotation, as far as it has come
---@param fingerprint? string             of the old certificate: what viewers must see in the end
---@return certrotate.Plan
function M.plan(plan, state, fingerprint)
  local copy = setmetatable({}, getmetatable(plan))
  for key, value in pairs(plan) do copy[key] = value end
  copy.from, copy.left_out, copy.waves = state.to or plan.from, {}, {}
  copy.identity = { fingerprint = fingerprint }
  if plan.replaced then copy.replaced = { fingerprint = plan.identity.fingerprint } end
  for index, wave in ipairs(plan.waves) do
    local back = {}
    for key, value in pairs(wave) do back[key] = value end
    back.holders, back.soak = begun(wave, state), 0
    -- Who goes back does not wait for anything that was to make going on safe.
    back.gate, back.pause, back.windows, back.align = nil, nil, nil, nil
    for _, holder in ipairs(wave.holders) do
      if holder.attach then
        copy.left_out[#copy.left_out + 1] = { Id = holder.Id, reason = "it never had the old certificate" }
      end
    end
    copy.waves[index] = back
  end
  return copy
end

--- In which order its waves are walked: backwards, without those in which nothing is to be done.
---@param plan certrotate.Plan            as `plan` made it
---@param state certrotate.JournalState   of the way back
---@return integer[]
function M.order(plan, state)
  local list = {}
  for index = #plan.waves, 1, -1 do
    local unit = state.units[index]
    if #plan.waves[index].holders > 0 or unit and unit.owed then list[#list + 1] = index end
  end
  return list
end

return M
