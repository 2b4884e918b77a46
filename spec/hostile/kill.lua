-- SIGKILL at every boundary of a rotation: before and after each request's effect, before, in the middle of and after
-- each write of the journal. Then one command ends it: `resume`, or `rollback`. With a journal in S3 its writes and its
-- leases are requests among the others, and another machine makes the end, of which two may try it at once.
local rules = require("spec.hostile.rules")

local M = {}

--- The ways there are to rotate, and to end what was killed.
---@return { store: string, method: string, ending: string, s3: boolean, name: string }[]
function M.kinds()
  local kinds = {}
  for _, way in ipairs({ { "swap", "acm" }, { "swap", "iam" }, { "reimport", "acm" }, { "swap", "acm", "S3" },
                         { "reimport", "acm", "S3" } }) do
    for _, ending in ipairs({ "resume", "rollback" }) do
      kinds[#kinds + 1] = { method = way[1], store = way[2], ending = ending, s3 = way[3] ~= nil,
        name = ("%s of %s%s, then %s"):format(way[1], way[2], way[3] and ", its journal in S3" or "", ending) }
    end
  end
  return kinds
end

local function words_of(world, kind)
  local words = { "--poll", "60ms", "--method", kind.method }
  if kind.method == "swap" then
    for _, word in ipairs({ "--policy", "cheapest", "--parallel", "1" }) do words[#words + 1] = word end
  end
  return world:apply_words(words)
end

local function fresh(world, kind)
  -- Tenants take certificates of ACM only.
  world:reset({ distributions = 5, users = 3, vip = 1, store = kind.store, tenants = kind.store == "acm" and 1 or 0,
                seed = 5 }, kind.s3)
end

--- How many requests and journal writes an undisturbed rotation of this kind has.
---@return { requests: integer, writes: integer }
function M.measure(world, kind)
  fresh(world, kind)
  local done = world:run(words_of(world, kind))
  assert(done.rc == 0, done.text)
  local writes = 0
  if not kind.s3 then
    for _ in io.lines(world.journal) do writes = writes + 1 end
  end
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
  return world:begun() and { "resume", world.journal, "--poll", "60ms" } or words_of(world, kind)
end

function endings.rollback(world, kind)
  if not world:begun() then return nil end
  local words, files = { "rollback", world.journal, "--yes", "--poll", "60ms" }, world.simulator.files
  -- AWS keeps nothing of what a reimport replaced.
  local old = kind.method == "reimport" and { "--certificate", files.old_certificate, "--private-key", files.old_key, "--chain",
                                              files.old_chain } or {}
  for _, word in ipairs(old) do words[#words + 1] = word end
  return words
end

-- The end, by one command; by two at once on two machines, one of which goes on and the other is told who does, or comes
-- late and finds everything done. Which of the two is the second value.
local function finish(world, kind, racing)
  local words = endings[kind.ending](world, kind)
  if not words then return { rc = 0 } end
  local done = world:run(words)
  -- Where the killed one had a lease it is held: nobody goes on before it is over.
  if not (kind.s3 and world.locked(done)) then return done end
  world:end_leases()
  if not racing then return world:run(words) end
  local both = world:race(words, 2)
  table.sort(both, function(a, b) return not world.locked(a) and world.locked(b) end)
  local winner, other = both[1], both[2]
  if world.locked(other) then return winner, "the other told" end
  -- Both went on: one after the other, each with an end that can be told.
  for _, one in ipairs(both) do
    if one.rc ~= 0 and one.rc ~= 3 then return one end
  end
  return winner.rc == 0 and winner or other, "the other late"
end

--- One case: killed at a boundary, ended by a command.
---@return boolean killed
---@return string[] broken   what is wrong
---@return string? race       of two machines at once: how the second of them came out
function M.case(world, kind, boundary)
  fresh(world, kind)
  local killed = run_into(world, kind, boundary)
  local done, race = finish(world, kind, boundary.number % 2 == 0)
  world:look_at_all()
  local back = kind.ending == "rollback"
  local broken = rules.broken(world, { report = done.report, back = back, reimport = kind.method == "reimport" })
  -- What was rolled back before anything was changed is nothing to do.
  if done.rc ~= 0 and not (back and done.rc == 3) then
    table.insert(broken, 1, ("%s ended with %s: %s"):format(kind.ending, tostring(done.rc or done.signal), done.text))
  end
  return killed, broken, race
end

return M
