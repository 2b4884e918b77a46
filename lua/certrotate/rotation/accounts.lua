--- Many accounts at once: one session opens others by role, and an inventory, a plan, a run go over all of them. A thin
-- layer: each account has its own session, inventory, plan, journal, locks and pace; what fails in one leaves the others
-- going, and the result says where.
--
-- Whom one certificate means in another account is told by its fingerprint, never by a name: the replaced certificate is
-- read where its reference lives, and looked for elsewhere among those that end at the same moment.
local core = require("certrotate.core")
local errors = require("certrotate.errors")
local location = require("certrotate.rotation.s3.location")
local journal_module = require("certrotate.rotation.journal")
local status_module = require("certrotate.rotation.status")
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
    if seen[one.account] then
      return nil, errors.new({ kind = "input", code = "AccountTwice",
        message = ("account %s is there twice (%s, %s): two runs would be in each other's way"):format(one.account,
          seen[one.account], role) })
    end
    seen[one.account] = role
    list[#list + 1] = one
  end
  return setmetatable({ list = list, parallel = options.parallel or M.PARALLEL, loop = aws.loop }, Accounts)
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

--- Everybody's inventory.
---@return certrotate.AccountResult[]   value: certrotate.Inventory
function Accounts:inventory()
  return self:each(function(one) return one.aws:inventory() end)
end

-- ── the same certificate everywhere ─────────────────────────────────────────────────────────────────────────

-- The account in which a reference lives: an ARN says it, an IAM id is listed somewhere.
local function home_of(inventories, reference)
  local account = reference:match("^arn:[%w-]+:%w+:[%w-]*:(%d+):")
  for _, one in ipairs(inventories) do
    if one.value and (one.account == account or not account and one.value:certificate(reference)) then return one end
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
  if home then
    certificate, err = stored.read(session_of(self, home.account), home.value, reference)
  end
  if err then return nil, err end
  if not certificate then
    return nil, errors.new({ kind = "input", code = "UnknownReference",
      message = ("%s is in none of these accounts (%s)"):format(reference, home and "its own was asked"
        or "give the role of its account too, or `replace` by account") })
  end
  return certificate
end

-- The reference under which an account has that certificate, nil where it has not.
local function twin(aws, inventory, certificate)
  for _, one in ipairs(inventory.certificates) do
    if one.reference == certificate.reference then return one.reference end
    if one.not_after and certificate.not_after and math.abs(one.not_after - certificate.not_after) <= 1
      and #inventory:holders_of(one.reference) > 0 then
      local fingerprint, err = stored.fingerprint(aws, one)
      if err then return nil, err end
      if fingerprint == certificate.fingerprint then return one.reference end
    end
  end
  return nil
end

---@class certrotate.AccountsPlan
---@field accounts certrotate.AccountResult[]   value: certrotate.Plan. A `NothingToDo` error: it is not used there
local AccountsPlan = {}
AccountsPlan.__index = AccountsPlan
AccountsPlan.__name = "certrotate.AccountsPlan"

local function nothing(account)
  return errors.new({ kind = "policy", code = "NothingToDo",
    message = ("account %s does not use this certificate"):format(account) })
end

--- A plan an account: `options` as for one (certrotate.PlanOptions), but `replace` may also be a table from account to
--- reference. The new certificate is imported only where it replaces something.
---@param options table
---@return certrotate.AccountsPlan?
---@return certrotate.Error?   where `replace` names nothing in any account
function Accounts:plan(options)
  local given = options.replace
  if type(given) ~= "string" and type(given) ~= "table" then
    error("accounts: `replace` must be a reference, or a table from account to reference", 2)
  end
  local inventories, certificate = self:inventory(), nil
  if type(given) == "string" then
    local err
    certificate, err = identify(self, inventories, given)
    if not certificate then return nil, err end
  end
  local by_account = {}
  for _, one in ipairs(inventories) do by_account[one.account] = one end
  local results = self:each(function(one)
    local listed = by_account[one.account]
    if not listed.value then return nil, listed.error end
    local reference, err
    if certificate then
      reference, err = twin(one.aws, listed.value, certificate)
      if err then return nil, err end
    else
      reference = given[one.account]
    end
    if not reference then return nil, nothing(one.account) end
    local own = {}
    for key, value in pairs(options) do own[key] = value end
    own.replace, own.inventory = reference, listed.value
    return one.aws:plan(own)
  end)
  return setmetatable({ accounts = results, _accounts = self }, AccountsPlan)
end

-- ── runs ────────────────────────────────────────────────────────────────────────────────────────────────────

---@class certrotate.AccountsReport
---@field ok boolean       every account that had something to do did it
---@field changed integer
---@field accounts certrotate.AccountResult[]   value: certrotate.Report; each with `journal`

--- The journal of one account in a folder of them.
---@param folder string
---@param account string
---@return string
function M.journal(folder, account) return ("%s/%s.journal"):format(folder, account) end

local function need_folder(options)
  if type(options) ~= "table" or type(options.journal) ~= "string" or options.journal == "" then
    error("accounts: `journal` must name a folder: each account has its own journal in it", 3)
  end
  if location.is(options.journal) then
    return nil, errors.new({ kind = "input", code = "FolderNeeded", message = ("%s: the journals of many accounts lie in a "
      .. "folder of this machine; for S3 rotate account after account, with a profile each"):format(options.journal) })
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

local function report_of(results, folder)
  local report = { ok = true, changed = 0, accounts = results }
  for _, one in ipairs(results) do
    if one.value then
      report.changed = report.changed + (one.value.changed or 0)
      report.ok = report.ok and one.value.ok ~= false
      one.journal = M.journal(folder, one.account)
    elseif one.error.code ~= "NothingToDo" then
      report.ok = false
      one.journal = one.error.journal
    end
  end
  return report
end

--- Carries all plans out, some accounts side by side.
---@param options table   as certrotate.RunOptions; `journal` names a folder
---@return certrotate.AccountsReport?
---@return certrotate.Error?   of the folder
function AccountsPlan:run(options)
  local ok, err = need_folder(options)
  if not ok then return nil, err end
  local plans = {}
  for _, one in ipairs(self.accounts) do plans[one.account] = one end
  return report_of(self._accounts:each(function(one)
    local planned = plans[one.account]
    if not planned.value then return nil, planned.error end
    return planned.value:run(options_of(options, one.account))
  end), options.journal)
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

local function exists(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

-- The same of a session in each account that has a journal in the folder.
local function with_journals(self, verb, options)
  local ok, err = need_folder(options)
  if not ok then return nil, err end
  return report_of(self:each(function(one)
    local own = options_of(options, one.account)
    if not exists(own.journal) then return nil, nothing(one.account) end
    return one.aws[verb](one.aws, own)
  end), options.journal)
end

-- A rotation that came to its end needs no second walk.
local function unfinished(own)
  local journal, err = journal_module.load(own.journal)
  if not journal then return nil, err end
  if journal:state().ended then return false end
  return true
end

--- Finishes what was interrupted in any of the accounts.
---@param options table   `journal`: the folder
---@return certrotate.AccountsReport?
---@return certrotate.Error?
function Accounts:resume(options)
  local ok, err = need_folder(options)
  if not ok then return nil, err end
  return report_of(self:each(function(one)
    local own = options_of(options, one.account)
    if not exists(own.journal) then return nil, nothing(one.account) end
    local open, why = unfinished(own)
    if open == nil then return nil, why end
    if not open then
      return nil, errors.new({ kind = "policy", code = "NothingToDo",
        message = ("the rotation in account %s is finished"):format(one.account) })
    end
    return one.aws:resume(own)
  end), options.journal)
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

--- What the journals of a folder say. Asks AWS nothing.
---@param accounts { list: { account: string, role: string }[] }
---@param folder string
---@return certrotate.AccountResult[]   value: certrotate.Status
function M.status(accounts, folder)
  local results = {}
  for i, one in ipairs(accounts.list) do
    local path = M.journal(folder, one.account)
    local status, err
    if exists(path) then status, err = status_module.read(path) else err = nothing(one.account) end
    results[i] = { account = one.account, role = one.role, value = status, error = err, journal = path }
  end
  return results
end

--- The same for these accounts.
---@param folder string
---@return certrotate.AccountResult[]
function Accounts:status(folder) return M.status(self, folder) end

--- Closes the sessions that were opened for it; the one they came from stays.
function Accounts:close()
  for _, one in ipairs(self.list) do
    if one.role ~= "self" and one.aws then one.aws:close() end
  end
  self.list = {}
end

return M
