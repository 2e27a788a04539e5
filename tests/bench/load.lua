-- What wrk sends: one request again and again, with @KEY@ in it replaced by a line of a file of keys, all of one length; and when: in
-- turns, between which other loads have theirs.
-- Arguments: the request; how keys follow each other (same, random, next, none); the file of keys; the first one's number; how long a
-- turn is, from one to the next, and how many there are. Times are milliseconds; the first turn's comes on standard input, once "ready"
-- was said, as milliseconds since 1970.

local ffi = require("ffi")
ffi.cdef("typedef struct { long seconds, nanoseconds; } moment; int clock_gettime(int, moment *);")
local moment, WALL_CLOCK = ffi.new("moment"), 0
-- Longer than anything is measured for.
local NEVER = 1e9

local order, keys, width, lines, key, before, after
local begin, length, period, turns
-- Whether nothing has been sent since the turn ended; the moment of the last answer, or of the turn's first request.
local resting, last = true, nil

-- For `done`: answers, the time in which something was under way, and the longest after a turn's end.
answers, busy_ms, late_ms = 0, 0, 0

local function now()
    ffi.C.clock_gettime(WALL_CLOCK, moment)
    return tonumber(moment.seconds) * 1e3 + tonumber(moment.nanoseconds) / 1e6
end

local function read(path)
    local file = assert(io.open(path, "rb"))
    local text = file:read("*a")
    file:close()
    return text
end

local function prepare(request, path, number)
    local first, last = request:find("@KEY@", 1, true)
    if not first then
        order = "none"
    end
    if order == "none" then
        before = request
        return
    end
    before, after = request:sub(1, first - 1), request:sub(last + 1)
    keys = read(path)
    width = keys:find("\n", 1, true)
    lines = #keys / width
    key = number % lines
    math.randomseed(key)
    if order == "same" then
        before = before .. keys:sub(key * width + 1, key * width + width - 1) .. after
    end
end

-- The thread that sends, as `done` sees it, which runs beside it.
function setup(thread)
    sender = thread
end

function init(arguments)
    order = arguments[2]
    length, period, turns = tonumber(arguments[5]), tonumber(arguments[6]), tonumber(arguments[7])
    prepare(arguments[1], arguments[3], tonumber(arguments[4]))
    io.stdout:write("ready\n")
    io.stdout:flush()
    begin = assert(tonumber(io.stdin:read("*l")), "no first turn")
end

-- How many milliseconds a connection waits before its next request: none within a turn. Called when it is made, and after each answer.
function delay()
    local time = now()
    local own = math.floor((time - begin) / period)
    local since = time - begin - own * period
    if last then
        answers = answers + 1
        busy_ms = busy_ms + (time - last)
        last = time
    end
    if own >= 0 and own < turns and since < length then
        return 0
    end
    if last then
        late_ms = math.max(late_ms, since - length)
    end
    resting = true
    if own + 1 >= turns then
        return NEVER
    end
    return math.ceil(math.max(begin, begin + (own + 1) * period) - time)
end

function request()
    -- wrk also asks for one before it begins, to look at it.
    if resting and now() >= begin then
        resting, last = false, now()
    end
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
    local line = '{"requests": %d, "answers": %d, "busy_ms": %f, "late_ms": %f, "p50": %d, "p99": %d, "refused": %d, "failed": %d}\n'
    io.write(line:format(summary.requests, sender:get("answers"), sender:get("busy_ms"), sender:get("late_ms"),
        latency:percentile(50), latency:percentile(99), errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
