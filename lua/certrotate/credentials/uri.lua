--- Percent-encoding of a query's values.
local M = {}

---@param text string
---@return string
function M.encode(text)
  return (text:gsub("[^%w._~-]", function(byte) return ("%%%02X"):format(byte:byte()) end))
end

return M
