--- Where credentials come from: a chain of providers, the first that has some wins.
--
-- A provider is a module with `name` and `load(context)`, which returns
--   credentials            found
--   nil, reason (string)   not configured: the next one is asked
--   nil, err (error)       configured and broken: an error, never passed over
local errors = require("certrotate.errors")

local M = {}

---@class certrotate.Credentials
---@field access_key_id string
---@field secret_access_key string
---@field session_token? string
---@field expires_at? integer   Unix seconds
---@field source string         which provider had them

---@class certrotate.Context   what a provider may look at
---@field environment fun(name: string): string?   nil also for an empty variable
---@field home? string
---@field profile? string           named by the caller
---@field credentials? table        given by the caller
---@field files certrotate.Profile
---@field now fun(): number         Unix seconds

M.PROVIDERS = { "parameters", "environment", "profile" }

local credentials_metatable = {
  __name = "certrotate.Credentials",
  __tostring = function(self) return "credentials " .. M.masked(self.access_key_id) .. " from " .. tostring(self.source) end,
}

--- Enough of a key id to recognise it, not all of it: "AKID…MPLE".
---@param id string
---@return string
function M.masked(id)
  if #id < 12 then return "…" end
  return id:sub(1, 4) .. "…" .. id:sub(-4)
end

--- Asks the providers in order.
---@param context certrotate.Context
---@param providers? table[]   default: every provider there is
---@return certrotate.Credentials?
---@return certrotate.Error?
function M.resolve(context, providers)
  if not providers then
    providers = {}
    for index, name in ipairs(M.PROVIDERS) do providers[index] = require("certrotate.credentials." .. name) end
  end
  local tried = {}
  for _, provider in ipairs(providers) do
    local found, reason = provider.load(context)
    if found then
      found.source = provider.name
      if found.expires_at and found.expires_at <= context.now() then
        return nil, errors.new({ kind = "credentials", code = "ExpiredCredentials",
          message = ("the credentials from %s have expired at %s; renew them"):format(provider.name,
            require("certrotate.fmt").timestamp(found.expires_at)) })
      end
      return setmetatable(found, credentials_metatable)
    end
    if errors.is(reason) then return nil, reason end
    tried[#tried + 1] = provider.name .. ": " .. reason
  end
  return nil, errors.new({ kind = "credentials", code = "NoCredentials",
    message = "no AWS credentials found (" .. table.concat(tried, "; ") .. "); set AWS_ACCESS_KEY_ID and "
      .. "AWS_SECRET_ACCESS_KEY, or name a profile" })
end

return M
