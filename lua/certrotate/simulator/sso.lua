-- IAM Identity Center: the portal that hands out a role's credentials for a bearer token, and the OIDC endpoint that
-- refreshes the token. Both unsigned, rest-json. Tokens are put there through the control endpoint (POST sso).
local json = require "certrotate.simulator.json"
local sts = require "certrotate.simulator.sts"

local M = {}

---@class certrotate.simulator.SsoToken
---@field access_token string
---@field expires_at number
---@field refresh_token? string
---@field client_id? string
---@field client_secret? string
---@field roles? { account_id: string, role_name: string }[]   nil: every role of the main account

local function answer(status, value)
  return { status = status, headers = { ["Content-Type"] = "application/json" }, body = json.encode(value),
           code = status >= 400 and (value.error or value.__type) or nil }
end

--- Adds or replaces a token.
---@return boolean? ok
---@return string? err
function M.add(sim, token)
  if type(token.access_token) ~= "string" or type(token.expires_at) ~= "number" then
    return nil, "access_token and expires_at are needed"
  end
  sim.sso[token.access_token] = token
  return true
end

local function may_use(sim, token, account, role)
  if not token.roles then
    return account == sim.main_account
  end
  for _, one in ipairs(token.roles) do
    if one.account_id == account and one.role_name == role then
      return true
    end
  end
  return false
end

local function role_credentials(sim, request)
  local token = sim.sso[request.headers["x-amz-sso_bearer_token"] or ""]
  local account, role = request.query.account_id, request.query.role_name
  if not account or not role then
    return answer(400, { __type = "InvalidRequestException", message = "account_id and role_name are needed" })
  elseif not token or token.expires_at <= sim.clock:wall() then
    return answer(401, { __type = "UnauthorizedException", message = "Session token not found or invalid" })
  elseif not may_use(sim, token, account, role) then
    return answer(403, { __type = "ForbiddenException", message = "No access" })
  end
  local made = sts.issue(sim, account, ("arn:aws:sts::%s:assumed-role/AWSReservedSSO_%s_0123456789abcdef/user"):format(
    account, role), "AROASIMULATORSSO0001:user", 3600)
  return answer(200, { roleCredentials = { accessKeyId = made.access_key_id, secretAccessKey = made.secret_access_key,
    sessionToken = made.session_token, expiration = made.expires_at * 1000 } })
end

local function refresh(sim, request)
  local given = json.decode(request.body)
  if type(given) ~= "table" or given.grantType ~= "refresh_token" then
    return answer(400, { error = "unsupported_grant_type", error_description = "refresh_token expected" })
  end
  for access, token in pairs(sim.sso) do
    if token.refresh_token and token.refresh_token == given.refreshToken then
      if given.clientId ~= token.client_id or given.clientSecret ~= token.client_secret then
        return answer(401, { error = "invalid_client", error_description = "Invalid client" })
      end
      -- A refresh token serves once.
      sim.sso[access] = nil
      local new = { access_token = "aoa" .. sim.secrets:uuid(), refresh_token = "aor" .. sim.secrets:uuid(),
        expires_at = sim.clock:wall() + 3600, client_id = token.client_id, client_secret = token.client_secret,
        roles = token.roles }
      M.add(sim, new)
      return answer(200, { accessToken = new.access_token, expiresIn = 3600, tokenType = "Bearer",
                           refreshToken = new.refresh_token })
    end
  end
  return answer(400, { error = "invalid_grant", error_description = "Invalid refresh token provided" })
end

---@return string? operation   nil: not of this service
---@return function? handler
function M.route(request)
  if request.method == "GET" and request.path == "/federation/credentials" then
    return "GetRoleCredentials", role_credentials
  elseif request.method == "POST" and request.path == "/token" then
    return "CreateToken", refresh
  end
end

return M
