--- What the command line's functions need of their surroundings, in the editor: a session on its event loop,
--- passphrases typed without being shown, refusals as errors.
local base_module = require("certrotate.cli.context")
local errors = require("certrotate.errors")

local M = {}

local Base = getmetatable(base_module.new({}))

---@class certrotate.neovim.Context: certrotate.cli.Context
---@field refused? string      what `usage` said
---@field background? boolean  see job.lua
local Context = setmetatable({}, { __index = Base })
Context.__index = Context

---@return certrotate.neovim.Context
function M.new()
  local self = setmetatable(base_module.new({}), Context)
  self.driver = "uv"
  return self
end

-- A task that raises ends with kind "internal"; what was refused is kept beside, see `reason`.
function Context:usage(message)
  self.refused = message
  error(message, 0)
end

--- The error a command ended with: a refusal of its arguments is the user's affair, no internal error.
---@param err certrotate.Error|string|nil   also what pcall caught
---@return certrotate.Error
function Context:reason(err)
  if self.refused then return errors.new({ kind = "input", code = "Usage", message = self.refused }) end
  if errors.is(err) then return err end
  return errors.new({ kind = "internal", code = "Raised", message = tostring(err) })
end

--- One session a command, opened once. Looking at hosts needs no account: then neither the environment nor a file is
--- read.
function Context:open(args)
  if self.aws then return self.aws end
  if not args.anonymous then return Base.open(self, args) end
  local aws, err = require("certrotate").connect({ anonymous = true, environment = {}, ca_file = args.ca_bundle,
                                                   trust = args.trust, driver = self.driver })
  self.aws = aws
  return aws, err
end

--- The session with its credentials. They may have to be fetched: only in a task does the editor stay free.
function Context:connect(args)
  if self.connected or args.anonymous then return self:open(args) end
  local aws, err = Base.connect(self, args)
  self.connected = aws ~= nil
  return aws, err
end

local told = {}

-- What a person should know, once: it comes beside a command's result, so it may neither ask for ENTER nor come with each.
function Context:note(text)
  if self.background or told[text] then return end
  told[text] = true
  local message = require("certrotate.neovim.message")
  message.say(message.fitted(message.home(text)), "INFO")
end

--- Codes of MFA devices are valid once and for half a minute: they may be seen.
function Context:mfa()
  if self.background then return nil end
  return function(serial)
    local ok, answer = pcall(vim.fn.input, ("certrotate: code of the MFA device %s: "):format(serial))
    return ok and vim.trim(answer) or ""
  end
end

-- Typed without being shown; nil when nothing was. It lives as long as the call that needs it.
local function ask(err)
  local ok, answer = pcall(vim.fn.inputsecret, "certrotate: " .. err.message .. "\nPassphrase: ")
  return ok and answer ~= "" and answer or nil
end

-- Calls load(passphrase), and again with what is typed, until it is right or nothing is typed.
local function opened(given, load)
  local value, more = load(given)
  while not value and (more.code == "PassphraseNeeded" or more.code == "WrongPassphrase") do
    local answer = ask(more)
    if not answer then return nil, more end
    value, more = load(answer)
  end
  return value, more
end

--- The identity the flags name, and its files' absolute paths.
function Context:identity(args)
  local identity, more = opened(self:passphrase(args), function(passphrase)
    self.typed = passphrase
    local value, problem = Base.identity(self, args)
    self.typed = nil
    return value, problem
  end)
  self.loaded = identity
  return identity, more
end

function Context:passphrase(args)
  return self.typed or Base.passphrase(self, args)
end

--- The identity of a plan, from the files it names.
---@param plan certrotate.Plan
---@param args table
---@return certrotate.Identity?
---@return certrotate.Error?
function Context:identity_of(plan, args)
  local preflight = require("certrotate.rotation.preflight")
  local identity, err = opened(self:passphrase(args), function(passphrase)
    return preflight.identity(plan, nil, passphrase)
  end)
  self.loaded = identity
  return identity, err
end

--- Wipes the key and ends the session.
function Context:close()
  if self.loaded then self.loaded:close() end
  self.loaded = nil
  Base.close(self)
end

--- Columns of the window results are shown in.
function Context:width() return require("certrotate.neovim.view").width() end -- luacheck: ignore 212

return M
