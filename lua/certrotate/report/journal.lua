--- What a journal recorded, a line an entry, with times.
local fmt = require("certrotate.fmt")
local table_report = require("certrotate.report.table")

local M = {}

local function of_result(entry)
  local result = entry.result or {}
  if entry.step == "import" then
    return (result.adopted and "found in its store: %s" or "imported: %s"):format(tostring(result.reference))
  elseif entry.step == "reimport" then
    return ("%s: %s"):format(result.changed and "reimported" or "found reimported", tostring(result.reference))
  elseif entry.step == "swap" then
    return ("%s %s"):format(entry.id, result.changed and "changed" or "already done")
  elseif entry.step == "settle" then
    return ("wave %d: %s Deployed"):format(entry.wave, fmt.plural(result.holders or 0, "holder"))
  elseif entry.step == "verify" then
    return ("wave %d: %s seen serving the new certificate"):format(entry.wave, fmt.plural(result.seen or 0, "holder"))
  elseif entry.step == "retire" then
    return result.deleted and "old certificate deleted" or result.already_gone and "old certificate was gone already"
      or "old certificate kept"
  end
  return ("%s done"):format(tostring(entry.step))
end

-- Entries of steps this version does not know are told by their names.
local function text_of(entry)
  if entry.event == "begin" then return "begun" end
  if entry.event == "wave" then return ("wave %d done"):format(entry.wave) end
  if entry.event == "end" then
    local result = entry.result or {}
    return ("finished: %s changed, %s left alone, %s left behind"):format(tostring(result.changed), tostring(result.conflicts),
      tostring(result.left_behind))
  end
  local what = entry.id and ("%s %s"):format(tostring(entry.step), entry.id) or tostring(entry.step)
  if entry.event == "intent" then return what .. " begun" end
  if entry.error then return ("%s failed: %s"):format(what, tostring(entry.error.message)) end
  if entry.event == "outcome" then return of_result(entry) end
  return tostring(entry.event)
end

---@param journal certrotate.Journal
---@return string
function M.text(journal)
  local lines = { ("%s plan %s: replace %s"):format(fmt.time(journal.plan.created), journal.plan.hash:sub(1, 16),
    journal.plan.from or "nothing, attach") }
  for _, entry in ipairs(journal.entries) do
    lines[#lines + 1] = fmt.time(entry.at) .. " " .. table_report.clean(text_of(entry))
  end
  if journal.torn then lines[#lines + 1] = "(the last line was cut off while it was written; resuming copes with that)" end
  return table.concat(lines, "\n") .. "\n"
end

return M
