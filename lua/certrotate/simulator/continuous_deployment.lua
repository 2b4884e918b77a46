-- Continuous-deployment policies: what binds a primary distribution to its staging copy, and forbids certificate
-- changes on both while it does.
local protocol = require "certrotate.simulator.protocol"
local xml = require "certrotate.simulator.xml"

local M = {}

local fail = protocol.fail
local namespace = ' xmlns="' .. protocol.namespaces.cloudfront .. '"'
local declaration = '<?xml version="1.0"?>\n'

---@class certrotate.simulator.Policy
---@field id string
---@field etag string
---@field enabled boolean
---@field staging string[]   domain names

local function config_of(policy)
  local names = {}
  for index, name in ipairs(policy.staging) do
    names[index] = xml.element("DnsName", name)
  end
  return table.concat {
    "<StagingDistributionDnsNames>", xml.element("Quantity", #names),
    #names > 0 and "<Items>" .. table.concat(names) .. "</Items>" or "", "</StagingDistributionDnsNames>",
    xml.element("Enabled", tostring(policy.enabled)),
    "<TrafficConfig><SingleWeightConfig><Weight>0.05</Weight></SingleWeightConfig><Type>SingleWeight</Type></TrafficConfig>",
  }
end

local function policy_of(policy)
  return xml.element("Id", policy.id) .. "<LastModifiedTime>2026-01-01T00:00:00.000Z</LastModifiedTime>"
    .. "<ContinuousDeploymentPolicyConfig>" .. config_of(policy) .. "</ContinuousDeploymentPolicyConfig>"
end

local function get(sim, request, id)
  local policy = sim.store.policies[id]
  if not policy then
    return fail("NoSuchContinuousDeploymentPolicy", 404, "The continuous deployment policy doesn't exist.")
  end
  local name = "ContinuousDeploymentPolicy" .. (request.operation:match("Config$") or "")
  local body = name:match("Config$") and config_of(policy) or policy_of(policy)
  return protocol.xml(table.concat { declaration, "<", name, namespace, ">", body, "</", name, ">" }, { ETag = policy.etag })
end

local function list(sim)
  local out = {}
  for index, policy in ipairs(sim.store.policy_list) do
    out[index] = "<ContinuousDeploymentPolicySummary><ContinuousDeploymentPolicy>" .. policy_of(policy)
      .. "</ContinuousDeploymentPolicy></ContinuousDeploymentPolicySummary>"
  end
  return protocol.xml(table.concat {
    declaration, "<ContinuousDeploymentPolicyList", namespace, "><MaxItems>100</MaxItems>", xml.element("Quantity", #out),
    #out > 0 and "<Items>" .. table.concat(out) .. "</Items>" or "", "</ContinuousDeploymentPolicyList>",
  })
end

--- Puts a policy into the account.
---@param staging string[]  domain names of staging distributions
---@return certrotate.simulator.Policy
function M.add(sim, staging)
  local policy = { id = sim.random:uuid(), etag = sim.random:etag(), enabled = true, staging = staging }
  sim.store.policies[policy.id] = policy
  table.insert(sim.store.policy_list, policy)
  return policy
end

--- Whether a distribution may name the policy it names.
---@param distribution? certrotate.simulator.Distribution
---@param view certrotate.simulator.View
---@return boolean? ok
---@return certrotate.simulator.Failure?
function M.allowed(sim, distribution, view)
  if view.policy == "" then
    return true
  elseif not sim.store.policies[view.policy] then
    return fail("NoSuchContinuousDeploymentPolicy", 404, "The continuous deployment policy doesn't exist.")
  end
  for _, id in ipairs(sim.store.ids) do
    local other = sim.store.distributions[id]
    if other ~= distribution and other.view.policy == view.policy then
      return fail("ContinuousDeploymentPolicyInUse", 409,
        "You cannot attach a continuous deployment policy that is attached to another distribution.")
    end
  end
  return true
end

--- Whether a staging distribution is bound by a policy that some primary has attached.
---@param distribution certrotate.simulator.Distribution
---@return boolean
function M.covers_staging(sim, distribution)
  if not distribution.view.staging then
    return false
  end
  for _, policy in ipairs(sim.store.policy_list) do
    for _, name in ipairs(policy.staging) do
      if name == distribution.domain then
        for _, id in ipairs(sim.store.ids) do
          if sim.store.distributions[id].view.policy == policy.id then
            return true
          end
        end
      end
    end
  end
  return false
end

M.routes = {
  { "GET", "^/continuous%-deployment%-policy$", "ListContinuousDeploymentPolicies", list },
  { "GET", "^/continuous%-deployment%-policy/([^/]+)$", "GetContinuousDeploymentPolicy", get },
  { "GET", "^/continuous%-deployment%-policy/([^/]+)/config$", "GetContinuousDeploymentPolicyConfig", get },
}

return M
