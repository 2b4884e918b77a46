-- Who may assume which role, and what a web identity's token must be. Configured through the control endpoint
-- (POST roles, POST identity_providers); part of the account's state.
local json = require "certrotate.simulator.json"

local M = {}

---@class certrotate.simulator.Role
---@field arn string
---@field trusted? string[]        account numbers whose identities may assume it; default: the main account
---@field external_id? string      must be given
---@field mfa_serial? string       must be given, with a code
---@field mfa_code? string         which is this one
---@field max_duration? integer    default 3600
---@field issuer? string           of web identities that may assume it
---@field audience? string

-- An unpadded base64url text; nil when it is none.
local function from_base64url(text)
  local swapped = text:gsub("-", "+"):gsub("_", "/")
  return ngx and ngx.decode_base64(swapped .. ("="):rep(-#swapped % 4)) or nil
end

--- The claims of a JSON web token. The simulator has no keys of issuers: signatures are not checked.
---@return table?
function M.claims(token)
  local payload = token:match("^[%w_-]+%.([%w_-]+)%.[%w_-]+$")
  local text = payload and from_base64url(payload)
  local claims = text and json.decode(text)
  return type(claims) == "table" and claims or nil
end

--- Adds or replaces a role.
---@return boolean? ok
---@return string? err
function M.add(sim, role)
  if type(role.arn) ~= "string" or not role.arn:match("^arn:[%w-]+:iam::%d+:role/.+$") then
    return nil, "arn: a role's ARN expected"
  end
  sim.roles[role.arn] = role
  return true
end

local function lists(list, item)
  for _, one in ipairs(list) do
    if one == item then
      return true
    end
  end
  return false
end

--- Whether an identity of `account` may assume it with what it brought. `given`: ExternalId, SerialNumber, TokenCode.
--- A role nobody configured may be assumed within the main account, as the owner of everything there might have set it.
---@param role? certrotate.simulator.Role
---@return boolean
function M.allows(sim, role, arn, account, given)
  if not role then
    return account == sim.main_account and arn:match("^arn:[%w-]+:iam::(%d+):") == sim.main_account
  end
  if role.issuer or not lists(role.trusted or { sim.main_account }, account) then
    return false
  elseif role.external_id and given.ExternalId ~= role.external_id then
    return false
  end
  return not role.mfa_serial or given.SerialNumber == role.mfa_serial and given.TokenCode == (role.mfa_code or "123456")
end

return M
