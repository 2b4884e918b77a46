--- A whole rotation on the simulator, viewers included: what `certrotate demo` shows, and checks.
local core = require("certrotate.core")
local errors = require("certrotate.errors")
local fmt = require("certrotate.fmt")
local json = require("certrotate.json")

local M = {}

---@class certrotate.DemoOptions
---@field distributions? integer   in the fleet (default 64)
---@field users? integer           of them using the certificate (default 44)
---@field dedicated_ip? integer    of those, with dedicated IP addresses (default 4)
---@field propagation? number      seconds a deployment takes (default 4)
---@field rate? number             handshakes a second (default 60)
---@field seed? integer
---@field say? fun(text: string)
---@field on_event? fun(event: table)
---@field interpreter? string      Lua for the viewer process (default: the one running this)
---@field signals? certrotate.Signals

local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

local function read_file(path)
  local file = io.open(path, "r")
  if not file then return nil end
  local text = file:read("*a")
  file:close()
  return text
end

-- The Lua that runs us: the lowest index of the script's own arguments.
local function interpreter()
  local argv = rawget(_G, "arg")
  local lowest = 0
  while type(argv) == "table" and argv[lowest - 1] do lowest = lowest - 1 end
  return lowest < 0 and argv[lowest] or "lua5.4"
end

-- Starts the viewers; they end by the stop file or after their limit.
local function start_viewers(simulator, names, fingerprints, options)
  local base = simulator.directory .. "/viewers"
  local settings = {
    edge = simulator.edge, trust = simulator.trust_file, names = json.array(names),
    fingerprints = json.array(fingerprints), rate = options.rate or 60, result = base .. ".result",
    ready = base .. ".ready", stop = base .. ".stop", limit = 300,
  }
  local ok, err = core.write_file(base .. ".json", json.encode(settings))
  if not ok then return nil, err end
  os.execute(("LUA_PATH=%s LUA_CPATH=%s %s -e %s >%s 2>&1 </dev/null &"):format(
    quote(package.path), quote(package.cpath), quote(options.interpreter or interpreter()),
    quote(("require('certrotate.demo.viewers').main(%q)"):format(base .. ".json")), quote(base .. ".log")))
  return settings, base
end

-- Waits for a file the viewers write; the loop keeps turning meanwhile.
local function await_file(loop, path, seconds, log)
  local deadline = loop:monotonic() + seconds
  while true do
    local text = read_file(path)
    if text and text ~= "" then return text end
    if loop:monotonic() > deadline then
      return nil, errors.new({ kind = "timeout", code = "NoViewers",
        message = "the viewers did not report: " .. (read_file(log) or "no output") })
    end
    local slept, err = loop:sleep(0.05)
    if not slept then return nil, err end
  end
end

