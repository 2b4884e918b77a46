--- What a reconcile keeps in order, declared in a Lua file that returns a table. Read in an environment of its own: it
-- may compute, but has no io, no os.execute, no require. Everything is checked before anything is asked of AWS.
--
--   return {
--     state = "/var/lib/certrotate",            -- journals and the ledger; default: where locks are, "reconcile" in it
--     connect = { profile = "prod" },           -- as certrotate.connect; flags of the command line go first
--     keep = "24h", policy = "cheapest", policy_options = { canary = 1, soak = "10m" },     -- defaults for all
--     certificates = {
--       { name = "www", certificate = "/etc/letsencrypt/live/www/fullchain.pem",
--         private_key = "/etc/letsencrypt/live/www/privkey.pem" },
--       { name = "shop", certificate = "…", private_key = "…", replace = { "arn:aws:acm:…" } },
--     },
--     acme = { policy = "careful" },            -- also take lineages that only the deploy hook names
--   }
local core = require("certrotate.core")
local errors = require("certrotate.errors")
local fmt = require("certrotate.fmt")
local location = require("certrotate.rotation.s3.location")
local policy_module = require("certrotate.rotation.reconcile.policy")
local window = require("certrotate.rotation.window")

local M = {}

---@class certrotate.Declared
---@field name string             letters, digits, ".", "_", "-": names its journals
---@field certificate string      path
---@field private_key? string     path
---@field chain? string           path
---@field passphrase_file? string path; its first line opens the key
---@field replace? string[]       references to replace. Without it and `holders`: what has exactly the same names
---@field holders? string[]       ids: whatever these name is replaced, and only on these
---@field store? "acm"|"iam"
---@field method? "swap"|"reimport"|"auto"
---@field policy? string|table|fun(holders: table): table   "careful", "cheapest" (the default), the path of a policy's
---                               file, or a policy of one's own
---@field policy_options? table   canary, soak, parallel, pause, align
---@field waves? (certrotate.Stage|string)[]   instead of a policy
---@field gates? table<string, certrotate.Gate>   functions that waves name
---@field windows? string[]       maintenance windows
---@field probes? integer
---@field failures? integer       holders that may fail before no other is begun
---@field price? number           dollars a month of a dedicated-IP certificate
---@field rounding? "hour"|"clock"|"exact"
---@field deploy_time? number|string   seconds, the journal of a rotation, or "last": as in this certificate's last one
---@field plan_policy certrotate.Policy   what all of that comes to
---@field journal? string         s3://[PROFILE@]BUCKET/FOLDER: journals go there; default: into `state`
---@field keep? number            seconds to keep the old certificate before it is retired; false: never retire
---@field warn? number            seconds before its end in which every round says that it was not renewed; false: never
---@field verify? boolean
---@field continuous_deployment? "detach"
---@field trust? string           path
---@field dedicated_ip_quota? integer
---@field wait_for_quota? number  seconds
---@field hooked? boolean         by a deploy hook, not by the configuration

---@class certrotate.ReconcileConfig
---@field path string
---@field state? string           folder
---@field connect table
---@field certificates certrotate.Declared[]
---@field acme? certrotate.Declared   what holds for lineages that only a deploy hook named

local function problem(path, format, ...)
  return nil, errors.new({ kind = "input", code = "MalformedConfig",
    message = ("%s: %s"):format(path, format:format(...)) })
end

-- What a configuration may use: pure functions.
local function environment()
  local allowed = { "ipairs", "pairs", "next", "select", "tonumber", "tostring", "type", "error", "assert", "unpack" }
  local env = { string = {}, table = {}, math = {} }
  for _, name in ipairs(allowed) do env[name] = rawget(_G, name) end
  for name, library in pairs(env) do
    if type(library) == "table" then
      for key, value in pairs(_G[name]) do library[key] = value end
    end
  end
  env.string.dump = nil
  return env
end

local function load_chunk(path)
  local file, why = io.open(path, "rb")
  local text = file and file:read("*a")
  if file then file:close() end
  if not text then
    return nil, errors.new({ kind = "input", code = "FileUnreadable",
      message = ("cannot read the configuration: %s"):format(why or path .. " is not a file") })
  end
  if text:sub(1, 1) == "\27" then return problem(path, "compiled Lua is not taken; give the source") end
  local set_environment = rawget(_G, "setfenv")
  local chunk
  if set_environment then
    chunk, why = loadstring(text, "@" .. path)   -- luacheck: ignore 113
    if chunk then set_environment(chunk, environment()) end
  else
    chunk, why = load(text, "@" .. path, "t", environment())   -- luacheck: ignore 132
  end
  if not chunk then return problem(path, "%s", (why:gsub("^[^:]*:", "line "))) end
  local ok, value = pcall(chunk)
  -- Whatever it raised is told in one line.
  if not ok then return problem(path, "%s", (tostring(value):gsub("%s*\n%s*", " "))) end
  if type(value) ~= "table" then return problem(path, "it must return a table") end
  return value
