-- The plugin in a real Neovim: what it loads and when, completion, pages, whole rotations, bad input.
local certificates = require("spec.support.certificates")
local command = require("spec.support.command")
local fleet_module = require("spec.support.fleet")
local neovim = require("spec.support.neovim")

describe("the Neovim plugin", function()
  it("defines a command and loads nothing", function()
    local out, noise = neovim.run([[
      vim.cmd("runtime! plugin/certrotate.lua")   -- once more: nothing happens
      local loaded = {}
      for name in pairs(package.loaded) do
        if name:find("^certrotate") then loaded[#loaded + 1] = name end
      end
      return { command = vim.fn.exists(":CertRotate"), loaded = loaded, json = package.loaded.cjson ~= nil }
    ]])
    assert.equal("", noise)
    assert.equal(2, out.command)
    assert.same({}, out.loaded)
    assert.is_false(out.json)
  end)

  it("finds the module built in the checkout, before plugins are sourced, too", function()
    local out = neovim.run([[return { early = early, now = require("certrotate").version }]], {
      before = "require('certrotate.neovim')\nearly = require('certrotate').version",
    })
    assert.equal(out.now, out.early)
  end)

  it("works where it was installed, help and health included", function()
    local prefix = command.directory()
    finally(function() command.remove(prefix) end)
    local said = command.shell("cmake --install build --prefix " .. command.quote(prefix) .. " 2>&1 >/dev/null")
    assert.equal("", said)
    local out = neovim.run([[
      vim.cmd("CertRotate")
      vim.cmd("help certrotate-plan")
      local help = vim.fn.expand("%:p")
      vim.cmd("checkhealth certrotate")
      return { notice = T.notices[1], help = help, health = T.text(),
               lua = debug.getinfo(require("certrotate.neovim").command, "S").source }
    ]], { runtime = prefix .. "/share/nvim/site" })
    assert.matches("^certrotate: :CertRotate inventory|plan|apply|.*; begin with :CertRotate inventory", out.notice)
    assert.equal(prefix .. "/share/nvim/site/doc/certrotate.txt", out.help)
    assert.truthy(out.health:find(prefix .. "/lib/lua/5.1/certrotate/core.so", 1, true), out.health)
    assert.equal("@" .. prefix .. "/share/lua/5.1/certrotate/neovim.lua", out.lua)
  end)

  it("can be switched off", function()
    assert.equal(0, neovim.run([[return vim.fn.exists(":CertRotate")]], { before = "vim.g.loaded_certrotate = 1" }))
  end)

  it("says what it needs in an older Neovim", function()
    local out = neovim.run([[
      local ok, problem = pcall(vim.cmd, "CertRotate inventory")
      return { ok = ok, problem = problem }
    ]], { before = "local has = vim.fn.has\nvim.fn.has = function(x) return x == 'nvim-0.7' and 0 or has(x) end" })
    assert.is_false(out.ok)
    assert.matches("certrotate needs Neovim 0.7 or later", out.problem)
  end)

  it("says what to do when the module is not built", function()
    local out = neovim.run([[
      vim.cmd("CertRotate inventory")
      return { notices = T.notices, complete = vim.fn.getcompletion("CertRotate ", "cmdline") }
    ]], { before = "package.preload['certrotate.core'] = function() error('no such module', 0) end" })
    assert.same({ "certrotate: the C module cannot be loaded: run ./setup.sh build in the checkout, then see "
      .. ":checkhealth certrotate (no such module)" }, out.notices)
    assert.same({}, out.complete)
  end)

  it("has help for every subcommand and every flag", function()
    local out = neovim.run([[
      local folder = vim.fn.tempname()
      vim.fn.mkdir(folder)
      local text = io.open(vim.fn.globpath(vim.o.runtimepath, "doc/certrotate.txt"), "rb"):read("*a")
      vim.fn.writefile(vim.split(text, "\n"), folder .. "/certrotate.txt")
      vim.cmd("helptags " .. folder)                     -- refuses a tag that is there twice
      local tags = {}
      for line in io.lines(folder .. "/tags") do tags[line:match("^[^\t]+")] = true end
      local missing = {}
      for _, subcommand in ipairs(require("certrotate.neovim.arguments").all()) do
        local name = "certrotate-" .. subcommand.name
        if not tags[name] then missing[#missing + 1] = name end
        for _, parameter in ipairs(subcommand.flags) do
          local flag = parameter.flag:gsub("%-", "%%-")
          if not text:find(flag .. "%f[^%w-]") then missing[#missing + 1] = parameter.flag end
        end
      end
      local wide = {}
      for line in text:gmatch("[^\n]+") do
        if vim.fn.strdisplaywidth(line) > 79 then wide[#wide + 1] = line end
      end
      return { missing = missing, wide = wide, command = tags[":CertRotate"], health = tags["certrotate-health"] }
    ]])
    assert.same({}, out.missing)
    assert.same({}, out.wide)
    assert.is_true(out.command and out.health)
  end)

  describe("with an account", function()
    local fleet

    setup(function()
      fleet = fleet_module.start({ distributions = 20, users = 9, vip = 1, propagation = 0.5, seed = 5 })
    end)
    teardown(function() fleet:stop() end)

    local function run(text, options)
      options = options or {}
      local files, simulator = fleet.simulator.files, fleet.simulator
      local known = { OLD = simulator.old_reference, CERTIFICATE = files.new_certificate, KEY = files.new_key,
                      CHAIN = files.new_chain, TRUST = simulator.trust_file, EDGE = simulator.edge, DIR = fleet.directory }
      text = text:gsub("@(%u+)@", known)
      options.environment = fleet:environment(options.environment)
      return neovim.run(text, options)
    end
    local PLAN = "plan --replace @OLD@ --certificate @CERTIFICATE@ --private-key @KEY@ --chain @CHAIN@ --trust @TRUST@ "
      .. "--edge @EDGE@ --dedicated-ip-quota 4 --policy cheapest --canary 1 --poll 100ms --journal @DIR@/"

    -- Current Neovim has vim.uv and drops vim.loop and health.report_*; here the one is renamed and the others are gone.
    it("needs nothing that newer Neovim has no more", function()
      local out = run([[
        vim.cmd("CertRotate inventory")
        T.line("@OLD@")
        vim.cmd("CertRotate ]] .. PLAN .. [[uv")
        T.line("Replace")
        local plan = T.text()
        local complete = vim.fn.getcompletion("CertRotate verify --e", "cmdline")
        vim.cmd("checkhealth certrotate")
        return { plan = plan, complete = complete, health = T.text(), loop = vim.loop ~= nil }
      ]], { before = [[
        vim.uv, vim.loop = vim.loop, nil
        local old = require("health")
        vim.health = { start = old.report_start, ok = old.report_ok, warn = old.report_warn, error = old.report_error,
                       info = old.report_info }
        package.loaded.health = vim.health
      ]] })
      assert.is_false(out.loop)
      assert.matches("charged", out.plan)
      assert.same({ "--edge" }, out.complete)
      assert.matches("certrotate", out.health)
      assert.is_nil(out.health:find("Failed to run healthcheck", 1, true), out.health)
    end)

    it("lists certificates, who uses them folded below, details at hand", function()
      local out = run([[
        vim.cmd("CertRotate inventory")
        local first = T.text()
        T.go("@OLD@")
        local at = vim.api.nvim_win_get_cursor(0)[1]
        local closed, title = vim.fn.foldclosed(at + 1), vim.fn.foldtextresult(at + 1)
        T.keys("jK")                                       -- on a closed fold: opened
        local opened = vim.fn.foldclosed(at + 1)
        T.keys("jK")
        local detail
        for _, window in ipairs(vim.api.nvim_list_wins()) do
          if vim.api.nvim_win_get_config(window).relative ~= "" then detail = T.text(vim.api.nvim_win_get_buf(window)) end
        end
        local facts = { filetype = vim.bo.filetype, buftype = vim.bo.buftype, modifiable = vim.bo.modifiable,
                        listed = vim.bo.buflisted, syntax = vim.b.current_syntax, name = vim.fn.bufname() }
        vim.cmd("edit elsewhere")
        facts.leaks = vim.wo.foldmethod
        vim.cmd("buffer certrotate://inventory")
        facts.back = vim.wo.foldmethod
        T.keys("q")
        facts.after = vim.fn.bufexists("certrotate://inventory")
        return { first = first, at = at, closed = closed, title = title, opened = opened, detail = detail, facts = facts,
                 notices = T.notices }
      ]])
      assert.matches("Reading", out.first)
      assert.equal(out.at + 1, out.closed)
      assert.matches("%+ 9 distributions: ", out.title)
      assert.equal(-1, out.opened)
      assert.matches("MinimumProtocolVersion", out.detail)
      assert.truthy(out.detail:find(fleet.simulator.old_reference, 1, true))
      assert.same({ filetype = "certrotate-inventory", buftype = "nofile", modifiable = false, listed = false,
                    syntax = "certrotate", name = "certrotate://inventory", leaks = "manual", back = "expr", after = 0 },
        out.facts)
      assert.same({}, out.notices)
    end)

    it("shows its pages in one window, and goes back from page to page", function()
      local out = run([[
        local shown = {}
        local function look() shown[#shown + 1] = ("%s %d"):format(vim.fn.bufname(), #vim.api.nvim_list_wins()) end
        vim.cmd("edit mine")
        vim.cmd("CertRotate inventory")
        T.line("USED BY")
        local folded = vim.fn.foldclosed(T.line("@OLD@") + 1) ~= -1
        look()
        vim.cmd("CertRotate verify shop.example --edge 127.0.0.1:1")
        look()
        vim.cmd("wincmd p | CertRotate verify shop.example --edge 127.0.0.1:1 | vertical CertRotate verify x.example")
        look()
        T.keys("q")
        look()
        folded = folded and vim.fn.foldclosed(T.line("@OLD@") + 1) ~= -1
        T.keys("q")
        look()
        return { shown = shown, folded = folded }
      ]])
      assert.same({ "certrotate://inventory 2", "certrotate://verify 2", "certrotate://verify 2",
                    "certrotate://inventory 2", "mine 1" }, out.shown)
      assert.is_true(out.folded)
    end)

    it("begins a plan from the inventory, with the flags that name the account", function()
      local out = run([[
        vim.cmd("CertRotate inventory --region us-east-1 --edge @EDGE@")
        T.go("@OLD@")
        T.keys("P/nonexistent<CR>")
        T.notified("/nonexistent")
        return { typed = vim.fn.histget(":", -1), notice = T.notices[1], shown = T.text() }
      ]])
      assert.matches("^CertRotate plan %-%-region us%-east%-1 %-%-edge 127.0.0.1:%d+ %-%-replace arn:%S+ "
        .. "%-%-certificate /nonexistent$", out.typed)
      assert.matches("^certrotate: cannot", out.notice)
      assert.equal(out.notice, "certrotate: " .. out.shown)
    end)

    it("completes without waiting, from an inventory read in the background", function()
      local config = fleet:path("aws-config")
      command.write(config, "[default]\n[profile prod]\nregion = us-east-1\n[profile stage]\n")
      local credentials = fleet:path("aws-credentials")
      command.write(credentials, "[keys]\naws_access_key_id = AKIDEXAMPLE\n")
      local out = run([[
        local function complete(line) return vim.fn.getcompletion("CertRotate " .. line, "cmdline") end
        local out = { names = complete(""), some = complete("re"), flags = complete("plan --p"),
                      choice = complete("plan --store "),
                      used = complete("plan --policy cheapest --pol"), profile = complete("inventory --profile p"),
                      profiles = complete("inventory --profile="),
                      equals = complete("plan --store=a"), files = complete("status /etc/hostn"), none = complete("nonsense "),
                      policy = complete("plan --policy c") }
        local began = vim.loop.hrtime()
        out.first = complete("plan --replace ")
        out.waited = (vim.loop.hrtime() - began) / 1e6
        T.wait(function() return #complete("plan --replace ") > 0 end, "the inventory")
        out.references = complete("plan --replace arn:")
        out.by_name = complete("plan --replace shop.exa")
        out.ids = complete("plan --replace @OLD@ --only ")
        out.more_ids = complete("plan --replace @OLD@ --only " .. out.ids[1] .. " ")
        out.all_ids = complete("plan --only E")
        out.hosts = complete("verify ")
        out.abbreviated = vim.fn.getcompletion("CertR inv", "cmdline")
        out.notices = T.notices
        return out
      ]], { environment = { AWS_CONFIG_FILE = config, AWS_SHARED_CREDENTIALS_FILE = credentials } })
      assert.matches("^inventory plan apply resume status ", table.concat(out.names, " "))
      assert.same({ "resume" }, out.some)
      assert.same({ "--parallel", "--passphrase-file", "--pause", "--policy", "--poll", "--price", "--private-key", "--probes",
        "--profile" }, out.flags)
      assert.same({ "acm", "iam" }, out.choice)
      assert.same({ "--poll" }, out.used)
      assert.same({ "prod" }, out.profile)
      assert.same({ "--profile=default", "--profile=keys", "--profile=prod", "--profile=stage" }, out.profiles)
      assert.same({ "--store=acm" }, out.equals)
      assert.same({ "/etc/hostname" }, out.files)
      assert.same({}, out.none)
      assert.same({ "careful", "cheapest" }, out.policy)
      assert.same({}, out.first)
      assert.is_true(out.waited < 250, out.waited .. " ms")
      for _, reference in ipairs(out.references) do assert.matches("^arn:aws:acm:", reference) end
      assert.same({ fleet.simulator.old_reference }, out.by_name)
      assert.same(fleet:on(fleet.simulator.old_reference), out.ids)
      assert.equal(9, #out.more_ids)
      assert.is_true(#out.all_ids >= 20)
      assert.is_true(#out.hosts > 5)
      assert.same({ "inventory" }, out.abbreviated)
      assert.same({}, out.notices)
    end)

    it("refuses bad input in one line, and nothing is changed", function()
      local before = fleet:record().effects
      local cases = {
        { "nonsense", "there is no 'nonsense'" },
        { "plan", "--replace is missing" },
        { "plan --replace @OLD@", "--certificate is missing" },
        { "plan --replace", "--replace: a value is missing" },
        { "plan --replace a --replace b", "--replace is given twice" },
        { "plan --replace @OLD@ --yes", "plan takes no --yes" },
        { "apply --yes", "apply takes no --yes" },
        { "plan --store s3", "--store: acm or iam expected, got s3" },
        { "plan --no-verify=1", "--no-verify takes no value" },
        { "plan @OLD@", "plan takes no '@OLD@'" },
        { "inventory --expiring soon", "--expiring: expected a duration" },
        { "inventory --profile nowhere", "profile 'nowhere' is neither in" },
        { "inventory --holders nothing", "no certificate nothing in this account" },
        { "inventory --edge here", "--edge: HOST:PORT expected" },
        { "status", "the journal is missing" },
        { "status /nonexistent", "cannot read the journal" },
        { "status @TRUST@", "not a journal" },
        { "resume /nonexistent", "cannot read the journal" },
        { "log", "no rotation was begun in this Neovim" },
        { "log /nonexistent", "cannot read the journal" },
        { "cancel", "no rotation is running here" },
        { "cancel x", "no rotation with the journal x is running here" },
        { "apply", "no plan here" },
        { "apply /nonexistent", "cannot read the plan" },
        { "apply @TRUST@", "not JSON; make a new plan with `:CertRotate plan`" },
        { "verify", "the host is missing" },
        { "verify www.shop.example --fingerprint xyz", "--fingerprint: 64 hexadecimal digits" },
        { PLAN:gsub("@KEY@", "@TRUST@") .. "j1", "key" },
        { PLAN:gsub("@OLD@", "arn:aws:acm:us-east-1:111122223333:certificate/none") .. "j1", "no certificate arn" },
        { PLAN:gsub("@CERTIFICATE@", "/nonexistent") .. "j1", "/nonexistent" },
        { PLAN:gsub("cheapest", "quickest") .. "j1", "quickest" },
        { PLAN:gsub("canary 1", "canary -1") .. "j1", "--canary: a whole number" },
      }
      local lines = {}
      for i, case in ipairs(cases) do lines[i] = ("{ %q, %q }"):format(case[1], case[2]) end
      local out = run(([[
        local bad = {}
        for _, case in ipairs({ %s }) do
          T.notices, T.levels = {}, {}
          vim.cmd("CertRotate " .. case[1])
          T.wait(function() return #T.notices > 0 end, case[1])
          vim.wait(20)
          if #T.notices ~= 1 or T.levels[1] ~= vim.log.levels.ERROR or not T.notices[1]:find(case[2], 1, true)
            or not T.notices[1]:find("^certrotate: ") or T.notices[1]:find("\n") then
            bad[#bad + 1] = case[1] .. " -> " .. table.concat(T.notices, " | ")
          end
        end
        return bad
      ]]):format(table.concat(lines, ", ")))
      assert.same({}, out)
      assert.same(before, fleet:record().effects)
    end)

    it("applies a plan from its buffer after \"yes\", and only then", function()
      local before = fleet:record().effects
      local out = run([[
        vim.cmd("CertRotate ]] .. PLAN .. [[first")
        T.line("Replace")
        local reviewed, filetype = T.text(), vim.bo.filetype
        T.answer("no", "yes")
        T.keys("a")
        T.wait(function() return #T.notices == 1 end)
        local refused = T.notices[1]
        local unread = vim.fn.filereadable("@DIR@/first")
        vim.cmd("split elsewhere")                         -- whoever goes on with other things is left in peace
        local window, statusline, corner = vim.api.nvim_get_current_win(), {}, nil
        vim.cmd("wincmd p | CertRotate apply | wincmd p")
        local moved = {}
        T.wait(function()
          statusline[require("certrotate.neovim").statusline()] = true
          moved[vim.api.nvim_get_current_win()] = true
          for _, one in ipairs(vim.api.nvim_list_wins()) do
            if vim.api.nvim_win_get_config(one).relative ~= "" then corner = T.text(vim.api.nvim_win_get_buf(one)) end
          end
          return #T.notices > 1
        end)
        local states = vim.tbl_keys(statusline)
        table.sort(states)
        local stayed = vim.api.nvim_get_current_win() == window and #vim.tbl_keys(moved)
        local after = require("certrotate.neovim").statusline()
        -- A minute later the corner still tells the end, until somebody is there.
        local function cornered()
          for _, one in ipairs(vim.api.nvim_list_wins()) do
            if vim.api.nvim_win_get_config(one).relative ~= "" then return T.text(vim.api.nvim_win_get_buf(one)) end
          end
        end
        local hrtime, drawn = vim.loop.hrtime, vim.cmd
        vim.loop.hrtime = function() return hrtime() + 60e9 end
        local draw = function()
          local done
          vim.cmd = function(...) done = true return drawn(...) end
          require("certrotate.neovim.corner").update()
          T.wait(function() return done end)
          vim.cmd = drawn
        end
        draw()
        local told = cornered()
        vim.cmd("doautocmd CursorMoved")
        draw()
        local left = cornered()
        vim.loop.hrtime = hrtime
        vim.cmd("CertRotate log")
        local log, log_filetype = T.text(), vim.bo.filetype
        vim.cmd("CertRotate status @DIR@/first")
        local status = T.text()
        vim.cmd("CertRotate log @DIR@/first")
        return { reviewed = reviewed, filetype = filetype, asked = T.asked, refused = refused, unread = unread, stayed = stayed,
                 states = states, after = after, corner = corner, ended = T.notices[2], level = T.levels[2], log = log,
                 log_filetype = log_filetype, status = status, count = #T.notices, told = told, left = left }
      ]])
      assert.matches("^a apply", out.reviewed)
      assert.matches("9 holders in about", out.reviewed)
      assert.equal("certrotate-plan", out.filetype)
      assert.matches("^Change 9 holders, with the journal .*first%? Type yes to go on: $", out.asked[1])
      assert.equal("certrotate: nothing was changed", out.refused)
      assert.equal(0, out.unread)
      assert.equal(1, out.stayed)
      assert.is_true(#out.states > 2)
      assert.matches("certrotate: wave 1/%d, %d/1 Deployed", table.concat(out.states, "\n"))
      assert.equal("", out.after)
      assert.matches("%[#.*%] %d/9", out.corner)
      assert.matches("%[#+%] 9/9  done", out.told)
      assert.is_nil(out.left)
      assert.equal("certrotate: 9 of 9 holders changed in ", out.ended:sub(1, 38))
      assert.equal(2, out.level)
      assert.equal(2, out.count)
      assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ imported into ACM", out.log)
      assert.matches("Z done wave 1/", out.log)
      assert.equal("certrotate-log", out.log_filetype)
      assert.matches("finished; the old certificate is kept", out.status)
      assert.same({}, fleet:on(fleet.simulator.old_reference))
      assert.equal((before.updates or 0) + 9, fleet:record().effects.updates)
    end)

    -- The certificate most use now, and one to replace it by: new, old, new, … in turn.
    local function turn()
      local simulator = fleet.simulator
      local current, which = fleet:most_used()
      local plan = PLAN:gsub("@OLD@", current):gsub("@(%u+)@", { CERTIFICATE = simulator.files[which .. "_certificate"],
        KEY = simulator.files[which .. "_key"], CHAIN = simulator.files[which .. "_chain"] })
      return plan, current
    end

    -- Begun, and going on: the first wave is being deployed.
    local BEGIN = [[
      vim.cmd("CertRotate %s")
      T.line("Replace")
      T.answer("yes")
      vim.cmd("CertRotate apply")
      T.wait(function() return require("certrotate.neovim").statusline():find("Deployed") end)
    ]]

    it("stops at a safe point when it is cancelled, and goes on", function()
      local plan, current = turn()
      local out = run(BEGIN:format(plan .. "second") .. [[
        vim.cmd("CertRotate resume @DIR@/second")            -- refused: it is going on
        local twice = T.notices[1]
        vim.cmd("CertRotate log")
        T.keys("<C-c>")
        local said = T.notices[2]
        T.notified("interrupted")
        local ended, log = T.notices[3], T.text()
        vim.cmd("CertRotate status @DIR@/second")
        local status, count = T.text(), #T.notices
        T.keys("r--poll 100ms<CR>")
        T.wait(function() return #T.notices > count end)
        T.keys("Rr")
        local over, finished = T.notices[count + 2], T.lines()[1]
        return { twice = twice, said = said, ended = ended, log = log, status = status, resumed = T.notices[count + 1],
                 over = over, finished = finished }
      ]])
      assert.matches("second is being worked on in this Neovim", out.twice)
      assert.equal("certrotate: finishing what was begun, then stopping; again to cut it off", out.said)
      assert.matches("^certrotate: interrupted; :CertRotate resume .*second$", out.ended)
      assert.matches("To go on: :CertRotate resume ", out.log)
      assert.matches("holders are being changed", out.status)
      assert.matches("To go on: :CertRotate resume ", out.status)
      assert.equal("certrotate: 9 of 9 holders changed in ", out.resumed:sub(1, 38))
      assert.matches("^r resume   L log   ", out.status)
      assert.matches("^L log   ", out.finished)
      assert.equal("certrotate: nothing is left to be done here", out.over)
      assert.same({}, fleet:on(current))
    end)

    it("brings what was begun to its end when Neovim is left, so that the journal can be resumed", function()
      local plan, current = turn()
      assert(fleet.simulator:control("faults", { operation = "UpdateDistribution", kind = "delay", seconds = 1 }))
      finally(function() fleet.simulator:control("faults", { clear = true }) end)
      -- Left while the first change is on its way.
      local out, noise = run([[
        vim.cmd("CertRotate ]] .. plan .. [[third")
        T.line("Replace")
        T.answer("yes")
        vim.cmd("CertRotate apply")
        T.wait(function()
          local journal = vim.fn.filereadable("@DIR@/third") == 1 and table.concat(vim.fn.readfile("@DIR@/third"), "\n") or ""
          return journal:find('"event":"intent"[^\n]*"step":"swap"')
        end, "an intent")
        return #T.notices
      ]])
      assert.equal(0, out)
      assert.equal("", noise)
      local open, outcomes = {}, 0
      for line in command.read(fleet:path("third")):gmatch("[^\n]+") do
        local id = line:match('"id":"(E%w+)"')
        if id and line:find('"intent"', 1, true) then open[id] = true end
        if id and line:find('"outcome"', 1, true) then open[id], outcomes = nil, outcomes + 1 end
      end
      assert.same({}, open)
      assert.equal(1, outcomes)
      local code, said = fleet:run({ "status", fleet:path("third") })
      assert.equal(0, code)
      assert.matches("holders are being changed", said)
      fleet.simulator:control("faults", { clear = true })
      code, said = fleet:run({ "resume", fleet:path("third"), "--edge", fleet.simulator.edge, "--poll", "100ms" })
      assert.equal(0, code, said)
      assert.same({}, fleet:on(current))
    end)

    it("rolls a reimport back with the certificate that was there", function()
      local plan, current = turn()
      plan = plan:gsub("%-%-policy cheapest %-%-canary 1 ", "")   -- a reimport has no waves
      local method = require("certrotate.rotation.method")
      local aws = assert(fleet:connect())
      finally(function() aws:close() end)
      local was = assert(method.stored(aws, current)).fingerprint
      local which = current == fleet.simulator.old_reference and "old" or "new"
      local files = fleet.simulator.files
      local out = run([[
        vim.cmd("CertRotate ]] .. plan .. [[sixth --method reimport")
        T.line("under the same ARN")
        T.answer("yes", "yes", "yes")
        vim.cmd("CertRotate apply")
        T.notified("holders changed in ")
        vim.cmd("CertRotate rollback @DIR@/sixth --edge @EDGE@ --poll 100ms")
        T.notified("give it with")
        vim.cmd("CertRotate rollback @DIR@/sixth --edge @EDGE@ --poll 100ms --certificate ]] .. files[which .. "_certificate"]
          .. " --private-key " .. files[which .. "_key"] .. " --chain " .. files[which .. "_chain"] .. [[")
        T.notified("holders changed back in ")
        vim.cmd("CertRotate status @DIR@/sixth")
        return T.text()
      ]])
      assert.matches("rolled back; every holder was given the old certificate again", out)
      assert.equal(was, assert(method.stored(aws, current)).fingerprint)
      assert.equal(2, fleet:record().effects.acm_reimports)
    end)

    it("does not apply a plan that was made anew while its question was open", function()
      local plan, current = turn()
      local out = run([[
        vim.cmd("CertRotate ]] .. plan .. [[anew")
        T.line("Replace")
        local view = require("certrotate.neovim.view").current()
        local before, answer = view.plan, nil
        vim.ui.input = function(_, done) answer = done end
        T.keys("a")
        T.wait(function() return answer end)
        T.keys("R")
        T.wait(function() return view.plan and view.plan ~= before end)
        answer("yes")
        T.notified("made anew")
        return { notice = T.notices[#T.notices], journal = vim.fn.filereadable("@DIR@/anew"),
                 running = #require("certrotate.neovim.run").all() }
      ]])
      assert.equal("certrotate: nothing was changed: the plan was made anew meanwhile; read it, then apply it", out.notice)
      assert.equal(0, out.journal)
      assert.equal(0, out.running)
      assert.is_true(#fleet:on(current) > 0)
    end)

    it("shows waiting for a quota, and names pages of journals elsewhere by their URLs", function()
      local out = run([[
        local message = require("certrotate.neovim.message")
        local progress = require("certrotate.neovim.progress").new({ title = "www", plan = { holders = function() return {} end },
          clock = function() return 0 end })
        progress:event({ type = "quota", needed = 3, value = 2, enough = false, deadline = 0 })
        local waiting = progress:lines(62)
        progress:event({ type = "quota", needed = 3, value = 4, enough = true, deadline = 0 })
        return { waiting = waiting, enough = progress:lines(62), url = message.tail("s3://bucket/team/www.journal"),
                 path = message.tail("/tmp/team/www.journal") }
      ]])
      assert.matches("waiting for quota: 2 of 3", out.waiting[2])
      assert.matches("preparing", out.enough[2])
      assert.equal("s3://bucket/team/www.journal", out.url)
      assert.equal("www.journal", out.path)
    end)

    it("reads and goes on with journals in S3", function()
      local plan, current = turn()
      assert(fleet.simulator:control("buckets", { name = "rot-journal" }))
      plan = plan:gsub("%-%-journal .*$", "--journal s3://rot-journal/team/www")
      local out = run([[
        T.answer("yes", "yes")
        vim.cmd("CertRotate ]] .. plan .. [[")
        T.line("Replace")
        vim.cmd("CertRotate apply")
        T.notified("holders changed in ")
        vim.cmd("CertRotate status s3://rot-journal/team/www")
        T.line("finished; the old certificate is kept")
        local status, name = T.text(), vim.fn.bufname()
        vim.cmd("CertRotate status s3://rot-journal/nothing/here")
        T.notified("there is none")
        vim.cmd("CertRotate rollback s3://rot-journal/team/www --edge @EDGE@ --poll 100ms --dedicated-ip-quota 4")
        T.notified("holders changed back in ")
        vim.cmd("CertRotate cancel s3://rot-journal/team/www")
        T.notified("no rotation with the journal s3://rot-journal/team/www is running here")
        return { status = status, name = name }
      ]])
      assert.matches("To delete the old certificate: certrotate retire s3://rot%-journal/team/www", out.status)
      assert.matches("status/s3://rot%-journal/team/www", out.name)
      assert.equal(9, #fleet:on(current))
      -- Another Neovim, which did not begin it.
      out = run([[
        vim.cmd("CertRotate log s3://rot-journal/team/www --region us-east-1")
        T.line("rollback")
        return T.text()
      ]])
      assert.matches("wave 1", out)
    end)

    it("asks for the passphrase of a key, and forgets it", function()
      local plan, current = turn()
      local key = plan:match("%-%-private%-key (%S+)")
      local copy = fleet:path("locked.crt")
      command.write(copy, command.read(plan:match("%-%-certificate (%S+)")))
      local locked = certificates.encrypt({ certificate = copy, private_key = key, dir = fleet.directory }, "open sesame")
      plan = plan:gsub("%-%-private%-key %S+", function() return "--private-key " .. locked end)
      local out = run([[
        T.answer("wrong", "open sesame", "yes", "open sesame")
        vim.cmd("CertRotate ]] .. plan .. [[fourth")
        T.line("Replace")
        T.keys("a")
        T.wait(function() return #T.notices > 0 end)
        local kept = false
        for _, name in ipairs(vim.tbl_keys(package.loaded)) do
          if name:find("^certrotate") and vim.inspect(package.loaded[name]):find("open sesame", 1, true) then kept = true end
        end
        local asked = T.asked
        T.notices = {}
        T.answer("")
        vim.cmd("CertRotate ]] .. plan .. [[fifth")
        T.wait(function() return #T.notices > 0 end)
        return { asked = asked, ended = kept, given_up = T.notices[1], again = #T.asked }
      ]])
      assert.matches("is encrypted: give its passphrase\nPassphrase: $", out.asked[1])
      assert.matches("does not open", out.asked[2])
      assert.matches("^Change 9 holders", out.asked[3])
      assert.matches("Passphrase: $", out.asked[4])
      assert.equal(4, #out.asked)
      assert.is_false(out.ended)
      assert.matches("is encrypted", out.given_up)
      assert.equal(1, out.again)
      assert.same({}, fleet:on(current))
      local journal = command.read(fleet:path("fourth"))
      assert.is_nil(journal:find("open sesame", 1, true))
    end)

    it("reads JSON with Neovim's own where lua-cjson is not installed", function()
      local out = run([[
        vim.cmd("CertRotate inventory")
        T.line("USED BY")
        return { text = T.text(), cjson = pcall(require, "cjson.safe") }
      ]], { before = "package.preload['cjson.safe'] = function() error('not installed') end" })
      assert.is_false(out.cjson)
      assert.truthy(out.text:find("arn:aws:acm:", 1, true))
    end)

    it("looks at what is served", function()
      local out = run([[
        vim.cmd("CertRotate verify shop.example www.shop.example:443 nosuch.invalid --edge @EDGE@ --trust @TRUST@")
        T.line("SHA-256")
        local seen = T.text()
        vim.cmd("CertRotate verify shop.example --edge 127.0.0.1:1")
        T.line("shop.example: ")
        return { seen = seen, refused = T.text(), notices = T.notices }
      ]])
      assert.matches("shop.example: .*trusted\n  SHA%-256 %x+", out.seen)
      assert.matches("www.shop.example:443: ", out.seen)
      assert.matches("shop.example: .*connect", out.refused)
      assert.same({}, out.notices)
    end)

    it("shows an account that cannot be read as what it is", function()
      local out = run([[
        vim.cmd("CertRotate inventory")
        T.wait(function() return #T.notices > 0 end)
        return { text = T.text(), notice = T.notices[1] }
      ]], { environment = { AWS_SECRET_ACCESS_KEY = "wrong" } })
      assert.matches("SignatureDoesNotMatch", out.notice)
      assert.matches("SignatureDoesNotMatch", out.text)
    end)

    it("checks its health without showing secrets", function()
      local out = run([[
        vim.cmd("checkhealth certrotate")
        local good = T.text()
        vim.env.CERTROTATE_STATE, vim.env.AWS_ACCESS_KEY_ID = "/etc/hostname/certrotate", nil
        vim.cmd("checkhealth certrotate")
        return { good = good, bad = T.text() }
      ]])
      for _, part in ipairs({ "Neovim 0.", "libcurl %d", "OpenSSL 3", "expat 2", "lua%-cjson", "is writable",
                              "credentials from environment", "account 111122223333", "clock agrees" }) do
        assert.matches("OK:? .*" .. part, out.good)
      end
      assert.is_nil(out.good:find("ERROR", 1, true))
      assert.is_nil(out.good:find(fleet.simulator.secret_access_key, 1, true))
      assert.is_nil(out.good:find(fleet.simulator.access_key_id, 1, true))
      assert.matches("ERROR:? locks are kept in /etc/hostname/certrotate, and /etc/hostname is not a writable folder", out.bad)
      assert.matches("WARNING:? no credentials", out.bad)
    end)
  end)
end)
