-- Containers and instances: the endpoints beside a machine, over plain HTTP on loopback, as they answer and as they
-- do not.
local aws_home = require("spec.support.aws_home")
local core = require("certrotate.core")
local http_server = require("spec.support.http_server")
local launch = require("certrotate.simulator.launch")

describe("endpoints beside a machine", function()
  local simulator, home

  setup(function() simulator = assert(launch.start({ distributions = 0, seed = 3, http = true })) end)
  teardown(function() simulator:stop() end)
  before_each(function() home = aws_home.new(simulator) end)
  after_each(function()
    home:close()
    assert(simulator:control("settings", { metadata = "v2", container_token = "", metadata_stale = false }))
  end)

  local function refused(environment, code, ...)
    local found, err = home:fetch({ environment = environment })
    assert.is_nil(found)
    assert.equal("credentials", err.kind, tostring(err))
    assert.equal(code, err.code, tostring(err))
    for _, part in ipairs({ ... }) do assert.truthy(err.message:find(part, 1, true), err.message) end
    return err
  end

  -- Takes connections and says nothing: they wait with the kernel, to be counted afterwards.
  local function silent_listener()
    local uv, count = require("luv"), 0
    local listener = uv.new_tcp()
    assert(listener:bind("127.0.0.1", 0))
    assert(listener:listen(16, function()
      local peer = uv.new_tcp()
      listener:accept(peer)
      peer:close()
      count = count + 1
    end))
    local function stop()
      for _ = 1, 20 do uv.run("nowait") end
      if not listener:is_closing() then listener:close() end
      uv.run()
      return count
    end
    finally(stop)
    return "http://127.0.0.1:" .. listener:getsockname().port, stop
  end

  describe("of containers", function()
    local function environment(more)
      local out = { AWS_CONTAINER_CREDENTIALS_FULL_URI = simulator.http_endpoint .. "/container/credentials?id=1" }
      for name, value in pairs(more or {}) do out[name] = value end
      return out
    end

    it("give credentials", function()
      local aws = assert(home:connect({ environment = environment() }))
      assert.equal("container", aws.source)
      assert.matches("assumed%-role/simulator%-instance/", assert(aws.sts:get_caller_identity()).Arn)
      assert.is_true(assert(aws:credentials()).expires_at > os.time() + 3600)
      -- https needs no allowed host.
      assert(home:fetch({ environment = { AWS_CONTAINER_CREDENTIALS_FULL_URI = simulator.endpoint .. "/container/x" } }))
    end)

    it("are shown the token, that of the file first and read anew", function()
      assert(simulator:control("settings", { container_token = "Bearer right" }))
      assert(home:fetch({ environment = environment({ AWS_CONTAINER_AUTHORIZATION_TOKEN = "Bearer right" }) }))
      local path = home:write("token", "Bearer right")
      assert(home:fetch({ environment = environment({ AWS_CONTAINER_AUTHORIZATION_TOKEN = "Bearer wrong",
                                                      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE = path }) }))
      home:write("token", "Bearer right\n")
      local err = refused(environment({ AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE = path }), "ContainerToken", path, "line end")
      assert.is_nil(err.message:find("Bearer", 1, true))
      refused(environment({ AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE = "/nonexistent" }), "ContainerToken", "/nonexistent")
    end)

    it("are asked three times, and told what they answered", function()
      assert(simulator:control("settings", { container_token = "Bearer right" }))
      local before, began = simulator:control("record").count, core.monotonic()
      refused(environment(), "ContainerCredentials", simulator.http_endpoint .. "/container/credentials gives none", "HTTP 401")
      assert.equal(3, simulator:control("record").count - before)
      assert.is_true(core.monotonic() - began >= 1.9)
    end)

    it("that nobody answers at are given up after two seconds, tried again or not", function()
      local url, connections = silent_listener()
      local began = core.monotonic()
      refused({ AWS_CONTAINER_CREDENTIALS_FULL_URI = url .. "/x" }, "ContainerCredentials", url .. "/x gives none",
        "no answer")
      local took = core.monotonic() - began
      assert.is_true(took > 1.9 and took < 6, "took " .. took)
      assert.equal(1, connections())
      began = core.monotonic()
      refused({ AWS_CONTAINER_CREDENTIALS_FULL_URI = http_server.refused() .. "/x" }, "ContainerCredentials", "gives none")
      took = core.monotonic() - began
      assert.is_true(took > 0.9 and took < 6, "took " .. took)
    end)

    it("that are slow do answer", function()
      assert(simulator:control("faults", { rules = {
        { operation = "GetCredentials", kind = "delay", seconds = 1.2, count = 1 } } }))
      assert(home:fetch({ environment = environment() }))
      assert.equal(1, simulator:control("faults").rules[1].fired)
      assert(simulator:control("faults", { clear = true }))
    end)

    it("are reached in the clear only on this machine and at AWS's own addresses", function()
      for url, fine in pairs({ ["http://169.254.170.23/v1/credentials"] = true, ["http://[fd00:ec2::23]/x"] = true,
        ["http://localhost:1/x"] = true, ["http://127.9.9.9/x"] = true, ["http://[::1]:1/x"] = true,
        ["https://anywhere.example/x"] = true, ["http://10.0.0.1/x"] = false, ["http://169.254.170.2.example/x"] = false,
        ["http://127.0.0.1@evil.example/x"] = false, ["http://127.0.0.1.evil.example/x"] = false, ["ftp://127.0.0.1/x"] = false,
        ["/relative"] = false }) do
        local aws, err = home:connect({ environment = { AWS_CONTAINER_CREDENTIALS_FULL_URI = url } })
        assert.equal(fine, aws ~= nil, url)
        if not fine then assert.equal("MalformedConfig", err.code) end
      end
      refused({ AWS_CONTAINER_CREDENTIALS_RELATIVE_URI = "x", AWS_CONTAINER_CREDENTIALS_FULL_URI = "https://h/" },
        "MalformedConfig", "RELATIVE_URI")
    end)
  end)

  describe("of instances", function()
    local function environment(more)
      local out = { AWS_EC2_METADATA_SERVICE_ENDPOINT = simulator.http_endpoint .. "/" }
      for name, value in pairs(more or {}) do out[name] = value end
      return out
    end

    local function operations(after)
      local list = {}
      for _, entry in ipairs(simulator:control("record?after=" .. after).entries) do
        list[#list + 1] = ("%s %d"):format(entry.operation, entry.status)
      end
      return list
    end

    it("give the role's credentials for a token", function()
      local before = simulator:control("record").count
      local aws = assert(home:connect({ environment = environment() }))
      assert.equal("instance-metadata", aws.source)
      assert(aws:credentials())
      assert.same({ "GetToken 200", "GetMetadata 200", "GetMetadata 200" }, operations(before))
      assert.matches("i%-0123456789abcdef0$", assert(aws.sts:get_caller_identity()).Arn)
    end)

    it("of version 1 are asked without, unless that is disabled", function()
      for _, kind in ipairs({ "v1", "hung_token" }) do
        assert(simulator:control("settings", { metadata = kind }))
        local began = core.monotonic()
        assert(home:fetch({ environment = environment() }), kind)
        assert.is_true(core.monotonic() - began < 2)
        refused(environment({ AWS_EC2_METADATA_V1_DISABLED = "true" }), "NoCredentials", "version 1 is disabled")
      end
      assert(simulator:control("settings", { metadata = "forbidden" }))
      refused(environment(), "NoCredentials", "answers with HTTP 401")
    end)

    it("without a role, or that do not answer, are told among what was tried", function()
      assert(simulator:control("settings", { metadata = "no_role" }))
      refused(environment(), "NoCredentials", "environment: AWS_ACCESS_KEY_ID is not set",
        "instance-metadata: the instance has no role")
      assert(simulator:control("settings", { metadata = "hung" }))
      local began = core.monotonic()
      refused(environment(), "NoCredentials", "instance-metadata: " .. simulator.http_endpoint .. " does not answer")
      assert.is_true(core.monotonic() - began < 2.5, "two seconds at most")
      local url, connections = silent_listener()
      began = core.monotonic()
      refused({ AWS_EC2_METADATA_SERVICE_ENDPOINT = url }, "NoCredentials", url .. " does not answer")
      assert.is_true(core.monotonic() - began < 6)
      assert.equal(2, connections())   -- for a token, and without
      began = core.monotonic()
      local nowhere = http_server.refused()
      refused({ AWS_EC2_METADATA_SERVICE_ENDPOINT = nowhere }, "NoCredentials", "nothing answers at " .. nowhere)
      assert.is_true(core.monotonic() - began < 1.5)
      refused({ AWS_EC2_METADATA_DISABLED = "True" }, "NoCredentials", "instance-metadata: AWS_EC2_METADATA_DISABLED is true")
      refused({ AWS_EC2_METADATA_SERVICE_ENDPOINT = "nonsense" }, "MalformedConfig", "AWS_EC2_METADATA_SERVICE_ENDPOINT")
      refused({ AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE = "IPv5" }, "MalformedConfig", "IPv4 or IPv6")
      refused({ AWS_METADATA_SERVICE_TIMEOUT = "0" }, "MalformedConfig", "AWS_METADATA_SERVICE_TIMEOUT")
    end)

    it("are not asked through a proxy", function()
      local aws = assert(home:connect({ environment = environment({ http_proxy = http_server.refused(),
        https_proxy = http_server.refused() }) }))
      assert(aws:credentials())
    end)

    it("that have only old credentials are believed: these serve on, and others are looked for", function()
      assert(simulator:control("settings", { credential_lifetime = 120 }))
      assert(simulator:control("reset", {}))
      assert(simulator:control("settings", { credential_lifetime = 120, metadata_stale = true }))
      local found = assert(home:fetch({ environment = environment() }))
      local left = found.expires_at - os.time()
      assert.is_true(left >= 900 + 110 and left <= 900 + 600, "left " .. left)
      assert(simulator:control("reset", {}))
    end)

    it("that answer nonsense are no credentials", function()
      local answers = { role = "role", body = '{"Code":"Failed"}' }
      local server = http_server.start(function(request)
        if request.method == "PUT" then return 200, nil, "token" end
        return 200, nil, request.target:find("/role$") and answers.body or answers.role
      end)
      -- The server runs in this process: a step of its loop between ours.
      local function ask()
        local aws = assert(home:connect({ environment = { AWS_EC2_METADATA_SERVICE_ENDPOINT = server.url } }))
        local found, err, done
        aws:task(function()
          found, err = aws:credentials()
          done = true
        end)
        while not done do
          require("luv").run("nowait")
          aws.client:wait(0.001)
          aws.loop:turn()
        end
        assert.is_nil(found)
        assert.equal("NoCredentials", err.code)
        return err.message
      end
      assert.matches("it has no credentials %(Failed%)", ask())
      answers.body = "<html>"
      assert.matches("not JSON", ask())
      answers.body = '{"Code":"Success","AccessKeyId":"A","SecretAccessKey":"s","Expiration":"2030-01-01T00:00:00Z"}'
      assert.matches("lacks Token", ask())
      answers.role = ""
      assert.matches("has no role", ask())
      server:close()
    end)
  end)
end)
