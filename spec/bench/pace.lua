-- The pace against a simulator that lets 0.1 updates and one read a second through, both at once: how much of the rate
-- is used, how many calls are refused. Seven minutes: the rates are slow.
local certrotate = require("certrotate")
local core = require("certrotate.core")
local launch = require("certrotate.simulator.launch")

local UPDATES, READS = 40, 300   -- at 0.1 and at 1 a second

local simulator = certrotate.must(launch.start({ distributions = 20, users = 20, vip = 0, propagation = 0, odd = false }))
local aws = certrotate.must(certrotate.connect({
  endpoint_url = simulator.endpoint, ca_file = simulator.ca_file, access_key_id = simulator.access_key_id,
  secret_access_key = simulator.secret_access_key, region = "us-east-1", environment = {},
}))
local ids = {}
for _, holder in ipairs(certrotate.must(aws:inventory({ certificates = false })).holders) do ids[#ids + 1] = holder.Id end
local configurations = {}
for _, id in ipairs(ids) do configurations[id] = certrotate.must(aws.cloudfront:get_distribution_config({ Id = id })) end
certrotate.must(simulator:control("settings", { rate_updates = 0.1, rate_reads = 1 }))

local function list(count)
  local all = {}
  for i = 1, count do all[i] = ids[(i - 1) % #ids + 1] end
  return all
end

local function measure(name, rate, count, call)
  local began = core.monotonic()
  certrotate.must(aws.loop:each(list(count), 8, call))
  local seconds = core.monotonic() - began
  for _, pace in ipairs(aws:paces()) do
    if pace.service == "cloudfront" and pace.writes == (name == "updates") then
      print(("%s at %.1f a second: %.0f %% used, %d refused of %d (at most %.0f), found %.3f a second, %.0f s"):format(name,
        rate, 100 * count / (rate * seconds), pace.refused, count + pace.refused,
        math.max(3, 0.05 * (count + pace.refused)), pace.rate, seconds))
    end
  end
  return true
end

local updates = aws:task(function()
  return measure("updates", 0.1, UPDATES, function(id)
    local config = configurations[id]
    local result, err = aws.cloudfront:update_distribution({ Id = id, IfMatch = config.ETag, DistributionConfig = config.Body })
    if result then config.ETag = result.ETag end
    return result, err
  end)
end)
local reads = aws:task(function()
  return measure("reads", 1, READS, function(id) return aws.cloudfront:get_distribution({ Id = id }) end)
end)
certrotate.must(reads:wait())
certrotate.must(updates:wait())
aws:close()
simulator:stop()