local function problem_list(state, meter, facts)
  local problems = json.array({})
  local function add(format, ...) problems[#problems + 1] = format:format(...) end
  local on_new = 0
  for _, distribution in ipairs(state.distributions) do
    if distribution.reference == facts.old then add("%s still names the old certificate", distribution.id) end
    if distribution.reference == facts.new then
      on_new = on_new + 1
      if distribution.status ~= "Deployed" then add("%s is not Deployed", distribution.id) end
    end
    local before = facts.config_before[distribution.id]
    if before and before ~= distribution.config_sha256 then
      add("%s changed outside its certificate", distribution.id)
    end
  end
  if on_new ~= facts.users then add("%d distributions are on the new certificate, not %d", on_new, facts.users) end
  for _, certificate in ipairs(state.certificates) do
    if certificate.reference == facts.old then add("the old certificate is still there") end
  end
  if facts.viewers.failed > 0 then
    add("%d handshakes failed, the first: %s", facts.viewers.failed, tostring(facts.viewers.failures[1]))
  end
  if facts.viewers.made == 0 then add("no handshake was made") end
  if meter.overlap_seconds <= 0 then add("the meter saw no overlap") end
  return problems
end

-- What the fleet looks like before: who must be changed, and what must not.
local function survey(simulator)
  local state, err = simulator:control("state")
  if not state then return nil, errors.new({ kind = "transport", code = "Simulator", message = tostring(err) }) end
  local facts = { old = simulator.old_reference, users = 0, config_before = {} }
  local names = {}
  for _, distribution in ipairs(state.distributions) do
    facts.config_before[distribution.id] = distribution.config_sha256
    if distribution.reference == facts.old then
      facts.users = facts.users + 1
      if distribution.enabled then
        for _, alias in ipairs(distribution.aliases) do names[#names + 1] = (alias:gsub("^%*", "any")) end
      end
    end
  end
  return facts, names
end

local function rotate(simulator, aws, options, facts, say)
  local files = simulator.files
  local identity, err = core.identity({ certificate = files.new_certificate, private_key = files.new_key,
                                        chain = files.new_chain })
  if not identity then return nil, err end
  local plan
  plan, err = aws:plan({
    replace = facts.old, with = identity, policy = "cheapest", policy_options = { canary = 2, soak = 1 },
    files = { certificate = files.new_certificate, private_key = files.new_key, chain = files.new_chain },
    trust = simulator.trust_file, deploy_seconds = options.propagation or 4,
  })
  if not plan then return nil, err end
  say(require("certrotate.report.plan").text(plan, core.terminal(2) or 110))
  local report
  report, err = plan:run({
    journal = simulator.directory .. "/demo.journal", poll = 0.25,
    state_directory = simulator.directory .. "/locks", on_event = options.on_event,
  })
  if not report then return nil, err end
  facts.new = report.reference
  local retired
  retired, err = require("certrotate.rotation.retire").run(aws, { journal = report.journal, keep = 0 })
  if not retired then return nil, err end
  report.retired = retired.deleted
  return report
end

local function closing_lines(result, say)
  local report, meter, viewers = result.report, result.meter, result.viewers
  say(("\nHolders changed        %d of %d, in %s\n"):format(report.changed, result.users, fmt.duration(report.seconds)))
  say(("Overlap                %s by the simulator's meter (%s by ours)\n"):format(
    fmt.duration(meter.overlap_seconds), fmt.duration(report.overlap_seconds)))
  say(("Charge                 %s for the second certificate, to the second; one at a time %s, overlap %s\n"):format(
    fmt.money(result.charge, nil), fmt.money(result.one_at_a_time.charge), fmt.duration(result.one_at_a_time.overlap_seconds)))
  say(("Viewer handshakes      %s made, %d failed\n"):format(fmt.count(viewers.made), viewers.failed))
  say(("Old certificate        %s\n"):format(report.retired and "retired" or "NOT retired"))
  for _, problem in ipairs(result.problems) do say("WRONG                  " .. problem .. "\n") end
end

local function perform(simulator, aws, options, say)
  local facts, names = survey(simulator)
  if not facts then return nil, names end
  local function fingerprint(path)
    local info = core.certificate(read_file(path) or "")
    return info and info.fingerprint or ""
  end
  local viewers, base = start_viewers(simulator, names,
    { fingerprint(simulator.files.old_certificate), fingerprint(simulator.files.new_certificate) }, options)
  if not viewers then return nil, base end
  local log = base .. ".log"
  local ready, err = await_file(aws.loop, viewers.ready, 30, log)
  local report
  if ready then
    say(("%d distributions use %s; viewers connect to all %d of their names.\n\n"):format(
      facts.users, facts.old, #names))
    report, err = rotate(simulator, aws, options, facts, say)
  end
  core.write_file(viewers.stop, "stop\n")
  if not report then return nil, err end
  local text
  text, err = await_file(aws.loop, viewers.result, 30, log)
  if not text then return nil, err end
  facts.viewers = json.decode(text)
  local state, meter = simulator:control("state"), simulator:control("meter")
  -- What still goes on has null for its end, which only JSON's reader in the simulator knows.
  meter = json.decode(require("cjson.safe").encode(meter))
  local cost = require("certrotate.rotation.cost")
  local exact = { rounding = "exact" }
  local single = math.max(report.one_at_a_time.overlap_seconds, meter.overlap_seconds)
  local result = {
    report = report, meter = meter, viewers = facts.viewers, users = facts.users,
    charge = cost.charge(report.started, report.started + meter.overlap_seconds, exact),
    one_at_a_time = { overlap_seconds = single, charge = cost.charge(report.started, report.started + single, exact) },
    problems = problem_list(state, meter, facts),
  }
  if not report.ok then result.problems[#result.problems + 1] = "the run reports conflicts or holders left behind" end
  if report.changed ~= facts.users then
    result.problems[#result.problems + 1] = ("%d holders changed, not %d"):format(report.changed, facts.users)
  end
  closing_lines(result, say)
  result.ok = #result.problems == 0
  return result
end

--- Runs the demo. `ok` is false when any handshake failed or the end state is wrong.
---@param options? certrotate.DemoOptions
---@return { ok: boolean, report: certrotate.Report, meter: table, viewers: certrotate.demo.Counts, problems: string[] }?
---@return certrotate.Error?
function M.run(options)
  options = options or {}
  local say = options.say or function(text) io.stderr:write(text) end
  local simulator, why = require("certrotate.simulator.launch").start({
    distributions = options.distributions or 64, users = options.users or 44, vip = options.dedicated_ip or 4,
    propagation = options.propagation or 4, seed = options.seed,
  })
  if not simulator then
    return nil, errors.is(why) and why or errors.new({ kind = "input", code = "Simulator", message = tostring(why) })
  end
  say(("Simulated AWS at %s, its edge at %s\n"):format(simulator.endpoint, simulator.edge))
  local aws, err = require("certrotate").connect({
    endpoint_url = simulator.endpoint, edge = simulator.edge, ca_file = simulator.ca_file, region = simulator.region,
    access_key_id = simulator.access_key_id, secret_access_key = simulator.secret_access_key,
    environment = {}, -- a real account's settings have no business here
  })
  local result
  if aws then
    if options.signals then aws:watch_signals(options.signals) end
    result, err = perform(simulator, aws, options, say)
    aws:close()
  end
  simulator:stop()
  return result, err
end

return M
