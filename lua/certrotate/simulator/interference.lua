-- Another client at work on the same account, in between the calls of the one under test. Not judged, as nothing is
-- that the control endpoint does; what is done is what the service would have allowed somebody.
local acm = require "certrotate.simulator.acm"
local cloudfront = require "certrotate.simulator.cloudfront"
local config = require "certrotate.simulator.distribution_config"
local continuous_deployment = require "certrotate.simulator.continuous_deployment"
local random = require "certrotate.simulator.random"
local tenants = require "certrotate.simulator.tenants"
local xml = require "certrotate.simulator.xml"

local M = {}

local function put(sim, distribution, text)
  local document, err = config.read(text, { update = false, order = sim.settings.viewer_certificate_order })
  if not document then
    return nil, err.message or err.code
  end
  cloudfront.replace(sim, distribution, document)
  return true
end

-- A child of the configuration's root, as it stands in the text; nil when it is not there.
local function element(text, name)
  local root = xml.parse(text)
  local node = root and xml.child(root, name)
  return node and node.first, node and node.last
end

-- Changes one child of the root.
local function edit(sim, distribution, name, replace)
  local text = distribution.raw
  local first, last = element(text, name)
  if not first then
    return nil, "no " .. name
  end
  return put(sim, distribution, text:sub(1, first - 1) .. replace(text:sub(first, last)) .. text:sub(last + 1))
end

local actions = {}

-- Something outside ViewerCertificate.
function actions.edit(sim, distribution)
  return edit(sim, distribution, "Comment", function(old)
    return (old:gsub("(</[%w:]*Comment%s*>)$", "!%1"))
  end)
end

function actions.disable(sim, distribution)
  return edit(sim, distribution, "Enabled", function(old)
    return (old:gsub("true", "false"))
  end)
end

-- Another certificate: the one named, or one AWS issued for the same names.
function actions.certificate(sim, distribution, fault)
  local view = distribution.view.viewer
  local present = sim.store:certificate(view.reference)
  local wanted = fault.reference and sim.store:certificate(fault.reference)
  if not present or fault.reference and not wanted then
    return nil, "no certificate to change, or none to change to"
  end
  wanted = wanted or acm.add(sim, present.current, { type = "AMAZON_ISSUED" })
  local old = view.reference:gsub("%p", "%%%0")
  return edit(sim, distribution, "ViewerCertificate", function(region)
    region = region:gsub(old, (wanted.reference:gsub("%%", "%%%%")))
    if wanted.store ~= present.store then
      local names = { iam = "IAMCertificateId", acm = "ACMCertificateArn" }
      region = region:gsub(names[present.store], names[wanted.store])
        :gsub("(CertificateSource%s*>)%s*%a+", "%1" .. wanted.store)
    end
    return region
  end)
end

-- Disabled, waited for, deleted.
function actions.delete(sim, distribution)
  cloudfront.remove(sim, distribution)
  return true
end

-- One more distribution with the same certificate.
function actions.create(sim, distribution)
  local text = distribution.raw:gsub("(CallerReference%s*>)([^<]*)", "%1%2-copy", 1)
  local first, last = element(text, "Aliases")
  if first then
    local tag = text:sub(first, last):match("^<([%w:]+)")
    local prefix = tag:match("^.-:") or ""
    local none = ("<%s><%sQuantity>0</%sQuantity></%s>"):format(tag, prefix, prefix, tag)
    text = text:sub(1, first - 1) .. none .. text:sub(last + 1)
  end
  text = text:gsub("(ContinuousDeploymentPolicyId%s*>)[^<]*", "%1", 1)
  local document, err = config.read(text, { update = false, order = sim.settings.viewer_certificate_order })
  if not document then
    return nil, err.message or err.code
  elseif sim.store.callers[document.view.caller_reference] then
    return nil, "there is a copy already"
  end
  local added = cloudfront.add(sim, document)
  sim.record:change { time = sim.clock:now(), what = "create", by = "other", id = added.id,
    to = added.view.viewer.reference }
  return true
