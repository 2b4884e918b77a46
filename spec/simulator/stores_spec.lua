-- The simulated ACM and IAM: imports judged by real cryptography, re-imports, use, tags, paging, quotas. LuaJIT only.
if not rawget(_G, "jit") then return end

local simulation = require("spec.support.simulation")

local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(text)
  return ((text:gsub(".", function(character)
    local bits, byte = "", character:byte()
    for power = 7, 0, -1 do bits = bits .. (math.floor(byte / 2 ^ power) % 2) end
    return bits
  end) .. "0000"):gsub("%d%d%d?%d?%d?%d?", function(bits)
    if #bits < 6 then return "" end
    local index = tonumber(bits, 2) + 1
    return alphabet:sub(index, index)
  end) .. ({ "", "==", "=" })[#text % 3 + 1])
end

describe("the simulated", function()
  local account

  setup(function()
    local now = os.time()
    simulation.certificates({
      { file = "other", issuer = "intermediate", key = "rsa:2048", names = { "other.example" } },
      { file = "ec", issuer = "intermediate", names = { "shop.example" } },
      { file = "expired", issuer = "intermediate", names = { "shop.example" }, not_before = now - 9e6, not_after = now - 8e6 },
      { file = "future", issuer = "intermediate", names = { "shop.example" }, not_before = now + 8e6, not_after = now + 9e6 },
    })
  end)
  teardown(simulation.close)
  before_each(function() account = simulation.account({ propagation = 100 }) end)

  describe("ACM", function()
    local function acm(operation, input, region)
      return account:json("acm", "CertificateManager." .. operation, input, region)
    end

    local function import(file, more)
      local pem, key, chain = simulation.pem(file)
      local input = { Certificate = base64(pem), PrivateKey = base64(key), CertificateChain = base64(chain) }
      for name, value in pairs(more or {}) do input[name] = value or nil end
      return acm("ImportCertificate", input)
    end

    it("imports, describes, returns and lists what it was given", function()
      local arn = assert(import("new", { Tags = { { Key = "rot", Value = "1" }, { Key = "empty" } } })).CertificateArn
      assert.is_truthy(arn:match("^arn:aws:acm:us%-east%-1:111122223333:certificate/%x+%-%x+%-%x+%-%x+%-%x+$"))
      local described = assert(acm("DescribeCertificate", { CertificateArn = arn })).Certificate
      assert.same({ "ISSUED", "IMPORTED", "RSA-2048", "INELIGIBLE", "shop.example" }, { described.Status, described.Type,
        described.KeyAlgorithm, described.RenewalEligibility, described.DomainName })
      assert.same({}, described.InUseBy)
      assert.same({ "shop.example", "*.shop.example" }, described.SubjectAlternativeNames)
      local pem, _, chain = simulation.pem("new")
      local got = assert(acm("GetCertificate", { CertificateArn = arn }))
      assert.equal(pem, got.Certificate)
      assert.equal(chain, got.CertificateChain)
      assert.same({ { Key = "rot", Value = "1" }, { Key = "empty", Value = "" } },
        assert(acm("ListTagsForCertificate", { CertificateArn = arn })).Tags)
      assert.equal(arn, assert(acm("ListCertificates", {})).CertificateSummaryList[1].CertificateArn)
      account.sim.settings.key_algorithm = "underscore"
      assert.equal("RSA_2048", assert(acm("DescribeCertificate", { CertificateArn = arn })).Certificate.KeyAlgorithm)
    end)

    it("answers an empty list as a list", function()
      local answer = account:send("acm", "POST", "/", { ["x-amz-target"] = "CertificateManager.ListCertificates" }, "{}")
      assert.equal('{"CertificateSummaryList":[]}', answer.body)
    end)

    it("refuses what does not fit together", function()
      local pem, key, chain = simulation.pem("new")
      local _, other_key = simulation.pem("other")
      for name, case in pairs({
        ["key of another"] = { PrivateKey = base64(other_key) },
        ["no key"] = { PrivateKey = base64("nonsense") },
        ["key absent"] = { PrivateKey = false },
        ["not a certificate"] = { Certificate = base64("nonsense") },
        ["two certificates"] = { Certificate = base64(pem .. chain) },
        ["chain of another"] = { CertificateChain = base64((simulation.pem("root"))) },
        ["leaf in the chain"] = { CertificateChain = base64(pem .. chain) },
        ["text in the chain"] = { CertificateChain = base64("hello\n" .. chain) },
        ["key in the certificate"] = { Certificate = base64(key) },
        ["large key"] = { PrivateKey = base64(key .. ("\n"):rep(5120)) },
        ["reserved tag"] = { Tags = { { Key = "aws:x", Value = "" } } },
      }) do
        local ok, code, message, status = import("new", case)
        assert.is_nil(ok, name)
        assert.equal(400, status)
        assert.is_truthy(code == "ValidationException" or code == "InvalidTagException", name .. ": " .. code)
        assert.is_string(message)
      end
      for _, file in ipairs({ "expired", "future" }) do
        assert.equal("ValidationException", select(2, import(file)))
      end
      assert.equal("SerializationException", select(2, import("new", { Certificate = "not base64!" })))
      assert.is_nil(account.sim.record.effects.acm_imports)
    end)

    it("replaces content under the same ARN within the rules only", function()
      local arn = assert(import("old")).CertificateArn
      local id = account:create({ aliases = { "www.shop.example" }, viewer = {
        store = "acm", reference = arn, method = "sni-only", minimum = "TLSv1.2_2021" } })
      assert.equal("ValidationException",
        select(2, import("new", { CertificateArn = arn, Tags = { { Key = "a", Value = "b" } } })))
      assert.equal("ValidationException", select(2, import("ec", { CertificateArn = arn })))
      assert.equal("ValidationException", select(2, import("other", { CertificateArn = arn })))
      assert.equal("ResourceNotFoundException",
        select(2, import("new", { CertificateArn = (arn:gsub("%x%x%x%x$", "0000")) })))
      assert.equal(arn, assert(import("new", { CertificateArn = arn })).CertificateArn)
      assert.is_truthy(account:cloudfront("GET", "/distribution/" .. id):find("<Status>Deployed</Status>", 1, true))
      -- How many different contents sixty-four edges present now.
      local function contents()
        local set, count = {}, 0
        for edge = 1, 64 do
          local distribution = account.sim.store.distributions[id]
          local material = require("certrotate.simulator.deployment").presented(account.sim, distribution, edge)
          count = set[material.leaf.fingerprint] and count or count + 1
          set[material.leaf.fingerprint] = true
        end
        return count
      end
      assert.equal(1, contents())
      account:pass(50)
      assert.equal(2, contents())
      account:pass(50)
      assert.equal(1, contents())
    end)

    it("keeps what is in use, until it is out of use everywhere", function()
      local arn, new = assert(import("old")).CertificateArn, assert(import("new")).CertificateArn
      local id = account:create({ viewer = { store = "acm", reference = arn, method = "sni-only", minimum = "TLSv1.2_2021" } })
      account.sim.settings.in_use_lag = 10
      local function deletion() return select(2, acm("DeleteCertificate", { CertificateArn = arn })) end
      assert.equal("ResourceInUseException", deletion())
      assert(account:update(id, function(text) return (text:gsub(arn:gsub("%p", "%%%0"), new)) end))
      assert.equal("ResourceInUseException", deletion())
      account:pass(105)
      assert.equal("ResourceInUseException", deletion())
      assert.same({ "arn:aws:cloudfront::111122223333:distribution/" .. id },
        assert(acm("DescribeCertificate", { CertificateArn = arn })).Certificate.InUseBy)
      account:pass(5)
      assert.is_nil(deletion())
      assert.equal("ResourceNotFoundException", deletion())
      assert.equal("ResourceNotFoundException", select(2, acm("GetCertificate", { CertificateArn = arn })))
    end)

    it("lists RSA only unless told otherwise, by pages, by region", function()
      local first = assert(import("old")).CertificateArn
      assert(import("ec"))
      local last = assert(import("new")).CertificateArn
      assert.equal(2, #assert(acm("ListCertificates", {})).CertificateSummaryList)
      local all = { Includes = { keyTypes = { "RSA_2048", "EC_prime256v1" } }, MaxItems = 2 }
      local page = assert(acm("ListCertificates", all))
      assert.equal(2, #page.CertificateSummaryList)
      all.NextToken = page.NextToken
      page = assert(acm("ListCertificates", all))
      assert.equal(1, #page.CertificateSummaryList)
      assert.is_nil(page.NextToken)
      local sorted = assert(acm("ListCertificates", { SortBy = "CREATED_AT", SortOrder = "DESCENDING" })).CertificateSummaryList
      assert.same({ last, first }, { sorted[1].CertificateArn, sorted[2].CertificateArn })
      assert.equal("InvalidArgsException", select(2, acm("ListCertificates", { SortBy = "CREATED_AT" })))
      assert.equal("ValidationException", select(2, acm("ListCertificates", { NextToken = "junk" })))
      assert.equal(0, #assert(acm("ListCertificates", {}, "eu-west-1")).CertificateSummaryList)
      assert.equal("ResourceNotFoundException",
        select(2, acm("DescribeCertificate", { CertificateArn = first }, "eu-west-1")))
    end)

    it("counts", function()
      account.sim.settings.acm_imports_per_year = 1
      assert(import("old"))
      assert.equal("LimitExceededException", select(2, import("new")))
      account:pass(365 * 86400 - 3600 * 24 * 30)
      assert.equal("LimitExceededException", select(2, import("new")))
    end)

    it("changes tags", function()
      local arn = assert(import("new", { Tags = { { Key = "a", Value = "1" } } })).CertificateArn
      assert(acm("AddTagsToCertificate",
        { CertificateArn = arn, Tags = { { Key = "a", Value = "2" }, { Key = "b", Value = "3" } } }))
      assert(acm("RemoveTagsFromCertificate", { CertificateArn = arn, Tags = { { Key = "b" }, { Key = "a", Value = "1" } } }))
      assert.same({ { Key = "a", Value = "2" } }, assert(acm("ListTagsForCertificate", { CertificateArn = arn })).Tags)
      local many = {}
      for index = 1, 50 do many[index] = { Key = "k" .. index, Value = "" } end
      assert.equal("TooManyTagsException", select(2, acm("AddTagsToCertificate", { CertificateArn = arn, Tags = many })))
    end)

    it("knows its operations only, and JSON only", function()
      assert.equal("UnknownOperationException", select(2, acm("MakeCoffee", {})))
      assert.equal("SerializationException", select(2, acm("ListCertificates", "{")))
    end)
  end)

  describe("IAM", function()
    local function iam(operation, input)
      local copy = { Action = operation }
      for name, value in pairs(input or {}) do copy[name] = value or nil end
      return account:query("iam", copy)
    end

    local function upload(file, name, more)
      local pem, key, chain = simulation.pem(file)
      local input = { ServerCertificateName = name, Path = "/cloudfront/", CertificateBody = pem, PrivateKey = key,
                      CertificateChain = chain }
      for field, value in pairs(more or {}) do input[field] = value end
      return iam("UploadServerCertificate", input)
    end

    it("uploads, returns, lists, renames and deletes", function()
      local body = assert(upload("new", "shop-1", { ["Tags.member.1.Key"] = "rot", ["Tags.member.1.Value"] = "a b" }))
      local id = body:match("<ServerCertificateId>(ASCA%w+)</ServerCertificateId>")
      assert.is_truthy(id)
      assert.is_truthy(body:find("arn:aws:iam::111122223333:server-certificate/cloudfront/shop-1", 1, true))
      local got = assert(iam("GetServerCertificate", { ServerCertificateName = "shop-1" }))
      local pem, _, chain = simulation.pem("new")
      assert.equal(pem, got:match("<CertificateBody>(.-)</CertificateBody>"))
      assert.equal(chain, got:match("<CertificateChain>(.-)</CertificateChain>"))
      assert.is_nil(got:find("PRIVATE", 1, true))
      local tags = assert(iam("ListServerCertificateTags", { ServerCertificateName = "shop-1" }))
      assert.is_truthy(tags:find("<Value>a b</Value>", 1, true))
      assert(iam("UpdateServerCertificate",
        { ServerCertificateName = "shop-1", NewServerCertificateName = "shop-2", NewPath = "/x/" }))
      assert.is_nil((iam("ListServerCertificates", { PathPrefix = "/cloudfront/" })):find("shop", 1, true))
      assert.is_truthy((iam("ListServerCertificates")):find(id, 1, true))
      assert(iam("DeleteServerCertificate", { ServerCertificateName = "shop-2" }))
      local ok, code, _, status = iam("GetServerCertificate", { ServerCertificateName = "shop-2" })
      assert.is_nil(ok)
      assert.same({ "NoSuchEntity", 404 }, { code, status })
    end)

    it("refuses what does not fit together", function()
      local pem, key, chain = simulation.pem("new")
      local _, other_key = simulation.pem("other")
      assert(upload("new", "taken"))
      local function code(name, more)
        return select(2, upload("new", name, more))
      end
      assert.equal("EntityAlreadyExists", code("TAKEN"))
      assert.equal("KeyPairMismatch", code("a", { PrivateKey = other_key }))
      assert.equal("MalformedCertificate", code("a", { PrivateKey = "nonsense" }))
      assert.equal("MalformedCertificate", code("a", { CertificateBody = pem .. chain }))
      assert.equal("MalformedCertificate", code("a", { CertificateBody = "x" .. pem }))
      assert.equal("MalformedCertificate", code("a", { CertificateBody = key }))
      assert.equal("ValidationError", code("a b"))
      assert.equal("ValidationError", code("a", { Path = "cloudfront" }))
      assert.equal("ValidationError", code("a", { PrivateKey = ("x"):rep(16385) }))
      assert.equal("MalformedCertificate", select(2, upload("expired", "a")))
      local _, malformed, message = upload("new", "a", { CertificateChain = chain .. (simulation.pem("ec")) })
      assert.equal("MalformedCertificate", malformed)
      assert.is_truthy(message:find("The index within the chain of the invalid certificate is: 1", 1, true), message)
    end)

    it("keeps what CloudFront uses", function()
      local id = assert(upload("old", "old")):match("<ServerCertificateId>(.-)<")
      account:create({ viewer = { store = "iam", reference = id, method = "vip", minimum = "TLSv1" } })
      local _, code, message, status = iam("DeleteServerCertificate", { ServerCertificateName = "old" })
      assert.same({ "DeleteConflict", "Certificate: " .. id .. " is being used by CloudFront.", 409 }, { code, message, status })
    end)

    it("has twenty places, and says so", function()
      account.sim.settings.iam_quota = 1
      assert(upload("old", "one"))
      local _, code, message = upload("new", "two")
      assert.same({ "LimitExceeded", "Cannot exceed quota for ServerCertificatesPerAccount: 1" }, { code, message })
      local summary = assert(iam("GetAccountSummary"))
      assert.is_truthy(summary:find("<key>ServerCertificates</key><value>1</value>", 1, true))
      assert.is_truthy(summary:find("<key>ServerCertificatesQuota</key><value>1</value>", 1, true))
    end)

    it("lists by pages", function()
      for index = 1, 3 do assert(upload("new", "c" .. index)) end
      local page = assert(iam("ListServerCertificates", { MaxItems = 2 }))
      assert.is_truthy(page:find("<IsTruncated>true</IsTruncated>", 1, true))
      page = assert(iam("ListServerCertificates", { MaxItems = 2, Marker = page:match("<Marker>(.-)</Marker>") }))
      assert.is_truthy(page:find("<IsTruncated>false</IsTruncated>", 1, true))
      assert.is_truthy(page:find(">c3<", 1, true))
      assert.is_nil(page:find(">c2<", 1, true)) -- a request id may have "c2" in it
    end)

    it("knows its operations only", function()
      assert.equal("InvalidAction", select(2, iam("MakeCoffee")))
    end)
  end)

  it("STS hands out credentials that work, and end", function()
    local body = assert(account:query("sts", { Action = "AssumeRole", RoleArn = "arn:aws:iam::111122223333:role/R",
                                               RoleSessionName = "spec", DurationSeconds = 900 }))
    local id = body:match("<AccessKeyId>(.-)<")
    local credential = account.sim.credentials[id]
    assert.equal(body:match("<SecretAccessKey>(.-)<"), credential.secret_access_key)
    assert.equal(account.sim.clock:wall() + 900, credential.expires_at)
    local caller = assert(account:query("sts", { Action = "GetCallerIdentity" }))
    assert.is_truthy(caller:find("<Account>111122223333</Account>", 1, true))
    assert.equal("AccessDenied", select(2, account:query("sts", { Action = "AssumeRole", RoleSessionName = "spec",
                                                                  RoleArn = "arn:aws:iam::999999999999:role/R" })))
  end)

  it("Service Quotas tells the quotas that are enforced", function()
    account.sim.settings.vip_quota = 5
    local input = { ServiceCode = "cloudfront", QuotaCode = "L-DA9DCC93" }
    assert.equal(5, assert(account:json("servicequotas", "ServiceQuotasV20190624.GetServiceQuota", input)).Quota.Value)
    assert.equal(2, assert(account:json("servicequotas", "ServiceQuotasV20190624.GetAWSDefaultServiceQuota", input)).Quota.Value)
    input.QuotaCode = "L-00000000"
    assert.equal("NoSuchResourceException",
      select(2, account:json("servicequotas", "ServiceQuotasV20190624.GetServiceQuota", input)))
  end)

  it("faults happen as often as they are told, to those they are meant for", function()
    local faults = account.sim.faults
    assert(faults:add({ kind = "throttle", operation = "ListDistributions", count = 2, skip = 1 }))
    local codes = {}
    for index = 1, 5 do codes[index] = select(2, account:cloudfront("GET", "/distribution")) or "none" end
    assert.is_nil(codes[1]:match("Throttling"))
    assert.same({ "Throttling", "Throttling" }, { codes[2], codes[3] })
    assert.is_nil(codes[4]:match("Throttling"))
    assert.is_truthy(account:query("iam", { Action = "GetAccountSummary" }))
    assert(faults:add({ kind = "error", service = "iam", status = 503, code = "ServiceUnavailable", count = 1 }))
    local _, code, _, status = account:query("iam", { Action = "GetAccountSummary" })
    assert.same({ "ServiceUnavailable", 503 }, { code, status })
    assert.is_truthy(account:query("iam", { Action = "GetAccountSummary" }))
    for _, wrong in ipairs({ {}, { kind = "mischief" }, { kind = "error", status = "500" }, { kind = "error", oops = 1 },
                             { kind = "error", when = "sometime" }, { kind = "interfere", action = "gossip" } }) do
      assert.is_nil((faults:add(wrong)))
    end
  end)

  it("rates are limited when told so", function()
    account.sim.settings.rate_reads = 2
    local function code() return select(2, account:cloudfront("GET", "/distribution")) end
    assert.are_not.equal("Throttling", code())
    assert.are_not.equal("Throttling", code())
    assert.equal("Throttling", code())
    account:pass(1)
    assert.are_not.equal("Throttling", code())
  end)

  it("an effect before a fault stays, and is recorded", function()
    assert(account.sim.faults:add({ kind = "error", when = "after", operation = "UploadServerCertificate", count = 1 }))
    local pem, key, chain = simulation.pem("new")
    local input = { Action = "UploadServerCertificate", ServerCertificateName = "lost", CertificateBody = pem, PrivateKey = key,
                    CertificateChain = chain }
    assert.equal("InternalError", select(2, account:query("iam", input)))
    assert.equal("EntityAlreadyExists", select(2, account:query("iam", input)))
    local report = account.sim.record:report()
    assert.same({ calls = 2, errors = 2 }, report.operations["iam:UploadServerCertificate"])
    assert.equal(1, report.effects.iam_imports)
    assert.equal("lost", report.entries[1].resource)
    assert.is_nil(require("cjson").encode(report.entries):find("PRIVATE", 1, true))
  end)
end)
