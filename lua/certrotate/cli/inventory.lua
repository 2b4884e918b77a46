--- certrotate inventory: certificates, their expiry, and who uses them.
local accounts = require("certrotate.cli.accounts")
local cli = require("certrotate.cli")
local context_module = require("certrotate.cli.context")

local M = { summary = "List certificates, when they end, and who uses them." }

function M.configure(command)
  context_module.session_flags(command)
  accounts.flag(command)
  command:option("--expiring", "Only certificates that end within this time, e.g. 30d.")
  command:option("--holders", "The distributions that use this certificate.")
end

-- A holder with every field, what AWS left out included: scripts should not have to know the defaults.
local FIELDS = { "Id", "ARN", "DomainName", "Status", "reference", "store", "default_certificate", "SSLSupportMethod",
                 "MinimumProtocolVersion", "Enabled", "Staging", "HttpVersion", "ConnectionMode", "DistributionId", "Comment" }

local function plain(json, holders)
  local list = {}
  for i, holder in ipairs(holders) do
    local record = { Aliases = json.array(holder.Aliases), dedicated_ip = holder:dedicated_ip() }
    for _, name in ipairs(FIELDS) do record[name] = holder[name] end
    list[i] = record
  end
  return json.array(list)
end

-- An inventory as scripts get it.
local function document(inventory, certificates)
  local json = require("certrotate.json")
  local errors = {}
  for i, one in ipairs(inventory.errors) do errors[i] = tostring(one) end
  return {
    complete = inventory.complete, errors = json.array(errors), taken_at = inventory.taken_at,
    certificates = json.array(certificates or inventory.certificates), holders = plain(json, inventory.holders),
  }
end

function M.run(context, args)
  if accounts.wanted(args) then return accounts.inventory(context, args, document) end
  local expiring = context:duration(args.expiring, "--expiring")
  local aws, err = context:connect(args)
  if not aws then return nil, err end
  local inventory
  inventory, err = aws:inventory({ used_elsewhere = not args.holders })
  if not inventory then return nil, err end
  local report = require("certrotate.report.inventory")
  local json = require("certrotate.json")
  if args.holders then
    local holders = inventory:holders_of(args.holders)
    context:result({ reference = args.holders, holders = plain(json, holders) },
      #holders > 0 and report.holders(holders, context:width())
      or ("No distribution uses %s.\n"):format(args.holders))
    return cli.DONE
  end
  local certificates = expiring and inventory:expiring(expiring) or nil
  context:result(document(inventory, certificates),
    report.text(inventory, { width = context:width(), certificates = certificates }))
  return inventory.complete and cli.DONE or cli.FAILED
end

return M
