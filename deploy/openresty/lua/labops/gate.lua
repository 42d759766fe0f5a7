-- Who may pass. Runs in the access phase, which nothing overtakes here: no `return` and no `rewrite ... redirect` stands
-- in the locations, since both are carried out before it.

local secrets = require "labops.secrets"
local cookie = require "labops.cookie"

local METHODS = { GET = true, HEAD = true, POST = true, PUT = true, DELETE = true }
local READS = { GET = true, HEAD = true }

local _M = {}

-- Ends the request with the JSON that the API's own refusals have.
local function refuse(status, code, text)
    ngx.status = status
    ngx.header["Content-Type"] = "application/json"
    ngx.header["Cache-Control"] = "no-store"
    if status == 503 then
        ngx.header["Retry-After"] = "30"
    end
    -- The id holds nothing that JSON would have to escape: lab-ops.http.conf sees to it.
    ngx.print('{"error":"', text, '","code":"', code, '","requestId":"', ngx.var.lab_ops_request_id, '"}')
    return ngx.exit(status)
end

-- What nginx itself refuses (too large, too many, no upstream), in the same form.
local OWN = {
    [400] = { "bad_request", "Bad request" },
    [403] = { "forbidden", "Forbidden" },
    [404] = { "not_found", "Not found" },
    [405] = { "method_not_allowed", "Method not allowed" },
    [408] = { "timeout", "The request did not arrive in time" },
    [413] = { "too_large", "The body is too large" },
    [414] = { "too_large", "The address is too long" },
    [429] = { "too_many_requests", "Too many requests" },
    [502] = { "unavailable", "The service is not available" },
    [503] = { "unavailable", "The service is not available" },
    [504] = { "timeout", "The service did not answer in time" },
}

function _M.failed()
    local own = OWN[ngx.status] or { "internal", "Internal server error" }
    if ngx.status == 429 then
        ngx.header["Retry-After"] = "1"
    end
    ngx.header["Content-Type"] = "application/json"
    ngx.print('{"error":"', own[2], '","code":"', own[1], '","requestId":"', ngx.var.lab_ops_request_id, '"}')
end

local function is_allowed()
    return ngx.var.lab_ops_allowed == "1"
end

-- Whether an Origin header names this server. The scheme is not looked at: TLS may end before us.
local function is_own(origin)
    local host = ngx.var.http_host
    return type(origin) == "string" and host ~= nil and origin:match("^https?://(.+)$") == host
end

-- How the caller showed who it is: by the "secret" or another "token" in the header, or by "cookie"; and the value.
-- nil when it did not.
local function proof(headers)
    local token = headers["x-ops-token"]
    local now = ngx.time()
    if token ~= nil then
        -- Two headers are two callers: whichever of them a later hop reads, it must not be the unchecked one.
        if type(token) ~= "string" then
            return nil
        end
        local secret, listed = secrets.is_secret(token), secrets.is_listed(token, now)
        return (secret and "secret") or (listed and "token") or nil, token
    end
    local value = headers["cookie"] and cookie.find(headers["cookie"])
    if value then
        local session = cookie.check(secrets.cookie_key, value, now)
        local secret, listed = secrets.is_secret(value), secrets.is_listed(value, now)
        if session or secret or listed then
            return "cookie", value
        end
    end
    return nil
end

-- Whether the path is one that every reader reads alike: no dot segments, no empty ones, no parameters, and nothing
-- encoded that would change any of this once it is decoded.
local function is_plain(target)
    local path = target:match("^[^?#]*")
    if path:find("//", 1, true) or path:find("[;\\%c]") then
        return false
    end
    for escape in path:gmatch("%%(..?)") do
        local byte = tonumber(escape, 16)
        if #escape < 2 or not byte or byte < 0x20 or byte == 0x7f then
            return false
        end
        local char = string.char(byte)
        if char == "/" or char == "\\" or char == "." or char == ";" or char == "%" then
            return false
        end
    end
    for segment in path:gmatch("[^/]+") do
        if segment == "." or segment == ".." then
            return false
        end
    end
    return true
