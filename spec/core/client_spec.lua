local core = require("certrotate.core")
local certificates = require("spec.support.certificates")
local http_server = require("spec.support.http_server")
local sandbox = require("spec.support.sandbox")

local CREDENTIALS = { access_key_id = "AKIDEXAMPLE", secret_access_key = "wJalrXUtnFEMI/K7MDENG", session_token = "TOKEN" }

local function options_for(url)
  local endpoints = {}
  for _, service in ipairs { "acm", "iam", "cloudfront", "sts" } do
    endpoints[service] = { url = url, region = "us-east-1" }
  end
  return { access_key_id = CREDENTIALS.access_key_id, secret_access_key = CREDENTIALS.secret_access_key,
           session_token = CREDENTIALS.session_token, endpoints = endpoints, max_attempts = 1 }
end

local function client_for(url)
  local client = assert(core.client { allow_http = true })
  return client, assert(client:account(options_for(url)))
end

local function wait_for(client)
  local deadline = core.monotonic() + 20
  repeat
    local id, result, err = client:take()
    if id then return id, result, err end
    client:wait(0.1)
  until core.monotonic() > deadline
  error("nothing finished")
end

describe("core.client", function()
  it("takes options, and refuses what it does not know", function()
    assert(core.client()):close()
    assert(core.client { max_connections = 4, connect_timeout = 0.5, total_timeout = 3, user_agent = "x" }):close()
    assert.error_matches(function() core.client { max_conections = 4 } end,
      "options.max_conections: unknown field; one of: ca_file, proxy")
    assert.error_matches(function() core.client { connect_timeout = 1e300 } end, "options.connect_timeout: ")
    assert.error_matches(function() core.client { max_body = 1e300 } end, "options.max_body: ")
    local client, many = assert(core.client()), options_for("https://127.0.0.1:9")
    many.max_attempts = 1e15
    assert(client:account(many))
    for _, name in ipairs { "max_attempts", "expires_at" } do
      local huge = options_for("https://127.0.0.1:9")
      huge[name] = 1e300
      assert.error_matches(function() client:account(huge) end, "options." .. name .. ": a number of")
    end
    assert.error_matches(function() client:wait(0, 2 ^ 32) end, "a descriptor expected")
    client:close()
    assert.error_matches(function() core.client { max_connections = 1.5 } end, "options.max_connections: a whole number")
    assert.error_matches(function() core.client { connect_timeout = "1" } end,
      "options.connect_timeout: number expected, got string")
    assert.error_matches(function() core.client { connect_timeout = -1 } end, "options.connect_timeout")
    assert.error_matches(function() core.client { allow_http = 1 } end, "options.allow_http: boolean expected")
    assert.error_matches(function() core.client { ca_file = {} } end, "options.ca_file: string expected, got table")
    assert.error_matches(function() core.client { 1 } end, "number as a field's name")
    assert.error_matches(function() core.client(5) end, "options: table expected, got number")
  end)

  it("is a pollable object", function()
    local client = assert(core.client())
    assert.equal("r", client:events())
    local fd = client:pollfd()
    assert.is_true(fd > 2)
    assert.equal(fd, client:pollfd())
    assert.is_nil(client:timeout())
    assert.equal(0, client:step())
    assert.equal(0, client:wait(0))
    assert.is_nil(client:take())
    assert.is_nil(client:attempt())
    for name, count in pairs(client:stats()) do assert.equal(0, count, name) end
    assert.matches("0 running", tostring(client))
    assert.error_matches(function() client:wait("soon") end, "number expected")
    assert.error_matches(function() client:wait(0 / 0) end, "number of seconds expected")
    client:close()
  end)

  it("says so when it is closed", function()
    local client, account = client_for("http://127.0.0.1:1")
    client:submit { service = "acm", operation = "ListCertificates", account = account }
    client:close()
    client:close()
    for _, method in ipairs { "account", "credentials", "account_info", "paces", "submit", "step", "wait", "take", "cancel",
                              "pollfd", "events", "timeout", "stats", "attempt" } do
      assert.error_matches(function() client[method](client, 1, {}) end, "client is closed")
    end
    assert.matches("closed", tostring(client))
    assert.error_matches(function() client.step({}) end, "certrotate.Client expected")
  end)

  it("waits no longer than it is told", function()
    local client = assert(core.client())
    local before = core.monotonic()
    client:wait(0.05)
    local took = core.monotonic() - before
    assert.is_true(took >= 0.045 and took < 10, tostring(took))
    client:close()
  end)
end)

