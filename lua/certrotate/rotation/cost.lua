--- What a dedicated-IP certificate costs while it is associated. Pure: times and prices in, money out.
--
-- CloudFront charges USD 600 a month for each certificate that at least one enabled distribution serves
-- with dedicated IP addresses, pro rata by the hour: 600 * hours / hours of that month (CloudFront pricing).
-- Months are taken in UTC and started hours count whole unless told otherwise: AWS publishes neither.
local fmt = require("certrotate.fmt")

local M = {}

---@class certrotate.CostOptions
---@field price? number              USD a month for one certificate (default 600)
---@field rounding? "hour"|"exact"   whole started hours (default), or to the second

M.PRICE = 600

--- The UTC month a time lies in.
---@param time number  Unix seconds
---@return number first  Unix seconds of its first moment
---@return number next   Unix seconds of the next month's first moment
function M.month(time)
  local year, month = fmt.time(time):match("^(%d+)-(%d+)")
  local function first_of(y, m) return (fmt.parse_time(("%04d-%02d-01T00:00:00Z"):format(y, m))) end
  year, month = tonumber(year), tonumber(month)
  return first_of(year, month), month == 12 and first_of(year + 1, 1) or first_of(year, month + 1)
end

--- The charge for one certificate associated from `from` until `to`.
---@param from number   Unix seconds
---@param to number     Unix seconds; not before `from`
---@param options? certrotate.CostOptions
---@return number usd
function M.charge(from, to, options)
  options = options or {}
  local price = options.price or M.PRICE
  if to <= from then return 0 end
  if (options.rounding or "hour") == "hour" then
    to = from + math.ceil((to - from) / 3600) * 3600
  end
  local total, at = 0, from
  while at < to do
    local first, next_first = M.month(at)
    local until_ = math.min(to, next_first)
    total = total + price * (until_ - at) / (next_first - first)
    at = until_
  end
  return total
end

--- USD for one started hour at `time`.
---@param time number
---@param options? certrotate.CostOptions
---@return number usd
function M.hourly(time, options)
  local first, next_first = M.month(time)
  return ((options or {}).price or M.PRICE) * 3600 / (next_first - first)
end

--- The overlap of the guide's "one at a time": each charged holder waits for the one before to be Deployed.
---@param charged integer   dedicated-IP holders that are charged for
---@param call number       seconds to change one
---@param deploy number     seconds until it is Deployed
---@return number seconds
function M.one_at_a_time(charged, call, deploy)
  return charged > 0 and (charged - 1) * (call + deploy) + deploy or 0
end

return M
