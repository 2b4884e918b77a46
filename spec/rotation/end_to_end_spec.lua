-- Whole rotations against the simulator, by the API and by the command line.
local json = require("certrotate.json")
local fleet_module = require("spec.support.fleet")
local command = require("spec.support.command")

describe("a whole rotation", function()
  for _, store in ipairs({ "acm", "iam" }) do
    describe("in " .. store, function()
      local fleet, users, before
      setup(function()
        fleet = fleet_module.start({ distributions = 16, users = 9, vip = 2, store = store, propagation = 0.4, seed = 11 })
        users, before = fleet:on(fleet.simulator.old_reference), fleet:configurations()
      end)
      teardown(function() fleet:stop() end)

      it("changes every holder, nothing else, imports once, and retires only then", function()
        assert.equal(9, #users)
        local aws = assert(fleet:connect())
        local files = fleet.simulator.files
        local plan = assert(aws:plan({
          replace = fleet.simulator.old_reference, with = fleet:new_identity(), policy = "cheapest",
          policy_options = { canary = 1 }, trust = fleet.simulator.trust_file, dedicated_ip_quota = 4,
          files = { certificate = files.new_certificate, private_key = files.new_key, chain = files.new_chain },
        }))
        assert.equal(9, #plan:holders())
        local events = {}
        local report = assert(plan:run({ journal = fleet:path("journal"), state_directory = fleet:path("state"), poll = 0.1,
                                         on_event = function(event) events[event.type] = (events[event.type] or 0) + 1 end }))
        assert.is_true(report.ok)
        assert.equal(9, report.changed)
        assert.same(users, fleet:on(report.reference))
        assert.same({}, fleet:on(fleet.simulator.old_reference))
        assert.same(before, fleet:configurations())
        assert.equal(9, events.swap)
        assert.equal(#plan.waves, events.settled)
        assert.is_true(events.verified > 0)
        assert.is_true(report.overlap_seconds > 0)
        local effects = fleet:record().effects
        assert.equal(1, effects[store .. "_imports"] or effects.imports)

        -- The same plan again: reality differs now.
        local again, err = plan:run({ journal = fleet:path("second"), state_directory = fleet:path("state") })
        assert.is_nil(again)
        assert.equal("PlanOutdated", err.code)
        assert.is_nil(io.open(fleet:path("second")))

        -- A finished journal may be resumed: nothing is left to do, nothing is sent twice.
        local resumed = assert(aws:resume({ journal = fleet:path("journal"), state_directory = fleet:path("state"), poll = 0.1 }))
        assert.is_true(resumed.ok)
        assert.equal(1, (fleet:record().effects)[store .. "_imports"])

        local kept, why = aws:retire({ journal = fleet:path("journal") })
        assert.is_nil(kept)
        assert.equal("KeepTime", why.code)
        local looked = assert(aws:retire({ journal = fleet:path("journal"), keep = 0, dry_run = true }))
        assert.is_false(looked.deleted)
        assert.is_true(#looked.facts >= 3)
        assert.is_nil((fleet:record().effects)[store .. "_deletes"])
        assert.is_true(assert(aws:retire({ journal = fleet:path("journal"), keep = 0 })).deleted)
        assert.equal(1, (fleet:record().effects)[store .. "_deletes"])
        assert.is_true(assert(aws:retire({ journal = fleet:path("journal"), keep = 0 })).already_gone)
        aws:close()
      end)
    end)
  end

  describe("by the command line", function()
    local fleet
    setup(function() fleet = fleet_module.start({ distributions = 12, users = 6, vip = 1, propagation = 0.4, seed = 5 }) end)
    teardown(function() fleet:stop() end)

    it("inventory, check, plan, apply, status, retire", function()
      local _
      local code, out, err = fleet:run({ "inventory", "--json", "--endpoint-url", fleet.simulator.endpoint })
      assert.equal(0, code, err)
      local inventory = json.decode(out)
      assert.is_true(inventory.complete)
      assert.equal(12, #inventory.holders)
      code, out = fleet:run({ "inventory", "--endpoint-url", fleet.simulator.endpoint })
      assert.equal(0, code)
      assert.is_truthy(out:find(fleet.simulator.old_reference, 1, true))

      code, out, err = fleet:run(fleet:identity_flags({ "check" }))
      assert.equal(0, code, out .. err)

      local before = fleet:record().effects
      code, out, err = fleet:run(fleet:identity_flags({ "plan", "--policy", "cheapest", "--canary", "1", "--poll", "100ms",
                                                        "--out", fleet:path("plan.json") }))
      assert.equal(0, code, out .. err)
      assert.is_truthy(out:find("6 holders in about", 1, true), out)
      -- Without a terminal and without --yes nothing happens.
      code, _, err = fleet:run(fleet:flags({ "apply", fleet:path("plan.json"), "--journal", fleet:path("j") }))
      assert.equal(0, code, err)
      assert.is_truthy(err:find("Nothing was changed", 1, true))
      assert.same(before, fleet:record().effects)
      assert.is_nil(io.open(fleet:path("j")))

      code, out, err = fleet:run(fleet:flags({ "apply", fleet:path("plan.json"), "--journal", fleet:path("j"), "--yes",
                                               "--json" }))
      assert.equal(0, code, out .. err)
      local report = json.decode(out)
      assert.is_true(report.ok)
      assert.equal(6, report.changed)
      assert.is_truthy(err:find("%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ "), "plain lines carry a time: " .. err)
      assert.is_nil(err:find("\27", 1, true))

      code, out = fleet:run({ "status", fleet:path("j") })
      assert.equal(0, code)
      assert.is_truthy(out:find("finished", 1, true))
      code, out = fleet:run(fleet:identity_flags({ "plan" }))
      assert.equal(3, code, out)

      code, out, err = fleet:run(fleet:flags({ "retire", fleet:path("j"), "--yes" }))
      assert.equal(4, code, out .. err)
      code, out = fleet:run(fleet:flags({ "retire", fleet:path("j"), "--keep", "0s" }))
      assert.equal(0, code)
      assert.is_truthy(out:find("Nothing was deleted", 1, true), out)
      code, out, err = fleet:run(fleet:flags({ "retire", fleet:path("j"), "--keep", "0s", "--yes" }))
      assert.equal(0, code, out .. err)
      assert.equal(1, fleet:record().effects.acm_deletes)

      local alias
      for _, distribution in ipairs(fleet:state().distributions) do
        if distribution.reference == report.reference and distribution.enabled and distribution.aliases[1]
          and not distribution.aliases[1]:find("*", 1, true) then
          alias = distribution.aliases[1]
        end
      end
      code, out, err = fleet:run({ "verify", alias, "--edge", fleet.simulator.edge, "--ca-bundle", fleet.simulator.trust_file,
                                   "--certificate", fleet.simulator.files.new_certificate })
      assert.equal(0, code, out .. err)
      assert.is_truthy(out:find("as expected", 1, true))
      code = fleet:run({ "verify", alias, "--edge", fleet.simulator.edge, "--ca-bundle", fleet.simulator.trust_file,
                         "--certificate", fleet.simulator.files.old_certificate })
      assert.equal(1, code)
    end)
  end)

  it("excludes a second run on the same certificate", function()
    local fleet = fleet_module.start({ distributions = 6, users = 4, vip = 0, propagation = 0.2, seed = 3 })
    local aws = assert(fleet:connect())
    local plan = assert(aws:plan({ replace = fleet.simulator.old_reference, with = fleet:new_identity(),
                                   trust = fleet.simulator.trust_file }))
    local lock = require("certrotate.rotation.lock")
    local held = assert(lock.acquire(aws:endpoint("cloudfront"), plan.from, fleet:path("state")))
    local report, err = plan:run({ journal = fleet:path("j"), state_directory = fleet:path("state") })
    assert.is_nil(report)
    assert.equal("Locked", err.code)
    assert.equal(4, #fleet:on(plan.from))
    held:close()
    assert(plan:run({ journal = fleet:path("j"), state_directory = fleet:path("state"), poll = 0.1 }))
    aws:close()
    fleet:stop()
    assert.is_function(command.run)
  end)
end)
