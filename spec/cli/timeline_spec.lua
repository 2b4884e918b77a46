-- The timeline of a real rotation on the simulator: in a terminal's text, and as SVG that is well-formed and tells the
-- journal's times.
local command = require("spec.support.command")
local cost = require("certrotate.rotation.cost")
local fleet_module = require("spec.support.fleet")
local fmt = require("certrotate.fmt")
local journal_module = require("certrotate.rotation.journal")
local table_report = require("certrotate.report.table")
local timeline = require("certrotate.report.timeline")

describe("the timeline", function()
  local fleet, journal, svg, stderr
  setup(function()
    fleet = fleet_module.start({ distributions = 16, users = 9, vip = 2, propagation = 1, jitter = 0.4, seed = 9 })
    local argv = fleet:identity_flags({ "apply", "--yes", "--policy", "cheapest", "--canary", "1", "--poll", "100ms",
      "--journal", fleet:path("journal"), "--timeline", fleet:path("out.svg") })
    local code, out, err = fleet:run(argv)
    assert.equal(0, code, out .. err)
    journal, svg, stderr = assert(journal_module.load(fleet:path("journal"))), command.read(fleet:path("out.svg")), err
    if os.getenv("CERTROTATE_KEEP") then command.write(os.getenv("CERTROTATE_KEEP"), svg) end
  end)
  teardown(function() fleet:stop() end)

  it("has a lane a holder, changed and Deployed when the journal says so", function()
    local picture = assert(timeline.of(journal))
    local state = journal:state()
    assert.equal(9, #picture.lanes)
    local charged = 0
    for _, lane in ipairs(picture.lanes) do
      assert.equal(state.begun[lane.Id], lane.changed)
      assert.is_true(lane.deployed > lane.changed)
      if lane.charged then charged = charged + 1 end
    end
    assert.equal(2, charged)
    assert.is_true(picture.finished)
    assert.equal(state.first_charged or journal_module.first_charged(journal.plan, state), picture.overlap.began)
    assert.equal(cost.charge(picture.overlap.began, picture.overlap.ended), picture.overlap.charge)
  end)

  it("is well-formed SVG, a lane a holder, the overlap shaded with its charge", function()
    assert.equal("", command.shell(("python3 -c 'import sys,xml.dom.minidom;xml.dom.minidom.parse(sys.argv[1])' %s 2>&1")
      :format(fleet:path("out.svg"))))
    for _, holder in ipairs(journal.plan:holders()) do
      local _, count = svg:gsub("<title>" .. holder.Id, "")
      assert.equal(1, count, holder.Id)
    end
    local _, new = svg:gsub("Deployed [^<]*: new certificate", "")
    assert.equal(9, new)
    local picture = timeline.of(journal)
    assert.truthy(svg:find(fmt.money(picture.overlap.charge), 1, true))
    assert.truthy(svg:find('opacity=".25"', 1, true))
  end)

  it("fits the terminal, and is shown below the status", function()
    for _, width in ipairs({ 40, 80, 200 }) do
      for line in timeline.text(timeline.of(journal), width):gmatch("[^\n]+") do
        if not line:find("old certificate", 1, true) then assert.is_true(table_report.width(line) <= width, line) end
      end
    end
    local code, out = fleet:run({ "status", fleet:path("journal"), "--timeline", fleet:path("again.svg") })
    assert.equal(0, code)
    local text = timeline.text(timeline.of(journal), 80)
    assert.truthy(out:find(text, 1, true), out)
    local _, lanes = text:gsub("\n?[^\n]+ %.+%++#+\n", "%0")
    assert.is_true(lanes >= 4, text)
    assert.equal(svg, command.read(fleet:path("again.svg")))
    assert.is_nil(stderr:find("old certificate  +", 1, true))   -- no terminal there: logs stay lines
  end)

  it("tells of what is not finished: so far", function()
    local part = assert(journal_module.load(fleet:path("journal")))
    local kept, swaps = {}, 0
    for _, entry in ipairs(part.entries) do
      if entry.step == "settle" and swaps > 2 then break end
      if entry.step == "swap" and entry.event == "outcome" then swaps = swaps + 1 end
      kept[#kept + 1] = entry
    end
    part.entries = kept
    local picture = assert(timeline.of(part))
    assert.is_false(picture.finished)
    assert.matches("Rotation so far of 9 holders", timeline.svg(picture))
    part.entries = { kept[1] }
    assert.is_nil(timeline.of(part))
  end)

  it("draws an overlap that is not over until now, and charges as long", function()
    local part = assert(journal_module.load(fleet:path("journal")))
    local last
    for index, entry in ipairs(part.entries) do
      if entry.step == "settle" then last = index end
    end
    for index = #part.entries, last, -1 do part.entries[index] = nil end
    local now = part.entries[#part.entries].at + 5400
    local picture = assert(timeline.of(part, { now = now }))
    assert.equal(now, picture.ended)
    assert.is_true(picture.overlap.open)
    assert.equal(now, picture.overlap.ended)
    assert.equal(cost.charge(picture.overlap.began, now), picture.overlap.charge)
  end)

  it("that cannot be written does not change the exit code, and says so", function()
    local code, _, err = fleet:run({ "status", fleet:path("journal"), "--timeline", "/nonexistent/out.svg" })
    assert.equal(0, code)
    assert.matches("^certrotate: no timeline was drawn: [^\n]*/nonexistent[^\n]*\n$", err)
  end)

  it("escapes what others named", function()
    local picture = timeline.of(journal)
    picture.lanes[1].name = '<script>"&\1'
    local text = timeline.svg(picture)
    assert.is_nil(text:find("<script>", 1, true))
    assert.is_nil(text:find("\1", 1, true))
  end)
end)
