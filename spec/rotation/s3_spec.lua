-- A journal and locks in S3: machines exclude each other, and any of them finishes what another began.
local bucket_module = require("certrotate.rotation.s3.bucket")
local command = require("spec.support.command")
local core = require("certrotate.core")
local files = require("spec.support.files")
local fleet_module = require("spec.support.fleet")
local journal_module = require("certrotate.rotation.journal")
local json = require("certrotate.json")
local lease_module = require("certrotate.rotation.s3.lease")
local location = require("certrotate.rotation.s3.location")
local lock = require("certrotate.rotation.lock")
local segments = require("certrotate.rotation.s3.segments")
local store = require("certrotate.rotation.store")

local JOURNAL = "s3://rot-journal/prod/www"

describe("a place in S3", function()
  it("is told from a file, and taken apart", function()
    assert.is_true(location.is("s3://b/k"))
    for _, path in ipairs({ "www.journal", "./s3://b/k", "S3", "s3:/b" }) do assert.is_false(location.is(path)) end
    assert.is_false(location.is(nil))
    local place = assert(location.parse("s3://ops@rot-journal/prod/www"))
    assert.same({ "ops", "rot-journal", "prod/www" }, { place.profile, place.bucket, place.key })
    assert.equal("s3://ops@rot-journal/prod/locks", location.locks(place))
    assert.equal("s3://rot-journal/locks", location.locks(assert(location.parse("s3://rot-journal/www"))))
  end)

  for _, text in ipairs({ "s3://", "s3://b", "s3://bucket", "s3://bucket/", "s3://Bucket/k", "s3://bucket/a//b",
                          "s3://bucket/../k",
                          "s3://bucket/k/", "s3://bucket/k?x", "s3://bucket/k k", "s3://@bucket/k", "s3://a b@bucket/k",
                          "s3://bu..cket/k", "s3://bucket/" .. ("k"):rep(901) }) do
    it("is refused: " .. text:sub(1, 40), function()
      local place, err = location.parse(text)
      assert.is_nil(place)
      assert.equal("MalformedLocation", err.code)
      assert.is_nil(err.message:find("\n"))
    end)
  end

  it("needs a session, and says so", function()
    local _, err = store.read(JOURNAL)
    assert.equal("NoSession", err.code)
  end)
end)

