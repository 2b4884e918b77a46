-- One certificate in many accounts: found by its fingerprint, rotated side by side, each by itself; one's trouble leaves
-- the others going.
local authority = require("certrotate.simulator.authority")
local command = require("spec.support.command")
local core = require("certrotate.core")
local fleet_module = require("spec.support.fleet")
local json = require("certrotate.json")
local json_schema = require("spec.support.json_schema")

local MAIN = "111122223333"
local OTHERS = { "444455556666", "777788889999" }
local function role(account) return "arn:aws:iam::" .. account .. ":role/CertRotator" end

describe("many accounts", function()
  local fleet, aws, old, references, alike, client
  local another = {}

  -- Another account with some distributions of the same certificate under its own ARN, and one of a look-alike's.
  local function populate(account, count)
    local simulator = fleet.simulator
    assert(simulator:control("roles", { arn = role(account) }))
    local function import(certificate, key, chain)
      return assert(simulator:control("certificates?account=" .. account, {
        certificate = command.read(certificate), private_key = command.read(key), chain = command.read(chain),
      })).reference
    end
    local files = simulator.files
    alike[account] = import(alike.files.certificate, alike.files.key, alike.files.chain)
    local reference = import(files.old_certificate, files.old_key, files.old_chain)
    local config = assert(simulator:control("distributions/" .. fleet:on(old)[1])).config
    local function add(id, name)
      local text = config:gsub("<Aliases>.-</Aliases>", "<Aliases><Quantity>0</Quantity></Aliases>")
      text = text:gsub(old:gsub("%p", "%%%0"), (name:gsub("%%", "%%%%")))
      assert(simulator:control(("distributions?account=%s&id=%s"):format(account, id), text))
    end
    another[account] = function()   -- the very same certificate once more, in use
      local copy = import(files.old_certificate, files.old_key, files.old_chain)
      add("E" .. account:sub(1, 6) .. "C", copy)
      return copy
    end
    add("E" .. account:sub(1, 6) .. "L", alike[account])
    for i = 1, count do add(("E%s%d"):format(account:sub(1, 6), i), reference) end
    return reference
  end

  -- The same names, the same days, the same issuer: only the key is another.
  local function make_alike()
    local pki = assert(authority.open(fleet.simulator.directory .. "/pki"))
    local leaf = core.certificate(command.read(fleet.simulator.files.old_certificate))
    assert(pki:make({ { file = "alike", issuer = "intermediate", key = "rsa:2048", names = leaf.names,
                        not_before = leaf.not_before, not_after = leaf.not_after } }))
    local made = pki:files("alike")
    assert.are_not.equal(leaf.fingerprint, core.certificate(command.read(made.certificate)).fingerprint)
    return { files = made }
  end

  local function on(account, reference)
    local count = 0
    local state = assert(fleet.simulator:control("state?account=" .. account))
    for _, distribution in ipairs(state.distributions) do
      if distribution.reference == reference then count = count + 1 end
    end
    return count
  end

  setup(function()
    fleet = fleet_module.start({ distributions = 5, users = 3, vip = 0, propagation = 0.1, seed = 9 })
    old = fleet.simulator.old_reference
    client = assert(core.client())
    alike = make_alike()
  end)
  teardown(function()
    client:close()
    fleet:stop()
  end)
  before_each(function()
    assert(fleet.simulator:control("reset", {}))
    command.remove(fleet:path("journals"))
    aws = assert(fleet:connect())
    references = { [MAIN] = old }
    for i, account in ipairs(OTHERS) do references[account] = populate(account, i + 1) end
  end)
  after_each(function() aws:close() end)

  local function open(roles)
    return assert(aws:accounts({ roles = roles or { "self", role(OTHERS[1]), role(OTHERS[2]) } }))
  end
  local function plan_of(accounts, more)
    local files = fleet.simulator.files
    local options = { replace = old, with = fleet:new_identity(), policy = "cheapest", verify = false,
      trust = fleet.simulator.trust_file, dedicated_ip_quota = 4,
      files = { certificate = files.new_certificate, private_key = files.new_key, chain = files.new_chain } }
    for key, value in pairs(more or {}) do options[key] = value end
    return assert(accounts:plan(options))
  end
  local function run_options(more)
    local all = { journal = fleet:path("journals"), state_directory = fleet:path("state"), poll = 0.05 }
    for key, value in pairs(more or {}) do all[key] = value end
    return all
  end
  local function errors_of(results)
    local list = {}
    for _, one in ipairs(results) do list[one.account] = one.error and one.error.code or nil end
    return list
  end

  it("are listed, planned and rotated, one identity imported in each that uses the old certificate", function()
    local accounts = open()
    for _, one in ipairs(accounts:inventory()) do
      assert.equal(references[one.account], assert(one.value):certificate(references[one.account]).reference)
    end
    local plan = plan_of(accounts)
    for _, one in ipairs(plan.accounts) do
      assert.equal(references[one.account], assert(one.value).from)
      -- The look-alike's distribution is nobody's to change.
      for _, holder in ipairs(one.value:holders()) do assert.is_nil(holder.Id:find("L$")) end
    end
    local text = tostring(plan)
    for _, account in ipairs(OTHERS) do assert.truthy(text:find("Account " .. account, 1, true)) end
    local seen = {}
    local report = assert(plan:run(run_options({ on_event = function(event) seen[event.account] = true end })))
    assert.is_true(report.ok, json.encode(errors_of(report.accounts)))
    assert.equal(3 + 2 + 3, report.changed)
    for account, reference in pairs(references) do
      assert.equal(0, on(account, reference))
      assert.is_true(seen[account])
    end
    for _, one in ipairs(report.accounts) do
      assert.matches("^arn:aws:acm:us%-east%-1:" .. one.account .. ":", one.value.reference)
      assert.is_true(on(one.account, one.value.reference) > 0)
      assert.equal(fleet:path("journals/" .. one.account .. ".journal"), one.journal)
    end
    for _, account in ipairs(OTHERS) do assert.equal(1, on(account, alike[account])) end
    -- Everything was done: nothing is left to resume, and each account retires its own.
    assert.same({ [MAIN] = "NothingToDo", [OTHERS[1]] = "NothingToDo", [OTHERS[2]] = "NothingToDo" },
      errors_of(assert(accounts:resume(run_options())).accounts))
    local retired = assert(accounts:retire({ journal = fleet:path("journals"), keep = 0, state_directory = fleet:path("state") }))
    assert.is_true(retired.ok, json.encode(errors_of(retired.accounts)))
    for _, one in ipairs(retired.accounts) do assert.equal(references[one.account], one.value.reference) end
    accounts:close()
  end)

  it("leave each other going: a role that may not be assumed, an account without the certificate, one that is refused", function()
    assert(fleet.simulator:control("roles", { arn = role("222233334444") }))
    local accounts = open({ role(OTHERS[1]), "self", role(OTHERS[2]), "arn:aws:iam::999900001111:role/Unknown",
                            role("222233334444") })
    local plan = plan_of(accounts)
    local codes = errors_of(plan.accounts)
    assert.equal("AccessDenied", codes["999900001111"])
    assert.equal("NothingToDo", codes["222233334444"])
    -- One account's journal is somebody else's file.
    os.execute("mkdir -p '" .. fleet:path("journals") .. "'")
    command.write(fleet:path("journals/" .. OTHERS[2] .. ".journal"), "not a journal\nat all\n")
    local report = assert(plan:run(run_options()))
    assert.is_false(report.ok)
    codes = errors_of(report.accounts)
    assert.equal("MalformedJournal", codes[OTHERS[2]])
    assert.is_nil(codes[MAIN])
    assert.is_nil(codes[OTHERS[1]])
    assert.equal(0, on(OTHERS[1], references[OTHERS[1]]))
    assert.equal(3, on(OTHERS[2], references[OTHERS[2]]))
    assert.same({}, fleet:on(old))
  end)

  -- What the command line is given: the main account and the others, from a file.
  local function with_roles(argv, lines)
    lines = lines or { role(OTHERS[1]), role(OTHERS[2]) }
    command.write(fleet:path("roles"), "# the others\n" .. table.concat(lines, "\n") .. "\n")
    for _, word in ipairs({ "--role", "self", "--role", "@" .. fleet:path("roles") }) do argv[#argv + 1] = word end
    return argv
  end
  it("tell of a role that may not be assumed by AssumeRole, its ARN, the code and the account that is left out", function()
    local denied = role("999900001111")
    local function run(name, argv, others)
      local code, out, problems = fleet:run(with_roles(argv, { denied, others }))
      assert.equal(1, code, out .. problems)
      local told = out:match("Account 999900001111\n([^\n]*)\n")
      assert.truthy(told, out .. problems)
      for _, part in ipairs({ "account 999900001111 is left out: cannot assume " .. denied .. ": ",
                              "(AccessDenied, sts:AssumeRole, HTTP 403, request " }) do
        assert.truthy(told:find(part, 1, true), name .. ": " .. told)
      end
      assert.is_nil(told:find("ListDistributions", 1, true), told)
      assert.equal(1, select(2, out:gsub("is left out", "")))
    end
    run("inventory", fleet:flags({ "inventory" }), role(OTHERS[1]))
    run("check", fleet:identity_flags({ "check" }), role(OTHERS[1]))
    run("plan", fleet:identity_flags({ "plan" }), role(OTHERS[1]) .. " " .. references[OTHERS[1]])
    -- The replaced certificate lives where nobody may look.
    local _, err = aws:accounts({ roles = { denied } }):plan({ with = fleet:new_identity(),
      replace = "arn:aws:acm:us-east-1:999900001111:certificate/x" })
    assert.equal("AccessDenied", err.code)
    assert.equal("sts:AssumeRole", err.operation)
    assert.truthy(err.message:find("certificate/x cannot be looked at: account 999900001111 is left out", 1, true), err.message)
  end)

  it("interrupted are all finished, or rolled back, by one call", function()
    local accounts = open()
    accounts.parallel = 1   -- so that the last are not begun
    local report = assert(plan_of(accounts, { policy_options = { parallel = 1 } }):run(run_options({
      on_event = function(event)
        if event.type == "swap" then aws.loop:interrupt("test") end
      end })))
    assert.is_false(report.ok)
    for _, one in ipairs(report.accounts) do
      assert.equal("Interrupted", one.error.code)
      assert.equal(fleet:path("journals/" .. one.account .. ".journal"), one.journal)
    end
    local phases = {}
    for _, one in ipairs(assert(accounts:status(fleet:path("journals")))) do phases[one.account] = one.value.phase end
    assert.same({ [MAIN] = "changing", [OTHERS[1]] = "planned", [OTHERS[2]] = "planned" }, phases)
    aws = fleet:again(aws)
    accounts = open()
    report = assert(accounts:resume(run_options()))
    assert.is_true(report.ok, json.encode(errors_of(report.accounts)))
    for account, reference in pairs(references) do assert.equal(0, on(account, reference)) end
    assert.equal(3, fleet:record().effects.acm_imports)
    report = assert(accounts:rollback(run_options()))
    assert.is_true(report.ok, json.encode(errors_of(report.accounts)))
    for account, reference in pairs(references) do
      assert.equal(account == MAIN and 3 or account == OTHERS[1] and 2 or 3, on(account, reference))
    end
  end)

  it("keep a pace each: one is throttled hard and finishes, the others are not slowed", function()
    local slow = OTHERS[2]
    assert(fleet.simulator:control("settings?account=" .. slow, { rate_updates = 1 }))
    local order = {}
    local plan = plan_of(open(), { policy_options = { parallel = 8 } })
    local report = assert(plan:run(run_options({ on_event = function(event)
      if event.type == "done" then order[#order + 1] = event.account end
    end })))
    assert.is_true(report.ok, json.encode(errors_of(report.accounts)))
    for account, reference in pairs(references) do assert.equal(0, on(account, reference)) end
    local throttled, last = {}, {}
    for _, entry in ipairs(fleet:record().entries) do
      if entry.code == "Throttling" then throttled[entry.account] = (throttled[entry.account] or 0) + 1 end
      if entry.operation == "UpdateDistribution" and entry.status == 200 then last[entry.account] = entry.n end
    end
    assert.is_true((throttled[slow] or 0) >= 1)
    assert.same({ [slow] = throttled[slow] }, throttled)
    assert.equal(slow, order[3])
    for account, n in pairs(last) do assert.is_true(account == slow or n < last[slow]) end
    -- The pace that was found is that account's alone.
    for _, one in ipairs(report.accounts) do
      assert.is_true(one.account == slow or one.value.seconds <= report.accounts[3].value.seconds)
    end
  end)

  local function apply_flags()
    return with_roles(fleet:identity_flags({ "apply", "--policy", "cheapest", "--poll", "100ms", "--no-verify",
      "--journal", fleet:path("journals"), "--yes" }))
  end
  local function resume()
    return fleet:run(with_roles(fleet:flags({ "resume", fleet:path("journals"), "--poll", "100ms", "--no-verify" })),
      { timeout = 90 })
  end
  local function all_done()
    for account, reference in pairs(references) do assert.equal(0, on(account, reference)) end
    for _, account in ipairs(OTHERS) do assert.equal(1, on(account, alike[account])) end
    assert.equal(3, fleet:record().effects.acm_imports)
  end

  it("tell which failed in mid-wave, why, and how to go on; the others are done; exit code 1", function()
    assert(fleet.simulator:control("faults", { operation = "UpdateDistribution", account = OTHERS[1], kind = "error",
      status = 400, code = "InvalidArgument", message = "no such thing", skip = 1 }))
    local code, out = fleet:run(apply_flags())
    assert.equal(1, code, out)
    local told = out:match("Account " .. OTHERS[1] .. "\n(.-)\n\n")
    assert.truthy(told:find("no such thing", 1, true) and told:find("InvalidArgument", 1, true), out)
    local hint = ("to go on: certrotate resume %s, with the same --role"):format(fleet:path("journals"))
    assert.truthy(told:find(hint, 1, true), out)
    assert.equal(1, select(2, out:gsub("to go on:", "")))
    assert.equal(1, on(OTHERS[1], references[OTHERS[1]]))
    for _, account in ipairs({ MAIN, OTHERS[2] }) do assert.equal(0, on(account, references[account])) end
    assert(fleet.simulator:control("faults", { clear = true }))
    local problems
    code, out, problems = resume()
    assert.equal(0, code, out .. problems)
    all_done()
  end)

  -- Until all these rules have met a call.
  local function await_faults(process)
    local deadline = core.monotonic() + 60
    while core.monotonic() < deadline and not process.wait(0) do
      local all = true
      for _, rule in ipairs(fleet.simulator:control("faults").rules) do all = all and rule.fired > 0 end
      if all then return end
      client:wait(0.02)
    end
    error("not every fault met its call: " .. process.output())
  end

  it("interrupted by Ctrl-C while one fails: exit code 5, and one resume finishes all", function()
    assert(fleet.simulator:control("faults", { rules = {
      { operation = "UpdateDistribution", account = OTHERS[1], kind = "error", status = 400, code = "InvalidArgument" },
      { operation = "UpdateDistribution", account = OTHERS[2], kind = "delay", seconds = 1, count = 1 } } }))
    local process = command.start(apply_flags(), { environment = fleet:environment() })
    await_faults(process)
    os.execute("kill -INT " .. process.pid)
    assert.equal(5, process.wait(60), process.output())
    process.close()
    assert(fleet.simulator:control("faults", { clear = true }))
    local code, out, problems = resume()
    assert.equal(0, code, out .. problems)
    all_done()
  end)

  it("killed before one was begun, behind an import, in a change, are all finished by one resume", function()
    assert(fleet.simulator:control("faults", { rules = {
      { operation = "UpdateDistribution", account = MAIN, kind = "hang", when = "after", skip = 1, count = 1 },
      { operation = "ImportCertificate", account = OTHERS[1], kind = "hang", when = "after", count = 1 },
      { operation = "ListDistributions", account = OTHERS[2], kind = "hang", skip = 1, count = 1 } } }))
    local process = command.start(apply_flags(), { environment = fleet:environment() })
    await_faults(process)
    os.execute("kill -KILL " .. process.pid)
    assert.is_number(process.wait(30))
    process.close()
    assert(fleet.simulator:control("faults", { clear = true }))
    assert.is_nil(command.read(fleet:path("journals/" .. OTHERS[2] .. ".journal")))
    local code, out, problems = resume()
    assert.equal(0, code, out .. problems)
    all_done()
    assert.equal(3 + 2 + 3, fleet:record().effects.updates)
    code, out, problems = resume()
    assert.equal(3, code, out .. problems)
  end)

  it("may each have a certificate of their own replaced, by exact reference", function()
    local accounts = open()
    local plan = plan_of(accounts, { replace = { [OTHERS[1]] = alike[OTHERS[1]],
                                                 [OTHERS[2]] = references[OTHERS[2]] } })
    assert.same({ [MAIN] = "NothingToDo" }, errors_of(plan.accounts))
    assert.equal(alike[OTHERS[1]], plan.accounts[2].value.from)
    assert.equal(references[OTHERS[2]], plan.accounts[3].value.from)
    plan = plan_of(accounts, { replace = { [OTHERS[1]] = alike[OTHERS[1]], ["*"] = old } })
    local from = {}
    for i, one in ipairs(plan.accounts) do from[i] = one.value.from end
    assert.same({ old, alike[OTHERS[1]], references[OTHERS[2]] }, from)
    local none, err = accounts:plan({ replace = { ["999900001111"] = old }, with = fleet:new_identity() })
    assert.is_nil(none)
    assert.equal("UnknownAccount", err.code)
    assert.has_error(function() accounts:plan({ replace = {}, with = fleet:new_identity() }) end)
    assert.has_error(function() accounts:plan({ replace = { [MAIN] = 5 }, with = fleet:new_identity() }) end)
    -- On the command line the reference stands behind the role.
    local function run(name, ...)
      return fleet:run(with_roles(fleet:flags({ name, "--certificate", fleet.simulator.files.new_certificate, "--chain",
        fleet.simulator.files.new_chain, "--private-key", fleet.simulator.files.new_key, "--json" }), { ... }))
    end
    local code, out, problems = run("plan", role(OTHERS[1]) .. "  " .. alike[OTHERS[1]] .. " # theirs", role(OTHERS[2]))
    assert.equal(2, code, out)
    assert.truthy(problems:find("what is replaced there?", 1, true), problems)
    code, out, problems = fleet:run(with_roles(fleet:identity_flags({ "plan", "--json" }),
      { role(OTHERS[1]) .. "\t" .. alike[OTHERS[1]], role(OTHERS[2]) }))
    assert.equal(0, code, problems)
    for i, one in ipairs(json.decode(out).accounts) do from[i] = one.result.from end
    assert.same({ old, alike[OTHERS[1]], references[OTHERS[2]] }, from)
    code, out, problems = run("plan", role(OTHERS[1]) .. " a b")
    assert.equal(2, code, out .. problems)
  end)

  it("are asked about where one uses the certificate under two references: neither is overlooked", function()
    local copy = another[OTHERS[1]]()
    local plan = plan_of(open())
    assert.same({ [OTHERS[1]] = "ManyCopies" }, errors_of(plan.accounts))
    for _, one in ipairs(plan.accounts) do
      if one.account == OTHERS[1] then
        for _, reference in ipairs({ copy, references[one.account] }) do
          assert.is_truthy(one.error.message:find(reference, 1, true), one.error.message)
        end
      end
    end
    plan = plan_of(open(), { replace = { [OTHERS[1]] = copy, ["*"] = old } })
    assert.same({}, errors_of(plan.accounts))
  end)

  it("are checked, each by its own facts, with one exit code", function()
    local code, out, problems = fleet:run(with_roles(fleet:identity_flags({ "check", "--json" })))
    assert.equal(0, code, out .. problems)
    local list = json.decode(out).accounts
    for i, count in ipairs({ 3, 2, 3 }) do assert.equal(count, #list[i].result.holders) end
    -- In one the old certificate's distribution is under another HTTP version: refused there, told of there alone.
    local id = "E" .. OTHERS[1]:sub(1, 6) .. "1"
    local config = fleet.simulator:control(("distributions/%s?account=%s"):format(id, OTHERS[1])).config
    config = config:gsub("<HttpVersion>[^<]*<", "<HttpVersion>http1.1<")
    assert(fleet.simulator:control(("distributions/%s?account=%s"):format(id, OTHERS[1]), config))
    code, out = fleet:run(with_roles(fleet:identity_flags({ "check" })))
    assert.equal(4, code, out)
    local told = out:match("Account " .. OTHERS[1] .. "\n(.-)\n\n")
    assert.truthy(told:find("HttpVersionsDiffer", 1, true), out)
    assert.equal(1, select(2, out:gsub("HttpVersionsDiffer", "")))
    -- Named distributions are looked for where they are; one that nobody has is refused.
    code, out = fleet:run(with_roles(fleet:identity_flags({ "check", "--json", "--only", "E7777881" })))
    assert.equal(0, code, out)
    list = json.decode(out).accounts
    assert.same({ "E7777881" }, list[3].result.holders)
    assert.equal("NothingToDo", list[1].error.code)
    code, out, problems = fleet:run(with_roles(fleet:identity_flags({ "check", "--only", "EABSENT" })))
    assert.equal(4, code, out)
    assert.truthy(problems:find("no distribution EABSENT in any of these accounts", 1, true), problems)
    assert.same({}, fleet:record().effects)
  end)

  it("refuse what cannot be meant", function()
    local none, err = aws:accounts({ roles = { "CertRotator" } })
    assert.is_nil(none)
    assert.equal("BadRole", err.code)
    none, err = aws:accounts({ roles = { role(OTHERS[1]), "arn:aws:iam::" .. OTHERS[1] .. ":role/Other" } })
    assert.is_nil(none)
    assert.equal("AccountTwice", err.code)
    assert.has_error(function() aws:accounts({}) end)
    local accounts = open()
    none, err = accounts:plan({ replace = "arn:aws:acm:us-east-1:123456789012:certificate/x", with = fleet:new_identity() })
    assert.is_nil(none)
    assert.equal("UnknownReference", err.code)
  end)

  it("on the command line take --role as often as there are accounts; what is printed fits the schema", function()
    local documents, journals = {}, fleet:path("journals")
    -- What it came to by account, or the error's code.
    local function run(code, argv)
      argv[#argv + 1] = "--json"
      local got, out, problems = fleet:run(with_roles(argv), { timeout = 90 })
      assert.equal(code, got, out .. problems)
      documents[#documents + 1] = { argv[1], out }
      local results, text = {}, problems
      for _, one in ipairs(json.decode(out).accounts) do results[one.account] = one.result or one.error.code end
      return results, text
    end
    local picture = fleet:path("all.svg")
    run(0, fleet:flags({ "inventory" }))
    run(0, fleet:identity_flags({ "check" }))
    run(0, fleet:identity_flags({ "plan" }))
    run(0, fleet:identity_flags({ "apply", "--journal", journals }))   -- without --yes: the plans
    run(3, fleet:flags({ "resume", journals }))
    local argv = apply_flags()
    for _ = 1, 4 do table.remove(argv) end   -- the roles come again
    argv[#argv + 1] = "--timeline"
    argv[#argv + 1] = picture
    local results = run(0, argv)
    for account, reference in pairs(references) do
      assert.equal(0, on(account, reference))
      assert.is_true(results[account].ok)
    end
    -- One picture, a lane a holder, account after account.
    local svg = command.read(picture)
    local parse = "python3 -c 'import sys,xml.dom.minidom;xml.dom.minidom.parse(sys.argv[1])' %s 2>&1"
    assert.equal("", command.shell(parse:format(picture)))
    local at = 0
    for _, account in ipairs({ MAIN, OTHERS[1], OTHERS[2] }) do
      local place = svg:find("Account " .. account, 1, true)
      assert.is_true(place > at)
      at = place
    end
    assert.truthy(svg:find("Rotation of 8 holders in 3 accounts", 1, true), svg)
    assert.equal(8, select(2, svg:gsub("Deployed [^<]*: new certificate", "")))
    local code, out = fleet:run({ "status", journals, "--role", role(OTHERS[1]), "--json", "--timeline", picture })
    assert.equal(0, code)
    documents[#documents + 1] = { "status", out }
    assert.equal("finished", json.decode(out).accounts[1].result.phase)
    assert.truthy(command.read(picture):find("Rotation of 2 holders in 1 account<", 1, true))
    results = run(3, fleet:flags({ "resume", journals }))
    assert.same({ [MAIN] = "NothingToDo", [OTHERS[1]] = "NothingToDo", [OTHERS[2]] = "NothingToDo" }, results)
    run(0, fleet:flags({ "retire", journals, "--keep", "0s" }))
    -- Kept for a day by default: refused, in one; deleted already, in another.
    run(4, fleet:flags({ "retire", journals, "--yes" }))
    results = run(0, fleet:flags({ "retire", journals, "--keep", "0s", "--yes" }))
    for account in pairs(references) do assert.is_true(results[account].deleted) end
    run(4, fleet:flags({ "rollback", journals, "--yes" }))
    assert.equal("", json_schema.problems(documents))
    -- The schema is one that can fail: a field too many deep inside.
    local broken = json.decode(documents[3][2])
    broken.accounts[1].result.waves[1].surprise = true
    assert.truthy(json_schema.problems({ { "plan", json.encode(broken) } }):find("surprise", 1, true))
    local problems
    code, out, problems = fleet:run({ "apply", "plan.json", "--role", role(OTHERS[1]) })
    assert.equal(2, code)
    assert.truthy(problems:find("not a plan's file", 1, true), problems .. out)
  end)

  it("attach where the named distribution is, and replace nothing anywhere", function()
    local bare
    for _, one in ipairs(fleet:state().distributions) do
      if one.reference == "" then bare = one.id end
    end
    local argv = fleet:identity_flags({ "apply", "--journal", fleet:path("journals"), "--yes", "--poll", "100ms",
      "--no-verify", "--attach", bare, "--ssl-support-method", "sni-only" })
    for at = #argv, 1, -1 do
      if argv[at] == "--replace" then
        table.remove(argv, at + 1)
        table.remove(argv, at)
      end
    end
    local code, out, problems = fleet:run(with_roles(argv))
    assert.equal(0, code, out .. problems)
    for account, reference in pairs(references) do assert.is_true(on(account, reference) >= 2) end
    assert.equal(1, fleet:record().effects.updates)
    assert.equal(1, fleet:record().effects.acm_imports)
    assert.truthy(out:find("account " .. OTHERS[1] .. " has none of these distributions", 1, true), out)
  end)

  it("with their journals in S3 are gone on with on another machine, each by a name of its own", function()
    -- The bucket is the main account's alone.
    assert(fleet.simulator:control("buckets", { name = "rot-journal" }))
    local place = "s3://rot-journal/prod/www"
    assert(fleet.simulator:control("faults", { rules = {
      { operation = "UpdateDistribution", account = MAIN, kind = "hang", when = "after", skip = 1, count = 1 },
      { operation = "ImportCertificate", account = OTHERS[1], kind = "hang", when = "after", count = 1 },
      { operation = "ListDistributions", account = OTHERS[2], kind = "hang", skip = 1, count = 1 } } }))
    local argv = with_roles(fleet:identity_flags({ "apply", "--policy", "cheapest", "--poll", "100ms", "--no-verify",
      "--journal", place, "--yes" }))
    local process = command.start(argv, { environment = fleet:environment({ CERTROTATE_STATE = fleet:path("first") }) })
    await_faults(process)
    os.execute("kill -KILL " .. process.pid)
    assert.is_number(process.wait(30))
    process.close()
    assert(fleet.simulator:control("faults", { clear = true }))
    local names = {}
    for key in pairs(fleet.simulator:control("buckets").buckets["rot-journal"].objects) do
      local name = key:match("^prod/(.-)/")
      names[name] = true
    end
    assert.same({ ["www.plans"] = true, ["www." .. MAIN] = true, ["www." .. OTHERS[1]] = true, locks = true }, names)
    -- The other machine has neither the state nor the lock files; the dead one's leases are over after a while.
    local elsewhere = { environment = { CERTROTATE_STATE = fleet:path("second") }, timeout = 90 }
    local function go_on()
      return fleet:run(with_roles(fleet:flags({ "resume", place, "--poll", "100ms", "--no-verify" })), elsewhere)
    end
    local code, out, problems = go_on()
    assert.equal(4, code, out .. problems)
    assert.truthy(out:find("Account " .. MAIN .. "\n[^\n]*lease"), out)
    assert(fleet.simulator:control("clock", { advance = 400 }))
    code, out, problems = go_on()
    assert.equal(0, code, out .. problems)
    all_done()
    code, out, problems = fleet:run(with_roles(fleet:flags({ "status", place })), elsewhere)
    assert.equal(0, code, problems)
    assert.equal(3, select(2, out:gsub("finished; the old certificate is kept", "")))
    code, out, problems = fleet:run(with_roles(fleet:flags({ "retire", place, "--keep", "0s", "--yes" })), elsewhere)
    assert.equal(0, code, out .. problems)
    -- A place that cannot be one is refused before anything.
    code, out, problems = fleet:run(with_roles(fleet:flags({ "resume", "s3://rot-journal" })), elsewhere)
    assert.equal(1, code, out)
    assert.truthy(problems:find("the name behind the bucket is missing", 1, true), problems)
  end)
end)
