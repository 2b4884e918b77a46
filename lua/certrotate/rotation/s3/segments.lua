--- A journal in S3. S3 cannot append, so a journal is a chain of objects, KEY/000001.jsonl and on: each is written once,
-- whole, under the condition that it is not there (If-None-Match), and is durable when S3 has answered. Nothing is torn,
-- and nobody can write behind another's back: whoever finds the next number taken has been overtaken, and stops.
--
-- A segment's first line says which it is and who wrote it; the rest are the journal's lines. What several tasks record
-- while a segment is on its way goes into the next one together.
--
-- A long chain is made short: the first segment is written anew with the lines of all (`covers` says up to which), under
-- the condition that it is still the one that was read, and only then are the others deleted. Whatever stops in between
-- leaves segments nobody reads, until the next time. But a number that was deleted is free again, and somebody who was
-- overtaken long ago would not find it taken: so whoever writes looks at the first segment too, the first time and
-- whenever it has not for VERIFY seconds. Within those nobody else can have come so far: from when a holder of a lease
-- must have stopped until somebody else may take it, more time goes by (lease.lua).
local bucket_module = require("certrotate.rotation.s3.bucket")
local elapsed = require("certrotate.rotation.s3.elapsed")
local errors = require("certrotate.errors")
local json = require("certrotate.json")

local M = {}

-- Segments fetched, or deleted, side by side.
M.PARALLEL = 8
local MOST = 999999
local VERIFY = 60
-- A chain with so many segments behind its first is made short while the rotation goes on.
M.LONG = 64
-- Not more than an answer may have.
local MOST_BYTES = 4 * 1024 * 1024
local TRIES = 5

---@class certrotate.S3Segments
---@field path string
local Segments = {}
Segments.__index = Segments
Segments.__name = "certrotate.S3Segments"

--- Opens the chain of a location; sends nothing.
---@param aws certrotate.Session
---@param path string
---@return certrotate.S3Segments?
---@return certrotate.Error?
function M.open(aws, path)
  local bucket, err = bucket_module.open(aws, path)
  if not bucket then return nil, err end
  local writer
  writer, err = bucket_module.writer()
  if not writer then return nil, err end
  return setmetatable({ path = path, _bucket = bucket, _writer = writer, _count = nil }, Segments)
end

function Segments:_key(number) return ("%s/%06d.jsonl"):format(self._bucket.location.key, number) end

function Segments:_malformed(number, problem)
  return nil, errors.new({ kind = "input", code = "MalformedJournal",
    message = ("%s: segment %06d %s; this is not a journal certrotate can resume"):format(self.path, number, problem) })
end

-- Takes a segment apart: its first line, and the journal's lines behind it.
local function split(body, number)
  local first, rest = body:match("^([^\n]*)\n(.*)$")
  local head = first and json.decode(first)
  if type(head) ~= "table" or head.certrotate_segment ~= number then return nil end
  local covers = head.covers
  if covers ~= nil and (number > 1 or type(covers) ~= "number" or covers < 1 or covers > MOST or covers % 1 ~= 0) then
    return nil
  end
  if rest:sub(-1) ~= "\n" then return nil end
  return head, rest
end

-- Nil without an error: it is not there.
function Segments:_fetch(number)
  local object, err = self._bucket:get(self:_key(number))
  if object then return object end
  if err.code == "NoSuchKey" then return nil end
  return nil, bucket_module.told(err, "read the journal " .. self.path)
end

