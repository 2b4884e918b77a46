--- Whether somebody asked the interpreter for this module to type with: `lua -l certrotate`.
local M = {}

-- The words the interpreter was started with, as far as they are its own: in order, without its name.
local function interpreter_words()
  local words = rawget(_G, "arg")
  if type(words) ~= "table" then return nil end
  local at, list = {}, {}
  for index in pairs(words) do
    if type(index) == "number" then at[#at + 1] = index end
  end
  table.sort(at)
  for i = 2, #at do list[#list + 1] = words[at[i]] end
  return list
end

--- Whether this is the interpreter's own prompt, with this module asked for by `-l`. Only there a global may appear.
---@param words? string[]                 default: the interpreter's own
---@param terminal fun(): integer?        whether somebody types
---@return boolean
function M.at_prompt(words, terminal)
  words = words or interpreter_words()
  if not words then return false end
  local asked, script, index = false, false, 1
  while words[index] do
    local word = words[index]
    if word == "-i" then
      return asked or words[index + 1] == "-l" and words[index + 2] == "certrotate" or words[index + 1] == "-lcertrotate"
    end
    if word == "-l" or word == "-e" or word == "-j" then
      asked = asked or word == "-l" and words[index + 1] == "certrotate"
      script = script or word == "-e"
      index = index + 1
    elseif word == "-lcertrotate" then
      asked = true
    elseif word:sub(1, 1) ~= "-" or word == "-" or word == "--" then
      script = true
      break
    end
    index = index + 1
  end
  return asked and not script and terminal() ~= nil
end

return M
