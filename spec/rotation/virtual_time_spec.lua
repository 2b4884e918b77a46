-- 200 random fleets, rotated by the real plan and the real run in virtual time: how close the overlap comes to the least
-- there can be, and that it never costs more than going one by one.
local command = require("spec.support.command")
local cost = require("certrotate.rotation.cost")
local made = require("spec.rotation.support")
local policy = require("certrotate.rotation.policy")
local virtual = require("spec.support.virtual_account")

local FLEETS = tonumber(os.getenv("CERTROTATE_FLEETS")) or 200
local SEED = tonumber(os.getenv("CERTROTATE_SEED")) or 20260115

-- One random fleet: who is in it, what AWS takes for each, and what is known of that beforehand.
local function fleet(seed)
  local random = virtual.random(seed)
  local found = {
    holders = {}, deploy = {}, expected = {}, times = {}, latency = random.between(0.1, 1.5), burst = random.integer(1, 5),
    -- Between two updates a tenth of a second at best, half a minute at worst: AWS publishes no rate.
    interval = 0.1 * 300 ^ random.uniform(), start = 1768478400 + random.integer(0, 5 * 86400),   -- within one month
  }
  local charged, free = random.integer(1, 30), random.integer(0, 15)
  local typical, spread = random.between(120, 600), random.between(0, 1)
  for i = 1, charged + free do
    local id = ("E%03d"):format(i)
    local kind = random.uniform()
    local vip = i <= charged
    found.holders[i] = made.holder(id, {
      ssl = (vip or kind < 0.2) and "vip" or "sni-only", Enabled = vip or kind >= 0.4, Staging = not vip and kind > 0.9,
      Aliases = not vip and kind > 0.9 and {} or nil,
    })
    -- Most take about as long as the others of the account; some much longer.
    local seconds = typical * (1 + spread * random.between(-0.5, 0.5))
    if random.uniform() < 0.1 then seconds = seconds * random.between(1, 3) end
    found.deploy[id] = seconds
    if vip then found.times[#found.times + 1] = seconds end
    -- Known from the rotation before, give or take a fifth; of every fifth holder nothing is known.
    if random.uniform() < 0.8 then found.expected[id] = seconds * random.between(0.8, 1.2) end
  end
  found.typical = typical
  found.canary = free > 0 and random.integer(0, 2) or 0
  found.soak = found.canary > 0 and random.integer(0, 1800) or 0
  return found
end

local function rotate(found, name, directory, made_policy)
  local options = { name = name, directory = directory }
  for key, value in pairs(found) do options[key] = value end
  local account = virtual.new(options)
  local plan = account:plan(made_policy, { expected = found.expected, deploy_seconds = found.typical })
  local report, err = account:run(plan)
  assert(report, tostring(err))
  assert.is_true(report.ok)
  assert.equal(#found.holders, report.changed)
  local first, last, seconds = account:overlap()
  return { first = first, last = last, seconds = seconds, report = report, plan = plan, account = account }
end

describe("in virtual time", function()
  local directory
  setup(function() directory = virtual.directory() end)
  teardown(function() command.remove(directory) end)

  local name = ("cheapest is close to the least overlap and never dearer than careful: %d fleets, seed %d"):format(FLEETS, SEED)
  it(name, function()
    local sum, worst, worst_seed, reported, saved = 0, 0, nil, 0, 0
    for number = 1, FLEETS do
      local seed = SEED + number
      local told = ("fleet %d, CERTROTATE_SEED=%d CERTROTATE_FLEETS=1"):format(number, seed - 1)
      local found = fleet(seed)
      local options = { canary = found.canary, soak = found.soak }
      local cheap = rotate(found, "cheapest" .. number, directory, policy.cheapest(options))
      local careful = rotate(found, "careful" .. number, directory, policy.careful({ soak = found.soak }))
      local least = cost.least_overlap(found.times, found.interval, found.burst)
      local ratio = cheap.seconds / least
      assert.is_true(ratio >= 1 - 1e-9, told .. ": shorter than the least there can be")
      sum = sum + ratio
      if ratio > worst then worst, worst_seed = ratio, seed - 1 end
      for rounding in pairs({ hour = true, exact = true }) do
        local settings = { rounding = rounding }
        local single = cost.charge(careful.first, careful.last, settings)
        assert.is_true(cost.charge(cheap.first, cheap.last, settings) <= single + 1e-9,
          told .. ": dearer than one at a time")
      end
      -- What is reported is what was seen: never less than it was, and at most a look and a few calls more.
      local more = cheap.report.overlap_seconds - cheap.seconds
      local most = 10 + 60 * found.latency + found.burst * found.interval
      assert.is_true(more >= -1e-5 and more <= most, told .. ": reported " .. more .. " s more")
      reported = reported + cheap.report.overlap_seconds / least
      saved = saved + cost.charge(careful.first, careful.last) - cost.charge(cheap.first, cheap.last)
      -- Every soak was over before the first charged holder was touched.
      local soaked = found.start
      for _, one in ipairs(cheap.account.list) do
        if not policy.charged(one.record) then soaked = math.max(soaked, found.start + one.deployed) end
      end
      assert.is_true(cheap.first >= soaked + (#cheap.plan.waves == 2 and found.soak or 0), told .. ": begun too early")
    end
    local average = sum / FLEETS
    io.write(("\n%d fleets from seed %d: overlap %.3f times the least on average, %.3f at worst (CERTROTATE_SEED=%d); "
      .. "reported %.3f; one at a time costs %.2f USD more on average\n"):format(FLEETS, SEED, average, worst, worst_seed,
      reported / FLEETS, saved / FLEETS))
    if FLEETS >= 200 then assert.is_true(average <= 1.05, ("%.4f on average"):format(average)) end
    assert.is_true(worst <= 1.34, ("%.4f at worst"):format(worst))
  end)
end)
