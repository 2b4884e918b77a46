--- certrotate check: everything that can be known beforehand.
local accounts = require("certrotate.cli.accounts")
local cli = require("certrotate.cli")
local context_module = require("certrotate.cli.context")

local M = { summary = "Say what AWS would refuse, before anything is changed." }

function M.flags(command)
  context_module.session_flags(command)
  context_module.identity_flags(command)
  command:option("--replace", "Reference of the certificate to replace: its ACM ARN or IAM id.")
  command:option("--store", "Where the new one goes; default: where the old one is."):choices({ "acm", "iam" })
  command:option("--method", "swap (default): a new reference, holder by holder; reimport: new content under the same "
    .. "ACM ARN, all at once, not undone by AWS; auto: a swap where one can be carried out, else a reimport.")
    :choices({ "swap", "reimport", "auto" })
  command:flag("--no-verify", "Do not look at the certificate really served after each wave.")
  command:option("--only", "Change only these distributions (ids)."):args("+")
  command:option("--attach", "Give the new one to these distributions, which are on the default certificate so far; "
    .. "without --replace to them alone.")
    :args("+")
  command:option("--ssl-support-method", "How --attach serves it: sni-only, or vip (dedicated IP addresses, charged for).")
    :choices({ "sni-only", "vip" })
  command:option("--minimum-protocol-version", "MinimumProtocolVersion of --attach; default TLSv1.2_2021, with vip TLSv1.")
  command:flag("--detach-continuous-deployment", "Change distributions under a continuous-deployment policy too: "
    .. "detach it, change primary and staging, attach it again. Default: they are left out.")
  command:option("--dedicated-ip-quota",
    "Certificates the account may use with dedicated IP addresses; default: as Service Quotas says.")
end

--- The options check and plan share.
function M.options(context, args)
  if args.attach and not args.ssl_support_method then
    context:usage("--attach needs --ssl-support-method sni-only, or vip (dedicated IP addresses, charged for)")
  elseif not args.attach and (args.ssl_support_method or args.minimum_protocol_version) then
    context:usage("--ssl-support-method and --minimum-protocol-version belong to --attach: "
      .. "what a holder has is never changed by a rotation")
  end
  local identity, files = context:identity(args)
  if not identity then return nil, files end
  return {
    method = args.method, verify = not args.no_verify,
    attach = args.attach, ssl_support_method = args.ssl_support_method,
    minimum_protocol_version = args.minimum_protocol_version,
    replace = args.replace, with = identity, files = files, store = args.store, only = args.only, trust = args.trust,
    continuous_deployment = args.detach_continuous_deployment and "detach" or nil,
    dedicated_ip_quota = context:number(args.dedicated_ip_quota, "--dedicated-ip-quota", 1),
  }
end

function M.configure(command)
  M.flags(command)
  accounts.flag(command)
end

local function text_of(result)
  local lines = {}
  for _, finding in ipairs(result.findings) do
    lines[#lines + 1] = ("%-7s %s (%s)"):format(finding.level, finding.message, finding.code)
  end
  if result.method_reason then lines[#lines + 1] = "Method: " .. result.method_reason end
  if result.nothing_to_do then lines[#lines + 1] = "Nothing to do: " .. result.nothing_to_do end
  if #lines == 0 then lines[1] = "Nothing stands in the way." end
  return table.concat(lines, "\n") .. "\n"
end

-- A result as scripts get it.
local function document(result)
  local json = require("certrotate.json")
  local ids = {}
  for i, holder in ipairs(result.holders) do ids[i] = holder.Id end
  return { refused = result.refused, nothing_to_do = result.nothing_to_do, store = result.store,
           method = result.method, method_reason = result.method_reason,
           findings = json.array(result.findings), holders = json.array(ids) }
end

local function code_of(result)
  if result.refused then return cli.REFUSED end
  return result.nothing_to_do and cli.NOTHING or cli.DONE
end

function M.run(context, args)
  local options, err = M.options(context, args)
  if not options then return nil, err end
  if accounts.wanted(args) then
    return accounts.check(context, args, options, { text = text_of, plain = document, code = code_of })
  end
  local aws
  aws, err = context:connect(args)
  if not aws then return nil, err end
  local result
  result, err = aws:check(options)
  if not result then return nil, err end
  context:result(document(result), text_of(result))
  return code_of(result)
end

return M
