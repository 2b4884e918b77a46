--- Progress of a run: one live line a wave on a terminal, plain timestamped lines anywhere else.
local fmt = require("certrotate.fmt")
local table_report = require("certrotate.report.table")

local M = {}

local BAR = 20

-- Narrow terminals get a shorter one, so that the numbers behind it are seen.
local function bar(done, total, width)
  local size = math.max(4, math.min(BAR, width - 44))
  local full = total > 0 and math.floor(done / total * size + 0.5) or size
  return "[" .. ("#"):rep(full) .. ("."):rep(size - full) .. "]"
end

---@class certrotate.ProgressOptions
---@field write? fun(text: string)   default: stderr
---@field terminal? integer|false    columns of a terminal; false: plain lines; default: what stderr is
---@field quiet? boolean
---@field color? boolean

--- A function for `on_event`.
---@param options? certrotate.ProgressOptions
---@return fun(event: table)
function M.new(options)
  options = options or {}
  local write = options.write or function(text) io.stderr:write(text) end
  local terminal = options.terminal
  if terminal == nil and not options.write then terminal = require("certrotate.core").terminal(2) end
  local live, width = terminal and true or false, terminal or 80
  local wave, shown = nil, false
  local deploy, call   -- what a deployment and a change take: as the plan says, then as was seen

  local function paint(code, text)
    return options.color and ("\27[%sm%s\27[0m"):format(code, text) or text
  end

  -- Seconds until the wave is Deployed, as far as that can be known; nil: it cannot.
  local function left(at)
    if not deploy then return nil end
    if wave.settling then return deploy - (at - wave.settling_since) end
    local here = wave.changed - wave.before
    local each = here > 0 and (at - wave.began) / here or call
    return (wave.total - wave.changed) * each + deploy
  end

  local function left_text(at)
    local seconds = width >= 60 and left(at)
    if not seconds or seconds < 1 then return "" end
    return (", about %s left"):format(fmt.duration(math.ceil(seconds)))
  end

  -- The numbers come before the name: names may be long, and a narrow terminal cuts the end.
  local function redraw(at)
    if not wave then return end
    local done, total, what = wave.changed, wave.total, "changed"
    if wave.serving then done, total, what = wave.seen, wave.serving, "serve the new one" end
    if wave.settling then done, total, what = wave.deployed, wave.settling, "Deployed" end
    local line = ("wave %d/%d %s %d/%d %s%s  %s"):format(wave.index, wave.count, bar(done, total, width), done, total, what,
      left_text(at), table_report.clean(wave.name))
    write("\r\27[K" .. table_report.cut(line, width - 1))
    shown = true
  end

  -- A line that stays.
  local function say(at, text)
    if live then
      write((shown and "\r\27[K" or "") .. text .. "\n")
      shown = false
      return
    end
    write(fmt.time(at) .. " " .. text .. "\n")
  end

  local quota_told

  local handlers = {
    start = function(event)
      local prediction = event.plan and event.plan.prediction or {}
      deploy, call = prediction.deploy_seconds, prediction.call_seconds or 0
    end,
    -- A line when something is new, not one each look.
    quota = function(event)
      local request = event.request
      local text = event.enough and ("the dedicated-IP quota is %d: enough"):format(event.value)
        or ("waiting for a dedicated-IP quota of %d until %s: it is %d%s"):format(event.needed,
          fmt.timestamp(event.deadline), event.value, request and (", the request for %s is %s"):format(
            fmt.integer(math.floor(request.DesiredValue)), request.Status) or "; nobody has asked for more")
      if text ~= quota_told then say(event.at, table_report.clean(text)) end
      quota_told = text
    end,
    import = function(event)
      say(event.at, (event.adopted and "found in %s: %s" or "imported into %s: %s"):format(
        event.store == "acm" and "ACM" or "IAM", event.reference))
    end,
    reimport = function(event)
      say(event.at, (event.changed and "imported under the same ARN, %s; AWS takes up to 24 hours to reach viewers"
        or "found under the same ARN, %s"):format(event.reference))
    end,
    serving = function(event)
      if not wave then return end
      local before = wave.seen or 0
      wave.serving, wave.seen = event.total, event.seen
      if not live and event.seen ~= before and event.seen < event.total then
        say(event.at, ("%d of %d serve the new certificate"):format(event.seen, event.total))
      end
    end,
    wave = function(event)
      wave = { index = event.wave, count = event.waves, name = event.name, total = event.holders,
               changed = event.done or 0, before = event.done or 0, deployed = 0, began = event.at }
      if not live then
        say(event.at, ("wave %d of %d, %s: %s"):format(event.wave, event.waves, table_report.clean(event.name),
          fmt.plural(event.holders, "holder")))
      end
    end,
    swap = function(event)
      wave.changed = wave.changed + 1
      if not live then
        say(event.at, ("%s %s (%d of %d)"):format(event.id, event.changed and "changed" or "already done",
          wave.changed, wave.total))
      end
    end,
    settling = function(event)
      if not wave then return end
      local before = wave.deployed
      wave.settling, wave.deployed = event.total, event.deployed
      wave.settling_since = wave.settling_since or event.at
      if not live and event.deployed ~= before and event.deployed < event.total then
        say(event.at, ("%d of %d Deployed"):format(event.deployed, event.total))
      end
    end,
    settled = function(event)
      local name, index, count = wave.name, wave.index, wave.count
      wave = nil
      deploy = event.seconds or deploy
      say(event.at, ("%s wave %d/%d %s: %s Deployed%s"):format(paint("32", "done"), index, count, table_report.clean(name),
        fmt.plural(event.total, "holder"), event.seconds and " after " .. fmt.duration(event.seconds) or ""))
    end,
    verified = function(event)
      if event.seen > 0 then
        say(event.at, ("%s seen serving the new certificate"):format(fmt.plural(event.seen, "holder")))
      end
    end,
    soak = function(event)
      if event.seconds > 0 then say(event.at, ("watching for %s"):format(fmt.duration(event.seconds))) end
    end,
    waiting = function(event)
      local for_what = { window = "its maintenance window", hour = "the next full hour", gate = "its gate to be asked again" }
      say(event.at, ("wave %d waits %s, until %s, for %s"):format(event.wave, fmt.duration(event.seconds),
        fmt.timestamp(event.deadline), for_what[event.why] or tostring(event.why)))
    end,
    gate = function(event)
      if event.verdict == "passed" then
        say(event.at, event.gate == "pause" and "a person agreed to go on" or "the policy's gate agreed")
      else
        say(event.at, paint("33", "a person must agree before the next wave: " .. table_report.clean(event.text)))
      end
    end,
    budget = function(event)
      say(event.at, paint("33", ("%d of at most %d failures; going on with fewer at a time"):format(event.failures,
        event.most)))
    end,
    detach = function(event)
      say(event.at, ("policy %s detached from %s; until it is attached again staging gets no viewers"):format(
        event.policy, event.id))
    end,
    attach = function(event)
      say(event.at, ("policy %s attached to %s again"):format(event.policy, event.id))
    end,
    restoring = function(event)
      wave = nil
      say(event.at, paint("33", ("%s; attaching policy %s to %s again first%s"):format(
        event.interrupted and "interrupted" or "stopping", event.policy, event.id,
        event.interrupted and " (interrupt once more to leave it detached)" or "")))
    end,
    conflict = function(event)
      say(event.at, paint("33", ("left alone: %s: %s"):format(event.id, event.message)))
    end,
    pace = function(event)
      local slow = event.rate < 1
      say(event.at, ("AWS limits the rate of updates: going on at about %.1f a %s"):format(
        slow and event.rate * 60 or event.rate, slow and "minute" or "second"))
    end,
    failure = function(event)
      say(event.at, paint("31", ("failed: %s: %s"):format(event.id, tostring(event.error))))
    end,
    interrupted = function(event)
      wave = nil
      say(event.at, event.error.detached and "interrupted" or "interrupted; what was begun has been finished")
    end,
    -- What stopped it is told by whoever asked for the run; only the live line is taken away.
    stopped = function()
      wave = nil
      if shown then write("\r\27[K") end
      shown = false
    end,
  }

  return function(event)
    if options.quiet then return end
    local handler = handlers[event.type]
    if handler then handler(event) end
    if live then redraw(event.at) end
  end
end

return M
