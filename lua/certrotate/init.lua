--- certrotate: replaces a TLS certificate on every CloudFront distribution that uses it, in a safe order.
--
--   local certrotate = require "certrotate"
--   local aws = certrotate.must(certrotate.connect { profile = "prod" })
--   local new = certrotate.must(certrotate.identity { certificate = "fullchain.pem", private_key = "privkey.pem" })
--   local plan = certrotate.must(aws:plan { replace = "arn:aws:acm:us-east-1:…", with = new,
--                                           policy = certrotate.policy.cheapest { canary = 1, soak = 600 } })
--   print(plan)
--   local report, err = plan:run { journal = "www.journal", on_event = certrotate.progress() }
--
-- Loading this module does no I/O. Failures are `nil, err` (tostring(err) is one line that says what to do);
-- misuse raises a string.
local core = require("certrotate.core")
local errors = require("certrotate.errors")

---@class certrotate
---@field core certrotate.core
---@field policy table             certrotate.rotation.policy: careful, cheapest, …
---@field task table               certrotate.task: pause, all, any
---@field json table
---@field fmt table
local M = {
  --- Version of the module.
  version = core.VERSION,
  core = core,
}

--- Opens a session with an AWS account.
---@param options? certrotate.ConnectOptions
---@return certrotate.Session?
---@return certrotate.Error?
function M.connect(options) return require("certrotate.session").connect(options) end

--- Loads a certificate, its chain and its private key; the key stays in C memory.
---@param options certrotate.IdentityOptions
---@return certrotate.Identity?
---@return certrotate.Error?
function M.identity(options) return core.identity(options) end

--- A function for `on_event` that shows a run's progress.
---@param options? certrotate.ProgressOptions
---@return fun(event: table)
function M.progress(options) return require("certrotate.report.progress").new(options) end

--- Reads a plan that was saved.
---@param path string
---@return certrotate.Plan?
---@return certrotate.Error?
function M.load_plan(path) return require("certrotate.rotation.plan").load(path) end

--- Prints what a thing is and can do: a module, a session, a service, a function, a plan, an error. `help` alone does so,
--- too, where the interpreter was started for typing with -l certrotate.
---@param ... any   one value; none: where to begin
function M.help(...) print(require("certrotate.help").text(...)) end

--- Hands its arguments on, or raises the error's one line: for scripts that stop at the first failure.
M.must = errors.must

-- Parts that are loaded when they are first asked for.
local PARTS = {
  policy = "certrotate.rotation.policy", task = "certrotate.task", json = "certrotate.json", fmt = "certrotate.fmt",
  errors = "certrotate.errors",
}

local module = setmetatable(M, {
  __name = "certrotate",
  __tostring = function(self) return ("certrotate %s; help() tells where to begin"):format(self.version) end,
  __index = function(self, name)
    local module = PARTS[name]
    if not module then return nil end
    local part = require(module)
    rawset(self, name, part)
    return part
  end,
})

-- `lua -l certrotate`: somebody who types wants names at hand. In a program no global ever appears.
if rawget(_G, "arg") and require("certrotate.prompt").at_prompt(nil, function() return core.terminal(0) end) then
  if rawget(_G, "help") == nil then rawset(_G, "help", M.help) end
  rawset(_G, "certrotate", module)
end

return module
