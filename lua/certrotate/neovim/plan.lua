--- :CertRotate plan and apply: a plan is reviewed in a buffer and carried out from it, after "yes" was typed.
local fmt = require("certrotate.fmt")
local job = require("certrotate.neovim.job")
local message = require("certrotate.neovim.message")
local plan_module = require("certrotate.rotation.plan")
local rotation_page = require("certrotate.neovim.rotation_page")
local run_module = require("certrotate.neovim.run")
local view_module = require("certrotate.neovim.view")

local M = {}

local HINT = "a apply (asks first)   <CR> detail   za fold   R plan again   q close   g? more"

-- Shows the plan, and what has become of it.
local function show(self)
  local head = { self.state or HINT, "" }
  self:show(rotation_page.page(head, message.wording(require("certrotate.report.plan").text(self.plan, self:width())),
    self.plan, self.args))
end

local function journal_of(self)
  local named = ("certrotate-%s.journal"):format(self.plan.identity.fingerprint:sub(1, 12))
  return require("certrotate.neovim.journal").full(self.args.journal or named)
end

local function begin(self)
  local plan, journal = self.plan, journal_of(self)
  local run = run_module.start({
    journal = journal, args = self.args, plan = plan, expected = plan.prediction.seconds,
    work = function(context, args, options)
      local identity, err = context:identity_of(plan, args)
      if not identity then return nil, err end
      return plan_module.attach(plan, context.aws, identity):run(options)
    end,
    done = function(report)
      self.state = "Not carried out to its end: :CertRotate log"
      if report then
        self.state = ("Carried out %s: :CertRotate status %s"):format(fmt.timestamp(report.ended), message.path(journal))
      end
      if self:alive() then show(self) end
    end,
  })
  if not run then return end
  self.state = "Being carried out: :CertRotate log, :CertRotate cancel"
  if self:alive() then show(self) end
end

-- Asks, and begins when "yes" was typed.
local function apply(self)
  local plan = self.plan
  if not plan then return message.say("there is no plan here yet", "ERROR") end
  if vim.fn.filereadable(journal_of(self)) == 1 then
    local path = message.path(journal_of(self))
    return message.say(("%s is there already: :CertRotate resume %s goes on with it; name another --journal for another "
      .. "rotation"):format(path, path), "ERROR")
  end
  local question = ("Change %s, with the journal %s? Type yes to go on: "):format(
    fmt.plural(#plan:holders(), "holder"), message.path(journal_of(self)))
  vim.ui.input({ prompt = question }, function(answer)
    vim.api.nvim_echo({ { "" } }, false, {})   -- the question stays in the command line otherwise
    if not (answer and answer:lower():match("^%s*yes%s*$")) then
      return message.say("nothing was changed", "INFO")
    end
    -- What was agreed to is what was read, not what has been made since.
    if self.plan ~= plan then
      return message.say("nothing was changed: the plan was made anew meanwhile; read it, then apply it", "WARN")
    end
    begin(self)
  end)
end

-- A plan of a file, or one that is made now from flags.
local function obtain(context, args)
  if args.plan then
    local plan, err = plan_module.load(args.plan)
    if not plan then return nil, err end
    return plan
  end
  local command = require("certrotate.cli.plan")
  local plan, err = command.make(context, args)
  if not plan then return nil, err end
  if args.out then
    local ok
    ok, err = plan:save(args.out)
    if not ok then return nil, err end
  end
  return plan
end

-- What refused it, one line each below the first.
local function refusal(err)
  local lines = { tostring(err) }
  for _, finding in ipairs(err.findings or {}) do
    if finding.message ~= err.message then lines[#lines + 1] = ("  %s: %s"):format(finding.level, finding.message) end
  end
  return message.wording(table.concat(lines, "\n"))
end

local function fill(self, done)
  local args = self.args
  self.state, self.plan = nil, nil
  self:tell(args.plan and "Reading the plan …" or "Looking at what uses the certificate …")
  job.start(args, obtain, function(plan, err)
    if not plan then
      self:tell(refusal(err))
      if err.code == "NothingToDo" then return message.say(tostring(err), "INFO") end
      return message.fail(err)
    end
    if not self:alive() then return end
    self.plan = plan
    show(self)
    if args.out then message.say("saved in " .. message.path(args.out), "INFO") end
    if done then done() end
  end)
end

local function open(args, mods)
  local what = args.plan and message.tail(args.plan) or (args.replace or ""):match("[^/]*$")
  local self = view_module.open({ name = "plan/" .. what, filetype = "certrotate-plan", mods = mods, keys = {
    { "a", "apply the plan, after a question", apply },
    { "R", "plan again", function(view) fill(view) end },
  } })
  self.args = args
  return self
end

-- What a plan cannot be made without; said before a buffer is opened for nothing.
local function missing(args)
  if not args.replace then
    return "--replace is missing: the reference of the certificate to replace (:CertRotate inventory)"
  end
  if not args.certificate then return "--certificate is missing: the file of the new certificate" end
  return nil
end

---@param args table
---@param mods string
function M.command(args, mods)
  local problem = missing(args)
  if problem then return message.say(problem, "ERROR") end
  fill(open(args, mods))
end

--- :CertRotate apply: the plan in the current buffer, one of a file, or one made from flags; shown, then asked about.
---@param args table
---@param mods string
function M.apply(args, mods)
  if not args.plan and not args.replace then
    local view = view_module.current()
    if not (view and view.plan) then
      return message.say("no plan here: name a file, or make one with :CertRotate plan", "ERROR")
    end
    view.args.journal = args.journal or view.args.journal
    return apply(view)
  end
  local problem = not args.plan and missing(args)
  if problem then return message.say(problem, "ERROR") end
  local view = open(args, mods)
  fill(view, function() apply(view) end)
end

return M
