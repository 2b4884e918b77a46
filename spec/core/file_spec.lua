local core = require("certrotate.core")
local sandbox = require("spec.support.sandbox")

describe("core.append", function()
  local folder, path
  before_each(function()
    folder = sandbox.directory()
    path = folder .. "/a.journal"
  end)
  after_each(function() sandbox.remove(folder) end)

  it("creates a private file, appends, reads, truncates", function()
    local file = assert(core.append(path))
    assert.equal("", file:read())
    assert.is_true(file:append("one\n"))
    assert.is_true(file:append("two\0three\n"))
    assert.is_true(file:append(""))
    assert.equal("one\ntwo\0three\n", file:read())
    assert.equal("one\ntwo\0three\n", sandbox.read(path))
    assert.is_true(file:truncate(4))
    assert.is_true(file:append("2\n"))
    assert.equal("one\n2\n", sandbox.read(path))
    file:close()
    local _, mode = sandbox.run("stat -c %a " .. path)
    assert.equal("600\n", mode)
  end)

  it("keeps what is there", function()
    sandbox.write(path, "before\n")
    local file = assert(core.append(path))
    assert.is_true(file:append("after\n"))
    assert.equal("before\nafter\n", file:read())
    file:close()
  end)

  it("excludes a second one, naming who holds it", function()
    local file = assert(core.append(path))
    local none, err = core.append(path)
    assert.is_nil(none)
    assert.equal("Locked", err.code)
    assert.equal("conflict", err.kind)
    local named = err.message:match("in use by process (%d+)")
    if named then assert.equal(sandbox.pid(), named) end
    file:close()
    assert(core.append(path)):close()
  end)

  it("excludes other processes, until they die", function()
    local started = folder .. "/started"
    local other = assert(io.popen(([[exec %s -e '
      package.cpath = "%s"
      local core = require "certrotate.core"
      local file = assert(core.append("%s"))
      assert(file:append("mine\n"))
      assert(core.write_file("%s", io.open("/proc/self/stat"):read("*a"):match("^%%d+")))
      local client = assert(core.client())
      client:wait(60)']]):format(sandbox.interpreter(), package.cpath, path, started)))
    local deadline = core.monotonic() + 20
    while not sandbox.read(started) and core.monotonic() < deadline do sandbox.run("sleep 0.02") end
    local pid = assert(sandbox.read(started), "the other process did not start")
    local none, err = core.append(path)
    sandbox.run("kill -KILL " .. pid)
    other:close()
    assert.is_nil(none)
    assert.equal("Locked", err.code)
    local named = err.message:match("in use by process (%d+)")
    if named then assert.equal(pid, named) end
    local file = assert(core.append(path))
    assert.equal("mine\n", file:read())
    file:close()
  end)

  it("takes a part of a line away when the disk is full", function()
    local code, said = sandbox.lua(([[
      local core = require "certrotate.core"
      local file = assert(core.append(%q))
      assert(file:append(("a"):rep(300)))
      local ok, err = file:append(("b"):rep(1000))
      print(ok, err.code, err.message)
      print(#file:read())
      print(file:append("c"))
    ]]):format(path), "trap '' XFSZ; ulimit -f 1;")
    assert.equal(0, code, said)
    assert.matches("^nil\tFileUnwritable\tcannot write to .*: File too large\n300\ntrue\n$", said)
    assert.equal(("a"):rep(300) .. "c", sandbox.read(path))
  end)

  it("refuses what cannot be a journal", function()
    for _, bad in ipairs { "", folder, "/dev/null", folder .. "/none/x" } do
      local none, err = core.append(bad)
      assert.is_nil(none)
      assert.equal("input", err.kind)
      assert.equal("FileUnwritable", err.code)
    end
    local file = assert(core.append(path))
    local ok, err = file:truncate(1)
    assert.is_nil(ok)
    assert.equal("InvalidParameter", err.code)
    assert.has_error(function() file:truncate(0.5) end)
    assert.has_error(function() file:truncate(-1) end)
    assert.has_error(function() file:append(3) end)
    assert.has_error(function() core.append("a\0b") end)
    file:close()
  end)

  it("can be closed again and again, and not used afterwards", function()
    local file = assert(core.append(path))
    file:close()
    file:close()
    for _, method in ipairs { "append", "read", "truncate" } do
      assert.error_matches(function() file[method](file, "x") end, "file is closed")
    end
    assert.error_matches(function() file.read(io.stdout) end, "certrotate.File expected")
  end)

  it("is released by the collector", function()
    assert(core.append(path))
    collectgarbage()
    collectgarbage()
    assert(core.append(path)):close()
  end)
end)

describe("core.write_file", function()
  local folder
  before_each(function() folder = sandbox.directory() end)
  after_each(function() sandbox.remove(folder) end)

  local function names()
    local _, said = sandbox.run("ls -A " .. folder)
    return said
  end

  it("replaces a file whole, private, leaving nothing else", function()
    local path = folder .. "/plan.json"
    assert.is_true(core.write_file(path, "one"))
    assert.is_true(core.write_file(path, "t\0o"))
    assert.equal("t\0o", sandbox.read(path))
    assert.equal("plan.json\n", names())
    local _, mode = sandbox.run("stat -c %a " .. path)
    assert.equal("600\n", mode)
  end)

  it("works on a bare name", function()
    local code, said = sandbox.lua([[print(require("certrotate.core").write_file("bare", "x"))]],
      "cd " .. folder .. ";", nil)
    assert.equal(0, code, said)
    assert.equal("true\n", said)
    assert.equal("x", sandbox.read(folder .. "/bare"))
  end)

  it("follows a symbolic link", function()
    sandbox.write(folder .. "/real", "old")
    sandbox.run(("ln -s real %s/link"):format(folder))
    assert.is_true(core.write_file(folder .. "/link", "new"))
    assert.equal("new", sandbox.read(folder .. "/real"))
    local _, target = sandbox.run(("readlink %s/link"):format(folder))
    assert.equal("real\n", target)
  end)

  it("leaves the old file and no other when it fails", function()
    sandbox.run("mkdir " .. folder .. "/taken")
    for _, bad in ipairs { "", folder .. "/taken", folder .. "/none/x", folder .. "/" .. ("n"):rep(300) } do
      local ok, err = core.write_file(bad, "x")
      assert.is_nil(ok)
      assert.equal("FileUnwritable", err.code)
    end
    sandbox.write(folder .. "/old", "old")
    local code, said = sandbox.lua(([[
      local ok, err = require("certrotate.core").write_file(%q, ("x"):rep(100000))
      print(ok, err.code)]]):format(folder .. "/old"), "trap '' XFSZ; ulimit -f 1;")
    assert.equal(0, code, said)
    assert.equal("nil\tFileUnwritable\n", said)
    assert.equal("old", sandbox.read(folder .. "/old"))
    assert.equal("old\ntaken\n", names())
  end)
end)

describe("core.make_directory and core.realpath", function()
  it("make folders above as well, and find them", function()
    local folder = sandbox.directory()
    finally(function() sandbox.remove(folder) end)
    assert.is_true(core.make_directory(folder .. "/a/b/c"))
    assert.is_true(core.make_directory(folder .. "/a/b/c/"))
    assert.equal(folder .. "/a/b/c", core.realpath(folder .. "/a/./b/../b/c"))
    sandbox.write(folder .. "/file", "")
    for _, bad in ipairs { folder .. "/file", folder .. "/file/x", "" } do
      local ok, err = core.make_directory(bad)
      assert.is_nil(ok, bad)
      assert.equal("FileUnwritable", err.code)
    end
  end)
end)
