--- A role for a token that somebody else signed: Kubernetes, a CI system (aws-reference 7.5). The token's file is read
-- for every renewal, since whoever puts it there replaces it. Variables count more than the profile, unless it was
-- named.
local credentials = require("certrotate.credentials")
local errors = require("certrotate.errors")
local role = require("certrotate.credentials.role")

local M = { name = "web-identity" }

local MAX_TOKEN = 20000   -- STS's limit

local function read_token(path)
  local file, why = io.open(path, "rb")
  if not file then
    return credentials.fail("WebIdentityTokenMissing", "the web identity token cannot be read: %s", why)
  end
  local text, problem = file:read(MAX_TOKEN + 1)
  file:close()
  if not text then
    return credentials.fail("WebIdentityTokenMissing", "the web identity token %s: %s", path, problem or "it is empty")
  end
  text = text:match("^%s*(.-)%s*$")
  if #text < 4 or #text > MAX_TOKEN or text:find("[%s%c]") then
    return credentials.fail("WebIdentityTokenMissing", "%s does not look like a web identity token", path)
  end
  return text
end

---@param context certrotate.Context
---@return certrotate.Source?
---@return string|certrotate.Error?
function M.load(context)
  local settings, get = context.files.settings, context.environment
  if context.profile then get = function() end end
  local path = get("AWS_WEB_IDENTITY_TOKEN_FILE") or settings.web_identity_token_file
  if path == nil or path == "" then
    return nil, context.profile and "no web_identity_token_file" or "AWS_WEB_IDENTITY_TOKEN_FILE is not set"
  end
  local arn = get("AWS_ROLE_ARN") or settings.role_arn
  if type(path) ~= "string" or arn == nil or arn == "" then
    return credentials.fail("MalformedConfig", "a web identity token (%s) needs a role: set role_arn or AWS_ROLE_ARN",
      tostring(path))
  end
  local params, err = role.params({ role_arn = arn, duration_seconds = settings.duration_seconds,
    role_session_name = get("AWS_ROLE_SESSION_NAME") or settings.role_session_name }, "web identity")
  if not params then return nil, err end
  if path:find("^~/") and context.home then path = context.home .. path:sub(2) end
  return { fetch = function(fetcher)
    local token, result
    token, err = read_token(path)
    if not token then return nil, err end
    result, err = fetcher:sts(nil, "AssumeRoleWithWebIdentity", {
      RoleArn = params.role_arn, RoleSessionName = params.role_session_name or role.session_name(fetcher:now()),
      WebIdentityToken = token, DurationSeconds = params.duration_seconds,
    })
    if not result then
      local what = ("cannot assume %s with the token in %s"):format(params.role_arn, path)
      return nil, errors.wrap(err, { message = what })
    end
    return role.credentials_of(result)
  end }
end

return M
