--- A job for certrotate.nginx's schedule: rotates there and back, one rotation after the other, while the dictionary's
-- "go" names a way of waiting ("paced" or "threaded").
local certrotate = require("certrotate")

---@param fleet table       endpoint, edge, keys and files of a simulator
---@param dict table        ngx.shared.X
return function(fleet, dict)
  local turn = 0

  local function rotate(context, way)
    local aws = certrotate.must(certrotate.connect({
      endpoint_url = fleet.endpoint, ca_file = fleet.ca_file, edge = fleet.edge, poll = 0.25, environment = {},
      access_key_id = fleet.access_key_id, secret_access_key = fleet.secret_access_key, region = "us-east-1",
      thread_pool = way == "threaded" and "certrotate" or nil,
    }))
    context.watch(aws)
    context.inventory(certrotate.must(aws:inventory()))
    local from, to = fleet.old, fleet.new
    if turn % 2 == 1 then from, to = to, from end
    turn = turn + 1
    local plan = certrotate.must(aws:plan({
      replace = from.reference, with = certrotate.must(certrotate.identity(to.files)), trust = fleet.trust_file,
      files = to.files, dedicated_ip_quota = 4, policy = certrotate.policy.cheapest({ canary = 1, soak = 0 }),
    }))
    local report = certrotate.must(plan:run({
      journal = ("%s/%d.journal"):format(fleet.directory, turn), state_directory = fleet.directory, poll = 0.25,
      verify_within = 30, on_event = context.on_event,
    }))
    assert(report.changed == fleet.distributions, "not every holder was changed")
    to.reference = report.reference
    dict:incr("rotations", 1, 0)
    -- Waiting in a thread is what was asked for: pacing, after a refused thread, would be another measurement.
    if way == "threaded" then assert(aws.loop.driver.thread_pool, "no thread waited") end
    aws:close()
  end

  return function(context)
    local count = 0
    while dict:get("go") do
      rotate(context, dict:get("go"))
      count = count + 1
    end
    return ("%d rotations"):format(count)
  end
end
