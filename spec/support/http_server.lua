--- A web server inside the test's own process, driven by luv, so that a client can be tested without a second process.
---
---   local server = http_server.start(function(request) return 200, { ["x-amzn-requestid"] = "r" }, "{}" end)
---   server.url                                  -- "http://127.0.0.1:41234", a port picked free
---   local id, result, err = server:take(client) -- runs both until the client has something finished
---   server:close()
---
--- A handler that returns nothing drops the connection. Requests: { method, target, headers (lower-case names), body }.
local uv = require("luv")
local M = {}
local Server = {}
Server.__index = Server

local DEADLINE = 20 -- seconds; only a broken test waits so long

local function parse(data)
  local head, rest = data:match("^(.-)\r\n\r\n(.*)$")
  if not head then return nil end
  local request = { headers = {} }
  request.method, request.target = head:match("^(%u+) (%S+) HTTP/1%.1")
  for name, value in head:gmatch("\r\n([^:\r\n]+):%s*([^\r\n]*)") do
    request.headers[name:lower()] = value
  end
  local length = tonumber(request.headers["content-length"] or 0)
  if #rest < length then return nil end
  request.body = rest:sub(1, length)
  return request
end

local function answer(self, peer, request)
  self.requests[#self.requests + 1] = request
  local status, headers, body = self.handler(request)
  if not status then return peer:close() end
  body = body or ""
  local lines = { ("HTTP/1.1 %d Whatever"):format(status) }
  for name, value in pairs(headers or {}) do lines[#lines + 1] = name .. ": " .. value end
  lines[#lines + 1] = "Content-Length: " .. #body
  lines[#lines + 1] = "Connection: close"
  peer:write(table.concat(lines, "\r\n") .. "\r\n\r\n" .. body, function()
    if not peer:is_closing() then peer:shutdown(function() if not peer:is_closing() then peer:close() end end) end
  end)
end

---@param handler fun(request:table):integer?, table?, string?
function M.start(handler)
  local self = setmetatable({ handler = handler, requests = {}, listener = uv.new_tcp() }, Server)
  assert(self.listener:bind("127.0.0.1", 0))
  self.url = "http://127.0.0.1:" .. self.listener:getsockname().port
  assert(self.listener:listen(64, function(problem)
    assert(not problem, problem)
    local peer, data = uv.new_tcp(), ""
    self.listener:accept(peer)
    peer:read_start(function(_, chunk)
      if not chunk then
        if not peer:is_closing() then peer:close() end
        return
      end
      data = data .. chunk
      local request = parse(data)
      if request then
        peer:read_stop()
        answer(self, peer, request)
      end
    end)
  end))
  return self
end

--- Runs the server and the client until the client has something finished; what client:take returns.
function Server.take(_, client)
  local deadline = uv.hrtime() + DEADLINE * 1e9
  while uv.hrtime() < deadline do
    uv.run("nowait")
    client:wait(0.001)
    local id, result, err = client:take()
    if id then return id, result, err end
  end
  error("nothing finished within " .. DEADLINE .. " s", 2)
end

--- luv's closing callbacks have to run before a Lua state ends.
function Server:close()
  if not self.listener:is_closing() then self.listener:close() end
  uv.walk(function(handle) if not handle:is_closing() then handle:close() end end)
  uv.run()
end

--- A URL on which nobody listens: a port that was free a moment ago.
function M.refused()
  local probe = uv.new_tcp()
  assert(probe:bind("127.0.0.1", 0))
  local port = probe:getsockname().port
  probe:close()
  uv.run()
  return "http://127.0.0.1:" .. port
end

return M
