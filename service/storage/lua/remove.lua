-- Remove one article with all that the indexes have of it, and leave a mark of its id.
--
-- KEYS  1 article  2 dirty  3 bucket of its mark  then for each category: its articles, its versions,
--       its withdrawn articles  last: changes of pages
-- ARGV  1 `idx` and 2 `head` as the caller read them ('' if missing)  3 article id
--       4 field and 5 value of its mark  6 ms of now
--       7 PAGE_CHANGES_MAX  then for each category: path, periods joined by spaces
-- Returns 1, also if it is removed already (clients resend after a lost reply); 0 if it has changed.

local _, head, idx = load_article(KEYS[1])
if not head then return redis.call('HEXISTS', KEYS[3], ARGV[4]) end
if (idx or '') ~= ARGV[1] or head ~= ARGV[2] then return 0 end
redis.call('ZCARD', KEYS[2])
redis.call('HLEN', KEYS[3])
for i = 4, #KEYS - 1, 3 do
  redis.call('ZCARD', KEYS[i])
  redis.call('HLEN', KEYS[i + 1])
  redis.call('ZCARD', KEYS[i + 2])
end

redis.call('HSET', KEYS[3], ARGV[4], ARGV[5])
local pages = {}
for i = 4, #KEYS - 1, 3 do
  local path, periods = ARGV[8 + #pages], ARGV[9 + #pages]
  redis.call('ZREM', KEYS[i], ARGV[3])
  redis.call('ZREM', KEYS[i + 2], ARGV[3])
  renew(KEYS[i + 1], periods, tonumber(ARGV[6]))
  pages[#pages + 1], pages[#pages + 2] = path, periods
end
note_changes(KEYS[#KEYS], ARGV[7], pages)
redis.call('ZREM', KEYS[2], ARGV[3])
redis.call('DEL', KEYS[1])
return 1
