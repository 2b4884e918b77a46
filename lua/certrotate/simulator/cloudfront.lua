-- CloudFront's rest-xml operations on distributions and tags.
local config = require "certrotate.simulator.distribution_config"
local deployment = require "certrotate.simulator.deployment"
local policies = require "certrotate.simulator.continuous_deployment"
local partition = require "certrotate.simulator.partition"
local protocol = require "certrotate.simulator.protocol"
local random = require "certrotate.simulator.random"
local tenants = require "certrotate.simulator.tenants"
local time = require "certrotate.simulator.time"
local viewer_certificate = require "certrotate.simulator.viewer_certificate"
local xml = require "certrotate.simulator.xml"

local M = {}

local fail = protocol.fail
local namespace = ' xmlns="' .. protocol.namespaces.cloudfront .. '"'
local declaration = '<?xml version="1.0"?>\n'

-- ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────

local function distribution_xml(sim, distribution)
  local document = distribution
  return table.concat {
    declaration, "<Distribution", namespace, ">",
    xml.element("Id", distribution.id), xml.element("ARN", distribution.arn),
    xml.element("Status", deployment.status(sim, distribution)),
    xml.element("LastModifiedTime", time.iso_ms(distribution.modified)),
    "<InProgressInvalidationBatches>0</InProgressInvalidationBatches>",
    xml.element("DomainName", distribution.domain),
    "<ActiveTrustedSigners><Enabled>false</Enabled><Quantity>0</Quantity></ActiveTrustedSigners>",
    "<ActiveTrustedKeyGroups><Enabled>false</Enabled><Quantity>0</Quantity></ActiveTrustedKeyGroups>",
    document.raw:sub(document.root_first, document.root_last),
    "</Distribution>",
  }
end

