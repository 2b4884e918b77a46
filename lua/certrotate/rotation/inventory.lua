--- Who presents which certificate: every distribution, every distribution tenant, every certificate of both stores,
-- read whole.
--
-- The listings of distributions and of their tenants are the authority on who holds a certificate; ACM's InUseBy follows
-- with a delay (aws-reference 2.2).
local arguments = require("certrotate.arguments")
local errors = require("certrotate.errors")
local fmt = require("certrotate.fmt")
local json = require("certrotate.json")
local shown = require("certrotate.report.shown")

local M = {}

---@class certrotate.InventoryOptions
---@field certificates? boolean      false: only who uses them
---@field used_elsewhere? boolean    true: ask ACM, a call a certificate, what uses the imported ones outside CloudFront

-- The same for certrotate.arguments.
M.OPTIONS = { certificates = "boolean", used_elsewhere = "boolean" }

---@class certrotate.Holder
---@field Id string
---@field ARN string
---@field DomainName string
---@field Status string                "Deployed" or "InProgress"
---@field Aliases string[]
---@field reference string             ACM ARN or IAM id; "" for the default certificate
---@field store "acm"|"iam"|nil
---@field default_certificate boolean
---@field SSLSupportMethod string      "" where AWS gave none
---@field MinimumProtocolVersion string
---@field Enabled boolean
---@field Staging boolean
---@field HttpVersion string
---@field ConnectionMode string        "direct" or "tenant-only"; of a tenant "tenant"
---@field DistributionId? string       of a tenant: the multi-tenant distribution it belongs to
---@field Comment string
local Holder = { __name = "certrotate.Holder" }

-- What AWS leaves out. Kept here once instead of in ten thousand records.
local defaults = {
  ARN = "", DomainName = "", Status = "", Aliases = {}, reference = "", default_certificate = false,
  SSLSupportMethod = "", MinimumProtocolVersion = "", Enabled = false, Staging = false, HttpVersion = "",
  ConnectionMode = "", Comment = "",
}

local methods = {}
Holder.__index = function(_, key)
  local method = methods[key]
  if method ~= nil then return method end
  return defaults[key]
end

--- Whether it uses dedicated IP addresses. A default-certificate distribution that shows `vip` does not.
function methods:dedicated_ip()
  return self.SSLSupportMethod == "vip" and not self.default_certificate
end

