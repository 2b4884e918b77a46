--- The closing lines of a rotation.
local fmt = require("certrotate.fmt")

local M = {}

---@param report certrotate.Report
---@return string
function M.text(report)
  local lines = {}
  local function say(format, ...) lines[#lines + 1] = format:format(...) end
  say("%s of %s changed in %s; all Deployed on %s", fmt.count(report.changed), fmt.plural(report.holders, "holder"),
    fmt.duration(report.seconds), report.reference)
  if report.overlap_seconds > 0 then
    say("Overlap on dedicated IP addresses %s: %s (one at a time: %s, %s)", fmt.duration(report.overlap_seconds),
      fmt.money(report.charge), fmt.duration(report.one_at_a_time.overlap_seconds), fmt.money(report.one_at_a_time.charge))
  end
  for _, conflict in ipairs(report.conflicts) do say("Left alone: %s: %s", conflict.Id, conflict.message) end
  if #report.left_behind > 0 then
    say("Still on the old certificate, and not in the plan: %s; make another plan for them", fmt.list(report.left_behind, 6))
  end
  say("The old certificate is still there. To delete it: certrotate retire %s", report.journal)
  return table.concat(lines, "\n") .. "\n"
end

return M
