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

-- In slices, so that the fastest one can be told from what the machine was doing beside it (the simulator itself works
-- on the other core); there and back, so that each holder is really changed every time.
local SLICE, TURNS = 100, 4
local bench = require("spec.bench.support")

local function swap(from, to, first)
  local slice = {}
  for i = first, first + SLICE - 1 do slice[#slice + 1] = holders[i] end
  local before = os.clock()
  assert(aws.loop:each(slice, 8, function(holder)
    local result, err = aws.loop:await({ account = aws.account, step = "swap",
                                         params = { Id = holder.Id, from = from, to = to } })
    assert(not result or result.changed, "a holder was not changed")
    return result, err
  end))
  return (os.clock() - before) / SLICE * 1000
end

local attempts, began, costs = aws.client:stats().attempts, core.monotonic(), {}
for turn = 1, TURNS do
  local from, to = simulator.old_reference, imported.reference
  if turn % 2 == 0 then from, to = to, from end
  for first = 1, HOLDERS, SLICE do costs[#costs + 1] = swap(from, to, first) end
end
local wall, calls = core.monotonic() - began, aws.client:stats().attempts - attempts
aws:close()
simulator:stop()
table.sort(costs)
print(("swapping %d holders: %.3f ms CPU a holder in the fastest slice, median %.3f (under 0.3); %.2f calls a holder "
  .. "(at most 3), %.2f s for all"):format(HOLDERS, costs[1], bench.median(costs), calls / HOLDERS / TURNS, wall / TURNS))
