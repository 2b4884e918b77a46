--- `aws.acm`, `aws.iam`, `aws.cloudfront`, …: one function an operation, made from what the core knows.
--
--   aws.cloudfront:get_distribution_config { Id = "E1…" }   → result | nil, err
--   aws.acm:import_certificate { identity = identity }       the key goes from the identity into the request, in C
--   aws.cloudfront:all_distributions()                       → list | nil, err     every page
--   for d in aws.cloudfront:each_distribution() do … end     page by page; raises when a page fails
--
-- Names are AWS's in snake_case; parameters and results keep AWS's spelling. A second argument holds options:
-- timeout (seconds, retries included) and view.
local core = require("certrotate.core")
local shown = require("certrotate.report.shown")

local M = {}

-- What each function made here does, for help(): weak, they live as long as the services.
local operations = setmetatable({}, { __mode = "k" })

-- Listings: what to pass for the next page, where the next page's value is, what says that there is more
-- (nil: the value itself), and where the items are (below `root`, when the answer has one). `plural`: of the item,
-- where an "s" behind it does not make it.
local LISTINGS = {
  ["cloudfront:ListDistributions"] =
    { item = "distribution", marker = "Marker", next_marker = "NextMarker", more = "IsTruncated", root = "DistributionList",
      items = "Items" },
  ["cloudfront:ListContinuousDeploymentPolicies"] =
    { item = "continuous_deployment_policy", plural = "continuous_deployment_policies",
      marker = "Marker", next_marker = "NextMarker", root = "ContinuousDeploymentPolicyList", items = "Items" },
  ["cloudfront:ListDistributionTenants"] =
    { item = "distribution_tenant", marker = "Marker", next_marker = "NextMarker", items = "DistributionTenantList" },
  ["cloudfront:ListDistributionTenantsByCustomization"] =
    { item = "tenant_by_customization", plural = "tenants_by_customization",
      marker = "Marker", next_marker = "NextMarker", items = "DistributionTenantList" },
  ["acm:ListCertificates"] =
    { item = "certificate", marker = "NextToken", next_marker = "NextToken", items = "CertificateSummaryList" },
  ["iam:ListServerCertificates"] =
    { item = "server_certificate", marker = "Marker", next_marker = "Marker", more = "IsTruncated",
      items = "ServerCertificateMetadataList" },
  ["servicequotas:ListServiceQuotas"] =
    { item = "service_quota", marker = "NextToken", next_marker = "NextToken", items = "Quotas" },
  ["servicequotas:ListAWSDefaultServiceQuotas"] =
    { item = "aws_default_service_quota", marker = "NextToken", next_marker = "NextToken", items = "Quotas" },
  ["servicequotas:ListRequestedServiceQuotaChangeHistory"] =
    { item = "requested_quota", marker = "NextToken", next_marker = "NextToken", items = "RequestedQuotas" },
  ["servicequotas:ListRequestedServiceQuotaChangeHistoryByQuota"] =
    { item = "request_by_quota", plural = "requests_by_quota", marker = "NextToken", next_marker = "NextToken",
      items = "RequestedQuotas" },
  ["s3:ListObjectsV2"] = { item = "object", marker = "ContinuationToken", next_marker = "NextContinuationToken",
    more = "IsTruncated", items = "Contents" },
  ["support:DescribeCases"] = { item = "case", marker = "nextToken", next_marker = "nextToken", items = "cases" },
  ["support:DescribeCommunications"] =
    { item = "communication", marker = "nextToken", next_marker = "nextToken", items = "communications" },
}

-- Names of the session's fields where they are not the service's.
local FIELDS = { servicequotas = "quotas" }

--- "GetDistributionConfig" becomes "get_distribution_config"; runs of capitals are one word.
---@param name string
---@return string
function M.snake_case(name)
  return (name:gsub("(%u+)(%u%l)", "%1_%2"):gsub("([%l%d])(%u)", "%1_%2"):lower())
end

local function copy(params)
  local out = {}
  for key, value in pairs(params or {}) do out[key] = value end
  return out
end

