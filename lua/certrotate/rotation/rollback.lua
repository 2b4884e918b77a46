--- What must hold before a rotation is rolled back, and what going back would do. Reads; never writes.
local errors = require("certrotate.errors")
local fmt = require("certrotate.fmt")
local inventory_module = require("certrotate.rotation.inventory")
local journal_module = require("certrotate.rotation.journal")
local mirror = require("certrotate.rotation.mirror")
local preflight = require("certrotate.rotation.preflight")
local stored = require("certrotate.rotation.stored")

local M = {}

---@class certrotate.RollbackLook
---@field from? string           the new certificate, where it is known
---@field to string              the old one
---@field not_after? number      when the old one ends
---@field fingerprint? string    of the old one
---@field holders certrotate.PlanHolder[]   newest first: whom going back would look at
---@field done boolean           the rotation was rolled back already

local function refuse(code, message, ...)
  return nil, errors.new({ kind = "policy", code = code, message = message:format(...) })
end

-- The old certificate, fit to serve again.
local function old_certificate(aws, plan, inventory)
  local old, err = stored.read(aws, inventory, plan.from)
  if err then return nil, err end
  if not old then
    return refuse("OldCertificateGone", "the old certificate %s is not there any more, so there is no way back; make a plan "
      .. "to another one", plan.from)
  end
  local now = aws.loop:now() + aws:clock_offset()
  if old.not_after and old.not_after <= now then
    return refuse("OldCertificateExpired", "the old certificate %s expired on %s: viewers would be refused; make a plan to "
      .. "another one", plan.from, fmt.timestamp(old.not_after))
  end
  return old
end

--- Looks whether the rotation of an open journal can be rolled back.
---@param aws certrotate.Session
---@param journal certrotate.Journal
---@return certrotate.RollbackLook?
---@return certrotate.Error?
function M.look(aws, journal)
  local plan, state = journal.plan, journal:state()
  local ok, err = preflight.endpoint(aws, plan)
  if not ok then return nil, err end
  local forward = state.forward or state
  if forward.retired then
    return refuse("OldCertificateGone", "the old certificate was retired on %s, so there is no way back; make a plan to "
      .. "another one", fmt.timestamp(forward.retired))
  end
  local inventory
  inventory, err = inventory_module.build(aws)
  if not inventory then return nil, err end
  ok, err = preflight.account(plan, inventory.holders)
  if not ok then return nil, err end
  local old
  old, err = old_certificate(aws, plan, inventory)
  if not old then return nil, err end
  local back, list = mirror.plan(plan, forward), {}
  for index = #back.waves, 1, -1 do
    for _, holder in ipairs(back.waves[index].holders) do list[#list + 1] = holder end
  end
  return { from = forward.to, to = plan.from, not_after = old.not_after, fingerprint = old.fingerprint, holders = list,
           done = state.forward ~= nil and state.ended ~= nil }
end

--- The same for a journal's file: a dry run.
---@param aws certrotate.Session
---@param path string
---@return certrotate.RollbackLook?
---@return certrotate.Error?
function M.read(aws, path)
  local journal, err = journal_module.load(path)
  if not journal then return nil, err end
  return M.look(aws, journal)
end

return M
