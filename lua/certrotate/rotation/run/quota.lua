--- Before anything is changed: the overlap fits the account's dedicated-IP quota, or a higher one is waited for.
--
-- Time has passed since the plan was made, and others may have taken the place it counted on. A wait is journalled, so
-- that it can be interrupted and resumed with the same end; afterwards the plan must still match reality.
local check = require("certrotate.rotation.check")
local inventory_module = require("certrotate.rotation.inventory")
local quota_module = require("certrotate.rotation.quota")
local wait = require("certrotate.rotation.quota.wait")
local stopped = require("certrotate.rotation.run.base").stopped

local M = {}

-- As many as will be used while the plan is carried out; nil when it touches no dedicated-IP holder.
local function needed_for(plan, inventory)
  local holders = {}
  for _, planned in ipairs(plan:holders()) do
    local holder = inventory:holder(planned.Id)
    if holder and planned.attach and holder.default_certificate then
      holder = inventory_module.attached(holder, planned.attach)
    end
    holders[#holders + 1] = holder
  end
  return quota_module.needed(inventory, holders, plan.settings.to)
end

--- Whether a plan may be begun as far as this quota goes: it fits, or there is patience to wait.
---@param aws certrotate.Session
---@param plan certrotate.Plan
---@param inventory certrotate.Inventory   fresh
---@param patience? number                  seconds; default: the plan's
---@return boolean? fits     false: to be waited for
---@return certrotate.Error?  the refusal
function M.fits(aws, plan, inventory, patience)
  local needed = needed_for(plan, inventory)
  if not needed then return true end
  local quota, err = quota_module.of(aws, plan.settings.dedicated_ip_quota)
  if not quota then return nil, err end
  local findings = quota_module.findings(quota, needed, patience or plan.settings.wait_for_quota)
  for _, finding in ipairs(findings) do
    if finding.level == "refuse" then return nil, check.refusal(findings) end
  end
  return needed <= quota.value
end

--- What a plan that does not fit any more is refused with.
---@param changes string[]
---@return certrotate.Error
function M.outdated(changes)
  local err = stopped("PlanOutdated", ("the plan does not match reality any more: %s%s; make a new one with "
    .. "`certrotate plan`"):format(changes[1], #changes > 1 and (" (and %d more)"):format(#changes - 1) or ""))
  err.changes = changes
  return err
end

-- Until when: what was announced first, unless the caller of this run says otherwise.
local function deadline_of(run)
  local waiting, seconds = run.state.waiting, run.options.wait_for_quota
  if waiting and not seconds then return waiting.deadline end
  return run:now() + (seconds or run.plan.settings.wait_for_quota)
end

-- Announces the wait, once.
local function announce(run, needed, deadline)
  local waiting = run.state.waiting
  if waiting and waiting.deadline == deadline then return true end
  run.state.waiting = { deadline = deadline, needed = needed }
  return run:record({ event = "quota", needed = needed, deadline = deadline, locks = run.locks.directory })
end

--- Waits, unless the overlap fits. To be called before a run is begun; `run.fits` is what was found just now, nil
--- where nobody has looked (resuming).
---@param run certrotate.Run
---@return boolean? ok
---@return certrotate.Error?
function M.wait(run)
  local plan, aws, inventory = run.plan, run.aws, nil
  local function needed()
    local err
    inventory, err = inventory_module.build(aws, { certificates = false })
    if not inventory then return nil, err end
    return needed_for(plan, inventory) or 0
  end
  local count, err = needed()
  if not count then return nil, err end
  if run.fits == nil and not run.state.waiting then
    local fits
    fits, err = M.fits(aws, plan, inventory, run.options.wait_for_quota)
    if fits ~= false then return fits, err end
  end
  local deadline = deadline_of(run)
  local ok
  ok, err = announce(run, count, deadline)
  if not ok then return nil, err end
  local enough
  enough, err = wait.enough(aws, {
    needed = needed, deadline = deadline, poll = run.options.quota_poll,
    on_look = function(look)
      run:emit("quota", { needed = look.needed, value = look.quota.value, source = look.quota.source,
                          deadline = deadline, request = look.request })
    end,
  })
  if not enough then return nil, err end
  local changes = plan:differences(inventory)
  if #changes > 0 then return nil, M.outdated(changes) end
  run:emit("quota", { needed = enough.needed, value = enough.quota.value, source = enough.quota.source,
                      deadline = deadline, enough = true })
  return true
end

return M