function Holder:__tostring()
  local traits = {}
  if self:dedicated_ip() then traits[#traits + 1] = "dedicated IP" end
  if not self.Enabled then traits[#traits + 1] = "disabled" end
  if self.Staging then traits[#traits + 1] = "staging" end
  if self.DistributionId then traits[#traits + 1] = "tenant of " .. self.DistributionId end
  if self.ConnectionMode == "tenant-only" then traits[#traits + 1] = "multi-tenant" end
  if self.Status ~= "Deployed" then traits[#traits + 1] = self.Status end
  return ("%s %s%s"):format(self.Id, self.Aliases[1] or self.DomainName,
    #traits > 0 and " (" .. table.concat(traits, ", ") .. ")" or "")
end

---@class certrotate.StoredCertificate
---@field reference string    what a distribution names: ACM ARN or IAM id
---@field store "acm"|"iam"
---@field name string         domain name (ACM) or server certificate name (IAM)
---@field names string[]      DNS names as far as the listing tells (ACM: the first 100)
---@field not_before? number  Unix seconds
---@field not_after? number
---@field key_type? string    "RSA_2048"
---@field type? string        ACM: "IMPORTED", "AMAZON_ISSUED", "PRIVATE"
---@field arn string
---@field path? string        IAM
---@field in_use? boolean     ACM, as the listing says
---@field used_elsewhere? string[]  ACM, when asked for: ARNs outside CloudFront (load balancers, APIs) that use it
local Certificate = {}
Certificate.__index = Certificate
Certificate.__name = "certrotate.StoredCertificate"
function Certificate:__tostring()
  return ("%s %s%s"):format(self.reference, self.name,
    self.not_after and ", expires " .. fmt.date(self.not_after) or "")
end

---@class certrotate.Inventory
---@field holders certrotate.Holder[]
---@field certificates certrotate.StoredCertificate[]
---@field complete boolean           false: some store could not be read; see `errors`
---@field errors certrotate.Error[]
---@field taken_at number            Unix seconds
---@field calls integer              pages read
local Inventory = {}
Inventory.__index = Inventory
Inventory.__name = "certrotate.Inventory"

local function text(value)
  return type(value) == "string" and value or ""
end

--- A record of the listing as the C module makes it, with its methods. The table itself becomes the holder.
---@param record table
---@return certrotate.Holder
function M.holder(record)
  local version = record.HttpVersion
  if version then record.HttpVersion = version:lower() end
  return setmetatable(record, Holder)
end

--- A holder on the default certificate as it will look once it is attached to: what costs and quotas are reckoned with.
---@param holder certrotate.Holder
---@param attach { SSLSupportMethod: string, MinimumProtocolVersion: string }
---@param overlaps? boolean   the certificate it gets replaces one that is charged for
---@return certrotate.Holder   a copy
function M.attached(holder, attach, overlaps)
  local record = { attach = attach, attach_overlaps = overlaps or nil, default_certificate = false,
                   SSLSupportMethod = attach.SSLSupportMethod, MinimumProtocolVersion = attach.MinimumProtocolVersion }
  for key, value in pairs(holder) do
    if record[key] == nil then record[key] = value end
  end
  return M.holder(record)
end

--- Whether an id is a distribution tenant's: the core goes by it too.
---@param id string
---@return boolean
function M.is_tenant(id) return id:find("^dt_.") ~= nil end

--- Whether a failure says that the holder asked for does not exist any more.
---@param err certrotate.Error
---@return boolean
function M.is_gone(err) return err.code == "NoSuchDistribution" or err.code == "EntityNotFound" end

-- The certificate of a tenant's own, "" when it has none.
local function tenant_certificate(tenant)
  return text(((tenant.Customizations or {}).Certificate or {}).Arn)
end

--- Which certificate one holder names now, asked of itself: a listing may lag.
---@param aws certrotate.Session
---@param id string
---@return string? reference   "" for the default certificate, or that of a tenant's distribution
---@return certrotate.Error?
function M.reference(aws, id)
  if M.is_tenant(id) then
    local got, err = aws.cloudfront:get_distribution_tenant({ Identifier = id })
    if not got then return nil, err end
    return tenant_certificate(got.DistributionTenant or {})
  end
  local got, err = aws.cloudfront:get_distribution_config({ Id = id })
  if not got then return nil, err end
  local viewer = (got.DistributionConfig or {}).ViewerCertificate or {}
  local acm, iam = text(viewer.ACMCertificateArn), text(viewer.IAMCertificateId)
  -- Old answers carry only the deprecated pair.
  if acm == "" and iam == "" and viewer.CertificateSource ~= "cloudfront" then return text(viewer.Certificate) end
  return acm ~= "" and acm or iam
end

-- A listing that says there is more and not where, or that leads in a circle, cannot be trusted: unknown, never "all".
local function next_page(operation, token, seen)
  if type(token) == "string" and token ~= "" and not seen[token] then
    seen[token] = true
    return token
  end
  return nil, errors.new({ kind = "parse", code = "NoNextMarker", operation = operation,
    message = "the listing says there is more and does not say where: it cannot be trusted; try again" })
end

-- A tenant as a holder. Its viewers arrive at its own domains, the active ones; they come first.
local function tenant_holder(tenant, parents)
  local names, inactive = {}, {}
  for _, domain in ipairs(tenant.Domains or {}) do
    local list = domain.Status == "inactive" and inactive or names
    list[#list + 1] = domain.Domain
  end
  for _, domain in ipairs(inactive) do names[#names + 1] = domain end
  local reference = tenant_certificate(tenant)
  local parent = parents[tenant.DistributionId] or {}
  return setmetatable({
    Id = tenant.Id, ARN = tenant.Arn, DistributionId = tenant.DistributionId, DomainName = names[1],
    -- A Status is optional; without one there is nothing to wait for.
    Status = tenant.Status or "Deployed", Aliases = names, Comment = text(tenant.Name), Enabled = tenant.Enabled ~= false,
    HttpVersion = parent.HttpVersion, ConnectionMode = "tenant", SSLSupportMethod = "sni-only",
    reference = reference, store = reference ~= "" and "acm" or nil,
    MinimumProtocolVersion = parent.MinimumProtocolVersion,
  }, Holder)
end

-- Every page of a listing of tenants; those that have no certificate of their own live off their distribution's, which
-- is a holder itself.
---@param aws certrotate.Session
---@param filter table     parameters of ListDistributionTenantsByCustomization, or {}: all tenants
---@param holders certrotate.Holder[]   gets them
---@return integer? pages
---@return certrotate.Error?
local function add_tenants(aws, filter, holders)
  local operation = filter.CertificateArn and "ListDistributionTenantsByCustomization" or "ListDistributionTenants"
  local parents, seen, markers, marker, pages = {}, {}, {}, nil, 0
  for _, holder in ipairs(holders) do parents[holder.Id], seen[holder.Id] = holder, true end
  repeat
    local page, err = aws.loop:await({ account = aws.account, service = "cloudfront", operation = operation,
                                       params = { CertificateArn = filter.CertificateArn, Marker = marker } })
    if not page then return nil, err end
    pages = pages + 1
    if page.DistributionTenantList ~= nil and type(page.DistributionTenantList) ~= "table" then
      return nil, errors.new({ kind = "parse", code = "IncompletePage", operation = "cloudfront:" .. operation,
        message = "a page of the listing is not complete: it cannot be trusted; try again" })
    end
    for _, tenant in ipairs(page.DistributionTenantList or {}) do
      if type(tenant) ~= "table" or type(tenant.Id) ~= "string" or not M.is_tenant(tenant.Id) then
        return nil, errors.new({ kind = "parse", code = "UnknownTenant", operation = "cloudfront:" .. operation,
          message = ("the listing shows a distribution tenant with the id '%s', which certrotate cannot tell from a "
            .. "distribution's"):format(type(tenant) == "table" and tostring(tenant.Id) or "?") })
      end
      if not seen[tenant.Id] and tenant_certificate(tenant) ~= "" then
        seen[tenant.Id] = true
        holders[#holders + 1] = tenant_holder(tenant, parents)
      end
    end
    marker = nil
    if text(page.NextMarker) ~= "" then
      marker, err = next_page("cloudfront:" .. operation, page.NextMarker, markers)
      if not marker then return nil, err end
    end
  until not marker
  table.sort(holders, function(a, b) return a.Id < b.Id end)
  return pages
end

--- Adds the distribution tenants that name a certificate and are not in the list already: AWS answers that directly,
-- whatever the other listings say.
---@param aws certrotate.Session
---@param reference string
---@param holders certrotate.Holder[]
---@return boolean? ok
---@return certrotate.Error?
function M.add_tenants_of(aws, reference, holders)
  -- IAM certificates are none for tenants, and there are none in China.
  if not (reference and reference:find("^arn:[%w-]+:acm:")) or aws.partition == "aws-cn" then return true end
  local ok, err = add_tenants(aws, { CertificateArn = reference }, holders)
  if ok then return true end
  -- An endpoint without the operation (an emulation of AWS) has no tenants. A bare 404 may come from anything.
  local unknown = err.code == "InvalidAction" or err.code == "UnknownOperation"
    or err.status == 404 and err.code ~= "EntityNotFound" and err.code ~= "HTTP404"
  if unknown then return true end
  return nil, err
end

--- Reads every page of ListDistributions, each holder once (pages may shift while they are read), and where there are
-- multi-tenant distributions every tenant with a certificate of its own.
---@param aws certrotate.Session
---@return certrotate.Holder[]? holders  ordered by id
---@return certrotate.Error|integer err_or_pages
function M.list_holders(aws)
  local holders, seen, markers, marker, pages = {}, {}, {}, nil, 0
  local multi_tenant = false
  repeat
    local answer, err = aws.loop:await({
      account = aws.account, service = "cloudfront", operation = "ListDistributions", view = "holders",
      params = { Marker = marker, MaxItems = "100" },
    })
    if not answer then return nil, err end
    pages = pages + 1
    local page = answer.DistributionList
    -- A page that does not hold what it says is "unknown", never "none".
    if type(page) ~= "table" or type(page.IsTruncated) ~= "boolean" or page.Quantity ~= #(page.Items or {}) then
      return nil, errors.new({ kind = "parse", code = "IncompletePage", operation = "cloudfront:ListDistributions",
        message = "a page of the listing is not complete: it cannot be trusted; try again" })
    end
    for _, record in ipairs(page.Items or {}) do
      if not seen[record.Id] then
        seen[record.Id] = true
        multi_tenant = multi_tenant or record.ConnectionMode == "tenant-only"
        holders[#holders + 1] = M.holder(record)
      end
    end
    marker = nil
    if page.IsTruncated then
      marker, err = next_page("cloudfront:ListDistributions", page.NextMarker, markers)
      if not marker then return nil, err end
    end
  until not marker
  table.sort(holders, function(a, b) return a.Id < b.Id end)
  if multi_tenant then
    local more, err = add_tenants(aws, {}, holders)
    if not more then return nil, err end
    pages = pages + more
  end
  return holders, pages
end

---@param aws certrotate.Session
---@return certrotate.StoredCertificate[]?
---@return certrotate.Error|integer
function M.list_acm(aws)
  local list, tokens, token, pages = {}, {}, nil, 0
  repeat
    local page, err = aws.acm:list_certificates({ NextToken = token })
    if not page then return nil, err end
    pages = pages + 1
    for _, summary in ipairs(page.CertificateSummaryList or {}) do
      list[#list + 1] = setmetatable({
        reference = summary.CertificateArn,
        arn = summary.CertificateArn,
        store = "acm",
        name = text(summary.DomainName),
        names = json.array(summary.SubjectAlternativeNameSummaries or {}),
        not_before = summary.NotBefore,
        not_after = summary.NotAfter,
        key_type = summary.KeyAlgorithm and (summary.KeyAlgorithm:gsub("-", "_")),
        type = summary.Type,
        in_use = summary.InUse,
      }, Certificate)
    end
    token = nil
    if text(page.NextToken) ~= "" then
      token, err = next_page("acm:ListCertificates", page.NextToken, tokens)
      if not token then return nil, err end
    end
  until not token
  return list, pages
end

---@param aws certrotate.Session
---@return certrotate.StoredCertificate[]?
---@return certrotate.Error|integer
function M.list_iam(aws)
  local list, markers, marker, pages = {}, {}, nil, 0
  repeat
    local page, err = aws.iam:list_server_certificates({ Marker = marker })
    if not page then return nil, err end
    pages = pages + 1
    for _, metadata in ipairs(page.ServerCertificateMetadataList or {}) do
      list[#list + 1] = setmetatable({
        reference = metadata.ServerCertificateId,
        arn = metadata.Arn,
        store = "iam",
        name = metadata.ServerCertificateName,
        names = json.array({}),
        not_after = metadata.Expiration and fmt.parse_time(metadata.Expiration),
        path = metadata.Path,
      }, Certificate)
    end
    marker = nil
    if page.IsTruncated then
      marker, err = next_page("iam:ListServerCertificates", page.Marker, markers)
      if not marker then return nil, err end
    end
  until not marker
  return list, pages
end

-- Asks ACM what uses the imported certificates. What is of CloudFront the listings tell better.
---@param aws certrotate.Session
---@param certificates certrotate.StoredCertificate[]
---@return boolean? ok
---@return certrotate.Error?
local function find_used_elsewhere(aws, certificates)
  local asked = {}
  for _, one in ipairs(certificates) do
    if one.store == "acm" and (one.type == nil or one.type == "IMPORTED") and one.in_use ~= false then
      asked[#asked + 1] = one
    end
  end
  return aws.loop:each(asked, 8, function(certificate)
    local got, err = aws.acm:describe_certificate({ CertificateArn = certificate.reference })
    if not got then
      if err.code == "ResourceNotFoundException" then return true end   -- deleted since the listing
      return nil, err
    end
    local list = {}
    for _, arn in ipairs((got.Certificate or {}).InUseBy or {}) do
      if type(arn) == "string" and not arn:find("^arn:[%w-]+:cloudfront:") then list[#list + 1] = arn end
    end
    table.sort(list)
    certificate.used_elsewhere = json.array(list)
    return true
  end)
end

--- Reads everything. A store that cannot be read leaves `complete` false and its error in `errors`, so that
--- a caller who may list distributions but not, say, IAM still sees what there is.
---@param aws certrotate.Session
---@param options? certrotate.InventoryOptions
---@return certrotate.Inventory?
---@return certrotate.Error?
function M.build(aws, options)
  options = options or {}
  local holders, pages = M.list_holders(aws)
  if not holders then return nil, pages end
  local inventory = setmetatable({
    holders = shown.holders(holders), certificates = shown.certificates({}), complete = true, errors = {}, calls = pages,
    taken_at = aws.loop:now(),
  }, Inventory)
  if options.certificates == false then return inventory end
  for _, list in ipairs({ M.list_acm, M.list_iam }) do
    local found, more = list(aws)
    if found then
      inventory.calls = inventory.calls + more
      for _, certificate in ipairs(found) do
        inventory.certificates[#inventory.certificates + 1] = certificate
      end
    else
      inventory.complete = false
      inventory.errors[#inventory.errors + 1] = more
    end
  end
  if options.used_elsewhere then
    local ok, err = find_used_elsewhere(aws, inventory.certificates)
    if not ok then
      inventory.complete = false
      inventory.errors[#inventory.errors + 1] = err
    end
  end
  table.sort(inventory.certificates, function(a, b)
    local ea, eb = a.not_after or math.huge, b.not_after or math.huge
    if ea ~= eb then return ea < eb end
    return a.reference < b.reference
  end)
  return inventory
end

--- Every holder that names exactly this reference.
---@param reference string
---@return certrotate.Holder[]
function Inventory:holders_of(reference)
  local list = {}
  for _, holder in ipairs(self.holders) do
    if reference ~= "" and holder.reference == reference then list[#list + 1] = holder end
  end
  return shown.holders(list)
end

---@param id string
---@return certrotate.Holder?
function Inventory:holder(id)
  for _, holder in ipairs(self.holders) do
    if holder.Id == id then return holder end
  end
  return nil
end

--- By reference or ARN. Never by a name: names look alike.
---@param reference string
---@return certrotate.StoredCertificate?
function Inventory:certificate(reference)
  for _, certificate in ipairs(self.certificates) do
    if certificate.reference == reference or certificate.arn == reference then return certificate end
  end
  return nil
end

--- Certificates that end within `seconds` of the time the inventory was taken, soonest first.
---@param seconds number
---@return certrotate.StoredCertificate[]
function Inventory:expiring(seconds)
  arguments.one("expiring", "seconds", seconds, "number")
  local list = {}
  for _, certificate in ipairs(self.certificates) do
    if certificate.not_after and certificate.not_after - self.taken_at <= seconds then
      list[#list + 1] = certificate
    end
  end
  return shown.certificates(list)
end

--- The different certificates that dedicated-IP holders name: what the quota counts. Disabled holders are
--- counted too, because nobody knows that AWS does not (aws-reference, appendix E 12).
---@return table<string, integer> holders_by_reference
---@return integer count
function Inventory:dedicated_ip_certificates()
  local by_reference, count = {}, 0
  for _, holder in ipairs(self.holders) do
    if holder:dedicated_ip() then
      if not by_reference[holder.reference] then count = count + 1 end
      by_reference[holder.reference] = (by_reference[holder.reference] or 0) + 1
    end
  end
  return by_reference, count
end

function Inventory:__tostring()
  return require("certrotate.report.inventory").text(self)
end

return M
