--- Who presents which certificate: every distribution, every certificate of both stores, read whole.
--
-- The listing of distributions is the authority on who holds a certificate: CloudFront has no call that
-- answers it, and ACM's InUseBy follows with a delay (aws-reference 2.2).
local errors = require("certrotate.errors")
local fmt = require("certrotate.fmt")

local M = {}

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
---@field ConnectionMode string        "direct" or "tenant-only"
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

--- Which certificate one distribution names now, asked of itself: a listing may lag.
---@param aws certrotate.Session
---@param id string
---@return string? reference   "" for the default certificate
---@return certrotate.Error?
function M.reference(aws, id)
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

--- Reads every page of ListDistributions, each holder once (pages may shift while they are read).
---@param aws certrotate.Session
---@return certrotate.Holder[]? holders  ordered by id
---@return certrotate.Error|integer err_or_pages
function M.list_holders(aws)
  local holders, seen, markers, marker, pages = {}, {}, {}, nil, 0
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
        names = summary.SubjectAlternativeNameSummaries or {},
        not_before = summary.NotBefore,
        not_after = summary.NotAfter,
        key_type = summary.KeyAlgorithm and (summary.KeyAlgorithm:gsub("-", "_")),
        type = summary.Type,
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
        names = {},
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

--- Reads everything. A store that cannot be read leaves `complete` false and its error in `errors`, so that
--- a caller who may list distributions but not, say, IAM still sees what there is.
---@param aws certrotate.Session
---@param options? { certificates?: boolean }  false: distributions only
---@return certrotate.Inventory?
---@return certrotate.Error?
function M.build(aws, options)
  options = options or {}
  local holders, pages = M.list_holders(aws)
  if not holders then return nil, pages end
  local inventory = setmetatable({
    holders = holders, certificates = {}, complete = true, errors = {}, calls = pages, taken_at = aws.loop:now(),
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
  return list
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
  local list = {}
  for _, certificate in ipairs(self.certificates) do
    if certificate.not_after and certificate.not_after - self.taken_at <= seconds then
      list[#list + 1] = certificate
    end
  end
  return list
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
