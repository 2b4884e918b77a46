--- Where each service is and for which region its requests are signed. Pure: settings in, a table out.
--
-- A certificate for CloudFront lives in ACM's us-east-1 whatever region is configured; CloudFront, IAM and Support
-- have one endpoint a partition. An endpoint override changes the URL only, never the signing region.
local errors = require("certrotate.errors")

local M = {}

--- Services by the names of the core, which are also their signing names.
M.SERVICES = { "acm", "iam", "cloudfront", "sts", "support", "servicequotas", "s3" }

-- AWS's names of the same in variables (upper case) and `services` sections, where they differ.
local SERVICE_ID = { servicequotas = "service_quotas" }

-- Services whose requests are not signed: what credentials are fetched from. %s is the region.
M.UNSIGNED = { "sso", "sso_oidc" }
local UNSIGNED_HOSTS = { sso = "portal.sso.%s.amazonaws.com", sso_oidc = "oidc.%s.amazonaws.com" }

-- Regions in which AWS_STS_REGIONAL_ENDPOINTS=legacy means STS's one old endpoint (botocore's list); newer regions
-- never had it.
local LEGACY_STS = {}
for region in ([[ap-northeast-1 ap-south-1 ap-southeast-1 ap-southeast-2 ca-central-1 eu-central-1 eu-north-1 eu-west-1
  eu-west-2 eu-west-3 sa-east-1 us-east-1 us-east-2 us-west-1 us-west-2]]):gmatch("%S+") do
  LEGACY_STS[region] = true
end

-- host, regional?, region of the one endpoint; %s is the region. "both": FIPS and dual-stack together.
local AWS = {
  cloudfront = { region = "us-east-1", host = "cloudfront.amazonaws.com", fips = "cloudfront-fips.amazonaws.com",
                 dual = "cloudfront.global.api.aws", both = "cloudfront-fips.global.api.aws" },
  iam = { region = "us-east-1", host = "iam.amazonaws.com", fips = "iam-fips.amazonaws.com",
          dual = "iam.global.api.aws", both = "iam-fips.global.api.aws" },
  acm = { region = "us-east-1", host = "acm.%s.amazonaws.com", fips = "acm-fips.%s.amazonaws.com",
          dual = "acm.%s.api.aws", both = "acm-fips.%s.api.aws" },
  sts = { host = "sts.%s.amazonaws.com", fips = "sts-fips.%s.amazonaws.com",
          dual = "sts.%s.api.aws", both = "sts-fips.%s.api.aws" },
  support = { region = "us-east-1", host = "support.us-east-1.amazonaws.com" },
  -- The quotas of CloudFront and IAM are kept in us-east-1.
  servicequotas = { region = "us-east-1", host = "servicequotas.%s.amazonaws.com",
                    fips = "servicequotas-fips.%s.amazonaws.com", dual = "servicequotas.%s.api.aws",
                    both = "servicequotas-fips.%s.api.aws" },
  s3 = { host = "s3.%s.amazonaws.com", fips = "s3-fips.%s.amazonaws.com", dual = "s3.dualstack.%s.amazonaws.com",
         both = "s3-fips.dualstack.%s.amazonaws.com" },
}

local CHINA = {
  cloudfront = { region = "cn-northwest-1", host = "cloudfront.cn-northwest-1.amazonaws.com.cn" },
  iam = { region = "cn-north-1", host = "iam.cn-north-1.amazonaws.com.cn" },
  acm = { host = "acm.%s.amazonaws.com.cn" },
  sts = { host = "sts.%s.amazonaws.com.cn" },
  support = { region = "cn-north-1", host = "support.cn-north-1.amazonaws.com.cn" },
  servicequotas = { host = "servicequotas.%s.amazonaws.com.cn" },
  s3 = { host = "s3.%s.amazonaws.com.cn" },
}

local PARTITIONS = {
  aws = { name = "aws", default_region = "us-east-1", services = AWS },
  ["aws-cn"] = { name = "aws-cn", default_region = "cn-northwest-1", services = CHINA },
}

