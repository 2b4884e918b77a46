-- Runs Lua inside a real Neovim that has this checkout on its runtime path and nothing of the user's, and brings back what
-- it returns. The text sees `T`: what was notified, and ways to wait for things.
local command = require("spec.support.command")
local json = require("certrotate.json")

local M = {}

M.root = command.shell("pwd -P"):gsub("%s+$", "")

local PRELUDE = [[
local T = { notices = {}, levels = {} }
vim.notify = function(text, level)
  T.notices[#T.notices + 1], T.levels[#T.levels + 1] = text, level
end
-- Until fn() is true; what it returned.
function T.wait(fn, what)
  local value
  if not vim.wait(30000, function() value = fn() return value end, 5) then
    error("waited in vain for " .. (what or "it") .. "; notified: " .. table.concat(T.notices, " | "), 2)
  end
  return value
end
function T.notified(part)
  return T.wait(function() return (T.notices[#T.notices] or ""):find(part, 1, true) and T.notices[#T.notices] end, part)
end
function T.lines(buffer) return vim.api.nvim_buf_get_lines(buffer or 0, 0, -1, false) end
function T.text(buffer) return table.concat(T.lines(buffer), "\n") end
-- The number of the first line of the current buffer that holds the text, once it is there.
function T.line(part)
  return T.wait(function()
    for i, line in ipairs(T.lines()) do
      if line:find(part, 1, true) then return i end
    end
  end, part)
end
function T.go(part) vim.api.nvim_win_set_cursor(0, { T.line(part), 0 }) end
function T.keys(keys)
  vim.api.nvim_feedkeys(vim.api.nvim_replace_termcodes(keys, true, false, true), "xt", false)
end
-- Answers for vim.ui.input and inputsecret, in order; what was asked is kept.
function T.answer(...)
  local answers = { ... }
  T.asked = {}
  vim.ui.input = function(options, done)
    T.asked[#T.asked + 1] = options.prompt
    done(table.remove(answers, 1))
  end
  vim.fn.inputsecret = function(prompt)
    T.asked[#T.asked + 1] = prompt
    return table.remove(answers, 1) or ""
  end
end
]]

---@param text string   Lua; returns what is to be brought back
---@param options? { environment?: table<string,string>, before?: string, runtime?: string }
---   before: Lua that runs before plugins are sourced; runtime: instead of this checkout
---@return any value
---@return string noise     what Neovim printed
function M.run(text, options)
  options = options or {}
  local directory = command.directory()
  local script, result, init = directory .. "/script.lua", directory .. "/result", directory .. "/init.lua"
  command.write(init, ("vim.opt.runtimepath:prepend(%q)\n%s\n"):format(options.runtime or M.root, options.before or ""))
  command.write(script, ("%s\nlocal ok, value = xpcall(function()\n%s\nend, debug.traceback)\n"
    .. "local file = assert(io.open(%q, 'wb'))\n"
    .. "file:write(vim.json.encode({ ok = ok, value = value }))\nfile:close()\nvim.cmd('qall!')\n"):format(PRELUDE, text, result))
  local environment = { HOME = directory, XDG_STATE_HOME = directory .. "/state", NVIM_LOG_FILE = directory .. "/nvim.log",
                        AWS_EC2_METADATA_DISABLED = "true" }
  for name, value in pairs(options.environment or {}) do environment[name] = value end
  local parts = { "env -u LUA_PATH -u LUA_CPATH -u AWS_PROFILE -u AWS_REGION -u AWS_CA_BUNDLE" }
  for name, value in pairs(environment) do parts[#parts + 1] = name .. "=" .. command.quote(value) end
  parts[#parts + 1] = ("timeout -s KILL 90 nvim --headless -u %s -i NONE -n --cmd 'set columns=110 lines=40' -S %s 2>&1 "
    .. "</dev/null"):format(command.quote(init), command.quote(script))
  local noise = command.shell(table.concat(parts, " "))
  local out = command.read(result)
  command.remove(directory)
  assert(out, "Neovim did not come to the end: " .. noise)
  local decoded = assert(json.decode(out), out)
  assert(decoded.ok, tostring(decoded.value) .. "\n" .. noise)
  return decoded.value, noise
end

return M
