-- Which of AWS's partitions the simulated account lives in, by its region: what its ARNs begin with, and for which
-- regions requests to its services may be signed. Pure.
local M = {}

-- Services with one endpoint a partition, and the region it is signed for. In `aws` that is not insisted on: boto3 with
-- an endpoint of the user's own signs for the region it was given.
local global = {
  aws = {},
  ["aws-cn"] = { cloudfront = "cn-northwest-1", iam = "cn-north-1" },
}

---@param sim certrotate.simulator.Simulation
---@return "aws"|"aws-cn"
function M.of(sim)
  return tostring(sim.options.region or ""):find("^cn%-") and "aws-cn" or "aws"
end

--- Whether a request to a service may be signed for this region.
---@param sim certrotate.simulator.Simulation
---@param service string
---@param region string
---@return boolean
function M.signs(sim, service, region)
  local partition = M.of(sim)
  local only = global[partition][service]
  if only then
    return region == only
  end
  return region:match("^%l%l%l?%l?%-[%l%-]+%-%d+$") ~= nil and (region:find("^cn%-") ~= nil) == (partition == "aws-cn")
end

return M
