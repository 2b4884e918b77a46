-- Verifies Signature Version 4 as an AWS service does: own canonical request, own HMAC, own idea of the time.
-- Pure: the request is a table, the clock and the keys are parameters. Knows no nginx.
local crypto = require "certrotate.simulator.crypto"
local time = require "certrotate.simulator.time"

local M = {}

-- S3 takes a body without its hash; a chunked one brings a checksum behind it.
M.unhashed = { ["UNSIGNED-PAYLOAD"] = true, ["STREAMING-UNSIGNED-PAYLOAD-TRAILER"] = true }
M.TOLERANCE = 300 -- seconds a request may be old or early

---@class certrotate.simulator.SignedRequest
---@field method string
---@field uri string                 the request target as on the wire, query included
---@field headers table<string,string|string[]>   names in lower case
---@field body string

local function encode(text)
  return (text:gsub("[^%w%-%._~]", function(byte)
    return ("%%%02X"):format(byte:byte())
  end))
end

local function decode(text)
  return (text:gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end))
end

--- The path for the canonical request. S3 takes it as it is; everybody else resolves dots and encodes it once more.
---@param path string
---@param plain boolean
---@return string
function M.canonical_path(path, plain)
  if path == "" then
    return "/"
  end
  if plain then
    return (path:gsub("[^%w%-%._~/%%]", function(byte)
      return ("%%%02X"):format(byte:byte())
    end))
  end
  local segments = {}
  for segment in path:gmatch("[^/]+") do
    if segment == ".." then
      segments[#segments] = nil
    elseif segment ~= "." then
      segments[#segments + 1] = segment
    end
  end
  local joined = "/" .. table.concat(segments, "/")
  if #segments > 0 and path:sub(-1) == "/" then
    joined = joined .. "/"
  end
  return (joined:gsub("[^%w%-%._~/]", function(byte)
    return ("%%%02X"):format(byte:byte())
  end))
end

---@param query string  raw, without "?"
---@return string
function M.canonical_query(query)
  local pairs_ = {}
  for item in query:gmatch("[^&]+") do
    local name, value = item:match("^([^=]*)=?(.*)$")
    pairs_[#pairs_ + 1] = { encode(decode(name)), encode(decode(value)) }
  end
  table.sort(pairs_, function(a, b)
    if a[1] ~= b[1] then
      return a[1] < b[1]
    end
    return a[2] < b[2]
  end)
  for index, pair in ipairs(pairs_) do
    pairs_[index] = pair[1] .. "=" .. pair[2]
  end
  return table.concat(pairs_, "&")
end

local function canonical_value(value)
  if type(value) == "table" then
    local parts = {}
    for index, item in ipairs(value) do
      parts[index] = canonical_value(item)
    end
    return table.concat(parts, ",")
  end
  return (tostring(value):gsub("%s+", " "):gsub("^ ", ""):gsub(" $", ""))
end

---@param request certrotate.simulator.SignedRequest
---@param names string[]        the signed headers, as the client listed them
---@param service string
---@return string
function M.canonical_request(request, names, service)
  local path, query = request.uri:match("^([^?]*)%??(.*)$")
  local lines = {
    request.method,
    M.canonical_path(path, service == "s3"),
    M.canonical_query(query),
  }
  for _, name in ipairs(names) do
    lines[#lines + 1] = name .. ":" .. canonical_value(request.headers[name] or "")
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = table.concat(names, ";")
  local claimed = request.headers["x-amz-content-sha256"]
  lines[#lines + 1] = type(claimed) == "string" and service == "s3" and claimed or crypto.sha256_hex(request.body)
  return table.concat(lines, "\n")
end

local key_cache, key_cache_size = {}, 0

--- The signing key of a day; deriving it costs four HMACs, so recent ones are kept.
---@return string bytes
function M.signing_key(secret, date, region, service)
  local name = table.concat({ secret, date, region, service }, "\n")
  local key = key_cache[name]
  if not key then
    if key_cache_size >= 64 then
      key_cache, key_cache_size = {}, 0
    end
    key = crypto.hmac(crypto.hmac(crypto.hmac(crypto.hmac("AWS4" .. secret, date), region), service), "aws4_request")
    key_cache[name], key_cache_size = key, key_cache_size + 1
  end
  return key
end

---@return string hex
function M.signature(secret, scope, amz_date, canonical)
  local text = table.concat({
    "AWS4-HMAC-SHA256", amz_date, table.concat({ scope.date, scope.region, scope.service, scope.terminator }, "/"),
    crypto.sha256_hex(canonical),
  }, "\n")
  return crypto.hex(crypto.hmac(M.signing_key(secret, scope.date, scope.region, scope.service), text))
end

-- ── verification ────────────────────────────────────────────────────────────────────────────────────────────

-- Codes here are those of the XML services; protocol.lua spells them for the JSON ones.
local function refuse(code, message)
  return nil, { code = code, message = message }
end

local function parse_authorization(text, headers)
  local algorithm, rest = text:match("^%s*(%S+)%s+(.*)$")
  if algorithm ~= "AWS4-HMAC-SHA256" then
    return refuse("IncompleteSignature", "Unsupported AWS 'algorithm': '" .. tostring(algorithm or text) .. "'.")
  end
  local fields = {}
  for item in rest:gmatch("[^,]+") do
    local name, value = item:match("^%s*([^=%s]+)=(.-)%s*$")
    if not name then
      return refuse("IncompleteSignature", "'" .. item .. "' not a valid key=value pair (missing equal-sign) in "
        .. "Authorization header.")
    end
    fields[name] = value
  end
  local missing = {}
  for _, name in ipairs { "Credential", "Signature", "SignedHeaders" } do
    if not fields[name] or fields[name] == "" then
      missing[#missing + 1] = ("Authorization header requires '%s' parameter."):format(name)
    end
  end
  if not headers["x-amz-date"] and not headers["date"] then
    missing[#missing + 1] = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
  end
  if #missing > 0 then
    return refuse("IncompleteSignature", table.concat(missing, " "))
  end
  local scope, elements = {}, {}
  for element in (fields.Credential .. "/"):gmatch("([^/]*)/") do
    elements[#elements + 1] = element
  end
  if #elements ~= 5 then
    return refuse("IncompleteSignature", "Credential must have exactly 5 slash-delimited elements, e.g. "
      .. "keyid/date/region/service/term, got '" .. fields.Credential .. "'")
  end
  scope.access_key_id, scope.date, scope.region = elements[1], elements[2], elements[3]
  scope.service, scope.terminator = elements[4], elements[5]
  local names = {}
  for name in fields.SignedHeaders:gmatch("[^;]+") do
    names[#names + 1] = name:lower()
  end
  return { scope = scope, names = names, signature = fields.Signature }
end

-- A table with one value, or the first of several: only for headers that may occur once.
local function single(value)
  return type(value) == "table" and value[1] or value
end

local function check_token(credential, headers, now)
  local token = single(headers["x-amz-security-token"])
  if (credential.session_token or token) and credential.session_token ~= token then
    return refuse("InvalidClientTokenId", "The security token included in the request is invalid.")
  end
  if credential.expires_at and now >= credential.expires_at then
    return refuse("ExpiredToken", "The security token included in the request is expired")
  end
  return true
end

local function check_scope(scope, service, amz_date, is_region)
  local problems = {}
  if not is_region(scope.region) then
    problems[#problems + 1] = ("Credential should be scoped to a valid Region, not '%s'. "):format(scope.region)
  end
  if scope.service ~= service then
    problems[#problems + 1] = ("Credential should be scoped to correct service: '%s'. "):format(service)
  end
  if scope.terminator ~= "aws4_request" then
    problems[#problems + 1] = ("Credential should be scoped with a valid terminator: 'aws4_request', not '%s'. ")
      :format(scope.terminator)
  end
  if scope.date ~= amz_date:sub(1, 8) then
    problems[#problems + 1] = ("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from "
      .. "HTTP: '%s' != '%s', from '%s'."):format(scope.date, amz_date:sub(1, 8), amz_date)
  end
  if #problems > 0 then
    return refuse("SignatureDoesNotMatch", (table.concat(problems):gsub("%s+$", "")))
  end
  return true
end

local function check_clock(amz_date, now, tolerance)
  local signed = time.parse_basic(amz_date)
  if not signed then
    return refuse("IncompleteSignature", "Date must be in ISO-8601 'basic format'. Got '" .. amz_date .. "'.")
  end
  if signed < now - tolerance then
    return refuse("SignatureDoesNotMatch", ("Signature expired: %s is now earlier than %s (%s - %d min.)"):format(amz_date,
      time.basic(now - tolerance), time.basic(now), tolerance / 60))
  elseif signed > now + tolerance then
    return refuse("SignatureDoesNotMatch", ("Signature not yet current: %s is still later than %s (%s + %d min.)"):format(
      amz_date, time.basic(now + tolerance), time.basic(now), tolerance / 60))
  end
  return true
end

-- The host and every x-amz-… header must be signed. The security token may be left out (it is compared by itself).
local function check_signed_names(names, headers)
  local signed = {}
  for _, name in ipairs(names) do
    signed[name] = true
  end
  if not signed.host then
    return refuse("SignatureDoesNotMatch", "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
  end
  for name in pairs(headers) do
    if name:match("^x%-amz%-") and name ~= "x-amz-security-token" and not signed[name] then
      return refuse("SignatureDoesNotMatch", "'" .. name .. "' must be a 'SignedHeader' in the AWS Authorization.")
    end
  end
  return true
end

local function any_region(region)
  return region:match("^%l%l%l?%l?%-[%l%-]+%-%d+$") ~= nil
end

local mismatch = "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
  .. "Access Key and signing method. Consult the service documentation for details."

---@class certrotate.simulator.Verification
---@field service string                  signing name the request must be scoped to
---@field now number                      the service's clock
---@field credential fun(id:string):table?  { secret_access_key=, session_token?=, expires_at?= }
---@field tolerance? number               seconds a request may be old or early (default M.TOLERANCE)
---@field is_region? fun(name:string):boolean

--- Verifies a request.
---@param request certrotate.simulator.SignedRequest
---@param options certrotate.simulator.Verification
---@return {access_key_id:string, region:string}? principal
---@return {code:string, message:string}? err  code as the XML services have it
function M.verify(request, options)
  local headers = request.headers
  local authorization = single(headers.authorization)
  if not authorization then
    return refuse("MissingAuthenticationToken", "Request is missing Authentication Token")
  end
  local parsed, err = parse_authorization(authorization, headers)
  if not parsed then
    return nil, err
  end
  local scope = parsed.scope
  local credential = options.credential(scope.access_key_id)
  if not credential then
    return refuse("InvalidClientTokenId", "The security token included in the request is invalid.")
  end
  local amz_date = single(headers["x-amz-date"]) or single(headers["date"])
  local ok
  ok, err = check_token(credential, headers, options.now)
  if ok then
    ok, err = check_signed_names(parsed.names, headers)
  end
  if ok then
    ok, err = check_scope(scope, options.service, amz_date, options.is_region or any_region)
  end
  if ok then
    ok, err = check_clock(amz_date, options.now, options.tolerance or M.TOLERANCE)
  end
  if not ok then
    return nil, err
  end
  -- A declared payload hash must be the body's own, or anything could be sent under it.
  local claimed = single(headers["x-amz-content-sha256"])
  if claimed and claimed ~= crypto.sha256_hex(request.body) and not (scope.service == "s3" and M.unhashed[claimed]) then
    return refuse("SignatureDoesNotMatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
  end
  local canonical = M.canonical_request(request, parsed.names, scope.service)
  if M.signature(credential.secret_access_key, scope, amz_date, canonical) ~= parsed.signature then
    return refuse("SignatureDoesNotMatch", mismatch)
  end
  return { access_key_id = scope.access_key_id, region = scope.region }
end

return M
