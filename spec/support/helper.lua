-- Loaded by busted before any spec: what every spec may use.
local support = {}

--- The seed of this run's random tests: CERTROTATE_SEED, or the clock. Whoever uses it prints it.
function support.seed()
  return tonumber(os.getenv("CERTROTATE_SEED")) or os.time()
end

-- Making keys is most of what a simulator's start costs: those of one run share their certificates.
local certificates = os.getenv("CERTROTATE_SPEC_CERTIFICATES")
if certificates then
  local launch = require("certrotate.simulator.launch")
  local start = launch.start
  function launch.start(options)
    local all = { certificates = certificates }
    for key, value in pairs(options or {}) do all[key] = value end
    return start(all)
  end
end

package.loaded["spec.support"] = support
return support
