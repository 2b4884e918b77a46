-- AWS Certificate Manager, JSON 1.1.
local certificate = require "certrotate.simulator.certificate"
local deployment = require "certrotate.simulator.deployment"
local json = require "certrotate.simulator.json"
local partition = require "certrotate.simulator.partition"
local protocol = require "certrotate.simulator.protocol"
local quotas = require "certrotate.simulator.quotas"
local store = require "certrotate.simulator.store"

local M = {}

local fail = protocol.fail

-- ── parameters ──────────────────────────────────────────────────────────────────────────────────────────────

local base64 = {}
for index = 1, 64 do
  base64[("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"):byte(index)] = index - 1
end

-- Strict base64: four by four, padding at the end only.
local function decode(text)
  text = text:gsub("[\r\n]", "")
  if #text % 4 ~= 0 or not text:match("^[%w+/]*=?=?$") then
    return nil
  end
  local out = {}
  for at = 1, #text, 4 do
    local a, b, c, d = text:byte(at, at + 3)
    local bits = base64[a] * 262144 + base64[b] * 4096 + (base64[c] or 0) * 64 + (base64[d] or 0)
    local bytes = string.char(math.floor(bits / 65536), math.floor(bits / 256) % 256, bits % 256)
    out[#out + 1] = d ~= 61 and bytes or bytes:sub(1, c ~= 61 and 2 or 1)
  end
  return table.concat(out)
end

local function blob(input, name, limit)
  local value = input[name]
  if value == nil or value == json.null then
    return false
  elseif type(value) ~= "string" then
    return fail("SerializationException", 400, name .. " is not a blob")
  end
  local bytes = decode(value)
  if not bytes then
    return fail("SerializationException", 400, name .. " is not base64")
  elseif #bytes < 1 or #bytes > limit then
    return fail("ValidationException", 400, ("1 validation error detected: Value at '%s' failed to satisfy constraint: "
      .. "Member must have length less than or equal to %d"):format(name:gsub("^%u", string.lower), limit))
  end
  return bytes
end

local function arn_of(request, input)
  local arn = input.CertificateArn
  if type(arn) ~= "string" then
    return fail("ValidationException", 400, "1 validation error detected: Value at 'certificateArn' failed to satisfy "
      .. "constraint: Member must not be null")
  elseif #arn < 20 or #arn > 2048 or not arn:match("^arn:[%w+=/,.@-]+:acm:[%w+=/,.@-]*:%d+:[%w+=,.@/-]+$") then
    return fail("ValidationException", 400, "1 validation error detected: Value '" .. arn .. "' at 'certificateArn' failed "
      .. "to satisfy constraint: Member must satisfy regular expression pattern")
  elseif arn:match("^arn:[^:]*:acm:([^:]*)") ~= request.region then
    return fail("ResourceNotFoundException", 400, "Could not find certificate " .. arn .. ".")
  end
  return arn
end

local function find(sim, request, input)
  local arn, err = arn_of(request, input)
  if not arn then
    return nil, err
  end
  local record = sim.store.acm[arn]
  if not record then
    return fail("ResourceNotFoundException", 400, "Could not find certificate " .. arn .. ".")
  end
  return record
end

local function read_tags(input)
  local tags, seen = {}, {}
  if input.Tags == nil or input.Tags == json.null then
    return tags
  elseif type(input.Tags) ~= "table" or #input.Tags == 0 then
    return fail("ValidationException", 400, "1 validation error detected: Value at 'tags' failed to satisfy constraint: "
      .. "Member must have length greater than or equal to 1")
  end
  for _, tag in ipairs(input.Tags) do
    local key, value = type(tag) == "table" and tag.Key, type(tag) == "table" and tag.Value
    value = (value == nil or value == json.null) and "" or value
    if type(key) ~= "string" or type(value) ~= "string" or #key < 1 or #key > 128 or #value > 256 then
      return fail("ValidationException", 400, "1 validation error detected: a tag's key or value is not valid")
    elseif key:lower():match("^aws:") or seen[key] then
      return fail("InvalidTagException", 400, "The tag key " .. key .. " is reserved or occurs twice.")
    end
    seen[key] = true
    tags[#tags + 1] = { Key = key, Value = value }
  end
  return tags
end

-- Adds tags; an equal key is replaced. Nil when there are too many then.
local function merged(old, new)
  local tags, position = {}, {}
  for _, list in ipairs { old, new } do
    for _, tag in ipairs(list) do
      position[tag.Key] = position[tag.Key] or #tags + 1
      tags[position[tag.Key]] = tag
    end
  end
  return #tags <= 50 and tags or nil
end

-- ── import ──────────────────────────────────────────────────────────────────────────────────────────────────

local problems = {
  certificate = "The certificate field contains a certificate that could not be parsed.",
  several = "The certificate field contains more than one certificate. You can specify only one certificate in this field.",
  key = "The private key is not supported or could not be parsed.",
  mismatch = "The private key does not match the certificate.",
  chain = "The certificate chain contains something that could not be parsed.",
  order = "Could not validate the certificate with the certificate chain.",
  expired = "The certificate is expired.",
  future = "The certificate is not valid yet.",
  issuer = "The certificate has no issuer.",
}

local function read_material(sim, input)
  local texts = {}
  for _, field in ipairs { { "Certificate", 32768 }, { "PrivateKey", 5120 }, { "CertificateChain", 2097152 } } do
    local bytes, err = blob(input, field[1], field[2])
    if bytes == nil then
      return nil, err
    elseif not bytes and field[1] ~= "CertificateChain" then
      return fail("ValidationException", 400, ("1 validation error detected: Value at '%s' failed to satisfy constraint: "
        .. "Member must not be null"):format((field[1]:gsub("^%u", string.lower))))
    end
    texts[field[1]] = bytes or nil
  end
  local material, problem = certificate.read(texts.Certificate, texts.PrivateKey, texts.CertificateChain, sim.clock:now())
  if not material then
    return fail("ValidationException", 400, problems[problem])
  elseif not certificate.key_types[material.leaf.key_type] then
    return fail("ValidationException", 400, "The private key is not supported.")
  end
  return material
end

-- Values that the first import had and this one lacks; each rule of a re-import has its exception.
local function lacks(before, after, exempt)
  local has = {}
  for _, value in ipairs(after) do
    has[value] = true
  end
  for _, value in ipairs(before) do
    if not has[value] and not exempt[value] then
      return true
    end
  end
  return false
end

local function reimport_allowed(record, material)
  local old, new, first = record.current.leaf, material.leaf, record.first
  local shared = false
  for _, name in ipairs(old.names) do
    for _, other in ipairs(new.names) do
      shared = shared or name == other
    end
  end
  if record.type ~= "IMPORTED" then
    return fail("ValidationException", 400, "Only imported certificates can be reimported.")
  elseif old.key_type ~= new.key_type then
    return fail("ValidationException", 400, "The key algorithm of a reimported certificate must not change.")
  elseif #old.names > 0 and not shared then
    return fail("ValidationException", 400, "A reimported certificate must keep at least one of its domain names.")
  elseif lacks(first.key_usages, new.key_usages, { KEY_ENCIPHERMENT = new.key_type:match("^EC_") and true or nil })
    or lacks(first.extended_key_usages, new.extended_key_usages, { TLS_WEB_CLIENT_AUTHENTICATION = true }) then
    return fail("ValidationException", 400, "A reimported certificate must keep the key usages of the first import.")
  end
  return true
end

local function count_import(sim)
  local now, kept = sim.clock:now(), {}
  for _, at in ipairs(sim.store.acm_imports) do
    kept[#kept + 1] = at > now - 365 * 86400 and at or nil
  end
  sim.store.acm_imports = kept
  local most = quotas.enforced(sim, "L-3808DC70")
  if #kept >= most then
    return fail("LimitExceededException", 400,
      ("Error: you have reached your limit of %d certificates in the last year."):format(most))
  end
  return true
end

local function reimport(sim, request, input, material)
  local record, err = find(sim, request, input)
  if not record then
    return nil, err
  elseif input.Tags ~= nil and input.Tags ~= json.null then
    return fail("ValidationException", 400, "You can't update tags when you reimport a certificate.")
  end
  local ok
  ok, err = reimport_allowed(record, material)
  if ok and sim.settings.reimport_counts then
    ok, err = count_import(sim)
  end
  if not ok then
    return nil, err
  end
  if sim.settings.reimport_counts then
    table.insert(sim.store.acm_imports, sim.clock:now())
  end
  deployment.replace(sim, record, material)
  record.imported = sim.clock:now()
  sim.record:effect("acm_reimports")
  sim.record:change { time = record.imported, what = "reimport", by = "client", reference = record.reference,
    fingerprint = material.leaf.fingerprint }
  return protocol.json({ CertificateArn = record.reference })
end

--- Puts a certificate into ACM without judging it.
---@param material certrotate.simulator.Material
---@param options? {reference?:string, type?:string, region?:string, tags?:table[]}
---@return certrotate.simulator.StoredCertificate
function M.add(sim, material, options)
  options = options or {}
  local region = options.region or "us-east-1"
  local now = sim.clock:now()
  local record = {
    reference = options.reference
      or ("arn:%s:acm:%s:%s:certificate/%s"):format(partition.of(sim), region, sim.options.account_id, sim.random:uuid()),
    store = "acm", region = region, type = options.type or "IMPORTED", created = now, imported = now, current = material,
    first = material.leaf, tags = options.tags or {},
  }
  sim.store:add_acm(record)
  return record
end

local function import_certificate(sim, request, input)
  local material, err = read_material(sim, input)
  if not material then
    return nil, err
  elseif input.CertificateArn ~= nil and input.CertificateArn ~= json.null then
    return reimport(sim, request, input, material)
  end
  local tags
  tags, err = read_tags(input)
  if tags and #tags > 50 then
    tags, err = fail("TooManyTagsException", 400, "The request contains too many tags.")
  end
  local ok = tags and true
  if ok then
    ok, err = count_import(sim)
  end
  if not ok then
    return nil, err
  elseif #sim.store.acm_list >= quotas.enforced(sim, "L-F141DD1D") then
    return fail("LimitExceededException", 400, "Error: you have reached your limit of imported certificates.")
  end
  table.insert(sim.store.acm_imports, sim.clock:now())
  local record = M.add(sim, material, { region = request.region, tags = tags })
  sim.record:effect("acm_imports")
  sim.record:change { time = record.created, what = "import", by = "client", reference = record.reference,
    fingerprint = material.leaf.fingerprint }
  return protocol.json({ CertificateArn = record.reference })
end

-- ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────

local function algorithm(sim, kind)
  if sim.settings.key_algorithm == "hyphen" then
    return (kind:gsub("^RSA_", "RSA-"))
  end
  return kind
end

local function status(sim, record)
  return sim.clock:now() > record.current.leaf.not_after and "EXPIRED" or "ISSUED"
end

local function objects(values, key)
  local list = json.list()
  for index, value in ipairs(values) do
    list[index] = { [key] = value }
  end
  return list
end

local oids = { TLS_WEB_SERVER_AUTHENTICATION = "1.3.6.1.5.5.7.3.1", TLS_WEB_CLIENT_AUTHENTICATION = "1.3.6.1.5.5.7.3.2",
  CODE_SIGNING = "1.3.6.1.5.5.7.3.3", EMAIL_PROTECTION = "1.3.6.1.5.5.7.3.4", TIME_STAMPING = "1.3.6.1.5.5.7.3.8",
  OCSP_SIGNING = "1.3.6.1.5.5.7.3.9", ANY = "2.5.29.37.0" }

local function describe(sim, request, input)
  local record, err = find(sim, request, input)
  if not record then
    return nil, err
  end
  local leaf = record.current.leaf
  local extended = objects(leaf.extended_key_usages, "Name")
  for index, item in ipairs(extended) do
    item.OID = oids[leaf.extended_key_usages[index]]
  end
  local imported = record.type == "IMPORTED"
  return protocol.json { Certificate = {
    CertificateArn = record.reference,
    DomainName = leaf.names[1],
    SubjectAlternativeNames = json.copied(leaf.names),
    Serial = leaf.serial,
    Subject = leaf.subject,
    Issuer = imported and leaf.issuer or "Amazon",
    CreatedAt = record.created,
    ImportedAt = imported and record.imported or nil,
    IssuedAt = not imported and record.created or nil,
    Status = status(sim, record),
    NotBefore = leaf.not_before,
    NotAfter = leaf.not_after,
    KeyAlgorithm = algorithm(sim, leaf.key_type),
    SignatureAlgorithm = leaf.signature_algorithm,
    InUseBy = json.copied(sim.store:users(record.reference, sim.clock:now())),
    Type = record.type,
    KeyUsages = objects(leaf.key_usages, "Name"),
    ExtendedKeyUsages = extended,
    RenewalEligibility = imported and "INELIGIBLE" or "ELIGIBLE",
    Options = { CertificateTransparencyLoggingPreference = imported and "DISABLED" or "ENABLED" },
  } }
end

local function get(sim, request, input)
  local record, err = find(sim, request, input)
  if not record then
    return nil, err
  end
  return protocol.json { Certificate = record.current.certificate_pem,
    CertificateChain = record.current.chain_pem ~= "" and record.current.chain_pem or nil }
end

local function set_of(values)
  local set = {}
  for _, value in ipairs(values) do
    set[value] = true
  end
  return set
end

local function summary(sim, record)
  local leaf, names = record.current.leaf, json.list()
  for index = 1, math.min(100, #leaf.names) do
    names[index] = leaf.names[index]
  end
  local imported = record.type == "IMPORTED"
  return {
    CertificateArn = record.reference, DomainName = leaf.names[1], SubjectAlternativeNameSummaries = names,
    HasAdditionalSubjectAlternativeNames = #leaf.names > 100, Status = status(sim, record), Type = record.type,
    KeyAlgorithm = algorithm(sim, leaf.key_type), KeyUsages = json.copied(leaf.key_usages),
    ExtendedKeyUsages = json.copied(leaf.extended_key_usages), InUse = #sim.store:users(record.reference, sim.clock:now()) > 0,
    Exported = false, RenewalEligibility = imported and "INELIGIBLE" or "ELIGIBLE", NotBefore = leaf.not_before,
    NotAfter = leaf.not_after, CreatedAt = record.created, ImportedAt = imported and record.imported or nil,
    IssuedAt = not imported and record.created or nil,
  }
end

-- Without keyTypes ACM shows RSA_1024 and RSA_2048 certificates only, and only those with a domain name.
local function matching(sim, request, input)
  local includes = type(input.Includes) == "table" and input.Includes or {}
  local types = type(includes.keyTypes) == "table" and set_of(includes.keyTypes)
  local statuses = type(input.CertificateStatuses) == "table" and set_of(input.CertificateStatuses)
  if includes.keyTypes and includes.keyTypes ~= json.null then
    for kind in pairs(types or { [""] = true }) do
      if not certificate.key_types[kind] then
        return fail("ValidationException", 400, "1 validation error detected: Value at 'includes.keyTypes' failed to satisfy "
          .. "constraint: Member must satisfy enum value set")
      end
    end
  end
  local found = {}
  for _, record in ipairs(sim.store.acm_list) do
    local kind = record.current.leaf.key_type
    local shown = (types or { RSA_1024 = true, RSA_2048 = true })[kind] and #record.current.leaf.names > 0
    shown = shown and record.created + sim.settings.store_list_lag <= sim.clock:now()
    if shown and record.region == request.region and (not statuses or statuses[status(sim, record)]) then
      found[#found + 1] = record
    end
  end
  return found
end

local function sort(found, input)
  local by, order = input.SortBy, input.SortOrder
  if (by == nil) ~= (order == nil) or (by ~= nil and by ~= "CREATED_AT") then
    return fail("InvalidArgsException", 400, "SortBy and SortOrder must be given together.")
  end
  if order == "DESCENDING" then
    local reversed = {}
    for index = #found, 1, -1 do
      reversed[#reversed + 1] = found[index]
    end
    return reversed
  end
  return found
end

local function list(sim, request, input)
  local found, err = matching(sim, request, input)
  if found then
    found, err = sort(found, input)
  end
  if not found then
    return nil, err
  end
  local size = input.MaxItems or 1000
  if type(size) ~= "number" or size < 1 or size > 1000 or size ~= math.floor(size) then
    return fail("ValidationException", 400, "1 validation error detected: Value at 'maxItems' failed to satisfy constraint")
  end
  local from = 1
  if input.NextToken ~= nil and input.NextToken ~= json.null then
    from = tonumber(tostring(input.NextToken):match("^page%-(%d+)$"))
    if not from then
      return fail("ValidationException", 400, "The provided NextToken is not valid.")
    end
  end
  local items = json.list()
  for index = from, math.min(#found, from + size - 1) do
    items[#items + 1] = summary(sim, found[index])
  end
  return protocol.json { CertificateSummaryList = items, NextToken = from + size <= #found and "page-" .. from + size or nil }
end

-- ── deletion and tags ───────────────────────────────────────────────────────────────────────────────────────

local function delete(sim, request, input)
  local record, err = find(sim, request, input)
  if not record then
    return nil, err
  end
  if not store.delete_certificate(sim, record) then
    return fail("ResourceInUseException", 400, "Certificate " .. record.reference .. " is in use.")
  end
  return protocol.json(nil)
end

local function add_tags(sim, request, input)
  local record, err = find(sim, request, input)
  local tags
  if record then
    tags, err = read_tags(input)
  end
  if not tags then
    return nil, err
  elseif #tags == 0 then
    return fail("ValidationException", 400, "1 validation error detected: Value at 'tags' failed to satisfy constraint: "
      .. "Member must not be null")
  end
  tags = merged(record.tags, tags)
  if not tags then
    return fail("TooManyTagsException", 400, "The certificate would have too many tags.")
  end
  record.tags = tags
  return protocol.json(nil)
end

local function remove_tags(sim, request, input)
  local record, err = find(sim, request, input)
  if not record then
    return nil, err
  end
  local kept = {}
  for _, tag in ipairs(record.tags) do
    local drop = false
    for _, named in ipairs(type(input.Tags) == "table" and input.Tags or {}) do
      drop = drop or named.Key == tag.Key and (named.Value == nil or named.Value == json.null or named.Value == tag.Value)
    end
    kept[#kept + 1] = not drop and tag or nil
  end
  record.tags = kept
  return protocol.json(nil)
end

local function list_tags(sim, request, input)
  local record, err = find(sim, request, input)
  if not record then
    return nil, err
  end
  return protocol.json { Tags = json.copied(record.tags) }
end

local operations = {
  ImportCertificate = import_certificate, DescribeCertificate = describe, GetCertificate = get, ListCertificates = list,
  DeleteCertificate = delete, AddTagsToCertificate = add_tags, RemoveTagsFromCertificate = remove_tags,
  ListTagsForCertificate = list_tags,
}

---@return string operation
---@return function? handler   (sim, request, input)
---@return string? resource
function M.route(request)
  local name = request.target:match("^CertificateManager%.(%w+)$") or "Unknown"
  local arn = request.input.CertificateArn
  return name, operations[name], type(arn) == "string" and arn or nil
end

return M
