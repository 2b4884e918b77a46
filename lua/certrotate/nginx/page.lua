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
--warn:#a15c00;--bad:#b42318;--old:#a3adba;--way:#9db8f5;--new:#2563eb;--over:#fde4b4}
@media(prefers-color-scheme:dark){:root{--ink:#e6ebf2;--dim:#98a5b5;--line:#2b3542;--paper:#161d27;--back:#0e131a;
--good:#4cc38a;--warn:#f0b357;--bad:#ff8a7a;--old:#566373;--way:#35548f;--new:#6ea0ff;--over:#5c4413}}
*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:66rem;margin:0 auto;padding:1rem}header{display:flex;flex-wrap:wrap;gap:.25rem 1rem;align-items:baseline}
h1{font-size:1.35rem;margin:0}h2{font-size:1rem;margin:0 0 .6rem}h2:not(:first-child){margin-top:1.2rem}
p{margin:.6rem 0}a{color:var(--new)}.dim{color:var(--dim)}
section{background:var(--paper);border:1px solid var(--line);border-radius:.6rem;padding:1rem;margin:1rem 0}
.badge{font-size:.9rem;font-weight:600;padding:.1rem .6rem;border-radius:1rem;border:1px solid currentColor}
.good{color:var(--good)}.warn{color:var(--warn)}.bad{color:var(--bad)}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(8rem,1fr));gap:.6rem;margin:0 0 1rem}
dt{color:var(--dim);font-size:.8rem}dd{margin:0;font-size:1.05rem;font-weight:600;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%}th{text-align:left;font-size:.8rem;color:var(--dim);font-weight:600}
th,td{padding:.3rem .9rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th:last-child,td:last-child{padding-right:0}tr:last-child td{border-bottom:0}
.n{text-align:right}td.n,td.t{white-space:nowrap}td{overflow-wrap:anywhere}
code{font-size:.75rem;overflow-wrap:anywhere}td code{display:block}summary{cursor:pointer}
progress{appearance:none;display:block;width:100%;height:.5rem;margin-top:.45rem;border:0;border-radius:.25rem;
overflow:hidden;background:var(--line)}
::-webkit-progress-bar{background:var(--line)}::-webkit-progress-value{background:var(--new)}
::-moz-progress-bar{background:var(--new)}
pre{font-size:.8rem;white-space:pre-wrap;overflow-wrap:anywhere;margin:.5rem 0 0;max-height:20rem;overflow-y:auto}
.lane{display:grid;grid-template-columns:minmax(0,12rem) 1fr;gap:.8rem;font-size:.8rem;line-height:1.1rem}
.lane>span{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}.lane>div{position:relative;display:flex;
justify-content:space-between}.lane i{position:absolute;top:.2rem;bottom:.2rem;border-radius:2px}
.key{white-space:nowrap;margin-right:1rem}.key i{display:inline-block;width:.8rem;height:.8rem;border-radius:2px;
margin-right:.4rem;vertical-align:-.1rem}.old{background:var(--old)}.way{background:var(--way)}.new{background:var(--new)}
.over{background:var(--over)}.lane i.over{top:0;bottom:0;border-radius:0}.narrow{display:none}
@media(min-width:68rem){td code,td:last-child{white-space:nowrap}}
@media(max-width:40rem){main{padding:.5rem}section{padding:.75rem}.wide{display:none}.narrow{display:inline}
table{font-size:.9rem}th,td{padding-right:0}th+th,td+td{padding-left:.5rem}
.lane{grid-template-columns:minmax(0,8.5rem) 1fr}
.cards tr{display:grid;grid-template-columns:1fr auto;padding:.4rem 0;border-bottom:1px solid var(--line)}
.cards tr:first-child{display:none}.cards tr:last-child{border-bottom:0}.cards td{border:0;padding:0}
.cards td:first-child{display:contents}.cards td:not(:first-child){order:1}.cards code{order:3;grid-column:1/3}
.cards td:last-child{order:2;grid-column:1/3;text-align:left;white-space:normal;color:var(--dim)}
.cards br{display:none}}
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
    .. '<th class="wide" style="width:50%%">Progress</th></tr>')
  for index, wave in ipairs(rotation.waves) do
    local current = rotation.wave == index
    out('<tr><td class="t">%s%d %s%s</td><td class="n">%d</td><td class="n">%d</td><td class="n">%d</td>'
      .. '<td class="wide"><progress max="%d" value="%d"></progress></td></tr>', current and "<strong>" or "", index,
      escape(wave.name), current and "</strong>" or "", wave.total, wave.changed, wave.deployed,
      math.max(1, 2 * wave.total), wave.changed + wave.deployed)
  end
  out("</table>")
