-- AWS Support: cases and what is said in them. JSON 1.1. Without a support plan every call is refused, while cases that
-- AWS itself opens (for quotas) exist all the same.
local json = require "certrotate.simulator.json"
local protocol = require "certrotate.simulator.protocol"
local time = require "certrotate.simulator.time"

local M = {}

local fail = protocol.fail

---@class certrotate.simulator.Case
---@field case_id string
---@field display_id string       what people see
---@field subject string
---@field status string
---@field service_code string
---@field category_code string
---@field severity_code string
---@field submitted_by string
---@field created number
---@field cc string[]
---@field language string
---@field communications {body:string, submitted_by:string, created:number}[]   oldest first

local services = {
  { "amazon-acm-service", "Certificate Manager", { { "other", "Other" } } },
  { "amazon-cloudfront", "CloudFront", { { "distribution-issue", "Distribution Issue" },
    { "general-guidance", "General Guidance" }, { "ssl-certificates", "SSL Certificates" } } },
  { "general-info", "General Info and Getting Started", { { "using-aws", "Using AWS & Services" } } },
}
local severities = { { "low", "General guidance" }, { "normal", "System impaired" },
                     { "high", "Production system impaired" }, { "urgent", "Production system down" },
                     { "critical", "Business-critical system down" } }

-- ── cases ───────────────────────────────────────────────────────────────────────────────────────────────────

