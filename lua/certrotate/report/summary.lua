--- The closing lines of a rotation.
local fmt = require("certrotate.fmt")
local table_report = require("certrotate.report.table")

local M = {}

--- Who names the certificate that was to be left, in a line; "" when nobody does.
---@param ids string[]
---@param back? boolean   of a way back
---@return string
function M.left_behind(ids, back)
  if #ids == 0 then return "" end
  return ("Still on the %s certificate: %s; %s\n"):format(back and "new" or "old", fmt.list(ids, 6),
    back and "they were not changed by this rotation" or "make another plan for them")
end

---@param report certrotate.Report
---@param flags? string   " --profile prod": what the next command needs as well
---@return string
function M.text(report, flags)
  local lines = {}
  local function say(format, ...) lines[#lines + 1] = format:format(...) end
  local back, in_place = report.rolled_back, report.method == "reimport"
  local which = back and "old" or "new"
  say("%s of %s %s in %s; %s on the %s certificate%s", fmt.count(report.changed), fmt.plural(report.holders, "holder"),
    back and "changed back" or "changed", fmt.duration(report.seconds),
    not report.ok and "NOT all" or in_place and "all" or "all Deployed", which,
    in_place and ", under the same ARN" or "")
  if back then
    say("Old certificate  %s", report.reference)
  else
    say("New certificate  %s%s", report.reference, report.adopted and " (it was there already)" or "")
  end
  if report.overlap_seconds > 0 then
    local single = back and "" or (" (one at a time: %s, %s)"):format(fmt.duration(report.one_at_a_time.overlap_seconds),
      fmt.money(report.one_at_a_time.charge))
    say("Overlap on dedicated IP addresses %s: %s%s", fmt.duration(report.overlap_seconds), fmt.money(report.charge), single)
    if report.predicted and not back then
      say("  predicted: %s, %s", fmt.duration(report.predicted.overlap_seconds), fmt.money(report.predicted.charge))
    end
  end
  for _, conflict in ipairs(report.conflicts) do
    say("Left alone: %s: %s", conflict.Id, table_report.clean(conflict.message))
  end
  for _, unit in ipairs(report.units or {}) do
    if unit.attached then say("Continuous-deployment policy %s is attached to %s", unit.policy, unit.Id) end
  end
  lines[#lines + 1] = M.left_behind(report.left_behind, back):match("[^\n]+")
  if report.event_problem then say("Progress was not shown to its end: %s", table_report.clean(report.event_problem)) end
  if #report.left_behind == 0 and not in_place and not report.attached_only and not report.retired then
    say("The %s certificate is kept. To delete it: certrotate retire %s", back and "new" or "old",
      report.journal .. (flags or ""))
  end
  return table.concat(lines, "\n") .. "\n"
end

return M
