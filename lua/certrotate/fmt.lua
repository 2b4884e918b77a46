--- Numbers, times, durations, money as text, and back: the only place that turns numbers into text, because Lua's
--- versions differ in it (5.4 prints 10/2 as "5.0", 5.1 as "5") and because `string.format` and `os.date` follow
--- the locale. Times are Unix seconds, always shown in UTC. Pure: reads no clock.
local M = {}

local floor = math.floor
local number_type = rawget(math, "type")   -- 5.3 and later tell integers from floats

local function is_integer(value)
  return number_type ~= nil and number_type(value) == "integer"
end

local function check_number(value, what)
  if type(value) ~= "number" or value ~= value or value == math.huge or value == -math.huge then
    error(("%s: a finite number expected, got %s"):format(what, tostring(value)), 3)
  end
end

-- The decimal point whatever the locale says.
local function fixed(value, decimals)
  return ((("%." .. decimals .. "f"):format(value):gsub(",", ".")))
end

--- A whole number without a decimal point: 5.0 becomes "5". Raises for one that is not whole.
---@param value number
---@return string
function M.integer(value)
  check_number(value, "fmt.integer")
  if floor(value) ~= value then error("fmt.integer: a whole number expected, got " .. tostring(value), 2) end
  if value > -9007199254740992 and value < 9007199254740992 then return ("%d"):format(value) end
  if is_integer(value) then return ("%d"):format(value) end
  return ("%.0f"):format(value)
end

--- With thousands apart: 1234567 becomes "1,234,567".
---@param value number
---@return string
function M.count(value)
  local text = M.integer(value)
  local sign, digits = text:match("^(%-?)(%d+)$")
  local grouped = digits:reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", "")
  return sign .. grouped
end

--- "1 holder", "3 holders"; the plural is given where an "s" does not make it.
---@param value number
---@param singular string
---@param plural? string
---@return string
function M.plural(value, singular, plural)
  return M.count(value) .. " " .. (value == 1 and singular or plural or singular .. "s")
end

--- With a fixed number of decimals (default 2).
---@param value number
---@param decimals? integer
---@return string
function M.decimal(value, decimals)
  check_number(value, "fmt.decimal")
  return fixed(value, M.integer(decimals or 2))
end

--- The shortest text that reads back as the same number: what JSON files get.
---@param value number
---@return string
function M.exact(value)
  check_number(value, "fmt.exact")
  if floor(value) == value and value > -1e15 and value < 1e15 then return M.integer(value) end
  if is_integer(value) then return M.integer(value) end
  for digits = 14, 17 do
    local text = ("%." .. digits .. "g"):format(value)
    if tonumber(text) == value or digits == 17 then return (text:gsub(",", ".")) end
  end
end

--- A share of one as per cent: 0.256 becomes "25.6%".
---@param value number
---@return string
function M.percent(value)
  check_number(value, "fmt.percent")
  return (fixed(value * 100, 1):gsub("%.0$", "")) .. "%"
end

local BYTE_UNITS = { "KiB", "MiB", "GiB", "TiB" }

--- 4200000 becomes "4.0 MiB".
---@param value number
---@return string
function M.bytes(value)
  check_number(value, "fmt.bytes")
  if value < 1024 then return M.integer(floor(value)) .. " B" end
  local unit = 0
  while value >= 1024 and unit < #BYTE_UNITS do
    value = value / 1024
    unit = unit + 1
  end
  return fixed(value, 1) .. " " .. BYTE_UNITS[unit]
end

--- "$1,234.50". Amounts under a cent keep two digits that mean something: "$0.0031".
---@param amount number
---@param currency? string   a sign put in front, default "$"
---@return string
function M.money(amount, currency)
  check_number(amount, "fmt.money")
  local sign = amount < 0 and "-" or ""
  amount = math.abs(amount)
  local decimals = 2
  if amount > 0 and amount < 0.01 then
    decimals = math.min(8, 1 - floor(math.log(amount) / math.log(10)))
  end
  local whole, fraction = fixed(amount, M.integer(decimals)):match("^(%d+)(%.%d+)$")
  if not whole:find("[1-9]") and not fraction:find("[1-9]") then sign = "" end
  return sign .. (currency or "$") .. M.count(tonumber(whole)) .. fraction
end

-- Days since 1970-01-01 of a date of the proleptic Gregorian calendar, and back. March-based years of 400-year eras.
local function days_of(year, month, day)
  if month <= 2 then year = year - 1 end
  local era = floor(year / 400)
  local year_of_era = year - era * 400
  local day_of_year = floor((153 * (month + (month > 2 and -3 or 9)) + 2) / 5) + day - 1
  return era * 146097 + year_of_era * 365 + floor(year_of_era / 4) - floor(year_of_era / 100) + day_of_year - 719468
end

local function date_of(days)
  days = days + 719468
  local era = floor(days / 146097)
  local day_of_era = days - era * 146097
  local year_of_era = floor((day_of_era - floor(day_of_era / 1460) + floor(day_of_era / 36524)
    - floor(day_of_era / 146096)) / 365)
  local day_of_year = day_of_era - (365 * year_of_era + floor(year_of_era / 4) - floor(year_of_era / 100))
  local shifted = floor((5 * day_of_year + 2) / 153)
  local month = shifted + (shifted < 10 and 3 or -9)
  return year_of_era + era * 400 + (month <= 2 and 1 or 0), month, day_of_year - floor((153 * shifted + 2) / 5) + 1
end

local function parts_of(unix, what)
  check_number(unix, what)
  unix = floor(unix)
  local days = floor(unix / 86400)
  local rest = unix - days * 86400
  local year, month, day = date_of(days)
  if year < 0 or year > 9999 then error(("%s: time out of range: %s"):format(what, tostring(unix)), 3) end
  return year, month, day, floor(rest / 3600), floor(rest / 60) % 60, rest % 60
