-- Distribution tenants: listing by certificate and by distribution, reading and updating one. An account has none unless
-- the control endpoint put them there.
local deployment = require "certrotate.simulator.deployment"
local partition = require "certrotate.simulator.partition"
local protocol = require "certrotate.simulator.protocol"
local time = require "certrotate.simulator.time"
local viewer_certificate = require "certrotate.simulator.viewer_certificate"
local xml = require "certrotate.simulator.xml"

local M = {}

local fail = protocol.fail
local namespace = ' xmlns="' .. protocol.namespaces.cloudfront .. '"'

---@class certrotate.simulator.Tenant
---@field id string
---@field distribution string
---@field name string
---@field arn string
---@field domains string[]
---@field certificate? string   ARN of the customization
---@field parts table<string, string>  members of the tenant as they were last sent: elements as text, by name
---@field etag string
---@field enabled boolean
---@field created number
---@field modified number
---@field deployed_at number
---@field rollout? table        see deployment.lua
---@field left {reference:string, until_:number}[]

local function domains_of(tenant)
  local domains = {}
  for index, domain in ipairs(tenant.domains) do
    domains[index] = "<member>" .. xml.element("Domain", domain) .. xml.element("Status", "active") .. "</member>"
  end
  return "<Domains>" .. table.concat(domains) .. "</Domains>"
end

-- The members in the model's order, with `between` in front of Enabled: a summary has an ETag there.
local function members_of(sim, tenant, summary)
  local status = sim.settings.tenant_status and xml.element("Status", deployment.status(sim, tenant)) or ""
  return table.concat {
    xml.element("Id", tenant.id), xml.element("DistributionId", tenant.distribution), xml.element("Name", tenant.name),
    xml.element("Arn", tenant.arn), domains_of(tenant),
    summary and "" or "<Tags><Items/></Tags>", tenant.parts.Customizations or "",
    summary and "" or tenant.parts.Parameters or "", tenant.parts.ConnectionGroupId or "",
    xml.element("CreatedTime", time.iso_ms(tenant.created)), xml.element("LastModifiedTime", time.iso_ms(tenant.modified)),
    summary and xml.element("ETag", tenant.etag) or "", xml.element("Enabled", tostring(tenant.enabled)), status,
  }
end

local function answer(sim, tenant)
  return protocol.xml('<?xml version="1.0"?>\n<DistributionTenant' .. namespace .. ">" .. members_of(sim, tenant)
    .. "</DistributionTenant>", { ETag = tenant.etag })
end

