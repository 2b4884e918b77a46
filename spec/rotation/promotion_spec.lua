-- Promotion of a staging distribution copies its certificate to the primary: after a rotation, and during one, that must
-- not bring the old certificate back.
local fleet_module = require("spec.support.fleet")

describe("a staging distribution promoted", function()
  local fleet, aws, old, primary, staging, policy

  setup(function()
    fleet = fleet_module.start({ distributions = 6, users = 3, vip = 0, policies = 1, odd = false, propagation = 0.1,
                                 store = "acm", seed = 11 })
  end)
  teardown(function() fleet:stop() end)

  before_each(function()
    assert(fleet.simulator:control("reset", {}))
    os.remove(fleet:path("journal"))
    aws, old = assert(fleet:connect()), fleet.simulator.old_reference
    for _, one in ipairs(fleet:state().distributions) do
      if one.policy ~= "" then primary, policy = one.id, one.policy end
      if one.staging and one.reference == old then staging = one.id end
    end
  end)
  after_each(function() aws:close() end)

  local function attach(from, to)
    fleet:interfere(primary, "<ContinuousDeploymentPolicyId>" .. from, "<ContinuousDeploymentPolicyId>" .. to)
  end

  local function promote()
    local status, body = fleet:promote(primary, staging)
    assert.equal(200, status, body)
  end

  it("brings the old certificate back where only the primary was changed, and that is told", function()
    local aliases = fleet:distribution(primary).aliases
    attach(policy, "")
    local report = assert(fleet:plan(aws, "careful", { only = { primary } }):run(fleet:run_options()))
    assert.is_true(report.ok)
    attach("", policy)
    promote()
    assert.equal(old, fleet:distribution(primary).reference)
    assert.same(aliases, fleet:distribution(primary).aliases)
    assert.equal(policy, fleet:distribution(primary).policy)
    assert.is_false(fleet:distribution(primary).staging)
    assert(fleet.simulator:control("clock", { pass = 60 }))
    local again = assert(aws:resume(fleet:run_options()))
    assert.is_false(again.ok)
    assert.same({ primary }, again.left_behind)
    local kept, err = aws:retire({ journal = fleet:path("journal"), keep = 0, patience = 1 })
    assert.is_nil(kept)
    assert.equal("StillInUse", err.code)
  end)

  it("after a rotation leaves the new certificate, and the old one can be retired", function()
    local plan = fleet:plan(aws, "careful", { continuous_deployment = "detach" })
    assert.is_truthy(tostring(plan):find("staging", 1, true))
    local report = assert(plan:run(fleet:run_options()))
    assert.is_true(report.ok)
    promote()
    assert.equal(report.reference, fleet:distribution(primary).reference)
    assert(fleet.simulator:control("clock", { pass = 60 }))
    assert.is_true(assert(aws:retire({ journal = fleet:path("journal"), keep = 0 })).deleted)
  end)

  it("during a rotation, before or after staging or the primary is changed, ends right", function()
    for _, moment in ipairs({ "imported", "staging", "other", "primary" }) do
      assert(fleet.simulator:control("reset", {}))
      os.remove(fleet:path("journal"))
      attach(policy, "")
      assert(fleet.simulator:control("clock", { pass = 60 }))
      local plan = fleet:plan(aws, "careful")
      assert.equal(staging, plan.waves[1].holders[1].Id)   -- so that no moment has the primary alone on the new one
      local done = false
      local report = assert(plan:run(fleet:run_options({ on_event = function(event)
        local now = event.type == "swap" and (event.id == staging and "staging" or event.id == primary and "primary" or "other")
          or event.type == "wave" and event.wave == 1 and "imported"
        if now == moment and not done then
          done = true
          attach("", policy)
          promote()
          attach(policy, "")
          assert(fleet.simulator:control("clock", { pass = 60 }))
        end
      end })))
      assert.is_true(done, moment)
      assert.is_true(report.ok, moment .. ": " .. require("certrotate.json").encode(report))
      assert.equal(report.reference, fleet:distribution(primary).reference, moment)
      assert.equal(report.reference, fleet:distribution(staging).reference, moment)
      assert.same({}, fleet:on(old), moment)
    end
  end)

  it("is refused by CloudFront while a unit has its policy detached, which changes nothing", function()
    local status
    local report = assert(fleet:plan(aws, "careful", { continuous_deployment = "detach" }):run(fleet:run_options({
      on_event = function(event)
        if event.type == "swap" and event.id == staging then status = fleet:promote(primary, staging) end
      end })))
    assert.equal(400, status)
    assert.is_true(report.ok)
    assert.equal(report.reference, fleet:distribution(primary).reference)
    assert.equal(policy, fleet:distribution(primary).policy)
  end)
end)
