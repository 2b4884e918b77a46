-- S3 as a place for journals and locks: buckets, objects, conditional writes, listings by page. REST-XML.
-- Buckets are of the whole AWS, not of an account: others reach them where their owner allows it.
local crypto = require "certrotate.simulator.crypto"
local protocol = require "certrotate.simulator.protocol"
local sigv4 = require "certrotate.simulator.sigv4"
local time = require "certrotate.simulator.time"
local xml = require "certrotate.simulator.xml"

local M = {}

local fail = protocol.fail
local NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
local TOLERANCE = 900
local NOT_IMPLEMENTED = { code = "NotImplemented", status = 501,
  message = "A header you provided implies functionality that is not implemented" }

---@class certrotate.simulator.Bucket
---@field name string
---@field region string
---@field account string               its owner
---@field allow table<string, true>    other accounts a bucket policy lets in
---@field objects table<string, { body: string, etag: string, modified: number, content_type: string, by: string }>

--- Makes a bucket.
---@return certrotate.simulator.Bucket? bucket
---@return certrotate.simulator.Failure?
function M.create(sim, name, region, account)
  if not name:match("^[a-z0-9][a-z0-9.-]+[a-z0-9]$") or #name > 63 then
    return fail("InvalidBucketName", 400, "The specified bucket is not valid.")
  elseif sim.buckets[name] then
    local own = sim.buckets[name].account == account
    return fail(own and "BucketAlreadyOwnedByYou" or "BucketAlreadyExists", 409, "The requested bucket name is not available.")
  end
  local bucket = { name = name, region = region, account = account, allow = {}, objects = {} }
  sim.buckets[name] = bucket
  return bucket
end

--- A bucket of this account, as a control request describes it.
---@param given { name: string, region?: string, allow?: string[] }
---@return boolean? ok
---@return string? err
function M.add(sim, given)
  if type(given.name) ~= "string" then
    return nil, "name: a bucket's name expected"
  end
  local bucket, err = M.create(sim, given.name, given.region or sim.options.region or "us-east-1", sim.options.account_id)
  if not bucket then
    return nil, err.message
  end
  for _, account in ipairs(given.allow or {}) do
    bucket.allow[account] = true
  end
  return true
end

--- Every bucket's objects.
function M.report(sim)
  local buckets = {}
  for name, bucket in pairs(sim.buckets) do
    local objects = {}
    for key, object in pairs(bucket.objects) do
      objects[key] = { body = object.body, etag = object.etag, modified = object.modified, by = object.by }
    end
    buckets[name] = { region = bucket.region, account = bucket.account, objects = objects }
  end
  return { buckets = buckets }
end

-- ── who may ─────────────────────────────────────────────────────────────────────────────────────────────────

--- Whether a request is S3's: AWS tells by the host, here all services share one, so it is what it is signed for.
function M.claims(request)
  local authorization = request.headers.authorization
  return type(authorization) == "string" and authorization:find("/s3/aws4_request", 1, true) ~= nil
end

--- What S3 wants of a signature beyond what all services want. Nil, or the failure.
---@return certrotate.simulator.Failure?
function M.refuse_unhashed(request)
  local claimed = request.headers["x-amz-content-sha256"]
  if type(claimed) ~= "string" then
    return { code = "InvalidRequest", status = 400,
      message = "Missing required header for this request: x-amz-content-sha256" }
  elseif claimed:match("^STREAMING%-") and not sigv4.unhashed[claimed] then
    return NOT_IMPLEMENTED
  end
end

-- The codes of sigv4.lua are those of the other XML services.
local spelled = { InvalidClientTokenId = { "InvalidAccessKeyId", 403,
                    "The AWS Access Key Id you provided does not exist in our records." },
                  ExpiredToken = { "ExpiredToken", 400, "The provided token has expired." },
                  MissingAuthenticationToken = { "AccessDenied", 403, "Access Denied" },
                  IncompleteSignature = { "AuthorizationHeaderMalformed", 400,
                    "The authorization header that you provided is not valid." } }

--- A signature's failure as S3 tells it.
---@param sim certrotate.simulator.Simulation
---@param failure certrotate.simulator.Failure
---@return certrotate.simulator.Failure
function M.failure(sim, failure)
  local known, message = spelled[failure.code], failure.message or ""
  if known then
    return { code = known[1], status = known[2], message = known[3] }
  elseif message:find("^Signature expired") or message:find("^Signature not yet current") then
    return { code = "RequestTimeTooSkewed", status = 403,
      message = "The difference between the request time and the current time is too large.",
      more = xml.element("ServerTime", time.iso(sim.clock:wall())) .. xml.element("MaxAllowedSkewMilliseconds", "900000") }
  elseif message:find("x-amz-content-sha256' header does not match", 1, true) then
    return { code = "XAmzContentSHA256Mismatch", status = 400, message = failure.message }
  end
  return { code = failure.code, status = 403, message = failure.message }