describe("client:account", function()
  it("returns handles, and what is known of them", function()
    local client = assert(core.client { allow_http = true })
    local first = assert(client:account(options_for("http://127.0.0.1:1")))
    local second = assert(client:account { endpoints = {} })
    assert.are_not.equal(first, second)
    assert.same({ clock_offset = 0, access_key_id = "AKIDEXAMPLE" }, client:account_info(first))
    assert.same({ clock_offset = 0 }, client:account_info(second))
    assert.is_true(client:credentials(second, { access_key_id = "B", secret_access_key = "S", expires_at = 2000000000 }))
    assert.same({ clock_offset = 0, access_key_id = "B", expires_at = 2000000000 }, client:account_info(second))
    for _, bad in ipairs { 0, 3, 1.5 } do
      assert.has_error(function() client:account_info(bad) end)
      assert.has_error(function() client:credentials(bad, CREDENTIALS) end)
    end
    client:close()
  end)

  it("refuses what is no account", function()
    local client = assert(core.client())
    assert.error_matches(function() client:account {} end, "options.endpoints: table expected, got nil")
    assert.error_matches(function() client:account { endpoints = { acmm = { url = "https://x", region = "r" } } } end,
      'unknown service "acmm"; one of: acm, iam, cloudfront')
    assert.error_matches(function() client:account { endpoints = { acm = { url = "https://x" } } } end, "region: string expected")
    assert.error_matches(function() client:account { endpoints = { acm = "https://x" } } end, "table expected, got string")
    assert.error_matches(function() client:account { access_key_id = 5, endpoints = {} } end,
      "options.access_key_id: string expected, got number")
    local none, err = client:account { access_key_id = "A", secret_access_key = "B\nC", endpoints = {} }
    assert.is_nil(none)
    assert.equal("credentials", err.kind)
    assert.is_nil(tostring(err):find("B\nC", 1, true))
    none, err = client:account { endpoints = { acm = { url = "no url", region = "us-east-1" } } }
    assert.is_nil(none)
    assert.equal("input", err.kind)
    client:close()
  end)
end)

