local core = require("certrotate.core")
local errors = require("certrotate.errors")
local services = require("certrotate.services")

describe("certrotate.services", function()
  local session, sent, answers

  before_each(function()
    sent, answers = {}, {}
    session = { account = 7, loop = {} }
    function session.loop.await(_, submission)
      sent[#sent + 1] = submission
      local answer = table.remove(answers, 1)
      if errors.is(answer) then return nil, answer end
      return answer
    end
    services.attach(session)
  end)

  it("has a function for every operation there is", function()
    local fields = { servicequotas = "quotas" }
    local count = 0
    for _, operation in ipairs(core.operations()) do
      local service = session[fields[operation.service] or operation.service]
      assert.is_function(service[services.snake_case(operation.name)], operation.name)
      count = count + 1
    end
    assert.is_true(count >= 18)
  end)

  it("turns AWS's names into snake_case", function()
    for name, wanted in pairs({
      GetDistributionConfig = "get_distribution_config", ListDistributionsByWebACLId = "list_distributions_by_web_acl_id",
      DescribeCertificate = "describe_certificate", UploadServerCertificate = "upload_server_certificate",
      ListAnycastIpLists = "list_anycast_ip_lists", GetAWSDefaultServiceQuota = "get_aws_default_service_quota",
      ListRequestedServiceQuotaChangeHistoryByQuota = "list_requested_service_quota_change_history_by_quota",
    }) do
      assert.equal(wanted, services.snake_case(name))
    end
  end)

  it("sends parameters in AWS's spelling, for the session's account", function()
    answers = { { ETag = "E" } }
    assert.same({ ETag = "E" }, session.cloudfront:get_distribution_config({ Id = "E1" }, { timeout = 5 }))
    assert.same({ account = 7, service = "cloudfront", operation = "GetDistributionConfig", params = { Id = "E1" }, timeout = 5 },
      sent[1])
  end)

  it("hands an identity to the core apart from the parameters", function()
    answers = { {} }
    local params = { identity = "userdata", CertificateArn = "arn" }
    session.acm:import_certificate(params)
    assert.equal("userdata", sent[1].identity)
    assert.same({ CertificateArn = "arn" }, sent[1].params)
    assert.equal("userdata", params.identity)
  end)

  it("raises on misuse", function()
    assert.has_error(function() session.acm.list_certificates({}) end)
    assert.has_error(function() session.acm:list_certificates("x") end)
    assert.has_error(function() session.acm:all_certificates("x") end)
  end)

  local function ids(list)
    local out = {}
    for i, one in ipairs(list) do out[i] = one.Id end
    return table.concat(out, " ")
  end

  it("reads every page of a listing, inside its root or not", function()
    answers = {
      { DistributionList = { IsTruncated = true, NextMarker = "m1", Items = { { Id = "a" }, { Id = "b" } } } },
      { DistributionList = { IsTruncated = true, NextMarker = "m2", Items = {} } },
      { DistributionList = { IsTruncated = false, Items = { { Id = "c" } } } },
    }
    local params = { MaxItems = "2" }
    assert.equal("a b c", ids(assert(session.cloudfront:all_distributions(params))))
    assert.same({ nil, "m1", "m2" }, { sent[1].params.Marker, sent[2].params.Marker, sent[3].params.Marker })
    assert.equal("2", sent[3].params.MaxItems)
    assert.is_nil(params.Marker)
    answers = { { IsTruncated = false, Items = { { Id = "c" } } } }
    assert.equal("c", ids(session.cloudfront:all_distributions()))
    answers = { { NextToken = "t", CertificateSummaryList = { { Id = "x" } } }, { CertificateSummaryList = { { Id = "y" } } } }
    assert.equal("x y", ids(session.acm:all_certificates()))
    answers = { { NextToken = "t", Quotas = { { Id = "q" } } }, { Quotas = {} } }
    assert.equal("q", ids(session.quotas:all_service_quotas({ ServiceCode = "cloudfront" })))
    answers = { { nextToken = "t", cases = { { Id = "c" } } }, { cases = { { Id = "d" } } } }
    assert.equal("c d", ids(session.support:all_cases()))
    assert.equal("t", sent[#sent].params.nextToken)
    answers = { { RequestedQuotas = { { Id = "r" } } } }
    assert.equal("r", ids(session.quotas:all_requests_by_quota({ ServiceCode = "cloudfront", QuotaCode = "L" })))
  end)

  it("fails when a page fails, or when the next one cannot be known", function()
    local problem = errors.new({ kind = "service", code = "AccessDenied", message = "no" })
    answers = { { DistributionList = { IsTruncated = true, NextMarker = "m1", Items = { { Id = "a" } } } }, problem }
    local list, err = session.cloudfront:all_distributions()
    assert.is_nil(list)
    assert.equal(problem, err)
    answers = { { DistributionList = { IsTruncated = true, Items = { { Id = "a" } } } } }
    list, err = session.cloudfront:all_distributions()
    assert.is_nil(list)
    assert.equal("NoNextMarker", err.code)
  end)

  it("iterates, and raises where a failure could be overlooked", function()
    answers = {
      { DistributionList = { IsTruncated = true, NextMarker = "m1", Items = { { Id = "a" } } } },
      errors.new({ kind = "service", code = "AccessDenied", message = "not allowed" }),
    }
    local seen = {}
    local ok, raised = pcall(function()
      for distribution in session.cloudfront:each_distribution() do seen[#seen + 1] = distribution end
    end)
    assert.equal("a", ids(seen))
    assert.is_false(ok)
    assert.matches("not allowed", raised)
    answers = { { DistributionList = { IsTruncated = false } } }
    for _ in session.cloudfront:each_distribution() do error("nothing was listed") end
  end)
end)
