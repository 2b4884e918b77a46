-- A strict, bounded XML 1.0 reader with namespaces and byte positions, and a writer. Own code: what the simulated
-- service accepts must not depend on the parser of the client under test. No document type declarations.
local M = {}

M.MAX_DEPTH = 64

---@class certrotate.simulator.Node
---@field name string        local name
---@field uri string         namespace, "" for none
---@field tag string         name as written, prefix included
---@field first integer      position of "<" of the start tag
---@field last integer       position of ">" of the end tag
---@field inner integer      position after the start tag
---@field inner_last integer position before the end tag
---@field text string        character data of this element alone, entities resolved
---@field [integer] certrotate.simulator.Node  child elements

local find, sub, byte = string.find, string.sub, string.byte

local entities = { lt = "<", gt = ">", amp = "&", quot = '"', apos = "'" }

-- Unicode to UTF-8; nil for what XML forbids.
local function utf8_of(code)
  if code < 0x20 and code ~= 9 and code ~= 10 and code ~= 13 or code > 0x10FFFF or code >= 0xD800 and code <= 0xDFFF
    or code == 0xFFFE or code == 0xFFFF then
    return nil
  elseif code < 0x80 then
    return string.char(code)
  elseif code < 0x800 then
    return string.char(0xC0 + math.floor(code / 64), 0x80 + code % 64)
  elseif code < 0x10000 then
    return string.char(0xE0 + math.floor(code / 4096), 0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
  end
  return string.char(0xF0 + math.floor(code / 262144), 0x80 + math.floor(code / 4096) % 64,
    0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
end

-- Resolves entity and character references; nil when one is unknown or malformed.
local function resolve(text)
  if not find(text, "&", 1, true) then
    return text
  end
  local bad
  local out = text:gsub("&([^;&]*)(;?)", function(name, close)
    local number = name:match("^#(%d+)$")
    local hex = name:match("^#x(%x+)$")
    local value = close == ";" and (entities[name] or number and #number < 9 and utf8_of(tonumber(number))
      or hex and #hex < 8 and utf8_of(tonumber(hex, 16)))
    bad = bad or not value
    return value or ""
  end)
  return not bad and out or nil
end

local function fail(position, message)
  return nil, message, position
end

local name_pattern = "^([%a_\128-\255][%w_%.%-\128-\255]*:?[%w_%.%-\128-\255]*)"

-- Attributes from `at` up to the tag's end. Returns the table, and the position of "/>" or ">".
local function read_attributes(text, at)
  local attributes, namespaces
  while true do
    local _, blank = find(text, "^[ \t\r\n]*", at)
    local next_byte = byte(text, blank + 1)
    if next_byte == 62 or next_byte == 47 then -- > /
      return attributes or {}, blank + 1, namespaces
    elseif blank < at then
      return nil, at
    end
    local _, stop, name, quote_mark = find(text, "^([%a_\128-\255][%w_%.%-:\128-\255]*)[ \t\r\n]*=[ \t\r\n]*([\"'])", blank + 1)
    if not stop then
      return nil, blank + 1
    end
    local close = find(text, quote_mark, stop + 1, true)
    local raw = close and sub(text, stop + 1, close - 1)
    local value = raw and not find(raw, "<", 1, true) and resolve(raw)
    attributes = attributes or {}
    if not value or attributes[name] then
      return nil, stop
    end
    attributes[name] = value
    local prefix = name == "xmlns" and "" or name:match("^xmlns:(.+)$")
    if prefix then
      namespaces = namespaces or {}
      namespaces[prefix] = value
    end
    at = close + 1
  end
end

-- Comments, processing instructions and CDATA at a "<". Returns the position after, and CDATA's text if it is one.
local function read_markup(text, at)
  if sub(text, at, at + 3) == "<!--" then
    local _, stop = find(text, "--", at + 4, true)
    if not stop or sub(text, stop + 1, stop + 1) ~= ">" then
      return nil, "comment"
    end
    return stop + 2
  elseif sub(text, at, at + 8) == "<![CDATA[" then
    local start, stop = find(text, "]]>", at + 9, true)
    if not stop then
      return nil, "CDATA section"
    end
    return stop + 1, sub(text, at + 9, start - 1)
  elseif sub(text, at, at + 1) == "<?" then
    local _, stop = find(text, "?>", at + 2, true)
    if not stop or find(text, "^[xX][mM][lL][ \t\r\n?]", at + 2) then
      return nil, "processing instruction"
    end
    return stop + 1
  end
  return nil, "document type declaration or unknown markup"
end

local function lookup(scopes, depth, prefix)
  for level = depth, 1, -1 do
    local uri = scopes[level] and scopes[level][prefix]
    if uri then
      return uri
    end
  end
  return prefix == "" and "" or prefix == "xml" and "http://www.w3.org/XML/1998/namespace" or nil
end

-- Start tag at `at`; pushes a node. Returns the position after it and the node, and whether it is empty (<a/>).
local function open_element(text, at, scopes, depth)
  local _, stop, tag = find(text, name_pattern, at + 1)
  if not stop then
    return fail(at, "malformed start tag")
  end
  local next_byte, namespaces = byte(text, stop + 1), nil
  local finish = stop + 1
  if next_byte ~= 62 then
    local attributes
    attributes, finish, namespaces = read_attributes(text, stop + 1)
    if not attributes then
      return fail(finish, "malformed attribute in <" .. tag .. ">")
    end
    next_byte = byte(text, finish)
  end
  scopes[depth] = namespaces or false
  local prefix, name = tag:match("^([^:]+):(.+)$")
  local uri = lookup(scopes, depth, prefix or "")
  if not uri then
    return fail(at, "unbound prefix in <" .. tag .. ">")
  end
  local empty = next_byte == 47
  if empty then
    finish = finish + 1
    if byte(text, finish) ~= 62 then
      return fail(finish, "malformed start tag <" .. tag .. ">")
    end
  end
  return finish + 1, { name = name or tag, tag = tag, uri = uri, first = at, inner = finish + 1, text = "" }, empty
end

local function close_element(text, at, node)
  local _, stop, tag = find(text, "^</([^%s<>/]+)[ \t\r\n]*>", at)
  if not stop or tag ~= node.tag then
    return fail(at, "end tag does not match <" .. node.tag .. ">")
  end
  node.inner_last, node.last = at - 1, stop
  return stop + 1
end

-- Character data into `pieces` of the innermost element; nil when malformed.
local function character_data(text, first, last, node)
  local raw = sub(text, first, last)
  local value = not find(raw, "]]>", 1, true) and resolve(raw)
  if not value then
    return fail(first, "malformed character data or unknown entity")
  end
  node.text = node.text == "" and value or node.text .. value
  return true
end

-- What may stand before and after the root element.
local function skip_outside(text, at)
  while true do
    local _, blank = find(text, "^[ \t\r\n]*", at)
    at = blank + 1
    if at > #text or not find(text, "^<[!?]", at) then
      return at
    end
    local after, cdata = read_markup(text, at)
    if not after or cdata then
      return nil, "misplaced markup: " .. tostring(cdata)
    end
    at = after
  end
end

local function prolog(text)
  local at = 1
  if sub(text, 1, 3) == "\239\187\191" then
    at = 4
  end
  local _, stop = find(text, "^<%?xml[ \t\r\n][^?]*%?>", at)
  if stop then
    local encoding = text:match("encoding%s*=%s*[\"']([^\"']+)[\"']")
    local declaration = sub(text, at, stop)
    if declaration:find("encoding", 1, true) and encoding and encoding:lower() ~= "utf-8" and encoding:lower() ~= "us-ascii" then
      return nil, "encoding " .. encoding .. " is not supported"
    end
    at = stop + 1
  end
  return skip_outside(text, at)
end

-- One step inside the document element: text up to the next "<", then what stands there.
local function step(text, at, stack, scopes)
  local node = stack[#stack]
  local mark = find(text, "<", at, true)
  if not mark then
    return fail(#text, "<" .. node.tag .. "> is not closed")
  end
  if mark > at then
    local ok, message, position = character_data(text, at, mark - 1, node)
    if not ok then
      return nil, message, position
    end
  end
  local kind = byte(text, mark + 1)
  if kind == 47 then
    local after, message, position = close_element(text, mark, node)
    if after then
      stack[#stack] = nil
    end
    return after, message, position
  elseif kind == 33 or kind == 63 then
    local after, cdata = read_markup(text, mark)
    if not after then
      return fail(mark, "malformed " .. cdata)
    end
    node.text = node.text .. (cdata or "")
    return after
  end
  local after, child, empty = open_element(text, mark, scopes, #stack + 1)
  if not after then
    return after, child, empty
  end
  node[#node + 1] = child
  if empty then
    child.inner_last, child.last = after - 1, after - 1
    child.empty = true
  else
    if #stack >= M.MAX_DEPTH then
      return fail(mark, "elements are nested too deeply")
    end
    stack[#stack + 1] = child
  end
  return after
end

--- Reads a document.
---@param text string
---@return certrotate.simulator.Node? root
---@return string? message
---@return integer? position
function M.parse(text)
  if find(text, "%z") or find(text, "[\1-\8\11\12\14-\31]") then
    return fail(1, "character not allowed in XML")
  end
  local at, message = prolog(text)
  if not at then
    return fail(1, message)
  elseif byte(text, at) ~= 60 then
    return fail(at, "no document element")
  end
  local scopes = {}
  local after, root, empty = open_element(text, at, scopes, 1)
  if not after then
    return after, root, empty
  end
  local position
  if empty then
    root.inner_last, root.last, root.empty = after - 1, after - 1, true
  else
    local stack = { root }
    while #stack > 0 do
      after, message, position = step(text, after, stack, scopes)
      if not after then
        return nil, message, position
      end
    end
  end
  at, message = skip_outside(text, after)
  if not at or at <= #text then
    return fail(at or after, message or "text after the document element")
  end
  return root
end

--- The first child element of that local name.
---@return certrotate.simulator.Node?
function M.child(node, name)
  for index = 1, #node do
    if node[index].name == name then
      return node[index]
    end
  end
end

--- Text of a child, white space around it removed; nil when there is no such child.
---@return string?
function M.value(node, name)
  local found = M.child(node, name)
  return found and (found.text:match("^%s*(.-)%s*$"))
end

local escapes = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["\r"] = "&#13;" }

---@param text string
---@return string
function M.escape(text)
  return (tostring(text):gsub("[&<>\"\r]", escapes))
end

--- `<name>text</name>`
function M.element(name, text)
  return "<" .. name .. ">" .. M.escape(text) .. "</" .. name .. ">"
end

--- The element written anew: local names only, no attributes, no comments, blank text between elements dropped.
--- That is what a service makes of a document that it has understood.
---@param node certrotate.simulator.Node
---@param out string[]
function M.write(node, out)
  out[#out + 1] = "<" .. node.name .. ">"
  if #node > 0 then
    for index = 1, #node do
      M.write(node[index], out)
    end
  elseif node.text ~= "" then
    out[#out + 1] = M.escape(node.text)
  end
  out[#out + 1] = "</" .. node.name .. ">"
end

return M
