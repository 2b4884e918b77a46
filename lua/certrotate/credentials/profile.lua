--- Static keys of the profile, from the credentials file or, failing that, the config file. A profile that gets its
-- credentials in a way not supported here is an error, not passed over: it would sign as somebody else.
local errors = require("certrotate.errors")

local M = { name = "profile" }

-- What a profile may say instead of keys, in the CLI's order; `before_keys`: it counts more than keys.
local UNSUPPORTED = {
  { key = "role_arn", what = "assumes a role (role_arn)", before_keys = true },
  { key = "web_identity_token_file", what = "uses a web identity (web_identity_token_file)", before_keys = true },
  { key = "sso_account_id", what = "uses IAM Identity Center (sso_account_id)", before_keys = true },
  { key = "sso_role_name", what = "uses IAM Identity Center (sso_role_name)", before_keys = true },
  { key = "login_session", what = "uses a login session (login_session)" },
  { key = "credential_process", what = "runs a program (credential_process)" },
}

local function unsupported(profile, before_keys)
  for _, one in ipairs(UNSUPPORTED) do
    if profile.settings[one.key] ~= nil and (one.before_keys or false) == before_keys then
      return errors.new({ kind = "credentials", code = "UnsupportedCredentials",
        message = ("profile '%s' %s, which certrotate cannot do yet; put keys into the environment, for example with: "
          .. "eval \"$(aws configure export-credentials --profile '%s' --format env)\""):format(profile.name, one.what,
          profile.name) })
    end
  end
end

local function keys(settings, profile, path)
  local id, secret = settings.aws_access_key_id, settings.aws_secret_access_key
  if id == nil and secret == nil then return nil end
  for name, value in pairs({ aws_access_key_id = id or "", aws_secret_access_key = secret or "" }) do
    if type(value) ~= "string" or value == "" then
      return nil, errors.new({ kind = "credentials", code = "PartialCredentials",
        message = ("profile '%s' in %s has no %s"):format(profile.name, path, name) })
    end
  end
  local token = settings.aws_security_token or settings.aws_session_token
  return { access_key_id = id, secret_access_key = secret, session_token = token ~= "" and token or nil }
end

---@param context certrotate.Context
---@return certrotate.Credentials?
---@return string|certrotate.Error?
function M.load(context)
  local profile = context.files
  local problem = unsupported(profile, true)
  if problem then return nil, problem end
  local found, err = keys(profile.credentials, profile, profile.credentials_path)
  if found or err then return found, err end
  problem = unsupported(profile, false)
  if problem then return nil, problem end
  found, err = keys(profile.config, profile, profile.config_path)
  if found or err then return found, err end
  if not profile.credentials_path then return nil, "HOME is not set, so there are no files to look into" end
  return nil, ("no aws_access_key_id for '%s' in %s or %s"):format(profile.name, profile.credentials_path,
    tostring(profile.config_path))
end

return M
