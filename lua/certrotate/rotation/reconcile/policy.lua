--- In which waves a declared certificate is rotated: what its entry and the defaults say, as one policy. Resolved while
-- the configuration is checked, so that every mistake is told before anything is asked of AWS.
--
-- Gates are found by name, in whatever process goes on: a function that stands in a stage gets one.
local fmt = require("certrotate.fmt")
local policy_file = require("certrotate.rotation.policy_file")
local policy_module = require("certrotate.rotation.policy")

local M = {}

-- What is about waves: an entry that decides one of these itself does not get the others from the defaults.
local PLANS = { "policy", "policy_options", "waves" }
-- What else has no meaning where everybody is changed at once.
local PACE = { "windows", "probes", "failures", "gates" }

-- An error message of our own modules, without where it was raised.
local function bare(problem) return (tostring(problem):gsub("^.-:%d+: ", ""):gsub("%s*\n%s*", " ")) end

local function stage_of(stage, number, gates)
  if type(stage) ~= "table" then return stage end
  local copy = {}
  for key, value in pairs(stage) do copy[key] = value end
  if type(copy.soak) == "string" then copy.soak = fmt.parse_duration(copy.soak) or copy.soak end
  if type(copy.gate) == "function" then
    local name = "gate of wave " .. number
    gates[name], copy.gate = copy.gate, name
  elseif type(copy.gate) == "string" and not gates[copy.gate] then
    return nil, ("stage %d: the gate '%s' is none of `gates`"):format(number, copy.gate)
  end
  return copy
end

local function staged(one, gates)
  local stages = {}
  for number, stage in ipairs(one.waves) do
    local problem
    stages[number], problem = stage_of(stage, number, gates)
    if problem then return nil, problem end
  end
  return policy_module.staged(stages)
end

local function resolved(one, gates)
  if one.waves then return staged(one, gates) end
  local value = one.policy or "cheapest"
  if type(value) == "string" and value:find("%.lua$") then
    if next(gates) then return nil, "a policy's file has its own gates; leave `gates` out" end
    if one.policy_options then return nil, "a policy's file decides waves by itself; leave `policy_options` out" end
    local policy, err = policy_file.load(value)
    return policy, err and err.message
  end
  if type(value) ~= "string" and one.policy_options then
    return nil, "`policy_options` are of \"careful\" and \"cheapest\""
  end
  return policy_module.resolve(value, one.policy_options)
end

--- Takes over of the defaults what the entry leaves open, where that makes sense together.
---@param given table      the entry, checked
---@param defaults table
---@return table one
function M.merged(given, defaults)
  local one, own = {}, false
  for _, name in ipairs(PLANS) do own = own or given[name] ~= nil and name ~= "policy_options" end
  for key, value in pairs(defaults) do one[key] = value end
  if own then
    for _, name in ipairs(PLANS) do one[name] = nil end
  end
  if given.method == "reimport" then
    for _, list in ipairs({ PLANS, PACE }) do
      for _, name in ipairs(list) do one[name] = nil end
    end
  end
  -- A file brings its own.
  if type(given.policy) == "string" and given.policy:find("%.lua$") then one.gates = nil end
  for key, value in pairs(given) do one[key] = value end
  return one
end

-- What contradicts itself, or nil.
local function contradiction(one)
  if one.waves and one.policy then return "`waves` and `policy`: give one of them" end
  if one.waves and one.policy_options then
    return "`policy_options` are of a policy; with `waves` each wave has its own soak, parallel and pause"
  end
  if one.method ~= "reimport" then return nil end
  for _, list in ipairs({ PLANS, PACE }) do
    for _, name in ipairs(list) do
      if one[name] ~= nil then
        return ("a reimport reaches everybody at once, there are no waves; leave `%s` out, or method = \"swap\""):format(name)
      end
    end
  end
  if one.holders then
    return "a reimport reaches everybody who uses the certificate; leave `holders` out, or method = \"swap\""
  end
end

--- The policy of one declared certificate.
---@param one certrotate.Declared
---@return certrotate.Policy? policy   with the gates its waves name
---@return string? problem
function M.of(one)
  local problem = contradiction(one)
  if problem then return nil, problem end
  local gates = {}
  for name, gate in pairs(one.gates or {}) do gates[name] = gate end
  local ok, policy, why = pcall(resolved, one, gates)
  if not ok then return nil, bare(policy) end
  if not policy then return nil, why end
  if policy.file or not next(gates) then return policy end
  -- A policy may be shared with other certificates: the gates are put on a copy.
  local own = setmetatable({}, getmetatable(policy))
  for key, value in pairs(policy) do own[key] = value end
  own.gates = gates
  for name, gate in pairs(policy.gates or {}) do own.gates[name] = own.gates[name] or gate end
  return own
end

--- Why the next round could not ask the gates of a plan made with a policy, or nil.
---@param plan certrotate.Plan
---@param policy certrotate.Policy
---@return string?
function M.nameless(plan, policy)
  for index, wave in ipairs(plan.waves) do
    if wave.gate and not (policy.gates or {})[wave.gate] then
      return ("the gate of wave %d (%s) is a function without a name, which the next round could not find again; put it "
        .. "into `gates = { NAME = function … }` and name it in the wave"):format(index, wave.name)
    end
  end
end

return M
