-- What the README shows is run: the REPL session in the interpreters' own prompts, the examples as they stand.
local certrotate = require("certrotate")
local command = require("spec.support.command")
local fleet_module = require("spec.support.fleet")
local neovim = require("spec.support.neovim")
local json = require("certrotate.json")
local nginx = require("spec.support.nginx")
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

-- A fleet, and in its folder what the examples speak of: new files, and a profile "prod" that leads to it.
local function start(options)
  local fleet = fleet_module.start(options)
  local home, simulator, files = fleet.directory, fleet.simulator, fleet.simulator.files
  command.write(home .. "/fullchain.pem", command.read(files.new_certificate) .. command.read(files.new_chain))
  command.write(home .. "/privkey.pem", command.read(files.new_key))
  command.write(home .. "/config", ("[profile prod]\nregion = us-east-1\nendpoint_url = %s\nca_bundle = %s\n"):format(
    simulator.endpoint, simulator.ca_file))
  command.write(home .. "/credentials", ("[prod]\naws_access_key_id = %s\naws_secret_access_key = %s\n"):format(
    simulator.access_key_id, simulator.secret_access_key))
  return fleet
end

describe("the README", function()
  local fleet, home, abi

  setup(function()
    fleet = start({ distributions = 12, users = 6, vip = 1, propagation = 0.3, seed = 77, settings = { vip_quota = 4 } })
    home = fleet.directory
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
      .. "\nhelp(plan)\n=inventory.holders\n=aws.sts:get_caller_identity()\n"
      -- An assignment to one name drops the error: what is left says how to have it.
      .. "lost = certrotate.connect { profile = 'nobody' }\nhelp(lost)\n"
      .. "x, err = certrotate.connect { profile = 'nobody' }\n=err\n")
    assert.is_nil(out:find("stdin:%d"), out)
    assert.is_nil(out:find("table: 0x", 1, true), out)
    for _, part in ipairs({ "certrotate session: profile prod, us-east-1, AKI", "DEDICATED IP",
                            fleet.simulator.old_reference, "SSL METHOD", "profile 'nobody' is neither in",
                            "x, err = certrotate.connect { profile = \"prod\" }\n", "Replace   " .. fleet.simulator.old_reference,
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

  it("shows a role's session, and many accounts at once", function()
    local begin = blocks("A script", "lua")[1]:match("^(.-)\n\nlocal plan")
    begin = replaced(begin, 'profile = "prod"', ('profile = "prod", edge = %q'):format(fleet.simulator.edge))
    local examples = blocks("Credentials", "lua")
    local one, many = examples[1], examples[2]
    local current, which = fleet:most_used()
    local account = one:match("iam::(%d+):role/CertRotator")
    local theirs = fleet:other_account(account, which == "old" and "new" or "old", 2)
    for name, parts in pairs({ fullchain = { "certificate", "chain" }, privkey = { "key" } }) do
      local text = ""
      for _, part in ipairs(parts) do text = text .. command.read(fleet.simulator.files[which .. "_" .. part]) end
      command.write(home .. "/" .. name .. ".pem", text)
    end
    many = replaced(many, '"arn:aws:acm:us-east-1:111122223333:certificate/…"', ("%q"):format(current))
    many = replaced(many, 'journal = "www.journals"', 'poll = 0.1, journal = "www.journals"')
    command.write(home .. "/accounts.lua", table.concat({ begin, one, many }, "\n"))
    local mine = #fleet:on(current)
    local out = interpret("accounts.lua", "")
    assert.matches("^" .. account .. "\n", out)
    assert.matches("\nAccount " .. account, out)
    assert.truthy(out:find(("\n111122223333\t%d\n%s\t2\n"):format(mine, account), 1, true), out)
    assert.same({}, fleet:on(current))
    assert.same({}, fleet:on(theirs, account))
    assert.truthy(command.read(home .. "/www.journals/" .. account .. ".journal"))
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

  it("shows commands and Lua for Neovim", function()
    local current, which = fleet:most_used()
    local files, simulator = fleet.simulator.files, fleet.simulator
    local folder = home .. "/editor"
    command.shell("mkdir " .. command.quote(folder))
    local lines, edge = {}, " --edge " .. simulator.edge
    -- What stands before the remark behind it; <Tab> and whatever completes the line is typed.
    for line in blocks("Neovim", "vim")[1]:gmatch("[^\n]+") do lines[#lines + 1] = line:match("^:(.-)%s*$") end
    for i, line in ipairs(lines) do
      line = line:gsub("%s+\" .*$", "")
      if line:find("<Tab>", 1, true) then
        line = ("%s --certificate %s --private-key %s --chain %s --trust %s --policy cheapest --dedicated-ip-quota 4 "
          .. "--poll 100ms --journal www.journal"):format(line, files[which .. "_certificate"], files[which .. "_key"],
          files[which .. "_chain"], simulator.trust_file) .. edge
      elseif line:find("verify", 1, true) then
        line = replaced(line, "www.example.com", "www.shop.example") .. edge
      end
      lines[i] = ("%q"):format(line)
    end
    local out = neovim.run(([[
      vim.cmd("cd " .. vim.fn.fnameescape(%q))
      local shown = {}
      T.answer("yes")
      for _, line in ipairs({ %s }) do
        if line:find("<Tab>", 1, true) then
          T.wait(function() return #vim.fn.getcompletion("CertRotate plan --replace shop", "cmdline") > 0 end, "an inventory")
          T.keys(":" .. line .. "<CR>")
          T.line("Replace")
        else
          vim.cmd(line)
        end
        if line:find("inventory", 1, true) then T.line("USED BY") end
        if line:find("apply", 1, true) then T.notified("holders changed in ") end
        if line:find("resume", 1, true) then T.wait(function() return #T.notices > 1 end) end
        if line:find("verify", 1, true) then T.line("SHA-256") end
        shown[#shown + 1] = vim.fn.bufname() .. "\n" .. T.text()
      end
      return { shown = shown, notices = T.notices }
    ]]):format(folder, table.concat(lines, ", ")), { environment = fleet:environment() })
    local expected = { "certrotate://inventory\n.*USED BY", "certrotate://plan/.*\nReplace ", "certrotate://plan/",
      "certrotate://log.*\n.*Z done wave", "certrotate://log", "certrotate://status.*\n.*the old certificate is kept",
      "certrotate://verify.*\n.*SHA%-256 %x+", "health", "^" .. neovim.root .. "/doc/certrotate.txt\n" }
    for i, pattern in ipairs(expected) do assert.matches(pattern, out.shown[i]) end
    assert.equal(#expected, #out.shown)
    -- Told once at the end, and again by the resume of what was finished.
    assert.equal(2, #out.notices)
    for _, notice in ipairs(out.notices) do assert.matches("^certrotate: 6 of 6 holders changed in ", notice) end
    assert.same({}, fleet:on(current))
    out = neovim.run(blocks("Neovim", "lua")[1] .. "\nreturn T.notified('DEDICATED IP')", { environment = {
      AWS_CONFIG_FILE = home .. "/config", AWS_SHARED_CREDENTIALS_FILE = home .. "/credentials" } })
    assert.truthy(out:find(fleet.simulator.old_reference, 1, true), out)
  end)

  it("shows declared certificates and gates of one's own as they are read", function()
    local path = home .. "/certrotate.lua"
    command.write(path, blocks("Certificates kept in order", "lua")[1])
    local config = assert(require("certrotate.rotation.reconcile.config").load(path))
    assert.same({ "www", "shop" }, { config.certificates[1].name, config.certificates[2].name })
    command.write(path, blocks("A script", "lua")[3])
    local policy = assert(require("certrotate.rotation.policy_file").load(path))
    local gate, rate = policy.gates.errors, 0.02
    rawset(_G, "my_error_rate", function() return rate end)
    finally(function() rawset(_G, "my_error_rate", nil) end)
    assert.same({ false, "error rate is 0.02" }, { gate({ ids = {}, now = 1000, settled = 0 }) })
    rate = 0
    assert.equal(60, gate({ ids = {}, now = 1000, settled = 900 }))
    assert.is_true(gate({ ids = {}, now = 1000, settled = 0 }))
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

if not rawget(_G, "jit") then return end   -- nginx is the same whichever interpreter runs the test: once will do

describe("the README's nginx example", function()
  it("keeps the certificates of the README's configuration in order, and shows it", function()
    local fleet = start({ distributions = 8, users = 3, vip = 0, propagation = 0.2, seed = 77 })
    local client, server
    finally(function()
      if client then client:close() end
      if server then server:stop() end
      fleet:stop()
    end)
    local home, pki = fleet.directory, fleet.simulator.directory .. "/pki/"
    local config = blocks("Certificates kept in order", "lua")[1]
    for from, to in pairs({
      ["/etc/tls/www.pem"] = home .. "/fullchain.pem", ["/etc/tls/www.key"] = home .. "/privkey.pem",
      -- One that is in use as it stands.
      ["/etc/tls/shop.pem"] = home .. "/shop.pem", ["/etc/tls/shop.key"] = pki .. "acm1.key",
      ["arn:aws:acm:us-east-1:111122223333:certificate/…"] = fleet.simulator.old_reference,
      -- Neither soaking nor looking at deployments as seldom as with AWS, and at the simulated edge.
      ['"10m"'] = '"0s"', ['profile = "prod"'] = ('profile = "prod", edge = %q'):format(fleet.simulator.edge),
    }) do config = replaced(config, from, to) end
    command.write(home .. "/shop.pem", command.read(pki .. "acm1.crt") .. command.read(pki .. "acm1.chain"))
    command.write(home .. "/certrotate.lua", config)

    local text = blocks("OpenResty and nginx", "nginx")[1]
    text = replaced(text, "/etc/certrotate.lua", home .. "/certrotate.lua")
    text = replaced(text, "every = 3600", "every = 3600, poll = 0.1, connect = { poll = 0.1 }")
    local http, locations = text:match("^(.*)\nserver {\n(.*)}$")
    server = nginx.start({ main = ([[env HOME=@; env AWS_CONFIG_FILE=@/config;
      env AWS_SHARED_CREDENTIALS_FILE=@/credentials; env CERTROTATE_STATE=@/state;]]):gsub("@", home), http = http,
      server = locations })
    client = assert(fleet:connect({ endpoint_url = "http://127.0.0.1:1" }))
    local function get(path)
      return assert(client.loop:await({ http = { url = server.url .. path, method = "GET", timeout = 20 } })).body
    end
    local told
    for _ = 1, 600 do
      told = json.decode(get("/certrotate.json"))
      if told.state and told.state.phase == "idle" then break end
      client.loop:sleep(0.05)
    end
    assert.is_true(told.state ~= nil and told.state.ok, json.encode(told) .. server:log())
    assert.matches("^www: replace arn:", told.state.message)
    assert.same({}, fleet:on(fleet.simulator.old_reference))
    assert.equal(3, #fleet:on(told.rotation.to))
    assert.truthy(get("/certrotate"):find(told.rotation.to, 1, true))
    assert.truthy(get("/certrotate/metrics"):find("\ncertrotate_holders_changed_total 3\n", 1, true))
  end)
end)
