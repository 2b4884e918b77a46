-- Debian's aws command with the same files, variables and endpoints: it must find the same identity as we do, and refuse
-- what we refuse. It takes an endpoint for its command only, so roles, which it assumes on the way, are out of its reach.
if rawget(_G, "jit") then return end   -- who asks makes no difference to it

local authority = require("certrotate.simulator.authority")
local aws_home = require("spec.support.aws_home")
local cjson = require("cjson")
local command = require("spec.support.command")
local launch = require("certrotate.simulator.launch")

local quote = authority.quote

describe("credentials as the AWS CLI finds them", function()
  if not command.read("/usr/bin/aws") then
    pending("needs awscli")
    return
  end

  local simulator, home

  setup(function()
    simulator = assert(launch.start({ distributions = 0, seed = 3, http = true }))
    home = aws_home.new(simulator)
    local keys, temporary = simulator, simulator.temporary
    -- So that an identity tells which key it was.
    assert(simulator:control("credentials", { access_key_id = temporary.access_key_id, session_token = temporary.session_token,
      secret_access_key = temporary.secret_access_key, arn = "arn:aws:sts::111122223333:assumed-role/temporary/x" }))
    local tool = home.path .. "/my tool"
    command.write(tool, ("#!/bin/sh\n[ \"$1\" = 'two words' ] && [ \"$2\" = '$HOME' ] || exit 3\n"
      .. "echo '{\"Version\":1,\"AccessKeyId\":\"%s\",\"SecretAccessKey\":\"%s\",\"SessionToken\":\"%s\"}'\n"):format(
      temporary.access_key_id, temporary.secret_access_key, temporary.session_token))
    os.execute("chmod 700 " .. quote(tool))
    home:write("credentials", ("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n"
      .. "[both]\naws_access_key_id = %s\naws_secret_access_key = %s\naws_session_token = %s\n"
      .. "[half]\naws_access_key_id = x\n"):format(keys.access_key_id, keys.secret_access_key, temporary.access_key_id,
      temporary.secret_access_key, temporary.session_token))
    local line = ("'%s' \"two words\" $HOME"):format(tool)
    home:write("config", "[default]\nregion = us-east-1\n[profile tool]\ncredential_process = " .. line .. "\n"
      .. "[profile both]\ncredential_process = /nonexistent\n"
      .. ("[profile config]\naws_access_key_id = %s\naws_secret_access_key = %s\n"):format(keys.access_key_id,
        keys.secret_access_key)
      .. "[profile config-tool]\ncredential_process = " .. line
      .. "\naws_access_key_id = AKIDNEVERUSED\naws_secret_access_key = x\n"
      .. "[profile broken]\ncredential_process = /bin/false\n"
      .. "[profile loop]\nrole_arn = arn:aws:iam::111122223333:role/r\nsource_profile = loop\n"
      .. "[profile alone]\nrole_arn = arn:aws:iam::111122223333:role/r\n")
  end)
  teardown(function()
    home:close()
    simulator:stop()
  end)

  local function theirs(arguments, environment)
    local words = { "env -i PATH=/usr/bin:/bin HOME=" .. quote(home.path), "AWS_CA_BUNDLE=" .. quote(simulator.ca_file),
                    "AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1" }
    for name, value in pairs(environment) do words[#words + 1] = name .. "=" .. quote(value) end
    return authority.shell(table.concat(words, " ") .. " timeout 60 /usr/bin/aws --output json --endpoint-url "
      .. simulator.endpoint .. " " .. arguments .. " sts get-caller-identity")
  end

  -- What both find: the key that signed, told apart by its kind.
  local function both(profile, environment)
    environment.AWS_EC2_METADATA_DISABLED = environment.AWS_EC2_METADATA_DISABLED or "true"
    local before = simulator:control("record").count
    local ok, output = theirs(profile and "--profile " .. profile or "", environment)
    local who = ok and cjson.decode(output).Arn
    local found, err, aws = home:fetch({ profile = profile, environment = environment, region = "us-east-1" })
    local ours
    if found then
      local answer = aws.sts:get_caller_identity()
      ours = answer and answer.Arn
    end
    assert.is_true(simulator:control("record").count >= before)
    return who or nil, ours, found, err, output
  end

  it("are the same for each place they can be in", function()
    local variables = { AWS_ACCESS_KEY_ID = simulator.temporary.access_key_id,
      AWS_SECRET_ACCESS_KEY = simulator.temporary.secret_access_key, AWS_SESSION_TOKEN = simulator.temporary.session_token }
    local imds = { AWS_EC2_METADATA_DISABLED = "false", AWS_EC2_METADATA_SERVICE_ENDPOINT = simulator.http_endpoint .. "/",
                   AWS_SHARED_CREDENTIALS_FILE = "/nonexistent" }
    local container = { AWS_CONTAINER_CREDENTIALS_FULL_URI = simulator.http_endpoint .. "/container/x",
                        AWS_CONTAINER_AUTHORIZATION_TOKEN = "t", AWS_SHARED_CREDENTIALS_FILE = "/nonexistent" }
    for _, case in ipairs({
      { nil, {}, "AKIA", "credentials-file", "user/simulator" },
      { nil, variables, "ASIA", "environment", "role/temporary" },
      { "default", variables, "AKIA", "credentials-file", "user/simulator" },
      { "tool", {}, "ASIA", "process", "role/temporary" },
      { "config-tool", {}, "ASIA", "process", "role/temporary" },
      { "both", {}, "ASIA", "credentials-file", "role/temporary" },
      { "config", {}, "AKIA", "config-file", "user/simulator" },
      { nil, imds, "ASIA", "instance-metadata", "role/simulator%-instance" },
      { nil, container, "ASIA", "container", "role/simulator%-instance" },
    }) do
      local environment = {}
      for name, value in pairs(case[2]) do environment[name] = value end
      local who, ours, found, err, output = both(case[1], environment)
      assert.is_string(who, ("%s: %s"):format(case[4], output))
      assert.is_nil(err)
      assert.matches(case[5], who)
      assert.equal(who, ours, case[4])
      assert.equal(case[4], found.source)
      assert.equal(case[3], found.access_key_id:sub(1, 4))
    end
  end)

  it("are refused by both where they are broken", function()
    for _, case in ipairs({ { "half", "PartialCredentials" }, { "broken", "ProcessFailed" }, { "loop", "ProfileLoop" },
                            { "alone", "MalformedConfig" }, { "nobody", "ProfileNotFound" } }) do
      local who, ours, _, err, output = both(case[1], {})
      assert.is_nil(who, output)
      assert.is_nil(ours)
      assert.equal(case[2], err.code, tostring(err))
    end
  end)
end)
