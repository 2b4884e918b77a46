-- What a report adds up to, on states made by hand.
local closing = require("certrotate.rotation.closing")
local cost = require("certrotate.rotation.cost")
local plan_module = require("certrotate.rotation.plan")
local policy = require("certrotate.rotation.policy")
local made = require("spec.rotation.support")

local T = 1768478400

local function plan_of(holders)
  return assert(plan_module.compute({
    from = made.OLD, store = "acm", identity = made.identity, now = T, endpoint = "", findings = {}, left_out = {},
    policy = policy.cheapest(), holders = holders, deploy_seconds = 300,
  }))
end

local function state_of(changed, more)
  local state = { to = made.NEW, started = T, swapped = {}, begun = {}, conflicts = {}, settled = {} }
  for id, at in pairs(changed) do state.swapped[id], state.begun[id] = { changed = true, at = at + 1 }, at end
  for key, value in pairs(more or {}) do state[key] = value end
  return state
end

local nobody = { left_behind = {}, foreign = {} }

describe("closing", function()
  local holders = { made.holder("E1"), made.holder("E2", { ssl = "vip" }), made.holder("E3", { ssl = "vip" }),
                    made.holder("E4", { ssl = "vip", Enabled = false }) }

  it("overlap runs from the first charged change to the last charged deployment", function()
    local state = state_of({ E1 = T, E2 = T + 100.5, E3 = T + 90.25, E4 = T + 1 }, { last_charged = T + 400 })
    local report = closing.report(plan_of(holders), state, nobody, { now = T + 500, journal = "j" })
    assert.equal(309.75, report.overlap_seconds)
    assert.equal(cost.charge(T + 90.25, T + 400), report.charge)
    assert.equal(4, report.changed)
    assert.is_true(report.ok)
  end)

  it("a charged holder that was announced and left alone begins no overlap", function()
    local state = state_of({ E1 = T }, { conflicts = { E2 = "names another" } })
    state.begun.E2 = T + 5
    local report = closing.report(plan_of(holders), state, nobody, { now = T + 500, journal = "j" })
    assert.equal(0, report.overlap_seconds)
    assert.equal(0, report.charge)
    assert.equal(0, report.one_at_a_time.charge)
    assert.is_false(report.ok)
  end)

  it("one at a time is the plan's own sum, with what was seen instead of what was assumed", function()
    local plan = plan_of(holders)
    local state = state_of({ E1 = T, E2 = T, E3 = T }, { last_charged = T + 400 })
    local report = closing.report(plan, state, nobody, { now = T + 500, journal = "j" })
    assert.equal(plan.prediction.one_at_a_time.overlap_seconds, report.one_at_a_time.overlap_seconds)
    report = closing.report(plan, state, nobody, { now = T + 500, journal = "j", deploy_seconds = 100, call_seconds = 2 })
    assert.equal(202, report.one_at_a_time.overlap_seconds)
  end)

  it("somebody found elsewhere is a conflict once, and a rotation looked at again took no longer", function()
    local state = state_of({ E1 = T }, { conflicts = { E1 = "first" }, ended = T + 50 })
    local report = closing.report(plan_of(holders), state, { left_behind = { "E2" }, foreign = { E1 = "again", E3 = "x" } },
      { now = T + 90000, journal = "j" })
    assert.same({ { Id = "E1", message = "first" }, { Id = "E3", message = "x" } }, report.conflicts)
    assert.equal(50, report.seconds)
    assert.is_false(report.ok)
  end)

  it("a prediction does not count a soak behind the last wave", function()
    local function one(soak)
      return { { name = "a", holders = { holders[1] }, parallel = 1, soak = soak, settle = "holder", reason = "" } }
    end
    local context = { now = T, deploy_seconds = 10, call_seconds = 1 }
    assert.equal(plan_module.predict(one(0), context).seconds, plan_module.predict(one(600), context).seconds)
  end)
end)