end

local function preflight(headers)
    if not is_allowed() then
        return refuse(403, "forbidden", "Forbidden")
    end
    ngx.header["Vary"] = "Origin"
    if is_own(headers["origin"]) then
        ngx.header["Access-Control-Allow-Origin"] = headers["origin"]
        ngx.header["Access-Control-Allow-Methods"] = "GET, POST, DELETE, OPTIONS"
        ngx.header["Access-Control-Allow-Headers"] =
            "Content-Type, X-Ops-Token, Prefer, Idempotency-Key, Last-Event-ID, X-Request-ID"
        ngx.header["Access-Control-Max-Age"] = "600"
    end
    return ngx.exit(204)
end

-- For /ops/: lets the request on to the API, with the headers that say who calls, or ends it.
function _M.api()
    -- 0: all of them; how many there may be is bounded by nginx's own buffers.
    local headers = ngx.req.get_headers(0)
    local method = ngx.req.get_method()
    if method == "OPTIONS" then
        return preflight(headers)
    end
    if not secrets.ready().secret then
        return refuse(503, "no_secret", "OPS_SECRET is not set")
    end
    local how, value = proof(headers)
    if not how then
        return refuse(401, "unauthorized", "Unauthorized")
    end
    if not is_allowed() then
        return refuse(403, "forbidden", "Forbidden")
    end
    if not is_plain(ngx.var.request_uri) then
        return refuse(400, "bad_path", "The path is not written plainly")
    end
    if not METHODS[method] then
        return refuse(405, "method_not_allowed", "Method not allowed")
    end
    local origin = headers["origin"]
    if how == "cookie" and not READS[method] then
        -- A browser adds the cookie by itself, so the page that asks has to be one of ours.
        local site = headers["sec-fetch-site"]
        if (origin ~= nil and not is_own(origin)) or (site ~= nil and site ~= "same-origin" and site ~= "none") then
            return refuse(403, "foreign_origin", "The request comes from another site")
        end
    end
    if is_own(origin) then
        ngx.header["Access-Control-Allow-Origin"] = origin
        ngx.header["Vary"] = "Origin"
    end
    if how == "cookie" then
        ngx.var.lab_ops_cookie = cookie.NAME .. "=" .. value
    else
        ngx.var.lab_ops_token = value
        -- The internal token is an administrator's: whoever comes by something smaller keeps the smaller role.
        ngx.var.lab_ops_internal = how == "secret" and secrets.internal or ""
    end
end

-- For paths of /ops/ that are nobody's business outside: who may call hears 404, everybody else what it always hears.
function _M.nothing()
    _M.api()
    return refuse(404, "not_found", "Not found")
end

-- For /lab-manager/: the network is checked first; then the page gets its cookie.
function _M.page()
    if not is_allowed() then
        return refuse(403, "forbidden", "Forbidden")
    end
    local uri = ngx.var.uri
    if secrets.ready().secret and (uri == "/lab-manager" or uri:find("/$") or uri:find("%.html$")) then
        local lifetime = tonumber(ngx.var.lab_ops_cookie_secs) or 43200
        ngx.header["Set-Cookie"] = string.format(
            "%s=%s; Max-Age=%d; Path=/ops/; HttpOnly; Secure; SameSite=Lax",
            cookie.NAME, cookie.make(secrets.cookie_key, ngx.time() + lifetime), lifetime)
        ngx.header["Cache-Control"] = "no-store"
    end
end

-- For the public: whether the service is well, and not a word more.
function _M.health()
    local answer = ngx.location.capture("/.lab-ops/health")
    local well = answer.status == 200
    ngx.status = well and 200 or 503
    ngx.header["Content-Type"] = "application/json"
    ngx.header["Cache-Control"] = "no-store"
    ngx.print(well and '{"status":"ok"}' or '{"status":"degraded"}')
end

return _M
