--- Two runs on the same certificate exclude each other (rule 10): a lock file a certificate, held by the
-- kernel for as long as the process lives, so a killed run leaves nothing to clean up.
--
-- A run holds three: the certificate it replaces, the identity it puts in place (two runs must not import it
-- twice), and, once known, the new certificate's reference (nobody may replace or retire it meanwhile).
-- Locks in S3 (`s3://…`, beside a journal there) exclude other machines as well: leases, see s3/lease.lua.
local core = require("certrotate.core")
local errors = require("certrotate.errors")
local location = require("certrotate.rotation.s3.location")

local M = {}

--- Where locks live: CERTROTATE_STATE, else the XDG state directory.
---@param getenv? fun(name: string): string?
---@return string? directory
---@return certrotate.Error?
function M.directory(getenv)
  getenv = getenv or os.getenv
  local function set(name)
    local value = getenv(name)
    return value ~= "" and value or nil
  end
  local base = set("CERTROTATE_STATE")
  if not base then
    local state = set("XDG_STATE_HOME") or set("HOME") and set("HOME") .. "/.local/state"
    if not state then
      return nil, errors.new({ kind = "input", code = "NoStateDirectory",
        message = "neither CERTROTATE_STATE, XDG_STATE_HOME nor HOME is set; set CERTROTATE_STATE to a directory for locks" })
    end
    base = state .. "/certrotate"
  end
  return base
end

--- Locks one certificate of one endpoint. The lock ends with :close() or with the process.
---@param endpoint string
---@param reference string
---@param directory string
---@return certrotate.File?
---@return certrotate.Error?
function M.acquire(endpoint, reference, directory)
  local ok, err = core.make_directory(directory)
  if not ok then return nil, err end
  local name = core.sha256(endpoint .. "\n" .. reference):sub(1, 32)
  local file
  file, err = core.append(directory .. "/" .. name .. ".lock")
  if not file then
    if err.code == "Locked" then
      local held = errors.new({ kind = "policy", code = "Locked",
        message = ("another run is at work on %s: %s"):format(reference, err.message) })
      held.cause = err
      return nil, held
    end
    return nil, err
  end
  return file
end

--- The lock on an identity that is put in place: within one account, others may be given the same at the same time.
---@param plan certrotate.Plan
---@return string
function M.of_identity(plan)
  return "identity " .. plan.identity.fingerprint .. (plan.account and " in " .. plan.account or "")
end

---@class certrotate.Locks
---@field directory string   absolute, or s3://…
local Locks = {}
Locks.__index = Locks
Locks.__name = "certrotate.Locks"

--- Takes one more; one that is held here already is fine.
---@param reference string
---@return boolean? ok
---@return certrotate.Error?
function Locks:take(reference)
  if self._files[reference] then return true end
  local file, err
  if self._bucket then
    file, err = require("certrotate.rotation.s3.lease").take(self._bucket, self._endpoint, reference, self._writer)
  else
    file, err = M.acquire(self._endpoint, reference, self.directory)
  end
  if not file then return nil, err end
  self._files[reference] = file
  return true
end

--- Whether all of them are still held, so that something new may be begun. Files are until the process ends.
---@return boolean? ok
---@return certrotate.Error?
function Locks:check()
  if not self._bucket then return true end
  for _, lease in pairs(self._files) do
    local ok, err = lease:check()
    if not ok then return nil, err end
  end
  return true
end

function Locks:close()
  if self._renewer then
    -- A renewal on its way comes to its end first: the lease is given back as it is then.
    local loop, renewer = self._bucket.loop, self._renewer
    self._renewer = nil
    renewer:cancel()
    loop:shielded(function() return loop:await(renewer) end)
  end
  for _, file in pairs(self._files) do file:close() end
  self._files = {}
  if self._bucket then self._bucket:close() end
end

-- Renews while the run waits for deployments. What fails here is tried again, and told where something is to be begun.
local function keep(locks, loop)
  local lease = require("certrotate.rotation.s3.lease")
  locks._renewer = loop:spawn(function()
    while loop:sleep(lease.RENEW / 2) do locks:check() end
  end)
end

local function in_s3(endpoint, directory, aws)
  local bucket_module = require("certrotate.rotation.s3.bucket")
  local bucket, err = bucket_module.open(aws, directory)
  if not bucket then return nil, err end
  local writer
  writer, err = bucket_module.writer()
  if not writer then return nil, err end
  local locks = setmetatable({ directory = directory, _endpoint = endpoint, _files = {}, _bucket = bucket, _writer = writer },
    Locks)
  keep(locks, aws.loop)
  return locks
end

local function in_files(endpoint, directory)
  local ok, err = core.make_directory(directory)
  if not ok then return nil, err end
  -- The journal names it, and a resume may run in another folder.
  directory, err = core.realpath(directory)
  if not directory then return nil, err end
  return setmetatable({ directory = directory, _endpoint = endpoint, _files = {} }, Locks)
end

--- Takes locks on several certificates; all or none.
---@param endpoint string
---@param references string[]
---@param directory? string   default: M.directory()
---@param aws? certrotate.Session   for locks in S3
---@return certrotate.Locks?
---@return certrotate.Error?
function M.open(endpoint, references, directory, aws)
  local err
  if not directory then
    directory, err = M.directory()
    if not directory then return nil, err end
  end
  local locks
  locks, err = (location.is(directory) and in_s3 or in_files)(endpoint, directory, aws)
  if not locks then return nil, err end
  for _, reference in ipairs(references) do
    local ok
    ok, err = locks:take(reference)
    if not ok then
      locks:close()
      return nil, err
    end
  end
  return locks
end

return M
