-- Look up articles by their aliases, and store the aliases for later calls (service/articles/aliases.py).
--
-- KEYS  for each article, in their order: a bucket for its guid, then one for each of its aliases
-- ARGV  1 ids of all articles of the call and its documents, joined (16 bytes each)
--       then for each article: id (16 bytes), '1' if no article has this id, number of aliases n,
--       then n pairs: alias, fingerprint
-- Returns for each article the id (16 bytes) to use: its own, or that of an earlier article which is
-- not itself in the call and whose id no other article of the call uses; and SAME after it, if it was
-- found by such an alias.
--
-- Fingerprint: 4 bytes of the title, 4 of the date, zeros if missing; empty, EXACT or SAME, if the
-- alias alone identifies the article.

local NONE, SAME = '\0\0\0\0', '~'

local function is_like(a, b)
  if a == '' or b == '' then return true end
  local date_a, date_b = a:sub(5), b:sub(5)
  if date_a ~= NONE and date_b ~= NONE then return date_a == date_b end
  return a:sub(1, 4) == b:sub(1, 4)
end

local taken = {}
for i = 1, #ARGV[1], 16 do taken[ARGV[1]:sub(i, i + 15)] = true end

-- The id that an alias names, and whether it is that of another article which may be meant.
local function find(bucket, alias, fingerprint)
  local stored = redis.call('HGET', bucket, alias)
  if not stored or not is_like(stored:sub(17), fingerprint) then return nil end
  return stored:sub(1, 16)
end

local ids, at, bucket = {}, 2, 1
while at < #ARGV do
  local id, is_unknown, count = ARGV[at], ARGV[at + 1] == '1', tonumber(ARGV[at + 2])
  local guid, first, by = id:sub(1, 8), at + 3, ''
  local known = is_unknown and find(KEYS[bucket], guid, '')
  if known and not taken[known] then
    -- Its guid was remembered; its aliases are those of an entry that was seen before.
    taken[known], id = true, known
  else
    for i = 0, count - 1 do
      local other = find(KEYS[bucket + 1 + i], ARGV[first + 2 * i], ARGV[first + 2 * i + 1])
      if other == id then break end
      if other and not taken[other] then
        taken[other], id, by = true, other, ARGV[first + 2 * i + 1]
        break
      end
    end
    -- The parameters of its link are new at each poll: so would be what is remembered of them.
    if by ~= SAME and id ~= ARGV[at] and is_unknown then
      redis.call('HSET', KEYS[bucket], guid, id)
    end
  end
  if by ~= SAME then
    for i = 0, count - 1 do
      local alias, fingerprint = ARGV[first + 2 * i], ARGV[first + 2 * i + 1]
      redis.call('HSET', KEYS[bucket + 1 + i], alias, id .. fingerprint)
    end
  end
  ids[#ids + 1] = id .. (by == SAME and SAME or '')
  at, bucket = first + 2 * count, bucket + 1 + count
end
return ids
