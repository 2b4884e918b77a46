--- Journals, wherever they are: a file is read at once, one in S3 by a job beside the editor.
local job = require("certrotate.neovim.job")
local location = require("certrotate.rotation.s3.location")
local message = require("certrotate.neovim.message")

local M = {}

--- The name a run goes by, from wherever it is asked for.
---@param path string
---@return string
function M.full(path) return location.is(path) and path or vim.fn.fnamemodify(path, ":p") end

--- Reads a journal and goes on with what was read; what fails is told.
---@param args table   of the command: its journal, and the account to read S3 with
---@param read fun(path: string, aws?: certrotate.Session): any, certrotate.Error?
---@param done fun(value: any)
---@param failed? fun()
function M.read(args, read, done, failed)
  local function over(value, err)
    if value then return done(value) end
    if failed then failed() end
    message.fail(err)
  end
  if not location.is(args.journal) then return over(read(args.journal)) end
  job.start(args, function(context) return read(args.journal, context.aws) end, over)
end

return M
