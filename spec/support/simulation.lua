-- A simulated account without nginx, for LuaJIT: signed requests go in, answers come out. Certificates are made once
-- for a process, in a folder that `M.close` removes.
local authority = require("certrotate.simulator.authority")

local M = {}

local pki, directory
local key = { access_key_id = "AKIDSIMULATION", secret_access_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY" }

--- The folder of certificates: root, intermediate, old, new, and whatever `more` asks for.
function M.certificates(more)
  if not pki then
    local ok, output = authority.shell("mktemp -d")
    assert(ok, output)
    directory = output:gsub("%s+$", "")
    pki = assert(authority.open(directory))
    local names = { "shop.example", "*.shop.example" }
    assert(pki:make({
      { file = "root", ca = true, subject = "spec root" },
      { file = "intermediate", ca = true, issuer = "root", subject = "spec intermediate" },
      { file = "old", issuer = "intermediate", key = "rsa:2048", names = names },
      { file = "new", issuer = "intermediate", key = "rsa:2048", names = names },
    }))
  end
  if more then assert(pki:make(more)) end
  return pki
end

function M.close()
  if directory then authority.shell("rm -rf " .. authority.quote(directory)) end
  pki, directory = nil, nil
end

--- PEM texts of a certificate made by `certificates`.
function M.pem(file)
  local files = M.certificates():files(file)
  return authority.read(files.certificate), authority.read(files.key), authority.read(files.chain)
end

local Account = {}
Account.__index = Account

--- An account whose clock stands still until `pass` is called.
---@param settings? table
function M.account(settings)
  local self = setmetatable({ time = os.time() }, Account)
  self.sim = assert(require("certrotate.simulator.simulation").new(
    { seed = 1, account_id = "111122223333", settings = settings, credentials = { key } },
    function() return self.time end))
  return self
end

function Account:pass(seconds) self.time = self.time + seconds end

--- Puts a certificate into a store, as it stands in the files.
function Account:store(store, file, options)
  local certificate = require("certrotate.simulator.certificate")
  local pem, private, chain = M.pem(file)
  options = options or {}
  local material, problem = certificate.read(pem, private, options.chain or chain, options.now or self.time)
  assert(material, problem)
  if store == "iam" then
    options.name, options.path = options.name or file, options.path or "/cloudfront/"
    return require("certrotate.simulator.iam").add(self.sim, material, options)
  end
  return require("certrotate.simulator.acm").add(self.sim, material, options)
end

--- A signed request.
---@return table answer
function Account:send(service, method, uri, headers, body, region)
  local sigv4 = require("certrotate.simulator.sigv4")
  local time = require("certrotate.simulator.time")
  local stamp = time.basic(self.time)
  local request = { method = method, uri = uri, body = body or "", headers = { host = "127.0.0.1:1", ["x-amz-date"] = stamp } }
  for name, value in pairs(headers or {}) do request.headers[name] = value end
  local names = {}
  for name in pairs(request.headers) do names[#names + 1] = name end
  table.sort(names)
  local scope = { date = stamp:sub(1, 8), region = region or "us-east-1", service = service, terminator = "aws4_request" }
  local signature = sigv4.signature(key.secret_access_key, scope, stamp, sigv4.canonical_request(request, names, service))
  request.headers.authorization = ("AWS4-HMAC-SHA256 Credential=%s/%s/%s/%s/aws4_request, SignedHeaders=%s, Signature=%s"):format(
    key.access_key_id, scope.date, scope.region, service, table.concat(names, ";"), signature)
  local answer = require("certrotate.simulator.server").respond(self.sim, request)
  answer.operation = request.operation
  return answer
end

--- ACM, Service Quotas and Support: decoded JSON, or nil and the code.
function Account:json(service, target, input, region)
  local cjson = require("cjson")
  local answer = self:send(service, "POST", "/", { ["x-amz-target"] = target, ["content-type"] = "application/x-amz-json-1.1" },
    type(input) == "string" and input or cjson.encode(input), region)
  local decoded = answer.body ~= "" and cjson.decode(answer.body) or {}
  if answer.status ~= 200 then
    return nil, (decoded.__type or ""):match("[^#]*$"), decoded.message, answer.status
  end
  return decoded
end

local function encode(text)
  return (tostring(text):gsub("[^%w%-%._~]", function(byte) return ("%%%02X"):format(byte:byte()) end))
end

--- IAM and STS: the answer's XML, or nil and the code.
function Account:query(service, input)
  local parts = { "Version=" .. (service == "sts" and "2011-06-15" or "2010-05-08") }
  for name, value in pairs(input) do parts[#parts + 1] = encode(name) .. "=" .. encode(value) end
  local answer = self:send(service, "POST", "/", { ["content-type"] = "application/x-www-form-urlencoded; charset=utf-8" },
    table.concat(parts, "&"))
  if answer.status ~= 200 then
    return nil, answer.body:match("<Code>(.-)</Code>"), answer.body:match("<Message>(.-)</Message>"), answer.status
  end
  return answer.body
end

--- CloudFront: the answer's XML and ETag, or nil, the code, the message and the status.
function Account:cloudfront(method, path, body, match)
  local answer = self:send("cloudfront", method, "/2020-05-31" .. path, match and { ["if-match"] = match } or nil, body)
  if answer.status >= 400 then
    return nil, answer.body:match("<Code>(.-)</Code>"), answer.body:match("<Message>(.-)</Message>"), answer.status
  end
  return answer.body, answer.headers.ETag
end

--- A configuration. `fields` are those of seed_template.lua; `viewer` may be the element's text.
function M.config(fields)
  local spec = { caller_reference = "ref-1", aliases = {}, enabled = true, staging = false, policy = "", http_version = "http2",
                 behaviors = 1, comment = "spec", origin = "origin.example.net", viewer = {} }
  for name, value in pairs(fields or {}) do spec[name] = value end
  local element = type(spec.viewer) == "string" and spec.viewer
  if element then spec.viewer = {} end
  local text = require("certrotate.simulator.seed_template").write(spec)
  if element then
    text = text:gsub("<ViewerCertificate>.-</ViewerCertificate>", function() return element end)
  end
  return text
end

--- Creates a distribution through the API and waits until it is deployed. Returns its id.
function Account:create(fields)
  local body, code, message = self:cloudfront("POST", "/distribution", M.config(fields))
  assert(body, (code or "") .. ": " .. (message or ""))
  self:pass(3600)
  return (body:match("<Id>(.-)</Id>"))
end

--- Get, edit, put. `edit` is given the configuration's text and returns another.
function Account:update(id, edit)
  local text, etag = self:cloudfront("GET", "/distribution/" .. id .. "/config")
  assert(text, etag)
  return self:cloudfront("PUT", "/distribution/" .. id .. "/config", edit(text), etag)
end

return M
