--- The durable record of a plan being carried out: one JSON object a line, appended, on the disk (or in S3, see
-- store.lua) before the write it announces. Resuming believes AWS; the journal tells where to look, and that an import
-- was begun.
--
-- Line 1 is the header with the whole plan. Then, per step, an `intent` before and an `outcome` after.
-- No key, no passphrase, no credentials: only references, ids, ETags and times.
local errors = require("certrotate.errors")
local inventory_module = require("certrotate.rotation.inventory")
local json = require("certrotate.json")
local location = require("certrotate.rotation.s3.location")
local mirror = require("certrotate.rotation.mirror")
local store = require("certrotate.rotation.store")

local M = {}

---@class certrotate.JournalEntry
---@field at number        Unix seconds
---@field event "quota"|"begin"|"intent"|"outcome"|"gate"|"wave"|"end"|"rollback"
---@field step? "import"|"reimport"|"swap"|"detach"|"attach"|"settle"|"verify"|"retire"
---@field id? string       holder; detach, attach: the primary distribution
---@field policy? string   detach, attach: the continuous-deployment policy
---@field wave? integer
---@field locks? string    quota, begin: where this rotation's locks are
---@field deadline? number quota: until when a higher one is waited for
---@field needed? integer  quota: certificates with dedicated IP addresses
---@field gate? "function"|"pause"   gate: which one of the wave
---@field verdict? "passed"|"asked"|"refused"  gate: asked means that a person has yet to agree
---@field why? string      gate: why it was refused
---@field fingerprint? string  rollback: of the old certificate. What follows it is of the way back
---@field result? table    outcome: what the step returned, reduced to what resuming needs
---@field error? table     outcome: kind, code, message

---@class certrotate.Journal
---@field path string
---@field plan certrotate.Plan
---@field entries certrotate.JournalEntry[]
---@field torn boolean     the last line was incomplete and has been cut off (or is ignored, when only read)
local Journal = {}
Journal.__index = Journal
Journal.__name = "certrotate.Journal"

local function malformed(path, line, problem)
  return nil, errors.new({ kind = "input", code = "MalformedJournal",
    message = ("%s, line %d: %s; this is not a journal certrotate can resume"):format(path, line, problem) })
end

-- What is wrong with an entry, or nil. Everything read below relies on it.
local function entry_problem(plan, entry)
  if type(entry) ~= "table" or type(entry.event) ~= "string" then return "not a journal entry" end
  if type(entry.at) ~= "number" then return "an entry without a time" end
  if entry.event == "quota" and (type(entry.deadline) ~= "number" or type(entry.needed) ~= "number") then
    return "a wait without an end"
  end
  if entry.step == "swap" and type(entry.id) ~= "string" then return "a swap of nothing" end
  local of_unit = entry.step == "detach" or entry.step == "attach"
  if of_unit and (type(entry.id) ~= "string" or type(entry.policy) ~= "string") then return "a policy of nobody" end
  local of_wave = entry.event == "wave" or entry.event == "gate" or entry.step == "settle" or entry.step == "verify" or of_unit
  if of_wave and not plan.waves[entry.wave] then return "an entry of a wave the plan does not have" end
  if of_unit and not plan.waves[entry.wave].unit then return "a policy of a wave that has none" end
  for _, name in ipairs({ "result", "error" }) do
    if entry[name] ~= nil and type(entry[name]) ~= "table" then return ("'%s' is out of shape"):format(name) end
  end
  local result = entry.result
  local imports = entry.step == "import" or entry.step == "reimport"
  if result and imports and type(result.reference) ~= "string" then return "an import of nothing" end
  if result and result.foreign ~= nil and type(result.foreign) ~= "table" then return "'foreign' is no list" end
  return nil
end

