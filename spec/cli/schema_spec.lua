-- What --json really prints, of every command, held against the schema the program gives out, by Debian's own validator.
local cli = require("certrotate.cli")
local command = require("spec.support.command")
local fleet_module = require("spec.support.fleet")
local json = require("certrotate.json")
local json_schema = require("spec.support.json_schema")
local schema = require("certrotate.cli.schema")

describe("the JSON", function()
  local fleet, seen
  setup(function()
    fleet = fleet_module.start({ distributions = 14, users = 7, vip = 1, propagation = 0.3, seed = 31 })
    seen = {}
  end)
  teardown(function() fleet:stop() end)

  local function validate(name, text) return json_schema.problems({ { name, text } }) end

  -- Runs a command with --json: the exit code is the expected one, and what it printed fits.
  local function fits(code, argv, environment)
    argv[#argv + 1] = "--json"
    local got, out, err = fleet:run(argv, { environment = environment })
    assert.equal(code, got, out .. err)
    assert.equal("", validate(argv[1], out), argv[1] .. "\n" .. out)
    seen[argv[1]] = true
    return json.decode(out)
  end

  it("of each command fits its schema, in success, refusal and failure", function()
    local reference = fleet.simulator.old_reference
    local journal = fleet:path("journal")
    local function with(list, ...)
      for _, word in ipairs({ ... }) do list[#list + 1] = word end
      return list
    end
    fits(0, fleet:flags({ "inventory" }))
    fits(0, fleet:flags({ "inventory", "--holders", reference }))
    fits(0, fleet:flags({ "inventory", "--role", "self" }))
    fits(0, fleet:identity_flags({ "plan", "--role", "self" }))
    fits(0, fleet:identity_flags({ "check" }))
    fits(0, fleet:identity_flags({ "plan", "--policy", "cheapest" }))
    fits(0, fleet:identity_flags({ "apply" }))                       -- without --yes: the plan
    fits(0, fleet:flags({ "quota" }))
    local report = fits(0, fleet:identity_flags({ "apply", "--yes", "--poll", "100ms", "--policy", "cheapest",
      "--journal", journal }))
    assert.is_true(report.ok)
    fits(0, with(fleet:flags({ "resume", journal }), "--poll", "100ms"))
    fits(0, { "status", journal })
    fits(0, fleet:flags({ "retire", journal, "--keep", "0" }))
    fits(4, fleet:flags({ "retire", journal, "--yes" }))             -- kept for a day
    fits(0, fleet:flags({ "rollback", journal }))
    fits(0, with(fleet:flags({ "rollback", journal, "--yes" }), "--poll", "100ms"))
    fits(3, fleet:flags({ "rollback", journal, "--yes" }))
    fits(0, { "status", journal })
    fits(0, { "verify", "shop.example", "--edge", fleet.simulator.edge, "--ca-bundle", fleet.simulator.trust_file })
    fits(1, { "verify", "shop.example", "--edge", "127.0.0.1:1" })
    fits(1, { "status", "/nonexistent" })
    assert.equal("Usage", fits(2, { "inventory", "--nonsense" }).error.code)
    assert.equal("Usage", fits(2, { "plan" }).error.code)
    fits(1, fleet:flags({ "inventory" }), { AWS_SECRET_ACCESS_KEY = "wrong" })
    fits(0, { "completion", "fish" })
    fits(0, { "man" })
  end)

  it("of reconcile fits", function()
    local files = fleet.simulator.files
    command.write(fleet:path("config.lua"), ("return { state = %q, certificates = { { name = 'shop', certificate = %q, "
      .. "private_key = %q, chain = %q } } }\n"):format(fleet:path("reconcile"), files.new_certificate, files.new_key,
      files.new_chain))
    local code, out = fleet:run(fleet:flags({ "reconcile", fleet:path("config.lua"), "--json" }))
    assert.is_true(code == 0 or code == 3 or code == 1 or code == 4, out)
    assert.equal("", validate("reconcile", out), out)
    seen.reconcile = true
  end)

  it("of the simulator and the demo fits", function()
    local running = command.start({ "simulate", "--distributions", "4", "--vip", "0", "--json" })
    local client = assert(require("certrotate.core").client())
    for _ = 1, 3000 do
      if running.output():find("\n}\n", 1, true) then break end
      client:wait(0.02)
    end
    client:close()
    assert.truthy(running.output():find("\n}\n", 1, true), running.output())
    command.shell("kill -INT " .. running.pid)
    assert.equal(0, running.wait(60))
    assert.equal("", validate("simulate", running.output()))
    running.close()
    fits(0, { "demo", "--distributions", "8", "--users", "4", "--propagation", "1s", "--rate", "10" })
    seen.simulate = true
  end)

  it("is described for every command", function()
    for _, name in ipairs(cli.commands) do
      if name ~= "schema" then
        assert.is_table(schema.of(name), name)
        assert.is_true(seen[name] or name == "deploy-hook", name .. " was not run here")
      end
    end
    assert.equal(2, (command.run({ "schema", "nothing" })))
    local _, out = command.run({ "schema" })
    assert.is_table(json.decode(out).plan["$defs"])
  end)

  it("with a field too many, or one too few, does not fit", function()
    local _, out = fleet:run(fleet:identity_flags({ "plan", "--json" }))
    local plan = json.decode(out)
    if plan.error then   -- rolled back before: the certificate is there, the plan stays one
      error(plan.error.message)
    end
    plan.surprise = true
    assert.matches("surprise", validate("plan", json.encode(plan)))
    plan.surprise, plan.hash = nil, nil
    assert.matches("hash", validate("plan", json.encode(plan)))
  end)
end)
