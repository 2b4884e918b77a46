--- How far a run is, from its events: a line for the status line, two for the window in the corner.
local fmt = require("certrotate.fmt")
local table_report = require("certrotate.report.table")

local M = {}

---@class certrotate.neovim.Progress
---@field title string
---@field plan certrotate.Plan
---@field expected? number    seconds it will take
---@field total integer       holders in the plan
---@field finished integer    in waves that are Deployed
---@field stage string        what is being done
---@field ended? number       monotonic seconds
local Progress = {}
Progress.__index = Progress

---@param options { title: string, plan: certrotate.Plan, expected?: number, clock: fun(): number }   clock: monotonic
---@return certrotate.neovim.Progress
function M.new(options)
  return setmetatable({
    title = options.title, plan = options.plan, expected = options.expected, clock = options.clock,
    total = #options.plan:holders(), finished = 0, stage = "preparing", began = options.clock(),
  }, Progress)
end

local handlers = {}

function handlers.quota(self, event)
  self.stage = event.enough and "preparing" or ("waiting for quota: %d of %d"):format(event.value, event.needed)
end

function handlers.import(self) self.stage = "imported" end

function handlers.wave(self, event)
  self.wave = { index = event.wave, count = event.waves, name = event.name, total = event.holders,
                changed = event.done or 0, deployed = 0 }
  -- A resumed run says nothing of the waves that were through before.
  self.finished = 0
  for index = 1, event.wave - 1 do self.finished = self.finished + #self.plan.waves[index].holders end
  self.stage = "changing"
end

function handlers.swap(self)
  self.wave.changed = self.wave.changed + 1
end

function handlers.settling(self, event)
  self.wave.deployed, self.wave.settling = event.deployed, event.total
  self.stage = "deploying"
end

function handlers.serving(self, event)
  self.wave.deployed = event.seen
  self.stage = "looking at what is served"
end

function handlers.settled(self)
  self.finished = self.finished + self.wave.total
  self.wave.settled = true
  self.stage = "looking at what is served"
end

function handlers.soak(self, event)
  self.stage, self.soak_until = "watching", self.clock() + event.seconds
end

function handlers.interrupted(self) self.stage = "interrupted" end
function handlers.stopped(self) self.stage = "stopped" end
function handlers.done(self) self.stage = "done" end

--- One event of a run; those it does not know say nothing.
---@param event table
function Progress:event(event)
  local handler = handlers[event.type]
  if handler then handler(self, event) end
end

---@param stage string
function Progress:finish(stage)
  self.stage, self.ended = stage, self.ended or self.clock()
end

-- Holders that are through, the running wave's Deployed ones included.
local function through(self)
  local wave = self.wave
  return self.finished + (wave and not wave.settled and wave.deployed or 0)
end

local function bar(done, total, size)
  local full = total > 0 and math.floor(done / total * size + 0.5) or 0
  return "[" .. ("#"):rep(full) .. ("."):rep(size - full) .. "]"
end

local function numbers(self)
  local wave = self.wave
  if self.stage == "watching" then
    return "watching, " .. fmt.duration(math.max(0, math.floor(self.soak_until - self.clock()))) .. " left"
  elseif self.stage == "changing" then
    return ("%d/%d changed"):format(wave.changed, wave.total)
  elseif self.stage == "deploying" then
    return ("%d/%d Deployed"):format(wave.deployed, wave.settling)
  end
  return self.stage
end

--- For a status line: short, "" says nothing.
---@return string
function Progress:short()
  local wave = self.wave and ("wave %d/%d, "):format(self.wave.index, self.wave.count) or ""
  return wave .. numbers(self)
end

--- For the window in the corner.
---@param width integer
---@return string[]
function Progress:lines(width)
  local wave = self.wave
  local head = self.title
  if wave then head = ("%s  wave %d/%d %s"):format(head, wave.index, wave.count, table_report.clean(wave.name)) end
  local elapsed = math.floor((self.ended or self.clock()) - self.began)
  local time = fmt.duration(elapsed)
  if not self.ended and self.expected and self.expected > elapsed then
    time = ("%s of about %s"):format(time, fmt.duration(self.expected))
  end
  local text = ("%s %d/%d  %s"):format(bar(through(self), self.total, 14), through(self), self.total, numbers(self))
  local room = width - table_report.width(text) - table_report.width(time)
  return { table_report.cut(head, width), table_report.cut(text .. (" "):rep(math.max(2, room)) .. time, width) }
end

return M
