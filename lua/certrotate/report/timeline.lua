--- The timeline of a rotation, from its journal: a lane a holder, with the old certificate, the change on its way to the
--- edge, and the new one; and the time for which both certificates were charged. As text, and as SVG. Pure.
local core = require("certrotate.core")
local cost = require("certrotate.rotation.cost")
local fmt = require("certrotate.fmt")
local journal_module = require("certrotate.rotation.journal")
local table_report = require("certrotate.report.table")

local M = {}

---@class certrotate.TimelineLane
---@field Id string
---@field name string
---@field wave integer
---@field charged boolean
---@field changed? number     when its change was announced
---@field deployed? number    when it was seen Deployed; of a reimport, when it was seen to be served
---@field problem? string

---@class certrotate.Timeline
---@field account? string      12 digits
---@field from? string         reference of the certificate that is replaced
---@field to? string
---@field in_place boolean     by a reimport: under the same reference
---@field began number
---@field ended number        the end, or the last that is known
---@field finished boolean
---@field lanes certrotate.TimelineLane[]
---@field overlap? { began: number, ended: number, charge: number, open: boolean }
---@field parts? certrotate.Timeline[]   of many accounts: one each; then its own lanes are none

--- What a journal tells of the times; nil while nothing was changed.
---@param journal certrotate.Journal
---@param options? { cost?: certrotate.CostOptions, now?: number }   now: until when one that is not finished is drawn
---@return certrotate.Timeline?
function M.of(journal, options)
  local state = journal:state()
  local plan = state.plan or journal.plan
  local last = journal.entries[#journal.entries]
  local now = options and options.now or core.now()
  local in_place = plan.method == "reimport"
  local timeline = { account = plan.account, from = plan.from, to = state.to, in_place = in_place, lanes = {},
                     finished = state.ended ~= nil, ended = state.ended or math.max(now, last and last.at or 0) }
  for index, wave in ipairs(plan.waves) do
    for _, holder in ipairs(wave.holders) do
      local changed = state.swapped[holder.Id] and state.begun[holder.Id]
      local failure = state.failed[holder.Id]
      timeline.lanes[#timeline.lanes + 1] = {
        Id = holder.Id, name = holder.Aliases[1] or holder.DomainName, wave = index, charged = holder.charged or false,
        changed = changed or nil, deployed = changed and (in_place and state.verified or state.settled)[index] or nil,
        problem = state.conflicts[holder.Id] or failure and tostring(failure.message) or nil,
      }
      if changed then timeline.began = math.min(timeline.began or changed, changed) end
    end
  end
  if not timeline.began then return nil end
  local periods = journal_module.overlaps(plan, state)
  local overlap = periods[#periods]
  -- The way there is another picture, unless its overlap goes on here.
  if overlap and (overlap.ended == nil or overlap.ended >= timeline.began) then
    local stop = overlap.ended or timeline.ended
    timeline.overlap = { began = overlap.began, ended = stop, open = overlap.ended == nil,
                         charge = cost.charge(overlap.began, stop, options and options.cost) }
  end
  -- A little of what was before, so that the old certificate is seen.
  local lead = math.max(1, (timeline.ended - timeline.began) * 0.05)
  timeline.began = math.max(timeline.began - lead, math.min(state.started or timeline.began, timeline.began))
  timeline.ended = math.max(timeline.ended, timeline.began + 1)
  return timeline
end

--- Those of many accounts on one axis of time, in this order.
---@param parts certrotate.Timeline[]
---@return certrotate.Timeline?   nil: of none
function M.join(parts)
  if #parts == 0 then return nil end
  local all = { lanes = {}, in_place = false, finished = true, parts = parts, began = math.huge, ended = 0 }
  for _, part in ipairs(parts) do
    all.began, all.ended = math.min(all.began, part.began), math.max(all.ended, part.ended)
    all.finished = all.finished and part.finished
  end
  return all
end

local function overlap_text(overlap)
  return ("overlap %s: %s%s"):format(fmt.duration(math.max(0, math.floor(overlap.ended - overlap.began + 0.5))),
    fmt.money(overlap.charge), overlap.open and " so far" or "")
end

local MOST = 40   -- lanes in a terminal

--- For a terminal.
---@param timeline certrotate.Timeline
---@param width? integer   columns (default 80)
---@return string
function M.text(timeline, width)
  width = math.max(40, width or 80)
  local label = 0
  for _, lane in ipairs(timeline.lanes) do label = math.max(label, table_report.width(table_report.clean(lane.name))) end
  label = math.min(label, math.floor(width / 3))
  local size = width - label - 2
  local span = timeline.ended - timeline.began
  local function column(at) return math.max(0, math.min(size, math.floor((at - timeline.began) / span * size + 0.5))) end
  local lines = {}
  local function row(name, bar)
    name = table_report.cut(name, label)
    lines[#lines + 1] = (name .. (" "):rep(label - table_report.width(name) + 1) .. bar):gsub("%s+$", "")
  end
  for i, lane in ipairs(timeline.lanes) do
    if i > MOST then
      row("", ("and %s more"):format(fmt.plural(#timeline.lanes - MOST, "holder")))
      break
    end
    local changed = lane.changed and column(lane.changed) or size
    local deployed = lane.deployed and math.max(changed, column(lane.deployed)) or size
    local bar = ("."):rep(changed) .. ("+"):rep(deployed - changed) .. ("#"):rep(size - deployed)
    -- However short, it was there.
    if lane.changed and lane.deployed and deployed == size then bar = bar:sub(1, size - 1) .. "#" end
    row(table_report.clean(lane.name), bar .. (lane.problem and "!" or ""))
  end
  local overlap = timeline.overlap
  if overlap then
    local from, to = column(overlap.began), column(overlap.ended)
    row("both charged", (" "):rep(from) .. ("$"):rep(math.max(1, to - from)))
  end
  local began, ended = fmt.clock(timeline.began), fmt.clock(timeline.ended)
  row("", began .. (" "):rep(math.max(1, size - #began - #ended)) .. ended)
  lines[#lines + 1] = ". old certificate  + on its way  # new certificate" .. (overlap and "  $ " .. overlap_text(overlap) or "")
  return table.concat(lines, "\n") .. "\n"
end

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }
local function escape(text) return (table_report.clean(text):gsub('[&<>"]', ENTITIES)) end

local WIDTH, LEFT, RIGHT, LANE, TOP = 960, 250, 24, 20, 108
local OLD, WAY, NEW, OVER, BAD, INK, DIM = "#94a3b8", "#93c5fd", "#2563eb", "#f59e0b", "#b42318", "#1b2430", "#5c6878"

-- A step between ticks that people count in, so that at most eight fit.
local STEPS = { 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400 }
local function tick_step(span)
  for _, step in ipairs(STEPS) do
    if span / step <= 8 then return step end
  end
  return math.ceil(span / 8 / 86400) * 86400
end

local function legend(out, x, colour, text, opacity)
  out('<rect x="%d" y="70" width="12" height="12" rx="2" fill="%s" opacity="%s"/><text x="%d" y="80">%s</text>', x, colour,
    opacity or "1", x + 18, text)
end

local function lane_bars(out, frame, part, lane, y)
  local function bar(from, to, colour, what)
    if to <= from then return end
    out('<rect x="%.1f" y="%d" width="%.1f" height="%d" rx="2" fill="%s"><title>%s</title></rect>',
      frame.x(from), y + 4, math.max(1, frame.x(to) - frame.x(from)), LANE - 8, colour, escape(what))
  end
  local changed = lane.changed or frame.ended
  bar(frame.began, changed, OLD, "old certificate")
  bar(changed, lane.deployed or frame.ended, WAY, lane.changed and ("changed %s; on its way to the edge"):format(
    fmt.timestamp(lane.changed)) or "")
  if lane.deployed then
    bar(lane.deployed, frame.ended, NEW, ("%s %s: new certificate"):format(part.in_place and "Seen" or "Deployed",
      fmt.timestamp(lane.deployed)))
  end
end

-- What is replaced with what, in words.
local function subject(part)
  if part.in_place then return "reimports " .. part.from end
  return ("replaces %s"):format(part.from or "the default certificate"), part.to and "with " .. part.to
end

-- The lanes of one account, and the time both of its certificates were charged for behind them.
local function lanes(out, frame, part, top)
  local overlap, bottom = part.overlap, top + #part.lanes * LANE
  if overlap then
    out('<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s" opacity=".25"><title>%s</title></rect>',
      frame.x(overlap.began), top - 4, math.max(1, frame.x(overlap.ended) - frame.x(overlap.began)), bottom - top + 8,
      OVER, overlap_text(overlap))
  end
  local wave
  for index, lane in ipairs(part.lanes) do
    local y = top + (index - 1) * LANE
    if lane.wave ~= wave and index > 1 then
      out('<line x1="16" y1="%d" x2="%d" y2="%d" stroke="#cbd5e1" stroke-dasharray="2 3"/>', y, WIDTH - RIGHT, y)
    end
    if lane.wave ~= wave then out('<text x="16" y="%d" fill="%s">%d</text>', y + 14, DIM, lane.wave) end
    wave = lane.wave
    out('<text x="44" y="%d"%s>%s<title>%s</title></text>', y + 14, lane.problem and (' fill="%s"'):format(BAD) or "",
      escape(table_report.cut(lane.name, 24)) .. (lane.charged and " $" or ""),
      escape(lane.Id .. " " .. lane.name .. (lane.problem and ": " .. lane.problem or "")))
    lane_bars(out, frame, part, lane, y)
  end
end

-- Above the lanes of an account among many: which it is, and the same as above all where there is one.
local function heading(out, part, y)
  local replaced, with = subject(part)
  out('<line x1="16" y1="%d" x2="%d" y2="%d" stroke="#94a3b8"/>', y + 6, WIDTH - RIGHT, y + 6)
  out('<text x="16" y="%d" font-weight="600">Account %s<title>%s</title></text>', y + 22, escape(part.account or "?"),
    escape(replaced .. (with and " " .. with or "")))
  if part.overlap then out('<text x="%d" y="%d" fill="%s">%s</text>', LEFT, y + 22, DIM, overlap_text(part.overlap)) end
end

-- What is charged twice in any of them: for the legend.
local function charged_twice(timeline, parts)
  if not timeline.parts then return timeline.overlap and overlap_text(timeline.overlap) end
  local charge, any, open = 0, false, false
  for _, part in ipairs(parts) do
    if part.overlap then any, charge, open = true, charge + part.overlap.charge, open or part.overlap.open end
  end
  return any and ("%s in all%s"):format(fmt.money(charge), open and " so far" or "") or nil
end

local function head(out, timeline, parts, count)
  out("<title>Timeline of the rotation</title>")
  out('<text x="16" y="24" font-size="15" font-weight="600">%s of %s%s</text>',
    timeline.finished and "Rotation" or "Rotation so far", fmt.plural(count, "holder"),
    timeline.parts and " in " .. fmt.plural(#parts, "account") or "")
  if not timeline.parts then
    local replaced, with = subject(timeline)
    out('<text x="16" y="42" fill="%s">%s</text>', DIM, escape(replaced))
    if with then out('<text x="16" y="58" fill="%s">%s</text>', DIM, escape(with)) end
  end
  legend(out, 16, OLD, "old certificate")
  legend(out, 136, WAY, "on its way to the edge")
  legend(out, 300, NEW, "new certificate")
  local twice = charged_twice(timeline, parts)
  if twice then legend(out, 428, OVER, "both charged on dedicated IP addresses: " .. twice, ".45") end
end

local HEADING = 32

--- As an SVG document; of many accounts their lanes are below each other.
---@param timeline certrotate.Timeline
---@return string
function M.svg(timeline)
  local text = {}
  local function out(format, ...) text[#text + 1] = format:format(...) end
  local parts, count = timeline.parts or { timeline }, 0
  for _, part in ipairs(parts) do count = count + #part.lanes end
  local span, bottom = timeline.ended - timeline.began, TOP + count * LANE + (timeline.parts and #parts * HEADING or 0)
  local height = bottom + 40
  local frame = { began = timeline.began, ended = timeline.ended }
  function frame.x(at)
    return LEFT + (math.max(timeline.began, math.min(timeline.ended, at)) - timeline.began) / span * (WIDTH - LEFT - RIGHT)
  end
  out('<?xml version="1.0" encoding="UTF-8"?>\n<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" '
    .. 'height="%d" font-family="system-ui,sans-serif" font-size="12" fill="%s" role="img">', WIDTH, height, WIDTH, height, INK)
  out('<rect width="%d" height="%d" fill="#ffffff"/>', WIDTH, height)
  head(out, timeline, parts, count)
  local step = tick_step(span)
  for at = math.ceil(timeline.began / step) * step, timeline.ended, step do
    out('<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#e2e8f0"/><text x="%.1f" y="%d" fill="%s" text-anchor="middle">%s'
      .. "</text>", frame.x(at), TOP - 4, frame.x(at), bottom + 4, frame.x(at), bottom + 20, DIM, fmt.clock(at))
  end
  local y = TOP
  for _, part in ipairs(parts) do
    if timeline.parts then
      heading(out, part, y)
      y = y + HEADING
    end
    lanes(out, frame, part, y)
    y = y + #part.lanes * LANE
  end
  out("</svg>")
  return table.concat(text, "\n") .. "\n"
end

return M
