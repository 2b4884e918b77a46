--- The two shared files, ~/.aws/config and ~/.aws/credentials, read once and merged into one profile.
local core = require("certrotate.core")
local errors = require("certrotate.errors")
local ini = require("certrotate.credentials.ini")

local M = {}

---@class certrotate.Profile
---@field name string
---@field settings table<string, string|table<string,string>>  both files merged; the credentials file wins key by key
---@field credentials table   what the credentials file has of it
---@field config table        what the config file has of it
---@field services table<string, table<string,string>>  its `services` section
---@field named boolean       chosen by the caller, not by the environment or by default
---@field credentials_path? string
---@field config_path? string
---@field other fun(name: string): certrotate.Profile?            another profile of the same files
---@field sso_session fun(name: string): table<string, string>?   an [sso-session …] of the config file

local ENOENT, ENOTDIR = 2, 20

-- nil when it is not there; an error when it is there and cannot be read.
local function read(path)
  local file, why, number = io.open(path, "rb")
  if not file then
    if number == ENOENT or number == ENOTDIR then return nil end
    return nil, errors.new({ kind = "input", code = "FileUnreadable", message = ("cannot read %s"):format(why) })
  end
  local text, problem = file:read(ini.MAX_BYTES + 1)
  file:close()
  if problem then
    return nil, errors.new({ kind = "input", code = "FileUnreadable", message = ("cannot read %s: %s"):format(path, problem) })
  end
  return ini.parse(text or "", path)
end

local function expand(path, home)
  if path:find("^~/") and home then return home .. path:sub(2) end
  return path
end

local function path_of(context, variable, default)
  local path = context.environment(variable)
  if path then return expand(path, context.home) end
  return context.home and context.home .. default or nil
end

-- Sections of the config file by kind and name: [default], [profile "a b"], [services local], [sso-session corp].
local function sections_of(file, path)
  local out = { profile = {}, services = {}, ["sso-session"] = {} }
  for _, header in ipairs(file and file.order or {}) do
    local words = ini.words(header)
    if not words then
      return nil, errors.new({ kind = "input", code = "MalformedConfig",
        message = ("%s:%d: a quote is not closed"):format(path, file.lines[header]) })
    end
    local kind = out[words[1]]
    if kind and #words == 2 then
      kind[words[2]] = file.sections[header]
    elseif header == "default" then
      -- [profile default], where somebody wrote it, is the one that counts.
      out.profile.default = out.profile.default or file.sections[header]
    end
  end
  return out
end

local function not_found(name, config, credentials, config_path, credentials_path)
  local known, seen = {}, {}
  for _, list in ipairs({ config, credentials }) do
    for profile in pairs(list) do
      if not seen[profile] then
        seen[profile], known[#known + 1] = true, profile
      end
    end
  end
  table.sort(known)
  return nil, errors.new({ kind = "input", code = "ProfileNotFound",
    message = ("profile '%s' is neither in %s nor in %s (%s)"):format(name, config_path or "~/.aws/config",
      credentials_path or "~/.aws/credentials",
      #known > 0 and "there are: " .. require("certrotate.fmt").list(known, 10) or "no profile is") })
end

-- The CLI leaves that to its user; whoever can read the file can act as the account.
local function note_permissions(context, path)
  local mode = core.file_mode(path)
  if not mode or mode % 64 == 0 or not context.notes then return end
  context.notes[#context.notes + 1] = ("%s can be read by others (mode %03o): chmod 600 it"):format(path, mode % 512)
end

--- Reads the files and picks the profile. Missing files are fine, a missing `default` too; a profile that was asked for
--- and is not there, or a malformed file, is an error.
---@param context certrotate.Context
---@return certrotate.Profile?
---@return certrotate.Error?
function M.load(context)
  local config_path = path_of(context, "AWS_CONFIG_FILE", "/.aws/config")
  local credentials_path = path_of(context, "AWS_SHARED_CREDENTIALS_FILE", "/.aws/credentials")
  local config, credentials, sections, err
  if config_path then
    config, err = read(config_path)
    if err then return nil, err end
  end
  if credentials_path then
    credentials, err = read(credentials_path)
    if err then return nil, err end
  end
  sections, err = sections_of(config, config_path)
  if not sections then return nil, err end
  local name = context.profile or context.environment("AWS_DEFAULT_PROFILE") or context.environment("AWS_PROFILE")
  local wanted = name ~= nil
  name = name or "default"
  local secrets = credentials and credentials.sections or {}
  local from_config, from_credentials = sections.profile[name], secrets[name]
  if not from_config and not from_credentials and wanted and (name ~= "default" or context.profile) then
    return not_found(name, sections.profile, secrets, config_path, credentials_path)
  end
  if credentials then note_permissions(context, credentials_path) end
  local function profile_of(which)
    local settings, found = {}, { sections.profile[which] or {}, secrets[which] or {} }
    for _, source in ipairs(found) do
      for key, value in pairs(source) do settings[key] = value end
    end
    return { name = which, settings = settings, services = {}, named = context.profile ~= nil, config = found[1],
             credentials = found[2], config_path = config_path, credentials_path = credentials_path }
  end
  local profile = profile_of(name)
  local services = profile.settings.services
  if type(services) == "string" and services ~= "" then
    profile.services = sections.services[services]
    if not profile.services then
      return nil, errors.new({ kind = "input", code = "ServicesNotFound",
        message = ("profile '%s' names services '%s', but %s has no [services %s]"):format(name, services, config_path,
          services) })
    end
  end
  local function other(which)
    if not sections.profile[which] and not secrets[which] then return nil end
    local found = profile_of(which)
    found.other, found.sso_session = profile.other, profile.sso_session
    return found
  end
  profile.other = other
  profile.sso_session = function(which) return sections["sso-session"][which] end
  return profile
end

--- The names of all profiles, sorted: for completion. What cannot be read has none.
---@param context { environment: (fun(name: string): string?), home?: string }
---@return string[]
function M.names(context)
  local config_path = path_of(context, "AWS_CONFIG_FILE", "/.aws/config")
  local credentials_path = path_of(context, "AWS_SHARED_CREDENTIALS_FILE", "/.aws/credentials")
  local config = config_path and read(config_path)
  local credentials = credentials_path and read(credentials_path)
  local sections = sections_of(config, config_path)
  local names, seen = {}, {}
  for _, list in ipairs({ sections and sections.profile or {}, credentials and credentials.sections or {} }) do
    for name in pairs(list) do
      if not seen[name] then seen[name], names[#names + 1] = true, name end
    end
  end
  table.sort(names)
  return names
end

return M
