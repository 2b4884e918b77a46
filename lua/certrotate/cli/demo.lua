--- certrotate demo: a whole rotation on the simulator, viewers included.
local cli = require("certrotate.cli")

local M = { summary = "Watch a whole rotation on a simulated fleet, viewers included." }

function M.configure(command)
  command:option("--distributions", "Size of the fleet (default 64).")
  command:option("--users", "How many use the certificate (default 44).")
  command:option("--propagation", "What a deployment takes (default 4s).")
  command:option("--rate", "Viewer handshakes a second (default 60).")
  command:option("--seed", "Seed of the fleet.")
end

function M.run(context, args)
  local distributions, users = require("certrotate.cli.simulate").fleet(context, args, 1, 64, 44)
  local signals, err = require("certrotate.core").signals()
  if not signals then return nil, err end
  context.signals = signals
  local function say(text)
    if not context.quiet then context:tell(text) end
  end
  local result
  result, err = require("certrotate.demo").run({
    distributions = distributions, users = users,
    propagation = context:duration(args.propagation, "--propagation"), rate = context:number(args.rate, "--rate", 1),
    seed = context:number(args.seed, "--seed"), say = say, signals = signals,
    on_event = require("certrotate.report.progress").new({
      write = function(text) context:say_error(text) end, terminal = context.terminal, quiet = context.quiet,
      color = context.color,
    }),
  })
  if not result then return nil, err end
  if context.json then context:result(result, "") end
  return result.ok and cli.DONE or cli.FAILED
end

return M
