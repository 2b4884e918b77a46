-- core.sign against botocore (Debian's python3-botocore, clock fixed): generated requests, odd ones included,
-- compared one by one in every stage. The seed is printed; CERTROTATE_SEED repeats a run.
--
-- botocore is the oracle only where it does what AWS documents. Where it does not, it is given the same request in the
-- form in which it signs it rightly:
--   * It signs the query of a URL as it is spelled. Queries spelled otherwise than AWS's canonical form (lower-case hex,
--     needless or missing escapes) are handed to it decoded, as `params`, which it encodes and sorts itself.
--   * Its list of headers never signed is shorter in this version: `connection` and its like are ours alone.
--   * Its blanks are Python's (U+00A0 is one): values here hold blanks, tabs and folded lines only.
--   * Its S3 signer leaves an empty path empty: S3 URLs here have one.
--   * A Date header makes it drop X-Amz-Date: none is given.
--   * It upper-cases methods; they are upper-case on the wire too.
local cjson = require "cjson"
local core = require "certrotate.core"
local files = require "spec.support.files"
local support = require "spec.support"

local EACH = 80 -- requests of every kind below
local seed = support.seed()

-- Minimal standard generator: the same requests from every Lua.
local state = seed % 2147483646 + 1
local function random(n)
  state = state * 16807 % 2147483647
  return math.floor(state / 2147483647 * n) + 1
end
local function chance(percent)
  return random(100) <= percent
