-- Remove a source from the shard of its former host, after it has arrived in that of its new one,
-- unless anything changed since it was read (source_moves.py). Safe to send twice.
--
-- KEYS  1 due  2 sources  3 polls  4 known entries  5 page marks  6 hosts  7 claims  8 moving
-- ARGV  1 source id  2 row  3 poll  4 score, as they were read ('' for what was missing)
--       5 the note that says what is left to do
-- Returns 1 if it has left, 0 if it changed, -1 if it is not here.

local id = ARGV[1]
if redis.call('HEXISTS', KEYS[8], id) == 1 then return 1 end
local row = redis.call('HGET', KEYS[2], id)
if not row then return -1 end
if row ~= ARGV[2] or (redis.call('HGET', KEYS[3], id) or '') ~= ARGV[3] then return 0 end
if (redis.call('ZSCORE', KEYS[1], id) or '') ~= ARGV[4] then return 0 end
-- A wrong type fails the call before the first write.
redis.call('HLEN', KEYS[6])
redis.call('HLEN', KEYS[7])
redis.call('HSET', KEYS[8], id, ARGV[5])
redis.call('ZREM', KEYS[1], id)
redis.call('HDEL', KEYS[2], id)
redis.call('HDEL', KEYS[3], id)
redis.pcall('HDEL', KEYS[4], id)
redis.call('UNLINK', KEYS[5])
redis.call('HDEL', KEYS[7], id)
local name = string.match(row, '"host":"(.-)"') or ''
local host = read_host(KEYS[6], name)
if host.f[id] then
  host.f[id] = nil
  if next(host.f) then
    redis.call('HSET', KEYS[6], name, cjson.encode({n = host.n, f = host.f}))
  else
    redis.call('HDEL', KEYS[6], name)
  end
end
return 1
