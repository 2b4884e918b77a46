local errors = require("certrotate.errors")
local script_driver = require("spec.support.script_driver")
local support = require("spec.support")
local task = require("certrotate.task")

local function get(id) return { service = "cloudfront", operation = "GetDistribution", params = { Id = id } } end
local function update(id) return { service = "cloudfront", operation = "UpdateDistribution", params = { Id = id } } end

local function echo_all(script, seconds)
  script:serve(function(submission) return { after = seconds or 1, result = { Id = (submission.params or {}).Id } } end)
end

describe("certrotate.task", function()
  local script, loop

  before_each(function()
    script = script_driver.new()
    loop = script:loop()
  end)

  after_each(function() script:finished() end)

  -- Answers with the id after `seconds` (default 1), for everything.
  local function echo(seconds) echo_all(script, seconds) end

  describe("await", function()
    it("returns an operation's result outside tasks", function()
      script:expect({ operation = "GetDistribution", params = { Id = "E1" } }, { after = 2, result = { Id = "E1" } })
      assert.same({ Id = "E1" }, loop:await(get("E1")))
      assert.equal(2, script.time)
    end)

    it("returns nil and the error of a failed operation", function()
      local err = errors.new({ kind = "service", code = "NoSuchDistribution", message = "x" })
      script:expect({}, { after = 1, err = err })
      assert.same({ nil, err }, { loop:await(get("E1")) })
    end)

    it("returns at once what the client refuses to start", function()
      local err = errors.new({ kind = "input", code = "Missing", message = "x" })
      script:expect({}, { refuse = err })
      assert.same({ nil, err }, { loop:await(get("E1")) })
      assert.equal(0, loop.running)
    end)

    it("does the same inside a task, in the order of the answers", function()
      script:expect({ params = { Id = "slow" } }, { after = 5, result = { Id = "slow" } })
      script:expect({ params = { Id = "fast" } }, { after = 1, result = { Id = "fast" } })
      local order = {}
      local function work(id)
        return loop:spawn(function()
          local got = loop:await(get(id))
          order[#order + 1] = got.Id
        end)
      end
      local one, two = work("slow"), work("fast")
      assert.is_false(one:done())
      loop:await(task.all({ one, two }))
      assert.same({ "fast", "slow" }, order)
      assert.equal(5, script.time)
    end)

    it("pauses without spending time", function()
      assert.is_true(loop:sleep(600))
      assert.equal(600, script.time)
      assert.is_true(loop:sleep(0))
      assert.equal(script.start + 600, loop:now())
    end)

    it("raises on what cannot be awaited", function()
      assert.has_error(function() loop:await(5) end, "await: a submission, handle, pause, group or task expected, got number")
      assert.has_error(function() loop:await({}) end)
      assert.has_error(function() loop:await(get("E1"), "soon") end)
      assert.has_error(function() task.pause(-1) end)
      assert.has_error(function() task.all({}) end)
      assert.has_error(function() loop:spawn(5) end)
      local other = script_driver.new():loop()
      assert.has_error(function() loop:await(other:spawn(function() end)) end, "await: the task belongs to another loop")
    end)

    it("says so when nothing is left that could end the wait", function()
      local one, two
      one = loop:spawn(function() return two:wait() end)
      two = loop:spawn(function() return one:wait() end)
      local value, err = one:wait()
      assert.is_nil(value)
      assert.equal("Deadlock", err.code)
    end)

    it("delivers a result that came before anybody waited", function()
      echo(1)
      local handle = loop:submit(get("E1"))
      loop:sleep(10)
      assert.is_true(handle:done())
      assert.equal("E1", loop:await(handle).Id)
      assert.equal("E1", loop:await(handle).Id)
      assert.equal(10, script.time)
    end)

    it("wakes everybody who waits for the same thing", function()
      echo(3)
      local handle, seen = loop:submit(get("E1")), 0
      local tasks = {}
      for i = 1, 5 do
        tasks[i] = loop:spawn(function()
          if loop:await(handle).Id == "E1" then seen = seen + 1 end
        end)
      end
      loop:await(task.all(tasks))
      assert.equal(5, seen)
      assert.equal(1, #script.log)
    end)

    it("is refused in a coroutine that is not the task's own", function()
      local work = loop:spawn(function()
        local inner = coroutine.create(function() return loop:sleep(1) end)
        return select(2, coroutine.resume(inner))
      end)
      assert.matches("not the task's own", (work:wait()))
    end)
  end)

  it("goes on after a turn that was cut off, as CTRL-C in the REPL does", function()
    echo_all(script)
    local step = script.client.step
    script.client.step = function()
      script.client.step = step
      error("interrupted!", 0)
    end
    local ok, raised = pcall(loop.await, loop, get("E1"))
    assert.is_false(ok)
    assert.equal("interrupted!", raised)
    assert.equal("E2", loop:await(get("E2")).Id)
    assert.equal(7, loop:spawn(function()
      loop:sleep(1)
      return 7
    end):wait())
  end)

  describe("timeouts", function()
    it("cancel the operation that await started", function()
      script:expect({}, { after = 60 })
      local result, err = loop:await(get("E1"), 5)
      assert.is_nil(result)
      assert.equal("timeout", err.kind)
      assert.equal("DeadlineExceeded", err.code)
      assert.equal("cancelled", err.cause.kind)
      assert.equal(5, script.time)
      assert.equal(0, loop.running)
    end)

    it("keep what a write came to after all, and whether nobody knows", function()
      script:expect({}, { after = 60, cancelled = { result = { Id = "E1" } } })
      assert.equal("E1", loop:await(update("E1"), 5).Id)
      script:expect({}, { after = 60, ambiguous = true })
      local result, err = loop:await(update("E1"), 5)
      assert.is_nil(result)
      assert.equal("timeout", err.kind)
      assert.is_true(err.ambiguous)
    end)

    it("leave tasks and handles alone", function()
      echo(10)
      local work = loop:spawn(function() return loop:await(get("E1")).Id end)
      local value, err = work:wait(4)
      assert.is_nil(value)
      assert.equal("timeout", err.kind)
      assert.equal(4, script.time)
      assert.equal("E1", work:wait())
      local handle = loop:submit(get("E2"))
      assert.equal("timeout", select(2, loop:await(handle, 1)).kind)
      assert.equal("E2", loop:await(handle).Id)
    end)

    it("do the same inside tasks", function()
      echo(10)
      local value, first, second = loop:spawn(function()
        local _, one = loop:await(get("E1"), 2)
        local child = loop:spawn(function() return loop:sleep(100) end)
        local _, two = child:wait(3)
        local paused = loop:await(task.pause(1), 50)
        child:cancel()
        return paused, one, two
      end):wait()
      assert.is_true(value)
      assert.equal("timeout", first.kind)
      assert.equal("timeout", second.kind)
      assert.equal(6, script.time)
    end)

    it("bound a whole function", function()
      echo(4)
      local result, err = loop:within(10, function()
        loop:await(get("a"))
        loop:await(get("b"))
        return loop:await(get("c"))
      end)
      assert.is_nil(result)
      assert.equal("timeout", err.kind)
      assert.equal(10, script.time)
      assert.same({ 1, 2 }, { loop:within(10, function() loop:sleep(1) return 1, 2 end) })
      assert.equal(11, script.time)
      -- The unused deadline does not keep anything waiting.
      assert.is_nil(loop._timers:due())
    end)
  end)

  describe("tasks", function()
    it("return several values, nil among them", function()
      assert.same({ n = 3, 1, nil, 3 }, (function(...) return { n = select("#", ...), ... } end)(
        loop:spawn(function(a, b, c) return a, b, c end, 1, nil, 3):wait()))
    end)

    it("end with an internal error when their function raises, with the place", function()
      local told
      loop.on_error = function(_, err) told = err end
      local work = loop:spawn(function()
        loop:sleep(1)
        error("oh no")
      end)
      local value, err = work:wait()
      assert.is_nil(value)
      assert.equal("internal", err.kind)
      assert.equal("Raised", err.code)
      assert.matches("oh no", err.message)
      assert.matches("task_spec.lua", err.traceback)
      assert.equal(err, told)
      value, err = loop:spawn(function() error({}) end):wait()
      assert.is_nil(value)
      assert.equal("internal", err.kind)
    end)

    it("may yield only through await", function()
      local value, err = loop:spawn(function() coroutine.yield("mine") end):wait()
      assert.is_nil(value)
      assert.equal("internal", err.kind)
      assert.matches("yielded to somebody else", err.message)
    end)

    it("begin at the next turn, in the order they were spawned", function()
      local order = {}
      local tasks = {}
      for i = 1, 4 do tasks[i] = loop:spawn(function() order[#order + 1] = i end) end
      assert.same({}, order)
      loop:await(task.all(tasks))
      assert.same({ 1, 2, 3, 4 }, order)
    end)

    it("may be many", function()
      echo(1)
      local count, sum = 3000, 0
      local tasks = {}
      for i = 1, count do
        tasks[i] = loop:spawn(function()
          loop:sleep(i % 10)
          local got = loop:await(get(i))
          sum = sum + got.Id
        end)
      end
      loop:await(task.all(tasks))
      assert.equal(count * (count + 1) / 2, sum)
      assert.equal(10, script.time)
    end)
  end)

  describe("cancelling", function()
    it("ends a pause now, and every later wait", function()
      local work = loop:spawn(function()
        local ok, err = loop:sleep(1000)
        local again, still = loop:sleep(1)
        return ok, err, again, still
      end)
      loop:sleep(3)
      assert.is_true(work:cancel())
      local ok, err, again, still = work:wait()
      assert.is_nil(ok)
      assert.equal("cancelled", err.kind)
      assert.equal("Cancelled", err.code)
      assert.is_nil(again)
      assert.equal(err, still)
      assert.equal(3, script.time)
      assert.is_false(work:cancel())
      assert.is_true(work:cancelled())
    end)

    it("cancels running operations and tells what became of them", function()
      script:expect({}, { after = 60, ambiguous = true })
      script:expect({}, { after = 60 })
      local seen
      local work = loop:spawn(function()
        local handle = loop:submit(get("E1"))
        local result, err = loop:await(update("E2"))
        seen = { result = result, err = err }
        return loop:shielded(function() return loop:await(handle) end)
      end)
      -- The order of the two submissions is the task's: the handle's first.
      loop:sleep(1)
      work:cancel()
      local result, err = work:wait()
      assert.is_nil(result)
      assert.equal("cancelled", err.kind)
      assert.is_nil(seen.result)
      assert.equal("cancelled", seen.err.kind)
      assert.is_false(seen.err.ambiguous)
      assert.is_true(err.ambiguous)
      assert.equal(1, script.time)
    end)

    it("hands over the result of an operation that was already done", function()
      script:expect({}, { after = 60, cancelled = { result = { Id = "E1" } } })
      local work = loop:spawn(function() return loop:await(update("E1")).Id end)
      loop:sleep(1)
      work:cancel()
      assert.equal("E1", work:wait())
    end)

    it("cancels children, not the parent of what is cancelled", function()
      local child
      local parent = loop:spawn(function()
        child = loop:spawn(function() return loop:sleep(1000) end)
        local ok = loop:sleep(5)
        return ok, child:wait()
      end)
      loop:sleep(1)
      child:cancel()
      local ok, value, err = parent:wait()
      assert.is_true(ok)
      assert.is_nil(value)
      assert.equal("cancelled", err.kind)

      local grandchild
      parent = loop:spawn(function()
        loop:spawn(function()
          grandchild = loop:spawn(function() return loop:sleep(1000) end)
          return grandchild:wait()
        end):wait()
      end)
      loop:sleep(1)
      parent:cancel()
      assert.equal("cancelled", select(2, grandchild:wait()).kind)
    end)

    it("keeps a task that has not begun from beginning", function()
      local began = false
      local work = loop:spawn(function() began = true end)
      work:cancel()
      local value, err = work:wait()
      assert.is_nil(value)
      assert.equal("cancelled", err.kind)
      assert.is_false(began)
    end)

    it("waits for what is shielded", function()
      echo(5)
      local result
      local work = loop:spawn(function()
        result = loop:shielded(function()
          loop:sleep(2)
          return loop:await(update("E1"))
        end)
        return loop:sleep(100)
      end)
      loop:sleep(1)
      work:cancel()
      local ok, err = work:wait()
      assert.is_nil(ok)
      assert.equal("cancelled", err.kind)
      assert.equal("E1", result.Id)
      assert.equal(7, script.time)
    end)
  end)

  describe("groups", function()
    it("wait for all, in order, whatever comes", function()
      local problem = errors.new({ kind = "service", code = "Throttling", message = "x" })
      script:expect({}, { after = 3, result = { Id = "a" } })
      script:expect({}, { after = 1, result = { Id = "b" } })
      local both = loop:await(task.all({ get("a"), get("b"), task.pause(2) }))
      assert.equal("a", both[1].Id)
      assert.equal("b", both[2].Id)
      assert.is_true(both[3])
      assert.equal(3, script.time)
      script:expect({}, { after = 1, err = problem })
      script:expect({}, { after = 4, result = { Id = "b" } })
      local none, err, values, problems = loop:await(task.all({ get("a"), get("b") }))
      assert.is_nil(none)
      assert.equal(problem, err)
      assert.equal("b", values[2].Id)
      assert.same({ problem }, problems)
      assert.equal(7, script.time)
    end)

    it("take the first and cancel what they started besides", function()
      script:expect({}, { after = 10 })
      assert.same({ 2, true }, { loop:await(task.any({ get("a"), task.pause(2) })) })
      assert.equal(2, script.time)
      loop:sleep(1)
      assert.equal(0, loop.running)
      local work = loop:spawn(function() loop:sleep(10) return "w" end)
      assert.equal(1, (loop:await(task.any({ task.pause(1), work }))))
      assert.equal("w", work:wait())
    end)

    it("end early when something is done already", function()
      local done = loop:spawn(function() return "d" end)
      done:wait()
      script:expect({}, { after = 10 })
      assert.same({ 2, "d" }, { loop:await(task.any({ get("a"), done })) })
      loop:sleep(0)
      assert.equal(0, loop.running)
      assert.same({ "d" }, loop:await(task.all({ done })))
    end)

    it("are cancelled with what they started, keeping what writes came to", function()
      script:expect({}, { after = 60, cancelled = { result = { Id = "a" } } })
      script:expect({}, { after = 60 })
      local value, err, values = loop:await(task.all({ update("a"), get("b"), task.pause(50) }), 5)
      assert.is_nil(value)
      assert.equal("timeout", err.kind)
      assert.equal("a", values[1].Id)
      assert.equal(5, script.time)
      local other = loop:spawn(function() loop:sleep(20) end)
      value, err = loop:await(task.all({ other, task.pause(50) }), 5)
      assert.is_nil(value)
      assert.equal("timeout", err.kind)
      assert.equal(10, script.time)
      other:wait()
    end)
  end)

  describe("each", function()
    it("keeps the limit and the order", function()
      local running, most = 0, 0
      script:serve(function(submission) return { after = 10 - submission.params.Id, result = { Id = submission.params.Id } } end)
      local out = loop:each({ 1, 2, 3, 4, 5, 6, 7 }, 3, function(id)
        running = running + 1
        most = math.max(most, running)
        local got = loop:await(get(id))
        running = running - 1
        return got.Id * 10
      end)
      assert.same({ n = 7, stopped = false, 10, 20, 30, 40, 50, 60, 70 }, out)
      assert.equal(3, most)
      assert.same({ n = 0, stopped = false }, loop:each({}, 3, function() error("never") end))
    end)

    it("starts no more after a failure and lets the running ones end", function()
      local problem, begun = errors.new({ kind = "service", code = "X", message = "x" }), {}
      local out, err, partial = loop:each({ 1, 2, 3, 4, 5 }, 2, function(id)
        begun[#begun + 1] = id
        loop:sleep(id == 1 and 10 or 1)
        if id == 3 then return nil, problem end
        return id
      end)
      assert.is_nil(out)
      assert.equal(problem, err)
      assert.same({ 1, 2, 3 }, begun)
      assert.equal(1, partial[1])
      assert.equal(2, partial[2])
      assert.equal(10, script.time)
    end)

    it("stops on demand", function()
      local out = assert(loop:each({ 1, 2, 3, 4, 5, 6 }, 2, function(id, index, stop)
        loop:sleep(1)
        if index == 3 then stop() end
        return id
      end))
      assert.is_true(out.stopped)
      assert.same({ 1, 2, 3, 4 }, { out[1], out[2], out[3], out[4], out[5] })
      assert.equal(6, out.n)
    end)

    it("ends when the function raises, in the others too", function()
      local begun = 0
      local out, err = loop:each({ 1, 2, 3, 4, 5, 6, 7, 8 }, 2, function(id)
        begun = begun + 1
        loop:sleep(1)
        if id == 2 then error("bug") end
        return id
      end)
      assert.is_nil(out)
      assert.equal("internal", err.kind)
      assert.is_true(begun <= 3)
    end)

    it("when cancelled, lets what it began come to its end before it returns", function()
      local ended = 0
      local work = loop:spawn(function()
        return loop:each({ 1, 2, 3, 4 }, 2, function()
          loop:shielded(function() loop:sleep(10) end)
          ended = ended + 1
          return true
        end)
      end)
      loop:sleep(1)
      work:cancel()
      local out, err = work:wait()
      assert.is_nil(out)
      assert.equal("cancelled", err.kind)
      assert.equal(2, ended)
      assert.equal(10, script.time)
    end)

    it("refuses misuse", function()
      assert.has_error(function() loop:each(nil, 1, print) end)
      assert.has_error(function() loop:each({}, 0, print) end)
      assert.has_error(function() loop:each({}, 1) end)
    end)
  end)

  describe("an interrupt", function()
    local function interrupt_at(...)
      local times = { ... }
      for _, at in ipairs(times) do loop._timers:arm(at, function() loop:interrupt("SIGINT") end) end
    end

    it("ends pauses and what only reads, lets writes run, refuses the new", function()
      echo(60)
      interrupt_at(5)
      local function outcome(waitable) return loop:spawn(function() return loop:await(waitable) end) end
      local pause, read, write = outcome(task.pause(500)), outcome(get("r")), outcome(update("w"))
      local settle, swap = outcome({ step = "settle", params = {} }), outcome({ step = "swap", params = { Id = "s" } })
      local value, err = pause:wait()
      assert.is_nil(value)
      assert.equal("cancelled", err.kind)
      assert.equal("Interrupted", err.code)
      assert.matches("SIGINT", err.message)
      assert.equal(5, script.time)
      assert.equal("Interrupted", select(2, read:wait()).code)
      assert.equal("Interrupted", select(2, settle:wait()).code)
      assert.equal(5, script.time)
      assert.equal("w", write:wait().Id)
      assert.equal("s", swap:wait().Id)
      assert.equal(60, script.time)
      assert.equal("Interrupted", select(2, loop:await(update("new"))).code)
      assert.equal("Interrupted", select(2, loop:sleep(1)).code)
      assert.equal("Interrupted", select(2, loop:await(loop:submit(get("new")))).code)
      assert.equal(4, #script.log)
      assert.equal("new", loop:shielded(function() return loop:await(update("new")) end).Id)
      loop:uninterrupt()
      assert.is_true(loop:sleep(1))
    end)

    it("cancels everything the second time", function()
      script:serve(function() return { after = 60, ambiguous = true } end)
      interrupt_at(5, 8)
      local work = loop:spawn(function() return loop:shielded(function() return loop:await(update("w")) end) end)
      local value, err = work:wait()
      assert.is_nil(value)
      assert.equal("Interrupted", err.code)
      assert.is_true(err.ambiguous)
      assert.equal(8, script.time)
    end)

    it("makes each finish what runs and begin nothing", function()
      echo(10)
      interrupt_at(5)
      local begun = 0
      local out, err, partial = loop:each({ "a", "b", "c", "d" }, 2, function(id)
        begun = begun + 1
        return loop:await(update(id))
      end)
      assert.is_nil(out)
      assert.equal("Interrupted", err.code)
      assert.equal(2, begun)
      assert.equal("b", partial[2].Id)
    end)

    it("comes from signals in the block driver", function()
      echo(60)
      local pending = { "INT" }
      loop.driver.signals = { fd = function() return 0 end,
                              take = function() if script.time >= 1 then return table.remove(pending, 1) end end }
      loop._timers:arm(1, function() end)   -- what the signal's descriptor would do: end the wait
      local ok, err = loop:sleep(100)
      assert.is_nil(ok)
      assert.equal("Interrupted", err.code)
      assert.equal(1, script.time)
      assert.equal("SIGINT", loop.interrupted)
    end)
  end)

  describe("close", function()
    it("ends tasks with a reason and refuses further waits", function()
      echo(60)
      local seen = {}
      local function work(waitable)
        return loop:spawn(function()
          local _, err = loop:await(waitable)
          seen[#seen + 1] = err and err.code or "no error"
        end)
      end
      local first = work(get("a"))
      work(task.pause(10))
      work(first)
      local unborn
      loop:spawn(function() loop:sleep(1) end):wait()
      unborn = loop:spawn(function() seen[#seen + 1] = "began" end)
      loop:close()
      loop:close()
      table.sort(seen)
      assert.same({ "Closed", "Closed", "no error" }, seen)
      assert.is_true(unborn:done())
      assert.has_error(function() loop:sleep(1) end, "the session is closed")
      assert.has_error(function() loop:spawn(function() end) end, "the session is closed")
      script.client.running = {}
    end)
  end)

  it("loses no wake-up in random programs", function()
    local seed = support.seed()
    math.randomseed(seed)
    for round = 1, 60 do
      script = script_driver.new()
      loop = script:loop()
      script:serve(function(submission)
        if math.random(10) == 1 then return { refuse = errors.new({ kind = "input", code = "R", message = "r" }) } end
        return { after = math.random(0, 5), result = { Id = submission.params.Id } }
      end)
      local tasks, ended = {}, 0
      for i = 1, 40 do
        tasks[i] = loop:spawn(function()
          for _ = 1, math.random(6) do
            local what = math.random(7)
            local timeout = math.random(3) == 1 and math.random(0, 4) or nil
            if what == 1 then
              loop:await(get(i), timeout)
            elseif what == 2 then
              loop:await(task.pause(math.random(0, 3)), timeout)
            elseif what == 3 and i > 1 then
              loop:await(tasks[math.random(i - 1)], timeout)
            elseif what == 4 then
              loop:await(task.all({ get(i), task.pause(math.random(0, 3)), loop:submit(update(i)) }), timeout)
            elseif what == 5 then
              loop:await(task.any({ get(i), task.pause(math.random(0, 3)) }), timeout)
            elseif what == 6 then
              tasks[math.random(i)]:cancel()
            else
              loop:within(math.random(0, 3), function() loop:await(update(i)) end)
            end
          end
          ended = ended + 1
        end)
      end
      for i = 1, 40 do
        local _, err = tasks[i]:wait()
        assert.is_true(err == nil or err.kind ~= "internal", ("seed %d round %d: %s"):format(seed, round, tostring(err)))
        assert.is_true(tasks[i]:done(), ("seed %d round %d"):format(seed, round))
      end
      loop:sleep(20)
      assert.equal(0, loop.running, ("seed %d round %d"):format(seed, round))
      assert.is_nil(next(loop._pauses), ("seed %d round %d"):format(seed, round))
    end
  end)
end)
