local core = require("certrotate.core")

local function text_of(fields)
  return tostring(setmetatable(fields, core.error_metatable))
end

describe("certrotate.core errors", function()
  it("are tables with a metatable everybody can use", function()
    local _, err = core.realpath("/no/such/file")
    assert.equal(core.error_metatable, getmetatable(err))
    assert.equal("certrotate.Error", core.error_metatable.__name)
    assert.equal("input", err.kind)
    assert.equal("FileUnreadable", err.code)
    assert.is_false(err.retryable)
    assert.is_false(err.ambiguous)
    assert.is_nil(err.status)
    assert.is_nil(err.operation)
    assert.is_nil(err.request_id)
    assert.equal("cannot find /no/such/file: No such file or directory  (FileUnreadable)", tostring(err))
  end)

  it("say everything they know on one line", function()
    assert.equal("no  (PreconditionFailed, cloudfront:UpdateDistribution, HTTP 412, request abc)", text_of {
      message = "no", code = "PreconditionFailed", operation = "cloudfront:UpdateDistribution", status = 412,
      request_id = "abc",
    })
    assert.equal("no  (step:swap)", text_of { message = "no", operation = "step:swap" })
    assert.equal("no", text_of { message = "no" })
    assert.equal("two lines  (C)", text_of { message = "two\nlines", code = "C" })
    assert.equal("a  b", text_of { message = "a\r\nb" })
  end)

  it("survive fields of the wrong kind", function()
    assert.equal("unknown error", text_of {})
    assert.equal("unknown error  (X)", text_of { message = {}, code = "X", status = false, operation = function() end })
    assert.equal("unknown error", text_of(setmetatable({}, { __index = function() error("raw access only") end })))
    assert.has_error(function() core.error_metatable.__tostring("text") end)
  end)
end)
