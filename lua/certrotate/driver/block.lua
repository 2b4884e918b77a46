--- Waiting in a host that has nothing else to do: scripts, the REPL, the command line. `client:wait` blocks in
-- the kernel until an answer, a timer of ours or a signal comes; nothing is polled.
local errors = require("certrotate.errors")

local M = {}

---@class certrotate.BlockDriver: certrotate.Driver
---@field signals? certrotate.Signals
local Block = { name = "block" }
Block.__index = Block

--- With `signals` (core.signals()) SIGINT and SIGTERM become loop:interrupt: the first lets everything come to
--- a safe point, the second cancels what runs. Without, they end the process as always.
---@param options? { signals?: certrotate.Signals }
---@return certrotate.Driver
function M.new(options)
  return setmetatable({ signals = options and options.signals }, Block)
end

local function take_signals(self, loop)
  if not self.signals then return end
  local signal = self.signals:take()
  while signal do
    loop:interrupt("SIG" .. signal)
    signal = self.signals:take()
  end
end

function Block:run(loop, finished)
  local fd = self.signals and self.signals:fd()
  while true do
    take_signals(self, loop)
    local delay, running = loop:turn()
    if finished() then return true end
    if delay == nil and running == 0 then
      -- Tasks that wait for each other in a circle, or for a task nobody resumes.
      return nil, errors.new({ kind = "internal", code = "Deadlock",
        message = "nothing is running that could end this wait" })
    end
    if delay ~= 0 then loop.client:wait(delay, fd) end
  end
end

return M
