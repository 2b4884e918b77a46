-- A rotation in a hostile world (simulator/hostility.lua), by seed: troubles, and a SIGKILL now and then. It is resumed
-- until nothing more comes of it, once more when the troubles are over, and then the old certificate is retired; or it
-- is rolled back, however far it came. With a journal in S3 every command runs on another machine, now and then on two.
local rules = require("spec.hostile.rules")

local M = {}

--- What is counted, and in which words that is told.
M.COUNTS = { { "kills", "kills in them" }, { "resumes", "resumes" }, { "rollbacks", "rolled back" },
             { "reimports", "by reimport" }, { "tenants", "with tenants" }, { "units", "with a continuous deployment" },
             { "s3", "with a journal in S3" }, { "races", "two machines at once" }, { "leases", "leases that had to end" },
             { "told", "with conflicts, told" }, { "retired", "retired" } }

-- The seed's own numbers; math.random differs between the Luas.
local function generator(seed)
  local state = (seed * 7919 + 12345) % 2147483646 + 1
  return function(limit)
    state = state * 48271 % 2147483647
    return state % limit
  end
end

-- One command, killed after so many requests when the seed says so.
local function launched(world, words, random)
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

-- The same, once whoever was killed has no lease any more; now and then on two machines at once.
local function attempt(world, words, random, counts)
  local done
  if world.s3 and random(3) == 0 then
    counts.races = counts.races + 1
    local both = world:race(words, 2)
    done = world.locked(both[1]) and both[2] or both[1]
  else
    done = launched(world, words, random)
  end
  if done.killed then counts.kills = counts.kills + 1 end
  if world.s3 and world.locked(done) then
    world:end_leases()
    counts.leases = counts.leases + 1
    done = launched(world, words, random)
    if done.killed then counts.kills = counts.kills + 1 end
  end
  return done
end

-- When the troubles are over it must come to an end at once, but for the leases of the dead.
local function finish(world, words)
  local done = world:run(words)
  if world.s3 and world.locked(done) then
    world:end_leases()
    done = world:run(words)
  end
  return done
end

