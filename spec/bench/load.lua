-- A process that loads certrotate and ends, against one that loads libcurl and ends: ratio of pairs.
-- usage: lua load.lua PATH_OF_baseline_load INTERPRETER
local core = require("certrotate.core")
local bench = require("spec.bench.support")

local baseline, interpreter = assert(arg[1]), assert(arg[2])
local ours = ("LUA_PATH=%s LUA_CPATH=%s %s -e 'require\"certrotate\"'"):format(bench.quote(package.path),
  bench.quote(package.cpath), interpreter)

-- Many in one shell, so that its own start does not count.
local function seconds(command, count)
  local before = core.monotonic()
  bench.capture(("i=0; while [ $i -lt %d ]; do %s || exit 1; i=$((i+1)); done"):format(count, command))
  return (core.monotonic() - before) / count
end

local ratios, mine, theirs = {}, {}, {}
for i = 0, 9 do
  local a, b = seconds(ours, 20), seconds(bench.quote(baseline), 20)
  if i > 0 then ratios[i], mine[i], theirs[i] = a / b, a, b end
end
print(("load and end: %.1f ms, libcurl alone %.1f ms; ratio %.2f (at most 1.5)"):format(bench.median(mine) * 1000,
  bench.median(theirs) * 1000, bench.median(ratios)))
