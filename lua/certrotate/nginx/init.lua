--- certrotate inside nginx and OpenResty: a scheduled job in one worker, and pages about it.
--
--   lua_shared_dict certrotate 2m;
--   init_worker_by_lua_block { require("certrotate.nginx").start { config = "/etc/certrotate/sites.lua" } }
--   location = /certrotate         { allow 127.0.0.1; deny all; content_by_lua_block { require("certrotate.nginx").page() } }
--   location = /certrotate.json    { … content_by_lua_block { require("certrotate.nginx").json() } }
--   location = /certrotate/metrics { … content_by_lua_block { require("certrotate.nginx").metrics() } }
--
-- The handlers only read, and ask AWS nothing; who may see them is the operator's to say (allow, auth_basic, …).
-- What changes anything is mounted on purpose: `action { token_file = … }`.
local M = {}

local DEFAULT_DICT = "certrotate"

local function number(options, name, default, least)
  local value = options[name]
  if value == nil then return default end
  if type(value) ~= "number" or value ~= value or value < least or value == math.huge then
    error(("certrotate.nginx.start: %s: a number of seconds, %g or more, expected"):format(name, least), 0)
  end
  return value
end

local function dictionary(options)
  local name = options and options.dict or DEFAULT_DICT
  local dict = ngx.shared[name]
  if not dict then
    error(("certrotate.nginx: nginx has no shared dictionary '%s': put `lua_shared_dict %s 2m;` into the http block")
      :format(name, name), 0)
  end
  return dict
end

---@class certrotate.nginx.Options
---@field config? string      file with the declared certificates: what `certrotate reconcile` takes
---@field job? fun(context: certrotate.nginx.Context): string?, certrotate.Error?   or your own: returns what was done,
---                           in a line, or `nil, err`
---@field connect? certrotate.ConnectOptions   with `config`: how to reach AWS
---@field every? number       seconds between rounds (default 3600)
---@field retry? number       seconds after a round that failed (default 300)
---@field lease? number       seconds until what a killed worker held passes on (default 30)
---@field poll? number        seconds between a worker's looks whether a round is due (default 5)
---@field dict? string        name of the shared dictionary (default "certrotate")

local KNOWN = { config = true, job = true, connect = true, every = true, retry = true, lease = true, poll = true,
                dict = true }

local function begin(options)
  if type(options) ~= "table" then error("certrotate.nginx.start: a table of options expected", 0) end
  for name in pairs(options) do
    if not KNOWN[name] then
      error(("certrotate.nginx.start: unknown option '%s'; one of: config, job, connect, every, retry, lease, poll, "
        .. "dict"):format(tostring(name)), 0)
    end
  end
  local job = options.job
  if (job == nil) == (options.config == nil) then error("certrotate.nginx.start: either config or job expected", 0) end
  if job ~= nil and type(job) ~= "function" then error("certrotate.nginx.start: job: function expected", 0) end
  if options.config ~= nil and type(options.config) ~= "string" then
    error("certrotate.nginx.start: config: a file's path expected", 0)
  end
  if not job then job = require("certrotate.nginx.reconcile").job(options.config, options.connect) end
  require("certrotate.nginx.schedule").new({
    job = job, every = number(options, "every", 3600, 1), retry = number(options, "retry", 300, 1),
    ttl = number(options, "lease", 30, 1), poll = number(options, "poll", 5, 0.05), dict = dictionary(options),
  }):begin()
end

--- Starts the schedule. For init_worker_by_lua; every worker may call it, one at a time leads. What is wrong with the
--- options is a line in nginx's error log, and nothing is started; anywhere else it is raised.
---@param options certrotate.nginx.Options
function M.start(options)
  local ok, problem = pcall(begin, options)
  if ok then return end
  local ngx = rawget(_G, "ngx")
  if not ngx or ngx.get_phase() ~= "init_worker" then error(problem, 2) end
  ngx.log(ngx.ERR, problem, "; nothing is started")
end

-- The board, or an answer that there is none.
local function board(options)
  local ok, dict = pcall(dictionary, options)
  if ok then return require("certrotate.nginx.board").open(dict) end
  ngx.log(ngx.ERR, dict)
  ngx.status = 503
  ngx.say("this handler is not set up: see nginx's error log")
end

-- Handlers that read take GET and HEAD.
local function reads()
  local method = ngx.req.get_method()
  if method == "GET" or method == "HEAD" then return true end
  ngx.header.Allow = "GET, HEAD"
  ngx.status = 405
  ngx.say("only GET: this page changes nothing")
  return false
end

local function answer(kind, text)
  local header = ngx.header
  header["Content-Type"] = kind
  header["Content-Length"] = #text
  header["Cache-Control"] = "no-store"
  header["X-Content-Type-Options"] = "nosniff"
  if ngx.req.get_method() ~= "HEAD" then ngx.print(text) end
end

--- Content handler: the status page for people.
---@param options? { dict?: string }
function M.page(options)
  local shown = reads() and board(options)
  if not shown then return end
  ngx.header["Content-Security-Policy"] =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
  answer("text/html; charset=utf-8",
    require("certrotate.nginx.page").html(shown, ngx.now(), { holders = ngx.var.arg_holders }))
end

--- Content handler: the same as JSON.
---@param options? { dict?: string }
function M.json(options)
  local shown = reads() and board(options)
  if not shown then return end
  answer("application/json", require("certrotate.json").encode({
    now = ngx.now(), state = shown:read("state"), inventory = shown:read("inventory"), rotation = shown:read("rotation"),
  }) .. "\n")
end

--- Content handler: Prometheus metrics.
---@param options? { dict?: string }
function M.metrics(options)
  local shown = reads() and board(options)
  if not shown then return end
  answer("text/plain; version=0.0.4; charset=utf-8",
    require("certrotate.nginx.metrics").text(shown, ngx.now()))
end

---@class certrotate.nginx.ActionOptions
---@field token? string        what must come as `Authorization: Bearer TOKEN`: 16 characters or more
---@field token_file? string   or a file whose first line it is
---@field dict? string

--- Content handler that acts: POST with `action=reconcile` (a round now) or `action=interrupt` (what runs comes to a safe
-- point and stays resumable), as a form or in the query. Needs a token; mounted without one it refuses everything.
---@param options certrotate.nginx.ActionOptions
function M.action(options)
  local shown = board(options)
  if shown then require("certrotate.nginx.action").handle(options or {}, shown) end
end

return M
