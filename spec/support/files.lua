-- Files, folders and shell commands, for specs, benchmarks and what supports them. Plain Lua: nothing built is needed.
local M = {}

--- A word for a POSIX shell.
function M.quote(text) return "'" .. tostring(text):gsub("'", "'\\''") .. "'" end

--- A file's bytes; nil where there is none.
function M.read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("*a")
  file:close()
  return text
end

function M.write(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  assert(file:close())
end

--- Runs a shell command without input. Returns its exit code (128 + n after signal n) and what it printed, errors
--- included.
function M.run(command)
  local pipe = assert(io.popen("{ " .. command .. "\n} 2>&1 </dev/null; echo \"[$?]\""))
  local text = pipe:read("*a")
  pipe:close()
  local said, code = text:match("^(.*)%[(%d+)%]\n$")
  return tonumber(code), said
end

--- What a shell command printed to its standard output, whatever its exit code.
function M.shell(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

--- Whether a program is there.
function M.has(program) return M.run("command -v " .. program) == 0 end

--- A new folder; whoever asked for it removes it.
function M.directory()
  return (M.shell("mktemp -d"):gsub("%s+$", ""))
end

function M.remove(directory)
  assert(directory:match("^/tmp/") or directory:match("/tmp"), "not a temporary folder: " .. directory)
  os.execute("rm -rf " .. M.quote(directory))
end

return M
