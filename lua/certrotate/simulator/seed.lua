-- Fills the account with a fleet, the same one for the same seed: users of the main certificate (SNI, dedicated IP,
-- staging, disabled, with XML nobody expects) among distributions that use others or none.
local acm = require "certrotate.simulator.acm"
local authority = require "certrotate.simulator.authority"
local certificate = require "certrotate.simulator.certificate"
local cloudfront = require "certrotate.simulator.cloudfront"
local config = require "certrotate.simulator.distribution_config"
local iam = require "certrotate.simulator.iam"
local policies = require "certrotate.simulator.continuous_deployment"
local random = require "certrotate.simulator.random"
local template = require "certrotate.simulator.seed_template"
local tenants = require "certrotate.simulator.tenants"

local M = {}

local function read_material(sim, files)
  local pem, err = authority.read(files.certificate)
  local key = pem and authority.read(files.key)
  if not key then
    return nil, "cannot read " .. (err or files.key)
  end
  local chain = files.chain and authority.read(files.chain) or ""
  -- A full chain in the certificate's file is how certbot writes it.
  local leaf, rest = pem:match("^(.-%-%-%-%-%-END CERTIFICATE%-%-%-%-%-\n?)(.*)$")
  if leaf then
    pem, chain = leaf, (rest:find("BEGIN CERTIFICATE", 1, true) and rest or "") .. chain
  end
  local material, problem = certificate.read(pem, key, chain, sim.clock:now())
  if not material then
    return nil, ("%s: not an acceptable certificate (%s)"):format(files.certificate, problem)
  end
  return material
end

-- Seeded certificates came into their stores long ago.
local function backdate(record)
  local imported = math.min(record.imported, record.current.leaf.not_before + 3600)
  record.created, record.imported = imported, imported
  return record
end

-- ── certificates ────────────────────────────────────────────────────────────────────────────────────────────

local function add_main(sim, fleet)
  local material, err = read_material(sim, fleet)
  if not material then
    return nil, err
  elseif fleet.store == "iam" then
    return backdate(iam.add(sim, material, { name = "main-certificate", path = "/cloudfront/", reference = fleet.reference }))
  end
  return backdate(acm.add(sim, material, { reference = fleet.reference, tags = { { Key = "Name", Value = "main" } } }))
end

-- Other people's: { file, store, type }
local others = {
  { "acm1", "acm", "IMPORTED" }, { "acm2", "acm", "IMPORTED" }, { "acm3", "acm", "IMPORTED" },
  { "iam1", "iam", "IMPORTED" }, { "iam2", "iam", "IMPORTED" },
  { "aws1", "acm", "AMAZON_ISSUED" }, { "aws2", "acm", "AMAZON_ISSUED" },
}

