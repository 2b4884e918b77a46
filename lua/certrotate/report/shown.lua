--- What a REPL shows of plain results: lists as tables, single answers as they would look in JSON. Only how they print is
--- added; they stay what they are.
local M = {}

local MOST = 6   -- columns

local function is_scalar(value)
  local kind = type(value)
  return kind == "string" or kind == "number" or kind == "boolean"
end

-- What the first items tell in a word or a number, names and states first.
local FIRST = { "Id", "DomainName", "Status", "CertificateArn", "ServerCertificateName", "Name" }

local function columns_of(list)
  local known, names = {}, {}
  for i = 1, math.min(#list, 20) do
    for name, value in pairs(list[i]) do
      if type(name) == "string" and is_scalar(value) and name:sub(1, 1) ~= "_" and not known[name] then
        known[name] = true
        names[#names + 1] = name
      end
    end
  end
  local rank = {}
  for i, name in ipairs(FIRST) do rank[name] = i end
  table.sort(names, function(a, b)
    local ra, rb = rank[a] or math.huge, rank[b] or math.huge
    if ra ~= rb then return ra < rb end
    return a < b
  end)
  while #names > MOST do names[#names] = nil end
  return names
end

local function width() return require("certrotate.core").terminal(1) end

local function as_table(list)
  if #list == 0 then return "(none)" end
  if type(list[1]) ~= "table" then
    local words = {}
    for i, item in ipairs(list) do words[i] = tostring(item) end
    return table.concat(words, "\n")
  end
  local columns, rows = {}, {}
  local names = columns_of(list)
  for i, name in ipairs(names) do columns[i] = { title = name, shrink = true } end
  for r, item in ipairs(list) do
    rows[r] = {}
    for i, name in ipairs(names) do
      local value = item[name]
      rows[r][i] = is_scalar(value) and tostring(value) or ""
    end
  end
  return (require("certrotate.report.table").text(columns, rows, width()):gsub("\n$", ""))
end

local list_metatable = { __name = "certrotate.List", __tostring = as_table }

-- In an answer that AWS sent, everything is JSON's; what is not (a function of ours) is left out of the picture.
local record_metatable = {
  __name = "certrotate.Result",
  __tostring = function(self)
    local plain = {}
    for key, value in pairs(self) do plain[key] = value end
    local ok, text = pcall(require("certrotate.json").encode_pretty, plain)
    return ok and text or "certrotate result"
  end,
}

local holders_metatable = {
  __name = "certrotate.Holders",
  __tostring = function(self)
    if #self == 0 then return "(no holder)" end
    return (require("certrotate.report.inventory").holders(self, width()):gsub("\n$", ""))
  end,
}

local certificates_metatable = {
  __name = "certrotate.Certificates",
  __tostring = function(self)
    if #self == 0 then return "(no certificate)" end
    local lines = {}
    for i, certificate in ipairs(self) do lines[i] = tostring(certificate) end
    return table.concat(lines, "\n")
  end,
}

local function mark(value, metatable)
  if type(value) == "table" and getmetatable(value) == nil then setmetatable(value, metatable) end
  return value
end

--- A list of plain records. What has a metatable already keeps it.
---@generic T
---@param list T[]
---@return T[]
function M.list(list) return mark(list, list_metatable) end

--- One answer.
---@generic T
---@param record T
---@return T
function M.record(record) return mark(record, record_metatable) end

---@param list certrotate.Holder[]
---@return certrotate.Holder[]
function M.holders(list) return mark(list, holders_metatable) end

---@param list certrotate.StoredCertificate[]
---@return certrotate.StoredCertificate[]
function M.certificates(list) return mark(list, certificates_metatable) end

--- A rotation's report: its closing lines.
M.report = {
  __name = "certrotate.Report",
  __tostring = function(self) return (require("certrotate.report.summary").text(self):gsub("\n$", "")) end,
}

return M