end

-- One lane a holder: the old certificate until it was changed, on its way, the new one once Deployed; behind them the
-- time for which both were charged.
local LANES = 60
local function timeline(out, rotation, now)
  local from, to = rotation.started, rotation.ended or now
  if to <= from or #rotation.holders == 0 then return end
  local overlap = rotation.overlap
  local function bar(a, b, class, title)
    a, b = math.max(a, from), math.min(b, to)
    if b < a or b == a and class ~= "over" then return end
    out('<i class="%s" title="%s" style="left:%.2f%%;width:max(1px,%.2f%%)"></i>', class, title,
      (a - from) / (to - from) * 100, (b - a) / (to - from) * 100)
  end
  out('<h2>Timeline</h2><div role="img" aria-label="When each holder was changed and Deployed">')
  for row, holder in ipairs(rotation.holders) do
    if row > LANES then break end
    out('<div class="lane"><span%s title="%s">%s</span><div>', holder.problem and ' class="bad"' or "",
      escape(holder.problem and holder.Id .. ": " .. holder.problem or holder.Id), escape(holder.name or holder.Id))
    if overlap then bar(overlap.from, overlap.to or to, "over", "both certificates charged") end
    local changed = holder.changed or to
    bar(from, changed, "old", "old certificate")
    bar(changed, holder.deployed or to, "way", "on its way to the edge")
    bar(holder.deployed or to, to, "new", "new certificate")
    out("</div></div>")
  end
  out('<div class="lane dim"><span></span><div><span>%s</span><span>%s</span></div></div></div><p class="dim">',
    fmt.clock(from), fmt.clock(to))
  local function key(class, text) out('<span class="key"><i class="%s"></i>%s</span> ', class, text) end
  key("old", "old certificate")
  key("way", "on its way to the edge")
  key("new", "new certificate")
  if overlap then key("over", "both charged") end
  if #rotation.holders > LANES then
    out("<br>%d of %s shown", LANES, fmt.plural(#rotation.holders, "holder"))
  end
  out("</p>")
end

-- A log's line; the date of today goes without saying.
local function line(text, now)
  local date, rest = text:match("^(%d+%-%d+%-%d+)T(.*)$")
  if date ~= fmt.date(now) then return text end
  return (rest:gsub("^(%d+:%d+:%d+)Z", "%1"))
end

local function rotation_section(out, rotation, now)
  local changed = 0
  for _, holder in ipairs(rotation.holders) do
    if holder.changed then changed = changed + 1 end
  end
  local seconds, usd = board_module.overlap(rotation, now)
  local running = rotation.phase == "running"
  local class = rotation.phase == "finished" and "good" or running and "warn" or "bad"
  out('<section id="rotation"><h2>%s <span class="badge %s">%s</span></h2>',
    running and "Rotation" or "Last rotation", class, running and rotation.wave
    and ("wave %d of %d"):format(rotation.wave, #rotation.waves) or escape(rotation.phase))
  if rotation.message then out('<p class="bad">%s</p>', escape(rotation.message)) end
  out("<dl>")
  local function fact(name, value) out("<div><dt>%s</dt><dd>%s</dd></div>", name, value) end
  fact("Holders changed", ("%d of %d"):format(changed, #rotation.holders))
  fact(rotation.ended and "Took" or "For", fmt.duration((rotation.ended or now) - rotation.started))
  fact("Overlap", fmt.duration(seconds))
  fact("Charge", fmt.money(usd))
  out('</dl><p>replaces <code>%s</code>%s</p>', escape(rotation.from or "the default certificate"),
    rotation.to and "<br>with <code>" .. escape(rotation.to) .. "</code>" or "")
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
    out("<details%s><summary>What happened (%s)</summary><pre>", running and " open" or "",
      fmt.plural(#rotation.events, "line"))
    for i = #rotation.events, 1, -1 do out("%s\n", escape(line(rotation.events[i], now))) end
    out("</pre></details>")
  end
  out("</section>")
end

local function certificates_section(out, inventory, now)
  out('<section id="certificates"><h2>Certificates</h2>')
  for _, problem in ipairs(inventory.errors) do out('<p class="bad">not read: %s</p>', escape(problem)) end
  local certificates = {}
  for i, certificate in ipairs(inventory.certificates) do certificates[i] = certificate end
  table.sort(certificates, function(a, b)
    local left, right = a.not_after or math.huge, b.not_after or math.huge
    if left ~= right then return left < right end
    return a.reference < b.reference
  end)
  out('<table class="cards"><tr><th>Name</th><th class="wide">Store</th><th class="wide">Ends</th>'
    .. '<th class="n">Left</th><th class="n">Holders</th></tr>')
  for _, certificate in ipairs(certificates) do
    local left = certificate.not_after and certificate.not_after - now
    out('<tr><td><span>%s</span><code class="dim">%s</code></td><td class="wide">%s</td><td class="wide t">%s</td>'
      .. '<td class="n %s">%s</td><td class="n">%d%s%s</td></tr>', escape(certificate.name),
      escape(certificate.reference), escape(certificate.store),
      certificate.not_after and fmt.date(certificate.not_after) or "?",
      left and left_class(left) or "dim",
      not left and "?" or left <= 0 and "expired" or fmt.plural(math.floor(left / 86400), "day"), certificate.holders,
      certificate.holders == 1 and '<span class="narrow"> holder</span>' or '<span class="narrow"> holders</span>',
      certificate.dedicated_ip > 0 and ('<span class="narrow">, </span><br><span class="dim">%d dedicated IP</span>')
        :format(certificate.dedicated_ip) or "")
  end
  out("</table></section>")
end

-- Of an ARN what tells it from its neighbours; the whole stands with the certificates.
local function last_part(reference)
  local tail = reference:match("^arn:.*%-(%x+)$")
  return tail and "…" .. tail or reference
end

-- A page that asks for itself again forgets what was folded out: what is to be seen is in its address.
local FEW = 25
local function holders_section(out, inventory, all)
  local holders, count, names = {}, #inventory.holders, {}
  for _, certificate in ipairs(inventory.certificates) do names[certificate.reference] = certificate.name end
  for i, holder in ipairs(inventory.holders) do holders[i] = holder end
  table.sort(holders, function(a, b)
    if a.name ~= b.name then return a.name < b.name end
    return a.Id < b.Id
  end)
  out('<section id="holders"><h2>%s</h2><table class="cards"><tr><th>Name</th><th class="wide">Certificate</th>'
    .. "<th>Status</th></tr>", fmt.plural(count, "holder"))
  for i = 1, all and count or math.min(count, FEW) do
    local holder = holders[i]
    local traits = { holder.Status }
    if holder.dedicated_ip then traits[#traits + 1] = "dedicated IP" end
    if not holder.Enabled then traits[#traits + 1] = "disabled" end
    if holder.Staging then traits[#traits + 1] = "staging" end
    out('<tr><td><span>%s</span><code class="dim">%s</code></td><td class="wide">%s<code class="dim" '
      .. 'title="%s">%s</code></td><td>%s</td></tr>', escape(holder.name), escape(holder.Id),
      escape(names[holder.reference] or ""), escape(holder.reference), escape(last_part(holder.reference)),
      escape(table.concat(traits, ", ")))
  end
  out("</table>")
  if count > FEW then
    out(all and '<p><a href="?#holders">the first %d only</a></p>'
      or '<p><a href="?holders=all#holders">all of them</a>; these are the first %d</p>', FEW)
  end
  out("</section>")
end

---@param board certrotate.nginx.Board
---@param now number
---@param options? { holders?: "all" }   what its reader asked to see
---@return string
function M.html(board, now, options)
  local state = board:read("state") or { phase = "idle" }
  local inventory, rotation = board:read("inventory"), board:read("rotation")
  local parts = {}
  local function out(text, ...)
    parts[#parts + 1] = select("#", ...) > 0 and text:format(...) or (text:gsub("%%%%", "%%"))
  end
  local class, badge, sentence = headline(state, now)
  out('<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>certrotate: %s</title>'
    .. '<meta name="viewport" content="width=device-width,initial-scale=1"><meta http-equiv="refresh" content="%d">'
    .. '<link rel="icon" href="data:,"><style>%s</style></head><body><main>', badge,
    state.phase == "running" and RUNNING or RESTING, STYLE)
  out('<header><h1>certrotate</h1><span class="badge %s">%s</span><span class="dim">%s</span></header>', class, badge,
    sentence)
  if rotation then rotation_section(out, rotation, now) end
  if inventory then
    certificates_section(out, inventory, now)
    holders_section(out, inventory, options ~= nil and options.holders == "all")
    out('<p class="dim">inventory of %s, %s</p>', fmt.timestamp(inventory.taken_at), ago(now - inventory.taken_at))
  elseif not rotation then
    out('<section class="dim">Nothing to show before the first round.</section>')
  end
  out("</main></body></html>\n")
  return table.concat(parts)
end

return M
