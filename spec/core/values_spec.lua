-- What crosses the boundary: parameters as the server sees them, answers as Lua sees them.
local core = require("certrotate.core")
local http_server = require("spec.support.http_server")

describe("values", function()
  local server, client, body
  setup(function()
    server = http_server.start(function() return 200, { ["Content-Type"] = "application/x-amz-json-1.1" }, body end)
    client = assert(core.client { allow_http = true })
    assert(client:account { access_key_id = "A", secret_access_key = "S", max_attempts = 1, endpoints = {
      acm = { url = server.url, region = "us-east-1" }, iam = { url = server.url, region = "us-east-1" },
      cloudfront = { url = server.url, region = "us-east-1" },
    } })
  end)
  teardown(function()
    client:close()
    server:close()
  end)

  local function call(operation, params, answer)
    body = answer or "{}"
    assert(client:submit { service = "acm", operation = operation, params = params })
    local _, result, err = server:take(client)
    return result, err
  end

  --- The JSON body that these parameters become.
  local function sent(params)
    local result, err = call("ListCertificates", params)
    assert.equal("table", type(result), tostring(err))
    return server.requests[#server.requests].body
  end

  local function received(answer)
    local result, err = call("DescribeCertificate", { CertificateArn = "arn:aws:acm:us-east-1:1:certificate/x" }, answer)
    assert.equal("table", type(result), tostring(err))
    return result
  end

  it("send numbers exactly, the same on every Lua", function()
    local json = sent { MaxItems = 3, NextToken = "x", SortBy = "CREATED_AT" }
    assert.truthy(json:find('"MaxItems":3,', 1, true), json)
    for text, number in pairs { ["1000000000000000"] = 1e15, ["9007199254740991"] = 2 ^ 53 - 1, ["-7"] = -7.0,
                                ["0.1"] = 0.1, ["1.5"] = 3 / 2, ["100000000000000000"] = 1e17, ["1e+300"] = 1e300,
                                ["0.30000000000000004"] = 0.1 + 0.2, ["0"] = 0 } do
      json = sent { MaxItems = number }
      assert.truthy(json:find('"MaxItems":' .. text .. "[,}]") or json:find('"MaxItems":' .. text, 1, true), json)
    end
  end)

  it("send lists, maps, booleans and text, keys in order", function()
    local json = sent {
      Includes = { keyTypes = { "RSA_2048", "EC_prime256v1" }, extendedKeyUsage = {}, managedBy = "a\"\\\1\195\164" },
      CertificateStatuses = { "ISSUED" }, SortOrder = true, NextToken = "t",
    }
    assert.truthy(json:find('"keyTypes":["RSA_2048","EC_prime256v1"]', 1, true), json)
    assert.truthy(json:find('"CertificateStatuses":["ISSUED"]', 1, true), json)
    assert.truthy(json:find('"SortOrder":true', 1, true), json)
    assert.truthy(json:find('"managedBy":"a\\"\\\\\\u0001\195\164"', 1, true), json)
    assert.is_true(json:find("CertificateStatuses", 1, true) < json:find("Includes", 1, true))
    assert.is_true(json:find("Includes", 1, true) < json:find("NextToken", 1, true))
    assert.equal(json, sent {
      NextToken = "t", SortOrder = true, CertificateStatuses = { "ISSUED" },
      Includes = { managedBy = "a\"\\\1\195\164", extendedKeyUsage = {}, keyTypes = { "RSA_2048", "EC_prime256v1" } },
    })
  end)

  it("are refused by the name of the field", function()
    local function refused(params, pattern)
      assert.error_matches(function()
        client:submit { service = "acm", operation = "ListCertificates", params = params }
      end, pattern)
    end
    refused({ A = print }, "params.A: string expected, got function")
    refused({ A = { B = { "x", { C = io.stdout } } } }, "params.A.B%[2%].C: string expected, got userdata")
    refused({ A = coroutine.create(function() end) }, "params.A: string expected, got thread")
    refused({ A = "a\0b" }, "params.A: contains a NUL byte")
    refused({ A = { ["a\0"] = 1 } }, "params.A: a key contains a NUL byte")
    refused({ A = { [true] = 1 } }, "params.A: string keys expected, got one that is a boolean")
    refused({ A = { [5] = 1 } }, "params.A: string keys expected, got one that is a number")
    refused({ A = { 1, 2, x = 3 } }, "params.A: a list may have no holes and no named fields")
    refused({ A = { 1, nil, 3 } }, "params.A")
    refused({ A = 1 / 0 }, "params.A: not a finite number")
    refused({ A = -1 / 0 }, "params.A: not a finite number")
    refused({ A = 0 / 0 }, "params.A: not a finite number")
    local loop = {}
    loop.loop = loop
    refused(loop, "nested too deep")
    local deep = {}
    for _ = 1, 100 do deep = { deep } end
    refused({ A = deep }, "nested too deep")
    refused({ A = ("x"):rep(33 * 1024 * 1024) }, "params.A: too large")
  end)

  it("are read raw", function()
    local json = sent(setmetatable({ MaxItems = 5 }, {
      __index = function() error("raw access only") end,
      __pairs = function() error("raw access only") end,
      __len = function() error("raw access only") end,
    }))
    assert.truthy(json:find('"MaxItems":5', 1, true), json)
  end)

  it("arrive as JSON has them", function()
    local result = received([[{"Certificate":{"s":"a\u00e4\ud83d\ude00\u0000b","n":1700000000,"f":1.25,"neg":-3,
      "big":9007199254740992,"e":1e3,"t":true,"o":false,"null":null,"list":[1,[2,{"x":[]}],"3"],"holes":[null,1,null],
      "empty":{},"exp":1.7050464E9}}]])
    local c = result.Certificate
    assert.equal("a\195\164\240\159\152\128\0b", c.s)
    assert.equal(1700000000, c.n)
    assert.equal(1.25, c.f)
    assert.equal(-3, c.neg)
    assert.equal(2 ^ 53, c.big)
    assert.equal(1000, c.e)
    assert.equal(1705046400, c.exp)
    assert.is_true(c.t)
    assert.is_false(c.o)
    assert.is_nil(c.null)
    assert.equal(1, c.list[1])
    assert.equal(2, c.list[2][1])
    assert.same({}, c.list[2][2].x)
    assert.equal("3", c.list[3])
    assert.same({ 1 }, c.holes)
    assert.same({}, c.empty)
    if math.type then -- luacheck: ignore 143
      for _, name in ipairs { "n", "neg", "e", "exp" } do
        assert.equal("integer", math.type(c[name]), name) -- luacheck: ignore 143
      end
      assert.equal("float", math.type(c.f)) -- luacheck: ignore 143
    end
    assert.equal("1700000000", ("%d"):format(c.n))
  end)

  it("arrive as XML has them: texts, the first of a repeated name", function()
    body = [[<GetServerCertificateResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><GetServerCertificateResult>
      <ServerCertificate><ServerCertificateMetadata><Path>/cloudfront/</Path>
      <ServerCertificateName>a&amp;b</ServerCertificateName>
      <Arn>one</Arn><Arn>two</Arn><ServerCertificateId>ASCAEXAMPLE</ServerCertificateId></ServerCertificateMetadata>
      <CertificateBody>PEM</CertificateBody></ServerCertificate></GetServerCertificateResult>
      <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></GetServerCertificateResponse>]]
    assert(client:submit { service = "iam", operation = "GetServerCertificate", params = { ServerCertificateName = "a" } })
    local _, result, err = server:take(client)
    assert.equal("table", type(result), tostring(err))
    local metadata = result.ServerCertificate.ServerCertificateMetadata
    assert.equal("a&b", metadata.ServerCertificateName)
    assert.equal("one", metadata.Arn)
    assert.equal("PEM", result.ServerCertificate.CertificateBody)
  end)

  it("arrive whole when there are many", function()
    local names, list = {}, {}
    for i = 1, 300 do
      names[i] = ('"k%d":%d'):format(i, i)
      list[i] = ('{"CertificateArn":"%d"}'):format(i)
    end
    local result = received('{"Certificate":{' .. table.concat(names, ",") .. '},"List":[' .. table.concat(list, ",") .. "]}")
    for i = 1, 300 do
      assert.equal(i, result.Certificate["k" .. i])
      assert.equal(tostring(i), result.List[i].CertificateArn)
    end
  end)
end)
