local core = require("certrotate.core")
local certificates = require("spec.support.certificates")
local sandbox = require("spec.support.sandbox")

describe("core.identity", function()
  local folder, inter, www, other
  setup(function()
    folder = sandbox.directory()
    inter = certificates.intermediate(certificates.ca(folder, "Root"), "Intermediate")
    www = certificates.leaf { dir = folder, name = "www", names = { "www.Example.com", "*.example.org" }, ca = inter }
    other = certificates.leaf { dir = folder, name = "other", names = { "other.example.com" }, ca = inter }
  end)
  teardown(function() sandbox.remove(folder) end)

  local function load_www()
    return assert(core.identity { certificate = www.fullchain, private_key = www.private_key })
  end

  it("tells everything but the key", function()
    local identity = load_www()
    local leaf = identity:leaf()
    assert.equal("CN=www", leaf.subject)
    assert.equal("CN=Intermediate", leaf.issuer)
    assert.equal("EC_prime256v1", leaf.key_type)
    assert.same({ "www.example.com", "*.example.org" }, leaf.names)
    assert.equal(www.not_after, leaf.not_after)
    assert.equal(www.not_before, leaf.not_before)
    assert.is_false(leaf.self_signed)
    assert.matches("^%x%x:", leaf.serial)
    assert.equal(leaf.fingerprint, identity:fingerprint())
    assert.matches("^%x+$", leaf.fingerprint)
    assert.equal(64, #leaf.fingerprint)
    local _, expected = sandbox.run("openssl x509 -noout -fingerprint -sha256 -in " .. www.certificate)
    assert.equal(expected:match("=(%S+)"):gsub(":", ""):lower(), leaf.fingerprint)
    local chain = identity:chain()
    assert.equal(1, #chain)
    assert.equal("CN=Intermediate", chain[1].subject)
    assert.equal(leaf.fingerprint, core.certificate(identity:certificate_pem()).fingerprint)
    assert.equal(chain[1].fingerprint, core.certificate(identity:chain_pem()).fingerprint)
    assert.matches("CN=www", tostring(identity))
    identity:close()
  end)

  it("covers names on one level, whatever their case", function()
    local identity = load_www()
    assert.is_true(identity:covers("WWW.example.com"))
    assert.is_true(identity:covers("a.example.org"))
    assert.is_false(identity:covers("a.b.example.org"))
    assert.is_false(identity:covers("example.org"))
    assert.is_false(identity:covers(("a"):rep(300)))
    assert.is_true(core.covers(identity:leaf().names, "A.EXAMPLE.ORG"))
    assert.is_true(core.covers("*.Example.org", "b.example.org"))
    assert.is_false(core.covers({}, "b.example.org"))
    assert.is_false(core.covers("*." .. ("a"):rep(300), "b.example.org"))
    assert.error_matches(function() core.covers({ 1 }, "b") end, "names%[1%]: string expected, got number")
    identity:close()
  end)

  it("checks what CloudFront would refuse", function()
    local identity = load_www()
    local function codes(now)
      local found = {}
      for _, finding in ipairs(assert(identity:check { store = "acm", now = now })) do
        assert.equal("string", type(finding.message))
        found[finding.code] = finding.level
      end
      return found
    end
    assert.equal("refuse", codes(www.not_after + 10).Expired)
    assert.equal("refuse", codes(www.not_before - 10).NotYetValid)
    assert.is_nil(codes(os.time()).Expired)
    assert.error_matches(function() identity:check { store = "x", now = 1 } end, 'options.store: "acm" or "iam" expected')
    assert.error_matches(function() identity:check { store = "acm" } end, "options.now: number expected, got nil")
    assert.error_matches(function() identity:check { store = "acm", now = 1, thrust = "x" } end,
      "options.thrust: unknown field; one of: store, now, trust, roots")
    identity:close()
  end)

  it("returns what is wrong with files", function()
    local none, err = core.identity { certificate = www.certificate, private_key = other.private_key }
    assert.is_nil(none)
    assert.equal("KeyPairMismatch", err.code)
    assert.equal("input", err.kind)
    none, err = core.identity { certificate = folder .. "/none", private_key = other.private_key }
    assert.is_nil(none)
    assert.equal("FileUnreadable", err.code)
    local encrypted = certificates.encrypt(www, "right")
    none, err = core.identity { certificate = www.fullchain, private_key = encrypted, passphrase = "wrong" }
    assert.is_nil(none)
    assert.equal("WrongPassphrase", err.code)
    assert(core.identity { certificate = www.fullchain, private_key = encrypted, passphrase = "right" }):close()
    assert(core.identity { certificate = certificates.pkcs12(www, "p12"), passphrase = "p12" }):close()
    none, err = core.certificate("no certificate")
    assert.is_nil(none)
    assert.equal("NoCertificate", err.code)
  end)

  it("raises for misuse, naming the field", function()
    assert.error_matches(function() core.identity() end, "table expected")
    assert.error_matches(function() core.identity {} end, "options.certificate: string expected, got nil")
    assert.error_matches(function() core.identity { certificate = 5 } end, "options.certificate: string expected, got number")
    assert.error_matches(function() core.identity { certificate = "a\0b" } end, "options.certificate: contains a NUL byte")
    assert.error_matches(function() core.identity { certificate = "x", key = "y" } end, "options.key: unknown field; one of: ")
  end)

  it("is read to the end when a finalizer closes it in the middle", function()
    local methods = { "leaf", "chain", "fingerprint", "certificate_pem", "chain_pem" }
    for round = 1, 500 do
      local method = methods[round % #methods + 1]
      local whole = load_www()
      local expected = whole[method](whole)
      local identity = load_www()
      local function finalize()
        identity:close()
      end
      collectgarbage()
      collectgarbage("stop")
      if rawget(_G, "newproxy") then
        getmetatable(newproxy(true)).__gc = finalize -- luacheck: ignore 113
      else
        setmetatable({}, { __gc = finalize })
      end
      local waste = {}
      for i = 1, round * 12 do waste[i] = { i } end
      assert.equal(round * 12, #waste)
      waste = nil -- luacheck: ignore 311
      collectgarbage("restart")
      local fine, got = pcall(identity[method], identity)
      if fine then assert.same(expected, got) else assert.matches("identity is closed", got) end
      collectgarbage()
      assert.error_matches(function() identity:leaf() end, "identity is closed")
    end
  end)

  it("is closed once and for all", function()
    local identity = load_www()
    identity:close()
    identity:close()
    for _, method in ipairs { "leaf", "chain", "fingerprint", "certificate_pem", "chain_pem", "covers", "check" } do
      assert.error_matches(function() identity[method](identity, "x") end, "identity is closed")
    end
    assert.matches("closed", tostring(identity))
    assert.error_matches(function() identity.leaf({}) end, "certrotate.Identity expected")
  end)
end)
