-- certrotate.nginx in real workers: one of them leads, another goes on when it dies, leaves or is told to stop; the pages
-- say what is going on; what acts needs a token.
local browser = require("spec.support.browser")
local core = require("certrotate.core")
local command = require("spec.support.command")
local fleet = require("spec.support.fleet")
local json = require("certrotate.json")
local nginx = require("spec.support.nginx")

if not rawget(_G, "jit") then return end   -- nginx is the same whichever interpreter runs the test: once will do

local TOKEN = "a-token-of-the-spec"

describe("certrotate.nginx", function()
  local account, server, client, config

  -- A visitor's request; the answer's status, body and headers.
  local function get(path, options)
    options = options or {}
    return assert(client.loop:await({ http = { url = server.url .. path, method = options.method or "GET",
      headers = options.headers, body = options.body, timeout = 20 } }))
  end
  local function post(body, token)
    return get("/action", { method = "POST", body = body, headers = {
      ["Content-Type"] = "application/x-www-form-urlencoded", Authorization = token and "Bearer " .. token } })
  end
  -- How many lines of the error log say this.
  local function said(text)
    local count = 0
    for line in server:log():gmatch("[^\n]+") do
      if line:find(text, 1, true) then count = count + 1 end
    end
    return count
  end
  local function told() return assert(json.decode(get("/status.json").body)) end

  -- Waits for something the page's JSON says.
  local function wait_for(what, condition)
    local deadline = core.monotonic() + 60
    local now
    repeat
      now = told()
      if condition(now) then return now end
      client.loop:sleep(0.03)
    until core.monotonic() > deadline
    error(what .. " did not happen: " .. json.encode(now) .. "\n" .. server:log())
  end

  local function settings(more)
    local simulator = account.simulator
    config = {
      endpoint = simulator.endpoint, edge = simulator.edge, ca_file = simulator.ca_file, trust = simulator.trust_file,
      access_key_id = simulator.access_key_id, secret_access_key = simulator.secret_access_key,
      replace = simulator.old_reference, certificate = simulator.files.new_certificate,
      private_key = simulator.files.new_key, chain = simulator.files.new_chain, directory = account:path("state"),
      journal = account:path("journal"), soak = 0.2,
    }
    for key, value in pairs(more or {}) do config[key] = value end
    command.write(account:path("job.json"), json.encode(config))
  end

  local function start(more, options)
    account = fleet.start({ propagation = 0.4, jitter = 0.2, distributions = 14, users = 8, vip = 2 })
    settings(more)
    client = assert(account:connect({ endpoint_url = "http://127.0.0.1:1" }))
    server = nginx.start({ workers = 2, main = "env CERTROTATE_STATE=" .. account:path("state") .. ";", http = ([[
  lua_shared_dict certrotate 1m;
  init_worker_by_lua_block {
    require("certrotate.nginx").start { %s, every = 3600, retry = 3600, lease = 1, poll = 0.1 }
  }]]):format(options and options()
      or ('job = require("spec.support.nginx_job")("%s")'):format(account:path("job.json"))), server = ([[
    location = /status { content_by_lua_block { require("certrotate.nginx").page() } }
    location = /status.json { content_by_lua_block { require("certrotate.nginx").json() } }
    location = /metrics { content_by_lua_block { require("certrotate.nginx").metrics() } }
    location = /action { content_by_lua_block { require("certrotate.nginx").action { token = "%s" } } }
    location = /tokenless { content_by_lua_block { require("certrotate.nginx").action() } }
    location = /short { content_by_lua_block { require("certrotate.nginx").action { token = "short" } } }
    location = /unread { content_by_lua_block {
      require("certrotate.nginx").action { token_file = "/nonexistent/token" } } }
]]):format(TOKEN) })
  end

  local function stop()
    if client then client:close() end
    if server then server:stop() end
    if account then account:stop() end
    client, server, account = nil, nil, nil
  end
  local shared = false   -- several cases look at one rotation
  after_each(function() if not shared then stop() end end)

  local function rotated(now)
    assert.equal("finished", now.rotation.phase)
    assert.same({}, account:on(config.replace))
    assert.equal(8, now.rotation.report.changed + 0)
    for _, holder in ipairs(now.rotation.holders) do
      assert.truthy(holder.changed and holder.deployed and not holder.problem, json.encode(holder))
    end
  end

  it("rotates in one worker, and shows it", function()
    start()
    local running = wait_for("a wave", function(now) return now.rotation and now.rotation.wave end)
    assert.equal("running", running.state.phase)
    local page = get("/status")
    assert.equal(200, page.status)
    assert.truthy(page.body:find('http-equiv="refresh" content="3"', 1, true), page.body)
    assert.truthy(page.body:find("Wave", 1, true))
    local now = wait_for("the end", function(seen) return seen.state.phase == "idle" end)
    rotated(now)
    assert.is_true(now.state.ok)
    assert.equal("8 holders changed", now.state.message)
    page = get("/status").body
    assert.truthy(page:find("Timeline", 1, true), page)
    assert.matches("Charge</dt><dd>%$0%.[1-9]", page)
    assert.is_nil(page:find("<script", 1, true))
    assert.truthy(page:find("in order", 1, true))
    assert.truthy(page:find("shop.example", 1, true))
    local metrics = get("/metrics").body
    assert.truthy(metrics:find("\ncertrotate_holders_changed_total 8\n", 1, true), metrics)
    assert.truthy(metrics:find('\ncertrotate_rotation_phase{phase="finished"} 1\n', 1, true), metrics)
    assert.truthy(metrics:find("\ncertrotate_rounds_total 1\n", 1, true), metrics)
    assert.truthy(metrics:find('certrotate_certificate_not_after_seconds{reference="' .. now.rotation.to, 1, true), metrics)
    for line in metrics:gmatch("[^\n]+") do
      assert.truthy(line:match("^# [HT][EY][LP][PE] certrotate_[%l_]+ .")
        or line:match('^certrotate_[%l_]+ %-?[%d.e+-]+$') or line:match('^certrotate_[%l_]+{.+"} %-?[%d.e+-]+$'), line)
    end
    assert.equal(405, get("/status", { method = "POST", body = "x" }).status)
    -- One import, one round: the other worker looked on.
    local _, rounds = server:log():gsub("certrotate: ", "")
    assert.equal(0, rounds, server:log())
  end)

  it("keeps declared certificates in order", function()
    start({}, function()
      command.write(account:path("fullchain.pem"), command.read(config.certificate) .. command.read(config.chain))
      command.write(account:path("sites.lua"), ([[return { state = "%s", dedicated_ip_quota = 4, trust = "%s",
        policy_options = { canary = 1, soak = 0.1 },
        certificates = { { name = "www", certificate = "%s", private_key = "%s" } } }]]):format(account:path("reconcile"),
        config.trust, account:path("fullchain.pem"), config.private_key))
      return ([[config = "%s", connect = { endpoint_url = "%s", ca_file = "%s", edge = "%s", region = "us-east-1", poll = 0.1,
        access_key_id = "%s", secret_access_key = "%s", environment = {} }]]):format(account:path("sites.lua"),
        config.endpoint, config.ca_file, config.edge, config.access_key_id, config.secret_access_key)
    end)
    local now = wait_for("the end", function(seen) return seen.state and seen.state.phase == "idle" end)
    rotated(now)
    assert.is_true(now.state.ok)
    assert.matches("^www: replace arn:", now.state.message)
    post("action=reconcile", TOKEN)
    wait_for("a round with nothing to do", function(seen) return seen.state.message == "nothing to do" end)
    command.write(account:path("sites.lua"), "return { acme = 1 }")
    post("action=reconcile", TOKEN)
    now = wait_for("a failed round", function(seen) return seen.state.phase == "idle" and not seen.state.ok end)
    assert.truthy(now.state.message:find("acme: a table expected", 1, true), now.state.message)
    assert.equal(1, said("acme: a table expected"))
    os.remove(account:path("sites.lua"))
    post("action=reconcile", TOKEN)
    wait_for("a round without its configuration", function(seen)
      return seen.state.phase == "idle" and seen.state.message:find("sites.lua: No such file", 1, true)
    end)
    assert.equal(1, said("sites.lua: No such file or directory"))
  end)

  it("passes on what a killed worker held", function()
    start({ soak = 1 })
    local running = wait_for("a changed holder", function(now)
      return now.rotation and now.rotation.wave and now.rotation.holders[1].changed
    end)
    command.shell("kill -9 " .. running.state.worker)
    local now = wait_for("the end", function(seen)
      return seen.state.phase == "idle" and seen.state.worker ~= running.state.worker
    end)
    rotated(now)
    assert.is_true(now.state.ok)
    assert.truthy(server:log():find("exited on signal 9", 1, true))
  end)

  it("goes on after a reload", function()
    start({ soak = 1 })
    local running = wait_for("a changed holder", function(now)
      return now.rotation and now.rotation.wave and now.rotation.holders[1].changed
    end)
    server:signal("HUP")
    local now = wait_for("the end", function(seen)
      return seen.state.phase == "idle" and seen.state.worker ~= running.state.worker
    end)
    rotated(now)
  end)

  describe("while a wave runs", function()
    setup(function()
      shared = true
      start({ soak = 30 })
      wait_for("a settled wave", function(now)
        return now.rotation and now.rotation.wave and now.rotation.holders[1].deployed
      end)
    end)
    teardown(function()
      shared = false
      stop()
    end)

    it("is a page that people can read", function()
      if not browser.program() then return pending("chromium is not installed") end
      local reader = browser.start()
      finally(function() reader:close() end)
      local colours = {}
      for _, window in ipairs({
        { width = 1280, height = 900 }, { width = 1280, height = 900, dark = true },
        { width = 360, height = 740, phone = true }, { width = 360, height = 740, phone = true, dark = true },
      }) do
        local seen = reader:open(server.url .. "/status", window)
        local told_of = ("%d pixels, %s"):format(window.width, window.dark and "dark" or "light")
        -- Nobody scrolls sideways, and nothing reaches out of its frame.
        assert.equal(window.phone and 360 or seen.width, seen.width, told_of)
        assert.equal(seen.width, seen.content, told_of)
        assert.equal("", seen.outside, told_of)
        assert.same({}, seen.console, told_of)
        assert.equal(3, seen.refresh, told_of)
        assert.is_nil(seen.dom:find("<script", 1, true))
        colours[seen.background] = (colours[seen.background] or 0) + 1
        local now = told()
        for _, text in ipairs({
          "running", "wave 1 of 3", "1 of 8", "1 canary", "Overlap", "Charge", "$0.00", "Timeline",
          "on its way to the edge", "changed (1 of 1)", "Certificates", config.replace, now.rotation.to, "4 days",
          "2 dedicated IP", #now.inventory.holders .. " holders", now.rotation.holders[1].name,
          now.rotation.holders[8].Id, "Deployed", "inventory of ",
        }) do
          assert.truthy(seen.visible:find(text, 1, true), told_of .. ": " .. text .. " is not in " .. seen.visible)
        end
      end
      -- Light and dark are two, whatever the window.
      local count = 0
      for _, pages in pairs(colours) do
        assert.equal(2, pages)
        count = count + 1
      end
      assert.equal(2, count)
    end)

    it("acts only with the token", function()
      local function status(body, token) return post(body, token).status + 0 end
      assert.equal(401, status("action=interrupt"))
      assert.equal(401, status("action=interrupt", "another-token-of-it"))
      assert.equal(405, get("/action", { headers = { Authorization = "Bearer " .. TOKEN } }).status + 0)
      assert.equal(400, status("action=everything", TOKEN))
      assert.equal(409, status("action=reconcile", TOKEN))
      for path, why in pairs({
        ["/tokenless"] = "has no token: mount it with token or token_file; refused",
        ["/short"] = "has a token of 5 characters; give it 16 or more; refused",
        ["/unread"] = "cannot read its token: /nonexistent/token: No such file or directory; refused",
      }) do
        assert.equal(503, get(path, { method = "POST", body = "action=interrupt" }).status + 0)
        assert.equal(1, said("certrotate: the action handler " .. why))
      end
      assert.equal("running", told().state.phase)
      assert.equal(202, status("action=interrupt", TOKEN))
      local now = wait_for("the interrupt", function(seen) return seen.state.phase == "idle" end)
      assert.is_false(now.state.ok)
      assert.equal("interrupted", now.rotation.phase)
      assert.truthy(get("/status").body:find("needs you", 1, true))
      assert.equal(409, status("action=interrupt", TOKEN))
      settings({ soak = 0.2 })
      assert.equal(202, status("action=reconcile", TOKEN))
      local resumed = wait_for("a second round", function(seen) return seen.state.phase == "running" end)
      assert.equal("running", resumed.state.phase)
    end)
  end)

  it("says what a configuration lacks, in a line each, and starts nothing", function()
    server = nginx.start({ http = [[
  lua_shared_dict certrotate 1m;
  init_worker_by_lua_block {
    local home, job = require("certrotate.nginx"), function() ngx.log(ngx.ERR, "a job was begun") end
    for _, options in ipairs { { job = job, every = 0 }, { job = job, retry = "soon" }, { job = job, lease = 0/0 },
                               { job = job, dict = "nowhere" }, {}, { job = 1 }, { config = {} }, { jobb = job }, 7 } do
      home.start(options)
    end
  }]], server = [[
    location = /page { content_by_lua_block { require("certrotate.nginx").page { dict = "nowhere" } } }
    location = /json { content_by_lua_block { require("certrotate.nginx").json { dict = "nowhere" } } }
    location = /metrics { content_by_lua_block { require("certrotate.nginx").metrics { dict = "nowhere" } } }
    location = /action { content_by_lua_block {
      require("certrotate.nginx").action { dict = "nowhere", token = "a-token-of-the-spec" } } }
]] })
    client = assert(require("certrotate").connect({ endpoint_url = "http://127.0.0.1:1", access_key_id = "AKIDEXAMPLE",
      secret_access_key = "secret", region = "us-east-1", environment = {} }))
    local nowhere = "certrotate.nginx: nginx has no shared dictionary 'nowhere': put `lua_shared_dict nowhere 2m;` "
      .. "into the http block"
    for _, path in ipairs({ "/page", "/json", "/metrics" }) do assert.equal(503, get(path).status + 0) end
    assert.equal(503, get("/action", { method = "POST", body = "action=reconcile" }).status + 0)
    assert.equal(5, said(nowhere))
    for _, why in ipairs({
      "every: a number of seconds, 1 or more, expected", "retry: a number of seconds, 1 or more, expected",
      "lease: a number of seconds, 1 or more, expected", "either config or job expected", "job: function expected",
      "config: a file's path expected", "a table of options expected",
      "unknown option 'jobb'; one of: config, job, connect, every, retry, lease, poll, dict",
    }) do
      local line = "certrotate.nginx.start: " .. why .. "; nothing is started"
      assert.equal(1, said(line), line .. " is not in " .. server:log())
    end
    assert.is_nil(server:log():find("traceback", 1, true), server:log())
    assert.is_nil(server:log():find("a job was begun", 1, true))
    local home = require("certrotate.nginx")
    assert.has_error(function() home.start({}) end, "certrotate.nginx.start: either config or job expected")
    assert.has_error(function() home.start({ job = 1 }) end, "certrotate.nginx.start: job: function expected")
  end)
end)
