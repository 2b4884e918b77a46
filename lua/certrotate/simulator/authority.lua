-- Makes certificate authorities and certificates with the openssl command, for the simulator, its demo and the
-- tests. Plain Lua on every interpreter; keeps nothing but the folder it was given. Keys stay on disk there.
local M = {}

--- Quotes a string for a POSIX shell.
---@param text string
---@return string
local function quote(text)
  return "'" .. (tostring(text):gsub("'", "'\\''")) .. "'"
end
M.quote = quote

--- Runs shell commands without input; both output streams come back as one text.
---@param command string
---@return boolean ok
---@return string output
function M.shell(command)
  local pipe = io.popen("(\n" .. command .. "\n) 2>&1 </dev/null; printf '\\n%d' $?", "r")
  if not pipe then
    return false, "cannot run a shell"
  end
  local text = pipe:read("*a")
  pipe:close()
  local output, code = text:match("^(.*)\n(%d+)$")
  return code == "0", output or text
end

---@param path string
---@param text string
---@return boolean? ok
---@return string? err
function M.write(path, text)
  local file, err = io.open(path, "wb")
  if not file then
    return nil, err
  end
  local ok
  ok, err = file:write(text)
  file:close()
  if not ok then
    return nil, err
  end
  return true
end

---@param path string
---@return string?
---@return string? err
function M.read(path)
  local file, err = io.open(path, "rb")
  if not file then
    return nil, err
  end
  local text = file:read("*a")
  file:close()
  return text
end

-- No system openssl.cnf is used: what it says differs from system to system.
local config = [[
[req]
distinguished_name = dn
string_mask = utf8only
[dn]
[ca]
default_ca = issue
[issue]
database = @DIRECTORY@/index.txt
new_certs_dir = @DIRECTORY@/issued
rand_serial = yes
unique_subject = no
default_md = sha256
default_days = 365
policy = any
email_in_dn = no
copy_extensions = none
[any]
organizationName = optional
commonName = supplied
]]

---@class certrotate.simulator.Authority
---@field directory string
local authority = {}
authority.__index = authority
authority.__name = "certrotate.simulator.Authority"

--- Opens (and makes) a folder for keys and certificates.
---@param directory string  absolute
---@return certrotate.simulator.Authority?
---@return string? err
function M.open(directory)
  local ok, output = M.shell(("umask 077; mkdir -p %s && : >>%s"):format(quote(directory .. "/issued"),
    quote(directory .. "/index.txt")))
  if not ok then
    return nil, "cannot make " .. directory .. ": " .. output
  end
  local err
  ok, err = M.write(directory .. "/openssl.cnf", (config:gsub("@DIRECTORY@", (directory:gsub("%%", "%%%%")))))
  if not ok then
    return nil, err
  end
  return setmetatable({ directory = directory }, authority)
end

local function key_options(key)
  local kind, size = (key or "ec:P-256"):match("^(%a+):?(.*)$")
  if kind == "rsa" then
    return "-newkey rsa:" .. (size ~= "" and size or "2048")
  elseif kind == "ec" then
    return "-newkey ec -pkeyopt ec_paramgen_curve:" .. (size ~= "" and size or "P-256")
  end
  error("key: 'rsa:BITS' or 'ec:CURVE' expected, got " .. tostring(key), 3)
end

