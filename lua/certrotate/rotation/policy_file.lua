--- A policy of the user's own in a file, for the command line and for resuming: the plan names the file and its hash,
-- so that its gates are the reviewed ones in whatever process the rotation goes on.
--
-- The file returns a function from holders to waves, a policy, or a table with `waves` and `gates`.
local core = require("certrotate.core")
local errors = require("certrotate.errors")
local policy_module = require("certrotate.rotation.policy")

local M = {}

local load_text = loadstring or load   -- luacheck: ignore 113 143

local function bad(path, problem)
  return nil, errors.new({ kind = "input", code = "BadPolicy", message = ("policy %s: %s"):format(path, problem) })
end

--- Reads and runs a policy file.
---@param path string
---@return certrotate.Policy?
---@return certrotate.Error?
function M.load(path)
  local full, err = core.realpath(path)
  if not full then return nil, err end
  local file, why = io.open(full, "rb")
  local text = file and file:read("*a")
  if file then file:close() end
  if not text then return bad(path, why or "it is no file") end
  local chunk, problem = load_text(text, "@" .. path)
  if not chunk then return bad(path, tostring(problem)) end
  local ok, value = pcall(chunk)
  if not ok then return bad(path, tostring(value)) end
  if type(value) ~= "function" and type(value) ~= "table" then
    return bad(path, "it must return a function from holders to waves, a policy, or { waves =, gates = }")
  end
  local fine, policy = pcall(policy_module.resolve, value)
  if not fine then return bad(path, (tostring(policy):gsub("^.-:%d+: ", ""))) end
  -- A named policy that a file returns may be shared with others: what is added is put on a copy.
  local own = setmetatable({}, getmetatable(policy))
  for key, field in pairs(policy) do own[key] = field end
  own.file, own.sha256 = full, core.sha256(text)
  return own
end

--- The gates of a plan: given by the caller, or read again from the file the plan was made with. Refused when one is
--- missing, or when the file is another one by now.
---@param plan certrotate.Plan
---@param given? table<string, certrotate.Gate>
---@param path? string   of a policy file named on purpose, whatever its hash
---@return table<string, certrotate.Gate>?
---@return certrotate.Error?
function M.gates(plan, given, path)
  local names, gates = {}, given or {}
  for _, wave in ipairs(plan.waves) do
    if wave.gate then names[#names + 1] = wave.gate end
  end
  if #names == 0 then return gates end
  if not given and (path or plan.policy.file) then
    local policy, err = M.load(path or plan.policy.file)
    if not policy then return nil, err end
    if not path and policy.sha256 ~= plan.policy.sha256 then
      return nil, errors.new({ kind = "policy", code = "PolicyChanged",
        message = ("%s is not the policy this plan was made with any more; make a new plan, or name it with --policy to go "
          .. "on with its gates as they are now"):format(plan.policy.file) })
    end
    gates = policy.gates or {}
  end
  for _, name in ipairs(names) do
    if type(gates[name]) ~= "function" then
      return nil, errors.new({ kind = "input", code = "NoGate",
        message = ("the plan's gate '%s' is a function that is not known here; %s"):format(name,
          plan.policy.file and "name a policy file that has it with --policy"
            or "go on from the script that made it, with `gates`, or by the reconcile whose configuration has it") })
    end
  end
  return gates
end

return M
