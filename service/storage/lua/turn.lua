-- Take a turn of a host for a request that is not a claim, or forget the host. A call that is sent
-- twice takes two turns, so that the host is spared longer.
--
-- KEYS  1 hosts
-- ARGV  1 now (ms)  2 ms between two requests to one host; -1 to forget it  3 host
-- Returns in how many ms the turn is.

local now, spacing = tonumber(ARGV[1]), tonumber(ARGV[2])
local host = read_host(KEYS[1], ARGV[3])
if spacing < 0 then
  if not next(host.f) and host.n <= now then redis.call('HDEL', KEYS[1], ARGV[3]) end
  return 0
end
local at = math.max(host.n, now)
redis.call('HSET', KEYS[1], ARGV[3], cjson.encode({n = at + spacing, f = host.f}))
return at - now
