local certrotate = require("certrotate")
local core = require("certrotate.core")
local script_driver = require("spec.support.script_driver")

local KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

describe("certrotate.session", function()
  local opened

  before_each(function() opened = {} end)
  after_each(function()
    for _, session in ipairs(opened) do session:close() end
  end)

  -- Never reads this machine's own configuration.
  local function connect(options)
    options = options or {}
    options.environment = options.environment or {}
    options.home = options.home or "/nonexistent"
    if not options.anonymous and not options.credentials then
      options.credentials = { access_key_id = KEY, secret_access_key = SECRET }
    end
    local session, err = certrotate.connect(options)
    opened[#opened + 1] = session
    return session, err
  end

  local function refused(options, code)
    local session, err = connect(options)
    assert.is_nil(session)
    assert.equal(code, err.code)
    assert.is_nil(tostring(err):find("\n"))
    assert.is_nil(tostring(err):find(SECRET, 1, true))
    return err
  end

  it("opens with nothing but keys", function()
    local aws = assert(connect())
    assert.equal("us-east-1", aws.region)
    assert.equal("aws", aws.partition)
    assert.equal("default", aws.profile)
    assert.equal("parameters", aws.source)
    assert.equal("https://cloudfront.amazonaws.com", aws:endpoint("cloudfront"))
    assert.equal(0, aws:clock_offset())
    assert.is_true(math.abs(aws:now() - core.now()) < 5)
    assert.is_number(aws.account)
    for _, service in ipairs({ "acm", "iam", "cloudfront", "sts", "steps" }) do assert.is_table(aws[service], service) end
  end)

  it("takes the keys flat too", function()
    local aws = assert(certrotate.connect({ access_key_id = KEY, secret_access_key = SECRET, session_token = "t",
                                            environment = {}, home = "/nonexistent" }))
    opened[1] = aws
    assert.equal(KEY, aws.client:account_info(aws.account).access_key_id)
  end)

  it("shows itself without secrets", function()
    local aws = assert(connect({ region = "eu-west-1" }))
    assert.equal("certrotate session: profile default, eu-west-1, AKIA…MPLE", tostring(aws))
    local function search(value, seen)
      if type(value) == "string" then assert.is_nil(value:find(SECRET, 1, true)) end
      if type(value) ~= "table" or seen[value] then return end
      seen[value] = true
      for key, item in pairs(value) do
        search(key, seen)
        search(item, seen)
      end
    end
    search(aws, {})
    aws:close()
    assert.equal("certrotate session: closed", tostring(aws))
  end)

  it("may do without credentials when told so", function()
    local aws = assert(connect({ anonymous = true }))
    assert.equal("anonymous", aws.source)
    assert.equal("certrotate session: profile default, us-east-1, anonymous", tostring(aws))
    refused({ credentials = { access_key_id = KEY } }, "PartialCredentials")
    local none, err = certrotate.connect({ environment = { AWS_EC2_METADATA_DISABLED = "true" }, home = "/nonexistent" })
    assert.is_nil(none)
    assert.equal("NoCredentials", err.code)
  end)

  it("finds STS in its region, or at the old global endpoint where that is asked for and there is one", function()
    local function sts(region, mode)
      local aws = assert(connect({ region = region, environment = { AWS_STS_REGIONAL_ENDPOINTS = mode } }))
      return aws:endpoint("sts")
    end
    assert.equal("https://sts.eu-west-1.amazonaws.com", sts("eu-west-1"))
    assert.equal("https://sts.eu-west-1.amazonaws.com", sts("eu-west-1", "regional"))
    assert.equal("https://sts.amazonaws.com", sts("eu-west-1", "legacy"))
    assert.equal("https://sts.eu-south-1.amazonaws.com", sts("eu-south-1", "legacy"))
    assert.equal("https://sts.cn-north-1.amazonaws.com.cn", sts("cn-north-1", "legacy"))
    refused({ environment = { AWS_STS_REGIONAL_ENDPOINTS = "global" } }, "MalformedConfig")
  end)

  it("reads region, proxy, attempts and switches from the environment", function()
    local aws = assert(connect({ environment = { AWS_REGION = "eu-west-2", AWS_DEFAULT_REGION = "eu-west-3" } }))
    assert.equal("eu-west-2", aws.region)
    aws = assert(connect({ environment = { AWS_DEFAULT_REGION = "eu-west-3", AWS_REGION = "" } }))
    assert.equal("eu-west-3", aws.region)
    aws = assert(connect({ environment = function(name) return ({ AWS_USE_FIPS_ENDPOINT = "True" })[name] end }))
    assert.equal("https://cloudfront-fips.amazonaws.com", aws:endpoint("cloudfront"))
    refused({ environment = { AWS_USE_FIPS_ENDPOINT = "maybe" } }, "MalformedConfig")
    refused({ environment = { AWS_MAX_ATTEMPTS = "many" } }, "MalformedConfig")
    refused({ environment = { AWS_MAX_ATTEMPTS = "0" } }, "MalformedConfig")
    refused({ max_attempts = 1.5 }, "MalformedConfig")
    refused({ environment = { AWS_REGION = "us-gov-west-1" } }, "UnsupportedPartition")
    refused({ environment = { AWS_ENDPOINT_URL = "127.0.0.1" } }, "MalformedEndpoint")
    refused({ environment = { AWS_PROFILE = "nobody" } }, "ProfileNotFound")
    refused({ edge = "127.0.0.1" }, "MalformedEdge")
  end)

  describe("and its client", function()
    local make, given = core.client, nil

    before_each(function()
      core.client = function(options)
        given = options
        return make(options)
      end
    end)
    after_each(function() core.client = make end)

    local function client_options(options)
      assert(connect(options))
      return given
    end

    it("trusts the bundle that is named, the nearest first", function()
      local path = os.tmpname()
      local environment = { AWS_CA_BUNDLE = path }
      assert.equal(path, client_options({ environment = environment }).ca_file)
      assert.equal(path, client_options({ environment = { AWS_CA_BUNDLE = "/nowhere" }, ca_file = path }).ca_file)
      assert.is_nil(client_options().ca_file)
      os.remove(path)
    end)

    it("uses the proxies the CLI would use", function()
      local function proxy(environment, options)
        options = options or {}
        options.environment = environment
        local all = client_options(options)
        return { all.proxy, all.no_proxy }
      end
      assert.same({}, proxy({}))
      assert.same({ "http://p:1" }, proxy({ HTTPS_PROXY = "http://p:1" }))
      assert.same({ "http://low:1", "a,b" },
        proxy({ HTTPS_PROXY = "http://p:1", https_proxy = "http://low:1", NO_PROXY = "a,b" }))
      -- Variables for http do not count for https, and the other way round.
      assert.same({}, proxy({ http_proxy = "http://p:1", HTTP_PROXY = "http://p:1" }))
      assert.same({ "http://p:1" }, proxy({ http_proxy = "http://p:1" }, { endpoint_url = "http://10.0.0.1:80" }))
      assert.same({}, proxy({ https_proxy = "http://p:1" }, { endpoint_url = "http://10.0.0.1:80" }))
      assert.same({ "http://p:1", "x,10.0.0.1" },
        proxy({ https_proxy = "http://p:1", no_proxy = "x" }, { endpoints = { iam = "http://10.0.0.1:80" } }))
      assert.same({}, proxy({ https_proxy = "http://p:1" }, { proxy = "" }))
      assert.same({ "http://q:1" }, proxy({ https_proxy = "http://p:1" }, { proxy = "http://q:1" }))
    end)

    it("allows plain http only where an endpoint asks for it", function()
      assert.is_false(client_options().allow_http)
      assert.is_true(client_options({ endpoint_url = "http://127.0.0.1:1" }).allow_http)
    end)

    it("passes times on", function()
      local options = client_options({ connect_timeout = 3, timeout = 7, max_connections = 5 })
      assert.equal(3, options.connect_timeout)
      assert.equal(7, options.total_timeout)
      assert.equal(5, options.max_host_connections)
    end)
  end)

  it("keeps the edge to verify at", function()
    assert.same({ host = "127.0.0.1", port = 8443 }, assert(connect({ edge = "127.0.0.1:8443" })).edge)
    assert.same({ host = "::1", port = 8443 }, assert(connect({ edge = "[::1]:8443" })).edge)
  end)

  it("raises on misuse, naming the option", function()
    assert.has_error(function() certrotate.connect("prod") end, "connect: a table of options expected, got string")
    assert.has_error(function() certrotate.connect({ regoin = "x" }) end,
      "connect: unknown option 'regoin'; did you mean 'region'?")
    assert.has_error(function() certrotate.connect({ region = 5 }) end, "connect: option 'region': string expected, got number")
    assert.has_error(function() connect({ environment = 5 }) end)
    assert.has_error(function() connect({ driver = "magic" }) end)
  end)

  it("raises on misuse of what a person types, with one line that blames theirs", function()
    local aws = assert(certrotate.connect({ access_key_id = "AKIDEXAMPLE", secret_access_key = "s", environment = {},
                                            home = "/nonexistent" }))
    opened[#opened + 1] = aws
    for _, case in ipairs({
      { function() local _ = aws:plan({ with = 5 }) end, "plan: option 'with': identity expected, got number" },
      { function() local _ = aws:plan({ replcae = "x" }) end, "plan: unknown option 'replcae'; did you mean 'replace'?" },
      { function() local _ = aws:plan("x") end, "plan: a table of options expected, got string" },
      { function() local _ = aws.plan({ replace = "x" }) end, "plan: call it with a colon, x:plan(…)" },
      { function() local _ = aws:check({ onyl = {} }) end, "check: unknown option 'onyl'; did you mean 'only'?" },
      { function() local _ = aws:inventory(5) end, "inventory: a table of options expected, got number" },
      { function() local _ = aws:inventory({ zzzzzzzz = 1 }) end,
        "inventory: unknown option 'zzzzzzzz'; known are certificates, used_elsewhere" },
      { function() local _ = aws:retire({ journal = 5 }) end, "retire: option 'journal': string expected, got number" },
      { function() local _ = aws:resume({ jurnal = "x" }) end, "resume: unknown option 'jurnal'; did you mean 'journal'?" },
      { function() local _ = aws:resume({}) end, "resume: `journal` must name a file: without it an interrupted rotation "
        .. "could not be resumed" },
      { function() local _ = aws:rollback("x") end, "rollback: a table of options expected, got string" },
      { function() local _ = certrotate.connect({ regoin = "x" }) end,
        "connect: unknown option 'regoin'; did you mean 'region'?" },
    }) do
      local _, message = pcall(case[1])
      local line = debug.getinfo(case[1], "S").linedefined
      assert.matches("session_spec%.lua:" .. line .. ": ", message)
      assert.equal(case[2], (message:gsub("^.-:%d+: ", "")))
    end
  end)

  it("runs tasks and closes", function()
    local script = script_driver.new()
    local aws = assert(connect({ clock = script.clock }))
    local work = aws:task(function(value) return value end, 5)
    assert.equal(5, work:wait())
    aws:close()
    aws:close()
    assert.has_error(function() aws:task(function() end) end, "the session is closed")
  end)

  it("passes signals on to the driver", function()
    local aws = assert(connect())
    local signals = { fd = function() return 0 end, take = function() end }
    aws:watch_signals(signals)
    assert.equal(signals, aws.loop.driver.signals)
  end)

  it("fills in what steps take from the session", function()
    local aws = assert(connect({ edge = "127.0.0.1:8443", poll = 3 }))
    local sent = {}
    aws.loop.await = function(_, submission)
      sent[#sent + 1] = submission
      return {}
    end
    aws.steps:settle({ Ids = { "E1" }, to = "x" })
    aws.steps:verify({ server_name = "a.example" })
    aws.steps:verify({ server_name = "a.example", host = "h" })
    aws.steps:import({ identity = "userdata", store = "acm" })
    assert.equal(3, sent[1].params.poll)
    assert.same({ server_name = "a.example", host = "127.0.0.1", port = 8443 }, sent[2].params)
    assert.same({ server_name = "a.example", host = "h" }, sent[3].params)
    assert.equal("userdata", sent[4].identity)
    assert.same({ store = "acm" }, sent[4].params)
    assert.equal("import", sent[4].step)
    assert.has_error(function() aws.steps:swap() end)
  end)

  it("loads without doing anything, and its parts when they are asked for", function()
    assert.equal(core.VERSION, certrotate.version)
    assert.equal(core, certrotate.core)
    assert.is_function(certrotate.policy.careful)
    assert.is_function(certrotate.task.pause)
    assert.is_nil(certrotate.nonsense)
    assert.is_function(certrotate.progress())
  end)
end)
