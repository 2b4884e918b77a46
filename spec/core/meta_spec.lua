-- core.meta.lua is the one source of the module's documentation: every name is in it, and it has no other.
local core = require("certrotate.core")
local sandbox = require("spec.support.sandbox")

--- What the luaL_Reg arrays of plugin/binding register: owner -> set of names. `core_functions` belong to core,
--- `client_methods` to client; metamethods are no names. l_sign.c registers core.sign by hand.
local function registered()
  local owners = { core = { sign = true } }
  local pipe = assert(io.popen("ls plugin/binding/*.c"))
  for path in pipe:lines() do
    for owner, kind, body in sandbox.read(path):gmatch("luaL_Reg (%w+)_(%w+)%[%]%s*=%s*(%b{})") do
      if kind ~= "metamethods" then
        owners[owner] = owners[owner] or {}
        for name in body:gmatch('{%s*"([%w_]+)"') do owners[owner][name] = true end
      end
    end
  end
  pipe:close()
  return owners
end

local function documented()
  local owners = {}
  for line in io.lines("lua/certrotate/core.meta.lua") do
    local owner, name = line:match("^function (%w+)[.:]([%w_]+)%(")
    if owner then
      owners[owner] = owners[owner] or {}
      owners[owner][name] = true
    end
  end
  return owners
end

local function sorted(set)
  local names = {}
  for name in pairs(set) do names[#names + 1] = name end
  table.sort(names)
  return names
end

describe("core.meta.lua", function()
  it("documents what the module registers, and nothing else", function()
    local code, meta = registered(), documented()
    for _, owner in ipairs { "core", "identity", "client", "file", "signals" } do
      assert.is_true(#sorted(code[owner] or {}) > 0, "no array of functions found for " .. owner)
    end
    assert.same(sorted(code), sorted(meta))
    for owner, names in pairs(code) do
      assert.same(sorted(names), sorted(meta[owner]), owner)
    end
  end)

  it("names what the loaded module has", function()
    local meta, text = documented(), sandbox.read("lua/certrotate/core.meta.lua")
    for name, value in pairs(core) do
      if type(value) == "function" then
        assert.is_true(meta.core[name], name)
      else
        assert.truthy(text:find("---@field " .. name .. " ", 1, true), name)
      end
    end
    for name in pairs(meta.core) do assert.equal("function", type(core[name]), name) end
  end)

  it("loads, as a table of empty functions", function()
    assert.equal("table", type(dofile("lua/certrotate/core.meta.lua")))
  end)
end)
