-- core.sign against AWS's own test suite and against requests that were signed by two other signers.
-- spec/support/sigv4_vectors.json holds both: `suite` (its common context is below) and `golden`.
local cjson = require "cjson"
local core = require "certrotate.core"

local ACCESS_KEY_ID, SECRET_ACCESS_KEY = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
local SUITE_TIME, GOLDEN_TIME = 1440938160, 1768478400 -- 2015-08-30T12:36:00Z, 2026-01-15T12:00:00Z

local function vectors()
  local file = assert(io.open("spec/support/sigv4_vectors.json", "rb"))
  local text = file:read("*a")
  file:close()
  return cjson.decode(text)
end

local function absent(value)
  if value == nil or value == cjson.null then
    return nil
  end
  return value
end

-- What has to hold between the stages whatever was signed: each is made from the one before it.
local function check_stages(request, headers, stages)
  local date = headers["X-Amz-Date"]
  assert.matches("^%d%d%d%d%d%d%d%dT%d%d%d%d%d%dZ$", date)
  local scope = table.concat({ date:sub(1, 8), request.region, request.service, "aws4_request" }, "/")
  assert.equal(table.concat({ "AWS4-HMAC-SHA256", date, scope, core.sha256(stages.canonical_request) }, "\n"),
    stages.string_to_sign)
  local list = stages.canonical_request:match("\n\n([^\n]*)\n[^\n]*$")
  assert.equal("AWS4-HMAC-SHA256 Credential=" .. request.access_key_id .. "/" .. scope .. ", SignedHeaders=" .. list ..
    ", Signature=" .. stages.signature, headers.Authorization)
  return list
end

local function basic()
  return {
    method = "GET", url = "https://example.amazonaws.com/", service = "service", region = "us-east-1",
    access_key_id = ACCESS_KEY_ID, secret_access_key = SECRET_ACCESS_KEY, time = SUITE_TIME,
  }
end

