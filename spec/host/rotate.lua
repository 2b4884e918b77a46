--- One whole rotation against the simulator, for whichever host runs it. `config` is plain data (see rotation_spec.lua);
-- so is what comes back.
return function(config)
  local certrotate = require("certrotate")
  local aws, err = certrotate.connect({
    endpoint_url = config.endpoint, ca_file = config.ca_file, edge = config.edge, poll = 0.1, environment = {},
    home = config.directory, access_key_id = config.access_key_id, secret_access_key = config.secret_access_key,
  })
  if not aws then return { error = "connect: " .. tostring(err) } end
  local identity
  identity, err = certrotate.identity({ certificate = config.certificate, private_key = config.private_key,
                                        chain = config.chain })
  if not identity then return { error = "identity: " .. tostring(err) } end
  local events, out = {}, { driver = aws.loop.driver.name }
  local function rotate()
    local plan, problem = aws:plan({ replace = config.replace, with = identity, trust = config.trust,
                                     policy = certrotate.policy.cheapest({ canary = 1, soak = 0.2 }) })
    if not plan then return { error = "plan: " .. tostring(problem) } end
    local report
    report, problem = plan:run({
      journal = config.journal, poll = 0.1, verify_within = 10, state_directory = config.directory,
      on_event = function(event) events[event.type] = (events[event.type] or 0) + 1 end,
    })
    if not report then return { error = "run: " .. tostring(problem) } end
    return { ok = report.ok, changed = report.changed, reference = report.reference }
  end
  local result
  result, err = aws:task(rotate):wait()
  for key, value in pairs(result or { error = tostring(err) .. "\n" .. tostring(err and err.traceback) }) do
    out[key] = value
  end
  out.events = events
  aws:close()
  return out
end
