--- :CertRotate status, resume and rollback: what a journal says, and going on with it, forwards or back.
local arguments = require("certrotate.neovim.arguments")
local journal_module = require("certrotate.neovim.journal")
local message = require("certrotate.neovim.message")
local rotation_page = require("certrotate.neovim.rotation_page")
local run_module = require("certrotate.neovim.run")
local status_module = require("certrotate.rotation.status")
local view_module = require("certrotate.neovim.view")

local M = {}

local HINT = "L log   R read again   q close   g? more"

-- What goes on with a rotation; nothing where all is done.
local function verb_of(status)
  if status.phase == "rolling back" then return "rollback" end
  local over = status.phase == "finished" or status.phase == "rolled back" or status.phase == "retired"
  if not over or #status.failed > 0 then return "resume" end
  return nil
end

-- Runs are begun with the flags the journal was opened with.
local function work_of(verb, status)
  return function(context, args, options)
    -- Only a rotation whose certificate is not imported yet needs the key, and then the user may be asked to open it.
    if verb == "resume" and status.phase == "import" then
      local identity, err = context:identity_of(status.plan, args)
      if not identity then return nil, err end
      options.identity = identity
    end
    if verb == "resume" then options.approve, options.policy_file = args.approve, args.policy end
    if verb == "rollback" then
      options.dedicated_ip_quota = context:number(args.dedicated_ip_quota, "--dedicated-ip-quota", 1)
    end
    -- Of a reimport: the old certificate.
    if verb == "rollback" and args.certificate then
      local identity, err = context:identity(args)
      if not identity then return nil, err end
      options.identity = identity
    end
    return context.aws[verb](context.aws, options)
  end
end

local function begin(verb, args)
  journal_module.read(args, status_module.read, function(status)
    run_module.start({ journal = args.journal, args = args, plan = status.plan, work = work_of(verb, status) })
  end)
end

---@param args table
function M.resume(args) begin("resume", args) end

--- Offered only where the command line has it (arguments.lua). It is asked about, like everything that changes
--- something that was not begun yet.
---@param args table
function M.rollback(args)
  vim.ui.input({ prompt = ("Give every holder of %s its old certificate again? Type yes to go on: "):format(
    message.path(args.journal)) }, function(answer)
    if not (answer and answer:lower():match("^%s*yes%s*$")) then return message.say("nothing was changed", "INFO") end
    begin("rollback", args)
  end)
end

-- The command is typed, to be looked at first: a journal does not know by which profile its account is reached, while a
-- run of this Neovim does.
local function type_verb(self)
  if not self.verb then return message.say("nothing is left to be done here", "INFO") end
  local run = run_module.find(self.args.journal)
  arguments.type(("%s %s %s%s"):format(self.verb, arguments.file(self.args.journal),
    arguments.account_flags(run and run.args or {}), self.paused and "--approve " or ""))
end

local function show(self, status)
  if not vim.api.nvim_buf_is_valid(self.buffer) then return end
  self.paused = status.held ~= nil and status.held.why == "pause"
  local text = message.wording(require("certrotate.report.status").text(status, message.path(self.args.journal)))
  self.verb = verb_of(status)
  local hint = (self.verb and "r " .. self.verb .. "   " or "") .. HINT
  self:show(rotation_page.page({ hint, "" }, text, status.plan, self.args))
end

local function read(self)
  local function done(status) show(self, status) end
  journal_module.read(self.args, status_module.read, done, function()
    if vim.api.nvim_buf_is_valid(self.buffer) then self:close() end
  end)
end

local function log(view)
  local args = {}
  for key, value in pairs(view.args) do args[key] = value end
  require("certrotate.neovim.log").command(args, "")
end

---@param args table
---@param mods string
function M.command(args, mods)
  args.journal = journal_module.full(args.journal)
  journal_module.read(args, status_module.read, function(status)
    local self = view_module.open({
      name = "status/" .. message.tail(args.journal), filetype = "certrotate-status", mods = mods, keys = {
        { "r", "go on: the command", type_verb },
        { "L", "log", log },
        { "R", "read again", read },
      },
    })
    self.args = args
    show(self, status)
  end)
end

return M