--- Says something in a case: { body, submitted_by, created }.
function M.add(case, said)
  case.communications[#case.communications + 1] = said
end

--- Opens a case. `fields`: those of a case that are not made here, and `body`.
---@return certrotate.simulator.Case
function M.open(sim, fields)
  local created = fields.created or sim.clock:now()
  local case = {
    case_id = ("case-%s-muen-%s-%s"):format(sim.options.account_id, time.iso(created):sub(1, 4),
      sim.random:text(16, "0123456789abcdef")),
    display_id = "1" .. sim.random:text(14, "0123456789"), subject = fields.subject, status = "unassigned",
    service_code = fields.service_code, category_code = fields.category_code, severity_code = fields.severity_code,
    submitted_by = fields.submitted_by, created = created, cc = fields.cc or {}, language = fields.language or "en",
    communications = {},
  }
  M.add(case, { body = fields.body, submitted_by = fields.submitted_by, created = created })
  sim.store.cases[#sim.store.cases + 1] = case
  return case
end

local function find(sim, id)
  for _, case in ipairs(sim.store.cases) do
    if id ~= nil and (case.case_id == id or case.display_id == id) then
      return case
    end
  end
end

local function no_case()
  return fail("CaseIdNotFound", 400, "The requested caseId could not be located.")
end

-- ── spelling ────────────────────────────────────────────────────────────────────────────────────────────────

local function spell_communication(case, said)
  return { caseId = case.case_id, body = said.body, submittedBy = said.submitted_by, timeCreated = time.iso_ms(said.created),
           attachmentSet = json.list() }
end

-- The newest first, from `start` on; the list, and the token of what comes after it.
local function communications(case, start, size, keep)
  local list, all = json.list(), {}
  for index = #case.communications, 1, -1 do
    local said = case.communications[index]
    if not keep or keep(said) then
      all[#all + 1] = said
    end
  end
  for index = start + 1, math.min(#all, start + size) do
    list[#list + 1] = spell_communication(case, all[index])
  end
  return list, start + size < #all and "said" .. start + size or nil
end

local function spell_case(case, with_communications)
  local recent
  if with_communications then
    local list, token = communications(case, 0, 5)
    recent = { communications = list, nextToken = token }
  end
  local cc = json.list()
  for index, address in ipairs(case.cc) do
    cc[index] = address
  end
  return {
    caseId = case.case_id, displayId = case.display_id, subject = case.subject, status = case.status,
    serviceCode = case.service_code, categoryCode = case.category_code, severityCode = case.severity_code,
    submittedBy = case.submitted_by, timeCreated = time.iso_ms(case.created), ccEmailAddresses = cc, language = case.language,
    recentCommunications = recent,
  }
end

-- ── operations ──────────────────────────────────────────────────────────────────────────────────────────────

local function invalid(message)
  return fail("ValidationException", 400, "1 validation error detected: " .. message)
end

-- "2026-01-15", or with a time: Unix seconds. Nil for what is none.
local function moment(text)
  local digits = type(text) == "string" and text:gsub("%.%d+", ""):gsub("[-:Z]", "")
  if not digits then
    return nil
  elseif not digits:find("T", 1, true) then
    digits = digits .. "T000000"
  end
  return time.parse_basic(digits .. "Z")
end

-- Size and start of a page; nil and the failure.
local function paging(input, prefix)
  local size, start = input.maxResults or 100, 0
  if type(size) ~= "number" or size < 10 or size > 100 then
    return nil, select(2, invalid("maxResults must be between 10 and 100"))
  end
  if input.nextToken ~= nil then
    start = tonumber(tostring(input.nextToken):match("^" .. prefix .. "(%d+)$"))
    if not start then
      return nil, select(2, invalid("nextToken is not valid"))
    end
  end
  return size, start
end

-- A filter by afterTime and beforeTime; nil and the failure.
local function period(input)
  local after, before = input.afterTime and moment(input.afterTime), input.beforeTime and moment(input.beforeTime)
  if input.afterTime and not after or input.beforeTime and not before then
    return nil, select(2, invalid("afterTime and beforeTime must be times"))
  end
  return function(created)
    return (not after or created >= after) and (not before or created <= before)
  end
end

-- The cases that were asked for by id, or all that are not too old; nil and the failure.
local function chosen(sim, input)
  if input.caseIdList or input.displayId then
    local list = {}
    for _, id in ipairs(input.caseIdList or { input.displayId }) do
      local case = find(sim, id)
      if not case then
        return no_case()
      end
      list[#list + 1] = case
    end
    return list
  end
  local list, now = {}, sim.clock:now()
  for index = #sim.store.cases, 1, -1 do
    local case = sim.store.cases[index]
    if now - case.created >= sim.settings.request_lag and now - case.created < 365 * 86400 then
      list[#list + 1] = case
    end
  end
  return list
end

local function describe_cases(sim, _, input)
  local size, start = paging(input, "case")
  if not size then
    return nil, start
  end
  local within, err = period(input)
  if not within then
    return nil, err
  end
  local found
  found, err = chosen(sim, input)
  if not found then
    return nil, err
  end
  local kept, cases = {}, json.list()
  for _, case in ipairs(found) do
    if within(case.created) and (case.status ~= "resolved" or input.includeResolvedCases) then
      kept[#kept + 1] = case
    end
  end
  for index = start + 1, math.min(#kept, start + size) do
    cases[#cases + 1] = spell_case(kept[index], input.includeCommunications ~= false)
  end
  return protocol.json { cases = cases, nextToken = start + size < #kept and "case" .. start + size or nil }
end

local function describe_communications(sim, _, input)
  local case = find(sim, input.caseId)
  if not case then
    return no_case()
  end
  local size, start = paging(input, "said")
  if not size then
    return nil, start
  end
  local within, err = period(input)
  if not within then
    return nil, err
  end
  local list, token = communications(case, start, size, function(said)
    return within(said.created)
  end)
  return protocol.json { communications = list, nextToken = token }
end

local function has(list, code)
  for _, entry in ipairs(list) do
    if entry[1] == code then
      return entry
    end
  end
end

local function is_body(text)
  return type(text) == "string" and #text >= 1 and #text <= 8000
end

local function caller(sim, request)
  local credential = request.principal and sim.credentials[request.principal.access_key_id]
  return credential and credential.arn or ("arn:aws:iam::%s:user/simulator"):format(sim.options.account_id)
end

-- Limit increases are not taken here: that is what Service Quotas is for.
local function create_case(sim, request, input)
  local service = input.serviceCode and has(services, input.serviceCode)
  if type(input.subject) ~= "string" or input.subject == "" then
    return invalid("Value at 'subject' failed to satisfy constraint: Member must not be null")
  elseif not is_body(input.communicationBody) then
    return invalid("Value at 'communicationBody' failed to satisfy constraint: Member must have length from 1 to 8000")
  elseif input.serviceCode and not service then
    return invalid("The service code is not valid.")
  elseif input.categoryCode and not (service and has(service[3], input.categoryCode)) then
    return invalid("The category code is not valid for this service.")
  elseif input.severityCode and not has(severities, input.severityCode) then
    return invalid("The severity code is not valid.")
  elseif input.issueType and input.issueType ~= "technical" and input.issueType ~= "customer-service" then
    return invalid("The issue type is not valid.")
  end
  local case = M.open(sim, { subject = input.subject, body = input.communicationBody, service_code = input.serviceCode
    or "general-info", category_code = input.categoryCode or "using-aws", severity_code = input.severityCode or "low",
    submitted_by = caller(sim, request), cc = input.ccEmailAddresses, language = input.language })
  sim.record:effect("cases")
  return protocol.json { caseId = case.case_id }
end

local function add_communication(sim, request, input)
  local case = find(sim, input.caseId)
  if not case then
    return no_case()
  elseif not is_body(input.communicationBody) then
    return invalid("Value at 'communicationBody' failed to satisfy constraint: Member must have length from 1 to 8000")
  end
  M.add(case, { body = input.communicationBody, submitted_by = caller(sim, request), created = sim.clock:now() })
  case.status = case.status == "resolved" and "reopened" or "customer-action-completed"
  return protocol.json { result = true }
end

local function resolve_case(sim, _, input)
  local case = find(sim, input.caseId)
  if not case then
    return no_case()
  end
  local before = case.status
  case.status = "resolved"
  return protocol.json { initialCaseStatus = before, finalCaseStatus = "resolved" }
end

local function named(list, more)
  local out = json.list()
  for _, entry in ipairs(list) do
    out[#out + 1] = { code = entry[1], name = entry[2], categories = more and named(entry[3]) or nil }
  end
  return out
end

local function describe_services(_, _, input)
  local wanted = {}
  for _, service in ipairs(services) do
    local listed = #(input.serviceCodeList or {}) == 0
    for _, code in ipairs(input.serviceCodeList or {}) do
      listed = listed or code == service[1]
    end
    wanted[#wanted + 1] = listed and service or nil
  end
  return protocol.json { services = named(wanted, true) }
end

local function describe_severity_levels()
  return protocol.json { severityLevels = named(severities) }
end

local operations = {
  DescribeCases = describe_cases, DescribeCommunications = describe_communications, CreateCase = create_case,
  AddCommunicationToCase = add_communication, ResolveCase = resolve_case, DescribeServices = describe_services,
  DescribeSeverityLevels = describe_severity_levels,
}

local function without_plan()
  return fail("SubscriptionRequiredException", 400,
    "Amazon Web Services Premium Support Subscription is required to use this service.")
end

---@return string operation
---@return function? handler
function M.route(request)
  local name = request.target:match("^AWSSupport_20130415%.(%w+)$") or "Unknown"
  local handler = operations[name]
  return name, handler and function(sim, ...)
    if not sim.settings.support_plan then
      return without_plan()
    end
    return handler(sim, ...)
  end, request.input.caseId
end

-- ── control ─────────────────────────────────────────────────────────────────────────────────────────────────

--- GET cases: every case, with all that was said.
function M.report(sim)
  local cases = json.list()
  for index, case in ipairs(sim.store.cases) do
    cases[index] = spell_case(case)
    cases[index].communications = communications(case, 0, #case.communications)
  end
  return { cases = cases }
end

--- POST cases: { id?, body?, status? }: AWS says something in a case (default: the newest), or moves it on.
function M.control(sim, given)
  local case = given.id and find(sim, given.id) or not given.id and sim.store.cases[#sim.store.cases]
  if not case then
    return nil, "no such case"
  elseif given.body ~= nil and type(given.body) ~= "string" or given.status ~= nil and type(given.status) ~= "string" then
    return nil, "body and status: strings expected"
  end
  if given.body then
    M.add(case, { body = given.body, submitted_by = "Amazon Web Services", created = sim.clock:now() })
  end
  case.status = given.status or given.body and "pending-customer-action" or case.status
  return M.report(sim)
end

return M
