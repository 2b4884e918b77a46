--- `s3://[PROFILE@]BUCKET/KEY`: where a journal and the leases beside it are. Pure.
--
-- The profile is the one whose credentials (and region) reach the bucket, where those of the rotation do not: a bucket
-- that belongs to another account. Without one the rotation's own session is used.
local errors = require("certrotate.errors")

local M = {}

---@class certrotate.S3Location
---@field text string        as given
---@field profile? string
---@field bucket string
---@field key string         without a slash at either end

--- Whether a text means S3 rather than a file.
---@param text any
---@return boolean
function M.is(text) return type(text) == "string" and text:find("^s3://") ~= nil end

local function problem_of(profile, bucket, key)
  if profile and not profile:find("^[%w_.+-]+$") then return "the profile's name is malformed" end
  if #bucket < 3 or #bucket > 63 or not bucket:find("^[a-z0-9][a-z0-9.-]*[a-z0-9]$") or bucket:find("..", 1, true) then
    return "the bucket's name is malformed"
  end
  if key == "" then return "the name behind the bucket is missing" end
  -- Characters that mean the same in a URL, an XML listing and a shell.
  if #key > 900 or not key:find("^[%w!_.*'()/-]+$") then
    return "the name may have letters, digits and ! _ . * ' ( ) / - only, 900 at most"
  end
  for segment in (key .. "/"):gmatch("([^/]*)/") do
    if segment == "" or segment == "." or segment == ".." then return "the name has an empty part, '.' or '..'" end
  end
end

---@param text string
---@return certrotate.S3Location?
---@return certrotate.Error?
function M.parse(text)
  local authority, key = text:match("^s3://([^/]*)/?(.*)$")
  local profile, bucket = authority:match("^(.*)@(.*)$")
  bucket = bucket or authority
  local problem = problem_of(profile, bucket, key)
  if problem then
    return nil, errors.new({ kind = "input", code = "MalformedLocation",
      message = ("%s: %s; s3://BUCKET/NAME or s3://PROFILE@BUCKET/NAME expected"):format(text, problem) })
  end
  return { text = text, profile = profile, bucket = bucket, key = key }
end

--- Where the leases of rotations are whose journals lie side by side.
---@param location certrotate.S3Location
---@return string
function M.locks(location)
  local folder = location.key:match("^(.*/)[^/]*$") or ""
  return ("s3://%s%s/%slocks"):format(location.profile and location.profile .. "@" or "", location.bucket, folder)
end

return M
