-- ViewerCertificate as CloudFront judges it: which certificate the element names, whether its fields agree, whether
-- the certificate may serve the distribution, and how the service spells it in answers.
local partition = require "certrotate.simulator.partition"
local protocol = require "certrotate.simulator.protocol"
local quotas = require "certrotate.simulator.quotas"
local x509 = require "certrotate.simulator.x509"
local xml = require "certrotate.simulator.xml"

local M = {}

---@class certrotate.simulator.Viewer
---@field reference string       "" for the default certificate
---@field source "cloudfront"|"iam"|"acm"
---@field method string
---@field minimum string
---@field dedicated boolean      a custom certificate with vip: what costs money

local policies = { SSLv3 = true, TLSv1 = true, TLSv1_2016 = true, ["TLSv1.1_2016"] = true, ["TLSv1.2_2018"] = true,
  ["TLSv1.2_2019"] = true, ["TLSv1.2_2021"] = true, ["TLSv1.2_2025"] = true, ["TLSv1.3_2025"] = true }
local methods = { ["sni-only"] = true, vip = true, ["static-ip"] = true }
local known = { CloudFrontDefaultCertificate = true, IAMCertificateId = true, ACMCertificateArn = true,
  SSLSupportMethod = true, MinimumProtocolVersion = true, Certificate = true, CertificateSource = true }

local function invalid(message)
  return protocol.fail("InvalidViewerCertificate", 400, message)
end

local unusable = "The specified SSL certificate doesn't exist, isn't in us-east-1 region, isn't valid, or doesn't include "
  .. "a valid certificate chain."
local unauthorized = "To add an alternate domain name (CNAME) to a CloudFront distribution, you must attach a trusted "
  .. "certificate that validates your authorization to use the domain name."
local uncovered = "The certificate that is attached to your distribution doesn't cover the alternate domain name (CNAME) "
  .. "that you're trying to add."

-- The certificate the fields name. The modern field and the deprecated pair must not contradict each other.
local function choose(fields)
  local iam, acm = fields.IAMCertificateId, fields.ACMCertificateArn
  local certificate, source = fields.Certificate, fields.CertificateSource
  local default = fields.CloudFrontDefaultCertificate == "true"
  if (iam and acm) or (default and (iam or acm)) then
    return invalid("You must specify exactly one of CloudFrontDefaultCertificate, IAMCertificateId or ACMCertificateArn.")
  end
  for _, pair in ipairs { { "IAMCertificateId", iam, "iam" }, { "ACMCertificateArn", acm, "acm" } } do
    if pair[2] and certificate and certificate ~= pair[2] then
      return invalid(("Your %s does not match the given Certificate field."):format(pair[1]))
    elseif pair[2] and source and source ~= pair[3] then
      return invalid(("Cannot specify %s and a CertificateSource not equal to \"%s\"."):format(pair[1], pair[3]))
    end
  end
  if iam or acm then
    return { reference = iam or acm, source = iam and "iam" or "acm" }
  elseif default then
    if (source and source ~= "cloudfront") or certificate then
      return invalid("Cannot specify CloudFrontDefaultCertificate and a custom Certificate.")
    end
    return { reference = "", source = "cloudfront" }
  elseif certificate and (source == "iam" or source == "acm") then
    return { reference = certificate, source = source }
  elseif source == "cloudfront" then
    return { reference = "", source = "cloudfront" }
  end
  -- Recorded behaviour: an element that names no certificate at all is answered with an error of the service.
  return protocol.fail("InternalError", 500, nil)
end

