--- Waiting in Neovim, and in programs that run libuv through luv. One poll handle watches the client's descriptor
-- for its whole life, one timer the loop's own times; both are active only while something is awaited, so an idle session
-- costs nothing and does not keep a luv program alive.
--
-- In Neovim everything happens on the main loop (vim.schedule), where the whole API may be called; `await` outside
-- a task runs vim.wait, so the editor stays alive, and CTRL-C interrupts as in a terminal.
local errors = require("certrotate.errors")

local M = {}

local LONG = 3600000   -- ms; vim.wait is asked again when it is over
local BUDGET = 0.004   -- seconds of work before the editor has its turn; a step of the client keeps to as much

---@class certrotate.UvDriver: certrotate.Driver
local Uv = { name = "uv" }
Uv.__index = Uv

--- In Neovim its own libuv is used, never a second one. Elsewhere `uv` (default: require "luv").
---@param options? { uv?: table }
---@return certrotate.Driver
function M.new(options)
  local vim = _G.vim
  local neovim = type(vim) == "table" and vim.schedule ~= nil
  local uv = options and options.uv or (neovim and (vim.uv or vim.loop)) or require("luv")
  return setmetatable({ uv = uv, neovim = neovim, nested = neovim, pumps = 0 }, Uv)
end

local function fail(name, message)
  error(("certrotate: libuv refused %s: %s"):format(name, tostring(message)), 0)
end

local pump

-- Brings the handles to what the loop needs now.
local function rearm(self, loop, delay, running)
  if self.closed then return end
  if running > 0 and not self.poll then
    local problem
    self.poll, problem = self.uv.new_poll(loop.client:pollfd())
    if not self.poll then fail("the descriptor", problem) end
  end
  if running > 0 and not self.polling then
    self.polling = true
    self.poll:start("r", function() self:due(loop) end)
  elseif running == 0 and self.polling then
    self.polling = false
    self.poll:stop()
  end
  -- The client's descriptor covers the client's own times (there is a timerfd in it).
  if delay then
    if not self.timer then self.timer = self.uv.new_timer() end
    self.timer:start(math.ceil(delay * 1000), 0, function() self:due(loop) end)
  elseif self.timer then
    self.timer:stop()
  end
end

function pump(self, loop)
  self.scheduled = false
  self.pumps = self.pumps + 1
  if self.closed or loop.closed then return end
  rearm(self, loop, loop:turn(self.neovim and BUDGET or nil))
end

-- Something may be due: turn the loop, in Neovim on the main loop. Many causes make one turn.
function Uv:due(loop)
  if not self.neovim then return pump(self, loop) end
  if self.scheduled then return end
  self.scheduled = true
  -- The descriptor stays readable until we have stepped; without this uv would report it again and again meanwhile.
  if self.polling then
    self.polling = false
    self.poll:stop()
  end
  _G.vim.schedule(function() pump(self, loop) end)
end

function Uv:wake(loop)
  if self.closed or self.scheduled then return end
  if self.neovim then return self:due(loop) end
  rearm(self, loop, 0, loop.running)
end

local function run_neovim(self, loop, finished)
  local vim = _G.vim
  if vim.in_fast_event() then
    return nil, errors.new({ kind = "input", code = "CannotWait",
      message = "nothing can wait in a libuv callback: use vim.schedule, or spawn a task" })
  end
  while not finished() do
    self:due(loop)
    local done, reason = vim.wait(LONG, finished, 50)
    -- The first CTRL-C asks for a safe point, the second cancels what runs.
    if not done and reason == -2 then loop:interrupt("CTRL-C") end
  end
  return true
end

local function run_luv(self, loop, finished)
  local uv = self.uv
  if self.inside or uv.loop_mode and uv.loop_mode() then
    return nil, errors.new({ kind = "input", code = "CannotWait",
      message = "nothing can wait in a libuv callback: spawn a task" })
  end
  self.inside = true
  pump(self, loop)
  local idle = false
  while not finished() and not idle do idle = not uv.run("once") and not finished() end
  self.inside = false
  if idle then
    return nil, errors.new({ kind = "internal", code = "Deadlock",
      message = "nothing is running that could end this wait" })
  end
  return true
end

function Uv:run(loop, finished)
  if self.neovim then return run_neovim(self, loop, finished) end
  return run_luv(self, loop, finished)
end

--- Closes the handles; their last callbacks run when the host's loop turns next.
function Uv:close()
  if self.closed then return end
  self.closed = true
  for _, name in ipairs({ "poll", "timer" }) do
    local handle = self[name]
    if handle and not handle:is_closing() then
      handle:stop()
      handle:close()
    end
    self[name] = nil
  end
end

return M
