local core = require("certrotate.core")
local json = require("certrotate.json")
local journal_module = require("certrotate.rotation.journal")
local plan_module = require("certrotate.rotation.plan")
local policy = require("certrotate.rotation.policy")
local status = require("certrotate.rotation.status")
local made = require("spec.rotation.support")
local read = require("spec.support.files").read

local function a_plan()
  return assert(plan_module.compute({
    from = made.OLD, store = "acm", identity = made.identity, now = 1768478400, endpoint = "", findings = {}, left_out = {},
    policy = policy.cheapest({ parallel = 2 }),
    holders = { made.holder("E1"), made.holder("E2", { ssl = "vip" }), made.holder("E3", { ssl = "vip" }) },
  }))
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
    assert.is_false(state.import_open)
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

  it("knows an import whose outcome got lost, and what a change undoes", function()
    local lines = {}
    for line in written():gmatch("[^\n]+\n") do lines[#lines + 1] = line end
    local function state_of(more)
      local text = table.concat(lines, "", 1, 6)
      for _, entry in ipairs(more) do text = text .. json.encode(entry) .. "\n" end
      local file = assert(io.open(path, "wb"))
      file:write(text)
      file:close()
      return assert(journal_module.load(path)):state()
    end
    local file = assert(io.open(path, "wb"))
    file:write(table.concat(lines, "", 1, 3))
    file:close()
    assert.is_true(assert(journal_module.load(path)):state().import_open)
    -- E2 and E3 are the second wave; E3 is in conflict, so the wave is walked again although it was through.
    local foreign = { kind = "conflict", code = "ForeignCertificate", message = "names another" }
    local entries = {
      { at = 20.25, event = "outcome", step = "swap", id = "E3", error = foreign },
      { at = 21.5, event = "outcome", step = "settle", wave = 2, result = { holders = 1, foreign = {} } },
      { at = 22, event = "wave", wave = 2 }, { at = 23, event = "end" },
    }
    local state = state_of(entries)
    assert.equal("names another", state.conflicts.E3)
    assert.is_nil(state.soaked[2])
    assert.is_nil(state.settled[2])
    assert.equal(23, state.ended)
    assert.equal(21.5, state.last_charged)
    -- Brought into line later: no conflict, to be settled, the end to be written again.
    entries[5] = { at = 30, event = "outcome", step = "swap", id = "E3", result = { changed = true } }
    state = state_of(entries)
    assert.is_nil(state.conflicts.E3)
    assert.is_nil(state.settled[2])
    assert.is_nil(state.ended)
    entries[6] = { at = 31, event = "outcome", step = "settle", wave = 2, result = { holders = 2, foreign = { "E2" } } }
    state = state_of(entries)
    assert.is_string(state.conflicts.E2)
    assert.is_nil(state.soaked[2])
  end)

  it("keeps times with their fractions", function()
    local journal = assert(journal_module.create(path, a_plan(), 1768478400.123456))
    assert(journal:append({ at = 1768478400.123456, event = "begin" }))
    assert(journal:append({ at = 1768478401.000001, event = "intent", step = "swap", id = "E2" }))
    journal:close()
    local state = assert(journal_module.load(path)):state()
    assert.equal(1768478400.123456, state.started)
    assert.equal(1768478401.000001, state.begun.E2)
  end)

  it("refuses entries out of shape instead of stumbling over them", function()
    local header = written():match("^[^\n]+\n")
    for _, entry in ipairs({
      '{"at":1,"event":"intent","step":"swap"}', '{"at":1,"event":"wave","wave":9}', '{"event":"begin"}',
      '{"at":1,"event":"outcome","step":"settle","wave":"x","result":{}}',
      '{"at":1,"event":"outcome","step":"import","result":{}}',
      '{"at":1,"event":"outcome","step":"swap","id":"E1","result":1}', "[]",
    }) do
      local parsed, err = journal_module.parse(path, header .. entry .. "\n")
      assert.is_nil(parsed, entry)
      assert.equal("MalformedJournal", err.code)
    end
  end)

  it("never overwrites a file that is not its own torn header", function()
    for _, text in ipairs({ "a single line", "a single line\n", '{"at":"home"}', '{"at":12,"certrotate":2', '{"version":1}' }) do
      local file = assert(io.open(path, "wb"))
      file:write(text)
      file:close()
      local journal, err = journal_module.create(path, a_plan(), 1)
      assert.is_nil(journal, text)
      assert.equal("MalformedJournal", err.code)
      assert.equal(text, read(path))
      local loaded
      loaded, err = journal_module.load(path)
      assert.is_nil(loaded)
      assert.is_nil(err.message:find("empty", 1, true), err.message)
      assert.is_falsy(err.nothing_begun)
    end
    for _, text in ipairs({ "", "{", '{"at":17', '{"at":1768478400.5,"certr', '{"at":17,"certrotate":1,"plan":{"cre' }) do
      local file = assert(io.open(path, "wb"))
      file:write(text)
      file:close()
      assert(journal_module.create(path, a_plan(), 1)):close()
    end
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
