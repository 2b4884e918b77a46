-- Everything that can be submitted, where nobody listens.
local core, folder, url = ...
local client, err = core.client { allow_http = true, connect_timeout = 5 }
if not client then return nil, err end
local place = { url = url, region = "us-east-1" }
local account, problem = client:account {
  access_key_id = "AKID", secret_access_key = "SECRET", session_token = "T", max_attempts = 1,
  endpoints = { acm = place, iam = place },
}
if not account then return nil, problem end
local ok, bad = client:credentials(account, { access_key_id = "B", secret_access_key = "C" })
if not ok then return nil, bad end
local identity, why = core.identity { certificate = folder .. "/certificate.pem", private_key = folder .. "/key.pem" }
if not identity then return nil, why end
local wanted = 0
for _, submission in ipairs {
  { service = "acm", operation = "ImportCertificate", identity = identity, params = { Tags = { { Key = "a", Value = "b" } } } },
  { service = "iam", operation = "GetServerCertificate", params = { ServerCertificateName = "x" } },
  { step = "retire", params = { reference = "arn:aws:acm:us-east-1:1:certificate/a", changed = {} } },
  { http = { url = url .. "/x", headers = { { "A", "b" } } } },
} do
  local id, refused = client:submit(submission)
  if not id then return nil, refused end
  wanted = wanted + 1
end
identity:close()
for _ = 1, 10000 do
  client:wait(0.05)
  local id, result, failure = client:take()
  while id do
    assert(result == nil and tostring(failure))
    wanted = wanted - 1
    id, result, failure = client:take()
  end
  if wanted == 0 then break end
end
assert(wanted == 0, "not everything ended")
while client:attempt() do end -- luacheck: ignore 542
assert(client:stats().running == 0 and client:account_info(account).access_key_id == "B")
client:close()
return true
