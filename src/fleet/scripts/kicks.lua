-- Adds orders to end sessions, and lists the latest. KEYS: the orders. ARGV: milliseconds
-- for which orders last, the most that are listed, then pairs: an order, and how many
-- milliseconds ago it was given. Returns pairs of an order and its age.
local life, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local found = redis.pcall('ZREVRANGEBYSCORE', KEYS[1], now, now - life, 'WITHSCORES', 'LIMIT', 0, most)
if found.err then
    redis.call('DEL', KEYS[1])
    found = {}
end
for at = 3, #ARGV, 2 do
    redis.call('ZADD', KEYS[1], now - tonumber(ARGV[at + 1]), ARGV[at])
end
if #ARGV > 2 then
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - life)
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '(' .. now, '+inf')
    redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -most - 1)
    redis.call('PEXPIRE', KEYS[1], life)
end
for at = 2, #found, 2 do found[at] = math.floor(now - tonumber(found[at])) end
return found
