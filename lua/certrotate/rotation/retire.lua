--- Deletes the certificate a rotation left unused, by rule 2 and nothing less: the step in C looks at every fact afresh.
-- That is the old one; after a rollback the new one, when it was this rotation that imported it.
local errors = require("certrotate.errors")
local fmt = require("certrotate.fmt")
local inventory_module = require("certrotate.rotation.inventory")
local journal_module = require("certrotate.rotation.journal")
local lock_module = require("certrotate.rotation.lock")
local preflight = require("certrotate.rotation.preflight")
local store = require("certrotate.rotation.store")

local M = {}

-- certrotate.RetireOptions, for certrotate.arguments.
M.OPTIONS = { journal = "string", keep = "number", dry_run = "boolean", patience = "number", state_directory = "string" }

-- How long the old certificate is kept for a rollback after the rotation ended.
M.KEEP = 24 * 3600

---@class certrotate.RetireOptions
---@field journal string
---@field keep? number             seconds to keep it after the rotation ended (default 24 h)
---@field dry_run? boolean         look at every fact, delete nothing, write nothing
---@field patience? number         seconds to wait for a store that still says "in use"
---@field state_directory? string  of the locks (default: where the rotation had them)

---@class certrotate.RetireResult
---@field deleted boolean
---@field already_gone boolean
---@field facts { fact: string, holds: boolean, evidence: string }[]
---@field reference string

local function refuse(code, message)
  return nil, errors.new({ kind = "policy", code = code, message = message })
end

--- Which certificate nothing should use any more once this rotation is over, or was rolled back.
---@param plan certrotate.Plan
---@param state certrotate.JournalState
---@return string   only where something was replaced
function M.unused(plan, state)
  return state.forward and state.forward.to or plan.from
end

-- The step, with what the journal knows.
local function look(aws, journal, state, keep_until, options)
  local changed = {}
  for id in pairs(state.swapped) do changed[#changed + 1] = id end
  table.sort(changed)
  local result, err = aws.loop:await({ account = aws.account, step = "retire", params = {
    reference = M.unused(journal.plan, state), changed = changed, keep_until = math.floor(keep_until),
    dry_run = options.dry_run or false, patience = options.patience,
  } })
  if result then result.reference = M.unused(journal.plan, state) end
  return result, err
end

local function recorded(aws, journal, state, keep_until, options)
  local function now() return aws.loop:now() + aws:clock_offset() end
  local ok, err = journal:append({ at = now(), event = "intent", step = "retire" })
  if not ok then return nil, err end
  local result
  result, err = look(aws, journal, state, keep_until, options)
  local entry = { at = now(), event = "outcome", step = "retire" }
  if result then
    entry.result = { deleted = result.deleted, already_gone = result.already_gone }
  else
    entry.error = { kind = err.kind, code = err.code, message = err.message }
  end
  local written, why = journal:append(entry)
  if result and not written then return nil, why end
  return result, err
end

-- In another account the certificate is not there, and "already gone" would be believed.
local function same_account(aws, plan)
  local ok, err = preflight.endpoint(aws, plan)
  if not ok then return nil, err end
  local holders
  holders, err = inventory_module.list_holders(aws)
  if not holders then return nil, err end
  return preflight.account(plan, holders)
end

local function retire(aws, journal, options)
  local plan, state = journal.plan, journal:state()
  if not plan.from then
    return refuse("NothingToRetire", "this rotation replaced no certificate: there is none to delete")
  end
  if plan.method == "reimport" then
    return refuse("NothingToRetire", ("%s was reimported in place: it is in use, and of the certificate it held before AWS kept "
      .. "nothing"):format(plan.from))
  end
  if not state.ended then
    return refuse("NotFinished", ("the %s of %s is not finished; `certrotate %s %s` first"):format(
      state.forward and "rollback" or "rotation", options.journal, state.forward and "rollback" or "resume",
      options.journal))
  end
  if state.forward and not state.forward.to then
    return refuse("NothingToRetire", "rolled back before a new certificate was known to be imported; `certrotate inventory` "
      .. "shows whether it is there")
  end
  if state.forward and state.forward.adopted then
    return refuse("NotOurs", ("rolled back, and %s was there before this rotation: whether it is still wanted is yours to say")
      :format(state.forward.to))
  end
  local ok, err = same_account(aws, plan)
  if not ok then return nil, err end
  -- AWS's clock is known to the second only: where nothing is to be waited for, it does not matter.
  local keep = options.keep or M.KEEP
  local keep_until = keep > 0 and state.ended + keep or 0
  if options.dry_run then return look(aws, journal, state, keep_until, options) end
  if aws.loop:now() + aws:clock_offset() < keep_until then
    return refuse("KeepTime", ("kept for a rollback until %s; retire then, or pass --keep 0"):format(fmt.time(keep_until)))
  end
  -- A run that moves holders to this certificate, or away from it, must have come to its end.
  local locks
  locks, err = lock_module.open(aws:endpoint("cloudfront"), { M.unused(plan, state) },
    store.locks(journal.path) or options.state_directory or state.locks, aws)
  if not locks then return nil, err end
  local result
  result, err = recorded(aws, journal, state, keep_until, options)
  locks:close()
  return result, err
end

--- Retires the certificate a finished rotation replaced.
---@param aws certrotate.Session
---@param options certrotate.RetireOptions
---@return certrotate.RetireResult?
---@return certrotate.Error?
function M.run(aws, options)
  if type(options) ~= "table" or type(options.journal) ~= "string" or options.journal == "" then
    error("retire: `journal` must name the journal of the rotation", 2)
  end
  local open = options.dry_run and journal_module.load or journal_module.open
  local journal, err = open(options.journal, aws)
  if not journal then return nil, err end
  local result
  result, err = retire(aws, journal, options)
  journal:close()
  return result, err
end

return M
