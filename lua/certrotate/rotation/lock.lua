--- Two runs on the same certificate exclude each other (rule 10): a lock file a certificate, held by the
-- kernel for as long as the process lives, so a killed run leaves nothing to clean up.
--
-- A run holds three: the certificate it replaces, the identity it puts in place (two runs must not import it
-- twice), and, once known, the new certificate's reference (nobody may replace or retire it meanwhile).
local core = require("certrotate.core")
local errors = require("certrotate.errors")

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
---@field directory string   absolute
local Locks = {}
Locks.__index = Locks
Locks.__name = "certrotate.Locks"

--- Takes one more; one that is held here already is fine.
---@param reference string
---@return boolean? ok
---@return certrotate.Error?
function Locks:take(reference)
  if self._files[reference] then return true end
  local file, err = M.acquire(self._endpoint, reference, self.directory)
  if not file then return nil, err end
  self._files[reference] = file
  return true
end

function Locks:close()
  for _, file in pairs(self._files) do file:close() end
  self._files = {}
end

--- Takes locks on several certificates; all or none.
---@param endpoint string
---@param references string[]
---@param directory? string   default: M.directory()
---@return certrotate.Locks?
---@return certrotate.Error?
function M.open(endpoint, references, directory)
  local err
  if not directory then
    directory, err = M.directory()
    if not directory then return nil, err end
  end
  local ok
  ok, err = core.make_directory(directory)
  if not ok then return nil, err end
  -- The journal names it, and a resume may run in another folder.
  directory, err = core.realpath(directory)
  if not directory then return nil, err end
  local locks = setmetatable({ directory = directory, _endpoint = endpoint, _files = {} }, Locks)
  for _, reference in ipairs(references) do
    ok, err = locks:take(reference)
    if not ok then
      locks:close()
      return nil, err
    end
  end
  return locks
end

return M