end

M.TOLERANCE = TOLERANCE

-- The bucket of a request; or why not.
local function bucket_of(sim, request)
  local bucket = sim.buckets[request.bucket]
  if not bucket then
    return fail("NoSuchBucket", 404, "The specified bucket does not exist")
  elseif bucket.region ~= request.region then
    local more = { headers = { ["x-amz-bucket-region"] = bucket.region } }
    if sim.settings.s3_wrong_region == "malformed" then
      more.code, more.status = "AuthorizationHeaderMalformed", 400
      more.message = ("The authorization header is malformed; the region '%s' is wrong; expecting '%s'"):format(
        request.region, bucket.region)
      more.more = xml.element("Region", bucket.region)
    else
      more.code, more.status = "PermanentRedirect", 301
      more.message = "The bucket you are attempting to access must be addressed using the specified endpoint. Please send "
        .. "all future requests to this endpoint."
      more.more = xml.element("Endpoint", ("%s.s3.%s.amazonaws.com"):format(bucket.name, bucket.region))
        .. xml.element("Bucket", bucket.name)
    end
    return nil, more
  end
  local account = sim.options.account_id
  local expected = request.headers["x-amz-expected-bucket-owner"]
  if account ~= bucket.account and not bucket.allow[account] or expected and expected ~= bucket.account then
    return fail("AccessDenied", 403, "Access Denied")
  end
  return bucket
end

-- ── objects ─────────────────────────────────────────────────────────────────────────────────────────────────

local function precondition(condition)
  return nil, { code = "PreconditionFailed", status = 412, more = xml.element("Condition", condition),
    message = "At least one of the pre-conditions you specified did not hold" }
end

local function no_such_key(request)
  return nil, { code = "NoSuchKey", status = 404, message = "The specified key does not exist.",
    more = xml.element("Key", request.key) }
end

-- AWS's own examples send the ETag with quotes and without.
local function same(etag, given)
  return given == "*" or etag == given or etag == '"' .. given .. '"'
end

local function matches(request, object)
  local wanted = request.headers["if-match"]
  if wanted and not object then
    return no_such_key(request)
  elseif wanted and not same(object.etag, wanted) then
    return precondition("If-Match")
  end
  return true
end

