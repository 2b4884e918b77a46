-- The simulator's own verification of signatures against AWS's published vectors and botocore's golden requests.
-- FFI: LuaJIT only.
if not rawget(_G, "jit") then return end

local cjson = require("cjson")
local crypto = require("certrotate.simulator.crypto")
local sigv4 = require("certrotate.simulator.sigv4")
local time = require("certrotate.simulator.time")

local secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

local function vectors()
  local file = assert(io.open("spec/support/sigv4_vectors.json", "rb"))
  local text = file:read("*a")
  file:close()
  return cjson.decode(text)
end

local function add(headers, name, value)
  name = name:lower()
  if type(headers[name]) == "table" then
    table.insert(headers[name], value)
  else
    headers[name] = headers[name] and { headers[name], value } or value
  end
end

local function sorted(headers)
  local names = {}
  for name in pairs(headers) do names[#names + 1] = name end
  table.sort(names)
  return names
end

describe("the simulator's signature", function()
  local data = vectors()

  for _, case in ipairs(data.suite) do
    if case.normalize then
      it("of AWS's case " .. case.name, function()
        local headers = { host = "example.amazonaws.com", ["x-amz-date"] = "20150830T123600Z" }
        for _, pair in ipairs(case.headers) do add(headers, pair[1], pair[2]) end
        if case.sign_body then add(headers, "x-amz-content-sha256", crypto.sha256_hex(case.body)) end
        if case.token ~= cjson.null and case.signed_token then add(headers, "x-amz-security-token", case.token) end
        local request = { method = case.method, uri = case.target, headers = headers, body = case.body }
        local scope = { date = "20150830", region = "us-east-1", service = "service", terminator = "aws4_request" }
        local canonical = sigv4.canonical_request(request, sorted(headers), "service")
        assert.equal(case.signature, sigv4.signature(secret, scope, "20150830T123600Z", canonical))
      end)
    end
  end

  -- A golden request as it arrives, with its own signature in the Authorization header.
  local function golden_request(case, options)
    local host, uri = case.url:match("^https://([^/]+)(.*)$")
    local headers = { host = host, ["x-amz-date"] = "20260115T120000Z" }
    for _, pair in ipairs(case.headers) do add(headers, pair[1], pair[2]) end
    headers.authorization = ("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/%s, SignedHeaders=%s, Signature=%s"):format(
      case.scope, case.signed, case.signature)
    local request = { method = case.method, uri = uri, headers = headers, body = case.body }
    local verification = {
      service = case.scope:match("^%d+/[^/]+/([^/]+)"), now = time.parse_basic("20260115T120000Z"),
      credential = function(id)
        return id == "AKIDEXAMPLE" and { secret_access_key = secret, session_token = headers["x-amz-security-token"] } or nil
      end,
    }
    for name, value in pairs(options or {}) do verification[name] = value end
    return request, verification
  end

  for _, case in ipairs(data.golden) do
    if case.signature and case.signature ~= cjson.null then
      it("accepts the golden request " .. case.name .. ", and nothing that differs from it", function()
        local request, verification = golden_request(case)
        local principal, err = sigv4.verify(request, verification)
        assert.is_nil(err)
        assert.equal("AKIDEXAMPLE", principal.access_key_id)
        local function refused(change)
          local other, with = golden_request(case)
          change(other, with)
          local ok, why = sigv4.verify(other, with)
          assert.is_nil(ok)
          assert.equal("SignatureDoesNotMatch", why.code)
        end
        refused(function(other) other.body = other.body .. " " end)
        refused(function(other) other.method = other.method == "GET" and "POST" or "GET" end)
        refused(function(other) other.uri = other.uri .. (other.uri:find("?", 1, true) and "&a=b" or "?a=b") end)
        refused(function(other) other.headers.host = "other.example" end)
        refused(function(_, with)
          local token = request.headers["x-amz-security-token"]
          with.credential = function() return { secret_access_key = "other", session_token = token } end
        end)
      end)
    end
  end

  describe("refuses with AWS's own words", function()
    local case
    for _, item in ipairs(data.golden) do
      if item.name == "CF-3" then case = item end
    end

    local function code_and_message(change, options)
      local request, verification = golden_request(case, options)
      if change then change(request.headers, request) end
      local ok, err = sigv4.verify(request, verification)
      assert.is_nil(ok)
      return err.code, err.message
    end

    it("a clock that is behind", function()
      local code, message = code_and_message(nil, { now = time.parse_basic("20260115T120501Z") })
      assert.equal("SignatureDoesNotMatch", code)
      assert.equal("Signature expired: 20260115T120000Z is now earlier than 20260115T120001Z (20260115T120501Z - 5 min.)",
        message)
    end)

    it("a clock that is ahead", function()
      local code, message = code_and_message(nil, { now = time.parse_basic("20260115T115459Z") })
      assert.equal("SignatureDoesNotMatch", code)
      assert.is_truthy(message:find("^Signature not yet current: 20260115T120000Z is still later than 20260115T115959Z"), message)
    end)

    it("but bears five minutes", function()
      for _, now in ipairs({ "20260115T120500Z", "20260115T115500Z" }) do
        local request, verification = golden_request(case, { now = time.parse_basic(now) })
        assert.is_truthy(sigv4.verify(request, verification))
      end
    end)

    it("no Authorization at all", function()
      assert.equal("MissingAuthenticationToken", (code_and_message(function(headers) headers.authorization = nil end)))
    end)

    it("an unknown key", function()
      assert.equal("InvalidClientTokenId", (code_and_message(function(headers)
        headers.authorization = headers.authorization:gsub("AKIDEXAMPLE", "AKIDOTHER")
      end)))
    end)

    it("a token with a key that has none, and a key without its token", function()
      assert.equal("InvalidClientTokenId", (code_and_message(function(headers) headers["x-amz-security-token"] = "t" end,
        { credential = function() return { secret_access_key = secret } end })))
      assert.equal("InvalidClientTokenId", (code_and_message(nil,
        { credential = function() return { secret_access_key = secret, session_token = "t" } end })))
    end)

    it("credentials that are over", function()
      assert.equal("ExpiredToken", (code_and_message(nil, {
        credential = function() return { secret_access_key = secret, expires_at = 1 } end })))
    end)

    it("a wrong region, service, terminator and date, all at once", function()
      local code, message = code_and_message(function(headers)
        headers.authorization = headers.authorization:gsub("20260115/us%-east%-1/cloudfront/aws4_request",
          "20260114/nowhere/iam/aws3")
      end)
      assert.equal("SignatureDoesNotMatch", code)
      for _, part in ipairs({ "valid Region, not 'nowhere'", "correct service: 'cloudfront'", "'aws4_request', not 'aws3'",
                              "'20260114' != '20260115', from '20260115T120000Z'" }) do
        assert.is_truthy(message:find(part, 1, true), message)
      end
    end)

    for _, malformed in ipairs({ "", "Basic abc", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=a/b/c/d/e",
                                 "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=0",
                                 "AWS4-HMAC-SHA256 nonsense" }) do
      it("a malformed header: " .. malformed, function()
        assert.equal("IncompleteSignature", (code_and_message(function(headers) headers.authorization = malformed end)))
      end)
    end

    it("no date", function()
      local code, message = code_and_message(function(headers) headers["x-amz-date"] = nil end)
      assert.equal("IncompleteSignature", code)
      assert.is_truthy(message:find("'X-Amz-Date' or a 'Date' header", 1, true))
    end)

    it("an x-amz header that is sent without being signed", function()
      assert.equal("SignatureDoesNotMatch", (code_and_message(function(headers) headers["x-amz-target"] = "X.Y" end)))
    end)
  end)
end)
