--- A job that comes round again and again, in exactly one worker of nginx.
--
-- Every worker looks each few seconds whether a round is due; who gets the lead (leader.lua) does it, in a timer, and
-- renews the lease meanwhile. A round that a leaving worker broke off (reload, quit) or that died with its worker is
-- due again at once: what it began is resumable, and the next worker goes on with it.
local board_module = require("certrotate.nginx.board")
local leader = require("certrotate.nginx.leader")

local M = {}

---@class certrotate.nginx.Context   what a job is given
---@field board certrotate.nginx.Board
---@field on_event fun(event: table)             for a run: shows it on the status page
---@field inventory fun(inventory: certrotate.Inventory)   shows it
---@field watch fun(aws: certrotate.Session)     brings the session's work to a safe point when the lead is lost, or an
---                                              operator interrupts. nginx's own exit is watched by the driver already

---@class certrotate.nginx.Schedule
---@field dict table
---@field board certrotate.nginx.Board
---@field job fun(context: certrotate.nginx.Context): string?, certrotate.Error?   what was done, in a line
---@field every number      seconds between the end of a round and the next
---@field retry number      seconds after one that failed
---@field ttl number        seconds until a dead worker's lead passes on
local Schedule = {}
Schedule.__index = Schedule

-- While a job runs: keeps the lease, and hears an operator's word. Ends with `finished()`.
local function keep_lease(self, lease, sessions, finished)
  local slept = 0
  local step = math.min(1, self.ttl / 3)
  while not finished() do
    ngx.sleep(step)
    slept = slept + step
    local why
    if self.dict:get("interrupt") then
      self.dict:delete("interrupt")
      why = "asked by an operator"
    elseif slept >= self.ttl / 3 then
      slept = 0
      if not lease:renew() then why = "another worker leads now" end
    end
    if why and not finished() then
      for _, aws in ipairs(sessions) do aws.loop:interrupt(why) end
    end
  end
end

-- One round, by who leads.
local function round(self, lease)
  local sessions, finished = {}, false
  local board = self.board
  local context = {
    board = board,
    on_event = board:on_event(),
    inventory = function(inventory) board:inventory(inventory) end,
    watch = function(aws) sessions[#sessions + 1] = aws end,
  }
  local keeper = ngx.thread.spawn(keep_lease, self, lease, sessions, function() return finished end)
  board:round_begins(ngx.now())
  -- A job that raises ends its round, not the schedule.
  local called, message, err = pcall(self.job, context)
  finished = true
  ngx.thread.wait(keeper)
  ngx.update_time()
  local now = ngx.now()
  if not called then message, err = nil, message end
  if message then
    board:round_ends(now, now + self.every, true, message)
  else
    local interrupted = type(err) == "table" and err.code == "Interrupted"
    board:round_ends(now, interrupted and ngx.worker.exiting() and now or now + self.retry, false, tostring(err))
    ngx.log(interrupted and ngx.NOTICE or ngx.ERR, "certrotate: ", tostring(err))
  end
end

-- Whether a round is due. One that began and never ended died with its worker, or its lease still lives.
local function due(self)
  local state = self.board:read("state")
  return not state or state.phase == "running" or (state.next or 0) <= ngx.now()
end

--- Looks whether there is something to do, and does it.
function Schedule:look()
  if not due(self) then return end
  local lease = leader.take(self.dict, self.ttl)
  if not lease then return end
  -- Between the look and the lead another worker may have done it.
  if due(self) then round(self, lease) end
  lease:release()
end

--- Makes the next round due now; a waiting worker sees it at its next look.
function Schedule:hasten()
  local state = self.board:read("state") or { phase = "idle" }
  state.next = 0
  self.board:write("state", state)
end

--- Begins to look, in this worker. For init_worker_by_lua.
function Schedule:begin()
  local look
  -- The next look is begun by the one before, so that none overlaps with a long round.
  local function again(seconds)
    local ok, why = ngx.timer.at(seconds, look)
    if not ok and why ~= "process exiting" then
      ngx.log(ngx.ERR, "certrotate: no timer (", why, "): this worker takes no part any more")
    end
  end
  look = function(premature)
    if premature then return end
    local ok, problem = pcall(self.look, self)
    if not ok then ngx.log(ngx.ERR, "certrotate: ", tostring(problem)) end
    if not ngx.worker.exiting() then again(self.poll) end
  end
  again(0)
end

---@param fields { dict: table, job: function, every: number, retry: number, ttl: number, poll: number }
---@return certrotate.nginx.Schedule
function M.new(fields)
  fields.board = board_module.open(fields.dict)
  return setmetatable(fields, Schedule)
end

return M
