-- Repeatable randomness: a generator from a seed, and a hash from text to [0, 1). LuaJIT only (bit operations).
local bit = require "bit"

local M = {}

local bxor, band, rshift, tobit = bit.bxor, bit.band, bit.rshift, bit.tobit

-- 32-bit multiplication that doubles cannot overflow.
local function multiply(a, b)
  local low, high = band(a, 0xffff), rshift(a, 16)
  return tobit(low * b % 4294967296 + (high * b % 65536) * 65536)
end

local function mix(h)
  h = multiply(bxor(h, rshift(h, 16)), 0x45d9f3b)
  h = multiply(bxor(h, rshift(h, 16)), 0x45d9f3b)
  return bxor(h, rshift(h, 16))
end

--- A number in [0, 1) that depends on nothing but the arguments.
---@param ... string|number
---@return number
function M.hash(...)
  local h = tobit(0x811c9dc5)
  for index = 1, select("#", ...) do
    local text = tostring((select(index, ...)))
    for position = 1, #text do
      h = multiply(bxor(h, text:byte(position)), 0x01000193)
    end
    h = mix(bxor(h, index))
  end
  return (mix(h) % 4294967296) / 4294967296
end

---@class certrotate.simulator.Random
local generator = {}
generator.__index = generator

---@param seed integer|string
---@return certrotate.simulator.Random
function M.new(seed)
  return setmetatable({ seed = tostring(seed), count = 0 }, generator)
end

---@return number  in [0, 1)
function generator:number()
  self.count = self.count + 1
  return M.hash(self.seed, self.count)
end

---@return integer  1 … n
function generator:integer(n)
  return math.floor(self:number() * n) + 1
end

function generator:pick(list)
  return list[self:integer(#list)]
end

function generator:chance(probability)
  return self:number() < probability
end

---@param count integer
---@param alphabet string
---@return string
function generator:text(count, alphabet)
  local out = {}
  for index = 1, count do
    local at = self:integer(#alphabet)
    out[index] = alphabet:sub(at, at)
  end
  return table.concat(out)
end

function generator:shuffle(list)
  for index = #list, 2, -1 do
    local other = self:integer(index)
    list[index], list[other] = list[other], list[index]
  end
  return list
end

local upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

function generator:distribution_id()
  return "E" .. self:text(13, upper)
end

function generator:etag()
  return "E" .. self:text(13, upper)
end

function generator:domain_name()
  return "d" .. self:text(13, "abcdefghijklmnopqrstuvwxyz0123456789") .. ".cloudfront.net"
end

function generator:iam_id()
  return "ASCA" .. self:text(17, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
end

function generator:uuid()
  local hex = "0123456789abcdef"
  return ("%s-%s-4%s-%s%s-%s"):format(self:text(8, hex), self:text(4, hex), self:text(3, hex), self:text(1, "89ab"),
    self:text(3, hex), self:text(12, hex))
end

return M
