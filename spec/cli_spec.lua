-- Bad input, one case each: one clear line, the exit code of the design, and nothing changed.
local core = require("certrotate.core")
local certificates = require("spec.support.certificates")
local command = require("spec.support.command")
local fleet_module = require("spec.support.fleet")
local json = require("certrotate.json")
local json_schema = require("spec.support.json_schema")

describe("the command line refuses", function()
  local fleet, made, names, effects

  setup(function()
    fleet = fleet_module.start({ distributions = 12, users = 6, vip = 1, propagation = 0.3, seed = 21 })
    local all = {}
    for _, distribution in ipairs(fleet:state().distributions) do
      if distribution.reference == fleet.simulator.old_reference then
        for _, alias in ipairs(distribution.aliases) do all[#all + 1] = alias end
      end
    end
    names = all
    local directory = fleet.directory
    local root = certificates.ca(directory, "Root")
    local inter = certificates.intermediate(root, "Intermediate")
    local second = certificates.intermediate(inter, "Second")
    made = {
      good = certificates.leaf({ dir = directory, name = "good", names = names, key = "rsa:2048", ca = inter }),
      other = certificates.leaf({ dir = directory, name = "other", names = names, key = "rsa:2048", ca = inter }),
      expired = certificates.leaf({ dir = directory, name = "expired", names = names, key = "rsa:2048", days = -2, ca = inter }),
      future = certificates.leaf({ dir = directory, name = "future", names = names, key = "rsa:2048", ca = inter,
                                   not_before = os.time() + 86400 * 3, not_after = os.time() + 86400 * 30 }),
      narrow = certificates.leaf({ dir = directory, name = "narrow", names = { "elsewhere.example.org" }, key = "rsa:2048",
                                   ca = inter }),
      p384 = certificates.leaf({ dir = directory, name = "p384", names = names, key = "ec:P-384", ca = inter }),
      deep = certificates.leaf({ dir = directory, name = "deep", names = names, key = "rsa:2048", ca = second }),
      inter = inter, root = root,
    }
    effects = fleet:record().effects
  end)
  teardown(function() fleet:stop() end)

  -- Every refusal: the code, one line on stderr that holds `part`, nothing changed in the account.
  local function refused(argv, code, part, options)
    local got, out, err = fleet:run(argv, options)
    assert.equal(code, got, out .. err)
    local first = err:match("^[^\n]*")
    assert.is_truthy(first:find("^certrotate: "), "not one clear line: " .. err)
    assert.is_truthy(err:lower():find(part:lower(), 1, true), ("%q is not in: %s"):format(part, err))
    assert.is_nil(err:find("traceback", 1, true))
    assert.same(effects, fleet:record().effects)
  end

  local function plan_with(leaf, key, chain, extra)
    local argv = fleet:flags({ "plan", "--replace", fleet.simulator.old_reference, "--dedicated-ip-quota", "4" })
    for _, word in ipairs({ "--certificate", leaf, "--private-key", key }) do argv[#argv + 1] = word end
    if chain then
      argv[#argv + 1] = "--chain"
      argv[#argv + 1] = chain
    end
    for _, word in ipairs(extra or {}) do argv[#argv + 1] = word end
    return argv
  end

  it("the key of another certificate", function()
    refused(plan_with(made.good.certificate, made.other.private_key, made.good.chain), 4, "does not belong")
  end)

  it("a broken chain", function()
    -- The intermediate between leaf and `Intermediate` is missing.
    refused(plan_with(made.deep.certificate, made.deep.private_key, made.inter.certificate), 4, "chain")
  end)

  it("an expired certificate", function()
    refused(plan_with(made.expired.certificate, made.expired.private_key, made.expired.chain), 4, "expired")
  end)

  it("a certificate of the future", function()
    refused(plan_with(made.future.certificate, made.future.private_key, made.future.chain), 4, "valid from")
  end)

  it("a certificate that does not cover an alias", function()
    refused(plan_with(made.narrow.certificate, made.narrow.private_key, made.narrow.chain), 4, "does not cover")
  end)

  it("a key CloudFront does not take", function()
    refused(plan_with(made.p384.certificate, made.p384.private_key, made.p384.chain), 4, "CloudFront")
  end)

  it("an unknown reference", function()
    local argv = plan_with(made.good.certificate, made.good.private_key, made.good.chain)
    for i, word in ipairs(argv) do
      if word == fleet.simulator.old_reference then
        argv[i] = "arn:aws:acm:us-east-1:111122223333:certificate/00000000-0000-0000-0000-000000000000"
      end
    end
    refused(argv, 4, "no certificate")
    for i, word in ipairs(argv) do
      if word:find("^arn:") then argv[i] = "ASCAUNKNOWNUNKNOWN123" end
    end
    refused(argv, 4, "no certificate")
  end)

  it("an AWS-issued certificate", function()
    local issued
    for _, certificate in ipairs(fleet:state().certificates) do
      if certificate.type == "AMAZON_ISSUED" then issued = certificate.reference end
    end
    assert.is_string(issued, "the fleet has an AWS-issued certificate")
    local argv = plan_with(made.good.certificate, made.good.private_key, made.good.chain)
    for i, word in ipairs(argv) do
      if word == fleet.simulator.old_reference then argv[i] = issued end
    end
    refused(argv, 4, "AWS renews it")
  end)

  it("a wrong passphrase, and a missing one", function()
    local encrypted = certificates.encrypt(made.good, "correct horse")
    refused(plan_with(made.good.certificate, encrypted, made.good.chain), 1, "passphrase")
    refused(plan_with(made.good.certificate, encrypted, made.good.chain), 1, "passphrase",
      { environment = { CERTROTATE_PASSPHRASE = "wrong" } })
    local code, out, err = fleet:run(plan_with(made.good.certificate, encrypted, made.good.chain),
      { environment = { CERTROTATE_PASSPHRASE = "correct horse" } })
    assert.equal(0, code, out .. err)
  end)

  it("files that are not there, or are something else", function()
    refused(plan_with("/nonexistent.pem", made.good.private_key), 1, "/nonexistent.pem")
    refused(plan_with(fleet.directory, made.good.private_key), 1, fleet.directory)
    command.write(fleet:path("garbage"), ("\0garbage"):rep(100))
    refused(plan_with(fleet:path("garbage"), made.good.private_key), 1, "garbage")
  end)

  it("a malformed configuration file, naming the line", function()
    command.write(fleet:path("config"), "[default]\nregion = us-east-1\nthis is no setting\n")
    refused(fleet:flags({ "inventory" }), 1, "config:3:", { environment = { AWS_CONFIG_FILE = fleet:path("config") } })
  end)

  it("a profile that does not exist, and no credentials at all", function()
    refused(fleet:flags({ "inventory", "--profile", "nobody" }), 1, "nobody")
    refused(fleet:flags({ "inventory" }), 1, "credentials",
      { environment = { AWS_ACCESS_KEY_ID = "", AWS_SECRET_ACCESS_KEY = "" } })
  end)

  it("credentials that cannot be fetched, before anything else is done", function()
    command.write(fleet:path("config"), "[profile broken]\ncredential_process = /bin/sh -c 'echo sealed >&2; exit 4'\n"
      .. "[profile coded]\nrole_arn = arn:aws:iam::111122223333:role/x\nsource_profile = keys\n"
      .. "mfa_serial = arn:aws:iam::111122223333:mfa/ada\n[profile keys]\naws_access_key_id = a\naws_secret_access_key = b\n")
    local environment = { environment = { AWS_CONFIG_FILE = fleet:path("config"), AWS_ACCESS_KEY_ID = "" } }
    local calls = fleet.simulator:control("record").count
    refused(fleet:flags({ "inventory", "--profile", "broken" }), 1, "exit code 4: sealed", environment)
    refused(fleet:flags({ "inventory", "--profile", "coded" }), 1, "mfa/ada", environment)
    assert.equal(calls, fleet.simulator:control("record").count)
  end)

  it("a credentials file that others can read is noted, and used", function()
    local simulator = fleet.simulator
    command.write(fleet:path("keys"), ("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n"):format(
      simulator.access_key_id, simulator.secret_access_key))
    os.execute("chmod 644 " .. fleet:path("keys"))
    local environment = { AWS_SHARED_CREDENTIALS_FILE = fleet:path("keys"), AWS_ACCESS_KEY_ID = "" }
    local code, out, err = fleet:run(fleet:flags({ "inventory", "--json" }), { environment = environment })
    assert.equal(0, code, err)
    assert.equal("{", out:sub(1, 1))
    assert.equal(("certrotate: note: %s can be read by others (mode 644): chmod 600 it\n"):format(fleet:path("keys")), err)
    os.execute("chmod 600 " .. fleet:path("keys"))
    code, out, err = fleet:run(fleet:flags({ "inventory", "--json" }), { environment = environment })
    assert.equal(0, code, out)
    assert.equal("", err)
  end)

  it("an endpoint nobody listens at", function()
    refused({ "inventory", "--endpoint-url", "https://127.0.0.1:1" }, 1, "127.0.0.1")
  end)

  it("an endpoint whose certificate is not trusted", function()
    refused({ "inventory", "--endpoint-url", fleet.simulator.endpoint }, 1, "certificate",
      { environment = { AWS_CA_BUNDLE = made.root.certificate } })
  end)

  it("a wrong secret", function()
    refused(fleet:flags({ "inventory" }), 1, "SignatureDoesNotMatch",
      { environment = { AWS_SECRET_ACCESS_KEY = "wrong" } })
  end)

  it("a journal that is none, and keeps it", function()
    command.write(fleet:path("diary"), "dear diary\nnothing happened\n")
    refused(fleet:flags({ "resume", fleet:path("diary") }), 1, "diary")
    refused({ "status", fleet:path("diary") }, 1, "diary")
    refused(fleet:flags({ "resume", fleet:path("missing") }), 1, "missing")
    local argv = fleet:identity_flags({ "apply", "--yes", "--quiet", "--journal", fleet:path("diary") })
    refused(argv, 1, "diary")
    assert.equal("dear diary\nnothing happened\n", command.read(fleet:path("diary")))
  end)

  it("a journal path that holds one line of somebody's, or cannot hold a journal", function()
    command.write(fleet:path("note"), "my only line")
    refused(fleet:identity_flags({ "apply", "--yes", "--quiet", "--journal", fleet:path("note") }), 1, "note")
    assert.equal("my only line", command.read(fleet:path("note")))
    refused(fleet:identity_flags({ "apply", "--yes", "--quiet", "--journal", "/dev/full" }), 1, "/dev/full")
    refused(fleet:identity_flags({ "apply", "--yes", "--quiet", "--journal", fleet.directory }), 1, fleet.directory)
    refused(fleet:identity_flags({ "apply", "--yes", "--quiet", "--journal", fleet:path("nowhere/j") }), 1, "nowhere")
  end)

  it("a policy that errs: in its file with code 2, when it runs with code 1", function()
    local path = fleet:path("policy.lua")
    for text, part in pairs({ ["return {"] = "policy.lua:1:", ["error('at load')"] = "at load", ["return 5"] = "must return",
                              ["return 'careful'"] = "must return" }) do
      command.write(path, text)
      refused(fleet:identity_flags({ "plan", "--policy", path }), 2, part)
    end
    command.write(path, "return function() error('unwell') end")
    refused(fleet:identity_flags({ "plan", "--policy", path }), 1, "unwell")
    refused(fleet:identity_flags({ "plan", "--policy", "cheapest", "--soak", "10m" }), 2, "canary")
    command.write(path, "return require('certrotate').policy.cheapest({ canary = 1, soak = 5 })")
    local code, out, err = fleet:run(fleet:identity_flags({ "plan", "--policy", path }))
    assert.equal(0, code, out .. err)
    assert.is_truthy(out:find("then 5s to watch", 1, true), out)
  end)

  it("a plan made for another endpoint", function()
    local plan = fleet:path("elsewhere.json")
    local code, out, err = fleet:run(fleet:identity_flags({ "plan", "--out", plan }))
    assert.equal(0, code, out .. err)
    refused({ "apply", plan, "--yes", "--quiet", "--endpoint-url", "https://127.0.0.1:1" }, 4, "made for")
  end)

  it("a plan that was edited", function()
    local code, out, err = fleet:run(fleet:identity_flags({ "plan", "--out", fleet:path("plan.json") }))
    assert.equal(0, code, out .. err)
    command.write(fleet:path("plan.json"), (command.read(fleet:path("plan.json")):gsub('"parallel": 1', '"parallel": 50', 1)))
    refused(fleet:flags({ "apply", fleet:path("plan.json"), "--yes", "--journal", fleet:path("j1") }), 1, "hash")
    assert.is_nil(io.open(fleet:path("j1")))
  end)

  it("what it does not know, with code 2", function()
    local documents = {}
    for argv, part in pairs({
      [{ "frobnicate" }] = "frobnicate", [{ "plan", "--nonsense" }] = "--nonsense",
      [{ "plan" }] = "--replace", [{ "plan", "--replace", "x" }] = "--certificate",
      [{ "apply", "--poll", "soon" }] = "--", [{ "status" }] = "journal", [{ "verify", "h", "--edge", "nowhere" }] = "--edge",
      [{ "verify", "h", "--fingerprint", "xyz" }] = "--fingerprint",
      [{ "verify", "*.shop.example" }] = "wildcard", [{ "verify", "h:99999" }] = "HOST or HOST:PORT expected, got 'h:99999'",
      [{ "verify", "https://h/" }] = "HOST or HOST:PORT",
      [{ "simulate", "--users", "61" }] = "--users: at most 60, the size of the fleet",
      [{ "demo", "--distributions", "3", "--users", "4" }] = "--users: at most 3",
    }) do
      local code, out, err = fleet:run(argv)
      assert.equal(2, code, table.concat(argv, " ") .. ": " .. err)
      assert.equal("", out)
      assert.is_truthy(err:find(part, 1, true), err)
      -- For machines: the same line on stderr, and one document.
      table.insert(argv, 2, "--json")
      local same, document, line = fleet:run(argv)
      assert.equal(2, same)
      assert.equal(err, line)
      assert.same({ kind = "input", code = "Usage", message = err:match("^certrotate: ([^\n]*)\n$") },
                  json.decode(document).error)
      documents[#documents + 1] = { "error", document }
    end
    local code, document, line = fleet:run({ "--json" })   -- no command at all
    assert.equal(2, code)
    assert.matches("^certrotate: [^\n]+\n$", line)
    documents[#documents + 1] = { "error", document }
    assert.equal("", json_schema.problems(documents))
  end)

  it("a host that cannot be reached, in words of its own", function()
    local code, out, err = fleet:run({ "verify", "shop.example", "other.example", "--edge", "127.0.0.1:1" })
    assert.equal(1, code)
    assert.equal("", out)
    assert.equal(2, select(2, err:gsub("\n", "")))
    assert.matches("^certrotate: shop%.example: cannot connect to 127%.0%.0%.1:1: [^\n]+\n"
      .. "certrotate: other%.example: cannot connect", err)
  end)

  it("a chain to a root that is not known, unless --trust names it", function()
    local edge, trust = fleet.simulator.edge, fleet.simulator.trust_file
    local name = names[1]:gsub("^%*", "www")
    local code, out = fleet:run({ "verify", name, "--edge", edge })
    assert.equal(0, code)
    assert.matches("not trusted: ", out)
    code, out = fleet:run({ "verify", name, "--edge", edge, "--trust", trust })
    assert.equal(0, code)
    assert.matches(", trusted\n", out)
    refused({ "verify", name, "--edge", edge, "--trust", fleet:path("nowhere") }, 1, "the file of more roots")
    local key = fleet.simulator.files.new_key
    refused({ "verify", name, "--certificate", key }, 1, "--certificate " .. key)
  end)

  it("nothing at all: shows the first steps", function()
    local code, _, err = fleet:run({})
    assert.equal(2, code)
    assert.is_truthy(err:find("certrotate inventory", 1, true))
    local zero, out = fleet:run({ "--help" })
    assert.equal(0, zero)
    assert.is_truthy(out:find("Usage:", 1, true))
    zero, out = fleet:run({ "plan", "--help" })
    assert.equal(0, zero)
    assert.is_truthy(out:find("%-%-canary"))
    zero, out = fleet:run({ "--version" })
    assert.equal(0, zero)
    assert.equal("certrotate " .. core.VERSION .. "\n", out)
  end)
end)

describe("trouble on the way", function()
  local fleet
  before_each(function() fleet = fleet_module.start({ distributions = 8, users = 4, vip = 0, propagation = 0.2, seed = 8 }) end)
  after_each(function() fleet:stop() end)

  it("a clock that is wrong by an hour is corrected by AWS's own time", function()
    assert(fleet.simulator:control("clock", { advance = 3600 }))
    local code, out, err = fleet:run(fleet:identity_flags({ "check" }))
    assert.equal(0, code, out .. err)
    assert.is_truthy(out:find("clock", 1, true), out)
  end)

  it("an answer cut short once is asked for again", function()
    assert(fleet.simulator:control("faults", { operation = "ListDistributions", kind = "truncate", count = 1 }))
    local code, out, err = fleet:run(fleet:flags({ "inventory", "--quiet" }))
    assert.equal(0, code, out .. err)
  end)

  for _, kind in ipairs({ "truncate", "endless", "html", "empty", "reset" }) do
    it(("answers that are no answers (%s) end in one line, and nothing is changed"):format(kind), function()
      assert(fleet.simulator:control("faults", { operation = "ListDistributions", kind = kind }))
      local code, out, err = fleet:run(fleet:identity_flags({ "apply", "--yes", "--journal", fleet:path("j") }))
      assert.equal(1, code, out .. err)
      assert.is_truthy(err:find("^certrotate: [^\n]+\n$"), err)
      assert.is_nil(io.open(fleet:path("j")))
      assert.same({}, fleet:record().effects)
    end)
  end

  it("Ctrl-C leaves a resumable journal, says so, and exits with 5", function()
    local journal = fleet:path("journal")
    local process = command.start(fleet:identity_flags({ "apply", "--yes", "--journal", journal, "--poll", "100ms" }),
      { environment = fleet:environment() })
    local client = assert(core.client())
    local deadline = core.monotonic() + 30
    while (fleet:record().effects.updates or 0) < 1 and core.monotonic() < deadline do client:wait(0.005) end
    os.execute("kill -INT " .. process.pid)
    assert.equal(5, process.wait(30), process.output())
    assert.is_truthy(process.output():find("certrotate resume " .. journal, 1, true), process.output())
    process.close()
    client:close()
    local code, out, err = fleet:run(fleet:flags({ "resume", journal, "--poll", "100ms" }))
    assert.equal(0, code, out .. err)
    assert.same({}, fleet:on(fleet.simulator.old_reference))
  end)

  it("a journal cut off in mid-line is resumed", function()
    local journal = fleet:path("journal")
    local code, out, err = fleet:run(fleet:identity_flags({ "apply", "--yes", "--journal", journal, "--poll", "100ms" }))
    assert.equal(0, code, out .. err)
    local text = command.read(journal)
    -- Back to somewhere inside the swaps, in the middle of a line.
    local _, second = text:find('"event":"intent"[^\n]*"step":"swap".-"event":"intent"[^\n]*"step":"swap"[^\n]*\n')
    command.write(journal, text:sub(1, second + 20))
    code, out, err = fleet:run(fleet:flags({ "resume", journal, "--poll", "100ms" }))
    assert.equal(0, code, out .. err)
    assert.equal(1, fleet:record().effects.acm_imports)
    assert.same({}, fleet:on(fleet.simulator.old_reference))
  end)
end)
