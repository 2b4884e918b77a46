--- Asking Service Quotas for more dedicated-IP certificates, and finding what was asked for before.
--
-- A request has no client token: one whose answer was lost is looked for in the account's history, never sent again.
local errors = require("certrotate.errors")
local quota_module = require("certrotate.rotation.quota")

local M = {}

-- How often, and after how many seconds each, a lost write is looked for: listings may lag.
M.LOOKS, M.PAUSE = 5, 3

---@class certrotate.QuotaRequest     as AWS has it: RequestedServiceQuotaChange
---@field Id string
---@field Status string
---@field DesiredValue number
---@field CaseId? string
---@field Created? number
---@field LastUpdated? number

--- Whether AWS has not decided yet.
---@param request certrotate.QuotaRequest
---@return boolean
function M.is_open(request) return request.Status == "PENDING" or request.Status == "CASE_OPENED" end

--- Every request for the quota that AWS remembers (about 90 days), newest first.
---@param aws certrotate.Session
---@param code string   of the quota
---@return certrotate.QuotaRequest[]?
---@return certrotate.Error?
function M.list(aws, code)
  local list, err = aws.quotas:all_requests_by_quota({ ServiceCode = quota_module.SERVICE, QuotaCode = code })
  if not list then
    -- Never asked for, and not there to be asked for.
    if err.code == "NoSuchResourceException" then return {} end
    return nil, err
  end
  table.sort(list, function(a, b) return (a.Created or 0) > (b.Created or 0) end)
  return list
end

--- The one that counts: the open one, else the newest.
---@param list certrotate.QuotaRequest[]
---@return certrotate.QuotaRequest?
function M.current(list)
  for _, request in ipairs(list) do
    if M.is_open(request) then return request end
  end
  return list[1]
end

--- Looks for something that was written and whose answer was lost: calls `look` until it returns something.
---@generic T
---@param aws certrotate.Session
---@param lost certrotate.Error   the write's
---@param where string            for the message: where a person can look
---@param look fun(): T?          failures count as not seen
---@return T?
---@return certrotate.Error?
function M.read_back(aws, lost, where, look)
  for at = 1, M.LOOKS do
    local found = look()
    if found then return found end
    if at < M.LOOKS then
      local slept, err = aws.loop:sleep(M.PAUSE)
      if not slept then return nil, err end
    end
  end
  local err = errors.wrap(lost, { message = ("whether AWS got it is not known (%s); look again in some minutes before "
    .. "asking once more"):format(where) })
  err.ambiguous = true
  return nil, err
end

--- Asks for `value` in all. An open request is found and handed back, not repeated.
---@param aws certrotate.Session
---@param quota certrotate.DedicatedIpQuota
---@param value integer
---@return certrotate.QuotaRequest? request
---@return boolean|certrotate.Error asked_or_err   true: it was made by this call
function M.ask(aws, quota, value)
  local before, listed = M.list(aws, quota.code)
  if not before and listed.kind ~= "service" then return nil, listed end
  local open, known = before and M.current(before), {}
  if open and M.is_open(open) then return open, false end
  for _, request in ipairs(before or {}) do known[request.Id] = true end
  local got, err = aws.quotas:request_service_quota_increase({ ServiceCode = quota_module.SERVICE, QuotaCode = quota.code,
                                                               DesiredValue = value })
  if got then return got.RequestedQuota, true end
  local function new_one()
    for _, request in ipairs(M.list(aws, quota.code) or {}) do
      if not known[request.Id] and request.DesiredValue == value then return request end
    end
  end
  if err.code == "ResourceAlreadyExistsException" then
    -- By somebody else just now, or our listing lagged.
    for _, request in ipairs(M.list(aws, quota.code) or {}) do
      if M.is_open(request) then return request, false end
    end
    return nil, errors.wrap(err, { message = "AWS has an open request for this quota that it does not list yet; look again "
      .. "with `certrotate quota`" })
  end
  -- Without a list from before, an older request could be taken for ours.
  if not err.ambiguous or not before then return nil, err end
  local found, unknown = M.read_back(aws, err, "`certrotate quota` shows open requests", new_one)
  if not found then return nil, unknown end
  return found, true
end

return M
