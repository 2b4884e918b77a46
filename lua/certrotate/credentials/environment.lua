--- Credentials in AWS_ACCESS_KEY_ID and its companions. Passed over when the caller named a profile, as the CLI does.
-- With AWS_CREDENTIAL_EXPIRATION they are read again ahead of it: whoever set them may have set others meanwhile.
local credentials = require("certrotate.credentials")
local fmt = require("certrotate.fmt")

local M = { name = "environment" }

local function read(get)
  local id, secret = get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY")
  if not id then
    -- nginx hands its workers no variable that no `env` directive names.
    return nil, type(_G.ngx) == "table" and "AWS_ACCESS_KEY_ID is not set (nginx needs 'env AWS_ACCESS_KEY_ID;')"
      or "AWS_ACCESS_KEY_ID is not set"
  end
  if not secret then
    return credentials.fail("PartialCredentials", "AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not")
  end
  local expiration = get("AWS_CREDENTIAL_EXPIRATION")
  local expires_at, reason
  if expiration then
    expires_at, reason = fmt.parse_time(expiration)
    if not expires_at then return credentials.fail("MalformedExpiration", "AWS_CREDENTIAL_EXPIRATION: %s", reason) end
  end
  return { access_key_id = id, secret_access_key = secret, expires_at = expires_at,
           session_token = get("AWS_SECURITY_TOKEN") or get("AWS_SESSION_TOKEN") }
end

---@param context certrotate.Context
---@return certrotate.Source?
---@return string|certrotate.Error?
function M.load(context)
  if context.profile then return nil, "passed over, because a profile was named" end
  local found, reason = read(context.environment)
  if not found then return nil, reason end
  if found.expires_at then
    if found.expires_at <= context.now() then
      return credentials.fail("ExpiredCredentials", "the credentials from environment have expired at %s; renew them",
        fmt.timestamp(found.expires_at))
    end
    found.fetch = function() return read(context.environment) end
  end
  return found
end

return M
