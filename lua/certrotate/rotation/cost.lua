--- What a dedicated-IP certificate costs while it is associated. Pure: times and prices in, money out.
--
-- CloudFront charges USD 600 a month for each certificate that at least one enabled distribution serves
-- with dedicated IP addresses, pro rata by the hour: 600 * hours / hours of that month (CloudFront pricing).
-- Months are taken in UTC and started hours count whole unless told otherwise: AWS publishes neither.
local M = {}

---@class certrotate.CostOptions
---@field price? number              USD a month for one certificate (default 600)
---@field rounding? "hour"|"exact"   whole started hours (default), or to the second

M.PRICE = 600

local DAY = 86400

-- Days since 1970-01-01 of a civil date; the calendar repeats every 400 years (146,097 days).
local function days_from_civil(year, month)
  local y = month <= 2 and year - 1 or year
  local era = math.floor(y / 400)
  local of_era = y - era * 400
  local of_year = math.floor((153 * (month + (month > 2 and -3 or 9)) + 2) / 5)
  return era * 146097 + of_era * 365 + math.floor(of_era / 4) - math.floor(of_era / 100) + of_year - 719468
end

--- The UTC month a time lies in.
---@param time number  Unix seconds
---@return number first  Unix seconds of its first moment
---@return number next   Unix seconds of the next month's first moment
function M.month(time)
  local days = math.floor(time / DAY)
  local z = days + 719468
  local era = math.floor(z / 146097)
  local of_era = z - era * 146097
  local year_of_era = math.floor((of_era - math.floor(of_era / 1460) + math.floor(of_era / 36524)
    - math.floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year_of_era + math.floor(year_of_era / 4) - math.floor(year_of_era / 100))
  local shifted = math.floor((5 * of_year + 2) / 153)
  local month = shifted < 10 and shifted + 3 or shifted - 9
  local year = year_of_era + era * 400 + (month <= 2 and 1 or 0)
  local first = days_from_civil(year, month)
  local next_first = month == 12 and days_from_civil(year + 1, 1) or days_from_civil(year, month + 1)
  return first * DAY, next_first * DAY
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
