-- Credentials that end while work goes on: one renewal however many calls wait, none that holds calls up before it
-- must, and every failure told once, clearly. Lifetimes of seconds; the windows shrink with them (renewal.lua).
local aws_home = require("spec.support.aws_home")
local command = require("spec.support.command")
local core = require("certrotate.core")
local launch = require("certrotate.simulator.launch")
local renewal = require("certrotate.credentials.renewal")

describe("renewal", function()
  it("begins a quarter of an hour before the end, and holds calls up from ten minutes before", function()
    local long = renewal.windows({ access_key_id = "a", expires_at = 20000 }, 10000)
    assert.equal(19100, long.renew_at)
    assert.equal(19400, long.needed_at)
    local hour = renewal.windows({ access_key_id = "a", expires_at = 13600 }, 10000)
    assert.equal(12700, hour.renew_at)
    assert.equal(13000, hour.needed_at)
    -- What lives shorter would be renewed at every call.
    local short = renewal.windows({ access_key_id = "a", expires_at = 10900 }, 10000)
    assert.equal(10675, short.renew_at)
    assert.equal(10750, short.needed_at)
    assert.is_nil(renewal.windows({ access_key_id = "a" }, 10000).needed_at)
    assert.equal(10300, renewal.windows({ access_key_id = "a", expires_at = 11200, renew_at = 10300 }, 10000).renew_at)
  end)

  describe("against the simulator", function()
    local simulator, home

    setup(function() simulator = assert(launch.start({ distributions = 4, users = 2, vip = 0, seed = 3 })) end)
    teardown(function() simulator:stop() end)
    before_each(function()
      home = aws_home.new(simulator)
      home:write_keys()
      home:write("config", "[profile x]\nrole_arn = arn:aws:iam::111122223333:role/any\nsource_profile = default\n")
    end)
    after_each(function()
      home:close()
      assert(simulator:control("settings", { credential_lifetime = 0 }))
      assert(simulator:control("faults", { clear = true }))
    end)

    local function count(operation, after)
      local found = 0
      for _, entry in ipairs(simulator:control("record?after=" .. after).entries) do
        if entry.operation == operation then found = found + 1 end
      end
      return found
    end

    local function calls(aws, many)
      local list = {}
      for index = 1, many do list[index] = index end
      return aws.loop:each(list, many, function()
        local who, err = aws.sts:get_caller_identity()
        return who and who.Account, err
      end)
    end

    it("happens once for the first calls, however many there are", function()
      local before = simulator:control("record").count
      local aws = assert(home:connect({ profile = "x" }))
      assert.equal(60, #assert(calls(aws, 60)))
      assert.equal(1, count("AssumeRole", before))
      assert.equal(60, count("GetCallerIdentity", before))
    end)

    it("happens ahead of the end while calls go on, and no call is ever refused", function()
      assert(simulator:control("settings", { credential_lifetime = 5 }))
      local before = simulator:control("record").count
      local aws = assert(home:connect({ profile = "x" }))
      local until_time, done = core.monotonic() + 9, 0
      while core.monotonic() < until_time do
        done = done + #assert(calls(aws, 10))
        assert(aws.loop:sleep(0.05))
      end
      local renewals = count("AssumeRole", before)
      -- They live 5 s at most (4 s as the second falls) and are renewed when a quarter is left.
      assert.is_true(renewals >= 2 and renewals <= 6, renewals .. " renewals")
      assert.equal(done, count("GetCallerIdentity", before))
      assert.equal(0, simulator:control("record").operations["sts:GetCallerIdentity"].errors)
    end)

    it("happens once when everything stood still beyond the end, and the calls wait without polling", function()
      assert(simulator:control("settings", { credential_lifetime = 2 }))
      local aws = assert(home:connect({ profile = "x" }))
      assert(aws:credentials())
      assert(aws.loop:sleep(2.5))
      assert(simulator:control("settings", { credential_lifetime = 0 }))
      assert(simulator:control("faults", { operation = "AssumeRole", kind = "delay", seconds = 0.5, when = "before" }))
      local before = simulator:control("record").count
      local cpu = os.clock()
      assert.equal(40, #assert(calls(aws, 40)))
      assert.is_true(os.clock() - cpu < 0.3, "waiting costs nothing")
      assert.equal(1, count("AssumeRole", before))
    end)

    it("is asked for once more when AWS takes the credentials no more, and what was refused is repeated", function()
      local aws = assert(home:connect({ profile = "x" }))
      assert(aws:credentials())
      -- AWS ends the session early: nothing on this side knows.
      local id = aws.client:account_info(aws.account).access_key_id
      assert(simulator:control("credentials", { access_key_id = id, secret_access_key = "gone", session_token = "gone" }))
      local before = simulator:control("record").count
      assert.equal(20, #assert(calls(aws, 20)))
      assert.equal(1, count("AssumeRole", before))
      for _, service in ipairs({ "acm", "cloudfront" }) do
        id = aws.client:account_info(aws.account).access_key_id
        assert(simulator:control("credentials", { access_key_id = id, secret_access_key = "x", session_token = "gone" }))
        if service == "acm" then
          assert(aws.acm:list_certificates())
        else
          assert(aws.cloudfront:list_distributions())
        end
      end
    end)

    it("that fails is told to every call that waited, and tried again by the next", function()
      local aws = assert(home:connect({ profile = "x" }))
      local rule = { operation = "AssumeRole", kind = "error", code = "AccessDenied", status = 403, when = "before", count = 1 }
      assert(simulator:control("faults", rule))
      local before = simulator:control("record").count
      local told = 0
      local tasks = {}
      for index = 1, 20 do
        tasks[index] = aws:task(function()
          local _, err = aws.sts:get_caller_identity()
          if err and err.kind == "credentials" and err.code == "AccessDenied" and err.message:find("cannot assume", 1, true) then
            told = told + 1
          end
        end)
      end
      for _, task in ipairs(tasks) do task:wait() end
      assert.equal(20, told)
      assert.equal(1, count("AssumeRole", before))
      assert(aws.sts:get_caller_identity())
    end)

    it("that fails before it must is no failure", function()
      local windows = renewal.windows
      renewal.windows = function(found, now) -- luacheck: ignore 122
        local given = windows(found, now)
        given.renew_at, given.needed_at = now - 1, now + 60
        return given
      end
      finally(function() renewal.windows = windows end) -- luacheck: ignore 122
      local aws = assert(home:connect({ profile = "x" }))
      assert(aws:credentials())
      assert(simulator:control("faults", { operation = "AssumeRole", kind = "error", code = "AccessDenied", status = 403,
                                           when = "before" }))
      local before = simulator:control("record").count
      assert(aws.sts:get_caller_identity())
      assert(aws.sts:get_caller_identity())
      assert(aws.loop:sleep(0.2))
      assert(aws.sts:get_caller_identity())
      assert.equal(1, count("AssumeRole", before), "tried once, not at every call")
    end)

    it("of the environment reads it again", function()
      local environment = { AWS_ACCESS_KEY_ID = simulator.access_key_id, AWS_SECRET_ACCESS_KEY = "over" }
      environment.AWS_CREDENTIAL_EXPIRATION = os.date("!%Y-%m-%dT%H:%M:%SZ", os.time() + 2)
      local aws = assert(home:connect({ environment = environment }))
      assert.equal("environment", aws.source)
      environment.AWS_SECRET_ACCESS_KEY = simulator.secret_access_key
      assert(aws.loop:sleep(2.1))
      local none, err = aws.sts:get_caller_identity()
      assert.is_nil(none)
      assert.equal("ExpiredCredentials", err.code)
      environment.AWS_CREDENTIAL_EXPIRATION = nil
      assert(aws.sts:get_caller_identity())
    end)

    it("of a file's session token reads the file again when AWS takes it no more", function()
      local function write(token)
        home:write("credentials", ("[t]\naws_access_key_id = %s\naws_secret_access_key = %s\naws_session_token = %s\n"):format(
          simulator.temporary.access_key_id, simulator.temporary.secret_access_key, token))
      end
      write("old")
      local aws = assert(home:connect({ profile = "t" }))
      local none, err = aws.sts:get_caller_identity()
      assert.is_nil(none)
      assert.equal("ExpiredCredentials", err.code)
      assert.matches("profile 't' in .*/.aws/credentials no more: renew it there", err.message)
      write(simulator.temporary.session_token)
      assert(aws.sts:get_caller_identity())
    end)

    it("comes to its own end when a swap waits for it, interrupted or not", function()
      assert(simulator:control("faults", { operation = "AssumeRole", kind = "delay", seconds = 0.4, when = "before" }))
      local aws = assert(home:connect({ profile = "x" }))
      local id = simulator:control("state").distributions[1].id
      local result, err
      local task = aws:task(function() result, err = aws.cloudfront:get_distribution({ Id = id }) end)
      local write, failed
      local other = aws:task(function()
        write, failed = aws.acm:delete_certificate({ CertificateArn = "arn:aws:acm:us-east-1:111122223333:certificate/none" })
      end)
      aws:task(function()
        aws.loop:sleep(0.1)
        aws.loop:interrupt("test")
      end)
      task:wait()
      other:wait()
      assert.is_nil(result)
      assert.equal("cancelled", err.kind)
      assert.is_nil(write)
      assert.equal("ResourceNotFoundException", failed.code) -- sent, and answered
    end)

    it("ends with the session", function()
      home:write("config", "[profile p]\ncredential_process = /bin/sleep 60\n")
      local aws = assert(home:connect({ profile = "p" }))
      local err
      local task = aws:task(function() err = select(2, aws.sts:get_caller_identity()) end)
      aws:task(function()
        aws.loop:sleep(0.1)
        aws:close()
      end)
      task:wait()
      assert.equal("Closed", err.code)
      assert.equal("", command.shell("pgrep -P $PPID -f '^/bin/sleep 60'"))
    end)
  end)
end)
