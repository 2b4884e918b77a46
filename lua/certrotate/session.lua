--- A session: one AWS account that can be talked to. `connect` finds out with which credentials, where and how.
local arguments = require("certrotate.arguments")
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
---@field trust? string                PEM file of more roots
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
---@field mfa? fun(serial: string): string?, string?   the code an MFA device shows, for roles that need one; it must
---                                    not wait through the session

---@class certrotate.Session
---@field loop certrotate.Loop
---@field client certrotate.Client
---@field account integer             the client's handle
---@field partition "aws"|"aws-cn"
---@field region string
---@field profile string
---@field source string               which provider has the credentials; "anonymous"
---@field notes string[]              what a person should know and is no error
---@field home? certrotate.Session    whose credentials reach journals and locks in S3 (default: this one's)
---@field edge? { host: string, port: integer }
---@field poll? number
---@field acm table
---@field iam table
---@field cloudfront table
---@field sts table
---@field s3 table
---@field quotas table
---@field support table
---@field steps certrotate.Steps
local Session = { __name = "certrotate.Session" }
Session.__index = Session

local OPTIONS = {
  profile = "string", region = "string", endpoint_url = "string", endpoints = "table", credentials = "table",
  access_key_id = "string", secret_access_key = "string", session_token = "string", anonymous = "boolean",
  ca_file = "string", proxy = "string", no_proxy = "string", max_attempts = "number", connect_timeout = "number",
  timeout = "number", max_connections = "number", edge = "string", poll = "number", driver = "any",
  thread_pool = "string", signals = "any", environment = "any", home = "string", clock = "table",
  mfa = "function", trust = "string",
}

local ASSUME = { role_arn = true, role_session_name = true, external_id = true, duration_seconds = true,
                 mfa_serial = true, policy = true, profile = true }

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
    credentials = options.credentials, notes = {},
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

local function legacy_sts(context)
  local value, where = context.environment("AWS_STS_REGIONAL_ENDPOINTS"), "AWS_STS_REGIONAL_ENDPOINTS"
  if value == nil then
    value = context.files.settings.sts_regional_endpoints
    where = ("profile '%s', sts_regional_endpoints"):format(context.files.name)
  end
  if value == nil or value == "" then return false end
  local low = type(value) == "string" and value:lower()
  if low == "legacy" or low == "regional" then return low == "legacy" end
  return nil, select(2, invalid("MalformedConfig", "%s: legacy or regional expected", where))
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
  found.legacy_sts, err = legacy_sts(context)
  if err then return nil, err end
  context.endpoint_settings = found
  return endpoints.resolve(found)
end

local function make_client(options, context, places)
  local ca_file = options.ca_file or context.environment("AWS_CA_BUNDLE")
  local configured = context.files.settings.ca_bundle
  if not ca_file and type(configured) == "string" and configured ~= "" then ca_file = configured end
  local proxy, no_proxy = proxy_settings(options, context, places)
  return core.client({
    ca_file = ca_file, trust = options.trust, proxy = proxy, no_proxy = no_proxy, allow_http = places.http,
    max_host_connections = options.max_connections, connect_timeout = options.connect_timeout,
    total_timeout = options.timeout,
  })
end

local function choose_driver(options)
  if type(options.driver) == "table" then return options.driver end
  return require("certrotate.driver").choose(options.driver, { thread_pool = options.thread_pool, signals = options.signals })
end

-- What makes a session of a client, a loop and a source: a first one, or one of another account beside it.
local function new_session(fields, source)
  local session = setmetatable(fields, Session)
  -- The source itself, which may hold a secret, stays where no printing of a session finds it.
  session.source, session._fetches = source and source.source or "anonymous", source ~= nil and source.fetch ~= nil
  local account, err
  if source then
    account, err = require("certrotate.credentials.renewal").open(session, source)
  else
    account, err = session.client:account({ endpoints = session._where, max_attempts = session._attempts })
  end
  if not account then return nil, err end
  session.account = account
  require("certrotate.services").attach(session)
  require("certrotate.steps").attach(session)
  return session
end

local function make_session(options, context, places, found, attempts, edge)
  local client, err = make_client(options, context, places)
  if not client then return nil, err end
  local where = {}
  for service, place in pairs(places.services) do where[service] = { url = place.url, region = place.region } end
  local session
  session, err = new_session({
    client = client, partition = places.partition, region = places.region, profile = context.files.name, edge = edge,
    poll = options.poll, notes = context.notes, _mfa = options.mfa, _places = places.services, _where = where,
    _attempts = attempts, _others = {},
    loop = require("certrotate.task").loop({ client = client, driver = choose_driver(options), clock = options.clock }),
  }, found)
  if not session then
    client:close()
    return nil, err
  end
  -- A closure, so that what was given, which may be a secret, is no field.
  session._by_profile = function(of, profile) return M._by_profile(of, options, profile) end
  return session
end

-- A session of another profile beside one: same connections and loop, the profile's credentials and region.
function M._by_profile(session, options, profile)
  local own = {}
  for _, name in ipairs({ "environment", "home", "clock", "endpoint_url", "endpoints" }) do own[name] = options[name] end
  own.profile = profile
  local context, err = gather(own)
  if not context then return nil, err end
  local region = context.files.settings.region
  own.region = type(region) == "string" and region ~= "" and region or session.region
  local places, found
  places, err = resolve_endpoints(own, context)
  if not places then return nil, err end
  found, err = credentials.resolve(context)
  if not found then return nil, err end
  local where = {}
  for service, place in pairs(places.services) do where[service] = { url = place.url, region = place.region } end
  local other
  other, err = new_session({
    client = session.client, loop = session.loop, partition = places.partition, region = places.region, edge = session.edge,
    profile = context.files.name, poll = session.poll, notes = session.notes, _mfa = session._mfa, _places = places.services,
    _where = where, _attempts = session._attempts, _others = {}, _parent = session,
  }, found)
  if other then session._others[other] = true end
  return other, err
end

--- Opens a session. Reads the environment and the shared files; sends nothing and runs nothing yet: where credentials
--- must be fetched, that happens before the first call that is signed, or with `session:credentials()`.
---@param options? certrotate.ConnectOptions
---@return certrotate.Session?
---@return certrotate.Error?
function M.connect(options)
  arguments.options("connect", options, OPTIONS, true)
  options = options or {}
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

--- Sees to it that there are credentials, fetching them where they must be: for a clear error before anything begins.
--- What is returned has no secret in it.
---@return { access_key_id: string, expires_at?: integer, source: string }?
---@return certrotate.Error?
function Session:credentials()
  if self.source == "anonymous" then
    return credentials.fail("NoCredentials", "this session is anonymous: connect without `anonymous` to sign calls")
  end
  local info = self.client:account_info(self.account)
  if self._fetches and (not info.access_key_id or info.needed_at and info.needed_at <= self:now()) then
    local renewed, err = self.loop:await(self.loop:renew(self.account))
    if not renewed then return nil, err end
    info = self.client:account_info(self.account)
  end
  return credentials.shown({ access_key_id = info.access_key_id, expires_at = info.expires_at, source = self.source })
end

--- The account's number, asked for once (GetCallerIdentity).
---@return string? account_id   12 digits
---@return certrotate.Error?
function Session:account_id()
  if not self._account_id then
    local who, err = self.sts:get_caller_identity()
    if not who then return nil, err end
    self._account_id = who.Account
  end
  return self._account_id
end

---@class certrotate.AssumeOptions: certrotate.Role
---@field profile? string   what the new session is called; default: the role's name

--- Opens a session of another account (or role) beside this one: same connections, same loop, own credentials, which
--- this one's are used to get. Sends nothing yet. It ends with `close`, or with this session.
---@param options certrotate.AssumeOptions
---@return certrotate.Session?
---@return certrotate.Error?
function Session:assume(options)
  if type(options) ~= "table" then error("assume: a table of options expected, got " .. type(options), 2) end
  for name in pairs(options) do
    if not ASSUME[name] then error(("assume: unknown option '%s'"):format(tostring(name)), 2) end
  end
  if self.closed then error("the session is closed", 2) end
  local role = require("certrotate.credentials.role")
  local params, err = role.params(options, "assume")
  if not params then return nil, err end
  local parent = self.account
  local other
  other, err = new_session({
    client = self.client, loop = self.loop, partition = self.partition, region = self.region, edge = self.edge,
    profile = options.profile or params.role_arn:match("[^/]+$"), poll = self.poll, notes = self.notes,
    _mfa = self._mfa, _places = self._places, _where = self._where, _attempts = self._attempts, _others = {},
    _parent = self,
  }, { source = "assume-role", fetch = function(fetcher) return role.assume(fetcher, parent, params) end })
  if other then self._others[other] = true end
  return other, err
end

--- Opens a session of another profile beside this one: same connections, same loop; its own credentials and region. Sends
--- nothing yet. It ends with `close`, or with this session.
---@param options { profile: string }
---@return certrotate.Session?
---@return certrotate.Error?
function Session:beside(options)
  if type(options) ~= "table" or type(options.profile) ~= "string" then error("beside: `profile` must be a text", 2) end
  if self.closed then error("the session is closed", 2) end
  local from = self
  while not from._by_profile and from._parent do from = from._parent end
  return from._by_profile(self, options.profile)
end

--- Sessions of many accounts, to list, plan and rotate in all of them; see certrotate.rotation.accounts.
---@param options certrotate.AccountsOptions
---@return certrotate.Accounts?
---@return certrotate.Error?
function Session:accounts(options) return require("certrotate.rotation.accounts").open(self, options) end

--- Adds a line for people that is no error.
---@param text string
function Session:note(text) self.notes[#self.notes + 1] = text end

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

--- How fast services are asked that refused calls for their rate: AWS publishes no rates, so they are found out.
---@return {service:string, writes:boolean, rate:number, accepted:integer, refused:integer, waiting:integer}[]
function Session:paces() return self.client:paces(self.account) end

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
---@param options? certrotate.InventoryOptions
---@return certrotate.Inventory?
---@return certrotate.Error?
function Session:inventory(options)
  arguments.of("inventory", self, Session)
  local inventory = require("certrotate.rotation.inventory")
  arguments.options("inventory", options, inventory.OPTIONS, true)
  return inventory.build(self, options)
end

--- Everything that can be known beforehand; see certrotate.rotation.check.
---@param options certrotate.CheckOptions
---@return certrotate.CheckResult?
---@return certrotate.Error?
function Session:check(options)
  arguments.of("check", self, Session)
  -- One table serves both: what only a plan heeds is let in.
  arguments.options("check", options, require("certrotate.rotation.plan").OPTIONS)
  return require("certrotate.rotation.check").run(self, options)
end

--- What would be done, why, in which order, at what cost; see certrotate.rotation.plan.
---@param options certrotate.PlanOptions
---@return certrotate.Plan?
---@return certrotate.Error?
function Session:plan(options)
  arguments.of("plan", self, Session)
  local plan = require("certrotate.rotation.plan")
  arguments.options("plan", options, plan.OPTIONS)
  return plan.make(self, options)
end

--- Finishes a rotation that was stopped, killed or interrupted; see certrotate.rotation.run.
---@param options certrotate.RunOptions   journal = path, …
---@return certrotate.Report? report
---@return certrotate.Error?
function Session:resume(options)
  arguments.of("resume", self, Session)
  local run = require("certrotate.rotation.run")
  run.accept("resume", options)
  return run.resume(self, options)
end

--- Gives every holder that was changed its old certificate again; see certrotate.rotation.run.
---@param options certrotate.RunOptions   journal = path, …
---@return certrotate.Report? report
---@return certrotate.Error?
function Session:rollback(options)
  arguments.of("rollback", self, Session)
  local run = require("certrotate.rotation.run")
  run.accept("rollback", options)
  return run.rollback(self, options)
end

--- The account's dedicated-IP quota, what is used of it, and what was asked for; see certrotate.rotation.quota.
---@return certrotate.QuotaStatus?
---@return certrotate.Error?
function Session:quota() return require("certrotate.rotation.quota.status").read(self) end

--- Deletes a certificate when every fact allows it; see certrotate.rotation.retire.
---@param options certrotate.RetireOptions
---@return certrotate.RetireResult?
---@return certrotate.Error?
function Session:retire(options)
  arguments.of("retire", self, Session)
  local retire = require("certrotate.rotation.retire")
  arguments.options("retire", options, retire.OPTIONS)
  return retire.run(self, options)
end

--- One round over declared certificates: what was interrupted is finished, what is new rotated, what was kept long
--- enough retired; see certrotate.rotation.reconcile.
---@param options certrotate.ReconcileOptions   config = path or table, …
---@return certrotate.ReconcileResult?
---@return certrotate.Error?
function Session:reconcile(options) return require("certrotate.rotation.reconcile").call(self, options) end

-- A session beside another: its credentials are wiped, the connections are the other's.
local function leave(self)
  self._parent._others[self] = nil
  self.loop:renewable(self.account, nil)
  self.client:credentials(self.account, {})
end

--- Ends every task and operation and closes the connections. Idempotent. A session that `assume` opened leaves those to
--- the session it came from.
function Session:close()
  if self.closed then return end
  local others = {}
  for other in pairs(self._others) do others[#others + 1] = other end
  for _, other in ipairs(others) do other:close() end
  self.closed = true
  if self._parent then return leave(self) end
  self.loop:close()
  self.client:close()
end

function Session:__tostring()
  if self.closed then return "certrotate session: closed" end
  local key = self.client:account_info(self.account).access_key_id
  return ("certrotate session: profile %s, %s, %s"):format(self.profile, self.region, key and credentials.masked(key)
    or self._fetches and "credentials to come from " .. self.source or self.source)
end

return M
