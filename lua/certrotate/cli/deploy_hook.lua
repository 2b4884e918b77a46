--- certrotate deploy-hook: called by certbot, acme.sh or lego after a renewal. What it is told is on the disk before
--- anything is tried; what it cannot finish `certrotate reconcile` does.
local context_module = require("certrotate.cli.context")
local reconcile_command = require("certrotate.cli.reconcile")

local M = { summary = "For ACME clients: rotate what was just renewed, as a reconcile configuration declares." }

function M.configure(command)
  command:option("--config", "Lua file that declares certificates (see certrotate reconcile).", "/etc/certrotate.lua")
  context_module.session_flags(command)
  command:option("--poll", "Time between looks at a deployment (default 20s).")
  command:flag("--record-only", "Only record it; a reconcile does the rest.")
end

function M.run(context, args)
  local core = require("certrotate.core")
  local hook = require("certrotate.rotation.reconcile.hook")
  local reconcile = require("certrotate.rotation.reconcile")
  local lineage, err = hook.lineage()
  if not lineage then return nil, err end
  local config, problem = require("certrotate.rotation.reconcile.config").load(args.config)
  local directory
  directory, err = reconcile.directory(config or {})
  if not directory then return nil, problem or err end
  local client
  client, err = core.client()
  if not client then return nil, err end
  local function wait(seconds) client:wait(seconds) end
  local declared
  if config then
    declared, err = hook.record(config, directory, lineage, core.now(), wait)
  else
    -- Nobody calls again, so it is kept for the day the configuration can be read.
    declared, err = hook.record_for(args.config, directory, lineage, core.now(), wait), problem
  end
  client:close()
  if not config and declared then
    context:note(("%s is recorded; repair %s, then `certrotate reconcile` with it goes on"):format(lineage.name, args.config))
    return nil, problem
  end
  if not declared then return nil, err end
  if args.record_only then
    context:result({ recorded = true, name = declared.name },
      ("Recorded: %s. `certrotate reconcile %s --yes` rotates it.\n"):format(declared.name, args.config))
    return require("certrotate.cli").DONE
  end
  local aws
  aws, err = context:connect(args, config.connect)
  local ok = aws
  if ok then ok, err = context:guard() end
  local result
  if ok then
    args.yes = true
    local options = reconcile_command.options(context, args)
    options.only = declared.name
    result, err = reconcile.run(aws, config, options)
  end
  if not result then
    context:note(("%s is recorded; `certrotate reconcile %s --yes` goes on with it"):format(declared.name, args.config))
    return nil, err
  end
  return reconcile_command.finish(context, result, false)
end

return M
