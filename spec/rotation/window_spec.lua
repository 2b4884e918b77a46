local fmt = require("certrotate.fmt")
local window = require("certrotate.rotation.window")

local function at(text) return assert(fmt.parse_time(text)) end

local function opening(windows, now, needed) return fmt.time(window.opening(windows, at(now), needed or 0)) end

describe("window", function()
  it("reads days, times past midnight, and zones", function()
    local one = assert(window.parse("Mon-Fri 22:00-04:00 +01:00"))
    assert.same({ [1] = true, [2] = true, [3] = true, [4] = true, [5] = true }, one.days)
    assert.same({ 22 * 3600, 6 * 3600, 3600 }, { one.from, one.length, one.offset })
    assert.same({ [6] = true, [0] = true, [1] = true }, assert(window.parse("sat-mon 1:00-2:00")).days)
    assert.same({ [3] = true, [0] = true }, assert(window.parse("Wed,Sun 01:00-02:00 UTC")).days)
    assert.equal(86400, assert(window.parse("00:00-24:00")).length)
    assert.equal(-(3 * 3600 + 1800), assert(window.parse("01:00-02:00 -03:30")).offset)
  end)

  it("refuses what it cannot be sure of, and says what to give", function()
    for text, part in pairs({
      ["22-04"] = "is no window", [""] = "is no window", ["Foo 22:00-23:00"] = "days are Mon",
      ["22:60-23:00"] = "times are", ["25:00-26:00"] = "times are", ["24:00-01:00"] = "times are",
      ["22:00-23:00 Europe/Berlin"] = "a fixed offset", ["22:00-23:00 +25:00"] = "a fixed offset",
      ["Mon- 22:00-23:00"] = "days are Mon",
    }) do
      local result, problem = window.parse(text)
      assert.is_nil(result)
      assert.is_truthy(problem:find(part, 1, true), problem)
    end
    assert.is_nil(window.parse_all({}))
    assert.is_nil(window.parse_all(7))
  end)

  -- 2026-01-15 is a Thursday.
  it("tells when the next one opens, in its zone", function()
    assert.equal("2026-01-15T21:00:00Z", opening({ "22:00-04:00 +01:00" }, "2026-01-15T12:00:00Z"))
    assert.equal("2026-01-15T23:30:00Z", opening({ "22:00-04:00 +01:00" }, "2026-01-15T23:30:00Z"))
    assert.equal("2026-01-16T02:59:59Z", opening({ "22:00-04:00 +01:00" }, "2026-01-16T02:59:59Z"))
    assert.equal("2026-01-16T21:00:00Z", opening({ "22:00-04:00 +01:00" }, "2026-01-16T03:00:00Z"))
    -- The days are those of the zone: Monday 01:00 at +02:00 is Sunday evening in UTC.
    assert.equal("2026-01-18T23:00:00Z", opening({ "Mon 01:00-02:00 +02:00" }, "2026-01-15T12:00:00Z"))
    -- Friday's window goes on into Saturday; Saturday has none of its own.
    assert.equal("2026-01-17T01:00:00Z", opening({ "Mon-Fri 22:00-04:00" }, "2026-01-17T01:00:00Z"))
    assert.equal("2026-01-19T22:00:00Z", opening({ "Mon-Fri 22:00-04:00" }, "2026-01-17T04:00:00Z"))
    -- Only once a week, and just missed.
    assert.equal("2026-01-22T10:00:00Z", opening({ "Thu 10:00-11:00" }, "2026-01-15T11:00:00Z"))
  end)

  it("waits for one with enough left, and for the longest when none is long enough", function()
    assert.equal("2026-01-15T12:00:00Z", opening({ "10:00-14:00" }, "2026-01-15T12:00:00Z", 2 * 3600))
    assert.equal("2026-01-16T10:00:00Z", opening({ "10:00-14:00" }, "2026-01-15T12:00:00Z", 2 * 3600 + 1))
    assert.equal("2026-01-16T10:00:00Z", opening({ "10:00-14:00" }, "2026-01-15T12:00:00Z", 1e6))
    assert.equal("2026-01-15T20:00:00Z", opening({ "10:00-14:00", "20:00-23:00" }, "2026-01-15T12:00:00Z", 3 * 3600))
    -- Windows that touch are one.
    assert.equal("2026-01-15T12:00:00Z", opening({ "10:00-14:00", "14:00-18:00" }, "2026-01-15T12:00:00Z", 6 * 3600))
    assert.equal("2026-01-15T12:00:00Z", opening({ "00:00-24:00" }, "2026-01-15T12:00:00Z", 5 * 86400))
  end)

  it("an opening is always within a window, never before now, and within a week when nothing is needed", function()
    local seed = require("spec.support").seed()
    math.randomseed(seed)
    for _ = 1, 300 do
      local names = { "Mon", "Tue-Thu", "Fri,Sun", "Sat-Sun", "mon-sun" }
      local text = ("%s %02d:%02d-%02d:%02d %s%02d:00"):format(names[math.random(#names)], math.random(0, 23),
        math.random(0, 59), math.random(0, 23), math.random(0, 59), math.random(2) == 1 and "+" or "-", math.random(0, 12))
      local now = 1768435200 + math.random(0, 40 * 86400)
      local when = window.opening({ text }, now, 0)
      local told = ("%s at %s (CERTROTATE_SEED=%d)"):format(text, fmt.time(now), seed)
      assert.is_true(when >= now and when <= now + 7 * 86400, told)
      assert.is_truthy(window.left({ text }, when), told)
      if when > now then assert.is_nil(window.left({ text }, when - 1), told) end
    end
  end)
end)
