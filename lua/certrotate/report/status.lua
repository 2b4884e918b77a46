--- How far a rotation is, as text.
local fmt = require("certrotate.fmt")
local clean = require("certrotate.report.table").clean

local M = {}

local in_place_phases = {
  planned = "nothing was begun yet",
  import = "the new certificate is not imported yet",
  changing = "the new certificate is imported under the same ARN; viewers are served it within 24 hours",
  ["rolling back"] = "is being rolled back",
  ["rolled back"] = "rolled back; every holder was given the old certificate again, under the same ARN",
  finished = "finished; every holder serves the new certificate under the same ARN",
}

local function held_text(held)
  if held.why == "pause" then
    return ("Wave %d %s is done; a person must agree before the next: %s"):format(held.wave, clean(held.name),
      clean(held.text))
  elseif held.why == "gate" then
    return ("Wave %d %s is done; its gate '%s' %s"):format(held.wave, clean(held.name), clean(held.text),
      held.refused and "did not agree: " .. clean(held.refused) or "must agree before it goes on")
  elseif held.why == "soak" then
    return ("Wave %d %s is watched until %s"):format(held.wave, clean(held.name), fmt.timestamp(held["until"]))
  end
  return ("Wave %d %s waits for %s: %s"):format(held.wave, clean(held.name),
    held.why == "hour" and "the hour" or "its maintenance window", fmt.timestamp(held["until"]))
end

---@param status certrotate.Status
---@param path string
---@param flags? string   " --profile prod": what the next command needs as well
---@return string
function M.text(status, path, flags)
  local in_place = status.plan.method == "reimport"
  local lines = { ("%s: %s"):format(path, (in_place and in_place_phases or {
    waiting = "waits for a higher dedicated-IP quota; nothing has been changed",
    planned = "nothing was begun yet", import = "the new certificate is not imported yet",
    changing = "holders are being changed",
    finished = status.plan.from and "finished; the old certificate is kept" or "finished",
    ["rolling back"] = "is being rolled back",
    ["rolled back"] = "rolled back; the new certificate is kept, unused",
    retired = "finished, and what was not needed any more is retired",
  })[status.phase]) }
  local function say(format, ...) lines[#lines + 1] = format:format(...) end
  say("From  %s", status.plan.from or "the default certificate")
  if status.waiting then
    say("Needs %s with dedicated IP addresses; waits until %s", fmt.plural(status.waiting.needed, "certificate"),
      fmt.timestamp(status.waiting.deadline))
  end
  if status.to then say("To    %s", status.to) end
  for index, wave in ipairs(status.waves) do
    if wave.total > 0 or wave.unit then
      say("Wave %d %-14s %d of %d changed%s", index, wave.name, wave.done, wave.total, wave.settled and ", Deployed" or "")
    end
    local unit = wave.unit
    if unit and unit.message then
      say("  %s", unit.message)
    elseif unit and unit.detached then
      say("  Policy %s is detached from %s, or was about to be: resuming attaches it again", unit.policy, unit.Id)
    end
  end
  for _, failure in ipairs(status.failed) do say("Failed: %s: %s", failure.Id, failure.message) end
  if status.held then say("%s", held_text(status.held)) end
  if status.torn then say("The last line was cut off while it was written; resuming copes with that.") end
  if status.last then say("Last entry %s", fmt.timestamp(status.last)) end
  local hints = {
    finished = "To delete the old certificate: certrotate retire %s", retired = "",
    ["rolling back"] = "To go on: certrotate rollback %s",
    ["rolled back"] = "To delete the new certificate: certrotate retire %s",
  }
  if in_place or not status.plan.from then hints.finished, hints["rolled back"] = "", "" end
  local hint = hints[status.phase] or "To go on: certrotate resume %s"
    .. (status.held and status.held.why == "pause" and " --approve" or "")
  flags = flags or ""
  if hint ~= "" then say(hint .. "%s", path, flags) end
  if status.phase == "changing" and status.plan.from or in_place and status.phase == "finished" then
    say("To go back: certrotate rollback %s%s%s", path, in_place and " --certificate OLD --private-key OLD" or "", flags)
  end
  return table.concat(lines, "\n") .. "\n"
end

return M
