--- The job of a schedule that has a configuration: one round of reconcile, shown on the status page.
local certrotate = require("certrotate")
local errors = require("certrotate.errors")
local fmt = require("certrotate.fmt")

local M = {}

-- One line for the page and the log.
local function said(result)
  local parts = {}
  for _, action in ipairs(result.actions) do
    if action.done then parts[#parts + 1] = ("%s: %s"):format(action.name, action.text) end
  end
  for _, one in ipairs(result.waiting) do parts[#parts + 1] = ("%s waits: %s"):format(one.name, one.text) end
  return #parts > 0 and fmt.list(parts, 4) or "nothing to do"
end

--- A job for certrotate.nginx's schedule.
---@param path string                          of the configuration; read anew each round
---@param connect? certrotate.ConnectOptions   beside the configuration's own
---@return fun(context: certrotate.nginx.Context): string?, certrotate.Error?
function M.job(path, connect)
  return function(context)
    local config, err = require("certrotate.rotation.reconcile.config").load(path)
    if not config then return nil, err end
    local options = {}
    for _, given in ipairs({ config.connect, connect or {} }) do
      for key, value in pairs(given) do options[key] = value end
    end
    local aws
    aws, err = certrotate.connect(options)
    if not aws then return nil, err end
    context.watch(aws)
    local result
    result, err = require("certrotate.rotation.reconcile").run(aws, config,
      { on_event = context.on_event, on_inventory = context.inventory })
    -- What a round changed is shown at once, not an hour later.
    if result and #result.actions > 0 then
      local inventory = aws:inventory()
      if inventory then context.inventory(inventory) end
    end
    aws:close()
    if not result then return nil, err end
    for _, note in ipairs(result.notes) do ngx.log(ngx.WARN, "certrotate: ", note) end
    if result.ok then return said(result) end
    local first = result.failures[1]
    local more = #result.failures > 1 and (" (and %d more)"):format(#result.failures - 1) or ""
    return nil, errors.new({ kind = first.error.kind, code = first.error.code,
      message = ("%s: %s%s"):format(first.name, first.error.message, more) })
  end
end

return M
