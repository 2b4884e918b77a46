--- A folder for one spec's files, programs run aside, and where the module under test lies.
local files = require("spec.support.files")

local M = { quote = files.quote, read = files.read, write = files.write, directory = files.directory,
            remove = files.remove, run = files.run, has = files.has }

function M.pid()
  return assert(M.read("/proc/self/stat"):match("^%d+"))
end

--- Path of the C module that this interpreter loads.
function M.module_path()
  for template in package.cpath:gmatch("[^;]+") do
    local path = template:gsub("%?", "certrotate/core")
    local file = io.open(path, "rb")
    if file then
      file:close()
      return path
    end
  end
  error("certrotate/core.so is not on package.cpath: " .. package.cpath)
end

--- The interpreter that runs this.
function M.interpreter()
  return _VERSION == "Lua 5.1" and (rawget(_G, "jit") and "luajit" or "lua5.1") or "lua" .. _VERSION:match("%d.%d")
end

--- Runs a Lua text in a process of its own, with the same search paths; `before` goes in front on the command line.
function M.lua(text, before, interpreter)
  local path = os.tmpname()
  M.write(path, ("package.path = %q\npackage.cpath = %q\n"):format(package.path, package.cpath) .. text)
  local code, said = M.run((before or "") .. " " .. (interpreter or M.interpreter()) .. " " .. path)
  os.remove(path)
  return code, said
end

return M
