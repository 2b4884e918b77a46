--- One run of one plan: what its stages share. What is done is recorded before and after, and told.
local errors = require("certrotate.errors")

---@class certrotate.Run
---@field aws certrotate.Session
---@field plan certrotate.Plan
---@field journal certrotate.Journal
---@field state certrotate.JournalState   what the journal says, kept up to date
---@field options certrotate.RunOptions
---@field locks certrotate.Locks
---@field identity? certrotate.Identity
---@field on_event? fun(event: table)
---@field event_problem? string           what `on_event` raised
---@field fits? boolean                   whether the dedicated-IP quota was enough just now; nil: nobody looked
---@field timed table<integer, true>      waves in which this very run changed a holder
---@field calls { count: integer, seconds: number }   what changing one took
---@field gates table<string, certrotate.Gate>   functions the plan's waves name
---@field failed table<string, certrotate.Error>   what changing a holder failed with, in this run
---@field changed_at table<string, number>   when this run changed a holder that it has not seen Deployed yet
---@field deployed table<integer, table<string, number>>   by wave: seconds from a holder's change until it was seen
---@field failures integer                how many did
---@field pace_told? boolean              it was said that AWS limits the rate
local Run = {}
Run.__index = Run

--- Why a run ends before its end.
---@param code string
---@param message string
---@param kind? string    default "policy"
---@param cause? certrotate.Error
---@return certrotate.Error
function Run.stopped(code, message, kind, cause)
  local err = errors.new({ kind = kind or "policy", code = code, message = message })
  err.cause = cause
  return err
end

---@param fields table   aws, plan, journal, state, options, locks, identity, on_event, fits
---@return certrotate.Run
function Run.new(fields)
  fields.timed = {}
  fields.changed_at, fields.deployed = {}, {}
  fields.failed, fields.failures, fields.gates = {}, 0, fields.gates or {}
  return setmetatable(fields, Run)
end

-- A handler that raises must neither end the rotation half-way nor go unnoticed.
function Run:emit(kind, event)
  event = event or {}
  event.type, event.at = kind, self:now()
  if not self.on_event then return end
  local ok, problem = pcall(self.on_event, event)
  if not ok then self.on_event, self.event_problem = nil, tostring(problem) end
end

--- Tells once that CloudFront limits the rate of updates, and which rate was found.
function Run:tell_pace()
  if self.pace_told then return end
  for _, pace in ipairs(self.aws:paces()) do
    if pace.service == "cloudfront" and pace.writes then
      self.pace_told = true
      self:emit("pace", { service = pace.service, rate = pace.rate })
    end
  end
end

-- AWS's time as far as its answers told it.
function Run:now()
  return self.aws.loop:now() + self.aws:clock_offset()
end

function Run:record(entry)
  entry.at = self:now()
  -- Nothing new is begun without the locks; what was done is recorded all the same.
  local ok, err = true, nil
  if entry.event ~= "outcome" then ok, err = self.locks:check() end
  if not ok then return nil, err end
  ok, err = self.journal:append(entry)
  -- A change that cannot be recorded must not be made.
  if not ok then return nil, err end
  return true
end

function Run:outcome(entry, result, err)
  entry.event = "outcome"
  if result then
    entry.result = result
  else
    entry.error = { kind = err.kind, code = err.code, message = err.message, request_id = err.request_id,
                    ambiguous = err.ambiguous or nil }
  end
  return self:record(entry)
end

function Run:await(step, params, identity)
  return self.aws.loop:await({ account = self.aws.account, step = step, params = params, identity = identity })
end

-- Why nothing new may begin, or nil.
function Run:interruption()
  local why = self.aws.loop.interrupted
  return why and Run.stopped("Interrupted", ("interrupted (%s)"):format(tostring(why)), "cancelled") or nil
end

-- Does `fn` for each of the list, so many at a time. What it returns as an error, an interrupt, a cancellation and a
-- function that raised all end it, and are told: a holder that was not reached must never count as done.
function Run:each(list, parallel, fn)
  local failure
  local done, err = self.aws.loop:each(list, parallel, function(item)
    if failure then return true end
    local ok, why = fn(item)
    if not ok then failure = failure or why end
    return true
  end)
  if failure and failure.kind ~= "cancelled" then return nil, failure end
  failure = failure or not done and err or self:interruption()
  if failure then return nil, failure end
  return true
end

return Run
