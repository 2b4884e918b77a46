-- The charge meter: intervals, overlap, months. LuaJIT only.
if not rawget(_G, "jit") then return end

local meter = require("certrotate.simulator.meter")
local time = require("certrotate.simulator.time")

local function view(reference, enabled, dedicated)
  return { enabled = enabled ~= false, viewer = { reference = reference, dedicated = dedicated ~= false } }
end

local settings = { time_scale = 1, price_per_month = 600 }

describe("the meter", function()
  it("knows AWS's own example: 24 hours in June are 20 dollars", function()
    local from = time.utc(2026, 6, 10, 0, 0, 0)
    local exact, hourly = meter.charge(from, from + 86400, 600)
    assert.is_near(20, exact, 1e-9)
    assert.is_near(20, hourly, 1e-9)
  end)

  it("counts started hours, and each month at its own price", function()
    local from = time.utc(2026, 6, 30, 23, 30, 0)
    local exact, hourly = meter.charge(from, from + 3600, 600)
    assert.is_near(0.5 * 600 / 720 + 0.5 * 600 / 744, exact, 1e-9)
    assert.is_near(600 / 720, hourly, 1e-9)
    assert.is_near(2 * 600 / 720, select(2, meter.charge(from, from + 3601, 600)), 1e-9)
  end)

  it("charges a certificate, not a distribution, from the first to the last", function()
    local at = time.utc(2026, 6, 10, 0, 0, 0)
    local m = meter.new(at)
    m:change(nil, view("old"), at)
    m:change(nil, view("old"), at + 10)
    m:change(view("old"), nil, at + 20)
    m:change(view("old"), nil, at + 30)
    local report = m:report(at + 100, settings)
    assert.equal(1, #report.certificates)
    assert.equal(30, report.certificates[1].seconds)
    assert.equal(0, report.overlap_seconds)
    assert.equal(0, report.associated)
  end)

  it("measures how long two are associated at once", function()
    local at = time.utc(2026, 6, 10, 0, 0, 0)
    local m = meter.new(at)
    for _ = 1, 3 do m:change(nil, view("old"), at) end
    m:change(view("old"), view("new"), at + 100)
    m:change(view("old"), view("new"), at + 110)
    assert.equal(15, m:report(at + 115, settings).overlap_seconds)
    m:change(view("old"), view("new"), at + 130)
    local report = m:report(at + 1000, settings)
    assert.equal(30, report.overlap_seconds)
    assert.is_near(30 / 3600 * 600 / 720, report.overlap.exact, 1e-9)
    assert.equal(1, report.associated)
  end)

  it("goes on until the edges have let the old one go", function()
    local m = meter.new(0)
    for _ = 1, 2 do m:change(nil, view("old"), 0) end
    m:change(view("old"), view("new"), 100, 160)
    m:change(view("old"), view("new"), 110, 150)
    assert.equal(40, m:report(140, settings).overlap_seconds)
    local report = m:report(1000, settings)
    assert.equal(60, report.overlap_seconds)
    assert.equal(160, report.certificates[1].seconds)
    assert.equal(900, report.certificates[2].seconds)
  end)

  it("has no gap when the last holder is changed", function()
    local m = meter.new(0)
    m:change(nil, view("old"), 0)
    m:change(view("old"), view("new"), 50)
    assert.equal(0, m:report(100, settings).overlap_seconds)
    assert.same({ 50, 50 }, { m:report(100, settings).certificates[1].seconds, m:report(100, settings).certificates[2].seconds })
  end)

  it("does not see disabled distributions, SNI, or the default certificate", function()
    local m = meter.new(0)
    m:change(nil, view("a", false), 0)
    m:change(nil, view("b", true, false), 0)
    assert.equal(0, #m:report(10, settings).certificates)
    m:change(view("a", false), view("a", true), 10)
    assert.equal(5, m:report(15, settings).certificates[1].seconds)
  end)

  it("stretches time for a rehearsal", function()
    local m = meter.new(0)
    m:change(nil, view("old"), 0)
    assert.equal(3600, m:report(60, { time_scale = 60, price_per_month = 600 }).certificates[1].seconds)
  end)
end)
