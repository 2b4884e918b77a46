--- :CertRotate inventory: every certificate, soonest to end first, and folded below it who uses it.
local arguments = require("certrotate.neovim.arguments")
local detail = require("certrotate.neovim.detail")
local fmt = require("certrotate.fmt")
local job = require("certrotate.neovim.job")
local known = require("certrotate.neovim.known")
local message = require("certrotate.neovim.message")
local report = require("certrotate.report.inventory")
local table_report = require("certrotate.report.table")
local view_module = require("certrotate.neovim.view")

local M = {}

local COLUMNS = {
  { title = "STORE" }, { title = "NAME", shrink = true }, { title = "EXPIRES" }, { title = "LEFT", right = true },
  { title = "USED BY", right = true }, { title = "NOTE" },
}

local function note(certificate, holders)
  local dedicated, notes = 0, {}
  for _, holder in ipairs(holders) do
    if holder:dedicated_ip() then dedicated = dedicated + 1 end
  end
  if dedicated > 0 then notes[#notes + 1] = fmt.count(dedicated) .. " dedicated IP" end
  if certificate.type == "AMAZON_ISSUED" then notes[#notes + 1] = "AWS renews it" end
  return table.concat(notes, ", ")
end

-- The holders by reference; "" for the default certificate.
local function grouped(inventory)
  local groups, none = {}, {}
  for _, holder in ipairs(inventory.holders) do
    local reference = holder.default_certificate and "" or holder.reference
    groups[reference] = groups[reference] or {}
    table.insert(groups[reference], holder)
  end
  return setmetatable(groups, { __index = function() return none end })
end

local Page = {}
Page.__index = Page

function Page:line(text, subject)
  self.lines[#self.lines + 1] = text
  self.subjects[#self.lines] = subject
end

-- Holders as a folded table.
function Page:holders(holders, certificate)
  if #holders == 0 then return end
  local first = #self.lines + 1
  local at = 0
  for _, text in ipairs(view_module.lines(report.holders(holders, self.width - 6))) do
    local holder = holders[at]
    self:line("      " .. text, holder and function() return detail.holder(holder, certificate) end)
    self.folds[#self.lines] = at == 0 and ">1" or "1"
    at = at + 1
  end
  local names = {}
  for i, holder in ipairs(holders) do names[i] = holder.Aliases[1] or holder.DomainName end
  self.titles[first] = table_report.cut(("    + %s: %s"):format(fmt.plural(#holders, "distribution"),
    table_report.clean(fmt.list(names, 3))), self.width - 1)
end

function Page:certificate(row, certificate, holders)
  local function subject() return detail.certificate(certificate, holders) end
  self:line(row, subject)
  self.references[#self.lines] = certificate.reference
  self:line("  " .. table_report.clean(certificate.reference), subject)
  self.references[#self.lines] = certificate.reference
  self:holders(holders, certificate)
end

-- Certificates that are used and in no store of this account, and the holders of CloudFront's own.
function Page:others(inventory, groups)
  local shown, strangers = { [""] = true }, {}
  for _, certificate in ipairs(inventory.certificates) do shown[certificate.reference] = true end
  for reference in pairs(groups) do
    if not shown[reference] then strangers[#strangers + 1] = reference end
  end
  table.sort(strangers)
  for _, reference in ipairs(strangers) do
    self:line(("%s, %s"):format(reference, inventory.complete and "in neither store of this account"
      or "of a store that could not be read"))
    self.references[#self.lines] = reference
    self:holders(groups[reference])
  end
  if #groups[""] > 0 then
    self:line("CloudFront's default certificate")
    self:holders(groups[""])
  end
end

--- An inventory as a page. Pure but for the keys it names.
---@param inventory certrotate.Inventory
---@param options { width: integer, title: string, certificates?: certrotate.StoredCertificate[] }
---@return certrotate.neovim.Page
function M.page(inventory, options)
  local self = setmetatable({ lines = {}, folds = {}, titles = {}, subjects = {}, references = {}, level = 0,
                              width = options.width }, Page)
  local groups = grouped(inventory)
  local certificates = options.certificates or inventory.certificates
  self:line(("%s, %s  %s"):format(fmt.plural(#inventory.certificates, "certificate"),
    fmt.plural(#inventory.holders, "distribution"), options.title))
  self:line("<CR> detail   za fold   P plan a rotation   R read again   q close   g? more")
  for _, err in ipairs(inventory.errors) do self:line("Not complete: " .. tostring(err)) end
  self:line("")
  local rows = {}
  for i, certificate in ipairs(certificates) do
    local holders = groups[certificate.reference]
    rows[i] = { certificate.store, certificate.name, certificate.not_after and fmt.date(certificate.not_after) or "?",
                report.left(certificate, inventory.taken_at), fmt.count(#holders), note(certificate, holders) }
  end
  local texts = view_module.lines(table_report.text(COLUMNS, rows, self.width))
  self:line(texts[1])
  for i, certificate in ipairs(certificates) do
    self:certificate(texts[i + 1], certificate, groups[certificate.reference])
  end
  if options.certificates then
    if #certificates == 0 then self:line("None ends that soon.") end
  else
    self:others(inventory, groups)
  end
  return self
end

-- Puts the beginning of a plan into the command line; the user adds the files.
local function plan(self)
  local reference = self.page.references and self.page.references[vim.api.nvim_win_get_cursor(0)[1]]
  if not reference then return message.say("put the cursor on a certificate first", "INFO") end
  arguments.type(("plan %s--replace %s --certificate "):format(arguments.account_flags(self.args), reference))
end

local function read(self)
  local args, context = self.args, require("certrotate.neovim.context").new()
  local fine, expiring = pcall(context.duration, context, args.expiring, "--expiring")
  if not fine then
    self:close()
    return message.fail(context:reason(expiring))
  end
  if #self.page.lines == 0 then self:tell("Reading certificates and distributions …") end
  job.start(args, function(work) return work.aws:inventory({ used_elsewhere = true }) end, function(inventory, err, done)
    if not inventory then
      self:tell(message.wording(tostring(err)))
      return message.fail(err)
    end
    known.keep(args, inventory)
    if not self:alive() then return end
    local certificates = expiring and inventory:expiring(expiring)
    if args.holders then
      certificates = { inventory:certificate(args.holders) }
      if not certificates[1] then
        self:tell(("no certificate %s in this account; :CertRotate inventory lists what there is"):format(args.holders))
        return message.say(("no certificate %s in this account"):format(args.holders), "ERROR")
      end
    end
    local page = M.page(inventory, { width = self:width(), certificates = certificates,
      title = ("profile %s, %s"):format(done.aws.profile, fmt.timestamp(inventory.taken_at)) })
    if args.holders then page.level = 1 end
    self:show(page)
  end)
end

---@param args table
---@param mods string   of the command: "vertical", "tab", …
function M.command(args, mods)
  local self = view_module.open({ name = "inventory" .. (args.profile and "/" .. args.profile or ""),
    filetype = "certrotate-inventory", mods = mods,
    keys = { { "P", "plan a rotation of this certificate", plan }, { "R", "read again", read } } })
  self.args = args
  read(self)
end

return M
