local core = ...
local headers, stages = core.sign {
  method = "PUT", url = "https://example.com/a/../b?z=1&a=2", service = "cloudfront", region = "us-east-1",
  access_key_id = "AKID", secret_access_key = "SECRET", session_token = "TOKEN", time = 1700000000,
  headers = { { "Content-Type", "text/xml" }, { "X-A", "1" }, { "X-A", "2" } }, body = ("x"):rep(500),
}
if not headers then return nil, stages end
return #stages.signature == 64
