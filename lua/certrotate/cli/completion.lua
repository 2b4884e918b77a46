--- certrotate completion: what a shell sources to complete certrotate's commands, flags and values. Made of what the
--- commands declare; the shell asks certrotate nothing while somebody types.
local cli = require("certrotate.cli")

local SHELLS = { "bash", "zsh", "fish" }

local M = { summary = "Print the completion of a shell: eval \"$(certrotate completion bash)\"" }

function M.configure(command)
  command:argument("shell", "Which shell."):choices(SHELLS)
end

local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

local function names_of(parameters)
  local names = {}
  for _, one in ipairs(parameters) do
    names[#names + 1] = one.flag
    names[#names + 1] = one.short
  end
  return names
end

-- Every flag that takes a value, as "command:flag". Flags of one name take the same everywhere ("*:flag"), but for
-- choices.
local function valued(commands, common)
  local list, seen = {}, {}
  local function add(command, one)
    if one.switch then return end
    local key = (one.choices and command or "*") .. ":" .. one.flag
    if not seen[key] then list[#list + 1] = { key = key, parameter = one } end
    seen[key] = true
  end
  for _, command in ipairs(commands) do
    for _, one in ipairs(command.flags) do add(command.name, one) end
  end
  for _, one in ipairs(common) do add("*", one) end
  table.sort(list, function(a, b) return a.key > b.key end)   -- "*" is behind every name
  return list
end

-- Names of profiles, as credentials/files.lua finds them, by sed: of the config file and of the credentials file.
local CONFIG_PROFILES = [=[sed -n -e 's/^[[:blank:]]*\[[[:blank:]]*default[[:blank:]]*\].*/default/p' ]=]
  .. [=[-e "s/^[[:blank:]]*\[[[:blank:]]*profile[[:blank:]]\{1,\}[\"']\{0,1\}\([^]\"']*[^]\"'[:blank:]]\).*/\1/p" ]=]
local CREDENTIALS_PROFILES = [=[sed -n 's/^[[:blank:]]*\[[[:blank:]]*\([^]]*[^][:blank:]]\).*/\1/p' ]=]

-- For bash and zsh.
local function say_profiles(say)
  say("_certrotate_profiles() {")
  say("  {")
  say("    %s-- \"${AWS_CONFIG_FILE:-$HOME/.aws/config}\"", CONFIG_PROFILES)
  say("    %s-- \"${AWS_SHARED_CREDENTIALS_FILE:-$HOME/.aws/credentials}\"", CREDENTIALS_PROFILES)
  say("  } 2>/dev/null | sort -u")
  say("}")
end

local writers = {}

function writers.bash(commands, common)
  local lines = {}
  local function say(text, ...) lines[#lines + 1] = select("#", ...) > 0 and text:format(...) or text end
  local names = {}
  for i, command in ipairs(commands) do names[i] = command.name end
  say("# bash completion of certrotate")
  say_profiles(say)
  -- Journals where there are any, all files else.
  say("_certrotate_journals() {")
  say("  local found")
  say("  found=$(compgen -f -X '!*.journal' -- \"$1\")")
  say("  if [ -n \"$found\" ]; then printf '%%s\\n' \"$found\"; compgen -d -- \"$1\"; else compgen -f -- \"$1\"; fi", "")
  say("}")
  say("_certrotate() {")
  say("  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]} flags= place=")
  say("  COMPREPLY=()")
  say("  if [ \"$COMP_CWORD\" = 1 ]; then")
  say("    COMPREPLY=($(compgen -W %s -- \"$word\"))", quote(table.concat(names, " ") .. " --help --version"))
  say("    return")
  say("  fi")
  say("  case $command:$before in")
  for _, entry in ipairs(valued(commands, common)) do
    local one, files = entry.parameter, [[compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(%scompgen -f -- "$word")]]
    local act = ""
    if one.choices then
      act = ([[COMPREPLY=($(compgen -W %s -- "$word")); ]]):format(quote(table.concat(one.choices, " ")))
    elseif one.target == "profile" then
      act = "mapfile -t COMPREPLY < <(_certrotate_profiles | while IFS= read -r name; do "
        .. [=[if [[ $name == "$word"* ]]; then printf '%q\n' "$name"; fi; done); ]=]
    elseif one.file then
      act = files:format(one.target == "policy" and [[compgen -W 'careful cheapest' -- "$word"; ]] or "") .. "; "
    end
    say("    %s) %sreturn ;;", entry.key, act)
  end
  say("  esac")
  say("  case $command in")
  for _, command in ipairs(commands) do
    local position = command.position
    local place = position and (position.choices and quote(table.concat(position.choices, " "))
      or position.target == "journal" and "journal" or position.file and "file") or ""
    say("    %s) flags=%s place=%s ;;", command.name, quote(table.concat(names_of(command.flags), " ")), place)
  end
  say("    *) return ;;")
  say("  esac")
  say("  if [[ $word == -* ]]; then")
  say("    COMPREPLY=($(compgen -W \"$flags %s\" -- \"$word\"))", table.concat(names_of(common), " "))
  say("  elif [ \"$place\" = file ]; then")
  say("    compopt -o filenames 2>/dev/null")
  say("    mapfile -t COMPREPLY < <(compgen -f -- \"$word\")")
  say("  elif [ \"$place\" = journal ]; then")
  say("    compopt -o filenames 2>/dev/null")
  say("    mapfile -t COMPREPLY < <(_certrotate_journals \"$word\")")
  say("  elif [ -n \"$place\" ]; then")
  say("    COMPREPLY=($(compgen -W \"$place\" -- \"$word\"))")
  say("  fi")
  say("}")
  say("complete -F _certrotate certrotate")
  return table.concat(lines, "\n") .. "\n"
end

-- _arguments wants ":" and brackets escaped.
local function zsh_text(text) return (text:gsub("[%[%]:\\]", "\\%0")) end

local function zsh_value(one)
  if one.choices then return (":%s:(%s)"):format(one.target, table.concat(one.choices, " ")) end
  if one.target == "policy" then return ":policy:_certrotate_policy" end
  if one.target == "profile" then return ":profile:_certrotate_profile" end
  if one.target == "journal" and not one.flag then return ":journal:_files -g \"*.journal\"" end
  return (":%s:%s"):format(one.target, one.file and "_files" or "")
end

local function zsh_flag(one)
  local tail = ("[%s]%s"):format(zsh_text(one.summary), one.switch and "" or zsh_value(one))
  local list = { quote(((one.many or one.again) and "*" or "") .. one.flag .. tail) }
  if one.short then list[2] = quote(one.short .. tail) end
  return list
end

function writers.zsh(commands, common)
  local lines = {}
  local function say(text, ...) lines[#lines + 1] = select("#", ...) > 0 and text:format(...) or text end
  say("#compdef certrotate")
  say_profiles(say)
  say("_certrotate_profile() { compadd -- ${(f)\"$(_certrotate_profiles)\"} }")
  say("_certrotate_policy() { compadd -- careful cheapest; _files -g '*.lua' }")
  say("_certrotate() {")
  say("  local -a commands common")
  say("  commands=(")
  for _, command in ipairs(commands) do say("    %s", quote(command.name .. ":" .. zsh_text(command.summary))) end
  say("  )")
  say("  common=(")
  for _, one in ipairs(common) do
    for _, spec in ipairs(zsh_flag(one)) do say("    %s", spec) end
  end
  say("  )")
  say("  if (( CURRENT == 2 )); then")
  say("    if [[ $words[2] == -* ]]; then compadd -- --help --version; else _describe command commands; fi")
  say("    return")
  say("  fi")
  say("  local command=$words[2]")
  say("  shift words; (( CURRENT-- ))")
  say("  case $command in")
  for _, command in ipairs(commands) do
    local specs = {}
    for _, one in ipairs(command.flags) do
      for _, spec in ipairs(zsh_flag(one)) do specs[#specs + 1] = spec end
    end
    local position = command.position
    if position then specs[#specs + 1] = quote((position.many and "*" or "1") .. zsh_value(position)) end
    say("    %s) _arguments $common %s ;;", command.name, table.concat(specs, " \\\n      "))
  end
  say("  esac")
  say("}")
  -- Sourced, or found on fpath and run as the function itself.
  say("if [ \"$funcstack[1]\" = \"_certrotate\" ]; then _certrotate \"$@\"; else compdef _certrotate certrotate; fi")
  return table.concat(lines, "\n") .. "\n"
end

local function fish_flag(say, one, condition)
  local parts = { "complete -c certrotate" }
  if condition then parts[#parts + 1] = "-n " .. quote(condition) end
  parts[#parts + 1] = "-l " .. one.flag:sub(3)
  if one.short then parts[#parts + 1] = "-s " .. one.short:sub(2) end
  if not one.switch then
    if one.target == "policy" then
      parts[#parts + 1] = "-rF -a 'careful cheapest'"
    elseif one.target == "profile" then
      parts[#parts + 1] = "-xa '(__certrotate_profiles)'"
    elseif one.choices then
      parts[#parts + 1] = "-xa " .. quote(table.concat(one.choices, " "))
    else
      parts[#parts + 1] = one.file and "-rF" or "-x"
    end
  end
  parts[#parts + 1] = "-d " .. quote(one.summary)
  say(table.concat(parts, " "))
end

function writers.fish(commands, common)
  local lines = {}
  local function say(text) lines[#lines + 1] = text end
  say("# fish completion of certrotate")
  say("function __certrotate_profiles")
  for _, file in ipairs({ { "AWS_CONFIG_FILE", "config", CONFIG_PROFILES },
                          { "AWS_SHARED_CREDENTIALS_FILE", "credentials", CREDENTIALS_PROFILES } }) do
    say(("  set -l %s ~/.aws/%s"):format(file[2], file[2]))
    say(("  test -n \"$%s\"; and set %s $%s"):format(file[1], file[2], file[1]))
    say(("  %s-- $%s 2>/dev/null"):format(file[3], file[2]))
  end
  say("end")
  say("function __certrotate_journals")
  say("  set -l all (__fish_complete_path (commandline -ct))")
  say("  if string match -qr '\\.journal(\\t|$)' -- $all")
  say("    string match -r '^.*(?:\\.journal|/)(?:\\t.*)?$' -- $all")
  say("  else")
  say("    printf '%s\\n' $all")
  say("  end")
  say("end")
  say("complete -c certrotate -f")
  say("complete -c certrotate -n __fish_use_subcommand -l version -d 'Print the version and exit.'")
  for _, command in ipairs(commands) do
    say(("complete -c certrotate -n __fish_use_subcommand -a %s -d %s"):format(command.name, quote(command.summary)))
  end
  for _, one in ipairs(common) do fish_flag(say, one) end
  for _, command in ipairs(commands) do
    local condition = "__fish_seen_subcommand_from " .. command.name
    for _, one in ipairs(command.flags) do fish_flag(say, one, condition) end
    local position = command.position
    if position and (position.choices or position.file) then
      say(("complete -c certrotate -n %s %s"):format(quote(condition),
        position.choices and "-a " .. quote(table.concat(position.choices, " "))
        or position.target == "journal" and "-a '(__certrotate_journals)'" or "-F"))
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

--- What the shell sources.
---@param shell "bash"|"zsh"|"fish"
---@return string
function M.script(shell)
  local declaration = require("certrotate.cli.declaration")
  return writers[shell](declaration.all(), declaration.common())
end

function M.run(context, args)
  local script = M.script(args.shell)
  context:result({ shell = args.shell, script = script }, script)
  return cli.DONE
end

return M
