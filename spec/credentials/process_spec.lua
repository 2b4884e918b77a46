-- credential_process: real programs, what they print and how they misbehave.
local aws_home = require("spec.support.aws_home")
local command = require("spec.support.command")
local core = require("certrotate.core")
local launch = require("certrotate.simulator.launch")
local process = require("certrotate.credentials.process")

local quote = command.quote

describe("credential_process", function()
  it("is split into words as a shell would, and nothing else of a shell happens", function()
    for line, words in pairs({
      ["/bin/x"] = { "/bin/x" },
      ["  /bin/x   a\tb "] = { "/bin/x", "a", "b" },
      ["x 'a b' \"c d\" e\\ f"] = { "x", "a b", "c d", "e f" },
      ["x '' \"\" a''b"] = { "x", "", "", "ab" },
      ["x \"a\\\"b\\\\c\\n\" 'd\\e' \\'"] = { "x", "a\"b\\c\\n", "d\\e", "'" },
      ["x $HOME `id` ; rm * > y | z & #c"] = { "x", "$HOME", "`id`", ";", "rm", "*", ">", "y", "|", "z", "&", "#c" },
      ["--user='a b'"] = { "--user=a b" },
    }) do
      assert.same(words, process.split(line), line)
    end
    for _, line in ipairs({ "x 'a", "x \"a", "x \"a\\\"", "x \\" }) do assert.is_nil(process.split(line), line) end
  end)

  describe("runs a program", function()
    local simulator, home

    setup(function() simulator = assert(launch.start({ distributions = 0, seed = 3 })) end)
    teardown(function() simulator:stop() end)
    before_each(function() home = aws_home.new(simulator) end)
    after_each(function() home:close() end)

    -- A profile whose program is a script in a folder with a blank in its name.
    local function script(text)
      local folder = home.path .. "/my tools"
      os.execute("mkdir -p " .. quote(folder))
      command.write(folder .. "/get", "#!/bin/sh\n" .. text .. "\n")
      os.execute("chmod 700 " .. quote(folder .. "/get"))
      home:write("config", "[profile p]\ncredential_process = '" .. folder .. "/get' \"an argument\"\n")
    end

    local function print_json(more, temporary)
      local key = temporary and simulator.temporary or simulator
      script(("cat <<'X'\n{\"Version\": 1, \"AccessKeyId\": \"%s\", \"SecretAccessKey\": \"%s\"%s%s}\nX"):format(
        key.access_key_id, key.secret_access_key, temporary and (', "SessionToken": "%s"'):format(key.session_token) or "",
        more or ""))
    end

    local function refused(code, ...)
      local found, err = home:fetch({ profile = "p" })
      assert.is_nil(found)
      assert.equal("credentials", err.kind)
      assert.equal(code, err.code, tostring(err))
      for _, part in ipairs({ ... }) do assert.truthy(err.message:find(part, 1, true), err.message) end
      assert.is_nil(err.message:find("\n", 1, true))
      return err
    end

    it("and signs with what it prints", function()
      print_json()
      local aws = assert(home:connect({ profile = "p" }))
      assert.equal("process", aws.source)
      assert.equal("111122223333", assert(aws:account_id()))
      assert.is_nil(assert(aws:credentials()).expires_at)
      print_json(', "Expiration": "2099-01-15T13:00:00+01:00", "AccountId": "1"', true)
      local found, err, temporary = home:fetch({ profile = "p" })
      assert.is_nil(err)
      assert.equal(4072161600, found.expires_at)
      assert.equal("111122223333", assert(temporary:account_id()))
    end)

    it("with its arguments, no input, and none of our files", function()
      script("[ \"$#:$1\" = '1:an argument' ] || exit 9\n[ -z \"$(cat)\" ] || exit 8\n"
        .. "ls /proc/self/fd | grep -q '^[4-9]' && exit 7\n"
        .. ("echo '{\"Version\":1,\"AccessKeyId\":\"%s\",\"SecretAccessKey\":\"%s\"}'"):format(
        simulator.access_key_id, simulator.secret_access_key))
      assert(home:fetch({ profile = "p" }))
    end)

    it("and says what is wrong with it, never what it printed", function()
      local secret = "wJalrXUtnFEMIsecretK7MDENG"
      script("echo '" .. secret .. "'; echo 'the vault is\n  sealed' >&2; exit 3")
      local err = refused("ProcessFailed", "profile 'p'", "my tools/get", "failed with exit code 3: the vault is sealed")
      assert.is_nil(tostring(err):find(secret, 1, true))
      script("echo '" .. secret .. "'")
      err = refused("ProcessFailed", "prints something that is not JSON")
      assert.is_nil(tostring(err):find(secret, 1, true))
      script("echo hello >&2")
      refused("ProcessFailed", "prints nothing: hello")
      script("kill -9 $$")
      refused("ProcessFailed", "was ended by signal 9")
      script("yes " .. secret)
      err = refused("ProcessFailed", "more than such a program has to say")
      assert.is_nil(tostring(err):find(secret, 1, true))
      script("head -c 3000 /dev/zero | tr '\\0' e >&2; exit 1")
      assert.is_true(#refused("ProcessFailed", "exit code 1").message < 400)
      home:write("config", "[profile p]\ncredential_process = /nonexistent/tool --x\n")
      refused("ProcessFailed", "/nonexistent/tool", "No such file or directory")
      home:write("config", "[profile p]\ncredential_process = /bin/echo 'open\n")
      refused("MalformedConfig", "a quote is not closed")
      for json, what in pairs({ ['{"AccessKeyId":"a","SecretAccessKey":"b"}'] = "Version is not the number 1",
        ['{"Version":"1","AccessKeyId":"a","SecretAccessKey":"b"}'] = "Version is not the number 1",
        ['{"Version":1,"SecretAccessKey":"b"}'] = "without AccessKeyId",
        ['{"Version":1,"AccessKeyId":"a"}'] = "without SecretAccessKey",
        ['{"Version":1,"AccessKeyId":"a","SecretAccessKey":"b","Expiration":"soon"}'] = "no ISO 8601 time",
        ['{"Version":1,"AccessKeyId":"a","SecretAccessKey":"b","SessionToken":5}'] = "SessionToken is no string",
        ["[]"] = "Version is not", ["null"] = "Version" }) do
        script("echo '" .. json .. "'")
        refused("ProcessFailed", what)
      end
      print_json(', "Expiration": "2020-01-01T00:00:00Z"', true)
      refused("ExpiredCredentials", "had expired at 2020-01-01 00:00:00 UTC")
    end)

    it("and gives one that hangs up, with what it started", function()
      script("sleep 60 & sleep 60")
      local aws = assert(home:connect({ profile = "p" }))
      local began = core.monotonic()
      local none, err = aws.loop:within(0.3, function() return aws:credentials() end)
      assert.is_nil(none)
      assert.equal("timeout", err.kind)
      -- The renewal itself goes on, for whoever else wants it; it ends with the session.
      local pids = command.shell("pgrep -f " .. quote(home.path .. "/my tools/get"))
      assert.matches("%d", pids)
      aws:close()
      assert.is_true(core.monotonic() - began < 5)
      assert.equal("", command.shell("pgrep -f " .. quote("^/bin/sh " .. home.path .. "/my tools/get")))
    end)
  end)
end)
