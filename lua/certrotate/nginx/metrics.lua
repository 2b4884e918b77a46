--- Prometheus metrics, text format 0.0.4: base units, `_total` for what only grows, times as Unix seconds, so that
-- "certificate ends within 14 days" is `certrotate_certificate_not_after_seconds - time() < 14 * 86400`.
local board_module = require("certrotate.nginx.board")
local fmt = require("certrotate.fmt")

local M = {}

local function escaped(value)
  return (tostring(value):gsub("\\", "\\\\"):gsub('"', '\\"'):gsub("\n", "\\n"))
end

-- Collects families: each with its HELP and TYPE once, samples after it.
local function writer()
  local lines = {}
  local function family(name, kind, help, samples)
    if #samples == 0 then return end
    lines[#lines + 1] = ("# HELP %s %s"):format(name, help)
    lines[#lines + 1] = ("# TYPE %s %s"):format(name, kind)
    for _, sample in ipairs(samples) do
      local labels = {}
      for i = 2, #sample, 2 do labels[#labels + 1] = ('%s="%s"'):format(sample[i], escaped(sample[i + 1])) end
      lines[#lines + 1] = ("%s%s %s"):format(name, #labels > 0 and "{" .. table.concat(labels, ",") .. "}" or "",
        fmt.exact(sample[1]))
    end
  end
  return family, function() return table.concat(lines, "\n") .. "\n" end
end

local PHASES = { "running", "finished", "interrupted", "stopped" }

local function of_state(family, board, state)
  family("certrotate_round_running", "gauge", "Whether a round of the schedule is running.",
    { { state.phase == "running" and 1 or 0 } })
  family("certrotate_rounds_total", "counter", "Rounds of the schedule that were begun.", { { board:counted("rounds") } })
  family("certrotate_round_failures_total", "counter", "Rounds that failed or were interrupted.",
    { { board:counted("rounds_failed") } })
  if state.ended then
    family("certrotate_last_round_success", "gauge", "Whether the last round ended well.", { { state.ok and 1 or 0 } })
    family("certrotate_last_round_timestamp_seconds", "gauge", "When the last round ended.", { { state.ended } })
  end
end

local function of_inventory(family, inventory)
  local ends, holders, dedicated = {}, {}, {}
  for _, certificate in ipairs(inventory.certificates) do
    local reference = certificate.reference
    if certificate.not_after then
      ends[#ends + 1] = { certificate.not_after, "reference", reference, "store", certificate.store,
                          "name", certificate.name }
    end
    holders[#holders + 1] = { certificate.holders, "reference", reference }
    dedicated[#dedicated + 1] = { certificate.dedicated_ip, "reference", reference }
  end
  family("certrotate_certificate_not_after_seconds", "gauge", "When a stored certificate ends, Unix time.", ends)
  family("certrotate_certificate_holders", "gauge", "Holders that name a stored certificate.", holders)
  family("certrotate_certificate_dedicated_ip_holders", "gauge", "Of these, with dedicated IP addresses.", dedicated)
  family("certrotate_inventory_timestamp_seconds", "gauge", "When the inventory was taken.", { { inventory.taken_at } })
  family("certrotate_inventory_complete", "gauge", "Whether every listing could be read.",
    { { inventory.complete and 1 or 0 } })
end

local function of_rotation(family, rotation, now)
  local changed, deployed, problems = 0, 0, 0
  for _, holder in ipairs(rotation.holders) do
    if holder.changed then changed = changed + 1 end
    if holder.deployed then deployed = deployed + 1 end
    if holder.problem then problems = problems + 1 end
  end
  local phases = {}
  for _, phase in ipairs(PHASES) do phases[#phases + 1] = { rotation.phase == phase and 1 or 0, "phase", phase } end
  family("certrotate_rotation_phase", "gauge", "The running or last rotation: 1 for its phase.", phases)
  family("certrotate_rotation_holders", "gauge", "Holders of the running or last rotation, by what became of them.", {
    { #rotation.holders, "state", "planned" }, { changed, "state", "changed" }, { deployed, "state", "deployed" },
    { problems, "state", "left" } })
  family("certrotate_rotation_wave", "gauge", "The running wave; 0 when none runs.", { { rotation.wave or 0 } })
  local seconds, usd = board_module.overlap(rotation, now)
  family("certrotate_rotation_overlap_seconds", "gauge",
    "Both certificates on charged dedicated-IP holders, so far.", { { seconds } })
  family("certrotate_rotation_charge_usd", "gauge", "Charge of that overlap, so far.", { { usd } })
end

---@param board certrotate.nginx.Board
---@param now number
---@return string
function M.text(board, now)
  local family, text = writer()
  of_state(family, board, board:read("state") or { phase = "idle" })
  local inventory, rotation = board:read("inventory"), board:read("rotation")
  if inventory then of_inventory(family, inventory) end
  if rotation then of_rotation(family, rotation, now) end
  family("certrotate_rotations_total", "counter", "Runs of rotations that were begun or gone on with.",
    { { board:counted("rotations") } })
  family("certrotate_holders_changed_total", "counter", "Holders that were given a new certificate.",
    { { board:counted("holders_changed") } })
  family("certrotate_holder_failures_total", "counter", "Failed changes of a holder.",
    { { board:counted("holders_failed") } })
  family("certrotate_overlap_seconds_total", "counter", "Overlap of finished rotations.",
    { { board:counted("overlap_seconds") } })
  family("certrotate_charge_usd_total", "counter", "Charge of finished rotations.", { { board:counted("charge_usd") } })
  return text()
end

return M
