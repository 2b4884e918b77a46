-- One of several workers side by side: its share of the cases, on a simulator of its own. Prints a line for each
-- violation and a closing line of counts.
--
--   lua spec/hostile/worker.lua SHARE OF kills
--   lua spec/hostile/worker.lua SHARE OF seeds FIRST LAST
local kill = require("spec.hostile.kill")
local seeds = require("spec.hostile.seeds")
local World = require("spec.hostile.world")

local share, of, what, first, last = tonumber(arg[1]), tonumber(arg[2]), arg[3], tonumber(arg[4]), tonumber(arg[5])
local totals, order = {}, {}
local function count(name, amount)
  if not totals[name] then order[#order + 1] = name end
  totals[name] = (totals[name] or 0) + amount
end

local function report(broken, how)
  count("violations", #broken)
  for _, text in ipairs(broken) do print(("VIOLATION %s: %s"):format(how, (text:gsub("%s+", " ")))) end
  io.stdout:flush()
end

local world = World.start()
-- A case that raises is a violation, and the others still have their turn.
local function try(how, fn)
  local ok, broken = pcall(fn)
  if not ok then
    broken = { "it raised " .. tostring(broken) }
    world:stop()
    world = World.start()
  end
  report(broken, how)
  count("handshakes", world.handshakes or 0)
end

if what == "kills" then
  local only = first
  for _, kind in ipairs(kill.kinds()) do
    local name = "kills of a " .. kind.name
    local list = kill.boundaries(kill.measure(world, kind))
    for index, boundary in ipairs(list) do
      if index % of == share % of and (not only or index == only) then
        local how = ("%s, %s %s %d (case %d)"):format(name, boundary.moment, boundary.what, boundary.number, index)
        try(how, function()
          local killed, broken, race = kill.case(world, kind, boundary)
          if race then count("kills ended by two machines at once, " .. race, 1) end
          count(name, killed and 1 or 0)
          if not killed then count("never reached", 1) end
          return broken
        end)
      end
    end
  end
else
  for seed = first, last do
    if seed % of == share % of then
      try(("seed %d (replay: spec/hostile/run --seed %d)"):format(seed, seed), function()
        local counts, broken = seeds.case(world, seed)
        count("hostile rotations", 1)
        for _, name in ipairs(seeds.COUNTS) do count(name[2], counts[name[1]]) end
        return broken
      end)
    end
  end
end
world:stop()
for _, name in ipairs(order) do print(("COUNT %d %s"):format(totals[name], name)) end
