-- Every public function of Lua says what it does, what each argument is, and both shapes of what it returns. help() and
-- language servers show that text; there is no other.
local certrotate = require("certrotate")
local command = require("spec.support.command")
local certificates = require("spec.support.certificates")
local help = require("certrotate.help")
local sandbox = require("spec.support.sandbox")

local PUBLIC = { "init", "session", "errors", "json", "fmt", "rotation/plan", "rotation/policy", "rotation/inventory",
                 "rotation/check", "rotation/cost", "rotation/retire", "rotation/run/init", "rotation/status",
                 "rotation/rollback", "report/progress", "report/timeline", "report/table", "help" }

-- The text of a function from its first line on.
local function body(text, line)
  local from = 1
  for _ = 2, line do from = text:find("\n", from, true) + 1 end
  local first = text:match("^[^\n]*", from)
  if first:find(" end$") then return first end
  return text:sub(from, text:find("\nend\n", from, true))
end

describe("the annotations", function()
  it("of every public function are whole", function()
    local problems, count = {}, 0
    for _, name in ipairs(PUBLIC) do
      local text = assert(command.read("lua/certrotate/" .. name .. ".lua"), name)
      for _, entry in ipairs(help.parse(text).functions) do
        local what = name .. " " .. entry.name
        local private = entry.name:sub(1, 1) == "_"
        if not private then
          count = count + 1
          if not entry.documented and #entry.params == 0 then problems[#problems + 1] = what .. ": nothing is written" end
          local known = {}
          for _, param in ipairs(entry.params) do known[param[1]:gsub("%?$", "")] = true end
          for argument in entry.arguments:gmatch("[%a_][%w_]*") do
            if not known[argument] then problems[#problems + 1] = what .. ": nothing of " .. argument end
          end
          local code = body(text, entry.line)
          local fails = code:find("return nil, [%w_]*err") or code:find("return nil, errors.new", 1, true)
          if fails and #entry.returns < 2 then problems[#problems + 1] = what .. ": says nothing of failing" end
        end
      end
    end
    assert.same({}, problems)
    assert.is_true(count > 80, tostring(count))
  end)

  it("are found wrong where they are", function()
    local parsed = help.parse("--- Adds.\n---@param a number\n---@return number\nfunction M.add(a, b) return a + b end\n"
      .. "function M.bare() end\n")
    assert.equal("(a, b)", parsed.functions[1].arguments)
    assert.same({ { "a", "number", "" } }, parsed.functions[1].params)
    assert.is_false(parsed.functions[2].documented)
  end)
end)

describe("help", function()
  it("tells of every kind of thing", function()
    local aws = assert(certrotate.connect({ access_key_id = "AKIDEXAMPLE", secret_access_key = "secret-text",
                                            region = "us-east-1", environment = {}, home = "/nonexistent" }))
    local folder = sandbox.directory()
    finally(function()
      aws:close()
      sandbox.remove(folder)
    end)
    local _, err = certrotate.connect({ profile = "nobody", environment = {}, home = "/nonexistent" })
    local files = certificates.leaf({ dir = folder, name = "www", names = { "www.example.com" },
                                      ca = certificates.ca(folder, "Root") })
    local new = assert(certrotate.identity({ certificate = files.certificate, private_key = files.private_key }))
    local holder = require("certrotate.rotation.inventory").holder({ Id = "E1", HttpVersion = "http2" })
    for _, case in ipairs({
      { certrotate, "connect(options)" }, { aws, ":plan(options)" }, { aws, "access_key_id", false },
      { aws, "secret-text", false }, { aws.plan, "certrotate.PlanOptions" }, { aws.plan, "policy?" },
      { aws, "s3 " }, { new, ":covers(alias)" }, { new, "run(", false }, { new, ":submit", false }, { new, ":append", false },
      { aws.cloudfront, "UpdateDistribution" }, { aws.cloudfront.update_distribution, "returns" },
      { aws.cloudfront.all_distributions, "every page of ListDistributions" }, { aws.steps, "Waits until every holder" },
      { aws.steps.swap, "conflict" }, { certrotate.policy.cheapest, "cheapest" }, { certrotate.policy, "careful(options)" },
      { certrotate.core.sign, "Signature Version 4" }, { certrotate.core, "sign(request)" }, { err, "ProfileNotFound" },
      { holder, "dedicated_ip" }, { holder, "SSLSupportMethod" }, { print, "nothing is written" }, { 42, "42" },
    }) do
      local text = help.text(case[1])
      assert.equal(case[3] ~= false, text:find(case[2], 1, true) ~= nil, case[2] .. " in: " .. text)
    end
    assert.matches("aws = certrotate.connect", help.text())
    assert.matches("^nil: ", help.text(nil))
    assert.equal("certrotate " .. certrotate.version .. "; help() tells where to begin", tostring(certrotate))
  end)
end)

describe("the options that public functions take", function()
  it("are those that are written of them", function()
    for _, case in ipairs({ { "rotation/check", "CheckOptions" }, { "rotation/plan", "PlanOptions", "rotation/check" },
                            { "rotation/inventory", "InventoryOptions" }, { "rotation/retire", "RetireOptions" },
                            { "rotation/run/init", "RunOptions" } }) do
      local written, known = {}, {}
      local function add(path, class)
        local text = assert(io.open("lua/certrotate/" .. path .. ".lua")):read("*a")
        local found = assert(help.parse(text).classes["certrotate." .. class], class)
        for _, field in ipairs(found.fields) do written[(field[1]:gsub("%?$", ""))] = true end
        if found.parent then add(case[3], (found.parent:gsub("^certrotate%.", ""))) end
      end
      add(case[1], case[2])
      local module = require("certrotate." .. case[1]:gsub("/init$", ""):gsub("/", "."))
      for name in pairs(module.OPTIONS) do known[name] = true end
      assert.same(written, known, case[2])
    end
  end)
end)
