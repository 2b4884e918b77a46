--- The inventory as a person reads it: each certificate, when it ends, who uses it.
local fmt = require("certrotate.fmt")
local table_report = require("certrotate.report.table")

local M = {}

--- How many days are left, said so that nobody has to compute.
---@param certificate certrotate.StoredCertificate
---@param now number   Unix seconds
---@return string
function M.left(certificate, now)
  if not certificate.not_after then return "" end
  local days = math.floor((certificate.not_after - now) / 86400)
  if days < 0 then return "expired" end
  return fmt.plural(days, "day")
end

local COLUMNS = {
  { title = "STORE" }, { title = "NAME", shrink = true }, { title = "EXPIRES" }, { title = "LEFT", right = true },
  { title = "USED BY", right = true }, { title = "DEDICATED IP", right = true }, { title = "NOTE" }, { title = "REFERENCE" },
}

-- References are long and must be seen whole, to be copied: on a narrow terminal each has a line of its own.
local function certificate_table(rows, width)
  local text = table_report.text(COLUMNS, rows)
  local widest = 0
  for line in text:gmatch("[^\n]+") do widest = math.max(widest, table_report.width(line)) end
  if not width or widest <= width then return text end
  local columns, short, lines, at = {}, {}, {}, 0
  for i = 1, #COLUMNS - 1 do columns[i] = COLUMNS[i] end
  for r, row in ipairs(rows) do
    short[r] = {}
    for i = 1, #columns do short[r][i] = row[i] end
  end
  for line in table_report.text(columns, short, width):gmatch("[^\n]+") do
    lines[#lines + 1] = line
    if rows[at] then lines[#lines + 1] = "  " .. table_report.clean(rows[at][#COLUMNS]) end
    at = at + 1
  end
  return table.concat(lines, "\n") .. "\n"
end

---@param inventory certrotate.Inventory
---@param options? { width?: integer, certificates?: certrotate.StoredCertificate[], holders?: boolean }
---@return string
function M.text(inventory, options)
  options = options or {}
  local certificates = options.certificates or inventory.certificates
  local counts, dedicated = {}, {}
  for _, holder in ipairs(inventory.holders) do
    if not holder.default_certificate then
      counts[holder.reference] = (counts[holder.reference] or 0) + 1
      if holder:dedicated_ip() then dedicated[holder.reference] = (dedicated[holder.reference] or 0) + 1 end
    end
  end
  local rows, known, elsewhere = {}, {}, {}
  for _, certificate in ipairs(certificates) do
    local others = certificate.used_elsewhere or {}
    if #others > 0 then
      elsewhere[#elsewhere + 1] = ("Used outside CloudFront: %s by %s; certrotate does not change that, and does not "
        .. "retire the certificate meanwhile\n"):format(certificate.reference, table.concat(others, ", "))
    end
    known[certificate.reference] = true
    rows[#rows + 1] = {
      certificate.store, certificate.name, certificate.not_after and fmt.date(certificate.not_after) or "?",
      M.left(certificate, inventory.taken_at), fmt.count(counts[certificate.reference] or 0),
      dedicated[certificate.reference] and fmt.count(dedicated[certificate.reference]) or "",
      certificate.type == "AMAZON_ISSUED" and "AWS renews it" or #others > 0 and ("+ %d elsewhere"):format(#others) or "",
      certificate.reference,
    }
  end
  local parts = { certificate_table(rows, options.width) }
  local strangers = {}
  if not options.certificates then
    for reference, count in pairs(counts) do
      if not known[reference] then strangers[#strangers + 1] = ("%s (%s)"):format(reference, fmt.plural(count, "holder")) end
    end
    table.sort(strangers)
  end
  local on_default, tenants, staging = 0, 0, 0
  for _, holder in ipairs(inventory.holders) do
    if holder.default_certificate then on_default = on_default + 1 end
    if holder.Staging then staging = staging + 1 end
    if holder.DistributionId then tenants = tenants + 1 end
  end
  parts[#parts + 1] = ("\n%s, %s%s%s, %d on the default certificate\n"):format(
    fmt.plural(#inventory.certificates, "certificate"), fmt.plural(#inventory.holders - tenants, "distribution"),
    staging > 0 and (" (%d staging)"):format(staging) or "",
    tenants > 0 and ", " .. fmt.plural(tenants, "distribution tenant") .. " with a certificate of their own" or "",
    on_default)
  for _, line in ipairs(elsewhere) do parts[#parts + 1] = line end
  if inventory.complete and #strangers > 0 then
    parts[#parts + 1] = "Used, but in neither store of this account: " .. table.concat(strangers, ", ") .. "\n"
  end
  for _, err in ipairs(inventory.errors) do
    parts[#parts + 1] = "Not complete: " .. tostring(err) .. "\n"
  end
  return table.concat(parts)
end

--- The holders of one certificate.
---@param holders certrotate.Holder[]
---@param width? integer
---@return string
function M.holders(holders, width)
  local rows = {}
  for i, holder in ipairs(holders) do
    rows[i] = {
      holder.Id, holder.Aliases[1] and table.concat(holder.Aliases, ", ") or holder.DomainName,
      holder:dedicated_ip() and "dedicated IP" or holder.SSLSupportMethod,
      (holder.Staging and "staging" or holder.Enabled and "enabled" or "disabled")
        .. (holder.DistributionId and ", tenant of " .. holder.DistributionId
          or holder.ConnectionMode == "tenant-only" and ", multi-tenant" or ""), holder.Status,
    }
  end
  return table_report.text({ { title = "ID" }, { title = "ALIASES", shrink = true }, { title = "SSL METHOD" },
    { title = "STATE" }, { title = "STATUS" } }, rows, width)
end

return M