describe("client:submit", function()
  local client
  before_each(function() client = client_for(http_server.refused()) end)
  after_each(function() client:close() end)

  local function refuses(submission, pattern)
    assert.error_matches(function() client:submit(submission) end, pattern)
    assert.equal(0, client:stats().submitted)
  end

  it("refuses misuse, naming it and what there is", function()
    refuses(nil, "submission: table expected, got nil")
    refuses({}, "one of `service` with `operation`, `step`, `http`, or `program` expected")
    refuses({ service = "acm" }, "go together")
    refuses({ operation = "ListCertificates" }, "go together")
    refuses({ step = "swap", http = {} }, "one of `service`")
    refuses({ service = "acmm", operation = "X" }, 'unknown service "acmm"; one of: acm, iam, cloudfront, sts')
    refuses({ service = "acm", operation = "Listcertificates" },
      'acm has no operation "Listcertificates"; one of: .*DescribeCertificate')
    refuses({ step = "swop" }, 'unknown step "swop"; one of: import, reimport, swap, policy, settle, verify, retire')
    refuses({ step = "swap", param = {} }, "submission.param: unknown field; one of: account, service")
    refuses({ service = "acm", operation = "ListCertificates", account = 7 }, "no such account")
    refuses({ service = "acm", operation = "ListCertificates", view = "holders" }, "for ListDistributions only")
    refuses({ service = "cloudfront", operation = "ListDistributions", view = "x" }, 'unknown view "x"; one of: holders')
    refuses({ service = "acm", operation = "ListCertificates", timeout = "1" }, "submission.timeout: number expected")
    refuses({ step = "swap", timeout = 1 }, "a step takes its times as params")
    refuses({ http = { url = "http://127.0.0.1:1/" }, timeout = 1 }, "http has a field of its own")
    refuses({ service = "acm", operation = "ImportCertificate" }, "submission.identity: ImportCertificate needs one")
    refuses({ step = "import", params = { store = "acm" } }, "submission.identity: import needs one")
    refuses({ service = "acm", operation = "ImportCertificate", identity = io.stdout },
      "certrotate.Identity expected, got userdata")
    refuses({ service = "acm", operation = "ListCertificates", params = { "x" } }, "params: fields with names expected")
    refuses({ service = "acm", operation = "ListCertificates", params = { Includes = { keyTypes = { "a", print } } } },
      "params.Includes.keyTypes%[2%]: string expected, got function")
    assert.error_matches(function() core.client():submit { service = "acm", operation = "ListCertificates" } end,
      "client has no account")
  end)

  it("returns what the core finds wrong with parameters", function()
    local none, err = client:submit { service = "cloudfront", operation = "GetDistributionConfig", params = {} }
    assert.is_nil(none)
    assert.equal("input", err.kind)
    assert.matches("Id", err.message)
    none, err = client:submit { http = { url = "ftp://127.0.0.1/" } }
    assert.is_nil(none)
    assert.equal("input", err.kind)
  end)

  it("fails in the background when nobody listens", function()
    local id = assert(client:submit { service = "acm", operation = "ListCertificates" })
    assert.equal(1, client:stats().running)
    local taken, result, err = wait_for(client)
    assert.equal(id, taken)
    assert.is_nil(result)
    assert.equal("transport", err.kind)
    assert.equal("acm:ListCertificates", err.operation)
    assert.is_true(err.retryable)
    assert.matches("^CURLE_", err.code)
    assert.is_nil(tostring(err):find(CREDENTIALS.secret_access_key, 1, true))
    assert.is_nil(tostring(err):find("TOKEN", 1, true))
    assert.is_nil(client:take())
    local stats = client:stats()
    assert.equal(1, stats.failed)
    assert.equal(0, stats.running)
    local attempt = assert(client:attempt())
    assert.equal(id, attempt.id)
    assert.equal("acm:ListCertificates", attempt.operation)
    assert.equal(0, attempt.status)
    assert.is_nil(client:attempt())
  end)

  it("cancels", function()
    local id = assert(client:submit { http = { url = "http://127.0.0.1:1/" } })
    assert.is_true(client:cancel(id))
    local taken, result, err = wait_for(client)
    assert.equal(id, taken)
    assert.is_nil(result)
    assert.equal("cancelled", err.kind)
    assert.is_false(client:cancel(id))
    assert.is_false(client:cancel(12345))
    assert.equal(1, client:stats().cancelled)
  end)

  it("keeps what it was given, not the tables and objects", function()
    local folder = sandbox.directory()
    finally(function() sandbox.remove(folder) end)
    local www = certificates.leaf { dir = folder, name = "www", names = { "www.example.com" } }
    local identity = assert(core.identity { certificate = www.certificate, private_key = www.private_key })
    local params = { Tags = { { Key = "a", Value = "b" } } }
    assert(client:submit { service = "acm", operation = "ImportCertificate", params = params, identity = identity })
    params.Tags[1].Key = nil
    identity:close()
    collectgarbage()
    local _, _, err = wait_for(client)
    assert.equal("transport", err.kind)
    assert.error_matches(function()
      client:submit { service = "acm", operation = "ImportCertificate", identity = identity }
    end, "identity is closed")
  end)

  it("drops what runs when it is closed", function()
    for _ = 1, 20 do assert(client:submit { service = "acm", operation = "ListCertificates" }) end
    client:step()
    client:close()
  end)
end)

