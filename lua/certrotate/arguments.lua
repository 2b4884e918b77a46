--- What a person may hand to a public function. Misuse raises one line that blames the line of the caller, as Lua's own
-- `bad argument` does; what lies deeper may rely on what was let in here.
local M = {}

-- Letters to change, put in or leave out to make `b` of `a`; neighbours that changed places count as one.
local function distance(a, b)
  local before, last = nil, {}
  for j = 0, #b do last[j] = j end
  for i = 1, #a do
    local row = { [0] = i }
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      row[j] = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + cost)
      if before and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        row[j] = math.min(row[j], before[j - 2] + 1)
      end
    end
    before, last = last, row
  end
  return last[#b]
end

-- What to do about a name nobody knows: the nearest known one, else all of them.
local function advice(name, known)
  local names, best, least = {}, nil, 3
  for one in pairs(known) do names[#names + 1] = one end
  table.sort(names)
  for _, one in ipairs(names) do
    local far = type(name) == "string" and #name <= 64 and distance(name, one) or least
    if far < least and far < #one then best, least = one, far end
  end
  if best then return ("did you mean '%s'?"):format(best) end
  return "known are " .. table.concat(names, ", ")
end

local function fits(value, expected)
  if expected == "any" then return true end
  for kind in expected:gmatch("[^|]+") do
    if type(value) == kind then return true end
  end
  return false
end

local function words(expected) return (expected:gsub("userdata", "identity"):gsub("|", " or ")) end

--- That a method was called with a colon. To be called from the public function itself.
---@param method string
---@param self any
---@param class table     the metatable of what it is a method of
function M.of(method, self, class)
  if getmetatable(self) ~= class then error(("%s: call it with a colon, x:%s(…)"):format(method, method), 3) end
end

--- That one argument is of a kind: "number", "string|table". To be called from the public function itself.
---@param method string
---@param name string
---@param value any
---@param expected string
function M.one(method, name, value, expected)
  if fits(value, expected) then return end
  error(("%s: `%s`: %s expected, got %s"):format(method, name, words(expected), type(value)), 3)
end

--- That options are a table, of known names, each of its kind. To be called from the public function itself.
---@param method string
---@param options any
---@param known table<string, string>   kinds by name
---@param optional? boolean             nil will do
---@param level? integer                whose line is blamed, default 3: the public function's caller
function M.options(method, options, known, optional, level)
  level = level or 3
  if options == nil and optional then return end
  if type(options) ~= "table" then
    error(("%s: a table of options expected, got %s"):format(method, type(options)), level)
  end
  for name, value in pairs(options) do
    if not known[name] then
      error(("%s: unknown option '%s'; %s"):format(method, tostring(name), advice(name, known)), level)
    end
    if not fits(value, known[name]) then
      error(("%s: option '%s': %s expected, got %s"):format(method, name, words(known[name]), type(value)), level)
    end
  end
end

return M
