-- A hostile world from a seed: some of the troubles AWS, networks and colleagues make, with numbers of their own. The
-- same seed, the same troubles. Every one of them ends (by count) or can be lived with, so that a rotation can be finished.
local random = require "certrotate.simulator.random"
local settings = require "certrotate.simulator.settings"

local M = {}

---@class certrotate.simulator.Profile
---@field seed integer
---@field troubles string[]
---@field settings table
---@field rules certrotate.simulator.Fault[]

local function between(draw, low, high)
  return low + math.floor(draw:number() * (high - low) * 100 + 0.5) / 100
end

local function when(draw)
  return draw:chance(0.5) and "before" or "after"
end

local function rule(out, fields)
  out.rules[#out.rules + 1] = fields
end

-- What an operation of ours can be met at; half the time it is one of these, else any.
local places = { "UpdateDistribution", "GetDistributionConfig", "GetDistribution", "ListDistributions", "ImportCertificate",
  "UploadServerCertificate", "ListCertificates", "DeleteCertificate", "DeleteServerCertificate" }

local function place(draw)
  return draw:chance(0.5) and draw:pick(places) or nil
end

-- A colleague's change, in the middle of things.
local function colleague(draw, out, action, target)
  rule(out, { kind = "interfere", action = action, target = target, count = 1, skip = draw:integer(4) - 1,
    operation = draw:pick { "UpdateDistribution", "GetDistributionConfig", "GetDistribution" } })
end

local troubles = {
  -- A refusal that has nothing to do with the rate. Few: a client that finds AWS's rate by them slows down for each.
  { "throttles", function(draw, out)
    rule(out, { kind = "throttle", operation = place(draw), chance = between(draw, 0.1, 0.5), count = draw:integer(2) })
  end },
  { "rates", function(draw, out)
    out.settings.rate_updates, out.settings.rate_reads = 4 + draw:integer(6), 20 + draw:integer(30)
  end },
  { "errors", function(draw, out)
    local kind = draw:pick { { 500, "InternalError" }, { 503, "ServiceUnavailable" }, { 502, "BadGateway" } }
    rule(out, { kind = "error", status = kind[1], code = kind[2], operation = place(draw), when = when(draw),
      chance = between(draw, 0.05, 0.3), count = 1 + draw:integer(5) })
  end },
  { "resets", function(draw, out)
    rule(out, { kind = "reset", when = "before", operation = place(draw), chance = between(draw, 0.05, 0.3),
      count = 1 + draw:integer(5) })
  end },
  { "lost replies", function(draw, out)
    rule(out, { kind = "reset", when = "after", operation = place(draw), chance = between(draw, 0.05, 0.4),
      count = 1 + draw:integer(5) })
  end },
  { "silence", function(draw, out)
    rule(out, { kind = "hang", seconds = between(draw, 0.1, 0.4), when = when(draw), operation = place(draw),
      chance = between(draw, 0.05, 0.2), count = 1 + draw:integer(2) })
  end },
  { "truncated replies", function(draw, out)
    rule(out, { kind = "truncate", operation = place(draw), chance = between(draw, 0.05, 0.4), count = 1 + draw:integer(4) })
  end },
  { "duplicated replies", function(draw, out)
    rule(out, { kind = "duplicate", chance = between(draw, 0.1, 0.5), count = 3 + draw:integer(10) })
  end },
  { "delays", function(draw, out)
    rule(out, { kind = "delay", seconds = between(draw, 0.02, 0.3), when = when(draw), operation = place(draw),
      chance = between(draw, 0.1, 0.4), count = 2 + draw:integer(8) })
  end },
  { "a proxy's pages", function(draw, out)
    rule(out, { kind = draw:pick { "html", "empty" }, status = draw:pick { 502, 503, 504 }, when = when(draw),
      chance = between(draw, 0.05, 0.2), count = draw:integer(3) })
  end },
  { "a lost import", function(draw, out)
    for _, operation in ipairs { "ImportCertificate", "UploadServerCertificate" } do
      rule(out, { kind = draw:pick { "reset", "truncate", "empty" }, when = "after", operation = operation, count = 1 })
    end
  end },
  { "lost updates", function(draw, out)
    rule(out, { kind = draw:pick { "reset", "truncate", "hang", "error" }, seconds = 0.2, when = "after",
      operation = "UpdateDistribution", count = 1 + draw:integer(3), skip = draw:integer(3) - 1 })
  end },
  { "a lagging listing", function(draw, out)
    out.settings.list_lag = between(draw, 0.2, 1.5)
  end },
  { "a certificate not visible yet", function(draw, out)
    out.settings.import_lag = between(draw, 0.2, 1)
  end },
  { "a store whose listing lags", function(draw, out)
    out.settings.store_list_lag = between(draw, 0.2, 1)
  end },
  { "in use for a while longer", function(draw, out)
    out.settings.in_use_lag = between(draw, 0.2, 1)
  end },
  { "slow deployments", function(draw, out)
    out.settings.slow_share, out.settings.slow_seconds = between(draw, 0.1, 0.5), between(draw, 0.5, 1.5)
  end },
  { "a stuck deployment", function(draw, out)
    out.settings.stuck_share = between(draw, 0.05, 0.25)
  end },
  -- Within the hour for which the simulator's certificates have been valid at its start.
  { "a changing clock", function(draw, out)
    for _ = 1, draw:integer(2) do
      rule(out, { kind = "clock", seconds = (draw:chance(0.5) and 1 or -1) * (300 + draw:integer(3000)), count = 1,
        skip = 2 + draw:integer(20) })
    end
  end },
  { "pages and order", function(draw, out)
    out.settings.list_max_items, out.settings.list_order = 1 + draw:integer(4), draw:pick { "created", "shuffled", "id" }
    out.settings.summary_etag = draw:chance(0.5)
    out.settings.viewer_certificate_order = draw:pick { "modern", "deprecated_first" }
  end },
  { "edits by another client", function(draw, out)
    rule(out, { kind = "interfere", action = "edit", chance = between(draw, 0.2, 0.6), count = draw:integer(4),
      operation = draw:pick { "UpdateDistribution", "GetDistributionConfig" } })
  end },
  { "another certificate by another client", function(draw, out)
    colleague(draw, out, "certificate", draw:chance(0.5) and "other" or nil)
  end },
  { "a new distribution", function(draw, out)
    colleague(draw, out, "create", "other")
  end },
  { "a deleted distribution", function(draw, out)
    colleague(draw, out, "delete", draw:chance(0.5) and "other" or nil)
  end },
  { "a disabled distribution", function(draw, out)
    colleague(draw, out, "disable", draw:chance(0.5) and "other" or nil)
  end },
  { "a promoted staging distribution", function(draw, out)
    colleague(draw, out, "promote")
  end },
}

-- What befalls a journal and its leases in S3: one of these more, where there is one.
local s3_troubles = {
  { "S3's errors", function(draw, out)
    rule(out, { kind = "error", service = "s3", status = draw:pick { 500, 503 }, code = draw:pick { "InternalError",
      "SlowDown" }, when = when(draw), chance = between(draw, 0.1, 0.4), count = 1 + draw:integer(5) })
  end },
  { "S3's lost replies", function(draw, out)
    rule(out, { kind = draw:pick { "reset", "truncate", "empty" }, when = "after", service = "s3", operation = "PutObject",
      chance = between(draw, 0.1, 0.5), count = 1 + draw:integer(5) })
  end },
  { "S3's delays", function(draw, out)
    rule(out, { kind = "delay", service = "s3", seconds = between(draw, 0.05, 0.4), when = when(draw),
      chance = between(draw, 0.1, 0.5), count = 2 + draw:integer(8) })
  end },
  { "S3's resets", function(draw, out)
    rule(out, { kind = draw:pick { "reset", "hang" }, seconds = 0.2, service = "s3", when = "before",
      chance = between(draw, 0.1, 0.4), count = 1 + draw:integer(5) })
  end },
  { "writes to S3 under way at once", function(draw, out)
    rule(out, { kind = "error", service = "s3", operation = "PutObject", status = 409, code = "ConditionalRequestConflict",
      chance = between(draw, 0.1, 0.5), count = 1 + draw:integer(3) })
  end },
  { "a lagging listing of S3", function(draw, out)
    out.settings.s3_list_lag, out.settings.s3_max_keys = between(draw, 0.2, 2), 1 + draw:integer(9)
  end },
}

-- What befalls tenants.
local tenant_troubles = {
  { "lost updates of tenants", function(draw, out)
    rule(out, { kind = draw:pick { "reset", "truncate", "hang", "error" }, seconds = 0.2, when = "after",
      operation = "UpdateDistributionTenant", count = draw:integer(3) })
  end },
  { "another certificate for a tenant by another client", function(draw, out)
    rule(out, { kind = "interfere", action = "tenant", count = 1, skip = draw:integer(3) - 1,
      operation = draw:pick { "UpdateDistributionTenant", "GetDistributionTenant", "UpdateDistribution" } })
  end },
  { "no word of a tenant's status", function(_, out)
    out.settings.tenant_status = false
  end },
  { "tenants' members kept", function(_, out)
    out.settings.tenant_omitted = "kept"
  end },
  { "errors about tenants", function(draw, out)
    rule(out, { kind = "error", status = 503, code = "ServiceUnavailable", when = when(draw), count = draw:integer(3),
      operation = draw:pick { "UpdateDistributionTenant", "GetDistributionTenant", "ListDistributionTenants",
        "ListDistributionTenantsByCustomization" } })
  end },
}

-- Leases in S3 are counted by S3's own clock: it moves on, and does not jump.
local not_with_s3 = { ["a changing clock"] = true }

--- Which troubles a seed makes. Pure.
---@param seed integer
---@param with? {s3?:boolean, tenants?:boolean}   what there is besides distributions, to be met as well
---@return certrotate.simulator.Profile
function M.profile(seed, with)
  with = with or {}
  local draw = random.new("hostile/" .. seed)
  local out = { seed = seed, troubles = {}, settings = {}, rules = {} }
  local order = {}
  for index = 1, #troubles do
    order[index] = index
  end
  draw:shuffle(order)
  local function add(trouble)
    out.troubles[#out.troubles + 1] = trouble[1]
    trouble[2](draw, out)
  end
  -- A rule that comes first is met first: the narrow ones.
  if with.s3 then
    add(draw:pick(s3_troubles))
  end
  if with.tenants then
    add(draw:pick(tenant_troubles))
  end
  for index = 1, 2 + draw:integer(4) do
    local trouble = troubles[order[index]]
    if not (with.s3 and not_with_s3[trouble[1]]) then
      add(trouble)
    end
  end
  return out
end

--- Puts settings and rules in force, beside those there are.
---@param profile {settings?:table, rules?:certrotate.simulator.Fault[]}
---@return boolean? ok
---@return string? err
function M.apply(sim, profile)
  local ok, err = settings.change(sim.settings, profile.settings or {})
  if not ok then
    return nil, "settings: " .. err
  end
  for _, each in ipairs(profile.rules or {}) do
    ok, err = sim.faults:add(each)
    if not ok then
      return nil, "faults: " .. err
    end
  end
  return true
end

--- What a simulator is started with: rules of its own, and a seed of hostility.
---@param options {faults?:certrotate.simulator.Fault[], hostile?:integer}
---@return boolean? ok
---@return string? err
function M.arm(sim, options)
  local ok, err = M.apply(sim, { rules = options.faults })
  if ok and options.hostile then
    ok, err = M.apply(sim, M.profile(options.hostile))
  end
  return ok, err
end

return M
