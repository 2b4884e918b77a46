--- Reports of plans and journals as pages: the report's own text, with folds and details found in it.
local detail = require("certrotate.neovim.detail")
local fmt = require("certrotate.fmt")
local known = require("certrotate.neovim.known")
local view_module = require("certrotate.neovim.view")

local M = {}

-- The holders a line names, by id: reports have one a line at most.
local function subjects_of(lines, plan, args)
  local holders, subjects = {}, {}
  for _, holder in ipairs(plan:holders()) do holders[holder.Id] = holder end
  local inventory = known.inventory(args)
  for i, line in ipairs(lines) do
    for word in line:gmatch("[%w_-]+") do
      local planned = holders[word]
      if planned and not subjects[i] then
        subjects[i] = function()
          local now = inventory and inventory:holder(word)
          return detail.holder(now or planned, now and inventory:certificate(now.reference))
        end
      end
    end
  end
  return subjects
end

-- Rows of the table of waves below the first of each wave, whose first column is empty; where every wave is one holder,
-- the rows below the first one.
local function folds_of(lines)
  local folds, titles, at = {}, {}, 1
  while lines[at] and not lines[at]:find("^WAVE ") do at = at + 1 end
  local first = at + 1
  local last = first
  while lines[last] and lines[last] ~= "" do last = last + 1 end
  last = last - 1
  local continued = false
  for i = first, last do continued = continued or lines[i]:find("^ ") ~= nil end
  local start
  for i = first, last do
    local inside = lines[i]:find("^ ") ~= nil or not continued and i > first
    if inside then
      start = start or i
      folds[i] = i == start and ">1" or "1"
    else
      start = nil
    end
  end
  for i = first, last do
    if folds[i] == ">1" then
      local stop = i
      while folds[stop + 1] == "1" do stop = stop + 1 end
      titles[i] = ("    + %s more"):format(fmt.plural(stop - i + 1, continued and "holder" or "wave"))
    end
  end
  return folds, titles
end

---@param head string[]    lines above the report
---@param text string
---@param plan certrotate.Plan
---@param args table
---@return certrotate.neovim.Page
function M.page(head, text, plan, args)
  local lines = {}
  for _, line in ipairs(head) do lines[#lines + 1] = line end
  for _, line in ipairs(view_module.lines(text)) do lines[#lines + 1] = line end
  local folds, titles = folds_of(lines)
  return { lines = lines, folds = folds, titles = titles, subjects = subjects_of(lines, plan, args), level = 1 }
end

return M
