-- The fork test of torture_lua.c: before the fork, in the parent. `shared` is a table all three files get.
local core, folder, url, _, shared = ...
shared.client = assert(core.client { allow_http = true })
assert(shared.client:account { endpoints = { acm = { url = url, region = "us-east-1" } } })
shared.file = assert(core.append(folder .. "/fork"))
assert(shared.client:submit { http = { url = url } })
shared.client:step()
return true
