-- Security Token Service: who am I, and temporary credentials of a role. Query protocol.
local protocol = require "certrotate.simulator.protocol"
local roles = require "certrotate.simulator.roles"
local time = require "certrotate.simulator.time"
local xml = require "certrotate.simulator.xml"

local M = {}

local fail = protocol.fail
local upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
local mixed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
local longest, chained = 43200, 3600

--- Temporary credentials that the services take until their time is over.
---@param sim certrotate.simulator.Simulation
---@param account string
---@param arn string          of the identity that uses them
---@param user string
---@param seconds number
---@return { access_key_id: string, secret_access_key: string, session_token: string, expires_at: number }
function M.issue(sim, account, arn, user, seconds)
  local lifetime = sim.settings.credential_lifetime
  local id = "ASIA" .. sim.secrets:text(16, upper)
  local credential = {
    access_key_id = id, secret_access_key = sim.secrets:text(40, mixed), session_token = sim.secrets:text(220, mixed),
    expires_at = math.floor(sim.clock:wall() + (lifetime > 0 and lifetime or seconds)), user_id = user, arn = arn,
    account_id = account, role = true,
  }
  sim.credentials[id] = credential
  return credential
end

local function identity(sim, request)
  local credential = sim.credentials[request.principal.access_key_id]
  local arn = credential.arn or ("arn:aws:iam::%s:user/simulator"):format(sim.options.account_id)
  return protocol.query(request, xml.element("Arn", arn) .. xml.element("UserId", credential.user_id or "AIDASIMULATORUSER0001")
    .. xml.element("Account", sim.options.account_id))
end

local function credentials_element(credential)
  return table.concat {
    "<Credentials>", xml.element("AccessKeyId", credential.access_key_id),
    xml.element("SecretAccessKey", credential.secret_access_key), xml.element("SessionToken", credential.session_token),
    xml.element("Expiration", time.iso(credential.expires_at)), "</Credentials>",
  }
end

-- What both forms check; the role's account, its name, the session's name and the seconds.
local function read(form)
  local account, role = (form.RoleArn or ""):match("^arn:aws:iam::(%d+):role/(.+)$")
  local session = form.RoleSessionName or ""
  local seconds = tonumber(form.DurationSeconds or 3600)
  if not account or not session:match("^[%w_+=,.@-][%w_+=,.@-]+$") or #session > 64 or not seconds or seconds < 900
    or seconds > longest then
    return fail("ValidationError", 400, "1 validation error detected: RoleArn, RoleSessionName or DurationSeconds is not valid")
  end
  return { account = account, role = role:match("[^/]+$"), session = session, seconds = seconds }
end

local function too_long(given, role, caller)
  if caller and caller.role and given.seconds > chained then
    return fail("ValidationError", 400, "The requested DurationSeconds exceeds the 1 hour session limit for roles "
      .. "assumed by role chaining.")
  elseif given.seconds > (role and role.max_duration or 3600) then
    return fail("ValidationError", 400,
      "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
  end
end

local function assumed(sim, request, given, more)
  local user = "AROASIMULATORROLE0001:" .. given.session
  local arn = ("arn:aws:sts::%s:assumed-role/%s/%s"):format(given.account, given.role, given.session)
  local credential = M.issue(sim, given.account, arn, user, given.seconds)
  return protocol.query(request, table.concat {
    credentials_element(credential), "<AssumedRoleUser>", xml.element("Arn", arn), xml.element("AssumedRoleId", user),
    "</AssumedRoleUser>", more or "", "<PackedPolicySize>6</PackedPolicySize>",
  })
end

local function assume_role(sim, request, form)
  local given, err = read(form)
  if not given then
    return nil, err
  end
  local caller = sim.credentials[request.principal.access_key_id]
  local role = sim.roles[form.RoleArn]
  if not roles.allows(sim, role, form.RoleArn, caller.account_id or sim.main_account, form) then
    return fail("AccessDenied", 403, ("User: %s is not authorized to perform: sts:AssumeRole on resource: %s"):format(
      caller.arn or ("arn:aws:iam::%s:user/simulator"):format(sim.options.account_id), form.RoleArn))
  end
  local _, long = too_long(given, role, caller)
  if long then
    return nil, long
  end
  return assumed(sim, request, given)
end

local function assume_role_with_web_identity(sim, request, form)
  local given, err = read(form)
  if not given then
    return nil, err
  elseif sim.settings.idp_failures > 0 then
    sim.settings.idp_failures = sim.settings.idp_failures - 1
    return fail("IDPCommunicationError", 400, "Error communicating with the identity provider")
  end
  local claims, role = roles.claims(form.WebIdentityToken or ""), sim.roles[form.RoleArn]
  if not claims then
    return fail("InvalidIdentityToken", 400, "The ID Token provided is not a valid JWT. (You may see this error if you "
      .. "sent an Access Token)")
  elseif not role or not role.issuer or claims.iss ~= role.issuer
    or (role.audience and claims.aud ~= role.audience) then
    return fail("AccessDenied", 403, "Not authorized to perform sts:AssumeRoleWithWebIdentity")
  elseif type(claims.exp) ~= "number" or claims.exp <= sim.clock:wall() then
    return fail("ExpiredTokenException", 400,
      "Token expired: current date/time must be before the expiration date/time")
  end
  local _, long = too_long(given, role)
  if long then
    return nil, long
  end
  return assumed(sim, request, given, xml.element("SubjectFromWebIdentityToken", tostring(claims.sub))
    .. xml.element("Provider", claims.iss) .. xml.element("Audience", tostring(claims.aud)))
end

local operations = { GetCallerIdentity = identity, AssumeRole = assume_role,
                     AssumeRoleWithWebIdentity = assume_role_with_web_identity }
--- Asked for without a signature.
M.unsigned = { AssumeRoleWithWebIdentity = true }

---@return string operation
---@return function? handler
function M.route(request)
  local name = request.input.Action or "Unknown"
  return name, operations[name], request.input.RoleArn
end

return M
