--- Where the dedicated-IP quota of an account stands: what it is, what is used, what a rotation needs, what was asked for.
local inventory_module = require("certrotate.rotation.inventory")
local quota_module = require("certrotate.rotation.quota")
local case_module = require("certrotate.rotation.quota.case")
local request_module = require("certrotate.rotation.quota.request")

local M = {}

---@class certrotate.QuotaStatus
---@field quota certrotate.DedicatedIpQuota
---@field in_use integer          distinct certificates on dedicated-IP distributions, disabled ones included
---@field holders integer         such distributions
---@field needed integer          for one rotation beside them; 0 when none is in use
---@field fits boolean
---@field request? certrotate.QuotaRequest   the open one, else the newest of the last 90 days
---@field case? certrotate.QuotaCase         of that request, or our own
---@field problems certrotate.Error[]        what could not be looked at

-- The case of a request, else an open one of our own. What cannot be read is noted.
local function find_case(aws, status)
  local request, case, err = status.request, nil, nil
  if request and type(request.CaseId) == "string" and request.CaseId ~= "" then
    case, err = case_module.read(aws, request.CaseId)
  elseif not (request and request_module.is_open(request)) and not (status.quota.offered and status.quota.adjustable) then
    case, err = case_module.open(aws)
  end
  return case, err
end

--- Reads everything. Failing to read requests or cases leaves them out and is noted; the listing of distributions must
--- be there.
---@param aws certrotate.Session
---@return certrotate.QuotaStatus?
---@return certrotate.Error?
function M.read(aws)
  local inventory, err = inventory_module.build(aws, { certificates = false })
  if not inventory then return nil, err end
  local by_reference, in_use = inventory:dedicated_ip_certificates()
  local status = { in_use = in_use, holders = 0, needed = in_use > 0 and in_use + 1 or 0, problems = {} }
  for _, count in pairs(by_reference) do status.holders = status.holders + count end
  status.quota, err = quota_module.read(aws)
  if not status.quota then return nil, err end
  status.fits = status.needed <= status.quota.value
  local function note(problem)
    if problem then status.problems[#status.problems + 1] = problem end
    return problem and problem.kind == "cancelled"
  end
  if note(status.quota.problem) then return nil, status.quota.problem end
  local list
  list, err = request_module.list(aws, status.quota.code)
  if note(err) then return nil, err end
  status.request = list and request_module.current(list)
  status.case, err = find_case(aws, status)
  if note(err) then return nil, err end
  return status
end

--- Asks for `value` certificates in all: Service Quotas where it has the quota, else AWS Support.
---@param aws certrotate.Session
---@param status certrotate.QuotaStatus
---@param value integer
---@return { asked: boolean, request?: certrotate.QuotaRequest, case?: certrotate.QuotaCase }?   asked: by this call
---@return certrotate.Error?   with `text` { subject, body } where only a person can ask: no support plan
function M.ask(aws, status, value)
  local quota = status.quota
  if quota.offered and quota.adjustable then
    local request, asked = request_module.ask(aws, quota, value)
    if request then return { asked = asked, request = request } end
    if asked.code ~= "NoSuchResourceException" then return nil, asked end
  end
  local case, asked = case_module.ask(aws, value, { in_use = status.in_use, quota = quota.value })
  if case then return { asked = asked == true, case = case } end
  if asked.code == "SubscriptionRequiredException" then
    local subject, body = case_module.text(value, { in_use = status.in_use, quota = quota.value,
                                                    account = aws:account_id() })
    asked.text = { subject = subject, body = body }
  end
  return nil, asked
end

return M
