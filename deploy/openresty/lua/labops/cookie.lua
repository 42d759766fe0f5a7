-- The cookie that a page gets instead of the secret: v1.<role>.<expiry, unix seconds>.<MAC>. The MAC is over the text
-- before the last dot, as base64url without padding; its key is derived from the secret. A page gets the role operator;
-- ops-api gives out others (POST /api/session), and has the last word on all of them.

local crypto = require "labops.crypto"

local LONGEST = 128
local ROLES = { viewer = true, operator = true, admin = true }

local _M = { NAME = "ops_token" }

-- A cookie value that is good until `expiry`.
function _M.make(key, expiry)
    local text = string.format("v1.operator.%d", expiry)
    return text .. "." .. crypto.base64url(crypto.hmac(key, text))
end

-- Whether a value was made with `key` and is still good at `now`.
function _M.check(key, value, now)
    if #value > LONGEST then
        return false
    end
    local text, mac = value:match("^(v1%.%a+%.%d+)%.([%w_-]+)$")
    if not text then
        return false
    end
    -- The MAC as text, through a MAC of its own: both sides have one length whatever was sent.
    local expected = crypto.base64url(crypto.hmac(key, text))
    local same = crypto.equal(crypto.hmac(key, mac), crypto.hmac(key, expected))
    local role, expiry = text:match("^v1%.(%a+)%.(%d+)$")
    return same and ROLES[role] and #expiry <= 12 and tonumber(expiry) > now
end

-- The one cookie of that name among all Cookie headers; nil when there is none, false when there are several
-- (somebody planted one).
function _M.find(header)
    local found
    for _, line in ipairs(type(header) == "table" and header or { header }) do
        for pair in line:gmatch("[^;]+") do
            local name, value = pair:match("^%s*([^=%s]+)%s*=%s*(.-)%s*$")
            if name == _M.NAME then
                if found then
                    return false
                end
                found = value:match('^"(.*)"$') or value
            end
        end
    end
    return found
end

return _M