--- Reads the element; nil node: the default certificate.
---@param node? certrotate.simulator.Node
---@return certrotate.simulator.Viewer?
---@return certrotate.simulator.Failure?
function M.read(node)
  if not node then
    return { reference = "", source = "cloudfront", method = "vip", minimum = "TLSv1", dedicated = false }
  end
  local fields = {}
  for _, child in ipairs(node) do
    if known[child.name] then
      local text = child.text:match("^%s*(.-)%s*$")
      if fields[child.name] then
        return protocol.fail("MalformedXML", 400, "Element " .. child.name .. " occurs twice.")
      end
      fields[child.name] = text ~= "" and text or nil
    end
  end
  local default = fields.CloudFrontDefaultCertificate
  if default and default ~= "true" and default ~= "false" then
    return protocol.fail("MalformedXML", 400, "CloudFrontDefaultCertificate is not a boolean.")
  end
  local viewer, err = choose(fields)
  if not viewer then
    return nil, err
  end
  viewer.method, viewer.minimum = fields.SSLSupportMethod, fields.MinimumProtocolVersion
  if viewer.source == "cloudfront" then
    -- CloudFront forces these two for its own certificate.
    viewer.method, viewer.minimum = "vip", "TLSv1"
  elseif not viewer.method or not viewer.minimum then
    return protocol.fail("InvalidArgument", 400,
      ("The parameter %s is required."):format(viewer.method and "MinimumProtocolVersion" or "SSLSupportMethod"))
  elseif not methods[viewer.method] or not policies[viewer.minimum] then
    return protocol.fail("InvalidArgument", 400, "The parameter " .. (methods[viewer.method] and "MinimumProtocolVersion"
      or "SSLSupportMethod") .. " has a value that is not known.")
  end
  viewer.dedicated = viewer.method == "vip" and viewer.source ~= "cloudfront"
  viewer.complete = fields.SSLSupportMethod ~= nil and fields.MinimumProtocolVersion ~= nil and fields.CertificateSource ~= nil
    and (viewer.source == "cloudfront" and default == "true"
      or (fields.IAMCertificateId or fields.ACMCertificateArn) ~= nil and fields.Certificate ~= nil)
  return viewer
end

-- ── judging ─────────────────────────────────────────────────────────────────────────────────────────────────

local function method_allowed(sim, viewer)
  if viewer.source == "cloudfront" then
    return true
  elseif viewer.method == "static-ip" then
    return protocol.fail("InvalidArgument", 400, "The parameter SSLSupportMethod is not allowed for this account.")
  elseif viewer.method == "vip" and viewer.minimum ~= "SSLv3" and viewer.minimum ~= "TLSv1" and not sim.settings.vip_policies then
    return protocol.fail("InvalidMinimumProtocolVersion", 400,
      "The minimum protocol version that you specified is not valid with dedicated IP addresses.")
  elseif viewer.method == "sni-only" and viewer.minimum == "SSLv3" then
    return protocol.fail("InvalidMinimumProtocolVersion", 400,
      "The minimum protocol version SSLv3 is not valid with SNI.")
  end
  return true
end

local function key_allowed(sim, record)
  local kind = record.current.leaf.key_type
  local bits = tonumber(kind:match("^RSA_(%d+)$"))
  if not bits then
    return kind == "EC_prime256v1"
  end
  return bits <= (record.store == "iam" and sim.settings.iam_rsa_bits or 4096)
end

-- An unbroken chain of at most five, everything in it valid now, up to a trusted root where roots are given.
local function chain_allowed(sim, material, now)
  local leaf, chain = material.leaf, material.chain
  if leaf.self_signed then
    return #chain == 0
  elseif #chain > 5 or x509.chain_break(leaf, chain) then
    return false
  end
  local top = leaf
  for _, certificate in ipairs(chain) do
    if now < certificate.not_before or now > certificate.not_after then
      return false
    end
    top = certificate
  end
  if not sim.trusted_roots then
    return true
  end
  for _, root in ipairs(sim.trusted_roots) do
    if x509.issued(root, top) or root.fingerprint == top.fingerprint then
      return true
    end
  end
  return false
end

-- The stored certificate when CloudFront would take it today.
local function usable(sim, viewer)
  local record = sim.store:certificate(viewer.reference)
  local now = sim.clock:now()
  if not record or record.store ~= viewer.source or now < record.imported + sim.settings.import_lag then
    return nil
  elseif record.store == "acm" and (record.region ~= "us-east-1" or partition.of(sim) == "aws-cn") then
    return nil
  elseif record.store == "iam" and record.path:sub(1, 12) ~= "/cloudfront/" then
    return nil
  end
  local leaf = record.current.leaf
  if now < leaf.not_before or now > leaf.not_after or not key_allowed(sim, record)
    or not chain_allowed(sim, record.current, now) then
    return nil
  end
  return record
end

local function aliases_allowed(record, view, old)
  local had = {}
  for _, alias in ipairs(old and old.aliases or {}) do
    had[alias] = true
  end
  for _, alias in ipairs(view.aliases) do
    if not x509.covers(record.current.leaf.names, alias) then
      return invalid(uncovered)
    elseif record.current.leaf.self_signed and not had[alias] then
      return invalid(unauthorized)
    end
  end
  return true
