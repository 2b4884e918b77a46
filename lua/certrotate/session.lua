--- A session: one AWS account that can be talked to. `connect` finds out with which credentials, where and how.
local core = require("certrotate.core")
local credentials = require("certrotate.credentials")
local endpoints = require("certrotate.endpoints")
local errors = require("certrotate.errors")
local files = require("certrotate.credentials.files")

local M = {}

---@class certrotate.ConnectOptions   everything may be left out; then it is as with the AWS CLI
---@field profile? string              of the shared files; environment credentials are passed over then
---@field region? string
---@field endpoint_url? string         for every service (the simulator, say)
---@field endpoints? table<string,string>  by service: { acm = "https://…", cloudfront = … }
---@field credentials? { access_key_id: string, secret_access_key: string, session_token?: string, expires_at?: integer }
---@field access_key_id? string        the same, written flat
---@field secret_access_key? string
---@field session_token? string
---@field anonymous? boolean           no credentials: only what needs none (verify) will work
---@field ca_file? string              PEM roots instead of the system's
---@field proxy? string                for everything; "" for none
---@field no_proxy? string
---@field max_attempts? integer        of one call; default 3
---@field connect_timeout? number      seconds
---@field timeout? number              seconds, of one attempt
---@field max_connections? integer     to one host
---@field edge? string                 "HOST:PORT" to verify served certificates at
---@field poll? number                 seconds between looks while waiting for Deployed
---@field driver? "auto"|"block"|"nginx"|"uv"|certrotate.Driver
---@field thread_pool? string          nginx: wait in this pool's threads
---@field signals? certrotate.Signals  block: these interrupt instead of ending the process
---@field environment? table<string,string>|fun(name: string): string?   instead of the process's
---@field home? string                 instead of $HOME
---@field clock? certrotate.Clock

---@class certrotate.Session
---@field loop certrotate.Loop
---@field client certrotate.Client
---@field account integer             the client's handle
---@field partition "aws"|"aws-cn"
---@field region string
---@field profile string
---@field source string               which provider had the credentials; "anonymous"
---@field edge? { host: string, port: integer }
---@field poll? number
---@field acm table
---@field iam table
---@field cloudfront table
---@field sts table
---@field steps certrotate.Steps
local Session = { __name = "certrotate.Session" }
Session.__index = Session

local OPTIONS = {
  profile = "string", region = "string", endpoint_url = "string", endpoints = "table", credentials = "table",
  access_key_id = "string", secret_access_key = "string", session_token = "string", anonymous = "boolean",
  ca_file = "string", proxy = "string", no_proxy = "string", max_attempts = "number", connect_timeout = "number",
  timeout = "number", max_connections = "number", edge = "string", poll = "number", driver = "any",
  thread_pool = "string", signals = "any", environment = "any", home = "string", clock = "table",
}

local function check_options(options)
  if options == nil then return {} end
  if type(options) ~= "table" then error("connect: a table of options expected, got " .. type(options), 3) end
  for name, value in pairs(options) do
    local expected = OPTIONS[name]
    if not expected then error(("connect: unknown option '%s'"):format(tostring(name)), 3) end
    if expected ~= "any" and type(value) ~= expected then
      error(("connect: option '%s': %s expected, got %s"):format(name, expected, type(value)), 3)
    end
  end
  return options
end

-- An empty variable counts as unset, as in the CLI.
local function environment_reader(given)
  local get = given or os.getenv
  if type(get) == "table" then
    local values = get
    get = function(name) return values[name] end
  elseif type(get) ~= "function" then
    error("connect: option 'environment': table or function expected, got " .. type(get), 3)
  end
  return function(name)
    local value = get(name)
    if value == "" then return nil end
    return value
  end
end

local function invalid(code, ...)
  return nil, errors.new({ kind = "input", code = code, message = (...):format(select(2, ...)) })
end

-- A switch from a variable or, failing that, the profile.
local function switch(context, variable, key)
  local value, where = context.environment(variable), variable
  if value == nil then value, where = context.files.settings[key], ("profile '%s', %s"):format(context.files.name, key) end
  if value == nil or value == "" then return false end
  local low = type(value) == "string" and value:lower()
  if low == "true" or low == "false" then return low == "true" end
  return nil, select(2, invalid("MalformedConfig", "%s: true or false expected", where))
end