local AWS_AREAS = { us = true, eu = true, ap = true, sa = true, ca = true, me = true, af = true, il = true, mx = true }
local REFUSED = {
  { "^us%-gov%-%w+%-%d+$", "AWS GovCloud (US) has no CloudFront; use an account of the standard partition" },
  { "^eusc%-%w+%-%w+%-%d+$", "the European Sovereign Cloud is not supported by certrotate" },
  { "^%w+%-iso%w?%-%w+%-%d+$", "isolated partitions are not supported by certrotate" },
}

local function refuse(code, message)
  return nil, errors.new({ kind = "input", code = code, message = message })
end

--- The partition of a region.
---@param region string
---@return { name: string, default_region: string, services: table }?
---@return certrotate.Error?
function M.partition(region)
  for _, one in ipairs(REFUSED) do
    if region:find(one[1]) then return refuse("UnsupportedPartition", ("region %s: %s"):format(region, one[2])) end
  end
  if region:find("^cn%-%w+%-%d+$") then return PARTITIONS["aws-cn"] end
  local area = region:match("^(%l%l)%-%w+%-%d+$")
  if area and AWS_AREAS[area] or region == "aws-global" then return PARTITIONS.aws end
  return refuse("UnknownRegion", ("region '%s' is not written like one of AWS's (us-east-1, eu-west-1, …)"):format(region))
end

