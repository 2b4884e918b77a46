--- In which order holders are changed, and how many at a time. A policy turns holders into waves; it
-- decides nothing else and does no I/O, so it can be tried out on any list of holders.
--
-- A policy is a function, or one of the tables made here (callable the same way):
--
--   function(holders, context) return { { name=, holders={…}, parallel=, soak=, settle= }, … } end
local M = {}

---@class certrotate.Wave
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

local policy_metatable = {
  __name = "certrotate.Policy",
  __call = function(self, holders, context) return self.waves(holders, context) end,
  __tostring = function(self)
    local parts = {}
    for key, value in pairs(self.options) do parts[#parts + 1] = key .. " = " .. tostring(value) end
    table.sort(parts)
    return "policy " .. self.name .. (#parts > 0 and " { " .. table.concat(parts, ", ") .. " }" or "")
  end,
}

local function make(name, options, waves)
  return setmetatable({ name = name, options = options, waves = waves }, policy_metatable)
end

local function option(options, name, default, least)
  local value = options[name]
  if value == nil then return default end
  if type(value) ~= "number" or value ~= value or value < least then
    error(("policy option '%s': a number of at least %d expected, got %s"):format(name, least, tostring(value)), 3)
  end
  return value
end

local function only_known(options, known)
  for key in pairs(options) do
    if not known[key] then error(("unknown policy option '%s'"):format(tostring(key)), 3) end
  end
end

--- Whether the holder is charged for: dedicated IP addresses, and enabled.
---@param holder certrotate.Holder
---@return boolean
function M.charged(holder)
  return holder.SSLSupportMethod == "vip" and holder.Enabled and not holder.default_certificate
end

local function by_id(a, b) return a.Id < b.Id end

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
    local function rank(holder)
      if holder.Staging then return 1 end
      if not holder.Enabled then return 2 end
      return M.charged(holder) and 4 or 3
    end
    local waves = {}
    local ordered = sorted(holders, function(a, b)
      local ra, rb = rank(a), rank(b)
      if ra ~= rb then return ra < rb end
      return a.Id < b.Id
    end)
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
---@param options? { canary?: integer, soak?: number, parallel?: integer }
---@return certrotate.Policy
function M.cheapest(options)
  options = options or {}
  only_known(options, { canary = true, soak = true, parallel = true })
  local canary = option(options, "canary", 0, 0)
  local soak = option(options, "soak", 0, 0)
  local parallel = option(options, "parallel", 8, 1)
  if soak > 0 and canary == 0 then error("policy option 'soak': the soak follows the canaries; give 'canary' too", 2) end
  return make("cheapest", options, function(holders, context)
    local free, charged = {}, {}
    for _, holder in ipairs(holders) do
      local list = M.charged(holder) and charged or free
      list[#list + 1] = holder
    end
    -- Holders no viewer sees make the best canaries: staging copies and disabled ones come first.
    local function rank(holder)
      if holder.Staging then return 1 end
      return holder.Enabled and 3 or 2
    end
    free = sorted(free, function(a, b)
      if rank(a) ~= rank(b) then return rank(a) < rank(b) end
      return a.Id < b.Id
    end)
    local expected = context.expected or {}
    charged = sorted(charged, function(a, b)
      local ea, eb = expected[a.Id] or context.deploy_seconds, expected[b.Id] or context.deploy_seconds
      if ea ~= eb then return ea > eb end
      return a.Id < b.Id
    end)
    local waves = {}
    local function add(name, list, reason, settle)
      if #list == 0 then return end
      waves[#waves + 1] = { name = name, holders = list, parallel = math.min(parallel, #list), soak = 0,
                            settle = settle, reason = reason }
    end
    -- Without an uncharged holder the canaries are dedicated-IP ones: there is nothing cheaper to try it on.
    local first = #free > 0 and free or charged
    local rest, canaries = {}, {}
    for i, holder in ipairs(first) do
      local list = i <= canary and canaries or rest
      list[#list + 1] = holder
    end
    add("canary", canaries, first == free and "tried first on holders that are not charged"
      or "tried first; every holder is charged", "holder")
    if #canaries > 0 and (#rest > 0 or first == free and #charged > 0) then waves[1].soak = soak end
    if first == free then
      add("sni", rest, "not charged: SNI, staging or disabled", "listing")
      add("dedicated-ip", charged, "charged while both certificates are associated: in one burst", "listing")
    else
      add("dedicated-ip", rest, "charged while both certificates are associated: in one burst", "listing")
    end
    return waves
  end)
end

M.named = { careful = M.careful, cheapest = M.cheapest }

--- A policy from what a person gives: a name, a policy, or a function of their own.
---@param value string|function|certrotate.Policy|nil
---@param options? table  for a name; options the named policy does not know are refused
---@return certrotate.Policy
function M.resolve(value, options)
  if value == nil then value = "careful" end
  if type(value) == "string" then
    local maker = M.named[value]
    if not maker then error(("unknown policy '%s': careful or cheapest, or a function"):format(value), 2) end
    return maker(options)
  elseif type(value) == "function" then
    return make("custom", options or {}, value)
  elseif getmetatable(value) == policy_metatable then
    return value
  end
  error("policy: a name, a policy or a function expected, got " .. type(value), 2)
end

--- Runs a policy and makes sure of what the rest relies on: every holder in exactly one wave, sane numbers.
---@param policy certrotate.Policy
---@param holders certrotate.Holder[]
---@param context certrotate.PolicyContext
---@return certrotate.Wave[]? waves
---@return string? problem
function M.waves(policy, holders, context)
  local ok, waves = pcall(policy.waves, sorted(holders, by_id), context)
  if not ok then return nil, "the policy failed: " .. tostring(waves) end
  if type(waves) ~= "table" then return nil, "the policy must return a list of waves, got " .. type(waves) end
  local known, seen, result = {}, {}, {}
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
    local parallel, soak = wave.parallel or 1, wave.soak or 0
    if type(parallel) ~= "number" or parallel < 1 or parallel % 1 ~= 0
      or parallel == math.huge then
      return nil, ("the policy's %s: `parallel` must be a whole number of at least 1"):format(name)
    end
    if type(soak) ~= "number" or soak < 0 or soak ~= soak or soak == math.huge then
      return nil, ("the policy's %s: `soak` must be seconds"):format(name)
    end
    if #list > 0 then
      result[#result + 1] = {
        name = name, holders = list, parallel = parallel, soak = soak,
        settle = wave.settle == "listing" and "listing" or "holder", reason = tostring(wave.reason or ""),
      }
    end
  end
  for id in pairs(known) do
    if not seen[id] then return nil, ("the policy leaves out %s; use `only` to leave holders out"):format(id) end
  end
  return result
end

return M
