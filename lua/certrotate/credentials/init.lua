--- Where credentials come from: a chain of providers in the AWS CLI's order, the first that is configured wins.
--
-- A provider is a module with `name` and `load(context)`, which reads settings, variables and files and sends nothing:
--   source                 configured: credentials that are there, or how to get them, or both (certrotate.Source)
--   nil, reason (string)   not configured: the next one is asked
--   nil, err (error)       configured and broken: an error, never passed over
local errors = require("certrotate.errors")

local M = {}

---@class certrotate.Credentials
---@field access_key_id string
---@field secret_access_key string
---@field session_token? string
---@field expires_at? integer   Unix seconds
---@field renew_at? number      when to look for new ones, where the provider knows better than renewal.lua
---@field source string         which provider had them

--- What a provider found. With an access_key_id it is credentials; with `fetch` it can bring (new) ones, as a task that
--- waits through the fetcher: credentials | nil, err | nil, reason ("there is nothing", where only asking can tell).
---@class certrotate.Source
---@field source string            which provider, filled in by the chain
---@field access_key_id? string
---@field secret_access_key? string
---@field session_token? string
---@field expires_at? integer
---@field fetch? fun(fetcher: certrotate.Fetcher): certrotate.Credentials?, certrotate.Error|string|nil
---@field tried? string[]          what was asked before, for the message when this one has nothing either
---@field account? integer         of the client, once it has one

---@class certrotate.Context   what a provider may look at
---@field environment fun(name: string): string?   nil also for an empty variable
---@field home? string
---@field profile? string           named by the caller
---@field credentials? table        given by the caller
---@field files certrotate.Profile
---@field now fun(): number         Unix seconds
---@field endpoint_settings? certrotate.EndpointSettings   where SSO is
---@field notes? string[]           lines for people that are no errors
---@field chain? table<string, boolean>   profiles on the way to this one, while a source_profile is looked up

--- aws-reference 7.1, the AWS CLI's order.
M.PROVIDERS = { "parameters", "environment", "assume_role", "web_identity", "sso", "credentials_file", "process",
                "config_file", "container", "instance_metadata" }
--- What a `source_profile` may use: nothing from outside the profile, and its keys before its role.
M.OF_PROFILE = { "web_identity", "sso", "credentials_file", "process", "config_file" }

local shown = {
  __name = "certrotate.Credentials",
  __tostring = function(self)
    return ("credentials %s from %s"):format(self.access_key_id and M.masked(self.access_key_id) or "to be fetched",
      tostring(self.source))
  end,
}

--- Enough of a key id to recognise it, not all of it: "AKID…MPLE".
---@param id string
---@return string
function M.masked(id)
  if #id < 12 then return "…" end
  return id:sub(1, 4) .. "…" .. id:sub(-4)
end

--- Makes a table print without its secret.
---@generic T: table
---@param credentials T
---@return T
function M.shown(credentials) return setmetatable(credentials, shown) end

--- Nothing is configured, and why, provider by provider.
---@param tried string[]
---@return certrotate.Error
function M.none(tried)
  return errors.new({ kind = "credentials", code = "NoCredentials",
    message = "no AWS credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile (tried "
      .. table.concat(tried, "; ") .. ")" })
end

--- An error of kind "credentials"; formats its message.
---@return nil
---@return certrotate.Error
function M.fail(code, message, ...)
  return nil, errors.new({ kind = "credentials", code = code, message = message:format(...) })
end

local function modules(names)
  local out = {}
  for index, name in ipairs(names) do out[index] = require("certrotate.credentials." .. name) end
  return out
end

--- Asks the providers in order.
---@param context certrotate.Context
---@param providers? table[]   default: every provider there is
---@return certrotate.Source?
---@return certrotate.Error?
function M.resolve(context, providers)
  local tried = {}
  for _, provider in ipairs(providers or modules(context.chain and M.OF_PROFILE or M.PROVIDERS)) do
    local found, reason = provider.load(context)
    if found then
      found.source, found.tried = provider.name, tried
      if found.expires_at and found.expires_at <= context.now() and not found.fetch then
        return M.fail("ExpiredCredentials", "the credentials from %s have expired at %s; renew them", provider.name,
          require("certrotate.fmt").timestamp(found.expires_at))
      end
      return M.shown(found)
    end
    if errors.is(reason) then return nil, reason end
    tried[#tried + 1] = provider.name .. ": " .. reason
  end
  return nil, M.none(tried)
end

return M
