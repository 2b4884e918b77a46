--- Continuous deployments among the holders. While a policy is attached to a primary distribution, CloudFront refuses
-- certificate changes on the primary and on the staging distributions the policy names (aws-reference 2.6, 2.9).
-- Such holders are left out, or, when asked for, changed as a unit: detach, change all, attach again.
local errors = require("certrotate.errors")
local fmt = require("certrotate.fmt")
local json = require("certrotate.json")

local M = {}

---@class certrotate.Unit
---@field primary string          id of the distribution that has the policy attached
---@field policy string           the policy's id
---@field staging string[]        ids of the staging distributions the policy names
---@field names string[]          their domain names, as the policy has them
---@field traffic string          which viewers are sent to them
---@field holders string[]        ids of all these that name the old certificate: staging first
---@field obstacle? string        why it cannot be changed as a unit
---@field rotate? boolean         decided: it is changed as a unit
---@field refused? string         decided: what was asked for cannot be done, and why

-- ── policies ────────────────────────────────────────────────────────────────────────────────────────────────

local function text(value) return type(value) == "string" and value or "" end

-- Which viewers a policy sends to the staging distributions. One text for one meaning: plans are compared by it.
local function traffic_of(config)
  local traffic = type(config.TrafficConfig) == "table" and config.TrafficConfig or {}
  if config.Enabled ~= true then return "no viewers (the policy is disabled)" end
  local header, weight = traffic.SingleHeaderConfig, traffic.SingleWeightConfig
  if traffic.Type == "SingleHeader" and type(header) == "table" then
    return ("viewers that send the header %s: %s"):format(text(header.Header), text(header.Value))
  elseif traffic.Type == "SingleWeight" and type(weight) == "table" and type(weight.Weight) == "number" then
    local sticky = weight.SessionStickinessConfig
    local session = ""
    if type(sticky) == "table" and type(sticky.IdleTTL) == "number" and type(sticky.MaximumTTL) == "number" then
      session = (" (sessions of %s idle, %s at most)"):format(fmt.duration(sticky.IdleTTL),
        fmt.duration(sticky.MaximumTTL))
    end
    return fmt.exact(math.floor(weight.Weight * 10000 + 0.5) / 100) .. "% of the viewers" .. session
  end
  return "viewers chosen in a way unknown to certrotate (" .. text(traffic.Type) .. ")"
end

---@class certrotate.ContinuousDeploymentPolicy
---@field id string
---@field names string[]   sorted
---@field traffic string

-- From a policy as AWS describes it.
local function policy_from(described)
  local config = type(described.ContinuousDeploymentPolicyConfig) == "table"
    and described.ContinuousDeploymentPolicyConfig or {}
  local names = {}
  for i, name in ipairs((config.StagingDistributionDnsNames or {}).Items or {}) do names[i] = text(name):lower() end
  table.sort(names)
  return { id = text(described.Id), names = names, traffic = traffic_of(config) }
end

--- A policy as it is now.
---@param aws certrotate.Session
---@param id string
---@return certrotate.ContinuousDeploymentPolicy?
---@return certrotate.Error?   code "NoSuchContinuousDeploymentPolicy" when it was deleted
function M.policy(aws, id)
  local got, err = aws.cloudfront:get_continuous_deployment_policy({ Id = id })
  if not got then return nil, err end
  local policy = policy_from(got.ContinuousDeploymentPolicy or {})
  policy.id = id
  return policy
end

--- Which policy a distribution has attached now.
---@param aws certrotate.Session
---@param id string
---@return string? policy   "" for none
---@return certrotate.Error?
function M.attached(aws, id)
  local got, err = aws.cloudfront:get_distribution_config({ Id = id })
  if not got then return nil, err end
  return text((got.DistributionConfig or {}).ContinuousDeploymentPolicyId)
end

