--- Waiting inside an nginx worker without ever blocking it.
--
-- nginx cannot watch a foreign descriptor from Lua, so the loop is stepped and sleeps in between: 1 ms after
-- something happened, slower the longer nothing does, 20 ms at most, and no longer than the client's next due
-- time. With a `thread_pool` configured in nginx's main context the wait on the client's descriptor happens in one of
-- its threads instead (fewer wake-ups, one thread per waiting loop); where that is not to be had, pacing goes on.
--
-- Works wherever ngx.sleep does: rewrite, access, content, timers. When the worker is told to go
-- (reload, quit) the loop is interrupted: work comes to a safe point and can be resumed by the next worker.
-- A wait in a thread does not hold a leaving worker back, nginx drops it: what must reach a safe point is better paced.
local errors = require("certrotate.errors")

local M = {}

local FASTEST, SLOWEST = 0.001, 0.020   -- seconds
local IDLE = 0.25                       -- nothing in transfer, only our own timers: how long to sleep at most
local BUDGET = 0.001                    -- of work before other requests get their turn; a step of the client keeps to as much
local THREAD_WAIT = 1.0                 -- how long a thread waits before the worker looks after it

local YIELDS = { rewrite = true, access = true, content = true, timer = true, preread = true, server_rewrite = true,
                 ssl_cert = true, ssl_session_fetch = true, ssl_client_hello = true }

---@class certrotate.NginxDriver: certrotate.Driver
local Nginx = { name = "nginx", nested = true }
Nginx.__index = Nginx

---@param options? { thread_pool?: string }
---@return certrotate.Driver
function M.new(options)
  local pool = options and options.thread_pool
  if pool ~= nil and type(pool) ~= "string" then
    error("thread_pool: string expected, got " .. type(pool), 2)
  end
  return setmetatable({ thread_pool = pool, wakeups = 0, worked = 0 }, Nginx)
end

--- A task belongs to the request or timer it was spawned in: nginx ends its coroutines with it.
function Nginx.context()
  return YIELDS[ngx.get_phase()] and ngx.ctx or nil
end

-- One wait in a worker thread; false when there is no such pool (or no threads at all), and then never again.
local function wait_in_thread(self, loop, seconds)
  local run_worker_thread = rawget(ngx, "run_worker_thread")
  if not run_worker_thread then
    self.thread_pool = nil
    return false
  end
  local ok, waited, problem = run_worker_thread(self.thread_pool, "certrotate.driver.nginx_thread", "wait",
    loop.client:pollfd(), math.min(seconds, THREAD_WAIT))
  if ok and waited then return true end
  ngx.log(ngx.NOTICE, "certrotate: cannot wait in thread pool '", self.thread_pool, "' (", tostring(problem or waited),
    "); pacing with ngx.sleep instead")
  self.thread_pool = nil
  return false
end

-- How long to sleep when nothing has happened for `age` seconds.
local function pace(age, delay, client_due, running)
  local seconds = running > 0 and math.max(FASTEST, math.min(SLOWEST, age / 8)) or IDLE
  if delay and delay < seconds then seconds = delay end
  if client_due and client_due < seconds then seconds = client_due end
  -- A sleep of 0 s would come back in the same event round: everybody else goes first.
  return math.max(seconds, FASTEST)
end

function Nginx:run(loop, finished)
  local phase = ngx.get_phase()
  if not YIELDS[phase] then
    return nil, errors.new({ kind = "input", code = "CannotWait",
      message = ("nothing can wait in nginx's %s phase: start it with ngx.timer.at(0, ...)"):format(phase) })
  end
  local last_activity, seen = loop:monotonic(), -1
  while true do
    -- What is waited for one after the other may each be there at once: also then others have their turn.
    if self.worked >= BUDGET then
      self.worked = 0
      ngx.sleep(FASTEST)
    end
    local began = loop:monotonic()
    if ngx.worker.exiting() and not loop.interrupted then loop:interrupt("nginx worker is exiting") end
    local delay, running = loop:turn(BUDGET)
    local now = loop:monotonic()
    self.worked = self.worked + now - began
    if finished() then return true end
    self.worked = 0
    if loop.delivered ~= seen then last_activity, seen = now, loop.delivered end
    self.wakeups = self.wakeups + 1
    local threaded = false
    if self.thread_pool and delay ~= 0 and running > 0 then
      threaded = wait_in_thread(self, loop, math.min(delay or THREAD_WAIT, loop.client:timeout() or THREAD_WAIT))
    end
    if not threaded then
      ngx.sleep(pace(now - last_activity, delay, running > 0 and loop.client:timeout() or nil, running))
    end
  end
end

return M
