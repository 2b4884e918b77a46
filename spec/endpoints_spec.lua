local endpoints = require("certrotate.endpoints")

describe("certrotate.endpoints", function()
  local function resolve(options)
    options = options or {}
    local values = options.environment or {}
    options.environment = function(name) return values[name] end
    options.profile = options.profile or { name = "default", settings = {}, services = {} }
    return endpoints.resolve(options)
  end

  local function urls(options)
    local found = assert(resolve(options))
    local out = {}
    for service, place in pairs(found.services) do out[service] = place.url .. " " .. place.region end
    return out
  end

  it("keeps ACM, IAM and CloudFront in us-east-1 whatever region is configured", function()
    assert.same({
      acm = "https://acm.us-east-1.amazonaws.com us-east-1",
      iam = "https://iam.amazonaws.com us-east-1",
      cloudfront = "https://cloudfront.amazonaws.com us-east-1",
      sts = "https://sts.eu-west-1.amazonaws.com eu-west-1",
      support = "https://support.us-east-1.amazonaws.com us-east-1",
      servicequotas = "https://servicequotas.us-east-1.amazonaws.com us-east-1",
      s3 = "https://s3.eu-west-1.amazonaws.com eu-west-1",
    }, urls({ region = "eu-west-1" }))
    assert.equal("https://sts.us-east-1.amazonaws.com us-east-1", urls().sts)
    assert.equal("https://sts.us-east-1.amazonaws.com us-east-1", urls({ region = "aws-global" }).sts)
  end)

  it("knows the partition of China", function()
    local found = assert(resolve({ region = "cn-north-1" }))
    assert.equal("aws-cn", found.partition)
    assert.equal("https://cloudfront.cn-northwest-1.amazonaws.com.cn", found.services.cloudfront.url)
    assert.equal("cn-northwest-1", found.services.cloudfront.region)
    assert.equal("https://iam.cn-north-1.amazonaws.com.cn", found.services.iam.url)
    assert.equal("https://acm.cn-north-1.amazonaws.com.cn", found.services.acm.url)
  end)

  it("refuses the other partitions with the reason, and regions that are none", function()
    for region, code in pairs({ ["us-gov-west-1"] = "UnsupportedPartition", ["eusc-de-east-1"] = "UnsupportedPartition",
                                ["us-iso-east-1"] = "UnsupportedPartition", ["us-isob-east-1"] = "UnsupportedPartition",
                                ["eu-isoe-west-1"] = "UnsupportedPartition", ["moon-1"] = "UnknownRegion",
                                ["xx-east-1"] = "UnknownRegion", ["us-east-1.evil"] = "UnknownRegion",
                                [""] = "UnknownRegion" }) do
      local found, err = resolve({ region = region })
      assert.is_nil(found, region)
      assert.equal(code, err.code)
      assert.equal("input", err.kind)
    end
  end)

  it("has FIPS and dual-stack variants", function()
    local both = urls({ fips = true, dualstack = true })
    assert.equal("https://cloudfront-fips.global.api.aws us-east-1", both.cloudfront)
    assert.equal("https://acm-fips.us-east-1.api.aws us-east-1", both.acm)
    assert.equal("https://iam.global.api.aws us-east-1", urls({ dualstack = true }).iam)
    assert.equal("https://support.us-east-1.amazonaws.com us-east-1", urls({ dualstack = true }).support)
    assert.equal("https://iam-fips.amazonaws.com us-east-1", urls({ fips = true }).iam)
    assert.is_nil(urls({ fips = true }).support)
    local found, err = resolve({ fips = true, region = "cn-north-1" })
    assert.is_nil(found)
    assert.equal("NoSuchEndpoint", err.code)
    found, err = resolve({ fips = true, endpoint_url = "https://localhost" })
    assert.is_nil(found)
    assert.equal("EndpointConflict", err.code)
  end)

  it("honours overrides in the CLI's order and keeps the signing region", function()
    local profile = { name = "p", settings = { endpoint_url = "http://profile" },
                      services = { iam = { endpoint_url = "http://section-iam" },
                                   service_quotas = { endpoint_url = "http://section-quotas" } } }
    local found = urls({ profile = profile, region = "eu-west-1" })
    assert.equal("http://profile us-east-1", found.acm)
    assert.equal("http://profile eu-west-1", found.sts)
    assert.equal("http://section-iam us-east-1", found.iam)
    assert.equal("http://section-quotas us-east-1", found.servicequotas)
    local environment = { AWS_ENDPOINT_URL = "http://all", AWS_ENDPOINT_URL_ACM = "http://acm/",
                          AWS_ENDPOINT_URL_SERVICE_QUOTAS = "http://quotas" }
    found = urls({ profile = profile, environment = environment })
    assert.equal("http://acm us-east-1", found.acm)
    assert.equal("http://all us-east-1", found.iam)
    assert.equal("http://quotas us-east-1", found.servicequotas)
    found = urls({ profile = profile, environment = environment, ignore_configured = true })
    assert.equal("https://iam.amazonaws.com us-east-1", found.iam)
    found = urls({ profile = profile, environment = environment, ignore_configured = true,
                   endpoint_url = "https://given:8443/x/", endpoints = { acm = "https://acm-given" } })
    assert.equal("https://acm-given us-east-1", found.acm)
    assert.equal("https://given:8443/x us-east-1", found.iam)
  end)

  it("tells plain http from https", function()
    local found = assert(resolve({ endpoint_url = "http://127.0.0.1:1" }))
    assert.is_true(found.http)
    assert.is_false(found.https)
    found = assert(resolve({ endpoints = { iam = "http://127.0.0.1:1" } }))
    assert.is_true(found.http and found.https)
    assert.is_true(found.services.iam.custom)
    assert.is_false(found.services.acm.custom)
  end)

  it("checks URLs and names", function()
    for url, wanted in pairs({ ["HTTPS://Host/"] = "https://Host", ["http://[::1]:80/a/b//"] = "http://[::1]:80/a/b",
                               ["https://h_1.x-y:65535"] = "https://h_1.x-y:65535" }) do
      assert.equal(wanted, endpoints.check_url(url))
    end
    for _, url in ipairs({ "", "localhost", "ftp://h", "https://", "https://u:p@h", "https://h:0", "https://h:65536",
                           "https://h:", "https://h?x", "https://h/#f", "https://h/a b", "https://h h", "https://h:12x" }) do
      local good, reason = endpoints.check_url(url)
      assert.is_nil(good, url)
      assert.is_string(reason)
    end
    local found, err = resolve({ environment = { AWS_ENDPOINT_URL_IAM = "localhost:4566" } })
    assert.is_nil(found)
    assert.equal("MalformedEndpoint", err.code)
    assert.matches("AWS_ENDPOINT_URL_IAM", err.message)
    found, err = resolve({ endpoints = { cloudfrnt = "https://x" } })
    assert.is_nil(found)
    assert.equal("UnknownService", err.code)
  end)
end)
