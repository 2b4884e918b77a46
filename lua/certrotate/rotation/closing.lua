--- How a rotation came out: what every holder names in the end, how long it took, what it cost.
local continuous_deployment = require("certrotate.rotation.continuous_deployment")
local cost = require("certrotate.rotation.cost")
local inventory_module = require("certrotate.rotation.inventory")
local journal_module = require("certrotate.rotation.journal")
local json = require("certrotate.json")

local M = {}

-- Of whom the listing does not say what is expected, and what the listing says.
local function suspects(plan, state, holders)
  local expected, listed, list = {}, {}, {}
  for _, left in ipairs(plan.left_out) do expected[left.Id] = plan.from end
  for _, holder in ipairs(plan:holders()) do expected[holder.Id] = state.to end
  for _, holder in ipairs(holders) do
    listed[holder.Id] = true
    local right = expected[holder.Id]
    -- Somebody else's holders count only where they name the old certificate; those left out may name anything.
    local wrong = right == state.to and right ~= holder.reference
      or right == nil and plan.from ~= nil and holder.reference == plan.from
    if wrong then list[#list + 1] = holder.Id end
  end
  for _, holder in ipairs(plan:holders()) do
    if not listed[holder.Id] then list[#list + 1] = holder.Id end
  end
  table.sort(list)
  return list
end

-- Which policy the primary of each unit has attached now, by the wave's number.
local function attached_policies(aws, plan)
  local attached = {}
  for index, wave in ipairs(plan.waves) do
    if wave.unit then
      local policy, err = continuous_deployment.attached(aws, wave.unit.primary)
      if not policy and err.code ~= "NoSuchDistribution" then return nil, err end
      attached[index] = policy or ""
    end
  end
  return attached
end

--- Looks at every holder once more: who still names the old certificate (a new distribution, a promoted staging
-- copy), who names a third one, and which policies are attached. A listing may lag, so whoever looks wrong in it is
-- asked itself.
---@param aws certrotate.Session
---@param plan certrotate.Plan
---@param state certrotate.JournalState
---@return { left_behind: string[], foreign: table<string, string>, policies: table<integer, string> }?
---@return certrotate.Error?
function M.look(aws, plan, state)
  local holders, err = inventory_module.list_holders(aws)
  if not holders then return nil, err end
  local ok
  ok, err = inventory_module.add_tenants_of(aws, plan.from, holders)
  if not ok then return nil, err end
  local found, planned = { left_behind = json.array({}), foreign = {} }, {}
  for _, holder in ipairs(plan:holders()) do planned[holder.Id] = true end
  local done
  done, err = aws.loop:each(suspects(plan, state, holders), 8, function(id)
    local reference, why = inventory_module.reference(aws, id)
    if not reference and not inventory_module.is_gone(why) then return nil, why end
    if reference and reference == plan.from and reference ~= state.to then
      found.left_behind[#found.left_behind + 1] = id
    elseif planned[id] and reference ~= state.to then
      found.foreign[id] = reference and journal_module.FOREIGN or journal_module.GONE
    end
    return true
  end)
  if not done then return nil, err end
  table.sort(found.left_behind)
  found.policies, err = attached_policies(aws, plan)
  if not found.policies then return nil, err end
  return found
end

-- One list, by id, of everybody left alone.
local function conflict_list(conflicts)
  local list = json.array({})
  for id, message in pairs(conflicts) do list[#list + 1] = { Id = id, message = message } end
  table.sort(list, function(a, b) return a.Id < b.Id end)
  return list
end

local function counts(plan, state)
  local changed, charged = 0, 0
  for _, holder in ipairs(plan:holders()) do
    local done = state.swapped[holder.Id]
    if done and done.changed then
      changed = changed + 1
      if holder.charged then charged = charged + 1 end
    end
  end
  return changed, charged
end

-- Until when both certificates were on charged holders; until now, where one of them still has the old one.
local function overlap_end(plan, state, found, now)
  local left = {}
  for _, id in ipairs(found.left_behind) do left[id] = true end
  for _, holder in ipairs(plan:holders()) do
    if holder.charged and left[holder.Id] then return now end
  end
  return state.last_charged or now
end

-- The continuous deployments as they are in the end. One whose policy is not attached is a conflict: nothing that is
-- detached may count as done.
local function unit_list(plan, state, found, conflicts)
  local list = json.array({})
  for index, wave in ipairs(plan.waves) do
    local unit = wave.unit
    if unit then
      local policy = found.policies[index]
      list[#list + 1] = { Id = unit.primary, policy = unit.policy, attached = policy == unit.policy }
      if policy ~= unit.policy then
        conflicts[unit.primary] = state.units[index].conflict or conflicts[unit.primary]
          or ("continuous-deployment policy %s is not attached to it any more (%s): somebody else changed that"):format(
            unit.policy, policy == "" and "none is" or policy .. " is")
      end
    end
  end
  return list
end

--- The report. Pure.
---@param plan certrotate.Plan
---@param state certrotate.JournalState
---@param found { left_behind: string[], foreign: table<string, string>, policies: table<integer, string> }
---@param context { now: number, deploy_seconds?: number, call_seconds?: number, cost?: certrotate.CostOptions, journal: string }
---@return certrotate.Report
function M.report(plan, state, found, context)
  local changed, charged = counts(plan, state)
  local periods, overlap, usd = journal_module.overlaps(plan, state), 0, 0
  if #periods > 0 then periods[#periods].ended = overlap_end(plan, state, found, context.now) end
  for _, period in ipairs(periods) do
    overlap = overlap + math.max(0, period.ended - period.began)
    usd = usd + cost.charge(period.began, period.ended, context.cost)
  end
  local conflicts = {}
  for _, list in ipairs({ state.conflicts, found.foreign }) do
    for id, message in pairs(list) do conflicts[id] = conflicts[id] or message end
  end
  local units = unit_list(plan, state, found, conflicts)
  -- Looked at again long after it was finished, it did not take longer for that.
  local ended = state.ended or context.now
  local prediction = plan.prediction
  local single = cost.one_at_a_time(charged, context.call_seconds or prediction.call_seconds,
    context.deploy_seconds or prediction.deploy_seconds)
  local report = {
    method = plan.method, reference = state.to, adopted = state.adopted or false, holders = #plan:holders(), changed = changed,
    conflicts = conflict_list(conflicts), units = units, left_behind = json.array(found.left_behind),
    started = state.started, ended = ended, seconds = ended - state.started, overlap_seconds = overlap,
    charge = usd,
    one_at_a_time = { overlap_seconds = single,
                      charge = periods[1] and cost.charge(periods[1].began, periods[1].began + single, context.cost) or 0 },
    predicted = { seconds = prediction.seconds, overlap_seconds = prediction.overlap_seconds, charge = prediction.charge,
                  minimum_overlap_seconds = prediction.minimum_overlap_seconds },
    journal = context.journal,
  }
  report.rolled_back, report.attached_only = state.forward ~= nil or nil, plan.from == nil or nil
  report.retired = state.retired ~= nil or nil
  report.ok = #report.left_behind == 0 and #report.conflicts == 0
  return setmetatable(report, require("certrotate.report.shown").report)
end

return M
