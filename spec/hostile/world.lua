-- One simulator that many rotations are made on, one after the other, with viewers who watch all the time. Commands run
-- as processes of their own; all waiting is on one descriptor.
local core = require("certrotate.core")
local json = require("certrotate.json")
local command = require("spec.support.command")
local launch = require("certrotate.simulator.launch")
local lease = require("certrotate.rotation.s3.lease")

local World = {}
World.__index = World

local VIEWERS = 12       -- handshakes a second
local LIMIT = 90         -- seconds a command may take on a busy machine
local BUCKET = "rot-journal"

---@return table world
function World.start()
  local simulator, err = launch.start({ distributions = 8, users = 4, vip = 1, propagation = 0.1, jitter = 0.05, http = true,
                                        settings = { vip_quota = 4 } })
  assert(simulator, err)
  local self = setmetatable({ simulator = simulator, directory = command.directory(), waiting = {}, names = {} }, World)
  self.client = assert(core.client({ allow_http = true, max_connections = 16 }))
  self.viewers = assert(core.client({ ca_file = simulator.trust_file }))
  self.old_fingerprint = assert(core.certificate(command.read(simulator.files.old_certificate))).fingerprint
  self.new_fingerprint = assert(core.certificate(command.read(simulator.files.new_certificate))).fingerprint
  self.acceptable = { [self.old_fingerprint] = true, [self.new_fingerprint] = true }
  return self
end

function World:stop()
  self.client:close()
  self.viewers:close()
  self.simulator:stop()
  command.remove(self.directory)
end

-- ── waiting ─────────────────────────────────────────────────────────────────────────────────────────────────

