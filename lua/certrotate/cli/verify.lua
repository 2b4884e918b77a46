--- certrotate verify: what certificate is really served.
local cli = require("certrotate.cli")
local context_module = require("certrotate.cli.context")

local M = { summary = "Show what certificate a host really serves." }

function M.configure(command)
  command:argument("host", "HOST or HOST:PORT, as a viewer would connect."):args("+")
  command:option("--certificate", "File of the certificate it must be (PEM); or --fingerprint.")
  command:option("--fingerprint", "SHA-256 the certificate must have.")
  command:option("--edge", "HOST:PORT to connect to instead; the name asked for stays HOST.")
  command:option("--ca-bundle", "PEM file of roots instead of the system's.")
  context_module.trust_flag(command)
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
  if not info then
    return nil, require("certrotate.errors").wrap(err, { message = "--certificate " .. args.certificate })
  end
  return info.fingerprint
end

---@class certrotate.cli.Place
---@field host string      as it was given
---@field name string
---@field port integer

--- Where the arguments say to look.
---@return certrotate.cli.Place[]
function M.places(context, args)
  local places = {}
  for i, host in ipairs(args.host) do
    local name, port = host:match("^([%w._-]+)$"), 443
    if not name then
      name, port = host:match("^([%w._-]+):(%d+)$")
      port = tonumber(port)
    end
    if host:find("*", 1, true) then
      context:usage(("'%s' is a pattern: give a real name in place of the wildcard"):format(host))
    elseif not name or port < 1 or port > 65535 then
      context:usage(("HOST or HOST:PORT expected, got '%s'"):format(host))
    end
    places[i] = { host = host, name = name, port = port }
  end
  return places
end

--- Looks at one host as a viewer would.
---@param loop certrotate.Loop
---@param place certrotate.cli.Place
---@param options { edge?: string, fingerprint?: string }
---@return table? result   of the step `verify`
---@return certrotate.Error?
function M.look(loop, place, options)
  local host, port = (options.edge or ""):match("^(.-):(%d+)$")
  return loop:await({ step = "verify", params = {
    server_name = place.name, host = host or place.name, port = tonumber(port) or place.port,
    fingerprint = options.fingerprint, timeout = 15,
  } })
end

--- What was seen, for people.
---@param place certrotate.cli.Place
---@param result? table
---@param failure? certrotate.Error
---@param fingerprint? string   what was expected
---@return string
function M.text(place, result, failure, fingerprint)
  local host = place.host
  if not result then
    -- The step begins with the name by itself.
    local text, begin = tostring(failure), place.name .. ": "
    return ("%s: %s\n"):format(host, text:sub(1, #begin) == begin and text:sub(#begin + 1) or text)
  end
  local fmt = require("certrotate.fmt")
  local verdict = fingerprint and (result.matches and "as expected, " or "NOT the expected one, ") or ""
  return ("%s: %s%s, expires %s, %s\n  SHA-256 %s\n"):format(host, verdict, table.concat(result.names or {}, ", "),
    fmt.date(result.not_after), result.trusted and "trusted" or "not trusted: " .. tostring(result.trust_message),
    result.fingerprint)
end

function M.run(context, args)
  local json = require("certrotate.json")
  local places = M.places(context, args)
  local fingerprint, err = M.expected(context, args)
  if err then return nil, err end
  local edge = context:edge(args)
  local core, task = require("certrotate.core"), require("certrotate.task")
  local client
  client, err = core.client({ ca_file = args.ca_bundle, trust = args.trust })
  if not client then return nil, err end
  local loop = task.loop({ client = client })
  local results, worst = {}, cli.DONE
  for i, place in ipairs(places) do
    local result, failure = M.look(loop, place, { edge = edge, fingerprint = fingerprint })
    local text = M.text(place, result, failure, fingerprint)
    if not result then
      worst = cli.FAILED
      results[i] = { host = place.host, error = tostring(failure) }
      context:say_error("certrotate: " .. text)
    else
      result.host = place.host
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
