-- The API side inside nginx: reads a request, finds its service and operation, verifies its signature, lets faults
-- happen, and sends what the operation answers. Owns the simulation of this worker.
local acm = require "certrotate.simulator.acm"
local cloudfront = require "certrotate.simulator.cloudfront"
local connection = require "certrotate.simulator.connection"
local hostility = require "certrotate.simulator.hostility"
local iam = require "certrotate.simulator.iam"
local interference = require "certrotate.simulator.interference"
local json = require "certrotate.simulator.json"
local metadata = require "certrotate.simulator.metadata"
local partition = require "certrotate.simulator.partition"
local protocol = require "certrotate.simulator.protocol"
local quotas = require "certrotate.simulator.quotas"
local s3 = require "certrotate.simulator.s3"
local sigv4 = require "certrotate.simulator.sigv4"
local simulation = require "certrotate.simulator.simulation"
local sso = require "certrotate.simulator.sso"
local support = require "certrotate.simulator.support"
local sts = require "certrotate.simulator.sts"
local time = require "certrotate.simulator.time"

local M = {}

local current, initial
local failure = "the simulator has not been started"

-- ── life ────────────────────────────────────────────────────────────────────────────────────────────────────

--- The account; raises when it could not be made.
---@return certrotate.simulator.Simulation
function M.current()
  return current or error(failure)
end

--- Why there is no account; nil when there is one.
---@return string?
function M.failure()
  return not current and failure or nil
end

--- The account as it was at the start.
---@return boolean? ok
---@return string? err
function M.restart()
  return M.reset(initial)
end

--- A new account in place of the present one. The old one stays when that fails.
---@param options table
---@return boolean? ok
---@return string? err
function M.reset(options)
  local sim, err = simulation.new(options, ngx.now)
  if not sim then
    return nil, err
  end
  local ok
  ok, err = hostility.arm(sim, options)
  if not ok then
    return nil, err
  end
  current = sim
  return true
end

-- A worker that nginx puts in the place of one that died knows nothing of what was done before: it must not pretend
-- to be the account that was started.
local function first_worker(directory)
  local path = directory .. "/worker.started"
  local file = io.open(path, "rb")
  if file then
    file:close()
    return nil, "its worker process died and took the account with it (see " .. directory .. "/error.log)"
  end
  local err
  file, err = io.open(path, "wb")
  if file then
    file:close()
  end
  return file ~= nil, err
end

-- init_worker: reads the options, makes the account, and watches over the process that wanted all this.
function M.start(path)
  local chunk, err = loadfile(path)
  initial = chunk and chunk()
  local ok = initial ~= nil
  if ok then
    connection.watch(initial)
    ok, err = first_worker(initial.directory)
  end
  if ok then
    ok, err = M.reset(initial)
  end
  if not ok then
    failure = "the simulator cannot go on: " .. tostring(err)
    ngx.log(ngx.ERR, failure)
  end
end

-- ── requests ────────────────────────────────────────────────────────────────────────────────────────────────

local function unescape(text)
  return (text:gsub("+", " "):gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end))
end

local function read_form(text)
  local form = {}
  for item in text:gmatch("[^&]+") do
    local name, value = item:match("^([^=]*)=?(.*)$")
    form[unescape(name)] = unescape(value)
  end
  return form
end

