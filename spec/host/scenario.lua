--- One sequence of calls, as a rotation makes them, that must come to the same in every host: one after the other, several
-- at a time, with pauses, a refusal, a connection nobody takes, a deadline, a cancellation.
--
-- The counterpart (`M.upstream`) answers like CloudFront, slowly; signatures are not looked at here.
local M = {}

local KEYS = { access_key_id = "AKIAIOSFODNN7EXAMPLE", secret_access_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" }

--- Seconds the counterpart takes for an answer.
M.DELAY = 0.2

--- nginx configuration of the counterpart.
M.upstream = [[
    location /2020-05-31/distribution/ {
      content_by_lua_block {
        local id = ngx.var.uri:match("/distribution/([^/]+)")
        ngx.req.clear_header("If-Match")   -- nginx would look at it
        ngx.sleep(id == "ESLOW" and 20 or id == "EWRITE" and 1 or @DELAY@)
        if id == "EMISSING" then
          ngx.status = 404
          ngx.print([=[<?xml version="1.0"?><ErrorResponse xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/">]=],
            [=[<Error><Type>Sender</Type><Code>NoSuchDistribution</Code><Message>gone</Message></Error>]=],
            [=[<RequestId>r-1</RequestId></ErrorResponse>]=])
          return
        end
        ngx.header.ETag = "tag-" .. id
        if ngx.req.get_method() == "PUT" then
          ngx.print([=[<?xml version="1.0"?><Distribution xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/">]=],
            "<Id>", id, "</Id><Status>InProgress</Status></Distribution>")
          return
        end
        ngx.print([=[<?xml version="1.0"?><DistributionConfig xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/">]=],
          "<CallerReference>", id, "</CallerReference></DistributionConfig>")
      }
    }
]]
M.upstream = M.upstream:gsub("@DELAY@", tostring(M.DELAY))

--- Opens a session with the counterpart. Reads nothing of the machine's own configuration.
function M.connect(url, options)
  local all = { credentials = KEYS, endpoint_url = url, environment = {}, home = "/nonexistent", max_attempts = 1 }
  for key, value in pairs(options or {}) do all[key] = value end
  return require("certrotate").connect(all)
end

--- The sequence. Plain data comes back, the same everywhere.
function M.run(aws)
  local loop = aws.loop
  local out = { tags = {} }

  local function tag(id)
    local got, err = aws.cloudfront:get_distribution_config({ Id = id })
    if not got then return nil, err end
    return got.ETag
  end

  -- One after the other.
  for _, id in ipairs({ "E1", "E2" }) do
    local found, err = tag(id)
    out.tags[#out.tags + 1] = found or tostring(err)
  end

  -- Several at a time, in order.
  local ids = {}
  for i = 1, 8 do ids[i] = "F" .. i end
  local began = loop:monotonic()
  local found, err = loop:each(ids, 4, tag)
  out.each = found and table.concat(found, " ") or tostring(err)
  out.parallel = loop:monotonic() - began < 8 * M.DELAY

  out.paused = loop:sleep(0.05)

  local missing
  missing, err = tag("EMISSING")
  out.missing = missing == nil and err.code .. " " .. tostring(err.status) .. " " .. tostring(err.request_id)

  local refused
  refused, err = loop:await({ http = { url = "http://127.0.0.1:1/", method = "GET" } })
  out.refused = refused == nil and err.kind

  began = loop:monotonic()
  local late
  late, err = loop:await({ account = aws.account, service = "cloudfront", operation = "GetDistributionConfig",
                           params = { Id = "ESLOW" } }, 0.1)
  out.late = late == nil and err.kind .. " " .. err.code

  local work = loop:spawn(function() return aws.cloudfront:get_distribution_config({ Id = "ESLOW" }) end)
  loop:sleep(0.05)
  work:cancel()
  local cancelled
  cancelled, err = work:wait()
  out.cancelled = cancelled == nil and err.kind
  out.prompt = loop:monotonic() - began < 2
  out.running = loop.running
  return out
end

--- What it must come to.
M.expected = {
  tags = { "tag-E1", "tag-E2" },
  each = "tag-F1 tag-F2 tag-F3 tag-F4 tag-F5 tag-F6 tag-F7 tag-F8",
  parallel = true, paused = true, missing = "NoSuchDistribution 404 r-1", refused = "transport",
  late = "timeout DeadlineExceeded", cancelled = "cancelled", prompt = true, running = 0,
}

return M
