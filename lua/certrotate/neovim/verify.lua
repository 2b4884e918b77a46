--- :CertRotate verify: what certificate hosts really serve, asked for all at once.
local job = require("certrotate.neovim.job")
local message = require("certrotate.neovim.message")
local verify = require("certrotate.cli.verify")
local view_module = require("certrotate.neovim.view")

local M = {}

local PARALLEL = 8

local function ask(context, args)
  local places = verify.places(context, args)
  local wanted, err = verify.expected(context, args)
  if err then return nil, err end
  local edge = context:edge(args)
  return context.aws.loop:each(places, PARALLEL, function(place)
    local result, failure = verify.look(context.aws.loop, place, { edge = edge, fingerprint = wanted })
    return verify.text(place, result, failure, wanted)
  end)
end

local function read(self)
  local hosts = #self.args.host == 1 and self.args.host[1] or #self.args.host .. " hosts"
  self:tell("Looking at " .. hosts .. " …")
  job.start(self.args, ask, function(texts, err)
    if not texts then
      self:tell(message.wording(tostring(err)))
      return message.fail(err)
    end
    local lines = { "R look again   q close", "" }
    for _, text in ipairs(texts) do
      for _, line in ipairs(view_module.lines(text)) do lines[#lines + 1] = line end
    end
    self:show({ lines = lines })
  end)
end

---@param args table
---@param mods string
function M.command(args, mods)
  local self = view_module.open({ name = "verify", filetype = "certrotate-verify", mods = mods,
    keys = { { "R", "look again", read } } })
  args.anonymous = true   -- needs no account
  self.args = args
  read(self)
end

return M
