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
end)
