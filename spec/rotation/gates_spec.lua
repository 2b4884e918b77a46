-- What a run waits for between its waves, and what stops it: the real run in virtual time.
local command = require("spec.support.command")
local errors = require("certrotate.errors")
local fmt = require("certrotate.fmt")
local journal_module = require("certrotate.rotation.journal")
local json = require("certrotate.json")
local made = require("spec.rotation.support")
local plan_module = require("certrotate.rotation.plan")
local policy = require("certrotate.rotation.policy")
local status_module = require("certrotate.rotation.status")
local status_report = require("certrotate.report.status")
local virtual = require("spec.support.virtual_account")

-- A Thursday, 12:00 UTC.
local NOON = assert(fmt.parse_time("2026-01-15T12:00:00Z"))

describe("a run", function()
  local directory, number = nil, 0
  before_each(function() directory = virtual.directory() end)
  after_each(function() command.remove(directory) end)

  local function account(count, fields)
    local holders, deploy = {}, {}
    for i = 1, count do
      holders[i] = made.holder("E" .. i, { ssl = i > count - (fields.vip or 0) and "vip" or "sni-only" })
      deploy[holders[i].Id] = fields.deploy and fields.deploy[i] or 100
    end
    number = number + 1
    local options = { holders = holders, deploy = deploy, latency = 1, interval = 0, burst = 1, start = NOON,
                      directory = directory, name = "journal" .. number }
    for key, value in pairs(fields) do if key ~= "deploy" then options[key] = value end end
    return virtual.new(options)
  end

  local function recorder()
    local seen = {}
    return seen, function(event)
      seen[event.type] = seen[event.type] or {}
      table.insert(seen[event.type], event)
    end
  end

  -- As another process finds it: a plan is data, a policy's functions are not in it.
  local function reread(plan) return assert(plan_module.restore(json.decode(plan:encode()), "plan.json")) end

  it("asks the policy's gate between the waves, again when it says so, and once it agreed never again", function()
    local one, asked = account(3, {}), {}
    local plan, gates = one:plan(policy.staged({ { size = 1, gate = function(at)
      asked[#asked + 1] = at
      at.aws.loop:sleep(5)                                -- a gate may wait
      return at.attempt == 3 or 30
    end }, "rest" }))
    local seen, on_event = recorder()
    assert.is_true(assert(one:run(plan, { gates = gates, on_event = on_event })).ok)
    assert.equal(3, #asked)
    assert.same({ wave = 1, name = "1", ids = { "E1" }, reference = made.NEW, fingerprint = made.identity.fingerprint },
      { wave = asked[1].wave, name = asked[1].name, ids = asked[1].ids, reference = asked[1].reference,
        fingerprint = asked[1].fingerprint })
    assert.is_true(asked[2].now >= asked[1].now + 35)
    assert.is_true(one.holders.E2.changed >= asked[3].now + 5 - NOON)
    assert.equal("passed", seen.gate[1].verdict)
    assert(one:resume({ gates = gates }))
    assert.equal(3, #asked)
  end)

  it("stops where a gate does not agree, or raises, or returns nonsense; and asks it again when resumed", function()
    for part, gate in pairs({
      ["error rate is up"] = function() return false, "error rate is up" end,
      ["unwell"] = function() error("unwell") end,
      ["it returned soon"] = function() return "soon" end,
      ["it gave no reason"] = function() end,
    }) do
      local one = account(2, {})
      local plan, gates = one:plan(policy.staged({ { size = 1, gate = gate }, "rest" }))
      local report, err = one:run(plan, { gates = gates })
      assert.is_nil(report)
      assert.equal("GateRefused", err.code)
      assert.is_truthy(err.message:find(part, 1, true), err.message)
      assert.is_nil(one.holders.E2.changed)
      local name = next(gates)
      report = assert(one:resume({ gates = { [name] = function() return true end } }))
      assert.is_true(report.ok)
    end
  end)

  it("finds its gates again in the policy's file, and refuses another file before anything is changed", function()
    local path = directory .. "/policy.lua"
    local text = [[
      return { name = "mine", gates = { looks = function(at) return at.name == "first" end },
               waves = function(holders)
                 return { { name = "first", holders = { holders[1] }, gate = "looks" }, { holders = { holders[2] } } }
               end }]]
    command.write(path, text)
    local mine = assert(require("certrotate.rotation.policy_file").load(path))
    local one = account(2, {})
    local plan = reread((one:plan(mine)))
    assert.equal("mine", plan.policy.name)
    command.write(path, text .. " -- touched")
    local report, err = one:run(plan)
    assert.is_nil(report)
    assert.equal("PolicyChanged", err.code)
    assert.equal(0, one.updates)
    assert.is_true(assert(one:run(plan, { policy_file = path })).ok)

    one = account(2, {})
    plan = reread((one:plan(policy.staged({ { size = 1, gate = function() return true end }, "rest" }))))
    report, err = one:run(plan)
    assert.is_nil(report)
    assert.equal("NoGate", err.code)
    assert.equal(0, one.updates)
  end)

  it("waits for a person, in whatever process, and asks only once", function()
    local one = account(3, {})
    local plan = reread((one:plan(policy.staged({ { size = 1, pause = "look at the shop" },
      { size = 1, pause = true }, "rest" }))))
    local report, err = one:run(plan, { approve = true })   -- nobody was asked yet
    assert.is_nil(report)
    assert.same({ "Paused", "cancelled" }, { err.code, err.kind })
    assert.is_truthy(err.message:find("look at the shop", 1, true))
    assert.equal(1, one.updates)
    report, err = one:resume()
    assert.is_nil(report)
    assert.same({ "Paused", 1 }, { err.code, one.updates })
    report, err = one:resume({ approve = true })            -- the next question is another one
    assert.is_nil(report)
    assert.same({ "Paused", 2 }, { err.code, one.updates })
    local asked
    report, err = one:resume({ approve = function(pause) asked = pause return false end })
    assert.is_nil(report)
    assert.same({ "Paused", 2, 2 }, { err.code, one.updates, asked.wave })
    assert.is_true(assert(one:resume({ approve = function() return true end })).ok)
  end)

  it("says what it waits for: a person, a gate and its reason, the time to watch, a window", function()
    local one, verdict = account(3, {}), false
    local plan, gates = one:plan(policy.staged({
      { size = 1, soak = 600, gate = function() return verdict, "errors\27 are up" end, pause = "look at the shop" },
      { windows = { "20:00-21:00" } } }))
    local at, stop_at
    local function on_event(event)
      if event.type == "waiting" or event.type == "soak" then
        at = event.at
        if event.type == stop_at then one.aws.loop:interrupt("looked") end
      end
    end
    local function held(now)
      local journal = assert(journal_module.load(one.directory .. "/" .. one.name))
      local status = status_module.of(journal, now or one.aws.loop:now())
      return status.held or {}, status_report.text(status, "j")
    end
    stop_at = "soak"
    local report, err = one:run(plan, { gates = gates, on_event = on_event })
    assert.is_nil(report)
    assert.equal("Interrupted", err.code)
    local found, text = held(at)
    assert.same({ wave = 1, name = "1", why = "soak", ["until"] = found["until"] }, found)
    assert.is_true(found["until"] > at and found["until"] <= at + 600)
    assert.is_truthy(text:find("is watched until 2026-01-15 12:1", 1, true), text)
    found = held(found["until"] + 1)                        -- watched, and nobody asked the gate yet
    assert.same({ "gate", "gate of 1" }, { found.why, found.text })

    stop_at = nil
    one:restart()
    report, err = one:resume({ gates = gates, on_event = on_event })
    assert.is_nil(report)
    assert.equal("GateRefused", err.code)
    found, text = held()
    assert.equal("errors\27 are up", found.refused)
    assert.is_truthy(text:find("its gate 'gate of 1' did not agree: errors", 1, true), text)
    assert.is_nil(text:find("\27"))

    verdict = true
    report, err = one:resume({ gates = gates })
    assert.is_nil(report)
    assert.equal("Paused", err.code)
    found, text = held()
    assert.same({ wave = 1, name = "1", why = "pause", text = "look at the shop" }, found)
    assert.is_truthy(text:find("a person must agree before the next: look at the shop", 1, true), text)
    assert.is_truthy(text:find("To go on: certrotate resume j --approve", 1, true), text)

    stop_at = "waiting"
    report, err = one:resume({ gates = gates, approve = true, on_event = on_event })
    assert.is_nil(report)
    assert.equal("Interrupted", err.code)
    found, text = held(at)
    assert.same({ wave = 2, name = "rest", why = "window", ["until"] = NOON + 8 * 3600 }, found)
    assert.is_truthy(text:find("waits for its maintenance window: 2026-01-15 20:00:00 UTC", 1, true), text)
    assert.same({}, (held(NOON + 8 * 3600 + 10)))
    one:restart()

    assert.is_true(assert(one:resume({ gates = gates })).ok)
    assert.same({}, (held()))
  end)

  it("begins changes in maintenance windows only, whole waves where they fit", function()
    local one = account(4, {})
    local plan = one:plan(policy.staged({ { size = 2, windows = { "14:00-15:00" } },
      { windows = { "20:00-20:05 UTC" } } }))
    assert.equal(2 * 3600, plan.waves[1].starts)
    assert.equal(8 * 3600, plan.waves[2].starts)
    local seen, on_event = recorder()
    assert.is_true(assert(one:run(plan, { on_event = on_event })).ok)
    assert.is_true(one.holders.E1.changed >= 2 * 3600 and one.holders.E2.changed < 3 * 3600)
    assert.is_true(one.holders.E3.changed >= 8 * 3600 and one.holders.E4.changed < 8 * 3600 + 300)
    assert.equal("window", seen.waiting[1].why)

    -- Too long for what is left of today's window: it waits for tomorrow's. Begun, it stops at its end and goes on.
    one = account(3, { deploy = { 10, 10, 10 }, latency = 100 })
    plan = one:plan(policy.staged({ "rest" }), { windows = { "11:00-12:05" }, call_seconds = 150 })
    assert.is_true(assert(one:run(plan)).ok)
    assert.is_true(one.holders.E1.changed >= 23 * 3600 and one.holders.E3.changed < 24 * 3600)
    one = account(30, { latency = 100 })
    plan = one:plan(policy.staged({ { name = "all", parallel = 1 } }), { windows = { "12:00-13:00" } })
    assert.is_true(assert(one:run(plan)).ok)
    local days = {}
    for _, holder in ipairs(one.list) do
      local day, second = math.floor((NOON + holder.changed) / 86400), (NOON + holder.changed) % 86400
      days[day] = true
      -- The change was begun within, and took two calls.
      assert.is_true(second >= 43200 and second < 46800 + 200)
    end
    local count = 0
    for _ in pairs(days) do count = count + 1 end
    assert.equal(2, count)
  end)

  it("begins the charged burst where it touches the fewest hours of the clock", function()
    local one = account(3, { vip = 2, start = NOON + 3480, deploy = { 60, 300, 300 } })
    local plan = one:plan(policy.cheapest({ align = true }), { cost = { rounding = "clock" }, deploy_seconds = 300 })
    local report = assert(one:run(plan, { cost = { rounding = "clock" } }))
    local first, last = one:overlap()
    assert.is_true(first >= NOON + 7200 - 3600 and last < NOON + 7200)
    assert.is_true(math.abs(report.charge - 600 / 744) < 1e-6, report.charge)
    assert.is_true(one.holders.E1.changed < 60, "what is not charged does not wait")
    local other = account(3, { vip = 2, start = NOON + 3480, deploy = { 60, 300, 300 } })
    local dearer = assert(other:run(other:plan(policy.cheapest(), { cost = { rounding = "clock" } }),
      { cost = { rounding = "clock" } }))
    assert.is_true(dearer.charge > report.charge)
  end)

  it("goes on after failures, and stops when there are more than the budget", function()
    local failing = {}
    local function run(failures, fails)
      failing = fails
      local one = account(12, {})
      one.fail = function(id)
        return failing[id] and errors.new({ kind = "service", code = "AccessDenied", message = "no to " .. id })
      end
      local plan = one:plan(policy.staged({ { size = 10, parallel = 8 }, "rest" }),
        { settings = { verify = false, dedicated_ip_quota = 100, failures = failures } })
      return one, one:run(plan)
    end
    local one, report, err = run(2, { E1 = true, E8 = true })
    assert.is_nil(err)
    assert.is_false(report.ok)
    assert.same({ "E1", "E8" }, report.left_behind)
    assert.equal(10, report.changed)
    -- What failed is tried again, and the rest is not touched.
    failing = {}
    report = assert(one:resume())
    assert.is_true(report.ok)
    assert.equal(12, one.updates)

    one, report, err = run(1, { E1 = true, E2 = true, E3 = true })
    assert.is_nil(report)
    assert.equal("FailureBudget", err.code)
    assert.equal("service", err.kind)
    assert.is_nil(one.holders.E8.changed)
    assert.is_true(one.updates < 12)
    failing = {}
    assert.is_true(assert(one:resume()).ok)

    -- Without a budget the first failure is the last word.
    one, report, err = run(nil, { E1 = true })
    assert.is_nil(report)
    assert.equal("AccessDenied", err.code)
    assert.is_nil(one.holders.E8.changed)
  end)

  it("shrinks its concurrency by half with each failure", function()
    local budget = require("certrotate.rotation.run.budget")
    local one = account(1, {})
    local run = require("certrotate.rotation.run.base").new({ aws = one.aws, state = {},
      plan = { settings = { failures = 2 } } })
    local list, running, most = {}, 0, {}
    for i = 1, 24 do list[i] = { Id = "E" .. i } end
    assert(one.aws.loop:await(one.aws.loop:spawn(function()
      return budget.each(run, list, 8, function(holder)
        running = running + 1
        most[run.failures] = math.max(most[run.failures] or 0, running)
        one.aws.loop:sleep(10)
        running = running - 1
        if holder.Id ~= "E8" and holder.Id ~= "E14" then return true end
        run.failed[holder.Id] = errors.new({ kind = "service", code = "X", message = "x" })
        return nil, run.failed[holder.Id]
      end)
    end)))
    assert.equal(8, most[0])
    -- After a failure: those that were on their way, then four, then two.
    assert.is_true(most[1] <= 8 and most[2] <= 4)
    assert.equal(0, running)
    assert.equal(2, run.failures)
  end)

  it("needs as many connections as the plan says to be served the new certificate", function()
    local function serving(share, wanted)
      local one = account(1, {})
      one.serve = function(params, _, count)
        if count % 10 < share then return { matches = true, fingerprint = params.fingerprint } end
        return { matches = false, fingerprint = ("cd"):rep(32), not_after = NOON }
      end
      local plan = one:plan(policy.staged({ { name = "all", verify = wanted } }), { settings = { verify = true,
        dedicated_ip_quota = 100 } })
      return one, one:run(plan)
    end
    local one, report = serving(10, { probes = 20, need = 20 })
    assert.is_true(report.ok)
    assert.equal(20, one.probes)
    one, report = serving(7, { probes = 10, need = 7 })
    assert.is_true(report.ok)
    assert.equal(10, one.probes)
    local _, err
    one, _, err = serving(7, { probes = 10, need = 8 })
    assert.equal("NotServed", err.code)
    assert.is_true(one.probes > 100, "asked again for two minutes")
    assert.is_true(one.script.time > 200 and one.script.time < 600)
  end)

  it("stopped at any moment, leaves what a resume finishes, gates and windows included", function()
    local total
    local function rotation(stop_at)
      local one = account(5, { vip = 2 })
      local plan, gates = one:plan(policy.staged({ { size = 1, soak = 60, gate = function(at)
        return at.attempt > 1 or 20
      end }, { size = 2, parallel = 2, windows = { "12:10-12:30" } }, { align = true, verify = 3, parallel = 2 } }),
        { settings = { verify = true, dedicated_ip_quota = 100, failures = 1 } })
      local turns, waits, stopped = 0, 0, 0
      one.script.on_wait = function()
        waits = waits + 1
        if waits ~= stop_at then return end
        one.aws.loop:interrupt("TERM")
      end
      local report, err = one:run(plan, { gates = gates })
      while not report do
        assert.equal("cancelled", err.kind, tostring(err))
        stopped, turns = stopped + 1, turns + 1
        assert.is_true(turns < 5)
        one:restart()
        report, err = one:resume({ gates = gates })
        -- Stopped before anything was begun.
        if err and err.code == "FileUnreadable" then report, err = one:run(plan, { gates = gates }) end
      end
      assert.is_true(report.ok)
      assert.equal(5, one.updates)                        -- each exactly once
      return waits, stopped
    end
    total = rotation(nil)
    assert.is_true(total > 20, total)
    local stops = 0
    for at = 1, total do
      local _, stopped = rotation(at)
      stops = stops + stopped
    end
    assert.is_true(stops > total * 0.8, ("%d of %d"):format(stops, total))
  end)

  it("writes down how long deployments took, and the next plan begins with the longest", function()
    local one = account(4, { vip = 3, deploy = { 100, 120, 400, 200 } })
    assert(one:run((one:plan(policy.cheapest()))))
    local times, mean = assert(require("certrotate.rotation.journal").load(directory .. "/" .. one.name)):deploy_times()
    for id, seconds in pairs({ E1 = 100, E2 = 120, E3 = 400, E4 = 200 }) do
      assert.is_true(times[id] >= seconds - 2 and times[id] <= seconds + 25, ("%s: %s"):format(id, tostring(times[id])))
    end
    assert.is_true(mean > 190 and mean < 240)
    local plan = account(4, { vip = 3 }):plan(policy.cheapest(), { expected = times, deploy_seconds = mean })
    local order = {}
    for i, holder in ipairs(plan.waves[2].holders) do order[i] = holder.Id end
    assert.equal("E3 E4 E2", table.concat(order, " "))
  end)
end)
