-- Distributions on the default certificate: attached to on explicit request, with an explicit method, and never else.
local command = require("spec.support.command")
local core = require("certrotate.core")
local fleet_module = require("spec.support.fleet")

describe("attaching", function()
  local fleet, aws, old, before, bare, other

  setup(function()
    fleet = fleet_module.start({ distributions = 24, users = 3, vip = 1, store = "acm", propagation = 0.1, seed = 5 })
  end)
  teardown(function() fleet:stop() end)

  before_each(function()
    assert(fleet.simulator:control("reset", {}))
    os.remove(fleet:path("journal"))
    aws, old, bare, other = assert(fleet:connect()), fleet.simulator.old_reference, {}, nil
    before = fleet:configurations()
    for _, one in ipairs(fleet:state().distributions) do
      -- Who shares a certificate must share the HTTP version.
      if one.reference == "" and one.http_version == "http2" then bare[#bare + 1] = one.id end
      if one.reference ~= "" and one.reference ~= old then other = one.id end
    end
    assert.is_true(#bare >= 2 and other ~= nil)
  end)
  after_each(function() aws:close() end)

  local function refusal(options)
    options.replace, options.with, options.trust = old, fleet:new_identity(), fleet.simulator.trust_file
    options.dedicated_ip_quota = options.dedicated_ip_quota or 4
    local result = assert(aws:check(options))
    for _, one in ipairs(result.findings) do
      if one.level == "refuse" then return one.code, one.message end
    end
    return nil
  end

  it("never happens by accident", function()
    local plan = fleet:plan(aws, "careful")
    for _, holder in ipairs(plan:holders()) do
      assert.is_nil(holder.attach)
      for _, id in ipairs(bare) do assert.are_not.equal(id, holder.Id) end
    end
    assert.equal(1, plan.version)
  end)

  it("is refused in one line without a method, with a wrong one, and for whoever is not on the default", function()
    local function refused(part, options)
      local code, message = refusal(options)
      assert.equal("Attach", code)
      assert.is_truthy(message:find(part, 1, true), message)
      assert.is_nil(message:find("\n", 1, true))
    end
    refused("needs an explicit SSL method", { attach = { bare[1] } })
    refused("not 'static-ip'", { attach = { bare[1] }, ssl_support_method = "static-ip" })
    refused("belong to --attach", { ssl_support_method = "vip" })
    refused("not possible with vip", { attach = { bare[1] }, ssl_support_method = "vip",
                                       minimum_protocol_version = "TLSv1.2_2021" })
    refused("not possible with sni-only", { attach = { bare[1] }, ssl_support_method = "sni-only",
                                            minimum_protocol_version = "SSLv3" })
    refused("no distribution EABSENT", { attach = { "EABSENT" }, ssl_support_method = "sni-only" })
    refused(other .. " uses ", { attach = { other }, ssl_support_method = "sni-only" })
    refused("is changed without --attach", { attach = { fleet:on(old)[1] }, ssl_support_method = "sni-only" })
    assert.equal("DedicatedIpQuota", (refusal({ attach = { bare[1] }, ssl_support_method = "vip", dedicated_ip_quota = 1 })))
    for _, flags in ipairs({ { "--attach", bare[1] }, { "--ssl-support-method", "vip" },
                             { "--attach", bare[1], "--ssl-support-method", "static-ip" } }) do
      local argv = fleet:identity_flags({ "plan" })
      for _, flag in ipairs(flags) do argv[#argv + 1] = flag end
      assert.equal(2, (fleet:run(argv)))
    end
  end)

  it("gives them the new certificate by the method asked for, and changes nothing else", function()
    for method, minimum in pairs({ ["sni-only"] = "TLSv1.2_2021", vip = "TLSv1" }) do
      assert(fleet.simulator:control("reset", {}))
      os.remove(fleet:path("journal"))
      local plan = fleet:plan(aws, "cheapest", { attach = { bare[1] }, ssl_support_method = method })
      assert.equal(3, plan.version)
      assert.equal(4, #plan:holders())
      assert.is_truthy(tostring(plan):find("on the default certificate so far", 1, true))
      local report = assert(plan:run(fleet:run_options()))
      assert.is_true(report.ok)
      assert.equal(4, report.changed)
      local now = fleet:distribution(bare[1])
      assert.equal(report.reference, now.reference)
      assert.equal(method, now.ssl_support_method)
      assert.equal(minimum, now.minimum_protocol_version)
      assert.equal(method == "vip", now.dedicated)
      assert.equal("", fleet:distribution(bare[2]).reference)
      assert.same(before, fleet:configurations())
      -- Again: done, as an earlier run's.
      assert.is_nil(refusal({ attach = { bare[1] }, ssl_support_method = method }))
    end
  end)

  it("by dedicated IP addresses beside a charged replacement waits for the burst, and begins the overlap with it", function()
    local plan = fleet:plan(aws, "cheapest", { attach = { bare[1] }, ssl_support_method = "vip",
      policy_options = { canary = 1, soak = 1 } })
    local last = plan.waves[#plan.waves]
    assert.equal("dedicated-ip", last.name)
    local ids = {}
    for _, holder in ipairs(last.holders) do
      assert.is_true(holder.charged)
      ids[holder.Id] = true
    end
    assert.is_true(ids[bare[1]] and #last.holders == 2)
    local report = assert(plan:run(fleet:run_options()))
    local meter = fleet.simulator:control("meter").overlap_seconds
    assert.is_true(math.abs(report.overlap_seconds - meter) < 1,
      ("%.2f told, %.2f metered"):format(report.overlap_seconds, meter))
  end)

  it("leaves alone whoever was given a certificate meanwhile, and a plan made before that is outdated", function()
    local function another()
      local spec = fleet:distribution(other)
      local config = assert(fleet.simulator:control("distributions/" .. bare[1])).config
      local viewer = assert(fleet.simulator:control("distributions/" .. other)).config:match(
        "<ViewerCertificate>.-</ViewerCertificate>")
      config = config:gsub("<ViewerCertificate>.-</ViewerCertificate>", function() return viewer end)
      assert(fleet.simulator:control("distributions/" .. bare[1], config))
      return spec.reference
    end
    local plan = fleet:plan(aws, "careful", { attach = { bare[1] }, ssl_support_method = "sni-only" })
    local theirs
    local report = assert(plan:run(fleet:run_options({ on_event = function(event)
      if event.type == "wave" and not theirs then theirs = another() end
    end })))
    assert.is_false(report.ok)
    assert.equal(bare[1], report.conflicts[1].Id)
    assert.equal(theirs, fleet:distribution(bare[1]).reference)

    assert(fleet.simulator:control("reset", {}))
    os.remove(fleet:path("journal"))
    plan = fleet:plan(aws, "careful", { attach = { bare[1] }, ssl_support_method = "sni-only" })
    another()
    local none, err = plan:run(fleet:run_options())
    assert.is_nil(none)
    assert.equal("PlanOutdated", err.code)
    assert.is_truthy(err.message:find(bare[1] .. " now uses", 1, true), err.message)
  end)

  it("is not undone by a rollback: such a distribution never had the old certificate", function()
    local plan = fleet:plan(aws, "careful", { attach = { bare[1] }, ssl_support_method = "sni-only" })
    local users = fleet:on(old)
    local to = assert(plan:run(fleet:run_options())).reference
    local report = assert(aws:rollback(fleet:run_options()))
    assert.is_true(report.ok, require("certrotate.json").encode(report))
    assert.same(users, fleet:on(old))
    assert.equal(to, fleet:distribution(bare[1]).reference)
    assert.same(before, fleet:configurations())
  end)

  it("belongs to a swap: a reimport changes no distribution", function()
    local code, message = refusal({ attach = { bare[1] }, ssl_support_method = "sni-only", method = "reimport" })
    assert.equal("Attach", code)
    assert.is_truthy(message:find("--method swap", 1, true))
  end)

  it("without a certificate to replace leaves all others alone; there is nothing to go back to or to retire", function()
    local users, files = fleet:on(old), fleet.simulator.files
    local options = { with = fleet:new_identity(), attach = { bare[1], bare[2] }, ssl_support_method = "sni-only",
      trust = fleet.simulator.trust_file, verify = false, files = { certificate = files.new_certificate,
      private_key = files.new_key, chain = files.new_chain } }
    local plan = assert(aws:plan(options))
    assert.equal(4, plan.version)
    assert.is_nil(plan.from)
    assert.equal(2, #plan:holders())
    assert.is_truthy(tostring(plan):find("Replace   nothing", 1, true))
    -- What was saved is what is carried out; without an id it would be anybody's.
    local plan_module = require("certrotate.rotation.plan")
    assert(plan:save(fleet:path("plan")))
    plan = assert(plan_module.load(fleet:path("plan")))
    for change, problem in pairs({ ['"version": 4'] = "'from' is missing", ['"attach"'] = " has so far" }) do
      command.write(fleet:path("broken"), (command.read(fleet:path("plan")):gsub(change,
        change:find("4") and '"version": 3' or '"other"')))
      local none, err = plan_module.load(fleet:path("broken"))
      assert.is_nil(none)
      assert.is_truthy(err.message:find(problem, 1, true), err.message)
    end
    local report = assert(plan_module.attach(plan, aws):run(fleet:run_options()))
    assert.is_true(report.ok and report.attached_only)
    assert.equal(2, report.changed)
    for i = 1, 2 do assert.equal(report.reference, fleet:distribution(bare[i]).reference) end
    assert.same(users, fleet:on(old))
    assert.same(before, fleet:configurations())
    assert.equal(2, fleet:record().effects.updates)
    local text = require("certrotate.report.summary").text(report)
    assert.is_nil(text:find("retire", 1, true), text)
    local journal = fleet:path("journal")
    local status = assert(require("certrotate.rotation.status").read(journal))
    text = require("certrotate.report.status").text(status, journal)
    assert.is_truthy(text:find("From  the default certificate", 1, true), text)
    assert.is_nil(text:find("old certificate", 1, true), text)
    local none, err = aws:retire({ journal = journal, keep = 0 })
    assert.is_nil(none)
    assert.equal("NothingToRetire", err.code)
    none, err = aws:rollback(fleet:run_options())
    assert.is_nil(none)
    assert.equal("NothingReplaced", err.code)
    none, err = aws:plan(options)
    assert.is_nil(none)
    assert.equal("NothingToDo", err.code)
    assert.is_nil(fleet:record().effects.acm_deletes)
    assert.has_error(function() aws:plan({ with = options.with, attach = {} }) end)
  end)

  it("alone, by dedicated IP addresses, needs a place in the quota, when planned and when begun", function()
    local options = { with = fleet:new_identity(), attach = { bare[1] }, ssl_support_method = "vip", verify = false,
      trust = fleet.simulator.trust_file, dedicated_ip_quota = 1 }
    local none, err = aws:plan(options)
    assert.is_nil(none)
    assert.equal("DedicatedIpQuota", err.code)
    options.dedicated_ip_quota = nil
    assert(fleet.simulator:control("quotas", { code = "L-DA9DCC93", value = 4 }))
    local plan = assert(aws:plan(options))
    assert.equal(0, plan.prediction.overlap_seconds)
    assert(fleet.simulator:control("quotas", { code = "L-DA9DCC93", value = 1 }))
    none, err = plan:run(fleet:run_options())
    assert.is_nil(none)
    assert.equal("DedicatedIpQuota", err.code)
    assert(fleet.simulator:control("quotas", { code = "L-DA9DCC93", value = 4 }))
    local report = assert(plan:run(fleet:run_options()))
    assert.is_true(report.ok)
    assert.equal(0, report.charge)
    assert.is_true(fleet:distribution(bare[1]).dedicated)
  end)

  it("killed around its write is finished by one resume, beside a rotation and alone", function()
    local client = assert(core.client())
    for _, case in ipairs({ { "before" }, { "after" }, { "after", alone = true } }) do
      local when = case[1]
      assert(fleet.simulator:control("reset", {}))
      os.remove(fleet:path("journal"))
      assert(fleet.simulator:control("faults", { operation = "UpdateDistribution", resource = bare[1], kind = "hang",
                                                 seconds = 60, when = when, count = 1 }))
      local users, argv = fleet:on(old), fleet:identity_flags({ "apply", "--journal", fleet:path("journal"), "--yes",
        "--poll", "50ms", "--no-verify", "--attach", bare[1], "--ssl-support-method", "sni-only" })
      for at = #argv, 1, -1 do
        if case.alone and argv[at] == "--replace" then
          table.remove(argv, at + 1)
          table.remove(argv, at)
        end
      end
      local process = command.start(argv, { environment = fleet:environment() })
      local deadline = core.monotonic() + 60
      local function fired() return fleet.simulator:control("faults").rules[1].fired == 1 end
      while not fired() and not process.wait(0) and core.monotonic() < deadline do client:wait(0.02) end
      assert.is_true(fired(), process.output())
      os.execute("kill -KILL " .. process.pid)
      assert.is_number(process.wait(30))
      process.close()
      assert(fleet.simulator:control("faults", { clear = true }))
      local rc, out, complaint = fleet:run(fleet:flags({ "resume", fleet:path("journal"), "--poll", "50ms",
                                                         "--no-verify" }))
      assert.equal(0, rc, out .. complaint)
      assert.same(case.alone and users or {}, fleet:on(old))
      local now = fleet:distribution(bare[1])
      assert.are_not.equal("", now.reference)
      assert.equal("sni-only", now.ssl_support_method)
      assert.same(before, fleet:configurations())
      assert.equal(case.alone and 1 or 4, fleet:record().effects.updates)
      assert.equal(1, fleet:record().effects.acm_imports)
    end
    client:close()
  end)
end)
