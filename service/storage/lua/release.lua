-- Make the sources due now that a worker has claimed and not finished: it was killed, and its next
-- process takes over; or the server lost what finished them. Safe to send twice.
--
-- KEYS  1 due  2 sources  3 polls  4 hosts  5 claims
-- ARGV  1 now (ms)  2 how the names of the worker's processes begin  3 the claims that lapse then are
--       left as they are ('' for none)
-- Returns the number of sources.

local count = 0
local claims = redis.call('HGETALL', KEYS[5])
for i = 1, #claims, 2 do
  local id, worker, lapse = claims[i], string.match(claims[i + 1], '^(.*) (%d+)$')
  if worker and string.sub(worker, 1, #ARGV[2]) == ARGV[2] and lapse ~= ARGV[3] then
    redis.call('HDEL', KEYS[5], id)
    local score = redis.call('ZSCORE', KEYS[1], id)
    if score and tonumber(score) == tonumber(lapse) then
      redis.call('ZADD', KEYS[1], ARGV[1], id)
      count = count + 1
    end
    local source = redis.call('HGET', KEYS[2], id)
    local name = source and string.match(source, '"host":"(.-)"') or ''
    local host = read_host(KEYS[4], name)
    if host.f[id] == tonumber(lapse) then
      host.f[id] = nil
      redis.call('HSET', KEYS[4], name, cjson.encode({n = host.n, f = host.f}))
    end
  end
end
return count
