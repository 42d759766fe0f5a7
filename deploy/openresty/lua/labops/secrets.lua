-- OPS_SECRET and OPS_INTERNAL_AUTH_TOKEN, from the environment or from the file that NAME_FILE names, and the further
-- tokens of OPS_TOKENS_FILE. nginx has to keep the variables (`env`, see lab-ops.main.conf). Read once by `load` in the
-- master, so the files may be root's own; a reload of nginx reads them again.

local crypto = require "labops.crypto"

local LONGEST = 4096
local LONGEST_LIST = 1048576

local _M = {}

-- nil for what is absent or empty.
local function filled(text)
    return text ~= "" and text or nil
end

-- The whole file; nil, and a line in the log, when that cannot be had.
local function content(name, path, longest)
    local file, reason = io.open(path, "rb")
    if not file then
        ngx.log(ngx.ERR, "lab ops: ", name, ": ", reason)
        return nil
    end
    local text = file:read(longest + 1) or ""
    file:close()
    if #text > longest then
        ngx.log(ngx.ERR, "lab ops: ", name, ": is longer than ", longest, " bytes")
        return nil
    end
    return text
end

-- The value of `name`; nil when there is none. A file that cannot be read is no value: closed, and said in the log.
local function read(name)
    local path = filled(os.getenv(name .. "_FILE"))
    local direct = filled(os.getenv(name))
    if not path then
        return direct
    end
    if direct then
        ngx.log(ngx.ERR, "lab ops: both ", name, " and ", name, "_FILE are set; choose one")
        return nil
    end
    local text = content(name .. "_FILE", path, LONGEST)
    -- One line break at the end is no part of it, as ops-api sees it.
    return text and filled((text:gsub("\r?\n$", "")))
end

-- Seconds east of UTC of Z, +01:00 or -09:30; nil for anything else.
local function offset(zone)
    if zone == "Z" or zone == "z" then
        return 0
    end
    local sign, hours, minutes = zone:match("^([+-])(%d%d):(%d%d)$")
    if not sign or tonumber(hours) > 23 or tonumber(minutes) > 59 then
        return nil
    end
    local east = tonumber(hours) * 3600 + tonumber(minutes) * 60
    return sign == "+" and east or -east
end

-- Seconds since 1970 of 2026-03-01T09:00:00Z, with or without a fraction, in any zone; nil for anything else.
local function instant(text)
    local year, month, day, hour, minute, second, zone =
        text:match("^(%d%d%d%d)-(%d%d)-(%d%d)[Tt](%d%d):(%d%d):(%d%d)%.?%d*([Zz+-].*)$")
    local east = zone and offset(zone)
    if not east then
        return nil
    end
    -- Days by the civil calendar, in years that begin in March.
    local y, m = tonumber(year), tonumber(month)
    if m <= 2 then
        y, m = y - 1, m + 12
    end
    local days = 365 * y + math.floor(y / 4) - math.floor(y / 100) + math.floor(y / 400)
        + math.floor((153 * (m - 3) + 2) / 5) + tonumber(day) - 1 - 719468
    return ((days * 24 + tonumber(hour)) * 60 + tonumber(minute)) * 60 + tonumber(second) - east
end

-- The further tokens: digests and when they end. The file is a list of flat objects, as ops-api writes them; one that
-- cannot be read is none. The role is the API's business, which sees the token itself.
local function listed()
    local path = filled(os.getenv("OPS_TOKENS_FILE"))
    local tokens = {}
    for entry in ((path and content("OPS_TOKENS_FILE", path, LONGEST_LIST)) or ""):gmatch("%b{}") do
        local hex = entry:match('"sha256"%s*:%s*"(%x+)"')
        local ends = math.huge
        if entry:find('"expiresAt"', 1, true) and not entry:find('"expiresAt"%s*:%s*null') then
            ends = instant(entry:match('"expiresAt"%s*:%s*"([^"]*)"') or "")
        end
        if hex and #hex == 2 * crypto.SIZE and ends then
            local digest = hex:gsub("%x%x", function(byte) return string.char(tonumber(byte, 16)) end)
            tokens[#tokens + 1] = { digest = digest, ends = ends }
        else
            ngx.log(ngx.ERR, "lab ops: OPS_TOKENS_FILE: an entry is not understood and does not count")
        end
    end
    return tokens
end

-- Reads the secrets. Call it in init_by_lua; without that it happens at the first request of each worker.
function _M.load()
    _M.secret = read("OPS_SECRET")
    _M.internal = read("OPS_INTERNAL_AUTH_TOKEN")
    -- Tokens are compared as digests under a key of this process's own: of one length, and of no use to anybody.
    _M.blind = crypto.random(crypto.SIZE)
    _M.digest = _M.secret and crypto.hmac(_M.blind, _M.secret)
    _M.cookie_key = _M.secret and crypto.hmac(_M.secret, "lab-ops cookie v1")
    _M.listed = listed()
    _M.loaded = true
end

-- Makes sure that they were read.
function _M.ready()
    if not _M.loaded then
        _M.load()
    end
    return _M
end

-- Whether `token` is the secret.
function _M.is_secret(token)
    if not _M.digest or #token > LONGEST then
        return false
    end
    return crypto.equal(crypto.hmac(_M.blind, token), _M.digest)
end

-- Whether `token` is one of the further ones and not over at `now`. Looks at all of them, whichever it is.
function _M.is_listed(token, now)
    if #token > LONGEST then
        return false
    end
    local digest = crypto.sha256(token)
    local found = false
    for _, known in ipairs(_M.listed) do
        local same = crypto.equal(known.digest, digest)
        found = (same and now < known.ends) or found
    end
    return found
end

return _M
