-- A simulated account for a spec, and what must hold after anything was done to it.
local certrotate = require("certrotate")
local command = require("spec.support.command")
local launch = require("certrotate.simulator.launch")

local M = {}

---@param options table  of launch.start
---@param more? table     of it too; these win
function M.start(options, more)
  local all, settings = {}, { vip_quota = 4 }
  for _, list in ipairs({ options, more or {} }) do
    for key, value in pairs(list) do all[key] = value end
  end
  for key, value in pairs(all.settings or {}) do settings[key] = value end
  all.settings = settings
  local simulator, err = launch.start(all)
  assert(simulator, tostring(err))
  return setmetatable({ simulator = simulator, directory = command.directory(), sessions = {} }, { __index = M })
end

--- Ends the simulator and every session with it.
function M:stop()
  for _, aws in ipairs(self.sessions) do aws:close() end
  self.simulator:stop()
  command.remove(self.directory)
end

function M:path(name) return self.directory .. "/" .. name end

function M:connect(overrides)
  local simulator = self.simulator
  local options = {
    endpoint_url = simulator.endpoint, ca_file = simulator.ca_file, region = "us-east-1", edge = simulator.edge,
    access_key_id = simulator.access_key_id, secret_access_key = simulator.secret_access_key, environment = {},
    poll = 0.1, driver = "block",
  }
  for key, value in pairs(overrides or {}) do options[key] = value end
  local aws, err = certrotate.connect(options)
  self.sessions[#self.sessions + 1] = aws
  return aws, err
end

--- Another session for one that is done with, as another process would have it.
function M:again(aws)
  aws:close()
  return assert(self:connect())
end

function M:new_identity()
  local files = self.simulator.files
  return assert(certrotate.identity({ certificate = files.new_certificate, private_key = files.new_key,
                                      chain = files.new_chain }))
end

--- A plan to replace the main certificate by the new one, without looking at the edge; `options` override.
function M:plan(aws, policy, options)
  local files = self.simulator.files
  local all = {
    replace = self.simulator.old_reference, with = self:new_identity(), policy = policy, verify = false,
    trust = self.simulator.trust_file, dedicated_ip_quota = 4,
    files = { certificate = files.new_certificate, private_key = files.new_key, chain = files.new_chain },
  }
  for key, value in pairs(options or {}) do all[key] = value end
  return assert(aws:plan(all))
end

--- Options of a run whose files lie in this fleet's folder; `more` override.
function M:run_options(more)
  local all = { journal = self:path("journal"), state_directory = self:path("state"), poll = 0.05 }
  for key, value in pairs(more or {}) do all[key] = value end
  return all
end

--- Environment of a command that talks to this account.
function M:environment(overrides)
  local environment = self.simulator:environment()
  environment.CERTROTATE_STATE = self:path("state")
  for key, value in pairs(overrides or {}) do environment[key] = value end
  return environment
end

--- Flags every command against this account takes.
function M:flags(list)
  local argv = {}
  for i, word in ipairs(list) do argv[i] = word end
  for _, word in ipairs({ "--endpoint-url", self.simulator.endpoint, "--edge", self.simulator.edge,
                          "--trust", self.simulator.trust_file }) do
    argv[#argv + 1] = word
  end
  return argv
end

function M:identity_flags(list)
  local files = self.simulator.files
  local argv = self:flags(list)
  for _, word in ipairs({ "--certificate", files.new_certificate, "--private-key", files.new_key, "--chain",
                          files.new_chain, "--replace", self.simulator.old_reference, "--dedicated-ip-quota", "4" }) do
    argv[#argv + 1] = word
  end
  return argv
end

function M:run(argv, options)
  options = options or {}
  return command.run(argv, { environment = self:environment(options.environment), timeout = options.timeout })
end

--- Puts a multi-tenant distribution into the account, behind our back; returns its id.
---@param reference string   of the ACM certificate its tenants live off
function M:multi_tenant(reference)
  self.added = (self.added or 0) + 1
  local text = require("certrotate.simulator.seed_template").write({
    caller_reference = "multi-tenant-" .. self.added, aliases = {}, enabled = true, staging = false, policy = "",
    http_version = "http2", behaviors = 1, comment = "multi-tenant", origin = "origin.example.net",
    viewer = { store = "acm", reference = reference, method = "sni-only", minimum = "TLSv1.2_2021" },
    connection_mode = "tenant-only",
  })
  return assert(self.simulator:control("distributions", text)).id
end

--- Puts a distribution tenant into the account; returns its id.
---@param parent string         id of a multi-tenant distribution
---@param domains string[]
---@param reference? string     of a certificate of its own
function M:tenant(parent, domains, reference)
  return assert(self.simulator:control("tenants", { distribution = parent, domains = domains, certificate = reference })).id
end

function M:state() return assert(self.simulator:control("state")) end
function M:record() return assert(self.simulator:control("record")) end

--- Configurations outside ViewerCertificate, by id.
function M:configurations()
  local list = {}
  for _, distribution in ipairs(self:state().distributions) do list[distribution.id] = distribution.config_sha256 end
  return list
end

--- What the simulator knows of one distribution.
function M:distribution(id)
  for _, one in ipairs(self:state().distributions) do
    if one.id == id then return one end
  end
end

--- Somebody else's certificate that covers the same names, in the same store; returns its reference.
function M:third()
  local files = self.simulator.files
  return (assert(self.simulator:control("certificates", {
    certificate = command.read(files.new_certificate), private_key = command.read(files.new_key),
    chain = command.read(files.new_chain), type = "AMAZON_ISSUED",
    reference = "arn:aws:acm:us-east-1:111122223333:certificate/33333333-3333-4333-8333-333333333333",
  })).reference)
end

--- Ids on a reference, in this account or another.
function M:on(reference, account)
  local list = {}
  local state = account and assert(self.simulator:control("state?account=" .. account)) or self:state()
  for _, distribution in ipairs(state.distributions) do
    if distribution.reference == reference then list[#list + 1] = distribution.id end
  end
  table.sort(list)
  return list
end

--- The certificate of most distributions, and the files' name ("new", "old") of the one to replace it by.
---@return string reference
---@return string which
function M:most_used()
  local count, current = {}, nil
  for _, distribution in ipairs(self:state().distributions) do
    local reference = distribution.reference or ""
    count[reference] = (count[reference] or 0) + 1
    if reference ~= "" and (not current or count[reference] > count[current]) then current = reference end
  end
  return current, current == self.simulator.old_reference and "new" or "old"
end

--- Another account, with a role that may be assumed, a certificate in its ACM and distributions on it.
---@param account string     12 digits
---@param which string       "old" or "new": the simulator's certificate
---@param count integer
---@return string reference
---@return string role       ARN
function M:other_account(account, which, count)
  local simulator, files, role = self.simulator, self.simulator.files, "arn:aws:iam::" .. account .. ":role/CertRotator"
  assert(simulator:control("roles", { arn = role }))
  local reference = assert(simulator:control("certificates?account=" .. account, {
    certificate = command.read(files[which .. "_certificate"]), private_key = command.read(files[which .. "_key"]),
    chain = command.read(files[which .. "_chain"]),
  })).reference
  local text = require("certrotate.simulator.seed_template").write({
    caller_reference = account, aliases = {}, enabled = true, staging = false, policy = "", http_version = "http2",
    behaviors = 1, comment = "of " .. account, origin = "origin.example.net",
    viewer = { store = "acm", reference = reference, method = "sni-only", minimum = "TLSv1.2_2021" },
  })
  for i = 1, count do
    assert(simulator:control(("distributions?account=%s&id=E%s%d"):format(account, account:sub(1, 6), i), text))
  end
  return reference, role
end

--- Another client gives a distribution another certificate (or changes anything else by `edit`), behind our back.
---@param id string
---@param from string
---@param to string
function M:interfere(id, from, to)
  local config = assert(self.simulator:control("distributions/" .. id)).config
  local at, stop = config:find(from, 1, true)
  assert(at, id .. " does not name " .. from)
  while at do
    config = config:sub(1, at - 1) .. to .. config:sub(stop + 1)
    at, stop = config:find(from, at + #to, true)
  end
  assert(self.simulator:control("distributions/" .. id, config))
end

--- One request of another client to CloudFront, signed.
---@param method string
---@param path string        below /2020-05-31
---@param options? { headers?: table, body?: string }
---@return table answer      status, body
function M:cloudfront(method, path, options)
  local core = require("certrotate.core")
  local simulator, body = self.simulator, options and options.body or ""
  local request = {
    method = method, url = simulator.endpoint .. "/2020-05-31" .. path, service = "cloudfront",
    region = "us-east-1", access_key_id = simulator.access_key_id, secret_access_key = simulator.secret_access_key,
    time = math.floor(simulator:control("clock").now), headers = options and options.headers or {}, body = body,
  }
  local headers = {}
  for name, value in pairs(request.headers) do headers[name] = value end
  for name, value in pairs(assert(core.sign(request))) do
    if type(name) == "number" then name, value = value[1], value[2] end
    headers[name] = value
  end
  local aws = assert(self:connect({ anonymous = true }))
  local answer = assert(aws.loop:await({ http = { url = request.url, method = method, headers = headers, body = body } }))
  aws:close()
  return answer
end

--- Another client disables a distribution and deletes it.
function M:delete(id)
  self:interfere(id, "<Enabled>true</Enabled>", "<Enabled>false</Enabled>")
  assert(self.simulator:control("clock", { pass = 60 }))
  local etag = self.simulator:control("distributions/" .. id).etag
  local answer = self:cloudfront("DELETE", "/distribution/" .. id, { headers = { ["If-Match"] = etag } })
  assert(answer.status == 204, answer.body)
end

--- Another client promotes a staging distribution. Returns the answer's status and body.
---@param primary string
---@param staging string
---@return integer
---@return string
function M:promote(primary, staging)
  local etags = {}
  for i, id in ipairs({ primary, staging }) do etags[i] = self.simulator:control("distributions/" .. id).etag end
  local answer = self:cloudfront("PUT", ("/distribution/%s/promote-staging-config?StagingDistributionId=%s"):format(primary,
    staging), { headers = { ["If-Match"] = table.concat(etags, ", ") } })
  return answer.status, answer.body
end

--- Gives a distribution a tag.
function M:tag(id, key, value)
  local answer = self:cloudfront("POST", "/tagging?Operation=Tag&Resource=" .. ("arn:aws:cloudfront::%s:distribution/%s"):format(
    self:account_id(), id):gsub("[:/]", function(c) return ("%%%02X"):format(c:byte()) end), {
    body = "<Tags xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><Items><Tag><Key>" .. key .. "</Key><Value>"
      .. value .. "</Value></Tag></Items></Tags>",
  })
  assert(answer.status == 204, answer.body)
end

--- The account's number.
function M:account_id() return self.simulator.old_reference:match("^arn:aws:acm:[^:]*:(%d+):") end

return M
