-- Holders and inventories made by hand for the pure specs.
local inventory = require("certrotate.rotation.inventory")

local M = {}

M.OLD = "arn:aws:acm:us-east-1:111122223333:certificate/11111111-2222-3333-4444-555555555555"
M.NEW = "arn:aws:acm:us-east-1:111122223333:certificate/66666666-7777-8888-9999-000000000000"

--- One holder, as the listing gives it; `fields` override, `ssl` is the SSLSupportMethod.
function M.holder(id, fields)
  local record = {
    Id = id, ARN = "arn:aws:cloudfront::111122223333:distribution/" .. id, Status = "Deployed",
    DomainName = id:lower() .. ".cloudfront.net", Enabled = true, Staging = false,
    Aliases = { id:lower() .. ".example.com" }, HttpVersion = "HTTP2", ConnectionMode = "direct",
    reference = M.OLD, store = "acm", SSLSupportMethod = "sni-only", MinimumProtocolVersion = "TLSv1.2_2021",
  }
  for key, value in pairs(fields or {}) do record[key == "ssl" and "SSLSupportMethod" or key] = value end
  if record.default_certificate then record.reference, record.store = nil, nil end
  return inventory.holder(record)
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
