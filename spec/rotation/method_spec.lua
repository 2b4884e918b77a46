-- The rules of a reimport, each case by itself, and what `auto` makes of them.
local method = require("certrotate.rotation.method")
local made = require("spec.rotation.support")
local plan_module = require("certrotate.rotation.plan")
local policy = require("certrotate.rotation.policy")

local NOW = 1768478400

local function leaf(overrides)
  local info = {
    fingerprint = ("cd"):rep(32), names = { "*.example.com", "example.com" }, key_type = "RSA_2048",
    not_before = NOW - 86400, not_after = NOW + 60 * 86400, key_usages = { "DIGITAL_SIGNATURE", "KEY_ENCIPHERMENT" },
    extended_key_usages = { "TLS_WEB_SERVER_AUTHENTICATION" },
  }
  for key, value in pairs(overrides or {}) do info[key] = value or nil end
  return info
end

-- `stored` and `leaf` are overrides, `false` takes a field away.
local function facts(overrides)
  local all = { replace = made.OLD, old = { store = "acm" }, now = NOW, known = {}, verify = true }
  for key, value in pairs(overrides or {}) do all[key] = value end
  all.leaf = leaf(all.leaf)
  all.stored = leaf(all.stored)
  all.stored.fingerprint = ("ef"):rep(32)
  return all
end

