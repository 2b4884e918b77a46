--- Error values made in Lua. The C module makes the same kind, with the same metatable.
--
-- Failures travel as `nil, err`; misuse raises a string that names the argument. An error is a plain table,
-- one line of `message` that says what to do, never a secret in it.
local core = require("certrotate.core")

local M = {}

--- Kinds beside those of the C module (see certrotate.Error in core.meta.lua):
--- "internal": a function that ran inside a task raised; `traceback` says where.
---@class certrotate.ErrorFields
---@field kind string
---@field code string
---@field message string
---@field operation? string
---@field status? integer
---@field request_id? string
---@field retryable? boolean   default false
---@field ambiguous? boolean   default false
---@field cause? certrotate.Error
---@field traceback? string
---@field facts? table

-- Line ends and control bytes would break the promise of one line.
local function one_line(text)
  return (text:gsub("[%z\1-\31\127]+", " "))
end

--- Makes an error value from its fields (the table itself becomes the value).
---@param fields certrotate.ErrorFields
---@return certrotate.Error
function M.new(fields)
  if type(fields) ~= "table" then error("errors.new: a table of fields expected, got " .. type(fields), 2) end
  for _, name in ipairs({ "kind", "code", "message" }) do
    if type(fields[name]) ~= "string" then
      error(("errors.new: field '%s': string expected, got %s"):format(name, type(fields[name])), 2)
    end
  end
  fields.message = one_line(fields.message)
  if fields.retryable == nil then fields.retryable = false end
  if fields.ambiguous == nil then fields.ambiguous = false end
  return setmetatable(fields, core.error_metatable)
end

--- Whether a value is an error value, from C or from Lua.
---@param value any
---@return boolean
function M.is(value)
  return type(value) == "table" and getmetatable(value) == core.error_metatable
end

local INHERITED = { "kind", "code", "operation", "status", "request_id", "retryable", "ambiguous", "facts" }

--- An error that says in which situation another one happened. Everything a program looks at stays as the cause
--- has it unless `fields` says otherwise; the message becomes "<fields.message>: <cause's message>".
---@param cause certrotate.Error
---@param fields { message: string, kind?: string, code?: string, operation?: string, retryable?: boolean }
---@return certrotate.Error
function M.wrap(cause, fields)
  if not M.is(cause) then error("errors.wrap: an error value expected, got " .. type(cause), 2) end
  if type(fields) ~= "table" or type(fields.message) ~= "string" then
    error("errors.wrap: field 'message': string expected", 2)
  end
  local wrapped = { cause = cause }
  for _, name in ipairs(INHERITED) do wrapped[name] = cause[name] end
  for name, value in pairs(fields) do wrapped[name] = value end
  wrapped.message = fields.message .. ": " .. cause.message
  return M.new(wrapped)
end

--- The innermost cause: what AWS or the network said first.
---@param err certrotate.Error
---@return certrotate.Error
function M.root(err)
  while M.is(err.cause) do err = err.cause end
  return err
end

--- For scripts that want to stop at the first failure: hands its arguments on, or raises the error's one line.
--- (Plain `assert` would raise the table, which hosts print badly.)
---@generic T
---@param value T?
---@param err? certrotate.Error|string
---@return T
function M.must(value, err, ...)
  if value == nil or (value == false and err ~= nil) then
    error(err == nil and "the call returned nil" or tostring(err), 2)
  end
  return value, err, ...
end

return M
