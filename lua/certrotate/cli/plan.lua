--- certrotate plan: what would be done, for review. Changes nothing.
local accounts = require("certrotate.cli.accounts")
local cli = require("certrotate.cli")
local check = require("certrotate.cli.check")

local M = { summary = "Show what would be done, in which order, and what it costs. Changes nothing." }

function M.flags(command)
  check.flags(command)
  command:option("--policy", "careful (one at a time), cheapest (short overlap), or FILE.lua."):default("careful")
  command:option("--canary", "cheapest: try so many holders first.")
  command:option("--soak", "Watch so long after the canaries (cheapest) or after each (careful), e.g. 10m.")
  command:option("--parallel", "cheapest: change so many at a time (default 8).")
  command:option("--name", "Name of the new certificate: in IAM its name, in ACM a tag.")
  command:option("--deploy-time", "What a deployment takes, for the prediction (default 5m).")
  command:option("--poll", "Time between looks at a deployment (default 20s).")
  command:option("--wait-for-quota", "Too small a dedicated-IP quota is waited for so long (2d), before anything is changed.")
end

function M.configure(command)
  M.flags(command)
  command:option("--out", "Save the plan here, for certrotate apply.")
  accounts.flag(command)
end

-- A policy of the user's own: a file that returns a function, or a policy made from the named ones.
local function policy_file(context, path)
  local chunk, why = loadfile(path)
  if not chunk then context:usage("--policy: " .. why) end
  local ok, policy = pcall(chunk)
  if not ok then context:usage("--policy: " .. tostring(policy)) end
  ok = pcall(require("certrotate.rotation.policy").resolve, type(policy) ~= "string" and policy or false)
  if not ok then context:usage(("--policy: %s must return a function from holders to waves"):format(path)) end
  return policy
end

local function policy_of(context, args)
  local options = {
    canary = context:number(args.canary, "--canary"), soak = context:duration(args.soak, "--soak"),
    parallel = context:number(args.parallel, "--parallel", 1),
  }
  if args.policy:match("%.lua$") then return policy_file(context, args.policy), options end
  local ok, policy = pcall(require("certrotate.rotation.policy").resolve, args.policy, options)
  if not ok then context:usage("--policy: " .. (tostring(policy):gsub("^.-:%d+: ", ""))) end
  return policy
end

--- Options of the plan the flags describe.
---@return table?
---@return certrotate.Error?
function M.options(context, args)
  if not args.replace then context:usage("--replace is missing: the reference of the certificate to replace") end
  local options, err = check.options(context, args)
  if not options then return nil, err end
  options.policy, options.policy_options = policy_of(context, args)
  options.name = args.name
  options.deploy_seconds = context:duration(args.deploy_time, "--deploy-time")
  options.poll = context:duration(args.poll, "--poll")
  options.wait_for_quota = context:duration(args.wait_for_quota, "--wait-for-quota")
  return options
end

--- Makes the plan the flags describe.
---@return certrotate.Plan?
---@return certrotate.Error?
function M.make(context, args)
  local options, err = M.options(context, args)
  if not options then return nil, err end
  local aws
  aws, err = context:connect(args)
  if not aws then return nil, err end
  return aws:plan(options)
end

function M.run(context, args)
  if accounts.wanted(args) then
    if args.out then context:usage("--out: a plan of one account can be saved; with --role give apply the flags of plan") end
    local options, why = M.options(context, args)
    if not options then return nil, why end
    return accounts.plan(context, args, options)
  end
  local plan, err = M.make(context, args)
  if not plan then return nil, err end
  if args.out then
    local ok
    ok, err = plan:save(args.out)
    if not ok then return nil, err end
  end
  context:result(plan, require("certrotate.report.plan").text(plan, context:width()))
  if args.out then
    context:say_error(("Saved. To carry it out: certrotate apply %s --journal FILE\n"):format(args.out))
  end
  return cli.DONE
end

return M
