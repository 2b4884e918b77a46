--- A home folder with an .aws in it, and sessions that see it and nothing else of this machine.
--
--   local home = aws_home.new(simulator)      -- simulator: optional, where the sessions' endpoints are
--   home:write("config", "[profile a]\n…")
--   local aws = home:connect { profile = "a" }
--   home:close()                              -- sessions too
local command = require("spec.support.command")

local M = {}

local Home = {}
Home.__index = Home

function M.new(simulator)
  local self = setmetatable({ path = command.directory(), simulator = simulator, sessions = {} }, Home)
  os.execute("mkdir -p -m 700 " .. command.quote(self.path .. "/.aws/sso/cache"))
  return self
end

--- Path of a file in .aws; credentials are written as people should have them.
function Home:write(name, text)
  local path = self.path .. "/.aws/" .. name
  command.write(path, text)
  os.execute("chmod 600 " .. command.quote(path))
  return path
end

--- [default] keys of the simulator in the credentials file, and whatever else.
function Home:write_keys(more)
  return self:write("credentials", ("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n%s"):format(
    self.simulator.access_key_id, self.simulator.secret_access_key, more or ""))
end

--- options as connect's; `environment` is all there is of one.
function Home:connect(options)
  local own = { home = self.path, environment = { AWS_EC2_METADATA_DISABLED = "true" }, driver = "block" }
  if self.simulator then
    own.endpoint_url = options and options.http and self.simulator.http_endpoint or self.simulator.endpoint
    own.ca_file = self.simulator.ca_file
  end
  for name, value in pairs(options or {}) do
    if name ~= "http" then own[name] = value end
  end
  local aws, err = require("certrotate").connect(own)
  self.sessions[#self.sessions + 1] = aws
  return aws, err
end

--- Connects, and what fetching the credentials comes to.
function Home:fetch(options)
  local aws, err = self:connect(options)
  if not aws then return nil, err end
  local found
  found, err = aws:credentials()
  return found, err, aws
end

function Home:close()
  for _, aws in ipairs(self.sessions) do aws:close() end
  command.remove(self.path)
end

return M
