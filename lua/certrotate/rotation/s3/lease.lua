--- Leases: locks in S3 that several machines exclude each other with. A lease is an object; taken with If-None-Match,
-- renewed with If-Match, given back by a conditional delete. Of a run that was killed it ends by itself.
--
-- Nobody's clock is trusted but S3's: whether another's lease is over is S3's Date minus the object's Last-Modified.
-- The holder counts from before it asked, by its own clocks' progress alone, and stops LIMIT seconds later; the taker
-- waits TTL + GRACE. Between the two lies the time a write that was begun may still take.
local bucket_module = require("certrotate.rotation.s3.bucket")
local core = require("certrotate.core")
local elapsed = require("certrotate.rotation.s3.elapsed")
local errors = require("certrotate.errors")
local json = require("certrotate.json")

local M = {}

M.TTL = 300      -- seconds after which a lease that was not renewed is over
M.GRACE = 30     -- and so long more before somebody else takes it: S3's hosts need not agree to the second
M.RENEW = 60     -- it is renewed when it is so old
M.LIMIT = 200    -- its holder begins nothing new when it is so old
local TRIES = 6

---@class certrotate.Lease
---@field reference string
---@field key string
---@field etag string
---@field writer certrotate.Writer
---@field renewed integer
---@field lost? certrotate.Error
local Lease = {}
Lease.__index = Lease
Lease.__name = "certrotate.Lease"

local function body_of(self)
  return json.encode({ certrotate_lease = 1, reference = self.reference, endpoint = self.endpoint, writer = self.writer,
                       ttl = M.TTL, renewed = self.renewed })
end

--- Seconds since it was last certainly ours.
---@return number
function Lease:age() return elapsed.since(self._since) end

local function held(self, there, age)
  local left = math.max(0, M.TTL + M.GRACE - age)
  return nil, errors.new({ kind = "policy", code = "Locked",
    message = ("another run is at work on %s: %s; its lease (%s) was renewed %d s ago and, if that run is dead, is free in %d s")
      :format(self.reference, bucket_module.name(there.writer), self.where, age, left) })
end

-- What the object says; nil and an error when it is no lease.
local function understood(self, object)
  local there = json.decode(object.Body)
  if type(there) ~= "table" or there.certrotate_lease ~= 1 or type(there.writer) ~= "table" then
    return nil, errors.new({ kind = "input", code = "MalformedLease",
      message = ("%s is not a lease of certrotate's; look at it, and delete it if nobody uses it"):format(self.where) })
  end
  return there
end

local function ours(self, etag, before)
  self.etag, self._since = etag, before
  return true
end

-- One try with the object that is there. True: ours. False: it changed meanwhile, look again.
local function contend(self, before)
  local object, err = self._bucket:get(self.key)
  if not object then
    if err.code == "NoSuchKey" then return false end
    return nil, bucket_module.told(err, "lock " .. self.reference)
  end
  local there
  there, err = understood(self, object)
  if not there then return nil, err end
  -- Our own, whose answer was lost.
  if there.writer.id == self.writer.id then return ours(self, object.ETag, before) end
  if not object.Date or not object.LastModified then return held(self, there, 0) end
  local age = math.max(0, object.Date - object.LastModified)
  if age <= M.TTL + M.GRACE then return held(self, there, age) end
  local again = elapsed.now()
  local taken, why = self._bucket:put(self.key, body_of(self), { etag = object.ETag })
  if taken then return ours(self, taken.ETag, again) end
  if why.code == "PreconditionFailed" or why.code == "NoSuchKey" then return false end
  return nil, bucket_module.told(why, "lock " .. self.reference)
end

--- Takes a lease; refused where somebody else has it.
---@param bucket certrotate.S3Bucket   whose location is the folder of leases
---@param endpoint string
---@param reference string
---@param writer certrotate.Writer
---@return certrotate.Lease?
---@return certrotate.Error?
function M.take(bucket, endpoint, reference, writer)
  local key = ("%s/%s.json"):format(bucket.location.key, core.sha256(endpoint .. "\n" .. reference):sub(1, 32))
  local self = setmetatable({ reference = reference, endpoint = endpoint, key = key, writer = writer, renewed = 0,
    where = ("s3://%s/%s"):format(bucket.location.bucket, key), _bucket = bucket }, Lease)
  for _ = 1, TRIES do
    local before = elapsed.now()
    local taken, err = bucket:put(key, body_of(self), { absent = true })
    if taken then
      ours(self, taken.ETag, before)
      return self
    end
    if err.code ~= "PreconditionFailed" then return nil, bucket_module.told(err, "lock " .. reference) end
    local mine
    mine, err = contend(self, before)
    if mine then return self end
    if err then return nil, err end
  end
  return nil, errors.new({ kind = "policy", code = "Locked",
    message = ("other runs take and leave the lease on %s all the time (%s); try again"):format(reference, self.where) })
end

local function lose(self, there)
  self.lost = errors.new({ kind = "policy", code = "LeaseLost",
    message = ("the lease on %s is not this run's any more (%s): it stops before its next change; resume when the other is done")
      :format(self.reference, there and "taken by " .. bucket_module.name(there.writer) or "deleted") })
  return nil, self.lost
end

--- Renews it. A failure is final only where `lost` is set.
---@return boolean? ok
---@return certrotate.Error?
---@param again? boolean   it is the second try already
function Lease:renew(again)
  if self.lost then return nil, self.lost end
  local before = elapsed.now()
  self.renewed = self.renewed + 1
  local done, err = self._bucket:put(self.key, body_of(self), { etag = self.etag })
  if done then return ours(self, done.ETag, before) end
  if err.code ~= "PreconditionFailed" and err.code ~= "NoSuchKey" then
    return nil, bucket_module.told(err, "renew the lease on " .. self.reference)
  end
  local object, why = self._bucket:get(self.key)
  if not object then
    if why.code == "NoSuchKey" then return lose(self) end
    return nil, bucket_module.told(why, "renew the lease on " .. self.reference)
  end
  local there = understood(self, object)
  if not there or there.writer.id ~= self.writer.id then return lose(self, there) end
  -- Ours, by a renewal whose answer was lost. It is not older than that one, but when that was is not known: once more.
  self.etag = object.ETag
  if not again then return self:renew(true) end
  return nil, bucket_module.told(err, "renew the lease on " .. self.reference)
end

--- Whether something new may be begun under it; renews it when it is time.
---@return boolean? ok
---@return certrotate.Error?
function Lease:check()
  if self.lost then return nil, self.lost end
  if self:age() < M.RENEW then return true end
  local ok, err = self:renew()
  if ok or not self.lost and self:age() < M.LIMIT then return true end
  return nil, err
end

--- Gives it back. What fails is left to end by itself.
function Lease:close()
  if self.lost or not self.etag then return end
  local done, err = self._bucket:delete(self.key, self.etag)
  self.etag = nil
  if done or err.code ~= "PreconditionFailed" then return end
  -- Ours still, by a renewal whose answer was lost?
  local object = self._bucket:get(self.key)
  local there = object and understood(self, object)
  if there and there.writer.id == self.writer.id then self._bucket:delete(self.key, object.ETag) end
end

return M
