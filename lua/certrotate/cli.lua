--- The command line: parses, hands over to one file a command, turns results into exit codes.
--
-- Exit codes: 0 done, 1 failed, 2 usage, 3 nothing to do, 4 refused by a safety rule, 5 interrupted and resumable.
local M = {}

M.DONE, M.FAILED, M.USAGE, M.NOTHING, M.REFUSED, M.INTERRUPTED = 0, 1, 2, 3, 4, 5

-- For `--help` and the manual page.
M.statuses = { { M.DONE, "done" }, { M.FAILED, "failed" }, { M.USAGE, "usage" }, { M.NOTHING, "nothing to do" },
               { M.REFUSED, "refused by a safety rule" }, { M.INTERRUPTED, "interrupted and resumable" } }

-- In the order of `--help`.
M.commands = { "inventory", "check", "plan", "apply", "resume", "rollback", "status", "retire", "verify", "quota",
               "reconcile", "deploy-hook", "simulate", "demo", "schema", "completion", "man" }

--- The module of a command.
---@param name string
---@return string
function M.module_of(name) return "certrotate.cli." .. name:gsub("-", "_") end

local function load_argparse()
  local found, argparse = pcall(require, "argparse")
  if found then return argparse end
  return nil, "the command line needs lua-argparse: install it for this Lua (Debian: apt-get install lua-argparse)"
end

--- What every command takes.
---@param parser table   of argparse
function M.common_flags(parser)
  parser:flag("--json", "Machine-readable result on stdout, everything else on stderr.")
  parser:flag("-q --quiet", "Only results and errors.")
  parser:option("--color", "When to use colour."):choices({ "auto", "always", "never" }):default("auto")
end

local function build_parser(argparse)
  local statuses = {}
  for i, status in ipairs(M.statuses) do statuses[i] = ("%d %s"):format(status[1], status[2]) end
  local parser = argparse("certrotate", "Replaces a TLS certificate on every CloudFront distribution that uses it.")
    :epilog("Exit codes: " .. table.concat(statuses, ", ") .. ".")
    :command_target("command"):require_command(true)
  parser:flag("--version", "Print the version and exit."):action(function()
    error({ exit = M.DONE, text = "certrotate " .. require("certrotate").version .. "\n" }, 0)
  end)
  for _, name in ipairs(M.commands) do
    local module = require(M.module_of(name))
    local command = parser:command(name, module.summary)
    module.configure(command)
    M.common_flags(command)
  end
  -- argparse exits the process by itself; here a caller (or a test) gets the code back.
  function parser:error(message) -- luacheck: ignore 212
    error({ exit = M.USAGE, message = message .. " (see certrotate --help)" }, 0)
  end
  return parser
end

-- argparse prints help with print and os.exit; the same text, without leaving the process.
local function help_text(parser, argv)
  local wanted = {}
  for _, word in ipairs(argv) do
    if word == "--" then break end
    if word == "--help" or word == "-h" then
      for _, command in ipairs(parser._commands) do
        for _, name in ipairs(wanted) do
          if command._name == name then return command:get_help() end
        end
      end
      return parser:get_help()
    end
    wanted[#wanted + 1] = word
  end
  return nil
end

--- What exit code an error is.
---@param err certrotate.Error
---@return integer
function M.exit_code(err)
  if err.code == "Interrupted" or err.code == "Paused" or err.code == "NotYet" then return M.INTERRUPTED end
  if err.code == "NothingToDo" then return M.NOTHING end
  if err.kind == "policy" then return M.REFUSED end
  -- Files that do not fit together, refused before anything was sent.
  if err.code == "KeyPairMismatch" or err.code == "BrokenChain" or err.code == "UnsupportedKey" then return M.REFUSED end
  return M.FAILED
end

local function usage_hint(context)
  context:say_error([[certrotate replaces a TLS certificate on every CloudFront distribution that uses it.

First steps:
  certrotate inventory                                        what is there, when it ends, who uses it
  certrotate plan --replace REF --certificate F --private-key F   what would be done; changes nothing
  certrotate apply ... --journal FILE                         do it
  certrotate resume FILE                                      go on after Ctrl-C, a crash, a lost connection
  certrotate demo                                             see it on a simulated fleet

certrotate --help lists everything, certrotate COMMAND --help the flags of one.
]])
end

-- Made here and not by `errors`, which needs the C module: what is wrong may be that it is not there.
local function failure_of(kind, code, message)
  return setmetatable({ kind = kind, code = code, message = (message:gsub("%c+", " ")) },
                      { __tostring = function(self) return self.message end })
end

--- Runs one command line.
---@param argv string[]   without the program's name
---@return integer code
function M.main(argv)
  local Context = require("certrotate.cli.context")
  local context = Context.new(argv)
  if #argv == 0 then
    usage_hint(context)
    return M.USAGE
  end
  local argparse, missing = load_argparse()
  if not argparse then
    context:fail(failure_of("input", "MissingModule", missing))
    return M.FAILED
  end
  local parser = build_parser(argparse)
  local help = help_text(parser, argv)
  if help then
    context:say(help .. "\n")
    return M.DONE
  end
  local ok, args = pcall(parser.parse, parser, argv)
  if not ok then
    local stop = args
    if type(stop) ~= "table" then stop = { exit = M.USAGE, message = tostring(stop) } end
    if stop.text then context:say(stop.text) end
    if stop.message then context:fail(failure_of("input", "Usage", stop.message)) end
    return stop.exit
  end
  context:configure(args)
  local code, err
  local fine, trace = xpcall(function()
    code, err = require(M.module_of(args.command)).run(context, args)
  end, function(problem)
    if type(problem) == "table" and problem.usage then return problem end
    return debug.traceback("internal error: " .. tostring(problem), 2)
  end)
  context:close()
  if not fine then
    if type(trace) == "table" then
      context:fail(failure_of("input", "Usage", trace.usage))
      return M.USAGE
    end
    -- All lines of the trace for whoever mends it; the document's message is one.
    context:say_error("certrotate: " .. trace .. "\n")
    context:failure(failure_of("internal", "Raised", trace:match("^[^\n]*")))
    return M.FAILED
  end
  if code == nil then
    context:fail(err)
    return M.exit_code(err)
  end
  return code
end

return M