--- Whether a URL can be an endpoint; the URL without a slash at its end.
---@param url string
---@return string? url
---@return string? reason
function M.check_url(url)
  if type(url) ~= "string" then return nil, "a URL expected, got a " .. type(url) end
  local scheme, authority, path = url:match("^(%a+)://([^/?#]*)(.*)$")
  scheme = scheme and scheme:lower()
  if scheme ~= "https" and scheme ~= "http" then return nil, "it must begin with https:// or http://" end
  if authority:find("@", 1, true) then return nil, "it must not contain a user name or password" end
  local port = authority:match(":(%d*)$")
  local host = port and authority:sub(1, -#port - 2) or authority
  -- A number in brackets is an IPv6 address; its colons are no port.
  if not (host:find("^%[[%x:.]+%]$") or host:find("^[%w._-]+$")) then return nil, "its host is malformed" end
  if port and (port == "" or tonumber(port, 10) < 1 or tonumber(port, 10) > 65535) then return nil, "its port is malformed" end
  if path:find("[?#%s%c]") then return nil, "it must not have a query, a fragment or blanks" end
  return scheme .. "://" .. authority .. (path:gsub("/+$", ""))
end

-- The override that counts for a service, and where it was found.
local function override(service, settings)
  local given = settings.endpoints or {}
  local id = SERVICE_ID[service] or service
  local url = given[service] or given[id]
  if url then return url, "endpoints." .. service end
  if settings.endpoint_url then return settings.endpoint_url, "endpoint_url" end
  local profile, environment = settings.profile, settings.environment
  if settings.ignore_configured then return nil end
  local variable = "AWS_ENDPOINT_URL_" .. id:upper()
  url = environment(variable)
  if url then return url, variable end
  url = environment("AWS_ENDPOINT_URL")
  if url then return url, "AWS_ENDPOINT_URL" end
  local section = profile.services[id]
  url = type(section) == "table" and section.endpoint_url
  if url and url ~= "" then return url, ("services section, %s, endpoint_url"):format(id) end
  url = profile.settings.endpoint_url
  if type(url) == "string" and url ~= "" then return url, ("profile '%s', endpoint_url"):format(profile.name) end
end

-- The host of the partition's own endpoint in the wished variant.
local function host_of(service, entry, region, fips, dual)
  local variant = fips and dual and "both" or fips and "fips" or dual and "dual" or "host"
  local host = entry[variant]
  if not host then
    return nil, ("%s has no %s endpoint in this partition; unset AWS_USE_FIPS_ENDPOINT and AWS_USE_DUALSTACK_ENDPOINT")
      :format(service, fips and dual and "FIPS dual-stack" or fips and "FIPS" or "dual-stack")
  end
  return host:format(region)
end

---@class certrotate.EndpointSettings
---@field region? string                 default: the partition's
---@field endpoint_url? string           for every service
---@field endpoints? table<string,string>  by service; counts more than endpoint_url
---@field fips? boolean
---@field dualstack? boolean
---@field ignore_configured? boolean     environment and profile do not count
---@field legacy_sts? boolean            STS's global endpoint where it is meant
---@field environment fun(name: string): string?
---@field profile certrotate.Profile

---@class certrotate.Endpoints
---@field partition string
---@field region string
---@field services table<string, { url: string, region: string, custom: boolean }>
---@field http boolean    some URL is plain http
---@field https boolean   some URL is https

--- Every service's URL and signing region.
---@param settings certrotate.EndpointSettings
---@return certrotate.Endpoints?
---@return certrotate.Error?
function M.resolve(settings)
  for name in pairs(settings.endpoints or {}) do
    local known = name == "service_quotas"
    for _, service in ipairs(M.SERVICES) do known = known or service == name end
    for _, service in ipairs(M.UNSIGNED) do known = known or service == name end
    if not known then return refuse("UnknownService", ("endpoints: no service '%s'"):format(tostring(name))) end
  end
  local region = settings.region or "us-east-1"
  local partition, err = M.partition(region)
  if not partition then return nil, err end
  if region == "aws-global" then region = partition.default_region end
  local out = { partition = partition.name, region = region, services = {}, http = false, https = false }
  for _, service in ipairs(M.SERVICES) do
    local entry = partition.services[service]
    local signing = entry.region or region
    local global = service == "sts" and settings.legacy_sts and LEGACY_STS[region] and not settings.fips
      and not settings.dualstack
    local url, where = override(service, settings)
    if url then
      local reason
      url, reason = M.check_url(url)
      if not url then return refuse("MalformedEndpoint", ("the endpoint of %s (%s): %s"):format(service, where, reason)) end
      if settings.fips or settings.dualstack then
        return refuse("EndpointConflict", ("%s: an endpoint of your own (%s) cannot be combined with %s; unset one"):format(
          service, where, settings.fips and "FIPS" or "dual-stack"))
      end
    elseif global then
      url, signing = "https://sts.amazonaws.com", "us-east-1"
    else
      local host, reason = host_of(service, entry, signing, settings.fips, settings.dualstack)
      -- Support has no variants, and no rotation needs it: without dual-stack it is reached as ever, where FIPS was
      -- asked for it is left out (a call then says that there is no endpoint).
      if not host and service == "support" and not settings.fips then host = entry.host end
      if not host and service ~= "support" then return refuse("NoSuchEndpoint", reason) end
      url = host and "https://" .. host
    end
    if url then
      out.services[service] = { url = url, region = signing, custom = where ~= nil }
      if url:find("^http:") then out.http = true else out.https = true end
    end
  end
  for _, service in ipairs(M.UNSIGNED) do
    if (override(service, settings) or ""):find("^[hH][tT][tT][pP]:") then out.http = true end
  end
  return out
end

--- The URL of one of the services whose requests are not signed.
---@param service "sso"|"sso_oidc"
---@param region string
---@param settings certrotate.EndpointSettings
---@return string? url
---@return certrotate.Error?
function M.unsigned(service, region, settings)
  local partition, err = M.partition(region)
  if not partition then return nil, err end
  local url, where = override(service, settings)
  if url then
    local reason
    url, reason = M.check_url(url)
    if url then return url end
    return refuse("MalformedEndpoint", ("the endpoint of %s (%s): %s"):format(service, where, reason))
  end
  return "https://" .. UNSIGNED_HOSTS[service]:format(region) .. (partition.name == "aws-cn" and ".cn" or "")
end

return M
