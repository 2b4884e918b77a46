-- An unrelated location of a worker that rotates 20 distributions, against the same worker at rest: open-loop load, both
-- ways of waiting, quiet and rotating in turns, so that what else the machine does falls on all of them alike.
-- The worker has one core for itself, the simulator and the visitors the other. Debian's nginx has LuaJIT inside,
-- whichever interpreter runs this.
-- usage: lua nginx.lua PATH_OF_open_loop [TURNS [SECONDS]]
local bench = require("spec.bench.support")
local certrotate = require("certrotate")
local json = require("certrotate.json")
local launch = require("certrotate.simulator.launch")
local nginx = require("spec.support.nginx")

local program = assert(arg[1], "path of open_loop expected")
local TURNS, SECONDS, RATE, DISTRIBUTIONS = tonumber(arg[2] or 3), tonumber(arg[3] or 4), 1000, 20

local directory = bench.directory()
local simulator = certrotate.must(launch.start({ distributions = DISTRIBUTIONS, users = DISTRIBUTIONS, vip = 2,
  odd = false, propagation = 1, jitter = 0.5, settings = { vip_quota = 4 } }))

local function files_of(name)
  local files = simulator.files
  return { certificate = files[name .. "_certificate"], private_key = files[name .. "_key"],
           chain = files[name .. "_chain"] }
end

-- Roots as an installation has them: all of the system's, and the simulator's.
bench.write(directory .. "/roots.pem", (bench.read("/etc/ssl/certs/ca-certificates.crt") or "")
  .. bench.read(simulator.ca_file))
bench.write(directory .. "/fleet.json", json.encode({
  endpoint = simulator.endpoint, edge = simulator.edge, ca_file = directory .. "/roots.pem",
  trust_file = simulator.trust_file, access_key_id = simulator.access_key_id,
  secret_access_key = simulator.secret_access_key, directory = directory, distributions = DISTRIBUTIONS,
  old = { reference = simulator.old_reference, files = files_of("old") }, new = { files = files_of("new") },
}))

local server = nginx.start({
  main = "worker_cpu_affinity 01; thread_pool certrotate threads=1; env CERTROTATE_STATE=" .. directory .. ";",
  http = ([[
  lua_shared_dict certrotate 2m;
  init_worker_by_lua_block {
    local dict = ngx.shared.certrotate
    local fleet = require("certrotate.json").decode(io.open("%s/fleet.json"):read("*a"))
    require("certrotate.nginx").start {
      job = require("spec.bench.nginx_job")(fleet, dict), every = 1, retry = 1, poll = 0.2,
    }
  }]]):format(directory), server = [[
    location = /other { content_by_lua_block { ngx.header["Content-Length"] = 4 ngx.print("pong") } }
    location = /go {
      content_by_lua_block {
        local dict = ngx.shared.certrotate
        local way = ngx.var.arg_way
        if way == "none" then dict:delete("go") elseif way then dict:set("go", way) end
        local board = require("certrotate.nginx.board").open(dict)
        ngx.print(require("certrotate.json").encode({ state = board:read("state"), pid = ngx.worker.pid(),
          rotations = dict:get("rotations") or 0 }))
      }
    }]],
})

local client = certrotate.must(certrotate.connect({ endpoint_url = "http://127.0.0.1:1", access_key_id = "AKIDEXAMPLE",
  secret_access_key = "secret", region = "us-east-1", environment = {} }))

local function ask(query)
  local request = { url = server.url .. "/go" .. (query or ""), method = "GET" }
  return json.decode(certrotate.must(client.loop:await({ http = request })).body)
end

local function wait_for(phase)
  local seen
  for _ = 1, 600 do
    seen = ask()
    if seen.state and seen.state.phase == phase then
      assert(phase == "running" or seen.state.ok, seen.state.message)
      return seen
    end
    client.loop:sleep(0.1)
  end
  error("the worker is not " .. phase .. ": " .. json.encode(seen) .. server:log())
end

local function visit(latencies)
  local text = bench.capture(("taskset -c 1 %s %d /other %d %d"):format(bench.quote(program), server.port, RATE,
    SECONDS))
  for line in text:gmatch("[^\n]+") do latencies[#latencies + 1] = tonumber(line) / 1000 end
end

local function at(list, share)
  table.sort(list)
  return list[math.max(1, math.ceil(#list * share))]
end

-- Milliseconds of CPU time the worker has used.
local function worker_cpu(pid)
  local fields, text = {}, bench.read("/proc/" .. pid .. "/stat"):match("%)%s+(.*)$")
  for field in text:gmatch("%S+") do fields[#fields + 1] = field end
  return (fields[12] + fields[13]) * 10
end

local ok, problem = pcall(function()
  local pid = wait_for("idle").pid
  -- The simulator beside the visitors, and the worker not behind other programs of this machine where that is allowed:
  -- what it does itself is measured.
  bench.capture(("for p in $(pgrep -P %d) %d; do taskset -a -p -c 1 $p; done >/dev/null"):format(simulator.pid,
    simulator.pid))
  os.execute(("chrt -f -p 1 %d 2>/dev/null"):format(pid))
  local ways = { "quiet", "paced", "threaded" }
  local all, differences, cpu = {}, {}, {}
  for _, way in ipairs(ways) do all[way], differences[way], cpu[way] = {}, {}, 0 end
  visit({})
  local rotations = {}
  for _ = 1, TURNS do
    local quiet
    for _, way in ipairs({ "quiet", "paced", "quiet", "threaded" }) do
      local before = ask().rotations
      if way ~= "quiet" then
        ask("?way=" .. way)
        wait_for("running")
      end
      local these, cpu_before = {}, worker_cpu(pid)
      visit(these)
      cpu[way] = cpu[way] + worker_cpu(pid) - cpu_before
      if way ~= "quiet" then
        ask("?way=none")
        wait_for("idle")
        rotations[way] = (rotations[way] or 0) + ask().rotations - before
        table.insert(differences[way], at(these, 0.99) - quiet)
      else
        quiet = at(these, 0.99)
      end
      for _, latency in ipairs(these) do table.insert(all[way], latency) end
    end
  end
  local rest = at(all.quiet, 0.99)
  for _, way in ipairs(ways) do
    local list = all[way]
    local told = ("nginx, %-8s p50 %.2f, p99 %.2f, p99.9 %.2f, max %.1f ms; worker CPU %.1f %%"):format(way .. ":",
      at(list, 0.5), at(list, 0.99), at(list, 0.999), list[#list],
      cpu[way] / 10 / (#list / RATE))
    if way ~= "quiet" then
      told = told .. ("; p99 %+.2f ms against quiet, median of pairs %+.2f (at most 1); %d rotations of %d"):format(
        at(list, 0.99) - rest, bench.median(differences[way]), rotations[way], DISTRIBUTIONS)
    end
    print(told)
  end
end)
client:close()
server:stop()
simulator:stop()
bench.capture("rm -rf " .. bench.quote(directory))
if not ok then error(problem, 0) end
