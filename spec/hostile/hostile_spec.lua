-- A share of spec/hostile/run: some boundaries of every kind of rotation, and some seeds.
local kill = require("spec.hostile.kill")
local rules = require("spec.hostile.rules")
local seeds = require("spec.hostile.seeds")
local World = require("spec.hostile.world")
local seed = require("spec.support").seed()

local SEEDS = 3   -- and one boundary of each kind; the whole is made on demand

describe(("in a hostile world (seed %d),"):format(seed), function()
  local world
  setup(function() world = World.start() end)
  teardown(function() world:stop() end)

  -- Whichever way one ends, what is killed is the same.
  local lists = {}
  for index, kind in ipairs(kill.kinds()) do
    it(kind.name .. ": killed at a boundary, it ends by the rules", function()
      local what = kind.method .. kind.store .. tostring(kind.s3)
      lists[what] = lists[what] or kill.boundaries(kill.measure(world, kind))
      local list = lists[what]
      assert.is_true(#list > 40)
      -- Not the very last ones: what is sent last may differ by a request.
      local boundary = list[1 + (seed + index * 7919) % (#list - 4)]
      local where = ("%s %s %d"):format(boundary.moment, boundary.what, boundary.number)
      local killed, broken = kill.case(world, kind, boundary)
      assert.same({}, broken, where)
      assert.is_true(killed, where)
      assert.is_true(world.handshakes > 0)
    end)
  end

  for number = 1, SEEDS do
    local one = (seed * 31 + number) % 1000000
    it(("seed %d: the rules hold"):format(one), function()
      local _, broken = seeds.case(world, one)
      assert.same({}, broken, "replay: spec/hostile/run --seed " .. one)
    end)
  end

  it("what breaks a rule is seen", function()
    world:reset({ distributions = 5, users = 3, vip = 1, tenants = 1, store = "acm", seed = 5 }, true)
    local done = world:run(world:apply_words({ "--policy", "cheapest", "--poll", "60ms" }))
    assert.equal(0, done.rc, done.text)
    assert.same({}, rules.broken(world, { report = done.report }))
    -- Left behind and not told; changed outside; another's certificate touched; a viewer not served.
    local users = {}
    for _, distribution in ipairs(world.before.distributions) do
      if distribution.reference == world.old then users[#users + 1] = distribution end
    end
    world:control("faults", { kind = "interfere", action = "certificate", reference = world.old, count = 1,
                              target = users[1].id, operation = "ListDistributions" })
    world:run({ "inventory" })
    assert.is_truthy(table.concat(rules.broken(world, { report = done.report }), "\n"):find("left behind", 1, true))
    assert.same({}, rules.broken(world, { report = { left_behind = { users[1].id } } }))
    users[2].config_sha256 = "another"
    world.failed[1] = { name = users[3].aliases[1], why = "as if" }
    local text = table.concat(rules.broken(world, { report = { left_behind = { users[1].id } } }), "\n")
    assert.is_truthy(text:find(users[2].id .. " is not what it was outside ViewerCertificate", 1, true))
    assert.is_truthy(text:find("was not served", 1, true))
    -- A tenant with the old one again, and changed beside it; the journal gone on with by one who had been overtaken.
    local tenant = world.before.tenants[1]
    world:control("tenants/" .. tenant.id, { certificate = world.old })
    tenant.rest = "another"
    local writers = world:writers()
    assert.equal(1, #writers)
    world.writers = function() return { writers[1], "another", writers[1] } end
    text = table.concat(rules.broken(world, { report = done.report }), "\n")
    world.writers = nil
    for _, why in ipairs({ "tenant " .. tenant.id .. " is left behind", tenant.id .. " is not what it was beside",
                           writers[1] .. " went on with the journal after" }) do
      assert.is_truthy(text:find(why, 1, true), text)
    end
    -- After a way back that changed nothing, everybody has the new one still, and it may be deleted only when imported here.
    text = table.concat(rules.broken(world, { report = { conflicts = {} }, back = true }), "\n")
    assert.is_truthy(text:find(users[3].id .. " was not rolled back", 1, true), text)
  end)
end)
