local core, folder = ...
local identity, err = core.identity { certificate = folder .. "/certificate.pem", private_key = folder .. "/key.pem" }
if not identity then return nil, err end
local leaf = identity:leaf()
assert(leaf.names[1] == "www.example.com" and identity:covers("a.example.org"))
assert(#identity:chain() == 0 and identity:chain_pem() == "" and identity:fingerprint() == leaf.fingerprint)
assert(tostring(identity))
local info, problem = core.certificate(identity:certificate_pem())
if not info then return nil, problem end
local findings, why = identity:check { store = "acm", now = 1700000000 }
if not findings then return nil, why end
identity:close()
return #findings > 0
