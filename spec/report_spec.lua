-- What a person sees: tables on narrow terminals, live lines, lines without a terminal.
local inventory_report = require("certrotate.report.inventory")
local plan_module = require("certrotate.rotation.plan")
local plan_report = require("certrotate.report.plan")
local policy = require("certrotate.rotation.policy")
local progress = require("certrotate.report.progress")
local summary = require("certrotate.report.summary")
local table_report = require("certrotate.report.table")
local made = require("spec.rotation.support")

local function widest(text, skip)
  local most = 0
  for line in text:gmatch("[^\n]+") do
    if not (skip and line:find(skip, 1, true)) then most = math.max(most, table_report.width(line)) end
  end
  return most
end

local function fleet()
  local holders = {}
  for i = 1, 4 do
    holders[i] = made.holder(("E%013d"):format(i), { ssl = i == 4 and "vip" or "sni-only",
      Aliases = { ("a-rather-long-name-%d.of-a-site.example.com"):format(i), "another.example.com" } })
  end
  return holders
end

describe("reports", function()
  it("the inventory fits 80 columns, and every reference is whole", function()
    local inventory = made.inventory(fleet())
    inventory.certificates = { { reference = made.OLD, store = "acm", name = "a-rather-long-name-1.of-a-site.example.com",
                                 not_after = 1785715200 } }
    local narrow, wide = inventory_report.text(inventory, { width = 80 }), inventory_report.text(inventory)
    assert.is_true(widest(narrow, "arn:") <= 80, narrow)
    for _, text in ipairs({ narrow, wide, inventory_report.text(inventory, { width = 200 }) }) do
      assert.is_truthy(text:find(made.OLD, 1, true), text)
    end
    assert.equal(wide, inventory_report.text(inventory, { width = 200 }))
    assert.is_true(widest(inventory_report.holders(fleet(), 80)) <= 80)
  end)

  it("the plan's table fits 80 columns and its reasons are whole", function()
    for _, name in ipairs({ "careful", "cheapest" }) do
      local plan = assert(plan_module.compute({
        from = made.OLD, store = "acm", identity = made.identity, now = 1768478400, endpoint = "", findings = {},
        left_out = {}, holders = fleet(), policy = policy.named[name](),
      }))
      local text = plan_report.text(plan, 80)
      for line in text:gmatch("[^\n]+") do
        if line:find("E00000", 1, true) then assert.is_true(table_report.width(line) <= 80, line) end
      end
      assert.is_truthy(text:find(plan.waves[1].reason, 1, true), text)
    end
  end)

  local function feed(options)
    local out = {}
    options.write = function(text) out[#out + 1] = text end
    local show = progress.new(options)
    local id = "E0000000000001"
    show({ type = "wave", at = 1, wave = 1, waves = 1, name = ("long"):rep(40), holders = 2, done = 0, parallel = 1 })
    show({ type = "swap", at = 2, id = id, changed = true })
    show({ type = "conflict", at = 3, id = "E2", message = "names another" })
    show({ type = "settling", at = 4, wave = 1, deployed = 0, total = 1 })
    show({ type = "stopped", at = 5, error = {} })
    return table.concat(out)
  end

  it("a live line is shorter than the terminal and is gone when the run stops", function()
    local text = feed({ terminal = 40 })
    for line in text:gmatch("\27%[K([^\r\n]*)") do
      assert.is_true(table_report.width(line) < 40 or line:find("left alone", 1, true) ~= nil, line)
    end
    assert.is_truthy(text:find("1/2 changed", 1, true))
    assert.is_truthy(text:find("0/1 Deployed", 1, true))
    assert.equal("\r\27[K", text:sub(-4))
    assert.is_nil(text:find("\27[33m", 1, true))
    assert.is_truthy(feed({ terminal = 40, color = true }):find("\27[33m", 1, true))
  end)

  it("a live line tells the time that is left: as planned, then as seen", function()
    local out = {}
    local show = progress.new({ terminal = 100, write = function(text) out[#out + 1] = text end })
    local function last() return out[#out] end
    show({ type = "start", at = 0, plan = { prediction = { deploy_seconds = 300, call_seconds = 2 } } })
    show({ type = "wave", at = 0, wave = 1, waves = 2, name = "one", holders = 4, done = 0 })
    assert.matches("wave 1/2 %[%.+%] 0/4 changed, about 5m 8s left  one", last())
    show({ type = "swap", at = 10, id = "E1", changed = true })
    assert.matches("1/4 changed, about 5m 30s left  one", last())
    show({ type = "settling", at = 40, deployed = 0, total = 4 })
    show({ type = "settling", at = 100, deployed = 1, total = 4 })
    assert.matches("%[#####%.+%] 1/4 Deployed, about 4m left  one", last())
    show({ type = "settling", at = 400, deployed = 1, total = 4 })
    assert.is_nil(last():find("left", 1, true))                -- longer than planned: nobody knows
    show({ type = "settled", at = 120, total = 4, seconds = 60 })
    show({ type = "wave", at = 130, wave = 2, waves = 2, name = "two", holders = 2, done = 1 })
    assert.matches("1/2 changed, about 1m 2s left  two", last())
  end)

  it("without a terminal there are plain lines with times", function()
    local text = feed({ terminal = false })
    assert.is_nil(text:find("\27", 1, true))
    assert.is_nil(text:find("\r", 1, true))
    for line in text:gmatch("[^\n]+") do assert.is_truthy(line:find("^1970%-01%-01T00:00:0%dZ "), line) end
    assert.equal("", feed({ terminal = 80, quiet = true }))
  end)

  it("the closing lines say what was not done", function()
    local report = { ok = false, changed = 1, holders = 3, seconds = 5, reference = made.NEW, overlap_seconds = 0,
                     conflicts = { { Id = "E2", message = "names another" } }, left_behind = { "E3" }, journal = "j" }
    local text = summary.text(report)
    for _, part in ipairs({ "1 of 3 holders", "NOT all", "Left alone: E2", "Still on the old certificate: E3" }) do
      assert.is_truthy(text:find(part, 1, true), text)
    end
    assert.is_nil(text:find("To delete it", 1, true))
  end)
end)
