local ini = require("certrotate.credentials.ini")
local support = require("spec.support")

describe("certrotate.credentials.ini", function()
  local function parse(text) return ini.parse(text, "config") end

  it("reads sections and keys, keys in lower case", function()
    local file = assert(parse("[default]\nRegion = eu-west-1\noutput=json\n\n[profile a]\nkey: v = w\nempty =\n"))
    assert.same({ default = { region = "eu-west-1", output = "json" }, ["profile a"] = { key = "v = w", empty = "" } },
      file.sections)
    assert.same({ "default", "profile a" }, file.order)
    assert.equal(5, file.lines["profile a"])
  end)

  it("takes a byte order mark, CRLF, comments, blanks and a missing last line end", function()
    local file = assert(parse("\239\187\191# first\r\n[default]  ; c [x]\r\n  # in between\r\n\r\n"
      .. "region =  us-east-1 \r\n;x\r\na=b"))
    assert.same({ default = { region = "us-east-1", a = "b" } }, file.sections)
  end)

  it("keeps what looks like a comment behind a value, as the CLI does", function()
    assert.equal("x # y", assert(parse("[a]\nk = x # y")).sections.a.k)
  end)

  it("reads sub-properties and longer values from lines indented more than their key", function()
    local file = assert(parse("[services local]\ncloudfront =\n  endpoint_url = http://127.0.0.1:4566\n  # c\n\tx = y\n"
      .. "iam =\n  endpoint_url = http://h\nlong = one\n  two\n"))
    assert.same({ cloudfront = { endpoint_url = "http://127.0.0.1:4566", x = "y" }, iam = { endpoint_url = "http://h" },
                  long = "one\ntwo" }, file.sections["services local"])
    -- A section whose keys are all indented alike.
    assert.same({ a = "1", b = "2" }, assert(parse("[s]\n  a = 1\n  b = 2\n  [t]\n  c = 3")).sections.s)
  end)

  it("names the file and the line of what is malformed, never its text", function()
    local cases = {
      { "[default]\nAKIDSECRET", 2, "expected 'key = value'" },
      { "[default\nx = y", 1, "must end with" },
      { "[default] AKIDSECRET\n", 1, "must end with" },
      { "[]\n", 1, "without a name" },
      { "\n\nAKIDSECRET = 1\n", 3, "before the first" },
      { "[a]\n= AKIDSECRET\n", 2, "without a key" },
      { "[a]\nx = 1\n[b]\n[a]\n", 4, "twice %(first on line 1%)" },
      { "[a]\nx = 1\nX = AKIDSECRET\n", 3, "key 'x' is there twice" },
      { "[a]\nx =\n  AKIDSECRET\n", 3, "indented 'key = value' below 'x ='" },
      { "[a]\nx =\n  b = 1\n  b = AKIDSECRET\n", 4, "'b' is there twice below 'x'" },
      { "[a]\nx = A\0B\n", 2, "not a text file" },
    }
    for _, case in ipairs(cases) do
      local file, err = parse(case[1])
      assert.is_nil(file, case[1])
      assert.equal("MalformedConfig", err.code)
      assert.equal("input", err.kind)
      assert.truthy(err.message:find("^config:" .. case[2] .. ": "), err.message)
      assert.truthy(err.message:find(case[3]), err.message)
      assert.is_nil(err.message:find("AKIDSECRET"))
    end
  end)

  it("refuses a file that is too long", function()
    local file, err = parse(("# x\n"):rep(300000))
    assert.is_nil(file)
    assert.equal("MalformedConfig", err.code)
  end)

  it("splits headers as a shell would", function()
    assert.same({ "profile", "a b" }, ini.words('profile "a b"'))
    assert.same({ "profile", "a b" }, ini.words("profile  'a b'  "))
    assert.same({ "profile", "abc" }, ini.words('profile a"b"c'))
    assert.same({}, ini.words("  "))
    assert.is_nil(ini.words('profile "a'))
  end)

  it("never raises, whatever the bytes", function()
    local seed = support.seed()
    math.randomseed(seed)
    local pieces = { "[", "]", "=", ":", "\n", "\r\n", " ", "\t", "#", ";", "a", "b", '"', "'", "\0", "\255", "profile ", "\n  " }
    for _ = 1, 3000 do
      local text = {}
      for i = 1, math.random(0, 40) do text[i] = pieces[math.random(#pieces)] end
      text = table.concat(text)
      local ok, file, err = pcall(parse, text)
      assert.is_true(ok, "seed " .. seed .. ": " .. tostring(file))
      assert.is_true(file ~= nil or err.code == "MalformedConfig", "seed " .. seed)
      for _, header in ipairs(file and file.order or {}) do ini.words(header) end
    end
  end)
end)
