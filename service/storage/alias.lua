-- Look up by what else articles are known, and note it for the next time (service/aliases.py).
--
-- KEYS  a bucket for each alias of each article, in their order
-- ARGV  for each article: id (16 bytes), number of aliases n, then n pairs: alias, likeness
-- Gives for each article the id (16 bytes) that it goes by: its own, or that of an earlier one.
--
-- Likeness: 4 bytes of the title, 4 of the date, zeros if there is none; empty, or ENTRY, if the
-- alias is enough.

local NONE = '\0\0\0\0'

local function is_like(a, b)
  if a == '' or b == '' then return true end
  local date_a, date_b = a:sub(5), b:sub(5)
  if date_a ~= NONE and date_b ~= NONE then return date_a == date_b end
  return a:sub(1, 4) == b:sub(1, 4)
end

local found, at, bucket = {}, 1, 1
while at < #ARGV do
  local id, count = ARGV[at], tonumber(ARGV[at + 1])
  for i = 0, count - 1 do
    local kept = redis.call('HGET', KEYS[bucket + i], ARGV[at + 2 + 2 * i])
    if kept and is_like(kept:sub(17), ARGV[at + 3 + 2 * i]) then
      id = kept:sub(1, 16)
      break
    end
  end
  for i = 0, count - 1 do
    redis.call('HSET', KEYS[bucket + i], ARGV[at + 2 + 2 * i], id .. ARGV[at + 3 + 2 * i])
  end
  found[#found + 1] = id
  at, bucket = at + 2 + 2 * count, bucket + count
end
return found
