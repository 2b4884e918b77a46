local core = require("certrotate.core")
local sandbox = require("spec.support.sandbox")

local EVERY_LUA = { ["lua5.1"] = "5.1", ["lua5.2"] = "5.2", ["lua5.3"] = "5.3", ["lua5.4"] = "5.4", luajit = "5.1" }

describe("certrotate.core", function()
  it("has a version and no name of its own in the globals", function()
    assert.matches("^%d+%.%d+%.%d+$", core.VERSION)
    assert.is_nil(rawget(_G, "certrotate"))
    assert.is_nil(rawget(_G, "core"))
  end)

  it("exports one symbol and links no Lua", function()
    local path = sandbox.module_path()
    if not sandbox.has("nm") or not sandbox.has("readelf") then return pending("binutils are not installed") end
    local code, said = sandbox.run("nm -D --defined-only " .. sandbox.quote(path))
    assert.equal(0, code, said)
    assert.matches("^%x+ T luaopen_certrotate_core\n$", said)
    code, said = sandbox.run("readelf -d " .. sandbox.quote(path))
    assert.equal(0, code, said)
    assert.is_nil(said:lower():find("liblua", 1, true), said)
    assert.truthy(said:find("NODELETE", 1, true), said)
  end)

  it("loads into every Lua there is", function()
    local here = sandbox.module_path()
    local tried = 0
    for interpreter, abi in pairs(EVERY_LUA) do
      local path = here:gsub("/lua/5%.%d/certrotate/core%.so$", "/lua/" .. abi .. "/certrotate/core.so")
      if sandbox.read(path) and sandbox.has(interpreter) then
        tried = tried + 1
        local code, said = sandbox.run(([[%s -e '
          package.cpath = "%s;" .. package.cpath
          local core = require "certrotate.core"
          local h, s = core.sign { method = "GET", url = "https://example.com/", service = "iam", region = "us-east-1",
                                   access_key_id = "A", secret_access_key = "S", time = 1700000000 }
          local client = assert(core.client())
          client:wait(0)
          client:close()
          print(s.signature)']]):format(interpreter, (path:gsub("certrotate/core%.so$", "?.so"))))
        assert.equal(0, code, interpreter .. ": " .. said)
        assert.matches("^%x+\n$", said)
      end
    end
    assert.is_true(tried >= 1)
  end)

  it("loads in a state where reading an undefined global raises", function()
    local code, said = sandbox.lua([[
      setmetatable(_G, { __index = function(_, name) error("undefined " .. name) end,
                         __newindex = function(_, name) error("global " .. name) end })
      print(require("certrotate.core").VERSION)]])
    assert.equal(0, code, said)
    assert.equal(core.VERSION .. "\n", said)
  end)

  it("loads twice into one state, and not beside another version", function()
    package.loaded["certrotate.core"] = nil
    local again = require("certrotate.core")
    package.loaded["certrotate.core"] = core
    assert.are_not.equal(core, again)
    assert.equal(core.error_metatable, again.error_metatable)
    local client = assert(again.client())
    assert.equal(0, client:step())
    client:close()
    local metatable = debug.getregistry()["certrotate.Client"]
    metatable.__version = "0.0.0"
    package.loaded["certrotate.core"] = nil
    local ok, problem = pcall(require, "certrotate.core")
    metatable.__version = core.VERSION
    package.loaded["certrotate.core"] = core
    assert.is_false(ok)
    assert.matches("another certrotate.core %(0%.0%.0%) is loaded", problem)
  end)

  it("needs no lua-cjson until an answer is JSON", function()
    local code, said = sandbox.lua([[
      package.preload["cjson.safe"] = function() error("not installed") end
      local core = require "certrotate.core"
      local http_server = require "spec.support.http_server"
      local server = http_server.start(function() return 200, nil, "{}" end)
      local client = assert(core.client { allow_http = true })
      assert(client:account { access_key_id = "A", secret_access_key = "S",
                              endpoints = { acm = { url = server.url, region = "us-east-1" } } })
      assert(client:submit { http = { url = server.url } })
      local _, result = server:take(client)
      assert(result.status == 200)
      local none, err = client:submit { service = "acm", operation = "ListCertificates" }
      print(none, err.code, err.kind, err.message)
      assert(client:stats().submitted == 1)
      client:close()
      server:close()]])
    assert.equal(0, code, said)
    assert.matches("^nil\tNoJson\tinput\t.*install lua%-cjson", said)
  end)

  it("takes Neovim's JSON where there is no lua-cjson", function()
    if not sandbox.has("nvim") then return pending("nvim is not installed") end
    local path = sandbox.module_path():gsub("/lua/5%.%d/certrotate/core%.so$", "/lua/5.1/?.so")
    if not sandbox.read((path:gsub("%?", "certrotate/core"))) then return pending("no build for Lua 5.1") end
    local script = os.tmpname()
    sandbox.write(script, ([[
      package.preload["cjson.safe"] = function() error("not installed") end
      package.cpath = %q .. ";" .. package.cpath
      package.path = "./?.lua;" .. package.path
      package.loaded["luv"] = vim.loop
      local ok, problem = pcall(function()
        local core = require "certrotate.core"
        local http_server = require "spec.support.http_server"
        local body = '{"Certificate":{"a":null,"b":[],"c":{},"d":[1,null,2.5],"e":1e3}}'
        local server = http_server.start(function() return 200, nil, body end)
        local client = assert(core.client { allow_http = true })
        assert(client:account { access_key_id = "A", secret_access_key = "S",
                                endpoints = { acm = { url = server.url, region = "us-east-1" } } })
        assert(client:submit { service = "acm", operation = "DescribeCertificate", params = { CertificateArn = "x" } })
        local _, result, err = server:take(client)
        assert(result, err and tostring(err))
        local c = result.Certificate
        print(c.a, #c.b, next(c.c), c.d[1], c.d[2], c.e)
        body = "{"
        assert(client:submit { service = "acm", operation = "DescribeCertificate", params = { CertificateArn = "x" } })
        _, result, err = server:take(client)
        print(result, err.kind)
        client:close()
      end)
      if not ok then print(problem) end
      vim.cmd(ok and "qall!" or "cquit!")
    ]]):format(path))
    local code, said = sandbox.run("nvim --headless -u NONE -i NONE -c 'luafile " .. script .. "'")
    os.remove(script)
    assert.equal(0, code, said)
    said = said:gsub("\r", "")
    assert.matches("nil 0 nil 1 2.5 1000\nnil parse$", said)
  end)

  it("refuses libraries it was not built for", function()
    if not sandbox.has("cc") then return pending("no C compiler") end
    local folder = sandbox.directory()
    finally(function() sandbox.remove(folder) end)
    sandbox.write(folder .. "/openssl.c", "unsigned long OpenSSL_version_num(void);\n"
      .. "unsigned long OpenSSL_version_num(void) { return 0x10101000UL; }\n")
    sandbox.write(folder .. "/curl.c", [[
      #include <curl/curl.h>
      curl_version_info_data *curl_version_info(CURLversion now) {
        static curl_version_info_data info;
        (void)now;
        info.version = "7.88.1"; info.version_num = 0x075801; info.features = CURL_VERSION_THREADSAFE;
        info.ssl_version = "GnuTLS/3.7.9 (OpenSSL/3.0.1)";
        return &info;
      }]])
    for name, pattern in pairs { openssl = "was built for OpenSSL 3 and this process has",
                                 curl = "needs libcurl with OpenSSL 3 and this process has libcurl 7.88.1 with GnuTLS/3.7.9" } do
      local code, said = sandbox.run(("cd %s && cc -shared -fPIC -o %s.so %s.c"):format(folder, name, name))
      assert.equal(0, code, said)
      -- The module alone, read in full at once: nothing else in the process asks for these.
      code, said = sandbox.lua([[print(pcall(require, "certrotate.core"))]], ("LD_PRELOAD=%s/%s.so"):format(folder, name))
      assert.equal(0, code, said)
      assert.matches("^false\t", said)
      assert.matches(pattern, said)
    end
  end)
end)
