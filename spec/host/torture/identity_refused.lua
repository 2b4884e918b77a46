-- A text about a key that is none must not carry anything of a file.
local core, folder = ...
local none, err = core.identity { certificate = folder .. "/key.pem", private_key = folder .. "/key.pem" }
if none then return nil, "a key is no certificate" end
none = core.identity { certificate = folder .. "/certificate.pem", private_key = folder .. "/certificate.pem" }
return none == nil and tostring(err) ~= ""
