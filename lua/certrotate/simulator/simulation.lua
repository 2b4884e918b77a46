-- One simulated account with everything that belongs to it. Knows no nginx: the specs build one in plain LuaJIT.
local clock = require "certrotate.simulator.clock"
local faults = require "certrotate.simulator.faults"
local meter = require "certrotate.simulator.meter"
local random = require "certrotate.simulator.random"
local record = require "certrotate.simulator.record"
local settings = require "certrotate.simulator.settings"
local store = require "certrotate.simulator.store"
local x509 = require "certrotate.simulator.x509"

local M = {}

---@class certrotate.simulator.Credential
---@field secret_access_key string
---@field session_token? string
---@field expires_at? number
---@field account_id? string   default: the main account

---@class certrotate.simulator.Simulation
---@field options table      what launch.lua wrote
---@field settings certrotate.simulator.Settings
---@field clock table
---@field store table
---@field meter table
---@field record table
---@field faults table
---@field credentials table<string, certrotate.simulator.Credential>
---@field main_account string
---@field accounts table<string, certrotate.simulator.Simulation>  the others, by number; see `of`
---@field buckets table<string, certrotate.simulator.Bucket>   of all accounts
---@field roles table<string, certrotate.simulator.Role>  by ARN
---@field random certrotate.simulator.Random   of the fleet: repeatable
---@field secrets certrotate.simulator.Random  of request ids and session keys: not repeatable
---@field edge {connections:integer, failures:integer, presented:table<string,integer>}
---@field trusted_roots? certrotate.simulator.Certificate[]

local function fresh_seed(real)
  local file = io.open("/dev/urandom", "rb")
  if not file then
    return tostring(real())
  end
  local bytes = file:read(16)
  file:close()
  return bytes
end

local function read_roots(path)
  local file, err = io.open(path, "rb")
  if not file then
    return nil, "trusted_roots: " .. err
  end
  local roots = x509.certificates(file:read("*a"))
  file:close()
  if not roots then
    return nil, "trusted_roots: no certificate in " .. path
  end
  return roots
end

--- Makes an account, with the fleet that the options ask for.
---@param options {seed:integer, account_id:string, settings?:table, credentials?:table[], fleet?:table}
---@param real fun():number   the real time
---@return certrotate.simulator.Simulation?
---@return string? err
function M.new(options, real)
  local sim = { options = options, settings = settings.new(), clock = clock.new(real), store = store.new(),
    faults = faults.new(options.seed), record = record.new(), random = random.new(options.seed),
    secrets = random.new(fresh_seed(real)), credentials = {},
    main_account = options.account_id, accounts = {}, buckets = {}, roles = {}, sso = {}, metadata_tokens = {}, handed_out = {},
    edge = { connections = 0, failures = 0, presented = {} } }
  local ok, err = settings.change(sim.settings, options.settings or {})
  if not ok then
    return nil, "settings: " .. err
  end
  for _, credential in ipairs(options.credentials or {}) do
    sim.credentials[credential.access_key_id] = credential
  end
  if sim.settings.trusted_roots ~= "" then
    sim.trusted_roots, err = read_roots(sim.settings.trusted_roots)
    if not sim.trusted_roots then
      return nil, err
    end
  end
  sim.meter = meter.new(sim.clock:now())
  if options.fleet then
    ok, err = require("certrotate.simulator.seed").fill(sim, options.fleet)
    if not ok then
      return nil, "seed: " .. err
    end
  end
  return sim
end

--- The same AWS as another account sees it: its own certificates, distributions, bill and rates, and settings of its
--- own where they were changed for it; all else, the clock, faults, record and credentials too, is that of the whole
--- simulation.
---@param sim certrotate.simulator.Simulation
---@param account_id? string   nil: the main one
---@return certrotate.simulator.Simulation
function M.of(sim, account_id)
  if not account_id or account_id == sim.main_account then
    return sim
  end
  local account = sim.accounts[account_id]
  if not account then
    account = setmetatable({ store = store.new(), meter = meter.new(sim.clock:now()),
      settings = setmetatable({}, { __index = sim.settings }),
      options = setmetatable({ account_id = account_id }, { __index = sim.options }) }, { __index = sim })
    sim.accounts[account_id] = account
  end
  return account
end

return M
