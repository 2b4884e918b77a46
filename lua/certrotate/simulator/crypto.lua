-- Hashes of OpenSSL's libcrypto through the FFI: independent of the C module that the simulator is there to test.
-- LuaJIT only (inside nginx, or plain luajit in the specs).
local ffi = require "ffi"

ffi.cdef [[
unsigned char *SHA256(const unsigned char *d, size_t n, unsigned char *md);
const void *EVP_sha256(void);
unsigned char *HMAC(const void *evp_md, const void *key, int key_len, const unsigned char *d, size_t n,
                    unsigned char *md, unsigned int *md_len);
]]

local M = {}

--- libcrypto: the one that this process has already, or the system's.
local function load()
  for _, name in ipairs { "libcrypto.so.3", "crypto", "libcrypto.so.1.1" } do
    local ok, library = pcall(ffi.load, name)
    if ok then
      return library
    end
  end
  error("libcrypto is not installed")
end
M.library = load()

local digest = ffi.new("unsigned char[32]")
local length = ffi.new("unsigned int[1]")
local sha256 = M.library.EVP_sha256()

---@param text string
---@return string bytes  32
function M.sha256(text)
  M.library.SHA256(text, #text, digest)
  return ffi.string(digest, 32)
end

---@param key string
---@param text string
---@return string bytes  32
function M.hmac(key, text)
  M.library.HMAC(sha256, key, #key, text, #text, digest, length)
  return ffi.string(digest, 32)
end

---@param bytes string
---@return string
function M.hex(bytes)
  return (bytes:gsub(".", function(byte)
    return ("%02x"):format(byte:byte())
  end))
end

---@param text string
---@return string  lower-case hex
function M.sha256_hex(text)
  return M.hex(M.sha256(text))
end

return M
