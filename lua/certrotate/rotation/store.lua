--- Where a journal is kept: a file, or a chain of objects in S3. Both are read whole, appended to durably, and closed;
-- which one is meant stands in the name alone.
local core = require("certrotate.core")
local errors = require("certrotate.errors")
local location = require("certrotate.rotation.s3.location")

local M = {}

---@class certrotate.JournalStore
---@field read fun(self): string?, certrotate.Error?                       the whole text
---@field append fun(self, text: string): boolean?, certrotate.Error?      durable when it returns
---@field truncate fun(self, size: integer): boolean?, certrotate.Error?   a torn last line is cut off
---@field compact? fun(self): boolean?, certrotate.Error?                  a chain becomes one object
---@field close fun(self)

--- Opens one for writing; a file is locked and made where it is missing.
---@param path string
---@param aws? certrotate.Session   for S3
---@return certrotate.JournalStore?
---@return certrotate.Error?
function M.open(path, aws)
  if location.is(path) then return require("certrotate.rotation.s3.segments").open(aws, path) end
  return core.append(path)
end

local function unreadable(message)
  return nil, errors.new({ kind = "input", code = "FileUnreadable", message = "cannot read the journal: " .. message })
end

--- Whether there is one; nil and an error when that cannot be told.
---@param path string
---@param aws? certrotate.Session   for S3
---@return boolean?
---@return certrotate.Error?
function M.exists(path, aws)
  if location.is(path) then
    local store, err = M.open(path, aws)
    if not store then return nil, err end
    local there
    there, err = store:exists()
    store:close()
    return there, err
  end
  local file, why, number = io.open(path, "rb")
  if file then
    file:close()
    return true
  end
  if number == 2 then return false end   -- ENOENT
  return unreadable(why)
end

--- The whole text of one that must be there; locks nothing and makes nothing.
---@param path string
---@param aws? certrotate.Session   for S3
---@return string?
---@return certrotate.Error?
function M.read(path, aws)
  if location.is(path) then
    local store, err = M.open(path, aws)
    if not store then return nil, err end
    local text
    text, err = store:read()
    store:close()
    if text == "" then return unreadable(path .. ": there is none") end
    return text, err
  end
  local file, why = io.open(path, "rb")
  if not file then return unreadable(why) end
  local text = file:read("*a")
  file:close()
  if not text then return unreadable(path .. " is not a file") end
  return text
end

--- Where the locks of a rotation with this journal are, unless somebody says so; nil: in this user's state folder.
---@param path string
---@return string?
---@return certrotate.Error?
function M.locks(path)
  if not location.is(path) then return nil end
  local parsed, err = location.parse(path)
  if not parsed then return nil, err end
  return location.locks(parsed)
end

return M
