-- A headless Chromium for specs, spoken to through its DevTools pipe: one start serves many pages, sizes and colours.
-- It measures by itself (layout, console), so that pages are looked at with their own security policy in force.
local command = require("spec.support.command")
local json = require("certrotate.json")

local M = {}

local Browser = {}
Browser.__index = Browser

---@return string? path   of Chromium; nil: not installed
function M.program()
  local path = command.shell("command -v chromium || command -v chromium-browser"):gsub("%s+$", "")
  return path ~= "" and path or nil
end

--- Starts it. It ends by itself after a minute, and whoever waits for its answer then fails.
function M.start()
  local directory = command.directory()
  command.shell(("cd %s && mkfifo in out"):format(command.quote(directory)))
  -- HOME: what it keeps of its own goes away with the folder. No sandbox: it shows our own page only, root has none.
  -- The inner shell opens the pipes, which waits for us, when this call has long returned.
  local pid = command.shell(("cd %s && { HOME=$PWD sh -c 'exec timeout -s KILL 60 %s --headless --no-sandbox "
    .. "--disable-gpu --disable-dev-shm-usage --no-first-run --remote-debugging-pipe --user-data-dir=$PWD/profile "
    .. "about:blank 3<in 4>out' </dev/null >log 2>&1 & echo $!; }"):format(command.quote(directory), M.program()))
  local self = setmetatable({ directory = directory, pid = tonumber(pid), last = 0, events = {} }, Browser)
  self.input = assert(io.open(directory .. "/in", "wb"))
  self.output = assert(io.open(directory .. "/out", "rb"))
  self.input:setvbuf("no")
  for _, target in ipairs(self:ask("Target.getTargets").targetInfos) do
    if target.type == "page" then
      self.session = self:ask("Target.attachToTarget", { targetId = target.targetId, flatten = true }).sessionId
    end
  end
  for _, domain in ipairs({ "Page", "Log", "Runtime" }) do self:ask(domain .. ".enable") end
  return self
end

-- The next message; they end with a NUL.
local function receive(self)
  local bytes = {}
  while true do
    local byte = self.output:read(1)
    if not byte then error("chromium is gone: " .. (command.read(self.directory .. "/log") or ""), 0) end
    if byte == "\0" then return assert(json.decode(table.concat(bytes))) end
    bytes[#bytes + 1] = byte
  end
end

--- One command of the DevTools protocol; its result.
---@param method string
---@param params? table
---@return table
function Browser:ask(method, params)
  self.last = self.last + 1
  assert(self.input:write(json.encode({ id = self.last, method = method, params = params, sessionId = self.session })
    .. "\0"))
  while true do
    local message = receive(self)
    if message.id == self.last then
      if message.error then error(method .. ": " .. message.error.message, 2) end
      return message.result
    end
    self.events[#self.events + 1] = message
  end
end

-- Waits for an event that comes from now on, or came since the last `open`.
local function event(self, name)
  local seen = 0
  while true do
    while seen < #self.events do
      seen = seen + 1
      if self.events[seen].method == name then return self.events[seen].params end
    end
    self.events[#self.events + 1] = receive(self)
  end
end

-- What reaches out of the padding of the section it is in; needs no script of the page's own.
local OUTSIDE = [[
Array.from(document.querySelectorAll("section *")).filter(e => {
  const section = e.closest("section"), box = section.getBoundingClientRect();
  return e.getBoundingClientRect().right > box.right - parseFloat(getComputedStyle(section).paddingRight) + 0.5;
}).map(e => e.outerHTML.slice(0, 80)).join("\n")]]

---@class spec.Picture
---@field width integer       of the window
---@field content integer     how wide what is in it is
---@field outside string      elements that reach out of their section
---@field refresh? number     seconds until the page asks for itself again
---@field console string[]    errors and warnings
---@field dom string          as HTML, what the browser made of the page
---@field visible string      the text a reader sees
---@field background string   colour: "rgb(…)"

--- Opens a page in a window of some size, in light or dark colours, with its scripts disabled.
---@param url string
---@param options { width: integer, height: integer, dark?: boolean, phone?: boolean, file?: string }  file: screenshot
---@return spec.Picture
function Browser:open(url, options)
  self:ask("Emulation.setDeviceMetricsOverride", { width = options.width, height = options.height,
    deviceScaleFactor = options.phone and 2 or 1, mobile = options.phone == true })
  self:ask("Emulation.setEmulatedMedia", { features = { { name = "prefers-color-scheme",
    value = options.dark and "dark" or "light" } } })
  self:ask("Emulation.setScriptExecutionDisabled", { value = true })
  self.events = {}
  self:ask("Page.navigate", { url = url })
  event(self, "Page.loadEventFired")
  local layout = self:ask("Page.getLayoutMetrics")
  if options.file then
    local shot = self:ask("Page.captureScreenshot", { format = "png", captureBeyondViewport = true })
    command.write(options.file .. ".base64", shot.data)
    command.shell(("base64 -d %s.base64 >%s && rm %s.base64"):format(command.quote(options.file),
      command.quote(options.file), command.quote(options.file)))
  end
  local root = self:ask("DOM.getDocument").root.nodeId
  local picture = { width = layout.cssLayoutViewport.clientWidth, content = layout.cssContentSize.width, console = {},
                    dom = self:ask("DOM.getOuterHTML", { nodeId = root }).outerHTML }
  local function evaluate(expression)
    return self:ask("Runtime.evaluate", { expression = expression }).result.value
  end
  picture.visible, picture.outside = evaluate("document.body.innerText"), evaluate(OUTSIDE)
  picture.background = evaluate("getComputedStyle(document.body).backgroundColor")
  for _, message in ipairs(self.events) do
    if message.method == "Log.entryAdded" then
      table.insert(picture.console, message.params.entry.text)
    elseif message.method == "Runtime.consoleAPICalled" or message.method == "Runtime.exceptionThrown" then
      table.insert(picture.console, json.encode(message.params))
    elseif message.method == "Page.frameScheduledNavigation" then
      picture.refresh = message.params.delay
    end
  end
  return picture
end

function Browser:close()
  pcall(self.ask, self, "Browser.close")
  self.input:close()
  self.output:read("*a")
  self.output:close()
  -- It still writes into its folder on its way out. Z: it is gone, and nobody has reaped it yet.
  command.shell(("n=0; while grep -q '^State:.[^Z]' /proc/%d/status 2>/dev/null && [ $n -lt 250 ]; do sleep 0.02; "
    .. "n=$((n+1)); done; [ $n -lt 250 ] || kill -9 %d"):format(self.pid, self.pid))
  command.remove(self.directory)
end

return M
