--- certrotate resume: finishes an interrupted rotation.
local context_module = require("certrotate.cli.context")
local accounts = require("certrotate.cli.accounts")
local apply = require("certrotate.cli.apply")

local M = { summary = "Finish an interrupted rotation." }

function M.configure(command)
  command:argument("journal", "The journal of the rotation: a file, or s3://[PROFILE@]BUCKET/NAME.")
  context_module.session_flags(command)
  accounts.flag(command)
  command:option("--passphrase-file", "File whose first line opens the key (or set CERTROTATE_PASSPHRASE).")
  command:option("--poll", "Time between looks at a deployment (default 20s).")
  command:option("--wait-for-quota", "Where the rotation waits for a higher dedicated-IP quota: wait so long from now on.")
  command:option("--quota-poll", "Time between looks at it (default 5m).")
  command:flag("--approve", "A person agrees: go on behind the wave the rotation waits after.")
  command:option("--policy", "FILE.lua whose gates are asked, although it was changed since the plan was made.")
  apply.timeline_flag(command)
  command:flag("--no-verify", "Do not look at the certificate really served after each wave.")
end

function M.run(context, args)
  local options = apply.run_options(context, args)
  options.journal, options.approve, options.policy_file = args.journal, args.approve, args.policy
  if accounts.wanted(args) then return accounts.go_on(context, args, "resume", options) end
  local aws, err = context:connect(args)
  if not aws then return nil, err end
  local ok
  ok, err = context:guard()
  if not ok then return nil, err end
  local report
  report, err = require("certrotate.rotation.run").resume(aws, options)
  if not report then return apply.stopped(context, args, err) end
  return apply.finish(context, args, report)
end

return M
