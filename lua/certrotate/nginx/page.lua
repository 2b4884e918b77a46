--- The status page for people: one HTML document without scripts, that asks for itself again, fits a phone and follows
-- the reader's light or dark setting. Everything that came from AWS or a file is escaped here, once.
local board_module = require("certrotate.nginx.board")
local fmt = require("certrotate.fmt")

local M = {}

local RUNNING, RESTING = 3, 60   -- seconds until the page asks for itself again
local SOON, SOONER = 30 * 86400, 14 * 86400

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }
local function escape(text) return (tostring(text):gsub("[&<>\"']", ENTITIES)) end

local STYLE = [[
:root{color-scheme:light dark;--ink:#1b2430;--dim:#5c6878;--line:#dde3ea;--paper:#fff;--back:#f4f6f9;--good:#1a7f4b;
--warn:#a15c00;--bad:#b42318;--old:#8b98a9;--new:#2563eb;--over:#f59e0b}
@media(prefers-color-scheme:dark){:root{--ink:#e6ebf2;--dim:#98a5b5;--line:#2b3542;--paper:#161d27;--back:#0e131a;
--good:#4cc38a;--warn:#f0b357;--bad:#ff8a7a;--old:#66758a;--new:#6ea0ff;--over:#d98a08}}
*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:64rem;margin:0 auto;padding:1rem}header{display:flex;flex-wrap:wrap;gap:.25rem 1rem;align-items:baseline}
h1{font-size:1.35rem;margin:0}h2{font-size:1rem;margin:0 0 .6rem}.dim{color:var(--dim)}
section{background:var(--paper);border:1px solid var(--line);border-radius:.6rem;padding:1rem;margin:1rem 0;
overflow-x:auto}.badge{font-weight:600;padding:.1rem .6rem;border-radius:1rem;border:1px solid currentColor}
.good{color:var(--good)}.warn{color:var(--warn)}.bad{color:var(--bad)}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(8rem,1fr));gap:.6rem;margin:0 0 1rem}
dt{color:var(--dim);font-size:.8rem}dd{margin:0;font-size:1.05rem;font-weight:600;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%}th{text-align:left;font-size:.8rem;color:var(--dim);font-weight:600}
th,td{padding:.3rem .6rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}
tr:last-child td{border-bottom:0}td.n,th.n{text-align:right}
td.n,td.t{white-space:nowrap}table+h2{margin-top:1rem}code{font-size:.8rem;overflow-wrap:anywhere}
progress{width:100%;height:.6rem;accent-color:var(--new)}summary{cursor:pointer}
pre{font-size:.8rem;white-space:pre-wrap;overflow-wrap:anywhere;margin:.5rem 0 0}
svg{display:block;width:100%;min-width:40rem;height:auto}svg text{font:11px system-ui,sans-serif;fill:var(--ink)}
svg .dim{fill:var(--dim)}
@media(max-width:40rem){main{padding:.5rem}section{padding:.75rem}.wide{display:none}table{font-size:.9rem}}
]]

local function ago(seconds)
  return seconds < 1 and "now" or fmt.duration(math.floor(seconds)) .. " ago"
end

local function left_class(left)
  return left <= SOONER and "bad" or left <= SOON and "warn" or "good"
end

-- What the schedule is doing, in a badge and a sentence.
local function headline(state, now)
  if state.phase == "running" then
    return "warn", "running", ("since %s"):format(fmt.timestamp(state.started))
  end
  if not state.ended then return "dim", "waiting", "no round yet" end
  local sentence = ("last round %s: %s; next %s"):format(ago(now - state.ended), escape(state.message or ""),
    state.next > now and "in " .. fmt.duration(math.ceil(state.next - now)) or "now")
  return state.ok and "good" or "bad", state.ok and "in order" or "needs you", sentence
end

local function waves(out, rotation)
  out('<table><tr><th>Wave</th><th class="n">Holders</th><th class="n">Changed</th><th class="n">Deployed</th>'
    .. '<th class="wide" style="width:40%%">Progress</th></tr>')
  for index, wave in ipairs(rotation.waves) do
    local current = rotation.wave == index
    out('<tr><td>%s%d %s%s</td><td class="n">%d</td><td class="n">%d</td><td class="n">%d</td><td class="wide">'
      .. '<progress max="%d" value="%d"></progress></td></tr>', current and "<strong>" or "", index, escape(wave.name),
      current and "</strong>" or "", wave.total, wave.changed, wave.deployed, math.max(1, 2 * wave.total),
      wave.changed + wave.deployed)
  end
  out("</table>")