--- Takes a journal's text apart. Pure. A last line without its line end, or that is no JSON, is torn: the
-- process died while writing it, so nothing was done after it. Anything else out of shape is refused.
---@param path string   for messages
---@param text string
---@return { plan: certrotate.Plan?, entries: certrotate.JournalEntry[], good: integer, torn: boolean }? parsed
---@return certrotate.Error?
function M.parse(path, text)
  local entries, plan, good, number, at = {}, nil, 0, 0, 1
  while at <= #text do
    local stop = text:find("\n", at, true)
    local line = text:sub(at, (stop or #text + 1) - 1)
    number = number + 1
    local entry = stop and json.decode(line)
    local last = not stop or stop == #text
    if type(entry) ~= "table" then
      if last then return { plan = plan, entries = entries, good = good, torn = true } end
      return malformed(path, number, "not a journal entry")
    end
    if number == 1 then
      if entry.certrotate ~= 1 then return malformed(path, 1, "no journal header") end
      local problem
      plan, problem = require("certrotate.rotation.plan").restore(entry.plan, path)
      if not plan then return nil, problem end
    else
      local problem = entry_problem(plan, entry)
      if problem then return malformed(path, number, problem) end
      entries[#entries + 1] = entry
    end
    good = stop
    at = stop + 1
  end
  return { plan = plan, entries = entries, good = good, torn = false }
end

-- Whether the text is what a kill leaves of our own header, and nothing anybody else wrote.
local function torn_header(text)
  local start = '{"at":'
  if text:find("\n", 1, true) then return false end
  if #text <= #start then return start:sub(1, #text) == text end
  local rest = text:match('^{"at":[%d%.eE+-]*(.*)$')
  local going_on = ',"certrotate":1,'
  return rest ~= nil and (rest:sub(1, #going_on) == going_on or going_on:sub(1, #rest) == rest)
end

-- Why there is no plan in it.
local function headless(path, text)
  local torn = torn_header(text)
  local _, err = malformed(path, 1, torn and "empty: nothing was begun" or "no journal header")
  err.nothing_begun = torn
  return err
end

--- Reads a journal without locking it: for `status`.
---@param path string
---@param aws? certrotate.Session   for a journal in S3
---@return certrotate.Journal?
---@return certrotate.Error?   `nothing_begun`: there is no more of it than a kill leaves of a header
function M.load(path, aws)
  local text, err = store.read(path, aws)
  if not text then return nil, err end
  local parsed
  parsed, err = M.parse(path, text)
  if not parsed then return nil, err end
  if not parsed.plan then
    return nil, headless(path, text)
  end
  return setmetatable({ path = path, plan = parsed.plan, entries = parsed.entries, torn = parsed.torn }, Journal)
end

--- Begins a journal; refuses a file that already holds one, or anything else.
---@param path string
---@param plan certrotate.Plan
---@param now number
---@param aws? certrotate.Session   for a journal in S3
---@return certrotate.Journal?
---@return certrotate.Error?
function M.create(path, plan, now, aws)
  local file, err = store.open(path, aws)
  if not file then return nil, err end
  local text
  text, err = file:read()
  if not text then
    file:close()
    return nil, err
  end
  local parsed
  if text ~= "" then
    parsed, err = M.parse(path, text)
    -- A header torn by a kill: nothing was done yet.
    if parsed and not parsed.plan and not torn_header(text) then parsed, err = malformed(path, 1, "no journal header") end
    if not parsed or parsed.plan then
      file:close()
      return nil, parsed and errors.new({ kind = "input", code = "JournalExists",
        message = ("%s already holds a rotation; `certrotate resume %s` finishes it, or name another file"):format(path, path) })
        or err
    end
    local ok
    ok, err = file:truncate(0)
    if not ok then
      file:close()
      return nil, err
    end
  end
  local journal = setmetatable({ path = path, plan = plan, entries = {}, torn = false, _file = file }, Journal)
  local ok
  ok, err = file:append(json.encode({ certrotate = 1, at = now, plan = plan }) .. "\n")
  if not ok then
    journal:close()
    return nil, err
  end
  return journal
end

--- Opens a journal to go on with it: locked, a torn last line cut off.
---@param path string
---@param aws? certrotate.Session   for a journal in S3
---@return certrotate.Journal?
---@return certrotate.Error?
function M.open(path, aws)
  local text, err
  if not location.is(path) then
    text, err = store.read(path) -- so that a wrong name is not created
    if not text then return nil, err end
  end
  local file
  file, err = store.open(path, aws)
  if not file then return nil, err end
  text, err = file:read()
  local parsed
  if text then parsed, err = M.parse(path, text) end
  if parsed and not parsed.plan then parsed, err = nil, headless(path, text) end
  if parsed and parsed.torn then
    local ok
    ok, err = file:truncate(parsed.good)
    if not ok then parsed = nil end
  end
  if not parsed then
    file:close()
    return nil, err
  end
  return setmetatable({ path = path, plan = parsed.plan, entries = parsed.entries, torn = parsed.torn, _file = file },
    Journal)
end

--- Durable when it returns.
---@param entry certrotate.JournalEntry
---@return boolean? ok
---@return certrotate.Error?
function Journal:append(entry)
  local ok, err = self._file:append(json.encode(entry) .. "\n")
  if not ok then return nil, err end
  self.entries[#self.entries + 1] = entry
  return true
end

--- Nothing much follows: a journal in S3 becomes one object. Whether it does changes nothing of what it says, so a failure
--- is left to the next time.
function Journal:compact()
  if self._file and self._file.compact then self._file:compact() end
end

function Journal:close()
  if self._file then self._file:close() end
  self._file = nil
end

---@class certrotate.JournalState
---@field waiting? { deadline: number, needed: integer }   a higher dedicated-IP quota was waited for; nothing was begun
---@field import_open boolean        an import was begun and its outcome is not known
---@field reimport_open? boolean     a reimport was begun and its outcome is not known
---@field reimported? number         when a reimport was seen done; every holder of the plan counts as swapped then
---@field to? string                 reference of the new certificate, once known
---@field adopted? boolean
---@field locks? string              where the locks of this rotation are
---@field begun table<string, number>    when the swap of a holder was first announced
---@field swapped table<string, table>   outcome by holder: { changed = bool, at = }
---@field conflicts table<string, string> holders somebody else changed, or deleted, by id: what was seen
---@field settled table<integer, number> when a wave was seen Deployed
---@field verified table<integer, number>
---@field soaked table<integer, number>  waves that need no second walk
---@field gates table<integer, table<string, string>>   by wave: what became of its gate and its pause
---@field failed table<string, table>    last error by holder
---@field units table<integer, certrotate.UnitState>   by wave: the continuous deployments of the plan
---@field forward? certrotate.JournalState   a rollback was begun: how far the rotation had come. All else is of the way back
---@field plan? certrotate.Plan      then: the plan that leads back
---@field ended? number              when the last wave was through
---@field retired? number
---@field first_charged? number      first announced change of a charged holder that was changed
---@field last_charged? number       when the last charged holder was seen Deployed

---@class certrotate.UnitState
---@field owed boolean        its policy was detached by this rotation, or may have been, and is not attached again yet
---@field begun boolean       a detach was announced whose outcome is not known
---@field detached? number    when it was seen detached
---@field attached? number    when it was seen attached again
---@field conflict? string    why it will not be attached again: somebody else decided

M.FOREIGN = "its certificate was changed by somebody else meanwhile"
M.GONE = "it does not exist any more"

--- Whether a swap's failure leaves the holder alone for good: somebody else changed it, or deleted it.
---@param failure { kind: string, code: string }
---@return boolean
function M.is_conflict(failure)
  return failure.kind == "conflict" or inventory_module.is_gone(failure)
end

--- When the overlap began: the first announced change of a charged holder that was really changed.
---@param plan certrotate.Plan
---@param state certrotate.JournalState
---@return number?
function M.first_charged(plan, state)
  local first
  if plan.method == "reimport" then return nil end
  for _, wave in ipairs(plan.waves) do
    for _, holder in ipairs(wave.holders) do
      local done, begun = state.swapped[holder.Id], state.begun[holder.Id]
      if holder.charged and begun and done and done.changed then first = math.min(first or begun, begun) end
    end
  end
  return first
end

-- Whether nothing that is charged is on the old certificate any more, as far as this rotation changes it.
local function all_charged_done(plan, state)
  for number, wave in ipairs(plan.waves) do
    for _, holder in ipairs(wave.holders) do
      local done = state.swapped[holder.Id] and state.settled[number] and not state.conflicts[holder.Id]
      if holder.charged and not done then return false end
    end
  end
  return true
end

--- The times in which two certificates were charged for; the last one goes on where it has no end. A way back from a
--- rotation that had changed every charged holder is a time of its own: in between one certificate had none of them. Any
--- other goes on with the overlap it found.
---@param plan certrotate.Plan
---@param state certrotate.JournalState
---@return { began: number, ended?: number }[]
function M.overlaps(plan, state)
  local forward, first = state.forward, M.first_charged(plan, state)
  local before = forward and forward.first_charged
  local ended = (state.ended or all_charged_done(plan, state)) and state.last_charged or nil
  if not before then return first and { { began = first, ended = ended } } or {} end
  if not forward.overlap_over then return { { began = before, ended = ended } } end
  local list = { { began = before, ended = forward.last_charged } }
  if first then list[2] = { began = first, ended = ended } end
  return list
end

--- A wave was seen Deployed: who of it names another certificate, and who does again.
---@param state certrotate.JournalState
---@param ids string[]       the wave's holders that were changed
---@param foreign string[]
function M.note_foreign(state, ids, foreign)
  for _, id in ipairs(ids) do
    if state.swapped[id] then state.conflicts[id] = nil end
  end
  for _, id in ipairs(foreign) do state.conflicts[id] = M.FOREIGN end
end

--- What an entry of a reimport does to the state: it changes every holder of the plan at once.
---@param plan certrotate.Plan
---@param state certrotate.JournalState
---@param entry certrotate.JournalEntry
function M.note_reimport(plan, state, entry)
  if entry.event == "intent" then
    state.reimport_open = true
    for _, holder in ipairs(plan:holders()) do state.begun[holder.Id] = state.begun[holder.Id] or entry.at end
  elseif entry.result then
    state.reimport_open, state.reimported, state.to = false, entry.at, entry.result.reference
    for _, holder in ipairs(plan:holders()) do
      state.swapped[holder.Id] = { changed = entry.result.changed, at = entry.at }
    end
  elseif entry.error and not entry.error.ambiguous then
    state.reimport_open = false
  end
end

local handlers = {}

-- Announced: from here on it may be detached, until something else is known.
local function detach_begins(state, entry)
  local unit = state.units[entry.wave]
  unit.before, unit.begun, unit.owed = unit.owed, true, true
  state.soaked[entry.wave], state.ended = nil, nil
end

function handlers.quota(state, entry)
  state.waiting = { deadline = entry.deadline, needed = entry.needed }
  state.locks = state.locks or entry.locks
end

function handlers.begin(state, entry)
  state.waiting = nil
  state.started = state.started or entry.at
  state.locks = state.locks or entry.locks
end

function handlers.intent(state, entry, index)
  if entry.step == "import" then state.import_open = true end
  if entry.step == "reimport" then M.note_reimport(index.plan, state, entry) end
  if entry.step == "swap" then state.begun[entry.id] = state.begun[entry.id] or entry.at end
  if entry.step == "detach" then detach_begins(state, entry) end
end

function handlers.gate(state, entry)
  if type(entry.gate) ~= "string" then return end
  state.gates[entry.wave] = state.gates[entry.wave] or {}
  state.gates[entry.wave][entry.gate] = entry.verdict
  state.gates[entry.wave].why = entry.verdict == "refused" and tostring(entry.why) or nil
end

function handlers.wave(state, entry) state.soaked[entry.wave] = entry.at end

-- Finishing what was finished already does not begin the time the old certificate is kept for again.
handlers["end"] = function(state, entry) state.ended = state.ended or entry.at end

local outcomes = {}

function handlers.outcome(state, entry, index)
  local handler = outcomes[entry.step]
  if handler then handler(state, entry, index) end
end

function outcomes.swap(state, entry, index)
  local id, result = entry.id, entry.result
  if not result then
    local failure = entry.error or {}
    state.failed[id] = failure
    state.conflicts[id] = M.is_conflict(failure) and tostring(failure.message) or nil
    return
  end
  local before = state.swapped[id]
  local changed = result.changed or before ~= nil and before.changed
  state.swapped[id] = { changed = changed, at = entry.at }
  state.failed[id], state.conflicts[id] = nil, nil
  -- What was settled before this change is not settled any more.
  local wave = index[id]
  if wave then
    state.settled[wave], state.verified[wave], state.soaked[wave] = nil, nil, nil
    -- What was agreed to was another state of things.
    if result.changed then state.gates[wave] = nil end
  end
  if result.changed then state.ended = nil end
end

-- Told what became of a detach, or of an attach, the unit's state follows; the run does the same as the reader of its
-- journal.
function outcomes.detach(state, entry)
  local unit, result, failure = state.units[entry.wave], entry.result, entry.error or {}
  if result then
    -- Found detached without our doing, it is not ours to attach.
    unit.owed, unit.begun = result.changed == true, false
    unit.detached, unit.attached = result.changed and entry.at or nil, nil
  elseif failure.kind == "conflict" then
    unit.owed, unit.begun = false, false
  elseif not failure.ambiguous then
    unit.owed, unit.begun = unit.before or false, unit.before or false
  end
end

function outcomes.attach(state, entry)
  local unit, failure = state.units[entry.wave], entry.error or {}
  if entry.result then
    unit.owed, unit.begun, unit.conflict = false, false, nil
    unit.attached = entry.at
  elseif failure.kind == "conflict" then
    unit.conflict = tostring(failure.message)
  end
end

--- Does to the state what reading this entry would.
---@param state certrotate.JournalState
---@param entry certrotate.JournalEntry   of a detach or an attach
function M.note(state, entry) handlers[entry.event](state, entry, {}) end

function outcomes.import(state, entry)
  if not entry.result then return end
  state.to, state.adopted, state.import_open = entry.result.reference, entry.result.adopted, false
end

function outcomes.reimport(state, entry, index) M.note_reimport(index.plan, state, entry) end

function outcomes.settle(state, entry, index)
  if not entry.result then return end
  state.settled[entry.wave] = entry.at
  local ids = {}
  for id in pairs(state.swapped) do
    if index[id] == entry.wave then
      ids[#ids + 1] = id
      if index.charged[id] then state.last_charged = entry.at end
    end
  end
  M.note_foreign(state, ids, entry.result.foreign or {})
end

function outcomes.verify(state, entry)
  if entry.result then state.verified[entry.wave] = entry.at end
end

function outcomes.retire(state, entry)
  if entry.result then state.retired = entry.at end
end

local function empty_state(plan)
  local state = { import_open = false, begun = {}, swapped = {}, conflicts = {}, settled = {}, verified = {}, soaked = {},
                  failed = {}, units = {}, gates = {} }
  for number, wave in ipairs(plan.waves) do
    if wave.unit then state.units[number] = { owed = false, begun = false } end
  end
  return state
end

--- The state in which a way back begins. What a rotation owes a continuous deployment is owed on the way back too.
---@param plan certrotate.Plan
---@param forward certrotate.JournalState
---@param entry certrotate.JournalEntry   rollback
---@return certrotate.JournalState
function M.turned(plan, forward, entry)
  local back = mirror.plan(plan, forward, entry.fingerprint)
  local state = empty_state(back)
  state.forward, state.plan, state.to, state.started, state.locks = forward, back, plan.from, entry.at, forward.locks
  state.units, state.adopted = forward.units, true
  forward.overlap_over = forward.ended ~= nil and forward.last_charged ~= nil and all_charged_done(plan, forward)
  return state
end

--- What is there of a plan before it is begun.
---@param plan certrotate.Plan
---@return certrotate.Journal
function M.empty(plan) return setmetatable({ path = "", plan = plan, entries = {}, torn = false }, Journal) end

--- How long deployments took in this rotation, by holder, and the mean; nil where nobody looked.
---@return table<string, number> seconds
---@return number? mean
function Journal:deploy_times()
  local times, count, all = {}, 0, 0
  for _, entry in ipairs(self.entries) do
    local deployed = entry.event == "outcome" and entry.step == "settle" and entry.result and entry.result.deployed
    for id, seconds in pairs(type(deployed) == "table" and deployed or {}) do
      if type(id) == "string" and type(seconds) == "number" and seconds >= 0 then
        if not times[id] then count = count + 1 else all = all - times[id] end
        times[id], all = seconds, all + seconds
      end
    end
  end
  return times, count > 0 and math.floor(all / count + 0.5) or nil
end

--- How long a change of a holder took in this rotation, on average; nil where none is known.
---@return number? seconds
function Journal:call_seconds()
  local count, all = 0, 0
  for _, entry in ipairs(self.entries) do
    local seconds = entry.event == "outcome" and entry.step == "swap" and entry.result and entry.result.seconds
    if type(seconds) == "number" and seconds >= 0 then count, all = count + 1, all + seconds end
  end
  return count > 0 and all / count or nil
end

-- A wave that left somebody out is walked again: AWS says whether the reason still holds.
local function reopen(plan, state)
  for number, wave in ipairs(plan.waves) do
    if wave.unit and state.units[number].owed then state.soaked[number] = nil end
    for _, holder in ipairs(wave.holders) do
      if not state.swapped[holder.Id] or state.conflicts[holder.Id] then
        state.settled[number], state.soaked[number] = nil, nil
      end
    end
  end
end

--- What the entries add up to. Pure.
---@return certrotate.JournalState
function Journal:state()
  local state = empty_state(self.plan)
  -- Wave by holder, who is charged, and the plan. No id is "charged" or "plan".
  local index = { charged = {}, plan = self.plan }
  for number, wave in ipairs(self.plan.waves) do
    for _, holder in ipairs(wave.holders) do
      index[holder.Id], index.charged[holder.Id] = number, holder.charged
    end
  end
  for _, entry in ipairs(self.entries) do
    local handler = handlers[entry.event]
    if entry.event == "rollback" then
      if not state.forward then
        state.first_charged = M.first_charged(self.plan, state)
        state = M.turned(self.plan, state, entry)
        index.plan = state.plan
      end
    elseif handler then
      handler(state, entry, index)
    end
  end
  local plan = state.plan or self.plan
  reopen(plan, state)
  state.first_charged = state.forward and state.forward.first_charged or M.first_charged(plan, state)
  return state
end

return M