local function codes(overrides)
  local list = {}
  for _, one in ipairs(method.findings(facts(overrides))) do list[#list + 1] = one.level .. " " .. one.code end
  table.sort(list)
  return list
end

local function refused(code, overrides) assert.same({ "refuse " .. code, "warn ReimportFinal" }, codes(overrides)) end

describe("a reimport", function()
  it("may be made within ACM's rules, and always warns that AWS keeps nothing", function()
    assert.same({ "warn ReimportFinal" }, codes())
    -- More names, fewer of them, more usages; what ACM exempts.
    assert.same({ "warn ReimportFinal" }, codes({ leaf = { names = { "example.com", "new.example" } } }))
    assert.same({ "warn ReimportFinal" }, codes({
      leaf = { key_usages = { "DIGITAL_SIGNATURE", "KEY_ENCIPHERMENT", "KEY_AGREEMENT" } } }))
    assert.same({ "warn ReimportFinal" }, codes({
      stored = { extended_key_usages = { "TLS_WEB_SERVER_AUTHENTICATION", "TLS_WEB_CLIENT_AUTHENTICATION" } } }))
    assert.same({ "warn ReimportFinal" }, codes({
      stored = { key_type = "EC_prime256v1" },
      leaf = { key_type = "EC_prime256v1", key_usages = { "DIGITAL_SIGNATURE" } },
    }))
    assert.same({ "warn ReimportFinal" }, codes({ stored = { not_after = NOW + 24 * 3600 } }))
    -- Neither has the extension.
    assert.same({ "warn ReimportFinal" }, codes({ stored = { key_usages = false }, leaf = { key_usages = false } }))
  end)

  it("is refused for what ACM refuses", function()
    refused("ReimportKeyType", { leaf = { key_type = "RSA_4096" } })
    refused("ReimportKeyType", { stored = { key_type = "EC_prime256v1" } })
    refused("ReimportNames", { leaf = { names = { "www.example.com" } } })
    refused("ReimportUsages", { leaf = { key_usages = { "DIGITAL_SIGNATURE" } } })
    refused("ReimportUsages", { leaf = { key_usages = false } })
    refused("ReimportUsages", { stored = {
      extended_key_usages = { "TLS_WEB_SERVER_AUTHENTICATION", "CODE_SIGNING" } } })
    refused("ReimportUsages", { leaf = { extended_key_usages = false } })
  end)

  it("is refused for what it cannot do", function()
    refused("ReimportTooLate", { stored = { not_after = NOW + 24 * 3600 - 1 } })
    refused("ReimportTooLate", { stored = { not_after = NOW - 5 } })
    refused("ReimportNotAll", { only = { "E1" } })
    refused("ReimportUnseen", { verify = false })
    refused("NoReimport", { asked_store = "iam" })
    assert.same({ "refuse NoReimport" }, codes({ old = { store = "iam" }, replace = "ASCAEXAMPLE" }))
  end)

  it("warns of an extension that is new, of others who get it, and of a certificate that is in ACM already", function()
    assert.same({ "warn ReimportFinal", "warn ReimportUsagesAdded" }, codes({ stored = { key_usages = false } }))
    assert.same({ "warn ReimportFinal", "warn UsedElsewhere" },
      codes({ old = { store = "acm", in_use_by = { "arn:lb", "arn:known" } }, known = { ["arn:known"] = true } }))
    assert.same({ "warn AlreadyStored", "warn ReimportFinal" }, codes({ to = made.NEW }))
  end)
end)

describe("auto", function()
  local no, yes = { { level = "refuse", code = "X", message = "the quota is too small" } }, { { level = "warn" } }
  it("chooses a swap wherever one can be carried out, else a reimport, and says why", function()
    local chosen, reason = method.choose(yes, yes)
    assert.equal("swap", chosen)
    assert.matches("can be rolled back", reason, 1, true)
    chosen, reason = method.choose(yes, { { level = "refuse", message = "the key is RSA_4096" } })
    assert.equal("swap", chosen)
    assert.matches("the key is RSA_4096", reason, 1, true)
    chosen, reason = method.choose(no, yes)
    assert.equal("reimport", chosen)
    assert.matches("the quota is too small", reason, 1, true)
    chosen, reason = method.choose(no, no)
    assert.equal("swap", chosen)
    assert.matches("neither", reason, 1, true)
  end)

  it("is the only other name there is", function()
    assert.equal("swap", method.resolve())
    assert.equal("auto", method.resolve("auto"))
    assert.has_error(function() method.resolve("copy") end)
  end)
end)

describe("a plan to reimport", function()
  local function plan(overrides)
    local all = {
      from = made.OLD, store = "acm", identity = made.identity, now = NOW, endpoint = "https://127.0.0.1:1",
      policy = policy.cheapest({ canary = 1, soak = 60, parallel = 2 }), method = "reimport", stored = leaf(),
      holders = { made.holder("E1"), made.holder("E2", { ssl = "vip" }), made.holder("E3", { ssl = "vip" }) },
    }
    for key, value in pairs(overrides or {}) do all[key] = value end
    return assert(plan_module.compute(all))
  end

  it("is one wave of everybody, without overlap or charge, and older programs refuse it", function()
    local made_plan = plan({ method_reason = "auto chose reimport: it is so" })
    assert.equal(1, #made_plan.waves)
    assert.equal(3, #made_plan:holders())
    assert.equal(3, made_plan.version)
    assert.equal(0, made_plan.prediction.charge)
    assert.equal(0, made_plan.prediction.overlap_seconds)
    assert.is_true(made_plan.prediction.one_at_a_time.charge > 0)
    assert.equal(("cd"):rep(32), made_plan.replaced.fingerprint)
    local text = tostring(made_plan)
    assert.matches("under the same ARN (reimport)", text, 1, true)
    assert.matches("auto chose reimport", text, 1, true)
    assert.matches("No charge: there is no second certificate", text, 1, true)
    for _, part in ipairs({ "giving each holder", "DEPLOYED", "REASON", "charged during", "SNI: not charged" }) do
      assert.is_nil(text:find(part, 1, true), text)
    end
    for _, holder in ipairs(made_plan:holders()) do
      assert.is_nil(holder.deployed)
      assert.equal("keeps its reference: nothing about it is changed", holder.reason)
    end
    local json = require("certrotate.json")
    local again = assert(plan_module.restore(json.decode(made_plan:encode()), "plan.json"))
    assert.equal("reimport", again.method)
  end)

  it("that says not what it replaces, or how, is refused", function()
    local json = require("certrotate.json")
    for _, change in ipairs({ { "replaced", nil }, { "method", "copy" } }) do
      local data = json.decode(plan():encode())
      data[change[1]] = change[2]
      local refusal, err = plan_module.restore(data, "plan.json")
      assert.is_nil(refusal)
      assert.equal("MalformedPlan", err.code)
      assert.matches("reimport", err.message, 1, true)
    end
  end)
end)
