--- What `--role` makes of a command: the same in many accounts, with a section an account and one exit code for all.
local cli = require("certrotate.cli")
local json = require("certrotate.json")

local M = {}

--- The flag of commands that can go over many accounts.
function M.flag(command)
  command:option("--role", "Do it in this role's account: its ARN, \"self\" for the session's own, or @FILE with one a line. "
    .. "May be given many times. A space and a reference behind it say what is replaced there."):count("*")
end

--- Whether the command was asked to.
function M.wanted(args) return args.role ~= nil and #args.role > 0 end

-- The roles, and by role what is replaced there, where that was said.
local function roles_of(context, args)
  local roles, references = {}, {}
  local function add(text)
    local role, reference, rest = text:match("^(%S+)%s*(%S*)%s*(.-)$")
    if rest ~= "" then context:usage(("--role: a role and perhaps a reference expected, got %s"):format(text)) end
    roles[#roles + 1] = role
    references[role] = reference ~= "" and reference or nil
  end
  for _, value in ipairs(args.role) do
    local path = value:match("^@(.+)$")
    if path then
      local file, why = io.open(path, "r")
      if not file then context:usage("--role: cannot read " .. why) end
      for line in file:lines() do
        local role = line:gsub("#.*$", ""):match("^%s*(.-)%s*$")
        if role ~= "" then add(role) end
      end
      file:close()
    elseif value:find("%S") then
      add((value:match("^%s*(.-)%s*$")))
    end
  end
  if #roles == 0 then context:usage("--role: no role in the file") end
  return roles, references
end

--- What is replaced in which account.
---@param context table
---@param accounts certrotate.Accounts
---@param references table<string, string>   by role
---@param replace? string   --replace: in all others
---@return string|table<string, string>|nil
local function replaced(context, accounts, references, replace)
  if not next(references) then return replace end
  local by_account = { ["*"] = replace }
  for _, one in ipairs(accounts.list) do
    by_account[one.account] = references[one.role]
    if not references[one.role] and not replace then
      context:usage(("--role %s: what is replaced there? --replace, or a reference behind the role"):format(one.role))
    end
  end
  return by_account
end

--- Whether what is replaced stands behind the roles.
function M.has_references(context, args)
  return M.wanted(args) and next((select(2, roles_of(context, args)))) ~= nil
end

--- Opens the accounts of the flags.
---@param options? table   of a plan: gets what is replaced in which account
---@return certrotate.Accounts?
---@return certrotate.Error?
function M.open(context, args, options)
  local roles, references = roles_of(context, args)
  local aws, err = context:connect(args)
  if not aws then return nil, err end
  local accounts
  accounts, err = aws:accounts({ roles = roles })
  if accounts and options then options.replace = replaced(context, accounts, references, options.replace) end
  return accounts, err
end

--- One code for all: nothing to do counts only when it is so everywhere; else the worst.
---@param results certrotate.AccountResult[]
---@param of? fun(value: any): integer   of an account's result; default: by its `ok`
---@return integer
function M.code(results, of)
  local nothing, worst, refused = true, nil, true
  for _, one in ipairs(results) do
    local code = cli.DONE
    if one.error then
      code = cli.exit_code(one.error)
    elseif of then
      code = of(one.value)
    elseif type(one.value) == "table" and one.value.ok == false then
      code = cli.FAILED
    end
    if code ~= cli.NOTHING then nothing = false end
    if code == cli.INTERRUPTED then worst = code end
    if code == cli.FAILED then worst, refused = worst or code, false end
    if code == cli.REFUSED then worst = worst or code end
  end
  if nothing then return cli.NOTHING end
  if worst == cli.REFUSED and not refused then return cli.FAILED end
  return worst or cli.DONE
end

--- Shows every account's result under its number.
---@param context table
---@param results certrotate.AccountResult[]
---@param text fun(value: any, one: certrotate.AccountResult): string
---@param more? { plain?: fun(value: any): any, code?: fun(value: any): integer, folder?: string }   what is told with
---               --json; an account's exit code; the journals' folder, where a rotation may have to be gone on with
---@return integer code
function M.show(context, results, text, more)
  more = more or {}
  local lines, list = {}, json.array({})
  for i, one in ipairs(results) do
    local err = one.error
    lines[#lines + 1] = ("Account %s"):format(one.account)
    lines[#lines + 1] = one.value ~= nil and text(one.value, one):gsub("\n+$", "") or "  " .. tostring(err)
    if err and one.journal and more.folder then
      lines[#lines + 1] = ("  to go on: certrotate %s %s, with the same --role"):format(
        err.rollback and "rollback" or "resume", more.folder)
    end
    lines[#lines + 1] = ""
    list[i] = { account = one.account, role = one.role, journal = one.journal,
                result = one.value ~= nil and (more.plain and more.plain(one.value) or one.value) or nil,
                error = err and { kind = err.kind, code = err.code, message = err.message, journal = err.journal,
                                  request_id = err.request_id, findings = err.findings, changes = err.changes } or nil }
  end
  local code = M.code(results, more.code)
  context:result({ accounts = list }, table.concat(lines, "\n"))
  return code
end

--- What tells of several runs at once: plain lines, the account before each.
---@return fun(event: table)
function M.progress(context)
  local progress = require("certrotate.report.progress")
  local by_account, account = {}, nil
  return function(event)
    account = event.account
    if not by_account[account] then
      by_account[account] = progress.new({ terminal = false, quiet = context.quiet,
        write = function(line) context:say_error(account .. " " .. line) end })
    end
    by_account[account](event)
  end
end

-- The journals there are, finished ones too, in one picture.
local function draw(context, args, results)
  local paths = {}
  for i, one in ipairs(results) do
    paths[i] = require("certrotate.rotation.account_plans").journal(args.journal, one.account)
  end
  require("certrotate.cli.apply").timelines(context, args, paths)
end

local function finished(context, args, report, err)
  if not report then return nil, err end
  local code = M.show(context, report.accounts, function(one) return require("certrotate.report.summary").text(one) end,
    { folder = args.journal })
  draw(context, args, report.accounts)
  return code
end

--- `certrotate inventory --role …`
function M.inventory(context, args, plain)
  local expiring = context:duration(args.expiring, "--expiring")
  local accounts, err = M.open(context, args)
  if not accounts then return nil, err end
  local report = require("certrotate.report.inventory")
  return M.show(context, accounts:inventory(), function(inventory)
    return report.text(inventory, { width = context:width(), certificates = expiring and inventory:expiring(expiring) or nil })
  end, { plain = plain })
end

--- `certrotate check --role …`
function M.check(context, args, options, more)
  local accounts, err = M.open(context, args, options)
  if not accounts then return nil, err end
  local results
  results, err = accounts:check(options)
  if not results then return nil, err end
  return M.show(context, results, more.text, more)
end

local function show_plans(context, plans)
  return M.show(context, plans.accounts, function(plan)
    return require("certrotate.report.plan").text(plan, context:width())
  end)
end

--- `certrotate plan --role …`
function M.plan(context, args, options)
  local accounts, err = M.open(context, args, options)
  if not accounts then return nil, err end
  local plans
  plans, err = accounts:plan(options)
  if not plans then return nil, err end
  return show_plans(context, plans)
end

--- `certrotate apply --role …`
function M.apply(context, args, options, run_options)
  if not args.journal then context:usage("--journal is missing: with --role a folder, for a journal an account") end
  local accounts, err = M.open(context, args, options)
  if not accounts then return nil, err end
  local plans
  plans, err = accounts:plan(options)
  if not plans then return nil, err end
  local holders, count = 0, 0
  for _, one in ipairs(plans.accounts) do
    if one.value then holders, count = holders + #one.value:holders(), count + 1 end
  end
  if not context.quiet then context:say_error(tostring(plans)) end
  if count == 0 then return show_plans(context, plans) end
  if not context:confirmed(args, ("Change %d holders in %d accounts?"):format(holders, count)) then
    if context.json then show_plans(context, plans) end
    context:say_error("Nothing was changed. Pass --yes to carry these plans out.\n")
    return cli.DONE
  end
  local ok
  ok, err = context:guard()
  if not ok then return nil, err end
  run_options.journal, run_options.on_event = args.journal, M.progress(context)
  local report
  report, err = plans:run(run_options)
  return finished(context, args, report, err)
end

--- `certrotate resume|rollback FOLDER --role …`
---@param verb "resume"|"rollback"
function M.go_on(context, args, verb, options)
  local accounts, err = M.open(context, args)
  if not accounts then return nil, err end
  local ok
  ok, err = context:guard()
  if not ok then return nil, err end
  options.journal, options.on_event = args.journal, M.progress(context)
  local report
  report, err = accounts[verb](accounts, options)
  return finished(context, args, report, err)
end

--- `certrotate retire FOLDER --role …`
function M.retire(context, args, keep, more)
  local accounts, err = M.open(context, args)
  if not accounts then return nil, err end
  local report
  report, err = accounts:retire({ journal = args.journal, keep = keep, dry_run = not args.yes })
  if not report then return nil, err end
  return M.show(context, report.accounts, more.text, more)
end

-- The accounts of a status that asks nobody: their numbers stand in the roles.
local function named(context, args)
  local accounts = { list = {} }
  for _, role in ipairs((roles_of(context, args))) do
    local account = role:match("^arn:[%w-]+:iam::(%d+):role/")
    if not account then context:usage("--role: status asks AWS nothing; the ARN of a role expected, got " .. role) end
    accounts.list[#accounts.list + 1] = { account = account, role = role }
  end
  return accounts
end

--- `certrotate status FOLDER --role …`
function M.status(context, args, plain)
  local accounts, results, err
  if require("certrotate.rotation.s3.location").is(args.journal) then
    accounts, err = M.open(context, args)
    if not accounts then return nil, err end
  else
    accounts = named(context, args)
  end
  results, err = require("certrotate.rotation.accounts").status(accounts, args.journal)
  if not results then return nil, err end
  local code = M.show(context, results, function(status, one)
    return require("certrotate.report.status").text(status, one.journal)
  end, { plain = plain })
  draw(context, args, results)
  return code
end

return M
