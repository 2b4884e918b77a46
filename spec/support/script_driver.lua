--- A client without a network and a clock without time: what a task would do against AWS, played from a script.
--
--   local script = script_driver.new()
--   script:expect({ operation = "GetDistribution", params = { Id = "E1" } }, { after = 0.2, result = { … } })
--   local loop = script:loop()                      -- a real loop, the block driver, the virtual clock
--   … loop:await(…) …
--   script:finished()                               -- raises when something expected did not come
--
-- Expectations are met in order. A simulation gives a handler instead: `script:serve(function(submission, now) … end)`
-- that returns { after = seconds, result = | err = }. The clock moves only while everybody waits, from one event to the next.
local errors = require("certrotate.errors")
local task = require("certrotate.task")
local timers = require("certrotate.timers")

local M = {}

local Script = {}
Script.__index = Script

local Client = {}
Client.__index = Client

--- @param start? number  Unix time the virtual clock begins at
function M.new(start)
  local self = setmetatable({
    time = 0, start = start or 1768478400, expected = {}, at = 0, log = {}, turns = 0, waits = 0,
  }, Script)
  self.client = setmetatable({
    script = self, timers = timers.new(), done = {}, first = 1, running = {}, last_id = 0,
  }, Client)
  self.clock = {
    now = function() return self.start + self.time end,
    monotonic = function() return self.time end,
  }
  return self
end

function Script:loop(options)
  options = options or {}
  local driver = options.driver or require("certrotate.driver").choose("block")
  return task.loop({ client = self.client, clock = self.clock, driver = driver })
end

function Script:expect(pattern, reply)
  self.expected[#self.expected + 1] = { pattern = pattern, reply = reply }
  return self
end

function Script:serve(handler)
  self.handler = handler
  return self
end

local function matches(pattern, value)
  if type(pattern) ~= "table" then return pattern == value end
  if type(value) ~= "table" then return false end
  for key, wanted in pairs(pattern) do
    if not matches(wanted, value[key]) then return false end
  end
  return true
end

local function describe(submission)
  return tostring(submission.step or submission.operation or "http") .. " "
    .. require("certrotate.json").encode(submission.params or {})
end

local function reply_to(self, submission)
  if self.handler then return self.handler(submission, self.time) end
  self.at = self.at + 1
  local expected = self.expected[self.at]
  if not expected then error("script: nothing more was expected, got " .. describe(submission), 0) end
  if not matches(expected.pattern, submission) then
    error(("script: submission %d: expected %s, got %s"):format(self.at, describe(expected.pattern), describe(submission)), 0)
  end
  return expected.reply
end

function Script:finished()
  if not self.handler and self.at < #self.expected then
    error("script: never came: " .. describe(self.expected[self.at + 1].pattern), 2)
  end
  if next(self.client.running) then error("script: an operation is still running", 2) end
end

local function complete(self, id, result, err)
  if not self.running[id] then return end
  self.running[id] = nil
  self.done[#self.done + 1] = { id, result, err }
end

function Client:submit(submission)
  local script = self.script
  local reply = reply_to(script, submission)
  script.log[#script.log + 1] = { at = script.time, submission = submission }
  if reply.refuse then return nil, reply.refuse end
  self.last_id = self.last_id + 1
  local id = self.last_id
  self.running[id] = { reply = reply, timer = self.timers:arm(script.time + (reply.after or 0), function()
    complete(self, id, reply.result, reply.err)
  end) }
  return id
end

local function count(self)
  local n = 0
  for _ in pairs(self.running) do n = n + 1 end
  return n
end

function Client:step()
  self.script.turns = self.script.turns + 1
  self.timers:fire(self.script.time)
  return self.script.turns
end

function Client:take()
  local entry = self.done[self.first]
  if not entry then
    if self.first > 1 then self.done, self.first = {}, 1 end
    return nil
  end
  self.done[self.first] = nil
  self.first = self.first + 1
  return entry[1], entry[2], entry[3]
end

--- Moves the clock to the next event, or to the end of the wait.
function Client:wait(seconds)
  local script = self.script
  script.waits = script.waits + 1
  if self.done[self.first] then return count(self) end
  local due = self.timers:due()
  local until_time = seconds and script.time + seconds
  if due and (not until_time or due < until_time) then until_time = due end
  if not until_time then error("script: waiting for ever", 0) end
  if until_time > script.time then script.time = until_time end
  if script.on_wait then script.on_wait(script) end
  return self:step()
end

function Client:timeout()
  local due = self.timers:due()
  return due and math.max(0, due - self.script.time)
end

--- A script may say what a cancelled operation comes to: reply.cancelled = { result = | err = }.
function Client:cancel(id)
  local running = self.running[id]
  if not running then return false end
  self.timers:disarm(running.timer)
  local reply = running.reply.cancelled
    or { err = errors.new({ kind = "cancelled", code = "Cancelled", message = "cancelled",
                            ambiguous = running.reply.ambiguous }) }
  complete(self, id, reply.result, reply.err)
  return true
end

return M
