-- Web identities: tokens in files, as Kubernetes and CI systems leave them, against the simulator over HTTPS.
local aws_home = require("spec.support.aws_home")
local launch = require("certrotate.simulator.launch")

local ROLE = "arn:aws:iam::444455556666:role/Ci"
local ISSUER = "https://oidc.example"

local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

local function base64url(text)
  local out, bits, count = {}, 0, 0
  for index = 1, #text do
    bits, count = bits * 256 + text:byte(index), count + 8
    while count >= 6 do
      count = count - 6
      local digit = math.floor(bits / 2 ^ count)
      bits = bits % 2 ^ count
      out[#out + 1] = alphabet:sub(digit + 1, digit + 1)
    end
  end
  if count > 0 then
    local digit = bits * 2 ^ (6 - count)
    out[#out + 1] = alphabet:sub(digit + 1, digit + 1)
  end
  return table.concat(out)
end

local function token(exp, issuer)
  return table.concat({ base64url('{"alg":"RS256"}'),
    base64url(('{"iss":"%s","sub":"system:serviceaccount:a:b","aud":"sts.amazonaws.com","exp":%d}'):format(
      issuer or ISSUER, exp)),
    base64url("signature") }, ".")
end

describe("web identity", function()
  local simulator, home

  setup(function()
    simulator = assert(launch.start({ distributions = 0, seed = 3 }))
    assert(simulator:control("roles", { arn = ROLE, issuer = ISSUER }))
  end)
  teardown(function() simulator:stop() end)
  before_each(function() home = aws_home.new(simulator) end)
  after_each(function() home:close() end)

  local function environment(path, more)
    local out = { AWS_WEB_IDENTITY_TOKEN_FILE = path, AWS_ROLE_ARN = ROLE, AWS_EC2_METADATA_DISABLED = "true" }
    for name, value in pairs(more or {}) do out[name] = value end
    return out
  end

  local function refused(options, code, part)
    local found, err = home:fetch(options)
    assert.is_nil(found)
    assert.equal("credentials", err.kind)
    assert.equal(code, err.code, tostring(err))
    assert.truthy(err.message:find(part, 1, true), err.message)
    assert.is_nil(tostring(err):find("eyJ", 1, true), "a token in a message")
  end

  it("is found in the environment, and asked for unsigned", function()
    local path = home:write("token", token(os.time() + 3600) .. "\n")
    local aws = assert(home:connect({ environment = environment(path, { AWS_ROLE_SESSION_NAME = "build-7" }) }))
    assert.equal("web-identity", aws.source)
    assert.equal("arn:aws:sts::444455556666:assumed-role/Ci/build-7", assert(aws.sts:get_caller_identity()).Arn)
  end)

  it("is found in a profile, where a named one counts more than variables", function()
    home:write("token", token(os.time() + 3600))
    home:write("config", "[profile ci]\nrole_arn = " .. ROLE .. "\nweb_identity_token_file = ~/.aws/token\n"
      .. "role_session_name = own\n"
      .. "[profile other]\nrole_arn = " .. ROLE .. "\n")
    local bad = environment("/nonexistent/token", { AWS_ROLE_SESSION_NAME = "never" })
    local aws = assert(home:connect({ profile = "ci", environment = bad }))
    assert.equal("arn:aws:sts::444455556666:assumed-role/Ci/own", assert(aws.sts:get_caller_identity()).Arn)
    bad.AWS_PROFILE = "ci"
    refused({ environment = bad }, "WebIdentityTokenMissing", "/nonexistent/token")
  end)

  it("may be the source of another role", function()
    home:write("token", token(os.time() + 3600))
    assert(simulator:control("roles", { arn = "arn:aws:iam::111122223333:role/Next", trusted = { "444455556666" } }))
    home:write("config", "[profile ci]\nrole_arn = " .. ROLE .. "\nweb_identity_token_file = ~/.aws/token\n"
      .. "[profile next]\nrole_arn = arn:aws:iam::111122223333:role/Next\nsource_profile = ci\n")
    local aws = assert(home:connect({ profile = "next" }))
    assert.matches("assumed%-role/Next/", assert(aws.sts:get_caller_identity()).Arn)
  end)

  it("is read again for each renewal", function()
    local path = home:write("token", token(os.time() + 3600))
    assert(simulator:control("settings", { credential_lifetime = 4 }))
    local aws = assert(home:connect({ environment = environment(path) }))
    assert(aws:credentials())
    home:write("token", token(os.time() + 3600, "https://elsewhere"))
    aws.loop:sleep(3.6)
    local none, err = aws.sts:get_caller_identity()
    assert(simulator:control("settings", { credential_lifetime = 0 }))
    assert.is_nil(none)
    assert.equal("AccessDenied", err.code)
    home:write("token", token(os.time() + 3600))
    assert(aws.sts:get_caller_identity())
  end)

  it("is repeated while the identity provider does not answer STS", function()
    local path = home:write("token", token(os.time() + 3600))
    assert(simulator:control("settings", { idp_failures = 1 }))
    assert(home:fetch({ environment = environment(path) }))
  end)

  it("says what is wrong with it", function()
    local path = home.path .. "/.aws/token"
    refused({ environment = environment(path) }, "WebIdentityTokenMissing", path)
    home:write("token", "")
    refused({ environment = environment(path) }, "WebIdentityTokenMissing", path)
    home:write("token", "two words")
    refused({ environment = environment(path) }, "WebIdentityTokenMissing", "does not look like")
    home:write("token", token(os.time() - 10))
    refused({ environment = environment(path) }, "ExpiredTokenException",
      "cannot assume " .. ROLE .. " with the token in " .. path)
    home:write("token", "eyJhbGciOiJSUzI1NiJ9-no-token-at-all")
    refused({ environment = environment(path) }, "InvalidIdentityToken", "not a valid JWT")
    refused({ environment = environment(path, { AWS_ROLE_ARN = "" }) }, "MalformedConfig", "set role_arn or AWS_ROLE_ARN")
    refused({ environment = environment(path, { AWS_ROLE_ARN = "Ci" }) }, "MalformedConfig", "role_arn must be")
  end)
end)
