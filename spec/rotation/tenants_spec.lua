-- Distribution tenants and multi-tenant distributions as holders: listed, planned, changed, seen, retired, and what
-- happens to them when a run is killed or somebody else is at work.
local command = require("spec.support.command")
local core = require("certrotate.core")
local fleet_module = require("spec.support.fleet")

describe("distribution tenants", function()
  local fleet, aws, old, parent, tenants, before

  local function tenant(id)
    for _, one in ipairs(fleet:state().tenants) do
      if one.id == id then return one end
    end
  end

  -- All of them that no rotation changes, by id.
  local function rests()
    local list = {}
    for _, one in ipairs(fleet:state().tenants) do list[one.id] = one.rest end
    return list
  end

  -- A multi-tenant distribution on the old certificate, two tenants with a certificate of their own, and one without.
  local function set_up(options)
    fleet = fleet_module.start({ distributions = 4, users = 3, vip = 1, store = "acm", propagation = 0.2, seed = 7 }, options)
    old, aws = fleet.simulator.old_reference, assert(fleet:connect())
    parent, tenants = fleet:multi_tenant(old), {}
    for index, certificate in ipairs({ old, old, false }) do
      tenants[index] = fleet:tenant(parent, { ("tenant%d.shop.example"):format(index) }, certificate or nil)
    end
    before = { distributions = fleet:configurations(), tenants = rests() }
  end

  after_each(function()
    if fleet then fleet:stop() end
    fleet = nil
  end)

  -- Everything that named the old certificate names the new one, and nothing else has changed.
  local function check_rotated(to)
    assert.same({}, fleet:on(old))
    assert.equal(to, tenant(tenants[1]).certificate)
    assert.equal(to, tenant(tenants[2]).certificate)
    assert.equal("", tenant(tenants[3]).certificate)
    assert.same(before.distributions, fleet:configurations())
    assert.same(before.tenants, rests())
  end

  it("are listed with what they present, multi-tenant distributions too", function()
    set_up({ settings = { list_max_items = 2 } })
    local inventory = assert(aws:inventory())
    local found = {}
    for _, holder in ipairs(inventory:holders_of(old)) do found[holder.Id] = holder end
    assert.equal("tenant-only", found[parent].ConnectionMode)
    for index = 1, 2 do
      local holder = found[tenants[index]]
      assert.equal(parent, holder.DistributionId)
      assert.same({ "tenant" .. index .. ".shop.example" }, holder.Aliases)
      assert.equal("Deployed", holder.Status)
      assert.is_true(holder.Enabled)
      assert.is_truthy(tostring(holder):find("tenant of " .. parent, 1, true))
    end
    assert.is_nil(inventory:holder(tenants[3]))   -- it lives off its distribution's certificate
    assert.is_truthy(tostring(inventory):find("2 distribution tenants", 1, true))
    local rc, output = fleet:run(fleet:flags({ "inventory", "--holders", old }))
    assert.equal(0, rc)
    assert.is_truthy(output:find(tenants[1], 1, true), output)
    assert.is_truthy(output:find("tenant of " .. parent, 1, true), output)
  end)

  it("are not asked for where there is no multi-tenant distribution, but for the certificate to be replaced", function()
    fleet = fleet_module.start({ distributions = 3, users = 2, store = "acm", seed = 8 })
    aws = assert(fleet:connect())
    assert(aws:inventory())
    local function asked(operation)
      local count = 0
      for _, entry in ipairs(fleet:record().entries) do count = count + (entry.operation == operation and 1 or 0) end
      return count
    end
    assert.equal(0, asked("ListDistributionTenants"))
    fleet:plan(aws, "careful")
    assert.equal(0, asked("ListDistributionTenants"))
    assert.equal(1, asked("ListDistributionTenantsByCustomization"))
  end)

  for _, policy in ipairs({ "careful", "cheapest" }) do
    it("are changed with everybody else, seen, and only then the old certificate is retired: " .. policy, function()
      set_up({ settings = policy == "careful" and { tenant_status = false } or { import_lag = 1 } })
      local plan = fleet:plan(aws, policy, { verify = true })
      assert.equal(6, #plan:holders())
      assert.is_truthy(tostring(plan):find("tenant of " .. parent, 1, true))
      local seen, probes = {}, 0
      local report = assert(plan:run(fleet:run_options({ on_event = function(event)
        if event.type == "swap" then seen[event.id] = true end
        if event.type == "verified" then probes = probes + event.seen end
      end })))
      assert.is_true(report.ok)
      assert.equal(6, report.changed)
      assert.is_true(seen[tenants[1]] and seen[tenants[2]] and seen[parent])
      assert.is_true(probes >= 2)
      check_rotated(report.reference)
      assert.equal(2, fleet:record().effects.tenant_updates)

      -- One that names the old certificate again keeps it.
      assert(fleet.simulator:control("tenants/" .. tenants[2], { certificate = old }))
      local kept, err = aws:retire({ journal = fleet:path("journal"), keep = 0, patience = 1 })
      assert.is_nil(kept)
      assert.equal("StillInUse", err.code)
      assert.is_truthy(err.message:find(tenants[2], 1, true), err.message)
      assert(fleet.simulator:control("tenants/" .. tenants[2], { certificate = report.reference }))
      assert(fleet.simulator:control("clock", { pass = 60 }))
      assert.is_true(assert(aws:retire({ journal = fleet:path("journal"), keep = 0 })).deleted)
    end)
  end

  it("take ACM certificates only, whose names cover theirs", function()
    set_up()
    local result = assert(aws:check({ replace = old, with = fleet:new_identity(), store = "iam",
                                      trust = fleet.simulator.trust_file, dedicated_ip_quota = 4 }))
    local refused = {}
    for _, one in ipairs(result.findings) do refused[#refused + 1] = one.code == "IamOnMultiTenant" and one.message or nil end
    assert.equal(3, #refused)
    fleet:tenant(parent, { "elsewhere.example" }, old)
    result = assert(aws:check({ replace = old, with = fleet:new_identity(), trust = fleet.simulator.trust_file,
                                dedicated_ip_quota = 4 }))
    assert.is_true(result.refused)
    assert.equal("AliasNotCovered", result.findings[#result.findings].code)
  end)

  it("that somebody else changed or deleted are left alone and told", function()
    set_up()
    local plan = fleet:plan(aws, "careful")
    local third
    for _, one in ipairs(fleet:state().certificates) do
      if one.store == "acm" and one.reference ~= old and one.type == "IMPORTED" then third = one.reference end
    end
    local done = false
    local report = assert(plan:run(fleet:run_options({ on_event = function(event)
      if event.type == "swap" and not done then
        done = true
        assert(fleet.simulator:control("tenants/" .. tenants[1], { certificate = third }))
      end
    end })))
    assert.is_false(report.ok)
    assert.equal(third, tenant(tenants[1]).certificate)
    assert.equal(report.reference, tenant(tenants[2]).certificate)
    assert.equal(1, #report.conflicts)
    assert.equal(tenants[1], report.conflicts[1].Id)
  end)

  it("that appeared after the plan was made make it outdated", function()
    set_up()
    local plan = fleet:plan(aws, "careful")
    local late = fleet:tenant(parent, { "late.shop.example" }, old)
    local report, err = plan:run(fleet:run_options())
    assert.is_nil(report)
    assert.equal("PlanOutdated", err.code)
    assert.is_truthy(err.message:find(late, 1, true), err.message)
  end)

  it("are finished by one resume, killed around every request of a tenant", function()
    local client = assert(core.client())
    local kills = 0
    for _, point in ipairs({ { "GetDistributionTenant", "before" }, { "UpdateDistributionTenant", "before" },
                             { "UpdateDistributionTenant", "after" } }) do
      set_up()
      local journal = fleet:path("journal")
      -- The answer to this request never comes: there the process is killed.
      assert(fleet.simulator:control("faults", { operation = point[1], kind = "hang", seconds = 60, when = point[2],
                                                 count = 1 }))
      local process = command.start(fleet:identity_flags({ "apply", "--journal", journal, "--yes", "--policy",
        "cheapest", "--poll", "50ms", "--no-verify" }), { environment = fleet:environment() })
      local deadline = core.monotonic() + 60
      local function fired() return fleet.simulator:control("faults").rules[1].fired == 1 end
      while not fired() and not process.wait(0) and core.monotonic() < deadline do client:wait(0.02) end
      assert.is_true(fired(), point[1] .. " was not reached: " .. process.output())
      os.execute("kill -KILL " .. process.pid)
      kills = kills + 1
      assert.is_number(process.wait(30))
      process.close()
      assert(fleet.simulator:control("faults", { clear = true }))
      local rc, output, complaint = fleet:run(fleet:flags({ "resume", journal, "--poll", "50ms", "--no-verify" }))
      assert.equal(0, rc, output .. complaint)
      local to = tenant(tenants[1]).certificate
      assert.are_not.equal(old, to)
      check_rotated(to)
      assert.equal(2, fleet:record().effects.tenant_updates)
      assert.equal(1, fleet:record().effects.acm_imports)
      aws:close()
      fleet:stop()
      aws, fleet = nil, nil
    end
    client:close()
    assert.equal(3, kills)
  end)
end)
