--- What is known of one thing, a line a field, with AWS's names where AWS has one.
local fmt = require("certrotate.fmt")
local clean = require("certrotate.report.table").clean

local M = {}

-- Fields are collected as { name, value } and laid out when all are known.
local function field(rows, name, value)
  if value == nil or value == "" then return end
  if type(value) == "boolean" then value = value and "yes" or "no" end
  rows[#rows + 1] = { name, clean(value) }
end

local function list(rows, name, values)
  for i, value in ipairs(values or {}) do rows[#rows + 1] = { i == 1 and name or "", clean(value) } end
end

local function layout(rows)
  local width, lines = 0, {}
  for _, row in ipairs(rows) do width = math.max(width, #row[1]) end
  for i, row in ipairs(rows) do lines[i] = row[1] .. (" "):rep(width - #row[1] + 2) .. row[2] end
  return lines
end

---@param certificate certrotate.StoredCertificate
---@param holders certrotate.Holder[]
---@return string[]
function M.certificate(certificate, holders)
  local rows = {}
  field(rows, "Reference", certificate.reference)
  if certificate.arn ~= certificate.reference then field(rows, "ARN", certificate.arn) end
  field(rows, "Store", certificate.store == "acm" and "ACM" or "IAM")
  field(rows, "Name", certificate.name)
  list(rows, "Names", certificate.names)
  field(rows, "Key", certificate.key_type)
  field(rows, "Type", certificate.type)
  field(rows, "Path", certificate.path)
  field(rows, "Valid from", certificate.not_before and fmt.timestamp(certificate.not_before))
  field(rows, "Expires", certificate.not_after and fmt.timestamp(certificate.not_after))
  field(rows, "Used by", fmt.plural(#holders, "distribution"))
  return layout(rows)
end

--- A holder of an inventory, or of a plan, which knows less.
---@param holder certrotate.Holder|certrotate.PlanHolder
---@param certificate? certrotate.StoredCertificate
---@return string[]
function M.holder(holder, certificate)
  local rows = {}
  field(rows, "Id", holder.Id)
  list(rows, "Aliases", holder.Aliases)
  field(rows, "DomainName", holder.DomainName)
  field(rows, "Comment", holder.Comment)
  field(rows, "Status", holder.Status)
  field(rows, "Enabled", holder.Enabled)
  if holder.Staging then field(rows, "Staging", true) end
  field(rows, "SSLSupportMethod", holder.SSLSupportMethod)
  field(rows, "MinimumProtocolVersion", holder.MinimumProtocolVersion)
  field(rows, "HttpVersion", holder.HttpVersion)
  field(rows, "ConnectionMode", holder.ConnectionMode)
  if holder.default_certificate then
    field(rows, "Certificate", "CloudFront's default")
  else
    field(rows, "Certificate", holder.reference)
  end
  if certificate then
    field(rows, "  name", certificate.name)
    field(rows, "  expires", certificate.not_after and fmt.timestamp(certificate.not_after))
  end
  return layout(rows)
end

return M
