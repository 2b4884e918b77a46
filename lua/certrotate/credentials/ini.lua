--- Reads the text of AWS's configuration files: sections, `key = value`, sub-properties on indented lines. Pure.
--
-- As strict as the AWS CLI: a line that is none of these, or something that is there twice, is an error that
-- names the file and the line, never the line's text (it may be a secret).
local errors = require("certrotate.errors")

local M = {}

--- A file of this kind that is longer is some other file.
M.MAX_BYTES = 1024 * 1024

---@class certrotate.Ini
---@field sections table<string, table<string, string|table<string,string>>>  by header as written, without blanks around
---@field order string[]                 headers in the file's order
---@field lines table<string, integer>   where each header is

local function malformed(name, line, what)
  return nil, errors.new({ kind = "input", code = "MalformedConfig", message = ("%s:%d: %s"):format(name, line, what) })
end

local function trim(text) return text:match("^%s*(.-)%s*$") end

-- The earliest of = and : ends the key, as in the CLI.
local function key_value(text)
  local key, value = text:match("^([^=:]-)%s*[=:]%s*(.*)$")
  if not key then return nil end
  return key:lower(), value
end

-- "[header]", perhaps with a comment behind. The header may hold brackets inside quotes.
local function header_of(text)
  local inside, rest = text:match("^%[(.*)%]%s*(.-)$")
  while inside and rest ~= "" and not rest:find("^[#;]") do
    -- The last bracket belonged to a comment.
    inside, rest = inside:match("^(.*)%]%s*(.-)$")
  end
  if not inside or not rest then return nil end
  local comment = inside:find("%]%s*[#;]")
  if comment then inside = inside:sub(1, comment - 1) end
  return trim(inside)
end

local Parser = {}
Parser.__index = Parser

function Parser:section(line, text)
  local header = header_of(text)
  if not header then return malformed(self.name, line, "a section's header must end with ']'") end
  if header == "" then return malformed(self.name, line, "a section without a name") end
  if self.result.sections[header] then
    return malformed(self.name, line, ("section [%s] is there twice (first on line %d); merge them"):format(
      header, self.result.lines[header]))
  end
  self.current, self.key = {}, nil
  self.result.sections[header], self.result.lines[header] = self.current, line
  self.result.order[#self.result.order + 1] = header
  return true
end

function Parser:property(line, text, indent)
  local key, value = key_value(text)
  if not key then return malformed(self.name, line, "expected 'key = value' or '[section]'") end
  if key == "" then return malformed(self.name, line, "a value without a key") end
  if not self.current then return malformed(self.name, line, "a key before the first [section]") end
  if self.current[key] ~= nil then return malformed(self.name, line, ("key '%s' is there twice in its section"):format(key)) end
  self.current[key], self.key, self.indent = value, key, indent
  return true
end

-- A line indented more than the key above it: a sub-property when the key has no value of its own, else more of its value.
function Parser:continuation(line, text)
  local value = self.current[self.key]
  if value == "" or type(value) == "table" then
    local key, sub = key_value(text)
    if not key or key == "" then
      return malformed(self.name, line, ("expected an indented 'key = value' below '%s ='"):format(self.key))
    end
    if value == "" then
      value = {}
      self.current[self.key] = value
    end
    if value[key] ~= nil then return malformed(self.name, line, ("key '%s' is there twice below '%s'"):format(key, self.key)) end
    value[key] = sub
  else
    self.current[self.key] = value .. "\n" .. text
  end
  return true
end

--- Parses a whole text. `name` is the file's, for messages.
---@param text string
---@param name string
---@return certrotate.Ini?
---@return certrotate.Error?
function M.parse(text, name)
  if #text > M.MAX_BYTES then
    return malformed(name, 1, "longer than any configuration file; is this the right one?")
  end
  local parser = setmetatable({ name = name, result = { sections = {}, order = {}, lines = {} } }, Parser)
  local line = 0
  text = text:gsub("^\239\187\191", "")
  for raw in (text .. "\n"):gmatch("(.-)\r?\n") do
    line = line + 1
    if raw:find("%z") then return malformed(name, line, "not a text file") end
    local content = trim(raw)
    local indent = #raw:match("^%s*")
    if content ~= "" and not content:find("^[#;]") then
      local ok, err
      if parser.key and indent > parser.indent then
        ok, err = parser:continuation(line, content)
      elseif content:find("^%[") then
        ok, err = parser:section(line, content)
      else
        ok, err = parser:property(line, content, indent)
      end
      if not ok then return nil, err end
    end
  end
  return parser.result
end

--- Splits a header into words as a shell would: blanks separate, quotes keep together. nil: a quote is not closed.
---@param header string
---@return string[]? words
function M.words(header)
  local words, at = {}, 1
  while true do
    at = header:find("%S", at)
    if not at then return words end
    local word = ""
    while at <= #header and not header:find("^%s", at) do
      local quote = header:match("^[\"']", at)
      if quote then
        local close = header:find(quote, at + 1, true)
        if not close then return nil end
        word, at = word .. header:sub(at + 1, close - 1), close + 1
      else
        local plain = header:match("^[^%s\"']+", at)
        word, at = word .. plain, at + #plain
      end
    end
    words[#words + 1] = word
  end
end

return M