--- What differs between a policy and what a unit was planned with; nil: nothing.
---@param unit certrotate.Unit
---@param policy certrotate.ContinuousDeploymentPolicy
---@return string?
function M.changed(unit, policy)
  local names = {}
  for i, name in ipairs(unit.names) do names[i] = name end
  table.sort(names)
  if table.concat(names, ", ") ~= table.concat(policy.names, ", ") then
    return ("continuous-deployment policy %s names other staging distributions now (%s)"):format(policy.id,
      #policy.names > 0 and table.concat(policy.names, ", ") or "none")
  end
  if policy.traffic ~= unit.traffic then
    return ("continuous-deployment policy %s now sends %s to staging, not %s"):format(policy.id, policy.traffic,
      unit.traffic)
  end
  return nil
end

-- ── who is bound ────────────────────────────────────────────────────────────────────────────────────────────

-- Adds to `found` which of these distributions have a policy attached: policy by id. Stops when `enough()` says so.
local function read_attached(aws, ids, found, enough)
  return aws.loop:each(ids, 8, function(id, _, stop)
    local policy, err = M.attached(aws, id)
    if not policy then
      -- Deleted since the listing: bound by nothing.
      if err.code == "NoSuchDistribution" then return true end
      return nil, err
    end
    if policy ~= "" then found[id] = policy end
    if enough and enough() then stop() end
    return true
  end)
end

-- Every policy of the account, read whole.
local function list_policies(aws)
  local list, err = aws.cloudfront:all_continuous_deployment_policies()
  if not list then return nil, err end
  local policies = {}
  for i, item in ipairs(list) do policies[i] = policy_from(item.ContinuousDeploymentPolicy or item) end
  return policies
end

-- Staging holders that no policy found so far names: theirs, and who has it attached. That primary uses another
-- certificate, so every distribution may be it; this is read only when there is such a staging distribution.
local function find_others(aws, inventory, staging, attached, policies)
  if #staging == 0 then return true end
  local list, err = list_policies(aws)
  if not list then return nil, err end
  local naming, wanted = {}, 0
  for _, policy in ipairs(list) do
    for _, name in ipairs(policy.names) do
      for _, holder in ipairs(staging) do
        if name == holder.DomainName:lower() and not naming[policy.id] then
          naming[policy.id], wanted = policy, wanted + 1
        end
      end
    end
  end
  if wanted == 0 then return true end
  local candidates, found = {}, {}
  for _, holder in ipairs(inventory.holders) do
    if not holder.Staging and not holder.ConnectionMode:find("^tenant") and not attached[holder.Id] then
      candidates[#candidates + 1] = holder.Id
    end
  end
  local function enough()
    local count = 0
    for _, policy in pairs(found) do count = count + (naming[policy] and 1 or 0) end
    return count == wanted
  end
  local ok
  ok, err = read_attached(aws, candidates, found, enough)
  if not ok then return nil, err end
  for id, policy in pairs(found) do
    -- A policy nobody has attached binds nobody.
    if naming[policy] then attached[id], policies[policy] = policy, naming[policy] end
  end
  return true
end

-- What keeps these from being changed together, or nil. `parts`: the primary and its staging copies.
local function obstacle_of(parts, missing, references)
  if #missing > 0 then
    return ("the policy names %s, which does not exist here, and could not be attached again"):format(missing[1])
  end
  for _, holder in ipairs(parts) do
    if holder.reference ~= references.from and holder.reference ~= references.to then
      return ("%s uses another certificate (%s) than the one to be replaced; bring them together first"):format(
        holder.Id, holder.reference == "" and "the default one" or holder.reference)
    end
  end
  return nil
end

-- A unit of a primary and what its policy names.
local function unit_of(inventory, primary, policy, references)
  local unit = { primary = primary.Id, policy = policy.id, staging = {}, names = policy.names, traffic = policy.traffic,
                 holders = {} }
  local by_name, parts, missing = {}, {}, {}
  for _, holder in ipairs(inventory.holders) do by_name[holder.DomainName:lower()] = holder end
  for _, name in ipairs(policy.names) do
    local holder = by_name[name]
    if holder then
      parts[#parts + 1], unit.staging[#unit.staging + 1] = holder, holder.Id
    else
      missing[#missing + 1] = name
    end
  end
  parts[#parts + 1] = primary
  for _, holder in ipairs(parts) do
    if holder.reference == references.from then unit.holders[#unit.holders + 1] = holder.Id end
  end
  unit.obstacle = obstacle_of(parts, missing, references)
  return unit
end

--- The continuous deployments these holders take part in.
---@param aws certrotate.Session
---@param inventory certrotate.Inventory
---@param holders certrotate.Holder[]     of the old certificate
---@param references { from: string, to?: string }
---@return certrotate.Unit[]? units   by primary
---@return certrotate.Error?
function M.find(aws, inventory, holders, references)
  local attached, policies, primaries, staging = {}, {}, {}, {}
  for _, holder in ipairs(holders) do
    -- Multi-tenant distributions and tenants take no policies.
    if not holder.Staging and not holder.ConnectionMode:find("^tenant") then primaries[#primaries + 1] = holder.Id end
  end
  local ok, err = read_attached(aws, primaries, attached)
  if not ok then return nil, err end
  local named = {}
  for _, id in pairs(attached) do
    if not policies[id] then
      policies[id], err = M.policy(aws, id)
      if not policies[id] then return nil, err end
      for _, name in ipairs(policies[id].names) do named[name] = true end
    end
  end
  for _, holder in ipairs(holders) do
    if holder.Staging and not named[holder.DomainName:lower()] then staging[#staging + 1] = holder end
  end
  ok, err = find_others(aws, inventory, staging, attached, policies)
  if not ok then return nil, err end
  local units = {}
  for id, policy in pairs(attached) do
    local primary = inventory:holder(id)
    if primary then units[#units + 1] = unit_of(inventory, primary, policies[policy], references) end
  end
  table.sort(units, function(a, b) return a.primary < b.primary end)
  return units
end

-- ── what becomes of them ────────────────────────────────────────────────────────────────────────────────────

--- "E1 and its staging distribution E2"
---@param unit certrotate.Unit
---@return string
function M.describe(unit)
  if #unit.staging == 0 then return unit.primary end
  return ("%s and its staging distribution%s %s"):format(unit.primary, #unit.staging == 1 and "" or "s",
    fmt.list(unit.staging, 3))
end

--- Decides for each unit whether it is changed, left out, or refused because what was asked for cannot be done. Pure.
---@param units certrotate.Unit[]
---@param named? table<string, boolean>   ids given with --only; nil: everything
---@param detach boolean                  changing them as units was asked for
function M.decide(units, named, detach)
  for _, unit in ipairs(units) do
    local absent
    for _, id in ipairs(named and unit.holders or {}) do
      if not named[id] then absent = absent or id end
    end
    if not detach then
      unit.refused = named
        and "pass --detach-continuous-deployment to change them as a unit, or leave them out of --only"
    elseif unit.obstacle then
      unit.refused = named and unit.obstacle
    elseif absent then
      unit.refused = ("they are changed together or not at all: name %s with --only too"):format(absent)
    else
      unit.rotate = true
    end
    unit.refused = unit.refused or nil
  end
end

--- Seconds for which the policy is detached, at most: three deployments, and the calls between them.
---@param deploy number    seconds of one deployment
---@param call number      seconds of one change
---@param count integer    holders to change
---@return number
function M.seconds(deploy, call, count) return 3 * deploy + (count + 2) * call end

--- The unit as a plan keeps it: pure data.
---@param unit certrotate.Unit
---@return table
function M.planned(unit)
  return { primary = unit.primary, policy = unit.policy, traffic = unit.traffic, staging = json.array(unit.staging),
           names = json.array(unit.names) }
end

--- What is out of shape in the unit of a plan's wave, or nil.
---@param unit any
---@return string?
function M.problem(unit)
  if type(unit) ~= "table" then return "no unit" end
  for _, name in ipairs({ "primary", "policy", "traffic" }) do
    if type(unit[name]) ~= "string" or unit[name] == "" then return ("'%s' is missing"):format(name) end
  end
  for _, name in ipairs({ "staging", "names" }) do
    if type(unit[name]) ~= "table" then return ("'%s' is missing"):format(name) end
  end
  return nil
end

--- What differs between the units of a plan and what is there now: rule 9.
---@param aws certrotate.Session
---@param plan certrotate.Plan
---@return string[]? changes
---@return certrotate.Error?
function M.differences(aws, plan)
  local changes = {}
  for _, wave in ipairs(plan.waves) do
    local unit = wave.unit
    if unit then
      local attached, err = M.attached(aws, unit.primary)
      if not attached then return nil, err end
      if attached ~= unit.policy then
        changes[#changes + 1] = ("%s has %s attached now"):format(unit.primary,
          attached == "" and "no continuous-deployment policy" or "continuous-deployment policy " .. attached)
      else
        local policy
        policy, err = M.policy(aws, unit.policy)
        if not policy then return nil, err end
        changes[#changes + 1] = M.changed(unit, policy)
      end
    end
  end
  return changes
end

--- A conflict, as an error.
---@param message string
---@return certrotate.Error
function M.conflict(message)
  return errors.new({ kind = "conflict", code = "ForeignPolicy", message = message })
end

return M
