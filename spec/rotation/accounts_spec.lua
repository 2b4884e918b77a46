-- One certificate in many accounts: found by its fingerprint, rotated side by side, each by itself; one's trouble leaves
-- the others going.
local command = require("spec.support.command")
local fleet_module = require("spec.support.fleet")
local json = require("certrotate.json")

local MAIN = "111122223333"
local OTHERS = { "444455556666", "777788889999" }
local function role(account) return "arn:aws:iam::" .. account .. ":role/CertRotator" end

describe("many accounts", function()
  local fleet, aws, old, references

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
    local reference = import(files.old_certificate, files.old_key, files.old_chain)
    local config = assert(simulator:control("distributions/" .. fleet:on(old)[1])).config
    local function add(id, name)
      local text = config:gsub("<Aliases>.-</Aliases>", "<Aliases><Quantity>0</Quantity></Aliases>")
      text = text:gsub(old:gsub("%p", "%%%0"), (name:gsub("%%", "%%%%")))
      assert(simulator:control(("distributions?account=%s&id=%s"):format(account, id), text))
    end
    for i = 1, count do add(("E%s%d"):format(account:sub(1, 6), i), reference) end
    return reference
  end

  local function on(account, reference)
    local count = 0
    local state = assert(fleet.simulator:control("state?account=" .. account))
    for _, distribution in ipairs(state.distributions) do
      if distribution.reference == reference then count = count + 1 end
    end
    return count
  end

  local function fresh()
    fleet = fleet_module.start({ distributions = 5, users = 3, vip = 0, propagation = 0.1, seed = 9 })
    aws = assert(fleet:connect())
    old = fleet.simulator.old_reference
    references = { [MAIN] = old }
    for i, account in ipairs(OTHERS) do references[account] = populate(account, i + 1) end
  end
  after_each(function()
    if aws then aws:close() end
    if fleet then fleet:stop() end
    aws, fleet = nil, nil
  end)

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
    fresh()
    local accounts = open()
    for _, one in ipairs(accounts:inventory()) do
      assert.equal(references[one.account], assert(one.value):certificate(references[one.account]).reference)
    end
    local plan = plan_of(accounts)
    for _, one in ipairs(plan.accounts) do assert.equal(references[one.account], assert(one.value).from) end
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
    -- Everything was done: nothing is left to resume, and each account retires its own.
    assert.same({ [MAIN] = "NothingToDo", [OTHERS[1]] = "NothingToDo", [OTHERS[2]] = "NothingToDo" },
      errors_of(assert(accounts:resume(run_options())).accounts))
    local retired = assert(accounts:retire(run_options({ keep = 0 })))
    assert.is_true(retired.ok, json.encode(errors_of(retired.accounts)))
    for _, one in ipairs(retired.accounts) do assert.equal(references[one.account], one.value.reference) end
    accounts:close()
  end)

  it("leave each other going: a role that may not be assumed, an account without the certificate, one that is refused", function()
    fresh()
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

  it("interrupted are all finished, or rolled back, by one call", function()
    fresh()
    local accounts = open()
    local count = 0
    local report = assert(plan_of(accounts, { policy_options = { parallel = 1 } }):run(run_options({
      on_event = function(event)
        if event.type ~= "swap" then return end
        count = count + 1
        if count == 3 then aws.loop:interrupt("test") end
      end })))
    assert.is_false(report.ok)
    local interrupted = 0
    for _, one in ipairs(report.accounts) do
      if one.error and one.error.code == "Interrupted" then interrupted = interrupted + 1 end
    end
    assert.is_true(interrupted >= 1)
    aws:close()
    aws = assert(fleet:connect())
    accounts = open()
    report = assert(accounts:resume(run_options()))
    for _, one in ipairs(report.accounts) do
      assert.is_true(one.value ~= nil or one.error.code == "NothingToDo", tostring(one.error))
    end
    report = assert(accounts:rollback(run_options()))
    assert.is_true(report.ok, json.encode(errors_of(report.accounts)))
    for account, reference in pairs(references) do
      assert.equal(account == MAIN and 3 or account == OTHERS[1] and 2 or 3, on(account, reference))
    end
  end)

  it("refuse what cannot be meant", function()
    fresh()
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

  it("on the command line take --role as often as there are accounts", function()
    fresh()
    command.write(fleet:path("roles"), ("# the others\n%s\n%s\n"):format(role(OTHERS[1]), role(OTHERS[2])))
    local function with_roles(list)
      local argv = list
      for _, word in ipairs({ "--role", "self", "--role", "@" .. fleet:path("roles") }) do argv[#argv + 1] = word end
      return fleet:run(argv, { timeout = 90 })
    end
    local code, out, problems = with_roles(fleet:flags({ "inventory", "--json" }))
    assert.equal(0, code, problems)
    assert.equal(3, #assert(json.decode(out)).accounts)
    local journals = fleet:path("journals")
    code, out, problems = with_roles(fleet:identity_flags({ "apply", "--policy", "cheapest", "--poll", "100ms", "--no-verify",
      "--journal", journals, "--yes" }))
    assert.equal(0, code, problems)
    for account in pairs(references) do assert.truthy(out:find("Account " .. account, 1, true), out) end
    for account, reference in pairs(references) do assert.equal(0, on(account, reference)) end
    code, out = fleet:run({ "status", journals, "--role", role(OTHERS[1]) })
    assert.equal(0, code)
    assert.truthy(out:find("finished; the old certificate is still there", 1, true), out)
    code, out, problems = with_roles(fleet:flags({ "resume", journals }))
    assert.equal(3, code, out .. problems)
    code, out, problems = with_roles(fleet:flags({ "retire", journals, "--keep", "0s", "--yes" }))
    assert.equal(0, code, out .. problems)
    code, out, problems = fleet:run({ "apply", "plan.json", "--role", role(OTHERS[1]) })
    assert.equal(2, code)
    assert.truthy(problems:find("not a plan's file", 1, true), problems .. out)
  end)
end)
