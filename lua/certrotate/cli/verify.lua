--- certrotate verify: what certificate is really served.
local cli = require("certrotate.cli")
local context_module = require("certrotate.cli.context")

local M = { summary = "Show what certificate a host really serves." }

function M.configure(command)
  command:argument("host", "HOST or HOST:PORT, as a viewer would connect."):args("+")
  context_module.identity_flags(command)
  command:option("--fingerprint", "SHA-256 the certificate must have; or --certificate with its file.")
  command:option("--edge", "HOST:PORT to connect to instead; the name asked for stays HOST.")
  command:option("--ca-bundle", "PEM file of the roots viewers trust.")
end

local function expected(context, args)
  if args.fingerprint then
    local hex = args.fingerprint:gsub(":", ""):lower()
    if not hex:match("^%x+$") or #hex ~= 64 then context:usage("--fingerprint: 64 hexadecimal digits expected") end
    return hex
  end
  if not args.certificate then return nil end
  local file, why = io.open(args.certificate, "rb")
  if not file then context:usage("--certificate: " .. why) end
  local pem = file:read("*a") or ""
  file:close()
  local info, err = require("certrotate.core").certificate(pem)
  if not info then return nil, err end
  return info.fingerprint
end

function M.run(context, args)
  local fmt, json = require("certrotate.fmt"), require("certrotate.json")
  local fingerprint, err = expected(context, args)
  if err then return nil, err end
  local edge = context:edge(args)
  local edge_host, edge_port = (edge or ""):match("^(.-):(%d+)$")
  local core, task = require("certrotate.core"), require("certrotate.task")
  local client
  client, err = core.client({ ca_file = args.ca_bundle })
  if not client then return nil, err end
  local loop = task.loop({ client = client })
  local results, worst = {}, cli.DONE
  for i, host in ipairs(args.host) do
    local name, port = host:match("^(.-):(%d+)$")
    name = name or host
    local result, failure = loop:await({ step = "verify", params = {
      server_name = name, host = edge_host or name, port = tonumber(edge_port or port) or 443,
      fingerprint = fingerprint, timeout = 15,
    } })
    if not result then
      worst = cli.FAILED
      results[i] = { host = host, error = tostring(failure) }
      context:say_error(("certrotate: %s: %s\n"):format(host, tostring(failure)))
    else
      result.host = host
      results[i] = result
      if fingerprint and not result.matches then worst = cli.FAILED end
      local verdict = fingerprint and (result.matches and "as expected, " or "NOT the expected one, ") or ""
      if not context.json then
        context:say(("%s: %s%s, expires %s, %s\n  SHA-256 %s\n"):format(host, verdict,
          table.concat(result.names or {}, ", "), fmt.date(result.not_after),
          result.trusted and "trusted" or "not trusted: " .. tostring(result.trust_message), result.fingerprint))
      end
    end
  end
  client:close()
  if context.json then context:result(json.array(results), "") end
  return worst
end

return M
