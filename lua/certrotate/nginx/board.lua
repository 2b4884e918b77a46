--- What the leading worker tells all others: a board in a shared dictionary. The leader writes, handlers read;
-- showing a page asks AWS nothing.
--
-- Three entries, each JSON: "state" (of the schedule), "inventory", "rotation" (the run that goes on, or the last).
-- Counters are entries of their own, so that they only grow, whoever leads. Nothing secret is ever put here:
-- references, ids, names, times.
local cost = require("certrotate.rotation.cost")
local journal_module = require("certrotate.rotation.journal")
local json = require("certrotate.json")
local progress = require("certrotate.report.progress")

local M = {}

M.EVENTS = 200   -- lines of the log that are kept

---@class certrotate.nginx.State
---@field phase "idle"|"running"
---@field worker? integer     pid of the worker that leads
---@field started? number     Unix seconds: of the round that goes on, or of the last
---@field ended? number       of the last round
---@field next? number        when the next is due
---@field ok? boolean         how the last one ended
---@field message? string     one line about that

---@class certrotate.nginx.HolderState
---@field Id string
---@field name string         an alias, or the domain name
---@field charged boolean
---@field wave integer
---@field changed? number     Unix seconds
---@field deployed? number    when its wave was seen Deployed
---@field problem? string

---@class certrotate.nginx.Rotation
---@field from string
---@field to? string
---@field phase "running"|"finished"|"interrupted"|"stopped"
---@field wave? integer       the running one
---@field waves { name: string, total: integer, changed: integer, deployed: integer, settled?: number }[]
---@field holders certrotate.nginx.HolderState[]
---@field started number
---@field ended? number
---@field overlap? { from: number, to?: number }   both certificates on charged dedicated-IP holders
---@field report? { changed: integer, overlap_seconds: number, charge: number, journal: string }
---@field events string[]
---@field message? string

---@class certrotate.nginx.Board
---@field dict table
local Board = {}
Board.__index = Board

---@param dict table   ngx.shared.X
---@return certrotate.nginx.Board
function M.open(dict) return setmetatable({ dict = dict }, Board) end

---@param name "state"|"inventory"|"rotation"
---@return table?
function Board:read(name)
  local text = self.dict:get(name)
  return text and json.decode(text) or nil
end

-- A dictionary that is too small must not end a rotation: it is said once, and the page shows what fits.
function Board:write(name, value)
  local ok, why = self.dict:safe_set(name, json.encode(value))
  if not ok and not self.told then
    self.told = true
    ngx.log(ngx.ERR, "certrotate: the status page is incomplete: the shared dictionary refuses '", name, "' (", why,
      "); give lua_shared_dict more memory")
  end
end

--- Counts something that only grows: for metrics.
---@param name string
---@param by? number
function Board:count(name, by) self.dict:incr("count:" .. name, by or 1, 0) end

---@param name string
---@return number
function Board:counted(name) return self.dict:get("count:" .. name) or 0 end

