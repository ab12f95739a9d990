-- Update the category indexes of one article to one of its revisions.
--
-- KEYS  1 article  2 dirty  then for each changed category: its articles, its versions, its withdrawn
--       articles
-- ARGV  1 `idx` as the caller read it ('' if it was missing)  2 `idx` to store  3 article id
--       4 version (`Article.version`) that the caller indexed, `3.1`  5 ms of the event
--       6 GONE_MAX  7 content hash of that version  then for each changed category: score ('' removes
--       the article), score among the withdrawn ('' removes it), periods joined by spaces
-- Returns 1; 0 if `idx` is not what the caller read (another worker indexed it), if the article is gone,
-- or if it is not of that version or a later one (Redis lost the end of its file): read again.

local head = read_head(KEYS[1])
if (redis.call('HGET', KEYS[1], 'idx') or '') ~= ARGV[1] then return 0 end
if not head then
  -- Retention has removed the article, or Redis has lost it: nothing is left to be indexed.
  if redis.call('HEXISTS', KEYS[1], 'head') == 0 then redis.call('ZREM', KEYS[2], ARGV[3]) end
  return 0
end
local revision = tonumber(string.match(ARGV[4], '^%d+'))
if head.revision < revision then return 0 end
if head.revision == revision and head.hash ~= ARGV[7] then return 0 end
for i = 3, #KEYS, 3 do
  redis.call('ZCARD', KEYS[i])
  redis.call('HLEN', KEYS[i + 1])
  redis.call('ZCARD', KEYS[i + 2])
end

local stamp = tonumber(ARGV[5])
for i = 3, #KEYS, 3 do
  local score, gone, periods = ARGV[i + 5], ARGV[i + 6], ARGV[i + 7]
  if score == '' then
    redis.call('ZREM', KEYS[i], ARGV[3])
  else
    redis.call('ZADD', KEYS[i], score, ARGV[3])
  end
  if gone == '' then
    redis.call('ZREM', KEYS[i + 2], ARGV[3])
  else
    redis.call('ZADD', KEYS[i + 2], gone, ARGV[3])
    redis.call('ZREMRANGEBYRANK', KEYS[i + 2], 0, -tonumber(ARGV[6]) - 1)
  end
  renew(KEYS[i + 1], periods, stamp)
end
redis.call('HSET', KEYS[1], 'idx', ARGV[2])
local changes = (head.marks or 0) + (head.corrections or 0)
if string.format('%d.%d', head.revision, changes) == ARGV[4] then
  redis.call('ZREM', KEYS[2], ARGV[3])
end
return 1
