--- What :CertRotate takes. Its subcommands take the command line's own flags, so that both hosts always offer the same.
local declaration = require("certrotate.cli.declaration")

local M = {}

-- In the order of the help; "rollback" is offered once the command line has it.
local SHARED = { "inventory", "plan", "apply", "resume", "status", "rollback", "verify" }

-- Applying is confirmed in the editor; a flag that leaves the question out has no place there. Many accounts at once are
-- for the command line and scripts: a buffer shows one. Files are drawn by the command line, from any journal.
local LEFT_OUT = { ["--yes"] = true, ["--role"] = true, ["--timeline"] = true }

local function shared(name)
  local subcommand = declaration.of(name)
  for i = #subcommand.flags, 1, -1 do
    if LEFT_OUT[subcommand.flags[i].flag] then table.remove(subcommand.flags, i) end
  end
  return subcommand
end

-- Here a plan is applied from where it is reviewed: what only `apply` takes can be said with the plan.
local function extend(plan, apply)
  local has = {}
  for _, parameter in ipairs(plan.flags) do has[parameter.flag] = true end
  for _, parameter in ipairs(apply.flags) do
    if not has[parameter.flag] then plan.flags[#plan.flags + 1] = parameter end
  end
end

local function of_a_run(name, summary, flags)
  local position = declaration.argument("journal", "Journal of the rotation; may be left out when it is clear.")
  return { name = name, summary = summary, flags = flags or {}, position = position }
end

local known

--- Every subcommand, in the order of the help.
---@return certrotate.cli.Declaration[]
function M.all()
  if known then return known end
  local there = {}
  for _, name in ipairs(require("certrotate.cli").commands) do there[name] = true end
  known = {}
  for _, name in ipairs(SHARED) do
    if there[name] then known[#known + 1] = shared(name) end
  end
  extend(M.find("plan"), M.find("apply"))
  known[#known + 1] = of_a_run("log", "Show what happened, with times.", M.find("status").flags)
  known[#known + 1] = of_a_run("cancel", "Bring a running rotation to a safe point; it can be resumed.")
  return known
end

---@param name string
---@return certrotate.cli.Declaration?
function M.find(name)
  for _, subcommand in ipairs(M.all()) do
    if subcommand.name == name then return subcommand end
  end
  return nil
end

--- The flag of a word, and the value behind its "=".
---@param subcommand certrotate.cli.Declaration
---@param word string
---@return certrotate.cli.Parameter?
---@return string? value
function M.flag(subcommand, word)
  local name, value = word:match("^(%-%-[^=]+)=(.*)$")
  for _, parameter in ipairs(subcommand.flags) do
    if parameter.flag == (name or word) then return parameter, value end
  end
  return nil
end

-- The shell is not there to do it.
local function expanded(value)
  return (value:gsub("^~%f[/\0]", function() return vim.fn.expand("~") end))
end

local function accept(args, parameter, value)
  if parameter.choices then
    local good = false
    for _, choice in ipairs(parameter.choices) do good = good or choice == value end
    if not good then
      return nil, ("%s: %s expected, got %s"):format(parameter.flag, table.concat(parameter.choices, " or "), value)
    end
  end
  if parameter.many then
    local list = args[parameter.target] or {}
    list[#list + 1] = expanded(value)
    args[parameter.target] = list
    return true
  end
  if args[parameter.target] ~= nil then
    return nil, ("%s is given twice"):format(parameter.flag or parameter.target)
  end
  args[parameter.target] = expanded(value)
  return true
end

-- Takes the flag at `at` with its values; returns where the next word is.
local function take_flag(args, subcommand, words, at)
  local parameter, value = M.flag(subcommand, words[at])
  if not parameter then
    local name = subcommand.name
    return nil, ("%s takes no %s; see :help certrotate-%s"):format(name, words[at]:match("^[^=]+"), name)
  end
  if parameter.switch then
    if value then return nil, parameter.flag .. " takes no value" end
    args[parameter.target] = true
    return at + 1
  end
  local given = value ~= nil and { value } or {}
  at = at + 1
  while words[at] and words[at]:sub(1, 2) ~= "--" and value == nil and (#given == 0 or parameter.many) do
    given[#given + 1], at = words[at], at + 1
  end
  if #given == 0 then return nil, parameter.flag .. ": a value is missing" end
  for _, one in ipairs(given) do
    local ok, problem = accept(args, parameter, one)
    if not ok then return nil, problem end
  end
  return at
end

--- The words behind the subcommand, as certrotate.cli's commands expect them.
---@param subcommand certrotate.cli.Declaration
---@param words string[]
---@return table<string, any>? args
---@return string? problem   one line for the user
function M.parse(subcommand, words)
  local args, at, flags = {}, 1, true
  while words[at] do
    local problem
    if flags and words[at] == "--" then
      flags, at = false, at + 1
    elseif flags and words[at]:sub(1, 2) == "--" then
      at, problem = take_flag(args, subcommand, words, at)
    elseif not subcommand.position then
      problem = ("%s takes no '%s'"):format(subcommand.name, words[at])
    elseif args[subcommand.position.target] ~= nil and not subcommand.position.many then
      problem = ("'%s' is one %s too many"):format(words[at], subcommand.position.target)
    else
      accept(args, subcommand.position, words[at])
      at = at + 1
    end
    if problem then return nil, problem end
  end
  local position = subcommand.position
  if position and not position.optional and args[position.target] == nil then
    local name = subcommand.name
    return nil, ("%s: the %s is missing; see :help certrotate-%s"):format(name, position.target, name)
  end
  for _, parameter in ipairs(subcommand.flags) do
    if parameter.value ~= nil and args[parameter.target] == nil then args[parameter.target] = parameter.value end
  end
  return args
end

-- As a word of a command.
local function escaped(value) return (value:gsub("[ \\|]", "\\%0")) end

--- The flags that say which account is meant and how it is reached, for another command about it.
---@param args table
---@return string   "" or with a space behind
function M.account_flags(args)
  local flags = {}
  for _, name in ipairs({ "profile", "region", "endpoint_url", "ca_bundle", "edge", "trust" }) do
    if args[name] then flags[#flags + 1] = ("--%s %s "):format((name:gsub("_", "-")), escaped(args[name])) end
  end
  return table.concat(flags)
end

--- Puts the beginning of a command into the command line; the user goes on from there.
---@param text string
function M.type(text) vim.api.nvim_feedkeys(":CertRotate " .. text, "ni", false) end

--- A file as a word of a command.
---@param path string
---@return string
function M.file(path) return escaped(require("certrotate.neovim.message").path(path)) end

return M
