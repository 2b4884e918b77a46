-- Service Quotas: the values that matter to a rotation, and requests to raise them. JSON 1.1.
--
-- A value comes from the settings until a request for it is approved; from then on the account has its own. What is told
-- here is what the services enforce. What becomes of a request is decided by the settings (`quota_review`) after so much
-- of the account's time, or by a test through the control endpoint. Requests move when they are looked at: nothing runs
-- by itself.
local json = require "certrotate.simulator.json"
local protocol = require "certrotate.simulator.protocol"
local support = require "certrotate.simulator.support"

local M = {}

local fail = protocol.fail

---@class certrotate.simulator.QuotaRequest
---@field id string
---@field row table               of `known`
---@field desired number
---@field status "PENDING"|"CASE_OPENED"|"APPROVED"|"CASE_CLOSED"|"DENIED"|"NOT_APPROVED"
---@field created number
---@field updated number
---@field case? certrotate.simulator.Case
---@field case_allowed boolean
---@field caller string           ARN
---@field takes_effect? number    when the value becomes the account's

-- service, code, name, the setting that holds the value, what AWS gives every account
local known = {
  { "cloudfront", "L-DA9DCC93",
    "SSL certificates per AWS account when serving HTTPS requests using dedicated IP addresses", "vip_quota", 2 },
  { "cloudfront", "L-24B04930", "Web distributions per AWS account", nil, 500 },
  { "cloudfront", "L-AAD4943E", "Alternate domain names (CNAMEs) per distribution", nil, 100 },
  { "iam", "L-BF35879D", "Server certificates per account", "iam_quota", 20 },
  { "acm", "L-F141DD1D", "ACM certificates", "acm_quota", 2500 },
  { "acm", "L-D2CB7DE9", "Imported certificates", "acm_quota", 2500 },
  { "acm", "L-3808DC70", "Imported certificates in last 365 days", "acm_imports_per_year", 5000 },
}
local titles = { cloudfront = "Amazon CloudFront", iam = "AWS Identity and Access Management (IAM)",
                 acm = "AWS Certificate Manager (ACM)" }

-- Service Quotas' own limits (aws-reference 6.2).
local OPEN_PER_REGION = 2

local function is_open(request)
  return request.status == "PENDING" or request.status == "CASE_OPENED"
end

-- ── what becomes of a request ───────────────────────────────────────────────────────────────────────────────

local function open_case(sim, request, at)
  if not request.case_allowed then
    return
  end
  local row = request.row
  request.case = support.open(sim, {
    subject = "Limit Increase: " .. titles[row[1]], service_code = "service-limit-increase",
    category_code = "service-limit-increase-" .. row[1], severity_code = "low", submitted_by = request.caller,
    created = at, body = ("Service: %s\nQuota: %s (%s)\nNew limit value: %.14g"):format(titles[row[1]], row[3], row[2],
      request.desired),
  })
  request.status, request.updated = "CASE_OPENED", at
end

local outcomes = {
  approve = { "APPROVED", "We have raised the quota as you asked." },
  deny = { "DENIED", "We are unable to raise the quota at this time." },
  not_approved = { "NOT_APPROVED" },
  -- The case is over and says nothing about the value.
  close = { "CASE_CLOSED", "We have not heard from you and have closed this case." },
}

local function decide(sim, request, decision, at, message)
  local outcome = outcomes[decision]
  request.status, request.updated = outcome[1], at
  if request.case then
    support.add(request.case, { body = message or outcome[2] or "This request is over.",
      submitted_by = "Amazon Web Services", created = at })
    request.case.status = "resolved"
  end
  if decision == "approve" then
    request.takes_effect = at + sim.settings.quota_value_lag
  end
end

-- Brings a request to where it is by now.
local function advance(sim, request, now)
  local settings = sim.settings
  local case_at = request.created + settings.quota_case_delay
  if request.status == "PENDING" and request.case_allowed and now >= case_at then
    open_case(sim, request, case_at)
  end
  local decided_at = case_at + settings.quota_review_delay
  if is_open(request) and settings.quota_review ~= "manual" and now >= decided_at then
    -- Without a case nobody can refuse with words.
    local refused = request.case_allowed and "deny" or "not_approved"
    decide(sim, request, settings.quota_review == "deny" and refused or "approve", decided_at)
  end
  if request.takes_effect and now >= request.takes_effect then
    sim.store.quota_values[request.row[2]] = request.desired
    request.takes_effect = nil
  end
end

local function advance_all(sim)
  local now = sim.clock:now()
  for _, request in ipairs(sim.store.quota_requests) do
    advance(sim, request, now)
  end
end

-- ── values ──────────────────────────────────────────────────────────────────────────────────────────────────

local function row_of(service, code)
  for _, row in ipairs(known) do
    if row[1] == service and row[2] == code then
      return row
    end
  end
