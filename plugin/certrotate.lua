-- Neovim's entry, sourced from the runtime path: says where the C module is and defines :CertRotate. Everything else
-- is loaded when the command is first used.
if vim.g.loaded_certrotate then return end
vim.g.loaded_certrotate = 1

if vim.fn.has("nvim-0.7") == 0 then
  vim.cmd([[command! -nargs=* CertRotate echoerr "certrotate needs Neovim 0.7 or later"]])
  return
end

-- A checkout brings its build along; installed below a prefix, this is PREFIX/share/nvim/site/plugin.
local uv = vim.uv or vim.loop
local root = vim.fn.fnamemodify(debug.getinfo(1, "S").source:sub(2), ":p:h:h")
local prefix = vim.fn.fnamemodify(root, ":h:h:h")

local function search(field, folder, file, templates)
  if not uv.fs_stat(folder .. "/certrotate/" .. file) then return end
  local paths = folder .. templates[1]
  if templates[2] then paths = paths .. ";" .. folder .. templates[2] end
  if not package[field]:find(paths, 1, true) then package[field] = paths .. ";" .. package[field] end
end
search("cpath", prefix .. "/lib/lua/5.1", "core.so", { "/?.so" })
search("cpath", root .. "/build/lua/5.1", "core.so", { "/?.so" })
search("path", prefix .. "/share/lua/5.1", "init.lua", { "/?.lua", "/?/init.lua" })

vim.api.nvim_create_user_command("CertRotate", function(command) require("certrotate.neovim").command(command) end, {
  nargs = "*", bar = true,
  desc = "Replace a TLS certificate on every CloudFront distribution that uses it",
  complete = function(lead, line, position) return require("certrotate.neovim").complete(lead, line, position) end,
})
