-- DistributionConfig documents: reading what the service must understand of one, judging its form, and keeping the
-- bytes. Everything outside ViewerCertificate is stored exactly as it came.
local crypto = require "certrotate.simulator.crypto"
local protocol = require "certrotate.simulator.protocol"
local viewer_certificate = require "certrotate.simulator.viewer_certificate"
local xml = require "certrotate.simulator.xml"

local M = {}

---@class certrotate.simulator.View   what the service acts upon
---@field caller_reference string
---@field aliases string[]
---@field enabled boolean
---@field staging boolean
---@field policy string           ContinuousDeploymentPolicyId, "" for none
---@field http_version string
---@field connection_mode string
---@field web_acl string
---@field viewer certrotate.simulator.Viewer

---@class certrotate.simulator.Document
---@field raw string
---@field root_first integer
---@field root_last integer
---@field viewer_first integer
---@field viewer_last integer
---@field view certrotate.simulator.View
---@field summary string          the elements of DistributionSummary from Aliases on

local function malformed(message)
  return protocol.fail("MalformedXML", 400, "The XML document is not valid: " .. message)
end

local required = { "CallerReference", "Origins", "DefaultCacheBehavior", "Comment", "Enabled" }
-- An update replaces everything: what creation has defaults for must then be there.
local required_on_update = { "Aliases", "DefaultRootObject", "CacheBehaviors", "CustomErrorResponses", "Logging", "PriceClass",
  "ViewerCertificate", "Restrictions", "WebACLId", "HttpVersion" }
local booleans = { "Enabled", "IsIPV6Enabled", "Staging" }
local choices = {
  PriceClass = { PriceClass_100 = true, PriceClass_200 = true, PriceClass_All = true, None = true },
  HttpVersion = { ["http1.1"] = true, http2 = true, http3 = true, http2and3 = true },
  ConnectionMode = { direct = true, ["tenant-only"] = true },
}

