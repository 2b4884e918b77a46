-- Starts and stops the simulator: a private nginx with the Lua module, on loopback, in a folder of its own.
-- Plain Lua (5.1 to 5.4, LuaJIT); needs a POSIX shell, nginx with the Lua module, and the openssl command.
--
--   local launch = require "certrotate.simulator.launch"
--   local simulator, err = launch.start { seed = 7, propagation = 3, distributions = 60, users = 42 }
--   simulator.endpoint            "https://127.0.0.1:PORT": ACM, IAM, CloudFront, STS, Service Quotas, Support in one
--   simulator.edge                "127.0.0.1:PORT": TLS, one certificate per server name as the fleet has it deployed
--   simulator.ca_file             trust this for `endpoint` (AWS_CA_BUNDLE)
--   simulator.trust_file          the root of the fleet's certificates: what a viewer of `edge` trusts
--   simulator.access_key_id .secret_access_key .region .account_id
--   simulator.temporary           { access_key_id, secret_access_key, session_token }: a second, temporary key
--   simulator.old_reference       the main certificate's ARN or IAM id; `users` distributions name it
--   simulator.files               { ca, trust, old_certificate, old_key, old_chain, new_certificate, new_key, new_chain }
--                                 (new_*: the same names, another key, valid: ready to rotate to)
--   simulator:environment()       table of AWS_… variables for the AWS CLI and SDKs
--   simulator:control("state")            GET  endpoint/_simulator/state            → decoded JSON, or nil, err
--   simulator:control("clock", { pass = 60 })   a table is POSTed as JSON, a string as it is; blocking
--   simulator:running()           is nginx there
--   simulator:stop()              ends nginx by its pid and removes the folder that `start` made; idempotent
--
-- The simulator also ends by itself when the process that started it is gone (unless detach = true).
-- Control endpoints are unsigned and listed in control.lua.
local authority = require "certrotate.simulator.authority"

local M = {}

local quote, shell = authority.quote, authority.shell

---@class certrotate.simulator.Options
---@field directory? string      private folder; default: a new one, removed by `stop`
---@field http? boolean          plain HTTP too (`http_endpoint`)
---@field seed? integer          of the fleet, the jitter, the edges and the faults; default 1
---@field distributions? integer how many in all; default 60; 0 leaves the account empty (certificates included)
---@field users? integer         how many of them use the main certificate; default 42
---@field vip? integer           how many of the users are dedicated-IP ones; default 3
---@field store? "acm"|"iam"     where the main certificate is; default "acm"
---@field policies? integer      users under a continuous-deployment policy; default 0
---@field tenants? integer       distribution tenants with the main (ACM) certificate of their own; default 0
---@field odd? boolean           some users have XML nobody expects; default true
---@field bulk? boolean          for benchmarks: summaries of about 4.5 KB; default false
---@field propagation? number    seconds from an update to Deployed; 0: at once; default 5
---@field jitter? number         up to so many seconds more, by distribution; default a quarter of propagation
---@field old_certificate? string  path: use this as the main certificate (with old_key, and old_chain if it has one)
---@field old_key? string
---@field old_chain? string
---@field new_key_type? string   "rsa:2048" (default), "ec:P-256", … of the new certificate
---@field certificates? string   absolute folder: simulators started one after the other within hours share theirs by it
---@field settings? table        switches of the simulated services, see settings.lua
---@field faults? certrotate.simulator.Fault[]   from the start on, see faults.lua
---@field hostile? integer       seed of a hostile world, see hostility.lua
---@field detach? boolean        live on when the starting process ends; default false
---@field nginx? string          path of the nginx program
---@field region? string         of the credentials handed out; default "us-east-1"
---@field account_id? string     default "111122223333"

---@class certrotate.simulator.Handle
---@field endpoint string
---@field http_endpoint? string
---@field edge string
---@field edge_host string
---@field edge_port integer
---@field port integer
---@field ca_file string
---@field trust_file string
---@field access_key_id string
---@field secret_access_key string
---@field temporary {access_key_id:string, secret_access_key:string, session_token:string}
---@field region string
---@field account_id string
---@field old_reference? string
---@field files table<string,string>
---@field pid integer
---@field directory string
local handle = {}
handle.__index = handle
handle.__name = "certrotate.simulator.Handle"

-- ── small tools ─────────────────────────────────────────────────────────────────────────────────────────────

