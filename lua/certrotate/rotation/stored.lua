--- What a store really holds under a reference, asked afresh: the listing may lag or leave kinds out.
local core = require("certrotate.core")

local M = {}

---@class certrotate.StoredDetail : certrotate.StoredCertificate
---@field fingerprint? string   SHA-256 of the leaf; nil where AWS does not show it (its own certificates)
---@field managed_by? string    ACM
---@field in_use_by? string[]   ACM: ARNs, with a delay
---@field serial? string        ACM

--- The leaf a store has; nil when it is no certificate, nil and an error when it cannot be read.
---@param aws certrotate.Session
---@param certificate certrotate.StoredCertificate
---@return certrotate.CertificateInfo?
---@return certrotate.Error?
function M.leaf(aws, certificate)
  local got, err, pem
  if certificate.store == "acm" then
    got, err = aws.acm:get_certificate({ CertificateArn = certificate.reference })
    pem = got and got.Certificate
  else
    got, err = aws.iam:get_server_certificate({ ServerCertificateName = certificate.name })
    pem = got and got.ServerCertificate and got.ServerCertificate.CertificateBody
  end
  if not got then return nil, err end
  return type(pem) == "string" and core.certificate(pem) or nil
end

--- SHA-256 of that leaf.
---@param aws certrotate.Session
---@param certificate certrotate.StoredCertificate
---@return string? fingerprint
---@return certrotate.Error?
function M.fingerprint(aws, certificate)
  local leaf, err = M.leaf(aws, certificate)
  return leaf and leaf.fingerprint, err
end

--- A certificate as its store has it now, nil when it is not there. A store that cannot be read is an error: rule 2,
--- unknown means no.
---@param aws certrotate.Session
---@param inventory certrotate.Inventory   fresh, with certificates
---@param reference string
---@return certrotate.StoredDetail?
---@return certrotate.Error?
function M.read(aws, inventory, reference)
  local old = inventory:certificate(reference)
  if not old then
    -- A listing may lag or leave kinds out; ACM can be asked directly.
    if not reference:find("^arn:[%w-]+:acm:") then
      return nil, inventory.errors[1]
    end
    old = { reference = reference, store = "acm", arn = reference, names = {}, name = "" }
  end
  if old.store == "acm" then
    local got, err = aws.acm:describe_certificate({ CertificateArn = reference })
    if not got then
      if err.code == "ResourceNotFoundException" or err.code == "InvalidArnException"
        or err.code == "ValidationException" then
        return nil
      end
      return nil, err
    end
    local detail = got.Certificate or {}
    old.type, old.managed_by, old.in_use_by = detail.Type, detail.ManagedBy, detail.InUseBy
    old.serial, old.not_after = detail.Serial, detail.NotAfter or old.not_after
  end
  local fingerprint, err = M.fingerprint(aws, old)
  if fingerprint then
    old.fingerprint = fingerprint
  elseif err and (old.type == nil or old.type == "IMPORTED") then
    return nil, err
  end
  return old
end

return M
