-- Roles: of profiles, in chains, with everything that can be asked for, against the simulator over HTTPS.
local aws_home = require("spec.support.aws_home")
local launch = require("certrotate.simulator.launch")

local OTHER = "444455556666"
local ROLE = "arn:aws:iam::" .. OTHER .. ":role/CertRotator"
local MFA = "arn:aws:iam::111122223333:mfa/ada"

describe("roles", function()
  local simulator, home

  setup(function()
    simulator = assert(launch.start({ distributions = 4, users = 2, vip = 0, seed = 3 }))
    assert(simulator:control("roles", { arn = ROLE, external_id = "ext-1" }))
    assert(simulator:control("roles", { arn = "arn:aws:iam::111122223333:role/mfa", mfa_serial = MFA, mfa_code = "654321" }))
    assert(simulator:control("roles", { arn = "arn:aws:iam::111122223333:role/Second", trusted = { OTHER } }))
    assert(simulator:control("roles", { arn = "arn:aws:iam::111122223333:role/long", max_duration = 43200 }))
  end)
  teardown(function() simulator:stop() end)
  before_each(function() home = aws_home.new(simulator) end)
  after_each(function() home:close() end)

  local function refused(options, code, ...)
    local found, err = home:fetch(options)
    assert.is_nil(found)
    assert.equal("credentials", err.kind, tostring(err))
    assert.equal(code, err.code, tostring(err))
    for _, part in ipairs({ ... }) do
      assert.truthy(err.message:find(part, 1, true), ("'%s' is not in: %s"):format(part, err.message))
    end
    assert.is_nil(tostring(err):find(simulator.secret_access_key, 1, true))
    return err
  end

  it("of a profile are assumed with its source_profile's keys, and see their own account", function()
    home:write_keys()
    home:write("config", "[profile rotator]\nrole_arn = " .. ROLE
      .. "\nsource_profile = default\nexternal_id = ext-1\nrole_session_name = rot\nduration_seconds = 900\n")
    local aws = assert(home:connect({ profile = "rotator" }))
    assert.equal("assume-role", aws.source)
    assert.equal("certrotate session: profile rotator, us-east-1, credentials to come from assume-role", tostring(aws))
    local before = simulator:control("record").count
    assert.equal(0, aws.client:stats().attempts, "connect sends nothing")
    local who = assert(aws.sts:get_caller_identity())
    assert.equal("arn:aws:sts::444455556666:assumed-role/CertRotator/rot", who.Arn)
    assert.equal(OTHER, assert(aws:account_id()))
    assert.same({}, assert(aws.cloudfront:all_distributions()))
    assert.matches("us%-east%-1, ASIA…", tostring(aws))
    local found = assert(aws:credentials())
    assert.is_nil(found.secret_access_key)
    assert.is_true(found.expires_at > os.time() + 800 and found.expires_at < os.time() + 1000)
    local operations = {}
    for _, entry in ipairs(simulator:control("record?after=" .. before).entries) do
      operations[#operations + 1] = entry.operation
    end
    assert.same({ "AssumeRole", "GetCallerIdentity", "GetCallerIdentity", "ListDistributions" }, operations)
  end)

  it("come in chains, each assumed by the one before", function()
    home:write_keys()
    home:write("config", "[profile first]\nrole_arn = " .. ROLE .. "\nsource_profile = default\nexternal_id = ext-1\n"
      .. "[profile second]\nrole_arn = arn:aws:iam::111122223333:role/Second\nsource_profile = first\n")
    local aws = assert(home:connect({ profile = "second" }))
    local who = assert(aws.sts:get_caller_identity())
    assert.matches("^arn:aws:sts::111122223333:assumed%-role/Second/certrotate%-%d+$", who.Arn)
    assert.equal(4, #assert(aws.cloudfront:all_distributions()))
    home:write("config", "[profile first]\nrole_arn = " .. ROLE .. "\nsource_profile = default\n"
      .. "[profile second]\nrole_arn = arn:aws:iam::111122223333:role/Second\nsource_profile = first\n")
    refused({ profile = "second" }, "AccessDenied", "cannot assume " .. ROLE)
  end)

  it("that may not be assumed are one clear line", function()
    home:write_keys()
    home:write("config", "[profile x]\nrole_arn = " .. ROLE .. "\nsource_profile = default\nexternal_id = wrong\n")
    local err = refused({ profile = "x" }, "AccessDenied", "cannot assume " .. ROLE, "not authorized to perform: sts:AssumeRole")
    assert.equal(403, err.status)
    assert.equal("sts:AssumeRole", err.operation)
    -- The same through a call that waits for it.
    local aws = assert(home:connect({ profile = "x" }))
    local none, told = aws.acm:list_certificates()
    assert.is_nil(none)
    assert.equal("credentials", told.kind)
    assert.equal("AccessDenied", told.code)
    home:write("config", "[profile x]\nrole_arn = arn:aws:iam::111122223333:role/any\nsource_profile = default\n"
      .. "duration_seconds = 43200\n")
    refused({ profile = "x" }, "ValidationError", "DurationSeconds")
  end)

  it("take the environment or an endpoint of the machine as credential_source", function()
    home:write("config", "[profile x]\nrole_arn = arn:aws:iam::111122223333:role/any\ncredential_source = Environment\n")
    local environment = { AWS_ACCESS_KEY_ID = simulator.access_key_id, AWS_SECRET_ACCESS_KEY = simulator.secret_access_key }
    local _, _, aws = assert(home:fetch({ profile = "x", environment = environment }))
    assert.matches("assumed%-role/any/", assert(aws.sts:get_caller_identity()).Arn)
    refused({ profile = "x" }, "NoSourceCredentials", "credential_source Environment has nothing: AWS_ACCESS_KEY_ID is not set")
    home:write("config", "[profile x]\nrole_arn = arn:aws:iam::111122223333:role/any\ncredential_source = EcsContainer\n")
    refused({ profile = "x" }, "NoSourceCredentials", "AWS_CONTAINER_CREDENTIALS")
    home:write("config", "[profile x]\nrole_arn = arn:aws:iam::111122223333:role/any\ncredential_source = Nowhere\n")
    refused({ profile = "x" }, "MalformedConfig", "Environment, EcsContainer, Ec2InstanceMetadata")
  end)

  it("may be their own source only with keys", function()
    home:write("credentials", ("[self]\naws_access_key_id = %s\naws_secret_access_key = %s\n"):format(simulator.access_key_id,
      simulator.secret_access_key))
    home:write("config", "[profile self]\nrole_arn = arn:aws:iam::111122223333:role/any\nsource_profile = self\n"
      .. "[profile a]\nrole_arn = arn:aws:iam::111122223333:role/any\nsource_profile = b\n"
      .. "[profile b]\nrole_arn = arn:aws:iam::111122223333:role/any\nsource_profile = c\n"
      .. "[profile c]\nrole_arn = arn:aws:iam::111122223333:role/any\nsource_profile = a\n"
      .. "[profile alone]\nrole_arn = arn:aws:iam::111122223333:role/any\nsource_profile = alone\n"
      .. "[profile lost]\nrole_arn = arn:aws:iam::111122223333:role/any\nsource_profile = nobody\n"
      .. "[profile empty]\nregion = us-east-1\n"
      .. "[profile poor]\nrole_arn = arn:aws:iam::111122223333:role/any\nsource_profile = empty\n"
      .. "[profile both]\nrole_arn = arn:aws:iam::111122223333:role/any\nsource_profile = a\ncredential_source = Environment\n"
      .. "[profile neither]\nrole_arn = arn:aws:iam::111122223333:role/any\n")
    local _, _, aws = assert(home:fetch({ profile = "self" }))
    assert.matches("assumed%-role/any/", assert(aws.sts:get_caller_identity()).Arn)
    refused({ profile = "a" }, "ProfileLoop", "itself again", "source_profile = a")
    refused({ profile = "alone" }, "ProfileLoop")
    refused({ profile = "lost" }, "ProfileNotFound", "'nobody'")
    refused({ profile = "poor" }, "NoSourceCredentials", "'empty'")
    refused({ profile = "both" }, "MalformedConfig", "both source_profile and credential_source")
    refused({ profile = "neither" }, "MalformedConfig", "neither source_profile nor credential_source")
  end)

  it("settings STS would refuse are refused with their names", function()
    home:write_keys()
    for line, what in pairs({ ["role_arn = CertRotator"] = "role_arn must be", ["external_id = a b"] = "external_id must be",
      ["role_session_name = x"] = "role_session_name must be", ["duration_seconds = 899"] = "duration_seconds must be",
      ["duration_seconds = 1h"] = "duration_seconds must be", ["mfa_serial = x"] = "mfa_serial must be" }) do
      home:write("config", "[profile x]\nsource_profile = default\n" .. (line:find("role_arn") and "" or "role_arn = "
        .. ROLE .. "\n") .. line .. "\n")
      refused({ profile = "x" }, "MalformedConfig", "profile 'x'", what)
    end
  end)

  it("ask for a code of the MFA device, and say what to do without one", function()
    home:write_keys()
    home:write("config", "[profile x]\nrole_arn = arn:aws:iam::111122223333:role/mfa\nsource_profile = default\nmfa_serial = "
      .. MFA .. "\n")
    local asked = {}
    local _, _, aws = assert(home:fetch({ profile = "x", mfa = function(serial)
      asked[#asked + 1] = serial
      return "654321"
    end }))
    assert.same({ MFA }, asked)
    assert.matches("assumed%-role/mfa/", assert(aws.sts:get_caller_identity()).Arn)
    refused({ profile = "x" }, "MfaRequired", MFA, "`mfa`")
    refused({ profile = "x", mfa = function() return "12" end }, "MfaRequired", "six digits expected")
    refused({ profile = "x", mfa = function() return nil, "the drawer is locked" end }, "MfaRequired", "the drawer is locked")
    local err = refused({ profile = "x", mfa = function() return "999999" end }, "AccessDenied")
    assert.is_nil(err.message:find("999999", 1, true))
    local none, raised = home:fetch({ profile = "x", mfa = function() error("out of order") end })
    assert.is_nil(none)
    assert.equal("Raised", raised.code)
    assert.matches("out of order", raised.message)
  end)

  it("open sessions beside the first one, on the same connections", function()
    home:write_keys()
    local aws = assert(home:connect({ region = "us-east-1" }))
    local other = assert(aws:assume({ role_arn = ROLE, external_id = "ext-1", role_session_name = "beside" }))
    assert.equal("CertRotator", other.profile)
    assert.equal(OTHER, assert(other:account_id()))
    assert.equal("111122223333", assert(aws:account_id()))
    assert.equal(aws.loop, other.loop)
    local back = assert(other:assume({ role_arn = "arn:aws:iam::111122223333:role/Second" }))
    assert.equal("111122223333", assert(back:account_id()))
    local none, err = aws:assume({ role_arn = "x" })
    assert.is_nil(none)
    assert.equal("MalformedConfig", err.code)
    assert.error_matches(function() aws:assume({ role = "x" }) end, "unknown option 'role'")
    other:close()
    assert.is_true(back.closed)
    assert.equal("certrotate session: closed", tostring(other))
    none, err = other.sts:get_caller_identity()
    assert.is_nil(none)
    assert.equal("Closed", err.code)
    assert.equal("111122223333", assert(aws.sts:get_caller_identity()).Account)
    aws:close()
    other:close()
  end)

  it("are fine with a clock that is an hour wrong, either way", function()
    home:write_keys()
    home:write("config", "[profile x]\nrole_arn = arn:aws:iam::111122223333:role/any\nsource_profile = default\n")
    for _, skew in ipairs({ -3700, 3700 }) do
      assert(simulator:control("clock", { skew = skew }))
      local _, err, aws = home:fetch({ profile = "x" })
      assert.is_nil(err)
      assert.matches("assumed%-role/any/", assert(aws.sts:get_caller_identity()).Arn)
      local offset = aws:clock_offset()
      assert.is_true(math.abs(offset - skew) < 10, "offset " .. offset)
    end
    assert(simulator:control("clock", { skew = 0 }))
  end)
end)
