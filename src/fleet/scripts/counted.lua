-- Replaces what is stored by a count, if nothing has changed since it began. KEYS: what is
-- stored, which server counts. ARGV: the version at the beginning, seconds until all of
-- this is forgotten, then pairs: a counter and its value.
local is_same = redis.call('HGET', KEYS[1], 'version') == ARGV[1]
local time = redis.call('TIME')
local version = time[1] .. '.' .. time[2]
-- A full store refuses this, and has what it had.
local set = is_same and redis.pcall('HSET', KEYS[1], 'version', version)
redis.call('DEL', KEYS[2])
if not is_same then return 0 end
if type(set) == 'table' and set.err then return set end
redis.call('DEL', KEYS[1])
for at = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1]) end
redis.call('HSET', KEYS[1], 'version', version)
redis.call('EXPIRE', KEYS[1], tonumber(ARGV[2]))
return 1
