--- A profile's role: `role_arn` with `source_profile` or `credential_source`, and chains of them (aws-reference 7.4).
local credentials = require("certrotate.credentials")
local errors = require("certrotate.errors")
local role = require("certrotate.credentials.role")

local M = { name = "assume-role" }

-- Where `credential_source` looks; these know no profile.
local SOURCES = { Environment = "environment", EcsContainer = "container", Ec2InstanceMetadata = "instance_metadata" }

local function has_keys(profile)
  return profile.settings.aws_access_key_id ~= nil
end

local function below(context, changes)
  local out = {}
  for key, value in pairs(context) do out[key] = value end
  for key, value in pairs(changes) do out[key] = value end
  return out
end

local function from_place(context, name, place)
  local module = SOURCES[place]
  if not module then
    return credentials.fail("MalformedConfig", "profile '%s': credential_source is '%s'; one of Environment, "
      .. "EcsContainer, Ec2InstanceMetadata expected", name, place)
  end
  local own = below(context, { profile = false })
  local found, reason = require("certrotate.credentials." .. module).load(own)
  if found then
    found.source = module
    return found
  end
  if errors.is(reason) then return nil, reason end
  return credentials.fail("NoSourceCredentials", "profile '%s': its credential_source %s has nothing: %s", name, place,
    reason)
end

local function from_profile(context, name, source)
  local profile = context.files.other(source)
  if not profile then
    return credentials.fail("ProfileNotFound", "profile '%s' names the source_profile '%s', which does not exist",
      name, source)
  end
  local chain = { [name] = true }
  for one in pairs(context.chain or {}) do chain[one] = true end
  if chain[source] and not (source == name and has_keys(profile)) then
    return credentials.fail("ProfileLoop", "profile '%s' gets to itself again through source_profile = %s: one of them "
      .. "needs keys of its own", source, source)
  end
  local own = below(context, { files = profile, profile = source, chain = chain })
  -- In this place keys count more than a role: they are what signs for it.
  if not has_keys(profile) then
    local found, reason = M.load(own)
    if found then
      found.source = M.name
      return found
    end
    if errors.is(reason) then return nil, reason end
  end
  local found, err = credentials.resolve(own)
  if found then return found end
  if err.code == "NoCredentials" then
    return credentials.fail("NoSourceCredentials", "profile '%s' names the source_profile '%s', which has no "
      .. "credentials", name, source)
  end
  return nil, err
end

---@param context certrotate.Context
---@return certrotate.Source?
---@return string|certrotate.Error?
function M.load(context)
  local profile = context.files
  local settings, name = profile.settings, profile.name
  if settings.role_arn == nil or settings.web_identity_token_file ~= nil then
    return nil, "no role_arn"
  end
  local params, err = role.params(settings, ("profile '%s'"):format(name))
  if not params then return nil, err end
  local source, place = settings.source_profile, settings.credential_source
  if (source == nil) == (place == nil) then
    return credentials.fail("MalformedConfig", "profile '%s' has a role_arn and %s source_profile %s "
      .. "credential_source: exactly one of them says who may assume it", name,
      source and "both" or "neither", source and "and" or "nor")
  end
  local parent
  if source then
    parent, err = from_profile(context, name, source)
  else
    parent, err = from_place(context, name, place)
  end
  if not parent then return nil, err end
  return { fetch = function(fetcher)
    local account
    account, err = fetcher:account(parent)
    if not account then return nil, err end
    return role.assume(fetcher, account, params)
  end }
end

return M
