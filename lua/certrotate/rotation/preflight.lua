--- What must hold before a plan or a journal is acted upon: made for this account, with this certificate, which
-- is still valid. Reads; never writes.
local core = require("certrotate.core")
local errors = require("certrotate.errors")

local M = {}

local function refuse(code, message)
  return nil, errors.new({ kind = "policy", code = code, message = message })
end

--- Plans name ids and references, which mean nothing, or something else, elsewhere.
---@param aws certrotate.Session
---@param plan certrotate.Plan
---@return boolean? ok
---@return certrotate.Error?
function M.endpoint(aws, plan)
  local here = aws:endpoint("cloudfront") or ""
  if plan.endpoint == "" or plan.endpoint == here then return true end
  return refuse("OtherEndpoint", ("made for %s, not for %s; pass the same --endpoint-url and region, or make a new plan")
    :format(plan.endpoint, here))
end

--- A journal is acted upon only in the account it was written in. Distribution ids are unique everywhere, so one of
-- the plan's holders is proof enough; holders deleted meanwhile are none against it.
---@param plan certrotate.Plan
---@param holders certrotate.Holder[]   a whole, fresh listing
---@return boolean? ok
---@return certrotate.Error?
function M.account(plan, holders)
  local there = {}
  for _, holder in ipairs(holders) do there[holder.Id] = true end
  local planned = plan:holders()
  for _, holder in ipairs(planned) do
    if there[holder.Id] then return true end
  end
  if #planned == 0 then return true end
  return refuse("OtherAccount", ("none of the plan's distributions (%s, ...) exists in this account; check the profile")
    :format(planned[1].Id))
end

--- The identity of a plan: given, or loaded from the files the plan names; refused when it is another one.
---@param plan certrotate.Plan
---@param identity? certrotate.Identity
---@param passphrase? string
---@return certrotate.Identity?
---@return certrotate.Error?
function M.identity(plan, identity, passphrase)
  if not identity then
    local files = plan.files
    if not files.certificate then
      return nil, errors.new({ kind = "input", code = "NoIdentity",
        message = "the certificate is not imported yet and the plan names no files; resume from a script with `identity`" })
    end
    local err
    identity, err = core.identity({ certificate = files.certificate, private_key = files.private_key,
                                    chain = files.chain, passphrase = passphrase })
    if not identity then return nil, err end
  end
  if identity:fingerprint() ~= plan.identity.fingerprint then
    return refuse("OtherIdentity", ("%s is not the certificate of this plan any more; make a new plan"):format(
      plan.files.certificate or "the identity given"))
  end
  return identity
end

--- Whether AWS would still take it: time has passed since the plan was made. Roots do not change with it, and the plan
-- may have been told of more of them.
---@param aws certrotate.Session
---@param plan certrotate.Plan
---@param identity certrotate.Identity
---@return boolean? ok
---@return certrotate.Error?
function M.valid(aws, plan, identity)
  local now = math.floor(aws.loop:now() + aws:clock_offset())
  local findings, err = identity:check({ store = plan.store, now = now, roots = false })
  if not findings then return nil, err end
  for _, finding in ipairs(findings) do
    if finding.level == "refuse" then
      err = select(2, refuse(finding.code, finding.message .. "; make a new plan"))
      err.findings = findings
      return nil, err
    end
  end
  return true
end

return M
