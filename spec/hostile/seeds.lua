-- A rotation in a hostile world (simulator/hostility.lua), by seed: troubles, and a SIGKILL now and then. It is resumed
-- until nothing more comes of it, once more when the troubles are over, and then the old certificate is retired.
local rules = require("spec.hostile.rules")

local M = {}

-- The seed's own numbers; math.random differs between the Luas.
local function generator(seed)
  local state = (seed * 7919 + 12345) % 2147483646 + 1
  return function(limit)
    state = state * 48271 % 2147483647
    return state % limit
  end
end

-- One command, killed after so many requests when the seed says so.
local function attempt(world, words, random)
  local target = random(3) == 0 and world:control("record").count + 1 + random(30)
  local id = world:launch(words)
  while target and world:running(id) do
    if world:control("record?after=1000000").count >= target then
      world:kill(id)
      return { killed = true, text = "killed" }
    end
  end
  return world:finish(id)
end

-- What a command may come to, apart from being done.
local function is_told(done)
  return done.rc == 1 and done.report and (#(done.report.conflicts or {}) > 0 or #(done.report.left_behind or {}) > 0)
end

---@param world table
---@param seed integer
---@return table counts    kills, resumes, interferences, retired
---@return string[] broken
function M.case(world, seed)
  local random = generator(seed)
  local store, units = random(2) == 0 and "acm" or "iam", random(4) == 0
  local detach = units and random(2) == 0
  world:reset({ distributions = 8, users = 3 + random(4), vip = random(3), policies = units and 1 or 0, store = store,
                seed = seed })
  local profile = world:control("hostile", { seed = seed })
  local more = { "--policy", random(2) == 0 and "careful" or "cheapest", "--poll", "100ms" }
  if detach then more[#more + 1] = "--detach-continuous-deployment" end
  local apply, resume = world:apply_words(more), { "resume", world.journal, "--poll", "100ms" }
  local counts = { kills = 0, resumes = 0, told = 0, retired = 0 }

  local done
  for round = 1, 4 do
    local begun = world:begun()
    if begun then counts.resumes = counts.resumes + 1 end
    done = attempt(world, begun and resume or apply, random)
    if done.killed then counts.kills = counts.kills + 1 end
    if done.rc == 0 or is_told(done) and round > 1 then break end
  end
  local broken = {}
  local hostile_retire = random(2) == 0 and world:begun() and done.rc == 0
  if hostile_retire then
    world:run({ "retire", world.journal, "--keep", "0s", "--yes" })
  else
    world:calm()
    done = world:run(world:begun() and resume or apply)
    if is_told(done) then counts.told = counts.told + 1 end
    -- Nobody is left who has the certificate: there is nothing to do, and that is said.
    if done.rc ~= 0 and done.rc ~= 3 and not is_told(done) then
      broken[1] = ("it cannot be finished: %s: %s"):format(tostring(done.rc or done.signal), done.text)
    end
  end
  world:look_at_all()
  for _, text in ipairs(rules.broken(world, { report = done.report, detach = detach })) do broken[#broken + 1] = text end
  world:calm()
  if world:begun() then
    local retired = world:run({ "retire", world.journal, "--keep", "0s", "--yes" })
    if retired.rc == 0 or retired.rc == 3 then counts.retired = 1 end
    world:look_at_all()
    for _, text in ipairs(rules.broken(world, { report = done.report, detach = detach })) do
      broken[#broken + 1] = "after retiring: " .. text
    end
  end
  for index, text in ipairs(broken) do
    broken[index] = ("%s [%s; %s]"):format(text, store, table.concat(profile.troubles, ", "))
  end
  return counts, broken
end

return M
