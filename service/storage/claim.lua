-- Claim sources that are due: each goes to one worker, and comes back if that worker dies.
--
-- KEYS  1 due  ARGV  1 now (ms)  2 at most so many  3 ms until an unfinished claim is due again
-- Gives the ids.

local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, id in ipairs(ids) do redis.call('ZADD', KEYS[1], ARGV[1] + ARGV[3], id) end
return ids
