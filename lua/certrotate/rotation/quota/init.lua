--- How many certificates an account may use with dedicated IP addresses, and whether a rotation's overlap fits.
--
-- The quota counts distinct certificates, not distributions (aws-reference 5.2): a rotation needs one more than are in
-- use, from its first dedicated-IP holder to its last. Beyond the quota CloudFront answers TooManyCertificates in the
-- middle of a rotation, so it is found out before. Reads; `quota.request` asks for more, `quota.wait` waits for it.
local fmt = require("certrotate.fmt")

local M = {}

M.SERVICE = "cloudfront"
-- As others found it (aws-reference, appendix E 17): the name is looked for first.
M.CODE = "L-DA9DCC93"
-- What AWS's documentation says every account has.
M.DOCUMENTED = 2

---@class certrotate.DedicatedIpQuota
---@field value integer
---@field source "applied"|"default"|"assumed"|"given"   given: by the caller; assumed: AWS did not tell
---@field code string            Service Quotas' code of it
---@field name? string
---@field offered boolean        Service Quotas has it for this account, as far as it told
---@field adjustable boolean     more can be asked for there, as far as it told
---@field problem? certrotate.Error   assumed: why it is not known; nil when Service Quotas does not have it

--- What the caller knows better.
---@param value integer
---@return certrotate.DedicatedIpQuota
function M.given(value)
  return { value = value, source = "given", code = M.CODE, offered = true, adjustable = true }
end

-- Nothing that is asked next could be answered either; the other failures leave another way to ask.
local HOPELESS = { transport = true, timeout = true, parse = true, input = true }
-- Not about the quota at all.
local FATAL = { cancelled = true, credentials = true, memory = true, internal = true }

local function is_dedicated_ip(quota)
  local name = type(quota.QuotaName) == "string" and quota.QuotaName:lower() or ""
  return name:find("dedicated ip", 1, true) ~= nil and name:find("certificate", 1, true) ~= nil
end

-- The code comes from a list that is not AWS's own: what goes by it must at least be about certificates.
local function is_plausible(quota)
  local name = type(quota.QuotaName) == "string" and quota.QuotaName:lower() or ""
  return name:find("certificate", 1, true) ~= nil or name:find("ssl", 1, true) ~= nil
end

-- The one of a listing that goes by the name; the known code decides between several.
local function by_name(list)
  local found
  for _, quota in ipairs(list) do
    if is_dedicated_ip(quota) and (not found or quota.QuotaCode == M.CODE) then found = quota end
  end
  return found
end

-- Four ways to learn it, the surest first. Each returns the quota or nil, and an error.
local WAYS = {
  { "applied", function(quotas)
    local list, err = quotas:all_service_quotas({ ServiceCode = M.SERVICE })
    return list and by_name(list), err
  end },
  { "applied", function(quotas)
    local got, err = quotas:get_service_quota({ ServiceCode = M.SERVICE, QuotaCode = M.CODE })
    return got and is_plausible(got.Quota or {}) and got.Quota, err
  end },
  { "default", function(quotas)
    local list, err = quotas:all_aws_default_service_quotas({ ServiceCode = M.SERVICE })
    return list and by_name(list), err
  end },
  { "default", function(quotas)
    local got, err = quotas:get_aws_default_service_quota({ ServiceCode = M.SERVICE, QuotaCode = M.CODE })
    return got and is_plausible(got.Quota or {}) and got.Quota, err
  end },
}

--- The account's quota: its applied value, else AWS's default, else the documented one, which is then said to be assumed.
--- Not being allowed to ask, or not being answered, is no failure: the documented value can refuse too much, never too
--- little.
---@param aws certrotate.Session
---@return certrotate.DedicatedIpQuota?
---@return certrotate.Error?
function M.read(aws)
  local problem
  for _, way in ipairs(WAYS) do
    local quota, err = way[2](aws.quotas)
    if quota and type(quota.Value) == "number" and quota.Value >= 0 then
      return { value = math.floor(quota.Value), source = way[1], code = quota.QuotaCode or M.CODE, name = quota.QuotaName,
               offered = true, adjustable = quota.Adjustable ~= false }
    end
    if err and FATAL[err.kind] then return nil, err end
    if err and err.code ~= "NoSuchResourceException" then problem = problem or err end
    if err and (HOPELESS[err.kind] or err.retryable) then break end
  end
  return { value = M.DOCUMENTED, source = "assumed", code = M.CODE, offered = problem ~= nil, adjustable = problem ~= nil,
           problem = problem }
end

--- The quota to go by: the caller's number, where there is one, else the account's.
---@param aws certrotate.Session
---@param value? integer
---@return certrotate.DedicatedIpQuota?
---@return certrotate.Error?
function M.of(aws, value)
  if value then return M.given(value) end
  return M.read(aws)
end

--- How many certificates will be used with dedicated IP addresses at once while these holders are given another one.
---@param inventory certrotate.Inventory
---@param holders certrotate.Holder[]   to be changed
---@param to? string                    reference of the new certificate, where it is stored already
---@return integer? needed              nil: none of them uses dedicated IP addresses
---@return integer in_use
function M.needed(inventory, holders, to)
  local by_reference, count = inventory:dedicated_ip_certificates()
  for _, holder in ipairs(holders) do
    if holder:dedicated_ip() then return count + (to and by_reference[to] and 0 or 1), count end
  end
  return nil, count
end

--- Where the value comes from, for people: "applied value", …
---@param quota certrotate.DedicatedIpQuota
---@return string
function M.source_text(quota)
  return ({ applied = "the account's value", default = "AWS's default", given = "as given",
            assumed = "assumed: " .. (quota.problem and "it could not be read"
              or "Service Quotas does not have it for this account") })[quota.source]
end

--- What to do when the overlap does not fit. The one place where that is worded.
---@param quota certrotate.DedicatedIpQuota
---@param needed integer
---@return string
function M.advice(quota, needed)
  if quota.source == "given" then
    return ("pass a higher --dedicated-ip-quota only if the account has it; `certrotate quota` shows what it has")
  end
  local ask = ("ask for more with `certrotate quota --request %d`"):format(needed)
  if quota.source == "assumed" then return ("%s; where AWS has granted it, pass --dedicated-ip-quota %d"):format(ask, needed) end
  return ask .. ", and let the rotation wait for it with --wait-for-quota 2d"
end

--- What a person should know about it, or is refused for. Pure.
---@param quota certrotate.DedicatedIpQuota
---@param needed integer
---@param patience? number   seconds the rotation would wait for a higher quota before it changes anything
---@return certrotate.Finding[]
function M.findings(quota, needed, patience)
  local list = {}
  if quota.source == "assumed" then
    list[1] = { level = "warn", code = "QuotaAssumed", message = ("the account's dedicated-IP quota is not known (%s); "
      .. "AWS's documented %d is assumed"):format(quota.problem and tostring(quota.problem)
        or "Service Quotas does not have it for this account", quota.value) }
  end
  if needed <= quota.value then return list end
  local message = ("during the rotation %d certificates would be used with dedicated IP addresses, the quota is %d (%s)")
    :format(needed, quota.value, M.source_text(quota))
  -- A value nobody can read would be waited for in vain.
  if patience and (quota.source == "applied" or quota.source == "default") then
    list[#list + 1] = { level = "warn", code = "WaitsForQuota",
      message = ("%s; nothing is changed before it is raised, which is waited for %s"):format(message,
        fmt.duration(patience)) }
  else
    list[#list + 1] = { level = "refuse", code = "DedicatedIpQuota", message = message .. "; " .. M.advice(quota, needed) }
  end
  return list
end

return M
