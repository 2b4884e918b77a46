-- Certificates and keys through OpenSSL by the FFI: what the simulated ACM, IAM and CloudFront know of them.
-- LuaJIT only. Every OpenSSL object has a finalizer the moment it exists; keys are never turned into Lua strings here.
local ffi = require "ffi"
local crypto = require "certrotate.simulator.crypto"
local time = require "certrotate.simulator.time"

ffi.cdef [[
struct cr_sim_tm { int sec, min, hour, mday, mon, year, wday, yday, isdst; long gmtoff; const char *zone; };
void *BIO_new_mem_buf(const void *buf, int len);
void *BIO_new(const void *type);
const void *BIO_s_mem(void);
int BIO_free(void *bio);
long BIO_ctrl(void *bio, int cmd, long larg, void *parg);
void *PEM_read_bio_X509(void *bp, void **x, void *cb, void *u);
void *PEM_read_bio_PrivateKey(void *bp, void **x, void *cb, void *u);
void X509_free(void *x);
void EVP_PKEY_free(void *pkey);
int X509_check_private_key(const void *x, const void *pkey);
void *X509_get0_pubkey(const void *x);
int EVP_PKEY_get_base_id(const void *pkey);
int EVP_PKEY_get_bits(const void *pkey);
int EVP_PKEY_get_group_name(const void *pkey, char *name, size_t size, size_t *length);
void *X509_get_subject_name(const void *x);
void *X509_get_issuer_name(const void *x);
int X509_NAME_print_ex(void *out, const void *name, int indent, unsigned long flags);
int X509_NAME_cmp(const void *a, const void *b);
int X509_NAME_entry_count(const void *name);
const void *X509_get0_serialNumber(const void *x);
void *ASN1_INTEGER_to_BN(const void *ai, void *bn);
char *BN_bn2hex(const void *a);
void BN_free(void *a);
void CRYPTO_free(void *ptr, const char *file, int line);
const void *X509_get0_notBefore(const void *x);
const void *X509_get0_notAfter(const void *x);
int ASN1_TIME_to_tm(const void *s, struct cr_sim_tm *tm);
int X509_get_signature_nid(const void *x);
const char *OBJ_nid2sn(int n);
void *X509_get_ext_d2i(const void *x, int nid, int *crit, int *idx);
int OPENSSL_sk_num(const void *stack);
void *OPENSSL_sk_value(const void *stack, int index);
void *GENERAL_NAME_get0_value(const void *name, int *type);
void GENERAL_NAMES_free(void *names);
const unsigned char *ASN1_STRING_get0_data(const void *text);
int ASN1_STRING_length(const void *text);
unsigned int X509_get_key_usage(void *x);
unsigned int X509_get_extended_key_usage(void *x);
unsigned int X509_get_extension_flags(void *x);
int X509_check_issued(void *issuer, void *subject);
int X509_verify(void *x, void *pkey);
int i2d_X509(const void *x, unsigned char **out);
void ERR_clear_error(void);
]]

local C = crypto.library
local NID_subject_alt_name, GEN_DNS, BIO_CTRL_INFO = 85, 2, 3
local XN_FLAG_RFC2253 = 0x1110317
local EVP_PKEY_RSA, EVP_PKEY_EC = 6, 408

local M = {}

---@class certrotate.simulator.Certificate
---@field pem string
---@field fingerprint string
---@field subject string
---@field issuer string
---@field serial string          "07:71:…"
---@field not_before integer
---@field not_after integer
---@field key_type string        "RSA_2048", "EC_prime256v1", …
---@field signature_algorithm string  "SHA256WITHRSA"
---@field self_signed boolean
---@field names string[]         DNS names, lower case
---@field key_usages string[]    ACM's spelling
---@field extended_key_usages string[]
---@field x509 ffi.cdata*

local function name_text(name)
  local bio = ffi.gc(C.BIO_new(C.BIO_s_mem()), C.BIO_free)
  C.X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253)
  local pointer = ffi.new("char *[1]")
  local length = C.BIO_ctrl(bio, BIO_CTRL_INFO, 0, pointer)
  return ffi.string(pointer[0], length)
end