local function read_request()
  ngx.req.read_body()
  local headers = ngx.req.get_headers(0)
  -- nginx would compare If-Match with the new ETag of the answer, and turn a good update into its own 412.
  for _, name in ipairs { "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "Range" } do
    ngx.req.clear_header(name)
  end
  return { method = ngx.req.get_method(), uri = ngx.var.request_uri, headers = headers, body = ngx.req.get_body_data() or "" }
end

local json_services = { CertificateManager = { "acm", acm }, ["ServiceQuotasV20190624"] = { "servicequotas", quotas },
                        ["AWSSupport_20130415"] = { "support", support } }
local query_services = { ["2010-05-08"] = { "iam", iam }, ["2011-06-15"] = { "sts", sts } }

-- Services that nobody signs for: what a caller brings is a token, or that it is on the machine.
local unsigned_services = { { "sso", sso }, { "metadata", metadata } }

-- Sets service, protocol and input; returns the module that knows the operations.
local function classify(request)
  for _, entry in ipairs(unsigned_services) do
    if entry[2].route(request) then
      request.protocol, request.service, request.unsigned = "plain", entry[1], true
      return entry[2]
    end
  end
  local target = request.headers["x-amz-target"]
  if type(target) == "string" then
    local found = json_services[target:match("^([^.]*)")]
    request.protocol, request.service, request.target = "json", found and found[1] or "unknown", target
    local input = request.body == "" and {} or json.decode(request.body)
    request.input = type(input) == "table" and input or {}
    request.malformed = type(input) ~= "table"
    return found and found[2]
  elseif request.method == "POST" and request.path == "/" and not s3.claims(request) then
    request.input = read_form(request.body)
    local found = query_services[request.input.Version or ""]
    request.protocol, request.service = "query", found and found[1] or "iam"
    return found and found[2]
  end
  if s3.claims(request) then
    request.protocol, request.service = "s3", "s3"
    return s3
  end
  request.protocol, request.service = "xml", "cloudfront"
  return cloudfront
end

local function authenticate(sim, request)
  if request.unsigned or request.service == "sts" and sts.unsigned[request.operation] then
    return true
  end
  local unhashed = request.service == "s3" and s3.refuse_unhashed(request)
  if unhashed then
    return nil, unhashed
  end
  local principal, err = sigv4.verify(request, {
    tolerance = request.service == "s3" and s3.TOLERANCE or nil,
    service = request.service, now = sim.clock:wall(),
    is_region = function(region)
      return partition.signs(sim, request.service, region)
    end,
    credential = function(id)
      return sim.credentials[id]
    end,
  })
  if not principal then
    return nil, request.service == "s3" and s3.failure(sim, err) or err
  end
  request.principal, request.region = principal, principal.region
  return true
end

-- AWS limits each account by itself.
local function too_many(sim, request)
  local limits, operation = sim.settings, request.operation
  local function limited(what, rate)
    return sim.faults:limited(what .. " of " .. sim.options.account_id, rate, sim.clock:wall())
  end
  if operation == "UpdateDistribution" or operation == "UpdateDistributionTenant" then
    return limited("updates", limits.rate_updates)
  elseif operation == "ImportCertificate" then
    return limited("imports", limits.rate_imports)
  end
  return request.service == "cloudfront" and limited("reads", limits.rate_reads)
end

local function perform(sim, request, handler, capture)
  if not handler then
    if request.protocol == "query" then
      return protocol.fail("InvalidAction", 400, ("Could not find operation %s for version %s"):format(
        request.operation, request.input.Version or "NO_VERSION_SPECIFIED"))
    end
    return protocol.fail("UnknownOperation", 400, nil)
  elseif request.malformed then
    return protocol.fail("SerializationException", 400, nil)
  end
  return handler(sim, request, (request.protocol == "xml" or request.protocol == "s3") and capture or request.input)
end

local function send(sim, request, answer)
  ngx.status = answer.status
  for name, value in pairs(answer.headers) do
    ngx.header[name] = value
  end
  ngx.header["Date"] = time.http(sim.clock:wall())
  ngx.header["Server"] = "certrotate-simulator"
  ngx.header[request.service == "s3" and "x-amz-request-id" or "x-amzn-RequestId"] = request.id
  if answer.status ~= 204 then
    ngx.header["Content-Length"] = answer.promised or #answer.body
    ngx.print(answer.body)
  end
  if answer.again then
    -- What a confused proxy does: the same answer once more, on a connection that nothing was asked on.
    local head = { ("HTTP/1.1 %d Again"):format(answer.status), "Content-Length: " .. #answer.body,
      "Date: " .. time.http(sim.clock:wall()), "x-amzn-RequestId: " .. request.id }
    for name, value in pairs(answer.headers) do
      head[#head + 1] = name .. ": " .. value
    end
    ngx.flush(true)
    ngx.print(table.concat(head, "\r\n"), "\r\n\r\n", answer.body)
  end
end

-- What a fault makes of an answer, or of there being none yet. Nil: go on as if nothing were.
local function befall(sim, request, fault, answer)
  local kind = fault.kind
  if kind == "delay" then
    ngx.sleep(fault.seconds or 1)
    return nil
  elseif kind == "clock" then
    sim.clock:change { skew = fault.seconds or 0 }
    return nil
  elseif kind == "interfere" then
    interference.act(sim, request, fault)
    return nil
  elseif kind == "duplicate" then
    answer.again = true
    return answer
  elseif kind == "error" or kind == "throttle" then
    local failed = kind == "throttle" and { code = "Throttling", message = "Rate exceeded" }
      or { code = fault.code or "InternalError", status = fault.status or 500, message = fault.message }
    local made = protocol.error(request, failed, sim.settings)
    for name, value in pairs(fault.headers or {}) do
      made.headers[name] = value
    end
    return made
  elseif kind == "html" or kind == "empty" then
    local body = kind == "html" and "<html><head><title>503 Service Temporarily Unavailable</title></head><body>"
      .. "<center><h1>503 Service Temporarily Unavailable</h1></center></body>\n" or ""
    local headers = { ["Content-Type"] = "text/html" }
    for name, value in pairs(fault.headers or {}) do
      headers[name] = value
    end
    return { status = fault.status or 503, headers = headers, body = body, code = "(" .. kind .. ")" }
  end
  -- The rest leaves no proper answer behind.
  return { status = 0, code = "(" .. kind .. ")", broken = fault, whole = answer }
end

local function answer_of(sim, request, handler, capture)
  local ok, err = authenticate(sim, request)
  if not ok then
    return protocol.error(request, err, sim.settings)
  end
  local caller = request.principal and sim.credentials[request.principal.access_key_id]
  local account = simulation.of(sim, caller and caller.account_id)
  request.account = account.options.account_id
  if too_many(account, request) then
    return protocol.error(request, { code = "Throttling", message = "Rate exceeded" }, sim.settings)
  end
  local fault = sim.faults:take(request)
  local early = fault and fault.when == "before" and befall(sim, request, fault)
  if early then
    return early
  end
  local answer
  answer, err = perform(account, request, handler, capture)
  answer = answer or protocol.error(request, err, sim.settings)
  return fault and fault.when == "after" and befall(sim, request, fault, answer) or answer
end

--- Answers a request of any service: `method`, `uri`, `headers` (names in lower case) and `body` are given.
---@param sim certrotate.simulator.Simulation
---@param request table   gets `id`, `service`, `operation`, `resource`, …
---@return certrotate.simulator.Answer
function M.respond(sim, request)
  local path, query = request.uri:match("^([^?]*)%??(.*)$")
  request.id, request.path, request.query, request.input = sim.secrets:uuid(), path, read_form(query), {}
  local service = classify(request)
  local handler, capture
  if service then
    request.operation, handler, capture = service.route(request)
  else
    request.operation = request.input.Action or request.target or "Unknown"
  end
  request.resource = capture
  local answer = answer_of(sim, request, handler, capture)
  sim.record:add { time = sim.clock:now(), service = request.service, operation = request.operation,
    resource = request.resource, status = answer.status, code = answer.code, request_id = request.id,
    account = request.account }
  return answer
end

--- content_by_lua of the API listener.
function M.handle()
  local sim = M.current()
  local request = read_request()
  local answer = M.respond(sim, request)
  if answer.broken then
    return connection.break_off(answer.broken, answer.whole, function(whole)
      return send(sim, request, whole)
    end)
  end
  send(sim, request, answer)
end

return M
