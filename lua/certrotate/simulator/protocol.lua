-- How the simulated services spell answers and errors: rest-xml, query and JSON 1.1. Pure.
local json = require "certrotate.simulator.json"
local xml = require "certrotate.simulator.xml"

local M = {}

---@class certrotate.simulator.Answer
---@field status integer
---@field headers table<string,string>
---@field body string

---@class certrotate.simulator.Failure   what an operation returns as its second value
---@field code string        without the JSON services' "Exception" where protocol.lua knows the pair
---@field status? integer
---@field message? string
---@field more? string       S3: further elements of the error
---@field headers? table     S3

--- A failure of an operation: `return protocol.fail("NoSuchEntity", 404, "…")`
---@return nil
---@return certrotate.simulator.Failure
function M.fail(code, status, message)
  return nil, { code = code, status = status, message = message }
end

M.namespaces = {
  cloudfront = "http://cloudfront.amazonaws.com/doc/2020-05-31/",
  iam = "https://iam.amazonaws.com/doc/2010-05-08/",
  sts = "https://sts.amazonaws.com/doc/2011-06-15/",
}

-- Codes that any service may answer: status, and the JSON services' spelling.
local common = {
  SignatureDoesNotMatch = { 403, "InvalidSignatureException" },
  InvalidClientTokenId = { 403, "UnrecognizedClientException" },
  ExpiredToken = { 403, "ExpiredTokenException" },
  MissingAuthenticationToken = { 403, "MissingAuthenticationTokenException" },
  IncompleteSignature = { 400, "IncompleteSignatureException" },
  AccessDenied = { 403, "AccessDeniedException" },
  Throttling = { 400, "ThrottlingException" },
  ServiceUnavailable = { 503, "ServiceUnavailable" },
  InternalError = { 500, "InternalFailure" },
  UnknownOperation = { 400, "UnknownOperationException" },
}

local shapes = { acm = "com.amazonaws.acm#", servicequotas = "com.amazonaws.servicequotas.v20190624#" }

local function json_error(request, failure, settings)
  local known = common[failure.code]
  local code = known and known[2] or failure.code
  local body = { __type = (known and "com.amazon.coral.service#" or shapes[request.service] or "") .. code }
  body[settings.json_message_key] = failure.message
  local status = failure.status or known and known[1] or 400
  if failure.code == "IncompleteSignature" then
    status = 403
  end
  return { status = status, headers = { ["Content-Type"] = "application/x-amz-json-1.1" }, body = json.encode(body) }
end

local function xml_error(request, failure)
  local known = common[failure.code]
  local status = failure.status or known and known[1] or 400
  if failure.code == "ExpiredToken" and request.service == "sts" then
    status = 400
  end
  local namespace = M.namespaces[request.service] or M.namespaces.cloudfront
  local body = table.concat {
    request.service == "cloudfront" and '<?xml version="1.0"?>\n' or "",
    ('<ErrorResponse xmlns="%s"><Error>'):format(namespace),
    xml.element("Type", status < 500 and "Sender" or "Receiver"),
    xml.element("Code", failure.code),
    failure.message and xml.element("Message", failure.message) or "",
    "</Error>", xml.element("RequestId", request.id), "</ErrorResponse>",
  }
  return { status = status, headers = { ["Content-Type"] = "text/xml" }, body = body }
end

-- S3's error stands bare, with what belongs to it beside the code.
local function s3_error(request, failure)
  local code = failure.code == "Throttling" and "SlowDown" or failure.code
  local known = common[failure.code]
  local headers = { ["Content-Type"] = "application/xml" }
  for name, value in pairs(failure.headers or {}) do
    headers[name] = value
  end
  local message = code == "SlowDown" and "Please reduce your request rate." or failure.message or code
  return { status = failure.status or code == "SlowDown" and 503 or known and known[1] or 400, headers = headers,
    body = table.concat { '<?xml version="1.0" encoding="UTF-8"?>\n<Error>', xml.element("Code", code),
      xml.element("Message", message), failure.more or "", xml.element("RequestId", request.id),
      xml.element("HostId", "c2ltdWxhdG9y"), "</Error>" } }
end

--- The answer that tells of a failure.
---@return certrotate.simulator.Answer
function M.error(request, failure, settings)
  local spell = request.protocol == "json" and json_error or request.protocol == "s3" and s3_error or xml_error
  local answer = spell(request, failure, settings)
  answer.code = failure.code
  return answer
end

--- JSON 1.1 success. `nil`: 200 with an empty body, as DeleteCertificate.
---@return certrotate.simulator.Answer
function M.json(value)
  return { status = 200, headers = { ["Content-Type"] = "application/x-amz-json-1.1" },
    body = value and json.encode(value) or "" }
end

--- Query success: `<OpResponse><OpResult>…`; no result element without a result.
---@return certrotate.simulator.Answer
function M.query(request, result)
  local name = request.operation
  return { status = 200, headers = { ["Content-Type"] = "text/xml" }, body = table.concat {
    ('<%sResponse xmlns="%s">'):format(name, M.namespaces[request.service]),
    result and ("<%sResult>%s</%sResult>"):format(name, result, name) or "",
    "<ResponseMetadata>", xml.element("RequestId", request.id), "</ResponseMetadata>",
    "</", name, "Response>",
  } }
end

--- rest-xml success; the body's root must carry the namespace.
---@return certrotate.simulator.Answer
function M.xml(body, headers, status)
  headers = headers or {}
  headers["Content-Type"] = "text/xml"
  return { status = status or 200, headers = headers, body = body }
end

return M
