--- The durable record of a plan being carried out: one JSON object a line, appended, on the disk before the
-- write it announces. Resuming believes AWS; the journal tells where to look, and that an import was begun.
--
-- Line 1 is the header with the whole plan. Then, per step, an `intent` before and an `outcome` after.
-- No key, no passphrase, no credentials: only references, ids, ETags and times.
local core = require("certrotate.core")
local errors = require("certrotate.errors")
local json = require("certrotate.json")

local M = {}

---@class certrotate.JournalEntry
---@field at number        Unix seconds
---@field event "begin"|"intent"|"outcome"|"wave"|"end"
---@field step? "import"|"swap"|"settle"|"verify"|"retire"
---@field id? string       holder
---@field wave? integer
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
    if type(entry) ~= "table" or type(entry.event) ~= "string" and number > 1 then
      if last then return { plan = plan, entries = entries, good = good, torn = true } end
      return malformed(path, number, "not a journal entry")
    end
    if number == 1 then
      if entry.certrotate ~= 1 then return malformed(path, 1, "no journal header") end
      local problem
      plan, problem = require("certrotate.rotation.plan").restore(entry.plan, path)
      if not plan then return nil, problem end
    else
      entries[#entries + 1] = entry
    end
    good = stop
    at = stop + 1
  end
  return { plan = plan, entries = entries, good = good, torn = false }
end

local function read(path)
  local file, why = io.open(path, "rb")
  if not file then
    return nil, errors.new({ kind = "input", code = "FileUnreadable", message = ("cannot read the journal: %s"):format(why) })
  end
  local text = file:read("*a")
  file:close()
  if not text then
    return nil, errors.new({ kind = "input", code = "FileUnreadable",
      message = ("cannot read the journal: %s is not a file"):format(path) })
  end
  return text
end

--- Reads a journal without locking it: for `status`.
---@param path string
---@return certrotate.Journal?
---@return certrotate.Error?
function M.load(path)
  local text, err = read(path)
  if not text then return nil, err end
  local parsed
  parsed, err = M.parse(path, text)
  if not parsed then return nil, err end
  if not parsed.plan then return malformed(path, 1, "empty: nothing was begun") end
  return setmetatable({ path = path, plan = parsed.plan, entries = parsed.entries, torn = parsed.torn }, Journal)
end

--- Begins a journal; refuses a file that already holds one.
---@param path string
---@param plan certrotate.Plan
---@param now number
---@return certrotate.Journal?
---@return certrotate.Error?
function M.create(path, plan, now)
  local file, err = core.append(path)
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
---@return certrotate.Journal?
---@return certrotate.Error?
function M.open(path)
  local text, err = read(path) -- so that a wrong name is not created
  if not text then return nil, err end
  local file
  file, err = core.append(path)
  if not file then return nil, err end
  text, err = file:read()
  local parsed
  if text then parsed, err = M.parse(path, text) end
  if parsed and not parsed.plan then parsed, err = malformed(path, 1, "empty: nothing was begun") end
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

--- On the disk when it returns.
---@param entry certrotate.JournalEntry
---@return boolean? ok
---@return certrotate.Error?
function Journal:append(entry)
  local ok, err = self._file:append(json.encode(entry) .. "\n")
  if not ok then return nil, err end
  self.entries[#self.entries + 1] = entry
  return true
end

function Journal:close()
  if self._file then self._file:close() end
  self._file = nil
end

---@class certrotate.JournalState
---@field import_begun boolean       an intent to import exists
---@field to? string                 reference of the new certificate, once known
---@field adopted? boolean
---@field begun table<string, number>    when the swap of a holder was first announced
---@field swapped table<string, table>   outcome by holder: { changed = bool, at = }
---@field settled table<integer, number> when a wave was seen Deployed
---@field verified table<integer, number>
---@field soaked table<integer, number>
---@field failed table<string, table>    last error by holder
---@field ended? number              when the last wave was through
---@field retired? number
---@field first_charged? number      first announced change of a charged holder
---@field last_charged? number       when the last charged holder was seen Deployed

--- What the entries add up to. Pure.
---@return certrotate.JournalState
function Journal:state()
  local state = { import_begun = false, begun = {}, swapped = {}, settled = {}, verified = {}, soaked = {}, failed = {} }
  local charged = {}
  for _, wave in ipairs(self.plan.waves) do
    for _, holder in ipairs(wave.holders) do charged[holder.Id] = holder.charged end
  end
  for _, entry in ipairs(self.entries) do
    local step, result = entry.step, entry.result
    if entry.event == "begin" then
      state.started = state.started or entry.at
    elseif entry.event == "intent" then
      if step == "import" then state.import_begun = true end
      if step == "swap" then
        state.begun[entry.id] = state.begun[entry.id] or entry.at
        if charged[entry.id] then state.first_charged = state.first_charged or entry.at end
      end
    elseif entry.event == "outcome" then
      if step == "swap" then
        if result then
          local before = state.swapped[entry.id]
          state.swapped[entry.id] = { changed = result.changed or before ~= nil and before.changed, at = entry.at }
          state.failed[entry.id] = nil
        else
          state.failed[entry.id] = entry.error
        end
      elseif result and step == "import" then
        state.to, state.adopted = result.reference, result.adopted
      elseif result and step == "settle" then
        state.settled[entry.wave] = entry.at
        for _, holder in ipairs(self.plan.waves[entry.wave].holders) do
          if holder.charged and state.swapped[holder.Id] then state.last_charged = entry.at end
        end
      elseif result and step == "verify" then
        state.verified[entry.wave] = entry.at
      elseif result and step == "retire" then
        state.retired = entry.at
      end
    elseif entry.event == "wave" then
      state.soaked[entry.wave] = entry.at
    elseif entry.event == "end" then
      state.ended = entry.at
    end
  end
  return state
end

return M
