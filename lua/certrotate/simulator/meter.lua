-- What dedicated IPs cost: for each certificate, the times in which at least one enabled distribution had it with
-- SSLSupportMethod vip. Pure bookkeeping; told of every change by deployment.lua.
local json = require "certrotate.simulator.json"
local time = require "certrotate.simulator.time"

local M = {}
M.__index = M

function M.new(now)
  return setmetatable({ started = now, certificates = {}, order = {}, ending = {}, active = 0, overlap = 0, changes = 0 }, M)
end

local function reference_of(view)
  return view and view.enabled and view.viewer.dedicated and view.viewer.reference or nil
end

-- From here on another number of certificates is associated.
function M:activate(change, now)
  if self.active >= 2 then
    self.overlap = self.overlap + (now - self.overlap_since)
  end
  self.active = self.active + change
  self.overlap_since = now
end

function M:associate(reference, now)
  local entry = self.certificates[reference]
  if not entry then
    entry = { reference = reference, holders = 0, intervals = {} }
    self.certificates[reference] = entry
    self.order[#self.order + 1] = entry
  end
  entry.holders = entry.holders + 1
  if entry.holders == 1 then
    entry.intervals[#entry.intervals + 1] = { from = now }
    self:activate(1, now)
  end
end

function M:dissociate(reference, now)
  local entry = self.certificates[reference]
  entry.holders = entry.holders - 1
  if entry.holders == 0 then
    entry.intervals[#entry.intervals].to = now
    self:activate(-1, now)
  end
end

-- Ends the associations whose time has come, in the order of their times.
function M:settle(now)
  table.sort(self.ending, function(a, b)
    return a.at < b.at
  end)
  while self.ending[1] and self.ending[1].at <= now do
    local ended = table.remove(self.ending, 1)
    self:dissociate(ended.reference, ended.at)
  end
end

--- Associations that were to end later end now.
function M:finish(now)
  for _, ending in ipairs(self.ending) do
    ending.at = math.min(ending.at, now)
  end
  self:settle(now)
end

--- A distribution's configuration changes from `old` to `new`; nil: it did not or does no longer exist.
---@param old? certrotate.simulator.View
---@param new? certrotate.simulator.View
---@param now number
---@param till? number   until when the edges may still have the old one; default now
function M:change(old, new, now, till)
  self:settle(now)
  local from, to = reference_of(old), reference_of(new)
  if from == to then
    return
  end
  self.changes = self.changes + 1
  -- The new one first: a swap of the last holder is no gap.
  if to then
    self:associate(to, now)
  end
  if from then
    self.ending[#self.ending + 1] = { reference = from, at = till or now }
    self:settle(now)
  end
end

-- The first second of the next month, and the hours of the month `at` lies in.
local function month_of(at)
  local t = os.date("!*t", math.floor(at))
  local first = time.utc(t.year, t.month, 1, 0, 0, 0)
  local next_first = t.month == 12 and time.utc(t.year + 1, 1, 1, 0, 0, 0) or time.utc(t.year, t.month + 1, 1, 0, 0, 0)
  return next_first, (next_first - first) / 3600
end

--- US dollars for a stretch of time: exact, or with every started hour counted whole.
---@return number exact
---@return number hourly
function M.charge(from, to, price)
  local exact, cursor = 0, from
  while cursor < to do
    local next_month, hours = month_of(cursor)
    local stop = math.min(to, next_month)
    exact = exact + (stop - cursor) / 3600 * price / hours
    cursor = stop
  end
  local _, hours = month_of(from)
  return exact, math.ceil((to - from) / 3600 - 1e-9) * price / hours
end

--- Everything so far. Seconds are stretched by the setting time_scale, so that a rehearsal of a minute can stand
--- for one of an hour.
---@param now number
---@param settings certrotate.simulator.Settings
function M:report(now, settings)
  self:settle(now)
  local scale, price = settings.time_scale, settings.price_per_month
  local report = { started = self.started, now = now, price_per_month = price, time_scale = scale,
    changes = self.changes, associated = self.active, certificates = json.list(), exact = 0, hourly = 0 }
  for _, entry in ipairs(self.order) do
    local line = { reference = entry.reference, holders = entry.holders, seconds = 0, exact = 0, hourly = 0,
      intervals = json.list() }
    for index, interval in ipairs(entry.intervals) do
      local to = interval.to or now
      local length = (to - interval.from) * scale
      local exact, hourly = M.charge(interval.from, interval.from + length, price)
      line.seconds = line.seconds + length
      line.exact, line.hourly = line.exact + exact, line.hourly + hourly
      line.intervals[index] = { from = interval.from, to = interval.to or json.null, seconds = length }
    end
    report.exact, report.hourly = report.exact + line.exact, report.hourly + line.hourly
    report.certificates[#report.certificates + 1] = line
  end
  local overlap = self.overlap + (self.active >= 2 and now - self.overlap_since or 0)
  local exact, hourly = M.charge(now - overlap * scale, now, price)
  report.overlap_seconds = overlap * scale
  report.overlap = { seconds = overlap * scale, real_seconds = overlap, exact = exact, hourly = hourly }
  return report
end

return M
