--- Waits until the account's dedicated-IP quota is high enough. Changes nothing.
--
-- The quota's value decides, never what a request says: AWS closes cases for many reasons, and an approved request may
-- come before its value, or a value without any request.
local errors = require("certrotate.errors")
local fmt = require("certrotate.fmt")
local quota_module = require("certrotate.rotation.quota")
local request_module = require("certrotate.rotation.quota.request")

local M = {}

-- People answer these requests, in hours.
M.POLL = 300

-- What waiting outlasts: the service or the network in trouble. Not being allowed to look, never.
local PASSING = { transport = true, timeout = true, parse = true }

---@class certrotate.QuotaLook
---@field quota certrotate.DedicatedIpQuota
---@field needed integer
---@field request? certrotate.QuotaRequest   the open one, else the newest
---@field deadline number                    AWS's time

local function too_late(look)
  local asked = look.request and ("; the request for %s is %s"):format(fmt.integer(math.floor(look.request.DesiredValue)),
    look.request.Status) or ""
  return errors.new({ kind = "policy", code = "DedicatedIpQuota",
    message = ("the dedicated-IP quota is still %d and %d are needed%s; nothing was changed; %s"):format(look.quota.value,
      look.needed, asked, quota_module.advice(look.quota, look.needed)) })
end

-- Only for people, so what cannot be read is left out.
local function request_of(aws, code)
  local list = request_module.list(aws, code)
  return list and request_module.current(list)
end

-- Whether the value could not be read just now, but may be at the next look.
local function unsettled(quota)
  return quota.problem ~= nil and (PASSING[quota.problem.kind] or quota.problem.retryable)
end

---@class certrotate.QuotaWaitOptions
---@field needed fun(): integer?, certrotate.Error?   how many certificates; asked each time, others come and go
---@field deadline number                             AWS's time, Unix seconds
---@field poll? number                                seconds between looks, default 300
---@field on_look? fun(look: certrotate.QuotaLook)    told of each look that was not enough

--- Looks at once, then every `poll` seconds. Interrupts end it (code "Interrupted"); it can be called again.
---@param aws certrotate.Session
---@param options certrotate.QuotaWaitOptions
---@return certrotate.QuotaLook?   the one that was enough
---@return certrotate.Error?      code "DedicatedIpQuota" when the deadline came first
function M.enough(aws, options)
  while true do
    local needed, err = options.needed()
    if not needed and not PASSING[err.kind] then return nil, err end
    local look
    if needed then
      local quota
      quota, err = quota_module.read(aws)
      if not quota then return nil, err end
      look = { quota = quota, needed = needed, deadline = options.deadline }
      if not unsettled(quota) then
        if quota.value >= needed then return look end
        look.request = request_of(aws, quota.code)
        -- Nobody could see it change.
        if quota.source == "assumed" then return nil, too_late(look) end
        if options.on_look then options.on_look(look) end
      end
    end
    local left = options.deadline - aws:now()
    if left <= 0 then return nil, look and too_late(look) or err end
    local slept
    slept, err = aws.loop:sleep(math.min(options.poll or M.POLL, left))
    if not slept then return nil, err end
  end
end

return M
