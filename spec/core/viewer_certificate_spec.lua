local core = require("certrotate.core")

local OLD = "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000001"
local NEW = "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000002"
local OTHER = "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000003"

local function config(reference)
  return ([[<?xml version="1.0"?>
<!-- kept -->
<DistributionConfig xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/"><Comment>a &amp; b</Comment>
  <ViewerCertificate>
    <ACMCertificateArn>%s</ACMCertificateArn>
    <SSLSupportMethod>vip</SSLSupportMethod><MinimumProtocolVersion>TLSv1.2_2021</MinimumProtocolVersion>
  </ViewerCertificate><NotInventedYet a="1"/></DistributionConfig>
]]):format(reference)
end

describe("core.viewer_certificate", function()
  it("reads what a configuration names", function()
    local text = config(OLD)
    local found = assert(core.viewer_certificate(text))
    assert.equal(OLD, found.reference)
    assert.equal("acm", found.store)
    assert.equal("vip", found.SSLSupportMethod)
    assert.equal("TLSv1.2_2021", found.MinimumProtocolVersion)
    assert.is_false(found.default_certificate)
    assert.is_false(found.disagree)
    local element = text:sub(found.first, found.last)
    assert.matches("^<ViewerCertificate>.*</ViewerCertificate>$", element)
  end)

  it("knows the default certificate", function()
    local found = assert(core.viewer_certificate("<DistributionConfig><ViewerCertificate>"
      .. "<CloudFrontDefaultCertificate>true</CloudFrontDefaultCertificate></ViewerCertificate></DistributionConfig>"))
    assert.equal("", found.reference)
    assert.is_nil(found.store)
    assert.is_true(found.default_certificate)
  end)

  it("refuses what is no configuration", function()
    for _, bad in ipairs { "", "<a/>", "<DistributionConfig/>", config(OLD):sub(1, 200), "\0\1" } do
      local found, err = core.viewer_certificate(bad)
      assert.is_nil(found)
      assert.equal("parse", err.kind)
    end
    assert.has_error(function() core.viewer_certificate(nil) end)
  end)
end)

describe("core.swap_viewer_certificate", function()
  it("changes the reference and not one byte else", function()
    assert.equal(config(NEW), core.swap_viewer_certificate(config(OLD), OLD, NEW))
  end)

  it("has nothing to do where the new one is named", function()
    local text, err = core.swap_viewer_certificate(config(NEW), OLD, NEW)
    assert.is_nil(text)
    assert.is_nil(err)
  end)

  it("leaves a third certificate alone", function()
    local text, err = core.swap_viewer_certificate(config(OTHER), OLD, NEW)
    assert.is_nil(text)
    assert.equal("conflict", err.kind)
    assert.equal("ForeignCertificate", err.code)
  end)

  it("takes text only", function()
    assert.has_error(function() core.swap_viewer_certificate(config(OLD), OLD) end)
    assert.has_error(function() core.swap_viewer_certificate(config(OLD), OLD, 5) end)
    assert.has_error(function() core.swap_viewer_certificate(config(OLD), OLD, NEW .. "\0") end)
  end)
end)
