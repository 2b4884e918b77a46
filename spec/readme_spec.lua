-- What the README shows is run: the REPL session in the interpreters' own prompts, the examples as they stand.
local certrotate = require("certrotate")
local command = require("spec.support.command")
local fleet_module = require("spec.support.fleet")
local terminal = require("spec.support.terminal")

local README = command.read("README.md")

-- The code blocks of one language below a heading.
local function blocks(heading, language)
  local from = assert(README:find("\n## " .. heading .. "\n", 1, true), heading)
  local section = README:sub(from + 1, (README:find("\n## ", from + 1, true) or #README) - 1)
  local list = {}
  for block in section:gmatch("\n```" .. language .. "\n(.-)\n```") do list[#list + 1] = block end
  return list
end

local function replaced(text, from, to)
  local at, stop = text:find(from, 1, true)
  assert(at, from .. " is not in the example any more")
  return text:sub(1, at - 1) .. to .. text:sub(stop + 1)
end

describe("the README", function()
  local fleet, home, abi

  setup(function()
    fleet = fleet_module.start({ distributions = 12, users = 6, vip = 1, propagation = 0.3, seed = 77,
                                 settings = { vip_quota = 4 } })
    home = fleet.directory
    local simulator, files = fleet.simulator, fleet.simulator.files
    command.write(home .. "/fullchain.pem", command.read(files.new_certificate) .. command.read(files.new_chain))
    command.write(home .. "/privkey.pem", command.read(files.new_key))
    command.write(home .. "/config", ("[profile prod]\nregion = us-east-1\nendpoint_url = %s\nca_bundle = %s\n"):format(
      simulator.endpoint, simulator.ca_file))
    command.write(home .. "/credentials", ("[prod]\naws_access_key_id = %s\naws_secret_access_key = %s\n"):format(
      simulator.access_key_id, simulator.secret_access_key))
    abi = _VERSION:match("%d%.%d")
  end)
  teardown(function() fleet:stop() end)

  local function environment()
    local root = command.shell("pwd -P"):gsub("%s+$", "")
    return { HOME = home, AWS_CONFIG_FILE = home .. "/config", AWS_SHARED_CREDENTIALS_FILE = home .. "/credentials",
             CERTROTATE_STATE = home .. "/state", LUA_PATH = ("%s/lua/?.lua;%s/lua/?/init.lua;;"):format(root, root),
             LUA_CPATH = ("%s/build/lua/%s/?.so;;"):format(root, abi) }
  end

  -- The interpreter with these words, reading `input`, in the folder of the files.
  local function interpret(words, input)
    command.write(home .. "/input", input)
    local parts = { "cd " .. command.quote(home) .. " && env -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY -u AWS_PROFILE"
      .. " -u AWS_CA_BUNDLE -u AWS_REGION" }
    for name, value in pairs(environment()) do parts[#parts + 1] = name .. "=" .. command.quote(value) end
    parts[#parts + 1] = "timeout -s KILL 120 " .. command.quote(command.interpreter()) .. " " .. words
    return command.shell(table.concat(parts, " ") .. " <input 2>&1")
  end

  local function session()
    local lines = {}
    for line in blocks("The REPL", "")[1]:gmatch("[^\n]+") do
      local typed = line:match("^> (.*)$")
      if typed then lines[#lines + 1] = typed end
    end
    return lines
  end

  it("goes from nothing to a reviewed plan in a REPL session of twelve lines", function()
    local lines = session()
    assert.equal(12, #lines)
    local effects = fleet:record().effects
    local out = interpret("-l certrotate -i", table.concat(lines, "\n")
      .. "\nhelp(plan)\n=inventory.holders\n=aws.sts:get_caller_identity()\n")
    assert.is_nil(out:find("stdin:%d"), out)
    assert.is_nil(out:find("table: 0x", 1, true), out)
    for _, part in ipairs({ "certrotate session: profile prod, us-east-1, AKI", "DEDICATED IP",
                            fleet.simulator.old_reference, "SSL METHOD", "Replace   " .. fleet.simulator.old_reference,
                            "Plan ", '"Account": "111122223333"' }) do
      assert.truthy(out:find(part, 1, true), part .. " is not in: " .. out)
    end
    for _, id in ipairs(fleet:on(fleet.simulator.old_reference)) do
      local _, count = out:gsub(id, "")
      assert.is_true(count >= 2, id)            -- among the holders, and in the plan
    end
    assert.same(effects, fleet:record().effects)
  end)

  it("has `help` and `certrotate` without `local` at the prompt of a terminal, with -l", function()
    local shown = terminal.start(command.quote(command.interpreter()) .. " -l certrotate",
      { folder = home, environment = environment(), columns = 120 })
    finally(function() shown:close() end)
    shown:screen(nil, "\n> *\n")
    shown:type("help(certrotate.connect)", "Enter")
    shown:screen("Opens a session with an AWS account.")
    shown:screen("takes    options?: certrotate.ConnectOptions")
    -- A failure is one line.
    shown:type("=certrotate.connect { profile = \"nobody\" }", "Enter")
    shown:screen(nil, "\nnil%s+profile 'nobody' is [^\n]*")
  end)

  it("and no global appears in a program", function()
    command.write(home .. "/program.lua", [[
      local before = {}
      for name in pairs(_G) do before[name] = true end
      require "certrotate"
      for name in pairs(_G) do if not before[name] then print(name) end end
      print(help)
    ]])
    assert.equal("nil\n", interpret("program.lua", ""))
    -- 5.4's -l makes its global itself.
    assert.equal("nil\n", interpret("-l certrotate program.lua", ""))
    assert.equal("nil\n", interpret("-l certrotate -e 'print(help)'", ""))
    -- Input that nobody types.
    assert.equal("nil\n", interpret("-l certrotate -", "print(help)\n"))
  end)

  it("shows a script that rotates", function()
    local text = blocks("A script", "lua")[1]
    text = replaced(text, '"arn:aws:acm:us-east-1:111122223333:certificate/…"', ("%q"):format(fleet.simulator.old_reference))
    text = replaced(text, "/etc/tls/fullchain.pem", home .. "/fullchain.pem")
    text = replaced(text, "/etc/tls/privkey.pem", home .. "/privkey.pem")
    -- Neither soaking nor looking as seldom as with AWS, and at the simulated edge.
    text = replaced(text, "soak = 600", "soak = 0")
    text = replaced(text, 'journal = "www.journal"', 'poll = 0.1, journal = "www.journal"')
    text = replaced(text, 'profile = "prod"', ('profile = "prod", edge = %q'):format(fleet.simulator.edge))
    command.write(home .. "/script.lua", text)
    local out = interpret("script.lua", "")
    assert.matches("Replace   arn:", out)
    assert.matches("\n6\t[%d.]+\t[%d.]+\n$", out)
    assert.same({}, fleet:on(fleet.simulator.old_reference))
  end)

  it("shows a policy", function()
    local text = "return { " .. blocks("A script", "lua")[2] .. " }"
    local policy = assert(assert((loadstring or load)(text))()).policy -- luacheck: ignore 113
    local holders = {}
    for i, comment in ipairs({ "the shop", "a blog", "another shop" }) do holders[i] = { Id = "E" .. i, Comment = comment } end
    local waves = policy(holders)
    assert.equal(2, #waves[1].holders)
    assert.equal(900, waves[1].soak)
    assert.equal(4, waves[2].parallel)
    assert.equal("E2", waves[2].holders[1].Id)
  end)

  it("names every command and every kind of error", function()
    for _, name in ipairs(require("certrotate.cli").commands) do
      assert.truthy(README:find("certrotate " .. name, 1, true), name)
    end
    local kinds = command.read("lua/certrotate/core.meta.lua"):match("@field kind ([^\n]+)")
    for kind in kinds:gmatch('"(%w+)"') do assert.truthy(README:find("`" .. kind .. "`", 1, true), kind) end
  end)

  it("has an example for each public function of the module's face", function()
    for name, value in pairs(certrotate) do
      if type(value) == "function" then
        assert.truthy(README:find("certrotate." .. name, 1, true), name)
      end
    end
  end)
end)
