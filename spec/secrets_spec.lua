-- The private key's bytes occur in no output, plan, journal, log or error of a whole rotation.
local command = require("spec.support.command")
local fleet_module = require("spec.support.fleet")

describe("the private key", function()
  it("leaves no trace in anything a rotation writes", function()
    local fleet = fleet_module.start({ distributions = 8, users = 4, vip = 1, propagation = 0.2, seed = 4 })
    local pem = command.read(fleet.simulator.files.new_key)
    local body = pem:gsub("%-%-%-%-%-[^\n]+", ""):gsub("%s", "")
    -- Any 24 characters of the key's base64 in a row would be a leak; so would the same bytes raw or in hex.
    local function leaks(text)
      local flat = text:gsub("%s", ""):gsub("\\n", "")
      for at = 40, #body - 24, 17 do
        if flat:find(body:sub(at, at + 23), 1, true) then return true end
      end
      return false
    end
    assert.is_true(leaks(pem), "the search itself works")

    local written = {}
    local function collect(...)
      local code, out, err = fleet:run(...)
      written[#written + 1] = out .. err
      return code
    end
    assert.equal(0, collect(fleet:identity_flags({ "plan", "--out", fleet:path("plan.json"), "--poll", "100ms" })))
    assert.equal(0, collect(fleet:flags({ "apply", fleet:path("plan.json"), "--yes", "--json", "--journal", fleet:path("j") })))
    assert.equal(0, collect(fleet:flags({ "retire", fleet:path("j"), "--yes", "--keep", "0s" })))
    -- A failing import too: the answer says why, never what was sent.
    assert(fleet.simulator:control("faults", { operation = "ImportCertificate", kind = "error", status = 400,
                                               code = "LimitExceededException", count = 10 }))
    local argv = fleet:identity_flags({ "apply", "--yes", "--journal", fleet:path("j2") })
    assert.not_equal(0, collect(argv))
    for _, name in ipairs({ "plan.json", "j", "j2" }) do written[#written + 1] = command.read(fleet:path(name)) or "" end
    written[#written + 1] = command.shell("cat " .. command.quote(fleet.simulator.directory) .. "/*.log "
      .. command.quote(fleet.simulator.directory) .. "/logs/* 2>/dev/null")
    written[#written + 1] = command.shell("cat " .. command.quote(fleet:path("state")) .. "/* 2>/dev/null")
    for _, text in ipairs(written) do assert.is_false(leaks(text)) end
    fleet:stop()
  end)
end)
