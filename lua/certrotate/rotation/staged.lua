--- Waves by size, by share, by tag, by list or by the user's own function. Pure.
--
--   certrotate.policy.staged { { size = 1, soak = 600, pause = true }, { percent = 10 }, { tag = "tier=edge" },
--                              { list = { "E1EXAMPLE" } }, { where = function(holder) … end }, "rest" }
--
-- A stage takes of those that are left; who is left at the end is a wave more. On the command line a stage is a text:
-- `3`, `10%`, `tag:tier=edge`, `E1EXAMPLE,E2EXAMPLE`, `rest`.
local wave_options = require("certrotate.rotation.wave_options")

local M = {}

---@class certrotate.Stage: certrotate.WaveOptions
---@field name? string
---@field size? integer       so many
---@field percent? number     such a share of all, rounded up
---@field tag? string         those tagged "Key=Value", or "Key" whatever its value
---@field list? string[]      those ids
---@field where? fun(holder: certrotate.Holder): boolean

local KINDS = { "size", "percent", "tag", "list", "where" }
local KNOWN = { name = true, parallel = true, soak = true, settle = true, verify = true, gate = true, pause = true,
                windows = true, align = true, rest = true }
for _, kind in ipairs(KINDS) do KNOWN[kind] = true end

local function from_text(text)
  if text == "rest" then return {} end
  local percent, tag = text:match("^([%d%.]+)%%$"), text:match("^tag:(.+)$")
  if percent then return { percent = tonumber(percent) } end
  if tag then return { tag = tag } end
  if text:match("^%d+$") then return { size = tonumber(text) } end
  if not text:match("^E[%w,]+$") then
    return nil, ("'%s' is no wave: give a size (3), a share (10%%), tag:KEY=VALUE, ids (E1,E2) or rest"):format(text)
  end
  local list = {}
  for id in text:gmatch("[^,]+") do list[#list + 1] = id end
  return { list = list }
end

local CHECKS = {
  size = function(value)
    return type(value) == "number" and value >= 1 and value % 1 == 0 and value ~= math.huge, "a whole number of at least 1"
  end,
  percent = function(value) return type(value) == "number" and value > 0 and value <= 100, "more than 0 and at most 100" end,
  tag = function(value) return type(value) == "string" and value:match("^[^=]") ~= nil, "a text, Key=Value or Key" end,
  list = function(value)
    for _, id in ipairs(type(value) == "table" and value or {}) do
      if type(id) ~= "string" then return false, "a list of ids" end
    end
    return type(value) == "table" and #value > 0, "a list of ids"
  end,
  where = function(value) return type(value) == "function", "a function from a holder to true or false" end,
}

local function text_of(stage)
  if stage.size then return tostring(stage.size) end
  if stage.percent then return tostring(stage.percent) .. "%" end
  if stage.tag then return "tag:" .. stage.tag end
  if stage.list then return table.concat(stage.list, ",") end
  return stage.where and "where" or "rest"
end

local function read(stage)
  if type(stage) == "string" then
    local problem
    stage, problem = from_text(stage)
    if not stage then return nil, problem end
  elseif type(stage) ~= "table" then
    return nil, "a table or a text expected, got " .. type(stage)
  elseif type(stage[1]) == "string" and stage[2] == nil then
    -- A text and what the wave asks for: { "10%", soak = 600 }.
    local selected, problem = from_text(stage[1])
    if not selected then return nil, problem end
    for key, value in pairs(stage) do
      if key ~= 1 then selected[key] = value end
    end
    stage = selected
  end
  local kind
  for key in pairs(stage) do
    if not KNOWN[key] then return nil, ("unknown field '%s'"):format(tostring(key)) end
  end
  for _, name in ipairs(KINDS) do
    if stage[name] ~= nil then
      if kind then return nil, ("either `%s` or `%s`, not both"):format(kind, name) end
      kind = name
      local fine, expected = CHECKS[name](stage[name])
      if not fine then return nil, ("`%s` must be %s"):format(name, expected) end
    end
  end
  local problem = select(2, wave_options.read(stage))
  if problem then return nil, problem end
  return stage
end

--- Reads stages; every mistake is told.
---@param stages any
---@return certrotate.Stage[]?
---@return string? problem
function M.parse(stages)
  if type(stages) ~= "table" or #stages == 0 then return nil, "a list of stages expected, like { \"1\", \"10%\", \"rest\" }" end
  local list = {}
  for i, stage in ipairs(stages) do
    local problem
    list[i], problem = read(stage)
    if not list[i] then return nil, ("stage %d: %s"):format(i, problem) end
  end
  return list
end

--- The stages as texts, for the plan.
---@param stages certrotate.Stage[]
---@return string[]
function M.texts(stages)
  local list = {}
  for i, stage in ipairs(stages) do list[i] = text_of(stage) end
  return list
end

--- Whether a stage looks at tags, which must be read for it.
---@param stages certrotate.Stage[]
---@return boolean?
function M.needs_tags(stages)
  for _, stage in ipairs(stages) do
    if stage.tag then return true end
  end
  return nil
end

-- Whether a holder belongs to a stage, as far as that does not depend on the others.
local function matcher(stage)
  if stage.tag then
    local key, value = stage.tag:match("^([^=]+)=(.*)$")
    return function(holder)
      local found = (holder.Tags or {})[key or stage.tag]
      return found ~= nil and (value == nil or found == value)
    end
  elseif stage.list then
    local named = {}
    for _, id in ipairs(stage.list) do named[id] = true end
    return function(holder) return named[holder.Id] == true end
  end
  return stage.where or function() return true end
end

--- Waves of holders that are in order already.
---@param stages certrotate.Stage[]
---@param holders certrotate.Holder[]
---@return certrotate.Wave[]
function M.waves(stages, holders)
  local left, waves, known = {}, {}, {}
  for i, holder in ipairs(holders) do left[i], known[holder.Id] = holder, true end
  local function take(stage, name)
    local most = stage.size or stage.percent and math.ceil(#holders * stage.percent / 100 - 1e-9) or math.huge
    local matches, chosen, rest = matcher(stage), {}, {}
    for _, holder in ipairs(left) do
      local list = #chosen < most and matches(holder) and chosen or rest
      list[#list + 1] = holder
    end
    for _, id in ipairs(stage.list or {}) do
      if not known[id] then error(("wave %s names %s, which does not use the certificate"):format(name, id), 0) end
    end
    left = rest
    local wave = { holders = chosen, name = stage.name or name, reason = "stage " .. name }
    for _, option in ipairs({ "parallel", "soak", "settle", "verify", "gate", "pause", "windows", "align" }) do
      wave[option] = stage[option]
    end
    waves[#waves + 1] = wave
  end
  for _, stage in ipairs(stages) do take(stage, text_of(stage)) end
  local last = stages[#stages]
  if #left > 0 then
    take({ parallel = last.parallel, windows = last.windows, verify = last.verify, settle = last.settle }, "rest")
  end
  return waves
end

return M
