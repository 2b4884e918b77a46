--- Which certificates a declared one replaces: exact references in every case (rule 3). By names means the very same
-- set of DNS names, on an imported certificate that a distribution uses; one that merely covers them is not meant.
local stored = require("certrotate.rotation.stored")

local M = {}

local function key_of(names)
  local list = {}
  for i, name in ipairs(names) do list[i] = name:lower() end
  table.sort(list)
  return table.concat(list, " ")
end

-- All DNS names of a stored certificate. ACM lists the first hundred, IAM none.
local function names_of(aws, certificate)
  local count = certificate.store == "acm" and #certificate.names or 0
  if count > 0 and count < 100 then return certificate.names end
  local leaf, err = stored.leaf(aws, certificate)
  if err then return nil, err end
  return leaf and leaf.names or {}
end

-- Whether the store's certificate is the declared one already. Only those that end at the same moment are asked for.
local function is_the_same(aws, certificate, leaf)
  if certificate.not_after and math.abs(certificate.not_after - leaf.not_after) > 1 then return false end
  local fingerprint, err = stored.fingerprint(aws, certificate)
  if err then return nil, err end
  return fingerprint == leaf.fingerprint
end

-- A store that could not be listed may hold what a distribution names: unknown, not absent.
local function known(inventory, reference)
  if inventory.complete or inventory:certificate(reference) then return true end
  return nil, inventory.errors[1]
end

local function by_names(aws, inventory, leaf)
  local wanted, found = key_of(leaf.names), {}
  for _, holder in ipairs(inventory.holders) do
    local ok, err = true, nil
    if holder.reference ~= "" then ok, err = known(inventory, holder.reference) end
    if not ok then return nil, err end
  end
  for _, certificate in ipairs(inventory.certificates) do
    local imported = certificate.type == nil or certificate.type == "IMPORTED"
    if imported and #inventory:holders_of(certificate.reference) > 0 then
      local names, err = names_of(aws, certificate)
      if not names then return nil, err end
      if key_of(names) == wanted then found[#found + 1] = certificate.reference end
    end
  end
  return found
end

local function by_holders(inventory, ids, note)
  local found = {}
  for _, id in ipairs(ids) do
    local holder = inventory:holder(id)
    if not holder then
      note(("there is no distribution %s; take it out of holders"):format(id))
    elseif holder.reference ~= "" then
      found[#found + 1] = holder.reference
    end
  end
  return found
end

local function joined(a, b)
  local all = {}
  for _, list in ipairs({ a, b }) do
    for _, value in ipairs(list) do all[#all + 1] = value end
  end
  return all
end

--- References that are in use, are not the declared certificate, and are to be replaced by it.
---@param aws certrotate.Session
---@param inventory certrotate.Inventory
---@param declared certrotate.Declared
---@param leaf certrotate.CertificateInfo   of the declared identity
---@param earlier string[]                  what earlier rotations of this declaration put in place
---@param note fun(text: string)            takes what a person should know
---@return string[]? references
---@return certrotate.Error?
function M.replaced(aws, inventory, declared, leaf, earlier, note)
  local candidates, err
  if declared.holders then
    candidates = by_holders(inventory, declared.holders, note)
  else
    candidates = declared.replace
    if not candidates then candidates, err = by_names(aws, inventory, leaf) end
    if not candidates then return nil, err end
    -- Renewed with other names, it still takes the place of its forerunner.
    candidates = joined(candidates, earlier)
  end
  local list, seen = {}, {}
  for _, reference in ipairs(candidates) do
    local certificate = inventory:certificate(reference)
    -- IAM's ARN is as exact as the id that distributions name.
    reference = certificate and certificate.reference or reference
    if not seen[reference] and #inventory:holders_of(reference) > 0 then
      local same
      same, err = known(inventory, reference)
      if not same then return nil, err end
      same = false
      if certificate then same, err = is_the_same(aws, certificate, leaf) end
      if same == nil then return nil, err end
      if not same then list[#list + 1] = reference end
    end
    seen[reference] = true
  end
  return list
end

return M
