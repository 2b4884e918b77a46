--- Completion of :CertRotate. It draws on what is known and never waits; when certificates or distributions are asked
--- for and nothing is known, or only something old, an inventory is begun in the background.
local arguments = require("certrotate.neovim.arguments")
local known = require("certrotate.neovim.known")

local M = {}

-- Those that begin with the lead.
local function beginning(list, lead)
  local out = {}
  for _, item in ipairs(list) do
    if item:sub(1, #lead) == lead then out[#out + 1] = item end
  end
  return out
end

local function files(lead) return vim.fn.getcompletion(lead, "file") end

-- Of another endpoint or profile, when the line names one.
local function inventory_of(args)
  known.refresh(args)
  return known.inventory(args)
end

local function matches(lead, texts)
  lead = lead:lower()
  for _, text in ipairs(texts) do
    if text:lower():find(lead, 1, true) then return true end
  end
  return false
end

-- References nobody remembers: a part of a name completes to them, too.
local function references(lead, args)
  local inventory, out = inventory_of(args), {}
  for _, certificate in ipairs(inventory and inventory.certificates or {}) do
    local by_reference = certificate.reference:sub(1, #lead) == lead
    if by_reference or matches(lead, { certificate.name }) or matches(lead, certificate.names) then
      out[#out + 1] = certificate.reference
    end
  end
  return out
end

-- Those of the certificate to be replaced, when the line names it; by id or a part of an alias.
local function distributions(lead, args)
  local inventory, out = inventory_of(args), {}
  for _, holder in ipairs(inventory and inventory.holders or {}) do
    local wanted = not args.replace or holder.reference == args.replace
    if wanted and (holder.Id:sub(1, #lead) == lead or matches(lead, holder.Aliases)) then out[#out + 1] = holder.Id end
  end
  return out
end

local function hosts(lead, args)
  local inventory, out = inventory_of(args), {}
  for _, holder in ipairs(inventory and inventory.holders or {}) do
    for _, alias in ipairs(holder.Aliases) do
      if not alias:find("*", 1, true) then out[#out + 1] = alias end
    end
  end
  return beginning(out, lead)
end

local function profiles(lead)
  local names = require("certrotate.credentials.files").names({
    environment = function(name)
      local value = os.getenv(name)
      return value ~= "" and value or nil
    end,
    home = os.getenv("HOME"),
  })
  return beginning(names, lead)
end

local function policies(lead)
  local out = beginning({ "careful", "cheapest" }, lead)
  for _, path in ipairs(files(lead)) do
    if path:find("%.lua$") or path:find("/$") then out[#out + 1] = path end
  end
  return out
end

-- Journals that are at work come first.
local function journals(lead)
  local out = {}
  for _, run in ipairs(require("certrotate.neovim.run").running()) do
    out[#out + 1] = require("certrotate.neovim.message").path(run.journal)
  end
  out = beginning(out, lead)
  vim.list_extend(out, files(lead))
  return out
end

-- By what a value is called, wherever it is asked for.
local VALUES = {
  replace = references, holders = references, only = distributions, profile = profiles, policy = policies, host = hosts,
  plan = files, journal = journals, certificate = files, private_key = files, chain = files, passphrase_file = files,
  ca_bundle = files, trust = files, out = files,
}

local function values(parameter, lead, args)
  if parameter.choices then return beginning(parameter.choices, lead) end
  local source = VALUES[parameter.target]
  return source and source(lead, args) or {}
end

local function flags(subcommand, lead, words)
  local used, out = {}, {}
  for _, word in ipairs(words) do used[word:match("^[^=]+") or ""] = true end
  for _, parameter in ipairs(subcommand.flags) do
    if not used[parameter.flag] then out[#out + 1] = parameter.flag end
  end
  table.sort(out)
  return beginning(out, lead)
end

-- The words before the one being completed. A space behind a backslash is part of its word.
local function split(text)
  local words = {}
  for word in (text:gsub("\\ ", "\1")):gmatch("%S+") do words[#words + 1] = (word:gsub("\1", " ")) end
  return words
end

-- What of an unfinished line says which account is meant; the rest may be as wrong as it likes.
local function account_of(subcommand, words)
  local args = {}
  for at, word in ipairs(words) do
    local parameter, value = arguments.flag(subcommand, word)
    if parameter and not parameter.switch then args[parameter.target] = value or words[at + 1] end
  end
  for _, name in ipairs({ "only", "host" }) do args[name] = nil end
  return args
end

-- The flag whose value comes next, or nil.
local function awaited(subcommand, words)
  for at = #words, 1, -1 do
    if words[at]:sub(1, 2) == "--" then
      local parameter, value = arguments.flag(subcommand, words[at])
      if parameter and not parameter.switch and not value and (at == #words or parameter.many) then return parameter end
      return nil
    end
  end
  return nil
end

---@param lead string       the word being completed
---@param line string       the whole command line
---@param position integer  of the cursor, in bytes
---@return string[]
function M.candidates(lead, line, position)
  local before = line:sub(1, position - #lead):match("%f[%a]Cert%a*%s+(.*)$")
  if not before then return {} end
  local words = split(before)
  if #words == 0 then
    local names = {}
    for i, subcommand in ipairs(arguments.all()) do names[i] = subcommand.name end
    return beginning(names, lead)
  end
  local subcommand = arguments.find(table.remove(words, 1))
  if not subcommand then return {} end
  local args = account_of(subcommand, words)
  local name, value = lead:match("^(%-%-[^=]+=)(.*)$")
  if name then
    local parameter = arguments.flag(subcommand, lead)
    local out = {}
    for i, candidate in ipairs(parameter and values(parameter, value, args) or {}) do out[i] = name .. candidate end
    return out
  end
  local parameter = awaited(subcommand, words)
  if parameter and lead:sub(1, 1) ~= "-" then return values(parameter, lead, args) end
  if lead:sub(1, 1) == "-" or not subcommand.position then return flags(subcommand, lead, words) end
  local out = values(subcommand.position, lead, args)
  if lead == "" then vim.list_extend(out, flags(subcommand, lead, words)) end
  return out
end

return M
