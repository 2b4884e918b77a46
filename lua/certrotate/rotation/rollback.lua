--- What must hold before a rotation is rolled back, and what going back would do. Reads; never writes.
local closing = require("certrotate.rotation.closing")
local errors = require("certrotate.errors")
local fmt = require("certrotate.fmt")
local inventory_module = require("certrotate.rotation.inventory")
local journal_module = require("certrotate.rotation.journal")
local method_module = require("certrotate.rotation.method")
local mirror = require("certrotate.rotation.mirror")
local preflight = require("certrotate.rotation.preflight")
local quota_module = require("certrotate.rotation.quota")
local stored = require("certrotate.rotation.stored")

local M = {}

---@class certrotate.RollbackLook
---@field from? string           the new certificate, where it is known
---@field to string              the old one
---@field not_after? number      when the old one ends
---@field fingerprint? string    of the old one
---@field holders certrotate.PlanHolder[]   newest first: whom going back would look at
---@field done boolean           the rotation was rolled back already
---@field left_behind? string[]  when it was: ids that name the new certificate now
---@field method certrotate.Method
---@field written? boolean       of a reimport: the new certificate is there, and the old one has to be imported again

local function refuse(code, message, ...)
  return nil, errors.new({ kind = "policy", code = code, message = message:format(...) })
end

-- The old certificate, fit to serve again.
local function old_certificate(aws, plan, inventory)
  local old, err = stored.read(aws, inventory, plan.from)
  if err then return nil, err end
  if not old then
    return refuse("OldCertificateGone", "the old certificate %s is not there any more, so there is no way back; make a "
      .. "plan to another one", plan.from)
  end
  local now = aws.loop:now() + aws:clock_offset()
  if old.not_after and old.not_after <= now then
    return refuse("OldCertificateExpired", "the old certificate %s expired on %s: viewers would be refused; make a plan "
      .. "to another one", plan.from, fmt.timestamp(old.not_after))
  end
  return old
end

-- What a reimport has to put back: AWS kept nothing, so whoever goes back brings the very certificate that was there.
-- Returns whether it is still to be put back.
local function old_content(aws, plan, identity)
  local now, replaced = aws.loop:now() + aws:clock_offset(), plan.replaced
  if replaced.not_after and replaced.not_after <= now then
    return refuse("OldCertificateExpired", "the certificate that %s held before expired on %s: viewers would be "
      .. "refused; make a plan to another one", plan.from, fmt.timestamp(replaced.not_after))
  end
  if identity and identity:fingerprint() ~= replaced.fingerprint then
    return refuse("OtherIdentity",
      "the certificate given is not the one that %s held before (SHA-256 %s); give that one", plan.from,
      replaced.fingerprint)
  end
  local there, err = method_module.stored(aws, plan.from)
  if not there then
    if err.code ~= "ResourceNotFoundException" then return nil, err end
    return refuse("OldCertificateGone", "%s is not there any more, so there is no way back; make a plan to another one",
      plan.from)
  end
  if there.fingerprint == replaced.fingerprint then return false end
  if there.fingerprint ~= plan.identity.fingerprint then
    return refuse("ForeignCertificate", "%s holds another certificate now (SHA-256 %s...): somebody reimported it "
      .. "meanwhile; look at it, it is left as it is", plan.from, there.fingerprint:sub(1, 16))
  end
  local ends = math.min(there.not_after, replaced.not_after or there.not_after)
  if ends - now < method_module.LEAD then
    return refuse("ReimportTooLate", "going back takes up to 24 hours to reach viewers, and the %s certificate ends at "
      .. "%s: make a plan to another one", ends == there.not_after and "present" or "old", fmt.timestamp(ends))
  end
  return true
end

