-- JSON as AWS's services write it. cjson decodes; it cannot encode an empty list, so the writer is our own.
local cjson = require "cjson.safe"

local M = {}

M.decode = cjson.decode
M.null = cjson.null

local list_metatable = {}

--- Marks a table as a JSON array, empty or not.
---@param items? any[]
---@return any[]
function M.list(items)
  return setmetatable(items or {}, list_metatable)
end

--- A list of its own with the same values, marked as one.
---@param values table
---@return table
function M.copied(values)
  local list = M.list()
  for index, value in ipairs(values) do
    list[index] = value
  end
  return list
end

local escapes = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function quote(text)
  return '"' .. text:gsub('[%c"\\]', function(char)
    return escapes[char] or ("\\u%04x"):format(char:byte())
  end) .. '"'
end

local write

local function write_table(value, out)
  if getmetatable(value) == list_metatable then
    out[#out + 1] = "["
    for index = 1, #value do
      out[#out + 1] = index > 1 and "," or nil
      write(value[index], out)
    end
    out[#out + 1] = "]"
    return
  end
  local keys = {}
  for key in pairs(value) do
    keys[#keys + 1] = tostring(key)
  end
  table.sort(keys)
  out[#out + 1] = "{"
  for index, key in ipairs(keys) do
    out[#out + 1] = (index > 1 and "," or "") .. quote(key) .. ":"
    write(value[key], out)
  end
  out[#out + 1] = "}"
end

function write(value, out)
  local kind = type(value)
  if kind == "table" then
    write_table(value, out)
  elseif kind == "string" then
    out[#out + 1] = quote(value)
  elseif kind == "number" then
    out[#out + 1] = value == math.floor(value) and ("%.0f"):format(value) or ("%.14g"):format(value)
  elseif value == nil or value == M.null then
    out[#out + 1] = "null"
  else
    out[#out + 1] = tostring(value)
  end
end

--- Encodes; object keys in alphabetical order.
---@return string
function M.encode(value)
  local out = {}
  write(value, out)
  return table.concat(out)
end

return M
