--- Scratch buffers: where results are read. A view is a buffer with its own filetype, folds and keys; what a line is
--- about (a holder, a certificate) is known beside it.
local M = {}

local api = vim.api

---@class certrotate.neovim.Page      what a view shows
---@field lines string[]
---@field folds? table<integer, string>     line -> what 'foldexpr' says; others "0"
---@field titles? table<integer, string>    first line of a fold -> its text while closed
---@field subjects? table<integer, fun(): string[]>   line -> its detail
---@field level? integer                    'foldlevel'; default 0: closed

---@class certrotate.neovim.View
---@field buffer integer
---@field page certrotate.neovim.Page
---@field before? certrotate.neovim.View     whose window it was given
local View = {}
View.__index = View

local views = {}   -- by buffer

local WINDOW = "setlocal foldmethod=expr foldexpr=v:lua.require'certrotate.neovim.view'.fold() foldlevel=%d "
  .. "foldtext=v:lua.require'certrotate.neovim.view'.fold_text() fillchars+=fold:\\  "
  .. "wrap linebreak breakindent breakindentopt=shift:2 nolist nospell nonumber norelativenumber signcolumn=no cursorline"

--- For 'foldexpr'.
function M.fold()
  local view = views[api.nvim_get_current_buf()]
  return view and view.page.folds and view.page.folds[vim.v.lnum] or "0"
end

--- For 'foldtext'.
function M.fold_text()
  local view = views[api.nvim_get_current_buf()]
  local title = view and view.page.titles and view.page.titles[vim.v.foldstart]
  return title or vim.fn.foldtext()
end

--- Columns for text in the current window.
---@return integer
function M.width() return api.nvim_win_get_width(0) end

-- The keys every view has; a view's own come before them in the help.
local KEYS = {
  { "q", "close", function(self) self:close() end },
  { "<CR>", "detail of what the cursor is on", function(self) self:detail() end },
  { "K", nil, function(self) self:detail() end },
  { "g?", "these keys", function(self) self:help() end },
}

local function map(self, keys)
  for _, entry in ipairs(keys) do
    vim.keymap.set("n", entry[1], function() entry[3](self) end,
      { buffer = self.buffer, nowait = true, silent = true, desc = entry[2] })
  end
end

-- Options of the window belong to the buffer in it: set whenever it comes into one, and local, so that they stay
-- behind when another file is opened there.
local function dress(self, window)
  api.nvim_win_call(window, function() vim.cmd(WINDOW:format(self.page.level or 0)) end)
end

local function create(name, filetype, keys)
  local buffer = api.nvim_create_buf(false, true)
  api.nvim_buf_set_name(buffer, name)
  local self = setmetatable({ buffer = buffer, page = { lines = {} }, keys = keys }, View)
  views[buffer] = self
  vim.bo[buffer].bufhidden, vim.bo[buffer].swapfile, vim.bo[buffer].modifiable = "hide", false, false
  map(self, keys)
  map(self, KEYS)
  local group = api.nvim_create_augroup("certrotate_view_" .. buffer, {})
  api.nvim_create_autocmd("BufWinEnter", { group = group, buffer = buffer, callback = function()
    dress(self, api.nvim_get_current_win())
  end })
  api.nvim_create_autocmd("BufWipeout", { group = group, buffer = buffer, callback = function()
    views[buffer] = nil
    if self.on_close then self.on_close() end
  end })
  vim.bo[buffer].filetype = filetype
  return self
end

local function named(name)
  for _, view in pairs(views) do
    if api.nvim_buf_get_name(view.buffer) == name then return view end
  end
  return nil
end

-- A window of this tab page with a view in it, the current one first; not one that floats.
local function window_of_views()
  local windows = api.nvim_tabpage_list_wins(0)
  table.insert(windows, 1, api.nvim_get_current_win())
  for _, window in ipairs(windows) do
    if views[api.nvim_win_get_buf(window)] and api.nvim_win_get_config(window).relative == "" then return window end
  end
  return nil
end

