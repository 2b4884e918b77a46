--- A job for certrotate.nginx's schedule: rotates once as `path` (JSON) says, goes on with what an earlier worker began.
return function(path)
  return function(context)
    local certrotate = require("certrotate")
    local file = assert(io.open(path, "rb"))
    local config = assert(certrotate.json.decode(file:read("*a")))
    file:close()
    local aws = assert(certrotate.connect({
      endpoint_url = config.endpoint, ca_file = config.ca_file, edge = config.edge, poll = 0.1, environment = {},
      home = config.directory, access_key_id = config.access_key_id, secret_access_key = config.secret_access_key,
    }))
    context.watch(aws)
    local run = { journal = config.journal, poll = 0.1, verify_within = 30, state_directory = config.directory,
                  on_event = context.on_event }
    local function finish(report, err)
      if report then context.inventory(assert(aws:inventory())) end
      aws:close()
      if not report then return nil, err end
      return ("%d holders changed"):format(report.changed)
    end
    context.inventory(assert(aws:inventory()))
    local journal = io.open(config.journal, "rb")
    if journal then
      journal:close()
      return finish(aws:resume(run))
    end
    local identity = assert(certrotate.identity({ certificate = config.certificate, private_key = config.private_key,
                                                  chain = config.chain }))
    local plan = assert(aws:plan({ replace = config.replace, with = identity, trust = config.trust,
      files = { certificate = config.certificate, private_key = config.private_key, chain = config.chain },
      policy = certrotate.policy.cheapest({ canary = 1, soak = config.soak }) }))
    return finish(plan:run(run))
  end
end
