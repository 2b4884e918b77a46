--- A list of durable entries, one JSON object a line, that only grows: which journals a reconcile began, which lineages
-- a deploy hook brought. Open it is locked, so it also excludes a second reconcile.
local core = require("certrotate.core")
local json = require("certrotate.json")

local M = {}

---@class certrotate.Ledger
---@field path string
---@field entries table[]
local Ledger = {}
Ledger.__index = Ledger

-- Lines that are no objects are left out: a last one torn by a kill, or one somebody edited.
local function parse(text)
  local entries, good = {}, 0
  for line, stop in text:gmatch("([^\n]*)\n()") do
    local entry = json.decode(line)
    if type(entry) == "table" then entries[#entries + 1] = entry end
    good = stop - 1
  end
  return entries, good
end

--- What is in it; nothing when it is not there. Takes no lock.
---@param path string
---@return table[] entries
function M.read(path)
  local file = io.open(path, "rb")
  if not file then return {} end
  local text = file:read("*a")
  file:close()
  return (parse(text or ""))
end

--- Opens it to add to it. `Locked` while somebody else has it open.
---@param path string
---@return certrotate.Ledger?
---@return certrotate.Error?
function M.open(path)
  local file, err = core.append(path)
  if not file then return nil, err end
  local text
  text, err = file:read()
  local ok = text ~= nil
  local entries, good
  if ok then
    entries, good = parse(text)
    if good < #text then ok, err = file:truncate(good) end
  end
  if not ok then
    file:close()
    return nil, err
  end
  return setmetatable({ path = path, entries = entries, _file = file }, Ledger)
end

--- On the disk when it returns.
---@param entry table
---@return boolean? ok
---@return certrotate.Error?
function Ledger:append(entry)
  local ok, err = self._file:append(json.encode(entry) .. "\n")
  if not ok then return nil, err end
  self.entries[#self.entries + 1] = entry
  return true
end

function Ledger:close()
  if self._file then self._file:close() end
  self._file = nil
end

return M
