--- The endpoint ECS and EKS give their containers (aws-reference 7.7). Its token goes only where it cannot leave the
-- machine in the clear: https, or http to the addresses AWS uses and to this machine itself.
local credentials = require("certrotate.credentials")
local errors = require("certrotate.errors")
local fmt = require("certrotate.fmt")
local json = require("certrotate.json")

local M = { name = "container" }

local TIMEOUT, ATTEMPTS, PAUSE = 2, 3, 1   -- the CLI's
-- Where nobody answers, all tries together end within TIMEOUT: the CLI would sit there for eight seconds.
local PAUSE_UNANSWERED = 0.5
local ECS = "http://169.254.170.2"
local ALLOWED = { localhost = true, ["::1"] = true, ["169.254.170.2"] = true, ["169.254.170.23"] = true,
                  ["fd00:ec2::23"] = true }

local function allowed(url)
  local scheme, authority = url:match("^(%a[%a%d+.-]*)://([^/?#]*)")
  scheme = scheme and scheme:lower()
  if authority and authority:find("@", 1, true) then return nil, "it must not contain a user name" end
  if scheme == "https" then return true end
  if scheme ~= "http" then return nil, "an http:// or https:// URL expected" end
  local host = authority:match("^%[(.-)%]") or authority:match("^[^:]*")
  if ALLOWED[host:lower()] or host:find("^127%.%d+%.%d+%.%d+$") then return true end
  return nil, ("plain http is allowed to this machine and to AWS's own addresses only, not to '%s'"):format(host)
end

local function token(get)
  local path = get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
  local text = get("AWS_CONTAINER_AUTHORIZATION_TOKEN")
  if path then
    local file, why = io.open(path, "rb")
    if not file then return credentials.fail("ContainerToken", "the container's token cannot be read: %s", why) end
    text = file:read(65536) or ""
    file:close()
  end
  if text and text:find("[\r\n]") then
    return credentials.fail("ContainerToken", "the container's token (%s) contains a line end", path or
      "AWS_CONTAINER_AUTHORIZATION_TOKEN")
  end
  return text or ""
end

--- What container and instance endpoints answer, as credentials; nil and a reason.
---@param body string
---@return certrotate.Credentials?
---@return string?
function M.read(body)
  local value = json.decode(body)
  if type(value) ~= "table" then return nil, "it answers something that is not JSON" end
  if value.Code ~= nil and value.Code ~= "Success" then
    return nil, ("it has no credentials (%s)"):format(tostring(value.Code):sub(1, 60))
  end
  local expires_at = type(value.Expiration) == "string" and fmt.parse_time(value.Expiration) or nil
  for _, name in ipairs({ "AccessKeyId", "SecretAccessKey", "Token" }) do
    if type(value[name]) ~= "string" or value[name] == "" then return nil, "its answer lacks " .. name end
  end
  if not expires_at then return nil, "its answer lacks a usable Expiration" end
  return { access_key_id = value.AccessKeyId, secret_access_key = value.SecretAccessKey, session_token = value.Token,
           expires_at = expires_at }
end

local function ask(fetcher, url, authorization, timeout)
  local headers = { Accept = "application/json" }
  if authorization ~= "" then headers.Authorization = authorization end
  local answer, err = fetcher:http({ url = url, headers = headers, timeout = timeout, connect_timeout = timeout,
                                     no_proxy = true, max_body = 1024 * 1024 })
  if not answer then return nil, err.message, err end
  if answer.status ~= 200 then return nil, ("it answers with HTTP %d"):format(answer.status) end
  return M.read(answer.body)
end

---@param context certrotate.Context
---@return certrotate.Source?
---@return string|certrotate.Error?
function M.load(context)
  local get = context.environment
  local relative, url = get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
  if relative then
    if not relative:find("^/") or relative:find("[%s%c]") then
      return credentials.fail("MalformedConfig",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI must be a path that begins with /")
    end
    url = ECS .. relative
  elseif not url then
    return nil, "AWS_CONTAINER_CREDENTIALS_…_URI is not set"
  end
  local fine, why = allowed(url)
  if not fine then return credentials.fail("MalformedConfig", "AWS_CONTAINER_CREDENTIALS_FULL_URI: %s", why) end
  return { fetch = function(fetcher)
    local authorization, err = token(get)
    if not authorization then return nil, err end
    local monotonic = function() return fetcher.loop:monotonic() end
    local give_up = monotonic() + TIMEOUT
    for attempt = 1, ATTEMPTS do
      local found, reason, cause = ask(fetcher, url, authorization, math.max(give_up - monotonic(), 0.1))
      if found then return found end
      if cause and cause.kind == "cancelled" then return nil, cause end
      local pause = cause and PAUSE_UNANSWERED or PAUSE
      if not cause then give_up = monotonic() + PAUSE + TIMEOUT end   -- somebody is there
      if attempt == ATTEMPTS or monotonic() + pause >= give_up then
        return nil, errors.new({ kind = "credentials", code = "ContainerCredentials", retryable = true, cause = cause,
          message = ("the container's credentials endpoint %s gives none: %s"):format(url:match("^[^?]*"), reason) })
      end
      local ok
      ok, err = fetcher:sleep(pause)
      if not ok then return nil, err end
    end
  end }
end

return M
