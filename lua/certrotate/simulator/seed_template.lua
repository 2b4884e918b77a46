-- The XML of seeded distributions: a realistic configuration in CloudFront's own form, and the same with things in it
-- that a careless client would lose: unknown elements, comments, CDATA, entities, prefixes, odd white space.
local protocol = require "certrotate.simulator.protocol"
local xml = require "certrotate.simulator.xml"

local M = {}

local e = xml.element

local function list(name, items, each)
  if #items == 0 then
    return ("<%s><Quantity>0</Quantity></%s>"):format(name, name)
  end
  local out = {}
  for index, item in ipairs(items) do
    out[index] = each(item)
  end
  return ("<%s><Quantity>%d</Quantity><Items>%s</Items></%s>"):format(name, #items, table.concat(out), name)
end

local function named(element)
  return function(item)
    return e(element, item)
  end
end

local function origin(spec)
  return table.concat {
    "<Origin><Id>main</Id>", e("DomainName", spec.origin), "<OriginPath></OriginPath>",
    list("CustomHeaders", { spec.caller_reference }, function(item)
      return "<OriginCustomHeader><HeaderName>X-Origin-Key</HeaderName>" .. e("HeaderValue", item) .. "</OriginCustomHeader>"
    end),
    "<CustomOriginConfig><HTTPPort>80</HTTPPort><HTTPSPort>443</HTTPSPort>",
    "<OriginProtocolPolicy>https-only</OriginProtocolPolicy>", list("OriginSslProtocols", { "TLSv1.2" }, named "SslProtocol"),
    "<OriginReadTimeout>30</OriginReadTimeout><OriginKeepaliveTimeout>5</OriginKeepaliveTimeout></CustomOriginConfig>",
    "<ConnectionAttempts>3</ConnectionAttempts><ConnectionTimeout>10</ConnectionTimeout>",
    "<OriginShield><Enabled>false</Enabled></OriginShield><OriginAccessControlId></OriginAccessControlId></Origin>",
  }
end

local behavior = table.concat {
  "<TargetOriginId>main</TargetOriginId><TrustedSigners><Enabled>false</Enabled><Quantity>0</Quantity></TrustedSigners>",
  "<TrustedKeyGroups><Enabled>false</Enabled><Quantity>0</Quantity></TrustedKeyGroups>",
  "<ViewerProtocolPolicy>redirect-to-https</ViewerProtocolPolicy>",
  "<AllowedMethods><Quantity>2</Quantity><Items><Method>HEAD</Method><Method>GET</Method></Items>",
  "<CachedMethods><Quantity>2</Quantity><Items><Method>HEAD</Method><Method>GET</Method></Items></CachedMethods>",
  "</AllowedMethods><SmoothStreaming>false</SmoothStreaming><Compress>true</Compress>",
  "<LambdaFunctionAssociations><Quantity>0</Quantity></LambdaFunctionAssociations>",
  "<FunctionAssociations><Quantity>0</Quantity></FunctionAssociations><FieldLevelEncryptionId></FieldLevelEncryptionId>",
  "<CachePolicyId>658327ea-f89d-4fab-a63d-7e88639e58f6</CachePolicyId>",
}

local function behaviors(spec)
  local patterns = {}
  for index = 1, spec.behaviors do
    patterns[index] = ("/%s/*"):format(({ "static", "images", "api", "video" })[(index - 1) % 4 + 1])
  end
  return list("CacheBehaviors", patterns, function(pattern)
    return "<CacheBehavior>" .. e("PathPattern", pattern) .. behavior .. "</CacheBehavior>"
  end)
end

local function viewer_certificate(viewer)
  if not viewer.store then
    return "<ViewerCertificate><CloudFrontDefaultCertificate>true</CloudFrontDefaultCertificate></ViewerCertificate>"
  end
  return table.concat {
    "<ViewerCertificate><CloudFrontDefaultCertificate>false</CloudFrontDefaultCertificate>",
    e(viewer.store == "iam" and "IAMCertificateId" or "ACMCertificateArn", viewer.reference),
    e("SSLSupportMethod", viewer.method), e("MinimumProtocolVersion", viewer.minimum),
    e("Certificate", viewer.reference), e("CertificateSource", viewer.store), "</ViewerCertificate>",
  }
end

local function plain(spec)
  return table.concat {
    '<?xml version="1.0"?>\n<DistributionConfig xmlns="', protocol.namespaces.cloudfront, '">',
    e("CallerReference", spec.caller_reference), list("Aliases", spec.aliases, named "CNAME"),
    "<DefaultRootObject>index.html</DefaultRootObject>", list("Origins", { spec }, origin),
    "<OriginGroups><Quantity>0</Quantity></OriginGroups>",
    "<DefaultCacheBehavior>", behavior, "</DefaultCacheBehavior>", behaviors(spec),
    list("CustomErrorResponses", { 403, 404 }, function(code)
      return "<CustomErrorResponse>" .. e("ErrorCode", code) .. "<ResponsePagePath>/error.html</ResponsePagePath>"
        .. "<ResponseCode>404</ResponseCode><ErrorCachingMinTTL>10</ErrorCachingMinTTL></CustomErrorResponse>"
    end),
    e("Comment", spec.comment),
    "<Logging><Enabled>false</Enabled><IncludeCookies>false</IncludeCookies><Bucket></Bucket><Prefix></Prefix></Logging>",
    "<PriceClass>PriceClass_All</PriceClass>", e("Enabled", tostring(spec.enabled)), viewer_certificate(spec.viewer),
    "<Restrictions><GeoRestriction><RestrictionType>none</RestrictionType><Quantity>0</Quantity></GeoRestriction>",
    "</Restrictions><WebACLId></WebACLId>", e("HttpVersion", spec.http_version), "<IsIPV6Enabled>true</IsIPV6Enabled>",
    e("ContinuousDeploymentPolicyId", spec.policy), e("Staging", tostring(spec.staging)),
    spec.connection_mode and e("ConnectionMode", spec.connection_mode) or "", "</DistributionConfig>",
  }
end

-- Each takes the plain text and returns one that means the same to CloudFront.
local oddities = {
  -- Elements of a service newer than every client.
  function(text)
    return (text:gsub("<HttpVersion>", '<QuantumShield level="7" mode=\'strict\'><Policy xmlns:q="urn:q" q:kind="a&amp;b">p-1'
      .. "</Policy><Empty/></QuantumShield>%0", 1):gsub("</DistributionConfig>", "<Tomorrow>1</Tomorrow>%0"))
  end,
  -- Comments and processing instructions, in ViewerCertificate too, and one that looks like what is searched for.
  function(text)
    local decoy = "<!-- <ViewerCertificate><ACMCertificateArn>not this</ACMCertificateArn></ViewerCertificate> -->"
    return (text:gsub("<ViewerCertificate>", "%0<!-- renewed by hand last year --><?keep this?>", 1)
      :gsub("<Comment>", decoy .. "%0", 1):gsub("</DistributionConfig>", "<!-- end -->%0\n<!-- after the end -->\n"))
  end,
  -- CDATA, entities, character references, letters beyond ASCII.
  function(text)
    return (text:gsub("<Comment>(.-)</Comment>",
      "<Comment><![CDATA[<ViewerCertificate> & ]]>%1 &#x20AC;&#33;&quot;&apos;&lt;\195\182\226\130\172</Comment>", 1))
  end,
  -- Another namespace prefix throughout.
  function(text)
    return (text:gsub("<(/?)(%a)", "<%1cf:%2"):gsub("xmlns=", "xmlns:cf="))
  end,
  -- White space wherever XML allows it, both kinds of line ends, empty elements in the short form.
  function(text)
    return (text:gsub("><(%a)", ">\r\n\t <%1"):gsub("<(/?%u%w+)>", "<%1 >"):gsub("<(%w+) ></%1 >", "<%1\n/>"))
  end,
  -- A child of ViewerCertificate that nobody knows, attributes on known ones, the deprecated pair first.
  function(text)
    return (text:gsub("<ViewerCertificate>(.-)(<Certificate>.*</CertificateSource>)</ViewerCertificate>",
      "<ViewerCertificate note='kept'>%2<PostQuantum><Mode>hybrid</Mode></PostQuantum>%1</ViewerCertificate >", 1))
  end,
}

M.ODD = #oddities

--- Writes a configuration.
---@param spec table   see seed.lua
---@return string
function M.write(spec)
  local text = plain(spec)
  return spec.odd and oddities[spec.odd](text) or text
end

return M
