--- Sources of credentials as accounts of the client: when the core is to ask for new ones, and bringing them.
local credentials = require("certrotate.credentials")
local errors = require("certrotate.errors")
local fmt = require("certrotate.fmt")

local M = {}

-- From `ADVISED` before the end new ones are looked for while calls go on; from `NEEDED` on calls wait. botocore's
-- figures. Credentials that live shorter than an hour are not renewed at every call: a quarter, a sixth of what is
-- left.
local ADVISED, NEEDED = 900, 600

--- Adds renew_at and needed_at where the credentials end at all.
---@param found certrotate.Credentials
---@param now number   AWS's time
---@return table   what client:account and client:credentials take
function M.windows(found, now)
  local out = { access_key_id = found.access_key_id, secret_access_key = found.secret_access_key,
                session_token = found.session_token, expires_at = found.expires_at }
  if found.expires_at then
    local life = math.max(0, found.expires_at - now)
    out.renew_at = found.renew_at or found.expires_at - math.min(ADVISED, life / 4)
    out.needed_at = found.expires_at - math.min(NEEDED, life / 6)
  end
  return out
end

-- Whatever went wrong, credentials are what is missing.
local function as_failure(err)
  if err.kind == "credentials" or err.kind == "cancelled" or err.kind == "memory" then return err end
  local fields = {}
  for key, value in pairs(err) do fields[key] = value end
  fields.kind, fields.cause = "credentials", err
  return errors.new(fields)
end

local function fetch(session, source)
  local fetcher = require("certrotate.credentials.fetcher").new(session)
  local found, reason = source.fetch(fetcher)
  if not found then
    if errors.is(reason) then return nil, as_failure(reason) end
    local tried = {}
    for index, one in ipairs(source.tried or {}) do tried[index] = one end
    tried[#tried + 1] = ("%s: %s"):format(source.source, tostring(reason))
    return nil, credentials.none(tried)
  end
  local now = fetcher:now()
  if found.expires_at and found.expires_at <= now then
    return credentials.fail("ExpiredCredentials", "%s gave credentials that had expired at %s already; is the clock "
      .. "right?", source.source, fmt.timestamp(found.expires_at))
  end
  local given = M.windows(found, now)
  if fetcher.offset ~= 0 then given.clock_offset = fetcher.offset end
  return given
end

--- Makes a source an account of the session's client. Nothing is fetched before a call needs it.
---@param session certrotate.Session
---@param source certrotate.Source
---@return integer? account
---@return certrotate.Error?
function M.open(session, source)
  local options = source.access_key_id and M.windows(source, session.loop:now()) or {}
  options.endpoints, options.max_attempts = session._where, session._attempts
  options.renewable = source.fetch ~= nil
  local account, err = session.client:account(options)
  if account and source.fetch then
    session.loop:renewable(account, function() return fetch(session, source) end)
  end
  return account, err
end

return M
