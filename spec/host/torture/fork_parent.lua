-- In the parent, after the child has ended: everything works on.
local core, folder, _, _, shared = ...
assert(shared.file:append("parent"))
local second, err = core.append(folder .. "/fork")
assert(not second and err.code == "Locked")
for _ = 1, 1000 do
  shared.client:wait(0.05)
  local id, _, failure = shared.client:take()
  if id then return failure.kind == "transport" end
end
error("nothing came")
