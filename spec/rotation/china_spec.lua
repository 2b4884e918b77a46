-- The partition aws-cn from end to end: IAM store, its own endpoints and signing regions; and what is refused there, or
-- anywhere, with the reason.
local certrotate = require("certrotate")
local fleet_module = require("spec.support.fleet")

describe("the partition aws-cn", function()
  local fleet, aws

  setup(function()
    fleet = fleet_module.start({ distributions = 5, users = 4, vip = 1, store = "iam", propagation = 0.1, seed = 7,
                                 region = "cn-north-1" })
    aws = assert(fleet:connect({ region = "cn-north-1" }))
  end)
  teardown(function()
    aws:close()
    fleet:stop()
  end)

  it("is talked to at its own endpoints", function()
    local bare = assert(certrotate.connect({ region = "cn-north-1", environment = {}, access_key_id = "AKIDEXAMPLE",
                                             secret_access_key = "secret" }))
    assert.equal("https://cloudfront.cn-northwest-1.amazonaws.com.cn", bare:endpoint("cloudfront"))
    assert.equal("https://iam.cn-north-1.amazonaws.com.cn", bare:endpoint("iam"))
    assert.equal("https://sts.cn-north-1.amazonaws.com.cn", bare:endpoint("sts"))
    bare:close()
  end)

  it("refuses ACM certificates beforehand, by reference and by store", function()
    local function codes(options)
      options.with, options.trust, options.dedicated_ip_quota = fleet:new_identity(), fleet.simulator.trust_file, 4
      local list = {}
      for _, one in ipairs(assert(aws:check(options)).findings) do
        list[one.code] = one.level == "refuse" and one.message or nil
      end
      return list
    end
    local refused = codes({ replace = fleet.simulator.old_reference, store = "acm" })
    assert.is_truthy(refused.StoreInChina:find("IAM store", 1, true))
    refused = codes({ replace = "arn:aws-cn:acm:cn-north-1:111122223333:certificate/11111111-2222-3333-4444-555555555555" })
    assert.is_truthy(refused.StoreInChina:find("IAM store", 1, true))
    refused = codes({ replace = "arn:aws:acm:us-east-1:111122223333:certificate/11111111-2222-3333-4444-555555555555" })
    assert.is_truthy(refused.WrongPartition:find("partition aws,", 1, true))
    assert.is_nil(codes({}).StoreInChina)   -- nothing named: the IAM store
  end)

  it("signs for another partition's regions are refused by the services", function()
    local elsewhere = assert(fleet:connect({ region = "us-east-1" }))
    local got, err = elsewhere.cloudfront:list_distributions()
    assert.is_nil(got)
    assert.equal("SignatureDoesNotMatch", err.code)
    assert.is_truthy(err.message:find("Region", 1, true))
    elsewhere:close()
  end)

  it("rotates by the IAM store, by the command line, and retires", function()
    local old, before = fleet.simulator.old_reference, fleet:configurations()
    local users = fleet:on(old)
    local function run(list) return fleet:run(list, { environment = { AWS_REGION = "cn-northwest-1" } }) end
    local rc, out, complaint = run(fleet:identity_flags({ "apply", "--journal", fleet:path("journal"), "--yes", "--poll",
                                                          "50ms" }))
    assert.equal(0, rc, out .. complaint)
    assert.same({}, fleet:on(old))
    assert.same(before, fleet:configurations())
    local to
    for _, one in ipairs(fleet:state().distributions) do
      if one.id == users[1] then to = one.reference end
    end
    assert.same(users, fleet:on(to))
    local inventory = assert(aws:inventory())
    assert.equal("arn:aws-cn:iam::111122223333:server-certificate/cloudfront/certrotate/", (inventory:certificate(to).arn
      :match("^(.*/)[^/]+$")))
    assert.equal("arn:aws-cn:cloudfront::111122223333:distribution/" .. users[1], inventory:holder(users[1]).ARN)
    assert.equal(0, (run(fleet:flags({ "retire", fleet:path("journal"), "--keep", "0s", "--yes" }))))
    for _, entry in ipairs(fleet:record().entries) do
      assert.is_nil(entry.operation:find("Tenant", 1, true))   -- there are none in China
    end
  end)
end)

describe("AWS GovCloud (US)", function()
  it("is refused with the reason, by region and by reference", function()
    local aws, err = certrotate.connect({ region = "us-gov-west-1", environment = {}, access_key_id = "AKIDEXAMPLE",
                                          secret_access_key = "secret" })
    assert.is_nil(aws)
    assert.equal("UnsupportedPartition", err.code)
    assert.is_truthy(tostring(err):find("GovCloud (US) has no CloudFront", 1, true))
    local command = require("spec.support.command")
    local rc, _, complaint = command.run({ "inventory", "--region", "us-gov-east-1" }, {
      environment = { AWS_ACCESS_KEY_ID = "AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY = "secret" } })
    assert.equal(1, rc)
    assert.is_truthy(complaint:find("GovCloud (US) has no CloudFront", 1, true), complaint)
  end)
end)
