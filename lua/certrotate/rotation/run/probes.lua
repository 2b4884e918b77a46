--- The built-in gate: of so many TLS connections to a holder at least so many must be served the new certificate.
local M = {}

--- Opens the connections side by side, again and again until enough agree or the time is over.
---@param run certrotate.Run
---@param params table                            of the verify step
---@param wanted { probes: integer, need: integer }
---@param within number                           seconds
---@return { matches: boolean, seen: integer, fingerprint?: string, not_after?: number }? result
---@return certrotate.Error?  of the last connection that failed, when none was served anything
function M.look(run, params, wanted, within)
  local loop = run.aws.loop
  local deadline, numbers = loop:monotonic() + within, {}
  for i = 1, wanted.probes do numbers[i] = i end
  while true do
    local seen, other, failure = 0, nil, nil
    local ok, err = loop:each(numbers, 8, function()
      local one = {}
      for key, value in pairs(params) do one[key] = value end
      one.within = 0
      local result, why = run:await("verify", one)
      if not result and why.kind == "cancelled" then return nil, why end
      if result and result.matches then seen = seen + 1 else other, failure = result or other, why or failure end
      return true
    end)
    if not ok then return nil, err end
    if seen >= wanted.need then return { matches = true, seen = seen } end
    if loop:monotonic() >= deadline then
      if not other and seen == 0 then return nil, failure end
      return { matches = false, seen = seen, fingerprint = other and other.fingerprint,
               not_after = other and other.not_after, failure = failure }
    end
    ok, err = loop:sleep(params.every)
    if not ok then return nil, err end
  end
end

return M
