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

--- The fingerprint the flags ask for, if any.
---@return string? hex
---@return certrotate.Error?
function M.expected(context, args)
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

--- Looks at one host as a viewer would.
---@param loop certrotate.Loop
---@param host string   HOST or HOST:PORT
---@param options { edge?: string, fingerprint?: string }
---@return table? result   of the step `verify`
---@return certrotate.Error?
function M.look(loop, host, options)
  local edge_host, edge_port = (options.edge or ""):match("^(.-):(%d+)$")
  local name, port = host:match("^(.-):(%d+)$")
  name = name or host
  return loop:await({ step = "verify", params = {
    server_name = name, host = edge_host or name, port = tonumber(edge_port or port) or 443,
    fingerprint = options.fingerprint, timeout = 15,
  } })
end

--- What was seen, for people.
---@param host string
---@param result? table
---@param failure? certrotate.Error
---@param fingerprint? string   what was expected
---@return string
function M.text(host, result, failure, fingerprint)
  if not result then return tostring(failure) .. "\n" end   -- it names the host
  local fmt = require("certrotate.fmt")
  local verdict = fingerprint and (result.matches and "as expected, " or "NOT the expected one, ") or ""
  return ("%s: %s%s, expires %s, %s\n  SHA-256 %s\n"):format(host, verdict, table.concat(result.names or {}, ", "),
    fmt.date(result.not_after), result.trusted and "trusted" or "not trusted: " .. tostring(result.trust_message),
    result.fingerprint)
end

function M.run(context, args)
  local json = require("certrotate.json")
  local fingerprint, err = M.expected(context, args)
  if err then return nil, err end
  local edge = context:edge(args)
  local core, task = require("certrotate.core"), require("certrotate.task")
  local client
  client, err = core.client({ ca_file = args.ca_bundle })
  if not client then return nil, err end
  local loop = task.loop({ client = client })
  local results, worst = {}, cli.DONE
  for i, host in ipairs(args.host) do
    local result, failure = M.look(loop, host, { edge = edge, fingerprint = fingerprint })
    local text = M.text(host, result, failure, fingerprint)
    if not result then
      worst = cli.FAILED
      results[i] = { host = host, error = tostring(failure) }
      context:say_error("certrotate: " .. text)
    else
      result.host = host
      results[i] = result
      if fingerprint and not result.matches then worst = cli.FAILED end
      if not context.json then context:say(text) end
    end
  end
  client:close()
  if context.json then context:result(json.array(results), "") end
  return worst
end

return M
