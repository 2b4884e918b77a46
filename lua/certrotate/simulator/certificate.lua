-- What ACM and IAM share: reading and judging the three PEM texts of an import, and making them ready for the edge.
local x509 = require "certrotate.simulator.x509"

local M = {}

-- Only inside nginx; the specs of the services run without an edge.
local has_ssl, ssl = pcall(require, "ngx.ssl")

-- The key as nginx wants it. The PEM text is not kept anywhere.
local function edge_pair(pem, key)
  if not has_ssl then
    return nil
  end
  local certificate = ssl.parse_pem_cert(pem)
  local private = certificate and ssl.parse_pem_priv_key(key)
  return private and { certificate = certificate, key = private } or nil
end

--- Reads an import. The failure says which of the rules was broken; each service has its own words for it.
---@param certificate string  PEM
---@param private_key? string PEM; nil for certificates that AWS issued
---@param chain? string       PEM
---@param now number
---@return certrotate.simulator.Material? material
---@return "certificate"|"several"|"key"|"mismatch"|"chain"|"order"|"expired"|"future"|"issuer"|nil problem
---@return integer? index     of the chain's certificate that is wrong, from 0
function M.read(certificate, private_key, chain, now)
  local list = x509.certificates(certificate)
  if not list then
    return nil, "certificate"
  elseif #list > 1 then
    return nil, "several"
  end
  local leaf = list[1]
  if private_key then
    local key = x509.private_key(private_key)
    if not key then
      return nil, "key"
    elseif not x509.key_matches(leaf, key) then
      return nil, "mismatch"
    end
  end
  if now < leaf.not_before then
    return nil, "future"
  elseif now > leaf.not_after then
    return nil, "expired"
  elseif leaf.issuer_empty then
    return nil, "issuer"
  end
  local issuers = {}
  if chain and chain:find("%S") then
    issuers = x509.certificates(chain)
    if not issuers or not x509.only_certificates(chain) then
      return nil, "chain"
    end
    local index = x509.chain_break(leaf, issuers)
    if index then
      return nil, "order", index - 1
    end
  end
  local chain_pem = {}
  for index, issuer in ipairs(issuers) do
    chain_pem[index] = issuer.pem
  end
  chain_pem = table.concat(chain_pem)
  return {
    leaf = leaf, chain = issuers, certificate_pem = leaf.pem, chain_pem = chain_pem, since = now,
    ssl = private_key and edge_pair(leaf.pem .. chain_pem, private_key) or nil,
  }
end

--- Key types ACM takes.
M.key_types = { RSA_1024 = true, RSA_2048 = true, RSA_3072 = true, RSA_4096 = true, EC_prime256v1 = true,
  EC_secp384r1 = true, EC_secp521r1 = true }

return M
