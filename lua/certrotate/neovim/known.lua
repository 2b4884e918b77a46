--- The last inventory of each account that was looked at: what completion and details draw on without waiting.
local uv = vim.uv or vim.loop

local M = {}

-- Older ones are read again when completion asks; what they know is offered meanwhile.
local FRESH = 120   -- seconds

local found = {}    -- by account: { inventory, at }
local asking = {}   -- by account: true while one is being read

-- What decides which account is talked to.
local function key(args)
  return table.concat({ args.profile or "", args.region or "", args.endpoint_url or "" }, "\n")
end

---@param args table
---@param inventory certrotate.Inventory
function M.keep(args, inventory)
  found[key(args)] = { inventory = inventory, at = uv.now() / 1000 }
end

---@param args table
---@return certrotate.Inventory?
function M.inventory(args)
  local entry = found[key(args)]
  return entry and entry.inventory
end

--- Reads the inventory in the background when there is none, or an old one. Failures are nobody's business here:
--- whoever gives the command is told.
---@param args table
function M.refresh(args)
  local account = key(args)
  local entry = found[account]
  if asking[account] or entry and uv.now() / 1000 - entry.at < FRESH then return end
  asking[account] = true
  require("certrotate.neovim.job").start(args, function(context) return context.aws:inventory() end, function(inventory)
    asking[account] = nil
    if inventory then M.keep(args, inventory) end
  end, true)
end

return M
