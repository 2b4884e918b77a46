-- Holders and inventories made by hand for the pure specs.
local inventory = require("certrotate.rotation.inventory")

local M = {}

M.OLD = "arn:aws:acm:us-east-1:111122223333:certificate/11111111-2222-3333-4444-555555555555"
M.NEW = "arn:aws:acm:us-east-1:111122223333:certificate/66666666-7777-8888-9999-000000000000"

--- One holder, as the listing gives it; `fields` override.
function M.holder(id, fields)
  fields = fields or {}
  local function given(name, default)
    if fields[name] ~= nil then return fields[name] end
    return default
  end
  return inventory.holder({
    Id = id, ARN = "arn:aws:cloudfront::111122223333:distribution/" .. id, Status = given("Status", "Deployed"),
    DomainName = id:lower() .. ".cloudfront.net", Enabled = given("Enabled", true), Staging = given("Staging", false),
    Aliases = { Quantity = 1, Items = given("Aliases", { id:lower() .. ".example.com" }) },
    HttpVersion = given("HttpVersion", "http2"), ConnectionMode = given("ConnectionMode", "direct"),
    ViewerCertificate = given("ViewerCertificate", {
      ACMCertificateArn = given("reference", M.OLD), SSLSupportMethod = given("ssl", "sni-only"),
      MinimumProtocolVersion = "TLSv1.2_2021",
    }),
  })
end

--- Something with the methods of an inventory, from a list of holders.
function M.inventory(holders)
  local real = inventory.build({
    account = 1,
    loop = {
      now = function() return 1768478400 end,
      await = function() return { DistributionList = { Quantity = 0, IsTruncated = false } } end,
    },
  }, { certificates = false })
  real.holders = holders
  return real
end

M.identity = {
  fingerprint = ("ab"):rep(32), names = { "*.example.com" }, not_before = 1768435200, not_after = 1785715200,
  key_type = "RSA_2048", subject = "CN=*.example.com",
}

return M
