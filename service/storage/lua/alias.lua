-- Look up articles by their aliases, and store the aliases for later calls (service/articles/aliases.py).
--
-- KEYS  a bucket for each alias of each article, in their order
-- ARGV  1 ids of all articles of the call, joined (16 bytes each)
--       then for each article: id (16 bytes), number of aliases n, then n pairs: alias, fingerprint
-- Returns for each article the id (16 bytes) to use: its own, or that of an earlier article which is
-- not itself in the call and whose id no other article of the call uses.
--
-- Fingerprint: 4 bytes of the title, 4 of the date, zeros if missing; empty, or EXACT, if the alias
-- alone identifies the article.

local NONE = '\0\0\0\0'

local function is_like(a, b)
  if a == '' or b == '' then return true end
  local date_a, date_b = a:sub(5), b:sub(5)
  if date_a ~= NONE and date_b ~= NONE then return date_a == date_b end
  return a:sub(1, 4) == b:sub(1, 4)
end

local taken = {}
for i = 1, #ARGV[1], 16 do taken[ARGV[1]:sub(i, i + 15)] = true end

local ids, at, bucket = {}, 2, 1
while at < #ARGV do
  local id, count = ARGV[at], tonumber(ARGV[at + 1])
  for i = 0, count - 1 do
    local stored = redis.call('HGET', KEYS[bucket + i], ARGV[at + 2 + 2 * i])
    if stored and is_like(stored:sub(17), ARGV[at + 3 + 2 * i]) then
      local other = stored:sub(1, 16)
      if other == id then break end
      if not taken[other] then
        taken[other], id = true, other
        break
      end
    end
  end
  for i = 0, count - 1 do
    redis.call('HSET', KEYS[bucket + i], ARGV[at + 2 + 2 * i], id .. ARGV[at + 3 + 2 * i])
  end
  ids[#ids + 1] = id
  at, bucket = at + 2 + 2 * count, bucket + count
end
return ids