end

-- ── one check a kind of value: the value as it is used, or nil and what is expected ─────────────────────────────

local function path_of(value)
  if type(value) == "string" and value:sub(1, 1) == "/" then return value end
  return nil, "an absolute path (cron has another working folder)"
end

local function seconds(value)
  if type(value) == "number" and value >= 0 then return value end
  local parsed = type(value) == "string" and fmt.parse_duration(value)
  if parsed then return parsed end
  return nil, "a duration like \"10m\" or seconds"
end

local function list_of_texts(value)
  if type(value) == "string" then value = { value } end
  if type(value) == "table" and #value > 0 then
    for _, one in ipairs(value) do
      if type(one) ~= "string" or one == "" then return nil, "a list of texts" end
    end
    return value
  end
  return nil, "a list of texts, not empty"
end

local function truth(value)
  if type(value) == "boolean" then return value end
  return nil, "true or false"
end

local function whole(value)
  if type(value) == "number" and value >= 1 and value % 1 == 0 then return value end
  return nil, "a whole number"
end

local function one_of(...)
  local choices = { ... }
  return function(value)
    for _, choice in ipairs(choices) do
      if value == choice then return value end
    end
    return nil, "\"" .. table.concat(choices, "\" or \"") .. "\""
  end
end

local function whole_or_none(value)
  if value == 0 then return 0 end
  return whole(value)
end

local POLICY_OPTIONS = { canary = whole_or_none, soak = seconds, parallel = whole, pause = truth, align = truth }

local function policy_options(value)
  if type(value) ~= "table" then return nil, "a table" end
  local checked = {}
  for key, one in pairs(value) do
    local check = POLICY_OPTIONS[key]
    if not check then return nil, ("no '%s'; canary, soak, parallel, pause, align"):format(tostring(key)) end
    local why
    checked[key], why = check(one)
    if checked[key] == nil then return nil, key .. ": " .. why end
  end
  return checked
end

-- Whether it can be resolved is seen where its options are known (policy.lua).
local function policy(value)
  local kind = type(value)
  if kind == "function" or kind == "table" or value == "careful" or value == "cheapest" then return value end
  if kind == "string" and value:find("^/.*%.lua$") then return value end
  return nil, "\"careful\", \"cheapest\", the absolute path of a FILE.lua or a function from holders to waves"
end

local function waves(value)
  if type(value) == "table" and #value > 0 then return value end
  return nil, "a list of waves like { \"1\", \"10%\", { \"rest\", parallel = 4 } }"
end

local function gates(value)
  local fine = type(value) == "table" and next(value) ~= nil
  for name, gate in pairs(fine and value or {}) do fine = fine and type(name) == "string" and type(gate) == "function" end
  if fine then return value end
  return nil, "functions by name"
end

local function windows(value)
  if type(value) == "string" then value = { value } end
  local parsed, why = window.parse_all(value)
  if parsed then return value end
  return nil, why .. ": windows like { \"Mon-Fri 22:00-04:00 +01:00\" }"
end

local function dollars(value)
  if type(value) == "number" and value >= 0 and value < math.huge then return value end
  return nil, "dollars a month"
end

local function s3_folder(value)
  if not location.is(value) then return nil, "s3://[PROFILE@]BUCKET/FOLDER (without it journals are in `state`)" end
  value = value:gsub("/$", "")
  local parsed, err = location.parse(value)
  if parsed then return value end
  return nil, err.message .. ": a folder in S3"
end

local function deploy_time(value)
  if value == "last" or location.is(value) and location.parse(value) then return value end
  return seconds(value) or path_of(value), "a duration like \"5m\", \"last\" or the journal of a rotation"
end

-- A duration, or false for never.
local function seconds_or_never(value)
  if value == false then return false end
  local parsed = seconds(value)
  if parsed then return parsed end
  return nil, "a duration like \"24h\", or false for never"
end

