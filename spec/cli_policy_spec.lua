-- Waves, gates and their flags on the command line, against the simulator.
local command = require("spec.support.command")
local fleet_module = require("spec.support.fleet")
local json = require("certrotate.json")

describe("the command line", function()
  local fleet, users
  before_each(function()
    fleet = fleet_module.start({ distributions = 8, users = 5, vip = 1, propagation = 0.2, seed = 5 })
    users = fleet:on(fleet.simulator.old_reference)
  end)
  after_each(function() fleet:stop() end)

  local function plan(more)
    local argv = fleet:identity_flags({ "plan", "--json", "--poll", "100ms", "--out", fleet:path("plan.json") })
    for _, word in ipairs(more) do argv[#argv + 1] = word end
    local code, out, err = fleet:run(argv)
    return code, code == 0 and assert(json.decode(out)) or out, err
  end

  local function apply()
    return fleet:run(fleet:flags({ "apply", fleet:path("plan.json"), "--journal", fleet:path("j"), "--yes" }))
  end
  local function resume(...) return fleet:run(fleet:flags({ "resume", fleet:path("j"), ... })) end
  local function changed() return #users - #fleet:on(fleet.simulator.old_reference) end

  it("makes waves by size, tag, share and list, pauses for a person and goes on with --approve", function()
    fleet:tag(users[2], "tier", "edge")
    fleet:tag(users[4], "tier", "edge")
    local code, made, err = plan({ "--wave", "1", "tag:tier=edge", "rest", "--parallel", "2", "--pause", "--probes", "3" })
    assert.equal(0, code, tostring(made) .. err)
    assert.same({ "staged", 3, 3 }, { made.policy.name, #made.waves, made.version })
    local tagged = {}
    for i, holder in ipairs(made.waves[2].holders) do tagged[i] = holder.Id end
    table.sort(tagged)
    local first = made.waves[1].holders[1].Id
    for _, id in ipairs({ users[2], users[4] }) do
      if id ~= first then assert.is_truthy(table.concat(tagged, " "):find(id, 1, true)) end
    end
    assert.same({ probes = 3, need = 3 }, made.waves[3].verify)
    local out
    code, out, err = apply()
    assert.equal(5, code, out .. err)
    -- As it can be typed: with the flags that were given.
    local given = table.concat(fleet:flags({}), " ")
    assert.is_truthy(err:find(("to go on: certrotate resume %s --approve %s\n"):format(fleet:path("j"), given), 1, true), err)
    assert.equal(1, changed())
    code, out = fleet:run({ "status", fleet:path("j"), "--profile", "live shop" })
    assert.equal(0, code)
    assert.is_truthy(out:find("a person must agree before the next: look at what was changed", 1, true), out)
    assert.is_truthy(out:find(("To go on: certrotate resume %s --approve --profile 'live shop'\n"):format(fleet:path("j")),
      1, true), out)
    code, out = fleet:run({ "status", fleet:path("j"), "--json" })
    assert.equal(0, code)
    assert.same({ "pause", 1 }, { json.decode(out).held.why, json.decode(out).held.wave })
    code, out, err = resume()
    assert.equal(5, code, out .. err)
    assert.equal(1, changed())
    code, out, err = resume("--approve")
    assert.equal(0, code, out .. err)
    assert.equal(#users, changed())

    -- The next plan may begin with what this one took longest for.
    local journal = assert(require("certrotate.rotation.journal").load(fleet:path("j")))
    local times = journal:deploy_times()
    for _, id in ipairs(users) do assert.is_number(times[id]) end
  end)

  it("asks the gates of a policy's file, again in the process that resumes", function()
    local go = fleet:path("go")
    command.write(fleet:path("policy.lua"), ([[
      local function looks(at)
        local file = io.open(%q)
        if not file then return false, at.name .. " is not looked at yet" end
        file:close()
        return true
      end
      return { name = "mine", gates = { looks = looks }, waves = function(holders)
        local rest = {}
        for i = 2, #holders do rest[#rest + 1] = holders[i] end
        return { { name = "first", holders = { holders[1] }, gate = "looks" }, { name = "rest", holders = rest, parallel = 3 } }
      end }]]):format(go))
    local code, made, err = plan({ "--policy", fleet:path("policy.lua") })
    assert.equal(0, code, tostring(made) .. err)
    assert.equal("mine", made.policy.name)
    local out
    code, out, err = apply()
    assert.equal(4, code, out .. err)
    assert.is_truthy(err:find("first is not looked at yet", 1, true), err)
    assert.equal(1, changed())
    command.write(go, "")
    code, out, err = resume()
    assert.equal(0, code, out .. err)
    assert.equal(#users, changed())
  end)

  it("refuses flags that contradict each other or mean nothing", function()
    for expected, more in pairs({
      ["give one of them"] = { "--wave", "1", "--policy", "cheapest" },
      ["is no wave"] = { "--wave", "some" },
      ["is no window"] = { "--window", "at night" },
      ["a fixed offset"] = { "--window", "22:00-04:00 Europe/Berlin" },
      ["dollars a month"] = { "--price", "cheap" },
      ["'pause'"] = { "--policy", "careful", "--pause" },
      ["a person looks at the canaries"] = { "--policy", "cheapest", "--pause" },
      ["--probes"] = { "--probes", "0" },
      ["--policy, --canary, --soak: a reimport reaches everybody at once, there are no waves; leave them out, or --method swap"]
        = { "--method", "reimport", "--policy", "cheapest", "--canary", "1", "--soak", "1m" },
      ["--wave: a reimport"] = { "--method", "reimport", "--wave", "1", "rest" },
      ["leave it out"] = { "--method", "reimport", "--window", "22:00-04:00" },
    }) do
      local code, _, err = plan(more)
      assert.equal(2, code, err)
      assert.is_truthy(err:find(expected, 1, true), err)
    end
    local code, out, err = plan({ "--wave", "EXYZ" })
    assert.equal(1, code, out)
    assert.is_truthy(err:find("does not use the certificate", 1, true), err)
    local made
    code, made, err = plan({ "--policy", "cheapest", "--window", "Mon-Sun 00:00-24:00 UTC", "--price", "1200",
                             "--rounding", "clock", "--failures", "2", "--align-hour", "--deploy-time", "2m" })
    assert.equal(0, code, err)
    assert.same({ price = 1200, rounding = "clock" }, made.settings.cost)
    assert.same({ 2, 120 }, { made.settings.failures, made.prediction.deploy_seconds })
    assert.same({ "Mon-Sun 00:00-24:00 UTC" }, made.waves[1].windows)
    assert.is_true(made.prediction.charge >= 1200 / 744 - 1e-9)
    code, out = fleet:run(fleet:identity_flags({ "plan", "--policy", "cheapest", "--align-hour" }))
    assert.equal(0, code)
    for _, part in ipairs({ "DEPLOYED", "REASON", "at the very least", "fewest hours of the clock" }) do
      assert.is_truthy(out:find(part, 1, true), out)
    end
  end)
end)
