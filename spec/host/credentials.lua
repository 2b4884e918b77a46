--- What credentials_spec.lua does in nginx and in Neovim: a session whose role comes by way of a slow program.
local certrotate = require("certrotate")

local M = {}

--- options as connect's
function M.connect(config)
  return certrotate.must(certrotate.connect({ profile = "x", home = config.home, endpoint_url = config.endpoint,
    ca_file = config.ca_file, environment = {} }))
end

--- So many calls at once; how many said who we are, and the first failure.
function M.calls(aws, many)
  local list, first = {}, nil
  for index = 1, many do list[index] = index end
  local good = 0
  aws.loop:each(list, many, function()
    local who, err = aws.sts:get_caller_identity()
    if who and who.Arn:find("assumed-role/any/", 1, true) then good = good + 1 end
    first = first or err and tostring(err)
    return true
  end)
  return { good = good, error = first, driver = aws.loop.driver.name }
end

return M
