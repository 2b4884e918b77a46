--- Credentials given to `connect` itself.
local errors = require("certrotate.errors")

local M = { name = "parameters" }

---@param context certrotate.Context
---@return certrotate.Credentials?
---@return string|certrotate.Error?
function M.load(context)
  local given = context.credentials
  if not given then return nil, "none given" end
  if type(given.access_key_id) ~= "string" or given.access_key_id == ""
    or type(given.secret_access_key) ~= "string" or given.secret_access_key == "" then
    return nil, errors.new({ kind = "credentials", code = "PartialCredentials",
      message = "connect: give access_key_id and secret_access_key, both" })
  end
  return { access_key_id = given.access_key_id, secret_access_key = given.secret_access_key,
           session_token = given.session_token, expires_at = given.expires_at }
end

return M