local function serial_text(x509)
  local bn = ffi.gc(C.ASN1_INTEGER_to_BN(C.X509_get0_serialNumber(x509), nil), C.BN_free)
  local hex = C.BN_bn2hex(bn)
  local text = ffi.string(hex):lower()
  C.CRYPTO_free(hex, nil, 0)
  if #text % 2 == 1 then
    text = "0" .. text
  end
  return (text:gsub("%x%x", "%0:"):gsub(":$", ""))
end

local function seconds_of(asn1)
  local tm = ffi.new("struct cr_sim_tm")
  if C.ASN1_TIME_to_tm(asn1, tm) ~= 1 then
    return nil
  end
  return time.utc(tm.year + 1900, tm.mon + 1, tm.mday, tm.hour, tm.min, tm.sec)
end

local function dns_names(x509)
  local names = {}
  local list = C.X509_get_ext_d2i(x509, NID_subject_alt_name, nil, nil)
  if list == nil then
    return names
  end
  list = ffi.gc(list, C.GENERAL_NAMES_free)
  local kind = ffi.new("int[1]")
  for index = 0, C.OPENSSL_sk_num(list) - 1 do
    local value = C.GENERAL_NAME_get0_value(C.OPENSSL_sk_value(list, index), kind)
    if kind[0] == GEN_DNS then
      names[#names + 1] = ffi.string(C.ASN1_STRING_get0_data(value), C.ASN1_STRING_length(value)):lower()
    end
  end
  return names
end

local function key_type_of(x509)
  local key = C.X509_get0_pubkey(x509)
  if key == nil then
    return "UNKNOWN"
  end
  local kind = C.EVP_PKEY_get_base_id(key)
  if kind == EVP_PKEY_RSA then
    return "RSA_" .. C.EVP_PKEY_get_bits(key)
  elseif kind == EVP_PKEY_EC then
    local name, length = ffi.new("char[64]"), ffi.new("size_t[1]")
    if C.EVP_PKEY_get_group_name(key, name, 64, length) == 1 then
      return "EC_" .. ffi.string(name, length[0])
    end
  end
  return "UNKNOWN"
end

local key_usage_bits = {
  { 0x0080, "DIGITAL_SIGNATURE" }, { 0x0040, "NON_REPUDIATION" }, { 0x0020, "KEY_ENCIPHERMENT" },
  { 0x0010, "DATA_ENCIPHERMENT" }, { 0x0008, "KEY_AGREEMENT" }, { 0x0004, "CERTIFICATE_SIGNING" },
  { 0x0002, "CRL_SIGNING" }, { 0x0001, "ENCIPHER_ONLY" }, { 0x8000, "DECIPHER_ONLY" },
}
local extended_bits = {
  { 0x001, "TLS_WEB_SERVER_AUTHENTICATION" }, { 0x002, "TLS_WEB_CLIENT_AUTHENTICATION" }, { 0x004, "EMAIL_PROTECTION" },
  { 0x008, "CODE_SIGNING" }, { 0x020, "OCSP_SIGNING" }, { 0x040, "TIME_STAMPING" }, { 0x100, "ANY" },
}

-- OpenSSL answers all bits when the extension is absent.
local function usages(value, bits)
  local out = {}
  if value == 0xFFFFFFFF then
    return out
  end
  for _, entry in ipairs(bits) do
    if bit.band(value, entry[1]) ~= 0 then
      out[#out + 1] = entry[2]
    end
  end
  return out
end

local signatures = {
  ["RSA-SHA256"] = "SHA256WITHRSA", ["RSA-SHA384"] = "SHA384WITHRSA", ["RSA-SHA512"] = "SHA512WITHRSA",
  ["RSA-SHA1"] = "SHA1WITHRSA", ["ecdsa-with-SHA256"] = "SHA256WITHECDSA", ["ecdsa-with-SHA384"] = "SHA384WITHECDSA",
  ["ecdsa-with-SHA512"] = "SHA512WITHECDSA",
}

local function der_of(x509)
  local length = C.i2d_X509(x509, nil)
  local buffer = ffi.new("unsigned char[?]", length)
  local cursor = ffi.new("unsigned char *[1]", buffer)
  C.i2d_X509(x509, cursor)
  return ffi.string(buffer, length)
end

local function certificate_of(x509, pem)
  local subject, issuer = C.X509_get_subject_name(x509), C.X509_get_issuer_name(x509)
  local algorithm = ffi.string(C.OBJ_nid2sn(C.X509_get_signature_nid(x509)))
  return {
    x509 = x509,
    pem = pem,
    fingerprint = crypto.sha256_hex(der_of(x509)),
    subject = name_text(subject),
    issuer = name_text(issuer),
    issuer_empty = C.X509_NAME_entry_count(issuer) == 0,
    serial = serial_text(x509),
    not_before = seconds_of(C.X509_get0_notBefore(x509)),
    not_after = seconds_of(C.X509_get0_notAfter(x509)),
    key_type = key_type_of(x509),
    signature_algorithm = signatures[algorithm] or algorithm:upper(),
    self_signed = C.X509_NAME_cmp(subject, issuer) == 0 and C.X509_verify(x509, C.X509_get0_pubkey(x509)) == 1,
    names = dns_names(x509),
    key_usages = usages(C.X509_get_key_usage(x509), key_usage_bits),
    extended_key_usages = usages(C.X509_get_extended_key_usage(x509), extended_bits),
  }
end

--- Whether a text consists of PEM certificates and white space only.
---@param text string
---@return boolean
function M.only_certificates(text)
  local rest = text:gsub("%-%-%-%-%-BEGIN CERTIFICATE%-%-%-%-%-[%w+/=%s]*%-%-%-%-%-END CERTIFICATE%-%-%-%-%-", "")
  return rest:match("^%s*$") ~= nil
end

--- Reads every certificate of a PEM text.
---@param text string
---@return certrotate.simulator.Certificate[]?  nil when one of them cannot be read, or there is none
function M.certificates(text)
  local list = {}
  for block in text:gmatch("%-%-%-%-%-BEGIN [%u ]*CERTIFICATE%-%-%-%-%-.-%-%-%-%-%-END [%u ]*CERTIFICATE%-%-%-%-%-") do
    local bio = ffi.gc(C.BIO_new_mem_buf(block, #block), C.BIO_free)
    local x509 = C.PEM_read_bio_X509(bio, nil, nil, nil)
    C.ERR_clear_error()
    if x509 == nil then
      return nil
    end
    list[#list + 1] = certificate_of(ffi.gc(x509, C.X509_free), block .. "\n")
  end
  return #list > 0 and list or nil
end

-- Given instead of a passphrase callback: an encrypted key must fail, not ask on a terminal.
local no_passphrase = ffi.new("char[1]")

--- Reads an unencrypted private key.
---@param text string
---@return ffi.cdata*? key
function M.private_key(text)
  if text:find("ENCRYPTED", 1, true) then
    return nil
  end
  local bio = ffi.gc(C.BIO_new_mem_buf(text, #text), C.BIO_free)
  local key = C.PEM_read_bio_PrivateKey(bio, nil, nil, no_passphrase)
  C.ERR_clear_error()
  if key == nil then
    return nil
  end
  return ffi.gc(key, C.EVP_PKEY_free)
end

---@param certificate certrotate.simulator.Certificate
---@param key ffi.cdata*
---@return boolean
function M.key_matches(certificate, key)
  local ok = C.X509_check_private_key(certificate.x509, key) == 1
  C.ERR_clear_error()
  return ok
end

--- Whether `issuer` signed `certificate`: names, key identifiers and the signature itself.
---@return boolean
function M.issued(issuer, certificate)
  local ok = C.X509_check_issued(issuer.x509, certificate.x509) == 0
    and C.X509_verify(certificate.x509, C.X509_get0_pubkey(issuer.x509)) == 1
  C.ERR_clear_error()
  return ok
end

--- Position in `chain` of the first certificate that did not sign the one before it; nil when the order is right.
---@param leaf certrotate.simulator.Certificate
---@param chain certrotate.simulator.Certificate[]
---@return integer?
function M.chain_break(leaf, chain)
  local below = leaf
  for index, certificate in ipairs(chain) do
    if not M.issued(certificate, below) then
      return index
    end
    below = certificate
  end
end

--- Whether one of the DNS names covers an alias: exactly, or by a wildcard on the same level.
---@param names string[]
---@param alias string
---@return boolean
function M.covers(names, alias)
  alias = alias:lower()
  local parent = alias:match("^[^%.]+%.(.+)$")
  for _, name in ipairs(names) do
    if name == alias or (parent and alias:sub(1, 1) ~= "*" and name == "*." .. parent) then
      return true
    end
  end
  return false
end

return M
