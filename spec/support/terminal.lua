-- A program in a real terminal (tmux): what is typed into it, and what it shows.
local command = require("spec.support.command")
local core = require("certrotate.core")

local Terminal = {}
Terminal.__index = Terminal

function Terminal:tmux(...)
  local parts = { "tmux -S " .. command.quote(self.socket) }
  for _, word in ipairs({ ... }) do parts[#parts + 1] = command.quote(word) end
  return command.shell(table.concat(parts, " ") .. " 2>&1")
end

-- The screen once it shows the text, and whatever matches the pattern: it is drawn piece by piece.
function Terminal:screen(text, pattern)
  local client = assert(core.client())
  local deadline = core.monotonic() + 60
  local shown
  repeat
    shown = self:tmux("capture-pane", "-p")
    if (not text or shown:find(text, 1, true)) and (not pattern or shown:find(pattern)) then
      client:close()
      return shown
    end
    client:wait(0.05)
  until core.monotonic() > deadline
  client:close()
  error(("%q did not come: \n%s"):format(tostring(text or pattern), shown), 2)
end

-- Types the text, then presses keys by their tmux names.
function Terminal:type(text, ...)
  if text ~= "" then self:tmux("send-keys", "-l", text) end
  for _, key in ipairs({ ... }) do self:tmux("send-keys", key) end
end

-- Ends what runs in it.
function Terminal:close()
  self:tmux("kill-server")
  os.remove(self.socket)
end

local M = {}

---@param line string        what runs in it, for the shell
---@param options { folder: string, columns?: integer, rows?: integer, environment?: table<string,string> }
function M.start(line, options)
  local self = setmetatable({ socket = os.tmpname() }, Terminal)
  os.remove(self.socket)
  local words = { "env -u LUA_PATH -u LUA_CPATH -u NO_COLOR" }
  for name, value in pairs(options.environment or {}) do words[#words + 1] = name .. "=" .. command.quote(value) end
  words[#words + 1] = "timeout --foreground -s KILL 240 " .. line
  self:tmux("-f", "/dev/null", "new-session", "-d", "-x", tostring(options.columns or 100), "-y",
    tostring(options.rows or 36), "-c", options.folder, table.concat(words, " "))
  return self
end

return M
