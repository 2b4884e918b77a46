--- Everything that can be known before the first change: what AWS would refuse, and what a person would
--- want to know. Reads; never writes. `evaluate` is pure, so every rule is tested without a network.
local continuous_deployment = require("certrotate.rotation.continuous_deployment")
local core = require("certrotate.core")
local errors = require("certrotate.errors")
local fmt = require("certrotate.fmt")
local inventory_module = require("certrotate.rotation.inventory")
local method_module = require("certrotate.rotation.method")
local policy_module = require("certrotate.rotation.policy")
local quota_module = require("certrotate.rotation.quota")
local stored = require("certrotate.rotation.stored")

local M = {}

-- certrotate.CheckOptions, for certrotate.arguments.
M.OPTIONS = {
  with = "userdata", replace = "string", store = "string", method = "string", verify = "boolean", only = "table",
  trust = "string", dedicated_ip_quota = "number", wait_for_quota = "number", continuous_deployment = "string",
  attach = "table", ssl_support_method = "string", minimum_protocol_version = "string", deploy_seconds = "number",
  inventory = "table",
}

-- What a deployment takes where nothing better is known, and the three calls of one change.
M.DEPLOY_SECONDS = 300
M.CALL_SECONDS = 1.5

---@class certrotate.CheckOptions
---@field with certrotate.Identity
---@field replace? string                    reference of the certificate to be replaced
---@field store? "acm"|"iam"                 default: where the old one is, else acm
---@field method? "swap"|"reimport"|"auto"    default: swap
---@field verify? boolean                    false: the served certificate will not be looked at
---@field only? string[]                     ids of the holders to change; default: all
---@field trust? string                      PEM file with more roots
---@field dedicated_ip_quota? integer        default: what Service Quotas says
---@field wait_for_quota? number             seconds the rotation may wait for a higher one: too low is no refusal then
---@field continuous_deployment? "detach"    change holders under a continuous-deployment policy too, as units: the
---                                          policy is detached meanwhile; default: they are left out
---@field attach? string[]                  ids of distributions on the default certificate that get the new one too
---@field ssl_support_method? "sni-only"|"vip"  how it is served there; needed with `attach`, refused without
---@field minimum_protocol_version? string   there; default TLSv1.2_2021, with vip TLSv1
---@field deploy_seconds? number             what a deployment takes, for what is told about that
---@field inventory? certrotate.Inventory

---@class certrotate.CheckResult
---@field findings certrotate.Finding[]
---@field refused boolean
---@field nothing_to_do? string              why there is nothing to do
---@field inventory? certrotate.Inventory
---@field holders certrotate.Holder[]        what would be changed, units included
---                                          those attached to have a field `attach`
---@field units certrotate.Unit[]            those of the continuous deployments that would be changed as a unit
---@field left_out { Id: string, reason: string }[]
---@field store "acm"|"iam"
---@field method certrotate.Method
---@field method_reason? string              why, when `auto` was asked for
---@field stored? certrotate.CertificateInfo what a reimport would replace
---@field replace? string                    reference of the old one, as distributions name it
---@field old? certrotate.StoredCertificate
---@field to? string                         reference of the new certificate where it is already stored

local function is_acm(reference) return reference:match("^arn:[%w-]+:acm:") ~= nil end

