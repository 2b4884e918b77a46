-- How an accepted change travels: Status, and which content an edge presents in the meantime. Nothing ticks; all is
-- computed from the times when somebody asks.
local random = require "certrotate.simulator.random"

local M = {}

---@return "InProgress"|"Deployed"
function M.status(sim, distribution)
  return sim.clock:now() < distribution.deployed_at and "InProgress" or "Deployed"
end

-- As good as never: what is stuck waits for `finish`.
local STUCK = 365 * 86400

-- What is wrong with the n-th change of a distribution: nil, or the seconds it takes instead.
local function trouble(sim, distribution)
  local chance = random.hash(sim.options.seed, "trouble", distribution.id, distribution.changes)
  if chance < sim.settings.stuck_share then
    return STUCK
  elseif chance < sim.settings.stuck_share + sim.settings.slow_share then
    return sim.settings.slow_seconds
  end
end

--- Seconds this change takes: the base time and the distribution's own share of the jitter.
local function duration(sim, ...)
  if sim.settings.propagation <= 0 then
    return 0
  end
  return sim.settings.propagation + sim.settings.jitter * random.hash(sim.options.seed, "jitter", ...)
end

--- Whether a certificate change of this distribution is still on its way.
function M.changing_certificate(sim, distribution)
  return distribution.rollout ~= nil and sim.clock:now() < distribution.rollout.till
end

--- Takes note of an accepted configuration. `old` is nil for a new distribution.
---@param distribution certrotate.simulator.Distribution  with its new view and etag
---@param old? certrotate.simulator.View
function M.apply(sim, distribution, old)
  local now = sim.clock:now()
  distribution.changes = (distribution.changes or 0) + 1
  local till = now + (old and trouble(sim, distribution) or duration(sim, distribution.id, distribution.etag))
  local from, to = old and old.viewer.reference, distribution.view.viewer.reference
  distribution.modified = now
  distribution.deployed_at = math.max(distribution.deployed_at or 0, till)
  if old and from ~= to then
    distribution.rollout = { from = now, till = till, version = distribution.etag, old = sim.store:certificate(from) }
    local kept = {}
    for _, left in ipairs(distribution.left) do
      if now < left.until_ then
        kept[#kept + 1] = left
      end
    end
    if from ~= "" then
      kept[#kept + 1] = { reference = from, until_ = till + sim.settings.in_use_lag }
    end
    distribution.left = kept
  end
  sim.meter:change(old, distribution.view, now, sim.settings.meter_end == "deployed" and till or now)
end

--- Ends every deployment that is under way, the stuck ones too, as AWS's people would.
---@return integer finished
function M.finish(sim)
  local now, finished = sim.clock:now(), 0
  for _, id in ipairs(sim.store.ids) do
    local distribution = sim.store.distributions[id]
    if now < distribution.deployed_at then
      distribution.deployed_at, finished = now, finished + 1
    end
    if distribution.rollout then
      distribution.rollout.till = math.min(distribution.rollout.till, now)
    end
    for _, left in ipairs(distribution.left) do
      left.until_ = math.min(left.until_, now + sim.settings.in_use_lag)
    end
  end
  sim.meter:finish(now)
  return finished
end

--- Takes note of new content under an ARN: every edge gets it in its own time, no distribution's Status says so.
---@param record certrotate.simulator.StoredCertificate
---@param material certrotate.simulator.Material
function M.replace(sim, record, material)
  local now = sim.clock:now()
  local seconds = sim.settings.reimport_propagation
  if seconds < 0 then
    seconds = duration(sim, record.reference, now)
  end
  record.previous, record.current = record.current, material
  record.replaced_from, record.replaced_till = now, now + seconds
end

-- Whether a change that travels from `from` to `till` has reached this edge.
local function arrived(sim, now, from, till, edge, ...)
  return now >= till or now >= from + (till - from) * random.hash(sim.options.seed, "edge", edge, ...)
end

--- What an edge presents for a distribution.
---@param edge integer
---@return certrotate.simulator.Material? material  nil: the default certificate
---@return string reference   "" for the default certificate
function M.presented(sim, distribution, edge)
  local now = sim.clock:now()
  local record = sim.store:certificate(distribution.view.viewer.reference)
  local rollout = distribution.rollout
  if rollout and not arrived(sim, now, rollout.from, rollout.till, edge, distribution.id, rollout.version) then
    record = rollout.old
  end
  if not record then
    return nil, ""
  end
  if record.previous and not arrived(sim, now, record.replaced_from, record.replaced_till, edge, record.reference,
      record.replaced_from) then
    return record.previous, record.reference
  end
  return record.current, record.reference
end

return M
