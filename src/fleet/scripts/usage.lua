-- Adds to what is stored what a server has added since it said so last. KEYS: what is
-- stored, what this server has said. ARGV: the version that it knows, seconds until all of
-- this is forgotten, then for each counter: its name, what the server has added in all,
-- what of that it has heard to be in, what is stored as far as it knows. Returns the
-- version, and if that is another, all counters.
local known, life = ARGV[1], tonumber(ARGV[2])
for _, key in ipairs(KEYS) do
    local kind = redis.call('TYPE', key).ok
    if kind ~= 'none' and kind ~= 'hash' then redis.call('DEL', key) end
end
local function number(text)
    local is_number = text and string.match(text, '^%-?%d+$') and #text <= 16
    return is_number and tonumber(text) or nil
end
local has_changed = false
for at = 3, #ARGV, 4 do
    local name, added, stored = ARGV[at], ARGV[at + 1], ARGV[at + 3]
    local before = number(redis.call('HGET', KEYS[2], name)) or tonumber(ARGV[at + 2])
    if not number(redis.call('HGET', KEYS[1], name)) then
        redis.call('HSET', KEYS[1], name, stored)
        has_changed = true
    elseif tonumber(added) ~= before then
        redis.call('HINCRBY', KEYS[1], name, string.format('%.0f', tonumber(added) - before))
        has_changed = true
    end
    redis.call('HSET', KEYS[2], name, added)
end
local version = redis.call('HGET', KEYS[1], 'version')
if has_changed or not version then
    local time = redis.call('TIME')
    version = time[1] .. '.' .. time[2]
    redis.call('HSET', KEYS[1], 'version', version)
end
redis.call('EXPIRE', KEYS[1], life)
redis.call('EXPIRE', KEYS[2], life)
if version == known then return { version } end
return { version, redis.call('HGETALL', KEYS[1]) }
