--- A small window in the corner below the text, that shows running rotations and never takes the cursor.
local M = {}

local api = vim.api
local uv = vim.uv or vim.loop

local WIDTH = 62
local LINGER = 5   -- seconds an ended run is shown at least, and until somebody did something at the editor

local buffer, window, timer
local shown = {}   -- list of certrotate.neovim.Progress
local touched      -- monotonic seconds when the cursor last moved

local function close()
  if window and api.nvim_win_is_valid(window) then api.nvim_win_close(window, true) end
  window = nil
end

local function place(height)
  -- Above the command line and the last status line, as wide as there is room.
  return {
    relative = "editor", anchor = "SE", row = math.max(1, vim.o.lines - vim.o.cmdheight - 1), col = vim.o.columns,
    width = math.max(1, math.min(WIDTH, vim.o.columns - 2)), height = height, style = "minimal", border = "rounded",
    focusable = false, zindex = 40,
  }
end

-- Whoever is away, or types while the message of the end is there and gone, still finds how it ended.
local function lingers(progress, now)
  return now - progress.ended < LINGER or not touched or touched < progress.ended
end

-- A window floats in one tab page: in another one it is opened again.
local function open(height)
  local there = window and api.nvim_win_is_valid(window)
  if there and api.nvim_win_get_tabpage(window) == api.nvim_get_current_tabpage() then
    api.nvim_win_set_config(window, place(height))
    return
  end
  close()
  if not buffer or not api.nvim_buf_is_valid(buffer) then
    buffer = api.nvim_create_buf(false, true)
    vim.bo[buffer].syntax = "certrotate-progress"
  end
  local config = place(height)
  config.noautocmd = true
  -- Refused in the command-line window; the next second tries again.
  local ok, id = pcall(api.nvim_open_win, buffer, false, config)
  window = ok and id or nil
end

local function draw()
  vim.cmd("redrawstatus!")   -- status lines that show `statusline()`
  local lines, now, kept = {}, uv.hrtime() / 1e9, {}
  for _, progress in ipairs(shown) do
    if not progress.ended or lingers(progress, now) then
      kept[#kept + 1] = progress
      for _, line in ipairs(progress:lines(math.min(WIDTH, vim.o.columns - 2))) do lines[#lines + 1] = line end
    end
  end
  shown = kept
  if #lines == 0 then
    close()
    if timer then
      timer:stop()
      timer:close()
      timer = nil
      api.nvim_create_augroup("certrotate_corner", {})   -- emptied
    end
    return
  end
  open(#lines)
  if window then api.nvim_buf_set_lines(buffer, 0, -1, false, lines) end
end

local drawing = false

--- Draws again soon; many calls make one drawing.
function M.update()
  if drawing then return end
  drawing = true
  vim.defer_fn(function()
    drawing = false
    draw()
  end, 50)
end

--- Shows a run until a little after its end.
---@param progress certrotate.neovim.Progress
function M.add(progress)
  shown[#shown + 1] = progress
  if not timer then
    timer = uv.new_timer()
    api.nvim_create_autocmd({ "CursorMoved", "CursorMovedI", "CmdlineEnter" }, {
      group = api.nvim_create_augroup("certrotate_corner", {}),
      callback = function() touched = uv.hrtime() / 1e9 end,
    })
    timer:start(1000, 1000, vim.schedule_wrap(draw))
  end
  M.update()
end

--- Runs that are shown and not over.
---@return certrotate.neovim.Progress[]
function M.running()
  local list = {}
  for _, progress in ipairs(shown) do
    if not progress.ended then list[#list + 1] = progress end
  end
  return list
end

return M
