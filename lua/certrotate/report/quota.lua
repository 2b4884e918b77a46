--- The dedicated-IP quota as a person reads it: numbers, the open request, its case and what AWS said last.
local fmt = require("certrotate.fmt")
local quota_module = require("certrotate.rotation.quota")
local request_module = require("certrotate.rotation.quota.request")
local table_report = require("certrotate.report.table")

local M = {}

local MARGIN = "  "

-- Text of other people, kept whole: cleaned, and broken between words where the terminal ends.
local function wrap(text, width)
  local lines = {}
  for line in (text:gsub("\r\n?", "\n") .. "\n"):gmatch("(.-)\n") do
    local now = ""
    for word in table_report.clean(line):gmatch("%S+") do
      if now ~= "" and width and table_report.width(MARGIN .. now .. " " .. word) > width then
        lines[#lines + 1] = MARGIN .. now
        now = word
      else
        now = now == "" and word or now .. " " .. word
      end
    end
    lines[#lines + 1] = now == "" and "" or MARGIN .. now
  end
  while lines[#lines] == "" do lines[#lines] = nil end
  return lines
end

local function fit_text(status)
  if status.needed == 0 then return "nothing uses dedicated IP addresses: no rotation needs it" end
  return status.fits and "fits" or "does not fit; " .. quota_module.advice(status.quota, status.needed)
end

-- ISO text or Unix seconds, whichever the service has.
local function time_of(value)
  local seconds = value ~= nil and fmt.parse_time(value)
  return seconds and fmt.timestamp(seconds) or tostring(value or "?")
end

-- AWS's quotas are doubles; certificates are counted.
local function whole(value) return type(value) == "number" and fmt.integer(math.floor(value)) or "?" end

local function say_request(lines, request)
  lines[#lines + 1] = ("%s: %s in all, %s since %s"):format(request_module.is_open(request) and "Open request"
    or "Last request", whole(request.DesiredValue), table_report.clean(request.Status),
    time_of(request.LastUpdated or request.Created))
  if request.CaseId then lines[#lines] = lines[#lines] .. ", case " .. table_report.clean(request.CaseId) end
end

local function say_case(lines, case, width)
  local id = case.displayId and case.displayId ~= "" and case.displayId or case.caseId
  for _, line in ipairs(wrap(("Case %s (%s): %s"):format(id, case.status or "?", case.subject or ""), width)) do
    lines[#lines + 1] = line:sub(#MARGIN + 1)
  end
  local latest = case.latest
  if not latest or type(latest.body) ~= "string" then return end
  lines[#lines + 1] = ("Latest, by %s at %s:"):format(table_report.clean(latest.submittedBy or "?"),
    time_of(latest.timeCreated))
  for _, line in ipairs(wrap(latest.body, width)) do lines[#lines + 1] = line end
end

local COLUMNS = { { title = "DEDICATED-IP CERTIFICATES" }, { title = "NUMBER", right = true }, { title = "NOTE" } }

-- The notes say what to do and must be seen whole: on a narrow terminal each has lines of its own.
local function numbers(rows, width)
  local wide, fits = {}, true
  for line in table_report.text(COLUMNS, rows):gmatch("[^\n]+") do
    wide[#wide + 1] = line
    fits = fits and table_report.width(line) <= (width or math.huge)
  end
  if fits then return wide end
  local lines, at = {}, 0
  for line in table_report.text({ COLUMNS[1], COLUMNS[2] }, rows, width):gmatch("[^\n]+") do
    lines[#lines + 1] = line
    for _, more in ipairs(rows[at] and wrap(rows[at][3], width) or {}) do lines[#lines + 1] = more end
    at = at + 1
  end
  return lines
end

---@param status certrotate.QuotaStatus
---@param width? integer
---@return string
function M.text(status, width)
  local quota = status.quota
  local lines = numbers({
    { "quota", fmt.integer(quota.value),
      ("%s (%s %s)"):format(quota_module.source_text(quota), quota_module.SERVICE, quota.code) },
    { "in use", fmt.integer(status.in_use), "by " .. fmt.plural(status.holders, "distribution") },
    { "needed for a rotation", fmt.integer(status.needed), fit_text(status) },
  }, width)
  if status.request then say_request(lines, status.request) end
  if status.case then say_case(lines, status.case, width) end
  for _, problem in ipairs(status.problems) do
    lines[#lines + 1] = problem.code == "SubscriptionRequiredException"
      and "Support cases are seen in the Support Center only: this account has no support plan"
      or "Not known: " .. table_report.clean(tostring(problem))
  end
  return table.concat(lines, "\n") .. "\n"
end

--- What a person without a support plan pastes into the Support Center.
---@param text { subject: string, body: string }
---@return string
function M.paste(text)
  return ("Paste this into a new case of the Support Center (https://console.aws.amazon.com/support/), which takes "
    .. "questions about quotas without a support plan:\n\n%s\n\n%s\n"):format(text.subject, text.body)
end

return M
