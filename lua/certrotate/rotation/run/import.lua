--- The first stage of a run: the new certificate is in its store, once, and locked.
local inventory_module = require("certrotate.rotation.inventory")
local preflight = require("certrotate.rotation.preflight")
local stopped = require("certrotate.rotation.run.base").stopped

-- Whether the certificate an earlier run imported is still there.
local function still_stored(run, reference)
  local plan, aws = run.plan, run.aws
  if plan.store == "acm" then
    local got, err = aws.acm:describe_certificate({ CertificateArn = reference })
    if got then return true end
    if err.code == "ResourceNotFoundException" then return false end
    return nil, err
  end
  local list, err = inventory_module.list_iam(aws)
  if not list then return nil, err end
  for _, certificate in ipairs(list) do
    if certificate.reference == reference then return true end
  end
  return false
end

-- What an earlier run imported: true when it is there, false when importing is still to be done.
local function imported(run)
  local state = run.state
  if not state.to then return false end
  local there, err = still_stored(run, state.to)
  if there == nil then return nil, err end
  if not there and next(state.swapped) then
    return nil, stopped("NewCertificateGone", ("%s was deleted although holders had been given it: somebody undid this "
      .. "rotation; make a new plan"):format(state.to))
  end
  return there
end

-- Nobody else may replace or retire the new certificate while holders are moved to it.
local function use(run, reference)
  if reference == run.plan.from then
    return nil, stopped("SameCertificate", reference .. " already is this certificate; there is nothing to replace")
  end
  local ok, err = run.locks:take(reference)
  if not ok then return nil, err end
  run.state.to = reference
  return true
end

--- Imports the certificate of the plan, or finds it imported. Afterwards `run.state.to` names it.
---@param run certrotate.Run
---@return boolean? ok
---@return certrotate.Error?
return function(run)
  local state, plan = run.state, run.plan
  local there, err = imported(run)
  if there == nil then return nil, err end
  if there then return use(run, state.to) end
  local identity = run.identity
  if not identity then
    identity, err = preflight.identity(plan, run.options.identity, run.options.passphrase)
    if not identity then return nil, err end
  end
  local ok
  ok, err = preflight.valid(run.aws, plan, identity)
  if not ok then return nil, err end
  local attempted = state.import_open
  ok, err = run:record({ event = "intent", step = "import" })
  if not ok then return nil, err end
  local settings = plan.settings
  local result
  result, err = run:await("import", {
    store = plan.store, name = settings.name, path = settings.path, attempted = attempted, tags = run.options.tags,
  }, identity)
  local kept = result and { reference = result.reference, adopted = result.adopted, name = result.name }
  local recorded, why = run:outcome({ step = "import" }, kept, err)
  if not result then return nil, err end
  if not recorded then return nil, why end
  state.adopted = result.adopted
  ok, err = use(run, result.reference)
  if not ok then return nil, err end
  run:emit("import", { reference = result.reference, adopted = result.adopted, store = plan.store })
  return true
end
