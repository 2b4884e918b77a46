local core = ...
local config = "<DistributionConfig><ViewerCertificate><ACMCertificateArn>arn:aws:acm:us-east-1:1:certificate/a"
  .. "</ACMCertificateArn><SSLSupportMethod>sni-only</SSLSupportMethod></ViewerCertificate></DistributionConfig>"
local found, err = core.viewer_certificate(config)
if not found then return nil, err end
local text, problem = core.swap_viewer_certificate(config, found.reference, "arn:aws:acm:us-east-1:1:certificate/b")
if not text then return nil, problem end
return text:find("certificate/b", 1, true) ~= nil
