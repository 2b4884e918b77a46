local core = require("certrotate.core")
local json = require("certrotate.json")
local journal_module = require("certrotate.rotation.journal")
local plan_module = require("certrotate.rotation.plan")
local policy = require("certrotate.rotation.policy")
local status = require("certrotate.rotation.status")
local made = require("spec.rotation.support")

local function a_plan()
  return assert(plan_module.compute({
    from = made.OLD, store = "acm", identity = made.identity, now = 1768478400, endpoint = "", findings = {}, left_out = {},
    policy = policy.cheapest({ parallel = 2 }),
    holders = { made.holder("E1"), made.holder("E2", { ssl = "vip" }), made.holder("E3", { ssl = "vip" }) },
  }))
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

describe("journal", function()
  local path
  before_each(function() path = os.tmpname(); os.remove(path) end)
  after_each(function() os.remove(path) end)

  local function written()
    local journal = assert(journal_module.create(path, a_plan(), 10))
    assert(journal:append({ at = 11, event = "begin" }))
    assert(journal:append({ at = 12, event = "intent", step = "import" }))
    assert(journal:append({ at = 13, event = "outcome", step = "import", result = { reference = made.NEW } }))
    assert(journal:append({ at = 14, event = "intent", step = "swap", id = "E2" }))
    assert(journal:append({ at = 15, event = "outcome", step = "swap", id = "E2", result = { changed = true } }))
    assert(journal:append({ at = 16, event = "intent", step = "swap", id = "E3" }))
    journal:close()
    return read(path)
  end

  it("adds up to what is done and what was begun", function()
    written()
    local state = assert(journal_module.load(path)):state()
    assert.equal(made.NEW, state.to)
    assert.is_true(state.import_begun)
    assert.equal(14, state.begun.E2)
    assert.is_true(state.swapped.E2.changed)
    assert.equal(16, state.begun.E3)
    assert.is_nil(state.swapped.E3)
    assert.equal(14, state.first_charged)
    assert.equal(11, state.started)
    local summary = status.of(assert(journal_module.load(path)))
    assert.equal("changing", summary.phase)
    assert.equal(1, summary.done)
    assert.equal(3, summary.total)
  end)

  it("understands a line torn at every byte of the last one", function()
    local text = written()
    local last = #text - #text:match("[^\n]+\n$")
    for cut = last + 1, #text - 1 do
      local parsed = assert(journal_module.parse("j", text:sub(1, cut)))
      assert.is_true(parsed.torn)
      assert.equal(5, #parsed.entries)
      assert.equal(last, parsed.good)
    end
    local file = assert(io.open(path, "wb"))
    file:write(text:sub(1, #text - 7))
    file:close()
    local journal = assert(journal_module.open(path))
    assert.is_true(journal.torn)
    assert.equal(last, #read(path))
    assert(journal:append({ at = 17, event = "intent", step = "swap", id = "E3" }))
    journal:close()
    assert.equal(6, #assert(journal_module.load(path)).entries)
  end)

  it("starts over a header that was torn, and refuses to start over anything else", function()
    local text = written()
    local journal, err = journal_module.create(path, a_plan(), 1)
    assert.is_nil(journal)
    assert.equal("JournalExists", err.code)
    assert.equal(text, read(path))
    local file = assert(io.open(path, "wb"))
    file:write(text:sub(1, 100))
    file:close()
    journal = assert(journal_module.create(path, a_plan(), 1))
    journal:close()
    assert(journal_module.load(path))
    file = assert(io.open(path, "wb"))
    file:write("my only copy of something\nelse\n")
    file:close()
    journal, err = journal_module.create(path, a_plan(), 1)
    assert.is_nil(journal)
    assert.equal("MalformedJournal", err.code)
    assert.equal("my only copy of something\nelse\n", read(path))
  end)

  it("refuses what is no journal, in one line that names the file", function()
    local text = written()
    local lines = {}
    for line in text:gmatch("[^\n]+") do lines[#lines + 1] = line end
    for _, broken in ipairs({
      "{}\n{}\n", "garbage\nmore\n", lines[1] .. "\ngarbage\n" .. lines[2] .. "\n", lines[2] .. "\n" .. lines[3] .. "\n",
      (lines[1]:gsub("E1", "EX")) .. "\n" .. lines[2] .. "\n",
    }) do
      local parsed, err = journal_module.parse(path, broken)
      assert.is_nil(parsed)
      assert.is_truthy(err.message:find(path, 1, true))
      assert.is_nil(err.message:find("\n"))
    end
    local missing, err = journal_module.load(path .. ".missing")
    assert.is_nil(missing)
    assert.equal("FileUnreadable", err.code)
    assert.is_nil(journal_module.open(path .. ".missing"))
    assert.is_nil(io.open(path .. ".missing"))
  end)

  it("excludes a second writer while it is open", function()
    local journal = assert(journal_module.create(path, a_plan(), 1))
    -- flock binds to the open file: a second opening in this very process stands for another process.
    local second, err = journal_module.open(path)
    assert.is_nil(second)
    assert.equal("Locked", err.code)
    journal:close()
    assert(journal_module.open(path)):close()
  end)

  it("is on the disk line by line as plain JSON", function()
    for line in written():gmatch("[^\n]+") do assert.is_table(json.decode(line)) end
    assert.is_string(core.sha256(read(path)))
  end)
end)
