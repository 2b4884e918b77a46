--- The one handler that changes anything: asks for a round now, or interrupts the one that runs. Only with the token.
local M = {}

local LEAST = 16   -- characters of a token: shorter ones are guessed

-- The time it takes tells nothing about how far they agree.
local function same(a, b)
  local bit = require("bit")
  local difference = bit.bxor(#a, #b)
  for i = 1, #a do
    difference = bit.bor(difference, bit.bxor(a:byte(i), b:byte((i - 1) % #b + 1)))
  end
  return difference == 0
end

local function token_of(options)
  local token = options.token
  if not token and options.token_file then
    local file, why = io.open(options.token_file, "rb")
    if not file then return nil, "cannot read its token: " .. why end
    token = file:read("*l")
    file:close()
  end
  if type(token) ~= "string" or token == "" then return nil, "has no token: mount it with token or token_file" end
  token = token:gsub("%s+$", "")
  if #token < LEAST then return nil, ("has a token of %d characters; give it %d or more"):format(#token, LEAST) end
  return token
end

local function say(status, text)
  ngx.status = status
  ngx.header["Content-Type"] = "text/plain; charset=utf-8"
  ngx.header["Cache-Control"] = "no-store"
  ngx.say(text)
end

local actions = {}

function actions.reconcile(board)
  local state = board:read("state")
  if state and state.phase == "running" then return 409, "a round is running already" end
  state = state or { phase = "idle" }
  state.next = 0
  board:write("state", state)
  return 202, "a round begins within seconds"
end

function actions.interrupt(board)
  local state = board:read("state")
  if not state or state.phase ~= "running" then return 409, "nothing runs" end
  board.dict:set("interrupt", true, 60)
  return 202, "what runs comes to a safe point; it can be resumed"
end

---@param options certrotate.nginx.ActionOptions
---@param board certrotate.nginx.Board
function M.handle(options, board)
  local token, problem = token_of(options)
  if not token then
    ngx.log(ngx.ERR, "certrotate: the action handler ", problem, "; refused")
    return say(503, "this handler is not set up: see nginx's error log")
  end
  if ngx.req.get_method() ~= "POST" then
    ngx.header.Allow = "POST"
    return say(405, "only POST")
  end
  local given = (ngx.var.http_authorization or ""):match("^[Bb]earer +(%S+)$")
  if not given or not same(given, token) then
    ngx.header["WWW-Authenticate"] = 'Bearer realm="certrotate"'
    ngx.log(ngx.WARN, "certrotate: an action without the token, from ", ngx.var.remote_addr, "; refused")
    return say(401, "Authorization: Bearer TOKEN expected")
  end
  ngx.req.read_body()
  local name = ngx.req.get_post_args(8).action or ngx.req.get_uri_args(8).action
  local action = type(name) == "string" and actions[name]
  if not action then return say(400, "action=reconcile or action=interrupt expected") end
  ngx.log(ngx.NOTICE, "certrotate: action ", name, ", from ", ngx.var.remote_addr)
  say(action(board))
end

return M
