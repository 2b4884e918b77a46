-- certrotate quota, and rotations that wait for it: as a person runs them.
local core = require("certrotate.core")
local command = require("spec.support.command")
local fleet_module = require("spec.support.fleet")
local json = require("certrotate.json")
local quota_report = require("certrotate.report.quota")
local table_report = require("certrotate.report.table")

describe("certrotate quota", function()
  local fleet
  before_each(function()
    fleet = fleet_module.start({ distributions = 8, users = 4, vip = 1, propagation = 0.1, seed = 6,
                                 settings = { vip_quota = 1 } })
  end)
  after_each(function() fleet:stop() end)

  local function run(code, words, part, options)
    local got, out, err = fleet:run(fleet:flags(words), options)
    assert.equal(code, got, out .. err)
    if part then assert.is_truthy((out .. err):find(part, 1, true), out .. err) end
    return out, err
  end

  local function settings(changes) assert(fleet.simulator:control("settings", changes)) end

  -- Waits for something a process in the background writes or does.
  local function eventually(check)
    local client, deadline = assert(core.client()), core.monotonic() + 30
    local found = check()
    while not found and core.monotonic() < deadline do
      client:wait(0.02)
      found = check()
    end
    client:close()
    return assert(found, "it did not happen in time")
  end

  it("shows what there is, and asks only when told so", function()
    local out = run(0, { "quota" })
    for _, part in ipairs({ "quota", "in use", "needed for a rotation", "L-DA9DCC93", "certrotate quota --request 2" }) do
      assert.is_truthy(out:find(part, 1, true), out)
    end
    run(0, { "quota", "--request", "2" }, "Pass --yes")
    assert.same({}, fleet:record().effects)
    run(0, { "quota", "--request", "2", "--yes" }, "Open request: 2 in all, PENDING")
    assert.equal(1, fleet:record().effects.quota_requests)
    run(3, { "quota", "--request", "2", "--yes" }, "asked for before")
    assert(fleet.simulator:control("quotas", { decision = "approve", message = "You have it." }))
    local data = assert(json.decode((run(0, { "quota", "--json" }))))
    assert.same({ 2, "applied", 1, 2, true }, { data.quota.value, data.quota.source, data.in_use, data.needed, data.fits })
    assert.same({ "APPROVED", "resolved", "You have it." }, { data.request.Status, data.case.status, data.case.latest.body })
    run(3, { "quota", "--request", "2", "--yes" }, "the quota is 2 already")
    assert.equal(1, fleet:record().effects.quota_requests)
  end)

  it("prints what to paste where there is no support plan", function()
    settings({ support_plan = false, quota_offered = false })
    run(0, { "quota" }, "Support Center only")
    local out, err = run(1, { "quota", "--request", "3", "--yes" }, "SubscriptionRequiredException")
    assert.is_truthy(out:find("3 SSL certificates with dedicated IP addresses", 1, true), out)
    assert.is_truthy(out:find("for a certificate rotation", 1, true), out)
    assert.is_nil(err:find("Paste", 1, true))
    local data = assert(json.decode((run(1, { "quota", "--request", "3", "--yes", "--json" }))))
    assert.is_truthy(data.paste.body:find("rotation", 1, true))
    assert.is_false(data.asked)
  end)

  it("opens a support case where Service Quotas cannot raise it, once", function()
    settings({ quota_adjustable = false })
    run(0, { "quota", "--request", "3" }, "Ask AWS Support")
    run(0, { "quota", "--request", "3", "--yes" }, "Asked: case")
    run(3, { "quota", "--request", "3", "--yes" }, "an open support case asks for it")
    assert.equal(1, fleet:record().effects.cases)
  end)

  it("says so when it may not look", function()
    assert(fleet.simulator:control("faults", { service = "servicequotas", kind = "error", status = 400,
                                               code = "AccessDeniedException", message = "not authorized" }))
    run(0, { "quota" }, "assumed: it could not be read")
    run(1, { "quota", "--request", "3", "--yes" }, "AccessDeniedException")
  end)

  it("refuses bad input with code 2", function()
    for _, words in ipairs({ { "--request", "0" }, { "--request", "many" }, { "--request", "2.5" }, { "--wait", "soon" },
                             { "--poll", "x" }, { "--nonsense" } }) do
      local argv = { "quota" }
      for _, word in ipairs(words) do argv[#argv + 1] = word end
      run(2, argv, words[1])
    end
    local argv = fleet:identity_flags({ "plan", "--wait-for-quota", "soon" })
    local code, _, err = fleet:run(argv)
    assert.equal(2, code, err)
    assert.same({}, fleet:record().effects)
  end)

  it("waits for the answer, no longer than was said, and is interrupted by Ctrl-C", function()
    run(4, { "quota", "--wait", "200ms", "--poll", "50ms" }, "nothing was changed")
    local process = command.start(fleet:flags({ "quota", "--request", "2", "--yes", "--wait", "1m", "--poll", "50ms" }),
      { environment = fleet:environment() })
    eventually(function() return process.output():find("the request is", 1, true) end)
    assert(fleet.simulator:control("quotas", { decision = "approve" }))
    assert.equal(0, process.wait(30), process.output())
    process.close()
    process = command.start(fleet:flags({ "quota", "--request", "9", "--yes", "--wait", "1m" }),
      { environment = fleet:environment() })
    eventually(function() return process.output():find("waiting until", 1, true) end)
    os.execute("kill -INT " .. process.pid)
    assert.equal(5, process.wait(30), process.output())
    process.close()
  end)

  it("is what apply waits for; interrupted, resume goes on", function()
    local journal = fleet:path("journal")
    local argv = fleet:flags({ "apply", "--replace", fleet.simulator.old_reference, "--yes", "--journal", journal,
                               "--certificate", fleet.simulator.files.new_certificate, "--private-key",
                               fleet.simulator.files.new_key, "--chain", fleet.simulator.files.new_chain, "--poll", "100ms",
                               "--quota-poll", "50ms" })
    local code, out, err = fleet:run(argv)
    assert.equal(4, code, out .. err)
    assert.is_truthy(err:find("--wait-for-quota", 1, true), err)
    argv[#argv + 1] = "--wait-for-quota"
    argv[#argv + 1] = "1m"
    local process = command.start(argv, { environment = fleet:environment() })
    eventually(function() return process.output():find("waiting for a dedicated-IP quota of 2", 1, true) end)
    os.execute("kill -INT " .. process.pid)
    assert.equal(5, process.wait(30), process.output())
    assert.is_truthy(process.output():find("certrotate resume " .. journal, 1, true), process.output())
    process.close()
    assert.same({}, fleet:record().effects)
    code, out = fleet:run({ "status", journal })
    assert.equal(0, code)
    assert.is_truthy(out:find("waits for a higher dedicated-IP quota; nothing has been changed", 1, true), out)
    process = command.start(fleet:flags({ "resume", journal, "--poll", "100ms", "--quota-poll", "50ms" }),
      { environment = fleet:environment() })
    eventually(function() return process.output():find("waiting for a dedicated-IP quota of 2", 1, true) end)
    settings({ vip_quota = 2 })
    assert.equal(0, process.wait(60), process.output())
    assert.is_truthy(process.output():find("the dedicated-IP quota is 2: enough", 1, true), process.output())
    process.close()
    assert.same({}, fleet:on(fleet.simulator.old_reference))
  end)
end)

describe("the report of the quota", function()
  local status = {
    quota = { value = 2, source = "applied", code = "L-DA9DCC93", offered = true, adjustable = true },
    in_use = 2, holders = 5, needed = 3, fits = false, problems = {},
    request = { Id = "r", Status = "CASE_OPENED", DesiredValue = 3.0, Created = 1768478401.5, CaseId = "123" },
    case = { caseId = "case-1", displayId = "123", subject = "Limit Increase: CloudFront", status = "opened",
             timeCreated = "2026-01-15T12:00:00.000Z",
             latest = { body = "Hello,\r\n\r\nwhat are they for?\27[31m " .. ("word "):rep(40),
                        submittedBy = "Amazon Web Services", timeCreated = "2026-01-15T13:00:00.000Z" } },
  }

  it("fits narrow terminals with nothing cut, and lets no control bytes through", function()
    for _, width in ipairs({ 40, 60, 80, 200 }) do
      local text = quota_report.text(status, width)
      for line in text:gmatch("[^\n]+") do
        local told = line:find("^Open request") or line:find("^Latest")
        assert.is_true(told ~= nil or table_report.width(line) <= width, line)
      end
      local words = (text:gsub("%s+", " "))
      for _, part in ipairs({ "ask for more with `certrotate quota --request 3`", "--wait-for-quota 2d", "what are they for?",
                              "CASE_OPENED", "3 in all", "Case 123 (opened)", "2026-01-15 13:00:00 UTC" }) do
        assert.is_truthy(words:find(part, 1, true), part .. " is not in\n" .. text)
      end
      assert.is_nil(text:find("\27", 1, true))
      assert.is_nil(text:find("…", 1, true))
    end
  end)
end)
