-- Loaded by busted before any spec: what every spec may use.
local support = {}

--- The seed of this run's random tests: CERTROTATE_SEED, or the clock. Whoever uses it prints it.
function support.seed()
  return tonumber(os.getenv("CERTROTATE_SEED")) or os.time()
end

package.loaded["spec.support"] = support
return support
