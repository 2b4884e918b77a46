-- Whether the rules that are never broken (README) were kept, by the simulator's own record.
local json = require("certrotate.json")

local M = {}

local function set_of(list, key)
  local set = {}
  for _, item in ipairs(list or {}) do set[key and item[key] or item] = true end
  return set
end

-- What the client did, one change after the other.
local function client_changes(world, changes, options, found)
  local imports, foreign = {}, {}
  for _, change in ipairs(changes) do
    if change.by == "other" then
      if change.what == "update" and change.from ~= change.to then foreign[change.id] = change.to end
    elseif change.what == "update" then
      if change.outside then found("%s changed outside ViewerCertificate", change.id) end
      if change.policy and not options.detach then found("%s: its policy was changed, unasked", change.id) end
      if change.from ~= change.to and foreign[change.id] == change.from
        and change.from ~= world.old and not imports[change.from] then
        found("%s: %s, which somebody else had chosen, was overwritten", change.id, change.from)
      end
    elseif change.what == "import" then
      imports[change.reference] = true
      imports[change.fingerprint] = (imports[change.fingerprint] or 0) + 1
      if imports[change.fingerprint] > 1 then found("%s was imported %d times", change.fingerprint:sub(1, 12),
        imports[change.fingerprint]) end
    elseif change.what == "reimport" then
      if change.reference ~= world.old then found("%s was reimported", change.reference) end
      if imports.last == change.fingerprint then found("%s was reimported twice", change.fingerprint:sub(1, 12)) end
      imports.last = change.fingerprint
    elseif change.what == "delete" then
      if change.held > 0 then found("%s was to be deleted while held by %d", change.reference, change.held) end
      -- What is not needed any more: the old one, or after a way back the one that was imported for nothing.
      if change.reference ~= world.old and not (options.back and imports[change.reference]) then
        found("%s was deleted, not the old certificate", change.reference)
      end
    end
  end
  return imports, foreign
end

-- Of a journal in S3: whoever wrote once another had gone on has written behind that one's back.
local function journal_writers(world, found)
  local seen = {}
  for _, id in ipairs(world:writers()) do
    if seen[id] then found("%s went on with the journal after another had gone on with it", id) end
    seen[id] = true
  end
end

--- Everything that is wrong; an empty list when nothing is.
---@param world table
---@param options { report?: table, back?: boolean, detach?: boolean, reimport?: boolean, untouched?: boolean }
---                report: of the last command; back: rolled back; untouched: a reimport that found nothing to do
---@return string[]
function M.broken(world, options)
  local list = {}
  local function found(format, ...) list[#list + 1] = format:format(...) end
  local changes, state = world:control("changes").changes, world:control("state")
  local imports, foreign = client_changes(world, changes, options, found)
  journal_writers(world, found)

  local by_others, removed, created = {}, {}, {}
  for _, change in ipairs(changes) do
    if change.what == "remove" then removed[change.id] = true end
    if change.what == "create" then created[change.id] = true end
    if change.by == "other" and change.outside then by_others[change.id] = true end
    if change.by == "other" and change.policy then by_others[change.id] = true end
  end

  local before = {}
  for _, distribution in ipairs(world.before.distributions) do before[distribution.id] = distribution end
  local report = options.report or {}
  local told = set_of(report.left_behind)
  for id in pairs(set_of(report.conflicts, "Id")) do told[id] = true end
  local left_out = world:begun() and set_of(world:plan().left_out, "Id") or {}
  for _, distribution in ipairs(state.distributions) do
    local id, was = distribution.id, before[distribution.id]
    if was and was.config_sha256 ~= distribution.config_sha256 and not by_others[id] then
      found("%s is not what it was outside ViewerCertificate", id)
    end
    if was and was.reference ~= world.old and was.reference ~= distribution.reference then
      found("%s, which does not use the certificate, has another one now", id)
    end
    if options.reimport then
      if was and was.reference ~= distribution.reference and not foreign[id] then found("%s names another certificate", id) end
    elseif not options.back and distribution.reference == world.old and not told[id] and not left_out[id] then
      found("%s is left behind (%s), and that is not reported: %s", id, created[id] and "new" or "old", json.encode(report))
    elseif options.back and imports[distribution.reference] and not told[id] then
      found("%s was not rolled back (%s), and that is not reported", id, created[id] and "new" or "old")
    end
  end

  local tenants = {}
  for _, tenant in ipairs(world.before.tenants) do tenants[tenant.id] = tenant end
  for _, tenant in ipairs(state.tenants) do
    local id, was, certificate = tenant.id, tenants[tenant.id], tenant.certificate
    if was.rest ~= tenant.rest then found("%s is not what it was beside its certificate", id) end
    if (certificate == "") ~= (was.certificate == "") then found("%s has gained or lost a certificate of its own", id) end
    if options.reimport then
      if certificate ~= was.certificate and not foreign[id] then found("%s names another certificate", id) end
    elseif not options.back and certificate == world.old and not told[id] then
      found("tenant %s is left behind, and that is not reported: %s", id, json.encode(report))
    elseif options.back and imports[certificate] and not told[id] then
      found("tenant %s was not rolled back, and that is not reported", id)
    end
  end

  for _, certificate in ipairs(options.reimport and not options.untouched and state.certificates or {}) do
    local wanted = options.back and world.old_fingerprint or world.new_fingerprint
    if certificate.reference == world.old and certificate.fingerprint ~= wanted then
      found("%s holds %s in the end, not %s", world.old, certificate.fingerprint:sub(1, 12), wanted:sub(1, 12))
    end
  end

  for _, failure in ipairs(world.failed) do
    if not removed[world.owners[failure.name]] then found("a viewer of %s was not served: %s", failure.name, failure.why) end
  end
  if state.edge.failures > 0 then found("%d handshakes failed at the edge", state.edge.failures) end
  return list
end

return M
