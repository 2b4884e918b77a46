-- The simulator as AWS's own clients see it: Debian's aws command and boto3, over HTTPS, signatures checked.
-- Once is enough: who started the simulator makes no difference to them.
if rawget(_G, "jit") then return end

local authority = require("certrotate.simulator.authority")
local cjson = require("cjson")
local launch = require("certrotate.simulator.launch")

local quote = authority.quote

local function present(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

describe("AWS's own clients", function()
  if not present("/usr/bin/aws") or not present("/usr/lib/python3/dist-packages/boto3/__init__.py") then
    pending("need awscli and python3-boto3")
    return
  end

  local simulator

  setup(function()
    simulator = assert(launch.start({ distributions = 18, users = 11, vip = 1, policies = 1, propagation = 0.4,
                                        seed = 4 }))
  end)
  teardown(function() simulator:stop() end)

  -- Runs a program with the simulator's variables and none of this machine's own AWS files.
  local function run(command, overrides)
    local environment = simulator:environment()
    environment.AWS_CONFIG_FILE, environment.AWS_SHARED_CREDENTIALS_FILE = "/dev/null", "/dev/null"
    environment.AWS_PAGER = ""
    for name, value in pairs(overrides or {}) do environment[name] = value end
    local words = {}
    for name, value in pairs(environment) do words[#words + 1] = name .. "=" .. quote(value) end
    return authority.shell("env " .. table.concat(words, " ") .. " " .. command)
  end

  local function aws(arguments, overrides)
    return run("/usr/bin/aws --output json --endpoint-url " .. simulator.endpoint .. " " .. arguments, overrides)
  end

  local function json(arguments)
    local ok, output = aws(arguments)
    assert.is_true(ok, output)
    return cjson.decode(output)
  end

  it("aws: lists, reads, edits and updates a distribution; imports, and deletes what is out of use", function()
    local files = simulator.files
    local id
    for _, item in ipairs(json("cloudfront list-distributions").DistributionList.Items) do
      if item.ViewerCertificate.SSLSupportMethod == "vip" and item.ViewerCertificate.ACMCertificateArn then id = item.Id end
    end
    local arn = json(("acm import-certificate --certificate fileb://%s --private-key fileb://%s --certificate-chain fileb://%s")
      :format(files.new_certificate, files.new_key, files.new_chain)).CertificateArn
    local read = json("cloudfront get-distribution-config --id " .. id)
    -- Edited as text: what cjson makes of an empty list is not what the CLI wants.
    local _, text = aws("cloudfront get-distribution-config --query DistributionConfig --id " .. id)
    local path = simulator.directory .. "/edited.json"
    assert(authority.write(path, (text:gsub(simulator.old_reference:gsub("%p", "%%%0"), arn))))
    local updated = json(("cloudfront update-distribution --id %s --if-match %s --distribution-config file://%s"):format(
      id, read.ETag, path))
    assert.equal("InProgress", updated.Distribution.Status)
    assert.equal(arn, updated.Distribution.DistributionConfig.ViewerCertificate.ACMCertificateArn)
    local ok, output = aws(("cloudfront update-distribution --id %s --if-match %s --distribution-config file://%s"):format(
      id, read.ETag, path))
    assert.is_false(ok)
    assert.is_truthy(output:find("(PreconditionFailed)", 1, true), output)
    ok, output = aws("acm delete-certificate --certificate-arn " .. arn)
    assert.is_false(ok)
    assert.is_truthy(output:find("(ResourceInUseException)", 1, true), output)
    local name = "cli-1"
    local uploaded = json(("iam upload-server-certificate --server-certificate-name %s --path /cloudfront/ "
      .. "--certificate-body file://%s --private-key file://%s --certificate-chain file://%s"):format(
      name, files.new_certificate, files.new_key, files.new_chain))
    assert.equal("/cloudfront/", uploaded.ServerCertificateMetadata.Path)
    ok, output = aws("iam delete-server-certificate --server-certificate-name " .. name)
    assert.is_true(ok, output)
  end)

  it("aws: reads a quota, asks for more, follows the case that opens, and writes in it", function()
    local quota = "--service-code cloudfront --quota-code L-DA9DCC93"
    assert.equal(2, json("service-quotas get-service-quota " .. quota).Quota.Value)
    assert.equal(3, #json("service-quotas list-service-quotas --service-code cloudfront --page-size 2").Quotas)
    local made = json("service-quotas request-service-quota-increase --desired-value 3 " .. quota).RequestedQuota
    assert.same({ "PENDING", 3 }, { made.Status, made.DesiredValue })
    local ok, output = aws("service-quotas request-service-quota-increase --desired-value 3 " .. quota)
    assert.is_false(ok)
    assert.is_truthy(output:find("(ResourceAlreadyExistsException)", 1, true), output)
    assert(simulator:control("quotas", { decision = "open_case" }))
    local listed = json("service-quotas list-requested-service-quota-change-history-by-quota " .. quota).RequestedQuotas
    assert.same({ 1, made.Id, "CASE_OPENED" }, { #listed, listed[1].Id, listed[1].Status })
    local case = json("support describe-cases --display-id " .. listed[1].CaseId).cases[1]
    assert.is_true(json(("support add-communication-to-case --case-id %s --communication-body more"):format(case.caseId)).result)
    assert(simulator:control("quotas", { decision = "approve", message = "raised" }))
    local said = json("support describe-communications --case-id " .. case.caseId).communications
    assert.same({ "raised", "more" }, { said[1].body, said[2].body })
    assert.equal("APPROVED", json("service-quotas get-requested-service-quota-change --request-id " .. made.Id)
      .RequestedQuota.Status)
    assert.equal(3, json("service-quotas get-service-quota " .. quota).Quota.Value)
    local id = json("support create-case --subject s --communication-body b --service-code amazon-cloudfront").caseId
    assert.equal("resolved", json("support resolve-case --case-id " .. id).finalCaseStatus)
    assert.is_true(#json("support describe-services").services > 0)
    assert(simulator:control("settings", { support_plan = false }))
    ok, output = aws("support describe-severity-levels")
    assert(simulator:control("settings", { support_plan = true }))
    assert.is_false(ok)
    assert.is_truthy(output:find("(SubscriptionRequiredException)", 1, true), output)
  end)

  it("aws: reads, makes, changes and deletes continuous-deployment policies, and attaches them", function()
    local primary, staging
    for _, one in ipairs(assert(simulator:control("state")).distributions) do
      if one.policy ~= "" then primary = one end
      if one.staging and one.reference == simulator.old_reference then staging = one end
    end
    local read = json("cloudfront get-continuous-deployment-policy --id " .. primary.policy)
    local config = read.ContinuousDeploymentPolicy.ContinuousDeploymentPolicyConfig
    assert.same({ staging.domain }, config.StagingDistributionDnsNames.Items)
    assert.is_true(config.Enabled)
    assert.equal("SingleWeight", config.TrafficConfig.Type)
    assert.equal(0.05, config.TrafficConfig.SingleWeightConfig.Weight)
    local listed = json("cloudfront list-continuous-deployment-policies").ContinuousDeploymentPolicyList
    assert.equal(primary.policy, listed.Items[1].ContinuousDeploymentPolicy.Id)
    local ok, output = aws(("cloudfront delete-continuous-deployment-policy --id %s --if-match %s"):format(
      primary.policy, read.ETag))
    assert.is_false(ok)
    assert.is_truthy(output:find("(ContinuousDeploymentPolicyInUse)", 1, true), output)
    local changed = json(("cloudfront update-continuous-deployment-policy --id %s --if-match %s "
      .. "--continuous-deployment-policy-config %s"):format(primary.policy, read.ETag, quote(cjson.encode({
        StagingDistributionDnsNames = { Quantity = 1, Items = { staging.domain } }, Enabled = true,
        TrafficConfig = { Type = "SingleHeader", SingleHeaderConfig = { Header = "aws-cf-cd-new", Value = "1" } } }))))
    assert.are_not.equal(read.ETag, changed.ETag)
    -- Detached and attached by the CLI itself.
    for _, policy in ipairs({ "", primary.policy }) do
      local now = json("cloudfront get-distribution-config --id " .. primary.id)
      local _, text = aws("cloudfront get-distribution-config --query DistributionConfig --id " .. primary.id)
      local path = simulator.directory .. "/policy.json"
      assert(authority.write(path, (text:gsub('("ContinuousDeploymentPolicyId": )"[^"]*"', '%1"' .. policy .. '"'))))
      local updated = json(("cloudfront update-distribution --id %s --if-match %s --distribution-config file://%s")
        :format(primary.id, now.ETag, path))
      assert.equal(policy, updated.Distribution.DistributionConfig.ContinuousDeploymentPolicyId)
    end
  end)

  it("aws: promotes a staging distribution", function()
    local primary, staging
    for _, one in ipairs(assert(simulator:control("state")).distributions) do
      if one.policy ~= "" then primary = one end
      if one.staging and one.reference == simulator.old_reference then staging = one end
    end
    local arguments = ("cloudfront update-distribution-with-staging-config --id %s --staging-distribution-id %s "
      .. "--if-match %s"):format(primary.id, staging.id, quote(primary.etag .. ", " .. staging.etag))
    local config = json(arguments).Distribution.DistributionConfig
    assert.equal(primary.policy, config.ContinuousDeploymentPolicyId)
    assert.same(primary.aliases, config.Aliases.Items)
    assert.is_false(config.Staging)
    assert.equal(staging.reference, config.ViewerCertificate.ACMCertificateArn)
    local ok, output = aws(arguments)   -- the primary's ETag is another one now
    assert.is_false(ok)
    assert.is_truthy(output:find("(PreconditionFailed)", 1, true), output)
    ok, output = aws((arguments:gsub("%-%-staging%-distribution%-id %S+", "--staging-distribution-id EABSENT")))
    assert.is_false(ok)
    assert.is_truthy(output:find("(NoSuchDistribution)", 1, true), output)
  end)

  it("aws: a wrong secret is told as such by each protocol", function()
    for _, case in ipairs({ { "cloudfront list-distributions", "SignatureDoesNotMatch" },
                            { "acm list-certificates", "InvalidSignatureException" } }) do
      local ok, output = aws(case[1], { AWS_SECRET_ACCESS_KEY = "wrong" })
      assert.is_false(ok)
      assert.is_truthy(output:find("(" .. case[2] .. ")", 1, true), output)
    end
  end)

  it("boto3: a whole session", function()
    local files = {}
    for name, path in pairs(simulator.files) do files[name] = path end
    files.old_reference, files.access_key_id, files.temporary =
      simulator.old_reference, simulator.access_key_id, simulator.temporary
    local path = simulator.directory .. "/boto3.json"
    assert(authority.write(path, cjson.encode(files)))
    local state = assert(simulator:control("state"))
    local ok, output = run(("/usr/bin/python3 -W ignore spec/support/boto3_session.py %s %s %s"):format(
      simulator.endpoint, quote(simulator.ca_file), quote(path)))
    assert.is_true(ok, output)
    local facts = cjson.decode(output)

    local ids = {}
    for index, distribution in ipairs(state.distributions) do ids[index] = distribution.id end
    table.sort(ids)
    assert.same(ids, facts.listed)
    assert.equal("datetime", facts.date_types)
    assert.same({ "IMPORTED", "ISSUED", {}, "shop.example" }, facts.described)
    assert.is_true(facts.returned)
    assert.same({ { Key = "rot", Value = "plan 1" } }, facts.tags)
    assert.is_true(facts.acm_listed[2] and facts.acm_listed[3])
    assert.same({ "InProgress", true }, facts.updated)
    assert.same({ "Deployed", true }, facts.deployed)
    assert.is_true(facts.unchanged_otherwise)
    assert.same({ true, true, "acm" }, facts.certificate_now)
    assert.is_truthy(facts.odd_comment:find("^<ViewerCertificate> & distribution %d+ \226\130\172!\"'<"), facts.odd_comment)
    assert.same({ "InProgress", true, true }, facts.created)
    assert.same({ { Key = "team", Value = "web" } }, facts.own_tags)
    assert.same({ "ASCA", "111122223333:server-certificate/cloudfront/rot/boto3-1" }, facts.uploaded)
    assert.same({ true, { { Key = "rot", Value = "plan 1" } } }, facts.iam_returned)
    assert.is_true(facts.iam_listed)
    assert.equal(20, facts.quota)
    assert.equal("111122223333", facts.account)
    assert.equal("arn:aws:sts::111122223333:assumed-role/Rotator/spec", facts.role)
    for name, expected in pairs({
      wrong_key = { "ValidationException", 400, true }, in_use = { "ResourceInUseException", 400, true },
      unknown = { "ResourceNotFoundException", 400, true }, stale = { "PreconditionFailed", 412, true },
      twice = { "IllegalUpdate", 400, true }, nonsense_match = { "InvalidIfMatchVersion", 400, true },
      absent = { "NoSuchDistribution", 404, true }, deleted = { "NoSuchDistribution", 404, true },
      taken = { "EntityAlreadyExists", 409, true }, gone = { "NoSuchEntity", 404, true },
      temporary_without_token = { "InvalidClientTokenId", 403, true },
      wrong_secret = { { "SignatureDoesNotMatch", 403, true }, { "SignatureDoesNotMatch", 403, true },
                       { "InvalidSignatureException", 403, true } },
      unknown_key = { { "InvalidClientTokenId", 403, true }, { "InvalidClientTokenId", 403, true },
                      { "UnrecognizedClientException", 403, true } },
    }) do
      assert.same(expected, facts[name], name)
    end
    assert.equal(cjson.null, facts.temporary)
    assert.equal(cjson.null, facts.other_region)
  end)
end)
