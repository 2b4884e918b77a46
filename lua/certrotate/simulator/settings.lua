-- Switches of the simulated services: quotas, and every point where AWS's behaviour is not known for certain or
-- varies. Defaults are what AWS's documentation or its recorded answers show.
local M = {}

---@class certrotate.simulator.Settings
M.defaults = {
  propagation = 5,                  -- seconds from an update to Deployed; 0: at once
  jitter = 0,                       -- up to so many seconds more, by distribution and change
  slow_share = 0,                   -- share of the changes that take slow_seconds to be Deployed
  slow_seconds = 60,
  stuck_share = 0,                  -- share of the changes that are never Deployed, until the control endpoint ends that
  list_order = "id",                -- of ListDistributions: "id", "created", "shuffled"
  list_lag = 0,                     -- seconds by which ListDistributions lags behind
  list_max_items = 100,             -- largest page
  summary_etag = false,             -- ETag inside DistributionSummary (newest model)
  viewer_certificate_order = "modern", -- or "deprecated_first": children of ViewerCertificate in answers
  key_algorithm = "hyphen",         -- "RSA-2048" as ACM's sample answers, or "underscore": "RSA_2048" as its enumeration
  json_message_key = "message",     -- or "Message", in errors of the JSON services
  policy_element = "empty",         -- ContinuousDeploymentPolicyId of who has none is in answers, or "absent"
  policy_certificates = "any",      -- to attach a policy, primary and staging copy must have the "same" certificate
  tenant_status = true,             -- distribution tenants are shown with a Status
  tenant_omitted = "cleared",       -- what becomes of members an update of a tenant leaves out: or "kept"
  in_use_lag = 0,                   -- seconds for which a certificate counts as in use after its last holder left
  store_list_lag = 0,               -- seconds for which listings of certificates do not show a fresh one
  import_lag = 0,                   -- seconds for which CloudFront does not know a fresh certificate
  reimport_propagation = -1,        -- seconds until every edge has a re-imported certificate; -1: as an update
  trusted_roots = "",               -- PEM file: CloudFront trusts only chains to these; "": any unbroken chain
  vip_quota = 2,                    -- certificates served with dedicated IPs
  vip_counts_disabled = true,       -- do disabled distributions count in it
  vip_policies = false,             -- newer security policies with dedicated IPs
  iam_quota = 20,
  iam_rsa_bits = 2048,              -- largest RSA key CloudFront takes from IAM
  acm_quota = 2500,
  acm_imports_per_year = 5000,
  reimport_counts = true,           -- does a re-import count in the number above
  price_per_month = 600,            -- USD for each dedicated-IP certificate
  meter_end = "deployed",           -- an association ends when the change away is "deployed", or at the "update"
  time_scale = 1,                   -- seconds the meter counts for one second
  edges = 64,                       -- places at which a connection may end
  rate_updates = 0,                 -- UpdateDistribution(Tenant) calls a second; 0: no limit
  rate_reads = 0,                   -- other CloudFront calls a second
  rate_imports = 0,                 -- ImportCertificate calls a second (AWS: 1)
  credential_lifetime = 0,          -- seconds temporary credentials live; 0: as long as was asked for
  idp_failures = 0,                 -- so many IDPCommunicationErrors for web identities, then none
  metadata = "v2",                  -- the instance's service: "v2", "v1", "forbidden" (no token), "hung", "hung_token",
                                    -- "no_role"
  metadata_stale = false,           -- it has no fresh credentials: the old ones are handed out again
  container_token = "",             -- what containers must send as Authorization; "": nothing
  quota_offered = true,             -- Service Quotas has the dedicated-IP quota for this account
  quota_names = true,               -- the dedicated-IP quota has the name AWS gave it; or another
  quota_defaults_only = false,      -- Service Quotas knows no applied value of a quota that was never raised
  quota_adjustable = true,          -- the dedicated-IP quota can be raised through Service Quotas
  quota_review = "manual",          -- what becomes of requests: "manual" (the control endpoint decides), "approve", "deny"
  quota_case_delay = 1,             -- seconds until a support case is opened for a request
  quota_review_delay = 5,           -- seconds from then until it is decided
  quota_value_lag = 0,              -- seconds from APPROVED until the value is there
  quota_case_id = "display",        -- a request's CaseId is the case's displayId, or its caseId: "case"
  request_lag = 0,                  -- seconds until a new request or case shows up in listings
  s3_max_keys = 1000,               -- largest page of ListObjectsV2
  s3_list_lag = 0,                  -- seconds for which it does not show a fresh object (AWS: 0; stores like it vary)
  s3_wrong_region = "redirect",     -- what a bucket of another region answers: "redirect", or "malformed" authorization
  support_plan = true,              -- Business or better; false: SubscriptionRequiredException
}

local allowed = {
  list_order = { id = true, created = true, shuffled = true },
  viewer_certificate_order = { modern = true, deprecated_first = true },
  key_algorithm = { hyphen = true, underscore = true },
  policy_element = { empty = true, absent = true },
  tenant_omitted = { cleared = true, kept = true },
  policy_certificates = { any = true, same = true },
  meter_end = { deployed = true, update = true },
  quota_review = { manual = true, approve = true, deny = true },
  quota_case_id = { display = true, case = true },
  s3_wrong_region = { redirect = true, malformed = true },
  json_message_key = { message = true, Message = true },
  metadata = { v2 = true, v1 = true, forbidden = true, hung = true, hung_token = true, no_role = true },
}

---@return certrotate.simulator.Settings
function M.new()
  local copy = {}
  for key, value in pairs(M.defaults) do
    copy[key] = value
  end
  return copy
end

--- Changes some settings; none when one of them is wrong.
---@param settings certrotate.simulator.Settings
---@param changes table
---@return boolean? ok
---@return string? err
function M.change(settings, changes)
  for key, value in pairs(changes) do
    local default = M.defaults[key]
    if default == nil then
      return nil, "unknown setting " .. tostring(key)
    elseif type(value) ~= type(default) then
      return nil, ("%s: %s expected"):format(key, type(default))
    elseif allowed[key] and not allowed[key][value] then
      return nil, ("%s: %q is not one of its values"):format(key, tostring(value))
    end
  end
  for key, value in pairs(changes) do
    settings[key] = value
  end
  return true
end

return M
