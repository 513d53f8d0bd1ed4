-- What has failed, and how long that blocks: the rules of users::throttle, by the clock of
-- the store. A value that is none of ours counts as nothing, and is replaced.
-- What is later than now counts as of now: another store with another clock may have been
-- in this one's place.
-- KEYS: failures of the source, source freed, and unless no account has the name failures
-- at the account, known, account freed. ARGV: what has happened, how often, failures until
-- a block, times of that for the whole source, seconds of the first block and of the
-- longest, seconds of memory, seconds for which a source is known, whether the server
-- itself knows the source.
local what, times = ARGV[1], tonumber(ARGV[2])
local most, whole = tonumber(ARGV[3]), tonumber(ARGV[4])
local block, longest = tonumber(ARGV[5]), tonumber(ARGV[6])
local memory = tonumber(ARGV[7])
local now = tonumber(redis.call('TIME')[1])
local source_key, login_key, known_key = KEYS[1], KEYS[3], KEYS[4]
local has_account = login_key ~= nil

local function number(text, largest)
    local n = text and tonumber(text) or 0
    if not n or n ~= n or n < 0 or n > 2 ^ 52 then return 0 end
    return math.floor(math.min(n, largest))
end

local function age_of(key)
    if not key then return -1 end
    local at = redis.pcall('GET', key)
    if type(at) ~= 'string' then return -1 end
    at = number(at, 2 ^ 52)
    if at == 0 or at > now then return -1 end
    return now - at
end

local account_freed, source_freed = age_of(KEYS[5]), age_of(KEYS[2])

local function record(key, ...)
    local nothing = { count = 0, ends = 0 }
    if not key then return nothing end
    local found = redis.pcall('HMGET', key, 'count', 'ends', 'last')
    if found.err then return nothing end
    local last = number(found[3], now)
    if last == 0 then return nothing end
    for _, freed in ipairs({ ... }) do
        if freed >= 0 and now - last >= freed then return nothing end
    end
    return { count = number(found[1], 1e9), ends = number(found[2], now + longest) }
end

local login = record(login_key, account_freed, source_freed)
local source = record(source_key, source_freed)
local known = has_account and (ARGV[9] == '1' or redis.pcall('EXISTS', known_key) == 1)

local function keep(key, of)
    local set = redis.pcall('HSET', key, 'count', of.count, 'ends', of.ends, 'last', now)
    if type(set) == 'table' and set.err then
        if not string.find(set.err, 'WRONGTYPE', 1, true) then return set end
        redis.call('DEL', key)
        redis.call('HSET', key, 'count', of.count, 'ends', of.ends, 'last', now)
    end
    redis.call('EXPIRE', key, math.max(of.ends - now, 0) + memory)
end

local function add(key, of, times, most)
    of.count = of.count + times
    if of.count >= most then
        local seconds = block * 2 ^ math.min(of.count - most, 16)
        of.ends = now + math.floor(math.min(seconds, longest))
    end
    return keep(key, of)
end

local blocked = login.ends > now or (source.ends > now and not known)
if what == 'merge' or (what == 'failed' and not blocked) then
    local counted = times
    if has_account then
        counted = math.min(times, math.max(most - login.count, 0))
        local failed = add(login_key, login, times, most)
        if failed then return failed end
    end
    if counted > 0 then
        local failed = add(source_key, source, counted, most * whole)
        if failed then return failed end
    end
elseif what == 'succeeded' and not blocked then
    if login.count > 0 then
        source.count = math.max(source.count - math.min(login.count, most), 0)
        local failed = keep(source_key, source)
        if failed then return failed end
        redis.call('DEL', login_key)
        login = { count = 0, ends = 0 }
    end
    redis.call('SET', known_key, '1', 'EX', ARGV[8])
    known = true
end
return {
    login.count, math.max(login.ends - now, 0),
    source.count, math.max(source.ends - now, 0),
    known and 1 or 0, blocked and 1 or 0, account_freed, source_freed,
}