local function look_in_place(aws, journal, identity)
  local plan, state = journal.plan, journal:state()
  local holders, err = inventory_module.list_holders(aws)
  if not holders then return nil, err end
  local ok
  ok, err = preflight.account(plan, holders)
  if not ok then return nil, err end
  local forward = state.forward or state
  local begun = forward.reimported ~= nil or forward.reimport_open or false
  local written = false
  if begun then
    written, err = old_content(aws, plan, identity)
    if written == nil then return nil, err end
  end
  return {
    to = plan.from, fingerprint = plan.replaced.fingerprint, not_after = plan.replaced.not_after, method = "reimport",
    holders = begun and plan:holders() or {}, done = state.forward ~= nil and state.ended ~= nil, written = written,
  }
end

--- A reimport is undone only by whoever has the old certificate at hand. Not part of `look`, so that what would be done
--- can be shown without it.
---@param found certrotate.RollbackLook
---@param identity? certrotate.Identity
---@return boolean? ok
---@return certrotate.Error?
function M.ready(found, identity)
  if not found.written or identity then return true end
  return refuse("OldIdentityNeeded", "AWS kept nothing of the certificate that %s held before (SHA-256 %s): give it "
    .. "with --certificate and --private-key (and --chain)", found.to, found.fingerprint)
end

-- Where the old certificate has left the last dedicated-IP holder, going back takes a place of the quota again. One that
-- is only assumed stands in nobody's way.
local function fits_quota(aws, plan, inventory, back, given)
  local holders = {}
  for _, planned in ipairs(back:holders()) do
    local holder = inventory:holder(planned.Id)
    if holder and holder.reference == back.from then holders[#holders + 1] = holder end
  end
  local needed, in_use = quota_module.needed(inventory, holders, plan.from)
  if not needed or needed <= in_use then return true end
  local quota, err = quota_module.of(aws, given or plan.settings.dedicated_ip_quota)
  if not quota then return nil, err end
  if quota.source == "assumed" or needed <= quota.value then return true end
  return refuse("DedicatedIpQuota", "on the way back %d certificates would be used with dedicated IP addresses, the quota "
    .. "is %d (%s); %s", needed, quota.value, quota_module.source_text(quota), quota_module.advice(quota, needed))
end

--- Looks whether the rotation of an open journal can be rolled back.
---@param aws certrotate.Session
---@param journal certrotate.Journal
---@param options? { identity?: certrotate.Identity, dedicated_ip_quota?: integer }   of a rollback
---@return certrotate.RollbackLook?
---@return certrotate.Error?
function M.look(aws, journal, options)
  options = options or {}
  local plan, state = journal.plan, journal:state()
  local ok, err = preflight.endpoint(aws, plan)
  if not ok then return nil, err end
  if plan.method == "reimport" then return look_in_place(aws, journal, options.identity) end
  if not plan.from then
    return refuse("NothingReplaced", "this rotation replaced no certificate: the distributions it attached to stay "
      .. "where they are")
  end
  local forward = state.forward or state
  if forward.retired then
    return refuse("OldCertificateGone", "the old certificate was retired on %s, so there is no way back; make a plan "
      .. "to another one", fmt.timestamp(forward.retired))
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
  ok, err = fits_quota(aws, plan, inventory, back, options.dedicated_ip_quota)
  if not ok then return nil, err end
  for index = #back.waves, 1, -1 do
    for _, holder in ipairs(back.waves[index].holders) do list[#list + 1] = holder end
  end
  local found = { from = forward.to, to = plan.from, not_after = old.not_after, fingerprint = old.fingerprint, holders = list,
                  method = "swap", done = state.forward ~= nil and state.ended ~= nil }
  -- Whoever asks again may not have seen the report of the first time.
  if found.done and found.from and not state.retired then
    local closed
    closed, err = closing.look(aws, state.plan, state)
    if not closed then return nil, err end
    found.left_behind = closed.left_behind
  end
  return found
end

--- The same for a journal's file: a dry run.
---@param aws certrotate.Session
---@param path string
---@param options? { identity?: certrotate.Identity, dedicated_ip_quota?: integer }   of a rollback
---@return certrotate.RollbackLook?
---@return certrotate.Error?
function M.read(aws, path, options)
  local journal, err = journal_module.load(path, aws)
  if not journal then return nil, err end
  return M.look(aws, journal, options)
end

return M
