--- Many accounts at once: one session opens others by role, and an inventory, a plan, a run go over all of them. A thin
-- layer: each account has its own session, inventory, plan, journal, locks and pace; what fails in one leaves the others
-- going, and the result says where.
--
-- Whom one certificate means in another account is told by its fingerprint, never by a name: the replaced certificate is
-- read where its reference lives, and looked for elsewhere among those that end at the same moment.
local account_plans = require("certrotate.rotation.account_plans")
local core = require("certrotate.core")
local errors = require("certrotate.errors")
local inventory_module = require("certrotate.rotation.inventory")
local location = require("certrotate.rotation.s3.location")
local journal_module = require("certrotate.rotation.journal")
local plan_module = require("certrotate.rotation.plan")
local status_module = require("certrotate.rotation.status")
local store = require("certrotate.rotation.store")
local stored = require("certrotate.rotation.stored")

local M = {}

M.PARALLEL = 4   -- accounts side by side

---@class certrotate.AccountsOptions
---@field roles string[]            ARNs of the roles to assume; "self" is the session's own account
---@field external_id? string
---@field parallel? integer         accounts at a time (default 4)

---@class certrotate.AccountResult
---@field account string            12 digits
---@field role string               ARN, or "self"
---@field value? any                what came of it there
---@field error? certrotate.Error   or why nothing did

---@class certrotate.Accounts
---@field list { account?: string, role: string, aws?: certrotate.Session, error?: certrotate.Error }[]
---@field parallel integer
---@field home certrotate.Session   the one they were opened from; its credentials reach journals in S3
---@field loop table
local Accounts = {}
Accounts.__index = Accounts
Accounts.__name = "certrotate.Accounts"

