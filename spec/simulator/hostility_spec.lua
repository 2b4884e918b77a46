-- What the simulator does to a client, and what it remembers: rules, another client at work, deployments that are slow
-- or stuck, listings that lag; the same seed, the same troubles.
if not rawget(_G, "jit") then return end
local simulation = require("spec.support.simulation")
local config = require("certrotate.simulator.distribution_config")
local deployment = require("certrotate.simulator.deployment")
local hostility = require("certrotate.simulator.hostility")
local interference = require("certrotate.simulator.interference")
local json = require("certrotate.json")

describe("a hostile simulator", function()
  local account, sim, certificate
  before_each(function()
    account = simulation.account({ propagation = 5 })
    sim = account.sim
    certificate = account:store("acm", "old")
  end)
  teardown(simulation.close)

  local count = 0
  local function distribution(fields)
    count = count + 1
    local all = { caller_reference = "hostile-" .. count, viewer = { store = "acm", reference = certificate.reference,
                  method = "sni-only", minimum = "TLSv1.2_2021" } }
    for name, value in pairs(fields or {}) do all[name] = value end
    return sim.store.distributions[account:create(all)]
  end
  local function act(action, request, fault)
    fault = fault or {}
    fault.action, fault.fired = action, 1
    return interference.act(sim, request or {}, fault)
  end

  it("chances depend on the seed and on which call of its kind it is, not on what runs beside it", function()
    local function luck(disturbed)
      local faults = require("certrotate.simulator.faults").new(7)
      assert(faults:add({ kind = "reset", chance = 0.5 }))
      local list = {}
      for index = 1, 40 do
        if disturbed then faults:take({ service = "cloudfront", operation = "GetDistribution", resource = "E" .. index }) end
        list[index] = faults:take({ service = "cloudfront", operation = "UpdateDistribution", resource = "E" }) and 1 or 0
      end
      return table.concat(list)
    end
    assert.equal(luck(false), luck(true))
    assert.is_truthy(luck(false):find("1") and luck(false):find("0"))
  end)

  it("profiles are the same for the same seed, differ between seeds, and every one can be put in force", function()
    local seen = {}
    for seed = 1, 300 do
      local profile = hostility.profile(seed)
      assert.same(profile, hostility.profile(seed))
      assert.is_true(hostility.apply(simulation.account().sim, profile))
      for _, trouble in ipairs(profile.troubles) do seen[trouble] = true end
    end
    local troubles = 0
    for _ in pairs(seen) do troubles = troubles + 1 end
    assert.equal(26, troubles)
    assert.are_not.equal(json.encode(hostility.profile(1)), json.encode(hostility.profile(2)))
  end)

  it("profiles meet S3 and tenants where there are some, and leave S3's clock alone", function()
    local seen, before = {}, {}
    for seed = 1, 300 do
      local profile = hostility.profile(seed, { s3 = true, tenants = true })
      assert.same(profile, hostility.profile(seed, { s3 = true, tenants = true }))
      assert.is_true(hostility.apply(simulation.account().sim, profile))
      for index, trouble in ipairs(profile.troubles) do
        seen[trouble] = true
        if index <= 2 then before[trouble] = true end
      end
      for _, rule in ipairs(profile.rules) do assert.are_not.equal("clock", rule.kind) end
    end
    local function size(set)
      local kinds = 0
      for _ in pairs(set) do kinds = kinds + 1 end
      return kinds
    end
    assert.same({ 26 - 1 + 6 + 5, 6 + 5 }, { size(seen), size(before) })
  end)

  it("another client's certificate for a tenant is noted, and a stuck tenant can be ended", function()
    local parent = distribution({ connection_mode = "tenant-only" })
    assert.is_nil((act("tenant", {})))
    local tenants = require("certrotate.simulator.tenants")
    local id = assert(tenants.add(sim, { distribution = parent.id, domains = { "a.shop.example" },
                                         certificate = certificate.reference })).id
    local rest = tenants.describe(sim, sim.store.tenants[id]).rest
    sim.settings.stuck_share = 1
    assert(act("tenant", { resource = id }))
    local tenant = sim.store.tenants[id]
    assert.are_not.equal(certificate.reference, tenant.certificate)
    assert.equal(rest, tenants.describe(sim, tenant).rest)
    local change = sim.record.changes[#sim.record.changes]
    assert.same({ "update", "other", id, certificate.reference, tenant.certificate },
      { change.what, change.by, change.id, change.from, change.to })
    assert.is_nil(change.outside)
    account:pass(86400)
    assert.equal("InProgress", deployment.status(sim, tenant))
    assert.equal(1, deployment.finish(sim))
    assert.equal("Deployed", deployment.status(sim, tenant))
    -- A distribution that has tenants is not deleted by anybody.
    assert.is_nil((act("delete", { resource = parent.id })))
  end)

  it("another client's edit is a new version with another comment, noted as somebody else's", function()
    local target = distribution()
    local etag, hash = target.etag, config.outside_hash(target)
    assert(act("edit", { resource = target.id }))
    assert.are_not.equal(etag, target.etag)
    assert.are_not.equal(hash, config.outside_hash(target))
    assert.equal(certificate.reference, target.view.viewer.reference)
    local change = sim.record.changes[#sim.record.changes]
    assert.same({ "update", "other", true }, { change.what, change.by, change.outside })
  end)

  it("another client's certificate serves the same names, and nothing else changes", function()
    local target = distribution()
    local hash = config.outside_hash(target)
    assert(act("certificate", { resource = target.id }))
    local now = sim.store:certificate(target.view.viewer.reference)
    assert.are_not.equal(certificate.reference, now.reference)
    assert.equal(certificate.current.leaf.fingerprint, now.current.leaf.fingerprint)
    assert.equal(hash, config.outside_hash(target))
    -- From one store to the other.
    local iam = account:store("iam", "old")
    assert(act("certificate", { resource = target.id }, { reference = iam.reference }))
    assert.same({ iam.reference, "iam" }, { target.view.viewer.reference, target.view.viewer.source })
  end)

  it("whom it befalls can be named, be another, or nobody", function()
    local one, two = distribution(), distribution()
    assert(act("disable", { resource = one.id }, { target = "other" }))
    assert.same({ true, false }, { one.view.enabled, two.view.enabled })
    assert(act("disable", {}, { target = one.id }))
    assert.is_false(one.view.enabled)
    assert.is_nil((act("disable", {}, { target = "ENOBODY" })))
    assert(act("create", { resource = one.id }))
    assert.equal(3, #sim.store:users(certificate.reference, account.time))
    assert(act("delete", { resource = one.id }))
    assert.is_nil(sim.store.distributions[one.id])
  end)

  it("a promoted staging distribution brings its certificate, and the primary keeps its names and its policy", function()
    local copy = distribution({ staging = true, origin = "next.example.net" })
    local policy = require("certrotate.simulator.continuous_deployment").add(sim, { copy.domain })
    local primary = distribution({ aliases = { "www.shop.example" } })
    assert(act("certificate", { resource = primary.id }))
    local document = assert(config.read((primary.raw:gsub("(<ContinuousDeploymentPolicyId>)", "%1" .. policy.id)), {}))
    require("certrotate.simulator.cloudfront").replace(sim, primary, document)
    local reference = primary.view.caller_reference
    assert(act("promote"))
    assert.same({ certificate.reference, policy.id, false, reference, { "www.shop.example" } },
      { primary.view.viewer.reference, primary.view.policy, primary.view.staging, primary.view.caller_reference,
        primary.view.aliases })
    assert.is_truthy(primary.raw:find("next.example.net", 1, true))
  end)

  it("a deployment can be slow, or stuck until it is ended", function()
    local target = distribution()
    sim.settings.slow_share, sim.settings.slow_seconds = 1, 50
    assert(act("edit", { resource = target.id }))
    account:pass(49)
    assert.equal("InProgress", deployment.status(sim, target))
    account:pass(1)
    assert.equal("Deployed", deployment.status(sim, target))
    sim.settings.stuck_share = 1
    assert(act("edit", { resource = target.id }))
    account:pass(86400)
    assert.equal("InProgress", deployment.status(sim, target))
    assert.equal(1, deployment.finish(sim))
    assert.equal("Deployed", deployment.status(sim, target))
    assert.equal(0, deployment.finish(sim))
  end)

  it("listings of both stores lag behind imports when told so", function()
    sim.settings.store_list_lag = 10
    local function listed(fresh)
      local acm = json.encode(account:json("acm", "CertificateManager.ListCertificates", {}))
      local iam = account:query("iam", { Action = "ListServerCertificates" })
      return (acm .. iam):find(fresh.reference, 1, true) ~= nil
    end
    local acm, iam = account:store("acm", "new"), account:store("iam", "new")
    assert.same({ false, false }, { listed(acm), listed(iam) })
    account:pass(10)
    assert.same({ true, true }, { listed(acm), listed(iam) })
  end)

  it("the clock changes under a client", function()
    assert(sim.faults:add({ kind = "clock", seconds = 3600, count = 1 }))
    assert.is_truthy(account:query("iam", { Action = "GetAccountSummary" }))
    local _, code = account:query("iam", { Action = "GetAccountSummary" })
    assert.equal("SignatureDoesNotMatch", code)
  end)

  it("what a client changed is remembered: updates, imports, deletions asked for while held", function()
    local target = distribution()
    local other = account:store("acm", "new")
    assert(account:update(target.id, function(text) return (text:gsub("spec", "changed", 1)) end))
    account:pass(60)
    assert(account:update(target.id, function(text)
      return (text:gsub(certificate.reference:gsub("%p", "%%%0"), other.reference))
    end))
    assert.is_nil((account:json("acm", "CertificateManager.DeleteCertificate", { CertificateArn = other.reference })))
    account:pass(60)
    assert(account:json("acm", "CertificateManager.DeleteCertificate", { CertificateArn = certificate.reference }))
    local list = {}
    for index, change in ipairs(sim.record.changes) do
      list[index] = table.concat({ change.what, change.by, change.outside and "outside" or "",
                                   change.from ~= change.to and "certificate" or "", change.held or "" }, " ")
    end
    assert.same({ "update client outside  ", "update client  certificate ", "delete client   1", "delete client   0" }, list)
  end)
end)
