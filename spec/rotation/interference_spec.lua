-- Others at work on the same account: between our reads and writes, between a run and its resume, in another account.
local json = require("certrotate.json")
local lock = require("certrotate.rotation.lock")
local fleet_module = require("spec.support.fleet")
local command = require("spec.support.command")

describe("with others at work,", function()
  local fleet, aws, old, users

  local function fresh(options)
    fleet = fleet_module.start({ distributions = 12, users = 6, vip = 1, propagation = 0.2, seed = 31 }, options)
    aws = assert(fleet:connect())
    old = fleet.simulator.old_reference
    users = fleet:on(old)
  end
  after_each(function()
    if fleet then fleet:stop() end
    fleet = nil
  end)

  local function plan_of(options) return fleet:plan(aws, "careful", options) end
  local function options(more) return fleet:run_options(more) end

  -- Cuts the journal behind the n-th line that holds the text, as a kill there would have.
  local function cut_behind(text, nth)
    local lines, count = {}, 0
    for line in command.read(fleet:path("journal")):gmatch("[^\n]+\n") do
      lines[#lines + 1] = line
      if line:find(text, 1, true) then count = count + 1 end
      if count == nth then break end
    end
    assert.equal(nth, count)
    command.write(fleet:path("journal"), table.concat(lines))
  end

  it("a conflict is left alone, journaled, told again by a resume, and healed when its reason is gone", function()
    fresh()
    local plan, foreign = plan_of(), fleet:third()
    local victim, done = plan:holders()[4].Id, false
    local report = assert(plan:run(options({ on_event = function(event)
      if event.type == "wave" and event.wave == 2 and not done then
        done = true
        fleet:interfere(victim, old, foreign)
      end
    end })))
    assert.is_false(report.ok)
    assert.equal(5, report.changed)
    assert.equal(victim, report.conflicts[1].Id)
    assert.same({ victim }, fleet:on(foreign))

    report = assert(aws:resume(options()))
    assert.is_false(report.ok)
    assert.equal(1, #report.conflicts)
    assert.equal(victim, report.conflicts[1].Id)
    assert.same({ victim }, fleet:on(foreign))

    fleet:interfere(victim, foreign, old)
    report = assert(aws:resume(options()))
    assert.is_true(report.ok, json.encode(report))
    assert.equal(6, report.changed)
    assert.same(users, fleet:on(report.reference))
    assert.equal(1, fleet:record().effects.acm_imports)
  end)

  it("a holder taken away again after its change is not changed a second time, by no resume", function()
    fresh()
    local plan, foreign = plan_of({ policy = "cheapest" }), fleet:third()
    local first, taken
    local report = assert(plan:run(options({ on_event = function(event)
      if event.type == "swap" and not first then first = event.id end
      if event.type == "settling" and not taken then
        taken = fleet:state()
        for _, distribution in ipairs(taken.distributions) do
          if distribution.id == first then fleet:interfere(first, distribution.reference, foreign) end
        end
      end
    end })))
    assert.is_false(report.ok)
    assert.equal(first, report.conflicts[1].Id)
    for _ = 1, 2 do
      report = assert(aws:resume(options()))
      assert.is_false(report.ok)
      assert.equal(first, report.conflicts[1].Id)
      assert.same({ first }, fleet:on(foreign))
    end
  end)

  it("a holder brought back to the old certificate after everything was done is told as left behind", function()
    fresh()
    local plan = plan_of()
    local report = assert(plan:run(options()))
    assert.is_true(report.ok)
    fleet:interfere(users[1], report.reference, old)
    report = assert(aws:resume(options()))
    assert.is_false(report.ok)
    assert.same({ users[1] }, report.left_behind)
    assert.same({ users[1] }, fleet:on(old))
    local gone, err = aws:retire({ journal = fleet:path("journal"), state_directory = fleet:path("state"), keep = 0 })
    assert.is_nil(gone)
    assert.equal("StillInUse", err.code)
    assert.is_nil(fleet:record().effects.acm_deletes)
  end)

  it("a holder deleted meanwhile does not stop the others", function()
    fresh()
    local plan = plan_of()
    local victim
    for _, holder in ipairs(plan:holders()) do
      if holder.Enabled and not holder.Staging then victim = victim or holder.Id end
    end
    local report = assert(plan:run(options({ on_event = function(event)
      if event.type == "import" then fleet:delete(victim) end
    end })))
    assert.is_false(report.ok)
    assert.equal(5, report.changed)
    assert.same({ { Id = victim, message = report.conflicts[1].message } }, report.conflicts)
    assert.same({}, fleet:on(old))
    assert.is_true(assert(aws:retire({ journal = fleet:path("journal"), state_directory = fleet:path("state"),
                                       keep = 0 })).deleted)
  end)

  for _, how in ipairs({ "deleted", "given another certificate" }) do
    it("a holder " .. how .. " after it was Deployed does not stop the others, nor a resume", function()
      fresh()
      local plan, victim = plan_of({ verify = true, policy = "cheapest" }), nil
      local foreign = fleet:third()
      for _, holder in ipairs(plan:holders()) do
        if holder.Enabled and not holder.Staging and holder.Aliases[1] then victim = victim or holder.Id end
      end
      local report = assert(plan:run(options({ verify_within = 1, on_event = function(event)
        if event.type ~= "settled" or not victim then return end
        for _, distribution in ipairs(fleet:state().distributions) do
          if distribution.id == victim and distribution.reference ~= old then
            victim = nil
            if how == "deleted" then
              fleet:delete(distribution.id)
            else
              -- Its content is the new one's; what is served by then is the default certificate's, seen as another.
              fleet:interfere(distribution.id, distribution.reference, foreign)
              assert(fleet.simulator:control("clock", { pass = 60 }))
            end
          end
        end
      end })))
      assert.is_nil(victim)
      assert.is_false(report.ok)
      assert.equal(1, #report.conflicts)
      local again = assert(aws:resume(options({ verify_within = 1 })))
      assert.equal(1, #again.conflicts)
      assert.same({}, fleet:on(old))
    end)
  end

  it("a listing that lags makes nobody left behind", function()
    fresh({ settings = { list_lag = 30 } })
    local report = assert(plan_of({ policy = "cheapest" }):run(options()))
    assert.is_true(report.ok, json.encode(report))
    assert.same(users, fleet:on(report.reference))
  end)

  it("a new certificate deleted before anybody had it is imported again; deleted after, the resume is refused", function()
    fresh()
    local plan = plan_of()
    local report = assert(plan:run(options()))
    -- Before: nothing but the import is in the journal, everybody is on the old one.
    for _, id in ipairs(users) do fleet:interfere(id, report.reference, old) end
    assert(fleet.simulator:control("clock", { pass = 60 }))
    assert(aws.acm:delete_certificate({ CertificateArn = report.reference }))
    local again, err = aws:resume(options())
    assert.is_nil(again)
    assert.equal("NewCertificateGone", err.code)
    assert.same(users, fleet:on(old))
    cut_behind('"step":"import"', 2)
    again = assert(aws:resume(options()))
    assert.is_true(again.ok)
    assert.not_equal(report.reference, again.reference)
    assert.same(users, fleet:on(again.reference))
  end)

  it("a swap whose outcome got lost counts as changed, and the overlap from its first announcement", function()
    fresh({ vip = 2 })
    local plan = plan_of({ policy = "cheapest", policy_options = { parallel = 1 } })
    local report = assert(plan:run(options()))
    assert.equal(6, report.changed)
    local began
    for line in command.read(fleet:path("journal")):gmatch("[^\n]+") do
      local entry = json.decode(line)
      for _, holder in ipairs(plan:holders()) do
        if holder.charged and entry.step == "swap" and entry.id == holder.Id then began = began or entry.at end
      end
    end
    assert.is_true(began % 1 ~= 0, "times keep their fractions")
    cut_behind('"event":"intent","id"', 6)
    local again = assert(aws:resume(options()))
    assert.equal(6, again.changed)
    assert.is_true(again.ok)
    assert.is_true(math.abs(again.overlap_seconds - (again.ended - began)) < 1, json.encode(again))
    assert.is_true(again.overlap_seconds > report.overlap_seconds)
  end)

  it("an interrupted run that is cancelled, or whose handler raises, counts nobody as done who is not", function()
    fresh()
    local plan = plan_of({ policy = "cheapest" })
    local task
    task = aws:task(function()
      return plan:run(options({ on_event = function(event)
        if event.type == "swap" then task:cancel() end
      end }))
    end)
    local report, err = task:wait()
    assert.is_nil(report)
    assert.equal("cancelled", err.kind)
    local status = assert(require("certrotate.rotation.status").read(fleet:path("journal")))
    assert.equal("changing", status.phase)
    assert.is_true(status.done < 6)
    report = assert(aws:resume(options({ on_event = function() error("no paper") end })))
    assert.is_true(report.ok)
    assert.is_truthy(report.event_problem:find("no paper", 1, true))
    assert.same(users, fleet:on(report.reference))
  end)

  it("a plan or a journal of another endpoint or another account is refused before anything", function()
    fresh()
    local plan = plan_of()
    local effects = fleet:record().effects
    local elsewhere = assert(fleet:connect({ endpoint_url = "https://127.0.0.1:1" }))
    require("certrotate.rotation.plan").attach(plan, elsewhere)
    local report, err = plan:run(options())
    assert.is_nil(report)
    assert.equal("OtherEndpoint", err.code)
    require("certrotate.rotation.plan").attach(plan, aws)
    assert.same(effects, fleet:record().effects)
    assert(plan:run(options()))
    local where = { journal = fleet:path("journal"), state_directory = fleet:path("state") }
    for _, call in ipairs({ "resume", "retire" }) do
      report, err = elsewhere[call](elsewhere, where)
      assert.is_nil(report)
      assert.equal("OtherEndpoint", err.code)
    end
    elsewhere:close()
    -- The same place, another account: none of the ids means anything.
    assert(fleet.simulator:control("seed", { distributions = 0, users = 0, vip = 0 }))
    effects = fleet:record().effects
    for _, call in ipairs({ "resume", "retire" }) do
      report, err = aws[call](aws, where)
      assert.is_nil(report)
      assert.equal("OtherAccount", err.code)
    end
    assert.same(effects, fleet:record().effects)
  end)

  it("the old certificate, the identity and the new certificate are all locked; retire waits its turn", function()
    fresh()
    local plan = plan_of()
    local endpoint, state = aws:endpoint("cloudfront"), fleet:path("state")
    for _, name in ipairs({ old, lock.of_identity(plan) }) do
      local held = assert(lock.open(endpoint, { name }, state))
      local report, err = plan:run(options())
      assert.is_nil(report)
      assert.equal("Locked", err.code)
      assert.is_nil(io.open(fleet:path("journal")))
      held:close()
    end
    local seen = {}
    local report = assert(plan:run(options({ on_event = function(event)
      if event.type ~= "wave" or seen.wave then return end
      seen.wave = true
      for _, one in ipairs(require("certrotate.rotation.journal").load(fleet:path("journal")).entries) do
        if one.step == "import" and one.result then
          seen.held, seen.err = lock.open(endpoint, { one.result.reference }, state)
        end
      end
    end })))
    assert.is_nil(seen.held)
    assert.equal("Locked", seen.err.code)
    local held = assert(lock.open(endpoint, { report.reference, old }, state))
    local gone, err = aws:retire({ journal = fleet:path("journal"), keep = 0 })
    assert.is_nil(gone)
    assert.equal("Locked", err.code)
    assert.is_false(assert(aws:retire({ journal = fleet:path("journal"), keep = 0, dry_run = true })).deleted)
    held:close()
    assert.is_true(assert(aws:retire({ journal = fleet:path("journal"), keep = 0 })).deleted)
  end)

  it("two plans that share a certificate and no holder are carried out one after the other", function()
    fresh()
    local half = {}
    for i = 1, 3 do half[i] = users[i] end
    local rest = { users[4], users[5], users[6] }
    local one, two = plan_of({ only = half }), plan_of({ only = rest })
    local first = assert(one:run(options({ journal = fleet:path("one") })))
    assert.is_true(first.ok)
    local kept, err = aws:retire({ journal = fleet:path("one"), keep = 0 })
    assert.is_nil(kept)
    assert.equal("StillInUse", err.code)
    local second = assert(two:run(options({ journal = fleet:path("two") })))
    assert.is_true(second.ok)
    assert.is_true(second.adopted)
    assert.equal(first.reference, second.reference)
    assert.equal(1, fleet:record().effects.acm_imports)
    -- Those who were left out of the first and have moved since are nobody's conflict.
    assert.is_true(assert(aws:resume(options({ journal = fleet:path("one") }))).ok)
    assert.is_true(assert(aws:retire({ journal = fleet:path("one"), keep = 0 })).deleted)
  end)

  it("from ACM into the IAM store and back", function()
    fresh()
    local plan = plan_of({ store = "iam", policy = "cheapest" })
    local report = assert(plan:run(options()))
    assert.is_true(report.ok)
    assert.is_nil(report.reference:find("^arn:"))
    assert.same(users, fleet:on(report.reference))
    -- Back, with the certificate that is still in ACM: a rollback by another plan.
    local files = fleet.simulator.files
    local identity = assert(require("certrotate").identity({ certificate = files.old_certificate, private_key = files.old_key,
                                                             chain = files.old_chain }))
    local back = assert(aws:plan({ replace = report.reference, with = identity, store = "acm", policy = "cheapest",
                                   trust = fleet.simulator.trust_file, dedicated_ip_quota = 4, verify = false }))
    local done = assert(back:run(options({ journal = fleet:path("back") })))
    assert.is_true(done.ok)
    assert.is_true(done.adopted)
    assert.equal(old, done.reference)
    assert.same(users, fleet:on(old))
  end)
end)