local function finding(list, level, code, format, ...)
  list[#list + 1] = { level = level, code = code, message = format:format(...) }
end

--- Up to `most` items as text, then how many more.
local function some(list, most)
  local shown = {}
  for i = 1, math.min(#list, most) do shown[i] = list[i] end
  local line = table.concat(shown, ", ")
  if #list > most then line = line .. (" and %d more"):format(#list - most) end
  return line
end

local function check_reference(facts, out)
  local reference = facts.replace
  if is_acm(reference) then
    local partition, region = reference:match("^arn:([%w-]+):acm:([%w-]+):")
    if partition ~= (facts.partition or "aws") then
      finding(out, "refuse", "WrongPartition", "%s is of the partition %s, this account of %s%s", reference, partition,
        facts.partition or "aws", partition == "aws-us-gov" and "; AWS GovCloud (US) has no CloudFront"
          or "; --profile and --region choose another")
    elseif facts.partition == "aws-cn" then
      finding(out, "refuse", "StoreInChina",
        "%s is in ACM; CloudFront in China takes certificates of the IAM store only", reference)
    elseif region ~= "us-east-1" then
      finding(out, "refuse", "WrongRegion",
        "%s is in %s; CloudFront takes ACM certificates of us-east-1 only", reference, tostring(region))
    end
  end
  local old = facts.old
  if not old then
    finding(out, "refuse", "UnknownReference",
      "no certificate %s in this account; `certrotate inventory` lists what there is", reference)
    return
  end
  if old.type and old.type ~= "IMPORTED" then
    finding(out, "refuse", "NotImported",
      "%s is %s: AWS renews it by itself; only certificates you imported are rotated", reference, old.type)
  end
  if old.managed_by then
    finding(out, "refuse", "ManagedByCloudFront",
      "%s was requested and is renewed by CloudFront itself; leave it alone", reference)
  end
end

local function check_aliases(facts, out)
  local names = facts.names
  for _, holder in ipairs(facts.holders) do
    local missing = {}
    for _, alias in ipairs(holder.Aliases) do
      if not core.covers(names, alias) then missing[#missing + 1] = alias end
    end
    if #missing > 0 then
      finding(out, "refuse", "AliasNotCovered", "the new certificate does not cover %s of %s; order one that names %s",
        some(missing, 3), holder.Id, #missing == 1 and "it" or "them")
    end
  end
end

-- Everybody who will share the new certificate: those to be changed, and those who have it already.
local function check_http_versions(facts, out)
  local versions, list = {}, {}
  local function look(holders)
    for _, holder in ipairs(holders) do
      local version = holder.HttpVersion
      if version ~= "" and not versions[version] then
        versions[version] = true
        list[#list + 1] = ("%s (%s)"):format(version, holder.Id)
      end
    end
  end
  look(facts.holders)
  if facts.to and #facts.holders > 0 then look(facts.inventory:holders_of(facts.to)) end
  if #list > 1 then
    table.sort(list)
    finding(out, "refuse", "HttpVersionsDiffer",
      "distributions that share a certificate must use one HttpVersion, these differ: %s", some(list, 4))
  end
end

local function check_holders(facts, out)
  local in_progress = {}
  for _, holder in ipairs(facts.holders) do
    if holder.Status ~= "Deployed" then in_progress[#in_progress + 1] = holder.Id end
    if facts.store == "iam" and holder.ConnectionMode:find("^tenant") then
      finding(out, "refuse", "IamOnMultiTenant", "%s is %s and takes ACM certificates only; use --store acm", holder.Id,
        holder.ConnectionMode == "tenant" and "a distribution tenant" or "multi-tenant")
    end
  end
  if #in_progress > 0 then
    finding(out, "warn", "InProgress", "%d of the distributions are being deployed right now (%s); each is waited for",
      #in_progress, some(in_progress, 4))
  end
end

-- Holders under a continuous-deployment policy: left out, or changed as a unit. Without any other holder there is
-- nothing that could be done: a refusal.
local function check_units(facts, out)
  local deploy = facts.deploy_seconds or M.DEPLOY_SECONDS
  for _, unit in ipairs(facts.units or {}) do
    local who, one = continuous_deployment.describe(unit), #unit.holders == 1
    if unit.rotate then
      finding(out, "warn", "PolicyDetached",
        "continuous-deployment policy %s is detached from %s while %s, and attached again: for %s or less "
        .. "no viewer is sent to staging (now: %s)", unit.policy, unit.primary,
        #unit.holders > 1 and "the distributions it binds are changed" or unit.holders[1] .. " is changed",
        fmt.duration(continuous_deployment.seconds(deploy, M.CALL_SECONDS, #unit.holders)), unit.traffic)
    elseif unit.refused then
      finding(out, "refuse", "ContinuousDeployment",
        "%s take%s part in a continuous deployment (policy %s), under which CloudFront refuses certificate changes: %s",
        who, #unit.staging == 0 and "s" or "", unit.policy, unit.refused)
    else
      finding(out, #facts.holders == 0 and "refuse" or "warn", "ContinuousDeployment",
        "%s take%s part in a continuous deployment (policy %s), under which CloudFront refuses certificate changes: "
        .. "left out, and the old certificate cannot be retired while %s %s it; %s", who,
        #unit.staging == 0 and "s" or "", unit.policy, table.concat(unit.holders, " and "), one and "uses" or "use",
        unit.obstacle or "--detach-continuous-deployment changes them as a unit")
    end
  end
end

-- What uses the old certificate and is not going to be changed: load balancers, distribution tenants, holders left out.
local function check_others(facts, out)
  local known, others, charged = {}, {}, {}
  for _, holder in ipairs(facts.inventory.holders) do known[holder.ARN] = true end
  for _, arn in ipairs(facts.old and facts.old.in_use_by or {}) do
    if type(arn) == "string" and not known[arn] then others[#others + 1] = arn end
  end
  if #others > 0 then
    finding(out, "warn", "UsedElsewhere",
      "ACM says that %s %s the old certificate too; certrotate does not change %s, and the old certificate cannot be "
      .. "retired while that is so", some(others, 3), #others == 1 and "uses" or "use", #others == 1 and "it" or "them")
  end
  for _, left in ipairs(facts.left_out or {}) do
    local holder = facts.inventory:holder(left.Id)
    if holder and policy_module.charged(holder) then charged[#charged + 1] = left.Id end
  end
  if #charged > 0 and #facts.holders > 0 then
    finding(out, "warn", "OverlapGoesOn",
      "%s keeps the old certificate on dedicated IP addresses: both certificates are charged for until it is changed too",
      some(charged, 4))
  end
end

local function check_attached(facts, out)
  for _, problem in ipairs(facts.attach_problems or {}) do finding(out, "refuse", "Attach", "%s", problem) end
  for _, holder in ipairs(facts.holders) do
    if holder.attach then
      finding(out, "warn", "Attached", "%s is on the default certificate and gets the new one, by %s with at least %s%s",
        holder.Id, holder.attach.SSLSupportMethod, holder.attach.MinimumProtocolVersion,
        holder:dedicated_ip() and ": dedicated IP addresses, charged for from then on" or "")
    end
  end
end

local function check_quota(facts, out)
  local needed = quota_module.needed(facts.inventory, facts.holders, facts.to)
  local findings = needed and quota_module.findings(facts.dedicated_ip_quota, needed, facts.wait_for_quota) or {}
  for _, one in ipairs(findings) do out[#out + 1] = one end
  local summary = facts.iam_summary
  if facts.store == "iam" and not facts.to and summary then
    local used, quota = tonumber(summary.ServerCertificates), tonumber(summary.ServerCertificatesQuota)
    if used and quota and used >= quota then
      finding(out, "refuse", "IamQuota",
        "the IAM store is full (%d of %d server certificates); delete one or raise quota iam L-BF35879D",
        used, quota)
    end
  end
end

--- The rules, on facts gathered before.
---@param facts table  replace?, old?, to?, store, names, identity_findings, holders, inventory, units (decided),
---                    dedicated_ip_quota (where a holder uses dedicated IP addresses), wait_for_quota?, iam_summary?,
---                    clock_offset?, unknown_only?, deploy_seconds?; method?: with "reimport" those of method.findings too
---@return certrotate.Finding[]
function M.evaluate(facts)
  local out = {}
  for _, one in ipairs(facts.identity_findings) do out[#out + 1] = one end
  if facts.replace then check_reference(facts, out) end
  for _, id in ipairs(facts.unknown_only or {}) do
    finding(out, "refuse", "UnknownHolder", "%s does not use %s; `certrotate inventory` shows who does", id,
      tostring(facts.replace))
  end
  if facts.store == "acm" and facts.partition == "aws-cn" then
    finding(out, "refuse", "StoreInChina", "CloudFront in China takes certificates of the IAM store only; use --store iam")
  end
  check_aliases(facts, out)
  check_attached(facts, out)
  if facts.method == "reimport" then
    -- No distribution is touched: what holds for a change of theirs does not matter.
    for _, one in ipairs(method_module.findings(facts)) do out[#out + 1] = one end
  else
    check_http_versions(facts, out)
    check_holders(facts, out)
    check_units(facts, out)
    check_others(facts, out)
    check_quota(facts, out)
  end
  if facts.clock_offset and math.abs(facts.clock_offset) >= 300 then
    finding(out, "warn", "WrongClock", "this machine's clock is %s %s; AWS's time is used, better set it right",
      fmt.duration(math.abs(facts.clock_offset)), facts.clock_offset > 0 and "behind" or "ahead")
  end
  return out
end

-- Where the new certificate is already, if it is: in the listing only those that end at the same moment can be it.
-- Nothing is refused for want of this, so what cannot be read counts as not there.
local function already_stored(aws, facts, leaf)
  for _, one in ipairs(facts.inventory.certificates) do
    if one.store == facts.store and one.reference ~= facts.replace and (one.type == nil or one.type == "IMPORTED")
      and one.not_after and math.abs(one.not_after - leaf.not_after) <= 1
      and stored.fingerprint(aws, one) == leaf.fingerprint then
      return one.reference
    end
  end
  return nil
end

local function choose_holders(facts, only)
  local all = facts.replace and facts.inventory:holders_of(facts.replace) or {}
  if not only then
    facts.holders, facts.left_out = all, {}
    return
  end
  local wanted, chosen, left_out, unknown = {}, {}, {}, {}
  for _, id in ipairs(only) do wanted[id] = true end
  for _, holder in ipairs(all) do
    if wanted[holder.Id] then
      chosen[#chosen + 1] = holder
      wanted[holder.Id] = nil
    else
      left_out[#left_out + 1] = { Id = holder.Id, reason = "not named by --only" }
    end
  end
  for id in pairs(wanted) do
    -- Changed by an earlier, interrupted run: not unknown, just done.
    local holder = facts.inventory:holder(id)
    if not (holder and facts.to and holder.reference == facts.to) then unknown[#unknown + 1] = id end
  end
  table.sort(unknown)
  facts.holders, facts.left_out, facts.unknown_only = chosen, left_out, unknown
end

-- What a distribution is attached with unless something else is said, and what CloudFront takes with dedicated IPs.
local MINIMUM = { ["sni-only"] = "TLSv1.2_2021", vip = "TLSv1" }
local WITH_VIP = { SSLv3 = true, TLSv1 = true }

-- How the attached ones would be served, or nil and what is wrong with that.
local function attach_method(options)
  local method, minimum = options.ssl_support_method, options.minimum_protocol_version
  if not MINIMUM[method] then
    return nil, ("attaching needs an explicit SSL method%s: --ssl-support-method sni-only, or vip (dedicated IP addresses, "
      .. "charged for)"):format(method and (", not '%s'"):format(tostring(method)) or "")
  end
  minimum = minimum or MINIMUM[method]
  if method == "vip" and not WITH_VIP[minimum] then
    return nil, ("--minimum-protocol-version %s is not possible with vip: SSLv3 or TLSv1"):format(minimum)
  elseif method ~= "vip" and not minimum:find("^TLSv1[%w._]*$") then
    return nil, ("--minimum-protocol-version %s is not possible with %s: one of AWS's names, such as TLSv1.2_2021")
      :format(minimum, method)
  end
  return { SSLSupportMethod = method, MinimumProtocolVersion = minimum }
end

-- What keeps a distribution from being attached to, or nil.
local function attach_obstacle(facts, id, holder, attach)
  if not holder then return ("no distribution %s in this account"):format(id) end
  if holder.reference == facts.replace and facts.replace then
    return ("%s uses the certificate to be replaced, and is changed without --attach"):format(id)
  elseif not holder.default_certificate then
    return ("%s uses %s, not the default certificate; only a rotation of that one changes it"):format(id,
      holder.reference == "" and "its distribution's certificate" or holder.reference)
  elseif holder.ConnectionMode == "tenant-only" and (attach.SSLSupportMethod ~= "sni-only" or facts.store ~= "acm") then
    return ("%s is multi-tenant and takes ACM certificates with sni-only"):format(id)
  end
  return nil
end

-- Adds the distributions on the default certificate that were asked for. As holders they are copies that look as they
-- will, so that costs and quotas count them.
local function choose_attached(facts, options)
  local problems = {}
  facts.attach_problems, facts.attached = problems, {}
  if not options.attach then
    if options.ssl_support_method or options.minimum_protocol_version then
      problems[1] = "--ssl-support-method and --minimum-protocol-version belong to --attach: what a holder has is never "
        .. "changed by a rotation"
    end
    return
  end
  local attach, why = attach_method(options)
  if not attach then
    problems[1] = why
    return
  end
  local overlaps = false
  for _, holder in ipairs(facts.holders) do overlaps = overlaps or policy_module.charged(holder) end
  for _, id in ipairs(options.attach) do
    local holder = facts.inventory:holder(id)
    -- Attached by an earlier, interrupted run: just done.
    local done = holder and facts.to and holder.reference == facts.to
    local obstacle = not done and attach_obstacle(facts, id, holder, attach)
    if obstacle then
      problems[#problems + 1] = obstacle
    elseif not done and not facts.attached[id] then
      facts.attached[id] = inventory_module.attached(holder, attach, overlaps)
      facts.holders[#facts.holders + 1] = facts.attached[id]
    end
  end
end

-- Finds the continuous deployments among the chosen holders, and takes out those that are not to be changed.
local function choose_units(aws, facts, options)
  local err
  facts.units, err = continuous_deployment.find(aws, facts.inventory, facts.holders,
    { from = facts.replace, to = facts.to })
  if not facts.units then return nil, err end
  local units = {}
  for _, unit in ipairs(facts.units) do
    local parts = { unit.primary }
    for _, id in ipairs(unit.staging) do parts[#parts + 1] = id end
    for _, id in ipairs(parts) do
      if facts.attached[id] then
        facts.attach_problems[#facts.attach_problems + 1] = ("%s takes part in a continuous deployment (policy %s), under "
          .. "which CloudFront refuses certificate changes"):format(id, unit.policy)
      end
    end
    if #unit.holders > 0 then units[#units + 1] = unit end
  end
  facts.units = units
  local named
  if options.only then
    named = {}
    for _, id in ipairs(options.only) do named[id] = true end
  end
  continuous_deployment.decide(facts.units, named, options.continuous_deployment == "detach")
  local bound, kept = {}, {}
  for _, unit in ipairs(facts.units) do
    for _, id in ipairs(unit.rotate and {} or unit.holders) do bound[id] = unit.policy end
  end
  for _, holder in ipairs(facts.holders) do
    if bound[holder.Id] then
      local reason = "continuous-deployment policy " .. bound[holder.Id]
      facts.left_out[#facts.left_out + 1] = { Id = holder.Id, reason = reason }
    else
      kept[#kept + 1] = holder
    end
  end
  facts.holders = kept
  return true
end

-- What is to be changed by a swap: the chosen holders, without those under a continuous deployment unless that is
-- wanted, and what a dedicated-IP holder of them needs.
local function gather_swap(aws, facts, options)
  choose_holders(facts, options.only)
  choose_attached(facts, options)
  local ok, err = choose_units(aws, facts, options)
  if not ok then return nil, err end
  if facts.store == "iam" then
    local summary, why = aws.iam:get_account_summary()
    if not summary and why.code ~= "AccessDenied" then return nil, why end
    facts.iam_summary = summary and summary.SummaryMap
  end
  if quota_module.needed(facts.inventory, facts.holders) then
    facts.dedicated_ip_quota, err = quota_module.of(aws, options.dedicated_ip_quota)
    if not facts.dedicated_ip_quota then return nil, err end
  end
  return true
end

-- By a reimport everybody who names the reference is changed, whatever was asked for.
local function gather_reimport(aws, facts, options)
  choose_holders(facts, nil)
  facts.units, facts.only, facts.verify, facts.known = {}, options.only, options.verify, {}
  facts.asked_store = options.store
  if options.attach then
    facts.attach_problems = { "--attach gives a distribution the new certificate's reference, and by a reimport there is "
      .. "none; use --method swap" }
  end
  for _, holder in ipairs(facts.inventory.holders) do facts.known[holder.ARN] = true end
  if not facts.old or facts.old.store ~= "acm" then return true end
  local err
  facts.stored, err = method_module.stored(aws, facts.replace)
  if not facts.stored and facts.old.fingerprint then return nil, err end
  return true
end

-- One method, judged on a copy of the common facts.
local function judge(aws, common, options, method)
  local facts = { method = method }
  for key, value in pairs(common) do facts[key] = value end
  local ok, err = (method == "reimport" and gather_reimport or gather_swap)(aws, facts, options)
  if not ok then return nil, err end
  local findings = M.evaluate(facts)
  local result = {
    findings = findings, refused = false, inventory = facts.inventory, holders = facts.holders,
    left_out = facts.left_out, store = method == "reimport" and "acm" or facts.store, replace = facts.replace,
    old = facts.old, to = facts.to, identity = facts.leaf, units = {}, method = method, stored = facts.stored,
  }
  for _, unit in ipairs(facts.units) do
    if unit.rotate then result.units[#result.units + 1] = unit end
  end
  for _, one in ipairs(findings) do
    if one.level == "refuse" then result.refused = true end
  end
  if facts.old and facts.old.fingerprint == facts.leaf.fingerprint then
    result.nothing_to_do = ("%s already is this certificate"):format(facts.replace)
  elseif facts.replace and facts.old and #facts.holders == 0 and #facts.units == 0 then
    result.nothing_to_do = ("no distribution uses %s"):format(facts.replace)
  elseif not facts.replace and options.attach and #facts.holders == 0 and not result.refused then
    result.nothing_to_do = "this certificate is attached to all of them already"
  end
  return result
end

-- What `auto` makes of both.
local function choose_method(aws, facts, options)
  local swap, err = judge(aws, facts, options, "swap")
  if not swap then return nil, err end
  if not facts.replace or not facts.old or swap.nothing_to_do then return swap end
  local reimport
  reimport, err = judge(aws, facts, options, "reimport")
  if not reimport then return nil, err end
  local method, reason = method_module.choose(swap.findings, reimport.findings)
  local result = method == "reimport" and reimport or swap
  result.method_reason = reason
  return result
end

--- Gathers the facts and applies the rules. Failing to gather one is an error, not a finding.
---@param aws certrotate.Session
---@param options certrotate.CheckOptions
---@return certrotate.CheckResult?
---@return certrotate.Error?
function M.run(aws, options)
  local identity = options.with
  if not identity then error("check: `with` must be an identity", 2) end
  local detach = options.continuous_deployment
  if detach ~= nil and detach ~= "detach" then
    error("check: `continuous_deployment` must be \"detach\" or left out", 2)
  end
  local fine, method = pcall(method_module.resolve, options.method)
  if not fine then error("check: " .. method, 2) end
  local inventory, err = options.inventory
  if not inventory then
    inventory, err = inventory_module.build(aws)
    if not inventory then return nil, err end
  end
  local leaf = identity:leaf()
  local facts = {
    replace = options.replace, inventory = inventory, names = leaf.names, leaf = leaf, partition = aws.partition,
    wait_for_quota = options.wait_for_quota, deploy_seconds = options.deploy_seconds,
  }
  if facts.replace then
    facts.old, err = stored.read(aws, inventory, facts.replace)
    if not facts.old and err then return nil, err end
    -- IAM's ARN is as exact as the id, and the id is what distributions name.
    facts.replace = facts.old and facts.old.reference or facts.replace
  end
  if facts.replace then
    local ok
    ok, err = inventory_module.add_tenants_of(aws, facts.replace, inventory.holders)
    if not ok then return nil, err end
  end
  facts.store = options.store or facts.old and facts.old.store
    or (aws.partition == "aws-cn" and "iam" or "acm")
  facts.to = already_stored(aws, facts, leaf)
  facts.clock_offset = aws:clock_offset()
  facts.now = math.floor(aws.loop:now() + facts.clock_offset)
  facts.identity_findings, err = identity:check({ store = facts.store, now = facts.now, trust = options.trust })
  if not facts.identity_findings then return nil, err end
  if method == "auto" then return choose_method(aws, facts, options) end
  return judge(aws, facts, options, method)
end

--- The refusals as one error whose message is its first line and how many more there are.
---@param findings certrotate.Finding[]
---@return certrotate.Error
function M.refusal(findings)
  local refusals = {}
  for _, one in ipairs(findings) do
    if one.level == "refuse" then refusals[#refusals + 1] = one end
  end
  local first = refusals[1]
  local more = #refusals > 1 and (" (and %d more; `certrotate check` lists them)"):format(#refusals - 1) or ""
  local err = errors.new({ kind = "policy", code = first.code, message = first.message .. more })
  err.findings = findings
  return err
end

return M