end

local function same_aliases(one, two)
  if #one ~= #two then
    return false
  end
  local names = {}
  for _, alias in ipairs(one) do
    names[alias] = true
  end
  for _, alias in ipairs(two) do
    if not names[alias] then
      return false
    end
  end
  return true
end

--- Whether the certificate, or how it is served, differs.
---@return boolean
function M.changed(one, two)
  return one.reference ~= two.reference or one.method ~= two.method or one.minimum ~= two.minimum
end

--- Judges a configuration's certificate. What did not change is not judged again: an expired certificate goes on.
---@param distribution? certrotate.simulator.Distribution
---@param view certrotate.simulator.View
---@param old? certrotate.simulator.View
---@return boolean? ok
---@return certrotate.simulator.Failure? err
function M.judge(sim, distribution, view, old)
  local viewer = view.viewer
  if old and not M.changed(old.viewer, viewer) and same_aliases(old.aliases, view.aliases) then
    return true
  end
  local ok, err = method_allowed(sim, viewer)
  if not ok then
    return nil, err
  end
  if viewer.source == "cloudfront" then
    if #view.aliases > 0 then
      return invalid(unauthorized)
    end
    return true
  end
  if view.connection_mode == "tenant-only" and (viewer.source == "iam" or viewer.method ~= "sni-only") then
    return protocol.fail("InvalidArgument", 400, "Multi-tenant distributions take certificates of ACM with sni-only.")
  end
  local record = usable(sim, viewer)
  if not record then
    return invalid(unusable)
  end
  ok, err = aliases_allowed(record, view, old)
  if not ok then
    return nil, err
  end
  if viewer.dedicated
    and sim.store:dedicated(distribution, view, sim.settings.vip_counts_disabled) > quotas.enforced(sim, "L-DA9DCC93") then
    return protocol.fail("TooManyCertificates", 400, "You cannot create anymore custom SSL/TLS certificates.")
  end
  return true
end

--- Judges the certificate of a distribution tenant's own.
---@param reference string
---@param domains string[]
---@return boolean? ok
---@return certrotate.simulator.Failure? err
function M.judge_tenant(sim, reference, domains)
  local record = usable(sim, { reference = reference, source = "acm" })
  if not record then
    return protocol.fail("InvalidArgument", 400, unusable)
  end
  for _, domain in ipairs(domains) do
    if not x509.covers(record.current.leaf.names, domain) then
      return protocol.fail("InvalidArgument", 400, uncovered)
    end
  end
  return true
end

-- ── spelling ────────────────────────────────────────────────────────────────────────────────────────────────

--- The element as the service answers it: the modern field and the deprecated pair. Bytes that say both already are
--- kept; children that nobody knows are kept in any case.
---@param text string       the document
---@param node? certrotate.simulator.Node
---@param viewer certrotate.simulator.Viewer
---@param prefix string     "" or "cf:"
---@param order string      setting viewer_certificate_order
---@return string
function M.spell(text, node, viewer, prefix, order)
  if node and viewer.complete then
    return text:sub(node.first, node.last)
  end
  local function element(name, value)
    return xml.element(prefix .. name, value)
  end
  local modern, deprecated
  if viewer.source == "cloudfront" then
    modern, deprecated = element("CloudFrontDefaultCertificate", "true"), element("CertificateSource", "cloudfront")
  else
    modern = element("CloudFrontDefaultCertificate", "false")
      .. element(viewer.source == "iam" and "IAMCertificateId" or "ACMCertificateArn", viewer.reference)
    deprecated = element("Certificate", viewer.reference) .. element("CertificateSource", viewer.source)
  end
  modern = modern .. element("SSLSupportMethod", viewer.method) .. element("MinimumProtocolVersion", viewer.minimum)
  local parts = order == "modern" and { modern, deprecated } or { deprecated, modern }
  for _, child in ipairs(node or {}) do
    if not known[child.name] then
      parts[#parts + 1] = text:sub(child.first, child.last)
    end
  end
  local open = node and not node.empty and text:sub(node.first, node.inner - 1) or "<" .. prefix .. "ViewerCertificate>"
  return open .. table.concat(parts) .. "</" .. prefix .. "ViewerCertificate>"
end

return M
