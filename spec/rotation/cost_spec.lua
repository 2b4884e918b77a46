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

  it("charges nothing for nothing, and follows the price setting", function()
    assert.equal(0, cost.charge(june, june))
    near(40, cost.charge(june, june + 86400, { price = 1200 }))
    near(600 / 720, cost.hourly(june))
  end)
end)
