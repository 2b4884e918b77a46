--- Columns of text that fit a width. Pure.
local M = {}

-- Characters, not bytes, decide the width (UTF-8 continuation bytes do not count).
local function width_of(text)
  local _, continuation = text:gsub("[\128-\191]", "")
  return #text - continuation
end

-- At most `width` characters; the cut is shown by "…".
local function cut(text, width)
  if width_of(text) <= width then return text end
  if width < 1 then return "" end
  local out, count = {}, 0
  for character in text:gmatch("[%z\1-\127\194-\244][\128-\191]*") do
    if count == width - 1 then break end
    count = count + 1
    out[count] = character
  end
  return table.concat(out) .. "…"
end

-- Terminals obey control bytes; what AWS or a file says must not reach them as such.
local function clean(value)
  return (tostring(value):gsub("[%z\1-\31\127]", "?"))
end

---@class certrotate.Column
---@field title string
---@field right? boolean     aligned to the right
---@field shrink? boolean    gives up width first when the table is too wide

--- A table with a header line. Columns marked `shrink` are cut when the whole is wider than `width`.
---@param columns certrotate.Column[]
---@param rows string[][]
---@param width? integer   characters; nil: as wide as it gets
---@return string text     with a line end behind each line
function M.text(columns, rows, width)
  local widths, cells = {}, {}
  for i, column in ipairs(columns) do widths[i] = width_of(column.title) end
  for r, row in ipairs(rows) do
    cells[r] = {}
    for i = 1, #columns do
      cells[r][i] = clean(row[i] == nil and "" or row[i])
      widths[i] = math.max(widths[i], width_of(cells[r][i]))
    end
  end
  if width then
    local total = 2 * (#columns - 1)
    for _, w in ipairs(widths) do total = total + w end
    local excess = total - width
    while excess > 0 do
      local widest
      for i, column in ipairs(columns) do
        if column.shrink and widths[i] > 8 and (not widest or widths[i] > widths[widest]) then widest = i end
      end
      if not widest then break end
      widths[widest] = widths[widest] - 1
      excess = excess - 1
    end
  end
  local lines = {}
  local function line(values)
    local parts = {}
    for i, column in ipairs(columns) do
      local value = cut(values[i], widths[i])
      local pad = (" "):rep(widths[i] - width_of(value))
      parts[i] = column.right and pad .. value or value .. pad
    end
    lines[#lines + 1] = (table.concat(parts, "  "):gsub(" +$", ""))
  end
  local titles = {}
  for i, column in ipairs(columns) do titles[i] = column.title end
  line(titles)
  for _, row in ipairs(cells) do line(row) end
  return table.concat(lines, "\n") .. "\n"
end

--- At most `width` characters of a text; the cut is shown by "…".
M.cut = cut
--- How many characters a text has.
M.width = width_of
--- The text of a value without control bytes, which a terminal would obey.
M.clean = clean

return M
