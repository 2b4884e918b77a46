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

--- Takes note of another certificate on a distribution or a tenant. Returns when every edge has it.
---@param holder certrotate.simulator.Distribution|certrotate.simulator.Tenant  with its new etag
---@param from? string   reference before; "" for none of its own, nil: the holder is new
---@param to string
---@return number till
function M.apply_reference(sim, holder, from, to)
  local now = sim.clock:now()
  holder.changes = (holder.changes or 0) + 1
  local till = now + (from and trouble(sim, holder) or duration(sim, holder.id, holder.etag))
  holder.modified = now
  holder.deployed_at = math.max(holder.deployed_at or 0, till)
  if from and from ~= to then
    holder.rollout = { from = now, till = till, version = holder.etag, old = sim.store:certificate(from) }
    local kept = {}
    for _, left in ipairs(holder.left) do
      if now < left.until_ then
        kept[#kept + 1] = left
      end
    end
    if from ~= "" then
      kept[#kept + 1] = { reference = from, until_ = till + sim.settings.in_use_lag }
    end
    holder.left = kept
  end
  return till
end

--- Takes note of an accepted configuration. `old` is nil for a new distribution.
---@param distribution certrotate.simulator.Distribution  with its new view and etag
---@param old? certrotate.simulator.View
function M.apply(sim, distribution, old)
  local now = sim.clock:now()
  local till = M.apply_reference(sim, distribution, old and old.viewer.reference, distribution.view.viewer.reference)
  sim.meter:change(old, distribution.view, now, sim.settings.meter_end == "deployed" and till or now)
end

--- Ends every deployment that is under way, the stuck ones too, as AWS's people would.
---@return integer finished
function M.finish(sim)
  local now, finished = sim.clock:now(), 0
  local function finish(holder)
    if now < holder.deployed_at then
      holder.deployed_at, finished = now, finished + 1
    end
    if holder.rollout then
      holder.rollout.till = math.min(holder.rollout.till, now)
    end
    for _, left in ipairs(holder.left) do
      left.until_ = math.min(left.until_, now + sim.settings.in_use_lag)
    end
  end
  for _, id in ipairs(sim.store.ids) do
    finish(sim.store.distributions[id])
  end
  for _, tenant in ipairs(sim.store.tenant_list) do
    finish(tenant)
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

-- Of one holder alone.
local function presented(sim, holder, reference, edge)
  local now = sim.clock:now()
  local record = sim.store:certificate(reference)
  local rollout = holder.rollout
  if rollout and not arrived(sim, now, rollout.from, rollout.till, edge, holder.id, rollout.version) then
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

--- What an edge presents for a distribution, or for a tenant of it: a certificate of the tenant's own wins.
---@param edge integer
---@param tenant? certrotate.simulator.Tenant
---@return certrotate.simulator.Material? material  nil: the default certificate
---@return string reference   "" for the default certificate
function M.presented(sim, distribution, edge, tenant)
  if tenant then
    local material, reference = presented(sim, tenant, tenant.certificate or "", edge)
    if material then
      return material, reference
    end
  end
  return presented(sim, distribution, distribution.view.viewer.reference, edge)
end

return M
