--- A journal in S3. S3 cannot append, so a journal is a chain of objects, KEY/000001.jsonl and on: each is written once,
-- whole, under the condition that it is not there (If-None-Match), and is durable when S3 has answered. Nothing is torn,
-- and nobody can write behind another's back: whoever finds the next number taken has been overtaken, and stops.
--
-- A segment's first line says which it is and who wrote it; the rest are the journal's lines. What several tasks record
-- while a segment is on its way goes into the next one together.
local bucket_module = require("certrotate.rotation.s3.bucket")
local errors = require("certrotate.errors")
local json = require("certrotate.json")

local M = {}

-- Segments fetched side by side.
local PARALLEL = 8
local MOST = 999999

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
  if rest:sub(-1) ~= "\n" then return nil end
  return head, rest
end

-- Nil without an error: it is not there.
function Segments:_fetch(number)
  local object, err = self._bucket:get(self:_key(number))
  if object then return object.Body end
  if err.code == "NoSuchKey" then return nil end
  return nil, bucket_module.told(err, "read the journal " .. self.path)
end

-- The highest number the listing shows. It may lag behind in stores that only resemble S3: it is a lower bound here.
function Segments:_listed()
  local prefix = self._bucket.location.key .. "/"
  local objects, err = self._bucket:list(prefix)
  if not objects then return nil, bucket_module.told(err, "read the journal " .. self.path) end
  local most = 0
  for _, object in ipairs(objects) do
    local name = type(object.Key) == "string" and object.Key:sub(1, #prefix) == prefix and object.Key:sub(#prefix + 1) or ""
    most = math.max(most, tonumber(name:match("^(%d%d%d%d%d%d)%.jsonl$") or 0, 10))
  end
  return most
end

--- The whole text, "" where there is no journal yet.
---@return string?
---@return certrotate.Error?
function Segments:read()
  local count, err = self:_listed()
  if not count then return nil, err end
  local numbers, parts = {}, {}
  for number = 1, count do numbers[number] = number end
  local bodies
  bodies, err = self._bucket.loop:shielded(function()
    return self._bucket.loop:each(numbers, PARALLEL, function(number)
      local body, why = self:_fetch(number)
      if why then return nil, why end
      return body or false
    end)
  end)
  if not bodies then return nil, err end
  -- What the listing does not show yet.
  while count < MOST do
    local body, why = self:_fetch(count + 1)
    if why then return nil, why end
    if not body then break end
    count = count + 1
    bodies[count] = body
  end
  for number = 1, count do
    if not bodies[number] then return self:_malformed(number, "is missing, and later ones are there") end
    local head, text = split(bodies[number], number)
    if not head then return self:_malformed(number, "is something else") end
    parts[number] = text
  end
  self._count = count
  return table.concat(parts)
end

-- Another's segment stands where the next one was to go.
function Segments:_overtaken(head)
  return nil, errors.new({ kind = "policy", code = "JournalOvertaken",
    message = ("another run goes on with %s (%s): this one stops, nothing is lost; `certrotate status` shows how far it is")
      :format(self.path, bucket_module.name(head and head.writer)) })
end

function Segments:_write(text)
  while self._count < MOST do
    local number = self._count + 1
    local body = json.encode({ certrotate_segment = number, writer = self._writer }) .. "\n" .. text
    local done, err = self._bucket:put(self:_key(number), body, { absent = true })
    if done then
      self._count = number
      return true
    end
    if err.code ~= "PreconditionFailed" then return nil, bucket_module.told(err, "write the journal " .. self.path) end
    local there, why = self:_fetch(number)
    if why then return nil, why end
    local head = there and split(there, number)
    if not head or type(head.writer) ~= "table" or head.writer.id ~= self._writer.id then return self:_overtaken(head) end
    -- Our own, whose answer was lost: this very text, or one that was given up on.
    self._count = number
    if there == body then return true end
  end
  return self:_malformed(MOST, "is the last there can be")
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
