--- certrotate plan: what would be done, for review. Changes nothing.
local accounts = require("certrotate.cli.accounts")
local cli = require("certrotate.cli")
local check = require("certrotate.cli.check")

local M = { summary = "Show what would be done, in which order, and what it costs. Changes nothing." }

function M.flags(command)
  check.flags(command)
  command:option("--policy", "careful (one at a time; the default), cheapest (short overlap), or FILE.lua.")
  command:option("--wave", "Instead: waves, in order, each of 3, 10%, tag:KEY=VALUE, E1,E2 or rest."):args("+")
  command:option("--canary", "cheapest: try so many holders first.")
  command:option("--soak", "Watch so long after the canaries (cheapest) or after each (careful, --wave), e.g. 10m.")
  command:option("--parallel", "Change so many at a time (default: cheapest 8, --wave 1).")
  command:flag("--pause", "A person must agree (resume --approve) after the canaries (cheapest) or the first --wave.")
  command:flag("--align-hour", "cheapest: begin the charged burst where it touches the fewest hours of the clock.")
  command:option("--window", "Begin changes only in \"Mon-Fri 22:00-04:00 +01:00\"; UTC or a fixed offset.")
    :args("+")
  command:option("--probes", "TLS connections to each holder that must all be served the new one (default 1).")
  command:option("--failures", "So many holders may fail before no other is begun (default 0).")
  command:option("--price", "Dollars a month of a dedicated-IP certificate (default 600).")
  command:option("--rounding", "How its hours count: hour (begun ones whole; default), clock (the clock's), exact.")
    :choices({ "hour", "clock", "exact" })
  command:option("--name", "Name of the new certificate: in IAM its name, in ACM a tag.")
  command:option("--deploy-time", "What a deployment takes (default 5m), or a rotation's JOURNAL: as it was then.")
  command:option("--poll", "Time between looks at a deployment (default 20s).")
  command:option("--wait-for-quota", "Too small a dedicated-IP quota is waited for so long (2d), before anything is changed.")
end

function M.configure(command)
  M.flags(command)
  command:option("--out", "Save the plan here, for certrotate apply.")
  accounts.flag(command)
end

-- The waves of --wave, each with the soak and the concurrency of the whole.
local function stages_of(context, args, options)
  if args.policy then context:usage("--wave and --policy: give one of them") end
  if options.canary or options.align then context:usage("--canary, --align-hour: these are of --policy cheapest") end
  local stages = {}
  for i, text in ipairs(args.wave) do
    stages[i] = { text, soak = options.soak, parallel = options.parallel, pause = i == 1 and options.pause or nil }
  end
  return stages
end

-- What has no meaning where everybody is changed at once.
local OF_WAVES = { "--policy", "--wave", "--canary", "--soak", "--parallel", "--pause", "--align-hour", "--window",
                   "--probes", "--failures" }

-- Those of them that were given.
local function wave_flags(args)
  local given = {}
  for _, flag in ipairs(OF_WAVES) do
    local value = args[flag:sub(3):gsub("%-", "_")]
    if value and not (type(value) == "table" and #value == 0) then given[#given + 1] = flag end
  end
  return given
end

local function policy_of(context, args)
  local options = {
    canary = context:number(args.canary, "--canary"), soak = context:duration(args.soak, "--soak"),
    parallel = context:number(args.parallel, "--parallel", 1), pause = args.pause, align = args.align_hour,
  }
  local name = args.policy or "careful"
  if #(args.wave or {}) > 0 then name, options = "staged", stages_of(context, args, options) end
  if name:match("%.lua$") then
    if next(options) then context:usage("--policy FILE.lua decides waves by itself: leave --canary, --soak and the like out") end
    local policy, err = require("certrotate.rotation.policy_file").load(name)
    if not policy then context:usage("--policy: " .. err.message) end
    return policy
  end
  local ok, policy = pcall(require("certrotate.rotation.policy").resolve, name, options)
  if not ok then
    context:usage(("%s: %s"):format(args.policy and "--policy" or name == "staged" and "--wave" or "--policy",
      (tostring(policy):gsub("^.-:%d+: ", ""))))
  end
  return policy
end

-- What the charge is reckoned with, and when changes may begin.
local function settings_of(context, args, options)
  local price = args.price and tonumber(args.price)
  if args.price and not (price and price >= 0 and price < math.huge) then
    context:usage("--price: dollars a month expected, got " .. args.price)
  end
  if price or args.rounding then options.cost = { price = price, rounding = args.rounding } end
  if #(args.window or {}) > 0 then
    local windows, problem = require("certrotate.rotation.window").parse_all(args.window)
    if not windows then context:usage("--window: " .. problem) end
    options.windows = args.window
  end
  options.probes = context:number(args.probes, "--probes", 1)
  options.failures = context:number(args.failures, "--failures")
end

-- --deploy-time: a duration for all, or the journal of an earlier rotation for each.
local function deploy_time(context, args, options)
  if not args.deploy_time then return true end
  if require("certrotate.fmt").parse_duration(args.deploy_time) then
    options.deploy_seconds = context:duration(args.deploy_time, "--deploy-time")
    return true
  end
  local journal, err = require("certrotate.rotation.journal").load(args.deploy_time)
  if not journal then return nil, err end
  options.expected, options.deploy_seconds = journal:deploy_times()
  return true
end

--- Options of the plan the flags describe.
---@return table?
---@return certrotate.Error?
function M.options(context, args)
  if not args.replace and not args.attach and not accounts.has_references(context, args) then
    context:usage("--replace is missing: the reference of the certificate to replace")
  end
  local options, err = check.options(context, args)
  if not options then return nil, err end
  local flags = wave_flags(args)
  if args.method == "reimport" and #flags > 0 then
    context:usage(("%s: a reimport reaches everybody at once, there are no waves; leave %s out, or --method swap"):format(
      table.concat(flags, ", "), #flags == 1 and "it" or "them"))
  end
  options.policy = policy_of(context, args)
  settings_of(context, args, options)
  options.name = args.name
  local ok
  ok, err = deploy_time(context, args, options)
  if not ok then return nil, err end
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
  local plan
  plan, err = aws:plan(options)
  local flags = plan and plan.method == "reimport" and wave_flags(args) or {}
  if #flags > 0 then
    context:note(("auto chose a reimport, which reaches everybody at once: %s left out of account"):format(
      table.concat(flags, ", ")))
  end
  return plan, err
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
