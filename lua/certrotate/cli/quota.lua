--- certrotate quota: how many certificates may use dedicated IP addresses; asks AWS for more.
local cli = require("certrotate.cli")
local context_module = require("certrotate.cli.context")

local M = { summary = "Show the dedicated-IP quota and what was asked for; ask for more, wait for it." }

function M.configure(command)
  context_module.session_flags(command)
  command:option("--request", "Ask AWS for so many certificates in all. Looks only, unless --yes.")
  command:option("--wait", "Wait so long (2d) until the quota is enough: for --request's number, else a rotation.")
  command:option("--poll", "Time between looks while waiting (default 5m).")
  command:flag("-y --yes", "Ask without being asked.")
end

-- As JSON: nothing is left out, lists stay lists.
local function plain(status, more)
  local json = require("certrotate.json")
  local problems, quota = {}, status.quota
  for i, problem in ipairs(status.problems) do problems[i] = tostring(problem) end
  local data = {
    quota = { value = quota.value, source = quota.source, code = quota.code, name = quota.name, offered = quota.offered,
              adjustable = quota.adjustable },
    in_use = status.in_use, holders = status.holders, needed = status.needed, fits = status.fits,
    request = status.request, case = status.case, problems = json.array(problems),
  }
  for key, value in pairs(more or {}) do data[key] = value end
  return data
end

-- What there would be to do for so many certificates, as a question; or nil and why there is nothing to do.
local function intention(status, value)
  local quota, request, case = status.quota, status.request, status.case
  local by_request = quota.offered and quota.adjustable
  if value <= quota.value then
    return nil, ("the quota is %d already (%s)"):format(quota.value,
      require("certrotate.rotation.quota").source_text(quota))
  elseif request and require("certrotate.rotation.quota.request").is_open(request) then
    return nil, ("%d were asked for before (%s); AWS takes one request at a time"):format(
      math.floor(request.DesiredValue), request.Status)
  elseif case and case.status ~= "resolved" and not by_request then
    return nil, "an open support case asks for it"
  end
  return ("Ask %s for %d certificates with dedicated IP addresses in all (now %d)?"):format(
    by_request and "Service Quotas" or "AWS Support", value, quota.value)
end

-- Asks, unless there is nothing to ask for or nobody said yes.
---@return { asked: boolean, nothing_to_do?: string }?  for the result; nil and an error
---@return string|certrotate.Error  text
---@return integer code
---@return boolean? declined
local function ask(context, args, aws, status, value)
  local question, nothing = intention(status, value)
  if not question then
    return { asked = false, nothing_to_do = nothing }, ("Nothing to ask for: %s.\n"):format(nothing), cli.NOTHING
  end
  if not context:confirmed(args, question) then
    return { asked = false }, ("Nothing was asked for. Pass --yes to do it: %s.\n"):format((question:gsub("%?$", ""))),
      cli.DONE, true
  end
  local result, err = require("certrotate.rotation.quota.status").ask(aws, status, value)
  if not result then return nil, err, cli.FAILED end
  status.case, status.request = result.case or status.case, result.request or status.request
  local number = result.case and "case " .. (result.case.displayId or result.case.caseId) or "request " .. result.request.Id
  return { asked = result.asked }, (result.asked and "Asked: %s.\n" or "Asked for before: %s.\n"):format(number), cli.DONE
end

local function wait(context, aws, status, value, seconds, poll)
  local fmt, inventory_module = require("certrotate.fmt"), require("certrotate.rotation.inventory")
  local deadline, told = aws:now() + seconds, nil
  local function needed()
    if value then return value end
    local inventory, err = inventory_module.build(aws, { certificates = false })
    if not inventory then return nil, err end
    local _, in_use = inventory:dedicated_ip_certificates()
    return in_use > 0 and in_use + 1 or 0
  end
  local look, err = require("certrotate.rotation.quota.wait").enough(aws, {
    needed = needed, deadline = deadline, poll = poll,
    on_look = function(one)
      local text = ("waiting until %s for a dedicated-IP quota of %d: it is %d%s\n"):format(fmt.timestamp(deadline),
        one.needed, one.quota.value,
        one.request and ", the request is " .. one.request.Status or "; nobody has asked for more")
      if text ~= told and not context.quiet then context:say_error(text) end
      told = text
    end,
  })
  if not look then return nil, err end
  status.quota, status.needed = look.quota, value and status.needed or look.needed
  status.fits = status.needed <= look.quota.value
  return true
end

-- Only a person can ask where there is no support plan: the error, and what to paste.
local function fail(context, status, err)
  if not err.text then return nil, err end
  local report = require("certrotate.report.quota")
  context:result(plain(status, { asked = false, paste = err.text }), report.paste(err.text))
  context:say_error("certrotate: " .. tostring(err) .. "\n")
  return cli.FAILED
end

function M.run(context, args)
  local value = context:number(args.request, "--request", 1)
  local patience, poll = context:duration(args.wait, "--wait"), context:duration(args.poll, "--poll")
  local aws, err = context:connect(args)
  if not aws then return nil, err end
  if value or patience then
    local ok
    ok, err = context:guard()
    if not ok then return nil, err end
  end
  local status
  status, err = aws:quota()
  if not status then return nil, err end
  local more, text, code, declined = nil, "", cli.DONE, false
  if value then
    more, text, code, declined = ask(context, args, aws, status, value)
    if not more then return fail(context, status, text) end
  end
  -- What nobody said yes to is not waited for either.
  if patience and not declined then
    context:tell(text)
    local ok
    ok, err = wait(context, aws, status, value, patience, poll)
    if not ok then return nil, err end
    text, code = "", cli.DONE
  end
  context:result(plain(status, more), text .. require("certrotate.report.quota").text(status, context:width()))
  return code
end

return M
