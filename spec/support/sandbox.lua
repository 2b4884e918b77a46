--- A folder for one spec's files, programs run aside, and where the module under test lies.
local M = {}

function M.quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

local function slurp(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("*a")
  file:close()
  return text
end
M.slurp = slurp

function M.spill(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

--- A new folder; remove it with M.remove when the spec is done.
function M.folder()
  local pipe = assert(io.popen("mktemp -d"))
  local path = pipe:read("*l")
  pipe:close()
  return assert(path, "mktemp failed")
end

function M.remove(folder)
  assert(folder:match("^/.+/.+"), "not a temporary folder: " .. folder)
  os.execute("rm -rf " .. M.quote(folder))
end

--- Runs a shell command. Returns its exit code (128 + n after signal n) and what it printed, errors included.
function M.run(command)
  local pipe = assert(io.popen("{ " .. command .. "\n} 2>&1 </dev/null; echo \"[$?]\""))
  local text = pipe:read("*a")
  pipe:close()
  local said, code = text:match("^(.*)%[(%d+)%]\n$")
  return tonumber(code), said
end

--- Whether a program is there.
function M.has(program)
  return (M.run("command -v " .. program))  == 0
end

function M.pid()
  return assert(slurp("/proc/self/stat"):match("^%d+"))
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
  M.spill(path, ("package.path = %q\npackage.cpath = %q\n"):format(package.path, package.cpath) .. text)
  local code, said = M.run((before or "") .. " " .. (interpreter or M.interpreter()) .. " " .. path)
  os.remove(path)
  return code, said
end

return M
