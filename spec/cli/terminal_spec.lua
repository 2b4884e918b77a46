-- The command line as a person meets it: a live line in a real terminal, Ctrl-C, colour and none.
local command = require("spec.support.command")
local fleet_module = require("spec.support.fleet")
local journal_module = require("certrotate.rotation.journal")
local terminal = require("spec.support.terminal")

describe("in a terminal", function()
  local fleet
  setup(function()
    fleet = fleet_module.start({ distributions = 12, users = 6, vip = 1, propagation = 3, seed = 41 })
  end)
  teardown(function() fleet:stop() end)

  local function run(argv, environment)
    local words = { command.quote(command.interpreter()), "spec/support/certrotate.lua" }
    for _, word in ipairs(argv) do words[#words + 1] = command.quote(word) end
    local all = fleet:environment(environment)
    all.LUA_PATH, all.LUA_CPATH = package.path, package.cpath
    -- The shell stays, so that the last lines can be read.
    command.write(fleet:path("line.sh"), "trap : INT\n" .. table.concat(words, " ") .. "\necho \"ended with $?\"\nexec cat\n")
    local root = command.shell("pwd -P"):gsub("%s+$", "")
    local shown = terminal.start("sh " .. fleet:path("line.sh"), { folder = root, environment = all, columns = 110 })
    finally(function() shown:close() end)
    return shown
  end

  it("each wave has a live line with a bar, counts and the time left; Ctrl-C says how to resume", function()
    local journal = fleet:path("journal")
    local flags = { "apply", "--yes", "--policy", "cheapest", "--canary", "1", "--poll", "200ms", "--deploy-time", "1m",
                    "--journal", journal }
    local shown = run(fleet:identity_flags(flags))
    local screen = shown:screen(nil, "wave 1/3 %[[#.]+%] %d/%d %a+, about %d+%w* left  ")
    assert.is_nil(screen:find("T%d%d:%d%d:%d%dZ"), screen)
    shown:type("", "C-c")
    screen = shown:screen("ended with 5")
    assert.truthy(screen:find("certrotate: to go on: certrotate resume ", 1, true), screen)
    local state = assert(journal_module.load(journal)):state()
    assert.is_nil(state.ended)
    shown:close()
    -- And so it is: on to the end, with the timeline below.
    local again = run(fleet:flags({ "resume", journal, "--poll", "200ms" }))
    screen = again:screen("ended with 0")
    assert.truthy(screen:find("6 of 6 holders changed", 1, true), screen)
    assert.truthy(screen:find(". old certificate  + on its way  # new certificate", 1, true), screen)
    again:close()
    assert.same({}, fleet:on(fleet.simulator.old_reference))
  end)

  it("there is colour, unless NO_COLOR says otherwise, and none in a pipe", function()
    assert(fleet.simulator:control("settings", { propagation = 0.1 }))
    local turn = 0
    local function argv(more)
      turn = turn + 1
      local current, which = fleet:most_used()
      local files = fleet.simulator.files
      local words = { "apply", "--yes", "--policy", "cheapest", "--poll", "100ms", "--no-verify", "--replace", current,
        "--certificate", files[which .. "_certificate"], "--private-key", files[which .. "_key"], "--chain",
        files[which .. "_chain"], "--dedicated-ip-quota", "4", "--journal", fleet:path("journal" .. turn) }
      for _, word in ipairs(more or {}) do words[#words + 1] = word end
      return fleet:flags(words)
    end
    for _, case in ipairs({ { no_color = "", coloured = true }, { no_color = "1", coloured = false } }) do
      local shown = run(argv(), { NO_COLOR = case.no_color })
      shown:screen("ended with 0")
      local text = shown:tmux("capture-pane", "-p", "-e")
      assert.matches("done.- wave 1/2 ", text)
      assert.equal(case.coloured, text:find("\27[32mdone", 1, true) ~= nil, text)
      assert.equal(case.coloured, text:find("\27", 1, true) ~= nil, text)
      shown:close()
    end
    local code, out, err = fleet:run(argv())
    assert.equal(0, code, err)
    assert.matches("\n%S+Z done wave 1/2 ", err)
    assert.is_nil((out .. err):find("[\27\r]"), out .. err)
    code, out, err = fleet:run(argv({ "--color", "always" }))
    assert.equal(0, code, err)
    assert.matches("\n%S+Z \27%[32mdone\27%[0m wave 1/2 ", err)
    assert.is_nil(out:find("\27", 1, true), out)
  end)
end)