--- Opens a view, or goes to it where it is open already. Views share a window, at least as high as one of help, as
--- help does: one above the other none would have room to be read.
---@param options { name: string, filetype: string, keys?: table[], mods?: string }
---   mods: "vertical", "tab", …: a window of its own
---@return certrotate.neovim.View
function M.open(options)
  local name = "certrotate://" .. options.name
  local self = named(name) or create(name, options.filetype, options.keys or {})
  for _, window in ipairs(api.nvim_tabpage_list_wins(0)) do
    if api.nvim_win_get_buf(window) == self.buffer then
      api.nvim_set_current_win(window)
      return self
    end
  end
  local mods = options.mods or ""
  local shared = mods == "" and window_of_views()
  if shared then
    api.nvim_set_current_win(shared)
    self.before = M.current()
    vim.cmd(("buffer %d"):format(self.buffer))
  else
    vim.cmd(("%s sbuffer %d"):format(mods, self.buffer))
    if mods == "" then api.nvim_win_set_height(0, math.max(api.nvim_win_get_height(0), vim.o.helpheight)) end
  end
  return self
end

--- The view the cursor is in.
---@return certrotate.neovim.View?
function M.current() return views[api.nvim_get_current_buf()] end

--- Whether it is still there: its buffer may have been wiped out while something was fetched for it.
function View:alive() return views[self.buffer] == self and api.nvim_buf_is_valid(self.buffer) end

---@return integer[]
function View:windows()
  return vim.fn.win_findbuf(self.buffer)
end

--- Columns of the first window it is in.
---@return integer
function View:width()
  local window = self:windows()[1]
  return window and api.nvim_win_get_width(window) or vim.o.columns
end

local function write(self, from, to, lines)
  local buffer = self.buffer
  vim.bo[buffer].modifiable = true
  api.nvim_buf_set_lines(buffer, from, to, false, lines)
  vim.bo[buffer].modifiable, vim.bo[buffer].modified = false, false
end

--- Shows a page instead of what was there; the cursor stays on its line.
---@param page certrotate.neovim.Page
function View:show(page)
  if not self:alive() then return end
  local windows = {}
  for _, window in ipairs(self:windows()) do windows[window] = api.nvim_win_get_cursor(window) end
  self.page = page
  write(self, 0, -1, page.lines)
  for window, cursor in pairs(windows) do
    api.nvim_win_set_cursor(window, { math.min(cursor[1], #page.lines), cursor[2] })
    dress(self, window)
  end
end

--- More lines at the end. A cursor that was on the last line stays on it: so one follows by going there.
---@param lines string[]
function View:append(lines)
  if not self:alive() then return end
  local last = api.nvim_buf_line_count(self.buffer)
  local empty = last == 1 and api.nvim_buf_get_lines(self.buffer, 0, 1, false)[1] == ""
  write(self, empty and 0 or last, -1, lines)
  local now = api.nvim_buf_line_count(self.buffer)
  for _, window in ipairs(self:windows()) do
    if api.nvim_win_get_cursor(window)[1] >= last then api.nvim_win_set_cursor(window, { now, 0 }) end
  end
end

--- A line in place of a page: what is being done, or why it failed.
---@param text string
function View:tell(text)
  self:show({ lines = vim.split(text, "\n", { plain = true }) })
end

--- Away with it; the view whose window it was given comes back.
function View:close()
  if not self:alive() then return end
  local before = self.before
  if before and before ~= self and before:alive() and #before:windows() == 0 then
    for _, window in ipairs(self:windows()) do api.nvim_win_set_buf(window, before.buffer) end
  end
  vim.cmd("bwipeout! " .. self.buffer)
end

--- The detail of the line the cursor is on, in a window that goes away with the next move; asked for again, it is
--- entered. A closed fold is opened instead.
function View:detail()
  if vim.fn.foldclosed(".") ~= -1 then return vim.cmd("normal! zo") end
  local subject = self.page.subjects and self.page.subjects[api.nvim_win_get_cursor(0)[1]]
  if not subject then return require("certrotate.neovim.message").say("nothing to show for this line", "INFO") end
  vim.lsp.util.open_floating_preview(subject(), "certrotate-detail",
    { border = "rounded", focus_id = "certrotate", wrap = false, max_width = vim.o.columns - 8, max_height = 30 })
end

function View:help()
  local lines = {}
  for _, keys in ipairs({ self.keys, KEYS }) do
    for _, entry in ipairs(keys) do
      if entry[2] then lines[#lines + 1] = ("%-6s %s"):format(entry[1], entry[2]) end
    end
  end
  vim.lsp.util.open_floating_preview(lines, "certrotate-detail", { border = "rounded", focus_id = "certrotate-keys" })
end

--- Text into lines, as the reports make it.
---@param text string
---@return string[]
function M.lines(text)
  return vim.split((text:gsub("\n$", "")), "\n", { plain = true })
end

return M