local function extensions(item)
  local lines = {}
  if item.ca then
    lines[1] = "basicConstraints=critical,CA:TRUE"
    lines[2] = "keyUsage=critical,keyCertSign,cRLSign"
  else
    lines[1] = "basicConstraints=critical,CA:FALSE"
    lines[2] = "keyUsage=critical,digitalSignature" .. ((item.key or ""):match("^rsa") and ",keyEncipherment" or "")
    lines[3] = "extendedKeyUsage=serverAuth"
  end
  lines[#lines + 1] = "subjectKeyIdentifier=hash"
  if item.issuer then
    lines[#lines + 1] = "authorityKeyIdentifier=keyid"
  end
  if item.names and #item.names > 0 then
    local names = {}
    for index, name in ipairs(item.names) do
      names[index] = (name:match("^%d+%.%d+%.%d+%.%d+$") and "IP:" or "DNS:") .. name
    end
    lines[#lines + 1] = "subjectAltName=" .. table.concat(names, ",")
  end
  return table.concat(lines, "\n") .. "\n"
end

---@class certrotate.simulator.CertificateOptions
---@field file string            base name: FILE.crt, FILE.key and FILE.chain are written
---@field subject? string        common name; default the first of names, else file
---@field names? string[]        DNS names and IPv4 addresses
---@field key? string            "ec:P-256" (default), "ec:P-384", "rsa:2048", "rsa:4096", …
---@field issuer? string         base name of the certificate that signs; absent: self-signed
---@field ca? boolean
---@field not_before? integer    Unix seconds; default an hour ago
---@field not_after? integer     Unix seconds; default in 365 days

local function issue_commands(directory, item)
  local function path(extension, base)
    return quote(directory .. "/" .. (base or item.file) .. extension)
  end
  local now = os.time()
  local first = os.date("!%Y%m%d%H%M%SZ", item.not_before or now - 3600)
  local last = os.date("!%Y%m%d%H%M%SZ", item.not_after or now + 365 * 86400)
  local subject = quote("/O=certrotate simulator/CN=" .. (item.subject or item.names and item.names[1] or item.file))
  local signer = item.issuer and ("-cert %s -keyfile %s"):format(path(".crt", item.issuer), path(".key", item.issuer))
    or ("-selfsign -keyfile " .. path(".key"))
  return table.concat({
    ("openssl req -config openssl.cnf -new %s -nodes -keyout %s -out %s -subj %s"):format(key_options(item.key),
      path(".key"), path(".csr"), subject),
    ("openssl ca -batch -notext -config openssl.cnf %s -in %s -out %s -startdate %s -enddate %s -extfile %s"):format(
      signer, path(".csr"), path(".crt"), first, last, path(".ext")),
    "rm -f " .. path(".csr") .. " " .. path(".ext"),
  }, "\n")
end

--- Makes certificates, in the given order. FILE.chain holds the issuers up to, but without, the self-signed root.
---@param items certrotate.simulator.CertificateOptions[]
---@return boolean? ok
---@return string? err  openssl's own words
function authority:make(items)
  local directory = self.directory
  local lines = { "umask 077", "set -e", "cd " .. quote(directory) }
  for _, item in ipairs(items) do
    local ok, err = M.write(directory .. "/" .. item.file .. ".ext", extensions(item))
    if not ok then
      return nil, err
    end
    lines[#lines + 1] = issue_commands(directory, item)
    local chain = quote(directory .. "/" .. item.file .. ".chain")
    if item.issuer then
      -- A root's chain file does not exist; an intermediate's is what lies above it.
      local issuer = directory .. "/" .. item.issuer
      lines[#lines + 1] = ("if [ -e %s ]; then cat %s %s >%s; else : >%s; fi"):format(quote(issuer .. ".chain"),
        quote(issuer .. ".crt"), quote(issuer .. ".chain"), chain, chain)
    end
  end
  local ok, output = M.shell(table.concat(lines, "\n"))
  if not ok then
    return nil, "openssl: " .. output
  end
  return true
end

--- As `make`, for many simulators with the same certificates: whoever comes first makes them and leaves a copy in
--- `shared`; the others take that. Processes may do so at the same time. Only for a folder that is new.
---@param items certrotate.simulator.CertificateOptions[]
---@param shared string  absolute; made if it is not there
---@return boolean? ok
---@return string? err
function authority:make_shared(items, shared)
  if M.shell(("cp -R %s/. %s"):format(quote(shared), quote(self.directory))) then
    return true
  end
  local ok, output = self:make(items)
  if not ok then
    return nil, output
  end
  -- A folder appears whole or not at all; if somebody else's is there, it stays.
  ok, output = M.shell(([[
umask 077
mkdir -p "$(dirname %s)"
draft=$(mktemp -d %s.XXXXXX)
cp -R %s/. "$draft"
rm -f "$draft/openssl.cnf"
mv -T "$draft" %s 2>/dev/null || rm -rf "$draft"
]]):format(quote(shared), quote(shared), quote(self.directory), quote(shared)))
  return ok or nil, output
end

--- The files of a certificate made here.
---@param file string  base name
---@return {certificate:string, key:string, chain:string}
function authority:files(file)
  local base = self.directory .. "/" .. file
  return { certificate = base .. ".crt", key = base .. ".key", chain = base .. ".chain" }
end

return M