local function max_attempts(options, context)
  local value, where = options.max_attempts, "max_attempts"
  if value == nil then value, where = context.environment("AWS_MAX_ATTEMPTS"), "AWS_MAX_ATTEMPTS" end
  if value == nil then
    value, where = context.files.settings.max_attempts, ("profile '%s', max_attempts"):format(context.files.name)
  end
  if value == nil then return 3 end
  local number = type(value) == "number" and value or type(value) == "string" and value:find("^%d+$") and tonumber(value, 10)
  if not number or number < 1 or number > 100 or number % 1 ~= 0 then
    return invalid("MalformedConfig", "%s: a whole number from 1 to 100 expected", where)
  end
  return number
end

local function host_of_http(url)
  local authority = url:match("^http://([^/]+)")
  return authority and (authority:match("^%[(.-)%]") or authority:match("^[^:]+"))
end

-- Proxies as the CLI finds them, the lower-case spelling first. One client has one proxy: the one for https, or for
-- http when nothing is https. (HTTP_PROXY in capitals is what a CGI client can set: not honoured.)
local function proxy_settings(options, context, places)
  local get = context.environment
  local no_proxy = options.no_proxy or get("no_proxy") or get("NO_PROXY")
  if options.proxy then return options.proxy ~= "" and options.proxy or nil, no_proxy end
  if not places.https then return get("http_proxy"), no_proxy end
  local proxy = get("https_proxy") or get("HTTPS_PROXY")
  if proxy and places.http then
    -- Plain http endpoints are not sent through a proxy that was set for https.
    local hosts, seen = { no_proxy }, {}
    for _, service in ipairs(endpoints.SERVICES) do
      local place = places.services[service]
      local host = place and host_of_http(place.url)
      if host and not seen[host] then
        seen[host], hosts[#hosts + 1] = true, host
      end
    end
    no_proxy = table.concat(hosts, ",")
  end
  return proxy, no_proxy
end

local function parse_edge(text)
  if text == nil then return nil end
  local host, port = text:match("^%[?([^%]]+)%]?:(%d+)$")
  port = port and tonumber(port, 10)
  if not port or port < 1 or port > 65535 then
    return nil, select(2, invalid("MalformedEdge", "edge: HOST:PORT expected, got '%s'", text))
  end
  return { host = host, port = port }
end

-- Everything that is read: options, variables, files. No network.
local function gather(options)
  local context = {
    environment = environment_reader(options.environment), profile = options.profile,
    now = options.clock and options.clock.now or core.now,
    credentials = options.credentials,
  }
  if options.access_key_id or options.secret_access_key then
    context.credentials = { access_key_id = options.access_key_id, secret_access_key = options.secret_access_key,
                            session_token = options.session_token }
  end
  context.home = options.home or context.environment("HOME")
  local err
  context.files, err = files.load(context)
  if not context.files then return nil, err end
  return context
end

local function resolve_endpoints(options, context)
  local get, settings = context.environment, context.files.settings
  local err
  local found = {
    region = options.region or get("AWS_REGION") or get("AWS_DEFAULT_REGION")
      or type(settings.region) == "string" and settings.region ~= "" and settings.region or nil,
    endpoint_url = options.endpoint_url, endpoints = options.endpoints, environment = get, profile = context.files,
  }
  found.fips, err = switch(context, "AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint")
  if err then return nil, err end
  found.dualstack, err = switch(context, "AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint")
  if err then return nil, err end
  found.ignore_configured, err = switch(context, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "ignore_configured_endpoint_urls")
  if err then return nil, err end
  return endpoints.resolve(found)
end

local function make_client(options, context, places)
  local ca_file = options.ca_file or context.environment("AWS_CA_BUNDLE")
  local configured = context.files.settings.ca_bundle
  if not ca_file and type(configured) == "string" and configured ~= "" then ca_file = configured end
  local proxy, no_proxy = proxy_settings(options, context, places)
  return core.client({
    ca_file = ca_file, proxy = proxy, no_proxy = no_proxy, allow_http = places.http,
    max_host_connections = options.max_connections, connect_timeout = options.connect_timeout,
    total_timeout = options.timeout,
  })
end

local function choose_driver(options)
  if type(options.driver) == "table" then return options.driver end
  return require("certrotate.driver").choose(options.driver, { thread_pool = options.thread_pool, signals = options.signals })
end

local function make_session(options, context, places, found, attempts, edge)
  local client, account, err
  client, err = make_client(options, context, places)
  if not client then return nil, err end
  local where = {}
  for service, place in pairs(places.services) do where[service] = { url = place.url, region = place.region } end
  account, err = client:account({
    access_key_id = found and found.access_key_id, secret_access_key = found and found.secret_access_key,
    session_token = found and found.session_token, expires_at = found and found.expires_at,
    endpoints = where, max_attempts = attempts,
  })
  if not account then
    client:close()
    return nil, err
  end
  local session = setmetatable({
    client = client, account = account, partition = places.partition, region = places.region,
    profile = context.files.name, source = found and found.source or "anonymous", edge = edge, poll = options.poll,
    loop = require("certrotate.task").loop({ client = client, driver = choose_driver(options), clock = options.clock }),
    _key = found and credentials.masked(found.access_key_id), _places = places.services,
  }, Session)
  require("certrotate.services").attach(session)
  require("certrotate.steps").attach(session)
  return session
end

--- Opens a session. Reads the environment and the shared files; sends nothing yet.
---@param options? certrotate.ConnectOptions
---@return certrotate.Session?
---@return certrotate.Error?
function M.connect(options)
  options = check_options(options)
  local context, err = gather(options)
  if not context then return nil, err end
  local places, found, attempts, edge
  places, err = resolve_endpoints(options, context)
  if not places then return nil, err end
  attempts, err = max_attempts(options, context)
  if not attempts then return nil, err end
  edge, err = parse_edge(options.edge)
  if err then return nil, err end
  if not options.anonymous then
    found, err = credentials.resolve(context)
    if not found then return nil, err end
  end
  return make_session(options, context, places, found, attempts, edge)
end

--- Seconds AWS's clock is ahead of ours, as far as its answers told; 0 at first.
---@return number
function Session:clock_offset()
  return self.client:account_info(self.account).clock_offset
end

--- AWS's time: what expiry dates and keep times are compared with.
---@return number  Unix seconds
function Session:now()
  return self.loop:now() + self:clock_offset()
end

--- The URL a service is reached at.
---@param service string   "acm", "cloudfront", …
---@return string?
function Session:endpoint(service)
  local place = self._places[service]
  return place and place.url
end

--- Runs a function as a task: it may wait, and others go on meanwhile. In event hosts (Neovim) it starts by itself; in
--- scripts it runs while somebody waits for something, its own :wait() for example.
---@param fn fun(...): ...
---@return certrotate.Task
function Session:task(fn, ...) return self.loop:spawn(fn, ...) end

--- Lets signals (core.signals()) interrupt what is waited for, instead of ending the process. Scripts only.
---@param signals certrotate.Signals?  nil: not any more
function Session:watch_signals(signals)
  if self.loop.driver.name ~= "block" then error("watch_signals: only where the block driver waits (scripts)", 2) end
  self.loop.driver.signals = signals
end

--- What uses which certificate; see certrotate.rotation.inventory.
---@param options? table
---@return certrotate.Inventory?
---@return certrotate.Error?
function Session:inventory(options) return require("certrotate.rotation.inventory").build(self, options) end

--- Everything that can be known beforehand; see certrotate.rotation.check.
---@param options table
---@return table?
---@return certrotate.Error?
function Session:check(options) return require("certrotate.rotation.check").run(self, options) end

--- What would be done, why, in which order, at what cost; see certrotate.rotation.plan.
---@param options table
---@return certrotate.Plan?
---@return certrotate.Error?
function Session:plan(options) return require("certrotate.rotation.plan").make(self, options) end

--- Finishes a rotation that was stopped, killed or interrupted; see certrotate.rotation.run.
---@param options table   journal = path, …
---@return table? report
---@return certrotate.Error?
function Session:resume(options) return require("certrotate.rotation.run").resume(self, options) end

--- Deletes a certificate when every fact allows it; see certrotate.rotation.retire.
---@param options table
---@return table?
---@return certrotate.Error?
function Session:retire(options) return require("certrotate.rotation.retire").run(self, options) end

--- Ends every task and operation and closes the connections. Idempotent.
function Session:close()
  if self.closed then return end
  self.closed = true
  self.loop:close()
  self.client:close()
end

function Session:__tostring()
  if self.closed then return "certrotate session: closed" end
  return ("certrotate session: profile %s, %s, %s"):format(self.profile, self.region, self._key or "anonymous")
end

return M
