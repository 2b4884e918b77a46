--- The role of an EC2 instance, from its metadata service: version 2, or 1 where the service wants no token
-- (aws-reference 7.7). The last provider: whether it is there can only be found out by asking, and asking takes a
-- second at most.
local container = require("certrotate.credentials.container")
local credentials = require("certrotate.credentials")

local M = { name = "instance-metadata" }

local IPV4, IPV6 = "http://169.254.169.254", "http://[fd00:ec2::254]"
local TOKEN, ROLES = "/latest/api/token", "/latest/meta-data/iam/security-credentials/"
local STALE = 900   -- credentials that end sooner are kept in use beyond their time while the service has no others

local function setting(context, variable, key)
  local value = variable and context.environment(variable) or context.files.settings[key]
  return type(value) == "string" and value ~= "" and value or nil
end

local function number(context, variable, key, least)
  local text = setting(context, variable, key)
  if not text then return 1 end
  local value = text:find("^%d+$") and tonumber(text, 10)
  if not value or value < least then
    return credentials.fail("MalformedConfig", "%s: a whole number of at least %d expected", variable, least)
  end
  return value
end

local function endpoint(context)
  local url = setting(context, "AWS_EC2_METADATA_SERVICE_ENDPOINT", "ec2_metadata_service_endpoint")
  if url then
    local good, why = require("certrotate.endpoints").check_url(url)
    if not good then return credentials.fail("MalformedConfig", "AWS_EC2_METADATA_SERVICE_ENDPOINT: %s", why) end
    return good
  end
  local mode = setting(context, "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "ec2_metadata_service_endpoint_mode")
  mode = (mode or "ipv4"):lower()
  if mode ~= "ipv4" and mode ~= "ipv6" then
    return credentials.fail("MalformedConfig", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE: IPv4 or IPv6 expected")
  end
  return mode == "ipv6" and IPV6 or IPV4
end

local Service = {}
Service.__index = Service

-- The answer, or nil, an error. Only when there is no answer it is asked again.
function Service:request(fetcher, method, path, headers)
  local answer, err
  for _ = 1, self.attempts do
    answer, err = fetcher:http({ method = method, url = self.url .. path, headers = headers, timeout = self.timeout,
                                 connect_timeout = self.timeout, no_proxy = true, max_body = 1024 * 1024 })
    if answer or err.kind == "cancelled" then break end
  end
  return answer, err
end

-- The headers that carry the token; none for version 1. nil: a reason, or an error.
function Service:session(fetcher)
  local answer, err = self:request(fetcher, "PUT", TOKEN, { ["x-aws-ec2-metadata-token-ttl-seconds"] = "21600" })
  if answer and answer.status == 200 then
    if answer.body == "" or answer.body:find("[%c%s]") then return nil, "its token is none" end
    return { ["x-aws-ec2-metadata-token"] = answer.body }
  end
  if answer and answer.status == 400 then
    return credentials.fail("InstanceMetadata", "the metadata service %s refuses to give a token (HTTP 400)", self.url)
  end
  -- A connection without an answer: the token's packets may not reach a container. No connection: nothing is there.
  if not answer and not (err.kind == "timeout" and err.ambiguous) then
    if err.kind == "cancelled" then return nil, err end
    return nil, ("nothing answers at %s"):format(self.url)
  end
  if answer and answer.status ~= 403 and answer.status ~= 404 and answer.status ~= 405 then
    return nil, ("%s answers with HTTP %d"):format(self.url, answer.status)
  end
  if self.v1_disabled then
    return nil, ("%s gives no token, and version 1 is disabled"):format(self.url)
  end
  return {}
end

function Service:get(fetcher, path, headers)
  local answer, err = self:request(fetcher, "GET", path, headers)
  if not answer then
    if err.kind == "cancelled" then return nil, err end
    return nil, ("%s does not answer"):format(self.url)
  end
  if answer.status == 404 then return nil, "the instance has no role" end
  if answer.status ~= 200 then return nil, ("%s answers with HTTP %d"):format(self.url, answer.status) end
  return answer.body
end

function Service:fetch(fetcher)
  local headers, reason = self:session(fetcher)
  if not headers then return nil, reason end
  local text
  text, reason = self:get(fetcher, ROLES, headers)
  if not text then return nil, reason end
  local role = text:match("^%s*([%w+=,.@_-]+)")
  if not role then return nil, "the instance has no role" end
  text, reason = self:get(fetcher, ROLES .. role, headers)
  if not text then return nil, reason end
  local found
  found, reason = container.read(text)
  if not found then return nil, self.url .. ": " .. reason end
  -- The service may be behind for a while ("static stability"): AWS still takes what it has handed out, so these are
  -- used, and others looked for after some minutes (not all machines at once).
  local now = fetcher:now()
  if found.expires_at - now < STALE then
    found.renew_at = now + 120 + 480 * fetcher:random()
    found.expires_at = math.floor(found.renew_at) + STALE
  end
  return found
end

---@param context certrotate.Context
---@return certrotate.Source?
---@return string|certrotate.Error?
function M.load(context)
  local disabled = context.environment("AWS_EC2_METADATA_DISABLED")
  if disabled and disabled:lower() == "true" then return nil, "AWS_EC2_METADATA_DISABLED is true" end
  local url, err = endpoint(context)
  if not url then return nil, err end
  local timeout, attempts
  timeout, err = number(context, "AWS_METADATA_SERVICE_TIMEOUT", "metadata_service_timeout", 1)
  if not timeout then return nil, err end
  attempts, err = number(context, "AWS_METADATA_SERVICE_NUM_ATTEMPTS", "metadata_service_num_attempts", 1)
  if not attempts then return nil, err end
  local v1_disabled = setting(context, "AWS_EC2_METADATA_V1_DISABLED", "ec2_metadata_v1_disabled")
  local service = setmetatable({ url = url, timeout = timeout, attempts = attempts,
                                 v1_disabled = v1_disabled ~= nil and v1_disabled:lower() == "true" }, Service)
  return { fetch = function(fetcher) return service:fetch(fetcher) end }
end

return M
