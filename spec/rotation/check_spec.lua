-- The rules on facts made by hand, and how the facts are found out.
local check = require("certrotate.rotation.check")
local fleet_module = require("spec.support.fleet")
local made = require("spec.rotation.support")
local quota = require("certrotate.rotation.quota")

local function facts(overrides)
  local holders = overrides.holders or { made.holder("E1"), made.holder("E2") }
  local base = {
    replace = made.OLD, old = { reference = made.OLD, store = "acm", type = "IMPORTED" }, store = "acm",
    names = { "*.example.com" }, identity_findings = {}, holders = holders, left_out = {},
    inventory = made.inventory(overrides.all or holders), units = {}, dedicated_ip_quota = quota.given(2),
  }
  for key, value in pairs(overrides) do
    if key ~= "all" then base[key] = value end
  end
  return base
end

local function codes(overrides)
  local list = {}
  for _, finding in ipairs(check.evaluate(facts(overrides))) do list[#list + 1] = finding.level .. " " .. finding.code end
  table.sort(list)
  return list
end

describe("check", function()
  it("finds nothing where nothing is wrong", function()
    assert.same({}, codes({}))
    assert.same({}, codes({ holders = {} }))
    assert.same({}, codes({ holders = { made.holder("E1", { ssl = "vip" }) } }))
  end)

  it("refuses what AWS would", function()
    assert.same({ "refuse UnknownReference" }, codes({ old = false }))
    assert.same({ "refuse NotImported" }, codes({ old = { type = "AMAZON_ISSUED" } }))
    assert.same({ "refuse WrongRegion" }, codes({ replace = (made.OLD:gsub("us%-east%-1", "eu-west-1")) }))
    assert.same({ "refuse AliasNotCovered" }, codes({ names = { "other.example" } , holders = { made.holder("E1") } }))
    assert.same({ "refuse IamOnMultiTenant" },
      codes({ store = "iam", holders = { made.holder("E1", { ConnectionMode = "tenant-only" }) } }))
    assert.same({ "refuse StoreInChina", "refuse WrongPartition" }, codes({ partition = "aws-cn" }))
    assert.same({ "refuse HttpVersionsDiffer" },
      codes({ holders = { made.holder("E1"), made.holder("E2", { HttpVersion = "http1.1" }) } }))
    assert.same({ "refuse UnknownHolder" }, codes({ unknown_only = { "E9" } }))
    assert.same({ "refuse IamQuota" }, codes({ store = "iam",
      iam_summary = { ServerCertificates = 20, ServerCertificatesQuota = 20 } }))
  end)

  it("compares HTTP versions with those who have the new certificate already", function()
    local mine = { made.holder("E1") }
    local all = { mine[1], made.holder("E5", { reference = made.NEW, HttpVersion = "http3" }) }
    assert.same({}, codes({ holders = mine, all = all }))
    assert.same({ "refuse HttpVersionsDiffer" }, codes({ holders = mine, all = all, to = made.NEW }))
  end)

  it("counts certificates on dedicated IP addresses, the new one only once", function()
    local mine = { made.holder("E1", { ssl = "vip" }) }
    local more = { mine[1], made.holder("E2", { ssl = "vip", reference = made.NEW }) }
    assert.same({ "refuse DedicatedIpQuota" }, codes({ holders = mine, all = more }))
    assert.same({}, codes({ holders = mine, all = more, to = made.NEW }))
  end)

  it("warns of users it will not change, and of an overlap that goes on", function()
    local balancer = "arn:aws:elasticloadbalancing:us-east-1:111122223333:loadbalancer/app/x/1"
    local old = { type = "IMPORTED", in_use_by = { "arn:aws:cloudfront::111122223333:distribution/E1", balancer } }
    assert.same({ "warn UsedElsewhere" }, codes({ old = old }))
    local all = { made.holder("E1"), made.holder("E2", { ssl = "vip" }) }
    assert.same({ "warn OverlapGoesOn" }, codes({ holders = { all[1] }, all = all, left_out = { { Id = "E2" } } }))
  end)

  describe("against an account", function()
    local fleet, aws
    setup(function()
      fleet = fleet_module.start({ distributions = 10, users = 4, vip = 1, store = "iam", propagation = 0.1, seed = 9,
                                   settings = { vip_quota = 2 } })
      aws = assert(fleet:connect())
    end)
    teardown(function()
      aws:close()
      fleet:stop()
    end)

    local function plan(options)
      local all = { replace = fleet.simulator.old_reference, with = fleet:new_identity(), policy = "cheapest",
                    trust = fleet.simulator.trust_file, dedicated_ip_quota = 9, verify = false }
      for key, value in pairs(options or {}) do all[key] = value end
      return aws:plan(all)
    end

    it("takes IAM's ARN for the id distributions name", function()
      local arn
      for _, certificate in ipairs(assert(aws:inventory()).certificates) do
        if certificate.reference == fleet.simulator.old_reference then arn = certificate.arn end
      end
      local one = assert(plan({ replace = arn }))
      assert.equal(fleet.simulator.old_reference, one.from)
      assert.equal(4, #one:holders())
    end)

    it("knows who has been changed by an earlier rotation, whose journal is lost", function()
      local users = fleet:on(fleet.simulator.old_reference)
      local first = assert(plan({ only = { users[1], users[2] } }))
      local report = assert(first:run({ journal = fleet:path("one"), state_directory = fleet:path("state"), poll = 0.05 }))
      local result = assert(aws:check({ replace = fleet.simulator.old_reference, with = fleet:new_identity(),
                                        trust = fleet.simulator.trust_file, only = { users[1], users[3] },
                                        dedicated_ip_quota = 9 }))
      assert.equal(report.reference, result.to)
      assert.is_false(result.refused)
      assert.equal(users[3], result.holders[1].Id)
      assert.equal(1, #result.holders)
      local none, err = plan({ only = { users[1] } })
      assert.is_nil(none)
      assert.equal("NothingToDo", err.code)
      none, err = plan({ only = { "ENOBODY" } })
      assert.is_nil(none)
      assert.equal("UnknownHolder", err.code)
    end)

    it("an identity that expired between plan and run is refused before anything", function()
      local one = assert(plan())
      local effects = fleet:record().effects
      local clock = aws.loop.now
      aws.loop.now = function() return one.identity.not_after + 1 end
      local report, err = one:run({ journal = fleet:path("late"), state_directory = fleet:path("state") })
      aws.loop.now = clock
      assert.is_nil(report)
      assert.is_truthy(err.message:find("expired", 1, true), err.message)
      assert.equal("policy", err.kind)
      assert.same(effects, fleet:record().effects)
      assert.is_nil(io.open(fleet:path("late")))
    end)
  end)
end)
