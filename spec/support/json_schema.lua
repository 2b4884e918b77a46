-- Holds what --json printed against the schema the program gives out, by Debian's own validator.
local command = require("spec.support.command")
local json = require("certrotate.json")

local VALIDATE = [[
import json, sys, jsonschema
schemas = json.load(open(sys.argv[1]))
def show(errors, depth=0):
    for error in errors:
        print("  " * depth + "/".join(map(str, error.absolute_path)) + ": " + error.message[:200])
        if error.context: show(error.context, depth + 1)
for name, text in json.load(open(sys.argv[2])):
    schema = schemas[name]
    jsonschema.Draft202012Validator.check_schema(schema)
    show(jsonschema.Draft202012Validator(schema).iter_errors(json.loads(text)))
]]

local M = {}

local schemas

--- What does not fit, "" where all does.
---@param documents { [1]: string, [2]: string }[]   a command's name and what it printed
---@return string
function M.problems(documents)
  if not schemas then
    local code, text = command.run({ "schema" })
    assert(code == 0, text)
    schemas = text
  end
  local directory = command.directory()
  local function path(name) return directory .. "/" .. name end
  command.write(path("validate.py"), VALIDATE)
  command.write(path("schemas.json"), schemas)
  command.write(path("documents.json"), json.encode(documents))
  local said = command.shell(("/usr/bin/python3 %s %s %s 2>&1"):format(path("validate.py"), path("schemas.json"),
    path("documents.json")))
  command.remove(directory)
  return said
end

return M
