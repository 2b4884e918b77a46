--- Credentials in AWS_ACCESS_KEY_ID and its companions. Passed over when the caller named a profile, as the CLI does.
local errors = require("certrotate.errors")
local fmt = require("certrotate.fmt")

local M = { name = "environment" }

---@param context certrotate.Context
---@return certrotate.Credentials?
---@return string|certrotate.Error?
function M.load(context)
  local get = context.environment
  if context.profile then return nil, "passed over, because a profile was named" end
  local id, secret = get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY")
  if not id then
    -- nginx hands its workers no variable that no `env` directive names.
    return nil, type(_G.ngx) == "table" and "AWS_ACCESS_KEY_ID is not set (nginx needs 'env AWS_ACCESS_KEY_ID;')"
      or "AWS_ACCESS_KEY_ID is not set"
  end
  if not secret then
    return nil, errors.new({ kind = "credentials", code = "PartialCredentials",
      message = "AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not" })
  end
  local expiration = get("AWS_CREDENTIAL_EXPIRATION")
  local expires_at, reason
  if expiration then
    expires_at, reason = fmt.parse_time(expiration)
    if not expires_at then
      return nil, errors.new({ kind = "credentials", code = "MalformedExpiration",
        message = "AWS_CREDENTIAL_EXPIRATION: " .. reason })
    end
  end
  return { access_key_id = id, secret_access_key = secret, expires_at = expires_at,
           session_token = get("AWS_SECURITY_TOKEN") or get("AWS_SESSION_TOKEN") }
end

return M
