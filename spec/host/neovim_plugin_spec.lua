-- :CertRotate as its user meets it: in a terminal, and while other things go on in the same editor.
local command = require("spec.support.command")
local fleet = require("spec.support.fleet")
local neovim = require("spec.support.neovim")
local terminal_module = require("spec.support.terminal")

if not rawget(_G, "jit") then return end   -- Neovim is the same whichever interpreter runs the test: once will do

local USERS = 24

describe("Neovim during a rotation", function()
  local account
  local turn = 0

  setup(function()
    account = fleet.start({ propagation = 1, jitter = 0.3, distributions = 30, users = USERS, vip = 2, seed = 11 })
  end)
  teardown(function() account:stop() end)

  -- The flags of the next plan: to the new certificate, back to the old one, …
  local function plan()
    turn = turn + 1
    local simulator, current, which = account.simulator, account:most_used()
    local files = simulator.files
    return ("plan --replace %s --certificate %s --private-key %s --chain %s --trust %s --edge %s --dedicated-ip-quota 4 "
      .. "--policy cheapest --canary 1 --poll 200ms --journal %s"):format(current, files[which .. "_certificate"],
      files[which .. "_key"], files[which .. "_chain"], simulator.trust_file, simulator.edge, account:path("j" .. turn)), current
  end

  -- As in reality the certificate's root is a known one: telling that a root is unknown takes reading all there are.
  -- A ticker of 5 ms in the editor, alone for two seconds and then beside a rotation of 24 distributions. What it waited
  -- for a processor that others had (the kernel counts that) is not the rotation's doing. Machines stand still in other
  -- ways, too; what the rotation does it does every time, so the best of three rotations counts.
  it("goes on: a 5 ms ticker never waits longer than 15 ms", function()
    local said = {}
    for _ = 1, 3 do
      local flags, current = plan()
      local out = neovim.run([[
        local uv = vim.loop
        -- Milliseconds this thread was ready to run and did not.
        local function queued()
          local file = io.open("/proc/self/schedstat", "rb")
          local ns = file and file:read("*l"):match("^%d+ (%d+)")
          if file then file:close() end
          return (tonumber(ns) or 0) / 1e6
        end
        local function tick(fn)
          local timer, last, waited, worst, raw, count = uv.new_timer(), uv.hrtime(), queued(), 0, 0, 0
          timer:start(5, 5, function()
            local now, queue = uv.hrtime(), queued()
            local gap = (now - last) / 1e6
            worst, raw, count = math.max(worst, gap - (queue - waited)), math.max(raw, gap), count + 1
            last, waited = now, queue
          end)
          fn()
          timer:stop()
          timer:close()
          return { worst = worst, raw = raw, count = count }
        end
        vim.cmd("CertRotate ]] .. flags .. [[")
        T.line("Replace")
        local alone = tick(function() vim.wait(2000, function() return false end, 50) end)
        T.answer("yes")
        local beside = tick(function()
          vim.cmd("CertRotate apply")
          vim.wait(60000, function() return #T.notices > 0 end, 50)
        end)
        return { alone = alone, beside = beside, notice = T.notices[1] }
      ]], { environment = account:environment({ SSL_CERT_FILE = account.simulator.trust_file }) })
      assert.matches("^certrotate: 24 of 24 holders changed", out.notice)
      assert.same({}, account:on(current))
      assert.is_true(out.beside.count > 300, out.beside.count .. " ticks")
      said[#said + 1] = ("beside a rotation %.1f ms (%.1f with waiting for a processor), alone %.1f ms (%.1f)"):format(
        out.beside.worst, out.beside.raw, out.alone.worst, out.alone.raw)
      if os.getenv("CERTROTATE_SAY") then print(said[#said]) end
      if out.beside.worst <= 15 then return end
    end
    error("the editor stood still: " .. table.concat(said, "; "))
  end)

  describe("in a terminal", function()
    local terminal, folder

    local function screen(...) return terminal:screen(...) end
    local function type_in(...) terminal:type(...) end

    setup(function()
      folder = command.directory()
      command.write(folder .. "/init.vim", ("set runtimepath^=%s laststatus=2\n"
        .. "set statusline=%%f%%=%%{v:lua.require'certrotate.neovim'.statusline()}\n"):format(neovim.root))
      command.shell("mkdir " .. command.quote(folder .. "/.aws"))
      command.write(folder .. "/.aws/config", "[profile prod]\nregion = us-east-1\n")
      -- Others can read it: that is told, but nobody is asked for ENTER.
      command.write(folder .. "/.aws/credentials", "[practice]\naws_access_key_id = AKIDEXAMPLE\n")
      local environment = account:environment({ HOME = folder, NVIM_LOG_FILE = folder .. "/log" })
      terminal = terminal_module.start("nvim -u " .. command.quote(folder .. "/init.vim") .. " -i NONE -n",
        { folder = folder, environment = environment })
      screen("NVIM")
    end)
    teardown(function()
      terminal:close()
      command.remove(folder)
    end)

    it("shows a plan, asks, shows progress and tells the end", function()
      local flags, current = plan()
      type_in(":CertRotate " .. flags, "Enter")
      local shown = screen("Replace ")
      assert.truthy(shown:find("a apply (asks first)", 1, true), shown)
      assert.truthy(shown:find("1 canary", 1, true), shown)
      assert.is_nil(shown:find("Press ENTER", 1, true), shown)
      type_in("zM")
      screen("+ 20 holders more")
      type_in("zR")
      screen(nil, "\n +E%w+ +%S+ +sni%-only")
      type_in("a")
      screen("Type yes to go on:")
      type_in("yes", "Enter")
      shown = screen("Deployed", "%[#*%.*%] %d+/24  %d+/%d+ %a+")
      assert.truthy(shown:find("Being carried out", 1, true), shown)
      assert.truthy(shown:find("╭", 1, true), shown)
      assert.truthy(shown:find("certrotate: wave 1/3", 1, true), shown)
      assert.is_nil(shown:find("Type yes", 1, true), shown)
      -- Typing goes where the cursor is, not to the rotation.
      type_in(":enew", "Enter")
      type_in("iwhile it goes on", "Escape")
      shown = screen("certrotate: 24 of 24 holders changed in ")
      assert.truthy(shown:find("while it goes on", 1, true), shown)
      screen(nil, "%[#+%] 24/24  done")
      assert.is_nil(shown:find("Press ENTER", 1, true), shown)
      type_in(":CertRotate log", "Enter")
      shown = screen("To delete it: certrotate retire")
      assert.truthy(shown:find("Z done wave 3/3", 1, true), shown)
      assert.same({}, account:on(current))
    end)

    it("folds the inventory and completes in the command line", function()
      type_in(":only | CertRotate inventory", "Enter")
      local shown = screen("+ 24 distributions: ")
      assert.truthy(shown:find("<CR> detail", 1, true), shown)
      type_in(":CertRotate plan --replace shop.example")
      type_in("", "Tab")
      shown = screen("--replace arn:aws:acm:us-east-1:")
      type_in("", "Escape")
      assert.is_nil(shown:find("E%d+:"), shown)
      type_in(":CertRotate inventory --profile p")
      type_in("", "Tab")
      screen("--profile practice")
      type_in("", "Tab")
      screen("--profile prod")
      type_in("", "Escape")
    end)
  end)
end)
