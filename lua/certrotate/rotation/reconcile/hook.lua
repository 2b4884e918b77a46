--- What ACME clients tell a deploy hook, and its durable record: certbot swallows a hook's failure and does not call it
-- again, so what it was told is on the disk before anything is tried, and a later reconcile finishes it.
--
--   certbot   RENEWED_LINEAGE (folder with fullchain.pem and privkey.pem), RENEWED_DOMAINS
--   acme.sh   CERT_FULLCHAIN_PATH or CERT_PATH with CA_CERT_PATH, CERT_KEY_PATH, Le_Domain (reloadcmd, deploy)
--   lego      LEGO_CERT_PATH or LEGO_HOOK_CERT_PATH, …_KEY_PATH, LEGO_CERT_DOMAIN (--run-hook, --renew-hook)
local core = require("certrotate.core")
local errors = require("certrotate.errors")
local ledger_module = require("certrotate.rotation.reconcile.ledger")

local M = {}

---@class certrotate.Lineage
---@field client "certbot"|"acme.sh"|"lego"
---@field name string
---@field certificate string
---@field private_key string
---@field chain? string
---@field domains? string

local function of_certbot(get)
  local folder = get("RENEWED_LINEAGE")
  if not folder then return nil end
  folder = folder:gsub("/+$", "")
  return { client = "certbot", name = folder:match("([^/]+)$"), certificate = folder .. "/fullchain.pem",
           private_key = folder .. "/privkey.pem", domains = get("RENEWED_DOMAINS") }
end

local function of_acme_sh(get)
  local chain = get("CERT_FULLCHAIN_PATH")
  local certificate = chain or get("CERT_PATH")
  if not (certificate and get("CERT_KEY_PATH")) then return nil end
  local domain = get("Le_Domain")
  return { client = "acme.sh", name = domain or certificate:match("([^/]+)/[^/]+$"), certificate = certificate,
           private_key = get("CERT_KEY_PATH"), chain = not chain and get("CA_CERT_PATH") or nil, domains = domain }
end

local function of_lego(get)
  local certificate = get("LEGO_CERT_PATH") or get("LEGO_HOOK_CERT_PATH")
  local key = get("LEGO_CERT_KEY_PATH") or get("LEGO_HOOK_CERT_KEY_PATH")
  if not (certificate and key) then return nil end
  local domain = get("LEGO_CERT_DOMAIN") or get("LEGO_HOOK_CERT_DOMAIN")
  return { client = "lego", name = domain or certificate:match("([^/]+)%.crt$"), certificate = certificate,
           private_key = key, domains = domain }
end

--- What the environment says was renewed.
---@param getenv? fun(name: string): string?
---@return certrotate.Lineage?
---@return certrotate.Error?
function M.lineage(getenv)
  getenv = getenv or os.getenv
  local function get(name)
    local value = getenv(name)
    return value ~= "" and value or nil
  end
  local lineage = of_certbot(get) or of_acme_sh(get) or of_lego(get)
  if not lineage then
    return nil, errors.new({ kind = "input", code = "NoLineage",
      message = "no ACME client called this: certbot sets RENEWED_LINEAGE, acme.sh CERT_FULLCHAIN_PATH and "
        .. "CERT_KEY_PATH, lego LEGO_CERT_PATH and LEGO_CERT_KEY_PATH" })
  end
  for _, kind in ipairs({ "certificate", "private_key", "chain" }) do
    if lineage[kind] then
      -- Not what a link points at: that is this renewal's file, and the next one has another.
      local there, err = core.realpath(lineage[kind])
      if not there then return nil, err end
      if lineage[kind]:sub(1, 1) ~= "/" then lineage[kind] = there end
    end
  end
  -- Names journals: a wildcard's star and whatever else a file's name should not have become "_".
  lineage.name = (lineage.name or "certificate"):gsub("[^%w._-]", "_"):gsub("^[^%w]+", ""):sub(1, 64)
  return lineage
end

local function file_of(directory) return directory .. "/hooks.jsonl" end

