--- Viewers of a fleet: a process of its own that opens TLS connections at a steady rate and looks at what it is
-- served. Open loop: a slow or refused handshake does not slow the next ones down, as with real viewers.
--
--   lua viewers.lua SETTINGS.json
--
-- Settings: edge "HOST:PORT", trust (PEM file), names (server names), fingerprints (acceptable ones), rate (a second),
-- result (file the counts are written to), ready (file made after the first good round), stop (file that ends it),
-- limit (seconds after which it ends in any case).
local M = {}

---@class certrotate.demo.Counts
---@field made integer
---@field failed integer
---@field by_fingerprint table<string, integer>
---@field slowest number     seconds
---@field failures string[]  the first few, for people

local function exists(path)
  local file = io.open(path, "r")
  if file then file:close() end
  return file ~= nil
end

local function write(path, text)
  local ok, err = require("certrotate.core").write_file(path, text)
  if not ok then error(tostring(err), 0) end
end

-- A handshake counts only when a viewer would have been served: chain and name verify, and the certificate is
-- one of those the rotation is about.
local function judge(counts, name, acceptable, result, err)
  if result and result.trusted and acceptable[result.fingerprint] then
    counts.made = counts.made + 1
    counts.by_fingerprint[result.fingerprint] = (counts.by_fingerprint[result.fingerprint] or 0) + 1
    counts.slowest = math.max(counts.slowest, result.elapsed or 0)
    return
  end
  counts.failed = counts.failed + 1
  if #counts.failures < 5 then
    counts.failures[#counts.failures + 1] = ("%s: %s"):format(name, err and tostring(err)
      or not result.trusted and result.trust_message or "unexpected certificate " .. result.fingerprint:sub(1, 16))
  end
end

--- Runs until told to stop.
---@param settings table
---@return certrotate.demo.Counts
function M.run(settings)
  local core = require("certrotate.core")
  local client, problem = core.client({ ca_file = settings.trust, max_connections = 200, max_host_connections = 200 })
  if not client then error(tostring(problem), 0) end
  local host, port = settings.edge:match("^(.-):(%d+)$")
  local acceptable = {}
  for _, fingerprint in ipairs(settings.fingerprints) do acceptable[fingerprint] = true end
  local counts = { made = 0, failed = 0, by_fingerprint = {}, slowest = 0, failures = {} }
  local names, pending, sent = settings.names, {}, 0
  local began, announced, stopping = core.monotonic(), false, false
  repeat
    local now = core.monotonic()
    stopping = stopping or exists(settings.stop) or now - began > settings.limit
    while not stopping and sent < (now - began) * settings.rate do
      local name = names[sent % #names + 1]
      sent = sent + 1
      local id, err = client:submit({ step = "verify", params = { server_name = name, host = host,
                                                                  port = tonumber(port), timeout = 10 } })
      if id then pending[id] = name else judge(counts, name, acceptable, nil, err) end
    end
    client:wait(math.min(1 / settings.rate, 0.05))
    while true do
      local id, result, err = client:take()
      if not id then break end
      judge(counts, pending[id], acceptable, result, err)
      pending[id] = nil
    end
    if not announced and counts.made + counts.failed >= #names then
      announced = true
      write(settings.ready, "ready\n")
    end
  until stopping and next(pending) == nil
  client:close()
  return counts
end

--- The process: settings from a file, counts to a file.
---@param path string
function M.main(path)
  local json = require("certrotate.json")
  local file = assert(io.open(path, "r"))
  local settings = assert(json.decode(file:read("*a")))
  file:close()
  local counts = M.run(settings)
  counts.failures = json.array(counts.failures)
  write(settings.result, json.encode(counts) .. "\n")
end

return M
