--- :checkhealth certrotate: whether this Neovim can rotate certificates, and what it would do that with.
local M = {}

local ASK_WITHIN = 5   -- seconds AWS may take to say who we are

-- Neovim 0.7 to 0.8 have the long names, 0.10 and later only the short ones.
local health = vim.health or require("health")
local start, ok = health.start or health.report_start, health.ok or health.report_ok
local info, warn = health.info or health.report_info, health.warn or health.report_warn
local fail = health.error or health.report_error

local function check_neovim()
  local version = vim.version()
  local text = ("Neovim %d.%d.%d"):format(version.major, version.minor, version.patch)
  if vim.fn.has("nvim-0.7") == 1 then ok(text) else fail(text .. ": 0.7 or later is needed") end
end

-- Returns the module.
local function check_module()
  local found, core = pcall(require, "certrotate.core")
  if not found then
    fail("the C module cannot be loaded: " .. tostring(core):match("^[^\n]*"),
      { "run ./setup.sh build in the checkout, or cmake --install",
        "it must be built for Lua 5.1 (LuaJIT's headers will do)" })
    return nil
  end
  local where
  for template in package.cpath:gmatch("[^;]+") do
    local path = template:gsub("%?", "certrotate/core")
    if not where and (vim.uv or vim.loop).fs_stat(path) then where = path end
  end
  ok(("certrotate %s, %s"):format(core.VERSION, where or "its C module on the runtime path"))
  local versions = core.versions()
  ok(("libcurl %s, OpenSSL %s, expat %s"):format(versions.curl, versions.openssl, versions.expat))
  return core
end

local function check_json()
  if pcall(require, "cjson.safe") then
    ok("JSON is read by lua-cjson")
  elseif vim.json then
    ok("JSON is read by Neovim itself (lua-cjson is not installed)")
  else
    fail("there is no JSON reader: install lua-cjson for Lua 5.1")
  end
end

-- The folder need not be there yet; the nearest one that is must be writable.
local function check_state()
  local directory, err = require("certrotate.rotation.lock").directory()
  if not directory then return fail(tostring(err)) end
  local uv, nearest = vim.uv or vim.loop, vim.fn.fnamemodify(directory, ":p"):gsub("/+$", "")
  while nearest ~= "" and not uv.fs_stat(nearest) do nearest = vim.fn.fnamemodify(nearest, ":h") end
  local stat = uv.fs_stat(nearest)
  if stat and stat.type == "directory" and uv.fs_access(nearest, "W") then
    ok(("locks are kept in %s, which is writable"):format(directory))
  else
    fail(("locks are kept in %s, and %s is not a writable folder"):format(directory, nearest),
      { "set CERTROTATE_STATE to a folder of yours" })
  end
end

-- AWS says who we are, and by its answer's Date what time it is there.
local function ask_aws(aws)
  local fmt = require("certrotate.fmt")
  local question = { account = aws.account, service = "sts", operation = "GetCallerIdentity" }
  local who, err = aws.loop:await(question, ASK_WITHIN)
  local offset = aws:clock_offset()
  if who then
    ok(("AWS knows them: account %s, %s"):format(tostring(who.Account), tostring(who.Arn)))
  else
    warn("AWS was asked who this is, and: " .. tostring(err),
      { "without a network this says nothing about the credentials" })
  end
  if math.abs(offset) >= 60 then
    warn(("the clock is %s %s AWS's; signatures are corrected for it, other programs may fail"):format(
      fmt.duration(math.abs(offset)), offset > 0 and "behind" or "ahead of"), { "set the clock, or run NTP" })
  elseif who then
    ok(("the clock agrees with AWS's within %s"):format(fmt.duration(math.max(1, math.abs(offset)))))
  end
end

local function check_account()
  local aws, err = require("certrotate").connect()
  if not aws then
    return warn("no credentials: " .. tostring(err), { "as for the AWS CLI: environment variables, or a profile",
      ":CertRotate takes --profile" })
  end
  ok(("credentials from %s: %s"):format(tostring(aws.source), (tostring(aws):gsub("^certrotate session: ", ""))))
  info("CloudFront is talked to at " .. tostring(aws:endpoint("cloudfront")))
  ask_aws(aws)
  aws:close()
end

function M.check()
  vim.cmd("runtime plugin/certrotate.lua")
  start("certrotate: the plugin")
  check_neovim()
  local core = check_module()
  check_json()
  if not core then return end
  check_state()
  start("certrotate: the account")
  check_account()
end

return M
