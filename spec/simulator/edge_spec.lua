-- The edge as viewers see it: by server name the old certificate, then either, then the new one. Time is the
-- simulator's own, so nothing here waits.
local authority = require("certrotate.simulator.authority")
local launch = require("certrotate.simulator.launch")

local quote, shell = authority.quote, authority.shell

local function fingerprint_of(path)
  local ok, output = shell("openssl x509 -noout -fingerprint -sha256 -in " .. quote(path))
  assert(ok, output)
  return output:match("=(%S+)"):gsub(":", ""):lower()
end

describe("the edge", function()
  local simulator, old, new, users

  setup(function()
    simulator = assert(launch.start({
      distributions = 20, users = 14, vip = 1, propagation = 1000, jitter = 0, seed = 2, odd = false }))
    old, new = fingerprint_of(simulator.files.old_certificate), fingerprint_of(simulator.files.new_certificate)
    local record = assert(simulator:control("certificates", {
      store = "acm", certificate = authority.read(simulator.files.new_certificate),
      private_key = authority.read(simulator.files.new_key), chain = authority.read(simulator.files.new_chain) }))
    new = { fingerprint = new, reference = record.reference }
    users = {}
    for _, distribution in ipairs(simulator:control("state").distributions) do
      if distribution.reference == simulator.old_reference and distribution.enabled and #distribution.aliases > 0 then
        users[#users + 1] = distribution
      end
    end
  end)
  teardown(function() simulator:stop() end)

  -- Connects `count` times and returns how often each certificate came. Every handshake must verify.
  local function presented(name, count)
    local script = ([[
n=0
while [ $n -lt %d ]; do
  openssl s_client -connect %s %s -CAfile %s -verify_return_error -verify_quiet >%s 2>/dev/null || echo FAILED
  openssl x509 -noout -fingerprint -sha256 -in %s
  n=$((n+1))
done]]):format(count, simulator.edge, name and "-servername " .. name .. " -verify_hostname " .. name or "-noservername",
      quote(simulator.trust_file), quote(simulator.directory .. "/peer"), quote(simulator.directory .. "/peer"))
    local _, output = shell(script)
    assert.is_nil(output:find("FAILED", 1, true), output)
    local counts = {}
    for text in output:gmatch("=(%S+)") do
      local fingerprint = text:gsub(":", ""):lower()
      counts[fingerprint] = (counts[fingerprint] or 0) + 1
    end
    return counts
  end

  -- Somebody names the new certificate in a distribution: the raw way, without a signature.
  local function swap(distribution)
    local config = assert(simulator:control("distributions/" .. distribution.id)).config
    assert(simulator:control("distributions/" .. distribution.id,
      (config:gsub(simulator.old_reference:gsub("%p", "%%%0"), new.reference))))
  end

  it("presents the old certificate, then a growing share of the new one, then only that", function()
    local distribution = users[1]
    local alias = distribution.aliases[1]
    assert.same({ [old] = 5 }, presented(alias, 5))
    swap(distribution)
    assert.equal("InProgress", simulator:control("distributions/" .. distribution.id).status)
    local early = presented(alias, 12)[new.fingerprint] or 0
    assert(simulator:control("clock", { pass = 500 }))
    local middle = presented(alias, 24)
    assert.is_truthy(middle[old] and middle[new.fingerprint], "both at half time")
    assert.equal(24, middle[old] + middle[new.fingerprint])
    assert.is_true(early <= 2, "hardly any at the start")
    assert(simulator:control("clock", { pass = 499 }))
    assert.is_true((presented(alias, 12)[new.fingerprint] or 0) >= 10, "nearly all before the end")
    assert(simulator:control("clock", { pass = 1 }))
    assert.equal("Deployed", simulator:control("distributions/" .. distribution.id).status)
    assert.same({ [new.fingerprint] = 12 }, presented(alias, 12))
  end)

  it("keeps the others on the old one", function()
    assert.same({ [old] = 4 }, presented(users[2].aliases[1], 4))
  end)

  it("presents its own certificate for *.cloudfront.net", function()
    local counts = presented(users[2].domain, 3)
    assert.same({ [fingerprint_of(simulator.directory .. "/pki/edge.crt")] = 3 }, counts)
  end)

  it("says which distribution answers, by exact name before wildcard", function()
    local config = simulator:control("distributions/" .. users[2].id).config
    local aliases = "<Aliases><Quantity>1</Quantity><Items><CNAME>*.shop.example</CNAME></Items></Aliases>"
    local wild = config:gsub("<Aliases>.-</Aliases>", aliases):gsub("<CallerReference>", "%0wild-")
    local created = assert(simulator:control("distributions", wild))
    local function ask(name, host)
      local request = simulator.directory .. "/ask"
      assert(authority.write(request, "GET / HTTP/1.0\r\nHost: " .. (host or name) .. "\r\n\r\n"))
      local _, output = shell(("openssl s_client -quiet -connect %s -servername %s <%s 2>&1"):format(
        simulator.edge, name, quote(request)))
      return output:match("HTTP/1%.1 (%d+)"), output:match("\r\n\r\n(%S*)")
    end
    assert.same({ "200", users[2].id }, { ask(users[2].aliases[1]) })
    assert.same({ "200", created.id }, { ask("anything.shop.example") })
    assert.equal("403", (ask("unknown.example")))
    -- One connection serves the names of one certificate: others are sent away, as CloudFront does.
    assert.same({ "200", users[3].id }, { ask(users[2].aliases[1], users[3].aliases[1]) })
    local foreign
    for _, distribution in ipairs(simulator:control("state").distributions) do
      if distribution.reference ~= simulator.old_reference and distribution.reference ~= new.reference
        and #distribution.aliases > 0 then
        foreign = distribution.aliases[1]
      end
    end
    assert.equal("421", (ask(users[2].aliases[1], foreign)))
  end)
end)
