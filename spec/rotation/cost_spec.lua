local cost = require("certrotate.rotation.cost")

local function near(expected, got)
  assert.is_true(math.abs(expected - got) < 1e-6, ("%.9f expected, got %.9f"):format(expected, got))
end

describe("cost", function()
  -- 2026-06-10 12:00 UTC: a month of 720 hours.
  local june = 1781092800

  it("finds the UTC month of a time, leap years and year ends included", function()
    for _, case in ipairs({
      { 0, 0, 2678400 }, { 1709164800, 1706745600, 1709251200 }, -- February 2024 has 29 days
      { 4107542399, 4105123200, 4107542400 }, -- February 2100 has 28
      { 1798761599, 1796083200, 1798761600 }, -- the last second of 2026
    }) do
      local first, next_first = cost.month(case[1])
      assert.equal(case[2], first)
      assert.equal(case[3], next_first)
    end
  end)

  it("agrees with AWS's own example: 24 hours in June cost 20 dollars", function()
    near(20, cost.charge(june, june + 86400))
  end)

  it("counts started hours unless told to be exact", function()
    near(600 / 720, cost.charge(june, june + 1))
    near(600 / 720 / 3600, cost.charge(june, june + 1, { rounding = "exact" }))
    near(2 * 600 / 720, cost.charge(june, june + 3601))
  end)

  it("takes each part of an overlap at its own month's price", function()
    local july = 1782864000
    near(2 * 600 / 720 + 600 / 744, cost.charge(july - 7200, july + 3600, { rounding = "exact" }))
  end)

  it("counts every hour of the clock that is touched where that is the rule", function()
    local clock = { rounding = "clock" }
    near(2 * 600 / 720, cost.charge(june + 3540, june + 3660, clock))
    near(600 / 720, cost.charge(june, june + 3600, clock))
    near(600 / 720, cost.charge(june + 60, june + 360, clock))
  end)

  it("says what is wrong with its settings", function()
    assert.is_nil(cost.problem(nil))
    assert.is_nil(cost.problem({ price = 0, rounding = "clock" }))
    for _, broken in ipairs({ 7, { price = -1 }, { price = "600" }, { price = 0 / 0 }, { rounding = "day" } }) do
      assert.is_string(cost.problem(broken))
    end
  end)

  it("begins where the fewest hours of the clock are touched", function()
    assert.equal(june + 60, cost.aligned(june + 60, 300))
    assert.equal(june, cost.aligned(june, 3600))
    assert.equal(june + 3600, cost.aligned(june + 3540, 300))
    assert.equal(june + 3600, cost.aligned(june + 1, 3600))
    assert.equal(june + 3600, cost.aligned(june + 1800, 2 * 3600))
    assert.equal(june + 60, cost.aligned(june + 60, 3600 + 300))
    for start = 0, 7200, 97 do
      for _, seconds in ipairs({ 1, 300, 3599, 3600, 5000 }) do
        local when = cost.aligned(june + start, seconds)
        assert.is_true(when >= june + start and when < june + start + 3600)
        near(math.ceil(seconds / 3600) * 600 / 720, cost.charge(when, when + seconds, { rounding = "clock" }))
      end
    end
  end)

  it("knows the least overlap: no order of changes ends sooner", function()
    -- Every order of small fleets, tried out.
    local function best(times, interval, burst)
      local least = math.huge
      local function try(order, left)
        if #left == 0 then
          local last = 0
          for k, seconds in ipairs(order) do last = math.max(last, math.max(0, k - burst) * interval + seconds) end
          least = math.min(least, last)
          return
        end
        for i = 1, #left do
          local rest, longer = {}, {}
          for j, value in ipairs(left) do if j ~= i then rest[#rest + 1] = value end end
          for j, value in ipairs(order) do longer[j] = value end
          longer[#longer + 1] = left[i]
          try(longer, rest)
        end
      end
      try({}, times)
      return least
    end
    for _, case in ipairs({ { { 300, 60, 900 }, 20, 1 }, { { 5, 5, 5, 5 }, 3, 1 }, { { 1, 2, 3, 4, 5 }, 10, 2 },
                            { { 100, 1, 1, 1, 99 }, 7, 3 }, { { 12 }, 4, 1 }, { { 3, 9, 4 }, 0, 1 } }) do
      near(best(case[1], case[2], case[3]), cost.least_overlap(case[1], case[2], case[3]))
    end
    assert.equal(0, cost.least_overlap({}, 5))
  end)

  it("charges nothing for nothing, and follows the price setting", function()
    assert.equal(0, cost.charge(june, june))
    near(40, cost.charge(june, june + 86400, { price = 1200 }))
    near(600 / 720, cost.hourly(june))
  end)
end)