end

local function value_of(sim, row)
  return sim.store.quota_values[row[2]] or row[4] and sim.settings[row[4]] or row[5]
end

--- The value that is enforced in this account.
---@param code string   of one of the quotas above
---@return number
function M.enforced(sim, code)
  advance_all(sim)
  for _, row in ipairs(known) do
    if row[2] == code then
      return value_of(sim, row)
    end
  end
end

-- Whether Service Quotas has it for this account: some have no dedicated-IP quota, and some quotas only a default.
local function offered(sim, row, default)
  if row == known[1] and not sim.settings.quota_offered then
    return false
  end
  return default or not sim.settings.quota_defaults_only or value_of(sim, row) ~= row[5]
end

local function name_of(sim, row)
  return row == known[1] and not sim.settings.quota_names and "Custom TLS certificates (VIP) per account" or row[3]
end

local function quota_of(sim, row, default)
  return {
    ServiceCode = row[1], QuotaCode = row[2], QuotaName = name_of(sim, row),
    Unit = "None", Adjustable = row ~= known[1] or sim.settings.quota_adjustable, GlobalQuota = row[1] ~= "acm",
    ServiceName = titles[row[1]],
    QuotaArn = ("arn:aws:servicequotas:us-east-1:%s:%s/%s"):format(sim.options.account_id, row[1], row[2]),
    Value = default and row[5] or value_of(sim, row),
  }
end

-- Global services' quotas are kept in us-east-1 only.
local function here(request, service)
  return request.region == "us-east-1" or service == "acm"
end

local function no_quota()
  return fail("NoSuchResourceException", 400, "The request failed because the specified service quota does not exist.")
end

local function get(sim, request, input)
  local default = request.operation == "GetAWSDefaultServiceQuota"
  local row = here(request, input.ServiceCode) and row_of(input.ServiceCode, input.QuotaCode)
  if not row or not offered(sim, row, default) then
    return no_quota()
  end
  return protocol.json { Quota = quota_of(sim, row, default) }
end

-- ── pages ───────────────────────────────────────────────────────────────────────────────────────────────────

