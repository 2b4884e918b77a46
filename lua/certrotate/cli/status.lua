--- certrotate status: what a journal says. Asks AWS nothing, but S3 where the journal is there.
local accounts = require("certrotate.cli.accounts")
local apply = require("certrotate.cli.apply")
local cli = require("certrotate.cli")
local context_module = require("certrotate.cli.context")

local M = { summary = "Show how far a rotation is." }

function M.configure(command)
  command:argument("journal", "The journal of the rotation: a file, or s3://[PROFILE@]BUCKET/NAME.")
  context_module.session_flags(command)
  accounts.flag(command)
  apply.timeline_flag(command)
end

-- A status as scripts get it.
local function document(status)
  local json = require("certrotate.json")
  return {
    phase = status.phase, from = status.plan.from, to = status.to, done = status.done, total = status.total,
    waves = json.array(status.waves), failed = json.array(status.failed), started = status.started,
    ended = status.ended, last = status.last, held = status.held, plan = status.plan.hash,
  }
end

function M.run(context, args)
  if accounts.wanted(args) then return accounts.status(context, args, document) end
  local aws, status, err
  if require("certrotate.rotation.s3.location").is(args.journal) then
    aws, err = context:connect(args)
    if not aws then return nil, err end
  end
  status, err = require("certrotate.rotation.status").read(args.journal, aws)
  if not status then return nil, err end
  context:result(document(status),
    require("certrotate.report.status").text(status, args.journal, context.again) .. apply.timeline(context, args, args.journal))
  return cli.DONE
end

return M
