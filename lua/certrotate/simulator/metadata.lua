-- What a machine of AWS's has beside it: the instance metadata service (below /latest/) and the credentials endpoint of
-- containers (below /container/). The setting `metadata` says what kind of service is there.
local json = require "certrotate.simulator.json"
local sts = require "certrotate.simulator.sts"
local time = require "certrotate.simulator.time"

local M = {}

local role = "simulator-instance"
local credentials = "/latest/meta-data/iam/security-credentials/"

local function plain(status, body)
  return { status = status, headers = { ["Content-Type"] = "text/plain" }, body = body,
    code = status >= 400 and body or nil }
end

-- The same as long as they serve, as the real service does; a fresh set is there an hour before their end.
local function handed_out(sim, kind)
  local now = sim.clock:wall()
  local held = sim.handed_out[kind]
  if not held or (held.expires_at - now < 3600 and not sim.settings.metadata_stale) then
    local arn = ("arn:aws:sts::%s:assumed-role/%s/i-0123456789abcdef0"):format(sim.main_account, role)
    held = sts.issue(sim, sim.main_account, arn, "AROASIMULATORINST001:i-0123456789abcdef0", 6 * 3600)
    sim.handed_out[kind] = held
  end
  return held
end

local function body_of(made)
  return { AccessKeyId = made.access_key_id, SecretAccessKey = made.secret_access_key, Token = made.session_token,
           Expiration = time.iso(made.expires_at) }
end

local function token(sim, request)
  local seconds = tonumber(request.headers["x-aws-ec2-metadata-token-ttl-seconds"] or "")
  if sim.settings.metadata == "v1" then
    return plain(404, "404 - Not Found")
  elseif sim.settings.metadata == "forbidden" then
    return plain(403, "403 - Forbidden")
  elseif not seconds or seconds < 1 or seconds > 21600 then
    return plain(400, "400 - Bad Request")
  end
  local text = sim.secrets:text(56, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") .. "=="
  sim.metadata_tokens[text] = sim.clock:wall() + seconds
  return plain(200, text)
end

local function instance(sim, request)
  local kind = sim.settings.metadata
  if kind == "hung" or (kind == "hung_token" and request.method == "PUT") then
    ngx.sleep(30)
    return plain(503, "too late")
  elseif request.method == "PUT" then
    return token(sim, request)
  elseif kind ~= "v1" and kind ~= "hung_token" then
    local until_time = sim.metadata_tokens[request.headers["x-aws-ec2-metadata-token"] or ""]
    if not until_time or until_time <= sim.clock:wall() then
      return plain(401, "401 - Unauthorized")
    end
  end
  if kind == "no_role" then
    return plain(404, "404 - Not Found")
  elseif request.path == credentials then
    return plain(200, role)
  elseif request.path == credentials .. role then
    local body = body_of(handed_out(sim, "instance"))
    body.Code, body.Type, body.LastUpdated = "Success", "AWS-HMAC", time.iso(sim.clock:wall())
    return plain(200, json.encode(body))
  end
  return plain(404, "404 - Not Found")
end

local function container(sim, request)
  local kind = sim.settings.metadata
  if kind == "hung" then
    ngx.sleep(30)
    return plain(503, "too late")
  elseif sim.settings.container_token ~= "" and request.headers.authorization ~= sim.settings.container_token then
    return { status = 401, headers = { ["Content-Type"] = "application/json" }, code = "AccessDenied",
             body = json.encode { code = "AccessDenied", message = "the token is not valid" } }
  end
  local body = body_of(handed_out(sim, "container"))
  body.AccountId, body.RoleArn = sim.main_account, ("arn:aws:iam::%s:role/%s"):format(sim.main_account, role)
  return { status = 200, headers = { ["Content-Type"] = "application/json" }, body = json.encode(body) }
end

---@return string? operation   nil: not of this service
---@return function? handler
function M.route(request)
  if request.path == "/latest/api/token" or request.path:sub(1, #"/latest/meta-data/") == "/latest/meta-data/" then
    return request.method == "PUT" and "GetToken" or "GetMetadata", instance
  elseif request.method == "GET" and request.path:match("^/container/") then
    return "GetCredentials", container
  end
end

return M
