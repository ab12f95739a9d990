-- Forget articles that are not there any more: as owners of links, and as duplicates.
--
-- KEYS  n buckets of links, then the twins of originals
-- ARGV  1 n, then for each bucket: digest of a link, id of an article (16 bytes)
--       then for each set of twins: id of an article
-- Returns how many of the articles were noted there.

local n, count = tonumber(ARGV[1]), 0

local function leave(key, field, id)
  local owners = redis.call('HGET', key, field)
  if not owners then return 0 end
  local newest, before = string.sub(owners, 1, 16), string.sub(owners, 17)
  if newest ~= id and before ~= id then return 0 end
  local rest = newest == id and before or newest
  if rest == '' then return redis.call('HDEL', key, field) end
  redis.call('HSET', key, field, rest)
  return 1
end

for i = 1, n do
  count = count + leave(KEYS[i], ARGV[2 * i], ARGV[2 * i + 1])
end
for i = n + 1, #KEYS do
  count = count + redis.call('SREM', KEYS[i], ARGV[n + i + 1])
end
return count
