--- Where the rotation of many accounts is kept: a journal an account, and beside them the plans of all, written before
-- the first of them is begun. A run that is killed in one account has then left no other without anything to resume
-- from. In a folder of this machine, or in S3, where every account has a name of its own behind the one given.
--
-- One line an account, { account, plan }; of several for one account the last counts.
local errors = require("certrotate.errors")
local json = require("certrotate.json")
local location = require("certrotate.rotation.s3.location")
local store = require("certrotate.rotation.store")

local M = {}

--- The journal of one account.
---@param folder string   or s3://[PROFILE@]BUCKET/NAME
---@param account string
---@return string
function M.journal(folder, account)
  -- Beside each other in S3: their leases are then those of everybody whose journal is there.
  return location.is(folder) and ("%s.%s"):format(folder, account) or ("%s/%s.journal"):format(folder, account)
end

local function path_of(folder) return folder .. (location.is(folder) and ".plans" or "/plans") end

-- The lines as a table from account to plan, and how much of the text are whole lines.
local function parse(path, text)
  local plans, good = {}, 0
  for line, stop in text:gmatch("([^\n]*)\n()") do
    local entry = json.decode(line)
    if type(entry) ~= "table" or type(entry.account) ~= "string" then
      return nil, errors.new({ kind = "input", code = "MalformedJournal",
        message = ("%s: not the plans of a rotation in many accounts; name another folder"):format(path) })
    end
    local plan, err = require("certrotate.rotation.plan").restore(entry.plan, path)
    if not plan then return nil, err end
    plans[entry.account], good = plan, stop - 1
  end
  return plans, good
end

--- Adds plans, durably.
---@param folder string
---@param plans { account: string, plan: certrotate.Plan }[]
---@param aws certrotate.Session
---@return boolean? ok
---@return certrotate.Error?
function M.write(folder, plans, aws)
  local path = path_of(folder)
  local opened, err = store.open(path, aws)
  if not opened then return nil, err end
  local text, there, good, ok
  text, err = opened:read()
  if text then there, good = parse(path, text) end
  if not there then
    opened:close()
    return nil, err or good
  end
  ok = true
  -- Torn by a kill: nothing was begun of it.
  if good < #text then ok, err = opened:truncate(good) end
  local lines = {}
  for i, one in ipairs(plans) do lines[i] = json.encode({ account = one.account, plan = one.plan }) .. "\n" end
  if ok then ok, err = opened:append(table.concat(lines)) end
  opened:close()
  if not ok then return nil, err end
  return true
end

--- The plans of a folder by account; none where there are none.
---@param folder string
---@param aws? certrotate.Session   for S3
---@return table<string, certrotate.Plan>?
---@return certrotate.Error?
function M.read(folder, aws)
  local path = path_of(folder)
  local there, err = store.exists(path, aws)
  if there == nil then return nil, err end
  if not there then return {} end
  local text
  text, err = store.read(path, aws)
  if not text then return nil, err end
  local plans
  plans, err = parse(path, text)
  if not plans then return nil, err end
  return plans
end

return M
