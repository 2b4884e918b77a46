--- What a dedicated-IP certificate costs while it is associated. Pure: times and prices in, money out.
--
-- CloudFront charges USD 600 a month for each certificate that at least one enabled distribution serves
-- with dedicated IP addresses, pro rata by the hour: 600 * hours / hours of that month (CloudFront pricing).
-- Months are taken in UTC and started hours count whole unless told otherwise: AWS publishes neither, nor whether an
-- hour begins with the association or with the clock's.
local fmt = require("certrotate.fmt")

local M = {}

---@class certrotate.CostOptions
---@field price? number              USD a month for one certificate (default 600)
---@field rounding? "hour"|"clock"|"exact"   whole hours from the beginning (default), every hour of the clock that is
---                                touched, or to the second

M.PRICE, M.HOUR = 600, 3600
M.ROUNDINGS = { hour = true, clock = true, exact = true }

--- What is wrong with cost options, or nil.
---@param options? certrotate.CostOptions
---@return string?
function M.problem(options)
  if options == nil then return nil end
  if type(options) ~= "table" then return "a table with `price` and `rounding` expected, got " .. type(options) end
  local price, rounding = options.price, options.rounding
  if price ~= nil and (type(price) ~= "number" or price ~= price or price < 0 or price == math.huge) then
    return "`price` must be dollars a month, got " .. tostring(price)
  end
  if rounding ~= nil and not M.ROUNDINGS[rounding] then
    return "`rounding` must be hour, clock or exact, got " .. tostring(rounding)
  end
  return nil
end

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
  local rounding = options.rounding or "hour"
  if rounding == "hour" then
    to = from + math.ceil((to - from) / M.HOUR) * M.HOUR
  elseif rounding == "clock" then
    from, to = math.floor(from / M.HOUR) * M.HOUR, math.ceil(to / M.HOUR) * M.HOUR
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

--- The least overlap there can be, whatever the order of the changes: the k-th change cannot be made before the rate
--- allows it, and of all orders the one with the longest deployment first ends soonest.
---@param times number[]      seconds each holder's deployment takes
---@param interval? number    seconds between two changes AWS lets through (default 0: as many as one likes)
---@param burst? integer      changes it lets through at once before that (default 1)
---@return number seconds     from the first change until the last holder is Deployed
function M.least_overlap(times, interval, burst)
  local longest_first, least = {}, 0
  for i, seconds in ipairs(times) do longest_first[i] = seconds end
  table.sort(longest_first, function(a, b) return a > b end)
  for k, seconds in ipairs(longest_first) do
    least = math.max(least, math.max(0, k - (burst or 1)) * (interval or 0) + seconds)
  end
  return least
end

--- When to begin what takes so long, so that it touches no more hours of the clock than it must: now, or with the
--- next full hour.
---@param now number       Unix seconds
---@param seconds number   expected overlap
---@return number time
function M.aligned(now, seconds)
  local touched = math.ceil((now + seconds) / M.HOUR) - math.floor(now / M.HOUR)
  if touched <= math.max(1, math.ceil(seconds / M.HOUR)) then return now end
  return math.ceil(now / M.HOUR) * M.HOUR
end

return M
