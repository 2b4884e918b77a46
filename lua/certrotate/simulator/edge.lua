-- The viewers' side: a TLS listener that presents, by server name, what the fleet's edges have deployed. Every
-- connection comes out at one of many edges; while a change travels some have it and others do not.
local deployment = require "certrotate.simulator.deployment"
local random = require "certrotate.simulator.random"
local server = require "certrotate.simulator.server"
local ssl = require "ngx.ssl"

local M = {}

local function find_in(sim, name)
  local store = sim.store
  local tenant = store.tenants[store.tenant_domains[name] or ""]
  if tenant then
    return store.distributions[tenant.distribution], false, tenant
  end
  local id = store.aliases[name] or store.by_domain[name]
  if not id then
    local parent = name:match("^[^%.]+%.(.+)$")
    id = parent and store.aliases["*." .. parent]
  end
  local distribution = id and store.distributions[id]
  if distribution and store.by_domain[name] then
    return distribution, true
  end
  return distribution, false
end

--- The distribution a server name leads to: an alias, a wildcard alias, or a *.cloudfront.net name. Whose it is, is
--- all the same to a viewer.
---@return certrotate.simulator.Distribution?
---@return boolean by_domain
---@return certrotate.simulator.Simulation account
---@return certrotate.simulator.Tenant? tenant   whose domain it is
local function find(sim, name)
  name = name:lower()
  local distribution, by_domain, tenant = find_in(sim, name)
  if distribution then
    return distribution, by_domain, sim, tenant
  end
  for _, account in pairs(sim.accounts) do
    distribution, by_domain, tenant = find_in(account, name)
    if distribution then
      return distribution, by_domain, account, tenant
    end
  end
  return nil, false, sim
end

local function present(material)
  if not material.ssl then
    return nil, "the certificate has no key here"
  end
  local ok, err = ssl.clear_certs()
  if ok then
    ok, err = ssl.set_cert(material.ssl.certificate)
  end
  if ok then
    ok, err = ssl.set_priv_key(material.ssl.key)
  end
  return ok, err
end

--- ssl_certificate_by_lua: chooses the certificate. Without a name, or for an unknown one, nginx's own stays: the
--- *.cloudfront.net certificate.
function M.certificate()
  local sim = server.current()
  local name = ssl.server_name()
  local counters = sim.edge
  counters.connections = counters.connections + 1
  local edge = math.floor(random.hash(sim.options.seed, "connection", counters.connections) * sim.settings.edges)
  local distribution, by_domain, account, tenant
  if name then
    distribution, by_domain, account, tenant = find(sim, name)
  end
  local reference = ""
  if distribution and not by_domain then
    local material
    material, reference = deployment.presented(account, distribution, edge, tenant)
    if material then
      local ok, err = present(material)
      if not ok then
        counters.failures = counters.failures + 1
        ngx.log(ngx.ERR, "edge: ", name, ": ", err)
        return ngx.exit(ngx.ERROR)
      end
    end
  end
  counters.presented[reference] = (counters.presented[reference] or 0) + 1
  ngx.ctx.edge, ngx.ctx.reference, ngx.ctx.name = edge, reference, name
end

-- Names below one wildcard of one certificate may share a connection; others may not.
local function misdirected(sim, host)
  local name = ngx.ctx.name
  if not name or host == name then
    return false
  end
  local one, two = find(sim, name), find(sim, host)
  return one and two and one.view.viewer.reference ~= two.view.viewer.reference
end

--- The answer of an edge: which distribution this is.
function M.content()
  local sim = server.current()
  local host = (ngx.var.http_host or ""):gsub(":%d+$", ""):lower()
  local distribution = find(sim, host)
  ngx.header["Content-Type"] = "text/plain"
  ngx.header["Server"] = "CloudFront"
  if misdirected(sim, host) then
    ngx.status = 421
    return ngx.print("421 Misdirected Request\n")
  elseif not distribution or not distribution.view.enabled then
    ngx.status = 403
    ngx.header["X-Cache"] = "Error from cloudfront"
    return ngx.print("403 ERROR: Bad request. No enabled distribution has this name.\n")
  end
  ngx.header["X-Simulator-Edge"] = ngx.ctx.edge
  ngx.header["X-Simulator-Certificate"] = ngx.ctx.reference
  ngx.print(distribution.id, "\n")
end

return M
