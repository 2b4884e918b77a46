--- Changes holders under a failure budget: after each failure fewer at a time, and none any more once too many failed.
--
-- Counted are changes that failed for good, AWS's own retries included. A conflict is somebody else's decision and
-- counts as nothing; an interrupt, or a journal that cannot be written, stops at once. Who failed is reported as left
-- behind, and tried again by a resume.
local stopped = require("certrotate.rotation.run.base").stopped

local M = {}

--- Whether this failure leaves budget for others; nil and what the run stops with when not.
local function spend(run, holder, failure)
  if run.failed[holder.Id] ~= failure or failure.kind == "cancelled" then return nil, failure end
  local most = run.plan.settings.failures or 0
  run.failures = run.failures + 1
  if run.failures <= most then
    run:emit("budget", { failures = run.failures, most = most })
    return true
  end
  -- Without a budget it is that failure that is told.
  if most == 0 then return nil, failure end
  return nil, stopped("FailureBudget", ("%d holders failed, more than the plan's budget of %d (the last: %s: %s); find "
    .. "out why, then resume"):format(run.failures, most, holder.Id, failure.message), failure.kind, failure)
end

--- Does `fn` for each holder, at most `parallel` at a time and half as many after each failure.
---@param run certrotate.Run
---@param list certrotate.PlanHolder[]
---@param parallel integer
---@param fn fun(holder: certrotate.PlanHolder): boolean?, certrotate.Error?
---@return boolean? ok
---@return certrotate.Error?
function M.each(run, list, parallel, fn)
  local limit, at, stop = math.min(parallel, #list), 0, nil
  local workers = {}
  for number = 1, limit do workers[number] = number end
  return run:each(workers, math.max(1, limit), function(number)
    while number <= limit and at < #list and not stop do
      at = at + 1
      local holder = list[at]
      local ok, failure = fn(holder)
      if not ok then
        ok, stop = spend(run, holder, failure)
        if not ok then return nil, stop end
        limit = math.max(1, math.floor(limit / 2))
      end
    end
    return true
  end)
end

return M
