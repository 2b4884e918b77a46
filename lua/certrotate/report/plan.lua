--- A plan as a person reviews it: what, in which order, why, how long, how much.
local fmt = require("certrotate.fmt")
local table_report = require("certrotate.report.table")

local M = {}

-- Who is left out, by reason, in the order of the plan.
local function left_out(list)
  local reasons, by_reason = {}, {}
  for _, left in ipairs(list) do
    if not by_reason[left.reason] then
      by_reason[left.reason] = {}
      reasons[#reasons + 1] = left.reason
    end
    table.insert(by_reason[left.reason], left.Id)
  end
  return reasons, by_reason
end

--- How a holder presents its certificate, for people: AWS's `vip` is dedicated IP addresses to them.
---@param holder certrotate.PlanHolder
---@return string
function M.traits(holder)
  local list = { holder.charged and "dedicated IP"
    or holder.SSLSupportMethod == "vip" and "dedicated IP, not charged" or holder.SSLSupportMethod }
  if not holder.Enabled then list[#list + 1] = "disabled" end
  if holder.Staging then list[#list + 1] = "staging" end
  if holder.attach then list[#list + 1] = "attached: on the default certificate so far" end
  if holder.DistributionId then list[#list + 1] = "tenant of " .. holder.DistributionId end
  return table.concat(list, ", ")
end

-- What a wave waits for before it begins, and before the next one may.
local function conditions(say, index, wave)
  if wave.windows then say("Wave %d begins only in %s", index, table.concat(wave.windows, " or ")) end
  if wave.align then say("Wave %d begins where its overlap touches the fewest hours of the clock", index) end
  if wave.verify then
    say("Wave %d: at least %d of %d TLS connections to each holder must be served the new certificate", index,
      wave.verify.need, wave.verify.probes)
  end
  if wave.gate then say("After wave %d: the policy's gate '%s' must agree", index, table_report.clean(wave.gate)) end
  if wave.pause then say("After wave %d: a person must agree: %s", index, table_report.clean(wave.pause)) end
end

---@param plan certrotate.Plan
---@param width? integer
---@return string
function M.text(plan, width)
  local lines = {}
  local function say(format, ...) lines[#lines + 1] = format:format(...) end
  local identity = plan.identity
  say("Replace   %s", plan.from or "nothing: distributions on the default certificate are given")
  say("%s      %s (%s, expires %s, SHA-256 %s…)", plan.from and "with" or "this",
    table_report.clean(table.concat(identity.names, ", ")),
    identity.key_type, fmt.date(identity.not_after), identity.fingerprint:sub(1, 16))
  if plan.method == "reimport" then
    say("in        ACM, under the same ARN (reimport): every holder at once, no second certificate; AWS cannot undo it")
  else
    say("in        %s, by giving each holder the new reference; policy %s", plan.store == "acm" and "ACM" or "the IAM store",
      plan.policy.name)
  end
  if plan.method_reason then say("Method    %s", table_report.clean(plan.method_reason)) end
  say("")
  -- One holder a wave needs no name and no reason of its own.
  local singles = plan.policy.name == "careful"
  local rows, total = {}, 0
  for index, wave in ipairs(plan.waves) do
    for at, holder in ipairs(wave.holders) do
      total = total + 1
      local name = at > 1 and "" or singles and fmt.integer(index) or ("%d %s"):format(index, wave.name)
      local row = { name, holder.Id,
        holder.Aliases[1] and table.concat(holder.Aliases, ", ") or holder.DomainName, M.traits(holder) }
      if plan.method == "swap" then
        row[5], row[6] = holder.deployed and "+" .. fmt.duration(holder.deployed) or "", holder.reason or ""
      end
      rows[#rows + 1] = row
    end
  end
  -- A reimport deploys nothing, and all of them are served the new one for the same reason.
  lines[#lines + 1] = table_report.text({ { title = "WAVE", shrink = true }, { title = "HOLDER" },
    { title = "ALIASES", shrink = true }, { title = "SSL METHOD" },
    plan.method == "swap" and { title = "DEPLOYED", right = true } or nil,
    plan.method == "swap" and { title = "REASON", shrink = true } or nil }, rows, width)
  for index, wave in ipairs(plan.method == "swap" and plan.waves or {}) do
    local soak = wave.soak > 0 and index < #plan.waves and (", then %s to watch"):format(fmt.duration(wave.soak)) or ""
    if not singles or wave.unit then
      say("Wave %d: %d at a time%s%s", index, wave.parallel, soak,
        wave.reason ~= "" and "; " .. table_report.clean(wave.reason) or "")
    elseif index == 1 then
      say("%s%s", table_report.clean(wave.reason), soak)
    end
    conditions(say, index, wave)
  end
  if (plan.settings.failures or 0) > 0 then
    say("Up to %s may fail, fewer being changed at a time after each; then no other is begun",
      fmt.plural(plan.settings.failures, "holder"))
  end
  local reasons, by_reason = left_out(plan.left_out)
  for _, reason in ipairs(reasons) do
    local ids = by_reason[reason]
    say("Left out: %s (%s); the old certificate cannot be retired while %s it", fmt.list(ids, 6), reason,
      #ids == 1 and "this one uses" or "they use")
  end
  local p = plan.prediction
  if plan.method == "reimport" then
    say("%s within %s, each looked at until it serves the new certificate", fmt.plural(total, "holder"),
      fmt.duration(p.seconds))
  else
    say("%s in about %s (a deployment taken as %s)", fmt.plural(total, "holder"), fmt.duration(p.seconds),
      fmt.duration(p.deploy_seconds))
  end
  if plan.method == "reimport" then
    say("No charge: there is no second certificate%s", p.one_at_a_time.charge > 0
      and (" (a swap one at a time: %s)"):format(fmt.money(p.one_at_a_time.charge)) or "")
  elseif p.one_at_a_time.charge > 0 then
    say("Overlap on dedicated IP addresses about %s: %s", fmt.duration(p.overlap_seconds), fmt.money(p.charge))
    say("  at the very least %s; one at a time %s: %s",
      p.minimum_overlap_seconds and ("%s: %s"):format(fmt.duration(p.minimum_overlap_seconds), fmt.money(p.minimum_charge))
        or fmt.money(p.minimum_charge),
      fmt.duration(p.one_at_a_time.overlap_seconds), fmt.money(p.one_at_a_time.charge))
  else
    say("No overlap is charged: no certificate is replaced on an enabled holder with dedicated IP addresses")
  end
  for _, finding in ipairs(plan.findings) do
    say("%s: %s", finding.level == "warn" and "Warning" or "Note", table_report.clean(finding.message))
  end
  say("Plan %s", plan.hash:sub(1, 16))
  return table.concat(lines, "\n") .. "\n"
end

return M
