-- The simulated Service Quotas and Support: values, requests and what becomes of them, cases and what is said in them.
-- LuaJIT only.
if not rawget(_G, "jit") then return end

local quotas = require("certrotate.simulator.quotas")
local simulation = require("spec.support.simulation")
local support = require("certrotate.simulator.support")

local DEDICATED = { ServiceCode = "cloudfront", QuotaCode = "L-DA9DCC93" }

describe("the simulated", function()
  local account
  before_each(function() account = simulation.account() end)

  local function input(more)
    local all = {}
    for key, value in pairs(DEDICATED) do all[key] = value end
    for key, value in pairs(more or {}) do all[key] = value end
    return all
  end

  local function ask(operation, given, region)
    return account:json("servicequotas", "ServiceQuotasV20190624." .. operation, given or DEDICATED, region)
  end

  local function cases(operation, given)
    return account:json("support", "AWSSupport_20130415." .. operation, given or "{}")
  end

  local function code_of(_, code) return code end

  local function value() return assert(ask("GetServiceQuota")).Quota.Value end

  describe("Service Quotas", function()
    it("lists page by page, refuses tokens that are none, and knows no quota of another region", function()
      local first = assert(ask("ListServiceQuotas", { ServiceCode = "cloudfront", MaxResults = 2 }))
      local second = assert(ask("ListServiceQuotas", { ServiceCode = "cloudfront", MaxResults = 2, NextToken = first.NextToken }))
      assert.same({ 2, 1 }, { #first.Quotas, #second.Quotas })
      assert.is_nil(second.NextToken)
      assert.equal("InvalidPaginationTokenException",
        code_of(ask("ListServiceQuotas", { ServiceCode = "cloudfront", NextToken = "x" })))
      assert.equal("IllegalArgumentException",
        code_of(ask("ListServiceQuotas", { ServiceCode = "cloudfront", MaxResults = 101 })))
      assert.equal("NoSuchResourceException", code_of(ask("ListServiceQuotas", { ServiceCode = "lambda" })))
      assert.equal("NoSuchResourceException", code_of(ask("GetServiceQuota", DEDICATED, "eu-west-1")))
    end)

    it("may know no applied value, or no such quota at all", function()
      account.sim.settings.quota_defaults_only = true
      assert.equal("NoSuchResourceException", code_of(ask("GetServiceQuota")))
      assert.equal(2, assert(ask("GetAWSDefaultServiceQuota")).Quota.Value)
      assert.equal(0, #assert(ask("ListServiceQuotas", { ServiceCode = "cloudfront" })).Quotas)
      assert.equal(3, #assert(ask("ListAWSDefaultServiceQuotas", { ServiceCode = "cloudfront" })).Quotas)
      account.sim.settings.vip_quota = 4
      assert.equal(4, value())
      account.sim.settings.quota_offered = false
      assert.equal("NoSuchResourceException", code_of(ask("GetAWSDefaultServiceQuota")))
      assert.equal("NoSuchResourceException", code_of(ask("RequestServiceQuotaIncrease", input({ DesiredValue = 5 }))))
    end)

    it("opens a case for a request, and raises the value once it is approved", function()
      local made = assert(ask("RequestServiceQuotaIncrease", input({ DesiredValue = 3 }))).RequestedQuota
      assert.same({ "PENDING", 3 }, { made.Status, made.DesiredValue })
      assert.is_nil(made.CaseId)
      assert.equal("ResourceAlreadyExistsException", code_of(ask("RequestServiceQuotaIncrease", input({ DesiredValue = 4 }))))
      account:pass(2)
      local open = assert(ask("GetRequestedServiceQuotaChange", { RequestId = made.Id })).RequestedQuota
      assert.equal("CASE_OPENED", open.Status)
      local case = assert(cases("DescribeCases", { displayId = open.CaseId })).cases[1]
      assert.equal("Limit Increase: Amazon CloudFront", case.subject)
      assert.equal(2, value())
      account.sim.settings.quota_value_lag = 10
      assert(quotas.control(account.sim, { decision = "approve", message = "done" }))
      assert.equal("APPROVED", assert(ask("GetRequestedServiceQuotaChange", { RequestId = made.Id })).RequestedQuota.Status)
      assert.equal(2, value())
      account:pass(11)
      assert.equal(3, value())
      assert.equal(2, assert(ask("GetAWSDefaultServiceQuota")).Quota.Value)
      assert.equal(0, #assert(cases("DescribeCases")).cases)
      local resolved = assert(cases("DescribeCases", { includeResolvedCases = true })).cases[1]
      assert.equal("done", resolved.recentCommunications.communications[1].body)
      assert.equal("IllegalArgumentException", code_of(ask("RequestServiceQuotaIncrease", input({ DesiredValue = 3 }))))
      assert.equal(1, account.sim.record.effects.quota_requests)
    end)

    it("decides by itself when told so, each way", function()
      for review, status in pairs({ approve = "APPROVED", deny = "DENIED" }) do
        account = simulation.account({ quota_review = review, quota_case_id = "case" })
        local made = assert(ask("RequestServiceQuotaIncrease", input({ DesiredValue = 3 }))).RequestedQuota
        account:pass(60)
        local after = assert(ask("ListRequestedServiceQuotaChangeHistoryByQuota")).RequestedQuotas[1]
        assert.same({ made.Id, status }, { after.Id, after.Status })
        assert.is_truthy(after.CaseId:find("^case%-"))
        assert.equal(review == "approve" and 3 or 2, value())
      end
      account = simulation.account({ quota_review = "deny" })
      assert(ask("RequestServiceQuotaIncrease", input({ DesiredValue = 3, SupportCaseAllowed = false })))
      account:pass(60)
      local after = assert(ask("ListRequestedServiceQuotaChangeHistory", "{}")).RequestedQuotas[1]
      assert.equal("NOT_APPROVED", after.Status)
      assert.is_nil(after.CaseId)
    end)

    it("lets a listing lag, filters by status, and refuses what is too much or cannot be", function()
      account.sim.settings.request_lag = 5
      assert(ask("RequestServiceQuotaIncrease", input({ DesiredValue = 3 })))
      assert.equal(0, #assert(ask("ListRequestedServiceQuotaChangeHistoryByQuota")).RequestedQuotas)
      account:pass(6)
      assert.equal(1, #assert(ask("ListRequestedServiceQuotaChangeHistoryByQuota", input({ Status = "CASE_OPENED" })))
        .RequestedQuotas)
      assert.equal(0, #assert(ask("ListRequestedServiceQuotaChangeHistoryByQuota", input({ Status = "DENIED" }))).RequestedQuotas)
      assert(ask("RequestServiceQuotaIncrease", { ServiceCode = "iam", QuotaCode = "L-BF35879D", DesiredValue = 30 }))
      assert.equal("QuotaExceededException", code_of(ask("RequestServiceQuotaIncrease",
        { ServiceCode = "acm", QuotaCode = "L-F141DD1D", DesiredValue = 3000 })))
      assert(quotas.control(account.sim, { decision = "close" }))
      assert(quotas.control(account.sim, { decision = "not_approved" }))
      account.sim.settings.quota_adjustable = false
      assert.equal("IllegalArgumentException", code_of(ask("RequestServiceQuotaIncrease", input({ DesiredValue = 3 }))))
      assert.equal("IllegalArgumentException", code_of(ask("RequestServiceQuotaIncrease", input({ DesiredValue = "3" }))))
      for _, wrong in ipairs({ { decision = "approve" }, { request = "r", decision = "deny" }, { code = "L" } }) do
        assert.is_nil((quotas.control(account.sim, wrong)))
      end
    end)

    it("is of one account: another has its own value, requests and cases", function()
      local other = require("certrotate.simulator.simulation").of(account.sim, "222233334444")
      assert(quotas.control(account.sim, { code = "L-DA9DCC93", value = 7 }))
      assert(ask("RequestServiceQuotaIncrease", input({ DesiredValue = 8 })))
      assert.same({ 7, 2 }, { quotas.enforced(account.sim, "L-DA9DCC93"), quotas.enforced(other, "L-DA9DCC93") })
      account:pass(60)
      assert.same({ 1, 0 }, { #quotas.report(account.sim).requests, #quotas.report(other).requests })
      assert.same({ 1, 0 }, { #support.report(account.sim).cases, #support.report(other).cases })
    end)

    it("enforces what it says for the stores too", function()
      assert(quotas.control(account.sim, { code = "L-BF35879D", value = 0 }))
      local pem, key, chain = simulation.pem("new")
      assert.equal("LimitExceeded", select(2, account:query("iam", { Action = "UploadServerCertificate",
        ServerCertificateName = "a", CertificateBody = pem, PrivateKey = key, CertificateChain = chain })))
      local summary = assert(account:query("iam", { Action = "GetAccountSummary" }))
      assert.is_truthy(summary:find("<key>ServerCertificatesQuota</key><value>0</value>", 1, true), summary)
    end)
  end)

  describe("Support", function()
    local function open(more)
      local all = { subject = "a question", communicationBody = "how many?", serviceCode = "amazon-cloudfront",
                    categoryCode = "general-guidance", severityCode = "low", ccEmailAddresses = { "a@example.com" } }
      for key, item in pairs(more or {}) do all[key] = item end
      return cases("CreateCase", all)
    end

    it("refuses everything without a plan", function()
      account.sim.settings.support_plan = false
      for _, operation in ipairs({ "DescribeCases", "DescribeServices", "DescribeSeverityLevels" }) do
        assert.equal("SubscriptionRequiredException", code_of(cases(operation)))
      end
      assert.equal("SubscriptionRequiredException", code_of(open()))
    end)

    it("opens a case, tells what is said in it, and closes it", function()
      local id = assert(open()).caseId
      assert(cases("AddCommunicationToCase", { caseId = id, communicationBody = "please" }))
      assert(support.control(account.sim, { body = "three" }))
      local case = assert(cases("DescribeCases", { caseIdList = { id } })).cases[1]
      assert.same({ "a question", "pending-customer-action", "amazon-cloudfront", "general-guidance", "low" },
        { case.subject, case.status, case.serviceCode, case.categoryCode, case.severityCode })
      assert.same({ "a@example.com" }, case.ccEmailAddresses)
      local said = case.recentCommunications.communications
      assert.same({ "three", "please", "how many?" }, { said[1].body, said[2].body, said[3].body })
      assert.equal("Amazon Web Services", said[1].submittedBy)
      assert.is_nil(assert(cases("DescribeCases", { caseIdList = { id }, includeCommunications = false }))
        .cases[1].recentCommunications)
      assert.same({ "pending-customer-action", "resolved" }, (function(answer)
        return { answer.initialCaseStatus, answer.finalCaseStatus }
      end)(assert(cases("ResolveCase", { caseId = id }))))
      assert.equal(0, #assert(cases("DescribeCases")).cases)
      assert(cases("AddCommunicationToCase", { caseId = id, communicationBody = "once more" }))
      assert.equal("reopened", assert(cases("DescribeCases")).cases[1].status)
      assert.equal(1, account.sim.record.effects.cases)
    end)

    it("pages cases and communications, newest first, and filters by time", function()
      local ids = {}
      for index = 1, 12 do
        ids[index] = assert(open({ subject = "case " .. index })).caseId
        account:pass(60)
      end
      local first = assert(cases("DescribeCases", { maxResults = 10 }))
      assert.same({ 10, "case 12" }, { #first.cases, first.cases[1].subject })
      local second = assert(cases("DescribeCases", { maxResults = 10, nextToken = first.nextToken }))
      assert.same({ 2, "case 1" }, { #second.cases, second.cases[2].subject })
      assert.is_nil(second.nextToken)
      local after = assert(cases("DescribeCases", { afterTime = second.cases[1].timeCreated })).cases
      assert.equal(11, #after)
      for index = 1, 14 do
        assert(cases("AddCommunicationToCase", { caseId = ids[1], communicationBody = "more " .. index }))
      end
      local said = assert(cases("DescribeCommunications", { caseId = ids[1], maxResults = 10 }))
      assert.same({ 10, "more 14" }, { #said.communications, said.communications[1].body })
      local rest = assert(cases("DescribeCommunications", { caseId = ids[1], nextToken = said.nextToken }))
      assert.same({ 5, "how many?" }, { #rest.communications, rest.communications[5].body })
      assert.equal(5, #assert(cases("DescribeCases", { caseIdList = { ids[1] } })).cases[1].recentCommunications.communications)
    end)

    it("refuses what is not valid", function()
      for _, wrong in ipairs({ { subject = "" }, { communicationBody = ("x"):rep(8001) }, { serviceCode = "nothing" },
                               { categoryCode = "nothing" }, { severityCode = "nothing" }, { issueType = "limit" },
                               { serviceCode = "service-limit-increase" } }) do
        assert.equal("ValidationException", code_of(open(wrong)))
      end
      assert.equal("CaseIdNotFound", code_of(cases("DescribeCases", { caseIdList = { "case-1" } })))
      assert.equal("CaseIdNotFound", code_of(cases("DescribeCommunications", { caseId = "case-1" })))
      assert.equal("CaseIdNotFound", code_of(cases("ResolveCase", { caseId = "case-1" })))
      assert.equal("CaseIdNotFound", code_of(cases("AddCommunicationToCase", { caseId = "x", communicationBody = "y" })))
      for _, wrong in ipairs({ { maxResults = 5 }, { nextToken = "x" }, { afterTime = "yesterday" } }) do
        assert.equal("ValidationException", code_of(cases("DescribeCases", wrong)))
      end
      assert.is_nil((support.control(account.sim, { id = "case-1" })))
      assert.is_nil((support.control(account.sim, {})))
    end)

    it("lists what a case can be about", function()
      local services = assert(cases("DescribeServices")).services
      assert.is_true(#services >= 3 and #services[1].categories >= 1)
      local one = assert(cases("DescribeServices", { serviceCodeList = { "amazon-cloudfront" } })).services
      assert.same({ 1, "CloudFront" }, { #one, one[1].name })
      assert.equal("low", assert(cases("DescribeSeverityLevels")).severityLevels[1].code)
    end)
  end)
end)