-- The declared certificate a lineage is, by its file.
local function declared_for(config, lineage)
  local real = core.realpath(lineage.certificate)
  for _, declared in ipairs(config.certificates) do
    if declared.certificate == lineage.certificate or real and core.realpath(declared.certificate) == real then
      return declared
    end
  end
  return nil
end

local function of_acme(config, lineage)
  local declared = {}
  for key, value in pairs(config.acme) do declared[key] = value end
  declared.name, declared.certificate, declared.private_key, declared.chain = lineage.name, lineage.certificate,
    lineage.private_key, lineage.chain
  declared.hooked = true
  return declared
end

-- Appends to the list of what hooks brought. Another hook that writes at this moment is waited for.
local function append(directory, entry, wait)
  local ledger, err
  for _ = 1, 100 do
    ledger, err = ledger_module.open(file_of(directory))
    if ledger or err.code ~= "Locked" then break end
    wait(0.1)
  end
  if not ledger then return nil, err end
  local ok
  ok, err = ledger:append(entry)
  ledger:close()
  return ok, err
end

local function entry_of(lineage, now)
  local entry = { at = now }
  for key, value in pairs(lineage) do entry[key] = value end
  return entry
end

--- Records a renewal, on the disk when it returns.
---@param config certrotate.ReconcileConfig
---@param directory string      of the configuration's state
---@param lineage certrotate.Lineage
---@param now number
---@param wait fun(seconds: number)
---@return certrotate.Declared? declared  what it is in the configuration
---@return certrotate.Error?
function M.record(config, directory, lineage, now, wait)
  local declared = declared_for(config, lineage)
  if not declared and not config.acme then
    return nil, errors.new({ kind = "input", code = "NotDeclared",
      message = ("%s declares no certificate %s; add it to certificates, or acme = {} for all that hooks bring"):format(
        config.path, lineage.certificate) })
  end
  local ok, err = append(directory, entry_of(lineage, now), wait)
  if not ok then return nil, err end
  return declared or of_acme(config, lineage)
end

--- Records a renewal for a configuration that cannot be read now, where nobody knows yet what it declares: once it is
--- repaired, a reconcile with it takes the renewal up.
---@param path string           of the configuration
---@param directory string      where state is by default
---@param lineage certrotate.Lineage
---@param now number
---@param wait fun(seconds: number)
---@return boolean? ok
---@return certrotate.Error?
function M.record_for(path, directory, lineage, now, wait)
  local entry = entry_of(lineage, now)
  entry.config = core.realpath(path) or path
  return append(directory, entry, wait)
end

-- What hooks brought for this configuration, the oldest first.
local function brought(config, directory, default)
  local list = {}
  local function add(from, named)
    for _, entry in ipairs(ledger_module.read(file_of(from))) do
      local whole = type(entry.name) == "string" and type(entry.certificate) == "string"
        and type(entry.private_key) == "string"
      if whole and (entry.config == config.path or not named and entry.config == nil) then
        entry.at, entry.place = tonumber(entry.at) or 0, #list
        list[#list + 1] = entry
      end
    end
  end
  add(directory, false)
  if default and default ~= directory then add(default, true) end
  table.sort(list, function(a, b)
    if a.at ~= b.at then return a.at < b.at end
    return a.place < b.place
  end)
  return list
end

--- Everything a reconcile looks after: what is declared, and the lineages that hooks brought where `acme` allows them.
---@param config certrotate.ReconcileConfig
---@param directory string
---@param default? string   where hooks wrote while the configuration could not be read
---@return certrotate.Declared[]
function M.declared(config, directory, default)
  local list, index = {}, {}
  for _, declared in ipairs(config.certificates) do
    list[#list + 1] = declared
    index[declared.name] = #list
  end
  if not config.acme then return list end
  for _, entry in ipairs(brought(config, directory, default)) do
    if not declared_for(config, entry) then
      -- The last word on a lineage counts.
      local at = index[entry.name] or #list + 1
      if at > #config.certificates then
        list[at], index[entry.name] = of_acme(config, entry), at
      end
    end
  end
  return list
end

return M
