-- The simulator's S3 as AWS's own client and ours see it: conditional writes, pages, regions, owners, signatures.
local authority = require("certrotate.simulator.authority")
local core = require("certrotate.core")
local fleet_module = require("spec.support.fleet")

local quote = authority.quote

describe("the simulator's S3", function()
  local fleet, aws

  setup(function()
    fleet = fleet_module.start({ distributions = 0 })
    assert(fleet.simulator:control("buckets", { name = "rot-journal" }))
    aws = assert(fleet:connect())
  end)
  teardown(function()
    aws:close()
    fleet:stop()
  end)

  local function put(key, body, condition)
    local params = { Bucket = "rot-journal", Key = key, Body = body }
    for name, value in pairs(condition or {}) do params[name] = value end
    return aws.s3:put_object(params)
  end

  local function code_of(result, err)
    assert.is_nil(result)
    return ("%s %d"):format(err.code, err.status)
  end

  it("writes under conditions", function()
    local first = assert(put("a", "1", { IfNoneMatch = "*" }))
    assert.equal("PreconditionFailed 412", code_of(put("a", "2", { IfNoneMatch = "*" })))
    assert.equal("PreconditionFailed 412", code_of(put("a", "2", { IfMatch = '"other"' })))
    assert.equal("NoSuchKey 404", code_of(put("none", "2", { IfMatch = first.ETag })))
    local second = assert(put("a", "2", { IfMatch = first.ETag }))
    assert.are_not.equal(first.ETag, second.ETag)
    assert.equal("2", assert(aws.s3:get_object({ Bucket = "rot-journal", Key = "a" })).Body)
    -- Both spellings of AWS's own examples.
    local bare = second.ETag:gsub('"', "")
    assert(put("a", "3", { IfMatch = bare }))
    assert.equal("PreconditionFailed 412", code_of(aws.s3:delete_object({ Bucket = "rot-journal", Key = "a", IfMatch = bare })))
    assert(aws.s3:delete_object({ Bucket = "rot-journal", Key = "a" }))
    assert(aws.s3:delete_object({ Bucket = "rot-journal", Key = "a" }), "what is gone is gone")
    assert.equal("NoSuchKey 404", code_of(aws.s3:get_object({ Bucket = "rot-journal", Key = "a" })))
    assert.equal("NotImplemented 501", code_of(put("a", "1", { IfNoneMatch = first.ETag })))
  end)

  it("lists by pages, in the order of the keys", function()
    assert(fleet.simulator:control("settings", { s3_max_keys = 3 }))
    for _, key in ipairs({ "l/b", "l/a", "l/c d+e", "l/%41", "m", "l/z", "l/y/1" }) do assert(put(key, key)) end
    local keys = {}
    for _, object in ipairs(assert(aws.s3:all_objects({ Bucket = "rot-journal", Prefix = "l/" }))) do
      keys[#keys + 1] = object.Key
      assert.equal(#object.Key, object.Size)
    end
    assert.same({ "l/%41", "l/a", "l/b", "l/c d+e", "l/y/1", "l/z" }, keys)
    assert.same({}, assert(aws.s3:all_objects({ Bucket = "rot-journal", Prefix = "nothing" })))
  end)

  it("lets nobody in but its owner and whom the owner allows", function()
    local other = { access_key_id = "AKIAOTHEROTHEROTHER1", secret_access_key = "secret" }
    assert(fleet.simulator:control("credentials", { access_key_id = other.access_key_id, secret_access_key = "secret",
                                                     account_id = "444455556666" }))
    assert(fleet.simulator:control("buckets", { name = "shared", allow = { "444455556666" } }))
    local theirs = assert(fleet:connect(other))
    assert.equal("AccessDenied 403", code_of(theirs.s3:get_object({ Bucket = "rot-journal", Key = "m" })))
    assert(theirs.s3:put_object({ Bucket = "shared", Key = "k", Body = "x" }))
    assert.equal("AccessDenied 403", code_of(theirs.s3:get_object({ Bucket = "shared", Key = "k",
                                                                     ExpectedBucketOwner = "444455556666" })))
    theirs:close()
  end)

  it("checks the signature, the hash of the body, and the clock within 15 minutes", function()
    local wrong = assert(fleet:connect({ secret_access_key = "wrong" }))
    assert.equal("SignatureDoesNotMatch 403", code_of(wrong.s3:get_object({ Bucket = "rot-journal", Key = "m" })))
    wrong:close()
    local unknown = assert(fleet:connect({ access_key_id = "AKIAUNKNOWNUNKNOWN12" }))
    assert.equal("InvalidAccessKeyId 403", code_of(unknown.s3:get_object({ Bucket = "rot-journal", Key = "m" })))
    unknown:close()
    local simulator = fleet.simulator
    local function raw(offset, change)
      local request = { method = "PUT", url = simulator.endpoint .. "/rot-journal/raw", service = "s3", region = "us-east-1",
        access_key_id = simulator.access_key_id, secret_access_key = simulator.secret_access_key, body = "body",
        time = math.floor(simulator:control("clock").wall) + offset, normalize_path = false, double_encode = false,
        sign_body = true }
      local headers = {}
      for name, value in pairs(assert(core.sign(request))) do
        if type(name) == "number" then name, value = value[1], value[2] end
        headers[name] = value
      end
      local body = change and change(headers) or "body"
      local answer = assert(aws.loop:await({ http = { url = request.url, method = "PUT", headers = headers, body = body } }))
      return ("%d %s"):format(answer.status, answer.body:match("<Code>(.-)</Code>") or "")
    end
    assert.equal("200 ", raw(0))
    assert.equal("200 ", raw(-800))
    assert.equal("403 RequestTimeTooSkewed", raw(-1000))
    assert.equal("403 RequestTimeTooSkewed", raw(1000))
    assert.equal("400 XAmzContentSHA256Mismatch", raw(0, function() return "other" end))
    assert.equal("400 InvalidRequest", raw(0, function(headers)
      for name in pairs(headers) do
        if name:lower() == "x-amz-content-sha256" then headers[name] = nil end
      end
    end))
  end)

  it("is used by AWS's own clients", function()
    for _, path in ipairs({ "/usr/bin/aws", "/usr/lib/python3/dist-packages/boto3/__init__.py" }) do
      local file = io.open(path, "rb")
      if not file then
        pending("needs awscli and python3-boto3")
        return
      end
      file:close()
    end
    local environment = fleet.simulator:environment()
    environment.AWS_CONFIG_FILE, environment.AWS_SHARED_CREDENTIALS_FILE, environment.AWS_PAGER = "/dev/null", "/dev/null", ""
    local words = {}
    for name, value in pairs(environment) do words[#words + 1] = name .. "=" .. quote(value) end
    local function cli(arguments)
      return authority.shell("env " .. table.concat(words, " ") .. " /usr/bin/aws --output json --endpoint-url "
        .. fleet.simulator.endpoint .. " s3api " .. arguments)
    end
    local source, target = fleet:path("source"), fleet:path("target")
    local bytes = {}
    for i = 0, 255 do bytes[i + 1] = string.char(i) end
    bytes = table.concat(bytes):rep(20)
    assert(core.write_file(source, bytes))
    for _, call in ipairs({ "create-bucket --bucket cli-bucket", "head-bucket --bucket cli-bucket",
                            "put-object --bucket cli-bucket --key 'x/y z+' --body " .. quote(source),
                            "head-object --bucket cli-bucket --key 'x/y z+'",
                            "get-object --bucket cli-bucket --key 'x/y z+' " .. quote(target) }) do
      local ok, output = cli(call)
      assert.is_true(ok, call .. ": " .. output)
    end
    assert.equal(bytes, authority.read(target))
    assert.equal(bytes, assert(aws.s3:get_object({ Bucket = "cli-bucket", Key = "x/y z+" })).Body)
    local ok, output = cli("list-objects-v2 --bucket cli-bucket --prefix x/")
    assert.is_true(ok and output:find('"x/y z+"', 1, true) ~= nil, output)
    ok, output = cli("get-object --bucket cli-bucket --key none " .. quote(target))
    assert.is_true(not ok and output:find("(NoSuchKey)", 1, true) ~= nil, output)
    -- Debian's clients are older than conditional writes: the header is put in before signing.
    local script = fleet:path("conditional.py")
    assert(core.write_file(script, [[
import boto3, botocore, sys
s3 = boto3.client("s3", endpoint_url=sys.argv[1])
s3.meta.events.register("before-sign.s3.PutObject", lambda request, **_: request.headers.add_header("If-None-Match", "*"))
codes = []
for _ in range(2):
    try:
        s3.put_object(Bucket="cli-bucket", Key="once", Body=b"x")
        codes.append("OK")
    except botocore.exceptions.ClientError as error:
        codes.append(error.response["Error"]["Code"])
s3.delete_object(Bucket="cli-bucket", Key="once")
print(" ".join(codes))
]]))
    ok, output = authority.shell("env " .. table.concat(words, " ") .. " /usr/bin/python3 -W ignore " .. quote(script) .. " "
      .. fleet.simulator.endpoint)
    assert.is_true(ok, output)
    assert.equal("OK PreconditionFailed", (output:gsub("%s+$", "")))
    ok, output = cli("delete-object --bucket cli-bucket --key 'x/y z+'")
    assert.is_true(ok, output)
    assert.same({}, assert(aws.s3:all_objects({ Bucket = "cli-bucket" })))
  end)
end)
