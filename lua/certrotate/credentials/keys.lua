--- Keys that stand in one of the two files: what credentials_file.lua and config_file.lua share.
--
-- Keys with a session token were put there by some tool and do not live for ever: when AWS refuses them as
-- expired, the files are read again, in case the tool has been there.
local credentials = require("certrotate.credentials")

local M = {}

local function read(profile, settings, path)
  local id, secret = settings.aws_access_key_id, settings.aws_secret_access_key
  if id == nil and secret == nil then return nil end
  for name, value in pairs({ aws_access_key_id = id or "", aws_secret_access_key = secret or "" }) do
    if type(value) ~= "string" or value == "" then
      return credentials.fail("PartialCredentials", "profile '%s' in %s has no %s", profile.name, path, name)
    end
  end
  local token = settings.aws_security_token or settings.aws_session_token
  return { access_key_id = id, secret_access_key = secret, session_token = token ~= "" and token or nil }
end

local function read_again(context, file, old)
  local profile, err = require("certrotate.credentials.files").load(context)
  if not profile then return nil, err end
  local found
  found, err = read(profile, profile[file], profile[file .. "_path"])
  if err then return nil, err end
  if not found or found.session_token == old.session_token then
    return credentials.fail("ExpiredCredentials", "AWS takes the session token of profile '%s' in %s no more: renew it "
      .. "there", profile.name, tostring(profile[file .. "_path"]))
  end
  return found
end

--- The keys of context's profile in the "credentials" or the "config" file.
---@param context certrotate.Context
---@param file "credentials"|"config"
---@return certrotate.Source?
---@return string|certrotate.Error?
function M.load(context, file)
  local profile = context.files
  local path = profile[file .. "_path"]
  if not path then return nil, "HOME is not set" end
  local found, err = read(profile, profile[file], path)
  if err then return nil, err end
  if not found then return nil, ("no keys of '%s' in %s"):format(profile.name, path) end
  if found.session_token then
    found.fetch = function() return read_again(context, file, found) end
  end
  return found
end

return M
