-- Remove one article with all that the indexes have of it, and leave a mark of its id.
--
-- KEYS  1 article  2 dirty  3 bucket of its mark  then for each category: its articles, its versions,
--       its withdrawn articles
-- ARGV  1 `idx` and 2 `head` as the caller read them ('' if missing)  3 article id
--       4 field and 5 value of its mark  6 ms of now
--       then for each category: periods joined by spaces
-- Returns 1, also if it is removed already (clients resend after a lost reply); 0 if it has changed.

local stored = redis.call('HMGET', KEYS[1], 'idx', 'head')
if not stored[2] then return redis.call('HEXISTS', KEYS[3], ARGV[4]) end
if (stored[1] or '') ~= ARGV[1] or stored[2] ~= ARGV[2] then return 0 end
redis.call('ZCARD', KEYS[2])
redis.call('HLEN', KEYS[3])
for i = 4, #KEYS, 3 do
  redis.call('ZCARD', KEYS[i])
  redis.call('HLEN', KEYS[i + 1])
  redis.call('ZCARD', KEYS[i + 2])
end

redis.call('HSET', KEYS[3], ARGV[4], ARGV[5])
for i = 4, #KEYS, 3 do
  redis.call('ZREM', KEYS[i], ARGV[3])
  redis.call('ZREM', KEYS[i + 2], ARGV[3])
  renew(KEYS[i + 1], ARGV[6 + (i - 1) / 3], tonumber(ARGV[6]))
end
redis.call('ZREM', KEYS[2], ARGV[3])
redis.call('DEL', KEYS[1])
return 1
