--- What a journal says: done, left, failed. Reads one file and asks AWS nothing (but S3, for a journal there).
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
---@field last? number        when the last entry was written

--- From a journal already read. Pure.
---@param journal certrotate.Journal
---@return certrotate.Status
function M.of(journal)
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
