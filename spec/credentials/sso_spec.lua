-- IAM Identity Center: the CLI's token cache, the portal and the refreshing of tokens, against the simulator.
local aws_home = require("spec.support.aws_home")
local command = require("spec.support.command")
local core = require("certrotate.core")
local fmt = require("certrotate.fmt")
local json = require("certrotate.json")
local launch = require("certrotate.simulator.launch")

local START = "https://example.awsapps.com/start"
local PROFILE = "sso_account_id = 111122223333\nsso_role_name = Rotator\n"
local SESSION = "[profile corp]\nsso_session = corp\n" .. PROFILE
  .. "[sso-session corp]\nsso_region = us-east-1\nsso_start_url = " .. START .. "\nsso_registration_scopes = sso:account:access\n"
local LEGACY = "[profile old]\nsso_start_url = " .. START .. "\nsso_region = us-east-1\n" .. PROFILE

describe("IAM Identity Center", function()
  local simulator, home, count

  setup(function()
    simulator = assert(launch.start({ distributions = 0, seed = 3 }))
    count = 0
  end)
  teardown(function() simulator:stop() end)
  before_each(function() home = aws_home.new(simulator) end)
  after_each(function() home:close() end)

  -- A token that the service knows, and the CLI's file of it. left: seconds.
  local function log_in(key, left, fields)
    count = count + 1
    local access = "access-token-" .. count
    fields = fields or {}
    local service_left = fields.service_left or left
    fields.service_left = nil
    assert(simulator:control("sso", { access_token = access, expires_at = os.time() + service_left, client_id = "client",
      client_secret = "client-secret", refresh_token = "refresh-" .. count, roles = fields.roles }))
    fields.roles = nil
    local file = { accessToken = access, expiresAt = fmt.time(os.time() + left), startUrl = START, region = "us-east-1",
                   refreshToken = "refresh-" .. count, clientId = "client", clientSecret = "client-secret",
                   registrationExpiresAt = fmt.time(os.time() + 86400) }
    for name, value in pairs(fields) do
      if value == false then file[name] = nil else file[name] = value end
    end
    return home:write("sso/cache/" .. core.sha1(key) .. ".json", json.encode(file)), access
  end

  local function refused(profile, code, ...)
    local found, err = home:fetch({ profile = profile })
    assert.is_nil(found)
    assert.equal("credentials", err.kind)
    assert.equal(code, err.code, tostring(err))
    for _, part in ipairs({ ... }) do assert.truthy(err.message:find(part, 1, true), err.message) end
    for _, secret in ipairs({ "access-token", "refresh-", "client-secret" }) do
      assert.is_nil(tostring(err):find(secret, 1, true))
    end
  end

  it("gives a role's credentials for the session's cached token", function()
    assert.equal("a9993e364706816aba3e25717850c26c9cd0d89d", core.sha1("abc")) -- what the file is named by
    home:write("config", SESSION)
    local path, access = log_in("corp", 7200)
    local aws = assert(home:connect({ profile = "corp" }))
    assert.equal("sso", aws.source)
    assert.matches("AWSReservedSSO_Rotator_", assert(aws.sts:get_caller_identity()).Arn)
    local left = assert(aws:credentials()).expires_at - os.time()
    assert.is_true(left > 3500 and left <= 3601)
    assert.equal(access, json.decode(command.read(path)).accessToken)
  end)

  it("takes the older form in the profile, with the older CLI's way of writing times", function()
    home:write("config", LEGACY)
    log_in(START, 7200, { expiresAt = (fmt.time(os.time() + 7200):gsub("Z$", "UTC")), refreshToken = false })
    assert(home:fetch({ profile = "old" }))
  end)

  it("refreshes a token that has less than a quarter of an hour left, and writes it back for the CLI", function()
    home:write("config", SESSION)
    local path, access = log_in("corp", 600, { somethingNew = "kept" })
    assert(home:fetch({ profile = "corp" }))
    local file = json.decode(command.read(path))
    assert.not_equal(access, file.accessToken)
    assert.matches("^aor", file.refreshToken)
    assert.equal("kept", file.somethingNew)
    local left = fmt.parse_time(file.expiresAt) - os.time()
    assert.is_true(left > 3500 and left <= 3601)
    assert.equal(384, core.file_mode(path)) -- 0600
    -- One that is over is refreshed too.
    log_in("corp", -10)
    assert(home:fetch({ profile = "corp" }))
  end)

  it("goes on with a token that could not be refreshed while it still serves", function()
    home:write("config", SESSION)
    local path, access = log_in("corp", 600, { clientSecret = "wrong" })
    assert(home:fetch({ profile = "corp" }))
    assert.equal(access, json.decode(command.read(path)).accessToken)
    log_in("corp", -10, { clientSecret = "wrong" })
    refused("corp", "SsoTokenExpired", "invalid_client", "aws sso login --profile corp")
    -- Its registration is over: not tried.
    log_in("corp", -10, { registrationExpiresAt = "2020-01-01T00:00:00Z" })
    refused("corp", "SsoTokenExpired", "session with IAM Identity Center is over")
  end)

  it("says so when the refreshed token cannot be saved", function()
    if command.shell("id -u"):match("^0%s") then return end -- root can write anywhere
    home:write("config", SESSION)
    log_in("corp", 600)
    os.execute("chmod 500 " .. home.path .. "/.aws/sso/cache")
    local _, err, aws = home:fetch({ profile = "corp" })
    os.execute("chmod 700 " .. home.path .. "/.aws/sso/cache")
    assert.is_nil(err)
    assert.matches("was not saved", aws.notes[1])
  end)

  it("says when to log in, and what is wrong otherwise", function()
    home:write("config", SESSION .. LEGACY)
    refused("corp", "SsoTokenMissing", "aws sso login --profile corp")
    refused("old", "SsoTokenMissing", "aws sso login --profile old")
    log_in(START, -10)
    refused("old", "SsoTokenExpired", "aws sso login --profile old")
    log_in("corp", 7200, { service_left = -1 })
    refused("corp", "SsoTokenExpired", "takes the session's token no more", "aws sso login --profile corp")
    log_in("corp", 7200, { roles = { { account_id = "1", role_name = "r" } } })
    refused("corp", "SsoRoleRefused", "role Rotator in account 111122223333", "No access")
    home:write("sso/cache/" .. core.sha1("corp") .. ".json", "{")
    refused("corp", "SsoTokenMalformed", core.sha1("corp") .. ".json")
    home:write("sso/cache/" .. core.sha1("corp") .. ".json", '{"accessToken":"access-token-x","expiresAt":"soon"}')
    refused("corp", "SsoTokenMalformed")
    home:write("config", "[profile corp]\nsso_session = gone\n" .. PROFILE)
    refused("corp", "MalformedConfig", "[sso-session gone]")
    home:write("config", "[profile corp]\nsso_account_id = 1\n")
    refused("corp", "MalformedConfig", "lacks sso_start_url, sso_region, sso_role_name")
    home:write("config", SESSION:gsub("%[sso", "[profile x]\nsso_session = corp\nsso_region = eu-west-1\n" .. PROFILE .. "[sso"))
    refused("x", "MalformedConfig", "different values of sso_region")
  end)

  it("is where AWS_ENDPOINT_URL_SSO says, else in the region of the settings", function()
    local endpoints = require("certrotate.endpoints")
    local settings = { environment = function() end, profile = { name = "x", settings = {}, services = {} } }
    assert.equal("https://portal.sso.eu-west-1.amazonaws.com", endpoints.unsigned("sso", "eu-west-1", settings))
    assert.equal("https://oidc.cn-north-1.amazonaws.com.cn", endpoints.unsigned("sso_oidc", "cn-north-1", settings))
    settings.environment = function(name) return name == "AWS_ENDPOINT_URL_SSO_OIDC" and "http://127.0.0.1:1/x/" or nil end
    assert.equal("http://127.0.0.1:1/x", endpoints.unsigned("sso_oidc", "eu-west-1", settings))
    assert.equal("https://portal.sso.eu-west-1.amazonaws.com", endpoints.unsigned("sso", "eu-west-1", settings))
    local none, err = endpoints.unsigned("sso", "us-gov-west-1", settings)
    assert.is_nil(none)
    assert.equal("UnsupportedPartition", err.code)
  end)
end)
