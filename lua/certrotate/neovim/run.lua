--- Rotations that are carried out in this Neovim: begun, watched, interrupted, and brought to a safe point when the
--- editor is left.
local core = require("certrotate.core")
local corner = require("certrotate.neovim.corner")
local fmt = require("certrotate.fmt")
local job = require("certrotate.neovim.job")
local journal_module = require("certrotate.neovim.journal")
local message = require("certrotate.neovim.message")
local progress_module = require("certrotate.neovim.progress")
local table_report = require("certrotate.report.table")

local M = {}

-- How long leaving Neovim waits for the writes that are under way, and then for them to be cut off.
local LEAVE, CUT_OFF = 20000, 3000   -- ms

---@class certrotate.neovim.Run
---@field journal string             absolute path, or s3://…
---@field args table                 of its command
---@field lines string[]             what happened, with times
---@field progress certrotate.neovim.Progress
---@field job? certrotate.neovim.Job
---@field over boolean
---@field on_line? fun(lines: string[])   somebody reads along
local Run = {}
Run.__index = Run

local runs = {}   -- in the order they were begun

--- Every run of this session of the editor, the latest last.
---@return certrotate.neovim.Run[]
function M.all() return runs end

---@return certrotate.neovim.Run[]
function M.running()
  local list = {}
  for _, run in ipairs(runs) do
    if not run.over then list[#list + 1] = run end
  end
  return list
end

---@param journal string   a path
---@return certrotate.neovim.Run?
function M.find(journal)
  journal = journal_module.full(journal)
  for i = #runs, 1, -1 do
    if runs[i].journal == journal then return runs[i] end
  end
  return nil
end

function Run:note(text)
  local lines = require("certrotate.neovim.view").lines(text)
  for _, line in ipairs(lines) do self.lines[#self.lines + 1] = line end
  if self.on_line then self.on_line(lines) end
end

local function stamped(text) return fmt.time(core.now()) .. " " .. text end

-- One line that fits, whose end says how to go on.
local function going_on(text, verb, path)
  local hint = ("; :CertRotate %s %s"):format(verb, message.path(path))
  local room = math.max(24, vim.o.columns - 12 - 12 - #hint)
  return table_report.cut(text, room) .. hint
end

local function succeeded(self, report)
  local text = require("certrotate.report.summary").text(report)
  self.progress:finish(report.ok and "done" or "done, not all")
  self:note(stamped(message.wording((text:gsub("\n$", "")))))
  message.say(message.fitted((text:match("^[^\n]*"):gsub("; ", report.ok and "; " or ": see :CertRotate log; ", 1))),
    report.ok and "INFO" or "WARN")
end

local function failed(self, err)
  local interrupted = err.code == "Interrupted"
  self.progress:finish(interrupted and "interrupted" or "stopped")
  if not interrupted then self:note(stamped("stopped: " .. message.wording(tostring(err)))) end
  for i, change in ipairs(err.changes or {}) do
    if i > 1 then self:note("  " .. change) end
  end
  if err.journal then
    local verb = err.rollback and "rollback" or "resume"
    self:note(("To go on: :CertRotate %s %s"):format(verb, message.path(err.journal)))
    local what = interrupted and "interrupted" or tostring(err)
    message.say(going_on(what, verb, err.journal), interrupted and "WARN" or "ERROR")
  elseif interrupted then
    message.say("interrupted before anything was begun", "WARN")
  else
    message.fail(err)
  end
end

-- Where the run is shown a line is written, where it is drawn a number changes; neither may ever stop a rotation.
local function listener(self)
  local write = require("certrotate.report.progress").new({ terminal = false,
    write = function(text) self:note(text) end })
  return function(event)
    write(event)
    self.progress:event(event)
    corner.update()
  end
end

local function watch_leaving()
  local group = vim.api.nvim_create_augroup("certrotate_leave", {})
  vim.api.nvim_create_autocmd("VimLeavePre", { group = group, callback = M.leave })
end

--- Begins a run and returns at once.
---@param options { journal: string, args: table, plan: certrotate.Plan, expected?: number,
---                done?: fun(report?: certrotate.Report),
---                work: fun(context: certrotate.neovim.Context, args: table, run: certrotate.RunOptions):
---                      certrotate.Report?, certrotate.Error? }
---@return certrotate.neovim.Run?
function M.start(options)
  local journal = journal_module.full(options.journal)
  local other = M.find(journal)
  if other and not other.over then
    message.say(message.path(journal) .. " is being worked on in this Neovim; see :CertRotate log", "ERROR")
    return nil
  end
  local self = setmetatable({ journal = journal, args = options.args, lines = {}, over = false,
    progress = progress_module.new({ title = message.path(journal), plan = options.plan, expected = options.expected,
                                     clock = core.monotonic }) }, Run)
  self.job = job.start(options.args, function(context, args)
    local run_options = require("certrotate.cli.apply").run_options(context, args)
    run_options.journal, run_options.on_event = journal, listener(self)
    return options.work(context, args, run_options)
  end, function(report, err)
    self.over = true
    if report then succeeded(self, report) else failed(self, err) end
    corner.update()
    if options.done then options.done(report) end
  end)
  if not self.job then return nil end
  runs[#runs + 1] = self
  watch_leaving()
  corner.add(self.progress)
  return self
end

--- The first time everything comes to a safe point, the second time what is under way is cut off (the journal knows,
--- and resuming reads back what became of it).
---@param reason string
function Run:interrupt(reason)
  if self.over then return end
  self.job.aws.loop:interrupt(reason)
end

--- :CertRotate cancel.
---@param journal? string   which, when several are running
function M.cancel(journal)
  local running = M.running()
  local run = journal and M.find(journal) or not journal and #running == 1 and running[1]
  if #running == 0 or journal and (not run or run.over) then
    local which = journal and "with the journal " .. journal .. " " or ""
    return message.say("no rotation " .. which .. "is running here", "ERROR")
  elseif not run then
    local names = {}
    for i, one in ipairs(running) do names[i] = message.path(one.journal) end
    return message.say("which? :CertRotate cancel " .. table.concat(names, " or "), "ERROR")
  end
  local again = run.cancelled
  run.cancelled = true
  run:interrupt("cancelled")
  message.say(again and "cutting off what is under way"
    or "finishing what was begun, then stopping; again to cut it off", "INFO")
end

local function all_over() return #M.running() == 0 end

--- The editor is being left: runs come to a safe point first, so that their journals can be resumed.
function M.leave()
  local running = M.running()
  if #running == 0 then return end
  local names = {}
  for i, run in ipairs(running) do names[i] = message.path(run.journal) end
  message.say(message.fitted("finishing what was begun; then :CertRotate resume " .. table.concat(names, ", ")), "WARN")
  vim.cmd("redraw")
  for _, run in ipairs(running) do run:interrupt("Neovim is closing") end
  if vim.wait(LEAVE, all_over, 20) then return end
  for _, run in ipairs(M.running()) do run:interrupt("Neovim is closing") end
  vim.wait(CUT_OFF, all_over, 20)
end

return M
