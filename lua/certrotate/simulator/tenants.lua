-- Distribution tenants: listing by certificate and by distribution, reading one. An account has none unless the
-- control endpoint put them there.
local protocol = require "certrotate.simulator.protocol"
local time = require "certrotate.simulator.time"
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
---@field etag string
---@field enabled boolean
---@field created number

local function parts_of(tenant)
  local domains = {}
  for index, domain in ipairs(tenant.domains) do
    domains[index] = "<member>" .. xml.element("Domain", domain) .. xml.element("Status", "active") .. "</member>"
  end
  local stamp = time.iso_ms(tenant.created)
  return table.concat {
    xml.element("Id", tenant.id), xml.element("DistributionId", tenant.distribution), xml.element("Name", tenant.name),
    xml.element("Arn", tenant.arn), "<Domains>", table.concat(domains), "</Domains>",
    tenant.certificate and "<Customizations><Certificate>" .. xml.element("Arn", tenant.certificate)
      .. "</Certificate></Customizations>" or "",
    xml.element("CreatedTime", stamp), xml.element("LastModifiedTime", stamp),
  }
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
      if #out == math.min(size, 100) then
        next_marker = out.last
        break
      end
      out[#out + 1] = "<DistributionTenantSummary>" .. parts_of(tenant) .. xml.element("ETag", tenant.etag)
        .. xml.element("Enabled", tostring(tenant.enabled)) .. xml.element("Status", "Deployed")
        .. "</DistributionTenantSummary>"
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

local function get(sim, _, identifier)
  for _, tenant in ipairs(sim.store.tenant_list) do
    if tenant.id == identifier or tenant.arn == identifier or tenant.name == identifier then
      return protocol.xml('<?xml version="1.0"?>\n<DistributionTenant' .. namespace .. ">" .. parts_of(tenant)
        .. xml.element("Enabled", tostring(tenant.enabled)) .. xml.element("Status", "Deployed") .. "</DistributionTenant>",
        { ETag = tenant.etag })
    end
  end
  return fail("EntityNotFound", 404, "The entity was not found.")
end

--- Puts a tenant into the account.
---@param given {distribution:string, domains:string[], certificate?:string, name?:string}
---@return certrotate.simulator.Tenant? tenant
---@return string? err
function M.add(sim, given)
  if not sim.store.distributions[given.distribution or ""] then
    return nil, "distribution: no such distribution"
  elseif type(given.domains) ~= "table" then
    return nil, "domains: a list expected"
  end
  local id = "dt_" .. sim.random:text(24, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
  local tenant = { id = id, distribution = given.distribution, name = given.name or id, domains = given.domains,
    certificate = given.certificate, etag = sim.random:etag(), enabled = true, created = sim.clock:now(),
    arn = ("arn:aws:cloudfront::%s:distribution-tenant/%s"):format(sim.options.account_id, id) }
  sim.store.tenants[id] = tenant
  table.insert(sim.store.tenant_list, tenant)
  return tenant
end

M.routes = {
  { "POST", "^/distribution%-tenants%-by%-customization$", "ListDistributionTenantsByCustomization", by_customization },
  { "POST", "^/distribution%-tenants$", "ListDistributionTenants", list },
  { "GET", "^/distribution%-tenant/([^/]+)$", "GetDistributionTenant", get },
}

return M
