-- Renews sessions, each with the sessions of its account. KEYS: those, one for each
-- session. ARGV: milliseconds until they have to be renewed again, then the sessions.
local lease = tonumber(ARGV[1])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
for at, key in ipairs(KEYS) do
    local added = redis.pcall('ZADD', key, now + lease, ARGV[at + 1])
    if type(added) == 'table' and added.err then
        if not string.find(added.err, 'WRONGTYPE', 1, true) then return added end
        redis.call('DEL', key)
        redis.call('ZADD', key, now + lease, ARGV[at + 1])
    end
    redis.call('PEXPIRE', key, lease)
end
return 1