end

--- "2026-01-15T12:00:00Z"; fractions of a second are dropped.
---@param unix number
---@return string
function M.time(unix)
  return ("%04d-%02d-%02dT%02d:%02d:%02dZ"):format(parts_of(unix, "fmt.time"))
end

--- "2026-01-15 12:00:00 UTC", for people.
---@param unix number
---@return string
function M.timestamp(unix)
  return ("%04d-%02d-%02d %02d:%02d:%02d UTC"):format(parts_of(unix, "fmt.timestamp"))
end

--- "2026-01-15".
---@param unix number
---@return string
function M.date(unix)
  local year, month, day = parts_of(unix, "fmt.date")
  return ("%04d-%02d-%02d"):format(year, month, day)
end

--- "12:00:05", UTC.
---@param unix number
---@return string
function M.clock(unix)
  local _, _, _, hour, minute, second = parts_of(unix, "fmt.clock")
  return ("%02d:%02d:%02d"):format(hour, minute, second)
end

local MONTH_DAYS = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

local function month_days(year, month)
  if month == 2 and year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0) then return 29 end
  return MONTH_DAYS[month]
end

--- Unix seconds of an ISO 8601 time as AWS writes it: "2026-01-15T12:00:00Z", with a fraction (dropped) or an
--- offset such as "+01:00". A number (JSON services) is handed back whole.
---@param text string|number
---@return integer? unix
---@return string? reason
function M.parse_time(text)
  if type(text) == "number" then
    check_number(text, "fmt.parse_time")
    return floor(text)
  end
  if type(text) ~= "string" then error("fmt.parse_time: string expected, got " .. type(text), 2) end
  local year, month, day, hour, minute, second, zone =
    text:match("^(%d%d%d%d)%-(%d%d)%-(%d%d)[Tt ](%d%d):(%d%d):(%d%d)%.?%d*(.*)$")
  if not year then return nil, "not an ISO 8601 time: expected something like 2026-01-15T12:00:00Z" end
  year, month, day = tonumber(year, 10), tonumber(month, 10), tonumber(day, 10)
  hour, minute, second = tonumber(hour, 10), tonumber(minute, 10), tonumber(second, 10)
  -- 60 is a leap second; it counts as the first second of the next minute, as Unix time has it.
  if month < 1 or month > 12 or day < 1 or day > month_days(year, month) or hour > 23 or minute > 59 or second > 60 then
    return nil, "no such date or time of day"
  end
  local offset = 0
  if zone ~= "Z" and zone ~= "z" then
    local sign, hours, minutes = zone:match("^([+-])(%d%d):?(%d%d)$")
    if not sign then return nil, "the time zone is missing: expected Z or an offset such as +01:00" end
    offset = (tonumber(hours, 10) * 60 + tonumber(minutes, 10)) * 60 * (sign == "-" and -1 or 1)
  end
  return days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset
end

--- For people: "350ms", "4.2s", "42s", "10m", "1m 30s", "2h 5m", "3d 4h": the two largest units.
---@param seconds number
---@return string
function M.duration(seconds)
  check_number(seconds, "fmt.duration")
  if seconds < 0 then return "-" .. M.duration(-seconds) end
  if seconds < 0.9995 then
    local ms = floor(seconds * 1000 + 0.5)
    return ms == 0 and "0s" or M.integer(ms) .. "ms"
  end
  if seconds < 9.95 then return (fixed(seconds, 1):gsub("%.0$", "")) .. "s" end
  local whole = floor(seconds + 0.5)
  if whole < 60 then return M.integer(whole) .. "s" end
  local units = { { 86400, "d" }, { 3600, "h" }, { 60, "m" }, { 1, "s" } }
  for index, unit in ipairs(units) do
    if whole >= unit[1] then
      local smaller = units[index + 1]
      local count = floor(whole / unit[1])
      local rest = smaller and floor((whole - count * unit[1]) / smaller[1]) or 0
      return M.integer(count) .. unit[2] .. (rest > 0 and " " .. M.integer(rest) .. smaller[2] or "")
    end
  end
end

local DURATION_UNITS = { ms = 0.001, s = 1, m = 60, h = 3600, d = 86400, w = 604800 }

--- Seconds of "10m", "2h", "30d", "1h30m", "1h 30m", "500ms", "1.5h"; a number alone is seconds.
---@param text string|number
---@return number? seconds
---@return string? reason
function M.parse_duration(text)
  if type(text) == "number" then
    if text ~= text or text < 0 or text == math.huge then return nil, "a duration cannot be negative or endless" end
    return text
  end
  if type(text) ~= "string" then error("fmt.parse_duration: string expected, got " .. type(text), 2) end
  local expected = "expected a duration such as 45s, 10m, 2h, 30d or 1h30m"
  local rest = text:match("^%s*(.-)%s*$"):lower()
  if rest:find("^%d+%.?%d*$") then return tonumber(rest) end
  if rest == "" then return nil, expected end
  local total, last = 0, math.huge
  while rest ~= "" do
    local number, unit, tail = rest:match("^(%d+%.?%d*)(%a+)%s*(.*)$")
    local factor = unit and DURATION_UNITS[unit]
    if not factor or factor >= last then return nil, expected end
    total, last, rest = total + tonumber(number) * factor, factor, tail
  end
  return total
end

--- "a, b and 3 more".
---@param list string[]
---@param most integer
---@return string
function M.list(list, most)
  if #list <= most then return table.concat(list, ", ") end
  return table.concat(list, ", ", 1, most) .. " and " .. M.count(#list - most) .. " more"
end

return M