--- Puts up who uses which certificate.
---@param inventory certrotate.Inventory
function Board:inventory(inventory)
  local certificates = {}
  for _, certificate in ipairs(inventory.certificates) do
    local holders, dedicated = inventory:holders_of(certificate.reference), 0
    for _, holder in ipairs(holders) do
      if holder:dedicated_ip() then dedicated = dedicated + 1 end
    end
    certificates[#certificates + 1] = {
      reference = certificate.reference, store = certificate.store, name = certificate.name,
      not_after = certificate.not_after, holders = #holders, dedicated_ip = dedicated,
    }
  end
  local holders = {}
  for _, holder in ipairs(inventory.holders) do
    if holder.reference ~= "" then
      holders[#holders + 1] = { Id = holder.Id, name = holder.Aliases[1] or holder.DomainName,
        reference = holder.reference, Status = holder.Status, Enabled = holder.Enabled, Staging = holder.Staging,
        dedicated_ip = holder:dedicated_ip() }
    end
  end
  local problems = {}
  for _, err in ipairs(inventory.errors) do problems[#problems + 1] = tostring(err) end
  self:write("inventory", { taken_at = inventory.taken_at, complete = inventory.complete,
    certificates = json.array(certificates), holders = json.array(holders), errors = json.array(problems) })
end

-- What a run's events change in the picture of it.
local handlers = {}

function handlers.wave(rotation, event)
  rotation.wave = event.wave
  rotation.waves[event.wave].changed = event.done or 0
end

local function holder_of(rotation, id)
  for _, holder in ipairs(rotation.holders) do
    if holder.Id == id then return holder end
  end
  return {}
end

function handlers.import(rotation, event) rotation.to = event.reference end

function handlers.swap(rotation, event)
  local holder = holder_of(rotation, event.id)
  local wave = rotation.waves[holder.wave]
  if wave then wave.changed = wave.changed + 1 end
  holder.changed, holder.problem = holder.changed or event.at, nil
  if event.changed and holder.charged and not rotation.overlap then rotation.overlap = { from = event.at } end
end

function handlers.settling(rotation, event)
  local wave = rotation.waves[event.wave]
  wave.deployed = event.deployed
end

-- A reimport: what viewers are served is all there is to see.
function handlers.serving(rotation, event)
  local wave = rotation.waves[event.wave]
  wave.deployed = event.seen
end

function handlers.reimport(rotation, event)
  rotation.to = event.reference
  for _, holder in ipairs(rotation.holders) do holder.changed = holder.changed or event.at end
end

function handlers.settled(rotation, event)
  local wave = rotation.waves[event.wave]
  wave.settled, wave.deployed = event.at, event.total
  local open = false
  for _, holder in ipairs(rotation.holders) do
    if holder.wave == event.wave and holder.changed then holder.deployed = event.at end
    open = open or holder.charged and not holder.deployed and not holder.problem
  end
  if rotation.overlap and not open then rotation.overlap.to = event.at end
end

function handlers.conflict(rotation, event) holder_of(rotation, event.id).problem = event.message end
function handlers.failure(rotation, event) holder_of(rotation, event.id).problem = tostring(event.error) end

function handlers.done(rotation, event)
  local report = event.report
  rotation.phase, rotation.ended, rotation.wave = "finished", event.at, nil
  rotation.report = { changed = report.changed, overlap_seconds = report.overlap_seconds, charge = report.charge,
                      journal = report.journal, left_behind = #report.left_behind, conflicts = #report.conflicts }
end

local function broken_off(phase)
  return function(rotation, event)
    rotation.phase, rotation.ended, rotation.wave = phase, event.at, nil
    rotation.message = tostring(event.error)
  end
end
handlers.interrupted = broken_off("interrupted")
handlers.stopped = broken_off("stopped")

local function begun(event)
  local plan, state = event.plan, event.state
  local rotation = { from = plan.from, to = state.to, phase = "running", waves = {}, holders = {},
                     started = state.started or event.at, events = json.array({}) }
  for index, wave in ipairs(plan.waves) do
    rotation.waves[index] = { name = wave.name, total = #wave.holders, changed = 0, deployed = 0,
                              settled = state.settled[index] }
    for _, holder in ipairs(wave.holders) do
      local done = state.swapped[holder.Id]
      if done then rotation.waves[index].changed = rotation.waves[index].changed + 1 end
      rotation.holders[#rotation.holders + 1] = {
        Id = holder.Id, name = holder.Aliases[1] or holder.DomainName, charged = holder.charged, wave = index,
        changed = done and done.at, deployed = done and state.settled[index], problem = state.conflicts[holder.Id],
      }
    end
    if rotation.waves[index].settled then rotation.waves[index].deployed = rotation.waves[index].changed end
  end
  local periods = journal_module.overlaps(plan, state)
  local overlap = periods[#periods]
  if overlap then rotation.overlap = { from = overlap.began, to = overlap.ended } end
  return rotation
end

--- A function for a run's `on_event` that keeps the board up to date.
---@param also? fun(event: table)   told of everything too
---@return fun(event: table)
function Board:on_event(also)
  local rotation
  local say = progress.new({ terminal = false, write = function(text)
    local list = rotation.events
    list[#list + 1] = text:gsub("%s+$", "")
    if #list > M.EVENTS then table.remove(list, 1) end
  end })
  return function(event)
    if event.type == "start" then
      rotation = begun(event)
      self:count("rotations")
    end
    if rotation then
      local handler = handlers[event.type]
      if handler then handler(rotation, event) end
      say(event)
      if event.type == "swap" and event.changed then self:count("holders_changed") end
      if event.type == "failure" then self:count("holders_failed") end
      if event.type == "done" then
        self:count("overlap_seconds", event.report.overlap_seconds)
        self:count("charge_usd", event.report.charge)
      end
      self:write("rotation", rotation)
    end
    if also then also(event) end
  end
end

--- The overlap and its charge, as far as it has come.
---@param rotation certrotate.nginx.Rotation
---@param now number
---@return number seconds
---@return number usd
function M.overlap(rotation, now)
  if rotation.report then return rotation.report.overlap_seconds, rotation.report.charge end
  if not rotation.overlap then return 0, 0 end
  local to = rotation.overlap.to or now
  return math.max(0, to - rotation.overlap.from), cost.charge(rotation.overlap.from, to)
end

--- Notes that a round begins, and how it ended.
---@param now number
function Board:round_begins(now)
  local state = self:read("state") or {}
  state.phase, state.worker, state.started = "running", ngx.worker.pid(), now
  self:write("state", state)
  self:count("rounds")
end

---@param now number
---@param next_at number
---@param ok boolean
---@param message string
function Board:round_ends(now, next_at, ok, message)
  local state = self:read("state") or {}
  state.phase, state.ended, state.next, state.ok = "idle", now, next_at, ok
  state.message = message:gsub("%s+", " ")
  self:write("state", state)
  if not ok then self:count("rounds_failed") end
end

return M
