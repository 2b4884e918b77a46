-- In the child: the client and the file are refused, and closing them takes nothing from the parent.
local core, _, _, _, shared = ...
local client, file = shared.client, shared.file
for name, method in pairs(getmetatable(client).__index) do
  if name ~= "close" then
    local ok, problem = pcall(method, client, 1, {})
    assert(not ok and problem:find("client belongs to another process: make one after fork", 1, true), name)
  end
end
assert(tostring(client):find("another process", 1, true))
for _, name in ipairs { "append", "read", "truncate" } do
  local ok, problem = pcall(file[name], file, "child")
  assert(not ok and problem:find("file belongs to another process", 1, true), name)
end
local mine = assert(core.client())
mine:wait(0)
client:close()
file:close()
return true