local function look(self)
  local now = core.monotonic()
  if #self.names == 0 or now < (self.next_look or 0) then return end
  self.next_look = now + 1 / VIEWERS
  self.looked = (self.looked or 0) + 1
  local name = self.names[self.looked % #self.names + 1]
  local host, port = self.simulator.edge:match("^(.-):(%d+)$")
  local id = assert(self.viewers:submit({ step = "verify", params = { server_name = name, host = host, port = tonumber(port),
                                                                     timeout = 30 } }))
  self.looking = self.looking or {}
  self.looking[id] = name
end

local function seen(self)
  while true do
    local id, result, err = self.viewers:take()
    if not id then return end
    local name = self.looking[id]
    self.looking[id] = nil
    self.handshakes = self.handshakes + 1
    if not (result and result.trusted and self.acceptable[result.fingerprint]) then
      self.failed[#self.failed + 1] = { name = name, why = err and tostring(err)
        or (result.trusted and "another certificate " or "not trusted ") .. tostring(result.fingerprint):sub(1, 12) }
    end
  end
end

local function turn(self)
  look(self)
  self.client:wait(0.01, self.viewers:pollfd())
  self.viewers:step()
  seen(self)
  while true do
    local id, result, err = self.client:take()
    if not id then return end
    self.waiting[id] = { result = result, err = err }
  end
end

-- Submits and waits; the viewers go on looking.
local function await(self, submission)
  local id = assert(self.client:submit(submission))
  while not self.waiting[id] do turn(self) end
  local done = self.waiting[id]
  self.waiting[id] = nil
  return done.result, done.err
end

--- The simulator's own endpoints.
function World:control(path, body)
  local result, err = await(self, { http = {
    url = self.simulator.http_endpoint .. "/_simulator/" .. path, method = body and "POST" or "GET",
    body = body and json.encode(body) or nil, timeout = 60,
  } })
  assert(result, tostring(err))
  local answer = assert(json.decode(result.body))
  assert(result.status == 200, path .. ": " .. tostring(answer.error))
  return answer
end

-- ── rotations ───────────────────────────────────────────────────────────────────────────────────────────────

-- Every name a viewer may ask for, and whose it is. A tenant's are served as long as its distribution is there.
local function note_names(self)
  self.names, self.owners = {}, {}
  local function note(names, owner, served)
    for _, name in ipairs(names) do
      self.owners[name] = owner
      if served then self.names[#self.names + 1] = name end
    end
  end
  for _, distribution in ipairs(self.before.distributions) do
    note(distribution.aliases, distribution.id, distribution.reference == self.old and distribution.enabled
      and not distribution.staging)
  end
  for _, tenant in ipairs(self.before.tenants) do note(tenant.domains, tenant.distribution, true) end
end

--- A fresh account for one rotation.
---@param fleet table   of the control endpoint `seed`
---@param s3? boolean   the journal and the leases are in S3, and every command runs on a machine of its own
function World:reset(fleet, s3)
  self.count = (self.count or 0) + 1
  self.names = {}
  self:look_at_all() -- nobody of the last account is still on the way
  self.failed, self.handshakes = {}, 0
  local old = self.simulator.old_reference
  if fleet.store == "iam" then old = "ASCA" .. ("%017d"):format(self.count) end
  fleet.reference = old
  self:control("seed", fleet)
  self.old, self.store = old, fleet.store
  self.before = self:control("state")
  note_names(self)
  self.folder = ("%s/%d"):format(self.directory, self.count)
  assert(core.make_directory(self.folder))
  self.journal, self.s3, self.machines = self.folder .. "/journal", s3 or false, 0
  if s3 then
    self:control("buckets", { name = BUCKET })
    self.journal = ("s3://%s/%d/journal"):format(BUCKET, self.count)
  end
end

-- The journal's objects in S3, in order.
local function segments(self)
  local objects, list = self:control("buckets").buckets[BUCKET].objects, {}
  for number = 1, math.huge do
    local object = objects[("%d/journal/%06d.jsonl"):format(self.count, number)]
    if not object then return list end
    list[number] = object.body
  end
end

-- The journal's text so far, "" where there is none.
local function journal_text(self)
  if not self.s3 then return command.read(self.journal) or "" end
  local list = segments(self)
  for number, body in ipairs(list) do list[number] = body:match("^[^\n]*\n(.*)$") end
  return table.concat(list)
end

--- Whether the journal's first line is whole: then there is something to resume, or to roll back.
function World:begun() return journal_text(self):find("\n", 1, true) ~= nil end

--- The plan the journal begins with.
function World:plan() return assert(json.decode(journal_text(self):match("^[^\n]+"))).plan end

--- Who wrote the journal in S3, one after the other: each once, as long as nobody writes behind another's back.
---@return string[]
function World:writers()
  local list = {}
  for number, body in ipairs(self.s3 and segments(self) or {}) do
    local id = assert(json.decode(body:match("^[^\n]*")), "segment " .. number).writer.id
    if list[#list] ~= id then list[#list + 1] = id end
  end
  return list
end

--- So much time passes that the leases of whoever was killed are over.
function World:end_leases() self:control("clock", { advance = lease.TTL + lease.GRACE + 1 }) end

function World:apply_words(more)
  local files = self.simulator.files
  local words = { "apply", "--journal", self.journal, "--yes", "--certificate", files.new_certificate, "--private-key",
                  files.new_key, "--chain", files.new_chain, "--replace", self.old, "--dedicated-ip-quota", "4" }
  for _, word in ipairs(more or {}) do words[#words + 1] = word end
  return words
end

--- Starts a command. It is killed by `kill`.
---@param words string[]
---@param kill? string   of victim.lua
function World:launch(words, kill)
  -- With a journal in S3 nothing is left on a machine that the next one had.
  if self.s3 then self.machines = self.machines + 1 end
  local arguments = { "env", "-u", "AWS_PROFILE", "AWS_CONFIG_FILE=/nonexistent", "AWS_SHARED_CREDENTIALS_FILE=/nonexistent",
                      "LUA_PATH=" .. package.path, "LUA_CPATH=" .. package.cpath,
                      "CERTROTATE_STATE=" .. self.folder .. "/state" .. self.machines, "CERTROTATE_SPEC_KILL=" .. (kill or "") }
  for name, value in pairs(self.simulator:environment()) do arguments[#arguments + 1] = name .. "=" .. value end
  arguments[#arguments + 1] = command.interpreter()
  arguments[#arguments + 1] = "spec/hostile/victim.lua"
  for _, word in ipairs(words) do arguments[#arguments + 1] = word end
  for _, word in ipairs({ "--endpoint-url", self.simulator.endpoint, "--edge", self.simulator.edge, "--trust",
                          self.simulator.trust_file, "--json", "--quiet" }) do
    arguments[#arguments + 1] = word
  end
  return assert(self.client:submit({ program = { arguments = arguments, timeout = LIMIT, max_output = 1048576 } }))
end

--- Whether it is still running.
function World:running(id)
  turn(self)
  return self.waiting[id] == nil
end

--- SIGKILL.
function World:kill(id)
  self.client:cancel(id)
  while not self.waiting[id] do turn(self) end
  self.waiting[id] = nil
end

--- Waits for its end.
---@return { rc?: integer, signal?: integer, report: table?, text: string }
function World:finish(id)
  while not self.waiting[id] do turn(self) end
  local done = self.waiting[id]
  self.waiting[id] = nil
  local result = done.result or { output = "", errors = tostring(done.err) }
  return { rc = result.status, signal = result.signal, report = json.decode(result.output),
           text = (result.output .. result.errors):sub(-1500) }
end

function World:run(words) return self:finish(self:launch(words)) end

--- The same command on several machines at once.
---@return table[]   what came of each
function World:race(words, machines)
  local ids, list = {}, {}
  for index = 1, machines do ids[index] = self:launch(words) end
  for index, id in ipairs(ids) do list[index] = self:finish(id) end
  return list
end

--- Whether a command ended because another has the locks.
function World.locked(done)
  return done.rc == 4 and (done.text:find("another run is at work", 1, true) or done.text:find("another run goes on", 1, true))
    ~= nil
end

--- Every viewer name once more, and all that is still on its way.
function World:look_at_all()
  for _ = 1, #self.names do
    self.next_look = 0
    turn(self)
  end
  while self.looking and next(self.looking) do
    self.client:wait(0.01, self.viewers:pollfd())
    self.viewers:step()
    seen(self)
  end
end

--- Troubles end: what is still wrong afterwards is not going to pass.
function World:calm()
  self:control("faults", { clear = true })
  self:control("settings", { list_lag = 0, import_lag = 0, store_list_lag = 0, in_use_lag = 0, slow_share = 0, stuck_share = 0,
                             rate_updates = 0, rate_reads = 0, s3_list_lag = 0 })
  self:control("deployments", { finish = true })
end

return World