-- What a listing says of a distribution: `version` is the distribution itself, or what it was some time ago.
local function summary_xml(sim, distribution, version, out)
  out[#out + 1] = "<DistributionSummary>" .. distribution.names
  if sim.settings.summary_etag then
    out[#out + 1] = xml.element("ETag", version.etag)
  end
  out[#out + 1] = xml.element("Status", version.until_ and "Deployed" or deployment.status(sim, distribution))
    .. xml.element("LastModifiedTime", time.iso_ms(version.modified)) .. distribution.domain_element
  out[#out + 1] = version.summary
  out[#out + 1] = "</DistributionSummary>"
end

-- ── changing the store ──────────────────────────────────────────────────────────────────────────────────────

-- Keeps what a lagging listing may still have to show.
local function remember(sim, distribution)
  local now = sim.clock:now()
  local versions = {}
  for _, version in ipairs(distribution.versions) do
    if version.until_ > now - sim.settings.list_lag then
      versions[#versions + 1] = version
    end
  end
  if sim.settings.list_lag > 0 then
    versions[#versions + 1] = { until_ = now, etag = distribution.etag, modified = distribution.modified,
      summary = distribution.summary }
  end
  distribution.versions = versions
end

local function put_document(distribution, document)
  for _, field in ipairs { "raw", "root_first", "root_last", "viewer_first", "viewer_last", "view", "summary" } do
    distribution[field] = document[field]
  end
end

--- Puts a new distribution into the account.
---@param document certrotate.simulator.Document
---@param ids? {id?:string, domain?:string}
---@return certrotate.simulator.Distribution
function M.add(sim, document, ids)
  ids = ids or {}
  local id = ids.id or sim.random:distribution_id()
  local now = sim.clock:now()
  local distribution = {
    id = id, arn = ("arn:%s:cloudfront::%s:distribution/%s"):format(partition.of(sim), sim.options.account_id, id),
    domain = ids.domain or sim.random:domain_name(), etag = sim.random:etag(), created = now, left = {}, versions = {},
    tags = {},
  }
  distribution.names = xml.element("Id", id) .. xml.element("ARN", distribution.arn)
  distribution.domain_element = xml.element("DomainName", distribution.domain)
  put_document(distribution, document)
  sim.store:add_distribution(distribution)
  deployment.apply(sim, distribution, nil)
  return distribution
end

-- Everything but ViewerCertificate, and but which policy is attached when that is another one.
local function outside(document, without_policy)
  local text = document.raw:sub(1, document.viewer_first - 1) .. document.raw:sub(document.viewer_last + 1)
  if without_policy then
    text = text:gsub("<[%w:]*ContinuousDeploymentPolicyId%s*/>", "")
      :gsub("<([%w:]*ContinuousDeploymentPolicyId)%s*>[^<]*</%1%s*>", "")
  end
  return text
end

--- Gives a distribution another configuration, without judging it.
---@param distribution certrotate.simulator.Distribution
---@param document certrotate.simulator.Document
---@param by? "client"|"other"   who does it; default "other"
function M.replace(sim, distribution, document, by)
  remember(sim, distribution)
  local old = distribution.view
  local policy = old.policy ~= document.view.policy
  sim.record:change { time = sim.clock:now(), what = "update", by = by or "other", id = distribution.id,
    from = old.viewer.reference, to = document.view.viewer.reference, policy = policy or nil,
    outside = outside(distribution, policy) ~= outside(document, policy) or nil }
  sim.store:index(distribution, false)
  put_document(distribution, document)
  sim.store:index(distribution, true)
  distribution.etag = sim.random:etag()
  deployment.apply(sim, distribution, old)
end

--- Takes a distribution out of the account, without judging it.
---@param distribution certrotate.simulator.Distribution
---@param by? "client"|"other"   default "other"
function M.remove(sim, distribution, by)
  sim.store:remove_distribution(distribution)
  sim.meter:change(distribution.view, nil, sim.clock:now())
  sim.record:change { time = sim.clock:now(), what = "remove", by = by or "other", id = distribution.id }
end

-- ── judging an update or a creation ─────────────────────────────────────────────────────────────────────────

local function aliases_free(sim, view, distribution)
  for _, alias in ipairs(view.aliases) do
    local owner = sim.store.aliases[alias]
    if owner and (not distribution or owner ~= distribution.id) then
      return fail("CNAMEAlreadyExists", 409,
        "One or more of the CNAMEs you provided are already associated with a different resource.")
    end
  end
  return true
end

local function update_allowed(sim, distribution, view)
  local old = distribution.view
  if view.caller_reference ~= old.caller_reference then
    return fail("IllegalUpdate", 400, "You cannot update Origin or CallerReference.")
  elseif view.staging ~= old.staging or view.connection_mode ~= old.connection_mode then
    return fail("IllegalUpdate", 400, "You cannot update Staging or ConnectionMode.")
  end
  if viewer_certificate.changed(old.viewer, view.viewer) then
    if old.policy ~= "" or view.policy ~= "" or policies.covers_staging(sim, distribution) then
      return fail("IllegalUpdate", 400, "One or more fields updated are not supported for continuous deployment.")
    elseif deployment.changing_certificate(sim, distribution) then
      return fail("IllegalUpdate", 400, "Only one viewer certificate change may be in progress at a time.")
    end
  end
  return true
end

local function judge(sim, distribution, view)
  local ok, err = aliases_free(sim, view, distribution)
  if ok then
    ok, err = policies.allowed(sim, distribution, view)
  end
  if ok and distribution then
    ok, err = update_allowed(sim, distribution, view)
  end
  if ok then
    ok, err = viewer_certificate.judge(sim, distribution, view, distribution and distribution.view)
  end
  return ok, err
end

-- ── operations ──────────────────────────────────────────────────────────────────────────────────────────────

local function find(sim, id)
  local distribution = sim.store.distributions[id]
  if not distribution then
    return fail("NoSuchDistribution", 404, "The specified distribution does not exist.")
  end
  return distribution
end

local function get_distribution(sim, _, id)
  local distribution, err = find(sim, id)
  if not distribution then
    return nil, err
  end
  return protocol.xml(distribution_xml(sim, distribution), { ETag = distribution.etag })
end

local function get_distribution_config(sim, _, id)
  local distribution, err = find(sim, id)
  if not distribution then
    return nil, err
  end
  return protocol.xml(distribution.raw, { ETag = distribution.etag })
end

local function check_match(request, distribution)
  local match = request.headers["if-match"]
  if type(match) ~= "string" or not match:match("^E%w+$") then
    return fail("InvalidIfMatchVersion", 400, "The If-Match version is missing or not valid for the resource.")
  elseif match ~= distribution.etag then
    return fail("PreconditionFailed", 412,
      "The request failed because it didn't meet the preconditions in one or more request-header fields.")
  end
  return true
end

local function update_distribution(sim, request, id)
  local distribution, err = find(sim, id)
  if not distribution then
    return nil, err
  end
  local document
  document, err = config.read(request.body, { update = true, order = sim.settings.viewer_certificate_order,
    policy_element = sim.settings.policy_element })
  if not document then
    return nil, err
  end
  local ok
  ok, err = check_match(request, distribution)
  if ok then
    ok, err = judge(sim, distribution, document.view)
  end
  if not ok then
    return nil, err
  end
  M.replace(sim, distribution, document, "client")
  sim.record:effect("updates")
  return protocol.xml(distribution_xml(sim, distribution), { ETag = distribution.etag })
end

-- The configuration of a staging distribution as its primary gets it: aliases, policy and caller reference stay the
-- primary's, everything else, the certificate with it, comes from staging.
local function promoted_text(primary, staging)
  local text = staging.raw
  local root = xml.parse(text)
  local lead = root.tag:match("^(.-:)") or ""
  local aliases = {}
  for index, alias in ipairs(primary.view.aliases) do
    aliases[index] = xml.element(lead .. "CNAME", alias)
  end
  local wanted = {
    { "CallerReference", xml.element(lead .. "CallerReference", primary.view.caller_reference) },
    { "Aliases", ("<%sAliases>%s%s</%sAliases>"):format(lead, xml.element(lead .. "Quantity", #aliases),
      #aliases > 0 and ("<%sItems>%s</%sItems>"):format(lead, table.concat(aliases), lead) or "", lead) },
    { "Staging", xml.element(lead .. "Staging", "false") },
    { "ContinuousDeploymentPolicyId", xml.element(lead .. "ContinuousDeploymentPolicyId", primary.view.policy) },
  }
  local edits, added = {}, {}
  for _, one in ipairs(wanted) do
    local node = xml.child(root, one[1])
    if node then
      edits[#edits + 1] = { node.first, node.last, one[2] }
    else
      added[#added + 1] = one[2]
    end
  end
  table.sort(edits, function(a, b) return a[1] > b[1] end)
  text = text:sub(1, root.inner_last) .. table.concat(added) .. text:sub(root.inner_last + 1)
  for _, edit in ipairs(edits) do
    text = text:sub(1, edit[1] - 1) .. edit[3] .. text:sub(edit[2] + 1)
  end
  return text
end

-- UpdateDistributionWithStagingConfig: the promotion. If-Match holds both ETags, the primary's first.
local function promote(sim, request, id)
  local primary, err = find(sim, id)
  if not primary then
    return nil, err
  end
  local staging = sim.store.distributions[request.query.StagingDistributionId or ""]
  if not staging then
    return fail("NoSuchDistribution", 404, "The specified staging distribution does not exist.")
  end
  local match = request.headers["if-match"]
  local first, second = tostring(match or ""):match("^%s*(E%w+)%s*,%s*(E%w+)%s*$")
  if not first then
    return fail("InvalidIfMatchVersion", 400, "The If-Match version is missing or not valid for the resource.")
  elseif first ~= primary.etag or second ~= staging.etag then
    return fail("PreconditionFailed", 412,
      "The request failed because it didn't meet the preconditions in one or more request-header fields.")
  end
  local policy = policies.naming(sim, staging)
  if not policy or primary.view.policy ~= policy.id then
    return fail("IllegalUpdate", 400,
      "The staging distribution is not associated with the primary distribution by a continuous deployment policy.")
  end
  local document
  document, err = config.read(promoted_text(primary, staging), { update = true,
    order = sim.settings.viewer_certificate_order, policy_element = sim.settings.policy_element })
  if not document then
    return nil, err
  end
  local ok
  ok, err = viewer_certificate.judge(sim, primary, document.view, primary.view)
  if not ok then
    return nil, err
  end
  M.replace(sim, primary, document)
  sim.record:effect("promotions")
  return protocol.xml(distribution_xml(sim, primary), { ETag = primary.etag })
end

-- CreateDistributionWithTags wraps the configuration: cut it out, with the namespace it stood in.
local function unwrap(body)
  local root, message = xml.parse(body)
  if not root or root.name ~= "DistributionConfigWithTags" then
    return fail("MalformedXML", 400, "The XML document is not valid: " .. (message or "DistributionConfigWithTags expected."))
  end
  local node, tags = xml.child(root, "DistributionConfig"), {}
  if not node then
    return fail("InvalidArgument", 400, "The parameter DistributionConfig is required.")
  end
  local list = xml.child(root, "Tags") and xml.child(xml.child(root, "Tags"), "Items")
  for _, tag in ipairs(list or {}) do
    tags[#tags + 1] = { Key = xml.value(tag, "Key") or "", Value = xml.value(tag, "Value") or "" }
  end
  local text = body:sub(node.first, node.last)
  local prefix = node.tag:match("^(.-):")
  local attribute = prefix and "xmlns:" .. prefix or "xmlns"
  if not text:sub(1, node.inner - node.first):find(attribute .. "%s*=") then
    text = "<" .. node.tag .. " " .. attribute .. '="' .. node.uri .. '"' .. text:sub(#node.tag + 2)
  end
  return text, tags
end

local function create_distribution(sim, request)
  local body, tags = request.body, {}
  if request.operation == "CreateDistributionWithTags" then
    body, tags = unwrap(body)
    if not body then
      return nil, tags
    end
  end
  local document, err = config.read(body, { update = false, order = sim.settings.viewer_certificate_order })
  if not document then
    return nil, err
  elseif sim.store.callers[document.view.caller_reference] then
    return fail("DistributionAlreadyExists", 409, "The caller reference that you are using to create a distribution is "
      .. "associated with another distribution. Already exists: " .. sim.store.callers[document.view.caller_reference])
  end
  local ok
  ok, err = judge(sim, nil, document.view)
  if not ok then
    return nil, err
  end
  local distribution = M.add(sim, document)
  distribution.tags = tags
  sim.record:effect("creates")
  return protocol.xml(distribution_xml(sim, distribution), { ETag = distribution.etag,
    Location = "https://cloudfront.amazonaws.com/2020-05-31/distribution/" .. distribution.id }, 201)
end

local function delete_distribution(sim, request, id)
  local distribution, err = find(sim, id)
  if not distribution then
    return nil, err
  end
  local ok
  ok, err = check_match(request, distribution)
  if not ok then
    return nil, err
  elseif distribution.view.enabled then
    return fail("DistributionNotDisabled", 409, "The distribution you are trying to delete has not been disabled.")
  elseif deployment.status(sim, distribution) ~= "Deployed" then
    return fail("ResourceInUse", 409, "The distribution you are trying to delete is still being deployed.")
  elseif policies.naming(sim, distribution) then
    return fail("StagingDistributionInUse", 409,
      "You cannot delete a staging distribution that a continuous deployment policy names.")
  end
  M.remove(sim, distribution, "client")
  sim.record:effect("deletes")
  return { status = 204, headers = {}, body = "" }
end

-- The ids in the order of the listing.
local function ordered(sim)
  local order = sim.settings.list_order
  if order == "created" then
    return sim.store.ids
  end
  if not sim.store.sorted or sim.store.sorted_by ~= order then
    local ids = {}
    for index, id in ipairs(sim.store.ids) do
      ids[index] = id
    end
    if order == "shuffled" then
      local rank = {}
      for _, id in ipairs(ids) do
        rank[id] = random.hash(sim.options.seed, "order", id)
      end
      table.sort(ids, function(a, b)
        return rank[a] < rank[b]
      end)
    else
      table.sort(ids)
    end
    sim.store.sorted, sim.store.sorted_by = ids, order
  end
  return sim.store.sorted
end

-- Where a page starts: after the marker. Ordered by id, a marker that is gone still has a place.
local function start_of(sim, ids, marker)
  if not marker or marker == "" then
    return 1
  end
  if sim.settings.list_order == "id" then
    local low, high = 1, #ids + 1
    while low < high do
      local middle = math.floor((low + high) / 2)
      if ids[middle] <= marker then
        low = middle + 1
      else
        high = middle
      end
    end
    return low
  end
  for index, id in ipairs(ids) do
    if id == marker then
      return index + 1
    end
  end
  return nil
end

-- What the listing knows of a distribution: nil when it does not know it yet.
local function listed(sim, distribution)
  local lag = sim.settings.list_lag
  if lag <= 0 then
    return distribution
  end
  local seen_at = sim.clock:now() - lag
  if distribution.created > seen_at then
    return nil
  end
  for _, version in ipairs(distribution.versions) do
    if seen_at < version.until_ then
      return version
    end
  end
  return distribution
end

-- MaxItems of a query: nil and a failure when it is no number.
local function page_size(text, limit)
  if not text or text == "" then
    return limit
  end
  local number = text:match("^%d+$") and tonumber(text)
  if not number or number < 1 then
    return fail("InvalidArgument", 400, "The parameter MaxItems contains a value that is not valid.")
  end
  return math.min(number, limit)
end

local function list(sim, request, filter)
  local size, err = page_size(request.query.MaxItems, sim.settings.list_max_items)
  if not size then
    return nil, err
  end
  local ids = ordered(sim)
  local at = start_of(sim, ids, request.query.Marker)
  if not at then
    return fail("InvalidArgument", 400, "The parameter Marker contains a value that is not valid.")
  end
  local items, count, last = {}, 0, nil
  while at <= #ids and count < size do
    local distribution = sim.store.distributions[ids[at]]
    local version = listed(sim, distribution)
    if version and (not filter or filter(distribution)) then
      summary_xml(sim, distribution, version, items)
      count, last = count + 1, distribution.id
    end
    at = at + 1
  end
  local truncated = at <= #ids
  return protocol.xml(table.concat {
    declaration, "<DistributionList", namespace, ">", xml.element("Marker", request.query.Marker or ""),
    truncated and xml.element("NextMarker", last) or "", xml.element("MaxItems", size),
    xml.element("IsTruncated", tostring(truncated)), xml.element("Quantity", count),
    count > 0 and "<Items>" .. table.concat(items) .. "</Items>" or "", "</DistributionList>",
  })
end

local function list_distributions(sim, request)
  return list(sim, request)
end

local function list_by_web_acl(sim, request, web_acl)
  return list(sim, request, function(distribution)
    return distribution.view.web_acl == (web_acl == "null" and "" or web_acl)
  end)
end

-- ── tags ────────────────────────────────────────────────────────────────────────────────────────────────────

local function tagged(sim, request)
  local arn = request.query.Resource or ""
  local id = arn:match("^arn:[%w-]+:cloudfront::%d+:distribution/(%w+)$")
  local distribution = id and sim.store.distributions[id]
  if not distribution or distribution.arn ~= arn then
    return fail("NoSuchResource", 404, "A resource that was specified is not valid.")
  end
  return distribution
end

local function list_tags(sim, request)
  local distribution, err = tagged(sim, request)
  if not distribution then
    return nil, err
  end
  local out = {}
  for _, tag in ipairs(distribution.tags) do
    out[#out + 1] = "<Tag>" .. xml.element("Key", tag.Key) .. xml.element("Value", tag.Value) .. "</Tag>"
  end
  return protocol.xml(declaration .. "<Tags" .. namespace .. "><Items>" .. table.concat(out) .. "</Items></Tags>")
end

local function change_tags(sim, request)
  local distribution, err = tagged(sim, request)
  if not distribution then
    return nil, err
  end
  local root = xml.parse(request.body)
  local items = root and xml.child(root, "Items")
  if not items then
    return fail("InvalidTagging", 400, "The tagging specified is not valid.")
  end
  local tags, named = {}, {}
  for _, item in ipairs(items) do
    named[request.operation == "TagResource" and xml.value(item, "Key") or item.text] = true
  end
  for _, tag in ipairs(distribution.tags) do
    tags[#tags + 1] = not named[tag.Key] and tag or nil
  end
  for _, item in ipairs(request.operation == "TagResource" and items or {}) do
    tags[#tags + 1] = { Key = xml.value(item, "Key") or "", Value = xml.value(item, "Value") or "" }
  end
  distribution.tags = tags
  return { status = 204, headers = {}, body = "" }
end

-- ── dispatch ────────────────────────────────────────────────────────────────────────────────────────────────

local routes = {
  { "GET", "^/distribution$", "ListDistributions", list_distributions },
  { "POST", "^/distribution$", "CreateDistribution", create_distribution },
  { "GET", "^/distribution/([^/]+)$", "GetDistribution", get_distribution },
  { "DELETE", "^/distribution/([^/]+)$", "DeleteDistribution", delete_distribution },
  { "GET", "^/distribution/([^/]+)/config$", "GetDistributionConfig", get_distribution_config },
  { "PUT", "^/distribution/([^/]+)/config$", "UpdateDistribution", update_distribution },
  { "PUT", "^/distribution/([^/]+)/promote%-staging%-config$", "UpdateDistributionWithStagingConfig", promote },
  { "GET", "^/distributionsByWebACLId/([^/]+)$", "ListDistributionsByWebACLId", list_by_web_acl },
  { "GET", "^/tagging$", "ListTagsForResource", list_tags },
  { "POST", "^/tagging$", "TagResource", change_tags },
}
for _, more in ipairs { tenants.routes, policies.routes } do
  for _, route in ipairs(more) do
    routes[#routes + 1] = route
  end
end

local function unescape(text)
  return (text:gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end))
end

--- Finds the operation of a request.
---@return string operation
---@return function? handler   (sim, request, capture)
---@return string? capture     the resource named in the path
function M.route(request)
  local path = request.path:match("^/2020%-05%-31(/.*)$")
  for _, route in ipairs(path and routes or {}) do
    local capture = request.method == route[1] and path:match(route[2])
    if capture then
      local name = route[3]
      if name == "CreateDistribution" and request.query.WithTags then
        name = "CreateDistributionWithTags"
      elseif name == "TagResource" and request.query.Operation == "Untag" then
        name = "UntagResource"
      end
      return name, route[4], capture ~= path and unescape(capture) or nil
    end
  end
  return "Unknown", function()
    return fail("InvalidURI", 400, "The specified URI is invalid.")
  end
end

return M
