-- Continuous-deployment policies: what binds a primary distribution to its staging copy, and forbids certificate
-- changes on both while it does.
local protocol = require "certrotate.simulator.protocol"
local time = require "certrotate.simulator.time"
local xml = require "certrotate.simulator.xml"

local M = {}

local fail = protocol.fail
local namespace = ' xmlns="' .. protocol.namespaces.cloudfront .. '"'
local declaration = '<?xml version="1.0"?>\n'

---@class certrotate.simulator.Policy
---@field id string
---@field etag string
---@field modified number
---@field enabled boolean
---@field staging string[]   domain names
---@field weight? number     SingleWeight
---@field idle? integer      session stickiness of SingleWeight, seconds
---@field maximum? integer
---@field header? string     SingleHeader
---@field value? string

local function traffic_of(policy)
  if policy.header then
    return "<SingleHeaderConfig>" .. xml.element("Header", policy.header) .. xml.element("Value", policy.value or "")
      .. "</SingleHeaderConfig><Type>SingleHeader</Type>"
  end
  local sticky = policy.idle and "<SessionStickinessConfig>" .. xml.element("IdleTTL", policy.idle)
    .. xml.element("MaximumTTL", policy.maximum) .. "</SessionStickinessConfig>" or ""
  return "<SingleWeightConfig>" .. xml.element("Weight", ("%g"):format(policy.weight or 0.05)) .. sticky
    .. "</SingleWeightConfig><Type>SingleWeight</Type>"
end

