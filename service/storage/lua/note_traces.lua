-- Note articles under their landmarks and links, and say which articles had these last. All at once,
-- so that of two copies that are noted at the same time one finds the other.
--
-- KEYS  b buckets of landmarks, the same b buckets in the window before, then buckets of links
-- ARGV  1 TTL of a bucket of landmarks in s  2 b
--       then for each bucket that is written: n, n fields, n ids of articles (16 bytes)
-- Returns pairs: number of a value, and the ids of the last two articles with its field, joined.
-- The values are n for each bucket that is written, and for one of landmarks n more, of the window
-- before; those without an article are left out.

local ttl, buckets = ARGV[1], tonumber(ARGV[2])
local answer, at, values = {}, 3, 0
-- A value of this length keeps a hash from being packed: a packed one is searched from its beginning
-- for each field, which costs up to twice as much as all the rest.
local UNPACKED = string.rep(' ', 65)

local function add(owners, n)
  for i = 1, n do
    if owners[i] and owners[i] ~= '' then
      answer[#answer + 1] = values + i - 1
      answer[#answer + 1] = owners[i]
    end
  end
  values = values + n
end

local function note(key)
  local n = tonumber(ARGV[at])
  local owners = redis.call('HMGET', key, unpack(ARGV, at + 1, at + n))
  local latest, before_each, pairs_to_set = {}, {}, {}
  for i = 1, n do
    local field, id = ARGV[at + i], ARGV[at + n + i]
    local before = latest[field] or owners[i] or ''
    before_each[i] = before
    local newest = string.sub(before, 1, 16)
    if newest ~= id then
      latest[field] = id .. newest
      pairs_to_set[#pairs_to_set + 1] = field
      pairs_to_set[#pairs_to_set + 1] = latest[field]
    end
  end
  add(before_each, n)
  if #pairs_to_set > 0 then redis.call('HSET', key, unpack(pairs_to_set)) end
  return n
end

for i = 1, buckets do
  -- Its lifetime counts from its first article: a window is over before it ends.
  if redis.call('HSETNX', KEYS[i], '', UNPACKED) == 1 then redis.call('EXPIRE', KEYS[i], ttl) end
  local n = note(KEYS[i])
  local earlier = redis.call('HMGET', KEYS[buckets + i], unpack(ARGV, at + 1, at + n))
  add(earlier, n)
  at = at + 1 + 2 * n
end
for i = 2 * buckets + 1, #KEYS do
  at = at + 1 + 2 * note(KEYS[i])
end
return answer
