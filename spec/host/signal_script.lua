-- Run by driver_spec.lua as a process of its own: waits for a slow read and a slow write, says what a signal made of it.
local scenario = require("spec.host.scenario")
local core = require("certrotate.core")
local task = require("certrotate.task")

local aws = assert(scenario.connect(arg[1]))
local signals = assert(core.signals())
aws:watch_signals(signals)

local function submission(operation, id)
  return { account = aws.account, service = "cloudfront", operation = operation,
           params = { Id = id, IfMatch = operation == "UpdateDistribution" and "t" or nil,
                      DistributionConfig = operation == "UpdateDistribution" and "<DistributionConfig/>" or nil } }
end

local function work(waitable)
  return aws:task(function()
    local result, err = aws.loop:await(waitable)
    if result then return "done" end
    return err.code .. "/" .. err.kind
  end)
end

local tasks = { work(submission("GetDistributionConfig", "ESLOW")), work(submission("UpdateDistribution", "EWRITE")),
                work(task.pause(60)) }
aws:task(function() aws.loop:sleep(0.1) io.stdout:write("ready\n") io.stdout:flush() end)
local began = core.monotonic()
local words = {}
for i, one in ipairs(tasks) do words[i] = one:wait() end
local refused = select(2, aws.cloudfront:get_distribution_config({ Id = "E1" })).code
aws.loop:uninterrupt()
local again = aws.cloudfront:get_distribution_config({ Id = "E1" })
print(table.concat(words, " "), refused, again.ETag, core.monotonic() - began < 10 and "soon" or "late", aws.loop.interrupted)
aws:close()
signals:close()
