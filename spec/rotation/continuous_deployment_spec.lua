-- Distributions under a continuous-deployment policy: left out, refused, or changed as a unit whose policy is attached
-- again in the end, whatever happens in between.
local core = require("certrotate.core")
local fleet_module = require("spec.support.fleet")
local command = require("spec.support.command")
local journal_module = require("certrotate.rotation.journal")
local plan_module = require("certrotate.rotation.plan")

describe("a continuous deployment", function()
  local fleet, aws, old, before
  local primary, staging, policy, free

  setup(function()
    fleet = fleet_module.start({ distributions = 6, users = 3, vip = 0, policies = 1, odd = false, propagation = 0.1,
                                 seed = 11 })
  end)
  teardown(function() fleet:stop() end)

  before_each(function()
    assert(fleet.simulator:control("reset", {}))
    assert(fleet.simulator:control("faults", { clear = true }))
    os.remove(fleet:path("journal"))
    aws = assert(fleet:connect())
    old, before = fleet.simulator.old_reference, fleet:configurations()
    free = {}
    for _, one in ipairs(fleet:state().distributions) do
      if one.policy ~= "" then primary, policy = one.id, one.policy end
      if one.staging and one.reference == old then staging = one.id end
    end
    for _, id in ipairs(fleet:on(old)) do
      if id ~= primary and id ~= staging then free[#free + 1] = id end
    end
  end)
  after_each(function() aws:close() end)

  local function change_policy(fields) return assert(fleet.simulator:control("policies/" .. policy, fields)) end

  local function another_policy()
    return (assert(fleet.simulator:control("policies", { staging = { fleet:distribution(staging).domain } })).id)
  end

  local function check_of(more)
    local options = { replace = old, with = fleet:new_identity(), trust = fleet.simulator.trust_file }
    for key, value in pairs(more or {}) do options[key] = value end
    return assert(aws:check(options))
  end

  local function levels(result)
    local list = {}
    for _, one in ipairs(result.findings) do list[#list + 1] = one.level .. " " .. one.code end
    return list
  end

  local function attach(id, from, to)
    fleet:interfere(id, "<ContinuousDeploymentPolicyId>" .. from, "<ContinuousDeploymentPolicyId>" .. to)
  end

  local function unit_plan(more)
    local options = { continuous_deployment = "detach", only = { primary, staging } }
    for key, value in pairs(more or {}) do options[key] = value end
    if options.only == "all" then options.only = nil end
    return fleet:plan(aws, "careful", options)
  end

  local function options(more)
    local all = fleet:run_options({ policy_patience = 0.5 })
    for key, value in pairs(more or {}) do all[key] = value end
    return all
  end

  -- Calls `act` once, at the first event of that type.
  local function at(kind, act, id)
    local done
    return function(event)
      if event.type == kind and not done and (id == nil or event.id == id) then
        done = true
        act(event)
      end
    end
  end

  -- Everything as it should be in the end: both on one new certificate, the policy attached, nothing else different.
  local function check_done(report)
    assert.is_true(report.ok, require("certrotate.json").encode(report))
    assert.same({ { Id = primary, policy = policy, attached = true } }, report.units)
    assert.equal(policy, fleet:distribution(primary).policy)
    assert.equal(report.reference, fleet:distribution(primary).reference)
    assert.equal(report.reference, fleet:distribution(staging).reference)
    assert.same(before, fleet:configurations())
  end

  -- ── beforehand ──────────────────────────────────────────────────────────────────────────────────────────────

  it("is left out with the reason, and the rest is planned", function()
    local result = check_of()
    assert.is_false(result.refused)
    assert.same({ "warn ContinuousDeployment" }, levels(result))
    local plan = fleet:plan(aws, "careful")
    assert.equal(2, #plan:holders())
    local left = {}
    for _, one in ipairs(plan.left_out) do
      left[#left + 1] = one.Id
      assert.equal("continuous-deployment policy " .. policy, one.reason)
    end
    table.sort(left)
    local both = { primary, staging }
    table.sort(both)
    assert.same(both, left)
    assert.is_truthy(plan.findings[1].message:find("cannot be retired", 1, true))
    local report = assert(plan:run(options()))
    assert.is_true(report.ok)
    assert.same({}, report.units)
    assert.same(both, fleet:on(old))
    local gone, err = aws:retire({ journal = fleet:path("journal"), keep = 0, state_directory = fleet:path("state") })
    assert.is_nil(gone)
    assert.equal("StillInUse", err.code)
  end)

  it("is refused where it is asked for by name, where nothing else is left, and by halves", function()
    assert.same({ "refuse ContinuousDeployment" }, levels(check_of({ only = { primary } })))
    assert.same({ "refuse ContinuousDeployment" }, levels(check_of({ only = { staging, free[1] } })))
    for _, half in ipairs({ primary, staging }) do
      local result = check_of({ only = { half }, continuous_deployment = "detach" })
      assert.same({ "refuse ContinuousDeployment" }, levels(result))
      assert.is_truthy(result.findings[1].message:find("name " .. (half == primary and staging or primary), 1, true))
    end
    local foreign = fleet:third()
    for _, id in ipairs(free) do fleet:interfere(id, old, foreign) end
    local plan, err = aws:plan({ replace = old, with = fleet:new_identity(), trust = fleet.simulator.trust_file })
    assert.is_nil(plan)
    assert.equal("ContinuousDeployment", err.code)
    assert.has_error(function() check_of({ continuous_deployment = "yes" }) end)
  end)

  it("is a wave of its own on request, last, with what viewers will see and for how long", function()
    local plan = unit_plan({ only = "all", deploy_seconds = 100 })
    local wave = plan.waves[#plan.waves]
    assert.equal(3, #plan.waves)
    assert.equal(primary, wave.unit.primary)
    assert.equal(policy, wave.unit.policy)
    assert.same({ staging }, wave.unit.staging)
    assert.equal(staging, wave.holders[1].Id)
    assert.equal(primary, wave.holders[2].Id)
    assert.same({}, plan.left_out)
    assert.equal("PolicyDetached", plan.findings[1].code)
    assert.is_truthy(plan.findings[1].message:find("5m 6s", 1, true))
    assert.is_truthy(plan.findings[1].message:find("5% of the viewers", 1, true))
    -- two holders, and three deployments and four changes of the unit
    assert.equal(5 * 100 + 6 * 1.5, plan.prediction.seconds)
    -- An older certrotate would not know that something is to be attached again.
    assert.equal(2, plan.version)
    assert.equal(1, fleet:plan(aws, "careful").version)
    local text = tostring(plan)
    assert.is_truthy(text:find("policy " .. policy .. " is detached from " .. primary, 1, true))
    assert.is_truthy(plan_module.restore(require("certrotate.json").decode(plan:encode()), "p"))
    -- Watched for as long as the others of a careful plan.
    plan = unit_plan({ only = "all", policy_options = { soak = 60 } })
    assert.equal(60, plan.waves[1].soak)
    assert.equal(60, plan.waves[2].soak)
    assert.equal(0, plan.waves[3].soak)
  end)

  it("that could not be put together again is left out: staging gone, or on another certificate", function()
    change_policy({ staging = { "gone.cloudfront.net" } })
    local result = check_of({ continuous_deployment = "detach" })
    assert.same({ "warn ContinuousDeployment" }, levels(result))
    assert.is_truthy(result.findings[1].message:find("gone.cloudfront.net, which does not exist", 1, true))
    assert.equal(3, #result.holders)   -- the staging distribution nobody names is one like any other
    change_policy({ staging = { fleet:distribution(staging).domain } })
    fleet:interfere(staging, old, fleet:third())
    result = check_of({ continuous_deployment = "detach" })
    assert.same({ "warn ContinuousDeployment" }, levels(result))
    assert.is_truthy(result.findings[1].message:find(staging .. " uses another certificate", 1, true))
    assert.same({ "refuse ContinuousDeployment" },
      levels(check_of({ continuous_deployment = "detach", only = { primary } })))
  end)

  it("is seen from its staging copy alone; a policy nobody has attached binds nobody", function()
    fleet:interfere(primary, old, fleet:third())
    local result = check_of()
    assert.same({ "warn ContinuousDeployment" }, levels(result))
    assert.equal(2, #result.holders)
    attach(primary, policy, "")
    assert.same({}, levels(check_of()))
    assert.equal(3, #check_of().holders)
  end)

  it("is planned as it is: a changed or detached policy makes the plan outdated", function()
    local plan = unit_plan()
    change_policy({ weight = 0.1 })
    local report, err = plan:run(options())
    assert.is_nil(report)
    assert.equal("PlanOutdated", err.code)
    assert.is_truthy(err.message:find("10% of the viewers", 1, true))
    change_policy({ weight = 0.05 })
    attach(primary, policy, "")
    report, err = plan:run(options())
    assert.is_nil(report)
    assert.is_truthy(err.message:find(primary .. " has no continuous-deployment policy attached now", 1, true))
    assert.is_nil(io.open(fleet:path("journal")))
  end)

  -- ── the unit ────────────────────────────────────────────────────────────────────────────────────────────────

  for _, settings in ipairs({ { policy_element = "empty" }, { policy_element = "absent" },
                              { policy_certificates = "same" } }) do
    local name, value = next(settings)
    it(("is changed whole, and everything else stays to the byte: %s %s"):format(name, value), function()
      assert(fleet.simulator:control("settings", settings))
      local seen, detached = {}, nil
      local report = assert(unit_plan({ only = "all", verify = true }):run(options({ on_event = function(event)
        seen[#seen + 1] = event.type
        if event.type == "detach" then detached = fleet:distribution(primary).policy end
      end })))
      -- Where AWS leaves empty elements out, those who never had a policy lose theirs to AWS.
      local after = fleet:configurations()
      for id in pairs(value == "absent" and before or {}) do
        if id ~= primary then before[id] = after[id] end
      end
      check_done(report)
      assert.equal("", detached)
      assert.equal(4, report.changed)
      assert.equal(6, fleet:record().effects.updates)
      local text = table.concat(seen, " ")
      assert.is_truthy(text:find("detach settling .*swap swap settling .*settled verified attach settling .*done"))
      -- Again: nothing is sent.
      check_done(assert(aws:resume(options())))
      assert.equal(6, fleet:record().effects.updates)
      assert(fleet.simulator:control("settings", { policy_element = "empty", policy_certificates = "any" }))
    end)
  end

  it("loses answers and keeps its promise", function()
    local plan = unit_plan()
    for skip = 0, 3 do
      assert(fleet.simulator:control("faults", { kind = "reset", operation = "UpdateDistribution", skip = skip * 2,
                                                 count = 1, when = skip % 2 == 0 and "after" or "before" }))
    end
    check_done(assert(plan:run(options())))
  end)

  it("whose swap fails is attached again before the run stops; a resume finishes it", function()
    local plan = unit_plan()
    -- detach and the staging copy pass, the primary does not
    assert(fleet.simulator:control("faults", { kind = "error", operation = "UpdateDistribution", resource = primary,
                                               skip = 1, count = 1, status = 403, code = "AccessDenied" }))
    local report, err = plan:run(options())
    assert.is_nil(report)
    assert.equal("AccessDenied", err.code)
    assert.is_nil(err.detached)
    assert.equal(policy, fleet:distribution(primary).policy)
    assert.equal(old, fleet:distribution(primary).reference)
    assert.are_not.equal(old, fleet:distribution(staging).reference)
    assert.is_false(require("certrotate.rotation.status").read(fleet:path("journal")).waves[1].unit.detached)
    check_done(assert(aws:resume(options())))
  end)

  it("whose policy AWS does not take back in between says so, and is finished by a resume", function()
    assert(fleet.simulator:control("settings", { policy_certificates = "same" }))
    local plan = unit_plan()
    assert(fleet.simulator:control("faults", { kind = "error", operation = "UpdateDistribution", resource = primary,
                                               skip = 1, count = 1, status = 403, code = "AccessDenied" }))
    local report, err = plan:run(options())
    assert.is_nil(report)
    assert.equal("AccessDenied", err.code)
    assert.equal(policy, err.detached[1].policy)
    assert.is_truthy(err.message:find(("policy %s is still detached from %s"):format(policy, primary), 1, true))
    assert.is_truthy(err.message:find("certrotate resume " .. fleet:path("journal"), 1, true))
    assert.equal("", fleet:distribution(primary).policy)
    local status = assert(require("certrotate.rotation.status").read(fleet:path("journal")))
    assert.is_true(status.waves[1].unit.detached)
    assert.is_truthy(require("certrotate.report.status").text(status, "j"):find("resuming attaches it again", 1, true))
    check_done(assert(aws:resume(options())))
    assert(fleet.simulator:control("settings", { policy_certificates = "any" }))
  end)

  it("is attached first when a resume cannot go on", function()
    local plan = unit_plan({ only = "all" })
    local report, err = plan:run(options({ on_event = at("detach", function()
      aws.loop:interrupt("test")
      aws.loop:interrupt("test")
    end) }))
    assert.is_nil(report)
    assert.equal("", fleet:distribution(primary).policy)
    assert.is_truthy(err.detached)
    aws = fleet:again(aws)
    -- The new certificate is gone: nothing can be changed any more.
    local state = assert(journal_module.load(fleet:path("journal"))):state()
    for _, id in ipairs(fleet:on(state.to)) do fleet:interfere(id, state.to, old) end
    assert(fleet.simulator:control("clock", { pass = 60 }))
    assert(aws.acm:delete_certificate({ CertificateArn = state.to }))
    report, err = aws:resume(options())
    assert.is_nil(report)
    assert.equal("NewCertificateGone", err.code)
    assert.is_nil(err.detached)
    assert.equal(policy, fleet:distribution(primary).policy)
  end)

  -- ── interrupts ──────────────────────────────────────────────────────────────────────────────────────────────

  it("interrupted before anything is changed is attached again, unchanged", function()
    local told
    local report, err = unit_plan():run(options({ on_event = function(event)
      if event.type == "detach" then aws.loop:interrupt("test") end
      if event.type == "restoring" then told = event end
    end }))
    assert.is_nil(report)
    assert.equal("Interrupted", err.code)
    assert.is_nil(err.detached)
    assert.is_true(told.interrupted)
    assert.equal(policy, fleet:distribution(primary).policy)
    assert.equal(old, fleet:distribution(primary).reference)
    assert.equal(old, fleet:distribution(staging).reference)
    aws = fleet:again(aws)
    check_done(assert(aws:resume(options())))
  end)

  it("interrupted between the two changes is changed whole before it is attached again", function()
    local report, err = unit_plan():run(options({ on_event = at("swap", function() aws.loop:interrupt("test") end) }))
    assert.is_nil(report)
    assert.equal("Interrupted", err.code)
    assert.equal(policy, fleet:distribution(primary).policy)
    assert.same(free, fleet:on(old))
    assert.equal(fleet:distribution(primary).reference, fleet:distribution(staging).reference)
    assert.are_not.equal(old, fleet:distribution(primary).reference)
    aws = fleet:again(aws)
    local updates = fleet:record().effects.updates
    check_done(assert(aws:resume(options())))
    assert.equal(updates, fleet:record().effects.updates)
  end)

  it("interrupted twice leaves, says what is detached, and a resume attaches it before anything else", function()
    local foreign, taken = fleet:third(), false
    local report, err = unit_plan({ only = "all" }):run(options({ on_event = function(event)
      if event.type == "wave" and event.wave == 1 and not taken then
        taken = true
        fleet:interfere(free[1], old, foreign)
      end
      if event.type == "swap" and event.id == staging then aws.loop:interrupt("test") end
      if event.type == "restoring" then aws.loop:interrupt("test") end
    end }))
    assert.is_nil(report)
    assert.equal("Interrupted", err.code)
    assert.equal(primary, err.detached[1].Id)
    assert.is_truthy(err.message:find("still detached from " .. primary, 1, true))
    assert.equal("", fleet:distribution(primary).policy)
    aws = fleet:again(aws)
    -- A wave before it has somebody to go back to; the policy does not wait for that.
    fleet:interfere(free[1], foreign, old)
    local order = {}
    check_done(assert(aws:resume(options({ on_event = function(event)
      if event.type == "wave" or event.type == "attach" then order[#order + 1] = event.type .. event.wave end
    end }))))
    assert.equal("wave3", order[1])
    assert.equal("attach3", order[2])
    assert.equal("wave1", order[3])
  end)

  it("left detached, and attached by somebody since, is detached anew; with another policy it is left alone", function()
    for _, other in ipairs({ false, true }) do
      assert(fleet.simulator:control("reset", {}))
      os.remove(fleet:path("journal"))
      local report, err = unit_plan():run(options({ on_event = at("detach", function()
        aws.loop:interrupt("test")
        aws.loop:interrupt("test")
      end) }))
      assert.is_nil(report)
      assert.is_truthy(err.detached)
      aws:close()
      aws = assert(fleet:connect())
      local now = other and another_policy() or policy
      attach(primary, "", now)
      report = assert(aws:resume(options()))
      if other then
        assert.is_false(report.ok)
        assert.equal(now, fleet:distribution(primary).policy)
        assert.equal(old, fleet:distribution(primary).reference)
        assert.equal(old, fleet:distribution(staging).reference)
        assert.equal(2, #report.conflicts)
      else
        check_done(report)
      end
    end
  end)

  it("interrupted by Ctrl-C on the command line is attached again before it leaves", function()
    local argv = fleet:identity_flags({ "apply", "--journal", fleet:path("journal"), "--yes", "--no-verify", "--poll",
                                        "50ms", "--detach-continuous-deployment", "--only", primary, staging })
    assert(fleet.simulator:control("settings", { propagation = 1 }))
    local process = command.start(argv, { environment = fleet:environment() })
    local client = assert(core.client())
    local deadline = core.monotonic() + 20
    while fleet:distribution(primary).policy ~= "" and core.monotonic() < deadline do client:wait(0.01) end
    client:close()
    os.execute("kill -INT " .. process.pid)
    assert.equal(5, process.wait(20), process.output())
    local output = process.output()
    process.close()
    assert(fleet.simulator:control("settings", { propagation = 0.1 }))
    assert.is_truthy(output:find("interrupted; attaching policy " .. policy, 1, true), output)
    assert.equal(policy, fleet:distribution(primary).policy)
    local rc, out, text = fleet:run(fleet:flags({ "resume", fleet:path("journal"), "--no-verify", "--poll", "50ms" }))
    assert.equal(0, rc, text)
    assert.is_truthy(out:find(("policy %s is attached to %s"):format(policy, primary), 1, true), out)
    assert.same(before, fleet:configurations())
  end)

  -- ── others at work ──────────────────────────────────────────────────────────────────────────────────────────

  it("whose policy was deleted, changed or replaced meanwhile is told and left as it is", function()
    local others = {
      deleted = function() change_policy({ delete = true }) end,
      changed = function() change_policy({ weight = 0.15 }) end,
      replaced = function()
        attach(primary, "", another_policy())
      end,
    }
    for name, act in pairs(others) do
      assert(fleet.simulator:control("reset", {}))
      os.remove(fleet:path("journal"))
      local report = assert(unit_plan():run(options({ on_event = at("settled", act) })))
      assert.is_false(report.ok, name)
      assert.is_false(report.units[1].attached)
      assert.equal(primary, report.conflicts[1].Id)
      assert.is_truthy(report.conflicts[1].message:find("not attached to " .. primary .. " again", 1, true), name)
      assert.are_not.equal(policy, fleet:distribution(primary).policy)
      assert.are_not.equal(old, fleet:distribution(primary).reference)
      -- Told again by a resume; and settled by whoever attaches it.
      report = assert(aws:resume(options()))
      assert.is_false(report.ok, name)
      if name == "changed" then
        attach(primary, "", policy)
        check_done(assert(aws:resume(options())))
      end
    end
  end)

  it("detached by somebody else meanwhile is not changed, nor attached, by anybody here", function()
    local report = assert(unit_plan({ only = "all" }):run(options({ on_event = at("wave", function()
      attach(primary, policy, "")
    end) })))
    assert.is_false(report.ok)
    assert.equal("", fleet:distribution(primary).policy)
    assert.equal(old, fleet:distribution(primary).reference)
    assert.equal(old, fleet:distribution(staging).reference)
    assert.equal(2, #report.conflicts)
    for _ = 1, 2 do
      report = assert(aws:resume(options()))
      assert.is_false(report.ok)
      assert.equal("", fleet:distribution(primary).policy)
    end
    attach(primary, "", policy)
    report = assert(aws:resume(options()))
    before = fleet:configurations()
    check_done(report)
  end)

  it("whose policy is changed or deleted before it is its turn is left alone: that was not reviewed", function()
    for _, fields in ipairs({ { weight = 0.15 }, { delete = true } }) do
      assert(fleet.simulator:control("reset", {}))
      os.remove(fleet:path("journal"))
      local report = assert(unit_plan({ only = "all" }):run(options({ on_event = at("wave", function()
        change_policy(fields)
      end) })))
      assert.is_false(report.ok)
      assert.equal(policy, fleet:distribution(primary).policy)
      assert.equal(old, fleet:distribution(primary).reference)
      assert.equal(old, fleet:distribution(staging).reference)
      assert.equal(2, #report.conflicts)
    end
  end)

  it("of which one was given another certificate before is left alone, both of it, without a detach", function()
    for _, victim in ipairs({ "primary", "staging" }) do
      assert(fleet.simulator:control("reset", {}))
      os.remove(fleet:path("journal"))
      local id, other = victim == "primary" and primary or staging, victim == "primary" and staging or primary
      local foreign = fleet:third()
      local report = assert(unit_plan({ only = "all" }):run(options({ on_event = at("wave", function()
        fleet:interfere(id, old, foreign)
      end) })))
      assert.is_false(report.ok)
      assert.equal(policy, fleet:distribution(primary).policy)
      assert.equal(old, fleet:distribution(other).reference)
      assert.equal(foreign, fleet:distribution(id).reference)
      assert.equal(#free, fleet:record().effects.updates)
      assert.is_false(assert(aws:resume(options())).ok)
      assert.equal(#free, fleet:record().effects.updates)
    end
  end)

  it("of which one is given another certificate while it is detached is attached again, the other changed", function()
    local foreign = fleet:third()
    local report = assert(unit_plan():run(options({ on_event = at("detach", function()
      fleet:interfere(staging, old, foreign)
    end) })))
    assert.is_false(report.ok)
    assert.equal(policy, fleet:distribution(primary).policy)
    assert.equal(report.reference, fleet:distribution(primary).reference)
    assert.equal(foreign, fleet:distribution(staging).reference)
    assert.equal(staging, report.conflicts[1].Id)
    assert.equal(1, #report.conflicts)
  end)

  it("edited by somebody else between our read and our write keeps both changes", function()
    local plan = unit_plan()
    local report = assert(plan:run(options({ on_event = at("detach", function()
      fleet:interfere(primary, "<PriceClass>PriceClass_All</PriceClass>", "<PriceClass>PriceClass_100</PriceClass>")
    end) })))
    assert.is_true(report.ok)
    before[primary] = fleet:distribution(primary).config_sha256
    check_done(report)
    local config = assert(fleet.simulator:control("distributions/" .. primary)).config
    assert.is_truthy(config:find("PriceClass_100", 1, true))
  end)

  it("undone after everything was done is told by a resume", function()
    assert(unit_plan():run(options()))
    attach(primary, policy, "")
    local report = assert(aws:resume(options()))
    assert.is_false(report.ok)
    assert.is_false(report.units[1].attached)
    assert.is_truthy(report.conflicts[1].message:find("is not attached to it any more", 1, true))
    assert.equal("", fleet:distribution(primary).policy)
  end)

  -- ── kills ───────────────────────────────────────────────────────────────────────────────────────────────────

  local function drop_last_line()
    local text = command.read(fleet:path("journal"))
    command.write(fleet:path("journal"), (text:gsub("[^\n]+\n$", "")))
  end

  it("killed around each request is finished by one resume, the policy attached", function()
    local argv = fleet:identity_flags({ "apply", "--journal", fleet:path("journal"), "--yes", "--no-verify",
                                        "--detach-continuous-deployment", "--only", primary, staging })
    local environment = { environment = fleet:environment() }
    -- One whole run says which requests there are; at once Deployed, there is the same number each time.
    assert(fleet.simulator:control("settings", { propagation = 0 }))
    assert.equal(0, (fleet:run(argv)))
    local calls, kills = {}, 0
    for _, entry in ipairs(fleet:record().entries) do calls[#calls + 1] = entry.operation end
    local first
    for number, name in ipairs(calls) do
      if name == "UpdateDistribution" then first = first or number end
    end
    local client = assert(core.client())
    for number = first - 1, #calls do
      local write = calls[number] == "UpdateDistribution"
      for _, way in ipairs(write and { "before", "after", "dropped" } or { "before" }) do
        assert(fleet.simulator:control("reset", {}))
        assert(fleet.simulator:control("settings", { propagation = 0 }))
        os.remove(fleet:path("journal"))
        assert(fleet.simulator:control("faults", { kind = "hang", seconds = 60, skip = number - 1, count = 1,
                                                   when = way == "after" and "after" or "before" }))
        local process = command.start(argv, environment)
        local deadline = core.monotonic() + 20
        local function fired() return fleet.simulator:control("faults").rules[1].fired == 1 end
        while not fired() and core.monotonic() < deadline do client:wait(0.01) end
        assert.is_true(fired(), ("%s %d was not reached: %s"):format(calls[number], number, process.output()))
        os.execute("kill -KILL " .. process.pid)
        assert.is_number(process.wait(20))
        process.close()
        kills = kills + 1
        if way == "dropped" then drop_last_line() end
        assert(fleet.simulator:control("faults", { clear = true }))
        local rc, _, text = fleet:run(fleet:flags({ "resume", fleet:path("journal"), "--no-verify" }))
        local where = ("%s %s, request %d: %s"):format(calls[number], way, number, text)
        assert.equal(0, rc, where)
        assert.equal(policy, fleet:distribution(primary).policy, where)
        assert.same(free, fleet:on(old), where)
        assert.equal(fleet:distribution(primary).reference, fleet:distribution(staging).reference, where)
        assert.same(before, fleet:configurations(), where)
        assert.equal(1, fleet:record().effects.acm_imports, where)
      end
    end
    client:close()
    assert.is_true(kills >= 15, "killed " .. kills)
    assert(fleet.simulator:control("settings", { propagation = 0.1 }))
  end)

  it("has a journal that is refused where it makes no sense", function()
    assert(unit_plan():run(options()))
    local text = command.read(fleet:path("journal"))
    for _, entry in ipairs({
      '{"at":1,"event":"intent","step":"detach","wave":1,"policy":"p"}',
      '{"at":1,"event":"intent","step":"attach","wave":1,"id":"E1"}',
      '{"at":1,"event":"intent","step":"detach","wave":7,"id":"E1","policy":"p"}',
    }) do
      local parsed, err = journal_module.parse("j", text .. entry .. "\n" .. '{"at":1,"event":"end"}\n')
      assert.is_nil(parsed)
      assert.equal("MalformedJournal", err.code)
    end
  end)
end)
