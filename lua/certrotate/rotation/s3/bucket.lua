--- A bucket as seen from here: the calls a journal and a lease need, by key, and who is writing.
--
-- Calls go on through an interrupt (what is done must be recorded, what is held given back) and end after TIMEOUT
-- seconds, retries included.
local core = require("certrotate.core")
local errors = require("certrotate.errors")
local location_module = require("certrotate.rotation.s3.location")

local M = {}

M.TIMEOUT = 60

---@class certrotate.S3Bucket
---@field location certrotate.S3Location
---@field loop certrotate.Loop
---@field session certrotate.Session   the rotation's, or one beside it with the location's profile
local Bucket = {}
Bucket.__index = Bucket
Bucket.__name = "certrotate.S3Bucket"

local WHERE = { PermanentRedirect = true, TemporaryRedirect = true, AuthorizationHeaderMalformed = true }

--- An error of a call in one line that says what could not be done with what.
---@param err certrotate.Error
---@param what string   "read the journal s3://…"
---@return certrotate.Error
function M.told(err, what)
  local hint = WHERE[err.code] and "; pass --region, or name a profile with that region: s3://PROFILE@BUCKET/NAME" or ""
  local told = errors.new({ kind = err.kind, code = err.code, operation = err.operation, status = err.status,
    request_id = err.request_id, retryable = err.retryable, message = ("cannot %s: %s%s"):format(what, err.message, hint) })
  told.cause = err
  return told
end

--- Opens the bucket of a location; sends nothing.
---@param aws certrotate.Session
---@param text string
---@return certrotate.S3Bucket?
---@return certrotate.Error?
function M.open(aws, text)
  local location, err = location_module.parse(text)
  if not location then return nil, err end
  if not aws then
    return nil, errors.new({ kind = "input", code = "NoSession",
      message = ("%s: reading S3 takes a session; journals of this command are files"):format(text) })
  end
  local session, beside = aws.home or aws, nil
  if location.profile then
    beside, err = session:beside({ profile = location.profile })
    if not beside then return nil, err end
    session = beside
  end
  return setmetatable({ location = location, session = session, loop = aws.loop, _beside = beside }, Bucket)
end

function Bucket:_call(method, params)
  params.Bucket = self.location.bucket
  local s3 = self.session.s3
  return self.loop:shielded(function() return s3[method](s3, params, { timeout = M.TIMEOUT }) end)
end

---@return { Body: string, ETag: string, Date: integer, LastModified: integer }?
---@return certrotate.Error?
function Bucket:get(key) return self:_call("get_object", { Key = key }) end

--- Writes under one of two conditions: `absent`, or `etag`.
---@param key string
---@param body string
---@param condition { absent?: boolean, etag?: string }
---@return { ETag: string, Date: integer }?
---@return certrotate.Error?
function Bucket:put(key, body, condition)
  return self:_call("put_object", { Key = key, Body = body, ContentType = "application/json", IfMatch = condition.etag,
                                    IfNoneMatch = condition.absent and "*" or nil })
end

function Bucket:delete(key, etag) return self:_call("delete_object", { Key = key, IfMatch = etag }) end

function Bucket:list(prefix) return self:_call("all_objects", { Prefix = prefix }) end

--- Ends the session beside, if there is one.
function Bucket:close()
  if self._beside then self._beside:close() end
  self._beside = nil
end

local function first_line(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local line = file:read("*l")
  file:close()
  return line
end

---@class certrotate.Writer   who writes: for other machines' messages, and to know one's own writes again
---@field id string           random, of this opening alone
---@field machine string
---@field process? integer
---@field user? string

--- Somebody new: this process, and an id nobody else has.
---@return certrotate.Writer?
---@return certrotate.Error?
function M.writer()
  local file = io.open("/dev/urandom", "rb")
  local bytes = file and file:read(32)
  if file then file:close() end
  if not bytes or #bytes < 32 then
    return nil, errors.new({ kind = "input", code = "NoRandomness", message = "cannot read /dev/urandom: without it two "
      .. "machines could take each other for themselves" })
  end
  local process = first_line("/proc/self/stat")
  return {
    id = core.sha256(bytes):sub(1, 32), machine = first_line("/proc/sys/kernel/hostname") or os.getenv("HOSTNAME") or "unknown",
    process = process and tonumber(process:match("^%d+")), user = os.getenv("USER"),
  }
end

--- A writer in words. What stands in an object may be anything.
---@param writer any
---@return string
function M.name(writer)
  local function plain(value) return (tostring(value):gsub("[%c\128-\255]", "?"):sub(1, 80)) end
  if type(writer) ~= "table" then return "somebody unknown" end
  return ("%s%s%s"):format(writer.user and plain(writer.user) .. "@" or "", plain(writer.machine or "an unknown machine"),
    writer.process and ", process " .. plain(writer.process) or "")
end

return M
