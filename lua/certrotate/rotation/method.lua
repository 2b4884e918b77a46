--- How the new certificate takes the old one's place: `swap` gives each holder a new reference; `reimport` puts new
-- content under the same ACM ARN. A reimport needs no second certificate and costs nothing, but reaches everybody at
-- once, takes up to a day, and AWS keeps nothing to go back to. The rules are pure; `stored` reads.
local core = require("certrotate.core")
local errors = require("certrotate.errors")
local fmt = require("certrotate.fmt")

local M = {}

---@alias certrotate.Method "swap"|"reimport"

-- AWS: until so long after it, the earlier certificate may be presented. Nobody must see an expired one meanwhile.
M.LEAD = 24 * 3600

local known = { swap = true, reimport = true, auto = true }

--- The method somebody asked for; raises when it is none.
---@param name? string
---@return "swap"|"reimport"|"auto"
function M.resolve(name)
  name = name or "swap"
  if not known[name] then error(("method: \"swap\", \"reimport\" or \"auto\", not %s"):format(tostring(name)), 0) end
  return name
end

--- The certificate that lies under an ACM ARN now.
---@param aws certrotate.Session
---@param reference string
---@return certrotate.CertificateInfo?
---@return certrotate.Error?
function M.stored(aws, reference)
  local got, err = aws.acm:get_certificate({ CertificateArn = reference })
  if not got then return nil, err end
  if type(got.Certificate) ~= "string" then
    return nil, errors.new({ kind = "parse", code = "NoCertificate",
      message = ("ACM's answer for %s holds no certificate"):format(reference) })
  end
  return core.certificate(got.Certificate)
end

local function finding(list, level, code, format, ...)
  list[#list + 1] = { level = level, code = code, message = format:format(...) }
end

local function lacking(before, after, exempt)
  local has, missing = {}, {}
  for _, value in ipairs(after or {}) do has[value] = true end
  for _, value in ipairs(before or {}) do
    if not has[value] and not exempt[value] then missing[#missing + 1] = value end
  end
  return missing
end

-- ACM compares with what was imported first. What is there now has all of that, but for what was exempt.
local function check_usages(stored, leaf, out)
  local pairs_of = {
    { "key usage", "key_usages", leaf.key_type:match("^EC_") and { KEY_ENCIPHERMENT = true } or {} },
    { "extended key usage", "extended_key_usages", { TLS_WEB_CLIENT_AUTHENTICATION = true } },
  }
  for _, one in ipairs(pairs_of) do
    local before, after = stored[one[2]], leaf[one[2]]
    local missing = lacking(before, after, one[3])
    if #missing > 0 then
      finding(out, "refuse", "ReimportUsages", "the new certificate lacks the %s %s of the one it would replace, which "
        .. "ACM refuses in a reimport; use --method swap", one[1], table.concat(missing, ", "))
    elseif not before and after then
      finding(out, "warn", "ReimportUsagesAdded", "the certificate to be replaced has no %s extension and the new one "
        .. "has: ACM may refuse that in a reimport, changing nothing; --method swap does not depend on it", one[1])
    end
  end
end

local function check_names(stored, leaf, out)
  if #stored.names > 0 and #lacking(stored.names, leaf.names, {}) == #stored.names then
    finding(out, "refuse", "ReimportNames", "the new certificate has none of the names of the one it would replace "
      .. "(%s), which ACM refuses in a reimport; use --method swap", fmt.list(stored.names, 3))
  end
end

--- What ACM's rules, and the time a reimport takes, say against one. Pure.
---@param facts table  replace, old?, asked_store?, stored? (CertificateInfo under the ARN), leaf, only?, verify?,
---                    now, to?, known (set of the ARNs of holders)
---@return certrotate.Finding[]
function M.findings(facts)
  local out, old, stored = {}, facts.old, facts.stored
  if not old then return out end
  if old.store ~= "acm" then
    finding(out, "refuse", "NoReimport", "%s is in the IAM store, which cannot replace a certificate's content; use "
      .. "--method swap", facts.replace)
    return out
  end
  if facts.asked_store and facts.asked_store ~= "acm" then
    finding(out, "refuse", "NoReimport",
      "a reimport leaves the certificate in ACM; leave out --store %s, or use --method swap", facts.asked_store)
  end
  if facts.only then
    finding(out, "refuse", "ReimportNotAll", "a reimport reaches everybody who uses %s at once; leave out --only, or "
      .. "use --method swap", facts.replace)
  end
  if facts.verify == false then
    finding(out, "refuse", "ReimportUnseen", "no distribution's status tells when a reimport has reached viewers, only "
      .. "a look at what is served does; leave out --no-verify, or use --method swap")
  end
  if not stored then return out end
  local leaf = facts.leaf
  if stored.key_type ~= leaf.key_type then
    finding(out, "refuse", "ReimportKeyType", "the key is %s and was %s: ACM takes a reimport with the same type and "
      .. "size of key only; use --method swap", leaf.key_type, stored.key_type)
  end
  check_names(stored, leaf, out)
  check_usages(stored, leaf, out)
  if stored.not_after - facts.now < M.LEAD then
    finding(out, "refuse", "ReimportTooLate", "the certificate to be replaced ends at %s: a reimport may take 24 hours "
      .. "to reach viewers, who would be served an expired one; use --method swap", fmt.timestamp(stored.not_after))
  end
  if facts.to then
    finding(out, "warn", "AlreadyStored",
      "ACM has the new certificate already, as %s: --method swap would need no import", facts.to)
  end
  local others = {}
  for _, arn in ipairs(old.in_use_by or {}) do
    if type(arn) == "string" and not facts.known[arn] then others[#others + 1] = arn end
  end
  if #others > 0 then
    finding(out, "warn", "UsedElsewhere",
      "ACM says that %s %s this certificate too: %s given the new one at the same time", fmt.list(others, 3),
      #others == 1 and "uses" or "use", #others == 1 and "it is" or "they are")
  end
  finding(out, "warn", "ReimportFinal", "AWS keeps nothing of the certificate that is replaced: keep its certificate, "
    .. "key and chain (SHA-256 %s...), without which there is no way back", stored.fingerprint:sub(1, 16))
  return out
end

local function first_refusal(findings)
  for _, one in ipairs(findings) do
    if one.level == "refuse" then return one.message end
  end
  return nil
end

--- What `auto` chooses, and why: a swap wherever one can be carried out, for it goes step by step and can be rolled
--- back.
---@param swap certrotate.Finding[]      of a swap
---@param reimport certrotate.Finding[]  of a reimport
---@return certrotate.Method
---@return string reason
function M.choose(swap, reimport)
  local against_swap, against_reimport = first_refusal(swap), first_refusal(reimport)
  if not against_swap then
    return "swap", "auto chose swap: it goes holder by holder and can be rolled back; " .. (against_reimport
      and "a reimport is ruled out (" .. against_reimport .. ")"
      or "a reimport would reach everybody at once, and AWS could not undo it")
  elseif not against_reimport then
    return "reimport", ("auto chose reimport: ACM's rules allow it, and a swap is ruled out (%s)"):format(against_swap)
  end
  return "swap", ("auto chose neither: a swap is ruled out (%s), and a reimport too (%s)"):format(against_swap,
    against_reimport)
end

return M
