-- Going on: after an interrupt in the middle of a soak, in another folder, with fleets of every kind.
local core = require("certrotate.core")
local fleet_module = require("spec.support.fleet")

describe("a rotation", function()
  local fleet, aws

  local function fresh(options)
    fleet = fleet_module.start({ distributions = 8, users = 4, vip = 1, propagation = 0.1, seed = 77 }, options)
    aws = assert(fleet:connect())
  end
  after_each(function()
    if fleet then fleet:stop() end
    fleet = nil
  end)

  local function plan_of(options) return fleet:plan(aws, "cheapest", options) end
  local function options(more) return fleet:run_options(more) end

  it("interrupted while it watches goes on watching for the rest of the time only", function()
    fresh()
    local plan = plan_of({ policy_options = { canary = 1, soak = 2 } })
    local began
    local report, err = plan:run(options({ on_event = function(event)
      if event.type == "soak" then
        began = core.monotonic()
        aws.loop:interrupt("test")
      end
    end }))
    assert.is_nil(report)
    assert.equal("Interrupted", err.code)
    assert.equal(fleet:path("journal"), err.journal)
    assert.is_true(core.monotonic() - began < 1, "an interrupt is heard at once")
    assert.equal(3, #fleet:on(fleet.simulator.old_reference))
    aws = fleet:again(aws)
    local rest
    report = assert(aws:resume(options({ on_event = function(event)
      if event.type == "soak" then rest = rest or event.seconds end
      if event.type == "wave" and event.wave == 2 then
        assert.is_true(core.monotonic() - began >= 1.8, "the canary was not watched long enough")
      end
    end })))
    assert.is_true(report.ok)
    assert.is_nil(report.event_problem)
    assert.is_true(rest < 2)
    -- Asked again, by a run that saw none of it: one at a time would have taken what it told before.
    local again = assert(aws:resume(options()))
    assert.is_true(report.one_at_a_time.overlap_seconds < 60, "what was seen, not what was assumed")
    assert.same(report.one_at_a_time, again.one_at_a_time)
  end)

  it("interrupted while it verifies says interrupted, not that something is wrong", function()
    fresh()
    local plan = plan_of({ verify = true })
    aws:close()
    aws = assert(fleet:connect({ edge = "127.0.0.1:1" }))
    require("certrotate.rotation.plan").attach(plan, aws, fleet:new_identity())
    local interrupt = aws:task(function()
      while #fleet:on(fleet.simulator.old_reference) == 4 do aws.loop:sleep(0.1) end
      aws.loop:sleep(1)
      aws.loop:interrupt("test")
    end)
    local report, err = plan:run(options())
    assert.is_nil(report)
    assert.equal("Interrupted", err.code, tostring(err))
    assert.is_table(interrupt)
  end)

  it("names its files and locks by whole paths, so that it can be resumed anywhere", function()
    fresh()
    local files = fleet.simulator.files
    local function relative(path) return "/." .. path end
    local plan = plan_of({ files = { certificate = relative(files.new_certificate), private_key = relative(files.new_key) } })
    assert.equal(core.realpath(files.new_certificate), plan.files.certificate)
    assert.equal(core.realpath(files.new_key), plan.files.private_key)
    assert(plan:run(options({ state_directory = relative(fleet:path("state")) })))
    local state = assert(require("certrotate.rotation.journal").load(fleet:path("journal"))):state()
    assert.equal(core.realpath(fleet:path("state")), state.locks)
    -- Without a directory of its own, a resume looks for other runs where this one locked.
    local held = assert(require("certrotate.rotation.lock").open(aws:endpoint("cloudfront"), { plan.from }, state.locks))
    local report, err = aws:resume({ journal = fleet:path("journal"), poll = 0.05 })
    assert.is_nil(report)
    assert.equal("Locked", err.code)
    held:close()
    assert(aws:resume({ journal = fleet:path("journal"), poll = 0.05 }))
  end)

  for name, fleet_options in pairs({
    ["of one holder"] = { distributions = 1, users = 1, vip = 0 },
    ["of dedicated-IP holders only"] = { distributions = 4, users = 4, vip = 4 },
    ["of nobody but its users"] = { distributions = 5, users = 5, vip = 2 },
  }) do
    for _, policy in ipairs({ "careful", "cheapest" }) do
      it(("%s, %s"):format(name, policy), function()
        fresh(fleet_options)
        local users = fleet:on(fleet.simulator.old_reference)
        local report = assert(plan_of({ policy = policy }):run(options()))
        assert.is_true(report.ok)
        assert.same(users, fleet:on(report.reference))
        assert.is_true(report.overlap_seconds <= report.seconds)
      end)
    end
  end

  it("of disabled and staging holders costs nothing and verifies nothing", function()
    fresh({ distributions = 30, users = 20, vip = 3 })
    local quiet = {}
    for _, holder in ipairs(assert(aws:inventory()):holders_of(fleet.simulator.old_reference)) do
      if not holder.Enabled or holder.Staging then quiet[#quiet + 1] = holder.Id end
    end
    assert.is_true(#quiet > 0)
    local plan = plan_of({ only = quiet, verify = true })
    assert.equal(0, plan.prediction.charge)
    local report = assert(plan:run(options()))
    assert.is_true(report.ok)
    assert.equal(0, report.charge)
    assert.equal(#quiet, report.changed)
  end)

  it("of nobody is nothing to do", function()
    fresh({ distributions = 3, users = 0, vip = 0 })
    local plan, err = aws:plan({ replace = fleet.simulator.old_reference, with = fleet:new_identity(),
                                 trust = fleet.simulator.trust_file })
    assert.is_nil(plan)
    assert.equal("NothingToDo", err.code)
  end)

  it("is planned and counted for 500 holders in a moment", function()
    local made = require("spec.rotation.support")
    local policy = require("certrotate.rotation.policy")
    local plan_module = require("certrotate.rotation.plan")
    local holders = {}
    for i = 1, 500 do holders[i] = made.holder(("E%04d"):format(i), { ssl = i % 50 == 0 and "vip" or "sni-only" }) end
    for _, name in ipairs({ "careful", "cheapest" }) do
      local began = core.monotonic()
      local plan = assert(plan_module.compute({
        from = made.OLD, store = "acm", identity = made.identity, now = 1768478400, endpoint = "", findings = {},
        left_out = {}, holders = holders, policy = policy.named[name](),
      }))
      assert.same({}, plan:differences(made.inventory(holders)))
      assert(plan_module.restore(require("certrotate.json").decode(plan:encode()), "p"))
      assert.is_true(#tostring(plan) > 500 * 10)
      assert.is_true(core.monotonic() - began < 5)
    end
  end)
end)