-- What a command may come to, apart from being done.
local function is_told(done)
  return done.rc == 1 and done.report and (#(done.report.conflicts or {}) > 0 or #(done.report.left_behind or {}) > 0)
end

local function joined(words, more)
  local list = {}
  for _, part in ipairs({ words, more }) do
    for _, word in ipairs(part) do list[#list + 1] = word end
  end
  return list
end

-- What kind of rotation a seed makes.
local function scenario(random)
  local case = { method = random(4) == 0 and "reimport" or "swap" }
  case.store = (case.method == "reimport" or random(2) == 0) and "acm" or "iam"
  case.units = random(4) == 0
  case.detach = case.units and case.method == "swap" and random(2) == 0
  case.promote = case.units and random(2) == 0
  case.tenants = case.store == "acm" and random(2) == 0 and 1 + random(3) or 0
  case.s3 = random(3) == 0
  case.back = random(4) == 0
  case.policy = random(2) == 0 and "careful" or "cheapest"
  return case
end

-- The commands of a case: to begin it, to go on, to go back.
local function commands(world, case)
  local more = joined({ "--poll", "100ms", "--method", case.method },
    case.method == "swap" and { "--policy", case.policy } or {})
  if case.detach then more[#more + 1] = "--detach-continuous-deployment" end
  local files = world.simulator.files
  local words = { apply = world:apply_words(more), resume = { "resume", world.journal, "--poll", "100ms" },
                  rollback = { "rollback", world.journal, "--yes", "--poll", "100ms" } }
  if case.method == "reimport" then
    words.rollback = joined(words.rollback, { "--certificate", files.old_certificate, "--private-key", files.old_key,
                                              "--chain", files.old_chain })
  end
  return words
end

-- Forwards, so many times at most.
local function forwards(world, words, rounds, random, counts)
  local done
  for round = 1, rounds do
    local begun = world:begun()
    if begun then counts.resumes = counts.resumes + 1 end
    done = attempt(world, begun and words.resume or words.apply, random, counts)
    if done.rc == 0 or is_told(done) and round > 1 then break end
  end
  return done
end

-- A holder that somebody else has taken away never shows the new certificate: then the end is made without looking.
local function end_forwards(world, words)
  local done = finish(world, world:begun() and words.resume or words.apply)
  if world:begun() and done.text:find("although the new certificate was imported long ago", 1, true) then
    done = finish(world, joined(words.resume, { "--no-verify" }))
  end
  return done
end

-- However far it came, it goes back: through troubles first, then without.
local function backwards(world, words, random, counts)
  if not world:begun() then
    world:calm()
    return { rc = 3, text = "" }
  end
  counts.rollbacks = counts.rollbacks + 1
  for _ = 1, 1 + random(3) do
    local done = attempt(world, words.rollback, random, counts)
    if done.rc == 0 or done.rc == 3 then break end
  end
  world:calm()
  local done = finish(world, words.rollback)
  if done.text:find("although the new certificate was imported long ago", 1, true) then
    done = finish(world, joined(words.rollback, { "--no-verify" }))
  end
  return done
end

local function set_up(world, case, seed, random)
  world:reset({ distributions = 8, users = 3 + random(4), vip = random(3), policies = case.units and 1 or 0,
                tenants = case.tenants, store = case.store, seed = seed }, case.s3)
  if case.promote then
    world:control("faults", { kind = "interfere", action = "promote", count = 1, skip = random(6),
                              operation = random(2) == 0 and "UpdateDistribution" or "GetDistribution" })
  end
  return world:control("hostile", { seed = seed, s3 = case.s3, tenants = case.tenants > 0 })
end

-- The case in words, for whoever reads a violation.
local function described(case, profile)
  return ("%s %s%s%s%s%s; %s"):format(case.method, case.store, case.s3 and ", S3" or "",
    case.tenants > 0 and ", tenants" or "", case.units and (case.detach and ", a unit detached" or ", a unit") or "",
    case.back and ", back" or "", table.concat(profile.troubles, ", "))
end

---@param world table
---@param seed integer
---@return table counts    of what was met, by name
---@return string[] broken
function M.case(world, seed)
  local random = generator(seed)
  local case = scenario(random)
  local profile = set_up(world, case, seed, random)
  local words = commands(world, case)
  local counts = {}
  for _, name in ipairs(M.COUNTS) do counts[name[1]] = 0 end
  counts.reimports, counts.tenants = case.method == "reimport" and 1 or 0, case.tenants > 0 and 1 or 0
  counts.units, counts.s3 = case.units and 1 or 0, case.s3 and 1 or 0
  local broken, options = {}, { back = case.back, detach = case.detach, reimport = case.method == "reimport" }
  local function judge(done, when)
    options.report, options.untouched = done.report, done.rc == 3 and not world:begun()
    for _, text in ipairs(rules.broken(world, options)) do broken[#broken + 1] = when .. text end
  end

  local done = forwards(world, words, case.back and 1 + random(2) or 4, random, counts)
  if not case.back and random(2) == 0 and world:begun() and done.rc == 0 then
    world:run({ "retire", world.journal, "--keep", "0s", "--yes" })
    -- A listing that lags could not tell of a new distribution yet: whoever asks again is told.
    if profile.settings.list_lag then
      world:calm()
      done = finish(world, words.resume)
    end
  else
    if case.back then
      done = backwards(world, words, random, counts)
    else
      world:calm()
      done = end_forwards(world, words)
    end
    if is_told(done) then counts.told = counts.told + 1 end
    -- Nobody is left who has the certificate: there is nothing to do, and that is said.
    if done.rc ~= 0 and done.rc ~= 3 and not is_told(done) then
      broken[1] = ("it cannot be finished: %s: %s"):format(tostring(done.rc or done.signal), done.text)
    end
  end
  world:look_at_all()
  judge(done, "")
  world:calm()
  if world:begun() then
    local retired = finish(world, { "retire", world.journal, "--keep", "0s", "--yes" })
    if retired.rc == 0 or retired.rc == 3 then counts.retired = 1 end
    world:look_at_all()
    judge(done, "after retiring: ")
  end
  for index, text in ipairs(broken) do broken[index] = ("%s [%s]"):format(text, described(case, profile)) end
  return counts, broken
end

return M
