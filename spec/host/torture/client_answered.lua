-- Answers in JSON and XML, from the host program's own server.
local core, _, _, server_url = ...
local client, err = core.client { allow_http = true }
if not client then return nil, err end
local place = { url = server_url, region = "us-east-1" }
local account, problem = client:account { access_key_id = "AKID", secret_access_key = "SECRET", max_attempts = 1,
                                          endpoints = { acm = place, iam = place } }
if not account then return nil, problem end

local function call(submission)
  local id, refused = client:submit(submission)
  if not id then return nil, refused end
  for _ = 1, 10000 do
    client:wait(0.05)
    local taken, result, failure = client:take()
    if taken then return result, failure end
  end
  error("nothing came")
end

local list, unlisted = call { service = "acm", operation = "ListCertificates" }
if not list then return nil, unlisted end
local first = list.CertificateSummaryList[1]
assert(first.InUse == true and first.NotAfter == 1.7e9 and #first.Names == 2 and first.Names[1] == "a")
local none, absent = call { service = "iam", operation = "GetServerCertificate", params = { ServerCertificateName = "x" } }
-- Without room for AWS's own words the status is what is left.
if absent.kind == "memory" or absent.code == "HTTP404" then return nil, absent end
assert(none == nil and absent.code == "NoSuchEntity", tostring(absent))
return true
