-- The command, as a process that is to be killed: lua spec/hostile/victim.lua ARGUMENTS
--
-- CERTROTATE_SPEC_KILL="before 3": SIGKILL before the third write of a journal; "after 3"; "torn 3": when half of it is
-- on the disk. Waiting that would take minutes is shortened, in proportion to the simulator's times.
local core = require("certrotate.core")
local reimport = require("certrotate.rotation.run.reimport")
local wave = require("certrotate.rotation.run.wave")

wave.SETTLE_TIMEOUT, wave.VERIFY_WITHIN, reimport.WITHIN = 5, 10, 10

local patience = { import = { "patience", 3 }, reimport = { "patience", 3 },
                   swap = { "settle_patience", 6 }, retire = { "patience", 4 } }
local Loop = getmetatable(require("certrotate.task").loop({ client = assert(core.client()) })).__index
local await = Loop.await
function Loop:await(waitable, ...)
  local shorter = type(waitable) == "table" and patience[waitable.step]
  if shorter and waitable.params then waitable.params[shorter[1]] = shorter[2] end
  return await(self, waitable, ...)
end

-- The shell's parent is this process.
local function die() os.execute("kill -KILL $PPID") end

local moment, number = (os.getenv("CERTROTATE_SPEC_KILL") or ""):match("^(%a+) (%d+)$")
number = tonumber(number)

local written = 0
local function append(file, text)
  written = written + 1
  if written ~= number then return file:append(text) end
  if moment == "before" then die() end
  if moment == "torn" then
    file:append(text:sub(1, math.floor(#text / 2)))
    die()
  end
  local ok, err = file:append(text)
  die()
  return ok, err
end

local open = core.append
function core.append(path)
  local file, err = open(path)
  if not file or not number then return file, err end
  return {
    append = function(_, text) return append(file, text) end,
    read = function() return file:read() end,
    truncate = function(_, size) return file:truncate(size) end,
    close = function() return file:close() end,
  }
end

os.exit(require("certrotate.cli").main(arg), true)