--- Opens sessions for roles. Sends nothing, unless "self" is among them.
---@param aws certrotate.Session
---@param options certrotate.AccountsOptions
---@return certrotate.Accounts?
---@return certrotate.Error?
function M.open(aws, options)
  if type(options) ~= "table" or type(options.roles) ~= "table" or #options.roles == 0 then
    error("accounts: `roles` must be a list of role ARNs (\"self\": this account)", 2)
  end
  local list, seen = {}, {}
  for _, role in ipairs(options.roles) do
    local one, err = { role = role }, nil   -- luacheck: ignore 311
    if role == "self" then
      one.account, err = aws:account_id()
      one.aws = aws
    else
      one.account = type(role) == "string" and role:match("^arn:[%w-]+:iam::(%d%d%d%d%d%d%d%d%d%d%d%d):role/.")
      if not one.account then
        return nil, errors.new({ kind = "input", code = "BadRole",
          message = ("not the ARN of a role (arn:aws:iam::ACCOUNT:role/NAME): %s"):format(tostring(role)) })
      end
      one.aws, err = aws:assume({ role_arn = role, external_id = options.external_id })
    end
    if err then return nil, err end
    one.aws.home = aws
    if seen[one.account] then
      return nil, errors.new({ kind = "input", code = "AccountTwice",
        message = ("account %s is there twice (%s, %s): two runs would be in each other's way"):format(one.account,
          seen[one.account], role) })
    end
    seen[one.account] = role
    list[#list + 1] = one
  end
  return setmetatable({ list = list, parallel = options.parallel or M.PARALLEL, home = aws,
                       loop = aws.loop }, Accounts)
end

--- Does something in each account, some side by side. What fails, or raises, in one is that one's result.
---@param fn fun(one: { account: string, role: string, aws: certrotate.Session }): any, certrotate.Error?
---@param list? table[]   only these
---@return certrotate.AccountResult[]
function Accounts:each(fn, list)
  list = list or self.list
  local results = {}
  for i, one in ipairs(list) do results[i] = { account = one.account, role = one.role } end
  self.loop:each(list, self.parallel, function(one, index)
    local ok, value, err = pcall(fn, one)
    if not ok then value, err = nil, errors.new({ kind = "input", code = "Raised", message = tostring(value) }) end
    results[index].value, results[index].error = value, err
    return true
  end)
  for _, result in ipairs(results) do
    -- Not reached any more.
    if result.value == nil and not result.error then
      result.error = errors.new({ kind = "cancelled", code = "Interrupted",
        message = ("interrupted (%s)"):format(tostring(self.loop.interrupted)) })
    end
  end
  return results
end

--- Everybody's inventory. An account that cannot be read is left out, and its error says so.
---@return certrotate.AccountResult[]   value: certrotate.Inventory
function Accounts:inventory()
  local results = self:each(function(one) return one.aws:inventory() end)
  for _, one in ipairs(results) do
    if one.error and one.error.kind ~= "cancelled" then
      one.error = errors.wrap(one.error, { message = ("account %s is left out"):format(one.account) })
    end
  end
  return results
end

-- ── the same certificate everywhere ─────────────────────────────────────────────────────────────────────────

-- The account in which a reference lives: an ARN says it, an IAM id is listed somewhere.
local function home_of(inventories, reference)
  local account = reference:match("^arn:[%w-]+:%w+:[%w-]*:(%d+):")
  for _, one in ipairs(inventories) do
    if one.account == account or not account and one.value and one.value:certificate(reference) then return one end
  end
  return nil
end

local function session_of(self, account)
  for _, one in ipairs(self.list) do
    if one.account == account then return one.aws end
  end
end

-- What the replaced certificate is: reference by reference its leaf is read once, where it lives.
local function identify(self, inventories, reference)
  local home = home_of(inventories, reference)
  local certificate, err
  if home and home.value then
    certificate, err = stored.read(session_of(self, home.account), home.value, reference)
  end
  if err then return nil, err end
  if certificate then return certificate end
  for _, one in ipairs(inventories) do
    -- Its own account, or any for an IAM id, may be the one that could not be read.
    if one.error and (one == home or not home and not reference:find("^arn:")) then
      return nil, errors.wrap(one.error, { message = ("%s cannot be looked at"):format(reference) })
    end
  end
  return nil, errors.new({ kind = "input", code = "UnknownReference",
    message = ("%s is in none of these accounts (%s)"):format(reference, home and "its own was asked"
      or "give the role of its account too, or `replace` by account") })
end

-- The reference under which an account has that certificate, nil where it has not. Of several the one that is used; two
-- that are used are for a person to tell apart, or one would be overlooked.
local function twin(one, inventory, certificate)
  if inventory:certificate(certificate.reference) then return certificate.reference end
  local spare, found
  for _, candidate in ipairs(inventory.certificates) do
    if candidate.not_after and certificate.not_after and math.abs(candidate.not_after - certificate.not_after) <= 1 then
      local fingerprint, err = stored.fingerprint(one.aws, candidate)
      if err then return nil, err end
      local same = fingerprint == certificate.fingerprint
      if same and #inventory:holders_of(candidate.reference) == 0 then
        spare = spare or candidate.reference
      elseif same and found then
        return nil, errors.new({ kind = "policy", code = "ManyCopies",
          message = ("account %s uses the certificate under two references, %s and %s: rotate one after the other, "
            .. "each named behind the role (--role \"ARN REFERENCE\")"):format(one.account, found, candidate.reference) })
      elseif same then
        found = candidate.reference
      end
    end
  end
  return found or spare
end

---@class certrotate.AccountsPlan
---@field accounts certrotate.AccountResult[]   value: certrotate.Plan. A `NothingToDo` error: it is not used there
local AccountsPlan = {}
AccountsPlan.__index = AccountsPlan
AccountsPlan.__name = "certrotate.AccountsPlan"

local function nothing(account, why)
  return errors.new({ kind = "policy", code = "NothingToDo",
    message = ("account %s %s"):format(account, why or "does not use this certificate") })
end

-- What is replaced in each account, from what was given: an exact reference, or the same certificate by fingerprint.
local EVERY = "*"
local function replaced(self, inventories, given)
  if type(given) ~= "table" then given = { [EVERY] = given } end
  local known, certificate = {}, nil
  for _, one in ipairs(self.list) do known[one.account] = true end
  for account, reference in pairs(given) do
    if type(reference) ~= "string" then error("accounts: `replace` must map accounts to references", 4) end
    if account ~= EVERY and not known[account] then
      return nil, errors.new({ kind = "input", code = "UnknownAccount",
        message = ("`replace` names account %s, of which no role was given"):format(tostring(account)) })
    end
  end
  if given[EVERY] then
    local err
    certificate, err = identify(self, inventories, given[EVERY])
    if not certificate then return nil, err end
  end
  return function(one, inventory)
    if given[one.account] then return given[one.account] end
    if certificate then return twin(one, inventory, certificate) end
    return nil
  end
end

-- The ids each account has of a list; an id that none has is refused.
local function share(inventories, ids)
  local by_account, all = {}, true
  for _, listed in ipairs(inventories) do
    by_account[listed.account] = {}
    all = all and listed.value ~= nil
  end
  for _, id in ipairs(ids) do
    local found = false
    for _, listed in ipairs(inventories) do
      -- Tenants are listed by certificate, later: whose they are is not known yet.
      if listed.value and (listed.value:holder(id) or inventory_module.is_tenant(id)) then
        found = true
        table.insert(by_account[listed.account], id)
      end
    end
    if not found and all then
      return nil, errors.new({ kind = "policy", code = "UnknownHolder",
        message = ("no distribution %s in any of these accounts"):format(id) })
    end
  end
  return by_account
end

-- Does `fn` with each account's own options: what is replaced there, and which of the named distributions are there.
local function with_options(self, options, fn)
  local inventories = self:inventory()
  local reference_in, err = replaced(self, inventories, options.replace)
  if not reference_in then return nil, err end
  local lists, by_account = {}, {}
  for _, name in ipairs({ "only", "attach" }) do
    if options[name] then lists[name], err = share(inventories, options[name]) end
    if err then return nil, err end
  end
  for _, one in ipairs(inventories) do by_account[one.account] = one end
  return self:each(function(one)
    local listed, own = by_account[one.account], {}
    if not listed.value then return nil, listed.error end
    for key, value in pairs(options) do own[key] = value end
    local reference, why = reference_in(one, listed.value)
    if why then return nil, why end
    own.inventory, own.replace = listed.value, reference
    for name, shared in pairs(lists) do own[name] = shared[one.account] end
    if own.only and #own.only == 0 then return nil, nothing(one.account, "has none of these distributions") end
    if own.attach and #own.attach == 0 then
      own.attach, own.ssl_support_method, own.minimum_protocol_version = nil, nil, nil
    end
    if (options.replace or options.attach) and not own.replace and not own.attach then
      return nil, nothing(one.account, not options.replace and "has none of these distributions" or nil)
    end
    return fn(one, own)
  end)
end

--- What can be known beforehand, an account each: `options` as for one (certrotate.CheckOptions), `replace` as for
--- plan.
---@param options table
---@return certrotate.AccountResult[]?   value: certrotate.CheckResult
---@return certrotate.Error?   where `replace` names nothing in any account
function Accounts:check(options)
  return with_options(self, options, function(one, own) return one.aws:check(own) end)
end

--- A plan an account: `options` as for one (certrotate.PlanOptions), but `replace` may also be a table from account to
--- the reference that is replaced there; "*" stands for all other accounts, where the same certificate is looked for by
--- its fingerprint, as it is with a text. The new certificate is imported only where it replaces something.
---@param options table
---@return certrotate.AccountsPlan?
---@return certrotate.Error?   where `replace` names nothing in any account
function Accounts:plan(options)
  local given = options.replace
  local attaches_only = given == nil and type(options.attach) == "table"
  if not attaches_only and type(given) ~= "string" and (type(given) ~= "table" or next(given) == nil) then
    error("accounts: `replace` must be a reference, or a table from account to reference", 2)
  end
  local results, err = with_options(self, options, function(one, own) return one.aws:plan(own) end)
  if not results then return nil, err end
  return setmetatable({ accounts = results, _accounts = self }, AccountsPlan)
end

-- ── runs ────────────────────────────────────────────────────────────────────────────────────────────────────

---@class certrotate.AccountsReport
---@field ok boolean       every account that had something to do did it
---@field changed integer
---@field accounts certrotate.AccountResult[]   value: certrotate.Report; `journal`: what can be gone on with

M.journal = account_plans.journal

local function need_folder(options)
  if type(options) ~= "table" or type(options.journal) ~= "string" or options.journal == "" then
    error("accounts: `journal` must name a folder: each account has its own journal in it", 3)
  end
  if location.is(options.journal) then
    local parsed, err = location.parse(options.journal)
    return parsed and true, err
  end
  return core.make_directory(options.journal)
end

-- Options of one account's run: its journal, its name in every event.
local function options_of(options, account)
  local own = {}
  for key, value in pairs(options) do own[key] = value end
  own.journal = M.journal(options.journal, account)
  if options.on_event then
    own.on_event = function(event)
      event.account = account
      options.on_event(event)
    end
  end
  return own
end

-- plans: of accounts whose rotation can be gone on with although it was not begun.
local function report_of(results, folder, plans)
  local report = { ok = true, changed = 0, accounts = results }
  for _, one in ipairs(results) do
    if one.value then
      report.changed = report.changed + (one.value.changed or 0)
      report.ok = report.ok and one.value.ok ~= false
      one.journal = M.journal(folder, one.account)
    elseif one.error.code ~= "NothingToDo" then
      report.ok = false
      one.journal = one.error.journal or plans and plans[one.account] and M.journal(folder, one.account) or nil
    end
  end
  return report
end

--- Carries all plans out, some accounts side by side. They are all in the folder before the first is begun.
---@param options table   as certrotate.RunOptions; `journal` names a folder, or s3://BUCKET/NAME
---@return certrotate.AccountsReport?
---@return certrotate.Error?   of the folder
function AccountsPlan:run(options)
  local ok, err = need_folder(options)
  if not ok then return nil, err end
  local planned, plans, list = {}, {}, {}
  for _, one in ipairs(self.accounts) do
    planned[one.account], plans[one.account] = one, one.value
    if one.value then list[#list + 1] = { account = one.account, plan = one.value } end
  end
  if #list > 0 then
    ok, err = account_plans.write(options.journal, list, self._accounts.home)
    if not ok then return nil, err end
  end
  return report_of(self._accounts:each(function(one)
    local own = planned[one.account]
    if not own.value then return nil, own.error end
    return own.value:run(options_of(options, one.account))
  end), options.journal, plans)
end

--- Text for people: each account's plan under its number.
function AccountsPlan:__tostring()
  local parts = {}
  for _, one in ipairs(self.accounts) do
    parts[#parts + 1] = ("Account %s\n%s"):format(one.account, one.value and tostring(one.value)
      or "  " .. tostring(one.error) .. "\n")
  end
  return table.concat(parts, "\n")
end

-- The same of a session in each account that has a journal in the folder.
local function with_journals(self, verb, options)
  local ok, err = need_folder(options)
  if not ok then return nil, err end
  return report_of(self:each(function(one)
    local own = options_of(options, one.account)
    local there, why = store.exists(own.journal, self.home)
    if there == nil then return nil, why end
    if not there then return nil, nothing(one.account, "has no journal there") end
    return one.aws[verb](one.aws, own)
  end), options.journal)
end

-- Begins what was planned and not begun: all that is checked before a first change is checked now.
local function begin(one, plan, own)
  if not plan then return nil, nothing(one.account, "has neither a journal nor a plan there") end
  return plan_module.attach(plan, one.aws, own.identity):run(own)
end

--- Finishes what was interrupted in any of the accounts, or not even begun there.
---@param options table   `journal`: the folder
---@return certrotate.AccountsReport?
---@return certrotate.Error?
function Accounts:resume(options)
  local ok, err = need_folder(options)
  if not ok then return nil, err end
  local plans
  plans, err = account_plans.read(options.journal, self.home)
  if not plans then return nil, err end
  return report_of(self:each(function(one)
    local own = options_of(options, one.account)
    local there, why = store.exists(own.journal, self.home)
    if there == nil then return nil, why end
    if not there then return begin(one, plans[one.account], own) end
    local journal
    journal, why = journal_module.load(own.journal, self.home)
    -- A header torn by a kill: nothing was done, and it is written again.
    if not journal and why.nothing_begun then return begin(one, plans[one.account], own) end
    if not journal then return nil, why end
    -- A rotation that came to its end needs no second walk.
    if journal:state().ended then return nil, nothing(one.account, "is finished") end
    return one.aws:resume(own)
  end), options.journal, plans)
end

--- Takes back what was changed in all of the accounts.
---@param options table   `journal`: the folder
---@return certrotate.AccountsReport?
---@return certrotate.Error?
function Accounts:rollback(options) return with_journals(self, "rollback", options) end

--- Retires the old certificate in each account, by each account's own facts.
---@param options table   `journal`: the folder; keep, dry_run, …
---@return certrotate.AccountsReport?   value: certrotate.RetireResult
---@return certrotate.Error?
function Accounts:retire(options) return with_journals(self, "retire", options) end

-- What the folder says of one account.
local function status_of(account, path, plan, aws)
  local there, err = store.exists(path, aws)
  if there then return status_module.read(path, aws) end
  if there == nil then return nil, err end
  if plan then return status_module.planned(plan) end
  return nil, nothing(account, "has neither a journal nor a plan there")
end

--- What the journals of a folder say. Asks AWS nothing, but S3 where they are there.
---@param accounts { list: { account: string, role: string }[], home?: certrotate.Session }
---@param folder string
---@return certrotate.AccountResult[]?   value: certrotate.Status
---@return certrotate.Error?
function M.status(accounts, folder)
  local plans, err = account_plans.read(folder, accounts.home)
  if not plans then return nil, err end
  local results = {}
  for i, one in ipairs(accounts.list) do
    local path = M.journal(folder, one.account)
    local status, why = status_of(one.account, path, plans[one.account], accounts.home)
    results[i] = { account = one.account, role = one.role, value = status, error = why, journal = path }
  end
  return results
end

--- The same for these accounts.
---@param folder string
---@return certrotate.AccountResult[]?
---@return certrotate.Error?
function Accounts:status(folder) return M.status(self, folder) end

--- Closes the sessions that were opened for it; the one they came from stays.
function Accounts:close()
  for _, one in ipairs(self.list) do
    if one.role ~= "self" and one.aws then one.aws:close() end
  end
  self.list = {}
end

return M
