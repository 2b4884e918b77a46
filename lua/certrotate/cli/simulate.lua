--- certrotate simulate: a local AWS to practise on.
local cli = require("certrotate.cli")

local M = { summary = "Start a local AWS to practise on; Ctrl-C ends it." }

function M.configure(command)
  command:option("--seed", "Seed of the fleet (default 1).")
  command:option("--distributions", "Size of the fleet (default 60; 0: an empty account).")
  command:option("--users", "How many use the main certificate (default 42).")
  command:option("--vip", "How many of those have dedicated IP addresses (default 3).")
  command:option("--store", "Where the main certificate is."):choices({ "acm", "iam" })
  command:option("--propagation", "What a deployment takes (default 5s).")
  command:flag("--http", "Plain HTTP too.")
  command:option("--hostile", "Seed of a hostile world: faults, lags, another client at work.")
  command:option("--fault", "One fault, such as kind=reset,operation=UpdateDistribution,when=after,count=2.")
    :count("*"):argname("RULE")
  command:option("--setting", "One of the simulator's settings, such as list_lag=30."):count("*"):argname("NAME=VALUE")
end

local function quote(text) return "'" .. tostring(text):gsub("'", "'\\''") .. "'" end

local function instructions(simulator)
  local lines = {}
  local function say(format, ...) lines[#lines + 1] = format:format(...) end
  say("A simulated AWS is at %s%s, its edge at %s.", simulator.endpoint,
    simulator.http_endpoint and " (plain: " .. simulator.http_endpoint .. ")" or "", simulator.edge)
  say("")
  say("In another terminal:")
  local names, environment = {}, simulator:environment()
  for name in pairs(environment) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do say("  export %s=%s", name, quote(environment[name])) end
  say("")
  say("  certrotate inventory --endpoint-url %s", simulator.endpoint)
  if simulator.old_reference then
    say("  certrotate apply --endpoint-url %s --edge %s --trust %s \\", simulator.endpoint, simulator.edge,
      quote(simulator.trust_file))
    say("    --replace %s \\", simulator.old_reference)
    say("    --certificate %s --private-key %s --chain %s \\", quote(simulator.files.new_certificate),
      quote(simulator.files.new_key), quote(simulator.files.new_chain))
    say("    --policy cheapest --poll 1s --journal practice.journal")
  end
  say("  aws --endpoint-url %s cloudfront list-distributions", simulator.endpoint)
  say("")
  say("Ctrl-C ends it.")
  return table.concat(lines, "\n") .. "\n"
end

-- NAME=VALUE,… with numbers and booleans as what they are.
local function pairs_of(context, text, flag, into)
  for item in text:gmatch("[^,]+") do
    local name, value = item:match("^%s*([%w_]+)%s*=%s*(.-)%s*$")
    if not name then context:usage(("%s: NAME=VALUE expected, got %s"):format(flag, item)) end
    if value == "true" or value == "false" then value = value == "true" end
    into[name] = tonumber(value) or value
  end
  return into
end

--- Size of a fleet, and how many of it use the main certificate: by default so many, as far as the fleet is that large.
---@param least integer
---@param distributions integer   default
---@param users integer           default
---@return integer distributions
---@return integer users
function M.fleet(context, args, least, distributions, users)
  distributions = context:number(args.distributions, "--distributions", least) or distributions
  local wanted = context:number(args.users, "--users", least)
  if wanted and wanted > distributions then
    context:usage(("--users: at most %d, the size of the fleet; raise --distributions too"):format(distributions))
  end
  return distributions, wanted or math.min(users, distributions)
end

function M.run(context, args)
  local distributions, users = M.fleet(context, args, 0, 60, 42)
  local settings, faults = {}, {}
  for _, text in ipairs(args.setting or {}) do pairs_of(context, text, "--setting", settings) end
  for index, text in ipairs(args.fault or {}) do faults[index] = pairs_of(context, text, "--fault", {}) end
  local core = require("certrotate.core")
  local signals, err = core.signals()
  if not signals then return nil, err end
  context.signals = signals
  local simulator, why = require("certrotate.simulator.launch").start({
    seed = context:number(args.seed, "--seed"), distributions = distributions, users = users,
    vip = context:number(args.vip, "--vip"), store = args.store,
    propagation = context:duration(args.propagation, "--propagation"), http = args.http,
    settings = settings, faults = faults, hostile = context:number(args.hostile, "--hostile"),
  })
  if not simulator then
    return nil, require("certrotate.errors").new({ kind = "input", code = "Simulator",
                                                   message = "the simulator did not start: " .. tostring(why) })
  end
  context:result({
    endpoint = simulator.endpoint, http_endpoint = simulator.http_endpoint, edge = simulator.edge,
    ca_file = simulator.ca_file, trust_file = simulator.trust_file, pid = simulator.pid,
    environment = simulator:environment(), old_reference = simulator.old_reference, files = simulator.files,
  }, instructions(simulator))
  -- Until a signal, or until nginx ends by itself (its control page can tell it to).
  local client = core.client()
  repeat
    client:wait(1, signals:fd())
    local signal = signals:take()
  until signal or not simulator:running()
  client:close()
  simulator:stop()
  return cli.DONE
end

return M
