-- Gives a session a place among those of its account, if there is one. A full store has
-- none to give: adding comes first, so that it is refused before anything is changed.
-- KEYS: the sessions. ARGV: the session, the most, milliseconds until it has to be renewed.
local lease = tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
-- What lasts longer than any session was put there by somebody else.
local running = redis.pcall('ZCOUNT', KEYS[1], '(' .. now, now + lease)
if type(running) == 'table' and running.err then
    redis.call('DEL', KEYS[1])
    running = 0
end
local ends = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or 0)
local has_place = ends > now and ends <= now + lease
if not has_place and running >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now + lease, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '(' .. (now + lease), '+inf')
redis.call('PEXPIRE', KEYS[1], lease)
return 1