end
local function pick(list)
  return list[random(#list)]
end
local function many(low, high, make)
  local list = {}
  for i = 1, low + random(high - low + 1) - 1 do
    list[i] = make()
  end
  return list
end

local WORDS = {
  "a", "Z", "0", "EDFDVBD6EXAMPLE", "MaxItems", "100", "list-type", "x~y_z.-", "\225\136\180", "\195\182\195\164",
  "\240\159\148\145", "a b", "a+b", "50%", "%41", "a=b", "a/b", "arn:aws:acm:us-east-1:1:certificate/x", "*.example.com",
  "(x)!'$,;@", "\"q\"", "<&>", "", "Param", "Param-3", "?", "#", "\\", "[]{}|^`",
}
local function words(low, high)
  return table.concat(many(low, high, function() return pick(WORDS) end))
end

local function encode(text, keep)
  return (text:gsub("[^%w%-%._~" .. (keep or "") .. "]", function(c)
    return ("%%%02X"):format(c:byte())
  end))
end

-- A part of a query as some client may spell it: it decodes to `text`.
local function misspell(text)
  return (text:gsub(".", function(c)
    if c:match("[%w%-%._~]") then
      return chance(90) and c or ("%%%02x"):format(c:byte())
    elseif c:match("[/:@!$'()*,;?]") or c:byte() >= 128 then
      return chance(50) and c or ("%%%02x"):format(c:byte())
    end
    return (chance(50) and "%%%02x" or "%%%02X"):format(c:byte())
  end))
end

local function pairs_of_query()
  local names = many(1, 4, function() return words(0, 2) end)
  return many(1, chance(10) and 60 or 8, function()
    return { pick(names), words(0, 2) }
  end)
end

-- In AWS's spelling, in any order, with empty pairs and names without "=".
local function plain_query()
  local parts = {}
  for i, pair in ipairs(pairs_of_query()) do
    parts[i] = encode(pair[1]) .. ((pair[2] ~= "" or chance(50)) and "=" .. encode(pair[2]) or "")
  end
  if chance(15) then
    table.insert(parts, random(#parts + 1), "")
  end
  return table.concat(parts, "&")
end

local function misspelled_query()
  local params = pairs_of_query()
  local parts = {}
  for i, pair in ipairs(params) do
    local value = misspell(pair[2]):gsub("%%3[dD]", "=")
    parts[i] = misspell(pair[1]) .. ((value ~= "" or chance(50)) and "=" .. value or "")
  end
  local query = table.concat(parts, "&")
  return query == "" and "=" or query, params -- one empty pair; nothing behind "?" would be none
end

local SEGMENTS = {
  "", ".", "..", "...", "..a", "a..", "2020-05-31", "distribution", "%2F", "%2e%2E", "a b", "arn:aws:acm", "x~y_z.-", "+", "%",
  "%zz", "\225\136\180", "(x)!'$,;@&=", "%E1%88%B4", "100%25", "*", "[]", "\"",
}
local function odd_path()
  return "/" .. table.concat(many(0, 8, function() return pick(SEGMENTS) end), "/")
end
local function s3_path()
  local segments = many(1, 6, function()
    return chance(40) and pick { "", ".", "..", "a//b" } or encode(words(1, 2), "/")
  end)
  return "/" .. table.concat(segments, "/")
end

local HOSTS = {
  "cloudfront.amazonaws.com", "acm.us-east-1.amazonaws.com", "Bucket.S3.EU-west-1.amazonaws.com", "localhost", "127.0.0.1",
  "[::1]", "[2001:db8::7]",
}
local function origin()
  local scheme = pick { "https", "http" }
  local port = chance(40) and ":" .. pick { "80", "443", "8443", "1", "65535" } or ""
  return scheme .. "://" .. pick(HOSTS) .. port
end

local NAMES = { "Content-Type", "If-Match", "X-Amz-Target", "x-amz-meta-A", "Accept", "My-Header1", "my-header1", "MY-HEADER1",
  "X-B3", "Content-Length", "Range", "a", "Z", "x_y", "Amz-Sdk-Request" }
local VALUES = { "", " ", "value", "  two  words ", "\"a   b   c\"", "a\tb", "\t a \t  b\t", "one\n  two\n\tthree", "one\r\n two",
  "a,b", "a , b", "text/xml; charset=utf-8", "\225\136\180 \195\182", "E2QWRUHAPOMQZL", "*", ";:=%" }
local UNSIGNED_BY_BOTH = { "User-Agent", "expect", "X-Amzn-Trace-Id" }
local UNSIGNED_BY_US = { "Connection", "keep-alive", "Proxy-Authenticate", "proxy-authorization", "TE", "Trailer",
  "Transfer-Encoding", "upgrade" }

local function bytes(length)
  return table.concat(many(length, length, function() return string.char(random(256) - 1) end))
end

-- What every request has; the kinds below say what is odd about theirs.
local function plain()
  return {
    method = pick { "GET", "POST", "PUT", "DELETE", "HEAD" }, origin = "https://cloudfront.amazonaws.com", path = "/",
    headers = {}, body = "", service = pick { "cloudfront", "acm", "iam", "sts" },
    region = pick { "us-east-1", "eu-west-1", "cn-northwest-1" }, access_key_id = "AKID" .. random(999999),
    secret_access_key = words(1, 1) .. "wJalrXUtnFEMI/K7MDENG+" .. random(9),
    time = 946684800 + random(3155760000), -- 2000 to 2099
  }
end

local function add_headers(request)
  request.headers = many(1, 8, function() return { pick(NAMES), pick(VALUES) } end)
  if chance(10) then
    request.headers = many(30, 60, function() return { pick(NAMES), pick(VALUES) } end)
  end
  for _, list in ipairs { UNSIGNED_BY_BOTH, UNSIGNED_BY_US } do
    if chance(40) then
      table.insert(request.headers, random(#request.headers + 1), { pick(list), "x" })
    end
  end
end

local kinds = {
  {
    name = "repeated headers and blanks inside values",
    make = add_headers,
  },
  {
    name = "'.', '..' and '//' in paths, escapes and UTF-8",
    make = function(request) request.path = odd_path() end,
  },
  {
    name = "empty and repeated query keys",
    make = function(request) request.query = plain_query() end,
  },
  {
    name = "queries spelled unlike AWS does",
    make = function(request) request.query, request.params = misspelled_query() end,
  },
  {
    name = "ports, capital letters and IPv6 in the host, and a Host header",
    make = function(request)
      request.origin = origin()
      if chance(25) then
        request.headers = { { pick { "Host", "host", "HOST" }, "edge.example.com:" .. random(9999) } }
      end
      if chance(20) then
        request.path = ""
      end
    end,
  },
  {
    name = "session tokens",
    make = function(request)
      request.session_token = pick { "AQoDYXdzEXAMPLETOKEN//+==", ("t/+="):rep(300), "x" }
      request.headers = many(0, 3, function() return { pick(NAMES), pick(VALUES) } end)
    end,
  },
  {
    name = "empty and binary bodies",
    make = function(request)
      request.body = bytes(pick { 0, 1, 55, 56, 63, 64, 65, 1000, 4096 })
      request.sign_body = chance(50)
    end,
  },
  {
    name = "S3: no normalisation, no second encoding, x-amz-content-sha256",
    make = function(request)
      request.service, request.s3, request.sign_body = "s3", true, true
      request.origin, request.path = "https://rot-journal.s3.us-east-1.amazonaws.com", s3_path()
      request.body = chance(70) and bytes(random(300)) or ""
      if chance(50) then
        request.query = plain_query()
      end
      request.headers = many(0, 4, function() return { pick(NAMES), pick(VALUES) } end)
    end,
  },
  {
    name = "unsigned payloads",
    make = function(request)
      request.unsigned, request.sign_body, request.body = true, true, bytes(random(100))
      if chance(50) then
        request.service, request.s3, request.path = "s3", true, s3_path()
        request.headers = { { "Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg==" } } -- without it botocore's S3 signer insists
      end
    end,
  },
  {
    name = "everything at once",
    make = function(request)
      add_headers(request)
      request.origin, request.path, request.body = origin(), odd_path(), bytes(random(200))
      if chance(50) then
        request.query, request.params = misspelled_query()
      else
        request.query = plain_query()
      end
      request.session_token = chance(50) and "token/+==" or nil
      request.sign_body = chance(50)
    end,
  },
}

local function url_of(request, with_query)
  return request.origin .. request.path .. (with_query and request.query and "?" .. request.query or "")
end

local function hex(text)
  return (text:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

local function for_botocore(request)
  local case = { params = request.params, body = hex(request.body), headers = {}, url = url_of(request, not request.params) }
  for _, name in ipairs { "method", "service", "region", "access_key_id", "secret_access_key", "session_token", "time", "s3",
    "unsigned" } do
    case[name] = request[name]
  end
  local ours = {}
  for _, name in ipairs(UNSIGNED_BY_US) do
    ours[name:lower()] = true
  end
  for _, header in ipairs(request.headers) do
    if not ours[header[1]:lower()] then
      table.insert(case.headers, header)
    end
  end
  if request.sign_body and not request.s3 and not request.unsigned then
    table.insert(case.headers, { "X-Amz-Content-SHA256", core.sha256(request.body) })
  end
  return case
end

local function for_us(request)
  local copy = { url = url_of(request, true), payload_hash = request.unsigned and "UNSIGNED-PAYLOAD" or nil }
  for _, name in ipairs { "method", "headers", "body", "service", "region", "access_key_id", "secret_access_key", "session_token",
    "time", "sign_body" } do
    copy[name] = request[name]
  end
  return copy
end

local function run(command)
  local code, said = files.run(command)
  assert(code == 0, command .. ": " .. said)
  return said
end

describe("core.sign beside botocore", function()
  local requests, answers = {}, nil

  lazy_setup(function()
    print(("botocore_spec: seed %d, %d requests"):format(seed, EACH * #kinds))
    local cases = {}
    for kind, description in ipairs(kinds) do
      requests[kind] = {}
      for i = 1, EACH do
        local request = plain()
        description.make(request)
        requests[kind][i] = request
        cases[#cases + 1] = for_botocore(request)
      end
    end
    local folder = files.directory()
    local ok, err = pcall(function()
      files.write(folder .. "/requests.json", cjson.encode(cases))
      run(("/usr/bin/python3 spec/support/botocore_sign.py '%s/requests.json' '%s/answers.json'"):format(folder, folder))
      answers = cjson.decode(files.read(folder .. "/answers.json")).answers
    end)
    files.remove(folder)
    assert(ok, err)
    assert(#answers == #cases)
  end)

  for kind, description in ipairs(kinds) do
    it("signs the same: " .. description.name, function()
      for i, request in ipairs(requests[kind]) do
        local answer = answers[(kind - 1) * EACH + i]
        local what = ("seed %d, request %d: %s %s"):format(seed, i, request.method, url_of(request, true))
        local headers, stages = core.sign(for_us(request))
        assert(headers, what .. ": " .. tostring(stages))
        assert.equal(answer.canonical_request, stages.canonical_request, what)
        assert.equal(answer.string_to_sign, stages.string_to_sign, what)
        assert.equal(answer.signature, stages.signature, what)
        assert.equal(answer.authorization, headers.Authorization, what)
      end
    end)
  end
end)
