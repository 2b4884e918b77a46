--- Deletes the old certificate, by rule 2 and nothing less: the step in C looks at every fact afresh.
local errors = require("certrotate.errors")
local fmt = require("certrotate.fmt")
local journal_module = require("certrotate.rotation.journal")

local M = {}

-- How long the old certificate is kept for a rollback after the rotation ended.
M.KEEP = 24 * 3600

---@class certrotate.RetireOptions
---@field journal string
---@field keep? number        seconds to keep it after the rotation ended (default 24 h)
---@field dry_run? boolean    look at every fact, delete nothing
---@field patience? number    seconds to wait for a store that still says "in use"
---@field on_event? fun(event: table)

---@class certrotate.RetireResult
---@field deleted boolean
---@field already_gone boolean
---@field facts { fact: string, holds: boolean, evidence: string }[]
---@field reference string

--- Retires the certificate a finished rotation replaced.
---@param aws certrotate.Session
---@param options certrotate.RetireOptions
---@return certrotate.RetireResult?
---@return certrotate.Error?
function M.run(aws, options)
  local journal, err = journal_module.open(options.journal)
  if not journal then return nil, err end
  local state = journal:state()
  local function finish(result, why)
    journal:close()
    return result, why
  end
  if not state.ended then
    return finish(nil, errors.new({ kind = "policy", code = "NotFinished",
      message = ("the rotation of %s is not finished; `certrotate resume %s` first"):format(options.journal, options.journal) }))
  end
  local changed = {}
  for id in pairs(state.swapped) do changed[#changed + 1] = id end
  table.sort(changed)
  local now = aws.loop:now() + aws:clock_offset()
  local keep_until = state.ended + (options.keep or M.KEEP)
  if not options.dry_run then
    if now < keep_until then
      return finish(nil, errors.new({ kind = "policy", code = "KeepTime",
        message = ("kept for a rollback until %s; retire then, or pass --keep 0"):format(fmt.time(keep_until)) }))
    end
    local ok
    ok, err = journal:append({ at = now, event = "intent", step = "retire" })
    if not ok then return finish(nil, err) end
  end
  local result
  result, err = aws.loop:await({ account = aws.account, step = "retire", params = {
    reference = journal.plan.from, changed = changed, keep_until = math.floor(keep_until),
    dry_run = options.dry_run or false, patience = options.patience,
  } })
  if not options.dry_run then
    local entry = { at = aws.loop:now() + aws:clock_offset(), event = "outcome", step = "retire" }
    if result then
      entry.result = { deleted = result.deleted, already_gone = result.already_gone }
    else
      entry.error = { kind = err.kind, code = err.code, message = err.message }
    end
    local ok, why = journal:append(entry)
    if result and not ok then return finish(nil, why) end
  end
  if result then result.reference = journal.plan.from end
  return finish(result, err)
end

return M