end

-- One lane a holder: the old certificate until it was changed, on its way, the new one once Deployed; behind them the
-- time for which both were charged.
local LANES, LANE, LEFT, WIDTH = 60, 16, 190, 760
local function timeline(out, rotation, now)
  local from, to = rotation.started, rotation.ended or now
  if to <= from then return end
  local lanes = {}
  for _, holder in ipairs(rotation.holders) do
    if #lanes < LANES and (holder.changed or holder.problem) then lanes[#lanes + 1] = holder end
  end
  if #lanes == 0 then return end
  local function x(at) return LEFT + (math.min(to, math.max(from, at)) - from) / (to - from) * (WIDTH - LEFT - 8) end
  local height = #lanes * LANE + 24
  out('<h2>Timeline</h2><svg viewBox="0 0 %d %d" role="img" aria-label="When each holder was changed and Deployed">',
    WIDTH, height)
  local overlap = rotation.overlap
  if overlap then
    local a, b = x(overlap.from), x(overlap.to or to)
    out('<rect x="%.1f" y="0" width="%.1f" height="%d" fill="var(--over)" opacity=".22"><title>overlap</title></rect>',
      a, math.max(1, b - a), height - 20)
  end
  for row, holder in ipairs(lanes) do
    local y = (row - 1) * LANE
    local function bar(a, b, colour, opacity)
      if b <= a then return end
      out('<rect x="%.1f" y="%d" width="%.1f" height="%d" rx="2" fill="var(--%s)" opacity="%s"/>', x(a), y + 3,
        math.max(1, x(b) - x(a)), LANE - 6, colour, opacity)
    end
    local name = holder.name or holder.Id
    if #name > 28 then name = name:sub(1, 27) .. "…" end
    out('<text x="0" y="%d">%s<title>%s</title></text>', y + 12, escape(name), escape(holder.Id))
    local changed = holder.changed or to
    bar(from, changed, "old", "1")
    bar(changed, holder.deployed or to, "new", ".45")
    if holder.deployed then bar(holder.deployed, to, "new", "1") end
    if holder.problem then
      out('<text x="%d" y="%d" fill="var(--bad)">!<title>%s</title></text>', LEFT - 10, y + 12, escape(holder.problem))
    end
  end
  out('<text class="dim" x="%d" y="%d">%s</text><text class="dim" x="%d" y="%d" text-anchor="end">%s</text></svg>', LEFT,
    height - 6, fmt.clock(from), WIDTH - 8, height - 6, fmt.clock(to))
  out('<p class="dim">grey: old certificate, pale: on its way to the edge, blue: new certificate%s%s</p>',
    overlap and "; shaded: both charged" or "",
    #rotation.holders > #lanes and (", %d of %s shown"):format(#lanes, fmt.plural(#rotation.holders, "holder")) or "")
end

local function rotation_section(out, rotation, now)
  local changed = 0
  for _, holder in ipairs(rotation.holders) do
    if holder.changed then changed = changed + 1 end
  end
  local seconds, usd = board_module.overlap(rotation, now)
  local class = rotation.phase == "finished" and "good" or rotation.phase == "running" and "warn" or "bad"
  out('<section id="rotation"><h2>%s <span class="badge %s">%s</span></h2>',
    rotation.phase == "running" and "Rotation" or "Last rotation", class, escape(rotation.phase))
  if rotation.message then out('<p class="bad">%s</p>', escape(rotation.message)) end
  out("<dl>")
  local function fact(name, value) out("<div><dt>%s</dt><dd>%s</dd></div>", name, value) end
  fact("Holders changed", ("%d of %d"):format(changed, #rotation.holders))
  fact(rotation.ended and "Took" or "For", fmt.duration((rotation.ended or now) - rotation.started))
  fact("Overlap", fmt.duration(seconds))
  fact("Charge", fmt.money(usd))
  out('</dl><p>replaces <code>%s</code>%s</p>', escape(rotation.from or "the default certificate"),
    rotation.to and " with <code>" .. escape(rotation.to) .. "</code>" or "")
  waves(out, rotation)
  local problems = 0
  for _, holder in ipairs(rotation.holders) do
    if holder.problem then
      problems = problems + 1
      out('<p class="bad">%s: %s</p>', escape(holder.Id), escape(holder.problem))
    end
    if problems == 20 then break end
  end
  timeline(out, rotation, now)
  if #rotation.events > 0 then
    out("<details%s><summary>What happened (%s)</summary><pre>", rotation.phase == "running" and " open" or "",
      fmt.plural(#rotation.events, "line"))
    for i = #rotation.events, 1, -1 do out("%s\n", escape(rotation.events[i])) end
    out("</pre></details>")
  end
  out("</section>")
end

local function certificates_section(out, inventory, now)
  out('<section id="certificates"><h2>Certificates</h2>')
  for _, problem in ipairs(inventory.errors) do out('<p class="bad">not read: %s</p>', escape(problem)) end
  out('<table><tr><th>Name</th><th class="wide">Store</th><th class="wide">Ends</th><th class="n">Left</th>'
    .. '<th class="n">Holders</th></tr>')
  for _, certificate in ipairs(inventory.certificates) do
    local left = certificate.not_after and certificate.not_after - now
    out('<tr><td>%s<br><code class="dim">%s</code></td><td class="wide">%s</td><td class="wide t">%s</td>'
      .. '<td class="n %s">%s</td><td class="n">%d%s</td></tr>', escape(certificate.name), escape(certificate.reference),
      escape(certificate.store), certificate.not_after and fmt.date(certificate.not_after) or "?",
      left and left_class(left) or "dim",
      not left and "?" or left <= 0 and "expired" or fmt.plural(math.floor(left / 86400), "day"), certificate.holders,
      certificate.dedicated_ip > 0 and ('<br><span class="dim">%d dedicated IP</span>'):format(certificate.dedicated_ip) or "")
  end
  out("</table></section>")
end

local function holders_section(out, inventory)
  out('<section id="holders"><details><summary>%s</summary><table><tr><th>Holder</th><th>Name</th>'
    .. '<th class="wide">Certificate</th><th>Status</th></tr>', fmt.plural(#inventory.holders, "holder"))
  for _, holder in ipairs(inventory.holders) do
    local traits = { holder.Status }
    if holder.dedicated_ip then traits[#traits + 1] = "dedicated IP" end
    if not holder.Enabled then traits[#traits + 1] = "disabled" end
    if holder.Staging then traits[#traits + 1] = "staging" end
    out('<tr><td><code>%s</code></td><td>%s</td><td class="wide"><code>%s</code></td><td>%s</td></tr>', escape(holder.Id),
      escape(holder.name), escape(holder.reference), escape(table.concat(traits, ", ")))
  end
  out("</table></details></section>")
end

---@param board certrotate.nginx.Board
---@param now number
---@return string
function M.html(board, now)
  local state = board:read("state") or { phase = "idle" }
  local inventory, rotation = board:read("inventory"), board:read("rotation")
  local parts = {}
  local function out(text, ...) parts[#parts + 1] = select("#", ...) > 0 and text:format(...) or (text:gsub("%%%%", "%%")) end
  local class, badge, sentence = headline(state, now)
  out('<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>certrotate: %s</title>'
    .. '<meta name="viewport" content="width=device-width,initial-scale=1"><meta http-equiv="refresh" content="%d">'
    .. "<style>%s</style></head><body><main>", badge, state.phase == "running" and RUNNING or RESTING, STYLE)
  out('<header><h1>certrotate</h1><span class="badge %s">%s</span><span class="dim">%s</span></header>', class, badge,
    sentence)
  if rotation then rotation_section(out, rotation, now) end
  if inventory then
    certificates_section(out, inventory, now)
    holders_section(out, inventory)
    out('<p class="dim">inventory of %s, %s</p>', fmt.timestamp(inventory.taken_at), ago(now - inventory.taken_at))
  elseif not rotation then
    out('<section class="dim">Nothing to show before the first round.</section>')
  end
  out("</main></body></html>\n")
  return table.concat(parts)
end

return M
