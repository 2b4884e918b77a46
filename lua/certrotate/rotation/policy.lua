--- In which order holders are changed, and how many at a time. A policy turns holders into waves; it
-- decides nothing else and does no I/O, so it can be tried out on any list of holders.
--
-- A policy is a function, or one of the tables made here (callable the same way):
--
--   function(holders, context) return { { name=, holders={…}, parallel=, soak=, … }, … } end
--
-- What a wave may ask for is in wave_options.lua, waves by size, share, tag and list are in staged.lua, and a file of
-- the user's own is read by policy_file.lua.
local staged = require("certrotate.rotation.staged")
local wave_options = require("certrotate.rotation.wave_options")

local M = {}

---@class certrotate.Wave: certrotate.WaveOptions
---@field name string
---@field holders certrotate.Holder[]
---@field parallel integer          holders being changed at the same time
---@field soak number               seconds to wait after the wave has settled
---@field settle "holder"|"listing" how to see that its holders are Deployed: one by one, or by page of the listing
---@field reason string             why these, why now: one line for whoever reviews the plan

---@class certrotate.PolicyContext
---@field from string
---@field now number                       Unix seconds
---@field deploy_seconds number            expected time from an update to Deployed
---@field expected? table<string, number>  the same by holder id, where it is known better

---@class certrotate.Policy
---@field name string
---@field options table
---@field waves fun(holders: certrotate.Holder[], context: certrotate.PolicyContext): certrotate.Wave[]
---@field gates? table<string, certrotate.Gate>   functions its waves name in `gate`
---@field tags? boolean      it looks at the holders' Tags, which are read for it
---@field file? string       where it was read from, and what was there: a resume needs the gates again
---@field sha256? string