describe("a journal in S3", function()
  local fleet, aws, other

  local function control(...) return assert(fleet.simulator:control(...)) end
  local function fault(rule) control("faults", rule) end
  local function objects(bucket) return control("buckets").buckets[bucket or "rot-journal"].objects end
  local function keys(pattern)
    local list = {}
    for key in pairs(objects()) do
      if key:find(pattern) then list[#list + 1] = key end
    end
    table.sort(list)
    return list
  end

  local function fresh(options)
    fleet = fleet_module.start({ distributions = 8, users = 4, vip = 1, propagation = 0.1, seed = 91 }, options)
    control("buckets", { name = "rot-journal" })
    aws, other = assert(fleet:connect()), assert(fleet:connect())
  end
  after_each(function()
    lease_module.RENEW = 60
    if fleet then fleet:stop() end
    fleet = nil
  end)

  local function options(more)
    local all = { journal = JOURNAL, poll = 0.05 }
    for key, value in pairs(more or {}) do all[key] = value end
    return all
  end

  local function segment_store(session, path)
    local one = assert(segments.open(session or aws, path or JOURNAL))
    return one
  end

  it("carries a rotation, and says the same as a file would", function()
    fresh()
    local report = assert(fleet:plan(aws, "cheapest"):run(options()))
    assert.is_true(report.ok)
    assert.equal(JOURNAL, report.journal)
    assert.same({}, fleet:on(fleet.simulator.old_reference))
    local journal = assert(journal_module.load(JOURNAL, other))
    assert.is_false(journal.torn)
    assert.is_number(journal:state().ended)
    assert.equal("s3://rot-journal/prod/locks", journal:state().locks)
    assert.same({}, keys("/locks/"), "leases are given back")
    assert.same({ "prod/www/000001.jsonl" }, keys("/www/"), "finished, it is one object")
    -- Every write of the rotation has its intent in S3 before it, and no segment holds a secret.
    local seen, updates, put, deleted = {}, 0, {}, 0
    for _, entry in ipairs(fleet:record().entries) do
      if entry.operation == "UpdateDistribution" and entry.status == 200 then
        updates = updates + 1
        assert.is_true(#seen >= 1)
      end
      -- Nothing is deleted before all of it stands in the first segment.
      if entry.operation == "DeleteObject" and entry.resource:find("/www/", 1, true) then
        deleted = deleted + 1
        assert.is_truthy(put["/000001.jsonl"] == 2, "deleted before the first one was written anew")
      elseif entry.operation == "PutObject" and entry.status == 200 then
        local name = entry.resource:match("/www(/%d+%.jsonl)$")
        if name then put[name] = (put[name] or 0) + 1 end
      end
      if entry.operation == "PutObject" and entry.resource:find("/www/", 1, true) then seen[#seen + 1] = entry.n end
    end
    assert.equal(4, updates)
    assert.is_true(deleted > 8, deleted)
    for key, object in pairs(objects()) do
      for _, secret in ipairs({ fleet.simulator.secret_access_key, "PRIVATE KEY", fleet.simulator.access_key_id }) do
        assert.is_nil(object.body:find(secret, 1, true), key)
      end
    end
    local result = assert(other:retire({ journal = JOURNAL, keep = 0, patience = 5 }))
    assert.is_true(result.deleted)
  end)

  it("is not begun twice", function()
    fresh()
    local plan = fleet:plan(aws, "cheapest")
    assert(journal_module.create(JOURNAL, plan, aws:now(), aws)):close()
    local journal, err = journal_module.create(JOURNAL, plan, other:now(), other)
    assert.is_nil(journal)
    assert.equal("JournalExists", err.code)
    journal, err = journal_module.load("s3://rot-journal/prod/nothing", aws)
    assert.is_nil(journal)
    assert.equal("FileUnreadable", err.code)
    assert.is_nil(journal_module.open("s3://rot-journal/prod/nothing", aws))
    assert.same({}, keys("/nothing"))
  end)

  it("is read whole page by page, and past what the listing shows", function()
    fresh()
    control("settings", { s3_max_keys = 2 })
    local one = segment_store()
    assert.equal("", assert(one:read()))
    local text = {}
    for i = 1, 7 do
      text[i] = ('{"n":%d}\n'):format(i)
      assert(one:append(text[i]))
    end
    assert.equal(table.concat(text), assert(segment_store(other):read()))
    control("settings", { s3_list_lag = 1000 })
    assert.equal(table.concat(text), assert(segment_store(other):read()))
  end)

  it("with a hole in it is refused, and so is what is no segment", function()
    fresh()
    local one = segment_store()
    assert(one:read())
    for i = 1, 3 do assert(one:append(i .. "\n")) end
    assert(aws.s3:delete_object({ Bucket = "rot-journal", Key = "prod/www/000002.jsonl" }))
    local text, err = segment_store():read()
    assert.is_nil(text)
    assert.equal("MalformedJournal", err.code)
    for _, body in ipairs({ "", "x", "{}\n1\n", '{"certrotate_segment":1}\n1\n', '{"certrotate_segment":2}\ntorn',
                            "null\n\n" }) do
      assert(aws.s3:put_object({ Bucket = "rot-journal", Key = "prod/www/000002.jsonl", Body = body }))
      text, err = segment_store():read()
      assert.is_nil(text, body)
      assert.equal("MalformedJournal", err.code)
    end
  end)

  it("records what many tasks say at once, each of them once", function()
    fresh()
    local one = segment_store()
    assert(one:read())
    local numbers = {}
    for i = 1, 40 do numbers[i] = i end
    assert(aws.loop:each(numbers, 20, function(i) return one:append(i .. "\n") end))
    local seen, count = {}, 0
    for line in assert(segment_store(other):read()):gmatch("[^\n]+") do
      assert.is_nil(seen[line])
      seen[line], count = true, count + 1
    end
    assert.equal(40, count)
    assert.is_true(#keys("/www/") < 40, "what waits goes together")
  end)

  for _, kind in ipairs({ "reset", "truncate", "error", "empty" }) do
    it("knows its own segment again when the answer was lost: " .. kind, function()
      fresh()
      local one = segment_store()
      assert(one:read())
      fault({ kind = kind, operation = "PutObject", when = "after", count = 1 })
      assert(one:append("a\n"))
      assert(one:append("b\n"))
      assert.equal("a\nb\n", assert(segment_store(other):read()))
    end)
  end

  it("tries again where another conditional write was under way", function()
    fresh()
    local one = segment_store()
    assert(one:read())
    fault({ kind = "error", operation = "PutObject", code = "ConditionalRequestConflict", status = 409, count = 1 })
    assert(one:append("a\n"))
    assert.equal("a\n", assert(segment_store():read()))
  end)

  it("that somebody else goes on with is left to them, with a word on who it is", function()
    fresh()
    local one, two = segment_store(), segment_store(other)
    assert(one:read())
    assert(two:read())
    assert(one:append("a\n"))
    local ok, err = two:append("b\n")
    assert.is_nil(ok)
    assert.equal("JournalOvertaken", err.code)
    assert.is_truthy(err.message:find(bucket_module.name(assert(bucket_module.writer())), 1, true), err.message)
    assert.equal("a\n", assert(segment_store():read()))
  end)

  -- A chain of so many segments, and its text.
  local function chain(count, path)
    local one, text = segment_store(aws, path), {}
    assert(one:read())
    for i = 1, count do
      text[i] = ('{"n":%d}\n'):format(i)
      assert(one:append(text[i]))
    end
    return one, table.concat(text)
  end

  it("killed at any boundary of being made short says the same, and the next one makes it short", function()
    fresh({ distributions = 0 })
    command.write(fleet:path("shorten.lua"), [[
      local path, moment, number = arg[1], arg[2], tonumber(arg[3])
      local aws = assert(require("certrotate").connect({}))
      local segments = require("certrotate.rotation.s3.segments")
      segments.PARALLEL = 1                                 -- so that a boundary is one
      local one = assert(segments.open(aws, path))
      assert(one:read())
      local made, bucket = 0, one._bucket
      for _, name in ipairs({ "list", "get", "put", "delete" }) do
        local call = bucket[name]
        bucket[name] = function(self, ...)
          made = made + 1
          local mine = made == number
          if mine and moment == "before" then os.execute("kill -KILL $PPID") end
          local result, err = call(self, ...)
          if mine then os.execute("kill -KILL $PPID") end
          return result, err
        end
      end
      assert(one:compact())
      io.stdout:write("made ", made)]])
    local environment = {}
    for name, value in pairs(fleet:environment()) do environment[#environment + 1] = name .. "=" .. command.quote(value) end
    local function shorten(path, moment, number)
      return files.run(("%s %s %s %s %s %d"):format(table.concat(environment, " "), command.quote(command.interpreter()),
        fleet:path("shorten.lua"), path, moment, number))
    end
    local COUNT = 4
    local _, text = chain(COUNT, "s3://rot-journal/kill/whole")
    local code, said = shorten("s3://rot-journal/kill/whole", "never", 0)
    assert.equal(0, code, said)
    local boundaries, halves = tonumber(said:match("made (%d+)")), 0
    assert.equal(1 + COUNT + 1 + 1 + COUNT - 1, boundaries, "list, get and the one that is not there, put, delete")
    for number = 1, boundaries do
      for _, moment in ipairs({ "before", "after" }) do
        local name = ("kill/%s%d"):format(moment, number)
        local path = "s3://rot-journal/" .. name
        chain(COUNT, path)
        code, said = shorten(path, moment, number)
        assert.equal(137, code, said)
        local left = #keys("^" .. name .. "/")
        if left > 1 and left < COUNT then halves = halves + 1 end
        local next_one = segment_store(other, path)
        assert.equal(text, assert(next_one:read()), path)
        -- It goes on where it was, and what was left over is taken away.
        assert(next_one:append("more\n"))
        assert.equal(text .. "more\n", assert(segment_store(aws, path):read()), path)
        assert(next_one:compact())
        assert.same({ name .. "/000001.jsonl" }, keys("^" .. name .. "/"))
        assert.equal(text .. "more\n", assert(segment_store(aws, path):read()), path)
      end
    end
    assert.equal(4, halves, "killed between the deletions, too")
  end)

  it("made short while another reads it is read whole, and who was overtaken before is told so", function()
    fresh({ distributions = 0 })
    local one, text = chain(3)
    local late, reader = segment_store(other), segment_store(other)
    assert.equal(text, assert(late:read()))
    for i = 4, 6 do
      text = text .. i .. "\n"
      assert(one:append(i .. "\n"))
    end
    local fetch, done = reader._fetch, false
    function reader:_fetch(number)
      if number == 2 and not done then
        done = true
        assert(one:compact())
      end
      return fetch(self, number)
    end
    assert.equal(text, assert(reader:read()))
    assert.is_true(done)
    -- The number it would write is free again.
    assert.same({ "prod/www/000001.jsonl" }, keys("/www/"))
    local ok, err = late:append("lost\n")
    assert.is_nil(ok)
    assert.equal("JournalOvertaken", err.code)
    assert.equal(text, assert(segment_store():read()))
    assert(one:append("7\n"))
    assert.equal(text .. "7\n", assert(segment_store():read()))
    assert(one:compact())
    assert.same({ "prod/www/000001.jsonl" }, keys("/www/"), "what was too late is gone, too")
    -- Two that make it short at once do no harm.
    local two = segment_store(other)
    assert(two:read())
    assert(two:append("8\n"))
    ok, err = one:compact()
    assert.is_true(ok == nil and err.code == "JournalOvertaken" or ok == true, tostring(err))
    assert.equal(text .. "7\n8\n", assert(segment_store():read()))
  end)

  it("becomes short while it goes on, whoever writes, and with answers lost", function()
    fresh({ distributions = 0 })
    local long = segments.LONG
    finally(function() segments.LONG = long end)
    segments.LONG = 5
    local one = segment_store()
    assert(one:read())
    for i = 1, 12 do
      if i == 4 or i == 6 then fault({ kind = "reset", operation = "PutObject", when = "after", count = 1 }) end
      if i == 7 then fault({ kind = "error", operation = "DeleteObject", status = 403, code = "AccessDenied", count = 1 }) end
      assert(one:append(i .. "\n"))
    end
    local text = {}
    for i = 1, 12 do text[i] = i .. "\n" end
    assert.equal(table.concat(text), assert(segment_store(other):read()))
    assert.is_true(#keys("/www/") < 8, #keys("/www/"))
  end)

  for name, rule in pairs({
    ["that fails"] = { kind = "error", status = 500 },
    ["that is forbidden"] = { kind = "error", status = 403, code = "AccessDenied", message = "Access Denied" },
    ["that is no S3"] = { kind = "html", status = 404 },
    ["that never ends its answer"] = { kind = "endless" },
    ["that resets"] = { kind = "reset" },
  }) do
    it("in an S3 " .. name .. " stops in one line before anything is changed", function()
      fresh()
      local plan = fleet:plan(aws, "cheapest")
      rule.service = "s3"
      fault(rule)
      local report, err = plan:run(options())
      assert.is_nil(report)
      assert.is_nil(tostring(err):find("\n"))
      assert.is_truthy(err.message:find("^cannot "), err.message)
      assert.equal(4, #fleet:on(fleet.simulator.old_reference))
      assert.is_nil(fleet:record().effects.acm_imports)
    end)
  end

  it("says which region its bucket is in", function()
    fresh()
    control("buckets", { name = "far-away", region = "eu-west-1" })
    for _, way in ipairs({ "redirect", "malformed" }) do
      control("settings", { s3_wrong_region = way })
      local text, err = store.read("s3://far-away/www", aws)
      assert.is_nil(text)
      assert.is_truthy(err.message:find("eu-west-1", 1, true) and err.message:find("--region", 1, true), err.message)
    end
    local near = assert(fleet:connect({ region = "eu-west-1" }))
    local _, err = store.read("s3://far-away/www", near)
    assert.is_truthy(err.message:find("there is none", 1, true), err.message)
    near:close()
  end)

  it("may be in another account's bucket, reached by a profile", function()
    fresh()
    local home = fleet:path("home")
    assert(core.make_directory(home .. "/.aws"))
    assert(core.write_file(home .. "/.aws/config", "[profile ops]\nregion = eu-west-1\n"))
    assert(core.write_file(home .. "/.aws/credentials",
      "[ops]\naws_access_key_id = AKIAOPSOPSOPSOPSOPS1\naws_secret_access_key = opssecret\n"))
    control("credentials", { access_key_id = "AKIAOPSOPSOPSOPSOPS1", secret_access_key = "opssecret",
                             account_id = "444455556666" })
    control("buckets?account=444455556666", { name = "ops-bucket", region = "eu-west-1" })
    local mine = assert(fleet:connect({ home = home }))
    local path = "s3://ops@ops-bucket/www"
    local plan = fleet:plan(mine, "cheapest")
    local _, err = plan:run(options({ journal = "s3://ops-bucket/www" }))
    assert.is_truthy(err.message:find("eu-west-1", 1, true), "the session's own credentials and region: " .. err.message)
    assert.is_true(assert(plan:run(options({ journal = path }))).ok)
    local found = 0
    for key, object in pairs(objects("ops-bucket")) do
      found = found + 1
      assert.equal("444455556666", object.by, key)
    end
    assert.equal(1, found)
    local _, unknown = store.read("s3://nobody@ops-bucket/www", mine)
    assert.is_truthy(unknown.message:find("nobody", 1, true), unknown.message)
    mine:close()
  end)

  it("is shared by two runs at once: one works, the other is told who", function()
    fresh()
    local plan = fleet:plan(aws, "cheapest")
    local refused
    local report = assert(plan:run(options({ on_event = function(event)
      if event.type ~= "start" or refused then return end
      local second = fleet:plan(other, "cheapest")
      local _, err = second:run(options({ journal = "s3://rot-journal/prod/second" }))
      refused = err
    end })))
    assert.is_true(report.ok)
    assert.is_nil(report.event_problem)
    assert.equal("Locked", refused.code)
    assert.equal("policy", refused.kind)
    assert.is_truthy(refused.message:find("process", 1, true), refused.message)
    assert.same({}, keys("/second/"))
    assert.equal(1, fleet:record().effects.acm_imports)
  end)

  it("whose lease is lost in the middle stops before its next change; another machine finishes it", function()
    fresh()
    local plan = fleet:plan(aws, "careful")
    local at
    local report, err = plan:run(options({ on_event = function(event)
      if event.type == "wave" and event.wave == 2 and not at then
        at = #fleet:on(fleet.simulator.old_reference)
        -- Another machine takes the lease over, and the clocks of this one say that it is old.
        for _, key in ipairs(keys("/locks/")) do
          local lease = json.decode(objects()[key].body)
          lease.writer = { id = ("0"):rep(32), machine = "blade7", process = 12, user = "ops" }
          assert(other.s3:put_object({ Bucket = "rot-journal", Key = key, Body = json.encode(lease) }))
        end
        lease_module.RENEW = 0
      end
    end }))
    lease_module.RENEW = 60
    assert.is_nil(report)
    assert.equal("LeaseLost", err.code, tostring(err))
    assert.is_truthy(err.message:find("ops@blade7, process 12", 1, true), err.message)
    assert.equal(JOURNAL, err.journal)
    assert.equal(at, #fleet:on(fleet.simulator.old_reference))
    assert.is_true(at > 0 and at < 4)
    local _, held = other:resume(options())
    assert.equal("Locked", held.code)
    control("clock", { advance = lease_module.TTL + lease_module.GRACE + 2 })
    report = assert(other:resume(options()))
    assert.is_true(report.ok)
    assert.same({}, fleet:on(fleet.simulator.old_reference))
  end)

  it("interrupted gives its leases back at once, so that another machine goes on without waiting", function()
    fresh()
    local plan = fleet:plan(aws, "cheapest", { policy_options = { canary = 1, soak = 60 } })
    local report, err = plan:run(options({ on_event = function(event)
      if event.type == "soak" then aws.loop:interrupt("test") end
    end }))
    assert.is_nil(report)
    assert.equal("Interrupted", err.code)
    assert.same({}, keys("/locks/"))
    assert.equal(3, #fleet:on(fleet.simulator.old_reference))
    report = assert(other:rollback(options()))
    assert.is_true(report.ok)
    assert.equal(4, #fleet:on(fleet.simulator.old_reference))
    assert.same({}, keys("/locks/"))
  end)

  it("is kept by a reconcile, finished by its next round, and read when the old certificate is retired", function()
    fresh()
    local new = fleet.simulator.files
    local config = { state = fleet:path("reconcile"), journal = "s3://rot-journal/prod/rounds/", dedicated_ip_quota = 4,
      verify = false, policy = "careful", keep = 0, deploy_time = "last", certificates = { {
        name = "www", certificate = new.new_certificate, private_key = new.new_key, chain = new.new_chain } } }
    local stopped, err = aws:reconcile({ config = config, poll = 0.05, on_event = function(event)
      if event.type == "swap" then aws.loop:interrupt("test") end
    end })
    assert.is_nil(stopped)
    assert.equal("Interrupted", err.code)
    assert.is_true(#keys("^prod/rounds/www%-%x+%-%x+%.journal/%d+%.jsonl$") > 3)
    assert.same({}, keys("/locks/"))
    local result = assert(other:reconcile({ config = config, poll = 0.05 }))
    assert.same({}, result.failures)
    assert.same({ "resume", "retire" }, { result.actions[1].action, result.actions[2].action })
    assert.same({}, fleet:on(fleet.simulator.old_reference))
    assert.same({ 1, 1 }, { fleet:record().effects.acm_imports, fleet:record().effects.acm_deletes })
    assert.same({}, assert(other:reconcile({ config = config, poll = 0.05 })).actions)
  end)

  it("keeps its leases while it waits for a slow deployment", function()
    fresh({ propagation = 3, jitter = 0.01 })
    lease_module.RENEW = 0.5
    local renewals = 0
    local report = assert(fleet:plan(aws, "cheapest"):run(options({ poll = 4 })))
    assert.is_true(report.ok)
    for _, entry in ipairs(fleet:record().entries) do
      if entry.operation == "PutObject" and entry.resource:find("/locks/", 1, true) and entry.status == 200 then
        renewals = renewals + 1
      end
    end
    assert.is_true(renewals > 10, "only " .. renewals)
  end)

  it("killed at any moment is finished on another machine once the lease is over", function()
    fresh({ distributions = 10, users = 6, propagation = 0.3 })
    local argv = fleet:identity_flags({ "apply", "--journal", JOURNAL, "--yes", "--no-verify", "--policy", "careful", "--poll",
                                        "100ms" })
    local process = command.start(argv, { environment = fleet:environment({ CERTROTATE_STATE = fleet:path("first") }) })
    local client = assert(core.client())
    local until_ = core.monotonic() + 60
    while #fleet:on(fleet.simulator.old_reference) > 3 and core.monotonic() < until_ do client:wait(0.01) end
    os.execute("kill -KILL " .. process.pid .. " 2>/dev/null")
    assert.is_number(process.wait(30))
    process.close()
    client:close()
    assert.is_true(#fleet:on(fleet.simulator.old_reference) > 0, "killed too late to show anything")
    local second = { CERTROTATE_STATE = fleet:path("second") }
    local resume = fleet:flags({ "resume", JOURNAL, "--no-verify", "--poll", "100ms" })
    local code, _, message = fleet:run(resume, { environment = second, timeout = 120 })
    assert.equal(4, code, message)
    assert.is_truthy(message:find("another run is at work", 1, true), message)
    control("clock", { advance = lease_module.TTL + lease_module.GRACE + 2 })
    local output
    code, output, message = fleet:run(fleet:flags({ "status", JOURNAL }), { environment = second, timeout = 120 })
    assert.equal(0, code, message)
    assert.is_truthy(output:find("holders are being changed", 1, true), output)
    assert.is_truthy(output:find("certrotate resume " .. JOURNAL, 1, true), output)
    code, _, message = fleet:run(resume, { environment = second, timeout = 120 })
    assert.equal(0, code, message)
    assert.same({}, fleet:on(fleet.simulator.old_reference))
    assert.equal(1, fleet:record().effects.acm_imports)
    assert.same({}, keys("/locks/"))
  end)
end)

describe("a lease", function()
  local fleet, aws, other
  local LOCKS = "s3://rot-journal/locks"

  before_each(function()
    fleet = fleet_module.start({ distributions = 0 })
    assert(fleet.simulator:control("buckets", { name = "rot-journal" }))
    aws, other = assert(fleet:connect()), assert(fleet:connect())
  end)
  after_each(function()
    lease_module.RENEW, lease_module.LIMIT = 60, 200
    aws:close()
    other:close()
    fleet:stop()
  end)

  local function take(session, reference) return lock.open("endpoint", { reference or "arn:x" }, LOCKS, session) end
  local function pass(seconds) assert(fleet.simulator:control("clock", { advance = seconds })) end

  it("excludes others until it is given back", function()
    local mine = assert(take(aws))
    local none, err = take(other)
    assert.is_nil(none)
    assert.equal("Locked", err.code)
    assert(take(other, "arn:y")):close()
    assert.is_true(mine:check())
    mine:close()
    assert(take(other)):close()
  end)

  it("is all or none", function()
    local mine = assert(take(aws, "arn:b"))
    local none, err = lock.open("endpoint", { "arn:a", "arn:b" }, LOCKS, other)
    assert.is_nil(none)
    assert.equal("Locked", err.code)
    assert(take(aws, "arn:a")):close()
    mine:close()
  end)

  it("of a dead run is taken over by S3's clock, not by a machine's", function()
    assert(take(aws))
    -- A machine whose own clock is an hour ahead takes nothing over.
    local fast = assert(fleet:connect({ clock = { now = function() return core.now() + 3600 end, monotonic = core.monotonic } }))
    local none, err = take(fast)
    assert.is_nil(none)
    assert.equal("Locked", err.code)
    fast:close()
    pass(lease_module.TTL + lease_module.GRACE - 5)
    assert.is_nil((take(other)))
    pass(10)
    assert(take(other)):close()
  end)

  it("of a dead run is taken over by one of many only", function()
    assert(take(aws))
    pass(lease_module.TTL + lease_module.GRACE + 5)
    local tasks, winners = {}, 0
    for i = 1, 6 do tasks[i] = other:task(function() return take(other) end) end
    for i = 1, 6 do
      local locks, err = tasks[i]:wait()
      if locks then winners = winners + 1 else assert.equal("Locked", err.code, tostring(err)) end
    end
    assert.equal(1, winners)
  end)

  it("is renewed, and its holder notices when it is somebody else's", function()
    local mine = assert(take(aws))
    pass(lease_module.TTL)
    lease_module.RENEW = 0
    assert.is_true(mine:check())
    pass(lease_module.TTL)
    assert.is_nil((take(other)), "it was renewed in between")
    pass(lease_module.GRACE + 5)
    local taken = assert(take(other))
    local ok, err = mine:check()
    lease_module.RENEW = 60
    assert.is_nil(ok)
    assert.equal("LeaseLost", err.code)
    mine:close()
    assert.is_true(taken:check())
    assert.is_nil((take(aws)), "whoever lost it does not give the other's back")
    taken:close()
  end)

  for _, operation in ipairs({ "taken", "renewed" }) do
    it(operation .. " with the answer lost is known again", function()
      local mine
      if operation == "renewed" then mine = assert(take(aws)) end
      assert(fleet.simulator:control("faults", { kind = "reset", operation = "PutObject", when = "after", count = 1 }))
      mine = mine or assert(take(aws))
      lease_module.RENEW = 0
      local ok, err = mine:check()
      lease_module.RENEW = 60
      assert.is_true(ok, tostring(err))
      assert.is_nil((take(other)))
      mine:close()
      assert(take(other)):close()
    end)
  end

  it("that cannot be renewed holds for a while, and then nothing new is begun", function()
    local mine = assert(take(aws))
    assert(fleet.simulator:control("faults", { kind = "error", status = 403, code = "AccessDenied", operation = "PutObject" }))
    lease_module.RENEW = 0
    assert.is_true(mine:check())
    lease_module.LIMIT = 0
    local ok, err = mine:check()
    lease_module.RENEW, lease_module.LIMIT = 60, 200
    assert.is_nil(ok)
    assert.equal("AccessDenied", err.code)
    assert.is_truthy(err.message:find("cannot renew the lease", 1, true), err.message)
  end)

  it("that is none is left alone", function()
    assert(take(aws)):close()
    local mine = assert(take(aws))
    local key
    for name in pairs(fleet.simulator:control("buckets").buckets["rot-journal"].objects) do key = name end
    for _, body in ipairs({ "", "x", "[]", "{}", '{"certrotate_lease":1}', '{"certrotate_lease":1,"writer":3}' }) do
      assert(other.s3:put_object({ Bucket = "rot-journal", Key = key, Body = body }))
      local none, err = take(other)
      assert.is_nil(none)
      assert.equal("MalformedLease", err.code, body)
    end
    mine:close()
    assert.is_truthy(fleet.simulator:control("buckets").buckets["rot-journal"].objects[key])
  end)
end)
