-- Completion in the real shells, typed in a terminal; the manual page under its own critics.
local command = require("spec.support.command")
local declaration = require("certrotate.cli.declaration")
local terminal = require("spec.support.terminal")

local ROOT = command.shell("pwd -P"):gsub("%s+$", "")

describe("completion", function()
  local folder
  setup(function()
    folder = command.directory()
    assert.equal("", command.shell("cmake --install build --prefix " .. command.quote(folder) .. " 2>&1 >/dev/null"))
    for _, name in ipairs({ "zebra.pem", "www.journal", "www.svg" }) do command.write(folder .. "/" .. name, "") end
    command.write(folder .. "/aws-config", "[default]\n[profile 'live shop']\n[ profile prod ]\n[services local]\n")
    command.write(folder .. "/aws-credentials", "[keys]\naws_access_key_id = AKIDEXAMPLE\n")
    command.write(folder .. "/zshrc", ("PS1='> '\nfpath=(%s/share/zsh/site-functions $fpath)\n"
      .. "autoload -Uz compinit && compinit -u -d %s/zcompdump\n"):format(folder, folder))
    command.write(folder .. "/bashrc", ("PS1='> '\nbind 'set show-all-if-ambiguous on'\n"
      .. ". %s/share/bash-completion/completions/certrotate\n"):format(folder))
    command.write(folder .. "/.zshrc", ". " .. folder .. "/zshrc\n")
  end)
  teardown(function() command.remove(folder) end)

  local SHELLS = {
    bash = function() return ("bash --noprofile --rcfile %s/bashrc -i"):format(folder) end,
    zsh = function() return "zsh -i" end,
    fish = function()
      return ("fish --no-config -i -C 'function fish_prompt; echo \"> \"; end; source %s/share/fish/vendor_completions.d/"
        .. "certrotate.fish'"):format(folder)
    end,
  }

  for _, shell in ipairs({ "bash", "zsh", "fish" }) do
    it("completes commands, flags, choices, profiles, journals and files in " .. shell, function()
      local shown = terminal.start(SHELLS[shell](), { folder = folder, environment = {
        HOME = folder, ZDOTDIR = folder, XDG_CONFIG_HOME = folder .. "/config", XDG_DATA_HOME = folder .. "/data",
        AWS_CONFIG_FILE = folder .. "/aws-config", AWS_SHARED_CREDENTIALS_FILE = folder .. "/aws-credentials",
        PATH = folder .. "/bin:" .. os.getenv("PATH"), TERM = "screen", LC_ALL = "C.UTF-8",
      } })
      finally(function() shown:close() end)
      shown:screen(nil, "> *\n")
      local function completed(typed, expected)
        shown:type(typed, "Tab")
        shown:screen(expected)
        shown:type("", "C-u")
        shown:type("clear", "Enter")
        shown:screen(nil, "^> *\n")
      end
      completed("certrotate inv", "certrotate inventory")
      completed("certrotate plan --repl", "certrotate plan --replace")
      completed("certrotate apply --yes --store i", "--store iam")
      completed("certrotate check --cert", "certrotate check --certificate")
      completed("certrotate check --certificate zeb", "--certificate zebra.pem")
      completed("certrotate plan --policy chea", "--policy cheapest")
      completed("certrotate status zeb", "certrotate status zebra.pem")
      completed("certrotate status ww", "certrotate status www.journal")
      completed("certrotate reconcile zeb", "certrotate reconcile zebra.pem")
      completed("certrotate inventory --profile pr", "--profile prod")
      completed("certrotate plan --profile k", "--profile keys")
      completed("certrotate status --profile li", "--profile live\\ shop")
      completed("certrotate completion fi", "certrotate completion fish")
      completed("certrotate schema reco", "certrotate schema reconcile")
      completed("certrotate verify --json --no", "certrotate verify --json --no")   -- nothing of another command
    end)
  end

  it("is refused for another shell", function()
    local code, out, err = command.run({ "completion", "csh" })
    assert.equal(2, code)
    assert.equal("", out)
    assert.matches("^certrotate: argument 'shell' must be one of", err)
  end)

  it("and the manual page are of the flags the commands take", function()
    local page = command.shell("man -l " .. command.quote(folder .. "/share/man/man1/certrotate.1") .. " | col -b")
    local read = {}
    for _, shell in ipairs({ "bash", "zsh", "fish" }) do
      read[shell] = select(2, command.run({ "completion", shell }))
    end
    local count = 0
    for _, one in ipairs(declaration.all()) do
      local _, help = command.run({ one.name, "--help" })
      for _, parameter in ipairs(one.flags) do
        count = count + 1
        local flag = parameter.flag:gsub("%-", "%%-") .. "%f[^%w-]"
        assert.matches(flag, page)
        assert.matches(flag, help)
        for _, shell in ipairs({ "bash", "zsh" }) do assert.matches(flag, read[shell]) end
        assert.truthy(read.fish:find(("__fish_seen_subcommand_from %s' -l %s"):format(one.name, parameter.flag:sub(3)), 1, true))
      end
      -- What `--help` shows is declared: nothing is known to argparse alone.
      local declared = { ["--help"] = true }
      for _, list in ipairs({ one.flags, declaration.common() }) do
        for _, parameter in ipairs(list) do declared[parameter.flag] = true end
      end
      for line in help:gmatch("[^\n]+") do
        local flag = line:match("^ +(%-%-[%w-]+)") or line:match("^ +%-%a, (%-%-[%w-]+)")
        assert.is_true(flag == nil or declared[flag], line)
      end
    end
    assert.is_true(count > 60)
  end)

  it("and the manual page has nothing for mandoc or man to complain about", function()
    local page = command.quote(folder .. "/share/man/man1/certrotate.1")
    local asked = 0
    for tool, line in pairs({ mandoc = "mandoc -T lint -W all %s 2>&1",
                              man = "LC_ALL=C.UTF-8 MANROFFSEQ='' man --warnings -l %s 2>&1 >/dev/null",
                              groff = "groff -man -ww -T utf8 -z %s 2>&1" }) do
      if command.shell("command -v " .. tool) ~= "" then
        asked = asked + 1
        assert.equal("", command.shell(line:format(page)), tool)
      end
    end
    assert.is_true(asked > 0)
    -- Of the version, and the same whenever it is made.
    assert.matches('^%.TH CERTROTATE 1 "20%d%d%-%d%d%-%d%d" "certrotate [%d.]+"',
      command.read(folder .. "/share/man/man1/certrotate.1"))
  end)

  it("works from the tree", function()
    for _, shell in ipairs({ "bash", "zsh", "fish" }) do
      command.write(folder .. "/tree", command.shell(ROOT .. "/build/bin/certrotate completion " .. shell))
      assert.equal("", command.shell(("%s -n %s/tree 2>&1"):format(shell, folder)))
    end
  end)
end)
