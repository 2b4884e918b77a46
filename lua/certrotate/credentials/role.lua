--- Assuming a role with STS: the parameters as a profile or a caller gives them, and the call.
local credentials = require("certrotate.credentials")
local errors = require("certrotate.errors")
local fmt = require("certrotate.fmt")

local M = {}

---@class certrotate.Role
---@field role_arn string
---@field role_session_name? string   default: "certrotate-" and the time
---@field external_id? string
---@field duration_seconds? integer   900 to 43200; default STS's own, an hour
---@field mfa_serial? string          a code is asked for with connect's `mfa`
---@field policy? string              JSON, narrows what the session may do

-- STS's own limits (aws-reference 7.4): refused here with the setting's name.
local FIELDS = {
  role_arn = { least = 20, most = 2048, pattern = "^arn:[%w-]+:iam::%d%d%d%d%d%d%d%d%d%d%d%d:role/[^%s]+$",
               what = "a role's ARN, arn:aws:iam::111122223333:role/NAME" },
  role_session_name = { least = 2, most = 64, pattern = "^[%w_+=,.@-]+$",
                        what = "2 to 64 of letters, digits and _+=,.@-" },
  external_id = { least = 2, most = 1224, pattern = "^[%w_+=,.@:/-]+$",
                  what = "2 to 1224 of letters, digits and _+=,.@:/-" },
  mfa_serial = { least = 9, most = 256, pattern = "^[%w_+=/:,.@-]+$", what = "an MFA device's ARN or serial number" },
  policy = { least = 1, most = 2048, pattern = "", what = "a policy in JSON" },
}

--- Checks and copies what assuming a role needs.
---@param given table      role_arn, role_session_name, … as a profile spells them
---@param where string     for messages: "profile 'x'"
---@return certrotate.Role?
---@return certrotate.Error?
function M.params(given, where)
  local out = {}
  for name, rule in pairs(FIELDS) do
    local value = given[name]
    if value == "" then value = nil end
    if value ~= nil then
      if type(value) ~= "string" or #value < rule.least or #value > rule.most or not value:find(rule.pattern) then
        return credentials.fail("MalformedConfig", "%s: %s must be %s", where, name, rule.what)
      end
      out[name] = value
    end
  end
  if not out.role_arn then return credentials.fail("MalformedConfig", "%s: role_arn is missing", where) end
  local seconds = given.duration_seconds
  if seconds ~= nil and seconds ~= "" then
    local number = type(seconds) == "number" and seconds
      or type(seconds) == "string" and seconds:find("^%d+$") and tonumber(seconds, 10)
    if not number or number % 1 ~= 0 or number < 900 or number > 43200 then
      return credentials.fail("MalformedConfig", "%s: duration_seconds must be a whole number from 900 to 43200", where)
    end
    out.duration_seconds = number
  end
  return out
end

--- The name of a session that nobody named.
---@param now number
---@return string
function M.session_name(now) return ("certrotate-%d"):format(math.floor(now)) end

--- What STS answered as credentials.
---@param result table
---@return certrotate.Credentials?
---@return certrotate.Error?
function M.credentials_of(result)
  local got = result.Credentials
  local expires_at = type(got) == "table" and type(got.Expiration) == "string" and fmt.parse_time(got.Expiration) or nil
  if not expires_at or not got.AccessKeyId or not got.SecretAccessKey or not got.SessionToken then
    return nil, errors.new({ kind = "parse", code = "BadAnswer",
      message = "STS's answer has no whole credentials in it" })
  end
  return { access_key_id = got.AccessKeyId, secret_access_key = got.SecretAccessKey, session_token = got.SessionToken,
           expires_at = expires_at }
end

local function mfa_code(fetcher, serial)
  if not fetcher.mfa then
    return credentials.fail("MfaRequired", "the role needs a code of the MFA device %s: run it on a terminal, or give "
      .. "connect a function `mfa`", serial)
  end
  local code, reason = fetcher.mfa(serial)
  if type(code) ~= "string" or not code:find("^%d%d%d%d%d%d$") then
    return credentials.fail("MfaRequired", "no code of the MFA device %s: %s", serial,
      code == nil and (reason and tostring(reason) or "none was given") or "six digits expected")
  end
  return code
end

--- Assumes it, signing with an account of the client. To be called in a task.
---@param fetcher certrotate.Fetcher
---@param account integer
---@param params certrotate.Role
---@return certrotate.Credentials?
---@return certrotate.Error?
function M.assume(fetcher, account, params)
  local code, err
  if params.mfa_serial then
    code, err = mfa_code(fetcher, params.mfa_serial)
    if not code then return nil, err end
  end
  local result
  result, err = fetcher:sts(account, "AssumeRole", {
    RoleArn = params.role_arn, RoleSessionName = params.role_session_name or M.session_name(fetcher:now()),
    ExternalId = params.external_id, DurationSeconds = params.duration_seconds, SerialNumber = params.mfa_serial,
    TokenCode = code, Policy = params.policy,
  })
  if not result then return nil, errors.wrap(err, { message = "cannot assume " .. params.role_arn }) end
  return M.credentials_of(result)
end

return M
