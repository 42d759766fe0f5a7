-- HMAC-SHA256, a comparison in constant time, and base64url: libcrypto through LuaJIT's FFI, so that the same file runs
-- on OpenResty and on nginx with the Lua module (where resty.sha256 and resty.hmac do not exist).

local ffi = require "ffi"

ffi.cdef [[
const void *EVP_sha256(void);
unsigned char *HMAC(const void *digest, const void *key, int key_length,
                    const unsigned char *message, size_t message_length,
                    unsigned char *mac, unsigned int *mac_length);
unsigned char *SHA256(const unsigned char *message, size_t length, unsigned char *digest);
int CRYPTO_memcmp(const void *a, const void *b, size_t length);
int RAND_bytes(unsigned char *buffer, int length);
]]

-- nginx is linked with libcrypto already; a build that hides its symbols has the library beside it.
local function library()
    if pcall(function() return ffi.C.HMAC end) then
        return ffi.C
    end
    for _, name in ipairs { "libcrypto.so.3", "libcrypto.so.1.1", "crypto" } do
        local found, loaded = pcall(ffi.load, name)
        if found and pcall(function() return loaded.HMAC end) then
            return loaded
        end
    end
    error("lab ops: no libcrypto found")
end

local C = library()
local SIZE = 32

local _M = { SIZE = SIZE }

-- The 32 bytes of HMAC-SHA256 of `message` under `key`.
function _M.hmac(key, message)
    local mac = ffi.new("unsigned char[?]", SIZE)
    local length = ffi.new("unsigned int[1]")
    local done = C.HMAC(C.EVP_sha256(), key, #key, message, #message, mac, length)
    if done == nil or length[0] ~= SIZE then
        error("lab ops: HMAC failed")
    end
    return ffi.string(mac, SIZE)
end

-- The 32 bytes of SHA-256 of `message`.
function _M.sha256(message)
    local digest = ffi.new("unsigned char[?]", SIZE)
    C.SHA256(message, #message, digest)
    return ffi.string(digest, SIZE)
end

-- Compares two digests in a time that does not depend on where they differ.
function _M.equal(a, b)
    if #a ~= SIZE or #b ~= SIZE then
        error("lab ops: only digests are compared")
    end
    return C.CRYPTO_memcmp(a, b, SIZE) == 0
end

-- Bytes nobody can guess.
function _M.random(length)
    local buffer = ffi.new("unsigned char[?]", length)
    if C.RAND_bytes(buffer, length) ~= 1 then
        error("lab ops: no random bytes")
    end
    return ffi.string(buffer, length)
end

-- base64url without padding.
function _M.base64url(bytes)
    local text = ngx.encode_base64(bytes, true)
    return (text:gsub("[+/]", { ["+"] = "-", ["/"] = "_" }))
end

return _M