local function config_of(policy)
  local names = {}
  for index, name in ipairs(policy.staging) do
    names[index] = xml.element("DnsName", name)
  end
  return table.concat {
    "<StagingDistributionDnsNames>", xml.element("Quantity", #names),
    #names > 0 and "<Items>" .. table.concat(names) .. "</Items>" or "", "</StagingDistributionDnsNames>",
    xml.element("Enabled", tostring(policy.enabled)), "<TrafficConfig>", traffic_of(policy), "</TrafficConfig>",
  }
end

local function policy_of(policy)
  return xml.element("Id", policy.id) .. xml.element("LastModifiedTime", time.iso_ms(policy.modified))
    .. "<ContinuousDeploymentPolicyConfig>" .. config_of(policy) .. "</ContinuousDeploymentPolicyConfig>"
end

local function answer(policy, name, body, status)
  return protocol.xml(table.concat { declaration, "<", name, namespace, ">", body, "</", name, ">" },
    { ETag = policy.etag }, status)
end

local function find(sim, id)
  local policy = sim.store.policies[id]
  if not policy then
    return fail("NoSuchContinuousDeploymentPolicy", 404, "The continuous deployment policy doesn't exist.")
  end
  return policy
end

local function get(sim, request, id)
  local policy, err = find(sim, id)
  if not policy then
    return nil, err
  elseif request.operation:match("Config$") then
    return answer(policy, "ContinuousDeploymentPolicyConfig", config_of(policy))
  end
  return answer(policy, "ContinuousDeploymentPolicy", policy_of(policy))
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

-- ── changing policies ───────────────────────────────────────────────────────────────────────────────────────

--- The primary that has a policy attached, if any.
---@param sim certrotate.simulator.Simulation
---@param policy table
---@return table? distribution
function M.primary_of(sim, policy)
  for _, id in ipairs(sim.store.ids) do
    if sim.store.distributions[id].view.policy == policy.id then
      return sim.store.distributions[id]
    end
  end
end

local function read_traffic(root, into)
  local traffic = xml.child(root, "TrafficConfig")
  local kind = traffic and xml.value(traffic, "Type")
  local by_weight = traffic and xml.child(traffic, "SingleWeightConfig")
  local by_header = traffic and xml.child(traffic, "SingleHeaderConfig")
  if kind == "SingleHeader" and by_header then
    into.header, into.value = xml.value(by_header, "Header"), xml.value(by_header, "Value")
    return into.header ~= nil and into.header:lower():match("^aws%-cf%-cd%-") ~= nil
  elseif kind == "SingleWeight" and by_weight then
    into.weight = tonumber(xml.value(by_weight, "Weight"))
    local sticky = xml.child(by_weight, "SessionStickinessConfig")
    into.idle = sticky and tonumber(xml.value(sticky, "IdleTTL"))
    into.maximum = sticky and tonumber(xml.value(sticky, "MaximumTTL"))
    return into.weight ~= nil and into.weight >= 0 and into.weight <= 0.15
  end
  return traffic == nil
end

-- A configuration from a request's body, judged.
local function read_config(sim, request, policy)
  local root = xml.parse(request.body)
  if not root or root.name ~= "ContinuousDeploymentPolicyConfig" then
    return fail("MalformedXML", 400, "The XML document is not valid: ContinuousDeploymentPolicyConfig expected.")
  end
  local read = { staging = {}, enabled = xml.value(root, "Enabled") == "true" }
  local names = xml.child(root, "StagingDistributionDnsNames")
  for _, item in ipairs(names and xml.child(names, "Items") or {}) do
    read.staging[#read.staging + 1] = item.text
  end
  if not read_traffic(root, read) then
    return fail("InvalidArgument", 400,
      "The parameter TrafficConfig contains one or more parameters that are not valid.")
  end
  for _, name in ipairs(read.staging) do
    local id = sim.store.by_domain[name]
    local distribution = id and sim.store.distributions[id]
    if not distribution or not distribution.view.staging then
      return fail("InvalidArgument", 400, "The parameter StagingDistributionDnsNames names no staging distribution.")
    end
    for _, other in ipairs(sim.store.policy_list) do
      for _, taken in ipairs(other ~= policy and other.staging or {}) do
        if taken == name then
          return fail("StagingDistributionInUse", 409,
            "A continuous deployment policy for this staging distribution already exists.")
        end
      end
    end
  end
  return read
end

local function check_match(request, policy)
  local match = request.headers["if-match"]
  if type(match) ~= "string" or not match:match("^E%w+$") then
    return fail("InvalidIfMatchVersion", 400, "The If-Match version is missing or not valid for the resource.")
  elseif match ~= policy.etag then
    return fail("PreconditionFailed", 412,
      "The request failed because it didn't meet the preconditions in one or more request-header fields.")
  end
  return true
end

--- Changes a policy, without judging it: fields of certrotate.simulator.Policy. Every change is a new version.
function M.change(sim, policy, fields)
  for _, name in ipairs { "weight", "idle", "maximum", "header", "value" } do
    policy[name] = fields[name]
  end
  policy.enabled, policy.staging = fields.enabled ~= false, fields.staging or policy.staging
  policy.etag, policy.modified = sim.random:etag(), sim.clock:now()
  return policy
end

--- Puts a policy into the account.
---@param staging string[]  domain names of staging distributions
---@param fields? table     further fields of certrotate.simulator.Policy
---@return certrotate.simulator.Policy
function M.add(sim, staging, fields)
  local policy = { id = sim.random:uuid(), staging = staging }
  M.change(sim, policy, fields or {})
  sim.store.policies[policy.id] = policy
  table.insert(sim.store.policy_list, policy)
  return policy
end

--- Takes a policy out of the account, without judging it.
function M.remove(sim, policy)
  sim.store.policies[policy.id] = nil
  for index, other in ipairs(sim.store.policy_list) do
    if other == policy then
      table.remove(sim.store.policy_list, index)
      return
    end
  end
end

local function create(sim, request)
  local read, err = read_config(sim, request)
  if not read then
    return nil, err
  end
  local policy = M.add(sim, read.staging, read)
  return answer(policy, "ContinuousDeploymentPolicy", policy_of(policy), 201)
end

local function update(sim, request, id)
  local policy, err = find(sim, id)
  if not policy then
    return nil, err
  end
  local ok, read
  ok, err = check_match(request, policy)
  if ok then
    read, err = read_config(sim, request, policy)
  end
  if not read then
    return nil, err
  end
  M.change(sim, policy, read)
  return answer(policy, "ContinuousDeploymentPolicy", policy_of(policy))
end

local function delete(sim, request, id)
  local policy, err = find(sim, id)
  if not policy then
    return nil, err
  end
  local ok
  ok, err = check_match(request, policy)
  if not ok then
    return nil, err
  elseif M.primary_of(sim, policy) then
    return fail("ContinuousDeploymentPolicyInUse", 409,
      "You cannot delete a continuous deployment policy that is associated with a primary distribution.")
  end
  M.remove(sim, policy)
  return { status = 204, headers = {}, body = "" }
end

-- ── what a policy allows ────────────────────────────────────────────────────────────────────────────────────

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
  -- Whether CloudFront minds is not known: settings.lua.
  if sim.settings.policy_certificates == "same" and not (distribution and distribution.view.policy == view.policy) then
    for _, name in ipairs(sim.store.policies[view.policy].staging) do
      local copy = sim.store.distributions[sim.store.by_domain[name] or ""]
      if copy and copy.view.viewer.reference ~= view.viewer.reference then
        return fail("IllegalUpdate", 400, "One or more fields updated are not supported for continuous deployment.")
      end
    end
  end
  return true
end

--- The policy that names a staging distribution, if any.
---@param distribution certrotate.simulator.Distribution
---@return certrotate.simulator.Policy?
function M.naming(sim, distribution)
  for _, policy in ipairs(distribution.view.staging and sim.store.policy_list or {}) do
    for _, name in ipairs(policy.staging) do
      if name == distribution.domain then
        return policy
      end
    end
  end
end

--- Whether a staging distribution is bound by a policy that some primary has attached.
---@param distribution certrotate.simulator.Distribution
---@return boolean
function M.covers_staging(sim, distribution)
  local policy = M.naming(sim, distribution)
  return policy ~= nil and M.primary_of(sim, policy) ~= nil
end

M.routes = {
  { "GET", "^/continuous%-deployment%-policy$", "ListContinuousDeploymentPolicies", list },
  { "POST", "^/continuous%-deployment%-policy$", "CreateContinuousDeploymentPolicy", create },
  { "GET", "^/continuous%-deployment%-policy/([^/]+)$", "GetContinuousDeploymentPolicy", get },
  { "PUT", "^/continuous%-deployment%-policy/([^/]+)$", "UpdateContinuousDeploymentPolicy", update },
  { "DELETE", "^/continuous%-deployment%-policy/([^/]+)$", "DeleteContinuousDeploymentPolicy", delete },
  { "GET", "^/continuous%-deployment%-policy/([^/]+)/config$", "GetContinuousDeploymentPolicyConfig", get },
}

return M
