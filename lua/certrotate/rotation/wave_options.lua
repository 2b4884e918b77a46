--- What a wave may ask for besides its holders: how many at a time, and what must hold before the next wave.
local window = require("certrotate.rotation.window")

local M = {}

--- A gate of the user's own. It may wait (it runs as a task) and is asked again after an interruption.
---@alias certrotate.Gate fun(at: certrotate.GateContext): boolean|number, string?
---       true: go on; false and why: stop, resumable; a number: ask again after so many seconds

---@class certrotate.GateContext
---@field aws certrotate.Session
---@field wave integer
---@field name string          of the wave
---@field ids string[]         its holders
---@field reference string     of the new certificate
---@field fingerprint string
---@field settled number       Unix seconds: when the wave was seen Deployed
---@field now number           Unix seconds
---@field attempt integer      1, 2, … when it is asked again

---@class certrotate.WaveOptions
---@field parallel? integer                 default 1
---@field soak? number                      seconds to watch; default 0
---@field settle? "holder"|"listing"        default "holder"
---@field verify? { probes: integer, need: integer }   TLS connections to each holder, and how many of them must be
---                                         served the new certificate; default: one of one
---@field gate? string|certrotate.Gate      name in the policy's `gates`, or (where nothing is resumed) the function
---@field pause? boolean|string             a person must say that it goes on; the text says what to look at
---@field windows? string[]                 maintenance windows the wave's changes begin in (see window.lua)
---@field align? boolean                    begin where the expected overlap touches the fewest hours of the clock

local function whole(value, least)
  return type(value) == "number" and value >= least and value % 1 == 0 and value ~= math.huge
end

local function read_verify(value)
  if value == nil then return nil end
  if type(value) == "number" then value = { probes = value } end
  if type(value) ~= "table" then return nil, "`verify` must be a number of probes, or { probes =, need = }" end
  local probes = value.probes or 1
  local need = value.need or probes
  if not whole(probes, 1) or probes > 1000 then return nil, "`verify.probes` must be a whole number of 1 to 1000" end
  if not whole(need, 1) or need > probes then
    return nil, "`verify.need` must be a whole number of at least 1, and not more than the probes"
  end
  return { probes = probes, need = need }
end

local function read_pause(value)
  if value == nil or value == false then return nil end
  if value == true then return "look at what was changed" end
  if type(value) ~= "string" or value == "" then return nil, "`pause` must be true, or the text of what to look at" end
  return value
end

local function read_gate(value)
  if value == nil or type(value) == "function" or type(value) == "string" and value ~= "" then return value end
  return nil, "`gate` must be a function, or the name of one of the policy's `gates`"
end

local function read_windows(value)
  if value == nil then return nil end
  local parsed, problem = window.parse_all(value)
  if not parsed then return nil, "`windows`: " .. problem end
  local texts = {}
  for i, one in ipairs(parsed) do texts[i] = one.text end
  return texts
end

local function read_align(value)
  if value == nil or type(value) == "boolean" then return value or nil end
  return nil, "`align` must be true or false"
end

local READERS = { verify = read_verify, pause = read_pause, gate = read_gate, windows = read_windows,
                  align = read_align }

--- Reads the options of a wave. Those that were not given stay out, so that a plain plan reads as it always did.
---@param wave table
---@return certrotate.Wave? options   without name, holders and reason
---@return string? problem
function M.read(wave)
  local parallel, soak = wave.parallel or 1, wave.soak or 0
  if not whole(parallel, 1) then return nil, "`parallel` must be a whole number of at least 1" end
  if type(soak) ~= "number" or soak < 0 or soak ~= soak or soak == math.huge then return nil, "`soak` must be seconds" end
  local read = { parallel = parallel, soak = soak, settle = wave.settle == "listing" and "listing" or "holder" }
  for name, reader in pairs(READERS) do
    local value, problem = reader(wave[name])
    if problem then return nil, problem end
    read[name] = value
  end
  return read
end

--- What is wrong with the options of a wave read from a plan, or nil.
---@param wave table
---@return string?
function M.problem(wave)
  if type(wave.gate) == "function" then return "`gate` is no name" end
  local _, problem = M.read(wave)
  return problem
end

return M
