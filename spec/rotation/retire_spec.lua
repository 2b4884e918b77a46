-- Rule 2 as its user sees it: every fact with its evidence, and nothing deleted while one does not hold or is unknown.
local fleet_module = require("spec.support.fleet")

describe("retiring", function()
  local fleet, aws, old, users, new

  local function fresh(options)
    fleet = fleet_module.start({ distributions = 8, users = 4, vip = 1, propagation = 0.1, seed = 51 }, options)
    aws = assert(fleet:connect())
    old = fleet.simulator.old_reference
    users = fleet:on(old)
    new = assert(fleet:plan(aws, "cheapest"):run(fleet:run_options())).reference
  end
  after_each(function()
    if fleet then fleet:stop() end
    fleet = nil
  end)

  local function retire(options)
    local all = { journal = fleet:path("journal"), keep = 0, state_directory = fleet:path("state"), patience = 1 }
    for key, value in pairs(options or {}) do all[key] = value end
    return aws:retire(all)
  end
  -- By fact, whether it holds; every one with evidence.
  local function looked(options)
    local all = { dry_run = true }
    for key, value in pairs(options or {}) do all[key] = value end
    local result = assert(retire(all))
    assert.is_false(result.deleted)
    assert.equal(old, result.reference)
    local facts = {}
    for _, fact in ipairs(result.facts) do
      assert.is_true(#fact.evidence > 8, fact.fact)
      facts[fact.fact] = fact.holds
      facts[fact.fact .. " says"] = fact.evidence
    end
    return facts
  end
  local function kept(code)
    local result, err = retire()
    assert.is_nil(result)
    assert.equal(code, err.code)
    assert.is_nil(fleet:record().effects.acm_deletes)
    assert.is_nil(fleet:record().effects.iam_deletes)
  end
  local FACTS = { "NoDistribution", "NoTenant", "NotInUse", "Deployed", "Imported", "KeepTimeOver" }

  for _, store in ipairs({ "acm", "iam" }) do
    it("lists every fact with its evidence, and deletes when all hold (" .. store .. ")", function()
      fresh({ store = store })
      local facts = looked()
      for _, name in ipairs(FACTS) do assert.is_true(facts[name], name .. ": " .. tostring(facts[name .. " says"])) end
      assert.matches("none of 8 distributions names it", facts["NoDistribution says"], 1, true)
      assert.matches("4 changed holders are Deployed", facts["Deployed says"], 1, true)
      assert.is_nil(fleet:record().effects[store .. "_deletes"])
      -- With nothing to wait for no clock matters, not one that is behind what the journal says.
      assert(fleet.simulator:control("clock", { skew = -400 }))
      aws:close()
      aws = assert(fleet:connect())
      assert.is_true(assert(retire()).deleted)
      -- Whoever asks the finished rotation again is not sent to delete it once more.
      local again = assert(aws:resume(fleet:run_options()))
      assert.is_true(again.retired)
      assert.is_nil(require("certrotate.report.summary").text(again):find("is kept", 1, true))
      assert.equal(1, fleet:record().effects[store .. "_deletes"])
    end)
  end

  it("keeps it for a day, whatever else holds", function()
    fresh()
    assert.is_false(looked({ keep = 24 * 3600 }).KeepTimeOver)
    local result, err = aws:retire({ journal = fleet:path("journal"), state_directory = fleet:path("state") })
    assert.is_nil(result)
    assert.equal("KeepTime", err.code)
    -- The day is counted by AWS's clock.
    assert(fleet.simulator:control("clock", { advance = 24 * 3600 + 60 }))
    aws = fleet:again(aws)
    assert(aws:inventory())
    local gone = assert(aws:retire({ journal = fleet:path("journal"), state_directory = fleet:path("state") }))
    assert.is_true(gone.deleted)
  end)

  it("does not while somebody names it, and says who", function()
    fresh()
    fleet:interfere(users[2], new, old)
    local facts = looked()
    assert.is_false(facts.NoDistribution)
    assert.matches(users[2], facts["NoDistribution says"], 1, true)
    assert.is_false(facts.NotInUse)
    kept("StillInUse")
  end)

  it("does not while a holder is being deployed", function()
    fresh()
    assert(fleet.simulator:control("settings", { propagation = 3600 }))
    fleet:interfere(users[1], "<Comment>", "<Comment>x")
    local facts = looked()
    assert.is_false(facts.Deployed)
    assert.matches(users[1], facts["Deployed says"], 1, true)
    kept("NotDeployed")
  end)

  it("does not while a listing cannot be read: unknown means no", function()
    fresh()
    -- The run's own look at the account comes first.
    local function refuse(operation)
      assert(fleet.simulator:control("faults", { kind = "error", operation = operation, status = 403,
                                                 code = "AccessDenied", message = "no",
                                                 skip = operation == "ListDistributions" and 1 or 0 }))
    end
    for operation, fact in pairs({ ListDistributions = "NoDistribution", GetDistribution = "Deployed",
                                   ListDistributionTenantsByCustomization = "NoTenant",
                                   DescribeCertificate = "NotInUse" }) do
      refuse(operation)
      assert.is_false(looked()[fact], operation)
      assert(fleet.simulator:control("faults", { clear = true }))
      refuse(operation)
      local result, err = retire()
      assert.is_nil(result, operation)
      assert.is_truthy(err.code == "Unknown" or err.code == "AccessDenied", operation .. ": " .. tostring(err))
      assert.is_nil(fleet:record().effects.acm_deletes, operation)
      assert(fleet.simulator:control("faults", { clear = true }))
    end
    assert.is_true(assert(retire()).deleted)
  end)
end)
