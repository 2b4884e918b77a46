--- `credential_process`: a program prints the credentials as JSON. It runs without a shell, with the words of the line
-- as its arguments; what it prints on stdout is never shown, what it complains about on stderr is.
local credentials = require("certrotate.credentials")
local errors = require("certrotate.errors")
local fmt = require("certrotate.fmt")
local json = require("certrotate.json")

local M = { name = "process" }

local TIMEOUT = 60
local COMPLAINT = 200   -- characters of stderr in a message

--- Splits a command line into words as a POSIX shell does, and does nothing else that a shell does: blanks separate,
--- quotes keep together, a backslash takes the next character as it is (inside "…" only before $ ` " \). nil: a quote
--- is open.
---@param line string
---@return string[]? words
function M.split(line)
  local words, at, word = {}, 1, nil
  while at <= #line do
    local c = line:sub(at, at)
    if c:find("%s") then
      if word then words[#words + 1] = word end
      word, at = nil, at + 1
    elseif c == "'" then
      local close = line:find("'", at + 1, true)
      if not close then return nil end
      word, at = (word or "") .. line:sub(at + 1, close - 1), close + 1
    elseif c == '"' then
      word, at = word or "", at + 1
      while true do
        c = line:sub(at, at)
        if c == "" then return nil end
        if c == '"' then break end
        if c == "\\" and line:find('^[$`"\\]', at + 1) then
          at = at + 1
          c = line:sub(at, at)
        end
        word, at = word .. c, at + 1
      end
      at = at + 1
    elseif c == "\\" then
      if at == #line then return nil end
      word, at = (word or "") .. line:sub(at + 1, at + 1), at + 2
    else
      word, at = (word or "") .. c, at + 1
    end
  end
  if word then words[#words + 1] = word end
  return words
end

local function complaint(result)
  local text = (result.errors or ""):gsub("[%s%c]+", " "):match("^%s*(.-)%s*$")
  if text == "" then return "" end
  return ": " .. (#text > COMPLAINT and text:sub(1, COMPLAINT) .. "…" or text)
end

local function read(text, fail)
  local value = json.decode(text)
  if type(value) ~= "table" then return fail("prints something that is not JSON") end
  if value.Version ~= 1 then return fail("prints JSON whose Version is not the number 1") end
  for _, name in ipairs({ "AccessKeyId", "SecretAccessKey" }) do
    if type(value[name]) ~= "string" or value[name] == "" then return fail("prints JSON without " .. name) end
  end
  local token = value.SessionToken
  if token ~= nil and type(token) ~= "string" then return fail("prints JSON whose SessionToken is no string") end
  local expires_at
  if value.Expiration ~= nil then
    expires_at = type(value.Expiration) == "string" and fmt.parse_time(value.Expiration) or nil
    if not expires_at then return fail("prints an Expiration that is no ISO 8601 time") end
  end
  return { access_key_id = value.AccessKeyId, secret_access_key = value.SecretAccessKey,
           session_token = token ~= "" and token or nil, expires_at = expires_at }
end

---@param context certrotate.Context
---@return certrotate.Source?
---@return string|certrotate.Error?
function M.load(context)
  local profile = context.files
  local line = profile.settings.credential_process
  if line == nil or line == "" then return nil, "no credential_process" end
  local words = type(line) == "string" and M.split(line)
  if not words or not words[1] then
    return credentials.fail("MalformedConfig", "profile '%s': credential_process is no command line: a quote is "
      .. "not closed", profile.name)
  end
  local function fail(why)
    return credentials.fail("ProcessFailed", "profile '%s': credential_process (%s) %s", profile.name, words[1], why)
  end
  return { fetch = function(fetcher)
    local result, err = fetcher:program(words, TIMEOUT)
    if not result then
      if err.kind == "cancelled" then return nil, err end
      return nil, errors.wrap(err, { kind = "credentials", code = "ProcessFailed",
        message = ("profile '%s': credential_process (%s)"):format(profile.name, words[1]) })
    end
    if result.signal then return fail(("was ended by signal %d"):format(result.signal) .. complaint(result)) end
    -- Without a status the host took note of its end before us: what it printed must do.
    if result.status and result.status ~= 0 then
      return fail(("failed with exit code %d"):format(result.status) .. complaint(result))
    end
    if result.output == "" then return fail("prints nothing" .. complaint(result)) end
    return read(result.output, fail)
  end }
end

return M
