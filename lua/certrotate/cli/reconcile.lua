--- certrotate reconcile: brings declared certificates to the declared state. For cron, and for people who look first.
local cli = require("certrotate.cli")
local context_module = require("certrotate.cli.context")
local json = require("certrotate.json")
local table_report = require("certrotate.report.table")

local M = { summary = "Bring declared certificates to their declared state. Looks only, unless --yes." }

function M.configure(command)
  command:argument("config", "Lua file that declares certificates.")
  context_module.session_flags(command)
  command:option("--poll", "Time between looks at a deployment (default 20s).")
  command:option("--approve", "Name of a certificate whose rotation waits for a person: go on with it.")
  command:flag("-y --yes", "Do it: for cron.")
end

--- Options of a round that come from flags.
function M.options(context, args)
  return {
    dry_run = not args.yes, poll = context:duration(args.poll, "--poll"), trust = args.trust, approve = args.approve,
    on_event = require("certrotate.report.progress").new({
      write = function(text) context:say_error(text) end, terminal = context.terminal, quiet = context.quiet,
      color = context.color,
    }),
  }
end

local function text_of(result, dry_run)
  local lines = {}
  for _, action in ipairs(result.actions) do
    local what = action.done and "done" or dry_run and "to do" or "not done"
    lines[#lines + 1] = ("%s: %s: %s"):format(action.name, what, action.text)
  end
  for _, one in ipairs(result.waiting) do
    lines[#lines + 1] = ("%s: waits: %s"):format(one.name, table_report.clean(one.text))
  end
  for _, note in ipairs(result.notes) do lines[#lines + 1] = note end
  for _, failure in ipairs(result.failures) do
    lines[#lines + 1] = ("%s: failed: %s"):format(failure.name, tostring(failure.error))
  end
  if #lines == 0 then return "Nothing to do.\n" end
  if dry_run and #result.actions > 0 then lines[#lines + 1] = "Nothing was changed. Pass --yes to do it." end
  return table.concat(lines, "\n") .. "\n"
end

-- A failure's own code when all agree, so that a refusal shows as one.
local function code_of(result)
  local code
  for _, failure in ipairs(result.failures) do
    local one = cli.exit_code(failure.error)
    code = (code == nil or code == one) and one or cli.FAILED
  end
  if code then return code end
  if #result.waiting > 0 then return cli.INTERRUPTED end
  return #result.actions == 0 and cli.NOTHING or cli.DONE
end

--- Shows what a round came to.
---@return integer code
function M.finish(context, result, dry_run)
  local actions, failures = json.array({}), json.array({})
  for i, action in ipairs(result.actions) do actions[i] = action end
  for i, failure in ipairs(result.failures) do
    local err = failure.error
    failures[i] = { name = failure.name, error = { kind = err.kind, code = err.code, message = err.message,
                                                   journal = err.journal, request_id = err.request_id } }
  end
  -- cron sends a mail for every word; a window opens by itself.
  local words = #result.actions + #result.notes + #result.failures
  for _, one in ipairs(result.waiting) do words = words + (one.why == "pause" and 1 or 0) end
  if context.quiet and not context.json and words == 0 then return code_of(result) end
  context:result({ ok = result.ok, changed = result.changed, dry_run = dry_run or false, actions = actions,
                   failures = failures, waiting = json.array(result.waiting), notes = json.array(result.notes) },
    text_of(result, dry_run))
  return code_of(result)
end

function M.run(context, args)
  local config, err = require("certrotate.rotation.reconcile.config").load(args.config)
  if not config then return nil, err end
  if args.approve and not args.yes then context:usage("--approve goes on with a rotation: it needs --yes") end
  local options = M.options(context, args)
  local aws
  aws, err = context:connect(args, config.connect)
  if not aws then return nil, err end
  local ok
  ok, err = context:guard()
  if not ok then return nil, err end
  local result
  result, err = require("certrotate.rotation.reconcile").run(aws, config, options)
  if not result then return nil, err end
  return M.finish(context, result, options.dry_run)
end

return M
