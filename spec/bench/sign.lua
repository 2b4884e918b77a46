-- core.sign of a 4 KiB PUT with a cached key, against the hashing it cannot avoid.
-- usage: lua sign.lua PATH_OF_bench_sign   (which prints the floor: "floor: X us")
local core = require("certrotate.core")
local bench = require("spec.bench.support")

local program = assert(arg[1], "path of bench_sign expected")
local request = {
  method = "PUT", url = "https://cloudfront.amazonaws.com/2020-05-31/distribution/EDFDVBD6EXAMPLE/config",
  headers = { { "Content-Type", "application/xml" }, { "If-Match", "E2QWRUHAPOMQZL" } }, body = ("x"):rep(4096),
  service = "cloudfront", region = "us-east-1", access_key_id = "AKIDEXAMPLE",
  secret_access_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", time = 1768478400,
}

local function round(count)
  local sign = core.sign
  local before = core.monotonic()
  for i = 1, count do
    request.time = 1768478400 + i % 60
    sign(request)
  end
  return (core.monotonic() - before) / count * 1e6
end

-- The fastest of many short rounds, as bench_sign does it: whatever else the machine was doing then, it did not disturb.
local function fastest()
  local best = math.huge
  for _ = 1, 60 do best = math.min(best, round(2000)) end
  return best
end

round(5000)
local ratios, ours, floors = {}, {}, {}
for i = 1, 5 do
  local text = bench.capture(bench.quote(program))
  floors[i], ours[i] = tonumber(text:match("floor: ([%d.]+) us")), fastest()
  ratios[i] = ours[i] / floors[i]
end
print(("core.sign, 4 KiB PUT, cached key: %.2f us; the hashing alone %.2f us; ratio %.2f (at most 2)"):format(
  bench.median(ours), bench.median(floors), bench.median(ratios)))
