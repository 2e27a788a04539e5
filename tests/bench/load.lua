-- What wrk sends: one request again and again, with @KEY@ in it replaced by a line of a file of keys, all of one length.
-- Arguments: the file of the request; how keys follow each other (same, random, next); the file of keys; the first one's number.

local order, keys, width, lines, key, before, after

local function read(path)
    local file = assert(io.open(path, "rb"))
    local text = file:read("*a")
    file:close()
    return text
end

function init(arguments)
    local template = read(arguments[1])
    local first, last = template:find("@KEY@", 1, true)
    order = first and arguments[2] or "none"
    if order == "none" then
        before = template
        return
    end
    before, after = template:sub(1, first - 1), template:sub(last + 1)
    keys = read(arguments[3])
    width = keys:find("\n", 1, true)
    lines = #keys / width
    key = tonumber(arguments[4]) % lines
    math.randomseed(key)
    if order == "same" then
        before = before .. keys:sub(key * width + 1, key * width + width - 1) .. after
    end
end

function request()
    if order == "random" then
        key = math.random(lines) - 1
    elseif order == "next" then
        key = (key + 1) % lines
    else
        return before
    end
    return before .. keys:sub(key * width + 1, key * width + width - 1) .. after
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format('{"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "refused": %d, "failed": %d}\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.status,
        errors.connect + errors.read + errors.write + errors.timeout))
end
