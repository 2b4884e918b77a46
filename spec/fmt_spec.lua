local fmt = require("certrotate.fmt")
local support = require("spec.support")

describe("certrotate.fmt", function()
  it("writes whole numbers without a decimal point on every Lua", function()
    assert.equal("5", fmt.integer(10 / 2))
    assert.equal("-3", fmt.integer(-3.0))
    assert.equal("9007199254740991", fmt.integer(9007199254740991))
    assert.equal("100000000000000000000", fmt.integer(1e20))
    assert.has_error(function() fmt.integer(1.5) end, "fmt.integer: a whole number expected, got 1.5")
    assert.has_error(function() fmt.integer(0 / 0) end)
    assert.has_error(function() fmt.integer("5") end)
  end)

  it("groups thousands", function()
    assert.equal("0", fmt.count(0))
    assert.equal("999", fmt.count(999))
    assert.equal("1,000", fmt.count(1000))
    assert.equal("-12,345,678", fmt.count(-12345678))
    assert.equal("1 holder", fmt.plural(1, "holder"))
    assert.equal("1,200 holders", fmt.plural(1200, "holder"))
    assert.equal("2 policies", fmt.plural(2, "policy", "policies"))
  end)

  it("writes numbers that read back the same", function()
    for _, value in ipairs({ 0, 1, -1, 0.1, 1 / 3, 1e300, 5e-324, 123456789.123, 2 ^ 53, 1768478400.5 }) do
      assert.equal(value, tonumber(fmt.exact(value)))
    end
    assert.equal("0.1", fmt.exact(0.1))
    assert.equal("3", fmt.exact(3.0))
    assert.equal("1768478400", fmt.exact(1768478400))
  end)

  it("writes money, also small amounts", function()
    assert.equal("$0.00", fmt.money(0))
    assert.equal("$0.00", fmt.money(-0.0))
    assert.equal("$0.82", fmt.money(0.8219))
    assert.equal("$1,234.50", fmt.money(1234.5))
    assert.equal("$0.0031", fmt.money(0.00312))
    assert.equal("$0.01", fmt.money(0.01))
    assert.equal("-$3.00", fmt.money(-3))
    assert.equal("$1,000.00", fmt.money(999.999))
  end)

  it("writes sizes and shares", function()
    assert.equal("512 B", fmt.bytes(512))
    assert.equal("4.0 MiB", fmt.bytes(4194304))
    assert.equal("25.6%", fmt.percent(0.256))
    assert.equal("100%", fmt.percent(1))
    assert.equal("a, b", fmt.list({ "a", "b" }, 3))
    assert.equal("a, b and 2 more", fmt.list({ "a", "b", "c", "d" }, 2))
  end)

  it("writes and reads times", function()
    assert.equal("1970-01-01T00:00:00Z", fmt.time(0))
    assert.equal("2026-01-15T12:00:00Z", fmt.time(1768478400))
    assert.equal("2026-01-15T12:00:00Z", fmt.time(1768478400.999))
    assert.equal("2000-02-29T23:59:59Z", fmt.time(951868799))
    assert.equal("1969-12-31T23:59:59Z", fmt.time(-1))
    assert.equal("2026-01-15 12:00:00 UTC", fmt.timestamp(1768478400))
    assert.equal("2026-01-15", fmt.date(1768478400))
    assert.equal("12:00:00", fmt.clock(1768478400))
    assert.equal(1768478400, fmt.parse_time("2026-01-15T12:00:00Z"))
    assert.equal(1768478400, fmt.parse_time("2026-01-15T12:00:00.367Z"))
    assert.equal(1768478400, fmt.parse_time("2026-01-15T13:30:00+01:30"))
    assert.equal(1768478400, fmt.parse_time("2026-01-15 07:00:00-0500"))
    assert.equal(1768478400, fmt.parse_time(1768478400.25))
  end)

  it("agrees with os.time over four hundred years", function()
    local seed = support.seed()
    math.randomseed(seed)
    for _ = 1, 2000 do
      local unix = math.random(-6000000000, 12000000000)
      local text = os.date("!%Y-%m-%dT%H:%M:%SZ", unix)
      assert.equal(text, fmt.time(unix), "seed " .. seed)
      assert.equal(unix, fmt.parse_time(text), "seed " .. seed)
    end
  end)

  it("refuses times that are none", function()
    for _, text in ipairs({ "", "2026-01-15", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-01-15T24:00:00Z",
                            "2026-01-15T12:00:00", "2026-01-15T12:00:00 CET", "x2026-01-15T12:00:00Z" }) do
      local time, reason = fmt.parse_time(text)
      assert.is_nil(time, text)
      assert.is_string(reason)
    end
  end)

  it("writes durations in the two largest units", function()
    local cases = { [0] = "0s", [0.35] = "350ms", [0.9999] = "1s", [4.2] = "4.2s", [9.99] = "10s", [42] = "42s", [59.7] = "1m",
                    [90] = "1m 30s", [600] = "10m", [5025] = "1h 23m", [86400] = "1d", [273600] = "3d 4h", [-90] = "-1m 30s" }
    for seconds, text in pairs(cases) do assert.equal(text, fmt.duration(seconds)) end
  end)

  it("reads durations", function()
    local cases = { ["45s"] = 45, ["10m"] = 600, ["2h"] = 7200, ["30d"] = 2592000, ["1w"] = 604800, ["1h30m"] = 5400,
                    ["1h 30m"] = 5400, ["500ms"] = 0.5, ["1.5h"] = 5400, ["90"] = 90, [" 10M "] = 600 }
    for text, seconds in pairs(cases) do assert.equal(seconds, fmt.parse_duration(text), text) end
    for _, text in ipairs({ "", "m", "10x", "-5m", "30m1h", "1h1h", "10 m x", "1..5h", "ten" }) do
      local seconds, reason = fmt.parse_duration(text)
      assert.is_nil(seconds, text)
      assert.matches("expected a duration", reason)
    end
    assert.equal(600, fmt.parse_duration(fmt.duration(600)))
    assert.is_nil(fmt.parse_duration(-1))
  end)
end)
