-- A finalizer runs whenever Lua allocates: also while core.sign pushes its results, and it may sign something else.
local core = ...
local request = { method = "GET", url = "https://example.com/", service = "iam", region = "us-east-1",
                  access_key_id = "AKID", secret_access_key = "SECRET", time = 1700000000 }
local other = { method = "PUT", url = "https://example.org/x", service = "s3", region = "eu-west-1",
                access_key_id = "OTHER", secret_access_key = "O", time = 1 }
local expected, problem = core.sign(request)
if not expected then return nil, problem end
local function arm()
  setmetatable({}, { __gc = function()
    core.sign(other)
    arm()
  end })
end
arm()
collectgarbage("setpause", 1)
for _ = 1, 30 do
  local headers, stages = core.sign(request)
  if not headers then return nil, stages end
  if headers.Authorization ~= expected.Authorization then error("signed something else") end
end
return true
