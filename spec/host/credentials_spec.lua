-- Credentials inside an nginx worker and inside Neovim: a program and an assumed role, fetched and renewed while the
-- host goes on; once however many requests wait; and not lost with the request that happened to begin it.
local aws_home = require("spec.support.aws_home")
local command = require("spec.support.command")
local json = require("certrotate.json")
local launch = require("certrotate.simulator.launch")
local nginx = require("spec.support.nginx")
local task = require("certrotate.task")

if not rawget(_G, "jit") then return end   -- these hosts are the same whichever interpreter runs the test: once will do

local SERVER = [[
    location = /ping { content_by_lua_block { ngx.print("pong") } }
    location / { content_by_lua_block {
      local json, shared = require("certrotate.json"), require("spec.host.shared")
      local credentials = require("spec.host.credentials")
      ngx.req.read_body()
      shared.aws = shared.aws or credentials.connect(assert(json.decode(ngx.req.get_body_data())))
      local aws = shared.aws
      if ngx.var.uri == "/hasty" then
        local result, err = aws.loop:await({ account = aws.account, service = "sts", operation = "GetCallerIdentity" }, 0.1)
        ngx.print(json.encode({ got = result ~= nil, kind = err and err.kind }))
      else
        ngx.print(json.encode(credentials.calls(aws, 10)))
      end
    } }
]]

describe("credentials", function()
  local simulator, home, server, driver

  setup(function()
    simulator = assert(launch.start({ distributions = 0, seed = 3 }))
    home = aws_home.new(simulator)
    local tool = home.path .. "/tool"
    -- Half a second, in which a worker that waited for it would answer nobody.
    command.write(tool, ("#!/bin/sh\necho run >>'%s.runs'\nsleep 0.5\n"
      .. "echo '{\"Version\":1,\"AccessKeyId\":\"%s\",\"SecretAccessKey\":\"%s\"}'\n")
      :format(tool, simulator.access_key_id, simulator.secret_access_key))
    os.execute("chmod 700 " .. tool)
    home:write("config", "[profile x]\nrole_arn = arn:aws:iam::111122223333:role/any\nsource_profile = tool\n"
      .. "[profile tool]\ncredential_process = " .. tool .. "\n")
    server = nginx.start({ server = SERVER })
    -- What asks the worker: a session of this process.
    driver = assert(home:connect({ anonymous = true, endpoint_url = server.url }))
  end)
  teardown(function()
    server:stop()
    home:close()
    simulator:stop()
  end)

  local function config()
    return { home = home.path, endpoint = simulator.endpoint, ca_file = simulator.ca_file, pause = 3500,
             result = home.path .. "/result" }
  end

  local function post(to, path)
    local answer = assert(driver.loop:await({ http = { url = to.url .. path, method = "POST", body = json.encode(config()),
                                                       timeout = 30 } }))
    return json.decode(answer.body) or { error = answer.body }
  end

  local function runs() return select(2, (command.read(home.path .. "/tool.runs") or ""):gsub("run", "")) end

  local function renewals(after)
    local found = 0
    for _, entry in ipairs(simulator:control("record?after=" .. after).entries) do
      if entry.operation == "AssumeRole" then found = found + 1 end
    end
    return found
  end

  it("come to an nginx worker once, for all its requests, while it serves others", function()
    local before, ran = simulator:control("record").count, runs()
    local requests, pings = {}, {}
    for index = 1, 5 do
      requests[index] = driver.loop:spawn(function() return post(server, "/calls") end)
    end
    local visitor = driver.loop:spawn(function()
      while not requests[1]:done() do
        local began = driver.loop:monotonic()
        assert(driver.loop:await({ http = { url = server.url .. "/ping" } }))
        pings[#pings + 1] = (driver.loop:monotonic() - began) * 1000
        driver.loop:sleep(0.005)
      end
      return true
    end)
    for _, answer in ipairs(assert(driver.loop:await(task.all(requests)))) do
      assert.is_nil(answer.error)
      assert.equal("nginx", answer.driver)
      assert.equal(10, answer.good)
    end
    assert(visitor:wait())
    assert.equal(1, runs() - ran)
    assert.equal(1, renewals(before))
    table.sort(pings)
    assert.is_true(#pings > 20)
    local p95 = pings[math.ceil(#pings * 0.95)]
    assert.is_true(p95 < 100, ("95%% of the pings within %.1f ms"):format(p95))
  end)

  it("outlive the request of an nginx worker that began to renew them", function()
    assert(simulator:control("settings", { credential_lifetime = 4 }))
    local fresh = nginx.start({ server = SERVER })
    finally(function()
      fresh:stop()
      simulator:control("settings", { credential_lifetime = 0 })
    end)
    local ran = runs()
    local hasty = post(fresh, "/hasty")
    assert.same({ got = false, kind = "timeout" }, hasty)
    driver.loop:sleep(0.2) -- its coroutines are gone; nobody turns the loop
    local answer = post(fresh, "/calls")
    assert.is_nil(answer.error)
    assert.equal(10, answer.good)
    assert.equal(1, runs() - ran)
    -- And again when they have ended meanwhile.
    driver.loop:sleep(4.2)
    assert.equal(10, post(fresh, "/calls").good)
  end)

  it("come to Neovim without the editor noticing", function()
    assert(simulator:control("settings", { credential_lifetime = 3 }))
    finally(function() simulator:control("settings", { credential_lifetime = 0 }) end)
    local before, ran, own = simulator:control("record").count, runs(), config()
    command.write(home.path .. "/config.json", json.encode(own))
    local noise = command.shell(("CERTROTATE_CONFIG=%s LUA_CPATH='%s;;' LUA_PATH='./lua/?.lua;./lua/?/init.lua;./?.lua;;' "
      .. "timeout 60 nvim --headless -u NONE -i NONE -n -c 'luafile spec/host/neovim_credentials.lua' 2>&1"):format(
      command.quote(home.path .. "/config.json"), nginx.cpath("5.1")))
    assert.equal("", noise)
    local out = json.decode(command.read(own.result) or "") or {}
    assert.is_nil(out.error)
    assert.equal("uv", out.driver)
    assert.equal(20, out.good)
    assert.equal(20, out.again)
    assert.equal(1, runs() - ran)
    assert.equal(2, renewals(before))
    assert.is_true(out.ticks > 100)
    assert.is_true(out.gap < 50, ("95%% of the ticks within %.1f ms"):format(out.gap))
  end)
end)
