--- One way to JSON in every host. Reading is lua-cjson's work (an instance of our own, because its settings are
--- shared), or Neovim's. Writing is done here: keys in order and numbers always alike, so that a plan can be
--- compared, hashed and kept under version control.
local fmt = require("certrotate.fmt")

local M = {}

local to_integer = rawget(math, "tointeger")   -- 5.3 and later

local array_metatable = { __name = "certrotate.json.array" }

--- JSON's null, for places that must show it; reading turns null fields into absent ones.
M.null = setmetatable({}, { __name = "certrotate.json.null", __tostring = function() return "null" end })

--- Marks a table as a list, so that an empty one becomes [] and not {}.
---@generic T
---@param list T[]
---@return T[]
function M.array(list)
  if type(list) ~= "table" then error("json.array: table expected, got " .. type(list), 2) end
  return setmetatable(list, array_metatable)
end

---@param value any
---@return boolean
function M.is_array(value)
  return type(value) == "table" and getmetatable(value) == array_metatable
end

local MAX_DEPTH = 128
local MAX_TEXT = 64 * 1024 * 1024

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function escape(character)
  return ESCAPES[character] or ("\\u%04x"):format(character:byte())
end

-- Lead byte to what may follow it (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
local SEQUENCES = {
  { "^[\194-\223][\128-\191]", 2 },
  { "^\224[\160-\191][\128-\191]", 3 }, { "^[\225-\236\238\239][\128-\191][\128-\191]", 3 },
  { "^\237[\128-\159][\128-\191]", 3 },
  { "^\240[\144-\191][\128-\191][\128-\191]", 4 }, { "^[\241-\243][\128-\191][\128-\191][\128-\191]", 4 },
  { "^\244[\128-\143][\128-\191][\128-\191]", 4 },
}

-- A text that is not UTF-8 would make a file nobody can read: bytes that are none become U+FFFD.
local function utf8_only(text)
  local out, at, from = nil, 1, 1
  while true do
    at = text:find("[\128-\255]", at)
    if not at then break end
    local length
    for _, sequence in ipairs(SEQUENCES) do
      if text:find(sequence[1], at) then
        length = sequence[2]
        break
      end
    end
    if length then
      at = at + length
    else
      out = out or {}
      out[#out + 1] = text:sub(from, at - 1) .. "\239\191\189"
      at = at + 1
      from = at
    end
  end
  if not out then return text end
  out[#out + 1] = text:sub(from)
  return table.concat(out)
end

local function quote(text)
  if text:find("[\128-\255]") then text = utf8_only(text) end
  return '"' .. text:gsub('[%z\1-\31\127"\\]', escape) .. '"'
end

-- How many entries, and whether they are exactly 1..n.
local function is_list(value)
  local count = 0
  for key in pairs(value) do
    if type(key) ~= "number" then return false end
    count = count + 1
  end
  return count > 0 and count == #value
end

local write

local function write_list(out, value, indent, depth)
  if #value == 0 then
    out[#out + 1] = "[]"
    return
  end
  local inner = indent and indent .. "  "
  out[#out + 1] = "["
  for index = 1, #value do
    if index > 1 then out[#out + 1] = "," end
    if inner then out[#out + 1] = inner end
    write(out, value[index], inner, depth)
  end
  if indent then out[#out + 1] = indent end
  out[#out + 1] = "]"
end

local function write_map(out, value, indent, depth)
  local keys = {}
  for key in pairs(value) do
    if type(key) ~= "string" then error("json: a table has both list and map keys, or keys that are no strings", 0) end
    keys[#keys + 1] = key
  end
  if #keys == 0 then
    out[#out + 1] = "{}"
    return
  end
  table.sort(keys)
  local inner = indent and indent .. "  "
  out[#out + 1] = "{"
  for index, key in ipairs(keys) do
    if index > 1 then out[#out + 1] = "," end
    if inner then out[#out + 1] = inner end
    out[#out + 1] = quote(key)
    out[#out + 1] = inner and ": " or ":"
    write(out, value[key], inner, depth)
  end
  if indent then out[#out + 1] = indent end
  out[#out + 1] = "}"
end

function write(out, value, indent, depth)
  local kind = type(value)
  if kind == "string" then
    out[#out + 1] = quote(value)
  elseif kind == "number" then
    out[#out + 1] = fmt.exact(value)
  elseif kind == "boolean" then
    out[#out + 1] = value and "true" or "false"
  elseif value == M.null then
    out[#out + 1] = "null"
  elseif kind == "table" then
    if depth >= MAX_DEPTH then error("json: nested too deeply (a table that contains itself?)", 0) end
    if M.is_array(value) or is_list(value) then
      write_list(out, value, indent, depth + 1)
    else
      write_map(out, value, indent, depth + 1)
    end
  else
    error("json: a " .. kind .. " cannot be written", 0)
  end
end

--- One line, keys sorted. Raises on what JSON cannot hold (functions, NaN, mixed tables): that is misuse.
--- A table counts as a list when it is marked or holds exactly 1..n; an empty one that is not marked is {}.
---@param value any
---@return string
function M.encode(value)
  local out = {}
  write(out, value, nil, 0)
  return table.concat(out)
end

--- The same over several lines, indented by two, without a line end behind: for files people read.
---@param value any
---@return string
function M.encode_pretty(value)
  local out = {}
  write(out, value, "\n", 0)
  return table.concat(out)
end

-- Host values to ours: null fields vanish, null in a list stays as M.null, whole numbers are integers on 5.3 and
-- later, where cjson makes floats of all.
local function settle(value, host_null, depth)
  if depth > MAX_DEPTH then return nil, "nested too deeply" end
  if type(value) == "number" then
    return to_integer and to_integer(value) or value
  end
  if type(value) ~= "table" then return value end
  local length = #value
  for key, item in pairs(value) do
    if item == host_null then
      -- Assigning nil or another value to a field that exists is allowed while traversing.
      if type(key) == "number" then value[key] = M.null else value[key] = nil end
    elseif type(item) == "table" or type(item) == "number" then
      local settled, reason = settle(item, host_null, depth + 1)
      if reason then return nil, reason end
      value[key] = settled
    end
  end
  if length > 0 then
    if getmetatable(value) == nil then setmetatable(value, array_metatable) end
  elseif getmetatable(value) ~= nil then
    setmetatable(value, nil)   -- Neovim marks empty objects
  end
  return value
end

local reader

-- Chosen at the first use: loading this module needs neither.
local function choose()
  local found, cjson = pcall(require, "cjson.safe")
  if found then
    local own = cjson.new()
    if own.decode_max_depth then own.decode_max_depth(MAX_DEPTH) end
    return function(text) return own.decode(text) end, cjson.null
  end
  local vim = _G.vim
  if type(vim) == "table" and vim.json then
    return function(text)
      local ok, value = pcall(vim.json.decode, text)
      if ok then return value end
      return nil, value
    end, vim.NIL
  end
  error("no JSON reader: install lua-cjson for this Lua", 0)
end

--- Reads one JSON text.
---@param text string
---@return any value       nil when it is not JSON
---@return string? reason
function M.decode(text)
  if type(text) ~= "string" then error("json.decode: string expected, got " .. type(text), 2) end
  if #text > MAX_TEXT then return nil, "the JSON text is too long" end
  reader = reader or { choose() }
  local value, reason = reader[1](text)
  if value == nil then return nil, "not JSON: " .. tostring(reason) end
  if value == reader[2] then return M.null end
  return settle(value, reader[2], 1)
end

return M