local function random_bytes(count)
  local file = assert(io.open("/dev/urandom", "rb"))
  local bytes = file:read(count)
  file:close()
  return bytes
end

local function random_text(count, alphabet)
  return (random_bytes(count):gsub(".", function(byte)
    local index = byte:byte() % #alphabet + 1
    return alphabet:sub(index, index)
  end))
end

local upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
local mixed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

-- The seed's own reference, so that one seed is one fleet: a Lehmer generator, exact in doubles.
local function reference_of(seed, store, account_id)
  local state = (seed * 7919 + 104729) % 2147483646 + 1
  local function draw(count, alphabet)
    local out = {}
    for index = 1, count do
      state = state * 48271 % 2147483647
      local at = state % #alphabet + 1
      out[index] = alphabet:sub(at, at)
    end
    return table.concat(out)
  end
  if store == "iam" then
    return "ASCA" .. draw(17, upper)
  end
  local hex = "0123456789abcdef"
  return ("arn:aws:acm:us-east-1:%s:certificate/%s-%s-%s-%s-%s"):format(account_id, draw(8, hex), draw(4, hex),
    draw(4, hex), draw(4, hex), draw(12, hex))
end

-- Lua source of a plain value; the server reads its options with it.
local function serialize(value)
  if type(value) == "table" then
    local parts = {}
    for key, item in pairs(value) do
      parts[#parts + 1] = "[" .. serialize(key) .. "]=" .. serialize(item)
    end
    return "{" .. table.concat(parts, ",") .. "}"
  elseif type(value) == "string" then
    return (("%q"):format(value):gsub("\\\n", "\\n"))
  elseif type(value) == "number" then
    return ("%.17g"):format(value)
  end
  return tostring(value)
end

-- The Lua tree this file lies in, absolute, for nginx's lua_package_path.
local function tree()
  local source = debug.getinfo(1, "S").source:gsub("^@", "")
  local folder = source:match("^(.*)/certrotate/simulator/[^/]*$") or "."
  local ok, output = shell("cd " .. quote(folder) .. " && pwd -P")
  if not ok then
    return nil, "cannot find the simulator's own files: " .. output
  end
  return (output:gsub("%s+$", ""))
end

-- ── ports ───────────────────────────────────────────────────────────────────────────────────────────────────

-- Local ports that some socket of this machine has now (Linux; elsewhere nothing is known and nginx says).
local function used_ports()
  local used = {}
  for _, path in ipairs { "/proc/net/tcp", "/proc/net/tcp6" } do
    for hex in (authority.read(path) or ""):gmatch("%d+: %x+:(%x%x%x%x) ") do
      used[tonumber(hex, 16)] = true
    end
  end
  return used
end

-- Ports below the range from which the system serves outgoing connections, so that none of those can take one.
local function free_ports(count)
  local used, ports = used_ports(), {}
  local low = tonumber((authority.read("/proc/sys/net/ipv4/ip_local_port_range") or ""):match("%d+")) or 32768
  local first = low > 12000 and 10240 or 20000
  local span = (low > 12000 and low or 60000) - first
  while #ports < count do
    local a, b = random_bytes(2):byte(1, 2)
    local port = first + (a * 256 + b) % span
    if not used[port] then
      used[port] = true
      ports[#ports + 1] = port
    end
  end
  return ports
end

-- ── nginx ───────────────────────────────────────────────────────────────────────────────────────────────────

-- Where nginx is and which modules it must load. Debian keeps it in sbin, which is not in every user's PATH.
local function find_nginx(wanted)
  local ok, program = shell("PATH=\"$PATH:/usr/sbin:/usr/local/sbin:/usr/local/openresty/nginx/sbin:/sbin\" command -v "
    .. quote(wanted or os.getenv("CERTROTATE_NGINX") or "nginx"))
  program = program:gsub("%s+$", "")
  if not ok or program == "" then
    return nil, "nginx is not installed (Debian: nginx-light and libnginx-mod-http-lua)"
  end
  local _, version = shell(quote(program) .. " -V")
  if version:match("lua%-nginx%-module") or version:match("ngx_lua%-%d") then
    return program, "" -- OpenResty: the Lua module is built in
  end
  local folder = version:match("%-%-modules%-path=(%S+)") or "/usr/lib/nginx/modules"
  for _, name in ipairs { "ndk_http_module.so", "ngx_http_lua_module.so" } do
    local file = io.open(folder .. "/" .. name, "rb")
    if not file then
      return nil, ("nginx has no Lua module in %s (Debian: libnginx-mod-http-lua)"):format(folder)
    end
    file:close()
  end
  return program, ("load_module %s/ndk_http_module.so;\nload_module %s/ngx_http_lua_module.so;\n"):format(folder, folder)
end

local template = [[
@MODULES@@USER@
daemon on;
master_process on;
worker_processes 1;
pid @D@/nginx.pid;
error_log @D@/error.log notice;
worker_rlimit_nofile 8192;
events { worker_connections 4096; }
http {
  access_log off;
  server_tokens off;
  client_body_temp_path @D@/tmp/body;
  proxy_temp_path @D@/tmp/proxy;
  fastcgi_temp_path @D@/tmp/fastcgi;
  uwsgi_temp_path @D@/tmp/uwsgi;
  scgi_temp_path @D@/tmp/scgi;
  lua_package_path "@TREE@/?.lua;@TREE@/?/init.lua;;";
  lua_socket_log_errors off;
  # Bodies hold private keys: always in memory, never in a temporary file.
  client_max_body_size 4m;
  client_body_buffer_size 4m;
  large_client_header_buffers 8 32k;
  underscores_in_headers on;
  ignore_invalid_headers off;
  keepalive_timeout 75s;
  keepalive_requests 1000000;
  send_timeout 60s;
  default_type text/plain;
  ssl_protocols TLSv1.2 TLSv1.3;
  init_worker_by_lua_block {
    require("certrotate.simulator.server").start("@D@/options.lua")
  }
  server {
    listen 127.0.0.1:@PORT@ ssl backlog=2048;
@HTTP@    server_name localhost;
    ssl_certificate @D@/pki/server.crt;
    ssl_certificate_key @D@/pki/server.key;
    ssl_session_cache shared:api:2m;
    location / {
      content_by_lua_block { require("certrotate.simulator.server").handle() }
    }
    location /_simulator/ {
      content_by_lua_block { require("certrotate.simulator.control").handle() }
    }
  }
  server {
    listen 127.0.0.1:@EDGE@ ssl backlog=4096;
    server_name edge;
    ssl_certificate @D@/pki/edge.crt;
    ssl_certificate_key @D@/pki/edge.key;
    # A resumed session shows no certificate; every connection of a viewer must show one.
    ssl_session_cache off;
    ssl_session_tickets off;
    ssl_certificate_by_lua_block { require("certrotate.simulator.edge").certificate() }
    location / {
      content_by_lua_block { require("certrotate.simulator.edge").content() }
    }
  }
}
]]

local function write_configuration(self, parts)
  local values = {
    D = self.directory,
    MODULES = parts.modules,
    USER = parts.root and "user root;" or "",
    TREE = parts.tree,
    PORT = tostring(self.port),
    EDGE = tostring(self.edge_port),
    HTTP = self.http_port and ("    listen 127.0.0.1:%d;\n"):format(self.http_port) or "",
  }
  return authority.write(self.directory .. "/nginx.conf", (template:gsub("@(%u+)@", values)))
end

local function last_lines(path, count)
  local lines = {}
  for line in (authority.read(path) or ""):gmatch("[^\n]+") do
    lines[#lines + 1] = line
  end
  return table.concat(lines, "\n", math.max(1, #lines - (count or 5) + 1))
end

-- nginx removes its pid file as the last thing it does; a process may stay visible after that until it is reaped.
-- nginx's first process binds the sockets, forks the master and ends: when it ended with 0, connections are queued
-- already. The pid file follows at once.
local function run_nginx(self, parts)
  -- Paths of the Lua that starts it may be of another version than nginx's own.
  local command = ("env -u LUA_PATH -u LUA_CPATH %s -p %s -e %s -c %s"):format(quote(parts.program), quote(self.directory),
    quote(self.directory .. "/error.log"), quote(self.directory .. "/nginx.conf"))
  for _ = 1, 8 do
    local ports = free_ports(3)
    self.port, self.edge_port, self.http_port = ports[1], ports[2], parts.http and ports[3] or nil
    local ok, err = write_configuration(self, parts)
    if not ok then
      return nil, err
    end
    local output
    ok, output = shell(("umask 077\n%s || exit 1\nn=0\nwhile [ ! -s %s ] && [ $n -lt 250 ]; do sleep 0.02; n=$((n+1)); done")
      :format(command, quote(self.directory .. "/nginx.pid")))
    if ok then
      self.pid = tonumber((authority.read(self.directory .. "/nginx.pid") or ""):match("%d+"))
      if self.pid then
        return true
      end
      return nil, "nginx did not start: " .. last_lines(self.directory .. "/error.log")
    end
    if not output:find("Address already in use", 1, true) and not output:find("bind() to", 1, true) then
      return nil, "nginx did not start: " .. output
    end
  end
  return nil, "nginx found no free port in 8 tries"
end

-- ── what the server is given ────────────────────────────────────────────────────────────────────────────────

-- The names of the seeded fleet's certificates. `old` and `new` share theirs.
local main_names = { "shop.example", "www.shop.example", "*.shop.example", "*.img.shop.example" }
local fleet = {
  { file = "acm1", names = { "news.example", "*.news.example" } },
  { file = "acm2", names = { "*.api.example" } },
  { file = "acm3", names = { "www.museum.example", "museum.example" } },
  { file = "iam1", names = { "*.legacy.example" } },
  { file = "iam2", names = { "www.bank.example" } },
  { file = "aws1", names = { "*.aws-issued.example", "aws-issued.example" } },
  { file = "aws2", names = { "app.managed.example" } },
}

local function make_certificates(self, options)
  local pki, err = authority.open(self.directory .. "/pki")
  if not pki then
    return nil, err
  end
  local now = os.time()
  local items = {
    { file = "ca", ca = true, subject = "certrotate simulator API root" },
    { file = "server", issuer = "ca", names = { "localhost", "127.0.0.1" } },
    { file = "trust", ca = true, subject = "certrotate simulator web root" },
    { file = "intermediate", ca = true, issuer = "trust", subject = "certrotate simulator web intermediate" },
    { file = "edge", issuer = "intermediate", names = { "*.cloudfront.net" } },
  }
  if options.distributions ~= 0 then
    if not options.old_certificate then
      items[#items + 1] = { file = "old", issuer = "intermediate", key = "rsa:2048", names = main_names,
        not_before = now - 360 * 86400, not_after = now + 5 * 86400 }
      items[#items + 1] = { file = "new", issuer = "intermediate", key = options.new_key_type or "rsa:2048",
        names = main_names }
    end
    for _, item in ipairs(fleet) do
      items[#items + 1] = { file = item.file, issuer = "intermediate", names = item.names, key = item.key }
    end
  end
  local ok
  if options.certificates then
    local kind = ("%s-%s"):format(options.distributions == 0 and "none" or options.old_certificate and "given"
      or (options.new_key_type or "rsa:2048"):gsub("%W", ""), #items)
    ok, err = pki:make_shared(items, options.certificates .. "/" .. kind)
  else
    ok, err = pki:make(items)
  end
  if not ok then
    return nil, err
  end
  local files = { ca = pki.directory .. "/ca.crt", trust = pki.directory .. "/trust.crt" }
  for _, name in ipairs { "old", "new" } do
    if options.distributions ~= 0 and not options.old_certificate then
      local made = pki:files(name)
      files[name .. "_certificate"], files[name .. "_key"], files[name .. "_chain"] = made.certificate, made.key, made.chain
    end
  end
  if options.old_certificate then
    files.old_certificate, files.old_key, files.old_chain = options.old_certificate, options.old_key, options.old_chain
  end
  -- A chain file, as certbot's fullchain.pem, of what an edge presents by default.
  authority.write(pki.directory .. "/edge.crt",
    (authority.read(pki.directory .. "/edge.crt") or "") .. (authority.read(pki.directory .. "/edge.chain") or ""))
  self.files, self.ca_file, self.trust_file = files, files.ca, files.trust
  return true
end

local function parent_identity()
  -- The shell's parent is this process. Its start time tells it from a later process with the same number.
  local _, output = shell("echo $PPID")
  local pid = tonumber(output:match("%d+"))
  local stat = pid and authority.read(("/proc/%d/stat"):format(pid))
  local fields, started = 0, nil
  for field in (stat and stat:match("%)%s+(.*)$") or ""):gmatch("%S+") do
    fields = fields + 1
    if fields == 20 then
      started = field
    end
  end
  return pid, started
end

local function write_options(self, options)
  local store = options.store or "acm"
  local parent, started
  if not options.detach then
    parent, started = parent_identity()
  end
  local settings = {}
  for key, value in pairs(options.settings or {}) do
    settings[key] = value
  end
  settings.propagation = options.propagation or 5
  settings.jitter = options.jitter or settings.propagation / 4
  local server_options = {
    directory = self.directory,
    remove_directory = self.made_directory,
    parent = parent,
    parent_started = started,
    region = self.region,
    account_id = self.account_id,
    seed = options.seed or 1,
    settings = settings,
    faults = options.faults,
    hostile = options.hostile,
    credentials = {
      { access_key_id = self.access_key_id, secret_access_key = self.secret_access_key },
      self.temporary,
    },
    default_certificate = self.directory .. "/pki/edge",
  }
  if options.distributions ~= 0 then
    self.old_reference = reference_of(server_options.seed, store, self.account_id)
    server_options.fleet = {
      distributions = options.distributions or 60,
      users = options.users or 42,
      vip = options.vip or 3,
      policies = options.policies or 0,
      tenants = options.tenants or 0,
      odd = options.odd ~= false,
      bulk = options.bulk or false,
      store = store,
      reference = self.old_reference,
      certificate = self.files.old_certificate,
      key = self.files.old_key,
      chain = self.files.old_chain,
      others = self.directory .. "/pki",
    }
  end
  return authority.write(self.directory .. "/options.lua", "return " .. serialize(server_options) .. "\n")
end

local known = {
  directory = "string", http = "boolean", seed = "number", distributions = "number", users = "number", vip = "number",
  store = "string", policies = "number", tenants = "number", odd = "boolean", bulk = "boolean",
  propagation = "number", jitter = "number", faults = "table",
  hostile = "number", old_certificate = "string", old_key = "string", old_chain = "string",
  new_key_type = "string", certificates = "string", settings = "table",
  detach = "boolean", nginx = "string", region = "string", account_id = "string",
}

local function check(options)
  for key, value in pairs(options) do
    if not known[key] then
      error(("start: unknown option %q"):format(tostring(key)), 3)
    elseif type(value) ~= known[key] then
      error(("start: %s: %s expected, got %s"):format(key, known[key], type(value)), 3)
    end
  end
  if options.old_certificate and not options.old_key then
    error("start: old_certificate needs old_key", 3)
  end
  if options.store and options.store ~= "acm" and options.store ~= "iam" then
    error("start: store: 'acm' or 'iam' expected", 3)
  end
  if (options.users or 42) > (options.distributions or 60) and options.distributions ~= 0 then
    error("start: users: more than distributions", 3)
  end
end

local function make_directory(options)
  local ok, output
  if options.directory then
    ok, output = shell(("umask 077; mkdir -p %s && cd %s && pwd -P"):format(quote(options.directory), quote(options.directory)))
  else
    ok, output = shell("umask 077; mktemp -d \"${TMPDIR:-/tmp}/certrotate-simulator.XXXXXXXX\"")
  end
  if not ok then
    return nil, "cannot make a folder: " .. output
  end
  return (output:gsub("%s+$", ""))
end

--- Starts a simulator. Returns when it answers.
---@param options? certrotate.simulator.Options
---@return certrotate.simulator.Handle?
---@return string? err
function M.start(options)
  options = options or {}
  check(options)
  local program, modules = find_nginx(options.nginx)
  if not program then
    return nil, modules
  end
  local source, err = tree()
  if not source then
    return nil, err
  end
  local self = setmetatable({
    region = options.region or "us-east-1",
    account_id = options.account_id or "111122223333",
    made_directory = not options.directory,
    access_key_id = "AKIA" .. random_text(16, upper),
    secret_access_key = random_text(40, mixed),
    temporary = { access_key_id = "ASIA" .. random_text(16, upper), secret_access_key = random_text(40, mixed),
      session_token = random_text(220, mixed) .. "==" },
  }, handle)
  self.directory, err = make_directory(options)
  if not self.directory then
    return nil, err
  end
  local _, id = shell("id -u")
  local parts = { program = program, modules = modules, tree = source, http = options.http, root = id:match("^0%s*$") }
  local ok
  ok, err = shell("umask 077; cd " .. quote(self.directory) .. " && rm -f nginx.pid worker.started && mkdir -p tmp")
  ok, err = ok and make_certificates(self, options), err
  if ok then
    ok, err = write_options(self, options)
  end
  if ok then
    ok, err = run_nginx(self, parts)
  end
  if ok then
    self.endpoint = ("https://127.0.0.1:%d"):format(self.port)
    self.http_endpoint = self.http_port and ("http://127.0.0.1:%d"):format(self.http_port) or nil
    self.edge_host, self.edge = "127.0.0.1", ("127.0.0.1:%d"):format(self.edge_port)
    ok, err = self:control("health")
    if not ok then
      -- What was wrong with the options it says itself; for anything else there is the log.
      local wrong = tostring(err):match("cannot go on: (.*)$")
      err = wrong or "the simulator does not answer: " .. tostring(err) .. "\n" .. last_lines(self.directory .. "/error.log")
    end
  end
  if not ok then
    self:stop()
    return nil, err
  end
  return self
end

--- Variables for the AWS CLI and SDKs.
---@return table<string,string>
function handle:environment()
  return {
    AWS_ACCESS_KEY_ID = self.access_key_id,
    AWS_SECRET_ACCESS_KEY = self.secret_access_key,
    AWS_DEFAULT_REGION = self.region,
    AWS_REGION = self.region,
    AWS_ENDPOINT_URL = self.endpoint,
    AWS_CA_BUNDLE = self.ca_file,
    AWS_EC2_METADATA_DISABLED = "true",
  }
end

-- ── control ─────────────────────────────────────────────────────────────────────────────────────────────────

-- One HTTP exchange through `openssl s_client`: plain Lua has no TLS. The server closes when it has answered.
local function exchange(self, method, path, body, content_type)
  local request = self.directory .. "/request-" .. random_text(8, upper:lower())
  local head = table.concat({
    method .. " /_simulator/" .. path .. " HTTP/1.1", "Host: 127.0.0.1:" .. self.port, "Connection: close",
    "Content-Type: " .. (content_type or "application/json"), "Content-Length: " .. (body and #body or 0), "", "",
  }, "\r\n")
  local ok, err = authority.write(request, head .. (body or ""))
  if not ok then
    return nil, err
  end
  local command = "openssl s_client -quiet -connect 127.0.0.1:%d -servername localhost -CAfile %s -verify_return_error"
  local pipe = io.popen((command .. " <%s 2>/dev/null"):format(self.port, quote(self.ca_file), quote(request)), "r")
  local answer = pipe and pipe:read("*a") or ""
  if pipe then
    pipe:close()
  end
  os.remove(request)
  local status, rest = answer:match("^HTTP/1%.1 (%d+)[^\r]*\r\n(.*)$")
  if not status then
    return nil, "no answer"
  end
  return tonumber(status), rest:match("\r\n\r\n(.*)$") or ""
end

--- Talks to the control endpoints. Blocks.
---@param path string            "state", "meter", "faults", …
---@param body? table|string     given: POST, as JSON or as it is
---@return any? answer           decoded JSON
---@return string? err
function handle:control(path, body)
  local cjson = require "cjson.safe"
  local content_type = type(body) == "string" and "text/xml" or nil
  if type(body) == "table" then
    body = next(body) == nil and "{}" or cjson.encode(body)
  end
  local status, text = exchange(self, body and "POST" or "GET", path, body, content_type)
  if not status then
    return nil, text
  end
  local answer, err = cjson.decode(text)
  if status >= 400 then
    return nil, type(answer) == "table" and answer.error or text
  end
  return answer, err
end

--- Whether nginx's master process is there.
---@return boolean
function handle:running()
  if not self.pid then
    return false
  end
  local file = io.open(self.directory .. "/nginx.pid", "rb")
  if file then
    file:close()
  end
  return file ~= nil and (shell("kill -0 " .. self.pid))
end

--- Ends the simulator and removes what `start` made. Idempotent.
---@return boolean? ok
---@return string? err
function handle:stop()
  local ok, output = true, nil
  if self.pid then
    ok, output = shell(([[
kill -TERM %d 2>/dev/null || exit 0
n=0
while [ -e %s ] && kill -0 %d 2>/dev/null && [ $n -lt 250 ]; do sleep 0.02; n=$((n+1)); done
if [ $n -ge 250 ]; then kill -KILL %d; fi
exit 0]]):format(self.pid, quote(self.directory .. "/nginx.pid"), self.pid, self.pid))
    self.pid = nil
  end
  if self.made_directory and self.directory then
    ok, output = shell("rm -rf -- " .. quote(self.directory))
    self.directory = nil
  end
  if not ok then
    return nil, output
  end
  return true
end

return M
