-- What the simulated account holds: certificates of both stores, distributions, tenants, policies, quotas and support
-- cases. Lives in the worker's memory and is owned by server.lua; only the services' files change it.
local M = {}
M.__index = M

---@class certrotate.simulator.Material   one content of a certificate
---@field leaf certrotate.simulator.Certificate
---@field chain certrotate.simulator.Certificate[]
---@field certificate_pem string
---@field chain_pem string
---@field ssl? {certificate:ffi.cdata*, key:ffi.cdata*}  parsed for the edge
---@field since number

---@class certrotate.simulator.StoredCertificate
---@field reference string      ARN, or IAM's id
---@field store "acm"|"iam"
---@field region string
---@field type "IMPORTED"|"AMAZON_ISSUED"
---@field created number
---@field imported number
---@field current certrotate.simulator.Material
---@field previous? certrotate.simulator.Material   of a re-import that is not on every edge yet
---@field tags {Key:string, Value:string}[]
---@field name? string          IAM
---@field path? string          IAM

---@class certrotate.simulator.Distribution
---@field id string
---@field arn string
---@field domain string
---@field raw string            the configuration's bytes
---@field view certrotate.simulator.View
---@field etag string
---@field created number
---@field modified number
---@field deployed_at number
---@field changes? integer      how many there were
---@field rollout? table        see deployment.lua
---@field left {reference:string, until_:number}[]  certificates that some edges or AWS's own books still have

function M.new()
  return setmetatable({
    acm = {}, acm_list = {}, acm_imports = {},
    iam = {}, iam_by_id = {}, iam_list = {},
    distributions = {}, ids = {}, sorted = nil, aliases = {}, callers = {}, by_domain = {},
    tenants = {}, tenant_list = {}, tenant_domains = {}, policies = {}, policy_list = {},
    foreign_users = {},   -- ARNs outside CloudFront (load balancers) by certificate
    quota_values = {}, quota_requests = {}, cases = {},
  }, M)
end

--- An ARN of ACM or an IAM id to what it names.
---@return certrotate.simulator.StoredCertificate?
function M:certificate(reference)
  return self.acm[reference] or self.iam_by_id[reference]
end

function M:add_acm(record)
  self.acm[record.reference] = record
  self.acm_list[#self.acm_list + 1] = record
end

function M:add_iam(record)
  self.iam[record.name:lower()] = record
  self.iam_by_id[record.reference] = record
  self.iam_list[#self.iam_list + 1] = record
end

local function remove(list, item)
  for index = 1, #list do
    if list[index] == item then
      table.remove(list, index)
      return
    end
  end
end

function M:remove_certificate(record)
  if record.store == "acm" then
    self.acm[record.reference] = nil
    remove(self.acm_list, record)
  else
    self.iam[record.name:lower()] = nil
    self.iam_by_id[record.reference] = nil
    remove(self.iam_list, record)
  end
end

--- A client deletes a certificate; refused while anything uses it. Both are recorded.
---@param sim certrotate.simulator.Simulation
---@param record table
---@return boolean deleted
function M.delete_certificate(sim, record)
  local held = #sim.store:users(record.reference, sim.clock:now())
  sim.record:change { time = sim.clock:now(), what = "delete", by = "client", reference = record.reference,
    fingerprint = record.current.leaf.fingerprint, refused = held > 0 or nil,
    held = #sim.store:users(record.reference, sim.clock:now() + sim.settings.in_use_lag) }
  if held > 0 then
    return false
  end
  sim.store:remove_certificate(record)
  sim.record:effect(record.store .. "_deletes")
  return true
end

-- Whether something names it, or did until a moment ago: `left` holds what it named before.
local function uses(reference, present, left, now)
  for _, one in ipairs(left) do
    if one.reference == reference and now < one.until_ then
      return true
    end
  end
  return present == reference
end

--- ARNs of everything that counts as using the certificate at that time.
---@param reference string
---@param now number
---@return string[]
function M:users(reference, now)
  local arns = {}
  for _, id in ipairs(self.ids) do
    local distribution = self.distributions[id]
    if uses(reference, distribution.view.viewer.reference, distribution.left, now) then
      arns[#arns + 1] = distribution.arn
    end
  end
  for _, tenant in ipairs(self.tenant_list) do
    if uses(reference, tenant.certificate, tenant.left, now) then
      arns[#arns + 1] = tenant.arn
    end
  end
  for _, arn in ipairs(self.foreign_users[reference] or {}) do
    arns[#arns + 1] = arn
  end
  return arns
end

--- Takes the names under which a distribution can be met out of the indexes, or puts them in.
function M:index(distribution, present)
  local value = present and distribution.id or nil
  for _, alias in ipairs(distribution.view.aliases) do
    self.aliases[alias] = value
  end
  self.callers[distribution.view.caller_reference] = value
  self.by_domain[distribution.domain] = value
end

--- The same of a tenant.
function M:index_tenant(tenant, present)
  for _, domain in ipairs(tenant.domains) do
    self.tenant_domains[domain] = present and tenant.id or nil
  end
end

function M:add_tenant(tenant)
  self.tenants[tenant.id] = tenant
  self.tenant_list[#self.tenant_list + 1] = tenant
  self:index_tenant(tenant, true)
end

function M:add_distribution(distribution)
  self.distributions[distribution.id] = distribution
  self.ids[#self.ids + 1] = distribution.id
  self.sorted = nil
  self:index(distribution, true)
end

function M:remove_distribution(distribution)
  self:index(distribution, false)
  self.distributions[distribution.id] = nil
  remove(self.ids, distribution.id)
  self.sorted = nil
end

--- Certificates served with dedicated IPs, when `distribution` had `viewer` instead of its own.
---@param distribution? certrotate.simulator.Distribution
---@param view? certrotate.simulator.View
---@param count_disabled boolean
---@return integer
function M:dedicated(distribution, view, count_disabled)
  local seen, count = {}, 0
  local function add(candidate)
    local viewer = candidate.viewer
    if viewer.dedicated and (count_disabled or candidate.enabled) and not seen[viewer.reference] then
      seen[viewer.reference] = true
      count = count + 1
    end
  end
  for _, id in ipairs(self.ids) do
    local other = self.distributions[id]
    if other ~= distribution then
      add(other.view)
    end
  end
  if view then
    add(view)
  end
  return count
end

return M
