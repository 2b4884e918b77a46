--- certrotate in Neovim: the command :CertRotate and what a status line shows. See :help certrotate.
--
-- Nothing here waits: a command opens a buffer and returns, its work goes on as a task of its own session.
vim.cmd("runtime plugin/certrotate.lua")   -- says where the C module is; init.lua runs before plugins are sourced

local M = {}

-- Subcommands to the module that carries them out; "command" where no other function is named.
local HANDLERS = {
  inventory = { "inventory" }, plan = { "plan" }, apply = { "plan", "apply" }, resume = { "status", "resume" },
  status = { "status" }, rollback = { "status", "rollback" }, verify = { "verify" }, log = { "log" },
}

local function missing_module()
  local found, problem = pcall(require, "certrotate.core")
  if found then return nil end
  return "the C module cannot be loaded: run ./setup.sh build in the checkout, then see :checkhealth certrotate ("
    .. tostring(problem):match("^[^\n]*") .. ")"
end

local function overview(message, arguments)
  local names = {}
  for i, subcommand in ipairs(arguments.all()) do names[i] = subcommand.name end
  message.say((":CertRotate %s; begin with :CertRotate inventory, see :help certrotate"):format(table.concat(names, "|")),
    "INFO")
end

--- What :CertRotate does.
---@param command { fargs: string[], mods: string }   of nvim_create_user_command
function M.command(command)
  local problem = missing_module()
  if problem then return vim.notify("certrotate: " .. problem, vim.log.levels.ERROR) end
  local arguments, message = require("certrotate.neovim.arguments"), require("certrotate.neovim.message")
  local words = vim.list_slice(command.fargs, 2)
  local name = command.fargs[1]
  if not name then return overview(message, arguments) end
  local subcommand = arguments.find(name)
  if not subcommand then
    return message.say(("there is no '%s'; see :help certrotate-commands"):format(name), "ERROR")
  end
  local args
  args, problem = arguments.parse(subcommand, words)
  if not args then return message.say(problem, "ERROR") end
  if name == "cancel" then return require("certrotate.neovim.run").cancel(args.journal) end
  local handler = HANDLERS[name]
  require("certrotate.neovim." .. handler[1])[handler[2] or "command"](args, command.mods or "")
end

--- Completion of :CertRotate; never waits.
---@param lead string
---@param line string
---@param position integer
---@return string[]
function M.complete(lead, line, position)
  if missing_module() then return {} end
  return require("certrotate.neovim.complete").candidates(lead, line, position)
end

--- For a status line: how far the running rotations are; "" when none is running.
---
---   vim.o.statusline = vim.o.statusline .. "%{v:lua.require'certrotate.neovim'.statusline()}"
---@return string
function M.statusline()
  -- Asked for many times a second: nothing is loaded for it.
  local corner = package.loaded["certrotate.neovim.corner"]
  local running = corner and corner.running() or {}
  if #running == 0 then return "" end
  local text = "certrotate: " .. running[1]:short()
  return #running > 1 and ("%s (and %d more)"):format(text, #running - 1) or text
end

return M
