--- Support cases about the dedicated-IP quota: the one a quota request opened, and one of our own for accounts whose
-- quota Service Quotas cannot raise.
--
-- CreateCase has no client token and does not take limit increases as such: the case is a question, in words. It is
-- found again by its subject, which says what is asked for; one whose answer was lost is looked for, never opened twice.
local errors = require("certrotate.errors")
local fmt = require("certrotate.fmt")
local request_module = require("certrotate.rotation.quota.request")

local M = {}

---@class certrotate.QuotaCase
---@field caseId string
---@field displayId? string        what people see in the Support Center
---@field subject string
---@field status string
---@field timeCreated? string
---@field latest? { body: string, submittedBy: string, timeCreated: string }   communication

local SUBJECT = "CloudFront: %d SSL certificates with dedicated IP addresses, for a certificate rotation"
local SUBJECT_PATTERN = "^CloudFront: (%d+) SSL certificates with dedicated IP addresses, for a certificate rotation$"

--- What AWS Support is asked, as text: for CreateCase, and to be pasted into the Support Center.
---@param value integer     certificates in all
---@param facts { in_use: integer, quota: integer, account?: string }
---@return string subject
---@return string body
function M.text(value, facts)
  local account = facts.account and (" of account " .. facts.account) or ""
  return SUBJECT:format(value), table.concat({
    ("Please allow CloudFront%s to use %s with dedicated IP addresses (quota: SSL certificates per AWS account when "
      .. "serving HTTPS requests using dedicated IP addresses); it is %s now."):format(account,
      fmt.plural(value, "SSL certificate"), fmt.integer(facts.quota)),
    "",
    ("They are for a certificate rotation: %s in use, and while distributions are moved from the old certificate to the "
      .. "new one, both are associated with them. When the rotation is over the old one is removed."):format(
      facts.in_use == 1 and "1 is" or fmt.integer(facts.in_use) .. " are"),
  }, "\n")
end

local function newest(communications)
  local found
  for _, one in ipairs(communications or {}) do
    if not found or tostring(one.timeCreated) > tostring(found.timeCreated) then found = one end
  end
  return found and { body = found.body, submittedBy = found.submittedBy, timeCreated = found.timeCreated }
end

-- With its latest communication. A case without any it came with is asked for them.
local function complete(aws, case)
  local latest = newest((case.recentCommunications or {}).communications)
  if not latest then
    local got, err = aws.support:describe_communications({ caseId = case.caseId })
    if not got and err.kind ~= "service" then return nil, err end
    latest = newest(got and got.communications)
  end
  return { caseId = case.caseId, displayId = case.displayId, subject = case.subject, status = case.status,
           timeCreated = case.timeCreated, latest = latest }
end

--- A case by what AWS calls its id: the short number of people, or the long one (which of them a quota request carries is
--- not documented).
---@param aws certrotate.Session
---@param id string
---@return certrotate.QuotaCase?
---@return certrotate.Error?
function M.read(aws, id)
  local params = { includeResolvedCases = true }
  if id:find("^%d+$") then params.displayId = id else params.caseIdList = { id } end
  local got, err = aws.support:describe_cases(params)
  if not got then return nil, err end
  local case = (got.cases or {})[1]
  if not case then
    return nil, errors.new({ kind = "service", code = "CaseIdNotFound", operation = "support:DescribeCases",
      message = ("AWS Support does not show case %s to these credentials"):format(id) })
  end
  return complete(aws, case)
end

-- Our own case that is not resolved, or nil; nil and an error.
local function open_case(aws)
  local list, err = aws.support:all_cases({ includeResolvedCases = false })
  if not list then return nil, err end
  for _, case in ipairs(list) do
    if type(case.subject) == "string" and case.subject:find(SUBJECT_PATTERN) then return case end
  end
  return nil
end

--- Our own open case, with its latest communication.
---@param aws certrotate.Session
---@return certrotate.QuotaCase?
---@return certrotate.Error?
function M.open(aws)
  local case, err = open_case(aws)
  if not case then return nil, err end
  return complete(aws, case)
end

-- Codes change over time and are looked up: CloudFront, and of its categories the one that fits best.
local function subject_matter(aws)
  local got, err = aws.support:describe_services()
  if not got then return nil, err end
  for _, service in ipairs(got.services or {}) do
    if tostring(service.code):lower():find("cloudfront", 1, true) then
      local categories, chosen = service.categories or {}, nil
      for _, wanted in ipairs({ "ssl", "certificate", "guidance", "other" }) do
        for _, category in ipairs(categories) do
          local text = (tostring(category.code) .. " " .. tostring(category.name)):lower()
          if not chosen and text:find(wanted, 1, true) then chosen = category end
        end
      end
      chosen = chosen or categories[1]
      return { serviceCode = service.code, categoryCode = chosen and chosen.code }
    end
  end
  return {}
end

-- The lowest there is: nothing is broken.
local function severity(aws)
  local got, err = aws.support:describe_severity_levels()
  if not got then return nil, err end
  local levels = got.severityLevels or {}
  for _, level in ipairs(levels) do
    if level.code == "low" then return "low" end
  end
  return levels[1] and levels[1].code or "low"
end

--- Opens a case that asks for `value` certificates. One that is open already is found and handed back.
---@param aws certrotate.Session
---@param value integer
---@param facts { in_use: integer, quota: integer }
---@return certrotate.QuotaCase?
---@return boolean|certrotate.Error opened_or_err   code SubscriptionRequiredException: the account has no support plan
function M.ask(aws, value, facts)
  local case, err = open_case(aws)
  if err then return nil, err end
  if case then return complete(aws, case) or case, false end
  local params, level
  params, err = subject_matter(aws)
  if not params then return nil, err end
  level, err = severity(aws)
  if not level then return nil, err end
  params.severityCode, params.issueType, params.language = level, "technical", "en"
  params.subject, params.communicationBody = M.text(value, { in_use = facts.in_use, quota = facts.quota,
                                                             account = aws:account_id() })
  local got
  got, err = aws.support:create_case(params)
  if got then
    -- It is there, whatever reading it says.
    return M.read(aws, got.caseId) or { caseId = got.caseId, subject = params.subject, status = "unassigned" }, true
  elseif not err.ambiguous then
    return nil, err
  end
  case, err = request_module.read_back(aws, err, "the Support Center shows open cases", function()
    return (open_case(aws))
  end)
  if not case then return nil, err end
  return complete(aws, case) or case, true
end

return M
