-- Reimports on the simulator: everybody at once, looked at until served; interrupted, refused, by halves.
local core = require("certrotate.core")
local fleet_module = require("spec.support.fleet")
local certrotate = require("certrotate")
local method = require("certrotate.rotation.method")

describe("a reimport", function()
  local fleet, aws

  local function fresh(options)
    fleet = fleet_module.start({ distributions = 8, users = 5, vip = 2, propagation = 0.1, seed = 31 }, options)
    aws = assert(fleet:connect())
    return fleet.simulator.old_reference
  end
  after_each(function()
    if fleet then fleet:stop() end
    fleet = nil
  end)

  local function fingerprint(reference) return assert(method.stored(aws, reference)).fingerprint end
  local function plan_of(options)
    local all = { method = "reimport", verify = true }
    for key, value in pairs(options or {}) do all[key] = value end
    return fleet:plan(aws, "cheapest", all)
  end
  local function effects() return fleet:record().effects end

  it("puts the new certificate under the same ARN, and is done when every holder is seen to serve it", function()
    local old = fresh({ settings = { reimport_propagation = 1.5 } })
    local users, before = fleet:on(old), fleet:configurations()
    local plan = plan_of()
    assert.equal("reimport", plan.method)
    assert.equal(#users, #plan:holders())
    local seen, looked, imported = {}, 0, nil
    local report = assert(plan:run(fleet:run_options({ on_event = function(event)
      seen[event.type] = true
      if event.type == "reimport" then imported = core.monotonic() end
      if event.type == "serving" then looked = looked + 1 end
    end })))
    assert.is_true(report.ok)
    assert.is_nil(report.event_problem)
    assert.equal("reimport", report.method)
    assert.equal(old, report.reference)
    assert.equal(#users, report.changed)
    assert.equal(0, report.charge)
    assert.equal(0, report.overlap_seconds)
    assert.is_true(seen.reimport and seen.verified and seen.done)
    assert.is_true(looked >= 3, "several looks in a row")
    assert.is_true(core.monotonic() > imported)
    assert.equal(fleet:new_identity():fingerprint(), fingerprint(old))
    -- Nothing else happened: no second certificate, no distribution changed.
    assert.same(users, fleet:on(old))
    assert.same(before, fleet:configurations())
    assert.equal(1, effects().acm_reimports)
    assert.is_nil(effects().acm_imports)
    assert.is_nil(fleet:record().operations.UpdateDistribution)
    -- In the picture each is on its way until it was seen.
    local journal = assert(require("certrotate.rotation.journal").load(fleet:path("journal")))
    local timeline = require("certrotate.report.timeline")
    local picture = assert(timeline.of(journal))
    for _, lane in ipairs(picture.lanes) do assert.is_true(lane.deployed > lane.changed, lane.Id) end
    local svg = timeline.svg(picture)
    assert.truthy(svg:find("reimports " .. old, 1, true))
    assert.equal(#users, select(2, svg:gsub("Seen [^<]*: new certificate", "")))
    -- A second resume finds it done.
    local again = assert(aws:resume(fleet:run_options()))
    assert.is_true(again.ok)
    assert.equal(1, effects().acm_reimports)
    -- There is nothing to retire.
    local retired, err = require("certrotate.rotation.retire").run(aws, { journal = fleet:path("journal"), keep = 0 })
    assert.is_nil(retired)
    assert.equal("NothingToRetire", err.code)
    assert.is_nil(effects().acm_deletes)
  end)

  it("interrupted while it is looked at goes on looking, and does not import again", function()
    local old = fresh({ settings = { reimport_propagation = 3600 } })
    local report, err = plan_of():run(fleet:run_options({ on_event = function(event)
      if event.type == "serving" then aws.loop:interrupt("test") end
    end }))
    assert.is_nil(report)
    assert.equal("Interrupted", err.code)
    assert.equal("changing", assert(require("certrotate.rotation.status").read(fleet:path("journal"))).phase)
    aws:close()
    assert(fleet.simulator:control("clock", { pass = 3700 }))
    aws = assert(fleet:connect())
    report = assert(aws:resume(fleet:run_options()))
    assert.is_true(report.ok)
    assert.equal(1, effects().acm_reimports)
    assert.equal(fleet:new_identity():fingerprint(), fingerprint(old))
  end)

  it("that does not reach viewers in its time stops and says so; without looking it can be ended", function()
    fresh({ settings = { reimport_propagation = 86400 * 3 } })
    local report, err = plan_of():run(fleet:run_options({ verify_within = 0.3 }))
    assert.is_nil(report)
    assert.equal("NotServed", err.code)
    report, err = aws:resume(fleet:run_options({ verify_within = 0.3 }))
    assert.is_nil(report)
    assert.equal("NotServed", err.code)
    assert.is_true(assert(aws:resume(fleet:run_options({ verify = false }))).ok)
    assert.equal(1, effects().acm_reimports)
  end)

  it("whose answer was lost, or that was refused for its rate, is made once", function()
    for _, fault in ipairs({
      { kind = "reset", when = "after" }, { kind = "reset", when = "before" }, { kind = "throttle" },
      { kind = "error", status = 500, when = "after" }, { kind = "truncate" },
    }) do
      fresh()
      fault.operation, fault.count = "ImportCertificate", 1
      local plan = plan_of()
      assert(fleet.simulator:control("faults", fault))
      local report, err = plan:run(fleet:run_options())
      assert.is_not_nil(report, tostring(err))
      assert.is_true(report.ok)
      assert.equal(1, effects().acm_reimports)
      aws:close()
      fleet:stop()
    end
    aws, fleet = nil, nil
  end)

  -- Somebody else puts the certificate `file` of the simulator's under the ARN.
  local function reimported_by_another(reference, certificate, key, chain)
    local other = assert(certrotate.identity({ certificate = certificate, private_key = key, chain = chain }))
    assert(aws.steps:reimport({ identity = other, reference = reference, from = fingerprint(reference) }))
  end

  it("of what somebody else has reimported meanwhile is refused, before it and after", function()
    local old = fresh()
    local plan = plan_of()
    local pki = assert(require("certrotate.simulator.authority").open(fleet.directory))
    assert(pki:make({ { file = "third", key = "rsa:2048", names = fleet:new_identity():leaf().names } }))
    local files = pki:files("third")
    reimported_by_another(old, files.certificate, files.key)
    local third = fingerprint(old)
    local report, err = plan:run(fleet:run_options())
    assert.is_nil(report)
    assert.equal("PlanOutdated", err.code)
    assert.is_nil(err.journal)
    assert.equal(third, fingerprint(old))
    -- Between the import and its end: left as it is, told.
    plan = plan_of()
    report, err = plan:run(fleet:run_options({ on_event = function(event)
      if event.type == "reimport" then aws.loop:interrupt("test") end
    end }))
    assert.is_nil(report)
    assert.equal("Interrupted", err.code)
    aws = fleet:again(aws)
    reimported_by_another(old, files.certificate, files.key)
    report, err = aws:resume(fleet:run_options({ verify = false }))
    assert.is_nil(report)
    assert.equal("ForeignCertificate", err.code)
    assert.equal(third, fingerprint(old))
  end)

  it("is refused beforehand with the reason, and auto chooses it where a swap cannot be carried out", function()
    local old = fresh({ new_key_type = "rsa:3072" })
    local plan, err = aws:plan({ method = "reimport", replace = old, with = fleet:new_identity() })
    assert.is_nil(plan)
    assert.equal("ReimportKeyType", err.code)
    aws:close()
    fleet:stop()
    old = fresh()
    local function ask(options)
      local all = { method = "auto", replace = old, with = fleet:new_identity(), trust = fleet.simulator.trust_file }
      for key, value in pairs(options) do all[key] = value end
      return aws:plan(all)
    end
    plan = assert(ask({ dedicated_ip_quota = 4 }))
    assert.equal("swap", plan.method)
    assert.matches("auto chose swap", plan.method_reason, 1, true)
    plan = assert(ask({ dedicated_ip_quota = 1 }))
    assert.equal("reimport", plan.method)
    assert.matches("a swap is ruled out", plan.method_reason, 1, true)
    assert.matches("auto chose reimport", tostring(plan), 1, true)
    plan, err = ask({ dedicated_ip_quota = 1, verify = false })
    assert.is_nil(plan)
    assert.equal("DedicatedIpQuota", err.code)
    assert.has_error(function() ask({ method = "copy" }) end)
  end)

  it("is refused for the IAM store with the reason", function()
    local old = fresh({ store = "iam" })
    local plan, err = aws:plan({ method = "reimport", replace = old, with = fleet:new_identity() })
    assert.is_nil(plan)
    assert.equal("NoReimport", err.code)
    plan = assert(aws:plan({ method = "auto", replace = old, with = fleet:new_identity(), dedicated_ip_quota = 4,
                             trust = fleet.simulator.trust_file }))
    assert.equal("swap", plan.method)
    assert.matches("IAM store", plan.method_reason, 1, true)
  end)

  it("changes those under a continuous deployment too, without touching their policy", function()
    local old = fresh({ policies = 1, distributions = 8, users = 6 })
    local users = fleet:on(old)
    local plan = plan_of()
    assert.equal(#users, #plan:holders())
    assert.is_true(assert(plan:run(fleet:run_options())).ok)
    assert.is_nil(fleet:record().operations.UpdateDistribution)
  end)
end)
