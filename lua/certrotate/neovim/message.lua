--- What is said to the person at the editor: one line each, through vim.notify.
local M = {}

-- Texts made for the command line name its commands; here they are :CertRotate's, where there is one.
local HERE = { "apply", "inventory", "plan", "resume", "rollback", "status", "verify" }

--- A text of the command line in this host's words.
---@param text string
---@return string
function M.wording(text)
  for _, name in ipairs(HERE) do
    text = text:gsub("`certrotate " .. name .. "%f[^%a]", "`:CertRotate " .. name)
      :gsub("(: )certrotate " .. name .. "%f[^%a]", "%1:CertRotate " .. name)
  end
  return text
end

--- Cut to what fits into the message line: a longer one would ask for ENTER and take the keys of whoever is typing.
---@param text string
---@return string
function M.fitted(text)
  return require("certrotate.report.table").cut(text, math.max(20, vim.o.columns - 12))
end

---@param text string
---@param level "INFO"|"WARN"|"ERROR"
function M.say(text, level)
  vim.notify("certrotate: " .. M.wording(text), vim.log.levels[level])
end

--- What became of a command its user waits for: in whole.
---@param err certrotate.Error|string
function M.fail(err) M.say(tostring(err), "ERROR") end

--- A file as a person would write it in a command.
---@param path string
---@return string
function M.path(path) return path:find("^s3://") and path or vim.fn.fnamemodify(path, ":~:.") end

--- A text with the paths in it that are below one's home written from there.
---@param text string
---@return string
function M.home(text)
  local home = os.getenv("HOME")
  if not home or #home < 2 then return text end
  return (text:gsub(vim.pesc(home) .. "/", "~/"))
end

--- The end of a path, for a buffer's name; a URL is shown whole, since its end alone says little.
---@param path string
---@return string
function M.tail(path) return path:find("^%w[%w+.-]*://") and path or vim.fn.fnamemodify(path, ":t") end

return M
