-- The simulator's own endpoints, below /_simulator/ on the API listener: unsigned, JSON, for tests and demonstrations.
--
--   GET  health          { ok = true, … }
--   GET  state           certificates, distributions, edge counters; ?brief=1 without the lists
--   GET  distributions/ID        one distribution, with its configuration's bytes
--   POST distributions   a raw DistributionConfig becomes a distribution (no certificate is judged); ?id= chooses the id
--   POST distributions/ID        a raw DistributionConfig replaces one, as if somebody else had updated it
--   POST certificates    { store, certificate, private_key, chain?, type?, name?, path?, reference?, region? }
--   POST tenants         { distribution, domains, certificate?, name? }: a tenant, not judged
--   POST tenants/ID      { certificate? }: another certificate for it, not judged
--   POST users           { certificate, arns = [...] }: what else uses it (load balancers); an empty list takes them out
--   POST policies        { staging = [domain names], weight? | header?, value?, enabled? }: a policy, not judged
--   POST policies/ID     the same fields: changed as if by somebody else; or { delete = true }
--   POST credentials     { access_key_id, secret_access_key, session_token?, expires_at?, account_id? }
--   POST roles           who may assume it (roles.lua); POST sso: a token of IAM Identity Center (sso.lua)
--   POST buckets         { name, region?, allow = [accounts]? } of S3; GET: what is in them, by name and key
--   ?account=NUMBER with any of these: another account than the main one
--   GET  record          ?after=N&limit=N     what was asked and answered
--   GET  meter           dedicated-IP association and its charge
--   GET  changes         what changed in the account, and by whom (record.lua)
--   GET  faults          POST: one rule (faults.lua), or { rules = {…} }, or { clear = true }
--   POST hostile         { seed, s3?, tenants? }: the rules and settings of a hostile world (hostility.lua), beside
--                        those there are
--   POST deployments     { finish = true }: what is under way is Deployed now, what is stuck too
--   GET  clock           POST: { advance = seconds }, { pass = seconds } or { skew = seconds }, see clock.lua
--   GET  settings        POST: changes (settings.lua)
--   GET  quotas          values and requests; POST: { code, value } or { decision, request?, message? }, see quotas.lua
--   GET  cases           support cases; POST: { id?, body?, status? }: AWS answers in one
--   POST seed            a new fleet: fields of launch.lua's fleet options, settings, and seed; replaces the account
--   POST reset           the account as it was at the start
--   POST quit            ends nginx
local acm = require "certrotate.simulator.acm"
local certificate = require "certrotate.simulator.certificate"
local cloudfront = require "certrotate.simulator.cloudfront"
local config = require "certrotate.simulator.distribution_config"
local continuous_deployment = require "certrotate.simulator.continuous_deployment"
local connection = require "certrotate.simulator.connection"
local deployment = require "certrotate.simulator.deployment"
local hostility = require "certrotate.simulator.hostility"
local iam = require "certrotate.simulator.iam"
local json = require "certrotate.simulator.json"
local quotas = require "certrotate.simulator.quotas"
local s3 = require "certrotate.simulator.s3"
local server = require "certrotate.simulator.server"
local roles = require "certrotate.simulator.roles"
local settings = require "certrotate.simulator.settings"
local simulation = require "certrotate.simulator.simulation"
local sso = require "certrotate.simulator.sso"
local support = require "certrotate.simulator.support"
local tenants = require "certrotate.simulator.tenants"

local M = {}

local copy = json.copied

-- ── state ───────────────────────────────────────────────────────────────────────────────────────────────────

local function describe_distribution(sim, distribution)
  local view = distribution.view
  return {
    id = distribution.id, arn = distribution.arn, domain = distribution.domain, etag = distribution.etag,
    status = deployment.status(sim, distribution), deployed_at = distribution.deployed_at, modified = distribution.modified,
    reference = view.viewer.reference, source = view.viewer.source, ssl_support_method = view.viewer.method,
    minimum_protocol_version = view.viewer.minimum, dedicated = view.viewer.dedicated, aliases = copy(view.aliases),
    enabled = view.enabled, staging = view.staging, policy = view.policy, http_version = view.http_version,
    config_sha256 = config.outside_hash(distribution),
  }
end

local function describe_certificate(sim, record)
  local leaf = record.current.leaf
  return {
    reference = record.reference, store = record.store, type = record.type, region = record.region, name = record.name,
    path = record.path, fingerprint = leaf.fingerprint, names = copy(leaf.names), serial = leaf.serial,
    key_type = leaf.key_type, not_before = leaf.not_before, not_after = leaf.not_after, imported = record.imported,
    tags = copy(record.tags), in_use_by = copy(sim.store:users(record.reference, sim.clock:now())),
  }
