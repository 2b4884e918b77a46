--- IAM Identity Center: a role's credentials for the token that `aws sso login` left in the CLI's cache
-- (aws-reference 7.6).
--
-- A token of an `sso_session` is refreshed when less than a quarter of an hour is left and written back, so that the
-- CLI finds the new one too; one of the older form (sso_start_url in the profile) cannot be.
local core = require("certrotate.core")
local credentials = require("certrotate.credentials")
local endpoints = require("certrotate.endpoints")
local errors = require("certrotate.errors")
local fmt = require("certrotate.fmt")
local json = require("certrotate.json")
local uri = require("certrotate.credentials.uri")

local M = { name = "sso" }

local REFRESH = 900                 -- seconds before a token's end
local MAX_FILE = 256 * 1024
local TIMEOUT, ATTEMPTS = 60, 3

---@class certrotate.SsoSettings
---@field profile string
---@field session? string          name of the sso-session
---@field sso_start_url string
---@field sso_region string
---@field sso_account_id string
---@field sso_role_name string
---@field path string              of the cached token

local function settings_of(context)
  local profile = context.files
  local own, out = profile.settings, { profile = profile.name }
  local session = own.sso_session
  local shared = {}
  if session ~= nil and session ~= "" then
    shared = type(session) == "string" and profile.sso_session(session)
    if not shared then
      return credentials.fail("MalformedConfig", "profile '%s' names the sso_session '%s', but %s has no "
        .. "[sso-session %s]", profile.name, tostring(session), tostring(profile.config_path), tostring(session))
    end
    out.session = session
  end
  local missing = {}
  for _, name in ipairs({ "sso_start_url", "sso_region", "sso_account_id", "sso_role_name" }) do
    if own[name] ~= nil and shared[name] ~= nil and own[name] ~= shared[name] then
      return credentials.fail("MalformedConfig", "profile '%s' and its sso_session '%s' have different values of %s",
        profile.name, session, name)
    end
    out[name] = own[name] or shared[name]
    if type(out[name]) ~= "string" or out[name] == "" then missing[#missing + 1] = name end
  end
  if #missing > 0 then
    return credentials.fail("MalformedConfig", "profile '%s' uses IAM Identity Center and lacks %s", profile.name,
      table.concat(missing, ", "))
  end
  if not out.sso_region:find("^[%w-]+$") then
    return credentials.fail("MalformedConfig", "profile '%s': sso_region is not a region's name", profile.name)
  end
  if not context.home then
    return credentials.fail("SsoTokenMissing", "HOME is not set, so the token of IAM Identity Center cannot be found")
  end
  out.path = ("%s/.aws/sso/cache/%s.json"):format(context.home, core.sha1(out.session or out.sso_start_url))
  return out
end

local function log_in(settings, code, why)
  return credentials.fail(code, "profile '%s': %s; run: aws sso login --profile %s", settings.profile, why,
    settings.profile)
end

-- Older versions of the CLI wrote "…UTC" for "…Z".
local function time_of(text)
  return type(text) == "string" and fmt.parse_time((text:gsub("UTC$", "Z"))) or nil
end

local function read_token(settings)
  local file, why = io.open(settings.path, "rb")
  if not file then
    return log_in(settings, "SsoTokenMissing", ("there is no token of IAM Identity Center (%s)"):format(why))
  end
  local text = file:read(MAX_FILE) or ""
  file:close()
  local token = json.decode(text)
  if type(token) ~= "table" or type(token.accessToken) ~= "string" or token.accessToken:find("[%c%s]")
    or not time_of(token.expiresAt) then
    return log_in(settings, "SsoTokenMalformed", ("the token file %s cannot be used"):format(settings.path))
  end
  return token
end

local function refreshable(token, now)
  for _, name in ipairs({ "refreshToken", "clientId", "clientSecret" }) do
    if type(token[name]) ~= "string" then return false end
  end
  return (time_of(token.registrationExpiresAt) or math.huge) > now
end

-- A new token in the place of the old one, in `token` itself and in the cache. nil: why not.
local function refresh(fetcher, settings, token, url)
  local answer, err = fetcher:ask({ method = "POST", url = url .. "/token", timeout = TIMEOUT,
    headers = { ["Content-Type"] = "application/json", Accept = "application/json" },
    body = json.encode({ grantType = "refresh_token", clientId = token.clientId, clientSecret = token.clientSecret,
                         refreshToken = token.refreshToken }) }, ATTEMPTS)
  if not answer then return nil, err end
  local got = json.decode(answer.body)
  if type(got) ~= "table" then got = {} end
  if answer.status ~= 200 or type(got.accessToken) ~= "string" or type(got.expiresIn) ~= "number" then
    local code = type(got.error) == "string" and got.error:sub(1, 60) or "HTTP " .. answer.status
    return credentials.fail("SsoTokenExpired", "the token could not be refreshed (%s)", code)
  end
  token.accessToken, token.expiresAt = got.accessToken, fmt.time(math.floor(fetcher:now() + got.expiresIn))
  if type(got.refreshToken) == "string" then token.refreshToken = got.refreshToken end
  -- The old refresh token may be worth nothing any more: without the file the next process would have to log in again.
  local ok
  ok, err = core.write_file(settings.path, json.encode(token))
  if not ok then fetcher:note(("the refreshed token of IAM Identity Center was not saved: %s"):format(err.message)) end
  return true
end

local function usable_token(fetcher, settings, oidc)
  local token, err = read_token(settings)
  if not token then return nil, err end
  local left = time_of(token.expiresAt) - fetcher:now()
  if left < REFRESH and settings.session and refreshable(token, fetcher:now()) then
    local ok
    ok, err = refresh(fetcher, settings, token, oidc)
    if ok then return token.accessToken end
    if err.kind == "cancelled" then return nil, err end
    if left <= 0 then return log_in(settings, "SsoTokenExpired", err.message) end
  end
  if left <= 0 then return log_in(settings, "SsoTokenExpired", "the session with IAM Identity Center is over") end
  return token.accessToken
end

local function role_credentials(fetcher, settings, portal, token)
  local url = ("%s/federation/credentials?role_name=%s&account_id=%s"):format(portal,
    uri.encode(settings.sso_role_name), uri.encode(settings.sso_account_id))
  local answer, err = fetcher:ask({ url = url, timeout = TIMEOUT,
    headers = { ["x-amz-sso_bearer_token"] = token, Accept = "application/json" } }, ATTEMPTS)
  if not answer then return nil, errors.wrap(err, { message = "IAM Identity Center does not answer" }) end
  local body = json.decode(answer.body)
  if type(body) ~= "table" then body = {} end
  if answer.status == 401 then
    return log_in(settings, "SsoTokenExpired", "IAM Identity Center takes the session's token no more")
  end
  if answer.status ~= 200 then
    local said = type(body.message) == "string" and body.message:sub(1, 200) or "no reason given"
    return credentials.fail(answer.status == 403 and "SsoRoleRefused" or "SsoFailed",
      "profile '%s': IAM Identity Center gives no credentials of role %s in account %s (HTTP %d: %s)", settings.profile,
      settings.sso_role_name, settings.sso_account_id, answer.status, said)
  end
  local got = body.roleCredentials
  if type(got) ~= "table" or type(got.accessKeyId) ~= "string" or type(got.secretAccessKey) ~= "string"
    or type(got.sessionToken) ~= "string" or type(got.expiration) ~= "number" then
    return nil, errors.new({ kind = "parse", code = "BadAnswer",
      message = "IAM Identity Center's answer has no credentials in it" })
  end
  return { access_key_id = got.accessKeyId, secret_access_key = got.secretAccessKey, session_token = got.sessionToken,
           expires_at = math.floor(got.expiration / 1000) }
end

---@param context certrotate.Context
---@return certrotate.Source?
---@return string|certrotate.Error?
function M.load(context)
  local own = context.files.settings
  if own.sso_account_id == nil and own.sso_role_name == nil then
    return nil, "no sso_account_id"
  end
  local settings, err = settings_of(context)
  if not settings then return nil, err end
  local places = context.endpoint_settings or { environment = context.environment, profile = context.files }
  local portal, oidc
  portal, err = endpoints.unsigned("sso", settings.sso_region, places)
  if not portal then return nil, err end
  oidc, err = endpoints.unsigned("sso_oidc", settings.sso_region, places)
  if not oidc then return nil, err end
  return { fetch = function(fetcher)
    local token
    token, err = usable_token(fetcher, settings, oidc)
    if not token then return nil, err end
    return role_credentials(fetcher, settings, portal, token)
  end }
end

return M
