--- What a journal says: done, left, failed. Reads one file and asks AWS nothing (but S3, for a journal there).
local begin = require("certrotate.rotation.run.begin")
local core = require("certrotate.core")
local journal_module = require("certrotate.rotation.journal")

local M = {}

---@class certrotate.Status
---@field phase "planned"|"waiting"|"import"|"changing"|"finished"|"retired"|"rolling back"|"rolled back"
---@field plan certrotate.Plan          in a rollback: the one that leads back
---@field to? string
---@field done integer
---@field total integer
---@field waves { name: string, done: integer, total: integer, settled: boolean,
---               unit?: { Id: string, policy: string, detached: boolean, message?: string } }[]
---@field failed { Id: string, message: string }[]
---@field torn boolean
---@field started? number
---@field ended? number
---@field waiting? { deadline: number, needed: integer }   for a higher dedicated-IP quota
---@field held? certrotate.Held   what the next change waits for
---@field last? number        when the last entry was written

---@class certrotate.Held
---@field wave integer        the one behind it, of a window or an hour the one before it
---@field name string         of that wave
---@field why "pause"|"gate"|"soak"|"window"|"hour"
---@field text? string        pause: what a person is to look at; gate: its name
---@field refused? string     gate: why it did not agree when it was asked last
---@field until? number       soak, window, hour

-- What a rotation that goes forward stands before, at this moment. A gate that was not asked yet counts: it will be.
local function held(plan, state, now)
  if plan.method == "reimport" or state.forward or state.ended or state.waiting or not state.to then return nil end
  for index, wave in ipairs(plan.waves) do
    if not state.soaked[index] then
      local found = { wave = index, name = wave.name }
      local gates, last, when = state.gates[index] or {}, index == #plan.waves
      when, found.why = begin.due(state, wave, now)
      if when > now then
        found["until"] = when
        return found
      end
      if not state.settled[index] then return nil end
      if not last and state.settled[index] + wave.soak > now then
        found.why, found["until"] = "soak", state.settled[index] + wave.soak
      elseif wave.gate and gates["function"] ~= "passed" then
        found.why, found.text, found.refused = "gate", wave.gate, gates.why
      elseif not last and wave.pause and gates.pause == "asked" then
        found.why, found.text = "pause", wave.pause
      else
        return nil
      end
      return found
    end
  end
end

--- From a journal already read.
---@param journal certrotate.Journal
---@param now? number   Unix seconds; default: this machine's clock
---@return certrotate.Status
function M.of(journal, now)
  local state = journal:state()
  local plan = state.plan or journal.plan
  local status = { plan = plan, to = state.to, done = 0, total = 0, waves = {}, failed = {}, torn = journal.torn,
                   started = state.started, ended = state.ended, waiting = state.waiting }
  for index, wave in ipairs(plan.waves) do
    local row = { name = wave.name, done = 0, total = #wave.holders, settled = state.settled[index] ~= nil }
    if wave.unit then
      local unit = state.units[index]
      row.unit = { Id = wave.unit.primary, policy = wave.unit.policy, detached = unit.owed, message = unit.conflict }
    end
    for _, holder in ipairs(wave.holders) do
      if state.swapped[holder.Id] then row.done = row.done + 1 end
      local failure = state.failed[holder.Id]
      local message = state.conflicts[holder.Id] or failure and tostring(failure.message)
      if message then status.failed[#status.failed + 1] = { Id = holder.Id, message = message } end
    end
    status.done, status.total = status.done + row.done, status.total + row.total
    status.waves[index] = row
  end
  local last = journal.entries[#journal.entries]
  status.last = last and last.at
  status.held = held(plan, state, now or core.now())
  status.phase = state.waiting and "waiting"
    or state.forward and not state.retired and (state.ended and "rolled back" or "rolling back")
    or state.retired and "retired" or state.ended and "finished" or state.to and "changing" or "import"
  return status
end

--- Of a plan that was not begun.
---@param plan certrotate.Plan
---@return certrotate.Status
function M.planned(plan)
  local status = M.of(journal_module.empty(plan))
  status.phase = "planned"
  return status
end

---@param path string
---@param aws? certrotate.Session   for a journal in S3
---@return certrotate.Status?
---@return certrotate.Error?
function M.read(path, aws)
  local journal, err = journal_module.load(path, aws)
  if not journal then return nil, err end
  return M.of(journal)
end

return M
