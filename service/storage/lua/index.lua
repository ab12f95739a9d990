-- Update the category indexes of one article to one of its revisions.
--
-- KEYS  1 article  2 dirty  then for each changed category: its articles, its versions, its withdrawn
--       articles  last: changes of pages
-- ARGV  1 `idx` as the caller read it ('' if it was missing)  2 `idx` to store  3 article id
--       4 version (`Article.version`) that the caller indexed, `3.1`  5 ms of the event
--       6 GONE_MAX  7 content hash of that version  8 PAGE_CHANGES_MAX  then for each changed
--       category: score ('' removes the article), score among the withdrawn ('' removes it), periods
--       joined by spaces, path
-- Returns 1; 0 if `idx` is not what the caller read (another worker indexed it), if the article is gone,
-- or if it is not of that version or a later one (Redis lost the end of its file): read again.

local head, _, stored = read_head(KEYS[1])
if (stored.idx or '') ~= ARGV[1] then return 0 end
if not head then
  -- Retention has removed the article, or Redis has lost it: nothing is left to be indexed.
  if not stored.head then redis.call('ZREM', KEYS[2], ARGV[3]) end
  return 0
end
local revision = tonumber(string.match(ARGV[4], '^%d+'))
if head.revision < revision then return 0 end
if head.revision == revision and head.hash ~= ARGV[7] then return 0 end
for i = 3, #KEYS - 1, 3 do
  redis.call('ZCARD', KEYS[i])
  redis.call('HLEN', KEYS[i + 1])
  redis.call('ZCARD', KEYS[i + 2])
end

local stamp, pages, at = tonumber(ARGV[5]), {}, 9
for i = 3, #KEYS - 1, 3 do
  local score, gone, periods = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  pages[#pages + 1], pages[#pages + 2] = ARGV[at + 3], periods
  at = at + 4
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
note_changes(KEYS[#KEYS], ARGV[8], pages)
save_article(KEYS[1], stored.doc, stored.head, ARGV[2])
local changes = (head.marks or 0) + (head.corrections or 0)
if string.format('%d.%d', head.revision, changes) == ARGV[4] then
  redis.call('ZREM', KEYS[2], ARGV[3])
end
return 1