describe("client against a server", function()
  local server, client, reply
  before_each(function()
    server = http_server.start(function(request) return reply(request) end)
    client = client_for(server.url)
  end)
  after_each(function()
    client:close()
    server:close()
  end)

  it("makes plain requests, whatever the status", function()
    reply = function(request)
      return 418, { ["X-Thing"] = "v" }, request.method .. " " .. request.target .. " " .. request.headers["x-a"] .. " "
        .. request.body
    end
    assert(client:submit { http = { url = server.url .. "/p?q=1", method = "POST", body = "hello",
                                    headers = { { "X-A", "1" } } } })
    local _, result, err = server:take(client)
    assert.is_nil(err)
    assert.equal(418, result.status)
    assert.equal("POST /p?q=1 1 hello", result.body)
    assert.equal("v", result.headers["x-thing"])
  end)

  it("signs with the credentials of the moment", function()
    reply = function() return 200, nil, "{}" end
    assert(client:submit { service = "acm", operation = "ListCertificates" })
    client:credentials(1, { access_key_id = "NEWKEY", secret_access_key = "S" })
    local _, result = server:take(client)
    assert.equal("table", type(result))
    assert.matches("Credential=NEWKEY/", server.requests[1].headers.authorization)
    assert.is_nil(server.requests[1].headers["x-amz-security-token"])
  end)

  it("returns AWS's errors whole", function()
    reply = function()
      return 400, { ["x-amzn-RequestId"] = "req-1" }, '{"__type":"ResourceNotFoundException","message":"Could not find it"}'
    end
    assert(client:submit { service = "acm", operation = "DescribeCertificate",
                           params = { CertificateArn = "arn:aws:acm:us-east-1:1:certificate/x" } })
    local _, result, err = server:take(client)
    assert.is_nil(result)
    assert.equal("service", err.kind)
    assert.equal("ResourceNotFoundException", err.code)
    assert.equal(400, err.status)
    assert.equal("req-1", err.request_id)
    assert.equal("acm:DescribeCertificate", err.operation)
    assert.is_false(err.retryable)
    assert.matches("Could not find it", tostring(err))
  end)

  it("calls an answer that is not JSON what it is", function()
    for _, body in ipairs { "<html>", '{"a":', "[1,2", ("["):rep(5000), "\0", "5 5" } do
      reply = function() return 200, nil, body end
      assert(client:submit { service = "acm", operation = "ListCertificates" })
      local _, result, err = server:take(client)
      assert.is_nil(result)
      assert.equal("parse", err.kind, body:sub(1, 20))
    end
  end)

  it("cannot be closed or used by a finalizer in the middle of an answer", function()
    reply = function() return 200, nil, '{"CertificateSummaryList":[' .. ('{"a":"b"},'):rep(20000) .. '{"a":"c"}]}' end
    assert(client:submit { service = "acm", operation = "ListCertificates" })
    local finalized, seen = 0, {}
    local function arm()
      local function finalize()
        finalized = finalized + 1
        local ok, problem = pcall(client.take, client)
        seen[#seen + 1] = ok or tostring(problem)
        if finalized == 50 then client:close() end
        if finalized < 50 then arm() end
      end
      if rawget(_G, "newproxy") then
        getmetatable(newproxy(true)).__gc = finalize -- luacheck: ignore 113
      else
        setmetatable({}, { __gc = finalize })
      end
    end
    arm()
    local ok, problem = pcall(server.take, server, client)
    -- Either it went unnoticed, or the client was closed by the finalizer: never a crash.
    if not ok then assert.matches("client is closed", problem) end
    assert.is_true(finalized >= 0)
  end)
end)

describe("core.client and credentials", function()
  it("asks once for credentials that are missing, and calls wait for them or fail with why there are none", function()
    local server = http_server.start(function(request)
      local key = (request.headers.authorization or ""):match("Credential=(%w+)") or "none"
      return 200, nil, "<GetCallerIdentityResponse><GetCallerIdentityResult><Account>" .. key
        .. "</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
    end)
    local own = assert(core.client { allow_http = true })
    local options = options_for(server.url)
    options.access_key_id, options.secret_access_key, options.session_token, options.renewable = nil, nil, nil, true
    local account = assert(own:account(options))
    local who = { service = "sts", operation = "GetCallerIdentity" }
    assert.is_nil(own:wanted())
    for _ = 1, 20 do assert(own:submit(who)) end
    own:step()
    assert.equal(account, own:wanted())
    assert.is_nil(own:wanted())
    local began = core.monotonic()
    own:wait(0.05)
    assert.is_true(core.monotonic() - began >= 0.04, "it is not polled")
    assert.equal(20, own:stats().waiting_time)
    assert(own:credentials(account, { access_key_id = "AKIDFIRST", secret_access_key = "s", needed_at = 1 }))
    assert.equal(1, own:account_info(account).needed_at)
    own:step()
    assert.equal(account, own:wanted()) -- they are over already: asked for again
    local failure = setmetatable({ kind = "transport", code = "NoAnswer", message = "nothing\nthere" }, core.error_metatable)
    own:credentials_failed(account, failure)
    for _ = 1, 20 do
      local _, result, err = server:take(own)
      assert.is_nil(result)
      assert.equal("credentials", err.kind)
      assert.equal("NoAnswer", err.code)
      assert.equal("nothing there", err.message)
      assert.equal("sts:GetCallerIdentity", err.operation)
    end
    own:want(account)
    own:want(account)
    assert.equal(account, own:wanted())
    assert.is_nil(own:wanted())
    assert(own:credentials(account, { access_key_id = "AKIDSECOND", secret_access_key = "s", clock_offset = 7 }))
    assert.equal(7, own:account_info(account).clock_offset)
    assert(own:submit(who))
    local _, result = server:take(own)
    assert.equal("AKIDSECOND", result.Account)
    own:close()
    server:close()
  end)

  it("runs a program without a shell", function()
    local own = assert(core.client())
    assert(own:submit { program = { arguments = { "printf", "%s", "$HOME; x" } } })
    local _, result = wait_for(own)
    assert.same({ output = "$HOME; x", errors = "", status = 0 }, result)
    assert(own:submit { program = { arguments = { "/nonexistent" } } })
    local _, none, err = wait_for(own)
    assert.is_nil(none)
    assert.equal("NotStarted", err.code)
    assert.error_matches(function() own:submit { program = { arguments = {} }, step = "swap" } end, "one of `service`")
    assert.is_nil((own:submit { program = {} }))
    own:close()
  end)
end)
