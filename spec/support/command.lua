-- Runs the command line as a process of its own, with the interpreter the specs run under.
local files = require("spec.support.files")

local M = { quote = files.quote, read = files.read, write = files.write, shell = files.shell,
            directory = files.directory, remove = files.remove }

local quote = M.quote

local interpreter
--- Path of the Lua that runs this.
function M.interpreter()
  if not interpreter then interpreter = M.shell("readlink /proc/$PPID/exe"):gsub("%s+$", "") end
  return interpreter
end

local function line_of(argv, options)
  local parts = { "env -u AWS_PROFILE -u AWS_REGION -u AWS_CA_BUNDLE" }
  local environment = { LUA_PATH = package.path, LUA_CPATH = package.cpath, AWS_CONFIG_FILE = "/nonexistent",
                        AWS_SHARED_CREDENTIALS_FILE = "/nonexistent", AWS_EC2_METADATA_DISABLED = "true" }
  for name, value in pairs(options.environment or {}) do environment[name] = value end
  for name, value in pairs(environment) do parts[#parts + 1] = name .. "=" .. quote(value) end
  parts[#parts + 1] = "timeout -s KILL " .. (options.timeout or 120)
  parts[#parts + 1] = quote(M.interpreter()) .. " spec/support/certrotate.lua"
  for _, word in ipairs(argv) do parts[#parts + 1] = quote(word) end
  return table.concat(parts, " ")
end

--- Runs to the end. Returns exit code, stdout, stderr.
---@param argv string[]
---@param options? { environment?: table<string,string>, timeout?: integer }
function M.run(argv, options)
  local out, err = os.tmpname(), os.tmpname()
  local code = M.shell(("%s >%s 2>%s </dev/null; echo $?"):format(line_of(argv, options or {}), out, err))
  local stdout, stderr = M.read(out), M.read(err)
  os.remove(out)
  os.remove(err)
  return tonumber(code), stdout, stderr
end

--- Starts it in the background. `pid` is the process itself, so that it can be killed.
---@return { pid: integer, wait: fun(seconds: number): integer?, output: fun(): string, close: fun() }
function M.start(argv, options)
  local core = require("certrotate.core")
  local base = os.tmpname()
  local script = base .. ".sh"
  -- The shell becomes the program (exec), so the pid it noted stays right; its parent notes how it ended.
  local line = line_of(argv, options or {}):gsub("timeout %-s KILL %d+ ", "", 1)
  M.write(script, ("echo $$ >%s.pid.part; mv %s.pid.part %s.pid\nexec %s\n"):format(base, base, base, line))
  os.execute(("(sh %s >%s.out 2>&1 </dev/null; echo $? >%s.rc.part; mv %s.rc.part %s.rc) >/dev/null 2>&1 &"):format(
    script, base, base, base, base))
  local client = assert(core.client())
  -- Polls for a file without a busy loop; false when it does not come.
  local function await(path, seconds)
    local deadline = core.monotonic() + seconds
    while true do
      local text = M.read(path)
      if text and text ~= "" then return text end
      if core.monotonic() >= deadline then return nil end
      client:wait(0.01)
    end
  end
  local pid = assert(tonumber(await(base .. ".pid", 10) or ""), "the process did not start")
  return {
    pid = pid,
    wait = function(seconds) return tonumber(await(base .. ".rc", seconds) or "") end,
    output = function() return M.read(base .. ".out") or "" end,
    close = function()
      client:close()
      for _, ending in ipairs({ "", ".sh", ".pid", ".out", ".rc" }) do os.remove(base .. ending) end
    end,
  }
end

return M
