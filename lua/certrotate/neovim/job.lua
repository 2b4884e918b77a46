--- One command at work: a session of its own and a task in it, so that an interrupt ends this command and no other.
local Context = require("certrotate.neovim.context")

local M = {}

---@class certrotate.neovim.Job
---@field context certrotate.neovim.Context
---@field aws certrotate.Session
---@field task certrotate.Task

--- Starts `work(context, args)` as a task and returns at once. `done` is called on the main loop when it
--- is over, with the session still open; it is closed behind it.
---@param args table                                           of arguments.parse
---@param work fun(context: certrotate.neovim.Context, args: table): any, certrotate.Error?
---@param done fun(result: any, err?: certrotate.Error, context: certrotate.neovim.Context)
---@param background? boolean   nobody asked for it: nobody is asked or told anything
---@return certrotate.neovim.Job?   nil: it could not be started, and done was called
function M.start(args, work, done, background)
  local context = Context.new()
  context.background = background
  local fine, aws, err = pcall(context.open, context, args)
  if not fine or not aws then
    context:close()
    done(nil, context:reason(fine and err or aws), context)
    return nil
  end
  local task = aws:task(function()
    local connected, problem = context:connect(args)
    if not connected then return nil, problem end
    return work(context, args)
  end)
  aws:task(function()
    local result, problem = task:wait()
    vim.schedule(function()
      if result == nil then problem = context:reason(problem) end
      done(result, problem, context)
      context:close()
    end)
    return true
  end)
  return { context = context, aws = aws, task = task }
end

return M
