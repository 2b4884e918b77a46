-- The launcher and what nginx adds: start, stop, orphans, misuse, repeatable fleets, and faults on the wire.
local authority = require("certrotate.simulator.authority")
local core = require("certrotate.core")
local launch = require("certrotate.simulator.launch")

local quote, shell = authority.quote, authority.shell

local function exists(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

-- Whether a process runs; one that only waits to be reaped does not.
local function alive(pid)
  local stat = authority.read(("/proc/%d/stat"):format(pid))
  return stat ~= nil and not stat:match("%) Z")
end

describe("the launcher", function()
  it("starts several beside each other, answers, and leaves nothing behind", function()
    local one = assert(launch.start({ distributions = 6, users = 4, vip = 1, http = true }))
    local two = assert(launch.start({ distributions = 0 }))
    finally(function()
      one:stop()
      two:stop()
    end)
    assert.are_not.equal(one.port, two.port)
    assert.is_true(one:running())
    assert.equal(6, #assert(one:control("state")).distributions)
    assert.equal(0, #assert(two:control("state")).distributions)
    assert.is_nil(two.old_reference)
    assert.is_truthy(one.http_endpoint:match("^http://127%.0%.0%.1:%d+$"))
    for _, name in ipairs({ "old_certificate", "old_key", "old_chain", "new_certificate", "new_key", "new_chain", "ca",
                            "trust" }) do
      assert.is_true(exists(one.files[name]), name)
    end
    local _, mode = shell("stat -c %a " .. quote(one.directory))
    assert.equal("700", mode:match("%d+"))
    local directory, pid = one.directory, one.pid
    assert.is_true(one:stop())
    assert.is_true(one:stop())
    assert.is_false(one:running())
    assert.is_false(exists(directory .. "/nginx.conf"))
    assert.is_false(alive(pid))
    assert.is_true(two:running())
  end)

  it("keeps a folder that was given to it", function()
    local _, directory = shell("mktemp -d")
    directory = directory:gsub("%s+$", "")
    finally(function() shell("rm -rf " .. quote(directory)) end)
    local simulator = assert(launch.start({ distributions = 0, directory = directory }))
    assert.equal(directory, simulator.directory)
    simulator:stop()
    assert.is_true(exists(directory .. "/nginx.conf"))
  end)

  it("makes the same fleet from the same seed", function()
    local function fleet(seed)
      local simulator = assert(launch.start({ distributions = 12, users = 8, vip = 1, seed = seed }))
      local reference, text = simulator.old_reference, {}
      for _, distribution in ipairs(assert(simulator:control("state")).distributions) do
        text[#text + 1] = table.concat({ distribution.id, distribution.domain, distribution.etag, distribution.config_sha256,
          distribution.reference, table.concat(distribution.aliases, ",") }, " ")
      end
      simulator:stop()
      return reference .. "\n" .. table.concat(text, "\n")
    end
    local one = fleet(5)
    assert.equal(one, fleet(5))
    assert.are_not.equal(one, fleet(6))
  end)

  it("takes a certificate that is already there", function()
    local _, directory = shell("mktemp -d")
    directory = directory:gsub("%s+$", "")
    finally(function() shell("rm -rf " .. quote(directory)) end)
    local pki = assert(authority.open(directory))
    assert(pki:make({ { file = "root", ca = true },
                      { file = "mine", issuer = "root", names = { "a.mine.example", "*.mine.example" } } }))
    local files = pki:files("mine")
    local simulator = assert(launch.start({ distributions = 6, users = 5, vip = 0, store = "iam",
      old_certificate = files.certificate, old_key = files.key, old_chain = files.chain }))
    local count = 0
    for _, distribution in ipairs(simulator:control("state").distributions) do
      if distribution.reference == simulator.old_reference then
        count = count + 1
        for _, alias in ipairs(distribution.aliases) do assert.is_truthy(alias:find("%.mine%.example$"), alias) end
      end
    end
    assert.equal(5, count)
    assert.is_truthy(simulator.old_reference:match("^ASCA%u"))
    simulator:stop()
  end)

  it("says what is wrong", function()
    for _, case in ipairs({
      { { speed = 1 }, "unknown option \"speed\"" }, { { seed = "1" }, "seed: number expected" },
      { { store = "s3" }, "'acm' or 'iam'" },
      { { users = 5, distributions = 4 }, "more than distributions" }, { { old_certificate = "x" }, "needs old_key" },
    }) do
      local ok, message = pcall(launch.start, case[1])
      assert.is_false(ok)
      assert.is_truthy(message:find(case[2], 1, true), message)
    end
    local simulator, err = launch.start({ nginx = "/nonexistent/nginx" })
    assert.is_nil(simulator)
    assert.is_truthy(err:find("nginx is not installed", 1, true), err)
    simulator, err = launch.start({ old_certificate = "/nonexistent.crt", old_key = "/nonexistent.key" })
    assert.is_nil(simulator)
    assert.is_truthy(err:find("/nonexistent.crt", 1, true), err)
    simulator, err = launch.start({ distributions = 0, settings = { list_order = "backwards" } })
    assert.is_nil(simulator)
    assert.is_truthy(err:find("list_order", 1, true), err)
  end)

  it("does not pretend that nothing happened when its worker died", function()
    local simulator = assert(launch.start({ distributions = 4, users = 2, vip = 0 }))
    finally(function() simulator:stop() end)
    local worker = assert(simulator:control("health")).worker
    assert.is_true((shell(("kill -KILL %d"):format(worker))))
    local client = assert(core.client())
    local deadline = core.monotonic() + 20
    local answer, err
    repeat
      client:wait(0.02)
      answer, err = simulator:control("health")
    until (err or ""):find("died", 1, true) or core.monotonic() > deadline
    client:close()
    assert.is_nil(answer)
    assert.is_truthy(err:find("took the account with it", 1, true), err)
  end)

  it("ends when the process that started it is gone", function()
    local script = os.tmpname()
    finally(function() os.remove(script) end)
    assert(authority.write(script, [[
local simulator = assert(require("certrotate.simulator.launch").start({ distributions = 0 }))
io.write(simulator.pid, " ", simulator.directory, "\n")
io.stdout:flush()
os.execute("kill -KILL $PPID")]]))
    local interpreter = rawget(_G, "jit") and "luajit" or "lua5.4"
    local pipe = io.popen(("LUA_PATH=%s %s %s 2>/dev/null"):format(quote(package.path), interpreter, script))
    local pid, directory = pipe:read("*a"):match("^(%d+) (%S+)")
    pipe:close()
    assert.is_truthy(pid)
    local client = assert(core.client())
    local deadline = core.monotonic() + 20
    while (alive(tonumber(pid)) or exists(directory .. "/options.lua")) and core.monotonic() < deadline do client:wait(0.05) end
    client:close()
    assert.is_false(alive(tonumber(pid)))
    assert.is_false(exists(directory .. "/options.lua"))
  end)
end)

describe("on the wire", function()
  local simulator

  setup(function() simulator = assert(launch.start({ distributions = 12, users = 8, vip = 1, propagation = 0 })) end)
  teardown(function() simulator:stop() end)
  before_each(function() assert(simulator:control("faults", { clear = true })) end)

  -- One attempt, on a new connection: libcurl repeats by itself what failed on one that it used before.
  local function call(operation, params, timeout)
    local client = assert(core.client({ ca_file = simulator.ca_file, total_timeout = 5, max_body = 1048576 }))
    local endpoint = { url = simulator.endpoint, region = "us-east-1" }
    local account = assert(client:account({ access_key_id = simulator.access_key_id, max_attempts = 1,
      secret_access_key = simulator.secret_access_key, endpoints = { cloudfront = endpoint, acm = endpoint } }))
    local id = assert(client:submit({ account = account, service = operation:match("Certificate") and "acm" or "cloudfront",
                                      operation = operation, params = params or {}, timeout = timeout }))
    while true do
      client:wait(1)
      local got, result, err = client:take()
      if got == id then
        local info = client:account_info(account)
        client:close()
        return result, err, info
      end
    end
  end

  -- The fault happens once, and only once.
  local function fault(rule, timeout)
    rule.count = 1
    assert(simulator:control("faults", rule))
    local result, err = call("ListDistributions", {}, timeout)
    assert.is_nil(result)
    local after, why = call("ListDistributions")
    assert.is_truthy(after, why and tostring(why))
    return err
  end

  it("a reset and a truncated reply are failures of the transport", function()
    assert.equal("transport", fault({ kind = "reset" }).kind)
    assert.equal("transport", fault({ kind = "reset", when = "after" }).kind)
    assert.equal("transport", fault({ kind = "truncate" }).kind)
    assert.equal("transport", fault({ kind = "truncate", bytes = 0 }).kind)
  end)

  it("a reply that comes twice is not taken for the answer to the next call", function()
    assert(simulator:control("faults", { kind = "duplicate", operation = "GetDistributionConfig" }))
    local client = assert(core.client({ ca_file = simulator.ca_file }))
    local account = assert(client:account({ access_key_id = simulator.access_key_id,
      secret_access_key = simulator.secret_access_key,
      endpoints = { cloudfront = { url = simulator.endpoint, region = "us-east-1" } } }))
    local ids = {}
    for index, each in ipairs(simulator:control("state").distributions) do ids[index] = each.id end
    for round = 1, 2 do
      for _, id in ipairs(ids) do
        local etag = simulator:control("distributions/" .. id).etag
        local submitted = assert(client:submit({ account = account, service = "cloudfront", operation = "GetDistributionConfig",
                                                 params = { Id = id } }))
        local got, result, err
        repeat
          client:wait(1)
          got, result, err = client:take()
        until got
        assert.equal(submitted, got)
        assert.is_truthy(result, tostring(err) .. " in round " .. round)
        assert.equal(etag, result.ETag)
      end
    end
    assert.equal(2 * #ids, simulator:control("faults").rules[1].fired)
    client:close()
  end)

  it("a reply that never comes is a timeout", function()
    assert.equal("timeout", fault({ kind = "hang" }, 0.3).kind)
    assert.equal("timeout", fault({ kind = "delay", seconds = 2 }, 0.3).kind)
  end)

  it("a reply without end is cut off by the client", function()
    assert.is_truthy(fault({ kind = "endless" }))
  end)

  it("a page of a proxy, and nothing at all, keep their status", function()
    assert.equal(503, fault({ kind = "html" }).status)
    assert.equal(502, fault({ kind = "empty", status = 502 }).status)
  end)

  it("the effect of a call whose reply is lost stays", function()
    local state = simulator:control("state")
    local users = {}
    for _, distribution in ipairs(state.distributions) do
      if distribution.reference == simulator.old_reference then users[#users + 1] = distribution end
    end
    local read = assert(call("GetDistributionConfig", { Id = users[1].id }))
    assert.equal(users[1].etag, read.ETag)
    assert(simulator:control("faults", { kind = "reset", when = "after", operation = "AddTagsToCertificate", count = 1 }))
    local result, err = call("AddTagsToCertificate",
      { CertificateArn = simulator.old_reference, Tags = { { Key = "lost", Value = "reply" } } })
    assert.is_nil(result)
    assert.equal("transport", err.kind)
    local tags = assert(call("ListTagsForCertificate", { CertificateArn = simulator.old_reference })).Tags
    assert.equal("lost", tags[#tags].Key)
    local entries = simulator:control("record").entries
    assert.same({ "(reset)", 0 }, { entries[#entries - 1].code, entries[#entries - 1].status })
  end)

  it("a skewed clock is told by the Date header", function()
    assert(simulator:control("clock", { skew = -7200 }))
    finally(function() simulator:control("clock", { skew = 0 }) end)
    local entries = simulator:control("record").count
    local result, err, info = call("ListDistributions")
    assert.is_truthy(result, err and tostring(err))
    assert.is_near(-7200, info.clock_offset, 60)
    local seen = simulator:control("record?after=" .. ("%d"):format(entries)).entries
    assert.same({ "SignatureDoesNotMatch", 403, 200 }, { seen[1].code, seen[1].status, seen[2].status })
  end)

  it("the account can be made anew, and another fleet put in", function()
    assert(simulator:control("seed", { distributions = 30, users = 20 }))
    assert.equal(30, #simulator:control("state").distributions)
    assert(simulator:control("reset", {}))
    assert.equal(12, #simulator:control("state").distributions)
    assert.is_nil((simulator:control("nothing")))
    assert.is_nil((simulator:control("settings", { nothing = 1 })))
  end)

  it("private keys stay in the files they came from", function()
    local ok, output = shell("grep -rl 'PRIVATE KEY' " .. quote(simulator.directory))
    assert.is_true(ok, output)
    for path in output:gmatch("[^\n]+") do assert.is_truthy(path:find("/pki/[%w]+%.key$"), path) end
  end)
end)

describe("a large fleet", function()
  it("is there quickly, with summaries of a realistic size", function()
    local before = core.monotonic()
    local simulator = assert(launch.start({ distributions = 2000, users = 1000, vip = 2, bulk = true, propagation = 0 }))
    finally(function() simulator:stop() end)
    assert.is_true(core.monotonic() - before < 30)
    local client = assert(core.client({ ca_file = simulator.ca_file }))
    local account = assert(client:account({ access_key_id = simulator.access_key_id,
      secret_access_key = simulator.secret_access_key,
      endpoints = { cloudfront = { url = simulator.endpoint, region = "us-east-1" } } }))
    local seen, count, marker = {}, 0, nil
    repeat
      assert(client:submit({ account = account, service = "cloudfront", operation = "ListDistributions",
                             params = { Marker = marker, MaxItems = 100 } }))
      local got, result, err
      repeat
        client:wait(1)
        got, result, err = client:take()
      until got
      assert(result, tostring(err))
      for _, item in ipairs(result.DistributionList.Items) do
        assert.is_nil(seen[item.Id])
        seen[item.Id] = true
        count = count + 1
      end
      marker = result.DistributionList.NextMarker
    until not marker
    assert.equal(2000, count)
    local size = client:stats().bytes_received / count
    assert.is_true(size > 4000 and size < 5000, tostring(size))
    client:close()
  end)
end)