-- What may stand in a certificate, and, as a default for all, beside `certificates`.
local DEFAULTS = {
  store = one_of("acm", "iam"), method = one_of("swap", "reimport", "auto"), verify = truth,
  policy = policy, policy_options = policy_options, waves = waves, gates = gates, windows = windows, probes = whole,
  failures = whole_or_none, price = dollars, rounding = one_of("hour", "clock", "exact"), deploy_time = deploy_time,
  journal = s3_folder,
  continuous_deployment = one_of("detach"), trust = path_of, dedicated_ip_quota = whole, wait_for_quota = seconds,
  keep = seconds_or_never, warn = seconds_or_never,
}
local CERTIFICATE = {
  certificate = path_of, private_key = path_of, chain = path_of, passphrase_file = path_of, replace = list_of_texts,
  holders = list_of_texts,
  name = function(value)
    if type(value) == "string" and value:find("^[%w][%w._-]*$") and #value <= 64 then return value end
    return nil, "a name of letters, digits, \".\", \"_\" and \"-\", 64 at most"
  end,
}

-- Of certrotate.connect's options those a file may decide; keys belong into AWS's own files.
local CONNECT = { profile = "string", region = "string", endpoint_url = "string", endpoints = "table", ca_file = "string",
                  proxy = "string", no_proxy = "string", edge = "string", thread_pool = "string",
                  max_attempts = "number", connect_timeout = "number", timeout = "number", max_connections = "number" }

local function connect(value)
  if type(value) ~= "table" then return nil, "a table" end
  for key, one in pairs(value) do
    local kind = CONNECT[key]
    if not kind then
      return nil, ("no option '%s'; profile, region, endpoint_url, ca_file, proxy, …"):format(tostring(key))
    end
    if type(one) ~= kind then return nil, ("%s: a %s"):format(key, kind) end
  end
  return value
end

local TOP = { state = path_of, certificates = true, acme = true, connect = connect }

-- Takes the known fields of `given` over into `into`; what is unknown or wrong is told with where it stands.
local function take(path, where, given, into, ...)
  for key, value in pairs(given) do
    local check
    for _, known in ipairs({ ... }) do check = check or known[key] end
    if not check then return problem(path, "%s: no setting '%s'", where, tostring(key)) end
    if check ~= true then
      local checked, expected = check(value)
      if checked == nil then return problem(path, "%s: %s: %s expected", where, key, expected) end
      into[key] = checked
    end
  end
  return into
end

local function certificate_of(path, where, given, defaults)
  if type(given) ~= "table" then return problem(path, "%s: a table expected", where) end
  local checked, err = take(path, where, given, {}, CERTIFICATE, DEFAULTS)
  if not checked then return nil, err end
  local one = policy_module.merged(checked, defaults)
  local why
  one.plan_policy, why = policy_module.of(one)
  if not one.plan_policy then return problem(path, "%s: %s", where, why) end
  return one
end

--- Checks a configuration whole.
---@param given table    as a file returns it
---@param path string    what messages call it
---@return certrotate.ReconcileConfig?
---@return certrotate.Error?
function M.check(given, path)
  local defaults, config = {}, { path = path, connect = {}, certificates = {} }
  local plain, shared = {}, {}
  for key, value in pairs(given) do (DEFAULTS[key] and shared or plain)[key] = value end
  local ok, err = take(path, "it", shared, defaults, DEFAULTS)
  if ok then ok, err = take(path, "it", plain, config, TOP) end
  if not ok then return nil, err end
  local list = given.certificates or {}
  if type(list) ~= "table" then return problem(path, "certificates: a list expected") end
  local names, count = {}, 0
  for key in pairs(list) do
    count = count + 1
    if type(key) ~= "number" then return problem(path, "certificates: a list expected, not one by name") end
  end
  if count ~= #list then return problem(path, "certificates: a list without gaps expected") end
  for i, entry in ipairs(list) do
    local where = ("certificates[%d]"):format(i)
    local one
    one, err = certificate_of(path, where, entry, defaults)
    if not one then return nil, err end
    for _, needed in ipairs({ "name", "certificate" }) do
      if not one[needed] then return problem(path, "%s: no %s", where, needed) end
    end
    if names[one.name] then return problem(path, "%s: the name '%s' is there twice", where, one.name) end
    names[one.name] = true
    config.certificates[i] = one
  end
  if given.acme ~= nil then
    config.acme, err = certificate_of(path, "acme", given.acme, defaults)
    if not config.acme then return nil, err end
    for _, own in ipairs({ "name", "certificate", "private_key", "chain" }) do
      if config.acme[own] then return problem(path, "acme: %s comes from the deploy hook", own) end
    end
  end
  if #config.certificates == 0 and not config.acme then
    return problem(path, "it declares nothing: give certificates, or acme")
  end
  return config
end

--- Reads and checks a configuration file.
---@param path string
---@return certrotate.ReconcileConfig?
---@return certrotate.Error?
function M.load(path)
  local given, err = load_chunk(path)
  if not given then return nil, err end
  local config
  config, err = M.check(given, path)
  if not config then return nil, err end
  config.path, err = core.realpath(path)
  if not config.path then return nil, err end
  return config
end

return M