end

local function state(sim, query)
  local deployed, in_progress, distributions, certificates = 0, 0, json.list(), json.list()
  for _, id in ipairs(sim.store.ids) do
    local distribution = sim.store.distributions[id]
    if deployment.status(sim, distribution) == "Deployed" then
      deployed = deployed + 1
    else
      in_progress = in_progress + 1
    end
    if not query.brief then
      distributions[#distributions + 1] = describe_distribution(sim, distribution)
    end
  end
  for _, list in ipairs { sim.store.acm_list, sim.store.iam_list } do
    for _, record in ipairs(list) do
      certificates[#certificates + 1] = not query.brief and describe_certificate(sim, record) or nil
    end
  end
  local tenant_list = json.list()
  for _, tenant in ipairs(query.brief and {} or sim.store.tenant_list) do
    tenant_list[#tenant_list + 1] = tenants.describe(sim, tenant)
  end
  return {
    now = sim.clock:now(), account_id = sim.options.account_id, distributions = distributions, certificates = certificates,
    tenants = tenant_list,
    counts = { distributions = #sim.store.ids, deployed = deployed, in_progress = in_progress,
      acm = #sim.store.acm_list, iam = #sim.store.iam_list, tenants = #sim.store.tenant_list },
    effects = sim.record.effects,
    edge = sim.edge,
  }
end

local function one_distribution(sim, _, id)
  local distribution = sim.store.distributions[id]
  if not distribution then
    return nil, "no such distribution", 404
  end
  local answer = describe_distribution(sim, distribution)
  answer.config = distribution.raw
  return answer
end

-- ── changes ─────────────────────────────────────────────────────────────────────────────────────────────────

local function put_distribution(sim, query, id, body)
  local document, failed = config.read(body, { update = false, order = sim.settings.viewer_certificate_order })
  if not document then
    return nil, failed.code .. ": " .. (failed.message or "")
  end
  local distribution = id and sim.store.distributions[id]
  if id and not distribution then
    return nil, "no such distribution", 404
  elseif distribution then
    cloudfront.replace(sim, distribution, document)
  else
    distribution = cloudfront.add(sim, document, { id = query.id })
    distribution.deployed_at = distribution.created
  end
  return describe_distribution(sim, distribution)
end

local function add_certificate(sim, given)
  if type(given.certificate) ~= "string" then
    return nil, "certificate: PEM text expected"
  end
  local material, problem = certificate.read(given.certificate, given.private_key, given.chain, given.now or sim.clock:now())
  if not material then
    return nil, "certificate: " .. problem
  end
  local record
  if given.store == "iam" then
    record = iam.add(sim, material, { name = given.name or "certificate-" .. #sim.store.iam_list + 1,
      path = given.path or "/cloudfront/", reference = given.reference })
  else
    record = acm.add(sim, material, { reference = given.reference, type = given.type, region = given.region })
  end
  return describe_certificate(sim, record)
end

local function put_policy(sim, given, id)
  local policy = id and sim.store.policies[id]
  if id and not policy then
    return nil, "no such policy", 404
  elseif given.delete then
    continuous_deployment.remove(sim, policy)
  elseif policy then
    continuous_deployment.change(sim, policy, given)
  else
    policy = continuous_deployment.add(sim, given.staging or {}, given)
  end
  return policy
end

local function add_faults(sim, given)
  if given.clear then
    sim.faults:clear()
    return { rules = json.list() }
  end
  for _, rule in ipairs(given.rules or { given }) do
    local ok, err = sim.faults:add(rule)
    if not ok then
      return nil, err
    end
  end
  return { rules = copy(sim.faults.rules) }
end

local function add_credentials(sim, given)
  if type(given.access_key_id) ~= "string" or type(given.secret_access_key) ~= "string" then
    return nil, "access_key_id and secret_access_key are needed"
  end
  sim.credentials[given.access_key_id] = given
  return { ok = true }
end

local function done(ok, err)
  return ok and { ok = true }, err
end

local function show_clock(sim)
  return { now = sim.clock:now(), wall = sim.clock:wall(), passed = sim.clock.passed, skew = sim.clock.skew }
end

local function change_clock(sim, given)
  local ok, err = sim.clock:change(given)
  if not ok then
    return nil, err
  end
  return show_clock(sim)
end

-- Those of an account, which has few of its own.
local function show_settings(sim)
  local all = {}
  for name in pairs(settings.defaults) do
    all[name] = sim.settings[name]
  end
  return all
end

local function change_settings(sim, given)
  local ok, err = settings.change(sim.settings, given)
  return ok and show_settings(sim), err
end

local function reseed(sim, given)
  local options, fleet, changed = {}, {}, {}
  for key, value in pairs(sim.options) do
    options[key] = value
  end
  for key, value in pairs(sim.options.fleet or {}) do
    fleet[key] = value
  end
  for key, value in pairs(given) do
    fleet[key] = value
  end
  for _, values in ipairs { sim.options.settings or {}, given.settings or {} } do
    for key, value in pairs(values) do
      changed[key] = value
    end
  end
  fleet.settings, options.settings = nil, changed
  if not fleet.certificate then
    return nil, "seed: this simulator was started without certificates for a fleet"
  elseif fleet.users > fleet.distributions then
    return nil, "seed: users: more than distributions"
  end
  options.fleet, options.seed = fleet, given.seed or sim.options.seed
  local ok, err = server.reset(options)
  if not ok then
    return nil, err
  end
  return state(server.current(), { brief = true })
end

local function add_hostility(sim, given)
  if type(given.seed) ~= "number" then
    return nil, "seed: a number expected"
  end
  local profile = hostility.profile(given.seed, { s3 = given.s3, tenants = given.tenants })
  local ok, err = hostility.apply(sim, profile)
  return ok and { seed = profile.seed, settings = profile.settings, rules = copy(profile.rules),
    troubles = copy(profile.troubles) }, err
end

local function change_deployments(sim, given)
  if given.finish ~= true then
    return nil, "finish: true expected"
  end
  return { finished = deployment.finish(sim) }
end

local function quit()
  connection.quit()
  return { ok = true }
end

-- ── dispatch ────────────────────────────────────────────────────────────────────────────────────────────────

local get = {
  health = function(sim)
    return { ok = true, distributions = #sim.store.ids, region = sim.options.region, account_id = sim.options.account_id,
      worker = ngx.worker.pid() }
  end,
  state = state,
  distributions = one_distribution,
  record = function(sim, query)
    return sim.record:report(tonumber(query.after), tonumber(query.limit))
  end,
  meter = function(sim)
    return sim.meter:report(sim.clock:now(), sim.settings)
  end,
  faults = function(sim)
    return { rules = copy(sim.faults.rules), calls = sim.faults.calls }
  end,
  changes = function(sim)
    return { changes = copy(sim.record.changes) }
  end,
  clock = show_clock,
  settings = show_settings,
  buckets = s3.report,
  quotas = quotas.report,
  cases = support.report,
}

local function put_users(sim, given)
  if not sim.store:certificate(given.certificate or "") or type(given.arns) ~= "table" then
    return nil, "certificate and arns expected"
  end
  sim.store.foreign_users[given.certificate] = given.arns
  return done(true)
end

local post = {
  users = put_users,
  policies = put_policy,
  certificates = add_certificate, tenants = tenants.add, credentials = add_credentials, faults = add_faults,
  roles = function(sim, given)
    return done(roles.add(sim, given))
  end,
  sso = function(sim, given)
    return done(sso.add(sim, given))
  end,
  clock = change_clock, settings = change_settings, seed = reseed, quit = quit,
  hostile = add_hostility, deployments = change_deployments,
  buckets = function(sim, given)
    return done(s3.add(sim, given))
  end,
  quotas = quotas.control, cases = support.control,
  reset = function()
    local ok, err = server.restart()
    return ok and { ok = true }, err
  end,
}

local function dispatch(sim)
  local name, id = ngx.var.uri:match("^/_simulator/(%w+)/?([%w%-_]*)$")
  local query = ngx.req.get_uri_args()
  sim = simulation.of(sim, query.account)
  id = id ~= "" and id or nil
  if ngx.req.get_method() == "GET" then
    if get[name or ""] then
      return get[name](sim, query, id)
    end
  elseif ngx.req.get_method() == "POST" then
    ngx.req.read_body()
    local body = ngx.req.get_body_data() or ""
    if name == "distributions" then
      return put_distribution(sim, query, id, body)
    elseif post[name or ""] then
      local given = body == "" and {} or json.decode(body)
      if type(given) ~= "table" then
        return nil, "the body is not JSON"
      end
      return post[name](sim, given, id)
    end
  end
  return nil, "no such control endpoint", 404
end

--- content_by_lua of /_simulator/.
function M.handle()
  local answer, err, status = nil, server.failure(), 500
  if not err then
    answer, err, status = dispatch(server.current())
  end
  local body = json.encode(answer or { error = err }) .. "\n"
  ngx.status = answer and 200 or status or 400
  ngx.header["Content-Type"] = "application/json"
  ngx.header["Content-Length"] = #body
  ngx.print(body)
end

return M