local function check_params(name, params)
  if params ~= nil and type(params) ~= "table" then
    error(("%s: a table of parameters expected, got %s"):format(name, type(params)), 3)
  end
end

local function operation_method(operation)
  local method = M.snake_case(operation.name)
  return function(self, params, options)
    if type(self) ~= "table" or not self._session then error(("call it with a colon: service:%s{…}"):format(method), 2) end
    check_params(method, params)
    local identity
    if operation.identity and params and params.identity then
      params = copy(params)
      identity, params.identity = params.identity, nil
    end
    local session = self._session
    local result, err = session.loop:await({
      account = session.account, service = operation.service, operation = operation.name, params = params or {},
      identity = identity, view = options and options.view, timeout = options and options.timeout,
    })
    return shown.record(result), err
  end
end

-- Asks for page after page: a function that returns a page's items, nil at the end, or nil, err.
local function pager(self, method, listing, params, options)
  local position, finished = nil, false
  return function()
    if finished then return nil end
    local own = copy(params)
    if position then own[listing.marker] = position end
    local page, err = self[method](self, own, options)
    if not page then
      finished = true
      return nil, err
    end
    local root = listing.root and page[listing.root] or page
    local following = root[listing.next_marker]
    local more = following ~= nil and following ~= ""
    if listing.more then
      -- "There is more" without a way to get there must not look like a complete list.
      if root[listing.more] and (not more or following == position) then
        finished = true
        return nil, require("certrotate.errors").new({ kind = "parse", code = "NoNextMarker",
          operation = self._name .. ":" .. method,
          message = "the listing says there is more and does not say where: it cannot be trusted; try again" })
      end
      more = root[listing.more] and more
    elseif more and following == position then
      more = false
    end
    position, finished = following, not more
    return root[listing.items] or {}
  end
end

local function plural(listing) return listing.plural or listing.item .. "s" end

local function all_method(method, listing)
  return function(self, params, options)
    check_params("all_" .. plural(listing), params)
    local out, next_page = {}, pager(self, method, listing, params, options)
    while true do
      local items, err = next_page()
      if err then return nil, err end
      if not items then return shown.list(out) end
      for _, item in ipairs(items) do out[#out + 1] = item end
    end
  end
end

-- An iterator has nowhere to put an error that a loop could not overlook: it raises. (In a task under PUC Lua 5.1, whose
-- loops cannot be waited in, use the all_… function.)
local function each_method(method, listing)
  return function(self, params, options)
    check_params("each_" .. listing.item, params)
    local next_page = pager(self, method, listing, params, options)
    local items, at = {}, 0
    return function()
      at = at + 1
      while items and not items[at] do
        local err
        items, err = next_page()
        if err then error(tostring(err), 2) end
        at = 1
      end
      return items and items[at]
    end
  end
end

local classes

-- One method table a service, made once from the core's operations.
local function build()
  local out = {}
  for _, operation in ipairs(core.operations()) do
    local class = out[operation.service]
    if not class then
      class = { _name = operation.service }
      class.__index = class
      class.__name = "certrotate.Service"
      class.__tostring = function(self) return "certrotate service: " .. self._name end
      out[operation.service] = class
    end
    local method = M.snake_case(operation.name)
    local function add(name, fn, what)
      class[name] = fn
      operations[fn] = { service = FIELDS[operation.service] or operation.service, name = name, what = what }
    end
    add(method, operation_method(operation), operation.name)
    local listing = LISTINGS[operation.service .. ":" .. operation.name]
    if listing then
      add("all_" .. plural(listing), all_method(method, listing), "every page of " .. operation.name .. ", as one list")
      add("each_" .. listing.item, each_method(method, listing), "an iterator over " .. operation.name .. ", page by page")
    end
  end
  return out
end

--- What a function of a service does.
---@param fn function
---@return { service: string, name: string, what: string }?
function M.operation_of(fn) return operations[fn] end

--- Puts the services into a session: session.acm, session.iam, session.cloudfront, session.sts, …
---@param session certrotate.Session
function M.attach(session)
  classes = classes or build()
  for service, class in pairs(classes) do
    session[FIELDS[service] or service] = setmetatable({ _session = session }, class)
  end
end

return M
