--- A private nginx with the Lua module for tests: one worker on loopback, in a folder of its own, on ports picked free.
--
--   local server = nginx.start { http = "location / { … }" , main = "thread_pool x threads=2;" }
--   server.url       "http://127.0.0.1:PORT"
--   server:log()     its error log
--   server:stop()    ends it by its pid and removes the folder; raises when the log has a crash in it
local files = require("spec.support.files")

local M = {}
local run, write = files.run, files.write

local Server = {}
Server.__index = Server

local function read(path) return files.read(path) or "" end

--- Ports nobody listens on now; whoever binds one may still be late, so `start` tries again.
local function free_port()
  local used = {}
  for _, path in ipairs({ "/proc/net/tcp", "/proc/net/tcp6" }) do
    for hex in read(path):gmatch("%d+: %x+:(%x%x%x%x) ") do used[tonumber(hex, 16)] = true end
  end
  local random = assert(io.open("/dev/urandom", "rb"))
  local port
  repeat
    local a, b = random:read(2):byte(1, 2)
    port = 12000 + (a * 256 + b) % 18000
  until not used[port]
  random:close()
  return port
end

--- The folder of the C module for an ABI: beside the one this process uses.
function M.cpath(abi)
  for template in package.cpath:gmatch("[^;]+") do
    local path = template:gsub("/5%.%d/", "/" .. abi .. "/")
    local file = io.open((path:gsub("%?", "certrotate/core")), "rb")
    if file and path:find("/" .. abi .. "/", 1, true) then
      file:close()
      return path
    end
    if file then file:close() end
  end
  error("no C module for Lua " .. abi .. " beside this one: build it")
end

--- The folder the tests run in (the repository), absolute.
function M.tree()
  local _, text = run("pwd -P")
  return (text:gsub("%s+$", ""))
end

-- The lines come from the log and so does nginx's "master process" report of a worker that died. SIGKILL is a test's own.
local function crashed(log)
  for line in log:gmatch("[^\n]+") do
    if line:find("AddressSanitizer", 1, true) or line:find("exited on signal %d+") and not line:find("signal 9%f[%D]") then
      return line
    end
  end
  return nil
end

---@param options { http?: string, server?: string, main?: string, workers?: integer }
function M.start(options)
  local _, directory = run("mktemp -d")
  directory = directory:gsub("%s+$", "")
  local tree, cpath = M.tree(), M.cpath("5.1")
  for _ = 1, 8 do
    local port = free_port()
    write(directory .. "/nginx.conf", ([[
load_module /usr/lib/nginx/modules/ndk_http_module.so;
load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;
@USER@
daemon on; master_process on; worker_processes @WORKERS@;
pid @D@/nginx.pid; error_log @D@/error.log notice;
@MAIN@
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path @D@/t1; proxy_temp_path @D@/t2; fastcgi_temp_path @D@/t3; uwsgi_temp_path @D@/t4; scgi_temp_path @D@/t5;
  lua_package_path "@TREE@/lua/?.lua;@TREE@/lua/?/init.lua;@TREE@/?.lua;;";
  lua_package_cpath "@CPATH@;;";
  default_type text/plain;
  keepalive_requests 100000;
@HTTP@
  server {
    listen 127.0.0.1:@PORT@ backlog=1024;
@SERVER@
  }
}
]]):gsub("@(%u+)@", {
      D = directory, PORT = tostring(port), TREE = tree, CPATH = cpath, WORKERS = tostring(options.workers or 1),
      MAIN = options.main or "", HTTP = options.http or "", SERVER = options.server or "",
      USER = select(2, run("id -u")):match("^0") and "user root;" or "",
    }))
    local code, output = run(("PATH=\"$PATH:/usr/sbin\" nginx -p '%s' -e '%s/error.log' -c '%s/nginx.conf'"):format(
      directory, directory, directory))
    if code == 0 then
      run(("n=0; while [ ! -s '%s/nginx.pid' ] && [ $n -lt 250 ]; do sleep 0.02; n=$((n+1)); done"):format(directory))
      local pid = assert(tonumber(read(directory .. "/nginx.pid"):match("%d+")), "nginx wrote no pid")
      return setmetatable({ directory = directory, port = port, pid = pid, url = "http://127.0.0.1:" .. port }, Server)
    end
    if not output:find("bind() to", 1, true) then
      run("rm -r '" .. directory .. "'")
      error("nginx did not start: " .. output, 2)
    end
  end
  error("nginx found no free port", 2)
end

function Server:log() return read(self.directory .. "/error.log") end

--- A signal by name to the master: HUP reloads.
function Server:signal(name) return run(("kill -%s %d"):format(name, self.pid)) end

function Server:stop()
  if self.stopped then return end
  self.stopped = true
  -- Its pid file goes when it is done; the process itself can be seen until somebody reaps it, often a second or two.
  run(("kill -TERM %d; n=0; while [ -e '%s/nginx.pid' ] && kill -0 %d 2>/dev/null && [ $n -lt 250 ]; do sleep 0.02; "
    .. "n=$((n+1)); done; [ $n -lt 250 ] || kill -9 %d"):format(self.pid, self.directory, self.pid, self.pid))
  local log = self:log()
  run("rm -r '" .. self.directory .. "'")
  local crash = crashed(log)
  if crash then error("nginx crashed: " .. crash, 2) end
end

return M