local function add_others(sim, fleet)
  local records = {}
  for _, other in ipairs(others) do
    local base = fleet.others .. "/" .. other[1]
    local material, err = read_material(sim, { certificate = base .. ".crt", key = base .. ".key", chain = base .. ".chain" })
    if not material then
      return nil, err
    elseif other[2] == "iam" then
      records[#records + 1] = backdate(iam.add(sim, material, { name = other[1] .. "-legacy", path = "/cloudfront/" }))
    else
      records[#records + 1] = backdate(acm.add(sim, material, { type = other[3] }))
    end
  end
  return records
end

-- Hands out aliases that a certificate covers: its exact names once each, then names below its wildcards.
local words = { "www", "img", "static", "media", "api", "docs", "blog", "m", "cdn", "files", "video", "assets" }

local function alias_source(names)
  local exact, wild = {}, {}
  for _, name in ipairs(names) do
    table.insert(name:sub(1, 2) == "*." and wild or exact, name)
  end
  local count, taken = 0, {}
  for _, name in ipairs(exact) do
    taken[name] = true
  end
  return function()
    if #exact > 0 then
      return table.remove(exact, 1)
    elseif #wild == 0 then
      return nil
    end
    local alias
    repeat
      count = count + 1
      local round = math.floor((count - 1) / #words)
      alias = words[(count - 1) % #words + 1] .. (round > 0 and round or "") .. wild[(count - 1) % #wild + 1]:sub(2)
    until not taken[alias]
    taken[alias] = true
    return alias
  end
end

-- ── distributions ───────────────────────────────────────────────────────────────────────────────────────────

local function viewer_of(record, method, minimum)
  if not record then
    return { method = "vip", minimum = "TLSv1" }
  end
  return { store = record.store, reference = record.reference, method = method, minimum = minimum }
end

-- What one distribution is to be, before its XML is written.
local function specification(draw, index)
  local minimums = { "TLSv1.2_2021", "TLSv1.2_2021", "TLSv1.2_2019", "TLSv1.1_2016" }
  return { caller_reference = ("fleet-%04d-%s"):format(index, draw:text(8, "0123456789abcdef")), aliases = {}, enabled = true,
    staging = false, policy = "", http_version = "http2", minimum = draw:pick(minimums), behaviors = draw:integer(4) - 1,
    comment = "distribution " .. index, origin = ("origin-%d.example.net"):format(index) }
end

local function add(sim, draw, spec)
  local document, err = config.read(template.write(spec), { update = true, order = sim.settings.viewer_certificate_order })
  if not document then
    return nil, ("%s: %s"):format(spec.caller_reference, err.message or err.code)
  end
  local distribution = cloudfront.add(sim, document)
  -- Nobody has touched it for a while.
  distribution.created = sim.clock:now() - 86400 * (30 + draw:integer(900))
  distribution.modified = distribution.created + 86400 * draw:integer(29)
  distribution.deployed_at = distribution.modified + 300
  return distribution
end

-- The users of the main certificate: dedicated-IP ones first, then the odd ones, then the rest.
local function user_specifications(draw, fleet, record)
  local aliases = alias_source(record.current.leaf.names)
  local specs = {}
  for index = 1, fleet.users do
    local spec = specification(draw, index)
    local dedicated = index <= fleet.vip
    spec.viewer = viewer_of(record, dedicated and "vip" or "sni-only", dedicated and "TLSv1" or spec.minimum)
    local backwards = fleet.users - index
    spec.staging = not dedicated and fleet.users >= 20 and backwards == 0
    spec.enabled = dedicated or fleet.users < 10 or (backwards ~= 1 and backwards ~= 2)
    if not spec.staging then
      for _ = 1, index % 7 == 0 and 0 or 1 + (draw:chance(0.25) and 1 or 0) do
        spec.aliases[#spec.aliases + 1] = aliases()
      end
    end
    spec.odd = fleet.odd and not dedicated and index - fleet.vip <= template.ODD and index - fleet.vip or nil
    specs[index] = spec
  end
  return specs
end

local function other_specifications(draw, fleet, records)
  local sources, specs = {}, {}
  for index, record in ipairs(records) do
    sources[index] = alias_source(record.current.leaf.names)
  end
  for index = fleet.users + 1, fleet.distributions do
    local spec = specification(draw, index)
    local which = not draw:chance(0.35) and draw:integer(#records) or nil
    spec.viewer = viewer_of(records[which], "sni-only", spec.minimum)
    spec.aliases[1] = which and sources[which]() or nil
    spec.enabled = not draw:chance(0.1)
    spec.staging = #spec.aliases == 0 and draw:chance(0.1)
    spec.http_version = draw:chance(0.3) and "http2and3" or "http2"
    specs[#specs + 1] = spec
  end
  return specs
end

-- Binds a user to the staging user by a continuous-deployment policy.
local function add_policies(sim, draw, fleet, specs)
  local staging = {}
  for index = #specs, 1, -1 do
    local spec = specs[index]
    if #staging < fleet.policies and not spec.staging and spec.viewer.method ~= "vip" and not spec.odd then
      local copy = specification(draw, 100000 + index)
      copy.staging, copy.viewer = true, spec.viewer
      local distribution, err = add(sim, draw, copy)
      if not distribution then
        return nil, err
      end
      -- The two ways of choosing viewers, in turn.
      local by_header = #staging % 2 == 1 and { header = "aws-cf-cd-staging", value = "true" } or nil
      spec.policy = policies.add(sim, { distribution.domain }, by_header).id
      staging[#staging + 1] = distribution
    end
  end
  return true
end

-- A multi-tenant distribution with the main certificate: tenants with it as a certificate of their own, and one more
-- that lives off the distribution's.
local function add_tenants(sim, draw, fleet, record)
  if (fleet.tenants or 0) == 0 then
    return true
  end
  local wildcard
  for _, name in ipairs(record.current.leaf.names) do
    wildcard = wildcard or name:match("^%*(%..+)$")
  end
  if not wildcard then
    return nil, "tenants: the certificate has no wildcard name"
  end
  local spec = specification(draw, 200000)
  spec.connection_mode, spec.viewer = "tenant-only", viewer_of(record, "sni-only", spec.minimum)
  local parent, err = add(sim, draw, spec)
  if not parent then
    return nil, err
  end
  for index = 1, fleet.tenants + 1 do
    local own = index <= fleet.tenants and record.reference or nil
    local tenant
    tenant, err = tenants.add(sim, { distribution = parent.id, domains = { "tenant" .. index .. wildcard },
      certificate = own })
    if not tenant then
      return nil, err
    end
  end
  return true
end

-- Thousands of distributions of a few shapes: each shape is read once, names and numbers are put in by substitution.
local function add_bulk(sim, specs)
  local shapes = {}
  for index, spec in ipairs(specs) do
    local viewer = spec.viewer
    local key = table.concat({ viewer.reference or "", viewer.method, viewer.minimum, tostring(spec.enabled),
      tostring(spec.staging), #spec.aliases, spec.http_version }, "|")
    local shape = shapes[key]
    if not shape then
      local generic = {}
      for field, value in pairs(spec) do
        generic[field] = value
      end
      generic.odd, generic.behaviors = nil, 1
      generic.caller_reference, generic.comment, generic.origin = "zzreference", "zzcomment", "zzorigin.example.net"
      generic.aliases = {}
      for position = 1, #spec.aliases do
        generic.aliases[position] = "zzalias" .. position .. ".example"
      end
      local document, err = config.read(template.write(generic), { update = true, order = sim.settings.viewer_certificate_order })
      if not document then
        return nil, err.message or err.code
      end
      shape = document
      shapes[key] = shape
    end
    local comment = spec.comment .. ": one of many alike, kept for the seasonal campaigns; ask the web team before changing it"
    local values = { zzreference = spec.caller_reference, zzcomment = comment, ["zzorigin.example.net"] = spec.origin }
    for position, alias in ipairs(spec.aliases) do
      values["zzalias" .. position .. ".example"] = alias
    end
    local function fill(text)
      return (text:gsub("zz[%w%.]+", values))
    end
    local view = {}
    for field, value in pairs(shape.view) do
      view[field] = value
    end
    view.caller_reference, view.aliases = spec.caller_reference, spec.aliases
    local head = fill(shape.raw:sub(1, shape.viewer_first - 1))
    local middle = shape.raw:sub(shape.viewer_first, shape.viewer_last)
    local tail = fill(shape.raw:sub(shape.viewer_last + 1))
    local distribution = cloudfront.add(sim, { raw = head .. middle .. tail, root_first = shape.root_first,
      root_last = #head + #middle + #tail - (#shape.raw - shape.root_last), viewer_first = #head + 1,
      viewer_last = #head + #middle, view = view, summary = fill(shape.summary) })
    distribution.created = sim.clock:now() - 86400 * (30 + index % 900)
    distribution.modified, distribution.deployed_at = distribution.created, distribution.created + 300
  end
  return true
end

--- Fills an empty account.
---@param fleet {distributions:integer, users:integer, vip:integer, policies:integer, tenants?:integer, odd:boolean, bulk:boolean,
---  store:"acm"|"iam", reference:string, certificate:string, key:string, chain?:string, others:string}
---@return boolean? ok
---@return string? err
function M.fill(sim, fleet)
  local record, err = add_main(sim, fleet)
  if not record then
    return nil, err
  end
  local records
  records, err = add_others(sim, fleet)
  if not records then
    return nil, err
  end
  local draw = random.new(sim.options.seed .. "/fleet")
  local specs = user_specifications(draw, fleet, record)
  local ok
  ok, err = add_policies(sim, draw, fleet, specs)
  if ok then
    ok, err = add_tenants(sim, draw, fleet, record)
  end
  if not ok then
    return nil, err
  end
  for _, spec in ipairs(other_specifications(draw, fleet, records)) do
    specs[#specs + 1] = spec
  end
  if fleet.bulk then
    return add_bulk(sim, specs)
  end
  -- Users and others mixed, as an account grows.
  for _, spec in ipairs(draw:shuffle(specs)) do
    ok, err = add(sim, draw, spec)
    if not ok then
      return nil, err
    end
  end
  return true
end

return M