end

-- The primary distribution of a policy: the one that has it attached, or the last that had.
local function primary_of(sim, policy)
  local primary = continuous_deployment.primary_of(sim, policy)
  if primary then
    return primary
  end
  for index = #sim.record.changes, 1, -1 do
    local change = sim.record.changes[index]
    if change.policy and sim.store.distributions[change.id] then
      return sim.store.distributions[change.id]
    end
  end
end

-- UpdateDistributionWithStagingConfig: the staging copy's configuration, its ViewerCertificate included, onto the
-- primary, which keeps its aliases, its CallerReference and its policy.
function actions.promote(sim)
  local policy = sim.store.policy_list[1]
  local copy = policy and sim.store.distributions[sim.store.by_domain[policy.staging[1] or ""] or ""]
  local primary = copy and primary_of(sim, policy)
  if not primary then
    return nil, "no staging distribution to promote"
  end
  local text = copy.raw
  for _, name in ipairs { "CallerReference", "Aliases", "Staging", "ContinuousDeploymentPolicyId" } do
    local first, last = element(text, name)
    local from, to = element(primary.raw, name)
    if first and from then
      text = text:sub(1, first - 1) .. primary.raw:sub(from, to) .. text:sub(last + 1)
    end
  end
  return put(sim, primary, text)
end

-- Another certificate for a tenant: the one asked about, else any that has a certificate of its own.
function actions.tenant(sim, _, fault, request)
  local tenant, list = sim.store.tenants[request.resource or ""], {}
  for _, each in ipairs(sim.store.tenant_list) do
    list[#list + 1] = each.certificate and each or nil
  end
  tenant = tenant and tenant.certificate and tenant
    or list[math.floor(random.hash(sim.options.seed, "tenant", fault.fired) * #list) + 1]
  local present = tenant and sim.store:certificate(tenant.certificate)
  if not present then
    return nil, "no tenant with a certificate"
  end
  local wanted = acm.add(sim, present.current, { type = "AMAZON_ISSUED" })
  return tenants.add(sim, { certificate = wanted.reference }, tenant.id)
end

-- Those that find by themselves whom they are about.
local finds = { promote = true, tenant = true }

M.actions = {}
for name in pairs(actions) do
  M.actions[name] = true
end

-- Whom it befalls: the one named; "other": any other than the call is about that has the same certificate; else the one
-- the call is about; where it is about none, some user of the main certificate.
local function victim(sim, request, fault)
  local asked = sim.store.distributions[request.resource or ""]
  if fault.target and fault.target ~= "other" then
    return sim.store.distributions[fault.target]
  elseif asked and not fault.target then
    return asked
  end
  local main = sim.options.fleet and sim.options.fleet.reference
  local reference, list = asked and asked.view.viewer.reference or main, {}
  for _, id in ipairs(sim.store.ids) do
    local distribution = sim.store.distributions[id]
    if distribution ~= asked and distribution.view.viewer.reference == reference then
      list[#list + 1] = distribution
    end
  end
  table.sort(list, function(a, b)
    return a.id < b.id
  end)
  return list[math.floor(random.hash(sim.options.seed, "victim", fault.fired) * #list) + 1]
end

--- Does what the fault says, when there is somebody to do it to.
---@param request table
---@param fault certrotate.simulator.Fault
---@return boolean? ok
---@return string? why   nothing was done
function M.act(sim, request, fault)
  local distribution = not finds[fault.action] and victim(sim, request, fault) or nil
  if not distribution and not finds[fault.action] then
    return nil, "nobody to do it to"
  elseif distribution and fault.action == "delete" and distribution.view.connection_mode == "tenant-only" then
    return nil, "it has tenants"
  end
  return actions[fault.action](sim, distribution, fault, request)
end

return M
