-- Run inside Neovim by driver_spec.lua: the scenario as a task and from the main loop, with a ticker that
-- shows how long the editor could not do anything else. Writes what it saw to CERTROTATE_OUT.
local uv = vim.loop
local scenario = require("spec.host.scenario")
local json = require("certrotate.json")
local url, out = os.getenv("CERTROTATE_URL"), os.getenv("CERTROTATE_OUT")
local report = {}

-- The largest gap between two ticks of a 5 ms timer, in milliseconds, while fn runs.
local function largest_gap(fn)
  local timer, last, gaps = uv.new_timer(), uv.hrtime(), {}
  timer:start(5, 5, function()
    local now = uv.hrtime()
    gaps[#gaps + 1] = (now - last) / 1e6
    last = now
  end)
  fn()
  timer:stop()
  timer:close()
  table.sort(gaps)
  return gaps[#gaps], gaps[math.floor(#gaps * 0.99)], #gaps
end

local function main()
  local aws = assert(scenario.connect(url))
  report.driver = aws.loop.driver.name

  -- A task nobody waits for: it starts and ends by itself, and may use the whole API when it does.
  local done = false
  report.task_gap, report.task_gap_99, report.task_ticks = largest_gap(function()
    aws:task(function()
      report.task = scenario.run(aws)
      report.api = vim.api.nvim_get_current_buf() > 0
      done = true
    end)
    assert(vim.wait(20000, function() return done end, 5))
  end)

  -- The same from the main loop: the call simply returns.
  report.main_gap, report.main_gap_99, report.main_ticks = largest_gap(function() report.main = scenario.run(aws) end)

  -- In a libuv callback nothing can wait; it says so instead of hanging.
  local fast
  local timer = uv.new_timer()
  timer:start(1, 0, function()
    local value, err = aws.loop:sleep(0.01)
    fast = { value = value, code = err and err.code }
  end)
  vim.wait(5000, function() return fast ~= nil end, 5)
  timer:close()
  report.fast = fast

  -- Idle: no wake-ups.
  local before = aws.loop.driver.pumps
  vim.wait(300, function() return false end, 50)
  report.idle_pumps = aws.loop.driver.pumps - before
  aws:close()
  report.closed = true
end

local ok, problem = xpcall(main, debug.traceback)
if not ok then report.error = tostring(problem) end
local file = assert(io.open(out, "wb"))
file:write(json.encode(report))
file:close()
vim.cmd("qall!")
