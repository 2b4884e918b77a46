-- Security Token Service: who am I, and temporary credentials of a role. Query protocol.
local protocol = require "certrotate.simulator.protocol"
local time = require "certrotate.simulator.time"
local xml = require "certrotate.simulator.xml"

local M = {}

local fail = protocol.fail
local upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
local mixed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

local function identity(sim, request)
  local credential = sim.credentials[request.principal.access_key_id]
  local arn = credential.arn or ("arn:aws:iam::%s:user/simulator"):format(sim.options.account_id)
  return protocol.query(request, xml.element("Arn", arn) .. xml.element("UserId", credential.user_id or "AIDASIMULATORUSER0001")
    .. xml.element("Account", sim.options.account_id))
end

local function assume_role(sim, request, form)
  local account, role = (form.RoleArn or ""):match("^arn:aws:iam::(%d+):role/(.+)$")
  local session = form.RoleSessionName or ""
  local seconds = tonumber(form.DurationSeconds or 3600)
  if not account or not session:match("^[%w_+=,.@-][%w_+=,.@-]+$") or #session > 64 or not seconds or seconds < 900
    or seconds > 43200 then
    return fail("ValidationError", 400, "1 validation error detected: RoleArn, RoleSessionName or DurationSeconds is not valid")
  elseif account ~= sim.options.account_id then
    return fail("AccessDenied", 403, "User is not authorized to perform: sts:AssumeRole on resource: " .. form.RoleArn)
  end
  local id, user = "ASIA" .. sim.secrets:text(16, upper), "AROASIMULATORROLE0001:" .. session
  local credential = {
    secret_access_key = sim.secrets:text(40, mixed), session_token = sim.secrets:text(220, mixed),
    expires_at = sim.clock:wall() + seconds, user_id = user,
    arn = ("arn:aws:sts::%s:assumed-role/%s/%s"):format(account, role:match("[^/]+$"), session),
  }
  sim.credentials[id] = credential
  return protocol.query(request, table.concat {
    "<Credentials>", xml.element("AccessKeyId", id), xml.element("SecretAccessKey", credential.secret_access_key),
    xml.element("SessionToken", credential.session_token), xml.element("Expiration", time.iso(credential.expires_at)),
    "</Credentials><AssumedRoleUser>", xml.element("Arn", credential.arn), xml.element("AssumedRoleId", user),
    "</AssumedRoleUser><PackedPolicySize>6</PackedPolicySize>",
  })
end

local operations = { GetCallerIdentity = identity, AssumeRole = assume_role }

---@return string operation
---@return function? handler
function M.route(request)
  local name = request.input.Action or "Unknown"
  return name, operations[name], request.input.RoleArn
end

return M
