-- The dedicated-IP quota: how it is read, what a plan makes of it, asking for more, and waiting for it, against the
-- simulator's Service Quotas and Support.
local case_module = require("certrotate.rotation.quota.case")
local command = require("spec.support.command")
local fleet_module = require("spec.support.fleet")
local quota = require("certrotate.rotation.quota")
local request_module = require("certrotate.rotation.quota.request")
local status_module = require("certrotate.rotation.quota.status")

describe("the dedicated-IP quota", function()
  local function codes(...)
    local list = {}
    for i, finding in ipairs(quota.findings(...)) do list[i] = finding.level .. " " .. finding.code end
    return list
  end

  it("is judged by how surely it is known", function()
    local applied = { value = 2, source = "applied", code = quota.CODE, offered = true, adjustable = true }
    local assumed = { value = 2, source = "assumed", code = quota.CODE, offered = false, adjustable = false }
    assert.same({}, codes(applied, 2))
    assert.same({ "refuse DedicatedIpQuota" }, codes(applied, 3))
    assert.same({ "warn WaitsForQuota" }, codes(applied, 3, 60))
    assert.same({ "warn QuotaAssumed" }, codes(assumed, 2))
    assert.same({ "warn QuotaAssumed", "refuse DedicatedIpQuota" }, codes(assumed, 3))
    -- What cannot be seen to change is not waited for; nor is a number of the caller's own.
    assert.same({ "warn QuotaAssumed", "refuse DedicatedIpQuota" }, codes(assumed, 3, 60))
    assert.same({ "refuse DedicatedIpQuota" }, codes(quota.given(2), 3, 60))
    assert.is_truthy(quota.findings(applied, 3)[1].message:find("certrotate quota --request 3", 1, true))
    assert.is_truthy(quota.findings(assumed, 3)[2].message:find("--dedicated-ip-quota 3", 1, true))
  end)

  it("does not take another quota for it, whatever its code", function()
    local function answer(found) return function() return found end end
    local other = { Quota = { QuotaName = "Web distributions per AWS account", QuotaCode = quota.CODE, Value = 500 } }
    local read = assert(quota.read({ quotas = {
      all_service_quotas = answer({ other.Quota }), get_service_quota = answer(other),
      all_aws_default_service_quotas = answer({}), get_aws_default_service_quota = answer(other),
    } }))
    assert.same({ 2, "assumed" }, { read.value, read.source })
  end)

  local fleet, aws
  local pause = request_module.PAUSE
  before_each(function()
    request_module.PAUSE = 0.02
    fleet = fleet_module.start({ distributions = 8, users = 4, vip = 2, propagation = 0.1, seed = 5,
                                 settings = { vip_quota = 1 } })
    aws = assert(fleet:connect())
  end)
  after_each(function()
    request_module.PAUSE = pause
    aws:close()
    fleet:stop()
  end)

  local function settings(changes) assert(fleet.simulator:control("settings", changes)) end
  local function fault(rule) assert(fleet.simulator:control("faults", rule)) end
  local function denied(operation)
    fault({ service = "servicequotas", operation = operation, kind = "error", status = 400, code = "AccessDeniedException",
            message = "User is not authorized to perform: servicequotas" })
  end
  local function effects() return fleet:record().effects end

  local function plan(options)
    local all = { replace = fleet.simulator.old_reference, with = fleet:new_identity(), policy = "cheapest",
                  trust = fleet.simulator.trust_file, verify = false, files = {
                    certificate = fleet.simulator.files.new_certificate, private_key = fleet.simulator.files.new_key,
                    chain = fleet.simulator.files.new_chain } }
    for key, value in pairs(options or {}) do all[key] = value end
    return aws:plan(all)
  end

  -- One dedicated-IP distribution gets another certificate: two are in use.
  local function use_another()
    local other
    for _, certificate in ipairs(fleet:state().certificates) do
      local another = certificate.reference ~= fleet.simulator.old_reference
      if another and certificate.store == "acm" then other = certificate.reference end
    end
    for _, holder in ipairs(assert(aws:inventory()):holders_of(fleet.simulator.old_reference)) do
      if holder:dedicated_ip() then return fleet:interfere(holder.Id, fleet.simulator.old_reference, other) end
    end
  end

  describe("is read", function()
    local function read()
      local got = assert(quota.read(aws))
      return { got.value, got.source, got.offered }, got
    end

    it("by name, by code, as AWS's default, or assumed", function()
      assert.same({ 1, "applied", true }, (read()))
      settings({ quota_names = false })
      assert.same({ 1, "applied", true }, (read()))
      settings({ quota_names = true, quota_defaults_only = true, vip_quota = 2 })
      assert.same({ 2, "default", true }, (read()))
      settings({ quota_names = false })
      assert.same({ 2, "default", true }, (read()))
      settings({ quota_offered = false })
      local got, all = read()
      assert.same({ 2, "assumed", false }, got)
      assert.is_nil(all.problem)
    end)

    it("where listing is not allowed, and assumed where nothing is", function()
      denied("ListServiceQuotas")
      assert.same({ 1, "applied", true }, (read()))
      denied()
      local got, all = read()
      assert.same({ 2, "assumed", true }, got)
      assert.equal("AccessDeniedException", all.problem.code)
    end)

    it("assumed when the service is in trouble, after one try of the four", function()
      fault({ service = "servicequotas", kind = "reset" })
      local got, all = read()
      assert.same({ 2, "assumed", true }, got)
      assert.equal("transport", all.problem.kind)
      assert.is_nil(fleet:record().operations["servicequotas:GetServiceQuota"])
    end)

    it("with credentials that serve: wrong ones are an error", function()
      local wrong = assert(fleet:connect({ secret_access_key = "wrong" }))
      local got, err = quota.read(wrong)
      wrong:close()
      assert.is_nil(got)
      assert.equal("credentials", err.kind)
    end)
  end)

  describe("in a plan", function()
    it("refuses what does not fit, before anything is changed, and says what to do", function()
      local made, err = plan()
      assert.is_nil(made)
      assert.same({ "policy", "DedicatedIpQuota" }, { err.kind, err.code })
      assert.is_truthy(err.message:find("the quota is 1", 1, true), err.message)
      settings({ vip_quota = 2 })
      assert.equal(4, #assert(plan()):holders())
    end)

    it("not being allowed to read it is a finding, and refuses by the documented value only", function()
      denied()
      local made = assert(plan())
      assert.equal("QuotaAssumed", made.findings[1].code)
      assert.is_truthy(made.findings[1].message:find("AccessDenied", 1, true))
      use_another()
      local refused, err = plan()
      assert.is_nil(refused)
      assert.equal("DedicatedIpQuota", err.code)
      assert.equal(3, #assert(plan({ dedicated_ip_quota = 3 })):holders())
    end)

    it("is not asked for where no holder uses dedicated IP addresses", function()
      local ids = {}
      for _, holder in ipairs(assert(aws:inventory()):holders_of(fleet.simulator.old_reference)) do
        if not holder:dedicated_ip() then ids[#ids + 1] = holder.Id end
      end
      assert(plan({ only = ids }))
      assert.is_nil(fleet:record().operations["servicequotas:ListServiceQuotas"])
    end)

    it("is looked at again when the plan is carried out", function()
      settings({ vip_quota = 2 })
      local made = assert(plan())
      settings({ vip_quota = 1 })
      local report, err = made:run(fleet:run_options())
      assert.is_nil(report)
      assert.equal("DedicatedIpQuota", err.code)
      assert.same({}, effects())
      assert.is_nil(io.open(fleet:path("journal")))
      settings({ vip_quota = 2 })
      assert.is_true(assert(made:run(fleet:run_options())).ok)
    end)
  end)

  describe("is asked for", function()
    local function ask(value) return status_module.ask(aws, assert(aws:quota()), value) end

    it("once: an open request is found, with its case and what AWS said last", function()
      local first = assert(ask(3))
      assert.is_true(first.asked)
      local second = assert(ask(4))
      assert.is_false(second.asked)
      assert.equal(first.request.Id, second.request.Id)
      assert.equal(1, fleet:record().operations["servicequotas:RequestServiceQuotaIncrease"].calls)
      assert(fleet.simulator:control("quotas", { decision = "open_case" }))
      assert(fleet.simulator:control("cases", { body = "what for?" }))
      for _, kind in ipairs({ "display", "case" }) do
        settings({ quota_case_id = kind })
        local status = assert(aws:quota())
        assert.same({ "CASE_OPENED", "pending-customer-action", "what for?" },
          { status.request.Status, status.case.status, status.case.latest.body })
        assert.same({ 1, 2, 2, false }, { status.in_use, status.holders, status.needed, status.fits })
      end
      assert.equal(1, effects().quota_requests)
    end)

    it("once, when the answer is lost: it is read back", function()
      settings({ request_lag = 0.03 })
      fault({ operation = "RequestServiceQuotaIncrease", kind = "reset", when = "after", count = 1 })
      local result = assert(ask(3))
      assert.is_true(result.asked)
      assert.equal(3, result.request.DesiredValue)
      assert.equal(1, effects().quota_requests)
      assert.equal(1, fleet:record().operations["servicequotas:RequestServiceQuotaIncrease"].calls)
    end)

    it("and it is said when nobody knows whether AWS got it", function()
      fault({ operation = "RequestServiceQuotaIncrease", kind = "reset", when = "before", count = 1 })
      local result, err = ask(3)
      assert.is_nil(result)
      assert.is_true(err.ambiguous)
      assert.is_truthy(err.message:find("not known", 1, true), err.message)
      assert.equal(1, fleet:record().operations["servicequotas:RequestServiceQuotaIncrease"].calls)
    end)

    it("of nobody twice: a request that is not listed yet is told as such", function()
      settings({ request_lag = 1000 })
      assert(ask(3))
      local result, err = ask(3)
      assert.is_nil(result)
      assert.equal("ResourceAlreadyExistsException", err.code)
      assert.equal(1, effects().quota_requests)
    end)

    it("of AWS Support where Service Quotas cannot raise it, once", function()
      for index, change in ipairs({ { quota_adjustable = false }, { quota_offered = false } }) do
        settings(change)
        local result = assert(ask(3))
        assert.equal(index == 1, result.asked)
        assert.is_truthy(result.case.subject:find("3 SSL certificates", 1, true))
        assert.is_truthy(result.case.latest.body:find("rotation", 1, true))
        assert.is_truthy(result.case.latest.body:find("111122223333", 1, true))
      end
      assert.equal(1, effects().cases)
      assert.is_nil(effects().quota_requests)
      assert.equal("unassigned", assert(aws:quota()).case.status)
      local case = assert(fleet.simulator:control("cases")).cases[1]
      assert.same({ "amazon-cloudfront", "ssl-certificates", "low" }, { case.serviceCode, case.categoryCode, case.severityCode })
    end)

    it("of AWS Support once, when the answer is lost", function()
      settings({ quota_offered = false, request_lag = 0.03 })
      fault({ operation = "CreateCase", kind = "reset", when = "after", count = 1 })
      assert.is_true(assert(ask(3)).asked)
      assert.equal(1, effects().cases)
      assert.equal(1, fleet:record().operations["support:CreateCase"].calls)
      fault({ operation = "CreateCase", kind = "reset", when = "before" })
      assert(fleet.simulator:control("cases", { status = "resolved" }))
      local result, err = ask(3)
      assert.is_nil(result)
      assert.is_true(err.ambiguous)
    end)

    it("by a person where there is no support plan: the text to paste", function()
      settings({ quota_offered = false, support_plan = false })
      local result, err = ask(3)
      assert.is_nil(result)
      assert.equal("SubscriptionRequiredException", err.code)
      for _, part in ipairs({ "3 SSL certificates", "certificate rotation", "1 is in use", "111122223333" }) do
        assert.is_truthy((err.text.subject .. err.text.body):find(part, 1, true), err.text.body)
      end
      assert.same({}, effects())
    end)

    it("of nobody who may not: the error is AWS's", function()
      denied("RequestServiceQuotaIncrease")
      local result, err = ask(3)
      assert.is_nil(result)
      assert.equal("AccessDeniedException", err.code)
    end)

    it("the text fits what CreateCase takes", function()
      local subject, body = case_module.text(12, { in_use = 11, quota = 11 })
      assert.is_truthy(subject:find("12 SSL certificates", 1, true))
      assert.is_true(#body < 8000 and body:find("11 are in use", 1, true) ~= nil)
    end)
  end)

  describe("is waited for", function()
    local seen
    before_each(function() seen = {} end)

    -- Options of a run that does something when it first has to wait.
    local function run_options(on_first, more)
      local all = { quota_poll = 0.05, on_event = function(event)
        seen[#seen + 1] = event
        if event.type == "quota" and not event.enough and on_first then
          local act = on_first
          on_first = nil
          act()
        end
      end }
      for key, value in pairs(more or {}) do all[key] = value end
      return fleet:run_options(all)
    end

    local function waiting_plan(seconds)
      local made = assert(plan({ wait_for_quota = seconds or 60 }))
      assert.equal("WaitsForQuota", made.findings[1].code)
      return made
    end

    it("and the rotation goes on by itself once the value is there", function()
      assert(status_module.ask(aws, assert(aws:quota()), 2))
      settings({ quota_value_lag = 0.2 })
      local before
      local report = assert(waiting_plan():run(run_options(function()
        before = effects()
        assert(fleet.simulator:control("quotas", { decision = "approve" }))
      end)))
      assert.is_true(report.ok)
      assert.same({ quota_requests = 1 }, before)
      assert.same({}, fleet:on(fleet.simulator.old_reference))
      local statuses = {}
      for _, event in ipairs(seen) do
        if event.type == "quota" then statuses[event.request and event.request.Status or "enough"] = true end
      end
      -- Approved, and waited all the same: the value decides.
      assert.is_true(statuses.PENDING and statuses.APPROVED and statuses.enough)
      assert.is_truthy(command.read(fleet:path("journal")):find('"event":"quota"', 1, true))
    end)

    it("and a denied request does not matter when the value is enough", function()
      assert(status_module.ask(aws, assert(aws:quota()), 3))
      local report = assert(waiting_plan():run(run_options(function()
        assert(fleet.simulator:control("quotas", { decision = "deny" }))
        settings({ vip_quota = 2 })
      end)))
      assert.is_true(report.ok)
    end)

    it("no longer than was said; nothing is changed then, and it can be resumed with more time", function()
      local report, err = waiting_plan(0.3):run(run_options())
      assert.is_nil(report)
      assert.same({ "policy", "DedicatedIpQuota" }, { err.kind, err.code })
      assert.is_truthy(err.message:find("nothing was changed", 1, true), err.message)
      assert.same({}, effects())
      local status = assert(require("certrotate.rotation.status").read(fleet:path("journal")))
      assert.equal("waiting", status.phase)
      assert.equal(2, status.waiting.needed)
      report, err = aws:resume(run_options())
      assert.is_nil(report)
      assert.equal("DedicatedIpQuota", err.code)
      report = assert(aws:resume(run_options(function() settings({ vip_quota = 2 }) end, { wait_for_quota = 60 })))
      assert.is_true(report.ok)
      assert.equal("finished", assert(require("certrotate.rotation.status").read(fleet:path("journal"))).phase)
    end)

    it("until it is interrupted, and on when it is resumed, with the same end", function()
      local report, err = waiting_plan():run(run_options(function() aws.loop:interrupt("SIGINT") end))
      assert.is_nil(report)
      assert.same({ "cancelled", "Interrupted" }, { err.kind, err.code })
      assert.equal(fleet:path("journal"), err.journal)
      assert.same({}, effects())
      aws.loop:uninterrupt()
      local deadline
      for _, event in ipairs(seen) do deadline = deadline or event.deadline end
      local locks = require("certrotate.rotation.journal").load(fleet:path("journal")):state().locks
      assert.equal(fleet:path("state"), locks)
      report = assert(aws:resume(run_options(function() settings({ vip_quota = 2 }) end)))
      assert.is_true(report.ok)
      for _, event in ipairs(seen) do assert.is_true(event.type ~= "quota" or event.deadline == deadline) end
      local _, waits = command.read(fleet:path("journal")):gsub('"event":"quota"', "")
      assert.equal(1, waits)
    end)

    it("and a plan that reality left behind meanwhile is refused", function()
      local report, err = waiting_plan():run(run_options(function()
        use_another()
        settings({ vip_quota = 9 })
      end))
      assert.is_nil(report)
      assert.equal("PlanOutdated", err.code)
      assert.same({}, effects())
    end)

    it("through trouble that passes", function()
      aws:close()
      aws = assert(fleet:connect({ max_attempts = 1 }))
      local report = assert(waiting_plan():run(run_options(function()
        fault({ service = "servicequotas", kind = "reset", count = 4 })
        settings({ vip_quota = 2 })
      end)))
      assert.is_true(report.ok)
      -- Not by a value that was assumed meanwhile.
      for _, event in ipairs(seen) do assert.is_true(event.type ~= "quota" or event.source == "applied") end
      assert.is_true(fleet:record().operations["servicequotas:ListServiceQuotas"].errors >= 2)
    end)

    it("not where its value cannot be read: that would never end", function()
      local made = waiting_plan()
      local report, err = made:run(run_options(function()
        denied()
        use_another()
      end))
      assert.is_nil(report)
      assert.equal("DedicatedIpQuota", err.code)
      assert.is_truthy(err.message:find("--dedicated-ip-quota", 1, true), err.message)
    end)
  end)
end)
