--- :CertRotate log: what happened, with times, of a run in this Neovim while it goes on, or of any journal.
local journal_module = require("certrotate.neovim.journal")
local message = require("certrotate.neovim.message")
local run_module = require("certrotate.neovim.run")
local view_module = require("certrotate.neovim.view")

local M = {}

-- A wave is a fold, open; what ends a run belongs to none.
local ENDINGS = { "^%S+ interrupted", "^%S+ stopped: ", "^%S+ %d+ of %d+ holders? changed in " }

local function folds(lines)
  local levels = {}
  for i, line in ipairs(lines) do
    if line:find("^%S+ wave %d+ of %d+,") then levels[i] = ">1" else levels[i] = i > 1 and "=" or "0" end
    for _, ending in ipairs(ENDINGS) do
      if line:find(ending) then levels[i] = "0" end
    end
  end
  return levels
end

local function open(journal, mods, keys)
  return view_module.open({ name = "log/" .. message.tail(journal), filetype = "certrotate-log",
                            mods = mods, keys = keys })
end

local function page(lines)
  local copy = {}
  for i, line in ipairs(lines) do copy[i] = line end
  return { lines = copy, folds = folds(copy), level = 9 }
end

-- Follows a run: shown whole once, then line by line.
local function follow(run, mods)
  local function cancel() run_module.cancel(run.journal) end
  local view = open(run.journal, mods, { { "<C-c>", "cancel the rotation", cancel } })
  view:show(page(#run.lines > 0 and run.lines or { "preparing …" }))
  local last = vim.api.nvim_buf_line_count(view.buffer)
  for _, window in ipairs(view:windows()) do vim.api.nvim_win_set_cursor(window, { last, 0 }) end
  run.on_line = function(lines)
    if #run.lines == #lines then return view:show(page(run.lines)) end
    view.page.folds = folds(run.lines)   -- asked for while the lines come in
    view:append(lines)
  end
  view.on_close = function() run.on_line = nil end
end

local function of_journal(args, mods)
  journal_module.read(args, require("certrotate.rotation.journal").load, function(journal)
    local view = open(args.journal, mods, { { "R", "read again", function() M.command(args, "") end } })
    view:show(page(view_module.lines(require("certrotate.report.journal").text(journal))))
  end)
end

---@param args table
---@param mods string
function M.command(args, mods)
  local all = run_module.all()
  local run = args.journal and run_module.find(args.journal) or not args.journal and all[#all]
  if run then return follow(run, mods) end
  if not args.journal then
    return message.say("no rotation was begun in this Neovim; name a journal: :CertRotate log JOURNAL", "ERROR")
  end
  of_journal(args, mods)
end

return M