-- The bytes of a body, which newer SDKs send in chunks with a checksum behind ("aws-chunked"); nil when it is malformed.
local function content(request)
  local encoding = request.headers["content-encoding"]
  if type(encoding) ~= "string" or not encoding:find("aws-chunked", 1, true) then
    return request.body
  end
  local parts, at, body = {}, 1, request.body
  while true do
    local _, stop, size = body:find("^(%x+)[^\r\n]*\r\n", at)
    local length = size and tonumber(size, 16)
    if not length or stop + length > #body then
      return nil
    elseif length == 0 then
      break
    end
    parts[#parts + 1] = body:sub(stop + 1, stop + length)
    at = stop + length + 3
  end
  local whole = table.concat(parts)
  return tonumber(request.headers["x-amz-decoded-content-length"]) == #whole and whole or nil
end

local function put_object(sim, request)
  local bucket, err = bucket_of(sim, request)
  if not bucket then
    return nil, err
  end
  local object = bucket.objects[request.key]
  local absent = request.headers["if-none-match"]
  if absent and absent ~= "*" then
    return nil, NOT_IMPLEMENTED
  elseif absent and object then
    return precondition("If-None-Match")
  end
  local ok
  ok, err = matches(request, object)
  if not ok then
    return nil, err
  end
  local body = content(request)
  if not body then
    return fail("IncompleteBody", 400, "The request body terminated unexpectedly")
  end
  local etag = '"' .. crypto.sha256_hex(body):sub(1, 32) .. '"'
  bucket.objects[request.key] = { body = body, etag = etag, modified = sim.clock:wall(),
    content_type = request.headers["content-type"] or "binary/octet-stream", by = sim.options.account_id }
  sim.record:effect("objects_put")
  return { status = 200, headers = { ETag = etag }, body = "" }
end

local function get_object(sim, request)
  local bucket, err = bucket_of(sim, request)
  local object = bucket and bucket.objects[request.key]
  if not bucket then
    return nil, err
  elseif not object then
    return no_such_key(request)
  end
  local ok
  ok, err = matches(request, object)
  if not ok then
    return nil, err
  end
  return { status = 200, body = object.body, headers = { ETag = object.etag, ["Content-Type"] = object.content_type,
    ["Last-Modified"] = time.http(object.modified), ["Accept-Ranges"] = "bytes" } }
end

local function delete_object(sim, request)
  local bucket, err = bucket_of(sim, request)
  local ok = bucket
  if bucket then
    ok, err = matches(request, bucket.objects[request.key])
  end
  if not ok then
    return nil, err
  end
  bucket.objects[request.key] = nil
  sim.record:effect("objects_deleted")
  return { status = 204, headers = {}, body = "" }
end

-- ── listing ─────────────────────────────────────────────────────────────────────────────────────────────────

local function to_token(key)
  return (key:gsub(".", function(byte)
    return ("%02x"):format(byte:byte())
  end))
end

local function from_token(token)
  return (token:gsub("%x%x", function(hex)
    return string.char(tonumber(hex, 16))
  end))
end

local function list_objects(sim, request)
  local bucket, err = bucket_of(sim, request)
  if not bucket then
    return nil, err
  end
  local query, keys = request.query, {}
  local prefix, token = query.prefix or "", query["continuation-token"]
  local after = token and from_token(token) or query["start-after"] or ""
  local most = math.min(tonumber(query["max-keys"]) or 1000, sim.settings.s3_max_keys)
  local newest = sim.clock:wall() - sim.settings.s3_list_lag
  for key, object in pairs(bucket.objects) do
    if key:sub(1, #prefix) == prefix and key > after and (sim.settings.s3_list_lag == 0 or object.modified <= newest) then
      keys[#keys + 1] = key
    end
  end
  table.sort(keys)
  local out, more = {}, #keys > most
  for index = 1, math.min(most, #keys) do
    local key = keys[index]
    local object = bucket.objects[key]
    out[index] = table.concat {
      "<Contents>", xml.element("Key", key), xml.element("LastModified", time.iso_ms(object.modified)),
      xml.element("ETag", object.etag), xml.element("Size", #object.body), xml.element("StorageClass", "STANDARD"),
      "</Contents>",
    }
  end
  return { status = 200, headers = { ["Content-Type"] = "application/xml" }, body = table.concat {
    '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="', NAMESPACE, '">', xml.element("Name", bucket.name),
    xml.element("Prefix", prefix), token and xml.element("ContinuationToken", token) or "",
    more and xml.element("NextContinuationToken", to_token(keys[most])) or "", xml.element("KeyCount", #out),
    xml.element("MaxKeys", most), xml.element("IsTruncated", tostring(more)), table.concat(out), "</ListBucketResult>",
  } }
end

local function create_bucket(sim, request)
  local document = request.body ~= "" and xml.parse(request.body)
  local region = document and xml.value(document, "LocationConstraint") or "us-east-1"
  local bucket, err = M.create(sim, request.bucket, region, sim.options.account_id)
  if not bucket then
    return nil, err
  end
  return { status = 200, headers = { Location = "/" .. bucket.name }, body = "" }
end

local function head_bucket(sim, request)
  local bucket, err = bucket_of(sim, request)
  if not bucket then
    return nil, err
  end
  return { status = 200, headers = { ["x-amz-bucket-region"] = bucket.region }, body = "" }
end

-- ── dispatch ────────────────────────────────────────────────────────────────────────────────────────────────

local of_object = { GET = { "GetObject", get_object }, HEAD = { "HeadObject", get_object },
  PUT = { "PutObject", put_object }, DELETE = { "DeleteObject", delete_object } }
local of_bucket = { HEAD = { "HeadBucket", head_bucket }, PUT = { "CreateBucket", create_bucket } }

--- Path style only: the bucket comes first in the path.
---@return string operation
---@return function? handler
---@return string? resource   "bucket/key"
function M.route(request)
  local path = request.path:gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end)
  request.bucket, request.key = path:match("^/([^/]+)/?(.*)$")
  request.bucket, request.key = request.bucket or "", request.key or ""
  local found
  if request.key ~= "" then
    found = of_object[request.method]
  elseif request.method == "GET" and request.query["list-type"] == "2" then
    found = { "ListObjectsV2", list_objects }
  else
    found = of_bucket[request.method]
  end
  if not found then
    return "Unknown", function()
      return nil, NOT_IMPLEMENTED
    end
  end
  return found[1], found[2], request.key ~= "" and request.bucket .. "/" .. request.key or request.bucket
end

return M
