--- Test authorities and certificates, made with the `openssl` command into a folder of the caller's.
---
---   local certificates = require "spec.support.certificates"
---   local root  = certificates.ca(dir, "Root")
---   local inter = certificates.intermediate(root, "Intermediate")
---   local www   = certificates.leaf { dir = dir, name = "www", names = { "www.example.com" }, ca = inter }
---   www.certificate, www.chain, www.fullchain, www.private_key      -- paths
---
--- Every failure raises with what openssl said. Nothing is removed: the folder is the caller's, and openssl leaves
--- working files in it.
local files = require("spec.support.files")

local M = {}

local DAY = 24 * 60 * 60

local quote, read, write = files.quote, files.read, files.write

--- Runs openssl with these arguments in `dir`.
local function openssl(dir, arguments)
  local words = { "cd", quote(dir), "&&", "openssl" }
  for _, word in ipairs(arguments) do
    words[#words + 1] = quote(word)
  end
  local log = os.tmpname()
  local ok = os.execute(table.concat(words, " ") .. " >" .. quote(log) .. " 2>&1 </dev/null")
  local said = read(log)
  os.remove(log)
  if ok ~= true and ok ~= 0 then
    error("openssl " .. table.concat(arguments, " ") .. " failed:\n" .. said, 3)
  end
end

--- A value in an openssl configuration file.
local function value(text)
  return (text:gsub("([\\$#\"'`])", "\\%1"))
end

local function stamp(time)
  return os.date("!%Y%m%d%H%M%SZ", math.floor(time))
end

local function make_key(dir, file, kind)
  local bits = kind:match("^rsa:(%d+)$")
  if bits then
    openssl(dir, { "genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:" .. bits, "-out", file })
  else
    local curve = kind == "ec" and "P-256" or kind:match("^ec:(.+)$") or error("key: unknown kind " .. kind, 3)
    openssl(dir, { "genpkey", "-quiet", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:" .. curve, "-out", file })
  end
end

local function extensions(options)
  local lines = { "subjectKeyIdentifier = hash" }
  local function add(line)
    lines[#lines + 1] = line
  end
  if options.is_ca then
    add("basicConstraints = critical,CA:TRUE")
    add("keyUsage = critical,keyCertSign,cRLSign")
  else
    add("basicConstraints = CA:FALSE")
    add("keyUsage = critical,digitalSignature,keyEncipherment")
    add("extendedKeyUsage = " .. (options.usage or "serverAuth"))
  end
  if options.ca then
    add("authorityKeyIdentifier = keyid")
  end
  if options.ocsp then
    add("authorityInfoAccess = OCSP;URI:" .. value(options.ocsp))
  end
  local names = options.names or {}
  if #names > 0 then
    add("subjectAltName = @names")
    add("[names]")
    for i, name in ipairs(names) do
      add("DNS." .. i .. " = " .. value(name))
    end
  end
  return table.concat(lines, "\n")
end

-- `openssl ca`, since in OpenSSL 3.0 it alone can set the first day of a certificate.
local CONFIG = [[
[req]
prompt = no
utf8 = yes
string_mask = utf8only
distinguished_name = dn
[dn]
CN = %s
[ca]
default_ca = this
[this]
database = %s.db
new_certs_dir = .
unique_subject = no
rand_serial = yes
default_md = sha256
policy = any
email_in_dn = no
[any]
commonName = supplied
[certificate]
%s
]]

--- Makes key, request and certificate; returns the paths.
local function issue(options)
  local dir = assert(options.dir, "dir expected")
  local name = assert(options.name, "name expected")
  local file = (options.file or name):gsub("[^%w_.-]", "_")
  local now = options.now or os.time()
  local not_after = options.not_after or now + (options.days or 90) * DAY
  local not_before = options.not_before or math.min(now - 3600, not_after - DAY)
  local made = {
    name = name, dir = dir, ca = options.ca,
    certificate = dir .. "/" .. file .. ".crt",
    private_key = options.private_key or dir .. "/" .. file .. ".key",
    not_before = not_before, not_after = not_after,
  }

  write(dir .. "/" .. file .. ".cnf", CONFIG:format(value(name), file, extensions(options)))
  write(dir .. "/" .. file .. ".db", "")
  if not options.private_key then
    make_key(dir, file .. ".key", options.key or "ec")
  end
  openssl(dir, { "req", "-new", "-config", file .. ".cnf", "-key", made.private_key, "-out", file .. ".csr" })
  local words = { "ca", "-batch", "-notext", "-config", file .. ".cnf", "-extensions", "certificate",
                  "-startdate", stamp(not_before), "-enddate", stamp(not_after), "-in", file .. ".csr",
                  "-out", file .. ".crt" }
  local signer = options.ca and { "-cert", options.ca.certificate, "-keyfile", options.ca.private_key }
                 or { "-selfsign", "-keyfile", made.private_key }
  for _, word in ipairs(signer) do
    words[#words + 1] = word
  end
  openssl(dir, words)
  return made
end

--- Paths are used from within `dir`: they must not depend on the folder of the moment.
local function absolute(dir)
  if dir:sub(1, 1) == "/" then
    return dir
  end
  local pipe = assert(io.popen("cd " .. quote(dir) .. " && pwd"))
  local path = pipe:read("*l")
  pipe:close()
  return assert(path, "no such folder: " .. dir)
end

local function with(options, more)
  local all = {}
  for _, from in ipairs { options or {}, more } do
    for key, entry in pairs(from) do
      all[key] = entry
    end
  end
  all.dir = absolute(all.dir)
  return all
end

---@class certificates.Options
---@field dir? string            folder (leaf: needed)
---@field name? string           common name, and the name of the files (leaf: needed)
---@field file? string           another name for the files
---@field names? string[]        DNS subject alternative names; none when absent
---@field days? number           valid for so many days from now; negative: expired. 90
---@field not_before? integer    Unix seconds; an hour ago, or a day before the end
---@field not_after? integer     Unix seconds, instead of `days`
---@field now? integer           what "now" is, Unix seconds
---@field key? string            "ec" (P-256, the default), "ec:P-384", "rsa:2048"
---@field private_key? string    path of a key that exists already
---@field ca? certificates.Made  who signs; absent: self-signed
---@field intermediate? certificates.Made  the same, clearer to read beside `ca`
---@field usage? string          extended key usage, "serverAuth"
---@field ocsp? string           address of an OCSP responder

---@class certificates.Made
---@field certificate string     path of the certificate alone
---@field private_key string     path
---@field chain? string          leaf: path of the intermediates, without the root; nil when there is none
---@field fullchain? string      leaf: path of certificate and intermediates
---@field not_before integer
---@field not_after integer

--- A root.
---@param dir string
---@param name string
---@param options? certificates.Options
---@return certificates.Made
function M.ca(dir, name, options)
  return issue(with(options, { dir = dir, name = name, is_ca = true,
                               days = options and options.days or 3650 }))
end

--- A CA below another one, in the same folder.
---@param ca certificates.Made
---@param name string
---@param options? certificates.Options
---@return certificates.Made
function M.intermediate(ca, name, options)
  return issue(with(options, { dir = options and options.dir or ca.dir, name = name, is_ca = true, ca = ca,
                               days = options and options.days or 1825 }))
end

--- A server's certificate.
---@param options certificates.Options
---@return certificates.Made
function M.leaf(options)
  local ca = options.intermediate or options.ca
  local made = issue(with(options, { ca = ca }))
  local chain = {}
  while ca and ca.ca do
    chain[#chain + 1] = read(ca.certificate)
    ca = ca.ca
  end
  local base = made.certificate:gsub("%.crt$", "")
  if #chain > 0 then
    made.chain = base .. ".chain.pem"
    write(made.chain, table.concat(chain))
  end
  made.fullchain = base .. ".fullchain.pem"
  write(made.fullchain, read(made.certificate) .. table.concat(chain))
  return made
end

--- A copy of the leaf's private key that needs a passphrase; returns its path.
---@param made certificates.Made
---@param passphrase string
---@return string path
function M.encrypt(made, passphrase)
  local path = made.certificate:gsub("%.crt$", "") .. ".encrypted.key"
  openssl(made.dir, { "pkcs8", "-topk8", "-in", made.private_key, "-out", path, "-passout", "pass:" .. passphrase })
  return path
end

--- Leaf, chain and key as PKCS#12; returns its path.
---@param made certificates.Made
---@param passphrase string
---@return string path
function M.pkcs12(made, passphrase)
  local path = made.certificate:gsub("%.crt$", "") .. ".p12"
  openssl(made.dir, { "pkcs12", "-export", "-in", made.fullchain, "-inkey", made.private_key, "-out", path,
                      "-passout", "pass:" .. passphrase })
  return path
end

return M
