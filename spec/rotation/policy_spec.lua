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

  it("cheapest aligns only the burst, and pauses only behind the canaries", function()
    local waves = assert(policy.waves(policy.cheapest({ canary = 1, pause = true, align = true }), fleet(), context))
    assert.equal("look at what was changed", waves[1].pause)
    assert.same({ nil, nil, true }, { waves[1].align, waves[2].align, waves[3].align })
    assert.is_nil(waves[3].pause)
  end)

  it("staged takes by size, share, tag, list and function, and then the rest", function()
    local holders = fleet()
    for _, holder in ipairs(holders) do holder.Tags = { tier = holder.Id == "E1" and "edge" or "back" } end
    holders[#holders].Tags = nil
    local staged = policy.staged({ { size = 1, soak = 60, pause = "look at the shop" }, { "20%", parallel = 2 },
      "tag:tier=edge", { list = { "E4VIP" } }, { where = function(holder) return holder.Id == "E3VIP" end } })
    assert.is_true(staged.tags)
    local waves = assert(policy.waves(staged, holders, context))
    local found = {}
    for i, wave in ipairs(waves) do found[i] = wave.name .. ": " .. ids(wave) end
    -- 20% of seven are two, rounded up.
    assert.same({ "1: E6STAGE", "20%: E5OFF E7VIPOFF", "tag:tier=edge: E1", "E4VIP: E4VIP", "where: E3VIP", "rest: E2" }, found)
    assert.same({ 60, "look at the shop", 2 }, { waves[1].soak, waves[1].pause, waves[2].parallel })
    assert.equal("policy staged { stages = 1, 20%, tag:tier=edge, E4VIP, where }", tostring(staged))
    -- A stage that finds nobody is no wave.
    waves = assert(policy.waves(policy.staged({ "tag:none", "rest" }), holders, context))
    assert.same({ 1, "rest" }, { #waves, waves[1].name })
    local none, problem = policy.waves(policy.staged({ "E999" }), holders, context)
    assert.is_nil(none)
    assert.is_truthy(problem:find("E999", 1, true))
    assert.is_nil(policy.staged({ "1", "rest" }).tags)
  end)

  it("staged refuses stages it does not understand", function()
    for _, case in ipairs({ { {}, "a list of stages" }, { { "many" }, "is no wave" }, { { 7 }, "a table or a text" },
      { { { size = 0 } }, "`size` must be" }, { { { percent = 101 } }, "`percent` must be" },
      { { { list = {} } }, "`list` must be" },
      { { { size = 1, percent = 1 } }, "not both" }, { { { sice = 1 } }, "unknown field 'sice'" },
      { { { where = 1 } }, "`where`" },
      { { { size = 1, windows = { "never" } } }, "is no window" }, { { { tag = "" } }, "`tag`" } }) do
      local ok, problem = pcall(policy.staged, case[1])
      assert.is_false(ok)
      assert.is_truthy(problem:find(case[2], 1, true), problem)
    end
  end)

  it("a policy's waves name its gates, or bring them", function()
    local function passes() return true end
    local own = policy.resolve({ name = "mine", gates = { looks = passes }, waves = function(holders)
      return { { holders = { holders[1] }, gate = "looks", verify = 3 }, { holders = { holders[2] }, name = "b", gate = passes } }
    end })
    assert.equal("mine", own.name)
    local waves, problem, gates = policy.waves(own, { made.holder("E1"), made.holder("E2") }, context)
    assert.is_nil(problem)
    assert.same({ "looks", "gate of b" }, { waves[1].gate, waves[2].gate })
    assert.same({ probes = 3, need = 3 }, waves[1].verify)
    assert.same({ looks = passes, ["gate of b"] = passes }, gates)
    for expected, broken in pairs({
      ["none of its `gates`"] = { gate = "other" }, ["`gate` must be"] = { gate = 7 }, ["`pause` must be"] = { pause = 1 },
      ["not more than the probes"] = { verify = { probes = 2, need = 3 } }, ["`verify.probes`"] = { verify = 0 },
      ["`windows`"] = { windows = {} }, ["`align`"] = { align = 1 },
    }) do
      broken.holders = { "E1" }
      local result, why = policy.waves(policy.resolve(function() return { broken } end), { made.holder("E1") }, context)
      assert.is_nil(result)
      assert.is_truthy(why:find(expected, 1, true), why)
    end
    assert.has_error(function() policy.resolve({ waves = 1 }) end)
    assert.has_error(function() policy.resolve({ waves = passes, gates = { 1 } }) end)
    assert.has_error(function() policy.resolve({ waves = passes, gate = passes }) end)
  end)

  it("refuses names and options it does not know", function()
    assert.has_error(function() policy.resolve("cheap") end)
    assert.has_error(function() policy.cheapest({ canaries = 1 }) end)
    assert.has_error(function() policy.cheapest({ parallel = 0 }) end)
    assert.has_error(function() policy.resolve(12) end)
    assert.equal("policy cheapest { canary = 1 }", tostring(policy.cheapest({ canary = 1 })))
  end)
end)
