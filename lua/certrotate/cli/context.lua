--- What every command shares: where output goes, the session, the identity, interrupts.
local M = {}

-- Flags that say which account is talked to, and how; those of `session_flags`.
M.SESSION_FLAGS = { "--profile", "--region", "--endpoint-url", "--ca-bundle", "--edge", "--trust" }

---@class certrotate.cli.Context
---@field json boolean
---@field quiet boolean
---@field color boolean
---@field again string?       the session's flags for a command that goes on, as they would be typed
---@field terminal integer?   columns of stderr's terminal, where progress is shown
---@field driver string        how sessions wait; "block", where a subclass says nothing else
local Context = {}
Context.__index = Context

---@param argv string[]
function M.new(argv)
  local json = false
  for _, word in ipairs(argv) do
    if word == "--json" then json = true end
  end
  return setmetatable({ json = json, quiet = false, color = false, driver = "block" }, Context)
end

-- The flags of a session that the next command needs again, as they would be typed; "" or " --profile prod …".
local function flags_again(args)
  local words = {}
  for _, flag in ipairs(M.SESSION_FLAGS) do
    local value = args[(flag:gsub("^%-%-", ""):gsub("%-", "_"))]
    if type(value) == "string" then
      words[#words + 1] = (" %s %s"):format(flag, value:find("^[%w@%%+=:,./_-]+$") and value
        or "'" .. value:gsub("'", "'\\''") .. "'")
    end
  end
  return table.concat(words)
end

function Context:configure(args)
  self.again = flags_again(args)
  local core = require("certrotate.core")
  self.json, self.quiet = args.json or false, args.quiet or false
  self.terminal = core.terminal(2)
  local no_color = os.getenv("NO_COLOR")
  self.color = args.color == "always"
    or args.color ~= "never" and self.terminal ~= nil and (no_color == nil or no_color == "") and os.getenv("TERM") ~= "dumb"
end

--- Columns of the terminal results are printed on; nil in a pipe.
function Context:width() -- luacheck: ignore 212
  return require("certrotate.core").terminal(1)
end

--- Results.
function Context:say(text) -- luacheck: ignore 212
  io.stdout:write(text)
  io.stdout:flush()
end

--- Everything else.
function Context:say_error(text) -- luacheck: ignore 212
  io.stderr:write(text)
end

--- For people, not for machines: hidden by --quiet, on stderr with --json.
function Context:tell(text)
  if self.quiet then return end
  if self.json then self:say_error(text) else self:say(text) end
end

--- A result: as one JSON document with --json, else as text.
function Context:result(data, text)
  if self.json then
    self:say(require("certrotate.json").encode_pretty(data) .. "\n")
  else
    self:say(text)
  end
end

--- An error as the one JSON document of a command that failed; without --json nothing.
---@param err certrotate.Error|{ kind: string, code: string, message: string }
function Context:failure(err)
  if not self.json then return end
  self:say(require("certrotate.json").encode_pretty({ error = {
    kind = err.kind, code = err.code, message = err.message, operation = err.operation, status = err.status,
    request_id = err.request_id, journal = err.journal, findings = err.findings, changes = err.changes,
    detached = err.detached,
  } }) .. "\n")
end

--- One line on stderr; with --json also the error as JSON on stdout.
function Context:fail(err)
  self:say_error("certrotate: " .. tostring(err) .. "\n")
  for _, finding in ipairs(err.findings or {}) do
    if finding.message ~= err.message then
      self:say_error(("  %s: %s\n"):format(finding.level, finding.message))
    end
  end
  for index, change in ipairs(err.changes or {}) do
    if index > 1 then self:say_error("  " .. change .. "\n") end
  end
  if err.journal and err.code ~= "JournalExists" then
    self:say_error(("certrotate: to go on: certrotate %s %s%s%s\n"):format(err.rollback and "rollback" or "resume",
      err.journal, err.code == "Paused" and " --approve" or "", self.again or ""))
  end
  self:failure(err)
end

--- Raises what `main` turns into exit code 2.
function Context:usage(message) -- luacheck: ignore 212
  error({ usage = message .. " (see certrotate --help)" }, 0)
end

--- The flags of every command that talks to AWS.
function M.session_flags(command)
  command:option("--profile", "Profile of the AWS configuration files.")
  command:option("--region", "Region; decides the partition and where ACM is.")
  command:option("--endpoint-url", "Talk to this URL instead of AWS (the simulator's, say).")
  command:option("--ca-bundle", "PEM file of the roots the endpoint is verified with.")
  command:option("--edge", "HOST:PORT to verify served certificates at, instead of each distribution's own name.")
  M.trust_flag(command)
end

--- The roots of a private CA, for what checks a chain as viewers do.
function M.trust_flag(command)
  command:option("--trust", "PEM file of more roots for the chain check.")
end

