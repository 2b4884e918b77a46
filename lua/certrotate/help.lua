--- help(x): what a thing is and can do. It is read from the annotations beside the code, which are the one place where
--- that is written; asking reads those files, loading this does not.
--
--   help()                    where to begin
--   help(certrotate)          a module: its functions
--   help(aws)                 a session, a plan, a holder, an identity, …: what it has and what it can do
--   help(aws.plan)            a function: what it takes and returns
--   help(err)                 an error: what it means
local core = require("certrotate.core")
local errors = require("certrotate.errors")

local M = {}

-- Where classes are declared that are met before the file which uses them was loaded.
local DECLARED = { "session", "rotation.plan", "rotation.check", "rotation.policy", "rotation.inventory", "rotation.run",
                   "rotation.retire", "rotation.journal", "rotation.cost", "rotation.quota.status", "report.progress",
                   "credentials.role", "steps", "errors", "task", "core" }

local folder = (debug.getinfo(1, "S").source:match("^@(.*)help%.lua$") or "")

local function path_of(name)
  if name == "core" then return { folder .. "core.meta.lua" } end
  local base = folder .. name:gsub("%.", "/")
  return { base .. ".lua", base .. "/init.lua" }
end

---@class certrotate.HelpEntry
---@field name string        "connect", ":plan"
---@field arguments string   "(options)"
---@field class? string      whose method it is
---@field line integer
---@field text string[]
---@field params string[][]  name, type, remark
---@field returns string[]

---@class certrotate.HelpFile
---@field functions certrotate.HelpEntry[]
---@field classes table<string, { text: string[], fields: string[][], parent?: string }>
---@field text string[]      what stands at its beginning

local function blank() return { text = {}, params = {}, returns = {}, fields = {} } end

-- "fun(a: string): integer   why": types may hold spaces, a remark is set apart by two of them.
local function split_type(text)
  local kind, remark = text:match("^(.-)%s%s+(.*)$")
  return kind or text, remark or ""
end