describe("core.sign", function()
  local known = vectors()

  it("knows the 38 cases of the suite and the 28 golden requests", function()
    assert.equal(38, #known.suite)
    assert.equal(28, #known.golden)
  end)

  for _, case in ipairs(known.suite) do
    it("signs " .. case.name .. " as AWS's suite does", function()
      local request = basic()
      request.method = case.method
      request.url = "https://example.amazonaws.com" .. case.target
      request.headers = case.headers
      request.body = case.body
      request.session_token = absent(case.token)
      request.omit_session_token = not case.signed_token
      request.normalize_path = case.normalize
      request.sign_body = case.sign_body
      local headers, stages = core.sign(request)
      assert(headers, tostring(stages))
      assert.equal(case.signature, stages.signature)
      assert.equal("20150830T123600Z", headers["X-Amz-Date"])
      assert.equal(absent(case.token), headers["X-Amz-Security-Token"])
      assert.equal(case.sign_body and core.sha256(case.body) or nil, headers["X-Amz-Content-Sha256"])
      check_stages(request, headers, stages)
    end)
  end

  for _, case in ipairs(known.golden) do
    it("signs the golden request " .. case.name, function()
      local region, service = case.scope:match("^20260115/([^/]+)/([^/]+)/aws4_request$")
      local request = {
        method = case.method, url = case.url, headers = {}, body = case.body, service = service, region = region,
        access_key_id = ACCESS_KEY_ID, secret_access_key = SECRET_ACCESS_KEY, time = GOLDEN_TIME,
      }
      for _, header in ipairs(case.headers) do
        if header[1]:lower() == "x-amz-security-token" then
          request.session_token = header[2]
        else
          request.headers[#request.headers + 1] = header
        end
      end
      local headers, stages = core.sign(request)
      assert(headers, tostring(stages))
      assert.equal(case.hash, core.sha256(stages.canonical_request))
      assert.equal(case.signed, check_stages(request, headers, stages))
      assert.equal(case.signature, stages.signature)
      assert.equal(nil, headers["X-Amz-Content-Sha256"]) -- S3's came with the request
    end)
  end

  it("adds the payload's hash to an S3 request itself and then signs the same", function()
    for _, case in ipairs(known.golden) do
      if case.name:match("^S3") then
        local request = basic()
        request.method, request.url, request.body, request.service = case.method, case.url, case.body, "s3"
        request.time, request.sign_body, request.headers = GOLDEN_TIME, true, {}
        for _, header in ipairs(case.headers) do
          if header[1] ~= "X-Amz-Content-SHA256" then
            request.headers[header[1]] = header[2]
          end
        end
        local headers, stages = core.sign(request)
        assert.equal(core.sha256(case.body), headers["X-Amz-Content-Sha256"])
        assert.equal(case.signature, stages.signature)
      end
    end
  end)

  it("signs a header map like the list of the same headers", function()
    local list, map = basic(), basic()
    list.headers = { { "X-B", "2" }, { "x-a", "1" }, { "Content-Type", "text/xml" } }
    map.headers = { ["X-B"] = "2", ["x-a"] = "1", ["Content-Type"] = "text/xml" }
    local _, from_list = core.sign(list)
    local _, from_map = core.sign(map)
    assert.equal(from_list.canonical_request, from_map.canonical_request)
    assert.equal(from_list.signature, from_map.signature)
  end)

  it("keeps the keys of different secrets, days, regions and services apart", function()
    local seen, fields = {}, {
      secret_access_key = { "a", "b", ("c"):rep(61) }, time = { 0, 86400, 86400 * 365 },
      region = { "us-east-1", "eu-west-1" }, service = { "acm", "iam", "sts" },
    }
    for _ = 1, 2 do -- the second time from the cache, as far as it reaches
      for _, secret in ipairs(fields.secret_access_key) do
        for _, time in ipairs(fields.time) do
          for _, region in ipairs(fields.region) do
            for _, service in ipairs(fields.service) do
              local request = basic()
              request.secret_access_key, request.time, request.region, request.service = secret, time, region, service
              local _, stages = core.sign(request)
              local name = table.concat({ secret, time, region, service }, " ")
              assert.equal(seen[name] or stages.signature, stages.signature)
              seen[name] = stages.signature
            end
          end
        end
      end
    end
    local signatures, count = {}, 0
    for _, signature in pairs(seen) do
      count = count + (signatures[signature] and 0 or 1)
      signatures[signature] = true
    end
    assert.equal(54, count)
  end)

  it("answers with an error value what it must not sign", function()
    local cases = {
      { field = "url", value = "ftp://example.amazonaws.com/", code = "InvalidUrl" },
      { field = "url", value = "https://user:hunter2@example.amazonaws.com/", code = "InvalidUrl" },
      { field = "method", value = "GET /", code = "InvalidMethod" },
      { field = "region", value = "us-east-1/x", code = "InvalidRegion" },
      { field = "service", value = "", code = "InvalidService" },
      { field = "access_key_id", value = "", code = "InvalidCredentials" },
      { field = "session_token", value = "a\r\nb", code = "InvalidCredentials" },
      { field = "time", value = -1, code = "InvalidTime" },
      { field = "payload_hash", value = "abc def", code = "InvalidPayloadHash" },
      { field = "headers", value = { { "Authorization", "x" } }, code = "ReservedHeader" },
      { field = "headers", value = { { "x-amz-date", "x" } }, code = "ReservedHeader" },
      { field = "headers", value = { { "A", "b\r\nC: d" } }, code = "InvalidHeader" },
      { field = "headers", value = { { "A", "b\0c" } }, code = "InvalidHeader" },
      { field = "headers", value = { { "X-Amz-Content-Sha256", ("0"):rep(64) } }, body = "x", code = "ReservedHeader" },
    }
    for _, case in ipairs(cases) do
      local request = basic()
      request[case.field] = case.value
      request.body = case.body
      local headers, err = core.sign(request)
      assert.equal(nil, headers)
      assert.equal(case.code, err.code)
      assert.is_nil(err.message:find("hunter2", 1, true))
      assert.is_nil(tostring(err):find("\n", 1, true))
    end
  end)
end)
