--- The closing lines of a rotation.
local fmt = require("certrotate.fmt")
local table_report = require("certrotate.report.table")

local M = {}

---@param report certrotate.Report
---@return string
function M.text(report)
  local lines = {}
  local function say(format, ...) lines[#lines + 1] = format:format(...) end
  say("%s of %s changed in %s; %s", fmt.count(report.changed), fmt.plural(report.holders, "holder"),
    fmt.duration(report.seconds), report.ok and "all Deployed on the new certificate" or "NOT all on the new certificate")
  say("New certificate  %s%s", report.reference, report.adopted and " (it was there already)" or "")
  if report.overlap_seconds > 0 then
    say("Overlap on dedicated IP addresses %s: %s (one at a time: %s, %s)", fmt.duration(report.overlap_seconds),
      fmt.money(report.charge), fmt.duration(report.one_at_a_time.overlap_seconds), fmt.money(report.one_at_a_time.charge))
  end
  for _, conflict in ipairs(report.conflicts) do
    say("Left alone: %s: %s", conflict.Id, table_report.clean(conflict.message))
  end
  for _, unit in ipairs(report.units or {}) do
    if unit.attached then say("Continuous-deployment policy %s is attached to %s", unit.policy, unit.Id) end
  end
  if #report.left_behind > 0 then
    say("Still on the old certificate: %s; make another plan for them", fmt.list(report.left_behind, 6))
  end
  if report.event_problem then say("Progress was not shown to its end: %s", table_report.clean(report.event_problem)) end
  if #report.left_behind == 0 then
    say("The old certificate is still there. To delete it: certrotate retire %s", report.journal)
  end
  return table.concat(lines, "\n") .. "\n"
end

return M
