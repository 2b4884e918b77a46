--- What the commands take, as data: each file of certrotate.cli tells argparse, and here it tells us. Completion, the man
--- page and Neovim's commands are made of it, so that nothing about a flag is written twice.
local M = {}

---@class certrotate.cli.Parameter
---@field flag? string         "--replace"; nil: by position
---@field short? string        "-y"
---@field target string        "replace"
---@field summary string
---@field switch boolean       takes no value
---@field many boolean         takes one or more values
---@field again? boolean       may be given many times
---@field optional boolean
---@field choices? string[]
---@field value? string        default
---@field file? boolean        its values are files

---@class certrotate.cli.Declaration
---@field name string
---@field summary string
---@field flags certrotate.cli.Parameter[]
---@field position? certrotate.cli.Parameter

-- By what a value is called, wherever it is asked for. A policy is a name or a file.
local FILES = { certificate = true, private_key = true, chain = true, passphrase_file = true, ca_bundle = true, trust = true,
                out = true, plan = true, journal = true, timeline = true, policy = true, config = true, deploy_time = true }

-- What stands for a value in help, where neither the flag's choices nor "FILE" say it.
local VALUES = {}
for value, targets in pairs({
  ["HOST:PORT"] = "edge", ID = "only attach", NAME = "profile name", ["NAME=VALUE"] = "setting", REF = "replace holders",
  SHA256 = "fingerprint", TIME = "soak poll quota_poll wait_for_quota wait keep expiring propagation",
  ["TIME|JOURNAL"] = "deploy_time", URL = "endpoint_url", USD = "price", VERSION = "minimum_protocol_version",
  N = "canary parallel probes failures dedicated_ip_quota request distributions users vip rate seed hostile",
}) do
  for target in targets:gmatch("%S+") do VALUES[target] = value end
end

--- What stands for a parameter's value, for people.
---@param parameter certrotate.cli.Parameter
---@return string
function M.value(parameter)
  if parameter.choices then return table.concat(parameter.choices, "|") end
  local target = parameter.target
  return VALUES[target] or parameter.flag and parameter.file and target ~= "policy" and "FILE" or target:upper()
end

-- What argparse calls an element, as far as the commands use it; what says nothing to us is passed over.
local Element = {}
Element.__index = function(_, name)
  return Element[name] or function(self) return self end
end

function Element.args(self, count)
  self.parameter.many = count == "+" or count == "*"
  self.parameter.optional = count == "?" or count == "*"
  return self
end

function Element.count(self, count)
  self.parameter.again = count == "*" or count == "+"
  return self
end

function Element.choices(self, list)
  self.parameter.choices = list
  return self
end

function Element.default(self, value)
  self.parameter.value = value
  return self
end

local function element(names, summary, switch)
  local parameter = { summary = summary, switch = switch, many = false, optional = false }
  for word in names:gmatch("%S+") do
    if word:sub(1, 2) == "--" then
      parameter.flag = word
    elseif word:sub(1, 1) == "-" then
      parameter.short = word
    end
  end
  parameter.target = (parameter.flag or names):gsub("^%-%-", ""):gsub("%-", "_")
  parameter.file = FILES[parameter.target]
  return setmetatable({ parameter = parameter }, Element)
end

local function recorder(declaration)
  local command = setmetatable({}, { __index = function() return function(self) return self end end })
  local function add(one)
    declaration.flags[#declaration.flags + 1] = one.parameter
    return one
  end
  function command.option(_, names, summary) return add(element(names, summary, false)) end
  function command.flag(_, names, summary) return add(element(names, summary, true)) end
  function command.argument(_, name, summary)
    local one = element(name, summary, false)
    declaration.position = one.parameter
    return one
  end
  return command
end

--- An argument by position, for a command that is not the command line's.
---@param name string
---@param summary string
---@return certrotate.cli.Parameter
function M.argument(name, summary)
  local parameter = element(name, summary, false).parameter
  parameter.optional = true
  return parameter
end

--- One command, with the flags of its own.
---@param name string
---@return certrotate.cli.Declaration
function M.of(name)
  local module = require(require("certrotate.cli").module_of(name))
  local declaration = { name = name, summary = module.summary, flags = {} }
  module.configure(recorder(declaration))
  return declaration
end

--- What every command takes besides.
---@return certrotate.cli.Parameter[]
function M.common()
  local declaration = { flags = {} }
  local command = recorder(declaration)
  require("certrotate.cli").common_flags(command)
  command:flag("-h --help", "Show what the command takes.")
  return declaration.flags
end

--- Every command, in the order of `--help`.
---@return certrotate.cli.Declaration[]
function M.all()
  local list = {}
  for i, name in ipairs(require("certrotate.cli").commands) do list[i] = M.of(name) end
  return list
end

return M
