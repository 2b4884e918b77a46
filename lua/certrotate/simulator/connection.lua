-- The unpleasant side of connections: resets, truncated and endless replies; and the watch over the process that
-- started the simulator. Linux numbers; elsewhere a reset is an ordinary close.
local ffi = require "ffi"

ffi.cdef [[
int getpeername(int fd, void *address, unsigned int *length);
int setsockopt(int fd, int level, int name, const void *value, unsigned int length);
int kill(int pid, int sig);
int getppid(void);
]]

local M = {}

local SOL_SOCKET, SO_LINGER, AF_INET, SIGTERM = 1, 13, 2, 15

-- Makes the close of this request's connection an RST: finds the descriptor by the client's port, and tells the
-- kernel not to linger.
local function arm_reset()
  if ffi.os ~= "Linux" then
    return
  end
  local address, length = ffi.new("unsigned char[32]"), ffi.new("unsigned int[1]")
  local port = tonumber(ngx.var.remote_port)
  local linger = ffi.new("int[2]", 1, 0)
  for fd = 3, 8191 do
    length[0] = 32
    if ffi.C.getpeername(fd, address, length) == 0 and address[0] + address[1] * 256 == AF_INET
      and address[2] * 256 + address[3] == port then
      ffi.C.setsockopt(fd, SOL_SOCKET, SO_LINGER, linger, 8)
    end
  end
end

local function hang(seconds)
  local left = seconds
  while left > 0 and not ngx.worker.exiting() do
    ngx.sleep(math.min(left, 0.5))
    left = left - 0.5
  end
  return ngx.exit(444)
end

local function endless(limit)
  local chunk, sent = ("<x>" .. (" "):rep(65530)), 0
  ngx.status = 200
  ngx.header["Content-Type"] = "text/xml"
  while sent < limit and not ngx.worker.exiting() do
    if not ngx.print(chunk) or not ngx.flush(true) then
      break
    end
    sent = sent + #chunk
  end
  return ngx.exit(ngx.ERROR)
end

-- The whole length is promised, a part of it is sent.
local function truncate(answer, bytes, send)
  answer.promised = #answer.body
  answer.body = answer.body:sub(1, bytes or math.floor(#answer.body / 2))
  send(answer)
  ngx.flush(true)
  return ngx.exit(ngx.ERROR)
end

--- Ends a request without a proper answer.
---@param fault certrotate.simulator.Fault
---@param answer? certrotate.simulator.Answer   what would have been sent
---@param send fun(answer:certrotate.simulator.Answer)
function M.break_off(fault, answer, send)
  if fault.kind == "hang" then
    return hang(fault.seconds or 3600)
  elseif fault.kind == "endless" then
    return endless(fault.bytes or 1073741824)
  elseif fault.kind == "truncate" and answer then
    return truncate(answer, fault.bytes, send)
  end
  arm_reset()
  return ngx.exit(444)
end

-- ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────

--- Ends nginx, as a signal would.
function M.quit()
  ffi.C.kill(ffi.C.getppid(), SIGTERM)
end

local function alive(pid, started)
  local file = io.open(("/proc/%d/stat"):format(pid), "rb")
  if not file then
    -- No /proc, or no process.
    return not io.open("/proc/self/stat", "rb") and ffi.C.kill(pid, 0) == 0
  end
  local stat = file:read("*a") or ""
  file:close()
  local fields = 0
  for field in (stat:match("%)%s+(.*)$") or ""):gmatch("%S+") do
    fields = fields + 1
    if fields == 1 and field == "Z" then
      return false
    elseif fields == 20 then
      return not started or field == started
    end
  end
  return false
end

-- The folder goes when nginx has gone; a shell that outlives both sees to it.
local function remove_later(directory)
  local quoted = "'" .. directory:gsub("'", "'\\''") .. "'"
  os.execute(("(n=0; while kill -0 %d && [ $n -lt 100 ]; do sleep 0.1; n=$((n+1)); done; rm -rf -- %s) "
    .. ">/dev/null 2>&1 </dev/null &"):format(ffi.C.getppid(), quoted))
end

--- Ends the simulator when the process that started it is gone.
---@param options {parent?:integer, parent_started?:string, remove_directory?:boolean, directory:string}
function M.watch(options)
  if not options.parent then
    return
  end
  local leaving = false
  ngx.timer.every(0.5, function()
    if not leaving and not alive(options.parent, options.parent_started) then
      leaving = true
      if options.remove_directory then
        remove_later(options.directory)
      end
      M.quit()
    end
  end)
end

return M
