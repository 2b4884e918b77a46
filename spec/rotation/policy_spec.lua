local policy = require("certrotate.rotation.policy")
local made = require("spec.rotation.support")

local context = { from = made.OLD, now = 1768478400, deploy_seconds = 300 }

local function fleet()
  return {
    made.holder("E4VIP", { ssl = "vip" }), made.holder("E1"), made.holder("E2"), made.holder("E3VIP", { ssl = "vip" }),
    made.holder("E5OFF", { Enabled = false }), made.holder("E6STAGE", { Staging = true, Aliases = {} }),
    made.holder("E7VIPOFF", { ssl = "vip", Enabled = false }),
  }
end

local function ids(wave)
  local list = {}
  for i, holder in ipairs(wave.holders) do list[i] = holder.Id end
  return table.concat(list, " ")
end

describe("policy", function()
  it("careful changes one holder at a time, the charged ones last and without a pause between", function()
    local waves = assert(policy.waves(policy.careful({ soak = 60 }), fleet(), context))
    assert.equal(7, #waves)
    local order = {}
    for i, wave in ipairs(waves) do
      assert.equal(1, #wave.holders)
      assert.equal(1, wave.parallel)
      assert.equal(i < 7 and 60 or 0, wave.soak)
      order[i] = wave.holders[1].Id
    end
    assert.equal("E6STAGE E5OFF E7VIPOFF E1 E2 E3VIP E4VIP", table.concat(order, " "))
  end)

  it("cheapest soaks on what costs nothing and moves the charged holders in one last burst", function()
    local waves = assert(policy.waves(policy.cheapest({ canary = 2, soak = 600, parallel = 4 }), fleet(), context))
    assert.same({ "canary", "sni", "dedicated-ip" }, { waves[1].name, waves[2].name, waves[3].name })
    assert.equal("E6STAGE E5OFF", ids(waves[1]))
    assert.equal(600, waves[1].soak)
    assert.equal("E7VIPOFF E1 E2", ids(waves[2]))
    assert.equal(0, waves[2].soak)
    assert.equal("E3VIP E4VIP", ids(waves[3]))
    assert.equal(2, waves[3].parallel)
    assert.equal("listing", waves[3].settle)
  end)

  it("cheapest starts the longest deployments first", function()
    local waves = assert(policy.waves(policy.cheapest(), fleet(), {
      from = made.OLD, now = 0, deploy_seconds = 300, expected = { E4VIP = 900 },
    }))
    assert.equal("E4VIP E3VIP", ids(waves[#waves]))
  end)

  it("cheapest tries charged canaries only where there is nothing else", function()
    local waves = assert(policy.waves(policy.cheapest({ canary = 1, soak = 5 }),
      { made.holder("EA", { ssl = "vip" }), made.holder("EB", { ssl = "vip" }) }, context))
    assert.equal(2, #waves)
    assert.equal("EA", ids(waves[1]))
    assert.equal(5, waves[1].soak)
  end)

  it("never waits after the only wave", function()
    local waves = assert(policy.waves(policy.cheapest({ canary = 3, soak = 600 }), { made.holder("E1") }, context))
    assert.equal(1, #waves)
    assert.equal(0, waves[1].soak)
  end)

  it("a default-certificate holder that shows vip is not charged", function()
    assert.is_false(policy.charged(made.holder("E1", { default_certificate = true, ssl = "vip" })))
    assert.is_true(policy.charged(made.holder("E1", { ssl = "vip" })))
  end)

  it("takes a user's own function and makes sure of every holder", function()
    local own = policy.resolve(function(holders) return { { name = "all", holders = holders, parallel = 3 } } end)
    local waves = assert(policy.waves(own, fleet(), context))
    assert.equal(7, #waves[1].holders)
    for expected, broken in pairs({
      ["leaves out E1"] = function(holders) return { { holders = { holders[2] } } } end,
      ["names E1 twice"] = function(holders) return { { holders = holders }, { holders = { holders[1] } } } end,
      ["names EX, which"] = function() return { { holders = { "EX" } } } end,
      ["must return a list"] = function() return 7 end,
      ["no list `holders`"] = function() return { {} } end,
      ["`parallel` must be"] = function(holders) return { { holders = holders, parallel = 0 } } end,
      ["`soak` must be"] = function(holders) return { { holders = holders, soak = -1 } } end,
      ["the policy failed"] = function() error("boom") end,
    }) do
      local result, problem = policy.waves(policy.resolve(broken), { made.holder("E1"), made.holder("E2") }, context)
      assert.is_nil(result)
      assert.is_truthy(problem:find(expected, 1, true), problem)
    end
  end)

  it("refuses names and options it does not know", function()
    assert.has_error(function() policy.resolve("cheap") end)
    assert.has_error(function() policy.cheapest({ canaries = 1 }) end)
    assert.has_error(function() policy.cheapest({ parallel = 0 }) end)
    assert.has_error(function() policy.resolve(12) end)
    assert.equal("policy cheapest { canary = 1 }", tostring(policy.cheapest({ canary = 1 })))
  end)
end)