-- The ETags of what the listing shows, by number, and the highest number. It may lag behind in stores that only resemble
-- S3: that is a lower bound here.
function Segments:_listed()
  local prefix = self._bucket.location.key .. "/"
  local objects, err = self._bucket:list(prefix)
  if not objects then return nil, bucket_module.told(err, "read the journal " .. self.path) end
  local listed, most = {}, 0
  for _, object in ipairs(objects) do
    local name = type(object.Key) == "string" and object.Key:sub(1, #prefix) == prefix and object.Key:sub(#prefix + 1) or ""
    local number = tonumber(name:match("^(%d%d%d%d%d%d)%.jsonl$") or 0, 10)
    if number > 0 then listed[number], most = object.ETag or "", math.max(most, number) end
  end
  return listed, most
end

-- Those behind the first, as far as they go; a number where one is missing.
function Segments:_behind(covers, most)
  local numbers, objects = {}, {}
  for number = covers + 1, most do numbers[#numbers + 1] = number end
  local got, err = self._bucket.loop:shielded(function()
    return self._bucket.loop:each(numbers, M.PARALLEL, function(number)
      local object, why = self:_fetch(number)
      if why then return nil, why end
      return object or false
    end)
  end)
  if not got then return nil, err end
  for index, number in ipairs(numbers) do
    if not got[index] then return {}, nil, number end
    objects[number] = got[index]
  end
  -- What the listing does not show yet.
  local count = math.max(covers, most)
  while count < MOST do
    local object, why = self:_fetch(count + 1)
    if why then return nil, why end
    if not object then break end
    count = count + 1
    objects[count] = object
  end
  return objects, nil, nil, count
end

-- The chain as it is: its text, how many, the first one, and the ETags of all others that are there.
function Segments:_gather()
  local missing
  for _ = 1, TRIES do
    local listed, most = self:_listed()
    if not listed then return nil, most end
    local first, err = self:_fetch(1)
    if err then return nil, err end
    if not first then
      if most > 0 then return self:_malformed(1, "is missing, and later ones are there") end
      return { text = "", count = 0, others = {} }
    end
    local head, text = split(first.Body, 1)
    if not head then return self:_malformed(1, "is something else") end
    local covers = head.covers or 1
    local objects, why, hole, count = self:_behind(covers, most)
    if not objects then return nil, why end
    -- Missing is what somebody has put into the first one since that was read.
    if hole and hole == missing then return self:_malformed(hole, "is missing, and later ones are there") end
    missing = hole
    if not hole then
      local parts = { text }
      listed[1] = nil
      for number = covers + 1, count do
        local own, lines = split(objects[number].Body, number)
        if not own then return self:_malformed(number, "is something else") end
        parts[#parts + 1], listed[number] = lines, objects[number].ETag
      end
      return { text = table.concat(parts), count = count, first = { ETag = first.ETag, covers = covers }, others = listed }
    end
  end
  return self:_malformed(missing, "is missing, and later ones are there")
end

--- Whether there is a journal, by one look.
---@return boolean?
---@return certrotate.Error?
function Segments:exists()
  local first, err = self:_fetch(1)
  if err then return nil, err end
  return first ~= nil
end

--- The whole text, "" where there is no journal yet.
---@return string?
---@return certrotate.Error?
function Segments:read()
  local found, err = self:_gather()
  if not found then return nil, err end
  self._count, self._first, self._seen = found.count, found.first, nil
  self._left = false
  for number in pairs(found.others) do
    if number <= found.first.covers then self._left = true end
  end
  return found.text
end

-- Another's segment stands where the next one was to go.
function Segments:_overtaken(head)
  return nil, errors.new({ kind = "policy", code = "JournalOvertaken",
    message = ("another run goes on with %s (%s): this one stops, nothing is lost; `certrotate status` shows how far it is")
      :format(self.path, bucket_module.name(head and head.writer)) })
end

-- Whether the segment just written is one that will be read; see above.
function Segments:_counts(number, asked)
  if self._seen and elapsed.since(self._seen) < VERIFY then return true end
  local first, err = self:_fetch(1)
  if err then return nil, err end
  if not first then return self:_overtaken() end
  if first.ETag ~= self._first.ETag then
    local head = split(first.Body, 1)
    if not head then return self:_malformed(1, "is something else") end
    if (head.covers or 1) >= number then return self:_overtaken(head) end
    self._first = { ETag = first.ETag, covers = head.covers or 1 }
  end
  self._seen = asked
  return true
end

-- Written, by this very call or one whose answer was lost.
function Segments:_written(number, etag, asked)
  self._count = number
  if number == 1 then self._first, self._seen = { ETag = etag, covers = 1 }, asked end
  local ok, err = self:_counts(number, asked)
  if not ok then return nil, err end
  -- That it could not be made short now is no harm.
  local length = number - self._first.covers
  if length > 0 and length % M.LONG == 0 then self:_compact() end
  return true
end

function Segments:_write(text)
  while self._count < MOST do
    local number = self._count + 1
    local body = json.encode({ certrotate_segment = number, writer = self._writer }) .. "\n" .. text
    local asked = elapsed.now()
    local done, err = self._bucket:put(self:_key(number), body, { absent = true })
    if done then return self:_written(number, done.ETag, asked) end
    if err.code ~= "PreconditionFailed" then return nil, bucket_module.told(err, "write the journal " .. self.path) end
    local there, why = self:_fetch(number)
    if why then return nil, why end
    local head = there and split(there.Body, number)
    if not head or type(head.writer) ~= "table" or head.writer.id ~= self._writer.id then return self:_overtaken(head) end
    -- Our own, whose answer was lost: this very text, or one that was given up on.
    if there.Body == body then return self:_written(number, there.ETag, asked) end
    self._count = number
    if number == 1 then self._first = { ETag = there.ETag, covers = 1 } end
  end
  return self:_malformed(MOST, "is the last there can be")
end

-- The first segment anew, with the lines of all. Its ETag, or nil and why it is not.
function Segments:_rewrite(found)
  local head = { certrotate_segment = 1, covers = found.count, writer = self._writer }
  local body = json.encode(head) .. "\n" .. found.text
  local done, err = self._bucket:put(self:_key(1), body, { etag = found.first.ETag })
  if done then return done.ETag end
  if err.code == "PreconditionFailed" then
    -- Our own, whose answer was lost?
    local there = self:_fetch(1)
    if there and there.Body == body then return there.ETag end
  end
  return nil, bucket_module.told(err, "shorten the journal " .. self.path)
end

function Segments:_compact()
  local found, err = self:_gather()
  if not found then return nil, err end
  if found.count ~= self._count then return self:_overtaken() end
  if found.count > found.first.covers then
    if #found.text > MOST_BYTES then return true end
    local etag
    etag, err = self:_rewrite(found)
    if not etag then return nil, err end
    found.first = { ETag = etag, covers = found.count }
    self._first = found.first
  end
  local covered = {}
  for number in pairs(found.others) do
    if number <= found.first.covers then covered[#covered + 1] = number end
  end
  table.sort(covered)
  local done
  done, err = self._bucket.loop:each(covered, M.PARALLEL, function(number)
    local gone, why = self._bucket:delete(self:_key(number), found.others[number])
    -- Another's doing is theirs.
    if gone or why.code == "NoSuchKey" or why.code == "PreconditionFailed" then return true end
    return nil, bucket_module.told(why, "shorten the journal " .. self.path)
  end)
  if not done then return nil, err end
  self._left = false
  return true
end

--- Makes one object of the chain, for one that nobody adds much to any more. What fails leaves it as whole as it was.
---@return boolean? ok
---@return certrotate.Error?
function Segments:compact()
  if not self._count then error("compact: read first", 2) end
  if self._count == 0 or self._count == self._first.covers and not self._left then return true end
  local loop = self._bucket.loop
  return loop:shielded(function()
    if self._last then loop:await(self._last) end
    return self:_compact()
  end)
end

--- In S3 when it returns.
---@param text string   whole lines
---@return boolean? ok
---@return certrotate.Error?
function Segments:append(text)
  if not self._count then error("append: read first", 2) end
  local loop, batch = self._bucket.loop, self._next
  if not batch then
    batch = { texts = {} }
    self._next = batch
    local before = self._last
    batch.task = loop:spawn(function()
      return loop:shielded(function()
        if before then loop:await(before) end
        if self._next == batch then self._next = nil end
        return self:_write(table.concat(batch.texts))
      end)
    end)
    self._last = batch.task
  end
  batch.texts[#batch.texts + 1] = text
  return loop:shielded(function() return loop:await(batch.task) end)
end

--- Segments are whole or not there: there is nothing to cut.
function Segments:truncate()
  return nil, errors.new({ kind = "input", code = "MalformedJournal",
    message = ("%s ends in the middle of a line, which certrotate never writes; look at its last segment"):format(self.path) })
end

function Segments:close() self._bucket:close() end

return M
