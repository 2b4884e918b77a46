--- Maintenance windows: when changes may begin. Pure.
--
--   "Mon-Fri 22:00-04:00 +01:00"      days, from-to, zone
--
-- Days are those a window begins on (default: every day); a window that ends before it begins goes past midnight. The
-- zone is UTC (the default) or a fixed offset: a name like Europe/Berlin would need a table of summer times, which
-- differs from machine to machine, and twice a year an hour comes twice or not at all.
local M = {}

---@class certrotate.Window
---@field text string
---@field days table<integer, boolean>   0 Sunday to 6 Saturday
---@field from number                    seconds after midnight, in the window's zone
---@field length number                  seconds
---@field offset number                  seconds the zone is ahead of UTC

local DAY, WEEK = 86400, 7 * 86400
local NUMBER = { sun = 0, mon = 1, tue = 2, wed = 3, thu = 4, fri = 5, sat = 6 }

local function parse_days(text)
  local days = {}
  for part in (text .. ","):gmatch("([^,]*),") do
    local first, last = part:lower():match("^(%a+)%-(%a+)$")
    first, last = NUMBER[first or part:lower()], NUMBER[last or part:lower()]
    if not first or not last then return nil end
    local day = first
    while true do
      days[day] = true
      if day == last then break end
      day = (day + 1) % 7
    end
  end
  return days
end

local function parse_clock(hours, minutes)
  hours, minutes = tonumber(hours), tonumber(minutes)
  if minutes > 59 or hours > 24 or hours == 24 and minutes > 0 then return nil end
  return hours * 3600 + minutes * 60
end

local function parse_zone(text)
  if text == "" or text:upper() == "UTC" or text == "Z" then return 0 end
  local sign, hours, minutes = text:match("^([+-])(%d%d):?(%d%d)$")
  if not sign or tonumber(hours) > 14 or tonumber(minutes) > 59 then return nil end
  return (sign == "-" and -1 or 1) * (tonumber(hours) * 3600 + tonumber(minutes) * 60)
end

--- Takes a window's text apart.
---@param text string
---@return certrotate.Window? window
---@return string? problem
function M.parse(text)
  if type(text) ~= "string" then return nil, "a window is a text like 'Mon-Fri 22:00-04:00 UTC', got " .. type(text) end
  local days, rest = text:match("^%s*(%a[%a,%-]*)%s+(%d.*)$")
  rest = rest or text
  local h1, m1, h2, m2, zone = rest:match("^%s*(%d%d?):(%d%d)%-(%d%d?):(%d%d)%s*(%S*)%s*$")
  if not h1 then
    return nil, ("'%s' is no window: give it like 'Mon-Fri 22:00-04:00 UTC' or '01:30-05:00 +02:00'"):format(text)
  end
  local list = days and parse_days(days) or not days and parse_days("mon-sun")
  if not list then return nil, ("'%s': days are Mon, Tue, Wed, Thu, Fri, Sat, Sun, or from-to"):format(text) end
  local from, to, offset = parse_clock(h1, m1), parse_clock(h2, m2), parse_zone(zone)
  if not from or not to or from == DAY then return nil, ("'%s': times are 00:00 to 24:00"):format(text) end
  if not offset then
    return nil, ("'%s': a zone is UTC or a fixed offset like +01:00; names and summer time are not known"):format(text)
  end
  local length = to - from
  return { text = text, days = list, from = from, length = length > 0 and length or length + DAY, offset = offset }
end

---@param windows string[]
---@return certrotate.Window[]? parsed
---@return string? problem
function M.parse_all(windows)
  if type(windows) == "string" then windows = { windows } end
  if type(windows) ~= "table" then return nil, "a list of windows expected, got " .. type(windows) end
  local list = {}
  for i, text in ipairs(windows) do
    local window, problem = M.parse(text)
    if not window then return nil, problem end
    list[i] = window
  end
  if #list == 0 then return nil, "a list of windows without a window" end
  return list
end

-- When windows are open between the week before and two weeks after: ordered, and joined where they touch.
local function open_times(windows, now)
  local spans = {}
  for _, window in ipairs(windows) do
    local today = math.floor((now + window.offset) / DAY)
    for day = today - 7, today + 15 do
      -- 1970-01-01 was a Thursday.
      if window.days[(day + 4) % 7] then
        local from = day * DAY + window.from - window.offset
        spans[#spans + 1] = { from = from, to = from + window.length }
      end
    end
  end
  table.sort(spans, function(a, b) return a.from < b.from end)
  local joined = {}
  for _, span in ipairs(spans) do
    local last = joined[#joined]
    if last and span.from <= last.to then
      last.to = math.max(last.to, span.to)
    else
      joined[#joined + 1] = span
    end
  end
  return joined
end

--- Seconds left of the window that is open, nil when none is.
---@param windows string[]
---@param now number   Unix seconds
---@return number?
function M.left(windows, now)
  for _, span in ipairs(open_times(assert(M.parse_all(windows)), now)) do
    if span.from <= now and now < span.to then return span.to - now end
  end
  return nil
end

--- When something that takes so long may begin: where there is enough left of a window, or, when no window is that
--- long, with the beginning of the longest.
---@param windows string[]
---@param now number      Unix seconds
---@param needed number   seconds it is expected to take
---@return number time    not before `now`
function M.opening(windows, now, needed)
  local spans, longest = open_times(assert(M.parse_all(windows)), now), 0
  for _, span in ipairs(spans) do
    if span.to > now and span.from <= now + WEEK then longest = math.max(longest, span.to - span.from) end
  end
  needed = math.min(needed, longest)
  for _, span in ipairs(spans) do
    local from = math.max(now, span.from)
    if span.to > from and span.to - from >= needed then return from end
  end
  error("a window that never opens")   -- each opens at least once a week
end

return M