local function page(sim, root, name, filter)
  local marker, size = xml.value(root, "Marker"), xml.value(root, "MaxItems")
  size = size and tonumber(size) or 100
  if not size or size < 1 then
    return fail("InvalidArgument", 400, "The parameter MaxItems contains a value that is not valid.")
  end
  local out, next_marker, started = {}, nil, not marker or marker == ""
  for _, tenant in ipairs(sim.store.tenant_list) do
    if started and filter(tenant) then
      if #out == math.min(size, sim.settings.list_max_items) then
        next_marker = out.last
        break
      end
      out[#out + 1] = "<DistributionTenantSummary>" .. members_of(sim, tenant, true) .. "</DistributionTenantSummary>"
      out.last = tenant.id
    end
    started = started or tenant.id == marker
  end
  return protocol.xml(table.concat {
    '<?xml version="1.0"?>\n<', name, "Result", namespace, ">", next_marker and xml.element("NextMarker", next_marker) or "",
    "<DistributionTenantList>", table.concat(out), "</DistributionTenantList></", name, "Result>",
  })
end

local function body_of(request)
  if not request.body:find("%S") then
    return {}
  end
  local root, message = xml.parse(request.body)
  if not root then
    return fail("MalformedXML", 400, "The XML document is not valid: " .. message)
  end
  return root
end

local function by_customization(sim, request)
  local root, err = body_of(request)
  if not root then
    return nil, err
  end
  local certificate, acl = xml.value(root, "CertificateArn"), xml.value(root, "WebACLArn")
  if (certificate == nil) == (acl == nil) then
    return fail("InvalidArgument", 400, "Specify exactly one of CertificateArn and WebACLArn.")
  end
  return page(sim, root, "ListDistributionTenantsByCustomization", function(tenant)
    return certificate ~= nil and tenant.certificate == certificate
  end)
end

local function list(sim, request)
  local root, err = body_of(request)
  if not root then
    return nil, err
  end
  local association = xml.child(root, "AssociationFilter")
  local wanted = association and xml.value(association, "DistributionId")
  return page(sim, root, "ListDistributionTenants", function(tenant)
    return not wanted or tenant.distribution == wanted
  end)
end

--- By id, ARN or name.
---@return certrotate.simulator.Tenant?
function M.find(sim, identifier)
  for _, tenant in ipairs(sim.store.tenant_list) do
    if tenant.id == identifier or tenant.arn == identifier or tenant.name == identifier then
      return tenant
    end
  end
  return nil
end

local function get(sim, _, identifier)
  local tenant = M.find(sim, identifier)
  if not tenant then
    return fail("EntityNotFound", 404, "The entity was not found.")
  end
  return answer(sim, tenant)
end

-- ── updating ────────────────────────────────────────────────────────────────────────────────────────────────

-- What an update may hold, in the model's order; anything else is refused as AWS's XML reader does.
local writable = { DistributionId = true, Domains = true, Customizations = true, Parameters = true,
  ConnectionGroupId = true, ManagedCertificateRequest = true, Enabled = true }

-- The request's members as fields of a tenant.
local function read_request(request)
  local root, message = xml.parse(request.body)
  if not root or root.name ~= "UpdateDistributionTenantRequest" then
    return fail("MalformedXML", 400, "The XML document is not valid: "
      .. (message or "UpdateDistributionTenantRequest expected."))
  end
  local read = { parts = {} }
  for _, member in ipairs(root) do
    if not writable[member.name] then
      return fail("MalformedXML", 400, "The XML document is not valid: unexpected element " .. member.name .. ".")
    end
    read.parts[member.name] = request.body:sub(member.first, member.last)
  end
  local domains = xml.child(root, "Domains")
  if domains then
    read.domains = {}
    for _, member in ipairs(domains) do
      if #member ~= 1 or member[1].name ~= "Domain" then
        return fail("MalformedXML", 400, "The XML document is not valid: unexpected element in a member of Domains.")
      end
      read.domains[#read.domains + 1] = member[1].text
    end
  end
  local customizations = xml.child(root, "Customizations")
  local certificate = customizations and xml.child(customizations, "Certificate")
  read.sent_customizations = customizations ~= nil
  read.certificate = certificate and (xml.value(certificate, "Arn") or "")
  read.distribution, read.enabled = xml.value(root, "DistributionId"), xml.value(root, "Enabled")
  return read
end

local function judge(sim, tenant, read)
  local parent = sim.store.distributions[read.distribution or tenant.distribution]
  if not parent or parent.view.connection_mode ~= "tenant-only" then
    return fail("InvalidAssociation", 409, "The specified distribution is not a multi-tenant distribution.")
  elseif #read.domains == 0 then
    return fail("InvalidArgument", 400, "The parameter Domains is required.")
  end
  for _, domain in ipairs(read.domains) do
    local owner = sim.store.tenant_domains[domain]
    if owner and owner ~= tenant.id or sim.store.aliases[domain] then
      return fail("CNAMEAlreadyExists", 409,
        "One or more of the CNAMEs you provided are already associated with a different resource.")
    end
  end
  if read.certificate and read.certificate ~= tenant.certificate then
    return viewer_certificate.judge_tenant(sim, read.certificate, read.domains)
  end
  return true
end

-- Members an update leaves out: kept, or cleared. AWS does not say which.
local function complete(sim, tenant, read)
  local cleared = sim.settings.tenant_omitted == "cleared"
  for _, name in ipairs { "Customizations", "Parameters", "ConnectionGroupId" } do
    if not read.parts[name] and not cleared then
      read.parts[name] = tenant.parts[name]
    end
  end
  if not read.sent_customizations then
    read.certificate = not cleared and tenant.certificate or nil
  end
  read.domains = read.domains or (cleared and {} or tenant.domains)
  return read
end

-- All of a tenant that no rotation changes.
local function rest_of(tenant)
  local parts = {}
  for _, name in ipairs { "Customizations", "Parameters", "ConnectionGroupId" } do
    parts[#parts + 1] = (tenant.parts[name] or ""):gsub("<Certificate>.-</Certificate>", "")
  end
  return table.concat(parts) .. table.concat(tenant.domains, " ")
end

--- Gives a tenant other members, without judging them.
---@param read table   parts, domains, certificate?, enabled?, distribution?
---@param by? "client"|"other"   who does it; default "other"
function M.replace(sim, tenant, read, by)
  local from, before = tenant.certificate, rest_of(tenant)
  sim.store:index_tenant(tenant, false)
  tenant.parts, tenant.domains, tenant.certificate = read.parts, read.domains, read.certificate
  tenant.distribution = read.distribution or tenant.distribution
  if read.enabled then
    tenant.enabled = read.enabled == "true"
  end
  sim.store:index_tenant(tenant, true)
  tenant.etag = sim.random:etag()
  sim.record:change { time = sim.clock:now(), what = "update", by = by or "other", id = tenant.id, from = from or "",
    to = tenant.certificate or "", outside = rest_of(tenant) ~= before or nil }
  deployment.apply_reference(sim, tenant, from or "", tenant.certificate or "")
end

local function update(sim, request, id)
  local tenant = sim.store.tenants[id]
  if not tenant then
    return fail("EntityNotFound", 404, "The entity was not found.")
  end
  local read, err = read_request(request)
  if not read then
    return nil, err
  end
  local match = request.headers["if-match"]
  if type(match) ~= "string" or not match:match("^E%w+$") then
    return fail("InvalidIfMatchVersion", 400, "The If-Match version is missing or not valid for the resource.")
  elseif match ~= tenant.etag then
    return fail("PreconditionFailed", 412,
      "The request failed because it didn't meet the preconditions in one or more request-header fields.")
  end
  local ok
  complete(sim, tenant, read)
  ok, err = judge(sim, tenant, read)
  if not ok then
    return nil, err
  end
  M.replace(sim, tenant, read, "client")
  sim.record:effect("tenant_updates")
  return answer(sim, tenant)
end

-- ── the control endpoint ────────────────────────────────────────────────────────────────────────────────────

--- Puts a tenant into the account, or, with the id of one that is there, gives it another certificate behind the back
--- of whoever works with it.
---@param given {distribution:string, domains:string[], certificate?:string, name?:string, parameters?:string}
---@param id? string
---@return certrotate.simulator.Tenant? tenant
---@return string? err
function M.add(sim, given, id)
  local function customizations(certificate)
    return certificate and "<Customizations><Certificate>" .. xml.element("Arn", certificate)
      .. "</Certificate><GeoRestrictions><RestrictionType>none</RestrictionType></GeoRestrictions></Customizations>" or nil
  end
  if id then
    local tenant = sim.store.tenants[id]
    if not tenant then
      return nil, "no such tenant"
    end
    M.replace(sim, tenant, { domains = tenant.domains, certificate = given.certificate, parts = {
      Customizations = customizations(given.certificate), Parameters = tenant.parts.Parameters,
      ConnectionGroupId = tenant.parts.ConnectionGroupId } })
    return M.describe(sim, tenant)
  elseif not sim.store.distributions[given.distribution or ""] then
    return nil, "distribution: no such distribution"
  elseif type(given.domains) ~= "table" then
    return nil, "domains: a list expected"
  end
  id = "dt_" .. sim.random:text(24, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
  local now = sim.clock:now()
  local tenant = { id = id, distribution = given.distribution, name = given.name or id, domains = given.domains,
    certificate = given.certificate, etag = sim.random:etag(), enabled = true, created = now, modified = now,
    deployed_at = now, left = {},
    parts = { Customizations = customizations(given.certificate), Parameters = "<Parameters><member>"
      .. xml.element("Name", "tenantName") .. xml.element("Value", given.parameters or "a & b") .. "</member></Parameters>",
      ConnectionGroupId = "<ConnectionGroupId>cg_spec</ConnectionGroupId>" },
    arn = ("arn:%s:cloudfront::%s:distribution-tenant/%s"):format(partition.of(sim), sim.options.account_id, id) }
  sim.store:add_tenant(tenant)
  return M.describe(sim, tenant)
end

--- What the control endpoint tells of one. `rest` is all of it that no rotation changes.
function M.describe(sim, tenant)
  return { id = tenant.id, arn = tenant.arn, distribution = tenant.distribution, name = tenant.name, etag = tenant.etag,
    domains = tenant.domains, certificate = tenant.certificate or "", status = deployment.status(sim, tenant),
    enabled = tenant.enabled, rest = rest_of(tenant) }
end

M.routes = {
  { "POST", "^/distribution%-tenants%-by%-customization$", "ListDistributionTenantsByCustomization", by_customization },
  { "POST", "^/distribution%-tenants$", "ListDistributionTenants", list },
  { "GET", "^/distribution%-tenant/([^/]+)$", "GetDistributionTenant", get },
  { "PUT", "^/distribution%-tenant/([^/]+)$", "UpdateDistributionTenant", update },
}

return M
