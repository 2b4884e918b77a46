-- Service Quotas: the values that matter to a rotation, read from the simulator's own settings. JSON 1.1.
local json = require "certrotate.simulator.json"
local protocol = require "certrotate.simulator.protocol"

local M = {}

local fail = protocol.fail

-- service, code, name, the setting that holds it or its fixed value
local known = {
  { "cloudfront", "L-DA9DCC93", "SSL certificates per AWS account when serving HTTPS requests using dedicated IP addresses",
    "vip_quota", 2 },
  { "cloudfront", "L-24B04930", "Web distributions per AWS account", nil, 500 },
  { "cloudfront", "L-AAD4943E", "Alternate domain names (CNAMEs) per distribution", nil, 100 },
  { "iam", "L-BF35879D", "Server certificates per account", "iam_quota", 20 },
  { "acm", "L-F141DD1D", "ACM certificates", "acm_quota", 2500 },
  { "acm", "L-D2CB7DE9", "Imported certificates", "acm_quota", 2500 },
  { "acm", "L-3808DC70", "Imported certificates in last 365 days", "acm_imports_per_year", 5000 },
}

local function quota_of(sim, row, default)
  return {
    ServiceCode = row[1], QuotaCode = row[2], QuotaName = row[3], Unit = "None", Adjustable = true,
    GlobalQuota = row[1] ~= "acm", ServiceName = row[1],
    QuotaArn = ("arn:aws:servicequotas:us-east-1:%s:%s/%s"):format(sim.options.account_id, row[1], row[2]),
    Value = not default and row[4] and sim.settings[row[4]] or row[5],
  }
end

local function find(input)
  for _, row in ipairs(known) do
    if row[1] == input.ServiceCode and row[2] == input.QuotaCode then
      return row
    end
  end
  return fail("NoSuchResourceException", 400, "The request failed because the specified service quota does not exist.")
end

local function get(sim, request, input)
  local row, err = find(input)
  if not row then
    return nil, err
  end
  return protocol.json { Quota = quota_of(sim, row, request.operation == "GetAWSDefaultServiceQuota") }
end

local function list(sim, _, input)
  local quotas = json.list()
  for _, row in ipairs(known) do
    if row[1] == input.ServiceCode then
      quotas[#quotas + 1] = quota_of(sim, row, false)
    end
  end
  if #quotas == 0 then
    return fail("NoSuchResourceException", 400, "The request failed because the specified service does not exist.")
  end
  return protocol.json { Quotas = quotas }
end

local operations = { GetServiceQuota = get, GetAWSDefaultServiceQuota = get, ListServiceQuotas = list }

---@return string operation
---@return function? handler
function M.route(request)
  local name = request.target:match("^ServiceQuotasV20190624%.(%w+)$") or "Unknown"
  return name, operations[name], request.input.QuotaCode
end

return M