local function annotate(block, line, classes)
  local class = line:match("^%-%-%-@class (%S+)")
  local name, rest = line:match("^%-%-%-@field (%S+)%s+(.*)$")
  if class then
    local parent = line:match("^%-%-%-@class %S-:%s*(%S+)") or line:match("^%-%-%-@class %S+ ?:%s*(%S+)")
    class = class:gsub(":$", "")
    local _, remark = split_type(line:gsub("^%-%-%-@class ", ""))
    block.class_name = class
    block.class = { text = block.text, fields = {}, parent = parent, remark = remark }
    classes[class] = block.class
  elseif name then
    local kind, remark = split_type(rest)
    if block.class then table.insert(block.class.fields, { name, kind, remark }) end
  elseif line:find("^%-%-%-@param") then
    name, rest = line:match("^%-%-%-@param (%S+)%s+(.*)$")
    local kind, remark = split_type(rest or "any")
    table.insert(block.params, { name or "?", kind, remark })
  elseif line:find("^%-%-%-@return") then
    table.insert(block.returns, (line:gsub("^%-%-%-@return ", "")))
  elseif not line:find("^%-%-%-@") then
    local text = line:gsub("^%-%-%-? ?", "")
    local last = block.class and block.class.fields[#block.class.fields]
    if last then
      last[3] = last[3] .. " " .. text:gsub("^%s+", "")
    else
      table.insert(block.text, text)
    end
  end
end

-- Annotations and what they stand above. Pure.
---@param text string
---@return certrotate.HelpFile
function M.parse(text)
  local file, block, number = { functions = {}, classes = {}, text = {} }, nil, 0
  local classes = {}   -- by the name of the local below their annotation
  for line in (text .. "\n"):gmatch("(.-)\r?\n") do
    number = number + 1
    local owner, separator, name, arguments = line:match("^function ([%w_]+)([.:])([%w_]+)(%b())")
    local variable = line:match("^local ([%w_]+) = ")
    if variable and block and block.class_name then classes[variable] = block.class_name end
    if not name then
      separator, name, arguments = line:match("^[%w_]+([.])([%w_]+) = [%w_.]+()")
      if name then arguments = nil end
      if name and not name:find("%l") then name = nil end   -- a constant
    end
    -- In a class's file the first comment is the file's own.
    if line:find("^%-%-%-") or block and line:find("^%-%-") then
      block = block or blank()
      annotate(block, line, file.classes)
    elseif name then
      block = block or blank()
      file.functions[#file.functions + 1] = {
        name = name, class = classes[owner], method = separator == ":", arguments = arguments or "(…)", line = number,
        text = block.text,
        params = block.params, returns = block.returns, documented = #block.text > 0 or #block.returns > 0,
      }
      block = nil
    else
      if block and #file.functions == 0 and #file.text == 0 and not block.class then file.text = block.text end
      block = nil
    end
  end
  return file
end

local read = {}   -- by path

local function load_file(path)
  if read[path] then return read[path] end
  local file = io.open(path, "rb")
  local text = file and file:read("*a")
  if file then file:close() end
  if not text then return nil end
  read[path] = M.parse(text)
  return read[path]
end

local function source_of(fn)
  local info = debug.getinfo(fn, "S")
  return info.source:match("^@(.*)$"), info.linedefined
end

local function entry_of(fn)
  local path, line = source_of(fn)
  local file = path and load_file(path)
  for _, entry in ipairs(file and file.functions or {}) do
    if entry.line == line then return entry, file end
  end
  return nil
end

local function class_of(name)
  for _, module in ipairs(DECLARED) do
    for _, path in ipairs(path_of(module)) do
      local file = load_file(path)
      if file and file.classes[name] then return file.classes[name], file end
    end
  end
  return nil
end

local function named(path, name)
  local file = load_file(folder .. path)
  for _, entry in ipairs(file and file.functions or {}) do
    if entry.name == name and not entry.method then return entry, file end
  end
  return nil
end

-- What C functions are is written in core.meta.lua.
local function in_core(name) return named("core.meta.lua", name) end

local function sentence(text) return (table.concat(text, " "):match("^(.-%.)%s") or table.concat(text, " ")) end

local function fields_text(out, fields)
  for _, field in ipairs(fields) do
    if field[1]:sub(1, 1) ~= "_" then
      out(("  %-22s %s%s"):format(field[1], field[2], field[3] ~= "" and "  -- " .. field[3] or ""))
    end
  end
end

-- The classes of tables of options, field by field, those of the class they are built on, too.
local function options_text(out, entry)
  for _, param in ipairs(entry.params) do
    local name = param[2]:match("^(certrotate%.[%w_.]*Options)") or param[2]:match("^(certrotate%.SignRequest)")
    while name do
      local class = class_of(name)
      if not class then break end
      out("")
      out(name .. (class.remark ~= "" and ": " .. class.remark or ":"))
      fields_text(out, class.fields)
      name = class.parent
    end
  end
end

local function function_text(out, entry)
  out((entry.method and ":" or "") .. entry.name .. entry.arguments)
  for _, line in ipairs(entry.text) do out("  " .. line) end
  for _, param in ipairs(entry.params) do
    out(("  takes    %s: %s%s"):format(param[1], param[2], param[3] ~= "" and "  -- " .. param[3] or ""))
  end
  for _, result in ipairs(entry.returns) do out("  returns  " .. result) end
  options_text(out, entry)
end

local function list_functions(out, entries)
  for _, entry in ipairs(entries) do
    out(("  %s%s%s"):format(entry.method and ":" or "", entry.name, entry.arguments))
    if #entry.text > 0 then out("      " .. sentence(entry.text)) end
  end
end

local function service_text(out, service)
  local services = require("certrotate.services")
  local names = {}
  for name, value in pairs(getmetatable(service)) do
    local operation = type(value) == "function" and services.operation_of(value)
    if operation then names[#names + 1] = { name, operation.what } end
  end
  table.sort(names, function(a, b) return a[1] < b[1] end)
  out("One function an operation; parameters and results keep AWS's own spelling. Failures are nil, err.")
  for _, pair in ipairs(names) do out(("  :%-42s %s"):format(pair[1], pair[2])) end
end

local function operation_text(out, operation)
  out(("aws.%s:%s { … }"):format(operation.service, operation.name))
  out("  " .. operation.what .. ". Parameters and results keep AWS's own spelling.")
  for _, known in ipairs(core.operations()) do
    if known.name == operation.what and known.required and #known.required > 0 then
      out("  needs    " .. table.concat(known.required, ", "))
    end
  end
  out("  returns  the answer, as AWS names its parts; or nil, err")
end

local function error_text(out, err)
  out(tostring(err))
  local class = class_of("certrotate.Error")
  for _, field in ipairs(class and class.fields or {}) do
    local name = field[1]:gsub("%?$", "")
    local value = err[name]
    if value ~= nil and type(value) ~= "table" then
      out(("  %-11s %s%s"):format(name, tostring(value), field[3] ~= "" and "  -- " .. field[3] or ""))
    end
  end
end

-- An object: what its class declares, and the functions its metatable finds.
local function object_text(out, value, metatable)
  local name = metatable.__name
  out(tostring(value):match("^[^\n]*"))
  local class, file = class_of(name)
  if class then
    if #class.fields > 0 then
      out("It has")
      fields_text(out, class.fields)
    end
    local methods = {}
    for _, entry in ipairs(file.functions) do
      local there = name == "certrotate.Steps" or entry.method and (entry.class or name) == name
      local ok, fn = pcall(function() return value[entry.name] end)
      if there and ok and type(fn) == "function" and not entry.name:find("^__") then methods[#methods + 1] = entry end
    end
    if #methods > 0 then
      out("It can")
      list_functions(out, methods)
    end
  end
end

-- A table of functions: what the files say they were defined in say of them.
local function module_text(out, value)
  local entries, file = {}, nil
  for name, fn in pairs(value) do
    if type(fn) == "function" then
      local entry, where = entry_of(fn)
      if not entry then entry, where = in_core(name) end
      if entry and entry.documented then
        entries[#entries + 1] = setmetatable({ name = name }, { __index = entry })
        file = file or where
      end
    end
  end
  table.sort(entries, function(a, b) return a.name < b.name end)
  if value == package.loaded.certrotate then file = load_file(folder .. "init.lua") end
  if file then
    for _, line in ipairs(file.text) do out(line) end
  end
  list_functions(out, entries)
  if value == package.loaded.certrotate then
    out("  .policy .task .core .fmt .json .errors")
    out("      Its parts: help(certrotate.policy), …")
  end
  return #entries > 0
end

local function callable_text(out, fn)
  local operation = require("certrotate.services").operation_of(fn)
  if operation then return operation_text(out, operation) end
  local step = require("certrotate.steps").name_of(fn)
  local entry = step and named("steps.lua", step) or not step and entry_of(fn) or nil
  for name, value in pairs(core) do
    if value == fn then entry = in_core(name) end
  end
  if not entry then return out("a function of which nothing is written") end
  function_text(out, entry)
end

local BEGIN = [[
certrotate replaces a TLS certificate on every CloudFront distribution that uses it.

  aws = certrotate.connect { profile = "prod" }        an account; sends nothing yet
  inventory = aws:inventory()                          what there is, when it ends, who uses it
  new = certrotate.identity { certificate = "new.pem", private_key = "new.key" }
  plan = aws:plan { replace = "REFERENCE", with = new }   changes nothing; print it and read it
  report = plan:run { journal = "www.journal" }        does it

Failures are nil, err: `x = f()` drops the error, `x, err = f()` keeps it, and `=err` is one line that says what to do.
In a program certrotate.must(f()) raises it. help(x) tells more of anything above.]]

--- What a thing is and can do, as text.
---@param ... any   one value; none: where to begin
---@return string
function M.text(...)
  local lines = {}
  local function out(text) lines[#lines + 1] = text end
  local value = ...
  if select("#", ...) == 0 then return BEGIN end
  local metatable = getmetatable(value)
  if type(metatable) ~= "table" then metatable = nil end
  local kind = type(value)
  if errors.is(value) then
    error_text(out, value)
  elseif kind == "function" then
    callable_text(out, value)
  elseif metatable and metatable.__name == "certrotate.Service" then
    out(tostring(value))
    service_text(out, value)
  elseif kind == "table" and (value == package.loaded.certrotate or not metatable) and module_text(out, value) then
    return table.concat(lines, "\n")
  elseif metatable and type(metatable.__name) == "string" and metatable.__name:find("^certrotate") then
    object_text(out, value, metatable)
  elseif kind == "nil" then
    out("nil: a call that failed returned it, and an error beside it. Call again with a name for both, and look at it:")
    out("  x, err = certrotate.connect { profile = \"prod\" }")
    out("  =err")
  else
    out(("%s: help() says where to begin"):format(tostring(value)))
  end
  return table.concat(lines, "\n")
end

return M
