-- Swapping 1,000 holders on the simulator, without propagation time: CPU of this process and calls, a holder.
local core = require("certrotate.core")
local certrotate = require("certrotate")
local launch = require("certrotate.simulator.launch")

local HOLDERS = 1000

local simulator = assert(launch.start({ distributions = HOLDERS, users = HOLDERS, vip = 0, propagation = 0, odd = false }))
local aws = assert(certrotate.connect({
  endpoint_url = simulator.endpoint, ca_file = simulator.ca_file, access_key_id = simulator.access_key_id,
  secret_access_key = simulator.secret_access_key, region = "us-east-1", environment = {},
}))
local files = simulator.files
local identity = assert(core.identity({ certificate = files.new_certificate, private_key = files.new_key,
                                        chain = files.new_chain }))
local imported = assert(aws.steps:import({ store = "acm", identity = identity }))
local holders = assert(aws:inventory({ certificates = false })):holders_of(simulator.old_reference)
assert(#holders == HOLDERS, "the fleet is not what was asked for")

local attempts, cpu, began = aws.client:stats().attempts, os.clock(), core.monotonic()
assert(aws.loop:each(holders, 8, function(holder)
  return aws.loop:await({ account = aws.account, step = "swap",
                          params = { Id = holder.Id, from = simulator.old_reference, to = imported.reference } })
end))
local used, wall = os.clock() - cpu, core.monotonic() - began
local calls = aws.client:stats().attempts - attempts
local left = assert(aws:inventory({ certificates = false })):holders_of(simulator.old_reference)
aws:close()
simulator:stop()
assert(#left == 0, "not every holder was changed")
print(("swapping %d holders: %.3f ms CPU a holder (under 0.3), %.2f calls a holder (at most 3), %.1f s in all"):format(
  HOLDERS, used / HOLDERS * 1000, calls / HOLDERS, wall))
