--- Tasks: straight-line functions that wait without knowing in which host they run.
--
-- A Loop belongs to one client and one driver. `loop:await(x)` is the only place where anything waits:
-- inside a task of the loop it yields *what it waits for*; anywhere else (a script, the REPL, an nginx handler,
-- Neovim's main loop) it drives the loop until x is done and returns the same values. So one function serves both.
--
--   local loop = task.loop { client = client }
--   local page, err = loop:await { account = 1, service = "cloudfront", operation = "ListDistributions" }
--   local work = loop:spawn(function() loop:sleep(600); return loop:await(submission) end)
--   local result, err = work:wait()
--
-- What can be waited for: a submission (table for client:submit), a handle of loop:submit, task.pause(seconds),
-- a task, task.all { … }, task.any { … }.
--
-- Rules:
--   * Results are `value…` or `nil, err`. A function that *raises* inside a task does not take the host down: its
--     task ends with `nil, err`, err.kind "internal", err.code "Raised", err.traceback where it happened.
--   * Whether something is done is a state, not an event: a result that came before anybody waited is not lost.
--   * Cancelling a task cancels its running operations and its children. A cancelled operation is still waited
--     for (briefly): what the write came to is never thrown away, `err.ambiguous` says when nobody can know.
--   * No yield crosses a pcall, a metamethod or an iterator here; do not put one between a task and await either
--     (PUC 5.1 cannot; LuaJIT and 5.4 can).
--
-- In nginx a task belongs to the request or timer that spawned it and runs only there: nginx drops a request's
-- coroutines when it ends. Operations belong to the client, so many requests may share one loop and its connections.
-- Renewals of credentials are the loop's own, since they are for everybody: whoever turns the loop resumes them.
local errors = require("certrotate.errors")
local fmt = require("certrotate.fmt")
local timers = require("certrotate.timers")

local M = {}

local unpack = rawget(_G, "unpack") or table.unpack   -- luacheck: ignore 143

---@class certrotate.Clock
---@field now fun(): number         Unix seconds
---@field monotonic fun(): number   seconds

---@class certrotate.Driver
---@field name string
---@field run fun(self, loop: certrotate.Loop, finished: fun(): boolean): boolean?, certrotate.Error?  until finished()
---@field wake? fun(self, loop: certrotate.Loop)    something became due while nobody drives (event hosts)
---@field context? fun(self): any                   what tasks spawned now belong to; only that one's pump resumes them
---@field nested? boolean                           the host may run other code while a task is being resumed (nginx)
---@field close? fun(self, loop: certrotate.Loop)

---@class certrotate.Waitable      handle of something that is running

-- A pending result. Internal; tasks, handles, pauses and composites each own one.
--   kind      "operation" | "pause" | "task" | "group"
--   finished, n, [1..n]   the results once it is done
--   waiters   tasks and callbacks to tell
local Pending = { __name = "certrotate.Waitable" }
Pending.__index = Pending

---@class certrotate.Task
---@field loop certrotate.Loop
---@field name? string
local Task = {}
Task.__index = Task
Task.__name = "certrotate.Task"

---@class certrotate.Loop
---@field client certrotate.Client
---@field driver certrotate.Driver
---@field interrupted string|nil    why, once `interrupt` was called
---@field on_error? fun(task: certrotate.Task, err: certrotate.Error)  told of every task that ended because it raised
local Loop = {}
Loop.__index = Loop
Loop.__name = "certrotate.Loop"

local Pause = { __name = "certrotate.Pause" }
local Group = { __name = "certrotate.Group" }

-- Coroutines that belong to nobody. nginx ties those of coroutine.create to a request; Lua's own functions are still
-- there under these names. Looked up when they are needed: nginx puts them there after its init phase.
local function plain_coroutines()
  local api = {}
  for _, name in ipairs({ "create", "resume", "yield", "status" }) do
    api[name] = rawget(coroutine, "_" .. name) or coroutine[name]
  end
  return api
end

local RENEW_AGAIN = 60   -- seconds after a renewal failed that was not urgent yet

local YIELD = {}   -- what a task yields; anything else that comes out of it is not ours

-- ------------------------------------------------------------------------------------------- waitables

--- A pause. It begins when it is awaited. Result: true.
---@param seconds number
function M.pause(seconds)
  if type(seconds) ~= "number" or seconds ~= seconds or seconds < 0 then
    error("task.pause: a number of seconds expected, got " .. tostring(seconds), 2)
  end
  return setmetatable({ seconds = seconds }, Pause)
end

local function group(name, list, any)
  if type(list) ~= "table" or #list == 0 then error(name .. ": a list of waitables expected", 3) end
  return setmetatable({ list = list, any = any }, Group)
end

--- Everything in the list. It waits for all of them, whatever comes. Results: the list of first values; or
--- nil, the first error in list order, the list of values, the map of errors by position.
---@param list table[]
function M.all(list) return group("task.all", list, false) end

--- The first of the list to be done. Results: its position, its value, its error. Submissions and pauses that
--- were started for this are cancelled; tasks and handles go on.
---@param list table[]
function M.any(list) return group("task.any", list, true) end

-- ------------------------------------------------------------------------------------------- timers

local function arm(self, seconds, action)
  return self._timers:arm(self:monotonic() + seconds, action)
end

local function disarm(self, timer)
  if timer then self._timers:disarm(timer) end
end

-- ------------------------------------------------------------------------------------------- pending results

local function make_ready(task)
  if task._queued or task._pending.finished then return end
  task._queued = true
  local owner = task._owner
  owner.last = owner.last + 1
  owner.queue[owner.last] = task
end

local function settle(pending, n, ...)
  if pending.finished then return end
  pending.finished, pending.n = true, n
  for index = 1, n do pending[index] = (select(index, ...)) end
  local waiters = pending.waiters
  if not waiters then return end
  pending.waiters = nil
  for index = 1, #waiters do
    local waiter = waiters[index]
    if type(waiter) == "function" then
      waiter(pending)
    elseif waiter._waiting == pending then
      make_ready(waiter)
    end
  end
end

local function add_waiter(pending, waiter)
  local waiters = pending.waiters
  if waiters then waiters[#waiters + 1] = waiter else pending.waiters = { waiter } end
end

local function drop_waiter(pending, waiter)
  local waiters = pending.waiters
  for index = #(waiters or ""), 1, -1 do
    if waiters[index] == waiter then
      table.remove(waiters, index)
      return
    end
  end
end

local function cancelled_error(code, message, operation, cause)
  return errors.new({ kind = "cancelled", code = code, message = message, operation = operation, cause = cause,
                      ambiguous = cause ~= nil and cause.ambiguous or false })
end

local function interrupted_error(self)
  return cancelled_error("Interrupted", ("interrupted (%s)"):format(tostring(self.interrupted)))
end

local function closed_error()
  return cancelled_error("Closed", "the session was closed")
end

local function timeout_error(seconds)
  return errors.new({ kind = "timeout", code = "DeadlineExceeded", retryable = true,
                      message = "not done within " .. fmt.duration(seconds) })
end

-- Ends what a wait started. Operations are only asked to: `deliver` brings what became of them.
local function abandon(pending, err)
  if pending.finished then return end
  if pending.kind == "operation" then
    pending.reason = pending.reason or err
    pending.loop.client:cancel(pending.id)
  elseif pending.kind == "pause" then
    disarm(pending.loop, pending.timer)
    pending.loop._pauses[pending] = nil
    settle(pending, 2, nil, err)
  elseif pending.kind == "group" then
    pending.abandoned = pending.abandoned or err
    for _, child in ipairs(pending.own) do abandon(child, err) end
    pending.check()
  end
end

local function current(self)
  local co = coroutine.running()
  return co and self._active[co] or nil
end

-- "Get…", "List…", "Describe…" and the steps that only watch may be cut short by an interrupt; a write may not.
local function only_reads(submission)
  if submission.step then return submission.step == "settle" or submission.step == "verify" end
  if submission.http or submission.program then return true end
  local name = tostring(submission.operation)
  return name:find("^Get") ~= nil or name:find("^List") ~= nil or name:find("^Describe") ~= nil
end

local function shielded_now(self, task)
  return (task and task._shield or self._shield) > 0
end

-- A number for everything that is started: what must happen in an order happens in this one.
local function next_order(self)
  self._order = self._order + 1
  return self._order
end

local function by_order(a, b) return a.order < b.order end

local function start_operation(self, submission, task)
  local pending = setmetatable({ kind = "operation", loop = self, task = task, order = next_order(self),
                                 reads = only_reads(submission), shielded = shielded_now(self, task) }, Pending)
  local id, err = self.client:submit(submission)
  if not id then
    settle(pending, 2, nil, err)
    return pending
  end
  pending.id = id
  self._operations[id] = pending
  self.running = self.running + 1
  self._fresh = true
  return pending
end

local function start_pause(self, seconds, task)
  local pending = setmetatable({ kind = "pause", loop = self, order = next_order(self),
                                 shielded = shielded_now(self, task) }, Pending)
  self._pauses[pending] = true
  pending.timer = arm(self, seconds, function()
    self._pauses[pending] = nil
    settle(pending, 1, true)
  end)
  return pending
end

local start

local function start_group(self, description, task)
  local pending = setmetatable({ kind = "group", loop = self, own = {} }, Pending)
  local children, left, own_left = {}, #description.list, 0
  local finish

  pending.check = function()
    if pending.finished then return end
    if left == 0 and not description.any then
      finish()
    elseif pending.abandoned and own_left == 0 then
      settle(pending, 2, nil, pending.abandoned)
    end
  end
  finish = function()
    local values, problems, first = {}, {}, nil
    for index, child in ipairs(children) do
      values[index] = child[1]
      if child[1] == nil and child[2] ~= nil then
        problems[index] = child[2]
        first = first or child[2]
      end
    end
    if first then settle(pending, 4, nil, first, values, problems) else settle(pending, 1, values) end
  end

  local function child_done(index, child, owned)
    left = left - 1
    if owned then own_left = own_left - 1 end
    if description.any and not pending.finished and not pending.abandoned then
      settle(pending, 3, index, child[1], child[2])
      for _, other in ipairs(pending.own) do
        abandon(other, cancelled_error("Cancelled", "another one was done first"))
      end
    end
    pending.check()
  end

  for index, item in ipairs(description.list) do
    local child, owned = start(self, item, task)
    children[index] = child
    if owned and not child.finished then
      pending.own[#pending.own + 1] = child
      own_left = own_left + 1
    else
      owned = false
    end
    if child.finished then
      left = left - 1
      if description.any and not pending.finished then settle(pending, 3, index, child[1], child[2]) end
    else
      add_waiter(child, function() child_done(index, child, owned) end)
    end
    if pending.finished then
      for _, other in ipairs(pending.own) do
        abandon(other, cancelled_error("Cancelled", "another one was done first"))
      end
      return pending
    end
  end
  pending.check()
  return pending
end

-- The pending result behind anything that can be awaited, and whether this wait started it (and so ends it).
function start(self, waitable, task)
  local kind = type(waitable) == "table" and getmetatable(waitable)
  if kind == Task then
    if waitable.loop ~= self then error("await: the task belongs to another loop", 3) end
    return waitable._pending, false
  elseif kind == Pending then
    if waitable.loop ~= self then error("await: the handle belongs to another loop", 3) end
    return waitable, false
  elseif kind == Pause then
    return start_pause(self, waitable.seconds, task), true
  elseif kind == Group then
    return start_group(self, waitable, task), true
  elseif type(waitable) == "table" and (waitable.operation or waitable.step or waitable.http or waitable.program) then
    return start_operation(self, waitable, task), true
  end
  error("await: a submission, handle, pause, group or task expected, got " .. type(waitable), 3)
end

-- ------------------------------------------------------------------------------------------- the loop

--- A loop for one client.
---@param options { client: certrotate.Client, driver?: certrotate.Driver, clock?: certrotate.Clock }
---@return certrotate.Loop
function M.loop(options)
  if type(options) ~= "table" or not options.client then error("task.loop: field 'client' expected", 2) end
  local clock = options.clock or require("certrotate.core")
  local driver = options.driver or require("certrotate.driver").choose()
  return setmetatable({
    client = options.client, driver = driver,
    running = 0,                   -- operations not finished
    delivered = 0,                 -- operations that ended so far
    _now = clock.now, _monotonic = clock.monotonic,
    _operations = {},              -- id -> Pending
    _pauses = {},                  -- set of running pauses, for `interrupt`
    _timers = timers.new(), _order = 0,
    _owners = setmetatable({}, { __mode = "k" }),
    _home = { queue = {}, first = 1, last = 0 },
    _common = { queue = {}, first = 1, last = 0 },   -- renewals: resumed by whoever turns the loop
    _renewals = {}, _renewing = {},                  -- account -> function, account -> its running task
    _active = setmetatable({}, { __mode = "kv" }),   -- coroutine -> task, while it is being resumed
    _shield = 0, _interrupts = 0,
  }, Loop)
end

--- Unix time in seconds, with fractions.
---@return number
function Loop:now() return self._now() end

--- Seconds of a clock that never jumps.
---@return number
function Loop:monotonic() return self._monotonic() end

-- Tasks that belong to the request (nginx) we are in; one for all elsewhere. The record does not refer to
-- its key, so a request that is gone takes its record along.
local function owner_now(self)
  local key = self.driver.context and self.driver:context()
  if key == nil then return self._home end
  local owner = self._owners[key]
  if not owner then
    owner = { queue = {}, first = 1, last = 0 }
    self._owners[key] = owner
  end
  return owner
end

local function wake_host(self)
  if not self._turning and self.driver.wake then self.driver:wake(self) end
end

-- ------------------------------------------------------------------------------------------- tasks

local function finish_task(task, n, ...)
  local parent = task._parent
  if parent then parent._children[task] = nil end
  settle(task._pending, n, ...)
end

local function new_task(self, owner, fn, ...)
  local api = owner == self._common and plain_coroutines() or coroutine
  return setmetatable({
    loop = self, _pending = setmetatable({ kind = "task", loop = self }, Pending), _children = {},
    order = next_order(self), _shield = 0, _owner = owner, _api = api, _co = api.create(fn),
    _arguments = { n = select("#", ...), ... },
  }, Task)
end

--- Starts a function as a task. It begins at the next turn of the loop, not inside this call. Inside a task
--- the new one is its child: cancelled with it, otherwise independent of it.
---@param fn fun(...): ...
---@return certrotate.Task
function Loop:spawn(fn, ...)
  if type(fn) ~= "function" then error("spawn: function expected, got " .. type(fn), 2) end
  if self.closed then error("the session is closed", 2) end
  local parent = current(self)
  local task = new_task(self, parent and parent._owner or owner_now(self), fn, ...)
  task._parent = parent
  if parent then parent._children[task] = true end
  make_ready(task)
  wake_host(self)
  return task
end

local function raised(task, problem)
  local where = debug.traceback(task._co, tostring(problem))
  local err = errors.new({ kind = "internal", code = "Raised", message = tostring(problem), traceback = where })
  finish_task(task, 2, nil, err)
  if task.loop.on_error then task.loop.on_error(task, err) end
end

local function resumed(task, ok, ...)
  if not ok then return raised(task, (...)) end
  if task._api.status(task._co) == "dead" then return finish_task(task, select("#", ...), ...) end
  if (...) ~= YIELD then
    raised(task, "a task yielded to somebody else: only loop:await may yield inside a task")
  end
end

local function resume(self, task)
  task._queued = nil
  local co = task._co
  self._active[co] = task
  local arguments = task._arguments
  if arguments then
    task._arguments = nil
    if task._cancelled or self.closed then
      finish_task(task, 2, nil, task._cancelled or closed_error())
    else
      resumed(task, task._api.resume(co, unpack(arguments, 1, arguments.n)))
    end
  else
    resumed(task, task._api.resume(co))
  end
  self._active[co] = nil
end

--- Ends the task: its running operations are cancelled, its pauses and waits end now, its children too. From
--- then on every await inside it returns `nil, err` at once (see `shielded`).
---@param err? certrotate.Error   what the task sees; default kind "cancelled", code "Cancelled"
---@return boolean cancelled      false: it was already done
function Task:cancel(err)
  if self._pending.finished then return false end
  err = err or cancelled_error("Cancelled", "cancelled")
  self._cancelled = self._cancelled or err
  local children = {}
  for child in pairs(self._children) do children[#children + 1] = child end
  table.sort(children, by_order)
  for _, child in ipairs(children) do child:cancel(err) end
  if self._shield == 0 then
    for _, operation in pairs(self.loop._operations) do
      if operation.task == self and not operation.shielded then abandon(operation, err) end
    end
    local waiting = self._waiting
    if waiting and self._owns then
      abandon(waiting, err)
    elseif waiting then
      self._woken = err
      make_ready(self)
    end
  end
  wake_host(self.loop)
  return true
end

--- Waits for the task: its results, or `nil, err`. With a timeout the task itself goes on.
---@param timeout? number  seconds
function Task:wait(timeout) return self.loop:await(self, timeout) end

---@return boolean
function Task:done() return self._pending.finished == true end

--- Whether `cancel` was called before it was done.
---@return boolean
function Task:cancelled() return self._cancelled ~= nil end

function Task:__tostring()
  return "certrotate task: " .. (self._pending.finished and "done" or self._cancelled and "cancelled" or "running")
end

-- ------------------------------------------------------------------------------------------- waiting

local function results(pending) return unpack(pending, 1, pending.n) end

local function await_in_task(self, task, pending, owned, timeout)
  local timer
  task._waiting, task._owns, task._woken = pending, owned, nil
  add_waiter(pending, task)
  if timeout then
    timer = arm(self, timeout, function()
      if task._waiting ~= pending then return end
      if owned then return abandon(pending, timeout_error(timeout)) end
      task._woken = timeout_error(timeout)
      make_ready(task)
    end)
  end
  -- Whoever resumes us made it done or left a reason in _woken.
  task._api.yield(YIELD)
  task._waiting = nil
  disarm(self, timer)
  if pending.finished then return results(pending) end
  drop_waiter(pending, task)
  return nil, task._woken
end

local function await_outside(self, pending, owned, timeout)
  local timer, expired
  if timeout then
    timer = arm(self, timeout, function()
      expired = timeout_error(timeout)
      if owned then abandon(pending, expired) end
    end)
  end
  local ok, err = self.driver:run(self, function() return pending.finished or (expired ~= nil and not owned) end)
  disarm(self, timer)
  if pending.finished then return results(pending) end
  if not ok then
    if owned then abandon(pending, err) end
    return nil, err
  end
  return nil, expired
end

--- Waits for something and returns its results, or `nil, err`.
--- With a timeout: what this call itself started (a submission, a pause) is cancelled when it is over; handles and tasks
--- go on and can be awaited again. err.kind is "timeout" then.
---@param waitable certrotate.Submission|certrotate.Waitable|certrotate.Task|table
---@param timeout? number  seconds
---@return any ...
function Loop:await(waitable, timeout)
  if timeout ~= nil and type(timeout) ~= "number" then
    error("await: timeout: a number of seconds expected, got " .. type(timeout), 2)
  end
  local task = current(self)
  if self.closed then
    if task then return nil, closed_error() end
    error("the session is closed", 2)
  end
  if not task and self._resuming and not self.driver.nested then
    -- The thread that turns the loop cannot be here while it resumes a task: a turn of it was cut off (CTRL-C in
    -- the REPL raises anywhere). Whatever else runs now is inside a task, on a coroutine of its own.
    if coroutine.running() ~= self._thread then
      error("await was called in a coroutine that is not the task's own; spawn a task for it", 2)
    end
    self._turning, self._resuming, self._home.busy = false, false, false
  end
  if not shielded_now(self, task) then
    if task and task._cancelled then return nil, task._cancelled end
    if self.interrupted then
      local kind = getmetatable(waitable)
      if kind ~= Task and kind ~= Pending then return nil, interrupted_error(self) end
    end
  end
  local pending, owned = start(self, waitable, task)
  if pending.finished then return results(pending) end
  if task then return await_in_task(self, task, pending, owned, timeout) end
  return await_outside(self, pending, owned, timeout)
end

--- Starts an operation without waiting; `await` the handle later. Its owner is the task it is started in.
---@param submission certrotate.Submission
---@return certrotate.Waitable
function Loop:submit(submission)
  if type(submission) ~= "table" then error("submit: table expected, got " .. type(submission), 2) end
  if self.closed then error("the session is closed", 2) end
  local task = current(self)
  if not shielded_now(self, task) and (self.interrupted or task and task._cancelled) then
    local refused = setmetatable({ kind = "operation", loop = self }, Pending)
    settle(refused, 2, nil, task and task._cancelled or interrupted_error(self))
    return refused
  end
  local pending = start_operation(self, submission, task)
  wake_host(self)
  return pending
end

---@return boolean
function Pending:done() return self.finished == true end

--- Cancels the operation behind a handle; awaiting the handle tells what became of it.
function Pending:cancel()
  abandon(self, cancelled_error("Cancelled", "cancelled"))
  wake_host(self.loop)
end

--- Pauses: true, or `nil, err` when cancelled or interrupted.
---@param seconds number
---@return boolean? ok
---@return certrotate.Error?
function Loop:sleep(seconds) return self:await(M.pause(seconds)) end

--- Runs a function as a child task that is cancelled when it takes longer; err.kind is "timeout" then.
---@param seconds number
---@param fn fun(...): ...
function Loop:within(seconds, fn, ...)
  if type(seconds) ~= "number" then error("within: a number of seconds expected, got " .. type(seconds), 2) end
  local child = self:spawn(fn, ...)
  local timer = arm(self, seconds, function() child:cancel(timeout_error(seconds)) end)
  local function done(...)
    disarm(self, timer)
    return ...
  end
  return done(self:await(child))
end

--- Calls a function during which neither an interrupt nor a cancellation ends its waits or refuses new ones:
--- for what must still be done on the way out. A second interrupt ends them all the same.
---@param fn fun(...): ...
function Loop:shielded(fn, ...)
  local holder = current(self) or self
  holder._shield = holder._shield + 1
  local function done(...)
    holder._shield = holder._shield - 1
    return ...
  end
  return done(fn(...))
end

--- Calls fn(item, index, stop) for the items of a list, at most `limit` at a time; the results come in the list's order.
--- The first `nil, err` starts no further items, lets the running ones end and becomes the result: `nil, err, results`.
--- A function that wants to go on after a failure returns something else, the error as a value for example.
--- Calling stop() starts no further items either, and is no failure: results.stopped is true, results.n the list's length.
---@generic T, R
---@param list T[]
---@param limit integer
---@param fn fun(item: T, index: integer, stop: fun()): R?, certrotate.Error?
---@return R[]? results
---@return certrotate.Error? err
---@return R[]? partial
function Loop:each(list, limit, fn)
  if type(list) ~= "table" then error("each: list expected, got " .. type(list), 2) end
  if type(limit) ~= "number" or limit < 1 then error("each: limit: a number of at least 1 expected", 2) end
  if type(fn) ~= "function" then error("each: function expected, got " .. type(fn), 2) end
  local total = #list
  local outcome, at, failure, stopped = { n = total }, 0, nil, false
  local function stop() stopped = true end

  local function work()
    while not (stopped or failure) and at < total do
      local refused = self:_refusal()
      if refused then
        failure = refused
        break
      end
      at = at + 1
      local index = at
      local value, err = fn(list[index], index, stop)
      outcome[index] = value
      if value == nil and err ~= nil then failure = failure or err end
    end
    return true
  end

  local workers = {}
  for index = 1, math.min(math.floor(limit), total) do
    workers[index] = self:spawn(work)
    -- One that raised, or was cancelled from outside, stops the others too.
    add_waiter(workers[index]._pending, function(pending) failure = failure or pending[2] end)
  end
  -- Also when we are being cancelled: our children are, too, and what they were doing must come to its end.
  local unfinished = self:shielded(function()
    for _, worker in ipairs(workers) do self:await(worker) end
    return failure
  end)
  outcome.stopped = stopped
  if unfinished then return nil, unfinished, outcome end
  return outcome
end

-- Why nothing new may start here, or nil.
function Loop:_refusal()
  local task = current(self)
  if shielded_now(self, task) then return nil end
  if task and task._cancelled then return task._cancelled end
  return self.interrupted and interrupted_error(self) or nil
end

--- Asks everything to come to a safe point. The first time pauses end, operations that only read or watch are cancelled,
--- writes run to their end, and every new submission or pause is refused with code "Interrupted". The second time
--- every operation is cancelled, shielded ones too. Safe to call from a driver; the reason is for people ("SIGINT").
---@param reason string
function Loop:interrupt(reason)
  self.interrupted = reason
  self._interrupts = self._interrupts + 1
  local all = self._interrupts > 1
  local err = interrupted_error(self)
  local ending = {}
  for pause in pairs(self._pauses) do
    if all or not pause.shielded then ending[#ending + 1] = pause end
  end
  for _, operation in pairs(self._operations) do
    if all or (operation.reads and not operation.shielded) then ending[#ending + 1] = operation end
  end
  table.sort(ending, by_order)
  for _, pending in ipairs(ending) do abandon(pending, err) end
  wake_host(self)
end

--- Whether it was asked twice: then nothing more is to be begun, not even what `shielded` would allow.
---@return boolean
function Loop:leaving() return self._interrupts > 1 end

--- Forgets an interrupt: new work is accepted again.
function Loop:uninterrupt()
  self.interrupted, self._interrupts = nil, 0
end

-- ------------------------------------------------------------------------------------------- renewals

local function renewal_ended(self, account, pending)
  self._renewing[account] = nil
  if self.closed then return end
  local given, err, ok = pending[1], pending[2], nil
  if given then ok, err = self.client:credentials(account, given) end
  if not ok then
    err = err or errors.new({ kind = "internal", code = "NoResult", message = "the renewal came to nothing" })
    local aws_now = self:now() + self.client:account_info(account).clock_offset
    self.client:credentials_failed(account, err, aws_now + RENEW_AGAIN)
  end
  self._fresh = true   -- what waited for it can go on
end

-- One task for each account whose credentials the core asks for, however many calls want them. Neither an interrupt nor
-- the end of whoever asked first ends it: a write that waits for it must come to its own end.
local function begin_renewals(self)
  if next(self._renewals) == nil then return end
  local account = self.client:wanted()
  while account do
    local wanted = account
    local task = new_task(self, self._common, self._renewals[account])
    task._shield = 1
    self._renewing[wanted] = task
    add_waiter(task._pending, function(pending) renewal_ended(self, wanted, pending) end)
    make_ready(task)
    account = self.client:wanted()
  end
end

--- Says how an account gets new credentials. The function runs as a task when the core asks for them: before the first
--- call that is to be signed, and ahead of expiry. It returns what client:credentials takes, or `nil, err`.
---@param account integer
---@param renew? fun(): certrotate.GivenCredentials?, certrotate.Error?   nil: never again, calls fail
function Loop:renewable(account, renew)
  self._renewals[account] = renew or function() return nil, closed_error() end
end

--- Renews an account's credentials now; joins a renewal that is under way.
---@param account integer   one with a function (`renewable`)
---@return certrotate.Task
function Loop:renew(account)
  if self.closed then error("the session is closed", 2) end
  if not self._renewals[account] then error("renew: nothing is known that could renew this account", 2) end
  self.client:want(account)
  begin_renewals(self)
  wake_host(self)
  return self._renewing[account]
end

-- ------------------------------------------------------------------------------------------- turning

-- Results of the client become results of what waited for them.
local function deliver(self)
  local client = self.client
  while true do
    local id, result, err = client:take()
    if not id then return end
    self.delivered = self.delivered + 1
    local pending = self._operations[id]
    if pending then
      self._operations[id] = nil
      self.running = self.running - 1
      if err and err.kind == "cancelled" and pending.reason then
        local reason = pending.reason
        err = errors.new({ kind = reason.kind, code = reason.code, message = reason.message, retryable = reason.retryable,
                           operation = err.operation, ambiguous = err.ambiguous, cause = err })
      end
      if err then settle(pending, 2, nil, err) else settle(pending, 1, result) end
    end
  end
end

local function fire(self)
  if self._timers:due() then self._timers:fire(self:monotonic()) end
end

-- Resumes what is ready here. Whoever is made ready meanwhile comes in the same round, behind the others.
local function run_ready(self, owner, until_time)
  if owner.busy then return end
  owner.busy = true
  local queue = owner.queue
  while owner.first <= owner.last do
    local task = queue[owner.first]
    queue[owner.first] = nil
    owner.first = owner.first + 1
    if task._pending.finished then
      task._queued = nil
    else
      resume(self, task)
    end
    if until_time and self:monotonic() >= until_time then break end
  end
  if owner.first > owner.last then owner.first, owner.last = 1, 0 end
  owner.busy = false
end

-- Whether somebody can be resumed there, and nobody is at it.
local function waits(owner)
  return owner.first <= owner.last and not owner.busy
end

--- For drivers: does all that can be done without waiting.
---@param budget? number   seconds; stop resuming tasks after that (hosts with other work)
---@return number? seconds  until it must be called again; 0: at once; nil: only when the client has something
---@return integer running  operations not finished
function Loop:turn(budget)
  local owner, common = owner_now(self), self._common
  local until_time = budget and self:monotonic() + budget
  local outermost = not self._turning
  self._turning = true
  if not self.driver.nested then self._resuming = true end
  if outermost then self._thread = coroutine.running() end
  local rounds = 0
  repeat
    rounds = rounds + 1
    self._fresh = false
    -- A step sends what was submitted; results may be there without one (a cancelled operation, say).
    if self.running > 0 then self.client:step() end
    deliver(self)
    fire(self)
    begin_renewals(self)
    run_ready(self, common, until_time)
    run_ready(self, owner, until_time)
    local more = owner.first <= owner.last or self._fresh or waits(common)
    if until_time and more and self:monotonic() >= until_time then break end
  until not more or rounds >= 1000
  if outermost then self._turning, self._resuming = false, false end
  if waits(owner) or waits(common) or self._fresh then return 0, self.running end
  local due = self._timers:due()
  return due and math.max(0, due - self:monotonic()), self.running
end

--- Ends everything: running operations are dropped, and every task gets code "Closed" from what it waits for.
function Loop:close()
  if self.closed then return end
  self.closed = true
  local err = closed_error()
  local ending = {}
  for _, operation in pairs(self._operations) do ending[#ending + 1] = operation end
  for pause in pairs(self._pauses) do ending[#ending + 1] = pause end
  table.sort(ending, by_order)
  for _, pending in ipairs(ending) do settle(pending, 2, nil, err) end
  self._operations, self._pauses, self._timers, self.running = {}, {}, timers.new(), 0
  run_ready(self, self._common)
  run_ready(self, owner_now(self))
  if self.driver.close then self.driver:close(self) end
end

return M