local policy_metatable = {
  __name = "certrotate.Policy",
  __call = function(self, holders, context) return self.waves(holders, context) end,
  __tostring = function(self)
    local parts = {}
    for key, value in pairs(self.options) do
      parts[#parts + 1] = key .. " = " .. (type(value) == "table" and table.concat(value, ", ") or tostring(value))
    end
    table.sort(parts)
    return "policy " .. self.name .. (#parts > 0 and " { " .. table.concat(parts, ", ") .. " }" or "")
  end,
}

local function make(name, options, waves, more)
  local policy = { name = name, options = options, waves = waves }
  for key, value in pairs(more or {}) do policy[key] = value end
  return setmetatable(policy, policy_metatable)
end

local function option(options, name, default, least)
  local value = options[name]
  if value == nil then return default end
  if type(value) ~= "number" or value ~= value or value < least then
    error(("policy option '%s': a number of at least %d expected, got %s"):format(name, least, tostring(value)), 3)
  end
  return value
end

local function flag(options, name)
  local value = options[name]
  if value ~= nil and type(value) ~= "boolean" then
    error(("policy option '%s': true or false expected, got %s"):format(name, tostring(value)), 3)
  end
  return value or false
end

local function only_known(options, known)
  for key in pairs(options) do
    if not known[key] then error(("unknown policy option '%s'"):format(tostring(key)), 3) end
  end
end

-- A holder of which nothing is known may take longer than the others: begun too early it costs nothing, too late it
-- lengthens the overlap.
M.CAUTION = 1.5

--- Whether the change of the holder has to do with two certificates being charged for: dedicated IP addresses, enabled,
--- and not on the default certificate. One that is attached to has never had the old one, but with it the charge for the
--- new one begins: beside a replacement that is charged it counts, alone it does not.
---@param holder certrotate.Holder
---@return boolean
function M.charged(holder)
  return holder.SSLSupportMethod == "vip" and holder.Enabled and not holder.default_certificate
    and (not holder.attach or holder.attach_overlaps == true)
end

local function by_id(a, b) return a.Id < b.Id end

-- Holders no viewer sees come first, those that are charged last.
local function rank(holder)
  if holder.Staging then return 1 end
  if not holder.Enabled then return 2 end
  return M.charged(holder) and 4 or 3
end

local function careful_order(a, b)
  local ra, rb = rank(a), rank(b)
  if ra ~= rb then return ra < rb end
  return a.Id < b.Id
end

local WHY = { "staging: no viewer uses its domain names", "disabled: no viewer is served", "SNI: not charged" }

--- Why a holder comes where it does, in a few words for the plan.
---@param holder certrotate.Holder
---@return string
function M.why(holder)
  return WHY[rank(holder)] or "dedicated IP: charged during the overlap"
end

local function sorted(list, before)
  local copy = {}
  for i, value in ipairs(list) do copy[i] = value end
  table.sort(copy, before)
  return copy
end

--- One holder at a time, each settled before the next: what the CloudFront guide says.
-- Staging copies and disabled holders, which no viewer sees, come first.
---@param options? { soak?: number }
---@return certrotate.Policy
function M.careful(options)
  options = options or {}
  only_known(options, { soak = true })
  local soak = option(options, "soak", 0, 0)
  return make("careful", options, function(holders)
    local waves = {}
    local ordered = sorted(holders, careful_order)
    for i, holder in ipairs(ordered) do
      waves[i] = {
        name = holder.Id, holders = { holder }, parallel = 1, soak = i < #ordered and soak or 0, settle = "holder",
        reason = "one at a time, as the CloudFront guide says",
      }
    end
    return waves
  end)
end

--- As short an overlap as possible: everything that is not charged first and every soak with it, then the
-- dedicated-IP holders in one burst, longest expected deployment first.
---@param options? { canary?: integer, soak?: number, parallel?: integer, pause?: boolean, align?: boolean }
---       pause: a person looks at the canaries; align: the burst begins where it touches the fewest hours of the clock
---@return certrotate.Policy
function M.cheapest(options)
  options = options or {}
  only_known(options, { canary = true, soak = true, parallel = true, pause = true, align = true })
  local canary = option(options, "canary", 0, 0)
  local soak = option(options, "soak", 0, 0)
  local parallel = option(options, "parallel", 8, 1)
  local pause, align = flag(options, "pause"), flag(options, "align")
  if soak > 0 and canary == 0 then error("policy option 'soak': the soak follows the canaries; give 'canary' too", 2) end
  if pause and canary == 0 then error("policy option 'pause': a person looks at the canaries; give 'canary' too", 2) end
  return make("cheapest", options, function(holders, context)
    local expected, unknown = context.expected or {}, context.deploy_seconds * M.CAUTION
    local function longest_first(a, b)
      local ea, eb = expected[a.Id] or unknown, expected[b.Id] or unknown
      if ea ~= eb then return ea > eb end
      return careful_order(a, b)
    end
    local free, charged = {}, {}
    for _, holder in ipairs(holders) do
      local list = M.charged(holder) and charged or free
      list[#list + 1] = holder
    end
    -- Holders no viewer sees make the best canaries.
    table.sort(free, careful_order)
    table.sort(charged, longest_first)
    local waves = {}
    local function add(wave)
      if #wave.holders == 0 then return end
      wave.parallel, wave.soak = math.min(parallel, #wave.holders), wave.soak or 0
      waves[#waves + 1] = wave
    end
    -- Without an uncharged holder the canaries are dedicated-IP ones: there is nothing cheaper to try it on, and who
    -- asks for canaries wants them.
    local first = #free > 0 and free or charged
    local rest, canaries = {}, {}
    for i, holder in ipairs(first) do
      local list = i <= canary and canaries or rest
      list[#list + 1] = holder
    end
    add({ name = "canary", holders = canaries, settle = "holder", soak = soak, pause = pause or nil,
          reason = first == free and "tried first on holders that are not charged"
            or "tried first; every holder is charged, so these are charged meanwhile" })
    if first == free then
      table.sort(rest, longest_first)
      add({ name = "sni", holders = rest, settle = "listing", reason = "not charged: SNI, staging or disabled" })
    end
    add({ name = "dedicated-ip", holders = first == free and charged or rest, settle = "listing", align = align or nil,
          reason = "charged while both certificates are associated: in one burst, longest deployment first" })
    if #waves == 1 then waves[1].soak = 0 end
    return waves
  end)
end

--- Waves by size, share, tag, list or the user's own function, each with its own pace and gates; see staged.lua.
---@param stages (certrotate.Stage|string)[]
---@return certrotate.Policy
function M.staged(stages)
  local plain, problem = staged.parse(stages)
  if not plain then error("policy staged: " .. problem, 2) end
  return make("staged", { stages = staged.texts(plain) }, function(holders)
    return staged.waves(plain, sorted(holders, careful_order))
  end, { tags = staged.needs_tags(plain) })
end

M.named = { careful = M.careful, cheapest = M.cheapest, staged = M.staged }

-- A table of the user's own: waves, and what they need.
local function custom(value)
  for key in pairs(value) do
    if key ~= "waves" and key ~= "gates" and key ~= "tags" and key ~= "name" then
      error(("policy: unknown field '%s'; a policy has waves, gates, tags and name"):format(tostring(key)), 3)
    end
  end
  if type(value.waves) ~= "function" and getmetatable(value.waves) ~= policy_metatable then
    error("policy: `waves` must be a function from holders to waves, or a policy", 3)
  end
  for name, gate in pairs(type(value.gates) == "table" and value.gates or {}) do
    if type(name) ~= "string" or type(gate) ~= "function" then error("policy: `gates` are functions by name", 3) end
  end
  local waves = value.waves
  local tags = value.tags or type(waves) == "table" and waves.tags
  if type(waves) == "table" then waves = waves.waves end
  return make(value.name or "custom", {}, waves, { gates = value.gates, tags = tags and true or nil })
end

--- A policy from what a person gives: a name, a policy, a function of their own, or a table with that function as
--- `waves` beside its gates.
---@param value string|function|certrotate.Policy|{ waves: function, gates?: table, tags?: boolean, name?: string }|nil
---@param options? table  for a name; options the named policy does not know are refused
---@return certrotate.Policy
function M.resolve(value, options)
  if value == nil then value = "careful" end
  if type(value) == "string" then
    local maker = M.named[value]
    if not maker then
      error(("unknown policy '%s': careful, cheapest or staged, or a function"):format(value), 2)
    end
    return maker(options)
  elseif type(value) == "function" then
    return make("custom", options or {}, value)
  elseif getmetatable(value) == policy_metatable then
    return value
  elseif type(value) == "table" then
    return custom(value)
  end
  error("policy: a name, a policy or a function expected, got " .. type(value), 2)
end

--- Runs a policy and makes sure of what the rest relies on: every holder in exactly one wave, sane numbers.
---@param policy certrotate.Policy
---@param holders certrotate.Holder[]
---@param context certrotate.PolicyContext
---@return certrotate.Wave[]? waves
---@return string? problem
---@return table<string, certrotate.Gate>? gates   that the waves' functions are called by
function M.waves(policy, holders, context)
  local ok, waves = pcall(policy.waves, sorted(holders, by_id), context)
  if not ok then return nil, "the policy failed: " .. tostring(waves) end
  if type(waves) ~= "table" then return nil, "the policy must return a list of waves, got " .. type(waves) end
  local known, seen, result, gates = {}, {}, {}, {}
  for name, gate in pairs(policy.gates or {}) do gates[name] = gate end
  for _, holder in ipairs(holders) do known[holder.Id] = holder end
  for index, wave in ipairs(waves) do
    local name = type(wave) == "table" and wave.name ~= nil and tostring(wave.name) or "wave " .. index
    if type(wave) ~= "table" or type(wave.holders) ~= "table" then
      return nil, ("the policy's %s has no list `holders`"):format(name)
    end
    local list = {}
    for _, holder in ipairs(wave.holders) do
      local id = type(holder) == "table" and holder.Id or holder
      if not known[id] then return nil, ("the policy names %s, which is not to be changed"):format(tostring(id)) end
      if seen[id] then return nil, ("the policy names %s twice"):format(tostring(id)) end
      seen[id] = true
      list[#list + 1] = known[id]
    end
    local asked, problem = wave_options.read(wave)
    if not asked then return nil, ("the policy's %s: %s"):format(name, problem) end
    if type(asked.gate) == "function" then
      local gate_name = "gate of " .. name
      gates[gate_name], asked.gate = asked.gate, gate_name
    elseif asked.gate and not (policy.gates or {})[asked.gate] then
      return nil, ("the policy's %s names the gate '%s', which is none of its `gates`"):format(name, asked.gate)
    end
    if #list > 0 then
      asked.name, asked.holders, asked.reason = name, list, tostring(wave.reason or "")
      result[#result + 1] = asked
    end
  end
  for id in pairs(known) do
    if not seen[id] then return nil, ("the policy leaves out %s; use `only` to leave holders out"):format(id) end
  end
  return result, nil, gates
end

return M
