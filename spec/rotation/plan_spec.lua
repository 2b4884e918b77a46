local plan_module = require("certrotate.rotation.plan")
local policy = require("certrotate.rotation.policy")
local json = require("certrotate.json")
local made = require("spec.rotation.support")

local function facts(overrides)
  local base = {
    from = made.OLD, store = "acm", identity = made.identity, now = 1768478400, endpoint = "https://127.0.0.1:1",
    policy = policy.cheapest({ canary = 1, soak = 60, parallel = 2 }), files = { certificate = "/c.pem" },
    holders = { made.holder("E1"), made.holder("E2", { ssl = "vip" }), made.holder("E3", { ssl = "vip" }),
                made.holder("E4", { Aliases = {} }) },
    left_out = {}, findings = {}, settings = { verify = true },
  }
  for key, value in pairs(overrides or {}) do base[key] = value end
  return base
end

describe("plan", function()
  it("is a pure function: the same facts give the same plan, another fact another hash", function()
    local a, b = assert(plan_module.compute(facts())), assert(plan_module.compute(facts()))
    assert.equal(a:encode(), b:encode())
    local c = assert(plan_module.compute(facts({ from = made.NEW })))
    assert.not_equal(a.hash, c.hash)
  end)

  it("reads back from its own text, empty lists included, and refuses what was changed", function()
    local plan = assert(plan_module.compute(facts()))
    local again = assert(plan_module.restore(json.decode(plan:encode()), "p.json"))
    assert.equal(plan.hash, again.hash)
    assert.equal(4, #again:holders())
    local data = json.decode(plan:encode())
    data.waves[1].holders[1].Id = "EOTHER"
    local refused, err = plan_module.restore(data, "p.json")
    assert.is_nil(refused)
    assert.equal("MalformedPlan", err.code)
    assert.is_truthy(err.message:find("p.json", 1, true))
    for _, broken in ipairs({ {}, { version = 1 }, "text", { version = 99 } }) do
      refused, err = plan_module.restore(broken, "p.json")
      assert.is_nil(refused)
      assert.equal("MalformedPlan", err.code)
    end
  end)

  it("predicts time, overlap and charge from stated assumptions", function()
    local p = assert(plan_module.compute(facts({ deploy_seconds = 100, call_seconds = 1 }))).prediction
    -- canary (1 + 100, then 60), sni (1 + 100), dedicated IP (both at once: 1 + 100)
    assert.equal(101 + 60 + 101 + 101, p.seconds)
    assert.equal(100, p.overlap_seconds)
    assert.equal(4 * 101, p.one_at_a_time.seconds)
    assert.equal(201, p.one_at_a_time.overlap_seconds)
    assert.is_true(p.charge > 0 and p.charge <= p.one_at_a_time.charge and p.minimum_charge <= p.charge)
  end)

  it("costs nothing where no charged holder is touched", function()
    local p = assert(plan_module.compute(facts({ holders = { made.holder("E1"), made.holder("E2") } }))).prediction
    assert.equal(0, p.overlap_seconds)
    assert.equal(0, p.charge)
    assert.equal(0, p.one_at_a_time.charge)
  end)

  it("careful never is predicted cheaper than cheapest", function()
    for count = 1, 12 do
      local holders = {}
      for i = 1, count do
        holders[i] = made.holder(("E%02d"):format(i), { ssl = i % 3 == 0 and "vip" or "sni-only", Enabled = i % 5 ~= 0 })
      end
      local cheap = assert(plan_module.compute(facts({ holders = holders, policy = policy.cheapest() })))
      local careful = assert(plan_module.compute(facts({ holders = holders, policy = policy.careful() })))
      assert.is_true(cheap.prediction.overlap_seconds <= careful.prediction.overlap_seconds)
      assert.is_true(cheap.prediction.charge <= careful.prediction.charge)
    end
  end)

  it("says what differs from reality, and only that", function()
    local plan = assert(plan_module.compute(facts()))
    local same = facts().holders
    assert.same({}, plan:differences(made.inventory(same)))
    local changed = {
      made.holder("E1", { reference = made.NEW }), made.holder("E2", { ssl = "sni-only" }),
      made.holder("E4", { Aliases = { "added.example.com" } }), made.holder("E9"),
    }
    local text = table.concat(plan:differences(made.inventory(changed)), "\n")
    for _, part in ipairs({ "E1 now uses", "E2 changed from vip to sni-only", "E3 does not exist",
                            "E4 now has the aliases added", "E9 uses the old certificate and is not in the plan" }) do
      assert.is_truthy(text:find(part, 1, true), part .. " is not in\n" .. text)
    end
    -- A holder that is already on the new certificate fits the plan when that is known.
    assert.same({}, plan:differences(made.inventory({ made.holder("E1", { reference = made.NEW }), same[2], same[3],
                                                      same[4] }), made.NEW))
  end)

  it("prints itself for review", function()
    local text = tostring(assert(plan_module.compute(facts({ findings = {
      { level = "warn", code = "X", message = "look here" } }, left_out = { { Id = "E7", reason = "not named by --only" } },
    }))))
    for _, part in ipairs({ made.OLD, "E2", "dedicated IP", "1 canary", "Warning: look here", "Left out: E7",
                            "one at a time" }) do
      assert.is_truthy(text:find(part, 1, true), part .. " is not in\n" .. text)
    end
  end)

  it("a policy that misbehaves is an error, not a plan", function()
    local plan, err = plan_module.compute(facts({ policy = policy.resolve(function() return {} end) }))
    assert.is_nil(plan)
    assert.equal("BadPolicy", err.code)
  end)
end)