-- Every Quantity must be the number of items beside it, at any depth.
local function check_quantities(node)
  local quantity, items = xml.child(node, "Quantity"), xml.child(node, "Items")
  if quantity then
    local number = quantity.text:match("^%s*(%d+)%s*$")
    if not number then
      return malformed("Quantity is not a number in " .. node.name .. ".")
    elseif tonumber(number) ~= (items and #items or 0) then
      return protocol.fail("InconsistentQuantities", 400, "The value of Quantity and the size of Items don't match.")
    end
  end
  for _, child in ipairs(node) do
    if #child > 0 then
      local ok, err = check_quantities(child)
      if not ok then
        return nil, err
      end
    end
  end
  return true
end

local function check_once(root)
  local seen = {}
  for _, child in ipairs(root) do
    if seen[child.name] then
      return malformed("Element " .. child.name .. " occurs twice.")
    end
    seen[child.name] = true
  end
  return seen
end

local function check_fields(root, update)
  local seen, err = check_once(root)
  if not seen then
    return nil, err
  end
  for _, list in ipairs { required, update and required_on_update or {} } do
    for _, name in ipairs(list) do
      if not seen[name] then
        return protocol.fail("InvalidArgument", 400, "The parameter " .. name .. " is required.")
      end
    end
  end
  for _, name in ipairs(booleans) do
    local text = xml.value(root, name)
    if text and text ~= "true" and text ~= "false" then
      return malformed(name .. " is not a boolean.")
    end
  end
  for name, values in pairs(choices) do
    local text = xml.value(root, name)
    if text and text ~= "" and not values[text] then
      return protocol.fail("InvalidArgument", 400, "The parameter " .. name .. " has a value that is not known.")
    end
  end
  return check_quantities(root)
end

-- Every behaviour must lead to an origin (or origin group) of the same document.
local function check_origins(root)
  local targets = {}
  for _, name in ipairs { "Origins", "OriginGroups" } do
    local items = xml.child(root, name) and xml.child(xml.child(root, name), "Items")
    for _, item in ipairs(items or {}) do
      targets[xml.value(item, "Id") or ""] = true
    end
  end
  if not next(targets) then
    return protocol.fail("InvalidArgument", 400, "At least one origin is required.")
  end
  local behaviors = { xml.child(root, "DefaultCacheBehavior") }
  local more = xml.child(root, "CacheBehaviors")
  for _, item in ipairs(more and xml.child(more, "Items") or {}) do
    behaviors[#behaviors + 1] = item
  end
  for _, behavior in ipairs(behaviors) do
    if not targets[xml.value(behavior, "TargetOriginId") or ""] then
      return protocol.fail("NoSuchOrigin", 404, "One or more of your origins or origin groups do not exist.")
    end
  end
  return true
end

local function read_aliases(root)
  local aliases, seen = {}, {}
  local items = xml.child(root, "Aliases") and xml.child(xml.child(root, "Aliases"), "Items")
  for _, item in ipairs(items or {}) do
    local alias = item.text:match("^%s*(.-)%s*$")
    if not alias:match("^[%l%d*][%l%d%-%.]*%.[%l%d%-%.]+$") or alias:find("*", 2, true) or alias:match("^%*[^%.]") then
      return protocol.fail("InvalidArgument", 400, "The parameter CNAME contains one or more parameters that are not valid.")
    elseif seen[alias] then
      return protocol.fail("InvalidArgument", 400, "The parameter CNAME occurs more than once.")
    end
    seen[alias] = true
    aliases[#aliases + 1] = alias
  end
  if #aliases > 100 then
    return protocol.fail("TooManyDistributionCNAMEs", 400, "Your request contains more CNAMEs than are allowed per distribution.")
  end
  return aliases
end

local function read_view(root)
  local aliases, err = read_aliases(root)
  if not aliases then
    return nil, err
  end
  local viewer
  viewer, err = viewer_certificate.read(xml.child(root, "ViewerCertificate"))
  if not viewer then
    return nil, err
  end
  return {
    caller_reference = xml.value(root, "CallerReference"),
    aliases = aliases,
    enabled = xml.value(root, "Enabled") == "true",
    staging = xml.value(root, "Staging") == "true",
    policy = xml.value(root, "ContinuousDeploymentPolicyId") or "",
    http_version = xml.value(root, "HttpVersion") or "http2",
    connection_mode = xml.value(root, "ConnectionMode") or "direct",
    web_acl = xml.value(root, "WebACLId") or "",
    viewer = viewer,
  }
end

-- Children of DistributionSummary, in the model's order. A summary lacks the rest of the configuration.
local summarized = { "Aliases", "Origins", "OriginGroups", "DefaultCacheBehavior", "CacheBehaviors", "CustomErrorResponses",
  "Comment", "PriceClass", "Enabled", "ViewerCertificate", "Restrictions", "WebACLId", "HttpVersion", "IsIPV6Enabled",
  "Staging", "ConnectionMode", "AnycastIpListId", "ViewerMtlsConfig", "ConnectionFunctionAssociation" }
local function none(name)
  return "<" .. name .. "><Quantity>0</Quantity></" .. name .. ">"
end
local defaults = {
  Aliases = none("Aliases"), CacheBehaviors = none("CacheBehaviors"), CustomErrorResponses = none("CustomErrorResponses"),
  PriceClass = "<PriceClass>PriceClass_All</PriceClass>",
  WebACLId = "<WebACLId></WebACLId>",
  HttpVersion = "<HttpVersion>http2</HttpVersion>",
  IsIPV6Enabled = "<IsIPV6Enabled>true</IsIPV6Enabled>",
  Staging = "<Staging>false</Staging>",
  Restrictions = "<Restrictions><GeoRestriction><RestrictionType>none</RestrictionType><Quantity>0</Quantity>"
    .. "</GeoRestriction></Restrictions>",
}

local function summary_of(root, viewer, order)
  local out = {}
  for _, name in ipairs(summarized) do
    local node = xml.child(root, name)
    if name == "ViewerCertificate" then
      out[#out + 1] = viewer_certificate.spell("", nil, viewer, "", order)
    elseif node then
      xml.write(node, out)
    else
      out[#out + 1] = defaults[name]
    end
  end
  return table.concat(out)
end

-- The document with the service's spelling of ViewerCertificate, and where things are in it.
local function normalize(text, root, viewer, order)
  local prefix = root.tag:match("^(.-:)") or ""
  local node = xml.child(root, "ViewerCertificate")
  local spelled = viewer_certificate.spell(text, node, viewer, node and (node.tag:match("^(.-:)") or "") or prefix, order)
  local first = node and node.first or root.inner_last + 1
  local after = node and node.last + 1 or first
  local declaration = text:match("^<%?xml%s") and "" or '<?xml version="1.0"?>\n'
  local shift = #declaration
  return {
    raw = declaration .. text:sub(1, first - 1) .. spelled .. text:sub(after),
    viewer_first = shift + first,
    viewer_last = shift + first + #spelled - 1,
    root_first = shift + root.first,
    root_last = shift + root.last + #spelled - (after - first),
  }
end

-- The document without its ContinuousDeploymentPolicyId where that is empty.
local function without_policy(text, root, view)
  local node = view.policy == "" and xml.child(root, "ContinuousDeploymentPolicyId")
  if not node then
    return text, root
  end
  text = text:sub(1, node.first - 1) .. text:sub(node.last + 1)
  return text, xml.parse(text)
end

--- Reads and judges the form of a configuration.
---@param text string
---@param options {update:boolean, order:string, policy_element?:string}
---@return certrotate.simulator.Document?
---@return certrotate.simulator.Failure?
function M.read(text, options)
  if not text:find("%S") then
    return protocol.fail("MissingBody", 400, "This operation requires a body. Ensure that the body is present and the "
      .. "Content-Type header is set.")
  end
  local root, message = xml.parse(text)
  if not root then
    return malformed(message)
  elseif root.name ~= "DistributionConfig" or root.uri ~= protocol.namespaces.cloudfront then
    return malformed("the root element must be DistributionConfig of " .. protocol.namespaces.cloudfront .. ".")
  end
  local ok, err = check_fields(root, options.update)
  if ok then
    ok, err = check_origins(root)
  end
  if not ok then
    return nil, err
  end
  local view
  view, err = read_view(root)
  if not view then
    return nil, err
  elseif view.staging and #view.aliases > 0 then
    return protocol.fail("InvalidArgument", 400, "A staging distribution cannot have alternate domain names (CNAMEs).")
  end
  if options.policy_element == "absent" then
    text, root = without_policy(text, root, view)
  end
  local document = normalize(text, root, view.viewer, options.order)
  document.view = view
  document.summary = summary_of(root, view.viewer, options.order)
  return document
end

--- Hash of everything outside ViewerCertificate: what a rotation must leave alone.
---@param document certrotate.simulator.Document
---@return string hex
function M.outside_hash(document)
  return crypto.sha256_hex(document.raw:sub(1, document.viewer_first - 1) .. document.raw:sub(document.viewer_last + 1))
end

return M
