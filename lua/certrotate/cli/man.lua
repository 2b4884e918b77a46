--- certrotate man: the manual page, made of what the commands declare.
local cli = require("certrotate.cli")

local M = { summary = "Print the manual page (certrotate man | man -l -)." }

-- Of the version, not of the day it was built: the same sources make the same page.
local RELEASED = "2026-11-26"
local WIDTH = 78   -- of a line of the source
local FEW = 6      -- choices beside a flag; more go into its text

function M.configure() end

-- Text must not be taken for a request, nor its hyphens for something to break or to typeset.
local function escape(text)
  return (text:gsub("\\", "\\e"):gsub("%-", "\\-"):gsub("^([.'])", "\\&%1"))
end

-- Text as lines of the page's source, broken where it has blanks.
local function say_text(say, text)
  local line = ""
  for word in text:gmatch("%S+") do
    word = escape(word)
    if line ~= "" and #line + 1 + #word > WIDTH then
      say(line)
      line = ""
    end
    line = line == "" and word or line .. " " .. word
  end
  say(line)
end

local ENVIRONMENT = {
  { "CERTROTATE_PASSPHRASE", "Opens an encrypted private key." },
  { "CERTROTATE_STATE", "Folder of the locks that keep two runs apart." },
  { "NO_COLOR", "Anything but empty: no colour." },
  { "AWS_PROFILE, AWS_REGION, AWS_ACCESS_KEY_ID, \\&...", "As for the AWS CLI." },
}

local EXAMPLES = {
  "certrotate inventory --expiring 30d",
  "certrotate plan --replace REF --certificate new.pem --private-key new.key --policy cheapest --out plan.json",
  "certrotate apply plan.json --journal www.journal",
  "certrotate resume www.journal",
  "certrotate retire www.journal --yes",
}

local function parameter(say, one)
  local names = {}
  if one.short then names[#names + 1] = "\\fB" .. escape(one.short) .. "\\fR" end
  if one.flag then names[#names + 1] = "\\fB" .. escape(one.flag) .. "\\fR" end
  local value = ""
  if not one.switch then
    value = #(one.choices or {}) > FEW and "NAME" or require("certrotate.cli.declaration").value(one)
    value = (one.flag and " " or "") .. "\\fI" .. escape(value):gsub("|", "|\\:") .. "\\fR" .. (one.many and " \\&..." or "")
  end
  say(".TP")
  say(table.concat(names, ", ") .. value)
  say_text(say, one.summary .. (#(one.choices or {}) > FEW and " One of " .. table.concat(one.choices, ", ") .. "." or "")
    .. (one.value and (" Default: %s."):format(one.value) or ""))
end

--- The page in the man macros.
---@return string
function M.page()
  local declaration = require("certrotate.cli.declaration")
  local lines = {}
  local function say(text) lines[#lines + 1] = text end
  say(('.TH CERTROTATE 1 "%s" "certrotate %s" "User Commands"'):format(RELEASED, require("certrotate").version))
  say(".SH NAME")
  say("certrotate \\- replace the TLS certificate of CloudFront distributions")
  say(".SH SYNOPSIS")
  say(".B certrotate")
  say("\\fICOMMAND\\fR [\\fIFLAG\\fR \\&...]")
  say(".SH DESCRIPTION")
  say_text(say, "The new certificate goes into ACM or the IAM certificate store, each distribution is changed and seen "
    .. "Deployed, what viewers are really served is looked at, and only then may the old one be deleted. Everything is "
    .. "recorded in a journal; a run that was killed or interrupted with Ctrl-C is finished by")
  say(".BR \"certrotate resume\" .")
  say(".SH COMMANDS")
  for _, command in ipairs(declaration.all()) do
    say(".SS " .. command.name)
    say_text(say, command.summary)
    if command.position then parameter(say, command.position) end
    for _, one in ipairs(command.flags) do parameter(say, one) end
  end
  say(".SH FLAGS OF EVERY COMMAND")
  for _, one in ipairs(declaration.common()) do parameter(say, one) end
  say(".SH EXIT STATUS")
  for _, status in ipairs(cli.statuses) do
    say(".TP")
    say(("\\fB%d\\fR"):format(status[1]))
    say_text(say, status[2])
  end
  say(".SH ENVIRONMENT")
  for _, variable in ipairs(ENVIRONMENT) do
    say(".TP")
    say("\\fB" .. variable[1] .. "\\fR")
    say_text(say, variable[2])
  end
  say(".SH EXAMPLES")
  say(".nf")
  for _, line in ipairs(EXAMPLES) do say(escape(line)) end
  say(".fi")
  return table.concat(lines, "\n") .. "\n"
end

function M.run(context)
  local page = M.page()
  context:result({ page = page }, page)
  return cli.DONE
end

return M
