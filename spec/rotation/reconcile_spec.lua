-- Declared certificates, brought to the declared state: from cron, by a deploy hook, interrupted, beside trouble.
local certificates = require("spec.support.certificates")
local command = require("spec.support.command")
local core = require("certrotate.core")
local config_module = require("certrotate.rotation.reconcile.config")
local fleet_module = require("spec.support.fleet")
local hook = require("certrotate.rotation.reconcile.hook")
local json = require("certrotate.json")
local ledger = require("certrotate.rotation.reconcile.ledger")
local reconcile = require("certrotate.rotation.reconcile")

describe("reconcile", function()
  local fleet, aws, old, users

  -- What a renewal leaves: files at a fixed place.
  local function first_renewal()
    local files = fleet.simulator.files
    for name, from in pairs({ fullchain = files.new_certificate, privkey = files.new_key }) do
      command.shell(("cp '%s' '%s'"):format(from, fleet:path(name .. ".pem")))
    end
    command.shell(("cat '%s' >> '%s'"):format(files.new_chain, fleet:path("fullchain.pem")))
  end

  local function fresh(options)
    fleet = fleet_module.start({ distributions = 8, users = 4, vip = 1, propagation = 0.1, seed = 5 }, options)
    aws = assert(fleet:connect())
    old = fleet.simulator.old_reference
    users = fleet:on(old)
    first_renewal()
  end
  after_each(function()
    if fleet then fleet:stop() end
    fleet = nil
  end)

  -- Another renewal: the same names, another certificate.
  local function renew(days)
    local ca = certificates.intermediate(certificates.ca(fleet.directory, "Renewed Root"), "Renewed CA")
    local info = assert(fleet:new_identity()):leaf()
    local leaf = certificates.leaf({ dir = fleet.directory, name = "renewed", names = info.names, ca = ca, days = days })
    command.shell(("cat '%s' > '%s'; cat '%s' > '%s'"):format(leaf.fullchain or leaf.certificate,
      fleet:path("fullchain.pem"), leaf.private_key, fleet:path("privkey.pem")))
  end

  local function config_text(fields)
    local entry = ('{ name = "www", certificate = "%s", private_key = "%s"%s }'):format(fleet:path("fullchain.pem"),
      fleet:path("privkey.pem"), fields.entry and ", " .. fields.entry or "")
    return ([[return { state = "%s", dedicated_ip_quota = 4, verify = false%s, certificates = { %s } }]]):format(
      fleet:path("reconcile"), fields.top and ", " .. fields.top or "", fields.list or entry)
  end
  local function configure(fields)
    command.write(fleet:path("sites.lua"), config_text(fields or {}))
    return assert(config_module.load(fleet:path("sites.lua")))
  end

  local function round(config, options)
    local all = { poll = 0.05 }
    for key, value in pairs(options or {}) do all[key] = value end
    return reconcile.run(aws, config, all)
  end
  local function kinds(result)
    local list = {}
    for _, action in ipairs(result.actions) do list[#list + 1] = action.action .. (action.done and "" or "?") end
    return list
  end

  for _, store in ipairs({ "acm", "iam" }) do
    it("finds by its names what a certificate replaces, rotates, then has nothing to do (" .. store .. ")", function()
      fresh({ store = store })
      local config = configure({ top = ('store = "%s"'):format(store) })
      local result = assert(round(config, { dry_run = true }))
      assert.same({ "rotate?" }, kinds(result))
      assert.same(users, fleet:on(old))
      result = assert(round(config))
      assert.same({ "rotate" }, kinds(result))
      assert.is_true(result.ok)
      assert.equal(#users, result.changed)
      assert.same({}, fleet:on(old))
      local before = fleet:record().count
      result = assert(round(config))
      assert.same({}, result.actions)
      assert.is_true(result.ok)
      local calls = fleet:record().count - before
      assert.is_true(calls <= 6, calls .. " calls where nothing is to be done")
    end)
  end

  it("retires what was replaced once it was kept long enough, and follows the next renewal", function()
    fresh()
    local config = configure({ top = 'keep = "0s"' })
    local result = assert(round(config))
    assert.same({ "rotate", "retire" }, kinds(result))
    assert.equal(1, fleet:record().effects.acm_deletes)
    renew()
    result = assert(round(config))
    assert.same({}, result.failures)
    assert.same({ "rotate", "retire" }, kinds(result))
    assert.equal(2, fleet:record().effects.acm_imports)
    assert.equal(2, fleet:record().effects.acm_deletes)
    assert.same({}, assert(round(config)).actions)
  end)

  it("says so when a declared certificate is near its end and was not renewed", function()
    fresh()
    renew(9)
    local result = assert(round(configure()))
    assert.same({ "rotate" }, kinds(result))
    assert.matches("^www: .*fullchain.pem ends on %d+%-%d+%-%d+ and was not renewed$", result.notes[1])
    assert.same({}, assert(round(configure({ top = 'warn = "7d"' }))).notes)
    assert.same({}, assert(round(configure({ top = "warn = false" }))).notes)
  end)

  it("keeps the old one for the keep-time", function()
    fresh()
    local config = configure()
    assert.same({ "rotate" }, kinds(assert(round(config))))
    assert.same({}, kinds(assert(round(config))))
    aws:close()
    assert(fleet.simulator:control("clock", { advance = 25 * 3600 }))
    aws = assert(fleet:connect())
    assert.same({ "retire" }, kinds(assert(round(config))))
  end)

  it("finishes first what was interrupted", function()
    fresh()
    local config = configure({ top = 'policy = "cheapest", policy_options = { parallel = 1 }' })
    local result, err = round(config, { on_event = function(event)
      if event.type == "swap" then aws.loop:interrupt("test") end
    end })
    assert.is_nil(result)
    assert.equal("Interrupted", err.code)
    assert.is_true(#fleet:on(old) > 0)
    aws = fleet:again(aws)
    result = assert(round(config))
    assert.same({ "resume" }, kinds(result))
    assert.same({}, fleet:on(old))
    assert.equal(1, fleet:record().effects.acm_imports)
  end)

  it("finishes what a killed one began, at once: its locks died with it", function()
    fresh({ propagation = 0.5 })
    configure()
    local argv = fleet:flags({ "reconcile", fleet:path("sites.lua"), "--yes", "--poll", "50ms", "--json" })
    local running = command.start(argv, { environment = fleet:environment() })
    local deadline = core.monotonic() + 60
    while #fleet:on(old) == #users and core.monotonic() < deadline do aws.loop:sleep(0.01) end
    command.shell("kill -KILL " .. running.pid)
    assert.is_truthy(running.wait(20))
    running.close()
    assert.is_true(#fleet:on(old) < #users)
    local code, out, problems = fleet:run(argv)
    assert.equal(0, code, problems)
    assert.equal("resume", assert(json.decode(out)).actions[1].action)
    assert.same({}, fleet:on(old))
    assert.equal(1, fleet:record().effects.acm_imports)
  end)

  it("leaves a pause to a person, asks its gates, and goes on round by round", function()
    fresh({ distributions = 7, users = 3, vip = 0 })
    local function declare(open)
      return configure({ top = ([[gates = { calm = function(at) return %s, #at.ids .. " of " .. at.name .. " fail" end },
        waves = { { "1", gate = "calm", pause = "look at the shop" },
                  { "1", gate = function() return true end, windows = { "%s" } }, "rest" }]]):format(
        tostring(open), os.date("!%H:00-%H:00 UTC")) })
    end
    local result = assert(round(declare(false)))
    assert.same({ "rotate?" }, kinds(result))
    local told = result.failures[1].error.message
    assert.is_truthy(told:find("the gate 'calm' after wave 1 does not agree: 1 of 1 fail", 1, true), told)
    assert.equal(2, #fleet:on(old))
    -- The next round asks it again; then it is a person's turn, however many rounds come.
    local go_on = ("`certrotate reconcile %s --yes --approve www` goes on"):format(fleet:path("sites.lua"))
    local config = declare(true)
    for count = 1, 2 do
      result = assert(round(config))
      assert.is_true(result.ok)
      assert.same(count == 1 and { "resume?" } or {}, kinds(result))
      assert.same({ "pause", "www" }, { result.waiting[1].why, result.waiting[1].name })
      assert.is_truthy(result.waiting[1].text:find("look at the shop", 1, true), result.waiting[1].text)
      assert.is_truthy(result.waiting[1].text:find(go_on, 1, true), result.waiting[1].text)
      assert.equal(2, #fleet:on(old))
    end
    assert.same({ "nothing of 'shop' waits for a person; names are those of the configuration" },
      assert(round(config, { approve = "shop" })).notes)
    -- Renewed again meanwhile, it waits all the same: two rotations of one certificate at a time are none.
    renew()
    assert.same({}, kinds(assert(round(config))))
    first_renewal()
    local argv = fleet:flags({ "reconcile", fleet:path("sites.lua"), "--poll", "50ms" })
    local function call(...)
      local all = { ... }
      for at, word in ipairs(argv) do table.insert(all, at, word) end
      return fleet:run(all)
    end
    local code, out, problems = call("--approve", "www")
    assert.same({ 2, "" }, { code, out })
    assert.is_truthy(problems:find("it needs --yes", 1, true), problems)
    code, out, problems = call("--yes", "--quiet")
    assert.equal(5, code, problems)
    assert.is_truthy(out:find("www: waits: wave 1 is done", 1, true), out)
    code, out, problems = call("--yes", "--approve", "www", "--json")
    assert.equal(0, code, out .. problems)
    assert.same({}, fleet:on(old))
    assert.equal(1, fleet:record().effects.acm_imports)
  end)

  it("leaves a window that opens later to the round that finds it open, and hears nothing of it from cron", function()
    fresh({ distributions = 7, users = 3, vip = 0 })
    local from = math.floor(aws.loop:now()) + 8 * 3600
    local config = configure({ top = ('policy = "careful", windows = { "%s-%s" }'):format(os.date("!%H:%M", from),
      os.date("!%H:%M", from + 3600)) })
    local result = assert(round(config))
    assert.is_true(result.ok)
    assert.same({ "rotate?" }, kinds(result))
    assert.same({ "window" }, { result.waiting[1].why })
    assert.is_truthy(result.waiting[1].text:find("^wave 1 waits for its maintenance window until %d+"), result.waiting[1].text)
    assert.same(users, fleet:on(old))
    local code, out, problems = fleet:run(fleet:flags({ "reconcile", fleet:path("sites.lua"), "--yes", "--quiet" }))
    assert.same({ 5, "", "" }, { code, out, problems })
    aws:close()
    assert(fleet.simulator:control("clock", { advance = 8.5 * 3600 }))
    aws = assert(fleet:connect())
    assert(aws:inventory())   -- tells how far this machine's clock is behind now
    result = assert(round(config))
    assert.same({ "resume" }, kinds(result))
    assert.same({}, result.waiting)
    assert.same({}, fleet:on(old))
    assert.equal(1, fleet:record().effects.acm_imports)
  end)

  it("takes the budget, the price, probes, the last deployment times and a policy's file", function()
    fresh({ distributions = 7, users = 3, vip = 1 })
    command.write(fleet:path("policy.lua"), [[local asked = 0
      return { name = "mine", gates = { once = function() asked = asked + 1 return asked > 0 end },
        waves = function(holders) return { { name = "all", holders = holders, parallel = 3, gate = "once" } } end }]])
    local config = configure({ top = ([[policy = "%s", failures = 2, probes = 3, price = 1200, rounding = "clock",
      deploy_time = "last", keep = false]]):format(fleet:path("policy.lua")) })
    assert.is_true(assert(round(config)).ok)
    renew()
    assert.is_true(assert(round(config)).ok)
    local seen = {}
    for i, entry in ipairs(ledger.read(fleet:path("reconcile/ledger.jsonl"))) do
      seen[i] = assert(require("certrotate.rotation.journal").load(entry.journal)).plan
    end
    assert.equal(2, #seen)
    for _, plan in ipairs(seen) do
      assert.same({ "mine", "once", 2 }, { plan.policy.name, plan.waves[1].gate, plan.settings.failures })
      assert.same({ price = 1200, rounding = "clock" }, plan.settings.cost)
      assert.same({ probes = 3, need = 3 }, plan.waves[1].verify)
    end
    assert.equal(300, seen[1].prediction.deploy_seconds)
    assert.is_true(seen[2].prediction.deploy_seconds < 60, "as it took in the first one")
    -- A function of the waves' own could not be found by the next round: told before anything is begun.
    renew(50)
    local result = assert(round(configure({ top = [[policy = function(holders)
      return { { holders = holders, gate = function() return true end } } end]] })))
    assert.same({}, result.actions)
    assert.is_truthy(result.failures[1].error.message:find("a function without a name", 1, true))
    assert.equal(2, fleet:record().effects.acm_imports)
  end)

  it("reimports where that is declared, then has nothing to do and nothing to retire", function()
    fresh({ distributions = 7, users = 3, vip = 0, settings = { reimport_propagation = 0.1 } })
    local config = configure({ top = 'policy = "careful", keep = 0', entry = 'method = "reimport", verify = true' })
    local result = assert(round(config))
    assert.same({}, result.failures)
    assert.same({ "rotate" }, kinds(result))
    assert.same(users, fleet:on(old))
    assert.equal(1, fleet:record().effects.acm_reimports)
    result = assert(round(config))
    assert.same({ {}, {}, {} }, { result.actions, result.notes, result.failures })
  end)

  it("does not do again what a person rolled back", function()
    fresh()
    local config = configure()
    assert(round(config))
    local journal = ledger.read(fleet:path("reconcile/ledger.jsonl"))[1].journal
    assert(aws:rollback({ journal = journal, poll = 0.05, verify = false }))
    local result = assert(round(config))
    assert.same({}, result.actions)
    assert.matches("rolled back to on purpose", result.notes[1])
    assert.same(users, fleet:on(old))
  end)

  it("changes only the declared holders, and only exact references", function()
    fresh()
    local one = users[1]
    local config = configure({ entry = ('holders = { "%s" }'):format(one) })
    local result = assert(round(config))
    assert.equal(1, result.changed)
    assert.equal(#users - 1, #fleet:on(old))
    assert.same({}, assert(round(config)).actions)
    config = configure({ entry = 'replace = { "arn:aws:acm:us-east-1:111122223333:certificate/nothing-like-it" }' })
    assert.same({}, assert(round(config)).actions)
    config = configure({ entry = ('replace = "%s"'):format(old) })
    assert.equal(#users - 1, assert(round(config)).changed)
  end)

  it("goes on with the others when one has trouble", function()
    fresh()
    local entry = ('{ name = "www", certificate = "%s", private_key = "%s" }'):format(fleet:path("fullchain.pem"),
      fleet:path("privkey.pem"))
    local config = configure({ list = '{ name = "lost", certificate = "/nonexistent/cert.pem" }, ' .. entry })
    local result = assert(round(config))
    assert.is_false(result.ok)
    assert.equal("lost", result.failures[1].name)
    assert.same({ "rotate" }, kinds(result))
    assert.same({}, fleet:on(old))
  end)

  it("does not take what it could not list for nothing to do", function()
    fresh()
    local config = configure()
    for _ = 1, 2 do
      assert(fleet.simulator:control("faults", { operation = "ListCertificates", kind = "error", status = 400,
        code = "AccessDeniedException", message = "not for you" }))
      local result = assert(round(config))
      assert.is_false(result.ok)
      assert.equal("AccessDeniedException", result.failures[1].error.code)
      assert.same({}, result.actions)
      assert(fleet.simulator:control("faults", { clear = true }))
      config = configure({ entry = ('holders = { "%s" }'):format(users[1]) })
    end
    assert.same(users, fleet:on(old))
  end)

  it("tells of declared holders that are gone, and goes on with the others", function()
    fresh()
    local result = assert(round(configure({ entry = ('holders = { "EGONE", "%s" }'):format(users[1]) })))
    assert.same({ "rotate" }, kinds(result))
    assert.same({ "www: there is no distribution EGONE; take it out of holders" }, result.notes)
  end)

  it("takes a table from scripts, whole or not at all", function()
    fresh()
    local declared = { name = "www", certificate = fleet:path("fullchain.pem"), private_key = fleet:path("privkey.pem") }
    local config = { state = fleet:path("reconcile"), dedicated_ip_quota = 4, verify = false, certificates = { declared } }
    local result = assert(aws:reconcile({ config = config, poll = 0.05 }))
    assert.same({ "rotate" }, kinds(result))
    local none, err = aws:reconcile({ config = { certificates = { { name = "www" } } } })
    assert.is_nil(none)
    assert.equal("config: certificates[1]: no certificate", err.message)
    assert.has_error(function() aws:reconcile({}) end)
  end)

  it("is preceded by a look at what ends soon: inventory --expiring", function()
    fresh()
    local function ending(within)
      local code, out, problems = fleet:run(fleet:flags({ "inventory", "--json", "--expiring", within }))
      assert.equal(0, code, problems)
      local list = {}
      for i, certificate in ipairs(assert(json.decode(out)).certificates) do list[i] = certificate.reference end
      return list
    end
    -- The old one has five days left, all others months.
    assert.same({ old }, ending("30d"))
    assert.same({}, ending("4d"))
    assert.is_true(#ending("1000d") > 1)
    local _, out = fleet:run(fleet:flags({ "inventory", "--expiring", "30d" }))
    assert.truthy(out:find(old:match("[^/]+$"), 1, true), out)
  end)

  it("excludes a second one", function()
    fresh()
    local config = configure()
    local directory = assert(reconcile.directory(config))
    local held = assert(ledger.open(directory .. "/ledger.jsonl"))
    local result, err = round(config)
    held:close()
    assert.is_nil(result)
    assert.equal("Locked", err.code)
    assert.matches("another reconcile is at work", err.message)
  end)

  it("on the command line looks first, tells cron what it did, and has its exit codes", function()
    fresh()
    configure()
    local function call(...)
      return fleet:run(fleet:flags({ "reconcile", fleet:path("sites.lua"), "--poll", "100ms", ... }))
    end
    local code, out, problems = call()
    assert.equal(0, code, problems)
    assert.truthy(out:find("www: to do: replace " .. old .. " on 4 holders", 1, true), out)
    assert.same(users, fleet:on(old))
    code, out, problems = call("--yes")
    assert.equal(0, code, problems)
    assert.truthy(out:find("www: done: replace " .. old, 1, true), out)
    code, out = call("--yes", "--json")
    assert.equal(3, code)
    assert.equal(0, #assert(json.decode(out)).actions)
    code, out, problems = call("--yes", "--quiet")
    assert.same({ 3, "", "" }, { code, out, problems })
    code, out, problems = fleet:run(fleet:flags({ "reconcile", fleet:path("nowhere.lua"), "--yes" }))
    assert.equal(1, code)
    assert.truthy(problems:find("cannot read the configuration", 1, true), problems .. out)
  end)

  describe("by a deploy hook", function()
    local function hooked(environment, ...)
      local all = { RENEWED_LINEAGE = fleet.directory, RENEWED_DOMAINS = "shop.example www.shop.example" }
      for key, value in pairs(environment or {}) do all[key] = value end
      return fleet:run(fleet:flags({ "deploy-hook", "--config", fleet:path("sites.lua"), "--poll", "100ms", ... }),
        { environment = all })
    end

    it("rotates the lineage that certbot renewed", function()
      fresh()
      configure()
      local code, out, problems = hooked()
      assert.equal(0, code, problems)
      assert.truthy(out:find("www: done: replace " .. old, 1, true), out)
      assert.same({}, fleet:on(old))
    end)

    it("takes undeclared lineages where the configuration says so", function()
      fresh()
      configure({ list = '{ name = "other", certificate = "/nonexistent/cert.pem" }' })
      local code, _, problems = hooked()
      assert.equal(1, code)
      assert.truthy(problems:find("declares no certificate " .. fleet:path("fullchain.pem"), 1, true), problems)
      configure({ list = "", top = "acme = {}" })
      code, _, problems = hooked()
      assert.equal(0, code, problems)
      assert.same({}, fleet:on(old))
    end)

    it("records first, and a reconcile finishes it", function()
      fresh()
      configure({ list = "", top = "acme = {}" })
      -- AWS cannot be reached at the moment of the hook.
      local code, _, problems = fleet:run({ "deploy-hook", "--config", fleet:path("sites.lua"), "--endpoint-url",
        "http://127.0.0.1:1" }, { environment = { RENEWED_LINEAGE = fleet.directory } })
      assert.equal(1, code)
      assert.truthy(problems:find("is recorded; `certrotate reconcile", 1, true), problems)
      assert.same(users, fleet:on(old))
      local out
      code, out, problems = fleet:run(fleet:flags({ "reconcile", fleet:path("sites.lua"), "--yes", "--poll", "100ms" }))
      assert.equal(0, code, problems)
      assert.truthy(out:find("done: replace " .. old, 1, true), out)
      assert.same({}, fleet:on(old))
    end)

    it("records while the configuration cannot be read, for the day it is repaired", function()
      fresh()
      command.write(fleet:path("sites.lua"), "return { acme = ")
      local code, _, problems = hooked()
      assert.equal(1, code)
      assert.truthy(problems:find("is recorded; repair " .. fleet:path("sites.lua"), 1, true), problems)
      assert.same(users, fleet:on(old))
      configure({ list = "", top = "acme = {}" })
      local out
      code, out, problems = fleet:run(fleet:flags({ "reconcile", fleet:path("sites.lua"), "--yes", "--poll", "100ms" }))
      assert.equal(0, code, problems)
      assert.truthy(out:find("done: replace " .. old, 1, true), out)
      -- A lineage that its client deleted since is told, and no failure.
      command.shell(("mv '%s' '%s'"):format(fleet:path("fullchain.pem"), fleet:path("away.pem")))
      code, out = fleet:run(fleet:flags({ "reconcile", fleet:path("sites.lua"), "--yes" }))
      assert.equal(3, code)
      assert.truthy(out:find("is not there any more; it is left as it is", 1, true), out)
    end)

    it("understands acme.sh and lego, and says when nobody called it", function()
      fresh()
      local certificate, key = fleet:path("fullchain.pem"), fleet:path("privkey.pem")
      local function seen(variables) return hook.lineage(function(name) return variables[name] end) end
      local lineage = assert(seen({ CERT_FULLCHAIN_PATH = certificate, CERT_KEY_PATH = key,
                                    Le_Domain = "*.shop.example" }))
      assert.equal("acme.sh", lineage.client)
      assert.equal("shop.example", lineage.name)
      lineage = assert(seen({ LEGO_CERT_PATH = certificate, LEGO_CERT_KEY_PATH = key,
                              LEGO_CERT_DOMAIN = "shop.example" }))
      assert.equal("lego", lineage.client)
      assert.equal("shop.example", lineage.name)
      local none, err = seen({})
      assert.is_nil(none)
      assert.equal("NoLineage", err.code)
      none, err = seen({ RENEWED_LINEAGE = "/nonexistent" })
      assert.is_nil(none)
      assert.equal("FileUnreadable", err.code)
    end)
  end)

  describe("refuses a configuration", function()
    local directory
    setup(function() directory = command.directory() end)
    teardown(function() command.remove(directory) end)

    local function one(fields)
      return ('return { certificates = { { name = "a", certificate = "/a.pem", %s } } }'):format(fields)
    end
    local cases = {
      { "that is not Lua", "return {", "<eof>" },
      { "that returns nothing", "local a = 1", "it must return a table" },
      { "that declares nothing", "return {}", "it declares nothing" },
      { "with an unknown setting", "return { certifcates = {} }", "no setting 'certifcates'" },
      { "with an unknown setting of a certificate", 'return { certificates = { { name = "a", certificte = "/x" } } }',
        "certificates[1]: no setting 'certificte'" },
      { "with a relative path", 'return { certificates = { { name = "a", certificate = "x.pem" } } }',
        "certificate: an absolute path" },
      { "without a name", 'return { certificates = { { certificate = "/x.pem" } } }', "certificates[1]: no name" },
      { "with a name twice", 'local c = { name = "a", certificate = "/x.pem" } return { certificates = { c, c } }',
        "the name 'a' is there twice" },
      { "with a name that is a path", 'return { certificates = { { name = "../a", certificate = "/x.pem" } } }',
        "name: a name of letters" },
      { "with a bad duration", 'return { keep = "soon", acme = {} }', "keep: a duration" },
      { "with an unknown policy", 'return { policy = "reckless", acme = {} }', "policy: \"careful\"" },
      { "that wants to run programs", 'os.execute("true") return { acme = {} }', "os" },
      { "that wants to read files", 'require("io") return { acme = {} }', "require" },
      { "that is compiled", "\27Lua", "compiled Lua" },
      { "that raises several lines", 'error("one\\ntwo")', "one two" },
{ "with waves and a policy", one [[waves = { "1" }, policy = "careful"]],
        [[certificates[1]: `waves` and `policy`: give one of them]] },
      { "with waves and a policy's options", one [[waves = { "1" }, policy_options = { canary = 1 }]],
        [[each wave has its own soak]] },
      { "with what is no wave", [[return { waves = { "some" }, acme = {} }]],
        [[acme: policy staged: stage 1: 'some' is no wave]] },
      { "with an unknown field of a wave", [[return { waves = { { "1", soack = 1 } }, acme = {} }]],
        [[stage 1: unknown field 'soack']] },
      { "with a bad soak of a wave", [[return { waves = { { "1", soak = "soon" } }, acme = {} }]],
        [[stage 1: `soak` must be seconds]] },
      { "with a gate nobody wrote", [[return { waves = { { "1", gate = "calm" } }, acme = {} }]],
        [[stage 1: the gate 'calm' is none of `gates`]] },
      { "with gates that are no functions", [[return { gates = { calm = true }, acme = {} }]],
        [[gates: functions by name expected]] },
      { "with what is no window", [[return { windows = { "at night" }, acme = {} }]],
        [[windows: 'at night' is no window]] },
      { "with no number of probes", [[return { probes = 0, acme = {} }]],
        [[probes: a whole number expected]] },
      { "with a bad budget", [[return { failures = -1, acme = {} }]],
        [[failures: a whole number expected]] },
      { "with a bad price", [[return { price = "cheap", acme = {} }]],
        [[price: dollars a month expected]] },
      { "with an unknown rounding", [[return { rounding = "day", acme = {} }]],
        [[rounding: "hour" or "clock" or "exact" expected]] },
      { "with an unknown method", [[return { method = "copy", acme = {} }]],
        [[method: "swap" or "reimport" or "auto" expected]] },
      { "with a bad time of deployments", [[return { deploy_time = "long", acme = {} }]],
        [[deploy_time: a duration like]] },
      { "with an option its policy does not know", [[return { policy = "careful", policy_options = { canary = 1 }, acme = {} }]],
        [[acme: unknown policy option 'canary']] },
      { "with a pause before nobody", [[return { policy_options = { pause = true }, acme = {} }]],
        [[a person looks at the canaries; give 'canary' too]] },
      { "with a policy's file that is not there", [[return { policy = "/nowhere/p.lua", acme = {} }]],
        [[/nowhere/p.lua]] },
      { "with waves of a reimport", one [[method = "reimport", waves = { "1" }]],
        [[there are no waves; leave `waves` out]] },
      { "with windows of a reimport", one [[method = "reimport", windows = "22:00-04:00"]],
        [[leave `windows` out]] },
      { "with some holders of a reimport", one [[method = "reimport", holders = { "E1" }]],
        [[leave `holders` out]] },
      { "with a journal that is not in S3", [[return { journal = "/var/lib/x", acme = {} }]],
        [[journal: s3://[PROFILE@]BUCKET/FOLDER]] },
      { "with a malformed bucket", [[return { journal = "s3://B/x", acme = {} }]],
        [[journal: s3://B/x: the bucket's name is malformed]] },
      { "with a wrong way to connect", 'return { acme = {}, connect = { profil = "x" } }', "no option 'profil'" },
    }
    for i, case in ipairs(cases) do
      it(case[1], function()
        local path = ("%s/%d.lua"):format(directory, i)
        command.write(path, case[2])
        local config, err = config_module.load(path)
        assert.is_nil(config)
        assert.equal("input", err.kind)
        assert.truthy(tostring(err):find(case[3], 1, true), tostring(err))
        assert.is_nil(tostring(err):find("\n", 1, true))
      end)
    end
  end)
end)
