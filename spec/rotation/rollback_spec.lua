-- The way back: after the end, from the middle, interrupted itself, beside others, and where there is none.
local command = require("spec.support.command")
local fleet_module = require("spec.support.fleet")
local journal_module = require("certrotate.rotation.journal")
local status = require("certrotate.rotation.status")

describe("a rollback", function()
  local fleet, aws, old, users, before

  local function fresh(options)
    fleet = fleet_module.start({ distributions = 8, users = 5, vip = 2, propagation = 0.1, seed = 21 }, options)
    aws = assert(fleet:connect())
    old = fleet.simulator.old_reference
    users, before = fleet:on(old), fleet:configurations()
  end
  after_each(function()
    if fleet then fleet:stop() end
    fleet = nil
  end)

  local function options(more) return fleet:run_options(more) end
  local function again()
    aws = fleet:again(aws)
  end

  -- A rotation that is interrupted when the n-th holder was changed.
  local function interrupted_after(n, policy_options)
    local plan = fleet:plan(aws, "cheapest", { policy_options = policy_options })
    local order = {}
    local report, err = plan:run(options({ on_event = function(event)
      if event.type ~= "swap" then return end
      order[#order + 1] = event.id
      if #order == n then aws.loop:interrupt("test") end
    end }))
    assert.is_nil(report)
    assert.equal("Interrupted", err.code)
    again()
    return order
  end

  local function all_back()
    assert.same(users, fleet:on(old))
    assert.same(before, fleet:configurations())
  end

  for _, store in ipairs({ "acm", "iam" }) do
    it("takes a finished rotation back, and the new certificate can be retired (" .. store .. ")", function()
      fresh({ store = store })
      local there = assert(fleet:plan(aws, "cheapest"):run(options()))
      assert.same({}, fleet:on(old))
      -- Meanwhile only the new one is charged.
      assert(fleet.simulator:control("clock", { advance = 7200 }))
      again()
      assert(aws:inventory())
      local report = assert(aws:rollback(options({ edge = nil })))
      assert.is_true(report.ok)
      assert.is_true(report.rolled_back)
      assert.equal(old, report.reference)
      assert.equal(#users, report.changed)
      assert.same({}, report.left_behind)
      assert.is_true(report.overlap_seconds > there.overlap_seconds, "the way back is an overlap too")
      local meter = fleet.simulator:control("meter").overlap_seconds
      assert.is_true(math.abs(report.overlap_seconds - meter) < 2,
        ("%.2f told, %.2f metered"):format(report.overlap_seconds, meter))
      local cost = require("certrotate.rotation.cost")
      assert.is_true(report.charge < 2.5 * cost.charge(there.started, there.started + 3600), "an hour begun each")
      all_back()
      assert.equal("rolled back", assert(status.read(fleet:path("journal"))).phase)
      local resumed, err = aws:resume(options())
      assert.is_nil(resumed)
      assert.equal("RolledBack", err.code)
      -- What nothing uses now is the new one. The old one stays whatever is asked.
      local gone = assert(aws:retire({ journal = fleet:path("journal"), keep = 0, state_directory = fleet:path("state") }))
      assert.is_true(gone.deleted)
      assert.equal(there.reference, gone.reference)
      all_back()
      assert.equal(1, fleet:record().effects[store .. "_deletes"])
      assert.truthy(assert(aws:inventory()):certificate(old))
    end)
  end

  it("goes back from the middle, the newest first, and shows viewers the old certificate", function()
    fresh({ vip = 0 })
    local order = interrupted_after(3, { parallel = 1 })
    assert.equal(2, #fleet:on(old))
    local back = {}
    local report = assert(aws:rollback(options({ verify = true, verify_within = 20, on_event = function(event)
      if event.type == "swap" then back[#back + 1] = event.id end
      if event.type == "verified" then back.seen = (back.seen or 0) + event.seen end
    end })))
    assert.is_nil(report.event_problem)
    assert.is_true(report.ok)
    for i, id in ipairs(order) do assert.equal(id, back[#order + 1 - i]) end
    assert.is_true(back.seen >= 1)
    all_back()
  end)

  it("interrupted itself goes on, and resuming forwards is refused", function()
    fresh()
    assert(fleet:plan(aws, "cheapest"):run(options()))
    local count = 0
    local report, err = aws:rollback(options({ on_event = function(event)
      if event.type == "swap" then
        count = count + 1
        if count == 2 then aws.loop:interrupt("test") end
      end
    end }))
    assert.is_nil(report)
    assert.equal("Interrupted", err.code)
    assert.is_true(err.rollback)
    again()
    assert.equal("rolling back", assert(status.read(fleet:path("journal"))).phase)
    report, err = aws:resume(options())
    assert.is_nil(report)
    assert.equal("RolledBack", err.code)
    assert.truthy(err.message:find("certrotate rollback " .. fleet:path("journal"), 1, true), err.message)
    report, err = aws:retire({ journal = fleet:path("journal"), keep = 0, state_directory = fleet:path("state") })
    assert.is_nil(report)
    assert.equal("NotFinished", err.code)
    assert.is_true(assert(aws:rollback(options())).ok)
    all_back()
  end)

  it("of a rotation that changed nobody changes nobody", function()
    fresh()
    local plan = fleet:plan(aws, "cheapest")
    local report = plan:run(options({ on_event = function(event)
      if event.type == "import" then aws.loop:interrupt("test") end
    end }))
    assert.is_nil(report)
    again()
    report = assert(aws:rollback(options()))
    assert.is_true(report.ok)
    assert.equal(0, report.changed)
    all_back()
  end)

  it("leaves alone what somebody else changed meanwhile, and says so", function()
    fresh({ vip = 0 })
    local report = assert(fleet:plan(aws, "cheapest"):run(options()))
    local third = assert(fleet.simulator:control("certificates", {
      certificate = command.read(fleet.simulator.files.new_certificate),
      private_key = command.read(fleet.simulator.files.new_key), chain = command.read(fleet.simulator.files.new_chain),
      reference = "arn:aws:acm:us-east-1:111122223333:certificate/33333333-3333-4333-8333-333333333333",
    })).reference
    fleet:interfere(users[2], report.reference, third)
    report = assert(aws:rollback(options()))
    assert.is_false(report.ok)
    assert.equal(1, #report.conflicts)
    assert.equal(users[2], report.conflicts[1].Id)
    assert.same({ users[2] }, fleet:on(third))
    assert.equal(#users - 1, #fleet:on(old))
  end)

  it("takes back a run that failed in the middle, and tells who was deleted since", function()
    fresh({ vip = 0, odd = false })
    local plan = fleet:plan(aws, "cheapest", { policy_options = { parallel = 1 } })
    local order = {}
    for i, holder in ipairs(plan:holders()) do order[i] = holder.Id end
    assert(fleet.simulator:control("faults", { kind = "error", operation = "UpdateDistribution", resource = order[3],
                                               status = 400, code = "InvalidArgument", message = "no" }))
    local report, err = plan:run(options())
    assert.is_nil(report)
    assert.equal("InvalidArgument", err.code)
    assert.equal(3, #fleet:on(old))
    assert(fleet.simulator:control("faults", { clear = true }))
    local victim
    for i = 1, 2 do
      for _, distribution in ipairs(fleet:state().distributions) do
        if distribution.id == order[i] and distribution.enabled and not distribution.staging then
          victim = victim or order[i]
        end
      end
    end
    fleet:delete(victim)
    report = assert(aws:rollback(options()))
    assert.is_false(report.ok)
    assert.equal(1, #report.conflicts)
    assert.equal(victim, report.conflicts[1].Id)
    assert.equal(#users - 1, #fleet:on(old))
    assert.equal(1, report.changed)
  end)

  it("is refused before anything when a store cannot be read, or has no place for two certificates", function()
    fresh()
    assert(fleet:plan(aws, "cheapest"):run(options()))
    local text, effects = command.read(fleet:path("journal")), fleet:record().effects.updates
    local function refused(code, more)
      local report, err = aws:rollback(options(more))
      assert.is_nil(report)
      assert.equal(code, err.code)
      assert.equal(text, command.read(fleet:path("journal")))
      assert.equal(effects, fleet:record().effects.updates)
      return err
    end
    assert.matches("on the way back", refused("DedicatedIpQuota", { dedicated_ip_quota = 1 }).message, 1, true)
    assert(fleet.simulator:control("faults", { kind = "error", operation = "GetCertificate", status = 400,
                                               code = "AccessDeniedException", message = "no" }))
    refused("AccessDeniedException")
    assert(fleet.simulator:control("faults", { clear = true }))
    assert.is_true(assert(aws:rollback(options())).ok)
    all_back()
  end)

  it("is refused before anything when the old certificate is expired", function()
    fresh()
    interrupted_after(2)
    local changed = fleet:on(old)
    local ends = assert(aws:inventory()):certificate(old).not_after
    assert(fleet.simulator:control("clock", { advance = math.ceil(ends - aws.loop:now()) + 60 }))
    local count = fleet:record().effects.updates
    local report, err = aws:rollback(options())
    assert.is_nil(report)
    assert.equal("OldCertificateExpired", err.code)
    assert.equal("policy", err.kind)
    assert.same(changed, fleet:on(old))
    assert.equal(count, fleet:record().effects.updates)
    assert.is_nil(assert(journal_module.load(fleet:path("journal"))):state().forward)
  end)

  it("is refused before anything when the old certificate is retired, or gone", function()
    fresh()
    assert(fleet:plan(aws, "cheapest"):run(options()))
    local where = { journal = fleet:path("journal"), keep = 0, state_directory = fleet:path("state") }
    assert.is_true(assert(aws:retire(where)).deleted)
    local report, err = aws:rollback(options())
    assert.is_nil(report)
    assert.equal("OldCertificateGone", err.code)
    -- A journal that does not know it: the store does.
    local text = command.read(fleet:path("journal")):gsub('[^\n]*"step":"retire"[^\n]*\n', "")
    command.write(fleet:path("journal"), text)
    report, err = aws:rollback(options())
    assert.is_nil(report)
    assert.equal("OldCertificateGone", err.code)
    assert.same({}, fleet:on(old))
  end)

  it("takes a continuous deployment back as a unit, its policy attached in the end", function()
    fresh({ distributions = 6, users = 3, vip = 0, policies = 1, odd = false, seed = 11 })
    assert(fleet:plan(aws, "cheapest", { continuous_deployment = "detach" }):run(options()))
    assert.same({}, fleet:on(old))
    local steps = {}
    local report = assert(aws:rollback(options({ on_event = function(event)
      if event.type == "detach" or event.type == "attach" then steps[#steps + 1] = event.type end
    end })))
    assert.is_true(report.ok)
    assert.same({ "detach", "attach" }, steps)
    assert.same(users, fleet:on(old))
    for _, unit in ipairs(report.units) do assert.is_true(unit.attached) end
  end)

  it("on the command line looks first, and does it with --yes", function()
    fresh()
    interrupted_after(2)
    local journal = fleet:path("journal")
    local changed = fleet:on(old)
    local code, _, problems = fleet:run(fleet:flags({ "rollback", journal }))
    assert.equal(0, code, problems)
    assert.truthy(problems:find("Gives back " .. old, 1, true), problems)
    assert.truthy(problems:find("Nothing was changed", 1, true), problems)
    assert.same(changed, fleet:on(old))
    local out
    code, out, problems = fleet:run(fleet:flags({ "rollback", journal, "--yes", "--poll", "100ms" }))
    assert.equal(0, code, problems)
    assert.truthy(out:find("changed back in", 1, true), out)
    assert.truthy(out:find("To delete it: certrotate retire " .. journal, 1, true), out)
    all_back()
    code, out = fleet:run(fleet:flags({ "rollback", journal, "--yes" }))
    assert.equal(3, code, out)
    assert.is_nil(out:find("Still on", 1, true), out)
    -- Whoever asks again is told of somebody who has the new certificate since.
    fleet:interfere(changed[1], old, assert(journal_module.load(journal)):state().forward.to)
    code, out = fleet:run(fleet:flags({ "rollback", journal, "--yes" }))
    assert.equal(3, code, out)
    assert.truthy(out:find("Still on the new certificate: " .. changed[1], 1, true), out)
    code, out = fleet:run({ "status", journal })
    assert.equal(0, code)
    assert.truthy(out:find("rolled back; the new certificate is kept", 1, true), out)
  end)
end)