--- The flags that name the new certificate.
function M.identity_flags(command)
  command:option("--certificate", "The new certificate: PEM (with or without its chain), DER or PKCS#12.")
  command:option("--private-key", "Its private key, when not in the same file.")
  command:option("--chain", "Its chain, when not in the same file; any order.")
  command:option("--passphrase-file", "File whose first line opens the key (or set CERTROTATE_PASSPHRASE).")
end

--- What asks for the code an MFA device shows: on the terminal, where there is one.
---@return (fun(serial: string): string)?
function Context:mfa()
  local core = require("certrotate.core")
  if not (core.terminal(0) and core.terminal(2)) then return nil end
  return function(serial)
    self:say_error(("certrotate: code of the MFA device %s: "):format(serial))
    return (io.read("*l") or ""):match("^%s*(.-)%s*$")
  end
end

--- Opens the session the flags describe. Sends nothing.
---@param args table
---@param defaults? certrotate.ConnectOptions   of a configuration file: the flags go first
---@return certrotate.Session?
---@return certrotate.Error?
function Context:open(args, defaults)
  local options = {}
  for key, value in pairs(defaults or {}) do options[key] = value end
  for key, value in pairs({
    profile = args.profile, region = args.region, endpoint_url = args.endpoint_url, ca_file = args.ca_bundle,
    edge = self:edge(args), driver = self.driver, mfa = self:mfa(),
  }) do options[key] = value end
  local aws, err = require("certrotate").connect(options)
  self.aws = aws
  return aws, err
end

--- A line for people that is no error.
function Context:note(text) self:say_error("certrotate: note: " .. text .. "\n") end

--- The session the flags describe, with credentials: what is wrong with them is told before anything begins.
---@param args table
---@param defaults? certrotate.ConnectOptions
---@return certrotate.Session?
---@return certrotate.Error?
function Context:connect(args, defaults)
  local aws, err = self:open(args, defaults)
  if not aws then return nil, err end
  local found
  found, err = aws:credentials()
  for _, note in ipairs(aws.notes) do self:note(note) end
  if not found then return nil, err end
  return aws
end

--- From here on Ctrl-C and SIGTERM end waiting instead of the process: a write in flight comes to its end and
--- the journal stays resumable.
function Context:guard()
  local signals, err = require("certrotate.core").signals()
  if not signals then return nil, err end
  self.signals = signals
  self.aws:watch_signals(signals)
  return true
end

function Context:passphrase(args)
  if args.passphrase_file then
    local file, why = io.open(args.passphrase_file, "r")
    if not file then self:usage("cannot read the passphrase: " .. why) end
    local line = file:read("*l")
    file:close()
    return line or ""
  end
  return os.getenv("CERTROTATE_PASSPHRASE")
end

--- Loads the identity the flags name. Also returns the absolute paths, for the plan.
---@return certrotate.Identity?
---@return certrotate.Error|table err_or_files
function Context:identity(args)
  local core = require("certrotate.core")
  if not args.certificate then self:usage("--certificate is missing: the file of the new certificate") end
  local identity, err = core.identity({ certificate = args.certificate, private_key = args.private_key,
                                        chain = args.chain, passphrase = self:passphrase(args) })
  if not identity then return nil, err end
  local files = {}
  for key, path in pairs({ certificate = args.certificate, private_key = args.private_key, chain = args.chain }) do
    files[key], err = core.realpath(path)
    if not files[key] then return nil, err end
  end
  return identity, files
end

--- HOST:PORT, checked.
function Context:edge(args)
  if args.edge and not args.edge:match("^%S+:%d+$") then self:usage("--edge: HOST:PORT expected, got " .. args.edge) end
  return args.edge
end

--- A duration like 90s, 10m, 2h, 3d.
function Context:duration(value, flag)
  if value == nil then return nil end
  local seconds, why = require("certrotate.fmt").parse_duration(value)
  if not seconds then self:usage(("%s: %s"):format(flag, why or "a duration like 10m expected")) end
  return seconds
end

function Context:number(value, flag, least)
  if value == nil then return nil end
  local number = tonumber(value)
  if not number or number % 1 ~= 0 or number < (least or 0) then
    self:usage(("%s: a whole number of at least %d expected, got %s"):format(flag, least or 0, value))
  end
  return number
end

--- Whether to go on: --yes, or "yes" typed on a terminal. Otherwise false: a dry run.
function Context:confirmed(args, question)
  if args.yes then return true end
  local core = require("certrotate.core")
  if not (core.terminal(0) and core.terminal(2)) then return false end
  self:say_error(question .. " Type yes to go on: ")
  local answer = io.read("*l")
  return answer ~= nil and answer:lower():match("^%s*yes%s*$") ~= nil
end

function Context:close()
  if self.aws then self.aws:close() end
  if self.signals then self.signals:close() end
  self.aws, self.signals = nil, nil
end

return M
