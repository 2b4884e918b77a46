-- Listing a fleet: the inventory's own way against libcurl and expat with empty handlers, over the same bytes.
-- usage: lua listing.lua PATH_OF_baseline_listing
local bench = require("spec.bench.support")
local certrotate = require("certrotate")
local inventory = require("certrotate.rotation.inventory")
local core = require("certrotate.core")

local baseline = assert(arg[1], "path of baseline_listing expected")

-- XML is written here over several lines and served as CloudFront writes it: without white space between elements.
local function one_line(text) return (text:gsub(">\n<", "><")) end

-- About 4.5 KB a distribution, as a real summary with a few origins and behaviours has.
local function summary(i)
  local behaviours = {}
  for b = 1, 3 do
    behaviours[b] = one_line([[
<CacheBehavior><PathPattern>/p%d/*</PathPattern><TargetOriginId>o1</TargetOriginId><TrustedSigners>
<Enabled>false</Enabled><Quantity>0</Quantity></TrustedSigners><TrustedKeyGroups><Enabled>false</Enabled>
<Quantity>0</Quantity></TrustedKeyGroups><ViewerProtocolPolicy>redirect-to-https</ViewerProtocolPolicy>
<AllowedMethods><Quantity>2</Quantity><Items><Method>HEAD</Method><Method>GET</Method></Items><CachedMethods>
<Quantity>2</Quantity><Items><Method>HEAD</Method><Method>GET</Method></Items></CachedMethods>
</AllowedMethods><SmoothStreaming>false</SmoothStreaming><Compress>true</Compress><LambdaFunctionAssociations>
<Quantity>0</Quantity></LambdaFunctionAssociations><FunctionAssociations><Quantity>0</Quantity>
</FunctionAssociations><FieldLevelEncryptionId></FieldLevelEncryptionId>
<CachePolicyId>658327ea-f89d-4fab-a63d-7e88639e58f6</CachePolicyId></CacheBehavior>]]):format(b)
  end
  return one_line([[
<DistributionSummary><Id>E%013d</Id><ARN>arn:aws:cloudfront::111122223333:distribution/E%013d</ARN>
<Status>Deployed</Status><LastModifiedTime>2026-01-13T00:32:05.367Z</LastModifiedTime>
<DomainName>d%012d.cloudfront.net</DomainName><Aliases><Quantity>2</Quantity><Items><CNAME>www%d.example.com
</CNAME><CNAME>api%d.example.com</CNAME></Items></Aliases><Origins><Quantity>1</Quantity><Items><Origin><Id>o1
</Id><DomainName>origin.example.com</DomainName><OriginPath></OriginPath><CustomHeaders><Quantity>0</Quantity>
</CustomHeaders><CustomOriginConfig><HTTPPort>80</HTTPPort><HTTPSPort>443</HTTPSPort>
<OriginProtocolPolicy>https-only</OriginProtocolPolicy><OriginSslProtocols><Quantity>1</Quantity><Items>
<SslProtocol>TLSv1.2</SslProtocol></Items></OriginSslProtocols><OriginReadTimeout>30</OriginReadTimeout>
<OriginKeepaliveTimeout>5</OriginKeepaliveTimeout></CustomOriginConfig><ConnectionAttempts>3
</ConnectionAttempts><ConnectionTimeout>10</ConnectionTimeout><OriginShield><Enabled>false</Enabled>
</OriginShield></Origin></Items></Origins><OriginGroups><Quantity>0</Quantity></OriginGroups>%s
<CacheBehaviors><Quantity>3</Quantity><Items>%s</Items></CacheBehaviors><CustomErrorResponses><Quantity>0
</Quantity></CustomErrorResponses><Comment>shop %d</Comment><PriceClass>PriceClass_All</PriceClass>
<Enabled>true</Enabled><ViewerCertificate><CloudFrontDefaultCertificate>false</CloudFrontDefaultCertificate>
<ACMCertificateArn>arn:aws:acm:us-east-1:111122223333:certificate/11111111-2222-3333-4444-555555555555
</ACMCertificateArn><SSLSupportMethod>sni-only</SSLSupportMethod><MinimumProtocolVersion>TLSv1.2_2021
</MinimumProtocolVersion>
<Certificate>arn:aws:acm:us-east-1:111122223333:certificate/11111111-2222-3333-4444-555555555555</Certificate>
<CertificateSource>acm</CertificateSource></ViewerCertificate><Restrictions><GeoRestriction>
<RestrictionType>none</RestrictionType><Quantity>0</Quantity></GeoRestriction></Restrictions><WebACLId>
</WebACLId><HttpVersion>HTTP2</HttpVersion><IsIPV6Enabled>true</IsIPV6Enabled><Staging>false</Staging>
</DistributionSummary>]]):format(
    i, i, i, i, i,
    (behaviours[1]:gsub("<PathPattern>.-</PathPattern>", ""):gsub("CacheBehavior>", "DefaultCacheBehavior>")),
    table.concat(behaviours), i)
end

local function generate(directory, count)
  local urls, pages = {}, count / 100
  for page = 1, pages do
    local items = {}
    for i = 1, 100 do items[i] = summary((page - 1) * 100 + i) end
    local marker = page == 1 and "" or tostring(page - 1)
    local more = page < pages
    bench.write(("%s/page-%s.xml"):format(directory, marker), one_line([[<?xml version="1.0"?>
<DistributionList xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/">
<Marker>%s</Marker>%s<MaxItems>100</MaxItems>
<IsTruncated>%s</IsTruncated><Quantity>100</Quantity><Items>%s</Items></DistributionList>]]):format(
      marker, more and "<NextMarker>" .. page .. "</NextMarker>" or "", tostring(more), table.concat(items)))
    urls[page] = "/2020-05-31/distribution?Marker=" .. marker
  end
  return urls
end

local function connect(endpoint)
  return assert(certrotate.connect({ endpoint_url = endpoint, access_key_id = "AKIDEXAMPLE", secret_access_key = "secret",
                                     region = "us-east-1", environment = {} }))
end

local function ratio_of(count, rounds)
  local directory = bench.directory()
  local urls = generate(directory, count)
  local endpoint, stop = bench.serve(directory)
  local command = bench.quote(baseline)
  for _, url in ipairs(urls) do command = command .. " " .. bench.quote(endpoint .. url) end
  local aws = connect(endpoint)
  local walls, cpus, bytes, ours, theirs = {}, {}, 0, {}, {}
  for round = 0, rounds do
    local wall, cpu, size = bench.capture(command):match("(%S+) (%S+) (%S+)")
    collectgarbage()
    local before, cpu_before = core.monotonic(), os.clock()
    local holders = assert(inventory.list_holders(aws))
    local mine, mine_cpu = core.monotonic() - before, os.clock() - cpu_before
    assert(#holders == count, "not every distribution was listed")
    if round > 0 then -- the first warms both up
      walls[round], cpus[round] = mine / wall, mine_cpu / cpu
      ours[round], theirs[round] = mine_cpu, tonumber(cpu)
      bytes = tonumber(size)
    end
  end
  aws:close()
  stop()
  bench.capture("rm -rf " .. bench.quote(directory))
  print(("listing %d (%.1f MB, 100 a page): %.0f ms CPU, libcurl + expat alone %.0f ms; ratio wall %.2f, CPU %.2f (at most 1.3)")
    :format(count, bytes / 1e6, bench.median(ours) * 1000, bench.median(theirs) * 1000, bench.median(walls),
      bench.median(cpus)))
end

local function memory_of(count)
  local directory = bench.directory()
  generate(directory, count)
  local endpoint, stop = bench.serve(directory)
  local aws = connect(endpoint)
  collectgarbage("setpause", 110)
  collectgarbage()
  local lua_before = collectgarbage("count")
  bench.reset_peak()
  local _, resident = bench.memory()
  local holders = assert(inventory.list_holders(aws))
  local peak = bench.memory()
  collectgarbage()
  local records = collectgarbage("count") - lua_before
  assert(#holders == count)
  aws:close()
  stop()
  bench.capture("rm -rf " .. bench.quote(directory))
  print(("memory for %d: peak grew by %.1f MiB, the records alone are %.1f MiB; ratio %.2f"):format(count,
    (peak - resident) / 1024, records / 1024, (peak - resident) / records))
end

ratio_of(2000, 7)
memory_of(10000)
