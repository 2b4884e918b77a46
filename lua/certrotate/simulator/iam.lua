-- IAM's server certificates, and the account summary: query protocol.
local certificate = require "certrotate.simulator.certificate"
local partition = require "certrotate.simulator.partition"
local protocol = require "certrotate.simulator.protocol"
local quotas = require "certrotate.simulator.quotas"
local store = require "certrotate.simulator.store"
local time = require "certrotate.simulator.time"
local x509 = require "certrotate.simulator.x509"
local xml = require "certrotate.simulator.xml"

local M = {}

local fail = protocol.fail

-- ── parameters ──────────────────────────────────────────────────────────────────────────────────────────────

local function invalid(name, constraint)
  return fail("ValidationError", 400, ("1 validation error detected: Value at '%s' failed to satisfy constraint: %s"):format(
    name:gsub("^%u", string.lower), constraint))
end

local function name_of(form, field)
  field = field or "ServerCertificateName"
  local name = form[field]
  if not name then
    return invalid(field, "Member must not be null")
  elseif #name < 1 or #name > 128 then
    return invalid(field, "Member must have length less than or equal to 128")
  elseif not name:match("^[%w_+=,.@-]+$") then
    return invalid(field, "Member must satisfy regular expression pattern: [\\w+=,.@-]+")
  end
  return name
end

local function path_of(form, field)
  local path = form[field] or "/"
  if #path < 1 or #path > 512 or not path:match("^/[\33-\126]*$") or not path:match("/$") or path:match("^/[^/]+$") then
    return invalid(field, "Member must satisfy regular expression pattern: (\\u002F)|(\\u002F[\\u0021-\\u007E]+\\u002F)")
  end
  return path
end

local function find(sim, form)
  local name, err = name_of(form)
  if not name then
    return nil, err
  end
  local record = sim.store.iam[name:lower()]
  if not record then
    return fail("NoSuchEntity", 404, "The Server Certificate with name " .. name .. " cannot be found.")
  end
  return record
end

-- Tags.member.N.Key and .Value, from 1 without gaps.
local function read_tags(form)
  local tags, seen = {}, {}
  for index = 1, 51 do
    local key, value = form[("Tags.member.%d.Key"):format(index)], form[("Tags.member.%d.Value"):format(index)]
    if not key then
      break
    elseif #key < 1 or #key > 128 or not value or #value > 256 then
      return invalid("tags", "Member must satisfy the length of keys and values")
    elseif key:lower():match("^aws:") or seen[key:lower()] then
      return fail("InvalidInput", 400, "Duplicate or reserved tag keys found. Please note that Tag keys are case insensitive.")
    end
    seen[key:lower()] = true
    tags[index] = { Key = key, Value = value }
  end
  return tags
end

local function page_of(form, count)
  local size, from = tonumber(form.MaxItems or 100), 1
  if not size or size < 1 or size > 1000 or size ~= math.floor(size) then
    return invalid("maxItems", "Member must be between 1 and 1000")
  end
  if form.Marker then
    from = tonumber(form.Marker:match("^page%-(%d+)$"))
    if not from then
      return fail("ValidationError", 400, "Invalid Marker.")
    end
  end
  return { from = from, to = math.min(count, from + size - 1), more = from + size <= count and "page-" .. from + size or nil }
end

local function paging(page)
  return xml.element("IsTruncated", tostring(page.more ~= nil)) .. (page.more and xml.element("Marker", page.more) or "")
end

-- ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────

local function arn_of(sim, record)
  return ("arn:%s:iam::%s:server-certificate%s%s"):format(partition.of(sim), sim.options.account_id, record.path, record.name)
end

local function metadata(sim, record)
  return table.concat {
    xml.element("Path", record.path), xml.element("ServerCertificateName", record.name),
    xml.element("ServerCertificateId", record.reference), xml.element("Arn", arn_of(sim, record)),
    xml.element("UploadDate", time.iso(record.created)), xml.element("Expiration", time.iso(record.current.leaf.not_after)),
  }
end

local function tags_xml(tags)
  local out = {}
  for index, tag in ipairs(tags) do
    out[index] = "<member>" .. xml.element("Key", tag.Key) .. xml.element("Value", tag.Value) .. "</member>"
  end
  return "<Tags>" .. table.concat(out) .. "</Tags>"
end

-- ── operations ──────────────────────────────────────────────────────────────────────────────────────────────

