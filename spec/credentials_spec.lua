local credentials = require("certrotate.credentials")
local errors = require("certrotate.errors")
local files = require("certrotate.credentials.files")

local SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

describe("certrotate.credentials", function()
  local home

  before_each(function()
    home = os.tmpname()
    os.remove(home)
    assert(os.execute("mkdir -p '" .. home .. "/.aws'"))
  end)

  after_each(function() os.execute("rm -r '" .. home .. "'") end)

  local function write(name, text)
    local file = assert(io.open(home .. "/.aws/" .. name, "wb"))
    file:write(text)
    file:close()
  end

  local function context(options)
    options = options or {}
    local values = options.environment or {}
    local out = {
      environment = function(name) if values[name] ~= "" then return values[name] end end,
      home = home, profile = options.profile, credentials = options.credentials, now = function() return 1768478400 end,
    }
    local err
    out.files, err = files.load(out)
    return out.files and out, err
  end

  local function resolve(options)
    local found, err = context(options)
    if not found then return nil, err end
    return credentials.resolve(found)
  end

  local keys = { AWS_ACCESS_KEY_ID = "AKIDENVIRONMENT1", AWS_SECRET_ACCESS_KEY = SECRET }

  it("prefers parameters, then the environment, then files", function()
    write("credentials", "[default]\naws_access_key_id = AKIDCREDFILE1\naws_secret_access_key = s1\n")
    write("config", "[default]\naws_access_key_id = AKIDCONFFILE1\naws_secret_access_key = s2\n")
    local given = { access_key_id = "AKIDPARAMETER", secret_access_key = "p", session_token = "t" }
    local found = assert(resolve({ credentials = given, environment = keys }))
    assert.equal("AKIDPARAMETER", found.access_key_id)
    assert.equal("t", found.session_token)
    assert.equal("parameters", found.source)
    assert.equal("AKIDENVIRONMENT1", assert(resolve({ environment = keys })).access_key_id)
    assert.equal("AKIDCREDFILE1", assert(resolve()).access_key_id)
    os.remove(home .. "/.aws/credentials")
    found = assert(resolve())
    assert.equal("AKIDCONFFILE1", found.access_key_id)
    assert.equal("config-file", found.source)
  end)

  it("passes the environment over when a profile is named by the caller, not when a variable names it", function()
    write("credentials", "[prod]\naws_access_key_id = AKIDPRODPROD1\naws_secret_access_key = s\naws_session_token = tok\n")
    local found = assert(resolve({ profile = "prod", environment = keys }))
    assert.equal("AKIDPRODPROD1", found.access_key_id)
    assert.equal("tok", found.session_token)
    local environment = { AWS_PROFILE = "prod", AWS_ACCESS_KEY_ID = keys.AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY = SECRET }
    assert.equal("AKIDENVIRONMENT1", assert(resolve({ environment = environment })).access_key_id)
    assert.equal("AKIDPRODPROD1", assert(resolve({ environment = { AWS_PROFILE = "prod" } })).access_key_id)
    assert.equal("AKIDPRODPROD1",
      assert(resolve({ environment = { AWS_DEFAULT_PROFILE = "prod", AWS_PROFILE = "other" } })).access_key_id)
  end)

  it("merges the two files key by key, the credentials file first", function()
    write("config", "[profile p]\nregion = eu-west-1\naws_access_key_id = AKIDCONFIG\naws_secret_access_key = c\n"
      .. "[profile \"a b\"]\nregion = eu-west-2\n")
    write("credentials", "[p]\naws_access_key_id = AKIDCRED\naws_secret_access_key = d\n")
    local found = assert(context({ profile = "p" }))
    assert.equal("eu-west-1", found.files.settings.region)
    assert.equal("AKIDCRED", found.files.settings.aws_access_key_id)
    assert.equal("eu-west-2", assert(context({ profile = "a b" })).files.settings.region)
  end)

  it("finds the files where the variables say, ~ included", function()
    write("other", "[default]\naws_access_key_id = AKIDOTHEROTHER\naws_secret_access_key = d\n")
    assert.equal("AKIDOTHEROTHER",
      assert(resolve({ environment = { AWS_SHARED_CREDENTIALS_FILE = "~/.aws/other" } })).access_key_id)
    assert.equal("AKIDOTHEROTHER",
      assert(resolve({ environment = { AWS_SHARED_CREDENTIALS_FILE = home .. "/.aws/other" } })).access_key_id)
  end)

  it("says what was tried when there are none", function()
    local found, err = resolve({ environment = { AWS_EC2_METADATA_DISABLED = "true" } })
    assert.is_nil(found)
    assert.equal("credentials", err.kind)
    assert.equal("NoCredentials", err.code)
    for _, part in ipairs({ "parameters: none given", "environment: AWS_ACCESS_KEY_ID is not set", "assume-role: no role_arn",
      "web-identity: AWS_WEB_IDENTITY_TOKEN_FILE is not set", "sso: no sso_account_id",
      "credentials-file: no keys of 'default' in " .. home .. "/.aws/credentials", "process: no credential_process",
      "config-file: no keys of 'default' in " .. home .. "/.aws/config", "container: AWS_CONTAINER",
      "instance-metadata: AWS_EC2_METADATA_DISABLED is true" }) do
      assert.truthy(err.message:find(part, 1, true), part .. " is not in " .. err.message)
    end
    -- Whether there is an instance's role can only be found out by asking.
    found = assert(resolve())
    assert.equal("instance-metadata", found.source)
    assert.is_nil(found.access_key_id)
    assert.equal("credentials to be fetched from instance-metadata", tostring(found))
  end)

  it("stops at a source that is configured and broken", function()
    local cases = {
      { { credentials = { access_key_id = "A" } }, "PartialCredentials" },
      { { environment = { AWS_ACCESS_KEY_ID = "AKID" } }, "PartialCredentials" },
      { { environment = { AWS_ACCESS_KEY_ID = "AKID", AWS_SECRET_ACCESS_KEY = "" } }, "PartialCredentials" },
      { { environment = { AWS_ACCESS_KEY_ID = "A", AWS_SECRET_ACCESS_KEY = "s", AWS_CREDENTIAL_EXPIRATION = "soon" } },
        "MalformedExpiration" },
      { { environment = { AWS_ACCESS_KEY_ID = "A", AWS_SECRET_ACCESS_KEY = "s",
          AWS_CREDENTIAL_EXPIRATION = "2026-01-15T11:59:59Z" } }, "ExpiredCredentials" },
    }
    for _, case in ipairs(cases) do
      local found, err = resolve(case[1])
      assert.is_nil(found)
      assert.equal(case[2], err.code)
      assert.equal("credentials", err.kind)
    end
    write("credentials", "[default]\naws_access_key_id = AKID\n")
    local found, err = resolve()
    assert.is_nil(found)
    assert.equal("PartialCredentials", err.code)
    assert.matches("aws_secret_access_key", err.message)
  end)

  it("takes what a profile says in the CLI's order", function()
    write("credentials", "[r]\naws_access_key_id = AKIDCRED\naws_secret_access_key = d\n[k]\naws_access_key_id = AKIDKEYS\n"
      .. "aws_secret_access_key = d\n[w]\naws_access_key_id = AKIDCRED\naws_secret_access_key = d\n")
    write("config", "[profile r]\nrole_arn = arn:aws:iam::111122223333:role/x\nsource_profile = k\n"
      .. "[profile s]\nsso_account_id = 1\nsso_role_name = r\nsso_start_url = u\nsso_region = us-east-1\n"
      .. "credential_process = /x\n"
      .. "[profile c]\ncredential_process = /bin/x\naws_access_key_id = A\naws_secret_access_key = b\n"
      .. "[profile k]\ncredential_process = /bin/x\n[profile l]\nlogin_session = x\n"
      .. "[profile w]\nrole_arn = arn:aws:iam::111122223333:role/x\nweb_identity_token_file = /t\n")
    for profile, source in pairs({ r = "assume-role", s = "sso", c = "process", k = "credentials-file", w = "web-identity" }) do
      local found = assert(resolve({ profile = profile }))
      assert.equal(source, found.source, profile)
      assert.equal(source ~= "credentials-file", found.fetch ~= nil)
    end
    local none, err = resolve({ profile = "l" })
    assert.is_nil(none)
    assert.equal("UnsupportedCredentials", err.code)
    assert.matches("export%-credentials", err.message)
  end)

  it("names the profiles there are when one is missing; a missing default is fine", function()
    write("config", "[profile b]\nregion = x\n")
    write("credentials", "[a]\naws_access_key_id = 1\n")
    for _, options in ipairs({ { profile = "z" }, { environment = { AWS_PROFILE = "z" } } }) do
      local found, err = context(options)
      assert.is_nil(found)
      assert.equal("ProfileNotFound", err.code)
      assert.matches("'z'", err.message)
      assert.matches("there are: a, b", err.message)
    end
    assert.is_table(context({ environment = { AWS_PROFILE = "default" } }))
    assert.is_nil((context({ profile = "default" })))
  end)

  it("reports a malformed or unreadable file", function()
    write("config", "[default]\nnonsense\n")
    local found, err = context()
    assert.is_nil(found)
    assert.equal("MalformedConfig", err.code)
    assert.truthy(err.message:find(home .. "/.aws/config:2:", 1, true))
    found, err = context({ environment = { AWS_CONFIG_FILE = home } })
    assert.is_nil(found)
    assert.equal("FileUnreadable", err.code)
  end)

  it("finds the services section of the profile, and says when it is missing", function()
    write("config", "[default]\nservices = local\n[services local]\niam =\n  endpoint_url = http://h\n"
      .. "[profile x]\nservices = y\n")
    assert.same({ iam = { endpoint_url = "http://h" } }, assert(context()).files.services)
    local found, err = context({ profile = "x" })
    assert.is_nil(found)
    assert.equal("ServicesNotFound", err.code)
  end)

  it("shows credentials without the secret", function()
    local found = assert(resolve({ environment = keys }))
    assert.equal("credentials AKID…ENT1 from environment", tostring(found))
    assert.equal("…", credentials.masked("SHORT"))
  end)

  it("asks further providers in order, each with a reason or an error", function()
    local asked = {}
    local function provider(name, ...)
      local answer = { ... }
      return { name = name, load = function() asked[#asked + 1] = name return answer[1], answer[2] end }
    end
    local some = { access_key_id = "AKIDSOMESOME", secret_access_key = "x" }
    local chain = { provider("one", nil, "off"), provider("two", some), provider("three") }
    local found = assert(credentials.resolve(context(), chain))
    assert.equal("two", found.source)
    assert.same({ "one", "two" }, asked)
    local broken = errors.new({ kind = "credentials", code = "Broken", message = "x" })
    local none, err = credentials.resolve(context(), { provider("one", nil, broken), provider("two", some) })
    assert.is_nil(none)
    assert.equal(broken, err)
  end)
end)
