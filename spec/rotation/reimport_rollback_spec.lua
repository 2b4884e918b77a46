-- The way back from a reimport: the old certificate, when its owner still has it, imported again under the same ARN.
-- From the end, from the middle, killed around each request, beside others, and where there is no way back.
local certrotate = require("certrotate")
local command = require("spec.support.command")
local core = require("certrotate.core")
local fleet_module = require("spec.support.fleet")
local method = require("certrotate.rotation.method")
local status = require("certrotate.rotation.status")

describe("a rollback of a reimport", function()
  local fleet, aws, old, users, before

  local function fresh(options)
    fleet = fleet_module.start({ distributions = 6, users = 4, vip = 1, propagation = 0.1, seed = 41 }, options)
    aws = assert(fleet:connect())
    old = fleet.simulator.old_reference
    users, before = fleet:on(old), fleet:configurations()
  end
  after_each(function()
    if fleet then fleet:stop() end
    fleet = nil
  end)

  local function fingerprint() return assert(method.stored(aws, old)).fingerprint end
  local function old_identity()
    local files = fleet.simulator.files
    return assert(certrotate.identity({ certificate = files.old_certificate, private_key = files.old_key,
                                        chain = files.old_chain }))
  end
  local function options(more) return fleet:run_options(more) end
  local function back(more)
    local all = { identity = old_identity() }
    for key, value in pairs(more or {}) do all[key] = value end
    return aws:rollback(options(all))
  end
  local function reimported(more)
    return fleet:plan(aws, "cheapest", { method = "reimport", verify = true }):run(options(more))
  end
  local function again()
    aws = fleet:again(aws)
  end
  local function all_back()
    assert.equal(old_identity():fingerprint(), fingerprint())
    assert.same(users, fleet:on(old))
    assert.same(before, fleet:configurations())
    assert.is_nil(fleet:record().effects.acm_imports)
    assert.is_nil(fleet:record().effects.acm_deletes)
  end
  -- A third certificate, with the names and the kind of key ACM wants, put there by somebody else.
  local function another()
    local pki = assert(require("certrotate.simulator.authority").open(fleet.directory))
    assert(pki:make({ { file = "third", key = "rsa:2048", names = fleet:new_identity():leaf().names } }))
    local files = pki:files("third")
    local third = assert(certrotate.identity({ certificate = files.certificate, private_key = files.key }))
    assert(aws.steps:reimport({ identity = third, reference = old, from = fingerprint() }))
    return third
  end

  it("gives everybody the old one again, seen by TLS", function()
    fresh()
    assert.is_true(assert(reimported()).ok)
    local seen
    local report = assert(back({ on_event = function(event)
      if event.type == "verified" then seen = event.seen end
    end }))
    assert.is_nil(report.event_problem)
    assert.is_true(report.ok)
    assert.is_true(report.rolled_back)
    assert.equal(#users, report.changed)
    assert.is_true(seen >= 1)
    assert.equal(0, report.charge)
    all_back()
    assert.equal(2, fleet:record().effects.acm_reimports)
    assert.equal("rolled back", assert(status.read(fleet:path("journal"))).phase)
    local resumed, err = aws:resume(options())
    assert.is_nil(resumed)
    assert.equal("RolledBack", err.code)
    -- Once more: found done, and nobody's key is needed.
    assert.is_true(assert(aws:rollback(options())).ok)
    assert.equal(2, fleet:record().effects.acm_reimports)
    local retired
    retired, err = aws:retire({ journal = fleet:path("journal"), keep = 0, state_directory = fleet:path("state") })
    assert.is_nil(retired)
    assert.equal("NothingToRetire", err.code)
  end)

  it("goes back while the new one is still on its way", function()
    fresh({ settings = { reimport_propagation = 3600 } })
    local report, err = reimported({ on_event = function(event)
      if event.type == "serving" then aws.loop:interrupt("test") end
    end })
    assert.is_nil(report)
    assert.equal("Interrupted", err.code)
    again()
    assert(fleet.simulator:control("settings", { reimport_propagation = 0 }))
    assert.is_true(assert(back()).ok)
    all_back()
  end)

  it("interrupted itself goes on, and forwards is refused", function()
    fresh()
    assert(reimported())
    assert(fleet.simulator:control("settings", { reimport_propagation = 3600 }))
    local report, err = back({ on_event = function(event)
      if event.type == "serving" then aws.loop:interrupt("test") end
    end })
    assert.is_nil(report)
    assert.equal("Interrupted", err.code)
    assert.is_true(err.rollback)
    again()
    assert.equal("rolling back", assert(status.read(fleet:path("journal"))).phase)
    report, err = aws:resume(options())
    assert.is_nil(report)
    assert.equal("RolledBack", err.code)
    assert(fleet.simulator:control("clock", { pass = 3700 }))
    -- The old one is there: its key is not needed any more.
    assert.is_true(assert(aws:rollback(options())).ok)
    all_back()
    assert.equal(2, fleet:record().effects.acm_reimports)
  end)

  it("of one that ACM refused puts nothing back, and needs no key", function()
    fresh()
    assert(fleet.simulator:control("faults", { kind = "error", operation = "ImportCertificate", status = 400,
                                               code = "ValidationException", message = "no" }))
    local report, err = reimported()
    assert.is_nil(report)
    assert.equal("ValidationException", err.code)
    assert.is_true(assert(aws:rollback(options())).ok)
    all_back()
    assert.is_nil(fleet:record().effects.acm_reimports)
  end)

  it("of one whose answer was lost, and nobody could look afterwards, finds out what is there", function()
    fresh()
    local plan = fleet:plan(aws, "cheapest", { method = "reimport", verify = true })
    assert(fleet.simulator:control("faults", { kind = "reset", when = "after", operation = "ImportCertificate",
                                               count = 1 }))
    local report, err = plan:run(options({ on_event = function(event)
      if event.type == "start" then
        -- The two looks before the write are let through.
        fleet.simulator:control("faults", { kind = "error", operation = "GetCertificate", status = 400, skip = 2,
                                            code = "AccessDeniedException", message = "no" })
      end
    end }))
    assert.is_nil(report)
    assert.equal("AccessDeniedException", err.code)
    assert(fleet.simulator:control("faults", { clear = true }))
    assert.equal(fleet:new_identity():fingerprint(), fingerprint())
    report, err = aws:rollback(options())
    assert.is_nil(report)
    assert.equal("OldIdentityNeeded", err.code)
    assert.is_true(assert(back()).ok)
    all_back()
  end)

  it("is refused without the very certificate that was there, and nothing is written", function()
    fresh()
    assert(reimported())
    local text = command.read(fleet:path("journal"))
    local new = fingerprint()
    for code, identity in pairs({ OldIdentityNeeded = false, OtherIdentity = fleet:new_identity() }) do
      local report, err = aws:rollback(options({ identity = identity or nil }))
      assert.is_nil(report)
      assert.equal(code, err.code)
      assert.matches(old_identity():fingerprint(), err.message, 1, true)
    end
    assert.equal(text, command.read(fleet:path("journal")))
    assert.equal(new, fingerprint())
  end)

  it("leaves alone what somebody else put there since", function()
    fresh()
    assert(reimported())
    local third = another()
    local report, err = back()
    assert.is_nil(report)
    assert.equal("ForeignCertificate", err.code)
    assert.equal(third:fingerprint(), fingerprint())
  end)

  it("is refused when the old certificate has ended, or ends before it would reach viewers", function()
    fresh()
    assert(reimported())
    local ends = old_identity():leaf().not_after
    local function at(seconds_before)
      assert(fleet.simulator:control("clock", { advance = math.floor(ends - aws.loop:now() - seconds_before) }))
      again()
      assert(aws:inventory())
    end
    at(12 * 3600)
    local report, err = back()
    assert.is_nil(report)
    assert.equal("ReimportTooLate", err.code)
    at(-60)
    report, err = back()
    assert.is_nil(report)
    assert.equal("OldCertificateExpired", err.code)
    assert.equal(1, fleet:record().effects.acm_reimports)
  end)

  it("on the command line says what it needs, looks first, and does it with --yes", function()
    fresh()
    local journal, files = fleet:path("journal"), fleet.simulator.files
    local code, out, problems = fleet:run(fleet:identity_flags({ "apply", "--method", "reimport", "--journal", journal,
                                                                 "--yes", "--poll", "50ms" }))
    assert.equal(0, code, problems)
    assert.matches("all on the new certificate, under the same ARN", out, 1, true)
    assert.is_nil(out:find("certrotate retire", 1, true))
    code, out, problems = fleet:run(fleet:flags({ "rollback", journal, "--yes" }))
    assert.equal(4, code, out)
    assert.matches("give it with --certificate and --private-key", problems, 1, true)
    local argv = fleet:flags({ "rollback", journal, "--certificate", files.old_certificate, "--private-key",
                               files.old_key, "--chain", files.old_chain, "--poll", "50ms" })
    code, out, problems = fleet:run(argv)
    assert.equal(0, code, problems)
    assert.equal("", out)
    assert.matches("Imports the old certificate again under", problems, 1, true)
    assert.matches("dedicated IP", problems, 1, true)
    assert.is_nil(problems:find("vip", 1, true), problems)
    assert.equal(1, fleet:record().effects.acm_reimports)
    argv[#argv + 1] = "--yes"
    code, out, problems = fleet:run(argv)
    assert.equal(0, code, problems)
    assert.matches("all on the old certificate, under the same ARN", out, 1, true)
    all_back()
    code = fleet:run(argv)
    assert.equal(3, code)
    code, out = fleet:run({ "status", journal })
    assert.equal(0, code)
    assert.matches("rolled back; every holder was given the old certificate again", out, 1, true)
    -- No key went where it does not belong.
    local key = assert(command.read(files.old_key)):match("\n([^\n]+)\n")
    assert.is_nil(command.read(journal):find(key, 1, true))
  end)

  it("or its resume ends every kill around a request", function()
    fresh({ distributions = 4, users = 3, vip = 0 })
    local journal, files = fleet:path("journal"), fleet.simulator.files
    local argv = fleet:identity_flags({ "apply", "--method", "reimport", "--journal", journal, "--yes", "--poll",
                                        "20ms" })
    local resume = fleet:flags({ "resume", journal, "--poll", "20ms" })
    local rollback = fleet:flags({ "rollback", journal, "--yes", "--poll", "20ms", "--certificate",
                                   files.old_certificate, "--private-key", files.old_key, "--chain", files.old_chain })
    local environment = { environment = fleet:environment() }
    local client = assert(core.client())
    -- Runs a command until its n-th request hangs, and kills it there.
    local function killed(words, number, when)
      assert(fleet.simulator:control("faults", { kind = "hang", seconds = 120, skip = number - 1, count = 1,
                                                 when = when }))
      local process = command.start(words, environment)
      local function fired() return fleet.simulator:control("faults").rules[1].fired == 1 end
      local deadline = core.monotonic() + 60
      while not fired() and not process.wait(0) and core.monotonic() < deadline do client:wait(0.01) end
      assert.is_true(fired(), ("request %d was not reached: %s"):format(number, process.output()))
      os.execute("kill -KILL " .. process.pid)
      assert.is_number(process.wait(20))
      process.close()
      assert(fleet.simulator:control("faults", { clear = true }))
    end
    local function reset()
      assert(fleet.simulator:control("reset", {}))
      assert(fleet.simulator:control("settings", { propagation = 0 }))
      os.remove(journal)
    end
    -- The requests of a command that is not disturbed; what only looks is killed once, the write before and after it.
    local function requests(words, prepare)
      reset()
      if prepare then assert.equal(0, (fleet:run(prepare))) end
      local from = #fleet:record().entries
      assert.equal(0, (fleet:run(words)))
      local list = {}
      for at, entry in ipairs(fleet:record().entries) do
        if at > from then list[#list + 1] = entry.operation end
      end
      return list
    end
    local kills = 0
    -- calls: of the words to be killed; then: what ends it, and which certificate is there in the end.
    local function each(words, calls, prepare, endings)
      for number, name in ipairs(calls) do
        for _, when in ipairs(name == "ImportCertificate" and { "before", "after" } or { "before" }) do
          for _, ending in ipairs(endings) do
            reset()
            if prepare then assert.equal(0, (fleet:run(prepare))) end
            killed(words, number, when)
            kills = kills + 1
            local text = command.read(journal)
            local begun = text and text:find("\n", 1, true)
            -- Nothing was begun: there is nothing to end.
            if begun then
              local where = ("%s %s, request %d, then %s"):format(name, when, number, ending.words[1])
              local code, _, problems = fleet:run(ending.words)
              assert.is_true(code == 0 or code == 3, where .. ": " .. problems)
              assert.equal(ending.fingerprint, fingerprint(), where)
              assert.same(before, fleet:configurations(), where)
              assert.is_nil(fleet:record().effects.acm_imports, where)
              assert.is_true((fleet:record().effects.acm_reimports or 0) <= 2, where)
            end
          end
        end
      end
    end
    local there, was = fleet:new_identity():fingerprint(), old_identity():fingerprint()
    each(argv, requests(argv), nil,
      { { words = resume, fingerprint = there }, { words = rollback, fingerprint = was } })
    each(rollback, requests(rollback, argv), argv, { { words = rollback, fingerprint = was } })
    assert.is_true(kills >= 15, "killed " .. kills)
    client:close()
  end)
end)
