-- The same calls in every host: Lua and LuaJIT scripts, luv, one nginx worker, Neovim. What is asserted besides the
-- results is that the host could do other things meanwhile.
local json = require("certrotate.json")
local nginx = require("spec.support.nginx")
local scenario = require("spec.host.scenario")
local task = require("certrotate.task")

describe("a driver", function()
  local upstream

  setup(function() upstream = nginx.start({ server = scenario.upstream }) end)
  teardown(function() upstream:stop() end)

  it("waits in a script", function()
    local aws = assert(scenario.connect(upstream.url))
    assert.equal("block", aws.loop.driver.name)
    assert.same(scenario.expected, scenario.run(aws))
    assert.same(scenario.expected, aws:task(scenario.run, aws):wait())
    aws:close()
  end)

  it("turns signals into an interrupt: reads and pauses end, writes come to their end", function()
    local interpreter = rawget(_G, "jit") and "luajit" or "lua" .. _VERSION:match("%d%.%d")
    local out = os.tmpname()
    -- The shell starts the script, waits for its word, signals it, and hands on what it says then.
    local pipe = assert(io.popen((("LUA_CPATH='%s;;' LUA_PATH='./lua/?.lua;./lua/?/init.lua;./?.lua;;' "
      .. "timeout 60 %s spec/host/signal_script.lua '%s' >%s 2>&1 & pid=$!; n=0; "
      .. "until grep -q ready %s || [ $n -gt 200 ]; do sleep 0.05; n=$((n+1)); done; "
      .. "kill -INT $(pgrep -P $pid || echo $pid); wait $pid; echo rc=$?"):format(
      nginx.cpath(rawget(_G, "jit") and "5.1" or _VERSION:match("%d%.%d")), interpreter, upstream.url, out, out))))
    local status = pipe:read("*a")
    pipe:close()
    local file = assert(io.open(out, "rb"))
    local said = file:read("*a")
    file:close()
    os.remove(out)
    assert.equal("rc=0\n", status, said)
    assert.equal("ready\nInterrupted/cancelled done Interrupted/cancelled\tInterrupted\ttag-E1\tsoon\tnil\n", said)
  end)

  it("waits under luv, other timers ticking", function()
    local uv = require("luv")
    local aws = assert(scenario.connect(upstream.url, { driver = "uv" }))
    local last, gaps, ticker = uv.now(), {}, uv.new_timer()
    ticker:start(5, 5, function()
      gaps[#gaps + 1], last = uv.now() - last, uv.now()
    end)
    -- luv crashes at the end of a process that leaves handles behind.
    finally(function()
      if not ticker:is_closing() then ticker:close() end
      aws:close()
      uv.run()
    end)
    assert.same(scenario.expected, scenario.run(aws))
    -- A task runs without anybody waiting for it, while the program runs its own loop.
    local out
    aws:task(function() out = scenario.run(aws) end)
    while not out do uv.run("once") end
    assert.same(scenario.expected, out)
    ticker:close()
    table.sort(gaps)
    local told = ("%d ticks, 99%% within %d ms"):format(#gaps, gaps[math.ceil(#gaps * 0.99)])
    assert.is_true(#gaps > 100, told)
    assert.is_true(gaps[math.ceil(#gaps * 0.99)] < 50, told)
    -- Idle handles do not keep a program's loop alive.
    assert.is_false(uv.run("nowait"))
    local refused
    local timer = uv.new_timer()
    timer:start(1, 0, function()
      refused = select(2, aws.loop:sleep(1)).code
      timer:close()
    end)
    uv.run()
    assert.equal("CannotWait", refused)
  end)

  if not rawget(_G, "jit") then return end   -- the other hosts are the same under either interpreter: once is enough

  describe("in one nginx worker", function()
    local server

    setup(function()
      server = nginx.start({
        main = "thread_pool waiters threads=2;",
        server = ([[
    location /ping { content_by_lua_block { ngx.print("pong") } }
    location = /content { content_by_lua_block {
      local scenario, json = require("spec.host.scenario"), require("certrotate.json")
      local aws = assert(scenario.connect("@URL@", { driver = ngx.var.arg_driver, thread_pool = ngx.var.arg_pool }))
      local ok, out = pcall(scenario.run, aws)
      local driver = aws.loop.driver
      ngx.print(json.encode({ ok = ok, out = out, driver = driver.name, wakeups = driver.wakeups, pool = driver.thread_pool }))
      aws:close()
    } }
    location = /timer { content_by_lua_block {
      local scenario, json = require("spec.host.scenario"), require("certrotate.json")
      local out
      assert(ngx.timer.at(0, function()
        local aws = assert(scenario.connect("@URL@"))
        out = scenario.run(aws)
        aws:close()
      end))
      while not out do ngx.sleep(0.01) end
      ngx.print(json.encode({ ok = true, out = out }))
    } }
    # Two requests at a time that share one session of the worker.
    location = /shared { content_by_lua_block {
      local scenario, json = require("spec.host.scenario"), require("certrotate.json")
      local state = require("spec.host.shared")
      state.aws = state.aws or assert(scenario.connect("@URL@"))
      -- In a task, so that results delivered while another request steps find their way back here.
      local out = state.aws:task(function()
        local one = scenario.run(state.aws)
        ngx.sleep(0.01)   -- what nginx itself offers may be used in a task, too
        return one
      end):wait()
      ngx.print(json.encode({ ok = true, out = out }))
    } }
    location = /phase { content_by_lua_block { ngx.print("x") } log_by_lua_block {
      local scenario = require("spec.host.scenario")
      local aws = assert(scenario.connect("@URL@"))
      local value, err = aws.loop:sleep(1)
      ngx.log(ngx.NOTICE, "PHASE ", tostring(value), " ", err.code, " ", err.message)
      aws:close()
    } }
]]):gsub("@URL@", (upstream.url:gsub("%%", "%%%%"))) })
    end)
    teardown(function() server:stop() end)

    -- Fetches paths of the server at the same time; another visitor asks for /ping all the while.
    -- Returns the answers and the visitor's times in ms, sorted.
    local function fetch(...)
      local aws = assert(scenario.connect(server.url))
      local loop, paths, pings = aws.loop, { ... }, {}
      local function get(path)
        local answer, err = loop:await({ http = { url = server.url .. path, method = "GET", timeout = 30 } })
        return answer and answer.body or tostring(err)
      end
      local requests = {}
      for i, path in ipairs(paths) do requests[i] = loop:spawn(get, path) end
      local visitor = loop:spawn(function()
        while true do
          local open = 0
          for _, request in ipairs(requests) do open = open + (request:done() and 0 or 1) end
          if open == 0 then return true end
          local began = loop:monotonic()
          assert(get("/ping") == "pong")
          pings[#pings + 1] = (loop:monotonic() - began) * 1000
          loop:sleep(0.005)
        end
      end)
      local answers = assert(loop:await(task.all(requests)))
      assert(visitor:wait())
      aws:close()
      table.sort(pings)
      local decoded = {}
      for i, text in ipairs(answers) do decoded[i] = json.decode(text) or { error = text } end
      return decoded, pings
    end

    local function at(pings, share) return pings[math.max(1, math.ceil(#pings * share))] end

    local function unblocked(pings)
      local told = ("%d pings, median %.1f, 99%% %.1f, max %.1f ms"):format(#pings, at(pings, 0.5), at(pings, 0.99),
        pings[#pings])
      assert.is_true(#pings > 50, told)
      assert.is_true(at(pings, 0.5) < 10, told)
      assert.is_true(at(pings, 0.99) < 100, told)
    end

    it("waits in a content handler, other requests going on", function()
      local answers, pings = fetch("/content")
      assert.equal("nginx", answers[1].driver)
      assert.same(scenario.expected, answers[1].out)
      unblocked(pings)
    end)

    it("would be caught here if it blocked", function()
      local answers, pings = fetch("/content?driver=block")
      assert.same(scenario.expected, answers[1].out)
      assert.is_true(at(pings, 0.99) >= scenario.DELAY * 900 and #pings < 50, #pings .. " pings")
    end)

    it("waits in a timer", function()
      local answers, pings = fetch("/timer")
      assert.same(scenario.expected, answers[1].out)
      unblocked(pings)
    end)

    it("waits in a thread where there is a pool, with fewer wake-ups", function()
      local paced = fetch("/content")[1]
      local answers, pings = fetch("/content?pool=waiters")
      assert.same(scenario.expected, answers[1].out)
      assert.equal("waiters", answers[1].pool)
      assert.is_true(answers[1].wakeups < paced.wakeups * 0.75,
        ("%d in a thread, %d paced"):format(answers[1].wakeups, paced.wakeups))
      unblocked(pings)
    end)

    it("goes on pacing where the pool is missing", function()
      local answers, pings = fetch("/content?pool=nosuchpool")
      assert.same(scenario.expected, answers[1].out)
      assert.is_nil(answers[1].pool)
      assert.truthy(server:log():find("cannot wait in thread pool 'nosuchpool'", 1, true))
      unblocked(pings)
    end)

    it("lets requests share one session", function()
      local answers, pings = fetch("/shared", "/shared", "/shared")
      for i = 1, 3 do
        answers[i].out.running = 0   -- the others' operations are counted, too
        assert.same(scenario.expected, answers[i].out, "request " .. i)
      end
      unblocked(pings)
    end)

    it("says so where nothing can wait", function()
      fetch("/phase")
      assert.truthy(server:log():find("PHASE nil CannotWait nothing can wait in nginx's log phase", 1, true))
    end)

    it("comes to a safe point when the worker is told to go", function()
      local aws = assert(scenario.connect(server.url))
      local request = aws:task(function()
        return aws.loop:await({ http = { url = server.url .. "/timer", method = "GET", timeout = 30 } })
      end)
      aws.loop:sleep(0.3)
      local began = aws.loop:monotonic()
      server:signal("HUP")
      local answer = assert(request:wait())
      -- Reads were cut short and nothing new was begun: the rest of the scenario took no time.
      assert.is_true(aws.loop:monotonic() - began < 3)
      local out = json.decode(answer.body).out
      assert.matches("interrupted", out.each .. " " .. table.concat(out.tags, " "))
      aws:close()
    end)
  end)

  it("waits in Neovim, the editor going on", function()
    local out = os.tmpname()
    local command = ("CERTROTATE_URL='%s' CERTROTATE_OUT='%s' LUA_CPATH='%s;;' LUA_PATH='./lua/?.lua;./lua/?/init.lua;./?.lua;;' "
      .. "timeout 60 nvim --headless -u NONE -i NONE -n -c 'luafile spec/host/neovim_driver.lua' 2>&1"):format(
      upstream.url, out, nginx.cpath("5.1"))
    local pipe = assert(io.popen(command))
    local noise = pipe:read("*a")
    pipe:close()
    local file = assert(io.open(out, "rb"))
    local report = json.decode(file:read("*a")) or {}
    file:close()
    os.remove(out)
    assert.equal("", noise)
    assert.is_nil(report.error)
    assert.equal("uv", report.driver)
    assert.same(scenario.expected, report.task)
    assert.same(scenario.expected, report.main)
    assert.is_true(report.api)
    assert.same({ code = "CannotWait" }, report.fast)
    assert.equal(0, report.idle_pumps)
    assert.is_true(report.closed)
    assert.is_true(report.task_ticks > 100 and report.main_ticks > 100)
    for _, name in ipairs({ "task", "main" }) do
      assert.is_true(report[name .. "_gap_99"] < 50,
        ("%s: the editor stood still for %.1f ms (at most %.1f)"):format(name, report[name .. "_gap_99"], report[name .. "_gap"]))
    end
  end)
end)
