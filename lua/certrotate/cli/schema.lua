--- certrotate schema: what `--json` prints, as JSON Schema, a command at a time. What is not named here is not printed.
local cli = require("certrotate.cli")

local M = { summary = "Print the JSON Schema of what --json prints, of all commands or one." }

local STRING, NUMBER, INTEGER, BOOLEAN = { type = "string" }, { type = "number" }, { type = "integer" }, { type = "boolean" }
local TIME = { type = "number", description = "Unix seconds" }
local USD = { type = "number", description = "USD" }
local SECONDS = { type = "number", description = "seconds" }

local function list(items) return { type = "array", items = items } end
local function one_of(...) return { type = "string", enum = { ... } } end
local function ref(name) return { ["$ref"] = "#/$defs/" .. name } end

-- An object of these and no other fields; names that end in "?" may be absent.
local function object(fields)
  local properties, required = {}, {}
  for name, schema in pairs(fields) do
    local bare, optional = name:gsub("%?$", "")
    properties[bare] = schema
    if optional == 0 then required[#required + 1] = bare end
  end
  table.sort(required)
  return { type = "object", properties = properties, required = #required > 0 and required or nil,
           additionalProperties = false }
end

-- Answers of AWS, in its spelling: more may come.
local function aws(fields)
  local schema = object(fields)
  schema.additionalProperties = true
  return schema
end

local STORE = one_of("acm", "iam")
local SINGLE = object({ overlap_seconds = SECONDS, charge = USD })
local FINDING = object({ level = one_of("refuse", "warn", "note"), code = STRING, message = STRING })

-- Of `$defs`, by name.
local DEFS = {
  finding = FINDING,
  certificate = object({ reference = STRING, store = STORE, name = STRING, names = list(STRING), ["not_before?"] = TIME,
    ["not_after?"] = TIME, ["key_type?"] = STRING, ["type?"] = STRING, arn = STRING, ["path?"] = STRING,
    ["in_use?"] = BOOLEAN, ["used_elsewhere?"] = list(STRING) }),
  holder = object({ Id = STRING, ARN = STRING, DomainName = STRING, Aliases = list(STRING), Status = STRING,
    reference = STRING, ["store?"] = STORE, default_certificate = BOOLEAN, dedicated_ip = BOOLEAN, SSLSupportMethod = STRING,
    MinimumProtocolVersion = STRING, Enabled = BOOLEAN, Staging = BOOLEAN, HttpVersion = STRING, ConnectionMode = STRING,
    Comment = STRING, ["DistributionId?"] = STRING }),
  plan_holder = object({ Id = STRING, DomainName = STRING, Aliases = list(STRING), SSLSupportMethod = STRING,
    Enabled = BOOLEAN, Staging = BOOLEAN, charged = BOOLEAN, ["reason?"] = STRING, ["deployed?"] = SECONDS,
    ["DistributionId?"] = STRING,
    ["attach?"] = object({ SSLSupportMethod = STRING, MinimumProtocolVersion = STRING }) }),
  unit = object({ primary = STRING, policy = STRING, traffic = STRING, staging = list(STRING), names = list(STRING) }),
  plan = object({
    version = INTEGER, created = TIME, endpoint = STRING, ["account?"] = STRING, ["from?"] = STRING,
    store = STORE, method = one_of("swap", "reimport"),
    identity = object({ fingerprint = STRING, names = list(STRING), not_before = TIME, not_after = TIME, key_type = STRING,
                        subject = STRING }),
    ["replaced?"] = object({ ["fingerprint?"] = STRING, ["not_after?"] = TIME }),
    files = object({ ["certificate?"] = STRING, ["private_key?"] = STRING, ["chain?"] = STRING }),
    ["method_reason?"] = STRING,
    policy = object({ name = STRING, options = { type = "object" }, ["file?"] = STRING, ["sha256?"] = STRING }),
    waves = list(object({ name = STRING, parallel = INTEGER, soak = SECONDS, settle = STRING, reason = STRING,
                          holders = list(ref("plan_holder")), ["unit?"] = ref("unit"), ["starts?"] = SECONDS,
                          ["seconds?"] = SECONDS, ["gate?"] = STRING, ["pause?"] = {}, ["align?"] = {},
                          ["verify?"] = object({ probes = INTEGER, need = INTEGER }), ["windows?"] = list(STRING) })),
    left_out = list(object({ Id = STRING, reason = STRING })), findings = list(ref("finding")),
    settings = { type = "object" },
    prediction = object({ seconds = SECONDS, overlap_seconds = SECONDS, charge = USD, minimum_charge = USD,
      ["minimum_overlap_seconds?"] = SECONDS,
      one_at_a_time = object({ seconds = SECONDS, overlap_seconds = SECONDS, charge = USD }), deploy_seconds = SECONDS,
      call_seconds = SECONDS }),
    hash = STRING,
  }),
  report = object({
    ok = BOOLEAN, ["account?"] = STRING, reference = STRING, adopted = BOOLEAN, holders = INTEGER, changed = INTEGER,
    conflicts = list(object({ Id = STRING, message = STRING })),
    units = list(object({ Id = STRING, policy = STRING, attached = BOOLEAN })), left_behind = list(STRING), started = TIME,
    ended = TIME, seconds = SECONDS, overlap_seconds = SECONDS, charge = USD, one_at_a_time = SINGLE, journal = STRING,
    ["rolled_back?"] = BOOLEAN, ["retired?"] = BOOLEAN, ["attached_only?"] = BOOLEAN,
    ["event_problem?"] = STRING, ["method?"] = STRING,
    ["predicted?"] = object({ seconds = SECONDS, overlap_seconds = SECONDS, charge = USD,
                             ["minimum_overlap_seconds?"] = SECONDS }),
  }),
  fact = object({ fact = STRING, holds = BOOLEAN, evidence = STRING }),
  error = object({ error = object({ kind = { type = "string", description = "wrong arguments: input" },
    code = { type = "string", description = "AWS's own, or ours; wrong arguments (exit code 2): Usage" },
    message = STRING, ["operation?"] = STRING,
    ["status?"] = INTEGER, ["request_id?"] = STRING, ["journal?"] = STRING, ["findings?"] = list(ref("finding")),
    ["changes?"] = list(STRING), ["detached?"] = { type = { "object", "array", "string", "boolean" } } }) }),
  counts = { type = "object", description = "what the demo counted" },
}

local RETIRE = object({ deleted = BOOLEAN, ["already_gone?"] = BOOLEAN, reference = STRING, facts = list(ref("fact")) })
local RECONCILE = object({ ok = BOOLEAN, changed = INTEGER, dry_run = BOOLEAN,
  actions = list({ type = "object", required = { "name", "text" },
                   properties = { name = STRING, text = STRING, done = BOOLEAN } }),
  failures = list(object({ name = STRING, error = { type = "object" } })), notes = list(STRING),
  waiting = list(object({ name = STRING, why = one_of("pause", "window", "hour"), text = STRING, journal = STRING })) })

-- By command: everything it may print when it has not failed.
local RESULTS = {
  inventory = { object({ complete = BOOLEAN, errors = list(STRING), taken_at = TIME, certificates = list(ref("certificate")),
                         holders = list(ref("holder")) }),
                object({ reference = STRING, holders = list(ref("holder")) }) },
  check = { object({ refused = BOOLEAN, ["nothing_to_do?"] = STRING, store = STORE, ["method?"] = STRING,
                     findings = list(ref("finding")), holders = list(STRING) }) },
  plan = { ref("plan") },
  apply = { ref("report"), ref("plan") },
  resume = { ref("report") },
  rollback = { ref("report"), object({ rolled_back = BOOLEAN, ["method?"] = STRING, ["from?"] = STRING,
                                       reference = STRING, ["left_behind?"] = list(STRING),
                                       ["holders?"] = list(ref("plan_holder")) }) },
  status = { object({ phase = one_of("planned", "waiting", "import", "changing", "finished", "retired", "rolling back",
      "rolled back"),
    ["from?"] = STRING, ["to?"] = STRING, done = INTEGER, total = INTEGER,
    waves = list(object({ name = STRING, done = INTEGER, total = INTEGER, settled = BOOLEAN, ["unit?"] = object({
      Id = STRING, policy = STRING, detached = BOOLEAN, ["message?"] = STRING }) })),
    failed = list(object({ Id = STRING, message = STRING })), ["started?"] = TIME, ["ended?"] = TIME, ["last?"] = TIME,
    ["held?"] = object({ wave = INTEGER, name = STRING, why = one_of("pause", "gate", "soak", "window", "hour"),
                         ["text?"] = STRING, ["refused?"] = STRING, ["until?"] = TIME }),
    plan = STRING }) },
  retire = { RETIRE },
  verify = { list({ type = "object", required = { "host" }, properties = { host = STRING, error = STRING,
    fingerprint = STRING, names = list(STRING), not_after = TIME, trusted = BOOLEAN, matches = BOOLEAN } }) },
  quota = { object({
    quota = object({ value = INTEGER, source = one_of("applied", "default", "assumed", "given"), code = STRING,
                     ["name?"] = STRING, offered = BOOLEAN, adjustable = BOOLEAN }),
    in_use = INTEGER, holders = INTEGER, needed = INTEGER, fits = BOOLEAN,
    ["request?"] = aws({ Id = STRING, Status = STRING, DesiredValue = NUMBER }),
    ["case?"] = aws({ caseId = STRING, status = STRING }), problems = list(STRING), ["asked?"] = BOOLEAN,
    ["paste?"] = object({ subject = STRING, body = STRING }), ["enough?"] = BOOLEAN }) },
  reconcile = { RECONCILE },
  ["deploy-hook"] = { RECONCILE, object({ recorded = BOOLEAN, name = STRING }) },
  simulate = { object({ endpoint = STRING, ["http_endpoint?"] = STRING, edge = STRING, ca_file = STRING, trust_file = STRING,
    pid = INTEGER, environment = { type = "object", additionalProperties = STRING }, ["old_reference?"] = STRING,
    files = { type = "object", additionalProperties = STRING } }) },
  demo = { object({ ok = BOOLEAN, report = ref("report"), meter = { type = "object" }, viewers = ref("counts"), users = INTEGER,
    charge = USD, one_at_a_time = SINGLE, problems = list(STRING) }) },
  completion = { object({ shell = one_of("bash", "zsh", "fish"), script = STRING }) },
  man = { object({ page = STRING }) },
  error = {},   -- of no command: what every failure is, of the command line itself too
}

-- With --role, an account each: what the command prints of one, or why it has nothing to.
local ACCOUNTS = { inventory = true, check = true, plan = true, apply = true, resume = true, rollback = true,
                   status = true, retire = true }
local function by_account(results)
  return object({ accounts = list(object({ account = STRING, role = STRING, ["journal?"] = STRING,
    ["result?"] = { anyOf = results }, ["error?"] = object({ kind = STRING, code = STRING, message = STRING,
      ["journal?"] = STRING, ["request_id?"] = STRING, ["findings?"] = list(ref("finding")),
      ["changes?"] = list(STRING) }) })) })
end

function M.configure(command)
  local names = {}
  for _, name in ipairs(cli.commands) do names[#names + 1] = RESULTS[name] and name or nil end
  names[#names + 1] = "error"
  command:argument("of", "The command whose output is described, or error: what every failure prints.")
    :args("?"):choices(names):argname("<command>")
end

--- The schema of a command's output, its errors included.
---@param name string
---@return table? schema   nil: there is no such command
function M.of(name)
  local results = RESULTS[name]
  if not results then return nil end
  local any = {}
  for i, result in ipairs(results) do any[i] = result end
  if ACCOUNTS[name] then any[#any + 1] = by_account(results) end
  any[#any + 1] = ref("error")
  return { ["$schema"] = "https://json-schema.org/draft/2020-12/schema", title = "certrotate " .. name .. " --json",
           anyOf = any, ["$defs"] = DEFS }
end

-- The encoder tells lists from objects by a mark.
local function marked(value)
  if type(value) ~= "table" then return value end
  local out = {}
  for key, item in pairs(value) do out[key] = marked(item) end
  return #out > 0 and require("certrotate.json").array(out) or out
end

function M.run(context, args)
  local data
  if args.of then
    data = M.of(args.of)
  else
    data = {}
    for name in pairs(RESULTS) do data[name] = M.of(name) end
  end
  data = marked(data)
  context:result(data, require("certrotate.json").encode_pretty(data) .. "\n")
  return cli.DONE
end

return M
