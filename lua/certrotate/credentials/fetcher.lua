--- What a source of credentials may do while it fetches: requests, programs, STS calls, pauses. All of it waits
-- through the session's loop, so no host is blocked. One for each renewal of an account; it learns AWS's clock on the
-- way.
local errors = require("certrotate.errors")

local M = {}

local SKEW = 300   -- seconds; clocks that differ less are not wrong

local MONTHS = { Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8, Sep = 9, Oct = 10, Nov = 11,
                 Dec = 12 }

---@class certrotate.Fetcher
---@field loop certrotate.Loop
---@field offset number            seconds AWS's clock is ahead of ours, as far as known
---@field mfa? fun(serial: string): string?, string?
local Fetcher = {}
Fetcher.__index = Fetcher

---@param session certrotate.Session
---@return certrotate.Fetcher
function M.new(session)
  return setmetatable({ session = session, loop = session.loop, mfa = session._mfa, offset = 0 }, Fetcher)
end

--- AWS's time, as far as known.
---@return number   Unix seconds
function Fetcher:now() return self.loop:now() + self.offset end

---@param seconds number
---@return boolean? ok
---@return certrotate.Error?
function Fetcher:sleep(seconds) return self.loop:sleep(seconds) end

--- A number in [0, 1) for jitter: math.random is the same on every machine where nobody seeded it.
---@return number
function Fetcher:random() return self.loop:monotonic() * 9973 % 1 end

--- A line for people that is no error.
---@param text string
function Fetcher:note(text) self.session:note(text) end

local function http_date(text)
  local day, month, year, time = (text or ""):match("^%a+, (%d%d) (%a%a%a) (%d%d%d%d) (%d%d:%d%d:%d%d) GMT$")
  if not month or not MONTHS[month] then return nil end
  return require("certrotate.fmt").parse_time(("%s-%02d-%sT%sZ"):format(year, MONTHS[month], day, time))
end

local function learn(self, server_time)
  local difference = server_time and server_time - self.loop:now() or 0
  if difference >= SKEW or difference <= -SKEW then self.offset = difference end
end

--- One request; any status is an answer.
---@param request table   as in certrotate.Submission
---@return { status: integer, headers: table<string,string>, body: string }?
---@return certrotate.Error?
function Fetcher:http(request)
  local answer, err = self.loop:await({ http = request })
  if answer then learn(self, http_date(answer.headers.date)) end
  return answer, err
end

--- The same, asked again when there is no answer or the service is busy.
---@param request table
---@param attempts integer
function Fetcher:ask(request, attempts)
  local answer, err
  for attempt = 1, attempts do
    answer, err = self:http(request)
    if answer and answer.status < 500 and answer.status ~= 429 then break end
    if err and not err.retryable or attempt == attempts then break end
    local ok, cancelled = self:sleep(0.5 * 2 ^ (attempt - 1) * (0.5 + self:random() / 2))
    if not ok then return nil, cancelled end
  end
  return answer, err
end

--- A program, without a shell.
---@param arguments string[]
---@param timeout number   seconds
---@return { output: string, errors: string, status?: integer, signal?: integer }?
---@return certrotate.Error?
function Fetcher:program(arguments, timeout)
  return self.loop:await({ program = { arguments = arguments, timeout = timeout } })
end

--- The account of the client that signs with these credentials; made once for a source, and renewed as any other.
---@param source certrotate.Source
---@return integer? account
---@return certrotate.Error?
function Fetcher:account(source)
  if source.account then return source.account end
  local err
  source.account, err = require("certrotate.credentials.renewal").open(self.session, source)
  return source.account, err
end

--- A call of STS, signed with an account of the client; nil: with the session's own, for calls that are not signed.
---@param account? integer
---@param operation string
---@param params table
---@return table?
---@return certrotate.Error?
function Fetcher:sts(account, operation, params)
  account = account or self.session.account
  local result, err = self.loop:await({ account = account, service = "sts", operation = operation, params = params })
  local offset = self.loop.client:account_info(account).clock_offset
  if offset >= SKEW or offset <= -SKEW then self.offset = offset end
  if not result and not errors.is(err) then error("STS call ended without a result", 0) end
  return result, err
end

return M
