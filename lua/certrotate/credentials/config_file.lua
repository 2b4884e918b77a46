--- Keys of the profile in ~/.aws/config: the last thing a profile is asked for. A profile that gets its credentials in
-- a way not known here is an error, not passed over: it would sign as somebody else.
local credentials = require("certrotate.credentials")

local M = { name = "config-file" }

---@param context certrotate.Context
---@return certrotate.Source?
---@return string|certrotate.Error?
function M.load(context)
  local profile = context.files
  if profile.settings.login_session ~= nil then
    return credentials.fail("UnsupportedCredentials", "profile '%s' uses a login session (login_session), which "
      .. "certrotate cannot use; hand its keys over with: credential_process = aws configure export-credentials "
      .. "--profile %s", profile.name, profile.name)
  end
  return require("certrotate.credentials.keys").load(context, "config")
end

return M
