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
      if change.reference ~= world.old then found("%s was deleted, not the old certificate", change.reference) end
    end
  end
end

--- Everything that is wrong; an empty list when nothing is.
---@param world table
---@param options { report?: table, back?: boolean, detach?: boolean, reimport?: boolean }   report: of the last command;
---                back: rolled back
---@return string[]
function M.broken(world, options)
  local list = {}
  local function found(format, ...) list[#list + 1] = format:format(...) end
  local changes, state = world:control("changes").changes, world:control("state")
  client_changes(world, changes, options, found)

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
      if was and was.reference ~= distribution.reference then found("%s names another certificate", id) end
    elseif not options.back and distribution.reference == world.old and not told[id] and not left_out[id] then
      found("%s is left behind (%s), and that is not reported: %s", id, created[id] and "new" or "old", json.encode(report))
    elseif options.back and was and was.reference == world.old and distribution.reference ~= world.old and not told[id] then
      found("%s was not rolled back, and that is not reported", id)
    end
  end

  for _, certificate in ipairs(options.reimport and state.certificates or {}) do
    local wanted = options.back and world.old_fingerprint or world.new_fingerprint
    if certificate.reference == world.old and certificate.fingerprint ~= wanted then
      found("%s holds %s in the end, not %s", world.old, certificate.fingerprint:sub(1, 12), wanted:sub(1, 12))
    end
  end

  local owners = {}
  for _, distribution in ipairs(world.before.distributions) do
    for _, alias in ipairs(distribution.aliases) do owners[alias] = distribution.id end
  end
  for _, failure in ipairs(world.failed) do
    if not removed[owners[failure.name]] then found("a viewer of %s was not served: %s", failure.name, failure.why) end
  end
  if state.edge.failures > 0 then found("%d handshakes failed at the edge", state.edge.failures) end
  return list
end

return M
