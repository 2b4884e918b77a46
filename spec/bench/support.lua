-- What the benchmarks share: shells, medians, a static nginx.
local core = require("certrotate.core")
local files = require("spec.support.files")

local M = { quote = files.quote, read = files.read, write = files.write, directory = files.directory }

--- Output of a command; raises when it fails.
function M.capture(command)
  local pipe = assert(io.popen(command .. " ; echo rc=$?"))
  local text = pipe:read("*a")
  pipe:close()
  local output, rc = text:match("^(.-)rc=(%d+)%s*$")
  if rc ~= "0" then error(command .. " failed: " .. text, 0) end
  return output
end

function M.median(list)
  local copy = {}
  for i, value in ipairs(list) do copy[i] = value end
  table.sort(copy)
  local middle = math.floor((#copy + 1) / 2)
  return #copy % 2 == 1 and copy[middle] or (copy[middle] + copy[middle + 1]) / 2
end

--- Peak and current resident memory of this process, in KiB.
function M.memory()
  local status = M.read("/proc/self/status")
  return tonumber(status:match("VmHWM:%s*(%d+)")), tonumber(status:match("VmRSS:%s*(%d+)"))
end

--- Lets the peak start again from what is resident now.
function M.reset_peak()
  M.write("/proc/self/clear_refs", "5")
end

--- Serves the files of a folder at /2020-05-31/distribution?Marker=NAME over plain HTTP on loopback.
---@return string endpoint
---@return fun() stop
function M.serve(directory)
  for attempt = 1, 20 do
    local port = 20000 + (math.floor(core.monotonic() * 1e6) + attempt * 7919) % 30000
    M.write(directory .. "/nginx.conf", ([[
daemon on; pid nginx.pid; error_log error.log; worker_processes 1; user root;
events { worker_connections 64; }
http {
  access_log off; keepalive_requests 1000000; sendfile on;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  server {
    listen 127.0.0.1:%d;
    location = /2020-05-31/distribution { default_type text/xml; root %s; try_files /page-$arg_Marker.xml =404; }
  }
}
]]):format(port, directory))
    if pcall(M.capture, ("nginx -p %s/ -e error.log -c nginx.conf 2>/dev/null"):format(M.quote(directory))) then
      local pid = M.capture(("for i in 1 2 3 4 5 6 7 8 9; do [ -s %s/nginx.pid ] && break; sleep 0.1; done; cat %s/nginx.pid")
        :format(M.quote(directory), M.quote(directory))):match("%d+")
      return ("http://127.0.0.1:%d"):format(port), function() M.capture("kill " .. pid) end
    end
  end
  error("no free port for nginx", 0)
end

return M
