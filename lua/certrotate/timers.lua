--- What is to happen when: a binary heap of actions by due time. Equal times fire in the order they were armed, so that
-- a simulated run is the same every time. Knows no clock; thousands of timers cost what a heap costs.
local M = {}

local floor = math.floor

---@class certrotate.Timers
local Timers = {}
Timers.__index = Timers

---@class certrotate.Timer      what `arm` hands out
---@field due number
---@field action? fun()         nil once fired or disarmed

---@return certrotate.Timers
function M.new()
  return setmetatable({ heap = {}, order = 0, stopped = 0 }, Timers)
end

local function earlier(a, b)
  return a.due < b.due or (a.due == b.due and a.order < b.order)
end

local function push(heap, entry)
  local at = #heap + 1
  while at > 1 do
    local parent = floor(at / 2)
    if not earlier(entry, heap[parent]) then break end
    heap[at] = heap[parent]
    at = parent
  end
  heap[at] = entry
end

local function pop(heap)
  local top, last, size = heap[1], heap[#heap], #heap - 1
  heap[#heap] = nil
  if size == 0 then return top end
  local at = 1
  while true do
    local child = at * 2
    if child > size then break end
    if child < size and earlier(heap[child + 1], heap[child]) then child = child + 1 end
    if not earlier(heap[child], last) then break end
    heap[at] = heap[child]
    at = child
  end
  heap[at] = last
  return top
end

---@param due number        on whatever clock the owner uses
---@param action fun()
---@return certrotate.Timer
function Timers:arm(due, action)
  self.order = self.order + 1
  local timer = { due = due, order = self.order, action = action }
  push(self.heap, timer)
  return timer
end

--- Idempotent. A stopped timer stays in the heap until it comes up or until stopped ones are the majority.
---@param timer certrotate.Timer
function Timers:disarm(timer)
  if not timer.action then return end
  timer.action = nil
  self.stopped = self.stopped + 1
  if self.stopped > 64 and self.stopped * 2 > #self.heap then
    local live = {}
    for _, one in ipairs(self.heap) do
      if one.action then push(live, one) end
    end
    self.heap, self.stopped = live, 0
  end
end

--- When the next one is due.
---@return number? due
function Timers:due()
  local heap = self.heap
  while heap[1] and not heap[1].action do
    pop(heap)
    self.stopped = self.stopped - 1
    heap = self.heap
  end
  return heap[1] and heap[1].due
end

--- Runs every action that is due at `now`. Actions may arm and disarm.
---@param now number
function Timers:fire(now)
  local due = self:due()
  while due and due <= now do
    local timer = pop(self.heap)
    local action = timer.action
    timer.action = nil
    action()
    due = self:due()
  end
end

return M
