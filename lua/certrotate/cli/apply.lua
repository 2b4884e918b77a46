--- certrotate apply: carries a plan out. Without --yes (or "yes" on a terminal) it only shows it.
local accounts = require("certrotate.cli.accounts")
local cli = require("certrotate.cli")
local plan_command = require("certrotate.cli.plan")

local M = { summary = "Carry a plan out, with a journal to resume from." }

function M.configure(command)
  command:argument("plan", "File made by certrotate plan --out; or give the flags of plan."):args("?")
  plan_command.flags(command)
  command:option("--journal", "Where progress is recorded: a file, or s3://[PROFILE@]BUCKET/NAME. "
    .. "Default: named after the certificate, in this folder.")
  command:option("--quota-poll", "Time between looks at the quota that is waited for (default 5m).")
  M.timeline_flag(command)
  command:flag("-y --yes", "Do it without asking.")
  accounts.flag(command)
end

--- The flag of every command that carries something out, or tells of it.
function M.timeline_flag(command)
  command:option("--timeline", "Draw the rotation into this SVG file: a lane a holder, and what was charged twice; "
    .. "with --role account after account.")
end

-- What cannot be drawn never changes how a rotation ended: it is said, and that is all.
local function draw(context, args, timeline)
  if not args.timeline then return end
  local ok, err
  if timeline then
    ok, err = require("certrotate.core").write_file(args.timeline, require("certrotate.report.timeline").svg(timeline))
  end
  if not ok then
    context:say_error(("certrotate: no timeline was drawn: %s\n"):format(
      err and tostring(err) or "nothing was changed yet"))
  end
end

local function read_timeline(context, path)
  local journal = require("certrotate.rotation.journal").load(path, context.aws)
  return journal and require("certrotate.report.timeline").of(journal)
end

--- The timeline of the journals of many accounts, into the file --timeline names.
---@param paths string[]   those that are not there are passed over
function M.timelines(context, args, paths)
  if not args.timeline then return end
  local parts = {}
  for _, path in ipairs(paths) do parts[#parts + 1] = read_timeline(context, path) end
  draw(context, args, require("certrotate.report.timeline").join(parts))
end

--- The timeline of a journal: into the file --timeline names, and as text.
---@return string text   "" where there is none
function M.timeline(context, args, path)
  local timeline, report = read_timeline(context, path), require("certrotate.report.timeline")
  draw(context, args, timeline)
  return timeline and "\n" .. report.text(timeline, context.terminal) or ""
end

--- What is said when a run is over.
function M.finish(context, args, report)
  context:result(report, require("certrotate.report.summary").text(report, context.again))
  local text = M.timeline(context, args, report.journal)
  if context.terminal and not context.quiet then context:say_error(text) end
  return report.ok and cli.DONE or cli.FAILED
end

--- What is said when it was stopped: how far it is.
function M.stopped(context, args, err)
  if err.journal and args.timeline then M.timeline(context, args, err.journal) end
  return nil, err
end

--- Options of a run that come from flags.
function M.run_options(context, args)
  return {
    poll = context:duration(args.poll, "--poll"),
    verify = args.no_verify and false or nil, passphrase = context:passphrase(args),
    wait_for_quota = context:duration(args.wait_for_quota, "--wait-for-quota"),
    quota_poll = context:duration(args.quota_poll, "--quota-poll"),
    on_event = require("certrotate.report.progress").new({
      write = function(text) context:say_error(text) end, terminal = context.terminal, quiet = context.quiet,
      color = context.color,
    }),
  }
end

local function load_plan(context, args)
  local plan_module = require("certrotate.rotation.plan")
  local plan, err = plan_module.load(args.plan)
  if not plan then return nil, err end
  local aws
  aws, err = context:connect(args)
  if not aws then return nil, err end
  return plan_module.attach(plan, aws)
end

function M.run(context, args)
  if accounts.wanted(args) then
    if args.plan then context:usage("--role: give the flags of plan, not a plan's file, which is of one account") end
    local options, why = plan_command.options(context, args)
    if not options then return nil, why end
    return accounts.apply(context, args, options, M.run_options(context, args))
  end
  local plan, err
  if args.plan then plan, err = load_plan(context, args) else plan, err = plan_command.make(context, args) end
  if not plan then return nil, err end
  local journal = args.journal or ("certrotate-%s.journal"):format(plan.identity.fingerprint:sub(1, 12))
  local options = M.run_options(context, args)
  local text = require("certrotate.report.plan").text(plan, context.terminal)
  if not context.quiet then context:say_error(text) end
  if not context:confirmed(args, ("Change %d holders?"):format(#plan:holders())) then
    if context.json then context:result(plan, "") end
    context:say_error("Nothing was changed. Pass --yes to carry this plan out.\n")
    return cli.DONE
  end
  local ok
  ok, err = context:guard()
  if not ok then return nil, err end
  options.journal = journal
  local report
  report, err = plan:run(options)
  if not report then return M.stopped(context, args, err) end
  return M.finish(context, args, report)
end

return M