--- Puts a certificate into IAM without judging it.
---@param material certrotate.simulator.Material
---@param options {name:string, path?:string, reference?:string, tags?:table[]}
---@return certrotate.simulator.StoredCertificate
function M.add(sim, material, options)
  local now = sim.clock:now()
  local record = { reference = options.reference or sim.random:iam_id(), store = "iam", region = "", type = "IMPORTED",
    created = now, imported = now, current = material, first = material.leaf, tags = options.tags or {},
    name = options.name, path = options.path or "/" }
  sim.store:add_iam(record)
  return record
end

local problems = {
  certificate = { "MalformedCertificate", "Unable to parse certificate. Please ensure the certificate is in PEM format." },
  several = { "MalformedCertificate", "The certificate body must contain one certificate." },
  key = { "MalformedCertificate", "Unable to parse key; private key must be in PEM format and not encrypted." },
  mismatch = { "KeyPairMismatch", "Private key doesn't match certificate." },
  chain = { "MalformedCertificate", "Unable to parse certificate chain." },
  expired = { "MalformedCertificate", "The certificate is expired." },
  future = { "MalformedCertificate", "The certificate is not valid yet." },
  issuer = { "MalformedCertificate", "The certificate has no issuer." },
}

local function read_material(sim, form)
  for _, field in ipairs { { "CertificateBody", 16384, true }, { "PrivateKey", 16384, true }, { "CertificateChain", 2097152 } } do
    local text = form[field[1]]
    if not text and field[3] then
      return invalid(field[1], "Member must not be null")
    elseif text and (#text < 1 or #text > field[2] or text:match("[^\9\10\13\32-\255]")) then
      return invalid(field[1], "Member must have length less than or equal to " .. field[2])
    end
  end
  if not x509.only_certificates(form.CertificateBody) then
    return fail("MalformedCertificate", 400, problems.certificate[2])
  end
  local material, problem, index = certificate.read(form.CertificateBody, form.PrivateKey, form.CertificateChain,
    sim.clock:now())
  if material then
    return material
  elseif problem == "order" then
    return fail("MalformedCertificate", 400, "Unable to validate certificate chain. The certificate chain must start with "
      .. "the immediate signing certificate, followed by any intermediaries in order. The index within the chain of the "
      .. "invalid certificate is: " .. index)
  end
  return fail(problems[problem][1], 400, problems[problem][2])
end

local function upload(sim, request, form)
  local name, err = name_of(form)
  local path = name
  if name then
    path, err = path_of(form, "Path")
  end
  local tags = path
  if path then
    tags, err = read_tags(form)
  end
  if not tags then
    return nil, err
  elseif sim.store.iam[name:lower()] then
    return fail("EntityAlreadyExists", 409, "The Server Certificate with name " .. name .. " already exists.")
  elseif #sim.store.iam_list >= quotas.enforced(sim, "L-BF35879D") then
    return fail("LimitExceeded", 409, "Cannot exceed quota for ServerCertificatesPerAccount: "
      .. quotas.enforced(sim, "L-BF35879D"))
  end
  local material
  material, err = read_material(sim, form)
  if not material then
    return nil, err
  end
  local record = M.add(sim, material, { name = name, path = path, tags = tags })
  sim.record:effect("iam_imports")
  sim.record:change { time = record.created, what = "import", by = "client", reference = record.reference,
    fingerprint = material.leaf.fingerprint }
  return protocol.query(request, "<ServerCertificateMetadata>" .. metadata(sim, record) .. "</ServerCertificateMetadata>"
    .. (#tags > 0 and tags_xml(tags) or ""))
end

local function get(sim, request, form)
  local record, err = find(sim, form)
  if not record then
    return nil, err
  end
  return protocol.query(request, table.concat {
    "<ServerCertificate><ServerCertificateMetadata>", metadata(sim, record), "</ServerCertificateMetadata>",
    xml.element("CertificateBody", record.current.certificate_pem),
    record.current.chain_pem ~= "" and xml.element("CertificateChain", record.current.chain_pem) or "",
    #record.tags > 0 and tags_xml(record.tags) or "", "</ServerCertificate>",
  })
end

local function list(sim, request, form)
  local prefix = form.PathPrefix or "/"
  if #prefix > 512 or not prefix:match("^/[\33-\126]*$") then
    return invalid("pathPrefix", "Member must satisfy regular expression pattern: \\u002F[\\u0021-\\u007F]*")
  end
  local found = {}
  for _, record in ipairs(sim.store.iam_list) do
    local shown = record.path:sub(1, #prefix) == prefix and record.created + sim.settings.store_list_lag <= sim.clock:now()
    found[#found + 1] = shown and record or nil
  end
  local page, err = page_of(form, #found)
  if not page then
    return nil, err
  end
  local out = {}
  for index = page.from, page.to do
    out[#out + 1] = "<member>" .. metadata(sim, found[index]) .. "</member>"
  end
  return protocol.query(request, paging(page) .. "<ServerCertificateMetadataList>" .. table.concat(out)
    .. "</ServerCertificateMetadataList>")
end

local function update(sim, request, form)
  local record, err = find(sim, form)
  local name, path
  if record then
    name, path = form.NewServerCertificateName, form.NewPath
    if name then
      name, err = name_of(form, "NewServerCertificateName")
    end
    if path and not err then
      path, err = path_of(form, "NewPath")
    end
  end
  if err then
    return nil, err
  end
  local taken = name and sim.store.iam[name:lower()]
  if taken and taken ~= record then
    return fail("EntityAlreadyExists", 409, "The Server Certificate with name " .. name .. " already exists.")
  end
  sim.store.iam[record.name:lower()] = nil
  record.name, record.path = name or record.name, path or record.path
  sim.store.iam[record.name:lower()] = record
  return protocol.query(request, nil)
end

local function delete(sim, request, form)
  local record, err = find(sim, form)
  if not record then
    return nil, err
  end
  if not store.delete_certificate(sim, record) then
    return fail("DeleteConflict", 409, "Certificate: " .. record.reference .. " is being used by CloudFront.")
  end
  return protocol.query(request, nil)
end

local function tag(sim, request, form)
  local record, err = find(sim, form)
  local tags
  if record then
    tags, err = read_tags(form)
  end
  if not tags then
    return nil, err
  end
  local all, position = {}, {}
  for _, source in ipairs { record.tags, tags } do
    for _, item in ipairs(source) do
      position[item.Key] = position[item.Key] or #all + 1
      all[position[item.Key]] = item
    end
  end
  if #all > 50 then
    return fail("LimitExceeded", 409, "Cannot exceed quota for TagsPerServerCertificate: 50")
  end
  record.tags = all
  return protocol.query(request, nil)
end

local function untag(sim, request, form)
  local record, err = find(sim, form)
  if not record then
    return nil, err
  end
  local named, kept = {}, {}
  for index = 1, 50 do
    named[form[("TagKeys.member.%d"):format(index)] or ""] = true
  end
  for _, item in ipairs(record.tags) do
    kept[#kept + 1] = not named[item.Key] and item or nil
  end
  record.tags = kept
  return protocol.query(request, nil)
end

local function list_tags(sim, request, form)
  local record, err = find(sim, form)
  local page
  if record then
    page, err = page_of(form, #record.tags)
  end
  if not page then
    return nil, err
  end
  local slice = {}
  for index = page.from, page.to do
    slice[#slice + 1] = record.tags[index]
  end
  return protocol.query(request, paging(page) .. tags_xml(slice))
end

local function summary(sim, request)
  local out = {}
  for _, entry in ipairs { { "ServerCertificates", #sim.store.iam_list },
    { "ServerCertificatesQuota", quotas.enforced(sim, "L-BF35879D") }, { "Users", 1 }, { "UsersQuota", 5000 },
    { "MFADevices", 0 }, { "AccountMFAEnabled", 0 } } do
    out[#out + 1] = "<entry>" .. xml.element("key", entry[1]) .. xml.element("value", entry[2]) .. "</entry>"
  end
  return protocol.query(request, "<SummaryMap>" .. table.concat(out) .. "</SummaryMap>")
end

local operations = {
  UploadServerCertificate = upload, GetServerCertificate = get, ListServerCertificates = list,
  UpdateServerCertificate = update, DeleteServerCertificate = delete, TagServerCertificate = tag,
  UntagServerCertificate = untag, ListServerCertificateTags = list_tags, GetAccountSummary = summary,
}

---@return string operation
---@return function? handler   (sim, request, form)
---@return string? resource
function M.route(request)
  local name = request.input.Action or "Unknown"
  return name, operations[name], request.input.ServerCertificateName
end

return M
