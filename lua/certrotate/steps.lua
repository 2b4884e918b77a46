--- `aws.steps`: the re-entrant units of a rotation, run by the core. Each can be run again at any point and ends in the same
-- state. Results and `nil, err` as everywhere; what each takes and returns is in plugin/core/step.h.
--
--   aws.steps:import { identity = identity, store = "acm", name = "www" }
--   aws.steps:reimport { identity = identity, reference = arn, from = old_fingerprint }
--   aws.steps:swap { Id = "E1…", from = old, to = new }
--   aws.steps:policy { Id = "E1…", from = policy, to = "" }
--   aws.steps:settle { Ids = { "E1…" }, to = new }
--   aws.steps:verify { server_name = "www.example.com", fingerprint = identity:fingerprint() }
--   aws.steps:retire { reference = old, changed = { "E1…" }, dry_run = true }
local M = {}

---@class certrotate.Steps
local Steps = { __name = "certrotate.Steps" }
Steps.__index = Steps

Steps.__tostring = function() return "certrotate steps: import, swap, policy, settle, verify, retire" end

local names = setmetatable({}, { __mode = "k" })   -- of the functions below, for help()

local function step(name, prepare)
  local function run(self, params, options)
    if type(self) ~= "table" or not self._session then error(("call it with a colon: aws.steps:%s{…}"):format(name), 2) end
    if type(params) ~= "table" then
      error(("steps:%s: a table of parameters expected, got %s"):format(name, type(params)), 2)
    end
    local session, own = self._session, {}
    for key, value in pairs(params) do own[key] = value end
    if prepare then prepare(session, own) end
    local identity = own.identity
    own.identity = nil
    return session.loop:await({ account = session.account, step = name, params = own, identity = identity,
                                timeout = options and options.timeout })
  end
  names[run] = name
  return run
end

--- Finds its own earlier work by fingerprint and adopts it; never imports twice.
Steps.import = step("import")
--- Puts the identity under an ACM ARN in place of the certificate `from` (its SHA-256); kind "conflict" when another one
--- is there.
Steps.reimport = step("reimport")
--- Changes one holder's certificate; kind "conflict" when it names neither `from` nor `to`.
Steps.swap = step("swap")
--- Detaches a continuous-deployment policy from its primary (`to` = ""), or attaches it (`from` = ""); kind "conflict"
--- when another one is attached, or the policy is gone.
Steps.policy = step("policy")
--- Waits until every holder is Deployed.
Steps.settle = step("settle", function(session, params)
  if params.poll == nil then params.poll = session.poll end
end)
--- Opens TLS to where viewers go (or to the session's edge) and tells which certificate is served.
Steps.verify = step("verify", function(session, params)
  if params.host == nil and session.edge then
    params.host, params.port = session.edge.host, session.edge.port
  end
end)
--- Deletes a certificate when every fact allows it.
Steps.retire = step("retire")

--- The name of one of the steps' functions.
---@param fn function
---@return string?
function M.name_of(fn) return names[fn] end

---@param session certrotate.Session
function M.attach(session)
  session.steps = setmetatable({ _session = session }, Steps)
end

return M
