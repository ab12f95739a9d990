-- Add a dead letter of a consumer group, and acknowledge its stream entry.
--
-- KEYS  1 dead letters  2 stream  3 dirty
-- ARGV  1 field  2 dead letter as JSON  3 group  4 stream entry id ('' if none)
--       5 article id to remove from the dirty set ('' if none)
-- Returns 1.

redis.call('HLEN', KEYS[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if ARGV[4] ~= '' then redis.call('XACK', KEYS[2], ARGV[3], ARGV[4]) end
if ARGV[5] ~= '' then redis.call('ZREM', KEYS[3], ARGV[5]) end
return 1
