--- Keys of the profile in ~/.aws/credentials.
local M = { name = "credentials-file" }

---@param context certrotate.Context
---@return certrotate.Source?
---@return string|certrotate.Error?
function M.load(context) return require("certrotate.credentials.keys").load(context, "credentials") end

return M
