--- certrotate rollback: gives every holder that was changed its old certificate again.
local accounts = require("certrotate.cli.accounts")
local apply = require("certrotate.cli.apply")
local cli = require("certrotate.cli")
local context_module = require("certrotate.cli.context")
local fmt = require("certrotate.fmt")
local json = require("certrotate.json")

local M = { summary = "Give every holder its old certificate again. Looks only, unless --yes." }

function M.configure(command)
  command:argument("journal", "The journal of the rotation: a file, or s3://[PROFILE@]BUCKET/NAME.")
  context_module.session_flags(command)
  accounts.flag(command)
  command:option("--certificate", "Of a reimport: the old certificate, which AWS kept nothing of; PEM, DER or PKCS#12.")
  command:option("--private-key", "Its private key, when not in the same file.")
  command:option("--chain", "Its chain, when not in the same file; any order.")
  command:option("--passphrase-file", "File whose first line opens the key (or set CERTROTATE_PASSPHRASE).")
  command:option("--dedicated-ip-quota",
    "Certificates the account may use with dedicated IP addresses; default: as Service Quotas says.")
  command:option("--poll", "Time between looks at a deployment (default 20s).")
  apply.timeline_flag(command)
  command:flag("--no-verify", "Do not look at the certificate really served after each wave.")
  command:flag("-y --yes", "Do it without asking.")
end

local function text_of(found, width)
  local rows = {}
  for _, holder in ipairs(found.holders) do
    rows[#rows + 1] = { holder.Id, holder.Aliases[1] or holder.DomainName,
      require("certrotate.report.plan").traits(holder) }
  end
  local what = found.method == "reimport" and "Imports the old certificate again under" or "Gives back"
  local head = ("%s %s%s\n"):format(what, found.to,
    found.not_after and (" (expires %s)"):format(fmt.date(found.not_after)) or "")
  if #rows == 0 then return head .. "No holder had been changed.\n" end
  return head .. "\n" .. require("certrotate.report.table").text({ { title = "HOLDER" },
    { title = "ALIAS", shrink = true }, { title = "SSL METHOD" } }, rows, width) .. "\n"
end

function M.run(context, args)
  local options = apply.run_options(context, args)
  options.dedicated_ip_quota = context:number(args.dedicated_ip_quota, "--dedicated-ip-quota", 1)
  if args.certificate then
    local identity, why = context:identity(args)
    if not identity then return nil, why end
    options.identity = identity
  end
  if accounts.wanted(args) then
    if not args.yes then context:usage("--role: look at one account after the other, or pass --yes to roll all back") end
    return accounts.go_on(context, args, "rollback", options)
  end
  options.journal = args.journal
  local aws, err = context:connect(args)
  if not aws then return nil, err end
  local found
  local rollback = require("certrotate.rotation.rollback")
  found, err = rollback.read(aws, args.journal, options)
  if not found then return nil, err end
  if found.done then
    local left = found.left_behind or {}
    context:result({ rolled_back = true, reference = found.to, left_behind = json.array(left) },
      "This rotation was rolled back already.\n" .. require("certrotate.report.summary").left_behind(left, true))
    return cli.NOTHING
  end
  local ready, needed = rollback.ready(found, options.identity)
  if not context.quiet then context:say_error(text_of(found, context.terminal)) end
  if not ready then return nil, needed end
  if not context:confirmed(args, ("Change %s back?"):format(fmt.plural(#found.holders, "holder"))) then
    if context.json then
      context:result({ rolled_back = false, method = found.method, from = found.from, reference = found.to,
                       holders = json.array(found.holders) }, "")
    end
    context:say_error("Nothing was changed. Pass --yes to roll back.\n")
    return cli.DONE
  end
  local ok
  ok, err = context:guard()
  if not ok then return nil, err end
  local report
  report, err = aws:rollback(options)
  if not report then return apply.stopped(context, args, err) end
  return apply.finish(context, args, report)
end

return M
