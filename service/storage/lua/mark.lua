-- Mark articles of a shard as duplicates or as originals, after a change they are indexed again; and
-- note duplicates with their originals in this shard. Safe to send twice.
--
-- KEYS  1 dirty, then n articles, then the twins of originals
-- ARGV  1 n  2 most twins of an original
--       then for each article: article id, id of the original ('' for none), JSON list of the
--       categories that show the original instead
--       then for each set of twins: id of a duplicate
-- Returns for each article 1 if that changed anything, else 0.

local function mark(key, id, original, hidden)
  local head, _, stored = read_head(key)
  if not head then return 0 end
  local hidden_in = cjson.decode(hidden)
  local is_same = table.concat(head.hidden_in or {}, ' ') == table.concat(hidden_in, ' ')
  if (head.duplicate_of or '') == original and is_same then return 0 end
  redis.call('ZCARD', KEYS[1])
  head.marks = (head.marks or 0) + 1
  head.duplicate_of = original ~= '' and original or nil
  head.hidden_in = next(hidden_in) and hidden_in or nil
  save_article(key, stored.doc, pack_head(head, key), stored.idx)
  -- The oldest possible score: the next sweep indexes it.
  redis.call('ZADD', KEYS[1], 1, id)
  return 1
end

local n, most, answer = tonumber(ARGV[1]), tonumber(ARGV[2]), {}
for i = 1, n do
  answer[i] = mark(KEYS[1 + i], ARGV[3 * i], ARGV[3 * i + 1], ARGV[3 * i + 2])
end
for i = n + 2, #KEYS do
  if redis.call('SCARD', KEYS[i]) < most then
    redis.call('SADD', KEYS[i], ARGV[2 * n + i + 1])
  end
end
return answer
