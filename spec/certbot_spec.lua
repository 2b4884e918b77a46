-- Debian's certbot against pebble, Let's Encrypt's own test server: order, issue, deploy hook, rotation; a renewal whose
-- hook fails, which certbot swallows; reconcile finishes it and the certificates that were replaced are retired.
-- Once is enough: who runs certbot makes no difference to it.
if rawget(_G, "jit") then return end

local certificates = require("spec.support.certificates")
local command = require("spec.support.command")
local core = require("certrotate.core")
local fleet_module = require("spec.support.fleet")
local http_server = require("spec.support.http_server")
local json = require("certrotate.json")

local quote = command.quote

-- What the fleet's main certificate is for.
local NAMES = { "shop.example", "www.shop.example", "*.shop.example", "*.img.shop.example" }

describe("certbot and pebble", function()
  if not (command.read("/usr/bin/certbot") and command.read("/usr/bin/pebble")) then
    pending("need certbot and pebble")
    return
  end

  local fleet, pebble, server

  local function log_of(name) return command.read(fleet:path(name)) or "" end

  -- Starts pebble on ports that are free, and waits until it listens.
  local function start_pebble()
    local ca = certificates.ca(fleet.directory, "Pebble's own")
    server = certificates.leaf({ dir = fleet.directory, name = "localhost", names = { "localhost" }, ca = ca })
    server.root = ca.certificate
    local client = assert(core.client())
    for _ = 1, 8 do
      local acme, management = http_server.refused():match("%d+$"), http_server.refused():match("%d+$")
      command.write(fleet:path("pebble.json"), json.encode({ pebble = {
        listenAddress = "127.0.0.1:" .. acme, managementListenAddress = "127.0.0.1:" .. management,
        certificate = server.certificate, privateKey = server.private_key, httpPort = 5002, tlsPort = 5001,
        ocspResponderURL = "", externalAccountBindingRequired = false } }))
      command.shell(("PEBBLE_VA_ALWAYS_VALID=1 PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=0 "
        .. "/usr/bin/pebble -config %s >%s 2>&1 </dev/null & echo $! >%s"):format(quote(fleet:path("pebble.json")),
        quote(fleet:path("pebble.log")), quote(fleet:path("pebble.pid"))))
      pebble = assert(tonumber(command.read(fleet:path("pebble.pid"))))
      local deadline = core.monotonic() + 30
      while core.monotonic() < deadline do
        local log = log_of("pebble.log")
        if log:find("ACME directory available", 1, true) then
          client:close()
          return "https://localhost:" .. acme .. "/dir"
        end
        -- Somebody took the port meanwhile: another one.
        if log:find("address already in use", 1, true) then break end
        client:wait(0.02)
      end
      command.shell(("kill %d 2>/dev/null"):format(pebble))
    end
    error("pebble does not start: " .. log_of("pebble.log"))
  end

  -- What certbot calls: `certrotate deploy-hook`, with an endpoint the spec may change. It notes how it ended.
  local function write_hook()
    local lines = { "#!/bin/sh", "cd " .. quote((command.shell("pwd -P"):gsub("%s+$", ""))) }
    local environment = fleet:environment()
    environment.LUA_PATH, environment.LUA_CPATH = package.path, package.cpath
    environment.AWS_CONFIG_FILE, environment.AWS_SHARED_CREDENTIALS_FILE = "/nonexistent", "/nonexistent"
    for name, value in pairs(environment) do lines[#lines + 1] = ("export %s=%s"):format(name, quote(value)) end
    lines[#lines + 1] = ('%s spec/support/certrotate.lua deploy-hook --config %s --endpoint-url "$(cat %s)" --edge %s '
      .. "--poll 100ms --json >%s 2>%s"):format(quote(command.interpreter()), quote(fleet:path("sites.lua")),
      quote(fleet:path("endpoint")), fleet.simulator.edge, quote(fleet:path("hook.out")), quote(fleet:path("hook.err")))
    lines[#lines + 1] = ("code=$?; echo $code >%s; exit $code"):format(quote(fleet:path("hook.rc")))
    command.write(fleet:path("hook.sh"), table.concat(lines, "\n") .. "\n")
    command.shell("chmod 700 " .. quote(fleet:path("hook.sh")))
  end

  -- Returns certbot's exit code and all it printed.
  local function certbot(...)
    local words = { "REQUESTS_CA_BUNDLE=" .. quote(server.root), "timeout 300 /usr/bin/certbot", ... }
    for _, folder in ipairs({ "config", "work", "logs" }) do
      words[#words + 1] = ("--%s-dir %s"):format(folder, quote(fleet:path("certbot/" .. folder)))
    end
    os.remove(fleet:path("hook.rc"))
    local text = command.shell(table.concat(words, " ") .. " -n 2>&1 </dev/null; echo \"exit $?\"")
    return tonumber(text:match("exit (%d+)%s*$")), text
  end

  local function hook_code() return tonumber(command.read(fleet:path("hook.rc")) or "") end

  before_each(function()
    fleet = fleet_module.start({ distributions = 6, users = 3, vip = 1, propagation = 0.2, seed = 8 })
  end)
  after_each(function()
    if pebble then command.shell(("kill %d 2>/dev/null"):format(pebble)) end
    if fleet then fleet:stop() end
    pebble, fleet = nil, nil
  end)

  it("rotate what was issued, finish what a failed hook left, and retire what was replaced", function()
    local old = fleet.simulator.old_reference
    local users = fleet:on(old)
    assert.equal(3, #users)
    local directory = start_pebble()
    command.write(fleet:path("sites.lua"), ([[return { state = "%s", dedicated_ip_quota = 4, keep = "24h",
      policy_options = { canary = 1, soak = 0.1 }, acme = {} }]]):format(fleet:path("reconcile")))
    command.write(fleet:path("endpoint"), fleet.simulator.endpoint)
    write_hook()

    -- Ordered and issued: the hook rotates, the viewers' edge included (verify is on).
    local domains = {}
    for i, name in ipairs(NAMES) do domains[i] = "-d " .. quote(name) end
    local code, text = certbot("certonly --manual --preferred-challenges dns --manual-auth-hook /bin/true",
      "--agree-tos --register-unsafely-without-email --key-type rsa --server", directory, "--deploy-hook",
      quote(fleet:path("hook.sh")), table.concat(domains, " "))
    assert.equal(0, code, text)
    assert.equal(0, hook_code(), text .. log_of("hook.err"))
    local done = assert(json.decode(log_of("hook.out")))
    assert.equal(3, done.changed)
    local action = done.actions[1]
    assert.equal("rotate", action.action)
    assert.equal("shop.example", action.name)
    local first = action.report.reference
    assert.same(users, fleet:on(first))
    assert.same({}, fleet:on(old))

    -- Renewed while AWS cannot be reached: certbot is content, nothing was changed, the work is recorded.
    local before = fleet:record().count
    command.write(fleet:path("endpoint"), http_server.refused())
    local renew = "renew --force-renewal --no-random-sleep-on-renew"
    code, text = certbot(renew)
    assert.equal(0, code, text)
    assert.equal(1, hook_code(), text .. log_of("hook.err"))
    assert.truthy(log_of("hook.err"):find("shop.example is recorded; `certrotate reconcile", 1, true), log_of("hook.err"))
    assert.equal(before, fleet:record().count)
    assert.same(users, fleet:on(first))

    -- What cron runs goes on with it.
    local function reconcile()
      local status, out, problems = fleet:run(fleet:flags({ "reconcile", fleet:path("sites.lua"), "--yes", "--json",
                                                            "--poll", "100ms" }))
      return status, json.decode(out), problems
    end
    local result, problems
    code, result, problems = reconcile()
    assert.equal(0, code, problems)
    assert.equal(1, #result.actions)
    local second = result.actions[1].report.reference
    assert.are_not.equal(first, second)
    assert.same(users, fleet:on(second))
    assert.is_nil(fleet:record().effects.acm_deletes)
    assert.equal(3, (reconcile()))

    -- A day later both that were replaced go.
    assert(fleet.simulator:control("clock", { advance = 25 * 3600 }))
    code, result, problems = reconcile()
    assert.equal(0, code, problems)
    local retired = {}
    for i, one in ipairs(result.actions) do
      assert.equal("retire", one.action)
      assert.is_true(one.done, problems)
      retired[i] = one.text
    end
    assert.same({ "retire " .. old, "retire " .. first }, retired)
    assert.equal(2, fleet:record().effects.acm_deletes)
    assert.same(users, fleet:on(second))

    -- And the next renewal goes through the hook alone again.
    command.write(fleet:path("endpoint"), fleet.simulator.endpoint)
    code, text = certbot(renew)
    assert.equal(0, code, text)
    assert.equal(0, hook_code(), text .. log_of("hook.err"))
    assert.same({}, fleet:on(second))
  end)
end)
