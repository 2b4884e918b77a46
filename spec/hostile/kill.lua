-- SIGKILL at every boundary of a rotation: before and after each request's effect, before, in the middle of and after
-- each write of the journal. Then one command ends it: `resume`, or `rollback`.
local rules = require("spec.hostile.rules")

local M = {}

local cli = require("certrotate.cli")

local function has_command(name)
  for _, each in ipairs(cli.commands) do
    if each == name then return true end
  end
  return false
end

local function has_flag(name)
  local file = assert(io.open("lua/certrotate/cli/plan.lua", "r"))
  local text = file:read("*a")
  file:close()
  return text:find('"' .. name, 1, true) ~= nil
end

--- The ways there are to rotate and to end: what the command does not offer is left out.
---@return { store: string, method: string, ending: string }[]
function M.kinds()
  local kinds = {}
  local methods = has_flag("--method") and { "swap", "reimport" } or { "swap" }
  local endings = has_command("rollback") and { "resume", "rollback" } or { "resume" }
  for _, method in ipairs(methods) do
    for _, store in ipairs(method == "reimport" and { "acm" } or { "acm", "iam" }) do
      for _, ending in ipairs(endings) do kinds[#kinds + 1] = { store = store, method = method, ending = ending } end
    end
  end
  return kinds
end

local function words_of(world, kind)
  local more = { "--policy", "cheapest", "--parallel", "1", "--poll", "60ms" }
  if has_flag("--method") then
    more[#more + 1], more[#more + 2] = "--method", kind.method
  end
  return world:apply_words(more)
end

local function fresh(world, kind)
  world:reset({ distributions = 5, users = 3, vip = 1, store = kind.store, seed = 5 })
end

--- How many requests and journal writes an undisturbed rotation of this kind has.
---@return { requests: integer, writes: integer }
function M.measure(world, kind)
  fresh(world, kind)
  local done = world:run(words_of(world, kind))
  assert(done.rc == 0, done.text)
  local writes = 0
  for _ in io.lines(world.journal) do writes = writes + 1 end
  return { requests = world:control("record").count, writes = writes }
end

--- Every boundary of such a rotation, in order.
---@param size { requests: integer, writes: integer }
---@return { what: "request"|"write", moment: string, number: integer }[]
function M.boundaries(size)
  local list = {}
  for number = 1, size.requests do
    for _, moment in ipairs({ "before", "after" }) do
      list[#list + 1] = { what = "request", moment = moment, number = number }
    end
  end
  for number = 1, size.writes do
    for _, moment in ipairs({ "before", "torn", "after" }) do
      list[#list + 1] = { what = "write", moment = moment, number = number }
    end
  end
  return list
end

-- Runs the rotation into its boundary. Returns whether it was killed there.
local function run_into(world, kind, boundary)
  local words = words_of(world, kind)
  if boundary.what == "write" then
    local done = world:finish(world:launch(words, ("%s %d"):format(boundary.moment, boundary.number)))
    return done.rc ~= 0
  end
  -- The request is held, before or after its effect, until the process is dead.
  world:control("faults", { kind = "hang", seconds = 30, when = boundary.moment, skip = boundary.number - 1, count = 1 })
  local id = world:launch(words)
  while world:running(id) do
    if world:control("faults").rules[1].fired == 1 then
      world:kill(id)
      world:control("faults", { clear = true })
      return true
    end
  end
  world:finish(id)
  world:control("faults", { clear = true })
  return false
end

local endings = {}

function endings.resume(world, kind)
  -- Before the journal existed nothing was begun: the same command again.
  return world:run(world:begun() and { "resume", world.journal, "--poll", "60ms" } or words_of(world, kind))
end

function endings.rollback(world)
  if not world:begun() then return { rc = 0 } end
  return world:run({ "rollback", world.journal, "--yes", "--poll", "60ms" })
end

--- One case: killed at a boundary, ended by a command.
---@return boolean killed
---@return string[] broken   what is wrong
function M.case(world, kind, boundary)
  fresh(world, kind)
  local killed = run_into(world, kind, boundary)
  local done = endings[kind.ending](world, kind)
  world:look_at_all()
  local back = kind.ending == "rollback"
  local broken = rules.broken(world, { report = done.report, back = back, reimport = kind.method == "reimport" })
  -- What was rolled back before anything was changed is nothing to do.
  if done.rc ~= 0 and not (back and done.rc == 3) then
    table.insert(broken, 1, ("%s ended with %s: %s"):format(kind.ending, tostring(done.rc or done.signal), done.text))
  end
  return killed, broken
end

return M
