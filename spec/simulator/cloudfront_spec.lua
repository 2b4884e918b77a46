-- The simulated CloudFront: every refusal that a rotation may meet, and what answers look like. LuaJIT only.
if not rawget(_G, "jit") then return end

local simulation = require("spec.support.simulation")
local xml = require("certrotate.simulator.xml")

local function acm_viewer(reference, method, minimum)
  return { store = "acm", reference = reference, method = method or "sni-only", minimum = minimum or "TLSv1.2_2021" }
end

local function swap(from, to)
  return function(text)
    return (text:gsub((from:gsub("%p", "%%%0")), (to:gsub("%%", "%%%%"))))
  end
end

-- The element replaced by one with only these children.
local function viewer_element(children)
  return function(text)
    return (text:gsub("<ViewerCertificate>.-</ViewerCertificate>", "<ViewerCertificate>" .. children .. "</ViewerCertificate>"))
  end
end

describe("the simulated CloudFront", function()
  local account, old, new

  setup(function()
    simulation.certificates({
      { file = "other", issuer = "intermediate", names = { "other.example" } },
      { file = "p384", issuer = "intermediate", key = "ec:P-384", names = { "*.shop.example" } },
      { file = "ec", issuer = "intermediate", names = { "shop.example", "*.shop.example" } },
      { file = "rsa3072", issuer = "intermediate", key = "rsa:3072", names = { "*.shop.example" } },
      { file = "self", names = { "*.shop.example" } },
      { file = "short", issuer = "intermediate", names = { "*.shop.example" }, not_after = os.time() + 7200 },
    })
  end)
  teardown(simulation.close)

  before_each(function()
    account = simulation.account({ propagation = 100 })
    old, new = account:store("acm", "old").reference, account:store("acm", "new").reference
  end)

  local function refused(code, message, status, ...)
    local ok, got, text, http = ...
    assert.is_nil(ok)
    assert.equal(code, got)
    if message then assert.equal(message, text) end
    assert.equal(status, http)
  end

  describe("update", function()
    local id

    before_each(function()
      id = account:create({ aliases = { "www.shop.example" }, viewer = acm_viewer(old) })
    end)

    it("answers InProgress and a new ETag, and Deployed after the propagation time", function()
      local before = select(2, account:cloudfront("GET", "/distribution/" .. id))
      local body, etag = account:update(id, swap(old, new))
      assert.is_truthy(body:find("<Status>InProgress</Status>", 1, true))
      assert.are_not.equal(before, etag)
      account:pass(99)
      assert.is_truthy(account:cloudfront("GET", "/distribution/" .. id):find("<Status>InProgress</Status>", 1, true))
      account:pass(1)
      local after, now = account:cloudfront("GET", "/distribution/" .. id)
      assert.is_truthy(after:find("<Status>Deployed</Status>", 1, true))
      assert.equal(etag, now)
    end)

    it("takes the new certificate in each accepted form, and spells both fields in answers", function()
      for _, children in ipairs({
        "<ACMCertificateArn>%s</ACMCertificateArn><SSLSupportMethod>sni-only</SSLSupportMethod>"
          .. "<MinimumProtocolVersion>TLSv1.2_2021</MinimumProtocolVersion>",
        "<Certificate>%s</Certificate><CertificateSource>acm</CertificateSource><SSLSupportMethod>sni-only</SSLSupportMethod>"
          .. "<MinimumProtocolVersion>TLSv1.2_2021</MinimumProtocolVersion>",
        "<MinimumProtocolVersion>TLSv1.2_2021</MinimumProtocolVersion><SSLSupportMethod> sni-only </SSLSupportMethod>"
          .. "<ACMCertificateArn>\n%s\n</ACMCertificateArn><CloudFrontDefaultCertificate>false</CloudFrontDefaultCertificate>",
      }) do
        assert(account:update(id, viewer_element(children:format(new))))
        local config = account:cloudfront("GET", "/distribution/" .. id .. "/config")
        local element = xml.child(assert(xml.parse(config)), "ViewerCertificate")
        assert.equal(new, xml.value(element, "ACMCertificateArn"))
        assert.equal(new, xml.value(element, "Certificate"))
        assert.equal("acm", xml.value(element, "CertificateSource"))
        account:pass(1000)
        assert(account:update(id, swap(new, old)))
        account:pass(1000)
      end
    end)

    it("refuses a missing, a malformed, a quoted and an old If-Match", function()
      local text, etag = account:cloudfront("GET", "/distribution/" .. id .. "/config")
      local path = "/distribution/" .. id .. "/config"
      for _, match in ipairs({ "", "nonsense", '"' .. etag .. '"', "*" }) do
        refused("InvalidIfMatchVersion", "The If-Match version is missing or not valid for the resource.", 400,
          account:cloudfront("PUT", path, text, match))
      end
      refused("InvalidIfMatchVersion", nil, 400, account:cloudfront("PUT", path, text))
      assert(account:update(id, swap("<Comment>spec", "<Comment>other")))
      refused("PreconditionFailed", nil, 412, account:cloudfront("PUT", path, text, etag))
    end)

    it("refuses a second certificate change while the first is on its way, and nothing else", function()
      assert(account:update(id, swap(old, new)))
      refused("IllegalUpdate", "Only one viewer certificate change may be in progress at a time.", 400,
        account:update(id, swap(new, old)))
      assert(account:update(id, swap("<Comment>spec", "<Comment>other")))
      account:pass(100)
      assert(account:update(id, swap(new, old)))
    end)

    it("refuses fields that contradict each other", function()
      local tail = "<SSLSupportMethod>sni-only</SSLSupportMethod><MinimumProtocolVersion>TLSv1.2_2021</MinimumProtocolVersion>"
      local iam = account:store("iam", "new").reference
      refused("InvalidViewerCertificate", "Your IAMCertificateId does not match the given Certificate field.", 400,
        account:update(id, viewer_element("<IAMCertificateId>" .. iam .. "</IAMCertificateId>" .. tail .. "<Certificate>" .. old
          .. "</Certificate><CertificateSource>iam</CertificateSource>")))
      refused("InvalidViewerCertificate", "Cannot specify IAMCertificateId and a CertificateSource not equal to &quot;iam&quot;.",
        400, account:update(id, viewer_element("<IAMCertificateId>" .. iam .. "</IAMCertificateId>" .. tail
          .. "<CertificateSource>acm</CertificateSource>")))
      refused("InvalidViewerCertificate", "Your ACMCertificateArn does not match the given Certificate field.", 400,
        account:update(id, function(text) return (text:gsub("<ACMCertificateArn>[^<]*", "<ACMCertificateArn>" .. new)) end))
      refused("InternalError", nil, 500,
        account:update(id, viewer_element("<CloudFrontDefaultCertificate>false</CloudFrontDefaultCertificate>" .. tail)))
      refused("InvalidArgument", nil, 400,
        account:update(id, viewer_element("<ACMCertificateArn>" .. new .. "</ACMCertificateArn>")))
    end)

    it("refuses certificates that cannot serve, with one message for all", function()
      local message = "The specified SSL certificate doesn't exist, isn't in us-east-1 region, isn't valid, or doesn't include "
        .. "a valid certificate chain."
      local cases = {
        unknown = "arn:aws:acm:us-east-1:111122223333:certificate/00000000-0000-0000-0000-000000000000",
        region = account:store("acm", "new", { region = "eu-west-1" }).reference,
        p384 = account:store("acm", "p384").reference,
        short = account:store("acm", "short").reference,
      }
      account:pass(7300)
      for name, reference in pairs(cases) do
        local ok, code, text = account:update(id, swap(old, reference))
        assert.is_nil(ok, name)
        assert.same({ "InvalidViewerCertificate", message }, { code, text }, name)
      end
      local big = account:store("iam", "rsa3072").reference
      local misplaced = account:store("iam", "new", { name = "elsewhere", path = "/" }).reference
      for _, reference in ipairs({ big, misplaced }) do
        local ok, code, text = account:update(id, viewer_element("<IAMCertificateId>" .. reference .. "</IAMCertificateId>"
          .. "<SSLSupportMethod>sni-only</SSLSupportMethod><MinimumProtocolVersion>TLSv1.2_2021</MinimumProtocolVersion>"))
        assert.is_nil(ok)
        assert.same({ "InvalidViewerCertificate", message }, { code, text })
      end
      for _, file in ipairs({ "ec", "rsa3072" }) do
        assert(account:update(id, swap(old, account:store("acm", file).reference)))
        account:pass(1000)
        assert(account:update(id, function(text) return (text:gsub("arn:aws:acm:[^<]*", old)) end))
        account:pass(1000)
      end
    end)

    it("refuses a certificate that does not cover an alias, and a self-signed one for a new alias only", function()
      refused("InvalidViewerCertificate",
        "The certificate that is attached to your distribution doesn't cover the alternate domain name (CNAME) that you're "
        .. "trying to add.", 400, account:update(id, swap(old, account:store("acm", "other").reference)))
      local self_signed = account:store("acm", "self").reference
      assert(account:update(id, swap(old, self_signed)))
      account:pass(1000)
      refused("InvalidViewerCertificate", nil, 400, account:update(id, function(text)
        return (text:gsub("<Aliases>.-</Aliases>",
          "<Aliases><Quantity>2</Quantity><Items><CNAME>www.shop.example</CNAME><CNAME>m.shop.example</CNAME></Items></Aliases>"))
      end))
    end)

    it("goes on with an expired certificate, but attaches none", function()
      local short = account:store("acm", "short").reference
      assert(account:update(id, swap(old, short)))
      account:pass(8000)
      assert(account:update(id, swap("<Comment>spec", "<Comment>still here")))
      assert(account:update(id, swap(short, new)))
      account:pass(1000)
      refused("InvalidViewerCertificate", nil, 400, account:update(id, swap(new, short)))
    end)

    it("does not know a fresh certificate for a while when told so", function()
      account.sim.settings.import_lag = 30
      local fresh = account:store("acm", "new").reference
      refused("InvalidViewerCertificate", nil, 400, account:update(id, swap(old, fresh)))
      account:pass(30)
      assert(account:update(id, swap(old, fresh)))
    end)

    it("believes only trusted roots when told which", function()
      local x509 = require("certrotate.simulator.x509")
      account.sim.trusted_roots = x509.certificates((simulation.pem("self")))
      refused("InvalidViewerCertificate", nil, 400, account:update(id, swap(old, new)))
      account.sim.trusted_roots = x509.certificates((simulation.pem("root")))
      refused("InvalidViewerCertificate", nil, 400,
        account:update(id, swap(old, account:store("acm", "new", { chain = "" }).reference)))
      assert(account:update(id, swap(old, new)))
    end)

    it("counts dedicated-IP certificates, not distributions, against the quota of two", function()
      for index = 1, 2 do
        account:create({ caller_reference = "vip-" .. index, viewer = acm_viewer(old, "vip", "TLSv1") })
      end
      account:create({ caller_reference = "vip-3", viewer = acm_viewer(new, "vip", "TLSv1") })
      local third = account:store("acm", "ec").reference
      refused("TooManyCertificates", nil, 400, account:cloudfront("POST", "/distribution",
        simulation.config({ caller_reference = "vip-4", viewer = acm_viewer(third, "vip", "TLSv1") })))
      refused("TooManyCertificates", nil, 400, account:cloudfront("POST", "/distribution",
        simulation.config({ caller_reference = "vip-4", enabled = false, viewer = acm_viewer(third, "vip", "TLSv1") })))
      account.sim.settings.vip_quota = 3
      account:create({ caller_reference = "vip-4", viewer = acm_viewer(third, "vip", "TLSv1") })
    end)

    it("enforces a quota that was raised through Service Quotas", function()
      local third = account:store("acm", "ec").reference
      for index, reference in ipairs({ old, new }) do
        account:create({ caller_reference = "vip-" .. index, viewer = acm_viewer(reference, "vip", "TLSv1") })
      end
      local config = simulation.config({ caller_reference = "vip-3", viewer = acm_viewer(third, "vip", "TLSv1") })
      assert(account:json("servicequotas", "ServiceQuotasV20190624.RequestServiceQuotaIncrease",
        { ServiceCode = "cloudfront", QuotaCode = "L-DA9DCC93", DesiredValue = 3 }))
      refused("TooManyCertificates", nil, 400, account:cloudfront("POST", "/distribution", config))
      account.sim.settings.quota_review = "approve"
      account:pass(60)
      assert(account:cloudfront("POST", "/distribution", config))
    end)

    it("refuses policies that do not go with the method", function()
      refused("InvalidMinimumProtocolVersion", nil, 400, account:update(id, swap("sni-only", "vip")))
      refused("InvalidMinimumProtocolVersion", nil, 400, account:update(id, swap("TLSv1.2_2021", "SSLv3")))
      refused("InvalidArgument", nil, 400, account:update(id, swap("TLSv1.2_2021", "TLSv9")))
    end)

    it("keeps CallerReference, and aliases apart", function()
      refused("IllegalUpdate", "You cannot update Origin or CallerReference.", 400, account:update(id, swap("ref-1", "ref-2")))
      refused("CNAMEAlreadyExists", nil, 409, account:cloudfront("POST", "/distribution",
        simulation.config({ caller_reference = "second", aliases = { "www.shop.example" }, viewer = acm_viewer(new) })))
    end)

    it("refuses certificate changes under a continuous-deployment policy, on both ends", function()
      local staging = account:create({ caller_reference = "staging", staging = true, viewer = acm_viewer(old) })
      local policies = require("certrotate.simulator.continuous_deployment")
      local policy = policies.add(account.sim, { account.sim.store.distributions[staging].domain })
      assert(account:update(staging, swap(old, new)))
      account:pass(1000)
      assert(account:update(id, swap("<ContinuousDeploymentPolicyId></ContinuousDeploymentPolicyId>",
        "<ContinuousDeploymentPolicyId>" .. policy.id .. "</ContinuousDeploymentPolicyId>")))
      local message = "One or more fields updated are not supported for continuous deployment."
      refused("IllegalUpdate", message, 400, account:update(id, swap(old, new)))
      refused("IllegalUpdate", message, 400, account:update(staging, swap(new, old)))
      assert(account:update(id, swap(policy.id, "")))
      account:pass(1000)
      assert(account:update(id, swap(old, new)))
    end)

    it("takes policies with one staging distribution each, and lets nobody pull them from under a primary", function()
      local staging = account:create({ caller_reference = "staging", staging = true, viewer = acm_viewer(old) })
      local domain = account.sim.store.distributions[staging].domain
      local function config(name, traffic)
        return ('<ContinuousDeploymentPolicyConfig xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/">'
          .. "<StagingDistributionDnsNames><Quantity>1</Quantity><Items><DnsName>%s</DnsName></Items>"
          .. "</StagingDistributionDnsNames><Enabled>true</Enabled><TrafficConfig>%s</TrafficConfig>"
          .. "</ContinuousDeploymentPolicyConfig>"):format(name, traffic)
      end
      local weight = "<SingleWeightConfig><Weight>%s</Weight></SingleWeightConfig><Type>SingleWeight</Type>"
      local path = "/continuous-deployment-policy"
      refused("InvalidArgument", nil, 400,
        account:cloudfront("POST", path, config("d0.cloudfront.net", weight:format(0.1))))
      refused("InvalidArgument", nil, 400, account:cloudfront("POST", path, config(domain, weight:format(0.2))))
      local made = account:cloudfront("POST", path, config(domain, weight:format(0.1)))
      assert.is_truthy(made)
      local policy = account.sim.store.policy_list[1]
      assert.equal(0.1, policy.weight)
      refused("StagingDistributionInUse", nil, 409,
        account:cloudfront("POST", path, config(domain, weight:format(0.1))))
      assert(account:update(id, swap("<ContinuousDeploymentPolicyId></ContinuousDeploymentPolicyId>",
        "<ContinuousDeploymentPolicyId>" .. policy.id .. "</ContinuousDeploymentPolicyId>")))
      local etag = policy.etag
      refused("InvalidIfMatchVersion", nil, 400, account:cloudfront("DELETE", path .. "/" .. policy.id))
      refused("ContinuousDeploymentPolicyInUse", nil, 409,
        account:cloudfront("DELETE", path .. "/" .. policy.id, nil, etag))
      assert(account:cloudfront("PUT", path .. "/" .. policy.id, config(domain, weight:format(0.15)), etag))
      refused("PreconditionFailed", nil, 412, account:cloudfront("DELETE", path .. "/" .. policy.id, nil, etag))
      assert(account:update(id, swap(policy.id, "")))
      assert(account:cloudfront("DELETE", path .. "/" .. policy.id, nil, policy.etag))
      refused("NoSuchContinuousDeploymentPolicy", nil, 404, account:cloudfront("GET", path .. "/" .. policy.id))
      refused("NoSuchContinuousDeploymentPolicy", nil, 404,
        account:update(id, swap("<ContinuousDeploymentPolicyId></ContinuousDeploymentPolicyId>",
          "<ContinuousDeploymentPolicyId>" .. policy.id .. "</ContinuousDeploymentPolicyId>")))
    end)

    it("judges the document", function()
      local path = "/distribution/" .. id .. "/config"
      local text, etag = account:cloudfront("GET", path)
      local function put(change)
        return account:cloudfront("PUT", path, change(text), etag)
      end
      refused("MissingBody", nil, 400, put(function() return "" end))
      refused("MalformedXML", nil, 400, put(function() return text:sub(1, -5) end))
      refused("MalformedXML", nil, 400, put(function() return (text:gsub("2020%-05%-31", "2016-09-29")) end))
      refused("MalformedXML", nil, 400, put(swap("<Enabled>true", "<Enabled>yes")))
      refused("InconsistentQuantities", nil, 400,
        put(swap("<Quantity>1</Quantity><Items><CNAME>", "<Quantity>2</Quantity><Items><CNAME>")))
      refused("InconsistentQuantities", nil, 400, put(function()
        return (text:gsub("<SslProtocol>TLSv1.2</SslProtocol>", "<SslProtocol>TLSv1.1</SslProtocol>%0"))
      end))
      refused("NoSuchOrigin", nil, 404, put(swap("<TargetOriginId>main", "<TargetOriginId>absent")))
      refused("InvalidArgument", nil, 400, put(swap("PriceClass_All", "PriceClass_Some")))
      refused("InvalidArgument", "The parameter Enabled is required.", 400,
        put(swap("<Enabled>true</Enabled><Viewer", "<Viewer")))
      for _, name in ipairs({ "CallerReference", "Origins", "Comment", "Logging", "HttpVersion", "ViewerCertificate" }) do
        local ok, code, message = put(function() return (text:gsub("<" .. name .. ">.*</" .. name .. ">", "")) end)
        assert.is_nil(ok, name)
        assert.same({ "InvalidArgument", "The parameter " .. name .. " is required." }, { code, message })
      end
    end)
  end)

  it("keeps every byte outside ViewerCertificate, whatever is in it", function()
    for odd = 1, require("certrotate.simulator.seed_template").ODD do
      local id = account:create({ caller_reference = "odd-" .. odd, odd = odd, viewer = acm_viewer(old) })
      local before = account:cloudfront("GET", "/distribution/" .. id .. "/config")
      local hash = require("certrotate.simulator.distribution_config").outside_hash(account.sim.store.distributions[id])
      assert(account:update(id, function(text)
        local decoy = text:find("not this", 1, true)
        assert.equal(odd == 2, decoy ~= nil)
        return (text:gsub(old:gsub("%p", "%%%0"), new))
      end))
      local after = account:cloudfront("GET", "/distribution/" .. id .. "/config")
      assert.equal((before:gsub(old:gsub("%p", "%%%0"), new)), after)
      assert.equal(hash, require("certrotate.simulator.distribution_config").outside_hash(account.sim.store.distributions[id]))
      local whole = assert(xml.parse((account:cloudfront("GET", "/distribution/" .. id))))
      local inner = xml.child(whole, "DistributionConfig")
      assert.equal(new, xml.value(xml.child(inner, "ViewerCertificate"), "ACMCertificateArn"))
    end
  end)

  describe("listing", function()
    local ids

    before_each(function()
      ids = {}
      for index = 1, 7 do ids[index] = account:create({ caller_reference = "list-" .. index, viewer = acm_viewer(old) }) end
      table.sort(ids)
    end)

    local function pages(query)
      local found, marker, count = {}, nil, 0
      repeat
        local body = assert(account:cloudfront("GET", "/distribution?" .. query .. (marker and "&Marker=" .. marker or "")))
        local root = assert(xml.parse(body))
        local items = xml.child(root, "Items")
        for _, item in ipairs(items or {}) do found[#found + 1] = xml.value(item, "Id") end
        assert.equal(tostring(items and #items or 0), xml.value(root, "Quantity"))
        marker = xml.value(root, "IsTruncated") == "true" and xml.value(root, "NextMarker") or nil
        count = count + 1
      until not marker or count > 20
      return found, count
    end

    it("comes in pages of the wanted size, in the order of ids", function()
      for size, expected in pairs({ [1] = 7, [3] = 3, [7] = 1, [100] = 1, [500] = 1 }) do
        local found, count = pages("MaxItems=" .. size)
        assert.same(ids, found)
        assert.equal(expected, count)
      end
    end)

    it("comes in the other orders when told so, complete all the same", function()
      for _, order in ipairs({ "created", "shuffled" }) do
        account.sim.settings.list_order = order
        local found = pages("MaxItems=2")
        assert.are_not.same(ids, found)
        table.sort(found)
        assert.same(ids, found)
      end
    end)

    it("lags when told so", function()
      account.sim.settings.list_lag = 60
      assert(account:update(ids[1], swap(old, new)))
      local function listed()
        return account:cloudfront("GET", "/distribution?MaxItems=1"):match("<ACMCertificateArn>(.-)<")
      end
      assert.equal(old, listed())
      account:pass(61)
      assert.equal(new, listed())
    end)

    it("refuses a size that is none", function()
      refused("InvalidArgument", nil, 400, account:cloudfront("GET", "/distribution?MaxItems=many"))
      refused("InvalidArgument", nil, 400, account:cloudfront("GET", "/distribution?MaxItems=0"))
    end)
  end)

  it("creates with tags, tags, untags, and deletes what is disabled and deployed", function()
    local namespace = "http://cloudfront.amazonaws.com/doc/2020-05-31/"
    local inner = simulation.config({ enabled = false }):gsub("<%?xml.-%?>\n", ""):gsub(' xmlns="[^"]*"', "")
    local body, etag = account:cloudfront("POST", "/distribution?WithTags", '<DistributionConfigWithTags xmlns="'
      .. namespace .. '">' .. inner
      .. "<Tags><Items><Tag><Key>team</Key><Value>web</Value></Tag></Items></Tags></DistributionConfigWithTags>")
    assert(body, etag)
    local id, arn = body:match("<Id>(.-)</Id>"), body:match("<ARN>(.-)</ARN>")
    local tagging = "/tagging?Resource=" .. arn:gsub(":", "%%3A"):gsub("/", "%%2F")
    assert.is_truthy(account:cloudfront("GET", tagging):find("<Key>team</Key><Value>web</Value>", 1, true))
    assert.equal("", (account:cloudfront("POST", tagging .. "&Operation=Untag",
      "<TagKeys><Items><Key>team</Key></Items></TagKeys>")))
    assert.is_nil(account:cloudfront("GET", tagging):find("team", 1, true))
    refused("ResourceInUse", nil, 409, account:cloudfront("DELETE", "/distribution/" .. id, "", etag))
    account:pass(1000)
    assert.equal("", (account:cloudfront("DELETE", "/distribution/" .. id, "", etag)))
    refused("NoSuchDistribution", nil, 404, account:cloudfront("GET", "/distribution/" .. id))
  end)

  it("lists tenants by the certificate they are customized with", function()
    local id = account:create({ viewer = acm_viewer(old) })
    local path, root = "/distribution-tenants-by-customization", "ListDistributionTenantsByCustomizationRequest"
    local function body(reference)
      return "<" .. root .. ' xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/"><CertificateArn>' .. reference
        .. "</CertificateArn><MaxItems>1</MaxItems></" .. root .. ">"
    end
    local none = account:cloudfront("POST", path, body(old))
    assert.is_truthy(none:find("<DistributionTenantList></DistributionTenantList>", 1, true))
    local tenants = require("certrotate.simulator.tenants")
    for index = 1, 2 do
      assert(tenants.add(account.sim, { distribution = id, domains = { "t" .. index .. ".example" }, certificate = old }))
    end
    local first = account:cloudfront("POST", path, body(old))
    assert.is_truthy(first:find("<Domain>t1.example</Domain>", 1, true))
    local marker = first:match("<NextMarker>(.-)</NextMarker>")
    local second = account:cloudfront("POST", path, (body(old):gsub("<MaxItems>", "<Marker>" .. marker .. "</Marker>%0")))
    assert.is_truthy(second:find("<Domain>t2.example</Domain>", 1, true))
    assert.is_nil(second:find("NextMarker", 1, true))
    refused("InvalidArgument", nil, 400, account:cloudfront("POST", path, "<" .. root .. "/>"))
  end)

  it("updates a tenant's certificate as the model says, under its own ETag", function()
    local id = account:create({ viewer = acm_viewer(old) })
    local tenants = require("certrotate.simulator.tenants")
    local covered = "www.shop.example"
    local made = assert(tenants.add(account.sim, { distribution = id, domains = { covered }, certificate = old }))
    local path = "/distribution-tenant/" .. made.id
    local text, etag = account:cloudfront("GET", path)
    assert.is_truthy(text:find("<Status>Deployed</Status>", 1, true))
    local function request(certificate, more)
      return '<UpdateDistributionTenantRequest xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/"><Domains><member>'
        .. "<Domain>" .. covered .. "</Domain></member></Domains><Customizations><Certificate><Arn>" .. certificate
        .. "</Arn></Certificate></Customizations>" .. (more or "") .. "</UpdateDistributionTenantRequest>"
    end
    refused("InvalidAssociation", nil, 409, account:cloudfront("PUT", path, request(new), etag))
    account.sim.store.distributions[id].view.connection_mode = "tenant-only"
    refused("InvalidIfMatchVersion", nil, 400, account:cloudfront("PUT", path, request(new)))
    refused("PreconditionFailed", nil, 412, account:cloudfront("PUT", path, request(new), "EOTHER"))
    refused("EntityNotFound", nil, 404, account:cloudfront("PUT", "/distribution-tenant/dt_none", request(new), etag))
    -- What only CloudFront sets is not for the asking, nor is a certificate that does not exist.
    refused("MalformedXML", nil, 400, account:cloudfront("PUT", path, request(new, "<Status>Deployed</Status>"), etag))
    refused("MalformedXML", nil, 400, account:cloudfront("PUT", path,
      (request(new):gsub("</Domain>", "</Domain><Status>active</Status>")), etag))
    refused("InvalidArgument", nil, 400, account:cloudfront("PUT", path, request(new .. "0"), etag))
    local changed, next_etag = account:cloudfront("PUT", path, request(new), etag)
    assert.is_truthy(changed:find(new, 1, true))
    assert.is_truthy(changed:find("<Status>InProgress</Status>", 1, true))
    assert.are_not.equal(etag, next_etag)
    -- Left out, the rest is cleared; kept, where the setting says so.
    assert.is_nil(changed:find("<Parameters>", 1, true))
    assert(require("certrotate.simulator.settings").change(account.sim.settings, { tenant_omitted = "kept" }))
    changed, next_etag = account:cloudfront("PUT", path,
      (request(new, "<Parameters><member><Name>n</Name><Value>v</Value></member></Parameters>")), next_etag)
    assert.is_truthy(changed:find("<Parameters>", 1, true))
    changed = account:cloudfront("PUT", path, request(old), next_etag)
    assert.is_truthy(changed:find("<Name>n</Name>", 1, true))
    account:pass(1000)
    assert.is_truthy((account:cloudfront("GET", path)):find("<Status>Deployed</Status>", 1, true))
  end)

  it("says what is not there", function()
    refused("NoSuchDistribution", "The specified distribution does not exist.", 404,
      account:cloudfront("GET", "/distribution/EABSENT"))
    refused("InvalidURI", nil, 400, account:cloudfront("GET", "/nothing"))
  end)
end)
