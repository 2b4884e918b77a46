-- SIGKILL at random moments of a rotation, between and inside requests; one `resume` finishes it, or one `rollback`,
-- killed at random moments too, takes it back.
local core = require("certrotate.core")
local fleet_module = require("spec.support.fleet")
local command = require("spec.support.command")
local seed = require("spec.support").seed()

local ROUNDS = tonumber(os.getenv("CERTROTATE_KILLS")) or 6

-- A generator of our own: math.random differs between the Luas.
local function generator(state)
  return function(limit)
    state = state * 48271 % 2147483647
    return state % limit
  end
end

describe(("killed at any moment (seed %d)"):format(seed), function()
  local random = generator(seed % 2147483646 + 1)
  local total_kills = 0

  for round = 1, ROUNDS do
    local store = round % 2 == 0 and "iam" or "acm"
    it(("resume finishes the rotation: round %d, %s"):format(round, store), function()
      local fleet = fleet_module.start({ distributions = 10, users = 6, vip = 1, store = store, propagation = 0.3,
                                         seed = seed % 1000 + round })
      local old = fleet.simulator.old_reference
      local users, before = fleet:on(old), fleet:configurations()
      local journal = fleet:path("journal")
      local argv = fleet:identity_flags({ "apply", "--journal", journal, "--yes", "--policy", "cheapest", "--poll", "100ms" })
      local kills = 0
      local environment = { environment = fleet:environment() }
      local process = command.start(argv, environment)
      local client = assert(core.client())
      -- Killed when so many requests have come in, up to three times: resuming is interrupted as well.
      for _ = 1, 1 + random(3) do
        local target = fleet:record().count + random(round <= 2 and 16 or 40)
        local delay = random(1000) / 1e6
        while not process.wait(0) and fleet:record().count < target do client:wait(0.001) end
        client:wait(delay)
        if not process.wait(0) then
          os.execute("kill -KILL " .. process.pid .. " 2>/dev/null")
          kills = kills + 1
        end
        assert.is_number(process.wait(30), "the process did not end")
        process.close()
        local effects = fleet:record().effects
        assert.is_true((effects[store .. "_imports"] or 0) <= 1)
        assert.is_nil(effects[store .. "_deletes"])
        -- Before the journal existed nothing was begun: the same command again.
        local begun = command.read(journal)
        begun = begun and begun:find("\n", 1, true) ~= nil
        process = command.start(begun and fleet:flags({ "resume", journal, "--poll", "100ms" }) or argv, environment)
      end
      local rc = process.wait(60)
      assert.equal(0, rc, process.output())
      process.close()
      local effects = fleet:record().effects
      assert.equal(1, effects[store .. "_imports"])
      assert.is_nil(effects[store .. "_deletes"])
      assert.same({}, fleet:on(old))
      assert.same(before, fleet:configurations())
      local state = fleet:state()
      local to
      for _, distribution in ipairs(state.distributions) do
        if distribution.id == users[1] then to = distribution.reference end
      end
      assert.same(users, fleet:on(to))
      assert.equal(0, (fleet:run(fleet:flags({ "retire", journal, "--keep", "0s", "--yes" }))))
      assert.equal(1, fleet:record().effects[store .. "_deletes"])
      client:close()
      fleet:stop()
      total_kills = total_kills + kills
    end)
  end

  for round = 1, math.ceil(ROUNDS / 2) do
    local store = round % 2 == 0 and "iam" or "acm"
    it(("rollback takes the rotation back: round %d, %s"):format(round, store), function()
      local fleet = fleet_module.start({ distributions = 10, users = 6, vip = 1, store = store, propagation = 0.3,
                                         seed = seed % 1000 + 100 + round })
      local old = fleet.simulator.old_reference
      local users, before, journal = fleet:on(old), fleet:configurations(), fleet:path("journal")
      local environment = { environment = fleet:environment() }
      local client = assert(core.client())
      -- One command, killed when so many requests have come in; true when it ended by itself before.
      local function killed(argv, requests)
        local process = command.start(argv, environment)
        local target = fleet:record().count + requests
        while not process.wait(0) and fleet:record().count < target do client:wait(0.001) end
        client:wait(random(1000) / 1e6)
        local ended = process.wait(0)
        if not ended then os.execute("kill -KILL " .. process.pid .. " 2>/dev/null") end
        local rc = assert(process.wait(30), "the process did not end")
        local output = process.output()
        process.close()
        if not ended then total_kills = total_kills + 1 end
        return ended and rc, output
      end
      killed(fleet:identity_flags({ "apply", "--journal", journal, "--yes", "--policy", "cheapest", "--poll", "100ms" }),
        random(40))
      local begun = command.read(journal)
      if begun and begun:find("\n", 1, true) then
        local back = fleet:flags({ "rollback", journal, "--yes", "--poll", "100ms" })
        local rc, output
        for _ = 1, 1 + random(3) do
          rc, output = killed(back, 6 + random(30))
          if rc then break end
        end
        if not rc then
          local process = command.start(back, environment)
          rc = process.wait(60)
          output = process.output()
          process.close()
        end
        -- 3: it was through before it was killed.
        assert.is_true(rc == 0 or rc == 3, output)
      end
      assert.same(users, fleet:on(old))
      assert.same(before, fleet:configurations())
      local effects = fleet:record().effects
      assert.is_true((effects[store .. "_imports"] or 0) <= 1)
      assert.is_nil(effects[store .. "_deletes"])
      client:close()
      fleet:stop()
    end)
  end

  it("did kill something", function() assert.is_true(total_kills > 0) end)
end)
