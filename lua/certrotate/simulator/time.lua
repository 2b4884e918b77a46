-- Times as AWS writes and reads them. Pure; proleptic Gregorian, UTC, Unix seconds.
local M = {}

local days_before = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 }

--- Unix seconds of a UTC date, or nil when there is no such date.
---@return integer?
function M.utc(year, month, day, hour, minute, second)
  if month < 1 or month > 12 or day < 1 or hour > 23 or minute > 59 or second > 60 then
    return nil
  end
  local leap = (year % 4 == 0 and year % 100 ~= 0) or year % 400 == 0
  local length = month == 2 and (leap and 29 or 28) or (days_before[month + 1] or 365) - days_before[month]
  if day > length then
    return nil
  end
  local years = year - 1970
  local leaps = math.floor((year - 1) / 4) - math.floor((year - 1) / 100) + math.floor((year - 1) / 400) - 477
  local days = years * 365 + leaps + days_before[month] + ((leap and month > 2) and 1 or 0) + day - 1
  return days * 86400 + hour * 3600 + minute * 60 + second
end

--- "20260115T120000Z" → Unix seconds
---@param text string
---@return integer?
function M.parse_basic(text)
  local year, month, day, hour, minute, second = text:match("^(%d%d%d%d)(%d%d)(%d%d)T(%d%d)(%d%d)(%d%d)Z$")
  if not year then
    return nil
  end
  return M.utc(tonumber(year), tonumber(month), tonumber(day), tonumber(hour), tonumber(minute), tonumber(second))
end

--- "20260115T120000Z"
function M.basic(seconds)
  return os.date("!%Y%m%dT%H%M%SZ", math.floor(seconds))
end

--- "2026-01-15T12:00:00Z": IAM and STS
function M.iso(seconds)
  return os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(seconds))
end

--- "2026-01-15T12:00:00.123Z": CloudFront
function M.iso_ms(seconds)
  local ms = math.floor(seconds * 1000 + 0.5)
  return os.date("!%Y-%m-%dT%H:%M:%S", math.floor(ms / 1000)) .. (".%03dZ"):format(ms % 1000)
end

--- "Thu, 15 Jan 2026 12:00:00 GMT": the Date header; English whatever the locale
function M.http(seconds)
  local t = os.date("!*t", math.floor(seconds))
  local days = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" }
  local months = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" }
  return ("%s, %02d %s %04d %02d:%02d:%02d GMT"):format(days[t.wday], t.day, months[t.month], t.year, t.hour, t.min, t.sec)
end

return M
