-- A whole rotation inside one nginx worker (content handler, timer) and inside Neovim: the same end state as in a script,
-- and the host goes on with its own work meanwhile. Each rotates away what the one before put in place.
local fleet = require("spec.support.fleet")
local json = require("certrotate.json")
local nginx = require("spec.support.nginx")
local task = require("certrotate.task")

if not rawget(_G, "jit") then return end   -- these hosts are the same whichever interpreter runs the test: once will do

describe("a rotation", function()
  local account, server, current
  local turn = 0
  local USERS = 8

  setup(function()
    account = fleet.start({ propagation = 0.3, jitter = 0.2, distributions = 16, users = USERS, vip = 2 })
    current = account.simulator.old_reference
    server = nginx.start({ main = "env CERTROTATE_STATE=" .. account:path("state") .. ";", server = [[
    location = /ping { content_by_lua_block { ngx.print("pong") } }
    location / { content_by_lua_block {
      local json = require("certrotate.json")
      ngx.req.read_body()
      local config = assert(json.decode(ngx.req.get_body_data()))
      local rotate = require("spec.host.rotate")
      if ngx.var.uri == "/content" then
        ngx.print(json.encode(rotate(config)))
        return
      end
      local out
      assert(ngx.timer.at(0, function() out = rotate(config) end))
      while not out do ngx.sleep(0.01) end
      ngx.print(json.encode(out))
    } }
]] })
  end)
  teardown(function()
    server:stop()
    account:stop()
  end)

  -- The next rotation: new, old, new, … certificate in turn.
  local function config()
    turn = turn + 1
    local simulator, which = account.simulator, turn % 2 == 1 and "new" or "old"
    return {
      endpoint = simulator.endpoint, edge = simulator.edge, ca_file = simulator.ca_file, trust = simulator.trust_file,
      access_key_id = simulator.access_key_id, secret_access_key = simulator.secret_access_key, replace = current,
      certificate = simulator.files[which .. "_certificate"], private_key = simulator.files[which .. "_key"],
      chain = simulator.files[which .. "_chain"], directory = account:path("state"),
      journal = account:path("journal" .. turn), result = account:path("result" .. turn),
    }
  end

  -- Every holder of the certificate names the new one and shows it.
  local function rotated(out, driver)
    assert.is_nil(out.error)
    assert.equal(driver, out.driver)
    assert.is_true(out.ok)
    assert.equal(USERS, out.changed)
    assert.is_true(out.events.settled >= 2)
    local aws = assert(account:connect())
    local inventory = assert(aws:inventory())
    assert.equal(0, #inventory:holders_of(current))
    assert.equal(USERS, #inventory:holders_of(out.reference))
    aws:close()
    current = out.reference
  end

  -- Sends the configuration to the worker while another visitor asks for /ping. Returns the answer and the pings' ms.
  local function in_worker(path)
    local aws = assert(account:connect({ endpoint_url = server.url }))
    local loop, pings = aws.loop, {}
    local request = loop:spawn(function()
      return loop:await({ http = { url = server.url .. path, method = "POST", body = json.encode(config()), timeout = 60 } })
    end)
    local visitor = loop:spawn(function()
      while not request:done() do
        local began = loop:monotonic()
        local answer = assert(loop:await({ http = { url = server.url .. "/ping", method = "GET" } }))
        assert(answer.body == "pong")
        pings[#pings + 1] = (loop:monotonic() - began) * 1000
        loop:sleep(0.005)
      end
      return true
    end)
    local done = assert(loop:await(task.all({ request, visitor })))
    aws:close()
    table.sort(pings)
    return json.decode(done[1].body) or { error = done[1].body }, pings
  end

  for _, path in ipairs({ "/content", "/timer" }) do
    it("runs in an nginx worker (" .. path:sub(2) .. ") without blocking it", function()
      local out, pings = in_worker(path)
      rotated(out, "nginx")
      local told = ("%d pings, median %.1f ms, 95%% %.1f ms"):format(#pings, pings[math.ceil(#pings / 2)],
        pings[math.ceil(#pings * 0.95)])
      assert.is_true(#pings > 50, told)
      assert.is_true(pings[math.ceil(#pings / 2)] < 10, told)
      assert.is_true(pings[math.ceil(#pings * 0.95)] < 100, told)
    end)
  end

  it("runs in Neovim without stopping it", function()
    local settings = config()
    local path = account:path("neovim.json")
    local file = assert(io.open(path, "wb"))
    file:write(json.encode(settings))
    file:close()
    local pipe = assert(io.popen(("CERTROTATE_CONFIG='%s' CERTROTATE_STATE='%s' LUA_CPATH='%s;;' "
      .. "LUA_PATH='./lua/?.lua;./lua/?/init.lua;./?.lua;;' timeout 60 nvim --headless -u NONE -i NONE -n "
      .. "-c 'luafile spec/host/neovim_rotation.lua' 2>&1"):format(path, settings.directory, nginx.cpath("5.1"))))
    local noise = pipe:read("*a")
    pipe:close()
    assert.equal("", noise)
    file = assert(io.open(settings.result, "rb"))
    local out = assert(json.decode(file:read("*a")))
    file:close()
    rotated(out, "uv")
    assert.is_true(out.ticks > 100 and out.gap < 50, ("%d ticks, 95%% within %.1f ms"):format(out.ticks, out.gap))
  end)
end)
