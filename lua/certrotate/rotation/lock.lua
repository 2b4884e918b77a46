--- Two runs on the same certificate exclude each other (rule 10): a lock file a certificate, held by the
-- kernel for as long as the process lives, so a killed run leaves nothing to clean up.
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
        message = ("another run is rotating %s: %s"):format(reference, err.message) })
      held.cause = err
      return nil, held
    end
    return nil, err
  end
  return file
end

return M
