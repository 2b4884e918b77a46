local inventory = require("certrotate.rotation.inventory")
local made = require("spec.rotation.support")

-- A session that answers the pages of a script.
local function session(pages)
  local at = 0
  return { account = 1, loop = {
    now = function() return 1768478400 end,
    await = function()
      at = at + 1
      return pages[at]
    end,
  } }
end

local function page(ids, next_marker)
  local items = {}
  for i, id in ipairs(ids) do
    items[i] = { Id = id, Enabled = true, reference = made.OLD, store = "acm", SSLSupportMethod = "sni-only" }
  end
  return { DistributionList = { Items = items, Quantity = #ids, IsTruncated = next_marker ~= nil, NextMarker = next_marker } }
end

describe("inventory", function()
  it("reads every page, each holder once, in order", function()
    local list = assert(inventory.list_holders(session({ page({ "E3", "E1" }, "E1"), page({ "E1", "E2" }) })))
    assert.equal(3, #list)
    assert.same({ "E1", "E2", "E3" }, { list[1].Id, list[2].Id, list[3].Id })
  end)

  it("never takes an incomplete page for an empty one", function()
    local short = page({ "E1", "E2" })
    short.DistributionList.Quantity = 3
    for _, broken in ipairs({ {}, { DistributionList = {} }, { DistributionList = { Items = {}, Quantity = 0 } }, short,
                              { Items = {}, IsTruncated = false, Quantity = 0 } }) do
      local list, err = inventory.list_holders(session({ broken }))
      assert.is_nil(list)
      assert.equal("IncompletePage", err.code)
    end
    local endless = page({ "E1" }, "E1")
    local list, err = inventory.list_holders(session({ endless, endless, endless }))
    assert.is_nil(list)
    assert.equal("NoNextMarker", err.code)
  end)

  it("fills in what AWS leaves out", function()
    local bare = inventory.holder({ Id = "E1", default_certificate = true, SSLSupportMethod = "vip", HttpVersion = "HTTP2" })
    assert.is_false(bare:dedicated_ip())
    assert.equal("", bare.reference)
    assert.equal("http2", bare.HttpVersion)
    assert.is_false(bare.Enabled)
    assert.same({}, bare.Aliases)
    assert.same({}, made.inventory({ bare }):holders_of(""))
    assert.equal("E1  (disabled, )", tostring(bare))
  end)

  it("counts the dedicated-IP certificates, disabled holders included", function()
    local _, count = made.inventory({
      made.holder("E1", { ssl = "vip" }), made.holder("E2", { ssl = "vip", Enabled = false, reference = made.NEW }),
      made.holder("E3", { reference = "arn:aws:acm:us-east-1:1:certificate/x" }),
    }):dedicated_ip_certificates()
    assert.equal(2, count)
  end)

  it("tells what uses a certificate outside CloudFront, and the certificate is kept for that", function()
    local fleet = require("spec.support.fleet").start({ distributions = 3, users = 2, vip = 0, store = "acm", seed = 3,
                                                        propagation = 0.1 })
    local old, aws = fleet.simulator.old_reference, assert(fleet:connect())
    local balancer = "arn:aws:elasticloadbalancing:us-east-1:111122223333:loadbalancer/app/shop/50dc6c495c0c9188"
    local api = "arn:aws:apigateway:us-east-1::/domainnames/api.shop.example"
    assert(fleet.simulator:control("users", { certificate = old, arns = { balancer, api } }))
    local inventory_text = tostring(assert(aws:inventory({ used_elsewhere = true })))
    assert.is_truthy(inventory_text:find("Used outside CloudFront: " .. old .. " by " .. api .. ", " .. balancer, 1, true),
      inventory_text)
    assert.same({ api, balancer }, aws:inventory({ used_elsewhere = true }):certificate(old).used_elsewhere)
    local rc, output = fleet:run(fleet:flags({ "inventory", "--json" }))
    assert.equal(0, rc)
    assert.is_truthy(output:find(balancer:gsub("/", "\\/"), 1, true) or output:find(balancer, 1, true), output)
    local result = assert(aws:check({ replace = old, with = fleet:new_identity(), trust = fleet.simulator.trust_file }))
    assert.is_false(result.refused)
    assert.equal("UsedElsewhere", result.findings[#result.findings].code)
    assert.is_truthy(result.findings[#result.findings].message:find(balancer, 1, true))
    local report = assert(fleet:plan(aws, "careful"):run(fleet:run_options()))
    assert.is_true(report.ok)
    assert(fleet.simulator:control("clock", { pass = 60 }))
    assert(fleet.simulator:control("users", { certificate = old, arns = { balancer } }))
    local kept, err = aws:retire({ journal = fleet:path("journal"), keep = 0, patience = 1 })
    assert.is_nil(kept)
    assert.equal("StillInUse", err.code)
    assert.is_truthy(err.message:find(balancer, 1, true), err.message)
    assert(fleet.simulator:control("users", { certificate = old, arns = {} }))
    assert.is_true(assert(aws:retire({ journal = fleet:path("journal"), keep = 0 })).deleted)
    aws:close()
    fleet:stop()
  end)
end)
