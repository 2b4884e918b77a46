local core, folder = ...
local file, err = core.append(folder .. "/journal")
if not file then return nil, err end
local ok, problem = file:append("line\n")
if not ok then return nil, problem end
local text, unread = file:read()
if not text then return nil, unread end
local cut, uncut = file:truncate(0)
if not cut then return nil, uncut end
file:close()
local written, unwritten = core.write_file(folder .. "/plan", "text")
if not written then return nil, unwritten end
local made, unmade = core.make_directory(folder .. "/a")
if not made then return nil, unmade end
local path, unfound = core.realpath(folder .. "/plan")
if not path then return nil, unfound end
local signals, unwatched = core.signals()
if not signals then return nil, unwatched end
signals:close()
return #core.operations() > 0