-- One page of a list under `name`.
local function page(input, list, name)
  local size, start = input.MaxResults or 100, 0
  if type(size) ~= "number" or size < 1 or size > 100 then
    return fail("IllegalArgumentException", 400, "Invalid input was provided: MaxResults")
  end
  if input.NextToken ~= nil then
    start = tonumber(tostring(input.NextToken):match("^page(%d+)$"))
    if not start then
      return fail("InvalidPaginationTokenException", 400, "Invalid pagination token was provided.")
    end
  end
  local items = json.list()
  for index = start + 1, math.min(#list, start + size) do
    items[#items + 1] = list[index]
  end
  return protocol.json { [name] = items, NextToken = start + size < #list and "page" .. start + size or nil }
end

local function list(sim, request, input)
  local default, quotas = request.operation == "ListAWSDefaultServiceQuotas", {}
  if not titles[input.ServiceCode or ""] or not here(request, input.ServiceCode) then
    return fail("NoSuchResourceException", 400, "The request failed because the specified service does not exist.")
  end
  for _, row in ipairs(known) do
    if row[1] == input.ServiceCode and offered(sim, row, default) then
      quotas[#quotas + 1] = quota_of(sim, row, default)
    end
  end
  return page(input, quotas, "Quotas")
end

-- ── requests ────────────────────────────────────────────────────────────────────────────────────────────────

local function describe(sim, request)
  local row = request.row
  local case = request.case
  return {
    Id = request.id,
    CaseId = case and (sim.settings.quota_case_id == "display" and case.display_id or case.case_id) or nil,
    ServiceCode = row[1], ServiceName = titles[row[1]], QuotaCode = row[2], QuotaName = row[3],
    DesiredValue = request.desired, Status = request.status, Created = request.created, LastUpdated = request.updated,
    Requester = json.encode { accountId = sim.options.account_id, callerArn = request.caller },
    QuotaArn = ("arn:aws:servicequotas:us-east-1:%s:%s/%s"):format(sim.options.account_id, row[1], row[2]),
    GlobalQuota = row[1] ~= "acm", Unit = "None",
  }
end

local function illegal(message)
  return fail("IllegalArgumentException", 400, message)
end

local function caller_arn(sim, request)
  local credential = request.principal and sim.credentials[request.principal.access_key_id]
  return credential and credential.arn or ("arn:aws:iam::%s:user/simulator"):format(sim.options.account_id)
end

-- Why a request cannot be made, as `fail` returns it; nil when it can.
local function refusal(sim, row, desired)
  local quota, open = quota_of(sim, row), 0
  for _, other in ipairs(sim.store.quota_requests) do
    if is_open(other) then
      if other.row == row then
        return "ResourceAlreadyExistsException", "Only one open service quota increase request is allowed per quota."
      end
      open = open + 1
    end
  end
  if open >= OPEN_PER_REGION then
    return "QuotaExceededException", "You have exceeded your service quota: open requests in this Region."
  elseif not quota.Adjustable then
    return "IllegalArgumentException", "The quota is not adjustable."
  elseif desired <= quota.Value then
    return "IllegalArgumentException", "You must provide a quota value greater than the current quota value."
  end
end

local function increase(sim, request, input)
  local desired = input.DesiredValue
  local row = here(request, input.ServiceCode) and row_of(input.ServiceCode, input.QuotaCode)
  if not row or not offered(sim, row, true) then
    return no_quota()
  elseif type(desired) ~= "number" or desired < 0 or desired > 1e10 then
    return illegal("Invalid input was provided: DesiredValue")
  end
  local code, message = refusal(sim, row, desired)
  if code then
    return fail(code, 400, message)
  end
  local now = sim.clock:now()
  local made = {
    id = sim.random:text(40, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"), row = row,
    desired = desired, status = "PENDING", created = now, updated = now, case_allowed = input.SupportCaseAllowed ~= false,
    caller = caller_arn(sim, request),
  }
  local requests = sim.store.quota_requests
  requests[#requests + 1] = made
  sim.record:effect("quota_requests")
  return protocol.json { RequestedQuota = describe(sim, made) }
end

local function one_request(sim, _, input)
  for _, request in ipairs(sim.store.quota_requests) do
    if request.id == input.RequestId then
      return protocol.json { RequestedQuota = describe(sim, request) }
    end
  end
  return fail("NoSuchResourceException", 400, "The request failed because the specified quota request does not exist.")
end

-- Newest first; about 90 days back; a listing may lag.
local function history(sim, request, input)
  local now, found, requests = sim.clock:now(), {}, sim.store.quota_requests
  local by_quota = request.operation == "ListRequestedServiceQuotaChangeHistoryByQuota"
  if by_quota and not row_of(input.ServiceCode, input.QuotaCode) then
    return no_quota()
  end
  for index = #requests, 1, -1 do
    local one = requests[index]
    local wanted = (not input.ServiceCode or one.row[1] == input.ServiceCode)
      and (not by_quota or one.row[2] == input.QuotaCode) and (not input.Status or one.status == input.Status)
    if wanted and now - one.created >= sim.settings.request_lag and now - one.created < 90 * 86400 then
      found[#found + 1] = describe(sim, one)
    end
  end
  return page(input, found, "RequestedQuotas")
end

local operations = {
  GetServiceQuota = get, GetAWSDefaultServiceQuota = get, ListServiceQuotas = list, ListAWSDefaultServiceQuotas = list,
  RequestServiceQuotaIncrease = increase, GetRequestedServiceQuotaChange = one_request,
  ListRequestedServiceQuotaChangeHistory = history, ListRequestedServiceQuotaChangeHistoryByQuota = history,
}

---@return string operation
---@return function? handler
function M.route(request)
  local name = request.target:match("^ServiceQuotasV20190624%.(%w+)$") or "Unknown"
  local handler = operations[name]
  return name, handler and function(sim, ...)
    advance_all(sim)
    return handler(sim, ...)
  end, request.input.QuotaCode
end

-- ── control ─────────────────────────────────────────────────────────────────────────────────────────────────

--- GET quotas: what the account has and has asked for.
function M.report(sim)
  advance_all(sim)
  local requests, values = json.list(), {}
  for index, request in ipairs(sim.store.quota_requests) do
    requests[index] = describe(sim, request)
  end
  for _, row in ipairs(known) do
    values[row[2]] = value_of(sim, row)
  end
  return { values = values, requests = requests }
end

--- POST quotas: { code, value } sets a value, whatever was asked for; { decision = "approve", "deny", "not_approved",
--- "close" or "open_case", message?, request? } answers a request (default: the newest that is open).
function M.control(sim, given)
  advance_all(sim)
  if given.code then
    if type(given.value) ~= "number" then
      return nil, "value: number expected"
    end
    sim.store.quota_values[given.code] = given.value
    return M.report(sim)
  end
  local found
  for _, request in ipairs(sim.store.quota_requests) do
    if request.id == given.request or not given.request and is_open(request) then
      found = request
    end
  end
  if not found then
    return nil, "no such request, or none that is open"
  elseif given.decision ~= "open_case" and not outcomes[given.decision or ""] then
    return nil, "decision: one of approve, deny, not_approved, close, open_case"
  end
  local now = sim.clock:now()
  if found.status == "PENDING" and given.decision ~= "not_approved" then
    open_case(sim, found, now)
  end
  if given.decision ~= "open_case" then
    decide(sim, found, given.decision, now, given.message)
  end
  return M.report(sim)
end

return M
